"""The client: what is written over any store is chosen, tabled, compared, changed and taken along from Python."""

from __future__ import annotations

import base64
import gc
import json
import os
import pickle
import re
import threading
import time
import warnings
from contextlib import contextmanager

import pytest

from capture import SETTINGS, Experiment, open_store
from capture.digests import digests_of
from capture.errors import CaptureError, RecordError, RunNotFoundError
from capture.expressions import ExpressionError
from capture.filters import field
from capture.query.asking import NotAConditionError
from capture.query.client import Runs, Store, StoredRun
from capture.query.files import FileNotInRunError, RunFile, RunFiles, SavedAlreadyError, safe_parts
from capture.query.grouping import spread
from capture.query.reprs import shown
from capture.query.stored_run import NoSuchValueError
from capture.records import RunRecord, StoredFile, bytes_opener
from capture.registry import make_observer
from capture.testing.contract import uid
from capture.testing.feed import Story, tell
from tests.project.tree import ROOT
from tests.servers.fixtures import each_kind, fresh_name

pandas = pytest.importorskip("pandas")

LOCAL = {"file": "{}", "sqlite": "sqlite:///{}.db", "tinydb": "tinydb://{}"}
SERVERS = each_kind("mongo", "postgres", "mariadb")
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4OHwAAAABJRU5ErkJggg=="
)


@contextmanager
def setting(name: str, value: object):
    """Change a setting for a while."""
    before = getattr(SETTINGS, name)
    setattr(SETTINGS, name, value)
    yield
    setattr(SETTINGS, name, before)


def fill(url: str, folder: str) -> None:
    """Write six runs into a store: two learning rates with three seeds each."""
    ex = Experiment("digits", observers=[url], save_git_info=False)

    @ex.config
    def defaults():
        lr = 0.1
        seed = 1
        net = {"layers": [1, 2], "activation": "relu"}

    @ex.main
    def train(_run, lr, seed):
        for step in range(10):
            _run.log_scalar("loss", lr / (step + 1) + seed / 1000, step)
        for step in (0, 5, 10):
            _run.log_scalar("val_accuracy", seed / 10, step)
        path = os.path.join(folder, "table.csv")
        with open(path, "w") as stream:
            stream.write(f"a,b\n1,{seed}\n")
        _run.add_artifact(path, "tables/table.csv")
        with open(os.path.join(folder, "in.json"), "w") as stream:
            stream.write('{"x": 1}')
        _run.add_resource(os.path.join(folder, "in.json"))
        print("trained with", lr)
        return lr * seed

    for lr in (0.1, 0.2):
        for seed in (1, 2, 3):
            ex.run(config_updates={"lr": lr, "seed": seed})


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    """The URL of a store of files with six runs, which tests only read."""
    folder = tmp_path_factory.mktemp("six")
    with pytest.MonkeyPatch.context() as patch, setting("IMPORTS", False):
        patch.setenv("CAPTURE_STATE_DIR", str(folder / "state"))
        fill(str(folder / "runs"), str(folder))
    return str(folder / "runs")


@pytest.fixture
def store(six):
    with open_store(six) as opened:
        yield opened


@pytest.fixture(params=[*LOCAL, *SERVERS])
def any_url(request, tmp_path):
    """The URL of an empty store, of each kind in turn."""
    name = fresh_name()
    if request.param in LOCAL:
        if request.param != "file":
            pytest.importorskip({"sqlite": "sqlalchemy", "tinydb": "tinydb"}[request.param])
        yield LOCAL[request.param].format(tmp_path / name)
        return
    server = request.getfixturevalue(f"{request.param}_server")
    if hasattr(server, "create"):
        server.create(name)
    yield server.url_of(name)
    server.drop(name)


def seeds(runs) -> list[int]:
    return [run.config["seed"] for run in runs]


# ------------------------------------------------------------------------------------------------------------- stores


def test_every_store_gives_the_same_answers(any_url, tmp_path):
    """What is written for a folder today runs over the database of the lab tomorrow."""
    fill(any_url, str(tmp_path))
    store = open_store(any_url)
    runs = store.runs("config.lr > 0.1")
    assert seeds(runs) == [3, 2, 1]
    assert len(store.runs()) == 6
    assert runs.best().config["seed"] == 3
    assert runs.best("loss").config["seed"] == 1
    frame = store.runs().to_pandas()
    assert list(frame["config.seed"]) == [3, 2, 1, 3, 2, 1]
    assert frame["metrics.loss.last"].dtype == frame["result"].dtype == "float64"
    assert str(frame["start_time"].dt.tz) == "UTC"
    assert set(frame["name"]) == {"digits"}
    assert list(map(str, frame.index)) == list(map(str, reversed(store.labels())))
    run = runs.first()
    assert run["config.net.layers"] == [1, 2]
    assert run.artifacts["tables/table.csv"].text() == "a,b\n1,3\n"
    assert run.resources[0].json() == {"x": 1}
    assert "trained with 0.2" in run.output
    assert list(run.metrics_frame().columns) == ["loss", "val_accuracy"]
    run.tag("good", "best")
    run.untag("best")
    run.note("seen")
    assert (run.tags, run.notes) == (["good"], "seen")
    assert [each.label for each in store.runs("'good' in tags")] == [run.label]
    assert len(store.runs().group_by()) == 2
    run.bin()
    assert len(store.runs()) == 5
    run.restore()
    assert len(store.runs()) == 6
    store.close()


