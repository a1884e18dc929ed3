"""What the state of a run rests on: a record says RUNNING for ever if its process had no time to say anything else."""

from __future__ import annotations

from capture.filters import state_of
from capture.wording import format_duration, format_utc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

    from capture.records import RunRecord


def newest_sign(run: RunRecord) -> tuple[str, datetime] | None:
    """Return the newest sign of life that a record has with its time, or None.

    It is a "heartbeat", a "measurement" or, where there is neither, the "start". What a run printed has no time.
    """
    from capture import records

    sign = records.newest_sign(run)
    if sign is None and run.start_time is not None:
        return "start", records.aware_utc(run.start_time)
    return sign


def last_sign(run: RunRecord) -> datetime | None:
    """Return when a run last gave a sign of life, or began; None if its record does not say."""
    sign = newest_sign(run)
    return None if sign is None else sign[1]


def remark(run: RunRecord, now: datetime | None = None) -> str:
    """Say what the state of a run that is recorded as RUNNING rests on; nothing of others.

    Parameters
    ----------
    run : RunRecord or StoredRun
        Whether its process lives is known of runs of a store only, and there only on the machine that they run on.
    now : datetime, optional
        Aware.

    Examples
    --------
    >>> from datetime import datetime, timedelta, timezone
    >>> from capture.records import RunRecord
    >>> run = RunRecord("a" * 32)
    >>> run.status, run.heartbeat = "RUNNING", datetime(2026, 1, 1, tzinfo=timezone.utc)
    >>> remark(run, run.heartbeat + timedelta(minutes=4))
    'no sign for 4 min, since 2026-01-01 00:00:00 UTC; whether it lives cannot be told from here'
    """
    if run.status != "RUNNING":
        return ""
    sign = newest_sign(run)
    last = None if sign is None else sign[1]
    since = format_utc(last) if last is not None else ""
    store = getattr(run, "store", None)
    came = f"no sign came after its start {since}" if sign and sign[0] == "start" else f"the last sign came {since}"
    if state_of(run) == "DIED":
        gone = "recorded as RUNNING, but its process is gone"
        return f"{gone}; {came}" if since else gone
    if store is not None and store.is_alive(run):
        return f"its process is alive; {came}" if since else "its process is alive"
    unknown = "whether it lives cannot be told from here"
    return f"no sign for {_silence(last, now)}, since {since}; {unknown}" if last is not None else unknown


def in_short(run: RunRecord, now: datetime | None = None) -> str:
    """Say the same in a few words, and nothing of a run whose process is known to live."""
    if run.status != "RUNNING":
        return ""
    if state_of(run) == "DIED":
        return "recorded as RUNNING"
    store, last = getattr(run, "store", None), last_sign(run)
    if last is None or (store is not None and store.is_alive(run)):
        return ""
    return f"no sign for {_silence(last, now)}"


def _silence(last: datetime, now: datetime | None) -> str:
    from datetime import datetime, timezone

    seconds = ((now or datetime.now(timezone.utc)) - last).total_seconds()
    return format_duration(max(seconds, 0.0))
