"""Real repositories, and a place where things are kept."""

from __future__ import annotations

import hashlib
import io
import subprocess


def run_git(folder, *arguments):
    """Run git in a folder and return what it printed."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def make_repository(folder):
    """Make a repository with one commit."""
    folder.mkdir(parents=True, exist_ok=True)
    run_git(folder, "init", "-q", "-b", "main", ".")
    (folder / "train.py").write_text("print(1)\n")
    run_git(folder, "add", ".")
    run_git(folder, "commit", "-q", "-m", "first")
    return folder


def publish(repo, tmp_path, name="origin"):
    """Push a repository's branch to a new remote, and return the remote's folder."""
    run_git(tmp_path, "init", "-q", "--bare", "-b", "main", f"{name}.git")
    run_git(repo, "remote", "add", name, str(tmp_path / f"{name}.git"))
    run_git(repo, "push", "-q", name, "main")
    return tmp_path / f"{name}.git"


class Kept:
    """Stands in for the record: keeps bytes under names, and gives them back."""

    def __init__(self):
        self.files = {}

    def __call__(self, name, data):
        assert isinstance(data, bytes) and name.encode()  # a name that can be stored
        self.files[name] = data
        return {"source": name, "digest": hashlib.sha256(data).hexdigest(), "size": len(data)}

    def open(self, name):
        return io.BytesIO(self.files[name])
