"""``capture ls``: the runs that are meant, the columns that say something, in every form."""

from __future__ import annotations

import csv
import io
import json
import os
import re

import pytest

from capture import Experiment, events, open_store
from capture.cli import _run_table as table
from capture.cli import main
from capture.observers import FileStorageObserver
from capture.pages.report import report
from capture.testing import tell
from tests.cli.looking import ROOT, on_a_terminal, plain, story, write_runs
from tests.cli.test_console import on_unix

SACRED = os.path.join(ROOT, "tests", "golden", "sacred-0.8.7")


@pytest.fixture
def ls(capsys):
    """Run the command; return its lines, or with ``--json`` its objects."""

    def run(*arguments, status=0):
        capsys.readouterr()
        assert main(["ls", *arguments]) == status
        out = capsys.readouterr().out
        return json.loads(out) if "--json" in arguments else out.splitlines()

    return run


def labels(lines) -> list[str]:
    """Return the labels of a table's rows."""
    return [line.split()[0] for line in lines[1:]]


def test_what_differs_is_shown_and_the_newest_run_comes_first(six_runs, ls):
    """Without any option: what was varied, and what came out; layers and nested.deep are the same everywhere."""
    lines = ls()
    assert lines[0].split() == ["label", "start", "status", "duration", "lr", "seed", "loss", "accuracy", "result"]
    assert labels(lines) == list("654321")
    assert lines[1].split()[-5:] == ["0.5", "3", "0.53", "0.47", "0.47"]


def test_what_one_experiment_has_and_another_has_not_is_no_difference(tmp_path, ls, monkeypatch):
    """Two experiments in one store: their names tell them apart, not all the settings that only one of them has."""
    store = str(tmp_path / "runs")
    configs = [("a", {"x": 1, "only_a": 5}), ("a", {"x": 2, "only_a": 5}), ("b", {"x": 2, "only_b": 7, "both": 1})]
    configs.append(("b", {"x": 2, "only_b": 8, "both": 1}))
    for number, (name, config) in enumerate(configs, 1):
        tell(FileStorageObserver(store), story(tmp_path, number, config, name=name).complete())
    monkeypatch.chdir(tmp_path)
    assert ls()[0].split() == ["label", "start", "status", "name", "duration", "only_b", "x"]
    assert [line.split()[:3] for line in ls("--group-by")[2:]] == [["b", "8", "2"], ["b", "7", "2"], ["a", "-", "2"], ["a", "-", "1"]]


def test_it_is_sorted_by_what_a_column_is_called(tmp_path, ls, monkeypatch):
    """A run has an environment besides that of its configuration, which is the one that the table shows."""
    store = str(tmp_path / "runs")
    for number, environment in enumerate("bca", 1):
        tell(FileStorageObserver(store), story(tmp_path, number, {"environment": environment, "lineage": number}).complete())
    monkeypatch.chdir(tmp_path)
    assert ls("--sort=environment", "--cols=environment", "--csv")[1:] == ["3,a", "1,b", "2,c"]
    assert labels(ls("--sort=lineage", "--desc")) == ["3", "2", "1"]


def test_versions_are_sorted_as_versions(tmp_path, ls, monkeypatch):
    """1.10 is newer than 1.9, for runs and for groups of them."""
    store = str(tmp_path / "runs")
    for number, version in enumerate(("1.10", "1.9", "2.0"), 1):
        told = story(tmp_path, number, {"lr": 0.1}, name="digits")
        told.add(events.Facts(topic="imports", facts={"dependencies": [f"numpy=={version}"]}))
        tell(FileStorageObserver(store), told.complete())
    monkeypatch.chdir(tmp_path)
    assert labels(ls("--sort=packages.numpy")) == ["2", "1", "3"]
    assert labels(ls("--group-by=packages.numpy", "--sort=packages.numpy")[1:]) == ["1.9", "1.10", "2.0"]


def test_a_command_that_differs_is_shown_and_is_a_group_of_its_own(tmp_path, ls, monkeypatch):
    """The result of an evaluation beside those of training says nothing, and in their mean it is a lie."""
    store = str(tmp_path / "runs")
    for number, command in enumerate(("main", "main", "evaluate"), 1):
        told = story(tmp_path, number, {"lr": 0.1, "seed": number}, command=command)
        tell(FileStorageObserver(store), told.complete(result=99 if command == "evaluate" else number))
    monkeypatch.chdir(tmp_path)
    assert ls()[0].split() == ["label", "start", "status", "command", "duration", "seed", "result"]
    assert [line.split()[:2] for line in ls("--group-by")[2:]] == [["evaluate", "1"], ["main", "2"]]
    assert "command" not in ls("command == 'main'")[0]


