"""From what was decorated to a run that is ready to start: configuration, seeds, bindings, facts, observers."""

from __future__ import annotations

import os
import sys

from capture import context
from capture.calls import keeps_runs, place_of
from capture.config.layers import Node
from capture.config.resolve import Resolved, check_additions, resolve
from capture.config.updates import join_path
from capture.errors import CaptureError, ConfigFileError
from capture.facts import WAIT_S, Facts
from capture.hooks import check_tags
from capture.ingredient import key_rules
from capture.inject import Frame
from capture.logs import RunLog, root_logger
from capture.randomness import STOCK_COMMANDS, SeedTree, check_seed, get_seed, seeding_parents
from capture.run import Run
from capture.settings import SETTINGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from capture.config.resolved import ConfigWarning
    from capture.experiment import Experiment
    from capture.ingredient import Ingredient

STOCK_MODULE = "capture.commands"

#: callables that make one more observer for each run of this process, beside those that are configured
additional_observers: list[Any] = []


def create_run(
    experiment: Experiment,
    command_name: str,
    config_updates: Mapping[str, Any],
    named_configs: Sequence[str],
    info: dict[str, Any] | None,
    meta_info: dict[str, Any] | None,
    options: Mapping[str, Any],
    tags: Sequence[str] = (),
    update_layer: str = "config_updates",
) -> Run:
    """Make the run of a command; nothing of the user's but config scopes and config hooks has been called yet."""
    command = experiment.find_command(command_name)
    parts = experiment.all_parts()
    # git is asked now and answers while the configuration is resolved
    facts = Facts(parts, experiment, _patience_s(command_name, options))
    root_logger, run_logger = loggers(experiment, options)
    resolved = resolve_config(
        experiment, command_name, config_updates, named_configs, logger=run_logger, update_layer=update_layer
    )
    for warning in check_config(experiment, resolved, command, force=bool(options.get("--force"))):
        run_logger.warning(warning.text)

    experiment_info = facts.described(experiment)
    if options.get("--name"):
        experiment_info["name"] = options["--name"]
    run = Run(
        resolved.values,
        resolved.summary,
        command,
        [_as_observer(observer) for observer in experiment.observers],
        root_logger,
        run_logger,
        experiment_info,
        facts.host_info(experiment),
        _hooks(parts, "pre_run_hooks", command),
        _hooks(parts, "post_run_hooks", command),
        experiment.captured_out_filter,
    )
    run.resolved = resolved
    run.experiment = experiment
    run.frame = make_frame(run, experiment, parts, resolved, run_logger)
    run.sources = facts.files
    run.watch = facts.watch
    run.tags = check_tags(tags) or []
    run.seed = resolved.values["seed"]
    run.unobserved = bool(command.unobserved) or is_silent_rank()
    run.owns_process = owns_process(experiment)
    if info is not None:
        run.info.update(info)
    run.meta_info = {
        "command": command_name,
        "options": dict(options),
        "named_configs": list(named_configs),
        "config_updates": dict(config_updates),
        **(meta_info or {}),
    }
    apply_options(experiment, options, run)
    if not run.unobserved and not any(map(keeps_runs, run.observers)):
        _keep_anyway(run, experiment)
    run.observers += [*notifiers(run), *(make() for make in additional_observers)]
    return run


def _keep_anyway(run: Run, experiment: Experiment) -> None:
    """Give the default store to a run that no observer keeps, or warn of that if the script names observers."""
    if experiment.records_by_default and not experiment.observers:  # those of `-o` only tell somebody
        run.observers[:0] = [_as_observer(observer) for observer in experiment.default_observers()]
    else:
        warn_if_nothing_is_kept(run)


def warn_if_nothing_is_kept(run: Run) -> None:
    """Warn if all observers of a run only tell somebody of it."""
    if run.observers and not any(map(keeps_runs, run.observers)):
        names = ", ".join(map(place_of, run.observers))
        text = "this run is not recorded: %s only tells of it; to record it, name a store as well"
        run.run_logger.warning(text, names)


def _hooks(parts: Sequence[Ingredient], kind: str, command: Any) -> list[Any]:
    """Return the run hooks, those of ingredients first; none for a command that only shows something."""
    if command.__module__ == STOCK_MODULE:
        return []
    return [hook for part in reversed(parts) for hook in getattr(part, kind)]


