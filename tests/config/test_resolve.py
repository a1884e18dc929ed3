"""How a whole configuration is put together, and who is said to have set what."""



import copy
import itertools
import pickle
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.config.dicts import ConfigDict
from capture.config.layers import OVERRIDDEN
from capture.config.origin import Origin
from capture.config.resolve import Node, check_additions, resolve
from capture.config.scope import ConfigScope
from capture.config.summary import ConfigSummary
from capture.config.typed import TypedSource
from capture.config.updates import flatten, get_by_path, iter_flattened, merge
from capture.errors import (
    CircularDependencyError,
    ConfigAddedError,
    ConfigError,
    ConfigTypeError,
    InvalidConfigError,
    InvalidConfigKey,
    MissingConfigError,
    NamedConfigNotFoundError,
)


class Entries:
    """The smallest config source there can be: any object with this call, docs and an origin will do."""

    def __init__(self, *args, **kwargs):
        self.entries = dict(*args, **kwargs)
        self.docs = {}
        self.origin = Origin("config dict", ",".join(self.entries))

    def __call__(self, fixed=None, preset=None, fallback=None):
        summary = ConfigSummary(values=copy.deepcopy(merge(merge(preset or {}, self.entries), fixed or {})))
        declared = flatten(self.entries)
        summary.added = {path for path in flatten(fixed or {}) if path not in declared}
        return summary


def override(source):
    source.override = True
    return source


# ---------------------------------------------------------------------------------------------- precedence


def test_an_update_wins_over_everything_and_dependants_follow():
    """This is what overriding an entry means: the rest of the config is computed from the new value."""

    @ConfigScope
    def scope():
        lr = 0.1
        decay = lr / 10

    root = Node("", [scope], {"fast": Entries(lr=5.0)}, [lambda config, command_name, logger: {"lr": 7.0}])
    resolved = resolve(root, {"lr": 1.0}, ["fast"])
    assert resolved.values == {"lr": 1.0, "decay": 0.1}


@pytest.mark.parametrize(
    ("named", "lr"), [([], 0.1), (["a"], 1), (["a", "b"], 2), (["b", "a"], 1), (["a", "b", "a"], 1)]
)
def test_a_later_named_config_wins_over_an_earlier_one(named, lr):
    """`with a b` is read from left to right."""
    root = Node("", [Entries(lr=0.1)], {"a": Entries(lr=1), "b": Entries(lr=2)})
    assert resolve(root, named=named).values == {"lr": lr}


def test_a_named_config_sees_what_earlier_ones_and_updates_set():
    """Named configs build on each other, so `with big bigger` can double what `big` chose."""

    @ConfigScope
    def doubled(width):
        depth = width * 2

    root = Node("", [Entries(width=1, depth=1)], {"wide": Entries(width=8), "doubled": doubled})
    assert resolve(root, named=["wide", "doubled"]).values == {"width": 8, "depth": 16}
    assert resolve(root, {"width": 3}, named=["wide", "doubled"]).values == {"width": 3, "depth": 6}


def test_later_sources_overwrite_earlier_ones_without_recomputing_them():
    """A documented rule: only what comes from above (updates, named configs, overrides) reaches computed entries."""

    @ConfigScope
    def first():
        a = 1
        b = a

    assert resolve(Node("", [first, Entries(a=2)])).values == {"a": 2, "b": 1}
    assert resolve(Node("", [first], {"two": Entries(a=2)}), named=["two"]).values == {"a": 2, "b": 2}
    assert resolve(Node("", [first, override(Entries(a=2))])).values == {"a": 2, "b": 2}


def test_an_overriding_source_is_weaker_than_named_configs_and_updates():
    """It is part of the experiment's defaults; whoever starts the run has the last word."""
    root = Node("", [Entries(a=1), override(Entries(a=2, c=9))], {"three": Entries(a=3)})
    assert resolve(root).values == {"a": 2, "c": 9}
    assert resolve(root, named=["three"]).values["a"] == 3
    assert resolve(root, {"a": 4}, ["three"]).values["a"] == 4
    assert resolve(root).summary.added == set()


