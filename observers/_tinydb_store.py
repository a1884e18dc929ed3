"""The folder of a TinyDB store: where a run lies, and how it gets into ``metadata.json``.

::

    runs_db/
    ├── metadata.json             TinyDB's: the table "runs", see `_tinydb_file`
    ├── hashfs/ab/cd/ef/...       files, once for all runs, by their MD5
    └── _capture/                 the store's own
        ├── live/LABEL.json       entries that are newer than metadata.json's, or not in it yet
        ├── runs/LABEL/           measurements, output and large facts of a run; making this folder takes the label
        ├── bin/LABEL.json        entries out of sight
        ├── uids/UID              which run has it
        └── next_id, lock, format.json, spool/, purged/, taken/

A run that goes on is a small file of its own, replaced whenever something changed, so that this costs the same with
ten runs and with ten thousand, and writers do not wait for each other. When it ends it is settled: under a lock, what
lies in ``live`` is copied into ``metadata.json``. Until that is on the disk, the file in ``live`` stays.
"""

from __future__ import annotations

import os
import time

from capture import plainjson
from capture._version import __version__
from capture.errors import ObserverError, RecordError
from capture.locks import LocksUnsupportedError, try_lock
from capture.observers import _atomic, _labels, _names
from capture.observers._tinydb_file import NAME, dump_entry, key_of, read_lines, rewrite
from capture.observers._writing import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from capture.observers._tinydb_file import Changes
    from capture.observers._writing import Blob

FORMAT = 1
PRIVATE = "_capture"
FILES = "hashfs"

_PATIENCE_S = 10.0  #: how long a writer waits for others that change metadata.json
_EXIT_PATIENCE_S = 2.0  #: and a process that exits
_ABANDONED_S = 60.0  #: after which a lock is nobody's where the file system cannot lock: a change takes a second
_LEFT_S = 3_600.0  #: after which a half-written file is nobody's, also where the clocks of machines disagree
_SMALL = 2_000_000  #: bytes of metadata.json that are written anew whenever a run ends
_BYTES_PER_S = 20e6  #: of a longer one, as an average over a burst of runs: a few hundredths of what a disk can do
_FORGOTTEN_S = 86_400.0  #: after which a run that says nothing is kept in metadata.json alone


class StoreLock(_atomic.Lock):
    """Lets one process at a time change ``metadata.json``.

    `flock` costs a few microseconds and no import, is freed by the kernel when its holder dies, and on NFS is passed on
    to the server, so that other machines see it. Where a file system has no locks at all, a file that only one can make
    stands in for it.

    Parameters
    ----------
    path : str
    shared : bool
    patience_s : float

    Raises
    ------
    TimeoutError
        If another holds on to it for longer than `patience_s`.
    """

    def __init__(self, path: str, shared: bool = False, patience_s: float = _PATIENCE_S) -> None:
        super().__init__(path, patience_s)
        self._shared = shared
        self._stand_in = ""

    def __enter__(self) -> StoreLock:
        deadline, pause = time.monotonic() + self._patience_s, 0.0005
        try:
            self._descriptor = os.open(self._path, os.O_RDWR)
        except FileNotFoundError:
            try:
                self._descriptor = _atomic.create(self._path, self._shared)
            except FileExistsError:
                self._descriptor = os.open(self._path, os.O_RDWR)
        while not self._try():
            if time.monotonic() > deadline:
                self.__exit__()
                raise TimeoutError(f"{self._path} is held by another process for more than {self._patience_s:g} s")
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        return self

    def _try(self) -> bool:
        try:
            self._is_locked = try_lock(self._descriptor)
            return self._is_locked
        except LocksUnsupportedError:
            return self._try_stand_in()

    def _try_stand_in(self) -> bool:
        path = self._path + ".held"
        try:
            os.close(_atomic.create(path, self._shared))
        except FileExistsError:
            if _age_s(path) > _ABANDONED_S:
                _atomic.remove(path)
            return False
        self._stand_in = path
        return True

    def __exit__(self, *_error: object) -> None:
        if self._stand_in:
            _atomic.remove(self._stand_in)
            self._stand_in = ""
        super().__exit__()


