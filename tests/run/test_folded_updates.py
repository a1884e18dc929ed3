"""Updates are folded before docopt sees them; nobody should notice but for the time it takes."""

from __future__ import annotations

import pytest

from capture import Experiment
from capture.errors import CommandLineError
from capture.script import parse


@pytest.fixture
def experiment():
    ex = Experiment("words", interactive=True, observers=[])

    @ex.main
    def main():
        pass

    return ex


@pytest.mark.parametrize(
    "words, updates, name",
    [
        (["with", "a=1"], ["a=1"], None),
        (["with", "a=1", "b=x y", "a=1"], ["a=1", "b=x y", "a=1"], None),
        (["with", "big", "a=1", "b=2"], ["big", "a=1", "b=2"], None),
        (["with", "a=1", "big", "b=2", "c=3"], ["a=1", "big", "b=2", "c=3"], None),
        (["with", "a=1", "-n", "x=y", "b=2", "c=3"], ["a=1", "b=2", "c=3"], "x=y"),
        (["-n", "with", "with", "a=1", "b=2"], ["a=1", "b=2"], "with"),
        (["main", "with", "a=-1", "b=--c"], ["a=-1", "b=--c"], None),
    ],
)
def test_updates_arrive_in_order_whatever_stands_between_them(experiment, words, updates, name):
    """Later updates win, so that their order counts; words that only look like updates are left to docopt."""
    options, _, found = parse(experiment, "script.py", words)
    assert (found, options["--name"]) == (updates, name)


def test_a_hundred_updates_are_one_word_for_the_parser(experiment, monkeypatch):
    """Docopt's time grows with the number of words, of which a sweep may pass hundreds."""
    import docopt

    seen = []
    real = docopt.docopt
    monkeypatch.setattr(docopt, "docopt", lambda usage, words, *rest: seen.extend(words) or real(usage, words, *rest))
    updates = [f"group.entry_{number}={number}" for number in range(100)]
    assert parse(experiment, "script.py", ["with", *updates])[2] == updates
    assert len(seen) == 2


def test_an_update_without_with_is_still_explained(experiment):
    """The message names the words as they were typed, not what stood for them."""
    with pytest.raises(CommandLineError, match="config updates stand behind 'with': with a=1"):
        parse(experiment, "script.py", ["main", "a=1"])
