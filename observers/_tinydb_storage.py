"""The store as TinyDB sees it: a `Storage` that reads what runs write, and changes it under the lock of the store.

What TinyDB writes is compared with what it had read, and only the differences are written: runs that began or ended
meanwhile are neither lost nor set back.
"""

from __future__ import annotations

import os
from functools import partial

from capture import plainjson
from capture.errors import ObserverError
from capture.observers import _atomic
from capture.observers._tinydb_file import dump_entry, key_of
from capture.observers._tinydb_snapshot import Snapshot
from capture.observers._tinydb_store import TinyStore, name_of
from capture.observers._tinydb_values import from_stored, handle, to_stored
from capture.records import LazyMapping

try:
    from tinydb import TinyDB
    from tinydb.middlewares import Middleware
    from tinydb.storages import Storage
    from tinydb.table import Table
except ImportError as error:
    raise ObserverError(
        "to search a TinyDB store with TinyDB's queries, the package tinydb is needed"
        "\n  to install it:  pip install 'experiment-capture[tinydb]'"
    ) from error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

TABLE = "runs"


class MetadataStorage(Storage):
    """Reads and writes the table of the runs, in its stored form.

    Parameters
    ----------
    root : str
    snapshot : Snapshot, optional
        That of a reader, whose `TinyDB` changes nothing.
    """

    def __init__(self, root: str, snapshot: Snapshot | None = None) -> None:
        self._store = TinyStore(root)
        self._is_read_only = snapshot is not None
        self._snapshot = snapshot or Snapshot(self._store)
        self._given: dict[str, dict[str, Any]] = {}

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the tables; runs that are not in ``metadata.json`` yet follow with numbers of their own."""
        rows = self._snapshot.rows()
        found = {row.number: row.entry for row in rows if row.number}
        largest = max(map(int, found), default=0)
        for row in rows:
            if not row.number:
                number = str(row.label) if isinstance(row.label, int) else ""
                if not number or number in found:
                    largest += 1
                    number = str(largest)
                largest = max(largest, int(number))
                found[number] = row.entry
        ordered = {number: found[number] for number in sorted(found, key=int)}
        if not self._is_read_only:
            self._given = {number: plainjson.loads(dump_entry(entry)) for number, entry in ordered.items()}
            ordered = {number: plainjson.loads(dump_entry(entry)) for number, entry in ordered.items()}
        return {TABLE: ordered}

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        """Write what differs from what was read."""
        if self._is_read_only:
            raise ObserverError(f"a reader changes nothing in {self._store.root}; an observer's `runs` can")
        if set(data) - {TABLE}:
            raise ObserverError(f"{self._store.root} holds the table {TABLE!r} only, not {sorted(set(data) - {TABLE})}")
        table = data.get(TABLE, {})
        self._store.make()
        with self._store.lock():
            changes: dict[bytes, Any] = {}
            numbers: dict[bytes, int] = {}
            for number, document in table.items():
                before = self._given.get(number)
                if before is None:
                    key = key_of(document.setdefault("_id", int(number)))
                    changes[key] = lambda _number, document=document: dump_entry(document)
                    numbers[key] = int(number)
                elif document != before:
                    self._change(before, document, changes)
            for number in self._given.keys() - table.keys():
                before = self._given[number]
                _atomic.remove(os.path.join(self._store.live, name_of(before.get("_id")) + ".json"))
                changes[key_of(before.get("_id"))] = None
            if changes:
                self._store.rewrite(changes, numbers)

    def _change(self, before: dict[str, Any], after: dict[str, Any], changes: dict[bytes, Any]) -> None:
        """Change one run as it is now in the same way."""
        entry_id = before.get("_id")
        name = name_of(entry_id)
        changed = {key: value for key, value in after.items() if key not in before or before[key] != value}
        removed = before.keys() - after.keys()
        with _atomic.Lock(os.path.join(self._store.runs, name)):
            is_live = os.path.exists(self._store.place(name))
            entry = self._store.load(name, entry_id) or {}
            new = {key: value for key, value in {**entry, **changed}.items() if key not in removed}
            if is_live:
                self._store.save(name, new)
            changes[key_of(entry_id)] = lambda _number: dump_entry(new)


class Decoding(Middleware):
    """Gives values as they were, and stores them as Sacred's layout does.

    For who only reads, a value is decoded when it is looked at.
    """

    def __init__(self, storage: Storage, store: TinyStore, only_reads: bool) -> None:
        super().__init__(lambda: storage)
        self.storage = storage
        self._open = partial(TinyFile, store)
        self._only_reads = only_reads

    def read(self) -> dict[str, dict[str, Any]]:
        tables = self.storage.read() or {}
        return {name: {number: self._decoded(each) for number, each in table.items()} for name, table in tables.items()}

    def _decoded(self, document: dict[str, Any]) -> dict[str, Any]:
        if self._only_reads:
            return RunDocument(document, opener=self._open)
        return {key: from_stored(value, self._open) for key, value in document.items()}

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        self.storage.write(
            {
                name: {str(number): _stored(dict(document)) for number, document in table.items()}
                for name, table in data.items()
            }
        )


def _stored(value: Any) -> Any:
    """Return the stored form of a value that may hold files of the store."""
    if isinstance(value, TinyFile):
        return handle(value.hash)
    if type(value) is list:
        return [_stored(item) for item in value]
    if type(value) is dict:
        return {key: _stored(item) for stored, item in value.items() for key in to_stored({stored: None})}
    return to_stored(value)


class TinyFile:
    """A stored file in a document, opened when it is first used; so a document may name more than can be open.

    Attributes
    ----------
    hash : str
        Its address: the MD5 of its bytes.
    name : str
        Where it lies.
    """

    mode = "rb"

    def __init__(self, store: TinyStore, address: str) -> None:
        self.hash = address
        is_address = bool(address) and not address.strip("0123456789abcdef")
        self.name = store.path_of(address) if is_address else os.devnull
        self._stream: BinaryIO | None = None

    def _opened(self) -> BinaryIO:
        if self._stream is None:
            self._stream = open(self.name, "rb")  # noqa: SIM115 - closed by who reads it, or when it is forgotten
        return self._stream

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._opened(), name)

    def __iter__(self) -> Any:
        return iter(self._opened())

    def __enter__(self) -> Any:
        return self._opened().__enter__()

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def __copy__(self) -> TinyFile:
        return self.__deepcopy__({})

    def __deepcopy__(self, _memo: Any) -> TinyFile:
        new = TinyFile.__new__(TinyFile)
        new.hash, new.name, new._stream = self.hash, self.name, None
        return new

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TinyFile) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def __repr__(self) -> str:
        return f"TinyFile({self.hash!r})"


class Files:
    """The stored files of a store, by address, as far as Sacred's users ask a HashFS.

    Attributes
    ----------
    root : str
    """

    def __init__(self, store: TinyStore) -> None:
        self._store = store
        self.root = store.hashfs

    def get(self, address: str) -> str | None:
        """Return the path of a stored file, or None."""
        path = self._store.path_of(address)
        return path if os.path.isfile(path) else None

    def exists(self, address: str) -> bool:
        """Say whether there is such a file."""
        return self.get(address) is not None

    def open(self, address: str, mode: str = "rb") -> BinaryIO:
        """Open a stored file for reading; FileNotFoundError if there is none."""
        if mode != "rb":
            raise ValueError(f"stored files are opened with mode 'rb', not {mode!r}")
        return open(self._store.path_of(address), "rb")


class RunDocument(LazyMapping):
    """A document whose values are decoded when somebody asks for them.

    Parameters
    ----------
    document : dict or RunDocument
        In its stored form; another such document is copied.
    doc_id : int
    opener : callable, optional
        Gives what stands for a stored file.
    """

    def __init__(self, document: Any, doc_id: int = 0, opener: Any = None) -> None:
        if isinstance(document, RunDocument):
            document, opener = document._stored, document._opener
        self._stored: dict[str, Any] = document
        self._opener = opener
        super().__init__(document, lambda name: from_stored(document[name], opener))
        self.doc_id = doc_id


class _LazyTable(Table):
    document_class = RunDocument  # type: ignore[assignment]


def open_db(root: str, snapshot: Snapshot | None = None) -> TinyDB:
    """Return a `TinyDB` of the store; with a reader's snapshot it changes nothing."""
    only_reads = snapshot is not None

    class _Db(TinyDB):
        table_class = _LazyTable if only_reads else Table
        default_table_name = TABLE

    db = _Db(storage=lambda: Decoding(MetadataStorage(root, snapshot), TinyStore(root), only_reads))
    db.table(TABLE, cache_size=0)  # TinyDB remembers answers until it writes itself; here others write
    return db
