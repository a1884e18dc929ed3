"""A run, its stores and their misfortunes, in any order: in the end every store tells what the journal told.

Hypothesis makes up the story: events of all kinds, stores that raise (before or after they stored), hang and come back,
a process that dies between any two writes to the disk or in the middle of one, deliveries that die, too. The clock is a
fake one and there are no threads: a lane goes on when the story says so.
"""

from __future__ import annotations

import functools
import io
import os
import shutil
import tempfile
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from capture import acks, events, journal
from capture.hooks import HOOKS
from capture.journal import list_journals, opened_of, read_journal
from capture.records import fold
from capture.testing import MemoryStore
from tests.dispatch.making import NOW, Bench, completed, metrics_body, plain, started


class Death(BaseException):
    """The process dies here."""


class Hangs(BaseException):
    """The hook does not return."""


class Disk:
    """All that changes the disk goes through here; at a chosen moment the process dies, and nothing changes more."""

    CHANGES = ("unlink", "link", "replace", "rmdir", "makedirs")

    def __init__(self, folder):
        self.folder = folder
        self.left = None  # changes until death
        self.torn = 0  # bytes of the fatal write that reach the disk
        self._patches = [mock.patch.object(os, name, self._guard(getattr(os, name))) for name in self.CHANGES]
        self._patches += [mock.patch.object(module, "_write", self._write) for module in (journal, acks)]
        for patch in self._patches:
            patch.start()

    def _count(self):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Death

    def _guard(self, function):
        def guarded(path, *arguments, **options):
            if str(path).startswith(self.folder):  # Hypothesis has files of its own
                self._count()
            return function(path, *arguments, **options)

        return guarded

    def _write(self, descriptor, data):
        dying = self.left == 0
        try:
            self._count()
        except Death:
            if dying and self.torn:
                os.write(descriptor, data[: min(self.torn, len(data) - 1)])
            raise
        return os.write(descriptor, data)

    def close(self):
        for patch in self._patches:
            patch.stop()


class FaultyStore(MemoryStore):
    """A store that fails as the story says: the next call of any hook meets the next fault."""

    def __init__(self, identity):
        super().__init__(identity, lane="main")
        self.faults = []
        self.hanging = False

    def __getattribute__(self, name):
        value = super().__getattribute__(name)
        return self._faulty(value) if name in HOOKS else value

    def _faulty(self, method):
        @functools.wraps(method)
        def hook(**arguments):
            if self.hanging:
                raise Hangs
            error, stores_first = self.faults.pop(0) if self.faults else (None, False)
            if error is not None and not stores_first:
                raise error
            result = method(**arguments)
            if error is not None:
                raise error
            return result

        return hook


ERRORS = [ConnectionError("away"), TimeoutError("slow"), ValueError("refused"), OSError("disk"), MemoryError()]
CONTENTS = [b"", b"model", b"data" * 1000]


