"""The points of metrics: one row each, written by the fastest ordinary way of each driver.

`capture_metric` holds step and value as floats. Whether those of a series are whole numbers is said once, for the
series; a step or a value that this does not tell exactly (NaN, infinity, 2**60 + 1, 0.5 among whole numbers) lies in
`capture_exact` besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count, repeat

from capture import plainjson
from capture.codec import decode, decoded_name, is_untagged
from capture.observers._sql_statements import Statements
from capture.observers._sql_values import from_json, key_of, number_or_none, stored_text, to_json, told_text
from capture.observers._writing import log
from capture.records import Chunk, Series, as_array, numbers, summarize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from sqlalchemy import Connection

    from capture.observers._sql_database import Database

_EXACT = 2**53  #: whole numbers up to this are floats exactly
_ROWS = 2_000  #: rows in one statement, where a statement holds them as text

COLUMNS = ("series", "number", "step", "value", "time")


class _State:
    """What is known of one series while it grows."""

    __slots__ = ("count", "id", "integer_steps", "integer_values", "summary")

    def __init__(self, id: int, count: int, integer_steps: bool, integer_values: bool, summary: Any) -> None:
        self.id, self.count = id, count
        self.integer_steps, self.integer_values = integer_steps, integer_values
        self.summary = summary


class PointWriter:
    """Writes the points of one run; remembers what it knows of the series between two transactions."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], _State] = {}

    def forget(self) -> None:
        """Forget what may not have been stored."""
        self._known.clear()

    def write(self, statements: Statements, run: int, batches: Iterable[tuple[str, bytes]]) -> None:
        """Write batches, each with its writer, as encoded events."""
        rows: list[Iterable[tuple[Any, ...]]] = []
        odd: list[dict[str, Any]] = []
        touched: dict[int, _State] = {}
        for writer, line in batches:
            data = plainjson.loads(line)
            for key, column in data["columns"].items():
                if column["values"]:
                    state = self._state(statements, run, writer, decoded_name(key), column)
                    rows.append(_rows(state, column, data["start"], odd))
                    state.summary = summarize(column, data["start"], state.summary)
                    state.count += len(column["values"])
                    touched[state.id] = state
        insert_points(statements.connection, rows)
        statements.insert("capture_exact", *odd)
        for state in touched.values():
            statements.update("capture_series", _summary(state.summary), id=state.id)

    def _state(self, statements: Statements, run: int, writer: str, name: str, column: Any) -> _State:
        state = self._known.get((writer, name))
        if state is None:
            known = {"run": run, "name_key": key_of(writer, name)}
            columns = ["id", "count", "integer_steps", "integer_values", "summary"]
            found = statements.first("capture_series", columns, **known)
            if found is not None:
                number, points, integer_steps, integer_values, summary = found
                state = _State(number, points, bool(integer_steps), bool(integer_values), from_json(summary))
            else:
                integer_steps, integer_values = (type(column[part][0]) is int for part in ("steps", "values"))
                values = {
                    **known,
                    "writer": stored_text(writer),
                    "name": stored_text(name),
                    "integer_steps": integer_steps,
                    "integer_values": integer_values,
                    "count": 0,
                    "summary": "null",
                }
                state = _State(statements.add("capture_series", values), 0, integer_steps, integer_values, None)
            self._known[writer, name] = state
        return state


def _summary(summary: dict[str, Any]) -> dict[str, Any]:
    numbers = {name: number_or_none(summary[name]) for name in ("last", "step", "min", "max")}
    return {**numbers, "count": summary["count"], "time": summary["time"], "summary": to_json(summary)}


def _rows(state: _State, column: Any, start: int, odd: list[dict[str, Any]]) -> Iterable[tuple[Any, ...]]:
    """Return rows for one column; what they cannot say exactly goes to `odd`."""
    steps = _floats(state, "step", column["steps"], state.integer_steps, odd)
    values = _floats(state, "value", column["values"], state.integer_values, odd)
    times = [start + time for time in column["times"]]
    return zip(repeat(state.id), count(state.count), steps, values, times)


def _floats(state: _State, part: str, numbers: list[Any], integer: bool, odd: list[dict[str, Any]]) -> list[Any]:
    """Return numbers as `capture_metric` holds them."""
    kinds = set(map(type, numbers))
    if integer:
        if kinds == {int} and min(numbers) >= -_EXACT and max(numbers) <= _EXACT:
            return numbers
    elif kinds == {float} and 0.0 not in numbers:
        return numbers
    floats = []
    for place, number in enumerate(numbers, state.count):
        nearest = None if type(number) is str else number_or_none(number)
        floats.append(nearest)
        if not _tells(nearest, number, integer):
            odd.append({"series": state.id, "number": place, "part": part, "content": plainjson.dumps(number)})
    return floats


