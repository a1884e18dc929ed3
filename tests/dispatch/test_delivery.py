"""Journals that were left behind, and how they reach their stores."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from capture import acks, delivery, events
from capture.acks import Acks, read_acks
from capture.journal import acks_path, list_journals
from capture.locks import try_lock
from capture.testing import FailingObserver, MemoryStore, RecordingObserver
from tests.dispatch.making import UID, Bench, completed, emit_all, metrics_body, plain, record_of, started

HERE = {"machine_id": "here"}


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def left_behind(bench, *observers, **options):
    """Leave a whole run behind, of which the observers know nothing but the beginning."""
    dispatcher = bench.start(*observers, **options)
    emit_all(dispatcher)
    expected = plain(record_of(dispatcher))
    bench.die(dispatcher)
    return expected


def test_what_a_dead_process_left_goes_to_a_store_of_the_same_identity(bench):
    """The killed run of last night is complete in the morning, files included."""
    expected = left_behind(bench, MemoryStore("a:", lane="main"))
    later = MemoryStore("a:")
    (report,) = bench.sync(later)
    assert report.deleted and report.complete
    assert plain(later.record(UID)) == expected
    assert later.joined == 1
    assert [names for _, _, names in os.walk(bench.state) if names] == [], "journal, acks and bytes are gone"


def test_a_run_that_never_ended_stays_running(bench):
    """Nobody knows how it ended; a delivery that invented an ending would lie."""
    dispatcher = bench.start(MemoryStore("a:", lane="main"))
    dispatcher.emit(events.Output(text="last words", offset=0))
    dispatcher.journal.flush()
    bench.die(dispatcher)
    later = MemoryStore("a:")
    (report,) = bench.sync(later)
    assert report.deleted
    record = later.record(UID)
    assert (record.status, record.stop_time, record.output) == ("RUNNING", None, "last words")


def test_an_observer_written_for_sacred_gets_what_no_heartbeat_carried(bench):
    """For it output and numbers come with heartbeats only, and the dead run emits none."""

    class Old:
        identity = "old:"
        lane = "main"

        def __init__(self):
            self.told = []

        def started_event(self, _id):
            self.told.append(("started", _id))
            return 5

        def heartbeat_event(self, captured_out):
            self.told.append(("beat", captured_out))

        def log_metrics(self, metrics_by_name):
            self.told.append(("metrics", metrics_by_name["loss"]["values"]))

    dispatcher = bench.start(Old())
    dispatcher.emit(events.Output(text="one\n", offset=0))
    dispatcher.emit(events.Heartbeat(beat_time=events_time()))
    dispatcher.journal.flush()
    dispatcher.pump()
    dispatcher.emit(events.Output(text="two\n", offset=4))
    dispatcher.emit_body("metrics", metrics_body(1, 2))
    dispatcher.journal.flush()
    dispatcher.pump()
    bench.clock.advance(2)
    dispatcher.pump()
    bench.die(dispatcher)
    later = Old()
    (report,) = bench.sync(later)
    assert report.deleted
    assert later.told == [("started", 5), ("metrics", [1, 2]), ("beat", "one\ntwo\n")]


def events_time():
    from tests.dispatch.making import NOW

    return NOW


def test_delivery_goes_on_where_the_store_was(bench):
    """A run of a week is not told a second time; only the openings are, so that the record is found."""
    store = RecordingObserver(label=3, identity="a:", lane="main")
    dispatcher = bench.start(store)
    for index in range(10):
        dispatcher.emit(events.Facts(topic=str(index), facts=index))
    dispatcher.journal.flush()
    dispatcher.pump()
    bench.clock.advance(2)
    dispatcher.pump()
    dispatcher.emit(completed())
    dispatcher.journal.flush()
    bench.die(dispatcher)
    later = RecordingObserver(label=3, identity="a:")
    (report,) = bench.sync(later)
    assert later.names == ["opened_event", "started_event", "completed_event", "flush", "join"]
    assert later.of("started_event")[0]["_id"] == 3, "it is told the label it gave"
    assert report.labels == {"a:": 3}


def test_only_what_was_flushed_is_acknowledged(bench):
    """What a store had in memory when the process died must come again."""
    store = MemoryStore("a:", lane="main")
    dispatcher = bench.start(store)
    emit_all(dispatcher)
    store.flush = lambda: (_ for _ in ()).throw(OSError("disk"))
    dispatcher.journal.flush()
    dispatcher.pump()
    bench.clock.advance(5)
    dispatcher.pump()
    expected = plain(record_of(dispatcher))
    bench.die(dispatcher)
    store.forget_unflushed()
    del store.flush
    bench.sync(store)
    assert plain(store.record(UID)) == expected


def test_a_store_that_is_still_away_keeps_its_journal(bench):
    """Nothing is given up; the others get theirs meanwhile."""
    expected = left_behind(bench, MemoryStore("a:", lane="main"), MemoryStore("b:", lane="main"))
    here = MemoryStore("a:")
    away = FailingObserver({"started_event": [ConnectionError("refused"), ...]}, identity="b:")
    (report,) = bench.sync(here, away)
    assert plain(here.record(UID)) == expected
    assert report.behind == ["b:"]
    assert "refused" in report.errors["b:"] and "refused" in str(report)
    assert not report.complete
    back = MemoryStore("b:")
    (report,) = bench.sync(back)
    assert report.deleted
    assert plain(back.record(UID)) == expected
    assert here.joined == 1, "who has everything is not told again"


def test_what_a_wrong_password_refused_is_offered_again_with_the_rest(bench):
    """With the right one all arrives, and no journal stays behind for what has."""
    refusing = {name: [ValueError("password"), ...] for name in ("opened_event", "started_event")}
    wrong = FailingObserver(refusing, identity="a:", lane="main")
    dispatcher = bench.start(wrong)
    emit_all(dispatcher)
    expected = plain(record_of(dispatcher))
    dispatcher.pump()
    bench.die(dispatcher)
    (path,) = list_journals(bench.state)
    (report,) = bench.sync(FailingObserver(refusing, identity="a:"))
    assert report.behind == ["a:"] and read_acks(acks_path(path))["a:"].missed == {1}
    store = MemoryStore("a:")
    (report,) = bench.sync(store)
    assert (report.missed, report.deleted) == ({}, True)
    assert plain(store.record(UID)) == expected


def test_what_a_store_really_refuses_is_kept_and_not_offered_at_each_run(bench):
    """The log would say the same every day, until nobody reads it."""
    left_behind(bench, MemoryStore("a:", lane="main"))
    (path,) = list_journals(bench.state)
    strict = FailingObserver({"output_event": [ValueError("never"), ...]}, identity="a:")
    (report,) = bench.sync(strict)
    assert report.missed["a:"] >= 1 and not report.deleted and report.delivered
    assert "2 events not taken by a: (kept, and offered again by the next `capture sync`)" in str(report)
    calls = len(strict.calls)
    (report,) = bench.sync(strict)
    assert report.missed["a:"] >= 1 and not report.deleted and not report.delivered
    assert len(strict.calls) == calls and os.path.exists(path)


def test_stores_can_be_looked_up_by_identity(bench):
    """`capture sync` opens the stores that the journals name."""
    left_behind(bench, MemoryStore("a:", lane="main"), MemoryStore("b:", lane="main"))
    stores = {"a:": MemoryStore("a:")}
    asked = []

    def resolve(identity):
        asked.append(identity)
        return stores.get(identity)

    (report,) = bench.sync(resolve=resolve)
    assert asked == ["a:", "b:"]
    assert report.behind == ["b:"]
    assert stores["a:"].record(UID).status == "COMPLETED"


def test_journals_can_be_sent_to_another_store(bench):
    """The database is gone for good: `capture sync --to` another."""
    expected = left_behind(bench, MemoryStore("gone:", lane="main"))
    other = MemoryStore("other:")
    (report,) = bench.sync(other)
    assert other.deliveries == 0, "it was not meant for this one"
    (report,) = bench.sync(other, instead=True)
    assert plain(other.record(UID)) == expected
    assert report.deleted, "the user said: instead of the one that is gone"


def test_one_journal_can_be_given_to_more_than_it_was_meant_for(bench):
    """A second copy elsewhere does not settle what the first store is owed."""
    expected = left_behind(bench, MemoryStore("a:", lane="main"))
    (path,) = list_journals(bench.state)
    extra = MemoryStore("extra:")
    report = delivery.deliver(path, [extra], host=HERE)
    assert plain(extra.record(UID)) == expected
    assert report.behind == ["a:"] and not report.deleted


def test_the_journal_of_a_living_writer_is_not_touched(bench):
    """Two that deliver one journal would tell a store everything twice."""
    dispatcher = bench.start(MemoryStore("a:", lane="main"))
    later = MemoryStore("a:")
    (report,) = bench.sync(later)
    assert (report.reason, later.deliveries) == ("alive", 0)
    dispatcher.emit(completed())
    assert not dispatcher.finish()


def test_two_deliveries_never_work_on_one_journal(bench):
    """`capture sync` and the next run may start in the same second."""
    left_behind(bench, MemoryStore("a:", lane="main"))
    (path,) = list_journals(bench.state)
    store = MemoryStore("a:")
    seen = []

    def during(host, version):
        seen.append(delivery.deliver(path, [MemoryStore("a:")], host=HERE).reason)

    store.opened_event = during
    bench.sync(store)
    assert seen == ["alive"]
    assert delivery.deliver(path, [store], host=HERE).reason == "missing"


def test_a_journal_that_was_deleted_while_its_lock_was_awaited_is_left_alone(bench, monkeypatch):
    """The open file has no name any more; its events have been delivered."""
    left_behind(bench, MemoryStore("a:", lane="main"))
    (path,) = list_journals(bench.state)

    def slow(descriptor):
        os.unlink(path)
        return try_lock(descriptor)

    monkeypatch.setattr(delivery, "try_lock", slow)
    store = MemoryStore("a:")
    assert delivery.deliver(path, [store], host=HERE).reason == "missing"
    assert store.deliveries == 0


def test_journals_of_other_machines_are_left_to_them(bench):
    """On a shared home a lock may not reach from one node to the other: the writer may live there."""
    left_behind(bench, MemoryStore("a:", lane="main"))
    store = MemoryStore("a:")
    for other in ({"machine_id": "there"}, None):
        (report,) = bench.sync(store, host=other)
        assert (report.reason, store.deliveries) == ("elsewhere", 0)
    (report,) = bench.sync(store, host=HERE)
    assert report.deleted


def test_a_journal_of_a_later_version_is_left_alone(bench):
    """Half understanding is worse than waiting for the right version."""
    dispatcher = bench.start(MemoryStore("a:", lane="main"))
    bench.die(dispatcher)
    (path,) = list_journals(bench.state)
    from zlib import crc32

    with open(path, "rb") as file:
        data = file.read().replace(b'"format":1', b'"format":2')
    lines = [b"%08x %s" % (crc32(line[9:]), line[9:]) for line in data.split(b"\n")[:-1]]
    with open(path, "wb") as file:
        file.write(b"\n".join([*lines, b""]))
    (report,) = bench.sync(MemoryStore("a:"))
    assert report.reason == "format"
    assert os.path.exists(path)


def test_an_empty_journal_is_somebodys_who_is_just_starting(bench):
    """Its writer has made the file and not yet locked it."""
    os.makedirs(os.path.join(bench.state, "journals"))
    path = os.path.join(bench.state, "journals", "x.main.journal")
    with open(path, "wb"):
        pass
    assert [report.reason for report in bench.sync()] == ["empty"]
    assert os.path.exists(path)


def test_damaged_lines_are_passed_over_and_counted(bench):
    """One bad block costs one event, and the user hears of it."""
    left_behind(bench, MemoryStore("a:", lane="main"))
    (path,) = list_journals(bench.state)
    with open(path, "rb") as file:
        data = file.read()
    with open(path, "wb") as file:
        file.write(data.replace(b'"hello', b'"hallo'))
    store = MemoryStore("a:")
    (report,) = bench.sync(store)
    assert report.damaged == 1
    assert report.deleted
    assert store.record(UID).status == "COMPLETED"


def test_notifiers_are_not_told_of_old_runs(bench):
    """Nobody wants to hear on Monday that a run of last month has started."""
    left_behind(bench, MemoryStore("a:", lane="main"), RecordingObserver(identity="chat:", replay=False, lane="main"))
    notifier = RecordingObserver(identity="chat:", replay=False)
    (report,) = bench.sync(MemoryStore("a:"), notifier)
    assert report.deleted
    assert notifier.calls == []


def test_writers_of_one_run_meet_in_its_record(bench):
    """Ranks and resumed runs have journals of their own under the run's uid."""
    store = MemoryStore("a:", lane="main")
    first = bench.start(store)
    second = bench.open(store, writer="rank-1")
    second.emit_body("metrics", metrics_body(7, name="rank-1/loss"))
    second.emit(completed())
    second.start_lanes()
    assert not second.finish()
    first.emit(completed())
    assert not first.finish()
    record = store.record(UID)
    assert record.status == "COMPLETED"
    assert record.metrics["rank-1/loss"].values == [7]
    assert set(record.writers) == {"main", "rank-1"}


