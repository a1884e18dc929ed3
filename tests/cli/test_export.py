"""``capture export``: runs leave for where people have nothing of this library."""

from __future__ import annotations

import json
import os
import uuid
import zipfile

import pytest

from capture import open_store
from capture.cli import main
from capture.observers import FileStorageObserver
from capture.testing.feed import tell
from tests.cli import looking
from tests.cli.test_cp import SACRED, story
from tests.observers.test_mlflow import Mlflow


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Go to a folder with a store of two runs."""
    monkeypatch.chdir(tmp_path)
    for mark in ("01", "02"):
        tell(FileStorageObserver(tmp_path / "runs"), story(tmp_path, mark))
    return tmp_path


def test_a_run_is_exported_as_a_folder(store, capsys):
    """The plain case: RUN TARGET."""
    assert main(["export", "1", "out"]) == 0
    assert capsys.readouterr().out == "1 run with 4 files exported to out\n"
    assert json.loads((store / "out" / "run.json").read_text())["label"] == "1"
    assert main(["export", "1", "out"]) == 1
    assert "exists already" in capsys.readouterr().err


def test_runs_are_named_or_described(store, capsys):
    """-1 is the newest; a condition may stand for all."""
    assert main(["export", "-2", "latest", "both.zip"]) == 0
    with zipfile.ZipFile(store / "both.zip") as archive:
        assert {"index.csv", "run-1/run.json", "run-2/run.json"} <= set(archive.namelist())
    assert main(["export", "--where=config.lr == 0.1", "described"]) == 0
    assert sorted(os.listdir(store / "described")) == ["README.txt", "index.csv", "run-1", "run-2"]
    assert main(["export", "--where=config.lr == 7", "nothing"]) == 1
    assert not (store / "nothing").exists()


def test_a_missing_target_or_run_is_said(store, capsys):
    """The last word is the target, which one forgets."""
    assert main(["export", "1"]) == 2
    assert "'1' is the last word" in capsys.readouterr().err
    assert main(["export", "9", "out"]) == 1
    assert not (store / "out").exists()
    assert main(["export", "--license=MIT", "1", "out"]) == 2
    assert "add --ro-crate" in capsys.readouterr().err
    assert main(["export", "--ro-crate", "--license=CC-BY-4", "1", "out"]) == 2
    assert "did you mean:  CC-BY-4.0" in capsys.readouterr().err and not (store / "out").exists()


def test_an_ro_crate_is_written(store, capsys):
    """With the license that was chosen."""
    assert main(["export", "--ro-crate", "--license=CC-BY-4.0", "1", "2", "crate.zip"]) == 0
    assert "exported as an RO-Crate to crate.zip" in capsys.readouterr().out
    with zipfile.ZipFile(store / "crate.zip") as archive:
        entities = {each["@id"]: each for each in json.loads(archive.read("ro-crate-metadata.json"))["@graph"]}
    assert entities["./"]["license"] == {"@id": "https://spdx.org/licenses/CC-BY-4.0"}
    assert sum(each["@type"] == "CreateAction" for each in entities.values()) == 2


def test_a_run_is_printed_as_json(store, capsys):
    """For a pipe."""
    assert main(["export", "--json", "1"]) == 0
    plain = json.loads(capsys.readouterr().out, parse_constant=None)
    assert plain["metrics"]["loss"]["values"][0] == 3.0 and plain["notes"] == "first"
    assert main(["export", "--json", "1", "2"]) == 2


def test_missing_bytes_are_named_and_end_in_status_1(store, capsys):
    """The export is there, and nobody takes it for whole."""
    os.unlink(store / "runs" / "1" / "model.bin")
    assert main(["export", "1", "out"]) == 1
    assert "run 1: not exported: artifacts: model.bin: the store has not its bytes" in capsys.readouterr().err
    assert "model.bin" in (store / "out" / "README.txt").read_text()


def test_records_of_sacred_are_exported(tmp_path, capsys):
    """In each form."""
    for form, target in (("--folder", "a"), ("--ro-crate", "b.zip")):
        main(["export", f"--store={SACRED}", form, "1", "2", str(tmp_path / target)])
        assert (tmp_path / target).exists(), capsys.readouterr().err
    assert main(["export", f"--store={SACRED}", "--json", "1"]) == 0


def test_runs_go_to_mlflow_once(store, mlflow_server, capsys):
    """On a real server: parameters, points, files; a second time nothing is left to do."""
    mlflow = Mlflow(mlflow_server.url)
    uri = f"{mlflow_server.url}?experiment={mlflow.experiment}"
    assert main(["export", f"--mlflow={uri}", "1"]) == 0
    said = capsys.readouterr().out
    assert "1: " in said and "exported to mlflow+http://" in said
    seen = mlflow.run()
    assert (seen.status, seen.params["lr"]) == ("FINISHED", "0.1")
    assert len(seen.points("loss")) == 3 and {"model.bin", "cout.txt"} <= seen.files()
    assert main(["export", f"--mlflow={uri}", "1", "2"]) == 0
    assert "1: is there already" in capsys.readouterr().out
    assert len(mlflow.runs()) == 2


def test_a_record_of_sacred_goes_to_mlflow_once(mlflow_server, capsys):
    """It has no uid: the one it gets is the same each time."""
    mlflow = Mlflow(mlflow_server.url)
    uri = f"{mlflow_server.url}?experiment={mlflow.experiment}"
    for _ in range(2):
        assert main(["export", f"--store={SACRED}", f"--mlflow={uri}", "1"]) == 0
    assert "1: is there already" in capsys.readouterr().out
    assert len(mlflow.runs()) == 1


def test_a_server_that_is_away_is_an_error(store, capsys, monkeypatch):
    """No traceback, and status 1."""
    monkeypatch.setattr("capture.copying._PAUSES_S", ())
    assert main(["export", f"--mlflow=http://127.0.0.1:9/{uuid.uuid4().hex}", "1"]) == 1
    assert "cannot be reached" in capsys.readouterr().err


def test_the_store_is_not_changed(store):
    """An export only reads."""
    before = open_store(store / "runs").get("1").to_dict()
    main(["export", "1", "out"])
    main(["export", "--ro-crate", "1", "crate"])
    assert str(open_store(store / "runs").get("1").to_dict()) == str(before)


def test_json_hides_nothing_on_a_terminal(tmp_path, capsys):
    """JSON escapes some control characters by itself; what turns writing around, and an 8-bit escape, it leaves as it is."""
    odd = "\x9b2J\u202e"
    url = f"--store={tmp_path / 'runs'}"
    for number in (1, 2):
        told = looking.story(tmp_path, number, {f"key{odd}": f"{odd}{number}"})
        tell(FileStorageObserver(str(tmp_path / "runs")), told.complete())
    for command, status in ((["export", url, "--json", "1"], 0), (["diff", url, "--json", "1", "2"], 1)):
        assert main(command) == status
        printed = capsys.readouterr().out
        assert printed.isascii() and odd in json.dumps(json.loads(printed), ensure_ascii=False)
