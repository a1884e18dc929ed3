"""Records that Sacred 0.8.7 writes are read in each of its layouts, with their files, and move to any store."""

from __future__ import annotations

import os
import subprocess

import pytest

from capture import open_store
from capture.cli import main
from capture.codec import encode
from tests.servers import packages
from tests.servers.fixtures import each_kind, require

pytestmark = pytest.mark.server  # Sacred itself, at least

SCRIPT = '''
import os, sys, time
import numpy as np
from sacred import Experiment, SETTINGS
from sacred.observers import FileStorageObserver, MongoObserver, S3Observer, SqlObserver, TinyDbObserver

SETTINGS.CAPTURE_MODE = "sys"
ex = Experiment("old", save_git_info=False)
kind, where = sys.argv[1:3]
if kind == "file":
    ex.observers.append(FileStorageObserver(where))
elif kind == "mongo":
    url, _, name = where.rpartition("/")
    ex.observers.append(MongoObserver(url=url, db_name=name))
elif kind == "sql":
    ex.observers.append(SqlObserver(where))
elif kind == "tinydb":
    ex.observers.append(TinyDbObserver(where))
elif kind == "s3":
    bucket, _, path = where[5:].partition("/")
    ex.observers.append(S3Observer(bucket, path))

@ex.config
def config():
    lr = 0.25
    layers = (64, 32)
    weights = np.arange(3)
    nested = {"name": "adam", "none": None}
    fails = False

@ex.main
def main(lr, fails, _run):
    print("said by main")
    _run.info["best"] = {"step": 7}
    for step in range(5):
        _run.log_scalar("loss", 1.0 / (step + 1), step)
    with open("model.txt", "w") as stream:
        stream.write("weights")
    _run.add_artifact("model.txt")
    with open("input.csv", "w") as stream:
        stream.write("a,b")
    if kind != "s3":
        _run.add_resource("input.csv")
    time.sleep(0.1)
    if fails:
        raise ValueError("as asked")
    return 0.125

ex.run()
try:
    ex.run(config_updates={"fails": True, "lr": 0.5})
except ValueError:
    pass
'''


@pytest.fixture(params=each_kind("file", "mongo", "sql", "tinydb", "s3"))
def old(request, tmp_path, monkeypatch):
    """Let Sacred write two runs; return the kind of store, and the URL by which we read it."""
    require(packages_of("sacred"))
    kind = request.param
    if kind == "mongo":
        url = where = request.getfixturevalue("mongo_url")
    elif kind == "s3":
        url = where = request.getfixturevalue("s3_url")
    elif kind == "sql":
        url = where = f"sqlite:///{tmp_path}/old.db"
    else:
        where = str(tmp_path / "old")
        url = where if kind == "file" else f"tinydb://{where}"
    script = tmp_path / "old.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [packages.python("sacred"), str(script), kind, where],
        cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return kind, url


def packages_of(name: str):
    """Return what `require` asks of a server, for a package."""

    class Package:
        @staticmethod
        def missing() -> str | None:
            return None if packages.is_installed(name) else f"{name} is not installed"

    Package.name, Package.drivers = name, ()
    return Package


def both(store):
    """Return the run that completed and the one that failed."""
    runs = {record.status: record for record in store.find()}
    assert set(runs) == {"COMPLETED", "FAILED"}
    return runs["COMPLETED"], runs["FAILED"]


def test_a_record_of_sacred_is_read(old):
    """All that it stored is there: it stored no metrics in SQL and TinyDB, and no bytes of resources in MongoDB."""
    kind, url = old
    good, bad = both(open_store(url))
    assert good.uid == "" and good.experiment["name"] == "old" and good.command == "main"
    assert good.config["lr"] == 0.25 and good.config["nested"] == {"name": "adam", "none": None}
    assert list(good.config["layers"]) == [64, 32]
    assert encode(good.config["weights"]) is not None
    assert good.result == 0.125 and bad.result is None
    assert "said by main" in good.output
    assert good.info["best"] == {"step": 7}
    assert good.host["hostname"] and good.start_time.tzinfo is not None and good.stop_time >= good.start_time
    assert any("as asked" in line for line in bad.fail_trace)
    artifact = good.artifact("model.txt")
    assert artifact.read() == b"weights"
    source = next(each for each in good.sources if each.name.endswith("old.py"))
    assert source.read() == SCRIPT.encode()
    if kind in ("file", "mongo", "s3"):
        assert list(good.metrics["loss"].steps) == [0, 1, 2, 3, 4]
        assert good.metrics["loss"].values[1] == 0.5
        assert good.summary["loss"]["last"] == 0.2
    if kind != "s3":
        resource = next(each for each in good.resources if each.name.endswith("input.csv"))
        if kind == "mongo":
            with pytest.raises(FileNotFoundError):
                resource.open()
        else:
            assert resource.read() == b"a,b"


def test_records_of_sacred_are_found(old):
    """Conditions hold for old runs as for new ones."""
    store = open_store(old[1])
    good, bad = both(store)
    assert [each.label for each in store.find({"config.lr": 0.5})] == [bad.label]
    assert [each.label for each in store.find({"status": "COMPLETED", "config.nested.name": "adam"})] == [good.label]
    assert store.get(good.label).label == good.label


def test_a_store_of_sacred_moves_by_one_command(old, tmp_path, capsys):
    """Into any other store; here into files, and from there into SQL."""
    kind, url = old
    target, further = str(tmp_path / "new"), f"sqlite:///{tmp_path}/further.db"
    code = main(["cp", "--verify", url, target])
    out = capsys.readouterr().out
    assert code == (1 if kind == "mongo" else 0), out
    assert ("has no bytes of: resource" in out) == (kind == "mongo")
    assert "differs" not in out
    # What the first lacks, the second lacks, too, and says so.
    assert main(["cp", "--verify", target, further]) == code, capsys.readouterr().out
    wanted, found = both(open_store(url)), both(open_store(further))
    for one, other in zip(wanted, found):
        assert encode([one.config, one.result, one.info]) == encode([other.config, other.result, other.info])
        assert one.output == other.output and one.fail_trace == other.fail_trace
        assert one.start_time == other.start_time and one.stop_time == other.stop_time
    main(["cp", url, target])
    assert len(open_store(target).labels()) == 2
