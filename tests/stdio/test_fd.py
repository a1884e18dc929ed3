"""Capture of file descriptors, in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="mode fd is POSIX only; elsewhere it is mode sys")

HELLO = """\
print("hello from python")
os.write(1, b"hello from os.write\\n")
subprocess.run(["echo", "hello from a child"])
import ctypes
ctypes.CDLL(None).puts(b"hello from C")
"""


def lines(data):
    return sorted(data.decode().splitlines())


def wait_until(condition, what, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.01)


# ------------------------------------------------------------------------------------------------- all of it


@pytest.mark.parametrize("stdout", ["pipe", "file"])
def test_python_c_and_children_are_recorded_and_reach_stdout(program, tmp_path, stdout):
    """What Sacred's default mode loses whenever stdout is not a terminal."""
    if stdout == "pipe":
        done = program.run(HELLO)
        out = done.out
    else:
        with open(tmp_path / "out", "wb") as file:
            done = program.run(HELLO, stdout=file)
        out = (tmp_path / "out").read_bytes()
    expected = ["hello from C", "hello from a child", "hello from os.write", "hello from python"]
    assert (done.rc, done.err) == (0, b"")
    assert lines(done.record) == expected
    assert lines(out) == expected


MANY = """\
import ctypes
puts = ctypes.CDLL(None).puts
for run in range(200):
    print("python", run)
    os.write(1, b"raw %d\\n" % run)
    puts(b"c %d" % run)
    if run % 20 == 0:
        subprocess.run(["echo", "child %d" % run])
    capture.stop()
    log.close()
    os.rename("record", f"record{run}")
    log = OutputLog(Record())
    capture = start_capture(MODE, log)
"""


@pytest.mark.slow
@pytest.mark.parametrize("stdout", ["pipe", "file", "terminal"])
def test_two_hundred_runs_lose_nothing(program, tmp_path, stdout):
    """The end of the output is where the races are."""
    if stdout == "terminal":
        from tests.stdio.test_terminals import run_in_terminal

        run_in_terminal(program, MANY)
    else:
        with open(tmp_path / "out", "wb") as file:
            target = {"stdout": file} if stdout == "file" else {}
            assert program.run(MANY, **target).rc == 0
    for run in range(200):
        expected = [f"c {run}", *([f"child {run}"] if run % 20 == 0 else []), f"python {run}", f"raw {run}"]
        assert lines(program.record(f"record{run}")) == expected


def test_stdout_and_stderr_keep_their_destinations_and_are_recorded_together(program):
    """Sacred's record has both; the shell has them apart."""
    done = program.run("print('out'); print('err', file=sys.stderr)")
    assert (done.out, done.err) == (b"out\n", b"err\n")
    assert lines(done.record) == ["err", "out"]


def test_their_order_is_exact_where_they_lead_to_the_same_place(program):
    """`2>&1` is how logs are made."""
    code = "for i in range(500):\n    os.write(1 + i % 2, b'%d\\n' % i)"
    done = program.run(code, stderr=subprocess.STDOUT)
    assert done.record == b"".join(b"%d\n" % i for i in range(500)) == done.out


def test_bytes_that_are_not_text_pass_through_unchanged(program):
    """The record is text; the destination gets what was written."""
    done = program.run("os.write(1, bytes(range(256)) * 300)")
    assert done.out == bytes(range(256)) * 300
    done.record.decode("utf-8")


def test_a_line_of_ten_megabytes_is_recorded_whole(program):
    """No line end, no end of it."""
    done = program.run("sys.stdout.write('x' * 10_000_000)")
    assert done.record == done.out == b"x" * 10_000_000


def test_what_was_printed_before_and_after_is_not_recorded(program):
    """The record is the run's."""
    code = "end()\nprint('between')\nlog = OutputLog(Record())\ncapture = start_capture(MODE, log)\nprint('inside')"
    done = program.run(code + "\nend()\nprint('after')")
    assert done.out == b"between\ninside\nafter\n"
    assert done.record == b"inside\n"


def test_a_suspended_capture_lets_output_by(program):
    """For an interactive program in the middle of a run."""
    code = "print('a')\ncapture.suspend()\nprint('b', flush=True)\nos.write(1, b'c\\n')\ncapture.resume()\nprint('d')"
    done = program.run(code)
    assert done.out == b"a\nb\nc\nd\n"
    assert done.record == b"a\nd\n"


