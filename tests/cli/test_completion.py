"""``capture completion``: what TAB offers, in the shells themselves."""

from __future__ import annotations

import os
import select
import shlex
import subprocess
import sys
import time

import pytest

from capture.cli import COMMANDS, main
from capture.cli.completion import FILES, FOLDERS, SCRIPTS, candidates
from tests.cli.making import fill
from tests.cli.test_stores import leave_journal
from tests.servers import shells
from tests.servers.fixtures import check_mark, leave_out


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return a folder with a store of two runs in ./runs, and a command ``capture`` on PATH; it is the current one."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "capture"
    patient = "import sys; from capture.cli import completion, main; completion.WAIT_S = 100; sys.exit(main())"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(patient)} "$@"\n')
    command.chmod(0o755)
    monkeypatch.setattr("capture.cli.completion.WAIT_S", 100.0)  # a machine that is busy
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
    work = tmp_path / "work"
    (work / "data").mkdir(parents=True)
    for name in ("data.txt", "a name.txt", "[d]*.txt"):
        (work / name).write_text("")
    monkeypatch.chdir(work)
    fill("runs", tmp_path, "01", "02")
    main(["tag", "--add=two words", "--add=base", "1"])
    return work


def shell(name):
    """Return the name of a shell that is there; skip the test, or fail it, where it is not."""
    if name != "bash":
        check_mark()
    reason = shells.missing(name)
    if reason:
        leave_out(reason)
    return name


def names(*words):
    return [each.partition("\t")[0] for each in candidates(["capture", *words])]


def test_commands_and_their_options_are_offered():
    """From the help of each, so that none is forgotten."""
    assert names("")[: len(COMMANDS)] == list(COMMANDS)
    assert names("ver") == ["verify"] and names("--v") == ["--version"]
    assert "--older-than=" in names("purge", "--") and "--json" in names("verify", "--j")
    assert names("nosuch", "") == []
    for command in COMMANDS:
        assert isinstance(names(command, "-"), list)


def test_runs_tags_and_files_of_the_chosen_store_are_offered(place):
    """The newest first, with what tells them apart."""
    assert candidates(["capture", "verify", ""]) == ["2\tdigits COMPLETED", "1\tdigits COMPLETED"]
    assert names("tag", "1", "--remove=") == ["base", "two words"] == names("tag", "1", "-r", "")
    assert names("get", "1", "m") == ["model.bin"] and names("get", "--sources", "1", "") == ["train.py"]
    assert names("show", "1", "--source=") == ["train.py"] and names("lineage", "") == ["2", "1", FILES]
    assert names("restore", "") == []
    main(["rm", "2"])
    assert names("restore", "") == ["2"] and names("rm", "") == ["1"]
    assert names("rm", "--store=elsewhere", "") == [], "a store that is not there has no runs, and that is no error"
    assert names("cp", "runs", "other", "") == ["1"]
    assert names("note", "1", "text", "") == []


def test_runs_of_a_store_that_stands_before_them_are_offered(place, tmp_path):
    """Behind two colons; bash breaks the word there and replaces only what follows."""
    fill("sqlite:///lab.db", tmp_path, "03")
    assert names("diff", "1", "sqlite:///lab.db::") == ["sqlite:///lab.db::1"]
    assert names("show", "./runs::") == ["./runs::2", "./runs::1"] and names("show", "runs::1") == ["runs::1"]
    assert names("diff", "runs", "::", "") == ["2", "1"] == names("diff", "1", "runs", "::")
    assert names("diff", "1", "sqlite", ":", "///lab.db", "::") == ["1"]
    assert names("diff", "1", "sqlite", ":", "///lab.db", "::", "2") == []
    assert names("get", "runs::1", "m") == ["model.bin"] == names("get", "runs", "::", "1", "m")
    assert names("show", "runs::1", "--source=") == ["train.py"] and names("show", "nowhere::") == []
    assert names("show", "./r") == [FILES] == names("show", "~/r") and names("show", "r") == []
    main(["rm", "2"])
    assert names("restore", "runs::") == ["runs::2"]


