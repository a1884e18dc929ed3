"""Fixtures that give tests a real server.

- ``mongo_server``: shared by the session; never stop or kill it.
- ``mongo_url``: a fresh, empty database of it.
- ``own_mongo``: a factory of private servers, not started yet, which the test may hurt; takes the class's options.

And so for the other servers.
"""

from __future__ import annotations

import os
import secrets

import pytest

from tests.servers.mongo import Mongo


def require(server_class) -> None:
    """Skip the test if the server's software is missing; fail it where somebody counts on it."""
    missing = server_class.missing()
    if missing is None:
        return
    reason = f"{missing}: python -m tests.servers install {server_class.name}"
    if os.environ.get("REQUIRE_SERVERS", "0") not in ("", "0"):
        pytest.fail(f"{reason} (REQUIRE_SERVERS is set)", pytrace=False)
    pytest.skip(reason)


def shared(server_class):
    """Yield the server of the session: a given one, or one of ours."""
    given = os.environ.get(server_class.variable)
    if given:
        yield server_class(given=given)
        return
    require(server_class)
    with server_class() as server:
        yield server


def own(server_class):
    """Yield a factory of private servers, and remove them in the end."""
    require(server_class)
    made = []

    def make(**options):
        made.append(server_class(**options))
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
