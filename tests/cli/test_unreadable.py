"""Damaged records: whoever asks for many runs gets the others, and is told that some are missing."""

from __future__ import annotations

import os
import sqlite3

import pytest

from capture import open_store
from capture.cli import main
from tests.cli.making import fill

MARKS = ("01", "02", "03")


def overwritten(path: str, data: bytes) -> None:
    """Write over a file in place: the folder that it lies in does not change."""
    folder = os.path.dirname(path)
    before = os.stat(folder).st_mtime_ns
    with open(path, "r+b") as stream:
        stream.truncate()
        stream.write(data)
    assert os.stat(folder).st_mtime_ns == before


@pytest.fixture
def damaged(tmp_path, monkeypatch):
    """Make a store of three runs, which the index knows, and write rubbish over the record of the second."""
    monkeypatch.chdir(tmp_path)
    store = fill(str(tmp_path / "runs"), tmp_path, *MARKS)
    long_ago = 1_700_000_000
    for name in MARKS:
        os.utime(os.path.join(store, str(int(name))), (long_ago, long_ago))  # what the index says holds from now on
    assert main(["ls", f"--store={store}", "-n", "3"]) == 0
    overwritten(os.path.join(store, "2", "run.json"), b"\x00 rubbish")
    return store


def test_a_record_that_was_damaged_in_place_is_not_told_from_the_index(damaged, capsys):
    """The index was made when the record was whole; to list it as if it still were would be a lie."""
    capsys.readouterr()
    assert main(["ls", "-n", "3"]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["3", "1"]
    assert err.splitlines() == [
        f"1 run cannot be read, and is left out: 2; capture doctor --store=file://{damaged} says what is wrong"
    ]
    assert main(["doctor", f"--store=file://{damaged}"]) == 1, "the advice can be followed"
    assert "run 2 cannot be read" in capsys.readouterr().out


@pytest.mark.parametrize("file", ["run.json", "config.json", "capture.json"])
def test_each_document_is_watched(tmp_path, monkeypatch, capsys, file):
    """Configuration and what identifies a run lie in files of their own."""
    store = fill(str(tmp_path / "runs"), tmp_path, *MARKS)
    os.utime(os.path.join(store, "2"), (1_700_000_000, 1_700_000_000))
    with open_store(store) as opened:
        assert len(list(opened.find())) == 3 and opened.unreadable == {}
        overwritten(os.path.join(store, "2", file), b"{")
        assert [run.label for run in opened.find()] == ["3", "1"]
        assert list(opened.unreadable) == ["2"] and file in opened.unreadable["2"]


def test_what_was_edited_in_place_is_read_again(damaged):
    """A person may mend or change a record by hand; conditions are then decided by what it says now."""
    with open(os.path.join(damaged, "3", "config.json"), "rb") as stream:
        config = stream.read()
    overwritten(os.path.join(damaged, "3", "config.json"), config.replace(b"0.1", b"0.7"))
    with open_store(damaged) as store:
        assert [run.config["lr"] for run in store.find()] == [0.7, 0.1]
        assert [run.label for run in store.find("config.lr == 0.7")] == ["3"], "the index knows it by now"
        assert [run.label for run in store.find("config.lr == 0.1")] == ["1"]


@pytest.mark.parametrize(
    "command",
    [["best", "--max"], ["export", "--where=config.lr == 0.1", "out"], ["report", "--where=config.lr == 0.1"],
     ["tag", "--add=good", "--where=config.lr == 0.1"], ["lineage", "3"], ["verify", "--where=config.lr == 0.1"]],
    ids=lambda command: command[0],
)  # fmt: skip
def test_an_answer_that_may_be_wrong_without_a_run_has_status_1(damaged, capsys, command):
    """A script that takes the best run of those that are left would take the wrong one."""
    capsys.readouterr()
    assert main(command) == 1
    told = capsys.readouterr().err
    assert "2" in told and "cannot be read" in told


def test_a_copy_by_condition_tells_what_it_left_out(damaged, tmp_path, capsys):
    """Who copies and then deletes would lose the run for good."""
    capsys.readouterr()
    assert main(["cp", "runs", "copy", "config.lr == 0.1"]) == 1
    out, err = capsys.readouterr()
    assert "2 of 2 runs copied" in out and "1 run cannot be read, and is left out: 2;" in err


def test_a_store_that_is_whole_says_nothing(tmp_path, monkeypatch, capsys):
    """The note is about this store and this command, not about one that was looked at before."""
    store = fill(str(tmp_path / "runs"), tmp_path, *MARKS)
    assert main(["best", "--max", f"--store={store}"]) == 0
    assert "cannot be read" not in capsys.readouterr().err


def test_many_unreadable_runs_are_counted(tmp_path, capsys):
    """Five hundred lines would hide the answer."""
    store = fill(str(tmp_path / "runs"), tmp_path, *[f"{number:02x}" for number in range(1, 12)])
    for label in range(1, 11):
        with open(os.path.join(store, str(label), "run.json"), "wb") as stream:
            stream.write(b"{")
    assert main(["ls", f"--store={store}", "--all"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("10 runs cannot be read, and are left out: 10, 9, ") and " and 2 more; " in line


def test_a_damaged_value_in_a_database_is_left_out_like_a_damaged_file(tmp_path, capsys):
    """One broken row must not end the question about all the others."""
    pytest.importorskip("sqlalchemy")
    path = str(tmp_path / "runs.db")
    url = fill(f"sqlite:///{path}", tmp_path, *MARKS)
    with sqlite3.connect(path) as database:
        assert database.execute("UPDATE run SET config = '{' WHERE run_id = '2'").rowcount == 1
    assert main(["best", f"--store={url}", "--max", "config.lr == 0.1"]) == 1
    assert "1 run cannot be read, and is left out: 2;" in capsys.readouterr().err
    with open_store(url) as store:
        assert [run.label for run in store.find("config.lr == 0.1")] == ["3", "1"]
        assert "config" in store.unreadable["2"] or "2" in store.unreadable


def test_what_cannot_be_read_of_a_run_may_be_the_best(tmp_path, capsys):
    """The rest of its record is there, and so it is listed; what counts is not."""
    pytest.importorskip("sqlalchemy")
    path = str(tmp_path / "runs.db")
    url = fill(f"sqlite:///{path}", tmp_path, *MARKS)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE run SET config = '{' WHERE run_id = '2'")
    for options in ([], ["--json"]):
        assert main(["best", f"--store={url}", "--max", "--by=config.number", *options]) == 1
        assert "config.number cannot be read of 1 run, which may be better: 2" in capsys.readouterr().err
    assert main(["best", f"--store={url}", "--max"]) == 0, "the result of each is known"


def test_a_damaged_entry_of_tinydb_is_counted(tmp_path, capsys):
    """A power cut may leave an empty file among those of runs that go on."""
    url = fill(f"tinydb://{tmp_path / 'db'}", tmp_path, *MARKS)
    live = tmp_path / "db" / "_capture" / "live"
    live.mkdir(parents=True, exist_ok=True)
    (live / "torn.json").write_bytes(b"")
    assert main(["best", f"--store={url}", "--max"]) == 1
    assert "1 run cannot be read, and is left out: torn.json;" in capsys.readouterr().err


def test_a_run_that_cannot_be_read_can_be_put_away_and_brought_back(damaged, capsys):
    """Else it is in the way for ever; and nothing of it is lost, for somebody may find its record in a backup."""
    folder = os.path.join(damaged, "2")
    before = {name: os.stat(os.path.join(folder, name)).st_size for name in os.listdir(folder)}
    capsys.readouterr()
    assert main(["rm", "2"]) == 0
    assert capsys.readouterr().out == "run 2 is in the bin, with all that is left of it: its record cannot be read\n"
    assert not os.path.exists(folder)
    assert main(["doctor"]) == 0
    assert main(["ls", "--bin"]) == 0
    assert "1 run cannot be read, and is left out: 2" in capsys.readouterr().err
    assert main(["purge"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["2", "UNREADABLE"]
    assert main(["restore", "2"]) == 0
    assert {name: os.stat(os.path.join(folder, name)).st_size for name in os.listdir(folder)} == before
    assert main(["rm", "2"]) == 0
    assert main(["purge", "--yes", "2"]) == 0
    assert main(["verify", "--all"]) == 0, "what it shared with others is theirs"


@pytest.mark.parametrize("is_extension_whole", [True, False])
def test_one_that_is_still_written_stays(damaged, monkeypatch, capsys, is_extension_whole):
    """Its writers stand in a document that may be whole."""
    from capture.observers import _reading

    monkeypatch.setattr(_reading, "is_alive", lambda host: True)
    if not is_extension_whole:
        overwritten(os.path.join(damaged, "2", "capture.json"), b"{")
    assert main(["rm", "2"]) == (1 if is_extension_whole else 0)
    assert os.path.exists(os.path.join(damaged, "2")) is is_extension_whole


def test_doctor_says_what_is_left_of_a_run_and_what_to_do(damaged, capsys):
    """Who has a backup needs to know of which file."""
    capsys.readouterr()
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "whole: config.json, " in out and "capture.json" in out and "damaged or missing: run.json" in out
    assert "bring run.json back from a backup" in out and "capture rm 2 puts it into the bin" in out
