"""A configuration with types takes back what was recorded of it: from a file, and from a record."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import json
import pathlib
import uuid
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np
import pytest

from capture import Experiment
from capture.codec import dumps, loads
from capture.config import load_config_file, save_config_file
from capture.config.coercion import coerce
from capture.errors import ConfigTypeError

attr, pydantic = pytest.importorskip("attr"), pytest.importorskip("pydantic")


class Optimizer(enum.Enum):
    """Plain members."""

    ADAM = "adam"
    SGD = "sgd"


class Other(enum.Enum):
    """Members of the same names."""

    ADAM = "other adam"


class Kind(str, enum.Enum):
    """Members that are text."""

    A = "first"


class Level(enum.IntEnum):
    """Members that are numbers."""

    HIGH = 10


class Access(enum.Flag):
    """Members that come together."""

    READ = 1
    WRITE = 2


class Odd(enum.Enum):
    """Values that are no scalars, or nothing."""

    PAIR = (1, 2)
    NOTHING = None


class Shape(NamedTuple):
    """A tuple with names."""

    height: int
    kind: Kind = Kind.A


class Sizes(TypedDict):
    """A dict with names."""

    small: Optimizer


@dataclasses.dataclass(frozen=True)
class Layer:
    """What a set can hold."""

    width: int = 8
    kind: Kind = Kind.A
    data: pathlib.Path = pathlib.Path("a")


KINDS = [
    (Optimizer, Optimizer.SGD),
    (Kind, Kind.A),
    (Level, Level.HIGH),
    (Access, Access.READ),
    (Access, Access.READ | Access.WRITE),
    (Odd, Odd.PAIR),
    (Odd, Odd.NOTHING),
    (Optimizer | None, Optimizer.SGD),
    (str | Optimizer, Optimizer.SGD),
    (Optimizer | Other, Other.ADAM),
    (pathlib.Path | int, pathlib.Path("a")),
    (Literal[Optimizer.SGD, "sgd"], Optimizer.SGD),
    (Literal["sgd", 3], "sgd"),
    (list[Optimizer], [Optimizer.SGD, Optimizer.SGD]),
    (set[Optimizer], {Optimizer.SGD}),
    (frozenset[Kind], frozenset({Kind.A})),
    (tuple[Optimizer, ...], (Optimizer.SGD,)),
    (tuple[Kind, pathlib.Path, datetime.date], (Kind.A, pathlib.Path("b"), datetime.date(2026, 1, 2))),
    (dict[str, Optimizer], {"a": Optimizer.SGD}),
    (dict[Optimizer, float], {Optimizer.SGD: 0.5}),
    (dict[int, datetime.date], {1: datetime.date(2026, 1, 2)}),
    (Shape, Shape(3, Kind.A)),
    (Sizes, {"small": Optimizer.ADAM}),
    (pathlib.Path, pathlib.Path("/data/a.csv")),
    (pathlib.PurePosixPath, pathlib.PurePosixPath("a/b")),
    (pathlib.PureWindowsPath, pathlib.PureWindowsPath("C:\\data\\a.csv")),
    (datetime.date, datetime.date(2026, 1, 2)),
    (datetime.datetime, datetime.datetime(2026, 1, 2, 3, 4, 5, 6)),
    (datetime.datetime, datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)),
    (datetime.time, datetime.time(1, 2, 3)),
    (datetime.timedelta, datetime.timedelta(days=1, microseconds=5)),
    (decimal.Decimal, decimal.Decimal("1.10")),
    (fractions.Fraction, fractions.Fraction(1, 3)),
    (uuid.UUID, uuid.UUID(int=5)),
    (bytes, b"\x00\xff"),
    (bytearray, bytearray(b"\x00\xff")),
    (complex, 1 - 2j),
    (bool, True),
    (int, 2**70),
    (float, float("inf")),
    (str, "\ud800 alone"),
    (None, None),
    (Any, (1, [2])),
    (tuple, (1, 2)),
    (set, {1, 2}),
    (frozenset, frozenset({1})),
    (set[Layer], {Layer(3), Layer(4, Kind.A, pathlib.Path("b"))}),
    (np.float32, np.float32(0.1)),
    (np.float64, np.float64(0.1)),
    (np.float16, np.float16("inf")),
    (np.int8, np.int8(-3)),
    (np.uint64, np.uint64(2**64 - 1)),
    (np.bool_, np.bool_(True)),
    (np.complex64, np.complex64(1 - 2j)),
    (np.str_, np.str_("text")),
    (np.datetime64, np.datetime64("2026-01-02")),
    (list[np.int16], [np.int16(1)]),
    (np.float32 | None, np.float32(0.1)),
]


@pytest.mark.parametrize(("annotation", "value"), KINDS, ids=[str(kind).replace(__name__, "") for kind, _ in KINDS])
def test_a_recorded_value_is_taken_back(annotation, value):
    """What a run recorded must do for another run."""
    held = coerce(value, annotation, "x")
    back = coerce(loads(dumps({"x": held}))["x"], annotation, "x")
    assert back == held
    assert isinstance(back, type(held))
    if isinstance(held, pathlib.PurePath):
        return
    if isinstance(held, (set, frozenset)):
        back, held = sorted(back, key=repr), sorted(held, key=repr)
    assert repr(back) == repr(held)  # 1 is not True, nor 1.0


@pytest.mark.parametrize(
    ("annotation", "value", "words"),
    [
        (np.int8, 300, "300 (int) is not a number of numpy's (int8)"),
        (np.int8, 2.5, "2.5 (float) is not a number of numpy's (int8)"),
        (np.float16, 1e9, "(float16)"),
        (np.float32, "wide", "'wide' is not a number of numpy's (float32)"),
        (np.bool_, 3, "(bool"),
    ],
)
def test_a_number_that_numpys_type_cannot_hold_is_refused(annotation, value, words):
    """An overflow that nobody sees is a wrong result."""
    with pytest.raises(ConfigTypeError) as caught:
        coerce(value, annotation, "x")
    assert words in str(caught.value)


def test_a_member_that_is_gone_is_refused_by_its_value_and_one_that_was_renamed_is_found_by_it():
    """Programs change after a run has recorded what it was run with."""
    renamed = {"capture/enum": {"type": "old.Optimizer", "name": "STOCHASTIC", "value": "sgd"}}
    assert coerce(loads(json.dumps(renamed)), Optimizer, "x") is Optimizer.SGD
    gone = {"capture/enum": {"type": "old.Optimizer", "name": "RMS", "value": "rms"}}
    with pytest.raises(ConfigTypeError, match="x: 'rms' is not one of ADAM, SGD"):
        coerce(loads(json.dumps(gone)), Optimizer, "x")


def test_a_member_that_sacred_stored_is_taken_back_by_its_value():
    """jsonpickle keeps no name."""
    stored = {"py/reduce": [{"py/type": "train.Optimizer"}, {"py/tuple": ["sgd"]}]}
    assert coerce(loads(json.dumps(stored)), Optimizer, "x") is Optimizer.SGD


TENTH = np.float32(0.1)


@dataclasses.dataclass
class AsDataclass:
    """One entry of many kinds."""

    lr: np.float32 = TENTH
    optimizer: Optimizer = Optimizer.ADAM
    kind: Kind | None = None
    data: pathlib.Path = pathlib.Path("a")
    since: datetime.date = datetime.date(2026, 1, 1)
    at: datetime.datetime = datetime.datetime(2026, 1, 1, 12)
    price: decimal.Decimal = decimal.Decimal(1)
    pair: tuple[int, Kind] = (1, Kind.A)
    names: set[str] = dataclasses.field(default_factory=set)
    key: bytes = b""
    z: complex = 0j
    layer: Layer = dataclasses.field(default_factory=Layer)
    layers: list[Layer] = dataclasses.field(default_factory=lambda: [Layer(), Layer(2)])
    by_name: dict[str, Layer] = dataclasses.field(default_factory=lambda: {"a": Layer(5)})


@attr.define
class AsAttrs:
    """The same with attrs, and with converters."""

    lr: np.float32 = TENTH
    optimizer: Optimizer = attr.field(default=Optimizer.ADAM, converter=Optimizer)
    kind: Kind | None = None
    data: pathlib.Path = attr.field(default="a", converter=pathlib.Path)
    since: datetime.date = datetime.date(2026, 1, 1)
    at: datetime.datetime = datetime.datetime(2026, 1, 1, 12)
    price: decimal.Decimal = decimal.Decimal(1)
    pair: tuple[int, Kind] = (1, Kind.A)
    names: set[str] = attr.field(factory=set)
    key: bytes = b""
    z: complex = 0j
    layer: Layer = attr.field(factory=Layer)
    layers: list[Layer] = attr.field(factory=lambda: [Layer(), Layer(2)])
    by_name: dict[str, Layer] = attr.field(factory=lambda: {"a": Layer(5)})


class InPydantic(pydantic.BaseModel):
    """A model within a model."""

    kind: Kind = Kind.A


class AsPydantic(pydantic.BaseModel):
    """The same with pydantic."""

    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)

    lr: np.float32 = TENTH
    optimizer: Optimizer = Optimizer.ADAM
    kind: Kind | None = None
    data: pathlib.Path = pathlib.Path("a")
    since: datetime.date = datetime.date(2026, 1, 1)
    at: datetime.datetime = datetime.datetime(2026, 1, 1, 12)
    price: decimal.Decimal = decimal.Decimal(1)
    pair: tuple[int, Kind] = (1, Kind.A)
    names: set[str] = set()
    key: bytes = b""
    z: complex = 0j
    layer: InPydantic = InPydantic()
    layers: list[InPydantic] = [InPydantic()]
    literal: Literal[Optimizer.SGD] = Optimizer.SGD


CHANGES = {
    "lr": 0.25,
    "optimizer": "sgd",
    "kind": "first",
    "data": "/data/a.csv",
    "since": "2025-06-07",
    "at": "2025-06-07T08:09:10",
    "price": "1.10",
    "pair": [2, "A"],
    "names": ["a", "b"],
    "key": b"\xff",
    "z": "1+2j",
}


@pytest.mark.parametrize("ending", [".json", ".yaml"])
@pytest.mark.parametrize("declared", [AsDataclass, AsAttrs, AsPydantic])
@pytest.mark.parametrize("updates", [{}, CHANGES], ids=["defaults", "changed"])
def test_a_saved_configuration_makes_the_same_one_again(declared, updates, ending, tmp_path):
    """``save_config``, an export and a record hold it as it was saved, and ``with config.json`` runs it again."""
    if declared is AsAttrs and updates:
        updates = {**updates, "optimizer": Optimizer.SGD}  # its own converter wants a value, which "sgd" is, or this
    experiment = Experiment("recorded", observers=[], save_git_info=False)
    experiment.config(declared)
    config = experiment.build_config({**updates, "seed": 1})
    path = tmp_path / f"config{ending}"
    save_config_file(config, path)
    again = experiment.build_config(load_config_file(path))
    assert again == config
    assert list(map(type, again.values())) == list(map(type, config.values()))
    experiment.add_named_config("old", str(path))
    assert experiment.build_config({"seed": 1}, ["old"]) == config


def test_typed_parameters_of_a_scope_take_them_back_too():
    """A scope's parameters have types as the fields of a class have."""
    experiment = Experiment("parameters", observers=[], save_git_info=False)

    @experiment.config
    def defaults(optimizer: Optimizer = Optimizer.ADAM, data: pathlib.Path = pathlib.Path("a")):
        name = optimizer.name

    config = experiment.build_config({"optimizer": "sgd", "seed": 1})
    again = experiment.build_config(loads(dumps(config)))
    assert (again, again["optimizer"]) == (config, Optimizer.SGD)
