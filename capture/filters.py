"""Conditions on runs: an expression that a store can read, so that it answers with its own means what it can.

::

    from capture.filters import field

    store.find((field("config.lr") < 0.1) & (field("metrics.loss.last") < 0.3) & ~field("tags").contains("bad"))

A store may give back more runs than match; `Filter.matches` decides. A path that leads nowhere matches nothing, nor do
values that cannot be compared; a list and a tuple of the same values are equal. A path in a file system is its text, a
member of an enumeration its name and its value, a date or time is compared as a time, and a time span by its seconds.
What some paths are compared with has a meaning of its own (``start_time`` with ``"7 days ago"``, ``git.commit`` with
the beginning of one): see `meant`. A store meets plain `Test` objects only, whose values are then aware times, numbers
and texts.
"""

from __future__ import annotations

import operator

from capture.codec import StoredEnum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from typing import Any

    from capture.dates import When
    from capture.records import RunRecord

    _Reading = Callable[[Any], When | None]

#: states that are written; DIED is inferred by readers and never written
STATES = ("QUEUED", "RUNNING", "COMPLETED", "FAILED", "INTERRUPTED", "TIMEOUT", "PREEMPTED")

#: operator -> its function of the value found, the value given, and what tells which time a value means
OPERATORS: dict[str, Callable[[Any, Any, _Reading], Any]] = {
    "==": lambda found, given, when: _equal(found, given, when),
    "!=": lambda found, given, when: not _equal(found, given, when),
    "<": lambda found, given, when: _ordered("<", found, given, when),
    "<=": lambda found, given, when: _ordered("<=", found, given, when),
    ">": lambda found, given, when: _ordered(">", found, given, when),
    ">=": lambda found, given, when: _ordered(">=", found, given, when),
    "in": lambda found, given, when: any(_equal(found, each, when) for each in given),
    "contains": lambda found, given, when: _contains(found, given, when),
    "startswith": lambda found, given, when: any(text.startswith(given) for text in _texts(found)),
    "endswith": lambda found, given, when: any(text.endswith(given) for text in _texts(found)),
    "matches": lambda found, given, when: any(_fits(text, given) for text in _texts(found)),
    "exists": lambda found, given, when: True,
}
_ORDERS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
TEXT_OPERATORS = ("startswith", "endswith", "matches")  #: they are about text, and of a list about each text in it
TIMES = ("start_time", "stop_time", "queue_time", "heartbeat")  #: paths whose values are times



class _Missing:
    """There is one of it, in copies and in other processes, too."""

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "MISSING"  # a name in this module


MISSING: Any = _Missing()  #: stands where a run has no value


class Filter:
    """A condition; combine with ``&``, ``|`` and ``~``."""

    def matches(self, record: RunRecord) -> bool:
        """Say whether the condition holds for a run."""
        raise NotImplementedError

    def __and__(self, other: Filter) -> Filter:
        return Every([self, other])

    def __or__(self, other: Filter) -> Filter:
        return Either([self, other])

    def __invert__(self) -> Filter:
        return Not(self)

    def __bool__(self) -> bool:
        raise TypeError("a filter has no truth value: combine filters with &, | and ~, not with and, or and not")


class Test(Filter):
    """One value compared.

    Attributes
    ----------
    path : str
        Dotted, as in ``config.optimizer.lr``; ``metrics.NAME.last`` (or count, step, min, max) asks a series' summary.
    operator : str
        One of `OPERATORS`.
    value : object
    now : datetime, optional
        Aware; the time that it is, where a date or time is compared with ``"7 days ago"``.
    """

    __test__ = False  # no test of pytest's
    __slots__ = ("_meanings", "now", "operator", "path", "value")

    def __init__(self, path: str, operator: str, value: Any = None, now: datetime | None = None) -> None:
        if operator not in OPERATORS:
            raise ValueError(f"there is no operator {operator!r}; there are {', '.join(OPERATORS)}")
        self.path, self.operator, self.now = path, operator, now
        self._meanings: dict[str, When | None] = {}
        is_list = isinstance(value, (list, tuple, set, frozenset))
        self.value = [_plain(each) for each in value] if operator == "in" and is_list else _plain(value)

    def matches(self, record: RunRecord) -> bool:
        return self.holds(lookup(record, self.path))

    def holds(self, found: Any) -> bool:
        """Say whether the condition holds for the value that was found at the path, which may be `MISSING`."""
        if found is MISSING:
            return False
        try:
            return bool(OPERATORS[self.operator](found, self.value, self._when))
        except (TypeError, ValueError, ArithmeticError, AttributeError):  # "a" < 1, 3 in 4: no answer is not yes
            return False

    def _when(self, value: Any) -> When | None:
        """Return which time is meant by a value that a date or time is compared with; None if it is none."""
        from capture.dates import NotATime, when, when_of

        if not isinstance(value, str):
            return when_of(value)
        if value not in self._meanings:  # which is asked for each run
            try:
                self._meanings[value] = when(value, self.now)
            except NotATime:
                self._meanings[value] = None
        return self._meanings[value]

    def __repr__(self) -> str:
        return f"field({self.path!r}) {self.operator}" + ("" if self.operator == "exists" else f" {self.value!r}")


