"""Events, their stored form, and the record they fold into."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import datetime, timezone

import pytest

from capture import events
from capture.events import EVENTS, Event, from_json
from capture.records import Series, fold

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
DESCRIPTION = {
    "command": "main",
    "ex_info": {"name": "x", "sources": []},
    "host_info": {"hostname": "h"},
    "config": {"lr": 0.1, "layers": (1, 2)},
    "meta_info": {},
}
SAMPLES: list[Event] = [
    events.Opened(format=1, uid="u", writer="main", version="1", host={"pid": 1}, observers=[]),
    events.Queued(queue_time=NOW, **DESCRIPTION),
    events.Started(start_time=NOW, label="7", **DESCRIPTION),
    events.Resumed(resume_time=NOW),
    events.Facts(topic="params", facts={"n": 3}),
    events.Source(path="a.py", digest="d1", size=3, md5="m"),
    events.Output(text="héllo\n", offset=0),
    events.Metrics(start=10, columns={"loss": {"steps": [0, 1], "values": [0.5, "nan"], "times": [0, 5]}}),
    events.Heartbeat(beat_time=NOW, info=[{"a": 1}], result=[0.5]),
    events.Resource(filename="/data/x", digest="d2", size=4),
    events.Artifact(artifact_name="plots/a.png", filename="/a.png", digest="d3", size=5, metadata={"k": 1}),
    events.Listed(kind="artifact", filename="lost.png", digest="d4", size=6, metadata={"k": 1}, content_type="image/png"),
    events.Completed(stop_time=NOW, result={"acc": 1}),
    events.Interrupted(interrupt_time=NOW, status="TIMEOUT"),
    events.Failed(fail_time=NOW, fail_trace=["Traceback", "E"]),
    events.Annotated(tags=["t"], notes="n"),
]


def test_there_is_a_sample_of_every_event():
    """A new event that is not listed above would be tested by nothing below."""
    assert {type(sample) for sample in SAMPLES} == set(EVENTS.values())


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: event.name)
def test_an_event_survives_its_stored_form_pickling_and_copying(event):
    """The journal, other processes and observers' copies all rely on it."""
    placed = event.at(seq=3, time=1.25)
    assert from_json(json.loads(json.dumps(placed.to_json(), allow_nan=False))) == placed
    assert pickle.loads(pickle.dumps(placed)) == placed
    assert copy.deepcopy(placed) == placed
    assert placed != event


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: event.name)
def test_an_event_cannot_be_changed(event):
    """What happened has happened; an observer that edits its copy would edit everybody's."""
    with pytest.raises(AttributeError, match="do not change"):
        event.seq = 5


def test_an_event_asks_for_its_fields_and_refuses_others():
    """A slip in a field's name would otherwise be stored as nothing."""
    with pytest.raises(TypeError, match="needs text"):
        events.Output(offset=0)
    with pytest.raises(TypeError, match="no field 'colour'"):
        events.Output(text="", offset=0, colour=1)


def test_an_event_of_a_later_version_is_kept_as_it_is():
    """A newer library may write into a store that an older one reads."""
    stored = {"e": "teleported", "s": 9, "t": 1.0, "where": {"py/tuple": [1]}}
    event = from_json(stored)
    assert event.to_json() == stored
    assert fold([event]).extra == [stored]


def test_a_known_event_with_missing_fields_is_kept_as_unknown():
    """A damaged line must not end the reading of the rest."""
    stored = {"e": "output", "s": 9, "t": 1.0, "offset": 0}
    assert from_json(stored).to_json() == stored


def test_the_fold_of_a_run_is_its_record():
    """This is the definition of "stored", so it is spelled out here once."""
    record = fold([s.at(i + 1, 0.0) for i, s in enumerate(SAMPLES) if s.name not in ("queued", "interrupted", "failed")])
    assert record.uid == "u"
    assert record.status == "COMPLETED"
    assert record.config == {"lr": 0.1, "layers": (1, 2)}
    assert record.params == {"n": 3}
    assert record.output == "héllo\n"
    assert record.info == {"a": 1}
    assert record.result == {"acc": 1}
    assert record.tags == ["t"] and record.notes == "n"
    assert record.metrics["loss"].steps == [0, 1]
    assert record.metrics["loss"].values[0] == 0.5
    assert record.metrics["loss"].values[1] != record.metrics["loss"].values[1]
    assert record.metrics["loss"].times == [10, 15]
    assert record.artifact("plots/a.png").metadata == {"k": 1}
    assert [stored.name for stored in record.resources] == ["/data/x"]
    assert record.heartbeat == NOW


def test_output_replaces_what_stood_from_its_offset_on():
    """A progress bar redraws its line; the record keeps the last drawing, counted in bytes and not in characters."""
    told = [("é 10%", 0), ("é 20%\n", 0), ("done", 7), ("done.\n", 7)]
    assert fold([events.Output(text=text, offset=offset) for text, offset in told]).output == "é 20%\ndone.\n"


def test_a_resumed_run_is_running_again():
    """Its old ending is not its ending any more."""
    record = fold([events.Failed(fail_time=NOW, fail_trace=["x"]), events.Resumed(resume_time=NOW)])
    assert (record.status, record.fail_trace, record.stop_time, record.resumed) == ("RUNNING", None, None, [NOW])


def test_the_same_resource_twice_is_one_and_a_changed_one_is_two():
    """A file that changed between two reads was two inputs."""
    told = [("/x", "d1"), ("/x", "d1"), ("/x", "d2")]
    record = fold([events.Resource(filename=name, digest=digest, size=1) for name, digest in told])
    assert [stored.digest for stored in record.resources] == ["d1", "d2"]


def test_an_artifact_that_is_not_there_is_named_with_those_that_are():
    """The next thing its reader does is to look for the right name."""
    record = fold([events.Artifact(artifact_name="a.txt", filename="/a.txt", digest="d", size=1)])
    with pytest.raises(KeyError, match=r"no artifact 'b.txt'; it has: a\.txt"):
        record.artifact("b.txt")
    with pytest.raises(FileNotFoundError, match="not the bytes"):
        record.artifact("a.txt").open()


def test_series_give_aware_times():
    """Naive times were read in the wrong time zone by everyone outside UTC."""
    series = Series("loss", [0], [1.0], [1_000_001])
    assert series.timestamps == [datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=timezone.utc)]
