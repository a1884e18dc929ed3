"""An index of a file store, so that a question about ten thousand runs need not open twenty thousand files.

It is an SQLite file, ``_capture/index.sqlite``, which holds of each run what is asked for most: its times, status,
configuration, result, tags and the summary of its metrics. It is made from the folders when somebody first asks, and
each run is read again when its folder has changed; deleting it costs nothing but that. Where it cannot be written, it
lives in memory.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from functools import partial

from capture import plainjson
from capture.codec import MEMBER_PARTS, MEMBER_TAGS, TAG_PREFIXES, decode, encode, has_tag
from capture.filters import Either, Every, Filter, Not, Test
from capture.moments import datetime, timedelta, timezone
from capture.observers._folder_record import Folder, FolderRecord
from capture.observers._pieces import PIECES
from capture.observers._run_folder import EXTENSION, FILES, read_document
from capture.observers._series import JSON, LINES, read_series, summary_so_far
from capture.observers._used_files import TABLES
from capture.observers._writing import log
from capture.records import RunRecord, summarize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence, Set
    from typing import Any

VERSION = 6
NAME = "index.sqlite"
_BUSY_S = 5.0
_RACY_NS = 2_000_000_000  #: a folder changed this short ago may change again without a trace in its time
_ATTEMPTS = 5  #: to get an answer while other processes write into the index
_MOST = 100  #: terms of a condition that are joined in one question
_SOME = 500  #: names in one question
_BLOCK = 1 << 16  #: bytes that are read at once
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)  #: how a document is opened
_MARKED = ("run", "config", "capture")  #: documents that an edit by hand may change without a trace in their folder
_NO_FILE = "-"
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=timezone.utc), timedelta(microseconds=1)
_dump = plainjson.encoder((",", ":"), allow_nan=False)

_COLUMNS_OF_RUNS = """
(
    name TEXT PRIMARY KEY, stamp TEXT NOT NULL, label TEXT, uid TEXT, status TEXT, command TEXT,
    queue_time INTEGER, start_time INTEGER, stop_time INTEGER, heartbeat INTEGER,
    problem TEXT, config TEXT, summary TEXT, more TEXT, run TEXT, capture TEXT, measured INTEGER,
    marks TEXT
)
"""
#: what is asked for at once
LISTED = ("name", "stamp", "label", "uid", "status", "command", "problem", "config", "summary", "more", "marks")
TIMES = ("queue_time", "start_time", "stop_time", "heartbeat")  #: microseconds since the epoch; NULL for none
_COLUMNS = (
    *("name", "stamp", "label", "uid", "status", "command", *TIMES, "problem", "config", "summary"),
    "more",  # JSON: what a record says besides, decoded or derived, under the names that a record has for it
    *("run", "capture"),
    "measured",  # bytes of the run's metrics.jsonl that the summary is about
    "marks",  # of the documents, see `marks_of`
)

#: parts of ``capture.json`` that the index holds; facts and lists of files are large and asked for one run at a time
_SMALL_PARTS = frozenset(
    {"label", "uid", "times", "tags", "notes", "writers", "resumed", "layout", "experiment"}
    | {"metrics_bytes", "output_bytes", "pieces"}  # which tell whether something is lost
)

#: first word of a path -> column, and whether what follows is looked up in that column's JSON
_PLACES = {
    **dict.fromkeys(("status", "command", "uid", "label"), ("", False)),
    "config": ("config", True),
    "metrics": ("summary", True),
    **dict.fromkeys(("name", "user", "git", "notes", "result"), ("more", True)),
    **dict.fromkeys(("experiment", "host", "meta"), ("run", True)),
}
_COMPARISONS = {"==": "=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


class FileIndex:
    """The index of one store.

    Parameters
    ----------
    root : str
        Where the runs' folders lie.
    private : str or None
        Where the index is kept; None: in memory.
    label_of : callable
        ``label_of(name) -> str``: the label of the run in a folder.
    is_run : callable
        ``is_run(path) -> bool``: whether a folder that is new to the index is that of a run.
    """

    def __init__(
        self, root: str, private: str | None, label_of: Callable[[str], str], is_run: Callable[[str], bool]
    ) -> None:
        self._root, self._label_of, self._is_run = root, label_of, is_run
        self._path = None if private is None or not os.path.isdir(private) else os.path.join(private, NAME)
        self._db: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._stamps: dict[str, str] = {}
        self._version: Any = None
        self._lock = threading.RLock()

    def answer(
        self, names: Sequence[str], wanted: Filter | None, every: Set[str] | None = None
    ) -> list[tuple[str, str, int | None, bool]]:
        """Return which runs may fulfil a filter, in no order: name, stamp, start, and whether each surely does.

        Parameters
        ----------
        names : sequence of str
            What is asked about: folders of runs, and what else lies beside them. The index is brought up to date with
            them before.
        wanted : Filter or None
        every : set of str, optional
            All that lies in the store, if `names` is a part of it.
        """
        with self._lock:
            return self._once_more(partial(self._answer, names, wanted, every))

    def rows(self, names: Sequence[str], columns: Sequence[str] = LISTED) -> dict[str, dict[str, Any]]:
        """Return what is known of some runs, by name; without those that were deleted since `answer`."""
        found: dict[str, dict[str, Any]] = {}
        with self._lock:
            for start in range(0, len(names), _SOME):
                some = names[start : start + _SOME]
                query = f"SELECT {', '.join(columns)}, name FROM runs WHERE name IN ({','.join('?' * len(some))})"
                for row in self._once_more(partial(self._ask, query, some)):
                    found[row[-1]] = dict(zip(columns, row))
        return found

    def all_rows(self) -> dict[str, dict[str, Any]]:
        """Return what tells of each run whether it is as it was indexed, by name."""
        with self._lock:
            rows = self._once_more(partial(self._ask, "SELECT name, marks FROM runs", ()))
        return {name: {"marks": marks} for name, marks in rows}

    def overwritten(self, rows: dict[str, dict[str, Any]]) -> list[str]:
        """Return the names of those rows whose documents were written over in place since they were indexed."""
        return [name for name, row in rows.items() if row["marks"] != marks_of(f"{self._root}/{name}")]

    def has_folder(self, name: str) -> bool:
        """Say whether a folder is there now, which need not have been so when somebody asked about all."""
        return os.path.exists(f"{self._root}/{name}")

    def forget(self, names: Sequence[str]) -> None:
        """Read some runs again when they are next asked about: their documents are not those that were indexed."""
        with self._lock:
            self._once_more(partial(self._forget, names))

    def _forget(self, names: Sequence[str]) -> None:
        database = self._open()
        with database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany("UPDATE runs SET stamp = '' WHERE name = ?", [(name,) for name in names])
        self._version = None  # so that the stamps are read again

    def ask(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """Return what ``work(database)`` does; once more with a database in memory if the file cannot be used."""
        with self._lock:
            return self._once_more(lambda: work(self._open()))

    def _ask(self, query: str, values: Sequence[Any] | dict[str, Any]) -> list[Any]:
        return self._open().execute(query, values).fetchall()

    def _once_more(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except (sqlite3.Error, _BusyError) as error:
            if self._path is None:
                raise
            self._give_up_file(error)  # it belongs to somebody else, or is damaged
            return ask()

    def _answer(
        self, names: Sequence[str], wanted: Filter | None, every: Set[str] | None
    ) -> list[tuple[str, str, int | None, bool]]:
        for _ in range(_ATTEMPTS):
            self._refresh(names, set(names) if every is None else every)
            rows = self._select(names, wanted, every is not None)
            # Another process may have written between the two, and may have seen fewer runs than there are.
            if self._data_version(self._open()) == self._version:
                return rows
        raise _BusyError("others change it all the time")

    def _refresh(self, names: Sequence[str], every: Set[str]) -> None:
        database = self._open()
        stamps = self._known_stamps(database)
        new = {}
        for name in names:
            known = stamps.get(name)
            stamp = self._stamp(name, known)
            if stamp is not None and stamp != known:
                new[name] = stamp
        gone = [name for name in stamps.keys() - every if not self.has_folder(name)]
        if not new and not gone:
            return
        rows = [self._row(name, stamp, self._measured(database, name)) for name, stamp in new.items()]
        settled = time.time_ns() - _RACY_NS
        rows = [row if _is_settled(row, settled) else (row[0], "", *row[2:]) for row in rows]
        with database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(f"INSERT OR REPLACE INTO runs VALUES ({','.join('?' * len(_COLUMNS))})", rows)
            database.executemany("DELETE FROM runs WHERE name = ?", [(name,) for name in gone])
        stamps.update((row[0], row[1]) for row in rows)
        for name in gone:
            del stamps[name]
        self._version = self._data_version(database)

    def _select(
        self, names: Sequence[str], wanted: Filter | None, are_some: bool
    ) -> list[tuple[str, str, int | None, bool]]:
        where, doubt, values = translate(wanted)
        query = f"SELECT name, stamp, ifnull(start_time, queue_time), NOT ({doubt}) FROM runs WHERE ({where})"
        if are_some:  # SQLite need not look at the others
            values.append(plainjson.dumps(list(names)))
            query += f" AND name IN (SELECT value FROM json_each(:v{len(values)}))"
        there = set(names)
        named = {f"v{number}": value for number, value in enumerate(values, 1)}
        return [row for row in self._ask(query, named) if row[0] in there]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._db is not None and self._pid == os.getpid():
            self._db.close()
        self._db = None

    # The file.

    def _open(self) -> sqlite3.Connection:
        if self._db is not None and self._pid == os.getpid():
            return self._db
        self._pid = os.getpid()  # SQLite's connections do not survive a fork
        self._stamps, self._version = {}, None
        if self._path is not None:
            try:
                self._db = _database(self._path)
                return self._db
            except (sqlite3.Error, OSError) as error:
                self._give_up_file(error)
        self._db = _database(":memory:")
        return self._db

    def _give_up_file(self, error: Exception) -> None:
        log().info("the index %s is not used, one is made in memory: %s", self._path, error)
        self._close()
        self._path = None

    def _known_stamps(self, database: sqlite3.Connection) -> dict[str, str]:
        """Return name -> stamp of what is indexed; from memory unless another process wrote meanwhile."""
        version = self._data_version(database)
        if version != self._version:
            self._stamps = dict(database.execute("SELECT name, stamp FROM runs"))
            self._version = version
        return self._stamps

    def _data_version(self, database: sqlite3.Connection) -> Any:
        return database.execute("PRAGMA data_version").fetchone()[0]

    # One run.

    def _stamp(self, name: str, known: str | None) -> str | None:
        """Return what changes when a run's documents do; None for what is no run, or was deleted meanwhile.

        Ours are replaced, which changes the folder. Sacred writes into its files, so that those must be looked at.
        """
        path = f"{self._root}/{name}"
        try:
            stamp = str(os.stat(path).st_mtime_ns)
        except OSError:
            return None
        if stamp == known:
            return stamp
        if os.path.exists(f"{path}/{EXTENSION}"):
            return stamp
        if known is None and not self._is_run(path):
            return None
        for file in ("run.json", "config.json"):
            try:
                found = os.stat(os.path.join(path, file))
                stamp += f" {found.st_mtime_ns} {found.st_size}"
            except FileNotFoundError:
                stamp += " -"
        return stamp

    def _measured(self, database: sqlite3.Connection, name: str) -> tuple[int, dict[str, Any]]:
        """Return how far the measurements of a run were read, and their summary so far."""
        if name not in self._stamps:
            return 0, {}
        row = database.execute("SELECT measured, summary FROM runs WHERE name = ?", (name,)).fetchone()
        return (row[0], decode(plainjson.loads(row[1]))) if row is not None and row[0] else (0, {})

    def _row(self, name: str, stamp: str, measured: tuple[int, dict[str, Any]]) -> tuple[Any, ...]:
        folder = os.path.join(self._root, name)
        try:
            found = {part: _marked_text(f"{folder}/{file}") for part, file in FILES.items()}
            texts = {part: text for part, (text, _) in found.items()}
            marks = " ".join([found[part][1] for part in _MARKED])
            documents = {part: _parsed(text, f"{folder}/{FILES[part]}") for part, text in texts.items()}
            run, capture = documents["run"], documents["capture"]
            if run is None:
                raise ValueError("run.json is missing")
            summary, end = _summary(folder, capture is not None, measured)
            times, more = _more(FolderRecord(name, _Documents(folder, documents)), run, capture or {})
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one run is told to who reads it
            unknown, marks = [None] * len(TIMES), marks_of(folder)
            return (name, stamp, name, "", "", "", *unknown, str(error), "{}", "{}", "{}", "{}", None, 0, marks)
        parts = {key: value for key, value in (capture or {}).items() if key in _SMALL_PARTS}
        lists = [key for key in ("resources", "artifacts") if run.get(key)]
        small = {key: value for key, value in run.items() if key not in lists}
        uid = (capture or {}).get("uid")
        return (
            name,
            stamp,
            self._label_of(name),
            uid if isinstance(uid, str) else "",
            run["status"] if isinstance(run.get("status"), str) else None,
            run["command"] if isinstance(run.get("command"), str) else None,
            *times,
            None,
            _strict_json(documents["config"] or {}, texts["config"]),
            _strict_json(summary if _is_plain(summary) else encode(summary)),
            None if more is None else _strict_json(more),
            _strict_json(small, b"" if lists else texts["run"]),
            _strict_json(parts) if capture is not None else None,
            end,
            marks,
        )


class _Documents(Folder):
    """A folder whose documents were read."""

    def __init__(self, name: str, documents: dict[str, Any]) -> None:
        self.name, self._read = name, documents

    def document(self, name: str) -> Any:
        return self._read[name]


def _more(
    record: FolderRecord, run: dict[str, Any], capture: dict[str, Any]
) -> tuple[list[int | None], dict[str, Any] | None]:
    """Return the columns for times, and the JSON form of what the index tells of a run besides its columns.

    Nothing, if part of it cannot be read: then the record is asked, and says so.
    """
    try:
        derived = RunRecord()  # from those parts alone that are needed: the whole would take most of the time
        derived.experiment = _decoded(run.get("experiment"), ("name", "repositories"))
        derived.experiment.update(_decoded(capture.get("experiment"), ("name", "repositories")))
        derived.facts = _decoded(capture.get("facts"), ("process", "git"))
        more = {
            "name": encode(derived.name),
            "user": encode(derived.user),
            "git": encode(dict(derived.git.items())),
            "tags": capture.get("tags") or [],
            "notes": capture.get("notes") or "",
            "result": run.get("result"),
        }
        moments = {name: record.time(name) for name in TIMES}
    except Exception:  # noqa: BLE001 - whatever it is, who reads the record is told
        return [None] * len(TIMES), None
    more.update((name, None if moment is None else moment.isoformat()) for name, moment in moments.items())
    return [None if moment is None else _microseconds(moment) for moment in moments.values()], more


def _decoded(stored: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return some entries of a stored dict, decoded."""
    if not isinstance(stored, dict):
        return {}
    if has_tag(stored):
        whole = decode(stored)
        return whole if isinstance(whole, dict) else {}
    return {name: decode(stored[name]) for name in names if name in stored}


