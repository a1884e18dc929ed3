"""The store of run folders elsewhere keeps the contract of a store, on several kinds of filesystem."""

from __future__ import annotations

import hashlib

import pytest

from capture.observers.remote import RemoteFolderObserver
from capture.testing import Backend, ObserverContract
from tests.servers.azure import Azure
from tests.servers.fixtures import fresh_name, shared
from tests.servers.gcs import GCS
from tests.servers.ssh import SSH

pytest.importorskip("fsspec")


def backend_at(url: str, **options) -> Backend:
    return Backend(
        RemoteFolderObserver(url, options),
        RemoteFolderObserver.reader(url, storage_options=options),
        RemoteFolderObserver.curator(url, storage_options=options),
    )


def folder_of(tmp_path) -> str:
    return hashlib.md5(str(tmp_path).encode()).hexdigest()


@pytest.fixture(scope="module")
def ssh_server():
    """The module's SSH server."""
    yield from shared(SSH)


@pytest.fixture(scope="module")
def azure_server():
    """The module's Azurite."""
    yield from shared(Azure)


@pytest.fixture(scope="module")
def gcs_server():
    """The module's Google Cloud Storage."""
    yield from shared(GCS)


class TestMemory(ObserverContract):
    """A store that ends with the process: fsspec's simplest."""

    @pytest.fixture(autouse=True)
    def _clean(self):
        yield
        from fsspec.implementations.memory import MemoryFileSystem

        MemoryFileSystem.store.clear()
        MemoryFileSystem.pseudo_dirs[:] = [""]

    def backend(self, tmp_path):
        return backend_at(f"memory://{folder_of(tmp_path)}/runs")


@pytest.mark.slow
class TestS3(ObserverContract):
    """Object stores refuse to write what exists, or what changed; they have no append and no rename."""

    @pytest.fixture(autouse=True)
    def _server(self, s3_url):
        self.url = s3_url

    def backend(self, tmp_path):
        return backend_at(f"{self.url}/{folder_of(tmp_path)}")


class TestLocal(ObserverContract):
    """A filesystem with folders, where a write is not atomic and a rename is."""

    def backend(self, tmp_path):
        return backend_at(f"local://{tmp_path}/runs")


@pytest.mark.slow
class TestSftp(ObserverContract):
    """A file server: folders, a rename, and one connection that carries one request at a time."""

    @pytest.fixture(autouse=True)
    def _server(self, ssh_server, monkeypatch):
        pytest.importorskip("paramiko")
        monkeypatch.setenv("HOME", ssh_server.home)
        self.server = ssh_server

    def backend(self, tmp_path):
        return backend_at(self.server.url_of(folder_of(tmp_path)))


@pytest.mark.slow
class TestAzure(ObserverContract):
    """Azure's blobs refuse to be created twice."""

    @pytest.fixture(autouse=True)
    def _server(self, azure_server, monkeypatch):
        pytest.importorskip("adlfs")
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azure_server.connection)
        self.container = fresh_name()
        azure_server.create(self.container)

    def backend(self, tmp_path):
        return backend_at(f"az://{self.container}/{folder_of(tmp_path)}")


@pytest.mark.slow
class TestGcs(ObserverContract):
    """Google's objects refuse to be created twice; this emulator does not know that, so that the store has to look."""

    @pytest.fixture(autouse=True)
    def _server(self, gcs_server, monkeypatch):
        pytest.importorskip("gcsfs")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server.endpoint)
        self.bucket = fresh_name()
        gcs_server.create(self.bucket)

    def backend(self, tmp_path):
        return backend_at(f"gs://{self.bucket}/{folder_of(tmp_path)}", token="anon")
