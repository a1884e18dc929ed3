# A hook may take a subset of its arguments: a rule that the type system does not know.
# mypy: disable-error-code="override"

"""The TinyDB store, in Sacred's layout: a JSON file, for people who want no server; what is new lies under ``capture``.

Several processes may write into one store. TinyDB itself is needed, and loaded, only to search: what it reads is
written here, a run at a time (see `capture.observers._tinydb_store`).
"""

from __future__ import annotations

import os
import time

from capture.observers import _atomic
from capture.observers._tinydb_run import VERSION, Entry, TinyRun
from capture.observers._tinydb_store import PRIVATE, TinyStore
from capture.observers._writing import StoreObserver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.observers._tinydb_curator import TinyDbCurator
    from capture.observers._tinydb_reader import TinyDbReader

_DEFAULT = "./runs_db"


class TinyDbObserver(StoreObserver):
    """Writes runs into a TinyDB, in Sacred's layout.

    Parameters
    ----------
    path : path
        The store, a folder; made when the first run starts. A relative path is meant from here, not from where a run
        may go.
    overwrite : str or int, optional
        The label of a run whose record is replaced by that of the run that starts next.
    priority : float

    Notes
    -----
    ``metadata.json`` has a run when it has ended, and those that go on as they were when one ended last; a
    `TinyDbReader` of this library sees all of them as they are now. Measurements lie beside it, in
    ``_capture/runs/LABEL/metrics.jsonl``, and so does what a run printed; the entry repeats the last 256 KiB of that.
    """

    VERSION = VERSION

    def __init__(
        self, path: str | os.PathLike[str] = _DEFAULT, overwrite: str | int | None = None, priority: float = 0
    ) -> None:
        self.root = os.path.abspath(path)
        self.overwrite = overwrite
        super().__init__(priority)

    def forget(self) -> None:
        super().forget()
        self._store: TinyStore | None = None
        self._db: Any = None

    @classmethod
    def create_from(
        cls, db: Any, fs: Any, overwrite: str | int | None = None, root: str | os.PathLike[str] | None = None
    ) -> TinyDbObserver:
        """Make an observer of the store that a `tinydb.TinyDB` and a HashFS are open on.

        Parameters
        ----------
        db : tinydb.TinyDB
            It goes on showing the file as it was when it was opened, since each change replaces the file: open it
            again, or use the observer's own `db`, which is always up to date.
        fs : object
            With an attribute ``root``: the folder ``hashfs``.
        overwrite : str or int, optional
        root : path, optional
            The store; default: the folder above that of `fs`.
        """
        folder = root if root is not None else os.path.dirname(os.path.abspath(fs.root))
        return cls(folder, overwrite)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> TinyDbObserver:
        """Make an observer from ``tinydb:///absolute/path`` or ``tinydb:relative``."""
        return cls(path_of(url), **options)

    @classmethod
    def from_argument(cls, text: str) -> TinyDbObserver:
        """Make an observer from what follows ``-t`` on the command line: a folder."""
        return cls(os.path.expanduser(text))

    @classmethod
    def reader(cls, url: str) -> TinyDbReader:
        """Return a reader of the store at `url`."""
        from capture.observers._tinydb_reader import TinyDbReader

        return TinyDbReader(path_of(url))

    @classmethod
    def curator(cls, url: str) -> TinyDbCurator:
        """Return a curator of the store at `url`."""
        from capture.observers._tinydb_curator import TinyDbCurator

        return TinyDbCurator(path_of(url))

    @property
    def local_folder(self) -> str:
        """The store's folder: what a run spools beside it moves in without being copied."""
        return self.root

    @property
    def identity(self) -> str:
        """Name the store: ``tinydb://`` and the real path."""
        return "tinydb://" + os.path.realpath(self.root)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TinyDbObserver) and self.root == other.root

    def __hash__(self) -> int:
        return hash(self.root)

    def __repr__(self) -> str:
        return f"TinyDbObserver({self.root!r})"

    def transient(self, error: BaseException) -> bool:
        """Say whether `error` may pass: a full disk, a file system that is away, too many open files."""
        return super().transient(error) or (isinstance(error, OSError) and error.errno in _atomic.PASSING)

    # What Sacred's observer shows.

    @property
    def db(self) -> Any:
        """The store as a `tinydb.TinyDB`, in which one may search, and change what others do not write."""
        if self._db is None:
            from capture.observers._tinydb_storage import open_db

            self._db = open_db(self.root)
        return self._db

    @property
    def runs(self) -> Any:
        """The table of the runs."""
        return self.db.table("runs")

    @property
    def fs(self) -> Any:
        """The stored files, with ``get``, ``open`` and ``exists`` by their MD5."""
        from capture.observers._tinydb_storage import Files

        return Files(self._opened())

    @property
    def run_entry(self) -> dict[str, Any] | None:
        """The entry of the run that was told of last."""
        return None if self._last is None else self._last.documents.document()

    # Runs.

    def _opened(self) -> TinyStore:
        """Make the store on first use."""
        if self._store is None:
            store = TinyStore(self.root)
            store.make()
            self._store = store
        return self._store

    def find_run(self, uid: str) -> TinyRun | None:
        if not os.path.isdir(os.path.join(self.root, PRIVATE)):
            return None
        store = self._opened()
        noted = store.by_uid(uid)
        if noted is None:
            return None
        name, label, takes_over = noted
        run = TinyRun.open(store, name, label)
        if run is not None and takes_over and run.uid != uid:  # a process died between taking the label and saying so
            return self._take_over(store, run.label, uid, replaces=run.documents.data.get("status") != "QUEUED")
        if run is None:
            from capture.codec import decode

            run = _new_run(store, name, decode(label), uid)
        return run

    def claim_run(self, uid: str | None, asked: Any, takes_over: bool) -> TinyRun:
        store = self._opened()
        if self.overwrite is not None:
            replaced = self._take_over(store, self.overwrite, uid, replaces=True)
            if replaced is not None:
                return replaced
            asked = self.overwrite if asked is None else asked
        taken = store.take_label(asked)
        if taken is None and takes_over:
            queued = self._take_over(store, asked, uid)
            if queued is not None:
                return queued
        name, label = taken or store.take_label(None)  # there is always a next number
        run = _new_run(store, name, label, uid)
        if uid is not None:
            store.note_uid(uid, name, run.documents.data["_id"])
        return run

    def _take_over(self, store: TinyStore, asked: Any, uid: str | None, replaces: bool = False) -> TinyRun | None:
        """Go on under the label of a queued run, or of one that is to be replaced; None if there is none."""
        from capture.codec import encode
        from capture.observers._tinydb_store import as_label, name_of

        entry_id = encode(as_label(asked))
        name = name_of(entry_id)
        run = TinyRun.open(store, name, entry_id)
        if run is None or (run.documents.data.get("status") != "QUEUED" and not replaces):
            return None
        if not replaces and not store.take_once(name, uid):  # of several that want it, one succeeds
            return None
        if run.uid:
            store.note_uid(run.uid, name, entry_id)  # whom that one took it from is of no matter any more
        if uid is not None:
            store.note_uid(uid, name, entry_id, takes_over=True)
        if replaces:
            store.clear(name)
            entry = Entry.new(run.label, uid or "", run.documents.own.get("created") or _now())
            run = TinyRun(store, name, entry, _atomic.signature(store.place(name)) or None)
        else:
            run.adopt(uid)
        return run

    def is_gone(self, run: Any) -> bool:
        return run.gone or not os.path.isdir(run.path)


def _new_run(store: TinyStore, name: str, label: Any, uid: str | None) -> TinyRun:
    return TinyRun(store, name, Entry.new(label, uid or "", _now()))


def _now() -> int:
    """Return the time in microseconds since the epoch."""
    return time.time_ns() // 1000


def path_of(url: str | os.PathLike[str]) -> str:
    """Return the folder that a ``tinydb:`` URL or a plain path names.

    Examples
    --------
    >>> path_of("tinydb:///data/my%20runs"), path_of("tinydb:runs_db"), path_of("runs_db")
    ('/data/my runs', 'runs_db', 'runs_db')
    """
    from capture.observers._store import path_of as path_of_file

    text = os.fspath(url)
    scheme, colon, rest = text.partition(":")
    if colon and scheme.lower() == "tinydb":
        return path_of_file("file:" + rest) if rest.strip("/") else _DEFAULT
    return os.path.expanduser(text)


def __getattr__(name: str) -> Any:
    """Give reader and curator here too, without a run having to load them."""
    if name == "TinyDbReader":
        from capture.observers._tinydb_reader import TinyDbReader

        return TinyDbReader
    if name == "TinyDbCurator":
        from capture.observers._tinydb_curator import TinyDbCurator

        return TinyDbCurator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
