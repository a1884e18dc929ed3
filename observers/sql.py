# A hook may take a subset of its arguments: a rule that the type system does not know.
# mypy: disable-error-code="override"

"""The SQL store: a database of SQLite, PostgreSQL, MariaDB or MySQL, by SQLAlchemy.

Sacred's tables are there under its names, and say what they have columns for; all else lies in tables beside them that
are called ``capture_...``: `capture.observers._sql_tables` lists them. A database that Sacred has written to gets those
tables when the first run comes, and keeps what is in it.
"""

from __future__ import annotations

import sys

from capture.observers._sql_url import DatabaseUrl
from capture.observers._writing import StoreObserver, require_driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

    from sqlalchemy import Engine

    from capture.observers._sql_curator import SqlCurator
    from capture.observers._sql_database import Database
    from capture.observers._sql_reader import SqlReader
    from capture.observers._sql_run import SqlRun

DEFAULT_SQL_PRIORITY = 40


class SqlObserver(StoreObserver):
    """Writes runs into a database.

    Parameters
    ----------
    url : str
        As SQLAlchemy has it: ``sqlite:///runs.db`` (a relative path is meant from here, not from where a run may go),
        ``postgresql://user:password@host/database``, ``mysql://...``; drivers other than psycopg and PyMySQL are named
        with a plus: ``postgresql+psycopg2://...``.
    echo : bool
        Whether SQLAlchemy logs each statement, with its values.
    priority : float

    Raises
    ------
    ObserverError
        If `url` is not that of a database that is known.

    Notes
    -----
    The database is asked for the first time when a run starts. Its file, or its tables, are made then; an earlier
    version of the tables is brought up to date.
    """

    drivers: ClassVar[dict[str, str]] = {"sqlalchemy": "sql"}  #: module -> the extra that brings it

    def __init__(self, url: str, echo: bool = False, priority: float = DEFAULT_SQL_PRIORITY) -> None:
        require_driver("sqlalchemy", "sql", "runs are stored in a database")
        super().__init__(priority)
        self._url, self.echo = DatabaseUrl(url), echo
        if self._url.module is not None:
            require_driver(self._url.module, self._url.extra, f"{self._url.dialect} is reached")
        self._engine: Any = None
        self._session: Any = None

    @classmethod
    def create_from(cls, engine: Engine, session: Any, priority: float = DEFAULT_SQL_PRIORITY) -> SqlObserver:
        """Make an observer that uses an engine of SQLAlchemy that there is already.

        Parameters
        ----------
        engine : sqlalchemy.Engine
        session : object
            Kept as `session`; what is written goes through `engine`.
        priority : float
        """
        observer = cls(engine.url.render_as_string(hide_password=False), priority=priority)
        observer._engine, observer._session = engine, session
        return observer

    @classmethod
    def from_url(cls, url: str, **options: Any) -> SqlObserver:
        """Make an observer from a URL."""
        return cls(url, **options)

    @classmethod
    def from_argument(cls, text: str) -> SqlObserver:
        """Make an observer from what is given to ``-s`` on the command line: a URL."""
        return cls(text)

    @classmethod
    def reader(cls, url: str) -> SqlReader:
        """Return a reader of the database at `url`."""
        from capture.observers._sql_reader import SqlReader

        return SqlReader(url)

    @classmethod
    def curator(cls, url: str) -> SqlCurator:
        """Return a curator of the database at `url`."""
        from capture.observers._sql_curator import SqlCurator

        return SqlCurator(url)

    def forget(self) -> None:
        super().forget()
        self._unknown: set[str] = set()
        self._own: Database | None = None

    @property
    def database(self) -> Database:
        """The database; connected to when it is first asked."""
        if self._own is None:
            from capture.observers._sql_database import Database

            self._own = Database(self._url.full, self.echo, self._engine)
        return self._own

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine."""
        return self.database.engine

    @property
    def session(self) -> Any:
        """A thread-local session of SQLAlchemy's ORM, for who wants to look into the database with it."""
        if self._session is None:
            from sqlalchemy.orm import scoped_session, sessionmaker

            self._session = scoped_session(sessionmaker(bind=self.engine))
        return self._session

    @property
    def local_file(self) -> str | None:
        """The file of a database of SQLite; None for a server."""
        return self._url.path

    @property
    def identity(self) -> str | None:
        """Name the database: its URL without driver, user, password and options."""
        return self._url.identity

    def __repr__(self) -> str:
        return f"SqlObserver({self._url.shown()!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SqlObserver):
            return NotImplemented
        return self._engine is other._engine and self._url.full == other._url.full

    def __hash__(self) -> int:
        return hash(self._url.full)

    def __getstate__(self) -> dict[str, Any]:
        if self._engine is not None:
            raise TypeError("an SqlObserver that was given an engine cannot be sent to another process: give it a URL")
        return {"_url": self._url, "echo": self.echo, "priority": self.priority, "_engine": None, "_session": None}

    def __copy__(self) -> SqlObserver:
        new = type(self).__new__(type(self))
        new.__dict__.update(_url=self._url, echo=self.echo, priority=self.priority)
        new.__dict__.update(_engine=self._engine, _session=self._session)
        new.forget()
        return new

    def find_run(self, uid: str) -> SqlRun | None:
        if uid in self._unknown:  # its start follows at once, and looks again when it claims its label
            self._unknown.discard(uid)
            return None
        found = _run_class().find(self.database, uid)
        if found is None:
            self._unknown.add(uid)
        return found

    def claim_run(self, uid: str | None, asked: Any, takes_over: bool) -> SqlRun:
        # Its first flush gives it the label, in the transaction that stores what it is.
        return _run_class()(self.database, uid, label=asked, takes_over=takes_over)

    def join(self) -> None:
        """Store what was told; after the last run let go of the connections, so that SQLite is left with one file."""
        with self._lock:
            super().join()
            in_memory = self.identity is None  # which ends with its connection
            if self._own is not None and not self._runs and not in_memory:
                self._own.close()

    def is_gone(self, run: SqlRun) -> bool:
        return run.gone

    def query(self, _id: Any) -> dict[str, Any]:
        """Return what Sacred's tables say of a run, as Sacred's `to_json` does.

        Parameters
        ----------
        _id : str or int
            Its label; else, as with Sacred, ``run.id``.

        Raises
        ------
        RunNotFoundError
            If there is no such run.
        """
        from capture.observers._sql_inspection import sacreds_view

        return sacreds_view(self.database, _id)


def _run_class() -> type[SqlRun]:
    """Return `SqlRun`, with SQLAlchemy loaded: a hundred modules, which last, so that none of it need be collected."""
    if "sqlalchemy" in sys.modules:
        from capture.observers._sql_run import SqlRun

        return SqlRun
    import gc

    collects = gc.isenabled()
    gc.disable()  # it would look through all of them a dozen times while they come
    try:
        from capture.observers._sql_run import SqlRun
    finally:
        if collects:
            gc.enable()
    return SqlRun
