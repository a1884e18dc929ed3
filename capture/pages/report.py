"""A page about one or several runs that needs nothing but itself.

Each part has a limit, and so has the page: what is left out is said where it would stand.
"""

from __future__ import annotations

from capture.filters import MISSING
from capture.pages.comparison import (
    came_out,
    closing,
    curves_of,
    in_a_sentence,
    not_compared,
    stores_in_words,
    went_in,
)
from capture.pages.html import Cell, element, folded, page, table, together
from capture.pages.one_run import (
    Budget,
    cell_of,
    left_out_note,
    notes_of,
    parts_of,
    tags_of,
)
from capture.pages.states import badge, remark_in_short, remark_on
from capture.pages.values import as_words, cut
from capture.query.addresses import names_of, stores_of
from capture.wording import NOTHING, counted, digits_apart, format_duration, format_utc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from capture.pages.html import Html
    from capture.query.differences import Comparison
    from capture.records import RunRecord

MOST_RUNS = 50  #: a page with more cannot be read
MOST_COLUMNS = 12  #: entries of the configuration that the table of runs shows


def report(runs: Sequence[RunRecord], title: str | None = None, comparison: Comparison | None = None) -> str:
    """Return a page about runs.

    Parameters
    ----------
    runs : sequence of RunRecord
        One to fifty; they are shown in this order.
    title : str, optional
    comparison : Comparison, optional
        Why they differ; two or more are compared if none is given.

    Returns
    -------
    str
        HTML that loads nothing and runs no script of a record's; at most some twenty megabytes, half of them images.

    Raises
    ------
    ValueError
        If there are no runs, or more than fifty.
    """
    if not 1 <= len(runs) <= MOST_RUNS:
        raise ValueError(f"a report is about 1 to {MOST_RUNS} runs, got {len(runs)}")
    names = [as_words(name, 60) for name in names_of(runs)]
    budget = Budget(len(runs))
    if len(runs) == 1:
        parts = parts_of(runs[0], budget)
    else:
        parts = _several(runs, names, comparison or _compared(runs), budget)
    heading = title or _title(runs, names)
    links = [element("a", text, href=f"#{identity}") for identity, text, _ in parts]
    return page(
        heading,
        element(
            "header",
            element("h1", heading),
            _lead(runs[0], budget) if len(runs) == 1 else _lead_of_several(runs),
            element("nav", links, aria_label="Parts of this page"),
        ),
        element("main", [element("section", _heading(text), body, id=identity) for identity, text, body in parts]),
        element("footer", element("p", closing())),
    )


def _compared(runs: Sequence[RunRecord]) -> Comparison | None:
    from capture.query.differences import compare

    try:
        return compare(list(runs))
    except Exception:  # a record made by others can be of any shape; the rest of the page is worth having
        import logging

        logging.getLogger("capture").exception("the runs of the report could not be compared")
        return None


def _title(runs: Sequence[RunRecord], names: Sequence[str]) -> str:
    experiments = list(dict.fromkeys(run.name for run in runs if run.name))
    about = f" of {cut(experiments[0], 80)}" if len(experiments) == 1 else ""
    if len(runs) == 1:
        return f"Run {names[0]}{about}"
    shown = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) <= 6 else f"{len(names)} of them"
    return f"Runs {shown}{about}" if len(names) <= 6 else f"{len(names)} runs{about}"


def _heading(text: str) -> Html | None:
    return element("h2", text) if text else None


# ----------------------------------------------------------------------------------------------------------- overviews


def _lead(run: RunRecord, budget: Budget) -> Html:
    said = [format_utc(run.start_time), format_duration(run.duration)]
    parts = [badge(run), *([" · ", element("span", each, class_="whole")] for each in said if each != NOTHING)]
    return together(element("p", parts, remark_on(run), class_="lead"), tags_of(run, budget), notes_of(run, budget))


def _lead_of_several(runs: Sequence[RunRecord]) -> Html:
    times = sorted(format_utc(run.start_time) for run in runs if run.start_time is not None)
    if not times:
        return element("p", counted(len(runs), "run"), class_="lead")
    (day, _, first), (last_day, _, last) = times[0].partition(" "), times[-1].partition(" ")
    until = last if day == last_day else times[-1]
    started = f"{counted(len(runs), 'run')}, started {day} {first.removesuffix(' UTC')} to {until}"
    return element("p", started, class_="lead")