def _is_plain(summary: dict[str, dict[str, Any]]) -> bool:
    """Say whether `encode` would leave a summary as it is, which takes longer to find out there."""
    for name, each in summary.items():
        if name.startswith(TAG_PREFIXES) or not name.isascii():
            return False
        for value in each.values():
            kind = type(value)
            if not (kind is float or value is None or (kind is int and abs(value) < 2**63)):
                return False
    return True


class _BusyError(Exception):
    """No answer was got between the writing of others."""


def marks_of(folder: str) -> str:
    """Return what changes when one of a run's small documents is written over in place, which no folder shows."""
    marks = []
    for part in _MARKED:
        try:
            marks.append(_mark(os.stat(f"{folder}/{FILES[part]}")))
        except OSError:
            marks.append(_NO_FILE)
    return " ".join(marks)


def _mark(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns}/{found.st_size}"


def _is_settled(row: tuple[Any, ...], settled: int) -> bool:
    """Say whether a row holds until the stamp of its folder changes: not if something was wrong, or just changed."""
    problem = row[_COLUMNS.index("problem")]
    return problem is None and all(int(part) < settled for part in row[1].split()[::2] if part.isdigit())


def _strict_json(document: Any, text: bytes | None = b"") -> str:
    """Return a document as JSON that SQLite reads, too: Sacred writes NaN and Infinity as they are.

    `text` is what it was read from, if that is at hand.
    """
    if text and b"NaN" not in text and b"Infinity" not in text and text.isascii():
        return text.decode("ascii")
    try:
        return _dump(document)
    except ValueError:
        return _dump(_finite(document))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return encode(value) if isinstance(value, float) else value


