"""Settings that are read deep inside the library do what their row in the documentation says."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os
from capture import Experiment, SETTINGS
{before}
ex = Experiment("set")

@ex.automain
def main(_run):
    for i in range(5):
        _run.log_scalar("loss", i)
    print("journals in", [path for path in ("from_file", "from_code") if os.path.isdir(path)])
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Write a script and a pyproject.toml with settings; return what runs the script."""
    monkeypatch.delenv("CAPTURE_STATE_DIR")

    def make(settings, before=""):
        (tmp_path / "train.py").write_text(SCRIPT.format(before=before))
        (tmp_path / "pyproject.toml").write_text("[tool.capture]\n" + settings)

        def run(*arguments):
            command = [sys.executable, "train.py", *arguments]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            return done.stdout

        return run

    return make


def test_a_project_says_where_its_journals_lie(project):
    """A team on a cluster with small homes sets it once, for everybody."""
    assert "journals in ['from_file']" in project('state_dir = "from_file"')()


def test_code_wins_over_the_environment_in_where_journals_lie(project, monkeypatch):
    """It is the strongest layer, for this setting as for others."""
    monkeypatch.setenv("CAPTURE_STATE_DIR", "from_file")
    assert "journals in ['from_code']" in project("", before="SETTINGS.STATE_DIR = 'from_code'")()


@pytest.mark.parametrize(("limit", "there"), [(4, False), (5, True)])
def test_long_series_are_not_repeated_in_sacreds_form(project, tmp_path, limit, there):
    """Above the limit the file would only repeat, at length, what metrics.jsonl holds."""
    project(f"metrics.json_limit = {limit}")()
    assert os.path.exists(tmp_path / "runs" / "1" / "metrics.jsonl")
    assert os.path.exists(tmp_path / "runs" / "1" / "metrics.json") is there


@pytest.mark.parametrize("shown", [True, False])
def test_options_that_cannot_be_used_are_shown_or_hidden(project, shown, tmp_path, monkeypatch):
    """Without a driver for MongoDB, an option for it only clutters the help; Sacred has a switch for it."""
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "sitecustomize.py").write_text("import sys\nsys.modules['pymongo'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "blocked"))
    text = project(f"command_line.show_disabled_options = {str(shown).lower()}")("--help-all")
    assert ("--mongo_db" in text) is shown
    assert "--file_storage" in text
