"""Conditions as SQL: what the database can answer. It may find too much, never too little."""

from __future__ import annotations

from capture.codec import MEMBER_PARTS
from capture.filters import TEXT_OPERATORS, TIMES, Either, Every, Not, Test
from capture.observers import _sql_tables as tables
from capture.observers._raw_filter import beginning
from capture.observers._sql_values import (
    clamped,
    indexed,
    is_indexed,
    key_of,
    naive_utc,
    plain_text,
    stored_text,
    to_json,
)
from capture.versions import package_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import Connection

    from capture.filters import Filter

_COMPARISONS = ("<", "<=", ">", ">=")
_MARGIN_S = 1.0  #: Sacred's columns of times have no fractions in some databases
_MOST = 100  #: terms that are joined, and values of a list: databases have limits for them
_LONGEST = 1_000  #: characters of a text that is looked for in others: SQLite has a limit for that
_SUMMARIES = ("last", "min", "max")  # count is the sum of those of several writers, and step goes with last


def of_runs(connection: Connection, query: Any, column: Any, numbers: list[int]) -> list[Any]:
    """Return the rows of a query that are of these runs."""
    from sqlalchemy import bindparam

    low, high, wanted = min(numbers, default=0), max(numbers, default=0), set(numbers)
    if high - low < 2 * len(numbers):  # hundreds of parameters take a driver longer than a few rows too many
        within = query.where(column.between(bindparam("low"), bindparam("high")))
        rows = connection.execute(within, {"low": low, "high": high}).all()
        return [row for row in rows if row.run in wanted]
    query = query.where(column.in_(bindparam("runs", expanding=True)))
    rows = []
    for start in range(0, len(numbers), 500):
        rows += connection.execute(query, {"runs": numbers[start : start + 500]}).all()
    return rows


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
    from sqlalchemy import and_, false, func, or_

    if isinstance(wanted, Every):
        parts = [condition(each, tables_of_ours, all_indexed) for each in wanted.terms]
        parts = [part for part in parts if part is not None][:_MOST]
        return and_(*parts) if parts else None
    if isinstance(wanted, Either):
        some = [condition(each, tables_of_ours, all_indexed) for each in wanted.terms[: _MOST + 1]]
        return or_(*some) if 0 < len(some) <= _MOST and all(part is not None for part in some) else None
    if isinstance(wanted, Not):
        sure = _surely(wanted.term, tables_of_ours)
        return None if sure is None else ~func.coalesce(sure, false())
    return _test(wanted, tables_of_ours, all_indexed) if isinstance(wanted, Test) else None


def _surely(wanted: Filter, tables_of_ours: bool) -> Any:
    """Return a condition that only runs fulfil that fulfil `wanted`; None for none: what is not so may be left out."""
    from sqlalchemy import and_, or_

    if isinstance(wanted, Every):
        parts = [_surely(each, tables_of_ours) for each in wanted.terms[: _MOST + 1]]
        return and_(*parts) if 0 < len(parts) <= _MOST and all(part is not None for part in parts) else None
    if isinstance(wanted, Either):
        parts = [part for each in wanted.terms if (part := _surely(each, tables_of_ours)) is not None]
        return or_(*parts[:_MOST]) if parts else None
    if not isinstance(wanted, Test) or not tables_of_ours or _is_wide(wanted):
        return None
    values = _texts(wanted)
    if wanted.path == "status" and values:
        # LIKE minds blanks at the end in every database; in Sacred's columns not even capitals count everywhere
        status = tables.capture_run.c.status
        stored = [stored_text(each) for each in values]
        same = [and_(status == each, status.like(_quoted(each), escape="/")) for each in stored]
        return and_(tables.capture_run.c.layout == "capture", or_(*same))
    return _time(wanted, tables_of_ours, -_MARGIN_S) if wanted.path in TIMES else None


def _test(test: Test, tables_of_ours: bool, all_indexed: bool) -> Any:
    root, _, rest = test.path.partition(".")
    if _is_wide(test):
        return None
    if test.path == "status":
        return _status(test, tables_of_ours)
    if test.path in ("experiment.name", "name"):
        return _experiment_name(test)
    if test.path in TIMES:
        return _time(test, tables_of_ours, _MARGIN_S)
    if not tables_of_ours:
        return None
    if test.path in ("uid", "command"):
        column = tables.capture_run.c[test.path]
        values = _texts(test)
        found = _text(column, test) if values is None else column.in_([stored_text(value) for value in values])
        return None if found is None else found | _is_sacreds()
    if test.path == "notes":
        return _text(tables.capture_run.c.notes, test)
    if test.path == "result":
        return _result(test)
    if test.path == "tags" and test.operator == "contains" and isinstance(test.value, str):
        return tables.capture_run.c.tags.contains(to_json(test.value), autoescape=True)
    if root == "config" and is_indexed(rest):
        found = _config(test, rest)
        return found if found is None or all_indexed else found | tables.capture_run.c.indexed.is_not(True)
    if root == "metrics" and rest:
        return _metric(test, *rest.rpartition(".")[::2])
    if test.path == "user":
        return _user(test)
    if test.path == "git.commit":
        return _commit(test)
    return _package(rest) if root == "packages" and rest else None


def _is_wide(test: Test) -> bool:
    """Say whether a test names more than a database can be asked at once."""
    if test.operator == "in":
        return not isinstance(test.value, list) or len(test.value) > _MOST
    return test.operator in ("contains", *TEXT_OPERATORS) and isinstance(test.value, str) and len(test.value) > _LONGEST


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


