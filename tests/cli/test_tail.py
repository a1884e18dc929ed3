"""``capture tail``: the end of the output, and what is added to it while the run goes on, in any store."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys

import pytest

from capture import events, open_store
from capture.cli import main, tail
from capture.observers import FileStorageObserver
from capture.registry import make_observer
from capture.testing import tell
from capture.testing.feed import Teller
from tests.cli.looking import ROOT, on_a_terminal, plain, story
from tests.cli.test_console import on_unix
from tests.servers.fixtures import each_kind, url_of_kind


@pytest.fixture
def ended(tmp_path, monkeypatch):
    """Make a run that printed twenty lines, and completed."""
    told = story(tmp_path, 1, {}).add(events.Output(text="".join(f"line {n}\n" for n in range(20)), offset=0))
    tell(FileStorageObserver(str(tmp_path / "runs")), told.complete())
    monkeypatch.chdir(tmp_path)


def test_the_last_lines_are_shown(ended, capsys):
    """Ten, or as many as one likes."""
    assert main(["tail", "1"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"line {n}" for n in range(10, 20)]
    assert main(["tail", "-n", "2", "1"]) == 0
    assert capsys.readouterr().out == "line 18\nline 19\n"
    for count, expected in (("0", 0), ("100", 20)):
        assert main(["tail", "--lines", count, "1"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == expected
    assert main(["tail", "-n", "x", "1"]) == 2
    assert main(["tail", "7"]) == 1


def test_following_a_run_that_has_ended_ends_at_once(ended, capsys):
    """And says how it ended."""
    assert main(["tail", "-f", "1"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == "line 19" and "COMPLETED" in captured.err


@pytest.mark.parametrize("scheme", each_kind("file", "sqlite", "tinydb", "mongo"))
def test_what_is_added_is_printed_until_the_run_ends(scheme, tmp_path, monkeypatch, capsys, request):
    """The same in every store: each time it is asked, only what is new is printed."""
    pytest.importorskip({"sqlite": "sqlalchemy", "tinydb": "tinydb", "mongo": "pymongo"}.get(scheme, "capture"))
    url = url_of_kind(scheme, request, tmp_path)
    told = story(tmp_path, 1, {}).add(events.Output(text="one\ntw", offset=0))
    teller = Teller(make_observer(url), told)

    def deliver():
        teller.tell(told.lines()[deliver.count :])
        teller.flush()
        deliver.count = len(told.lines())

    deliver.count = 0
    deliver()
    steps = iter(
        [
            lambda: told.add(events.Output(text="o\nthree\n", offset=6)),
            lambda: None,
            lambda: told.add(events.Output(text="end", offset=14)),
            lambda: told.complete(),
        ]
    )

    def meanwhile(seconds):
        next(steps)()
        deliver()

    monkeypatch.setattr(tail, "_wait", meanwhile)
    monkeypatch.setattr(type(open_store(url).reader), "is_alive", lambda self, record: True)
    assert main(["tail", "-f", f"--store={url}", "1"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "one\ntwo\nthree\nend\n" and "COMPLETED" in captured.err
    assert next(steps, None) is None


@pytest.mark.parametrize(
    ("alive", "end", "said"),
    [(True, lambda told: told.add(events.Failed(fail_time=told.moment(), fail_trace=["x"])), "FAILED"), (False, None, "DIED")],
)
def test_a_run_that_did_not_complete_is_status_1(alive, end, said, tmp_path, monkeypatch, capsys):
    """`capture tail -f 3 && send-mail`."""
    store = str(tmp_path / "runs")
    told = story(tmp_path, 1, {}).add(events.Output(text="last words", offset=0))
    tell(FileStorageObserver(store), end(told) if end else told)
    monkeypatch.setattr(type(open_store(store).reader), "is_alive", lambda self, record: alive)
    monkeypatch.chdir(tmp_path)
    assert main(["tail", "-f", "1"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "last words\n" and said in captured.err


def test_silence_is_told_once(tmp_path, monkeypatch, capsys):
    """A run on another machine, whose last sign came in January: whether it lives nobody can tell."""
    store = str(tmp_path / "runs")
    tell(FileStorageObserver(store), story(tmp_path, 1, {}).beat())
    asked = []

    def wait(seconds):
        asked.append(seconds)
        if len(asked) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(tail, "_wait", wait)
    monkeypatch.chdir(tmp_path)
    assert main(["tail", "-f", "1"]) == 130
    assert capsys.readouterr().err.count("no sign for") == 1


def test_a_store_that_is_away_for_a_while_is_asked_again(ended, monkeypatch, capsys):
    """A server that is restarted does not end what one looks at."""
    from capture.errors import ObserverError
    from capture.query.client import StoredRun

    answers = iter([None, ObserverError("the server is away"), None])

    def output(self):
        error = next(answers, None)
        if error is not None:
            raise error
        return self.record.output

    monkeypatch.setattr(type(open_store("runs").reader), "output_from", lambda self, label, start: None)
    states = iter(["RUNNING", "RUNNING", "COMPLETED"])
    monkeypatch.setattr(StoredRun, "state", property(lambda self: next(states)))
    monkeypatch.setattr(tail, "_wait", lambda seconds: None)
    monkeypatch.setattr(StoredRun, "output", property(output))
    assert main(["tail", "-f", "1"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("the server is away") == 1 and captured.out.count("line 19") == 1


def test_a_store_that_stays_away_is_told_once(ended, monkeypatch, capsys):
    """A server that is down over night is one line, not a hundred thousand; once it was back, the next time is told."""
    from capture.errors import ObserverError
    from capture.query.client import Store, StoredRun

    answers = iter([False, True, True, True, False, True, False])
    whole = Store.get

    def get(self, run):
        if next(answers):
            raise ObserverError("the server is away")
        return whole(self, run)

    states = iter([*["RUNNING"] * 6, "COMPLETED"])
    monkeypatch.setattr(Store, "get", get)
    monkeypatch.setattr(StoredRun, "state", property(lambda self: next(states)))
    monkeypatch.setattr(tail, "_wait", lambda seconds: None)
    assert main(["tail", "-f", "1"]) == 0
    assert capsys.readouterr().err.count("the server is away") == 2


def test_a_line_that_is_written_over_waits_in_a_pipe():
    """A log file of a progress bar holds its last state, not a thousand."""
    stream, stdout = io.StringIO(), sys.stdout
    sys.stdout = stream
    try:
        printer = tail.PipePrinter()
        for text in ("a\n10%", "a\n20%", "a\n100%\nb", "a\n100%\nb\nc\nd"):
            printer.show(text)
        printer.show("a\n100%\nB\nc\nd", is_last=True)
    finally:
        sys.stdout = stdout
    assert stream.getvalue() == "a\n100%\nb\nc\nB\nc\nd\n"


def test_a_line_that_is_written_over_is_written_over_on_a_terminal(monkeypatch):
    """As the run's own terminal showed it; also a line wider than the screen."""
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("COLUMNS", "10")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("TERM", "xterm")
    printer = tail.TerminalPrinter()
    printer.show("a\n10%")
    printer.show("a\n20%")
    printer.show("a\n20%" + "x" * 10)
    printer.show("a\n30%")
    assert stream.getvalue() == "a\n10%\r\x1b[J20%xxxxxxxxxx\x1b[1A\r\x1b[J30%"
    monkeypatch.setenv("TERM", "dumb")
    printer.show("a\n40%", is_last=True)
    assert stream.getvalue().endswith("30%\n40%\n")


