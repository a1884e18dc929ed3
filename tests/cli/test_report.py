"""``capture report``: a page about runs, written in one step, never over something that is there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from capture import Experiment, open_store
from capture.cli import main
from capture.cli.report import file_name
from capture.observers import FileStorageObserver
from capture.testing.contract import uid
from capture.testing.feed import Story, tell
from tests.pages.checking import read

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GOLDEN = os.path.join(ROOT, "tests", "golden")


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Make a folder with three runs in ./runs, and go there."""
    monkeypatch.chdir(tmp_path)
    ex = Experiment("tiny", save_git_info=False)
    ex.observers.append(FileStorageObserver(tmp_path / "runs"))

    @ex.config
    def defaults():
        lr = 0.1

    @ex.main
    def main(lr, _run):
        _run.log_scalar("loss", lr, 0)
        _run.log_scalar("loss", lr / 2, 1)
        return lr

    for rate in (0.1, 0.2, 0.4):
        ex.run(config_updates={"lr": rate})
    return tmp_path


def page(path):
    return read(path.read_text(encoding="utf-8"))


def test_a_run_is_written_under_its_name(store, capsys):
    """Without any option there is a page, and where it lies is said."""
    assert main(["report", "1"]) == 0
    said = capsys.readouterr()
    assert said.out == "" and "written: run-1.html" in said.err
    assert page(store / "run-1.html").text.startswith("Run 1 of tiny")


def test_runs_are_named_as_everywhere(store, capsys):
    """latest, -1 and the end of a uid name runs here too; each is there once, in the order they are named."""
    end = open_store(store / "runs").get(1).uid[-8:]
    assert main(["report", "latest", "-1", end, "1", "-o", "p.html"]) == 0
    text = page(store / "p.html").text
    assert text.startswith("Runs 3 and 1 of tiny") and "What differs" in text


@pytest.mark.slow
def test_runs_are_chosen_by_a_condition(store, capsys):
    """A sweep is reported by what it has in common, oldest first."""
    assert main(["report", "--where=config.lr > 0.1"]) == 0
    assert page(store / "runs-2-3.html").text.startswith("Runs 2 and 3 of tiny")
    assert main(["report", "--where=config.lr > 99"]) == 1
    assert "no run for which this holds: config.lr > 99" in capsys.readouterr().err


def test_what_is_there_is_not_overwritten_unless_asked_for(store, capsys):
    """A report that somebody wrote notes into must not be lost to a repeated command."""
    (store / "run-1.html").write_text("mine")
    assert main(["report", "1"]) == 2
    assert "--force overwrites it" in capsys.readouterr().err
    assert (store / "run-1.html").read_text() == "mine"
    assert main(["report", "1", "--force"]) == 0
    assert page(store / "run-1.html").text.startswith("Run 1")


def test_a_page_can_go_to_standard_output(store, capfdbinary):
    """For a pipe: the page and nothing else, in UTF-8 whatever the terminal speaks."""
    assert main(["report", "1", "-o", "-", "--title=größe <1>"]) == 0
    said = capfdbinary.readouterr()
    assert read(said.out.decode("utf-8")).text.startswith("größe <1> ") and said.err == b""
    assert not list(store.glob("*.html"))


@pytest.mark.parametrize("path", [".", "missing/folder/x.html"])
def test_a_place_that_cannot_be_written_is_refused_and_nothing_is_left_there(store, path, capsys):
    """The message names the file; no half of a page stays behind."""
    assert main(["report", "1", "-o", path]) == 2
    assert path in capsys.readouterr().err
    assert sorted(os.listdir(store)) == ["runs"]


def test_a_failure_while_writing_leaves_the_old_page(store, monkeypatch, capsys):
    """A disk that fills up must not cost the page that was there."""
    (store / "run-1.html").write_text("old")

    def fail(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    assert main(["report", "1", "--force"]) == 2
    assert "No space left" in capsys.readouterr().err
    assert (store / "run-1.html").read_text() == "old" and sorted(os.listdir(store)) == ["run-1.html", "runs"]


def test_a_run_that_is_not_there_is_an_answer_of_no(store, capsys):
    """Exit status 1, with the runs there are."""
    assert main(["report", "99"]) == 1
    assert "holds no run '99'" in capsys.readouterr().err


@pytest.mark.slow
def test_more_than_fifty_runs_are_refused(store, capsys):
    """A page with five hundred curves in one picture helps nobody; the message says what does."""
    for mark in range(1, 52):
        tell(FileStorageObserver(store / "many"), Story(store / f"told{mark}", uid(f"{mark:02}")).start(config={"n": mark}).complete())
    assert main(["report", "--store=many", "--where=config.n > 0"]) == 2
    assert "more than 50 runs" in capsys.readouterr().err
    assert main(["report", "--store=many", "--where=config.n > 1"]) == 0


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        (["7"], "run-7.html"),
        (["1", "2"], "runs-1-2.html"),
        ([str(label) for label in range(9)], "runs-0-1-2-3-and-5-more.html"),
        (["../../etc/passwd"], "run-.._.._etc_passwd.html"),
        (["a\nb\x1b[31m\u202e"], "run-a_b__31m_.html"),
        (["x" * 999], f"run-{'x' * 60}.html"),
    ],
)
def test_a_label_cannot_lead_elsewhere(labels, name):
    """Labels come from the store, which others write: the page lies in this folder, under a plain name."""
    assert file_name(labels) == name