class Every(Filter):
    """All of some conditions; with none, every run matches."""

    __slots__ = ("terms",)

    def __init__(self, terms: Sequence[Filter]) -> None:
        self.terms: list[Filter] = []
        for each in terms:
            self.terms += each.terms if isinstance(each, Every) else [each]

    def matches(self, record: RunRecord) -> bool:
        return all(each.matches(record) for each in self.terms)

    def __repr__(self) -> str:
        return "(" + " & ".join(map(repr, self.terms)) + ")"


class Either(Filter):
    """At least one of some conditions."""

    __slots__ = ("terms",)

    def __init__(self, terms: Sequence[Filter]) -> None:
        self.terms: list[Filter] = []
        for each in terms:
            self.terms += each.terms if isinstance(each, Either) else [each]

    def matches(self, record: RunRecord) -> bool:
        return any(each.matches(record) for each in self.terms)

    def __repr__(self) -> str:
        return "(" + " | ".join(map(repr, self.terms)) + ")"


class Not(Filter):
    """The opposite of a condition."""

    __slots__ = ("term",)

    def __init__(self, term: Filter) -> None:
        self.term = term

    def matches(self, record: RunRecord) -> bool:
        return not self.term.matches(record)

    def __repr__(self) -> str:
        return f"~{self.term!r}"


class Died(Filter):
    """That a run says RUNNING and its process is known to be gone, as seen from this machine."""

    __slots__ = ()

    def matches(self, record: RunRecord) -> bool:
        from capture.liveness import is_alive

        if record.status != "RUNNING" or not record.writers:
            return False
        return all(is_alive(host) is False for host in record.writers.values())

    def __repr__(self) -> str:
        return "field('state') == 'DIED'"


def state_of(record: RunRecord) -> str:
    """Return the state of a run: its status; DIED if it says RUNNING and its process is known to be gone."""
    told = getattr(record, "state", None)  # what a client's run knows itself
    return told if isinstance(told, str) else "DIED" if Died().matches(record) else record.status


class Field:
    """A value of a run, to be compared; see `field`."""

    __slots__ = ("path",)
    __hash__ = None  # type: ignore[assignment]  # == makes a filter

    def __init__(self, path: str) -> None:
        self.path = path

    def __eq__(self, value: object) -> Filter:  # type: ignore[override]
        return meant(self.path, "==", value)

    def __ne__(self, value: object) -> Filter:  # type: ignore[override]
        return meant(self.path, "!=", value)

    def __lt__(self, value: Any) -> Filter:
        return meant(self.path, "<", value)

    def __le__(self, value: Any) -> Filter:
        return meant(self.path, "<=", value)

    def __gt__(self, value: Any) -> Filter:
        return meant(self.path, ">", value)

    def __ge__(self, value: Any) -> Filter:
        return meant(self.path, ">=", value)

    def one_of(self, values: Sequence[Any]) -> Filter:
        """Return the condition that the value is one of these."""
        return meant(self.path, "in", list(values))

    def contains(self, value: Any) -> Filter:
        """Return the condition that the value, a list, a dict or text, contains this."""
        return meant(self.path, "contains", value)

    def startswith(self, text: str) -> Filter:
        """Return the condition that the value, or one of a list, is text that begins so."""
        return meant(self.path, "startswith", text)

    def endswith(self, text: str) -> Filter:
        """Return the condition that the value, or one of a list, is text that ends so."""
        return meant(self.path, "endswith", text)

    def matches(self, pattern: str) -> Filter:
        """Return the condition that the value, or one of a list, is like this text: ``*`` is any, ``?`` a letter."""
        return meant(self.path, "matches", pattern)

    def exists(self) -> Filter:
        """Return the condition that there is a value."""
        return meant(self.path, "exists", None)


