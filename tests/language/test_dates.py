"""Times and durations as people write them, and versions."""

from __future__ import annotations

import pickle
import time
from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.dates import NotATime, seconds, when, when_of
from capture.expressions import parse
from capture.filters import field
from capture.records import RunRecord
from capture.versions import Version, package_name

UTC = timezone.utc
NOW = datetime(2026, 11, 4, 12, 30, tzinfo=UTC)  # a Wednesday


@pytest.fixture
def zone(monkeypatch):
    """Give this process a time zone of its own."""

    def put(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    put("UTC")
    yield put
    monkeypatch.undo()
    time.tzset()


def day(year, month, number):
    return datetime(year, month, number, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-11-01", day(2026, 11, 1), day(2026, 11, 2)),
        ("2026-2", day(2026, 2, 1), day(2026, 3, 1)),
        ("2024-12", day(2024, 12, 1), day(2025, 1, 1)),
        ("2026", day(2026, 1, 1), day(2027, 1, 1)),
        ("today", day(2026, 11, 4), day(2026, 11, 5)),
        (" Yesterday ", day(2026, 11, 3), day(2026, 11, 4)),
        ("monday", day(2026, 11, 2), day(2026, 11, 3)),
        ("wednesday", day(2026, 11, 4), day(2026, 11, 5)),
        ("last wednesday", day(2026, 10, 28), day(2026, 10, 29)),
        ("this week", day(2026, 11, 2), day(2026, 11, 9)),
        ("last week", day(2026, 10, 26), day(2026, 11, 2)),
        ("last month", day(2026, 10, 1), day(2026, 11, 1)),
        ("last year", day(2025, 1, 1), day(2026, 1, 1)),
        ("2026-11-01+02:00", datetime(2026, 10, 31, 22, tzinfo=UTC), datetime(2026, 11, 1, 22, tzinfo=UTC)),
    ],
)
def test_whole_days_and_more(zone, text, start, end):
    """A day is before or after another time as a whole, and == means all of it."""
    found = when(text, NOW)
    assert (found.moment, found.start, found.end) == (None, start, end)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-01 12:00", datetime(2026, 11, 1, 12, tzinfo=UTC)),
        ("2026-11-01T12:00:05Z", datetime(2026, 11, 1, 12, 0, 5, tzinfo=UTC)),
        ("2026-11-01T12:00:05.25+0530", datetime(2026, 11, 1, 6, 30, 5, 250000, tzinfo=UTC)),
        ("yesterday 9:30", datetime(2026, 11, 3, 9, 30, tzinfo=UTC)),
        ("16:45", datetime(2026, 11, 4, 16, 45, tzinfo=UTC)),
        ("9:30:05", datetime(2026, 11, 4, 9, 30, 5, tzinfo=UTC)),
        ("now", NOW),
        ("7 days ago", NOW - timedelta(days=7)),
        ("2h ago", NOW - timedelta(hours=2)),
        ("1 h and 30 min ago", NOW - timedelta(minutes=90)),
        ("a week ago", NOW - timedelta(days=7)),
        ("0.5 h ago", NOW - timedelta(minutes=30)),
        ("3 Weeks Ago", NOW - timedelta(days=21)),
        ("1 month ago", datetime(2026, 10, 4, 12, 30, tzinfo=UTC)),
        ("9 months ago", datetime(2026, 2, 4, 12, 30, tzinfo=UTC)),
        ("2 years ago", datetime(2024, 11, 4, 12, 30, tzinfo=UTC)),
    ],
)
def test_moments(zone, text, moment):
    """What has a time of day, or is so long ago, is compared to the second."""
    assert when(text, NOW).moment == moment


def test_a_month_ago_there_may_have_been_no_such_day(zone):
    """Then it is the last day that there was."""
    assert when("1 month ago", datetime(2026, 3, 31, tzinfo=UTC)).moment == day(2026, 2, 28)