def test_a_flush_brings_everything_into_the_record(program):
    """The ticker of a run calls it, and `captured_out` after it must be what was printed."""
    code = "print('x', end='')\ncapture.flush()\nlog.flush()\nassert open('record').read() == 'x', open('record').read()"
    assert program.run(code).rc == 0


# ------------------------------------------------------------------------------------------------- odd surroundings


@pytest.mark.parametrize(
    ("closed", "expected"),
    [
        (">&-", ["err"]),
        ("2>&-", ["err", "out"]),  # print(file=None) prints to stdout
        (">&- 2>&-", []),
        ("<&-", ["err", "out"]),
        ("<&- >&- 2>&-", []),
    ],
)
def test_closed_standard_streams_are_no_obstacle(program, closed, expected):
    """Daemons and cron start programs like that; Sacred crashed."""
    code = "data = open('data', 'w')\nprint('out')\nprint('err', file=sys.stderr)\ndata.write('mine')\ndata.close()"
    shell = ["sh", "-c", f"{subprocess.list2cmdline(program.write(code))} {closed}"]
    done = subprocess.run(shell, cwd=program.folder, env=program.environment, capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert lines(program.record()) == expected
    assert (program.folder / "data").read_text() == "mine", "a user's file that got a low number is not a stream"


def test_streams_that_are_none_are_left_alone(program):
    """pythonw has no streams."""
    code = "end()\nsys.stdout = sys.stderr = None\nlog = OutputLog(Record())\ncapture = start_capture(MODE, log)\n"
    assert program.run(code + "os.write(1, b'x\\n')").record == b"x\n"


def test_a_descriptor_that_the_user_pointed_elsewhere_stays_there(program):
    """We take back what is ours, and nothing else."""
    code = "f = os.open('mine', os.O_WRONLY | os.O_CREAT)\nos.dup2(f, 1)\nend()\nos.write(1, b'to the file\\n')"
    done = program.run(code)
    assert (program.folder / "mine").read_bytes() == b"to the file\n"
    assert done.out == b""


def test_a_slow_reader_gets_everything(program):
    """Back-pressure, not loss."""
    process = program.start("for i in range(60_000): print('x' * 50)")
    time.sleep(0.5)
    total = 0
    while chunk := process.stdout.read(200_000):
        total += len(chunk)
        time.sleep(0.02)
    assert process.wait(600) == 0
    assert total == len(program.record()) == 60_000 * 51


def test_a_reader_who_does_not_read_does_not_hold_up_the_end_of_the_run(program):
    """The record is finished; what is still to be shown is shown when somebody looks."""
    process = program.start("print('x' * 200_000)\nend()\nopen('ended', 'w').close()", end=False)
    wait_until(lambda: (program.folder / "ended").exists(), "the run had ended")
    assert len(program.record()) == 200_001
    assert len(process.stdout.read()) == 200_001
    assert process.wait(600) == 0


def test_a_reader_who_goes_away_is_felt_as_without_capture(program):
    """`| head` ends a program that prints for ever."""
    code = "i = 0\nwhile True:\n    print('line', i)\n    i += 1"
    process = program.start(code)
    assert process.stdout.readline() == b"line 0\n"
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(600) != 0
    assert b"BrokenPipeError" in errors
    assert program.record().startswith(b"line 0\nline 1\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_does_not_stop_the_recording(program):
    """The record may lie on another disk."""
    with open("/dev/full", "wb") as full:
        done = program.run("print('x' * 100_000)\nprint('end')", stdout=full)
    assert done.rc == 0
    assert done.record.startswith(b"x" * 100_000 + b"\nend\n")
    assert b"cannot be passed on" in done.err


def test_a_log_that_fails_does_not_stop_the_output(program):
    """Whatever becomes of the record, the user's program goes on."""
    done = program.run("log.feed = lambda text: 1 / 0\ncapture._log = log\nprint('a')\nprint('b')")
    assert done.rc == 0
    assert done.out == b"a\nb\n"
    assert b"could not be recorded" in done.err


# ------------------------------------------------------------------------------------------------- ends of all kinds


def test_ctrl_c_keeps_every_line(program):
    """Sacred kept 0 of 30."""
    code = """\
    try:
        for i in range(30):
            print("line", i)
        open("printed", "w").close()
        time.sleep(600)
    except KeyboardInterrupt:
        print("interrupted")
    """
    process = program.start(code)
    wait_until((program.folder / "printed").exists, "all was printed")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=600)
    expected = b"".join(b"line %d\n" % i for i in range(30)) + b"interrupted\n"
    assert program.record() == out == expected


def test_a_killed_process_leaves_all_but_the_last_moment(program):
    """`kill -9`, with somebody who flushes a few times per second, as a run does."""
    code = """\
    def tick():
        while True:
            time.sleep(0.1)
            capture.flush()
            log.flush()
    threading.Thread(target=tick, daemon=True).start()
    print("before")
    time.sleep(60)
    """
    process = program.start(code)
    path = program.folder / "record"
    wait_until(lambda: path.exists() and path.read_bytes() == b"before\n", "the line was recorded")
    process.kill()
    assert process.communicate(timeout=600)[0] == b"before\n"


@pytest.mark.parametrize("leaving", ["os._exit(3)", "os.abort()", "os.execv('/bin/sh', ['sh', '-c', 'echo after; exit 3'])"])
def test_a_process_that_leaves_at_once_takes_its_output_along(program, leaving):
    """The line that says why."""
    done = program.run(f"print('the reason', flush=True)\n{leaving}", end=False)
    after = b"after\n" if "exec" in leaving else b""
    assert done.out == b"the reason\n" + after
    assert done.record == b"the reason\n"
    assert done.rc == (-signal.SIGABRT if "abort" in leaving else 3)


def test_an_exec_that_fails_changes_nothing(program):
    """`execvp` looks in many folders."""
    code = "try:\n    os.execvp('no-such-program', ['x'])\nexcept FileNotFoundError:\n    print('still here')"
    done = program.run(code)
    assert done.out == done.record == b"still here\n"


def test_a_program_that_forgets_to_stop_loses_nothing(program):
    """The interpreter's exit is the last chance."""
    done = program.run("print('x')\nprint('y')", end=False)
    assert done.out == done.record == b"x\ny\n"


def test_a_crash_in_c_is_explained_on_stderr(program):
    """faulthandler speaks when the thread that reads our pipe is dead."""
    command = program.write("import ctypes\nctypes.string_at(0)")
    command.insert(1, "-Xfaulthandler")
    done = subprocess.run(command, cwd=program.folder, env=program.environment, capture_output=True, timeout=600)
    assert done.returncode == -signal.SIGSEGV
    assert b"Segmentation fault" in done.stderr


def test_stopping_twice_and_in_a_signal_handler_is_harmless(program):
    """A handler may interrupt a print, and the end of the run comes after it."""
    code = """\
    def handler(signum, frame):
        capture.stop()
        log.close()
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    deadline = time.monotonic() + 0.5
    count = 0
    while time.monotonic() < deadline:
        print("line", count)
        count += 1
    capture.stop()
    """
    done = program.run(code)
    assert done.rc == 0, done.err
    numbers = [int(line.split()[1]) for line in done.out.splitlines()]
    assert numbers == list(range(len(numbers)))
    assert done.out.startswith(done.record[: done.record.rfind(b"\n")])


# ------------------------------------------------------------------------------------------------- other processes


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_output_of_a_pool_is_recorded(program, method):
    """Data loaders print their warnings in workers."""
    (program.folder / "work.py").write_text("def work(n):\n    print('worker', n, flush=True)\n    return n\n")
    code = f"""\
    if __name__ == "__main__":
        import multiprocessing, work
        with multiprocessing.get_context({method!r}).Pool(2) as pool:
            pool.map(work.work, range(20))
    """
    path = program.folder / "program.py"
    command = program.write(code)
    text = path.read_text()
    guard = "if __name__ != '__main__':\n    raise SystemExit\n" if method == "fork" else ""
    head, rest = text.split("log = OutputLog", 1)
    body = "\n".join("    " + line for line in ("log = OutputLog" + rest).splitlines())
    path.write_text(head + guard + "if __name__ == '__main__':\n" + body + "\n")
    done = subprocess.run(command, cwd=program.folder, env=program.environment, capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert lines(program.record()) == sorted(f"worker {n}" for n in range(20))


def test_a_child_that_outlives_the_run_is_not_waited_for_and_not_recorded_on(program):
    """Sacred waited for it, and then killed the pipe under it."""
    code = """\
    child = subprocess.Popen(["sh", "-c", "echo during; touch said; until [ -e go ]; do sleep 0.05; done; echo later"])
    while not os.path.exists("said"):
        time.sleep(0.01)
    time.sleep(0.2)
    end()
    print("did not wait", flush=True)
    open("go", "w").close()
    print("child", child.wait())
    time.sleep(0.2)
    """
    done = program.run(code)
    assert done.record == b"during\n"
    assert done.out == b"during\ndid not wait\nlater\nchild 0\n" or lines(done.out) == [
        "child 0", "did not wait", "during", "later",
    ]  # fmt: skip


def test_a_child_that_never_stops_printing_does_not_hold_up_the_end(program):
    """Reading until the pipe is empty would go on for ever."""
    code = """\
    child = subprocess.Popen(["yes"])
    time.sleep(0.2)
    print("mine")
    end()
    child.kill()
    child.wait()
    """
    done = program.run(code, stdout=subprocess.DEVNULL)
    assert done.rc == 0
    assert b"mine\n" in done.record


def test_a_forked_child_writes_to_the_pipe_and_never_to_the_record(program):
    """It may even run the end of the program."""
    code = """\
    print("parent", flush=True)
    child = os.fork()
    if child == 0:
        print("child")
    else:
        os.waitpid(child, 0)
    """
    done = program.run(code)
    assert done.out == done.record == b"parent\nchild\n"


def test_a_forked_child_that_outlives_its_parent_ends_by_a_broken_pipe(program):
    """It must not hold the reading end itself: then it would wait for ever, once the pipe is full."""
    code = """\
    if os.fork() == 0:
        time.sleep(0.5)
        try:
            while True:
                os.write(1, b"x" * 65536)
        except BrokenPipeError:
            open("broken", "w").close()
        os._exit(0)
    """
    assert program.run(code).rc == 0
    wait_until((program.folder / "broken").exists, "the child met the broken pipe")


@pytest.mark.slow
def test_forks_while_threads_print_do_not_lock_up(program):
    """A lock that is held by another thread at the fork stays locked in the child."""
    code = """\
    going = True
    def chatter():
        while going:
            os.write(2, b"x\\n")
            capture.flush()
    threads = [threading.Thread(target=chatter) for _ in range(2)]
    for thread in threads:
        thread.start()
    for i in range(50):
        child = os.fork()
        if child == 0:
            print("child", i)
            sys.stdout.flush()
            capture.stop()
            log.close()
            os._exit(0)
        os.waitpid(child, 0)
    going = False
    for thread in threads:
        thread.join()
    """
    done = program.run(code)
    assert done.rc == 0, done.err[-2000:]
    assert done.out.count(b"child") == 50


def test_many_runs_leave_no_thread_and_no_descriptor(program):
    """A sweep of a thousand runs in one process stays flat."""
    code = """\
    end()
    for i in range(50):
        capture = start_capture(MODE, OutputLog(lambda text, offset: None))
        print(i)
        capture.stop()
    until = time.monotonic() + 60
    while threading.active_count() > 1 and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() == 1, threading.enumerate()
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    for i in range(50):
        capture = start_capture(MODE, OutputLog(lambda text, offset: None))
        capture.stop()
    until = time.monotonic() + 60
    while threading.active_count() > 1 and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() == 1, threading.enumerate()
    if before:
        assert len(os.listdir("/proc/self/fd")) == before
    """
    done = program.run(code, end=False)
    assert done.rc == 0, done.err


def test_a_capture_inside_a_capture(program):
    """A run within a run, whichever modes they have; both records hold what was printed inside."""
    code = """\
    print("outer")
    inner_log = OutputLog(Record("inner"))
    with start_capture(INNER, inner_log):
        print("both")
    inner_log.close()
    print("outer again")
    """
    for inner in ("fd", "sys"):
        done = program.run(code.replace("INNER", repr(inner)))
        assert done.record == done.out == b"outer\nboth\nouter again\n"
        assert program.record("inner") == b"both\n"


def test_where_fd_cannot_be_set_up_sys_takes_its_place(monkeypatch, caplog):
    """A run never fails because of its capture."""
    from capture import stdio

    def no_room(log):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("capture.piping.FdCapture", no_room)
    with stdio.start_capture("fd", type("Log", (), {"feed": print})) as capture:
        assert capture.mode == "sys"
    assert "Too many open files" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="counts on /proc")
def test_the_pump_does_no_work_while_nothing_is_printed(program):
    """A run of a week must not wake a laptop."""
    code = """\
    time.sleep(0.2)
    def switches():
        folder = f"/proc/self/task/{capture._pump.native_id}/status"
        return [line for line in open(folder) if line.startswith("voluntary")]
    for _ in range(60):  # it may still be on its way to its rest
        before = switches()
        time.sleep(0.5)
        if switches() == before:
            break
    assert switches() == before
    """
    assert program.run(code).rc == 0