@pytest.mark.parametrize("label", ["1", "2", "queued-one"])
def test_records_of_sacreds_make_pages(tmp_path, monkeypatch, label):
    """They have no uid, no facts, and files without digests; people have thousands of them."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(os.path.join(GOLDEN, "sacred-0.8.7"), "old")
    assert main(["report", "--store=old", label, "-o", "p.html"]) == 0
    assert f"Run {label}" in page(tmp_path / "p.html").text


def test_records_of_sacreds_are_compared_in_a_page(tmp_path, monkeypatch):
    """Old runs are what new ones are compared with."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(os.path.join(GOLDEN, "sacred-0.8.7"), "old")
    shutil.copytree(os.path.join(GOLDEN, "sacred-0.8.7-tinydb"), "tiny")
    assert main(["report", "--store=old", "1", "2", "queued-one", "-o", "p.html"]) == 0
    assert "What differs" in page(tmp_path / "p.html").text
    assert main(["report", "--store=tinydb:tiny", "named", "-o", "t.html"]) == 0
    assert page(tmp_path / "t.html").text.startswith("Run named")


def test_the_command_works_as_a_process_with_any_encoding(store):
    """A terminal that speaks ASCII still gets the whole page in its file."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-m", "capture", "report", "1", "--title=größe", "-o", "größe.html"],
        env=environment, capture_output=True, cwd=store, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert page(store / "größe.html").text.startswith("größe")


def test_a_name_with_control_characters_is_spelt_out(store, capsys):
    """What is printed about a file must not steer the terminal."""
    assert main(["report", "1", "-o", "a\x1b[31mb.html"]) == 0
    assert "\x1b" not in capsys.readouterr().err


def test_a_config_of_an_experiment_of_others_is_text(tmp_path, monkeypatch, capsys):
    """From the store to the page, through the command: what a config says is never markup."""
    monkeypatch.chdir(tmp_path)
    told = Story(tmp_path / "told", uid("01")).start(config={"</script><script>": "<img src=x onerror=1>", "n": 1})
    tell(FileStorageObserver(tmp_path / "runs"), told.complete(result={"<b>": json.dumps("</style>")}))
    assert main(["report", "1"]) == 0
    assert "<img src=x onerror=1>" in page(tmp_path / "run-1.html").text


def test_a_file_that_is_made_meanwhile_is_not_overwritten(six_runs, tmp_path, monkeypatch, capsys):
    """Two commands at once; and what was half done is not left."""
    page = tmp_path / "page.html"

    def slow(runs, title):
        page.write_text("of another")
        return "mine"

    monkeypatch.setattr("capture.pages.report.report", slow)
    assert main(["report", "1", "-o", str(page)]) == 2
    assert "is there already" in capsys.readouterr().err and page.read_text() == "of another"
    assert [path.name for path in tmp_path.glob("page.html*")] == ["page.html"]
    assert main(["report", "1", "-o", str(page), "--force"]) == 0
    assert page.read_text() == "mine"


@pytest.mark.slow
def test_a_run_that_cannot_be_read_is_named_and_the_page_is_about_the_others(store, capsys):
    """One damaged run among a hundred must not take the page of all the others, nor their export."""
    path = store / "runs" / "2" / "cout.txt"
    path.unlink()
    path.mkdir()
    assert main(["report", "--where=config.lr < 1", "-o", "page.html"]) == 1
    told = capsys.readouterr().err
    assert "run 2 is left out: " in told and "Traceback" not in told
    assert "Runs 1 and 3" in page(store / "page.html").text
    assert main(["export", "--where=config.lr < 1", "out"]) == 1
    assert "run 2 is left out: " in capsys.readouterr().err
    assert len([name for name in os.listdir(store / "out") if (store / "out" / name).is_dir()]) == 2
