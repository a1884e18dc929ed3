"""Observers that fail: what that costs, and whom."""

from __future__ import annotations

import errno
import itertools
import os
import threading
import time

import pytest

from capture import events
from capture.dispatch import DeliveryOptions, Dispatcher, describe
from capture.errors import PartlyStoredError
from capture.hooks import HOOKS
from capture.journal import list_journals
from capture.lane import _Turn
from capture.spool import Spool
from capture.testing import FailingObserver, MemoryStore, RecordingObserver
from tests.dispatch.making import UID, Bench, completed, emit_all, metrics_body, opened, plain, record_of, started
from tests.journal.making import journal_in


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_a_transient_error_costs_nothing_but_time(bench):
    """A database that restarts: the lane waits, in order, and goes on."""
    store = FailingObserver({"output_event": [ConnectionError("away"), TimeoutError("slow")]}, lane="main")
    dispatcher = bench.start(store)
    emit_all(dispatcher)
    assert not dispatcher.finish()
    assert store.names.count("output_event") == 4
    order = [name for name in store.names if name in ("facts_event", "output_event", "metrics_event")]
    assert order == ["facts_event", *["output_event"] * 3, "metrics_event", "output_event"]


def test_pauses_grow_and_end_when_the_store_is_back(bench):
    """A thousand runs that lost one server must not trample it down when it comes back."""
    times = []
    store = FailingObserver(
        {"output_event": [lambda: times.append(bench.clock.monotonic()) or throw(ConnectionError("away")), ...]},
        lane="main",
    )
    dispatcher = bench.start(store)
    dispatcher.emit(events.Output(text="x", offset=0))
    dispatcher.journal.flush()
    for _ in range(1200):
        dispatcher.pump()
        bench.clock.advance(0.1)
    pauses = [round(b - a, 1) for a, b in itertools.pairwise(times)]
    assert pauses[:7] == pytest.approx([0.5, 1, 2, 4, 8, 16, 30], abs=0.15)
    dispatcher.journal.close()


def throw(error):
    raise error


def test_a_permanent_error_sets_one_event_aside(bench, caplog):
    """A value that a database cannot hold must not end the observation, as it does in Sacred."""
    store = FailingObserver({"facts_event": [ValueError("key too long")]}, lane="main", identity="a:")
    summary = bench.run(store)
    assert store.names[-3:] == ["completed_event", "flush", "join"]
    assert summary.missed == {"a:": 1}
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    for part in ("a:: facts_event", "event 4 is kept, and `capture sync` offers it again", "ValueError", "key too long"):
        assert part in record.getMessage()


def test_errors_of_one_kind_are_reported_once(bench, caplog):
    """A million failing measurements are one line in the log, not a million."""
    store = FailingObserver({"metrics_event": [TypeError("no"), ...]}, lane="main")
    dispatcher = bench.start(store)
    for _ in range(100):
        dispatcher.emit_body("metrics", metrics_body(1))
    dispatcher.emit(completed())
    summary = dispatcher.finish()
    assert sum(summary.missed.values()) == 100
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
    assert dispatcher.lanes[0].errors == 100


@pytest.mark.parametrize("hook", sorted(HOOKS))
@pytest.mark.parametrize("error", [ValueError("broken"), ConnectionError("away")])
def test_an_observer_that_fails_at_any_one_hook_harms_no_other(bench, hook, error):
    """Whatever a plug-in does, the run and the store beside it do not notice."""
    failing = FailingObserver({hook: [error, ...]}, lane="main", priority=5, identity="failing:")
    if hook == "log_metrics":
        del failing.metrics_event
    store = MemoryStore(lane="main")
    dispatcher = bench.start(failing, store)
    emit_all(dispatcher)
    expected = plain(record_of(dispatcher))
    before = bench.clock.monotonic()
    dispatcher.finish()
    assert bench.clock.monotonic() - before < 2 * bench.options.stall_s
    assert plain(store.record(UID)) == expected
    assert store.joined == 1


def test_an_observer_that_fails_always_harms_no_other(bench):
    """The same at every hook at once."""
    failing = FailingObserver({"*": [RuntimeError("always"), ...]}, lane="main", priority=5)
    store = MemoryStore(lane="main")
    bench.run(failing, store)
    assert store.record(UID).status == "COMPLETED"
    assert set(failing.names) == {"opened_event", "started_event"}, "it never started, so it hears nothing more"


def test_a_judge_of_errors_that_fails_itself_is_survived(bench):
    """`transient` is the observer's own code, too."""

    class Odd(FailingObserver):
        def transient(self, error):
            raise AttributeError("no such thing")

    observer = Odd({"output_event": [ConnectionError("away")]}, lane="main")
    assert sum(bench.run(observer).missed.values()) == 1


