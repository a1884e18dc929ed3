"""Stores of files: several people bin, restore and purge runs at the same moment."""

from __future__ import annotations

import builtins
import os

import pytest

from capture import events, open_store
from capture.errors import CaptureError
from capture.observers import _tinydb_store
from capture.query.verifying import verify
from capture.registry import make_observer, open_curator
from capture.testing import Story, tell
from capture.testing.contract import uid

LOOKS_AND_STEPS = ("listdir", "mkdir", "open", "rename", "replace", "rmdir", "stat", "unlink")
KINDS = ("file", "tinydb")
NEEDS = {"tinydb": "tinydb", "sqlite": "sqlalchemy", "memory": "fsspec"}


def a_run(folder, mark):
    """Return the story of a run with files of which other runs have the same."""
    story = Story(folder / f"of-{mark}", uid(mark)).start(label=mark).source("train.py", b"print()")
    return story.resource("/data/a.csv", b"shared by two runs").artifact("m.bin", mark.encode()).complete()


def url_of(kind, folder):
    if kind in NEEDS:
        pytest.importorskip(NEEDS[kind])
    if kind == "sqlite":
        return f"sqlite:///{folder}.db"
    return str(folder) if kind == "file" else f"{kind}://{folder}"


def done(url, action, label):
    """Do something to a run, and say whether that was possible."""
    curator = open_curator(url)
    try:
        getattr(curator, action)(label)
    except (CaptureError, TimeoutError):
        return False
    finally:
        if hasattr(curator, "close"):
            curator.close()
    return True


def interrupted(monkeypatch, folder, at, by, act):
    """Act, and call `by` before the `at`-th time that the disk is asked or changed; say whether it came to that."""
    counted = []

    def make(original):
        def step(*arguments, **options):
            if arguments and str(folder) in str(arguments[0]):
                counted.append(1)
                if len(counted) == at:
                    by()
            return original(*arguments, **options)

        return step

    with monkeypatch.context() as patch:
        for name in LOOKS_AND_STEPS:
            patch.setattr(os, name, make(getattr(os, name)))
        patch.setattr(builtins, "open", make(open))
        act()
    return len(counted) >= at


def state(url, label):
    """Return where a run is, and see that it is whole there."""
    with open_store(url) as store:
        in_sight = [run for run in store.find() if str(run.label) == label]
        in_bin = [each for each in store.curator.binned() if str(each) == label]
    assert len(in_sight) + len(in_bin) <= 1, "it is in two places"
    if in_bin:
        assert done(url, "restore", label)
    if not in_sight and not in_bin:
        return "gone"
    with open_store(url) as store:
        found = verify(store.get(label))
    assert found.files == 3 and found.whole, found.problems
    return "in the bin" if in_bin else "in sight"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("second", ["bin", "restore", "purge"])
@pytest.mark.parametrize("first", ["bin", "restore", "purge"])
def test_a_run_is_whole_in_one_place_whoever_comes_in_between(kind, first, second, tmp_path, monkeypatch):
    """A second person acts before each single step of the first.

    The run is lost only if somebody was told that it is purged, and who was told that it was restored has it, unless
    it was binned or purged later.
    """
    monkeypatch.setattr(_tinydb_store.TinyStore.lock, "__defaults__", (0.0,))
    for at in range(1, 2000):
        folder = tmp_path / f"store-{at}"
        url, said = url_of(kind, folder), {}
        tell(make_observer(url), a_run(tmp_path / str(at), "01"))
        if first != "bin":
            assert done(url, "bin", "01")

        def second_acts(url=url, said=said):
            said["second"] = done(url, second, "01")

        def first_acts(url=url, said=said):
            said["first"] = done(url, first, "01")

        had_step = interrupted(monkeypatch, folder, at, second_acts, first_acts)
        found = state(url, "01")
        purged = (first == "purge" and said["first"]) or (second == "purge" and said.get("second"))
        assert (found == "gone") == bool(purged), (at, found, said)
        if first != second and "restore" in (first, second) and "purge" in (first, second):
            assert not (said["first"] and said.get("second")), (at, found, said)
        if not had_step:
            assert at > 4, "the steps were not seen"
            return


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("second", ["bin", "restore"])
def test_files_of_a_run_that_moves_while_another_is_purged_are_seen_to_be_used(kind, second, tmp_path, monkeypatch):
    """A purge looks which runs use a file: one that is in the bin at one moment and in sight at the next does, too."""
    monkeypatch.setattr(_tinydb_store.TinyStore.lock, "__defaults__", (0.0,))
    for at in range(1, 2000):
        folder = tmp_path / f"store-{at}"
        url = url_of(kind, folder)
        for mark in ("01", "02"):
            tell(make_observer(url), a_run(tmp_path / f"{at}-{mark}", mark))
        assert done(url, "bin", "01")
        if second == "restore":
            assert done(url, "bin", "02")
        had_step = interrupted(
            monkeypatch, folder, at, lambda url=url: done(url, second, "02"), lambda url=url: done(url, "purge", "01")
        )
        assert state(url, "02") != "gone", at
        if not had_step:
            assert at > 4, "the steps were not seen"
            return


