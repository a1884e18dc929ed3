"""How a run's observers start: in order, in one allowance, with a veto for those that may have one."""

from __future__ import annotations

import threading
import time

import pytest

from capture.dispatch import DeliveryOptions, Dispatcher, describe
from capture.errors import RequiredObserverError, SacredInterrupt
from capture.spool import Spool
from capture.testing import FailingObserver, MemoryStore, RecordingObserver
from tests.dispatch.making import UID, Bench, completed, opened, started
from tests.journal.making import journal_in


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def begin(bench, *observers, **options):
    dispatcher = bench.open(*observers, **options)
    dispatcher.emit(started())
    dispatcher.start_lanes()
    return dispatcher


def test_observers_start_in_the_order_of_their_priority(bench):
    """The first one names the run."""
    order = []

    class Ordered:
        lane = "main"

        def __init__(self, priority):
            self.priority = priority

        def started_event(self):
            order.append(self.priority)
            return self.priority

    dispatcher = begin(bench, Ordered(1), Ordered(30), Ordered(20))
    assert dispatcher.wait_started() == 30
    assert order == [30, 20, 1]
    dispatcher.finish()


def test_a_run_does_not_wait_for_a_store_that_is_away(bench):
    """Training starts; the store gets everything when it is back."""
    store = FailingObserver({"started_event": [ConnectionError("refused"), ...]}, lane="main", identity="a:")
    dispatcher = begin(bench, store)
    before = bench.clock.monotonic()
    assert dispatcher.wait_started() is None
    assert bench.clock.monotonic() - before < 1, "it knows at once that the first attempt failed"
    dispatcher.emit(completed())
    dispatcher.finish()


def test_a_failed_start_is_tried_again_while_the_run_lives(bench, caplog):
    """Nothing that the run says meanwhile is lost, and nothing but the start is told before it succeeds."""
    store = FailingObserver({"started_event": [PermissionError("no"), ConnectionError("away"), None]}, lane="main")
    dispatcher = begin(bench, store)
    dispatcher.wait_started()
    for _ in range(40):
        bench.clock.advance(1)
        dispatcher.pump()
    dispatcher.emit(completed())
    assert not dispatcher.finish()
    assert store.names[:4] == ["opened_event", "started_event", "started_event", "started_event"]
    assert store.names[-3:] == ["completed_event", "flush", "join"]
    assert "no" in caplog.text


@pytest.mark.slow
def test_the_next_one_starts_when_the_first_takes_too_long(tmp_path):
    """A store that hangs must not keep a healthy one from knowing of the run."""
    release = threading.Event()
    hanging = FailingObserver({"started_event": [release.wait]}, priority=2, label="late")
    healthy = RecordingObserver(label="here", priority=1)
    journal = journal_in(str(tmp_path), opened(describe([hanging, healthy])))
    options = DeliveryOptions(start_wait_s=4, stall_s=0.2)
    dispatcher = Dispatcher(journal, Spool(str(tmp_path / "spool")), [hanging, healthy], options, uid=UID)
    dispatcher.emit(started())
    dispatcher.start_lanes()
    assert dispatcher.wait_started() == "here"  # though nobody has released the one that hangs
    dispatcher.emit(completed())
    release.set()
    dispatcher.finish(stall_s=60)
    assert hanging.names[-1] == healthy.names[-1] == "join"
    assert dispatcher.first_label == "here", "the label of a run never changes"


@pytest.mark.slow
def test_all_share_one_allowance(tmp_path):
    """Thirty stores that hang cost what one costs."""
    release = threading.Event()
    hanging = [FailingObserver({"started_event": [release.wait]}) for _ in range(30)]
    journal = journal_in(str(tmp_path), opened(describe(hanging)))
    dispatcher = Dispatcher(
        journal, Spool(str(tmp_path / "spool")), hanging, DeliveryOptions(start_wait_s=2, stall_s=0), uid=UID
    )
    dispatcher.emit(started())
    dispatcher.start_lanes()
    before = time.monotonic()
    assert dispatcher.wait_started() is None
    assert 1.9 < time.monotonic() - before < 50
    release.set()
    dispatcher.finish(stall_s=60)
    assert all(observer.names[-1] == "join" for observer in hanging)


def test_an_observer_may_refuse_the_run(bench):
    """Labs use it as a veto: a wrong project code, a licence that is used up."""

    class NoLicence(SacredInterrupt):
        STATUS = "NO_LICENCE"

    refusing = FailingObserver({"started_event": [NoLicence("all seats taken")]}, lane="main", priority=2)
    store = MemoryStore(lane="main")
    dispatcher = begin(bench, refusing, store)
    with pytest.raises(NoLicence):
        dispatcher.wait_started()
    dispatcher.emit(completed())
    assert not dispatcher.finish()
    assert "completed_event" not in refusing.names, "it hears nothing more of the run"
    assert store.record(UID).status == "COMPLETED"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit(), MemoryError()])