def test_hooks_come_after_scopes_and_under_updates():
    """A hook corrects the config as a whole, but never what the user asked for."""
    seen = []

    def hook(config, command_name, logger):
        seen.append((copy.deepcopy(config), command_name))
        config["model"]["width"] = "changed in place, which reaches nobody"
        return {"model": {"width": 2, "depth": 2}, "extra": {}}

    root = Node("", [Entries(model={"width": 1, "depth": 1}, lr=0.1)], hooks=[hook, lambda *_: None])
    resolved = resolve(root, {"model.depth": 9}, command_name="train")
    assert resolved.values == {"model": {"width": 2, "depth": 9}, "lr": 0.1, "extra": {}}
    assert seen == [({"model": {"width": 1, "depth": 9}, "lr": 0.1}, "train")]


def test_a_hook_that_returns_something_else_is_named():
    """The traceback would end in our code, which helps nobody."""

    def my_hook(config, command_name, logger):
        return 3

    with pytest.raises(ConfigTypeError, match=r"my_hook.*returned 3"):
        resolve(Node("", [], hooks=[my_hook]))


def test_extra_updates_are_stronger_each_than_the_one_before():
    """A sweep's point lies over the command line it was started with, and is named as what set the entry."""
    root = Node("", [Entries(a=0, b=0, c=0)])
    resolved = resolve(root, {"a": 1, "b": 1}, update_layer="command line", extra=[("sweep", {"b": 2}), ("x", {})])
    assert resolved.values == {"a": 1, "b": 2, "c": 0}
    assert [str(resolved.origins[key]) for key in "ab"] == ["command line", "sweep"]


def test_empty_groups_are_kept():
    """An empty dict is a value too; dropping it breaks functions that ask for it."""
    root = Node("", [Entries(a={})], {"n": Entries(b={})})
    assert resolve(root, {"c": {}, "d.e": {}}, ["n"]).values == {"a": {}, "b": {}, "c": {}, "d": {"e": {}}}


def test_values_may_be_any_object():
    """Locks, generators and modules cannot be copied; main still gets the very object."""
    generator = (i for i in range(3))
    root = Node("", [ConfigScope(lambda: {"g": generator})], hooks=[lambda *_: {"h": generator}])
    resolved = resolve(root, {"u": generator})
    assert [resolved.values[key] for key in "ghu"] == [generator] * 3


# ---------------------------------------------------------------------------------------------- ingredients


def dataset(**kwargs):
    paths = Node("dataset.paths", [Entries(base="/data")], {"tmp": Entries(base="/tmp")})
    return Node("dataset", [Entries(batch=32)], {"small": Entries(batch=4)}, children=[paths], **kwargs)


def test_ingredients_lie_at_their_paths_and_updates_find_them():
    """The longest matching path decides: `dataset.paths.base` is an entry of the ingredient `dataset.paths`."""
    root = Node("", [Entries(lr=0.1)], children=[dataset()])
    resolved = resolve(root, {"dataset.paths.base": "/x", "dataset": {"batch": 1, "new": 2}})
    assert resolved.values == {"lr": 0.1, "dataset": {"batch": 1, "new": 2, "paths": {"base": "/x"}}}
    assert resolved.view("dataset.paths") == {"base": "/x"}
    assert resolved.view("dataset") == {"batch": 1, "new": 2, "paths": {"base": "/x"}}
    assert resolved.view("") == resolved.values
    assert resolved.summary.added == {"dataset.new"}


def test_nothing_of_an_ingredient_leaks_to_the_root():
    """In Sacred the order of two named configs decided whether the ingredient's entries showed up in the experiment."""
    root = Node("", [Entries(b="b")], {"named": Entries(b="n")}, children=[dataset()])
    expected = {"b": "n", "dataset": {"batch": 4, "paths": {"base": "/tmp"}}}
    for order in itertools.permutations(["dataset.small", "named", "dataset.paths.tmp"]):
        resolved = resolve(root, named=order)
        assert resolved.values == expected
        assert set(resolved.view("")) == {"b", "dataset"}
        assert resolved.summary.added == set()


