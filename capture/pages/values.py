"""Values of a record on a page: whole, but cut where they are long."""

from __future__ import annotations

from capture.wording import format_exact

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LONGEST = 2_000  #: characters of a value


def as_text(value: Any, longest: int = LONGEST) -> str:
    """Return a value as Python writes it, cut to `longest` characters.

    Examples
    --------
    >>> as_text({"lr": 0.1, "name": "adam"}), as_text("x" * 50, longest=10)
    ("{'lr': 0.1, 'name': 'adam'}", "'xxxxxxxxx… (52 characters)")
    """
    if isinstance(value, str) and len(value) > longest:
        return f"{value[:longest]!r}"[:longest] + f"… ({len(value) + 2:,} characters)"
    return cut(format_exact(value), longest)


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


def at(facts: Any, *path: str) -> Any:
    """Return what lies at a path of nested dicts; None where there is nothing, or where facts are of another shape."""
    for name in path:
        facts = facts.get(name) if isinstance(facts, dict) else None
    return facts
