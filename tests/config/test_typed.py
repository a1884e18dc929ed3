"""Dataclasses, attrs classes and pydantic models as config: conversion, refusal, and the objects made again."""

# ruff: noqa: UP007, UP045 - both spellings of a union are what is tested

import dataclasses
import datetime
import decimal
import enum
import pathlib
import pickle
import subprocess
import sys
import types
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.config.coercion import build, coerce, coerce_part
from capture.config.fields import is_typed, plain
from capture.config.typed import TypedEntries, TypedSource, conform_parameters, split_typed
from capture.errors import ConfigError, ConfigTypeError, InvalidConfigError, MissingConfigError

T = TypeVar("T")
UserId = NewType("UserId", int)


class Optimizer(enum.Enum):
    ADAM = "adam"
    SGD = "sgd"
    OTHER = 3


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Shape(NamedTuple):
    height: int
    width: int = 1


class Sizes(TypedDict):
    small: int


@dataclasses.dataclass
class Model:
    width: int = 64  # units per layer
    act: Literal["relu", "gelu"] = "relu"
    """the nonlinearity
    between layers"""
    drop: Optional[float] = None


@dataclasses.dataclass(frozen=True)
class Training:
    """Never shown as the doc of an entry."""

    # step size
    lr: float = 1e-3
    optimizer: Optimizer = Optimizer.ADAM
    data: pathlib.Path = pathlib.Path("data")
    model: Model = dataclasses.field(default_factory=lambda: Model(width=128), metadata={"doc": "the network"})
    betas: tuple[float, float] = (0.9, 0.99)
    flag: bool = False
    heads: list[Model] = dataclasses.field(default_factory=list)
    weights: dict[str, float] = dataclasses.field(default_factory=lambda: {"a": 1.0})
    extra: Optional[Model] = None
    computed: int = dataclasses.field(default=0, init=False)


# ---------------------------------------------------------------------------------------------- coercion


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (float, "3e-4", 3e-4),
        (float, 1, 1.0),
        (float, "inf", float("inf")),
        (int, "12", 12),
        (int, "0x10", 16),
        (int, 3.0, 3),
        (bool, "true", True),
        (bool, "False", False),
        (bool, "off", False),
        (bool, 1, True),
        (str, "x", "x"),
        (str, 7, "7"),
        (bytes, b"x", b"x"),
        (complex, "1+2j", 1 + 2j),
        (complex, 1, 1 + 0j),
        (None, "null", None),
        (Any, "x", "x"),
        (object, 3, 3),
        (list, (1, 2), [1, 2]),
        (tuple, [1, 2], (1, 2)),
        (set, [1, 1], {1}),
        (dict, {"a": 1}, {"a": 1}),
        (list[int], ("1", 2.0), [1, 2]),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[float, ...], [1, 2], (1.0, 2.0)),
        (tuple[()], [], ()),
        (set[int], ["1"], {1}),
        (frozenset[int], [1], frozenset({1})),
        (dict[str, float], {"a": "1"}, {"a": 1.0}),
        (dict[int, str], {"1": "a"}, {1: "a"}),
        (Sequence[int], ("1",), (1,)),
        (Mapping[str, int], {"a": "1"}, {"a": 1}),
        (Optional[float], "null", None),
        (Optional[float], None, None),
        (Optional[float], "0.5", 0.5),
        (float | None, 1, 1.0),
        (Union[int, str], "x", "x"),
        (Union[int, str], 3, 3),
        (Union[float, str], "nan", "nan"),
        (Union[bool, int], 2, 2),
        (Literal["a", 2, None], "a", "a"),
        (Literal["a", 2, None], "2", 2),
        (Literal["a", 2, None], None, None),
        (Literal["1", "2"], 1, "1"),
        (Literal[True, "x"], "true", True),
        (Optimizer, "adam", Optimizer.ADAM),
        (Optimizer, "SGD", Optimizer.SGD),
        (Optimizer, "Optimizer.SGD", Optimizer.SGD),
        (Optimizer, 3, Optimizer.OTHER),
        (Optimizer, "3", Optimizer.OTHER),
        (Optimizer, Optimizer.SGD, Optimizer.SGD),
        (Access, 3, Access.READ | Access.WRITE),
        (pathlib.Path, "/x", pathlib.Path("/x")),
        (pathlib.Path, 2024, pathlib.Path("2024")),
        (pathlib.PurePosixPath, "a/b", pathlib.PurePosixPath("a/b")),
        (datetime.date, "2024-02-29", datetime.date(2024, 2, 29)),
        (datetime.datetime, "2024-01-01T00:00:00Z", datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)),
        (datetime.time, "10:30", datetime.time(10, 30)),
        (datetime.timedelta, 90, datetime.timedelta(seconds=90)),
        (decimal.Decimal, "0.1", decimal.Decimal("0.1")),
        (decimal.Decimal, 0.1, decimal.Decimal("0.1")),
        (uuid.UUID, "12345678123456781234567812345678", uuid.UUID("12345678123456781234567812345678")),
        (Shape, [1, "2"], Shape(1, 2)),
        (Shape, {"height": "3"}, Shape(3, 1)),
        (Sizes, {"small": "1"}, {"small": 1}),
        (UserId, "5", 5),
        (T, "x", "x"),
        (Callable[[int], int], len, len),
        (type[int], bool, bool),
        (Model, {"width": "8"}, {"width": 8, "act": "relu", "drop": None}),
        (Model, Model(3), {"width": 3, "act": "relu", "drop": None}),
        (list[Model], [{"width": 1}], [{"width": 1, "act": "relu", "drop": None}]),
        (Optional[Model], None, None),
        (types.ModuleType, sys, sys),
    ],
)
def test_values_become_what_is_declared(annotation, value, expected):
    """Command lines and YAML give strings and lists; code asks for what it declared."""
    result = coerce(value, annotation, "a")
    assert result == expected
    assert type(result) is type(expected)