def test_no_exception_of_an_observer_ends_the_process(tmp_path, error):
    """`sys.exit` in a plug-in is a defect of the plug-in, not the end of the training."""
    observer = FailingObserver({"started_event": [error], "output_event": [error]})
    journal = journal_in(str(tmp_path), opened(describe([observer])))
    options = DeliveryOptions(backoff_s=(0.01, 0.02))
    dispatcher = Dispatcher(journal, Spool(str(tmp_path / "spool")), [observer], options, uid=UID)
    dispatcher.emit(started())
    dispatcher.start_lanes()
    dispatcher.wait_started()
    from capture import events

    dispatcher.emit(events.Output(text="x", offset=0))
    dispatcher.emit(completed())
    summary = dispatcher.finish()
    assert observer.names[-1] == "join"
    assert list(summary.missed.values()) == [1]


def test_a_required_store_that_refuses_stops_the_run_at_once(bench):
    """Wrong credentials: better no run than one that its owner cannot find."""
    store = FailingObserver({"started_event": [PermissionError("wrong password"), ...]}, required=True, lane="main")
    dispatcher = begin(bench, store)
    with pytest.raises(RequiredObserverError, match="wrong password"):
        dispatcher.wait_started()
    assert bench.clock.monotonic() < 1


def test_a_required_store_that_is_away_gets_some_time(bench):
    """A database may take seconds to answer; then the run starts."""
    store = FailingObserver({"started_event": [ConnectionError("away")] * 2}, required=True, lane="main")
    dispatcher = begin(bench, store)
    dispatcher.wait_started()
    assert store.names.count("started_event") == 3
    away = FailingObserver({"started_event": [ConnectionError("away"), ...]}, required=True, lane="main")
    dispatcher = begin(bench, away, uid="other")
    with pytest.raises(RequiredObserverError, match="away"):
        dispatcher.wait_started()
    assert bench.clock.monotonic() < 30


def test_a_required_store_that_hangs_stops_the_run(tmp_path):
    """No answer is no start."""
    release = threading.Event()
    store = FailingObserver({"started_event": [release.wait]}, required=True)
    journal = journal_in(str(tmp_path), opened(describe([store])))
    options = DeliveryOptions(start_wait_s=0.05, required_wait_s=0.1, stall_s=0)
    dispatcher = Dispatcher(journal, Spool(str(tmp_path / "spool")), [store], options, uid=UID)
    dispatcher.emit(started())
    dispatcher.start_lanes()
    with pytest.raises(RequiredObserverError, match="did not answer"):
        dispatcher.wait_started()
    release.set()
    dispatcher.finish()


def test_a_run_without_hooks_for_the_start_starts(bench):
    """An observer that only wants the end has nothing to say at the beginning."""
    observer = RecordingObserver(hooks=["completed_event"], lane="main")
    dispatcher = begin(bench, observer)
    assert dispatcher.wait_started() is None
    dispatcher.emit(completed())
    dispatcher.finish()
    assert observer.names == ["completed_event"]


def test_hooks_on_the_main_thread_are_called_there(tmp_path):
    """Some clients (a GUI, an event loop) may only be used by the thread that made them."""
    threads = set()

    class Picky:
        def __init__(self, lane):
            self.lane = lane

        def started_event(self):
            threads.add((self.lane, threading.current_thread() is threading.main_thread()))

        completed_event = join = started_event

    observers = [Picky("main"), Picky("thread")]
    journal = journal_in(str(tmp_path), opened(describe(observers)))
    dispatcher = Dispatcher(journal, Spool(str(tmp_path / "spool")), observers, uid=UID)
    dispatcher.emit(started())
    dispatcher.start_lanes()
    dispatcher.wait_started()
    dispatcher.emit(completed())
    dispatcher.finish()
    assert threads == {("main", True), ("thread", False)}


def test_ctrl_c_on_the_main_thread_is_the_users(bench):
    """It may come while a hook runs there; then it belongs to the run, not to the observer."""
    observer = FailingObserver({"started_event": [KeyboardInterrupt()]}, lane="main")
    dispatcher = begin(bench, observer)
    with pytest.raises(KeyboardInterrupt):
        dispatcher.wait_started()
    dispatcher.emit(completed())
    assert not dispatcher.finish()
    assert observer.names.count("started_event") == 2, "the interrupted call is made again"
