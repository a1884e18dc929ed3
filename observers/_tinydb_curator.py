"""Changing what people may change in a TinyDB store."""

from __future__ import annotations

import os
import re

from capture import plainjson
from capture.errors import ObserverError, RecordError
from capture.hooks import Curator
from capture.observers import _atomic, _labels, _names
from capture.observers._tinydb_file import dump_entry, key_of, read_lines
from capture.observers._tinydb_reader import TinyDbReader
from capture.observers._tinydb_run import TinyRun
from capture.observers._tinydb_store import name_of, read_json
from capture.observers._tinydb_values import FILE
from capture.observers._writing import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: a stored file's handle, as it stands in the JSON text of an entry
_HANDLE = re.compile(re.escape(FILE.encode("ascii")) + rb'\\"([0-9a-f]+)\\"')


class TinyDbCurator(Curator):
    """Changes what people may change in a TinyDB store.

    Parameters
    ----------
    path : path
        The store, which exists.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._reader = TinyDbReader(path)
        self._store = self._reader._store
        self._is_made = False

    @property
    def root(self) -> str:
        return self._store.root

    def annotate(self, run: Any, tags: list[str] | None = None, notes: str | None = None) -> None:
        """Set tags or notes; None leaves the old ones."""
        label = self._reader.resolve(run)
        self._make()
        name, entry_id = self._place_of(label)
        writer = TinyRun.open(self._store, name, entry_id)
        assert writer is not None, "`resolve` found it"
        writer.annotated(tags, notes)
        writer.flush()

    def bin(self, run: Any) -> None:
        """Take a run out of sight: its entry moves from ``metadata.json`` into ``_capture/bin``.

        Raises
        ------
        ObserverError
            If the run is being written.
        """
        label = self._reader.resolve(run)
        if self._reader.is_alive(self._reader.read(label)):
            raise ObserverError(f"run {run} of {self.root} is still going on: stop it first")
        self._make()
        name, entry_id = self._place_of(label)
        store = self._store
        _atomic.ensure_folder(store.bin, store.shared)
        with store.lock(), _atomic.Lock(os.path.join(store.runs, name)):
            entry = store.load(name, entry_id)
            if entry is None:
                raise ObserverError(f"run {run} of {self.root} was removed just now")
            own = {**(entry.get("capture") or {}), "number": self._reader.row(label).number}
            data = dump_entry({**entry, "capture": own})
            _atomic.write(self._bin_file(name), data + b"\n", store.shared, durable=True)
            store.rewrite({key_of(entry_id): None})
            _atomic.remove(os.path.join(store.live, name + ".json"))

    def restore(self, run: Any) -> None:
        """Bring a binned run back under its label."""
        label = self._reader.resolve(run, binned=True)
        name, entry_id = self._place_of(label, binned=True)
        store = self._store
        with store.lock(), _atomic.Lock(os.path.join(store.runs, name)):
            entry = read_json(self._bin_file(name))
            if store.settled(entry_id) is not None:
                raise ObserverError(f"{self.root} has another run {label}; remove that one first")
            number = int(entry["capture"].pop("number", "") or 0)
            if not entry["capture"]:  # Sacred's entries have none
                del entry["capture"]
            store.rewrite({key_of(entry_id): lambda _number: dump_entry(entry)}, {key_of(entry_id): number})
            _atomic.remove(self._bin_file(name))

    def binned(self) -> list[Any]:
        """Return the labels of the runs in the bin, oldest first."""
        return self._reader.all_labels(binned=True)

    def purge(self, run: Any) -> None:
        """Delete a binned run for good, and the stored files that no other run uses. Its label is never given again."""
        import shutil

        label = self._reader.resolve(run, binned=True)
        name, _ = self._place_of(label, binned=True)
        store, path = self._store, self._bin_file(name)
        with open(path, "rb") as stream:
            data = stream.read()
        used, entry = _addresses(data), plainjson.loads(data)
        _labels.bury(store.private, store.shared, name)
        _atomic.remove(path)
        shutil.rmtree(os.path.join(store.runs, name), ignore_errors=True)
        uid = (entry.get("capture") or {}).get("uid")
        if isinstance(uid, str) and uid:
            _atomic.remove(os.path.join(store.uids, _names.safe_component(uid)))
        self._sweep(used)
        self._tidy_spool()

    def erase(self, value: str) -> int:
        """Replace one string everywhere in the store with asterisks, byte for byte; return the number of places.

        Looked through are the entries, the output, measurements and facts, names and notes, stored files, also binary
        ones (as UTF-8, UTF-16 and UTF-32), and the bin. Not reached: what is compressed or encrypted, labels of runs,
        what waits in journals and spools. The addresses and digests of changed files are recorded anew.

        Raises
        ------
        ValueError
            If `value` has fewer than 4 characters, which would destroy the records.
        """
        from capture.observers._tinydb_erase import erase

        self._make()
        return erase(self._store, value)

    # How.

    def _make(self) -> None:
        """Make the store's own folders: Sacred's stores have none."""
        if not self._is_made:
            self._store.make()
            self._is_made = True

    def _place_of(self, label: Any, binned: bool = False) -> tuple[str, Any]:
        """Return folder name and stored id of a run that `resolve` found; the folder is made for runs of Sacred's."""
        row = self._reader.row(label, binned)
        entry_id = row.entry.get("_id")
        name = name_of(entry_id)
        _atomic.ensure_folder(os.path.join(self._store.runs, name), self._store.shared)
        return name, entry_id

    def _bin_file(self, name: str) -> str:
        return os.path.join(self._store.bin, name + ".json")

    def _sweep(self, candidates: set[str]) -> None:
        """Delete those stored files that no run uses.

        A run may find such a file and decide to use it at this very moment. So each is moved away first, and comes back
        if a run has noted it meanwhile; a run, having noted a file, looks whether it is still there.
        """
        store = self._store
        trash = store.inner("trash")
        away: dict[str, str] = {}
        for address in sorted(candidates):
            path = store.path_of(address)
            if os.path.isfile(path):
                _atomic.ensure_folder(trash, store.shared)
                away[address] = _atomic.temporary(trash)
                os.rename(path, away[address])
        if not away:
            return
        try:
            used: set[str] | None = set().union(*map(_addresses, self._texts()))
        except RecordError as error:
            log().warning("No stored file was deleted, since what runs use cannot be read: %s", error)
            used = None
        for address, new in away.items():
            if used is not None and address not in used:
                _atomic.remove(new)
                self._remove_empty(store.path_of(address))
            else:
                os.replace(new, store.path_of(address))

    def _texts(self) -> Iterator[bytes]:
        """Yield the JSON text of every entry, wherever it lies; one that moves meanwhile is seen once at least."""
        for path in (*self._store.live_files(), *self._store.binned_files()):
            try:
                with open(path, "rb") as stream:
                    yield stream.read()
            except FileNotFoundError:  # it just moved on, into what is read next
                pass
        for line in read_lines(self._store.metadata)[1]:
            yield line.data

    def _remove_empty(self, path: str) -> None:
        """Remove the folders above a file where nothing is left in them."""
        for _ in range(3):
            path = os.path.dirname(path)
            try:
                os.rmdir(path)
            except OSError:  # something lies there
                return

    def _tidy_spool(self) -> None:
        """Delete what the spool has kept for the next run that stores it, where no run has it any more."""
        for folder, folders, names in os.walk(self._store.inner("spool")):
            folders[:] = [name for name in folders if name != "held"]  # those belong to runs that go on
            for path in [os.path.join(folder, name) for name in names]:
                if os.stat(path).st_nlink == 1 and len(os.path.basename(folder)) == 2:
                    _atomic.remove(path)


def _addresses(data: bytes) -> set[str]:
    """Return the addresses of the stored files that an entry names."""
    return {found.decode("ascii") for found in _HANDLE.findall(data)} | {
        found.decode("ascii") for found in re.findall(rb'"id":"([0-9a-f]{32,64})"', data)
    }
