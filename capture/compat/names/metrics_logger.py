"""``sacred.metrics_logger``: numbers gathered by hand, in the form that `log_metrics` hooks get."""

from __future__ import annotations

import threading

from capture.config.values import python_scalar
from capture.moments import datetime, timezone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


class ScalarMetricLogEntry:
    """One number."""

    def __init__(self, name: str, step: Any, timestamp: datetime, value: Any) -> None:
        self.name, self.step, self.timestamp, self.value = name, step, timestamp, value


class MetricsLogger:
    """Gathers numbers until somebody asks for them; a run has a journal instead."""

    def __init__(self) -> None:
        self._entries: list[ScalarMetricLogEntry] = []
        self._last_step: dict[str, Any] = {}
        self._lock = threading.Lock()

    def log_scalar_metric(self, metric_name: str, value: Any, step: Any = None) -> None:
        """Add a number; without a step it is one after the last of that name."""
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        with self._lock:
            step = self._last_step.get(metric_name, -1) + 1 if step is None else python_scalar(step)
            self._last_step[metric_name] = step
            self._entries.append(ScalarMetricLogEntry(metric_name, step, now, python_scalar(value)))

    def get_last_metrics(self) -> list[ScalarMetricLogEntry]:
        """Return what came since the last call."""
        with self._lock:
            entries, self._entries = self._entries, []
        return entries


def linearize_metrics(logged_metrics: Iterable[ScalarMetricLogEntry]) -> dict[str, dict[str, Any]]:
    """Return numbers by name, each with its columns ``steps``, ``values`` and ``timestamps``."""
    columns: dict[str, dict[str, Any]] = {}
    for entry in logged_metrics:
        column = columns.setdefault(
            entry.name, {"name": entry.name, "steps": [], "values": [], "timestamps": []}
        )
        column["steps"].append(entry.step)
        column["values"].append(entry.value)
        column["timestamps"].append(entry.timestamp)
    return columns
