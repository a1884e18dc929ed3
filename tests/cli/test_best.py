"""``capture best``: the run that won, by a number whose direction is known."""

from __future__ import annotations

import json

import pytest

from capture import open_store
from capture.cli import main
from capture.errors import RunNotFoundError
from capture.observers import FileStorageObserver
from capture.query.columns import is_more_better
from capture.testing import tell
from tests.cli.looking import story


@pytest.fixture
def best(capsys):
    """Run the command; return the labels it lists, the best first, and all that it prints."""

    def run(*arguments, status=0):
        capsys.readouterr()
        assert main(["best", *arguments]) == status
        captured = capsys.readouterr()
        table = captured.out.partition("\n\n")[0].splitlines()
        return [line.split()[0] for line in table[1:]], captured.out + captured.err

    return run


def test_the_result_goes_the_way_of_the_metric_that_it_is(six_runs, best):
    """The result of these runs is their last accuracy, so the greatest wins."""
    labels, text = best()
    assert labels == ["1", "2", "3", "4", "5"]
    assert "Configuration of run 1" in text and "seed" in text
    assert best("-n", "2")[0] == ["1", "2"]
    assert best("--min", "-n1")[0] == ["6"]


def test_the_only_one_is_shown_with_what_tells_it_apart(six_runs, best):
    """Not with every entry that all runs of its experiment have alike."""
    header = best("-n1")[1].splitlines()[0].split()
    assert header == ["label", "result", "start", "status", "duration", "lr", "seed", "loss", "accuracy"]


def test_a_metric_says_its_direction_by_its_name(six_runs, best):
    """A loss is wanted low, an accuracy high; by short or full name, or another summary of it."""
    assert best("--by=loss", "-n1")[0] == ["1"]
    assert best("--by=metrics.accuracy.max", "-n1")[0] == ["1"]
    assert best("--by", "loss", "--max", "-n1")[0] == ["6"]
    assert best("--by=loss", "config.lr > 0.2", "-n1")[0] == ["4"]
    assert [is_more_better(name) for name in ("val_f1", "test.rmse", "metrics.error.last", "x", "lr")] == [
        *(True, False, False, None, None)
    ]


def test_who_does_not_say_the_direction_is_asked(six_runs, best):
    """A guess would name the worst run the best."""
    text = best("--by=config.lr", status=2)[1]
    assert "--max or --min" in text and "metrics.loss.last" in text
    assert best("--by=config.lr", "--max", "-n1")[0] == ["6"]
    assert "metrics.accuracy.last" in best("--by=losss", status=2)[1]
    assert best("--min", "--max", status=2)


def test_what_is_no_number_never_wins(tmp_path, best, monkeypatch):
    """A run that diverged, one that failed, one that returned text."""
    results = (float("nan"), float("inf"), None, "text", True, 0.5, 0.7)
    for number, result in enumerate(results, 1):
        told = story(tmp_path, number, {"number": number}).complete(result=result)
        tell(FileStorageObserver(str(tmp_path / "runs")), told)
    monkeypatch.chdir(tmp_path)
    labels, text = best("--max")
    assert labels == ["7", "6"] and "5 of 7 runs have no number at result" in text
    assert best("--min")[0] == ["6", "7"]


def test_what_stands_in_place_of_numbers_is_told(tmp_path, best, monkeypatch):
    """Of runs that diverged the result is NaN, and the least loss on the way is a number."""
    for number in (1, 2):
        told = story(tmp_path, number, {"number": number}).metrics(loss=[1.0, float("nan"), 0.5, float("inf"), float("nan")])
        tell(FileStorageObserver(str(tmp_path / "runs")), told.complete(result=float("nan")))
    tell(FileStorageObserver(str(tmp_path / "runs")), story(tmp_path, 3, {}).complete())
    monkeypatch.chdir(tmp_path)
    text = best("--min", status=1)[1]
    assert "no run has a finite number at result: NaN in 2 runs, nothing in 1 run; there are: metrics.loss.min\n" in text
    assert best("--by=loss.min")[0] == ["2", "1"]
    with pytest.raises(RunNotFoundError, match=r"finite number at 'result': NaN in 2 runs, nothing in 1 run\."):
        open_store("runs").runs().best()


def test_columns_are_chosen_as_in_a_list(six_runs, best, capsys):
    """What counts is always among them."""
    text = best("-n2", "--cols=lr,loss")[1]
    assert text.splitlines()[0].split() == ["label", "result", "lr", "loss"]
    assert best("-n2", "--cols=result", "--cols=seed")[1].splitlines()[0].split() == ["label", "result", "seed"]
    assert main(["best", "--json", "-n1", "--cols=lr"]) == 0
    assert [*json.loads(capsys.readouterr().out)[0]] == ["label", "result", "config.lr"]
    assert "did you mean" in best("--cols=losss", status=2)[1].lower()


def test_results_that_are_dicts_are_looked_into(tmp_path, best, monkeypatch):
    """And where the result is no number, what could be meant is listed."""
    for number in (1, 2):
        told = story(tmp_path, number, {}).complete(result={"accuracy": number / 2, "n": 3})
        tell(FileStorageObserver(str(tmp_path / "runs")), told)
    monkeypatch.chdir(tmp_path)
    assert best("--by=result.accuracy", "-n1")[0] == ["2"]
    assert "result.accuracy" in best(status=1)[1]


def test_no_runs_no_winner(six_runs, best, tmp_path):
    """The answer is no."""
    assert "no such runs" in best("config.lr > 3", status=1)[1]
    (tmp_path / "empty").mkdir()
    assert "no such runs" in best(f"--store={tmp_path / 'empty'}", status=1)[1]


def test_the_best_as_json(six_runs, capsys):
    """For a script that goes on with the winner."""
    assert main(["best", "--json", "-n", "2"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["label"] == "1" and first["result"] > second["result"] and first["config.lr"] == 0.1


def test_equal_runs_stand_newest_first(tmp_path, best, monkeypatch):
    """As everywhere."""
    for number in (1, 2, 3):
        tell(FileStorageObserver(str(tmp_path / "runs")), story(tmp_path, number, {}).complete(result=1.0))
    monkeypatch.chdir(tmp_path)
    assert best("--max")[0] == best("--min")[0] == ["3", "2", "1"]
