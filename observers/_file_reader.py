"""Reading a store of run folders, ours and Sacred's."""

from __future__ import annotations

import os

from capture.codec import decode, encode
from capture.errors import RecordError
from capture.hooks import Reader
from capture.liveness import is_alive
from capture.observers import _labels
from capture.observers._query import by_part_of_uid, not_found
from capture.observers._run_folder import EXTENSION, naive, read_document
from capture.observers._series import StoredSeries
from capture.observers._store import PRIVATE, check_format, find_uid
from capture.observers._writing import log, opener
from capture.records import RunRecord, StoredFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from typing import Any

_SMALL = 64 << 10  #: bytes of a document up to which it is remembered
_REMEMBERED = 8_192  #: documents that are remembered


class FileStoreReader(Reader):
    """Reads a store of run folders, ours and Sacred's. It changes nothing, and runs nothing that it reads.

    Parameters
    ----------
    basedir : path
    resource_dir, source_dir : path, optional
        Where the observer kept shared files if not in the store. What a record lists elsewhere is not opened.
    """

    def __init__(
        self,
        basedir: str | os.PathLike[str],
        resource_dir: str | os.PathLike[str] | None = None,
        source_dir: str | os.PathLike[str] | None = None,
        *,
        root: str | None = None,
    ) -> None:
        self.basedir = os.path.abspath(basedir)
        self._places = [os.path.realpath(place) for place in (basedir, resource_dir, source_dir) if place is not None]
        self.url = "file://" + self.basedir
        self._root = root or self.basedir  # where the runs lie; those in the bin lie elsewhere
        self._documents: dict[str, tuple[tuple[int, ...], Any]] = {}

    def __repr__(self) -> str:
        return f"FileStoreReader({self.basedir!r})"

    def labels(self) -> list[str]:
        """Return the labels of all runs, oldest first: numbers in their order, names where their start puts them."""
        return [self._label(name) for name in self._names()]

    def get(self, run: Any) -> RunRecord:
        """Return one run.

        Parameters
        ----------
        run : str or int
            Label, uid, beginning or end of a uid, "latest", or a negative number: -1 is the newest.

        Raises
        ------
        RunNotFoundError
            If there is none, or several; it lists the labels.
        RecordError
            If its files cannot be read; it names file and line.
        """
        return self._read(self.folder(run))

    def find(self, where: Mapping[str, Any] | None = None, limit: int | None = None) -> Iterator[RunRecord]:
        """Yield runs, newest first. A run that cannot be read is left out, which the log says."""
        check_format(self.basedir)
        found = 0
        for name in reversed(self._names()):
            if limit is not None and found >= limit:
                return
            try:
                path = os.path.join(self._root, name)
                if where and not self._may_match(path, where):
                    continue
                record = self._read(path)
                if where and not record.matches(where):
                    continue
            except RecordError as error:
                log().warning("A run was left out: %s", error)
                continue
            found += 1
            yield record

    def is_alive(self, record: RunRecord) -> bool | None:
        """Say whether one of the processes that write the run lives; None where that cannot be told from here.

        A run that has ended or was only queued is not alive.
        """
        if record.status == "QUEUED" or (record.status != "RUNNING" and record.stop_time is not None):
            return False
        answers = [is_alive(host) for host in record.writers.values()]
        if True in answers:
            return True
        return None if None in answers or not answers else False

    def folder(self, run: Any) -> str:
        """Return the path of a run's folder; see `get`."""
        check_format(self.basedir)
        wanted = str(run)
        if wanted == "latest":
            wanted = "-1"
        if wanted[:1] == "-" and wanted[1:].isdigit():
            names = self._names()
            if 0 < int(wanted[1:]) <= len(names):
                return os.path.join(self._root, names[int(wanted)])
            raise not_found(self.basedir, run, self.labels())
        name = _labels.folder_of(wanted)
        path = os.path.join(self._root, name)
        if wanted and _is_run(path) and self._label(name) == wanted:
            return path
        if self._is_binned(name):
            raise not_found(self.basedir, run, self.labels(), f"run {wanted!r} is in the bin: restore it first.")
        uids = self._noted_uids(wanted) or self.uids()
        candidates = by_part_of_uid(wanted, list(uids))
        folders = {uids[uid] for uid in candidates}
        if len(folders) == 1:
            return os.path.join(self._root, folders.pop())
        if folders:
            listed = ", ".join(f"{self._label(uids[uid])} ({uid})" for uid in candidates)
            because = f"{wanted!r} is the beginning or end of the uid of several runs of {self.basedir}: {listed}"
            raise not_found(self.basedir, run, self.labels(), because)
        raise not_found(self.basedir, run, self.labels())

    def _noted_uids(self, part: str) -> dict[str, str]:
        """Return uid -> name of the folder, for uids with this beginning or end, from the notes of the writers.

        Runs that were copied into the store are not noted.
        """
        try:
            noted = os.listdir(os.path.join(self.basedir, PRIVATE, "uids"))
        except FileNotFoundError:
            return {}
        found = {uid: find_uid(self.basedir, uid) for uid in by_part_of_uid(part, noted)}
        return {
            uid: os.path.basename(path)
            for uid, path in found.items()
            if path is not None and os.path.dirname(path) == self._root and _is_run(path)
        }

    def _is_binned(self, name: str) -> bool:
        return self._root == self.basedir and _is_run(os.path.join(self.basedir, PRIVATE, "bin", name))

    # The folders of the store.

    def _names(self) -> list[str]:
        """Return the names of the folders of runs, oldest run first."""
        try:
            with os.scandir(self._root) as entries:
                names = [
                    entry.name
                    for entry in entries
                    if entry.name[0] not in "_." and entry.is_dir() and _is_run(entry.path)
                ]
        except FileNotFoundError:
            return []
        if all(_labels.is_number(name) for name in names):
            return sorted(names, key=int)
        return sorted(names, key=self._age)

    def _age(self, name: str) -> tuple[str, int, str]:
        """Return what sorts runs by their start."""
        number = int(name) if _labels.is_number(name) else 0
        path = os.path.join(self._root, name)
        try:
            run, capture = self._load(path, "run.json"), self._load(path, EXTENSION) or {}
        except RecordError:
            run, capture = None, {}
        started = (run or {}).get("start_time") or (capture.get("times") or {}).get("queued")
        if not isinstance(started, str):
            from datetime import datetime, timezone

            started = naive(datetime.fromtimestamp(os.stat(path).st_mtime, timezone.utc))
        return started[:26], number, name

    def _label(self, name: str) -> str:
        """Return the label of the run in a folder."""
        if _labels.is_number(name):
            return name
        try:
            capture = self._load(os.path.join(self._root, name), EXTENSION)
        except RecordError:
            return name
        return str(decode(capture.get("label", name))) if isinstance(capture, dict) else name

    def folders(self) -> list[str]:
        """Return the paths of the folders of all runs, oldest run first."""
        return [os.path.join(self._root, name) for name in self._names()]

    def uids(self) -> dict[str, str]:
        """Return uid -> name of the folder, of all runs that have a uid."""
        uids = {}
        for name in self._names():
            try:
                capture = self._load(os.path.join(self._root, name), EXTENSION)
            except RecordError:
                continue
            if isinstance(capture, dict) and capture.get("uid"):
                uids[str(decode(capture["uid"]))] = name
        return uids

    # One run.

    def _load(self, folder: str, file: str) -> Any:
        """Return a document of a run, or None; small ones are remembered until they change."""
        path = os.path.join(folder, file)
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        signature = (found.st_mtime_ns, found.st_size, found.st_ino)
        known = self._documents.get(path)
        if known is not None and known[0] == signature:
            return known[1]
        data = read_document(path)
        if found.st_size <= _SMALL:
            if len(self._documents) >= _REMEMBERED:
                self._documents.clear()
            self._documents[path] = (signature, data)
        return data

    def _may_match(self, folder: str, where: Mapping[str, Any]) -> bool:
        """Say whether a run can match, from as few files as possible."""
        for path, wanted in where.items():
            if type(wanted) not in (str, int, float, bool) or wanted != wanted:
                continue
            name, _, key = path.partition(".")
            if path in ("status", "command"):
                document = self._load(folder, "run.json")
                if isinstance(document, dict) and document.get(path) != encode(wanted):
                    return False
            elif name == "config" and "." not in key:
                document = self._load(folder, "config.json")
                value = document.get(key) if isinstance(document, dict) else None
                if type(value) in (str, int, float, bool) and value != encode(wanted):
                    return False
        return True

    def _read(self, folder: str) -> RunRecord:
        """Make the record of a run from its folder."""
        run = self._load(folder, "run.json")
        if not isinstance(run, dict):
            raise RecordError(
                f"{os.path.join(folder, 'run.json')} is missing or is not a record: the run was cut off before it was"
                " written\n  what is left:  "
                + ", ".join(sorted(os.listdir(folder)))
                + "\n  to go on: look at these files, then delete or move away the folder"
            )
        capture = self._load(folder, EXTENSION)
        record = RunRecord(label=self._label(os.path.basename(folder)))
        record.status = decode(run.get("status", "RUNNING"))
        record.command = decode(run.get("command", ""))
        record.experiment = decode(run.get("experiment") or {})
        record.host = decode(run.get("host") or {})
        record.meta = decode(run.get("meta") or {})
        record.config = decode(self._load(folder, "config.json") or {})
        record.info = decode(self._load(folder, "info.json") or {})
        record.result = decode(run.get("result"))
        record.fail_trace = decode(run.get("fail_trace"))
        for name, key in (("start_time", "start_time"), ("stop_time", "stop_time"), ("heartbeat", "heartbeat")):
            setattr(record, name, _moment(run.get(key), folder))
        record.read_output = lambda: _read_output(folder)
        if isinstance(capture, dict):
            self._add_ours(record, capture, folder)
        if not isinstance(capture, dict) or capture.get("layout") == "sacred":
            self._add_sacreds(record, run, folder)
        record.metrics = StoredSeries(folder)
        return record

    def _add_ours(self, record: RunRecord, capture: dict[str, Any], folder: str) -> None:
        """Add what Sacred's layout has no place for."""
        record.uid = decode(capture.get("uid", ""))
        if "experiment" in capture:  # the sources as they were told: run.json lists where they are stored
            record.experiment.pop("sources", None)
            record.experiment.update(decode(capture["experiment"]))
        record.writers = decode(capture.get("writers", {}))
        record.facts = decode(capture.get("facts", {}))
        record.tags = decode(capture.get("tags", []))
        record.notes = decode(capture.get("notes", ""))
        record.extra = list(capture.get("extra", []))
        times = capture.get("times", {})
        record.queue_time = _moment(times.get("queued"), folder)
        record.start_time = _moment(times.get("started"), folder) or record.start_time
        record.stop_time = _moment(times.get("stopped"), folder) or record.stop_time
        record.heartbeat = _moment(times.get("heartbeat"), folder) or record.heartbeat
        record.resumed = [moment for each in capture.get("resumed", []) if (moment := _moment(each, folder))]
        files = capture.get("files", {})
        for entry in files.get("sources", []):
            record.put_source(self._stored(entry, self.basedir))
        record.resources = [self._stored(entry, self.basedir) for entry in files.get("resources", [])]
        record.artifacts = [self._stored(entry, folder) for entry in files.get("artifacts", [])]

    def _add_sacreds(self, record: RunRecord, run: dict[str, Any], folder: str) -> None:
        """Add the files that a record of Sacred's lists, and the times that it keeps elsewhere."""
        record.queue_time = _moment(record.meta.get("queue_time"), folder)
        for kind, files in (
            ("sources", record.experiment.get("sources")),
            ("resources", decode(run.get("resources"))),
        ):
            for name, stored, *_ in [pair for pair in files or () if isinstance(pair, (list, tuple)) and len(pair) > 1]:
                path = self._sacred_path(kind, str(stored), str(name), folder)
                getattr(record, kind).append(_sacred_file(str(name), path, str(stored)))
        for name in decode(run.get("artifacts")) or ():
            path = os.path.join(folder, str(name))
            record.artifacts.append(_sacred_file(str(name), path if self._is_inside(path) else None, ""))

    def _sacred_path(self, kind: str, stored: str, name: str, folder: str) -> str | None:
        """Return where a file that Sacred stored lies: the store may have moved since."""
        candidates = [
            os.path.join(self.basedir, stored),
            stored,
            os.path.join(self.basedir, f"_{kind}", os.path.basename(stored)),
            os.path.join(folder, os.path.basename(name)),  # a queued run keeps its sources with it
        ]
        for path in candidates:
            if os.path.isfile(path) and self._is_inside(path):
                return path
        return None

    def _stored(self, entry: dict[str, Any], base: str) -> StoredFile:
        name, stored = decode(entry["name"]), entry.get("stored")
        open_bytes = None
        if stored is not None:
            path = stored if os.path.isabs(stored) else os.path.join(base, *stored.split("/"))
            if self._is_inside(path):
                open_bytes = opener(path)
        return StoredFile(
            name,
            entry.get("digest"),
            entry.get("size"),
            decode(entry.get("metadata")),
            decode(entry.get("content_type")),
            open_bytes,
        )

    def _is_inside(self, path: str) -> bool:
        """Say whether a path lies in the store: a record must not make it show other files."""
        real = os.path.realpath(path)
        return any(real.startswith(place + os.sep) for place in self._places)