def _tells(nearest: float | None, number: Any, integer: bool) -> bool:
    """Say whether a float of a series of whole numbers, or of others, tells a number exactly."""
    if nearest is None or isinstance(number, int) is not integer:
        return False
    if integer:
        return int(nearest) == number
    return nearest != 0 or str(number) != "-0.0"  # SQLite knows one zero


# --------------------------------------------------------------------------------------------------------- writing


def insert_points(connection: Connection, rows: Iterable[Iterable[tuple[Any, ...]]]) -> None:
    """Insert rows of `capture_metric`, given in pieces, past SQLAlchemy, which would take as long again."""
    from itertools import chain

    driver = connection.dialect.driver
    cursor: Any = connection.connection.cursor()
    try:
        every = chain.from_iterable(rows)
        names = ", ".join(COLUMNS)
        if driver == "pysqlite":
            cursor.executemany(f"INSERT INTO capture_metric ({names}) VALUES (?, ?, ?, ?, ?)", every)
        elif driver == "psycopg":
            with cursor.copy(f"COPY capture_metric ({names}) FROM STDIN") as copy:
                for piece in _pieces(every, "%d\t%d\t%s\t%s\t%d\n", "\\N", ""):
                    copy.write(piece)
        elif connection.dialect.name in ("mysql", "mariadb"):
            for piece in _pieces(every, "(%d,%d,%s,%s,%d)", "NULL", ","):
                cursor.execute(f"INSERT INTO capture_metric ({names}) VALUES {piece}")
        else:
            for some in _some(every):
                Statements(connection).insert("capture_metric", *[dict(zip(COLUMNS, row)) for row in some])
    finally:
        cursor.close()


def _some(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    while some := [row for _, row in zip(range(_ROWS), rows)]:
        yield some


def _pieces(rows: Iterator[tuple[Any, ...]], form: str, null: str, between: str) -> Iterator[str]:
    """Yield rows as text, some thousand at once; all that is in them is numbers."""
    for some in _some(rows):
        yield between.join(
            [
                form % (a, b, null if c is None else repr(c), null if d is None else repr(d), e)
                for a, b, c, d, e in some
            ]
        )


# --------------------------------------------------------------------------------------------------------- reading


class StoredSeries(Mapping[str, Series]):
    """The series of a run by name, each read when it is asked for."""

    def __init__(self, database: Database, run: int) -> None:
        self._database, self._run = database, run
        self._parts: dict[str, list[Any]] | None = None
        self._read: dict[str, Series] = {}

    def _named(self) -> dict[str, list[Any]]:
        """Return the rows of `capture_series` by name: the main writer's first, then those of the others."""
        if self._parts is None:
            columns = ["id", "writer", "name", "integer_steps", "integer_values", "count"]
            with self._database.reading() as connection:
                found = Statements(connection).select("capture_series", columns, "ORDER BY id", run=self._run)
            rows = [(told_text(row.writer), row) for row in found]
            rows.sort(key=lambda pair: (pair[0] != "main", pair[0]))
            self._parts = {}
            for _, row in rows:
                self._parts.setdefault(told_text(row.name), []).append(row)
        return self._parts

    def __getitem__(self, name: str) -> Series:
        if name not in self._read:
            parts = self._named()[name]
            self._read[name] = Series.of_chunks(name, [_Points(self._database, part) for part in parts])
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._named())

    def __len__(self) -> int:
        return len(self._named())

    def __repr__(self) -> str:
        return f"StoredSeries({', '.join(self)})"


