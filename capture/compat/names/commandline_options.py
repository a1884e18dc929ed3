"""``sacred.commandline_options``: its options by the names of their functions."""

from __future__ import annotations

from capture.commandline_options import STOCK
from capture.commandline_options import CommandLineOption as CLIOption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["CLIOption", "CommandLineOption", "get_name"]

#: name in Sacred -> flag, where the one does not follow from the other
_FLAGS = {"print_config_option": "--print-config", "beat_interval_option": "--beat-interval"}


def __getattr__(name: str) -> Any:
    if name.endswith("_option"):
        flag = _FLAGS.get(name, "--" + name.removesuffix("_option"))
        for option in STOCK:
            if option.long == flag:
                return option
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get_name(option: Any) -> str:
    """Return the name that options are sorted by before they act."""
    return str(option.__name__)


class CommandLineOption:
    """What options were derived from before Sacred had `cli_option`; deriving from it is refused with the remedy."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        from capture.compat.errors import SacredNameError

        raise SacredNameError(
            f"sacred.commandline_options.CommandLineOption, of which {cls.__name__} is a subclass,",
            "the decorator sacred.cli_option('-x', '--extra'), and Experiment(additional_cli_options=[...])",
        )
