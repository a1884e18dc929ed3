"""Sacred's `S3Observer` and `GoogleCloudStorageObserver`: names, parameters, and being called as Sacred calls."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys

import pytest

import capture
from capture.cli import main
from capture.errors import CommandLineError, ObserverError
from capture.observers import GoogleCloudStorageObserver, S3Observer
from capture.observers.remote import RemoteFolderObserver
from capture.registry import make_observer, observer_class, open_curator, open_reader
from capture.stores import store_of

s3fs = pytest.importorskip("s3fs")

T1 = datetime.datetime(2026, 1, 1, 12, 0, 0)
T2 = datetime.datetime(2026, 1, 1, 12, 5, 0)


@pytest.fixture
def bucket(s3_url) -> str:
    return s3_url.partition("://")[2].partition("/")[0]


@pytest.fixture
def client(s3_url):
    return s3fs.S3FileSystem(use_listings_cache=False)


def start(observer, tmp_path, **more):
    (tmp_path / "train.py").write_text("print(1)\n")
    ex_info = {"name": "digits", "base_dir": str(tmp_path), "sources": [("train.py", "md5")], "dependencies": []}
    fields = {"ex_info": ex_info, "command": "main", "host_info": {"hostname": "node7"}, "start_time": T1}
    return observer.started_event(**{**fields, "config": {"lr": 0.1}, "meta_info": {}, "_id": None, **more})


def read(client, path: str):
    return json.loads(client.cat_file(path))


def test_a_run_lies_in_the_bucket_as_in_a_folder(tmp_path, bucket, client):
    """Scripts that fetch run.json from the bucket go on to work."""
    observer = S3Observer(bucket, "lab/runs")
    assert start(observer, tmp_path) == "1"
    observer.heartbeat_event(info={"a": 1}, captured_out="first\n", beat_time=T2, result=1)
    observer.heartbeat_event(info={"a": 1}, captured_out="first\nsecond\n", beat_time=T2, result=1)
    (tmp_path / "model.bin").write_bytes(b"weights")
    observer.artifact_event("model.bin", str(tmp_path / "model.bin"))
    observer.resource_event(str(tmp_path / "model.bin"))
    observer.log_metrics({"loss": {"name": "loss", "steps": [0], "values": [2.5], "timestamps": [T2]}}, {})
    observer.completed_event(stop_time=T2, result=7)
    base = f"{bucket}/lab/runs"
    run = read(client, f"{base}/1/run.json")
    assert (run["status"], run["result"], run["artifacts"]) == ("COMPLETED", 7, ["model.bin"])
    assert run["start_time"] == "2026-01-01T12:00:00"
    assert read(client, f"{base}/1/config.json") == {"lr": 0.1}
    assert read(client, f"{base}/1/info.json") == {"a": 1}
    assert client.cat_file(f"{base}/1/cout.txt") == b"first\nsecond\n", "only a part of the output was kept"
    assert read(client, f"{base}/1/metrics.json")["loss"]["values"] == [2.5]
    assert client.cat_file(f"{base}/1/model.bin") == b"weights"
    [(name, stored)] = run["resources"]
    assert client.cat_file(stored) == b"weights"
    [[name, stored]] = run["experiment"]["sources"]
    assert client.cat_file(f"{base}/{stored}") == b"print(1)\n"
    assert observer.run_entry["status"] == "COMPLETED"
    assert observer.dir == f"{base}/1"


def test_a_bucket_that_is_missing_is_made(tmp_path, bucket, client):
    """As Sacred does: the first run of a lab needs no preparation."""
    new = f"{bucket}-new"
    assert start(S3Observer(new, "runs"), tmp_path) == "1"
    assert client.exists(f"{new}/runs/1/run.json")
    assert start(S3Observer(new, "runs"), tmp_path) == "2"
    client.rm(new, recursive=True)


def test_a_bucket_may_be_in_another_region(tmp_path, bucket, client):
    """S3 wants to be told, but for its first region, which it wants not to be told."""
    new = f"{bucket}-west"
    assert start(S3Observer(new, "runs", region="eu-west-1"), tmp_path) == "1"
    assert client.call_s3("get_bucket_location", Bucket=new)["LocationConstraint"] == "eu-west-1"
    client.rm(new, recursive=True)


def test_shared_files_may_lie_elsewhere_in_the_bucket(tmp_path, bucket, client):
    """Some labs keep all sources in one place."""
    observer = S3Observer(bucket, "runs", resource_dir="shared/data", source_dir="shared/code")
    start(observer, tmp_path)
    observer.completed_event(stop_time=T2, result=None)
    assert client.ls(f"{bucket}/shared/code")[0].endswith(".py")
    reader = S3Observer.reader(f"s3://{bucket}/runs", source_dir=f"/{bucket}/shared/code")
    assert reader.get(1).sources[0].read() == b"print(1)\n"


def test_a_folder_can_be_saved(tmp_path, bucket, client):
    """Checkpoints of TensorFlow are folders."""
    (tmp_path / "model" / "variables").mkdir(parents=True)
    (tmp_path / "model" / "variables" / "1.data").write_bytes(b"x")
    observer = S3Observer(bucket, "runs")
    observer.save_directory(str(tmp_path / "model"), "saved/model")
    observer.save_directory(tmp_path / "model", "")
    assert client.cat_file(f"{bucket}/saved/model/variables/1.data") == b"x"
    assert client.cat_file(f"{bucket}/model/variables/1.data") == b"x"


def test_the_argument_of_the_command_line_names_bucket_and_path():
    """``-S s3://bucket/path``."""
    observer = observer_class("s3://").from_argument("s3://my-lab/my/runs")
    assert (observer.bucket, observer.basedir, observer.priority) == ("my-lab", "my/runs", 20)
    for wrong in ("my-lab/runs", "s3://my-lab", "s3:///runs", "gs://my-lab/runs"):
        with pytest.raises(ValueError, match="s3://BUCKET/PATH"):
            S3Observer.from_argument(wrong)


