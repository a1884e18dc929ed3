"""One rule says with which status a command ends: scripts and CI go by it."""

from __future__ import annotations

import pytest

from capture.cli import main
from tests.cli.making import fill

NOWHERE = "config.lr == 99"
#: commands that are told a condition which holds for no run -> their status
FRUITLESS = {
    ("ls", NOWHERE): 0,
    ("cp", "runs", "copy", NOWHERE): 1,
    ("best", NOWHERE): 1,
    ("tag", "--add=good", f"--where={NOWHERE}"): 1,
    ("rm", "--yes", f"--where={NOWHERE}"): 1,
    ("verify", f"--where={NOWHERE}"): 1,
    ("export", f"--where={NOWHERE}", "out"): 1,
}
#: commands that are told of a run that is not there -> their status
UNKNOWN = {
    **{(name, "99"): 1 for name in ("show", "tail", "restore", "verify")},
    ("tag", "--add=good", "99"): 1, ("note", "99", "x"): 1, ("rm", "99"): 1, ("purge", "--yes", "99"): 1,
    ("get", "99", "x"): 1, ("export", "99", "out"): 1, ("report", "99"): 1, ("cp", "runs", "copy", "99"): 1,
    ("diff", "1", "99"): 2,
}
LOOKING = [("ls",), ("show", "1"), ("best",), ("tag", "1"), ("verify", "1"), ("export", "1", "out"), ("diff", "1", "1")]


@pytest.fixture
def one(tmp_path, monkeypatch):
    """Return to a folder with a store of one run."""
    fill(str(tmp_path / "runs"), tmp_path, "1")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("words", [*FRUITLESS, *UNKNOWN], ids=" ".join)
def test_status_1_says_that_no_run_is_meant(words, one, capsys):
    """But an empty list is an answer, and 1 is taken where runs are compared."""
    assert main(list(words)) == {**FRUITLESS, **UNKNOWN}[words]
    assert capsys.readouterr().err


@pytest.mark.parametrize("words", LOOKING, ids=" ".join)
def test_a_store_that_is_not_there_is_a_slip_and_one_that_does_not_answer_is_none(words, one, tmp_path, capsys):
    """The first is mended on the command line, the other is not."""
    assert main([words[0], f"--store={tmp_path}/nowhere", *words[1:]]) == 2
    (tmp_path / "broken.db").write_bytes(b"SQLite format 3\0" + b"x" * 2000)
    assert main([words[0], "--store=sqlite:///broken.db", *words[1:]]) == (2 if words[0] == "diff" else 1)
    assert "Traceback" not in capsys.readouterr().err