class Story(RuleBasedStateMachine):
    """See the module."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="capture-story-")
        self.disk = Disk(self.folder)
        self.stores = [FaultyStore("a:"), FaultyStore("b:")]
        self.bench = Bench(self.folder, ack_interval_s=0)
        self.dispatcher = None
        self.emitted = {}  # uid to events, in order
        self.expected = {}  # uid to record
        self.blobs = {}

    # ------------------------------------------------------------------------------------------------ the process

    def alive(self, work):
        """Do something that may be the death of the process."""
        try:
            return work()
        except Death:
            self.die()
            return None
        except Hangs:
            return None

    def die(self):
        self.disk.left = 10**9 if self.disk.left is None else self.disk.left
        dispatcher, self.dispatcher = self.dispatcher, None
        for path in list_journals(self.folder):
            self.expect(path)
        if dispatcher is not None:
            self.disk.left = -1  # whatever clean-up Python does here, a dead process does not do
            self.bench.die(dispatcher)
        self.disk.left = None
        for store in self.stores:
            store.forget_unflushed()
            store.hanging = False

    def expect(self, path):
        """The journal that is there decides what the stores have to tell."""
        back = list(read_journal(path))
        if back and back[0].name == "opened":
            uid = back[0].uid
            assert [event.seq for event in back] == list(range(1, len(back) + 1))
            known = self.emitted[uid][: len(back) - 1]
            assert [type(event) for event in back[1:]] == [type(event) for event in known]
            self.expected[uid] = self.tell(back)

    def tell(self, all_events):
        return plain(fold(all_events, lambda digest: io.BytesIO(self.blobs[digest])))

    @precondition(lambda self: self.dispatcher is None)
    @rule()
    def begin(self):
        uid = f"{len(self.emitted):08d}"
        self.emitted[uid] = []

        def work():
            self.dispatcher = self.bench.open(*self.stores, uid=uid)
            self.emit(started(lr=0.1))
            self.dispatcher.start_lanes()
            self.dispatcher.wait_started()

        self.alive(work)

    def emit(self, event):
        self.emitted[self.dispatcher.journal.uid].append(event)
        self.dispatcher.emit(event)

    @precondition(lambda self: self.dispatcher is not None)
    @rule(text=st.text(max_size=5), back=st.integers(0, 3))
    def output(self, text, back):
        before = fold(self.emitted[self.dispatcher.journal.uid]).output.encode()
        offset = max(0, len(before) - back)
        while offset and offset < len(before) and before[offset] & 0xC0 == 0x80:
            offset -= 1  # between two characters
        self.alive(lambda: self.emit(events.Output(text=text, offset=offset)))

    @precondition(lambda self: self.dispatcher is not None)
    @rule(number=st.integers(0, 5))
    def metrics(self, number):
        def work():
            uid = self.dispatcher.journal.uid
            columns = {"loss": {"steps": [0], "values": [number], "times": [0]}}
            self.emitted[uid].append(events.Metrics(start=1000, columns=columns))
            self.dispatcher.emit_body("metrics", metrics_body(number))

        self.alive(work)

    @precondition(lambda self: self.dispatcher is not None)
    @rule(
        event=st.one_of(
            st.builds(lambda v: events.Facts(topic="t", facts=v), st.integers()),
            st.builds(lambda v: events.Annotated(tags=[v]), st.sampled_from("xyz")),
            st.builds(lambda v: events.Unknown(kind="later", payload={"e": "later", "v": v}), st.integers(0, 3)),
            st.just(events.Resumed(resume_time=NOW)),
        )
    )
    def event(self, event):
        self.alive(lambda: self.emit(event))

    @precondition(lambda self: self.dispatcher is not None)
    @rule(content=st.sampled_from(CONTENTS), kind=st.sampled_from(["artifact", "resource", "source"]))
    def file(self, content, kind):
        def work():
            taken = self.dispatcher.spool.take_bytes(content)
            self.blobs[taken.digest] = content
            file = {"digest": taken.digest, "size": taken.size}
            if kind == "artifact":
                self.emit(events.Artifact(artifact_name="a", filename="/a", **file))
            elif kind == "resource":
                self.emit(events.Resource(filename="/r", md5=taken.md5, **file))
            else:
                self.emit(events.Source(path="s.py", md5=taken.md5, **file))

        self.alive(work)

    @precondition(lambda self: self.dispatcher is not None)
    @rule(seconds=st.floats(0, 40))
    def time_passes(self, seconds):
        self.bench.clock.advance(seconds)
        self.alive(self.dispatcher.journal.tick)

    @precondition(lambda self: self.dispatcher is not None)
    @rule(which=st.integers(0, 1), steps=st.integers(1, 30))
    def a_lane_works(self, which, steps):
        def work():
            for _ in range(steps):
                self.dispatcher.lanes[which].step()

        self.alive(work)

    @precondition(lambda self: self.dispatcher is not None)
    @rule()
    def a_quiet_second(self):
        def work():
            self.bench.clock.advance(1)
            self.dispatcher.journal.tick()
            for lane in self.dispatcher.lanes:
                while lane.step() == 0:
                    pass

        self.alive(work)

    @precondition(lambda self: self.dispatcher is not None)
    @rule(beats=st.lists(st.sampled_from([None, "info", "result"]), max_size=3))
    def beats(self, beats):
        def work():
            for number, beat in enumerate(beats):
                self.emit(events.Heartbeat(beat_time=NOW, **({beat: [{"n": number}]} if beat else {})))
            self.bench.clock.advance(1)
            self.dispatcher.journal.tick()

        self.alive(work)

    @precondition(lambda self: self.dispatcher is not None)
    @rule()
    def finish(self):
        dispatcher, uid = self.dispatcher, self.dispatcher.journal.uid

        def work():
            self.emit(completed(3))
            dispatcher.journal.flush()
            self.expected[uid] = self.tell(read_journal(dispatcher.journal.path))
            dispatcher.finish()
            self.dispatcher = None

        self.alive(work)
        if self.dispatcher is not None:  # a hook hung, and somebody pressed Ctrl-C
            self.die()

    # ------------------------------------------------------------------------------------------------ misfortune

    @rule(which=st.integers(0, 1), error=st.sampled_from(ERRORS), stores_first=st.booleans())
    def a_fault_lies_ahead(self, which, error, stores_first):
        self.stores[which].faults.append((error, stores_first))

    @rule(which=st.integers(0, 1), hanging=st.booleans())
    def a_store_hangs_or_comes_back(self, which, hanging):
        self.stores[which].hanging = hanging

    @rule(changes=st.integers(0, 25), torn=st.integers(0, 60))
    def death_is_near(self, changes, torn):
        self.disk.left, self.disk.torn = changes, torn

    @precondition(lambda self: self.dispatcher is not None)
    @rule()
    def death(self):
        self.die()

    # ------------------------------------------------------------------------------------------------ recovery

    @rule(retry_missed=st.booleans(), which=st.sets(st.integers(0, 1)))
    def deliver(self, retry_missed, which):
        def work():
            stores = [self.stores[index] for index in which]
            self.bench.sync(*stores, retry_missed=retry_missed)

        if self.dispatcher is None:
            self.alive(work)
            if self.disk.left is not None and self.disk.left < 0:
                self.die()

    def teardown(self):
        try:
            self.disk.left = None
            if self.dispatcher is not None:
                self.die()
            for store in self.stores:
                store.faults.clear()
                store.hanging = False
            self.bench.sync(*self.stores, retry_missed=True)
            left = [path for path in list_journals(self.folder) if opened_of(path) is not None]
            assert left == [], "everybody has everything, so no journal is needed any more"
            for uid, expected in self.expected.items():
                for store in self.stores:
                    assert plain(store.record(uid)) == expected
        finally:
            self.disk.close()
            shutil.rmtree(self.folder)


def test_every_store_tells_in_the_end_what_the_journal_told():
    """The promise of delivery: nothing lost, nothing twice, whatever happens."""
    run_state_machine_as_test(Story, settings=settings(max_examples=25, stateful_step_count=25, deadline=None))


@pytest.mark.slow
def test_every_store_tells_in_the_end_what_the_journal_told_in_many_long_stories():
    """Rare orders need many tries."""
    run_state_machine_as_test(Story, settings=settings(max_examples=300, stateful_step_count=60, deadline=None))