def _several(
    runs: Sequence[RunRecord], names: Sequence[str], comparison: Comparison | None, budget: Budget
) -> list[tuple[str, str, Html]]:
    """Return the parts of a page about several runs: what differs comes first, since it is why they stand together."""
    metrics = list(dict.fromkeys(name for run in runs for name in run.metrics))
    parts = [
        ("differences", "What differs", _differences(runs, names, comparison)),
        ("metrics", "Metrics", curves_of(metrics, runs, [f"run {name}" for name in names], "metric")),
        ("outcomes", "What came out", came_out(comparison) if comparison else None),
        ("limits", "What could not be compared", not_compared(comparison) if comparison else None),
        ("each", "Run by run", together(_folded_run(*each, budget) for each in zip(range(len(runs)), runs, names))),
    ]
    return [(identity, heading, body) for identity, heading, body in parts if body]


def _differences(runs: Sequence[RunRecord], names: Sequence[str], comparison: Comparison | None) -> Html:
    overview = _overview(runs, names)
    if comparison is None:
        why = "These runs could not be compared: something in their records is not as it should be."
        return together(element("p", why), overview)
    sentence = element("p", in_a_sentence(comparison), class_="headline")
    stores = stores_in_words(runs) if stores_of(runs) else None
    return together(sentence, overview, stores, element("h3", "What went in"), went_in(comparison))


def _folded_run(place: int, run: RunRecord, name: str, budget: Budget) -> Html:
    parts = parts_of(run, budget, f"run-{place}-", curves=False, level=5)
    return folded(
        [element("h3", f"Run {name}"), " ", badge(run)],
        remark_on(run),
        tags_of(run, budget),
        notes_of(run, budget),
        [element("section", element("h4", heading) if heading else None, body) for _, heading, body in parts],
        class_="run",
        id=f"run-{place}",
    )


def _most_frequent(columns: list[str], runs: Sequence[RunRecord]) -> list[str]:
    """Return columns, those first that most of the runs have."""
    from capture.query.columns import rows_of

    missing = {
        column: sum(value is MISSING for value in values)
        for column, values in zip(columns, zip(*rows_of(runs, columns)))
    }
    return sorted(columns, key=lambda column: missing.get(column, 0))


def _overview(runs: Sequence[RunRecord], names: Sequence[str]) -> Html:
    """Return a table of the runs: what varies of their configuration, and the last value of each metric."""
    from capture.query.columns import columns_of, rows_of, short_names, table_of, varying

    columns = [column for column in columns_of(runs) if column != "result"]
    differing = varying(columns, rows_of(runs, columns))
    config = _most_frequent([column for column in differing if column.startswith("config.")], runs)[:MOST_COLUMNS]
    metrics = [column for column in columns if column.startswith("metrics.")][:MOST_COLUMNS]
    shown = [*config, *metrics]
    short = short_names(shown)
    several = len({run.name for run in runs}) > 1
    digits = [digits_apart(told) if column in config else None for column, told in table_of(runs, shown).items()]
    rows = []
    cells = rows_of(runs, shown) if shown else [[] for _ in runs]  # a table of no columns has no rows either
    for place, (run, name, values) in enumerate(zip(runs, names, cells)):
        rows.append(
            [
                element("a", name, href=f"#run-{place}"),
                *([as_words(run.name, 80)] if several else []),
                [badge(run), remark_in_short(run)],
                Cell(
                    element("span", format_utc(run.start_time), class_="whole"),
                    run.start_time.timestamp() if run.start_time else "",
                ),
                Cell(format_duration(run.duration), run.duration if run.duration is not None else ""),
                *map(cell_of, values, digits),
                cell_of(run.result if run.result is not None else MISSING),
            ]
        )
    leading = ["run", *(["experiment"] if several else []), "state", "started"]
    headings = [*leading, "took", *(element("code", short[column]) for column in shown), "result"]
    left_out = len([column for column in differing if column.startswith("config.")]) - len(config)
    note = left_out_note(left_out, "more entry that differs", "more entries that differ")
    caption = "The runs: what differs in their configuration, and the last value of each metric"
    numbers = range(len(leading), len(headings))
    return together(table(headings, rows, "sorts", numbers, row_heading=0, caption=caption), note)
