"""``capture doctor --fix``: what is mended without a risk, and what is left alone."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3

import pytest

from capture import open_store
from capture.cli import main
from capture.observers import _file_mending
from capture.registry import make_observer, open_curator
from capture.settings import Settings
from capture.testing import tell
from tests.cli.making import fill, story
from tests.cli.test_stores import leave_journal
from tests.cli.test_unreadable import overwritten

NOBODY = "7ffffffe"  #: no process has this number


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return the current folder, in which settings are read anew."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("capture.settings.SETTINGS", Settings())
    return tmp_path


@pytest.fixture
def fix(here, capsys):
    """Run the command; return what it did, or would do, a text each, and its status."""

    def run(*arguments):
        capsys.readouterr()
        status = main(["doctor", "--fix", "--json", *arguments])
        told = json.loads(capsys.readouterr().out)
        return [(each["text"], each["problem"]) for each in told.get("mended", told.get("would_mend"))], status

    return run


@pytest.fixture
def two_days_later(monkeypatch):
    """Let everything have been left two days ago."""
    now = _file_mending.time.time
    monkeypatch.setattr(_file_mending.time, "time", lambda: now() + 2 * 86_400)


def tree(place) -> dict[str, bytes]:
    """Return all files below a folder but for the index."""
    found = {}
    for folder, _, names in os.walk(place):
        for name in names:
            path = os.path.join(folder, name)
            if not name.startswith("index.sqlite"):
                with open(path, "rb") as stream:
                    found[os.path.relpath(path, place)] = stream.read()
    return found


def test_a_whole_store_is_left_as_it_is(fix, tmp_path, capsys):
    """To try it costs nothing."""
    fill("runs", tmp_path, "01", "02")
    before = tree("runs")
    assert fix() == ([], 0)
    assert tree("runs") == before
    assert main(["doctor", "--fix"]) == 0
    assert "nothing: there is nothing that can be mended" in capsys.readouterr().out


def test_journals_are_delivered(fix, tmp_path, state_dir):
    """As by `capture sync`; a dry run names them and delivers nothing."""
    fill("runs", tmp_path, "03")
    path = leave_journal(state_dir, make_observer("runs").identity)
    [(told, problem)], _ = fix("--dry-run")
    assert path in told and problem == "" and os.path.exists(path)
    [(told, problem)], _ = fix()
    assert "done" in told and problem == "" and not os.path.exists(path)
    assert fix() == ([], 0)


def test_what_cannot_be_delivered_is_said_and_kept(fix, tmp_path, state_dir, monkeypatch, capsys):
    """A store that refuses it is no reason to give up a journal; nor is anything said to be mended then."""
    fill("runs", tmp_path, "03")
    observer = make_observer("runs")
    path = leave_journal(state_dir, observer.identity)

    def refuse(*_arguments, **_options):
        raise PermissionError("not for you")

    monkeypatch.setattr(type(observer), "opened_event", refuse)
    [(_, problem)], status = fix()
    assert problem and status == 1 and os.path.exists(path)
    main(["doctor", "--fix"])
    out = capsys.readouterr().out
    assert "not done" in out and "nothing was mended" in out and "Mended" not in out


def test_what_waits_for_other_stores_is_left_to_capture_sync(fix, tmp_path, state_dir, monkeypatch, capsys):
    """Whoever mends a store in a train must not wait for every server that an old journal names."""
    from capture import delivery

    fill("lab", tmp_path, "03")
    lab, away = make_observer("lab").identity, "mongodb://db.invalid/lab"
    path = leave_journal(state_dir, away)
    assert fix() == ([], 0)
    assert os.path.exists(path)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert away in out and "to do: capture sync" in out
    both = leave_journal(state_dir, lab, "2", away)
    asked = []
    monkeypatch.setattr("capture.stores.store_of", asked.append)
    [(told, problem)], _ = fix("--store=lab")
    assert f"to {lab}; what is for {away} waits: capture sync" in told and problem == ""
    assert os.path.exists(both) and asked == []
    assert delivery.read_acks(delivery.acks_path(both))[lab].done
    assert fix("--store=lab") == ([], 0)


def test_a_damaged_index_is_made_anew(fix, tmp_path):
    """Until then each question reads every run."""
    fill("runs", tmp_path, "01", "02")
    index = tmp_path / "runs" / "_capture" / "index.sqlite"
    list(open_store("runs").find())
    data = bytearray(index.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    index.write_bytes(data)
    damaged = index.read_bytes()
    [(told, _)], _ = fix("--dry-run")
    assert "which is damaged" in told and index.read_bytes() == damaged
    fix()
    with sqlite3.connect(index) as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (2,)
    assert fix() == ([], 0)


def test_what_was_edited_in_place_is_found_by_conditions_again(fix, tmp_path):
    """The index is asked for it, and it does not look into files that it knows."""
    fill("runs", tmp_path, "01", "02")
    os.utime("runs/2", (1_700_000_000, 1_700_000_000))
    store = open_store("runs")
    assert list(store.find("config.lr == 0.9")) == []
    path = tmp_path / "runs" / "2" / "config.json"
    overwritten(str(path), path.read_bytes().replace(b"0.1", b"0.9"))
    assert list(store.find("config.lr == 0.9")) == []
    [(told, _)], _ = fix()
    assert told == "runs whose files were written over in place are indexed again (1): 2"
    assert [run.label for run in store.find("config.lr == 0.9")] == ["2"]


def test_half_written_files_go_and_those_of_the_living_stay(fix, tmp_path, two_days_later):
    """A file that is being written belongs to somebody; so does one whose name is not ours."""
    fill("runs", tmp_path, "01")
    place = tmp_path / "runs" / "1"
    ours = place / f".tmp-{os.getpid():x}-1-1"
    left, odd = place / f".tmp-{NOBODY}-1-1", place / ".tmp-mine"
    for path in (ours, left, odd):
        path.write_text("half")
    [(told, _)], _ = fix("--dry-run")
    assert told.endswith(f"half-written is deleted (1): {left}") and left.exists()
    fix()
    assert not left.exists() and ours.exists() and odd.exists()


def test_a_young_file_stays(fix, tmp_path):
    """A process of another machine may be writing it."""
    fill("runs", tmp_path, "01")
    path = tmp_path / "runs" / "1" / f".tmp-{NOBODY}-1-1"
    path.write_text("half")
    assert fix() == ([], 0)
    assert path.exists()


class _DiedError(BaseException):
    """The process is gone."""


def died(*_arguments, **_options):
    raise _DiedError


def dying_at_the_run(unlinked=()):
    """Return what deletes a folder, and dies when that is the folder of a run and these files of it are deleted."""
    delete = shutil.rmtree

    def die(folder):
        if folder.endswith("-shared"):
            delete(folder)
            return
        for name in unlinked:
            os.unlink(os.path.join(folder, name))
        raise _DiedError

    return die


def test_a_purge_that_broke_off_is_finished(fix, tmp_path, monkeypatch, two_days_later):
    """Its run is gone for whoever looks, and its files still take the room that was to be freed."""
    fill("runs", tmp_path, "01", "02")
    curator = open_curator("runs")
    curator.bin("2")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", dying_at_the_run())
        with pytest.raises(_DiedError):
            curator.purge("2")
    trash = tmp_path / "runs" / "_capture" / "trash"
    [name] = os.listdir(trash)
    assert fix() == ([], 0), "the process of that number lives: it is this one"
    os.rename(trash / name, trash / name.replace(f"{os.getpid():x}", NOBODY, 1))
    [(told, _)], _ = fix("--dry-run")
    assert "the deletion of a purged run is finished" in told and len(os.listdir(trash)) == 1
    [(told, problem)], _ = fix()
    assert problem == "" and os.listdir(trash) == []
    assert open_store("runs").labels() == ["1"] and main(["verify", "1"]) == 0


def test_a_purge_that_died_in_the_midst_of_a_folder_leaves_no_shared_file_of_the_run(
    fix, tmp_path, monkeypatch, two_days_later
):
    """Which files it used stands in its record, which may be the first to be deleted."""
    tell(make_observer("runs"), story(tmp_path, "01").start().resource("/data/secret.csv", b"secret").complete())

    curator = open_curator("runs")
    curator.bin("1")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", dying_at_the_run(["run.json", "capture.json"]))
        with pytest.raises(_DiedError):
            curator.purge("1")
    for path in (tmp_path / "runs" / "_capture" / "trash").iterdir():
        path.rename(path.with_name(path.name.replace(f"{os.getpid():x}", NOBODY, 1)))
    assert any("a purge broke off" in text for _, text, _ in open_store("runs").reader.health())
    fix()
    assert b"secret" not in tree("runs").values()
    assert not any(name.startswith("_resources") for name in tree("runs"))


def test_a_run_that_was_copied_here_again_keeps_its_uid_when_its_first_purge_is_finished(
    fix, tmp_path, monkeypatch, two_days_later
):
    """By its uid a second copy finds it, and makes no second run."""
    told = story(tmp_path, "01").start().complete()
    tell(make_observer("runs"), told)
    curator = open_curator("runs")
    curator.bin("1")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", dying_at_the_run())
        with pytest.raises(_DiedError):
            curator.purge("1")
    assert tell(make_observer("runs"), told) == "2"
    for path in (tmp_path / "runs" / "_capture" / "trash").iterdir():
        path.rename(path.with_name(path.name.replace(f"{os.getpid():x}", NOBODY, 1)))
    fix()
    tell(make_observer("runs"), told)
    assert open_store("runs").labels() == ["2"]


def test_shared_files_that_a_purge_had_set_aside_are_put_back(fix, tmp_path, monkeypatch, two_days_later):
    """A process that dies between taking away and looking who uses them must not cost another run its sources."""
    fill("runs", tmp_path, "01", "02")
    before = {name for name in tree("runs") if name.startswith(("_sources", "_resources"))}
    curator = open_curator("runs")
    curator.bin("2")
    with monkeypatch.context() as patch:
        patch.setattr(type(curator), "settle", died)
        with pytest.raises(_DiedError):
            curator.purge("2")
    assert main(["verify", "1"]) == 1, "its sources are away"
    trash = tmp_path / "runs" / "_capture" / "trash"
    for name in os.listdir(trash):
        os.rename(trash / name, trash / name.replace(f"{os.getpid():x}", NOBODY, 1))
    done, _ = fix()
    assert sum("put back where a run uses them" in told for told, _ in done) == 1 and len(done) == 2
    assert not any(problem for _, problem in done) and os.listdir(trash) == []
    assert main(["verify", "1"]) == 0
    assert {name for name in tree("runs") if name.startswith(("_sources", "_resources"))} == before


def test_tinydb_files_that_a_purge_had_set_aside_are_put_back(fix, tmp_path, monkeypatch):
    """As in a folder store."""
    pytest.importorskip("tinydb")
    url = fill("tinydb://db", tmp_path, "01", "02")
    curator = open_curator(url)
    curator.bin(2)
    with monkeypatch.context() as patch:
        patch.setattr(type(curator), "_bring_back", died)
        with pytest.raises(_DiedError):
            curator._sweep(set())  # nothing lies there: it must not break off
            trash = tmp_path / "db" / "_capture" / "trash"
            address = next(iter(curator._used()))
            os.replace(curator._store.path_of(address), trash / address)
            curator._sweep(set())
    assert main(["verify", f"--store={url}", "1"]) == 1
    [(told, _)], _ = fix(f"--store={url}", "--dry-run")
    assert "put back where a run uses them" in told
    fix(f"--store={url}")
    assert main(["verify", f"--store={url}", "1"]) == 0
    assert fix(f"--store={url}")[0] == []


def test_a_dead_run_stays_as_it_is(fix, tmp_path):
    """Nobody but the run itself says how it ended."""
    observer = make_observer("runs")
    tell(observer, story(tmp_path, "01", end=False))
    fix()
    assert open_store("runs").get(1).status == "RUNNING"
