"""From printed text to recorded text."""

from __future__ import annotations

import json
import os
import re
import threading
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from capture.terminal import Cleaner, OutputLog, apply_backspaces_and_linefeeds

TABLE = [
    ("", ""),
    ("\b", ""),
    ("\r", "\r"),
    ("\r\n", "\n"),
    ("ab\bc", "ac"),
    ("\ba", "a"),
    ("ab\nc\b\bd", "ab\nd"),
    ("abc\rdef", "def"),
    ("abc\r", "abc\r"),
    ("abc\rd", "dbc"),
    ("abc\r\nd", "abc\nd"),
    ("abc\ndef\rg", "abc\ngef"),
    ("abc\ndef\r\rg", "abc\ngef"),
    ("abcd\refg\r", "efgd\r"),
    ("abcd\refg\r\n", "efgd\n"),
]


class Recorded:
    """Applies edits as a store would, and counts them."""

    def __init__(self):
        self.data, self.edits, self.sent = b"", [], 0

    def __call__(self, text, offset):
        assert 0 <= offset <= len(self.data), "an edit begins inside what is recorded, or at its end"
        self.data = self.data[:offset] + text.encode("utf-8")
        self.edits.append((offset, text))
        self.sent += len(text)

    @property
    def text(self):
        return self.data.decode("utf-8")


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def record(*pieces, **kwargs):
    recorded = Recorded()
    log = OutputLog(recorded, min_interval_s=0.0, **kwargs)
    for piece in pieces:
        log.feed(piece)
    log.close()
    return recorded


def shown(*pieces):
    return record(*pieces).text


# -------------------------------------------------------------------------------------------- redraws


@pytest.mark.parametrize(("text", "expected"), TABLE)
def test_backspaces_and_carriage_returns_do_what_a_terminal_does(text, expected):
    """Sacred's users name this function as their filter; its results are part of the move."""
    assert apply_backspaces_and_linefeeds(text) == expected


PRINTED = st.text(alphabet="abé€\n\r\bx", max_size=80)


def cut(text, sizes):
    pieces = []
    for size in sizes:
        pieces.append(text[:size])
        text = text[size:]
    return [*pieces, text]


@given(PRINTED, st.lists(st.integers(0, 9), max_size=20))
def test_cleaning_piece_by_piece_equals_cleaning_at_once(text, sizes):
    """Where reads happen to fall must not show in the record."""
    assert shown(*cut(text, sizes)) == apply_backspaces_and_linefeeds(text + "\n")[: -1 or None]


SEQUENCES = ["a", "é", "\n", "\r", "\b", "xyz", "\n" * 70]
SEQUENCES += ["\x1b[A", "\x1b[2B", "\x1b[K", "\x1b[1K", "\x1b[2K", "\x1b[J", "\x1b[3C", "\x1b[2D", "\x1b[5G"]
SEQUENCES += ["\x1b[?25l"]


@given(st.lists(st.sampled_from(SEQUENCES), max_size=40).map("".join), st.lists(st.integers(0, 9), max_size=40))
def test_cursor_movements_too_may_be_cut_anywhere(text, sizes):
    """An escape sequence split between two reads is still one."""
    assert shown(*cut(text, sizes)) == shown(text)


def test_a_progress_bar_leaves_its_last_state_only():
    """Thousands of redraws flooded the record of Sacred's users."""
    bar = [f"\r{i:3d}%|{'#' * (i // 2):50}|" for i in range(101)]
    assert shown("start\n", *bar, "\ndone\n") == f"start\n100%|{'#' * 50}|\ndone\n"


def test_a_redraw_costs_its_own_line_and_not_the_text_before():
    """What is sent must not grow with what was printed earlier."""
    recorded = record("line of text\n" * 10_000, *(f"\r{i:5d}" for i in range(1000)))
    assert recorded.sent < 10_000 * 13 + 1000 * 10
    assert recorded.text.endswith("text\n  999")


def test_redrawing_the_same_state_sends_nothing():
    """A spinner that stands still is no news."""
    recorded = record("\r 50%", "\r 50%", "\r 50%")
    assert recorded.edits == [(0, " 50%")]


