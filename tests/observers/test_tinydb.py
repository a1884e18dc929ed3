"""What the TinyDB store promises beyond the contract: its layout, Sacred's records, many processes, crashes, queries."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import signal
import stat
import subprocess
import sys
import time
from datetime import datetime, timezone

import pytest

import capture
from capture import events
from capture.calls import hooks_of
from capture.errors import ObserverError, RecordError, RunNotFoundError
from capture.filters import Test, field
from capture.observers import TinyDbCurator, TinyDbObserver, TinyDbReader, _atomic
from capture.observers._tinydb_file import _places, read_lines
from capture.observers.tinydb import path_of
from capture.registry import make_observer
from capture.testing import Story, Teller, tell, told
from capture.testing.contract import _canonical, differences, uid
from tests.project.tree import ROOT

tinydb = pytest.importorskip("tinydb")

GOLDEN = ROOT / "tests" / "golden" / "sacred-0.8.7-tinydb"
linux = pytest.mark.skipif(os.name != "posix", reason="modes and signals are those of POSIX")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "runs_db"


@pytest.fixture
def sacreds(tmp_path):
    """Return a copy of a store that Sacred 0.8.7 wrote: two completed runs and a failed one."""
    shutil.copytree(GOLDEN, tmp_path / "sacreds")
    return tmp_path / "sacreds"


def run(tmp_path, mark="01", **start):
    return Story(tmp_path / f"told-{mark}", uid(mark)).start(**start)


def whole(tmp_path, mark="01"):
    """Return a story with a bit of everything."""
    story = run(tmp_path, mark).source("train.py", b"print(1)\n").metrics(loss=[3.0, 2.5])
    story.add(events.Output(text="epoch 1\n", offset=0), events.Facts(topic="big", facts={"x": "y" * 2000}))
    story.resource("/in.csv", b"1,2\n").artifact("out.txt", b"out", metadata={"a": 1})
    return story.metric("loss", [2.0], first=2).beat(info={"a": 1}, result=1).complete(result=2)


def check(root, label, *stories):
    found = TinyDbReader(root).get(label)
    wrong = differences(
        told(*stories), found, TinyDbObserver.supports, hooks_of(TinyDbObserver(root)), len(stories) == 1
    )
    assert not wrong, "\n".join(wrong)
    return found


def plain_table(root):
    """Return the runs as TinyDB itself reads them."""
    with tinydb.TinyDB(root / "metadata.json", access_mode="r") as db:
        return db.table("runs").all()


# ------------------------------------------------------------------------------------------------------- the layout


def test_tinydb_reads_what_is_written(tmp_path, root):
    """The file is TinyDB's: people open it with TinyDB alone, and with what they wrote for Sacred."""
    label = tell(TinyDbObserver(root), whole(tmp_path))
    (entry,) = plain_table(root)
    assert (entry.doc_id, entry["_id"], entry["status"], entry["result"]) == (label, label, "COMPLETED", 2)
    assert entry["format"].startswith("TinyDbObserver-")
    assert entry["start_time"] == "{TinyDate}:2026-01-01T00:00:02.000250"
    assert entry["captured_out"] == "epoch 1\n"
    name, md5, handle = entry["experiment"]["sources"][0]
    assert (name, handle) == ("train.py", '{TinyFile}:"' + md5 + '"')
    stored = root / "hashfs" / md5[0:2] / md5[2:4] / md5[4:6] / md5[6:]
    assert stored.read_bytes() == b"print(1)\n"
    assert [each[0] for each in entry["resources"]] == ["/in.csv"]
    assert [each[0] for each in entry["artifacts"]] == ["out.txt"]
    assert set(entry) - {"capture"} == {
        *("_id", "format", "experiment", "command", "host", "start_time", "config", "meta", "status", "resources"),
        *("artifacts", "captured_out", "info", "heartbeat", "result", "stop_time"),
    }


def test_metrics_and_long_output_lie_beside_the_entry(tmp_path, root):
    """A document of JSON that is written anew cannot hold a million points; its size must not depend on them."""
    story = run(tmp_path)
    for batch in range(20):
        story.metric("loss", [float(i) for i in range(1000)], first=1000 * batch)
    story.add(events.Output(text="0123456789\n" * 60_000, offset=0))
    label = tell(TinyDbObserver(root), story.complete())
    assert (root / "metadata.json").stat().st_size < 300_000
    (entry,) = plain_table(root)
    assert entry["capture"]["summary"]["loss"]["count"] == 20_000
    assert entry["captured_out"].startswith("[... 397856 bytes before this are in _capture/runs/1/cout.txt]\n")
    found = check(root, label, story)
    assert found.summary["loss"] == {**found.summary["loss"], "count": 20_000, "last": 999.0, "step": 19_999}