def test_an_unset_ingredient_leaves_no_empty_group_behind():
    """An update of a deep ingredient must not make an empty `dataset` entry in the experiment."""
    root = Node("", [Entries(a=1)], children=[Node("dataset.paths", [Entries(base=1)])])
    resolved = resolve(root, {"dataset.paths.base": 2})
    assert resolved.values == {"a": 1, "dataset": {"paths": {"base": 2}}}
    assert resolved.summary.added == set()


def test_an_experiments_named_config_sets_entries_of_ingredients():
    """One name for a whole setting, data and model together; later names still win."""
    root = Node("", [Entries(lr=0.1)], {"big": Entries(lr=1, dataset={"batch": 512})}, children=[dataset()])
    assert resolve(root, named=["big"]).values["dataset"]["batch"] == 512
    assert resolve(root, named=["big", "dataset.small"]).values["dataset"]["batch"] == 4
    assert resolve(root, named=["dataset.small", "big"]).values["dataset"]["batch"] == 512
    assert resolve(root, {"dataset.batch": 7}, ["big"]).values["dataset"]["batch"] == 7


def test_a_scope_reads_its_ingredients_but_cannot_write_them():
    """The ingredient is complete by then; a silent write would be lost."""

    @ConfigScope
    def scope(dataset):
        steps = 1000 // dataset["batch"]
        base = dataset["paths"]["base"]

    assert resolve(Node("", [scope], children=[dataset()]), {"dataset.batch": 10}).values["steps"] == 100

    for source in (Entries(dataset={"batch": 3}, lr=1), ConfigScope(lambda: {"dataset": 3, "lr": 1})):
        resolved = resolve(Node("", [source], children=[dataset()]))
        assert resolved.values == {"lr": 1, "dataset": {"batch": 32, "paths": {"base": "/data"}}}
        assert [w.path for w in resolved.warnings] == ["dataset"]
        assert 'Ignored attempt to set value of "dataset", because it is an ingredient.' in resolved.warnings[0].text


def test_a_named_config_reads_its_ingredients_too():
    """Asked for in Sacred for years: there it found an ingredient without entries."""

    @ConfigScope
    def double(dataset):
        steps = dataset["batch"] * 2

    root = Node("", [Entries(steps=1)], {"double": double}, children=[dataset()])
    assert resolve(root, named=["double"]).values["steps"] == 64
    assert resolve(root, named=["dataset.small", "double"]).values["steps"] == 8
    assert resolve(root, {"dataset.batch": 5}, named=["double"]).values["steps"] == 10
    assert resolve(root, named=["double"]).values["dataset"] == {"batch": 32, "paths": {"base": "/data"}}


def test_an_ingredients_functions_see_the_common_prefix_dropped():
    """`dataset.paths` is `paths` to the functions of `dataset`; another path stays as it is."""
    other = Node("model", [Entries(width=8)])
    middle = Node("dataset", [Entries(batch=1)], children=[Node("dataset.paths", [Entries(base=1)]), other])
    resolved = resolve(Node("", [], children=[middle]))
    assert resolved.view("dataset") == {"batch": 1, "paths": {"base": 1}, "model": {"width": 8}}
    assert resolved.values == {"dataset": {"batch": 1, "paths": {"base": 1}}, "model": {"width": 8}}
    assert resolved.locate("dataset", "paths.base") == "dataset.paths.base"
    assert resolved.locate("dataset", "model") == "model"
    assert resolved.locate("dataset", "batch") == "dataset.batch"
    assert resolved.locate("", "dataset.batch") == "dataset.batch"


