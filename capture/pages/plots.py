"""Curves of metrics as SVG: drawn here, so that a page needs no script and prints as sharp as it shows.

A curve of a million points is drawn with at most four points for each column of pixels: the first, the least, the
greatest and the last in it. That is what the full curve would look like, spikes included. Several such curves would
hide each other, so they are drawn pale, with the mean of each stretch as a line above them.

What can be chosen, the axes, is chosen with radio buttons and rules of CSS that hide one of two pictures: no script of
ours has to run for it, the page can be read where scripts are forbidden, and what was chosen is what is printed.
"""

from __future__ import annotations

import math
import operator
import sys

from capture.pages.html import element, together
from capture.wording import counted, format_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from capture.pages.html import Html
    from capture.records import Series

    Pieces = list[list[tuple[float, float]]]

COLOURS, DASHES = 7, 4  #: no two of 28 curves share both: the numbers have no common divisor
_WIDTH, _HEIGHT = 560, 250  #: of the picture
_FEW = 2  #: curves in a picture that each get all columns of pixels; of more, two columns are drawn as one
_STRETCHES = 80  #: of which the mean is drawn where points are closer than pixels
_LABELLED = 10  #: runs whose curves have their names beside them; of more there would be no room
_LONGEST_LABEL = 7  #: characters of such a name
_LINE = 16  #: height of a name: on small screens and paper, letters are larger beside the picture
_MANY = 20_000  #: points from which importing NumPy pays
_SAID = 12  #: runs whose curves are described in words
_DECADES = 30.0  #: greatest by least value, from which a logarithmic axis is offered
_MANY_DECADES = 1000.0  #: from which it is what one sees first
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 8, 10, 36  #: margins, where the axes are written
_RIGHT_OF_NAMES = 62  #: margin where the names of the curves are written

#: from how many seconds on time is counted in what, and how many seconds that is
_UNITS = ((172_800.0, "days", 86_400.0), (7_200.0, "hours", 3_600.0), (120.0, "minutes", 60.0), (0.5, "seconds", 1.0))


def style_of(place: int) -> str:
    """Return the classes by which the curve of the run at this place is told apart."""
    return f"curve {_colour_of(place)} d{place % DASHES}"


def _colour_of(place: int) -> str:
    return f"s{place % COLOURS}"


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


# -------------------------------------------------------------------------------------------------------------- points


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


def curve(points: Points, low: float, high: float, log: bool = False, columns: int = _WIDTH) -> Pieces:
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
    if not _is_dense(points, columns):
        return _pieces(_one_by_one(points, log))
    outlines = _outlines if points.numpy is None else _outlines_of_arrays
    return _pieces(outlines(points, low, _half(low, high) / columns, columns, log))


def _is_dense(points: Points, columns: int) -> bool:
    """Say whether points stand closer than pixels."""
    return len(points) > 4 * columns


def means(points: Points, low: float, high: float, log: bool = False, stretches: int = _STRETCHES) -> Pieces:
    """Return the mean of each stretch of the axis, at the mean place of its points.

    Parameters are those of `curve`; what that would leave out is left out here. A stretch without any point that is
    drawn parts two pieces.
    """
    width = _half(low, high) / stretches
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
        return min(int(_half(low, point[0]) / width), stretches - 1)

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
        here = min(int(_half(low, point[0]) / width), columns - 1)
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


def _half(low: float, high: float) -> float:
    """Return half of what lies between two numbers: the whole may be too large for a float."""
    return high / 2 - low / 2


def _apart(low: float, high: float, least: float) -> tuple[float, float]:
    """Return two ends that differ, so that something can lie between them."""
    if _half(low, high) > 1e-300:
        return low, high
    least = max(least, abs(low) * 1e-6)
    return low - least, high + least


# ------------------------------------------------------------------------------------------------------------- drawing


