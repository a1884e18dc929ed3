"""Ctrl-C and a batch system's signals at any moment: the process gets back what it had, and the record has its end."""

from __future__ import annotations

import contextlib
import linecache
import os
import signal
import sys
import threading

import pytest

from capture import SETTINGS, Experiment, context, journal, start_run
from capture.recorder import Recorder
from capture.signals import Hold, Preempted, Preemption
from capture.testing import RecordingObserver
from capture.unwatched import IDENTS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")

ENDINGS = {"completed_event", "interrupted_event", "failed_event"}


@pytest.fixture(autouse=True)
def passed_on(monkeypatch):
    """Note the signals that would end this process."""
    numbers = []
    monkeypatch.setattr(Preempted, "pass_on", lambda self: numbers.append(self.signum))
    return numbers


@pytest.fixture(autouse=True)
def defaults():
    """Python's own handlers, whatever the test runner's are."""
    kept = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def marks():
    """Take off the marks that interrupted threads leave, where only a tracer can interrupt them."""
    yield
    IDENTS.clear()


@pytest.fixture
def alone():
    """Leave out what is found out beside a run: a test of many runs takes its time, and other threads, too."""
    off = {"IMPORTS": False, "ENVIRONMENT": False, "PROCESS.ENABLED": False, "HOST_INFO.MACHINE": False}
    off |= {"LINEAGE.ENABLED": False, "GIT.ENABLED": False}
    groups = {name: SETTINGS[name.partition(".")[0]] if "." in name else SETTINGS for name in off}
    before = {name: groups[name][name.rpartition(".")[2]] for name in off}
    for values in (off, before):
        for name, value in values.items():
            groups[name][name.rpartition(".")[2]] = value
        if values is off:
            yield


def new_run(observer):
    ex = Experiment("interrupted", observers=[observer])

    @ex.main
    def main(_run):
        print("hello")
        _run.log_scalar("loss", 1)
        return 3

    run = ex._create_run(options={"--capture": "sys"})
    run.owns_process = True
    return run


@contextlib.contextmanager
def at_line(number, signum, file):
    """Send a signal to this process when the code in `file` reaches its `number`-th line.

    Not where only a tracer can, since no signal is looked at there: the line of a `with` comes up once more at its end,
    before the lock is given back, and a `try:` first in it is not yet within it.
    """
    seen = []

    def gives_back(frame):
        line = linecache.getline(file, frame.f_lineno).strip()
        if not line.startswith(("with self._lock", "try:")) or not hasattr(frame.f_locals.get("self"), "_lock"):
            return False
        return getattr(frame.f_locals["self"]._lock, "_is_owned", bool)()

    def local(frame, event, argument):
        if event == "line":
            seen.append(f"{frame.f_code.co_name}, line {frame.f_lineno}")
            if len(seen) == number and signal.getsignal(signum) is not signal.SIG_DFL and not gives_back(frame):
                signal.raise_signal(signum)
        return local

    def trace(frame, event, argument):
        return local if frame.f_code.co_filename == file else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield seen
    finally:
        sys.settrace(before)


def moments(file):
    """Return the numbers at which a run comes to each line of `file` for the first, the second and the last time.

    All of them would be many times the work: a line in a loop over the configuration comes up at each entry.
    """
    with at_line(sys.maxsize, signal.SIGINT, file) as seen:
        new_run(RecordingObserver())()
    numbers = {}
    for number, place in enumerate(seen, 1):
        numbers.setdefault(place, []).append(number)
    return sorted({number for times in numbers.values() for number in (*times[:2], times[-1])})


def problems_after(number, signum, file):
    """Interrupt a run at one line; return what is not as it should be, which is nothing if there are fewer lines."""
    observer = RecordingObserver()
    run, write, raised = new_run(observer), getattr(sys.stdout, "write", None), None
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    journals, threads = set(journal._OPEN), set(threading.enumerate())  # other tests may have left some
    with at_line(number, signum, file) as seen:
        try:
            run()
        except BaseException as error:
            raised = error
    if len(seen) < number:
        return []
    found = {
        "the run is still live": run in context.live_runs() or context.CONTEXT_RUN.get() is not None,
        "stdout is not as before": sys.stdout.write != write,
        "signal handlers stay": before != {each: signal.getsignal(each) for each in before},
        "the journal is open": bool(journal._OPEN - journals),
        "the run says RUNNING": run.status == "RUNNING",
        "the ticker goes on": any(thread.name == "capture-ticker" for thread in set(threading.enumerate()) - threads),
        "Ctrl-C was swallowed": signum == signal.SIGINT and not isinstance(raised, KeyboardInterrupt),
        # its start may not have been told yet; then nothing is told
        "the end was not told": "started_event" in observer.names and not ENDINGS & set(observer.names)
        and not os.listdir(os.path.join(os.environ["CAPTURE_STATE_DIR"], "journals")),
    }
    return [f"{seen[number - 1]}: {problem}" for problem, is_so in found.items() if is_so]


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("module", ["run", "recorder", "signals"])
def test_a_signal_at_any_line_leaves_the_process_as_it_was(module, signum, capsys, alone):
    """A notebook, a sweep or a test goes on in this process, with its own streams and handlers."""
    file = sys.modules[f"capture.{module}"].__file__
    numbers = moments(file)
    assert len(numbers) > 5
    assert [problem for number in numbers for problem in problems_after(number, signum, file)] == []