def test_records_of_sacreds_are_tabled_and_shown_as_others():
    """Old records have no uid, facts or digests, and are what people compare their new runs with."""
    with open_store(ROOT / "tests" / "golden" / "sacred-0.8.7") as store:
        runs = store.runs()
        frame = runs.to_pandas()
        assert len(frame) == len(store.labels()) == 3
        assert "config.seed" in runs.columns()
        assert runs._repr_html_().count("<tr>") == 4
        for run in runs:
            assert run._repr_html_().startswith("<div")
            assert run.lineage["coverage"]["complete"] is False
            assert run.environment is None
            assert run.parent is None
            assert all(isinstance(each, str) for each in run.dependencies)
            assert run.to_dict(streams=False)["status"] == run.status


def test_the_default_store_is_that_of_the_settings(monkeypatch, tmp_path):
    """In the folder where one trains, no URL is typed."""
    monkeypatch.chdir(tmp_path)
    ex = Experiment("e", observers=["here"], save_git_info=False)
    ex.main(lambda: 1)
    ex.run()
    with setting("STORE", "here"):
        assert len(open_store().runs()) == 1


def test_a_store_is_named_without_its_password():
    """Representations end up in notebooks that are published."""
    store = open_store("mongodb://ada:secret@127.0.0.1:1/lab")
    assert "secret" not in repr(store) + store.url + repr(store.runs())
    store.close()


def test_a_store_closes_what_it_opened(six, monkeypatch):
    """A notebook stays open for weeks, and servers count connections."""
    closed = []

    class Curator:
        def close(self):
            closed.append(True)

    monkeypatch.setattr("capture.registry.open_curator", lambda url: Curator())
    with open_store(six) as store:
        assert store.curator is store.curator
    assert closed == [True]


def test_a_store_still_is_a_reader(store):
    """Functions that take a reader take what `open_store` returns."""
    from capture import Reader

    run = store.get("latest")
    assert isinstance(store, Reader) and isinstance(store, Store)
    assert isinstance(run, RunRecord) and isinstance(run, StoredRun)
    assert [each.label for each in store.find(field("config.seed") == 2, limit=1)] == ["5"]
    assert store.is_alive(run) is False


def test_threads_may_share_a_store(store):
    """Dashboards ask from several threads."""
    found: list[int] = []

    def ask() -> None:
        found.append(len(store.runs("config.lr > 0.1").to_pandas()))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == [3, 3, 3, 3]


# --------------------------------------------------------------------------------------------------------------- runs


def test_nothing_is_read_before_it_is_asked_for(store, monkeypatch):
    """A condition is put together step by step; reading ten thousand runs at each step would be felt."""
    calls = []
    original = store.reader.find
    monkeypatch.setattr(store.reader, "find", lambda *args: calls.append(args) or original(*args))
    runs = store.runs("config.lr > 0.1").filter(field("config.seed") > 1).sort("result").limit(1)
    assert calls == [] and "not read yet" in repr(runs)
    assert seeds(runs) == [2]
    assert len(calls) == 1


def test_conditions_may_be_text_values_or_filters(store):
    """Each of the three is at hand somewhere: typed, from a program, computed."""
    assert seeds(store.runs("config.seed == 2 and config.lr < 0.15")) == [2]
    assert seeds(store.runs({"config.seed": 2, "config.lr": 0.1})) == [2]
    assert seeds(store.runs((field("config.seed") == 2) & (field("config.lr") < 0.15))) == [2]
    assert len(store.runs("completed")) == 6
    assert len(store.runs("failed")) == 0


def test_a_condition_is_applied_to_what_was_limited_before(store):
    """`limit` then `filter` is another question than `filter` then `limit`."""
    assert seeds(store.runs().limit(2).filter("config.seed < 3")) == [2]
    assert seeds(store.runs().filter("config.seed < 3").limit(2)) == [2, 1]
    assert seeds(store.runs()[:2].filter("config.seed < 3")) == [2]


def test_the_name_of_a_run_is_no_condition(store):
    """Who asks from Python is told what to write in Python, not which command to type."""
    with pytest.raises(NotAConditionError, match=r"store\.get\('12'\)") as told:
        store.runs("12")
    assert isinstance(told.value, ValueError) and "capture show" not in str(told.value)
    assert pickle.loads(pickle.dumps(told.value)).word == told.value.word == "12"


def test_a_condition_that_is_no_condition_says_where(store):
    """A mistake is shown before anything is read."""
    with pytest.raises(ExpressionError, match=r"did you mean config"):
        store.runs("conf.lr > 1")


def test_an_entry_that_no_run_has_is_told(store):
    """An empty table looks like an answer, and a typo is the likelier cause."""
    with pytest.warns(UserWarning, match=r"no run has config\.lrr; did you mean config\.lr\?") as told:
        assert len(store.runs("config.lrr > 0.1")) == 0
    assert told[0].filename == __file__


