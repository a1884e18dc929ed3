"""Why runs differ, as a page that needs nothing but itself and as Markdown for a pull request."""

from __future__ import annotations

from capture.filters import MISSING
from capture.pages import markdown, plots
from capture.pages.html import diff, element, escape, folded, page, table, together
from capture.pages.states import badge, remark_on
from capture.pages.values import as_text, as_words, cut
from capture.query._shown_values import shown_values
from capture.query.addresses import store_of, stores_of
from capture.query.differences import CAUSES
from capture.wording import NOTHING, counted, format_duration, format_utc, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from capture.pages.html import Html
    from capture.query.differences import Comparison, Difference
    from capture.records import RunRecord

#: what each kind of difference is called
KINDS = {
    "config": "configuration",
    "source": "source",
    "input": "input file",
    "package": "package",
    "seed": "seed",
    "command": "command",
    "git": "git",
    "environment": "environment",
    "host": "host",
    "status": "state",
    "result": "result",
    "metric": "metric",
    "output": "output",
    "artifact": "artifact",
    "usage": "usage",
}

RARELY = "What went in differs in {} only, which rarely explains anything."
NOTHING_DIFFERS = "Nothing that was compared differs."
NOTHING_WENT_IN_YET = "Nothing that went in is known to differ, yet what came out does."

MOST_OPEN = 12  #: differences that are not folded away
MOST_ROWS = 300  #: differences that a page lists of a kind
MOST_RUNS = 12  #: runs whose values stand side by side
MOST_PLOTS = 24  #: metrics whose curves are drawn
MOST_ALIKE = 6  #: causes of the same weight that the first sentence names
LONGEST_VALUE = 400  #: characters of a value
LONGEST_DIFF = 60_000  #: characters of a unified diff
ALL_DIFFS = 600_000  #: characters of all of them
LONGEST_LINE = 1_000  #: characters of a line in a diff
_PER_LINE = 30  #: characters of HTML around each
LONGEST_MARKDOWN = 65_000  #: characters; a comment on GitHub takes 65,536
LONGEST_MARKDOWN_VALUE = 120
LONGEST_MARKDOWN_DIFF = 12_000


def as_html(comparison: Comparison, runs: Sequence[RunRecord] | None = None, title: str | None = None) -> str:
    """Return a page that says why runs differ.

    Parameters
    ----------
    comparison : Comparison
    runs : sequence of RunRecord, optional
        Those that were compared, so that the curves of their metrics are drawn; the `runs` of the comparison, if it has
        that attribute, if they are left out.
    title : str, optional

    Returns
    -------
    str
        HTML that loads nothing.
    """
    compared = getattr(comparison, "runs", None) if runs is None else runs
    heading = title or f"Why {_together(comparison.names)} differ"
    return page(
        heading,
        element("header", element("h1", heading), element("p", in_a_sentence(comparison), class_="lead")),
        element("main", _runs(compared, comparison.names) if compared else None, sections(comparison, compared)),
        element("footer", element("p", closing())),
    )


def closing() -> str:
    """Return what stands at the end of a page."""
    from datetime import datetime, timezone

    now = format_utc(datetime.now(timezone.utc))
    return f"Written by capture, {now}. The page holds all it shows; it loads nothing."


def _runs(runs: Sequence[RunRecord], names: Sequence[str]) -> Html:
    """Return a small table of what is compared, and the stores that it is in."""
    rows = [
        [
            called(name),
            as_words(run.name, 100),
            getattr(run, "description", None) or [badge(run), remark_on(run)],
            format_utc(run.start_time),
            format_duration(run.duration),
        ]
        for name, run in list(zip(names, runs))[:MOST_RUNS]
    ]
    return together(
        table(["run", "experiment", "state", "started", "took"], rows, row_heading=0, caption="What is compared"),
        stores_in_words(runs),
    )


def stores_in_words(runs: Sequence[RunRecord]) -> Html | None:
    """Return what stores runs are in, with the names that stand before runs of several; nothing if none is known."""
    several = stores_of(runs)
    if several:
        told = [element("li", element("strong", name), ": ", url) for url, name in several.items()]
        return element("div", "Stores:", element("ul", told), class_="soft small")
    urls = [url for url in map(store_of, runs) if url is not None]
    return element("p", f"Store: {urls[0]}", class_="soft small") if urls else None


