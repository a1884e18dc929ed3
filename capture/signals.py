"""Signals that ask a process to go: a batch system's SIGTERM, a closed terminal's SIGHUP, a used-up SIGXCPU."""

from __future__ import annotations

# The module behind `signal`, which makes three enumerations when it is imported: a millisecond of every run's start.
import _signal as signal  # type: ignore[import-not-found]
import os
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAMES = ("SIGTERM", "SIGHUP", "SIGXCPU")  #: those that exist on the platform are handled


class Preempted(BaseException):
    """A signal that asks the process to go; raised in the main thread so that ``finally`` blocks run."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    def pass_on(self) -> None:
        """Let the signal do what it does by default: the process ends as if nobody had looked."""
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                try:
                    stream.flush()
                except (OSError, ValueError):
                    continue  # closed, or nobody reads it any more: the process is going
        signal.signal(self.signum, signal.SIG_DFL)
        os.kill(os.getpid(), self.signum)


class Preemption:
    """Turns these signals into `Preempted` in the main thread, where nobody else handles them."""

    def __init__(self) -> None:
        self._previous: dict[int, Any] = {}

    def install(self) -> Preemption:
        """Install handlers where Python's default stands; elsewhere, and outside the main thread, do nothing."""
        if threading.current_thread() is threading.main_thread():
            for number in [getattr(signal, name) for name in NAMES if hasattr(signal, name)]:
                if signal.getsignal(number) == signal.SIG_DFL:
                    self._previous[number] = signal.signal(number, self._raise)
        return self

    def restore(self) -> None:
        """Put back what was there, unless somebody else has installed a handler since."""
        for number, previous in self._previous.items():
            if signal.getsignal(number) == self._raise:
                signal.signal(number, previous)
        self._previous.clear()

    def _raise(self, signum: int, frame: Any) -> None:
        raise Preempted(signum)
