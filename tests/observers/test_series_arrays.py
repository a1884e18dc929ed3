"""Metrics as arrays are the metrics as lists, however a store holds them."""

from __future__ import annotations

import json
import math
import pickle
import struct
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from capture import events, plainjson
from capture.observers import FileStorageObserver, _numerals, _series, _sql_points
from capture.observers._file_reader import FileStoreReader
from capture.observers.sql import SqlObserver
from capture.records import Series
from capture.registry import make_observer, open_reader
from capture.testing.contract import uid
from capture.testing.feed import Story, tell, told
from tests.servers.fixtures import each_kind, url_of_kind

numpy = pytest.importorskip("numpy")

ODD = [0.0, -0.0, 1, -7, 2**53 + 1, 2**62, 2**63, 10**30, 10**400, -(10**400), 5e-324, 1e308, 1e23, 1e16, 0.1 + 0.2]
FINITE = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.floats(-1, 1), st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False, width=32), st.sampled_from(ODD[:6]),
)  # fmt: skip


def same(array, numbers) -> bool:
    """Say whether an array has exactly these numbers, bit for bit: -0.0 is not 0.0, and NaN is NaN."""
    return [struct.pack("d", each) for each in array.tolist()] == [struct.pack("d", nearest(each)) for each in numbers]


def nearest(number) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(st.lists(FINITE, max_size=40))
@example([2.0**-60 * 3, 1e-30, 123456789012345678, 0.1, 9007199254740993])
@example([1e22, 1e23, 8.5e21, 1.7976931348623157e308])
def test_numbers_in_text_are_what_json_makes_of_them(numbers):
    """All digits are read at once: the last bit of each number must be the one that Python finds."""
    text = json.dumps(numbers, separators=(",", ":"))[1:-1].encode()
    array = _numerals.floats(text)
    assert array is not None
    assert same(array, numbers)


@pytest.mark.parametrize("text", [b'1,"nan"', b"1,,2", b"1.2.3", b"1-2", b"1.5,x", b"1e5e5", b".", b"1.0,", b"9" * 19, b"4611686018427387905"])
def test_what_is_odd_is_left_to_json(text):
    """It knows what to say of a mistake, and what a tag means."""
    assert _numerals.floats(text) is None


@pytest.mark.parametrize("text", [b"1,2.5", b"1e3", b'"nan"', b"9223372036854775808", b"1,,2"])
def test_steps_that_are_not_whole_numbers_of_64_bits_are_said_to_be_none(text):
    """They would be cut off without a word."""
    assert _numerals.integers(text) is None


def line_of(columns, start=1_000, pad=0, separators=(",", ":")) -> bytes:
    event = {"e": "metrics", "s": 3, "t": 1.0, "start": start, "columns": columns, "pad": "x" * pad}
    return plainjson.dumps(event, separators=separators).encode() + b"\n"


VALUES = st.one_of(FINITE, st.integers(-(2**63), 2**64 - 1), st.sampled_from(["nan", "inf", "-inf", {"capture/int": str(10**400)}, *ODD[:7]]))
NAMES = st.sampled_from(["loss", 'q"uote', "a[1,2]", '":[1,2]', "back\\", "größe", "values", "json://1"])


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.dictionaries(NAMES, st.lists(st.tuples(VALUES, VALUES, st.integers(0, 10**6)), max_size=8), max_size=3))
def test_long_lines_are_read_as_short_ones(named):
    """The numbers of a long line stay text until they are asked for, under whatever names."""
    columns = {
        name: {"steps": [p[0] for p in points], "values": [p[1] for p in points], "times": [p[2] for p in points]}
        for name, points in named.items()
    }
    short, long = line_of(columns), line_of(columns, pad=_series._LONG)
    spaced = [line_of(columns, pad=_series._LONG, separators=each) for each in ((", ", ": "), (", ", ":"), (",", ": "))]
    known = _series.series_of(_series.batches_in([short, short], "here"))
    for found in (
        _series.series_of(_series.batches_in([long, short], "here", as_text=True)),
        _series.series_of(_series.batches_in([short, long], "here", as_text=True)),
        *(_series.series_of(_series.batches_in([short, each], "here", as_text=True)) for each in spaced),
    ):
        assert list(found) == list(known)
        for name, series in found.items():
            arrays = series.array, series.step_array, series.time_array
            assert len(series) == len(known[name].values)
            assert str((series.steps, series.values, series.times)) == str(
                (known[name].steps, known[name].values, known[name].times)
            )
            assert same(arrays[0], series.values)
            assert same(arrays[1], series.steps)
            assert arrays[2].view("int64").tolist() == series.times
            assert same(series.array, series.values)  # from the lists now


def test_a_long_line_that_is_cut_off_is_no_batch(caplog):
    """A process died in its middle; another wrote on."""
    whole = line_of({"loss": {"steps": [0], "values": [1.0], "times": [0]}}, pad=_series._LONG)
    found = list(_series.batches_in([whole[:-20] + b"\n", whole, whole[:50]], "here", as_text=True))
    assert len(found) == 1
    assert "line 1 is damaged" in caplog.text


