"""Every way in which a run can end leaves a record that says how, complete to the last line."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap

import pytest

from capture import open_store
from capture.observers.file import FileStoreReader
from capture.registry import open_curator

LOOP = """
import time
@ex.automain
def main(_run):
    for i in range(600):
        print("line", i)
        _run.log_scalar("n", i)
        _run.info["i"] = i
        time.sleep(0.02)
"""


def numbers(text):
    return [int(line.split()[1]) for line in text.splitlines() if line.startswith("line ")]


def test_a_run_that_returns_is_completed_with_its_result_and_all_output(folder):
    """The usual case; the last lines of Sacred's own log were lost in it."""
    folder.write("""
    @ex.automain
    def main(_run):
        print("to stdout")
        _run.log_scalar("loss", 0.5)
        return {"accuracy": 0.75}
    """)
    done = folder.run()
    run = folder.json()
    assert (run["status"], run["result"]) == ("COMPLETED", {"accuracy": 0.75})
    output = folder.text()
    assert "to stdout\n" in output
    assert output.rstrip().splitlines()[-1].startswith("INFO - script - Completed after 0:0")
    assert "to stdout" in done.stdout
    assert folder.json(name="metrics.json")["loss"]["values"] == [0.5]


def test_an_exception_fails_the_run_with_a_trace_of_the_users_own_frames(folder):
    """The trace is what people read first; our frames in it would be noise."""
    folder.write("""
    @ex.capture
    def inner(_log):
        raise ValueError("too small")

    @ex.automain
    def main():
        print("before")
        inner()
    """)
    done = folder.run(code=1)
    run = folder.json()
    assert run["status"] == "FAILED"
    trace = "".join(run["fail_trace"])
    assert trace.rstrip().endswith("ValueError: too small")
    assert "in main" in trace
    assert "run.py" not in trace
    assert "before\n" in folder.text()
    assert "WITHOUT capture internals" in done.stderr
    assert 'raise ValueError("too small")' in done.stderr
    assert "capture/run.py" not in done.stderr and "_wrapped.py" not in done.stderr


@pytest.mark.parametrize(("code", "status"), [("sys.exit(0)", "COMPLETED"), ("sys.exit()", "COMPLETED"), ("sys.exit(3)", "FAILED")])
def test_sys_exit_ends_the_run_as_its_code_says(folder, code, status):
    """Sacred calls a run that ends with sys.exit(0) failed."""
    folder.write(f"""
    import sys
    @ex.automain
    def main():
        print("done")
        {code}
    """)
    folder.run(code=3 if "3" in code else 0)
    assert folder.json()["status"] == status
    assert "done\n" in folder.text()


def test_a_status_of_ones_own_is_recorded(folder):
    """Labs end runs with exceptions like this one."""
    folder.write("""
    from capture import SacredInterrupt
    class Converged(SacredInterrupt):
        STATUS = "CONVERGED"
    @ex.automain
    def main():
        print("flat")
        raise Converged()
    """)
    folder.run(code=1)
    assert folder.json()["status"] == "CONVERGED"
    assert "flat\n" in folder.text()


def test_ctrl_c_keeps_all_output(folder):
    """Sacred keeps none of it: 0 of 30 lines."""
    folder.write(LOOP)
    process = folder.start()
    folder.wait_for("line 20")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=600)
    run = folder.json()
    assert run["status"] == "INTERRUPTED"
    told = numbers(out)
    assert numbers(folder.text()) == told == list(range(len(told)))
    assert len(told) > 20
    assert process.returncode in (-signal.SIGINT, 1, 130)
    assert folder.json(name="metrics.json")["n"]["values"][-1] >= len(told) - 2


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGXCPU"])
def test_a_batch_systems_signal_is_recorded_as_preempted_and_passed_on(folder, name):
    """The process must still die of the signal: launchers look at that."""
    folder.write(LOOP)
    process = folder.start()
    folder.wait_for("line 5")
    process.send_signal(getattr(signal, name))
    out, _ = process.communicate(timeout=600)
    assert process.returncode == -getattr(signal, name)
    assert folder.json()["status"] == "PREEMPTED"
    assert numbers(folder.text()) == numbers(out)


