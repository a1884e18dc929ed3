"""``capture show``: a page about a run, and its parts as a whole."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest

from capture import Experiment, events, open_store
from capture.cli import main
from capture.observers import FileStorageObserver
from capture.testing import Story, tell
from capture.testing.contract import uid
from tests.cli.looking import ROOT, failed, on_a_terminal, plain, story
from tests.cli.test_console import on_unix

SACRED = os.path.join(ROOT, "tests", "golden", "sacred-0.8.7")
FACTS = {
    "config": {"origins": {"lr": "command line", "layers": "config scope defaults (train.py:3)"}},
    "environment": {"python": {"version": "3.11.7", "implementation": "cpython"}},
    "process": {"user": {"name": "ann"}, "argv": ["train.py", "with", "lr=0.5"], "cwd": "/project"},
    "lineage": {
        "inputs": [{"path": "/data/in.csv", "size": 1500, "digest": "ab" * 32}],
        "outputs": [{"path": "/out/model.bin", "size": 10, "digest": "cd" * 32}],
        "urls": [{"url": "https://example.org/x"}],
        "coverage": {"complete": False, "text": "Watched: everything but one thing."},
    },
    "usage": {"cpu_s": 2.5, "peak_memory_bytes": 2_000_000},
}


def write_run(folder, **config) -> str:
    """Make a store with one run that has a bit of everything, and failed; return its path."""
    store = os.path.join(folder, "runs")
    host = {"hostname": "node7", "cpu": "A CPU", "os": ["Linux", "Linux-6"], "python_version": "3.11.7", "ENV": {}}
    told = story(folder, 1, {"lr": 0.5, "layers": [64, 32], **config}, host_info=host)
    told.add(*(events.Facts(topic=topic, facts=facts) for topic, facts in FACTS.items()))
    told.add(events.Annotated(tags=["good", "late"], notes="look at\nthis"))
    told.source("train.py", b"print(1)\r\n\xff").source("pkg/util.py", b"x = 1\n")
    told.resource("/data/in.csv", b"a,b").artifact("model.bin", bytes(1000))
    told.metrics(loss=[3.0, "nan", 1.0], flat=[1.0, 1.0])
    told.add(events.Output(text="".join(f"line {number}\n" for number in range(25)), offset=0))
    tell(FileStorageObserver(store), failed(told, "Traceback (most recent call last):\n", "ValueError: no good\n"))
    return store


@pytest.fixture
def one_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_run(tmp_path)


@pytest.fixture
def show(capsys):
    """Run the command; return what it prints."""

    def run(*arguments, status=0):
        capsys.readouterr()
        assert main(["show", *arguments]) == status
        return capsys.readouterr().out

    return run


def test_a_page_tells_all_of_a_run(one_run, show):
    """What it was, with what it ran, what came out, and why it failed."""
    page = show("1")
    lines = page.splitlines()
    assert lines[0] == "1  digits  FAILED"
    for text in ("ValueError: no good", "ann@node7", "train.py with lr=0.5", "good, late", "look at\n", "/project"):
        assert text in page
    assert "*  lr" in page and "command line" in page and "   layers  [64, 32]  config scope defaults" in page
    assert next(line for line in lines if line.startswith("loss")).split()[1:] == ["1", "1", "3", "2", "3", "█", "▁"]
    assert "artifact  model.bin" in page and "1.0 kB" in page and "pkg/util.py" in page
    assert "read     /data/in.csv           1.5 kB  abababababab" in page and "https://example.org/x" in page
    assert "cpython 3.11.7" in page and "A CPU" in page
    assert "line 24" in page and "line 15" in page and "line 14" not in page and "25 lines" in page
    assert "Traceback" in page


def test_notes_are_printed_as_they_were_written(tmp_path, show, monkeypatch):
    """Paragraphs stay paragraphs; what would move the cursor is spelt out."""
    told = story(tmp_path, 1, {}).add(events.Annotated(tags=None, notes="the one\r\n\n\tmore \x1b[2J\u202e\n"))
    tell(FileStorageObserver(tmp_path / "runs"), told.complete())
    monkeypatch.chdir(tmp_path)
    lines = [line.rstrip() for line in show("1").splitlines()]
    first = next(place for place, line in enumerate(lines) if line.startswith("notes"))
    assert lines[first].endswith("  the one") and lines[first + 1] == ""
    assert lines[first + 2].strip() == "more \\x1b[2J\\u202e"


def test_a_repository_without_a_remote_has_no_url(tmp_path, show, monkeypatch):
    """Sacred's layout wants one, and so a folder of somebody's machine stands there."""
    described = {"name": "digits", "base_dir": "/project/src", "sources": [], "dependencies": []}
    remotes = {"git://project": False, "git://project.org/digits": True, "https://example.org/d": True}
    for number, url in enumerate(remotes, 1):
        repositories = [{"url": url, "commit": "c" * 40, "dirty": True}]
        told = Story(tmp_path / str(number), uid(f"{number:02x}"))
        told.start(config={}, ex_info={**described, "repositories": repositories})
        tell(FileStorageObserver(tmp_path / "runs"), told.complete())
    monkeypatch.chdir(tmp_path)
    for number, (url, is_remote) in enumerate(remotes.items(), 1):
        page = show(str(number))
        assert "with uncommitted changes" in page and (url in page) is is_remote


def test_times_name_their_zone(one_run, show, monkeypatch):
    """A time without one is an hour of searching."""
    import time

    if not hasattr(time, "tzset"):
        pytest.skip("Windows takes the time zone from elsewhere")
    monkeypatch.setenv("TZ", "XYZ-2")
    time.tzset()
    try:
        assert "started    2026-01-01 02:00:02 XYZ" in show("1")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_parts_are_shown_whole(one_run, show):
    """Each by its option; several in the order of the page."""
    assert show("1", "--config").splitlines()[::2] == [
        "Configuration (* set for this run)",
        "*  lr      0.5       command line",
    ]
    assert "flat" in show("1", "--metrics")
    assert "Watched: everything but one thing." in show("1", "--lineage")
    assert "CPU time     2.5 s" in show("1", "--env") and "peak memory  2.0 MB" in show("1", "--env")
    files = show("1", "--files")
    assert files.count("\nsource  ") == 2 and "resource" in files
    both = show("1", "--config", "--metrics")
    assert both.index("Configuration") < both.index("\n\nMetrics") and "Files" not in both


@pytest.mark.parametrize(("option", "said"), [("--config", "no configuration"), ("--metrics", "no metrics"), ("--files", "no files")])
def test_a_part_that_a_run_has_not_is_told(option, said, tmp_path, monkeypatch, capsys):
    """Nothing at all could as well be a command that broke."""
    tell(FileStorageObserver(str(tmp_path / "runs")), story(tmp_path, 1, {}).complete())
    monkeypatch.chdir(tmp_path)
    assert main(["show", "1", option]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == f"run 1 has {said}\n"
    assert main(["show", "1"]) == 0
    assert "has no" not in capsys.readouterr().err


def test_what_was_set_and_what_came_out_is_shown_to_the_last_digit(tmp_path, show, monkeypatch):
    """Who types it again gets the same run."""
    told = story(tmp_path, 1, {"lr": 0.1 + 0.2, "whole": 1.0, "table": [1 / 3]}).complete(result=2 / 3)
    tell(FileStorageObserver(str(tmp_path / "runs")), told)
    monkeypatch.chdir(tmp_path)
    page = show("1")
    for text in ("0.30000000000000004", " 1.0 ", "[0.3333333333333333]", "0.6666666666666666"):
        assert text in page


def test_output_in_a_pipe_is_what_was_printed(one_run, show):
    """To search it, or to compare it with another."""
    assert show("1", "--out") == "".join(f"line {number}\n" for number in range(25))


def test_sources_in_a_pipe_are_the_very_bytes(one_run, tmp_path):
    """Whatever their encoding and line ends."""
    command = [sys.executable, "-m", "capture", "show", "1"]
    env = {**os.environ, "PYTHONPATH": ROOT}
    done = subprocess.run([*command, "--source=train.py"], env=env, capture_output=True, check=True)
    assert done.stdout == b"print(1)\r\n\xff"
    assert subprocess.run([*command, "--source=util.py"], env=env, capture_output=True).stdout == b"x = 1\n"
    listed = subprocess.run([*command, "--source"], env=env, capture_output=True, text=True, check=True)
    assert "train.py" in listed.stdout and "pkg/util.py" in listed.stdout and "--source=NAME" in listed.stderr
    wrong = subprocess.run([*command, "--source=utl.py"], env=env, capture_output=True, text=True)
    assert wrong.returncode == 1 and "util.py" in wrong.stderr and wrong.stdout == ""


def test_a_damaged_source_is_not_shown_as_what_ran(one_run, capfd):
    """Its bytes may still help, but nobody is to take them for the code of the run."""
    folder = os.path.join(one_run, "_sources")
    [path] = [os.path.join(folder, name) for name in os.listdir(folder) if name.startswith("train")]
    os.chmod(path, 0o644)
    with open(path, "wb") as file:
        file.write(b"print(2)\r\n\xff")
    assert main(["show", "1", "--source=train.py"]) == 1
    told = capfd.readouterr()
    assert "print(2)" in told.out and "the stored bytes of train.py are damaged" in told.err
    assert main(["show", "1", "--source=util.py"]) == 0


@on_unix
def test_a_terminal_is_safe_from_what_was_printed_and_written(tmp_path):
    """Output and sources may hold what clears the screen, or types into it."""
    evil = "\x1b[2Jgone\x1b]0;title\x07 \x1b[31mred\x1b[0m\u202e"
    store = str(tmp_path / "runs")
    told = story(tmp_path, 1, {"key": evil}, name=evil).source("a.py", evil.encode())
    told.add(events.Output(text=evil + "\n", offset=0), events.Annotated(tags=[evil], notes=evil))
    told.artifact(evil.replace("/", ""), b"1").metrics(**{evil: [1.0]})
    tell(FileStorageObserver(store), failed(told, evil + "\n"))
    for arguments in (["show", "1"], ["show", "1", "--out"], ["show", "1", "--source"], ["show", "1", "--files"]):
        shown, status = on_a_terminal([*arguments, "--no-pager"], 100, CAPTURE_STORE=store)
        assert status == 0 and "gone" in shown, shown
        rest = plain(shown)
        assert "\x1b" not in rest and "\x07" not in rest and "\u202e" not in rest


def test_json_tells_everything_strictly(one_run, show):
    """For a program: all but the streams, or the parts that are asked for."""
    told = json.loads(show("1", "--json"))
    assert told["label"] == "1" and told["state"] == "FAILED" and told["origins"]["lr"] == "command line"
    assert told["metrics"]["loss"]["last"] == 1.0 and told["artifacts"][0]["size"] == 1000
    assert told["start_time"].endswith("+00:00") and "output" not in told
    assert json.loads(show("1", "--json", "--config")) == {"config": told["config"], "origins": told["origins"]}
    assert json.loads(show("1", "--json", "--out"))["output"].startswith("line 0\n")
    assert set(json.loads(show("1", "--json", "--lineage", "--metrics"))) == {"lineage", "metrics"}


def test_a_run_that_is_not_there_is_an_error(one_run, capsys):
    """With what there is."""
    assert main(["show", "7"]) == 1
    assert "7" in capsys.readouterr().err
    assert main(["show"]) == 2
    assert main(["show", "1", "2"]) == 2
    assert main(["show", "-1"]) == 0 and main(["show", "latest"]) == 0


def test_damage_in_one_part_leaves_the_rest_of_the_page(one_run, capsys):
    """Whoever looks at a broken run wants to see what is left of it."""
    for name in ("metrics.jsonl", "metrics.json"):
        path = os.path.join(one_run, "1", name)
        if os.path.exists(path):
            with open(path, "w") as stream:
                stream.write('{"x": ')
    os.unlink(os.path.join(one_run, "1", "cout.txt"))
    assert main(["show", "1"]) == 0
    captured = capsys.readouterr()
    assert "Configuration" in captured.out and "ValueError: no good" in captured.out


@pytest.mark.parametrize("label", ["1", "2", "queued-one"])
def test_records_of_sacred_are_shown_as_far_as_they_go(label, show):
    """No uid, no facts, no digests; one that failed, one that never started."""
    page = show(label, f"--store={SACRED}")
    assert page.startswith(f"{label}  digits  ") and "gen.py" in page and "lr" in page
    assert ("ValueError: asked to fail" in page) == (label == "2")
    json.loads(show(label, f"--store={SACRED}", "--json"))
    for part in ("--config", "--env", "--lineage", "--metrics", "--files", "--out"):
        show(label, f"--store={SACRED}", part)


def test_secrets_that_sacred_stored_are_masked(tmp_path, show, monkeypatch):
    """A password on a shared screen; what this library writes was masked before."""
    import shutil

    shutil.copytree(SACRED, tmp_path / "runs")
    path = tmp_path / "runs" / "1" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "db_password": "correct-horse-battery"}))
    monkeypatch.chdir(tmp_path)
    for arguments in (["1"], ["1", "--config"], ["1", "--json"]):
        shown = show(*arguments)
        assert "db_password" in shown and "correct-horse" not in shown


@pytest.mark.parametrize(
    ("alive", "state", "text"),
    [(True, "RUNNING", "its process is alive"), (False, "DIED", "its process is gone"), (None, "RUNNING", "no sign for")],
)
def test_a_state_says_what_it_rests_on(alive, state, text, tmp_path, show, monkeypatch):
    """RUNNING alone tells nothing of a process on another machine."""
    store = str(tmp_path / "runs")
    tell(FileStorageObserver(store), story(tmp_path, 1, {}).beat())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(type(open_store(store).reader), "is_alive", lambda self, record: alive)
    page = show("1")
    assert page.splitlines()[0] == f"1  digits  {state}" and text in page.splitlines()[1]


def test_a_long_series_is_drawn_from_all_of_its_points(tmp_path, show, monkeypatch):
    """A curve of its first points would be another curve."""
    store = str(tmp_path / "runs")
    values = [float(number >= 15_000) for number in range(30_000)]
    tell(FileStorageObserver(store), story(tmp_path, 1, {}).metrics(step=values).complete())
    monkeypatch.chdir(tmp_path)
    line = next(line for line in show("1", "--metrics").splitlines() if line.startswith("step"))
    assert line.split()[-1] == "▁" * 15 + "█" * 15


@pytest.mark.facts
def test_a_real_run_is_shown(tmp_path, monkeypatch, show):
    """With all that a run records by itself."""
    monkeypatch.chdir(tmp_path)
    ex = Experiment("real", observers=["runs"], save_git_info=False)

    @ex.config
    def config():
        lr = 0.1
        net = {"depth": 3, "width": 5}

    @ex.main
    def train(lr, _run):
        print("said")
        return {"score": lr}

    ex.run(config_updates={"net": {"depth": 4}})
    page = show("latest")
    assert page.startswith("1  real  COMPLETED\n") and "said" in page and "{'score': 0.1}" in page
    assert "*  net.depth" in page and "   net.width" in page and "   lr" in page


def test_huge_values_do_not_break_the_page(tmp_path, show, monkeypatch):
    """A whole table in a config is shown, on one line."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path, table=list(range(5000)), text="x" * 100_000, deep={"a": {"b": {"c": float("nan")}}})
    page = show("1")
    assert "deep.a.b.c" in page and "nan" in page and "x" * 100_000 in page


def test_the_page_can_be_taken_by_stringio(one_run, monkeypatch):
    """Whoever calls the command from Python may have replaced standard output."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["show", "1"]) == 0
    assert stream.getvalue().startswith("1  digits")
    assert main(["show", "1", "--source=util.py"]) == 0
    assert stream.getvalue().endswith("x = 1\n")
