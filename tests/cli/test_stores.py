"""``capture stores``: which stores does this machine know of, and can they be read?"""

from __future__ import annotations

import json
import os
import socket
import threading

import pytest

from capture import SETTINGS
from capture.cli import main
from capture.events import FORMAT, Opened
from capture.journal import Journal
from capture.query.known import known_stores
from capture.settings import Settings
from tests.cli.making import fill


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return the current folder, in which settings are read anew."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("capture.settings.SETTINGS", Settings())
    return tmp_path


def listed(capsys, *words):
    """Return the exit status and what is said of each store, by its URL."""
    code = main(["stores", "--json", *words])
    return code, {each["url"]: each for each in json.loads(capsys.readouterr().out)}


def leave_journal(state_dir, identity, mark="1", *more):
    """Leave a journal behind whose writer is gone."""
    from capture.liveness import machine_identity

    folder = os.path.join(state_dir, "journals")
    os.makedirs(folder, exist_ok=True)
    uid = f"01997a1c-0000-7000-8000-00000000000{mark}"
    told = [{"identity": each, "name": "X", "replay": True} for each in (identity, *more)]
    host = machine_identity()
    journal = Journal.create(folder, Opened(format=FORMAT, uid=uid, writer="main", version="0", host=host, observers=told))
    journal.close()
    return journal.path


def test_a_fresh_folder_knows_its_default_store(here, capsys):
    """Nothing was recorded yet, which is no fault."""
    assert main(["stores"]) == 0
    out = capsys.readouterr().out
    assert "default store" in out and "nothing is there: it is made by the first run" in out
    assert os.listdir(here) == []


def test_each_store_is_listed_once_with_who_names_it(here, tmp_path, monkeypatch, state_dir, capsys):
    """Settings, the environment, journals, and the folder that lies here."""
    fill("runs", tmp_path, "01", "02")
    fill("lab", tmp_path, "03")
    leave_journal(state_dir, f"file://{here}/lab")
    leave_journal(state_dir, "mongodb://nowhere.invalid:27017/x", "2")
    monkeypatch.setenv("CAPTURE_STORE", "lab")
    code, stores = listed(capsys, "--timeout=20", "runs")
    assert code == 0
    lab, runs = stores[f"file://{here}/lab"], stores[f"file://{here}/runs"]
    assert lab["reasons"] == ["default store, set by environment variable CAPTURE_STORE", "journals"]
    assert (lab["runs"], lab["states"], lab["waiting"], lab["reachable"]) == (1, {"COMPLETED": 1}, 1, True)
    assert (runs["runs"], runs["binned"], runs["reasons"]) == (2, 0, ["named", "folder here"]) and runs["size"] > 400
    assert stores["mongodb://nowhere.invalid:27017/x"]["reachable"] is False
    assert next(iter(stores)) == f"file://{here}/lab"


def test_settings_that_another_layer_overrides_are_known_too(here, monkeypatch):
    """The store of last month is that of a project's file."""
    (here / "pyproject.toml").write_text('[tool.capture]\nstore = "old"\n')
    monkeypatch.setattr("__main__.__file__", str(here / "script.py"), raising=False)
    monkeypatch.setenv("CAPTURE_STORE", "new")
    assert [store.url for store in known_stores()] == [f"file://{here}/new", f"file://{here}/old"]
    assert SETTINGS.layers("STATE_DIR")[-1][0] == "environment variable CAPTURE_STATE_DIR"


def test_passwords_are_never_shown(here, monkeypatch, capsys):
    """What is printed goes into reports of faults."""
    monkeypatch.setenv("CAPTURE_STORE", "mongodb://bob:hunter2@localhost:1/lab?serverSelectionTimeoutMS=50")
    main(["stores", "--timeout=20", "postgresql://ann:s3cret@localhost:1/lab"])
    main(["stores", "--timeout=20", "--json", "nosuch://ann:s3cret@there"])
    said = capsys.readouterr()
    assert "hunter2" not in said.out + said.err and "s3cret" not in said.out + said.err
    assert "mongodb://localhost:1/lab" in said.out


def test_a_server_that_never_answers_is_not_waited_for(here, capsys):
    """It takes connections and says nothing: a firewall, a machine that swaps."""
    pytest.importorskip("pymongo")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mongodb://127.0.0.1:{silent.getsockname()[1]}/lab"
        code, stores = listed(capsys, "--timeout=0.5", url)
    assert code == 1
    assert stores[url]["problem"] == "no answer within 0.5 s" and stores[url]["runs"] is None
    for thread in threading.enumerate():
        if thread.name == "capture-look":
            thread.join(30)


def test_one_that_is_named_and_cannot_be_read_is_status_1(here, capsys):
    """For a script that asks whether the store is there."""
    assert main(["stores", "nosuch"]) == 1
    assert "nothing is there" in capsys.readouterr().out
    assert main(["stores", "--timeout=soon"]) == 2
    assert main(["stores", "--timeout=nan"]) == 2


def test_looking_delivers_nothing(here, tmp_path, state_dir, capsys):
    """It is a look, and no delivery."""
    fill("runs", tmp_path, "01")
    path = leave_journal(state_dir, f"file://{here}/runs")
    code, stores = listed(capsys)
    assert code == 0 and stores[f"file://{here}/runs"]["waiting"] == 1
    assert os.path.exists(path)


def test_the_journal_of_a_run_that_goes_on_is_not_waiting(here, state_dir, monkeypatch):
    """Its writer delivers it; there is nothing for `capture sync` to do."""
    from capture.query.known import waiting

    leave_journal(state_dir, "file:///nosuch/lab")
    assert waiting() == {"file:///nosuch/lab": 1}
    monkeypatch.setattr("capture.liveness.probe", lambda path: "alive")
    assert waiting() == {}
