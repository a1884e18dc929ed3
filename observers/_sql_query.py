"""Conditions as SQL: what the database can answer. It may find too much, never too little."""

from __future__ import annotations

from capture.filters import Either, Every, Test
from capture.observers import _sql_tables as tables
from capture.observers._sql_values import clamped, indexed, is_indexed, plain_text, stored_text, to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.filters import Filter

_COMPARISONS = ("<", "<=", ">", ">=")
_SUMMARIES = ("last", "min", "max")  # count is the sum of those of several writers, and step goes with last


def condition(wanted: Filter | None, tables_of_ours: bool = True, all_indexed: bool = False) -> Any:
    """Return a condition on `run` (and `capture_run`) that every run fulfils that fulfils `wanted`; None for none.

    Parameters
    ----------
    wanted : Filter or None
    tables_of_ours : bool
        Whether our tables are there.
    all_indexed : bool
        Whether each run has all of its config in `capture_config`: then the condition is simpler.
    """
    from sqlalchemy import and_, or_

    if isinstance(wanted, Every):
        parts = [condition(each, tables_of_ours, all_indexed) for each in wanted.terms]
        parts = [part for part in parts if part is not None]
        return and_(*parts) if parts else None
    if isinstance(wanted, Either):
        some = [condition(each, tables_of_ours, all_indexed) for each in wanted.terms]
        return or_(*some) if some and all(part is not None for part in some) else None
    return _test(wanted, tables_of_ours, all_indexed) if isinstance(wanted, Test) else None


def roots(wanted: Filter | None) -> set[str]:
    """Return the fields of a record that a condition looks at."""
    if isinstance(wanted, Test):
        return {wanted.path.partition(".")[0]}
    found: set[str] = set()
    for each in getattr(wanted, "terms", None) or [getattr(wanted, "term", None)]:
        if each is not None:
            found |= roots(each)
    return found


def _test(test: Test, tables_of_ours: bool, all_indexed: bool) -> Any:
    root, _, rest = test.path.partition(".")
    if test.path == "status":
        return _status(test, tables_of_ours)
    if test.path == "experiment.name":
        return _experiment_name(test)
    if not tables_of_ours:
        return None
    if test.path in ("uid", "command"):
        column = tables.capture_run.c[test.path]
        values = _texts(test)
        found = None if values is None else column.in_([stored_text(value) for value in values])
        return None if found is None else found | _is_sacreds()
    if test.path == "result":
        return _result(test)
    if test.path == "tags" and test.operator == "contains" and isinstance(test.value, str):
        return tables.capture_run.c.tags.contains(to_json(test.value), autoescape=True)
    if root == "config" and is_indexed(rest):
        found = _config(test, rest)
        return found if found is None or all_indexed else found | tables.capture_run.c.indexed.is_not(True)
    if root == "metrics" and rest:
        return _metric(test, *rest.rpartition(".")[::2])
    return None


def _is_sacreds() -> Any:
    return tables.capture_run.c.layout.is_distinct_from("capture")


def _values(test: Test) -> list[Any] | None:
    """Return the values of which the one looked for has to be one; None if it is another kind of test."""
    if test.operator == "==":
        return [test.value]
    if test.operator == "in":
        return list(test.value)
    return None


def _texts(test: Test) -> list[str] | None:
    values = _values(test)
    return values if values is not None and all(isinstance(value, str) for value in values) else None


def _status(test: Test, tables_of_ours: bool) -> Any:
    from sqlalchemy import and_, cast
    from sqlalchemy.types import String

    values = _texts(test)
    if values is None:
        return None
    sacreds = cast(tables.run.c.status, String(32)).in_(values)  # in an older database it is an enumeration
    if not tables_of_ours:
        return sacreds
    return tables.capture_run.c.status.in_([stored_text(value) for value in values]) | and_(_is_sacreds(), sacreds)


def _experiment_name(test: Test) -> Any:
    from sqlalchemy import select

    values = _texts(test)
    if values is None:
        return None
    table = tables.experiment
    names = [plain_text(value, tables.SHORT) for value in values]
    number = tables.run.c.experiment_id
    # none where Sacred's tables did not take the experiment: the record tells
    return number.in_(select(table.c.experiment_id).where(table.c.name.in_(names))) | number.is_(None)


def _result(test: Test) -> Any:
    number = _number(test.value)
    if number is None:
        return None
    column = tables.run.c.result
    found = _compared(column, test.operator, number)
    return None if found is None else found | column.is_(None)


def _config(test: Test, path: str) -> Any:
    from sqlalchemy import and_, or_, select

    table = tables.capture_config
    values = _values(test)
    if values is not None:
        matching = [_indexed_equal(table, value) for value in values]
        if any(each is None for each in matching):
            return None
    elif test.operator in _COMPARISONS:
        number = _number(test.value)
        if number is None:
            return None
        matching = [and_(table.c.kind == "n", _compared(table.c.number, test.operator, number))]
    else:
        return None
    return tables.run.c.id.in_(select(table.c.run).where(table.c.path == path, or_(*matching, table.c.kind == "?")))


def _indexed_equal(table: Any, value: Any) -> Any:
    """Return the condition on `capture_config` for a value, or None if it does not tell."""
    from sqlalchemy import and_

    if value is not None and type(value) not in (bool, int, float, str):
        return None
    entry = indexed(value)
    if entry["kind"] == "n" and entry["number"] is not None:
        return and_(table.c.kind == "n", table.c.number == entry["number"])
    if entry["kind"] == "s":
        return and_(table.c.kind == "s", table.c.text == entry["text"]) if plain_text(value) == value else None
    return table.c.kind == "0" if value is None else None


def _metric(test: Test, name: str, part: str) -> Any:
    from sqlalchemy import select

    table = tables.capture_series
    number = _number(test.value)
    if part not in _SUMMARIES or not name or number is None:
        return None
    column = table.c[part]
    found = _compared(column, test.operator, number)
    if found is None:
        return None
    odd = column.is_(None)  # not a number, or not finite: the record tells
    where = select(table.c.run).where(table.c.name == stored_text(name), found | odd)
    return tables.run.c.id.in_(where)


def _number(value: Any) -> float | None:
    return clamped(value) if type(value) in (bool, int, float) else None


def _compared(column: Any, operator: str, number: float) -> Any:
    """Return a comparison that finds no less: a float may have been rounded to `number`, so that < finds it, too."""
    if operator == "==":
        return column == number
    if operator in ("<", "<="):
        return column <= number
    if operator in (">", ">="):
        return column >= number
    return None
