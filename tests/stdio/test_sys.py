"""Capture of `sys.stdout` and `sys.stderr`, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import io
import logging
import os
import pickle
import sys
import threading

import pytest

from capture.errors import CaptureError
from capture.stdio import default_mode, start_capture
from capture.terminal import OutputLog


class Log(OutputLog):
    """An `OutputLog` whose record is a string."""

    def __init__(self):
        self.data = b""
        super().__init__(self._apply, min_interval_s=0.0)

    def _apply(self, text, offset):
        self.data = self.data[:offset] + text.encode()

    @property
    def text(self):
        self.flush()
        return self.data.decode()


@pytest.fixture
def streams():
    """Fresh streams with everything a real one has; `conftest.py` puts them in place for the call of the test."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    yield out, err
    assert "write" not in vars(out) and "write" not in vars(err), "a tap was left behind"


def written(stream):
    stream.flush()
    return stream.buffer.getvalue().decode("utf-8", "backslashreplace")


def test_what_is_printed_goes_on_and_is_recorded(streams):
    """The point of it."""
    log = Log()
    with start_capture("sys", log):
        print("out")
        print("err", file=sys.stderr)
        sys.stdout.writelines(["a", "b\n"])
    print("after")
    assert log.text == "out\nerr\nab\n"
    assert written(streams[0]) == "out\nab\nafter\n"
    assert written(streams[1]) == "err\n"
    assert sys.stdout is streams[0] and sys.stderr is streams[1]


def test_bytes_written_to_the_buffer_are_recorded(streams):
    """Programs that write binary text go below `write`."""
    log = Log()
    with start_capture("sys", log):
        sys.stdout.buffer.write("é".encode()[:1])
        sys.stdout.buffer.write("é".encode()[1:] + b"\xff\n")
        sys.stdout.buffer.write(memoryview(b"view\n"))
    assert log.text == "é\\xff\nview\n"


def test_the_stream_looks_and_behaves_as_before(streams):
    """Libraries ask streams all sorts of things."""
    out = streams[0]
    with start_capture("sys", Log()):
        assert isinstance(sys.stdout, io.TextIOWrapper)
        assert (sys.stdout.encoding, sys.stdout.errors, sys.stdout.closed) == (out.encoding, out.errors, False)
        assert sys.stdout.isatty() is False and sys.stdout.writable() and repr(sys.stdout) == repr(out)
        with pytest.raises(io.UnsupportedOperation):
            sys.stdout.fileno()
        sys.stdout.mark = 1
        assert out.mark == 1
        del sys.stdout.mark
        assert not hasattr(sys.stdout, "mark")
        sys.stdout.reconfigure(encoding="latin-1")
        print("é")
        assert sys.stdout.write("ab") == 2
    assert out.buffer.getvalue() == b"\xe9\nab"


def test_handlers_that_hold_the_old_stream_are_recorded(streams):
    """`logging.basicConfig()` at import time holds the stream of before the run."""
    handler = logging.StreamHandler()
    log = Log()
    with start_capture("sys", log):
        handler.emit(logging.makeLogRecord({"msg": "logged"}))
    assert log.text == "logged\n"


def test_handlers_made_in_one_run_are_recorded_in_the_next(streams):
    """They hold the stream of during the run."""
    first, second = Log(), Log()
    with start_capture("sys", first):
        handler = logging.StreamHandler()
    handler.emit(logging.makeLogRecord({"msg": "between"}))
    with start_capture("sys", second):
        handler.emit(logging.makeLogRecord({"msg": "inside"}))
    assert (first.text, second.text) == ("", "inside\n")
    assert written(streams[1]) == "between\ninside\n"


def test_a_stream_that_the_user_put_there_stays(streams):
    """What somebody sets and does not restore is theirs."""
    mine = io.StringIO()
    log = Log()
    with start_capture("sys", log):
        sys.stdout = mine
        print("mine")
    assert sys.stdout is mine
    assert log.text == ""


def test_a_tee_of_the_user_on_top_is_recorded_once(streams):
    """Wrappers that write through to ours."""

    class Tee:
        def __init__(self, below):
            self.below = below

        def write(self, text):
            return self.below.write(text)

    log = Log()
    with start_capture("sys", log):
        sys.stdout = Tee(sys.stdout)
        print("x")
    assert log.text == "x\n"