def test_nan_is_a_number_where_a_float_is_declared():
    """Untyped, `x=nan` stays a string."""
    assert coerce("nan", float, "a") != coerce("nan", float, "a")


@pytest.mark.parametrize(
    ("annotation", "value", "words"),
    [
        (float, "abc", "a: 'abc' is not a float"),
        (float, True, "a: True (bool) is not a float"),
        (float, None, "a: None is not a float"),
        (int, 2.5, "a: 2.5 (float) is not an int"),
        (int, True, "a: True (bool) is not an int"),
        (int, "1.0", "a: '1.0' is not an int"),
        (int, float("inf"), "a: inf (float) is not an int"),
        (bool, "maybe", "a: 'maybe' is not a bool (true or false)"),
        (bool, 2, "a: 2 (int) is not a bool"),
        (str, 1.1, "quote it twice"),
        (str, None, "a: None is not a str"),
        (list[int], "12", "a: '12' is not a list[int]"),
        (list[int], [1, "x"], "a[1]: 'x' is not an int"),
        (list[list[int]], [[1], ["x"]], "a[1][0]: 'x' is not an int"),
        (tuple[int, int], [1], "it has 1 elements, not 2"),
        (dict[str, int], {"b": "x"}, "a.b: 'x' is not an int"),
        (dict[str, int], [1], "a: [1] (list) is not a dict[str, int]"),
        (Optional[int], "x", "a: 'x' is not an int"),
        (Union[int, list[int]], "x", "a: 'x' is not an int | list[int]"),
        (Literal["relu", "gelu"], "gleu", "did you mean:  gelu"),
        (Literal["relu", "gelu"], ["relu"], "not one of 'relu', 'gelu'"),
        (Optimizer, "adm", "did you mean:  ADAM"),
        (Optimizer, True, "not one of ADAM, SGD, OTHER"),
        (pathlib.Path, 1.5, "a: 1.5 (float) is not a path"),
        (datetime.date, "29.2.", "a: '29.2.' is not a date"),
        (datetime.timedelta, "long", "a number of seconds"),
        (decimal.Decimal, "x", "is not a Decimal"),
        (Shape, [1, 2, 3], "Shape(height, width)"),
        (Shape, {"heigth": 1}, "did you mean:   a.height"),
        (Sizes, {"smal": 1}, "did you mean:   a.small"),
        (Model, {"widht": 1}, "did you mean:   a.width"),
        (Model, 3, "a group of entries (Model: width, act, drop)"),
        (Model, {"width": "x"}, "a.width: 'x' is not an int"),
        (list[Model], [{"width": "x"}], "a[0].width: 'x' is not an int"),
        (types.ModuleType, 3, "a: 3 (int) is not a module"),
        (int, "9" * 100_000, "..."),
    ],
)
def test_a_refusal_says_where_what_and_what_is_possible(annotation, value, words):
    """The exact path, the value as it came, and a hint: enough to mend the command line without reading code."""
    with pytest.raises(ConfigTypeError) as caught:
        coerce(value, annotation, "a")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400
    assert caught.value.path.startswith("a")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert isinstance(caught.value, (TypeError, ValueError))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
