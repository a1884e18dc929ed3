r"""How values read, wherever they are shown: numbers, sizes, time spans, times, and text that others wrote.

A number must look the same in a terminal, in a notebook and on a page. What a medium needs on top, such as HTML's own
escaping, is added where it is written; text from here is plain text, in which nothing is hidden.

Numbers are short where they are looked at (`format_value`), and whole where people copy them, as of a configuration
(`format_exact`). In a table of configurations they have the digits that tell them apart (`digits_apart`).
"""

from __future__ import annotations

from capture.filters import MISSING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from typing import Any

PRECISION = 5  #: significant digits of a number where nobody asks for another precision
EXACT = 17  #: from so many digits on a number is written as Python writes it: no other one reads so
NOTHING = "-"  #: stands where there is no value

_WIDEST = 200  #: columns that a cell widens its column to: a megabyte in one line must not be one in each
_JOINERS = "\u200c\u200d"  #: invisible, but part of how words and emoji are written


# -------------------------------------------------------------------------------------------------- other people's text


class _Spelling(dict[int, str]):
    """Character -> how it is shown; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        from unicodedata import category

        char = chr(code)
        # Spaces of other widths, what newer Unicode has added and private fonts are harmless; the last two of each
        # 65,536 are no characters, and no HTML.
        is_harmless = char.isprintable() or category(char) in ("Zs", "Cn", "Co") or char in _JOINERS
        shown = self[code] = char if is_harmless and code & 0xFFFE != 0xFFFE else repr(char)[1:-1]
        return shown


_ON_ONE_LINE = _Spelling()
_ON_LINES = _Spelling({ord("\n"): "\n", ord("\t"): "\t"})


def visible(text: str, lines: bool = False) -> str:
    r"""Return a text in which nothing moves a cursor, colours a screen, or changes the order of what is read.

    Control characters, direction marks and other invisible characters are spelt as Python spells them. Doing it twice
    changes nothing.

    Parameters
    ----------
    text : str
    lines : bool
        Whether line ends and tabs stay.

    Examples
    --------
    >>> print(visible("two\nlines, \x1b[31mred\x1b[0m and \u202ereversed"))
    two\nlines, \x1b[31mred\x1b[0m and \u202ereversed
    """
    return text if text.isprintable() else text.translate(_ON_LINES if lines else _ON_ONE_LINE)


def printed(text: str) -> str:
    r"""Return what a program printed as it was to be read: without colours, and of a line written over the last state.

    What else is in it is not made `visible` yet.

    Examples
    --------
    >>> printed("\x1b[32mok\x1b[0m\r\n10 %\r90 %\n")
    'ok\n90 %\n'
    """
    text = uncoloured(text).replace("\r\n", "\n")
    if "\r" in text:
        text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return text


def uncoloured(text: str) -> str:
    """Return a text without the sequences that a terminal obeys: colours, the cursor, titles and links."""
    if "\x1b" not in text:
        return text
    import re

    return re.sub(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\))", "", text)


def inert(text: str) -> str:
    """Return text that a spreadsheet takes for no formula: an apostrophe stands before what could be one.

    Examples
    --------
    >>> inert("=1+1"), inert("adam")
    ("'=1+1", 'adam')
    """
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def counted(number: int, thing: str, things: str | None = None) -> str:
    """Return a number of things.

    Examples
    --------
    >>> counted(1, "file"), counted(1200, "entry", "entries")
    ('1 file', '1,200 entries')
    """
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def first_few(names: Sequence[str], most: int = 8) -> str:
    """Return names, separated by commas; of many the first, and how many more there are.

    Examples
    --------
    >>> first_few(["a", "b"]), first_few(["a", "b", "c", "d"], 2)
    ('a, b', 'a, b and 2 more')
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


# --------------------------------------------------------------------------------------------------------------- values


def format_value(value: Any, precision: int | None = None) -> str:
    """Return a value as a text on one line that is looked at; text stands in it as it is, made `visible`.

    Parameters
    ----------
    value : object
        `MISSING` and None are a dash.
    precision : int, optional
        Significant digits of numbers that are no integers; `PRECISION` if nothing is said.

    Examples
    --------
    >>> [format_value(each) for each in (0.30000000000000004, 1e-05, 12345678.9, [64, 0.1], True, None, "a\\nb")]
    ['0.3', '1e-05', '12345679', '[64, 0.1]', 'True', '-', 'a\\\\nb']
    """
    if value is None or value is MISSING:
        return NOTHING
    return visible(value) if isinstance(value, str) else _safely_written(value, precision)


def format_exact(value: Any) -> str:
    """Return a value on one line as one would type it in Python, numbers with all their digits: what people copy.

    Examples
    --------
    >>> [format_exact(each) for each in (0.1 + 0.2, "adam", {"lr": 1e-05, 2: None}, (1,))]
    ['0.30000000000000004', "'adam'", "{'lr': 1e-05, 2: None}", '(1,)']
    """
    return NOTHING if value is MISSING else _safely_written(value, EXACT)


def _safely_written(value: Any, precision: int | None) -> str:
    try:
        return _written(value, precision)
    except RecursionError:
        return f"<{type(value).__name__}, nested too deeply to be written>"


def _written(value: Any, precision: int | None) -> str:
    is_exact = precision is not None and precision >= EXACT
    if isinstance(value, str):
        return visible(repr(value))
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return format_number(value, precision)
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, dict):
        keys = [_written(key, precision) if is_exact else visible(str(key)) for key in value]
        inside = (f"{key}: {_written(each, precision)}" for key, each in zip(keys, value.values()))
        return "{" + ", ".join(inside) + "}"
    if isinstance(value, (list, tuple)):
        entries = ", ".join(_written(each, precision) for each in value)
        if is_exact and type(value) is tuple:
            return f"({entries},)" if len(value) == 1 else f"({entries})"
        return f"[{entries}]"
    if hasattr(value, "isoformat"):
        return format_time(value) if hasattr(value, "astimezone") and not is_exact else str(value)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):  # whose text would leave out the middle
        return _written(value.tolist(), precision)
    return visible(repr(value) if is_exact else str(value))