def test_no_warning_where_the_answer_is_none(store):
    """Nothing is odd about no run having so large a rate."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(store.runs("config.lr > 5")) == 0


def test_runs_are_a_sequence(store):
    """What people try first: a number, a slice, the length."""
    runs = store.runs()
    assert runs[0].label == "6" and runs[-1].label == "1"
    assert isinstance(runs[1:3], Runs) and [run.label for run in runs[1:3]] == ["5", "4"]
    assert runs and not store.runs("config.lr > 5")
    with pytest.raises(IndexError):
        runs[6]
    with pytest.raises(TypeError, match=r"store\.get\('6'\)"):
        runs["6"]
    with pytest.raises(ValueError, match="0 or more"):
        runs.limit(-1)


def test_runs_are_named_one_by_one(store):
    """A few runs of a paper are listed by hand, in the order of its figures."""
    assert [run.label for run in store.runs(labels=[3, "latest", "1"])] == ["3", "6", "1"]
    assert [run.label for run in store.runs("config.lr > 0.1", labels=[3, "latest"])] == ["6"]
    with pytest.raises(RunNotFoundError):
        store.runs(labels=["17"])


def test_columns_of_frames_have_short_names_too_and_slips_are_told(store):
    """Lists, sort and group_by take ``lr``: a frame had a column of None for it, as for any slip, without a word."""
    runs = store.runs()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = runs.to_pandas(["lr", "loss", "config.lr", "status", "result"])
        named = runs.to_pandas({"rate": "lr"})
        rows = runs.to_dicts(["lr"])
    assert list(frame.columns) == ["lr", "loss", "config.lr", "status", "result"]
    assert list(frame["lr"]) == list(frame["config.lr"]) == list(named["rate"]) == [run.config["lr"] for run in runs]
    assert list(frame["loss"]) == [run["metrics.loss.last"] for run in runs]
    assert rows[0] == {"label": runs[0].label, "lr": runs[0].config["lr"]}
    with pytest.warns(UserWarning, match=r"none of these 6 runs has anything at 'los'; did you mean metrics\.loss\.last\?") as told:
        assert list(runs.to_pandas(["los"])["los"]) == [None] * 6
    assert told[0].filename == __file__
    with pytest.warns(UserWarning, match=r"none of these 6 runs has a metric called 'los'; did you mean loss\?"):
        assert runs.metrics_frame("los").empty
    assert list(store.runs("config.lr > 9").to_pandas(["los"]).columns) == ["los"]


def test_runs_are_sorted_by_values_that_some_lack(store):
    """What is missing is not the smallest."""
    runs = store.runs()
    assert runs.sort("result").first().result == pytest.approx(0.1)
    assert runs.sort("result", descending=True)[0]["result"] == pytest.approx(0.6)
    assert seeds(runs.sort(["seed", "lr"])) == [1, 1, 2, 2, 3, 3]
    assert [run.config["lr"] for run in runs.sort(["seed", "lr"])][:2] == [0.1, 0.2]
    with pytest.warns(UserWarning, match=r"none of these 6 runs has anything at 'config\.lrr'; did you mean config\.lr\?"):
        assert [run.label for run in runs.sort("config.lrr")] == [run.label for run in runs]
    assert runs.sort("result").latest.label == "6"


def test_first_latest_and_best_say_that_there_is_none(store):
    """None would fail two lines further on, with a message about None."""
    none = store.runs("config.lr > 5")
    for ask in (none.first, lambda: none.latest, none.best):
        with pytest.raises(RunNotFoundError, match="has no run for which"):
            ask()


@pytest.mark.parametrize(
    ("metric", "smallest", "seed"),
    [
        ("result", None, 3), ("result", True, 1), ("loss", None, 1), ("loss", False, 3),
        ("metrics.loss.min", None, 1), ("val_accuracy", None, 3), ("metrics.val_accuracy.max", True, 1),
        ("config.seed", None, 3),
    ],
)  # fmt: skip
def test_the_best_run_is_found_by_result_or_metric(store, metric, smallest, seed):
    """The question that is asked most; a loss is wanted small without saying so."""
    assert store.runs("config.lr > 0.1").best(metric, smallest).config["seed"] == seed


def test_what_is_no_number_never_wins(tmp_path):
    """A diverged run with a loss of NaN, or one without a result, is not the best."""
    ex = Experiment("e", observers=[str(tmp_path / "runs")], save_git_info=False)
    ex.add_config(value=None)
    ex.main(lambda value: value)
    for value in (float("nan"), None, 1.0, "text", float("inf"), 2.0, True):
        ex.run(config_updates={"value": value})
    runs = open_store(tmp_path / "runs").runs()
    assert runs.best().result == 2.0
    assert runs.best(smallest=True).result == 1.0


def test_a_metric_that_nobody_has_is_told_with_those_there_are(store):
    """The names of metrics are what one misremembers."""
    with pytest.raises(RunNotFoundError, match=r"did you mean:  metrics\.loss\.last"):
        store.runs().best("los")


def test_runs_over_seeds_are_taken_together(store):
    """A single seed is no result; mean, spread and number are."""
    groups = store.runs().group_by()
    assert groups.by == ["config.lr"]
    assert [group.values for group in groups] == [{"config.lr": 0.2}, {"config.lr": 0.1}]
    assert groups[0].spreads["result"].mean == pytest.approx(0.4)
    assert groups[0].spreads["result"].std == pytest.approx(0.2)
    frame = store.runs().group_by("lr").to_pandas()
    assert frame.index.name == "lr"
    assert frame.loc[0.1, "result_mean"] == pytest.approx(0.2)
    assert list(frame["n"]) == [3, 3]
    assert "0.4 ± 0.2" in repr(groups) and "0.4 ± 0.2" in groups._repr_html_()
    assert len(store.runs().group_by("lr", "seed").to_pandas()) == 6
    assert "no runs" in repr(store.runs("config.lr > 5").group_by())


def test_entries_that_are_called_as_the_client_calls_something_are_entries(tmp_path):
    """A run of the client has an environment and a store; so has many a configuration, and that is what is meant."""
    folder = str(tmp_path / "runs")
    ex = Experiment("e", observers=[folder], save_git_info=False)
    ex.add_config(environment="", store=0, parent="", lineage="", files=0)
    ex.main(lambda environment: 1)
    for environment, store in (("b", 2), ("c", 1), ("a", 3)):
        ex.run(config_updates={"environment": environment, "store": store, "parent": environment, "lineage": environment})
    runs = open_store(folder).runs()
    for name in ("environment", "parent", "lineage"):
        assert [run.label for run in runs.sort(name)] == ["3", "1", "2"], name
        assert runs.group_by(name).by == [f"config.{name}"]
    assert [run.label for run in runs.sort("store")] == ["2", "1", "3"] and runs.best("store").label == "3"
    assert runs.group_by("name", "status").by == ["name", "status"]


def test_what_other_experiments_and_commands_gave_is_not_averaged(tmp_path):
    """The mean of what training and evaluation return is nothing, however alike their configurations are."""
    folder = str(tmp_path / "runs")
    for name in ("one", "other"):
        ex = Experiment(name, observers=[folder], save_git_info=False)
        ex.add_config(lr=0.1)
        ex.main(lambda lr: 1)

        @ex.command
        def evaluate(lr):
            return 99

        for seed in (1, 2):
            ex.run(config_updates={"seed": seed})
        ex.run("evaluate", config_updates={"seed": 3})
    groups = open_store(folder).runs().group_by()
    assert groups.by == ["name", "command"]
    assert sorted((len(each), each.spreads["result"].mean) for each in groups) == [(1, 99), (1, 99), (2, 1), (2, 1)]
    one = open_store(folder).runs("name == 'one' and command != 'evaluate'").group_by()
    assert (one.by, len(one)) == ([], 1)


def test_the_result_goes_the_way_of_the_metric_that_it_is(tmp_path):
    """Many experiments return their loss: the largest one is the worst run."""
    ex = Experiment("e", observers=[str(tmp_path / "runs")], save_git_info=False)
    ex.add_config(value=None)

    @ex.main
    def main(_run, value):
        _run.log_scalar("val_loss", value)
        return value

    for value in (3.0, 1.0, 2.0):
        ex.run(config_updates={"value": value})
    assert open_store(tmp_path / "runs").runs().best().result == 1.0
    assert open_store(tmp_path / "runs").runs().best(smallest=False).result == 3.0


def test_groups_keep_apart_what_is_called_alike(tmp_path):
    """An entry called n, or result_mean, is not how many runs there are, nor what came out."""
    ex = Experiment("e", observers=[str(tmp_path / "runs")], save_git_info=False)
    ex.add_config(n=1, result_mean="text", layers=[1])
    ex.main(lambda n: n / 10)
    for n in (1, 2, 2):
        ex.run(config_updates={"n": n, "layers": [n] * n})
    runs = open_store(tmp_path / "runs").runs()
    frame = runs.group_by("n", "n").to_pandas()
    assert list(frame.index) == [2, 1] and list(frame["n"]) == [2, 1]
    assert frame["result_std"].dtype == "float64" and frame["result_std"].isna().tolist() == [False, True]
    frame = runs.group_by("result_mean").to_pandas()
    assert frame.index.name == "config.result_mean" and frame["result_mean"].iloc[0] == pytest.approx(0.5 / 3)
    assert list(runs.group_by("layers", "n").to_pandas().index) == [("[2, 2]", 2), ("[1]", 1)]


def test_a_mean_of_some_runs_only_says_so(store):
    """0.3 of one run looks like 0.3 of three."""
    with pytest.warns(UserWarning, match="has anything at 'config.lrr'"):
        assert len(store.runs().group_by("config.lrr")) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not len(store.runs().limit(0).group_by("config.lrr"))
    groups = store.runs().group_by("lr")
    groups[0].spreads["result"] = spread([0.25])
    assert "0.25 (1)" in repr(groups) and "(3)" not in repr(groups)


# ------------------------------------------------------------------------------------------------------------- tables


def test_a_table_has_chosen_columns(store):
    """Fifty columns are for computing, three for looking."""
    with pytest.warns(UserWarning, match=r"none of these 6 runs has anything at 'config\.nowhere'"):
        frame = store.runs().to_pandas(["config.lr", "result", "config.nowhere"])
    assert list(frame.columns) == ["config.lr", "result", "config.nowhere"]
    assert frame["config.nowhere"].isna().all()
    frame = store.runs().to_pandas({"rate": "config.lr", "points": lambda run: len(run.metrics["loss"])})
    assert list(frame.columns) == ["rate", "points"] and set(frame["points"]) == {10}
    with pytest.raises(TypeError, match=r"\['config.lr'\]"):
        store.runs().to_pandas("config.lr")


def test_a_table_as_plain_dicts_needs_no_pandas(store, monkeypatch):
    """A script on a cluster has no pandas, and says how to have it where it is needed."""
    with pytest.warns(UserWarning, match=r"none of these 6 runs has anything at 'config\.nowhere'"):
        rows = store.runs().to_dicts(["config.lr", "config.nowhere"])
    assert rows[0] == {"label": "6", "config.lr": 0.2}
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    for ask in (store.runs().to_pandas, store.get(1).metrics_frame, store.get(1).metrics["loss"].to_pandas):
        with pytest.raises(ImportError, match="pip install pandas"):
            ask()


def test_one_metric_of_all_runs_is_a_frame(store):
    """Curves are plotted over each other: `runs.metrics_frame("loss").plot()`."""
    frame = store.runs("config.lr > 0.1").metrics_frame("loss")
    assert list(frame.columns) == ["6", "5", "4"] and frame.shape == (10, 3)


def test_a_label_is_found_as_a_number_and_as_text(any_url, tmp_path):
    """Stores have one or the other, and who asks need not know which."""
    fill(any_url, tmp_path)
    with open_store(any_url) as store:
        for condition in ("label == 1", "label == '1'", "label in [1]", "label in ['1']", {"label": 1}, {"label": "1"}):
            assert [str(run.label) for run in store.runs(condition)] == ["1"], condition
        assert len(store.runs("label != 1")) == len(store.runs("label != '1'")) == len(store.runs()) - 1


def test_a_metric_that_a_run_has_not_is_told_with_those_it_has(store):
    """As with every other look-up by name; it is a mapping as before."""
    run = store.get(1)
    with pytest.raises(NoSuchValueError, match=r"did you mean:  metrics\.loss") as caught:
        run.metrics["los"]
    assert isinstance(caught.value, KeyError) and "metrics.loss" in caught.value.known
    assert run.metrics.get("los") is None and "loss" in run.metrics and len(run.metrics) == len([*run.metrics])
    assert dict(run.metrics) == dict(run.record.metrics) and run.metrics == run.record.metrics


def test_metrics_of_a_run_are_joined_by_step(store):
    """Metrics are logged at different steps; a missing value is NaN and nothing is shifted."""
    run = store.get("6")
    frame = run.metrics_frame()
    assert frame.index.name == "step" and list(frame.index) == list(range(11))
    assert frame["val_accuracy"].count() == 3 and frame.loc[5, "val_accuracy"] == 0.3
    assert list(run.metrics_frame("val_*").columns) == ["val_accuracy"]
    with pytest.raises(NoSuchValueError, match="metrics.loss"):
        run.metrics_frame("los")
    series = run.metrics["loss"].to_pandas()
    assert (series.name, series.index.name, len(series)) == ("loss", "step", 10)
    assert run.metrics["loss"].array.dtype == "float64"


def test_the_garbage_collector_is_left_as_it_was(store):
    """It is held back while many records are made, and somebody may have switched it off for good."""
    store.runs().to_pandas()
    assert gc.isenabled()
    gc.disable()
    try:
        store.runs().to_pandas()
        assert not gc.isenabled()
    finally:
        gc.enable()


# --------------------------------------------------------------------------------------------------------------- a run


def test_values_are_found_by_path(store):
    """The same names as in a condition and a column."""
    run = store.get("6")
    assert run["config.net.activation"] == "relu"
    assert run["metrics.loss.count"] == 10
    assert run["state"] == "COMPLETED"
    assert run.get("config.nowhere") is None and run.get("config.nowhere", 7) == 7
    assert "config.net.layers" in run.paths()


@pytest.mark.parametrize(
    ("path", "hint"), [("config.lrr", "config.lr"), ("lr", "config.lr"), ("loss", "metrics.loss.last"), ("record.x", "it has")]
)
def test_a_path_that_leads_nowhere_says_what_there_is(store, path, hint):
    """Nobody remembers the names of last month."""
    with pytest.raises(NoSuchValueError) as caught:
        store.get("6")[path]
    assert hint in str(caught.value)
    assert isinstance(caught.value, KeyError) and isinstance(caught.value, CaptureError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.known) == (str(caught.value), caught.value.known)


def test_a_run_tells_where_it_comes_from(tmp_path, monkeypatch):
    """An inner run names its outer one; the environment and the files are at hand without knowing how they are kept."""
    monkeypatch.chdir(tmp_path)
    inner, outer = (Experiment(name, observers=["runs"], save_git_info=False) for name in ("inner", "outer"))
    inner.main(lambda: 1)
    outer.main(lambda: inner.run().result)
    outer.run()
    store = open_store("runs")
    run = store.runs("inner").first()
    assert run.parent is not None and run.parent.name == "outer"
    assert run.parent.parent is None
    assert run.duration is not None and run.duration >= 0


@pytest.mark.facts("environment", "imports", "lineage")
def test_what_was_installed_and_read_is_at_hand(tmp_path, monkeypatch):
    """The lock and the lineage are kept as files and facts, which nobody wants to look up."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("1")
    ex = Experiment("e", observers=["runs"], save_git_info=False)

    @ex.main
    def main():
        with open("in.txt") as stream:
            return stream.read()

    ex.run()
    run = open_store("runs").get(-1)
    assert run.environment is not None and "distributions" in run.environment
    assert [os.path.basename(entry["path"]) for entry in run.lineage["inputs"]] == ["in.txt"]
    assert "text" in run.lineage["coverage"]
    assert run.dependencies


