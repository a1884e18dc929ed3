"""Options that may be given several times count as often as they are given."""

from __future__ import annotations

import pytest

from capture import Experiment
from capture.script import parse

FORMS = [
    ([], None, []),
    (["with", "epochs=2"], None, ["epochs=2"]),
    (["main"], "main", []),
    (["main", "with", "epochs=2", "big"], "main", ["epochs=2", "big"]),
]


@pytest.fixture
def experiment():
    ex = Experiment("words", interactive=True, observers=[])

    @ex.main
    def main():
        pass

    return ex


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "behind"])
@pytest.mark.parametrize(("words", "command", "updates"), FORMS, ids=lambda value: str(value))
def test_each_is_counted_once_in_every_form_of_the_command_line(experiment, words, command, updates, is_before):
    """An observer that is named once too often tells everybody twice."""
    repeated = ["-o", "runs", "--tag", "a", "--tag=b", "-onotify+json://localhost/z", "--tag", "c"]
    arguments = [*repeated, *words] if is_before else [*words, *repeated]
    options, found, changes = parse(experiment, "script.py", arguments)
    assert (found, changes) == (command, updates)
    assert options["--tag"] == ["a", "b", "c"]
    assert options["--observe"] == ["runs", "notify+json://localhost/z"]
