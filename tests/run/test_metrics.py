"""The metrics log: batches, steps, numbers of every kind, and what it refuses."""

from __future__ import annotations

import json
import math
import threading
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.events import from_json
from capture.metrics import MAX_POINTS, MetricsLog
from capture.records import fold


class Clock:
    """Nanoseconds that move only when a test says so."""

    def __init__(self):
        self.now = 1_767_225_600_000_000_000

    def __call__(self):
        return self.now


@pytest.fixture
def log():
    bodies = []
    log = MetricsLog(bodies.append, Clock())
    log.bodies = bodies
    return log


def folded(bodies):
    """What the events say, through the definition of "stored"."""
    lines = [json.loads(f'{{"e":"metrics","s":{i},"t":0,{body}}}') for i, body in enumerate(bodies, 1)]
    return fold(from_json(line) for line in lines).metrics


def test_a_point_is_handed_on_at_once_when_nothing_was_for_a_while(log):
    """A slow loop that is killed loses nothing."""
    log.log("loss", 0.5)
    assert len(log.bodies) == 1
    log.log("loss", 0.4)
    assert len(log.bodies) == 1
    log._time_ns.now += 60_000_000
    log.log("loss", 0.3)
    assert len(log.bodies) == 2
    assert folded(log.bodies)["loss"].values == [0.5, 0.4, 0.3]


def test_memory_does_not_grow_in_a_burst(log):
    """A million points in a tight loop are handed on as they come."""
    for i in range(5 * MAX_POINTS):
        log.log("n", i)
    assert len(log._columns["n"].values) <= MAX_POINTS
    log.flush()
    assert folded(log.bodies)["n"].values == list(range(5 * MAX_POINTS))


def test_the_step_is_the_last_one_plus_one_for_each_metric(log):
    """Sacred's rule."""
    log.log("a", 1)
    log.log("a", 2)
    log.log("a", 3, step=10)
    log.log("a", 4)
    log.log("b", 5)
    log.flush()
    metrics = folded(log.bodies)
    assert metrics["a"].steps == [0, 1, 10, 11]
    assert metrics["b"].steps == [0]


def test_several_metrics_at_one_step(log):
    """`log_metrics`."""
    log.log_many({"loss": 0.5, "accuracy": 0.9}, step=3)
    log.flush()
    metrics = folded(log.bodies)
    assert (metrics["loss"].steps, metrics["accuracy"].steps) == ([3], [3])


def test_one_wrong_value_among_several_stores_none_of_them(log):
    """Half a step would shift the series against each other."""
    with pytest.raises(TypeError):
        log.log_many({"loss": 0.5, "accuracy": "high"})
    log.flush()
    assert log.bodies == []


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (1, 1),
        (True, 1),
        (2**70, 2**70),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.array(2.5), 2.5),
        (np.array([2.5]), 2.5),
        (Decimal("0.25"), 0.25),
        (Fraction(1, 4), 0.25),
        (float("inf"), float("inf")),
        (-float("inf"), -float("inf")),
    ],
    ids=repr,
)
def test_numbers_of_every_kind_are_stored_as_numbers(log, value, stored):
    """People log what their libraries return."""
    log.log("x", value)
    log.flush()
    assert folded(log.bodies)["x"].values == [stored]


def test_nan_is_stored_and_strict(log):
    """A loss that becomes NaN is the most wanted point of a series."""
    log.log("x", float("nan"))
    assert "NaN" not in log.bodies[0]
    assert math.isnan(folded(log.bodies)["x"].values[0])


@pytest.mark.parametrize("value", ["0.5", b"1", None, [1], 1j, np.array([1, 2]), object()], ids=lambda value: type(value).__name__)
def test_what_is_not_one_number_is_refused_with_the_name_of_the_metric(log, value):
    """The message must lead to the call."""
    with pytest.raises(TypeError, match="metric 'x'"):
        log.log("x", value)


@pytest.mark.parametrize("name", ["py/tuple", "json://1", "capture/int", "", "a.b", "$x", "größe", "a\nb"])
def test_a_name_may_be_any_text(log, name):
    """Even one that would mean something in a stored value."""
    log.log(name, 1)
    log.flush()
    assert {key: series.values for key, series in folded(log.bodies).items()} == {name: [1]}


@pytest.mark.parametrize("name", [None, 3, b"x", "\ud800"])
def test_a_name_that_is_not_text_is_refused(log, name):
    """It could not be found again."""
    with pytest.raises(TypeError, match="name of a metric"):
        log.log(name, 1)


def test_many_threads_lose_nothing_and_mix_nothing(log):
    """Columns of different lengths would be garbage."""

    def work(k):
        for i in range(2000):
            log.log("shared", k, step=i)
            log.log(f"own{k}", i)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.flush()
    metrics = folded(log.bodies)
    assert len(metrics["shared"]) == 16_000
    assert all(metrics[f"own{k}"].values == list(range(2000)) for k in range(8))


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats() | st.integers(), st.none() | st.integers(-5, 5))))
def test_whatever_is_logged_is_what_is_stored(points):
    """Values bit by bit, in order, for any mix of series, steps and special values."""
    bodies = []
    log = MetricsLog(bodies.append, Clock())
    expected: dict = {}
    for name, value, step in points:
        log.log(name, value, step)
        expected.setdefault(name, []).append(value)
    log.flush()
    stored = {name: series.values for name, series in folded(bodies).items()}
    assert repr(stored) == repr({name: stored_values for name, stored_values in expected.items()})
