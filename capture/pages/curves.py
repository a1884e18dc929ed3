"""The points of a curve: those of a metric, and as many of them as a picture can show.

A curve of a million points is drawn with at most four points for each column of pixels: the first, the least, the
greatest and the last in it. That is what the full curve would look like, spikes included.
"""

from __future__ import annotations

import math
import operator

from capture.pages.axes import half

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from capture.records import Series

    Pieces = list[list[tuple[float, float]]]

STRETCHES = 80  #: of which the mean is drawn where points are closer than pixels
_MANY = 20_000  #: points from which importing NumPy pays


class Points:
    """Values of a series and where they stand along the axis, in that order; NumPy's arrays where there are many.

    Attributes
    ----------
    across, values : sequence of float, shape (n,)
        Steps, or seconds. Steps that are no numbers are counted instead; values that are none are "not a number".
    """

    __slots__ = ("across", "numpy", "values")

    numpy: Any
    across: Any
    values: Any

    def __init__(self, across: Any, values: Any, numpy: Any = None) -> None:
        in_order = _in_order if numpy is None else _arrays_in_order
        self.numpy = numpy
        self.across, self.values = in_order(across, values)

    def __len__(self) -> int:
        return len(self.values)

    def looks_like(self, other: Points) -> bool:
        """Say whether both hold the same values at the same places, so that one curve hides the other."""
        if len(self) != len(other):
            return False
        pairs = ((self.across, other.across), (self.values, other.values))
        if self.numpy is not None and other.numpy is not None:
            return all(self.numpy.array_equal(one, another, equal_nan=True) for one, another in pairs)
        return all(
            one == another or (one != one and another != another)  # not a number is equal to nothing, itself included
            for ours, theirs in pairs
            for one, another in zip(ours, theirs)
        )


def over_steps(series: Series) -> Points:
    """Return the values of a series over its steps."""
    numpy = _numpy() if len(series) > _MANY else None
    if numpy is None:
        return Points(_numbers(series.steps), _numbers(series.values))
    return Points(series.step_array.astype(float), series.array, numpy)


def over_time(series: Series, start: float | None) -> Points | None:
    """Return the values of a series over the seconds since a run began; None if its points do not say when they were.

    Parameters
    ----------
    series : Series
    start : float, optional
        Seconds since the epoch; the first point if it is not known.
    """
    numpy = _numpy() if len(series) > _MANY else None
    if numpy is None:
        times = [_number(time) for time in series.times]
        if len(times) != len(series) or not times or not all(map(math.isfinite, times)):
            return None
        begun = times[0] if start is None else start * 1e6
        return Points([(time - begun) / 1e6 for time in times], _numbers(series.values))
    moments = series.time_array
    if len(moments) != len(series) or numpy.isnat(moments).any():
        return None
    times = moments.astype("datetime64[us]").astype("int64")
    begun = times[0] if start is None else start * 1e6
    return Points((times - begun) / 1e6, series.array, numpy)


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        return None
    return numpy


def _numbers(values: Any) -> list[float]:
    return [_number(value) for value in values]


def _number(value: Any) -> float:
    try:
        return math.nan if isinstance(value, (str, bytes)) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _in_order(across: list[float], values: list[float]) -> tuple[list[float], list[float]]:
    across = [place if math.isfinite(place) else float(number) for number, place in enumerate(across)]
    if any(map(operator.lt, across[1:], across)):  # a run that went on from an earlier step
        order = sorted(range(len(across)), key=across.__getitem__)
        return [across[place] for place in order], [values[place] for place in order]
    return across, values


def _arrays_in_order(across: Any, values: Any) -> tuple[Any, Any]:
    import numpy

    finite = numpy.isfinite(across)
    if not finite.all():
        across = numpy.where(finite, across, numpy.arange(len(across), dtype=float))
    if (across[1:] < across[:-1]).any():
        order = numpy.argsort(across, kind="stable")
        return across[order], values[order]
    return across, values


def curve(points: Points, low: float, high: float, log: bool, columns: int) -> Pieces:
    """Return what is drawn of a series between two places of the axis.

    Parameters
    ----------
    points : Points
    low, high : float
        Of the left and right end, ``low < high``.
    log : bool
        Whether values that are not above zero are left out.
    columns : int
        Columns of pixels; each is given at most four points.

    Returns
    -------
    list of list of (float, float)
        Pieces of places and values, to be joined by lines; between pieces something is not a number.
    """
    if not is_dense(points, columns):
        return _pieces(_one_by_one(points, log))
    outlines = _outlines if points.numpy is None else _outlines_of_arrays
    return _pieces(outlines(points, low, half(low, high) / columns, columns, log))


def is_dense(points: Points, columns: int) -> bool:
    """Say whether points stand closer than pixels."""
    return len(points) > 4 * columns


def means(points: Points, low: float, high: float, log: bool = False, stretches: int = STRETCHES) -> Pieces:
    """Return the mean of each stretch of the axis, at the mean place of its points.

    Parameters are those of `curve`; what that would leave out is left out here. A stretch without any point that is
    drawn parts two pieces.
    """
    width = half(low, high) / stretches
    sums = _sums if points.numpy is None else _sums_of_arrays
    pieces: Pieces = []
    last = -2
    for stretch, place, value in sums(points, low, width, stretches, log):
        if stretch != last + 1:
            pieces.append([])
        pieces[-1].append((place, value))
        last = stretch
    return pieces