def test_a_hook_may_correct_ingredients_and_an_ingredient_has_hooks_of_its_own():
    """Checking an ingredient's config against the experiment's is what hooks are for."""
    child = dataset(hooks=[lambda config, *_: {"doubled": config["dataset"]["batch"] * 2}])
    root = Node("", [Entries(lr=1)], hooks=[lambda config, *_: {"dataset": {"batch": 1}}], children=[child])
    assert resolve(root).values["dataset"] == {"batch": 1, "doubled": 64, "paths": {"base": "/data"}}
    assert resolve(root, {"dataset.batch": 3}).values["dataset"]["batch"] == 3


@pytest.mark.parametrize(
    ("updates", "named", "who"),
    [
        ({"dataset": 3}, [], "config_updates"),
        ({"dataset.paths": None}, [], "config_updates"),
        ({}, ["wrong"], "named config wrong"),
    ],
)
def test_a_value_in_the_place_of_an_ingredient_is_refused(updates, named, who):
    """It would replace all entries of the ingredient by one number."""
    root = Node("", [Entries(lr=1)], {"wrong": Entries(dataset=3)}, children=[dataset()])
    with pytest.raises(ConfigError, match="stands in the place of an ingredient") as caught:
        resolve(root, updates, named)
    assert who in str(caught.value)
    assert ".KEY=VALUE" in str(caught.value)


def test_an_ingredient_used_twice_is_resolved_once():
    """Two ingredients may share a third; it has one config."""
    calls = []

    def source(fixed=None, preset=None, fallback=None):
        calls.append(1)
        return ConfigSummary(values={"x": 1, **(fixed or {})})

    source.docs, source.origin = {}, Origin("test")
    shared = Node("shared", [source])
    root = Node("", children=[Node("a", children=[shared]), Node("b", children=[shared])])
    assert resolve(root, {"shared.x": 2}).values == {"shared": {"x": 2}}
    assert calls == [1]


def test_impossible_trees_are_refused():
    """Both are mistakes in the experiment, found before anything runs."""
    with pytest.raises(ConfigError, match=r"not unique.*'a'"):
        resolve(Node("", children=[Node("a"), Node("b", children=[Node("a")])]))
    a = Node("a")
    a.children = (Node("b", children=[a]),)
    with pytest.raises(CircularDependencyError, match="a->b->a"):
        resolve(Node("", children=[a]))


# ---------------------------------------------------------------------------------------------- named configs


def test_named_configs_are_found_by_path_and_name():
    """The experiment's own name may stand in front, as `print_named_configs` shows it."""
    root = Node("", [], {"big": Entries(a=1), "v1.2": Entries(a=2)}, children=[dataset()], name="digits")
    assert resolve(root, named=["big"]).values["a"] == 1
    assert resolve(root, named=["digits.big"]).values["a"] == 1
    assert resolve(root, named=["v1.2"]).values["a"] == 2
    assert resolve(root, named=["dataset.paths.tmp"]).values["dataset"]["paths"]["base"] == "/tmp"


def test_an_unknown_name_lists_what_there_is():
    """It is mostly a slip, or a forgotten KEY=."""
    root = Node("", [], {"big": Entries(a=1)}, children=[dataset()])
    with pytest.raises(NamedConfigNotFoundError, match=r"dataset\.smal") as caught:
        resolve(root, named=["dataset.smal"])
    assert caught.value.suggestion == "dataset.small"
    assert caught.value.known == ("big", "dataset.paths.tmp", "dataset.small")


def test_a_file_wins_over_a_named_config_of_that_name():
    """The caller says what is a file; here nothing touches a disk."""
    files = {"big": Entries(a="file"), "conf.yaml": Entries(a="yaml", dataset={"batch": 2})}
    root = Node("", [], {"big": Entries(a="named")}, children=[dataset()])
    assert resolve(root, named=["big"], load_file=files.get).values["a"] == "file"
    resolved = resolve(root, named=["conf.yaml"], load_file=files.get)
    assert resolved.values["a"] == "yaml"
    assert resolved.values["dataset"]["batch"] == 2
    assert resolve(root, named=["big"], load_file=lambda name: None).values["a"] == "named"


# ---------------------------------------------------------------------------------------------- bad updates


