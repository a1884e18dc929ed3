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
    start_s = 300.0  # it imports for seconds

    @classmethod
    def missing(cls) -> str | None:
        there = installing.is_installed("mlflow", " ".join(_REQUIREMENTS))
        return None if there else "the MLflow server is not installed"

    @property
    def url(self) -> str:
        """The tracking URI."""
        return self.given or f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """What ``mlflow server`` starts in the end; that program itself imports for as long as the server does."""
        python = os.path.join(installing.place("mlflow"), "bin", "python")
        return [
            python,
            "-m",
            "uvicorn",
            "mlflow.server.fastapi_app:app",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]

    def environment(self) -> dict[str, str]:
        """The options of ``mlflow server`` as it passes them on, which holds for the version above."""
        options = {
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{self.path('runs.db')}",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": self.path("artifacts"),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SGI_NAME": "uvicorn",
            "DO_NOT_TRACK": "true",
        }
        return {**super().environment(), **options}

    def is_ready(self) -> bool:
        """Ask for something that is stored: the first such request makes the database."""
        try:
            url = f"{self.url}/api/2.0/mlflow/experiments/get?experiment_id=0"
            with urllib.request.urlopen(url, timeout=30) as answer:
                return answer.status == 200
        except OSError:
            return False


def install() -> None:
    origin = " ".join(_REQUIREMENTS)
    if not installing.is_installed("mlflow", origin):
        with installing.fresh_place("mlflow", origin) as folder:
            installing.make_environment(folder, _REQUIREMENTS)
