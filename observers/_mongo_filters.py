"""What MongoDB can answer of a condition on runs, as a query that finds those and perhaps more."""

from __future__ import annotations

from capture.codec import MEMBER_PARTS, MEMBER_TAGS
from capture.filters import TEXT_OPERATORS, Either, Every, Not, Test
from capture.observers._mongo_values import safe_key
from capture.observers._raw_filter import beginning
from capture.versions import package_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.filters import Filter

_COMPARISONS = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
#: fields of a record that are in the document as they are, or beside it if they are not exact there
_FIELDS = frozenset({"config", "host", "meta", "info", "experiment", "result"})
#: objects stand for values that BSON lacks (a Decimal, say), and a truth value is a number to Python
_OTHERS = {"$type": ["object", "bool", "decimal", "objectId", "date"]}
_OURS = {"capture.format": {"$exists": True}}
_DATES = ("start_time", "stop_time", "heartbeat")  #: that are in the document as dates
_MARGIN_MS = 1.0  #: MongoDB's have no microseconds
_LONGEST = 1_000  #: characters of a regular expression


def query_of(wanted: Filter | None) -> dict[str, Any]:
    """Return the query for a condition; {} if MongoDB can answer nothing of it."""
    return (_perhaps(wanted) if wanted is not None else None) or {}


def _perhaps(wanted: Filter) -> dict[str, Any] | None:
    """Return a query that finds all runs which fulfil a condition; None for one that finds all there are."""
    if isinstance(wanted, Every):
        parts = [query for query in map(_perhaps, wanted.terms) if query is not None]
        return {"$and": parts} if parts else None
    if isinstance(wanted, Either):
        some = [_perhaps(term) for term in wanted.terms]
        return {"$or": some} if some and None not in some else None
    if isinstance(wanted, Not):
        sure = _surely(wanted.term)
        return {"$nor": [sure]} if sure is not None else None
    return _test(wanted) if isinstance(wanted, Test) else None


def _surely(wanted: Filter) -> dict[str, Any] | None:
    """Return a query that finds only runs which fulfil a condition; None for one that finds none.

    What it finds can be left out where the opposite is wanted.
    """
    if isinstance(wanted, Every):
        some = [_surely(term) for term in wanted.terms]
        return {"$and": some} if some and None not in some else None
    if isinstance(wanted, Either):
        parts = [query for query in map(_surely, wanted.terms) if query is not None]
        return {"$or": parts} if parts else None
    if isinstance(wanted, Not):
        perhaps = _perhaps(wanted.term)
        return {"$nor": [perhaps]} if perhaps is not None else None
    return _sure_test(wanted) if isinstance(wanted, Test) else None


def _test(test: Test) -> dict[str, Any] | None:
    name, _, rest = test.path.partition(".")
    if name == "metrics" and rest:
        return _summary(test, rest)
    if test.path == "status":
        return _status(test)
    if test.path in _DATES:
        return _time(test, _MARGIN_MS)
    if test.path == "uid":
        return {"capture.uid": test.value} if test.operator == "==" and test.value else None
    if test.path == "command":
        return _value(test, "command", "capture.exact.command")
    if test.path == "tags":
        return _tags(test)
    if test.path == "notes":
        text = _text(test)
        return None if text is None else {"omniboard.notes": text}
    if test.path == "name":
        return _name(test)
    if test.path == "user":
        return _user(test)
    if test.path in ("git.commit", "git.dirty", "git.url"):
        in_list = "experiment.repositories.0"
        is_any = test.operator in ("!=", "exists")  # these all are there where a repository is
        return _value(test, in_list if is_any else f"{in_list}.{rest}", "capture.exact.experiment")
    if name == "packages" and rest:
        return _package(rest)
    if _is_in_place(name, rest):
        return _value(test, test.path, f"capture.exact.{name}")
    return None


