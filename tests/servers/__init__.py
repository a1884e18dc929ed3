"""Real servers for the tests: how they are installed, started, hurt and stopped.

``python -m tests.servers install`` puts them into ``.servers/`` at the root of the repository. The fixtures are in
`tests.servers.fixtures`, which ``tests/conftest.py`` loads; a server whose software is missing skips its tests, or fails
them where ``REQUIRE_SERVERS=1`` is set.
"""

from __future__ import annotations

import os

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
INSTALLED = os.path.join(ROOT, ".servers")  #: what `python -m tests.servers install` puts there

#: name of each server, as its module and in the commands, and of its class
NAMES = {
    "mongo": "Mongo",
    "postgres": "Postgres",
    "mariadb": "MariaDB",
    "s3": "S3",
    "mlflow": "MLflow",
    "omniboard": "Omniboard",
    "ssh": "SSH",
    "azure": "Azure",
    "gcs": "GCS",
}
