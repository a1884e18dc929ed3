"""Sacred's documented module `host_info`."""

from __future__ import annotations

import contextvars
import threading

import pytest

import capture.host_info as module
from capture.hooks import Unavailable
from capture.host_info import HostInfoGetter, IgnoreHostInfo, get_host_info, host_info_gatherer, host_info_getter
from capture.probes import getters, gpu
from capture.settings import SETTINGS


@pytest.fixture(autouse=True)
def no_driver(monkeypatch):
    monkeypatch.setattr(gpu, "driver_present", lambda: False)
    monkeypatch.setattr(gpu, "_found", [])
    monkeypatch.setattr(getters, "host_info_gatherers", {})


def test_the_keys_are_sacred_s_and_what_is_unknown_is_left_out():
    """Viewers made for Sacred read them by name."""
    assert set(get_host_info()) == {"hostname", "os", "python_version", "cpu", "ENV"}


def test_what_is_switched_off_is_none(monkeypatch):
    """Sacred tells "not wanted" from "not there"."""
    monkeypatch.setenv("LAB", "x")
    facts = get_host_info(include_gpu=False, include_cpu=False, captured_env=["LAB"])
    assert (facts["gpus"], facts["cpu"], facts["ENV"]) == (None, None, {"LAB": "x"})


def test_the_settings_decide_where_the_caller_does_not(monkeypatch):
    """HOST_INFO.* are Sacred's settings."""
    before = SETTINGS.HOST_INFO.INCLUDE_GPU_INFO
    SETTINGS.HOST_INFO.INCLUDE_GPU_INFO = False
    try:
        assert get_host_info()["gpus"] is None
    finally:
        SETTINGS.HOST_INFO.INCLUDE_GPU_INFO = before


def test_a_gatherer_adds_a_key():
    """Labs record their queue, their licences, their weather."""

    @host_info_gatherer("queue")
    def queue():
        return {"partition": "gpu"}

    assert isinstance(queue, HostInfoGetter) and queue.name == "queue"
    assert queue() == queue.get_info() == {"partition": "gpu"}
    assert get_host_info([queue])["queue"] == {"partition": "gpu"}


def test_a_gatherer_may_leave_its_key_out():
    """What only some machines have need not be null on the others."""

    @host_info_gatherer("queue")
    def queue():
        raise IgnoreHostInfo

    assert "queue" not in get_host_info([queue])


def test_a_gatherer_that_fails_is_logged_and_left_out(caplog):
    """A fact is not worth a run."""

    @host_info_gatherer("queue")
    def queue():
        raise OSError("no scheduler")

    assert "queue" not in get_host_info([queue])
    assert "'queue' could not be gathered" in caplog.text and "no scheduler" in caplog.text


@pytest.mark.parametrize("name", getters.DEFAULT_KEYS)
def test_a_built_in_key_cannot_be_replaced(name):
    """Two meanings under one name would make runs incomparable."""
    with pytest.raises(KeyError, match=name):
        get_host_info([HostInfoGetter(dict, name)])
    with pytest.warns(DeprecationWarning), pytest.raises(KeyError, match=name):
        host_info_getter(dict, name)


def test_the_deprecated_getter_adds_to_every_experiment(monkeypatch):
    """Old scripts use it; it warns and works."""
    with pytest.warns(DeprecationWarning, match="host_info_gatherer"):

        @host_info_getter
        def uptime():
            return 3

    assert uptime() == 3
    assert get_host_info()["uptime"] == 3


def test_gpus_that_answer_late_do_not_hold_up_the_run(monkeypatch):
    """A sleeping driver takes seconds to wake; its facts come when they come."""
    awake, came, heard = threading.Event(), threading.Event(), []

    def slow(timeout_s=5.0):
        awake.wait(30)
        return {"driver_version": "1", "gpus": []}

    monkeypatch.setattr(gpu, "driver_present", lambda: True)
    monkeypatch.setattr(gpu, "gpu_facts", slow)
    facts = get_host_info(wait_s=0.05, on_late=lambda name, late: (heard.append((name, late)), came.set()))
    assert "gpus" not in facts
    awake.set()
    assert came.wait(30)
    assert heard == [("gpus", {"driver_version": "1", "gpus": []})]
    assert get_host_info()["gpus"] == {"driver_version": "1", "gpus": []}


def test_the_module_offers_sacred_s_names():
    """Scripts import them from here."""
    names = {"HostInfoGetter", "IgnoreHostInfo", "get_host_info", "host_info_gatherer", "host_info_getter"}
    assert names <= set(module.__all__)


@pytest.mark.slow
def test_an_addition_that_hangs_is_left_out_and_logged(caplog):
    """A scheduler that does not answer must not keep an experiment from starting."""
    release = threading.Event()
    additions = [HostInfoGetter(lambda: release.wait(60), "queue"), HostInfoGetter(lambda: 7, "rack")]
    facts = get_host_info(additions, include_gpu=False, include_cpu=False, addition_wait_s=3)
    release.set()
    assert facts["rack"] == 7 and "queue" not in facts
    assert "host info 'queue' is left out: no answer within" in caplog.text


def test_additions_work_side_by_side():
    """The slowest one decides how long a start takes, not the sum."""
    meeting = threading.Barrier(3)
    additions = [HostInfoGetter(lambda: meeting.wait(30) >= 0, name) for name in ("a", "b", "c")]
    facts = get_host_info(additions, include_gpu=False, include_cpu=False)
    assert [facts[name] for name in ("a", "b", "c")] == [True, True, True]


def test_an_addition_sees_the_context_of_the_run():
    """It may ask for what is current there; that it has a thread of its own must not show."""
    current = contextvars.ContextVar("current")
    current.set("here")
    facts = get_host_info([HostInfoGetter(current.get, "where")], include_gpu=False, include_cpu=False)
    assert facts["where"] == "here"


def test_an_addition_that_ends_the_process_is_left_out(caplog):
    """Whatever it raises is about itself, not about the run."""

    def leave():
        raise SystemExit(3)

    facts = get_host_info([HostInfoGetter(leave, "queue")], include_gpu=False, include_cpu=False)
    assert "queue" not in facts and "SystemExit" in caplog.text


def test_a_driver_that_refuses_is_told_of_at_once(monkeypatch):
    """Nobody must wait for an answer that will not come; the reason is what is left to record."""
    reason = Unavailable("nvmlInit_v2 of NVML failed with code 18; nvidia-smi ended with code 255")
    monkeypatch.setattr(gpu, "driver_present", lambda: True)
    monkeypatch.setattr(gpu, "gpu_facts", lambda: reason)
    heard = []
    facts = get_host_info(wait_s=30, on_late=lambda *told: heard.append(told), include_cpu=False)
    assert "gpus" not in facts and heard == [("gpus", reason)]
