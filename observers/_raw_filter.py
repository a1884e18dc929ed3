"""Answering a filter from stored JSON, before anything is decoded: yes, no, or only the record itself can tell."""

from __future__ import annotations

from capture.codec import TAG_PREFIXES
from capture.filters import MISSING, Either, Every, Not, Test, package_version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from capture.filters import Filter

#: what a value is that must be decoded to be compared
UNKNOWN: Any = type("Unknown", (), {"__repr__": lambda self: "UNKNOWN"})()


def compiled(wanted: Filter, locate: Callable[[str], Callable[[Any], Any]]) -> Callable[[Any], bool | None]:
    """Return a function of a run's stored form that says whether it fulfils a filter; None if that cannot be told.

    Parameters
    ----------
    wanted : Filter
    locate : callable
        ``locate(path)`` returns a function of the stored form that gives the value at that dotted path of the record
        where its stored form is the value itself, else `UNKNOWN`; `capture.filters.MISSING` where there is none.
    """
    if isinstance(wanted, Test):
        return _compare(wanted, locate(wanted.path))
    if isinstance(wanted, Every):
        return _every([compiled(each, locate) for each in wanted.terms])
    if isinstance(wanted, Either):
        return _not(_every([_not(compiled(each, locate)) for each in wanted.terms]))
    if isinstance(wanted, Not):
        return _not(compiled(wanted.term, locate))
    return lambda _run: None


def _every(terms: list[Callable[[Any], bool | None]]) -> Callable[[Any], bool | None]:
    def answer(run: Any) -> bool | None:
        sure: bool | None = True
        for each in terms:
            found = each(run)
            if found is False:
                return False
            if found is None:
                sure = None
        return sure

    return answer


def _not(term: Callable[[Any], bool | None]) -> Callable[[Any], bool | None]:
    def answer(run: Any) -> bool | None:
        found = term(run)
        return None if found is None else not found

    return answer


def _compare(test: Test, value: Callable[[Any], Any]) -> Callable[[Any], bool | None]:
    def answer(run: Any) -> bool | None:
        found = value(run)
        return None if found is UNKNOWN else test.holds(found)

    return answer


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
    if type(data) is not dict or path.startswith(TAG_PREFIXES):
        return UNKNOWN
    if path in data:
        return scalar(data[path], tagged)
    for key in data:
        if key.startswith(TAG_PREFIXES):
            return UNKNOWN
    end = path.find(".")
    while end >= 0:
        inner = data.get(path[:end], MISSING)
        if inner is not MISSING:
            if type(inner) is not dict:  # a list, which may be tagged further down, or text
                return UNKNOWN
            found = descend(inner, path[end + 1 :], tagged)
            if found is not MISSING:
                return found
        end = path.find(".", end + 1)
    return MISSING


def scalar(value: Any, tagged: str = "\0") -> Any:
    """Return a stored value that is what it seems, else `UNKNOWN`."""
    kind = type(value)
    if kind is float or kind is int or kind is bool or value is None or (kind is str and not value.startswith(tagged)):
        return value
    return UNKNOWN


def beginning(test: Test) -> str:
    """Return what text must begin with to fulfil a test of text; "" if that is not known.

    Examples
    --------
    >>> beginning(Test("name", "matches", "res*50")), beginning(Test("name", "endswith", "50"))
    ('res', '')
    """
    if test.operator not in ("startswith", "matches") or not isinstance(test.value, str):
        return ""
    if test.operator == "startswith":
        return test.value
    special = [place for place, letter in enumerate(test.value) if letter in "*?["]
    return test.value[: special[0]] if special else test.value


# What a record derives from its description of the experiment: `name`, `git` and `packages`, and times.


def experiment_name(experiment: Any) -> Any:
    """Return the name that a stored description of an experiment has."""
    name = descend(experiment, "name")
    return "" if name is MISSING or not name else name if type(name) is str else UNKNOWN


def repository(experiment: Any, key: str) -> Any:
    """Return what the first repository of a stored description says: its ``commit``, ``dirty`` or ``url``."""
    listed = _listed(experiment, "repositories")
    if listed is UNKNOWN or not listed:
        return listed if listed is UNKNOWN else MISSING
    first = listed[0]
    if type(first) is not dict or any(each.startswith(TAG_PREFIXES) for each in first):
        return UNKNOWN
    return scalar(first.get(key))


def package(experiment: Any, name: str) -> Any:
    """Return the version of a package in a stored description of an experiment."""
    listed = _listed(experiment, "dependencies")
    if listed is UNKNOWN:
        return UNKNOWN
    return package_version(dict(each.split("==", 1) for each in listed if type(each) is str and "==" in each), name)


def _listed(experiment: Any, name: str) -> Any:
    """Return a list that a stored description holds; an empty one if there is none."""
    if type(experiment) is not dict or any(key.startswith(TAG_PREFIXES) for key in experiment):
        return UNKNOWN
    listed = experiment.get(name) or []
    return listed if type(listed) is list else UNKNOWN


def texts(listed: Any, tagged: str = "\0") -> Any:
    """Return a stored list of plain texts, such as tags, as it is."""
    if type(listed) is not list or any(type(each) is not str or each.startswith(tagged) for each in listed):
        return UNKNOWN
    return listed
