"""The commands that every experiment has: print_config, print_dependencies, save_config, print_named_configs."""

from __future__ import annotations

import sys

from capture.errors import ConfigFileError

TYPE_CHECKING = False
if TYPE_CHECKING:
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
    """Print the packages, sources and repositories that a run would record."""
    info = _run.experiment_info
    lines = ["Dependencies:", *(f"  {package.replace('==', ' == ')}" for package in info["dependencies"])]
    lines += ["", "Sources:"]
    width = max((len(name) for name, _ in info["sources"]), default=0)
    lines += [f"  {name:<{width}}  {digest}" for name, digest in info["sources"]]
    if info["repositories"]:
        lines += ["", "Version Control:"]
        for repository in info["repositories"]:
            mark = "M" if repository["dirty"] else " "
            lines.append(f"{mark} {repository['url']}  {repository['commit']}")
    _write("\n".join(lines))


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
