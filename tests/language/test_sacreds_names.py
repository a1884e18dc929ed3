"""Modules and helpers that code written for Sacred imports."""

from __future__ import annotations

import importlib

import pytest

from capture import utils


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("capture", "Experiment Ingredient observers host_info_getter host_info_gatherer cli_option SETTINGS __version__"),
        ("capture", "__author__ __author_email__ __url__"),
        ("capture.observers", "FileStorageObserver RunObserver"),
        ("capture.utils", " ".join(utils.__all__)),
        ("capture.settings", "SETTINGS"),
        ("capture.run", "Run"),
        ("capture.config", "ConfigScope ConfigDict load_config_file save_config_file"),
        ("capture.host_info", "host_info_gatherer host_info_getter HostInfoGetter IgnoreHostInfo get_host_info"),
        ("capture.commandline_options", "cli_option CommandLineOption"),
        ("capture.experiment", "Experiment"),
        ("capture.ingredient", "Ingredient"),
        ("capture.randomness", "get_seed create_rnd set_global_seed"),
        ("capture.serializer", "flatten restore"),
    ],
)
def test_a_documented_module_has_its_documented_names(module, names):
    """A move from Sacred shall cost one changed import."""
    found = importlib.import_module(module)
    assert [name for name in names.split() if not hasattr(found, name)] == []


def test_nested_dicts_are_updated_in_place():
    """`recursive_update` is what configs are merged with in many scripts."""
    d = {"a": {"b": 1}, "c": 2}
    assert utils.recursive_update(d, {"a": {"d": 3}, "c": {"e": 4}}) is d
    assert d == {"a": {"b": 1, "d": 3}, "c": {"e": 4}}


def test_dotted_paths():
    """The small change of every Sacred plug-in."""
    assert list(utils.iterate_flattened({"a": {"b": 1}, "c": 2})) == [("a.b", 1), ("c", 2)]
    assert list(utils.iterate_flattened_separately({"b": {"x": 1}, "a": 2})) == [
        ("a", 2),
        ("b", utils.PATHCHANGE),
        ("b.x", 1),
    ]
    d: dict = {}
    utils.set_by_dotted_path(d, "a.b", 1)
    assert d == {"a": {"b": 1}} and utils.get_by_dotted_path(d, "a.b") == 1
    assert utils.get_by_dotted_path(d, "x.y", default=7) == 7
    assert utils.get_by_dotted_path(d, "") == d
    assert utils.join_paths("", "a", "b.c") == "a.b.c"
    assert utils.convert_to_nested_dict({"a.b": 1, "a.c": 2}) == {"a": {"b": 1, "c": 2}}
    assert utils.rel_path("a.b", "a.b.c") == "c"
    with pytest.raises(ValueError, match="does not lead"):
        utils.rel_path("a.b", "a.c")


def test_the_rest_of_the_helpers():
    """One line each is enough to keep the names alive."""

    class Base: ...

    class Below(Base): ...

    assert utils.get_inheritors(Base) == {Below}
    assert utils.convert_camel_case_to_snake_case("FooBar") == "foo_bar"
    assert utils.PYTHON_IDENTIFIER.match("a_1") and not utils.PYTHON_IDENTIFIER.match("1a")
    assert utils.NO_LOGGER.disabled
    assert utils.apply_backspaces_and_linefeeds("ab\bc\n") == "ac\n"

    @utils.optional_kwargs_decorator
    def tag(function, name="none"):
        function.tag = name
        return function

    @tag
    def f(): ...

    @tag(name="x")
    def g(): ...

    assert (f.tag, g.tag) == ("none", "x")


def test_an_interval_timer_calls_until_it_is_stopped_and_once_more():
    """Sacred's heartbeat was made of it."""
    calls = []
    stop, timer = utils.IntervalTimer.create(lambda: calls.append(1), interval=0.001)
    timer.start()
    while len(calls) < 3:
        pass
    stop.set()
    timer.join(60)
    assert not timer.is_alive() and len(calls) >= 4