def in_a_sentence(comparison: Comparison) -> Html:
    """Return what most likely explains the differences."""
    causes = differing(comparison.causes)
    outcomes = differing(comparison.outcomes)
    if not causes:
        return escape(NOTHING_WENT_IN_YET if outcomes else NOTHING_DIFFERS)
    if not comparison.explains:
        return escape(RARELY.format(counted(len(causes), "point")))
    first = causes[0]
    alike = _alike(causes)
    if len(alike) > 1:
        names = [together(", " if place else None, element("code", cut(name, 200))) for place, name in enumerate(alike)]
        among = f", among {counted(len(causes), 'difference')} in what went in."
        kind = KINDS.get(first.kind, first.kind)
        return together("The likeliest cause: ", kind, ", one of ", element("strong", names), among)
    others = f", among {counted(len(causes), 'difference')} in what went in" if len(causes) > 1 else ""
    return together(
        "The likeliest cause: ", KINDS.get(first.kind, first.kind), " ", element("strong", element("code", first.name)),
        _changed(first.values), others, "."
    )  # fmt: skip


def _alike(causes: Sequence[Difference]) -> list[str]:
    """Return the names of the first cause and those that weigh as much; of many, how many more there are."""
    names = [each.name for each in causes if (each.kind, each.weight) == (causes[0].kind, causes[0].weight)]
    return names if len(names) <= MOST_ALIKE else [*names[: MOST_ALIKE - 1], f"{len(names) - MOST_ALIKE + 1} more"]


def _changed(values: Sequence[Any]) -> Html | None:
    if len(values) != 2 or any(len(as_text(value, 80)) > 40 for value in values):
        return None
    one, other = (element("code", as_text(value, 80)) for value in values)
    return together(", ", one, " against ", other)


def differing(differences: Sequence[Difference]) -> list[Difference]:
    """Return the differences among what is listed; what is equal, or noise, is there if everything was asked for."""
    return [each for each in differences if getattr(each, "counts", not each.same)]


def sections(comparison: Comparison, runs: Sequence[RunRecord] | None = None, level: int = 2) -> Html:
    """Return the causes, the outcomes and the limits of a comparison, each under a heading.

    Parameters
    ----------
    comparison : Comparison
    runs : sequence of RunRecord, optional
        Those that were compared, if their metrics are to be drawn.
    level : int
        Of the headings.
    """
    drawn = _curves(comparison, runs) if runs else None
    parts = [
        ("What went in", went_in(comparison)),
        ("What came out", together(came_out(comparison), drawn)),
        ("What could not be compared", not_compared(comparison)),
    ]
    return together([element(f"h{level}", heading), body] for heading, body in parts if body)


def went_in(comparison: Comparison) -> Html:
    """Return what differs in what went in, the likeliest cause first."""
    causes = comparison.causes
    if not causes:
        return element("p", "No difference was found.", class_="soft")
    strong, weak, equal = _told_apart(causes)
    is_ranked = comparison.explains and len(strong) > 1
    less_likely = _rows(weak, comparison.names, ranked=True, first=len(strong) + 1) if weak else None
    return together(
        element("p", "The likeliest explanation first.", class_="soft") if is_ranked else None,
        _rows(strong, comparison.names, ranked=True) if strong else None,
        folded(f"{len(weak):,} less likely", less_likely) if weak else None,
        _equal(equal, comparison.names),
    )


def _told_apart(
    causes: Sequence[Difference],
) -> tuple[list[Difference], list[Difference], list[Difference]]:
    """Return what is shown at once, what is folded away, and what is equal: causes that explain something come first.

    Where there are none, nothing that differs is folded away.
    """
    strong = [each for each in causes if each.explains]
    weak = [each for each in causes if not each.explains and not each.same]
    equal = [each for each in causes if each.same]
    return (strong, weak, equal) if strong else (weak, [], equal)


def _equal(differences: Sequence[Difference], names: Sequence[str]) -> Html | None:
    """Return what is equal, folded; nothing if it was not asked for."""
    return folded(f"{len(differences):,} equal", _rows(differences, names, ranked=False)) if differences else None


def not_compared(comparison: Comparison) -> Html | None:
    """Return what could not be compared; nothing if all could."""
    return element("ul", [element("li", said) for said in comparison.limits]) if comparison.limits else None


