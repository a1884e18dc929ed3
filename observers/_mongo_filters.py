"""What MongoDB can answer of a condition on runs, as a query that finds those and perhaps more."""

from __future__ import annotations

from capture.filters import Either, Every, Test
from capture.observers._mongo_values import safe_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.filters import Filter

_COMPARISONS = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
#: fields of a record that are in the document as they are, or beside it if they are not exact there
_FIELDS = frozenset({"config", "host", "meta", "info", "experiment", "result"})
#: objects stand for values that BSON lacks (a Decimal, say), and a truth value is a number to Python
_OTHERS = {"$type": ["object", "bool"]}


def query_of(wanted: Filter | None) -> dict[str, Any]:
    """Return the query for a condition; {} if MongoDB can answer nothing of it."""
    return (_query(wanted) if wanted is not None else None) or {}


def _query(wanted: Filter) -> dict[str, Any] | None:
    if isinstance(wanted, Every):
        parts = [query for query in map(_query, wanted.terms) if query is not None]
        return {"$and": parts} if parts else None
    if isinstance(wanted, Either):
        all_parts = [_query(term) for term in wanted.terms]
        if not all_parts or None in all_parts:
            return None
        return {"$or": all_parts}
    return _test(wanted) if isinstance(wanted, Test) else None


def _test(test: Test) -> dict[str, Any] | None:
    name, _, rest = test.path.partition(".")
    if name == "metrics" and rest:
        return _summary(test, rest)
    if test.path == "status":
        return _status(test)
    if test.path == "uid":
        return {"capture.uid": test.value} if test.operator == "==" and test.value else None
    if test.path == "command":
        return _value(test, "command", "capture.exact.command")
    if test.path == "tags":
        is_text = test.operator == "contains" and isinstance(test.value, str) and "," not in test.value
        return _either({"omniboard.tags": test.value}, {"omniboard.tags": {"$type": "string"}}) if is_text else None
    if name in _FIELDS and _is_plain(rest):
        return _value(test, test.path, f"capture.exact.{name}")
    return None


def _is_plain(path: str) -> bool:
    """Say whether a path leads through keys that are stored as they are, and through no list."""
    return all(
        part and not part.isdigit() and not part.startswith(("$", "py/", "capture/", "json:")) and "\0" not in part
        for part in path.split(".")
    ) and _is_text(path)


def _is_text(value: str) -> bool:
    return value.isascii() or value == value.encode("utf-8", "replace").decode()


def _status(test: Test) -> dict[str, Any] | None:
    if test.operator == "==" and isinstance(test.value, str) and _is_text(test.value):
        return {"$or": [{"status": test.value}, {"capture.status": test.value}]}
    if test.operator == "in" and all(isinstance(each, str) and _is_text(each) for each in test.value):
        return {"$or": [{"status": {"$in": list(test.value)}}, {"capture.status": {"$in": list(test.value)}}]}
    return None


def _value(test: Test, path: str, beside: str) -> dict[str, Any] | None:
    condition = _condition(test)
    return None if condition is None else _either({path: condition}, {path: _OTHERS}, {beside: {"$exists": True}})


def _summary(test: Test, rest: str) -> dict[str, Any] | None:
    """Ask the summary that is kept with the run; of a run that Sacred wrote there is none."""
    metric, _, part = rest.rpartition(".")
    condition = _condition(test)
    if condition is None or not metric or part not in ("count", "last", "step", "time", "min", "max"):
        return None
    return _either({f"capture.summary.{safe_key(metric)}.{part}": condition}, {"capture": {"$exists": False}})


def _condition(test: Test) -> Any:
    """Return MongoDB's condition on one value; None where it does not mean the same."""
    value, operator = test.value, test.operator
    if operator == "in":
        values = list(value) if isinstance(value, (list, tuple)) else []
        equal = [_equal(each) for each in values]
        return {"$in": [each for some in equal for each in some]} if values and all(equal) else None
    if operator == "==":
        same = _equal(value)
        return {"$in": same} if same else None
    if operator in _COMPARISONS and type(value) in (int, float, str) and _fits(value):
        return {_COMPARISONS[operator]: value}
    return None


def _equal(value: Any) -> list[Any]:
    """Return what is equal to a value in Python's eyes; nothing if that cannot be said in MongoDB's."""
    if not _fits(value):
        return []
    if type(value) in (bool, int, float):
        return [value, *(other for other in (True, False) if other == value and other is not value)] + (
            [int(value)] if type(value) is bool else []
        )
    return [value] if type(value) is str else []


def _fits(value: Any) -> bool:
    kind = type(value)
    if kind is str:
        return _is_text(value)
    if kind is int:
        return -(2**53) < value < 2**53
    if kind is float:
        return value == value and abs(value) < 2**53
    return kind is bool


def _either(*queries: dict[str, Any]) -> dict[str, Any]:
    return {"$or": list(queries)}
