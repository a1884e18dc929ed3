"""An index of a file store, so that a question about ten thousand runs need not open twenty thousand files.

It is an SQLite file, ``_capture/index.sqlite``, which holds of each run what is asked for most: its times, status,
configuration, result, tags and the summary of its metrics. It is made from the folders when somebody first asks, and
each run is read again when its folder has changed; deleting it costs nothing but that. Where it cannot be written, it
lives in memory.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time

from capture.codec import decode, encode
from capture.filters import Every, Filter, Test
from capture.observers._pieces import PIECES
from capture.observers._run_folder import EXTENSION, read_document
from capture.observers._series import LINES, read_series, summary_so_far
from capture.observers._writing import log
from capture.records import summarize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

VERSION = 2
NAME = "index.sqlite"
_BUSY_S = 5.0
_RACY_NS = 2_000_000_000  #: a folder changed this short ago may change again without a trace in its time
_ATTEMPTS = 5  #: to get an answer while other processes write into the index

_TABLE = """
CREATE TABLE runs (
    name TEXT PRIMARY KEY, stamp TEXT NOT NULL, label TEXT, uid TEXT, status TEXT, command TEXT,
    problem TEXT, config TEXT, summary TEXT, run TEXT, capture TEXT, measured INTEGER
)
"""
_COLUMNS = (
    *("name", "stamp", "label", "uid", "status", "command"),
    *("problem", "config", "summary", "run", "capture"),
    "measured",  # bytes of the run's metrics.jsonl that the summary is about
)

#: parts of ``capture.json`` that the index holds; facts and lists of files are large and asked for one run at a time
_SMALL_PARTS = frozenset({"label", "uid", "times", "tags", "notes", "writers", "resumed", "layout", "experiment"})

#: first word of a path -> column, and whether what follows is looked up in that column's JSON
_PLACES = {
    "status": ("status", False),
    "command": ("command", False),
    "uid": ("uid", False),
    "config": ("config", True),
    "metrics": ("summary", True),
    "result": ("run", True),
    "experiment": ("run", True),
    "host": ("run", True),
    "meta": ("run", True),
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
    """

    def __init__(self, root: str, private: str | None, label_of: Callable[[str], str]) -> None:
        self._root, self._label_of = root, label_of
        self._path = None if private is None or not os.path.isdir(private) else os.path.join(private, NAME)
        self._db: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._stamps: dict[str, str] = {}
        self._version: Any = None
        self._lock = threading.RLock()

    def answer(self, names: Sequence[str], wanted: Filter | None) -> list[tuple[dict[str, Any], bool]]:
        """Return the rows that may fulfil a filter, in no order, and whether each surely does.

        Parameters
        ----------
        names : sequence of str
            Of the folders of all runs there are: the index is brought up to date with them before.
        wanted : Filter or None
        """
        with self._lock:
            try:
                return self._answer(names, wanted)
            except (sqlite3.Error, _BusyError) as error:
                if self._path is None:
                    raise
                self._give_up_file(error)  # it belongs to somebody else, or is damaged
                return self._answer(names, wanted)

    def _answer(self, names: Sequence[str], wanted: Filter | None) -> list[tuple[dict[str, Any], bool]]:
        for _ in range(_ATTEMPTS):
            self._refresh(names)
            rows = list(self._select(wanted))
            # Another process may have written between the two, and may have seen fewer runs than there are.
            if self._data_version(self._open()) == self._version:
                return rows
        raise _BusyError("others change it all the time")

    def _refresh(self, names: Sequence[str]) -> None:
        database = self._open()
        stamps = self._known_stamps(database)
        new = {}
        for name in names:
            known = stamps.get(name)
            stamp = self._stamp(name, known)
            if stamp is not None and stamp != known:
                new[name] = stamp
        gone = [name for name in stamps.keys() - names if not os.path.exists(f"{self._root}/{name}")]
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

    def _select(self, wanted: Filter | None) -> Iterator[tuple[dict[str, Any], bool]]:
        where, doubt, values = translate(wanted)
        query = f"SELECT {', '.join(_COLUMNS)}, {doubt} FROM runs WHERE {where}"
        for row in self._open().execute(query, values):
            yield dict(zip(_COLUMNS, row)), not row[-1]

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
        """Return what changes when a run's documents do; None if the run was deleted meanwhile.

        Ours are replaced, which changes the folder. Sacred writes into its files, so that those must be looked at.
        """
        path = f"{self._root}/{name}"
        try:
            stamp = str(os.stat(path).st_mtime_ns)
        except OSError:
            return None
        if stamp == known or os.path.exists(os.path.join(path, EXTENSION)):
            return stamp
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
        return (row[0], decode(json.loads(row[1]))) if row is not None and row[0] else (0, {})

    def _row(self, name: str, stamp: str, measured: tuple[int, dict[str, Any]]) -> tuple[Any, ...]:
        folder = os.path.join(self._root, name)
        try:
            run, config, capture = (_document(folder, file) for file in ("run.json", "config.json", EXTENSION))
            if run is None:
                raise ValueError("run.json is missing")
            _document(folder, "info.json")  # it is not indexed, but a run of which a part cannot be read is no record
            summary, end = _summary(folder, capture is not None, measured)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one run is told to who reads it
            return (name, stamp, name, "", "", "", str(error), "{}", "{}", "{}", None, 0)
        parts = {key: value for key, value in (capture or {}).items() if key in _SMALL_PARTS}
        small = {key: value for key, value in run.items() if key not in ("resources", "artifacts")}
        uid = (capture or {}).get("uid")
        return (
            name,
            stamp,
            self._label_of(name),
            uid if isinstance(uid, str) else "",
            run["status"] if isinstance(run.get("status"), str) else None,
            run["command"] if isinstance(run.get("command"), str) else None,
            None,
            _strict_json(config or {}),
            _strict_json(encode(summary)),
            _strict_json(small),
            _strict_json(parts) if capture is not None else None,
            end,
        )


