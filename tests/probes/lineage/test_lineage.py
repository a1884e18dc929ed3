"""The front of lineage tells what a run read and wrote, with digests, copies and reasons."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from contextvars import ContextVar

import pytest

from capture.probes.lineage import classify, hook
from capture.probes.lineage.lineage import Lineage, folders_named

RUN = ContextVar("run", default=None)


@pytest.fixture
def here(tmp_path, monkeypatch):
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    return project


@pytest.fixture
def begin(here):
    """Return a function that begins to watch a run."""
    begun = []

    def begin(**options):
        parts = dict.fromkeys(("watch_folders", "adapters", "urls", "children"), False)
        lineage = Lineage(object(), RUN, str(here), [str(here / "runs"), "mongodb://db.example:27017/x"], **{**parts, **options})
        lineage.start()
        begun.append(lineage)
        return lineage

    yield begin
    for lineage in begun:
        lineage.stop()
    assert not hook.active()


def write(path, text="x"):
    with open(path, "w") as stream:
        stream.write(text)


def read(path):
    with open(path) as stream:
        return stream.read()


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_inputs_and_outputs_have_names_sizes_times_and_digests(here, begin):
    """These are what a later run is compared with."""
    write("input", "in")
    write("../elsewhere", "else")
    lineage = begin()
    read("input")
    read(str(here.parent / "elsewhere"))
    write("output", "out")
    facts, _ = lineage.report()
    inside, outside = facts["inputs"]
    assert inside == {
        "path": str(here / "input"),
        "name": "input",
        "size": 2,
        "mtime": pytest.approx(os.path.getmtime("input")),
        "digest": sha256("in"),
        "by": ["audit"],
    }
    assert "name" not in outside and outside["digest"] == sha256("else")
    assert [(o["name"], o["digest"]) for o in facts["outputs"]] == [("output", sha256("out"))]
    assert json.loads(json.dumps(facts)) == facts
    assert not facts["interim"]


def test_an_input_is_hashed_while_the_run_goes_on_and_overwritten_later(here, begin):
    """At the end what was read is gone; both digests are wanted."""
    write("file", "before")
    lineage = begin()
    read("file")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (lineage._digester and lineage._digester.result(str(here / "file"))):
        time.sleep(0.01)
    write("file", "after")
    facts, copies = lineage.report()
    (entry,) = facts["inputs"]
    assert entry["changed"] and entry["digest"] == sha256("before") and entry["size"] == 6
    assert facts["outputs"][0]["digest"] == sha256("after")
    assert copies == [("output", str(here / "file"), "file")]  # the input's bytes of then are not there any more


def test_an_input_that_changed_before_it_was_hashed_has_a_reason_and_no_digest(here, begin):
    """The digest of what is there now would claim that it was read."""
    write("file", "before")
    lineage = begin()
    read("file")
    write("file", "after")
    (entry,) = lineage.report()[0]["inputs"]
    assert entry["changed"] and entry["digest"] is None and entry["why"] == "it changed before it was hashed"


def test_a_removed_input_is_kept_with_its_reason(here, begin):
    """That it was read is known, whatever became of it."""
    write("file", "before")
    lineage = begin()
    read("file")
    os.remove("file")
    (entry,) = lineage.report()[0]["inputs"]
    assert entry["why"] == "removed during the run" and entry["digest"] is None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_output_says_why_it_has_no_digest(here, begin):
    """A missing digest without a reason looks like a mistake of the library."""
    lineage = begin()
    write("output")
    os.chmod("output", 0)
    (entry,) = lineage.report()[0]["outputs"]
    assert entry["digest"] is None and "could not be read" in entry["why"]


def test_the_store_is_neither_input_nor_output(here, begin):
    """The run writes itself down there; an observer in the main thread does so before everybody's eyes."""
    os.mkdir("runs")
    lineage = begin()
    write("runs/config.json")
    read("runs/config.json")
    facts, copies = lineage.report()
    assert facts["inputs"] == facts["outputs"] == copies == [] and facts["dropped"]["noise"] == 1


def test_small_inputs_of_the_project_and_outputs_are_to_be_copied(here, begin):
    """So that a run can be rebuilt, and its results looked at, without a special call; but no data set is copied."""
    write("small")
    write("large", "x" * 100)
    write("../elsewhere")
    lineage = begin(copy_inputs_bytes=10, copy_outputs_bytes=50, copy_total_bytes=60)
    for name in ("small", "large", "../elsewhere"):
        read(name)
    write("out", "x" * 50)
    write("second", "x" * 50)  # 1 + 50 + 50 is more than all together may be
    write("huge", "x" * 51)
    _, copies = lineage.report()
    assert copies == [("input", str(here / "small"), "small"), ("output", str(here / "out"), "out")]


def test_nothing_is_copied_where_the_settings_say_so(here, begin):
    """Some stores are small."""
    write("input")
    lineage = begin(copy_inputs_bytes=0, copy_outputs_bytes=0)
    read("input")
    write("empty", "")
    assert lineage.report()[1] == []


def test_an_interim_report_tells_what_is_known_and_waits_for_nothing(here, begin):
    """A run that is killed has no end at which it could tell."""
    write("input")
    lineage = begin()
    assert lineage.interim_due()  # that nothing was seen is worth telling once
    facts, copies = lineage.report(final=False)
    assert facts["interim"] and facts["inputs"] == [] and copies == []
    assert not lineage.interim_due()
    read("input")
    assert lineage.interim_due()
    facts, _ = lineage.report(final=False)
    (entry,) = facts["inputs"]
    assert entry["why"] == "not hashed yet" or entry["digest"] == sha256("x")
    write("output")
    facts, _ = lineage.report(final=True)
    assert [o["name"] for o in facts["outputs"]] == ["output"] and facts["inputs"][0]["digest"] == sha256("x")


