"""What can happen to a process while it runs: whatever it is, the record says what is true and nothing is torn."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import zipapp

import pytest

from capture import open_store
from tests.e2e.scripts import HEAD

BUSY = """
import os, time
from pathlib import Path
@ex.automain
def main(_run):
    Path("ready").touch()
    for i in range(100_000):
        print("line", i, flush=True)
        _run.log_scalar("n", i)
        _run.info["i"] = i
        _run.info["pad"] = "x" * 20_000
        if i % 10 == 0:
            _run.add_artifact(f"artifact {i}".encode() * 100, name=f"a/{i}.txt")
        with open("clock", "w") as f:
            f.write(f"{i} {time.time()}")
        time.sleep(0.001)
"""


def numbers(text):
    return [int(line.split()[1]) for line in text.splitlines() if line.startswith("line ")]


def check_killed(folder, died_at):
    """Check what a run of BUSY left behind: whole files, no gaps, everything older than half a second."""
    store = folder.path / "runs"
    for file in store.rglob("*.json"):
        if "_capture" not in file.parts:
            folder.json(file.parent.name, file.name)
    if not (folder.path / "ready").exists():
        return None
    record = folder.record()
    assert record.status == "RUNNING"
    assert open_store(store).is_alive(record) is False
    lines, values = numbers(record.output), list(record.metrics["n"].values) if "n" in record.metrics else []
    assert lines == list(range(len(lines)))
    assert values == list(range(len(values)))
    for artifact in record.artifacts:
        number = artifact.name.partition("/")[2].partition(".")[0]
        assert artifact.read() == f"artifact {number}".encode() * 100
    for name in ("run.json", "config.json", "capture.json"):
        folder.json(name=name)
    return record


# --------------------------------------------------------------------------------------------------------- sudden death


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_kill_9_at_any_moment_tears_nothing(folder, seed):
    """Sacred: 3 to 4 of 6 files torn, 0 of 30 lines kept."""
    folder.write(BUSY)
    moment = random.Random(seed).uniform(0.05, 2.5)
    process = folder.start(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(moment)
    process.kill()
    process.wait()
    died_at = time.time()
    record = check_killed(folder, died_at)
    if record is not None and (folder.path / "clock").exists():
        text = (folder.path / "clock").read_text().split()
        if len(text) == 2 and died_at - float(text[1]) < 0.2 and int(text[0]) > 1500:
            assert record.metrics["n"].values[-1] > 200  # half a second, on a machine that is slow


@pytest.mark.slow
@pytest.mark.parametrize("delay_ms", [0, 3, 10, 30])
def test_kill_9_during_the_end_leaves_the_end_or_a_run_that_died(folder, delay_ms):
    """Between the ending and the last byte in the store lie many writes."""
    folder.write("""
    import os, subprocess, sys
    @ex.automain
    def main(_run):
        for i in range(2000):
            print("line", i)
            _run.log_scalar("n", i)
        for i in range(30):
            _run.add_artifact(os.urandom(50_000), name=f"{i}.bin")
        code = f"import os, time; time.sleep({DELAY}); os.kill({os.getpid()}, 9)"
        subprocess.Popen([sys.executable, "-S", "-c", code])
        return 5
    """.replace("DELAY", str(delay_ms / 1000)))
    folder.run(code=None, stderr=subprocess.STDOUT)  # one destination, so that no log line stands within another line
    record = folder.record(1)
    assert record.status in ("COMPLETED", "RUNNING")
    assert numbers(record.output) == list(range(2000)) or record.status == "RUNNING"
    assert all(len(artifact.read()) == 50_000 for artifact in record.artifacts)
    if record.status == "COMPLETED":
        assert record.result == 5 and len(record.artifacts) == 30
        assert record.metrics["n"].values == list(range(2000))


@pytest.mark.parametrize(
    ("fault", "code"),
    [("import ctypes; ctypes.string_at(0)", -signal.SIGSEGV), ("os.abort()", -signal.SIGABRT), ("os.kill(os.getpid(), 9)", -9)],
)
def test_a_crash_of_the_interpreter_leaves_what_was_before_it(folder, fault, code):
    """Native code crashes; what faulthandler says of it goes to the terminal, as without us."""
    folder.environment["PYTHONFAULTHANDLER"] = "1"
    folder.write(f"""
    import os, time
    @ex.automain
    def main(_run):
        print("before", flush=True)
        _run.log_scalar("x", 1)
        time.sleep(2)
        {fault}
    """)
    done = folder.run(code=code)
    record = folder.record(1)
    assert record.status == "RUNNING"
    assert "before" in record.output
    assert record.metrics["x"].values == [1]
    if code != -9:
        assert "Fatal Python error" in done.stderr


def test_running_out_of_memory_is_a_failure_like_any_other(folder):
    """The commonest end of a training; the record must still be written."""
    folder.write("""
    import mmap, resource
    keep = []
    @ex.automain
    def main(_run):
        print("before")
        resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
        try:
            while True:
                keep.append(mmap.mmap(-1, 2**20))  # takes addresses, and no time
        except OSError:
            raise MemoryError("nothing is left") from None
    """)
    folder.run(code=1)
    assert folder.json()["status"] == "FAILED"
    assert "MemoryError" in folder.json()["fail_trace"][-1]
    assert "before" in folder.text()


# -------------------------------------------------------------------------------------------------------------- signals


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_at_any_moment_of_start_and_end_leaves_a_whole_record(folder, name):
    """Batch systems do not wait for a good moment."""
    folder.write("""
    import time
    @ex.automain
    def main(_run):
        print("line 0", flush=True)
        _run.log_scalar("n", 0)
    """)
    folder.environment["CAPTURE_DELIVERY__STALL_S"] = "2"
    seen = set()
    for step in range(24):
        process = folder.start(stdout=subprocess.DEVNULL)
        time.sleep(0.02 + step * 0.01)
        process.send_signal(getattr(signal, name))
        process.communicate(timeout=600)
        seen.add(process.returncode)
    for record in open_store(folder.path / "runs").find() if (folder.path / "runs").exists() else []:
        assert record.status in ("COMPLETED", "PREEMPTED", "INTERRUPTED", "RUNNING", "FAILED"), record.status
        assert record.status != "FAILED", record.fail_trace
        assert not (record.status == "RUNNING" and open_store(folder.path / "runs").is_alive(record))
    assert seen <= {0, -getattr(signal, name), 1, 130}


def test_two_sigterms_end_the_run_once(folder):
    """Launchers repeat it when they get impatient."""
    folder.write("""
    import time
    @ex.automain
    def main(_run):
        print("ready", flush=True)
        try:
            time.sleep(300)
        finally:
            time.sleep(0.5)
            print("cleaned up")
    """)
    process = folder.start()
    folder.wait_for("ready")
    process.terminate()
    time.sleep(0.1)
    process.terminate()
    process.communicate(timeout=600)
    assert process.returncode == -signal.SIGTERM
    assert folder.record(1).status == "PREEMPTED"


def test_a_second_ctrl_c_cuts_the_users_clean_up_short_and_the_record_is_whole(folder):
    """As it does without us."""
    folder.write("""
    import time
    @ex.automain
    def main(_run):
        print("ready", flush=True)
        try:
            time.sleep(300)
        finally:
            print("cleaning", flush=True)
            time.sleep(300)
            print("cleaned")
    """)
    process = folder.start()
    folder.wait_for("ready")
    process.send_signal(signal.SIGINT)
    folder.wait_for("cleaning")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=600)
    record = folder.record(1)
    assert record.status == "INTERRUPTED"
    assert "cleaning" in record.output and "cleaned\n" not in record.output


def test_ctrl_c_while_a_store_hangs_at_the_end_lets_go_of_it(folder):
    """The user has waited enough; the rest is in the journal."""
    folder.write(
        "",
        head="""
