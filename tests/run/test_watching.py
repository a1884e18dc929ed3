"""What a run captures by itself, as its observers are told: late facts, what is kept, what is copied."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

from capture import SETTINGS, Experiment, start_run, watching
from capture.errors import SpoolError
from capture.probes.lineage import classify, hook
from capture.probes.lineage import lineage as front
from capture.probes.lineage.children import VARIABLE
from capture.probes.lineage.lineage import Lineage
from capture.recorder import Recorder
from capture.testing import MemoryStore, RecordingObserver
from capture.unwatched import IDENTS
from capture.watching import OWN_TOPICS, strings_in

pytestmark = pytest.mark.facts


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """An experiment in a folder of its own; of the checkout that these tests lie in, no bundle is made."""
    monkeypatch.chdir(tmp_path)
    before, SETTINGS.GIT.BUNDLE_BYTES = SETTINGS.GIT.BUNDLE_BYTES, 0
    yield Experiment("watched", base_dir=str(tmp_path), observers=[RecordingObserver()])
    SETTINGS.GIT.BUNDLE_BYTES = before


def facts_of(experiment):
    return {call["name"]: call["facts"] for call in experiment.observers[0].of("facts_event")}


def run(experiment, main):
    experiment.main(main)
    return experiment.run()


def test_a_run_tells_of_itself_without_being_asked(experiment):
    """Nobody remembers to call what records these."""

    def main():
        return 1

    run(experiment, main)
    assert {"imports", "environment", "machine", "process", "usage", "lineage"} <= set(facts_of(experiment))
    assert set(facts_of(experiment)) <= set(OWN_TOPICS)


def test_all_of_it_comes_before_the_ending(experiment):
    """After its ending a run says nothing more, so that what comes later would be lost."""

    def main():
        return 1

    run(experiment, main)
    told = [name for name in experiment.observers[0].names if name not in ("flush", "join")]
    assert told[-1] == "completed_event"
    assert told.count("facts_event") == len(facts_of(experiment))


SWITCHES = [
    ("IMPORTS", False, "imports"),
    ("ENVIRONMENT", False, "environment"),
    ("HOST_INFO.MACHINE", False, "machine"),
    ("PROCESS.ENABLED", False, "process"),
    ("LINEAGE.ENABLED", False, "lineage"),
]


@pytest.mark.parametrize(("name", "value", "topic"), SWITCHES)
def test_each_part_can_be_switched_off(experiment, monkeypatch, name, value, topic):
    """Somebody has a reason, and the rest goes on."""
    group, _, key = name.rpartition(".")
    settings = getattr(SETTINGS, group) if group else SETTINGS
    before = settings[key]
    settings[key] = value
    try:
        run(experiment, lambda: 1)
    finally:
        settings[key] = before
    facts = facts_of(experiment)
    assert topic not in facts
    assert {"usage"} | {other for _, _, other in SWITCHES if other != topic} <= set(facts)


def test_an_input_is_copied_from_the_project_and_an_output_is_an_artifact(experiment, tmp_path):
    """Both are small here, and gone from the disk sooner than the record."""
    (tmp_path / "in.csv").write_text("a,b\n")

    def main():
        with open("in.csv") as file, open("out.txt", "w") as out:
            out.write(file.read())

    run(experiment, main)
    lineage = facts_of(experiment)["lineage"]
    assert [(entry["name"], entry["copied"]) for entry in lineage["inputs"]] == [("in.csv", True)]
    assert [(entry["name"], entry["artifact"]) for entry in lineage["outputs"]] == [("out.txt", "out.txt")]
    observer = experiment.observers[0]
    assert [call["filename"] for call in observer.of("resource_event")] == [str(tmp_path / "in.csv")]
    assert [call["name"] for call in observer.of("artifact_event")] == ["out.txt"]


@pytest.mark.slow
def test_what_the_user_records_is_not_recorded_twice(experiment, tmp_path):
    """Whoever names an artifact wants that name, and one copy."""
    (tmp_path / "in.csv").write_text("a,b\n")

    def main(_run):
        with _run.open_resource("in.csv") as file, open("out.txt", "w") as out:
            out.write(file.read() + "more")
        _run.add_artifact("out.txt", name="result.txt")

    run(experiment, main)
    observer = experiment.observers[0]
    assert len(observer.of("resource_event")) == 1
    assert [call["name"] for call in observer.of("artifact_event")] == ["result.txt"]
    assert facts_of(experiment)["lineage"]["outputs"][0]["artifact"] == "result.txt"


def test_outputs_with_equal_bytes_are_artifacts_by_their_own_names(experiment):
    """Three empty markers are three files to whoever looks for them."""

    def main():
        for name in ("a.done", "b.done"):
            open(name, "w").close()

    run(experiment, main)
    assert [call["name"] for call in experiment.observers[0].of("artifact_event")] == ["a.done", "b.done"]


@pytest.mark.slow
def test_a_mark_left_by_an_interruption_hides_nothing_of_the_next_run(experiment, tmp_path):
    """In a notebook the next run is in the same thread, and its inputs would all be taken for the library's."""
    (tmp_path / "in.csv").write_text("a,b\n")
    IDENTS.add(threading.get_ident())

    def main():
        with open("in.csv") as file:
            file.read()

    run(experiment, main)
    assert [entry["name"] for entry in facts_of(experiment)["lineage"]["inputs"]] == ["in.csv"]


