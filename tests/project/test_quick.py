"""The rules by which a test is quick; docs/design.md tells them to developers."""

from __future__ import annotations

import pytest

from tests.servers import fixtures
from tests.servers.fixtures import each_kind, needed_servers


class Item:
    """As much of a test as the rules look at."""

    nodeid = "tests/any.py::test_any"

    def __init__(self, *marks, takes=()):
        self.marks, self.fixturenames = [mark.mark for mark in marks], takes

    def iter_markers(self, name):
        return (mark for mark in self.marks if mark.name == name)

    def get_closest_marker(self, name):
        return next(self.iter_markers(name), None)


def test_a_test_that_needs_a_server_is_slow(request):
    """The quick ones run after every change, on machines that have no servers."""
    for item in request.session.items:
        marks = {mark.name for mark in item.iter_markers()}
        assert "slow" in marks or not needed_servers(item), item.nodeid
        assert "slow" in marks or "server" not in marks, item.nodeid


def test_what_a_test_needs_is_known_before_it_runs():
    """By the fixtures that it takes, or by its mark."""
    assert needed_servers(Item(takes=("tmp_path", "mongo_url", "mongo_server"))) == ["mongo_server"]
    assert needed_servers(Item(takes=("own_s3", "own"))) == ["own_s3"]
    assert needed_servers(Item(pytest.mark.server("postgres"), takes=("_server", "request"))) == ["postgres_server"]
    file, mongo = each_kind("file", "mongodb")
    assert file == "file" and mongo.values == ("mongodb",)
    assert needed_servers(Item(pytest.mark.server("mongo"))) == ["mongo_server"]
    assert [(mark.name, mark.args) for mark in mongo.marks] == [("server", ("mongo",))]


def test_a_server_is_refused_to_a_test_without_the_mark(monkeypatch):
    """Otherwise one that gets it by `getfixturevalue` would be among the quick ones, unnoticed."""
    monkeypatch.setattr(fixtures, "_running", [Item(pytest.mark.slow)])
    with pytest.raises(pytest.fail.Exception, match=r"test_any needs a server: mark it by pytest\.mark\.server"):
        fixtures.check_mark()
    monkeypatch.setattr(fixtures, "_running", [Item(pytest.mark.server)])
    fixtures.check_mark()
