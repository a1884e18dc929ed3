"""Runs as a table: which columns there are, and what stands in them."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.filters import MISSING, lookup
from capture.query.columns import (
    columns_of,
    flat,
    is_more_better,
    order,
    path_of,
    rows_of,
    short_names,
    sort_keys,
    source_of,
    table_of,
    varying,
)
from capture.records import RunRecord, Series

ODD = [0, -1, 1.5, float("nan"), float("inf"), -0.0, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 10**30, True, None, MISSING, "a", [1]]


def record(config: dict, result: object = None, **metrics: list) -> RunRecord:
    """Return a run with a configuration, a result and metrics."""
    run = RunRecord(uid="u", label="1")
    run.config, run.result = config, result
    run.metrics = {
        name: Series(name, range(len(values)), values, range(len(values))) for name, values in metrics.items()
    }
    return run


RUNS = [
    record({"lr": 0.1, "net": {"depth": 3, "act": "relu"}}, 1, loss=[2.0, 1.0]),
    record({"lr": 0.2, "net": None, "a.b": 1}, 2),
    record({"net": {}, "layers": [1, 2], "a": {"b": 2}, "a.b": 3, "c.d": {"e": 1}}, None, acc=[0.5]),
    record({}),
]


def test_columns_are_the_leaves_of_configurations_and_the_last_values_of_metrics():
    """A nested configuration is read entry by entry."""
    assert columns_of(RUNS[:1]) == ["config.lr", "config.net.depth", "config.net.act", "metrics.loss.last", "result"]


@pytest.mark.parametrize("every", [False, True])
def test_a_table_says_what_a_look_at_each_path_says(every):
    """A table is made side by side, which is fast; what stands in it is what `run[path]` gives."""
    columns = ["config.lr", "config.net", "config.net.depth", "config.a.b", "config.c.d.e", "config.layers", "config.none", "config"]
    columns += ["metrics.loss.last", "metrics.loss.min", "metrics.acc.count", "metrics.none.last", "metrics", "result"]
    columns += [f"config.more{number}" for number in range(10 if every else 0)]  # many, so that all are taken apart
    table = table_of(RUNS, columns)
    assert list(table) == columns
    for column in columns:
        assert table[column] == [lookup(run, column) for run in RUNS], column
    assert rows_of(RUNS, ["config.lr", "result"]) == [[0.1, 1], [0.2, 2], [MISSING, None], [MISSING, None]]


def test_a_table_without_columns_has_all():
    """`to_pandas()` in a new project, where one does not know the names yet."""
    table = table_of(RUNS)
    assert table["config.net.depth"] == [3, MISSING, MISSING, MISSING]
    assert table["config.net"] == [MISSING, None, {}, MISSING]
    assert table["metrics.acc.last"] == [MISSING, MISSING, 0.5, MISSING]
    assert "tags" not in table and "notes" not in table
    tagged = record({})
    tagged.tags = ["good"]
    assert table_of([*RUNS, tagged])["tags"] == [[], [], [], [], ["good"]]
    assert table_of([])["result"] == []


def test_missing_values_come_last_in_both_directions():
    """Sorting ten runs by a loss must not begin with the one that has none."""
    values = [2, None, 1, MISSING, float("nan"), 3]
    assert order(values) == [2, 0, 5, 1, 3, 4]
    assert order(values, descending=True) == [5, 0, 2, 1, 3, 4]
    assert order(["b", 1, "a", True, [1]]) == [1, 3, 2, 0, 4]


@pytest.mark.parametrize(
    "in_order",
    [
        [[9], [64, 32], [64, 128], [128], ["a"]],
        [timedelta(seconds=9), timedelta(minutes=2), timedelta(minutes=10), timedelta(days=1)],
        [1, Decimal("1.5"), 2.0, Fraction(5, 2), numpy.int64(3), numpy.float64("nan")],
        [Decimal(1), Decimal("sNaN")],
        [Decimal(1), Decimal("NaN")],
        [datetime.min, date(2019, 6, 1), datetime(2020, 1, 1, tzinfo=timezone.utc), datetime.max],
        [1, "a", datetime(2020, 1, 1), timedelta(1), [1], {"a": 1}],
    ],
)
def test_values_are_sorted_as_what_they_are(in_order):
    """Layers of 128 come behind those of 64, ten minutes behind two; the first and the last time that there is is one."""
    values = in_order[::-1]
    assert [repr(values[place]) for place in order(values)] == list(map(repr, in_order))


def test_versions_and_labels_are_sorted_as_numbers():
    """1.10 is newer than 1.9, as in a condition; elsewhere such a text is a text."""
    versions = ["1.10", "1.9", None, "2.0rc1", "2.0"]
    for path in ("packages.numpy", "host.python_version"):
        assert order(sort_keys(path, versions)) == [1, 0, 3, 4, 2]
    assert order(sort_keys("notes", versions)) == [0, 1, 4, 3, 2]
    assert order(sort_keys("label", ["10", "2", "a"])) == [1, 0, 2]


def test_equal_values_stay_in_their_order():
    """Sorting by one column and then by another works as in a spreadsheet."""
    assert order([1, 1, 1]) == order([1, 1, 1], descending=True) == [0, 1, 2]


def test_short_names_stand_for_paths():
    """`best("loss")` is typed more often than `best("metrics.loss.last")`."""
    assert path_of("loss", RUNS) == "metrics.loss.last"
    assert path_of("lr", RUNS) == "config.lr"
    assert path_of("result", RUNS) == "result"
    assert path_of("metrics.loss.min", RUNS) == "metrics.loss.min"
    assert path_of("nowhere", RUNS) == "nowhere"
    assert path_of("accuracy", [record({}, {"accuracy": 1})]) == "result.accuracy"


@pytest.mark.parametrize(
    ("name", "less"),
    [
        ("metrics.val_loss.last", True), ("metrics.valLoss.last", True), ("error_rate", True), ("MSE", True),
        ("metrics.train/loss.min", True), ("glossary", None), ("accuracy", False), ("result", None), ("timeliness", None),
        ("neg_log_likelihood", True), ("valNegLogLikelihood", True), ("log_likelihood", False), ("brier_score", True),
        ("davies_bouldin_score", True), ("f1_score", False), ("neg_mean_squared_error", None), ("negative_precision", None),
    ],
)  # fmt: skip
def test_a_loss_is_wanted_small(name, less):
    """The direction is told by words, never by parts of words; where these say opposite things, nobody guesses."""
    assert is_more_better(name) is (None if less is None else not less)


def test_what_varies_is_told_from_what_does_not():
    """The columns that say something are those in which runs differ."""
    nan = float("nan")
    rows = [[1, 1, nan, MISSING, [1], 1], [1, 2, nan, None, [1], True]]
    assert varying("abcdef", rows) == ["b", "d", "f"]
    assert varying("ab", [[1, 2]]) == ["a", "b"]


def test_true_is_not_one():
    """A flag that was once given as a number is a difference, alone and in a list, as it is where groups are made."""
    assert varying(["a", "b", "c"], [[True, [True], 1], [1, [1], 1.0]]) == ["a", "b"]


def test_a_result_is_the_metric_that_has_its_values():
    """Only a metric whose name says which way is better tells something about the result."""
    assert source_of([1, 2], {"x": [1, 2], "loss": [1, 2]}) == "loss"
    assert source_of([1, 2], {"x": [1, 2], "loss": [1, 3]}) is None


def test_arrays_are_compared_as_a_whole():
    """A configuration may hold one, and its truth is an error."""
    numpy = pytest.importorskip("numpy")
    assert varying("ab", [[numpy.arange(2), numpy.arange(2)], [numpy.arange(2), numpy.arange(2) + 1]]) == ["b"]


def test_headings_are_short_where_that_is_clear():
    """`lr` and not `config.lr`, unless a metric has that name."""
    assert short_names(["config.lr", "metrics.lr.last", "metrics.loss.max", "git.commit"]) == {
        "config.lr": "config.lr",
        "metrics.lr.last": "metrics.lr.last",
        "metrics.loss.max": "loss.max",
        "git.commit": "git.commit",
    }


def test_an_empty_dict_is_a_leaf():
    """An entry without entries is one that somebody wrote down."""
    assert flat({"a": {}, "b": {"c": []}}, "config") == {"config.a": {}, "config.b.c": []}
    assert flat({}, "config") == {"config": {}}


# ------------------------------------------------------------------------------------------------------------- frames


def test_types_of_columns_are_those_of_their_values():
    """Means are computed of numbers, and durations of times."""
    pytest.importorskip("pandas")
    from datetime import datetime, timezone

    from capture.query.frames import frame_of

    table = {
        "whole": [1, 2, 3], "gap": [1, None, 3], "float": [0.1, 2, MISSING], "large": [2**70, 1, 2], "exact": [2**60, None, 1],
        "truth": [True, False, True], "maybe": [True, None, False], "text": ["a", None, "b"], "mixed": [1, "a", None],
        "lists": [[1, 2], [3, 4], None], "dicts": [{"a": 1}, {}, None], "none": [None, None, None],
        "time": [datetime(2026, 1, 1, tzinfo=timezone.utc), None, datetime(2026, 1, 2, tzinfo=timezone.utc)],
        "both": [1, True, 0],
    }  # fmt: skip
    frame = frame_of(table, ["1", "2", "3"])
    kinds = {name: frame[name].dtype.kind for name in table if name != "text"}
    assert kinds == {
        "whole": "i", "gap": "f", "float": "f", "large": "O", "exact": "O", "truth": "b", "maybe": "O", "mixed": "O",
        "lists": "O", "dicts": "O", "none": "O", "time": "M", "both": "O",
    }  # fmt: skip
    assert str(frame["time"].dt.tz) == "UTC"
    assert frame["exact"].iloc[0] == 2**60 and frame["large"].iloc[0] == 2**70
    assert frame["lists"].tolist() == [[1, 2], [3, 4], None]
    assert frame["text"].isna().tolist() == [False, True, False]
    assert (frame.index.name, list(frame.index)) == ("label", ["1", "2", "3"])
    assert frame_of({"a": []}, []).empty


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(ODD), min_size=1, max_size=4))
def test_no_value_is_another_in_a_frame(values):
    """Whatever stands beside it: a type that holds most values of a column must not bend the others."""
    pytest.importorskip("pandas")
    from capture.query.frames import frame_of

    found = frame_of({"x": values}, range(len(values)))["x"]
    whole, numbers = {type(each) for each in values} == {int}, found.dtype.kind in "if"
    assert (found.dtype.kind == "i") is (whole and all(abs(each) < 2**63 for each in values))
    for given_value, told in zip(values, found.tolist()):
        if given_value is None or given_value is MISSING:
            assert told is None or told != told
        elif given_value != given_value:
            assert told != told
        else:
            assert told == given_value and (numbers or type(told) is type(given_value))