@pytest.mark.slow
def test_an_output_that_is_too_large_to_keep_says_so(experiment, monkeypatch):
    """Whoever looks for the model in the store should not have to guess why it is not there."""
    before, SETTINGS.LINEAGE.COPY_OUTPUTS_BYTES = SETTINGS.LINEAGE.COPY_OUTPUTS_BYTES, 100

    def main():
        with open("model.bin", "wb") as file:
            file.write(bytes(101))

    try:
        run(experiment, main)
    finally:
        SETTINGS.LINEAGE.COPY_OUTPUTS_BYTES = before
    (entry,) = facts_of(experiment)["lineage"]["outputs"]
    assert "artifact" not in entry and "LINEAGE.COPY_OUTPUTS_BYTES" in entry["left_out"]


@pytest.mark.slow
def test_children_that_nobody_watches_make_the_statement_incomplete(experiment):
    """A setting that switches watching off does not make what children did seen."""
    import subprocess

    before, SETTINGS.LINEAGE.CHILDREN = SETTINGS.LINEAGE.CHILDREN, False
    try:
        run(experiment, lambda: subprocess.run([sys.executable, "-c", "pass"], check=True) and None)
    finally:
        SETTINGS.LINEAGE.CHILDREN = before
    coverage = facts_of(experiment)["lineage"]["coverage"]
    assert not coverage["complete"] and "1 child process not observed (by a setting)" in coverage["unseen"]


