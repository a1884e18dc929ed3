"""Folders that were written long ago stay readable, and what is written today looks the same."""

from __future__ import annotations

import math
import shutil
from datetime import datetime, timedelta, timezone

import pytest

from capture.codec import Opaque
from capture.observers import FileStorageObserver, FileStoreCurator, FileStoreReader
from capture.testing import Story, tell, told
from capture.testing.contract import differences, uid
from tests.observers import golden
from tests.project.tree import ROOT

GOLDEN = ROOT / "tests" / "golden"


@pytest.fixture
def sacreds(tmp_path):
    """Return a copy of a store that Sacred 0.8.7 wrote: a completed, a failed and a queued run."""
    shutil.copytree(GOLDEN / "sacred-0.8.7", tmp_path / "sacreds")
    return tmp_path / "sacreds"


def test_a_record_of_format_1_is_read_as_it_was_told(tmp_path):
    """A store outlives the version of the library that wrote it."""
    wanted = told(golden.story(tmp_path))
    found = FileStoreReader(GOLDEN / "file-store-1").get("1")
    assert not differences(wanted, found, FileStorageObserver.supports, ["opened_event", "unknown_event"])
    assert found.status == "COMPLETED"
    assert found.output == "epoch 1\ngröße 20%\nagain\n"
    assert found.metrics["loss"].values == [3.0, 2.5, 2.25, 2.0, math.inf]
    assert [stored.name for stored in found.artifacts] == ["model.bin", "plots/loss.svg", "run.json", "../a:b.txt"]
    assert found.artifact("run.json").read() == b"{}"
    assert found.config["limit"] == math.inf
    assert found.start_time == datetime(2026, 1, 1, 0, 0, 3, 250, timezone.utc)


def test_what_is_written_today_is_what_format_1_says(tmp_path):
    """A change of the layout is a new version of the format, not an accident."""
    golden.write(str(tmp_path / "store"))
    wanted, found = golden.contents(str(GOLDEN / "file-store-1")), golden.contents(str(tmp_path / "store"))
    assert sorted(found) == sorted(wanted)
    for name, data in wanted.items():
        assert found[name].decode("latin-1") == data.decode("latin-1"), name


def test_a_completed_run_of_sacred_is_read_whole(sacreds):
    """Years of records are the reason why people do not change their tool."""
    record = FileStoreReader(sacreds).get(1)
    assert (record.label, record.uid, record.status, record.command) == ("1", "", "COMPLETED", "main")
    assert record.start_time == datetime(2026, 11, 21, 3, 18, 59, record.start_time.microsecond, timezone.utc)
    assert timedelta(0) < record.stop_time - record.start_time < timedelta(seconds=5)
    assert record.heartbeat.tzinfo is timezone.utc
    assert record.experiment["name"] == "digits"
    assert record.experiment["dependencies"] == ["numpy==2.4.6", "sacred==0.8.7"]
    assert record.host["hostname"] == "node7"
    assert record.meta["options"]["--queue"] is False
    assert record.config["nested"] == {"layers": {"shape": [1, 2]}, "byid": {1: "one", 2: "two"}}
    assert record.config["arr"].tolist() == [1.0, 2.0]
    assert record.info["t"] == (1, 2)
    assert record.info["vec"].tolist() == [0, 1, 2]
    assert record.result == {"score": 0.5, "pair": (1, 2)}
    assert record.output == "hello\nwörld\n"
    assert record.fail_trace is None


def test_the_series_of_sacred_are_read(sacreds):
    """Its metrics.json has bare NaN in it, which is not JSON."""
    metrics = FileStoreReader(sacreds).get(1).metrics
    assert sorted(metrics) == ["acc.test", "diverged", "loss"]
    assert (metrics["loss"].steps, metrics["loss"].values) == ([0, 10, 20], [1.0, 0.5, 1 / 3])
    assert math.isnan(metrics["diverged"].values[0])
    assert metrics["loss"].timestamps[0].year == 2026


