"""Long texts in JSON: the quick way and the standard library's must be told apart by the clock only."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture import events
from capture.journal import body_of, event_of
from capture.quoting import LONG, quote

LINES = "".join(f"step {number:6d}  loss {1 / (number + 1):.4f}\n" for number in range(100))
ODD = ["\\", "\\n", '"', "\t", "\r\n", "\x00", "\x08", "\x1b[31mred\x1b[0m", "\x7f", "é", "😀", "\u2028", "\\u0041"]
texts = st.lists(st.one_of(st.sampled_from([*ODD, LINES]), st.text(st.characters(exclude_categories=["Cs"]))), max_size=6)


@given(texts.map("".join))
def test_every_text_comes_back(text):
    """What was printed is what is recorded, whatever characters a program prints."""
    assert json.loads(quote(text)) == text
    assert json.loads(quote(LINES + text)) == LINES + text


@pytest.mark.parametrize("odd", ODD)
def test_a_long_text_with_one_odd_piece_comes_back(odd):
    """Each character that JSON wants escaped is either replaced or makes the text `json`'s business."""
    for text in (odd + LINES, LINES + odd, LINES[:700] + odd + LINES[700:], odd * LONG):
        assert json.loads(quote(text)) == text


@pytest.mark.parametrize("text", ["", "short", LINES, LINES + "\udc80", "\ud800", LINES + "\x00"])
def test_output_events_keep_their_text(text):
    """Also text that UTF-8 cannot hold, which is tagged."""
    event = events.Output(text=text, offset=7)
    stored = ('{"e":"output","s":4,"t":2.5,' + body_of(event) + "}").encode()
    assert event_of(stored) == event.at(4, 2.5)
