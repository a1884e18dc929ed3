"""The store of run folders elsewhere keeps the contract of a store, on several kinds of filesystem."""

from __future__ import annotations

import hashlib

import pytest

from capture.observers.remote import RemoteFolderObserver
from capture.testing import Backend, ObserverContract

pytest.importorskip("fsspec")


def backend_at(url: str, **options) -> Backend:
    return Backend(
        RemoteFolderObserver(url, options),
        RemoteFolderObserver.reader(url, storage_options=options),
        RemoteFolderObserver.curator(url, storage_options=options),
    )


class TestMemory(ObserverContract):
    """A store that ends with the process: fsspec's simplest."""

    @pytest.fixture(autouse=True)
    def _clean(self):
        yield
        from fsspec.implementations.memory import MemoryFileSystem

        MemoryFileSystem.store.clear()
        MemoryFileSystem.pseudo_dirs[:] = [""]

    def backend(self, tmp_path):
        return backend_at(f"memory://{hashlib.md5(str(tmp_path).encode()).hexdigest()}/runs")


class TestS3(ObserverContract):
    """Object stores refuse to write what exists, or what changed; they have no append and no rename."""

    @pytest.fixture(autouse=True)
    def _server(self, s3_url):
        self.url = s3_url

    def backend(self, tmp_path):
        return backend_at(f"{self.url}/{hashlib.md5(str(tmp_path).encode()).hexdigest()}")


class TestLocal(ObserverContract):
    """A filesystem with folders, where a write is not atomic and a rename is."""

    def backend(self, tmp_path):
        return backend_at(f"local://{tmp_path}/runs")