@pytest.mark.parametrize(
    ("updates", "error", "words"),
    [
        ({"a": 1, "a.b": 2}, ConfigError, "a=1 and a.b=2 contradict"),
        ({"x": {"$set": 1}}, InvalidConfigKey, "x.$set"),
        ({"x": {"py/reduce": [1]}}, InvalidConfigKey, "py/reduce"),
    ],
)
def test_bad_updates_are_refused_with_their_path(updates, error, words):
    """Whatever a command line or a program passes in, the message names the entry."""
    with pytest.raises(error) as caught:
        resolve(Node("", [Entries(a=0)]), updates)
    assert words in str(caught.value)


def test_recursive_updates_are_refused():
    """No store can hold them, and walking them never ends."""
    loop = {}
    loop["self"] = loop
    with pytest.raises(ConfigError, match=r"contains itself|too deep"):
        resolve(Node("", []), {"a": loop})
    ring = []
    ring.append(ring)
    with pytest.raises(ConfigError, match="contains itself"):
        resolve(Node("", []), {"a": ring})


def test_an_error_of_a_scope_carries_the_config_that_it_arose_in():
    """`InvalidConfigError` lists the values that clash; it needs a config to look them up in."""

    @ConfigScope
    def scope():
        a = 1
        raise InvalidConfigError("bad", conflicting_configs=("a", "b"))

    with pytest.raises(InvalidConfigError) as caught:
        resolve(Node("", [Entries(b=2), scope]))
    assert "a=1" in str(caught.value)
    assert "b=2" in str(caught.value)

    def hook(config, command_name, logger):
        raise InvalidConfigError("bad", conflicting_configs=("b",))

    with pytest.raises(InvalidConfigError, match="b=2"):
        resolve(Node("", [Entries(b=2)], hooks=[hook]))


# ---------------------------------------------------------------------------------------------- typed sources


@dataclass
class Model:
    width: int = 64
    rate: float = 0.5


@dataclass
class Required:
    path: str
    batch: int = 32


def test_types_hold_wherever_a_value_comes_from():
    """YAML reads 1e-4 as a string; a typed entry gets its number from any source, before the class or after it."""
    root = Node(
        "",
        [TypedSource(Model, "model"), Entries(model={"rate": "1e-4"})],
        {"named": Entries(model={"width": "7"})},
        [lambda *_: {"model": {"width": "9"}}],
    )
    assert resolve(root).values == {"model": {"width": 9, "rate": 0.0001}}
    assert resolve(root, {"model.width": "8"}, ["named"]).values == {"model": {"width": 8, "rate": 0.0001}}
    assert resolve(root, named=["named"]).values["model"]["width"] == 7


def test_a_typed_error_names_the_path_in_the_whole_configuration():
    """An ingredient's class does not know where it lies; the message must."""
    root = Node("", children=[Node("net", [TypedSource(Model, "model")])])
    with pytest.raises(ConfigTypeError, match=r"^net\.model\.width: 'x' is not an int") as caught:
        resolve(root, {"net.model.width": "x"})
    assert caught.value.path == "net.model.width"
    with pytest.raises(ConfigTypeError, match=r"did you mean: +net\.model\.width"):
        resolve(root, {"net.model.widht": 1})


def test_a_required_value_may_come_from_any_source():
    """A class declares, a file fills in: in which order they are added should not matter."""
    given = Entries(path="/data")
    for sources in ([TypedSource(Required), given], [given, TypedSource(Required)]):
        assert resolve(Node("", sources)).values == {"path": "/data", "batch": 32}
    assert resolve(Node("", [TypedSource(Required)]), {"path": "/x"}).values["path"] == "/x"
    with pytest.raises(MissingConfigError, match=r"d\.path of Required") as caught:
        resolve(Node("", children=[Node("d", [TypedSource(Required)])]))
    assert caught.value.missing_configs == ("d.path",)


def test_later_scopes_compute_from_the_converted_value():
    """`with rate=1` on a float entry is 1.0 for everyone who reads it."""

    @ConfigScope
    def scope(rate):
        text = repr(rate)

    assert resolve(Node("", [TypedSource(Model), scope]), {"rate": "1"}).values["text"] == "1.0"


