"""An MLflow tracking server."""

from __future__ import annotations

import os
import urllib.request

from tests.servers import installing
from tests.servers.processes import Server

# what the server itself imports; the package `mlflow` would bring scikit-learn, SciPy, matplotlib and pyarrow, too
_REQUIREMENTS = ["mlflow-skinny==3.17.2", "aiohttp", "alembic<2", "cryptography", "Flask<4", "Flask-CORS<7"]
_REQUIREMENTS += ["graphene<4", "huey<4", "numpy<3", "pandas<4", "sqlalchemy<3"]


class MLflow(Server):
    """An ``mlflow server`` that keeps runs in SQLite and artifacts in files; clients reach both by HTTP."""

    name = "mlflow"
    variable = "MLFLOW_URL"
    start_s = 150.0  # it imports for seconds, twice

    @classmethod
    def missing(cls) -> str | None:
        return (
            None if installing.is_installed("mlflow", " ".join(_REQUIREMENTS)) else "the MLflow server is not installed"
        )

    @property
    def url(self) -> str:
        """The tracking URI."""
        return self.given or f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        command = [os.path.join(installing.place("mlflow"), "bin", "mlflow"), "server"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.path('runs.db')}"]
        command += ["--artifacts-destination", self.path("artifacts")]
        return command

    def environment(self) -> dict[str, str]:
        # jobs would start four more processes
        return {**super().environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "DO_NOT_TRACK": "true"}

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False


def install() -> None:
    origin = " ".join(_REQUIREMENTS)
    if not installing.is_installed("mlflow", origin):
        with installing.fresh_place("mlflow", origin) as folder:
            installing.make_environment(folder, _REQUIREMENTS)
