"""The ``capture`` command, as a user types it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from capture import open_store
from capture.cli import main
from capture.cli.trace import TraceObserver
from capture.hooks import HOOKS
from capture.testing import Story, tell


@pytest.fixture
def capture_command(tmp_path):
    """Run the command in a folder of its own."""

    def run(*arguments, code=0, **options):
        done = subprocess.run(
            [sys.executable, "-m", "capture", *arguments], cwd=tmp_path, capture_output=True, text=True, **options
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


def test_the_demo_runs_and_says_where_its_record_is(capture_command, tmp_path):
    """The first thing a newcomer types; it must need nothing."""
    done = capture_command("demo", "with", "epochs=50")
    assert "run 1 of" in done.stdout
    run = json.loads((tmp_path / "runs" / "1" / "run.json").read_text())
    assert run["status"] == "COMPLETED"
    assert len(json.loads((tmp_path / "runs" / "1" / "metrics.json").read_text())["loss"]["values"]) == 50
    assert "rough" in capture_command("demo", "print_named_configs").stdout


def test_the_demo_passes_slips_on(capture_command):
    """Its command line is an experiment's."""
    assert "did you mean:   epochs" in capture_command("demo", "with", "epoch=3", code=1).stderr


def test_trace_prints_each_event_on_one_line_and_leaves_the_run_as_it_was(capture_command, tmp_path):
    """For teaching, debugging, and pasting into a report."""
    (tmp_path / "script.py").write_text(
        "from capture import Experiment\nex = Experiment('traced')\n@ex.automain\ndef main(_run):\n"
        "    print('said')\n    _run.log_scalar('x', 1)\n    return 2\n"
    )
    done = capture_command("trace", "script.py", "with", "seed=3")
    lines = [line for line in done.stderr.splitlines() if line[:10].strip().replace(".", "").rstrip("s").isdigit()]
    hooks = [line.split()[2] for line in lines]
    assert hooks[0] == "opened" and hooks[1] == "started" and hooks[-1] == "completed"
    assert {"output", "metrics", "heartbeat", "source"} <= set(hooks)
    assert [int(line.split()[1]) for line in lines] == list(range(1, len(lines) + 1))
    assert (tmp_path / "runs" / "1" / "run.json").exists()
    assert "started" not in (tmp_path / "runs" / "1" / "cout.txt").read_text().split()


def test_trace_shows_the_arguments_that_a_hook_may_declare(tmp_path, monkeypatch):
    """Whoever copies an argument from a line into a hook must not be refused for it."""
    shown = []
    monkeypatch.setattr(TraceObserver, "tell", lambda self, hook, values: shown.append((hook, set(values))))
    story = Story(tmp_path, "01997a1c-0000-7000-8000-000000000001").start().source("a.py", b"1")
    tell(TraceObserver(print), story.resource("/in.csv", b"2").artifact("model.bin", b"3").complete())
    assert {"source_event", "resource_event", "artifact_event"} <= {hook for hook, _ in shown}
    for hook, names in shown:
        assert names <= {*HOOKS[hook], "seq"}, hook


def test_sync_delivers_what_a_killed_run_left_behind(capture_command, tmp_path, state_dir):
    """The command to run after a power cut."""
    (tmp_path / "script.py").write_text(
        "import time\nfrom capture import Experiment\nex = Experiment('killed')\n@ex.automain\ndef main(_run):\n"
        "    for i in range(10_000):\n        _run.log_scalar('x', i)\n        print('ready', flush=True)\n        time.sleep(0.05)\n"
    )
    process = subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    for _ in range(10):
        process.stdout.readline()
    folder = os.path.join(state_dir, "journals")
    [journal] = [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".journal")]
    size, until = os.path.getsize(journal), time.monotonic() + 60
    while os.path.getsize(journal) == size and time.monotonic() < until:
        time.sleep(0.01)  # what is written by then holds what was logged before
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert "writer dead" in capture_command("doctor").stdout
    unknown = capture_command("sync", "ffffffff", code=1)
    assert (unknown.stdout, "no journal is of a run ffffffff" in unknown.stderr) == ("", True)
    assert os.listdir(os.path.join(state_dir, "journals"))[0].split(".")[0] in unknown.stderr
    refused = capture_command("sync", "--to=memory://x", code=2)
    assert "ends with this process" in refused.stderr and os.listdir(os.path.join(state_dir, "journals"))
    waiting = os.path.basename(next(iter(os.listdir(os.path.join(state_dir, "journals"))))).split(".")[0]
    assert capture_command("sync", waiting[-8:]).stdout.rstrip().endswith("done")
    assert os.listdir(os.path.join(state_dir, "journals")) == []
    values = open_store(tmp_path / "runs").get("latest").metrics["x"].values
    assert len(values) >= 10 and values == list(range(len(values)))
    assert capture_command("sync").stdout == "nothing waits\n"
    assert "none wait" in capture_command("doctor", "--all").stdout


