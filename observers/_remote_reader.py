"""Reading a store of run folders that lies elsewhere, ours and Sacred's."""

from __future__ import annotations

from capture import plainjson
from capture.codec import decode
from capture.errors import RecordError, StoreNotFoundError
from capture.observers import _labels
from capture.observers._folder_record import Folder, FolderRecord
from capture.observers._pieces import METRICS, OUTPUT, PIECES, Piece, joined_output, remaining
from capture.observers._query import by_part_of_uid
from capture.observers._reading import StoreReader
from capture.observers._remote_store import BIN, CHANGED, PRIVATE, RemoteStore, files_at, label_in
from capture.observers._run_folder import EXTENSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any, BinaryIO

    from capture.filters import Filter
    from capture.records import RunRecord, Series

_GROUPS = (16, 64, 512)  #: runs that are read at once: few first, since often the newest are enough


class RemoteFolderReader(StoreReader):
    """Reads a store of run folders on any filesystem that fsspec knows. It changes nothing.

    Parameters
    ----------
    url : str
    storage_options : mapping, optional
    resource_dir, source_dir : str, optional
        Where the observer kept shared files if not in the store. What a record lists elsewhere is not opened.

    Notes
    -----
    A run that has ended is read once and remembered, unless it changes afterwards, which its writers and curators note
    in the store. Who replaces such a run by other means, as by copying another over it, calls `forget`.
    """

    def __init__(
        self,
        url: str,
        storage_options: Mapping[str, Any] | None = None,
        resource_dir: str | None = None,
        source_dir: str | None = None,
    ) -> None:
        self.files = files_at(url, storage_options)
        self.url = self.files.name
        self.store = RemoteStore(self.files)
        self.places = [place.rstrip("/") + "/" for place in (resource_dir, source_dir) if place is not None]
        self._known: dict[str, tuple[Any, dict[str, Any]]] = {}
        self._just_read: dict[str, bytes | None] = {}  # the capture.json that named the run which is asked for
        self._is_checked = False

    def __repr__(self) -> str:
        return f"RemoteFolderReader({self.url!r})"

    def forget(self) -> None:
        """Forget what was read."""
        self._known.clear()

    def check_exists(self) -> None:
        """Raise a FileNotFoundError if nothing lies there; what Sacred wrote has no marker and is a store, too."""
        self._check()
        if not self._is_checked and not self.files.list(""):
            raise StoreNotFoundError(
                f"there is no store at {self.url!r}: nothing lies there, if there is such a bucket or folder at all",
                print_traceback=False,
            )

    def get(self, run: Any) -> RunRecord:
        self._check()
        return super().get(run)

    def find(
        self, where: Mapping[str, Any] | Filter | str | None = None, limit: int | None = None
    ) -> Iterator[RunRecord]:
        """Yield runs, newest first. A run that cannot be read is left out, see `unreadable`."""
        self._check()
        return super().find(where, limit)

    def _check(self) -> None:
        if not self._is_checked:
            self._is_checked = self.store.check_format()

    # What there is.

    def all_labels(self, binned: bool = False) -> list[str]:
        """Return labels, oldest first: numbers in their order, names where their start puts them."""
        names = self.names(binned)
        if all(_labels.is_number(name) for name in names):
            return names
        parts = self._many(names, binned)
        return [label_in(parts[name].get("capture"), name) for name in names if name in parts]

    def find_label(self, text: str, binned: bool = False) -> str | None:
        name = _labels.folder_of(text) if text else ""
        if not name or "/" in name:
            return None
        folder = _folder(name, binned)
        found = self.files.read_many(f"{folder}/{file}" for file in (EXTENSION, "run.json"))
        data = found.get(f"{folder}/{EXTENSION}")
        if not found:
            return None
        self._just_read = {folder: data}
        capture = None if data is None else plainjson.loads(data)
        return text if label_in(capture, name) == text else None

    def uids_like(self, part: str, binned: bool = False) -> Iterable[tuple[str, str]]:
        """Yield uid and label, from the notes of the writers; of runs that were copied into the store there are none.

        So all runs are looked at where no note fits.
        """
        noted = by_part_of_uid(part, list(self.files.list(f"{PRIVATE}/uids")))
        found = []
        for uid in noted:
            for folder in self.store.folders_of_uid(uid):
                if folder.startswith(f"{BIN}/") == binned and self._is_run(folder):
                    name = folder.rpartition("/")[2]
                    parts = self._many([name], binned).get(name, {})
                    found.append((uid, label_in(parts.get("capture"), name)))
        if found:
            return found
        every = self._many(self.names(binned), binned)
        return [
            (str(decode(capture["uid"])), label_in(capture, name))
            for name, parts in every.items()
            if isinstance(capture := parts.get("capture"), dict) and capture.get("uid")
        ]

    def _is_run(self, folder: str) -> bool:
        return bool(self.files.read_many([f"{folder}/{EXTENSION}"]))

    def read(self, label: Any, binned: bool = False) -> RunRecord:
        name = _labels.folder_of(label)
        folder = RemoteFolder(self, _folder(name, binned), self._load(name, binned))
        folder.check()
        return FolderRecord(str(label), folder)

    def candidates(self, wanted: Filter | None, limit: int | None) -> Iterator[RunRecord]:
        names, notes = self._overview()
        names.reverse()
        at, group = 0, 0
        while at < len(names):
            size = _GROUPS[min(group, len(_GROUPS) - 1)]
            some = names[at : at + size]
            at, group = at + size, group + 1
            parts = self._many(some, False, notes)
            for name in some:
                if name not in parts:
                    continue
                folder = RemoteFolder(self, name, parts[name])
                try:
                    folder.check()
                except RecordError as error:
                    self.leave_out(name, error)
                    continue
                yield FolderRecord(label_in(parts[name].get("capture"), name), folder)

    # The folders of the store.

    def names(self, binned: bool = False) -> list[str]:
        """Return the names of the folders of runs, oldest run first."""
        found = self._listed(BIN if binned else "")
        if binned:  # a process that died while it moved a run left it in both places: there it is whole
            found = [name for name in found if not self._is_run(name)]
        return self._sorted(found, binned)

    def _overview(self) -> tuple[list[str], dict[str, Any]]:
        """Return the names of all runs in sight, oldest first, and by name what tells that one changed."""
        notes = {name: _stamp(entry) for name, entry in self.files.list(CHANGED).items()}
        return self._sorted(self._listed(""), False, notes), notes

    def _listed(self, folder: str) -> list[str]:
        entries = self.files.list(folder)
        return [name for name, entry in entries.items() if name[0] not in "_." and entry.get("type") == "directory"]

    def _sorted(self, names: list[str], binned: bool, notes: dict[str, Any] | None = None) -> list[str]:
        if all(_labels.is_number(name) for name in names):
            return sorted(names, key=int)
        parts = self._many(names, binned, notes)
        return sorted((name for name in names if name in parts), key=lambda name: _age(name, parts[name]))

    # Documents.

    def _load(self, name: str, binned: bool) -> dict[str, Any]:
        folder = _folder(name, binned)
        if folder in self._just_read:
            return self.store.parts(folder, self._just_read.pop(folder))
        key = f"{folder}/{EXTENSION}"
        return self.store.parts(folder, self.files.read_many([key]).get(key))

    def _many(
        self, names: Sequence[str], binned: bool = False, notes: dict[str, Any] | None = None
    ) -> dict[str, dict[str, Any]]:
        """Return the documents of those folders that hold a run, by name; asked for at once, or remembered."""
        if notes is None:
            notes = {name: _stamp(entry) for name, entry in self.files.list(CHANGED).items()}
        parts, missing = {}, []
        for name in names:
            known = self._known.get(_folder(name, binned))
            if known is not None and known[0] == notes.get(name):
                parts[name] = known[1]
            else:
                missing.append(name)
        keys = {name: f"{_folder(name, binned)}/{EXTENSION}" for name in missing}
        found = self.files.read_many(keys.values())
        for name, key in keys.items():
            folder = _folder(name, binned)
            try:
                new = self.store.parts(folder, found.get(key))
            except RecordError as error:
                self.leave_out(name, error)
                continue
            if all(value is None for value in new.values()):
                continue
            parts[name] = new
            if _has_ended(new):
                self._known[folder] = (notes.get(name), new)
        return parts