def _marked_text(path: str) -> tuple[bytes | None, str]:
    """Return the bytes of a file, None if it is missing, and its mark as it was before they were read.

    Past Python's files, which take longer than to parse it.
    """
    try:
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        return None, _NO_FILE
    try:
        mark = _mark(os.fstat(descriptor))  # first: what is written meanwhile is seen later
        blocks = [os.read(descriptor, _BLOCK)]
        while len(blocks[-1]) == _BLOCK:
            blocks.append(os.read(descriptor, _BLOCK))
    finally:
        os.close(descriptor)
    return b"".join(blocks), mark


def _parsed(text: bytes | None, path: str) -> Any:
    """Return a document; None if it is missing or no record."""
    if text is None:
        return None
    try:
        data = plainjson.loads(text)
    except (ValueError, RecursionError):
        data = read_document(path)  # it says what is wrong, or that it has been replaced meanwhile
    return data if isinstance(data, dict) else None


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _summary(folder: str, ours: bool, measured: tuple[int, dict[str, Any]]) -> tuple[dict[str, Any], int]:
    """Return the summary of each metric, and how much of ``metrics.jsonl`` it is about."""
    if not os.path.exists(f"{folder}/{PIECES}"):
        try:
            return summary_so_far(f"{folder}/{LINES}", *measured)
        except FileNotFoundError:
            if ours and not os.path.exists(f"{folder}/{JSON}"):  # which has the points where the other file was lost
                return {}, 0
    summary = {
        name: summarize({"steps": each.steps, "values": each.values, "times": each.times}, 0)
        for name, each in read_series(folder).items()
    }
    return summary, 0


