"""Processes that a run forks: pools, data loaders, daemons."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys

import pytest

from capture import Experiment
from capture.testing import RecordingObserver

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


def status_of_child(act):
    """Fork, have the child do something, and return how it ended: an exit code, or a signal's number below 0."""
    child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_child_dies_of_the_signal_that_ends_it():
    """`Pool.__exit__` sends SIGTERM: each worker would print a traceback of ours, and seem to have failed."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ex = Experiment("forks", observers=[RecordingObserver()])
    found = []

    @ex.main
    def main():
        found.append(status_of_child(lambda: os.kill(os.getpid(), signal.SIGTERM)))
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL

    run = ex._create_run()
    run.owns_process = True
    try:
        run()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert found == [-signal.SIGTERM]


@pytest.mark.parametrize("what", ["log_scalar", "add_tags"])
def test_a_child_that_records_says_once_that_nothing_comes_of_it(what, tmp_path):
    """Numbers logged in a worker would be missing without a trace."""
    ex = Experiment("forks", observers=[RecordingObserver()])
    said = tmp_path / "said"

    def work(run):
        sys.stderr = open(said, "w", buffering=1)  # noqa: SIM115 - the process ends without cleaning up
        import logging

        logging.getLogger().handlers[:] = [logging.StreamHandler()]
        for i in range(3):
            run.log_scalar("x", i) if what == "log_scalar" else run.add_tags("t")
            run._recorder.metrics.flush()

    @ex.main
    def main(_run):
        status_of_child(lambda: work(_run))

    ex.run()
    assert said.read_text().count(f"{what}() was called in a forked process") == 1


def test_a_pool_works_inside_a_run():
    """The everyday case."""
    ex = Experiment("forks", observers=[RecordingObserver()])

    @ex.main
    def main():
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map(abs, [-1, -2])

    assert ex.run().result == [1, 2]
