"""What `capture.codec` stores, and that reading never runs anything."""

from __future__ import annotations

import copy
import datetime
import decimal
import enum
import fractions
import json
import math
import os
import pathlib
import pickle
import subprocess
import threading
import uuid
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.codec import MAX_REPR, Opaque, StoredEnum, decode, dumps, encode, loads
from capture.errors import RecordError
from tests.project.tree import ROOT

GOLDEN = ROOT / "tests" / "golden"


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Mode(str, enum.Enum):
    FAST = "fast"


class Level(enum.IntEnum):
    LOW = 1


class Odd(enum.Enum):
    PAIR = (1, 2)
    NOTHING = None


@dataclass(frozen=True)
class Point:
    x: int
    y: float


class Plain:
    def __init__(self, size=3):
        self.size = size


EXACT = [
    None,
    True,
    0,
    -(2**63),
    2**200,
    1.5,
    float("inf"),
    -float("inf"),
    "text",
    "\ud800 alone",
    b"\x00\xff",
    (1, (2, [3])),
    {1, "a"},
    frozenset({2}),
    complex(1, -2),
    {"": 0, "a.b": 1, "$x": 2, "a=b": 3},
    {1: "int", (1, 2): "tuple", None: "none", 2.5: "float"},
    {"py/object": "mine", "capture/int": "mine", "json://x": "mine"},
    datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc),
    datetime.date(2026, 1, 2),
    datetime.time(1, 2),
    datetime.timedelta(days=1, microseconds=5),
    pathlib.Path("a/b"),
    decimal.Decimal("1.10"),
    fractions.Fraction(1, 3),
    uuid.UUID(int=5),
]


def name_of(value):
    """Name a value alike in every process: a set has another order in each."""
    return "a set" if isinstance(value, set) else repr(value)[:30].encode("ascii", "replace").decode()


@pytest.mark.parametrize("value", EXACT, ids=name_of)
def test_a_value_of_a_known_type_comes_back_as_it_was(value):
    """A record that changes what it was given cannot be used to run again."""
    text = dumps(value)
    json.loads(text, parse_constant=lambda name: pytest.fail(f"bare {name} is not JSON"))
    back = loads(text)
    assert back == value
    assert type(back) is type(value)


def test_nan_comes_back_and_the_text_stays_strict_json():
    """Bare NaN makes a whole file unreadable for every strict parser."""
    text = dumps({"loss": float("nan")})
    assert "NaN" not in text
    assert math.isnan(loads(text)["loss"])


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.array([]),
        np.random.default_rng(0).random(5000),
        np.array([1.5, np.nan, np.inf]),
        np.array(["a", "bc"]),
        np.array([1 + 2j]),
        np.array(["2026-01-01"], dtype="M8[D]"),
        np.array([True, False]),
        np.array([{"a": 1}, None], dtype=object),
        np.float32([0.1, 0.2]),
        np.zeros((0, 3)),
        np.array([1, 2], dtype=">i4"),
        np.array([2**64 - 1], dtype="uint64"),
    ],
    ids=str,
)
def test_an_array_keeps_its_values_its_shape_and_its_type(array):
    """Small ones are readable in the file, large ones are exact bytes; either way nothing is rounded."""
    back = loads(dumps(array))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert np.array_equal(back, array, equal_nan=array.dtype.kind in "fc")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.random.default_rng(0).random(1000),
        np.float32([0.1, -0.0]),
        np.float16([0.1]),
        np.array([True, False]),
        np.array([2**64 - 1], dtype="uint64"),
        np.zeros((0, 3)),
        np.arange(20)[::-2],
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
def test_tools_for_sacreds_records_read_small_arrays(array, jsonpickles_arrays):
    """seml and others decode a record with jsonpickle and its handlers of numpy; to them ours was a dict."""
    stored = json.loads(json.dumps(encode({"a": array}), allow_nan=False))
    for back in (jsonpickles_arrays.decode(json.dumps(stored), keys=False)["a"], decode(stored)["a"]):
        assert (type(back), back.dtype, back.shape) == (np.ndarray, array.dtype, array.shape)
        assert back.tobytes() == array.tobytes()
        assert back.flags.f_contiguous == array.flags.f_contiguous or not array.flags.forc


