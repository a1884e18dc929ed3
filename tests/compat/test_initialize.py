"""Putting a configuration together by hand, as launchers do, gives what the library itself gives."""

from __future__ import annotations

from copy import copy, deepcopy

import pytest

from capture import Experiment, Ingredient
from capture.errors import MissingConfigError, NamedConfigNotFoundError, SignatureError

STATE = ("config_updates", "named_configs_to_use", "config", "fallback", "presets", "fixture", "logger", "seed", "rnd")


def experiment():
    paths = Ingredient("dataset.paths")

    @paths.config
    def where():
        base = "/data"
        file = base + "/x"

    dataset = Ingredient("dataset", ingredients=[paths])

    @dataset.config
    def data(paths):
        size = 10
        source = paths["file"]

    @dataset.named_config
    def small():
        size = 2

    ex = Experiment("x", ingredients=[dataset])

    @ex.config
    def config(dataset):
        lr = 0.1
        steps = int(lr * 100)
        model = {"width": 8, "act": "relu"}
        n = dataset["size"]

    @ex.named_config
    def fast():
        lr = 1.0
        dataset = {"size": 3}

    @ex.config_hook
    def hook(config, command_name, logger):
        return {"total": config["lr"] * config["steps"]}

    @ex.main
    def main(lr, steps, model, n, total, _seed):
        return lr

    return ex


def by_hand(ex, updates, named):
    """The steps as seml 0.5.7 takes them, the state copied and set back between two configurations."""
    from sacred.initialize import (
        create_scaffolding,
        distribute_config_updates,
        distribute_presets,
        gather_ingredients_topological,
        get_configuration,
        get_scaffolding_and_config_name,
    )
    from sacred.utils import convert_to_nested_dict, iterate_flattened, join_paths, recursive_update, set_by_dotted_path

    scaffolding = create_scaffolding(ex, gather_ingredients_topological(ex))
    state = deepcopy({path: {key: getattr(each, key) for key in STATE} for path, each in scaffolding.items()})
    prefixes = sorted([path.split(".") for path in scaffolding if path], reverse=True, key=len)
    for _ in range(2):  # the second time over must not see what the first left
        for path, each in scaffolding.items():
            for key, value in state[path].items():
                setattr(each, key, copy(value))
        config_updates = convert_to_nested_dict(updates)
        distribute_config_updates(prefixes, scaffolding, config_updates)
        for name in named:
            scaffold, short = get_scaffolding_and_config_name(name, scaffolding)
            scaffold.gather_fallbacks()
            entries = scaffold.run_named_config(short)
            distribute_presets(scaffold.path, prefixes, scaffolding, entries)
            for key, value in iterate_flattened(entries):
                set_by_dotted_path(config_updates, join_paths(scaffold.path, key), value)
        distribute_config_updates(prefixes, scaffolding, config_updates)
        for scaffold in scaffolding.values():
            scaffold.gather_fallbacks()
            scaffold.set_up_config()
            config = get_configuration(scaffolding)
            recursive_update(scaffold.config, scaffold.run_config_hooks(config, ex.default_command, None))
        for scaffold in reversed(list(scaffolding.values())):
            scaffold.set_up_seed()
    return get_configuration(scaffolding), scaffolding


@pytest.mark.parametrize(
    ("updates", "named"),
    [
        ({}, ()),
        ({"lr": 0.5}, ()),
        ({"model.width": 64, "dataset.size": 7}, ()),
        ({"dataset.paths.base": "/scratch"}, ()),
        ({}, ("fast",)),
        ({}, ("dataset.small",)),
        ({"lr": 0.25, "seed": 5}, ("fast", "dataset.small")),
    ],
    ids=repr,
)
def test_the_steps_lead_to_the_config_that_a_run_has(updates, named, as_sacred):
    """A launcher that checks, hashes and stores another config than the one that runs would find no run again."""
    ex = experiment()
    config, scaffolding = by_hand(ex, {"seed": 3, **updates}, named)
    assert config == ex.build_config({"seed": 3, **updates}, named)
    assert scaffolding[""].get_fixture()["dataset"]["paths"]["file"].endswith("/x")


