"""A store with runs to look at."""

from __future__ import annotations

import pytest

from tests.cli.looking import write_runs


@pytest.fixture
def six_runs(tmp_path, monkeypatch):
    """Make six runs, in the store that commands look into; return its path."""
    path = write_runs(tmp_path)
    monkeypatch.chdir(tmp_path)
    return path