def came_out(comparison: Comparison) -> Html:
    """Return what differs in what came out, and what the runs took."""
    usage = [each for each in comparison.outcomes if each.kind == "usage"]
    others = [each for each in comparison.outcomes if each.kind != "usage" and not each.same]
    equal = [each for each in comparison.outcomes if each.kind != "usage" and each.same]
    return together(
        _rows(others, comparison.names, ranked=False) if others else None,
        element("p", agreed(comparison)) if comparison.agreements else None,
        folded("What they took", _rows(usage, comparison.names, ranked=False)) if usage else None,
        _equal(equal, comparison.names),
    )


def agreed(comparison: Comparison) -> str:
    """Say what came out the same."""
    return f"The same: {', '.join(comparison.agreements)}."


def _rows(differences: Sequence[Difference], names: Sequence[str], ranked: bool, first: int = 1) -> Html:
    """Return differences as a table, of which the end is folded if it is long, with unified diffs below it."""
    shown, width = differences[:MOST_ROWS], min(len(names), MOST_RUNS)
    notes = []
    if len(differences) > len(shown):
        notes.append(f"{counted(len(differences) - len(shown), 'more difference')} left out.")
    if len(names) > width:
        notes.append(f"The values of {counted(len(names) - width, 'more run')} are left out.")
    at_once = MOST_OPEN if len(shown) > MOST_OPEN + 5 else len(shown)
    rest = shown[at_once:]
    return together(
        _table(shown[:at_once], names, ranked, first, width),
        folded(f"{len(rest):,} more", _table(rest, names, ranked, first + at_once, width)) if rest else None,
        element("p", " ".join(notes), class_="soft small") if notes else None,
        _details(shown),
    )


def _table(differences: Sequence[Difference], names: Sequence[str], ranked: bool, first: int, width: int) -> Html:
    headings = [*(["#"] if ranked else []), "What", *map(called, names[:width])]
    caption = "What went in, the likeliest cause first" if ranked else "What is compared, in each run"
    rows: list[list[Any]] = []
    for rank, each in enumerate(differences, first):
        kind = KINDS.get(each.kind, each.kind)
        what = [
            element("code", each.name),
            element("span", " ", kind, class_="kind") if kind != each.name else None,
            element("span", each.why, class_="why") if each.why else None,
        ]
        origins = each.origins if len(set(each.origins)) > 1 else [None] * len(each.values)
        told = zip(each.values, shown_values(each, LONGEST_VALUE), origins)
        values = [_value(*one, each.why) for one in list(told)[:width]]
        rows.append([*([rank] if ranked else []), what, *values])
    numbers = (0,) if ranked else ()
    return table(headings, rows, "differences full", numbers, row_heading=int(ranked), caption=caption)


def _value(value: Any, short: str, origin: str | None, why: str) -> list[Any]:
    if value is MISSING:
        return [element("span", NOTHING, class_="missing")]
    text = as_text(value, LONGEST_VALUE)
    by = element("span", origin, class_="origin") if origin and origin not in why else None
    return [element("code", short, title=text if text != short else None), by]


def _details(differences: Sequence[Difference]) -> Html:
    """Return the unified diffs of some differences, the first open; each is cut, and all of them together."""
    parts: list[Html] = []
    room = ALL_DIFFS
    for each in differences:
        if not each.detail:
            continue
        shown = _fitting(each.detail[:LONGEST_DIFF].rstrip("\n").split("\n"), min(LONGEST_DIFF, room))
        room -= sum(map(len, shown)) + _PER_LINE * len(shown)
        left_out = each.detail.rstrip("\n").count("\n") + 1 - len(shown)
        note = element("p", f"{counted(left_out, 'more line')} left out.", class_="soft small") if left_out else None
        text = diff("\n".join(shown)) if shown else None
        summary = [element("code", each.name), element("span", " ", KINDS.get(each.kind, each.kind), class_="kind")]
        parts.append(folded(summary, text, note, opened=not parts and each.kind in CAUSES))
    return together(parts)


def _fitting(lines: Sequence[str], room: int) -> list[str]:
    """Return the first lines, each cut, as many as there is room for."""
    shown: list[str] = []
    for line in lines:
        line = cut(line, LONGEST_LINE)
        room -= len(line) + _PER_LINE
        if room < 0:
            break
        shown.append(line)
    return shown


def _curves(comparison: Comparison, runs: Sequence[RunRecord]) -> Html | None:
    metrics = [each.name for each in comparison.outcomes if each.kind == "metric"]
    wanted = dict.fromkeys(name for name in (metric_of(each, runs) for each in metrics) if name is not None)
    return curves_of(list(wanted), runs, [called(name) for name in comparison.names], "difference")


