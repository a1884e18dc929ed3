"""``capture doctor``: what is wrong, and what is to be done."""

from __future__ import annotations

import json
import logging
import os
import socket
import sqlite3
import sys
import threading
import time

import pytest

from capture import registry
from capture.cli import main
from capture.observers._file_reader import FileStoreReader
from capture.query import health
from capture.registry import make_observer
from capture.settings import Settings
from capture.testing import tell
from tests.cli.making import fill, story
from tests.cli.test_stores import leave_journal


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return the current folder, in which settings are read anew."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("capture.settings.SETTINGS", Settings())
    return tmp_path


def findings(area=None, *levels):
    """Return level and text of what is found."""
    found = health.examine()
    return [(each.level, each.text) for each in found if area in (None, each.area) and (not levels or each.level in levels)]


def of_installation(*levels):
    return findings("installation", *levels)


def test_all_is_well_in_a_fresh_folder(here, capsys):
    """Whoever has just installed it wants to hear that."""
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("capture ") and "problem:" not in out and "Default store: ./runs" in out
    assert "there is no store at ./runs yet" in out
    assert not os.path.exists("runs"), "nothing is changed"


def test_everything_is_shown_if_it_is_asked_for(here, tmp_path, capsys):
    """To read, and for programs."""
    fill("runs", tmp_path, "01")
    assert main(["doctor", "--all"]) == 0
    out = capsys.readouterr().out
    assert "ok: file://" in out and "FileStorageObserver, from capture" in out and "time zone" in out
    assert main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["store"] == "./runs" and {"level", "area", "text", "remedy"} == set(told["findings"][0])
    assert {each["area"] for each in told["findings"]} == {"installation", "state", "store"}


def test_a_store_that_is_named_and_not_there_is_a_problem(here, capsys):
    """A slip in its URL."""
    assert main(["doctor", "--store=nosuch"]) == 1
    assert "problem: there is no store at nosuch yet" in capsys.readouterr().out
    assert main(["doctor", "--store=nosuch://x"]) == 1
    assert "no store has the URL scheme 'nosuch'" in capsys.readouterr().out


class FakeDistribution:
    def __init__(self, name, version):
        self.metadata, self.version = {"Name": name}, version


@pytest.mark.parametrize(("installed", "level", "said"), [
    ([("docopt", "0.6"), ("docopt-ng", "0.9")], "warning", "docopt and docopt-ng are both installed"),
    ([("docopt", "0.6")], "problem", "the old docopt is installed"),
    ([("experiment_capture", "1.0"), ("experiment-capture", "0.9")], "warning", "several versions of experiment-capture"),
])  # fmt: skip
def test_packages_that_overwrite_each_other_are_found(installed, level, said, here, monkeypatch):
    """pip installs both without a word, and the command line breaks."""
    monkeypatch.setattr("importlib.metadata.distributions", lambda: [FakeDistribution(*each) for each in installed])
    assert any(found == level and text.startswith(said) for found, text in of_installation())


def test_a_package_that_is_missing_or_too_new_is_found(here, monkeypatch):
    """After an upgrade of something else."""
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "rich" else find(name, *more))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.0.1")
    found = of_installation("problem", "warning")
    assert ("problem", "rich is missing, which the library needs") in found
    assert any(text.startswith("wrapt 2.0.1 is installed") for _, text in found)


def test_the_driver_of_the_store_that_is_set_is_looked_for(here, monkeypatch):
    """An hour of training, and then there was no driver."""
    from capture.observers.mongo import MongoObserver

    monkeypatch.setattr(MongoObserver, "drivers", {"no_such_driver": "mongo"})
    monkeypatch.setenv("CAPTURE_STORE", "mongodb://localhost:1/lab")
    [(level, text)] = of_installation("problem")
    assert text == "the default store, set by environment variable CAPTURE_STORE, lacks its driver"


def test_a_plugin_that_cannot_be_loaded_is_found(here, tmp_path, monkeypatch):
    """Its store is missing from the list, and nobody knows why."""
    info = tmp_path / "labstore-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: labstore\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[capture.observers]\nlab = labstore_that_is_not_there:Lab\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "_seen", {})
    [(level, text)] = of_installation("problem")
    assert text.startswith("the observer 'lab' of labstore cannot be loaded: ModuleNotFoundError")


