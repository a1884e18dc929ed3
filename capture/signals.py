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

    def install(self) -> None:
        """Install handlers where Python's default stands; elsewhere, and outside the main thread, do nothing."""
        if threading.current_thread() is threading.main_thread():
            for number in [getattr(signal, name) for name in NAMES if hasattr(signal, name)]:
                handler = signal.getsignal(number)
                if handler == signal.SIG_DFL:
                    self._previous[number] = handler
                    signal.signal(number, self._raise)

    def restore(self, hold: Hold | None = None) -> None:
        """Put back what was there, unless somebody else has installed a handler since; while held, with the release.

        Only the main thread can; if another one ends the run, the handlers stay and do what was done before them.
        """
        previous, self._previous = self._previous, {}
        if threading.current_thread() is threading.main_thread():
            for number, handler in previous.items():
                if signal.getsignal(number) == self._raise:
                    signal.signal(number, handler)
                elif hold is not None:
                    hold.replace(number, self._raise, handler)

    def _raise(self, signum: int, frame: Any) -> None:
        if not self._previous:
            Preempted(signum).pass_on()
        raise Preempted(signum)


class Hold:
    """Holds back Ctrl-C and `Preempted`, so that what must not be left half done is not; the second one gets through.

    It begins when it is made. In other threads than the main one, where signals never arrive, it does nothing.
    """

    def __init__(self) -> None:
        self._handlers: dict[int, Any] = {}
        self._noted: list[BaseException] = []
        self.begin()

    def begin(self) -> None:
        """Hold back what comes from now on."""
        if threading.current_thread() is not threading.main_thread():
            return
        try:
            for number in [getattr(signal, name) for name in ("SIGINT", *NAMES) if hasattr(signal, name)]:
                handler = signal.getsignal(number)
                ours = isinstance(getattr(handler, "__self__", None), Preemption)
                if ours or handler is signal.default_int_handler:
                    self._handlers[number] = handler
                    signal.signal(number, self._keep)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let signals do again what they did."""
        for number, handler in reversed(self._handlers.items()):  # Ctrl-C last: from there on it may come
            signal.signal(number, handler)
        self._handlers.clear()

    def replace(self, number: int, old: Any, new: Any) -> None:
        """Let `release` put back another handler."""
        if self._handlers.get(number) == old:
            self._handlers[number] = new

    @property
    def called(self) -> bool:
        """Whether an interruption is held back."""
        return bool(self._noted)

    def note(self, interruption: BaseException) -> None:
        """Count an interruption that came while none were held back."""
        self._noted.append(interruption)

    def raise_first(self, unless: BaseException | None) -> None:
        """Do what the first interruption asks for; Ctrl-C only if no error is on its way up already."""
        for interruption in self._noted:
            if isinstance(interruption, Preempted):
                interruption.pass_on()
            if unless is None:
                raise interruption

    def _keep(self, signum: int, frame: Any) -> None:
        interruption = KeyboardInterrupt() if signum == signal.SIGINT else Preempted(signum)
        self._noted.append(interruption)
        if len(self._noted) > 1:
            raise interruption
