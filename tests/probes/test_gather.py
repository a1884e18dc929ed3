"""Probes side by side: in time, late, broken."""

from __future__ import annotations

import threading

import pytest

from capture.hooks import Probe, Unavailable
from capture.probes.gather import FunctionProbe, Gathering, gather


class Waiting:
    """A probe of another package: no base class, waits until it is let go."""

    timeout_s = 30.0

    def __init__(self, name="slow"):
        self.name, self.go = name, threading.Event()

    def gather(self):
        assert self.go.wait(30)
        return {"slow": True}


def test_facts_come_by_name():
    """Third-party probes need a name and a method, nothing else."""
    probe = Waiting("other")
    probe.go.set()
    assert gather([FunctionProbe("sum", sum, [1, 2]), probe], 30) == {"sum": 3, "other": {"slow": True}}
    assert gather([], 0) == {}


def test_probes_work_at_the_same_time():
    """The slowest one decides how long a start takes, not the sum."""
    meeting = threading.Barrier(3)
    probes = [FunctionProbe(str(number), lambda: meeting.wait(30) >= 0) for number in range(3)]
    assert gather(probes, 30) == {"0": True, "1": True, "2": True}


@pytest.mark.parametrize("error", [ValueError("why"), SystemExit("why"), KeyboardInterrupt("why")])
def test_a_probe_that_raises_is_unavailable_and_harms_no_other(error):
    """A plug-in must not break a run, not even by ending the process."""

    def fail():
        raise error

    facts = gather([FunctionProbe("bad", fail), FunctionProbe("good", dict)], 30)
    assert facts == {"bad": Unavailable(f"{type(error).__name__}: why"), "good": {}}


def test_a_late_probe_delivers_once_and_later():
    """A run starts without the slow facts, and has them in the end."""
    probe, heard, came = Waiting(), [], threading.Event()

    def on_late(name, facts):
        heard.append((name, facts))
        came.set()

    facts = gather([probe, FunctionProbe("fast", int)], 0.05, on_late)
    assert facts["fast"] == 0 and "no answer within" in facts["slow"].reason
    assert heard == []
    probe.go.set()
    assert came.wait(30)
    assert heard == [("slow", {"slow": True})]


def test_each_probe_has_a_limit_of_its_own():
    """One that is known to be slow must not use up everyone's time."""
    slow = Waiting()
    slow.timeout_s = 0.05
    assert isinstance(gather([slow], 3600)["slow"], Unavailable)
    slow.go.set()


def test_late_facts_that_nobody_can_take_are_logged(caplog):
    """Lost facts leave a trace."""
    probe, began = Waiting(), threading.Event()

    def on_late(name, facts):
        began.set()
        raise OSError("store gone")

    gathering = Gathering([probe], on_late)
    gathering.collect(0)
    probe.go.set()
    assert began.wait(30)
    for thread in threading.enumerate():
        if thread.name == "capture-probe-slow":
            thread.join(30)
    assert "late facts of the probe 'slow' are lost" in caplog.text and "store gone" in caplog.text


def test_probes_may_work_while_the_caller_does():
    """They are started before the configuration is put together, and collected after."""
    probe = Waiting()
    gathering = Gathering([probe])
    probe.go.set()
    assert gathering.collect(30) == {"slow": {"slow": True}}


def test_a_probe_that_hangs_does_not_keep_the_process():
    """A dead network disk must not turn the end of a run into a wait."""
    probe = Waiting()
    gather([probe], 0)
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "capture-probe-slow")
    probe.go.set()


@pytest.mark.parametrize("probes", [[Waiting("a"), Waiting("a")], [Waiting("")], [Waiting(3)], [object()], [Probe()]])
def test_probes_without_a_name_of_their_own_are_refused(probes):
    """Two kinds of facts under one name would hide each other."""
    with pytest.raises(ValueError, match="name"):
        gather(probes, 0)