def _beginnings(test: Test) -> list[str]:
    """Return texts with one of which the value has to begin; none if that is not known."""
    values = _texts(test)
    found = [beginning(test)] if values is None else values
    return found if all(each and plain_text(each) == each for each in found) else []


def _quoted(text: str) -> str:
    """Return text as a pattern of LIKE that only it fits."""
    return text.replace("/", "//").replace("%", "/%").replace("_", "/_")


def _in_json(column: Any, before: str, texts: list[str], after: str = "") -> Any:
    """Return the condition that JSON has one of these texts, or what begins so, after `before` and before `after`."""
    from sqlalchemy import or_

    quoted = [_quoted(to_json(each)[:-1]) for each in texts]
    return or_(*(column.like(f"%{before}%{each}{after}%", escape="/") for each in quoted))


def _text(column: Any, test: Test) -> Any:
    """Return a test of text on a column of `stored_text`."""
    value = test.value
    if test.operator == "matches":
        value = beginning(test)
    if test.operator not in ("contains", *TEXT_OPERATORS) or not isinstance(value, str) or stored_text(value) != value:
        return None
    if not value:  # it is in any text, also in one that is not stored
        return None
    method = {"contains": column.contains, "endswith": column.endswith}.get(test.operator, column.startswith)
    return method(value, autoescape=True) | column.startswith("json:", autoescape=True)  # what no column can hold


def _time(test: Test, tables_of_ours: bool, margin_s: float) -> Any:
    """Return a condition on Sacred's columns, which may be rounded: with a margin below 0, one that surely holds."""
    from sqlalchemy import and_

    column, value = tables.run.c[test.path], test.value
    if value is None and test.operator == "==" and margin_s > 0:
        return column.is_(None)
    if test.operator not in ("==", *_COMPARISONS) or not hasattr(value, "astimezone"):
        return None
    from capture.moments import timedelta

    try:
        moment, margin = naive_utc(value), timedelta(seconds=margin_s)
        early, late = moment - margin, moment + margin
    except OverflowError:
        return None
    if test.operator == "==":
        found = and_(column >= early, column <= late)
    else:
        found = column <= late if test.operator in ("<", "<=") else column >= early
    if margin_s < 0 or not tables_of_ours:
        return found if margin_s > 0 or test.operator != "==" else None
    exact = {"start_time": "started", "stop_time": "stopped", "queue_time": "queued"}.get(test.path, test.path)
    return found | and_(column.is_(None), tables.capture_run.c[exact].is_not(None))


def _user(test: Test) -> Any:
    """Ask the facts of the process; of a run that Sacred wrote there are none, and it has no user."""
    from sqlalchemy import select

    texts, table = _beginnings(test), tables.capture_fact
    if not texts:
        return None
    found = _in_json(table.c.facts, '"name":', texts)
    return tables.run.c.id.in_(select(table.c.run).where(table.c.name_key == key_of("process"), found))


def _commit(test: Test) -> Any:
    texts = _beginnings(test)
    return _described(_in_json(tables.capture_document.c.content, '"commit":', texts)) if texts else None


def _package(name: str) -> Any:
    """Return the condition that a run used a package; which version, its record tells."""
    if not name.isascii() or not package_name(name):
        return None
    spelt = "%".join(_quoted(part) for part in package_name(name).split("-"))
    return _described(tables.capture_document.c.content.ilike(f'%"%{spelt}%==%', escape="/"))


def _described(found: Any) -> Any:
    """Return a condition on the stored description of the experiment; of runs that Sacred wrote the record tells."""
    from sqlalchemy import select

    table = tables.capture_document
    return tables.run.c.id.in_(select(table.c.run).where(table.c.name == "experiment", found)) | _is_sacreds()


def _status(test: Test, tables_of_ours: bool) -> Any:
    from sqlalchemy import and_, cast
    from sqlalchemy.types import String

    if test.operator == "!=":
        return condition(Not(Test(test.path, "==", test.value)), tables_of_ours)
    values = _texts(test)
    if values is None:
        return None
    sacreds = cast(tables.run.c.status, String(32)).in_(values)  # in an older database it is an enumeration
    if not tables_of_ours:
        return sacreds
    return tables.capture_run.c.status.in_([stored_text(value) for value in values]) | and_(_is_sacreds(), sacreds)


def _experiment_name(test: Test) -> Any:
    from sqlalchemy import select

    values, table = _texts(test), tables.experiment
    if values and all(values):
        # MySQL and MariaDB have the beginning of a long name
        found = table.c.name.in_([plain_text(value, limit) for value in values for limit in (None, tables.SHORT)])
    elif beginning(test):
        found = table.c.name.startswith(plain_text(beginning(test), tables.SHORT), autoescape=True)
    else:
        return None
    number = tables.run.c.experiment_id
    # none where Sacred's tables did not take the experiment: the record tells
    return number.in_(select(table.c.experiment_id).where(found)) | number.is_(None)


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
    elif test.operator in ("!=", "exists"):  # there must be something
        matching = []
    else:
        found = _text(table.c.text, test)
        if found is None:
            return None
        matching = [and_(table.c.kind == "s", found)]
    there = select(table.c.run).where(table.c.path == path)
    found = tables.run.c.id.in_(there.where(or_(*matching, table.c.kind == "?")) if matching else there)
    above, _, last = path.rpartition(".")
    if not above or last not in MEMBER_PARTS:
        return found
    # What is above may be a member of an enumeration, which has a name and a value: the record tells
    perhaps = select(table.c.run).where(table.c.path == above, table.c.kind == "?")
    return or_(found, and_(tables.run.c.id.in_(perhaps), tables.run.c.id.not_in(there)))


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
