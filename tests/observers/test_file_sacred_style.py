"""The observer works where Sacred calls it: by keyword, without uid, and everything is on the disk at once."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import datetime

import pytest

from capture.observers import FileStorageObserver, FileStoreReader

START = datetime(1999, 5, 4, 3, 2, 1)
STOP = datetime(1999, 5, 5, 5, 5, 5, 5)


@pytest.fixture
def observer(tmp_path):
    return FileStorageObserver(tmp_path / "runs")


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "project" / "train.py"
    path.parent.mkdir()
    path.write_text("print('hello')\n", encoding="utf-8")
    return path


def start(observer, script, _id=None, hook="started_event", time="start_time"):
    md5 = hashlib.md5(script.read_bytes()).hexdigest()
    ex_info = {"name": "test", "base_dir": str(script.parent), "sources": [("train.py", md5)], "dependencies": []}
    arguments = {
        "ex_info": ex_info, "command": "run", "host_info": {"hostname": "h"}, time: START,
        "config": {"seed": 1, "t": (1, 2)}, "meta_info": {"comment": "c"}, "_id": _id,
    }  # fmt: skip
    label = getattr(observer, hook)(**arguments)
    assert ex_info["sources"] == [("train.py", md5)], "the observer changed what others are told, too"
    return label


def read(observer, name):
    with open(f"{observer.dir}/{name}", encoding="utf-8") as stream:
        return json.load(stream)


def output(observer):
    with open(f"{observer.dir}/cout.txt", encoding="utf-8") as stream:
        return stream.read()


def test_a_start_is_on_the_disk_in_sacreds_keys(observer, script):
    """Viewers written for Sacred read run.json key by key."""
    assert start(observer, script) == "1"
    md5 = hashlib.md5(script.read_bytes()).hexdigest()
    assert read(observer, "run.json") == {
        "experiment": {
            "name": "test",
            "base_dir": str(script.parent),
            "sources": [["train.py", f"_sources/train_{md5}.py"]],
            "dependencies": [],
        },
        "command": "run",
        "host": {"hostname": "h"},
        "start_time": "1999-05-04T03:02:01",
        "meta": {"comment": "c"},
        "status": "RUNNING",
        "resources": [],
        "artifacts": [],
        "heartbeat": None,
    }
    assert read(observer, "config.json") == {"seed": 1, "t": {"py/tuple": [1, 2]}}
    assert output(observer) == ""
    with open(f"{observer.basedir}/_sources/train_{md5}.py", "rb") as stored:
        assert stored.read() == script.read_bytes()


def test_a_queued_run_has_sacreds_keys(observer, script):
    """A worker looks for QUEUED records."""
    label = start(observer, script, "mine", "queued_event", "queue_time")
    assert label == "mine"
    run = read(observer, "run.json")
    assert run["status"] == "QUEUED"
    assert sorted(run) == ["command", "experiment", "host", "meta", "status"]
    assert start(observer, script, "mine") == "mine"
    assert read(observer, "run.json")["status"] == "RUNNING"


def test_heartbeats_append_the_output_and_write_info(observer, script):
    """Sacred hands over the whole output each time."""
    start(observer, script)
    observer.heartbeat_event(info={}, captured_out="one\n", beat_time=STOP, result=None)
    assert not (FileStoreReader(observer.basedir).get(1).info)
    assert "info.json" not in os.listdir(observer.dir)
    observer.heartbeat_event(info={"a": 1}, captured_out="one\ntwö\n", beat_time=STOP, result=13)
    assert output(observer) == "one\ntwö\n"
    assert read(observer, "info.json") == {"a": 1}
    run = read(observer, "run.json")
    assert (run["heartbeat"], run["result"]) == ("1999-05-05T05:05:05.000005", 13)


@pytest.mark.parametrize(
    ("hook", "arguments", "keys"),
    [
        ("completed_event", {"stop_time": STOP, "result": 42}, {"status": "COMPLETED", "result": 42}),
        ("interrupted_event", {"interrupt_time": STOP, "status": "INTERRUPTED"}, {"status": "INTERRUPTED"}),
        ("failed_event", {"fail_time": STOP, "fail_trace": ["a", "b"]}, {"status": "FAILED", "fail_trace": ["a", "b"]}),
    ],
)
def test_endings_are_written_at_once(observer, script, hook, arguments, keys):
    """After the last hook Sacred's process may be gone."""
    start(observer, script)
    getattr(observer, hook)(**arguments)
    run = read(observer, "run.json")
    assert run["stop_time"] == "1999-05-05T05:05:05.000005"
    assert {name: run[name] for name in keys} == keys