def test_two_runs_are_compared_in_a_call(store):
    """Why do these differ?"""
    difference = store.get(6).diff(store.get(5))
    assert difference.causes[0].name == "config.seed"
    assert store.runs("config.lr > 0.1").compare().differ
    assert not store.get(6).diff(store.get(6)).differ


def test_tags_are_added_to_what_somebody_else_wrote(six, tmp_path):
    """Two people tag the same run from two notebooks."""
    fill(str(tmp_path / "runs"), str(tmp_path))
    mine, theirs = (open_store(tmp_path / "runs").get("6") for _ in range(2))
    mine.tag("a")
    theirs.tag("b", "a")
    mine.refresh()
    assert mine.tags == ["a", "b"]
    mine.annotate(notes="seen")
    assert open_store(tmp_path / "runs").get("6").notes == "seen"
    runs = open_store(tmp_path / "runs").runs("config.seed == 1")
    runs.tag("first")
    runs.note("the first seed")
    assert [run.tags for run in runs] == [["first"], ["first"]]
    runs.untag("first")
    assert runs.bin() == ["4", "1"]
    assert open_store(tmp_path / "runs").labels() == ["2", "3", "5", "6"]


def test_a_run_that_calls_itself_running_and_is_gone_has_died(tmp_path, monkeypatch):
    """`status` is what was written, `state` what is known."""
    from capture.registry import make_observer
    from capture.testing.feed import Story, tell

    story = Story(tmp_path / "s", "01997a1c-0001-7000-8000-000000000001").start()
    tell(make_observer(str(tmp_path / "runs")), story)
    store = open_store(tmp_path / "runs")
    monkeypatch.setattr(type(store.reader), "is_alive", lambda self, record: False)
    run = store.get(-1)
    assert (run.status, run.state) == ("RUNNING", "DIED")
    assert store.runs().to_dicts(["status"]) == [{"label": "1", "status": "DIED"}]
    assert store.runs().to_dicts()[0]["status"] == "DIED"