import time
from capture import Experiment
class Slow:
    def completed_event(self, result):
        open("hanging", "w").close()
        time.sleep(600)
ex = Experiment("script", observers=["runs", Slow()])
@ex.automain
def main():
    return 3
""",
    )
    folder.environment["CAPTURE_DELIVERY__STALL_S"] = "600"
    process = folder.start()
    folder.wait_until((folder.path / "hanging").exists)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=600)
    assert folder.record(1).result == 3


def test_a_stopped_and_continued_process_goes_on(folder):
    """A laptop's sleep is no death: the lock is held, and the run lives."""
    folder.write("""
    import time
    @ex.automain
    def main(_run):
        for i in range(60):
            print("line", i, flush=True)
            time.sleep(0.02)
        return 5
    """)
    process = folder.start(stdout=subprocess.DEVNULL)
    folder.wait_for("line 5")
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    store = open_store(folder.path / "runs")
    assert store.is_alive(store.get(1)) is True
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=600)
    assert process.returncode == 0
    assert numbers(folder.text()) == list(range(60))


# ------------------------------------------------------------------------------------------------ threads and processes


def test_an_exception_in_a_thread_is_shown_and_the_run_goes_on(folder):
    """As in Python; what it says is part of the output."""
    folder.write("""
    import threading
    def fail():
        raise ValueError("in a thread")
    @ex.automain
    def main(_run):
        thread = threading.Thread(target=fail)
        thread.start(); thread.join()
        return 1
    """)
    done = folder.run()
    assert folder.json()["status"] == "COMPLETED"
    assert "ValueError: in a thread" in done.stderr
    assert "ValueError: in a thread" in folder.text()