def check_config(experiment: Experiment, resolved: Resolved, command: Any, force: bool = False) -> list[ConfigWarning]:
    """Refuse updates that nothing reads, and a seed that is none; return what should be warned of.

    Raises
    ------
    ConfigAddedError
        If an update adds an entry that nothing reads, unless `force` says to take it.
    ConfigTypeError
        If the seed is not an integer of 0 or above.
    """
    reads = _what_is_read(experiment.all_parts(), experiment, resolved, command)
    added = check_additions(resolved, reads, force=force)
    if command is not None and command.__module__ == STOCK_MODULE:
        own = set(command.signature.arguments)  # what only the stock command reads is no addition to the experiment
        added = [warning for warning in added if warning.path not in own]
    check_seed(resolved.values["seed"])
    return [*resolved.warnings, *added]


def _patience_s(command_name: str, options: Mapping[str, Any]) -> float:
    """Return how long to wait for repositories: long where an answer that comes later is of no use."""
    if options.get("--enforce_clean") or options.get("--queue") or command_name == "print_dependencies":
        return SETTINGS.GIT.TIMEOUT_S + 1.0  # it says itself when it gives up
    return WAIT_S


def resolve_config(
    experiment: Experiment,
    command_name: str | None,
    config_updates: Mapping[str, Any],
    named_configs: Sequence[str],
    logger: Any = None,
    update_layer: str = "config_updates",
) -> Resolved:
    """Resolve the whole configuration of an experiment, its seed included."""
    from capture.config.origin import Origin
    from capture.journal import own_cache_dir

    rules, cache_dir = key_rules(), own_cache_dir()
    root = node_of(experiment)
    for part in experiment.all_parts():
        for source in (*part.configurations, *part.named_configs.values()):
            if hasattr(source, "ignored_comments"):  # a scope; the settings may have been made after it
                source.rules, source.ignored_comments = rules, tuple(SETTINGS.CONFIG.IGNORED_COMMENTS)
                source.cache_dir = cache_dir
    resolved = resolve(
        root,
        config_updates,
        named_configs,
        command_name=command_name,
        logger=logger,
        load_file=load_named_file,
        update_layer=update_layer,
        rules=rules,
    )
    if resolved.values.get("seed") is None:
        resolved.add("seed", get_seed(), Origin("generated", "random seed"))
    return resolved


def node_of(experiment: Experiment) -> Node:
    """Describe an experiment and its ingredients as plain nodes; one node per ingredient.

    Raises
    ------
    ValueError
        If two ingredients have the same path.
    """
    nodes: dict[Ingredient, Node] = {}
    for part in reversed(experiment.all_parts()):
        nodes.setdefault(
            part,
            Node(
                "" if part is experiment else part.path,
                part.configurations,
                part.named_configs,
                part.config_hooks,
                (),
                name=part.path,
            ),
        )
    for part, node in nodes.items():
        node.children = tuple(nodes[child] for child in part.ingredients)
    paths = [node.path for node in nodes.values()]
    doubled = sorted({path for path in paths if paths.count(path) > 1})
    if doubled:
        raise ValueError(f"The pathes of the ingredients are not unique. Used more than once: {', '.join(doubled)}")
    return nodes[experiment]


def load_named_file(name: str) -> Any:
    """Return a config source if there is a file called `name`, else None."""
    if not os.path.isfile(name):
        return None
    from capture.config.dicts import ConfigDict
    from capture.config.files import load_config_file
    from capture.config.origin import Origin

    try:
        entries = load_config_file(name)
    except OSError as error:
        raise ConfigFileError(f"{name}: it cannot be read: {error.strerror or error}", file=name) from error
    return ConfigDict(entries, Origin("config file", name, os.path.abspath(name)))


def _what_is_read(parts: Sequence[Ingredient], experiment: Experiment, resolved: Resolved, command: Any) -> set[str]:
    """Return dotted paths of the entries and groups that captured functions can ask for.

    The command that is run counts among those of the experiment: the stock commands belong to no part.
    """
    read = {"seed"}
    for part in parts:
        path = "" if part is experiment else part.path
        read.add(f"{path}.seed" if path else "seed")
        extra = [command] if part is experiment and command is not None else []
        for captured in [*part.captured_functions, *extra]:
            prefix = captured.prefix
            if prefix:
                read.add(resolved.locate(path, prefix))
            for name in captured.signature.arguments:
                read.add(resolved.locate(path, f"{prefix}.{name}" if prefix else name))
    return read


