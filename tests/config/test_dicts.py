"""Config dicts, and what every source hands back: summaries with origins."""

from __future__ import annotations

import copy
import pickle
import types

import pytest

import capture.config
from capture.config import ConfigDict, ConfigSummary, Origin
from capture.config.values import KeyRules
from capture.errors import ConfigTypeError, InvalidConfigKey


def test_entries_win_over_presets_and_updates_over_both():
    """The precedence of all sources: fixed, own, preset; dicts are merged."""
    source = ConfigDict({"a": 1, "f": {"x": 1, "y": 2}})
    result = source({"f": {"y": 3}, "new": {"i": 1}}, {"a": 0, "b": 2, "f": {"z": 4, "x": 0}}, {"ignored": 1})
    assert result == {"a": 1, "b": 2, "f": {"x": 1, "y": 3, "z": 4}, "new": {"i": 1}}
    assert result.added == {"new", "new.i"}
    assert result.modified == {"f", "f.y"}
    assert result.typechanged == {}
    assert result.defaults == {"f.y": 2}
    assert (result.docs, result.lines, result.ignored_fallbacks) == ({}, {}, set())


def test_updates_of_another_type_are_reported():
    """As in config scopes."""
    assert ConfigDict({"a": 1, "f": {"x": 1}})({"a": "b", "f": 3}).typechanged == {"a": (int, str), "f": (dict, int)}


def test_the_callers_dict_is_not_touched():
    """Neither by us, nor does it reach into the config later."""
    entries = {"list": [1], "f": {"x": [1]}}
    before = copy.deepcopy(entries)
    source = ConfigDict(entries)
    result = source({"f": {"y": 1}}, {"f": {"z": 1}})
    result["list"].append(2)
    result["f"]["x"].append(2)
    assert entries == before
    entries["list"].append(3)
    assert source() == before


def test_keys_are_checked_when_the_dict_is_added():
    """That is where the mistake is."""
    with pytest.raises(InvalidConfigKey, match=r"path: +f\.a\.b"):
        ConfigDict({"f": {"a.b": 1}})
    assert ConfigDict({"f": {"a.b": 1}}, rules=KeyRules(mongo_compatible=False))() == {"f": {"a.b": 1}}
    recursive: dict = {}
    recursive["a"] = recursive
    with pytest.raises(ConfigTypeError, match="a: the value contains itself"):
        ConfigDict(recursive)
    with pytest.raises(TypeError, match="is a list, not a dict"):
        ConfigDict([1])


def test_any_mapping_will_do():
    """A mapping proxy, for example."""
    assert ConfigDict(types.MappingProxyType({"a": 1}))() == {"a": 1}


def test_a_dict_has_an_origin():
    """print_config says who set what."""
    assert str(ConfigDict({}).origin) == "config dict"
    origin = Origin("config file", "conf.yaml", "/home/me/conf.yaml")
    assert ConfigDict({}, origin).origin is origin


def test_origins_are_values():
    """They are compared, hashed, pickled and printed."""
    origin = Origin("config scope", "defaults", "/home/me/train.py", 12)
    assert str(origin) == "config scope defaults (train.py:12)"
    assert str(origin.at(14)) == "config scope defaults (train.py:14)"
    assert origin.at(None) is origin
    assert origin == pickle.loads(pickle.dumps(origin)) == copy.deepcopy(origin)
    assert {origin: 1}[Origin("config scope", "defaults", "/home/me/train.py", 12)] == 1
    assert origin != origin.at(13)
    assert origin != "config scope"
    assert str(Origin("command line")) == "command line"
    assert str(Origin("config file", "a/conf.yaml", "a/conf.yaml")) == "config file a/conf.yaml"
    with pytest.raises(AttributeError, match="immutable"):
        origin.line = 3
    with pytest.raises(AttributeError, match="immutable"):
        del origin.line


def test_an_entry_is_added_only_if_no_source_declares_it():
    """Summaries of the scopes of one experiment are folded with update_from."""
    total = ConfigSummary(added={"a", "b", "c.d"})
    total.update_from(ConfigSummary(added={"a", "c.d", "c"}, modified={"x.y"}, docs={"a": "1"}, lines={"a": 1}))
    total.update_from(ConfigSummary(added={"a", "c.d", "z"}, typechanged={"x.y": (int, str)}, ignored_fallbacks={"i"}))
    assert total.added == {"a", "c.d"}
    assert total.typechanged == {"x.y": (int, str)}
    assert total.modified == {"x", "c"}
    assert (total.ignored_fallbacks, total.docs, total.lines) == ({"i"}, {"a": "1"}, {"a": 1})


def test_summaries_of_ingredients_are_put_under_their_path():
    """update_add shifts every path."""
    total = ConfigSummary(docs={"ing.a": "kept"})
    other = ConfigSummary(
        added={"n"},
        modified={"m"},
        typechanged={"t": (int, str)},
        ignored_fallbacks={"i"},
        docs={"a": "not this", "b": "this"},
        lines={"a": 3},
        defaults={"m": 1},
    )
    total.update_add(other, "ing")
    assert (total.added, total.modified) == ({"ing.n"}, {"ing", "ing.m"})
    assert total.typechanged == {"ing.t": (int, str)}
    assert total.ignored_fallbacks == {"ing.i"}
    assert total.docs == {"ing.a": "kept", "ing.b": "this"}
    assert (total.lines, total.defaults) == ({"ing.a": 3}, {"ing.m": 1})


def test_summaries_survive_pickling():
    """They travel with runs to other processes."""
    summary = ConfigSummary(added={"a"}, values={"a": 1})
    again = pickle.loads(pickle.dumps(summary))
    assert (again, again.added, dict(again)) == (summary, {"a"}, {"a": 1})


def test_the_rooms_names_are_found():
    """What Sacred's users import from `sacred.config`."""
    for name in capture.config.__all__:
        assert getattr(capture.config, name).__name__ == name
    assert set(capture.config.__all__) <= set(dir(capture.config))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        capture.config.nothing
