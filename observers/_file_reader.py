"""Reading a store of run folders, ours and Sacred's."""

from __future__ import annotations

import os

from capture import plainjson
from capture.codec import decode, is_untagged
from capture.errors import RecordError
from capture.filters import MISSING
from capture.observers import _labels
from capture.observers._folder_losses import is_ours, lacks_extension, losses
from capture.observers._folder_record import Folder, FolderRecord
from capture.observers._pieces import PIECES, read_copied
from capture.observers._query import by_part_of_uid
from capture.observers._reading import StoreReader, end_of_file
from capture.observers._run_folder import EXTENSION, FILES, naive, read_document
from capture.observers._series import LINES, StoredSeries, summary_so_far
from capture.observers._store import PRIVATE, check_format, find_uid
from capture.observers._writing import opener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
    from datetime import datetime
    from typing import Any, BinaryIO

    from capture.filters import Filter
    from capture.hooks import UsedFiles
    from capture.observers._file_index import FileIndex
    from capture.records import Loss, RunRecord, Series


_FIRST, _PAGE = 64, 500  #: runs that the index tells of together: few at first, since often the newest are enough
_BLOCK = 200  #: runs that are looked at first where few are asked for
_TIMES = frozenset({"queue_time", "start_time", "stop_time", "heartbeat"})
_KNOWN = _TIMES | {"name", "user", "git", "tags", "notes", "result"}  #: what the index tells of a run without documents


