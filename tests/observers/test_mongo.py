"""MongoDB: the layout that viewers read, what no document could hold, and what happens in between."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import threading
from datetime import datetime

import bson
import pymongo
import pytest
from bson import ObjectId, json_util

from capture import Experiment, events
from capture.copying import copy_run
from capture.errors import CommandLineError, ObserverError
from capture.expressions import parse
from capture.filters import field
from capture.observers import MongoObserver, _mongo_output, _mongo_series
from capture.observers._mongo_filters import query_of
from capture.observers._mongo_place import executors_of, hosts_in, split_options
from capture.observers._mongo_values import safe_key, true_key
from capture.query.verifying import verify
from capture.registry import make_observer, open_curator, open_reader
from capture.testing import Story, Teller, tell
from capture.testing.contract import differences, uid
from capture.testing.feed import told
from tests.observers.dying import Death, die_at
from tests.observers.mongo_parts import LIMIT, Store, failed, watched
from tests.project.tree import ROOT


@pytest.fixture
def store(mongo_server, mongo_url):
    with mongo_server.client() as client:
        yield Store(mongo_url, client, mongo_url.partition("?")[0].rpartition("/")[2])


def check(store, label, *stories):
    """Assert that the store gives back what it was told; return the record."""
    found = store.reader.get(label)
    wrong = differences(told(*stories), found, MongoObserver.supports, {"opened_event", "unknown_event"})
    assert not wrong, "\n".join(wrong)
    return found


# --------------------------------------------------------------------------------------------------- the layout


def whole(folder, mark="01"):
    story = Story(folder, uid(mark)).start(config={"lr": 0.1, "net": {"depth": 3}, "pair": (1, 2)})
    story.source("train.py", b"print()\n").resource("/data/in.csv", b"a,b\n").artifact("m.txt", b"weights")
    story.add(events.Output(text="hello\n", offset=0)).metrics(loss=[3.0, "nan", 1.0])
    story.add(events.Annotated(tags=["good"], notes="first"))
    return story.beat(info={"best": 1}, result=1.5).complete(2.5)


def test_fields_have_the_types_that_viewers_read(store, tmp_path):
    """One string where Omniboard expects a date makes its whole table an error."""
    assert store.tell(whole(tmp_path)) == 1
    run = store.run()
    assert next(iter(run)) == "_id"
    assert type(run["_id"]) is int
    for name in ("start_time", "stop_time", "heartbeat"):
        assert type(run[name]) is datetime, name
    assert (run["status"], run["command"], run["format"]) == ("COMPLETED", "main", "MongoObserver-0.7.0")
    assert run["captured_out"] == "hello\n"
    assert run["config"] == {"lr": 0.1, "net": {"depth": 3}, "pair": {"py/tuple": [1, 2]}}
    assert run["result"] == 2.5
    assert run["host"]["hostname"] == "node7"
    assert run["experiment"]["name"] == "digits"
    assert run["omniboard"] == {"tags": ["good"], "notes": "first"}
    ((name, source),) = run["experiment"]["sources"]
    assert (name, type(source)) == ("train.py", ObjectId)
    ((path, digest),) = run["resources"]
    assert (path, len(digest)) == ("/data/in.csv", 32)
    (artifact,) = run["artifacts"]
    assert (set(artifact), artifact["name"], type(artifact["file_id"])) == ({"name", "file_id"}, "m.txt", ObjectId)
    (entry,) = run["info"].pop("metrics")
    assert run["info"] == {"best": 1}
    (metric,) = store.db.metrics.find({"run_id": 1})
    assert entry == {"name": "loss", "id": str(metric["_id"])}
    assert (metric["name"], metric["steps"]) == ("loss", [0, 1, 2])
    assert [type(value) for value in metric["values"]] == [float] * 3
    assert all(type(moment) is datetime for moment in metric["timestamps"])


def test_what_is_new_lies_under_one_key(store, tmp_path):
    """Viewers show what they do not know; one key is easily passed over."""
    store.tell(whole(tmp_path))
    assert set(store.run()) == {
        "_id", "format", "command", "status", "start_time", "stop_time", "heartbeat", "config", "meta", "host", "info",
        "result", "captured_out", "resources", "artifacts", "experiment", "omniboard", "capture",
    }  # fmt: skip


def test_a_failed_run_has_a_trace_of_lines(store, tmp_path):
    """Omniboard joins them; a single text breaks its page."""
    store.tell(failed(Story(tmp_path, uid("01")).start(), "Traceback\n", "ValueError: \udc80\n"))
    assert store.run()["fail_trace"] == ["Traceback\n", "ValueError: \\udc80\n"]


@pytest.mark.parametrize(("status", "shown"), [("PREEMPTED", "INTERRUPTED"), ("RESCHEDULING", "RESCHEDULING")])
def test_a_status_that_viewers_do_not_know_is_shown_as_the_nearest(store, tmp_path, status, shown):
    """Statuses of an experiment's own are its own business: launchers look for them by name."""
    story = Story(tmp_path, uid("01")).start()
    store.tell(story.add(events.Interrupted(interrupt_time=story.moment(), status=status)))
    assert store.run()["status"] == shown
    assert store.reader.get(1).status == status
    assert [each.label for each in store.reader.find({"status": status})] == [1]


def test_files_are_found_with_gridfs(store, tmp_path):
    """Incense picks its class by the content type, and the name says whose file it is."""
    import gridfs

    story = Story(tmp_path, uid("01")).start().source("train.py", b"x" * 600_000)
    story.artifact("plots/a.png", b"png").artifact("b", b"b", content_type="application/x", metadata={"k": (1,)})
    store.tell(story.complete())
    files = gridfs.GridFS(store.db)
    run = store.run()
    source = files.get(run["experiment"]["sources"][0][1])
    assert (source.read(), source.filename) == (b"x" * 600_000, "/home/user/project/train.py")
    assert store.db.fs.files.find_one({"_id": source._id})["md5"] == hashlib.md5(b"x" * 600_000).hexdigest()
    assert [files.get(each["file_id"]).read() for each in run["artifacts"]] == [b"png", b"b"]
    first, second = [store.db.fs.files.find_one({"_id": each["file_id"]}) for each in run["artifacts"]]
    assert (first["filename"], first["contentType"]) == ("artifact://runs/1/plots/a.png", "image/png")
    assert (second["contentType"], second["metadata"]) == ("application/x", {"k": {"py/tuple": [1]}})
    assert first["md5"] == hashlib.md5(b"png").hexdigest()


def test_what_viewers_and_launchers_wrote_stays(store, tmp_path):
    """A note that somebody writes while the run goes on must not be lost with the next heartbeat."""
    story = whole(tmp_path)
    lines = story.lines()
    teller = Teller(store.observer(), story)
    teller.tell(lines[:5])
    teller.flush()
    theirs = {"omniboard.notes": "look!", "seml.output_file": "x.out", "slurm": [{"id": 3}], "stats": {"cpu": 1}}
    store.db.runs.update_one({"_id": 1}, {"$set": theirs})
    teller.tell(line for line in lines[5:] if line.kind != "annotated")
    teller.finish()
    run = store.run()
    assert (run["omniboard"], run["seml"]) == ({"notes": "look!"}, {"output_file": "x.out"})
    assert (run["slurm"], run["stats"], run["status"]) == ([{"id": 3}], {"cpu": 1}, "COMPLETED")
    assert store.reader.get(1).notes == "look!"


def test_tags_that_people_write_as_text_are_read(store, tmp_path):
    """Omniboard takes both."""
    store.tell(whole(tmp_path))
    store.db.runs.update_one({"_id": 1}, {"$set": {"omniboard.tags": "a, b"}})
    assert store.reader.get(1).tags == ["a", "b"]
    assert [each.label for each in store.reader.find(field("tags").contains("b"))] == [1]


# ------------------------------------------------------------------------------------------------- shared files


