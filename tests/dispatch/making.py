"""Runs for the tests of this room: a journal, a spool and a dispatcher on a fake clock."""

from __future__ import annotations

import os

from capture import events
from capture.delivery import sync
from capture.dispatch import DeliveryOptions, Dispatcher, describe
from capture.journal import list_journals
from capture.records import fold
from capture.spool import Spool
from capture.testing import FakeClock
from tests.journal.making import NOW, UID, completed, journal_in, metrics_body, opened, started

__all__ = ["NOW", "UID", "Bench", "completed", "metrics_body", "opened", "started"]


class Bench:
    """One run after the other in one state folder.

    Observers whose `lane` is "main" do their work when the test says `pump`, or waits; no thread is needed for them.
    """

    def __init__(self, state, clock=None, **options):
        self.state = str(state)
        self.clock = clock or FakeClock()
        options.setdefault("random", lambda: 0.5)
        self.options = DeliveryOptions(clock=self.clock, **options)

    def open(self, *observers, uid=UID, writer="main", label=None):
        """Open a run for these observers; return its dispatcher."""
        spool = Spool(os.path.join(self.state, "spool", uid))
        first = opened(describe(observers), uid=uid, writer=writer, spool=spool.directory, machine_id="here")
        journal = journal_in(self.state, first, now=self.clock.time, monotonic=self.clock.monotonic)
        return Dispatcher(journal, spool, observers, self.options, uid=uid, label=label)

    def start(self, *observers, **options):
        """Open a run and start it."""
        dispatcher = self.open(*observers, **options)
        dispatcher.emit(started(lr=0.1))
        dispatcher.start_lanes()
        dispatcher.wait_started()
        return dispatcher

    def run(self, *observers, **options):
        """Run all kinds of events through; return the summary of the end."""
        dispatcher = self.start(*observers, **options)
        emit_all(dispatcher)
        return dispatcher.finish()

    def die(self, dispatcher):
        """The process dies: nothing is flushed, nothing is said."""
        dispatcher.journal._let_go()
        dispatcher._abandon_lanes()
        dispatcher._acks.close()

    def sync(self, *observers, **options):
        options.setdefault("host", {"machine_id": "here"})
        return sync(self.state, observers, options=self.options, **options)

    @property
    def journals(self):
        return [os.path.basename(path) for path in list_journals(self.state)]


def emit_all(dispatcher, ending=None):
    """Emit an event of every kind."""
    taken = dispatcher.spool.take_bytes(b"bytes of a file")
    file = {"digest": taken.digest, "size": taken.size}
    dispatcher.emit(events.Source(path="main.py", md5=taken.md5, **file))
    dispatcher.emit(events.Facts(topic="params", facts={"lr": 0.1}))
    dispatcher.emit(events.Output(text="hello\n", offset=0))
    dispatcher.emit_body("metrics", metrics_body(0.5, "nan"))
    dispatcher.emit(events.Heartbeat(beat_time=NOW, info=[{"a": 1}]))
    dispatcher.emit(events.Resource(filename="/data.csv", md5=taken.md5, **file))
    dispatcher.emit(events.Artifact(artifact_name="plots/a.png", filename="/tmp/a.png", metadata={"dpi": 9}, **file))
    dispatcher.emit(events.Annotated(tags=["x"]))
    dispatcher.emit(events.Unknown(kind="later", payload={"e": "later", "x": 1}))
    dispatcher.emit(events.Output(text="world\n", offset=6))
    dispatcher.emit(events.Heartbeat(beat_time=NOW, result=[3]))
    dispatcher.emit(ending or completed(3))


def record_of(dispatcher):
    """Return the fold of the journal as it is now."""
    from capture.journal import read_journal

    dispatcher.journal.flush()
    return fold(read_journal(dispatcher.journal.path), dispatcher.spool.open)


def plain(record):
    """Return a record as data, for comparison; unknown events without their place."""
    data = record.to_dict()
    data["extra"] = [{k: v for k, v in each.items() if k not in "st"} for each in data["extra"]]
    return data
