"""The log of a run: Python's `logging` for all who use it, plain lines for scripts that do not.

Importing `logging`, with what it imports itself, takes as long as a tenth of a short recorded run. Where nobody has
imported it nobody has set it up either, so what a run says of itself can be written as the handler would write it that
the run would have added.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FORMAT = "%(levelname)s - %(name)s - %(message)s"


class RunLog:
    """A logger that is made when `logging` is in use, or something of it is asked for but `info` and `warning`.

    Parameters
    ----------
    name : str
    make : callable
        ``make() -> logging.Logger``.

    Attributes
    ----------
    logger : logging.Logger
        The real one. It has all other attributes of this object, too.
    """

    def __init__(self, name: str, make: Callable[[], Any]) -> None:
        self.name = name
        self._make = make

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__") or "_make" not in vars(self):
            raise AttributeError(attribute)  # copying asks for such, before there is a state
        if attribute == "logger":
            self.logger = self._make()
            return self.logger
        return getattr(self.logger, attribute)

    def info(self, message: str, *values: Any) -> None:
        """Say what is as it should be."""
        if self._is_plain():
            self._write("INFO", message, values)
        else:
            self.logger.info(message, *values)

    def warning(self, message: str, *values: Any) -> None:
        """Say what somebody should look at."""
        if self._is_plain():
            self._write("WARNING", message, values)
        else:
            self.logger.warning(message, *values)

    def _is_plain(self) -> bool:
        return "logging" not in sys.modules

    def _write(self, level: str, message: str, values: tuple[Any, ...]) -> None:
        text = FORMAT % {"levelname": level, "name": self.name, "message": message % values if values else message}
        if sys.stderr is not None:
            try:
                sys.stderr.write(text + "\n")
                sys.stderr.flush()
            except (OSError, ValueError):
                pass  # closed, or nobody reads it: there is no other place to say so


def root_logger() -> Any:
    """Return the root logger; one without handlers gets one that prints to standard error."""
    import logging

    root = logging.getLogger()
    if not root.handlers:
        handler = standard_error()
        handler.setFormatter(logging.Formatter(FORMAT))
        root.addHandler(handler)
        root.setLevel(logging.INFO)
    return root


def standard_error() -> Any:
    """Return a log handler that writes to what `sys.stderr` is when it writes: captured output included."""
    import logging

    class Handler(logging.StreamHandler):
        @property
        def stream(self) -> Any:
            return sys.stderr

        @stream.setter
        def stream(self, value: Any) -> None:
            """`logging` sets it; what counts is `sys.stderr`."""

    return Handler()