class FileStoreReader(StoreReader):
    """Reads a store of run folders, ours and Sacred's. It changes no run, and runs nothing that it reads.

    Parameters
    ----------
    basedir : path
    resource_dir, source_dir : path, optional
        Where the observer kept shared files if not in the store. What a record lists elsewhere is not opened.
    """

    finds_by_index = True  #: whether `find` may tell of a run without having opened its documents

    def __init__(
        self,
        basedir: str | os.PathLike[str],
        resource_dir: str | os.PathLike[str] | None = None,
        source_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        self.basedir = os.path.abspath(basedir)
        self.places = [os.path.realpath(place) for place in (basedir, resource_dir, source_dir) if place is not None]
        self.url = "file://" + self.basedir
        self._private = os.path.join(self.basedir, PRIVATE)
        self._bin = os.path.join(self._private, "bin")
        self._index: FileIndex | None = None
        self._seen: set[str] = set()  # folders that were found to hold a run
        self._noted: dict[str, str] | None = None  # uid by folder, as their writers have noted them
        self._ages: dict[str, tuple[str, int, str]] = {}  # of runs that have started, by their folder

    def __repr__(self) -> str:
        return f"FileStoreReader({self.basedir!r})"

    def get(self, run: Any) -> RunRecord:
        check_format(self.basedir)
        return super().get(run)

    def find(
        self, where: Mapping[str, Any] | Filter | str | None = None, limit: int | None = None
    ) -> Iterator[RunRecord]:
        """Yield runs, newest first. A run that cannot be read is left out, see `unreadable`."""
        check_format(self.basedir)
        return super().find(where, limit)

    def close(self) -> None:
        if self._index is not None:
            self._index.close()
            self._index = None

    def health(self) -> Iterator[tuple[str, str, str]]:
        """Yield what `capture doctor` says of the store: level, what was found, what to do."""
        from capture.observers._file_health import findings

        return findings(self.basedir, self._private)

    def left_of(self, label: Any) -> tuple[list[str], list[str]]:
        """Return which documents of a run can be read, and which cannot or are missing."""
        folder = os.path.join(self.basedir, _labels.folder_of(label))
        whole: list[str] = []
        damaged: list[str] = []
        for file in FILES.values():
            try:
                is_whole = isinstance(read_document(os.path.join(folder, file)), dict)
            except FileNotFoundError:
                is_whole = False
                if file not in ("run.json", "config.json"):  # which not every run has
                    continue
            except RecordError:
                is_whole = False
            (whole if is_whole else damaged).append(file)
        whole += [file for file in ("cout.txt", LINES) if os.path.isfile(os.path.join(folder, file))]
        return whole, damaged

    # What there is.

    def all_labels(self, binned: bool = False) -> list[str]:
        """Return labels, oldest first: numbers in their order, names where their start puts them."""
        root = self._root(binned)
        return [self._label(root, name) for name in self._names(root)]

    def find_label(self, text: str, binned: bool = False) -> str | None:
        root, name = self._root(binned), _labels.folder_of(text)
        return text if text and _is_run(os.path.join(root, name)) and self._label(root, name) == text else None

    def uids_like(self, part: str, binned: bool = False) -> Iterable[tuple[str, str]]:
        """Yield uid and label, from the notes of the writers; of runs that were copied into the store there are none.

        So all runs are looked at where no note fits.
        """
        root = self._root(binned)
        noted = self._noted_uids(part, root)
        if not noted and not binned:
            query = "SELECT name, label, uid, problem FROM runs"
            rows = self.indexed().ask(lambda database: database.execute(query).fetchall())
            return [
                (uid if problem is None else self._uid(root, name), label)
                for name, label, uid, problem in rows
                if uid or problem is not None
            ]
        return noted or [(uid, self._label(root, name)) for name in self._names(root) if (uid := self._uid(root, name))]

    def _noted_uids(self, part: str, root: str) -> list[tuple[str, str]]:
        try:
            uids = by_part_of_uid(part, os.listdir(os.path.join(self._private, "uids")))
        except FileNotFoundError:
            return []
        found = [(uid, path) for uid in uids if (path := find_uid(self.basedir, uid)) is not None]
        return [
            (uid, self._label(root, os.path.basename(path)))
            for uid, path in found
            if os.path.dirname(path) == root and _is_run(path)
        ]

    def read(self, label: Any, binned: bool = False) -> RunRecord:
        folder = _LocalFolder(os.path.join(self._root(binned), _labels.folder_of(label)), self)
        for name in FILES:
            folder.document(name)  # so that a file which cannot be read is heard of now, not when somebody looks at it
        folder.check()
        folder.losses()
        return FolderRecord(str(label), folder)

    def matching(self, wanted: Filter | None, limit: int | None) -> Iterator[RunRecord]:
        """Yield records from the index; what it does not hold is read from the folder when it is asked for."""
        listed = self._listed(self.basedir)
        are_numbers = all(_labels.is_number(name) for name in listed)
        if wanted is None and limit is not None and are_numbers and 20 * limit < len(listed):
            yield from self._newest(listed)
            return
        if limit is None or not are_numbers:
            yield from self._from_index(listed, None, are_numbers, wanted, limit)
            return
        # The newest first, and no more than are asked for: the rest need not be looked at, nor indexed for this.
        listed.sort(key=int, reverse=True)
        every, at, size = frozenset(listed), 0, max(_BLOCK, 4 * limit)
        while at < len(listed):
            yield from self._from_index(listed[at : at + size], every, True, wanted, limit)
            at, size = at + size, 4 * size

    def _from_index(
        self, names: list[str], every: Set[str] | None, are_numbers: bool, wanted: Filter | None, limit: int | None
    ) -> Iterator[RunRecord]:
        index = self._open_index()
        found = index.answer(names, wanted, every)
        self._sort(found, are_numbers)
        at, size = 0, _FIRST if limit is None else max(1, min(limit, _PAGE))
        while at < len(found):
            page = _Page(index, [name for name, *_ in found[at : at + size]])
            for name, stamp, _, is_sure in found[at : at + size]:
                record = self._indexed(name, stamp, is_sure, page, wanted)
                if record is not None:
                    yield record
            at, size = at + size, _PAGE

    def used_files(self, progress: Callable[[], Any] = lambda: None) -> UsedFiles:
        """Return what tells which runs had to do with a file, from the index."""
        from capture.observers._used_files import IndexedFiles

        check_format(self.basedir)
        index, listed = self._open_index(), self._listed(self.basedir)
        found = index.answer(listed, None)
        known = index.rows(listed, ("name", "marks"))
        overwritten = index.overwritten(known)
        if overwritten:
            index.forget(overwritten)
            found = index.answer(listed, None)
            known = index.rows(listed, ("name", "marks"))
        self._sort(found, all(_labels.is_number(name) for name in listed))
        stamps = {name: stamp for name, stamp, *_ in found}
        states = [
            (name, f"{stamp} {known[name]['marks']}" if stamp and name in known else "")
            for name, stamp in stamps.items()
        ]

        def records(names: Sequence[str]) -> Iterator[tuple[str, RunRecord]]:
            for at in range(0, len(names), _PAGE):
                some = names[at : at + _PAGE]
                page = _Page(index, list(some))
                for name in some:
                    record = self._indexed(name, stamps[name], True, page, None)
                    if record is not None:
                        yield name, record

        return IndexedFiles(index, states, records, progress)

    def _sort(self, found: list[tuple[str, str, int | None, bool]], are_numbers: bool) -> None:
        """Sort what the index found, newest first."""
        if are_numbers:
            found.sort(key=lambda each: int(each[0]), reverse=True)
        else:
            found.sort(key=lambda each: self._start(*each[:3]), reverse=True)

    def _indexed(self, name: str, stamp: str, is_sure: bool, page: _Page, wanted: Filter | None) -> RunRecord | None:
        """Return a record that the index has, if it fulfils `wanted`."""
        row = page.rows.get(name)
        record: RunRecord
        try:
            if row is None:  # deleted just now, or written over in place, or another process did away with the index
                if not _is_run(os.path.join(self.basedir, name)):
                    return None
                record = self.read(self._label(self.basedir, name))
            elif row["problem"] is not None:
                raise RecordError(row["problem"])
            else:
                folder = _IndexedFolder(os.path.join(self.basedir, name), self, page, row)
                record = FolderRecord(row["label"], folder)
            # what is not as it was when the index answered may not fulfil the condition any more
            is_unchanged = row is not None and row["stamp"] == stamp != ""
            if wanted is not None and not (is_sure and is_unchanged) and not wanted.matches(record):
                return None
        except RecordError as error:
            self.leave_out(name, error)
            return None
        return record

    def _newest(self, names: list[str]) -> Iterator[RunRecord]:
        """Yield records, newest first, without the index: of a few runs the documents are soon read."""
        for name in sorted(names, key=int, reverse=True):
            if not _is_run(os.path.join(self.basedir, name)):
                continue
            try:
                yield self.read(self._label(self.basedir, name))
            except RecordError as error:
                self.leave_out(name, error)

    def _start(self, name: str, stamp: str, start: int | None) -> tuple[int, int, str]:
        """Return what sorts runs by their start, as `_age` does, in microseconds."""
        if start is None:
            changed = stamp.partition(" ")[0]
            path = os.path.join(self.basedir, name)
            start = int(changed) // 1000 if changed else int(_changed_at(path) * 1e6)
        return start, int(name) if _labels.is_number(name) else 0, name

    def output_from(self, label: Any, start: int) -> tuple[int, bytes] | None:
        folder = os.path.join(self.basedir, _labels.folder_of(label))
        if os.path.isdir(os.path.join(folder, PIECES)):
            return None  # the output lies in several files
        return end_of_file(os.path.join(folder, "cout.txt"), start)

    def indexed(self) -> FileIndex:
        """Bring the index up to date with all runs, and return it."""
        index = self._open_index()
        index.answer(self._listed(self.basedir), None)
        return index

    def _open_index(self) -> FileIndex:
        if self._index is None:
            from capture.observers._file_index import FileIndex

            root = self.basedir
            self._index = FileIndex(root, self._private, lambda name: self._label(root, name), _is_run)
        return self._index

    def folder(self, run: Any, binned: bool = False) -> str:
        """Return the path of a run's folder; see `get`."""
        check_format(self.basedir)
        return os.path.join(self._root(binned), _labels.folder_of(self.resolve(run, binned)))

    def folders(self, binned: bool = False) -> list[str]:
        """Return the paths of the folders of all runs, oldest run first."""
        root = self._root(binned)
        return [os.path.join(root, name) for name in self._names(root)]

    def uid_of(self, folder: str) -> str:
        """Return the uid of the run in a folder, "" if it has none."""
        return self._uid(*os.path.split(folder))

    # The folders of the store.

    def _root(self, binned: bool) -> str:
        return self._bin if binned else self.basedir

    def _listed(self, root: str) -> list[str]:
        """Return the names of what may be the folders of runs, in no order."""
        try:
            return [name for name in os.listdir(root) if name[0] not in "_."]
        except FileNotFoundError:
            return []

    def _names(self, root: str) -> list[str]:
        """Return the names of the folders of runs, oldest run first."""
        names = [name for name in self._listed(root) if self._has_run(os.path.join(root, name))]
        if all(_labels.is_number(name) for name in names):
            return sorted(names, key=int)
        return sorted(names, key=lambda name: self._age(root, name))

    def _has_run(self, path: str) -> bool:
        """Say whether a run lies in a folder; of one that did, it is remembered."""
        if path not in self._seen:
            if not _is_run(path):
                return False
            self._seen.add(path)
        return True

    def _age(self, root: str, name: str) -> tuple[str, int, str]:
        """Return what sorts runs by their start."""
        path = os.path.join(root, name)
        if path in self._ages:
            return self._ages[path]
        number = int(name) if _labels.is_number(name) else 0
        run, capture = _readable(path, "run.json"), _readable(path, EXTENSION)
        started = run.get("start_time") or (capture.get("times") or {}).get("queued")
        if not isinstance(started, str):
            from capture.moments import datetime, timezone

            started = naive(datetime.fromtimestamp(_changed_at(path), timezone.utc))
        age = (started[:26], number, name)
        if isinstance(run.get("start_time"), str):
            self._ages[path] = age
        return age

    def _label(self, root: str, name: str) -> str:
        """Return the label of the run in a folder."""
        if _labels.is_number(name):
            return name
        return str(decode(_readable(os.path.join(root, name), EXTENSION).get("label", name)))

    def _uid(self, root: str, name: str) -> str:
        return str(decode(_readable(os.path.join(root, name), EXTENSION).get("uid") or ""))

    def noted_uid(self, name: str) -> str:
        """Return the uid that a writer has noted for the run in the folder `name`; "" if none has."""
        if self._noted is None:
            self._noted = {}
            folder = os.path.join(self._private, "uids")
            for uid in os.listdir(folder) if os.path.isdir(folder) else ():
                path = find_uid(self.basedir, uid)
                if path is not None:
                    self._noted[os.path.basename(path)] = uid
        return self._noted.get(name, "")

    # Files that records list.

    def inside(self, path: str) -> str | None:
        """Return a path if it lies in the store: a record must not make it show other files."""
        real = os.path.realpath(path)
        return path if any(real.startswith(place + os.sep) for place in self.places) else None


class _LocalFolder(Folder):
    """A folder on this machine. Its documents are read once."""

    def __init__(self, path: str, reader: FileStoreReader) -> None:
        self.path = self.name = path
        self._reader = reader
        self._documents: dict[str, Any] = {}
        self._losses: list[Loss] | None = None

    def document(self, name: str) -> Any:
        if name not in self._documents:
            try:
                self._documents[name] = read_document(os.path.join(self.path, FILES[name]))
            except (FileNotFoundError, NotADirectoryError):
                self._documents[name] = None
        return self._documents[name]

    def check(self) -> None:
        """Raise a RecordError if there is no record in the folder."""
        if not isinstance(self.document("run"), dict):
            try:
                left = sorted(os.listdir(self.path))
            except FileNotFoundError:
                raise RecordError(f"{self.path} was deleted, or moved into the bin, while it was looked at") from None
            raise RecordError(
                f"{os.path.join(self.path, 'run.json')} is missing or is not a record: the run was cut off before it"
                " was written\n  what is left:  "
                + ", ".join(left)
                + "\n  to go on: look at these files; capture rm puts the run into the bin as it is"
            )

    def losses(self) -> list[Loss]:
        if self._losses is None:
            found = losses(self.path, self.part("run"), self.part("capture"), self._is_noted)
            if found:  # somebody may change, or move, the run at this moment
                root, name = os.path.split(self.path)
                run, capture = _readable(self.path, FILES["run"]), _readable(self.path, EXTENSION)
                found = losses(self.path, run, capture or None, self._is_noted) if run else []
                if found and root == self._reader.basedir:
                    self._reader.note_damage(name, found)
            self._losses = found
        return self._losses

    def _is_noted(self) -> bool:
        return bool(self._reader.noted_uid(os.path.basename(self.path)))

    def noted_uid(self) -> str:
        run = self.part("run")
        if not isinstance(run, dict) or not lacks_extension(self.part("capture")):
            return ""
        return self._reader.noted_uid(os.path.basename(self.path)) if is_ours(self.path, run, self._is_noted) else ""

    def output(self) -> str:
        self.losses()
        copied = read_copied(self.path, "cout.txt")
        if copied is not None:
            return copied.decode("utf-8", "replace")
        try:
            with open(os.path.join(self.path, "cout.txt"), "rb") as stream:
                return stream.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def series(self) -> Mapping[str, Series]:
        self.losses()
        return StoredSeries(self.path)

    def summary(self) -> Mapping[str, dict[str, Any]]:
        lines = os.path.join(self.path, LINES)
        if not os.path.exists(lines) or os.path.exists(os.path.join(self.path, PIECES)):
            raise KeyError("summary")
        return summary_so_far(lines, 0, {})[0]  # without keeping the points, which may be millions

    def opener(self, kind: str, stored: str) -> Callable[[], BinaryIO] | None:
        base = self.path if kind == "artifacts" else self._reader.basedir
        path = stored if os.path.isabs(stored) else os.path.join(base, *stored.split("/"))
        return None if self._reader.inside(path) is None else opener(path)

    def sacreds(self, kind: str, name: str, stored: str) -> tuple[int | None, Callable[[], BinaryIO] | None]:
        if kind == "artifacts":
            candidates = [os.path.join(self.path, stored)]
        else:  # the store may have moved since
            candidates = [
                os.path.join(self._reader.basedir, stored),
                stored,
                os.path.join(self._reader.basedir, f"_{kind}", os.path.basename(stored)),
                os.path.join(self.path, os.path.basename(name)),  # a queued run keeps its sources with it
            ]
        for path in candidates:
            if os.path.isfile(path) and self._reader.inside(path):
                return os.stat(path).st_size, opener(path)
        return None, None


class _Page:
    """Runs that the index tells of together; what one of them is asked for, the next will be.

    JSON is read of all of them at once, which takes less time than one by one.
    """

    def __init__(self, index: FileIndex, names: list[str]) -> None:
        self._index, self._names = index, names
        self._parsed: dict[str, dict[str, Any]] = {}
        self.rows: dict[str, dict[str, Any]] = index.rows(names)
        stale = index.overwritten(self.rows)
        if stale:
            index.forget(stale)
            for name in stale:
                del self.rows[name]

    def parsed(self, name: str, column: str) -> Any:
        """Return what the JSON in a column of a run says, which who asks may keep and change."""
        if column not in self._parsed:
            texts = {each: row[column] for each, row in self.rows.items() if row[column] is not None}
            self._parsed[column] = dict(zip(texts, plainjson.loads_each(texts.values())))
        text = self.rows[name][column]
        found = self._parsed[column].pop(name, text)
        return plainjson.loads(text) if found is text else found  # it is damaged, or was asked for before

    def column(self, name: str, column: str) -> Any:
        """Return what the index has of a run in a further column; KeyError if it does not know the run any more."""
        row = self.rows[name]
        if column not in row:
            for other, found in self._index.rows(self._names, (column, "stamp")).items():
                if other in self.rows and self.rows[other]["stamp"] == found["stamp"]:
                    self.rows[other][column] = found[column]
        return row[column]


class _IndexedFolder(_LocalFolder):
    """A folder of which the index knows the small documents; the others are read when they are asked for."""

    def __init__(self, path: str, reader: FileStoreReader, page: _Page, row: dict[str, Any]) -> None:
        super().__init__(path, reader)
        self._page, self._row = page, row
        self._parts: dict[str, Any] = {}
        self._more: Any = None

    def known(self, name: str) -> Any:
        if name in _KNOWN:
            if self._more is None:
                if self._row["more"] is None:
                    return MISSING
                self._more = self._page.parsed(self._row["name"], "more")
            found = self._more[name]
            return _moment(found) if name in _TIMES and found is not None else decode(found)
        if name == "config":
            return self._decoded("config")
        found = self._row[name] if name == "status" or name == "command" else None
        return MISSING if found is None else found

    def part(self, name: str) -> Any:
        if name not in self._parts:
            if name == "info":
                return self.document(name)
            try:
                text = self._row[name] if name == "config" else self._page.column(self._row["name"], name)
            except KeyError:
                return self.document(name)
            self._parts[name] = None if text is None else plainjson.loads(text)
        return self._parts[name]

    def summary(self) -> Mapping[str, dict[str, Any]]:
        return self._decoded("summary")

    def _decoded(self, column: str) -> Any:
        data = self._page.parsed(self._row["name"], column)
        return data if is_untagged(self._row[column]) else decode(data)


def _moment(text: str) -> datetime:
    from capture.moments import datetime

    return datetime.fromisoformat(text)


def _changed_at(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:  # it was deleted meanwhile
        return 0.0


def _readable(folder: str, file: str) -> dict[str, Any]:
    """Return a document, or nothing where it cannot be read: who reads the run is told why."""
    try:
        data = read_document(os.path.join(folder, file))
    except (FileNotFoundError, NotADirectoryError, RecordError):
        return {}
    return data if isinstance(data, dict) else {}


def _is_run(folder: str) -> bool:
    """Say whether a folder is that of a run. One that was just made, with nothing in it, is not one yet.

    A config.json says so only in a folder with a number: `save_config` writes such a file beside other things.
    """
    if any(os.path.exists(os.path.join(folder, name)) for name in ("run.json", EXTENSION)):
        return True
    return os.path.basename(folder).isdigit() and os.path.exists(os.path.join(folder, "config.json"))
