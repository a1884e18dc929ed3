"""``capture verify``: is the record what it was?"""

from __future__ import annotations

import glob
import json
import os
import sqlite3

import pytest

from capture import open_store
from capture.cli import main
from capture.query.verifying import verify
from capture.registry import make_observer
from capture.testing import tell
from tests.cli.making import fill, story
from tests.servers.fixtures import each_kind

GOLDEN = os.path.join(os.path.dirname(os.path.dirname(__file__)), "golden")
PNG = b"PNG" * 40


def flip(path: str, inside: bytes = b"") -> None:
    """Change one byte of a file, where it says `inside` if anything is said."""
    os.chmod(path, 0o644)
    with open(path, "rb") as stream:
        data = bytearray(stream.read())
    place = data.index(inside) if inside else 0
    data[place] ^= 1
    with open(path, "wb") as stream:
        stream.write(data)


def found(url):
    """Return kind, name and what is wrong of each problem of the first run."""
    return [(each.kind, each.name, each.what) for each in verify(open_store(url).get("1")).problems]


def test_a_whole_record_is_whole(tmp_path, capsys):
    """The answer that one hopes for, with what it rests on."""
    url = fill(str(tmp_path / "runs"), tmp_path, "01", "02")
    assert main(["verify", f"--store={url}", "1"]) == 0
    assert capsys.readouterr().out == "run 1: 5 files, 406 B, as recorded\n"
    assert main(["verify", f"--store={url}", "--all"]) == 0
    assert capsys.readouterr().out.endswith("2 runs, 10 files, 812 B: all whole\n")
    assert main(["verify", f"--store={url}", "--where=config.number == 2"]) == 0
    assert capsys.readouterr().out.startswith("run 2: ")
    assert main(["verify", f"--store={url}", "--where=config.number == 3"]) == 1
    assert main(["verify", f"--store={url}", "7"]) == 1
    assert main(["verify", f"--store={url}"]) == 2


ALL_KINDS = [
    ("runs/1/plots/loss.png", ("artifacts", "plots/loss.png", "changed")),
    ("runs/_sources/train_*.py", ("sources", "train.py", "changed")),
    ("runs/_sources/environment_*.json", ("kept", ".capture/environment.json", "changed")),
    ("runs/_resources/in_*.csv", ("resources", "/project/data/in.csv", "changed")),
]


@pytest.mark.parametrize(("pattern", "problem"), ALL_KINDS)
def test_a_flipped_byte_in_a_folder_is_found(pattern, problem, tmp_path, capsys):
    """Disks forget; the record says which file is not what it was."""
    url = fill(str(tmp_path / "runs"), tmp_path, "01")
    [path] = glob.glob(str(tmp_path / pattern))
    flip(path)
    assert found(url) == [problem]
    assert main(["verify", f"--store={url}", "--json", "1"]) == 1
    [told] = json.loads(capsys.readouterr().out)
    assert told["problems"][0]["name"] == problem[1] and told["run"] == "1"
    assert main(["verify", f"--store={url}", "1"]) == 1
    assert "run 1: 5 files, 406 B, 1 problem\n" in capsys.readouterr().out


@pytest.mark.parametrize(("pattern", "problem"), ALL_KINDS)
def test_missing_and_cut_files_are_found(pattern, problem, tmp_path):
    """A backup that was incomplete, a disk that was full."""
    url = fill(str(tmp_path / "runs"), tmp_path, "01")
    [path] = glob.glob(str(tmp_path / pattern))
    os.chmod(path, 0o644)
    os.truncate(path, 3)
    assert found(url) == [problem]
    os.unlink(path)
    assert found(url) == [(*problem[:2], "missing")]