def field(path: str) -> Field:
    """Name a value of a run by its dotted path.

    What it is compared with means the same as in a condition that is written as text, see `meant`.

    Examples
    --------
    >>> (field("config.lr") < 0.1) & (field("status") == "COMPLETED")
    (field('config.lr') < 0.1 & field('status') == 'COMPLETED')
    """
    return Field(path)


def as_filter(where: Mapping[str, Any] | Filter | None) -> Filter | None:
    """Return the filter that `where` stands for: one itself, exact values by dotted path, or None for no condition.

    In a mapping ``{"status": "RUNNING"}`` is what the record says, also of a run whose process is known to be gone.

    Raises
    ------
    TypeError
        If it is something else; text is read by `capture.expressions.parse`.
    """
    if where is None or isinstance(where, Filter):
        return where
    if not hasattr(where, "items"):
        hint = f"; text is read by capture.expressions.parse({where!r})" if isinstance(where, str) else ""
        raise TypeError(f"a condition is a Filter or a mapping of dotted paths to values, got {where!r}{hint}")
    tests = [
        Test(path, "==", value) if path == "status" and value != "DIED" else meant(path, "==", value)
        for path, value in where.items()
    ]
    return tests[0] if len(tests) == 1 else Every(tests)


def fields_of(wanted: Filter | None) -> set[str]:
    """Return the fields of a record, and ``user``, that a condition looks at: stores read them for many runs at once.

    Examples
    --------
    >>> sorted(fields_of((field("git.commit") == "ab12cd") | ~(field("config.lr") < 0.1)))
    ['config', 'experiment']
    """
    if isinstance(wanted, Test):
        name = wanted.path.partition(".")[0]
        return set(_DERIVED.get(wanted.path) or _DERIVED.get(name) or (name,))
    if isinstance(wanted, Died):
        return {"status", "writers"}
    terms = wanted.terms if isinstance(wanted, (Every, Either)) else [wanted.term] if isinstance(wanted, Not) else []
    return {name for term in terms for name in fields_of(term)}


#: what of a record is made from its fields -> those
_DERIVED = {
    "name": ("experiment",),
    "git": ("experiment",),
    "git.branch": ("experiment", "facts"),
    "packages": ("experiment",),
    "duration": ("start_time", "stop_time", "heartbeat"),  # and the measurements of a run that has no end
}


# ------------------------------------------------------------------------------------------------------ meanings


def meant(path: str, operator: str, value: Any, now: datetime | None = None) -> Filter:
    """Return the filter that a comparison stands for, made of plain tests that every store can read.

    Parameters
    ----------
    path, operator, value
        As for `Test`. A meaning of their own have

        - ``start_time stop_time queue_time heartbeat``, compared with text: see `capture.dates.when`;
        - ``duration``, compared with text: ``"2 h"`` is 7200;
        - ``git.commit``, equal to four or more hexadecimal digits: a commit that begins so;
        - ``packages.NAME``, ``host.python_version``: versions, of which 1.10 is greater than 1.9;
        - ``project``, equal to ``vision``: experiments called ``vision`` or ``vision/...``;
        - ``status``, and ``state``, which is the same: a run that says RUNNING and has died is ``DIED``; equal to a
          state in capitals or not;
        - ``label``, equal to a number or its digits: stores have one or the other.
    now : datetime, optional
        Aware; the time that it is.

    Raises
    ------
    ValueError
        If no value like this can stand there; it says what could.

    Examples
    --------
    >>> meant("git.commit", "==", "ab12")
    field('git.commit') startswith 'ab12'
    >>> meant("duration", ">", "2 h")
    field('duration') > 7200
    """
    root, _, rest = path.partition(".")
    meaning = _MEANINGS.get(path) or (_MEANINGS["packages"] if root == "packages" and rest else None)
    place = _PLACES.get(path, path)
    if meaning is None or operator == "exists":
        return Test(place, operator, value, now)
    if operator == "!=":
        same = meant(path, "==", value, now)
        is_plain = isinstance(same, Test) and same.operator == "=="
        return Test(place, "!=", same.value) if is_plain else unless(path, same)  # type: ignore[attr-defined]
    if operator == "in":
        values = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
        return _any([meant(path, "==", each, now) for each in values], place)
    return meaning(place, operator, value, now)