class _Points(Chunk):
    """The points of one series that were stored when it was looked up; later ones are not in it."""

    __slots__ = ("_count", "_database", "_lists", "_part")

    def __init__(self, database: Database, part: Any) -> None:
        self._database, self._part, self._count = database, part, int(part.count)
        self._lists: dict[str, list[Any]] = {}

    def __len__(self) -> int:
        return self._count

    def listed(self, column: str) -> list[Any]:
        if column not in self._lists:  # who asks for one will ask for another: most of the time goes into the rows
            with self._database.reading() as connection:
                found = _read_points(connection, self._part, self._count)
            self._lists = dict(zip(("steps", "values", "times"), found))
        return self._lists.pop(column)

    def array(self, column: str) -> Any:
        import numpy

        name = column[:-1]  # in the table
        is_integer = column == "times" or (column == "steps" and bool(self._part.integer_steps))
        with self._database.reading() as connection:
            series = int(self._part.id)
            found = _progression(connection, series, self._count) if is_integer and column == "steps" else None
            if found is None:
                found = _column(connection, series, name, self._count)
            if found is None:
                return as_array(self.listed(column), column)
            odd = {} if column == "times" else _odd(connection, series, name, self._count)
        if is_integer and set(map(type, odd.values())) <= {int}:
            try:
                found = found.astype(numpy.int64, copy=False)
                for place, number in odd.items():
                    found[place] = number
                return found
            except OverflowError:
                pass
        found = found.astype(numpy.float64, copy=False)
        for place, number in odd.items():
            found[place] = as_array([number], "values")[0]
        return found


_AT_ONCE = 1_000_000  #: points of which a database makes one answer
_AT_ONCE_IN_BYTES = 100_000  #: of which the bytes fit into a packet of any server
_AS_POINT = "POINT(coalesce({}, 0), number)"


def _progression(connection: Connection, series: int, count: int) -> Any:
    """Return steps that follow one another evenly, as most do: that takes the database less than to tell them."""
    import numpy

    def ask(what: str, where: str, *order: str) -> list[Any]:
        query = f"SELECT {what} FROM capture_metric WHERE series = {series} AND {where} {' '.join(order)}"
        return list(connection.exec_driver_sql(query))

    ends = [row[0] for row in ask("step", "number < 2", "ORDER BY number")]
    if count < 2 or len(ends) < 2 or None in ends:
        return None
    first, stride = int(ends[0]), int(ends[1]) - int(ends[0])
    if max(abs(first), abs(stride)) * count >= _EXACT:
        return None
    differing = f"number < {count} AND (step IS NULL OR step <> {first} + {stride} * number)"
    return None if ask("1", differing, "LIMIT 1") else first + stride * numpy.arange(count, dtype=numpy.int64)


def _column(connection: Connection, series: int, name: str, count: int) -> Any:
    """Return a column of `capture_metric` as an array, zero where it has no number; None if this database has no way.

    Each way is one in which Python does not see the points one by one, or sees but numbers.
    """
    import numpy

    dialect, driver = connection.dialect.name, connection.dialect.driver
    if driver == "pysqlite":
        read, size = _column_of_sqlite, count
    elif driver == "psycopg":
        read, size = _column_of_postgresql, _AT_ONCE
    elif dialect in ("mysql", "mariadb"):
        connection.exec_driver_sql(f"SET SESSION group_concat_max_len = {100 * _AT_ONCE_IN_BYTES}")
        read, size = _column_of_mysql, _AT_ONCE_IN_BYTES
    else:
        return None
    parts = []
    for first in range(0, count, max(size, 1)):
        many = min(size, count - first)
        where = f"series = {series} AND number >= {first} AND number < {first + many}"
        part = read(connection, name, where, many)
        if part is None or len(part) != many:
            return None
        parts.append(part)
    return parts[0] if len(parts) == 1 else numpy.concatenate(parts) if parts else numpy.zeros(0)


def _column_of_sqlite(connection: Connection, name: str, where: str, count: int) -> Any:
    from itertools import chain

    import numpy

    cursor: Any = connection.connection.cursor()
    try:
        cursor.execute(f"SELECT ifnull({name}, 0) FROM capture_metric WHERE {where} ORDER BY number")
        kind = numpy.int64 if name == "time" else numpy.float64
        return numpy.fromiter(chain.from_iterable(cursor), kind)
    finally:
        cursor.close()


def _column_of_postgresql(connection: Connection, name: str, where: str, count: int) -> Any:
    """Ask for one array, in the binary form: a head, and four bytes of length before each element."""
    import numpy

    driver: Any = connection.connection.driver_connection
    with driver.cursor(binary=True) as cursor:
        select = f"SELECT coalesce({name}, 0) FROM capture_metric WHERE {where} ORDER BY number"
        cursor.execute(f"SELECT ARRAY({select})")
        data = cursor.pgresult.get_value(0, 0)
    kind = numpy.dtype("i8" if name == "time" else "f8")
    element = numpy.dtype([("size", ">i4"), ("number", kind.newbyteorder(">"))])
    if len(data) != 20 + count * element.itemsize:
        return None
    return numpy.frombuffer(data, element, offset=20)["number"].astype(kind)