def test_a_patch_on_top_of_ours_stays(streams):
    """Other recorders replace `write` as we do; whoever comes last goes first."""
    out = streams[0]
    log, seen = Log(), []
    capture = start_capture("sys", log)
    below = out.write
    out.write = lambda text: (seen.append(text), below(text))[1]
    capture.stop()
    log.close()  # what was put on top still calls what it found below
    out.write("x")
    assert seen == ["x"] and log.text == "" and written(out) == "x"
    del out.write


def test_redirection_inside_the_run_works_as_usual(streams):
    """`contextlib.redirect_stdout` keeps its output to itself and restores ours."""
    log = Log()
    with start_capture("sys", log):
        with contextlib.redirect_stdout(io.StringIO()) as kept:
            print("kept")
        print("shown")
    assert kept.getvalue() == "kept\n"
    assert log.text == "shown\n"


@pytest.mark.parametrize("stream", [None, "closed"])
def test_missing_and_closed_streams_are_no_obstacle(monkeypatch, stream):
    """pythonw has none; some servers close theirs."""
    if stream == "closed":
        stream = io.StringIO()
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    log = Log()
    with start_capture("sys", log):
        print("err", file=sys.stderr)
    assert log.text == "err\n"


def test_streams_that_take_no_attributes_are_recorded(monkeypatch):
    """A class with slots cannot be tapped in place."""

    class Slots:
        __slots__ = ("data",)

        def write(self, text):
            self.data = getattr(self, "data", "") + text
            return len(text)

        def flush(self):
            pass

    stream = Slots()
    monkeypatch.setattr(sys, "stdout", stream)
    log = Log()
    with start_capture("sys", log):
        print("x", flush=True)
    assert sys.stdout is stream
    assert log.text == stream.data == "x\n"


def test_pytests_own_capture_goes_on(capsys):
    """People run experiments in tests."""
    log = Log()
    with start_capture("sys", log):
        print("x")
    assert log.text == "x\n"
    assert capsys.readouterr().out == "x\n"


def test_a_notebooks_stream_is_recorded(monkeypatch):
    """Sacred loses all `print()` in notebooks; theirs is no file and may be written to by the kernel's own thread."""
    iostream = pytest.importorskip("ipykernel.iostream")

    class Stream(iostream.OutStream):
        """One that sends nothing: there is no kernel here."""

        def __init__(self):
            self.sent = ""

        def write(self, text):
            self.sent += text
            return len(text)

        def flush(self):
            pass

        def close(self):
            pass

    Stream.__module__ = iostream.__name__
    stream = Stream()
    monkeypatch.setattr(sys, "stdout", stream)
    log = Log()
    with start_capture("sys", log):
        assert default_mode(True) == "sys"
        print("in a cell")
    assert log.text == stream.sent == "in a cell\n"
    assert sys.stdout is stream


# ------------------------------------------------------------------------------------------------- whose output it is


def test_concurrent_runs_in_threads_do_not_mix(streams):
    """Two runs in one process have two records."""
    logs = [Log(), Log()]
    barrier = threading.Barrier(2)

    def run(index):
        with start_capture("sys", logs[index]):
            barrier.wait(60)
            for i in range(200):
                print(f"run {index} line {i}")
            barrier.wait(60)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, log in enumerate(logs):
        assert log.text == "".join(f"run {index} line {i}\n" for i in range(200))


def test_concurrent_runs_in_tasks_do_not_mix(streams):
    """Tasks have contexts of their own."""
    logs = [Log(), Log()]

    async def run(index):
        with start_capture("sys", logs[index]):
            for i in range(3):
                print(index, i)
                await asyncio.sleep(0)

    async def main():
        await asyncio.gather(run(0), run(1))

    asyncio.run(main())
    assert [log.text for log in logs] == ["0 0\n0 1\n0 2\n", "1 0\n1 1\n1 2\n"]


def test_a_plain_thread_belongs_to_the_only_run(streams):
    """Threads inherit no context, and most programs have one run."""
    log = Log()
    with start_capture("sys", log):
        thread = threading.Thread(target=print, args=("thread",))
        thread.start()
        thread.join()
    assert log.text == "thread\n"


