"""Curves of metrics as SVG: drawn here, so that a page needs no script and prints as sharp as it shows.

A curve of a million points is drawn with at most four points for each column of pixels: the first, the least, the
greatest and the last in it. That is what the full curve would look like, spikes included.
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

COLOURS, DASHES = 7, 4  #: curves are told apart by colour, then by dashes
_WIDTH, _HEIGHT = 560, 250  #: of the picture
_MANY = 20_000  #: points from which importing NumPy pays
_SAID = 12  #: runs whose curves are described in words
_DECADES = 30.0  #: greatest by least value, from which a logarithmic axis is offered
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 8, 10, 36  #: margins, where the axes are written


def style_of(place: int) -> str:
    """Return the classes by which the curve of the run at this place is told apart."""
    return f"curve s{place % COLOURS} d{place // COLOURS % DASHES}"


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
    """Steps and values of a series as floats, in the order of the steps; NumPy's arrays where there are many.

    Attributes
    ----------
    steps, values : sequence of float, shape (n,)
        Steps that are no numbers are counted instead; values that are none are "not a number".
    """

    __slots__ = ("numpy", "steps", "values")

    numpy: Any
    steps: Any
    values: Any

    def __init__(self, series: Series) -> None:
        self.numpy = _numpy() if len(series) > _MANY else None
        if self.numpy is None:
            self.steps, self.values = _in_order(_numbers(series.steps), _numbers(series.values))
        else:
            self.steps, self.values = _arrays_in_order(series.step_array, series.array, self.numpy)

    def __len__(self) -> int:
        return len(self.values)


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


def _in_order(steps: list[float], values: list[float]) -> tuple[list[float], list[float]]:
    steps = [step if math.isfinite(step) else float(place) for place, step in enumerate(steps)]
    if any(map(operator.lt, steps[1:], steps)):  # a run that went on from an earlier step
        order = sorted(range(len(steps)), key=steps.__getitem__)
        return [steps[place] for place in order], [values[place] for place in order]
    return steps, values


def _arrays_in_order(steps: Any, values: Any, numpy: Any) -> tuple[Any, Any]:
    steps = steps.astype(float)
    finite = numpy.isfinite(steps)
    if not finite.all():
        steps = numpy.where(finite, steps, numpy.arange(len(steps), dtype=float))
    if (steps[1:] < steps[:-1]).any():
        order = numpy.argsort(steps, kind="stable")
        return steps[order], values[order]
    return steps, values


def curve(points: Points, low: float, high: float, log: bool = False, columns: int = _WIDTH) -> Pieces:
    """Return what is drawn of a series between two steps.

    Parameters
    ----------
    points : Points
    low, high : float
        The steps at the left and right end, ``low < high``.
    log : bool
        Whether values that are not above zero are left out.
    columns : int
        Columns of pixels; each is given at most four points.

    Returns
    -------
    list of list of (float, float)
        Pieces of steps and values, to be joined by lines; between pieces something is not a number.
    """
    if len(points) <= 4 * columns:
        return _pieces(_one_by_one(points, log))
    outlines = _outlines if points.numpy is None else _outlines_of_arrays
    return _pieces(outlines(points, low, _half(low, high) / columns, columns, log))


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
    for step, value in zip(points.steps, points.values):
        drawn = math.isfinite(value) and (not log or value > 0)
        if drawn:
            yield begins, [(step, value)]
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
    drawn = numpy.isfinite(points.values)
    if log:
        drawn &= points.values > 0
    places = numpy.flatnonzero(drawn)
    if not len(places):
        return
    steps, values = points.steps[places], points.values[places]
    column = ((steps / 2 - low / 2) / width).astype(int).clip(0, columns - 1)
    starts = numpy.flatnonzero(numpy.concatenate(([True], column[1:] != column[:-1])))
    ends = numpy.concatenate((starts[1:], [len(column)])) - 1
    begins = numpy.concatenate(([True], places[starts[1:]] - places[starts[1:] - 1] > 1))
    middles = steps[(starts + ends + 1) // 2]
    corners = [
        *(steps[starts], values[starts]),
        *(middles, numpy.minimum.reduceat(values, starts)),
        *(middles, numpy.maximum.reduceat(values, starts)),
        *(steps[ends], values[ends]),
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
    """Places on the picture for numbers, and the marks beside it."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool = False) -> None:
        self._log, self._start, self._length = log, start, end - start
        self.marks = log_ticks(low, high) if log else ticks(low, high)
        self.labels = (log_tick_labels if log else tick_labels)(self.marks)
        ends = (math.log10(low), math.log10(high)) if log else (low, high)
        self._low, self._half = ends[0], _half(*ends)

    def place(self, value: float) -> float:
        value = math.log10(value) if self._log else value
        return self._start + self._length * ((value / 2 - self._low / 2) / self._half)


