"""Simple statements, written out: a run makes some thirty different ones, which SQLAlchemy would take 20 ms to compile.

Tables and columns are named by strings; values are what each driver takes. What is more than "the rows that have these
values" is left to SQLAlchemy's expressions, in the modules that read.
"""

from __future__ import annotations

from capture.observers._sql_errors import TooLargeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from sqlalchemy import Connection

SOME = 500  #: values in one list: every database takes as many
_LARGE = 256 << 10  #: characters or bytes of values that any server takes in one statement
_ESCAPED = ("\\", "'", '"', "\0", "\n", "\r", "\x1a")  #: what takes two bytes in a statement of MySQL's


class Statements:
    """The simple statements of one transaction.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        dialect = connection.dialect
        self.is_sqlite, self.is_mysql = dialect.name == "sqlite", dialect.name in ("mysql", "mariadb")
        self._quote = dialect.identifier_preparer.quote_identifier
        self._mark = "?" if dialect.paramstyle == "qmark" else "%s"

    # What is changed.

    def insert(self, table: str, *rows: dict[str, Any]) -> None:
        """Insert rows, which all have the same columns."""
        if rows:
            values = [self._values(row.values()) for row in rows]
            self.connection.exec_driver_sql(self._insertion(table, rows[0]), values if len(rows) > 1 else values[0])

    def add(self, table: str, row: dict[str, Any], number: str = "id") -> int:
        """Insert one row; return the number that the database gives it, in its column `number`."""
        statement = self._insertion(table, row)
        if self.is_sqlite or self.is_mysql:
            return self.connection.exec_driver_sql(statement, self._values(row.values())).lastrowid
        statement += f" RETURNING {self._quote(number)}"
        return self.connection.exec_driver_sql(statement, self._values(row.values())).scalar_one()

    def update(self, table: str, values: dict[str, Any], **where: Any) -> int:
        """Set values in the rows that have others; return how many rows that are."""
        changes = ", ".join(f"{self._quote(name)} = {self._mark}" for name in values)
        condition, known = self._condition(where)
        statement = f"UPDATE {self._quote(table)} SET {changes}{condition}"
        return self.connection.exec_driver_sql(statement, (*self._values(values.values()), *known)).rowcount

    def delete(self, table: str, **where: Any) -> None:
        """Delete the rows that have these values."""
        condition, known = self._condition(where)
        self.connection.exec_driver_sql(f"DELETE FROM {self._quote(table)}{condition}", known)

    def put(self, table: str, known: dict[str, Any], values: dict[str, Any]) -> None:
        """Set values in the one row that has those of `known`; make it where it is not there."""
        if self.first(table, [next(iter(known))], **known) is None:
            self.insert(table, {**known, **values})
        else:
            self.update(table, values, **known)

    # What is asked.

    def select(self, table: str, columns: Sequence[str], tail: str = "", **where: Any) -> list[Any]:
        """Return columns of the rows that have these values; a list stands for any one of its values.

        `tail` follows: an order, a limit, a lock.
        """
        condition, known = self._condition(where)
        names = ", ".join(map(self._quote, columns))
        statement = f"SELECT {names} FROM {self._quote(table)}{condition} {tail}"
        return list(self.connection.exec_driver_sql(statement, known))

    def first(self, table: str, columns: Sequence[str], tail: str = "", lock: str = "", **where: Any) -> Any:
        """Return columns of one row that has these values, or None; `lock` may be `for_update` or `for_share`."""
        return next(iter(self.select(table, columns, f"{tail} LIMIT 1 {lock}", **where)), None)

    def value(self, table: str, column: str, tail: str = "", lock: str = "", **where: Any) -> Any:
        """Return one column of one row that has these values, or None."""
        found = self.first(table, [column], tail, lock, **where)
        return None if found is None else found[0]

    def among(self, table: str, columns: Sequence[str], column: str, values: Iterable[Any], **where: Any) -> list[Any]:
        """Return columns of the rows that have one of `values` in `column`, however many these are."""
        found, wanted = [], list(values)
        tail = where.pop("tail", "")
        for start in range(0, len(wanted), SOME):
            found += self.select(table, columns, tail, **{column: wanted[start : start + SOME]}, **where)
        return found

    @property
    def for_update(self) -> str:
        """What locks the rows of a question until the transaction ends; SQLite locks all of them from its beginning."""
        return "" if self.is_sqlite else "FOR UPDATE"

    @property
    def for_share(self) -> str:
        """What keeps others from changing the rows."""
        return "" if self.is_sqlite else "LOCK IN SHARE MODE" if self.is_mysql else "FOR SHARE"

    # How it is written.

    def _insertion(self, table: str, row: dict[str, Any]) -> str:
        names, marks = ", ".join(map(self._quote, row)), ", ".join([self._mark] * len(row))
        return f"INSERT INTO {self._quote(table)} ({names}) VALUES ({marks})"

    def _condition(self, where: dict[str, Any]) -> tuple[str, tuple[Any, ...]]:
        parts, values = [], []
        for name, value in where.items():
            if value is None:
                parts.append(f"{self._quote(name)} IS NULL")
            elif isinstance(value, list):
                parts.append(f"{self._quote(name)} IN ({', '.join([self._mark] * len(value))})")
                values += value
            else:
                parts.append(f"{self._quote(name)} = {self._mark}")
                values.append(value)
        return (" WHERE " + " AND ".join(parts) if parts else ""), self._values(values)

    def _values(self, values: Iterable[Any]) -> tuple[Any, ...]:
        if not self.is_sqlite:
            found = tuple(values)
            if self.is_mysql and sum(len(value) for value in found if isinstance(value, (str, bytes))) > _LARGE:
                self._refuse_too_large(found)
            return found
        # as SQLAlchemy, and so Sacred, has times in a database that knows none
        return tuple(
            value.isoformat(" ", "microseconds") if type(value).__name__ == "datetime" else value for value in values
        )

    def _refuse_too_large(self, values: tuple[Any, ...]) -> None:
        """Refuse what does not fit into one packet: the server would close the connection, as if it were going down."""
        known = self.connection.info
        if "max_allowed_packet" not in known:
            known["max_allowed_packet"] = self.connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one()
        size = sum(_size_of(value) for value in values if isinstance(value, (str, bytes)))
        if size + _LARGE > known["max_allowed_packet"]:
            raise TooLargeError(
                f"{size:,} bytes are more than max_allowed_packet of the server, {known['max_allowed_packet']:,}"
            )


def _size_of(value: str | bytes) -> int:
    """Return how many bytes a value takes in a statement of MySQL's."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass")) + sum(map(value.count, _ESCAPED))
    return len(value) + sum(value.count(escaped.encode()) for escaped in _ESCAPED)
