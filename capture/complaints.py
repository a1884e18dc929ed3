"""A logger for what goes wrong, to be had even where no module can be imported any more.

`logging` is imported when there is something to say. That moment may be the one in which a process may open no further
file, or goes down; then an ``import`` in an ``except`` clause raises, and takes with it the thread that it stands in.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def logger(name: str = "capture") -> Any:
    """Return the logger of that name; where `logging` cannot be imported, what says the same on standard error."""
    try:
        import logging
    except Exception:  # noqa: BLE001 - too many open files, no memory, an interpreter going down: all the same here
        return _Plain(name)
    return logging.getLogger(name)


class _Plain:
    """Writes from warnings upwards, as `logging` does if nobody sets it up."""

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, text: str, *values: Any, **options: Any) -> None:
        """Nobody asked for it."""

    info = debug

    def warning(self, text: str, *values: Any, exc_info: Any = None) -> None:
        """Write a line, with the exception that is being handled if that is asked for."""
        message = text % values if values else text
        if exc_info and (error := sys.exc_info()[1]) is not None:
            message += f" ({type(error).__name__}: {error})"
        if sys.stderr is not None:
            try:
                sys.stderr.write(f"{message}\n")
                sys.stderr.flush()
            except (OSError, ValueError):
                pass  # closed, or nobody reads it: there is no other place to say so

    error = warning

    def exception(self, text: str, *values: Any) -> None:
        """Write a line with the exception that is being handled."""
        self.warning(text, *values, exc_info=True)