def test_the_files_of_sacred_are_read(sacreds):
    """Their paths are relative to wherever the process was, and the store has moved since."""
    record = FileStoreReader(sacreds).get(1)
    (source,), (resource,) = record.sources, record.resources
    assert (source.name, source.metadata) == ("gen.py", {"md5": "2e2cd67cc0998c5d1e2442352fcf3990"})
    assert source.read().startswith(b"import os\n")
    assert (resource.name, resource.read()) == ("/home/user/project/in.txt", b"input data\n")
    assert [(stored.name, stored.read()) for stored in record.artifacts] == [
        ("plot.txt", b"artifact data\n"),
        ("other.txt", b"artifact data\n"),
    ]


def test_a_failed_run_of_sacred_keeps_its_trace(sacreds):
    """Its output was lost by Sacred; the trace was not."""
    record = FileStoreReader(sacreds).get("2")
    assert record.status == "FAILED"
    assert record.fail_trace[-1] == "ValueError: asked to fail\n"
    assert record.result is None


def test_a_queued_run_of_sacred_is_read_and_can_be_started(sacreds):
    """Its sources lie in its own folder, and its time is a pickled datetime."""
    record = FileStoreReader(sacreds).get("queued-one")
    assert record.status == "QUEUED"
    assert record.queue_time == datetime(2026, 11, 21, 3, 18, 59, record.queue_time.microsecond, timezone.utc)
    assert record.sources[0].read().startswith(b"import os\n")
    story = Story(sacreds.parent / "told", uid("01")).start("queued-one").complete(3)
    assert tell(FileStorageObserver(sacreds), story) == "queued-one"
    started = FileStoreReader(sacreds).get("queued-one")
    assert (started.uid, started.status, started.result) == (uid("01"), "COMPLETED", 3)


def test_runs_of_sacred_and_ours_live_in_one_store(sacreds):
    """A team does not change all its scripts in one day."""
    label = tell(FileStorageObserver(sacreds), Story(sacreds.parent / "told", uid("01")).start().complete())
    assert label == "3"
    reader = FileStoreReader(sacreds)
    assert set(reader.labels()) == {"1", "2", "3", "queued-one"}
    assert [record.label for record in reader.find({"status": "COMPLETED"})] == ["1", "3"]
    assert reader.is_alive(reader.get(1)) is False


def test_a_run_of_sacred_can_be_annotated_without_losing_anything(sacreds):
    """Notes on old runs are worth most."""
    before = FileStoreReader(sacreds).get(1).to_dict()
    FileStoreCurator(sacreds).annotate(1, tags=["old"], notes="from the days of Sacred")
    after = FileStoreReader(sacreds).get(1).to_dict()
    assert (after.pop("tags"), after.pop("notes")) == (["old"], "from the days of Sacred")
    for name, value in after.items():
        assert repr(value) == repr(before[name]), name


def test_a_record_of_sacred_that_would_run_code_is_data(sacreds):
    """jsonpickle ran this when Sacred's own tools read it."""
    trap = sacreds.parent / "trap"
    evil = f'{{"x": {{"py/reduce": [{{"py/function": "os.mkdir"}}, {{"py/tuple": ["{trap}"]}}]}}}}'
    (sacreds / "1" / "config.json").write_text(evil, encoding="utf-8")
    record = FileStoreReader(sacreds).get(1)
    assert isinstance(record.config["x"], Opaque)
    assert not trap.exists()


def test_a_record_cannot_show_files_from_outside_the_store(sacreds):
    """A board serves what a record lists; a record from elsewhere may list anything."""
    secret = sacreds.parent / "secret.txt"
    secret.write_text("secret", encoding="utf-8")
    run = sacreds / "1" / "run.json"
    text = run.read_text(encoding="utf-8")
    text = text.replace('"other.txt"', '"../../secret.txt"').replace(
        "store/_resources/in_95e31ced0fef5dd818681d3e313b948c.txt", str(secret)
    )
    run.write_text(text, encoding="utf-8")
    record = FileStoreReader(sacreds).get(1)
    for stored in (record.artifacts[1], record.resources[0]):
        with pytest.raises(FileNotFoundError):
            stored.open()
