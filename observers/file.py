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

from capture.codec import decode, encode
from capture.errors import ObserverError
from capture.observers import _atomic, _labels, _names
from capture.observers._run_folder import Documents, RunFolder
from capture.observers._store import (
    PRIVATE,
    RESOURCES,
    SOURCES,
    bring,
    find_uid,
    holds,
    make_store,
    path_of,
    relative,
    write_uid,
)  # fmt: skip
from capture.observers._writing import Blob, StoreObserver, log
from capture.settings import SETTINGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from capture.observers._file_curator import FileStoreCurator
    from capture.observers._file_reader import FileStoreReader

_FEW = 10_000  #: measurements up to which metrics.json follows at once where Sacred's hooks are called


class _Run(RunFolder):
    """A run's folder whose files go where its observer says."""

    observer: FileStorageObserver

    def source(self, path: str, blob: Blob) -> None:
        if self.observer.copy_sources:
            stored = self._share(self.observer.source_dir, path, blob)
            self.change("add_file", "sources", _entry(path, stored, blob.digest, blob.size))
        else:
            self.name_source(path, blob.digest, blob.size)

    def name_source(self, path: str, digest: str | None, size: int | None) -> None:
        """Note a source whose bytes are not kept."""
        base = self.documents.run.get("experiment", {}).get("base_dir") or ""
        original = os.path.relpath(os.path.join(base, path), self.basedir)
        self.change("add_file", "sources", _entry(path, None, digest, size, original=original))

    def resource(self, filename: str, blob: Blob) -> None:
        stored = relative(filename, self.basedir)
        if stored is None or self.observer.copy_artifacts:
            stored = self._share(self.observer.resource_dir, filename, blob)
        self.change("add_file", "resources", _entry(filename, stored, blob.digest, blob.size))

    def artifact(self, name: str, blob: Blob, metadata: Any, content_type: str | None) -> None:
        stored = self._store_artifact(name, blob)
        entry = _entry(name, stored, blob.digest, blob.size, metadata=metadata, content_type=content_type)
        self.change("add_file", "artifacts", entry)

    def listed(self, kind: str, name: str, digest: str, size: int, metadata: Any, content_type: Any) -> None:
        entry = _entry(name, None, digest, size, metadata=metadata, content_type=content_type)
        self.change("add_file", f"{kind}s", entry)

    def derive(self) -> None:
        if not self.ended:
            return
        if self.has_metrics():
            from capture.observers._series import write_metrics_json

            limit = self.observer.metrics_json_limit
            write_metrics_json(self.path, SETTINGS.METRICS.JSON_LIMIT if limit is None else limit)
        if self.observer.template is not None:
            _write_report(self.observer.template, self)

    def _share(self, folder: str, path: str, blob: Blob) -> str:
        """Store bytes once for all runs; return where, relative to the store if they lie in it."""
        _atomic.ensure_folder(folder, self.shared)
        target = os.path.join(folder, _names.blob_name(path, blob.md5 or blob.digest))
        if not bring(blob, target, self.shared):
            target = os.path.join(folder, _names.blob_name(path, blob.digest))
            if not bring(blob, target, self.shared):
                raise ObserverError(f"{target} exists and is not the file that its name says; move it away")
        self.note_blob(target, lambda: bring(blob, target, self.shared))
        self.note_file(target)
        return relative(target, self.basedir) or target

    def _store_artifact(self, name: str, blob: Blob) -> str:
        """Store an artifact in the run's folder; return its path in there."""
        old = self.documents.file("artifacts", name)
        if old is not None and old["stored"] is not None:
            path = self.inner(old["stored"])
            _atomic.take(blob.open, path, blob.digest, self.shared, replace=True)
            self.note_file(path)
            return old["stored"]
        wanted = _names.safe_path(name)
        if self.is_below_file(wanted):
            wanted = _names.flat_name(name)
        number = 1
        while True:
            stored = wanted if number == 1 else _names.numbered(wanted, number)
            number += 1
            if self.is_taken(stored):
                continue
            try:
                path = self.inner(stored)
                _atomic.take(blob.open, path, blob.digest, self.shared)
            except NotADirectoryError:  # somebody else's file or link is in the way
                wanted, number = _names.flat_name(name), 1
                continue
            except FileExistsError:
                if not holds(path, blob.digest):
                    continue
            self.note_file(path)
            self.take_path(stored)
            return stored


