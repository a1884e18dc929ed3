"""Exports: a folder that explains itself, a zip file, JSON; whole or not at all, and nothing is overwritten."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import zipfile
from pathlib import PurePosixPath

import pytest

from capture import events, open_store
from capture.exporting._target import ExportError, Target
from capture.exporting.folder import export_folder, json_of
from capture.observers import FileStorageObserver
from capture.records import StoredFile, bytes_opener
from capture.testing.contract import uid
from capture.testing.feed import Story, tell, told

SACRED = os.path.join(os.path.dirname(os.path.dirname(__file__)), "golden", "sacred-0.8.7")


def story(tmp_path, mark="01", **fields) -> Story:
    """Return a run with a bit of everything."""
    run = Story(tmp_path / f"told{mark}", uid(mark)).start(config={"lr": 0.1, "n": float("nan"), "t": (1, 2)}, **fields)
    run.source("train.py", b"print(1)").source(".capture/environment.json", b"{}")
    run.resource("/home/user/project/data/in.csv", b"a,b").resource("/elsewhere/in.csv", b"c,d")
    run.artifact("plots/loss.png", b"png", content_type="image/png").artifact("PLOTS", b"a file of that name")
    run.add(events.Output(text="epoch 1\nw\u00f6rld\n", offset=0), events.Facts(topic="params", facts={"depth": 3}))
    run.metrics(loss=[3.0, "nan", "-inf"]).metric('val,"acc', [1, 10**18])
    return run.add(events.Annotated(tags=["good"], notes="first")).complete(result={"score": 1})


@pytest.fixture
def run(tmp_path):
    return told(story(tmp_path))


def digest_at(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refuse(word):
    raise AssertionError(f"{word} is no JSON")


def strict(text: str):
    return json.loads(text, parse_constant=refuse)


def test_a_folder_has_all_of_a_run_and_says_what_is_what(run, tmp_path):
    """Who gets it in ten years has no library of ours."""
    target = tmp_path / "out"
    export_folder([run], str(target))
    record = strict((target / "run.json").read_text())
    assert record["uid"] == run.uid and record["notes"] == "first" and record["facts"]["params"] == {"depth": 3}
    assert (target / "output.txt").read_text() == run.output
    assert strict((target / "config.json").read_text())["lr"] == 0.1
    assert strict((target / "environment.json").read_text())["host"]["hostname"] == "node7"
    for kind in ("sources", "resources", "artifacts", "kept"):
        assert len(record["files"][kind]) == len(getattr(run, kind)) > 0
        for told_of, stored in zip(record["files"][kind], getattr(run, kind)):
            assert told_of["name"] == stored.name
            assert digest_at(target / told_of["file"]) == told_of["sha256"] == stored.digest
    readme = (target / "README.txt").read_text()
    assert all(f"{name}" in readme for name in os.listdir(target) if name != "README.txt")
    assert sorted(os.listdir(tmp_path / "out" / "resources")) == ["data", "in.csv"]


def test_all_points_of_metrics_are_in_a_table(run, tmp_path):
    """The one thing that people load first, with whatever they have."""
    export_folder([run], str(tmp_path / "out"))
    with open(tmp_path / "out" / "metrics.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["name", "step", "time", "value"]
    assert [row["name"] for row in rows] == ["loss"] * 3 + ['val,"acc'] * 2
    values = [float(row["value"]) for row in rows]
    assert values[0] == 3.0 and math.isnan(values[1]) and values[2] == -math.inf and values[4] == 10**18
    assert rows[0]["time"].startswith("2026-01-01T00:00:") and rows[0]["time"].endswith("Z")


def test_nothing_is_overwritten(run, tmp_path):
    """The folder that is there may be the only copy of something."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(ExportError, match="exists already\n  what to do:"):
        export_folder([run], str(tmp_path / "out"))
    assert os.listdir(tmp_path / "out") == ["mine"]
    (tmp_path / "a.zip").write_text("mine")
    with pytest.raises(ExportError):
        export_folder([run], str(tmp_path / "a.zip"))
    (tmp_path / "empty").mkdir()
    assert export_folder([run], str(tmp_path / "empty"))


