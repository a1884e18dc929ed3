"""Changing what people may change in a store of run folders."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager

from capture.codec import decode
from capture.errors import CaptureError, ObserverError, RecordError
from capture.observers import _atomic, _labels, _names
from capture.observers._document_curator import DocumentCurator
from capture.observers._file_reader import FileStoreReader
from capture.observers._run_folder import EXTENSION, RunFolder, read_document
from capture.observers._store import PRIVATE, RESOURCES, SOURCES, find_uid, make_store
from capture.observers._writing import log
from capture.records import RunRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


class StoreNotWritableError(ObserverError, PermissionError):
    """A store of run folders may not be changed by this user, or lies on a file system that is mounted read-only."""


class FileStoreCurator(DocumentCurator):
    """Changes what people may change in a store of run folders.

    Parameters
    ----------
    basedir : path

    Attributes
    ----------
    basedir, private : str
        The store, and its own folder in it.
    reader : FileStoreReader
    """

    #: how the names of folders end in which shared files wait until it is known whether a run uses them
    HELD = "-shared"

    def __init__(self, basedir: str | os.PathLike[str]) -> None:
        self.basedir = os.path.abspath(basedir)
        self.private = os.path.join(self.basedir, PRIVATE)
        self._bin = os.path.join(self.private, "bin")
        self.reader = FileStoreReader(self.basedir)

    def close(self) -> None:
        """Let go of the index."""
        self.reader.close()

    def change(self, run: Any, name: str, *args: Any) -> None:
        folder = self.reader.folder(run)
        with self._allowed(f"run {run} cannot be changed"):
            try:
                writer = RunFolder.open(folder, self.basedir, _atomic.is_shared(self.basedir))
                writer.change(name, *args)
                writer.flush()
            except FileNotFoundError:
                if os.path.isdir(folder):
                    raise
                raise ObserverError(f"{folder} was moved or deleted by somebody else just now") from None

    @contextmanager
    def _allowed(self, what: str) -> Iterator[None]:
        """Say what could not be done, and why, where the system refuses to write; which file it was says little."""
        try:
            yield
        except OSError as error:
            if isinstance(error, CaptureError) or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            raise StoreNotWritableError(
                f"{what}: {self.basedir} may not be written ({error.strerror})"
                "\n  to go on: ask its owner, or copy it with capture cp to a place of your own",
                print_traceback=False,
            ) from error

    def bin(self, run: Any) -> None:
        """Take a run out of sight: its folder moves into ``_capture/bin``.

        Raises
        ------
        ObserverError
            If the run is being written.
        """
        folder = self.reader.folder(run)
        name = os.path.basename(folder)
        if self._is_alive(run, folder):
            raise ObserverError(f"run {run} of {self.basedir} is still going on: stop it first")
        with self._allowed(f"run {run} cannot be put into the bin"):
            shared = make_store(self.basedir)
            _atomic.ensure_folder(self._bin, shared)
            if _labels.is_number(name):
                _labels.keep_number(self.basedir, self.private, shared, int(name))
            self._move(folder, os.path.join(self._bin, name))

    def _is_alive(self, run: Any, folder: str) -> bool:
        """Say whether a run is known to be written; of one whose record is damaged, by what is left of that."""
        try:
            return bool(self.reader.is_alive(self.reader.get(run)))
        except RecordError:
            try:
                left = read_document(os.path.join(folder, EXTENSION))
            except (FileNotFoundError, RecordError):
                return False  # nobody knows; who writes it would have written a whole record
            record = RunRecord(label=run)
            record.writers = decode(left.get("writers") or {}) if isinstance(left, dict) else {}
            return bool(self.reader.is_alive(record))

    def restore(self, run: Any) -> None:
        """Bring a binned run back under its label."""
        folder = self.reader.folder(run, binned=True)
        with self._allowed(f"run {run} cannot be brought back"):
            self._move(folder, os.path.join(self.basedir, os.path.basename(folder)))

    def _move(self, folder: str, target: str) -> None:
        if os.path.lexists(target):
            raise ObserverError(f"{target} exists already; move it away first")
        try:
            os.rename(folder, target)
        except FileNotFoundError:
            raise ObserverError(f"{folder} was moved or deleted by somebody else just now") from None

    def binned(self) -> list[str]:
        """Return the labels of the runs in the bin, oldest first."""
        return self.reader.all_labels(binned=True)

    def purge(self, run: Any) -> None:
        """Delete a binned run for good, and the shared files that no other run uses. Its label is never given again."""
        folder = self.reader.folder(run, binned=True)
        shared = make_store(self.basedir)
        _labels.bury(self.private, shared, os.path.basename(folder))
        trash = os.path.join(self.private, "trash")
        _atomic.ensure_folder(trash, shared)
        away = _atomic.temporary(trash)
        try:
            os.rename(folder, away)  # at once: nobody brings back the half of it
        except FileNotFoundError:
            raise ObserverError(f"run {run} of {self.basedir} is not in the bin any more: it is not deleted") from None
        self.delete(away)

    def delete(self, away: str) -> None:
        """Delete the folder of a purged run, wherever it lies by now, and the shared files that no other run uses."""
        import shutil

        from capture.observers._file_index import discard

        try:
            used = shared_files(away)
        except RecordError as error:
            log().warning("Shared files that a purged run may have used stay, as its record is not readable: %s", error)
            used = set()
        self._sweep(used)
        uid = self.reader.uid_of(away)
        if uid and find_uid(self.basedir, uid) is None:  # else the run was copied here again
            _atomic.remove(os.path.join(self.private, "uids", _names.safe_component(uid)))
        discard(self.private)
        shutil.rmtree(away)  # after all that its record is needed for: who dies before can begin again
        self._tidy_spool()

    def mend(self, dry: bool = False) -> Iterator[str]:
        """Finish what processes that died had begun in the store; yield each thing that is done, or would be."""
        from capture.observers._file_mending import mend

        return mend(self, dry)

    def _tidy_spool(self) -> None:
        """Delete what the spool has kept for the next run that stores it, where no run has it any more.

        Large content has one more name there, by its digest, so that it need not be copied a second time. Where that
        name is the last one, the bytes are nobody's.
        """
        for folder, folders, names in os.walk(os.path.join(self.private, "spool")):
            folders[:] = [name for name in folders if name != "held"]  # those belong to runs that go on
            for path in [os.path.join(folder, name) for name in names]:
                if os.stat(path).st_nlink == 1 and len(os.path.basename(folder)) == 2:
                    _atomic.remove(path)

    def _sweep(self, candidates: set[str]) -> None:
        """Delete those shared files that no run uses.

        A run may find such a file and decide to use it at this very moment. So each is moved away first, and comes back
        if a run has noted it meanwhile; a run, having noted a file, looks whether it is still there.
        """
        there = [stored for stored in sorted(candidates) if os.path.isfile(os.path.join(self.basedir, stored))]
        if not there:
            return
        trash = os.path.join(self.private, "trash")
        _atomic.ensure_folder(trash)
        held = _atomic.temporary(trash) + self.HELD
        for stored in there:  # under its own name, by which it finds back if this process dies
            _atomic.ensure_folder(os.path.join(held, os.path.dirname(stored)))
            try:
                os.rename(os.path.join(self.basedir, stored), os.path.join(held, stored))
            except FileNotFoundError:  # another who purges was faster
                continue
        self.settle(held)

    def settle(self, held: str) -> None:
        """Delete the shared files that were moved into a folder, and bring back those that a run uses."""
        import shutil

        places = [name for name in (SOURCES, RESOURCES) if os.path.isdir(os.path.join(held, name))]
        files = [f"{place}/{name}" for place in places for name in os.listdir(os.path.join(held, place))]
        try:
            used: set[str] | None = self._used()
        except RecordError as error:
            log().warning("No shared file was deleted, since a run that may use them cannot be read: %s", error)
            used = None
        for stored in files:
            if used is None or stored in used:
                os.replace(os.path.join(held, stored), os.path.join(self.basedir, stored))
        shutil.rmtree(held)

    def _used(self) -> set[str]:
        """Return the shared files that runs use, also those which go into the bin or come back at this moment."""
        # A run that comes back between two looks is in neither place: so what is in sight is looked at once more.
        folders = [path for binned in (False, True, False) for path in self.reader.folders(binned)]
        return set().union(*map(self._used_by, set(map(os.path.basename, folders))))

    def _used_by(self, name: str) -> set[str]:
        for root in (self.basedir, self._bin, self.basedir):
            folder = os.path.join(root, name)
            if os.path.isdir(folder):
                used = shared_files(folder)
                if os.path.isdir(folder):  # else it may have moved before all was read
                    return used
        return set()  # it was purged

    def _folders(self) -> list[str]:
        """Return the folders of all runs, those in the bin too."""
        return [*self.reader.folders(), *self.reader.folders(binned=True)]

    def erase(self, value: str) -> int:
        """Replace one string everywhere in the store with asterisks, byte for byte; return the number of places.

        Looked through are the records, the output, names and notes, sources, resources and artifacts, also binary ones
        (as UTF-8, UTF-16 and UTF-32) and the bin. Not reached: what is compressed or encrypted, labels of runs, what
        waits in journals and spools. The digests of changed files are recorded anew.

        Raises
        ------
        ValueError
            If `value` has fewer than 4 characters, which would destroy the records.
        """
        from capture.observers._erase import erase
        from capture.observers._file_index import discard

        discard(self.private)
        count = erase(self.basedir, self._folders, value)
        discard(self.private)  # somebody may have asked meanwhile, and the index have been made from the old records
        return count


def shared_files(folder: str) -> set[str]:
    """Return the files in ``_sources`` and ``_resources`` that the run in `folder` uses, relative to the store."""
    used: set[str] = set()
    for file in ("run.json", EXTENSION):
        try:
            document = read_document(os.path.join(folder, file))
        except FileNotFoundError:
            continue
        if not isinstance(document, dict):
            continue
        files = document.get("files") or {}
        stored = [entry.get("stored") for kind in ("sources", "resources") for entry in files.get(kind, ())]
        pairs = [*(document.get("experiment") or {}).get("sources", ()), *(document.get("resources") or ())]
        stored += [pair[1] for pair in pairs if isinstance(pair, list) and len(pair) > 1]
        for path in stored:
            parts = path.replace(os.sep, "/").split("/")[-2:] if isinstance(path, str) else []
            if len(parts) == 2 and parts[0] in (SOURCES, RESOURCES):
                used.add("/".join(parts))
    return used
