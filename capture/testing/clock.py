"""A clock that a test sets."""

from __future__ import annotations

from capture.clock import Clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable


class FakeClock(Clock):
    """A clock that goes on only when somebody waits for it, or the test says so.

    Parameters
    ----------
    start : float
        Wall clock at the beginning, in seconds since the epoch.

    Attributes
    ----------
    on_wait : callable or None
        Called before each wait: what would happen meanwhile in other threads.

    Examples
    --------
    >>> clock = FakeClock()
    >>> before = clock.monotonic()
    >>> clock.advance(30)
    >>> clock.monotonic() - before
    30.0
    """

    def __init__(self, start: float = 1_767_225_600.0) -> None:
        self._start = start
        self._elapsed = 0.0
        self.on_wait: Callable[[], None] | None = None

    def time(self) -> float:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        if seconds < 0:
            raise ValueError(f"time does not go back, got {seconds!r} s")
        self._elapsed += seconds

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        """Return at once if `event` is set; else let `timeout_s` pass.

        Raises
        ------
        RuntimeError
            If nothing has an end: without a limit, the event would be waited for for ever.
        """
        if self.on_wait is not None:
            self.on_wait()
        if event.is_set():
            return True
        if timeout_s is None:
            raise RuntimeError("this wait would never end: the event is not set, and there is no limit")
        self.advance(timeout_s)
        return event.is_set()
