"""Runs taken together: what mean and spread are of, and which runs are alike."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.filters import MISSING
from capture.query.grouping import Spread, group, identity, is_number, is_seed, spread


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_mean_and_spread_are_those_of_statistics(values):
    """Two programs that compute one table must print one number."""
    found = spread(values)
    assert found.n == len(values)
    assert found.mean == pytest.approx(statistics.fmean(values), abs=1e-6)
    assert found.std == pytest.approx(statistics.stdev(values), abs=1e-6)


def test_only_finite_numbers_count():
    """A run that diverged has no accuracy, and must not make that of the others nothing."""
    assert spread([1, math.nan, 3, math.inf, None, MISSING, "x", True, 10**400]) == Spread(2, 2.0, math.sqrt(2))
    assert spread([1e308, 1e308]) == Spread(2, 1e308, 0.0)
    assert spread([]) == Spread(0, None, None) and spread([2]) == Spread(1, 2.0, None)
    numpy = pytest.importorskip("numpy")
    assert spread([numpy.float32(1), numpy.int64(3)]).mean == 2.0 and not is_number(numpy.array([1.0, 2.0]))


@pytest.mark.parametrize(("number", "count"), [(0.9, 3), (0.1, 7), (1e-9, 49), (1e307, 100)])
def test_equal_numbers_have_no_spread(number, count):
    """0.9 ± 1e-17 would say that something differs."""
    assert spread([number] * count) == Spread(count, number, 0.0)


def test_large_arrays_are_compared_to_the_last_entry():
    """Their text leaves out the middle, and would make one group of runs with different data."""
    numpy = pytest.importorskip("numpy")
    one, other = numpy.zeros(2000), numpy.zeros(2000)
    other[1000] = 1
    assert identity(one) != identity(other) and identity(one) == identity(one.copy())


def test_seeds_are_known_by_their_name():
    """Whatever group they lie in, and whoever chose the prefix."""
    assert [is_seed(name) for name in ("config.seed", "config.net.seed", "config.np_seed", "config.seeds", "result")] == [
        *(True, True, True, False, False)
    ]


def test_alike_is_what_has_equal_values():
    """Lists and tuples of equal numbers are one setting; 1 and True are two; nan is equal to itself here."""
    assert identity([1, (2.0,)]) == identity((1, [2])) and identity(1) != identity(True)
    assert identity(float("nan")) == identity(float("nan")) and identity({"a": [1]}) == identity({"a": (1,)})
    assert identity("True") != identity(True) and identity(MISSING) != identity(None)
    numpy = pytest.importorskip("numpy")
    assert identity(numpy.arange(3)) == identity(numpy.arange(3)) != identity(numpy.arange(4))
    rows = [[[64, 32], 1], [(64, 32), 2], [None, 3]]
    assert group(rows, [0]) == [([[64, 32]], [0, 1]), ([None], [2])]
    assert group(rows, []) == [([], [0, 1, 2])] and group([], [0]) == []