def test_columns_and_paths_of_the_newest_runs_are_offered(place):
    """Short names where they are clear, also behind a comma; in a condition full paths, states, experiments."""
    assert "lr" in names("ls", "--cols=") and names("ls", "--cols=config.l") == ["config.lr"]
    assert names("ls", "--sort", "los") == ["loss"] == names("best", "--by=los")
    assert names("ls", "--cols", "lr,los") == ["lr,loss"] and names("ls", "--group-by=config.l") == ["config.lr"]
    assert names("ls", "config.l") == ["config.lr"] == names("best", "config.l")
    assert names("ls", "config.lr < 1 and metrics.loss.l") == ["config.lr < 1 and metrics.loss.last"]
    assert names("ls", "fai") == ["failed"] and names("ls", "dig") == ["digits"]
    assert names("rm", "--where", "not sta") == ["not status", "not start_time"]
    assert names("ls", "") == [] == names("ls", "--store=elsewhere", "--cols=")


def test_a_key_that_is_pressed_delivers_nothing(place, state_dir):
    """It would be broken off as soon as the shell has its answer."""
    journal = leave_journal(state_dir, f"file://{place}/runs")
    assert names("verify", "") == ["2", "1"]
    assert os.path.exists(journal)


def test_files_are_left_to_the_shell():
    """It knows how to quote them, and where the home is."""
    assert names("cp", "") == [FILES] == names("stores", "") == names("ls", "--store", "")
    assert names("get", "1", "--to", "") == [FOLDERS] == names("get", "1", "--to", "=", "x")
    assert names("trace", "") == [FILES] and names("demo", "") == []
    assert names("completion", "") == list(SCRIPTS)


def test_what_a_record_holds_stays_text(place, tmp_path):
    """A line end in a name would be another candidate."""
    from capture.registry import make_observer
    from capture.testing import tell
    from tests.cli.making import story

    tell(make_observer("runs"), story(tmp_path, "03", end=False).artifact("evil\n:files\t$(x)", b"").complete())
    assert "evil?:files?$(x)" in names("get", "3", "e")


def test_the_scripts_ask_for_the_words(place, monkeypatch, capsys):
    """The protocol: a variable with a word on each line, and a dot behind them."""
    monkeypatch.setenv("_CAPTURE_WORDS", "capture\nverif\n.")
    assert main(["completion", "--words"]) == 0
    assert capsys.readouterr().out.startswith("verify\t")
    monkeypatch.delenv("_CAPTURE_WORDS")
    assert main(["completion", "--words"]) == 2
    assert main(["completion", "tcsh"]) == 2
    for name, script in SCRIPTS.items():
        capsys.readouterr()
        assert main(["completion", name]) == 0
        assert capsys.readouterr().out == script