def test_an_export_that_fails_leaves_nothing(run, tmp_path):
    """Half a folder looks like a whole one."""

    def breaks():
        raise OSError("the disk is gone")

    run.artifacts.append(StoredFile("late", "0" * 64, 1, open=breaks))
    for name in ("out", "out.zip"):
        with pytest.raises(OSError, match="the disk is gone"):
            export_folder([run], str(tmp_path / "new" / name))
    assert os.listdir(tmp_path / "new") == []


def test_what_is_damaged_or_missing_is_named_and_left_out(run, tmp_path):
    """A file with a digest that is not its own helps nobody; the rest is worth having."""
    run.artifacts.append(StoredFile("damaged", "0" * 64, 1, open=bytes_opener(b"x")))
    run.artifacts.append(StoredFile("gone", "1" * 64, 1))
    for name in ("out", "out.zip"):
        [exported] = export_folder([run], str(tmp_path / name))
        assert [each.partition(":")[2].split(":")[0].strip() for each in exported.missing] == ["damaged", "gone"]
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        names = archive.namelist()
        record = strict(archive.read("run.json").decode())
        assert "changed or damaged" in archive.read("README.txt").decode()
    assert not any(
        "damaged" in name or "gone" in name for name in [*names, *os.listdir(tmp_path / "out" / "artifacts")]
    )
    assert [each["file"] for each in record["files"]["artifacts"]][2:] == [None, None]


NAMES = [
    "../../up",
    "/abs/in.csv",
    "a\\b",
    "CON",
    "x" * 300,
    "a:b",
    "dir",
    "dir/inside",
    "Dir",
    "\x1b[31m",
    "\udcff",
    "run.json",
]


@pytest.mark.parametrize("ending", ["", ".zip"])
def test_no_name_leads_out_of_the_folder_or_hides_another(run, tmp_path, ending):
    """Names come from records, and are unpacked on Windows."""
    run.artifacts = [StoredFile(name, None, None, open=bytes_opener(name.encode("utf-8", "replace"))) for name in NAMES]
    [exported] = export_folder([run], str(tmp_path / f"out{ending}"))
    paths = [each.written.path for each in exported.files if each.kind == "artifacts" and each.written]
    assert len({path.casefold() for path in paths}) == len(NAMES)
    for path in paths:
        parts = path.split("/")
        assert parts[0] == "artifacts" and not {"..", "", "."} & set(parts)
        assert all(part.isprintable() and not set(part) & set('<>:"|?*\\') for part in parts)
    folders = {path.rpartition("/")[0].casefold() for path in paths}
    assert not folders & {path.casefold() for path in paths}
    assert sorted(os.listdir(tmp_path)) == sorted([f"out{ending}", "told01"])