simple = [int, float, bool, str, bytes, complex, pathlib.Path, datetime.date, datetime.timedelta, decimal.Decimal]
compound = [list[int], tuple[float, ...], dict[str, int], Optional[int], Union[int, str], Literal["a", 1]]
declared = st.sampled_from([*simple, *compound, Model, Shape, Optimizer])


@given(anything, declared)
def test_any_value_is_converted_or_refused_and_converting_again_changes_nothing(value, annotation):
    """No traceback of ours for any input; and a stored config read back is the same config."""
    try:
        once = coerce(value, annotation, "a")
    except ConfigError:
        return
    assert repr(coerce(once, annotation, "a")) == repr(once)


# ---------------------------------------------------------------------------------------------- dataclasses


def test_a_dataclass_is_a_config_source():
    """Fields are entries, classes within are groups, and updates are converted on the way in."""
    source = TypedSource(Training)
    updates = {
        "lr": "3e-4",
        "optimizer": "sgd",
        "model": {"act": "gelu", "drop": 0.1},
        "betas": [0.5, 1],
        "flag": "true",
        "heads": [{"width": "3"}],
        "weights": {"b": 2},
        "extra": {"width": 5},
        "unknown": 1,
    }
    result = source(updates, {"earlier": 2})
    assert result == {
        "earlier": 2,
        "lr": 3e-4,
        "optimizer": Optimizer.SGD,
        "data": pathlib.Path("data"),
        "model": {"width": 128, "act": "gelu", "drop": 0.1},  # the rest of the default object stays
        "betas": (0.5, 1.0),
        "flag": True,
        "heads": [{"width": 3, "act": "relu", "drop": None}],
        "weights": {"a": 1.0, "b": 2.0},
        "extra": {"width": 5, "act": "relu", "drop": None},
        "unknown": 1,
    }
    assert result.added == {"unknown"}
    assert {"lr", "model", "model.act", "betas"} <= result.modified
    assert "model.width" not in result.modified
    assert result.typechanged == {}
    assert updates["betas"] == [0.5, 1]


def test_an_object_gives_its_own_values_as_defaults():
    """`ex.add_config(model=Model(width=7))`."""
    assert TypedSource(Model(width=7), at="net.model")() == {
        "net": {"model": {"width": 7, "act": "relu", "drop": None}}
    }


def test_later_sources_overwrite_earlier_ones_here_too():
    """What the class does not declare it leaves alone."""
    assert TypedSource(Model)(None, {"width": 1, "other": 2})["width"] == 64
    assert TypedSource(Model, "m")(None, {"m": {"other": 2}})["m"] == {"other": 2, **plain(Model())}


@pytest.mark.parametrize(
    ("update", "words"),
    [
        ({"model": {"widht": 3}}, "did you mean:   net.model.width"),
        ({"modle": {}}, "did you mean:   net.model"),
        ({"model": {"act": "tanh"}}, "net.model.act: 'tanh' is not one of 'relu', 'gelu'"),
        ({"betas": [1]}, "net.betas: [1]"),
        ({"heads": [{"width": "x"}]}, "net.heads[0].width: 'x'"),
        ({"model": 3}, "net.model: 3 (int) is not a group of entries"),
        (3, "net: 3 is not a group of entries (Training:"),
    ],
)
def test_a_slip_within_a_typed_group_is_refused(update, words):
    """The class says which entries there are, so nothing has to be guessed."""
    with pytest.raises(ConfigTypeError) as caught:
        TypedSource(Training, "net")({"net": update})
    assert words in str(caught.value)