@pytest.mark.parametrize("name", ["ab", "x" * 64, "My-Lab", "my_lab", "-lab", "my..lab", "203.0.113.1", ""])
def test_names_that_no_bucket_can_have_are_refused(name):
    """At once, as Sacred does, and before anything is asked of the network."""
    with pytest.raises(ValueError, match="names no bucket"):
        S3Observer(name, "runs")


def test_the_observer_for_google_takes_the_same_parameters():
    """Only its package and its scheme differ."""
    pytest.importorskip("gcsfs")
    observer = GoogleCloudStorageObserver("my-lab", "runs", priority=5)
    assert (observer.url, observer.priority, observer.identity) == ("gs://my-lab/runs", 5, "gs://my-lab/runs")
    assert isinstance(observer_class("gs://").from_url("gs://my-lab/runs"), GoogleCloudStorageObserver)
    with pytest.raises(ValueError, match="names no bucket"):
        GoogleCloudStorageObserver("No", "runs")


def test_runs_that_sacred_wrote_are_read(tmp_path, bucket, client):
    """Old buckets stay open; numbers go on after theirs."""
    base = f"{bucket}/runs"
    run = {
        "experiment": {"name": "old", "base_dir": "/x", "sources": [["a.py", f"{base}/_sources/a_{'0' * 32}.py"]]},
        "command": "main", "host": {"hostname": "h"}, "meta": {}, "status": "COMPLETED", "result": 3,
        "start_time": "2020-01-01T00:00:00", "stop_time": "2020-01-01T00:01:00", "heartbeat": None,
        "resources": [], "artifacts": ["m.bin"],
    }  # fmt: skip
    metrics = {"loss": {"steps": [0], "values": [1.5], "timestamps": ["2020-01-01T00:00:01"]}}
    client.pipe(
        {
            f"{base}/4/run.json": json.dumps(run).encode(),
            f"{base}/4/config.json": b'{"lr": {"py/tuple": [1, 2]}}',
            f"{base}/4/cout.txt": b"tail only\n",
            f"{base}/4/metrics.json": json.dumps(metrics).encode(),
            f"{base}/4/m.bin": b"m",
            f"{base}/_sources/a_{'0' * 32}.py": b"old\n",
        }
    )
    reader = open_reader(f"s3://{base}")
    record = reader.get(4)
    assert (record.config, record.result, record.output) == ({"lr": (1, 2)}, 3, "tail only\n")
    assert record.metrics["loss"].values == [1.5]
    assert record.sources[0].read() == b"old\n"
    assert record.artifacts[0].read() == b"m"
    assert start(S3Observer(bucket, "runs"), tmp_path) == "5"
    assert [each.label for each in reader.find({"experiment.name": "old"})] == ["4"]


