"""How values read: the same in a terminal, in a notebook and on a page."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture import wording
from capture.filters import MISSING
from capture.wording import format_duration, format_exact, format_number, format_size, format_utc, format_value, visible


@given(st.text(), st.booleans())
def test_visible_text_moves_no_cursor_and_reverses_nothing(text, lines):
    """A config value must not be able to hide a run, or to write over what stands above it."""
    shown = visible(text, lines)
    kept = "\n\t" if lines else ""
    assert not any(category(char) in ("Cc", "Zl", "Zp", "Cs") for char in shown if char not in kept)
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")
    assert visible(shown, lines) == shown
    shown.encode("utf-8")


@pytest.mark.parametrize("code", [0, 7, 0x1B, 0x7F, 0x9B, 0xAD, 0x200B, 0x2028, 0x202E, 0x2066, 0xFEFF, 0xFFFF, 0xE0041])
def test_characters_that_steer_are_spelt_out(code):
    """A name that reads differently from what it is, is how people are deceived."""
    shown = visible(f"a{chr(code)}b", lines=True)
    assert chr(code) not in shown and "\\" in shown


def test_words_of_all_languages_stay():
    """Making text safe must not make it unreadable: umlauts, right-to-left words, joined emoji, spaces, line ends."""
    text = "größe שלום 👩\u200d🔬 e\u0301 a\u00a0b\n\ttab"
    assert visible(text, lines=True) == text
    assert visible(text) == text.replace("\n", "\\n").replace("\t", "\\t")


def test_what_was_printed_reads_as_it_looked():
    """Colours, titles and links of a terminal are no text, and of a progress bar the last state counts."""
    text = "\x1b[1;31mred\x1b[0m\tx\r\n10 %\r\x1b[K90 %\nnext\x1b]0;title\x07\n"
    assert wording.printed(text) == "red\tx\n90 %\nnext\n"
    assert wording.uncoloured("a\x1bb") == "a\x1bb", "what is no such sequence stays, to be made visible"


def test_values_are_short_and_on_one_line():
    """In a table and in a sentence alike."""
    shown = [format_value(each) for each in (None, MISSING, float("nan"), -1e300, 10**5000, 1.0, 123456.789)]
    assert shown[:4] == ["-", "-", "nan", "-1e+300"]
    assert shown[4].startswith("0x") and shown[5:] == ["1", "123457"]
    assert format_value({"a": "x\n", "b": [None, 0.1]}) == "{a: 'x\\n', b: [None, 0.1]}"
    assert format_value(0.123456789, 3) == "0.123"
    assert format_value(datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)).startswith("2026-01-0")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
                    | st.text(), lambda each: st.lists(each) | st.dictionaries(st.text(), each) | st.tuples(each)))  # fmt: skip
def test_what_is_exact_can_be_pasted_back(value):
    """People copy a configuration from where they see it; a digit less would be another experiment."""
    import ast

    assert ast.literal_eval(format_exact(value)) == value


def test_what_is_exact_holds_whatever_a_record_holds():
    """A page of a run must not fail because of one value."""
    assert format_exact(MISSING) == "-" and format_exact(None) == "None"
    assert format_exact([date(2026, 1, 2), datetime(2026, 1, 2, 3, microsecond=5)]) == (
        "[2026-01-02, 2026-01-02 03:00:00.000005]"
    )
    assert format_exact(10**5000).startswith("0x") and format_exact({1, 2}) == "{1, 2}"
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert format_exact(deep) == format_value(deep) == "<list, nested too deeply to be written>"
    while deep:  # or taking it away would take as many calls
        deep = deep.pop()


def test_arrays_are_shown_whole():
    """The text of NumPy's has several lines, and leaves out the middle of a long one."""
    numpy = pytest.importorskip("numpy")
    assert format_value(numpy.array([[1, 2.5], [3, 4]])) == "[[1, 2.5], [3, 4]]"
    assert "..." not in format_value(numpy.zeros(2000)) and format_value(numpy.array(0.25)) == "0.25"
    assert format_exact([numpy.float64(1 / 3), numpy.int64(2)]) == f"[{1 / 3!r}, 2]"


def test_numbers_have_the_digits_that_are_asked_for():
    """Five are enough to read; all of them where they are copied."""
    assert [format_number(2 / 3, digits) for digits in (None, 1, 3, 17, 40)] == [
        "0.66667", "0.7", "0.667", repr(2 / 3), repr(2 / 3)
    ]  # fmt: skip
    assert format_number(1e15) == "1e+15" and format_number(1_200_000.0) == "1200000"
    assert (format_number(-99999.6), format_number(99.7, 2), format_number(9.6, 1)) == ("-100000", "100", "10")
    assert (format_size(999.4), format_size(999.6)) == ("999 B", "1.0 kB")


def test_sizes_and_durations_never_round_up_to_a_thousand():
    """1000.0 kB is no size that anybody writes; nor is 60.0 s a time."""
    assert [format_size(each) for each in (999, 1000, 999_949, 999_950, 999_999)] == [
        "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "1.0 MB"
    ]  # fmt: skip
    assert format_duration(59.99) == "1 min" and format_duration(0.9999) == "1.0 s" and format_duration(-2) == "-2.0 s"
    assert [format_duration(each) for each in (3599.4, 3599.5, 3599.99, 3600)] == ["59 min 59 s", "1 h", "1 h", "1 h"]


@pytest.mark.parametrize("value", [None, "12", {"unavailable": "why"}, float("nan"), float("inf"), 10**400, MISSING])
def test_what_is_no_size_duration_or_time_is_a_dash(value):
    """Records are written by anybody; a page shows what it can."""
    assert format_size(value) == format_duration(value) == wording.format_time(value) == format_utc(value) == "-"


def test_times_beyond_the_calendar_are_shown_all_the_same():
    """A clock that was not set must not break a list."""
    first = datetime.min.replace(tzinfo=timezone(timedelta(hours=9)))
    assert wording.format_time(first) and format_utc(first).startswith("0001-01-01")


def test_a_cut_text_says_that_it_is_cut():
    """Also where a letter of two columns does not fit any more."""
    assert wording.fitted("損失損失", 4) == "損…"
    assert wording.cell_width(wording.fitted("損失損失", 4)) <= 4
    assert wording.fitted("abc", 3) == "abc" and wording.fitted("abc", 0) == ""


def test_a_long_cell_does_not_widen_the_other_lines():
    """A megabyte in one entry of a thousand would be a gigabyte of blanks."""
    lines = wording.aligned(["name", "value", "by"], [["a", "x" * 10_000, "me"], ["b", "12", "you"]])
    assert lines == ["name  value  by", f"a     {'x' * 10_000}  me", "b     12     you"]
