"""The documentation as a site."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.project.tree import ROOT


@pytest.mark.slow
def test_the_documentation_is_built_without_warnings(tmp_path):
    """A warning is a broken link, a page that no table of contents lists, or a docstring that reads wrongly."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(ROOT / "docs"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n(Sphinx comes with the extra 'docs')"
    assert (tmp_path / "five-minutes.html").exists()