def meets(monkeypatch, curator, by):
    """Let somebody else act when a curator has found the run that it is to do something with."""
    reader = getattr(curator, "reader", None) or curator._reader
    found = reader.resolve

    def resolve(run, binned=False):
        label = found(run, binned)
        monkeypatch.setattr(reader, "resolve", found)
        by()
        return label

    monkeypatch.setattr(reader, "resolve", resolve)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "tinydb", "sqlite", "memory"])
@pytest.mark.parametrize("what", ["bin", "purge"])
@pytest.mark.parametrize("action", ["annotate", "revise", "revise late", "bin"])
def test_a_run_that_goes_away_while_it_is_tagged_stays_away(kind, what, action, tmp_path, monkeypatch):
    """Who tags it is told, or the tag is on it in the bin; nothing comes back of what was deleted."""
    url = url_of(kind, tmp_path / "store")
    tell(make_observer(url), a_run(tmp_path, "01"))

    def goes_away():
        assert done(url, "bin", "01") and (what == "bin" or done(url, "purge", "01"))

    curator, was_told, late = open_curator(url), False, []

    def change(tags, notes):
        if action == "revise late" and not late and kind != "sqlite":  # which keeps others out then
            late.append(1)
            goes_away()
        return [*tags, "mine"], None

    if action != "revise late" or kind == "sqlite":
        meets(monkeypatch, curator, goes_away)
    try:
        if action == "bin":
            curator.bin("01")
        elif action == "annotate":
            curator.annotate("01", tags=["mine"])
        else:
            curator.revise("01", change)
    except CaptureError:
        was_told = True
    with open_store(url) as store:
        assert [run.label for run in store.find()] == [] and store.reader.unreadable == {}
        assert store.curator.binned() == (["01"] if what == "bin" else [])
        if what == "bin":
            store.curator.restore("01")
            assert was_told or action == "bin" or store.get("01").tags == ["mine"]
    assert was_told or what == "bin"
    assert what == "purge" or state(url, "01") == "in sight"


def test_output_that_goes_away_while_its_end_is_asked_for_is_asked_for_as_a_whole(tmp_path):
    """A database is asked twice for it: somebody may purge the run, or the run may print anew, in between."""
    import sqlite3

    url = url_of("sqlite", tmp_path / "runs")
    story = Story(tmp_path, uid("01")).start(label="01").add(events.Output(text="one\n", offset=0))
    tell(make_observer(url), story.complete())
    reader = make_observer(url).reader(url)
    assert reader.output_from("01", 0) == (0, b"one\n")

    def goes_away(_connection, _cursor, statement, *_more):
        if "LIMIT" in statement:
            with sqlite3.connect(tmp_path / "runs.db") as database:
                database.execute("DELETE FROM capture_output")
            database.close()

    from sqlalchemy import event

    event.listen(reader._database.engine, "after_cursor_execute", goes_away)
    assert reader.output_from("01", 0) is None