def test_what_git_told_before_the_end_is_kept_when_the_rest_takes_too_long(experiment, tmp_path, monkeypatch):
    """Making a bundle may take seconds; commit and branch are known at once."""
    import subprocess

    from capture.probes import rebuild

    (tmp_path / "a.txt").write_text("a")
    for command in (["init", "-q"], ["add", "a.txt"], ["commit", "-q", "-m", "one"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    reached, release = threading.Event(), threading.Event()
    keep = rebuild._Bundle.keep

    def slowly(self, keep_bytes):
        reached.set()
        return release.wait(60) and keep(self, keep_bytes)

    monkeypatch.setattr(rebuild._Bundle, "keep", slowly)
    SETTINGS.GIT.BUNDLE_BYTES = 10**8
    before, SETTINGS.PROBES.END_WAIT_S = SETTINGS.PROBES.END_WAIT_S, 0.3
    try:
        run(experiment, lambda: reached.wait(60))
    finally:
        SETTINGS.PROBES.END_WAIT_S = before
        release.set()
    (state,) = [each for each in facts_of(experiment)["git"] if each["root"] == str(tmp_path)]
    assert len(state["commit"]) == 40 and state["pushed"] is False
    assert "ended before" in state["incomplete"] and "bundle" not in state


def test_copies_can_be_switched_off(experiment, tmp_path):
    """Who has large stores to share may want digests only."""
    (tmp_path / "in.csv").write_text("a,b\n")
    settings = SETTINGS.LINEAGE
    before = settings.COPY_INPUTS_BYTES, settings.COPY_OUTPUTS_BYTES
    settings.COPY_INPUTS_BYTES = settings.COPY_OUTPUTS_BYTES = 0

    def main():
        with open("in.csv") as file, open("out.txt", "w") as out:
            out.write(file.read())

    try:
        run(experiment, main)
    finally:
        settings.COPY_INPUTS_BYTES, settings.COPY_OUTPUTS_BYTES = before
    observer = experiment.observers[0]
    assert observer.of("resource_event") == observer.of("artifact_event") == []
    lineage = facts_of(experiment)["lineage"]
    assert "copied" not in lineage["inputs"][0] and "artifact" not in lineage["outputs"][0]
    assert lineage["inputs"][0]["digest"]


def test_the_process_is_described_as_it_was_before_main(experiment, tmp_path, monkeypatch):
    """Scripts set OMP_NUM_THREADS and change folders; what they were started with is what reproduces them."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")

    def main():
        import os

        os.environ["OMP_NUM_THREADS"] = "7"
        os.chdir("/")

    run(experiment, main)
    process = facts_of(experiment)["process"]
    assert process["environment"]["OMP_NUM_THREADS"] == "3"
    assert process["cwd"] == str(tmp_path)


@pytest.mark.slow
def test_a_long_run_tells_now_and_then_what_it_has_seen(experiment, tmp_path, monkeypatch):
    """A run that is killed should not take with it what it had read."""
    monkeypatch.setattr("capture.watching.FIRST_INTERIM_S", 0.05)
    interim = threading.Event()

    class Listening(RecordingObserver):
        def told(self, hook, arguments):
            super().told(hook, arguments)
            if hook == "facts_event" and arguments["name"] == "lineage" and arguments["facts"]["interim"]:
                interim.set()

    experiment.observers[:] = [Listening()]
    (tmp_path / "in.csv").write_text("a,b\n")

    def main():
        with open("in.csv") as file:
            file.read()
        assert interim.wait(30)

    run(experiment, main)
    lineages = [call["facts"] for call in experiment.observers[0].of("facts_event") if call["name"] == "lineage"]
    assert [each["interim"] for each in lineages][-1] is False
    assert [entry["name"] for entry in lineages[0]["inputs"]] == ["in.csv"]


def test_what_goes_wrong_at_the_end_costs_only_its_own_part(experiment, monkeypatch, caplog):
    """A defect in one probe must not lose the others, nor the run."""

    def broken(*args, **kwargs):
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("capture.probes.imports.imports_facts", broken)
    assert run(experiment, lambda: 1).status == "COMPLETED"
    assert facts_of(experiment)["imports"] == {"unavailable": "ZeroDivisionError: a defect"}
    assert {"lineage", "usage"} <= set(facts_of(experiment))
    assert "a defect" in caplog.text


@pytest.mark.slow
def test_the_system_is_measured_on_request(experiment):
    """Whether the GPU was idle is asked after the run."""
    store = MemoryStore()
    experiment.observers[:] = [store]
    before = SETTINGS.SYSTEM_METRICS.INTERVAL_S
    SETTINGS.SYSTEM_METRICS.INTERVAL_S = 0.05

    def measured():
        return store.record(store.uids[-1]).metrics.get("system/process_memory_bytes", ())

    def main():
        until = time.monotonic() + 60
        while len(measured()) < 2:
            assert time.monotonic() < until, "nothing was measured"
            time.sleep(0.05)

    try:
        run(experiment, main)
    finally:
        SETTINGS.SYSTEM_METRICS.INTERVAL_S = before
    assert measured().values[0] > 1_000_000


@pytest.mark.slow
def test_folders_of_tensorboard_writers_are_in_the_info(experiment, tmp_path):
    """Their logs are looked at in another program, which has to be told where."""
    result = {}

    def main(_run):
        from tensorboardX import SummaryWriter

        SummaryWriter(str(tmp_path / "logs")).close()
        result.update(_run.info)

    run(experiment, main)
    assert result == {"tensorboard": {"logdirs": [str(tmp_path / "logs")]}}


def test_a_run_that_nobody_observes_installs_nothing(tmp_path):
    """Whoever asks for no record gets a process as it was."""
    code = """
import sys, threading
hooks = []
from capture import Experiment
ex = Experiment("quiet", observers=[])
@ex.main
def main():
    return threading.enumerate(), list(sys.meta_path), [name for name in sys.modules if "lineage" in name]
threads, finders, modules = ex.run().result
assert len(threads) == 1, threads
assert not modules, modules
assert not [finder for finder in finders if "lineage" in type(finder).__module__]
"""
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_start_run_captures_the_same(tmp_path, monkeypatch):
    """The record is the same with and without decorators."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("a,b\n")
    store = MemoryStore()
    with start_run("by-hand", observers=[store], base_dir=str(tmp_path)), open("in.csv") as file:
        file.read()
    record = store.record(store.uids[-1])
    assert [entry["name"] for entry in record.facts["lineage"]["inputs"]] == ["in.csv"]
    assert [resource.read() for resource in record.resources] == [b"a,b\n"]
    assert record.kept_file(".capture/environment.json").read().startswith(b"{")


def test_strings_of_a_configuration_are_found_however_deep():
    """One of them may be the path of the data."""
    assert strings_in({"a": ["x", {"b": ("y", 3)}], "c": "z"}) == ["x", "y", "z"]
    assert len(strings_in({"many": ["x"] * 5000})) == 1000


def test_an_end_that_meets_a_dead_disk_is_not_waited_for(experiment, tmp_path, monkeypatch):
    """A file server that is gone lets nobody look at a file, for hours; the run that read one is over all the same."""
    released, looks = threading.Event(), classify._kind_now
    monkeypatch.setattr(classify, "_kind_now", lambda file: released.wait(60) and looks(file))
    monkeypatch.setattr(watching, "GRACE_S", 1.0)
    before, SETTINGS.LINEAGE.END_WAIT_S = SETTINGS.LINEAGE.END_WAIT_S, 0.0
    (tmp_path / "in.csv").write_text("a,b\n")

    def main():
        open("in.csv").close()

    try:
        finished = run(experiment, main)
        told = list(experiment.observers[0].names)
        assert not released.is_set() and finished.status == "COMPLETED"
        facts = facts_of(experiment)
        assert "waited no longer" in facts["lineage"]["unavailable"]
        assert "wall_s" in facts["usage"] and "dependencies" in facts["imports"]
        assert not hook.active()
    finally:
        SETTINGS.LINEAGE.END_WAIT_S = before
        released.set()
    for thread in threading.enumerate():
        if thread.name == "capture-watching":
            thread.join(60)
    assert experiment.observers[0].names == told  # nothing comes behind the ending


def test_ctrl_c_while_watching_begins_leaves_nothing_watched(experiment, monkeypatch):
    """In a notebook, every later cell would be watched for a run that is over, and the folder be left in /tmp."""

    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Lineage, "_watch_folders", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(experiment, lambda: 1)
    assert not hook.active() and VARIABLE not in os.environ
    assert experiment.current_run.status == "INTERRUPTED" and "lineage" in facts_of(experiment)


def test_lineage_that_cannot_begin_says_why(experiment, monkeypatch):
    """A record without lineage reads as if the run had touched no file."""
    monkeypatch.setattr(classify, "noise_folders", lambda *args: 1 / 0)
    run(experiment, lambda: 1)
    assert facts_of(experiment)["lineage"] == {"unavailable": "ZeroDivisionError: division by zero"}
    assert VARIABLE not in os.environ


@pytest.mark.slow
def test_what_the_store_did_not_take_is_not_said_to_be_copied(experiment, tmp_path, monkeypatch):
    """Whoever relies on the copy removes the file."""
    (tmp_path / "in.csv").write_text("a,b\n")
    take = Recorder.take_file

    def take_or_fail(self, path):
        if path.endswith(".csv"):
            raise SpoolError("the disk is full")
        return take(self, path)

    monkeypatch.setattr(Recorder, "take_file", take_or_fail)

    def main():
        with open("in.csv") as file, open("out.csv", "w") as out:
            out.write(file.read() + "more")

    run(experiment, main)
    lineage = facts_of(experiment)["lineage"]
    for entry in (*lineage["inputs"], *lineage["outputs"]):
        assert "copied" not in entry and "artifact" not in entry
        assert entry["why"] == "it could not be copied: the store did not take it"


def test_a_file_that_changes_between_its_digest_and_its_copy_is_not_copied(experiment, tmp_path, monkeypatch):
    """The copy would not be what was read."""
    (tmp_path / "in.csv").write_text("a,b\n")
    take = Recorder.take_file

    def change_and_take(self, path):
        if path.endswith(".csv"):
            (tmp_path / "in.csv").write_text("something else")
        return take(self, path)

    monkeypatch.setattr(Recorder, "take_file", change_and_take)
    run(experiment, lambda: open("in.csv").close())
    (entry,) = facts_of(experiment)["lineage"]["inputs"]
    assert "copied" not in entry and entry["why"] == "it could not be copied: it has changed since it was hashed"
    assert not experiment.observers[0].of("resource_event")


@pytest.mark.slow
def test_what_is_told_while_the_run_goes_on_is_short_and_not_told_twice(experiment, tmp_path, monkeypatch):
    """Every five minutes for a week, all of a hundred thousand names would fill the disk."""
    monkeypatch.setattr(watching, "FIRST_INTERIM_S", 0.05)
    monkeypatch.setattr(watching, "LONGEST_INTERIM_S", 0.05)
    monkeypatch.setattr(front, "INTERIM_FILES", 3)
    for number in range(10):
        (tmp_path / f"{number}.csv").write_text("x")

    def main(_run):
        for number in range(10):
            open(f"{number}.csv").close()
        until = time.monotonic() + 60
        while "lineage" not in facts_of(experiment) and time.monotonic() < until:
            time.sleep(0.05)

    run(experiment, main)
    told = [call["facts"] for call in experiment.observers[0].of("facts_event") if call["name"] == "lineage"]
    assert [(len(facts["inputs"]), facts.get("left_out")) for facts in told] == [(3, 7), (10, None)]