def test_pickles_open_the_store_again(store):
    """Pools of processes get runs, and read them there."""
    run, runs = store.get("6"), store.runs("config.lr > 0.1").sort("result")
    again = pickle.loads(pickle.dumps(run))
    assert (again.label, again.uid, again["config.lr"]) == ("6", run.uid, 0.2)
    assert seeds(pickle.loads(pickle.dumps(runs))) == [1, 2, 3]
    assert seeds(pickle.loads(pickle.dumps(runs[:2]))) == [1, 2]
    points = pickle.loads(pickle.dumps(run.metrics))  # the measurements themselves: a pool returns them
    assert {name: list(each) for name, each in points.items()} == {name: list(each) for name, each in run.metrics.items()}
    assert pickle.loads(pickle.dumps(run.git)) == run.git
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(run.artifacts[0])


def test_an_attribute_that_a_run_has_not_is_told_of_a_run(store):
    """What its record is made of in this store is nothing that its user wrote."""
    with pytest.raises(AttributeError, match="^a run has no attribute 'metricz'$"):
        store.get(1).metricz


def test_names_are_completed(store):
    """In a notebook, Tab is the documentation."""
    names = dir(store.get("6"))
    assert {"config", "metrics", "artifacts", "tag", "diff", "start_time"} <= set(names)
    with pytest.raises(AttributeError):
        store.get("6").nothing_like_it