@pytest.mark.parametrize(("table", "kind", "name"), [
    ("artifact", "artifacts", "plots/loss.png"), ("resource", "resources", "/project/data/in.csv"),
    ("source", "sources", "train.py"),
])  # fmt: skip
@pytest.mark.parametrize(("change", "said"), [
    ("UPDATE {0} SET content = 'other' WHERE filename = '{1}'", "has changed"),
    ("UPDATE {0} SET content = NULL WHERE filename = '{1}'", "has no content"),
    ("DELETE FROM {0} WHERE filename = '{1}'", "is missing"),
], ids=["changed", "emptied", "deleted"])  # fmt: skip
def test_copies_in_sacreds_tables_are_compared(tmp_path, table, kind, name, change, said):
    """Sacred's tools read them: whoever believes `verify` believes what these tools show, too."""
    url = fill(f"sqlite:///{tmp_path}/runs.db", tmp_path, "01")
    assert found(url) == []
    with sqlite3.connect(tmp_path / "runs.db") as database:
        assert database.execute(change.format(table, name)).rowcount == 1
    [problem] = verify(open_store(url).get("1")).problems
    assert (problem.kind, problem.name, problem.what) == (kind, name, "copy")
    assert f"its copy in Sacred's table {table}" in problem.text and said in problem.text


def test_files_that_sacreds_tables_do_not_hold_are_no_damage(tmp_path):
    """Large ones are stored once."""
    from capture.observers._sql_sacred import MAX_CONTENT

    made = story(tmp_path, "01", end=False).artifact("large.bin", b"x" * (MAX_CONTENT + 1)).artifact("none", b"")
    made.source("odd.py", "print('\x00 ä')".encode("latin-1")).complete()
    url = f"sqlite:///{tmp_path}/runs.db"
    tell(make_observer(url), made)
    assert found(url) == []


@pytest.mark.parametrize("kind", each_kind("postgres", "mariadb"))
def test_copies_are_compared_on_servers(request, tmp_path, kind):
    """Each has its own types for bytes and text."""
    url = fill(request.getfixturevalue(f"{kind}_url"), tmp_path, "01")
    assert found(url) == []


def test_a_flipped_byte_in_sqlite_is_found(tmp_path):
    """There the bytes lie in a table."""
    url = fill(f"sqlite:///{tmp_path}/runs.db", tmp_path, "01")
    flipped = 0
    with sqlite3.connect(tmp_path / "runs.db") as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for _, column, kind, *_ in database.execute(f"PRAGMA table_info({table})").fetchall():
                if "BLOB" in kind.upper():
                    changed = database.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (b"Q" + PNG[1:], PNG))
                    flipped += changed.rowcount
    database.close()
    assert flipped, "Sacred's tables have a copy, and ours"
    assert found(url) == [("artifacts", "plots/loss.png", "changed"), ("artifacts", "plots/loss.png", "copy")]


def test_a_flipped_byte_in_tinydb_is_found(tmp_path):
    """There they are files beside the document."""
    url = fill(f"tinydb://{tmp_path}/tiny", tmp_path, "01")
    paths = [os.path.join(at, name) for at, _, names in os.walk(tmp_path / "tiny") for name in names]
    [path] = [path for path in paths if os.path.getsize(path) == len(PNG) and open(path, "rb").read() == PNG]  # noqa: SIM115
    flip(path)
    assert found(url) == [("artifacts", "plots/loss.png", "changed")]


def test_a_flipped_byte_in_mongodb_is_found(tmp_path, mongo_url):
    """There they are chunks in GridFS."""
    pymongo = pytest.importorskip("pymongo")
    fill(mongo_url, tmp_path, "01")
    with pymongo.MongoClient(mongo_url) as client:
        changed = client.get_default_database()["fs.chunks"].update_one({"data": PNG}, {"$set": {"data": b"Q" + PNG[1:]}})
        assert changed.modified_count == 1
        assert found(mongo_url) == [("artifacts", "plots/loss.png", "changed")]
        client.get_default_database()["fs.chunks"].delete_one({"data": b"Q" + PNG[1:]})
    [(kind, name, what)] = found(mongo_url)
    assert (kind, name) == ("artifacts", "plots/loss.png") and what in ("unreadable", "missing", "changed")