def test_a_run_that_goes_on_is_seen_by_our_reader_at_once_and_by_tinydb_when_another_ends(tmp_path, root):
    """What is written at each beat is a small file; metadata.json follows when a run ends."""
    story = whole(tmp_path)
    teller = Teller(TinyDbObserver(root), story)
    teller.tell(story.lines()[:4])
    teller.flush()
    reader = TinyDbReader(root)
    assert reader.get(1).status == "RUNNING"
    assert not (root / "metadata.json").exists()
    tell(TinyDbObserver(root), run(tmp_path, "02").complete())
    assert [(entry["_id"], entry["status"]) for entry in plain_table(root)] == [(1, "RUNNING"), (2, "COMPLETED")]
    teller.tell(story.lines()[4:])
    teller.finish()
    assert [(entry["_id"], entry["status"]) for entry in plain_table(root)] == [(1, "COMPLETED"), (2, "COMPLETED")]
    assert os.listdir(root / "_capture" / "live") == []
    assert [record.status for record in reader.find()] == ["COMPLETED", "COMPLETED"]
    check(root, 1, story)


def test_values_are_stored_as_sacred_does_where_nothing_is_lost_by_it(tmp_path, root):
    """Sacred's readers see times and arrays; ours sees besides what those forms have no place for."""
    numpy = pytest.importorskip("numpy")
    config = {
        "since": datetime(2020, 2, 29, 12, 30),
        "aware": datetime(2020, 2, 29, 12, 30, tzinfo=timezone.utc),
        "old": datetime(33, 4, 3),
        "array": numpy.array([[1.5, 2.0]]),
        "ints": numpy.array([1, 2]),
        "halves": numpy.array([1.5], dtype="float16"),
        "empty": numpy.zeros((0, 3)),
        "text": "{TinyDate}:2020-01-01T00:00:00.000000",
        "{TinyDate}:": '{TinyFile}:"../../../etc/passwd"',
    }
    story = run(tmp_path, config=config).beat(info=config).complete()
    label = tell(TinyDbObserver(root), story)
    (entry,) = plain_table(root)
    assert entry["config"]["since"] == "{TinyDate}:2020-02-29T12:30:00.000000"
    assert entry["config"]["array"] == "{TinyArray}:[[1.5, 2.0]]"
    assert not str(entry["config"]["text"]).startswith("{Tiny")
    found = check(root, label, story)
    assert found.config["halves"].dtype == numpy.float16
    assert found.config["empty"].shape == (0, 3)
    assert found.config["ints"].dtype == numpy.array([1]).dtype


def test_the_file_stays_one_run_to_a_line_with_tables_of_others(tmp_path, root):
    """What TinyDB has besides is kept, and a run is still added without parsing the others."""
    root.mkdir()
    with tinydb.TinyDB(root / "metadata.json") as db:
        db.insert({"mine": "größe"})
        db.table("runs").insert({"no": "run of anyone's"})
    for mark in ("01", "02"):
        tell(TinyDbObserver(root), run(tmp_path, mark).complete())
    lines = (root / "metadata.json").read_text().splitlines()
    assert len(lines) == 5
    with tinydb.TinyDB(root / "metadata.json", access_mode="r") as db:
        assert db.all() == [{"mine": "größe"}]
        assert [entry.doc_id for entry in db.table("runs").all()] == [1, 2, 3]
        assert [entry.get("_id") for entry in db.table("runs").all()] == [None, 1, 2]


@pytest.mark.parametrize("size", [10, 250, 260, 5_000, (1 << 20) - 40, (1 << 20) - 39, (1 << 20) + 7, 3 << 20])
def test_lines_are_found_wherever_parts_of_the_file_end(tmp_path, root, size):
    """The file is gone through in parts of a mebibyte, which end in the middle of anything."""
    root.mkdir()
    path = root / "metadata.json"
    with open(path, "w") as stream:
        stream.write('{"runs":{\n"1":{"_id":"%s","format":"x","a":1},\n' % ("n" * 300))
        stream.write('"2":{"_id":2,"format":"x","a":"%s"},\n' % ("x" * size))
        stream.write('"3":{"_id":"%s","format":"x"}\n}}\n' % ("\\u00fc" * 200))
    wanted = [(line.number, line.key, line.start, line.end) for line in read_lines(str(path))[1]]
    assert [(line.number, line.key, line.start, line.end) for line in _places(str(path))[1]] == wanted
    os.utime(path, (0, 0))  # it has rested
    before = json.loads(path.read_text())["runs"]
    label = tell(TinyDbObserver(root), run(tmp_path).complete())
    after = json.loads(path.read_text())["runs"]
    assert after.pop("4")["_id"] == label
    assert after == before


# ------------------------------------------------------------------------------------------------- Sacred's records