# --------------------------------------------------------------------------------------------------------------- files


def made(name: str, data: bytes, digest: str | None = None, **more: object) -> RunFile:
    return RunFile(StoredFile(name, digest, len(data), open=bytes_opener(data), **more), "artifacts", "1")


def test_files_are_found_by_name_and_pattern(store):
    """`run.artifacts["x"]`, `run.files("*.csv")`; a wrong name lists the right ones."""
    run = store.get("6")
    assert run.artifact("tables/table.csv").digest == run.artifacts[0].digest
    assert [file.name for file in run.files("*.csv")] == ["tables/table.csv"]
    assert "resources" in [file.kind for file in run.files("in.json")]
    assert {file.kind for file in run.files()} == {"artifacts", "resources", "sources"}
    assert run.files("nowhere*") == []
    assert len(store.runs().files("*.csv")) == 6
    assert run.artifact("table.csv").name == "tables/table.csv", "as capture get finds it"
    with pytest.raises(FileNotInRunError, match=r"did you mean:  tables/table\.csv"):
        run.artifact("tables/tabel.csv")
    with pytest.raises(ValueError, match="kinds"):
        run.files(kind="artefacts")


def test_a_file_is_saved_under_its_name_or_another(store, tmp_path):
    """Into a folder it goes by its own name, and it replaces nothing unless asked."""
    file = store.get("6").artifacts[0]
    path = file.save(tmp_path)
    assert os.path.relpath(path, tmp_path) == os.path.join("tables", "table.csv")
    with pytest.raises(SavedAlreadyError, match="overwrite=True"):
        file.save(tmp_path)
    with open(path, "w") as stream:
        stream.write("mine")
    assert file.save(tmp_path, overwrite=True) == path
    assert file.save(tmp_path / "new" / "mine.csv") == str(tmp_path / "new" / "mine.csv")
    assert file.save(str(tmp_path / "folder") + "/").endswith("table.csv")
    assert sorted(os.listdir(tmp_path)) == ["folder", "new", "tables"]
    assert file.to_pandas()["b"][0] == 3
    paths = store.runs().files("*.csv").save(tmp_path / "all")
    assert len(set(paths)) == 6 and sorted(os.listdir(tmp_path / "all")) == list("123456")