class TinyStore:
    """The files of one store.

    Parameters
    ----------
    root : path
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.path.abspath(root)
        self.metadata = os.path.join(self.root, NAME)
        self.hashfs = os.path.join(self.root, FILES)
        self.private = os.path.join(self.root, PRIVATE)
        self.live, self.bin = self.inner("live"), self.inner("bin")
        self.runs, self.uids = self.inner("runs"), self.inner("uids")
        self.shared = False  #: whether it belongs to a group; known once it was made

    def inner(self, *names: str) -> str:
        """Return a path in the store's own folder."""
        return os.path.join(self.private, *names)

    def make(self) -> None:
        """Make the folders where they are missing.

        Raises
        ------
        ObserverError
            If the store was written by a later version of this library, in a format that this one does not know.
        """
        _atomic.ensure_folder(self.root)
        self.shared = _atomic.is_shared(self.root)
        marker = self.inner("format.json")
        if os.path.exists(marker):
            self.check_format()
            return
        for folder in (self.private, self.live, self.runs, self.uids):
            _atomic.ensure_folder(folder, self.shared)
            if self.shared:
                _atomic.open_to_group(folder)  # a spool that came first knows nothing of groups
        _atomic.write(marker, f'{{"format": {FORMAT}, "made_by": "capture {__version__}"}}\n'.encode(), self.shared)

    def check_format(self) -> None:
        """Refuse a store that a later version of this library made and that this one would misread."""
        marker = read_json(self.inner("format.json"))
        if isinstance(marker, dict) and marker.get("format", FORMAT) > FORMAT:
            raise ObserverError(
                f"{self.root} has format {marker.get('format')}, made by {marker.get('made_by')};"
                f" this version ({__version__}) knows {FORMAT}.\n  to use it: upgrade capture"
            )

    def lock(self, patience_s: float = _PATIENCE_S) -> StoreLock:
        """Return the lock under which ``metadata.json`` changes."""
        return StoreLock(self.inner("lock"), self.shared, patience_s)

    # Labels.

    def take_label(self, asked: Any) -> tuple[str, Any] | None:
        """Take the label asked for, or with None the next number: return the run's folder name and its label.

        None if the label is taken.
        """
        self._reserve_foreign()
        if asked is None:
            name = _labels.take_number(self.runs, self.private, self.shared)
            return name, int(name)
        label = as_label(asked)
        name = _labels.folder_of(label)
        taken = _labels.take_name(self.runs, self.private, self.shared, name)
        return (name, label) if taken else None

    def is_purged(self, name: str) -> bool:
        """Say whether the run with this folder name was deleted for good."""
        return os.path.exists(os.path.join(self.private, "purged", name))

    def _reserve_foreign(self) -> None:
        """Take the ids of runs that others put into ``metadata.json`` since we looked last: no run gets them."""
        now = _atomic.signature(self.metadata)
        if not now or self._seen() == now:
            return
        try:
            for line in read_lines(self.metadata)[1]:
                if line.key is not None:
                    _atomic.ensure_folder(self.folder(plainjson.loads(line.key)), self.shared)
        except RecordError as error:  # others broke it; that must keep no run from being stored
            log().error("Runs are stored, but wait in %s until this is mended: %s", self.live, error)
            return
        self._see(now)

    def _seen(self) -> tuple[int, ...]:
        try:
            with open(self.inner("seen"), encoding="ascii") as stream:
                return tuple(int(part) for part in stream.read().split())
        except (FileNotFoundError, ValueError):
            return ()

    def _see(self, what: tuple[int, ...]) -> None:
        _atomic.write(self.inner("seen"), " ".join(map(str, what)).encode("ascii"), self.shared)

    def folder(self, entry_id: Any) -> str:
        """Return the folder of the run whose stored id this is."""
        return os.path.join(self.runs, name_of(entry_id))

    def note_uid(self, uid: str, name: str, label: Any, takes_over: bool = False) -> None:
        """Note which run has a uid, before anything is written of it: a start that is told twice finds it."""
        path = os.path.join(self.uids, _names.safe_component(uid))
        noted = [name, label, True] if takes_over else [name, label]
        _atomic.write(path, plainjson.dumps(noted).encode("ascii"), self.shared)

    def by_uid(self, uid: str) -> tuple[str, Any, bool] | None:
        """Return of the run with this uid, also in the bin, folder name, label, and whether that was another run's.

        None if there is none.
        """
        noted = read_json(os.path.join(self.uids, _names.safe_component(uid)))
        if not isinstance(noted, list) or len(noted) < 2 or not os.path.isdir(os.path.join(self.runs, str(noted[0]))):
            return None
        return str(noted[0]), noted[1], len(noted) > 2

    def take_once(self, name: str, uid: str | None) -> bool:
        """Say whether the run of this uid is the first that wants to take over a queued one."""
        taken = os.path.join(self.inner("taken"), name)
        _atomic.ensure_folder(os.path.dirname(taken), self.shared)
        new = _atomic.temporary(os.path.dirname(taken))
        _atomic.write(new, plainjson.dumps(uid).encode("ascii"), self.shared)
        try:
            _atomic.place(new, taken, replace=False)
        except FileExistsError:
            return uid is not None and read_json(taken) == uid  # it died before it could say more
        finally:
            _atomic.remove(new)
        return True

    def clear(self, name: str) -> None:
        """Delete what lies beside the entry of a run that is replaced."""
        folder = os.path.join(self.runs, name)
        for each in os.listdir(folder):
            _atomic.remove(os.path.join(folder, each))

    # Entries.

    def place(self, name: str) -> str:
        """Return the file in which the entry of a run is changed: that in the bin, or else in ``live``."""
        binned = os.path.join(self.bin, name + ".json")
        return binned if os.path.exists(binned) else os.path.join(self.live, name + ".json")

    def load(self, name: str, entry_id: Any) -> dict[str, Any] | None:
        """Return the entry of a run, from wherever it lies; None if there is none."""
        entry = read_json(self.place(name))
        return entry if isinstance(entry, dict) else self.settled(entry_id)

    def settled(self, entry_id: Any) -> dict[str, Any] | None:
        """Return the entry that ``metadata.json`` has of a run, or None."""
        key = key_of(entry_id)
        for line in read_lines(self.metadata)[1]:
            if line.key == key:
                return plainjson.loads(line.data)
        return None

    def save(self, name: str, entry: dict[str, Any]) -> tuple[int, ...]:
        """Write the entry of a run, but not into ``metadata.json``; return the file's signature."""
        place = self.place(name)
        _atomic.write(place, dump_entry(entry) + b"\n", self.shared)
        return _atomic.signature(place)

    def settle_in_time(self) -> bool:
        """Settle, unless that was done a moment ago and would cost much; then it is done with the next run that ends.

        A sweep of short runs, or a copy of ten thousand, would else write a long file ten thousand times. What is left
        when the process exits is settled then.

        Returns
        -------
        bool
            Whether it was done.
        """
        try:
            found = os.stat(self.metadata)
        except FileNotFoundError:
            return self.settle()
        if found.st_size < _SMALL or not 0 <= time.time() - found.st_mtime < found.st_size / _BYTES_PER_S:
            _waiting.pop(self.root, None)
            return self.settle()
        if not _waiting:
            import atexit

            atexit.unregister(settle_waiting)
            atexit.register(settle_waiting)
        _waiting[self.root] = self
        return False

    def settle(self, patience_s: float = _PATIENCE_S) -> bool:
        """Copy all that lies in ``live`` into ``metadata.json``, and take away what belongs to ended runs.

        Returns
        -------
        bool
            False if another process keeps it from being done now: it, or the next run that ends, takes this along.
        """
        try:
            with self.lock(patience_s):
                self._settle()
        except TimeoutError as error:
            log().warning("Ended runs wait in %s: %s", self.live, error)
            return False
        except RecordError as error:
            log().error("Ended runs wait in %s until this is mended: %s", self.live, error)
            return False
        return True

    def _settle(self) -> None:
        changes: dict[bytes, Any] = {}
        numbers: dict[bytes, int] = {}
        done: list[tuple[str, tuple[int, ...]]] = []
        for path in self.live_files():
            known = _atomic.signature(path)
            try:
                entry = read_json(path)
            except RecordError as error:  # a power cut may leave an empty one, which is no matter of the other runs
                log().error("A run was left out: %s", error)
                continue
            if not isinstance(entry, dict) or os.path.exists(os.path.join(self.bin, os.path.basename(path))):
                continue  # it just went away
            key, data = key_of(entry.get("_id")), dump_entry(entry)
            changes[key] = lambda _number, data=data: data
            numbers[key] = entry["_id"] if isinstance(entry.get("_id"), int) else 0
            if has_ended(entry) or time.time() - known[1] / 1e9 > _FORGOTTEN_S:
                done.append((path, known))
        if not changes:
            return
        self.rewrite(changes, numbers)
        for path, known in done:
            # A writer that has more to say replaces the file under this lock.
            with _atomic.Lock(os.path.join(self.runs, os.path.basename(path)[: -len(".json")])):
                if _atomic.signature(path) == known:
                    _atomic.remove(path)

    def rewrite(self, changes: Changes, numbers: dict[bytes, int] | None = None) -> None:
        """Change ``metadata.json``; whoever calls holds the lock."""
        for folder in (self.root, self.live):
            remove_leftovers(folder)
        before = _atomic.signature(self.metadata)
        known = not before or self._seen() == before
        rewrite(self.metadata, changes, numbers or {}, self.shared)
        if known:  # else there may be runs of others in it, at which the next that starts looks
            self._see(_atomic.signature(self.metadata))

    def live_files(self) -> list[str]:
        """Return the paths of the entries that lie in ``live``."""
        return _documents_in(self.live)

    def binned_files(self) -> list[str]:
        """Return the paths of the entries in the bin."""
        return _documents_in(self.bin)

    # Files.

    def path_of(self, address: str) -> str:
        """Return where a stored file lies: three folders of two characters, then the rest of its address."""
        parts = [address[0:2], address[2:4], address[4:6], address[6:]]
        return os.path.join(self.hashfs, *[part for part in parts if part])

    def bring(self, address: str, blob: Blob) -> bool:
        """See that the bytes of a file lie under its address; false if others do."""
        path = self.path_of(address)
        try:
            return os.stat(path).st_size == blob.size
        except FileNotFoundError:
            pass
        _atomic.ensure_folder(os.path.dirname(path), self.shared)
        try:
            _atomic.take(blob.open, path, blob.digest, self.shared)
        except FileExistsError:  # another run stored it just now
            return os.stat(path).st_size == blob.size
        return True


