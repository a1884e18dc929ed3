"""Stores whose connection breaks once, at any request: before it is made, or when it is and the answer is on its way."""

from __future__ import annotations

import os
from contextlib import contextmanager
from itertools import count

import pytest

from capture import events
from capture.registry import make_observer
from capture.stores import open_store
from capture.testing import Story, Teller
from capture.testing.contract import differences, uid
from capture.testing.feed import told
from tests.servers.fixtures import each_kind


class Patient(Teller):
    """Makes a call again that failed for want of a connection, as a lane does."""

    def _make(self, call, opens):
        self.insist(lambda: super(Patient, self)._make(call, opens))

    def flush(self):
        self.insist(super().flush)

    def insist(self, act):
        for _ in range(3):
            try:
                return act()
            except Exception as error:
                if not self.observer.transient(error):
                    raise
        raise AssertionError("the connection broke once, and it failed three times")


class Line:
    """A connection that breaks at one request."""

    def __init__(self, is_made):
        self.is_made, self.left, self.broke = is_made, 0, False

    def breaks_now(self):
        self.left -= 1
        self.broke = self.broke or self.left == 0
        return self.left == 0

    def over(self, patch, owner, names, error):
        """Send what these methods ask over this line."""

        def sent(original):
            def call(*args, **kwargs):
                if not self.breaks_now():
                    return original(*args, **kwargs)
                if self.is_made:
                    original(*args, **kwargs)
                raise error

            return call

        for name in names:
            patch.setattr(owner, name, sent(getattr(owner, name)))


def memory(line, patch, request):
    from fsspec.implementations.memory import MemoryFileSystem

    MemoryFileSystem.store.clear()
    request.addfinalizer(MemoryFileSystem.store.clear)
    names = ("pipe_file", "rm_file", "cat_file", "info", "ls")
    line.over(patch, MemoryFileSystem, names, ConnectionResetError("reset by peer"))
    return "memory://lab/runs"


def sqlite(line, patch, request):
    from capture.observers._sql_database import Database
    from capture.observers._sql_errors import DatabaseAwayError

    writing = Database.writing

    @contextmanager
    def over_the_line(database, prepared=True):
        breaks = line.breaks_now()
        with writing(database, prepared) as statements:
            yield statements
            if breaks and not line.is_made:
                raise DatabaseAwayError("server closed the connection unexpectedly")
        if breaks:
            raise DatabaseAwayError("server closed the connection unexpectedly")

    patch.setattr(Database, "writing", over_the_line)
    return f"sqlite:///{request.getfixturevalue('tmp_path')}/runs.db"


def mongo(line, patch, request):
    from pymongo.collection import Collection
    from pymongo.errors import AutoReconnect

    names = ("insert_one", "insert_many", "update_one", "bulk_write", "delete_many", "find_one_and_update", "find_one")
    line.over(patch, Collection, names, AutoReconnect("connection closed"))
    return request.getfixturevalue("mongo_url")


STORES = {"memory": memory, "sqlite": sqlite, "mongo": mongo}


def first_part(story):
    story.source("train.py", b"print(1)\n").source("data.bin", os.urandom(300_000)).resource("/data/in.csv", b"1,2\n")
    story.add(events.Output(text="epoch 1\n", offset=0)).metric("loss", [3.0, 2.0]).metric("accuracy", [1, 2])
    story.artifact("model.bin", b"old").artifact("large.bin", os.urandom(300_000))
    story.add(events.Resumed(resume_time=story.moment()), events.Facts(topic="params", facts={"lr": 0.1}))
    return story.add(events.Unknown(kind="later", payload={"e": "later"}))


def last_part(story):
    story.metric("loss", [1.0], first=2).beat(info={"best": 1.0}, result=2)
    story.add(events.Output(text="epoch 2\n", offset=8), events.Output(text="EPOCH 2\n", offset=8))
    story.artifact("model.bin", b"new").metric("loss", [0.5], first=3)
    return story.add(events.Annotated(tags=["good"], notes="fine")).complete(7)


@pytest.mark.slow
@pytest.mark.parametrize("is_made", [True, False])
@pytest.mark.parametrize("kind", each_kind(*STORES))
def test_a_connection_that_breaks_at_any_request_loses_nothing_and_doubles_nothing(
    kind, is_made, tmp_path, monkeypatch, request
):
    """What was asked may have been done: who asks again must not add it once more, nor leave out what comes with it."""
    line = Line(is_made)
    url = STORES[kind](line, monkeypatch, request)
    for step in count(1):
        story = first_part(Story(tmp_path / str(step), uid(f"{step:04x}")).start())
        teller = Patient(make_observer(url), story)
        half = story.lines()
        line.left, line.broke = step, False
        teller.tell(half)
        teller.flush()
        teller.tell(last_part(story).lines()[len(half) :])
        teller.finish()
        broke, line.left = line.broke, 0
        reader = open_store(url)
        found = reader.get(story.uid)
        supports = teller.observer.supports
        assert differences(told(story), found, supports, {"opened_event", "unknown_event"}) == [], f"at request {step}"
        assert found.resumed == told(story).resumed
        assert [each.uid for each in reader.find()].count(story.uid) == 1, f"at request {step}"
        if not broke:
            break
    assert step > 3