def test_files_are_hashed_and_copied(observer, script, tmp_path):
    """Sacred gives a path and nothing else."""
    start(observer, script)
    data = tmp_path / "data.csv"
    data.write_bytes(b"1,2\n")
    observer.resource_event(filename=str(data))
    observer.artifact_event(name="model.csv", filename=str(data), metadata={"m": 1}, content_type="text/csv")
    observer.artifact_event("deep/er.csv", str(data))
    md5 = hashlib.md5(b"1,2\n").hexdigest()
    run = read(observer, "run.json")
    assert run["resources"] == [[str(data), f"{observer.basedir}/_resources/data_{md5}.csv"]]
    assert run["artifacts"] == ["model.csv", "deep/er.csv"]
    data.write_bytes(b"changed")
    record = FileStoreReader(observer.basedir).get(1)
    assert record.resources[0].read() == record.artifact("model.csv").read() == b"1,2\n"
    assert record.artifact("model.csv").metadata == {"m": 1}
    assert record.artifact("deep/er.csv").digest == hashlib.sha256(b"1,2\n").hexdigest()


def test_measurements_are_in_metrics_json_at_once(observer, script):
    """Sacred's viewers plot metrics.json while the run goes on."""
    start(observer, script)
    column = {"name": "loss", "steps": [10, 20], "values": [1, float("nan")], "timestamps": [START, STOP]}
    observer.log_metrics({"loss": column}, {})
    observer.log_metrics(metrics_by_name={"loss": {**column, "steps": [30, 40], "values": [0.5, 0.25]}}, info={})
    assert read(observer, "metrics.json")["loss"] == {
        "steps": [10, 20, 30, 40],
        "values": [1, None, 0.5, 0.25],
        "timestamps": ["1999-05-04T03:02:01", "1999-05-05T05:05:05.000005"] * 2,
    }
    series = FileStoreReader(observer.basedir).get(1).metrics["loss"]
    assert series.steps == [10, 20, 30, 40]
    assert series.timestamps[1].replace(tzinfo=None) == STOP


def test_one_observer_serves_one_run_after_the_other(observer, script):
    """`ex.run()` may be called twice."""
    start(observer, script)
    observer.heartbeat_event(info={"a": 1}, captured_out="first", beat_time=STOP, result=None)
    observer.completed_event(stop_time=STOP, result=1)
    assert start(observer, script) == "2"
    observer.heartbeat_event(info={}, captured_out="second", beat_time=STOP, result=None)
    observer.completed_event(stop_time=STOP, result=2)
    records = [FileStoreReader(observer.basedir).get(number) for number in (1, 2)]
    assert [record.output for record in records] == ["first", "second"]
    assert [record.info for record in records] == [{"a": 1}, {}]


def test_sources_may_stay_where_they_are(tmp_path, script):
    """`copy_sources=False` is for who keeps the code elsewhere."""
    observer = FileStorageObserver(tmp_path / "runs", copy_sources=False)
    start(observer, script)
    assert read(observer, "run.json")["experiment"]["sources"] == [["train.py", "../project/train.py"]]
    with pytest.raises(FileNotFoundError):
        FileStoreReader(tmp_path / "runs").get(1).sources[0].open()


def test_resources_in_the_store_need_not_be_copied(tmp_path, script):
    """`copy_artifacts=False`: the artifact of one run is the resource of the next."""
    observer = FileStorageObserver(tmp_path / "runs", copy_artifacts=False)
    start(observer, script)
    observer.artifact_event("model.bin", str(script))
    path = f"{observer.dir}/model.bin"
    observer.completed_event(STOP, None)
    start(observer, script)
    observer.resource_event(path)
    assert read(observer, "run.json")["resources"] == [[path, path]]
    assert FileStoreReader(tmp_path / "runs").get(2).resources[0].read() == script.read_bytes()
    assert not (tmp_path / "runs" / "_resources").exists()


def test_a_source_that_is_gone_does_not_stop_the_run(observer, tmp_path, caplog):
    """A notebook, a zip file: the path need not lead to a file."""
    observer.started_event({"base_dir": str(tmp_path), "sources": [("gone.py", "0")]}, "main", {}, START, {}, {}, None)
    assert "gone.py" in caplog.text
    assert FileStoreReader(observer.basedir).get(1).sources[0].name == "gone.py"


def test_create_is_deprecated(tmp_path):
    """It still works, and says what to write."""
    with pytest.warns(DeprecationWarning, match="FileStorageObserver"):
        assert FileStorageObserver.create(tmp_path) == FileStorageObserver(tmp_path)
