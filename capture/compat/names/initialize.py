"""``sacred.initialize``: the steps by which a configuration is put together, one by one.

The library itself does them in `capture.config.resolve`, and `Experiment.build_config` is the way to have the result.
Packages that take the steps by hand find them here: `Scaffold` holds what is known of one ingredient meanwhile.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from copy import deepcopy

from capture.assembly import create_run as _create_run
from capture.assembly import load_named_file, loggers
from capture.compat.names.config_utils import chain_evaluate_config_scopes, undogmatize
from capture.config.layers import sources_of
from capture.config.readonly import freeze
from capture.config.summary import ConfigSummary
from capture.config.updates import iter_flattened, join_path, set_by_path
from capture.errors import NamedConfigNotFoundError
from capture.randomness import create_rnd, get_seed
from capture.utils import create_basic_stream_logger, is_prefix, recursive_update, rel_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from capture.run import Run


class Scaffold:
    """What is known of one ingredient while its configuration is put together.

    Attributes
    ----------
    path : str
        "" for the experiment.
    subrunners : dict of str to Scaffold
        The ingredients that it lists, by path.
    config_updates : dict
        Entries that win over what sources set.
    presets : dict
        Entries that named configs have set.
    config : dict
        The result so far.
    fallback : dict
        Entries of ingredients, for sources that name them as parameters.
    config_mods : ConfigSummary
        What the updates changed.
    seed, rnd
        The seed, and the generator of those of the ingredients.
    """

    def __init__(
        self,
        config_scopes: Iterable[Any],
        subrunners: Mapping[str, Scaffold],
        path: str,
        captured_functions: Sequence[Any],
        commands: Mapping[str, Any],
        named_configs: Mapping[str, Any],
        config_hooks: Sequence[Any],
        generate_seed: bool,
    ) -> None:
        self.config_scopes = config_scopes
        self.subrunners = subrunners
        self.path = path
        self.captured_functions = captured_functions
        self.commands = commands
        self.named_configs = named_configs
        self.config_hooks = config_hooks
        self.generate_seed = generate_seed
        self.config_updates: dict[str, Any] = {}
        self.named_configs_to_use: list[str] = []
        self.presets: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        self.fallback: Any = None
        self.fixture: dict[str, Any] | None = None
        self.logger: Any = None
        self.seed: int | None = None
        self.rnd: Any = None
        self.config_mods: Any = None
        self.summaries: list[ConfigSummary] = []
        self.captured_args = {
            join_path(function.prefix or "", name)
            for function in captured_functions
            for name in function.signature.arguments
        }

    def _seen(self, path: str) -> str:
        """Return the path of an ingredient as seen from this one."""
        return rel_path(self.path, path) if self.path and is_prefix(self.path, path) else path

    def gather_fallbacks(self) -> None:
        """Offer the configuration of the ingredients to the sources of this one."""
        fallback: dict[str, Any] = {"_log": self.logger}
        for path, below in self.subrunners.items():
            set_by_path(fallback, self._seen(path), freeze(below.config))
        self.fallback = fallback

    def get_config_updates_recursive(self) -> dict[str, Any]:
        """Return the updates of this ingredient and, in their places, of those below it."""
        updates = dict(self.config_updates)
        for path, below in self.subrunners.items():
            if is_prefix(self.path, path) and (inner := below.get_config_updates_recursive()):
                updates[rel_path(self.path, path)] = inner
        return updates

    def use_named_config(self, config_name: str) -> None:
        """Note a named config for this ingredient."""
        self.named_configs_to_use.append(config_name)

    def run_named_config(self, config_name: str) -> dict[str, Any]:
        """Return what a named config, or a config file of that name, sets.

        Raises
        ------
        NamedConfigNotFoundError
        """
        source = load_named_file(config_name)
        if source is None:
            if config_name not in self.named_configs:
                raise NamedConfigNotFoundError(config_name, self.named_configs)
            source = self.named_configs[config_name]
        entries = source(fixed=self.get_config_updates_recursive(), preset=self.presets, fallback=self.fallback)
        return undogmatize(dict(entries))

    def set_up_config(self) -> None:
        """Evaluate the sources."""
        self.config, self.summaries = chain_evaluate_config_scopes(
            sources_of(self._as_node()), fixed=self.config_updates, preset=self.config, fallback=self.fallback
        )
        self.get_config_modifications()

    def _as_node(self) -> Any:
        from capture.config.layers import Node

        return Node(self.path, self.config_scopes)

    def get_config_modifications(self) -> None:
        """Put together what the updates changed."""
        self.config_mods = ConfigSummary(added={path for path, _ in iter_flattened(self.config_updates)})
        for summary in self.summaries:
            self.config_mods.update_from(summary)

    def run_config_hooks(self, config: dict[str, Any], command_name: str | None, logger: Any) -> dict[str, Any]:
        """Return what the config hooks set, with the updates over it."""
        entries: dict[str, Any] = {}
        for hook in self.config_hooks:
            recursive_update(entries, hook(deepcopy(config), command_name, logger) or {})
        return recursive_update(entries, self.config_updates)

    def set_up_seed(self, rnd: Any = None) -> None:
        """Give this ingredient a seed, and those below it that have none one that follows from it."""
        if self.seed is not None:
            return
        self.seed = self.config.get("seed")
        if self.seed is None:
            self.seed = get_seed(rnd)
        self.rnd = create_rnd(self.seed)
        if self.generate_seed:
            self.config["seed"] = self.seed
        if self.config_mods is not None and "seed" in self.config_mods.added:
            self.config_mods.added.discard("seed")
            self.config_mods.modified.add("seed")
        for path, below in reversed(list(self.subrunners.items())):
            if is_prefix(self.path, path):
                below.set_up_seed(self.rnd)

    def get_fixture(self) -> dict[str, Any]:
        """Return the configuration of this ingredient with those below it in their places."""
        if self.fixture is None:
            self.fixture = dict(self.config)
            self._add_fixtures(self)
        return self.fixture

    def _add_fixtures(self, above: Scaffold) -> None:
        for path, below in above.subrunners.items():
            assert self.fixture is not None
            set_by_path(self.fixture, self._seen(path), dict(below.config))
            self._add_fixtures(below)

    def __repr__(self) -> str:
        return f"<Scaffold {self.path!r}>"


def gather_ingredients_topological(ingredient: Any) -> list[Any]:
    """Return an experiment and all its ingredients, deepest first."""
    depths: dict[Any, int] = {}
    for part, depth in ingredient.traverse_ingredients():
        depths[part] = max(depth, depths.get(part, 0))
    return sorted(depths, key=lambda part: -depths[part])


def create_scaffolding(experiment: Any, sorted_ingredients: Sequence[Any]) -> OrderedDict[str, Scaffold]:
    """Return a scaffold for each ingredient by path, the experiment's under "".

    Raises
    ------
    ValueError
        If two ingredients have the same path.
    """
    made: dict[Any, Scaffold] = {}
    for part in [*(each for each in sorted_ingredients if each is not experiment), experiment]:
        made[part] = Scaffold(
            part.configurations,
            OrderedDict((made[below].path, made[below]) for below in part.ingredients),
            "" if part is experiment else part.path,
            part.captured_functions,
            part.commands,
            part.named_configs,
            part.config_hooks,
            generate_seed=part is experiment,
        )
    by_path = OrderedDict((scaffold.path, scaffold) for scaffold in made.values())
    if len(by_path) < len(made):
        paths = ", ".join(sorted(part.path for part in made))
        raise ValueError(f"The pathes of the ingredients are not unique: {paths}")
    return by_path


def get_configuration(scaffolding: Mapping[str, Scaffold]) -> dict[str, Any]:
    """Return the configuration of all ingredients, each in its place."""
    config: dict[str, Any] = {}
    for path, scaffold in reversed(list(scaffolding.items())):
        if not path:
            config.update(scaffold.config)
        elif scaffold.config:
            set_by_path(config, path, scaffold.config)
    return config


def get_config_modifications(scaffolding: Mapping[str, Scaffold]) -> ConfigSummary:
    """Return what updates changed, in all ingredients."""
    summary = ConfigSummary()
    for path, scaffold in scaffolding.items():
        if scaffold.config_mods is not None:
            summary.update_add(scaffold.config_mods, path)
    return summary


def find_best_match(path: str, prefixes: Iterable[Sequence[str]]) -> tuple[str, str]:
    """Split a dotted path into that of the ingredient it leads into, of those given longest first, and the rest."""
    parts = path.split(".")
    for prefix in prefixes:
        if parts[: len(prefix)] == list(prefix):
            return ".".join(prefix), ".".join(parts[len(prefix) :])
    return "", path


def distribute_config_updates(
    prefixes: Iterable[Sequence[str]], scaffolding: Mapping[str, Scaffold], config_updates: Mapping[str, Any]
) -> None:
    """Hand each update to the ingredient that it belongs to."""
    for path, value in iter_flattened(config_updates):
        owner, rest = find_best_match(path, prefixes)
        set_by_path(scaffolding[owner].config_updates, rest, value)


def distribute_presets(
    sc_path: str,
    prefixes: Iterable[Sequence[str]],
    scaffolding: Mapping[str, Scaffold],
    config_updates: Mapping[str, Any],
) -> None:
    """Hand each entry that a named config of the ingredient at `sc_path` sets to the ingredient it belongs to."""
    for path, value in iter_flattened(config_updates):
        owner, rest = find_best_match(join_path(sc_path, path), prefixes)
        set_by_path(scaffolding[owner].presets, rest, value)


def distribute_named_configs(scaffolding: Mapping[str, Scaffold], named_configs: Iterable[str]) -> None:
    """Hand each named config to the ingredient that it belongs to."""
    for name in named_configs:
        scaffold, short = get_scaffolding_and_config_name(name, scaffolding)
        scaffold.use_named_config(short)


def get_scaffolding_and_config_name(
    named_config: str, scaffolding: Mapping[str, Scaffold]
) -> tuple[Scaffold, str]:
    """Return whose named config this is, and what it is called there; a file is the experiment's.

    Raises
    ------
    KeyError
        If there is no such ingredient.
    """
    if os.path.exists(named_config):
        return scaffolding[""], named_config
    path, _, name = named_config.rpartition(".")
    if path not in scaffolding:
        known = ", ".join(filter(None, scaffolding)) or "none"
        raise KeyError(f'Ingredient for named config "{named_config}" not found. There are: {known}')
    return scaffolding[path], name


def get_command(scaffolding: Mapping[str, Scaffold], command_path: str) -> Any:
    """Return the captured function of a command, ``name`` or ``ingredient.name``.

    Raises
    ------
    KeyError
        If there is none.
    """
    path, _, name = command_path.rpartition(".")
    commands = scaffolding[path].commands if path in scaffolding else {}
    if name not in commands:
        raise KeyError(f'Command "{command_path}" not found. There are: {", ".join(commands) or "none"}')
    return commands[name]


def initialize_logging(experiment: Any, scaffolding: Mapping[str, Scaffold], log_level: Any = None) -> tuple[Any, Any]:
    """Give each scaffold its logger; return the root logger and that of the run."""
    root, run_logger = loggers(experiment, {"--loglevel": log_level})
    if experiment.logger is None:
        root = create_basic_stream_logger()
        run_logger = root.getChild(experiment.path)
    for path, scaffold in scaffolding.items():
        scaffold.logger = root.getChild(path) if path else root
    return root, run_logger


def create_run(
    experiment: Any,
    command_name: str,
    config_updates: Mapping[str, Any] | None = None,
    named_configs: Sequence[str] = (),
    force: bool = False,
    log_level: Any = None,
) -> Run:
    """Return a run of a command that is ready to be called.

    Parameters
    ----------
    experiment : Experiment
    command_name : str
    config_updates : mapping, optional
    named_configs : sequence of str
    force : bool
        Take updates that nothing reads.
    log_level : str or int, optional
    """
    options = {**experiment.get_default_options(), "--force": force, "--loglevel": log_level}
    return _create_run(
        experiment, command_name, config_updates or {}, list(named_configs), info=None, meta_info=None, options=options
    )
