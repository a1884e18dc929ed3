"""``STORE::RUN`` on the command line: runs of different stores in one command."""

from __future__ import annotations

import json
import os

import pytest

from capture import open_store
from capture.cli import main
from capture.registry import make_observer
from capture.testing.feed import tell
from tests.cli.making import fill, story

LAB = "sqlite:///lab.db"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Make a folder, another folder and a database with runs 1 and 2 each, none of them the default store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CAPTURE_STORE", raising=False)
    fill("here/runs", tmp_path, "01", "02")
    fill("there/runs", tmp_path, "03", "04")
    fill(LAB, tmp_path, "05", "06")
    return tmp_path


def said(capsys, *arguments):
    """Run a command; return its status, what it printed, and what it complained of."""
    status = main(list(arguments))
    out, err = capsys.readouterr()
    return status, out, err


def test_two_folders_are_compared_without_a_third(place, capsys):
    """There need be no default store; and the text says where each run is from."""
    status, out, err = said(capsys, "diff", "here/runs::1", "there/runs::1")
    assert (status, err) == (1, "")
    assert "config number  1 → 3" in out and "here/runs::1  there/runs::1" in out
    assert f"here/runs   file://{place}/here/runs\nthere/runs  file://{place}/there/runs\n" in out


def test_a_folder_and_a_database_are_compared(place, capsys):
    """In columns, too; each run named in its own way."""
    status, out, err = said(capsys, "diff", "here/runs::latest", f"{LAB}::-2", "there/runs::" + open_uid("there/runs", 2))
    assert (status, err) == (1, "")
    assert "here/runs::2  lab.db::1  there/runs::2" in out
    assert "number  2             5          4" in out


def open_uid(url, label):
    with open_store(url) as store:
        return store.get(label).uid[-8:]


def test_the_chosen_store_is_that_of_runs_that_name_none(place, capsys):
    """Of --store, as of CAPTURE_STORE; runs of one store are called by their labels, however it was named."""
    status, out, _ = said(capsys, "diff", f"--store={LAB}", "2", "here/runs::1")
    assert status == 1 and "lab.db::2" in out and "runs::1" in out
    status, out, _ = said(capsys, "diff", "--store=here/runs", "2", f"file://{place}/here/runs::1")
    assert status == 1 and "number  2 → 1" in out and "::" not in out
    status, out, _ = said(capsys, "diff", "here/runs::1", "./here/runs/::1")
    assert status == 0 and "no difference" in out


def test_a_run_of_another_store_is_compared_with_the_folder_as_it_is(place, capsys):
    """A word with two colons is no folder, though it has slashes."""
    status, out, err = said(capsys, "diff", "./here/runs::1", ".")
    assert (status, err) == (1, "") and out.startswith("run ") and "as it is now" in out
    assert said(capsys, "diff", "./here/runs::1", "./there/runs")[0] == 1


def test_each_form_of_a_comparison_says_which_store_a_run_is_from(place, capsys):
    """For pull requests, programs, and people who get the page by mail."""
    here, there = f"file://{place}/here/runs", f"file://{place}/there/runs"
    told = json.loads(said(capsys, "diff", "here/runs::1", "there/runs::1", "--json")[1])
    assert told["stores"] == [here, there] and told["names"] == ["here/runs::1", "there/runs::1"]
    markdown = said(capsys, "diff", "here/runs::1", "there/runs::1", "--md")[1]
    assert "run here/runs::1 | run there/runs::1" in markdown
    assert f"Stores: here/runs is `{here}`, there/runs is `{there}`.\n\n| what" in markdown
    assert "Stores" not in said(capsys, "diff", "here/runs::1", "here/runs::2", "--md")[1]
    assert said(capsys, "diff", "here/runs::1", "there/runs::1", "--html=why.html")[0] == 1
    page = (place / "why.html").read_text()
    assert "run here/runs::1" in page and f"<strong>there/runs</strong>: {there}" in page


