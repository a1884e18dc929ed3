"""Fixtures that give tests a real server.

- ``mongo_server``: shared by the session; never stop or kill it.
- ``mongo_url``: a fresh, empty database of it.
- ``own_mongo``: a factory of private servers, not started yet, which the test may hurt; takes the class's options.

And so for the other servers.
"""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import sys
from typing import NoReturn

import pytest

from tests.servers.mariadb import MariaDB
from tests.servers.mlflow import MLflow
from tests.servers.mongo import Mongo
from tests.servers.omniboard import Omniboard
from tests.servers.postgres import Postgres
from tests.servers.s3 import S3

#: by which names tests call the kinds of stores that need a server of the session
_KINDS = {"mongodb": "mongo", "postgresql": "postgres"}
_KINDS.update((name, name) for name in ("mongo", "postgres", "mariadb", "s3"))

#: what the tests of stores and messages import, and are left out without
DRIVERS = ("adlfs", "alembic", "apprise", "fsspec", "gcsfs", "paramiko", "psycopg", "pymongo", "pymysql", "s3fs")
DRIVERS += ("sqlalchemy", "tinydb")


def are_required() -> bool:
    """Say whether somebody counts on the tests that need a server or a driver: then none may be left out."""
    return os.environ.get("REQUIRE_SERVERS", "0") not in ("", "0")


def leave_out(reason: str) -> NoReturn:
    """Skip the test; fail it where somebody counts on it."""
    if are_required():
        pytest.fail(f"{reason} (REQUIRE_SERVERS is set)", pytrace=False)
    pytest.skip(reason)


def each_kind(*kinds: str) -> list:
    """Return kinds of stores for `parametrize`; those that need a server are marked so.

    For tests and fixtures that get their server by `request.getfixturevalue`, which nobody can know beforehand.
    """
    return [pytest.param(kind, marks=pytest.mark.server(_KINDS[kind])) if kind in _KINDS else kind for kind in kinds]


def url_of_kind(kind: str, request, tmp_path) -> str:
    """Return the URL of an empty store of one of the kinds that `each_kind` names."""
    if kind in _KINDS:
        return request.getfixturevalue(f"{_KINDS[kind]}_url")
    files = {"file": "{}", "sqlite": "sqlite:///{}.db", "tinydb": "tinydb://{}", "memory": "memory://{}"}
    return files[kind].format(tmp_path / "runs")


def needed_servers(item) -> list[str]:
    """Return the fixtures of servers that a test takes, or says that it will."""
    taken = {name for name in getattr(item, "fixturenames", ()) if re.fullmatch(r"own_\w+|\w+_server", name)}
    return sorted(taken.union(f"{name}_server" for mark in item.iter_markers("server") for name in mark.args))


_running: list = []  #: the test that is being run


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item) -> None:
    _running[:] = [item]


def check_mark() -> None:
    """Refuse a server to a test that is not marked: it would be among the quick ones."""
    for item in _running:
        if item.get_closest_marker("server") is None:
            pytest.fail(f"{item.nodeid} needs a server: mark it by pytest.mark.server, or see each_kind", pytrace=False)


def pytest_configure(config) -> None:
    """Refuse to begin where whole modules of tests would be left out for want of a driver, and are counted on."""
    missing = [name for name in DRIVERS if importlib.util.find_spec(name) is None] if are_required() else []
    if missing:
        raise pytest.UsageError(f"REQUIRE_SERVERS is set, and the tests need {', '.join(missing)}: pip install -e '.[test]'")


def require(server_class) -> None:
    """Skip the test if the server's software is missing; fail it where somebody counts on it."""
    check_mark()
    missing = server_class.missing()
    reason = f"{missing}: python -m tests.servers install {server_class.name}"
    if missing is None:
        reason = missing_driver(server_class)
    if reason is not None:
        leave_out(reason)


