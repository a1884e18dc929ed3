"""A database: connections, transactions, and its errors in words that help."""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import contextmanager

from capture.errors import ObserverError
from capture.observers import _sql_errors
from capture.observers._sql_statements import Statements
from capture.observers._sql_url import DatabaseUrl, url_of_engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sqlalchemy import Connection, Engine

CONNECT_S = 5  #: how long a server may take to answer
BUSY_S = 60  #: how long to wait while other processes write into a file of SQLite

_ALL: weakref.WeakSet[Database] = weakref.WeakSet()
_INHERITED: list[Any] = []  # engines of a parent process: to close one would end the parent's session


class Database:
    """One database; connects when it is first asked.

    Parameters
    ----------
    url : str, optional
    echo : bool
        Whether SQLAlchemy logs each statement.
    engine : sqlalchemy.Engine, optional
        In place of `url`: somebody else's.
    read_only : bool
        Whether to open a file of SQLite for reading only, and not to make one.
    """

    def __init__(
        self, url: str | None = None, echo: bool = False, engine: Engine | None = None, read_only: bool = False
    ) -> None:
        assert url is not None or engine is not None
        self.url = url_of_engine(engine) if engine is not None else DatabaseUrl(str(url))
        self.echo, self.read_only = echo, read_only
        self._given, self._engine = engine, engine
        self._lock = threading.Lock()
        self._is_current = False
        self._end: Any = None  # of a reader's engine
        _ALL.add(self)

    @property
    def is_sqlite(self) -> bool:
        return self.url.dialect == "sqlite"

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine; made when it is first asked for."""
        if self._engine is None:
            with self._lock:
                if self._engine is None:
                    self._engine = self._make_engine()
        return self._engine

    def _make_engine(self) -> Engine:
        try:
            from sqlalchemy import create_engine
        except ImportError as error:
            raise self._missing("SQLAlchemy", error) from error
        options: dict[str, Any] = {"echo": self.echo, "hide_parameters": not self.echo}
        url = self.url.full
        if self.is_sqlite:
            options["connect_args"] = {"timeout": BUSY_S, "check_same_thread": False}
            if self.url.path is None:
                from sqlalchemy.pool import StaticPool

                options["poolclass"] = StaticPool
            elif self.read_only:
                path = self.url.path  # not of self, which could never be forgotten then
                options["creator"] = lambda: _open_read_only(path)
        else:
            options.update(pool_pre_ping=True, pool_size=2, max_overflow=8, pool_timeout=CONNECT_S)
            options["connect_args"] = {"connect_timeout": CONNECT_S}
            if self.url.dialect != "postgresql":
                options["isolation_level"] = "READ COMMITTED"  # as elsewhere: a locked row is read as it is now
                options["connect_args"].update(charset="utf8mb4", read_timeout=120, write_timeout=120)
        try:
            engine = create_engine(url, **options)
        except ImportError as error:
            raise self._missing(f"the driver of {self.url.full.partition('://')[0]}://", error) from error
        if self.url.path is not None:  # nobody need close a reader
            self._end = weakref.finalize(self, _let_go, engine, self.url.path)
        return engine

    def _missing(self, what: str, error: ImportError) -> ObserverError:
        return ObserverError(
            f"{self.url.shown()} needs {what}, which cannot be imported: {error}"
            f"\n  to install it:  pip install 'experiment-capture[{self.url.extra}]'",
            print_traceback=False,
        )

    # ----------------------------------------------------------------------------------------------- transactions

    @contextmanager
    def writing(self, prepared: bool = True) -> Iterator[Statements]:
        """Give the statements of a transaction: all that is done in it is stored when it ends, or nothing.

        With SQLite it is the only one that writes from its very beginning, so that it cannot fail in its middle because
        of another. With `prepared`, the tables are made or brought up to date before.
        """
        if prepared:
            self.prepare()
        with self._connected() as connection:
            if not self.is_sqlite:
                with connection.begin():
                    yield Statements(connection)
                return
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield Statements(connection)
            except BaseException:
                if _is_open(connection):  # where the disk is full, SQLite has ended it by itself
                    connection.exec_driver_sql("ROLLBACK")
                raise
            connection.exec_driver_sql("COMMIT")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection to read with."""
        with self._connected() as connection:
            yield connection

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            with self.engine.connect() as connection:
                if self.is_sqlite:  # the driver would begin transactions by itself, and not those that are wanted
                    connection.execution_options(isolation_level="AUTOCOMMIT")
                try:
                    yield connection
                except BaseException as error:
                    if not connection.closed and _sql_errors.is_passing(error) and not self.is_sqlite:
                        connection.invalidate()
                    raise
        except Exception as error:
            better = _sql_errors.translated(error, self.url)
            if better is error:
                raise
            raise better from error

    def prepare(self) -> None:
        """See that all tables are there, in the version that this library writes."""
        if self._is_current:
            return
        from capture.observers import _sql_schema

        with self._lock:
            pass  # not while another thread makes the engine
        if self.is_sqlite and self.url.path is not None and self._given is None:
            os.makedirs(os.path.dirname(self.url.path), exist_ok=True)
        _sql_schema.prepare(self)
        self._is_current = True

    def close(self) -> None:
        """Let go of the connections; the next question makes new ones."""
        engine, self._engine = self._engine, self._given
        if self._end is not None:
            self._end()
        elif engine is not None and engine is not self._given:
            engine.dispose()

    def _forked(self) -> None:
        """In a forked process: leave the parent's connections alone, and make new ones when they are needed."""
        self._lock = threading.Lock()
        if self._end is not None:
            self._end.detach()
            self._end = None
        if self._engine is None:
            return
        _INHERITED.append(self._engine.pool)
        if self._engine is self._given:
            self._engine.dispose(close=False)
        else:
            _INHERITED.append(self._engine)
            self._engine = None


def _let_go(engine: Engine, path: str) -> None:
    """Close connections, and have SQLite put its files beside the database away if nobody else uses it.

    It does so when the last connection is closed, but not if that one, a reader's, may not write.
    """
    engine.dispose()
    if not os.path.exists(path + "-wal") or not os.access(path, os.W_OK):
        return
    import sqlite3
    from urllib.parse import quote

    try:
        connection = sqlite3.connect(f"file:{quote(path)}?mode=rw", uri=True, timeout=0)
        try:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:  # somebody else uses it, or may write where we may not
        import logging

        logging.getLogger("capture.observers").debug("%s-wal is left: %s", path, error)


def _is_open(connection: Connection) -> bool:
    """Say whether a transaction of SQLite's is open."""
    driver = connection.connection.dbapi_connection
    return driver is not None and driver.in_transaction


def _open_read_only(path: str) -> Any:
    import sqlite3
    from urllib.parse import quote

    url = f"file:{quote(path)}?mode=ro"
    connection = sqlite3.connect(url, uri=True, timeout=BUSY_S, check_same_thread=False)
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except sqlite3.OperationalError:
        connection.close()
        if os.access(os.path.dirname(path), os.W_OK):
            raise
        # In a folder where nothing can be written, not even the marks of a reader, nobody else writes either.
        connection = sqlite3.connect(url + "&immutable=1", uri=True, check_same_thread=False)
    return connection


def _forked() -> None:
    for database in list(_ALL):
        database._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
