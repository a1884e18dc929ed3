"""Conditions on runs, written as text: parsed as Python, never run."""

from __future__ import annotations

import pickle

import pytest

from capture import open_store
from capture.expressions import ExpressionError, parse
from capture.filters import as_filter, field
from capture.observers import FileStorageObserver
from capture.records import RunRecord, Series
from capture.testing import Story, tell
from capture.testing.contract import uid


@pytest.fixture
def record():
    """Return a run with a value of each kind."""
    run = RunRecord(uid="0f", label="3")
    run.status, run.command, run.result, run.tags = "COMPLETED", "main", 0.5, ["good", "new"]
    run.config = {"lr": 0.1, "opt": {"name": "adam", "beta": None}, "a.b": 1, "layers": [64, 32], "flag": False}
    run.metrics = {"loss": Series("loss", [0, 1], [2.0, 0.25], [1, 2]), "val.acc": Series("val.acc", [0], [1], [1])}
    return run


@pytest.mark.parametrize(
    "text",
    [
        "config.lr < 0.2 and status == 'COMPLETED'",
        "0.05 < config.lr <= 0.1",
        "0.2 > config.lr",
        "'good' in tags and 'bad' not in tags",
        "config.opt.name in ['adam', 'sgd']",
        "config['opt']['name'] == 'adam'",
        "config['a.b'] == 1 and config.a.b == 1",
        "config.layers == [64, 32] and config.layers[0] == 64",
        "metrics.loss.last < 0.3 and metrics.loss.max == 2.0 and metrics.val.acc.count == 1",
        "not config.flag and config.lr",
        "config.opt.beta is None",
        "config.lr == 5 or result == 0.5",
        "not (config.lr == 5 or result == 7)",
        "config.lr > -1",
        "'ada' in config.opt.name",
    ],
)
def test_a_condition_that_holds(record, text):
    """What people write in Python means the same here."""
    assert parse(text).matches(record)


@pytest.mark.parametrize(
    "text",
    [
        "config.none == 1",
        "config.none != 1",  # there is none, so that nothing can be said of it
        "config.none",
        "config.opt.name < 1",
        "metrics.none.last < 1",
        "config.flag",
        "status == 'FAILED'",
        "3 in config.lr",
    ],
)
def test_a_condition_that_does_not_hold(record, text):
    """A path that leads nowhere matches nothing, nor do values that cannot be compared."""
    assert not parse(text).matches(record)


@pytest.mark.parametrize(
    ("text", "problem", "column"),
    [
        ("config.lr = 0.1", "write == to compare", 10),
        ("config.lr <", "not understood", 11),
        ("config.lr < nan", "text stands in quotes", 12),
        ("__import__('os').system('true')", "should be a comparison", 0),
        ("open('x')", "should be a comparison", 0),
        ("config.lr < open('x')", "here should be a value", 12),
        ("_private == 1", "no path begins with", 0),
        ("config.größe == 1 and 1 < 2", "path of a value of the run", 26),
        ("'größe' in confg.names", "no path begins with 'confg': did you mean config\\?", 11),
        ("config.a == {[]: 1}", "unhashable", 0),
        ("config.lr in 5", "after `in` comes a list", 13),
        ("lambda: 1", "should be a comparison", 0),
        ("", "not understood", 0),
        ("(" * 500 + "a" + ")" * 500, "not understood", None),
    ],
)
def test_a_mistake_is_pointed_at(text, problem, column):
    """The place is shown below the text; nothing of it is called."""
    with pytest.raises(ExpressionError, match=problem) as error:
        parse(text)
    if column is not None:
        assert error.value.column == column
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_filters_are_joined_by_their_own_operators(record):
    """`and` between filters would forget one of them, silently."""
    both = (field("config.lr") == 0.1) & (field("status") == "FAILED")
    assert not both.matches(record)
    assert ((field("config.lr") == 0.1) | (field("status") == "FAILED")).matches(record)
    assert (~both).matches(record)
    assert field("config.opt").contains("name").matches(record)
    assert field("config.opt.name").one_of(["adam"]).matches(record)
    assert field("config.opt.beta").exists().matches(record)
    with pytest.raises(TypeError, match="no truth value"):
        bool(both)
    assert as_filter({}).matches(record)
    assert as_filter(None) is None


def test_numbers_of_numpy_are_numbers(record):
    """Who computes a bound has one of these, without noticing."""
    numpy = pytest.importorskip("numpy")
    assert (field("config.lr") == numpy.float64(0.1)).matches(record)
    assert (field("config.layers.0") == numpy.int32(64)).matches(record)
    assert field("config.lr").one_of([numpy.float64(0.1), numpy.float32(3)]).matches(record)
    assert not (field("config.lr") != numpy.float64(0.1)).matches(record)
    record.config["lr"] = numpy.float64(0.5)
    assert (field("config.lr") == 0.5).matches(record)


@pytest.mark.parametrize("path", ["matches", "to_dict", "artifact", "__class__", "config.layers.\u00b2", "read_output"])
def test_a_method_is_no_value(record, path):
    """A path that leads to one leads nowhere, and a raised number is no place in a list."""
    assert not field(path).exists().matches(record)


def test_a_store_takes_a_condition_as_text(tmp_path):
    """As it is typed in a notebook, and given to `capture cp`."""
    for number in (1, 2, 3):
        told = Story(tmp_path / str(number), uid(f"0{number}")).start(config={"lr": number / 10}).complete()
        tell(FileStorageObserver(tmp_path / "runs"), told)
    found = open_store(tmp_path / "runs").find("config.lr > 0.15 and config.lr < 0.25")
    assert [record.config["lr"] for record in found] == [0.2]


@pytest.mark.parametrize(("where", "said"), [("config.lr > 1", r"capture\.expressions\.parse\('config.lr > 1'\)"), (7, "got 7")])
def test_what_is_no_condition_is_refused_with_what_reads_text(where, said):
    """A reader of another package may not take text."""
    with pytest.raises(TypeError, match=said):
        as_filter(where)