def test_ctrl_c_while_the_run_winds_down_is_not_forgotten(monkeypatch):
    """Somebody who wants a loop over a hundred runs to stop must not have to hit the right moment."""
    observer = RecordingObserver()
    run = new_run(observer)
    monkeypatch.setattr(run, "_last_look", lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        run()
    assert run.status == "COMPLETED" and "completed_event" in observer.names


def test_a_second_ctrl_c_gets_through(monkeypatch):
    """Where a disk hangs, the first one would be held back for ever."""

    def hang():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it was held back, too")

    run = new_run(RecordingObserver())
    monkeypatch.setattr(run, "_last_look", hang)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert not context.live_runs() and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_after_main_returned_still_ends_the_process(monkeypatch, passed_on):
    """The run is COMPLETED, and the batch system gets the process that it asked for."""
    run = new_run(RecordingObserver())
    monkeypatch.setattr(run, "_last_look", lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Preempted):  # since this process did not go
        run()
    assert run.status == "COMPLETED" and passed_on == [signal.SIGTERM]


@pytest.mark.parametrize("step", ["_log_end", "_stop_watching", "_stop_capture", "_last_look"])
def test_a_step_that_fails_at_the_end_keeps_nothing_else_from_being_done(step, monkeypatch, caplog):
    """A run that completed must not be recorded as RUNNING for ever because of a fault at its end."""
    observer = RecordingObserver()
    run = new_run(observer)
    stop = run._stop_capture

    def fail(*_):
        stop()
        raise ValueError("broken")

    monkeypatch.setattr(run, step, fail)
    run()
    assert [name for name in observer.names if name != "flush"][-2:] == ["completed_event", "join"]
    assert not context.live_runs() and "broken" in caplog.text
    if run._watching is not None:  # it was that step which was kept from being done
        run._watching._lineage.stop()


def test_another_thread_may_end_a_run_that_handles_signals(passed_on):
    """Python lets only the main thread change handlers; what stays must do what was done before."""
    run = new_run(RecordingObserver())
    run.main_function = None
    run.start()
    assert isinstance(signal.getsignal(signal.SIGTERM).__self__, Preemption)
    thread = threading.Thread(target=run.end)
    thread.start()
    thread.join()
    assert run.status == "COMPLETED"
    with contextlib.suppress(Preempted):  # the process would be gone
        signal.raise_signal(signal.SIGTERM)
    assert passed_on == [signal.SIGTERM]
    # the run is still this context's, since the thread could not reach it, but it is nobody's parent
    with start_run("next", observers=[]) as following:
        assert following.parent is None
    context.CONTEXT_RUN.set(None)


def test_holding_back_ends_where_it_began():
    """Handlers of somebody else's are left alone."""
    handler = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        mine = signal.getsignal(signal.SIGINT)
        hold = Hold()
        assert signal.getsignal(signal.SIGINT) is mine
        hold.release()
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, handler)


def test_a_run_started_by_hand_is_forgotten_when_it_has_ended():
    """A service that makes a thousand runs must not keep them until it exits."""
    import gc
    import weakref

    made = []
    for _ in range(3):
        run = start_run("short", observers=[])
        run.end()
        made.append(weakref.ref(run))
    for _ in range(2):
        start_run("later", observers=[]).end()
    del run
    gc.collect()
    assert [each() for each in made] == [None, None, None]


@pytest.mark.slow
def test_ctrl_c_inside_the_journal_leaves_it_writable(alone):
    """If it took itself to be busy for ever, whatever happens later would be lost, the ending first."""
    file, lost = journal.__file__, []
    for number in moments(file):
        observer = RecordingObserver()
        run = new_run(observer)
        with at_line(number, signal.SIGINT, file) as seen, contextlib.suppress(KeyboardInterrupt):
            run()
        if number <= len(seen) and isinstance(run._recorder, Recorder) and run._recorder.journal._busy:
            lost.append(seen[number - 1])
        for each in list(journal._OPEN):
            each.close()
    # a line event at the head of the `finally` is the tracer's: no signal is looked at between there and its end
    with open(file) as stream:
        lines = stream.read().split("\n")
    assert [place for place in lost if "_busy = False" not in lines[int(place.rpartition(" ")[2]) - 1]] == []
