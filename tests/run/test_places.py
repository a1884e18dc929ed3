"""Where nothing can be written: the run goes on, and says what is not recorded."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import tempfile

import pytest

from capture import Experiment, start_run
from capture import spool as spool_module
from capture.errors import HookError, RequiredObserverError, SpoolError
from capture.observers.file import FileStorageObserver
from capture.testing import MemoryStore, RecordingObserver


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine with no home, no state folder, no temporary folder, and a store that cannot be made."""
    obstacle = tmp_path / "a file"
    obstacle.write_text("")
    monkeypatch.setenv("CAPTURE_STATE_DIR", str(obstacle / "state"))
    monkeypatch.setattr(tempfile, "tempdir", str(obstacle / "tmp"))
    return str(obstacle / "store")


def experiment(*observers):
    ex = Experiment("places", observers=list(observers))

    @ex.main
    def main(_run):
        _run.log_scalar("loss", 1)
        _run.add_artifact({"a": 1}, name="a.json")
        _run.add_resource(__file__)
        return 3

    return ex


def test_a_run_without_any_place_for_its_journal_goes_on_and_says_so(nowhere, caplog):
    """The results of a week of computing are worth more than their record."""
    run = experiment(nowhere).run()
    assert (run.status, run.result) == ("COMPLETED", 3)
    assert [record.levelno for record in caplog.records if "NOTHING OF THIS RUN" in record.message] == [logging.ERROR]


def test_unless_an_observer_is_required(nowhere):
    """Whoever adds it so would rather not compute at all."""
    observer = FileStorageObserver(nowhere)
    observer.required = True
    with pytest.raises(RequiredObserverError, match="CAPTURE_STATE_DIR"):
        experiment(observer).run()


def test_files_are_kept_in_the_state_folder_while_their_store_cannot_be_written(tmp_path, state_dir):
    """A share that is read-only today is writable tomorrow; then everything is delivered."""
    obstacle = tmp_path / "store"
    obstacle.write_text("")
    run = experiment(str(obstacle)).run()
    assert run.status == "COMPLETED"
    assert os.listdir(os.path.join(state_dir, "spool", run.uid, "held"))

    obstacle.unlink()
    from capture.delivery import sync

    report = sync(state_dir, [FileStorageObserver(obstacle)], retry_missed=True)[0]
    assert report.deleted
    assert (obstacle / "1" / "a.json").read_bytes() == b'{\n  "a": 1\n}\n'
    assert not os.path.exists(os.path.join(state_dir, "spool", run.uid))


def test_a_full_disk_costs_an_artifact_not_the_run(monkeypatch, caplog, tmp_path):
    """In the last epoch, add_artifact must not be what ends a training."""
    (tmp_path / "input").write_text("numbers")
    store = MemoryStore()
    ex = Experiment("full", observers=[store])

    @ex.main
    def main(_run):
        def full(*args):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(spool_module.os, "write", full)
            assert _run.add_artifact({"a": 1}, name="lost.json") == "lost.json"
            _run.add_resource(tmp_path / "input")
        _run.add_artifact({"a": 1}, name="kept.json")
        return 3

    run = ex.run()
    record = store.record(run.uid)
    assert [artifact.name for artifact in record.artifacts] == ["kept.json"]
    lost = [entry.message for entry in caplog.records if "is not recorded" in entry.message]
    assert len(lost) == 2 and all("No space left" in text for text in lost)


def test_a_file_that_is_not_there_is_the_users_mistake():
    """It is not to be mixed up with a fault of ours."""
    with start_run("plain", observers=[MemoryStore()]) as run, pytest.raises(FileNotFoundError):
        run.add_artifact("no such file")


def test_the_error_says_what_an_os_error_says():
    """It is one, and crosses process boundaries."""
    error = pickle.loads(pickle.dumps(SpoolError("the spool cannot be written: full")))
    assert isinstance(error, OSError) and str(error) == "the spool cannot be written: full"


def test_an_observer_that_is_refused_leaves_nothing_behind(state_dir):
    """A journal without a run would be delivered, and listed, for ever."""

    class Bad:
        def started_event(self, nonsense):
            pass

    with pytest.raises(HookError, match="nonsense"):
        start_run("plain", observers=[RecordingObserver(), Bad()])
    journals = os.path.join(state_dir, "journals")
    assert not os.path.exists(journals) or os.listdir(journals) == []


class TestAFilterOfTheUsersOwn:
    """`captured_out_filter`, applied to the whole output at each heartbeat."""

    def run(self, keep, beat_interval=0.0):
        observer = RecordingObserver()
        ex = Experiment("filtered", observers=[observer])
        ex.captured_out_filter = keep

        @ex.main
        def main():
            print("größe one")
            print("two")

        run = ex.run(options={"--capture": "sys", "--beat-interval": str(beat_interval)})
        text = b""
        for call in observer.of("output_event"):
            text = text[: call["offset"]] + call["text"].encode()
        return run, text.decode(), observer

    def test_its_text_is_recorded(self):
        """As in Sacred."""
        _, text, _ = self.run(lambda text: text.upper())
        assert "GRÖSSE ONE\nTWO\n" in text

    @pytest.mark.parametrize("broken", [lambda text: 1 / 0, lambda text: None], ids=["raises", "returns nothing"])
    def test_one_that_fails_costs_neither_the_output_nor_the_ending(self, broken, caplog):
        """The run would be RUNNING for ever, with no output at all."""
        run, text, observer = self.run(broken)
        assert run.status == "COMPLETED" and "completed_event" in observer.names
        assert "größe one\ntwo\n" in text
        assert caplog.text.count("captured_out_filter failed") == 1

    def test_only_what_is_new_is_recorded_again(self):
        """A gigabyte of output must not be written into the journal at each heartbeat."""
        from capture import Run

        pieces = []
        run = Run({}, captured_out_filter=lambda text: text)
        run._recorder.output = lambda text, offset: pieces.append((text, offset))
        for text in ("größe\n", "two\n"):
            run._keep_raw(text, len(run._raw_output))
            run._apply_filter()
        assert pieces == [("größe\n", 0), ("two\n", 8)]
