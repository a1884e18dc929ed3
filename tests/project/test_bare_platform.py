"""The library runs where there is no git, and nothing that Windows lacks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("windows_like.py")


@pytest.fixture
def bare(tmp_path):
    """Run `capture` in an interpreter without what Windows lacks, in a folder without git."""

    def run(*arguments, code=0):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CAPTURE_")}
        done = subprocess.run(
            [sys.executable, str(SCRIPT), *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


@pytest.mark.slow
def test_the_demo_runs_without_git_and_without_what_windows_lacks(bare, tmp_path):
    """It needs nothing but the library; platforms nobody tests on must at least not stumble over a missing module."""
    done = bare("demo", "with", "epochs=20")
    assert "Traceback" not in done.stderr
    run = json.loads((tmp_path / "runs" / "1" / "run.json").read_text())
    assert run["status"] == "COMPLETED"
    assert run["host"]["os"][0] == "Windows"
    assert "fitted" in (tmp_path / "runs" / "1" / "cout.txt").read_text()
    assert len(json.loads((tmp_path / "runs" / "1" / "metrics.json").read_text())["loss"]["values"]) == 20
    bare("demo")
    assert (tmp_path / "runs" / "2" / "run.json").exists()


def test_the_other_commands_run_there_too(bare):
    """`sync` and `doctor` look at locks and at the state folder."""
    assert bare("sync").stdout == "nothing waits\n"
    assert "none wait" in bare("doctor", "--all").stdout


def test_the_demo_runs_where_there_is_no_git(tmp_path):
    """The platform as it is, with a PATH in which git is not found."""
    empty = tmp_path / "bin"
    empty.mkdir()
    assert shutil.which("git", path=str(empty)) is None
    done = subprocess.run(
        [sys.executable, "-m", "capture", "demo", "with", "epochs=5"],
        cwd=tmp_path,
        env={**os.environ, "PATH": str(empty)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "runs" / "1" / "run.json").read_text())["status"] == "COMPLETED"