def test_no_thread_of_ours_is_the_first_to_import_what_replaces_itself(folder):
    """In Python 3.13 two threads that import collections.abc first, at the same time, break each other.

    It made a store refuse the first numbers of one run in ten.
    """
    code = "import capture, sys; capture.Experiment('x'); assert 'collections.abc' in sys.modules, 'not there'"
    run_plainly(folder, [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"])


def run_plainly(folder, command):
    done = subprocess.run(command, cwd=folder.path, env=folder.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_threads_of_the_users_log_print_and_call_captured_functions(folder):
    """Threads do not inherit context variables; they belong to the run all the same."""
    folder.write("""
    import threading
    @ex.config
    def config():
        lr = 0.5
    @ex.capture
    def work(i, lr, _run):
        for k in range(100):
            _run.log_scalar(f"m{i}", k)
        print(f"thread {i} {lr}")
    @ex.automain
    def main(_run):
        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        [t.start() for t in threads]; [t.join() for t in threads]
    """)
    folder.run()
    record = folder.record(1)
    assert all(record.metrics[f"m{i}"].values == list(range(100)) for i in range(8))
    assert all(f"thread {i} 0.5\n" in record.output for i in range(8))


def test_daemon_threads_that_print_at_the_exit_do_no_harm(folder):
    """Data loaders do."""
    folder.write("""
    import threading, time
    def chatter():
        while True:
            print("chatter")
            time.sleep(0.0005)
    @ex.automain
    def main(_run):
        for _ in range(4):
            threading.Thread(target=chatter, daemon=True).start()
        time.sleep(0.2)
        return 2
    """)
    for _ in range(3):
        done = folder.run()
        assert "Fatal" not in done.stderr and "Traceback" not in done.stderr
    assert [record.result for record in open_store(folder.path / "runs").find()] == [2, 2, 2]


def test_atexit_functions_run_in_their_order_after_the_run(folder):
    """A checkpoint that is written there finds the run ended, and what it prints goes to the terminal."""
    folder.write("""
    import atexit
    atexit.register(lambda: print("registered before"))
    @ex.automain
    def main(_run):
        atexit.register(lambda: print("registered in main", _run.status))
    """)
    done = folder.run()
    assert done.stdout.splitlines()[-2:] == ["registered in main COMPLETED", "registered before"]
    assert "registered" not in folder.text()


def test_a_run_by_hand_that_nobody_ends_is_ended_at_the_exit(folder):
    """A script without ``with`` is a script all the same."""
    folder.write(
        """
    run = capture.start_run("plain")
    print("hello")
    run.log_scalar("x", 1)
    """,
        head="import capture\n",
    )
    folder.run()
    record = folder.record(1)
    assert record.status == "COMPLETED" and "hello" in record.output


def test_a_run_by_hand_that_dies_of_an_exception_is_failed(folder):
    """The with block sees it; without one the end of Python does."""
    folder.write("""
    import capture
    run = capture.start_run("plain")
    raise ValueError("mine")
    """, head="")
    folder.run(code=1)
    assert folder.json()["status"] == "FAILED"
    assert "ValueError: mine" in folder.json()["fail_trace"][-1]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_process_pools_work_under_capture(folder, method):
    """Sacred's `tee` times out, and forked workers write into its record."""
    folder.write(f"""
    import multiprocessing, os
    def work(i):
        print("worker", i, flush=True)
        return i * i
    @ex.main
    def main(_run):
        with multiprocessing.get_context("{method}").Pool(2) as pool:
            return pool.map(work, range(6))
    if __name__ == "__main__":
        ex.run_commandline()
    """)
    folder.run()
    run = folder.json()
    assert (run["status"], run["result"]) == ("COMPLETED", [0, 1, 4, 9, 16, 25])
    assert sorted(line for line in folder.text().splitlines() if line.startswith("worker")) == [f"worker {i}" for i in range(6)]
    assert not (folder.path / "runs" / "2").exists()


def test_what_programs_print_is_captured(folder):
    """Compilers and solvers are run as programs of their own."""
    folder.write("""
    import os, subprocess
    @ex.automain
    def main(_run):
        print("before")
        subprocess.run(["sh", "-c", "echo from sh; echo to stderr >&2"])
        os.system("echo from system")
        print("after")
    """)
    done = folder.run()
    lines = [line for line in folder.text().splitlines() if "INFO" not in line]
    assert sorted(lines) == sorted(["before", "from sh", "to stderr", "from system", "after"])
    assert "from sh" in done.stdout and "to stderr" in done.stderr


def test_a_program_that_takes_the_place_of_the_process_leaves_a_run_that_died(folder):
    """``os.execv`` is how some launchers restart; the lock must not outlive the program that held it."""
    folder.write("""
    import os, sys, time
    @ex.automain
    def main(_run):
        print("before", flush=True)
        _run.log_scalar("x", 1)
        time.sleep(2)
        os.execv(sys.executable, [sys.executable, "-c", "print('another program')"])
    """)
    folder.run()
    record = folder.record(1)
    assert record.status == "RUNNING" and "before" in record.output
    assert open_store(folder.path / "runs").is_alive(record) is False


@pytest.mark.slow
def test_a_thousand_forks_under_metric_load(folder):
    """A lock that a thread holds during a fork is held for ever in the child; none of ours may be."""
    folder.write("""
    import os, threading, time
    stop = threading.Event()
    @ex.automain
    def main(_run):
        def load(name):
            i = 0
            while not stop.is_set():
                _run.log_scalar(name, i); i += 1
                if i % 50 == 0:
                    print("noise", i); _run.info["i"] = i; time.sleep(0.001)
        threads = [threading.Thread(target=load, args=(f"m{k}",)) for k in range(3)]
        [t.start() for t in threads]
        try:
            for i in range(1000):
                pid = os.fork()
                if pid == 0:
                    _run.log_scalar("child", 1)
                    print("child", flush=True)
                    os._exit(0)
                until = time.monotonic() + 90
                while os.waitpid(pid, os.WNOHANG) == (0, 0):
                    if time.monotonic() > until:
                        os.kill(pid, 9)
                        raise RuntimeError(f"fork {i} hangs")
                    time.sleep(0.0002)
        finally:
            stop.set()
        [t.join() for t in threads]
        return "done"
    """)
    folder.run(stdout=subprocess.DEVNULL, within_s=280)
    record = folder.record(1)
    assert record.result == "done"
    assert "child" not in record.metrics
    for k in range(3):
        values = record.metrics[f"m{k}"].values
        assert values == list(range(len(values))) and len(values) > 100
    assert record.output.count("child\n") == 1000


@pytest.mark.slow
def test_forty_processes_that_start_at_once_in_a_fresh_store_are_all_recorded(folder):
    """A job array does; Sacred loses output, others runs."""
    folder.write("""
    @ex.automain
    def main(_run, _seed):
        print("line 0"); _run.log_scalar("n", 0)
        return 1
    """)
    processes = [folder.start() for _ in range(40)]
    ended = [process.communicate(timeout=600) for process in processes]
    assert [process.returncode for process in processes] == [0] * 40, ended
    records = list(open_store(folder.path / "runs").find())
    assert sorted(int(record.label) for record in records) == list(range(1, 41))
    for record in records:
        assert (record.status, record.result) == ("COMPLETED", 1)
        assert numbers(record.output) == [0] and record.metrics["n"].values == [0]


# ----------------------------------------------------------------------------------------------------- the surroundings

SIMPLE = """
@ex.config
def defaults():
    x = 1  # a number
@ex.automain
def main(x, _run):
    print("main ran")
    _run.log_scalar("n", x)
    return x
"""


def test_a_deleted_working_directory(folder):
    """Scratch folders are swept while jobs run."""
    folder.write("""
    import os, shutil
    @ex.automain
    def main(_run):
        os.makedirs("scratch"); os.chdir("scratch")
        shutil.rmtree("../scratch")
        _run.log_scalar("x", 1)
        _run.add_artifact(b"1", name="a.bin")
        return 4
    """)
    folder.run()
    assert folder.json()["result"] == 4
    assert folder.record(1).artifacts[0].read() == b"1"


def test_a_working_directory_that_is_gone_before_the_start(folder, tmp_path):
    """A relative store has no place then; the run goes on, and says so."""
    script = folder.write(SIMPLE)
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"cd {gone} && rmdir {gone} && exec {sys.executable} {script} -o {tmp_path / 'store'}"
    done = subprocess.run(["sh", "-c", command], env=folder.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert open_store(tmp_path / "store").get(1).result == 1


@pytest.mark.parametrize("closed", ["<&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(folder, closed):
    """cron and daemons; the first file that is opened then is number 0."""
    folder.write(SIMPLE)
    subprocess.run(["sh", "-c", f"exec {sys.executable} script.py {closed}"], cwd=folder.path, env=folder.environment, check=True)
    assert folder.json()["result"] == 1
    assert "main ran" in folder.text() or closed != "<&-"


@pytest.mark.parametrize("home", [None, "/nonexistent/home", "/proc/none"])
def test_without_a_home_the_journal_lies_beside_the_store(folder, home):
    """Containers and batch systems have none; nothing is left behind when all went well."""
    folder.write(SIMPLE)
    for name in ("CAPTURE_STATE_DIR", "HOME", "XDG_STATE_HOME"):
        folder.environment.pop(name, None)
    if home is None:
        # without HOME Python asks the password database, which knows nobody of this number
        python = [sys.executable, "-c", "import os, runpy, sys; os.path.expanduser = lambda path: path; sys.argv = ['script.py'];"
                  " runpy.run_path('script.py', run_name='__main__')"]  # fmt: skip
    else:
        folder.environment["HOME"] = home
        python = [sys.executable, "script.py"]
    done = subprocess.run(python, cwd=folder.path, env=folder.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert folder.json()["result"] == 1
    assert not list((folder.path / "runs" / "_capture").rglob("*.journal"))
    assert not (folder.path / "~").exists()


def test_without_a_home_a_killed_run_is_recovered_from_beside_the_store(folder, monkeypatch):
    """The fallback is found by readers, too."""
    folder.write("""
    import os, time
    @ex.automain
    def main(_run):
        print("before", flush=True)
        time.sleep(2)
        os._exit(3)
    """)
    folder.environment.pop("CAPTURE_STATE_DIR")
    folder.environment.update(HOME="/nonexistent", XDG_STATE_HOME="")
    folder.run(code=3)
    assert list((folder.path / "runs" / "_capture").rglob("*.journal"))
    assert "before" in folder.record(1).output


def test_without_a_place_for_temporary_files(folder):
    """TMPDIR of another machine, or none that can be written to."""
    folder.write(SIMPLE)
    folder.environment["TMPDIR"] = "/nonexistent"
    folder.run()
    assert folder.json()["result"] == 1


def test_a_clock_that_goes_backwards(folder):
    """Time servers and virtual machines do it; steps keep the order, times are what the clock said."""
    folder.write("""
    import time
    real_ns, real = time.time_ns, time.time
    offset = [0]
    time.time_ns = lambda: real_ns() - offset[0] * 10**9
    time.time = lambda: real() - offset[0]
    @ex.automain
    def main(_run):
        for i in range(50):
            _run.log_scalar("n", i)
            print("line", i, flush=True)
            offset[0] += 100
            time.sleep(0.01)
        return 1
    """)
    folder.run()
    record = folder.record(1)
    assert record.status == "COMPLETED"
    assert record.metrics["n"].values == list(range(50))
    assert numbers(record.output) == list(range(50))


@pytest.mark.parametrize("level", ["1", "2"])
def test_optimised_python(folder, level):
    """-O drops asserts, -OO docstrings."""
    folder.write('"""What it does."""\n' + SIMPLE.replace("def main(", "def main("))
    folder.environment["PYTHONOPTIMIZE"] = level
    folder.run("with", "x=3")
    assert folder.json()["result"] == 3
    folder.run("--help")
    folder.run("with", "y=3", code=1)


@pytest.mark.parametrize("flags", [["-X", "dev"], ["-W", "error"], ["-I"], ["-B", "-E"], ["-X", "utf8=0"]])
def test_pythons_own_switches(folder, flags):
    """-X dev and -W error turn leaks and deprecations of ours into noise or crashes."""
    folder.write(SIMPLE)
    if "-I" in flags or "-E" in flags:  # the state folder is told by the environment of Python's, not of ours
        folder.environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, *flags, "script.py", "with", "x=2"], cwd=folder.path, env=folder.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert folder.json()["result"] == 2
    assert "Warning" not in done.stderr, done.stderr


@pytest.mark.parametrize("locale", ["C", "POSIX", "en_US.ISO-8859-1"])
def test_other_locales(folder, locale):
    """A cluster's nodes often have none; what is printed is recorded as bytes say."""
    folder.write("""
    @ex.automain
    def main():
        print("caf\\u00e9")
        return "\\u00e9"
    """)
    folder.environment.update(LC_ALL=locale, LANG=locale)
    folder.run()
    assert folder.record(1).result == "é"
    assert "café" in folder.record(1).output


# -------------------------------------------------------------------------------------------------- how it is started


def test_as_a_module_of_a_package(folder):
    """``python -m package.train`` is how larger projects are started."""
    package = folder.path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "helper.py").write_text("VALUE = 10\n")
    (package / "train.py").write_text(
        "from capture import Experiment\nfrom package.helper import VALUE\nex = Experiment()\n" + SIMPLE.replace("return x", "return x + VALUE")
    )
    done = subprocess.run(
        [sys.executable, "-m", "package.train", "with", "x=2"], cwd=folder.path, env=folder.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    run = folder.json()
    assert (run["result"], run["experiment"]["name"]) == (12, "train")
    assert "main ran" in folder.text()
    assert {os.path.basename(name) for name, _ in run["experiment"]["sources"]} >= {"train.py", "helper.py"}


def test_from_a_zip_archive(folder, tmp_path):
    """There is no file to read comments from, nor to store as a source."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "__main__.py").write_text(HEAD + SIMPLE)
    zipapp.create_archive(source, folder.path / "app.pyz")
    done = subprocess.run([sys.executable, "app.pyz", "with", "x=5"], cwd=folder.path, env=folder.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert folder.json()["result"] == 5


def test_through_runpy(folder):
    """Profilers and coverage start scripts so."""
    folder.write(SIMPLE)
    code = "import runpy, sys; sys.argv = ['script.py', 'with', 'x=6']; runpy.run_path('script.py', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder.path, env=folder.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert folder.json()["result"] == 6
    assert "main ran" in folder.text()


def test_from_another_folder_by_an_odd_name(folder, tmp_path):
    """Spaces and letters beyond ASCII are in the names of half the folders of the world."""
    place = folder.path / "mein Ordner é 日本"
    place.mkdir()
    (place / "mein Skript ü.py").write_text(HEAD.replace('"script"', "") + SIMPLE)
    done = subprocess.run(
        [sys.executable, str(place / "mein Skript ü.py"), "with", "x=7"], cwd=folder.path, env=folder.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    run = folder.json()
    assert run["result"] == 7
    assert run["experiment"]["name"] == "mein Skript ü"
    assert run["experiment"]["base_dir"] == str(place)
    assert [name for name, _ in run["experiment"]["sources"]] == ["mein Skript ü.py"]


def test_through_a_link_to_the_script(folder):
    """Labs keep one copy of a script and link to it."""
    real = folder.path / "real"
    real.mkdir()
    (real / "script.py").write_text(HEAD + SIMPLE)
    (folder.path / "link.py").symlink_to(real / "script.py")
    folder.run(name="link.py")
    assert folder.json()["result"] == 1


def test_a_script_that_changes_while_it_runs_is_recorded_as_it_was(folder):
    """People edit the next experiment while this one trains."""
    folder.write("""
    from pathlib import Path
    @ex.automain
    def main():
        Path(__file__).write_text("something else")
        return 1
    """)
    source = (folder.path / "script.py").read_bytes()
    folder.run()
    record = folder.record(1)
    assert [stored.read() for stored in record.sources] == [source]


def test_a_folder_that_is_moved_while_the_run_goes_on(folder, tmp_path):
    """The store's path is fixed at the start; the run is not ended by its loss."""
    folder.write("""
    import os, time
    @ex.automain
    def main(_run):
        print("before", flush=True)
        time.sleep(2)
        os.rename("runs", "moved")
        for i in range(5):
            _run.log_scalar("n", i); time.sleep(0.1)
        return 1
    """)
    folder.environment["CAPTURE_DELIVERY__STALL_S"] = "1"
    done = folder.run()
    assert "Traceback" not in done.stderr
    shutil.rmtree(folder.path / "runs", ignore_errors=True)
    os.rename(folder.path / "moved", folder.path / "runs")
    record = folder.record(1)
    assert record.uid
    assert textwrap.dedent("before") in record.output
