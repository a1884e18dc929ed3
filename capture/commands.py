"""The commands that every experiment has: print_config, print_dependencies, save_config, print_named_configs."""

from __future__ import annotations

import sys

from capture.errors import ConfigFileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from capture.experiment import Experiment
    from capture.run import Run


def stock_commands(experiment: Experiment) -> dict[str, Any]:
    """Return the stock commands as captured functions of `experiment`; their runs are not recorded."""
    from capture.inject import capture_function

    found = {}
    for function in (print_config, print_dependencies, save_config, print_named_configs):
        captured = capture_function(function, owner=experiment)
        captured.unobserved = True
        found[function.__name__] = captured
    return found


def print_config(_run: Run) -> None:
    """Print the updated configuration and exit.

    Text is highlighted: blue for modified entries, green for added ones, red where the type changed. Behind a value
    that is not the default stands who set it.
    """
    print_run_config(_run)


def print_run_config(run: Run) -> None:
    """Print the configuration of a run."""
    from capture.config.show import format_config

    resolved = run.resolved
    docs = {"seed": "the random seed for this experiment", **resolved.docs}
    text = format_config(
        resolved.values, resolved.summary, docs, resolved.origins, color=_wants_color(sys.stdout)
    )
    _write(text)


def print_dependencies(_run: Run) -> None:
    """Print the packages, sources and repositories that a run would record.

    Behind a package stands where it was taken from, if that is a repository or a folder. M marks a repository with
    changes that are not committed, ? one of which that is not known. What main imports only when it runs is not there.
    """
    from capture.probes import imports

    info = _run.experiment_info
    origins = imports.origins()
    lines = ["Dependencies:"]
    pairs = [package.partition("==") for package in info["dependencies"]]
    width = max((len(name) for name, _, _ in pairs), default=0)
    lines += [f"  {name:<{width}} == {version}{_origin(origins.get(name, {}))}" for name, _, version in pairs]
    lines += ["", "Sources:"]
    width = max((len(name) for name, _ in info["sources"]), default=0)
    lines += [f"  {name:<{width}}  {digest}" for name, digest in info["sources"]]
    named = {name for name, _, _ in pairs}
    repositories = [_repository(facts) for facts in info["repositories"]]
    repositories += _editable_repositories(origin for name, origin in origins.items() if name in named)
    if repositories:
        lines += ["", "Version Control:", *dict.fromkeys(repositories)]
    _write("\n".join(lines))


def _origin(origin: dict[str, str]) -> str:
    """Say in a few words where a distribution was taken from; "" where it is an index."""
    if "editable" in origin:
        return f"  (editable: {origin['editable']})"
    if "url" in origin:
        return f"  ({' @ '.join([origin['url'], *([origin['commit']] if 'commit' in origin else [])])})"
    return ""


def _editable_repositories(origins: Iterable[dict[str, str]]) -> list[str]:
    from capture.probes import git
    from capture.settings import SETTINGS

    folders = [origin["editable"] for origin in origins if "editable" in origin]
    if not folders or not SETTINGS.GIT.ENABLED:
        return []
    return [_repository(facts) for facts in git.repositories(folders, SETTINGS.GIT.TIMEOUT_S)]


def _repository(facts: dict[str, Any]) -> str:
    mark = "?" if facts["dirty"] is None else "M" if facts["dirty"] else " "
    return f"{mark} {facts['url']}  {facts['commit']}"


def save_config(_run: Run, _config: dict[str, Any], config_filename: str = "config.json") -> None:
    """Store the updated configuration in a file.

    The file is called config.json; ``with config_filename=NAME`` says otherwise. Its ending (.json, .yaml, .toml) says
    how it is written. The entry itself is not saved.
    """
    from capture.config.files import save_config_file
    from capture.config.readonly import thaw

    config = thaw(_config)
    config.pop("config_filename", None)
    try:
        save_config_file(config, config_filename)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigFileError(f"{config_filename}: it cannot be written: {reason}", file=config_filename) from error
    _write(f"Configuration saved to {config_filename}")


def print_named_configs(_run: Run) -> None:
    """Print the named configs and what their docstrings say."""
    named = dict(_run.experiment.gather_named_configs())
    lines = ["Named Configurations:"]
    for name, source in named.items():
        doc = " ".join(str(getattr(source, "docs", {}).get("__doc__") or getattr(source, "__doc__", "") or "").split())
        lines.append(f"  {name}" + (f"  # {doc}" if doc and not doc.startswith(type(source).__doc__ or "\0") else ""))
    _write("\n".join(lines) if named else "Named Configurations:\n  No named configs")


def _wants_color(stream: Any) -> bool:
    import os

    if os.environ.get("NO_COLOR"):
        return False
    return bool(getattr(stream, "isatty", bool)())


def _write(text: str) -> None:
    # these commands are asked for on a command line; what they say is their result
    sys.stdout.write(text.rstrip("\n") + "\n")