def _integer(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # Python refuses thousands of digits
        return hex(value)


def format_number(value: float, precision: int | None = None) -> str:
    """Return a float with so many significant digits; what is large is not written with an exponent.

    Examples
    --------
    >>> [format_number(0.1 + 0.2, digits) for digits in (1, 5, EXACT)], format_number(123456789.5)
    (['0.3', '0.3', '0.30000000000000004'], '123456790')
    >>> format_number(99999.6), format_number(99.7, 2)  # rounded up, they have a digit more
    ('100000', '100')
    """
    digits = PRECISION if precision is None else precision
    if digits >= EXACT:
        return repr(float(value))
    text = f"{value:.{max(digits, 1)}g}"
    return f"{value:.0f}" if abs(value) < 1e15 and "e+" in text else text


def digits_apart(values: Iterable[Any]) -> int:
    """Return with how many significant digits floats that differ read differently: mostly `PRECISION` is enough.

    Examples
    --------
    >>> digits_apart([0.1, 0.2, "adam"]), digits_apart([0.1234567, 0.1234568]), digits_apart([0.3, 0.1 + 0.2])
    (5, 8, 17)
    """
    numbers = {value for value in values if isinstance(value, float) and value == value}
    precisions = (PRECISION, 8, 12)
    return next(
        (each for each in precisions if len({format_number(value, each) for value in numbers}) == len(numbers)), EXACT
    )


def _is_amount(value: Any) -> bool:
    """Say whether a value, which may come from a record that anybody wrote, is a number that can be reckoned with."""
    return isinstance(value, (int, float)) and abs(value) < 1e18


def format_size(size: Any) -> str:
    """Return a number of bytes in decimal units; a dash for what is no number.

    Examples
    --------
    >>> [format_size(each) for each in (0, 999, 1500, 2_000_000, 3.2e12, None)]
    ['0 B', '999 B', '1.5 kB', '2.0 MB', '3.2 TB', '-']
    """
    if not _is_amount(size):
        return NOTHING
    if size < 999.5:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.95:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:,.1f} TB"


