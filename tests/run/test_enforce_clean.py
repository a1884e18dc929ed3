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


# ------------------------------------------------------------------------------------------ all states of a repository

WHOLE_GIT = 'exec GIT "$@"'


def git(folder, *arguments):
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def change(folder):
    with open(folder / "script.py", "a") as file:
        file.write("# changed\n")


def stage(folder):
    change(folder)
    git(folder, "add", ".")


def delete_another(folder):
    (folder / "other.py").write_text("")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "other")
    (folder / "other.py").unlink()


def intend(folder):
    (folder / "other.py").write_text("x")
    git(folder, "add", "-N", "other.py")


def make_executable(folder):
    (folder / "script.py").chmod(0o755)


def add_submodule(folder):
    library = folder.parent / "library"
    library.mkdir()
    (library / "x.py").write_text("")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        git(library, *command)
    git(folder, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "lib")
    git(folder, "commit", "-qm", "library")


def change_a_submodule(folder):
    add_submodule(folder)
    (folder / "lib" / "x.py").write_text("changed")


def forget_all_commits(folder):
    git(folder, "checkout", "-q", "--orphan", "new")
    git(folder, "rm", "-q", "--cached", "-r", ".")


def forget_all_commits_but_not_the_index(folder):
    git(folder, "checkout", "-q", "--orphan", "new")


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (change, "uncommitted changes"),
        (stage, "uncommitted changes"),
        (delete_another, "uncommitted changes"),
        (intend, "uncommitted changes"),
        (make_executable, "uncommitted changes"),
        (change_a_submodule, "uncommitted changes"),
        (forget_all_commits, "nothing has been committed yet"),
        (forget_all_commits_but_not_the_index, "nothing has been committed yet"),
    ],
)
def test_what_is_not_committed_is_refused(run, prepare, words):
    """As Sacred does; before the first commit, too, where Sacred stumbles over the missing commit."""
    prepare(run.folder)
    code, output = run(WHOLE_GIT, "-e")
    assert code == 2 and words in output and "ran" not in output.splitlines()


def detach(folder):
    git(folder, "checkout", "-q", "--detach")


def add_untracked(folder):
    (folder / "notes.txt").write_text("x")


def touch(folder):
    os.utime(folder / "script.py", (1, 1))


def pack(folder):
    git(folder, "gc", "-q")


def make_shallow(folder):
    commit = git(folder, "rev-parse", "HEAD")
    (folder / ".git" / "shallow").write_text(commit + "\n")


def move_into_a_worktree(folder):
    git(folder, "worktree", "add", "-q", "-b", "other", "../tree")
    (folder / ".git").rename(folder.parent / "moved.git")
    git(folder.parent / "moved.git", "worktree", "repair")
    for name in (".git", "script.py"):
        (folder.parent / "tree" / name).replace(folder / name)
    (folder.parent / "moved.git" / "worktrees" / "tree" / "gitdir").write_text(f"{folder}/.git\n")


@pytest.mark.parametrize(
    "prepare", [detach, add_untracked, touch, pack, make_shallow, add_submodule, move_into_a_worktree]
)
def test_what_is_committed_runs(run, prepare):
    """As Sacred does: untracked files do not count, and neither does how the repository is kept."""
    prepare(run.folder)
    code, output = run(WHOLE_GIT, "-e")
    assert code == 0 and "ran" in output.splitlines()


def test_without_a_repository_it_is_refused(run):
    """As Sacred does."""
    (run.folder / ".git").rename(run.folder.parent / "elsewhere")
    code, output = run(WHOLE_GIT, "-e")
    assert code == 2 and "git repository" in output
