"""Digests that need not be computed again: path and stat of a file -> SHA-256, for all runs of one user.

One SQLite file that many processes read and write. It holds nothing that cannot be computed again, so whatever is wrong
with it costs a line in the debug log and the time to hash, never an error: it may be locked, damaged or on a full disk.
Each row carries a checksum of itself, so that damage makes a row worthless and not a digest wrong.

A connection lives for one short transaction, and no process is forked meanwhile: SQLite must not be carried over that.
"""

from __future__ import annotations

import os
import threading
import zlib

from capture.complaints import logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from sqlite3 import Connection
    from typing import Any, TypeVar

    Answer = TypeVar("Answer")
    Row = tuple[bytes, str, str, int, int]  # the columns of the table

FILE_NAME = "digests.sqlite"
MAX_BYTES = 16 << 20  #: of the file; beyond it the half that was not used for longest goes. About 60,000 digests
LOCK_WAIT_S = 0.25  #: for other processes that write
REFRESH_S = 86_400  #: a digest that is used is marked as such once a day, so that reading seldom means writing

_TABLE = """CREATE TABLE IF NOT EXISTS digests
    (path BLOB PRIMARY KEY, place TEXT, digest TEXT, used INTEGER, seal INTEGER) WITHOUT ROWID"""
_VARIABLES = 500  # in one statement; SQLite had a limit of 999 for long


class DigestCache:
    """What one process knows of the common file; used by one thread at a time.

    Parameters
    ----------
    directory : str
        Where the file lies, or will.
    now : callable
        Unix time, s.
    """

    def __init__(self, directory: str, now: Callable[[], float]) -> None:
        self.path = os.path.join(directory, FILE_NAME)
        self._now = now
        self._unsaved: dict[str, tuple[str, str]] = {}
        self._usable = True

    def find(self, places: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
        """Return the digests that are known, by path.

        Parameters
        ----------
        places : mapping of str to tuple of int
            By path, what `capture.probes.lineage.digesting.place_of` makes of the stat of the file as it is now.
        """
        if not self._usable or not os.path.exists(self.path):
            return {}
        paths = [os.fsencode(path) for path in places]
        nothing: list[Row] = []
        rows = self._ask(lambda connection: _rows(connection, paths), nothing)
        found, old = {}, self._now() - REFRESH_S
        for raw, place, digest, used, seal in rows:
            path = os.fsdecode(raw)
            if place == _text(places.get(path, ())) and seal == _seal(raw, place, digest):
                found[path] = digest
                if used < old:
                    self._unsaved[path] = (place, digest)
        return found

    def add(self, path: str, place: tuple[int, ...], digest: str) -> None:
        """Note a digest; `save` writes it."""
        self._unsaved[path] = (_text(place), digest)

    @property
    def unsaved(self) -> int:
        """How many digests are noted and not written."""
        return len(self._unsaved)

    def save(self) -> None:
        """Write what was noted; what cannot be written now, because others write, stays noted."""
        if not self._unsaved or not self._usable:
            return
        used, rows = int(self._now()), []
        for path, (place, digest) in self._unsaved.items():
            raw = os.fsencode(path)
            rows.append((raw, place, digest, used, _seal(raw, place, digest)))
        if self._ask(lambda connection: _write(connection, rows), False):
            self._unsaved.clear()

    def _ask(self, question: Callable[[Connection], Answer], otherwise: Answer) -> Answer:
        """Ask the database, with a connection of its own; give the other answer if it cannot be asked."""
        try:
            import sqlite3
        except ImportError as error:
            self._usable = False
            _log().debug("digests are not remembered, for this Python has no SQLite: %s", error)
            return otherwise
        if not _FORKS.acquire(timeout=LOCK_WAIT_S):
            return otherwise
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))  # the paths in it are the user's own business
            connection = sqlite3.connect(self.path, timeout=LOCK_WAIT_S, isolation_level=None)
            try:
                connection.execute("PRAGMA synchronous=OFF")  # a file that a power cut destroys is made anew
                connection.execute(_TABLE)
                return question(connection)
            finally:
                connection.close()
        except sqlite3.OperationalError as error:
            _log().debug("known digests in %s are not used now: %s", self.path, error)
        except sqlite3.DatabaseError as error:
            _log().debug("known digests in %s are damaged, and removed: %s", self.path, error)
            self._remove()
        except OSError as error:
            self._usable = False
            _log().debug("known digests in %s are not used: %s", self.path, error)
        finally:
            _FORKS.release()
        return otherwise

    def _remove(self) -> None:
        for path in (self.path, self.path + "-journal"):
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
            except OSError as error:
                self._usable = False
                _log().debug("%s cannot be removed: %s", path, error)


def _rows(connection: Connection, paths: list[bytes]) -> list[Row]:
    rows: list[Row] = []
    for start in range(0, len(paths), _VARIABLES):
        some = paths[start : start + _VARIABLES]
        marks = ",".join("?" * len(some))
        rows += connection.execute(f"SELECT path, place, digest, used, seal FROM digests WHERE path IN ({marks})", some)
    return rows


def _write(connection: Connection, rows: list[Row]) -> bool:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?)", rows)
    if _size(connection) > MAX_BYTES:
        connection.execute(
            "DELETE FROM digests WHERE path IN"
            " (SELECT path FROM digests ORDER BY used LIMIT (SELECT count(*) / 2 FROM digests))"
        )
    connection.execute("COMMIT")
    return True


def _size(connection: Connection) -> int:
    """Return how many bytes of the file are in use."""

    def number(name: str) -> int:
        return int(connection.execute(f"PRAGMA {name}").fetchone()[0])

    return (number("page_count") - number("freelist_count")) * number("page_size")


def _text(place: tuple[int, ...]) -> str:
    return ":".join(map(str, place))  # as text: inodes have 64 bits, SQLite's integers 63


def _seal(path: bytes, place: str, digest: str) -> int:
    return zlib.crc32(f"{place} {digest}".encode("utf-8", "replace"), zlib.crc32(path))


# --------------------------------------------------------------------------------------------------------------- forks

_FORKS = threading.Lock()  # held while SQLite works, and during a fork
_forking: set[int] = set()  # idents of threads that hold it for a fork


def _before_fork() -> None:
    if _FORKS.acquire(timeout=1.0):  # SQLite that waits for a dead disk must not keep the run from forking
        _forking.add(threading.get_ident())


def _after_fork() -> None:
    if threading.get_ident() in _forking:
        _forking.discard(threading.get_ident())
        _FORKS.release()


def _after_fork_in_child() -> None:
    global _FORKS
    _FORKS = threading.Lock()
    _forking.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)


def _log() -> Any:
    return logger()
