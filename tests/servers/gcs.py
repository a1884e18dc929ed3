"""Google Cloud Storage, as gcp-storage-emulator plays it."""

from __future__ import annotations

import os
import urllib.request

from tests.servers import installing
from tests.servers.processes import Server, answers

_REQUIREMENTS = ["gcp-storage-emulator==2026.7.19"]


class GCS(Server):
    """A storage service that lets everybody in; a client finds it by ``STORAGE_EMULATOR_HOST``."""

    name = "gcs"
    variable = "GCS_EMULATOR_URL"

    @classmethod
    def missing(cls) -> str | None:
        installed = installing.is_installed("gcs", " ".join(_REQUIREMENTS))
        return None if installed else "gcp-storage-emulator is not installed"

    @property
    def endpoint(self) -> str:
        return self.given or f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return self.url_of("runs")

    def url_of(self, bucket: str) -> str:
        return f"gs://{bucket}/runs"

    def command(self) -> list[str]:
        python = os.path.join(installing.place("gcs"), "bin", "python")
        program = os.path.join(installing.place("gcs"), "bin", "gcp-storage-emulator")
        return [python, program, "start", "--host=127.0.0.1", f"--port={self.port}", "--in-memory"]

    def is_ready(self) -> bool:
        return answers(self.port)

    def create(self, bucket: str) -> None:
        """Make an empty bucket."""
        body = f'{{"name": "{bucket}"}}'.encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.endpoint}/storage/v1/b?project=tests", body, headers)
        urllib.request.urlopen(request, timeout=60).close()


def install() -> None:
    origin = " ".join(_REQUIREMENTS)
    if not installing.is_installed("gcs", origin):
        with installing.fresh_place("gcs", origin) as folder:
            installing.make_environment(folder, _REQUIREMENTS)