def test_a_flipped_byte_in_a_bucket_is_found(tmp_path, s3_url):
    """There they are objects."""
    s3fs = pytest.importorskip("s3fs")
    fill(s3_url, tmp_path, "01")
    fs = s3fs.S3FileSystem()
    [path] = [path for path in fs.find(s3_url) if path.endswith("loss.png")]
    fs.pipe_file(path, b"Q" + PNG[1:])
    assert found(s3_url) == [("artifacts", "plots/loss.png", "changed")]
    fs.rm_file(path)
    assert found(s3_url) == [("artifacts", "plots/loss.png", "missing")]


@pytest.mark.parametrize("kind", each_kind("postgres", "mariadb"))
def test_a_flipped_byte_in_a_database_is_found(kind, tmp_path, request):
    """As in SQLite, over the network."""
    url = request.getfixturevalue(f"{kind}_url")
    sqlalchemy = pytest.importorskip("sqlalchemy")
    from capture.observers._sql_database import Database

    fill(url, tmp_path, "01")
    database = Database(url)
    with database.engine.begin() as connection:
        tables = sqlalchemy.inspect(connection).get_table_names()
        flipped = 0
        for name in tables:
            table = sqlalchemy.Table(name, sqlalchemy.MetaData(), autoload_with=connection)
            for column in table.c:
                if str(column.type).upper() in ("BYTEA", "BLOB", "LONGBLOB"):
                    changed = table.update().where(column == PNG).values({column.name: b"Q" + PNG[1:]})
                    flipped += connection.execute(changed).rowcount
    database.close()
    assert flipped, "Sacred's tables have a copy, and ours"
    assert found(url) == [("artifacts", "plots/loss.png", "changed"), ("artifacts", "plots/loss.png", "copy")]


def test_what_facts_refer_to_must_be_there(tmp_path):
    """A lock file or an artifact that is gone without a trace would else be missed by nobody."""
    url = fill(str(tmp_path / "runs"), tmp_path, "01")
    path = tmp_path / "runs" / "1" / "capture.json"
    document = json.loads(path.read_text())
    files = document["files"]
    files["sources"] = [each for each in files["sources"] if each["name"] == "train.py"]
    files["artifacts"] = [each for each in files["artifacts"] if each["name"] != "model.bin"]
    path.write_text(json.dumps(document))
    problems = found(url)
    assert ("facts", ".capture/environment.json", "refers to nothing") in problems
    assert ("facts", "model.bin", "refers to nothing") in problems
    document = json.loads(path.read_text())
    document["facts"]["lineage"]["outputs"][0].update(artifact="plots/loss.png")
    path.write_text(json.dumps(document))
    assert ("facts", "plots/loss.png", "changed") in found(url)


def test_a_record_that_cannot_be_read_is_a_finding(tmp_path, capsys):
    """The others are looked at all the same."""
    url = fill(str(tmp_path / "runs"), tmp_path, "01", "02")
    (tmp_path / "runs" / "1" / "run.json").write_text("{")
    assert main(["verify", f"--store={url}", "--all"]) == 1
    out = capsys.readouterr().out
    assert "  record: " in out and "run 2: 5 files, 406 B, as recorded" in out
    assert out.endswith("2 runs, 5 files, 406 B: 1 run not whole\n")


def test_records_of_sacred_are_checked_by_md5(tmp_path, capsys):
    """That is what they have; of artifacts not even that, which is said."""
    import shutil

    place = tmp_path / "sacred"
    shutil.copytree(os.path.join(GOLDEN, "sacred-0.8.7"), place)
    assert main(["verify", f"--store={place}", "--all"]) == 0
    assert "no digest was recorded of 2 files, which can be read" in capsys.readouterr().out
    flip(glob.glob(str(place / "_sources" / "*.py"))[0])
    assert ("sources", "gen.py", "changed") in found(str(place))