def plot(points: Mapping[int, Points], title: str, names: Sequence[str], log: bool = False, class_: str = "") -> Html:
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
    """
    low, high = _apart(*_range_of_steps(points.values()), 0.5)
    curves = {place: curve(each, low, high, log, _WIDTH - _LEFT - _RIGHT) for place, each in points.items()}
    values = [value for pieces in curves.values() for piece in pieces for _, value in piece]
    if not values:
        return element("p", "None of its values can be drawn.", class_="soft small")
    bottom, top = _range_of_values(min(values), max(values), log)
    across = _Axis(low, high, _LEFT, _WIDTH - _RIGHT)
    up = _Axis(bottom, top, _HEIGHT - _BOTTOM, _TOP, log)
    said = "; ".join(
        f"{names[place]}: {counted(len(each), 'point')}, last {_last(curves[place])}"
        for place, each in list(points.items())[:_SAID]
    )
    return element(
        "svg",
        element("desc", f"Curves over the steps from {low:g} to {high:g}. {said}."),
        _frame(across, up),
        [_path(pieces, across, up, style_of(place), names[place]) for place, pieces in curves.items()],
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=f"{title}, {'logarithmic' if log else 'linear'} axis. {said}",
        class_=class_ or None,
    )


def _range_of_steps(points: Iterable[Points]) -> tuple[float, float]:
    ends = [(float(each.steps[0]), float(each.steps[-1])) for each in points if len(each)]
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


def _frame(across: _Axis, up: _Axis) -> Html:
    """Return the lines and marks around the curves."""
    floor = _HEIGHT - _BOTTOM
    lines = [
        (element("path", d=f"M{_LEFT} {up.place(mark):.1f}H{_WIDTH - _RIGHT}", class_="grid"))
        for mark in up.marks
    ]
    marks = [
        element("text", label, x=_LEFT - 7, y=f"{up.place(mark) + 3.8:.1f}", text_anchor="end")
        for mark, label in zip(up.marks, up.labels)
    ]
    steps = [
        element("text", label, x=f"{across.place(mark):.1f}", y=floor + 16, text_anchor="middle")
        for mark, label in zip(across.marks, across.labels)
    ]
    axis = element("path", d=f"M{_LEFT} {floor}H{_WIDTH - _RIGHT}", class_="axis")
    step = element("text", "step", x=_WIDTH - _RIGHT, y=_HEIGHT - 4, text_anchor="end")
    return element("g", lines, axis, marks, steps, step, aria_hidden="true")


def _path(pieces: Pieces, across: _Axis, up: _Axis, style: str, name: str) -> Html:
    drawn: list[str] = []
    for piece in pieces:
        every = [f"{across.place(step):.1f} {up.place(value):.1f}" for step, value in piece]
        places = [place for place, before in zip(every, ["", *every]) if place != before]
        # a line of no length is drawn as a dot, since its ends are round
        drawn.append("M" + "L".join(places) + ("h0" if len(places) == 1 else ""))
    return element("path", element("title", name), d="".join(drawn), class_=style) if drawn else together()


def figure(name: str, points: Mapping[int, Points], names: Sequence[str], identity: str) -> Html:
    """Return the picture of a metric with its caption; where values span decades, one can choose a logarithmic axis.

    Parameters
    ----------
    name : str
        Of the metric.
    points, names
        As for `plot`.
    identity : str
        Unique in the page.
    """
    finite = {place: _summary(each) for place, each in points.items()}
    lost = sum(len(points[place]) - count for place, (count, _, _) in finite.items())
    note = element("small", f" {counted(lost, 'point')} not finite, left out as gaps") if lost else None
    caption = element("figcaption", name, note)
    lows = [low for count, low, _ in finite.values() if count]
    highs = [high for count, _, high in finite.values() if count]
    if not lows or min(lows) <= 0 or max(highs) / min(lows) < _DECADES:
        return element("figure", caption, plot(points, name, names))
    choice = [
        element("input", type="radio", name=identity, id=f"{identity}-{kind}", class_=f"scale {kind}", checked=chosen)
        for kind, chosen in (("lin", True), ("log", False))
    ]
    labels = [
        element("label", text, for_=f"{identity}-{kind}", class_=kind)
        for kind, text in (("lin", "linear"), ("log", "logarithmic"))
    ]
    return element(
        "figure",
        choice,
        element("span", labels, class_="scales"),
        caption,
        plot(points, name, names, class_="lin"),
        plot(points, name, names, log=True, class_="log"),
    )


def _summary(points: Points) -> tuple[int, float, float]:
    """Return how many values are finite, and the least and greatest of them."""
    if points.numpy is not None:
        finite = points.values[points.numpy.isfinite(points.values)]
        return len(finite), *((float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0))
    values = [value for value in points.values if math.isfinite(value)]
    return len(values), min(values, default=0.0), max(values, default=0.0)


def legend(names: Sequence[str]) -> Html:
    """Return which curve belongs to which run."""
    lines = [element("path", d="M1 5H27", class_=style_of(place)) for place in range(len(names))]
    swatches = [element("svg", line, viewBox="0 0 28 10", aria_hidden="true") for line in lines]
    return element("ul", [element("li", swatch, name) for swatch, name in zip(swatches, names)], class_="legend")
