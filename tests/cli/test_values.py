"""What commands show of values that are no numbers and no text, and that these can be asked for as they are shown."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import enum
import io
import json
import pathlib

import pytest

import capture
from capture.cli import main
from capture.codec import decode
from capture.observers import FileStorageObserver
from capture.testing.contract import uid
from capture.testing.feed import Story, tell


class Optimizer(enum.Enum):
    """As somebody's configuration has it."""

    ADAM = "adam"
    SGD = "sgd"


@dataclasses.dataclass
class Model:
    """An object of somebody's own."""

    width: int


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Make three runs, of which two have one learning algorithm."""
    observer = FileStorageObserver(tmp_path / "runs")
    for number, member in enumerate((Optimizer.SGD, Optimizer.ADAM, Optimizer.SGD), 1):
        config = {
            "optimizer": member,
            "model": Model(number),
            "data": pathlib.Path(f"/data/{number}.pt"),
            "since": datetime.date(2026, number, 1),
            "wait": datetime.timedelta(minutes=number),
            "layers": {2: number},
        }
        tell(observer, Story(tmp_path / str(number), uid(f"{number:02}")).start(config=config).complete(number))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def said(capsys, *arguments):
    """Return what a command printed."""
    assert main(list(arguments)) in (0, 1)
    return capsys.readouterr().out


def test_a_table_shows_members_by_name_and_objects_by_what_is_in_them(store, capsys):
    """Rows that read alike are taken for runs that are alike."""
    columns = "--cols=label,optimizer,model,data,since"
    rows = list(csv.reader(io.StringIO(said(capsys, "ls", "--csv", columns))))[1:]
    assert [row[1] for row in rows] == ["SGD", "ADAM", "SGD"]
    assert len({row[2] for row in rows}) == 3
    assert "width=1" in rows[-1][2]
    assert rows[-1][3:] == ["/data/1.pt", "2026-01-01"]
    assert [each["config.optimizer"] for each in json.loads(said(capsys, "ls", "--json", columns))] == ["SGD", "ADAM", "SGD"]


def test_runs_are_grouped_and_sorted_by_members(store, capsys):
    """A mean of two algorithms is that of none."""
    table = said(capsys, "ls", "--group-by=optimizer", "--csv")
    assert [row["config.optimizer"] for row in csv.DictReader(io.StringIO(table))] == ["SGD", "ADAM"]
    table = said(capsys, "ls", "--sort=optimizer", "--csv", "--cols=label,optimizer")
    assert [row[1] for row in csv.reader(io.StringIO(table))][1:] == ["ADAM", "SGD", "SGD"]


def test_a_difference_names_the_members_and_the_fields(store, capsys):
    """It is read to find out what was changed."""
    text = said(capsys, "diff", "1", "2")
    assert "ADAM" in text
    assert "width=2" in text
    causes = json.loads(said(capsys, "diff", "1", "2", "--json"))["causes"]
    values = {each["name"]: [value["value"] for value in each["values"]] for each in causes}
    assert [decode(each).name for each in values["config.optimizer"]] == ["SGD", "ADAM"]
    assert [decode(each) for each in values["config.data"]] == [pathlib.Path("/data/1.pt"), pathlib.Path("/data/2.pt")]
    assert "Optimizer.SGD" in said(capsys, "show", "1")


@pytest.mark.parametrize(
    ("condition", "labels"),
    [
        ("config.optimizer == 'sgd'", ["3", "1"]),
        ("config.optimizer == 'ADAM'", ["2"]),
        ("config.optimizer.name in ['SGD']", ["3", "1"]),
        ("config.data.matches('*/1.pt')", ["1"]),
        ("config.data == '/data/2.pt'", ["2"]),
        ("config.since > '2026-01-15'", ["3", "2"]),
        ("config.since == '2026-03'", ["3"]),
        ("config.wait > '90 s'", ["3", "2"]),
        ("config.layers[2] == 2", ["2"]),
    ],
)
def test_what_is_shown_can_be_asked_for(store, capsys, condition, labels):
    """One copies what one sees in a table."""
    rows = csv.reader(io.StringIO(said(capsys, "ls", "--csv", "--cols=label", condition)))
    assert [row[0] for row in rows][1:] == labels


def test_frames_have_the_names(store):
    """pandas groups and merges by text."""
    pytest.importorskip("pandas")
    runs = capture.open_store(store).runs()
    frame = runs.to_pandas()
    assert list(frame["config.optimizer"]) == ["SGD", "ADAM", "SGD"]
    assert all(type(each) is str for each in frame["config.optimizer"])
    assert sorted(runs.group_by("optimizer").to_pandas().index) == ["ADAM", "SGD"]
    assert [group.values["config.optimizer"].value for group in runs.group_by("optimizer")] == ["sgd", "adam"]


def test_exports_for_others_have_the_words_that_tables_have(store, capsys):
    """A spreadsheet knows nothing of how a record stores them; the configuration beside it is exact."""
    said(capsys, "export", "1", "2", "out")
    with open("out/index.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["config.optimizer"], row["config.data"]) for row in rows] == [("SGD", "/data/1.pt"), ("ADAM", "/data/2.pt")]
    said(capsys, "export", "--ro-crate", "1", "crate")
    crate = json.loads((store.parent / "crate" / "ro-crate-metadata.json").read_text(encoding="utf-8"))
    values = {each.get("name"): each.get("value") for each in crate["@graph"]}
    assert (values["optimizer"], values["data"]) == ("SGD", "/data/1.pt")