# ---------------------------------------------------------------------------------------------- provenance


def test_every_value_knows_who_set_it():
    """`print_config` answers the first question of debugging: why is it this value?"""

    @ConfigScope
    def scope():
        lr = 0.1
        decay = 1

    def hook(config, command_name, logger):
        return {**config, "hooked": True}  # a whole config handed back is not a claim to all of it

    root = Node("", [scope, Entries(decay=2)], {"n": Entries(m=3)}, [hook], [dataset()])
    resolved = resolve(root, {"lr": 0.5, "dataset.batch": 1}, ["n"], update_layer="command line")
    first_line = scope.origin.line
    assert {path: str(origin) for path, origin in resolved.origins.items()} == {
        "lr": "command line",
        "decay": "config dict decay",
        "m": "named config n",
        "hooked": f"config hook hook (test_resolve.py:{hook.__code__.co_firstlineno})",
        "dataset.batch": "command line",
        "dataset.paths.base": "config dict base",
    }
    assert [(o.kind, o.line and o.line - first_line) for o, _ in resolved.history["lr"]] == [
        ("config scope", 2),
        ("command line", None),
    ]
    assert [value for _, value in resolved.history["decay"]] == [1, 2]
    assert set(resolved.origins) == set(flatten(resolved.values))


def test_explain_tells_the_whole_story():
    """From the weakest claim to the one that holds."""

    @ConfigScope
    def scope():
        lr = 0.1  # learning rate

    root = Node("", [Entries(lr=0.3), scope], {"fast": Entries(lr=5.0)})
    lines = resolve(root, {"lr": 0.5}, ["fast"]).explain("lr").split("\n")
    assert lines[0] == "lr = 0.5   # learning rate"
    assert lines[1].split() == ["(overridden)", "config", "dict", "lr"]
    assert "config scope scope (test_resolve.py:" in lines[2]
    assert lines[3].split() == ["(overridden)", "named", "config", "fast"]
    assert lines[4].split() == ["->", "0.5", "config_updates"]


def test_explain_covers_groups_and_refuses_unknown_entries():
    """A group is explained entry by entry; a slip gets a hint."""
    resolved = resolve(Node("", [Entries(model={"width": 8, "depth": 2})]))
    assert resolved.explain("model").count("\n  -> ") == 2
    with pytest.raises(ConfigError, match=r"did you mean: model\.width"):
        resolved.explain("model.widht")


def test_an_entry_can_be_added_after_the_fact():
    """The seed is drawn after everything else is known, and is recorded as drawn."""
    resolved = resolve(Node("", [Entries(a=1)], children=[dataset()]))
    before = resolved.values
    resolved.add("seed", 7, Origin("generated", "random seed"), doc="the random seed")
    resolved.add("dataset.seed", 8, Origin("generated"))
    assert resolved.values["seed"] == 7
    assert resolved.view("dataset")["seed"] == 8
    assert "seed" not in before
    assert str(resolved.origins["seed"]) == "generated random seed"
    assert resolved.docs["seed"] == resolved.summary.docs["seed"] == "the random seed"


def test_docs_and_changes_carry_whole_paths():
    """What an ingredient's comments say is shown at the ingredient's entries."""

    @ConfigScope
    def scope():
        batch = 32  # samples per step
        name = "x"

    root = Node("", [Entries(lr=0.1)], children=[Node("data", [scope])])
    resolved = resolve(root, {"data.batch": 1, "data.name": 3, "data.more": 2})
    assert resolved.docs == {"data.batch": "samples per step"}
    assert resolved.summary.docs == resolved.docs
    assert resolved.summary.added == {"data.more"}
    assert resolved.summary.typechanged == {"data.name": (str, int)}
    assert resolved.summary.modified == {"data", "data.batch"}
    assert [w.text for w in resolved.warnings] == ['Changed type of config entry "data.name" from str to int']