POINTS = 5_000
COLUMNS = {
    "whole": list(range(POINTS)),
    "falling": [0.5 / (n + 1) for n in range(POINTS)],
    "odd": [*(each for each in ODD if abs(each) < 2**64), *[n / 7 for n in range(POINTS)]],
    "holes": [["nan", "inf", "-inf", 0.25, 3][n % 5] for n in range(POINTS)],
}


@pytest.fixture(params=each_kind("file", "sqlite", "tinydb", "mongodb", "postgresql", "mariadb"))
def stored(request, tmp_path):
    """Return the record, from a store, of a run with long series, and what its series are."""
    location = url_of_kind(request.param, request, tmp_path)
    observer = make_observer(location)
    story = Story(tmp_path / "told", uid("01")).start()
    for name, values in COLUMNS.items():
        for first in range(0, len(values), 2_000):
            story.metric(name, values[first : first + 2_000], first)
    label = tell(observer, story.complete())
    return open_reader(location).get(label), told(story)


def test_arrays_are_the_lists_in_every_store(stored):
    """Each store has a way of its own to get at a million numbers; none may lose one, or a bit of one."""
    record, known = stored
    assert set(record.metrics) == set(known.metrics)
    for name, series in known.metrics.items():
        found = record.metrics[name]
        assert same(found.array, series.values)
        assert found.step_array.dtype == numpy.int64
        assert found.step_array.tolist() == series.steps
        assert found.time_array.dtype == numpy.dtype("datetime64[us]")
        assert found.time_array.view("int64").tolist() == series.times
        assert str(found.values) == str(series.values)
        assert (found.steps, found.times, len(found)) == (series.steps, series.times, len(series))


@pytest.mark.parametrize("stored", each_kind("sqlite", "postgresql", "mariadb"), indirect=True)
def test_arrays_that_are_asked_for_in_pieces_are_whole(stored, monkeypatch):
    """No database makes one answer of a hundred million points."""
    monkeypatch.setattr(_sql_points, "_AT_ONCE", 999)
    monkeypatch.setattr(_sql_points, "_AT_ONCE_IN_BYTES", 999)
    record, known = stored
    for name, series in known.metrics.items():
        assert same(record.metrics[name].array, series.values)
        assert record.metrics[name].time_array.view("int64").tolist() == series.times


@pytest.mark.parametrize("expression", ["NO_SUCH_FUNCTION({}, number)", "concat({}, ' ')", "hex({})"])
def test_arrays_are_right_where_a_database_does_not_tell_its_bytes(expression, mariadb_url, tmp_path, monkeypatch):
    """Much calls itself MySQL that knows no points, or has another form for them."""
    monkeypatch.setattr(_sql_points, "_AS_POINT", expression)
    story = Story(tmp_path / "told", uid("01")).start().metrics(loss=[0.1, -2.5, "nan", 1e300])
    label = tell(SqlObserver(mariadb_url), story.complete())
    series = open_reader(mariadb_url).get(label).metrics["loss"]
    assert same(series.array, [0.1, -2.5, math.nan, 1e300])
    assert series.time_array.view("int64").tolist() == told(story).metrics["loss"].times


@pytest.mark.parametrize("kind", each_kind("sqlite", "postgresql", "mariadb"))
def test_times_that_a_float_would_round_are_exact(kind, request, tmp_path):
    """A clock that is set wrong may say that it is the year 2400."""
    server = {"postgresql": "postgres_url", "mariadb": "mariadb_url"}.get(kind)
    url = f"sqlite:///{tmp_path}/runs.db" if server is None else request.getfixturevalue(server)
    column = {"steps": [0, 1, 2], "values": [0.1, 0.2, 0.3], "times": [0, 1, 2]}
    story = Story(tmp_path / "told", uid("01")).start()
    story.add(events.Metrics(start=2**53 + 1, columns={"loss": column}))
    label = tell(SqlObserver(url), story.complete())
    found = open_reader(url).get(label).metrics["loss"].time_array
    assert found.view("int64").tolist() == [2**53 + 1, 2**53 + 2, 2**53 + 3]


def test_an_array_is_its_owners(tmp_path):
    """Whoever normalises a curve in place must not find it so the next time."""
    tell(FileStorageObserver(tmp_path / "runs"), Story(tmp_path / "told", uid("01")).start().metrics(loss=[1.0, 2.0]))
    series = FileStoreReader(tmp_path / "runs").get("1").metrics["loss"]
    first = series.array
    first *= 0
    assert series.array.tolist() == [1.0, 2.0]
    series.values.append(3.0)
    assert series.array.tolist() == [1.0, 2.0, 3.0]
    assert pickle.loads(pickle.dumps(series)).values == [1.0, 2.0, 3.0]


def test_steps_are_whole_numbers_only_if_all_are():
    """An axis of epochs may have halves."""
    assert Series("loss", [0, 1, 2.5], [1, 2, 3], [1, 2, 3]).step_array.tolist() == [0, 1, 2.5]
    assert Series("loss", [0, 1], [1, 2], [1, 2]).step_array.dtype == numpy.int64
    assert Series("loss").array.shape == Series("loss").time_array.shape == (0,)


def test_without_numpy_the_error_says_what_to_do(monkeypatch):
    """It is no dependency: lists are there for who does without."""
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ImportError, match="pip install numpy"):
        _ = Series("loss", [0], [1.0], [1]).array
