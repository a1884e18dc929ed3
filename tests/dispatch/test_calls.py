"""What an observer is told."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from capture import calls, events
from capture.testing import FailingObserver, MemoryStore, RecordingObserver
from tests.dispatch.making import NOW, UID, Bench, completed, emit_all, metrics_body, plain, record_of, started


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_a_store_gets_everything_in_order(bench):
    """What a store can tell of a run is what its journal tells, file bytes included."""
    store = MemoryStore(lane="main")
    dispatcher = bench.start(store)
    emit_all(dispatcher)
    expected = plain(record_of(dispatcher))
    assert not dispatcher.finish()
    assert plain(store.record(UID)) == expected
    assert store.joined == 1
    assert bench.journals == []


def test_each_hook_gets_its_arguments(bench):
    """The table of hooks, one call each."""
    observer = RecordingObserver(label="seven", lane="main")
    bench.run(observer)
    assert observer.names == [
        "opened_event", "started_event", "source_event", "facts_event", "output_event", "metrics_event",
        "heartbeat_event", "resource_event", "artifact_event", "annotated_event", "unknown_event", "output_event",
        "heartbeat_event", "completed_event", "flush", "join",
    ]  # fmt: skip
    (start,) = observer.of("started_event")
    assert start["config"] == {"lr": 0.1}
    assert start["start_time"] == NOW
    assert (start["uid"], start["writer"], start["seq"]) == (UID, "main", 2)
    (artifact,) = observer.of("artifact_event")
    assert artifact["name"] == "plots/a.png"
    assert artifact["metadata"] == {"dpi": 9}
    (opened,) = observer.of("opened_event")
    assert opened["host"] == {"machine_id": "here"}
    assert observer.of("facts_event")[0]["name"] == "params"
    assert observer.of("unknown_event")[0]["payload"]["x"] == 1
    assert observer.of("heartbeat_event")[1]["result"] == 3
    assert observer.of("heartbeat_event")[1]["info"] == {"a": 1}, "as before"
    assert observer.of("metrics_event")[0]["batch"].columns["loss"]["values"] == [0.5, "nan"]


def test_an_artifacts_filename_holds_the_bytes_it_had(bench, tmp_path):
    """Sacred's observers copy from `filename`; by then the run may have overwritten the file."""
    held = []

    class Copying:
        lane = "main"

        def artifact_event(self, filename):
            with open(filename, "rb") as file:
                held.append(file.read())

        def resource_event(self, open):
            with open() as file:
                held.append(file.read())

    path = tmp_path / "model"
    path.write_bytes(b"epoch 1")
    dispatcher = bench.start(Copying())
    taken = dispatcher.spool.take(path)
    path.write_bytes(b"epoch 2")
    file = {"digest": taken.digest, "size": taken.size}
    dispatcher.emit(events.Artifact(artifact_name="model", filename=str(path), **file))
    dispatcher.emit(events.Resource(filename=str(path), **file))
    dispatcher.finish()
    assert held == [b"epoch 1", b"epoch 1"]


def test_observers_have_their_own_copies(bench):
    """One that edits what it is handed changed what the next one stored, in Sacred."""

    class Vandal:
        lane = "main"
        priority = 10

        def started_event(self, config, ex_info):
            config.clear()
            ex_info["name"] = "broken"

        def heartbeat_event(self, info):
            info["a"] = "broken"

    observer = RecordingObserver(lane="main")
    bench.run(Vandal(), observer)
    assert observer.of("started_event")[0]["config"] == {"lr": 0.1}
    assert [beat["info"] for beat in observer.of("heartbeat_event")] == [{"a": 1}, {"a": 1}]


def test_a_second_attempt_gets_a_fresh_copy(bench):
    """What the first attempt did to its arguments before it failed does not matter."""
    seen = []

    class Flaky:
        lane = "main"

        def started_event(self, config):
            seen.append(dict(config))
            config.clear()
            if len(seen) < 3:
                raise ConnectionError("away")

    bench.run(Flaky())
    assert seen == [{"lr": 0.1}] * 3


class Sacreds(RecordingObserver):
    """An observer with Sacred's hooks only."""

    lane = "main"

    def __init__(self, **options):
        super().__init__(
            hooks=["queued_event", "started_event", "completed_event", "interrupted_event", "failed_event", "join"],
            **options,
        )

    def heartbeat_event(self, info, captured_out, beat_time, result):
        self.told(
            "heartbeat_event",
            {"info": info, "captured_out": captured_out, "beat_time": beat_time, "result": result},
        )

    def log_metrics(self, metrics_by_name, info):
        self.told("log_metrics", {"metrics_by_name": metrics_by_name, "info": info})


