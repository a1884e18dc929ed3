"""Fixtures for tests that start processes."""

import os
import subprocess
import tempfile

import pytest

from tests.e2e.scripts import Folder
from tests.e2e.test_endings import everybodys_python


@pytest.fixture
def folder(tmp_path):
    """A folder to run scripts in."""
    place = tmp_path / "work"
    place.mkdir()
    return Folder(place)


@pytest.fixture
def everybody(tmp_path):
    """Run a folder's script as a user whom file modes bind, which root is not."""

    def run(folder, *arguments):
        python, found_by = everybodys_python(tmp_path)
        if folder.path.stat().st_mode & 0o200:
            folder.path.chmod(0o777)
        for part in folder.path.parents:
            if part.stat().st_uid == os.getuid() and str(part).startswith(tempfile.gettempdir() + os.sep):
                part.chmod(part.stat().st_mode | 0o055)
        home = tmp_path / "home"
        home.mkdir(mode=0o777)
        home.chmod(0o777)
        environment = {**folder.environment, **found_by}
        if environment["HOME"] != "/nonexistent":
            environment.update(HOME=str(home), CAPTURE_STATE_DIR=str(home / "state"))
            folder.environment["CAPTURE_STATE_DIR"] = str(home / "state")
        command = [python, "script.py", *arguments]
        as_user = {"user": 4001, "group": 4321, "extra_groups": []} if os.geteuid() == 0 else {}
        return subprocess.run(
            command, cwd=folder.path, env=environment, capture_output=True, text=True, timeout=600, **as_user
        )

    return run


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of 400 kB."""
    mounted = []

    def mount(name):
        place = tmp_path / f"small-{name}"
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)], check=True)
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)
