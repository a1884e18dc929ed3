"""What conditions say of values that are no numbers and no text: members of enumerations, paths, dates, times."""

from __future__ import annotations

import enum
import json
import pickle
from datetime import date, datetime, timedelta, timezone
from pathlib import Path, PurePosixPath

import pytest

from capture.codec import decode, encode
from capture.expressions import parse
from capture.filters import field
from capture.records import RunRecord


class Optimizer(enum.Enum):
    """As somebody's configuration has it."""

    ADAM = "adam"
    SGD = "sgd"


class Level(enum.IntEnum):
    """Members that are numbers."""

    LOW = 1
    HIGH = 10


class Kind(str, enum.Enum):
    """Members that are text."""

    A = "first"


class Odd(enum.Enum):
    """Values that are no scalars, or nothing."""

    NOTHING = None
    PAIR = (1, 2)


CONFIG = {
    "optimizer": Optimizer.SGD,
    "level": Level.HIGH,
    "kind": Kind.A,
    "odd": Odd.NOTHING,
    "pair": Odd.PAIR,
    "several": [Optimizer.ADAM, Optimizer.SGD],
    "data": Path("/data/a.pt"),
    "paths": [Path("/data/a.pt"), Path("b.csv")],
    "since": date(2026, 1, 15),
    "at": datetime(2026, 1, 15, 12, 30, tzinfo=timezone.utc),
    "local": datetime(2026, 1, 15, 12, 30),
    "days": [date(2026, 1, 15), date(2026, 2, 1)],
    "mixed": ["soon", date(2026, 1, 15)],
    "span": timedelta(minutes=5),
    "table": {2: "two", 10: {3: "x"}, "4": "text"},
}


def with_config(config):
    """Return the record of a run with this configuration."""
    record = RunRecord()
    record.config = config
    return record


@pytest.fixture(scope="module")
def record():
    """A record as it comes back from a store."""
    return with_config(decode(json.loads(json.dumps(encode(CONFIG)))))


HOLD = [
    *("config.optimizer == 'SGD'", "config.optimizer == 'sgd'", "config.optimizer == 'Optimizer.SGD'"),
    *("config.optimizer.name == 'SGD'", "config.optimizer.value == 'sgd'", "config.optimizer in ['sgd', 'adam']"),
    *("config.optimizer != 'ADAM'", "config.optimizer.startswith('SG')", "config.optimizer.matches('s*')"),
    *("'gd' in config.optimizer", "config.optimizer > 'adam'", "config.optimizer"),
    *("config.level == 10", "config.level > 9", "config.level == 'HIGH'", "config.level.value < 11", "config.level > 'A'"),
    *("config.kind == 'first'", "config.kind == 'A'", "config.kind.name == 'A'"),
    *("config.odd == 'NOTHING'", "not config.odd is None", "config.odd.value is None", "config.pair == [1, 2]"),
    *("config.pair.value[0] == 1", "'sgd' in config.several", "config.several == ['adam', 'SGD']"),
    *("config.several[1].name == 'SGD'", "config.several.startswith('AD')"),
    *("config.data == '/data/a.pt'", "config.data.endswith('.pt')", "config.data.matches('*.pt')"),
    *("config.data in ['/data/a.pt']", "'data' in config.data", "config.data < '/z'", "config.data"),
    *("'b.csv' in config.paths", "config.paths.matches('*.csv')", "config.paths == ['/data/a.pt', 'b.csv']"),
    *("config.since > '2026-01-01'", "config.since == '2026-01-15'", "config.since == '2026-01'", "config.since < '2027'"),
    *("config.since in ['2025-01-15', '2026-01-15']", "config.since in ['soon', '2026-01-15']"),
    *("config.since <= '2026-01-15'", "config.since != '2026-01-14'", "not config.since > '2026-01-15'", "config.since"),
    *("config.at == '2026-01-15T12:30Z'", "config.at > '2026-01-15 12:00Z'", "config.at < '2026-01-15T15:00+01:00'"),
    *("config.local == '2026-01-15 12:30'", "config.local == '2026-01-15'", "config.local >= '2026-01-15'"),
    *("'2026-02-01' in config.days", "config.since > '20 days ago'", "'2026-01-15' in config.mixed", "'soon' in config.mixed"),
    *("config.span == '5 min'", "config.span == 300", "config.span > '2 min'", "config.span < 301", "config.span != 'soon'"),
    *("config.span in ['1 h', '300 s']", "not config.span > '5 min'", "config.span != '6 min'"),
    *("config.table[2] == 'two'", "config.table['2'] == 'two'", "config.table[10][3] == 'x'", "config.table['4'] == 'text'"),
]

