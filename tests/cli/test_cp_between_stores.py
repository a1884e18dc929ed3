"""``capture cp`` between all kinds of stores: what comes home in the end is what went out."""

from __future__ import annotations

import itertools

import pytest

from capture import open_store
from capture.cli import main
from capture.hooks import CAPABILITIES
from capture.registry import make_observer
from capture.testing.contract import ObserverContract, differences, uid
from capture.testing.feed import Story, tell
from tests.servers.fixtures import forget_s3_clients, fresh_name

KINDS = ("file", "sqlite", "tinydb", "memory", "mongo", "postgres", "mariadb", "s3")
LOCAL = {"file": "{}", "sqlite": "sqlite:///{}.db", "tinydb": "tinydb://{}", "memory": "memory://{}"}
HOOKS = ("opened_event", "unknown_event")

# one process has all the servers: else each of several would start all of them
pytestmark = [pytest.mark.server, pytest.mark.xdist_group("all-servers")]


@pytest.fixture
def new_store(request, tmp_path, monkeypatch):
    """Return a function that gives the URL of an empty store of a kind."""
    emptied = []

    def new(kind: str) -> str:
        name = fresh_name()
        if kind in LOCAL:
            return LOCAL[kind].format(tmp_path / name)
        server = request.getfixturevalue(f"{kind}_server")
        if hasattr(server, "create"):
            server.create(name)
        emptied.append((server, name))
        for variable, value in getattr(server, "client_environment", {}).items():
            monkeypatch.setenv(variable, value)
        return server.url_of(name)

    forget_s3_clients()
    yield new
    for server, name in emptied:
        server.drop(name)
    forget_s3_clients()


def stories(tmp_path) -> list[Story]:
    """Return runs of all sorts: one with a bit of everything, one that failed, one that waits, one that was cut off."""
    contract = ObserverContract()
    whole = contract.whole_story(tmp_path / "whole", uid("01"))
    child = Story(tmp_path / "more", uid("01"), "child-1").metrics(**{"child.loss": [1.0, 2**70]})
    failed = Story(tmp_path / "failed", uid("02")).start(
        "night shift", config={"größe": {"a.b": (1, None)}, "$x": 10**30}
    )
    failed.artifact("plots/größe.png", b"").beat(info={"e": float("inf")})
    failed.add(failed_event(failed))
    queued = Story(tmp_path / "queued", uid("03")).queue().source("train.py", b"print(1)")
    cut_off = Story(tmp_path / "cut", uid("04")).start().metrics(loss=[1.0, 0.5]).resource("/d/in.csv", b"a,b")
    cut_off.metrics(loss=[step / 7 for step in range(5000)])  # many at once are read in a way of their own
    return [whole, child, failed, queued, cut_off]


def failed_event(story: Story):
    """Return the ending of a run that raised."""
    from capture.events import Failed

    return Failed(fail_time=story.moment(), fail_trace=["Traceback (most recent call last):\n", "ValueError: ö\n"])


def records(url: str) -> dict:
    """Return all runs of a store by uid."""
    store = open_store(url)
    found = {record.uid: record for record in store.find()}
    assert len(found) == len(store.labels())
    return found


def pairs() -> list:
    """Return the pairs of kinds: all of those without a server, and each server from and to files and to the next.

    What is told to one store does not depend on the other that it comes from; with a server, a pair takes seconds.
    """
    servers = [kind for kind in KINDS if kind not in LOCAL]
    slow = [*itertools.product(servers, ["file"]), *itertools.product(["file"], servers)]
    slow += zip(servers, [*servers[1:], servers[0]])
    return [*itertools.product(LOCAL, LOCAL), *(pytest.param(*pair, marks=pytest.mark.slow) for pair in slow)]


@pytest.mark.parametrize(("origin", "target"), pairs())
def test_what_goes_from_one_store_to_another_comes_home_as_it_was(origin, target, new_store, tmp_path, capsys):
    """Whoever changes stores must lose nothing, also on the way back; and may type the command twice."""
    first, there, home = new_store(origin), new_store(target), new_store("file")
    observer = make_observer(first)
    for story in stories(tmp_path):
        tell(observer, story)
    for source, destination in ((first, there), (there, home)):
        code = main(["cp", "--verify", source, destination])
        out, err = capsys.readouterr()
        assert (code, err) == (0, ""), out + err
        assert out.count(", compared\n") == 4
        assert main(["cp", "--verify", source, destination]) == 0
        assert capsys.readouterr().out.count("is there already, compared\n") == 4
    before, after = records(first), records(home)
    assert sorted(after) == sorted(before) == [uid(mark) for mark in ("01", "02", "03", "04")]
    for key, record in before.items():
        assert differences(record, after[key], CAPABILITIES, HOOKS) == []