def test_a_plain_thread_among_several_runs_is_recorded_by_all(streams):
    """A line too many is better than one lost."""
    one, two = Log(), Log()
    first = contextvars.copy_context().run(start_capture, "sys", one)
    second = contextvars.copy_context().run(start_capture, "sys", two)
    print("whose?")
    second.stop()
    print("the other's")
    first.stop()
    assert (one.text, two.text) == ("whose?\nthe other's\n", "whose?\n")


def test_a_nested_run_is_recorded_by_itself_and_by_those_around_it(streams):
    """As one sees it on the screen."""
    outer, inner = Log(), Log()
    with start_capture("sys", outer):
        print("a")
        with start_capture("sys", inner):
            print("b")
            thread = threading.Thread(target=print, args=("thread",))
            thread.start()
            thread.join()
        print("c")
    assert inner.text == "b\n"
    assert outer.text == "a\nb\nthread\nc\n"


def test_an_owner_says_whose_output_it_is(streams):
    """Functions bound to a run print for that run, in whatever thread."""
    owner = contextvars.ContextVar("owner", default=None)
    logs = {}
    captures = []
    for name in ("one", "two"):
        logs[name] = Log()
        owner.set(name)
        captures.append(contextvars.copy_context().run(start_capture, "sys", logs[name], owner))
    for name in ("two", "one"):
        owner.set(name)
        print(name)
    owner.set(None)
    for capture in captures:
        capture.stop()
    assert (logs["one"].text, logs["two"].text) == ("one\n", "two\n")


def test_a_suspended_capture_records_nothing(streams):
    """And the one around it goes on."""
    log = Log()
    with start_capture("sys", log) as capture:
        capture.suspend()
        print("not this")
        capture.resume()
        print("this")
    assert log.text == "this\n"


def test_stopping_from_another_thread_and_twice_is_harmless(streams):
    """The end of a run may come from a timer."""
    log = Log()
    capture = start_capture("sys", log)
    thread = threading.Thread(target=capture.stop)
    thread.start()
    thread.join()
    capture.stop()
    print("after")
    assert log.text == ""
    with start_capture("sys", log):
        print("next")
    assert log.text == "next\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_prints_on_and_records_nothing(program):
    """Its record is the parent's, which it must not touch."""
    code = """\
    print("parent", flush=True)
    child = os.fork()
    if child == 0:
        print("child", flush=True)
        capture.stop()
        log.close()
        os._exit(0)
    os.waitpid(child, 0)
    """
    done = program.run(code, mode="sys")
    assert done.out == b"parent\nchild\n"
    assert done.record == b"parent\n"


# ------------------------------------------------------------------------------------------------- modes


def test_an_unknown_mode_is_refused_with_those_there_are():
    """Sacred raises KeyError, and says no more."""
    with pytest.raises(KeyError) as caught:
        start_capture("fds", Log())
    assert isinstance(caught.value, CaptureError)
    assert "did you mean:  fd" in str(caught.value) and "fd, sys, no" in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_mode_no_captures_nothing(streams):
    """And has the same methods."""
    log = Log()
    with start_capture("no", log) as capture:
        print("x")
        capture.flush()
        capture.suspend()
        capture.resume()
    assert (capture.mode, log.text) == ("no", "")


def test_descriptors_are_captured_only_by_a_script_of_its_own(monkeypatch):
    """A library that is called must not rearrange its caller's descriptors."""
    assert default_mode(False) == "sys"
    assert default_mode(True) == "sys", "this is a test runner"
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    assert default_mode(True) == ("fd" if os.name == "posix" else "sys")
    modes = []
    thread = threading.Thread(target=lambda: modes.append(default_mode(True)))
    thread.start()
    thread.join()
    assert modes == ["sys"]


def test_importing_it_is_light(program):
    """It is on the path of every hello-world."""
    code = """\
    import sys
    heavy = {"subprocess", "tempfile", "logging", "re", "ctypes", "inspect", "dataclasses", "selectors"}
    before = set(sys.modules)
    import capture.piping, capture.stdio, capture.tapping, capture.terminal
    assert not heavy & (set(sys.modules) - before), heavy & set(sys.modules)
    """
    import subprocess
    import textwrap

    command = [sys.executable, "-c", textwrap.dedent(code)]
    assert subprocess.run(command, env=program.environment, check=False).returncode == 0