def metric_of(name: str, runs: Sequence[RunRecord]) -> str | None:
    """Return the metric that a path such as ``metrics.loss.last`` is about; None if no run has it."""
    short = name.removeprefix("metrics.")
    possible = (name, short, short.rpartition(".")[0])
    return next((each for each in possible if any(each in run.metrics for run in runs)), None)


def curves_of(metrics: Sequence[str], runs: Sequence[RunRecord], names: Sequence[str], prefix: str) -> Html | None:
    """Return the curves of metrics, those of all runs in one picture; None if none has two points.

    Parameters
    ----------
    metrics : sequence of str
    runs : sequence of RunRecord
    names : sequence of str
        Of the runs.
    prefix : str
        What identities in the page begin with.
    """
    starts = [run.start_time.timestamp() if run.start_time else None for run in runs]
    drawn = plots.figures(metrics[:MOST_PLOTS], [run.metrics for run in runs], starts, names, prefix)
    if drawn is None:
        return None
    more = len(metrics) - MOST_PLOTS
    note = element("p", f"{counted(more, 'more metric')} not drawn.", class_="soft small") if more > 0 else None
    return together(drawn, note)


def called(name: str) -> str:
    """Return what one of those that are compared is called; a folder's name is the way there.

    Examples
    --------
    >>> called("3"), called(".")
    ('run 3', 'working tree')
    """
    return "working tree" if name == "." else cut(f"run {name}", 60)


def _together(names: Sequence[str]) -> str:
    """Return the names of what is compared as one would say them.

    Examples
    --------
    >>> _together(["3", "4"]), _together(["1", "2", "3"]), _together(["12", "."])
    ('runs 3 and 4', 'runs 1, 2 and 3', 'run 12 and the working tree')
    """
    runs = [cut(str(name), 60) for name in names if name != "."]
    tree = " and the working tree" if "." in names else ""
    if len(runs) > MOST_RUNS:
        return f"{len(runs)} runs{tree}"
    if len(runs) == 1:
        return f"run {runs[0]}{tree}"
    return f"runs {', '.join(runs)}{tree}" if tree else f"runs {', '.join(runs[:-1])} and {runs[-1]}"


# ------------------------------------------------------------------------------------------------------------ Markdown


def as_markdown(comparison: Comparison, longest: int = LONGEST_MARKDOWN) -> str:
    """Return Markdown that says why runs differ, to be put under a pull request.

    Parameters
    ----------
    comparison : Comparison
    longest : int
        Characters, from 1,000 on. What finds no room is counted at the end.

    Returns
    -------
    str
        Text of records in it is no markup, mentions nobody and links nowhere.
    """
    text = _Limited(longest)
    text.add(f"### Why {markdown.prose(_together(comparison.names))} differ\n\n{_sentence(comparison)}\n")
    stores = stores_of(comparison.runs)
    if stores:
        told = [f"{markdown.prose(name)} is {markdown.code(cut(url, 200))}" for url, name in stores.items()]
        text.add(f"\nStores: {', '.join(told)}.\n")
    strong, weak, equal = _told_apart(comparison.causes)
    text.add_table("difference", "", strong, comparison.names, why=True)
    for each in strong:
        if each.detail:
            text.add_diff(each)
    text.add_table("difference", f"{len(weak):,} less likely", weak, comparison.names, why=True)
    came_out = [each for each in comparison.outcomes if not each.same]
    text.add_table("outcome", "#### What came out", came_out, comparison.names)
    if comparison.agreements:
        text.add(f"\n{'' if came_out else 'What came out: '}{agreed(comparison)}\n")
    equal += [each for each in comparison.outcomes if each.same]
    text.add_table("equal value", f"{len(equal):,} equal", equal, comparison.names)
    has_sources = any(each.kind == "source" and each.detail for each in strong)
    for each in (*weak, *came_out):
        if each.detail and not (has_sources and each.name == "git.patch"):  # it holds the same lines once more
            text.add_diff(each)
    if comparison.limits:
        said = "\n".join(f"- {markdown.prose(limit)}" for limit in comparison.limits)
        limits = markdown.folded("What could not be compared", said)
        text.add(f"\n{limits}\n", "list of what could not be compared")
    return text.finish()