def format_duration(seconds: Any) -> str:
    """Return a time span in its two largest units; a dash for what is no number.

    Examples
    --------
    >>> [format_duration(each) for each in (0.012, 2.34, 75, 3700, 200000, None)]
    ['12 ms', '2.3 s', '1 min 15 s', '1 h 1 min', '2 d 7 h', '-']
    """
    if not _is_amount(seconds):
        return NOTHING
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    if seconds < 3599.5:
        return _in_two(round(seconds), 60, "min", "s")
    seconds = max(seconds, 3600)  # the last half second of an hour is a whole one
    if seconds < 86_400:
        return _in_two(int(seconds) // 60, 60, "h", "min")
    return _in_two(int(seconds) // 3600, 24, "d", "h")


def _in_two(parts: int, in_one: int, unit: str, part: str) -> str:
    count, rest = divmod(parts, in_one)
    return f"{count} {unit} {rest} {part}" if rest else f"{count} {unit}"


# ---------------------------------------------------------------------------------------------------------------- times


def format_time(time: Any, zone: bool = False) -> str:
    """Return a time as the clock here shows it, to the second, with the name of the zone if asked for; a dash for none.

    It is for who sits at this machine. What is kept, or sent to others, has `format_utc`.
    """
    if not hasattr(time, "astimezone"):
        return NOTHING
    try:
        local = time.astimezone()
    except (ValueError, OverflowError, OSError):  # years that the platform's calendar does not reach
        return str(time)
    return f"{_to_the_second(local)} {local.tzname()}" if zone else _to_the_second(local)


def format_utc(time: Any) -> str:
    """Return a time to the second, in UTC, which is said; one without a zone as it is, a dash for none.

    Examples
    --------
    >>> from datetime import datetime, timedelta, timezone
    >>> format_utc(datetime(2026, 1, 31, 9, tzinfo=timezone(timedelta(hours=9)))), format_utc(datetime(2026, 1, 31))
    ('2026-01-31 00:00:00 UTC', '2026-01-31 00:00:00')
    """
    if not hasattr(time, "astimezone"):
        return NOTHING
    offset = time.utcoffset()
    if offset is None:
        return _to_the_second(time)
    try:
        return f"{_to_the_second(time - offset)} UTC"
    except OverflowError:  # in the first or last hours that Python knows
        return str(time)


def _to_the_second(time: datetime) -> str:
    # `strftime` writes years before 1000 with fewer digits on some systems
    return f"{time.year:04}-{time.month:02}-{time.day:02} {time.hour:02}:{time.minute:02}:{time.second:02}"


# ----------------------------------------------------------------------------------------------------- columns of text


def cell_width(text: str) -> int:
    """Return how many columns of a terminal a text takes: CJK and emoji take two, combining marks none.

    Examples
    --------
    >>> cell_width("loss"), cell_width("損失"), cell_width("e\N{COMBINING ACUTE ACCENT}")
    (4, 4, 1)
    """
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    return sum(
        0 if category(char) in ("Mn", "Me", "Cf") else 2 if east_asian_width(char) in "WF" else 1 for char in text
    )


def fitted(text: str, width: int) -> str:
    """Return a text cut to a number of columns; an ellipsis says that it is cut.

    Examples
    --------
    >>> fitted("learning_rate", 8), fitted("lr", 8)
    ('learnin…', 'lr')
    """
    if cell_width(text) <= width:
        return text
    kept, used = "", 0
    for char in text:
        used += cell_width(char)
        if used > width - 1:
            break
        kept += char
    return kept + "…" if width > 0 else ""


def aligned(columns: Sequence[str], rows: Iterable[Sequence[str]], align: Sequence[str] = ()) -> list[str]:
    """Return the lines of a table as plain text, columns apart by two blanks.

    Parameters
    ----------
    columns : sequence of str, shape (n,)
        The headings; if all are empty, there is no line of headings.
    rows : iterable of sequence of str, shape (m, n)
        A cell that is longer than 200 columns moves what follows in its own line only.
    align : sequence of str, shape (n,), optional
        "left" or "right"; all left if nothing is said.
    """
    table = [list(columns), *map(list, rows)] if any(columns) else [*map(list, rows)]
    widths = [
        max((width for width in map(cell_width, column) if width <= _WIDEST), default=0) for column in zip(*table)
    ]
    sides = align or ["left"] * len(columns)
    return ["  ".join(map(_padded, row, widths, sides)).rstrip() for row in table]


def _padded(text: str, width: int, side: str) -> str:
    blanks = " " * (width - cell_width(text))
    return blanks + text if side == "right" else text + blanks
