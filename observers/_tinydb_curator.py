"""Changing what people may change in a TinyDB store."""

from __future__ import annotations

import os
import re

from capture import plainjson
from capture.errors import ObserverError, RecordError
from capture.observers import _atomic, _labels, _names
from capture.observers._document_curator import DocumentCurator
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


class TinyDbCurator(DocumentCurator):
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

    def change(self, run: Any, name: str, *args: Any) -> None:
        label = self._reader.resolve(run)
        self._make()
        writer = TinyRun.open(self._store, *self._place_of(label))
        if writer is not None:
            writer.change(name, *args)
            writer.flush()
        if writer is None or writer.gone:
            raise ObserverError(f"run {run} of {self.root} was purged by somebody else just now")

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
            binned = read_json(self._bin_file(name))
            if binned is None:
                raise ObserverError(f"run {run} of {self.root} is not in the bin any more: it is not restored")
            entry, number = _unnumbered(binned)
            settled = store.settled(entry_id)
            if settled is not None and not _is_same_run(settled, entry):
                raise ObserverError(f"{self.root} has another run {label}; remove that one first")
            store.rewrite({key_of(entry_id): lambda _number: dump_entry(entry)}, {key_of(entry_id): number})
            _atomic.remove(self._bin_file(name))

    def binned(self) -> list[Any]:
        """Return the labels of the runs in the bin, oldest first."""
        return self._reader.all_labels(binned=True)

    def purge(self, run: Any) -> None:
        """Delete a binned run for good, and the stored files that no other run uses. Its label is never given again."""
        import shutil

        label = self._reader.resolve(run, binned=True)
        name, entry_id = self._place_of(label, binned=True)
        store, path = self._store, self._bin_file(name)
        with store.lock():
            try:
                with open(path, "rb") as stream:
                    data = stream.read()
            except FileNotFoundError:
                message = f"run {run} of {self.root} is not in the bin any more: it is not deleted"
                raise ObserverError(message) from None
            used, (entry, _) = _addresses(data), _unnumbered(plainjson.loads(data))
            _labels.bury(store.private, store.shared, name)
            settled = store.settled(entry_id)
            if settled is not None and _is_same_run(settled, entry):  # a process died while it binned or restored it
                store.rewrite({key_of(entry_id): None})
            _atomic.remove(os.path.join(store.live, name + ".json"))
            shutil.rmtree(os.path.join(store.runs, name), ignore_errors=True)
            uid = (entry.get("capture") or {}).get("uid")
            if isinstance(uid, str) and uid:
                _atomic.remove(os.path.join(store.uids, _names.safe_component(uid)))
            _atomic.remove(path)  # last, so that one who dies before can begin again
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

    def mend(self, dry: bool = False) -> Iterator[str]:
        """Finish what processes that died had begun in the store; yield each thing that is done, or would be."""
        trash = self._store.inner("trash")
        if os.path.isdir(trash) and os.listdir(trash):
            yield f"stored files that a purge had set aside are put back where a run uses them, else deleted: {trash}"
            if not dry:
                with self._store.lock():
                    self._sweep(set())

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
        """Delete those stored files that no run uses; whoever calls holds the lock of the store.

        A run may find such a file and decide to use it at this very moment. So each is moved away first, and comes back
        if a run has noted it meanwhile; a run, having noted a file, looks whether it is still there.
        """
        store = self._store
        trash = store.inner("trash")
        _atomic.ensure_folder(trash, store.shared)
        for address in os.listdir(trash):  # a process died in the middle of this
            self._bring_back(address)
            candidates.add(address)
        try:
            unused = candidates - self._used()
            for address in sorted(unused):
                if os.path.isfile(store.path_of(address)):
                    os.replace(store.path_of(address), os.path.join(trash, address))
            for address in unused & self._used():
                self._bring_back(address)
        except RecordError as error:
            log().warning("No stored file was deleted, since what runs use cannot be read: %s", error)
            return
        for address in os.listdir(trash):
            _atomic.remove(os.path.join(trash, address))
            self._remove_empty(store.path_of(address))

    def _bring_back(self, address: str) -> None:
        """Put a file that was moved away where it belongs."""
        source, target = self._store.inner("trash", address), self._store.path_of(address)
        if os.path.exists(source):
            _atomic.ensure_folder(os.path.dirname(target), self._store.shared)
            os.replace(source, target)

    def _used(self) -> set[str]:
        """Return the addresses of the files that runs use."""
        return set().union(*map(_addresses, self._texts()))

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


def _unnumbered(entry: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Return an entry from the bin as it was before, and the number that it had in the table; 0 if none."""
    own = dict(entry.get("capture") or {})
    number = int(own.pop("number", "") or 0)
    entry = {**entry, "capture": own}
    if not own:  # Sacred's entries have none
        del entry["capture"]
    return entry, number


def _is_same_run(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Say whether two entries with the same id are of one run; Sacred's runs have no uid."""
    uids = [(entry.get("capture") or {}).get("uid") for entry in (one, other)]
    return uids[0] == uids[1] if any(uids) else one == other


def _addresses(data: bytes) -> set[str]:
    """Return the addresses of the stored files that an entry names."""
    return {found.decode("ascii") for found in _HANDLE.findall(data)} | {
        found.decode("ascii") for found in re.findall(rb'"id":"([0-9a-f]{32,64})"', data)
    }
