"""Conditions on runs, written as text: parsed as Python, never run."""

from __future__ import annotations

import pickle
import warnings
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    run.experiment = {
        "name": "vision/resnet",
        "repositories": [{"url": "u", "commit": "ab12" + "0" * 36, "dirty": True}],
    }
    run.facts = {"git": [{"commit": "ab12" + "0" * 36, "branch": "main"}], "process": {"user": {"name": "ann"}}}
    run.start_time, run.stop_time = datetime(2026, 1, 1, tzinfo=timezone.utc), datetime(2026, 1, 1, 3, tzinfo=timezone.utc)
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
        "config.opt.beta is not None or config.lr is not None",
        "config.opt.name not in ['sgd'] and 'x' not in config.opt.name",
        "name.startswith('vision') and name.endswith('net') and name.matches('*/res*')",
        "name.startswith(('text', 'vision')) and not name.matches('VISION*')",
        "tags.startswith('go') and tags.matches('n?w')",
        "project == 'vision' and project == 'vision/resnet/' and project in ['text', 'vision']",
        "project != 'vis' and project not in ['text']",
        "git.commit == 'ab12' and git.commit == 'AB120' and git.commit in ['ff00', 'ab12']",
        "git.commit != 'ab13' and git.dirty and git.branch == 'main' and git.commit.startswith('ab')",
        "user == 'ann' and duration > '2 h' and duration <= '180 min' and '2 h' < duration < 20000",
        "label == 3 and label == '3' and label in [1, 3] and label != 4",
        "status != 'DIED' and state == 'COMPLETED' and state != 'RUNNING'",
        "status == 'completed' and state in ['Completed', 'failed'] and status != 'running' and not status == 'died'",
        "config.lr < 0.2 \\\n and tags",
        "config.lr == 0.1  # the usual one",
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
        "status != 'completed'",  # or all that completed would be among those that did not
        "status not in ['failed', 'completed']",
        "3 in config.lr",
        "config.none is not None",
        "config.none not in [1]",
        "1 not in config.none",
        "name.startswith('resnet')",
        "config.lr.startswith('0')",
        "project == 'vis'",
        "project == 'resnet'",
        "git.commit == 'ab1'",  # too short to be meant so
        "git.commit != 'ab12'",
        "not git.dirty",
        "config.git.commit != 'ab12'",
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
        ("start_time > 'yesteday'", "'yesteday' is no time .did you mean 'yesterday'", 13),
        ("'größe' in tags and start_time < 5", "start_time is a time, and < 5 says nothing", 33),
        ("start_time == '2 h ago'", "nothing happens at exactly '2 h ago'", 14),
        ("'2026' in start_time", "it is not asked with 'contains'", 10),
        ("duration > 'long'", "'long' is no duration; possible: 90 s", 11),
        ("project > 'vision'", "a project is named as a folder is", 10),
        ("project", 'such as project == "vision"', 0),
        ("config.lr == config.x", "two paths are not compared", 13),
        ("config.x == true", "write True", 12),
        ("config.x < 1 && tags", "write and in place of &&", 13),
        ("config.x < 1 || tags", "write or in place of \\|\\|", 13),
        ("!tags", "write not in place of !", 0),
        ("config.x === 1", "write == in place of ===", 9),
        ("lr < 0.1", "no path begins with 'lr': config.lr\\? metrics.lr.last\\?", 0),
        ("name.lower() == 'x'", "nothing is called, but PATH.startswith", 0),
        ("config.x == name.lower()", "nothing is called, but PATH.startswith", 12),
        ("tags.startswith(1)", "startswith takes text in quotes", 16),
        ("tags.startswith()", "startswith takes one text", 0),
        ("config.x == ...", "here should be a value", 12),
        ("duration > 2h and config.x", "a number with a unit stands in quotes, as in duration > '2 h'", None),
        ("config.layers[-1] == 32", "places in a list are counted from its beginning, from 0 on", 14),
        ("config[True] == 1", "in brackets comes a name in quotes, or a number", 7),
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


@pytest.mark.parametrize(
    "text",
    [
        *("(" * 400 + "tags" + ")" * 400, "not " * 4000 + "tags", "-" * 9000 + "1 < config.x", "config" + ".a" * 6000),
        *("config.x < " + "9" * 10_000, "config.x == " + "[" * 2000 + "]" * 2000, "a" * 10**6),
        *("(x := 1)", "config.x == (y := 2)", "lambda: 1", "config.x == (lambda: 1)()", "f'{config.x}' == 'a'"),
        *("config.x == f'{1}'", "[x for x in tags]", "config.x in [y for y in tags]", "{**config}", "config.x == {**{}}"),
        *("config.x\0 == 1", "'\0' in tags", "'\ud800' in tags", "await tags", "yield", "*tags", "tags if tags else 1"),
        *("__import__('os').system('true')", "tags.startswith(open('x'))", "tags.matches(*['a'])", "config[open('x')] == 1"),
        *("config.x == 'a' * 10**10", "9**9**9 < config.x", "config.x @ 1 == 2", "config[1:2] == 1", "print", "tags; tags"),
        *("config.x in (1 for _ in tags)", "config.x == {1: 2, **{3: 4}}", "config.x < -'a'", "global tags", "tags\\"),
    ],
    ids=lambda text: ascii(text[:24]),
)
def test_what_is_hostile_is_refused(text):
    """Nothing of it runs, and the one who wrote it is told that it is not understood."""
    with pytest.raises(ExpressionError) as error:
        parse(text)
    assert len(str(error.value)) < 1000


_WORDS = (
    *("config.x", "tags", "metrics.loss.last", "<", "==", "in", "not", "and", "or", "(", ")", "[", "]", "{", "}", "'a'"),
    *("1", "-1", ",", ".", ":", ":=", "lambda", "f'{", "}'", "for", "if", "*", "**", "@", "\0", "\n", "\\", "#", "="),
    *("is", "None", ".startswith('a')", ".matches(", "start_time", "'7 days ago'", "project", "await", "\ud800", "é", "..."),
)


@given(st.lists(st.sampled_from(_WORDS), max_size=9), st.sampled_from(["", " "]))
def test_anything_is_a_condition_or_an_error_of_ours(words, between):
    """Whatever is typed into a search box, the program that shows it goes on."""
    try:
        parse(between.join(words)).matches(RunRecord())
    except ExpressionError as error:
        assert error.column <= len(error.text)


def test_text_with_a_backslash_gives_no_warning():
    """Python has an opinion on it, which a reader of the condition has no use for."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parse(r"name.matches('\d*')")


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