FAIL = [
    *("config.optimizer == 'ADAM'", "config.optimizer == 'Sgd'", "config.optimizer.name == 'sgd'", "config.optimizer == 3"),
    *("config.optimizer is None", "config.optimizer.other == 'SGD'", "config.level == 1", "config.odd is None"),
    *("config.data == 'a.pt'", "config.data > 3", "config.since > '2026-01-15'", "config.since == 'soon'", "config.since < 3"),
    *("config.at == '2026-01-15 12:29Z'", "config.since == '2025'", "config.at > '1 day ago'"),
    *("config.span == 'soon'", "config.span == '5 h'", "config.span > 'soon'", "config.span is None", "config.span < '5 min'"),
    *("config.table[3] == 'x'", "config.table[10][4] == 'x'", f"config.table['{'9' * 5000}'] == 1", f"config.days['{'9' * 5000}']"),
]


@pytest.mark.parametrize("text", HOLD)
def test_a_condition_holds_of_a_value_as_people_would_write_it(record, text):
    """What a table shows can be asked for."""
    now = datetime(2026, 1, 20, 12, tzinfo=timezone.utc)
    assert parse(text, now).matches(record)


@pytest.mark.parametrize("text", FAIL)
def test_a_condition_fails_of_other_values(record, text):
    """What is found must be what was asked for."""
    now = datetime(2026, 1, 20, 12, tzinfo=timezone.utc)
    assert not parse(text, now).matches(record)


@pytest.mark.parametrize(
    ("path", "same", "other"),
    [
        ("config.optimizer", Optimizer.SGD, Optimizer.ADAM),
        ("config.level", Level.HIGH, Level.LOW),
        ("config.kind", Kind.A, Level.LOW),
        ("config.data", PurePosixPath("/data/a.pt"), Path("/data/b.pt")),
        ("config.since", date(2026, 1, 15), date(2026, 1, 16)),
        ("config.since", datetime(2026, 1, 15), datetime(2026, 1, 15, 1)),
        ("config.at", datetime(2026, 1, 15, 13, 30, tzinfo=timezone(timedelta(hours=1))), date(2026, 1, 18)),
        ("config.local", date(2026, 1, 15), date(2026, 1, 16)),
        ("config.span", timedelta(seconds=300), timedelta(hours=5)),
    ],
)
def test_a_program_compares_with_objects(record, path, same, other):
    """What it has at hand are paths, dates and members of its enumerations, and not what these are written as."""
    assert (field(path) == same).matches(record)
    assert field(path).one_of([other, same]).matches(record)
    assert not (field(path) != same).matches(record)
    assert not (field(path) == other).matches(record)


def test_what_was_read_from_one_run_finds_others(record):
    """Who asks for more runs like this one hands over what the record has."""
    for name, value in record.config.items():
        assert (field(f"config.{name}") == value).matches(record), name


def test_members_that_sacred_stored_have_a_value():
    """jsonpickle keeps no name."""
    stored = {"py/reduce": [{"py/type": "train.Optimizer"}, {"py/tuple": ["sgd"]}]}
    record = with_config({"optimizer": decode(stored)})
    assert parse("config.optimizer == 'sgd' and config.optimizer.value == 'sgd'").matches(record)
    assert (field("config.optimizer") == Optimizer.SGD).matches(record)
    assert not parse("config.optimizer == 'adam' or config.optimizer.name").matches(record)


def test_times_that_no_zone_reaches_are_compared_with_their_like():
    """The first and the last moments that Python knows have no UTC."""
    record = with_config({"x": datetime.max, "y": date.min})
    assert (field("config.x") > datetime(2020, 1, 1)).matches(record)
    assert (field("config.x") == datetime.max).matches(record)
    assert (field("config.y") < date(2020, 1, 1)).matches(record)


def test_a_condition_on_a_time_can_be_sent_to_another_process(record):
    """Queues and pools pickle them, before and after they were asked."""
    condition = field("config.since") > "2026-01-01"
    assert pickle.loads(pickle.dumps(condition)).matches(record)
    assert condition.matches(record)
    assert pickle.loads(pickle.dumps(condition)).matches(record)