_waiting: dict[str, TinyStore] = {}  # stores of this process in which ended runs wait to be settled


def settle_waiting() -> None:
    """Settle the stores in which runs of this process wait for that; what cannot be done now, the next run does."""
    while _waiting:
        store = _waiting.popitem()[1]
        try:
            store.settle(_EXIT_PATIENCE_S)
        except OSError as error:
            log().warning("Ended runs wait in %s: %s", store.live, error)


def _documents_in(folder: str) -> list[str]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(os.path.join(folder, name) for name in names if name.endswith(".json") and name[0] != ".")


def _age_s(path: str) -> float:
    try:
        return time.time() - os.stat(path).st_mtime
    except FileNotFoundError:
        return 0.0


def remove_leftovers(folder: str, age_s: float = _LEFT_S) -> None:
    """Remove half-written files whose writers died: those that are older than `age_s`."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name.startswith(_names.TEMPORARY) and _age_s(path) >= age_s:
            _atomic.remove(path)


def as_label(asked: Any) -> Any:
    """Return the label for what somebody asked for: a number where it is written as one, else text.

    Examples
    --------
    >>> as_label("17"), as_label(17), as_label("baseline"), as_label("017")
    (17, 17, 'baseline', '017')
    """
    text = str(asked)
    return int(text) if _labels.is_number(text) and len(text) < 16 else text


def name_of(entry_id: Any) -> str:
    """Return the name under which the store keeps what belongs to the run with this stored id."""
    from capture.codec import decode

    return _labels.folder_of(decode(entry_id))


def has_ended(entry: dict[str, Any]) -> bool:
    return bool(entry.get("stop_time"))


def read_json(path: str) -> Any:
    """Return what a file of the store holds, or None if it is not there."""
    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return plainjson.loads(data)
    except ValueError as error:
        raise RecordError(
            f"{path} is not readable as JSON: {error}\n  to go on without it: delete it or move it away"
        ) from error


def lines_of(store: TinyStore) -> Iterator[Any]:
    """Yield the documents of ``metadata.json``."""
    return read_lines(store.metadata)[1]