class RemoteFolder(Folder):
    """The folder of a run in a store that lies elsewhere."""

    def __init__(self, reader: RemoteFolderReader, folder: str, parts: dict[str, Any]) -> None:
        self.name = reader.store.describe(folder)
        self._reader, self._folder, self._parts = reader, folder, parts

    def check(self) -> None:
        """Raise a RecordError if there is no record in the folder."""
        run = self._parts.get("run")
        if not isinstance(run, dict) or (self._parts.get("capture") is not None and not run):
            raise RecordError(
                f"{self.name}/run.json is missing or is not a record: the run was cut off before it was written"
                "\n  to go on: look at what is left of it, then delete the folder"
            )

    def document(self, name: str) -> Any:
        return self._parts.get(name)

    def output(self) -> str:
        base, pieces = self._stream(OUTPUT)
        return joined_output(base, [(piece.offset, data) for piece, data in pieces]).decode("utf-8", "replace")

    def series(self) -> Mapping[str, Series]:
        from capture.observers._series import LazySeries

        return LazySeries(self._read_series)

    def _read_series(self) -> dict[str, Series]:
        from capture.observers._series import batches_in, sacreds_series, series_of

        base, pieces = self._stream(METRICS)
        lines = [line for data in (base, *[data for _, data in pieces]) for line in data.split(b"\n") if line]
        if lines or not self._is_sacreds():
            return series_of(batches_in(lines, f"{self.name}/{METRICS}", as_text=True))
        key = f"{self._folder}/metrics.json"
        text = self._reader.files.read_many([key]).get(key)
        return {} if text is None else sacreds_series(text, self._reader.store.describe(key))

    def _is_sacreds(self) -> bool:
        """Say whether Sacred wrote the run."""
        capture = self._parts.get("capture")
        return not isinstance(capture, dict) or capture.get("layout") == "sacred"

    def _stream(self, file: str) -> tuple[bytes, list[tuple[Piece, bytes]]]:
        """Return what counts of a file, and its pieces with what counts of them."""
        files, key = self._reader.files, f"{self._folder}/{file}"
        capture = self._parts.get("capture") or {}
        state = capture.get("pieces", {})
        pieces: list[Piece] = []
        if state and not state.get("done"):
            pieces = remaining(files.walk(f"{self._folder}/{PIECES}"), state)
        own = [piece for piece in pieces if piece.file == file]
        found = files.read_many([key, *[f"{self._folder}/{piece.key}" for piece in own]])
        base = found.get(key, b"")
        if pieces:
            base = base[: state.get("bytes", {}).get(file, 0)]
        # one that is gone was joined just now: what follows it is there
        there = [(piece, found.get(f"{self._folder}/{piece.key}")) for piece in own]
        return base, [(piece, data[piece.skip :]) for piece, data in there if data is not None]

    def opener(self, kind: str, stored: str) -> Callable[[], BinaryIO] | None:
        if ".." in stored.split("/"):
            return None
        if kind == "artifacts":
            return None if stored.startswith("/") else self._reader.files.opener(f"{self._folder}/{stored}")
        if stored.startswith("/") and not any(stored.startswith(place) for place in self._reader.places):
            return None
        return self._reader.files.opener(stored)

    def sacreds(self, kind: str, name: str, stored: str) -> tuple[int | None, Callable[[], BinaryIO] | None]:
        files, base = self._reader.files, stored.replace("\\", "/").rpartition("/")[2]
        if kind == "artifacts":
            keys = [f"{self._folder}/{stored}"]
        else:  # the store may have moved since
            keys = [f"_{kind}/{base}", f"{self._folder}/{name.rpartition('/')[2]}"]
            inner = files.path("").partition("/")[2].strip("/")
            keys.append(f"{self._folder}/{inner}/_{kind}/{base}")  # where Sacred put them in a bucket, by mistake
        for key in keys:
            size = None if ".." in key.split("/") else files.size(key)
            if size is not None:
                return size, files.opener(key)
        return None, None

    def summary(self) -> Mapping[str, dict[str, Any]]:
        capture = self._parts.get("capture")
        if not isinstance(capture, dict) or "summaries" not in capture:
            if isinstance(capture, dict) and capture.get("pieces", {}).get("joined"):
                return {}  # no measurements
            raise KeyError("summary")
        return _merged(decode(capture["summaries"]))


