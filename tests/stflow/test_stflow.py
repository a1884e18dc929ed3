"""`LogFileWriter`, with a stand-in for TensorFlow that has its two writers and nothing else."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import threading
from types import ModuleType, SimpleNamespace

import pytest

from capture import Experiment
from capture.errors import CaptureError, NoRunError
from capture.stflow import LogFileWriter, MissingTensorFlowError


class FileWriter:
    """Writes event files, in TensorFlow."""

    def __init__(self, logdir, graph=None, max_queue=10):
        if logdir == "/forbidden":
            raise PermissionError(logdir)
        self.logdir, self.graph, self.max_queue = logdir, graph, max_queue


class OldFileWriter(FileWriter):
    def __init__(self, logdir, graph=None):
        self.logdir, self.graph = logdir, graph


@pytest.fixture
def tf(monkeypatch):
    """Give a tensorflow 1 that has its own writer beside that of compat.v1."""
    module = ModuleType("tensorflow")
    module.summary = SimpleNamespace(FileWriter=OldFileWriter)
    module.compat = SimpleNamespace(v1=SimpleNamespace(summary=SimpleNamespace(FileWriter=FileWriter)))
    monkeypatch.setitem(sys.modules, "tensorflow", module)
    return module


@pytest.fixture
def ex():
    return Experiment("with_tensorflow", observers=[])


def test_folders_of_writers_go_to_the_info(ex, tf):
    """Sacred's users look there for the curves of a run."""

    @ex.main
    def main(_run):
        FileWriter("/logs/before")
        with LogFileWriter(ex):
            first = tf.compat.v1.summary.FileWriter("/logs/1", max_queue=3)
            second = tf.summary.FileWriter(logdir=pathlib.PurePosixPath("/logs/2"))
        FileWriter("/logs/after")
        assert (first.logdir, first.max_queue, type(second)) == ("/logs/1", 3, OldFileWriter)

    assert ex.run().info == {"tensorflow": {"logdirs": ["/logs/1", "/logs/2"]}}


def test_it_decorates_main(ex, tf):
    """That is how Sacred's documentation shows it; the config must still reach the function."""

    @ex.config
    def config():
        folder = "/logs/9"

    @ex.main
    @LogFileWriter(ex)
    def main(folder, _run):
        FileWriter(folder)
        return folder

    run = ex.run()
    assert run.result == "/logs/9"
    assert run.info["tensorflow"]["logdirs"] == ["/logs/9"]
    assert ex.run().info["tensorflow"]["logdirs"] == ["/logs/9"]


def test_classes_are_as_before_afterwards(ex, tf):
    """Whatever happens in it; a second run must not note everything twice."""
    before = FileWriter.__init__, OldFileWriter.__init__

    @ex.main
    def main():
        with LogFileWriter(ex), LogFileWriter(ex):
            FileWriter("/logs/1")
            assert FileWriter.__init__ is not before[0] and FileWriter.__init__.__name__ == "__init__"
            with pytest.raises(PermissionError):
                FileWriter("/forbidden")
            raise KeyError("out")

    with pytest.raises(KeyError, match="out"):
        ex.run()
    assert (FileWriter.__init__, OldFileWriter.__init__) == before
    assert ex.current_run.info["tensorflow"]["logdirs"] == ["/logs/1"]


def test_two_experiments_in_two_threads_leave_the_classes_whole(ex, tf):
    """The one that ends first must not take away what the other still needs."""
    before = FileWriter.__init__
    inside, leave = threading.Event(), threading.Event()

    def other():
        with LogFileWriter(Experiment("other", observers=[])):
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=other)
    with LogFileWriter(ex):
        thread.start()
        assert inside.wait(60)
    assert FileWriter.__init__ is not before
    leave.set()
    thread.join(60)
    assert FileWriter.__init__ is before


def test_a_writer_outside_of_any_run_is_an_error_that_says_so(ex, tf):
    """There is no info to note it in; silence would look like success."""
    with LogFileWriter(ex), pytest.raises(NoRunError):
        FileWriter("/logs/1")


def test_without_tensorflow_the_error_says_what_to_do(ex, monkeypatch):
    """The module can be imported anywhere; using it needs TensorFlow."""
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingTensorFlowError, match="pip install tensorflow") as caught, LogFileWriter(ex):
        pass
    assert isinstance(caught.value, (ImportError, CaptureError))


def test_a_tensorflow_without_file_writers_is_named(ex, monkeypatch):
    """TensorFlow 2 keeps them in compat.v1; another may have none."""
    module = ModuleType("tensorflow")
    module.__version__ = "9.0"
    monkeypatch.setitem(sys.modules, "tensorflow", module)
    with pytest.raises(MissingTensorFlowError, match=r"tensorflow 9\.0 has neither"), LogFileWriter(ex):
        pass


def test_importing_it_imports_no_tensorflow():
    """It takes seconds to import, and few have it."""
    code = "import sys, capture.stflow; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)