def test_sources_and_resources_are_stored_once_for_all_runs(store, tmp_path):
    """With pymongo 4 Sacred stores a script anew for each run of it, and resources not at all."""
    for number in range(3):
        story = Story(tmp_path / str(number), uid(f"0{number}")).start().source("a.py", b"same")
        story.source("b.py", b"same").source("big.py", b"B" * 300_000).resource("/r", b"same").artifact("a", b"own")
        store.tell(story.complete())
    stored = [each["capture"]["kind"] for each in store.db.fs.files.find()]
    assert sorted(stored) == ["artifacts"] * 3 + ["sources"] * 2
    assert store.db.fs.chunks.count_documents({}) == 1 + 2 + 3
    assert store.reader.get(3).resources[0].read() == b"same"


def test_artifacts_are_shared_on_demand_only(store, tmp_path):
    """A viewer that deletes a run deletes its artifacts: those of other runs must not go with them."""
    observer = store.observer(share_artifacts=True)
    for number in range(2):
        tell(observer, Story(tmp_path / str(number), uid(f"0{number}")).start().artifact("a", b"same").complete())
    assert store.db.fs.files.count_documents({}) == 1
    assert [store.reader.get(label).artifact("a").read() for label in (1, 2)] == [b"same"] * 2


def test_a_file_that_a_viewer_deleted_is_missed_when_it_is_opened(store, tmp_path):
    """The rest of the record stays readable."""
    store.tell(whole(tmp_path))
    store.db.fs.files.delete_many({})
    record = store.reader.get(1)
    with pytest.raises(FileNotFoundError, match=r"m\.txt"):
        record.artifact("m.txt").open()
    assert record.result == 2.5


def test_equal_files_of_many_writers_at_once_are_one(store, tmp_path):
    """A sweep starts its runs in the same second."""
    barrier = threading.Barrier(6)

    def work(number):
        story = Story(tmp_path / str(number), uid(f"0{number}")).start().source("a.py", b"A" * 300_000)
        story.source("b.py", b"small").complete()
        observer = store.observer()
        barrier.wait()
        tell(observer, story)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.db.fs.files.count_documents({}) == 2
    assert store.db.fs.chunks.count_documents({}) == 3
    for label in store.reader.labels():
        assert [each.read() for each in store.reader.get(label).sources] == [b"A" * 300_000, b"small"]


def test_purging_takes_the_files_that_nobody_uses(store, tmp_path):
    """And with them measurements, output and moved values."""
    story = whole(tmp_path / "a").source("own.py", b"own").beat(info={"big": "x" * 2_000_000})
    store.tell(story.complete())
    kept = whole(tmp_path / "b", "02")
    store.tell(kept)
    store.curator.bin(1)
    store.curator.purge(1)
    names = sorted(each["filename"] for each in store.db.fs.files.find())
    assert names == ["/data/in.csv", "/home/user/project/train.py", "artifact://runs/2/m.txt"]
    ids = {each["_id"] for each in store.db.fs.files.find()}
    assert {each["files_id"] for each in store.db.fs.chunks.find()} == ids
    assert {each.get("run_id", 2) for each in store.db.metrics.find()} == {2}
    check(store, 2, kept)


def test_a_run_that_is_restored_meanwhile_is_not_purged(store, tmp_path, monkeypatch):
    """Somebody else has thought again between the question and the deletion."""
    story = whole(tmp_path / "a")
    store.tell(story)
    curator = store.curator
    curator.bin(1)
    resolve = curator._reader.resolve

    def restored_after(run, binned=False):
        label = resolve(run, binned=binned)
        monkeypatch.setattr(curator._reader, "resolve", resolve)
        curator.restore(run)
        return label

    monkeypatch.setattr(curator._reader, "resolve", restored_after)
    with pytest.raises(ObserverError, match="restored just now"):
        curator.purge(1)
    check(store, 1, story)


def test_a_file_that_is_purged_while_a_run_comes_to_use_it_is_stored_again(store, tmp_path):
    """The run has found it, and notes it a moment after the curator has looked who uses it."""
    store.tell(Story(tmp_path / "a", uid("0a")).start().source("a.py", b"shared").complete())
    second = Story(tmp_path / "b", uid("0b")).start().source("a.py", b"shared").source("b.py", b"other").complete()
    observer = store.observer()
    teller = Teller(observer, second)
    teller.tell(second.lines())
    run = observer._runs[uid("0b")]
    bring = run._bring_files

    def bring_and_lose():
        bring()
        store.db.fs.files.delete_many({"capture.shared": {"$exists": True}, "filename": {"$regex": "a.py"}})

    run._bring_files = bring_and_lose
    teller.finish()
    check(store, 2, second)
    assert store.run(2)["experiment"]["sources"][0][1] == store.run(2)["capture"]["files"]["sources"][0]["file"]


def test_a_purge_gives_back_what_a_run_uses_meanwhile(store, tmp_path):
    """The other order: the run was faster."""
    from capture.observers._mongo_removal import sweep

    story = Story(tmp_path, uid("0a")).start().source("a.py", b"shared").complete()
    store.tell(story)
    sweep(store.reader.place, [store.run()["experiment"]["sources"][0][1]])
    check(store, 1, story)


def test_what_a_viewer_left_of_a_run_goes_with_the_next_purge(store, tmp_path, monkeypatch):
    """Omniboard deletes the document, Sacred's metrics and the artifacts; the rest belongs to nobody."""
    from capture.observers import _mongo_removal

    for mark in "abc":
        store.tell(whole(tmp_path / mark, f"0{mark}").source(f"{mark}.py", mark.encode()))
    store.db.fs.chunks.insert_one({"files_id": ObjectId(), "n": 0, "data": b"broken off"})
    store.db.runs.delete_one({"_id": 1})
    monkeypatch.setattr(_mongo_removal, "YOUNG_S", -10)
    store.curator.bin(2)
    store.curator.purge(2)
    left = sorted(each["filename"] for each in store.db.fs.files.find())
    assert left == [
        "/data/in.csv", "/home/user/project/c.py", "/home/user/project/train.py", "artifact://runs/3/m.txt",
    ]  # fmt: skip
    assert store.db.fs.chunks.count_documents({}) == 4
    assert {each["capture"]["run"] for each in store.db.metrics.find()} == {store.run(3)["capture"]["key"]}


# ------------------------------------------------------------------------------------ what no document could hold


def test_values_beyond_the_limit_of_a_document_are_moved(store, tmp_path):
    """Sacred drops its observer for the rest of the run."""
    big = {"text": "x" * 20_000_000, "small": 3, "lists": [list(range(1000)) for _ in range(500)]}
    story = Story(tmp_path, uid("01")).start(config=big, meta_info={"comment": "y" * 3_000_000})
    story.add(events.Facts(topic="big", facts=big), *[events.Facts(topic=f"f{i}", facts="z" * 200_000) for i in range(20)])
    story.beat(info=big, result="r" * 2_000_000).beat(info={**big, "n": 2}, result=big)
    store.tell(failed(story, "e" * 2_000_000))
    check(store, 1, story)
    assert store.size() < LIMIT / 4
    run = store.run()
    assert run["config"]["small"] == 3
    assert run["config"]["text"] == "(20.0 MB, kept in GridFS)"
    assert run["fail_trace"] == ["(2.0 MB, kept in GridFS)"]
    assert store.db.fs.files.count_documents({"filename": {"$regex": "/info.json$"}}) == 1, "superseded values go"


