"""The classes of `datetime`, without the Python that they replace.

Before Python 3.12 `datetime` runs 2,500 lines that define the classes once more in Python, 2 ms for a run that wants to
know what time it is. These are the very same classes: who imports `datetime` gets them too.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import date, datetime, time, timedelta, timezone
else:
    try:
        from _datetime import date, datetime, time, timedelta, timezone
    except ImportError:  # PyPy
        from datetime import date, datetime, time, timedelta, timezone

__all__ = ["date", "datetime", "time", "timedelta", "timezone"]
