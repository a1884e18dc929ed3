"""Conditions on runs: an expression that a store can read, so that it answers with its own means what it can.

::

    from capture.filters import field

    store.find((field("config.lr") < 0.1) & (field("metrics.loss.last") < 0.3) & ~field("tags").contains("bad"))

A store may give back more runs than match; `Filter.matches` decides. A path that leads nowhere matches nothing, nor do
values that cannot be compared.
"""

from __future__ import annotations

import operator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from capture.records import RunRecord

#: operator -> its function of the value found and the value given
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": lambda found, given: _equal(found, given),
    "!=": lambda found, given: not _equal(found, given),
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda found, given: any(_equal(found, each) for each in given),
    "contains": lambda found, given: given in found,
    "exists": lambda found, given: True,
}

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "MISSING", "__bool__": lambda self: False})()


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
    """

    __test__ = False  # no test of pytest's
    __slots__ = ("operator", "path", "value")

    def __init__(self, path: str, operator: str, value: Any = None) -> None:
        if operator not in OPERATORS:
            raise ValueError(f"there is no operator {operator!r}; there are {', '.join(OPERATORS)}")
        self.path, self.operator = path, operator
        is_list = isinstance(value, (list, tuple, set, frozenset))
        self.value = [_plain(each) for each in value] if operator == "in" and is_list else _plain(value)

    def matches(self, record: RunRecord) -> bool:
        found = lookup(record, self.path)
        if found is MISSING:
            return False
        try:
            return bool(OPERATORS[self.operator](found, self.value))
        except (TypeError, ValueError, ArithmeticError, AttributeError):  # "a" < 1, 3 in 4: no answer is not yes
            return False

    def __repr__(self) -> str:
        return f"field({self.path!r}) {self.operator} {self.value!r}"


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
        self.terms = list(terms)

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


class Field:
    """A value of a run, to be compared; see `field`."""

    __slots__ = ("path",)
    __hash__ = None  # type: ignore[assignment]  # == makes a filter

    def __init__(self, path: str) -> None:
        self.path = path

    def __eq__(self, value: object) -> Filter:  # type: ignore[override]
        return Test(self.path, "==", value)

    def __ne__(self, value: object) -> Filter:  # type: ignore[override]
        return Test(self.path, "!=", value)

    def __lt__(self, value: Any) -> Filter:
        return Test(self.path, "<", value)

    def __le__(self, value: Any) -> Filter:
        return Test(self.path, "<=", value)

    def __gt__(self, value: Any) -> Filter:
        return Test(self.path, ">", value)

    def __ge__(self, value: Any) -> Filter:
        return Test(self.path, ">=", value)

    def one_of(self, values: Sequence[Any]) -> Filter:
        """Return the condition that the value is one of these."""
        return Test(self.path, "in", list(values))

    def contains(self, value: Any) -> Filter:
        """Return the condition that the value, a list, a dict or text, contains this."""
        return Test(self.path, "contains", value)

    def exists(self) -> Filter:
        """Return the condition that there is a value."""
        return Test(self.path, "exists")


def field(path: str) -> Field:
    """Name a value of a run by its dotted path.

    Examples
    --------
    >>> (field("config.lr") < 0.1) & (field("status") == "COMPLETED")
    (field('config.lr') < 0.1 & field('status') == 'COMPLETED')
    """
    return Field(path)


def as_filter(where: Mapping[str, Any] | Filter | None) -> Filter | None:
    """Return the filter that `where` stands for: one itself, exact values by dotted path, or None for no condition.

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
    tests = [Test(path, "==", value) for path, value in where.items()]
    return tests[0] if len(tests) == 1 else Every(tests)


def lookup(record: RunRecord, path: str) -> Any:
    """Return the value at a dotted path of a record, or `MISSING`; keys may hold dots themselves."""
    name, _, rest = path.partition(".")
    if name == "metrics" and rest:
        metric, _, part = rest.rpartition(".")
        return record.summary.get(metric, {}).get(part, MISSING)
    value = getattr(record, name, MISSING) if not name.startswith("_") else MISSING
    if callable(value):  # a method is no value of the run
        return MISSING
    return _descend(value, rest) if rest else value


def _descend(value: Any, path: str) -> Any:
    if isinstance(value, dict):
        if path in value:
            return value[path]
        end = path.find(".")
        while end >= 0:
            if path[:end] in value:
                found = _descend(value[path[:end]], path[end + 1 :])
                if found is not MISSING:
                    return found
            end = path.find(".", end + 1)
    elif isinstance(value, (list, tuple)):
        index, _, rest = path.partition(".")
        if index.isdecimal() and int(index) < len(value):
            return _descend(value[int(index)], rest) if rest else value[int(index)]
    return MISSING


def _plain(value: Any) -> Any:
    """Return a number of NumPy's as Python's, which stores compare with; anything else as it is."""
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def _equal(value: Any, wanted: Any) -> bool:
    same = _plain(value) == _plain(wanted)
    if type(same) is not bool:  # arrays compare element by element
        same = getattr(value, "shape", None) == getattr(wanted, "shape", None) and bool(same.all())
    return same