def _sums(points: Points, low: float, width: float, stretches: int, log: bool) -> Iterator[tuple[int, float, float]]:
    """Yield for each stretch with points its number, and the means of where they stand and of their values."""
    from itertools import groupby

    def stretch_of(point: tuple[float, float]) -> int:
        return min(int(half(low, point[0]) / width), stretches - 1)

    drawn = (point for _, (point,) in _one_by_one(points, log))
    for stretch, group in groupby(drawn, stretch_of):
        places, values = zip(*group)
        count = len(places)  # each is divided before they are added, since the sum may be too large for a float
        yield stretch, sum(place / count for place in places), sum(value / count for value in values)


def _sums_of_arrays(
    points: Points, low: float, width: float, stretches: int, log: bool
) -> Iterator[tuple[int, float, float]]:
    """Do what `_sums` does, for a million points at once."""
    numpy = points.numpy
    _, places, values = _drawn_arrays(points, log)
    if not len(places):
        return
    stretch, starts = _groups(places, low, width, stretches, numpy)
    counts = numpy.diff(numpy.append(starts, len(places)))
    each = numpy.repeat(counts, counts)
    where, mean = (numpy.add.reduceat(column / each, starts) for column in (places, values))
    yield from zip(stretch[starts].tolist(), where.tolist(), mean.tolist())


def _drawn_arrays(points: Points, log: bool) -> tuple[Any, Any, Any]:
    """Return which points are drawn, where they stand, and their values."""
    numpy = points.numpy
    drawn = numpy.isfinite(points.values)
    if log:
        drawn &= points.values > 0
    kept = numpy.flatnonzero(drawn)
    return kept, points.across[kept], points.values[kept]


def _groups(places: Any, low: float, width: float, count: int, numpy: Any) -> tuple[Any, Any]:
    """Return in which of `count` groups of the axis each point stands, and where groups begin among the points."""
    group = ((places / 2 - low / 2) / width).astype(int).clip(0, count - 1)
    return group, numpy.flatnonzero(numpy.concatenate(([True], group[1:] != group[:-1])))


def _pieces(outlines: Iterable[tuple[bool, list[tuple[float, float]]]]) -> Pieces:
    """Join what is drawn of each column, but where a piece begins."""
    pieces: Pieces = []
    for begins, outline in outlines:
        if begins or not pieces:
            pieces.append([])
        pieces[-1] += outline
    return pieces


def _one_by_one(points: Points, log: bool) -> Iterator[tuple[bool, list[tuple[float, float]]]]:
    begins = True
    for place, value in zip(points.across, points.values):
        drawn = math.isfinite(value) and (not log or value > 0)
        if drawn:
            yield begins, [(place, value)]
        begins = not drawn


def _outlines(
    points: Points, low: float, width: float, columns: int, log: bool
) -> Iterator[tuple[bool, list[tuple[float, float]]]]:
    """Yield for each column whether a piece begins there, and its first, least, greatest and last point."""
    group: list[tuple[float, float]] = []
    column, begins = -1, True
    for point_begins, (point,) in _one_by_one(points, log):
        here = min(int(half(low, point[0]) / width), columns - 1)
        if here != column and group:
            yield begins, _outline(group)
            group = []
        if not group:
            column, begins = here, point_begins
        group.append(point)
    if group:
        yield begins, _outline(group)


def _outline(group: list[tuple[float, float]]) -> list[tuple[float, float]]:
    if len(group) < 3:
        return group
    values = [value for _, value in group]
    middle = group[len(group) // 2][0]
    return [group[0], (middle, min(values)), (middle, max(values)), group[-1]]


def _outlines_of_arrays(
    points: Points, low: float, width: float, columns: int, log: bool
) -> Iterator[tuple[bool, list[tuple[float, float]]]]:
    """Do what `_outlines` does, for a million points at once."""
    numpy = points.numpy
    kept, places, values = _drawn_arrays(points, log)
    if not len(kept):
        return
    column, starts = _groups(places, low, width, columns, numpy)
    ends = numpy.concatenate((starts[1:], [len(column)])) - 1
    begins = numpy.concatenate(([True], kept[starts[1:]] - kept[starts[1:] - 1] > 1))
    middles = places[(starts + ends + 1) // 2]
    corners = [
        *(places[starts], values[starts]),
        *(middles, numpy.minimum.reduceat(values, starts)),
        *(middles, numpy.maximum.reduceat(values, starts)),
        *(places[ends], values[ends]),
    ]
    for begin, size, row in zip(begins.tolist(), (ends - starts + 1).tolist(), numpy.stack(corners, 1).tolist()):
        outline = list(zip(row[::2], row[1::2]))
        yield begin, outline if size > 2 else [outline[0], outline[3]][:size]


def range_of_places(points: Iterable[Points]) -> tuple[float, float]:
    """Return where the first of some curves begins, and the last ends."""
    ends = [(float(each.across[0]), float(each.across[-1])) for each in points if len(each)]
    return min((low for low, _ in ends), default=0.0), max((high for _, high in ends), default=1.0)


def extremes(points: Points) -> tuple[int, float, float]:
    """Return how many values are finite, and the least and greatest of them."""
    if points.numpy is not None:
        finite = points.values[points.numpy.isfinite(points.values)]
        return len(finite), *((float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0))
    values = [value for value in points.values if math.isfinite(value)]
    return len(values), min(values, default=0.0), max(values, default=0.0)