def test_runs_of_sacred_are_read_whole(sacreds):
    """Years of records are the reason why people do not change their tool."""
    reader = TinyDbReader(sacreds)
    assert len(reader.labels()) == 3
    record = reader.get("named")
    assert (record.label, record.uid, record.status) == ("named", "", "FAILED")
    assert record.fail_trace[-1] == "ValueError: too bad\n"
    first = reader.get(reader.labels()[0])
    assert (first.status, first.result, first.output) == ("COMPLETED", {"acc": 0.5}, "epoch 1\n")
    assert first.start_time.tzinfo is timezone.utc
    assert first.config["since"] == datetime(2020, 2, 29, 12, 30)
    assert first.info["weights"].tolist() == [[1.5, 2.0], [3.0, 4.0]]
    assert [(file.name, file.read()) for file in first.artifacts] == [("plot.txt", b"plot\n"), ("other", b"plot\n")]
    assert [(file.name, file.read()) for file in first.resources] == [("/home/user/project/in.txt", b"data\n")]
    assert [file.name for file in first.sources] == ["make.py"]
    assert b"ex = Experiment" in first.sources[0].read()
    assert [run.label for run in reader.find({"config.lr": 0.2})] == [reader.labels()[1]]
    assert dict(first.metrics) == {}


def test_our_runs_join_those_of_sacred(tmp_path, sacreds):
    """People go on in the store that they have; no id is used twice, no run of Sacred's changes."""
    before = {entry.doc_id: dict(entry) for entry in plain_table(sacreds)}
    story = whole(tmp_path)
    assert tell(TinyDbObserver(sacreds), story) == 1
    assert tell(TinyDbObserver(sacreds), run(tmp_path, "02", label="named").complete()) == 2
    check(sacreds, 1, story)
    after = {entry.doc_id: dict(entry) for entry in plain_table(sacreds)}
    assert [after.pop(number)["_id"] for number in (4, 5)] == [1, 2]
    assert after == before


def test_a_run_that_sacred_adds_later_is_seen_and_its_id_not_given_away(tmp_path, sacreds):
    """Colleagues may still use Sacred in the same store."""
    tell(TinyDbObserver(sacreds), run(tmp_path).complete())
    reader = TinyDbReader(sacreds)
    reader.labels()
    with tinydb.TinyDB(sacreds / "metadata.json") as db:
        old = dict(db.table("runs").all()[0])
        db.table("runs").insert({**old, "_id": "2"})
    assert "2" in reader.labels()
    assert tell(TinyDbObserver(sacreds), run(tmp_path, "02").complete()) == 3
    assert len(plain_table(sacreds)) == 6


def test_people_can_curate_runs_of_sacred(sacreds):
    """Tags, the bin, purging and erasing work on old records, too."""
    curator, reader = TinyDbCurator(sacreds), TinyDbReader(sacreds)
    first, second = reader.labels()[:2]
    before, number = _canonical(reader.get(second).to_dict()), plain_table(sacreds)[1].doc_id
    curator.annotate(first, tags=["old"], notes="from Sacred")
    assert (reader.get(first).tags, reader.get(first).notes) == (["old"], "from Sacred")
    assert [file.name for file in reader.get(first).artifacts] == ["plot.txt", "other"]
    curator.bin(second)
    assert second not in reader.labels()
    curator.restore(second)
    assert _canonical(reader.get(second).to_dict()) == before
    assert [entry["_id"] for entry in plain_table(sacreds) if entry.doc_id == number] == [second]
    curator.bin(first)
    curator.purge(first)
    assert first not in reader.labels()
    assert reader.get(second).artifact("plot.txt").read() == b"plot\n"
    assert curator.erase("data\n") == 2  # it is spelt out in the source
    (file,) = reader.get(second).resources
    assert file.read() == b"*****"
    assert b'"******"' in reader.get(second).sources[0].read()


def test_sacreds_reader_methods_give_what_sacreds_do(sacreds):
    """Scripts that read a store keep working with one changed import."""
    query = tinydb.Query()
    reader = TinyDbReader(sacreds)
    assert [entry["_id"] for entry in reader.search(query.config.lr == 0.2)] == [reader.labels()[1]]
    assert reader.search(query.config.since < datetime(2021, 1, 1))[0]["start_time"].year == 2026
    assert [entry["_id"] for entry in reader.fetch_metadata(exp_name="^dig")] == reader.labels()
    assert [entry["status"] for entry in reader.fetch_metadata(query=query.status == "FAILED")] == ["FAILED"]
    assert [entry["_id"] for entry in reader.fetch_metadata(indices=[2, 0])] == ["named", reader.labels()[0]]
    assert reader.fetch_metadata(indices=0)[0].doc_id == 1
    (files,) = reader.fetch_files(indices=1)
    assert (files["exp_name"], files["exp_id"]) == ("digits", reader.labels()[1])
    assert files["date"] == reader.fetch_metadata(indices=1)[0]["start_time"]
    assert files["artifacts"]["plot.txt"].read() == b"plot\n"
    assert files["resources"]["/home/user/project/in.txt"].read() == b"data\n"
    (report,) = reader.fetch_report(indices=1)
    assert "Experiment: digits" in report
    assert f"ID: {reader.labels()[1]}\nDate: Sat 21 Nov 2026    Duration: 00:00:00.0\n" in report
    assert "Parameters:\n    fails: False\n    layers: [64, 32]\n    lr: 0.2\n" in report
    assert "Result:\n    {'acc': 0.5}\n" in report
    assert "Dependencies:\n    numpy==2.4.6\n    sacred==0.8.7\n" in report
    with pytest.raises(ValueError, match="which runs"):
        reader.fetch_metadata()
    with pytest.raises(ValueError, match="no run at index 3"):
        reader.fetch_metadata(indices=3)
    with pytest.raises(OSError, match="nowhere"):
        TinyDbReader(sacreds / "nowhere")


