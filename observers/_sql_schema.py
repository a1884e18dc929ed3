"""Making the tables, and bringing those of an earlier version up to date, with many processes at once.

A new database gets all tables directly. An older one, and one that only Sacred has written to, goes through the
revisions in `capture.observers._sql_migrations`, with Alembic. Both happen under a lock; who comes later finds it done.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager

from capture.observers import _sql_errors
from capture.observers._sql_statements import Statements
from capture.observers._sql_version import HEAD, REVISIONS, VERSION_TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from sqlalchemy import Connection, Table

    from capture.observers._sql_database import Database

_LOCK = 0x63617074757265  # any number that nobody else locks
_LOCK_S = 60


def prepare(database: Database) -> None:
    """Make the tables of a database where they are missing, or migrate them.

    Raises
    ------
    DatabaseVersionError
        If they are those of a later version of this library.
    """
    with database.reading() as connection:
        if version(connection, database) == HEAD:
            return
        if database.is_sqlite:
            _use_write_ahead_log(connection)
    with _locked(database), database.writing(prepared=False) as statements:
        connection = statements.connection
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")  # until the transaction ends
        found = version(connection, database)
        if found == HEAD:
            return
        if found is None and not has_sacreds(connection):
            create(connection)
        else:
            _migrate(connection, found)


def version(connection: Connection, database: Database) -> str | None:
    """Return the version of the tables, or None where there are none of ours.

    Raises
    ------
    DatabaseVersionError
        If it is a later one.
    """
    statement = f"SELECT version_num FROM {VERSION_TABLE}"
    try:
        if database.is_sqlite:
            found = connection.exec_driver_sql(statement).scalar()
        else:
            with connection.begin_nested():  # PostgreSQL gives up a transaction in which something failed
                found = connection.exec_driver_sql(statement).scalar()
    except Exception as error:
        if not _sql_errors.is_missing_table(error):
            raise
        return None
    if found is not None and found not in REVISIONS:
        raise _sql_errors.DatabaseVersionError(
            f"{database.url.shown()} has tables of version {found}, made by a later version of this library; this one"
            f" knows those up to {HEAD}.\n  to go on: update the library: pip install --upgrade experiment-capture",
            print_traceback=False,
        )
    return found


def has_sacreds(connection: Connection) -> bool:
    from sqlalchemy import inspect

    return inspect(connection).has_table("run")


def _use_write_ahead_log(connection: Connection) -> None:
    """Let readers of SQLite's file not wait for who writes. It needs a moment in which nobody else uses the file."""
    deadline = time.monotonic() + _LOCK_S
    while True:
        try:
            mode = connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar()
        except Exception as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        else:
            if mode in ("wal", "memory") or time.monotonic() > deadline:
                return
        time.sleep(0.02)


@contextmanager
def _locked(database: Database) -> Iterator[None]:
    """Keep other processes out of MySQL and MariaDB until all is committed; elsewhere a transaction does so itself."""
    if database.url.dialect not in ("mysql", "mariadb"):
        yield
        return
    name = "CONCAT('capture.', MD5(DATABASE()))"
    with database.reading() as connection:
        if connection.exec_driver_sql(f"SELECT GET_LOCK({name}, {_LOCK_S})").scalar() != 1:
            raise TimeoutError(f"another process has been preparing the tables for more than {_LOCK_S} s")
        try:
            yield
        finally:
            connection.exec_driver_sql(f"SELECT RELEASE_LOCK({name})")


def create(connection: Connection) -> None:
    """Make all tables, as they are in the newest version."""
    from capture.observers import _sql_tables

    _create(connection, _sql_tables.metadata.sorted_tables)
    begin_counting(connection, 0)
    Statements(connection).insert(VERSION_TABLE, {"version_num": HEAD})


def create_ours(connection: Connection) -> None:
    """Make the tables that Sacred has not."""
    from capture.observers import _sql_tables

    _create(connection, _sql_tables.OURS)


def _create(connection: Connection, tables: Sequence[Table]) -> None:
    from sqlalchemy.schema import CreateIndex, CreateTable

    for table in tables:
        connection.execute(CreateTable(table, if_not_exists=True))
        if connection.dialect.name not in ("mysql", "mariadb"):
            for index in table.indexes:
                connection.execute(CreateIndex(index, if_not_exists=True))
    if connection.dialect.name in ("mysql", "mariadb"):
        _create_missing_indexes(connection, tables)


def largest_label(connection: Connection) -> int:
    """Return the largest number that a run has as its label."""
    labels = [label for label, in Statements(connection).select("run", ["run_id"])]
    numbers = [int(label) for label in labels if label and label.isascii() and label.isdigit() and len(label) < 19]
    return max(numbers, default=0)


def begin_counting(connection: Connection, last: int) -> None:
    """Have the next run get the label after `last`; where labels are counted already, leave that alone."""
    statements = Statements(connection)
    if statements.first("capture_counter", ["value"], name="label") is None:
        statements.insert("capture_counter", {"name": "label", "value": last})


def _create_missing_indexes(connection: Connection, tables: Sequence[Table]) -> None:
    """Make those indexes that are not there: MySQL has no IF NOT EXISTS for them, nor transactions around them."""
    from sqlalchemy import inspect

    inspector = inspect(connection)
    for table in tables:
        if table.indexes:
            there = {index["name"] for index in inspector.get_indexes(table.name)}
            for index in table.indexes:
                if index.name not in there:
                    index.create(connection)


def _migrate(connection: Connection, found: str | None) -> None:
    """Bring tables up to date; where none of ours are, those of Sacred are the first version."""
    if found is None:
        from capture.observers import _sql_tables

        _sql_tables.capture_version.create(connection, checkfirst=True)
        Statements(connection).insert(VERSION_TABLE, {"version_num": REVISIONS[0]})
    upgrade(connection)


def upgrade(connection: Connection) -> None:
    """Go through the revisions that are missing."""
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    config = Config()
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_sql_migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    script = ScriptDirectory.from_config(config)

    def missing(revision: Any, context: Any) -> Any:
        return script._upgrade_revs(HEAD, revision)

    with EnvironmentContext(config, script, fn=missing, destination_rev=HEAD) as environment:
        environment.configure(connection=connection, version_table=VERSION_TABLE, transaction_per_migration=False)
        environment.run_migrations()
