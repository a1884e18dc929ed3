"""Answering a filter from stored JSON, before anything is decoded: yes, no, or only the record itself can tell."""

from __future__ import annotations

from capture.filters import MISSING, OPERATORS, Either, Every, Not, Test

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from capture.filters import Filter

#: what a value is that must be decoded to be compared
UNKNOWN: Any = type("Unknown", (), {"__repr__": lambda self: "UNKNOWN"})()

_TAGS = ("py/", "capture/", "json://")


def judge(wanted: Filter, look: Callable[[str], Any]) -> bool | None:
    """Say whether a run fulfils a filter; None if that cannot be told from its stored form.

    Parameters
    ----------
    wanted : Filter
    look : callable
        ``look(path)`` gives the value at a dotted path of the record where its stored form is the value itself, else
        `UNKNOWN`; `capture.filters.MISSING` where there is none.
    """
    if isinstance(wanted, Test):
        return _compare(wanted, look(wanted.path))
    if isinstance(wanted, Every):
        return _every(wanted.terms, look)
    if isinstance(wanted, Either):
        answer = _every([~each for each in wanted.terms], look)
        return None if answer is None else not answer
    if isinstance(wanted, Not):
        answer = judge(wanted.term, look)
        return None if answer is None else not answer
    return None


def _every(terms: Any, look: Callable[[str], Any]) -> bool | None:
    sure = True
    for each in terms:
        answer = judge(each, look)
        if answer is False:
            return False
        sure = sure and answer is True
    return True if sure else None


def _compare(test: Test, found: Any) -> bool | None:
    if found is UNKNOWN:
        return None
    if found is MISSING:
        return False
    try:
        return bool(OPERATORS[test.operator](found, test.value))
    except (TypeError, ValueError):  # as in `Test.matches`
        return False


def descend(data: Any, path: str, tagged: str = "\0") -> Any:
    """Return the value at a dotted path of stored JSON; `UNKNOWN` if it, or what is above it, has to be decoded.

    Parameters
    ----------
    data : object
        As `capture.codec` stores it.
    path : str
    tagged : str
        How text begins that a store has a meaning of its own for.
    """
    if type(data) is not dict or path.startswith(_TAGS):
        return UNKNOWN
    if path in data:
        return scalar(data[path], tagged)
    for key in data:
        if key.startswith(_TAGS):
            return UNKNOWN
    end = path.find(".")
    while end >= 0:
        inner = data.get(path[:end])
        if inner is not None:
            found = descend(inner, path[end + 1 :], tagged)
            if found is not MISSING:
                return found
        end = path.find(".", end + 1)
    return MISSING


def scalar(value: Any, tagged: str = "\0") -> Any:
    """Return a stored value that is what it seems, else `UNKNOWN`."""
    if value is None or type(value) in (bool, int, float) or (type(value) is str and not value.startswith(tagged)):
        return value
    return UNKNOWN