def test_so_many_runs_are_shown(six_runs, ls):
    """-n, and all of them with -a."""
    assert labels(ls("-n", "2")) == ["6", "5"]
    assert labels(ls("-n2")) == ["6", "5"]
    assert len(labels(ls("-a"))) == 6
    for wrong in (["-n", "x"], ["--precision=0"], ["--desc"], ["--json", "--csv"], ["--nosuch"]):
        assert main(["ls", *wrong]) == 2


def test_conditions_choose_runs(six_runs, ls):
    """Several words hold together, and so does --mine; an own language is tested elsewhere."""
    assert labels(ls("config.lr < 0.3", "config.seed > 1")) == ["3", "2"]
    assert labels(ls("result > 0.8")) == ["3", "2", "1"]
    assert ls("--mine") == []


def test_a_condition_that_nothing_fulfils_says_what_there_is(six_runs, capsys):
    """A slip in a name finds nothing; that must not look like an answer. It is no error either: scripts ask so."""
    assert main(["ls", "config.lrr < 3"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and "config.lr" in captured.err and "no run" in captured.err
    assert main(["ls", "config.lr < 0.01", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["ls", "config.lr < 0.01", "--csv"]) == 0
    assert capsys.readouterr().out.startswith("label,")


def test_what_only_old_runs_have_is_not_said_to_be_nowhere(six_runs, capsys, monkeypatch):
    """A hint looks at the newest runs: it must not speak of all."""
    from capture.query import asking

    monkeypatch.setattr(asking, "LOOKED_AT", 3)
    monkeypatch.setattr(asking.unknown_paths, "__defaults__", (3,))
    assert main(["ls", "config.lrr < 3"]) == 0
    assert "none of the 3 newest runs has config.lrr" in capsys.readouterr().err
    with open_store("runs") as store, pytest.warns(UserWarning, match="none of the 3 newest runs has"):
        assert not store.runs("config.lrr < 3")


def test_no_runs_are_shown_if_none_are_wanted(six_runs, capsys):
    """`-n 0` is no condition that nothing fulfils."""
    for words in ([], ["config.lr > 0"]):
        assert main(["ls", "-n", "0", *words]) == 0
        assert "fulfils" not in capsys.readouterr().err


def test_an_empty_store_and_a_missing_one_are_told_apart(tmp_path, capsys):
    """The first is where one begins; the second is a slip."""
    (tmp_path / "new").mkdir()
    assert main(["ls", f"--store={tmp_path / 'new'}"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and "no runs" in captured.err and len(captured.err.splitlines()) == 1
    assert main(["ls", f"--store={tmp_path / 'missing'}"]) == 2
    assert "--store=URL" in capsys.readouterr().err


def test_columns_are_chosen_by_patterns(six_runs, ls, capsys):
    """By short and full names, globs and regular expressions, several at once."""
    assert ls("--cols=loss,lr")[0].split() == ["label", "loss", "lr"]
    assert ls("--cols=config.*")[0].split() == ["label", "layers", "lr", "nested.deep", "seed"]
    assert ls("--cols=l*")[0].split() == ["label", "layers", "lr", "loss"]
    assert ls("--cols=(loss|accuracy)", "--cols=loss.min")[0].split() == ["label", "loss", "accuracy", "loss.min"]
    assert ls("--cols=metrics.loss.*")[1].split()[:2] == ["6", "0.53"]
    assert ls("--cols=host.hostname,uid")[0].split()[0] == "label"
    assert ls("--drop=loss", "--drop=s*")[0].split() == ["label", "duration", "lr", "accuracy", "result"]
    assert main(["ls", "--cols=losss"]) == 2
    assert "'loss'" in capsys.readouterr().err


def test_only_what_changed(six_runs, ls):
    """What all runs have in common goes, whoever asked for it."""
    assert ls("--only-changed")[0].split() == ["label", "lr", "seed", "loss", "accuracy", "result"]
    assert ls("--only-changed", "--cols=lr,layers")[0].split() == ["label", "lr"]
    assert ls("--only-changed", "config.lr > 0.3")[0].split() == ["label", "seed", "loss", "accuracy", "result"]


def test_all_runs_are_sorted_not_only_the_newest(six_runs, ls, capsys):
    """By a path or a short name; the least first."""
    assert labels(ls("--sort=loss", "-n", "2")) == ["1", "2"]
    assert labels(ls("--sort=loss", "--desc", "-n", "2")) == ["6", "5"]
    assert labels(ls("--sort=config.seed")) == ["4", "1", "5", "2", "6", "3"]
    assert labels(ls("--sort=start", "-n1")) == ["1"] or labels(ls("--sort=start")) == list("654321")
    assert "accuracy.max" in ls("--sort=metrics.accuracy.max")[0]
    assert main(["ls", "--sort=losss"]) == 2
    assert "losss" in capsys.readouterr().err


def test_metrics_that_are_alike_in_all_runs_are_shown(tmp_path, ls, monkeypatch):
    """Three runs of the same code have the same loss: it is what came out, all the same."""
    store = str(tmp_path / "runs")
    for number in (1, 2):
        told = story(tmp_path, number, {"lr": number}).metrics(d=[1.0], c=[1.0], b=[1.0], a=[0.5])
        tell(FileStorageObserver(store), told.complete())
    monkeypatch.chdir(tmp_path)
    assert ls()[0].split() == ["label", "start", "status", "duration", "lr", "c", "b", "a"]
    assert ls("--only-changed")[0].split() == ["label", "lr"]


def test_an_entry_called_like_a_part_of_the_run_is_written_out(tmp_path, ls, monkeypatch):
    """Under the heading `name` the experiment is meant, as by --cols=name."""
    store = str(tmp_path / "runs")
    for number in (1, 2):
        config = {"name": f"n{number}", "status": number, "lr": number}
        tell(FileStorageObserver(store), story(tmp_path, number, config).complete())
    monkeypatch.chdir(tmp_path)
    assert ls()[0].split()[-3:] == ["lr", "config.name", "config.status"]
    assert ls("--cols=name,config.name")[1].split() == ["2", "digits", "n2"]


def test_all_parts_of_a_metric_are_asked_for(six_runs, ls, capsys):
    """A pattern below a metric means its extremes, too; a slip in --drop is told as one in --cols is."""
    parts = ["loss", "loss.min", "loss.max", "loss.step", "loss.count"]
    assert ls("--cols=metrics.loss.*")[0].split() == ls("--cols=loss.*")[0].split() == ["label", *parts]
    assert ls("--cols=metrics.*")[0].split() == ["label", "loss", "accuracy"]
    assert main(["ls", "--drop=losss"]) == 2
    assert "Did you mean 'loss'?" in capsys.readouterr().err
    assert main(["ls", "--group-by", "--drop=losss"]) == 2
    assert main(["ls", "--drop=layers"]) == 0  # there is one, which is not shown


def test_a_path_that_is_written_short_is_completed_from_what_there_is(six_runs, capsys):
    """`loss < 0.1` is what everybody writes first: the store knows whether that is a metric."""
    assert main(["ls", "loss < 0.1"]) == 2
    assert "did you mean metrics.loss.last?" in capsys.readouterr().err
    assert main(["export", "--where=loss < 0.1", "out"]) == 2
    assert "did you mean metrics.loss.last?" in capsys.readouterr().err
    assert main(["ls", "loss < 0.1", "--store=nosuch"]) == 2
    assert "no path begins with 'loss'" in capsys.readouterr().err
    with open_store("runs") as store, pytest.raises(ValueError, match=r"did you mean config\.lr\?"):
        store.runs("lr < 0.1")


def test_columns_of_groups_stand_behind_an_equals_sign(six_runs, capsys):
    """A word of its own is the name of an experiment, which no run has."""
    assert main(["ls", "--group-by", "lr"]) == 0
    assert "write --group-by=lr" in capsys.readouterr().err


def test_labels_are_sorted_as_numbers(tmp_path, ls, monkeypatch):
    """Run 10 comes after run 9, though labels are text in many stores."""
    store = str(tmp_path / "runs")
    for number in range(1, 12):
        tell(FileStorageObserver(store), story(tmp_path, number, {}).complete())
    monkeypatch.chdir(tmp_path)
    assert labels(ls("--sort=label")) == [str(each) for each in range(1, 12)]
    assert labels(ls("--sort=label", "--desc", "-n2")) == ["11", "10"]
    assert [run.label for run in open_store(store).runs().sort("label")[-2:]] == ["10", "11"]


def test_a_tuple_is_found_as_it_is_shown(tmp_path, ls, monkeypatch):
    """It is shown as a list, so a list finds it, at any depth; and the other way round."""
    store = str(tmp_path / "runs")
    tell(FileStorageObserver(store), story(tmp_path, 1, {"t": (1, (2, 3)), "l": [1, 2], "many": [(1, 2)]}).complete())
    monkeypatch.chdir(tmp_path)
    for each in ("config.t == [1, [2, 3]]", "config.t == (1, (2, 3))", "config.l == (1, 2)", "config.l in [(1, 2)]"):
        assert len(ls(each)) == 2, each
    assert len(ls("[1, 2] in config.many")) == len(ls("config.t != [1, 2]")) == 2
    assert ls("config.t != [1, [2, 3]]") == ls("config.t == [1, 2]") == []


def test_what_has_no_value_comes_last(tmp_path, ls, monkeypatch):
    """Whichever way runs are sorted, a diverged one is not the best."""
    store = str(tmp_path / "runs")
    for number, result in enumerate((float("nan"), None, 2.0, 1.0, "text"), 1):
        tell(FileStorageObserver(store), story(tmp_path, number, {"a": 1}).complete(result=result))
    monkeypatch.chdir(tmp_path)
    assert labels(ls("--sort=result")) == ["4", "3", "5", "2", "1"]
    assert labels(ls("--sort=result", "--desc")) == ["5", "3", "4", "2", "1"]


def test_runs_that_differ_in_their_seed_only_are_one_row(six_runs, ls):
    """Mean and sample standard deviation of three runs, computed here by hand."""
    lines = ls("--group-by")
    assert "sample standard deviation" in lines[0] and "config.seed" in lines[0]
    assert lines[1].split() == ["lr", "n", "status", "loss", "accuracy", "result", "runs"]
    assert re.fullmatch(r" *0.5 +3 +COMPLETED +0.52 ± 0.01 +0.48 ± 0.01 +0.48 ± 0.01 +6, 5, 4", lines[2])
    [first, second] = ls("--group-by", "--json")
    assert first["config.lr"] == 0.5 and first["n"] == 3 and first["runs"] == ["6", "5", "4"]
    assert first["result.mean"] == pytest.approx(0.48) and first["result.std"] == pytest.approx(0.01)
    assert [group["n"] for group in ls("--group-by=seed", "--json")] == [2, 2, 2]
    assert ls("--group-by=lr", "--sort=loss", "--cols=loss", "--csv")[1].startswith("0.1,3,COMPLETED,0.12,")
    assert ls("--group-by", "-n1", "--sort=result", "--desc", "--json")[0]["config.lr"] == 0.1


def test_a_group_tells_how_many_numbers_its_mean_is_of(tmp_path, ls, monkeypatch):
    """A run that failed has no result; the mean of two must not look like the mean of three."""
    store = str(tmp_path / "runs")
    for seed, result in enumerate((1.0, 3.0, None, float("nan")), 1):
        tell(FileStorageObserver(store), story(tmp_path, seed, {"seed": seed}).complete(result=result))
    monkeypatch.chdir(tmp_path)
    [line] = ls("--group-by")[2:]
    assert "2 ± 1.4 (2)" in line and line.split()[0] == "4"


def test_json_holds_everything_by_full_paths(six_runs, ls):
    """A program gets all columns, numbers as numbers, and strict JSON."""
    first = ls("--json", "-n1")[0]
    assert first["config.layers"] == [64, 32] and first["config.nested.deep"] is True and first["label"] == "6"
    assert first["metrics.loss.last"] == 0.53 and first["name"] == "digits" and len(first["uid"]) == 36
    assert first["start_time"].endswith("+00:00")
    assert list(ls("--json", "-n1", "--cols=lr")[0]) == ["label", "config.lr"]


def test_csv_and_markdown_hold_other_peoples_text_safely(tmp_path, ls, monkeypatch):
    """A spreadsheet computes what begins with an equals sign; a page would take a bar for the next column."""
    store = str(tmp_path / "runs")
    nasty = {"a": "=1+1", "b": 'x|y\n"z", <b>', "c": -1.5, "d": "@me", "e": [1, "2"], "f": float("nan"), "g": None, "<i>seed": 1}
    tell(FileStorageObserver(store), story(tmp_path, 1, nasty).complete())
    monkeypatch.chdir(tmp_path)
    [row] = csv.DictReader(io.StringIO("\n".join(ls("--csv", "--cols=config.*"))))
    assert row["config.a"] == "'=1+1" and row["config.b"] == nasty["b"] and row["config.c"] == "-1.5"
    assert row["config.d"] == "'@me" and row["config.e"] == '[1, "2"]' and (row["config.f"], row["config.g"]) == ("nan", "")
    head, marks, cells = ls("--md", "--cols=config.*")
    assert head == "| label | &lt;i&gt;seed | a | b | c | d | e | f | g |" and marks.startswith("| ---: | ---: | --- |")
    assert len(re.findall(r"(?<!\\)\|", cells)) == 10 and "<b>" not in cells and "@<!-- -->me" in cells
    note = ls("--md", "--group-by")[0]
    assert "<i>" not in note and "&lt;i&gt;" in note
    assert re.search(r"\| \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \|", ls("--md", "--cols=start")[2]), "others have other clocks"


def test_csv_is_read_back_whole(tmp_path, capsys, monkeypatch):
    """A carriage return in a value would begin a new row for Excel and pandas."""
    pandas = pytest.importorskip("pandas")
    nasty = {"a": "one\rtwo", "b": "one\r\ntwo", "c": 10**3000, "d": 2**70, "e": 0.1 + 0.2, "f": " x,", "g": "é損"}
    tell(FileStorageObserver(str(tmp_path / "runs")), story(tmp_path, 1, nasty).complete())
    monkeypatch.chdir(tmp_path)
    assert main(["ls", "--csv", "--cols=config.*"]) == 0
    frame = pandas.read_csv(io.StringIO(capsys.readouterr().out), dtype=str)
    assert len(frame) == 1
    assert {name: frame[f"config.{name}"][0] for name in nasty} == {name: str(value) for name, value in nasty.items()}


def test_numbers_have_all_digits_where_all_are_asked_for(six_runs, ls):
    """A precision beyond that of floats is no error, and no made-up digits."""
    for digits in ("17", "400", "99999999999999999999"):
        assert ls("--precision", digits, "--cols=lr", "-n1")[1].split() == ["6", "0.5"]


def test_settings_that_differ_read_differently(tmp_path, ls, monkeypatch):
    """A column is there since it varies: two rows of 0.12346 would say that it does not, and hide which run was which."""
    store = FileStorageObserver(str(tmp_path / "runs"))
    for number, rate in enumerate((0.1234561, 0.1234562), 1):
        told = story(tmp_path, number, {"lr": rate, "seed": number})
        told.metrics(loss=[0.123456789])
        tell(store, told.complete())
    monkeypatch.chdir(tmp_path)
    assert [line.split()[-3:] for line in ls("--cols=lr,seed,loss")[1:]] == [
        ["0.1234562", "2", "0.12346"],
        ["0.1234561", "1", "0.12346"],
    ]
    assert [line.split()[0] for line in ls("--group-by=lr")[2:]] == ["0.1234562", "0.1234561"]
    assert [line.split()[1] for line in ls("--cols=lr", "--precision=3")[1:]] == ["0.123", "0.123"]
    runs = open_store(tmp_path / "runs").runs()
    for shown in (str(runs), runs._repr_html_(), repr(runs.group_by("lr")), report(list(runs))):
        assert "0.1234561" in shown and "0.1234562" in shown


def test_headings_are_told_apart(tmp_path, ls, monkeypatch):
    """A run has a start, and a configuration may have one; groups by status have their status once."""
    tell(FileStorageObserver(str(tmp_path / "runs")), story(tmp_path, 1, {"start": 3}).complete())
    monkeypatch.chdir(tmp_path)
    assert ls("--cols=start_time,config.start")[0].split() == ["label", "start", "config.start"]
    assert ls("--group-by=status")[1].split() == ["status", "n", "runs"]


def test_nothing_in_a_record_reaches_the_terminal_as_it_is(tmp_path, ls, monkeypatch):
    """In names, tags, config keys and values, in every form of output."""
    store = str(tmp_path / "runs")
    evil = "\x1b[2J\u202eevil\r\n[red]"
    told = story(tmp_path, 1, {"k\x1b[31m": evil, "key": evil}, name=evil)
    tell(FileStorageObserver(store), told.add(events.Annotated(tags=[evil], notes=evil)).complete(result=evil))
    tell(FileStorageObserver(store), story(tmp_path, 2, {"key": "x"}).complete())
    monkeypatch.chdir(tmp_path)
    for arguments in ([], ["--md"], ["--json"], ["--group-by=key"]):
        capture = ls(*arguments)
        text = json.dumps(capture) if "--json" in arguments else "\n".join(capture)
        assert "\x1b" not in text and "\u202e" not in text and "\r" not in text


@pytest.mark.slow
@on_unix
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-n4"], "4 of 6 runs; -a lists all, -n N lists N"),
        (["-n4", "--sort=lr"], "4 of 6 runs; "),
        (["-n2", "--sort=lr", "config.seed < 3"], "2 of 4 runs; "),
        (["-n1", "--group-by"], "1 of 2 groups; "),
        (["-n3", "config.seed < 3"], "the newest 3 runs of them, and there are more; "),
        (["-n4", "config.seed < 3"], ""),
        (["-n6"], ""),
        (["-a"], ""),
        (["-n4", "--csv"], ""),
        (["-n4", "--md"], ""),
    ],
)
def test_who_sees_not_all_runs_is_told(six_runs, arguments, said):
    """Twenty rows look like all there is; a program that reads it is told nothing."""
    shown = plain(on_a_terminal(["ls", *arguments], 200)[0])
    assert said in shown
    assert ("-a lists all" in shown) == bool(said), shown


def test_a_pipe_is_not_told_that_there_is_more(six_runs, capsys):
    """What stands on stderr in a script looks like something wrong."""
    assert main(["ls", "-n4"]) == 0
    assert capsys.readouterr().err == ""


def test_a_dash_before_a_column_is_put_right(six_runs, capsys):
    """As other tools write it."""
    assert main(["ls", "--sort=-loss"]) == 2
    assert "write --sort=loss --desc" in capsys.readouterr().err


@pytest.mark.slow
@on_unix
def test_a_narrow_terminal_shows_what_says_most(six_runs):
    """And how many columns it hides; nothing is cut in a pipe."""
    for columns in (200, 80, 50, 20):
        shown = plain(on_a_terminal(["ls"], columns)[0])
        lines = [line for line in shown.splitlines() if "hidden" not in line]
        assert max(map(len, lines)) <= columns, shown
        assert ("hidden" in shown) == (columns < 80), shown
        assert lines[0].split()[0] == "label" and len(lines) == 7
    assert "seed" not in plain(on_a_terminal(["ls"], 60)[0]).splitlines()[0]


@on_unix
def test_letters_of_two_columns_fit_the_terminal_too(tmp_path):
    """The tags of a colleague in Tokyo; a value that is longer than the screen."""
    store = str(tmp_path / "runs")
    for number in (1, 2):
        told = story(tmp_path, number, {"data": "損失" * 60 + str(number), "x": number})
        tell(FileStorageObserver(store), told.add(events.Annotated(tags=["🚀" * number], notes=None)).complete())
    shown = plain(on_a_terminal(["ls"], 70, CAPTURE_STORE=store)[0]).splitlines()
    from capture.wording import cell_width

    assert max(map(cell_width, shown)) <= 70 and "損" in shown[1] and "…" in shown[1]


def test_a_damaged_run_is_named_and_the_others_are_listed(six_runs, ls, capsys):
    """One file that a full disk cut off must not hide a year of work."""
    for name, text in (("metrics.jsonl", '{"broken'), ("metrics.json", "{")):
        with open(os.path.join(six_runs, "3", name), "w") as stream:
            stream.write(text)
    with open(os.path.join(six_runs, "2", "run.json"), "w") as stream:
        stream.write("{")
    assert main(["ls"]) == 0
    listed = labels(capsys.readouterr().out.splitlines())
    assert {"6", "5", "4", "1"} <= set(listed) and "2" not in listed


def test_a_part_that_cannot_be_read_is_a_question_mark(six_runs, monkeypatch, capsys):
    """Of a record that is read in parts, the rest is shown."""
    from capture.errors import RecordError
    from capture.query.client import StoredRun

    def broken(self):
        if self.label == "3":
            raise RecordError("the summary is cut off")
        return self.record.summary

    monkeypatch.setattr(StoredRun, "summary", property(broken))
    assert main(["ls"]) == 0
    captured = capsys.readouterr()
    assert labels(captured.out.splitlines()) == list("654321")
    assert next(line for line in captured.out.splitlines() if line.split()[0] == "3").count("?") == 2
    assert captured.err.count("run 3: not all of it can be read: the summary is cut off") == 1
    assert main(["ls", "--json", "--cols=label,loss"]) == 0
    assert {each["label"]: each["metrics.loss.last"] is None for each in json.loads(capsys.readouterr().out)} == {
        label: label == "3" for label in "123456"
    }


def test_a_column_that_only_other_runs_of_the_store_have_is_no_slip(tmp_path, ls, monkeypatch, capsys):
    """Whether a command is understood must not depend on who recorded a run last."""
    store = str(tmp_path / "runs")
    for number, config in enumerate(({"lr": 0.1}, {"depth": 3}), 1):
        tell(FileStorageObserver(store), story(tmp_path, number, config, name=f"e{number}").complete())
    monkeypatch.chdir(tmp_path)
    assert [line.split() for line in ls("-n1", "--cols=lr")] == [["label", "lr"], ["2", "-"]]
    assert ls("-n1", "--drop=lr") == ls("-n1")
    assert main(["ls", "-n1", "--cols=lrr"]) == 2
    assert "Did you mean 'lr'?" in capsys.readouterr().err


def test_only_the_runs_that_are_shown_are_read(six_runs, monkeypatch, ls):
    """Of ten thousand runs twenty are shown, and reading is what takes time."""
    asked = []
    reader = type(open_store(six_runs).reader)
    find = reader.find
    monkeypatch.setattr(reader, "find", lambda self, where=None, limit=None: asked.append(limit) or find(self, where, limit))
    ls("-n", "3")
    assert asked == [3]


def test_a_died_run_is_said_to_have_died(tmp_path, ls, monkeypatch):
    """A process that was killed says RUNNING for ever."""
    store = str(tmp_path / "runs")
    tell(FileStorageObserver(store), story(tmp_path, 1, {}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(type(open_store(store).reader), "is_alive", lambda self, record: False)
    assert ls()[1].split()[3] == "DIED"
    assert ls("--json")[0]["status"] == "DIED"


def test_a_condition_on_the_state_means_what_is_shown(tmp_path, ls, monkeypatch, capsys):
    """A run that is shown as DIED is not RUNNING, in no command; a mapping asks for what the record says."""
    store = str(tmp_path / "runs")
    tell(FileStorageObserver(store), story(tmp_path, 1, {}))
    monkeypatch.chdir(tmp_path)
    for place in ("capture.liveness.is_alive", "capture.observers._reading.is_alive"):
        monkeypatch.setattr(place, lambda host: False)
    assert ls()[1].split()[3] == "DIED"
    found = ["status == 'DIED'", "status != 'RUNNING'", "status in ['DIED', 'FAILED']", "died", "not running"]
    assert [len(ls(each)) for each in found] == [2] * len(found)
    missed = ["status == 'RUNNING'", "status != 'DIED'", "status in ['RUNNING', 'FAILED']", "running", "not died"]
    assert [ls(each) for each in missed] == [[]] * len(missed)
    assert ls("status == 'Died'") == ls("died")
    assert main(["ls", "status == 'Dead'"]) == 0
    assert "there are: DIED" in capsys.readouterr().err.replace("There", "there")
    assert len(open_store(store).runs({"status": "RUNNING"})) == 1
    tell(FileStorageObserver(store), story(tmp_path, 2, {}))
    assert main(["export", "1", "2", "out"]) == 0
    assert ",DIED," in (tmp_path / "out" / "index.csv").read_text()
    assert main(["lineage", "-1", "--json"]) == 0
    assert '"status": "DIED"' in capsys.readouterr().out


@pytest.mark.parametrize("scheme", ["file", "sqlite", "tinydb"])
def test_every_store_is_listed_alike_and_so_is_its_bin(scheme, tmp_path, ls, capsys):
    """The commands know readers and curators only."""
    from capture.registry import make_observer

    pytest.importorskip({"file": "capture", "sqlite": "sqlalchemy", "tinydb": "tinydb"}[scheme])
    url = {"file": str(tmp_path / "s"), "sqlite": f"sqlite:///{tmp_path}/runs.db", "tinydb": f"tinydb://{tmp_path}/t"}[scheme]
    write_runs(str(tmp_path), make_observer(url))
    option = f"--store={url}"
    assert ls(option)[0].split() == ["label", "start", "status", "duration", "lr", "seed", "loss", "accuracy", "result"]
    assert labels(ls(option, "--sort=loss", "--desc", "config.seed < 3")) == ["5", "4", "2", "1"]
    for condition in ("label == 3", "label == '3'", "label in [3]", "label in ['3']", "not label != 3", "not label != '3'"):
        assert labels(ls(option, condition)) == ["3"], condition
    assert ls(option, "--bin") == []
    with open_store(url) as store:
        store.curator.bin(store.get("2").label)
        store.curator.bin(store.get("5").label)
    assert labels(ls(option, "--bin")) == ["5", "2"]
    assert labels(ls(option, "--bin", "config.lr > 0.2")) == ["5"]
    assert labels(ls(option)) == ["6", "4", "3", "1"]


def test_records_of_sacred_are_listed(ls):
    """They have no uid, no facts, and one of them has never started."""
    lines = ls(f"--store={SACRED}")
    assert len(lines) == 4 and {line.split()[0] for line in lines[1:]} == {"1", "2", "queued-one"}
    assert "QUEUED" in "\n".join(lines) and "FAILED" in "\n".join(lines)
    assert len(ls(f"--store={SACRED}", "--json")) == 3


def test_real_runs_are_listed(tmp_path, monkeypatch, ls):
    """From the decorator to the table."""
    monkeypatch.chdir(tmp_path)
    ex = Experiment("real", observers=[str(tmp_path / "runs")], save_git_info=False)

    @ex.config
    def config():
        lr = 0.1
        name = "a"

    @ex.main
    def train(lr, _run):
        _run.log_scalar("loss", lr)
        return lr * 2

    for lr in (0.1, 0.2):
        ex.run(config_updates={"lr": lr})
    lines = ls()
    assert lines[0].split() == ["label", "start", "status", "duration", "lr", "seed", "loss", "result"]
    assert [line.split()[-1] for line in lines[1:]] == ["0.4", "0.2"]
    assert labels(ls("--mine")) == ["2", "1"]


def test_patterns_mean_exact_names_before_globs_before_expressions():
    """A config key that looks like a pattern is found by itself."""
    columns = ["config.a[0]", "config.a0", "metrics.a.b.last"]
    assert table.matched("a[0]", columns) == ["config.a[0]"]
    assert table.matched("a[0-9]", columns) == ["config.a0"]
    assert table.matched("a.b", columns) == ["metrics.a.b.last"]
    assert table.matched("(", columns) == []


def test_the_times_of_today_are_short():
    """The day is said where it is another one."""
    from datetime import datetime, timedelta

    now = datetime(2026, 6, 15, 12, 0, 0).astimezone()
    assert table.short_time(now - timedelta(hours=1), now) == "11:00:00"
    assert table.short_time(now - timedelta(days=2), now) == "06-13 12:00"
    assert table.short_time(now - timedelta(days=400), now).startswith("2025-05-")


def test_a_single_run_is_listed_as_among_all_of_its_experiment(six_runs, tmp_path, ls):
    """Every entry in a line is two lines of headings, and none of them says what is special about this run."""
    header = ["label", "start", "status", "duration", "lr", "seed", "loss", "accuracy", "result"]
    for arguments in (["-n1"], ["config.lr == 0.5", "config.seed == 2"]):
        assert ls(*arguments)[0].split() == header
    many = {f"entry{number}": number for number in range(30)}
    meta = {"command": "main", "options": {}, "named_configs": [], "config_updates": {"entry7": 7}}
    tell(FileStorageObserver("runs"), story(tmp_path, 7, many, name="other", meta_info=meta).complete())
    assert ls("name == 'other'")[0].split() == ["label", "start", "status", "duration", "entry7"]
    assert "config.entry8" in ls("--json", "name == 'other'")[0]
    tell(FileStorageObserver("runs"), story(tmp_path, 8, {"a": 1, "b": 2}, name="small").complete())
    assert ls("-n1")[0].split() == ["label", "start", "status", "duration", "a", "b"]
