"""Sacred's queue observers are names: what they did is done for every observer."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from capture import Experiment, events
from capture.calls import check_hooks, hooks_of
from capture.errors import HookError, ObserverError
from capture.observers import FileStorageObserver, FileStoreReader, QueuedMongoObserver, QueueObserver, RunObserver
from capture.testing import Story, tell
from capture.testing.contract import uid


class SacredStyle(RunObserver):
    """An observer as packages for Sacred have them: it knows nothing of uids and keeps one run in its attributes."""

    def __init__(self):
        self.heard = []

    def started_event(self, ex_info, command, host_info, start_time, config, meta_info, _id):
        self.heard.append("started")
        return 7

    def heartbeat_event(self, info, captured_out, beat_time, result):
        self.heard.append(captured_out)

    def log_metrics(self, metrics_by_name, info):
        self.heard.append({name: each["values"] for name, each in metrics_by_name.items()})

    def completed_event(self, stop_time, result):
        self.heard.append(result)


def test_it_has_the_hooks_of_what_it_covers_and_no_others():
    """A hook too many would be called with nothing behind it; one too few loses what it stands for."""
    covered = SacredStyle()
    for plain in (covered, FileStorageObserver("runs")):
        hooks, own = hooks_of(QueueObserver(plain)), hooks_of(plain)
        assert {name: hook.wanted for name, hook in hooks.items()} == {name: hook.wanted for name, hook in own.items()}


def test_a_covered_store_is_told_everything_once(tmp_path):
    """In Sacred a covered file store with one measurement never came to its end."""
    queue = QueueObserver(FileStorageObserver(tmp_path / "runs"), interval=0.01, retry_interval=0.01)
    story = Story(tmp_path / "told", uid("01")).start().metrics(loss=[3.0, 2.0])
    story.add(events.Output(text="hello\n", offset=0)).artifact("a.txt", b"a").complete(5)
    assert tell(queue, story) == tell(queue, story)
    (record,) = FileStoreReader(tmp_path / "runs").find()
    assert (record.status, record.result, record.output) == ("COMPLETED", 5, "hello\n")
    assert record.metrics["loss"].values == [3.0, 2.0]


def test_a_run_with_a_covered_observer_of_sacreds_kind_ends(tmp_path):
    """Experiments that were written for Sacred wrap whatever they use."""
    covered = SacredStyle()
    ex = Experiment("queue", interactive=True, observers=[QueueObserver(covered)])

    @ex.main
    def main(_run):
        _run.log_scalar("loss", 1.5, 0)
        return "done"

    run = ex.run()
    assert run._id == 7
    assert covered.heard[0] == "started"
    assert {"loss": [1.5]} in covered.heard
    assert covered.heard[-1] == "done"


def test_it_answers_for_what_it_covers(tmp_path):
    """Identity above all: leftovers of a run are delivered by it."""
    covered = FileStorageObserver(tmp_path / "runs", priority=33)
    queue = QueueObserver(covered)
    assert queue.identity == covered.identity
    assert queue.priority == 33
    assert queue.supports == covered.supports
    assert queue.basedir == covered.basedir
    assert queue == QueueObserver(covered)
    assert queue == covered
    assert queue.transient(ConnectionError())
    assert QueueObserver(SacredStyle()).transient(TimeoutError())
    assert QueueObserver(SacredStyle()).identity is None


def test_a_copy_covers_a_copy():
    """Of an observer that keeps one run in its attributes, runs that go on at once get a copy each."""
    queue = QueueObserver(SacredStyle())
    assert copy.copy(queue)._covered_observer is not queue._covered_observer


def test_it_survives_pickling(tmp_path):
    """Sweeps hand observers to other processes."""
    queue = pickle.loads(pickle.dumps(QueueObserver(FileStorageObserver(tmp_path))))
    assert queue.basedir == str(tmp_path)


def test_what_is_no_observer_is_refused():
    """At once, where the mistake is; not in an hour."""
    for wrong in (None, 3, FileStorageObserver):
        with pytest.raises(ObserverError, match="is none"):
            QueueObserver(wrong)


def test_a_wrong_hook_of_the_covered_observer_is_refused(tmp_path):
    """A wrapper must not hide the mistake until the hook is called."""

    class Wrong(RunObserver):
        def started_event(self, nonsense):
            """Declares what nobody passes."""

    with pytest.raises(HookError):
        check_hooks(QueueObserver(Wrong()))


def test_the_mongo_form_takes_sacreds_arguments():
    """By position, too, as old scripts pass them."""
    observer = QueuedMongoObserver(5.0, 2.0, "db.example:27018", "lab", priority=31)
    assert observer.identity == "mongodb://db.example:27018/lab"
    assert (observer.priority, observer.interval, observer.retry_interval) == (31, 5.0, 2.0)
    assert list(inspect.signature(QueuedMongoObserver).parameters)[:8] == [
        "interval", "retry_interval", "url", "db_name", "collection", "overwrite", "priority", "client",
    ]  # fmt: skip


def test_the_mongo_form_is_found_where_sacred_has_it():
    """Old scripts import it from the module of the Mongo observer."""
    from capture.observers import mongo

    assert mongo.QueuedMongoObserver is QueuedMongoObserver
    with pytest.warns(DeprecationWarning):
        QueuedMongoObserver.create(url="localhost")
