"""The file store in a bucket or on a file server: any filesystem that fsspec knows.

The layout is the file store's own (see `capture.observers.file`), so that a store which is copied from a bucket to a
disk is one there, and the other way round. While a run goes on, its output and measurements lie in pieces beside the
record, since object stores cannot append.
"""

from __future__ import annotations

from capture.errors import ObserverError
from capture.observers._remote_files import EXTRAS, READ_ONLY, is_passing, require, scheme_of, without_user
from capture.observers._remote_store import RESOURCES, SOURCES, RemoteStore, files_at, split_endpoint
from capture.observers._writing import StoreObserver
from capture.secrets import redact_url
from capture.settings import SETTINGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from capture.observers._remote_curator import RemoteFolderCurator
    from capture.observers._remote_reader import RemoteFolderReader
    from capture.observers._remote_run import RemoteRun


class RemoteFolderObserver(StoreObserver):
    """Writes runs into a folder of any filesystem that fsspec knows, in the layout of the file store.

    Parameters
    ----------
    url : str
        ``s3://bucket/runs``, ``gs://bucket/runs``, ``abfs://container@account.dfs.core.windows.net/runs``,
        ``sftp://user@host/data/runs``, ``hdfs://host:port/runs``, ``memory://runs``, or another scheme of fsspec's.
        A service that looks like S3 may be named with it: ``s3://bucket/runs?endpoint=http://host:9000``.
    storage_options : mapping, optional
        What the filesystem's class is made with: endpoints, credentials. Better is to leave these where the service's
        own tools look for them.
    resource_dir, source_dir : str, optional
        Where files that runs share are kept, relative to the store, or with a leading "/" from the root of the
        filesystem (``/bucket/shared``); ``_resources`` and ``_sources``.
    priority : float
    metrics_json_limit : int, optional
        Measurements of a run above which Sacred's ``metrics.json`` is left out; default:
        ``SETTINGS.METRICS.JSON_LIMIT``.

    Raises
    ------
    ObserverError
        If the package for the scheme is missing, or nothing can be written there.

    Notes
    -----
    Nothing is asked of the server before the first run starts.
    """

    def __init__(
        self,
        url: str,
        storage_options: Mapping[str, Any] | None = None,
        resource_dir: str | None = None,
        source_dir: str | None = None,
        priority: float = 20,
        metrics_json_limit: int | None = None,
    ) -> None:
        _refuse_read_only(url)
        require(url)
        self.url, self.storage_options = split_endpoint(url, storage_options)
        self.resource_dir = (resource_dir or RESOURCES).rstrip("/")
        self.source_dir = (source_dir or SOURCES).rstrip("/")
        self.metrics_json_limit = metrics_json_limit
        super().__init__(priority)

    def forget(self) -> None:
        super().forget()
        self._store: RemoteStore | None = None

    @classmethod
    def drivers_of(cls, scheme: str) -> dict[str, str]:
        """Return the modules that a store of this scheme needs, each with what is to be installed for it."""
        found = {
            module: f"experiment-capture[{extra}]"
            for extra, (schemes, modules) in EXTRAS.items()
            for module in modules
            if scheme in schemes
        }
        return {"fsspec": "fsspec", **found}

    @classmethod
    def from_url(cls, url: str, **options: Any) -> RemoteFolderObserver:
        """Make an observer; `options` are its parameters."""
        return cls(url, **options)

    @classmethod
    def reader(cls, url: str, **options: Any) -> RemoteFolderReader:
        """Return a reader of the store at `url`."""
        from capture.observers._remote_reader import RemoteFolderReader

        return RemoteFolderReader(url, **options)

    @classmethod
    def curator(cls, url: str, **options: Any) -> RemoteFolderCurator:
        """Return a curator of the store at `url`."""
        from capture.observers._remote_curator import RemoteFolderCurator

        return RemoteFolderCurator(url, **options)

    @property
    def identity(self) -> str | None:
        """Name the store, without credentials; None for one that ends with the process."""
        scheme = scheme_of(self.url)
        if scheme == "memory":
            return None
        url = without_user(redact_url(self.url)).rstrip("/")
        if scheme in ("s3", "s3a"):
            from capture.observers._remote_s3 import endpoint_of

            endpoint = endpoint_of(self.storage_options)
            return f"{url}?endpoint={without_user(redact_url(endpoint))}" if endpoint else url
        return url

    @property
    def display_name(self) -> str | None:
        """How messages and `Run.labels` call a store without an identity, so that two of them are told apart."""
        return self.url.rstrip("/") if self.identity is None else None

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RemoteFolderObserver)
            and (self.url, self.storage_options) == (other.url, other.storage_options)
        )

    def __hash__(self) -> int:
        return hash(self.url)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({redact_url(self.url)!r})"

    def transient(self, error: BaseException) -> bool:
        """Say whether `error` may pass: a connection that failed, a server that asks to slow down."""
        return super().transient(error) or is_passing(error)

    # What Sacred's observers show of the last run that was told of.

    @property
    def dir(self) -> str | None:
        """Path of the folder of the run that was told of last, without the scheme."""
        return None if self._last is None else self._last.store.files.path(self._last.folder)

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

    def find_run(self, uid: str) -> RemoteRun | None:
        store = self._open_store(uid)
        for folder in store.folders_of_uid(uid):
            run = self._open_run(folder)
            if run is not None:
                return run
        return None

    def claim_run(self, uid: str | None, asked: Any, takes_over: bool) -> RemoteRun:
        store = self._open_store()
        claimed = store.claim(uid, asked)
        if claimed is None and takes_over:
            queued = self._take_queued(str(asked), uid)
            if queued is not None:
                return queued
        if claimed is None:
            claimed = store.claim(uid, None)
        assert claimed is not None, "a number is always free"
        from capture.observers._labels import folder_of
        from capture.observers._remote_run import RemoteRun
        from capture.observers._run_folder import Documents

        label, version = claimed
        return RemoteRun(store, folder_of(label), Documents(label, uid or ""), version, **self._run_options())

    def is_gone(self, run: Any) -> bool:
        return run.gone

    def _take_queued(self, label: str, uid: str | None) -> RemoteRun | None:
        """Take over a queued run; None if it is not queued (any more), or is another's."""
        from capture.codec import decode
        from capture.observers._labels import folder_of

        store, name = self._open_store(), folder_of(label)
        run = self._open_run(name)
        if run is None:
            return None
        documents = run.documents
        if documents.run.get("status") != "QUEUED" or decode(documents.capture["label"]) != label:
            return None
        if not store.take_over(name, uid):
            return None
        run.change("adopt", uid or "")
        run.uid = uid
        run.seqs.clear()
        if uid is not None:
            store.note_uid(uid, name)
        return run

    def _open_run(self, folder: str) -> RemoteRun | None:
        from capture.observers._remote_run import RemoteRun

        return RemoteRun.open(self._open_store(), folder, **self._run_options())

    def _run_options(self) -> dict[str, Any]:
        limit = self.metrics_json_limit
        return {
            "source_dir": self.source_dir,
            "resource_dir": self.resource_dir,
            "metrics_json_limit": SETTINGS.METRICS.JSON_LIMIT if limit is None else limit,
        }

    def _open_store(self, uid: str | None = None) -> RemoteStore:
        """Make the store on first use."""
        if self._store is None:
            self._store = RemoteStore(files_at(self.url, self.storage_options), self._bucket_maker())
        self._store.make(uid)
        return self._store

    def _bucket_maker(self) -> Any:
        """Return what makes a bucket that is missing, or None to leave that to people."""
        return None


def _refuse_read_only(url: str) -> None:
    scheme = scheme_of(url)
    if scheme in READ_ONLY or "::" in url:
        raise ObserverError(
            f"{redact_url(url)} can be read, but a store of runs cannot be written there."
            "\n  possible:  s3://, gs://, abfs://, sftp://, hdfs://, and what else fsspec writes to",
            print_traceback=False,
        )