def test_a_report_of_a_run_that_goes_on_says_what_there_is(tmp_path, root):
    """Sacred's reader fails for such a run: it has no end from which to count."""
    story = run(tmp_path, config={})
    Teller(TinyDbObserver(root), story).tell(story.lines())
    (report,) = TinyDbReader(root).fetch_report(exp_name="digits")
    assert "Duration: unknown" in report
    assert "Parameters:\n    None\n" in report


def test_thousands_of_files_are_named_without_being_open(tmp_path, root):
    """Sacred keeps one open file for each that it reads of: a store of ten thousand runs cannot be opened."""
    resource = pytest.importorskip("resource")
    story = run(tmp_path)
    for number in range(300):
        story.artifact(f"{number}.txt", b"%d" % number)
    observer = TinyDbObserver(root)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 50
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 40, hard))
    try:
        label = tell(observer, story.complete())
        (files,) = TinyDbReader(root).fetch_files(indices=0)
        assert len(files["artifacts"]) == 300
        assert len(TinyDbReader(root).get(label).artifacts) == 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert files["artifacts"]["299.txt"].read() == b"299"


def test_nothing_that_an_entry_names_leads_out_of_the_store(tmp_path, root):
    """A record is data: whoever can write it must not get to show other files."""
    (tmp_path / "secret").write_text("x")
    tell(TinyDbObserver(root), run(tmp_path).complete())
    entry = json.loads((root / "metadata.json").read_text())
    address = "../../secret"
    entry["runs"]["1"]["artifacts"] = [["a", "a", address, json.dumps(address).join(["{TinyFile}:", ""])]]
    entry["runs"]["1"]["capture"]["files"]["artifacts"] = [{"name": "b", "id": address, "digest": "", "size": 1}]
    (root / "metadata.json").write_text(json.dumps(entry))
    (stored,) = TinyDbReader(root).get(1).artifacts
    with pytest.raises(FileNotFoundError):
        stored.read()
    (found,) = TinyDbReader(root).search(tinydb.Query()._id == 1)
    assert found["artifacts"][0][-1].read() == b""


# ------------------------------------------------------------------------------------------------- TinyDB's own ways


def test_answers_to_queries_follow_what_other_processes_write(tmp_path, root):
    """TinyDB remembers answers, which is right only where nobody else writes."""
    tell(TinyDbObserver(root), run(tmp_path).complete(1))
    reader, query = TinyDbReader(root), tinydb.Query().status == "COMPLETED"
    assert len(reader.search(query)) == 1
    tell(TinyDbObserver(root), run(tmp_path, "02").complete(2))
    assert [entry["result"] for entry in reader.search(query)] == [1, 2]


def test_documents_that_a_query_gives_are_ones_own(tmp_path, root):
    """Who changes what was found must not change what is found next."""
    tell(TinyDbObserver(root), run(tmp_path).complete())
    reader, query = TinyDbReader(root), tinydb.Query()._id == 1
    reader.search(query)[0]["config"]["lr"] = 7
    assert reader.search(query)[0]["config"]["lr"] == 0.1
    with pytest.raises(ObserverError, match="changes nothing"):
        reader.runs.update({"x": 1})


def test_what_is_changed_through_tinydb_is_merged_with_what_runs_write(tmp_path, root):
    """Sacred's users write into `observer.runs`; nothing that came in between is set back."""
    observer = TinyDbObserver(root)
    first, second = run(tmp_path).complete(1), whole(tmp_path, "02")
    tell(observer, first)
    teller = Teller(TinyDbObserver(root), second)
    teller.tell(second.lines()[:3])
    teller.flush()
    table = observer.runs
    table.update({"comment": "good", "since": datetime(2020, 1, 1)}, tinydb.Query()._id == 1)
    table.insert({"_id": "by hand", "format": "mine"})
    teller.tell(second.lines()[3:])
    teller.finish()
    entries = {entry["_id"]: entry for entry in plain_table(root)}
    assert entries[1]["comment"] == "good"
    assert entries[1]["since"] == "{TinyDate}:2020-01-01T00:00:00.000000"
    assert set(entries) == {1, 2, "by hand"}
    check(root, 1, first)
    check(root, 2, second)
    table.remove(tinydb.Query()._id == "by hand")
    assert {entry["_id"] for entry in plain_table(root)} == {1, 2}


