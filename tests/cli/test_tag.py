"""``capture tag``: tags of one run, of several, of those for which a condition holds."""

from __future__ import annotations

import subprocess
import sys

import pytest

from capture import open_store
from capture.cli import main
from tests.cli.making import fill


@pytest.fixture
def url(tmp_path):
    return fill(str(tmp_path / "runs"), tmp_path, "01", "02", "03")


def tags(url, run):
    return open_store(url).get(run).tags


def test_tags_are_added_and_taken_away_in_one_go(url, capsys):
    """A run changes its role: it was a candidate and is the baseline now."""
    assert main(["tag", f"--store={url}", "-a", "candidate", "-a", "keep", "1"]) == 0
    assert main(["tag", f"--store={url}", "--remove=candidate", "--add=baseline", "--add=keep", "1", "-1"]) == 0
    assert tags(url, "1") == ["keep", "baseline"]
    assert tags(url, "3") == ["baseline", "keep"]
    out = capsys.readouterr().out.splitlines()
    assert out[-2:] == ["1    keep, baseline", "3    baseline, keep"]


def test_a_tag_that_is_not_there_to_be_taken_away_is_told(url, capsys):
    """A slip in its name would otherwise go unnoticed; for a script it is no failure."""
    assert main(["tag", f"--store={url}", "-r", "nosuch", "1"]) == 0
    assert capsys.readouterr().err == "run 1 has no tag nosuch\n"


def test_without_options_tags_are_listed(url, capsys):
    """What a run is tagged with, and which tags there are at all."""
    main(["tag", f"--store={url}", "-a", "a b", "-a", "c", "1", "2"])
    capsys.readouterr()
    main(["tag", f"--store={url}", "-r", "c", "2"])
    capsys.readouterr()
    assert main(["tag", f"--store={url}", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == ["run  tags", "2    a b"]
    assert main(["tag", f"--store={url}"]) == 0
    assert capsys.readouterr().out.splitlines() == ["tag  runs", "a b     2", "c       1"]


def test_runs_can_be_described(url, capsys):
    """A whole series is tagged by what it has in common."""
    assert main(["tag", f"--store={url}", "-a", "late", "--where=config.number > 1"]) == 0
    assert [tags(url, run) for run in "123"] == [[], ["late"], ["late"]]
    assert main(["tag", f"--store={url}", "-a", "x", "--where=config.number > 7"]) == 1
    assert main(["tag", f"--store={url}", "-a", "x", "--where= "]) == 2
    assert "condition of --where is empty" in capsys.readouterr().err
    assert tags(url, "1") == []


def test_a_slip_changes_no_run(url, capsys):
    """One of three names is wrong: the two others are not changed before that is said."""
    assert main(["tag", f"--store={url}", "-a", "x", "1", "7", "2"]) == 1
    assert "holds no run '7'" in capsys.readouterr().err
    assert tags(url, "1") == [] == tags(url, "2")
    assert main(["tag", f"--store={url}", "--add= ", "1"]) == 2
    assert "a tag is at least one character" in capsys.readouterr().err


def test_what_a_tag_holds_cannot_move_the_cursor(url, capsys):
    """Tags come from anybody who may write into the store."""
    main(["tag", f"--store={url}", "--add=\x1b[2Jx", "1"])
    assert "\\x1b[2Jx" in capsys.readouterr().out
    assert tags(url, "1") == ["\x1b[2Jx"]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["", "sqlite", "tinydb"])
def test_taggers_at_once_lose_no_tag_of_each_other(scheme, tmp_path):
    """A script for each of ten runs' colleagues: what it adds is there in the end, whoever else adds."""
    place = tmp_path / "many"
    url = fill({"": str(place), "sqlite": f"sqlite:///{place}.db", "tinydb": f"tinydb://{place}"}[scheme], tmp_path, "01")
    code = "import sys; from capture.cli import main; sys.exit(main(sys.argv[1:]))"
    wanted = [f"t{number}" for number in range(6)]
    processes = [
        subprocess.Popen([sys.executable, "-c", code, "tag", f"--store={url}", f"--add={tag}", "1"], stdout=subprocess.DEVNULL)
        for tag in wanted
    ]
    assert [process.wait() for process in processes] == [0] * len(wanted)
    assert sorted(tags(url, "1")) == wanted


def test_a_state_folder_that_cannot_be_written_is_no_obstacle(url, monkeypatch, tmp_path, caplog):
    """The lock in it only keeps others out; the store itself is elsewhere."""
    monkeypatch.setattr("capture.journal.state_dir", lambda fallback=None: str(tmp_path / "not" / "there"))
    assert main(["tag", f"--store={url}", "--add=kept", "1"]) == 0
    assert tags(url, "1") == ["kept"] and "others may change tags and notes at the same time" in caplog.text