def test_a_zip_file_is_the_folder_packed(run, tmp_path):
    """One file to send."""
    export_folder([run], str(tmp_path / "out"))
    export_folder([run], str(tmp_path / "out.zip"))
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.testzip() is None
        packed = {name: archive.read(name) for name in archive.namelist()}
    there = {str(path.relative_to(tmp_path / "out")): path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert set(packed) == set(there)
    assert packed["artifacts/plots/loss.png"] == b"png"


def test_several_runs_get_a_folder_each_and_an_index(tmp_path):
    """A table over all of them is what one opens first."""
    runs = [told(story(tmp_path, mark, ex_info={"name": name})) for mark, name in (("01", "one"), ("02", "two, too"))]
    runs[0].label, runs[1].label = "1", "a/b"
    export_folder(runs, str(tmp_path / "out"))
    with open(tmp_path / "out" / "index.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["label"] for row in rows] == ["1", "a/b"] and [row["name"] for row in rows] == ["one", "two, too"]
    assert rows[0]["config.lr"] == "0.1" and '{"score": 1}' in rows[0].values()
    for row in rows:
        assert (tmp_path / "out" / row["folder"] / "run.json").exists()
        assert row["folder"] in (tmp_path / "out" / "README.txt").read_text()


def test_tables_are_no_formulas_in_a_spreadsheet(tmp_path):
    """They are sent to others, who open them with a program that computes what begins with an equals sign."""
    evil = "=cmd|' /C calc'!A0"
    run = told(story(tmp_path, ex_info={"name": evil}).metric(evil, [-1.5]))
    run.config = {"x": evil, "y": -0.5, "data": PurePosixPath("-1+1"), "list": ["=1"]}
    export_folder([run, told(story(tmp_path, "02"))], str(tmp_path / "out"))
    with open(tmp_path / "out" / "index.csv", newline="") as stream:
        row = next(csv.DictReader(stream))
    assert row["name"] == row["config.x"] == f"'{evil}"
    assert (row["config.y"], row["config.data"], row["config.list"]) == ("-0.5", "'-1+1", '["=1"]')
    with open(tmp_path / "out" / row["folder"] / "metrics.csv", newline="") as stream:
        assert [each["value"] for each in csv.DictReader(stream) if each["name"] == f"'{evil}"] == ["-1.5"]


def test_large_files_are_never_whole_in_memory(run, tmp_path):
    """A model of 100 GB is copied piece by piece."""

    class Endless:
        left, largest = 50, 0

        def read(self, size=-1):
            assert 0 < size <= 1 << 20
            self.left -= 1
            return b"x" * size if self.left >= 0 else b""

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    run.artifacts = [StoredFile("large", None, None, open=Endless)]
    [exported] = export_folder([run], str(tmp_path / "out"))
    assert (tmp_path / "out" / "artifacts" / "large").stat().st_size == 50 << 20


def test_json_is_strict_and_has_the_points(run):
    """For a program that wants one run and no files."""
    plain = strict(json_of(run))
    assert plain["metrics"]["loss"]["values"] == [3.0, {"capture/float": "nan"}, {"capture/float": "-inf"}]
    assert plain["output"] == run.output
    assert (
        plain["files"]["artifacts"][0]["name"] == "plots/loss.png" and "missing" not in plain["files"]["artifacts"][0]
    )


def test_records_of_sacred_are_exported(tmp_path):
    """They have no uid, no facts, no digests."""
    with open_store(SACRED) as store:
        runs = [each.record for each in store.find()]
    exported = export_folder(runs, str(tmp_path / "out"))
    for each in exported:
        assert strict((tmp_path / "out" / each.folder / "run.json").read_text())["uid"] is None
        files = [file for file in each.files if file.written is not None]
        assert all(digest_at(tmp_path / "out" / file.written.path) == file.written.digest for file in files)
    assert sum(len(each.files) for each in exported) > 0


def test_runs_of_a_store_are_exported_as_they_are_read(tmp_path):
    """The reader's own records, whose parts come when they are asked for."""
    tell(FileStorageObserver(tmp_path / "runs"), story(tmp_path))
    with open_store(tmp_path / "runs") as store:
        for index, record in enumerate((store.get("1"), store.reader.get("1"))):
            [exported] = export_folder([record], str(tmp_path / f"out{index}"), store.url)
            assert not exported.missing
    assert "file://" in (tmp_path / "out0" / "README.txt").read_text()


def test_a_target_that_appears_meanwhile_is_left_alone(tmp_path):
    """Two exports at once."""
    with pytest.raises(ExportError), Target(str(tmp_path / "out")) as target:
        target.write("a", "a")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "b").write_text("b")
    assert os.listdir(tmp_path / "out") == ["b"] and os.listdir(tmp_path) == ["out"]
