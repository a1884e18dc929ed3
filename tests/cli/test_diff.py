"""``capture diff``: in real runs, each with one change that was made on purpose, that change is the first cause."""

from __future__ import annotations

import json
import os
import shutil
import sys

import pytest

from capture.cli import main
from capture.cli.diff import _Text, is_folder
from capture.pages.comparison import as_html, as_markdown
from capture.query.differences import Comparison, Difference
from capture.records import RunRecord
from tests.cli.making import fill
from tests.e2e.scripts import Folder
from tests.project.tree import ROOT

SCRIPT = """
import helper
import tinylib
from capture import Experiment

ex = Experiment("small")


@ex.config
def defaults():
    lr = 0.5
    warmup = lr * 2  # follows
    data = "data.csv"


@ex.automain
def train(lr, warmup, data, _run, _rnd):
    with open(data) as file:
        numbers = [float(each) for each in file.read().split(",")]
    loss = 0.0
    for step in range(3):
        loss += helper.scaled(sum(numbers)) * lr * tinylib.FACTOR + warmup
        _run.log_scalar("loss", loss, step)
    print("loss", loss)
    return loss
"""
HELPER = "def scaled(value):\n    return value * 2\n"


def install(folder, version: str, factor: float) -> None:
    """Put a tiny distribution into a folder, as an installer does, in place of another version."""
    shutil.rmtree(folder, ignore_errors=True)
    info = folder / f"tinylib-{version}.dist-info"
    info.mkdir(parents=True)
    (folder / "tinylib.py").write_text(f"FACTOR = {factor}\n")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tinylib\nVersion: {version}\n")
    (info / "RECORD").write_text(f"tinylib.py,,\n{info.name}/METADATA,,\n{info.name}/RECORD,,\n")


def make(path) -> Folder:
    """Make a project with code, data and a package."""
    path.mkdir(parents=True)
    packages = path.parent / "site"
    install(packages, "1.0", 1.0)
    folder = Folder(path, PYTHONPATH=os.pathsep.join([str(packages), *sys.path]))
    folder.environment.pop("OMP_NUM_THREADS", None)
    folder.write(SCRIPT, head="", name="train.py")
    folder.write(HELPER, head="", name="helper.py")
    (path / "data.csv").write_text("1,2,3\n")
    return folder


