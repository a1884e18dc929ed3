"""What a config value may be, and when two are the same."""

from __future__ import annotations

import collections
import pickle
import subprocess
import sys

import numpy as np
import pytest

from capture.config.values import KeyRules, clone, equal, normalize, type_changed
from capture.errors import ConfigTypeError, InvalidConfigKey


@pytest.mark.parametrize(
    ("key", "words", "setting"),
    [
        ("a.b", "has no '.'", "ENFORCE_KEYS_MONGO_COMPATIBLE"),
        ("$set", "'$'", "ENFORCE_KEYS_MONGO_COMPATIBLE"),
        ("py/object", "tag", "ENFORCE_KEYS_JSONPICKLE_COMPATIBLE"),
        ("json://1", "tag", "ENFORCE_KEYS_JSONPICKLE_COMPATIBLE"),
        ("a=b", "'='", "ENFORCE_KEYS_NO_EQUALS"),
        ("", "not empty", None),
    ],
)
def test_keys_that_cannot_be_stored_are_refused(key, words, setting):
    """The message names the place, the rule and what lifts it."""
    with pytest.raises(KeyError) as caught:
        normalize({"outer": [{key: 1}]}, "top")
    error = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(error, InvalidConfigKey)
    assert error.path == f"top.outer[0].{key}"
    assert words in error.rule
    assert error.setting == setting
    assert str(error).startswith(f"invalid config key {key!r}: ")
    assert (f"SETTINGS.CONFIG.{setting} = False" in str(error)) == (setting is not None)


@pytest.mark.parametrize("key", ["a", "a b", "a-b", "a$", "ä", "pyx", "1", "_a", 1, -1, 0.5, None, True, (1, 2)])
def test_other_keys_are_fine(key):
    """Sacred allowed them, so configs have them; the codec knows how to store them."""
    assert normalize({key: 1}) == {key: 1}


def test_rules_can_be_lifted_and_tightened():
    """SETTINGS.CONFIG decides."""
    lax = KeyRules(mongo_compatible=False, jsonpickle_compatible=False, no_equals=False)
    for key in ("a.b", "$set", "py/object", "a=b"):
        assert normalize({key: 1}, rules=lax) == {key: 1}
    for rules, setting in (
        (KeyRules(strings=True), "ENFORCE_STRING_KEYS"),
        (KeyRules(identifiers=True), "ENFORCE_VALID_PYTHON_IDENTIFIER_KEYS"),
    ):
        with pytest.raises(InvalidConfigKey, match=setting):
            normalize({1: 1}, rules=rules)
        assert normalize({"a": 1}, rules=rules) == {"a": 1}
    with pytest.raises(InvalidConfigKey, match="identifier"):
        normalize({"a b": 1}, rules=KeyRules(identifiers=True))


def test_containers_are_rebuilt_and_everything_else_kept():
    """The config must not change with the object it was made from."""
    inner = [1]
    ordered = collections.OrderedDict(a=1)
    Point = collections.namedtuple("Point", "x")
    value = {"list": inner, "tuple": (inner, 2), "ordered": ordered, "point": Point(1), "set": {1}}
    result = normalize(value)
    assert result == value
    assert result["list"] is not inner
    assert result["tuple"][0] is not inner
    assert type(result["tuple"]) is tuple
    assert result["ordered"] is ordered
    assert type(result["point"]) is Point
    with pytest.raises(InvalidConfigKey):
        normalize({"ordered": collections.OrderedDict({"a.b": 1})})


def test_values_that_contain_themselves_are_refused_with_their_path():
    """They would take every store into an endless loop."""
    value: dict = {"a": [{}]}
    value["a"][0]["again"] = value["a"]
    with pytest.raises(ConfigTypeError) as caught:
        normalize(value)
    assert caught.value.path == "a[0].again"
    shared = [1]
    assert normalize({"a": shared, "b": [shared, shared]}) == {"a": [1], "b": [[1], [1]]}


def test_numpy_scalars_become_python_scalars():
    """As values and as keys; arrays, dates and exotic numbers stay."""
    result = normalize({np.int64(3): [np.float32(0.5), np.bool_(True), np.str_("x")]})
    assert result == {3: [0.5, True, "x"]}
    assert [type(value) for value in result[3]] == [float, bool, str]
    assert type(next(iter(result))) is int
    for value in (np.datetime64("2020-01-01", "ns"), np.timedelta64(3, "ns"), np.arange(3)):
        assert normalize(value) is value


class Contrary:
    def __eq__(self, other):
        raise RuntimeError("no")

    __hash__ = None


class Undecided:
    """Compares elementwise, as a DataFrame does."""

    def __eq__(self, other):
        return self

    __hash__ = None

    def __bool__(self):
        raise ValueError("ambiguous")


NAN = float("nan")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([1, 2], [1, 2], True),
        ([1, 2], [1, 3], False),
        ([1, 2], [1], False),
        ([1, 2], (1, 2), False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": [NAN]}, {"a": [NAN]}, True),
        (NAN, 1.0, False),
        (1, 1.0, True),
        ("a", "b", False),
        (None, 0, False),
        (Contrary(), 3, False),
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), True),
        (np.array([1, 2]), np.array([1, 3]), False),
        (np.array([1, 2]), np.array([[1, 2]]), False),
        (np.array([1, 2]), np.array([1.0, 2.0]), True),
        (np.array([1, 2]), [1, 2], False),
        (np.array(["a", None], dtype=object), np.array(["a", None], dtype=object), True),
        (np.array(["a"]), np.array(["a"]), True),
        (np.array(["a"]), np.array([1]), False),
        ({"a": [np.array([1])]}, {"a": [np.array([1])]}, True),
        (np.float64("nan"), NAN, True),
        (Undecided(), Undecided(), False),
    ],
)
def test_equality_is_structural(one, other, same):
    """`modified` is decided by it. (Sacred asked numpy, and called [1, 2] and [1, 3] the same.)"""
    assert equal(one, other) is same
    assert equal(other, one) is same


def test_types_change_only_where_it_matters():
    """A warning at every tuple that a file turned into a list would be noise."""
    assert type_changed(1, "a")
    assert type_changed(1, 1.0)
    assert type_changed(True, 1)
    assert type_changed(1, None)
    assert not type_changed(None, 1)
    assert not type_changed((1,), [1])
    assert not type_changed(np.float64(1), 1.0)


def test_clones_share_nothing_that_can_be_copied():
    """What cannot be copied is shared: better than failing."""
    import threading

    lock, array = threading.Lock(), np.array([1])
    value = {"list": [1], "tuple": ([1],), "array": array, "lock": lock}
    copied = clone(value)
    copied["list"].append(2)
    copied["tuple"][0].append(2)
    copied["array"][0] = 5
    assert (value["list"], value["tuple"], array[0]) == ([1], ([1],), 1)
    assert copied["lock"] is lock


def test_nothing_here_imports_numpy():
    """It is only looked at where it is loaded already."""
    code = (
        "import sys; from capture.config.values import *; equal([1.0], [2.0]); normalize({'a': (1.0,)}); clone([1]);"
        "type_changed(1, 2); print('numpy' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"