def test_an_observer_can_be_made_from_a_tinydb_and_a_file_system(tmp_path, root):
    """Sacred's constructor for people who open both themselves."""

    class HashFs:
        root = str(tmp_path / "runs_db" / "hashfs")

    root.mkdir()
    with tinydb.TinyDB(root / "metadata.json") as db:
        observer = TinyDbObserver.create_from(db, HashFs())
        label = tell(observer, whole(tmp_path))
        assert observer.root == str(root)
        assert observer.runs.get(doc_id=label)["status"] == "COMPLETED"
    with pytest.warns(DeprecationWarning, match="create"):
        assert TinyDbObserver.create(root) == observer
    assert observer.fs.get("0" * 32) is None


def test_a_missing_tinydb_says_how_to_get_it(tmp_path, root):
    """Runs are written and read without it; only its queries need it."""
    tell(TinyDbObserver(root), run(tmp_path).complete())
    code = (
        "import sys; sys.modules['tinydb'] = None\n"
        "from capture.observers import TinyDbReader\n"
        f"reader = TinyDbReader({str(root)!r}); print(reader.get(1).status)\n"
        "try: reader.search(None)\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("COMPLETED\nObserverError")
    assert "pip install 'experiment-capture[tinydb]'" in done.stdout


# ------------------------------------------------------------------------------------------------- names and places


@pytest.mark.parametrize(
    ("url", "path"),
    [("tinydb:runs_db", "runs_db"), ("tinydb:///a/b", "/a/b"), ("tinydb:///a%20b", "/a b"), ("tinydb://", "./runs_db"),
     ("tinydb://runs", "runs"), ("x/y", "x/y")],
)  # fmt: skip
def test_urls_name_folders(url, path):
    """What is written with a URL is read with the same one."""
    assert path_of(url) == path


def test_a_store_is_opened_by_its_url(tmp_path, root, monkeypatch):
    """One form for writing, reading and the command line."""
    monkeypatch.chdir(tmp_path)
    observer = make_observer("tinydb:runs_db")
    tell(observer, run(tmp_path).complete())
    monkeypatch.chdir("/")
    assert isinstance(observer, TinyDbObserver)
    assert capture.open_store(f"tinydb://{root}").labels() == [1]
    assert TinyDbObserver.from_argument(str(root)) == observer
    assert pickle.loads(pickle.dumps(observer)) == observer
    assert observer.identity == "tinydb://" + os.path.realpath(root)


def test_a_path_is_fixed_when_the_observer_is_made(tmp_path, monkeypatch):
    """Scripts change their directory; their runs stay in one place."""
    monkeypatch.chdir(tmp_path)
    observer = TinyDbObserver()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    tell(observer, run(tmp_path).complete())
    assert (tmp_path / "runs_db" / "metadata.json").exists()
    assert not os.listdir(tmp_path / "elsewhere")


@linux
def test_modes_follow_the_umask_and_the_folder(tmp_path, root):
    """A store that colleagues share must not hide runs from them, nor a private one show them."""
    old = os.umask(0o027)
    try:
        tell(TinyDbObserver(root), whole(tmp_path))
        shared = tmp_path / "shared"
        shared.mkdir()
        shared.chmod(0o2770)
        tell(TinyDbObserver(shared), whole(tmp_path, "02"))
    finally:
        os.umask(old)
    for folder, file_mode in ((root, 0o640), (shared, 0o660)):
        for path, _, names in os.walk(folder):
            if "spool" in path:
                continue
            for name in names:
                mode = stat.S_IMODE(os.stat(os.path.join(path, name)).st_mode)
                assert mode == file_mode, f"{path}/{name} has {mode:o}"


def test_a_run_can_be_overwritten_where_one_says_so(tmp_path, root):
    """`overwrite` names a record that may go."""
    tell(TinyDbObserver(root), whole(tmp_path))
    second = run(tmp_path, "02").metrics(acc=[1.0]).complete(7)
    assert tell(TinyDbObserver(root, overwrite=1), second) == 1
    check(root, 1, second)
    assert len(plain_table(root)) == 1
    assert tell(TinyDbObserver(root, overwrite="best"), run(tmp_path, "03").complete()) == "best"


def test_a_store_of_a_later_version_is_refused(tmp_path, root):
    """Guessing at a format would misread, or break, what it means."""
    tell(TinyDbObserver(root), run(tmp_path).complete())
    (root / "_capture" / "format.json").write_text('{"format": 2, "made_by": "capture 9"}')
    with pytest.raises(ObserverError, match="upgrade"):
        tell(TinyDbObserver(root), run(tmp_path, "02").complete())
    with pytest.raises(ObserverError, match="upgrade"):
        TinyDbReader(root)


def test_equal_bytes_are_stored_once_and_go_with_the_last_run(tmp_path, root):
    """A model of a gigabyte that ten runs share is one gigabyte."""
    for mark in ("01", "02"):
        tell(TinyDbObserver(root), whole(tmp_path, mark).beat())
    files = [name for _, _, names in os.walk(root / "hashfs") for name in names]
    assert len(files) == 3
    curator = TinyDbCurator(root)
    for label in (1, 2):
        curator.bin(label)
        curator.purge(label)
        files = [name for _, _, names in os.walk(root / "hashfs") for name in names]
        assert len(files) == (3 if label == 1 else 0)
    assert os.listdir(root / "hashfs") == []
    with pytest.raises(RunNotFoundError):
        TinyDbReader(root).get(1)


@pytest.mark.slow
def test_filters_are_answered_as_records_answer_them(tmp_path, root):
    """Most runs are judged by their JSON alone: the answers must be those of the records."""
    configs = [
        {"lr": 0.1, "name": "a", "deep": {"x": 1, "a.b": 2}, "t": (1, 2), "none": None},
        {"lr": "0.1", "name": "größe", "deep": {"x": [1, {"y": 2}]}, 5: "int", "py/x": 3},
        {"lr": float("nan"), "big": 10**30, "deep": 5, "since": datetime(2020, 1, 1), "{TinyDate}:": "{TinyDate}:"},
        {"lr": 1, "flag": True, "deep": {"x": {"y": 2}}, "a.b.c": 1},
    ]
    for number, config in enumerate(configs):
        story = run(tmp_path, f"{number}{number}", config=config)
        story.metric("loss", [3.0, float(number)]).metric("a.b", [1, "nan"])
        story.complete(number) if number else story.beat(result="x")
        tell(TinyDbObserver(root), story)
    reader = TinyDbReader(root)
    paths = [
        *("config.lr", "config.name", "config.deep", "config.deep.x", "config.deep.a.b", "config.deep.x.1.y"),
        *("config.deep.x.y", "config.t", "config.t.0", "config.none", "config.5", "config.py/x", "config.big"),
        *("config.since", "config.{TinyDate}:", "config.flag", "config.a.b.c", "config.nosuch", "config.a.b"),
        *("status", "command", "result", "label", "uid", "start_time", "experiment.name", "experiment.sources"),
        *("metrics.loss.last", "metrics.loss.count", "metrics.a.b.last", "metrics.nosuch.last", "metrics.loss.nosuch"),
        *("tags", "host.hostname", "meta.options", "info.x", "heartbeat"),
    ]
    values = [
        0.1,
        1,
        True,
        None,
        "a",
        "größe",
        2,
        [1, 2],
        (1, 2),
        "{TinyDate}:",
        datetime(2020, 1, 1),
        "COMPLETED",
        3.0,
        uid("11"),
    ]
    records = list(reader.find())
    for path in paths:
        tests = [Test(path, "exists"), Test(path, "contains", "a"), Test(path, "in", [1, "a"])]
        for value in values:
            tests += [Test(path, sign, value) for sign in ("==", "!=", "<", ">=")]
            tests.append(Test(path, ">", value) | Test(path, "==", value))
        for wanted in [
            *tests,
            *[~each for each in tests],
            *[each & (field("status") == "COMPLETED") for each in tests],
        ]:
            expected = [record.label for record in records if wanted.matches(record)]
            assert [record.label for record in reader.find(wanted)] == expected, wanted


# ------------------------------------------------------------------------------------------------- faults


class Death(BaseException):
    """A process ends here; nothing catches it."""


@pytest.mark.slow
def test_a_death_between_any_two_changes_of_the_disk_loses_and_doubles_nothing(tmp_path, monkeypatch):
    """Each step of writing a run must leave a store from which the next process can go on."""
    story = whole(tmp_path)
    lines = story.lines()
    survived = False
    number = 0
    while not survived:
        number += 1
        place = tmp_path / f"store-{number}"
        place.mkdir()
        tell(TinyDbObserver(place), run(tmp_path, f"a{number}").complete())
        left = number

        def dying(original):
            def call(*args, **kwargs):
                nonlocal left
                left -= 1
                if left == 0:
                    raise Death
                return original(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            for name in ("replace", "unlink", "mkdir", "link", "write", "fsync"):
                patch.setattr(os, name, dying(getattr(os, name)))
            teller = Teller(TinyDbObserver(place), story)
            try:
                for line in lines:
                    teller.tell([line])
                    teller.flush()
                teller.finish()
                survived = True
            except Death:
                pass
        tell(TinyDbObserver(place), story)
        try:
            check(place, story.uid, story)
            labels = TinyDbReader(place).labels()
            assert len(labels) == len(set(labels)) == 2
            assert len(plain_table(place)) == 2
            assert os.listdir(place / "_capture" / "live") == []
        except AssertionError as error:
            raise AssertionError(f"death at change {number}: {error}") from None
        shutil.rmtree(place)
    assert number > 60, "the deaths were not where the disk changes"


def test_a_full_disk_is_waited_for(tmp_path, root, monkeypatch):
    """Nothing that was told is lost, and nothing is half written, while somebody makes room."""
    story = whole(tmp_path)
    observer = TinyDbObserver(root)
    teller = Teller(observer, story)
    lines = story.lines()
    teller.tell(lines[:2])
    original = _atomic.write_all
    for line in lines[2:]:
        with monkeypatch.context() as patch:

            def full(descriptor, data):
                original(descriptor, data[: len(data) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")

            patch.setattr(_atomic, "write_all", full)
            try:
                teller.tell([line])
                told_already = True
            except OSError as error:
                assert observer.transient(error)
                told_already = False
            with pytest.raises(OSError, match="space"):
                teller.flush()
        if not told_already:
            teller.tell([line])
        teller.flush()
    teller.finish()
    check(root, 1, story)


def test_a_torn_line_of_measurements_is_cut_off(tmp_path, root):
    """A process that dies while it appends leaves half a line."""
    story = whole(tmp_path)
    lines = story.lines()
    teller = Teller(TinyDbObserver(root), story)
    teller.tell(lines[:4])
    teller.flush()
    with open(root / "_capture" / "runs" / "1" / "metrics.jsonl", "ab") as stream:
        stream.write(b'{"e":"metrics","s":99,"t":1,"st')
    assert TinyDbReader(root).get(1).metrics["loss"].values == [3.0, 2.5]
    heir = Teller(TinyDbObserver(root), story)
    heir.tell(lines)
    heir.finish()
    check(root, 1, story)


def test_a_metadata_file_that_is_broken_keeps_no_run_from_being_stored(tmp_path, root, caplog):
    """Two processes of Sacred leave such a file; what runs write waits until somebody has mended it."""
    tell(TinyDbObserver(root), run(tmp_path).complete())
    good = (root / "metadata.json").read_bytes()
    (root / "metadata.json").write_bytes(good[: len(good) // 2])
    with pytest.raises(RecordError, match="move it away"):
        TinyDbReader(root).labels()
    story = whole(tmp_path, "02")
    assert tell(TinyDbObserver(root), story) == 2
    assert "until this is mended" in caplog.text
    assert (root / "metadata.json").read_bytes() == good[: len(good) // 2]
    (root / "metadata.json").write_bytes(good)
    tell(TinyDbObserver(root), run(tmp_path, "03").complete())
    check(root, 2, story)
    assert [entry["_id"] for entry in plain_table(root)] == [1, 2, 3]


def test_numbers_that_json_has_not_do_not_stop_a_change(tmp_path, sacreds):
    """Sacred writes NaN as it is; strict JSON has none, and what we write is strict."""
    with tinydb.TinyDB(sacreds / "metadata.json") as db:
        db.table("runs").update({"info": {"loss": [float("nan"), float("inf")]}}, tinydb.Query()._id == "named")
    TinyDbCurator(sacreds).annotate("named", tags=["odd"])
    assert b"NaN" not in (sacreds / "metadata.json").read_bytes()
    found = TinyDbReader(sacreds).get("named")
    assert str(found.info["loss"]) == "[nan, inf]"
    assert found.tags == ["odd"]


def test_a_writer_that_stands_still_keeps_no_other_from_ending(tmp_path, root, monkeypatch, caplog):
    """A process that is stopped with the lock in its hands must not stop the lab."""
    from capture.observers import _tinydb_store

    tell(TinyDbObserver(root), run(tmp_path).complete())
    story = whole(tmp_path, "02")
    store = _tinydb_store.TinyStore(root)
    monkeypatch.setattr(_tinydb_store.TinyStore.settle, "__defaults__", (0.05,))
    with store.lock():
        label = tell(TinyDbObserver(root), story)
        assert "wait in" in caplog.text
        check(root, label, story)
    assert len(plain_table(root)) == 1
    tell(TinyDbObserver(root), run(tmp_path, "03").complete())
    assert len(plain_table(root)) == 3
    check(root, label, story)


def test_a_burst_of_runs_does_not_write_a_long_file_for_each(tmp_path, root, monkeypatch):
    """Ten thousand runs that are copied into a store would else write some hundred gigabytes."""
    from capture.observers import _tinydb_store

    monkeypatch.setattr(_tinydb_store, "_SMALL", 0)
    monkeypatch.setattr(_tinydb_store, "_BYTES_PER_S", 1.0)
    stories = [whole(tmp_path, f"0{number}") for number in range(1, 6)]
    labels = [tell(TinyDbObserver(root), story) for story in stories]
    assert [entry["_id"] for entry in plain_table(root)] == [1]
    assert TinyDbReader(root).labels() == labels
    for label, story in zip(labels, stories):
        check(root, label, story)
    _tinydb_store.settle_waiting()
    assert [entry["_id"] for entry in plain_table(root)] == labels
    assert os.listdir(root / "_capture" / "live") == []
    assert _tinydb_store._waiting == {}


def test_a_store_without_locks_is_written_by_one_at_a_time(tmp_path, root, monkeypatch):
    """Some network file systems have none: a file that only one can make stands in."""
    from capture.locks import LocksUnsupportedError
    from capture.observers import _tinydb_store

    def no_locks(_descriptor, shared=False):
        raise LocksUnsupportedError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(_tinydb_store, "try_lock", no_locks)
    tell(TinyDbObserver(root), run(tmp_path).complete())
    store = _tinydb_store.TinyStore(root)
    with store.lock():
        with pytest.raises(TimeoutError), store.lock(0.05):
            pass
        held = root / "_capture" / "lock.held"
        os.utime(held, (time.time() - 3600, time.time() - 3600))
        with store.lock(1.0):
            pass
    assert not held.exists()


WORKER = """
import os, sys, time
from pathlib import Path
from capture.observers import TinyDbObserver
from capture.registry import make_observer
from capture.testing import Story, tell, Teller
from capture.testing.contract import uid

root, told, number, runs, pause = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), float(sys.argv[5])
while not os.path.exists(told / "go"):
    time.sleep(0.001)
for i in range(runs):
    story = Story(told / f"{number}-{i}", uid(f"{int(number):02x}{i:02x}")).start(config={"worker": number, "i": i})
    story.source("train.py", b"shared").metrics(loss=[float(j) for j in range(10)]).beat(result=i).complete(i)
    teller = Teller(TinyDbObserver(root), story)
    for line in story.lines():
        teller.tell([line])
        teller.flush()
        time.sleep(pause)
    print(teller.finish(), flush=True)
"""


def start_workers(tmp_path, root, runs, pause=0.0):
    told = tmp_path / "told"
    told.mkdir()
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(root), str(told), str(number), str(runs), str(pause)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    (told / "go").touch()
    return workers


@pytest.mark.slow
def test_eight_processes_leave_all_their_runs(tmp_path, root):
    """Of 160 runs that Sacred wrote so, 2 were left, and the file was no JSON any more."""
    workers = start_workers(tmp_path, root, 20)
    labels = [int(label) for worker in workers for label in worker.communicate()[0].split()]
    assert [worker.returncode for worker in workers] == [0] * 8
    assert sorted(labels) == list(range(1, 161))
    reader = TinyDbReader(root)
    assert sorted(reader.labels()) == sorted(labels)
    found = {(record.config["worker"], record.config["i"]): record for record in reader.find({"status": "COMPLETED"})}
    assert set(found) == {(str(number), i) for number in range(8) for i in range(20)}
    for (_, i), record in found.items():
        assert record.result == i
        assert record.metrics["loss"].values == [float(j) for j in range(10)]
        assert record.summary["loss"]["last"] == 9.0
        assert record.sources[0].read() == b"shared"
    assert sorted(entry["_id"] for entry in plain_table(root)) == sorted(labels)
    assert os.listdir(root / "_capture" / "live") == []


@pytest.mark.slow
@linux
def test_processes_that_are_killed_harm_nobody_elses_runs(tmp_path, root):
    """Half of a sweep is killed at some moment: those that live on store all, and what was killed can be read."""
    workers = start_workers(tmp_path, root, 12, pause=0.002)
    time.sleep(1.2)
    for worker in workers[::2]:
        os.kill(worker.pid, signal.SIGKILL)
    ended = [int(label) for worker in workers for label in worker.communicate()[0].split()]
    assert [worker.returncode for worker in workers[1::2]] == [0] * 4
    reader = TinyDbReader(root)
    records = {record.label: record for record in reader.find()}
    assert set(ended) <= set(records)
    for label, record in records.items():
        if label in ended:
            assert (record.status, record.result) == ("COMPLETED", record.config["i"])
            assert len(record.metrics["loss"]) == 10
        else:
            assert record.status in ("RUNNING", "COMPLETED")
    assert len(ended) >= 48
    tell(TinyDbObserver(root), run(tmp_path, "ff").complete())
    assert set(ended) <= {entry["_id"] for entry in plain_table(root)}


@linux
def test_a_forked_child_writes_nothing_of_its_parents(tmp_path, root):
    """A child that a run forks ends through the same code, and has nothing to tell."""
    story = whole(tmp_path)
    observer = TinyDbObserver(root)
    teller = Teller(observer, story)
    lines = story.lines()
    teller.tell(lines[:5])
    child = os.fork()
    if not child:
        observer.forget()
        observer.join()
        os._exit(0)
    os.waitpid(child, 0)
    teller.tell(lines[5:])
    teller.finish()
    check(root, 1, story)


@pytest.mark.slow
def test_a_reader_sees_whole_entries_while_runs_are_written(tmp_path, root):
    """A board reads all the time; it must not meet half a file, nor miss a run that moves from one to the other."""
    import threading

    tell(TinyDbObserver(root), run(tmp_path).complete())
    problems: list[BaseException] = []
    done = threading.Event()
    stories = [whole(tmp_path, f"0{number}") for number in range(2, 8)]
    begun: list[int] = [1]

    def read():
        reader = TinyDbReader(root)
        try:
            while not done.is_set():
                known = list(begun)
                labels = reader.labels()
                assert set(known) <= set(labels), f"{set(known) - set(labels)} is gone"
                for record in reader.find({"status": "COMPLETED"}):
                    assert record.stop_time is not None
                json.loads((root / "metadata.json").read_bytes())
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for story in stories:
            teller = Teller(TinyDbObserver(root), story)
            for line in story.lines():
                begun.extend([label] if (label := teller.tell([line])) and label not in begun else [])
                teller.flush()
            teller.finish()
    finally:
        done.set()
        thread.join()
    if problems:
        raise problems[0]
