"""Azure's blob storage, as Microsoft's own Azurite plays it."""

from __future__ import annotations

import os
import shutil

from tests.servers import installing
from tests.servers.processes import Server, answers

_PACKAGE = "azurite@3.37.0"
_ACCOUNT = "devstoreaccount1"
#: published by Microsoft for Azurite, the same everywhere
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Azure(Server):
    """A blob service with one account; `connection` is what a client needs to enter it."""

    name = "azure"
    variable = "AZURITE_CONNECTION"

    @classmethod
    def missing(cls) -> str | None:
        installed = shutil.which("node") and installing.is_installed("azure", _PACKAGE)
        return None if installed else "Azurite is not installed"

    @property
    def connection(self) -> str:
        """The connection string, for ``AZURE_STORAGE_CONNECTION_STRING``."""
        return self.given or (
            f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};"
            f"BlobEndpoint=http://127.0.0.1:{self.port}/{_ACCOUNT};"
        )

    @property
    def url(self) -> str:
        return self.url_of("runs")

    def url_of(self, container: str) -> str:
        return f"az://{container}/runs"

    def command(self) -> list[str]:
        program = os.path.join(installing.place("azure"), "node_modules", ".bin", "azurite-blob")
        options = ["--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--location", self.path("data")]
        # clients speak a newer version of the protocol than it knows
        return [shutil.which("node") or "", program, *options, "--silent", "--skipApiVersionCheck"]

    def is_ready(self) -> bool:
        return answers(self.port)

    def create(self, container: str) -> None:
        """Make an empty container."""
        from azure.storage.blob import BlobServiceClient

        with BlobServiceClient.from_connection_string(self.connection) as client:
            client.create_container(container)


def install() -> None:
    if installing.is_installed("azure", _PACKAGE):
        return
    if not shutil.which("npm"):
        installing.install_packages(["nodejs", "npm"])
    with installing.fresh_place("azure", _PACKAGE) as folder:
        options = ["--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        installing.run("npm", "install", "--prefix", folder, *options, _PACKAGE)