def test_a_killed_process_loses_nothing(tmp_path):
    """The whole way, with a real death: run, kill -9, sync."""
    code = """
import os, signal, sys
from capture.testing import MemoryStore
from capture.clock import SYSTEM_CLOCK
from tests.dispatch.making import Bench, emit_all
dispatcher = Bench(sys.argv[1], clock=SYSTEM_CLOCK).start(MemoryStore("a:"))
emit_all(dispatcher)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode != 0
    store = MemoryStore("a:")
    (report,) = Bench(tmp_path).sync(store)
    assert report.deleted
    assert store.record(UID).status == "COMPLETED"
    assert store.record(UID).artifacts[0].read() == b"bytes of a file"


# ------------------------------------------------------------------------------------------------------------- acks


def test_acknowledgements_add_up(tmp_path):
    """Each line tells what is new; a reader sees where an observer is."""
    log = Acks(str(tmp_path / "a.acks"))
    log.write("a:", 3, label="7")
    log.write("b:", 9, missed=(4, 5), done=True)
    log.write("a:", 6, missed=(5,))
    log.write("b:", 9, made_up=(4,), done=True)
    log.close()
    found = read_acks(log.path)
    assert (found["a:"].seq, found["a:"].label, found["a:"].missed, found["a:"].done) == (6, "7", {5}, False)
    assert (found["b:"].seq, found["b:"].label, found["b:"].missed, found["b:"].done) == (9, None, {5}, True)
    assert read_acks(str(tmp_path / "none")) == {}


def test_a_torn_acknowledgement_is_ignored_and_does_not_spoil_the_next(tmp_path):
    """The process may die in the middle of any write."""
    path = tmp_path / "a.acks"
    path.write_bytes(b'{"identity":"a:","seq":3,"done":false}\n{"identity":"a:","se')
    log = Acks(str(path))
    log.write("a:", 5)
    log.close()
    assert read_acks(str(path))["a:"].seq == 5


def test_a_full_disk_costs_only_the_memory_of_who_has_what(bench, monkeypatch):
    """Acknowledgements may lag behind: stores notice what they have."""

    def write(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(acks, "_write", write)
    store = FailingObserver({"completed_event": [ConnectionError("away"), ...]}, identity="a:", lane="main")
    dispatcher = bench.start(store)
    dispatcher.emit(completed())
    dispatcher.finish()
    monkeypatch.undo()
    later = MemoryStore("a:")
    bench.sync(later)
    assert later.record(UID).status == "COMPLETED"


def test_acks_lie_beside_their_journal():
    """Whoever removes one sees the other."""
    assert acks_path("/x/journals/u.main.journal") == "/x/journals/u.main.acks"


def test_a_label_that_only_its_database_understands_is_not_guessed(tmp_path):
    """Stored values are never rebuilt by running code, so a driver's id object comes back as none."""

    class ObjectId:
        pass

    log = Acks(str(tmp_path / "a.acks"))
    log.write("a:", 3, label=ObjectId())
    log.close()
    assert read_acks(log.path)["a:"].label is None
    assert started().label is None
