"""The axes of a picture: what stands beside them, and where on the picture a number lies."""

from __future__ import annotations

import math
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

#: from how many seconds on time is counted in what, and how many seconds that is
_UNITS = ((172_800.0, "days", 86_400.0), (7_200.0, "hours", 3_600.0), (120.0, "minutes", 60.0), (0.5, "seconds", 1.0))

_CLOSE = 1e-300  #: what lies no farther apart leaves no room for marks between it


class Axis:
    """Places on the picture for numbers, and the marks beside it; numbers are divided by `unit` before."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool = False, unit: float = 1.0) -> None:
        low, high = low / unit, high / unit
        self._log, self._start, self._length, self._unit = log, start, end - start, unit
        self._marks = log_ticks(low, high) if log else ticks(low, high)
        self.labels = (log_tick_labels if log else tick_labels)(self._marks)
        ends = (math.log10(low), math.log10(high)) if log else (low, high)
        self._low, self._half = ends[0], half(*ends)
        self.marks = [self._place(mark) for mark in self._marks]

    def place(self, value: float) -> float:
        return self._place(value / self._unit)

    def _place(self, value: float) -> float:
        value = math.log10(value) if self._log else value
        return self._start + self._length * ((value / 2 - self._low / 2) / self._half)


def range_of_values(low: float, high: float, log: bool) -> tuple[float, float]:
    """Return where an axis begins and ends that has values from `low` to `high` on it."""
    if log:
        margin = (high / low) ** 0.04 if high / low < math.inf else 1.0
        low, high = (low / margin, high * margin) if high > low else (low / 2, high * 2)
        return max(low, math.ulp(0.0)), min(high, sys.float_info.max)
    low, high = apart(low, high, 1.0 if low == 0 else abs(low) * 0.1)
    margin = 0.08 * half(low, high)
    bottom = 0.0 if 0 <= low < margin else max(low - margin, -sys.float_info.max)  # curves that end at zero stand on it
    return bottom, min(high + margin, sys.float_info.max)


def unit_of(seconds: float) -> tuple[float, str]:
    """Return what so many seconds are counted in: how many seconds that is, and its name."""
    found = next(((unit, word) for least, word, unit in _UNITS if seconds >= least), None)
    return found or (1e-3, "milliseconds")


def half(low: float, high: float) -> float:
    """Return half of what lies between two numbers: the whole may be too large for a float."""
    return high / 2 - low / 2


def apart(low: float, high: float, least: float) -> tuple[float, float]:
    """Return two ends that differ, so that something can lie between them."""
    if half(low, high) > _CLOSE:
        return low, high
    least = max(least, abs(low) * 1e-6, 10 * _CLOSE)
    return low - least, high + least


# --------------------------------------------------------------------------------------------------------------- ticks


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round numbers between two others, which differ.

    Examples
    --------
    >>> ticks(0, 1), ticks(-3, 17)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.0, 5.0, 10.0, 15.0])
    """
    rough = (high - low) / max(count, 1)
    if not 0 < rough < math.inf:
        return [low]
    unit = 10.0 ** math.floor(math.log10(rough))
    if unit == 0:  # the span is among the smallest numbers there are
        return [low, high]
    step = unit * next(factor for factor in (1, 2, 5, 10) if factor * unit >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [_rounded(place * step, step) for place in range(first, last + 1)]


def _rounded(value: float, step: float) -> float:
    return round(value, max(0, 2 - math.floor(math.log10(step)))) if abs(value) < 1e15 and step > 1e-300 else value


def log_ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Return powers of ten between two positive numbers; with their halves and fifths where they are few.

    Examples
    --------
    >>> log_ticks(0.01, 10), log_ticks(2, 30)
    ([0.01, 0.1, 1.0, 10.0], [2.0, 5.0, 10.0, 20.0])
    """
    first, last = math.floor(math.log10(low) + 1e-9), math.floor(math.log10(high) + 1e-9)
    stride = max(1, math.ceil((last - first) / count))
    factors = (1, 2, 5) if last - first < 3 else (1,)
    marks = [factor * float(f"1e{power}") for power in range(first, last + 1, stride) for factor in factors]
    inside = [mark for mark in marks if low * 0.999999 <= mark <= high * 1.000001 and 0 < mark < math.inf]
    return inside if len(inside) > 1 else [low, high]


def tick_labels(marks: Sequence[float]) -> list[str]:
    """Return the marks of one axis as text, with the digits that tell them apart and no more.

    Examples
    --------
    >>> tick_labels([0.0, 0.5, 1.0]), tick_labels([0, 20_000]), tick_labels([1e-7, 2e-7])
    (['0', '0.5', '1'], ['0', '20k'], ['1e-7', '2e-7'])
    """
    largest = max(map(abs, marks))
    units = ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))
    unit, sign = next(((unit, sign) for start, unit, sign in units if start <= largest < 1e13), (1.0, ""))
    for digits in range(1, 17):
        labels = [f"{float(f'{mark / unit:.{digits}g}'):.15g}" for mark in marks]
        if all(math.isclose(float(label) * unit, mark, rel_tol=1e-9) for label, mark in zip(labels, marks)):
            break
    return [f"{_tidy(label)}{sign if float(label) else ''}" for label in labels]


def log_tick_labels(marks: Sequence[float]) -> list[str]:
    """Return the marks of a logarithmic axis as text.

    Examples
    --------
    >>> log_tick_labels([1e-6, 0.01, 1, 100, 1e6])
    ['1e-6', '0.01', '1', '100', '1e6']
    """
    return [_tidy(f"{mark:.4g}" if 1e-4 <= mark < 1e5 else f"{mark:.2e}".replace(".00", "")) for mark in marks]


def _tidy(label: str) -> str:
    head, _, power = label.partition("e")
    return f"{head}e{int(power)}" if power else label