def _is_run(folder: str) -> bool:
    """Say whether a folder is that of a run. One that was just made, with nothing in it, is not one yet.

    A config.json says so only in a folder with a number: `save_config` writes such a file beside other things.
    """
    if any(os.path.exists(os.path.join(folder, name)) for name in ("run.json", EXTENSION)):
        return True
    return os.path.basename(folder).isdigit() and os.path.exists(os.path.join(folder, "config.json"))


def _moment(text: Any, folder: str) -> datetime | None:
    """Return an aware time; Sacred's have no offset and are UTC."""
    if text is None or text == "":
        return None
    from datetime import datetime, timezone

    if isinstance(text, datetime):
        moment = text
    else:
        try:
            moment = datetime.fromisoformat(text)
        except (ValueError, TypeError) as error:
            raise RecordError(f"{folder} holds the time {text!r}, which is not one: {error}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _read_output(folder: str) -> str:
    try:
        with open(os.path.join(folder, "cout.txt"), "rb") as stream:
            return stream.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def _sacred_file(name: str, path: str | None, stored: str) -> StoredFile:
    """Return a file of a record of Sacred's: of its digest it knows the MD5 at most, in its stored name."""
    stem, _, tail = os.path.splitext(os.path.basename(stored))[0].rpartition("_")
    md5 = tail if stem and len(tail) == 32 else stored if len(stored) == 32 and not os.path.dirname(stored) else ""
    metadata = {"md5": md5} if md5 and not md5.strip("0123456789abcdef") else None
    size = os.stat(path).st_size if path is not None and os.path.isfile(path) else None
    return StoredFile(name, None, size, metadata, None, None if path is None else opener(path))
