"""What commands print: widths, colours, the pager, and other people's text."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.cli import _console as console
from capture.errors import CommandLineError
from tests.cli.looking import ROOT, on_a_terminal, plain

on_unix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")


def test_output_keeps_its_lines_and_loses_its_colours():
    """A coloured log is read as text; anything else that it would tell the terminal is shown."""
    assert console.escape_output("\x1b[31mred\x1b[0m\tx\r\nnext\x1b]0;title\x07\x08") == "red\tx\nnext\\x08"


def test_letters_of_two_columns_stand_in_line(capsys):
    """A name in Chinese, or an emoji in a tag, must not shift the columns after it."""
    console.print_table(["name", "n"], [["損失", "1"], ["🚀 up", "22"], ["e\u0301", "3"]], ["left", "right"])
    assert capsys.readouterr().out.splitlines() == ["name    n", "損失    1", "🚀 up  22", "e\u0301       3"]


def test_markup_is_no_markup(capsys):
    """Square brackets are rich's markup; in a config they are a list."""
    console.print_table(["[bold]", "b"], [["[red]x[/red]", "\x1b[2J"]])
    assert capsys.readouterr().out == "[bold]        b\n[red]x[/red]  \\x1b[2J\n"


@given(st.lists(st.floats() | st.integers() | st.none(), max_size=200), st.integers(1, 60))
def test_a_sparkline_is_never_wider_than_asked(values, width):
    """Whatever a metric holds: nothing, infinity, numbers beyond the range of floats."""
    line = console.sparkline(values, width)
    assert len(line) == min(len(values), width)
    assert set(line) <= set("▁▂▃▄▅▆▇█ ")


def test_a_sparkline_has_gaps_where_there_is_no_number():
    """A diverged loss must not look like a low one."""
    nan, inf = float("nan"), float("inf")
    assert console.sparkline([0, nan, 7, inf]) == "▁ █ "
    assert console.sparkline([3, 3]) == "▄▄"
    assert console.sparkline([nan, nan]) == "  "
    assert console.sparkline([0.0] * 500 + [1.0] * 500, 4) == "▁▁██"
    assert console.sparkline([nan, 2.0, nan, 4.0], 2) == "▁█"
    assert console.sparkline([10**400, 1], 2) == " ▄"
    assert console.sparkline([-1e308, 0, 1e308]) == "▁▅█"  # what is between them is beyond the range of floats
    assert console.sparkline([0, 5e-324]) == "▄▄" and console.sparkline([0, 1e-323]) == "▁█"


def test_json_is_strict_and_ascii(capsys):
    """NaN is no JSON, and a record may hold anything."""
    numpy = pytest.importorskip("numpy")
    value = {"nan": float("nan"), 5: (1, {2}), "array": numpy.array([1.0, numpy.inf]), "big": 10**5000, "é": "\x1b"}
    console.print_json(value)
    text = capsys.readouterr().out
    assert text.isascii() and "NaN" not in text and "\x1b" not in text
    read = json.loads(text)
    assert read["nan"] is None and read["5"][0] == 1 and read["array"] == [1.0, None] and read["é"] == "\x1b"