def test_a_command_of_another_environment_is_found(here, tmp_path, monkeypatch):
    """``capture`` on PATH and ``python`` in hand are not always of one environment."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "capture"
    command.write_text("#!/usr/bin/python-of-somebody\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    found = of_installation()
    assert any(level == "warning" and "belongs to another environment" in text for level, text in found)
    assert any(level == "warning" and text.startswith("there is no git on PATH") for level, text in found)
    command.write_text(f"#!{sys.executable}\n")
    assert any(level == "ok" and "is that of this environment" in text for level, text in of_installation())


def test_journals_that_wait_are_told_with_what_to_do(here, state_dir, capsys):
    """Those for one store together; each kind of trouble by itself."""
    leave_journal(state_dir, "file:///nosuch/lab", "1")
    leave_journal(state_dir, "file:///nosuch/lab", "2")
    damaged = leave_journal(state_dir, "file:///nosuch/other", "3")
    with open(damaged, "ab") as stream:
        stream.write(b"00000000 {}\n")
    empty = os.path.join(state_dir, "journals", "01997a1c-0000-7000-8000-000000000004.main.journal")
    with open(empty, "wb") as stream:
        stream.write(b"nonsense\n")
    old = leave_journal(state_dir, "file:///nosuch/old", "5")
    os.utime(old, (time.time() - 50 * 86_400,) * 2)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "warning: 2 journals (" in out and "with what file:///nosuch/lab has not got: 01997a1c" in out
    assert "has 1 damaged line, passed over" in out
    assert "problem: journal 01997a1c-0000-7000-8000-000000000004.main.journal" in out
    assert "with what file:///nosuch/old has not got, for 50 days: 01997a1c" in out
    assert "to do: capture sync 00000005; with a password, or to another store if it is gone: --to=URL" in out
    assert os.path.exists(empty), "nothing is changed"


def test_a_journal_of_another_machine_or_version_is_left_to_it(here, state_dir, monkeypatch):
    """A home on a network share is seen from everywhere."""
    from capture.liveness import machine_identity

    real = machine_identity()
    monkeypatch.setattr("capture.liveness.machine_identity", lambda: {**real, "machine_id": "other", "hostname": "n7"})
    leave_journal(state_dir, "file:///nosuch/lab", "1")
    monkeypatch.setattr("capture.liveness.machine_identity", lambda: real)
    assert any("was written on another machine, n7" in text for _, text in findings("state", "warning"))
    monkeypatch.setattr("tests.cli.test_stores.FORMAT", 99)
    leave_journal(state_dir, "file:///nosuch/lab", "2")
    assert any("was written by a later version" in text for _, text in findings("state", "problem"))


def test_files_of_runs_that_have_no_journal_are_noted(here, state_dir):
    """Bytes that nobody will ever deliver."""
    os.makedirs(os.path.join(state_dir, "journals"))
    os.makedirs(os.path.join(state_dir, "spool", "01997a1c-0000-7000-8000-00000000000f"))
    [(level, text)] = findings("state", "note")
    assert "holds files of 1 run without a journal" in text


def test_places_without_room_or_locks_are_found(here, tmp_path, monkeypatch):
    """Before the run that needs them."""
    from collections import namedtuple

    from capture.locks import LocksUnsupportedError

    def none(*_, **__):
        raise LocksUnsupportedError(95, "not supported")

    fill("runs", tmp_path, "01")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(100, 99, 1_000_000))
    monkeypatch.setattr("capture.locks.try_lock", none)
    assert any("has 1.0 MB of free space" in text for _, text in findings("store", "problem"))
    assert any("has no locks: whether a run lives" in text for _, text in findings("state", "warning"))
    assert any("has no locks" in text for _, text in findings("store", "warning"))


@pytest.mark.parametrize(("alive", "age_s", "said"), [
    (False, 1, "run 1: the record says RUNNING, and the process is gone (DIED)"),
    (None, 7200, "run 1: RUNNING elsewhere, without a sign of life for 10 min"),
    (None, None, "run 1: RUNNING elsewhere"),
    (True, 7200, "run 1: the process lives, and sent no heartbeat for 10 min"),
    (None, -120, "run 1: heartbeats come from the future"),
    (True, 1, None),
    (None, 60, None),
])  # fmt: skip
def test_runs_that_do_not_go_on_are_found(alive, age_s, said, here, tmp_path, monkeypatch):
    """Dead, silent, stuck, or of a clock that is wrong."""
    tell(make_observer("runs"), story(tmp_path, "01", end=False))
    monkeypatch.setattr(FileStoreReader, "is_alive", lambda self, record: alive)
    monkeypatch.setattr("capture.query.keeping.silence", lambda record: age_s)
    found = findings("store", "note", "warning", "problem")
    assert [text.startswith(said) for _, text in found] == [True] if said else found == []


def test_of_a_dead_run_it_is_said_what_there_is_to_do(here, tmp_path, monkeypatch, state_dir):
    """To deliver what it left, only if it left something; else nothing is lost, and long ago it is no news."""
    tell(make_observer("runs"), story(tmp_path, "01", end=False))
    monkeypatch.setattr(FileStoreReader, "is_alive", lambda self, record: False)
    monkeypatch.setattr("capture.query.keeping.silence", lambda record: 60.0)
    [died] = [each for each in health.examine() if "DIED" in each.text]
    assert died.level == "note" and "run 1: " in died.text and "nothing waits" in died.text
    assert "capture sync" not in died.remedy and "capture rm" in died.remedy
    monkeypatch.setattr("capture.query.keeping.silence", lambda record: 30 * 86_400.0)
    [died] = [each for each in health.examine() if "DIED" in each.text]
    assert died.text.startswith("1 run DIED more than 7 days ago")
    uid = FileStoreReader("runs").get("1").uid
    waiting = leave_journal(state_dir, "file:///elsewhere")
    os.rename(waiting, os.path.join(os.path.dirname(waiting), f"{uid}.main.journal"))
    [died] = [each for each in health.examine() if "DIED" in each.text]
    assert died.level == "warning" and "capture sync" in died.remedy


def test_silence_is_counted_from_the_last_sign():
    """A heartbeat, else the start; of a run that was only queued there is none."""
    from capture.moments import datetime, timedelta, timezone
    from capture.query.keeping import silence
    from capture.records import RunRecord

    run = RunRecord()
    assert silence(run) is None
    run.start_time = datetime.now(timezone.utc) - timedelta(hours=2)
    assert silence(run) == pytest.approx(7200, abs=60)
    run.heartbeat = datetime.now(timezone.utc) + timedelta(seconds=120)
    assert silence(run) == pytest.approx(-120, abs=60)


def test_records_that_cannot_be_read_are_found(here, tmp_path, caplog):
    """And said once, with what is left; the log of the library keeps quiet meanwhile."""
    fill("runs", tmp_path, "01", "02")
    (tmp_path / "runs" / "1" / "run.json").write_text("{")
    with caplog.at_level(logging.WARNING):
        [(_, text)] = findings("store", "problem")
    assert text.startswith("run 1 cannot be read: ")
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING):
        list(FileStoreReader("runs").find())
    assert "A run was left out" in caplog.text, "others are told as before"


def test_a_record_that_was_damaged_in_place_is_found_behind_the_index(here, tmp_path):
    """The index tells of a run without opening its documents: whoever asks for the state of things wants them opened."""
    fill("runs", tmp_path, "01", "02")
    folder = tmp_path / "runs" / "2"
    os.utime(folder, (1_700_000_000, 1_700_000_000))  # long enough ago that the index holds it
    reader = FileStoreReader("runs")
    assert len(list(reader.find())) == 2
    known, size = os.stat(folder / "run.json"), (folder / "run.json").stat().st_size
    (folder / "run.json").write_bytes(b"x" * size)
    os.utime(folder / "run.json", ns=(known.st_atime_ns, known.st_mtime_ns))  # as a broken disk does
    assert len(list(reader.find())) == 2, "nothing that is cheap to look at tells it"
    [(_, text)] = findings("store", "problem")
    assert text.startswith("run 2 cannot be read: ")


def test_what_is_left_in_a_folder_store_is_found(here, tmp_path):
    """A damaged index, half-written files, folders of runs that never began, and what is in the bin."""
    fill("runs", tmp_path, "01", "02", "03")
    main(["rm", "2"])
    place = tmp_path / "runs"
    (place / "_capture" / "index.sqlite").write_bytes(b"nonsense" * 100)
    (place / "1" / ".tmp-1-2-3").write_text("half")
    (place / "3" / ".tmp-4-5-6").write_text("of this very second")
    (place / "7").mkdir()
    for path in (place / "1" / ".tmp-1-2-3", place / "7"):
        os.utime(path, (time.time() - 7200,) * 2)
    found = list(FileStoreReader(place).health())
    assert [level for level, _, _ in found] == ["warning", "note", "note", "ok"]
    assert "index.sqlite is damaged" in found[0][1] and "1 of the files were left by writes" in found[1][1]
    assert found[2][1].endswith("cut off as they began: 7")
    assert ("note", "1 run in the bin") in findings("store", "note")
    assert (place / "1" / ".tmp-1-2-3").exists(), "nothing is changed"


def test_a_database_says_its_version_and_damage(here, tmp_path):
    """A file of SQLite may be damaged where no run is read."""
    url = fill(f"sqlite:///{tmp_path}/runs.db", tmp_path, "01")
    [finding] = [each for each in health.store(url) if "tables" in each.text]
    assert finding.level == "ok" and "newest version" in finding.text
    path = tmp_path / "damaged.db"
    path.write_bytes((tmp_path / "runs.db").read_bytes())
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA writable_schema = 1")
        [(page,)] = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'capture_metric'").fetchall()
        [(size,)] = database.execute("PRAGMA page_size").fetchall()
    database.close()
    with open(path, "r+b") as stream:
        stream.seek((page - 1) * size)
        stream.write(b"\x7f" * 64)
    [text] = [each.text for each in health.examine(f"sqlite:///{path}") if each.level == "problem"]
    assert "damaged" in text or "malformed" in text
    with sqlite3.connect(tmp_path / "runs.db") as database:
        database.execute("UPDATE capture_version SET version_num = '9999'")
    database.close()
    found = health.examine(url)
    assert any(each.level == "problem" and "made by a later version of this library" in each.text for each in found)


def test_one_thing_that_cannot_be_looked_at_hides_no_other(here, monkeypatch):
    """A fault in a check is a finding, and the rest is looked at."""

    def fails():
        raise OSError("broken")

    monkeypatch.setattr(health, "installation", fails)
    found = health.examine()
    assert ("installation", "OSError: broken") in [(each.area, each.text) for each in found]
    assert {each.area for each in found} == {"installation", "state", "store"}


def test_a_server_that_never_answers_is_not_waited_for(here, capsys):
    """It takes connections and says nothing: a firewall, a machine that swaps."""
    pytest.importorskip("pymongo")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mongodb://127.0.0.1:{silent.getsockname()[1]}/lab"
        assert main(["doctor", "--timeout=0.5", f"--store={url}"]) == 1
    assert "problem: no answer within 0.5 s" in capsys.readouterr().out
    for thread in threading.enumerate():
        if thread.name == "capture-doctor":
            thread.join(30)


@pytest.mark.slow
def test_what_a_slow_store_has_said_is_kept(here, monkeypatch):
    """The rest may take long, and that it was not looked at is said."""
    gone = threading.Event()

    def slow(location, is_named):
        yield health.Finding("ok", "it can be read")
        gone.wait(60)

    monkeypatch.setattr(health, "store", slow)
    said = [each.text for each in health.examine(timeout_s=3) if each.area == "store"]
    gone.set()
    assert said == ["it can be read", "the rest of it was not looked at: no answer within 3 s"]


def test_a_folder_that_goes_meanwhile_is_no_trouble(here, tmp_path, monkeypatch):
    """Somebody else puts a run into the bin."""
    from capture.observers import _file_health

    fill("runs", tmp_path, "01")
    monkeypatch.setattr(_file_health, "_folders", lambda basedir: ["1", "77"])
    assert [level for level, _, _ in FileStoreReader("runs").health()] == ["ok", "ok"]


def test_a_run_that_goes_into_the_bin_meanwhile_is_no_trouble(here, tmp_path, monkeypatch):
    """It was counted, and is not there any more when it is read."""
    fill("runs", tmp_path, "01", "02")
    told = [["1", "2", "77"], ["1", "2"]]
    monkeypatch.setattr(FileStoreReader, "labels", lambda self: told.pop(0))
    assert findings("store", "problem") == []


def test_a_store_that_goes_away_meanwhile_has_no_unreadable_runs(here, tmp_path, monkeypatch):
    """Whoever believes it looks for damage."""
    from capture.errors import ObserverError

    class AwayError(ObserverError, ConnectionError):
        pass

    def away(self, label):
        raise AwayError("the server went away")

    fill("runs", tmp_path, "01")
    monkeypatch.setattr(FileStoreReader, "find", lambda self, *_: iter(()))
    monkeypatch.setattr(FileStoreReader, "get", away)
    assert findings("store", "problem") == [("problem", "the server went away")]