def test_a_flush_that_fails_is_tried_again(bench):
    """What was told is not stored before it returns."""
    store = FailingObserver({"flush": [OSError("disk"), OSError("disk")]}, lane="main", identity="a:")
    assert not bench.run(store)
    assert store.names[-4:] == ["flush", "flush", "flush", "join"]


def test_what_a_store_refuses_when_it_writes_is_kept_for_later(bench):
    """Whoever gathers events learns late that one cannot be stored; it is set aside as if its own hook had raised."""
    refusal = PartlyStoredError("too long", {(UID, "main"): [4], ("another", "main"): [2]})
    store = FailingObserver({"flush": [refusal]}, lane="main", identity="a:")
    summary = bench.run(store)
    assert summary.missed == {"a:": 1}
    assert store.names[-2:] == ["flush", "join"] and store.names.count("flush") == 1
    assert len(bench.journals) == 1
    again = RecordingObserver(lane="main", identity="a:")
    (report,) = bench.sync(again, retry_missed=True)
    assert report.deleted
    assert "facts_event" in again.names and "metrics_event" not in again.names


def test_what_a_flush_refuses_a_second_time_stays_in_the_journal(bench):
    """Its hook has returned by then: it counted as taken, and the journal went with the next delivery."""
    refusals = [PartlyStoredError("too long", {(UID, "main"): [4]}) for _ in range(2)]
    bench.run(FailingObserver({"flush": refusals[:1]}, lane="main", identity="a:"))
    (report,) = bench.sync(FailingObserver({"flush": refusals[1:]}, identity="a:"), retry_missed=True)
    assert report.missed == {"a:": 1} and not report.deleted
    (report,) = bench.sync(RecordingObserver(identity="a:"))
    assert report.missed == {"a:": 1} and not report.deleted


def test_what_comes_in_quick_succession_is_flushed_together(bench):
    """Each flush costs a store some files to open and to rename; a short run should pay for one."""
    store = RecordingObserver(lane="main")
    dispatcher = bench.start(store)
    for number in range(3):
        dispatcher.emit(events.Output(text="x", offset=number))
        dispatcher.journal.flush()
        assert 0 < dispatcher.pump() <= bench.options.flush_pause_s
    assert "flush" not in store.names
    bench.clock.advance(bench.options.flush_pause_s)
    dispatcher.pump()
    assert store.names[-2:] == ["output_event", "flush"]
    assert not dispatcher.finish()


def hanging_run(tmp_path, *observers, **options):
    journal = journal_in(str(tmp_path), opened(describe(observers)))
    dispatcher = Dispatcher(journal, Spool(str(tmp_path / "spool")), observers, DeliveryOptions(**options), uid=UID)
    dispatcher.emit(started())
    dispatcher.start_lanes()
    dispatcher.wait_started()
    return dispatcher


@pytest.mark.slow
@pytest.mark.parametrize("hook", ["output_event", "completed_event", "flush", "join"])
def test_an_observer_that_hangs_delays_neither_the_others_nor_the_exit(tmp_path, hook):
    """In Sacred a hanging observer held the process for ever, and the others with it."""
    release = threading.Event()
    hanging = FailingObserver({hook: [release.wait]}, priority=5, identity="hanging:")
    store = MemoryStore()
    dispatcher = hanging_run(tmp_path, hanging, store, stall_s=3)  # the other, on a busy machine, gets on within that time
    emit_all(dispatcher)
    expected = plain(record_of(dispatcher))
    summary = dispatcher.finish()  # and returns, though nobody has released the one that hangs
    assert plain(store.record(UID)) == expected
    assert list(summary.behind) == ["hanging:"]
    assert summary.journal == list_journals(str(tmp_path))[0]
    assert "capture sync" in str(summary)
    told = len(hanging.calls)
    release.set()
    dispatcher.lanes[0].thread.join(60)
    assert not dispatcher.lanes[0].thread.is_alive()
    assert len(hanging.calls) == told, "another process may deliver by now: no further call is made"


def test_a_call_that_is_overdue_is_not_waited_for_and_no_second_one_starts(tmp_path):
    """The deadline ends the waiting, not the call: hooks of one observer are never called at the same time."""
    entered, release = threading.Event(), threading.Event()

    class Slow:
        calls = 0

        def output_event(self):
            self.calls += 1
            entered.set()
            release.wait()

    slow = Slow()
    dispatcher = hanging_run(tmp_path, slow, call_deadline_s=0.01, stall_s=60)
    for index in range(5):
        dispatcher.emit(events.Output(text="x", offset=index))
    dispatcher.journal.flush()
    assert entered.wait(30)
    before = time.monotonic()
    dispatcher.finish()
    assert time.monotonic() - before < 55
    release.set()
    dispatcher.lanes[0].thread.join(30)
    assert slow.calls == 1