def test_a_run_without_a_heartbeat_has_a_duration_all_the_same(tmp_path, monkeypatch):
    """Heartbeats come every ten seconds: until then there is the clock, and of a run that died what it measured last."""
    url = str(tmp_path / "runs")
    tell(make_observer(url), Story(tmp_path / "told", uid("01")).start(config={}).metrics(loss=[3.0, 2.0]))
    with open_store(url) as store:
        run = store.get(1)
        run.record.heartbeat = None
        monkeypatch.setattr(store.reader, "is_alive", lambda record: True)
        assert run.duration == pytest.approx(time.time() - run.start_time.timestamp(), abs=60)
        monkeypatch.setattr(store.reader, "is_alive", lambda record: False)
        last = run.summary["loss"]["time"] / 1e6
        assert run.duration == pytest.approx(max(last - run.start_time.timestamp(), 0.0), abs=1e-5)
        run.record._summary = {}
        assert run.duration is None


def test_files_of_one_name_are_found_and_saved_apart(tmp_path):
    """Inputs are known by whole paths: two folders may hold a points.csv each, and one file may change in a run."""
    told = {"/p/a/x.csv": b"1", "/p/b/x.csv": b"2", "/p/b/other.csv": b"3"}
    files = RunFiles(made(name, data, digests_of(data)[0]) for name, data in told.items())
    assert files["other.csv"] is files[2] and files["a/x.csv"] is files[0]
    with pytest.raises(FileNotInRunError, match="there are:     /p/a/x.csv, /p/b/x.csv$"):
        files["x.csv"]
    changed = made("/p/a/x.csv", b"4", digests_of(b"4")[0])
    files += [changed, made("/p/b/other.csv", b"3", files[2].digest)]
    assert files["a/x.csv"] is changed, "the last one"
    paths = [os.path.relpath(path, tmp_path).replace(os.sep, "/") for path in files.save(tmp_path)]
    first, last = (f"a/x-{each.digest[:12]}.csv" for each in (files[0], changed))
    assert paths == [first, "b/x.csv", "other.csv", last, "other.csv"]
    assert [(tmp_path / path).read_bytes() for path in paths] == [b"1", b"2", b"3", b"4", b"3"]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("../../etc/passwd", ["etc", "passwd"]), ("/etc/passwd", ["passwd"]), ("C:\\Windows\\x.dll", ["x.dll"]),
        ("..", ["file"]), ("", ["file"]), ("a/./b", ["a", "b"]), ("a\x00b\n", ["a_b_"]), ("nul.txt", ["_nul.txt"]),
        ("what?.png", ["what_.png"]), ("end. ", ["end"]), ("größe.png", ["größe.png"]), ("\ud800", ["_"]),
    ],
)  # fmt: skip
def test_no_name_leads_out_of_a_folder(name, parts, tmp_path):
    """The name of a file was written by whoever wrote the record."""
    assert safe_parts(name) == parts
    path = made(name, b"x").save(str(tmp_path) + "/")
    assert os.path.realpath(path).startswith(os.path.realpath(tmp_path) + os.sep)


def test_long_names_are_cut_and_keep_their_ending():
    """File systems take 255 bytes."""
    (part,) = safe_parts("ä" * 300 + ".png")
    assert part.endswith(".png") and len(part.encode()) <= 255