def make_frame(
    run: Run, experiment: Experiment, parts: Sequence[Ingredient], resolved: Resolved, run_logger: Any
) -> Frame:
    """Bind the configuration for the captured functions of one run."""
    views = {part: resolved.view("" if part is experiment else part.path) for part in parts}
    parents = seeding_parents(experiment, lambda part: part.ingredients)
    plan = {part: (views[part].get("seed"), parent, part.captured_functions) for part, parent in parents.items()}
    # Sacred captures its stock commands before anything of the user's: their streams are left out, not handed on
    reserved = {part: STOCK_COMMANDS for part in parts if hasattr(part, "default_command")}
    seeds = SeedTree(plan, SETTINGS.CONFIG.NUMPY_RANDOM_LEGACY_API, reserved=reserved)

    def logger_of(part: Any) -> Any:
        return run_logger if part is experiment else run_logger.getChild(part.path)

    return Frame(
        run,
        views,
        logger=logger_of,
        read_only=SETTINGS.CONFIG.READ_ONLY_CONFIG,
        seeds=seeds,
        objects=_typed_objects(parts, experiment, views),
    )


def _typed_objects(
    parts: Sequence[Ingredient], experiment: Experiment, views: Mapping[Ingredient, Mapping[str, Any]]
) -> dict[tuple[Any, str], Any]:
    """Build the objects that typed sources describe, for parameters annotated with their class."""
    objects: dict[tuple[Any, str], Any] = {}
    for part in parts:
        for source in part.configurations:
            built = getattr(source, "objects", None)
            for path, value in built(views[part]).items() if built is not None else ():
                objects[part, path] = value
                if part is not experiment:  # its entries are a group in the configuration of the experiment
                    objects[experiment, join_path(part.path, path)] = value
    return objects


def loggers(experiment: Experiment, options: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the root logger of the run's log, and the run's own."""
    name = options.get("--name") or experiment.path
    root = experiment.logger
    if root is None:
        root = root_logger() if "logging" in sys.modules else RunLog("root", root_logger)
    level = options.get("--loglevel")
    if level:
        from capture.commandline_options import parse_loglevel

        root.setLevel(parse_loglevel(level))
    if isinstance(root, RunLog):
        return root, RunLog(name, lambda: root.getChild(name))
    return root, root.getChild(name)


def apply_options(experiment: Experiment, options: Mapping[str, Any], run: Run) -> None:
    """Let the options that are set act on the run."""
    chosen = {name: value for name, value in options.items() if value not in (None, False)}
    if chosen:
        from capture.commandline_options import apply

        apply(experiment, chosen, run)


def default_observers() -> list[Any]:
    """Return the observer of the default store, or none if the settings say so."""
    store = SETTINGS.STORE
    if store.lower() == "none":
        return []
    from capture.registry import make_observer, split_url

    extra = {"ignore_in_git": True} if split_url(store)[0] == "file" else {}
    return [make_observer(store, **extra)]


def notifiers(run: Run) -> list[Any]:
    """Return the observer that the setting NOTIFY.URLS asks for if the run is recorded; no run fails for it."""
    if run.unobserved or not run.observers or not SETTINGS.NOTIFY.URLS:
        return []
    from capture.registry import make_observer

    try:
        return [make_observer("notify://")]
    except CaptureError as error:
        run.run_logger.warning("nobody is told how this run goes: %s", error)
        return []


def _as_observer(observer: Any) -> Any:
    if isinstance(observer, (str, os.PathLike)):
        from capture.registry import make_observer

        return make_observer(os.fspath(observer))
    return observer


def is_silent_rank() -> bool:
    """Say whether a launcher declared this process one of several of one job, and not the first."""
    try:
        return int(os.environ.get("WORLD_SIZE", "1")) > 1 and int(os.environ.get("RANK", "0")) > 0
    except ValueError:
        return False


def owns_process(experiment: Ingredient | None) -> bool:
    """Say whether the process is the experiment's own script: then signals and descriptors are ours to watch."""
    import threading

    from capture.stdio import in_test

    main = sys.modules.get("__main__")
    if in_test():
        return False
    if threading.current_thread() is not threading.main_thread() or context.live_runs():
        return False
    if experiment is None:
        return bool(getattr(main, "__file__", None))
    return main is not None and experiment.caller_globals is vars(main) and not hasattr(sys, "ps1")