def test_a_call_that_hangs_is_reported_once_while_the_run_goes_on(bench, caplog):
    """Whoever looks at the log on the second day knows which store stands still."""
    dispatcher = bench.start(RecordingObserver(lane="main"))
    (lane,) = dispatcher.lanes
    lane.calling = ("heartbeat_event", bench.clock.monotonic())
    for _ in range(100):
        bench.clock.advance(1)
        dispatcher.journal.tick()
    lane.calling = None
    assert [record.getMessage() for record in caplog.records] == [
        "capture.testing.observers.RecordingObserver: heartbeat_event has not returned for 30 s; its later events wait"
    ]
    dispatcher.finish()


def test_two_runs_that_share_an_observer_call_it_in_turn(tmp_path):
    """A run inside a run, or in another thread: hooks of one observer are never called at the same time."""
    running, most = [], []

    class Shared:
        def output_event(self):
            running.append(1)
            most.append(len(running))
            time.sleep(0.002)
            running.pop()

    observer = Shared()
    dispatchers = []
    for number in range(3):
        journal = journal_in(str(tmp_path), opened(describe([observer]), uid=str(number)))
        dispatcher = Dispatcher(journal, Spool(str(tmp_path / "spool")), [observer], uid=str(number))
        dispatcher.emit(started())
        dispatcher.start_lanes()
        dispatchers.append(dispatcher)
    for index in range(20):
        for dispatcher in dispatchers:
            dispatcher.emit(events.Output(text="x", offset=index))
    for dispatcher in dispatchers:
        assert not dispatcher.finish()
    assert (len(most), max(most)) == (60, 1)
    assert _Turn.known == {}, "nothing is kept of runs that have ended"


def test_the_end_waits_as_long_as_there_is_progress(bench):
    """A slow link to a store delivers everything; only standing still is given up."""
    store = RecordingObserver(lane="main", identity="slow:")
    original = store.told

    def slowly(hook, arguments):
        bench.clock.advance(bench.options.stall_s * 0.9)
        return original(hook, arguments)

    store.told = slowly
    assert not bench.run(store)
    assert store.names[-1] == "join"
    assert bench.clock.monotonic() > 5 * bench.options.stall_s


def test_reading_a_big_file_is_progress(bench):
    """An upload may take minutes in one single call."""
    done = []

    class Uploading:
        lane = "main"

        def artifact_event(self, open):
            lane = dispatcher.lanes[0]
            with open() as stream:
                while stream.read(1 << 20):
                    bench.clock.advance(9)
                    stalled = lane.is_stalled(0.0, 10.0)
                    done.append(stalled)

    dispatcher = bench.start(Uploading())
    taken = dispatcher.spool.take_bytes(b"x" * (20 << 20))
    dispatcher.emit(events.Artifact(artifact_name="a", filename="a", digest=taken.digest, size=taken.size))
    dispatcher.finish()
    assert len(done) == 20 and not any(done)


def test_the_user_is_told_what_is_waited_for(bench):
    """A prompt that does not come back needs a reason on the screen."""
    store = FailingObserver({"completed_event": [ConnectionError("away"), ...]}, lane="main", identity="a:")
    dispatcher = bench.start(store)
    dispatcher.emit(completed())
    said = []
    summary = dispatcher.finish(on_wait=lambda waiting: said.append(str(waiting)))
    assert said and all("waiting for" in text for text in said)
    assert summary.lines == [
        "not stored yet by a: (1 event); kept, and delivered by `capture sync` or with the next run"
    ]


def test_stores_of_one_class_are_told_apart_and_what_is_given_up_is_told_from_what_is_kept(bench, caplog):
    """Two databases of three were away: their user has to know which, and that nothing of it is lost."""
    away = {"completed_event": [ConnectionError("away"), ...]}
    stores = [FailingObserver(away, lane="main", identity=f"sql://{host}/runs") for host in ("one", "two")]
    notifier = FailingObserver(away, lane="main")
    picky = FailingObserver({"facts_event": [ValueError("no")]}, lane="main", identity="sql://three/runs")
    deaf = FailingObserver({"facts_event": [ValueError("no")]}, lane="main", display_name="a chat")
    dispatcher = bench.start(*stores, notifier, picky, deaf)
    emit_all(dispatcher)
    assert dispatcher.finish().lines == [
        "not stored yet by sql://one/runs (1 event), sql://two/runs (1 event); kept, and delivered by `capture sync` or"
        " with the next run",
        "not told to capture.testing.observers.FailingObserver (1 event)",
        "not taken by sql://three/runs (1 event); kept, and offered again by `capture sync`; the log says why",
        "not taken by a chat (1 event), and not told again; the log says why",
    ]
    assert "sql://two/runs: completed_event (event 14): ConnectionError: away; what it was told is kept" in caplog.text
    assert "is tried again while the run lasts" in caplog.text and "event 4 is not told again" in caplog.text