def test_links_do_not_lead_out_of_a_folder(tmp_path):
    """An unpacked archive may have put a link there."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "plots").symlink_to(tmp_path / "out")
    with pytest.raises(RecordError, match="outside"):
        made("plots/a.png", b"x").save(tmp_path / "in")
    assert os.listdir(tmp_path / "out") == []


def test_damaged_bytes_are_not_saved_for_good_ones(tmp_path):
    """A model that is not the one that was recorded must not pass for it."""
    file = made("model.pt", b"x", digest="0" * 64)
    with pytest.raises(RecordError, match="SHA-256"):
        file.save(tmp_path)
    assert os.listdir(tmp_path) == [] and file.read() == b"x"


def test_a_file_is_lent_under_a_path():
    """Many libraries load from a path only, and look at its ending."""
    with made("a/model.npy", b"x").as_path() as path:
        assert os.path.basename(path) == "model.npy"
        with open(path, "rb") as stream:
            assert stream.read() == b"x"
    assert not os.path.exists(path)


def test_no_pickle_is_loaded():
    """To load a pickle runs what is in it."""
    with pytest.raises(ValueError, match="no table"):
        made("frame.pkl", b"").to_pandas()


# ----------------------------------------------------------------------------------------------------------- notebooks

EVIL = '<script>alert(1)</script><img src=x onerror="alert(2)">'


def test_nothing_that_a_record_holds_becomes_html(tmp_path):
    """Names, notes, tags, values, output and files of a run are written by anybody, and shown where scripts run."""
    ex = Experiment(EVIL, observers=[str(tmp_path / "runs")], save_git_info=False)
    ex.add_config({"evil": EVIL, "seed": 1})

    @ex.main
    def main(_run):
        _run.log_scalar(EVIL, 1.0, 0)
        _run.log_scalar(EVIL, 2.0, 1)
        path = tmp_path / "evil.csv"
        path.write_text(f"{EVIL},b\n{EVIL},2\n")
        _run.add_artifact(str(path), EVIL + ".csv")
        print(EVIL)
        return EVIL

    ex.run()
    ex.run(config_updates={"evil": EVIL * 2})
    store = open_store(tmp_path / "runs")
    runs = store.runs()
    run = runs[0]
    run.tag(EVIL)
    run.note(EVIL)
    shown = [
        runs._repr_html_(), run._repr_html_(), runs.group_by("evil")._repr_html_(), run.artifacts._repr_html_(),
        run.artifacts[0]._repr_mimebundle_()["text/html"],
    ]  # fmt: skip
    for page in shown:
        assert "<script" not in page and "<img" not in page
        assert "&lt;script&gt;" in page
    assert "<svg" in shown[1]


@pytest.mark.parametrize(
    ("name", "data", "has", "has_not"),
    [
        ("a.png", PNG, "data:image/png;base64,", "alert"),
        ("a.svg", b"<svg onload=alert(1)></svg>", "&lt;svg", "<svg"),
        ("a.png", b"<svg onload=alert(1)></svg>", "&lt;svg", "<svg"),
        ("a.html", b"<b>x</b>", "&lt;b&gt;", "<b>"),
        ("a.csv", b"a,<i>\n1,2\n", "<td", "<i>"),
        ("a.txt", b"one\x1b[31m\n", "one\\x1b[31m", "\x1b"),
        ("a.bin", b"\x00\x01", "a.bin", "\x00"),
        ("a.txt", "ä".encode() * 100_000, "…", "ä" * 20_001),
    ],
)
def test_a_file_is_shown_as_what_it_is(name, data, has, has_not):
    """Pictures, tables and text are seen at once; nothing that can run is, whatever it is called."""
    shown = made(name, data)._repr_mimebundle_()
    assert has in shown["text/html"] and has_not not in shown["text/html"]
    assert "text/plain" in shown


def test_what_is_shown_names_the_zone_of_its_times_and_never_fails(store):
    """A time without its zone is wrong by hours for most readers; a notebook must not break on a number."""
    assert re.search(r"\d\d:\d\d:\d\d UTC", str(store.runs())) and " UTC" in store.runs()._repr_html_()
    assert shown(10**5000).startswith("0x") and shown([10**5000]).startswith("[0x")


def test_a_file_without_bytes_is_named():
    """Old records list files that were not kept."""
    file = RunFile(StoredFile("gone.txt"), "sources", "1")
    assert "not the bytes" in file._repr_mimebundle_()["text/html"]


def test_large_tables_show_their_beginning(tmp_path):
    """A notebook with ten thousand rows of HTML does not open again."""
    ex = Experiment("e", observers=[str(tmp_path / "runs")], save_git_info=False)
    ex.main(lambda: 1)
    for _ in range(22):
        ex.run()
    runs = open_store(tmp_path / "runs").runs()
    assert runs._repr_html_().count("<tr>") == 21
    assert "22 runs" in runs._repr_html_() and "the first 20" in runs._repr_html_()
    assert "... and 2 more" in str(runs)


@pytest.mark.slow
def test_a_notebook_shows_runs(six, tmp_path):
    """The representations are for notebooks: one is executed, and its outputs looked at."""
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    cells = [
        f"import capture\nstore = capture.open_store({six!r})\nstore",
        "store.runs('config.lr > 0.1')",
        "store.get(-1)",
        "store.get(-1).artifacts[0]",
        "store.runs().group_by()",
        "store.runs('config.seed == 1').compare()",
        "store.runs().to_pandas()",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    client.NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [cell.outputs[-1]["data"] for cell in notebook.cells]
    assert "<Store file://" in outputs[0]["text/plain"]
    for data in outputs[1:]:
        assert "<table" in data["text/html"], data
    assert "<svg" in outputs[2]["text/html"]
    assert json.dumps(outputs)