# ------------------------------------------------------------------------------------- what is not Sacred's: URLs


def test_a_store_is_opened_again_by_its_identity(tmp_path, s3_url, monkeypatch):
    """What a killed run left behind is delivered by the recorded identity alone, endpoint included."""
    identity = make_observer(s3_url).identity
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    assert identity == f"{s3_url}?endpoint={endpoint}"
    for observer in (make_observer(identity), store_of(identity), RemoteFolderObserver(identity)):
        assert (observer.identity, observer.url, observer.storage_options) == (identity, s3_url, {"endpoint_url": endpoint})
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert make_observer(identity).identity == identity
    assert start(make_observer(identity), tmp_path) == "1"
    assert capture.open_store(identity).labels() == ["1"]
    open_curator(identity).annotate("1", tags=["kept"])
    assert capture.open_store(identity).get("1").tags == ["kept"]


def test_what_a_killed_run_left_is_delivered_to_its_bucket(tmp_path, s3_url, capsys):
    """``capture sync`` has nothing but the identity in the journal, and the environment for credentials."""
    script = (
        "import capture, os, signal\n"
        f"run = capture.start_run('killed', observers=[{s3_url!r}])\n"
        "run.log_scalar('loss', 0.5)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert main(["sync"]) == 0
    assert f"to {s3_url}?endpoint=" in capsys.readouterr().out
    assert capture.open_store(s3_url).get("latest").experiment["name"] == "killed"


def test_an_identity_has_no_credentials():
    """It is in the journal and in the log."""
    observer = make_observer("s3://my-lab/runs?endpoint=http://me:secret@127.0.0.1:9000")
    assert observer.identity == "s3://my-lab/runs?endpoint=http://127.0.0.1:9000"
    assert make_observer(observer.identity).identity == observer.identity
    assert "secret" not in repr(observer.storage_options) + repr(observer)


def test_a_misspelt_bucket_is_not_made(tmp_path, bucket, client):
    """A URL is typed; a bucket of that name would cost money and hide the runs."""
    wrong = f"{bucket}-nosuch"
    for observer in (make_observer(f"s3://{wrong}/runs"), RemoteFolderObserver(f"s3://{wrong}/runs")):
        with pytest.raises(ObserverError, match=f"there is no '{wrong}'(.|\n)*aws s3 mb s3://{wrong}") as error:
            start(observer, tmp_path)
        assert not observer.transient(error.value)
    assert not client.exists(wrong)


def test_reading_where_nothing_lies_is_an_error(tmp_path, bucket):
    """An empty answer would look like a store that has lost its runs."""
    for url in (f"s3://{bucket}-nosuch/runs", f"s3://{bucket}/nosuch"):
        with pytest.raises(FileNotFoundError, match=f"there is no store at '{url}'"):
            capture.open_store(url)
    start(S3Observer(bucket, "runs"), tmp_path)
    assert capture.open_store(f"s3://{bucket}/runs").labels() == ["1"]


def test_copying_from_a_bucket_that_is_missing_fails(tmp_path, bucket, capsys):
    """"0 of 0 runs copied" with status 0 would let a script delete what it copied from."""
    assert main(["cp", f"s3://{bucket}-nosuch/runs", str(tmp_path / "copy")]) != 0
    assert "there is no store at" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["s3://b/c", "my-bucket", "s3://my-bucket"])
def test_an_argument_that_names_no_bucket_is_an_error_of_the_command_line(text):
    """It ends with status 2 and one paragraph, as ``-o`` does."""
    ex = capture.Experiment("wrong", observers=[])
    ex.main(lambda: None)
    with pytest.raises(CommandLineError, match="-S: .* names no bucket(.|\n)*possible"):
        ex.run(options={"--s3": text})