def test_a_report_is_about_runs_of_several_stores(place, capsys):
    """Two runs of one label are two runs, in the page as in its name."""
    status, _, err = said(capsys, "report", "here/runs::1", f"{LAB}::1", "here/runs::1")
    assert status == 0 and "written: runs-runs-1-lab.db-1.html" in err
    page = (place / "runs-runs-1-lab.db-1.html").read_text()
    assert "Runs runs::1 and lab.db::1" in page and "<strong>lab.db</strong>: sqlite:///" in page
    assert "Run runs::1" in page and "Run lab.db::1" in page
    said(capsys, "report", "--store=here/runs", "--where=config.number == 2", f"{LAB}::2", "-o", "both.html")
    assert "Runs lab.db::2 and runs::2" in (place / "both.html").read_text()


def test_every_command_that_takes_a_run_takes_its_store_with_it(place, capsys):
    """Learnt once, it holds everywhere."""
    run = f"{LAB}::latest"
    shown = said(capsys, "show", run)[1].split()
    assert "store" in shown and any(each.startswith("sqlite:///") for each in shown)
    assert said(capsys, "tail", run) == (0, "epoch 1\n", "")
    assert "model.bin" in said(capsys, "get", run)[1]
    assert said(capsys, "get", run, "in.csv", "--to=-")[1] == "a,b\n1,2\n"
    assert said(capsys, "note", run, "good")[0] == 0 and said(capsys, "note", run)[1] == "good\n"
    assert json.loads(said(capsys, "export", "--json", run)[1])["label"] == "2"
    assert said(capsys, "export", run, "out")[0] == 0 and os.path.isfile("out/run.json")
    assert said(capsys, "lineage", run)[1].startswith("run 2 ")


def test_verify_goes_through_runs_of_several_stores(place, capsys):
    """And says which of two runs with one label it means."""
    status, out, err = said(capsys, "verify", "here/runs::1", f"{LAB}::1")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "run runs::1: 5 files, 406 B, as recorded",
        "run lab.db::1: 5 files, 406 B, as recorded",
        "2 runs, 10 files, 812 B: all whole",
    ]


def test_runs_of_several_stores_are_tagged_binned_restored_and_deleted(place, capsys):
    """Each in its own store, and the same label in another is left alone."""
    both = ("here/runs::1", f"{LAB}::1")
    assert said(capsys, "tag", "--add=x", *both)[1].split() == ["run", "tags", "runs::1", "x", "lab.db::1", "x"]
    with open_store("there/runs") as store, open_store(LAB) as lab:
        assert store.get(1).tags == [] and lab.get(1).tags == ["x"] and lab.get(2).tags == []
    assert said(capsys, "rm", *both)[1] == "run runs::1 is in the bin\nrun lab.db::1 is in the bin\n"
    assert said(capsys, "restore", both[1])[1] == "run 1 is back\n"
    assert said(capsys, "purge", "--yes", both[0])[0] == 0
    left = {url: open_store(url).labels() for url in ("here/runs", "there/runs", LAB)}
    assert {url: list(map(str, labels)) for url, labels in left.items()} == {
        "here/runs": ["2"], "there/runs": ["1", "2"], LAB: ["1", "2"],
    }  # fmt: skip


def test_an_export_is_of_one_store(place, capsys):
    """It names the store that its runs come from."""
    status, _, err = said(capsys, "export", "here/runs::1", "there/runs::1", "out")
    assert status == 2 and "export those of each store by themselves" in err and not os.path.exists("out")
    assert said(capsys, "export", "here/runs::1", "here/runs::2", "out")[0] == 0


def test_lineage_still_finds_a_file_with_two_colons_in_its_name(place, capsys):
    """What lies there is a file before it is anything else."""
    (place / "a::1").write_text("x")
    status, _, err = said(capsys, "lineage", "--store=here/runs", "a::1")
    assert status == 1 and "no store" not in err