def test_the_object_is_made_again():
    """A captured function that asks for the class gets the real thing, nested objects included."""
    source = TypedSource(Training)
    config = source({"model": {"width": 3}, "heads": [{"width": 1}]})
    objects = source.objects(config)
    assert objects[""] == Training(model=Model(width=3), heads=[Model(width=1)])
    assert objects["model"] == Model(width=3)
    assert build(Optional[Model], {"width": 2}) == Model(2)
    assert build(list[Model], [{"width": 2}]) == [Model(2)]
    assert build(Model, Model(4)) == Model(4)
    with pytest.raises(ConfigTypeError, match=r"m\.widht"):
        build(Model, {"widht": 2}, "m")


def test_the_checks_of_a_class_run_and_are_reported_with_the_path():
    """`__post_init__` is where people check that values go together."""

    @dataclasses.dataclass
    class Checked:
        low: int = 0
        high: int = 10
        middle: Optional[float] = None

        def __post_init__(self):
            if self.low > self.high:
                raise ValueError("low is above high")
            if self.low < 0:
                raise InvalidConfigError("negative", conflicting_configs="low")
            self.middle = (self.low + self.high) / 2

    source = TypedSource(Checked, "range")
    assert source({"range": {"high": 4}})["range"] == {"low": 0, "high": 4, "middle": 2.0}
    with pytest.raises(ConfigTypeError, match=r"^range: Checked refuses these values: low is above high"):
        source({"range": {"low": 11}})
    with pytest.raises(InvalidConfigError, match="negative"):
        source({"range": {"low": -1}})


def test_fields_without_default_are_asked_for_by_name():
    """All missing ones at once, in the class and in the classes within."""

    @dataclasses.dataclass
    class Inner:
        path: str
        name: str

    @dataclasses.dataclass
    class Outer:
        inner: Inner
        size: int

    source = TypedSource(Outer)
    config = source({"inner": {"path": "x"}})
    assert config == {"inner": {"path": "x"}}
    with pytest.raises(MissingConfigError) as caught:
        source.conform(config, "data", complete=True)
    assert caught.value.missing_configs == ("data.inner.name",)
    with pytest.raises(MissingConfigError) as caught:
        source.conform({}, "data", complete=True)
    assert caught.value.missing_configs == ("data.inner", "data.size")
    whole = source.conform({"inner": {"path": "x", "name": 1}, "size": "3"}, complete=True)
    assert whole == {"inner": {"path": "x", "name": "1"}, "size": 3}


def test_annotations_of_any_spelling_are_understood():
    """Postponed, quoted and broken ones: a broken annotation costs its own field the conversion, and no other's."""
    module = types.ModuleType("postponed_annotations")
    code = (
        "from __future__ import annotations\n"
        "import dataclasses, typing\n"
        "@dataclasses.dataclass\n"
        "class Node:\n"
        "    rate: float = 0.5\n"
        "    next: typing.Optional[Node] = None\n"
        "    broken: NoSuchType = 1\n"
        "    var: typing.ClassVar[int] = 3\n"
    )
    sys.modules["postponed_annotations"] = module
    try:
        exec(code, vars(module))
        result = TypedSource(module.Node)({"rate": "1", "broken": "x", "next": {"rate": "2"}})
    finally:
        del sys.modules["postponed_annotations"]
    assert result == {"rate": 1.0, "broken": "x", "next": {"rate": 2.0, "next": None, "broken": 1}}


def test_generic_and_inherited_classes_work():
    """Config classes grow into small hierarchies."""

    @dataclasses.dataclass
    class Box(Generic[T]):
        item: T
        size: int = 1

    @dataclasses.dataclass
    class Child(Model):
        box: Box[int] = dataclasses.field(default_factory=lambda: Box(3))

    assert TypedSource(Child)({"width": "2", "box": {"size": "5"}}) == {
        "width": 2,
        "act": "relu",
        "drop": None,
        "box": {"item": 3, "size": 5},
    }