def test_an_observer_written_for_sacred_is_told_as_sacred_told_it(bench):
    """Numbers between heartbeats come together before the heartbeat, which has the whole output."""
    observer = Sacreds()
    dispatcher = bench.start(observer)
    start = 1_767_225_600_000_000
    dispatcher.emit_body("metrics", metrics_body(0.5, 0.25, start=start))
    dispatcher.emit(events.Output(text="hello wor", offset=0))
    dispatcher.emit_body("metrics", metrics_body("nan", start=start + 1_000_000))
    dispatcher.emit(events.Output(text="world\n", offset=6))
    dispatcher.emit(events.Heartbeat(beat_time=NOW, info=[{"a": 1}]))
    dispatcher.emit(completed())
    dispatcher.finish()
    assert observer.names == ["started_event", "log_metrics", "heartbeat_event", "completed_event", "join"]
    loss = observer.of("log_metrics")[0]["metrics_by_name"]["loss"]
    assert loss["name"] == "loss"
    assert loss["steps"] == [0, 1, 0]
    assert loss["values"][:2] == [0.5, 0.25] and loss["values"][2] != loss["values"][2]
    time = datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert loss["timestamps"] == [time, time, time + timedelta(seconds=1)]
    assert observer.of("log_metrics")[0]["info"] == {"a": 1}
    beat = observer.of("heartbeat_event")[0]
    assert beat == {"info": {"a": 1}, "captured_out": "hello world\n", "beat_time": NOW, "result": None}


def test_nothing_that_was_gathered_is_lost_when_no_heartbeat_follows(bench):
    """Sacred lost the numbers and the output behind the last heartbeat."""
    observer = Sacreds()
    dispatcher = bench.start(observer)
    dispatcher.emit_body("metrics", metrics_body(0.5))
    dispatcher.emit(events.Output(text="last words", offset=0))
    dispatcher.emit(completed())
    dispatcher.finish()
    assert observer.names == ["started_event", "log_metrics", "heartbeat_event", "completed_event", "join"]
    assert observer.of("heartbeat_event")[0]["captured_out"] == "last words"


def test_the_whole_output_is_kept_only_for_who_asks(bench):
    """It may be a gigabyte; observers of ours get what is new."""

    class Modest:
        lane = "main"

        def heartbeat_event(self, info):
            """Need no output."""

    dispatcher = bench.start(Modest())
    dispatcher.emit(events.Output(text="x" * 1000, offset=0))
    dispatcher.journal.flush()
    dispatcher.pump()
    assert dispatcher.lanes[0].calls._output == b""
    dispatcher.finish()


def test_many_numbers_between_heartbeats_do_not_pile_up(bench, monkeypatch):
    """A run may log a million numbers in ten seconds."""
    monkeypatch.setattr(calls, "MAX_GATHERED", 2_000)
    observer = Sacreds()
    dispatcher = bench.start(observer)
    for _ in range(20):
        dispatcher.emit_body("metrics", metrics_body(*range(30)))
    dispatcher.emit(completed())
    dispatcher.finish()
    assert len(observer.of("log_metrics")) > 2
    told = [call["metrics_by_name"]["loss"]["values"] for call in observer.of("log_metrics")]
    assert [value for values in told for value in values] == list(range(30)) * 20


def test_an_event_with_fields_of_a_later_version_is_not_misread(bench):
    """Same name, other meaning: it goes where unknown events go."""
    observer = RecordingObserver(lane="main")
    dispatcher = bench.start(observer)
    dispatcher.emit_body("facts", '"subject":"renamed"')
    dispatcher.emit(completed())
    dispatcher.finish()
    assert observer.of("facts_event") == []
    assert observer.of("unknown_event")[0]["payload"]["subject"] == "renamed"


def test_bytes_that_are_gone_are_one_missed_event(bench, caplog):
    """Somebody emptied the spool: the rest of the run is stored all the same."""
    store = MemoryStore(lane="main")
    dispatcher = bench.start(store)
    dispatcher.emit(events.Resource(filename="/a", digest="0" * 64, size=1))
    dispatcher.emit(completed(4))
    dispatcher.finish()
    assert store.record(UID).result == 4
    assert "FileNotFoundError" in caplog.text


def test_the_label_is_offered_from_store_to_store(bench):
    """One number for one run, wherever it is looked up."""
    first = RecordingObserver(label=41, lane="main", priority=2, identity="a:")
    second = RecordingObserver(label=None, lane="main", priority=1)
    dispatcher = bench.open(second, first)
    dispatcher.emit(started())
    dispatcher.start_lanes()
    assert dispatcher.wait_started() == 41
    assert first.of("started_event")[0]["_id"] is None
    assert second.of("started_event")[0]["_id"] == 41
    assert dispatcher.labels == {"a:": 41}
    dispatcher.finish()


def test_a_label_that_the_user_asked_for_is_offered_to_all(bench):
    """`--id` names the run, not the first store."""
    observer = RecordingObserver(label="mine", lane="main")
    dispatcher = bench.open(observer)
    dispatcher.emit(started(label="mine"))
    dispatcher.start_lanes()
    dispatcher.wait_started()
    assert observer.of("started_event")[0]["_id"] == "mine"
    dispatcher.finish()


def test_a_store_that_was_added_twice_is_told_once(bench, caplog):
    """A default store and the same store by flag are one."""
    one, two = MemoryStore(lane="main"), MemoryStore(lane="main")
    bench.run(one, two)
    assert (one.deliveries > 0, two.deliveries) == (True, 0)
    assert "twice" in caplog.text


def test_an_observer_that_fails_as_asked(bench):
    """The tool itself: other tests believe it."""
    observer = FailingObserver({"heartbeat_event": [None, ValueError("once")], "*": [KeyError("x"), ...]})
    observer.heartbeat_event(info={})
    with pytest.raises(ValueError):
        observer.heartbeat_event(info={})
    observer.heartbeat_event(info={})
    for _ in range(3):
        with pytest.raises(KeyError):
            observer.join()
