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

from capture.codec import decode, encode
from capture.errors import ObserverError
from capture.hooks import RunObserver
from capture.observers import _atomic, _labels, _names
from capture.observers._run_folder import Documents, RunFolder
from capture.observers._store import (
    PRIVATE,
    RESOURCES,
    SOURCES,
    Blob,
    bring,
    find_uid,
    holds,
    log,
    make_store,
    path_of,
    relative,
    write_uid,
)  # fmt: skip
from capture.settings import SETTINGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from typing import Any, BinaryIO

    from capture.hooks import MetricsBatch
    from capture.observers._file_curator import FileStoreCurator
    from capture.observers._file_reader import FileStoreReader

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
    metrics_json_limit : int, optional
        Measurements of a run above which ``metrics.json`` is left to `write_metrics_json`; default:
        ``SETTINGS.METRICS.JSON_LIMIT``.

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
        metrics_json_limit: int | None = None,
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
        from capture.observers._file_reader import FileStoreReader

        return FileStoreReader(path_of(url))

    @classmethod
    def curator(cls, url: str) -> FileStoreCurator:
        """Return a curator of the store at `url`."""
        from capture.observers._file_curator import FileStoreCurator

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
        requested: bool = True,
        uid: Any = None,
        writer: str = "main",
        seq: int = 0,
    ) -> str:
        described = (ex_info, command, host_info, config, meta_info)
        return self._begin("RUNNING", start_time, described, _id, uid, writer, seq, takes_over=requested)

    def _begin(
        self,
        status: str,
        moment: datetime,
        described: tuple[Any, ...],
        _id: Any,
        uid: Any,
        writer: str,
        seq: int,
        takes_over: bool = False,
    ) -> str:
        with self._lock:
            run = None if uid is None else self._known(uid)  # whom Sacred calls, it tells of one run after the other
            if run is None:
                run = self._claim(uid, _id, takes_over)
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
                stored = self._share(run, self.source_dir, path, Blob(digest, md5, size, open))
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
            blob = Blob.of_file(filename) if open is None else Blob(digest, md5, size, open)
            stored = relative(filename, self.basedir)
            if stored is None or self.copy_artifacts:
                stored = self._share(run, self.resource_dir, filename, blob)
            run.change("add_file", "resources", _entry(filename, stored, blob.digest, blob.size))

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
            blob = Blob.of_file(filename) if open is None else Blob(digest, "", size, open)
            stored = self._store_artifact(run, name, blob)
            entry = _entry(name, stored, blob.digest, blob.size, metadata=metadata, content_type=content_type)
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

    def unknown_event(self, payload: dict[str, Any], uid: Any = None, writer: str = "main", seq: int = 0) -> None:
        self._tell(lambda run: run.change("unknown", payload), uid, writer, seq)

    def flush(self) -> None:
        """Write what was told since the last flush; after an ending, put the whole run on the disk."""
        with self._lock:
            for uid, run in list(self._runs.items()):
                if not os.path.isdir(run.path):
                    log().warning("The folder %s was removed while its run was being recorded", run.path)
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

    def _claim(self, uid: Any, asked: Any, takes_over: bool) -> RunFolder:
        """Give a new run its folder: the label asked for where it is free, or that of a queued run that it takes over.

        Else it gets the next number.
        """
        shared = self._open_to_group()
        private = os.path.join(self.basedir, PRIVATE)
        if asked is not None:
            name, label = _labels.folder_of(asked), str(asked)
            if not _labels.take_name(self.basedir, private, shared, name):
                queued = self._take_queued(name, label, uid, shared) if takes_over else None
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

            limit = self.metrics_json_limit
            write_metrics_json(run.path, SETTINGS.METRICS.JSON_LIMIT if limit is None else limit)
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
                blob = Blob.of_file(full)
            except OSError as error:
                log().warning("The source file %s could not be stored: %s", full, error)
                run.change("add_file", "sources", _entry(path, None, None, None))
                continue
            stored = self._share(run, self.source_dir, path, blob)
            run.change("add_file", "sources", _entry(path, stored, blob.digest, blob.size))

    def _uncopied(self, run: RunFolder, path: str, digest: str, size: int) -> dict[str, Any]:
        base = run.documents.run.get("experiment", {}).get("base_dir") or ""
        original = os.path.relpath(os.path.join(base, path), self.basedir)
        return _entry(path, None, digest or None, size if digest else None, original=original)

    def _share(self, run: RunFolder, folder: str, path: str, blob: Blob) -> str:
        """Store bytes once for all runs; return where, relative to the store if they lie in it."""
        _atomic.ensure_folder(folder, run.shared)
        target = os.path.join(folder, _names.blob_name(path, blob.md5 or blob.digest))
        if not bring(blob, target, run.shared):
            target = os.path.join(folder, _names.blob_name(path, blob.digest))
            if not bring(blob, target, run.shared):
                raise ObserverError(f"{target} exists and is not the file that its name says; move it away")
        run.note_blob(target, lambda: bring(blob, target, run.shared))
        run.note_file(target)
        return relative(target, self.basedir) or target

    def _store_artifact(self, run: RunFolder, name: str, blob: Blob) -> str:
        """Store an artifact in the run's folder; return its path in there."""
        old = run.documents.file("artifacts", name)
        if old is not None:
            path = run.inner(old["stored"])
            _atomic.take(blob.open, path, blob.digest, run.shared, replace=True)
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
                _atomic.take(blob.open, path, blob.digest, run.shared)
            except NotADirectoryError:  # somebody else's file or link is in the way
                wanted, number = _names.flat_name(name), 1
                continue
            except FileExistsError:
                if not holds(path, blob.digest):
                    continue
            run.note_file(path)
            run.take_path(stored)
            return stored


def _entry(name: str, stored: str | None, digest: str | None, size: int | None, **more: Any) -> dict[str, Any]:
    """Return what ``capture.json`` says of one file."""
    entry = {"name": encode(name), "stored": stored, "digest": digest, "size": size}
    entry.update({key: encode(value) for key, value in more.items() if value is not None})
    return entry


def _label(run: RunFolder) -> str:
    return decode(run.documents.capture["label"])


def _write_report(template: str, run: RunFolder) -> None:
    try:
        from mako.template import Template
    except ImportError:
        log().warning("No report was made from %s: it needs mako (pip install mako)", template)
        return
    documents = run.documents
    with open(run.file("cout.txt"), encoding="utf-8", errors="replace") as stream:
        output = stream.read()
    try:
        text = Template(filename=template).render(
            run=documents.run, config=documents.config, info=documents.info or {}, cout=output, savedir=run.path
        )
    except Exception:  # noqa: BLE001 - a template is the user's code; its faults must not keep the run from being stored
        log().exception("No report was made from %s", template)
        return
    extension = os.path.splitext(template)[1]
    _atomic.write(run.file("report" + extension), text.encode("utf-8", "surrogatepass"), run.shared, durable=True)


def __getattr__(name: str) -> Any:
    """Give reader and curator here too, without a run having to load them."""
    if name == "FileStoreReader":
        from capture.observers._file_reader import FileStoreReader

        return FileStoreReader
    if name == "FileStoreCurator":
        from capture.observers._file_curator import FileStoreCurator

        return FileStoreCurator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