def _database(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA mmap_size = 268435456")  # bytes: read in place, not copied page by page
    try:
        if database.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            _make(database)
    except sqlite3.DatabaseError as error:
        database.close()
        if isinstance(error, sqlite3.OperationalError) or path == ":memory:":
            raise  # it is locked, or may not be written
        os.unlink(path)  # no database, or damaged: it is made anew
        database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        _make(database)
    return database


def _make(database: sqlite3.Connection) -> None:
    with database:
        database.execute("BEGIN IMMEDIATE")
        if database.execute("PRAGMA user_version").fetchone()[0] != VERSION:  # nobody else made it meanwhile
            for table, columns in {"runs": _COLUMNS_OF_RUNS, **TABLES}.items():
                database.execute(f"DROP TABLE IF EXISTS {table}")
                database.execute(f"CREATE TABLE {table} {columns}")
            database.execute(f"PRAGMA user_version = {VERSION}")


def discard(private: str) -> None:
    """Delete the index below a store's private folder: what was erased must not live on in there."""
    for name in (NAME, NAME + "-journal"):
        try:
            os.unlink(os.path.join(private, name))
        except FileNotFoundError:
            pass


# ------------------------------------------------------------------------------------------------------- filters


def translate(wanted: Filter | None) -> tuple[str, str, list[Any]]:
    """Return two conditions in SQL, of the runs that may match and of those to look at again, and their parameters.

    These are called ``:v1``, ``:v2`` and so on, since a condition names one several times.

    Examples
    --------
    >>> from capture.filters import field
    >>> may, doubt, values = translate(field("status") == "COMPLETED")
    >>> may
    'problem IS NOT NULL OR (ifnull(status IS NULL, 0) OR ifnull(status = :v1, 0))'
    >>> doubt, values
    ('problem IS NOT NULL OR NOT (NOT ifnull(status IS NULL, 0) AND ifnull(status = :v1, 0))', ['COMPLETED'])
    """
    values: list[Any] = []
    may, surely = _both(wanted, values)
    return f"problem IS NOT NULL OR {may}", f"problem IS NOT NULL OR NOT {surely}", values


def _both(wanted: Filter | None, values: list[Any]) -> tuple[str, str]:
    """Return when a run may match and when it surely does; both are true or false, and never NULL."""
    if wanted is None:
        return "(1)", "(1)"
    if isinstance(wanted, (Every, Either)):
        if len(wanted.terms) > _MOST:  # SQLite has a limit for them
            return "(1)", "(0)"
        between, empty = (" AND ", "1") if isinstance(wanted, Every) else (" OR ", "0")
        parts = [_both(each, values) for each in wanted.terms]
        may, surely = (f"({between.join(some) or empty})" for some in zip(*parts)) if parts else (f"({empty})",) * 2
        return may, surely
    if isinstance(wanted, Not):
        may, surely = _both(wanted.term, values)
        return f"(NOT {surely})", f"(NOT {may})"
    before = len(values)
    found = _conditions(wanted, values) if isinstance(wanted, Test) else None
    if found is None:  # only Python can tell
        del values[before:]
        return "(1)", "(0)"
    matches, odd = found
    if odd == "0":
        return f"ifnull({matches}, 0)", f"ifnull({matches}, 0)"
    return f"(ifnull({odd}, 0) OR ifnull({matches}, 0))", f"(NOT ifnull({odd}, 0) AND ifnull({matches}, 0))"


def _conditions(test: Test, values: list[Any]) -> tuple[str, str] | None:
    """Return when a run matches, unless the second condition holds: then that is in doubt. None if always."""
    head, _, rest = test.path.partition(".")
    if not rest and (head in TIMES or head == "duration"):
        return _on_number(test, head, values)
    if test.path == "tags":
        return _on_tags(test, values)
    column, is_json = _PLACES.get(head, ("", False))
    if not is_json:
        if head not in _PLACES or rest:
            return None
        value = test.value
        if isinstance(value, list):  # such a column would take a number for the text that it looks like
            value = [each for each in value if isinstance(each, str)]
        matches = _compared(test.operator, value, _Found(head, f"{head} IS NOT NULL", "0"), values)
        return None if matches is None or not isinstance(value, (str, list)) else (matches, f"{head} IS NULL")
    paths = _json_paths(head, rest)
    if not paths:
        return None
    found = f"json_extract({column}, {paths[-1]})"
    for path in reversed(paths[:-1]):  # the first place that exists counts
        found = f"CASE WHEN json_type({column}, {path}) IS NULL THEN {found} ELSE json_extract({column}, {path}) END"
    there = " OR ".join(f"json_type({column}, {path}) IS NOT NULL" for path in paths)
    place = _Found(found, f"({there})", f"(({there}) AND {found} IS NULL)")
    matches = _compared(test.operator, test.value, place, values)
    if matches is None:
        return None
    unknown = ["more IS NULL"] if column == "more" else []
    unknown += _perhaps_members(column, paths, rest)
    if test.operator == "exists":
        return matches, f"({' OR '.join(unknown)})" if unknown else "0"
    # What JSON has no name for (not a number, a very long one) is an object with a tag, which SQL sees as text: Python
    # decodes it. Text is greater than any number.
    given = test.value if test.operator == "in" else [test.value]
    odds = unknown
    if any(isinstance(value, str) for value in given):
        odds.append(f"substr({found}, 1, 1) IN ('[', '{{')")
    if any(isinstance(value, (int, float)) for value in given):
        odds.append(f"(typeof({found}) = 'text' OR {found} NOT BETWEEN {-(2**53)} AND {2**53})")  # floats lack integers
    return matches, f"({' OR '.join(odds)})" if odds else "0"


def _perhaps_members(column: str, paths: list[str], rest: str) -> list[str]:
    """Return when a path that ends in one of these words is about a member of an enumeration, which has both."""
    last = rest.rpartition(".")[2]
    if last not in MEMBER_PARTS:
        return []
    end = f'."{last}"\''
    above = [path[: -len(end)] for path in paths if path.endswith(end) and len(path) > len(end) + len("'$")]
    return [f"json_type({column}, {path}.\"{tag}\"') IS NOT NULL" for path in above for tag in MEMBER_TAGS]


class _Found:
    """Where the value of a path is found: expressions in SQL."""

    __slots__ = ("is_null", "is_there", "value")

    def __init__(self, value: str, is_there: str, is_null: str) -> None:
        self.value, self.is_there, self.is_null = value, is_there, is_null


def _compared(operator: str, value: Any, found: _Found, values: list[Any]) -> str | None:
    """Return the condition that a value fulfils a test; None if SQLite does not see it as Python does."""
    if operator == "exists":
        return found.is_there
    if operator == "in":
        if not isinstance(value, list) or len(value) > 50:
            return None
        some = [_compared("==", each, found, values) for each in value]
        return None if None in some else f"({' OR '.join(each for each in some if each) or '0'})"
    if operator == "!=":
        same = _compared("==", value, found, values)
        return None if same is None else f"({found.is_there} AND NOT ifnull({same}, 0))"
    if value is None:
        return found.is_null if operator == "==" else None
    if not _is_comparable(value):
        return None
    is_text = isinstance(value, str)
    if operator in ("contains", "startswith"):
        if not is_text or not value:
            return None
        values.append(value)
        number = len(values)
        inside = f"instr({found.value}, :v{number}) > 0"
        matches = inside if operator == "contains" else f"substr({found.value}, 1, {len(value)}) = :v{number}"
        return f"(typeof({found.value}) = 'text' AND {matches})"
    sign = _COMPARISONS.get(operator)
    if sign is None:
        return None
    values.append(value)
    matches = f"{found.value} {sign} :v{len(values)}"
    return f"(typeof({found.value}) = 'text' AND {matches})" if is_text and sign in ("<", "<=") else matches


def _on_number(test: Test, name: str, values: list[Any]) -> tuple[str, str] | None:
    """Return the conditions on a time, which is compared with aware times only, or on the seconds that a run took."""
    column, value, operator = name, test.value, test.operator
    if name == "duration":
        column = "((stop_time - start_time) / 1000000.0)"
        if isinstance(value, str) or (value is not None and not _is_comparable(value)):
            return None
    elif isinstance(value, datetime) and value.tzinfo is not None:
        value = _microseconds(value)
    elif value is not None:
        return None
    if operator not in (*_COMPARISONS, "!=", "exists"):
        return None
    matches = _compared(operator, value, _Found(column, "1", f"({column} IS NULL)"), values)
    if matches is None:
        return None
    if name == "duration":  # a run without an end lasted to its last sign of life, or goes on: its record tells
        return matches, "more IS NULL OR stop_time IS NULL"
    return matches, "more IS NULL"


def _on_tags(test: Test, values: list[Any]) -> tuple[str, str] | None:
    if test.operator != "contains" or not isinstance(test.value, str) or not _is_comparable(test.value):
        return None
    values.append(test.value)
    inside = f"EXISTS (SELECT 1 FROM json_each(more, '$.tags') AS tag WHERE tag.value = :v{len(values)})"
    return inside, "ifnull(json_type(more, '$.tags'), '') <> 'array'"


def _is_comparable(value: Any) -> bool:
    """Say whether SQLite compares a value as Python does; a version is text that it does not."""
    if type(value) is str:
        return value.isprintable()
    if type(value) is int or type(value) is bool:
        return abs(value) < 2**53
    if type(value) is not float or value != value:
        return False
    return sum(each.isdigit() for each in repr(value)) <= 17  # more digits are not read alike everywhere


def _json_paths(head: str, rest: str) -> list[str]:
    """Return the places where JSON may have a value, the first that exists counts; none where it has others too."""
    if head == "metrics":
        metric, _, part = rest.rpartition(".")
        chains: list[tuple[str, ...]] = [(metric, part)]
    elif not rest:
        chains = [] if head in ("config", "git") else [(head,)]
    elif rest.count(".") > 3:
        return []
    else:
        chains = [chain if head == "config" else (head, *chain) for chain in _splits(rest)]
    keys = {key for chain in chains for key in chain}
    if not all(key.isascii() for key in keys):
        return []  # JSON may write such a key in several ways, of which SQLite finds one
    if not all(key and key.replace("_", "a").replace("-", "a").replace(".", "a").isalnum() for key in keys):
        return []
    if any(part.isdigit() for key in keys for part in key.split(".")) and head != "metrics":
        return []  # the place in a list
    return ["'$" + "".join(f'."{key}"' for key in chain) + "'" for chain in chains]


def _splits(path: str) -> Iterator[tuple[str, ...]]:
    """Yield the keys that a dotted path may mean, in the order in which they are tried: keys may hold dots."""
    yield (path,)
    end = path.find(".")
    while end >= 0:
        for tail in _splits(path[end + 1 :]):
            yield (path[:end], *tail)
        end = path.find(".", end + 1)
