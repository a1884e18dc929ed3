"""Capturing what a process prints, without getting in its way.

`start_capture` begins it, in one of three modes:

``fd``
    The process's file descriptors 1 and 2 lead through a pipe of our own: everything is caught, what C libraries and
    child processes print, too. See `capture.piping`. POSIX only; elsewhere, and where it cannot be set up, ``sys``
    takes its place with a warning.
``sys``
    ``sys.stdout`` and ``sys.stderr`` are tapped: what Python code writes to them goes on as before, and to the log of
    the run that the writing code belongs to. Several runs in one process do not mix. See `capture.tapping`.
``no``
    Nothing.
"""

from __future__ import annotations

import os
import sys
import threading

from capture.errors import SettingError, suggest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextvars import ContextVar
    from typing import Any, Protocol

    class Log(Protocol):
        """Where captured output goes; `capture.terminal.OutputLog` is one."""

        def feed(self, data: str) -> object:
            """Take in output; called from any thread, also from within itself."""

    class Capture(Protocol):
        """What goes on until it is stopped; a context manager that stops it."""

        mode: str

        def stop(self) -> None:
            """End the capture: all that was printed before has been fed to the log afterwards.

            May be called twice, from a signal handler, at exit, and in a forked child (where it does nothing). It does
            not wait for children that hold our pipe.
            """

        def flush(self) -> None:
            """Feed all that was printed so far to the log. For a ticker, from any thread."""

        def suspend(self) -> None:
            """Let output go where it went before, unrecorded, until `resume`. For a full-screen program."""

        def resume(self) -> None:
            """Go on after `suspend`."""

        def __enter__(self) -> Capture: ...

        def __exit__(self, *exc_info: object) -> None: ...


MODES = ("fd", "sys", "no")


def default_mode(owns_process: bool) -> str:
    """Return the capture mode for a run that was not told any.

    Parameters
    ----------
    owns_process : bool
        Whether the run is what the process is there for: the experiment's script is ``__main__``, in the main
        thread, and no test runner is around it.

    Returns
    -------
    str
        ``"fd"`` if so and the platform is POSIX, otherwise ``"sys"``. In a Jupyter kernel it is ``"sys"``: there the
        streams do not lead to a descriptor, and the kernel mirrors descriptors 1 and 2 into them.
    """
    if not owns_process or not _has_descriptors() or _in_kernel():
        return "sys"
    if threading.current_thread() is not threading.main_thread() or in_test():
        return "sys"
    return "fd"


def in_test() -> bool:
    """Say whether pytest runs a test in this very process; a script that a test has started is not meant."""
    return "_pytest" in sys.modules and "PYTEST_CURRENT_TEST" in os.environ


def _has_descriptors() -> bool:
    return os.name == "posix" and sys.platform not in ("emscripten", "wasi")


def _in_kernel() -> bool:
    if "ipykernel" not in sys.modules:
        return False
    from capture.tapping import in_kernel

    return in_kernel()


def start_capture(mode: str, log: Log, owner: ContextVar[Any] | None = None) -> Capture:
    """Begin to feed what the process prints to `log`.

    Parameters
    ----------
    mode : {"fd", "sys", "no"}
    log : object with a method ``feed(text)``
        Usually a `capture.terminal.OutputLog`. It is neither flushed nor closed by the capture.
    owner : ContextVar, optional
        Mode ``sys``: says to which run the calling code belongs; its value now (hashable) stands for this capture. By
        default the context that calls `start_capture`, and those copied from it, belong to this capture.

    Returns
    -------
    Capture
        To be stopped; `Capture.mode` says which mode it really is.

    Raises
    ------
    SettingError
        If there is no such mode (also a KeyError).

    Notes
    -----
    In mode ``sys``, code that belongs to no capture (a plain thread, which inherits no context) is recorded by the
    only live one; if several are live that are not nested in each other, by all of them: a line too many is better
    than one lost. A nested capture's output is recorded by the captures around it, too.
    """
    if mode not in MODES:
        close = suggest(mode, MODES)
        hint = f"\n  did you mean:  {close}" if close else ""
        raise SettingError(f"there is no capture mode {mode!r}.{hint}\n  modes:  {', '.join(MODES)}")
    if mode == "no":
        return NoCapture()
    if mode == "fd":
        if _has_descriptors():
            from capture.piping import FdCapture

            try:
                return FdCapture(log)
            except (OSError, RuntimeError) as error:
                _warn("capture mode 'fd' cannot be set up (%s); mode 'sys' is used instead", error)
        else:
            _warn("capture mode 'fd' needs a POSIX system; mode 'sys' is used instead")
    from capture.tapping import SysCapture

    return SysCapture(log, owner)


class NoCapture:
    """Captures nothing."""

    mode = "no"

    def stop(self) -> None:
        """There is nothing to stop."""

    flush = suspend = resume = stop

    def __enter__(self) -> NoCapture:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return


def flush_streams() -> None:
    """Flush standard output and error, so that what is written next to the other one stands behind."""
    from capture.piping import flush_python

    flush_python()


def _warn(message: str, *args: object) -> None:
    import logging

    logging.getLogger(__name__).warning(message, *args)