def unless(path: str, term: Filter) -> Filter:
    """Return the opposite of a condition on one path, for runs that have a value there: of others nothing is said."""
    return Every([Test(_PLACES.get(path, path), "exists"), Not(term)])


def _on_time(path: str, operator: str, value: Any, now: datetime | None) -> Filter:
    from capture.dates import TIMES as POSSIBLE
    from capture.dates import when, when_of

    if value is None and operator == "==":
        return Test(path, operator, None)
    meaning = when(value, now) if isinstance(value, str) else when_of(value)
    if meaning is None or operator not in ("==", "<", "<=", ">", ">="):
        asked = f"{operator} {value!r} says nothing of it" if meaning is None else f"it is not asked with {operator!r}"
        raise ValueError(f"{path} is a time, and {asked}: compare it (== < <= > >=) with one in quotes: {POSSIBLE}")
    if operator != "==":
        if meaning.moment is not None:
            return Test(path, operator, meaning.moment)
        sign = {"<": "<", "<=": "<", ">": ">=", ">=": ">="}[operator]  # a day is before another or after it, as a whole
        return Test(path, sign, meaning.end if operator in ("<=", ">") else meaning.start)
    if meaning.start is None:
        raise ValueError(f"nothing happens at exactly {value!r}: compare with < or >, or with a day")
    if meaning.start == meaning.end:
        return Test(path, operator, meaning.start)
    return Every([Test(path, ">=", meaning.start), Test(path, "<", meaning.end)])


def _on_duration(path: str, operator: str, value: Any, now: datetime | None) -> Filter:
    if isinstance(value, str):
        from capture.dates import seconds

        value = seconds(value)
    return Test(path, operator, value)


def _on_commit(path: str, operator: str, value: Any, now: datetime | None) -> Filter:
    is_digits = isinstance(value, str) and 4 <= len(value) <= 40 and not value.lower().strip("0123456789abcdef")
    if operator != "==" or not is_digits:
        return Test(path, operator, value)
    return Test(path, "==" if len(value) == 40 else "startswith", value.lower())


def _on_version(path: str, operator: str, value: Any, now: datetime | None) -> Filter:
    from capture.versions import Version

    is_compared = isinstance(value, str) and operator in ("==", "<", "<=", ">", ">=")
    return Test(path, operator, Version(value) if is_compared else value)


def _on_project(path: str, operator: str, value: Any, now: datetime | None) -> Filter:
    name = value.strip("/") if isinstance(value, str) else ""
    if operator != "==" or not name:
        raise ValueError('a project is named as a folder is: project == "vision", project in ["vision", "text/small"]')
    return Either([Test("name", "==", name), Test("name", "startswith", name + "/")])


def _on_status(path: str, operator: str, value: Any, now: datetime | None) -> Filter:
    state = value.upper() if isinstance(value, str) else value
    if operator == "==" and state != value and state in (*STATES, "DIED"):  # who writes 'failed' means FAILED, too
        return _any([Test("status", "==", value), _on_status(path, operator, state, now)], "status")
    if operator == "==" and isinstance(value, str) and value in ("RUNNING", "DIED"):
        return Every([Test("status", "==", "RUNNING"), Died() if value == "DIED" else Not(Died())])
    return Test("status", operator, value)


def _on_label(path: str, operator: str, value: Any, now: datetime | None) -> Filter:
    if operator == "==" and type(value) in (int, str):
        other: Any = str(value) if type(value) is int else int(value) if value.isdecimal() and len(value) < 18 else None
        if other is not None and str(other) == str(value):
            return Test(path, "in", [value, other])
    return Test(path, operator, value)


