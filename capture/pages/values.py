"""Values of a record as short text: numbers, times, sizes, and anything else, cut where it is long."""

from __future__ import annotations

import re

from capture.filters import MISSING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

NOTHING = "–"  #: stands where a run has no value
LONGEST = 2_000  #: characters of a value

#: sequences that a terminal obeys: colours, the cursor, titles and links
_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\))")


def as_text(value: Any, longest: int = LONGEST) -> str:
    """Return a value as Python writes it, cut to `longest` characters.

    Examples
    --------
    >>> as_text({"lr": 0.1, "name": "adam"}), as_text("x" * 50, longest=10)
    ("{'lr': 0.1, 'name': 'adam'}", "'xxxxxxxxx… (52 characters)")
    """
    if value is MISSING:
        return NOTHING
    if isinstance(value, str) and len(value) > longest:
        return f"{value[:longest]!r}"[:longest] + f"… ({len(value) + 2:,} characters)"
    try:
        text = repr(value)
    except (ValueError, RecursionError) as error:  # an integer with more digits than Python writes, very deep nesting
        return f"<{type(value).__name__} that cannot be written: {error}>"
    return cut(text, longest)


def as_words(value: Any, longest: int = LONGEST) -> str:
    """Return text as it is, anything else as Python writes it, cut to `longest` characters.

    Examples
    --------
    >>> as_words("main"), as_words(["main"])
    ('main', "['main']")
    """
    return cut(value, longest) if isinstance(value, str) else as_text(value, longest)


def cut(text: str, longest: int) -> str:
    """Return a text, cut to `longest` characters if it is longer, with how long it was."""
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)"


def as_number(value: Any, digits: int = 5) -> str:
    """Return a number with so many significant digits, others as they are.

    Examples
    --------
    >>> as_number(0.9311111111), as_number(1200000.0), as_number(17), as_number("0.5")
    ('0.93111', '1.2e+06', '17', "'0.5'")
    """
    value = value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value
    return f"{value:.{digits}g}" if isinstance(value, float) else as_text(value, 200)


def as_time(time: Any) -> str:
    """Return a time in UTC to the second."""
    if not hasattr(time, "astimezone"):
        return NOTHING if time is None else as_text(time, 60)
    from datetime import timezone

    aware: datetime = time if time.tzinfo else time.replace(tzinfo=timezone.utc)
    return aware.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def as_duration(seconds: Any) -> str:
    """Return how long something took.

    Examples
    --------
    >>> as_duration(3.51), as_duration(75), as_duration(100_000)
    ('3.5 s', '1 min 15 s', '1 d 3 h 46 min')
    """
    if not isinstance(seconds, (int, float)) or seconds != seconds or abs(seconds) > 1e12:
        return NOTHING
    if abs(seconds) < 60:
        return f"{seconds:.2g} s" if abs(seconds) < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest if not hours and not days else 0, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def as_size(size: Any) -> str:
    """Return a number of bytes.

    Examples
    --------
    >>> as_size(900), as_size(2_500_000), as_size(None)
    ('900 B', '2.5 MB', '–')
    """
    if not isinstance(size, (int, float)):
        return NOTHING
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def printed(text: str) -> str:
    """Return what a program printed as a page shows it: without colours, and of a line that was overwritten the last.

    Examples
    --------
    >>> printed("\\x1b[32mok\\x1b[0m\\r\\n10 %\\r90 %\\n")
    'ok\\n90 %\\n'
    """
    text = _TERMINAL.sub("", text).replace("\r\n", "\n")
    if "\r" in text:
        text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return text


def counted(count: int, thing: str, things: str | None = None) -> str:
    """Return a number of things.

    Examples
    --------
    >>> counted(1, "file"), counted(1200, "entry", "entries")
    ('1 file', '1,200 entries')
    """
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def at(facts: Any, *path: str) -> Any:
    """Return what lies at a path of nested dicts; None where there is nothing, or where facts are of another shape."""
    for name in path:
        facts = facts.get(name) if isinstance(facts, dict) else None
    return facts