def test_long_integers_come_back_as_pythons_own(store, tmp_path):
    """BSON's Int64 is a class of the driver's: in a table, or pickled, it is what no other store gives."""
    long = 2**40
    story = Story(tmp_path, uid("01")).start(config={"n": long, "deep": [{"n": long}]})
    story.add(events.Facts(topic="disk", facts={"free": long, "many": [long]}))
    story.metric("n", [long, long + 1])
    store.tell(story.beat(info={"n": long}).complete(long))
    record = store.reader.get(1)
    summary = record.summary["n"]
    found = [record.config["n"], record.config["deep"][0]["n"], record.result, record.info["n"]]
    found += [record.facts["disk"]["free"], record.facts["disk"]["many"][0], summary["last"], summary["time"]]
    assert {type(value) for value in found} == {int}, found


def test_output_grows_without_being_sent_again(store, tmp_path):
    """Sacred sends the whole of it at each heartbeat."""
    story = Story(tmp_path, uid("01")).start()
    observer = store.observer()
    teller = Teller(observer, story)
    offset = 0
    with watched(observer) as sent:
        for number in range(40):
            text = f"line {number} ü\n" * 2_000
            story.add(events.Output(text=text, offset=offset))
            offset += len(text.encode())
            teller.tell(story.lines()[-1:] if number else story.lines())
            teller.flush()
    teller.tell(story.complete().lines()[-1:])
    teller.finish()
    assert offset > 800_000
    assert max(size for name, size in sent if name == "update") < 60_000
    assert store.run()["captured_out"].encode().endswith("line 39 ü\n".encode())
    check(store, 1, story)


