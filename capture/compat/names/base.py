"""``sacred.observers.base``."""

from __future__ import annotations

from capture.hooks import RunObserver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["RunObserver", "td_format"]

_UNITS = (("year", 365 * 86400), ("month", 30 * 86400), ("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def td_format(td_object: timedelta) -> str:
    """Say in words how long something took.

    Examples
    --------
    >>> from datetime import timedelta
    >>> td_format(timedelta(hours=2, seconds=61)), td_format(timedelta(0))
    ('2 hours, 1 minute, 1 second', 'less than a second')
    """
    left = int(td_object.total_seconds())
    words = []
    for unit, seconds in _UNITS:
        count, left = divmod(left, seconds)
        if count:
            words.append(f"{count} {unit}{'s' if count > 1 else ''}")
    return ", ".join(words) or "less than a second"