def test_a_label_may_have_colons_and_slashes_in_it(place, capsys):
    """One that somebody chose, in the store that is looked into; behind two colons it goes by the uid."""
    for label in ("lr:0.1/seed:3", "me@host"):
        tell(make_observer("here/runs"), story(place, "09" if "@" in label else "08"), label)
        assert said(capsys, "show", "--store=here/runs", label)[1].startswith(f"{label}  digits")
    assert said(capsys, "show", f"here/runs::{open_uid('here/runs', 'me@host')}")[1].startswith("me@host  digits")


@pytest.mark.parametrize(("word", "status", "message"), [
    ("nowhere::1", 2, "there is no store at 'nowhere'"),
    ("nowhere::1", 2, "it stands before the two colons of nowhere::1, which name run 1 of that store"),
    ("::1", 2, "no store stands before the two colons of ::1: is a variable not set?"),
    ("here/runs::", 2, "no run stands behind the two colons of here/runs::"),
    ("here/runs::9", 1, "/here/runs holds no run '9'"),
    ("nosuch://x::1", 2, "no store has the URL scheme 'nosuch'"),
    ("here/runs/1", 2, "write here/runs::1 for that run"),
    ("here/../here/runs/1/", 2, "write here/runs::1 for that run"),
    ("sqlite:///lab.db", 2, "sqlite:///lab.db names a store, and no run of it"),
])  # fmt: skip
@pytest.mark.parametrize("command", [["show"], ["diff", "here/runs::1"], ["report"], ["verify"], ["tag", "--add=x"]])
def test_what_is_wrong_is_said_with_what_was_tried(place, capsys, command, word, status, message):
    """By all commands alike; to diff, 1 is an answer."""
    found, out, err = said(capsys, *command, word)
    assert (found, out) == (2 if command[0] == "diff" else status, "") and message in err


@pytest.mark.parametrize("word", [
    "mongodb://ada:hunter2@db.invalid:1/lab",
    "mongodb://ada:hunter2@db.invalid:1/lab:12",
    "mongodb://ada:hunter2@db.invalid:1/lab::",
    "nosuch://ada:hunter2@db.invalid/lab::1",
])  # fmt: skip
def test_no_password_is_shown_of_a_word_that_is_not_understood(place, capsys, word):
    """Terminals are logged, and errors are pasted into issues."""
    for arguments in (["show", word], ["diff", "here/runs::1", word], ["show", "--oops", word], ["show", f"--stor={word}=1"]):
        status, _, err = said(capsys, *arguments)
        assert status == 2 and "db.invalid" in err and "hunter2" not in err


def test_runs_on_a_server_with_a_login_are_compared_with_those_of_a_folder(place, capsys, own_mongo):
    """The usual case: a laptop against the lab's database. The password is in no answer."""
    server = own_mongo(auth=True).start()
    url, password = server.url_of("lab"), "s3cret%2Fwr%3Ater"
    fill(url, place, "07", "08")
    assert f":{password}@" in url and "?" in url
    status, out, err = said(capsys, "diff", "here/runs::1", f"{url}::latest")
    assert (status, err) == (1, "") and "config number  1 → 8" in out and "here" not in out.split("store")[0]
    status, told, _ = said(capsys, "diff", "here/runs::1", f"{url}::1", "--json")
    assert status == 1 and json.loads(told)["stores"][1].startswith("mongodb://")
    assert said(capsys, "verify", f"{url}::1", "here/runs::2")[0] == 0
    assert said(capsys, "report", f"{url}::1", "here/runs::1", "-o", "both.html")[0] == 0
    missing = said(capsys, "show", f"{url}::9")
    assert missing[0] == 1 and "holds no run '9'" in missing[2]
    wrong = said(capsys, "show", f"{url.replace(password, 'hunter2')}::1")
    assert wrong[0] == 1 and wrong[2]
    for text in (out, told, missing[2], wrong[2], (place / "both.html").read_text()):
        assert "s3cret" not in text and "hunter2" not in text
