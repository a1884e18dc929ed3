"""``sacred.config.utils``: laying config sources over each other by hand."""

from __future__ import annotations

from capture.compat.names.custom_containers import DogmaticDict, DogmaticList
from capture.config.values import normalize, python_scalar
from capture.ingredient import key_rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

__all__ = ["chain_evaluate_config_scopes", "dogmatize", "recursive_fill_in", "undogmatize"]

normalize_numpy = python_scalar


def assert_is_valid_key(key: object) -> None:
    """Refuse a config key that the settings forbid; the error is a KeyError."""
    key_rules().check(key)


def normalize_or_die(obj: Any) -> Any:
    """Return a value as a config holds it; see `capture.config.values.normalize`."""
    return normalize(obj, "", key_rules())


def recursive_fill_in(config: dict[Any, Any], preset: Mapping[Any, Any]) -> None:
    """Add to `config` the entries of `preset` that it lacks, group by group, in place."""
    for key, value in preset.items():
        if key not in config:
            config[key] = value
        elif isinstance(config[key], dict) and isinstance(value, dict):
            recursive_fill_in(config[key], value)


def chain_evaluate_config_scopes(
    config_scopes: Iterable[Any],
    fixed: Mapping[str, Any] | None = None,
    preset: Mapping[str, Any] | None = None,
    fallback: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], list[Any]]:
    """Evaluate config sources one after the other, each with what the earlier ones set as its preset.

    Returns
    -------
    (dict, list of ConfigSummary)
        The whole config, and what each source handed back.
    """
    config = dict(preset or {})
    summaries = []
    for source in config_scopes:
        summaries.append(source(fixed=fixed or {}, preset=config, fallback=fallback or {}))
        config.update(summaries[-1])
    if not summaries:
        config.update(fixed or {})
    return undogmatize(config), summaries


def dogmatize(obj: Any) -> Any:
    """Return a value with its dicts and lists made such that win over what is assigned to them."""
    if isinstance(obj, dict):
        return DogmaticDict({key: dogmatize(value) for key, value in obj.items()})
    if isinstance(obj, list):
        return DogmaticList([dogmatize(value) for value in obj])
    return tuple([dogmatize(value) for value in obj]) if isinstance(obj, tuple) else obj


def undogmatize(obj: Any) -> Any:
    """Return a value with its dogmatic dicts and lists made plain."""
    if isinstance(obj, dict):
        plain = {key: undogmatize(value) for key, value in obj.items()}
        return plain if type(obj) in (dict, DogmaticDict) else obj
    if isinstance(obj, DogmaticList):
        return [undogmatize(value) for value in obj]
    return tuple([undogmatize(value) for value in obj]) if isinstance(obj, tuple) else obj
