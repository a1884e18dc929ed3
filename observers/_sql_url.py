"""URLs of databases, as SQLAlchemy writes them: ``dialect+driver://user:password@host:port/database``."""

from __future__ import annotations

import os

from capture.errors import ObserverError
from capture.secrets import redact_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: dialect -> driver that is taken where the URL names none, port, and the extra that brings the driver along
DIALECTS: dict[str, tuple[str, int, str]] = {
    "sqlite": ("pysqlite", 0, "sql"),
    "postgresql": ("psycopg", 5432, "postgres"),
    "mysql": ("pymysql", 3306, "mysql"),
    "mariadb": ("pymysql", 3306, "mysql"),
}
_ALIASES = {"postgres": "postgresql"}
_MEMORY = ("", ":memory:")


class DatabaseUrl:
    """The URL of a database, taken apart.

    Parameters
    ----------
    url : str
        A relative path of SQLite is meant from here.

    Attributes
    ----------
    dialect : str
        "sqlite", "postgresql", "mysql" or "mariadb".
    full : str
        With the driver and the password.
    path : str or None
        Of SQLite's file, absolute; None for a server and for a database in memory.
    user, place : str
        Who logs in, and where: for messages.
    extra : str
        The extra of this library that brings the driver along.

    Raises
    ------
    ObserverError
        If no such database is known, or it is not clear where the password ends.
    """

    def __init__(self, url: str) -> None:
        scheme, separator, rest = os.fspath(url).partition("://")
        name, plus, driver = scheme.lower().partition("+")
        self.dialect = _ALIASES.get(name, name)
        if not separator or self.dialect not in DIALECTS:
            raise ObserverError(
                f"{redact_url(str(url))!r} is not the URL of a database that is known."
                "\n  possible:  sqlite:///runs.db, postgresql://user:password@host:5432/database,"
                " mysql://user:password@host:3306/database",
                print_traceback=False,
            )
        default, self._port, self.extra = DIALECTS[self.dialect]
        self._driver = driver if plus else default
        self.path: str | None = None
        self.user = ""
        if self.dialect == "sqlite":
            self._take_path(rest)
        else:
            _check_login(rest, self.dialect)
            self._rest = rest
            self._take_place(rest)
        self.full = f"{self.dialect}+{self._driver}://{self._rest}"

    def _take_path(self, rest: str) -> None:
        path, mark, query = rest.partition("?")
        if path and not path.startswith("/"):
            raise ObserverError(
                f"'sqlite://{path}' names a host, which SQLite does not have.\n  did you mean:  sqlite:///{path}",
                print_traceback=False,
            )
        path = path[1:]
        if path in _MEMORY:
            self._rest, self.place = rest, "memory"
            return
        self.path = self.place = os.path.abspath(os.path.expanduser(path))
        self._rest = "/" + self.path + mark + query

    def _take_place(self, rest: str) -> None:
        location, _, query = rest.partition("?")
        authority, _, database = location.partition("/")
        userinfo, _, address = authority.rpartition("@")
        host, colon, port = address.rpartition(":")
        if not colon or not port.isdigit():  # no port, or the colons of an IPv6 address
            host, port = address, str(self._port)
        options = dict(part.partition("=")[::2] for part in query.split("&") if part)
        host = host or options.get("host") or options.get("unix_socket") or "localhost"
        self.user = userinfo.partition(":")[0]
        self.place = f"{host.lower()}:{port}/{database}"

    @property
    def module(self) -> str | None:
        """The module of the driver, where that is a package which this library knows to name."""
        return self._driver if self._driver in ("psycopg", "pymysql") else None

    @property
    def identity(self) -> str | None:
        """Name the database without credentials; None for one in memory, which ends with its process."""
        if self.dialect == "sqlite":
            return None if self.path is None else f"sqlite:///{os.path.realpath(self.path)}"
        return f"{'mysql' if self.dialect == 'mariadb' else self.dialect}://{self.place}"

    def shown(self) -> str:
        """Return the URL for people: without a password."""
        return self.identity or "sqlite://"


def _check_login(rest: str, dialect: str) -> None:
    """Refuse a URL in which it is not clear where the password ends, before a part of it is taken for the host."""
    login, at, _ = rest.rpartition("@")
    if at and any(char in login for char in "/?#@"):
        raise ObserverError(
            f"in this URL of {dialect} user and password cannot be told apart from the rest: characters like / ? # @ in"
            " them must be written %2F %3F %23 %40, and so must each @ behind them"
            "\n  to do so:  urllib.parse.quote_plus(password)",
            print_traceback=False,
        )


def url_of_engine(engine: Any) -> DatabaseUrl:
    """Return the URL of an engine of SQLAlchemy."""
    return DatabaseUrl(engine.url.render_as_string(hide_password=False))