def test_a_connection_that_is_lost_is_no_damage(tmp_path, monkeypatch):
    """Whoever believes it deletes a record that is whole."""
    from capture.records import StoredFile

    url = str(tmp_path / "runs")
    tell(make_observer(url), story(tmp_path, "01"))

    def lost(self):
        raise ConnectionError("reset")

    monkeypatch.setattr(StoredFile, "open", lost)
    with pytest.raises(ConnectionError):
        verify(open_store(url).get("1"), passing=lambda error: isinstance(error, ConnectionError))
    with pytest.raises(ConnectionError):
        verify(open_store(url).get("1"))
    damage = verify(open_store(url).get("1"), passing=lambda error: False).problems
    assert {problem.what for problem in damage} == {"unreadable"}


@pytest.mark.parametrize("place", ["query.verifying._loose_references", "records.StoredFile.open"])
def test_a_database_that_goes_away_meanwhile_is_no_damage(place, tmp_path, monkeypatch, capsys):
    """What a store raises then is an error of ours, too, as is that of a record that cannot be read."""
    pytest.importorskip("sqlalchemy")
    from capture.observers._sql_errors import DatabaseAwayError

    def away(*_):
        raise DatabaseAwayError("the server went away")

    url = fill(f"sqlite:///{tmp_path}/runs.db", tmp_path, "01")
    monkeypatch.setattr(f"capture.{place}", away)
    assert main(["verify", f"--store={url}", "1"]) == 1
    told = capsys.readouterr()
    assert told.err == "capture: the server went away\n" and "problem" not in told.out


@pytest.mark.parametrize(("before", "after"), [(b"[3.0,2.0]", b"[3.0,x.0]"), (b"[3.0,2.0]", b"[3.0]")])
def test_metrics_that_cannot_be_read_from_a_folder_are_found(before, after, tmp_path):
    """How many points there are is told by their times alone."""
    url = fill(str(tmp_path / "runs"), tmp_path, "01")
    path = tmp_path / "runs" / "1" / "metrics.jsonl"
    assert before in path.read_bytes() and found(url) == []
    path.write_bytes(path.read_bytes().replace(before, after))
    shorter = [("metrics", "metrics.jsonl", "size")] if len(after) < len(before) else []
    assert found(url) == [*shorter, ("metrics", "", "unreadable")]


def test_points_that_are_gone_from_a_database_are_found(tmp_path):
    """How many there are stands in another table."""
    url = fill(f"sqlite:///{tmp_path}/runs.db", tmp_path, "01")
    assert found(url) == []
    with sqlite3.connect(tmp_path / "runs.db") as database:
        assert database.execute("DELETE FROM capture_metric WHERE number = 1").rowcount == 1
    database.close()
    assert found(url) == [("metrics", "", "unreadable")]


def test_names_are_escaped(tmp_path, capsys):
    """A damaged file may have any name."""
    made = story(tmp_path, "0b", end=False).artifact("x\x1b[2J", b"data").complete()
    url = str(tmp_path / "runs")
    tell(make_observer(url), made)
    record = open_store(url).get("1")
    [path] = [os.path.join(at, name) for at, _, names in os.walk(url) for name in names if name.startswith("x") and at[-1] == "1"]
    flip(path)
    assert verify(record).problems
    main(["verify", f"--store={url}", "1"])
    assert "\x1b" not in capsys.readouterr().out


def test_a_server_that_is_away_is_said_in_a_sentence(capsys):
    """No traceback of a driver's."""
    pytest.importorskip("pymongo")
    assert main(["verify", "--all", "--store=mongodb://localhost:1/x?serverSelectionTimeoutMS=50"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("capture: MongoDB at localhost:1 does not answer") and "Traceback" not in err
