"""`--enforce_clean` with repositories that are slow to answer, or do not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="puts a shell script in git's place")

SCRIPT = """
from capture import Experiment

ex = Experiment("clean", observers=[])

@ex.automain
def main():
    print("ran")
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a committed script with a git of one's own; it returns exit code and output."""
    real = subprocess.run(["which", "git"], check=True, capture_output=True, text=True).stdout.strip()
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "script.py").write_text(SCRIPT)
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([real, *command], cwd=folder, check=True)
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()

    def act(text, *arguments):
        git.write_text(f"#!/bin/sh\n{text}\n".replace("GIT", real))
        git.chmod(0o755)
        environment = {**os.environ, "PATH": f"{git.parent}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            [sys.executable, "script.py", *arguments],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    act.folder = folder
    return act


def test_a_slow_git_is_waited_for(run):
    """On a busy file server it takes a second; "not in a repository" would be a lie."""
    assert run('sleep 1; exec GIT "$@"', "-e")[0] == 0
    (run.folder / "script.py").write_text(SCRIPT + "# changed\n")
    code, output = run('sleep 1; exec GIT "$@"', "-e")
    assert code == 2 and "uncommitted changes" in output


def test_what_git_does_not_say_does_not_count_as_clean(run):
    """The option exists for those who need to be sure."""
    code, output = run("exit 3", "-e")
    assert code == 2 and "git does not say" in output


def test_dependencies_are_printed_with_a_slow_repository(run):
    """The command has nothing else to do."""
    _, output = run('sleep 1; exec GIT "$@"', "print_dependencies")
    assert "Version Control:" in output
