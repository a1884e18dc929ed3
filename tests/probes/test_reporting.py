"""Probes that work beside a run: what is reported, when, and what is said of those that do not answer."""

from __future__ import annotations

import threading

import pytest

from capture.hooks import Unavailable
from capture.probes.gather import FunctionProbe, Reporting


class Reports(list):
    """Takes reports, and lets a test wait for them."""

    def __init__(self):
        self._more = threading.Condition()

    def __call__(self, name, facts):
        with self._more:
            self.append((name, facts))
            self._more.notify_all()

    def wait_for(self, count):
        with self._more:
            assert self._more.wait_for(lambda: len(self) >= count, timeout=10), list(self)
        return dict(self)


def test_facts_are_reported_as_they_come():
    """One slow probe must not keep the facts of the others from a run that may be killed."""
    release, reports = threading.Event(), Reports()
    slow = FunctionProbe("slow", lambda: release.wait(10) and {"n": 1}, timeout_s=10)
    reporting = Reporting(lambda: [slow, FunctionProbe("quick", dict)], reports)
    assert reports.wait_for(1) == {"quick": {}}
    release.set()
    assert reports.wait_for(2)["slow"] == {"n": 1}
    reporting.close(10)
    assert len(reports) == 2


def test_a_probe_whose_time_is_up_is_unavailable_and_may_still_answer():
    """Saying nothing would look as if nobody had asked."""
    release, reports = threading.Event(), Reports()
    slow = FunctionProbe("slow", lambda: release.wait(10) and "facts", timeout_s=0.01)
    reporting = Reporting(lambda: [slow], reports)
    assert reports.wait_for(1) == {"slow": Unavailable("no answer within 0.01 s")}
    release.set()
    assert reports.wait_for(2) == {"slow": "facts"}
    reporting.close(10)


def test_a_probe_that_hangs_does_not_hold_up_the_end():
    """The end of a run is not the place to wait for somebody else's disk."""
    release, started, reports = threading.Event(), threading.Event(), Reports()

    def hang():
        started.set()
        release.wait(10)
        return "too late"

    reporting = Reporting(lambda: [FunctionProbe("hanging", hang, timeout_s=60)], reports)
    assert started.wait(10)
    reporting.close(0.01)
    assert reports == [("hanging", Unavailable("the run ended before there was an answer"))]
    release.set()
    reporting.close(0.01)
    for thread in threading.enumerate():
        if thread.name == "capture-probe-hanging":
            thread.join(10)
    assert len(reports) == 1, "something was reported after the end"


@pytest.mark.parametrize("error", [OSError("no such disk"), SystemExit(3), KeyboardInterrupt()])
def test_what_a_probe_raises_is_its_answer(error):
    """Other people's code may raise anything, and must not take the process with it."""

    def fail():
        raise error

    reports = Reports()
    Reporting(lambda: [FunctionProbe("failing", fail)], reports).close(10)
    assert reports == [("failing", Unavailable(f"{type(error).__name__}: {error}"))]


def test_an_error_while_probes_are_looked_for_is_logged(caplog):
    """The run goes on without them, and somebody can find out why."""

    def find():
        raise RuntimeError("a broken installation")

    reports = Reports()
    Reporting(find, reports).close(10)
    assert reports == []
    assert "a broken installation" in caplog.text


def test_an_end_that_comes_while_probes_are_still_loaded_is_logged(caplog):
    """Importing somebody's package may take longer than the run; that its facts are missing can be explained."""
    release, reports, asked = threading.Event(), Reports(), []

    def find():
        release.wait(10)
        return [FunctionProbe("late", lambda: asked.append(1))]

    with caplog.at_level("INFO", logger="capture"):
        reporting = Reporting(find, reports)
        reporting.close(0.01)
    assert "still being loaded" in caplog.text
    release.set()
    reporting.close(10)
    assert (reports, asked) == ([], [])
