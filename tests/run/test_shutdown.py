"""Runs that begin or end while the interpreter goes down."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest

from capture import Experiment, start_run
from capture.probes.gather import FunctionProbe, Reporting, gather
from capture.spool import Spool
from capture.testing import MemoryStore


def run_script(folder, text):
    """Run a script in a process of its own; return its output, and the record that it left."""
    script = folder / "script.py"
    script.write_text(text)
    done = subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    return done, json.loads((folder / "store" / "1" / "run.json").read_text())


def test_a_run_in_an_exit_handler_is_recorded_like_any_other(tmp_path):
    """From Python 3.12 on no thread can be started there: nothing was recorded, and its output was lost."""
    done, record = run_script(
        tmp_path,
        "import atexit\nfrom capture import Experiment\nex = Experiment('late', observers=['store'])\n"
        "@ex.main\ndef main(_run):\n    print('in main')\n    _run.log_scalar('loss', 1)\n    return 3\n"
        "atexit.register(ex.run)\n",
    )
    assert "in main" in done.stdout
    assert (record["status"], record["result"]) == ("COMPLETED", 3)
    assert "in main" in (tmp_path / "store" / "1" / "cout.txt").read_text()
    assert (tmp_path / "store" / "1" / "metrics.jsonl").exists()


@pytest.mark.parametrize(("last", "status"), [("pass", "COMPLETED"), ("1 / 0", "FAILED")])
def test_a_run_that_is_left_open_ends_with_the_script(last, status, tmp_path):
    """As the script does."""
    _, record = run_script(tmp_path, f"from capture import start_run\nstart_run('open', observers=['store'])\n{last}\n")
    assert record["status"] == status


def test_an_error_from_before_the_run_does_not_fail_it(tmp_path):
    """At a prompt, `sys.last_value` holds the last error of the session."""
    _, record = run_script(
        tmp_path,
        "import sys\nsys.last_value = ValueError('yesterday')\n"
        "from capture import start_run\nstart_run('open', observers=['store'])\n",
    )
    assert record["status"] == "COMPLETED"


@pytest.fixture
def no_threads(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)


@pytest.mark.parametrize("mode", ["sys", "fd", "no"])
def test_a_run_needs_no_thread_of_its_own(mode, no_threads, capfd):
    """So that the above holds on every version."""
    store = MemoryStore()
    ex = Experiment("alone", observers=[store])

    @ex.main
    def main(_run):
        print("in main")
        _run.log_scalar("loss", 1)

    run = ex.run(options={"--capture": mode})
    record = store.record(run.uid)
    assert record.status == "COMPLETED" and record.metrics["loss"].values == [1]
    assert ("in main" in record.output) == (mode != "no")
    assert "in main" in capfd.readouterr().out


def test_probes_and_big_files_do_without(no_threads, tmp_path):
    """They are merely slower then."""
    assert gather([FunctionProbe("answer", lambda: 42)], deadline_s=1.0) == {"answer": 42}
    reporting = Reporting(list, lambda name, facts: None)
    reporting.close(1.0)
    big = tmp_path / "big"
    big.write_bytes(b"x" * (9 << 20))
    spool = Spool(str(tmp_path / "spool"))
    with spool.open(spool.take(big).digest) as stream:
        assert stream.read() == big.read_bytes()


def test_a_part_of_the_background_work_that_fails_does_not_hold_up_the_rest(caplog, monkeypatch):
    """Else one object in `info` could keep everything from being written, and fill the log meanwhile."""
    store = MemoryStore()
    written = threading.Event()
    with start_run("ticking", observers=[store]) as run:

        def fail():
            raise ValueError("broken")

        monkeypatch.setattr(run._recorder.metrics, "flush", fail)
        run._recorder.stop_ticker()
        tick = run._recorder.journal.tick
        ticks = []

        def ticked():
            tick()
            ticks.append(1)
            if len(ticks) == 3:
                written.set()

        monkeypatch.setattr(run._recorder.journal, "tick", ticked)
        run._recorder.start_ticker(0, lambda due: None, lambda: None)
        assert written.wait(60)
        monkeypatch.undo()
    assert caplog.text.count("writing in the background failed") == 1