def test_nested_bars_are_redrawn_where_they_stand():
    """tqdm with several positions moves the cursor down, draws, and moves it up again."""
    pieces = []
    for outer in range(3):
        pieces.append(f"\router {outer}")
        for inner in range(5):
            pieces.append(f"\n\rinner {inner}\x1b[A")
    assert shown(*pieces) == "outer 2\ninner 4"


def test_a_live_table_is_erased_and_drawn_again():
    """rich erases each line of its live display on the way up."""
    table = "a  1\nb  2\n"
    assert shown("title\n", table, "\x1b[1A\x1b[2K\x1b[1A\x1b[2K", "a  3\nb  4\n") == "title\na  3\nb  4\n"


def test_what_has_scrolled_away_is_never_changed():
    """The cursor cannot go above the screen."""
    text = "".join(f"{i}\n" for i in range(200))
    assert shown(text, "\x1b[500A", "X").startswith("0\n1\n2\n")


def test_colours_stay_and_invisible_sequences_go():
    """A record is read in terminals, too."""
    assert shown("\x1b[31mred\x1b[0m\n\x1b[?25l\x1b]0;title\x07plain\n") == "\x1b[31mred\x1b[0m\nplain\n"


def test_colours_of_a_redrawn_bar_do_not_pile_up():
    """Each redraw brings its codes; the old ones go with the characters they coloured."""
    text = shown(*("\r\x1b[32m" + "#" * 10 + "\x1b[0m" for _ in range(1000)))
    assert len(text) < 100


def test_an_escape_sequence_that_never_ends_is_kept():
    """Nothing is swallowed at the end."""
    assert shown("abc\x1b[31") == "abc\x1b[31"


def test_text_that_looks_like_the_start_of_many_sequences_takes_no_time():
    """A pattern that backtracks would hang the program whose output it reads."""
    text = ("x" * 50 + "\x1b[31m") * 20_000 + "\r" + "\x1b[" * 20_000
    assert shown(text).startswith("x" * 50)
    assert shown("abc\rd" + "\x1b[1m\x1b[2m" * 50_000).endswith("bc")
    assert shown("abc\r" + "\x1b[1m\x1b[2m" * 50_000 + "d").endswith("dbc")


def test_without_cleaning_everything_is_kept_as_it_came():
    """`clean=False` is for those who want to filter themselves."""
    assert record("10%\r20%\r", clean=False).text == "10%\r20%\r"


def test_one_line_of_many_megabytes_costs_no_more_than_its_size():
    """A dump without a line end must be neither quadratic nor kept."""
    screen = Cleaner()
    for _ in range(1000):
        screen.feed("x" * 100_000)
        _, text = screen.take()
        assert len(text) == 100_000
    screen.feed("\r!")
    assert screen.take()[1] == "!"


# -------------------------------------------------------------------------------------------- bytes and text


def test_a_character_cut_by_a_read_is_whole_in_the_record():
    """Reads end anywhere."""
    assert shown(*(bytes([b]) for b in "naïve €\n".encode())) == "naïve €\n"


def test_bytes_that_are_not_utf8_can_still_be_told():
    """Sacred's run died of them."""
    assert shown(b"caf\xe9 \xff\n") == "caf\\xe9 \\xff\n"
    assert shown(b"cut short \xe2\x82") == "cut short \\xe2\\x82"


def test_lone_surrogates_never_come_out():
    """They cannot be stored as UTF-8, nor sent to a database."""
    recorded = record("a\ud800b", "\udcff\n")
    assert recorded.text == "a\\ud800b\\udcff\n"
    json.dumps(recorded.text).encode("utf-8")


@given(st.lists(st.one_of(st.binary(max_size=20), st.text(max_size=20)), max_size=10))
def test_any_bytes_and_any_text_can_be_recorded(pieces):
    """Whatever a program prints, its record is text."""
    record(*pieces).data.decode("utf-8")


# -------------------------------------------------------------------------------------------- when