def train(folder: Folder, *updates: str) -> None:
    folder.run("with", "seed=7", *updates, name="train.py")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Runs of one experiment; the first is what all others are compared with, each has one change of its own."""
    folder = make(tmp_path_factory.mktemp("project") / "work")
    path, packages = folder.path, folder.path.parent / "site"
    train(folder)  # 1
    train(folder)  # 2: the same again
    train(folder, "lr=0.25")  # 3: configuration
    (path / "helper.py").write_text(HELPER.replace("* 2", "* 3"))
    train(folder)  # 4: code
    (path / "helper.py").write_text(HELPER)
    install(packages, "2.0", 1.5)
    train(folder)  # 5: package
    install(packages, "1.0", 1.0)
    (path / "data.csv").write_text("1,2,4\n")
    train(folder)  # 6: data
    (path / "data.csv").write_text("1,2,3\n")
    folder.environment["OMP_NUM_THREADS"] = "1"
    train(folder)  # 7: host
    del folder.environment["OMP_NUM_THREADS"]
    folder.run("with", "lr=0.25", name="train.py")  # 8: configuration, and a seed drawn at random
    folder.run(name="train.py")  # 9: a seed drawn at random
    (path / "data.csv").write_text("5\n")
    folder.run(name="train.py")  # 10: data, and a seed drawn at random
    (path / "data.csv").write_text("1,2,3\n")
    (path / "helper.py").write_text("# how much\n" + HELPER)
    install(packages, "2.0", 1.5)
    train(folder)  # 11: a comment, and a package
    (path / "helper.py").write_text(HELPER)
    install(packages, "1.0", 1.0)
    return folder


def diff(capsys, folder: Folder, *arguments: str) -> tuple[int, str]:
    """Return the exit status and what was printed."""
    status = main(["diff", f"--store={folder.path / 'runs'}", *arguments])
    return status, capsys.readouterr().out


def causes(capsys, folder: Folder, *arguments: str) -> list[dict]:
    """Return the causes, as JSON tells them."""
    _, out = diff(capsys, folder, "--json", *arguments)
    return json.loads(out)["causes"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runs", "kind", "name"),
    [
        ("1 3", "config", "config.lr"),
        ("1 4", "source", "helper.py"),
        ("1 5", "package", "packages.tinylib"),
        ("1 6", "input", "data.csv"),
        ("1 7", "environment", "env.OMP_NUM_THREADS"),
        ("9 8", "config", "config.lr"),
        ("9 10", "input", "data.csv"),
        ("1 11", "package", "packages.tinylib"),
    ],
)
def test_what_was_changed_on_purpose_is_the_first_cause(project, capsys, runs, kind, name):
    """This is what the command is for; and nothing else that outweighs chance is claimed beside it."""
    found = causes(capsys, project, *runs.split())
    assert (found[0]["kind"], found[0]["name"]) == (kind, name)
    others = {(each["kind"], each["name"]) for each in found[1:] if each["weight"] > 0.3 and each["kind"] != "seed"}
    assert others == set()


@pytest.mark.slow
def test_runs_with_equal_everything_do_not_differ(project, capsys):
    """Times, process numbers and what the library prints of itself differ in any two runs, and are no difference."""
    status, out = diff(capsys, project, "1", "2")
    assert status == 0, out
    assert "no difference" in out
    status, out = diff(capsys, project, "1", "2", "--all")
    assert status == 0, out
    assert "pid" in out
    assert "What is equal" in out
    assert "config.lr" not in out.partition("What is equal")[0]


@pytest.mark.slow
def test_what_follows_from_another_entry_says_so(project, capsys):
    """``warmup`` is computed from ``lr`` in a config scope: changing it is not what somebody did."""
    found = {each["name"]: each for each in causes(capsys, project, "1", "3")}
    assert found["config.warmup"]["why"] == "follows from lr: computed in a config scope"
    assert found["config.lr"]["why"] == "set by config scope defaults (train.py:11) in 1, the command line in 3"
    status, out = diff(capsys, project, "1", "3")
    assert status == 1
    assert out.index("config lr  0.5 → 0.25") < out.index("Less likely") < out.index("config warmup 1 → 0.5")


@pytest.mark.parametrize("weights", [(0.95, 0.3, 0.29, 0.05), (0.29, 0.2, 0.05)])
def test_the_same_causes_are_likely_wherever_they_are_shown(capsys, weights):
    """Who opens the page after the terminal must not find another answer; where nothing explains, nothing is folded."""
    found = [Difference("host", f"host.h{place}", ["a", "b"], None, each, f"w{each}") for place, each in enumerate(weights)]
    comparison = Comparison(["1", "2"], found, [], [])
    _Text(comparison, [RunRecord("a" * 32, "1"), RunRecord("b" * 32, "2")], every=False, whole_output=False).print()
    likely = [each.name for each in found if each.weight >= 0.3]
    texts = {
        "Less likely": capsys.readouterr().out.replace("host h", "host.h"),
        "2 less likely": as_markdown(comparison),
        "<summary>2 less likely": as_html(comparison),
    }
    assert comparison.explains is bool(likely)
    for heading, text in texts.items():
        before, _, after = text.partition(heading)
        names = [each.name for each in found]
        assert [name for name in names if name in before] == (likely or names), heading
        assert [name for name in names if name in after] == (names[len(likely) :] if likely else []), heading


def test_a_diff_that_explains_little_is_said_to_be_there(capsys):
    """Its lines are not printed; neither are digests, which say nothing to anybody."""
    found = [
        Difference("config", "config.lr", [1, 2], None, 0.9),
        Difference("source", "train.py", ["0" * 64, "1" * 64], None, 0.22, "only config scopes", "-lr = 1\n+lr = 2"),
    ]
    told = _Text(Comparison(["1", "2"], found, [], []), [RunRecord("a" * 32), RunRecord("b" * 32)], False, False)
    told.print()
    out = capsys.readouterr().out
    assert "Less likely\nsource train.py\n    only config scopes; --all shows the lines\n" in out and "+lr" not in out


@pytest.mark.slow
def test_a_source_is_shown_as_a_diff_of_what_was_stored(project, capsys):
    """The file has changed back since; the record keeps what ran."""
    _, out = diff(capsys, project, "1", "4")
    assert "changes scaled()" in out
    assert "-    return value * 2" in out
    assert "+    return value * 3" in out


@pytest.mark.slow
def test_a_comment_ranks_below_everything_that_computes(project, capsys):
    """Bytes differ, the program does not."""
    found = causes(capsys, project, "1", "11")
    comment = next(each for each in found if each["kind"] == "source")
    assert "comments or formatting only" in comment["why"]
    assert comment["weight"] < 0.1


@pytest.mark.slow
def test_an_input_that_changed_is_shown_by_its_lines(project, capsys):
    """Small inputs are in the store, so what changed in them can be seen."""
    _, out = diff(capsys, project, "1", "6", "--inputs")
    assert "-1,2,3" in out
    assert "+1,2,4" in out
    assert "What came out" not in out


@pytest.mark.slow
def test_outcomes_tell_where_they_part(project, capsys):
    """Result and metrics with absolute and relative change, and the first point that differs."""
    _, out = diff(capsys, project, "1", "3", "--metrics")
    assert "they part at the first point, step 0; 3 points" in out
    assert "-50 %" in out
    assert "What differs" not in out


@pytest.mark.slow
def test_the_output_is_laid_side_by_side_on_demand(project, capsys):
    """Without --out the first differing line is enough."""
    _, short = diff(capsys, project, "1", "3")
    assert "@@" not in short
    _, out = diff(capsys, project, "1", "3", "--out")
    assert "@@" in out
    assert "+loss " in out


@pytest.mark.slow
def test_several_runs_stand_in_columns_and_equal_ones_share_one(project, capsys):
    """Three runs of which two are alike are two columns."""
    status, out = diff(capsys, project, "1", "2", "3")
    assert status == 1
    line = next(line for line in out.splitlines() if "config" in line and " lr " in line)
    assert line.split() == ["1.", "config", "lr", "0.5", "0.25"]
    assert "1, 2" in out


@pytest.mark.slow
def test_sections_decide_the_exit_status(project, capsys):
    """A script that asks for packages only wants to know whether packages differ."""
    assert diff(capsys, project, "1", "3", "--packages")[0] == 0
    assert diff(capsys, project, "1", "5", "--packages")[0] == 1
    assert diff(capsys, project, "1", "3", "--config", "--packages")[0] == 1


@pytest.mark.slow
def test_a_page_and_markdown_are_written(project, capsys, tmp_path):
    """For a pull request, and for people without a terminal."""
    page = tmp_path / "why.html"
    status, out = diff(capsys, project, "1", "3", f"--html={page}")
    assert (status, out) == (1, "")
    assert "config.lr" in page.read_text(encoding="utf-8")
    status, out = diff(capsys, project, "1", "3", "--md")
    assert status == 1
    assert "config.lr" in out
    assert "|" in out


@pytest.mark.slow
def test_a_run_is_compared_with_the_folder_as_it_is_now(project, capsys, monkeypatch, tmp_path):
    """Before a long run is started: what would be different this time? Nothing in the folder is executed."""
    place = tmp_path / "now"
    shutil.copytree(project.path, place, ignore=shutil.ignore_patterns("runs"))
    (place / "data.csv").write_text("9\n")
    (place / "helper.py").write_text(HELPER.replace("* 2", "* 5") + "import extra\nraise SystemExit('executed')\n")
    (place / "extra.py").write_text("raise SystemExit('executed')\n")
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(project.path.parent / "site"))
    status, out = diff(capsys, project, "1", ".")
    assert status == 1
    assert "as it is now" in out
    assert "+    return value * 5" in out
    assert "extra.py" in out
    assert "input data.csv" in out
    assert "nothing in the folder is executed" in out
    assert "config lr" not in out
    assert "+    return value * 5" in diff(capsys, project, str(place), "2")[1].replace("-    ret", "+    ret")
    assert diff(capsys, project, "1", ".", "--packages", f"--python={sys.executable}")[0] == 1  # alone: no PYTHONPATH


@pytest.mark.parametrize("scheme", ["file", "sqlite", "tinydb"])
def test_any_store_will_do(tmp_path, capsys, scheme):
    """Nothing of a comparison depends on where the runs lie; what they hold is shown, never obeyed."""
    pytest.importorskip({"sqlite": "sqlalchemy", "tinydb": "tinydb"}.get(scheme, "json"))
    from capture import events
    from capture.registry import make_observer
    from capture.testing.contract import uid
    from capture.testing.feed import Story, tell

    url = {"file": str(tmp_path / "runs"), "sqlite": f"sqlite:///{tmp_path / 'runs.db'}"}.get(scheme)
    url = url or f"tinydb://{tmp_path / 'tiny'}"
    for mark, lr in (("01", 0.1), ("02", 0.2)):
        told = Story(tmp_path / f"told{mark}", uid(mark)).start(config={"lr": lr, "\x1b[31m[red]": "\x1b]0;x\x07" * int(mark)})
        told.source("train.py", b"print(%s)\n" % mark.encode()).resource("/data/in.csv", mark.encode())
        told.artifact("model", mark.encode()).add(events.Output(text=f"\x1b[2Jrun {mark}\n", offset=0))
        tell(make_observer(url), told.metrics(loss=[3.0, lr]).complete(result=lr))
    assert main(["diff", f"--store={url}", "1", "2"]) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "\\x1b[31m[red]" in out
    for said in ("config lr  0.1 → 0.2", "source train.py", "input /data/in.csv", "result", "loss", "model", "output"):
        assert said in out
    assert main(["diff", f"--store={url}", "2", "1", "--out"]) == 1
    assert "\x1b" not in capsys.readouterr().out


def test_records_of_sacred_are_compared(capsys):
    """People have years of them."""
    store = ROOT / "tests" / "golden" / "sacred-0.8.7"
    assert main(["diff", f"--store={store}", "1", "2"]) == 1
    out = capsys.readouterr().out
    assert "config fail  False → True" in out
    assert "set by config updates in 2" in out
    assert "which files 1 read is not recorded" in out


def test_slips_on_the_command_line_are_told_apart(tmp_path, capsys):
    """Exit status 2, and a sentence that says what to do."""
    store = tmp_path / "runs"
    store.mkdir()
    for arguments, said in {
        ("1",): "these arguments are not understood",
        (".", ".."): "one folder is compared with runs",
        ("1", "2", "--python=python3"): "--python says whose packages",
        ("1", "2", "--context=many"): "--context takes a whole number",
        ("1", "2", "--md", "--json"): "one form at a time: --md or --json",
        ("1", "2", "--html=page.html", "--json"): "one form at a time: --json or --html",
    }.items():
        assert main(["diff", f"--store={store}", *arguments]) == 2
        assert said in capsys.readouterr().err
    assert main(["diff", f"--store={store}", "1", "2"]) == 2
    assert "1" in capsys.readouterr().err


def test_an_argument_with_a_separator_is_a_folder_and_no_run():
    """A label is never taken for a path, nor a path for a label."""
    assert [is_folder(word) for word in (".", "..", "./x", "/a/b", "x/")] == [True] * 5
    assert [is_folder(word) for word in ("12", "-1", "latest", "a1b2c3d4", "named")] == [False] * 5


@pytest.fixture
def three(tmp_path, monkeypatch):
    """Go to a folder whose store has three runs with different metrics."""
    from capture.registry import make_observer
    from capture.testing.contract import uid
    from capture.testing.feed import Story, tell

    monkeypatch.chdir(tmp_path)
    for mark, last in (("01", 1.0), ("02", 0.25), ("03", 0.125)):
        told = Story(tmp_path / f"told{mark}", uid(mark)).start(config={"lr": 0.1})
        tell(make_observer(str(tmp_path / "runs")), told.metrics(loss=[3.0, last]).complete(result="long words " * 6 + mark))
    return tmp_path


def test_a_page_is_written_over_nothing(three, capsys):
    """A page that was sent to somebody, or a script of that name, is not lost to a second call."""
    page = three / "why.html"
    page.write_text("mine")
    assert main(["diff", "1", "2", "--html=why.html"]) == 2
    assert "why.html is there already" in capsys.readouterr().err
    assert page.read_text() == "mine"
    assert main(["diff", "1", "2", "--html=why.html", "--force"]) == 1
    assert "<!doctype html>" in page.read_text(encoding="utf-8").lower()
    assert main(["diff", "1", "2", "--html=nowhere/why.html"]) == 2
    assert main(["diff", "1", "2", "--force"]) == 2
    assert sorted(each.name for each in three.glob("why*")) == ["why.html"]


def test_status_1_says_that_they_differ_and_nothing_else(three, capsys):
    """A recipe for CI lets that through; a run that was never recorded must not pass for a difference."""
    assert main(["diff", "1", "2"]) == 1
    assert main(["diff", "1", "99"]) == 2
    assert "no run '99'" in capsys.readouterr().err
    with open("runs/2/config.json", "w") as stream:
        stream.write("{")
    assert main(["diff", "1", "2"]) == 2
    assert main(["show", "99"]) == 1


def test_more_than_two_runs_are_told_where_they_part(three, capsys):
    """The table has no room for it, and it is what one looks for first."""
    assert main(["diff", "1", "2", "3"]) == 1
    assert "metric loss: from 0.125 to 1; the first to part from 1: 2 and 3, at step" in capsys.readouterr().out


@pytest.mark.parametrize(("columns", "in_a_table"), [(80, False), (300, True)])
@pytest.mark.parametrize("runs", [("1", "2"), ("1", "2", "3")])
def test_a_narrow_screen_gets_one_outcome_after_the_other(three, capsys, monkeypatch, columns, in_a_table, runs):
    """Five columns on eighty characters are a word to a line, which nobody can read."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert main(["diff", "--no-pager", *runs]) == 1
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    told = [line for line in lines if line.startswith("metric")]
    assert told[0].startswith("metric  loss  " if in_a_table else "metric loss  1 ")


def test_a_narrow_screen_gets_one_cause_after_the_other(three, capsys, monkeypatch):
    """Of many runs with long values, too."""
    from capture.cli.diff import _has_room

    monkeypatch.setenv("COLUMNS", "20")
    rows = [["config", "lr", "0.1", "0.2", "0.3"]]
    assert _has_room([""] * 5, rows)  # nobody looks
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert not _has_room([""] * 5, rows)
    monkeypatch.setenv("COLUMNS", "30")
    assert _has_room([""] * 5, rows)


def test_a_store_or_folder_in_place_of_a_run_is_explained(tmp_path, monkeypatch, capsys):
    """Who writes ``runs/1`` or the URL of another store hears how a run is named; a folder is written with a slash."""
    monkeypatch.chdir(tmp_path)
    fill("runs", tmp_path, "01")
    os.mkdir("repo")
    for word, said in {
        "runs/1": "write runs::1 for that run",
        "tinydb:tdb/1": "tinydb:tdb/1 names a store, and no run of it: a run is named behind two colons",
        "repo": "write ./repo for it",
    }.items():
        assert main(["diff", "1", word]) == 2
        assert said in capsys.readouterr().err
