"""The example on lineage shows what it says: what the run read, wrote and imported, without being told."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys

import pytest

from capture.stores import open_store
from tests.project.tree import ROOT

FILES = ("lineage.py", "lineage_picture.py")


@pytest.fixture
def run(tmp_path):
    """Run the example in a copy of its files; return what it printed."""
    for name in FILES:
        shutil.copy(ROOT / "examples" / name, tmp_path)

    def run(*arguments):
        command = [sys.executable, "lineage.py", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_files_of_a_run_are_in_its_record(run, tmp_path):
    """The point of the example: no call says what is read and written, and the record knows."""
    run("make_table")
    assert run() == "mean height 168.7 cm\n"
    record = open_store(tmp_path / "runs").get("latest")
    lineage = record.facts["lineage"]
    assert [file["name"] for file in lineage["inputs"]] == ["lineage_data/heights.csv"]
    assert {file["name"] for file in lineage["outputs"]} == {"lineage_out/heights.svg", "lineage_out/summary.csv"}
    for file in (*lineage["inputs"], *lineage["outputs"]):
        with open(file["path"], "rb") as stream:
            assert file["digest"] == hashlib.sha256(stream.read()).hexdigest()
    assert {source.name for source in record.sources} == set(FILES)
    assert {artifact.name for artifact in record.artifacts} == {"lineage_out/heights.svg", "lineage_out/summary.csv"}
    assert [os.path.basename(resource.name) for resource in record.resources] == ["heights.csv"]


def test_the_record_is_shown(run):
    """The second command of the example is how a reader finds out where to look."""
    run("make_table")
    run("with", "bins=3", "folder=other")
    printed = run("show").splitlines()
    assert printed[0] == "run 1, COMPLETED"
    assert [line.split()[:2] for line in printed[1:6]] == [
        ["input", "lineage_data/heights.csv"],
        ["output", "other/heights.svg"],
        ["output", "other/summary.csv"],
        ["source", "lineage.py"],
        ["source", "lineage_picture.py"],
    ]
    assert printed[6].startswith("Watched: files that Python opened")