class FileStorageObserver(StoreObserver):
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
        self.copy_artifacts = copy_artifacts
        self.copy_sources = copy_sources
        self.ignore_in_git = ignore_in_git
        self.metrics_json_limit = metrics_json_limit
        super().__init__(priority)

    def forget(self) -> None:
        super().forget()
        self._shared: bool | None = None  # None: the store's folder was not looked at yet

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

    # --------------------------------------------------------------------------------------------- runs

    def find_run(self, uid: str) -> _Run | None:
        path = find_uid(self.basedir, uid)
        return None if path is None else self._own(_Run.open(path, self.basedir, self._open_to_group()))

    def claim_run(self, uid: str | None, asked: Any, takes_over: bool) -> _Run:
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
            with _labels.given_back(os.path.join(self.basedir, name)):
                write_uid(self.basedir, uid, name, shared)
        return self._own(_Run(os.path.join(self.basedir, name), self.basedir, Documents(label, uid or ""), shared))

    def is_gone(self, run: Any) -> bool:
        return not os.path.isdir(run.path)

    def store_listed_sources(self, run: Any, ex_info: dict[str, Any]) -> None:
        if self.copy_sources:
            super().store_listed_sources(run, ex_info)
        for path, *_ in ex_info.get("sources", ()):
            if run.documents.file("sources", path) is None:  # not wanted, or not found
                run.name_source(path, None, None)

    def log_metrics(self, metrics_by_name: Mapping[str, Any], info: Any = None, **place: Any) -> None:
        super().log_metrics(metrics_by_name, info, **place)
        run = self._runs.get(None)
        if run is not None and place.get("uid") is None:
            from capture.observers._series import write_metrics_json

            write_metrics_json(run.path, _FEW)

    def _own(self, run: _Run) -> _Run:
        run.observer = self
        return run

    def _open_to_group(self) -> bool:
        """Make the store on first use; say whether it belongs to a group."""
        if self._shared is None:
            self._shared = make_store(self.basedir, self.ignore_in_git)
        return self._shared

    def _take_queued(self, name: str, label: str, uid: Any, shared: bool) -> _Run | None:
        """Take over a queued run; None if it is not queued (any more), or is another's."""
        path = os.path.join(self.basedir, name)
        run = _Run.open(path, self.basedir, shared)
        documents = run.documents
        if documents.run.get("status") != "QUEUED" or decode(documents.capture["label"]) != label:
            return None
        taken = os.path.join(self.basedir, PRIVATE, "taken")
        _atomic.ensure_folder(taken, shared)
        if not _is_taken_by(os.path.join(taken, name), uid, shared):
            return None
        run.change("adopt", uid or "")
        run.seqs.clear()
        run.missed.clear()
        if uid is not None:
            run.flush()  # before it is found by this uid: a process that dies in between takes it over again
            write_uid(self.basedir, uid, name, shared)
        return self._own(run)


def _is_taken_by(path: str, uid: Any, shared: bool) -> bool:
    """Say whether a run is the first that wants what `path` stands for, now or before its process died."""
    mark = str(uid or "").encode("utf-8", "surrogatepass")
    try:
        descriptor = _atomic.create(path, shared)
    except FileExistsError:
        with open(path, "rb") as stream:
            return bool(mark) and stream.read() == mark
    try:
        _atomic.write_all(descriptor, mark)
    finally:
        os.close(descriptor)
    return True


def _entry(name: str, stored: str | None, digest: str | None, size: int | None, **more: Any) -> dict[str, Any]:
    """Return what ``capture.json`` says of one file."""
    entry = {"name": encode(name), "stored": stored, "digest": digest, "size": size}
    entry.update({key: encode(value) for key, value in more.items() if value is not None})
    return entry


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