def test_nothing_is_seen_after_the_last_report(here, begin):
    """What the library and the next run do is not this run's."""
    lineage = begin()
    lineage.report()
    write("late")
    facts, _ = lineage.report()
    assert facts["outputs"] == []


def test_many_files_of_a_folder_become_one_manifest(here, begin):
    """A record with 100,000 lines of files helps nobody."""
    os.mkdir("images")
    for number in range(20):
        write(f"images/{number}", str(number))
    kept = {}
    lineage = begin(manifest_files=10, keep=lambda name, data: kept.setdefault(name, {"source": name, "size": len(data)}))
    for number in range(20):
        read(f"images/{number}")
    (entry,) = lineage.report()[0]["inputs"]
    assert entry["path"] == str(here / "images") and entry["files"] == 20 and entry["manifest"]["source"] in kept


def test_a_part_that_fails_is_told_of_and_the_rest_goes_on(here, begin, monkeypatch, caplog):
    """One missing system call must not cost the record of everything else."""

    def fail(*arguments):
        raise OSError("no room")

    monkeypatch.setattr("capture.probes.lineage.children.make_folder", fail)
    write("input")
    with caplog.at_level(logging.WARNING, "capture"):
        lineage = begin(children=True)
    read("input")
    facts, _ = lineage.report()
    assert [entry["name"] for entry in facts["inputs"]] == ["input"]
    assert "child processes (watching them failed: OSError: no room)" in facts["coverage"]["unseen"]
    assert "child processes of the run are not watched" in caplog.text


def test_hosts_that_no_url_explains_are_told_of_and_the_stores_own_are_not(here, begin):
    """Data read from a database server is an input that cannot be recorded; the store's server is none."""
    lineage = begin(urls=True)
    hook.note_url({"method": "GET", "url": "https://user@data.example:8443/x", "by": "http.client"})
    for host in ("data.example", "db.example", "other.example", "127.0.0.1", "localhost"):
        for sightings in hook.watched():
            sightings.host(host)
    facts, _ = lineage.report()
    assert facts["coverage"]["unseen"] == ["connections whose content is not recorded: other.example"]
    assert [entry["url"] for entry in facts["urls"]] == ["https://user@data.example:8443/x"]


def test_folders_are_watched_beside_the_hook_and_what_only_they_saw_is_nearby(here, begin):
    """Libraries open files past Python; whose doing it was cannot be told, so it is no input."""
    import subprocess
    import sys

    if not sys.platform.startswith("linux"):
        pytest.skip("folders are watched on Linux only")
    write("input")
    write("hidden")
    lineage = begin(watch_folders=True)
    lineage._watch.hurry(5.0)
    read("input")
    subprocess.run(["cat", "hidden"], check=True, stdout=subprocess.DEVNULL)
    facts, _ = lineage.report()
    if facts["coverage"]["text"].count("inotify"):
        pytest.skip(facts["coverage"]["text"])
    assert [(entry["name"], entry["how"]) for entry in facts["nearby"]] == [("hidden", "opened")]
    assert [entry["name"] for entry in facts["inputs"]] == ["input"]


def test_strings_of_the_configuration_name_folders_to_watch(here):
    """Data lies anywhere, and mostly its place is in the configuration; most strings are no paths."""
    (here / "data").mkdir()
    write("data/x.csv")
    strings = ["data", "data/x.csv", "data/new.csv", "adam", "", "no/such/thing", "http://data/x", "x" * 2000, "a\nb", "/"]
    assert folders_named(strings) == [str(here / "data")]
    assert folders_named(["x.csv"]) == []
    write("x.csv")
    assert folders_named(["x.csv"]) == [str(here)]
    assert folders_named(["data"], (str(here) + os.sep,)) == []


def test_stop_may_come_without_a_report_and_twice(here, begin):
    """A run may be torn down at any point."""
    lineage = begin(children=True, watch_folders=True)
    lineage.stop()
    lineage.stop()
    assert not hook.active()


@pytest.mark.slow
def test_watching_again_and_again_leaves_nothing_behind(here, begin):
    """A sweep has thousands of runs in one process."""
    import threading

    before = threading.active_count(), len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(20):
        lineage = begin(children=True, watch_folders=True)
        write("out")
        lineage.report()
        lineage.stop()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and threading.active_count() > before[0]:
        time.sleep(0.01)
    after = threading.active_count(), len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after[0] <= before[0] and after[1] <= before[1]  # what other tests had left may have ended meanwhile


def test_responses_that_were_not_understood_are_in_the_statement(here, begin, monkeypatch):
    """Complete is not what a record is that lacks what was fetched."""
    from capture.probes.lineage import responses

    monkeypatch.setattr(responses, "_notes", {"httpx 9: what it fetches is not seen": None})
    facts, _ = begin(urls=True).report()
    assert facts["coverage"]["complete"] is False
    assert facts["coverage"]["unseen"] == ["httpx 9: what it fetches is not seen"]


def test_size_and_time_of_an_output_belong_to_its_digest(here, begin, monkeypatch):
    """A child that goes on writing makes one file of it after the other; an entry must be of one of them."""
    lineage = begin()
    write("out", "short")
    kind_now = classify._kind_now

    def look_and_go_on_writing(file):
        kind = kind_now(file)
        (here / "out").write_text("much longer")
        return kind

    monkeypatch.setattr(classify, "_kind_now", look_and_go_on_writing)
    (entry,) = lineage.report()[0]["outputs"]
    assert (entry["digest"], entry["size"]) == (sha256("much longer"), 11)
