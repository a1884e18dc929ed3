"""Recording without decorators: `start_run`, and functions that reach the current run from anywhere."""

from __future__ import annotations

import os
import sys

from capture.run import Run, current_run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


def start_run(
    name: str | None = None,
    config: Any = None,
    *,
    observers: Sequence[Any] | None = None,
    tags: Sequence[str] = (),
    notes: str | None = None,
    seed: int | None = None,
    run_id: Any = None,
    base_dir: str | os.PathLike[str] | None = None,
    capture_mode: str | None = None,
) -> Run:
    """Start a run here and now; it ends with the ``with`` block, or with ``run.end()``.

    Parameters
    ----------
    name : str, optional
        What is being done. Default: the name of the script.
    config : dict, argparse.Namespace, dataclass or other typed config, optional
        Recorded as it is.
    observers : sequence of RunObserver or URL, optional
        None: the default store, ``SETTINGS.STORE``. An empty list: none.
    tags : sequence of str
    notes : str, optional
    seed : int, optional
        Seeds the generators of the process, and is recorded as the entry "seed".
    run_id : optional
        The label the run shall have in its store.
    base_dir : path, optional
        Files below it count as sources. Default: the folder of the calling file.
    capture_mode : {"fd", "sys", "no"}, optional
        See ``SETTINGS.CAPTURE_MODE``.

    Returns
    -------
    Run
        With ``log_scalar``, ``log_metrics``, ``log_params``, ``add_artifact``, ``add_resource``, ``info`` ...

    Examples
    --------
    >>> with start_run("sums", config={"n": 3}, observers=[]) as run:
    ...     run.result = sum(range(run.config["n"]))
    >>> run.status, run.result
    ('COMPLETED', 3)
    """
    from capture import assembly
    from capture.facts import WAIT_S, Facts
    from capture.ingredient import Ingredient
    from capture.settings import SETTINGS

    caller = sys._getframe(1).f_globals
    if name is None:
        file = caller.get("__file__")
        name = os.path.splitext(os.path.basename(file))[0] if file else "run"
    part = Ingredient(name, _caller_globals=caller, base_dir=base_dir)
    entries = _entries(config)
    if seed is not None:
        entries.setdefault("seed", seed)
    facts = Facts([part], part)
    run = Run(
        entries,
        None,
        None,
        [assembly._as_observer(observer) for observer in observers or ()],
        experiment_info=facts.experiment_info(WAIT_S),
        host_info=facts.host_info(None),
    )
    run._id = run_id
    run.sources = facts.files
    run.watch = facts.watch
    run.tags = list(tags)
    run.notes = notes
    run.seed = seed
    run.meta_info = {"command": name, "options": {}, "named_configs": [], "config_updates": {}}
    run.owns_process = assembly.owns_process(None)
    run.unobserved = assembly.is_silent_rank()
    run.capture_mode = capture_mode or SETTINGS.CAPTURE_MODE
    if observers is None and not run.unobserved:
        run.observers = assembly.default_observers()
    assembly.warn_if_nothing_is_kept(run)
    run.observers += [*assembly.notifiers(run), *(make() for make in assembly.additional_observers)]
    return run.start()


def _entries(config: Any) -> dict[str, Any]:
    """Return a configuration as a plain dict."""
    if config is None:
        return {}
    if isinstance(config, dict):
        return dict(config)
    for convert in ("model_dump", "_asdict"):
        if callable(getattr(config, convert, None)) and not isinstance(config, type):
            return dict(getattr(config, convert)())
    fields = getattr(config, "__dataclass_fields__", None)
    if fields is not None and not isinstance(config, type):
        import dataclasses

        return dataclasses.asdict(config)
    if hasattr(config, "__attrs_attrs__") and not isinstance(config, type):
        return {attribute.name: getattr(config, attribute.name) for attribute in config.__attrs_attrs__}
    if hasattr(config, "keys"):
        return {key: config[key] for key in config.keys()}  # noqa: SIM118 - any mapping
    if hasattr(config, "__dict__") and not isinstance(config, type) and not callable(config):
        return dict(vars(config))  # an argparse.Namespace, a SimpleNamespace
    raise TypeError(
        "config is a dict, an argparse.Namespace, or an instance of a dataclass, pydantic or attrs class; got "
        + repr(config)
    )


def log_scalar(metric_name: str, value: Any, step: Any = None) -> None:
    """Record one number of a series of the current run; see `Run.log_scalar`."""
    current_run().log_scalar(metric_name, value, step)


def log_metrics(metrics: Mapping[str, Any], step: Any = None) -> None:
    """Record one number of each of several series of the current run; see `Run.log_metrics`."""
    current_run().log_metrics(metrics, step)


def log_params(params: Mapping[str, Any]) -> None:
    """Record values that the current run found on its way; see `Run.log_params`."""
    current_run().log_params(params)


def add_artifact(filename: Any, name: str | None = None, **options: Any) -> Any:
    """Record something that the current run made; see `Run.add_artifact`."""
    return current_run().add_artifact(filename, name, **options)


log_artifact = add_artifact


def add_resource(filename: str | os.PathLike[str]) -> None:
    """Record a file that the current run reads; see `Run.add_resource`."""
    current_run().add_resource(filename)


def open_resource(filename: str | os.PathLike[str], mode: str = "r", **options: Any) -> Any:
    """Record a file that the current run reads, and open it; see `Run.open_resource`."""
    return current_run().open_resource(filename, mode, **options)


def add_tags(*tags: str) -> None:
    """Add tags to the current run."""
    current_run().add_tags(*tags)
