"""What a database refuses, told by what one can do about it: wait, or mend something."""

from __future__ import annotations

from capture.errors import ObserverError, RecordError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from capture.observers._sql_url import DatabaseUrl


class DatabaseAwayError(ObserverError, ConnectionError):
    """The database cannot be reached, or is too busy: it may pass by itself."""


class DatabaseRefusedError(ObserverError, PermissionError):
    """The database refuses who asks or what is asked for: nothing changes until somebody mends it."""


class TooLargeError(ObserverError, ValueError):
    """A value that the server does not take in one statement: it would close the connection, each time anew."""


class DatabaseVersionError(RecordError):
    """The tables were made by a later version of this library."""


#: PostgreSQL's SQLSTATE, or its class: lost connections, conflicts of transactions, resources that ran out, shutdown
_PASSING_STATES = ("08", "40", "53", "57P", "57014", "55P03", "58030", "25006")
#: likewise: authorization, database or schema that is not there, missing privilege
_REFUSED_STATES = ("28", "3D000", "42501", "0P000")

#: numbers of MySQL's and MariaDB's errors, of the server and of its client
_PASSING_NUMBERS = frozenset(
    [
        *(1020, 1021, 1026, 1040, 1041, 1053, 1114, 1152, 1158, 1159, 1160, 1161, 1180, 1203, 1205, 1213, 1290, 1317),
        *(1836, 1877, 1927, 1969, 2002, 2003, 2006, 2013, 2014, 2027, 2055, 3024, 3100, 4031),
    ]
)
_REFUSED_NUMBERS = frozenset((1044, 1045, 1049, 1130, 1142, 1143, 1227, 1698, 1820, 1862, 3118, 3159))

#: what is said where there is no number
_PASSING_TEXTS = ("locked", "busy", "disk is full", "disk i/o error", "unable to open database file")
_DAMAGED_TEXTS = ("file is not a database", "disk image is malformed")
_REFUSED_TEXTS = (
    *("authentication failed", "no password supplied", "is not permitted to log in", "no pg_hba.conf entry"),
    *("permission denied", "does not exist", "readonly database"),
    *_DAMAGED_TEXTS,
)


def is_passing(error: BaseException) -> bool:
    """Say whether an error of SQLAlchemy or of a driver may pass by itself."""
    from sqlalchemy import exc

    if isinstance(error, (exc.TimeoutError, ConnectionError, TimeoutError)):
        return True
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    cause = _driver_error(error)
    if cause is None or is_refused(error):
        return False
    state, number, kinds = _state(cause), _number(cause), {cls.__name__ for cls in type(cause).__mro__}
    if number is not None:  # before the state, which MySQL has as well, and not so finely
        return number in _PASSING_NUMBERS or (number == 0 and "InterfaceError" in kinds)  # PyMySQL: already closed
    if state is not None:
        return state.startswith(_PASSING_STATES)
    if type(cause).__module__ == "sqlite3":
        return any(part in str(cause).lower() for part in _PASSING_TEXTS)
    return bool(kinds & {"OperationalError", "InterfaceError"})  # without a number: the connection


def is_refused(error: BaseException) -> bool:
    """Say whether somebody has to mend something: an account, a database, a right."""
    cause = _driver_error(error)
    if cause is None:
        return False
    state, number = _state(cause), _number(cause)
    if number is not None:
        return number in _REFUSED_NUMBERS
    if state is not None:
        return state.startswith(_REFUSED_STATES)
    return any(part in str(cause).lower() for part in _REFUSED_TEXTS)


def is_conflict(error: BaseException) -> bool:
    """Say whether a row was there already: another process was faster."""
    cause = _driver_error(error)
    return cause is not None and "IntegrityError" in {cls.__name__ for cls in type(cause).__mro__}


def is_missing_table(error: BaseException) -> bool:
    """Say whether a table is not there."""
    cause = _driver_error(error)
    if cause is None:
        return False
    return _state(cause) == "42P01" or _number(cause) == 1146 or "no such table" in str(cause)


def translated(error: BaseException, url: DatabaseUrl) -> BaseException:
    """Return the error to raise in place of one of SQLAlchemy or a driver; others come back as they are."""
    from sqlalchemy import exc

    cause = _driver_error(error)
    if cause is None and not isinstance(error, exc.SQLAlchemyError):
        return error
    said = str(cause or error).strip()
    where = url.shown() + (f" as user {url.user!r}" if url.user else "")
    if is_passing(error):
        return DatabaseAwayError(f"{where} cannot be used at the moment: {said}", print_traceback=False)
    if is_refused(error):
        remedy = "check user, password, the name of the database and its rights"
        if any(part in said.lower() for part in _DAMAGED_TEXTS):
            remedy = "name another file: this is no database of SQLite, or a damaged one that a backup has to replace"
        return DatabaseRefusedError(f"{where} is refused: {said}\n  to go on: {remedy}", print_traceback=False)
    return error


def _driver_error(error: BaseException) -> BaseException | None:
    """Return the error of the driver: itself, or the one that SQLAlchemy wraps."""
    cause = getattr(error, "orig", None) or error
    kinds = {f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in type(cause).__mro__}
    drivers = {"sqlite3.Error", "psycopg.Error", "psycopg2.Error", "pymysql.MySQLError", "MySQLdb.Error"}
    return cause if kinds & drivers or getattr(error, "orig", None) is not None else None


def _state(cause: BaseException) -> str | None:
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return state if isinstance(state, str) else None


def _number(cause: BaseException) -> int | None:
    number = cause.args[0] if cause.args else None
    return number if type(number) is int else None