def test_colours_are_for_terminals_that_want_them(monkeypatch):
    """https://no-color.org, and what a log file holds."""
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert console.colour_enabled(terminal) and not console.colour_enabled(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not console.colour_enabled(terminal)
    monkeypatch.setenv("NO_COLOR", "")
    assert console.colour_enabled(terminal)
    monkeypatch.setenv("TERM", "dumb")
    assert not console.colour_enabled(terminal)


def test_the_pager_is_the_one_that_is_asked_for(monkeypatch):
    """CAPTURE_PAGER before PAGER; an empty one, or cat, is none."""
    for name in ("CAPTURE_PAGER", "PAGER"):
        monkeypatch.delenv(name, raising=False)
    assert console.pager_command() == ["less", "-FRX"]
    monkeypatch.setenv("PAGER", "more -s")
    assert console.pager_command() == ["more", "-s"]
    monkeypatch.setenv("CAPTURE_PAGER", "")
    assert console.pager_command() == []
    monkeypatch.setenv("CAPTURE_PAGER", "less 'x")
    with pytest.raises(CommandLineError, match="not understood"):
        console.pager_command()


@on_unix
def test_a_terminal_gets_colours_and_a_pipe_none(six_runs):
    """The same command, as it is seen and as it is read."""
    shown, status = on_a_terminal(["ls"], 100)
    assert status == 0 and "\x1b[32mCOMPLETED\x1b[0m" in shown
    for variables in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in on_a_terminal(["ls"], 100, **variables)[0]
    done = subprocess.run([sys.executable, "-m", "capture", "ls"], capture_output=True, text=True)
    assert "\x1b" not in done.stdout and "COMPLETED" in done.stdout


@pytest.mark.slow
@on_unix
def test_what_is_longer_than_the_screen_goes_through_the_pager(six_runs):
    """And what is not is just there."""
    pager = f"{sys.executable} -c \"import sys; print('PAGED', len(sys.stdin.read().splitlines()))\""
    assert plain(on_a_terminal(["ls"], lines=5, CAPTURE_PAGER=pager)[0]).strip() == "PAGED 7"
    assert "PAGED" not in on_a_terminal(["ls"], lines=24, CAPTURE_PAGER=pager)[0]
    assert "PAGED" not in on_a_terminal(["ls", "--no-pager"], lines=5, CAPTURE_PAGER=pager)[0]
    shown, status = on_a_terminal(["ls"], lines=5, CAPTURE_PAGER="no-such-pager-here")
    assert status == 0 and shown.count("COMPLETED") == 6


@on_unix
def test_leaving_the_pager_early_is_no_error(six_runs):
    """`q` on the first page of a long output."""
    pager = f'{sys.executable} -c "print(input())"'
    shown, status = on_a_terminal(["show", "1", "--json"], lines=5, CAPTURE_PAGER=pager)
    assert status == 0 and "Traceback" not in shown
    shown, status = on_a_terminal(["show", "1"], lines=5, CAPTURE_PAGER=pager)
    assert status == 0 and "Traceback" not in shown and "Error" not in shown


@pytest.mark.slow
def test_output_that_knows_only_ascii_gets_ascii(six_runs):
    """LANG=C in a cron job must not end a command with a traceback."""
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": ROOT}
    for arguments in (["ls", "--group-by"], ["show", "1"], ["best"], ["ls", "--md", "--group-by"]):
        done = subprocess.run([sys.executable, "-m", "capture", *arguments], env=env, capture_output=True)
        assert done.returncode == 0 and done.stdout.isascii() and done.stdout, done.stderr
    assert b"+-" in done.stdout


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_error(six_runs):
    """`capture show 1 | head -1`, with output that is not flushed before the end, and with plenty."""
    for command in ("ls", "show 1", "show 1 --json", "ls -a --json", "best"):
        line = f"{sys.executable} -m capture {command} | true; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", line], env={**os.environ, "PYTHONPATH": ROOT}, capture_output=True, text=True)
        assert (done.stderr, done.stdout.strip()) == ("", "0"), done


def test_a_command_whose_status_is_the_answer_does_not_claim_success_to_nobody(monkeypatch, capsys):
    """Of `capture verify --all | head -1` nobody knows whether all is well; as a shell says of `grep`, it is 141."""
    from capture import cli
    from capture.cli import show, verify

    def broken(_arguments):
        raise BrokenPipeError

    monkeypatch.setattr(verify, "run", broken)
    monkeypatch.setattr(show, "run", broken)
    assert cli.main(["verify", "--all"]) == 141
    assert cli.main(["show", "1"]) == 0
    assert capsys.readouterr().err == ""


def test_commands_that_print_tables_do_not_import_rich_in_a_pipe(six_runs):
    """It costs more than all the rest of `capture ls`; nor does the help need what the commands need."""
    code = (
        "import sys\nfrom capture.cli import main\nmain(sys.argv[1:])\n"
        "print([name for name in ('rich', 'numpy', 'pandas', 'docopt') if name in sys.modules], file=sys.stderr)"
    )
    for arguments, expected in ((["ls"], "['docopt']"), (["--help"], "[]")):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, "PYTHONPATH": ROOT}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stderr.strip() == expected


def test_progress_is_for_terminals_only(capsys):
    """A log of a nightly job has no use for it."""
    with console.progress("reading", 3) as line:
        line.advance()
        line.advance(2, "more")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_progress_says_how_far_it_is_and_goes_away(monkeypatch):
    """On a terminal the line is written over, and cleared at the end."""
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with console.progress("reading \x1b", 3) as line:
        line.advance()
    assert stream.getvalue() == "\r\x1b[Kreading \\x1b 1/3\r\x1b[K"
