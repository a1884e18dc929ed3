"""The benchmarks work: each prints its rows when it is run quickly. What they say is not looked at here."""

from __future__ import annotations

import pytest

from tests.bench import __main__ as command
from tests.bench.__main__ import NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_prints_its_rows(name, capsys):
    """A benchmark that nobody can run any more is worth nothing, and its page is out of date unnoticed."""
    assert command.main([name, "--quick", "--markdown"]) == 0
    printed = capsys.readouterr().out
    assert "| what | floor | ours |" in printed
    rows = [line for line in printed.splitlines() if line.startswith("| ") and line.endswith(("| yes |", "| **no** |"))]
    assert rows, printed


def test_an_unknown_benchmark_is_refused_by_name(capsys):
    """The message lists those there are."""
    with pytest.raises(SystemExit):
        command.main(["imprt"])
    assert "imprt; there are: import, hello" in capsys.readouterr().err
