"""Changing what people may change in a store of run folders that lies elsewhere."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager

from capture import plainjson
from capture.errors import ObserverError, RecordError
from capture.liveness import is_alive, machine_identity
from capture.observers import _labels, _names
from capture.observers._document_curator import DocumentCurator
from capture.observers._remote_files import Changed, chunks_of
from capture.observers._remote_reader import RemoteFolderReader
from capture.observers._remote_run import RemoteRun
from capture.observers._remote_store import BIN, CHANGED, PRIVATE, RESOURCES, SOURCES, RemoteStore
from capture.observers._run_folder import EXTENSION
from capture.observers._writing import digests, log, opener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from capture.observers._erase import FileEraser

CLAIM_S = 86_400.0  #: a claim of another machine that is older has been left

_LAST = ("run.json", EXTENSION)  #: what makes a folder that of a run


class RemoteFolderCurator(DocumentCurator):
    """Changes what people may change in a store of run folders on any filesystem that fsspec knows.

    Where two change tags or notes of a run within milliseconds, on S3 both changes are kept; elsewhere one may be lost.

    Parameters
    ----------
    url : str
    storage_options : mapping, optional
    resource_dir, source_dir : str, optional
        Where shared files are, if not in the store.
    """

    def __init__(
        self,
        url: str,
        storage_options: Mapping[str, Any] | None = None,
        resource_dir: str | None = None,
        source_dir: str | None = None,
    ) -> None:
        self._reader = RemoteFolderReader(url, storage_options, resource_dir, source_dir)
        self._files = self._reader.files
        self._store: RemoteStore = self._reader.store
        self._shared = [place.rstrip("/") for place in (source_dir or SOURCES, resource_dir or RESOURCES)]

    def __repr__(self) -> str:
        return f"RemoteFolderCurator({self._reader.url!r})"

    def change(self, run: Any, name: str, *args: Any) -> None:
        writer = RemoteRun.open(self._store, _labels.folder_of(self._reader.resolve(run)))
        if writer.documents.run:  # else there is nothing in the folder any more
            writer.change(name, *args)
            writer.flush()
        if writer.gone or not writer.documents.run:
            raise ObserverError(f"run {run} of {self._store.name} was moved or deleted by somebody else just now")

    def bin(self, run: Any) -> None:
        """Take a run out of sight: its folder moves into ``_capture/bin``, file by file where there is no rename.

        Raises
        ------
        ObserverError
            If the run is being written.
        """
        label = self._reader.resolve(run)
        name = _labels.folder_of(label)
        if self._is_alive(label):
            raise ObserverError(f"run {run} of {self._store.name} is still going on: stop it first")
        self._store.make()
        with self._claimed(name):
            self._reader.resolve(label)  # it may have gone just before
            self._store.keep_name(name)
            self._move(name, f"{BIN}/{name}")

    def _is_alive(self, label: str) -> bool:
        """Say whether a run is known to be written, which cannot be told of one whose record is damaged."""
        try:
            return bool(self._reader.is_alive(self._reader.read(label)))
        except RecordError:
            return False

    def restore(self, run: Any) -> None:
        """Bring a binned run back under its label."""
        label = self._reader.resolve(run, binned=True)
        name = _labels.folder_of(label)
        with self._claimed(name):
            self._reader.resolve(label, binned=True)
            self._move(f"{BIN}/{name}", name)

    @contextmanager
    def _claimed(self, name: str) -> Iterator[None]:
        """Keep others from moving or deleting a run meanwhile: of several, one makes a file, which no other can then.

        A file whose process is known to be dead is taken over; so is one of another machine that is older than
        `CLAIM_S`, which no move takes.

        Raises
        ------
        ObserverError
            If somebody else is at it.
        """
        key = f"{PRIVATE}/moving/{name}"
        mine = plainjson.dumps({**machine_identity(), "since": time.time(), "token": os.urandom(8).hex()}).encode()
        if self._files.create(key, mine) is None:
            try:
                found, version = self._files.read_version(key)
                is_mine = _is_left(found) and self._files.replace(key, mine, version) is not None
            except (Changed, FileNotFoundError):
                is_mine = False
            if not is_mine:
                path = self._files.path(key)
                raise ObserverError(
                    f"run {name} of {self._store.name} is moved or deleted by somebody else at this moment"
                    f"\n  what to do:  try again; if their process died on another machine: delete {path}",
                    print_traceback=False,
                )
        try:
            self._reader.forget()
            yield
        finally:
            self._files.delete([key])

    def _move(self, old: str, new: str) -> None:
        if self._files.read_many(f"{new}/{file}" for file in _LAST):
            raise ObserverError(f"{self._store.describe(new)} exists already; move it away first")
        self._files.move_folder(old, new, _LAST)
        self._reader.forget()

    def binned(self) -> list[str]:
        """Return the labels of the runs in the bin, oldest first."""
        return self._reader.all_labels(binned=True)

    def purge(self, run: Any) -> None:
        """Delete a binned run for good, and the shared files that no other run uses. Its label is never given again."""
        label = self._reader.resolve(run, binned=True)
        name = _labels.folder_of(label)
        folder = f"{BIN}/{name}"
        self._store.make()
        with self._claimed(name):
            record = self._reader.read(self._reader.resolve(label, binned=True), binned=True)
            used = self._shared_files(self._documents([folder])[folder])
            self._store.bury(name)
            self._files.delete_folder(folder)
            self._files.delete([f"{CHANGED}/{name}"])
            if record.uid:
                self._files.delete([f"{PRIVATE}/uids/{_names.safe_component(record.uid)}"])
            self._reader.forget()
        self._sweep(used)

    def _sweep(self, candidates: set[str]) -> None:
        """Delete those shared files that no run uses.

        A run that begins to use one in the same second loses it: no object store can tell.
        """
        if not candidates:
            return
        try:
            candidates -= self._used()
        except RecordError as error:
            log().warning("No shared file was deleted, since a run that may use them cannot be read: %s", error)
            return
        self._files.delete(sorted(candidates))

    def _used(self) -> set[str]:
        """Return the shared files that runs use, also those which go into the bin or come back at this moment."""
        # A run that comes back between two looks is in neither place: so what is in sight is looked at once more.
        left = {name for binned in (False, True, False) for name in self._reader.names(binned)}
        used: set[str] = set()
        for place in ("", f"{BIN}/", ""):
            found = self._documents(place + name for name in left)
            used.update(*map(self._shared_files, found.values()))
            left = {name for name in left if found[place + name].get("capture") is None}  # moved, or Sacred's
        return used

    def _folders(self) -> list[str]:
        """Return the folders of all runs, those in the bin too."""
        return [*self._reader.names(), *[f"{BIN}/{name}" for name in self._reader.names(binned=True)]]

    def _documents(self, folders: Iterable[str]) -> dict[str, dict[str, Any]]:
        wanted = list(folders)
        found = self._files.read_many(f"{folder}/{EXTENSION}" for folder in wanted)
        return {folder: self._store.parts(folder, found.get(f"{folder}/{EXTENSION}")) for folder in wanted}

    def _shared_files(self, documents: Mapping[str, Any]) -> set[str]:
        """Return the shared files that a run uses."""
        capture, run = documents.get("capture") or {}, documents.get("run") or {}
        files = capture.get("files", {})
        stored = [entry.get("stored") for kind in ("sources", "resources") for entry in files.get(kind, ())]
        pairs = [*(run.get("experiment") or {}).get("sources", ()), *(run.get("resources") or ())]
        stored += [pair[1] for pair in pairs if isinstance(pair, list) and len(pair) > 1]
        used = set()
        for path in [path for path in stored if isinstance(path, str)]:
            folder, _, base = path.rpartition("/")
            for place in self._shared:
                if folder == place or folder.endswith(f"/{place}"):
                    used.add(f"{place}/{base}")
        return used

    def erase(self, value: str) -> int:
        """Replace one string everywhere in the store with asterisks, byte for byte; return the number of places.

        Looked through are the records, the output, names and notes, sources, resources and artifacts, also binary ones
        (as UTF-8, UTF-16 and UTF-32) and the bin. For that, each file is fetched once. Not reached: what is compressed
        or encrypted, labels of runs, older versions that a bucket keeps, what waits in journals and spools.

        Raises
        ------
        ValueError
            If `value` has fewer than 4 characters, which would destroy the records.
        """
        from tempfile import TemporaryDirectory

        from capture.observers._erase import FileEraser

        eraser = FileEraser(value)
        moved: dict[str, tuple[str, str]] = {}
        for place in self._shared:
            with TemporaryDirectory(prefix="capture-") as scratch:
                name = place.rpartition("/")[2]
                copy = _Copy(self._reader, place, os.path.join(scratch, name))
                here = eraser.shared(scratch, name)
                cut = len(name) + 1
                moved.update({f"{place}/{o[cut:]}": (f"{place}/{n[cut:]}", sha256) for o, (n, sha256) in here.items()})
                copy.send_back()
        done: set[str] = set()
        while left := [folder for folder in self._folders() if folder not in done]:
            for folder in left:
                self._erase_in(folder, eraser, moved)
            done.update(left)
            self._reader.forget()  # a run may have begun meanwhile
        self._files.delete(moved)  # not before: records name these until they are changed
        return eraser.count

    def _erase_in(self, folder: str, eraser: FileEraser, moved: dict[str, tuple[str, str]]) -> None:
        """Mask one run; `moved` says what shared files became."""
        from tempfile import TemporaryDirectory

        before = eraser.count
        with TemporaryDirectory(prefix="capture-") as scratch:
            path = os.path.join(scratch, folder.rpartition("/")[2])
            copy = _Copy(self._reader, folder, path)
            eraser.run(path, moved)
            copy.send_back(_LAST)
        if eraser.count > before or moved:
            self._files.write(f"{CHANGED}/{folder.rpartition('/')[2]}", os.urandom(8).hex().encode())


def _is_left(claim: bytes) -> bool:
    """Say whether the process that made a claim is known to be gone, or must be."""
    try:
        host = plainjson.loads(claim)
        alive, since = is_alive(host), float(host["since"])
    except (ValueError, KeyError, TypeError):  # half of one, or not one of ours
        return False
    return alive is False or (alive is None and time.time() - since > CLAIM_S)


class _Copy:
    """A copy of a folder of the store, to be changed here and sent back."""

    def __init__(self, reader: RemoteFolderReader, key: str, path: str) -> None:
        self._files, self._key, self._path = reader.files, key, path
        os.makedirs(path, exist_ok=True)
        self._before: dict[str, str] = {}
        for name in self._files.walk(key):
            target = os.path.join(path, *name.split("/"))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with self._files.open(f"{key}/{name}") as source, open(target, "wb") as stream:
                for chunk in chunks_of(source):
                    stream.write(chunk)
            self._before[name] = digests(target)[0]

    def send_back(self, records: tuple[str, ...] = ()) -> None:
        """Write what is new, then the `records` that name it, then what changed; delete what is gone.

        So who is cut off can begin again: what has to be changed is found until it is, and records name what is there.
        """
        now = dict(self._now())
        changed = [name for name, digest in now.items() if self._before.get(name) != digest]
        new = [name for name in changed if name not in self._before and name not in records]
        others = [name for name in changed if name not in new and name not in records]
        for name in (*new, *(name for name in records if name in changed), *others):
            path = os.path.join(self._path, *name.split("/"))
            self._files.upload(f"{self._key}/{name}", opener(path), os.path.getsize(path))
        self._files.delete(f"{self._key}/{name}" for name in self._before.keys() - now.keys())

    def _now(self) -> Iterator[tuple[str, str]]:
        for folder, _, names in os.walk(self._path):
            for name in names:
                path = os.path.join(folder, name)
                yield os.path.relpath(path, self._path).replace(os.sep, "/"), digests(path)[0]