BASH = """
source <(capture completion bash)
complete -p capture >&2 || exit 1
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_capture_complete
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(("words", "expected"), [
    ("capture ver", ["verify"]),
    ("capture verify ''", ["2", "1"]),
    ("capture verify --js", ["--json"]),
    ("capture get --st", ["--store="]),
    ("capture rm --store = ''", ["\\[d\\]\\*.txt", "a\\ name.txt", "data", "data.txt", "runs"]),
    ("capture get 1 --to = da", ["data"]),
    ("capture tag 1 --remove = tw", ["two\\ words"]),
    ("capture tag 1 -r b", ["base"]),
    ("capture report -o a", ["a\\ name.txt"]),
    ("capture ls --cols = config.l", ["config.lr"]),
    ("capture ls '\"config.lr < 1 and config.l'", ["config.lr < 1 and config.lr"]),
    ("capture tag 1 -r '\"tw'", ["two words"]),
    ("capture diff 1 runs :: ''", ["2", "1"]),
    ("capture diff 1 runs ::", ["2", "1"]),
    ("capture diff 1 '\"runs::'", ["runs::2", "runs::1"]),
])  # fmt: skip
def test_bash_completes(place, words, expected):
    """As readline would call it; at = it breaks words."""
    done = subprocess.run([shell("bash"), "--norc", "-c", BASH.format(words=words)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert (sorted(lines) if "store" in words else lines) == expected


def test_what_a_record_holds_is_quoted_for_bash(place):
    """A tag that looks like an option without its value: whoever presses TAB and Enter must not run it."""
    main(["tag", "--add=--x$(touch ran)=", "1"])
    script = BASH.format(words="capture tag 1 -r --x")
    done = subprocess.run([shell("bash"), "--norc", "-c", script], capture_output=True, text=True, timeout=600)
    assert done.stdout.splitlines() == ["--x\\$\\(touch\\ ran\\)="], done.stderr
    script = BASH.format(words="capture tag 1 -r '\"--x'")
    done = subprocess.run([shell("bash"), "--norc", "-c", script], capture_output=True, text=True, timeout=600)
    assert not done.stdout.strip(), "between double quotes it would be run"


@pytest.mark.skipif(os.name == "nt", reason="there is no terminal of this kind")
def test_bash_completes_between_quotes_and_behind_colons(place, tmp_path):
    """Keys are pressed at a terminal: readline keeps the quote that is open, and closes it; and it keeps the store."""
    fill("sqlite:///lab.db", tmp_path, "03")
    terminal = Terminal(shell("bash"), "--norc", "--noprofile", "-i")
    try:
        terminal.type("bind 'set bell-style none'; source <(capture completion bash); echo LO''ADED\n", "LOADED")
        shown = terminal.type('capture ls --csv --cols config.nu\t "config.lr < 1 and config.numb\t; echo D\'\'ONE1\n', "DONE1")
        assert "label,config.number\r\n2,2\r\n" in shown, shown
        shown = terminal.type("capture verify sqlite:///lab.db::\t 'sqlite:///lab.db::\t; echo D''ONE2\n", "DONE2")
        assert shown.count("run 1: 5 files") == 1, shown
    finally:
        terminal.type("exit\n", "exit")
        terminal.close()


@pytest.mark.server
@pytest.mark.parametrize(("line", "expected"), [
    ("capture ver", ["verify\tCompute every digest of a run's files again."]),
    ("capture verify ", ["1\tdigits COMPLETED", "2\tdigits COMPLETED"]),
    ("capture verify --js", ["--json\tPrint the answer as JSON."]),
    ("capture verify 2 runs::", ["runs::1\tdigits COMPLETED", "runs::2\tdigits COMPLETED"]),
    ("capture get 1 --to=da", ["--to=data/"]),
    ("capture tag 1 --remove=", ["--remove=base", "--remove=two words"]),
    ("capture get 1 m", ["model.bin\tartifacts"]),
    ("capture best --by=config.l", ["--by=config.lr"]),
    ('capture ls "config.lr < 1 and config.l', ["config.lr < 1 and config.lr"]),
])  # fmt: skip
def test_fish_completes(place, line, expected):
    """Asked as fish asks itself."""
    script = f"capture completion fish | source; complete -C {shlex.quote(line)}"
    done = subprocess.run([shell("fish"), "--no-config", "-c", script], capture_output=True, text=True, timeout=600)
    assert sorted(done.stdout.splitlines()) == expected, done.stderr


class Terminal:
    """A shell at a terminal of its own."""

    def __init__(self, *command):
        import pty

        pid, self._terminal = pty.fork()
        if pid == 0:
            os.environ.update(TERM="dumb", PS1="> ")
            os.execvp(command[0], command)
        self._pid = pid

    def type(self, keys, until):
        """Press keys; return what is on the screen when a text has appeared there."""
        os.write(self._terminal, keys.encode())
        seen, end = "", time.monotonic() + 120
        while until not in seen and time.monotonic() < end:
            if select.select([self._terminal], [], [], 0.5)[0]:
                seen += os.read(self._terminal, 65536).decode("utf-8", "replace")
        assert until in seen, seen
        return seen

    def close(self):
        os.close(self._terminal)
        os.waitpid(self._pid, 0)


@pytest.mark.server
@pytest.mark.skipif(os.name == "nt", reason="there is no zsh, and no terminal of this kind")
def test_zsh_completes(place):
    """Keys are pressed at a terminal: what TAB has added is carried out."""
    terminal = Terminal(shell("zsh"), "-f", "-i")
    try:
        load = "autoload -U compinit; compinit -u -D; source <(capture completion zsh); print LO''ADED\n"
        terminal.type(load, "LOADED")
        assert "-- digits COMPLETED" in terminal.type("capture verify \t\t", "1  -- digits")
        terminal.type("\x15print CLE''ARED\n", "CLEARED")
        assert "Compute every digest" in terminal.type("capture veri\t--help; print D''ONE1\n", "DONE1")
        assert "1    base\r\n" in terminal.type("capture tag 1 --remove=tw\t; print D''ONE2\n", "DONE2")
        conditions = 'capture ls --csv --cols=config.nu\t "config.lr < 1 and config.numb\t; print D\'\'ONE5\n'
        assert "label,config.number\r\n2,2\r\n" in terminal.type(conditions, "DONE5")
        assert "5 files" in terminal.type("capture verify --store=ru\t 1; print D''ONE3\n", "DONE3")
        main(["rm", "2"])
        assert "run 1: 5 files" in terminal.type("capture verify \t; print D''ONE4\n", "DONE4")
        assert "run 1: 5 files" in terminal.type("capture verify ./runs::\t; print D''ONE7\n", "DONE7")
    finally:
        terminal.close()