def test_without_a_zone_it_is_the_time_of_this_machine(zone):
    """People mean their own day, also on the one on which clocks are changed."""
    zone("Europe/Berlin")
    found = when("2026-10-25", NOW)
    assert (found.start, found.end - found.start) == (datetime(2026, 10, 24, 22, tzinfo=UTC), timedelta(hours=25))
    assert when("2026-07-01 12:00", NOW).moment == datetime(2026, 7, 1, 10, tzinfo=UTC)
    late = datetime(2026, 11, 4, 23, 30, tzinfo=UTC)  # already the 5th there
    assert when("today", late).start == datetime(2026, 11, 4, 23, tzinfo=UTC)
    assert when_of(date(2026, 7, 1)).start == datetime(2026, 6, 30, 22, tzinfo=UTC)
    assert when_of(datetime(2026, 7, 1)).moment == datetime(2026, 6, 30, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yesteday", r"did you mean 'yesterday'\?\); possible: 2026-11-01, "),
        ("7 days", "did you mean '7 days ago'"),
        ("last mondey", "did you mean 'last monday'"),
        ("2 hurs ago", "no unit 'hurs': did you mean hours"),
        ("2026-02-30", "day is out of range"),
        ("2026-11-01 25:00", "hour must be in"),
        ("1.11.2026", "possible: 2026-11-01"),
        ("999999999 weeks ago", "is no time"),
        ("25:00", "is no time: hour must be in"),
        ("1.5 years ago", "no part of a year"),
        ("", "possible"),
        ("a a" * 500 + " ago", r"^'[^']{,80}' is no time"),
        ("٣ days ago ٣", "possible"),
    ],
)
def test_what_is_no_time(text, said):
    """It says what would be one, and does not repeat a novel."""
    with pytest.raises(NotATime, match=said) as error:
        when(text, NOW)
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


@given(st.text(alphabet="0123456789 -:TZ+.,adhimnostuwy", max_size=90))
def test_any_text_is_a_time_or_none(text):
    """Nothing else is raised, and nothing takes forever."""
    for reading in (lambda each: when(each, NOW), seconds):
        try:
            reading(text)
        except NotATime:
            pass


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2 h", 7200), ("90min", 5400), ("1h30m", 5400), ("a day", 86400), ("1.5 h", 5400), ("2 weeks, 3 s", 1209603), ("5 ms", 0.005)],
)
def test_durations(text, expected):
    """Long runs are not thought of in seconds."""
    assert seconds(text) == expected


@pytest.mark.parametrize(("text", "said"), [("2 months", "longer or shorter"), ("fast", "possible: 90 s"), ("3", "a number of seconds"), ("2 x", "no unit 'x'")])
def test_what_is_no_duration(text, said):
    """A month has no length."""
    with pytest.raises(NotATime, match=said):
        seconds(text)


# ------------------------------------------------------------------------------------------- in conditions


@pytest.mark.parametrize(
    ("text", "hours", "holds"),
    [
        ('start_time == "2026-11-01"', 0, True),
        ('start_time == "2026-11-01"', 23.99, True),
        ('start_time == "2026-11-01"', 24, False),
        ('start_time != "2026-11-01"', 24, True),
        ('start_time > "2026-11-01"', 23, False),  # it is not after that day
        ('start_time > "2026-11-01"', 24, True),
        ('start_time >= "2026-11-01"', 0, True),
        ('start_time <= "2026-11-01"', 23, True),
        ('start_time <= "2026-11-01"', 24, False),
        ('start_time < "2026-11-01"', 0, False),
        ('start_time > "2026-11-01 12:00"', 12.01, True),
        ('start_time == "2026-11-01 12:00"', 12.01, True),
        ('start_time == "2026-11-01 12:00"', 12.02, False),
        ('"7 days ago" < start_time', 0, True),
        ('"2 days ago" < start_time', 0, False),
        ('"last month" < start_time < "yesterday"', 0, True),
        ('start_time in ["2026-11-01", "today"]', 5, True),
        ('start_time in ["2026-11-02", "today"]', 5, False),
        ('start_time not in ["2026-11-02", "today"]', 5, True),
        ('start_time == "last week"', 5, True),
        ("stop_time is None and start_time", 0, True),
        ("stop_time is not None", 0, False),
        ('stop_time < "now"', 0, False),
    ],
)
def test_times_in_a_condition(zone, text, hours, holds):
    """Exactly one of <, == and > holds between a time and a day."""
    run = RunRecord()
    run.start_time = day(2026, 11, 1) + timedelta(hours=hours)
    assert parse(text, NOW).matches(run) is holds


