"""Numbers that a run logs: gathered in columns, encoded once, handed on in batches."""

from __future__ import annotations

import math
import threading
import time

from capture import plainjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

MAX_POINTS = 8_192  #: points that are gathered before the thread that logs them hands them on itself
MAX_AGE_US = 50_000  #: microseconds after the last hand-over from which a new point is handed on at once

_dumps = plainjson.encoder((",", ":"), allow_nan=False)


class Column:
    """Points of one metric that have not been handed on yet."""

    __slots__ = ("last_step", "steps", "times", "values")

    def __init__(self) -> None:
        self.steps: list[Any] = []
        self.values: list[Any] = []
        self.times: list[int] = []  # microseconds since the epoch
        self.last_step: Any = -1


class MetricsLog:
    """Gathers points and hands them on as the body of a `capture.events.Metrics` event.

    Parameters
    ----------
    emit : callable
        ``emit(body)`` with the event's fields as JSON text, without braces.
    time_ns : callable
        Clock, nanoseconds since the epoch.

    Notes
    -----
    A point is handed on at once when the last hand-over is older than 50 ms; in a burst, points are gathered until
    `flush` is called (several times a second, by the run's ticker) or `MAX_POINTS` wait. So memory does not grow with
    the number of points, and nothing older than the ticker's period is lost when the process dies.
    """

    def __init__(self, emit: Callable[[str], Any], time_ns: Callable[[], int] = time.time_ns) -> None:
        self._emit = emit
        self._time_ns = time_ns
        self._lock = threading.RLock()  # re-entrant: a signal handler of the user may log, too
        self._columns: dict[str, Column] = {}
        self._waiting = 0
        self._handed_on = 0

    def log(self, name: str, value: Any, step: Any = None) -> None:
        """Add one point.

        Parameters
        ----------
        name : str
        value : number
            Python, numpy or torch; anything with ``item()`` that gives a number.
        step : number, optional
            Default: the last step of this metric plus one, from 0.

        Raises
        ------
        TypeError
            If `name` is not a string, or `value` or `step` is not one number.
        """
        if type(value) is not float and type(value) is not int:
            value = _number(value, name, "value")
        if step is not None and type(step) is not int:
            step = _number(step, name, "step")
        with self._lock:
            column = self._columns.get(name)
            if column is None:
                column = self._columns[_checked_name(name)] = Column()
            if step is None:
                step = column.last_step + 1
            now = self._time_ns() // 1000
            try:
                column.steps.append(step)
                column.values.append(value)
                column.times.append(now)
            except BaseException:
                _align(column)  # Ctrl-C between two appends must not shift the columns against each other
                raise
            column.last_step = step
            self._waiting += 1
            if self._waiting >= MAX_POINTS or now - self._handed_on > MAX_AGE_US:
                self._hand_on(now)

    def log_many(self, metrics: Mapping[str, Any], step: Any = None) -> None:
        """Add one point to each of several metrics, at one step."""
        checked = [(name, _number(value, name, "value")) for name, value in metrics.items()]
        with self._lock:
            for name, value in checked:
                self.log(name, value, step)

    def flush(self) -> None:
        """Hand on what waits."""
        if self._waiting:
            with self._lock:
                self._hand_on(self._time_ns() // 1000)

    def _hand_on(self, now: int) -> None:
        self._waiting, self._handed_on = 0, now
        start = min((column.times[0] for column in self._columns.values() if column.times), default=now)
        parts = []
        for name, column in self._columns.items():
            count = min(len(column.steps), len(column.values), len(column.times))
            if count:
                parts.append(f"{_dumps(name)}:{_encoded(column, count, start)}")
                del column.steps[:count], column.values[:count], column.times[:count]
        if parts:
            self._emit(f'"start":{start},"columns":{{{",".join(parts)}}}')


def _encoded(column: Column, count: int, start: int) -> str:
    values = column.values[:count]
    if not math.isfinite(_total(values)):
        values = [v if not isinstance(v, float) or math.isfinite(v) else repr(v) for v in values]
    times = [moment - start for moment in column.times[:count]]
    return f'{{"steps":{_dumps(column.steps[:count])},"values":{_dumps(values)},"times":{_dumps(times)}}}'


def _total(values: list[Any]) -> float:
    """Return a sum that is finite only if every value is: one pass in C instead of a test per value."""
    try:
        return float(sum(values))
    except OverflowError:  # integers beyond the range of floats
        return math.inf


def _align(column: Column) -> None:
    count = min(len(column.steps), len(column.values), len(column.times))
    del column.steps[count:], column.values[count:], column.times[count:]


def _checked_name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of a metric is a string, got {name!r}")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise TypeError(f"the name of a metric must be encodable as UTF-8, got {name!r}") from None
    return name


def _number(value: Any, name: str, what: str) -> Any:
    """Return `value` as a Python int or float."""
    kind = type(value)
    if kind is float or kind is int:
        return value
    item = getattr(value, "item", None)
    if item is not None:
        try:
            value = item()
        except (ValueError, RuntimeError, TypeError):
            shape = getattr(value, "shape", "?")
            raise TypeError(
                f"metric {name!r}: the {what} must be one number, got {kind.__name__} of shape {tuple(shape)}"
            ) from None
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, (str, bytes, complex)):
        raise TypeError(f"metric {name!r}: the {what} must be a real number, got {value!r}")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"metric {name!r}: the {what} must be a real number, got {kind.__name__}: {value!r}") from None