def test_doctor_says_who_set_what(capture_command):
    """When a run is not where it should be, this is the question."""
    done = capture_command("doctor", "--all", env={**os.environ, "CAPTURE_STORE": "elsewhere"})
    assert "STORE = 'elsewhere'  (environment variable CAPTURE_STORE)" in done.stdout
    assert "FileStorageObserver" in done.stdout


@pytest.mark.slow
def test_doctor_prints_no_password(capture_command):
    """What it prints goes into reports of faults."""
    url = "postgresql://bob:hunter2@localhost:1/runs"
    done = capture_command("doctor", env={**os.environ, "CAPTURE_STORE": url}, code=1)  # nobody listens there
    said = done.stdout + done.stderr
    assert "hunter2" not in said
    assert re.search(r"^Default store: postgresql://bob:\*\*\*.*\*\*\*@localhost:1/runs$", said, re.MULTILINE)


def test_doctor_says_which_stores_lack_their_driver(monkeypatch, capsys):
    """Whoever asks why nothing arrives must not be told that all is there."""
    from capture.observers.mongo import MongoObserver

    monkeypatch.setattr(MongoObserver, "drivers", {"no_such_driver": "mongo"})
    assert main(["doctor", "--all"]) == 0
    assert re.search(r"MongoObserver.*: needs: pip install 'experiment-capture\[mongo\]'$", capsys.readouterr().out, re.M)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demoo"], "Did you mean 'demo'?"),
        (["trace"], "trace needs a script"),
        (["trace", "nowhere.py"], "there is no file 'nowhere.py'"),
        (["sync", "--too", "x"], "not understood"),
        (["doctor", "who"], "not understood"),
        (["show", "1", "--sorce"], "did you mean --source?"),
        (["doctor", "--timout=3"], "did you mean --timeout?"),
        (["cp", "nothere", "x", "--verfy"], "did you mean --verify?"),
        (["sync", "--to", ""], "an empty text names no store"),
        (["sync", "nosuch"], "to deliver to a store of that name:  capture sync --to=nosuch"),
        (["cp", "", "x"], "an empty text names no store"),
        (["cp", "nothere", "x"], "there is no store at 'nothere'"),
        (["sync", "--to", "memory://x"], "ends with this process"),
        (["sync", "--to", "sqlite://"], "ends with this process"),
        (["sync", "--to", "nosuch://x"], "no store has the URL scheme 'nosuch'"),
    ],
)
def test_a_slip_is_one_paragraph_and_exit_code_2_or_1(arguments, message, capsys):
    """Never a traceback of ours."""
    assert main(arguments) in (1, 2)
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err


def test_help_and_version(capsys):
    """What everything else is found through."""
    assert main(["--help"]) == 0 and main(["--version"]) == 0 and main([]) == 0
    out = capsys.readouterr().out
    assert "Usage:" in out and "capture 0." in out


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device that is always full")
def test_a_full_disk_is_said_in_one_line():
    """A traceback of this library sends people to the wrong place."""
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "capture", "--help"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=600
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith("capture: ") and "No space left" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_reader_that_goes_away_ends_a_command_silently():
    """As in `capture ls | head`; `git` and `grep` say nothing either."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        ended = subprocess.run(
            [sys.executable, "-m", "capture", "--help"], stdout=pipe, stderr=subprocess.PIPE, text=True, timeout=600
        )
    assert (ended.returncode, ended.stderr) == (0, "")
