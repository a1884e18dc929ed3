"""``sacred.commands``: what they print, as functions."""

from __future__ import annotations

from capture.commands import print_config, print_dependencies, save_config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["help_for_command", "print_config", "print_dependencies", "print_named_configs", "save_config"]

COLOR_MODIFIED, COLOR_ADDED, COLOR_TYPECHANGED, COLOR_DOC = "\033[34m", "\033[32m", "\033[31m", "\033[2m"
COLOR_DIRTY = COLOR_TYPECHANGED
ENDC = "\033[0m"


def help_for_command(command: Any) -> str:
    """Return what `help` says of a function, without terminal effects."""
    import pydoc

    return pydoc.plain(pydoc.render_doc(command, title="Help on %s"))


def print_named_configs(ingredient: Any) -> Any:
    """Return a function that prints the named configs of an ingredient."""

    def print_them() -> None:
        from capture.commands import print_named_configs as command

        class Shown:  # the command wants a run, of which it reads this
            experiment = ingredient

        command(Shown)  # type: ignore[arg-type]

    print_them.__name__ = "print_named_configs"
    return print_them
