"""The file store keeps the contract of a store."""

from __future__ import annotations

from capture.observers import FileStorageObserver, FileStoreCurator, FileStoreReader
from capture.testing import Backend, ObserverContract


class TestFileStore(ObserverContract):
    def backend(self, tmp_path):
        runs = tmp_path / "runs"
        return Backend(FileStorageObserver(runs), FileStoreReader(runs), FileStoreCurator(runs))