def test_the_first_output_after_a_pause_is_handed_on_at_once():
    """A line printed before a crash is in the record."""
    recorded, clock = Recorded(), Clock()
    log = OutputLog(recorded, now=clock, min_interval_s=0.05)
    log.feed("one\n")
    assert recorded.text == "one\n"
    log.feed("two\n")
    assert recorded.text == "one\n", "a burst is gathered"
    clock.now += 0.06
    log.feed("three\n")
    assert recorded.text == "one\ntwo\nthree\n"
    log.feed("four\n")
    log.flush()
    assert recorded.text.endswith("four\n")


def test_a_closed_log_takes_no_more():
    """A thread that prints on after the run is not of the run, and must not fail."""
    recorded = Recorded()
    log = OutputLog(recorded)
    write = log.tee(len)
    log.close()
    log.close()
    log.feed("late")
    assert write("late") == 4
    log.flush()
    assert recorded.text == ""


def test_output_of_many_threads_is_complete():
    """`feed` may be called from anywhere."""
    recorded = Recorded()
    log = OutputLog(recorded, min_interval_s=0.0)

    def work(name):
        for i in range(500):
            log.feed(f"{name}{i}\n")

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert sorted(recorded.text.split()) == sorted(f"{name}{i}" for name in "abcd" for i in range(500))


def test_emit_may_print():
    """A warning about the disk is output, too; it must not lock up or recur."""
    recorded = Recorded()

    def emit(text, offset):
        recorded(text, offset)
        if len(recorded.edits) < 3:
            log.feed("warning\n")
            log.flush()

    log = OutputLog(emit, min_interval_s=0.0)
    log.feed("text\n")
    log.flush()
    log.flush()
    log.close()
    assert recorded.text == "text\nwarning\nwarning\n"


def test_an_emit_that_fails_once_loses_nothing(caplog):
    """A disk that is full for a moment must leave no hole."""
    recorded = Recorded()
    failures = [OSError("disk full"), OSError("disk full")]

    def emit(text, offset):
        if failures and recorded.data:
            raise failures.pop()
        recorded(text, offset)

    log = OutputLog(emit, min_interval_s=0.0)
    for piece in ("one\n", "tw", "o\r", "TW", "\nthree\n"):
        log.feed(piece)
    log.close()
    assert recorded.text == "one\nTWo\nthree\n"
    assert len([r for r in caplog.records if "disk full" in r.getMessage()]) == 1, "said once"


