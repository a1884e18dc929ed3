"""Curves as SVG: true to the data, however much of it, and readable without seeing."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.pages import axes, curves, plots
from capture.records import Series
from tests.pages.checking import NASTY

numbers = st.one_of(st.floats(), st.integers(-(10**400), 10**400), st.none(), st.booleans(), st.just("nan"))


def series(values, steps=None):
    return Series("m", range(len(values)) if steps is None else steps, values, range(len(values)))


def points_of(values):
    return curves.over_steps(series(values))


def drawn(values, log=False, steps=None):
    """Return the pieces that are drawn, between the first and the last step."""
    points = curves.over_steps(series(values, steps))
    low, high = float(points.across[0]), float(points.across[-1])
    return curves.curve(points, low, high + (high == low), log, columns=100)


@pytest.fixture(params=["numpy", "python"])
def many(request, monkeypatch):
    """Draw many points with NumPy and, as where it is not installed, without."""
    if request.param == "numpy":
        monkeypatch.setattr(curves, "_MANY", 10)
    else:
        monkeypatch.setattr(curves, "_numpy", lambda: None)


def test_a_spike_among_many_points_stays(many):
    """A loss that exploded for one step of 50,000 is what somebody looks at the curve for."""
    values = [math.sin(place / 1000) for place in range(50_000)]
    values[31_234], values[40_001] = 99.0, -77.0
    pieces = drawn(values)
    assert len(pieces) == 1 and len(pieces[0]) <= 4 * 100
    heights = [value for _, value in pieces[0]]
    assert max(heights) == 99.0 and min(heights) == -77.0
    assert pieces[0][0] == (0, 0.0) and pieces[0][-1] == (49_999, values[-1])


def test_a_gap_that_can_be_seen_stays_a_gap(many):
    """A line drawn over steps where the value was not a number would claim what nobody measured."""
    values = [1.0] * 10_000
    values[3_000:5_000] = [math.nan] * 2_000
    values[7_050] = math.inf  # narrower than a column of pixels: no gap that can be seen
    pieces = drawn(values)
    assert len(pieces) == 2
    assert pieces[0][-1][0] < 3_000 and pieces[1][0][0] >= 5_000


def test_with_and_without_numpy_the_same_is_drawn(monkeypatch):
    """Whether NumPy is installed must not change what a page shows."""
    values = [math.sin(place / 50) if place % 700 > 30 else math.nan for place in range(9_000)]
    steps = [*range(4_000, 9_000), *range(4_000)]  # a run that went on from an earlier step
    without = drawn(values, steps=steps)
    monkeypatch.setattr(curves, "_MANY", 10)
    assert drawn(values, steps=steps) == without


def test_the_mean_of_each_stretch_is_the_same_with_and_without_numpy(monkeypatch):
    """It is what one sees where eight noisy curves lie on each other; a gap in it is a gap."""
    values = [math.sin(place / 50) if not 3_000 < place < 5_000 else math.nan for place in range(9_000)]
    points = curves.over_steps(series(values))
    without = curves.means(points, 0, 8_999)
    assert len(without) == 2 and without[0][-1][0] < 3_001 and without[1][0][0] > 4_999
    width = 8_999 / 80
    assert without[0][1][1] == pytest.approx(sum(values[math.ceil(width) : math.ceil(2 * width)]) / math.floor(width), abs=0.02)
    monkeypatch.setattr(curves, "_MANY", 10)
    with_numpy = curves.means(curves.over_steps(series(values)), 0, 8_999)
    assert [len(piece) for piece in with_numpy] == [len(piece) for piece in without]
    for ours, theirs in zip(with_numpy, without):
        assert [number for point in ours for number in point] == pytest.approx([number for point in theirs for number in point])


def test_the_mean_of_the_largest_numbers_is_a_number(many):
    """Their sum is infinite, and the curve would vanish."""
    made = curves.means(curves.over_steps(series([1.7e308] * 20_000)), 0, 19_999)
    assert all(value == pytest.approx(1.7e308) for piece in made for _, value in piece)


def test_smoothing_hides_nothing():
    """Where points stand closer than pixels a line of means is drawn, above all of them, a spike of one step included."""
    values = [math.sin(place) for place in range(10_000)]
    values[5_000] = 50.0
    made = plots.plot({0: points_of(values)}, "m", ["run 1"])
    pale, line = re.findall(r'<path d="([^"]*)" class="curve ([^"]*)"', made)
    assert f'<path d="{line[0]}" class="halo">' in made, "so that it is seen among the bands of others"
    assert pale[1].startswith("pale") and line[1] == "s0 d0"
    assert len(pale[0]) > 10 * len(line[0])
    heights = re.findall(r"-1[0-9]{2}", pale[0])
    assert heights, "the spike goes up over most of the picture"
    few = plots.plot({0: points_of(values[:100])}, "m", ["run 1"])
    assert "pale" not in few


@pytest.mark.parametrize("many_points", [False, True])
def test_curves_are_drawn_over_time_too(many_points, monkeypatch):
    """A run that needs fewer steps and more hours is no better: by time one sees it."""
    monkeypatch.setattr(curves, "_MANY", 1 if many_points else 10**9)
    begun = 1_700_000_000
    times = [(begun + 60 * place) * 10**6 for place in range(5)]
    told = Series("m", range(5), [5.0, 4.0, 3.0, 2.0, 1.0], times)
    assert list(curves.over_time(told, float(begun)).across) == [0, 60, 120, 180, 240]
    assert list(curves.over_time(told, None).across) == [0, 60, 120, 180, 240]
    made = plots.figures(["m"], [{"m": told}], [float(begun)], ["run 1"], "metric")
    assert made.count('class="by-step"') == 1 and made.count('class="by-time"') == 1
    assert "minutes since the run began" in made and "m by time, linear axis, from 0 to 4 minutes" in made


def test_without_times_there_is_no_choice_of_axes():
    """Old records do not say when a point was logged, or one moment for all."""
    for times in ([], [7, 7, 7]):
        made = plots.figures(["m"], [{"m": Series("m", range(3), [1.0, 2.0, 3.0], times)}], [None], ["run 1"], "metric")
        assert "by-time" not in made and "<svg" in made


@pytest.mark.parametrize(("seconds", "word"), [(1e-3, "milliseconds"), (30, "seconds"), (600, "minutes"), (9_000, "hours"), (1e6, "days")])
def test_time_is_counted_in_what_people_count_it_in(seconds, word):
    """86400 s is a day."""
    assert axes.unit_of(seconds)[1] == word


def test_names_beside_curves_do_not_lie_on_each_other():
    """Ten curves that end in one point have ten names one can read, all of them beside the picture."""
    for end in (0.0, 100.0, 214.0):
        heights = sorted(plots._apart_from_each_other({place: (500.0, end) for place in range(10)}, 498).values())
        assert all(below - above >= plots._LINE - 1e-9 for above, below in pairwise(heights))
        assert heights[0] > 0 and heights[-1] <= plots._HEIGHT
    apart = plots._apart_from_each_other({0: (500.0, 50.0), 1: (500.0, 150.0)}, 498)
    assert apart == {0: 50.0, 1: 150.0}, "what does not collide stays"


def test_a_curve_that_stops_before_the_others_is_seen_to_stop():
    """A run that failed at step 10 on the very curve of another one would not be seen at all."""
    points = {0: points_of([1 / (step + 1) for step in range(30)]), 1: points_of([1 / (step + 1) for step in range(10)])}
    made = plots.plot(points, "loss", ["run 1", "run 2"])
    assert len(re.findall(r'class="end s\d"', made)) == 1 and 'class="end s1"' in made
    assert ">1</text>" in made and ">2</text>" in made


def test_one_of_several_runs_is_named_even_where_it_is_alone():
    """Of eight runs one logs a metric: its curve says whose it is."""
    made = plots.plot({2: points_of([1.0, 2.0])}, "m", ["run 1", "run 2", "run 33"])
    assert ">33</text>" in made
    assert "names" not in plots.plot({0: points_of([1.0, 2.0])}, "m", ["run 1"])


def test_curves_that_hide_each_other_are_said_to():
    """Two runs with the same seed draw one line; a reader would look for the other."""
    same, other = [1.0, math.nan, 3.0], [1.0, 2.0, 3.0]
    points = {0: points_of(same), 1: points_of(other), 2: points_of(same)}
    assert "the same in run 1, run 3" in plots.figure("m", points, ["run 1", "run 2", "run 3"], "m-0")
    assert "the same" not in plots.figure("m", {0: points_of(same), 1: points_of(other)}, ["run 1", "run 2"], "m-0")


def test_few_points_are_all_drawn_and_a_lonely_one_is_a_dot():
    """Between two gaps a single value is still a value."""
    pieces = drawn([1.0, math.nan, 2.0, math.nan, 3.0, 4.0])
    assert pieces == [[(0, 1.0)], [(2, 2.0)], [(4, 3.0), (5, 4.0)]]
    made = plots.plot({0: points_of([1.0, math.nan, 2.0])}, "m", ["1"])
    assert made.count("h0") == 2


def test_on_a_logarithmic_axis_what_is_not_above_zero_is_left_out():
    """It has no place there; a gap says so."""
    assert drawn([1.0, 0.0, 10.0, -5.0, 100.0], log=True) == [[(0, 1.0)], [(2, 10.0)], [(4, 100.0)]]


@pytest.mark.parametrize("log", [False, True])
@given(values=st.lists(numbers, min_size=1, max_size=30), steps=st.lists(numbers, min_size=30, max_size=30))
def test_any_numbers_make_a_picture(values, steps, log):
    """Metrics hold NaN, infinities, the largest floats and integers beyond them; a page is written all the same."""
    points = curves.over_steps(series(values, steps[: len(values)]))
    made = plots.plot({0: points}, "m", ["1"], log=log)
    ET.fromstring(made.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1))
    assert "nan" not in "".join(re.findall(r'd="([^"]*)"', made)) and "inf" not in "".join(re.findall(r'd="([^"]*)"', made))
    for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", "".join(re.findall(r'd="([^"]*)" class="curve', made))):
        assert -1 <= float(x) <= plots._WIDTH + 1 and -1 <= float(y) <= plots._HEIGHT + 1


@pytest.mark.parametrize("value", [5e-324, 2.2250738585e-313, 8.988456685854894e307, 1.7e308])
def test_a_logarithmic_axis_reaches_to_the_ends_of_floats(value):
    """The next power of ten, or half of the value, is no float any more."""
    made = plots.plot({0: points_of([value])}, "m", ["1"], log=True)
    drawn_to = [float(y) for _, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", made)]
    assert "inf" not in made and "nan" not in made
    assert all(-1 <= y <= plots._HEIGHT + 1 for y in drawn_to)


@pytest.mark.parametrize("value", [0.0, 5e-324, -1e-310, 1e-299])
def test_a_value_of_almost_nothing_has_an_axis(value):
    """A tenth of the least float is nothing, and nothing is no room for it."""
    made = plots.plot({0: points_of([value])}, "m", ["1"])
    [place] = re.findall(r'd="M[\d.]+ ([\d.]+)h0" class="curve', made)
    assert 0 < float(place) < plots._HEIGHT


@given(low=st.floats(-1e300, 1e300), span=st.floats(1e-290, 1e300))
def test_ticks_lie_within_the_axis_and_are_told_apart(low, span):
    """Marks beyond the axis, or two marks with one label, make a plot that cannot be read."""
    high = low + span
    if not low < high < math.inf or (high - low) < abs(low) * 1e-9:
        return
    marks = axes.ticks(low, high)
    slack = (high - low) * 1e-6
    assert 1 <= len(marks) <= 12 and all(low - slack <= mark <= high + slack for mark in marks)
    assert len(set(axes.tick_labels(marks))) == len(set(marks))


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 10, ["0", "2", "4", "6", "8", "10"]),
        (0, 0.5, ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]),
        (0, 3e6, ["0", "1M", "2M", "3M"]),
        (0, 40_000, ["0", "10k", "20k", "30k", "40k"]),
        (-2e-8, 2e-8, ["-2e-8", "-1e-8", "0", "1e-8", "2e-8"]),
        (1000, 1004, ["1000", "1001", "1002", "1003", "1004"]),
    ],
)
def test_axes_are_marked_with_round_numbers(low, high, labels):
    """0.30000000000000004 on an axis is not for people."""
    assert axes.tick_labels(axes.ticks(low, high)) == labels


def test_curves_are_told_apart_and_named():
    """Seven colours for those who see all and for those who do not, then dashes; a legend says which run is which."""
    styles = [plots.style_of(place) for place in range(28)]
    assert len(set(styles)) == 28
    legend = plots.legend(["run <1>", "run 2"])
    assert "run &lt;1&gt;" in legend and legend.count("<li>") == 2


def test_what_a_plot_shows_is_told_in_words_too():
    """A page is read aloud to some: the picture has a role, a name and a description."""
    made = plots.plot({0: points_of([1.0, 0.25]), 1: points_of([2.0])}, 'the "loss"', ["run 1", "run 2"])
    tree = ET.fromstring(made.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1))
    assert tree.get("role") == "img" and tree.get("aria-label").startswith('the "loss" by step, linear axis, from 0 to 1 step')
    said = tree.get("aria-label")
    assert "run 1: 2 points, last 0.25" in said and "run 2: 1 point, last 2" in said


def test_a_logarithmic_axis_is_offered_where_values_span_decades():
    """A loss from 10 to 0.001 is a cliff and a flat line otherwise; one from 0.9 to 0.99 needs no choice."""
    wide, narrow = ({0: points_of(values)} for values in ([10.0, 0.001], [0.9, 0.99]))
    assert plots.figure("loss", wide, ["1"], "m-0").count("<svg") == 2
    assert plots.figure("accuracy", narrow, ["1"], "m-1").count("<svg") == 1


def test_what_spans_many_decades_is_seen_on_a_logarithmic_axis_first():
    """On a linear one it is a cliff and a flat line; between the two a reader chooses."""
    for last, chosen in ((0.1, "lin"), (0.001, "log")):
        made = plots.figure("loss", {0: points_of([10.0, last])}, ["1"], "m-0")
        assert re.findall(r'<input [^>]*class="scale (\w+)" checked', made) == [chosen]


def test_what_cannot_be_drawn_is_counted():
    """A gap may be narrower than a pixel; that something was not finite is said."""
    made = plots.figure("loss", {0: points_of([1.0, math.nan, math.inf, 0.9])}, ["1"], "m-0")
    assert "2 points not finite" in made
    assert "None of its values can be drawn" in plots.figure("loss", {0: points_of([math.nan])}, ["1"], "m-0")


@pytest.mark.parametrize("name", NASTY)
def test_names_in_a_picture_are_text(name):
    """Metrics and runs are named by others."""
    made = plots.figure(name, {0: points_of([1.0, 2.0])}, [name], "m-0")
    ET.fromstring(made.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"'))


@pytest.mark.slow
def test_a_million_points_become_a_small_picture(many):
    """The size of a page must not follow the size of a metric."""
    values = [math.sin(place / 9_000) for place in range(1_000_000)]
    assert len(plots.plot({0: points_of(values)}, "m", ["1"])) < 60_000