def test_long_output_keeps_its_beginning_and_end_in_sight(store, tmp_path, monkeypatch):
    """All of it is kept; viewers get what they can show."""
    monkeypatch.setattr(_mongo_output, "LONGEST", 40_000)
    monkeypatch.setattr(_mongo_output, "HEAD", 20_001)
    monkeypatch.setattr(_mongo_output, "TAIL", 5_001)
    story = Story(tmp_path, uid("01")).start()
    observer = store.observer()
    teller = Teller(observer, story)
    at, done = 0, 0
    # appended and taken back, within what is new, within the file, within the beginning, over borders of chunks
    plan = [(None, 300), (None, 60_000), (10, 9), (None, 700_000), (-200_000, 5), (None, 300_000), (30_000, 9_000),
            (1_000, 50_000), (None, 1), (0, 3)]  # fmt: skip
    for number, (offset, size) in enumerate(plan):
        start = at if offset is None else at + offset if offset < 0 else offset
        text = f"ü{number}" * (size // 3)
        start -= start % 3 if offset is not None else 0
        story.add(events.Output(text=text, offset=start))
        at = start + len(text.encode())
        lines = story.lines()
        teller.tell(lines[done:])
        done = len(lines)
        if number % 3 != 1:
            teller.flush()
            check(store, 1, story)
            assert len(store.run()["captured_out"].encode()) < 46_000
        if number == 6:  # another process goes on
            teller.flush()
            teller = Teller(store.observer(), story)
    story.complete()
    teller.tell(story.lines()[done:])
    teller.finish()
    assert check(store, 1, story).output == "ü9" * 1
    assert store.db.fs.files.count_documents({}) == 0, "the file is of no use any more"


def test_a_long_output_says_what_viewers_do_not_see(store, tmp_path):
    """With the real limits."""
    story = Story(tmp_path, uid("01")).start()
    story.add(events.Output(text="begin\n" + "x" * 9_000_000 + "\nend\n", offset=0))
    store.tell(story.complete())
    shown = store.run()["captured_out"]
    assert shown.startswith("begin\n")
    assert shown.endswith("x\nend\n")
    assert "bytes of output are not shown here" in shown
    assert len(shown) < 2_000_000
    check(store, 1, story)


def test_a_long_series_stays_whole_and_viewers_see_all_of_it_thinned(store, tmp_path, monkeypatch):
    """A series of Sacred's ends at half a million points, and its observer with it."""
    monkeypatch.setattr(_mongo_series, "VIEW", 1_000)
    monkeypatch.setattr(_mongo_series, "_PAGE", 50_000)
    monkeypatch.setattr(_mongo_series, "_LAG_S", 0)
    story = Story(tmp_path, uid("01")).start()
    observer = store.observer()
    teller = Teller(observer, story)
    done = 0
    for batch in range(30):
        story.metric("loss", [float(i) for i in range(777 * batch, 777 * (batch + 1))], first=777 * batch)
        story.metric("acc", [batch], first=batch)
        lines = story.lines()
        teller.tell(lines[done:])
        done = len(lines)
        if batch % 4 == 0:
            teller.flush()
        if batch == 17:
            teller = Teller(store.observer(), story)  # the process died; its heir is told what was not acknowledged
            done = lines[-8].seq
    story.complete()
    teller.tell(story.lines()[done:])
    teller.finish()
    check(store, 1, story)
    loss, acc = store.db.metrics.find({"run_id": 1}).sort("name", -1)
    assert len(loss["steps"]) == len(loss["values"]) == len(loss["timestamps"]) <= 1_001
    assert len(loss["steps"]) > 500
    assert (loss["steps"][0], loss["steps"][-1]) == (0, 777 * 30 - 1)
    assert loss["values"] == [float(step) for step in loss["steps"]]
    gaps = {b - a for a, b in zip(loss["steps"], loss["steps"][1:-1])}
    assert gaps == {loss["capture"]["stride"]}
    assert acc["steps"] == list(range(30))
    pages = list(store.db.metrics.find({"run_id": {"$exists": False}}))
    assert len(pages) > 5
    assert max(len(bson.encode(page)) for page in pages) < 120_000


def test_a_huge_batch_is_split(store, monkeypatch):
    """Sacred's hook takes any number of points at once."""
    monkeypatch.setattr(_mongo_series, "_LONGEST", 1_000_000)
    observer = store.observer()
    now = datetime(2026, 1, 1)
    observer.started_event({"name": "x"}, "main", {}, now, {}, {}, None)
    columns = {"steps": list(range(250_000)), "values": [0.5] * 250_000, "timestamps": [now] * 250_000}
    observer.log_metrics({"loss": {"name": "loss", **columns}}, {})
    observer.completed_event(now, 1)
    record = store.reader.get(1)
    assert record.metrics["loss"].steps == columns["steps"]
    assert record.summary["loss"]["count"] == 250_000


def test_a_run_with_too_many_files_says_so(store, tmp_path, monkeypatch):
    """Its document lists them; the rest of the run is stored all the same."""
    from capture.observers import _mongo_run

    monkeypatch.setattr(_mongo_run, "_FILES", 2_000)
    observer = store.observer()
    story = Story(tmp_path, uid("01")).start()
    teller = Teller(observer, story)
    teller.tell(story.lines())
    for number in range(20):
        story.artifact(f"{number}.txt", b"x")
    with pytest.raises(ObserverError, match="archive"):
        teller.tell(story.lines()[2:])
    teller.flush()
    assert 5 < len(store.reader.get(1).artifacts) < 20


# -------------------------------------------------------------------------------------------------- exactly once


class Lost(Exception):
    """Stands for a connection that broke."""


def losing(collection_name, method, after):
    """Return a wrapper of a Place's property that loses the answer (or the command) once."""
    from capture.observers._mongo_place import Place

    real = getattr(Place, collection_name).fget
    state = {"lost": False}

    class Wrapper:
        def __init__(self, collection):
            self.collection = collection

        def __getattr__(self, name):
            real_method = getattr(self.collection, name)
            if name != method or state["lost"]:
                return real_method

            def call(*args, **kwargs):
                from pymongo.errors import AutoReconnect

                state["lost"] = True
                if after:
                    real_method(*args, **kwargs)
                raise AutoReconnect("connection closed")

            return call

    return property(lambda self: Wrapper(real(self))), state


@pytest.mark.parametrize("after", [False, True], ids=["command lost", "answer lost"])
@pytest.mark.parametrize(
    ("collection", "method"),
    [
        ("durable_runs", "insert_one"),
        ("durable_runs", "update_one"),
        ("durable_metrics", "bulk_write"),
        ("chunks", "insert_many"),
        ("files", "insert_many"),
        ("durable_files", "insert_one"),
        ("labels", "find_one_and_update"),
    ],
)
def test_a_lost_connection_loses_and_doubles_nothing(store, tmp_path, monkeypatch, collection, method, after):
    """Nobody knows whether the server did what it was told last."""
    from capture.observers._mongo_place import Place

    wrapped, state = losing(collection, method, after)
    monkeypatch.setattr(Place, collection, wrapped)
    story = whole(tmp_path).artifact("big", b"b" * 300_000).metric("loss", [7.0, 8.0], first=3)
    story.add(events.Output(text="more\n", offset=6)).complete(3)
    observer = store.observer()
    calls = Teller(observer, story)._calls
    for line in story.lines():
        for call in calls.of(line):
            retried(observer, call.make)
        if line.kind in ("metrics", "output"):
            retried(observer, observer.flush)
    retried(observer, observer.flush)
    assert state["lost"]
    check(store, store.reader.labels()[0], story)
    assert len(store.reader.labels()) == 1
    (view,) = store.db.metrics.find({"run_id": {"$exists": True}})
    assert len(view["steps"]) == 5
    assert store.reader.get(-1).summary["loss"]["count"] == 5
    ids = {each["_id"] for each in store.db.fs.files.find()}
    assert {each["files_id"] for each in store.db.fs.chunks.find()} <= ids


def retried(observer, call):
    """Call as a lane does: an error that passes is tried again."""
    for _ in range(3):
        try:
            return call()
        except Exception as error:
            assert observer.transient(error), repr(error)
    raise AssertionError("it did not pass")


def test_a_process_that_dies_between_measurements_and_the_document_doubles_none(store, tmp_path):
    """They are stored first, and the document says later that they are."""
    story = Story(tmp_path, uid("01")).start().metrics(loss=[3.0, 2.0])
    dying = store.observer()
    Teller(dying, story).tell(story.lines())
    run = dying._runs[uid("01")]
    run._series.flush(run.label, run._base, 0.0, False)
    assert store.db.metrics.count_documents({}) == 2
    story.metric("loss", [1.0], first=2).complete()
    store.tell(story)
    check(store, 1, story)
    assert store.reader.get(1).summary["loss"]["count"] == 3
    (view,) = store.db.metrics.find({"run_id": 1})
    assert view["steps"] == [0, 1, 2]
    assert store.run()["info"]["metrics"] == [{"name": "loss", "id": str(view["_id"])}]


def test_two_processes_that_tell_the_same_do_not_mix(store, tmp_path):
    """A lock prevents it; where locks do not work, the second is refused by the document itself."""
    story = Story(tmp_path, uid("01")).start().add(events.Output(text="a\n", offset=0))
    first, second = Teller(store.observer(), story), Teller(store.observer(), story)
    for each in (first, second):
        each.tell(story.lines())
    first.flush()
    second.flush()  # the same is there already
    story.add(events.Output(text="b\n", offset=2)).complete()
    first.tell(story.lines()[3:4])
    first.flush()
    second.tell(story.lines()[3:])
    with pytest.raises(ObserverError, match="somebody else"):
        second.flush()


def test_a_run_that_is_deleted_while_it_goes_on_is_given_up(store, tmp_path, caplog):
    """It must not come back as half a document."""
    story = Story(tmp_path, uid("01")).start()
    observer = store.observer()
    teller = Teller(observer, story)
    teller.tell(story.lines())
    store.db.runs.delete_one({"_id": 1})
    story.complete()
    teller.tell(story.lines()[2:])
    teller.finish()
    assert store.db.runs.count_documents({}) == 0
    assert "was removed" in caplog.text


def test_a_run_that_is_binned_before_the_rest_arrives_gets_it_there(store, tmp_path):
    """What a journal still holds belongs to the run, wherever that is."""
    story = whole(tmp_path)
    lines = story.lines()
    teller = Teller(store.observer(), story)
    teller.tell(lines[:4])
    teller.flush()
    store.curator.bin(1)
    store.tell(story)
    store.curator.restore(1)
    check(store, 1, story)
    assert store.reader.labels() == [1]


# ------------------------------------------------------------------------------------------------------- labels


def test_numbers_are_given_beside_others_that_give_them(store, tmp_path):
    """Sacred takes the largest number and one more, and launchers insert documents of their own."""
    stop = threading.Event()

    def sacred():
        while not stop.is_set():
            found = store.db.runs.find_one({}, {"_id": 1}, sort=[("_id", -1)])
            try:
                store.db.runs.insert_one({"_id": (found["_id"] if found else 0) + 1, "status": "RUNNING"})
            except Exception:
                pass

    thread = threading.Thread(target=sacred)
    thread.start()
    try:
        labels = [store.tell(Story(tmp_path / str(i), uid(f"{i:02d}")).start()) for i in range(25)]
    finally:
        stop.set()
        thread.join()
    assert len(set(labels)) == 25
    assert labels == sorted(labels)
    for number, label in enumerate(labels):
        assert store.run(label)["capture"]["uid"] == uid(f"{number:02d}")


def test_a_number_that_others_deleted_is_not_given_again(store, tmp_path):
    """It may stand in a lab book."""
    assert store.tell(Story(tmp_path / "a", uid("0a")).start()) == 1
    store.db.runs.delete_one({"_id": 1})
    assert store.tell(Story(tmp_path / "b", uid("0b")).start()) == 2


def test_one_of_many_takes_over_a_queued_run(store, tmp_path):
    """A pool of workers looks at one queue."""
    label = store.tell(Story(tmp_path / "q", uid("0f")).queue())
    barrier, labels = threading.Barrier(20), []

    def work(number):
        story = Story(tmp_path / str(number), uid(f"{number:02d}")).start(label)
        observer = store.observer()
        barrier.wait()
        labels.append(tell(observer, story))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(labels) == list(range(1, 21)), "exactly one of them got the queued run"


def test_labels_that_are_no_numbers_are_sorted_by_age(store, tmp_path):
    """MongoDB sorts all texts behind all numbers."""
    for number, label in enumerate(["zeta", None, "alpha", 7]):
        story = Story(tmp_path / str(number), uid(f"0{number}"))
        moment = datetime.fromisoformat(f"2026-01-0{number + 1}T00:00:00+00:00")
        store.tell(story.add(events.Started(start_time=moment, label=label, **described())))
    assert store.reader.labels() == ["zeta", 1, "alpha", 7]
    assert [each.label for each in store.reader.find(limit=3)] == [7, "alpha", 1]
    assert store.reader.get("latest").label == 7


def described():
    from capture.testing.feed import describe

    return describe()


# -------------------------------------------------------------------------------- overwriting, as launchers do


def launcher_document():
    return {
        "_id": 12, "status": "PENDING", "seml": {"name": "x"}, "slurm": [{"id": 1}], "config": {"old": 1},
        "config_hash": "abc", "batch_id": 1, "execution": {"cluster": "local"},
    }  # fmt: skip


def test_a_document_of_a_launcher_becomes_the_run(store, tmp_path):
    """seml writes it before it starts the process, and looks there for what became of it."""
    store.db.runs.insert_one(launcher_document())
    story = whole(tmp_path)
    observer = store.observer(overwrite=12)
    assert tell(observer, story) == 12
    check(store, 12, story)
    run = store.run(12)
    assert (run["seml"], run["slurm"], run["config_hash"]) == ({"name": "x"}, [{"id": 1}], "abc")
    assert "old" not in run["config"]
    assert store.tell(Story(tmp_path / "next", uid("02")).start()) == 13
    with pytest.raises(ObserverError, match="overwrite"):
        tell(observer, Story(tmp_path / "again", uid("03")).start())


def test_nothing_of_an_earlier_run_shines_through(store, tmp_path):
    """Neither its end nor its output, files and measurements."""
    first = whole(tmp_path / "a").metric("only.then", [1.0])
    store.tell(failed(first, "boom\n"))
    second = Story(tmp_path / "b", uid("02")).start(config={"lr": 2}).metrics(loss=[9.0])
    store.tell(second.add(events.Output(text="new\n", offset=0)), overwrite=1)
    store.curator.annotate(1, tags=[], notes="")  # those are people's, and stay
    check(store, 1, second)
    run = store.run()
    assert not {"fail_trace", "stop_time", "result"} & set(run)
    assert (run["artifacts"], run["resources"], run["experiment"]["sources"]) == ([], [], [])
    assert [each["steps"] for each in store.db.metrics.find({"run_id": 1})] == [[0]]


def test_a_document_to_overwrite_must_be_there(store):
    """At once, not when the first event arrives."""
    with pytest.raises(RuntimeError, match="no run 99"):
        store.observer(overwrite=99)


def test_what_is_put_into_run_entry_is_in_the_document_at_the_end(store):
    """That is how packages for Sacred leave notes of their own; they make subclasses in functions, too."""

    class Own(MongoObserver):
        def note(self, value):
            self.run_entry["reschedule"] = value

    observer = Own(store.url, db_name=store.db.name)
    assert observer.run_entry is None
    ex = Experiment("entry", interactive=True, observers=[observer])

    @ex.main
    def main(_run):
        assert isinstance(observer.run_entry, dict)
        assert observer.run_entry["_id"] == _run._id
        observer.note({"lr": 0.5})

    label = ex.run()._id
    assert store.run(label)["reschedule"] == {"lr": 0.5}
    assert store.run(label)["status"] == "COMPLETED"


# ------------------------------------------------------------------------------------------------------ queries


CONFIGS = [
    {"x": 1}, {"x": 1.0}, {"x": True}, {"x": "1"}, {"x": None}, {"x": 2}, {"x": [1, 2]}, {"x": (1, 2)}, {"x": {"y": 1}},
    {"x": float("nan")}, {"x": float("inf")}, {"x": 10**30}, {"x": 2**63}, {"x.y": 1}, {"$x": 1}, {"x": "\udc80"}, {},
    {"x": {"y": {"z": "deep"}}}, {"x": b"bytes"}, {"x": "t" * 2_000_000}, {"x": -3.5}, {"x": False}, {"x": 0},
]  # fmt: skip
CONDITIONS = [
    *[field("config.x") == value for value in (1, True, 1.0, "1", None, 2, 0, False, (1, 2), [1, 2], 10**30, "\udc80")],
    *[field("config.x.y") == 1, field("config.$x") == 1, field("config.x.y.z") == "deep", field("config.x.0") == 1],
    *[field("config.x") < 2, field("config.x") >= 1, field("config.x") > 10**20, field("config.x") <= "2"],
    *[field("config.x") != 1, field("config.x").one_of([1, "1"]), field("config.x").exists()],
    *[field("config.x").contains(1), ~(field("config.x") == 1), (field("config.x") == 1) | (field("config.x") == 2)],
    *[(field("config.x") == 1) & (field("status") == "COMPLETED"), field("status") != "COMPLETED"],
    *[field("result") == 3, field("result") > 2, field("info.n") == 1, field("experiment.name") == "digits"],
    *[field("metrics.loss.last") < 2, field("metrics.val.acc.max") >= 0.5, field("metrics.none.last") == 1],
    *[field("host.hostname") == "node7", field("command") == "main", field("uid") == uid("03")],
]  # fmt: skip


def test_what_mongodb_answers_leaves_no_run_out(store, tmp_path):
    """A condition means in the store what it means in Python; the database may only be asked for more."""
    observer = store.observer()
    for number, config in enumerate(CONFIGS):
        story = Story(tmp_path / str(number), uid(f"{number:02d}")).start(config=config).beat(info={"n": number % 2})
        if number % 3:
            story.metrics(loss=[float(number), number % 5]).metric("val.acc", [number / 10, "nan"])
            story.complete(number)
        tell(observer, story)
    everything = list(store.reader.find())
    assert len(everything) == len(CONFIGS)
    for condition in CONDITIONS:
        wanted = [each.label for each in everything if condition.matches(each)]
        assert [each.label for each in store.reader.find(condition)] == wanted, condition


def test_the_database_does_the_sorting_out(store, tmp_path):
    """Ten thousand runs are not fetched to find five of them."""
    for number in range(6):
        store.tell(Story(tmp_path / str(number), uid(f"0{number}")).start(config={"lr": number}).metrics(l=[number]))
    condition = (field("config.lr") >= 4) & (field("status") == "RUNNING") & (field("metrics.l.last") < 5)
    assert [each.label for each in store.reader.candidates(condition, None)] == [5]


def test_a_list_of_runs_fetches_no_output_and_no_facts(store, tmp_path):
    """They are the bulk of a document; who asks for them, gets them."""
    store.tell(whole(tmp_path).add(events.Facts(topic="t", facts={"a": 1})))
    with watched_reader(store) as fetched:
        (record,) = store.reader.find()
        assert (record.status, record.config["lr"], record.summary["loss"]["count"]) == ("COMPLETED", 0.1, 3)
        before = len(fetched)
        assert record.facts == {"t": {"a": 1}}
        assert len(fetched) == before + 1


class watched_reader:
    def __init__(self, store):
        self.store = store

    def __enter__(self):
        self.context = watched(self.store.reader)
        return self.context.__enter__()

    def __exit__(self, *error):
        self.context.__exit__(None, None, None)


# ------------------------------------------------------------------------------------------------- Sacred's runs


@pytest.fixture
def sacreds(store):
    """The store with what Sacred 0.8.7 wrote: a run, a failed one, a queued one."""
    text = (ROOT / "tests" / "golden" / "sacred-0.8.7-mongo.json").read_text(encoding="utf-8")
    for name, documents in json_util.loads(text).items():
        store.db[name].insert_many(documents)
    return store


def test_runs_of_sacred_are_read(sacreds):
    """People have years of them."""
    numpy = pytest.importorskip("numpy")
    record = sacreds.reader.get(1)
    assert (record.uid, record.label, record.status, record.result) == ("", 1, "COMPLETED", {"score": 0.5})
    assert record.config == {
        "layers": [64, 32], "lr": 0.1, "nested": {"a": {"b": 1}, 3: "three"}, "pair": [1, 2], "seed": 42,
    }  # fmt: skip
    assert set(record.info) == {"best"}
    assert numpy.array_equal(record.info["best"]["array"], [0.0, 1.0, 2.0])
    assert record.output == "hello größe\n"
    assert record.meta["comment"] == "first try"
    assert record.start_time.utcoffset().total_seconds() == 0
    assert [(each.name, len(each.read()) > 3) for each in record.sources] == [("helper.py", True), ("train.py", True)]
    assert (record.artifact("model.txt").read(), record.artifact("model.txt").metadata) == (b"weights", {"kind": "weights"})
    assert record.artifact("model.txt").content_type == "text/plain"
    (resource,) = record.resources
    assert resource.name == "/home/user/project/in.csv"
    assert len(resource.metadata["md5"]) == 32
    with pytest.raises(FileNotFoundError):  # Sacred names it and stores nothing
        resource.open()
    assert record.metrics["loss"].values == [1.0, 0.5, 1 / 3, 0.25, 0.2]
    assert [value != value for value in record.metrics["val.acc"].values] == [False, True, False, False, False]
    assert record.summary["loss"]["last"] == 0.2


def test_failed_and_queued_runs_of_sacred_are_read(sacreds):
    """A queue that Sacred filled can be worked off."""
    trace = sacreds.reader.get(2).fail_trace
    assert trace[-1] == "ValueError: boom\n"
    queued = sacreds.reader.get(3)
    assert (queued.status, queued.start_time) == ("QUEUED", None)
    assert queued.queue_time is not None
    assert [each.label for each in sacreds.reader.find({"config.lr": 0.3})] == [3]
    assert [each.label for each in sacreds.reader.find(field("metrics.loss.last") < 1)] == [2, 1]


def test_a_run_that_sacred_queued_is_taken_over(sacreds, tmp_path):
    """And ours get the numbers that follow."""
    story = Story(tmp_path, uid("01")).start(3).complete(1)
    assert sacreds.tell(story) == 3
    record = sacreds.reader.get(3)
    assert (record.uid, record.status, record.result) == (uid("01"), "COMPLETED", 1)
    assert sacreds.tell(Story(tmp_path / "b", uid("02")).start()) == 4


def test_runs_of_sacred_can_be_curated(sacreds):
    """Tagged, put away, brought back, purged with their files."""
    sacreds.curator.annotate(1, tags=["old"])
    assert sacreds.reader.get(1).tags == ["old"]
    sacreds.curator.bin(1)
    assert sacreds.reader.labels() == [2, 3]
    sacreds.curator.restore(1)
    for label in (1, 3):
        sacreds.curator.bin(label)
        sacreds.curator.purge(label)
    record = sacreds.reader.get(2)
    assert [each.read()[:5] for each in (*record.sources, *record.artifacts)] == [b"x = 1", b"impor", b"weigh"]
    assert {each["filename"].rpartition("/")[2] for each in sacreds.db.fs.files.find()} == {
        "helper.py", "train.py", "model.txt",
    }  # fmt: skip
    assert {each["run_id"] for each in sacreds.db.metrics.find()} == {2}


def test_a_unique_index_of_others_is_an_error_and_no_search_without_end(store, tmp_path):
    """Each label that was tried would have been as bad as the one before, and none of them is given again."""
    store.tell(whole(tmp_path / "a"))
    store.db.runs.create_index("command", unique=True)
    with pytest.raises(pymongo.errors.DuplicateKeyError, match="command"):
        store.tell(whole(tmp_path / "b", "02"))
    store.db.runs.drop_index("command_1")
    assert store.tell(whole(tmp_path / "c", "03")) == 3


# ------------------------------------------------------------------------------------------------------- erasing


def test_a_secret_is_erased_across_borders(store, tmp_path, monkeypatch):
    """Of chunks of files, of the beginning of the output and its file, and in values that were moved."""
    monkeypatch.setattr(_mongo_output, "LONGEST", 40_000)
    monkeypatch.setattr(_mongo_output, "HEAD", 20_000)
    secret = "hünter.2$secret"
    raw = secret.encode()
    chunk = 255 << 10
    artifact = b"a" * (chunk - 4) + raw + b"b" * (chunk - 3) + secret.encode("utf-16-le") + b"c"
    story = Story(tmp_path / "a", uid("01")).start(
        config={"moved": "x" * 2_000_000 + secret, secret: {"deep": [secret, (secret,)]}}
    )
    story.artifact("model.bin", artifact, metadata={"from": secret}).source(f"{secret}.py", b"s " + raw)
    story.resource("/r", raw).metric(f"loss {secret}", [1.0])
    story.add(events.Facts(topic=f"topic {secret}", facts={"list": [secret] * 3_000}))
    text = "y" * 19_995 + secret + "z" * 60_000 + secret + "\n"
    story.add(events.Output(text=text, offset=0), events.Annotated(tags=[secret], notes=secret))
    store.tell(failed(story.beat(info={"b": raw}), f"boom {secret}\n"))
    twin = Story(tmp_path / "b", uid("02")).start().resource("/r", b"*" * len(raw)).source("a.py", b"clean")
    store.tell(twin.complete())
    assert store.curator.erase(secret) > 15
    for name in store.db.list_collection_names():
        for document in store.db[name].find():
            dump = bson.encode(document)
            assert raw not in dump, (name, document)
            assert b"h\\u00fcnter" not in dump, (name, document)
    whole_file = store.reader.get(1).artifact("model.bin").read()
    assert len(whole_file) == len(artifact)
    assert secret.encode("utf-16-le") not in whole_file
    record = store.reader.get(1)
    plain = record.to_dict()
    assert record.output.startswith("y" * 19_995 + "*" * len(raw) + "z" * 60_000)
    assert len(record.config["moved"]) == 2_000_000 + len(secret)
    for kind in ("sources", "resources", "artifacts"):
        for stored in getattr(record, kind):
            assert plain["bytes"][f"{kind}/{stored.name}"] == stored.digest
    assert store.run()["resources"][0][1] == store.db.fs.files.find_one({"_id": store.run()["capture"]["files"]["resources"][0]["file"]})["md5"]
    check(store, 2, twin)
    assert store.curator.erase(secret) == 0


def test_an_erasure_that_died_can_be_begun_again(store, tmp_path, monkeypatch):
    """A file without the secret and a record with its old digest would never be brought together."""
    from pymongo.collection import Collection

    secret = b"hunter2hunter2"
    chunk = 255 << 10
    for mark in ("01", "02"):
        story = Story(tmp_path / mark, uid(mark)).start().source("a.py", b"key = " + secret).resource("/r", secret)
        story.artifact("m.bin", b"a" * (chunk - 4) + secret + b"b" * 100 + secret)
        store.tell(story.complete())
    before = {name: list(store.db[name].find()) for name in store.db.list_collection_names()}
    steps, died = 0, True
    while died:
        steps, died = steps + 1, False
        for name, documents in before.items():
            store.db[name].delete_many({})
            store.db[name].insert_many(documents) if documents else None

        with monkeypatch.context() as patch:
            die_at(steps, patch, Collection, "update_one", "update_many", "delete_many")
            try:
                store.curator.erase(secret.decode())
            except Death:
                died = True
        store.curator.erase(secret.decode())
        for label in (1, 2):
            record = store.reader.get(label)
            for file in (*record.sources, *record.resources, *record.artifacts):
                data = file.read()
                assert secret not in data, f"{file.name}, at step {steps}"
                assert hashlib.sha256(data).hexdigest() == file.digest, f"{file.name}, at step {steps}"
    assert steps > 5


# --------------------------------------------------------------------------------------------- where the store is


@pytest.mark.parametrize(
    ("text", "identity", "overwrite"),
    [
        ("lab", "mongodb://localhost:27017/lab", None),
        ("db.example:27018", "mongodb://db.example:27018/sacred", None),
        ("db.example:27018:lab", "mongodb://db.example:27018/lab", None),
        ("lab.vision", "mongodb://localhost:27017/lab?collection=vision", None),
        ("lab!40", "mongodb://localhost:27017/lab", None),
        ("127.0.0.1:1:lab.vision!-3", "mongodb://127.0.0.1:1/lab?collection=vision", None),
        ("mongodb://u:p@B:1,a/lab?tls=true", "mongodb://a:27017,b:1/lab", None),
        ("mongodb://a/lab?collection_prefix=x", "mongodb://a:27017/lab?collection_prefix=x", None),
        ("mongodb+srv://u:p@cluster.example/lab", "mongodb+srv://cluster.example/lab", None),
        ("mongodb://a!7", "mongodb://a:27017/sacred", None),
    ],
)
def test_the_forms_behind_m(text, identity, overwrite):
    """Sacred's, and URLs, which it refuses."""
    observer = MongoObserver.from_argument(text)
    assert observer.identity == identity
    priority = text.rpartition("!")[2] if "!" in text else "30"
    assert observer.priority == float(priority)


@pytest.mark.parametrize("text", ["", "9lab", "a b", "lab!high", "host:port:lab", "lab.runs:x", "lab.", "host:27017/lab"])
def test_other_forms_behind_m_are_refused(text):
    """Sacred raises an AttributeError of None."""
    with pytest.raises(CommandLineError, match="names no database") as error:
        MongoObserver.from_argument(text)
    assert isinstance(error.value, ValueError)
    assert ("did you mean:  mongodb://host:27017/lab" in str(error.value)) is (text == "host:27017/lab")


def test_a_run_to_overwrite_behind_m(store):
    """``-m HOST:PORT:DATABASE.COLLECTION:ID``."""
    from capture.observers.mongo import parse_mongo_db_arg

    assert parse_mongo_db_arg("h:1:lab.runs:12!4") == {
        "url": "h:1", "db_name": "lab", "collection": "runs", "overwrite": 12, "priority": 4.0,
    }  # fmt: skip


def test_a_url_is_taken_apart():
    """What is ours must not reach the driver, which refuses what it does not know."""
    url = "mongodb://u:p%40@h/db?collection_prefix=a%20b&w=1&priority=3"
    assert split_options(url) == ("mongodb://u:p%40@h/db?w=1", "db", {"collection_prefix": "a b", "priority": "3"})
    assert split_options("mongodb://h") == ("mongodb://h", "", {})
    assert hosts_in("mongodb://u:p@[::1]:5,x/db") == ["[::1]:5", "x:27017"]


def test_no_password_is_shown():
    """Neither by name, repr nor identity, nor when the URL is wrong."""
    observer = MongoObserver.from_url("mongodb://me:hunter22@h:1/db")
    assert "hunter22" not in f"{observer!r} {observer.identity} {observer}"
    for mark in ("/", ":", "%", "?", "#", "@", "?collection="):
        wrong = f"mongodb://me:hun{mark}ter22@h:1/db"
        with pytest.raises(ObserverError, match="%2F") as error:
            MongoObserver.from_url(wrong)
        assert "ter22" not in str(error.value)
        assert "hun" not in str(error.value)


def test_the_registry_opens_it(store, tmp_path):
    """By URL, with what is to be said to the observer in it."""
    observer = make_observer(f"{store.url}?collection_prefix=vision&priority=7")
    assert observer.priority == 7
    tell(observer, whole(tmp_path))
    assert sorted(store.db.list_collection_names()) == [
        "capture.labels", "fs.chunks", "fs.files", "vision_metrics", "vision_runs",
    ]  # fmt: skip
    assert open_reader(f"{store.url}?collection_prefix=vision").labels() == [1]
    assert open_reader(observer.identity).labels() == [1]
    assert open_curator(store.url).binned() == []


def test_collections_with_the_same_metrics_do_not_mix(store, tmp_path):
    """Launchers keep one collection of runs for each experiment, and all share ``metrics``."""
    for name, value in (("one", 1.0), ("two", 2.0)):
        story = Story(tmp_path / name, uid(name)).start().metrics(loss=[value]).complete()
        assert store.tell(story, collection=name) == 1
        record = MongoObserver.reader(f"{store.url}?collection={name}").get(1)
        assert record.metrics["loss"].values == [value]


def test_sacreds_arguments_are_checked(store):
    """As it does."""
    import pymongo

    with pytest.raises(ValueError, match="MongoClient"):
        MongoObserver(client="localhost")
    client = pymongo.MongoClient(store.url, connect=False)
    with pytest.raises(ValueError, match="either client or url"):
        MongoObserver("localhost", client=client)
    with pytest.warns(DeprecationWarning), pytest.raises(KeyError, match=r"fs\.files"):
        MongoObserver(client=client, collection="fs.files")
    with pytest.warns(DeprecationWarning), pytest.raises(ValueError, match="either collection"):
        MongoObserver(client=client, collection="a", collection_prefix="b")
    assert MongoObserver(client=client, db_name="x").identity == MongoObserver.from_url(store.url.rpartition("/")[0] + "/x").identity
    client.close()


def test_an_observer_is_made_of_collections(store, tmp_path):
    """Sacred's other way."""
    import gridfs

    observer = MongoObserver.create_from(store.db["r"], gridfs.GridFS(store.db, "g"), metrics_collection=store.db["m"])
    tell(observer, whole(tmp_path))
    assert {"r", "m", "g.files", "g.chunks"} <= set(store.db.list_collection_names())
    assert observer.fs.get(store.db["r"].find_one()["artifacts"][0]["file_id"]).read() == b"weights"


def test_an_observer_survives_pickling(store, tmp_path):
    """Sweeps hand it to other processes."""
    observer = store.observer(priority=3)
    tell(observer, whole(tmp_path / "a"))
    other = pickle.loads(pickle.dumps(observer))
    assert (other, other.priority) == (observer, 3)
    assert tell(other, whole(tmp_path / "b", "02")) == 2


def test_a_missing_driver_is_named(monkeypatch):
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "pymongo", None)
    with pytest.raises(ObserverError, match=r"pip install 'experiment-capture\[mongo\]'"):
        _ = MongoObserver.from_url("mongodb://h/db").runs


