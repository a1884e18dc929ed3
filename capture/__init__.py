"""Turn a decorated script into a recorded run that can be explained, compared and run again.

The names below are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import os as _os

from capture._version import __version__

if "CAPTURE_LINEAGE_JOURNAL" in _os.environ:  # a run started this process, and would like to know what it opens
    from capture.probes.lineage import children as _children

    _children.attach()

TYPE_CHECKING = False
if TYPE_CHECKING:
    from capture import observers
    from capture.commandline_options import cli_option
    from capture.errors import CaptureError, ConfigError, InvalidConfigError, SacredInterrupt, TimeoutInterrupt
    from capture.experiment import Experiment
    from capture.hooks import Curator, Probe, Reader, RunObserver, Unavailable
    from capture.host_info import host_info_gatherer, host_info_getter
    from capture.ingredient import Ingredient
    from capture.query.client import open_store
    from capture.run import Run, current_run
    from capture.settings import SETTINGS
    from capture.start import (
        add_artifact,
        add_resource,
        add_tags,
        log_artifact,
        log_metrics,
        log_params,
        log_scalar,
        open_resource,
        start_run,
    )

__author__ = "The capture developers"
__author_email__ = ""
__url__ = ""

#: public name -> the module it comes from, and its name there where that differs
_HOMES = {
    "CaptureError": "errors",
    "ConfigError": "errors",
    "InvalidConfigError": "errors",
    "SacredInterrupt": "errors",
    "TimeoutInterrupt": "errors",
    "Experiment": "experiment",
    "Ingredient": "ingredient",
    "Run": "run",
    "current_run": "run",
    "RunObserver": "hooks",
    "Reader": "hooks",
    "Curator": "hooks",
    "Probe": "hooks",
    "Unavailable": "hooks",
    "SETTINGS": "settings",
    "cli_option": "commandline_options",
    "host_info_gatherer": "host_info",
    "host_info_getter": "host_info",
    "open_store": "query.client",
    "start_run": "start",
    "log_scalar": "start",
    "log_metrics": "start",
    "log_params": "start",
    "log_artifact": "start",
    "add_artifact": "start",
    "add_resource": "start",
    "open_resource": "start",
    "add_tags": "start",
}

# Written out, since type checkers believe nothing else to be public.
__all__ = [  # noqa: RUF022 - in the order of a reference, which the documentation has, too
    "__version__",
    "observers",
    "CaptureError",
    "ConfigError",
    "InvalidConfigError",
    "SacredInterrupt",
    "TimeoutInterrupt",
    "Experiment",
    "Ingredient",
    "Run",
    "current_run",
    "RunObserver",
    "Reader",
    "Curator",
    "Probe",
    "Unavailable",
    "SETTINGS",
    "cli_option",
    "host_info_gatherer",
    "host_info_getter",
    "open_store",
    "start_run",
    "log_scalar",
    "log_metrics",
    "log_params",
    "log_artifact",
    "add_artifact",
    "add_resource",
    "open_resource",
    "add_tags",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "observers":
        return import_module("capture.observers")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'capture' has no attribute {name!r}")
    module, _, inner = home.partition(":")
    value = getattr(import_module("capture." + module), inner or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