def test_times_in_python(zone):
    """The same holds for conditions that are made without text."""
    run = RunRecord()
    run.start_time = datetime.now(UTC) - timedelta(hours=1)
    assert (field("start_time") > "2 h ago").matches(run)
    assert not (field("start_time") > datetime.now()).matches(run)
    assert (field("start_time") >= date(2020, 1, 1)).matches(run)
    assert run.matches({"start_time": run.start_time})
    with pytest.raises(ValueError, match="start_time is a time, and > 5 says nothing of it"):
        field("start_time") > 5


# ------------------------------------------------------------------------------------------------ versions


ORDER = ["unknown", "0.9", "1.0.dev1", "1.0a1", "1.0a2.dev1", "1.0b1", "1.0rc1", "1.0", "1.0.post1", "1.9", "1.10", "2023.7.22", "1!0.1"]


def test_versions_have_an_order():
    """1.10 is newer than 1.9, and what is no version comes before all."""
    assert sorted(reversed(ORDER), key=Version) == ORDER


@pytest.mark.parametrize(
    ("one", "other"), [("2", "2.0.0"), ("2.1.0", "2.1.0+cu118"), ("v1.0", "1.0"), ("1.0-1", "1.0.post1"), ("2023.07.22", "2023.7.22"), ("1.0-RC.1", "1.0rc1")]
)
def test_versions_that_are_equal(one, other):
    """Spelt in two ways they are the same."""
    assert Version(one) == other
    assert other == Version(one)
    assert hash(Version(one)) == hash(Version(other))
    assert not Version(one) < other
    assert (Version(one) != other) is False


_NUMBERS = st.lists(st.integers(0, 20), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
_VERSIONS = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(["", "", "1!"]),
    _NUMBERS,
    st.sampled_from(["", "", "a1", "b2", "rc1", ".c3", "-alpha"]),
    st.sampled_from(["", "", ".post1", "-2", "rev3"]),
    st.sampled_from(["", "", ".dev1", ".dev"]),
)


@given(one=_VERSIONS, other=_VERSIONS)
def test_versions_sort_as_those_of_packaging_do(one, other):
    """That package is what installs them."""
    packaging = pytest.importorskip("packaging.version")
    wanted = packaging.Version(one), packaging.Version(other)
    assert (Version(one) < other, Version(one) == other) == (wanted[0] < wanted[1], wanted[0] == wanted[1])


def test_a_package_may_be_spelt_in_several_ways():
    """An attribute cannot have a dash, and indexes do not mind."""
    assert package_name("Scikit__Learn") == package_name("scikit-learn")
    run = RunRecord()
    run.experiment = {"dependencies": ["scikit-learn==1.10.0", "ruamel.yaml==0.18", "torch==2.1.0+cu118"]}
    for text in (
        'packages.scikit_learn > "1.9"', 'packages["scikit-learn"] == "1.10"', 'packages.ruamel.yaml < "0.20"',
        'packages.torch == "2.1.0"', 'packages.torch in ["2.0", "2.1"]', 'packages.torch != "2.1.1"',
        'packages.torch.endswith("cu118")', "packages.scikit_learn",
    ):  # fmt: skip
        assert parse(text).matches(run), text
    assert not parse('packages.numpy != "1.0"').matches(run)
    run.host = {"python_version": "3.9.1"}
    assert parse('host.python_version < "3.10"').matches(run)
