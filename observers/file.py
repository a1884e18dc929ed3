# A hook may take a subset of its arguments: a rule that the type system does not know.
# mypy: disable-error-code="override"

"""The file store: a folder per run, laid out as Sacred does, with what is new in ``capture.json``.

::

    runs/
    ├── 1/                       one folder per run, made by `mkdir`, which decides who gets the number
    │   ├── run.json             Sacred's: experiment, host, command, status, times, result, names of files
    │   ├── config.json
    │   ├── info.json            if the run has info
    │   ├── cout.txt             what was printed
    │   ├── metrics.jsonl        measurements, appended while the run goes on
    │   ├── metrics.json         Sacred's form of them, made at the end
    │   ├── capture.json         all that Sacred's layout has no place for
    │   └── plots/loss.png       artifacts, by name
    ├── _sources/NAME_MD5.py     shared by all runs
    ├── _resources/NAME_MD5.csv
    └── _capture/                the store's own: format, next number, uid of each run, bin, spool

Folders that are not runs are left alone. Whatever replaces a file is written beside it and renamed.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from capture._version import __version__
from capture.codec import decode, encode
from capture.errors import ObserverError, RecordError
from capture.hooks import Curator, Reader, RunObserver
from capture.observers import _atomic, _labels, _names
from capture.observers._query import by_part_of_uid, matches, not_found
from capture.observers._run_folder import EXTENSION, FORMAT, Documents, RunFolder, naive, opener, read_document
from capture.records import RunRecord, StoredFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from typing import BinaryIO

    from capture.hooks import MetricsBatch

PRIVATE = "_capture"  #: folder of the store's own files
SOURCES, RESOURCES = "_sources", "_resources"
_SMALL = 64 << 10  #: bytes of a document up to which a reader remembers it
_REMEMBERED = 8_192  #: documents that a reader remembers
_FEW = 10_000  #: measurements up to which metrics.json follows at once where Sacred's hooks are called


class _Heartbeat:
    """The hook `heartbeat_event`, which takes Sacred's ``captured_out`` without declaring it.

    For an observer that declares it, the whole output would be kept in memory and handed over at each heartbeat.
    """

    def __init__(self, function: Callable[..., None], observer: Any = None) -> None:
        self.__func__ = function  #: like a bound method's: what the hook declares
        self.__doc__ = "The run is alive. Sacred's `captured_out`, the whole output so far, is taken too."
        self._observer = observer

    def __get__(self, observer: Any, owner: Any = None) -> Any:
        return self if observer is None else _Heartbeat(self.__func__, observer)

    def __call__(self, *args: Any, captured_out: str | None = None, **kwargs: Any) -> None:
        if captured_out:
            self._observer.follow_output(captured_out, kwargs.get("uid"))
        self.__func__(self._observer, *args, **kwargs)


class FileStorageObserver(RunObserver):
    """Writes runs into a folder, in Sacred's layout.

    Parameters
    ----------
    basedir : path
        The store; made when the first run starts. A relative path is meant from here, not from where a run may go.
    resource_dir, source_dir : path, optional
        Where files that runs share are kept; ``_resources`` and ``_sources`` in the store.
    template : path, optional
        A mako template, from which ``report.EXT`` is made at the end of each run. It sees ``run``, ``config``,
        ``info``, ``cout`` and ``savedir``.
    priority : float
    copy_artifacts : bool
        Whether resources that already lie in the store are copied. (Sacred's name for it.)
    copy_sources : bool
        Whether source files are kept; if not, only their paths are.
    ignore_in_git : bool
        Whether the folder gets a ``.gitignore`` of ``*`` when it is made.
    metrics_json_limit : int
        Measurements of a run above which ``metrics.json`` is left to `write_metrics_json`.

    Raises
    ------
    FileNotFoundError
        If there is no such template.

    Notes
    -----
    The store keeps what the run's events say. An artifact that is added again under its name replaces the earlier one;
    different names that meet in one file name are numbered. Hooks that are called without ``uid``, as Sacred does, are
    on the disk when they return; otherwise `flush` decides.
    """

    VERSION = "FileStorageObserver-0.7.0"  #: Sacred's name of the layout
    supports = frozenset(
        {"metrics", "artifacts", "resources", "sources", "output", "queue", "facts", "annotations", "resume"}
    )

    def __init__(
        self,
        basedir: str | os.PathLike[str],
        resource_dir: str | os.PathLike[str] | None = None,
        source_dir: str | os.PathLike[str] | None = None,
        template: str | os.PathLike[str] | None = None,
        priority: float = 20,
        copy_artifacts: bool = True,
        copy_sources: bool = True,
        ignore_in_git: bool = False,
        metrics_json_limit: int = 2_000_000,
    ) -> None:
        if template is not None and not os.path.exists(template):
            raise FileNotFoundError(f"there is no template file {os.fspath(template)!r}")
        self.basedir = os.path.abspath(basedir)
        self.resource_dir = os.path.abspath(resource_dir or os.path.join(self.basedir, RESOURCES))
        self.source_dir = os.path.abspath(source_dir or os.path.join(self.basedir, SOURCES))
        self.template = None if template is None else os.path.abspath(template)
        self.priority = priority
        self.copy_artifacts = copy_artifacts
        self.copy_sources = copy_sources
        self.ignore_in_git = ignore_in_git
        self.metrics_json_limit = metrics_json_limit
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.RLock()
        self._runs: dict[Any, RunFolder] = {}
        self._last: RunFolder | None = None
        self._hosts: dict[tuple[Any, str], tuple[Any, Any, int]] = {}
        self._shared: bool | None = None  # None: the store's folder was not looked at yet

    @classmethod
    def create(cls, *args: Any, **kwargs: Any) -> FileStorageObserver:
        """Make an observer (Sacred's old way)."""
        import warnings

        warnings.warn(
            "FileStorageObserver.create(...) is deprecated: call FileStorageObserver(...)",
            DeprecationWarning,
            stacklevel=2,
        )
        return cls(*args, **kwargs)

    @classmethod
    def create_from(cls, *args: Any, **kwargs: Any) -> FileStorageObserver:
        """Make an observer from its parameters, with nothing checked."""
        return cls(*args, **kwargs)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> FileStorageObserver:
        """Make an observer from ``file:///absolute/path``, ``file:relative`` or a plain path."""
        return cls(path_of(url), **options)

    @classmethod
    def reader(cls, url: str) -> FileStoreReader:
        """Return a reader of the store at `url`."""
        return FileStoreReader(path_of(url))

    @classmethod
    def curator(cls, url: str) -> FileStoreCurator:
        """Return a curator of the store at `url`."""
        return FileStoreCurator(path_of(url))

    @property
    def local_folder(self) -> str:
        """The store's folder: what a run spools beside it moves in without being copied."""
        return self.basedir

    @property
    def identity(self) -> str:
        """Name the store: ``file://`` and the real path."""
        return "file://" + os.path.realpath(self.basedir)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileStorageObserver) and self.basedir == other.basedir

    def __hash__(self) -> int:
        return hash(self.basedir)

    def __repr__(self) -> str:
        return f"FileStorageObserver({self.basedir!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def transient(self, error: BaseException) -> bool:
        """Say whether `error` may pass: a full disk, a file system that is away, too many open files."""
        return super().transient(error) or (isinstance(error, OSError) and error.errno in _atomic.PASSING)

    # What Sacred's observer shows of the last run that was told of.

    @property
    def dir(self) -> str | None:
        """Folder of the run that was told of last."""
        return None if self._last is None else self._last.path

    @property
    def run_entry(self) -> dict[str, Any] | None:
        """``run.json`` of that run."""
        return None if self._last is None else self._last.documents.run

    @property
    def config(self) -> Any:
        """``config.json`` of that run."""
        return None if self._last is None else self._last.documents.config

    @property
    def info(self) -> Any:
        """``info.json`` of that run."""
        return None if self._last is None else self._last.documents.info or {}

    # --------------------------------------------------------------------------------------------- the hooks

    def opened_event(self, host: Any, version: Any = None, uid: Any = None, writer: str = "main", seq: int = 0) -> None:
        with self._lock:
            run = self._known(uid)
            if run is None:
                self._hosts[uid, writer] = (host, version, seq)  # until the start tells of the run
            elif not run.has(writer, seq):
                run.change("opened", writer, host, version)
                run.stored(writer, seq)

    def queued_event(
        self,
        ex_info: dict[str, Any],
        command: str,
        host_info: dict[str, Any],
        queue_time: datetime,
        config: dict[str, Any],
        meta_info: dict[str, Any],
        _id: Any,
        uid: Any = None,
        writer: str = "main",
        seq: int = 0,
    ) -> str:
        described = (ex_info, command, host_info, config, meta_info)
        return self._begin("QUEUED", queue_time, described, _id, uid, writer, seq)

    def started_event(
        self,
        ex_info: dict[str, Any],
        command: str,
        host_info: dict[str, Any],
        start_time: datetime,
        config: dict[str, Any],
        meta_info: dict[str, Any],
        _id: Any,
        uid: Any = None,
        writer: str = "main",
        seq: int = 0,
    ) -> str:
        described = (ex_info, command, host_info, config, meta_info)
        return self._begin("RUNNING", start_time, described, _id, uid, writer, seq)

    def _begin(
        self, status: str, moment: datetime, described: tuple[Any, ...], _id: Any, uid: Any, writer: str, seq: int
    ) -> str:
        with self._lock:
            run = None if uid is None else self._known(uid)  # whom Sacred calls, it tells of one run after the other
            if run is None:
                run = self._claim(uid, _id)
                self._runs[uid] = run
                for key in [key for key in self._hosts if key[0] == uid]:
                    host, version, place = self._hosts.pop(key)
                    run.change("opened", key[1], host, version)
                    run.stored(key[1], place)
            self._last = run
            if not run.has(writer, seq):
                run.ended = False
                run.change("describe", status, moment, *described)
                if status == "RUNNING" and not os.path.exists(run.file("cout.txt")):
                    run.write_output("", 0)
                if uid is None:
                    self._copy_sources(run, described[0])
                run.stored(writer, seq)
            # The label is a promise to others: it is written before it is returned.
            run.flush()
            return _label(run)

    def resumed_event(self, resume_time: datetime, uid: Any = None, writer: str = "main", seq: int = 0) -> None:
        def act(run: RunFolder) -> None:
            run.ended = False
            run.change("resumed", resume_time)

        self._tell(act, uid, writer, seq)

    def facts_event(self, name: str, facts: Any, uid: Any = None, writer: str = "main", seq: int = 0) -> None:
        self._tell(lambda run: run.change("facts", name, facts), uid, writer, seq)

    def output_event(self, text: str, offset: int, uid: Any = None, writer: str = "main", seq: int = 0) -> None:
        self._tell(lambda run: run.write_output(text, offset), uid, writer, seq)

    def metrics_event(self, batch: MetricsBatch, uid: Any = None, writer: str = "main", seq: int = 0) -> None:
        self._tell(lambda run: run.write_metrics(batch.encoded, writer, seq), uid, writer, seq)

    def log_metrics(
        self,
        metrics_by_name: Mapping[str, Any],
        info: Any = None,
        uid: Any = None,
        writer: str = "main",
        seq: int = 0,
    ) -> None:
        def act(run: RunFolder) -> None:
            from capture.observers._series import batch_line, write_metrics_json

            if any(len(column["values"]) for column in metrics_by_name.values()):
                run.write_metrics(batch_line(metrics_by_name), writer, seq)
                if uid is None:
                    run.flush()
                    write_metrics_json(run.path, _FEW)

        self._tell(act, uid, writer, seq)

    def _beat(
        self,
        info: dict[str, Any],
        beat_time: datetime,
        result: Any,
        uid: Any = None,
        writer: str = "main",
        seq: int = 0,
    ) -> None:
        self._tell(lambda run: run.change("beat", beat_time, info, result), uid, writer, seq)

    heartbeat_event = _Heartbeat(_beat)

    def source_event(
        self,
        path: str,
        digest: str,
        md5: str,
        size: int,
        open: Callable[[], BinaryIO],
        uid: Any = None,
        writer: str = "main",
        seq: int = 0,
    ) -> None:
        def act(run: RunFolder) -> None:
            if self.copy_sources:
                stored = self._share(run, self.source_dir, path, digest, md5, size, open)
                run.change("add_file", "sources", _entry(path, stored, digest, size))
            else:
                run.change("add_file", "sources", self._uncopied(run, path, digest, size))

        self._tell(act, uid, writer, seq)

    def resource_event(
        self,
        filename: str,
        digest: str = "",
        md5: str = "",
        size: int = 0,
        open: Callable[[], BinaryIO] | None = None,
        uid: Any = None,
        writer: str = "main",
        seq: int = 0,
    ) -> None:
        def act(run: RunFolder) -> None:
            if open is None:
                facts = _digest(filename)
                run.change("add_file", "resources", self._resource(run, filename, *facts, opener(filename)))
            else:
                run.change("add_file", "resources", self._resource(run, filename, digest, md5, size, open))

        self._tell(act, uid, writer, seq)

    def artifact_event(
        self,
        name: str,
        filename: str,
        metadata: Any = None,
        content_type: Any = None,
        digest: str = "",
        size: int = 0,
        open: Callable[[], BinaryIO] | None = None,
        uid: Any = None,
        writer: str = "main",
        seq: int = 0,
    ) -> None:
        def act(run: RunFolder) -> None:
            known = (digest, size) if open is not None else _digest(filename)[::2]
            stored = self._store_artifact(run, name, known[0], open or opener(filename))
            entry = _entry(name, stored, *known, metadata=metadata, content_type=content_type)
            run.change("add_file", "artifacts", entry)

        self._tell(act, uid, writer, seq)

    def annotated_event(
        self, tags: list[str] | None, notes: str | None, uid: Any = None, writer: str = "main", seq: int = 0
    ) -> None:
        self._tell(lambda run: run.change("annotate", tags, notes), uid, writer, seq)

    def completed_event(
        self, stop_time: datetime, result: Any, uid: Any = None, writer: str = "main", seq: int = 0
    ) -> None:
        self._tell(lambda run: self._end(run, "COMPLETED", stop_time, result=result), uid, writer, seq)

    def interrupted_event(
        self, interrupt_time: datetime, status: str, uid: Any = None, writer: str = "main", seq: int = 0
    ) -> None:
        self._tell(lambda run: self._end(run, status, interrupt_time), uid, writer, seq)

    def failed_event(
        self, fail_time: datetime, fail_trace: list[str], uid: Any = None, writer: str = "main", seq: int = 0
    ) -> None:
        self._tell(lambda run: self._end(run, "FAILED", fail_time, fail_trace=fail_trace), uid, writer, seq)

    def unknown_event(
        self, payload: dict[str, Any], uid: Any = None, writer: str = "main", seq: int = 0
    ) -> None:
        self._tell(lambda run: run.change("unknown", payload), uid, writer, seq)

    def flush(self) -> None:
        """Write what was told since the last flush; after an ending, put the whole run on the disk."""
        with self._lock:
            for uid, run in list(self._runs.items()):
                if not os.path.isdir(run.path):
                    _log().warning("The folder %s was removed while its run was being recorded", run.path)
                    del self._runs[uid]
                    continue
                self._flush(run)
                if run.ended and uid is not None:
                    del self._runs[uid]  # should more come, it is read from the disk

    def join(self) -> None:
        self.flush()

    # --------------------------------------------------------------------------------------------- a run's state

    def follow_output(self, text: str, uid: Any = None) -> None:
        """Store what is new in `text`, the whole output so far."""
        with self._lock:
            run = self._known(uid)
            if run is not None:
                run.follow_output(text)

    def _tell(self, act: Callable[[RunFolder], None], uid: Any, writer: str, seq: int) -> None:
        """Apply one event, once, to the run that it belongs to."""
        with self._lock:
            run = self._known(uid)
            if run is None:
                raise ObserverError(
                    f"{self.basedir} holds no run {uid}: its start never arrived here, or its folder was removed"
                    if uid is not None
                    else f"{self!r} was told of an event before a run started"
                )
            if run.has(writer, seq):
                return
            self._last = run
            try:
                act(run)
            except Exception:
                run.failed(writer, seq)
                raise
            run.stored(writer, seq)
            if uid is None:
                self._flush(run)

    def _flush(self, run: RunFolder) -> None:
        run.flush(lambda: self._derive(run) if run.ended else None)

    def _known(self, uid: Any) -> RunFolder | None:
        """Return the run of that uid, from memory or from the disk."""
        run = self._runs.get(uid)
        if run is not None or uid is None:
            return run
        path = find_uid(self.basedir, uid)
        if path is None:
            return None
        run = RunFolder.open(path, self.basedir, self._open_to_group())
        self._runs[uid] = run
        return run

    def _open_to_group(self) -> bool:
        """Make the store on first use; say whether it belongs to a group."""
        if self._shared is None:
            self._shared = make_store(self.basedir, self.ignore_in_git)
        return self._shared

    def _claim(self, uid: Any, asked: Any) -> RunFolder:
        """Give a new run its folder: the label asked for where it is free, else the next number."""
        shared = self._open_to_group()
        private = os.path.join(self.basedir, PRIVATE)
        if asked is not None:
            name, label = _labels.folder_of(asked), str(asked)
            if not _labels.take_name(self.basedir, private, shared, name):
                queued = self._take_queued(name, label, uid, shared)
                if queued is not None:
                    return queued
                asked = None
        if asked is None:
            name = label = _labels.take_number(self.basedir, private, shared)
        if uid is not None:
            write_uid(self.basedir, uid, name, shared)
        return RunFolder(os.path.join(self.basedir, name), self.basedir, Documents(label, uid or ""), shared)

    def _take_queued(self, name: str, label: str, uid: Any, shared: bool) -> RunFolder | None:
        """Take over a queued run; None if it is not queued (any more), or is another's."""
        path = os.path.join(self.basedir, name)
        run = RunFolder.open(path, self.basedir, shared)
        documents = run.documents
        if documents.run.get("status") != "QUEUED" or decode(documents.capture["label"]) != label:
            return None
        taken = os.path.join(self.basedir, PRIVATE, "taken")
        _atomic.ensure_folder(taken, shared)
        try:
            os.close(_atomic.create(os.path.join(taken, name), shared))  # of several that want it, one succeeds
        except FileExistsError:
            return None
        run.change("adopt", uid or "")
        run.seqs.clear()
        if uid is not None:
            write_uid(self.basedir, uid, name, shared)
        return run

    def _end(self, run: RunFolder, status: str, moment: datetime, **more: Any) -> None:
        run.change("ended", status, moment, **more)
        run.ended = True

    def _derive(self, run: RunFolder) -> None:
        """Make the files that only repeat what others hold."""
        if run.has_metrics():
            from capture.observers._series import write_metrics_json

            write_metrics_json(run.path, self.metrics_json_limit)
        if self.template is not None:
            _write_report(self.template, run)

    # --------------------------------------------------------------------------------------------- files

    def _copy_sources(self, run: RunFolder, ex_info: dict[str, Any]) -> None:
        """Store the sources that Sacred lists as ``(path, md5)``."""
        base = ex_info.get("base_dir") or ""
        for path, *_ in ex_info.get("sources", ()):
            full = os.path.join(base, path)
            if not self.copy_sources:
                run.change("add_file", "sources", self._uncopied(run, path, "", 0))
                continue
            try:
                digest, md5, size = _digest(full)
            except OSError as error:
                _log().warning("The source file %s could not be stored: %s", full, error)
                run.change("add_file", "sources", _entry(path, None, None, None))
                continue
            stored = self._share(run, self.source_dir, path, digest, md5, size, opener(full))
            run.change("add_file", "sources", _entry(path, stored, digest, size))

    def _uncopied(self, run: RunFolder, path: str, digest: str, size: int) -> dict[str, Any]:
        base = run.documents.run.get("experiment", {}).get("base_dir") or ""
        original = os.path.relpath(os.path.join(base, path), self.basedir)
        return _entry(path, None, digest or None, size if digest else None, original=original)

    def _resource(
        self, run: RunFolder, filename: str, digest: str, md5: str, size: int, open_bytes: Callable[[], BinaryIO]
    ) -> dict[str, Any]:
        inside = _relative(filename, self.basedir)
        if inside is not None and not self.copy_artifacts:
            return _entry(filename, inside, digest, size)
        stored = self._share(run, self.resource_dir, filename, digest, md5, size, open_bytes)
        return _entry(filename, stored, digest, size)

    def _share(
        self,
        run: RunFolder,
        folder: str,
        path: str,
        digest: str,
        md5: str,
        size: int,
        open_bytes: Callable[[], BinaryIO],
    ) -> str:
        """Store bytes once for all runs; return where, relative to the store if they lie in it."""
        _atomic.ensure_folder(folder, run.shared)
        target = os.path.join(folder, _names.blob_name(path, md5 or digest))
        if not _bring(open_bytes, target, digest, size, run.shared):
            target = os.path.join(folder, _names.blob_name(path, digest))
            if not _bring(open_bytes, target, digest, size, run.shared):
                raise ObserverError(f"{target} exists and is not the file that its name says; move it away")
        run.note_blob(target, lambda: _bring(open_bytes, target, digest, size, run.shared))
        run.note_file(target)
        return _relative(target, self.basedir) or target

    def _store_artifact(self, run: RunFolder, name: str, digest: str, open_bytes: Callable[[], BinaryIO]) -> str:
        """Store an artifact in the run's folder; return its path in there."""
        old = run.documents.file("artifacts", name)
        if old is not None:
            path = run.inner(old["stored"])
            _atomic.take(open_bytes, path, digest, run.shared, replace=True)
            run.note_file(path)
            return old["stored"]
        wanted = _names.safe_path(name)
        if run.is_below_file(wanted):
            wanted = _names.flat_name(name)
        number = 1
        while True:
            stored = wanted if number == 1 else _names.numbered(wanted, number)
            number += 1
            if run.is_taken(stored):
                continue
            try:
                path = run.inner(stored)
                _atomic.take(open_bytes, path, digest, run.shared)
            except NotADirectoryError:  # somebody else's file or link is in the way
                wanted, number = _names.flat_name(name), 1
                continue
            except FileExistsError:
                if not _holds(path, digest):
                    continue
            run.note_file(path)
            run.take_path(stored)
            return stored


# ----------------------------------------------------------------------------------------------------- the store


def path_of(url: str | os.PathLike[str]) -> str:
    """Return the folder that a ``file:`` URL or a plain path names.

    Examples
    --------
    >>> path_of("file:///data/my%20runs"), path_of("file://runs"), path_of("runs")
    ('/data/my runs', 'runs', 'runs')
    """
    text = os.fspath(url)
    if text[:5].lower() == "file:":
        text = text[5:]
        if text.startswith("//"):
            text = text[2:]
            if text.startswith("localhost/"):
                text = text[len("localhost") :]
        if "%" in text:
            from urllib.parse import unquote

            text = unquote(text)
        if os.name == "nt" and text[:1] == "/" and text[2:3] == ":":
            text = text[1:]
    return os.path.expanduser(text)


def make_store(basedir: str, ignore_in_git: bool = False) -> bool:
    """Make the folders of a store where they are missing; say whether it belongs to a group.

    Raises
    ------
    ObserverError
        If the store was written by a later version of this library, in a format that this one does not know.
    """
    # a run spools its files below the private folder before its store hears of it, so that one may be there
    is_new = not os.path.isdir(basedir) or set(os.listdir(basedir)) <= {PRIVATE}
    _atomic.ensure_folder(basedir)
    shared = _atomic.is_shared(basedir)
    private = os.path.join(basedir, PRIVATE)
    marker = os.path.join(private, "format.json")
    if os.path.exists(marker):
        check_format(basedir)
        return shared
    _atomic.ensure_folder(os.path.join(private, "uids"), shared)
    if is_new and ignore_in_git:
        _atomic.write(os.path.join(basedir, ".gitignore"), b"*\n", shared)
    _atomic.write(marker, f'{{"format": {FORMAT}, "made_by": "capture {__version__}"}}\n'.encode(), shared)
    return shared


def check_format(basedir: str) -> None:
    """Refuse a store that a later version of this library made and that this one would misread."""
    try:
        marker = read_document(os.path.join(basedir, PRIVATE, "format.json"))
    except FileNotFoundError:
        return
    if not isinstance(marker, dict) or marker.get("format", FORMAT) > FORMAT:
        raise ObserverError(
            f"{basedir} has format {marker.get('format')}, made by {marker.get('made_by')};"
            f" this version ({__version__}) knows {FORMAT}.\n  to use it: upgrade capture"
        )


def find_uid(basedir: str, uid: str) -> str | None:
    """Return the folder of the run with this uid, also in the bin; None if there is none."""
    private = os.path.join(basedir, PRIVATE)
    try:
        with open(os.path.join(private, "uids", _names.safe_component(uid)), encoding="utf-8") as stream:
            name = stream.read().rstrip("\n")
    except FileNotFoundError:
        return None
    if not name or os.path.basename(name) != name:
        return None
    for path in (os.path.join(basedir, name), os.path.join(private, "bin", name)):
        if os.path.isdir(path):
            return path
    return None


def write_uid(basedir: str, uid: str, name: str, shared: bool) -> None:
    """Note which folder a run has, before anything is written into it: a start that is told twice finds it."""
    path = os.path.join(basedir, PRIVATE, "uids", _names.safe_component(uid))
    _atomic.write(path, f"{name}\n".encode(), shared)


def _bring(open_bytes: Callable[[], BinaryIO], target: str, digest: str, size: int, shared: bool) -> bool:
    """See that `target` holds the bytes; false if it holds others."""
    try:
        return os.stat(target).st_size == size
    except FileNotFoundError:
        pass
    try:
        _atomic.take(open_bytes, target, digest, shared)
    except FileExistsError:  # another run stored it just now
        return os.stat(target).st_size == size
    return True


def _holds(path: str, digest: str) -> bool:
    """Say whether a file has these bytes: one that was stored before a crash, but not noted."""
    try:
        return os.path.isfile(path) and not os.path.islink(path) and _digest(path)[0] == digest
    except OSError:
        return False


def _digest(filename: str) -> tuple[str, str, int]:
    """Return SHA-256, MD5 and size of a file."""
    import hashlib

    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with open(filename, "rb") as stream:
        while True:
            chunk = stream.read(_atomic.CHUNK)
            if not chunk:
                return sha256.hexdigest(), md5.hexdigest(), size
            sha256.update(chunk)
            md5.update(chunk)
            size += len(chunk)


def _entry(name: str, stored: str | None, digest: str | None, size: int | None, **more: Any) -> dict[str, Any]:
    """Return what ``capture.json`` says of one file."""
    entry = {"name": encode(name), "stored": stored, "digest": digest, "size": size}
    entry.update({key: encode(value) for key, value in more.items() if value is not None})
    return entry


def _relative(path: str, basedir: str) -> str | None:
    """Return `path` relative to the store, with "/"; None if it lies elsewhere."""
    path, root = os.path.realpath(path), os.path.realpath(basedir)
    if not path.startswith(root + os.sep):
        return None
    return path[len(root) + 1 :].replace(os.sep, "/")


def _label(run: RunFolder) -> str:
    return decode(run.documents.capture["label"])


def _write_report(template: str, run: RunFolder) -> None:
    try:
        from mako.template import Template
    except ImportError:
        _log().warning("No report was made from %s: it needs mako (pip install mako)", template)
        return
    documents = run.documents
    with open(run.file("cout.txt"), encoding="utf-8", errors="replace") as stream:
        output = stream.read()
    try:
        text = Template(filename=template).render(
            run=documents.run, config=documents.config, info=documents.info or {}, cout=output, savedir=run.path
        )
    except Exception:  # noqa: BLE001 - a template is the user's code; its faults must not keep the run from being stored
        _log().exception("No report was made from %s", template)
        return
    extension = os.path.splitext(template)[1]
    _atomic.write(run.file("report" + extension), text.encode("utf-8", "surrogatepass"), run.shared, durable=True)


def _log() -> Any:
    import logging

    return logging.getLogger("capture.observers")


# ------------------------------------------------------------------------------------------------------- reading


class FileStoreReader(Reader):
    """Reads a store of run folders, ours and Sacred's. It changes nothing, and runs nothing that it reads.

    Parameters
    ----------
    basedir : path
    """

    def __init__(self, basedir: str | os.PathLike[str], root: str | None = None) -> None:
        self.basedir = os.path.abspath(basedir)
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
                if where and not matches(record, where):
                    continue
            except RecordError as error:
                _log().warning("A run was left out: %s", error)
                continue
            found += 1
            yield record

    def is_alive(self, record: RunRecord) -> bool | None:
        """Say whether one of the processes that write the run lives; None where that cannot be told from here.

        A run that has ended or was only queued is not alive.
        """
        if record.status == "QUEUED" or (record.status != "RUNNING" and record.stop_time is not None):
            return False
        answers = [_is_alive(record.uid, writer, host) for writer, host in record.writers.items()]
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
        uids = self.uids()
        candidates = by_part_of_uid(wanted, list(uids))
        folders = {uids[uid] for uid in candidates}
        if len(folders) == 1:
            return os.path.join(self._root, folders.pop())
        if folders:
            listed = ", ".join(f"{self._label(uids[uid])} ({uid})" for uid in candidates)
            because = f"{wanted!r} is the beginning or end of the uid of several runs of {self.basedir}: {listed}"
            raise not_found(self.basedir, run, self.labels(), because)
        raise not_found(self.basedir, run, self.labels())

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
                " written\n  what is left:  " + ", ".join(sorted(os.listdir(folder)))
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
        record.metrics = _lazy_series(folder)
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
        record.sources = [self._stored(entry, self.basedir) for entry in files.get("sources", [])]
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
            path = self._inside(os.path.join(folder, str(name)), folder)
            record.artifacts.append(_sacred_file(str(name), path, ""))

    def _sacred_path(self, kind: str, stored: str, name: str, folder: str) -> str | None:
        """Return where a file that Sacred stored lies: the store may have moved since."""
        candidates = [
            os.path.join(self.basedir, stored),
            stored,
            os.path.join(self.basedir, f"_{kind}", os.path.basename(stored)),
            os.path.join(folder, os.path.basename(name)),  # a queued run keeps its sources with it
        ]
        for path in candidates:
            if os.path.isfile(path) and self._inside(path, self.basedir):
                return path
        return None

    def _stored(self, entry: dict[str, Any], base: str) -> StoredFile:
        name, stored = decode(entry["name"]), entry.get("stored")
        open_bytes = None
        if stored is not None:
            path = self._inside(os.path.join(base, *stored.split("/")), self.basedir)
            if path is not None:
                open_bytes = opener(path)
        return StoredFile(
            name,
            entry.get("digest"),
            entry.get("size"),
            decode(entry.get("metadata")),
            decode(entry.get("content_type")),
            open_bytes,
        )

    def _inside(self, path: str, root: str) -> str | None:
        """Return `path` unless a record makes it lead out of the store: a record must not show other files."""
        real, real_root = os.path.realpath(path), os.path.realpath(root)
        return path if real.startswith(real_root + os.sep) else None


def _is_run(folder: str) -> bool:
    """Say whether a folder is that of a run. One that was just made, with nothing in it, is not one yet."""
    return any(os.path.exists(os.path.join(folder, name)) for name in ("run.json", EXTENSION, "config.json"))


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


def _lazy_series(folder: str) -> Any:
    from capture.observers._series import StoredSeries

    return StoredSeries(folder)


def _sacred_file(name: str, path: str | None, stored: str) -> StoredFile:
    """Return a file of a record of Sacred's: of its digest it knows the MD5 at most, in its stored name."""
    stem, _, tail = os.path.splitext(os.path.basename(stored))[0].rpartition("_")
    md5 = tail if stem and len(tail) == 32 else stored if len(stored) == 32 and not os.path.dirname(stored) else ""
    metadata = {"md5": md5} if md5 and not md5.strip("0123456789abcdef") else None
    size = None if path is None else os.stat(path).st_size
    return StoredFile(name, None, size, metadata, None, None if path is None else opener(path))


def _is_alive(uid: str, writer: str, host: Any) -> bool | None:
    """Say whether one writer lives; None where that cannot be told from here.

    Alive is who holds the lock on its journal. The journal is asked only on the machine, and in the boot, of its
    writer; that it is gone says something only where its folder is the very one that the writer saw.
    """
    if not isinstance(host, dict):
        return None
    from capture.journal import probe
    from capture.probes.host import machine_identity, process_start

    here = machine_identity()
    if host.get("machine_id") is None or host.get("machine_id") != here["machine_id"]:
        return None
    if host.get("boot_id") is None or here["boot_id"] is None:
        return None
    if host["boot_id"] != here["boot_id"]:
        return False  # the machine was started again since
    journal = host.get("journal")
    if isinstance(journal, str):
        answer = probe(journal)
        if answer in ("alive", "dead"):
            return answer == "alive"
        if answer == "missing":
            return False if _place_of(os.path.dirname(journal)) == host.get("journal_dir") else None
    started = process_start(host["pid"]) if isinstance(host.get("pid"), int) else None
    if started is not None and started == host.get("pid_start"):
        return True
    same_processes = host.get("hostname") == here["hostname"]  # a container sees its own processes only
    return False if same_processes and isinstance(host.get("pid"), int) and not isinstance(journal, str) else None


def _place_of(folder: str) -> list[int] | None:
    """Return device and inode of a folder, which name it on this machine."""
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return [found.st_dev, found.st_ino]


# ----------------------------------------------------------------------------------------------------- curating


class FileStoreCurator(Curator):
    """Changes what people may change in a store of run folders.

    Parameters
    ----------
    basedir : path
    """

    def __init__(self, basedir: str | os.PathLike[str]) -> None:
        self.basedir = os.path.abspath(basedir)
        self._private = os.path.join(self.basedir, PRIVATE)
        self._bin = os.path.join(self._private, "bin")
        self._reader = FileStoreReader(self.basedir)
        self._bin_reader = FileStoreReader(self.basedir, root=self._bin)

    def annotate(self, run: Any, tags: list[str] | None = None, notes: str | None = None) -> None:
        """Set tags or notes; None leaves the old ones."""
        folder = self._reader.folder(run)
        writer = RunFolder.open(folder, self.basedir, _atomic.is_shared(self.basedir))
        writer.change("annotate", tags, notes)
        writer.flush()

    def bin(self, run: Any) -> None:
        """Take a run out of sight: its folder moves into ``_capture/bin``.

        Raises
        ------
        ObserverError
            If the run is being written.
        """
        folder = self._reader.folder(run)
        name = os.path.basename(folder)
        if self._reader.is_alive(self._reader.get(run)):
            raise ObserverError(f"run {run} of {self.basedir} is still going on: stop it first")
        shared = make_store(self.basedir)
        _atomic.ensure_folder(self._bin, shared)
        if _labels.is_number(name):
            _labels.keep_number(self.basedir, self._private, shared, int(name))
        self._move(folder, os.path.join(self._bin, name))

    def restore(self, run: Any) -> None:
        """Bring a binned run back under its label."""
        folder = self._bin_reader.folder(run)
        self._move(folder, os.path.join(self.basedir, os.path.basename(folder)))

    def _move(self, folder: str, target: str) -> None:
        if os.path.lexists(target):
            raise ObserverError(f"{target} exists already; move it away first")
        os.rename(folder, target)

    def binned(self) -> list[str]:
        """Return the labels of the runs in the bin, oldest first."""
        return self._bin_reader.labels()

    def purge(self, run: Any) -> None:
        """Delete a binned run for good, and the shared files that no other run uses. Its label is never given again."""
        import shutil

        folder = self._bin_reader.folder(run)
        name = os.path.basename(folder)
        used = shared_files(folder)
        shared = make_store(self.basedir)
        _labels.bury(self._private, shared, name)
        uid = next((uid for uid, known in self._bin_reader.uids().items() if known == name), None)
        shutil.rmtree(folder)
        if uid is not None:
            _atomic.remove(os.path.join(self._private, "uids", _names.safe_component(uid)))
        self._sweep(used)

    def _sweep(self, candidates: set[str]) -> None:
        """Delete those shared files that no run uses.

        A run may find such a file and decide to use it at this very moment. So each is moved away first, and comes back
        if a run has noted it meanwhile; a run, having noted a file, looks whether it is still there.
        """
        trash = os.path.join(self._private, "trash")
        away: dict[str, str] = {}
        for stored in sorted(candidates):
            path = os.path.join(self.basedir, stored)
            if os.path.isfile(path):
                _atomic.ensure_folder(trash)
                away[stored] = _atomic.temporary(trash)
                os.rename(path, away[stored])
        if not away:
            return
        try:
            used: set[str] | None = set().union(*[shared_files(folder) for folder in self._folders()])
        except RecordError as error:
            _log().warning("No shared file was deleted, since a run that may use them cannot be read: %s", error)
            used = None
        for stored, new in away.items():
            if used is not None and stored not in used:
                _atomic.remove(new)
            else:
                os.replace(new, os.path.join(self.basedir, stored))

    def _folders(self) -> list[str]:
        """Return the folders of all runs, those in the bin too."""
        return [*self._reader.folders(), *self._bin_reader.folders()]

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

        return erase(self.basedir, self._folders(), value)


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