def test_seeds_follow_from_that_of_the_experiment(as_sacred):
    """The same seed gives each ingredient the same one again, another than its neighbours'."""
    ex = experiment()
    _, scaffolding = by_hand(ex, {"seed": 3}, ())
    assert scaffolding[""].seed == 3 and scaffolding["dataset"].seed != scaffolding["dataset.paths"].seed
    _, again = by_hand(ex, {"seed": 3}, ())
    assert {path: each.seed for path, each in again.items()} == {path: each.seed for path, each in scaffolding.items()}
    assert again[""].generate_seed and "seed" not in again["dataset"].config


def test_a_named_config_that_is_not_there_is_named(as_sacred):
    """With those that there are."""
    from sacred.initialize import create_scaffolding, gather_ingredients_topological, get_scaffolding_and_config_name

    ex = experiment()
    scaffolding = create_scaffolding(ex, gather_ingredients_topological(ex))
    with pytest.raises(NamedConfigNotFoundError, match="fast"):
        scaffolding[""].run_named_config("fats")
    with pytest.raises(KeyError, match="dataset"):
        get_scaffolding_and_config_name("nothing.fast", scaffolding)


def test_a_run_is_made_and_its_main_function_asked_what_it_takes(as_sacred):
    """How a launcher finds out that an update is misspelt, or a value missing, before a job waits for its turn."""
    from sacred.initialize import create_run
    from sacred.utils import ConfigAddedError

    ex = experiment()
    run = create_run(ex, ex.default_command, config_updates=None, named_configs=())
    assert run.config["lr"] == 0.1 and run.status is None
    construct = run.main_function.signature.construct_arguments
    specials = dict.fromkeys(ConfigAddedError.SPECIAL_ARGS)
    args, kwargs = construct((), {}, {**run.config, **specials}, False)
    assert args == () and kwargs["lr"] == 0.1 and kwargs["_seed"] is None and "dataset" not in kwargs
    with pytest.raises(MissingConfigError, match="total") as caught:
        construct((), {}, {name: value for name, value in run.config.items() if name != "total"} | specials)
    assert caught.value.missing_configs == ("total",)
    with pytest.raises(SignatureError, match="nothing"):
        construct((), {"nothing": 1}, run.config)
    with pytest.raises(SignatureError, match="lr"):
        construct((1,), {"lr": 1}, run.config)
    with pytest.raises(SignatureError, match="7"):
        construct((1, 2, 3, 4, 5, 6, 7), {}, {})


def test_sources_of_others_are_asked_like_ours(as_sacred):
    """seml appends callables to ex.configurations, which answer in Sacred's form, and add an observer meanwhile."""
    from sacred.config.config_summary import ConfigSummary
    from sacred.config.utils import dogmatize, recursive_fill_in, undogmatize
    from sacred.observers import RunObserver

    class Told(RunObserver):
        def __init__(self):
            self.started = 0

        def started_event(self, **facts):
            self.started += 1

    class Source:
        def __init__(self, ex, observer):
            self.ex, self.observer = ex, observer

        def __call__(self, fixed=None, preset=None, fallback=None):
            result = dogmatize(fixed or {})
            recursive_fill_in(result, {"overwrite": None, "group": {"a": 1, "b": [1]}})
            recursive_fill_in(result, preset or {})
            added = result.revelation()
            summary = ConfigSummary(added, result.modified, result.typechanges)
            summary.update(undogmatize(result))
            if summary["overwrite"] is not None:
                self.ex.observers.append(self.observer)
            return summary

    class Plain:
        def __call__(self, fixed=None, preset=None, fallback=None):
            return {"plain": preset["lr"] + 1}

    ex = experiment()
    observer = Told()
    ex.configurations += [Source(ex, observer), Plain()]
    run = ex.run(config_updates={"overwrite": 3, "group.a": 2, "seed": 1})
    assert observer.started == 1 and run.observers == [observer]
    assert run.config["group"] == {"a": 2, "b": [1]} and run.config["plain"] == 1.1
    assert {"overwrite", "group", "group.a"} <= run.config_modifications.modified
    assert not run.config_modifications.added
    assert ex.build_config({"group.new": 1, "lr": 1.0})["group"] == {"a": 1, "b": [1], "new": 1}
    assert "Source" in run.resolved.explain("overwrite")
