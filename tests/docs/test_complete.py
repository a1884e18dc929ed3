"""Nothing that a user can call, set or override is left out of the documentation."""

from __future__ import annotations

import subprocess
import sys

import pytest

from capture.hooks import CAPABILITIES, HOOKS
from capture.settings import DEFAULTS
from tests.project.tree import ROOT

DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_generated_tables_are_fresh():
    """A table of hooks that is a version behind is worse than none, because it is believed."""
    done = subprocess.run([sys.executable, str(DOCS / "generate.py"), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, f"run: python docs/generate.py\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_row(hook):
    """Whoever writes an observer reads one page, and finds every hook there."""
    assert f"| `{hook}` |" in page("writing-an-observer.md")


@pytest.mark.parametrize("capability", sorted(CAPABILITIES))
def test_every_capability_is_explained(capability):
    """An observer declares what it stores; what the words mean must be written somewhere."""
    assert f'`"{capability}"`' in page("writing-an-observer.md")


@pytest.mark.parametrize("setting", DEFAULTS)
def test_every_setting_has_a_row(setting):
    """A switch that nobody can find might as well not be there."""
    assert f"| `{setting}` |" in page("settings.md")
