"""Curves of metrics as SVG: drawn here, so that a page needs no script and prints as sharp as it shows.

Several curves of a million points would hide each other, so they are drawn pale, with the mean of each stretch as a
line above them.

What can be chosen, the axes, is chosen with radio buttons and rules of CSS that hide one of two pictures: no script of
ours has to run for it, the page can be read where scripts are forbidden, and what was chosen is what is printed.
"""

from __future__ import annotations

from capture.pages.axes import Axis, apart, range_of_values, unit_of
from capture.pages.curves import STRETCHES, curve, extremes, is_dense, means, over_steps, over_time, range_of_places
from capture.pages.html import element, together
from capture.wording import counted, format_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from capture.pages.curves import Pieces, Points
    from capture.pages.html import Html
    from capture.records import Series

COLOURS, DASHES = 7, 4  #: no two of 28 curves share both: the numbers have no common divisor
_WIDTH, _HEIGHT = 560, 250  #: of the picture
_FEW = 2  #: curves in a picture that each get all columns of pixels; of more, two columns are drawn as one
_LABELLED = 10  #: runs whose curves have their names beside them; of more there would be no room
_LONGEST_LABEL = 7  #: characters of such a name
_LINE = 16  #: height of a name: on small screens and paper, letters are larger beside the picture
_SAID = 12  #: runs whose curves are described in words
_DECADES = 30.0  #: greatest by least value, from which a logarithmic axis is offered
_MANY_DECADES = 1000.0  #: from which it is what one sees first
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 8, 10, 36  #: margins, where the axes are written
_RIGHT_OF_NAMES = 62  #: margin where the names of the curves are written


def style_of(place: int) -> str:
    """Return the classes by which the curve of the run at this place is told apart."""
    return f"curve {_colour_of(place)} d{place % DASHES}"


def _colour_of(place: int) -> str:
    return f"s{place % COLOURS}"


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
    low, high = apart(*range_of_places(points.values()), 0.5)
    unit, word = unit_of(high - low) if timed else (1.0, "step")
    are_named = len(names) > 1 and len(points) <= _LABELLED
    right = _WIDTH - (_RIGHT_OF_NAMES if are_named else _RIGHT)
    columns = (right - _LEFT) // (1 if len(points) <= _FEW else 2)
    curves = {place: curve(each, low, high, log, columns) for place, each in points.items()}
    values = [value for pieces in curves.values() for piece in pieces for _, value in piece]
    if not values:
        return element("p", "None of its values can be drawn.", class_=f"soft small {class_}".strip())
    across = Axis(low, high, _LEFT, right, unit=unit)
    up = Axis(*range_of_values(min(values), max(values), log), _HEIGHT - _BOTTOM, _TOP, log)
    lines = {
        place: means(each, low, high, log) if is_dense(each, columns) else curves[place]
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


def _last(pieces: Pieces) -> str:
    return format_number(pieces[-1][-1][1]) if pieces else "none"


def _frame(across: Axis, up: Axis, right: float, word: str, log: bool) -> Html:
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


def _path(pieces: Pieces, across: Axis, up: Axis, style: str, name: str | None = None) -> Html:
    drawn = "".join(_drawn(piece, across, up) for piece in pieces)
    return element("path", element("title", name) if name else None, d=drawn, class_=style) if drawn else together()


def _drawn(piece: list[tuple[float, float]], across: Axis, up: Axis) -> str:
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


def _labels(lines: Mapping[int, Pieces], across: Axis, up: Axis, right: float, names: Sequence[str]) -> Html:
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
    finite = {place: extremes(each) for place, each in points.items()}
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
    drawn, any_dense, any_timed = [], False, False
    for number, name in enumerate(metrics):
        some = {place: each[name] for place, each in enumerate(series) if name in each and len(each[name])}
        if not any(len(each) > 1 for each in some.values()):
            continue
        points = {place: over_steps(each) for place, each in some.items()}
        timed = _all_over_time(some, starts)
        any_dense = any_dense or any(is_dense(each, _WIDTH // 2) for each in points.values())
        any_timed = any_timed or timed is not None
        drawn.append(figure(name, points, names, f"{prefix}-{number}", timed))
    if not drawn:
        return None
    note = (
        "Where points stand closer than pixels, the pale band reaches from the least to the greatest of them, and the "
        f"line is the mean of each {STRETCHES}th of the axis."
    )
    return together(
        _choice(f"{prefix}-axis", "axis-of", (("step", "by step", True), ("time", "by time", False)), "Curves")
        if any_timed
        else None,
        legend(names) if len(names) > 1 else None,
        element("p", note, class_="soft small") if any_dense else None,
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
    low, high = range_of_places(timed.values())
    return timed if high > low else None


def legend(names: Sequence[str]) -> Html:
    """Return which curve belongs to which run."""
    lines = [element("path", d="M1 5H39", class_=style_of(place)) for place in range(len(names))]
    swatches = [element("svg", line, viewBox="0 0 40 10", aria_hidden="true") for line in lines]
    return element("ul", [element("li", swatch, name) for swatch, name in zip(swatches, names)], class_="legend")