def _sure_test(test: Test) -> dict[str, Any] | None:
    name, _, rest = test.path.partition(".")
    condition = _condition(test) if test.value is not None and test.operator not in ("!=", "exists") else None
    if test.path == "status":
        values = [test.value] if test.operator == "==" else test.value if test.operator == "in" else []
        if not all(isinstance(each, str) and _is_text(each) for each in values):
            return None
        shown = {"status": {"$in": values}, "capture.status": {"$exists": False}}
        return _either(shown, {"capture.status": {"$in": values}}) if values else None
    if test.path in _DATES:
        return _time(test, -_MARGIN_MS)
    if test.path == "tags" and test.operator == "contains" and isinstance(test.value, str) and _is_text(test.value):
        return {"omniboard.tags": {"$elemMatch": {"$eq": test.value}}}
    is_compared = condition is not None and test.operator in ("==", *_COMPARISONS)
    if not is_compared or not isinstance(condition, dict):
        return None
    if name == "metrics" and rest:
        metric, _, part = rest.rpartition(".")
        return {"$and": [_OURS, {f"capture.summary.{safe_key(metric)}.{part}": condition}]}
    if _is_in_place(name, rest):
        parts = test.path.split(".")
        above = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
        no_lists = [{path: {"$not": {"$type": "array"}}} for path in above]  # MongoDB looks into these
        return {"$and": [_OURS, {test.path: condition}, *no_lists, {f"capture.exact.{name}": {"$exists": False}}]}
    return None


def _is_in_place(name: str, rest: str) -> bool:
    """Say whether a path leads to the same place in the document as in the record."""
    return name in _FIELDS and (_is_plain(rest) if rest else name == "result")


def _is_plain(path: str) -> bool:
    """Say whether a path leads through keys that are stored as they are, and through no list."""
    return all(
        part and not part.isdigit() and not part.startswith(("$", "py/", "capture/", "json:")) and "\0" not in part
        for part in path.split(".")
    ) and _is_text(path)


def _is_text(value: str) -> bool:
    return value.isascii() or value == value.encode("utf-8", "replace").decode()


def _status(test: Test) -> dict[str, Any] | None:
    if test.operator == "!=":
        return _perhaps(Not(Test(test.path, "==", test.value)))
    if test.operator == "==" and isinstance(test.value, str) and _is_text(test.value):
        return _either({"status": test.value}, {"capture.status": test.value})
    if test.operator == "in" and all(isinstance(each, str) and _is_text(each) for each in test.value):
        return _either({"status": {"$in": list(test.value)}}, {"capture.status": {"$in": list(test.value)}})
    return None


def _tags(test: Test) -> dict[str, Any] | None:
    """Ask the tags, which a viewer may have put into one text."""
    text = _text(test)
    if test.operator == "contains":
        text = test.value if isinstance(test.value, str) and _is_text(test.value) else None
    one_text = {"omniboard.tags": {"$type": "string", "$not": {"$type": "array"}}}
    return None if text is None else _either({"omniboard.tags": text}, one_text)


def _name(test: Test) -> dict[str, Any] | None:
    """Ask the name of the experiment, which is text also where something else is stored."""
    values = test.value if test.operator == "in" else [test.value]
    condition = _condition(test) if values and all(isinstance(each, str) and each for each in values) else None
    if condition is None or test.operator == "!=":
        return None
    no_text = {"experiment.name": {"$exists": True, "$not": {"$type": "string"}}}
    return _either({"experiment.name": condition}, no_text, {"capture.exact.experiment": {"$exists": True}})


def _user(test: Test) -> dict[str, Any] | None:
    """Ask the facts of the process, where these are stored as they are; Sacred has none."""
    condition = _condition(test) if isinstance(test.value, str) and test.operator != "!=" else None
    if condition is None:
        return None
    facts = "capture.facts.process"
    packed = {facts: {"$exists": True}, f"{facts}.value": {"$exists": False}}
    return _either({f"{facts}.value.user.name": condition}, packed)


def _package(name: str) -> dict[str, Any] | None:
    """Find runs that used a package; which version, the record tells."""
    if not name.isascii() or not package_name(name):
        return None
    import re

    spelt = "[-_.]+".join(map(re.escape, package_name(name).split("-")))
    used = {"experiment.dependencies": {"$regex": f"^[-_.]*{spelt}[-_.]*==", "$options": "i"}}
    return _either(used, {"capture.exact.experiment": {"$exists": True}})


