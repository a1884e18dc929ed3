"""Stores that are named by relative paths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from capture import Experiment, open_store


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("runs", "runs"),
        (Path("deep/runs"), "deep/runs"),
        ("file:runs%20of%20mine", "runs of mine"),
        ("file://runs", "runs"),
        ("sqlite:///runs.db", "runs.db"),
        ("tinydb:runs_db", "runs_db"),
        ("tinydb://runs_db", "runs_db"),
    ],
)
@pytest.mark.parametrize("way", ["given", "added"])
def test_a_relative_store_lies_where_it_was_named(url, place, way, tmp_path, monkeypatch):
    """A script may go elsewhere before it runs, and must not look for its runs in two folders."""
    if "sqlite" in str(url):
        pytest.importorskip("sqlalchemy")
    start, elsewhere = tmp_path / "my start", tmp_path / "elsewhere"
    start.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(start)
    experiment = Experiment("moving", save_git_info=False, observers=[url] if way == "given" else [])
    if way == "added":
        experiment.observers.append(url)
    experiment.main(lambda: 1)
    monkeypatch.chdir(elsewhere)
    experiment.run()
    assert os.listdir(elsewhere) == []
    assert (start / place).exists()
    monkeypatch.chdir(start)
    assert open_store(url).get(1).result == 1


@pytest.mark.parametrize(
    "url", ["", "sqlite://", "sqlite:///:memory:", "file:///data/runs", "lab:/runs", "mongodb://db.lab/runs", "s3://b/runs"]
)
def test_what_is_no_relative_path_stays_as_it_is(url):
    """What is wrong with it is said when the run is made, in the words that were given."""
    assert Experiment("staying", observers=[url]).observers == [url]
