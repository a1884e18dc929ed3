"""The parts of a page about one run; each has a limit, and says what it leaves out."""

from __future__ import annotations

from capture.filters import MISSING
from capture.pages.comparison import curves_of
from capture.pages.html import Cell, element, folded, image, table, together
from capture.pages.values import LONGEST, as_text, as_words, at, cut
from capture.query._images import image_type
from capture.query.remotes import remote_of
from capture.wording import EXACT, NOTHING, counted, format_duration, format_size, format_value, printed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from capture.pages.html import Html
    from capture.records import RunRecord, StoredFile

MOST_ENTRIES = 500  #: of the configuration, packages, files, tags of a run
MOST_OPEN = 40  #: entries of the configuration that are not folded; of more, those that somebody set
LONGEST_OUTPUT = 100_000  #: characters of a run's output: the beginning and, mostly, the end
LONGEST_SOURCE = 60_000  #: characters of a source file
LONGEST_TRACE = 20_000
LONGEST_NOTES = 20_000
LARGEST_IMAGE = 2_000_000  #: bytes

#: characters and bytes that all runs of a page share
ALL_OUTPUT, ALL_SOURCES, ALL_IMAGES = 1_000_000, 1_000_000, 8_000_000


class Budget:
    """What the runs of a page may take: a share for each, and what all of them draw from."""

    def __init__(self, runs: int) -> None:
        self.entries = max(25, MOST_ENTRIES // runs)  # of each list
        self.value = LONGEST if runs == 1 else LONGEST // 5  # characters of a value
        self.output = min(LONGEST_OUTPUT, ALL_OUTPUT // runs)
        self.trace = max(2_000, LONGEST_TRACE // runs)
        self.notes = max(1_000, LONGEST_NOTES // runs)
        self.sources, self.images = ALL_SOURCES, ALL_IMAGES


def name_of(run: RunRecord) -> str:
    """Return what a run is called: its label, else the end of its uid."""
    label = run.label if run.label is not None else run.uid[-8:]
    return as_words(label, 60)


def left_out_note(count: int, thing: str, things: str | None = None) -> Html | None:
    """Return what is said of what finds no room; nothing if there is room for all."""
    return element("p", f"{counted(count, thing, things)} left out.", class_="soft small") if count > 0 else None


def tags_of(run: RunRecord, budget: Budget) -> Html | None:
    """Return the tags of a run; nothing if it has none."""
    tags = [element("span", as_words(tag, 100), class_="tag") for tag in run.tags[: budget.entries]]
    return element("p", tags) if tags else None


def notes_of(run: RunRecord, budget: Budget) -> Html | None:
    """Return what was noted on a run; nothing if nothing was."""
    return element("p", as_words(run.notes, budget.notes), class_="note") if run.notes else None


def cell_of(value: Any, digits: int | None = None) -> Cell:
    """Return a value for a table of many: a number with a few digits, that is sorted by all of them."""
    if value is MISSING:
        return Cell(element("span", NOTHING, class_="missing"), "")
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return Cell(cut(format_value(value, digits), 80), as_text(value) if is_number else None)


# ------------------------------------------------------------------------------------------------------------- one run


def parts_of(
    run: RunRecord, budget: Budget, prefix: str = "", curves: bool = True, level: int = 3
) -> list[tuple[str, str, Html]]:
    """Return the parts of a run that there are: an identity in the page, a heading, and what it says.

    `level` is that of the headings within the parts.
    """
    within = f"h{level}"
    parts = [
        ("failure", "Failure", _failure(run, budget)),
        ("result", "Result", _result(run, budget)),
        ("metrics", "Metrics", _metrics(run, budget, curves)),
        ("configuration", "Configuration", _configuration(run, budget)),
        ("images", "Images", _images(run, budget)),
        ("files", "Files", _files(run, budget, within)),
        ("output", "Output", _output(run, budget)),
        ("info", "Info", _info(run, budget, within)),
        ("lineage", "Lineage", _lineage(run, budget, within)),
        ("code", "Code version", _git(run)),
        ("environment", "Environment", _environment(run, budget)),
    ]
    return [(prefix + identity, heading, body) for identity, heading, body in parts if body]


def _failure(run: RunRecord, budget: Budget) -> Html | None:
    if not run.fail_trace:
        return None
    lines = run.fail_trace if isinstance(run.fail_trace, (list, tuple)) else [run.fail_trace]
    text = "".join(as_words(line, budget.trace) for line in lines)
    if len(text) > budget.trace:
        text = f"… ({len(text) - budget.trace:,} characters left out)\n{text[-budget.trace:]}"
    said = text.rstrip().rpartition("\n")[2]
    return together(
        element("p", element("strong", element("code", cut(said, 500)))),
        element("pre", element("code", text), class_="trace"),
    )


def _result(run: RunRecord, budget: Budget) -> Html | None:
    if run.result is None:
        return None
    if isinstance(run.result, (int, float, str)) and len(as_text(run.result)) <= 60:
        return element("p", format_value(run.result, EXACT), class_="result")
    return _value(run.result, budget)


def _value(value: Any, budget: Budget) -> Html:
    """Return any value: a table of its entries, if it has names for them, else as Python writes it."""
    if isinstance(value, dict) and 0 < len(value) <= min(100, budget.entries):
        rows = [[element("code", as_words(key, 200)), _inline(each, budget)] for key, each in value.items()]
        return table([], rows, "pairs", row_heading=0)
    return element("p", _inline(value, budget))


def _inline(value: Any, budget: Budget) -> Html:
    return element("code", as_text(value, budget.value))


def _metrics(run: RunRecord, budget: Budget, curves: bool) -> Html | None:
    if not run.metrics:
        return None
    summary = run.summary
    drawn = curves_of(list(run.metrics), [run], [f"run {name_of(run)}"], "metric") if curves else None
    rows = []
    for name in list(summary)[: budget.entries]:
        told = summary[name]
        numbers = [cell_of(told.get(part, MISSING)) for part in ("last", "min", "max", "step", "count")]
        rows.append([element("code", cut(name, 200)), *numbers])
    more = len(summary) - len(rows)
    note = left_out_note(more, "more metric")
    headings = ["metric", "last", "least", "greatest", "last step", "points"]
    listed = table(headings, rows, "sorts", range(1, 6), row_heading=0, caption="Metrics")
    values = together(listed, note)
    return together(drawn, folded("Values", values) if drawn else values)


def _configuration(run: RunRecord, budget: Budget) -> Html | None:
    from capture.query.columns import flat

    if not run.config:
        return None
    entries: dict[str, Any] = {}
    for key, value in run.config.items():
        entries.update(flat(value, as_words(key, 200)))
    origins, docs = (at(run.facts, "config", part) for part in ("origins", "docs"))
    rows = [
        [
            [
                element("strong", "* ") if _was_set(at(origins, path)) else None,
                element("code", cut(path, 200)),
                element("span", as_words(at(docs, path), 300), class_="origin") if at(docs, path) else None,
            ],
            element("code", as_text(value, budget.value)),
            element("span", as_words(at(origins, path), 300), class_="origin") if at(origins, path) else None,
        ]
        for path, value in list(entries.items())[: budget.entries]
    ]
    chosen = [_was_set(at(origins, path)) for path in list(entries)[: budget.entries]]
    known = isinstance(origins, dict) and origins
    headings = ["entry", "value", *(["set by"] if known else [])]

    def listed(some: list[list[Any]], about: str) -> Html:
        return table(headings, [row[: len(headings)] for row in some], row_heading=0, caption=about)

    first, others = rows, []
    if len(rows) > MOST_OPEN:
        first = [row for row, was_set in zip(rows, chosen) if was_set][:MOST_OPEN]
        others = [row for row in rows if not any(row is each for each in first)]
    return together(
        listed(first, "Configuration") if first else None,
        element("p", "* set for this run", class_="soft small") if any(chosen) else None,
        folded(
            counted(len(others), "more entry" if first else "entry", "more entries" if first else "entries"),
            listed(others, "More of the configuration"),
        )
        if others
        else None,
        left_out_note(len(entries) - len(rows), "more entry", "more entries"),
    )


def _was_set(origin: Any) -> bool:
    """Say whether somebody set an entry for this run: on the command line, in a named config, by an update."""
    from capture.query._config_differences import CHOSEN

    return isinstance(origin, str) and origin.startswith(CHOSEN)


def _output(run: RunRecord, budget: Budget) -> Html | None:
    text = _said(lambda: run.output)
    if text is None:
        return element("p", "The store cannot read its output.", class_="soft")
    if not text:
        return None
    text = printed(text)
    lines = counted(text.count("\n") + (not text.endswith("\n")), "line")
    if len(text) > budget.output:
        first = budget.output // 4
        head, tail = text[:first], text[len(text) - (budget.output - first) :]
        left_out = len(text) - budget.output
        gap = element("p", f"… {left_out:,} characters left out …", class_="soft small")
        return folded(
            f"{lines}, of which the beginning and the end are shown",
            element("pre", element("code", head)),
            gap,
            element("pre", element("code", tail)),
        )
    return folded(lines, element("pre", element("code", text)), opened=text.count("\n") <= 30)


def _said(read: Any) -> Any:
    """Return what `read` returns; None if the store has not got it, or cannot read it."""
    try:
        return read()
    except Exception as error:  # noqa: BLE001 - each store's driver has errors of its own; it is logged, the page goes on
        import logging

        logging.getLogger("capture").warning("a part of a run is left out of the report: %s", error)
        return None


# --------------------------------------------------------------------------------------------------------------- files


def _start_of(stored: StoredFile, longest: int) -> bytes | None:
    """Return the beginning of a file's bytes; None if the store has not got them."""

    def read() -> bytes:
        with stored.open() as stream:
            return stream.read(longest)

    return _said(read)


def _images(run: RunRecord, budget: Budget) -> Html | None:
    figures, left_out = [], 0
    for stored in run.artifacts[: budget.entries]:
        first = _start_of(stored, 16) or b""
        if image_type(first) is None:
            continue
        data = _start_of(stored, LARGEST_IMAGE + 1) if budget.images > 0 else None
        if data is None or len(data) > min(LARGEST_IMAGE, budget.images):
            left_out += 1
            continue
        budget.images -= len(data)
        name = cut(stored.name, 200)
        figures.append(element("figure", image(data, name), element("figcaption", name)))
    note = left_out_note(left_out, "image too large for the page", "images too large for the page")
    return together(element("div", figures, class_="images"), note) if figures or note else None


def _files(run: RunRecord, budget: Budget, within: str) -> Html | None:
    kinds = (("Artifacts", run.artifacts), ("Resources", run.resources))
    listed = [_listed(element(within, heading), files, budget) for heading, files in kinds if files]
    telling = _sources_with_secrets(run)
    sources = [_source(stored, budget, stored.name in telling) for stored in run.sources[: budget.entries]]
    more = len(run.sources) - len(sources)
    note = left_out_note(more, "more source")
    code = [element(within, "Sources"), sources, note] if sources else None
    return together(listed, code) if listed or code else None


def _sources_with_secrets(run: RunRecord) -> frozenset[str]:
    facts = run.facts.get("secrets")
    names = facts.get("in_sources") if isinstance(facts, dict) else None
    return frozenset(map(str, names)) if isinstance(names, list) else frozenset()


def _listed(heading: Html, files: Sequence[StoredFile], budget: Budget) -> Html:
    shown = files[: budget.entries]
    names = [element("code", cut(stored.name, 300)) for stored in shown]
    sizes = [Cell(format_size(stored.size), stored.size) for stored in shown]
    rows = [list(row) for row in zip(names, sizes, (_digest(stored.digest) for stored in shown), map(_type, shown))]
    more = len(files) - len(rows)
    note = left_out_note(more, "more file")
    headings = ["name", "size", "SHA-256", *(["type"] if any(stored.content_type for stored in files) else [])]
    rows = [row[: len(headings)] for row in rows]
    listed = table(headings, rows, "sorts", (1,), row_heading=0, caption="Files")
    return together(heading, listed, note)


def _digest(digest: Any) -> Html:
    if not digest:
        return element("span", NOTHING, class_="missing")
    return element("code", as_words(digest, 200)[:16], title=as_words(digest, 200), class_="digest")


def _type(stored: StoredFile) -> str:
    return as_words(stored.content_type or "", 100)


def _source(stored: StoredFile, budget: Budget, holds_secret: bool) -> Html:
    name = element("code", cut(stored.name, 300))
    size = element("span", f" {format_size(stored.size)} " if stored.size is not None else " ", class_="soft small")
    room = min(LONGEST_SOURCE, budget.sources)
    if holds_secret:
        why = "left out: what is masked elsewhere stands in it"
        return element("p", name, size, element("span", why, class_="soft small"), _digest(stored.digest))
    data = _start_of(stored, room * 4 + 1) if room > 0 else b""
    if data is None:
        return element("p", name, size, element("span", "its bytes are not in the store", class_="soft small"))
    if not room or b"\x00" in data:
        why = "left out: there is no room for more sources" if not room else "no text"
        return element("p", name, size, element("span", why, class_="soft small"), _digest(stored.digest))
    text = data.decode("utf-8", "replace")
    shown = text[:room]
    budget.sources -= len(shown)
    is_whole = len(shown) == len(text) and len(data) <= room * 4
    note = None if is_whole else element("p", f"Cut after {len(shown):,} characters.", class_="soft small")
    return folded([name, size], element("pre", element("code", shown)), note)


# --------------------------------------------------------------------------------------------------------------- facts


def _pairs(pairs: Iterable[tuple[str, Any]]) -> Html | None:
    """Return a table of what is known; what is not known is left out."""
    rows = [[name, value] for name, value in pairs if value is not None and value != ""]
    return table([], rows, "pairs", row_heading=0) if rows else None


def _plain(value: Any, longest: int = 300) -> str | None:
    """Return a fact as text; None if it is not known, or says why it is not."""
    if value is None or (isinstance(value, dict) and "unavailable" in value):
        return None
    return as_words(value, longest)


def _info(run: RunRecord, budget: Budget, within: str) -> Html | None:
    told = {key: value for key, value in run.info.items() if key != "metrics"}  # where Sacred keeps their places
    parts = [_value(told, budget) if told else None]
    params = run.params
    if isinstance(params, dict) and params:
        parts += [element(within, "Parameters"), _value(params, budget)]
    return together(parts) if told or params else None


def _git(run: RunRecord) -> Html | None:
    late, repositories = run.facts.get("git"), run.experiment.get("repositories")
    more = {as_words(each.get("commit"), 80): each for each in _dicts(late)}
    parts = [
        _repository(each, more.get(as_words(each.get("commit"), 80)) or {}, remote_of(run, each.get("url")))
        for each in _dicts(repositories)[:20]
    ]
    return together(parts) if any(parts) else None


def _dicts(listed: Any) -> list[dict[str, Any]]:
    """Return the dicts of a list; none if it is no list."""
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, (list, tuple)) else []


def _repository(told: dict[str, Any], late: dict[str, Any], remote: str) -> Html | None:
    dirty, untracked = told.get("dirty"), late.get("untracked")
    return _pairs(
        [
            ("Repository", _plain(remote or late.get("root"))),
            ("Commit", element("code", as_words(told["commit"], 80)) if told.get("commit") else None),
            ("Branch", _plain(late.get("branch"))),
            ("Uncommitted changes", {True: "yes", False: "none"}.get(dirty) if isinstance(dirty, bool) else None),
            ("Untracked files", f"{len(untracked):,}" if isinstance(untracked, list) and untracked else None),
        ]
    )


def _environment(run: RunRecord, budget: Budget) -> Html | None:
    facts, host = run.facts, run.host if isinstance(run.host, dict) else {}
    machine, process, usage = facts.get("machine"), facts.get("process"), facts.get("usage")
    system = host.get("os")
    argv = at(process, "argv")
    memory = at(machine, "memory", "total_bytes")
    known = _pairs(
        [
            ("Command", _plain(run.command)),
            ("Command line", element("code", cut(_words(argv), 1000)) if isinstance(argv, list) and argv else None),
            ("Host", _plain(host.get("hostname"))),
            ("User", _plain(_said(lambda: run.user))),
            ("System", _plain(system[-1] if isinstance(system, (list, tuple)) and system else system)),
            ("Processor", _plain(host.get("cpu"))),
            ("Cores", _plain(at(machine, "cores", "usable"))),
            ("Memory", format_size(memory) if memory is not None else None),
            ("GPU", _gpus(facts.get("gpu") or host.get("gpus"))),
            ("Python", _plain(host.get("python_version") or at(facts, "environment", "python", "version"))),
            ("CPU time", format_duration(at(usage, "cpu_s")) if at(usage, "cpu_s") is not None else None),
            ("Peak memory", format_size(at(usage, "peak_memory_bytes")) if at(usage, "peak_memory_bytes") else None),
        ]
    )
    return together(known, _packages(run, budget)) if known or run.experiment.get("dependencies") else None


def _words(words: Sequence[Any]) -> str:
    import shlex

    return shlex.join(as_words(word, 1000) for word in words[:200])


def _gpus(told: Any) -> str | None:
    """Return the names of GPUs, in the form of our facts and in that of Sacred."""
    devices = at(told, "devices") or at(told, "gpus") or (told if isinstance(told, list) else None)
    if not isinstance(devices, list):
        return None
    names = [as_words(each.get("name") or each.get("model") or "", 100) for each in _dicts(devices)]
    return cut(", ".join(name for name in names if name), 300) or None


def _packages(run: RunRecord, budget: Budget) -> Html | None:
    listed = run.experiment.get("dependencies") or []
    if not isinstance(listed, (list, tuple)) or not listed:
        return None
    shown = sorted(as_words(each, 200) for each in listed)[: budget.entries]
    more = len(listed) - len(shown)
    note = left_out_note(more, "more package")
    text = element("pre", element("code", "\n".join(shown)))
    return folded(f"{counted(len(listed), 'package')} imported", text, note)


def _lineage(run: RunRecord, budget: Budget, within: str) -> Html | None:
    facts = run.facts.get("lineage")
    parts = []
    for heading, topic in (("Read", "inputs"), ("Written", "outputs")):
        files = _dicts(at(facts, topic))
        if files:
            rows = [
                [
                    element("code", as_words(each.get("path") or each.get("name") or "", 300)),
                    Cell(format_size(each.get("size")), _plain(each.get("size"))),
                    _digest(each.get("digest")),
                ]
                for each in files[: budget.entries]
            ]
            more = len(files) - len(rows)
            note = left_out_note(more, "more file")
            listed = table(["file", "size", "SHA-256"], rows, "sorts", (1,), row_heading=0, caption=f"Files: {heading}")
            parts.append([element(within, heading), listed, note])
    coverage = _plain(at(facts, "coverage", "text"), 3000)
    if not parts:
        return None
    return together(parts, element("p", coverage, class_="soft small") if coverage else None)