def test_docs_come_from_metadata_comments_and_strings():
    """Whatever habit the class follows; groups within are documented as well."""
    assert TypedSource(Training, "t").docs == {
        "t.lr": "step size",
        "t.model": "the network",
        "t.model.width": "units per layer",
        "t.model.act": "the nonlinearity between layers",
    }


def test_two_classes_of_one_name_are_told_apart():
    """Every module has its `Config`; functions that make one have another."""

    def make():
        @dataclasses.dataclass
        class Model:
            other: int = 1  # another field

        return Model

    other = make()
    assert TypedSource(other).docs == {"other": "another field"}
    assert TypedSource(other).origin.line > TypedSource(Model).origin.line + 100
    assert "width" in TypedSource(Model).docs


def test_the_origin_is_the_class_and_its_line():
    """`print_config` leads to the definition."""
    origin = TypedSource(Model).origin
    assert (origin.kind, origin.name) == ("dataclass", "Model")
    assert origin.file == __file__
    with open(__file__, encoding="utf-8") as file:
        assert file.read().split("\n")[origin.line - 1] in ("class Model:", "@dataclasses.dataclass")


def test_only_typed_things_are_taken():
    """A plain class has no fields to speak of."""
    assert [is_typed(x) for x in (Model, Model(), Training, int, 3, {}, None, Shape)] == [True] * 3 + [False] * 5
    with pytest.raises(ConfigTypeError, match="is no dataclass"):
        TypedSource(int)


def test_a_part_is_converted_without_asking_for_the_rest():
    """Updates are always partial."""
    assert coerce_part(Training, {"model": {"width": "3"}, "betas": [1, 2]}) == {
        "model": {"width": 3},
        "betas": (1.0, 2.0),
    }


def test_typed_objects_in_a_dict_become_sources_of_their_own():
    """`ex.add_config(model=Model(), lr=0.1)` mixes both; each typed entry keeps its types."""
    rest, sources = split_typed({"model": Model(), "lr": 0.1, "deep": {"net": Model(1), "x": 1}, "empty": {}})
    assert rest == {"lr": 0.1, "deep": {"x": 1}, "empty": {}}
    assert [source.at for source in sources] == ["model", "deep.net"]

    entries = TypedEntries({"model": Model(), "lr": 0.1})
    result = entries({"model": {"width": "3"}, "lr": 0.2, "new": 1})
    assert result == {"lr": 0.2, "new": 1, "model": {"width": 3, "act": "relu", "drop": None}}
    assert result.added == {"new"}
    assert {"lr", "model.width"} <= result.modified
    assert entries.conform({"model": {"width": "4"}}) == {"model": {"width": 4}}
    assert entries.objects(result) == {"model": Model(3)}
    assert entries.docs["model.width"] == "units per layer"


def test_typed_parameters_of_a_function_are_entries_with_types():
    """`def defaults(lr: float = 0.1)` is the shortest typed config there is."""

    def defaults(other: int, lr: float = 0.1, *, betas: "tuple[float, ...]" = (0.9,), name="x", broken: "Nope" = 1):  # noqa: F821
        pass

    config = {"other": "1", "lr": "3e-4", "betas": [1], "name": 3, "broken": "y", "more": "2"}
    expected = {"other": "1", "lr": 3e-4, "betas": (1.0,), "name": 3, "broken": "y", "more": "2"}
    assert conform_parameters(defaults, config) == expected
    with pytest.raises(ConfigTypeError, match=r"^net\.lr: 'fast' is not a float"):
        conform_parameters(defaults, {"lr": "fast"}, "net")

    def untyped(a=1):
        pass

    assert conform_parameters(untyped, config) is config