class _BusyError(Exception):
    """No answer was got between the writing of others."""


def _is_settled(row: tuple[Any, ...], settled: int) -> bool:
    """Say whether a row holds until the stamp of its folder changes: not if something was wrong, or just changed."""
    problem = row[_COLUMNS.index("problem")]
    return problem is None and all(int(part) < settled for part in row[1].split()[::2] if part.isdigit())


def _strict_json(document: Any) -> str:
    """Return a document as JSON that SQLite reads, too: Sacred writes NaN and Infinity as they are."""
    try:
        return json.dumps(document, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(document), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return encode(value) if isinstance(value, float) else value


def _document(folder: str, file: str) -> Any:
    try:
        data = read_document(os.path.join(folder, file))
    except FileNotFoundError:
        return None
    return data if isinstance(data, dict) else None


def _summary(folder: str, ours: bool, measured: tuple[int, dict[str, Any]]) -> tuple[dict[str, Any], int]:
    """Return the summary of each metric, and how much of ``metrics.jsonl`` it is about."""
    lines = os.path.join(folder, LINES)
    if os.path.exists(lines) and not os.path.exists(os.path.join(folder, PIECES)):
        return summary_so_far(lines, *measured)
    if ours and not os.path.exists(os.path.join(folder, PIECES)):
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
            database.execute("DROP TABLE IF EXISTS runs")
            database.execute(_TABLE)
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

    Examples
    --------
    >>> from capture.filters import field
    >>> translate(field("status") == "COMPLETED")
    ('problem IS NOT NULL OR ((status IS NULL OR status = ?1))', 'problem IS NOT NULL OR status IS NULL', ['COMPLETED'])
    """
    terms = wanted.terms if isinstance(wanted, Every) else [] if wanted is None else [wanted]
    may: list[str] = []
    doubts: list[str] = ["problem IS NOT NULL"]
    values: list[Any] = []
    for term in terms:
        conditions = _conditions(term, len(values) + 1) if isinstance(term, Test) else None
        if conditions is None:
            doubts = ["1"]
        else:
            may.append(conditions[0])
            doubts.append(conditions[1])
            values.append(term.value)  # type: ignore[attr-defined]
    every = " AND ".join(may)
    return f"problem IS NOT NULL OR ({every})" if may else "1", "1" if "1" in doubts else " OR ".join(doubts), values


def _conditions(test: Test, number: int) -> tuple[str, str] | None:
    """Return when a run may match and when that is in doubt; None where only Python can tell."""
    sign, value = _COMPARISONS.get(test.operator), test.value
    if sign is None or not _is_comparable(value):
        return None
    head, _, rest = test.path.partition(".")
    column, is_json = _PLACES.get(head, ("", False))
    if not is_json:
        known = column and not rest and isinstance(value, str)
        return (f"({column} IS NULL OR {column} {sign} ?{number})", f"{column} IS NULL") if known else None
    paths = _json_paths(head, rest)
    if not paths:
        return None
    found = f"json_extract({column}, {paths[-1]})"
    for path in reversed(paths[:-1]):  # the first place that exists counts
        found = f"CASE WHEN json_type({column}, {path}) IS NULL THEN {found} ELSE json_extract({column}, {path}) END"
    # What JSON has no name for (not a number, a very long one) is an object with a tag, which SQL sees as text: Python
    # decodes it. Text is greater than any number.
    if isinstance(value, str):
        odd = f"substr({found}, 1, 1) IN ('[', '{{')"
    else:
        odd = f"(typeof({found}) = 'text' OR {found} NOT BETWEEN {-(2**53)} AND {2**53})"  # floats leave out integers
    may = f"({found} {sign} ?{number} OR {odd})"
    if isinstance(value, str) and sign in ("<", "<="):
        may = f"(typeof({found}) = 'text' AND {may})"
    return may, odd


def _is_comparable(value: Any) -> bool:
    """Say whether SQLite compares a value as Python does."""
    if isinstance(value, str):
        return value.isprintable()
    if type(value) is int:
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
        chains = [] if head == "config" else [(head,)]
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