def missing_driver(server_class) -> str | None:
    """Say which package of the `test` extra the tests themselves lack for this server; None if they lack none."""
    for module in server_class.drivers:
        if importlib.util.find_spec(module) is None:
            return f"the tests need {module} for {server_class.name}: pip install -e '.[test]'"
    return None


def shared(server_class, **options):
    """Yield the server of the session: a given one, or one of ours."""
    given = os.environ.get(server_class.variable)
    if given:
        check_mark()
        yield server_class(given=given)
        return
    require(server_class)
    with server_class(**options) as server:
        yield server


def own(server_class):
    """Yield a factory of private servers, and remove them in the end."""
    require(server_class)
    made = []

    def make(*arguments, **options):
        made.append(server_class(*arguments, **options))
        return made[-1]

    yield make
    for server in made:
        server.remove()


def fresh_name() -> str:
    """A name for a database or bucket that no test before used, on a server that others may use, too."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture(scope="session")
def mongo_server():
    """The session's MongoDB."""
    yield from shared(Mongo)


@pytest.fixture
def mongo_url(mongo_server):
    """URL of an empty database."""
    name = fresh_name()
    yield mongo_server.url_of(name)
    mongo_server.drop(name)


@pytest.fixture
def own_mongo():
    """Factory of private MongoDB servers: ``own_mongo(auth=True).start()``."""
    yield from own(Mongo)


@pytest.fixture(scope="session")
def postgres_server():
    """The session's PostgreSQL."""
    yield from shared(Postgres, fsync=False)


@pytest.fixture
def postgres_url(postgres_server):
    """URL of an empty database."""
    name = fresh_name()
    postgres_server.create(name)
    yield postgres_server.url_of(name)
    postgres_server.drop(name)


@pytest.fixture
def own_postgres():
    """Factory of private PostgreSQL servers: ``own_postgres().start()``."""
    yield from own(Postgres)


@pytest.fixture(scope="session")
def mariadb_server():
    """The session's MariaDB."""
    yield from shared(MariaDB, fsync=False)


@pytest.fixture
def mariadb_url(mariadb_server):
    """URL of an empty database."""
    name = fresh_name()
    mariadb_server.create(name)
    yield mariadb_server.url_of(name)
    mariadb_server.drop(name)


@pytest.fixture
def own_mariadb():
    """Factory of private MariaDB servers: ``own_mariadb().start()``."""
    yield from own(MariaDB)


@pytest.fixture(scope="session")
def s3_server():
    """The session's S3."""
    yield from shared(S3)


@pytest.fixture
def s3_url(s3_server, monkeypatch):
    """URL of an empty folder in an empty bucket; endpoint and credentials are in the environment."""
    name = fresh_name()
    s3_server.create(name)
    for variable, value in s3_server.client_environment.items():
        monkeypatch.setenv(variable, value)
    forget_s3_clients()
    yield s3_server.url_of(name)
    s3_server.drop(name)
    forget_s3_clients()


@pytest.fixture
def own_s3():
    """Factory of private S3 services: ``server = own_s3().start()``; see its ``client_environment``."""
    yield from own(S3)
    forget_s3_clients()


@pytest.fixture(scope="session")
def mlflow_server():
    """The session's MLflow."""
    yield from shared(MLflow)


@pytest.fixture
def mlflow_url(mlflow_server):
    """Tracking URI of the session's MLflow; other tests use it, too, so name an experiment of your own."""
    return mlflow_server.url


@pytest.fixture
def own_mlflow():
    """Factory of private MLflow servers: ``own_mlflow().start()``."""
    yield from own(MLflow)


@pytest.fixture
def own_omniboard():
    """Factory of Omniboards: ``own_omniboard(mongo_url).start()``."""
    yield from own(Omniboard)


def forget_s3_clients() -> None:
    """Let s3fs make its clients anew: it keeps them by their arguments, and does not look at the environment again."""
    s3fs = sys.modules.get("s3fs")
    if s3fs is not None:
        s3fs.S3FileSystem.clear_instance_cache()
