"""What a store reads of many runs at once is what it reads of each alone."""

from __future__ import annotations

import math

import pytest

from capture import open_store
from capture.observers import _file_reader, _sql_reader, _tinydb_snapshot
from capture.registry import make_observer
from capture.testing.contract import uid
from capture.testing.feed import Story, tell
from tests.servers.fixtures import each_kind, url_of_kind

CONFIGS = [
    {"lr": 0.1, "net": {"layers": [64, 32], "name": "small"}},
    {"lr": 0.2, "net": {"layers": [64, [1, {"deep": None}]], "name": "large"}},
    {"net": {"name": "other order", "layers": []}, "lr": 2**70},
    {"lr": math.nan, "pair": (1, 2), "bytes": b"\x00\xff", "set": {1}},
    {"py/tuple": [1], "capture/float": "nan", "json://1": "keys like tags", "a/b": {"c/d": 1}},
    {1: "a key that is no text", "1": "one that is", "a.b": 1, "a": {"b": 2}},
    {"text": 'a quote " a backslash \\ a comma },{', "marks": "{TinyDate}:2026", "bell": "\x07 \ud800 ü 🙂"},
    {},
    {"empty": {}, "none": None, "truth": [True, False]},
]
VALUES = [[1.0, 0.5], ["nan", "inf"], [2, 3], [0.25], [1e300, "-inf"]]


@pytest.fixture(params=each_kind("file", "sqlite", "tinydb", "mongodb", "postgresql", "mariadb"))
def location(request, tmp_path):
    """Return where runs with odd configurations and metrics lie."""
    where = url_of_kind(request.param, request, tmp_path)
    observer = make_observer(where)
    for number, config in enumerate([*CONFIGS, *CONFIGS[:4]]):
        story = Story(tmp_path / f"told-{number}", uid(f"{number:02}")).start(config=config)
        story.metrics(loss=VALUES[number % len(VALUES)])
        if number % 2:
            story.metrics(**{"val.loss": [number]})
        tell(observer, story.complete(result={"score": number}))
    return where


@pytest.mark.parametrize("together", [1, 3, 500])
def test_runs_that_are_read_together_are_those_that_are_read_alone(location, together, monkeypatch):
    """Their JSON is read as one text: no value may move to another run, whatever stands in it."""
    monkeypatch.setattr(_file_reader, "_FIRST", together)
    monkeypatch.setattr(_file_reader, "_PAGE", together)
    monkeypatch.setattr(_sql_reader, "_GROUPS", (together,))
    monkeypatch.setattr(_sql_reader, "_PAGE", 2 * together)
    monkeypatch.setattr(_sql_reader, "_LARGE_PAGE", 4 * together)
    monkeypatch.setattr(_tinydb_snapshot, "_TOGETHER", together)
    with open_store(location) as store, open_store(location) as other:
        for where in (None, "status == 'COMPLETED'", "metrics.loss.count > 0"):
            found = list(store.runs(where))
            assert len(found) == len(CONFIGS) + 4
            for run in found:
                alone = other.get(run.label)
                for name in ("config", "summary", "result", "status", "name", "start_time", "stop_time", "tags", "notes"):
                    assert repr(getattr(run, name)) == repr(getattr(alone, name)), (run.label, name)


def test_who_changes_what_was_read_changes_no_other_run(location):
    """A script may fill in what a configuration lacks, to compare it with others."""
    with open_store(location) as store:
        first = list(store.runs())
        before = repr([run.config for run in store.runs()])
        for run in first:
            run.config["added"] = True
            run.config.get("net", {}).clear()
            run.summary["loss"]["last"] = -1
        assert repr([run.config for run in store.runs()]) == before
        assert not any(run["metrics.loss.last"] == -1 for run in store.runs())