@pytest.fixture
def jsonpickles_arrays():
    """jsonpickle with its handlers of numpy, which are taken away again."""
    import jsonpickle.ext.numpy

    jsonpickle.ext.numpy.register_handlers()
    yield jsonpickle
    jsonpickle.ext.numpy.unregister_handlers()


def test_the_first_form_of_small_arrays_is_still_read():
    """Records of the first days hold it."""
    back = decode({"capture/ndarray": {"dtype": "<f4", "shape": [1, 2], "values": [[0.5, 2.0]]}})
    assert (back.dtype, back.tolist()) == (np.float32, [[0.5, 2.0]])


def test_a_numpy_number_is_stored_as_the_plain_number_it_is():
    """People read these files; a number should look like one."""
    assert encode({"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True)}) == {"a": 0.5, "b": 3, "c": True}


def test_frames_and_series_of_pandas_come_back_equal():
    """Tables are what many results are."""
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [0.5, float("nan")]}, index=["r", "s"])
    pd.testing.assert_frame_equal(loads(dumps(frame)), frame)
    series = pd.Series([1.0, 2.0], index=pd.Index([3, 4], name="step"), name="loss")
    pd.testing.assert_series_equal(loads(dumps(series)), series)


@pytest.mark.parametrize(
    ("value", "type_name"),
    [
        (Colour.RED, f"{__name__}.Colour"),
        (Point(1, 2.5), f"{__name__}.Point"),
        (Plain(), f"{__name__}.Plain"),
        (os.getcwd, "posix.getcwd"),
        (Plain, f"{__name__}.Plain"),
        (threading.Lock(), "_thread.lock"),
        ((i for i in "ab"), "builtins.generator"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,  # alike in every process
)
def test_other_objects_come_back_as_inert_data_that_names_their_type(value, type_name):
    """A store must not import or build what a record names; it can say what was there."""
    stored = encode(value)
    back = decode(json.loads(json.dumps(stored)))
    assert isinstance(back, Opaque)
    assert back.type == type_name
    assert encode(back) == stored


@pytest.mark.parametrize("member", [Colour.RED, Access.READ, Mode.FAST, Level.LOW, Odd.PAIR, Odd.NOTHING])
def test_a_member_of_an_enumeration_comes_back_with_its_name_and_its_value(member):
    """They tell more than that there was one: which learning algorithm, say."""
    stored = json.loads(json.dumps(encode({"x": member})))
    back = decode(stored)["x"]
    assert isinstance(back, StoredEnum)
    assert not isinstance(back, enum.Enum)
    assert (back.name, back.value) == (member.name, member.value)
    assert (str(back), repr(back)) == (member.name, f"{type(member).__name__}.{member.name}")
    assert encode({"x": back}) == stored
    assert pickle.loads(pickle.dumps(back)) == back
    assert copy.deepcopy(back) == back


def test_members_are_told_apart_and_found_again():
    """Groups and differences of runs are made of them."""
    members = [Colour.RED, Colour.BLUE, Access.READ, Mode.FAST, Level.LOW, Odd.PAIR, Odd.NOTHING]
    back = decode(encode(members))
    assert len(set(back)) == len(set(map(str, back))) == len(members)
    assert set(back) == set(decode(encode(members)))


def test_a_member_is_the_same_whether_its_module_was_imported_or_started():
    """A script that is started is called __main__: what it records is no other configuration."""
    one, other = ({"capture/enum": {"type": f"{module}.Optimizer", "name": "SGD", "value": "sgd"}} for module in "ab")
    assert decode(one) == decode(other)
    assert len({decode(one), decode(other)}) == 1
    assert decode(one) != decode({"capture/enum": {"type": "a.Optimizer", "name": "SGD", "value": 2}})


def test_flags_together_are_rebuilt_and_read():
    """Before Python 3.11 they have no name."""
    both = Access.READ | Access.WRITE
    stored = encode(both)
    assert decode(stored).value == 3
    assert decode(stored, {f"{__name__}.Access": Access}) is both


def test_members_that_sacred_stored_have_their_value():
    """jsonpickle stores how one is made: a class to call, which is not called, and a value."""
    stored = {"py/reduce": [{"py/type": "train.Optimizer"}, {"py/tuple": [{"py/tuple": [1, 2]}]}]}
    back = decode(stored)
    assert isinstance(back, StoredEnum)
    assert (back.name, back.value, repr(back), encode(back)) == (None, (1, 2), "Optimizer((1, 2))", stored)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Point(1, 2.5), Point(1, 2.0)),
        (Plain(), Plain(2)),
        (Plain("x" * 1000 + "a"), Plain("x" * 1000 + "b")),
        (os.getcwd, os.getpid),
        (Plain, Point),
        ({Point(1, 2.0)}, {Point(2, 2.0)}),
    ],
    ids=["dataclasses", "objects", "long ones", "functions", "classes", "in sets"],
)
def test_objects_that_differ_look_different(one, other):
    """A difference of runs that reads the same on both sides tells nothing."""
    texts = [repr(decode(json.loads(json.dumps(encode(each))))) for each in (one, other, one)]
    assert texts[0] != texts[1]
    assert texts[0] == texts[2]
    assert max(map(len, texts)) < 250


