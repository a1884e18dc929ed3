"""Read-only dicts and lists: real ones, that only refuse to change."""

from __future__ import annotations

import collections
import copy
import functools
import json
import operator
import pickle

import pytest
import yaml

from capture.config.readonly import ReadOnlyDict, ReadOnlyList, freeze, thaw
from capture.errors import ReadOnlyConfigError

PLAIN = {"a": [1, {"b": (2, [3])}], "c": {}}


@pytest.fixture
def frozen():
    return freeze(PLAIN)


@pytest.mark.parametrize(
    ("change", "operation"),
    [
        (lambda d: operator.setitem(d, "a", 1), "set a key of"),
        (lambda d: operator.delitem(d, "a"), "delete a key of"),
        (lambda d: operator.ior(d, {"a": 1}), "update (|=)"),
        (lambda d: d.clear(), "clear"),
        (lambda d: d.pop("a"), "pop from"),
        (lambda d: d.pop("missing", None), "pop from"),
        (lambda d: d.popitem(), "pop from"),
        (lambda d: d.setdefault("a", 1), "set a default in"),
        (lambda d: d.update(a=1), "update"),
        (lambda d: operator.setitem(d["a"], 0, 1), "set an element of"),
        (lambda d: operator.delitem(d["a"], 0), "delete an element of"),
        (lambda d: operator.iadd(d["a"], [1]), "extend (+=)"),
        (lambda d: operator.imul(d["a"], 2), "repeat (*=)"),
        (lambda d: d["a"].append(1), "append to"),
        (lambda d: d["a"].clear(), "clear"),
        (lambda d: d["a"].extend([1]), "extend"),
        (lambda d: d["a"].insert(0, 1), "insert into"),
        (lambda d: d["a"].pop(), "pop from"),
        (lambda d: d["a"].remove(1), "remove from"),
        (lambda d: d["a"].reverse(), "reverse"),
        (lambda d: d["a"].sort(key=str), "sort"),
        (lambda d: d["a"][1].update(b=1), "update"),
        (lambda d: d["a"][1]["b"][1].append(1), "append to"),
    ],
)
def test_every_change_is_refused_with_the_remedy(frozen, change, operation):
    """One captured function must not change what another is given, and its author must learn what to do."""
    with pytest.raises(ReadOnlyConfigError) as caught:
        change(frozen)
    error = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(error, TypeError)
    assert error.operation == operation
    assert f"cannot {operation} a" in str(error)
    assert "copy.deepcopy" in str(error)
    assert "SETTINGS.CONFIG.READ_ONLY_CONFIG = False" in str(error)
    assert frozen == PLAIN


def test_no_changing_method_is_forgotten():
    """Python may grow new ones."""
    untouched = {
        dict: {"copy", "fromkeys", "get", "items", "keys", "values"},
        list: {"copy", "count", "index"},
    }
    for ours, base in ((ReadOnlyDict, dict), (ReadOnlyList, list)):
        inherited = {n for n in dir(base) if not n.startswith("__") and getattr(ours, n) is getattr(base, n, None)}
        inherited |= untouched[base]
        assert inherited == untouched[base]
        for name in ("__setitem__", "__delitem__", "__ior__", "__iadd__", "__imul__"):
            assert not hasattr(base, name) or getattr(ours, name) is not getattr(base, name)


def test_they_are_real_dicts_and_lists(frozen):
    """User code asks with isinstance, compares, and passes them to libraries."""
    assert isinstance(frozen, dict)
    assert isinstance(frozen["a"], list)
    assert frozen == PLAIN
    assert repr(frozen) == repr(PLAIN)
    assert {**frozen} == PLAIN
    assert frozen | {"x": 1} == {**PLAIN, "x": 1}
    assert frozen["a"] + [4] == [*PLAIN["a"], 4]
    assert json.loads(json.dumps(freeze({"a": [1]}))) == {"a": [1]}
    assert json.loads(json.dumps(freeze({"a": [1]}), indent=1)) == {"a": [1]}


@pytest.mark.parametrize("dump", [yaml.safe_dump, yaml.dump])
def test_yaml_writes_them_like_plain_ones(dump):
    """PyYAML looks at the exact type, and its safe dumper refuses subclasses."""
    plain = {"a": [1, {"b": [2]}]}
    assert dump(freeze(plain)) == dump(plain)


def test_tables_keyed_by_type_find_them(frozen):
    """singledispatch, copy, torch and JAX trees keep such tables."""

    @functools.singledispatch
    def kind(value):
        return "other"

    kind.register(dict, lambda value: "dict")
    kind.register(list, lambda value: "list")
    assert (kind(frozen), kind(frozen["a"])) == ("dict", "list")
    assert {dict: 1, list: 2}[type(frozen["a"])] == 2
    assert type(frozen) == dict  # noqa: E721 - what is tested
    assert type(frozen) != type(frozen["a"])  # noqa: E721
    assert ReadOnlyDict not in (list, 3, None)
    assert len({dict, ReadOnlyDict, list, ReadOnlyList}) == 2


@pytest.mark.parametrize(
    "copied",
    [
        copy.deepcopy,
        lambda value: pickle.loads(pickle.dumps(value)),
        lambda value: pickle.loads(pickle.dumps(value, protocol=2)),
        lambda value: pickle.loads(pickle._dumps(value)),
        thaw,
    ],
)
def test_deep_copies_and_pickles_are_plain_and_can_be_changed(frozen, copied):
    """What crosses to another process, or is copied in order to be changed, is the user's own."""
    copied_value = copied(frozen)
    assert copied_value == PLAIN
    pending = [copied_value]
    while pending:
        value = pending.pop()
        assert type(value) in (dict, list, tuple, int)
        assert not isinstance(value, (ReadOnlyDict, ReadOnlyList))
        pending += value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else []


@pytest.mark.parametrize("copied", [copy.copy, lambda value: value.copy(), dict])
def test_shallow_copies_can_be_changed_at_the_top(frozen, copied):
    """`dict(config)` is what people write."""
    shallow = copied(frozen)
    shallow["new"] = 1
    assert type(shallow) is dict
    assert "new" not in frozen
    assert isinstance(copy.copy(frozen["a"]), list)
    copy.copy(frozen["a"]).append(1)


def test_other_types_are_kept():
    """Changing the type of an OrderedDict or a namedtuple would break what relies on it."""
    Point = collections.namedtuple("Point", "x y")
    values = {
        "ordered": collections.OrderedDict(a=1),
        "counter": collections.Counter("a"),
        "point": Point(1, [2]),
        "set": {1},
        "bytes": b"x",
    }
    frozen = freeze(values)
    for name, value in values.items():
        assert frozen[name] is value
        assert thaw(frozen)[name] is value


def test_freezing_twice_and_sharing_are_cheap(frozen):
    """Every captured function gets the same read-only view, and no copy of it."""
    assert freeze(frozen) is frozen
    assert freeze((1, 2)) == (1, 2)


def test_thawing_gives_fresh_containers():
    """The result is the caller's to change."""
    plain = {"a": [1]}
    thaw(plain)["a"].append(2)
    assert plain == {"a": [1]}