@pytest.mark.parametrize(
    ("old", "new", "warned"),
    [(1, 2.0, False), (1.0, 2, False), (None, 3, False), (1, "1", True), ([1], {}, True), (1, None, True)],
)
def test_a_change_of_type_is_warned_of(old, new, warned):
    """`with lr=O.1` makes a string of a number; ints for floats and values for None are no surprise."""

    @ConfigScope
    def scope(a=old):
        pass

    assert bool(resolve(Node("", [scope]), {"a": new}).warnings) is warned


@ConfigScope
def returned():
    a = 1
    return {"a": a, "group": {"b": 2}, "c": [3]}


@pytest.mark.parametrize(
    "source",
    [ConfigDict({"a": 1, "group": {"b": 2}, "c": [3]}), returned, override(ConfigDict({"a": 1, "c": [3]}))],
    ids=["dict", "returned", "override"],
)
def test_what_a_source_declares_is_not_added(source):
    """In whichever way it is declared; else a proper update would be refused."""
    base = ConfigDict({"group": {"b": 0}})
    resolved = resolve(Node("", [base, source]), {"a": 5, "group.b": 6, "group.new": 7, "c": [8]})
    assert resolved.values == {"a": 5, "group": {"b": 6, "new": 7}, "c": [8]}
    assert resolved.summary.added == {"group.new"}
    assert "group.b" in resolved.summary.modified


def test_an_overridden_value_is_remembered():
    """`explain` shows what the default was, which is what one wants to compare with."""
    root = Node("", [ConfigDict({"lr": 0.1})], {"fast": ConfigDict({"lr": 5.0})})
    lines = resolve(root, {"lr": 0.5}, ["fast"]).explain("lr").split("\n")
    assert [line.split()[-3:] for line in lines[1:]] == [
        ["0.1", "config", "dict"],
        ["named", "config", "fast"],
        ["->", "0.5", "config_updates"],
    ]
    assert "5.0" in lines[2]


def test_a_seed_is_never_an_added_entry():
    """Every experiment and ingredient has one, declared or not."""
    root = Node("", [Entries(a=1)], children=[dataset()])
    resolved = resolve(root, {"seed": 1, "dataset.seed": 2})
    assert resolved.summary.added == set()
    assert {"seed", "dataset.seed"} <= resolved.summary.modified


# ---------------------------------------------------------------------------------------------- added entries


def test_an_added_entry_that_nothing_reads_is_refused_with_a_hint():
    """Most of them are slips, which would otherwise run for days with the default value."""
    root = Node("", [Entries(seed=1, model={"learning_rate": 0.1})], children=[dataset()])
    for slip, meant in [
        ("learning_rat", "model.learning_rate"),
        ("model.learning_rat", "model.learning_rate"),
        ("bacth", "dataset.batch"),
        ("dataset.bath", "dataset.batch"),
        ("BATCH", "dataset.batch"),
        ("lr", "model.learning_rate"),
    ]:
        resolved = resolve(root, {slip: 1}, update_layer="command line")
        with pytest.raises(ConfigAddedError, match="set by the command line") as caught:
            check_additions(resolved, {"model", "dataset"} - {slip.partition(".")[0]})
        assert caught.value.key == slip
        assert caught.value.suggestion == meant
        assert pickle.loads(pickle.dumps(caught.value)).suggestion == meant
        assert check_additions(resolved, set(), force=True) == []


@pytest.mark.parametrize(
    ("read", "passes"),
    [
        ({"a.b"}, True),
        ({"a"}, True),
        ({"a.b.c"}, True),
        ({""}, True),
        ({"a.bb"}, False),
        ({"b"}, False),
        (set(), False),
    ],
)
def test_an_added_entry_that_something_reads_is_only_warned_of(read, passes):
    """A captured function that takes the entry, or the group it lies in, is reason enough to add it."""
    resolved = resolve(Node("", [Entries(x=1)]), {"a.b": 1})
    if passes:
        assert [w.text for w in check_additions(resolved, read)] == ['Added new config entry: "a.b"']
    else:
        with pytest.raises(ConfigAddedError):
            check_additions(resolved, read)