def test_a_signal_that_the_user_handles_is_left_to_the_user(folder):
    """A training loop that saves a checkpoint on SIGTERM knows better than we do."""
    folder.write("""
    import signal, time
    stopped = []
    @ex.automain
    def main():
        signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
        print("ready", flush=True)
        while not stopped:
            time.sleep(0.01)
        return "checkpoint saved"
    """)
    process = folder.start()
    folder.wait_for("ready")
    process.terminate()
    process.communicate(timeout=600)
    assert process.returncode == 0
    assert folder.json()["result"] == "checkpoint saved"


def test_an_ignored_hangup_stays_ignored(folder):
    """nohup asks for exactly that."""
    folder.write("""
    import os, signal
    @ex.automain
    def main():
        os.kill(os.getpid(), signal.SIGHUP)
        return "still here"
    """)
    folder.run(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert folder.json()["result"] == "still here"


def test_after_kill_9_everything_older_than_half_a_second_is_there(folder):
    """Sacred: 0 of 30 lines, 0 of 30 measurements, and RUNNING for ever."""
    folder.write("""
    import time
    from pathlib import Path
    Path("data.txt").write_text("input")
    @ex.automain
    def main(_run):
        _run.add_resource("data.txt")
        for i in range(600):
            print("line", i, flush=True)
            _run.log_scalar("n", i)
            _run.info["i"] = i
            with open("clock", "a") as clock:
                print(i, file=clock)
            time.sleep(0.02)
    """)
    process = folder.start(stdout=subprocess.DEVNULL)
    folder.wait_for("line 60")
    process.kill()
    process.communicate(timeout=600)
    record = folder.record()
    assert record.status == "RUNNING"
    last = int((folder.path / "clock").read_text().split()[-1])
    old_enough = last - 40  # 0.8 s before the last line: half a second, and slack for a busy machine
    lines = numbers(record.output)
    assert lines == list(range(len(lines)))
    assert lines[-1] >= old_enough
    values = record.metrics["n"].values
    assert values == list(range(len(values)))
    assert values[-1] >= old_enough
    assert record.info["i"] >= old_enough
    assert record.resources[0].read() == b"input"
    assert open_store(folder.path / "runs").is_alive(record) is False
    for name in ("run.json", "config.json", "capture.json"):
        folder.json(name=name)


def test_os_exit_loses_nothing_that_is_older_than_half_a_second(folder):
    """Some libraries end the process like this; it is a death like any other."""
    folder.write("""
    import os, time
    @ex.automain
    def main(_run):
        print("early", flush=True)
        _run.log_scalar("x", 1)
        time.sleep(1)
        os._exit(7)
    """)
    folder.run(code=7)
    record = folder.record()
    assert "early" in record.output
    assert record.metrics["x"].values == [1]


def test_a_forked_child_never_writes_into_the_record(folder):
    """In Sacred a child that exits later rewrites the record to FAILED."""
    folder.write("""
    import os, time
    @ex.automain
    def main(_run):
        _run.log_scalar("x", 1)
        if os.fork() == 0:
            _run.log_scalar("x", 2)
            _run.info["child"] = True
            time.sleep(0.3)
            raise RuntimeError("the child failed")
        os.wait()
        return "parent"
    """)
    folder.run()
    run = folder.json()
    assert (run["status"], run["result"]) == ("COMPLETED", "parent")
    assert folder.json(name="metrics.json")["x"]["values"] == [1]
    assert not (folder.path / "runs" / "1" / "info.json").exists()
    assert not (folder.path / "runs" / "2").exists()


def test_a_child_that_outlives_the_run_does_not_hold_it_up(folder):
    """It has inherited the pipe of the output capture; waiting for its end would be waiting for ever."""
    folder.write("""
    import subprocess, sys
    @ex.automain
    def main():
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open("child", "w").write(str(child.pid))
        print("started one")
    """)
    process = folder.start(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process.wait(timeout=600)
    os.kill(int((folder.path / "child").read_text()), signal.SIGKILL)
    assert "started one" in folder.text()


def test_a_change_of_directory_in_main_is_harmless(folder):
    """A relative store stayed RUNNING for ever in Sacred."""
    folder.write("""
    import os
    @ex.automain
    def main(_run):
        os.mkdir("elsewhere")
        os.chdir("elsewhere")
        with open("made.txt", "w") as f:
            f.write("made")
        _run.add_artifact("made.txt")
    """)
    folder.run()
    assert folder.json()["status"] == "COMPLETED"
    assert folder.text(name="made.txt") == "made"
    assert not (folder.path / "elsewhere" / "runs").exists()


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_standard_stream_is_no_problem(folder, closed):
    """Daemons and some launchers start processes like this."""
    folder.write("""
    @ex.automain
    def main():
        return 5
    """)
    subprocess.run(["sh", "-c", f"exec {sys.executable} script.py {closed}"], cwd=folder.path, env=folder.environment, check=True)
    assert folder.json()["result"] == 5


def test_output_that_is_not_utf_8_is_recorded_and_passed_on_as_it_is(folder):
    """Sacred's run dies with a UnicodeDecodeError."""
    folder.write("""
    import os
    @ex.automain
    def main():
        os.write(1, b"caf\\xe9 \\xff\\n")
        print("after")
    """)
    process = subprocess.run([sys.executable, "script.py"], cwd=folder.path, env=folder.environment, capture_output=True, check=True)
    assert b"caf\xe9 \xff\n" in process.stdout
    assert "caf" in folder.text() and "after" in folder.text()


def test_a_script_without_a_run_of_its_own_leaves_no_trace(folder):
    """Importing an experiment must not make folders."""
    folder.write("""
    @ex.main
    def main():
        pass
    """)
    folder.run()
    assert not (folder.path / "runs").exists()


def test_a_docstring_that_speaks_of_usage_does_not_break_the_command_line(folder):
    """It does in Sacred: its parser reads the docstring."""
    folder.write(
        textwrap.dedent('''
        @ex.config
        def defaults():
            x = 1
        @ex.automain
        def main(x):
            return x
        '''),
        head='"""My tool.\n\nusage: do not use\n\nUsage:\n  other [--thing]\n"""\nfrom capture import Experiment\nex = Experiment("script")\n',
    )
    folder.run("with", "x=3")
    assert folder.json()["result"] == 3
    assert "usage: do not use" in folder.run("--help").stdout


def everybodys_python(tmp_path):
    """Return an interpreter that any user can start, and an environment in which it finds the library.

    The one that runs the tests may lie in a home that is closed to others.
    """
    import capture
    import capture.observers

    site = tmp_path / "site"
    shutil.copytree(os.path.dirname(capture.__file__), site / "capture", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(os.path.dirname(capture.observers.__file__), site / "capture" / "observers")
    for module in ("wrapt", "docopt"):
        shutil.copytree(os.path.dirname(__import__(module).__file__), site / module)
    for python in dict.fromkeys([sys.executable, shutil.which("python3", path="/usr/bin:/usr/local/bin")]):
        if python:
            command = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 10))"]
            try:
                if subprocess.run(command, user=4001, group=4321, extra_groups=[]).returncode == 0:
                    return python, {"PYTHONPATH": str(site)}
            except OSError:
                continue
    raise AssertionError("no python3 >= 3.10 that other users may start: install Debian's python3")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="becoming two users takes root, as CI is")