def _any(terms: list[Filter], path: str) -> Filter:
    """Return the condition that one of the terms holds, as a single test where they are tests of equality."""
    if all(isinstance(each, Test) and each.path == path and each.operator in ("==", "in") for each in terms):
        values: list[Any] = []
        for each in terms:
            values += each.value if each.operator == "in" else [each.value]  # type: ignore[attr-defined]
        return Test(path, "in", values)
    return Either(terms)


_PLACES = {"project": "name", "state": "status"}  #: words of the language -> the value of the run that they are about
_MEANINGS: dict[str, Callable[[str, str, Any, datetime | None], Filter]] = {
    **dict.fromkeys(TIMES, _on_time),
    "duration": _on_duration,
    "git.commit": _on_commit,
    "packages": _on_version,
    "host.python_version": _on_version,
    "project": _on_project,
    "state": _on_status,
    "status": _on_status,
    "label": _on_label,
}


# -------------------------------------------------------------------------------------------------------- values


def lookup(record: RunRecord, path: str) -> Any:
    """Return the value at a dotted path of a record, or `MISSING`; keys may hold dots themselves."""
    name, _, rest = path.partition(".")
    if name == "metrics" and rest:
        metric, _, part = rest.rpartition(".")
        return record.summary.get(metric, {}).get(part, MISSING)
    value = getattr(record, name, MISSING) if not name.startswith("_") else MISSING
    if callable(value):  # a method is no value of the run
        return MISSING
    if name == "packages" and rest:
        return package_version(value, rest)
    return _descend(value, rest) if rest else value


def package_version(versions: Mapping[str, str], name: str) -> Any:
    """Return the version of a package, whose name may be spelt in several ways; `MISSING` if it is not there."""
    if name in versions:
        return versions[name]
    from capture.versions import package_name

    wanted = package_name(name)
    return next((version for each, version in versions.items() if package_name(each) == wanted), MISSING)


def _descend(value: Any, path: str) -> Any:
    if isinstance(value, StoredEnum):
        part, _, rest = path.partition(".")
        found = {"name": MISSING if value.name is None else value.name, "value": value.value}.get(part, MISSING)
        return _descend(found, rest) if rest else found
    if isinstance(value, dict):
        if path in value:
            return value[path]
        end = path.find(".")
        while end >= 0:
            inner = _entry(value, path[:end])
            if inner is not MISSING:
                found = _descend(inner, path[end + 1 :])
                if found is not MISSING:
                    return found
            end = path.find(".", end + 1)
        return _entry(value, path)
    if isinstance(value, (list, tuple)):
        index, _, rest = path.partition(".")
        if _is_place(index) and int(index) < len(value):
            return _descend(value[int(index)], rest) if rest else value[int(index)]
    return MISSING


def _entry(table: dict[Any, Any], key: str) -> Any:
    """Return what a dict has at a part of a path, which names a whole number, too: ``{2: "x"}``."""
    if key in table:
        return table[key]
    return table.get(int(key), MISSING) if _is_place(key) else MISSING


def _is_place(part: str) -> bool:
    return part.isdecimal() and len(part) < 20


def _texts(found: Any) -> list[str]:
    """Return the texts that a condition on text is about: the value, or those in a list."""
    if isinstance(found, (list, tuple)):
        return [text for each in found for text in _texts_of(each)]
    return _texts_of(found)


def _texts_of(value: Any) -> list[str]:
    """Return a text in a list; that of a path, and the name and the value of a member of an enumeration."""
    if isinstance(value, StoredEnum):
        return [text for text in (value.name, value.value) if isinstance(text, str)]
    value = _plain(value)
    return [value] if isinstance(value, str) else []


def _fits(text: str, pattern: str) -> bool:
    from fnmatch import fnmatchcase

    return fnmatchcase(text, pattern)


def _plain(value: Any) -> Any:
    """Return what a value is compared as, and stores compare with; most values as they are.

    A number of NumPy's is Python's, a path in a file system its text, a member of an enumeration that is a number or
    text just that.
    """
    if type(value) in _SIMPLE:
        return value
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    if hasattr(value, "__fspath__"):
        return value.__fspath__()
    if isinstance(value, (str, int, float)) and _is_member(value):
        return value.value if type(value.value) in _SCALARS else value  # type: ignore[union-attr]
    return value


