"""``capture lineage``: the question as people type it, on real runs of a small pipeline."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from capture import Experiment
from capture.cli import main
from capture.observers import FileStorageObserver
from tests.cli.test_cp import SACRED


def step(name: str, reads: str, writes: str) -> None:
    """Run an experiment that makes one file of another."""
    ex = Experiment(name, base_dir=os.getcwd(), interactive=True)
    ex.observers.append(FileStorageObserver("runs"))

    @ex.main
    def make():
        with open(reads) as source:
            text = source.read()
        with open(writes, "w") as target:
            target.write(f"{text}, {name}")

    ex.run()


@pytest.fixture
def pipeline(tmp_path, monkeypatch):
    """Go to a folder in which three steps were run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw.csv").write_text("raw")
    step("prepare", "raw.csv", "clean.csv")
    step("train", "clean.csv", "model.txt")
    step("evaluate", "model.txt", "report.txt")
    return tmp_path


def lines(capsys) -> list[str]:
    """Return what was printed without digests, sizes and times."""
    return [" ".join(line.split()[:5]) for line in capsys.readouterr().out.splitlines()]


def test_a_file_on_disk_is_told_of(pipeline, capsys):
    """As a question about the file that lies there now."""
    assert main(["lineage", "model.txt"]) == 0
    out = capsys.readouterr().out
    for part in ("written by run 2 train", "read clean.csv", "written by run 1 prepare", "read by run 3 evaluate"):
        assert part in " ".join(out.split())
    assert "written by no recorded run" in out


def test_the_answer_is_no_where_nobody_knows(pipeline, capsys):
    """Scripts ask, too: status 1."""
    (pipeline / "clean.csv").write_text("changed since")
    assert main(["lineage", "clean.csv"]) == 1
    out = capsys.readouterr().out
    assert "written by no recorded run" in out
    assert "Runs that knew this path with another content:" in out and "prepare" in out
    assert main(["lineage", "nothing.csv"]) == 1
    assert "'nothing.csv' is no file here" in capsys.readouterr().err


def test_other_contents_of_a_path_are_one_line_where_there_is_an_answer(pipeline, capsys):
    """A file that every run writes anew would else come with a list of all of them."""
    for text in ("two", "three"):
        (pipeline / "raw.csv").write_text(text)
        step("prepare", "raw.csv", "clean.csv")
    assert main(["lineage", "--up", "clean.csv"]) == 0
    out = capsys.readouterr().out
    assert "written by run 5" in out and "Runs that knew" not in out
    assert "3 runs knew this path with another content; the newest is run 4, which wrote it (--all lists them)" in out
    assert main(["lineage", "--up", "--all", "clean.csv"]) == 0
    out = capsys.readouterr().out
    assert "Runs that knew this path with another content:" in out and "run 1  prepare" in out


def test_ways_and_depth(pipeline, capsys):
    """--up, --down and --depth leave out what nobody asked for."""
    assert main(["lineage", "--up", "--depth=1", "report.txt"]) == 0
    out = capsys.readouterr().out
    assert "evaluate" in out and "model.txt" not in out and "read by" not in out
    assert main(["lineage", "--down", "1"]) == 0
    out = capsys.readouterr().out
    assert "report.txt" in out and "raw.csv" not in out
    assert main(["lineage", "--depth=0", "1"]) == 2
    assert "--depth takes a whole number from 1 on" in capsys.readouterr().err


def test_the_same_as_json_dot_and_mermaid(pipeline, capsys):
    """For programs and for pictures."""
    assert main(["lineage", "--json", "-1"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["start"] == ["run:3"] and len([node for node in plain["nodes"] if node["kind"] == "run"]) == 3
    assert main(["lineage", "--mermaid", "3"]) == 0
    assert capsys.readouterr().out.startswith("flowchart LR\n")
    assert main(["lineage", "--dot", "3"]) == 0
    dot = capsys.readouterr().out
    assert dot.startswith("digraph lineage {")
    if shutil.which("dot"):
        done = subprocess.run(["dot", "-Tsvg"], input=dot, capture_output=True, text=True)
        assert done.returncode == 0 and "evaluate" in done.stdout
    assert main(["lineage", "--dot", "--json", "3"]) == 2


def test_another_store_is_asked(pipeline, capsys, tmp_path, monkeypatch):
    """From anywhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert main(["lineage", f"--store={pipeline}/runs", "2"]) == 0
    assert "model.txt" in capsys.readouterr().out
    assert main(["lineage", "2"]) == 2
    (elsewhere / "runs").mkdir()
    assert main(["lineage", "2"]) == 2
    assert "holds no runs" in capsys.readouterr().err


def test_records_of_sacred_are_told_of(capsys):
    """By what they know: resources and artifacts."""
    assert main(["lineage", f"--store={SACRED}", "1"]) == 0
    assert "(its files were not watched)" in capsys.readouterr().out


def test_a_terminal_without_unicode_gets_a_tree_too(pipeline):
    """An old console shows question marks otherwise, or nothing."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "CAPTURE_STORE": f"{pipeline}/runs"}
    done = subprocess.run(
        [os.sys.executable, "-m", "capture", "lineage", "3"], capture_output=True, env=environment, cwd=pipeline
    )
    assert done.returncode == 0, done.stderr
    assert b"`- " in done.stdout


def test_what_is_said_of_runs_that_cannot_be_read_moves_no_cursor(pipeline, capsys, monkeypatch):
    """Paths in other people's records may hold control sequences; they are spelt out on stderr, too."""
    from capture.query import lineage

    def add(self, record, place):
        self.unreadable.append("the list of the files in \x1b[2J cannot be read")

    monkeypatch.setattr(lineage.Lineage, "add", add)
    assert main(["lineage", "report.txt"]) == 1
    told = capsys.readouterr().err
    assert "cannot be read" in told
    assert "\x1b" not in told