# ----------------------------------------------------------------------------------------- servers of other kinds


def test_wrong_credentials_are_an_error_at_once(own_mongo, tmp_path):
    """No number of attempts makes a wrong password right; and nobody wants to read it in a log."""
    with own_mongo(auth=True) as server:
        wrong = MongoObserver.from_url(server.wrong_url)
        with pytest.raises(ObserverError, match="does not let 'writer' in") as error:
            tell(wrong, Story(tmp_path / "a", uid("01")).start())
        assert not wrong.transient(error.value)
        assert "wr0ng" not in str(error.value)
        with pytest.raises(ObserverError, match="does not let 'writer' in") as again:  # the driver says it otherwise
            tell(wrong, Story(tmp_path / "again", uid("01")).start())
        assert not wrong.transient(again.value)
        assert f"127.0.0.1:{server.port}" in str(error.value)
        reading = MongoObserver.from_url(server.read_only_url)
        with pytest.raises(ObserverError, match="does not let 'reader' use"):
            tell(reading, Story(tmp_path / "b", uid("02")).start())
        story = whole(tmp_path / "c")
        tell(MongoObserver.from_url(server.url), story)
        assert MongoObserver.reader(server.read_only_url).get(1).result == 2.5


@pytest.mark.parametrize("kind", [{"replica_set": True}, {"tls": True}], ids=["replica set", "TLS"])
def test_a_server_of_another_kind(own_mongo, tmp_path, kind):
    """As its URL says."""
    with own_mongo(**kind) as server:
        story = whole(tmp_path)
        tell(MongoObserver.from_url(server.url), story)
        record = MongoObserver.reader(server.url).get(1)
        assert not differences(told(story), record, MongoObserver.supports, {"opened_event"})