def test_an_emit_that_always_fails_ends_the_recording_and_says_so(caplog, monkeypatch):
    """Memory is bounded, and the program prints on."""
    monkeypatch.setattr(OutputLog, "MOST_UNSENT", 1000)

    def emit(text, offset):
        raise OSError("gone")

    log = OutputLog(emit, min_interval_s=0.0)
    for _ in range(100):
        log.feed("x" * 99 + "\n")
    log.close()
    assert [r.levelname for r in caplog.records] == ["WARNING", "ERROR"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_log_is_inert_in_a_forked_child():
    """Children never write into the record, and never wait for a lock that a dead thread holds."""
    recorded = Recorded()
    log = OutputLog(recorded, min_interval_s=0.0)
    with log._lock:
        busy = threading.Thread(target=log.flush)  # waits for us: the lock is contended at the fork
        busy.start()
        child = os.fork()
        if child == 0:
            log.feed("child\n")
            log.flush()
            log.close()
            os._exit(0 if not recorded.edits else 1)
    busy.join()
    assert os.waitpid(child, 0)[1] == 0


# -------------------------------------------------------------------------------------------- a cap


def test_a_long_output_keeps_its_head_and_its_tail():
    """Where it began and where it ended is what one looks for."""
    lines = [f"line {i:06d}\n" for i in range(10_000)]
    text = record(*lines, max_bytes=2400).text
    head, left_out, tail = re.fullmatch(r"(.*\n)\[… ([\d,]+) bytes left out …\]\n(.*)", text, re.DOTALL).groups()
    assert "".join(lines).startswith(head)
    assert "".join(lines).endswith(tail)
    assert len(head) + len(tail) <= 2400
    assert len(head) > 1150 and len(tail) > 1150
    assert int(left_out.replace(",", "")) == 10_000 * 12 - len(head) - len(tail)


def test_an_output_that_fits_is_left_alone():
    """No line in between where nothing is left out."""
    assert record("x" * 10 + "\n", max_bytes=11).text == "x" * 10 + "\n"


def test_the_tail_is_sent_again_only_now_and_then():
    """Each cut re-sends half of the room; that must stay a small multiple of what is new."""
    recorded, clock = Recorded(), Clock()
    log = OutputLog(recorded, max_bytes=2000, now=clock, min_interval_s=0.0)
    for i in range(5000):
        log.feed(f"line {i:06d}\n")
        clock.now += 0.01
    log.close()
    assert recorded.sent < 5000 * 12 * 2
    assert recorded.text.endswith("line 004999\n")
    assert len(recorded.data) <= 2000 + 60


def test_a_slow_trickle_behind_a_full_cap_is_recorded_as_it_comes():
    """Five seconds must not go missing when the process is killed."""
    recorded, clock = Recorded(), Clock()
    log = OutputLog(recorded, max_bytes=2000, now=clock, min_interval_s=0.0)
    log.feed("x\n" * 5000)
    for i in range(20):
        clock.now += 1
        log.feed(f"trickle {i}\n")
        assert recorded.text.endswith(f"trickle {i}\n")


def capped(pieces, max_bytes, pauses):
    recorded, clock = Recorded(), Clock()
    log = OutputLog(recorded, max_bytes=max_bytes, now=clock, min_interval_s=0.0)
    for piece, pause in zip(pieces, pauses):
        log.feed(piece)
        clock.now += pause
    log.close()
    return recorded


PAUSES = st.lists(st.sampled_from([0.0, 0.01, 6.0]), min_size=30, max_size=30)


@given(st.lists(st.text(alphabet="aé€\U0001f600\n", max_size=60), max_size=30), st.integers(2, 100), PAUSES)
def test_under_any_cap_head_and_tail_and_the_number_between_add_up(pieces, max_bytes, pauses):
    """Characters of several bytes and tiny caps: never a torn character, never a byte of the wrong place."""
    whole, data = "".join(pieces).encode(), capped(pieces, max_bytes, pauses).data
    if len(whole) <= max_bytes:
        assert data == whole
        return
    head, count, tail = re.fullmatch(r"(.*?)(?:\[… ([\d,]+) bytes left out …\]\n(.*))", data.decode(), re.S).groups()
    head, tail = head.encode(), tail.encode()
    if head and not whole[: len(head)].endswith(b"\n"):
        head = head[:-1]  # the note begins on a line of its own
    elif not whole.startswith(head):
        head = head[:-1]
    assert whole.startswith(head) and whole.endswith(tail)
    assert len(head) + int(count.replace(",", "")) + len(tail) in (len(whole), len(whole) + 1)
    assert len(head) + len(tail) <= max_bytes + 1


@pytest.mark.slow
@given(st.lists(st.text(alphabet="aé€\n\r\b", max_size=60), max_size=30), st.integers(2, 100), PAUSES)
@example(pieces=["a€a", "\ré\n\n", "é", "\ra"], max_bytes=4, pauses=[0.0] * 30)  # the tail began inside a character
@example(pieces=["aa€", "\ré\n", "é"], max_bytes=4, pauses=[0.0] * 30)
def test_redraws_across_the_cut_leave_a_record_in_order(pieces, max_bytes, pauses):
    """A line that began in the head, or in what was left out, may be redrawn: what stands is text, within the cap."""
    assert len(capped(pieces, max_bytes, pauses).data) <= max_bytes + 60


def test_memory_stays_within_the_cap():
    """A run that prints for a week must not grow."""
    log = OutputLog(lambda text, offset: None, max_bytes=100_000, min_interval_s=0.0)
    tracemalloc.start()
    try:
        for _ in range(300):
            log.feed("some text of a line\n" * 2000)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_cap_below_two_bytes_is_refused():
    """A head and a tail need a byte each."""
    with pytest.raises(ValueError, match="at least 2"):
        OutputLog(print, max_bytes=1)