def test_an_inert_object_shows_its_fields():
    """Of a model one wants to see how wide it was."""
    assert repr(decode(encode(Point(1, 2.5)))) == f"<stored {__name__}.Point: x=1, y=2.5>"


def test_the_callers_own_classes_are_rebuilt_when_it_hands_them_over():
    """Whoever wrote the class may want the object back, and can say so."""
    classes = {f"{__name__}.Colour": Colour, f"{__name__}.Point": Point}
    assert decode(encode([Colour.RED, Point(1, 2.0)]), classes) == [Colour.RED, Point(1, 2.0)]


@pytest.mark.parametrize(
    "text",
    [
        '{"py/reduce": [{"py/function": "os.system"}, {"py/tuple": ["touch HACKED"]}]}',
        '{"py/object": "subprocess.Popen", "py/newargs": {"py/tuple": [["touch", "HACKED"]]}}',
        '{"py/object": "__main__.X", "py/state": {"py/reduce": [{"py/type": "os.system"}, ["touch HACKED"]]}}',
        '{"py/repr": "os/os.system(\'touch HACKED\')"}',
        '{"py/eval": "__import__(\'os\').system(\'touch HACKED\')"}',
        '{"py/function": "os.system"}',
        '{"capture/enum": {"type": "os.system", "name": "x"}}',
        '{"capture/ndarray": {"dtype": "O", "shape": [1], "data": "gASVAA=="}}',
    ],
)
def test_nothing_that_a_record_says_is_run(text, tmp_path, monkeypatch):
    """Sacred ran a shell command while it read each of the first three."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "system", lambda command: pytest.fail(f"ran {command}"))
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kwargs: pytest.fail(f"ran {args}"))
    assert isinstance(loads(text), Opaque)
    assert not (tmp_path / "HACKED").exists()


@pytest.mark.parametrize("tag", ["py/tuple", "py/set", "py/b64", "capture/datetime", "capture/ndarray", "capture/series"])
@pytest.mark.parametrize("content", [None, 3, "x", [[[]]], {"a": 1}])
def test_a_malformed_tag_is_data_and_not_an_error(tag, content):
    """One odd value must not make a whole run unreadable."""
    decode({tag: content})


def test_a_value_that_contains_itself_ends_where_it_would_begin_again():
    """Recursion in a config was a crash."""
    value: dict = {"name": "loop"}
    value["self"] = [value]
    assert encode(value) == {"name": "loop", "self": [{"capture/cycle": 2}]}


def test_nesting_that_is_too_deep_is_cut_and_not_a_crash():
    """A thousand levels are no configuration, but they must not end a run either."""
    value: list = []
    for _ in range(1000):
        value = [value]
    assert "capture/repr" in dumps(value)


def test_an_object_that_reaches_half_the_process_is_stored_as_its_repr():
    """A model with a million weights in a config would take minutes and megabytes."""
    big = Plain()
    big.weights = list(range(100_000))
    assert set(encode(big)) == {"capture/repr"}


def test_a_long_repr_is_cut_and_says_so():
    """An object whose repr is a book should not fill the record."""

    class Talker:
        __slots__ = ()

        def __repr__(self):
            return "x" * 10**6

    stored = encode(Talker())["capture/repr"]["repr"]
    assert len(stored) < MAX_REPR + 50
    assert "1,000,000 characters" in stored


def test_an_object_that_will_not_even_show_itself_is_named():
    """What cannot be stored is said, not swallowed."""

    class Broken:
        __slots__ = ()

        def __repr__(self):
            raise RuntimeError("no")

    assert "Broken" in encode(Broken())["capture/repr"]["repr"]


def test_text_that_is_not_json_is_named_as_such():
    """The message has to say which part is broken, not show a parser's innards."""
    with pytest.raises(RecordError, match="not readable as JSON"):
        loads('{"a": ')