def test_an_entry_that_a_hook_declares_is_not_added():
    """The hook would have set it; the update only changes it."""
    root = Node("", [Entries(x=1)], hooks=[lambda *_: {"h": 1}])
    resolved = resolve(root, {"h": 2})
    assert resolved.values["h"] == 2
    assert check_additions(resolved, ()) == []


def test_a_hook_that_hands_the_config_back_declares_only_what_it_changed():
    """Else the slip of a user would pass, because the hook saw it."""

    def hook(config, command_name, logger):
        config["doubled"] = config["x"] * 2
        return config

    resolved = resolve(Node("", [Entries(x=1)], hooks=[hook]), {"slip": 3, "doubled": 5})
    assert resolved.values == {"x": 1, "slip": 3, "doubled": 5}
    with pytest.raises(ConfigAddedError, match="slip"):
        check_additions(resolved, ())


# ---------------------------------------------------------------------------------------------- properties

names = st.sampled_from(["a", "b", "c"])
leaves = st.one_of(st.integers(0, 3), st.text("xy", max_size=2), st.none(), st.lists(st.integers(0, 2), max_size=2))
groups = st.dictionaries(names, leaves | st.dictionaries(names, leaves, max_size=2), max_size=3)
ingredients = ["one", "two", "two.deep"]


@st.composite
def experiments(draw):
    """An experiment with three ingredients, one inside another, each with sources and named configs."""
    one, two, deep = (
        Node(path, map(Entries, draw(st.lists(groups, max_size=2))), {"n": Entries(draw(groups))})
        for path in ingredients
    )
    two.children = (deep,)
    sources = map(Entries, draw(st.lists(groups, max_size=2)))
    across = draw(st.dictionaries(st.sampled_from(["one", "two"]), groups, max_size=2))
    return Node("", sources, {"n": Entries(draw(groups)), "m": Entries(across)}, children=[one, two])


updates_of = st.dictionaries(st.sampled_from(["one", "two"]), groups, max_size=2)
all_updates = st.builds(lambda own, below: {**own, **below}, groups, updates_of)
named_lists = st.lists(st.sampled_from(["n", "m", "one.n", "two.n", "two.deep.n"]), max_size=3)


@settings(max_examples=60, deadline=None)
@given(experiments(), all_updates, named_lists)
def test_an_update_always_wins_and_nothing_passed_in_changes(root, updates, named):
    """The two promises that everything else rests on."""
    before = copy.deepcopy(updates)
    sources = copy.deepcopy([source.entries for node in (root, *root.children) for source in node.sources])
    resolved = resolve(root, updates, named)
    for path, value in iter_flattened(updates):
        if value != {}:
            assert get_by_path(resolved.values, path) == value
            assert resolved.origins[path] == Origin("config_updates")
    assert updates == before
    assert sources == [source.entries for node in (root, *root.children) for source in node.sources]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(experiments(), all_updates, named_lists)
def test_resolving_twice_gives_the_same_in_any_order_of_ingredients(root, updates, named):
    """A config that depends on the order of unrelated ingredients cannot be reproduced by reading it."""
    first = resolve(root, updates, named)
    again = resolve(root, updates, named)
    assert first.values == again.values
    assert first.origins == again.origins
    root.children = root.children[::-1]
    swapped = resolve(root, updates, named)
    assert swapped.values == first.values
    assert swapped.origins == first.origins
    assert swapped.summary.added == first.summary.added
    for path in ["", *ingredients]:
        assert swapped.view(path) == first.view(path)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(experiments(), named_lists)
def test_what_history_says_last_is_the_value(root, named):
    """A history that contradicts the config would be worse than none."""
    resolved = resolve(root, named=named)
    for path, value in iter_flattened(resolved.values):
        if path in resolved.history:
            assert resolved.history[path][-1][1] in (value, OVERRIDDEN)
        assert path in resolved.origins
