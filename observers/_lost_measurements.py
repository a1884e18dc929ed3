"""Measurements that ``metrics.jsonl`` has lost and Sacred's ``metrics.json``, made at the end of the run, still has."""

from __future__ import annotations

import os

from capture.codec import decoded_name
from capture.errors import RecordError
from capture.observers import _atomic
from capture.observers._run_folder import METRICS, RunFolder
from capture.observers._series import JSON, batch_line, read_batches, sacreds_series, series_of
from capture.records import Series

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def lost_points(folder: str) -> int | None:
    """Return how many points ``metrics.json`` has that ``metrics.jsonl`` has not; None if they do not fit together."""
    try:
        lost = _lost(folder)
    except (RecordError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # it is damaged as well, or of somebody else
    return None if lost is None else sum(len(column["values"]) for column in lost.values())


def bring_back(folder: str, basedir: str) -> None:
    """Append the points that are lost to ``metrics.jsonl``, where `lost_points` has said that they are there.

    ``metrics.json`` has null for NaN and infinity: all of them come back as NaN.
    """
    shared = _atomic.is_shared(basedir)
    with _atomic.Lock(folder):
        lost = _lost(folder)
        path = os.path.join(folder, METRICS)
        data = _whole_lines(path)
        if lost:
            data += batch_line(lost) + b"\n"
        if lost is not None:
            _atomic.write(path, data, shared, durable=True)
    if lost is not None:
        writer = RunFolder.open(folder, basedir, shared)
        writer.change("measured", len(data))
        writer.flush()


def _whole_lines(path: str) -> bytes:
    """Return what is left of a file, without a line that was cut off."""
    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except FileNotFoundError:
        return b""
    return data[: data.rfind(b"\n") + 1]


def _lost(folder: str) -> dict[str, dict[str, Any]] | None:
    """Return the lost points, as `batch_line` takes them.

    None if those that are left are not the beginning of what ``metrics.json`` has, or if several processes wrote them,
    whose points it does not tell apart.
    """
    path = os.path.join(folder, JSON)
    try:
        with open(path, "rb") as stream:
            known = sacreds_series(stream.read(), path)
    except FileNotFoundError:
        return None
    batches = list(read_batches(os.path.join(folder, METRICS)))
    if any("w" in batch for batch in batches) or any(decoded_name(name) != name for name in known):
        return None
    left = series_of(batches)
    lost = {}
    for name, series in known.items():
        start = left.get(name, Series(name))
        if not _begins(series, start):
            return None
        count = len(start)
        if count < len(series):
            lost[name] = _column(series, count)
    return lost if left.keys() <= known.keys() else None


def _begins(whole: Series, start: Series) -> bool:
    """Say whether a series is the beginning of another: steps and times tell, values may be NaN."""
    count = len(start)
    return list(whole.steps[:count]) == list(start.steps) and list(whole.times[:count]) == list(start.times)


def _column(series: Series, count: int) -> dict[str, Any]:
    from capture.moments import datetime, timedelta, timezone

    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    moments = [epoch + timedelta(microseconds=time) for time in series.times[count:]]
    return {"steps": series.steps[count:], "values": series.values[count:], "timestamps": moments}