def _time(test: Test, margin_ms: float) -> dict[str, Any] | None:
    """Return a query for a time; with a margin below 0, one that only finds what surely fulfils the condition."""
    value: Any = test.value
    field = test.path
    if value is None and test.operator == "==" and margin_ms > 0:
        return _either({field: None}, {field: {"$type": "string"}})
    if not hasattr(value, "astimezone") or test.operator not in ("==", *_COMPARISONS):
        return None
    from capture.moments import timedelta

    try:
        early, late = value - timedelta(milliseconds=margin_ms), value + timedelta(milliseconds=margin_ms)
    except OverflowError:
        return None
    bounds = {"$gte": early, "$lte": late}
    if test.operator != "==":
        bounds = {"$lte": late} if test.operator in ("<", "<=") else {"$gte": early}
    if margin_ms < 0:
        return {field: bounds} if test.operator != "==" else None
    return _either({field: bounds}, {field: {"$type": "string"}})  # Sacred's may be text


def _value(test: Test, path: str, beside: str) -> dict[str, Any] | None:
    condition = _condition(test)
    if "." not in path and test.operator in ("!=", "exists"):  # what is not in the document is empty in the record
        return None
    if condition is None:
        return None
    return _either({path: condition}, {path: _OTHERS}, {beside: {"$exists": True}}, *_perhaps_members(path))


def _perhaps_members(path: str) -> list[dict[str, Any]]:
    """Return queries for members of enumerations, where a path may lead to the name or the value of one."""
    above, _, last = path.rpartition(".")
    if not above or last not in MEMBER_PARTS:
        return []
    return [{f"{above}.{tag}": {"$exists": True}} for tag in MEMBER_TAGS]


def _summary(test: Test, rest: str) -> dict[str, Any] | None:
    """Ask the summary that is kept with the run; of a run that Sacred wrote there is none."""
    metric, _, part = rest.rpartition(".")
    condition = _condition(test) if test.operator not in TEXT_OPERATORS else None
    if condition is None or not metric or part not in ("count", "last", "step", "time", "min", "max"):
        return None
    return _either({f"capture.summary.{safe_key(metric)}.{part}": condition}, {"capture": {"$exists": False}})


def _condition(test: Test) -> Any:
    """Return MongoDB's condition on one value; None where it does not mean the same."""
    value, operator = test.value, test.operator
    if operator in ("exists", "!="):  # there must be something
        return {"$exists": True}
    if operator in ("contains", *TEXT_OPERATORS) and isinstance(value, str):
        return _text(test)
    if operator in ("==", "contains"):
        same = _equal(value)
        return {"$in": same} if same else None
    if operator == "in":
        values = list(value) if isinstance(value, (list, tuple)) else []
        equal = [_equal(each) for each in values]
        return {"$in": [each for some in equal for each in some]} if values and all(equal) else None
    if operator in _COMPARISONS and type(value) in (int, float, str) and _fits(value):
        return {_COMPARISONS[operator]: value}
    return None


def _text(test: Test) -> Any:
    """Return the condition that text is, or has in it, what a test says; of a list, one of its texts."""
    import re

    value = beginning(test) if test.operator in ("startswith", "matches") else test.value
    if test.operator not in ("contains", *TEXT_OPERATORS) or not isinstance(value, str) or not _is_text(value):
        return None
    if not value or "\0" in value or len(value) > _LONGEST:
        return None
    before, after = {"contains": ("", ""), "endswith": ("", "$")}.get(test.operator, ("^", ""))
    return {"$regex": before + re.escape(value) + after}


def _equal(value: Any) -> list[Any]:
    """Return what is equal to a value in Python's eyes; nothing if that cannot be said in MongoDB's."""
    if not _fits(value):
        return []
    if type(value) in (bool, int, float):
        return [value, *(other for other in (True, False) if other == value and other is not value)] + (
            [int(value)] if type(value) is bool else []
        )
    return [value] if type(value) is str or value is None else []


def _fits(value: Any) -> bool:
    kind = type(value)
    if kind is str:
        return _is_text(value)
    if kind is int:
        return -(2**53) < value < 2**53
    if kind is float:
        return value == value and abs(value) < 2**53
    return kind is bool or value is None


def _either(*queries: dict[str, Any]) -> dict[str, Any]:
    return {"$or": list(queries)}