_SIMPLE = frozenset({str, int, float, bool, type(None), list, dict, tuple})  #: types that are compared as they are
_SCALARS = _SIMPLE - {list, dict, tuple}


def _is_member(value: Any) -> bool:
    """Say whether a value is a member of an enumeration of the caller's own."""
    return hasattr(type(value), "__members__")


def _is_time(value: Any) -> bool:
    """Say whether a value is a date, or a date with a time."""
    return hasattr(value, "isoformat") and hasattr(value, "year")


def _is_span(value: Any) -> bool:
    """Say whether a value is a time span."""
    return hasattr(value, "total_seconds")


def _seconds(wanted: Any) -> Any:
    """Return the seconds that a time span is compared with: of another one, of text such as ``"5 min"``, a number."""
    from capture.dates import NotATime, seconds

    if not isinstance(wanted, str):
        return wanted.total_seconds() if _is_span(wanted) else wanted
    try:
        return seconds(wanted)
    except NotATime:  # no other text says anything of it
        return None


def _contains(found: Any, given: Any, when: _Reading) -> bool:
    if isinstance(found, (list, tuple, set, frozenset)):
        return any(_equal(each, given, when) for each in found)
    if isinstance(found, StoredEnum):
        return isinstance(given, str) and any(given in text for text in _texts_of(found))
    return given in _plain(found)


def _equal(value: Any, wanted: Any, when: _Reading) -> bool:
    if type(value) in _SCALARS and type(wanted) in _SCALARS:  # most are
        return bool(value == wanted)
    value, wanted = _plain(value), _plain(wanted)
    if isinstance(value, (list, tuple)) and isinstance(wanted, (list, tuple)):  # which are shown alike
        return len(value) == len(wanted) and all(_equal(*pair, when) for pair in zip(value, wanted))
    if isinstance(value, dict) and isinstance(wanted, dict):
        return value.keys() == wanted.keys() and all(_equal(value[key], wanted[key], when) for key in value)
    if isinstance(value, StoredEnum):
        return _is_same_member(value, wanted, when)
    if _is_time(value) and value != wanted:
        return _is_when("==", value, wanted, when)
    if _is_span(value) and value != wanted:
        return bool(value.total_seconds() == _seconds(wanted))
    same = value == wanted
    if type(same) is not bool:  # arrays compare element by element
        same = getattr(value, "shape", None) == getattr(wanted, "shape", None) and bool(same.all())
    return same


def _is_same_member(value: StoredEnum, wanted: Any, when: _Reading) -> bool:
    if isinstance(wanted, StoredEnum):
        return value == wanted
    if _is_member(wanted):
        if not value.is_of(type(wanted)):
            return False
        return value.name == wanted.name if value.name is not None else _equal(value.value, wanted.value, when)
    # With the class before it the name is unmistakable. None means that there is no value, and this is one.
    if isinstance(wanted, str) and value.name is not None and wanted in (value.name, repr(value)):
        return True
    return wanted is not None and _equal(value.value, wanted, when)


def _ordered(sign: str, value: Any, wanted: Any, when: _Reading) -> bool:
    if type(value) in _SCALARS:  # most are
        return bool(_ORDERS[sign](value, wanted))
    if isinstance(value, StoredEnum):
        wants_name = isinstance(wanted, str) and not isinstance(value.value, str)
        value = value.name if wants_name else value.value
    value = _plain(value)
    if _is_span(value):
        value, wanted = value.total_seconds(), _seconds(wanted)
    return _is_when(sign, value, wanted, when) if _is_time(value) else bool(_ORDERS[sign](value, wanted))


def _is_when(sign: str, value: Any, wanted: Any, when: _Reading) -> bool:
    """Compare a date or time, as those of a run are compared: see docs/filtering.md."""
    from capture.dates import moment_of

    if sign != "==" and _is_time(wanted) and _kind_of_time(value) == _kind_of_time(wanted):
        return bool(_ORDERS[sign](value, wanted))  # also where it is too far away for a zone
    meaning = when(wanted)
    return meaning is not None and meaning.holds(sign, moment_of(value))


def _kind_of_time(value: Any) -> tuple[bool, bool]:
    """Return whether there is a time of day, and whether there is a zone."""
    return hasattr(value, "hour"), getattr(value, "tzinfo", None) is not None