def _folder(name: str, binned: bool) -> str:
    return f"{BIN}/{name}" if binned else name


def _stamp(entry: Mapping[str, Any]) -> Any:
    """Return what changes when a small file is replaced."""
    for key in ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "modified", "created"):
        if entry.get(key) is not None:
            return str(entry[key])
    return None


def _has_ended(parts: Mapping[str, Any]) -> bool:
    run, capture = parts.get("run") or {}, parts.get("capture") or {}
    return bool(run.get("stop_time")) or "stopped" in capture.get("times", {})


def _age(name: str, parts: Mapping[str, Any]) -> tuple[str, int, str]:
    """Return what sorts runs by their start."""
    run, capture = parts.get("run") or {}, parts.get("capture") or {}
    started = run.get("start_time") or (capture.get("times") or {}).get("queued")
    return str(started or "")[:26], int(name) if _labels.is_number(name) else 0, name


def _merged(by_writer: Mapping[str, Mapping[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return the summary of each series from those of the run's writers."""
    merged: dict[str, dict[str, Any]] = {}
    for writer in sorted(by_writer, key=lambda writer: (writer != "main", writer)):
        for name, new in by_writer[writer].items():
            old = merged.get(name)
            merged[name] = dict(new) if old is None else _both(old, new)
    return merged


def _both(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    newest = old if (old["time"] or 0) > (new["time"] or 0) else new
    lows = [each["min"] for each in (old, new) if each["min"] is not None]
    highs = [each["max"] for each in (old, new) if each["max"] is not None]
    return {
        **newest,
        "count": old["count"] + new["count"],
        "min": min(lows) if lows else None,
        "max": max(highs) if highs else None,
    }