def test_two_users_may_share_a_store(folder, tmp_path):
    """A group folder with the setgid bit is how labs do it."""
    folder.write("""
    @ex.automain
    def main(_run):
        print("mine")
        return 1
    """)
    store = folder.path / "shared"
    store.mkdir()
    os.chown(store, 0, 4321)
    store.chmod(0o2775)
    for part in [folder.path, *folder.path.parents]:
        if part.stat().st_uid == os.getuid() and str(part).startswith(tempfile.gettempdir() + os.sep):
            part.chmod(part.stat().st_mode | 0o055)
    python, found_by = everybodys_python(tmp_path)
    for user in (4001, 4002):
        home = folder.path / f"home{user}"
        home.mkdir()
        os.chown(home, user, 4321)
        done = subprocess.run(
            [python, "script.py", "-o", str(store)],
            cwd=folder.path,
            env={**folder.environment, **found_by, "HOME": str(home), "CAPTURE_STATE_DIR": str(home / "state")},
            user=user,
            group=4321,
            extra_groups=[4321],
            umask=0o002,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    reader = open_store(store)
    assert [record.status for record in reader.find()] == ["COMPLETED", "COMPLETED"]
    assert {(store / label).stat().st_uid for label in ("1", "2")} == {4001, 4002}
    assert all((store / label).stat().st_gid == 4321 for label in ("1", "2"))


def test_the_default_store_keeps_itself_out_of_git_and_a_folder_of_the_users_is_left_alone(folder):
    """Nobody wants their runs in a commit by accident; nobody wants a .gitignore in a folder of their own."""
    folder.write("""
    @ex.automain
    def main():
        pass
    """)
    folder.run()
    assert folder.text("", ".gitignore") == "*\n"
    (folder.path / "mine").mkdir()
    (folder.path / "mine" / "notes.txt").write_text("keep")
    folder.run("-F", "mine")
    assert not (folder.path / "mine" / ".gitignore").exists()
    assert (folder.path / "mine" / "1" / "run.json").exists()


def test_a_purged_run_leaves_no_bytes_behind(folder):
    """A large resource has a second name in the spool; deleting the run must free the disk."""
    folder.write("""
    import os
    @ex.automain
    def main(_run):
        with open("big.bin", "wb") as f:
            f.write(os.urandom(3_000_000))
        _run.add_resource("big.bin")
    """)
    folder.run()
    store = folder.path / "runs"

    def stored():
        return sum(path.stat().st_size for path in store.rglob("*") if path.is_file() and path.stat().st_size > 1_000_000)

    assert stored() >= 3_000_000
    curator = open_curator(str(store))
    curator.bin("1")
    assert stored() >= 3_000_000
    curator.purge("1")
    assert stored() == 0


def test_the_next_run_into_the_same_store_delivers_what_a_killed_one_left(folder, state_dir):
    """Nobody should have to know of `capture sync` to find the run that was killed last night."""
    folder.write("""
    import sys, time
    @ex.config
    def config():
        wait = 0
    @ex.automain
    def main(wait, _run):
        for i in range(20):
            _run.log_scalar("x", i)
        print("logged", flush=True)
        time.sleep(wait)
    """)
    process = folder.start("with", "wait=60", stdout=subprocess.DEVNULL)
    folder.wait_for("logged")
    folder.wait_until(lambda: len(FileStoreReader(folder.path / "runs").get("1").metrics["x"]) == 20)
    process.kill()
    process.communicate()
    assert len(os.listdir(os.path.join(state_dir, "journals"))) >= 1
    done = folder.run()
    assert "Delivered what an earlier run left behind" in done.stderr
    assert os.listdir(os.path.join(state_dir, "journals")) == []
    reader = FileStoreReader(folder.path / "runs")  # not through open_store, which would deliver
    assert [(record.status, len(record.metrics["x"])) for record in reader.find()] == [("COMPLETED", 20), ("RUNNING", 20)]