def test_long_outputs_are_compared_by_halves():
    """Up to the beginning of the line that has changed."""
    old = "x\n" * 50_000 + "10%"
    assert tail.kept_lines(old, old[:-3] + "20%") == 100_000
    assert tail.kept_lines(old, old + "\n") == len(old)
    assert tail.kept_lines("abc", "xbc") == 0
    assert tail.kept_lines("", "a") == 0


@on_unix
@pytest.mark.slow
def test_a_real_run_is_followed_to_its_end_and_to_its_death(tmp_path):
    """The script in one process, the command in another, on a terminal and in a pipe."""
    (tmp_path / "slow.py").write_text(
        "import os, signal, time\nfrom capture import Experiment\nex = Experiment('slow', save_git_info=False)\n"
        "@ex.automain\ndef main(dies=False):\n"
        "    for step in range(4):\n"
        "        print('step', step, flush=True)\n"
        "        time.sleep(0.3)\n"
        "    if dies:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = {**os.environ, "PYTHONPATH": ROOT}

    def started(*words):
        process = subprocess.Popen(
            [sys.executable, "slow.py", *words, "-l", "ERROR"], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "step 0\n"
        while not (tmp_path / "runs").is_dir() or open_store(tmp_path / "runs").labels()[-1:] != [started.label]:
            assert process.poll() is None
        return process

    store = str(tmp_path / "runs")
    started.label = "1"
    with started() as process:
        shown, status = on_a_terminal(["tail", "-f", "latest"], CAPTURE_STORE=store)
        process.stdout.read()
    assert status == 0 and [f"step {n}" for n in range(4)] == plain(shown).splitlines()[:4] and "COMPLETED" in shown
    started.label = "2"
    with started("with", "dies=True") as process:
        done = subprocess.run(
            [sys.executable, "-m", "capture", "tail", "-f", "latest"], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        process.stdout.read()
    assert done.returncode == 1 and "DIED" in done.stderr
    assert done.stdout.splitlines() == [f"step {n}" for n in range(4)]


@on_unix
def test_ctrl_c_ends_it_quietly(tmp_path, state_dir):
    """It is how one leaves; a traceback would be noise."""
    tell(FileStorageObserver(str(tmp_path / "runs")), story(tmp_path, 1, {}).add(events.Output(text="hello\n", offset=0)))
    process = subprocess.Popen(
        [sys.executable, "-m", "capture", "tail", "-f", "1"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": ROOT}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "hello\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130 and out == "" and "Traceback" not in err


def grown(url, tmp_path, monkeypatch, texts, at_end=lambda told: told.complete()):
    """Follow a run that prints these texts one after the other; return the bytes that were read each time."""
    told = story(tmp_path, 1, {})
    teller, sent, size = Teller(make_observer(url), told), 0, 0
    reads: list[int] = []

    def deliver() -> None:
        nonlocal sent
        teller.tell(told.lines()[sent:])
        teller.flush()
        sent = len(told.lines())

    waiting = iter(texts)

    def add(text: str) -> None:
        nonlocal size
        told.add(events.Output(text=text, offset=size))
        size += len(text.encode())

    add(next(waiting))
    deliver()

    def meanwhile(seconds) -> None:
        text = next(waiting, None)
        if text is None:
            at_end(told)
        else:
            add(text)
        deliver()

    reader = type(open_store(url).reader)
    output_from = reader.output_from

    def counted(self, label, start):
        found = output_from(self, label, start)
        reads.append(-1 if found is None else len(found[1]))
        return found

    monkeypatch.setattr(reader, "output_from", counted)
    monkeypatch.setattr(tail, "_wait", meanwhile)
    monkeypatch.setattr(reader, "is_alive", lambda self, record: True)
    return reads


LONG = [f"line {number:05d} of {part}: {'x' * 80}" for part in range(8) for number in range(4000)]
LONG_TEXTS = ["\n".join(LONG[at : at + 4000]) + "\n" for at in range(0, len(LONG), 4000)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "sqlite", "tinydb", "memory", *each_kind("mongo", "postgres", "mariadb")])
def test_long_output_is_not_read_again(kind, request, tmp_path, monkeypatch, capsys):
    """A run that has printed gigabytes is followed for a day: each second what is new is read, and no line is lost."""
    url = url_of_kind(kind, request, tmp_path)
    reads = grown(url, tmp_path, monkeypatch, LONG_TEXTS)
    assert main(["tail", "-f", "-n", "3", f"--store={url}", "1"]) == 0
    assert capsys.readouterr().out.splitlines() == LONG[3997:]
    if kind == "memory":
        return
    largest = len(LONG_TEXTS[0]) + 4 * tail.Followed.WINDOW
    read = [size for size in reads if size >= 0]
    assert max(read) < largest and len(read) > 3
    assert reads[-1] >= 0, "a store that keeps long output in another way is asked again"


def test_the_end_of_long_output_is_read_alone(tmp_path, monkeypatch, capsys):
    """Ten lines of 200 MB, without -f."""
    url = str(tmp_path / "runs")
    told = story(tmp_path, 1, {}).add(events.Output(text="".join(LONG_TEXTS), offset=0)).complete()
    tell(FileStorageObserver(url), told)
    from capture.query.client import StoredRun

    monkeypatch.setattr(StoredRun, "output", property(lambda self: pytest.fail("all of it was read")), raising=False)
    assert main(["tail", "-n", "2", f"--store={url}", "1"]) == 0
    assert capsys.readouterr().out.splitlines() == LONG[-2:]
    assert main(["tail", "-n", "3000", f"--store={url}", "1"]) == 0
    assert capsys.readouterr().out.splitlines() == LONG[-3000:]


def test_output_that_is_shortened_is_followed_on(tmp_path, monkeypatch, capsys):
    """The middle of very long output is left out: what comes after is shown all the same."""
    url = str(tmp_path / "runs")
    reads = grown(url, tmp_path, monkeypatch, LONG_TEXTS[:3])
    path = tmp_path / "runs" / "1" / "cout.txt"
    whole = tail._wait
    calls = []

    def shortened(seconds):
        whole(seconds)
        calls.append(seconds)
        if len(calls) == 2:
            path.write_bytes(b"[left out]\nnew end\n")

    monkeypatch.setattr(tail, "_wait", shortened)
    assert main(["tail", "-f", "-n", "1", f"--store={url}", "1"]) == 0
    assert capsys.readouterr().out.endswith("[left out]\nnew end\n") and reads


@pytest.mark.parametrize(("end", "said"), [
    (lambda store: store.curator.bin("1"), "is in the bin: restore it first"),
    (lambda store: shutil.rmtree(store.reader.folder("1")), "holds no run '1'"),
], ids=["binned", "deleted"])  # fmt: skip
def test_a_run_that_goes_away_ends_it(ended, end, said, monkeypatch, capsys):
    """Somebody bins it, or deletes its folder: to wait for it would be to wait for ever."""
    from capture.query.client import StoredRun

    monkeypatch.setattr(StoredRun, "state", property(lambda self: "RUNNING"))
    monkeypatch.setattr(tail, "_wait", lambda seconds: end(open_store("runs")))
    assert main(["tail", "-f", "1"]) == 1
    captured = capsys.readouterr()
    assert said in captured.err and captured.out.count("line 19") == 1
