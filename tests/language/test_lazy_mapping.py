"""A dict whose values are made when they are read: nobody who holds one should have to know that."""

from __future__ import annotations

import ast
import copy
import json
import operator
import pickle

import pytest

from capture.records import LazyMapping

PLAIN = {"commit": "ab12", "dirty": False}


@pytest.fixture
def lazy():
    """Return one whose values nobody has read yet."""
    return LazyMapping(PLAIN, lambda name: PLAIN[name])


USES = {
    "dict": dict,
    "merged": lambda lazy: {**lazy},
    "updated": lambda lazy: _updated({}, lazy),
    "passed on": lambda lazy: dict(**lazy),
    "united": lambda lazy: lazy | {},
    "united from the right": lambda lazy: {} | lazy,
    "copied": copy.copy,
    "copied by itself": lambda lazy: lazy.copy(),
    "copied deeply": copy.deepcopy,
    "pickled": lambda lazy: pickle.loads(pickle.dumps(lazy)),
    "pickled of old": lambda lazy: pickle.loads(pickle.dumps(lazy, 0)),
    "items": lambda lazy: dict(lazy.items()),
    "values": lambda lazy: dict(zip(lazy, lazy.values())),
    "written": lambda lazy: json.loads(json.dumps(lazy)),
    "written with indents": lambda lazy: json.loads(json.dumps(lazy, indent=1)),
    "printed": lambda lazy: ast.literal_eval(repr(lazy)),
    "emptied": lambda lazy: {name: lazy.pop(name) for name in list(lazy)},
    "emptied from the end": lambda lazy: dict([lazy.popitem(), lazy.popitem()][::-1]),
    "set by default": lambda lazy: {name: lazy.setdefault(name, "x") for name in list(lazy)},
}


def _updated(table, other):
    table.update(other)
    return table


@pytest.mark.parametrize("use", USES)
def test_who_holds_one_never_meets_what_stands_for_a_value_that_is_not_read(lazy, use):
    """A commit came out of dict(run.git) as a mapping that holds itself, until somebody had printed it."""
    found = USES[use](lazy)
    assert type(found) is dict and found == PLAIN and [type(each) for each in found.values()] == [str, bool]


def test_it_is_equal_to_what_it_stands_for(lazy):
    """From either side, and without anything having been read before."""
    assert lazy == PLAIN
    assert LazyMapping(PLAIN, PLAIN.get) == LazyMapping(PLAIN, PLAIN.get)
    other = {**PLAIN, "commit": "cd34"}
    assert (LazyMapping(PLAIN, PLAIN.get) != PLAIN) is operator.ne(PLAIN, LazyMapping(PLAIN, PLAIN.get)) is False
    assert LazyMapping(PLAIN, PLAIN.get) != other and other != LazyMapping(PLAIN, PLAIN.get) and lazy != 3
    assert "{commit}".format(**LazyMapping(PLAIN, PLAIN.get)) == "ab12"


def test_values_are_made_once_and_not_before_they_are_asked_for():
    """Each may cost the reading of a file."""
    read = []
    lazy = LazyMapping(PLAIN, lambda name: read.append(name) or PLAIN[name])
    assert list(lazy) == list(PLAIN) and "commit" in lazy and len(lazy) == 2 and read == []
    assert lazy["commit"] == lazy.get("commit") == "ab12" and read == ["commit"]
    lazy["dirty"] = True
    assert dict(lazy) == {"commit": "ab12", "dirty": True} and read == ["commit"]
    with pytest.raises(KeyError):
        lazy.pop("none")
    assert lazy.pop("none", 1) == 1 and lazy.setdefault("none", 2) == lazy["none"] == 2
