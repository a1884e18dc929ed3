"""``capture sync --to``: which store gets what waits, and who goes on waiting."""

from __future__ import annotations

import os

import pytest

from capture import open_store
from capture.cli import main
from capture.delivery import list_journals
from capture.liveness import machine_identity
from capture.settings import Settings
from capture.testing import MemoryStore
from tests.dispatch import making
from tests.dispatch.making import UID, Bench, emit_all

#: a store that cannot be opened by what a journal knows of it
LAB = "lab://db.example/runs"


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Runs in the state folder of the command, on this machine."""
    state = tmp_path / "state"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAPTURE_STATE_DIR", str(state))
    here = machine_identity()["machine_id"]
    opened = making.opened
    monkeypatch.setattr(making, "opened", lambda *args, **named: opened(*args, **{**named, "machine_id": here}))
    return Bench(state)


def leave(bench, *identities):
    """Leave a whole run behind that all these stores wait for."""
    dispatcher = bench.start(*(MemoryStore(identity, lane="main") for identity in identities))
    emit_all(dispatcher)
    bench.die(dispatcher)


def test_what_other_stores_are_owed_is_kept_for_them(bench, tmp_path, capsys):
    """Two databases with passwords were away: naming one of them must not give up the other."""
    leave(bench, f"file://{tmp_path}/a", LAB)
    os.mkdir("a")
    assert main(["sync", f"--to={tmp_path}/a"]) == 1
    out, err = capsys.readouterr()
    assert f"events to file://{tmp_path}/a" in out and f"{LAB} has not got everything" in out
    assert f"capture sync --to=URL ({LAB})" in err
    assert open_store("a").get(UID).status == "COMPLETED"
    assert len(list_journals(bench.state)) == 1
    assert main(["sync", "--to=elsewhere"]) == 0
    assert f"in place of {LAB}, done" in capsys.readouterr().out
    assert open_store("elsewhere").get(UID).result == open_store("a").get(UID).result
    assert list_journals(bench.state) == []


def test_several_stores_may_be_named(bench, tmp_path):
    """Each with its password."""
    leave(bench, f"file://{tmp_path}/a", f"file://{tmp_path}/b")
    assert main(["sync", "--to=a", "--to=b"]) == 0
    assert open_store("a").get(UID).uid == open_store("b").get(UID).uid == UID
    assert list_journals(bench.state) == []


def test_the_default_store_is_one_that_is_known_with_its_password(bench, monkeypatch):
    """Who has it in CAPTURE_STORE has said where it is."""
    from capture import stores

    leave(bench, LAB)
    lab, make = MemoryStore(LAB), stores.make_observer
    with_password = "lab://ann:s3cret@db.example/runs"
    monkeypatch.setattr(stores, "make_observer", lambda url: lab if url == with_password else make(url))
    assert main(["sync"]) == 1
    monkeypatch.setattr(stores, "default_folder", lambda: None)  # it asks what kind of store that is
    monkeypatch.setenv("CAPTURE_STORE", with_password)
    monkeypatch.setattr("capture.settings.SETTINGS", Settings())  # which reads the environment
    assert main(["sync"]) == 0
    assert lab.record(UID).status == "COMPLETED"