def test_refused_credentials_that_are_told_as_a_silent_server_do_not_pass():
    """So the driver tells the second attempt: the end of a run would wait for what cannot come."""
    from capture.observers._mongo_place import may_pass

    said = "Authentication failed., full error: {'ok': 0.0, 'errmsg': 'Authentication failed.', 'code': 18}"
    error = pymongo.errors.ServerSelectionTimeoutError(said)
    assert not may_pass(error)
    observer = MongoObserver.from_url("mongodb://me:hunter22@h:1/db")
    with pytest.raises(ObserverError, match="does not let 'me' in") as told, observer.place.explained():
        raise error
    assert not observer.transient(told.value)
    assert may_pass(pymongo.errors.ServerSelectionTimeoutError("h:1: [Errno 111] Connection refused"))


def test_an_absent_server_may_come_back(tmp_path):
    """It is waited for in seconds, and told as something that passes."""
    observer = MongoObserver.from_url("mongodb://127.0.0.1:1/db?serverSelectionTimeoutMS=100")
    with pytest.raises(Exception, match="refused") as error:
        tell(observer, Story(tmp_path, uid("01")).start())
    assert observer.transient(error.value)
    assert MongoObserver.from_url("mongodb://h/db").place.client.options.server_selection_timeout <= 5


@pytest.mark.slow
def test_a_server_that_is_killed_in_mid_run_loses_and_doubles_nothing(own_mongo, tmp_path):
    """What it confirmed was on its disk."""
    server = own_mongo()
    server.start()
    url = f"{server.url}?serverSelectionTimeoutMS=300"
    story = Story(tmp_path, uid("01")).start()
    observer = MongoObserver.from_url(url)
    calls, done, offset = Teller(observer, story)._calls, 0, 0
    for number in range(12):
        story.metric("loss", [float(number)], first=number).add(events.Output(text=f"{number:02d}\n", offset=offset))
        story.artifact(f"{number}.txt", b"x" * number)
        offset += 3
        lines = story.lines()
        for line in lines[done:]:
            for call in calls.of(line):
                _until_it_passes(observer, call.make, server)
        done = len(lines)
        _until_it_passes(observer, observer.flush, server)
        if number in (3, 7):
            server.kill()
    story.complete()
    for call in calls.of(story.lines()[-1]):
        call.make()
    observer.flush()
    record = MongoObserver.reader(url).get(1)
    assert not differences(told(story), record, MongoObserver.supports, {"opened_event"})


