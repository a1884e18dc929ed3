"""The clock that delivery goes by; a test puts another in its place (`capture.testing.FakeClock`)."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading


class Clock:
    """The system's clock."""

    def time(self) -> float:
        """Return the wall clock in seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds since some moment; never goes back."""
        return time.monotonic()

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        """Wait until `event` is set, at most `timeout_s` seconds (None: without limit); say whether it is."""
        return event.wait(timeout_s)


SYSTEM_CLOCK = Clock()