def _column_of_mysql(connection: Connection, name: str, where: str, count: int) -> Any:
    """Ask for one long value with all numbers: the driver, written in Python, would take longer over as many rows.

    To write a float in decimals takes the database ten times longer than to find it, and points of the plane are the
    only thing of which it gives the bytes: so each number is the x of a point. Its y is the number's place, since to
    sort within GROUP_CONCAT takes as long again.
    """
    import numpy
    from sqlalchemy.exc import DBAPIError

    points = _AS_POINT.format(name)
    query = f"SELECT GROUP_CONCAT({points} SEPARATOR '') FROM capture_metric WHERE {where}"
    try:
        data = connection.exec_driver_sql(query).scalar()
    except (DBAPIError, UnicodeError) as error:  # what calls itself MySQL need not know points, nor give their bytes
        log().debug("Points are read row by row: %s", error)
        connection.rollback()
        return None
    point = numpy.dtype([("head", "V9"), ("x", "<f8"), ("y", "<f8")])
    head = bytes((0, 0, 0, 0, 1, 1, 0, 0, 0))  # in no coordinate system; little-endian; a point
    if not isinstance(data, bytes) or len(data) != count * point.itemsize or not data.startswith(head):
        return None
    found = numpy.frombuffer(data, point)
    places = found["y"].astype(numpy.int64)
    column = numpy.empty(count)
    column[places - places.min()] = found["x"]
    return column if name != "time" or numpy.abs(column).max() <= _EXACT else None


def _read_points(connection: Connection, part: Any, count: int) -> tuple[list[Any], list[Any], list[int]]:
    cursor = connection.connection.cursor()
    try:
        cursor.execute(
            f"SELECT step, value, time FROM capture_metric WHERE series = {int(part.id)} AND number < {count}"
            " ORDER BY number"
        )
        rows = cursor.fetchall()
    finally:
        cursor.close()
    steps, values, times = map(list, zip(*rows)) if rows else ([], [], [])
    odd_steps, odd_values = (_odd(connection, part.id, name, count) for name in ("step", "value"))
    return _exact(steps, part.integer_steps, odd_steps), _exact(values, part.integer_values, odd_values), times


def _odd(connection: Connection, series: int, name: str, count: int) -> dict[int, Any]:
    """Return what `capture_metric` cannot say exactly of a column of `count` points, by the number of the point."""
    rows = Statements(connection).select("capture_exact", ["number", "content"], series=series, part=name)
    return {number: numbers([plainjson.loads(content)])[0] for number, content in rows if number < count}


def _exact(column: list[Any], integer: bool, odd: dict[int, Any]) -> list[Any]:
    for place in odd:
        column[place] = 0
    if integer:
        column = [int(number) for number in column]
    for place, number in odd.items():
        column[place] = number
    return column


class Summarized:
    """What the summary of one series of a run says."""

    __slots__ = ("name", "summary", "writer")

    def __init__(self, writer: str, name: str, summary: Any) -> None:
        self.writer, self.name, self.summary = writer, name, summary


def summaries_of(rows: Sequence[Any]) -> Iterator[tuple[int, Summarized]]:
    """Yield run and summary for rows (run, writer, name, summary) of `capture_series`.

    What is damaged is left as it is stored.
    """
    found = plainjson.loads_each([text for _, _, _, text in rows])
    for (run, writer, name, text), summary in zip(rows, found):
        known = summary if is_untagged(text) else decode(summary)
        yield run, Summarized(told_text(writer), told_text(name), known)


def merged_summary(parts: Sequence[Summarized]) -> dict[str, dict[str, Any]]:
    """Return what `capture.records.summarize` says of each metric of a run, from the summaries of its series by age.

    Raises
    ------
    ValueError
        If one of them is damaged.
    """
    merged: dict[str, dict[str, Any]] = {}
    if len({part.writer for part in parts}) > 1:  # nearly always there is one
        parts = sorted(parts, key=lambda part: (part.writer != "main", part.writer))
    for part in parts:
        new = from_json(part.summary) if isinstance(part.summary, str) else part.summary
        if new is not None:
            merged[part.name] = _joined(merged[part.name], new) if part.name in merged else new
    return merged


def _joined(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    newest = other if other["time"] >= one["time"] else one
    lows = [each for each in (one["min"], other["min"]) if each is not None]
    highs = [each for each in (one["max"], other["max"]) if each is not None]
    return {
        "count": one["count"] + other["count"],
        **{name: newest[name] for name in ("last", "step", "time")},
        "min": min(lows) if lows else None,
        "max": max(highs) if highs else None,
    }
