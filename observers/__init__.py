"""Where runs are stored: one module per backend, each with its writer, reader and curator, loaded when first used."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_LAZY = {
    "FileStorageObserver": "capture.observers.file",
    "FileStoreReader": "capture.observers._file_reader",
    "FileStoreCurator": "capture.observers._file_curator",
    "MongoCurator": "capture.observers._mongo_curator",
    "MongoObserver": "capture.observers.mongo",
    "MongoReader": "capture.observers._mongo_reader",
    "MlflowObserver": "capture.observers.mlflow",
    "NotifyObserver": "capture.observers.notify",
    "QueueObserver": "capture.observers.queue",
    "QueuedMongoObserver": "capture.observers.mongo",
    "GoogleCloudStorageObserver": "capture.observers.gcs",
    "RemoteFolderCurator": "capture.observers._remote_curator",
    "RemoteFolderObserver": "capture.observers.remote",
    "RemoteFolderReader": "capture.observers._remote_reader",
    "RunObserver": "capture.hooks",
    "S3Observer": "capture.observers.s3",
    "SlackObserver": "capture.observers.slack",
    "SqlCurator": "capture.observers._sql_curator",
    "SqlObserver": "capture.observers.sql",
    "SqlReader": "capture.observers._sql_reader",
    "TelegramObserver": "capture.observers.telegram",
    "TinyDbCurator": "capture.observers._tinydb_curator",
    "TinyDbObserver": "capture.observers.tinydb",
    "TinyDbReader": "capture.observers._tinydb_reader",
}

__all__ = [
    "FileStorageObserver",
    "FileStoreCurator",
    "FileStoreReader",
    "GoogleCloudStorageObserver",
    "MlflowObserver",
    "MongoCurator",
    "MongoObserver",
    "MongoReader",
    "NotifyObserver",
    "QueueObserver",
    "QueuedMongoObserver",
    "RemoteFolderCurator",
    "RemoteFolderObserver",
    "RemoteFolderReader",
    "RunObserver",
    "S3Observer",
    "SlackObserver",
    "SqlCurator",
    "SqlObserver",
    "SqlReader",
    "TelegramObserver",
    "TinyDbCurator",
    "TinyDbObserver",
    "TinyDbReader",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