def _sentence(comparison: Comparison) -> str:
    causes = differing(comparison.causes)
    if not causes:
        return NOTHING_WENT_IN_YET if differing(comparison.outcomes) else NOTHING_DIFFERS
    if not comparison.explains:
        return RARELY.format(counted(len(causes), "point"))
    first = causes[0]
    alike = _alike(causes)
    if len(alike) > 1:
        names = ", ".join(markdown.code(cut(name, 200)) for name in alike)
        return f"The likeliest cause is the {markdown.prose(KINDS.get(first.kind, first.kind))}, one of {names}."
    values = [as_text(value, 80) for value in first.values]
    changed = ""
    if len(values) == 2 and all(len(value) <= 40 for value in values):
        changed = f": {markdown.code(values[0])} against {markdown.code(values[1])}"
    kind = markdown.prose(KINDS.get(first.kind, first.kind))
    return f"The likeliest cause is the {kind} {markdown.code(cut(first.name, 200))}{changed}."


class _Limited:
    """Markdown with a limit to its length: what finds no room is left out, and counted."""

    def __init__(self, longest: int) -> None:
        self._parts: list[str] = []
        self._room = longest - 300  # for the sentence that counts
        self._left_out: dict[str, int] = {}

    def add(self, text: str, what: str = "") -> bool:
        """Add a part, if there is room for it."""
        if len(text) > self._room:
            self._count(what)
            return False
        self._parts.append(text)
        self._room -= len(text)
        return True

    def _count(self, what: str, count: int = 1) -> None:
        self._left_out[what] = self._left_out.get(what, 0) + count

    def add_table(
        self, what: str, heading: str, differences: Sequence[Difference], names: Sequence[str], why: bool = False
    ) -> None:
        """Add differences as a table, as many as find room; folded if the heading is none of Markdown's."""
        if not differences:
            return
        width = min(len(names), MOST_RUNS)
        columns = ["what", *(markdown.prose(called(name)) for name in names[:width])]
        top = markdown.header([*columns, "why"] if why else columns)
        rows: list[str] = []
        used = len(top) + len(heading) + 100
        for each in differences:
            row = _markdown_row(each, width, why)
            if len(rows) >= MOST_ROWS or used + len(row) + 1 > self._room:
                break
            rows.append(row)
            used += len(row) + 1
        if len(rows) < len(differences):
            self._count(what, len(differences) - len(rows))
        if rows:
            body = "\n".join([top, *rows])
            is_folded = heading and not heading.startswith("#")
            self.add("\n" + (markdown.folded(heading, body) if is_folded else f"{heading}\n\n{body}".lstrip()) + "\n")

    def add_diff(self, difference: Difference) -> None:
        """Add a unified diff, cut between lines if it is long or there is little room."""
        summary = markdown.code_in_html(cut(difference.name, 200))
        room = min(LONGEST_MARKDOWN_DIFF, self._room - len(summary) - 200)
        lines: list[str] = []
        used = 0
        for line in difference.detail[:LONGEST_MARKDOWN_DIFF].rstrip("\n").split("\n"):
            line = visible(cut(line, LONGEST_LINE), lines=True)
            used += len(line) + 1
            if used > room:
                break
            lines.append(line)
        if not lines:
            self._count("diff")
            return
        more = difference.detail.rstrip("\n").count("\n") + 1 - len(lines)
        note = f"\n\n{counted(more, 'more line')}" if more > 0 else ""
        self.add("\n" + markdown.folded(summary, markdown.fenced("\n".join(lines), "diff") + note) + "\n", "diff")

    def finish(self) -> str:
        """Return it all."""
        if self._left_out:
            told = ", ".join(counted(count, what) for what, count in self._left_out.items())
            self._parts.append(f"\nLeft out, since there is no room for more: {told}.\n")
        return "".join(self._parts)


def _markdown_row(each: Difference, width: int, why: bool) -> str:
    kind = KINDS.get(each.kind) or markdown.prose(each.kind)
    cells = [markdown.code(cut(each.name, 200)) + (f" {kind}" if kind != each.name else "")]
    origins = each.origins if len(set(each.origins)) > 1 else [None] * len(each.values)
    told = zip(each.values, shown_values(each, LONGEST_MARKDOWN_VALUE), origins)
    for value, short, origin in list(told)[:width]:
        shown = NOTHING if value is MISSING else markdown.code(short)
        cells.append(f"{shown}<br>{markdown.prose(cut(origin, 120))}" if origin and value is not MISSING else shown)
    return markdown.row([*cells, markdown.prose(cut(each.why, 300))] if why else cells)
