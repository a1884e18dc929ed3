"""Whatever an update names, at whatever depth, it ends in the result."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.config.dicts import ConfigDict
from capture.config.scope import ConfigScope
from capture.config.updates import iter_flattened, merge, prefixes
from capture.config.values import equal

names = st.sampled_from(["a", "b", "c", "d"])
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.tuples(st.integers())
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
configs = st.dictionaries(names, values, max_size=4)


def covers(result, update):
    """Say whether each entry of `update` stands in `result`."""
    if isinstance(update, dict) and isinstance(result, dict):
        return all(key in result and covers(result[key], value) for key, value in update.items())
    return equal(result, update)


def as_scope(config):
    """Return a scope that assigns `config`, and then does to each entry what might undo an update of it."""
    lines = ["def cfg():", "    pass"]
    for name in config:
        lines += [
            f"    {name} = copy.deepcopy(config[{name!r}])",
            f"    {name} = copy.copy({name})",
            f"    if isinstance({name}, dict):",
            f"        {name}['a'] = {name}['b'] = 'meddled'",
            f"        {name}.update(c='meddled')",
            f"        {name} |= {{'d': ['meddled']}}",
            f"        {name}.pop('a', None)",
            f"        if 'b' in {name}: del {name}['b']",
            f"        {name}.setdefault('b', {{}})",
            f"    elif isinstance({name}, list):",
            f"        {name}.append('meddled')",
            f"        {name} += ['meddled']",
            f"        {name}[0] = 'meddled'",
        ]
    module = {"copy": copy, "config": config}
    exec("\n".join(lines), module)
    return ConfigScope(module["cfg"])


@given(configs, configs, configs)
def test_every_update_ends_in_the_result(config, update, preset):
    """A run with `lr=0.1` that is not run with lr=0.1 is the worst thing a config engine can do."""
    before = copy.deepcopy((config, update, preset))
    for source in (as_scope(config), ConfigDict(config)):
        result = source(update, preset)
        assert covers(result, update)
        assert covers(result, {name: preset[name] for name in preset if name not in config and name not in update})
        assert not result.added & result.modified
    assert repr((config, update, preset)) == repr(before)


@pytest.mark.slow
@given(configs, configs)
def test_without_updates_a_source_says_what_it_says(config, preset):
    """Precedence is own over preset, merged by key, whatever the kind of source."""
    expected = merge(preset, config)
    assert equal(dict(ConfigDict(config)(preset=preset)), expected)


@pytest.mark.slow
@given(configs, configs)
def test_what_is_added_is_what_the_source_does_not_have(config, update):
    """An update that is neither added nor declared would never be reported as a slip."""
    added = ConfigDict(config)(update).added
    assert {name for name in update if name not in config} <= added
    assert not added & paths(config)
    assert added <= paths(update)


def paths(nested):
    """Return the dotted paths of all entries and groups of `nested`."""
    return {prefix for path, _ in iter_flattened(nested) for prefix in prefixes(path)}