def test_reading_the_module_imports_neither_dataclasses_nor_typing_constructs():
    """Experiments without typed config must not pay for it."""
    code = (
        "import sys; import capture.config.typed;"
        "print(sorted({'dataclasses', 'inspect', 'ast', 'pathlib', 'datetime', 'attr'} & set(sys.modules)))"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == "[]\n", done.stderr


# ---------------------------------------------------------------------------------------------- attrs


def test_attrs_classes_convert_and_validate():
    """Converters run, validators refuse with the path, private names take their public alias."""
    attr = pytest.importorskip("attr")

    @attr.define
    class Settings:
        count: int = attr.field(default=3, validator=attr.validators.gt(0), metadata={"help": "how many"})
        _private: int = attr.field(default=2)
        lower: Any = attr.field(default="A", converter=str.lower)
        items: list[int] = attr.field(factory=lambda: [1])
        twice: int = attr.field()
        fixed: int = attr.field(default=1, init=False)

        @twice.default
        def _twice(self):
            return self.count * 2

    source = TypedSource(Settings, "s")
    assert source({"s": {"count": "5", "lower": "XY", "private": "7"}})["s"] == {
        "count": 5,
        "private": 7,
        "lower": "xy",
        "items": [1],
        "twice": 10,
    }
    assert source.origin.kind == "attrs class"
    assert source.docs == {"s.count": "how many"}
    assert source.conform({"s": {"lower": "XY"}}) == {"s": {"lower": "xy"}}
    with pytest.raises(ConfigTypeError, match=r"^s: Settings refuses these values: 'count' must be > 0"):
        source({"s": {"count": -1}})
    with pytest.raises(ConfigTypeError, match=r"^s\.lower: 3 is refused by its converter"):
        source({"s": {"lower": 3}})
    with pytest.raises(ConfigTypeError, match=r"did you mean: +s\.count"):
        source({"s": {"conut": 1}})


# ---------------------------------------------------------------------------------------------- pydantic


def test_pydantic_models_use_their_own_rules():
    """Constraints, aliases, secret and nested types; what pydantic would silently ignore is refused."""
    pydantic = pytest.importorskip("pydantic")

    class Inner(pydantic.BaseModel):
        k: int = 1
        optimizer: Optimizer = Optimizer.ADAM

    class Outer(pydantic.BaseModel):
        lr: float = pydantic.Field(1e-3, gt=0, description="the rate")
        sub: dict[str, int] = {"a": 1}
        key: pydantic.SecretStr = pydantic.SecretStr("x")
        inner: Inner = Inner(k=4)
        aliased: int = pydantic.Field(3, alias="other")
        made: list[int] = pydantic.Field(default_factory=lambda: [1])
        positive: pydantic.PositiveInt = 1

        @pydantic.field_validator("sub")
        @classmethod
        def not_empty(cls, value):
            if not value:
                raise ValueError("is empty")
            return value

    source = TypedSource(Outer)
    result = source({"lr": "0.5", "sub": {"b": "2"}, "inner": {"optimizer": "SGD"}, "aliased": "7"})
    assert (result["lr"], result["sub"], result["aliased"], result["made"]) == (0.5, {"a": 1, "b": 2}, 7, [1])
    assert result["inner"] == {"k": 4, "optimizer": Optimizer.SGD}
    assert source.objects(result)[""].inner == Inner(k=4, optimizer=Optimizer.SGD)
    assert source.docs == {"lr": "the rate"}
    assert source.origin.kind == "pydantic model"
    for update, words in [
        ({"lr": -1}, "lr: -1: Input should be greater than 0"),
        ({"inner": {"kk": 1}}, "did you mean:   inner.k"),
        ({"inner": {"k": "x"}}, "inner.k: 'x': Input should be a valid integer"),
        ({"sub": {"b": "x"}}, "sub.b: 'x': Input should be a valid integer"),
        ({"positive": -1}, "positive: -1: Input should be greater than 0"),
    ]:
        for act in (source, source.conform):
            with pytest.raises(ConfigTypeError) as caught:
                act(update)
            assert words in str(caught.value)
    with pytest.raises(ConfigTypeError, match="sub: Value error, is empty"):
        build(Outer, {"sub": {}})
    with pytest.raises(ConfigTypeError, match=r"n\.lr: .*\n.*n\.positive: "):
        build(Outer, {"lr": -1, "positive": -1}, "n")


def test_a_pydantic_model_that_takes_more_takes_more():
    """`extra="allow"` is the author's word."""
    pydantic = pytest.importorskip("pydantic")

    class Open(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow")
        a: int = 1

    assert TypedSource(Open, "o")({"o": {"b": 2}})["o"] == {"a": 1, "b": 2}
