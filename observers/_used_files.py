"""A part of a file store's index: which runs had to do with a file, as `capture lineage` asks.

It holds the marks of each run, see `capture.file_marks`, and is filled when lineage is first asked for. A run whose
folder changed gets new marks; those that it had stay behind without an owner, and are cleared away when they are many.
"""

from __future__ import annotations

from functools import partial

from capture.errors import CaptureError
from capture.file_marks import marks_of
from capture.hooks import UsedFiles
from capture.observers._writing import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterator, Sequence
    from typing import Any

    from capture.observers._file_index import FileIndex
    from capture.records import RunRecord

#: The owner of a mark is the number of a run; for a file in the list of a folder, the mark of that folder, negative.
#: `odd` says that a run has to be looked at whatever is asked.
TABLES = {
    "used": "(number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, stamp TEXT, odd INTEGER)",
    "file_marks": "(mark INTEGER, owner INTEGER, PRIMARY KEY (mark, owner)) WITHOUT ROWID",
    "cleared": "(number INTEGER)",  # up to which run marks without an owner were cleared away
}
_SOME = 500  #: marks in one question
_TOGETHER = 1_000  #: runs whose marks are written at once
_MAY_STAY = 1_000  #: runs without an owner's name, besides twice as many as there are


class IndexedFiles(UsedFiles):
    """What the index of a file store knows of files.

    Parameters
    ----------
    index : FileIndex
    runs : sequence of (str, str)
        Name and stamp of each run, newest first.
    records : callable
        ``records(names)`` yields name and record of some of them; what cannot be read is left out.
    progress : callable
        Called after each run that is looked at.
    """

    def __init__(
        self,
        index: FileIndex,
        runs: Sequence[tuple[str, str]],
        records: Callable[[Sequence[str]], Iterator[tuple[str, RunRecord]]],
        progress: Callable[[], Any],
    ) -> None:
        self._index, self._runs, self._records, self._progress = index, runs, records, progress
        self._places = {name: place for place, (name, _) in enumerate(runs)}
        self._numbered: dict[int, int] = {}  # places, by number
        self._version: Any = None  # changes when another process writes
        self._complete: sqlite3.Connection | None = None  # which database has the marks of all runs
        self._ask("SELECT 1", ())

    def __len__(self) -> int:
        return len(self._runs)

    def labelled(self, label: str) -> list[int]:
        return self._in_order(name for (name,) in self._ask("SELECT name FROM runs WHERE label = ?", (label,)))

    def find(self, marks: Collection[int]) -> list[int]:
        return self._owned(self._ask_some("SELECT owner FROM file_marks WHERE mark IN ({})", marks))

    def between(self, least: int, most: int) -> list[int]:
        owners = self._ask("SELECT owner FROM file_marks WHERE mark BETWEEN ? AND ?", (least, most))
        folders = {-owner for (owner,) in owners if owner < 0}
        return sorted({*self._owned(owners), *self.find(folders)})

    def folders(self, marks: Collection[int]) -> set[int]:
        query = "SELECT DISTINCT -owner FROM file_marks WHERE owner < 0 AND mark IN ({})"
        return {folder for (folder,) in self._ask_some(query, marks)}

    def always(self) -> list[int]:
        return self._in_order(name for (name,) in self._ask("SELECT name FROM used WHERE odd", ()))

    def records(self, places: Sequence[int]) -> Iterator[tuple[int, RunRecord]]:
        for name, record in self._records([self._runs[place][0] for place in places]):
            yield self._places[name], record

    def _in_order(self, names: Iterator[str]) -> list[int]:
        return sorted({self._places[name] for name in names if name in self._places})

    def _owned(self, owners: list[tuple[int]]) -> list[int]:
        """Return the runs that own marks, newest first; what was there before, or came later, is none of them."""
        numbered = self._numbered
        return sorted({numbered[owner] for (owner,) in owners if owner in numbered})

    def _ask_some(self, query: str, values: Collection[int]) -> list[Any]:
        found, given = [], list(values)
        for at in range(0, len(given), _SOME):
            some = given[at : at + _SOME]
            found += self._ask(query.format(",".join("?" * len(some))), some)
        return found

    def _ask(self, query: str, values: Sequence[Any]) -> list[Any]:
        return self._index.ask(partial(self._asked, query, values))

    def _asked(self, query: str, values: Sequence[int], database: sqlite3.Connection) -> list[Any]:
        if database is not self._complete:  # also where the file was given up, and the index is in memory now
            self._bring_up_to_date(database)
            self._number(database)
            self._complete = database
        while True:
            rows = database.execute(query, values).fetchall()
            if _data_version(database) == self._version:
                return rows
            self._number(database)  # another process has given runs other numbers

    def _number(self, database: sqlite3.Connection) -> None:
        """Learn which numbers the runs have; those that another process has taken out meanwhile are entered again."""
        while True:
            self._version = _data_version(database)
            numbers = database.execute("SELECT number, name FROM used").fetchall()
            self._numbered = {number: self._places[name] for number, name in numbers if name in self._places}
            if len(self._numbered) == len(self._places):
                return
            self._bring_up_to_date(database)

    def _bring_up_to_date(self, database: sqlite3.Connection) -> None:
        known = dict(database.execute("SELECT name, stamp FROM used"))
        new = {name: stamp for name, stamp in self._runs if not stamp or known.get(name) != stamp}
        folders = set()
        if new:
            folders = {-owner for (owner,) in database.execute("SELECT DISTINCT owner FROM file_marks WHERE owner < 0")}
        names = list(new)
        for at in range(0, len(names), _TOGETHER):
            some = names[at : at + _TOGETHER]
            self._enter(database, {name: new[name] for name in some}, folders)
        gone = [name for name in known.keys() - self._places.keys() if not self._index.has_folder(name)]
        if gone:
            with database:
                database.execute("BEGIN IMMEDIATE")
                database.executemany("DELETE FROM used WHERE name = ?", [(name,) for name in gone])
        if new:
            _clear_away(database, len(self._runs))

    def _enter(self, database: sqlite3.Connection, stamps: dict[str, str], folders: set[int]) -> None:
        marked: dict[str, set[int]] = {}
        rows: set[tuple[int, int]] = set()
        for name, record in self._records(list(stamps)):
            self._progress()
            try:
                found = marks_of(_about_files(record))
                for folder in found.folders.keys() - folders:
                    rows.update((each, -folder) for each in found.folders[folder]())
                    rows.add((folder, -folder))  # an empty list is one, too
                    folders.add(folder)
                marked[name] = found.marks
            except (CaptureError, OSError, ValueError) as error:
                log().debug("the files of the run %s are not in the index: %s", name, error)
        with database:
            database.execute("BEGIN IMMEDIATE")
            for name, stamp in stamps.items():
                marks = marked.get(name)
                database.execute("DELETE FROM used WHERE name = ?", (name,))
                values = (name, "", True) if marks is None else (name, stamp, False)
                number = database.execute("INSERT INTO used (name, stamp, odd) VALUES (?, ?, ?)", values).lastrowid or 0
                rows.update((each, number) for each in marks or ())
            database.executemany("INSERT OR IGNORE INTO file_marks VALUES (?, ?)", sorted(rows))


def _data_version(database: sqlite3.Connection) -> Any:
    return database.execute("PRAGMA data_version").fetchone()[0]


def _about_files(record: RunRecord) -> RunRecord:
    """Return a record without the facts that say nothing of files: to decode these takes longer than all the rest."""
    from capture.observers._folder_record import FolderRecord

    if isinstance(record, FolderRecord):
        record.forget_facts_but("lineage")
    return record


def _clear_away(database: sqlite3.Connection, runs: int) -> None:
    """Delete the marks of what is no run any more, if that is most of them."""
    last = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'used'").fetchone()
    cleared = database.execute("SELECT max(number) FROM cleared").fetchone()[0] or 0
    if last is None or last[0] - cleared < 2 * runs + _MAY_STAY:
        return
    with database:
        database.execute("BEGIN IMMEDIATE")
        database.execute("DELETE FROM file_marks WHERE owner > 0 AND owner NOT IN (SELECT number FROM used)")
        database.execute("DELETE FROM cleared")
        database.execute("INSERT INTO cleared VALUES (?)", last)