def test_ctrl_c_while_waiting_leaves_everything_in_order(bench):
    """The user wants the prompt back: the journal stays, closed and free for delivery."""
    store = FailingObserver({"completed_event": [ConnectionError("away"), ...]}, lane="main", identity="a:")
    dispatcher = bench.start(store)
    dispatcher.emit(completed())

    def interrupt(summary):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dispatcher.finish(on_wait=interrupt)
    later = MemoryStore("a:")
    assert [report.deleted for report in bench.sync(later)] == [True]
    assert later.record(UID).status == "COMPLETED"


def test_a_notifier_that_is_away_leaves_no_journal(bench):
    """A message about a run that ended last week is of no use: `replay = False`."""
    notifier = FailingObserver({"completed_event": [ConnectionError("away"), ...]}, lane="main", replay=False)
    dispatcher = bench.start(notifier)
    dispatcher.emit(completed())
    summary = dispatcher.finish()
    assert bench.journals == []
    assert "not told to" in str(summary)


def test_what_an_observer_refused_stays_in_the_journal(bench):
    """The value is not lost: a later version of the store may take it."""
    store = FailingObserver({"facts_event": [ValueError("no")]}, lane="main", identity="a:")
    bench.run(store)
    assert len(bench.journals) == 1
    later = MemoryStore("a:")
    (report,) = bench.sync(later)
    assert report.missed == {"a:": 1} and not report.deleted, "not offered again without being asked"
    (report,) = bench.sync(later, retry_missed=True)
    assert report.deleted
    assert later.record(UID).params == {"lr": 0.1}


def test_delivery_from_memory_goes_on_while_the_disk_is_full(bench, monkeypatch):
    """A database on another machine has room."""
    from capture import journal

    store = MemoryStore(lane="main")
    dispatcher = bench.start(store)

    def write(descriptor, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journal, "_write", write)
    emit_all(dispatcher)
    assert not dispatcher.finish()
    assert store.record(UID).status == "COMPLETED"
    assert store.record(UID).output == "hello\nworld\n"


def test_a_lane_goes_from_memory_back_to_the_file_without_a_gap(bench, monkeypatch):
    """Nothing twice and nothing skipped when the disk has room again."""
    from capture import journal

    observer = RecordingObserver(lane="main", hooks=["output_event"])
    dispatcher = bench.start(observer)
    full = [False]

    def write(descriptor, data):
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(descriptor, data)

    monkeypatch.setattr(journal, "_write", write)
    for index in range(60):
        full[0] = index % 20 >= 10
        dispatcher.emit(events.Output(text=str(index), offset=0))
        bench.clock.advance(1)
        dispatcher.pump()
    dispatcher.emit(completed())
    dispatcher.finish()
    assert [call["text"] for call in observer.of("output_event")] == [str(index) for index in range(60)]


def test_a_run_that_ends_leaves_no_thread_and_no_descriptor(tmp_path):
    """A sweep of a thousand runs in one process must not run out of either."""

    def one(number):
        store = MemoryStore()
        journal = journal_in(str(tmp_path), opened(describe([store]), uid=str(number)))
        dispatcher = Dispatcher(journal, Spool(str(tmp_path / "spool")), [store], uid=str(number))
        dispatcher.emit(started())
        dispatcher.start_lanes()
        dispatcher.wait_started()
        emit_all(dispatcher)
        dispatcher.finish()

    one(0)
    threads = set(threading.enumerate())
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for number in range(1, 30):
        one(number)
    assert not set(threading.enumerate()) - threads
    assert not descriptors or len(os.listdir("/proc/self/fd")) <= descriptors
    assert [name for _, _, names in os.walk(tmp_path) for name in names] == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are a matter of POSIX")
def test_a_forked_child_says_nothing(tmp_path):
    """A data loader's worker inherits the run's objects; the record is the parent's."""
    store = MemoryStore()
    dispatcher = hanging_run(tmp_path, store)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            dispatcher.emit(events.Output(text="child", offset=0))
            dispatcher.start_lanes()
            dispatcher.wait_started()
            dispatcher.pump()
            code = 3 if dispatcher.finish() else 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    emit_all(dispatcher)
    assert not dispatcher.finish()
    assert store.record(UID).output == "hello\nworld\n"
