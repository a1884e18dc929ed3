"""Each test starts without runs: those that others left behind would be fallen back to."""

from __future__ import annotations

import pytest

from capture import context


@pytest.fixture(autouse=True)
def no_runs(monkeypatch):
    for name in ("_live", "_inherited", "_finished"):
        monkeypatch.setattr(context, name, ())