class _Axis:
    """Places on the picture for numbers, and the marks beside it; numbers are divided by `unit` before."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool = False, unit: float = 1.0) -> None:
        low, high = low / unit, high / unit
        self._log, self._start, self._length, self._unit = log, start, end - start, unit
        self._marks = log_ticks(low, high) if log else ticks(low, high)
        self.labels = (log_tick_labels if log else tick_labels)(self._marks)
        ends = (math.log10(low), math.log10(high)) if log else (low, high)
        self._low, self._half = ends[0], _half(*ends)
        self.marks = [self._place(mark) for mark in self._marks]

    def place(self, value: float) -> float:
        return self._place(value / self._unit)

    def _place(self, value: float) -> float:
        value = math.log10(value) if self._log else value
        return self._start + self._length * ((value / 2 - self._low / 2) / self._half)


def plot(
    points: Mapping[int, Points],
    title: str,
    names: Sequence[str],
    log: bool = False,
    class_: str = "",
    timed: bool = False,
) -> Html:
    """Return a picture of one metric in one or several runs.

    Parameters
    ----------
    points : mapping of int to Points
        By the place of the run, which decides the colour of its curve.
    title : str
        The metric; read aloud, as is what the picture shows.
    names : sequence of str
        Of all runs.
    log : bool
        Whether values stand on a logarithmic axis.
    class_ : str
        Of the picture.
    timed : bool
        Whether values stand over seconds, not steps.
    """
    low, high = _apart(*_ends(points.values()), 0.5)
    unit, word = _unit_of(high - low) if timed else (1.0, "step")
    are_named = len(names) > 1 and len(points) <= _LABELLED
    right = _WIDTH - (_RIGHT_OF_NAMES if are_named else _RIGHT)
    columns = (right - _LEFT) // (1 if len(points) <= _FEW else 2)
    curves = {place: curve(each, low, high, log, columns) for place, each in points.items()}
    values = [value for pieces in curves.values() for piece in pieces for _, value in piece]
    if not values:
        return element("p", "None of its values can be drawn.", class_=f"soft small {class_}".strip())
    across = _Axis(low, high, _LEFT, right, unit=unit)
    up = _Axis(*_range_of_values(min(values), max(values), log), _HEIGHT - _BOTTOM, _TOP, log)
    lines = {
        place: means(each, low, high, log) if _is_dense(each, columns) else curves[place]
        for place, each in points.items()
    }
    said = "; ".join(
        f"{names[place]}: {counted(len(each), 'point')}, last {_last(curves[place])}"
        for place, each in list(points.items())[:_SAID]
    )
    axis = f"{'time' if timed else 'step'}, {'logarithmic' if log else 'linear'} axis"
    return element(
        "svg",
        _frame(across, up, right, f"{word} since the run began" if timed else word, log),
        [
            _path(pieces, across, up, f"curve pale {_colour_of(place)}", names[place])
            for place, pieces in curves.items()
            if pieces is not lines[place]
        ],
        [_path(pieces, across, up, "halo") for place, pieces in lines.items() if pieces is not curves[place]],
        [_path(pieces, across, up, style_of(place), names[place]) for place, pieces in lines.items()],
        _labels(lines, across, up, right, names) if are_named else None,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=f"{title} by {axis}, from {low / unit:g} to {high / unit:g} {word}. {said}.",
        class_=class_ or None,
    )


def _unit_of(seconds: float) -> tuple[float, str]:
    """Return what so many seconds are counted in: how many seconds that is, and its name."""
    found = next(((unit, word) for least, word, unit in _UNITS if seconds >= least), None)
    return found or (1e-3, "milliseconds")


def _ends(points: Iterable[Points]) -> tuple[float, float]:
    ends = [(float(each.across[0]), float(each.across[-1])) for each in points if len(each)]
    return min((low for low, _ in ends), default=0.0), max((high for _, high in ends), default=1.0)


def _range_of_values(low: float, high: float, log: bool) -> tuple[float, float]:
    if log:
        margin = (high / low) ** 0.04 if high / low < math.inf else 1.0
        low, high = (low / margin, high * margin) if high > low else (low / 2, high * 2)
        return max(low, math.ulp(0.0)), min(high, sys.float_info.max)
    low, high = _apart(low, high, 1.0 if low == 0 else abs(low) * 0.1)
    margin = 0.08 * _half(low, high)
    bottom = 0.0 if 0 <= low < margin else max(low - margin, -sys.float_info.max)  # curves that end at zero stand on it
    return bottom, min(high + margin, sys.float_info.max)


def _last(pieces: Pieces) -> str:
    return format_number(pieces[-1][-1][1]) if pieces else "none"


def _frame(across: _Axis, up: _Axis, right: float, word: str, log: bool) -> Html:
    """Return the lines and marks around the curves."""
    floor = _HEIGHT - _BOTTOM
    lines = [element("path", d=f"M{_LEFT} {mark:.1f}H{right}", class_="grid") for mark in up.marks]
    heights = [
        element("text", label, x=_LEFT - 7, y=f"{mark + 3.8:.1f}", text_anchor="end")
        for mark, label in zip(up.marks, up.labels)
    ]
    places = [
        element("text", label, x=f"{mark:.1f}", y=floor + 16, text_anchor="middle")
        for mark, label in zip(across.marks, across.labels)
    ]
    axis = element("path", d=f"M{_LEFT} {floor}H{right}", class_="axis")
    below = element("text", word, x=right, y=_HEIGHT - 4, text_anchor="end")
    scale = element("text", "logarithmic axis", x=_LEFT, y=_HEIGHT - 4) if log else None
    return element("g", lines, axis, heights, places, below, scale, aria_hidden="true")


def _path(pieces: Pieces, across: _Axis, up: _Axis, style: str, name: str | None = None) -> Html:
    drawn = "".join(_drawn(piece, across, up) for piece in pieces)
    return element("path", element("title", name) if name else None, d=drawn, class_=style) if drawn else together()


def _drawn(piece: list[tuple[float, float]], across: _Axis, up: _Axis) -> str:
    """Return the path of a piece in tenths of a pixel, each point from the one before: that takes the fewest bytes."""
    tenths = [(round(10 * across.place(place)), round(10 * up.place(value))) for place, value in piece]
    x, y = tenths[0]
    parts = [f"M{x / 10:g} {y / 10:g}"]
    for to_x, to_y in tenths[1:]:
        right, down = to_x - x, to_y - y
        if right and down:
            parts.append(f"l{_tenth(right)}{'' if down < 0 else ' '}{_tenth(down)}")
        elif right or down:
            parts.append(f"h{_tenth(right)}" if right else f"v{_tenth(down)}")
        x, y = to_x, to_y
    # a line of no length is drawn as a dot, since its ends are round
    return "".join(parts) if len(parts) > 1 else f"{parts[0]}h0"


def _tenth(number: int) -> str:
    return f"{number / 10:g}".replace("0.", ".", 1) if -10 < number < 10 else f"{number / 10:g}"


def _labels(lines: Mapping[int, Pieces], across: _Axis, up: _Axis, right: float, names: Sequence[str]) -> Html:
    """Return the name of each run beside the end of its curve, moved where two would stand in one place.

    The end of a curve that stops before the others is marked, and has its name above it: curves may go on below.
    """
    ends = {place: pieces[-1][-1] for place, pieces in lines.items() if pieces}
    anchors = {place: (across.place(end[0]), up.place(end[1])) for place, end in ends.items()}
    stops = {place for place, (x, _) in anchors.items() if x < right - _LINE}
    heights = _apart_from_each_other(
        {place: (x, y - _LINE if place in stops else y) for place, (x, y) in anchors.items()}, right
    )
    drawn = []
    for place, (x, y) in anchors.items():
        height = heights[place]
        if place in stops:
            drawn.append(element("path", d=f"M{x:.1f} {y:.1f}h0", class_=f"end {_colour_of(place)}"))
        leader = element("path", d=f"M{x:.1f} {y:.1f}L{x + 12:.1f} {height:.1f}", class_=f"leader {_colour_of(place)}")
        drawn += [leader, element("text", _label(names[place]), x=f"{x + 14:.1f}", y=f"{height + 3.8:.1f}")]
    return element("g", drawn, class_="names", aria_hidden="true")


def _label(name: str) -> str:
    short = name.removeprefix("run ")
    return short if len(short) <= _LONGEST_LABEL else f"{short[: _LONGEST_LABEL - 1]}…"


def _apart_from_each_other(anchors: Mapping[int, tuple[float, float]], right: float) -> dict[int, float]:
    """Return a height for each name, close to the end of its curve and clear of the others that stand beside it."""
    heights: dict[int, float] = {}
    columns: dict[int, list[int]] = {}
    for place, (x, _) in anchors.items():  # names that end within a width of each other share a column
        columns.setdefault(round((right - x) / _RIGHT_OF_NAMES), []).append(place)
    for column in columns.values():
        column.sort(key=lambda place: anchors[place][1])
        wanted = [anchors[place][1] for place in column]
        pushed = _stacked(wanted)
        up = sum(pushed) / len(pushed) - sum(wanted) / len(wanted)  # half of them give way above, half of them below
        spread = _stacked([each - up for each in wanted])
        floor = float(_HEIGHT - _BOTTOM)  # what would stand below the axis goes up again, and pushes those above it
        for place, height in zip(reversed(column), reversed(spread)):
            floor = heights[place] = min(height, floor)
            floor -= _LINE
    return heights


def _stacked(heights: Iterable[float]) -> list[float]:
    """Return increasing heights, each moved down as far as needed to be a line below the one before."""
    stacked: list[float] = []
    for height in heights:
        stacked.append(max(height, stacked[-1] + _LINE) if stacked else max(height, float(_TOP)))
    return stacked


def figure(
    name: str,
    points: Mapping[int, Points],
    names: Sequence[str],
    identity: str,
    timed: Mapping[int, Points] | None = None,
) -> Html:
    """Return the pictures of a metric with its caption; where values span decades, one can choose a logarithmic axis.

    Parameters
    ----------
    name : str
        Of the metric.
    points, names
        As for `plot`.
    identity : str
        Unique in the page.
    timed : mapping of int to Points, optional
        The same over time: a second picture, of which `figures` shows one.
    """
    finite = {place: _summary(each) for place, each in points.items()}
    caption = element("figcaption", name, element("small", _remarks(points, finite, names)))
    lows = [low for count, low, _ in finite.values() if count]
    highs = [high for count, _, high in finite.values() if count]
    axes = [("by-step", points, False), ("by-time", timed, True)] if timed else [("", points, False)]

    def pictures(log: bool, scale: str = "") -> list[Html]:
        return [plot(some, name, names, log, f"{scale} {by}".strip(), over) for by, some, over in axes if some]

    if not lows or min(lows) <= 0 or max(highs) / min(lows) < _DECADES:
        return element("figure", caption, pictures(log=False))
    is_wide = max(highs) / min(lows) >= _MANY_DECADES
    choice = _choice(
        identity, "scale", (("lin", "linear", not is_wide), ("log", "logarithmic", is_wide)), f"Vertical axis of {name}"
    )
    return element("figure", choice, caption, pictures(False, "lin"), pictures(True, "log"))


def _remarks(
    points: Mapping[int, Points], finite: Mapping[int, tuple[int, float, float]], names: Sequence[str]
) -> list[str]:
    """Return what the curves alone do not tell: points that are none, and curves that hide each other."""
    remarks = []
    lost = sum(len(points[place]) - count for place, (count, _, _) in finite.items())
    if lost:
        remarks.append(f" {counted(lost, 'point')} not finite, left out as gaps")
    groups: list[list[int]] = []
    for place, each in points.items():
        group = next((group for group in groups if points[group[0]].looks_like(each)), None)
        if group is None:
            groups.append([place])
        else:
            group.append(place)
    for group in groups:
        if len(group) > 1:
            remarks.append(f" the same in {', '.join(names[place] for place in group)}")
    return [*remarks[:1], *(f";{each}" for each in remarks[1:])]


def _choice(identity: str, class_: str, options: Iterable[tuple[str, str, bool]], about: str) -> Html:
    """Return radio buttons, and their labels; rules of CSS hide what comes after them and is not chosen."""
    options = list(options)
    buttons = [
        element(
            "input", type="radio", name=identity, id=f"{identity}-{kind}", class_=f"{class_} {kind}", checked=chosen,
            aria_label=f"{about}: {text}",
        )
        for kind, text, chosen in options
    ]  # fmt: skip
    labels = [element("label", text, for_=f"{identity}-{kind}", class_=kind) for kind, text, _ in options]
    return together(buttons, element("span", labels, class_=f"{class_}s", aria_hidden="true"))


def figures(
    metrics: Sequence[str], series: Sequence[Mapping[str, Series]], starts: Sequence[float | None],
    names: Sequence[str], prefix: str,
) -> Html | None:  # fmt: skip
    """Return the pictures of metrics over steps and, if their points say when they were, over time.

    Parameters
    ----------
    metrics : sequence of str
    series : sequence of mappings of str to Series, shape (runs,)
    starts : sequence of float, shape (runs,)
        When the runs began, in seconds since the epoch; None where nobody knows.
    names : sequence of str, shape (runs,)
    prefix : str
        What identities in the page begin with.

    Returns
    -------
    Html or None
        None if no metric has two points.
    """
    drawn, is_dense, any_timed = [], False, False
    for number, name in enumerate(metrics):
        some = {place: each[name] for place, each in enumerate(series) if name in each and len(each[name])}
        if not any(len(each) > 1 for each in some.values()):
            continue
        points = {place: over_steps(each) for place, each in some.items()}
        timed = _all_over_time(some, starts)
        is_dense = is_dense or any(_is_dense(each, _WIDTH // 2) for each in points.values())
        any_timed = any_timed or timed is not None
        drawn.append(figure(name, points, names, f"{prefix}-{number}", timed))
    if not drawn:
        return None
    note = (
        "Where points stand closer than pixels, the pale band reaches from the least to the greatest of them, and the "
        f"line is the mean of each {_STRETCHES}th of the axis."
    )
    return together(
        _choice(f"{prefix}-axis", "axis-of", (("step", "by step", True), ("time", "by time", False)), "Curves")
        if any_timed
        else None,
        legend(names) if len(names) > 1 else None,
        element("p", note, class_="soft small") if is_dense else None,
        element("div", drawn, class_="plots"),
    )


def _all_over_time(some: Mapping[int, Series], starts: Sequence[float | None]) -> dict[int, Points] | None:
    """Return the points of all runs over time; None if one has no times, or all were logged at one instant."""
    timed = {}
    for place, each in some.items():
        points = over_time(each, starts[place])
        if points is None:
            return None
        timed[place] = points
    low, high = _ends(timed.values())
    return timed if high > low else None


def _summary(points: Points) -> tuple[int, float, float]:
    """Return how many values are finite, and the least and greatest of them."""
    if points.numpy is not None:
        finite = points.values[points.numpy.isfinite(points.values)]
        return len(finite), *((float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0))
    values = [value for value in points.values if math.isfinite(value)]
    return len(values), min(values, default=0.0), max(values, default=0.0)


def legend(names: Sequence[str]) -> Html:
    """Return which curve belongs to which run."""
    lines = [element("path", d="M1 5H39", class_=style_of(place)) for place in range(len(names))]
    swatches = [element("svg", line, viewBox="0 0 40 10", aria_hidden="true") for line in lines]
    return element("ul", [element("li", swatch, name) for swatch, name in zip(swatches, names)], class_="legend")
