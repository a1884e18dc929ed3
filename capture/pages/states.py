"""The state of a run on a page: a coloured word, and what it rests on where the record is not the last word."""

from __future__ import annotations

from capture.filters import STATES, state_of
from capture.pages.html import element
from capture.pages.values import as_words
from capture.query import signs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from capture.pages.html import Html
    from capture.records import RunRecord


def badge(run: RunRecord) -> Html:
    """Return the state of a run, coloured if it is one that everybody knows."""
    state = as_words(state_of(run), 40)
    return element("span", state, class_=f"state {state}" if state in (*STATES, "DIED") else "state")


def remark_on(run: RunRecord) -> Html | None:
    """Return what the state of a run rests on; nothing where its record is the last word."""
    return _small(signs.remark(run))


def remark_in_short(run: RunRecord) -> Html | None:
    """Return the same for a cell of a table."""
    return _small(signs.in_short(run))


def _small(said: str) -> Html | None:
    return element("span", said, class_="why") if said else None
