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
            assert self._more.wait_for(lambda: len(self) >= count, timeout=60), list(self)
        return dict(self)


def test_facts_are_reported_as_they_come():
    """One slow probe must not keep the facts of the others from a run that may be killed."""
    release, reports = threading.Event(), Reports()
    slow = FunctionProbe("slow", lambda: release.wait(60) and {"n": 1}, timeout_s=60)
    reporting = Reporting(lambda: [slow, FunctionProbe("quick", dict)], reports)
    assert reports.wait_for(1) == {"quick": {}}
    release.set()
    assert reports.wait_for(2)["slow"] == {"n": 1}
    reporting.close(60)
    assert len(reports) == 2


def test_a_probe_whose_time_is_up_is_unavailable_and_may_still_answer():
    """Saying nothing would look as if nobody had asked."""
    release, reports = threading.Event(), Reports()
    slow = FunctionProbe("slow", lambda: release.wait(60) and "facts", timeout_s=0.01)
    reporting = Reporting(lambda: [slow], reports)
    assert reports.wait_for(1) == {"slow": Unavailable("no answer within 0.01 s")}
    release.set()
    assert reports.wait_for(2) == {"slow": "facts"}
    reporting.close(60)


def test_a_probe_that_hangs_does_not_hold_up_the_end():
    """The end of a run is not the place to wait for somebody else's disk."""
    release, started, reports = threading.Event(), threading.Event(), Reports()

    def hang():
        started.set()
        release.wait(60)
        return "too late"

    reporting = Reporting(lambda: [FunctionProbe("hanging", hang, timeout_s=60)], reports)
    assert started.wait(60)
    reporting.close(0.01)
    assert reports == [("hanging", Unavailable("the run ended before there was an answer"))]
    release.set()
    reporting.close(0.01)
    for thread in threading.enumerate():
        if thread.name == "capture-probe":
            thread.join(60)
    assert len(reports) == 1, "something was reported after the end"


@pytest.mark.parametrize("error", [OSError("no such disk"), SystemExit(3), KeyboardInterrupt()])
def test_what_a_probe_raises_is_its_answer(error):
    """Other people's code may raise anything, and must not take the process with it."""

    def fail():
        raise error

    reports = Reports()
    Reporting(lambda: [FunctionProbe("failing", fail)], reports).close(60)
    assert reports == [("failing", Unavailable(f"{type(error).__name__}: {error}"))]


def test_an_error_while_probes_are_looked_for_is_logged(caplog):
    """The run goes on without them, and somebody can find out why."""

    def find():
        raise RuntimeError("a broken installation")

    reports = Reports()
    Reporting(find, reports).close(60)
    assert reports == []
    assert "a broken installation" in caplog.text


def test_an_end_that_comes_while_probes_are_still_loaded_is_logged(caplog):
    """Importing somebody's package may take longer than the run; that its facts are missing can be explained."""
    release, reports, asked = threading.Event(), Reports(), []

    def find():
        release.wait(60)
        return [FunctionProbe("late", lambda: asked.append(1))]

    with caplog.at_level("INFO", logger="capture"):
        reporting = Reporting(find, reports)
        reporting.close(0.01)
    assert "still being loaded" in caplog.text
    release.set()
    reporting.close(60)
    assert (reports, asked) == ([], [])


def test_facts_that_cannot_be_recorded_are_replaced_by_the_reason(caplog):
    """A plug-in returns anything; its topic must not be missing without a word, nor a traceback land on the terminal."""
    told = []

    def report(name, facts):
        if facts == "unwritable":
            raise TypeError("a lock is no JSON")
        told.append((name, facts))

    Reporting(lambda: [FunctionProbe("odd", lambda: "unwritable"), FunctionProbe("good", dict)], report).close(60)
    reason = "its answer cannot be recorded: TypeError: a lock is no JSON"
    assert sorted(told, key=lambda pair: pair[0]) == [("good", {}), ("odd", Unavailable(reason))]
    assert "facts of the probe 'odd' cannot be recorded" in caplog.text


def test_a_store_of_facts_that_is_gone_does_not_break_the_end(caplog):
    """The end of a run has more to tell than the facts of a probe."""
    release, started = threading.Event(), threading.Event()

    def report(name, facts):
        raise OSError("no space left on device")

    def hang():
        started.set()
        release.wait(60)

    reporting = Reporting(lambda: [FunctionProbe("hanging", hang, timeout_s=60)], report)
    assert started.wait(60)
    reporting.close(0.01)
    release.set()
    assert "no space left" in caplog.text


@pytest.mark.parametrize("bad", [FunctionProbe("good", list), FunctionProbe("", list), object()])
def test_a_probe_without_a_name_of_its_own_costs_the_others_nothing(bad, caplog):
    """Packages that know nothing of each other declare them."""
    reports = Reports()
    Reporting(lambda: [FunctionProbe("good", dict), bad], reports).close(60)
    assert reports == [("good", {})]
    assert "a probe is not asked" in caplog.text


@pytest.mark.parametrize("timeout_s", ["soon", None, float("nan"), -1])
def test_a_time_limit_that_is_none_is_replaced_and_logged(timeout_s, caplog):
    """Plug-ins are anybody's code."""
    reports = Reports()
    Reporting(lambda: [FunctionProbe("odd", dict, timeout_s=timeout_s), FunctionProbe("good", dict)], reports).close(60)
    assert dict(reports) == {"odd": {}, "good": {}}
    assert "is no number of seconds" in caplog.text


def test_a_probe_may_have_all_the_time_in_the_world():
    """What nobody can wait for must not break the waiting."""
    reports = Reports()
    Reporting(lambda: [FunctionProbe("patient", dict, timeout_s=float("inf"))], reports).close(60)
    assert reports == [("patient", {})]


def test_where_no_thread_can_be_started_the_one_there_is_asks(monkeypatch):
    """Shared machines limit the number of threads of a user."""
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == "capture-probe":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    reports = Reports()
    Reporting(lambda: [FunctionProbe("one", dict), FunctionProbe("other", list)], reports).close(60)
    assert dict(reports) == {"one": {}, "other": []}


def test_quick_probes_share_a_thread():
    """Starting threads, and their quarrel for the interpreter, cost a short run more than the facts do."""
    reports, idents = Reports(), []
    probes = [FunctionProbe(f"quick {number}", lambda: idents.append(threading.get_ident())) for number in range(5)]
    Reporting(lambda: probes, reports).close(60)
    assert len(reports) == len(idents) == 5
    assert len(set(idents)) == 1


def test_a_slow_probe_does_not_keep_the_others_waiting():
    """A network drive may take its time; the rest is known at once, also behind several such probes."""
    release, reports = threading.Event(), Reports()
    slow = [FunctionProbe(f"slow {number}", lambda: release.wait(60) and "at last") for number in range(3)]
    quick = [FunctionProbe(f"quick {number}", dict) for number in range(3)]
    reporting = Reporting(lambda: slow + quick, reports)
    assert reports.wait_for(3) == {f"quick {number}": {} for number in range(3)}
    release.set()
    reporting.close(60)
    assert len(dict(reports)) == 6
