"""``sacred.arg_parser``: reading config updates, and the usage text."""

from __future__ import annotations

from capture.config.updates import parse_updates, parse_value
from capture.script import ARGUMENTS, _table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

__all__ = ["format_usage", "get_config_updates"]


def get_config_updates(updates: Iterable[str] | None) -> tuple[dict[str, Any], list[str]]:
    """Sort ``KEY=VALUE`` and names of named configs; see `capture.config.updates.parse_updates`."""
    from capture.settings import SETTINGS

    return parse_updates(updates or (), strict=SETTINGS.COMMAND_LINE.STRICT_PARSING)


def _convert_value(value: str) -> Any:
    """Read a value as the command line does."""
    from capture.settings import SETTINGS

    return parse_value(value, strict=SETTINGS.COMMAND_LINE.STRICT_PARSING)


def format_usage(
    program_name: str, description: str | None, commands: Mapping[str, Any] | None = None, options: Iterable[Any] = ()
) -> str:
    """Return the help text of a script with these commands and options."""
    import shlex

    program = shlex.quote(program_name)
    parts = [
        "Usage:\n"
        f"  {program} [(with UPDATE...)] [options]\n"
        f"  {program} help [COMMAND]\n"
        f"  {program} (-h | --help)\n"
        f"  {program} COMMAND [(with UPDATE...)] [options]\n",
        (description or "").strip() + "\n",
        "Options:\n" + _table([(option.spelling, option.help) for option in options] or [("", "")]),
        ARGUMENTS,
    ]
    if commands:
        docs = {name: (function.__doc__ or "").strip().partition("\n")[0] for name, function in commands.items()}
        parts.append("Commands:\n" + _table(list(docs.items())))
    return "\n".join(parts)


def printable_usage(doc: str) -> str:
    """Return the usage in a help text: from "Usage:" to the next empty line."""
    start = doc.lower().index("usage:")
    return doc[start:].partition("\n\n")[0].strip()