def test_dict_subclasses_and_named_tuples_are_stored_by_what_they_hold():
    """Read-only views, ordered and default dicts are dicts to whoever reads the record."""
    from collections import OrderedDict, defaultdict, namedtuple

    pair = namedtuple("pair", "a b")(1, 2)
    assert encode(OrderedDict(a=1)) == {"a": 1}
    assert encode(defaultdict(list, a=[1])) == {"a": [1]}
    assert encode(pair) == {"py/tuple": [1, 2]}


def test_a_tuple_written_by_jsonpickle_and_an_array_of_sacreds_handler_are_read():
    """The databases of the last ten years are full of them."""
    assert decode({"py/tuple": [1, {"py/tuple": [2]}]}) == (1, (2,))
    array = decode({"py/object": "numpy.ndarray", "dtype": "int64", "values": [1, 2]})
    assert array.tolist() == [1, 2]


SACREDS_ARRAYS = {
    "text": np.array([1.0, 2.5]),
    "bytes": np.arange(20.0) / 3,
    "columns": np.asfortranarray(np.arange(20, dtype="int32").reshape(4, 5)),
    "swapped": np.arange(20, dtype=">i4"),
    "view": np.arange(20.0).reshape(4, 5),
    "part": np.arange(40)[10:30],
    "backwards": np.arange(40)[::-2],
    "reinterpreted": np.arange(20.0).view("int64"),
    "empty": np.zeros((0, 3)),
    "words": np.array(["ab", "c"] * 10),
    "months": np.arange("2020-01", "2022-01", dtype="M8[M]"),
}


@pytest.mark.parametrize("name", SACREDS_ARRAYS)
def test_arrays_of_any_size_that_sacred_stored_are_read(name):
    """From 17 elements on it stored compressed bytes, and a view together with what it is a view of."""
    stored = json.loads((GOLDEN / "sacred-0.8.7-arrays.json").read_text())[name]
    back, array = decode(stored), SACREDS_ARRAYS[name]
    assert (type(back), back.dtype, back.shape) == (np.ndarray, array.dtype, array.shape)
    assert np.array_equal(back, array)


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [2**40], "dtype": "int8"},
        {"shape": [4], "values": "AAAA"},
        {"dtype": "object"},
        {"shape": [20], "strides": [0], "values": "eJxjYIAAAAAIAAE="},
        {"base": {"py/object": "numpy.ndarray", "dtype": "int8", "values": [1]}, "shape": [2**40], "strides": [0]},
        {"base": {"py/object": "numpy.ndarray", "dtype": "int8", "values": [1]}, "shape": [1], "offset": 9},
    ],
    ids=str,
)
def test_an_array_that_is_not_what_it_claims_is_inert_data(changes):
    """A few bytes of a record must not fill the memory, nor read what lies behind them."""
    stored = {"py/object": "numpy.ndarray", "dtype": "int64", "values": "eJxjYIAAAAAIAAE=", "shape": [1], **changes}
    assert isinstance(decode(stored), Opaque)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner)
    | st.lists(inner).map(tuple)
    | st.dictionaries(st.text() | st.integers(), inner)
    | st.dictionaries(st.sampled_from(["py/tuple", "json://1", "capture/x", "py/id"]), inner),
    max_leaves=20,
)


@given(json_like)
def test_any_nesting_of_plain_values_comes_back(value):
    """Whatever users nest, strange keys included."""
    assert loads(dumps(value)) == value


def test_what_is_decoded_is_a_copy():
    """Who changes a configuration that was read must not change what the store's reader keeps in memory."""
    stored = {"flat": {"a": 1}, "list": [1, 2], "nested": [[1], {"b": [2]}], "tagged": {"py/tuple": [1]}, "a/b": {"c": 3}}
    before = dumps(stored)
    found = decode(stored)
    assert found == {**stored, "tagged": (1,)}
    found["flat"]["a"] = found["list"][0] = found["nested"][0][0] = found["nested"][1]["b"][0] = found["a/b"]["c"] = "changed"
    found["new"] = 1
    assert dumps(stored) == before
