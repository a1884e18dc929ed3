"""One observer object in several runs: in turn, and never mixed up."""

from __future__ import annotations

import pytest

from capture import Experiment
from capture.testing import RecordingObserver


class Database:
    """An observer in Sacred's style: it remembers the run it was told of last."""

    def __init__(self):
        self.entries = []
        self.entry = None

    def started_event(self, ex_info, command, config):
        self.entry = {"name": ex_info["name"], "info": {}}
        self.entries.append(self.entry)
        return len(self.entries)

    def heartbeat_event(self, info, captured_out, beat_time, result):
        self.entry["info"] = info

    def completed_event(self, stop_time, result):
        self.entry["result"] = result


def nested(observer):
    outer, inner = Experiment("outer", observers=[observer]), Experiment("inner", observers=[observer])

    @inner.main
    def inner_main(_run):
        _run.info["of"] = "inner"
        return "inner"

    @outer.main
    def outer_main(_run):
        _run.info["of"] = "outer"
        inner.run()
        return "outer"

    return outer


def test_nested_runs_do_not_mix_in_an_observer_that_knows_only_one():
    """With Sacred's own observers, the outer run's result lands in the inner one's record."""
    database = Database()
    nested(database).run()
    assert [(e["name"], e["info"], e["result"]) for e in database.entries] == [
        ("outer", {"of": "outer"}, "outer"),
        ("inner", {"of": "inner"}, "inner"),
    ]


def test_runs_one_after_the_other_use_the_observer_itself():
    """People look at `observer.run_entry` or its like when the run is over."""
    database = Database()
    ex = Experiment("one", observers=[database])
    ex.main(lambda: 1)
    ex.run()
    ex.run()
    assert database.entry is database.entries[1]


def test_an_observer_that_asks_for_the_uid_is_shared():
    """It can tell runs apart, and may hold a connection that cannot be copied."""

    class Knowing:
        def __init__(self):
            self.started = []

        def started_event(self, uid):
            self.started.append(uid)

        def __copy__(self):
            pytest.fail("it was copied")

    observer = Knowing()
    nested(observer).run()
    assert len(set(observer.started)) == 2


def test_one_that_cannot_be_copied_is_shared_with_a_warning(caplog):
    """Better mixed up than not told."""

    class Single(Database):
        def __copy__(self):
            raise TypeError("there is only one")

    observer = Single()
    nested(observer).run()
    assert len(observer.entries) == 2
    assert "there is only one" in caplog.text


def test_a_recording_observer_records_both():
    """Tests of other teams use it so."""
    observer = RecordingObserver()
    nested(observer).run()
    assert len(observer.of("completed_event")) == 2
