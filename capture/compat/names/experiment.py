"""``sacred.experiment``."""

from __future__ import annotations

from capture.commandline_options import STOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_COMMAND_LINE_OPTIONS = tuple(option for option in STOCK if option.stock == "sacred")


def gather_command_line_options(filter_disabled: bool | None = None) -> list[Any]:
    """Return the options that every script has.

    Parameters
    ----------
    filter_disabled : bool, optional
        Leave out those that cannot be used here; None: as ``SETTINGS.COMMAND_LINE.SHOW_DISABLED_OPTIONS`` says.
    """
    from capture.settings import SETTINGS

    if filter_disabled is None:
        filter_disabled = not SETTINGS.COMMAND_LINE.SHOW_DISABLED_OPTIONS
    return [option for option in STOCK if not (filter_disabled and option.is_disabled)]