def _until_it_passes(observer, call, server):
    try:
        call()
    except Exception as error:
        assert observer.transient(error), repr(error)
        server.start()
        retried(observer, call)


# ---------------------------------------------------------------------------------------------- the process


def test_construction_connects_to_nothing():
    """Observers are made while a configuration is put together, on the main thread, many times."""
    code = (
        "import sys; from capture.observers.mongo import MongoObserver; MongoObserver('mongodb://127.0.0.1:1');"
        "MongoObserver.from_url('mongodb://127.0.0.1:1/x'); import threading; assert threading.active_count() == 1;"
        "assert not {'pymongo', 'bson', 'gridfs'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_end_of_a_process_waits_for_no_thread_of_ours(mongo_url):
    """The driver's threads sleep for half a second; it waits for those of the user's own clients, as ever."""
    import pymongo

    from capture.observers import _mongo_place

    observer, theirs = MongoObserver.from_url(mongo_url), pymongo.MongoClient(mongo_url)
    observer.runs.find_one()
    theirs.admin.command("ping")
    ours = executors_of(observer.place.client)
    assert len(ours) >= 3, "the driver's threads are not found any more"
    assert all(executor._thread is not None for executor in ours)
    from pymongo import periodic_executor

    running = {reference() for reference in periodic_executor._EXECUTORS}
    assert set(ours) <= running
    _mongo_place._let_go()
    assert all(executor._thread is None for executor in ours), "`join` returns at once"
    others = [executor for executor in executors_of(theirs) if executor in running]
    assert others
    assert all(executor._thread is not None for executor in others)
    theirs.close()
    observer.close()


def test_the_threads_are_let_go_before_the_driver_waits():
    """Functions are called in the opposite order of their registration."""
    code = (
        "import atexit, pymongo, sys\n"
        "from capture.observers import _mongo_place\n"
        "from capture.observers.mongo import MongoObserver\n"
        "monitor = sys.modules.get('pymongo.synchronous.monitor') or sys.modules['pymongo.monitor']\n"
        "order = []\n"
        "_mongo_place._let_go.__code__ = (lambda: __import__('sys').stdout.write('ours ')).__code__\n"
        "from pymongo import periodic_executor\n"
        "monitor._shutdown_executors = lambda: sys.stdout.write('driver ')\n"
        "MongoObserver.from_url('mongodb://127.0.0.1:1/x').runs\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["ours", "driver"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_its_own_connection(store, tmp_path):
    """The parent's does not work there, and both may record."""
    observer = store.observer()
    parent = Teller(observer, whole(tmp_path / "a"))
    lines = whole(tmp_path / "a2", "01").lines()
    parent.tell(lines[:3])
    client = observer.place.client
    child = os.fork()
    if child == 0:
        status = 1
        try:
            tell(observer, whole(tmp_path / "b", "02"))
            status = 0 if observer.place.client is not client else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    parent.tell(lines[3:])
    parent.finish()
    assert observer.place.client is client
    assert [store.reader.get(label).status for label in store.reader.labels()] == ["COMPLETED"] * 2


def test_an_experiment_records_to_it(store, tmp_path, monkeypatch):
    """From end to end, through journal and lane."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("data")
    ex = Experiment("whole", interactive=True, observers=[store.observer()])

    @ex.config
    def config():
        lr = 0.1

    @ex.main
    def main(_run, lr):
        print("hello")
        for step in range(100):
            _run.log_scalar("loss", lr / (step + 1), step)
        ex.open_resource("in.txt").close()
        (tmp_path / "out.txt").write_text("made")
        ex.add_artifact("out.txt")
        return lr

    run = ex.run()
    record = store.reader.get(run._id)
    assert type(run._id) is int
    assert (record.status, record.result, record.config["lr"]) == ("COMPLETED", 0.1, 0.1)
    assert len(record.metrics["loss"]) == 100
    assert "hello" in record.output
    assert record.artifact("out.txt").read() == b"made"
    assert [each.read() for each in record.resources] == [b"data"]
    assert record.kept is not None


@pytest.mark.parametrize("name", ["", "a.b", "$x", "%", "a%002eb", "nul\0", "ü", "\udc80", "plain"])
def test_any_name_is_a_key(name):
    """Of facts and series: what MongoDB refuses in keys is written otherwise, and read back."""
    key = safe_key(name)
    bson.encode({key: 1})
    assert true_key(key) == name
    assert key
    assert not set(key) & {".", "$", "\0"}


def test_the_indexes_are_there_whoever_gave_the_first_label(store, tmp_path):
    """A launcher gives all of them itself; without an index each start looks through all runs."""
    store.db.runs.insert_one(launcher_document())
    store.tell(whole(tmp_path), overwrite=12)
    assert "capture_uids" in store.db.runs.index_information()
    assert "capture_run" in store.db.metrics.index_information()
    plan = store.db.runs.find({"capture.uids": uid("01")}).explain()["queryPlanner"]["winningPlan"]
    assert "IXSCAN" in str(plan)
    plan = store.db.runs.find({"capture.uids": {"$regex": "^01|ff$"}}).explain()["queryPlanner"]["winningPlan"]
    assert "IXSCAN" in str(plan)
    plan = store.db.runs.find(query_of(parse("start_time < '2020-01-01'"))).explain()["queryPlanner"]["winningPlan"]
    assert "capture_start_time" in str(plan)


def test_resources_that_sacred_only_names_are_named_by_a_copy(store, tmp_path):
    """A copy that leaves them out says of itself that it is whole, though its source does not."""
    md5 = "0cc175b9c0f1b6a831c399e269772661"
    store.db.runs.insert_one(
        {
            "_id": 1, "status": "COMPLETED", "start_time": datetime(2020, 1, 2), "stop_time": datetime(2020, 1, 3),
            "config": {"lr": 1}, "experiment": {"name": "old", "sources": []}, "host": {}, "info": {},
            "resources": [["/data/in.csv", md5]], "artifacts": [], "captured_out": "",
        }
    )
    (old,) = store.reader.find()
    lacking = [(problem.name, problem.kind, problem.expected) for problem in verify(old).problems]
    for target in (str(tmp_path / "runs"), f"sqlite:///{tmp_path}/runs.db", f"tinydb://{tmp_path}/tiny"):
        for is_there in (False, True):  # the second time there is nothing to do
            reader = open_reader(target) if is_there else None
            copied = copy_run(old, "mongodb://old", make_observer(target), reader, str(tmp_path / "spool"))
            assert copied.missing == ["resource /data/in.csv"]
        (run,) = open_reader(target).find()
        (resource,) = run.resources
        assert (resource.name, resource.digest, resource.metadata) == ("/data/in.csv", None, {"md5": md5})
        assert [(problem.name, problem.kind, problem.expected) for problem in verify(run).problems] == lacking != []
