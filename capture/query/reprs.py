"""What notebooks show of runs: pieces of HTML that need nothing else, in which all that a record holds is escaped.

A notebook puts them into a page of its own, so styles stand in the elements. Nothing is fetched and nothing runs.
"""

from __future__ import annotations

import html

from capture.errors import CaptureError
from capture.filters import MISSING, lookup
from capture.query._images import image_type
from capture.query.columns import flat, short_names, table_of, varying
from capture.query.grouping import is_number
from capture.query.known import states_of
from capture.query.signs import remark
from capture.wording import (
    EXACT,
    aligned,
    counted,
    digits_apart,
    fitted,
    format_duration,
    format_exact,
    format_size,
    format_utc,
    format_value,
    printed,
    visible,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from capture.query.client import Store
    from capture.query.files import RunFile
    from capture.query.runs import Runs
    from capture.query.stored_run import StoredRun
    from capture.records import Series

ROWS = 20  #: of a table of runs
_STATES_UP_TO = 500  #: runs of a store up to which each is asked for its state
_COLUMNS = 14  #: of a table of runs, of those that vary
_ALWAYS = ("name", "state", "start_time")
_LONGEST = 120  #: characters of a value in a table
_WHOLE = 32  #: characters up to which a value is not broken into lines
_TEXT = 20_000  #: characters of a text file, and of output
_LINES = 200
_TABLE_ROWS, _TABLE_COLUMNS = 20, 20  #: of a CSV file
_IMAGE_BYTES = 5_000_000
_POINTS = 120  #: of a sparkline
_ENTRIES, _METRICS, _FILES = 500, 30, 100  #: that a run shows; the others are counted
_OPEN = 40  #: entries of a configuration; a longer one is folded

NO_DIGITS: Mapping[int, int] = {}  #: of no column

_COLOURS = {
    "COMPLETED": "#1a7f37",
    "FAILED": "#cf222e",
    "DIED": "#cf222e",
    "TIMEOUT": "#cf222e",
    "RUNNING": "#0969da",
    "QUEUED": "#0969da",
}
_CELL = "text-align:left;vertical-align:top;padding:2px 10px 2px 0;overflow-wrap:break-word;max-width:40em"
_NUMBER = "text-align:right;vertical-align:top;padding:2px 10px 2px 0;white-space:nowrap"
_HEADING = "white-space:nowrap;max-width:none"
_SOFT = "opacity:.65"


def escape(value: object) -> str:
    """Return any text as HTML that shows it."""
    return html.escape(visible(str(value), lines=True))


def shown(value: Any, longest: int = _LONGEST, digits: int | None = None) -> str:
    """Return a value as a short text on one line, numbers with so many digits; nothing for what is missing."""
    if value is MISSING or value is None:
        return ""
    if isinstance(value, str):  # the beginning of a long one: all of it would be looked through
        text = " ".join(value[: 10 * longest].split())
    elif hasattr(value, "astimezone"):
        text = format_utc(value)
    elif isinstance(value, list) and all(isinstance(each, str) for each in value):
        text = ", ".join(value)
    else:
        text = format_value(value, digits)
    return fitted(visible(text[: 10 * longest]), longest)


# ---------------------------------------------------------------------------------------------------------- tables


def table_html(headings: Sequence[str], rows: Iterable[Sequence[Any]], digits: Mapping[int, int] = NO_DIGITS) -> str:
    """Return a table that scrolls where it is wider than the notebook; cells are values, or `Markup`.

    `digits` are those of the numbers in some columns.
    """
    rows = list(rows)
    top = "".join(
        f'<th scope="col" style="{_NUMBER if _are_numbers(rows, place) else _CELL};{_HEADING}">{escape(heading)}</th>'
        for place, heading in enumerate(headings)
    )
    body = "".join(
        f"<tr>{''.join(_cell(value, digits.get(place)) for place, value in enumerate(row))}</tr>" for row in rows
    )
    head = f"<thead><tr>{top}</tr></thead>" if headings else ""
    return f'<div style="overflow-x:auto"><table>{head}<tbody>{body}</tbody></table></div>'


def _are_numbers(rows: Sequence[Sequence[Any]], place: int) -> bool:
    """Say whether a column holds numbers and nothing else, so that its heading stands where they stand."""
    values = [row[place] for row in rows if place < len(row)]
    values = [value for value in values if value is not MISSING and value is not None]
    return bool(values) and all(_is_number(value) for value in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def _code(text: str) -> Markup:
    return Markup(f"<code>{escape(text)}</code>")


def _cell(value: Any, digits: int | None = None) -> str:
    if isinstance(value, Markup):
        return f'<td style="{_CELL}">{value}</td>'
    text = shown(value, digits=digits)
    style = _NUMBER if _is_number(value) else f"{_CELL};white-space:nowrap" if len(text) <= _WHOLE else _CELL
    return f'<td style="{style}">{escape(text)}</td>'


def state_html(state: str) -> Markup:
    """Return a state behind a dot in its colour; the word has that of the notebook, so that it can be read on any."""
    dot = f'<span style="color:{_COLOURS[state]}" aria-hidden="true">●</span> ' if state in _COLOURS else ""
    return Markup(f'<span style="white-space:nowrap">{dot}{escape(state)}</span>')


def chosen_columns(runs: Sequence[Any]) -> list[str]:
    """Return the columns of a table that is looked at: those in which the runs differ, and what came out."""
    table = table_of(runs)
    names = [name for name in table if name.startswith(("config.", "metrics."))]
    differing = set(varying(names, list(zip(*(table[name] for name in names))))) if names else set()
    config = [name for name in names if name.startswith("config.") and name in differing]
    config.sort(key=lambda name: sum(value is MISSING for value in table[name]))  # what most of them have comes first
    metrics = [name for name in names if name.startswith("metrics.")]
    result = ["result"] if any(not _is_nothing(value) for value in table["result"]) else []
    tags = ["tags"] if "tags" in table else []
    room = max(_COLUMNS - len(result) - len(tags), 2)
    some = config[: max(room - len(metrics), room // 2)]
    return [*some, *result, *metrics[: room - len(some)], *tags]


def _is_nothing(value: Any) -> bool:
    return value is MISSING or value is None or isinstance(value, (dict, list))


def config_digits(columns: Sequence[str], rows: Sequence[Sequence[Any]], first: int = 0) -> dict[int, int]:
    """Return the digits of the numbers in columns of the configuration, of which the first stands in place `first`."""
    return {
        place: digits_apart(row[place] for row in rows)
        for place, column in enumerate(columns, first)
        if column.startswith("config.")
    }


def runs_table(runs: Sequence[StoredRun]) -> tuple[list[str], list[list[Any]], dict[int, int]]:
    """Return headings, rows, and digits of numbers of a table of runs."""
    columns = chosen_columns(runs)
    short = short_names(columns)
    rows = [[str(run.label), *(lookup(run, path) for path in (*_ALWAYS, *columns))] for run in runs]
    headings = ["label", "name", "status", "start_time", *(short[column] for column in columns)]
    return headings, rows, config_digits(columns, rows, len(headings) - len(columns))


def store_html(store: Store) -> str:
    """Return where a store is, how many runs it has, and of few how many are in which state; or why it cannot be read.

    A notebook shows this unasked, so that records, which may be many and large, are not read for it.
    """
    where = f"store <b>{escape(store.url)}</b>"
    try:
        count = len(store.labels())
        states = states_of(store) if count <= _STATES_UP_TO else {}
    except (OSError, CaptureError) as error:
        return f"<div>{where}</div><div>{escape(error)}</div>"
    told = " · ".join(f"{state_html(state)} {number:,}" for state, number in states.items())
    return f"<div>{where} · {counted(count, 'run')}</div>" + (f"<div>{told}</div>" if told else "")


def runs_html(runs: Runs) -> str:
    """Return a table of the first runs."""
    first, count = runs[:ROWS], len(runs)
    if not count:
        return f"<div>no runs{escape(_of(runs))}</div>"
    headings, rows, digits = runs_table(list(first))
    for row in rows:
        row[2] = state_html(row[2])
    more = f", the first {ROWS}:" if count > ROWS else ""
    said = f"{counted(count, 'run')}{escape(_of(runs))}{more}"
    return f'<div style="{_SOFT}">{said}</div>{table_html(headings, rows, digits)}'


def _of(runs: Runs) -> str:
    return f" of {runs.store.url}"


def text_table(headings: Sequence[str], rows: Iterable[Sequence[Any]], digits: Mapping[int, int] = NO_DIGITS) -> str:
    """Return an aligned table as text; `digits` are those of the numbers in some columns."""
    cells = ([shown(value, 40, digits.get(place)) for place, value in enumerate(row)] for row in rows)
    return "\n".join(aligned([*map(visible, headings)], cells))


# ----------------------------------------------------------------------------------------------------------- a run


def run_html(run: StoredRun) -> str:
    """Return what one looks at first of a run: state, configuration, result, metrics, files, the end of its output."""
    title = f"<b>{escape(run.name or 'run')} {escape(run.label if run.label is not None else run.uid[-8:])}</b>"
    facts = [f"{title} {state_html(run.state)}"]
    if run.start_time:
        facts.append(escape(format_utc(run.start_time)))
    if run.duration is not None:
        facts.append(escape(format_duration(run.duration)))
    facts += [escape(f"#{tag}") for tag in run.tags]
    parts = [f"<div>{' · '.join(facts)}</div>"]
    said = remark(run)
    if said:
        parts.append(f'<div style="{_SOFT}">{escape(said)}</div>')
    if run.notes:
        parts.append(f'<div style="white-space:pre-wrap">{escape(_cut(run.notes))}</div>')
    if run.result is not None:
        parts.append(f"<div>result: <b>{escape(fitted(format_value(run.result, EXACT), 1000))}</b></div>")
    if run.fail_trace:
        parts.append(_folded("traceback", _pre("".join(run.fail_trace)[-_TEXT:]), is_open=True))
    if run.config:
        count = len(flat(dict(run.config), "config"))
        parts.append(_folded(f"config ({count})", config_html(run.config), is_open=count <= _OPEN))
    if run.summary:
        parts.append(_folded(f"metrics ({len(run.summary)})", metrics_html(run), is_open=True))
    for kind in ("artifacts", "resources", "sources"):
        files = getattr(run, kind)
        if files:
            parts.append(_folded(f"{kind} ({len(files)})", files_html(files)))
    output = printed(run.output)
    if output:
        parts.append(_folded("output", _pre(output if len(output) <= _TEXT else "…\n" + output[-_TEXT:])))
    return '<div class="capture-run">' + "".join(parts) + "</div>"


def config_html(config: Mapping[str, Any]) -> str:
    """Return a configuration as a table of its leaves."""
    leaves = flat(dict(config), "config")
    rows = [
        [_code(path[7:]), Markup(escape(fitted(format_exact(value), _LONGEST)))]
        for path, value in list(leaves.items())[:_ENTRIES]
    ]
    return table_html((), rows) + _and_more(len(leaves) - len(rows))


def _and_more(count: int) -> str:
    return f'<div style="{_SOFT}">and {count} more</div>' if count > 0 else ""


def metrics_html(run: StoredRun) -> str:
    """Return a table of metrics, each with a small curve."""
    rows: list[list[Any]] = []
    for name in list(run.summary)[:_METRICS]:
        told = run.summary[name]
        curve = Markup(sparkline_svg(run.metrics[name])) if name in run.metrics else ""
        rows.append([_code(name), curve, *(told.get(key) for key in ("last", "min", "max", "count"))])
    headings = ("metric", "", "last", "min", "max", "points")
    return table_html(headings, rows) + _and_more(len(run.summary) - len(rows))


def files_html(files: Sequence[Any]) -> str:
    """Return a table of files."""
    rows = [[_code(each.name), format_size(each.size), (each.digest or "")[:12]] for each in files[:_FILES]]
    return table_html(("name", "size", "digest"), rows) + _and_more(len(files) - len(rows))


def _folded(summary: str, content: str, is_open: bool = False) -> str:
    return f"<details{' open' if is_open else ''}><summary>{escape(summary)}</summary>{content}</details>"


def _pre(text: str) -> str:
    return f'<pre style="max-height:30em;overflow:auto;white-space:pre-wrap">{escape(text)}</pre>'


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else text[:_TEXT] + "\n…"


def sparkline_svg(series: Series, width: int = 160, height: int = 28) -> str:
    """Return a small curve of a series as SVG that stands in a line; "" if there is nothing to draw."""
    values = thinned([value for value in series.values if is_number(value)], _POINTS)
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    # Halved first, since the difference of two floats may be beyond their range.
    span = high / 2 - low / 2 or 1
    across, up = (width - 4) / (len(values) - 1), height - 4
    points = " ".join(
        f"{2 + across * place:.1f},{height - 2 - up * ((value / 2 - low / 2) / span):.1f}"
        for place, value in enumerate(values)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'<polyline points="{points}" fill="none" stroke="#0969da" stroke-width="1.5"/></svg>'
    )


def thinned(values: Sequence[Any], most: int) -> list[Any]:
    """Return at most `most` values that keep the outline: of each stretch its smallest and largest, in their order.

    Examples
    --------
    >>> thinned([0, 1, 2, 9, 0, 1, 1, 1], 4)
    [0, 9, 0, 1]
    """
    if len(values) <= most:
        return list(values)
    stretches = max(most // 2, 1)
    kept: list[Any] = []
    for number in range(stretches):
        some = values[number * len(values) // stretches : (number + 1) * len(values) // stretches]
        low, high = min(range(len(some)), key=some.__getitem__), max(range(len(some)), key=some.__getitem__)
        kept += [some[place] for place in sorted({low, high})]
    return kept


# ---------------------------------------------------------------------------------------------------------- a file


def file_bundle(file: RunFile) -> dict[str, Any]:
    """Return what a notebook shows of a file: images, tables and text, up to some size; of all else, what it is called.

    HTML and SVG can hold scripts; they are never shown as what they are, but as text.
    """
    plain = repr(file)
    caption = f'<div style="{_SOFT}">{escape(file.name)} · {escape(format_size(file.size))}</div>'
    try:
        with file.open() as stream:
            head = stream.read(_TEXT * 4)
            kind = image_type(head)
            if kind is not None:
                whole = head + stream.read(_IMAGE_BYTES + 1 - len(head))
                return _image_bundle(plain, caption, kind, whole)
    except (OSError, CaptureError) as error:
        return {"text/plain": f"{plain}: {error}", "text/html": f"{caption}<div>{escape(error)}</div>"}
    text = text_of(head)
    if text is None:
        return {"text/plain": plain, "text/html": caption}
    short = "".join(text.splitlines(keepends=True)[:_LINES])[:_TEXT]
    if len(short) < len(text):
        short += "\n…"
    if file.name.lower().endswith((".csv", ".tsv")) or file.content_type == "text/csv":
        is_whole = len(head) < _TEXT * 4
        body = csv_html(text, "\t" if file.name.lower().endswith(".tsv") else ",", is_whole)
    else:
        body = _pre(short)
    return {"text/plain": f"{plain}\n{visible(short, lines=True)}", "text/html": caption + body}


def _image_bundle(plain: str, caption: str, kind: str, data: bytes) -> dict[str, Any]:
    if len(data) > _IMAGE_BYTES:
        return {"text/plain": plain, "text/html": caption + f"<div>too large to be shown here: {kind}</div>"}
    import base64

    encoded = base64.b64encode(data).decode("ascii")
    picture = f'<img src="data:{kind};base64,{encoded}" style="max-width:100%"/>'
    return {"text/plain": plain, "text/html": caption + picture}


def text_of(data: bytes) -> str | None:
    """Return bytes as text, or None if they are none; the last character may be cut in two."""
    if b"\x00" in data:
        return None
    import codecs

    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return None


def csv_html(text: str, separator: str, is_whole: bool = True) -> str:
    """Return the first rows and columns of a CSV file as a table; it says that there are more."""
    import csv
    import io
    from itertools import islice

    try:
        rows = list(islice(csv.reader(io.StringIO(text, newline=""), delimiter=separator), _TABLE_ROWS + 2))
    except csv.Error:
        return _pre(_cut(text))
    if not is_whole and 1 < len(rows) < _TABLE_ROWS + 2:
        rows.pop()  # it is cut somewhere
    columns = max(map(len, rows), default=0) - _TABLE_COLUMNS
    said = ["more rows"] if not is_whole or len(rows) > _TABLE_ROWS + 1 else []
    said += [counted(columns, "more column")] if columns > 0 else []
    rows = [row[:_TABLE_COLUMNS] for row in rows[: _TABLE_ROWS + 1]]
    note = f'<div style="{_SOFT}">… {", ".join(said)}</div>' if said else ""
    return table_html(rows[0] if rows else (), rows[1:]) + note
