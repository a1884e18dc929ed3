"""Run folders in buckets and on file servers: what lies there, what it costs, and what a copy of it is."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import os
import pickle
import time

import pytest

import capture
from capture import events
from capture.errors import ObserverError, RunNotFoundError
from capture.observers import FileStorageObserver, FileStoreReader
from capture.observers._pieces import METRICS, OUTPUT, name_of, read_name, remaining
from capture.observers._remote_files import Files, is_passing
from capture.observers._remote_s3 import S3Files
from capture.observers.remote import RemoteFolderObserver
from capture.registry import make_observer, observer_class, open_curator, open_reader
from capture.testing import Story, tell
from capture.testing.contract import differences, uid
from capture.testing.feed import Teller, told
from tests.observers.dying import Death, die_at
from tests.servers.fixtures import own
from tests.servers.ssh import SSH

pytest.importorskip("fsspec")


@pytest.fixture
def memory():
    """URL of an empty store in memory."""
    from fsspec.implementations.memory import MemoryFileSystem

    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    yield "memory://lab/runs"
    MemoryFileSystem.store.clear()


def paths(url: str = "memory://lab/runs") -> list[str]:
    """The paths of all files of a store in memory, relative to it."""
    from fsspec.implementations.memory import MemoryFileSystem

    root = "/" + url.partition("://")[2] + "/"
    return sorted(path[len(root) :] for path in MemoryFileSystem.store if path.startswith(root))


def whole_story(folder, mark: str = "01") -> Story:
    story = Story(folder, uid(mark)).start()
    story.source("train.py", b"print(1)\n").resource("/data/in.csv", b"1,2\n")
    story.add(events.Output(text="epoch 1\n", offset=0))
    story.metrics(loss=[3.0, 2.0]).beat(info={"best": 2.0}, result=2.0)
    story.artifact("plots/loss.svg", b"<svg/>")
    story.add(events.Output(text="epoch 2\n", offset=8), events.Annotated(tags=["good"], notes="fine"))
    return story.metric("loss", [1.0], first=2).complete(1.0)


def copy_folder(files, target) -> None:
    """Copy a store to a folder, as ``aws s3 sync`` does."""
    for name in files.walk(""):
        path = os.path.join(target, *name.split("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(files.read(name))


def upload_folder(source, files) -> None:
    """Copy a folder to a store."""
    for folder, _, names in os.walk(source):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as stream:
                files.write(os.path.relpath(path, source).replace(os.sep, "/"), stream.read())


# ---------------------------------------------------------------------------------------------------- layout, copies


def test_the_layout_is_that_of_the_file_store(tmp_path, memory):
    """Tools for Sacred's folders read a bucket that was mounted or copied."""
    story = whole_story(tmp_path / "told")
    tell(RemoteFolderObserver(memory), story)
    tell(FileStorageObserver(tmp_path / "runs"), story)
    local = [
        os.path.relpath(os.path.join(folder, name), tmp_path / "runs").replace(os.sep, "/")
        for folder, _, names in os.walk(tmp_path / "runs")
        for name in names
    ]
    assert paths() == sorted(local)


def test_a_copy_of_a_bucket_is_a_local_store(tmp_path, memory):
    """Nobody is tied to the place where the runs were kept first."""
    story = whole_story(tmp_path / "told")
    observer = RemoteFolderObserver(memory)
    label = tell(observer, story)
    copy_folder(observer._open_store().files, tmp_path / "copy")
    found = FileStoreReader(tmp_path / "copy").get(label)
    assert differences(told(story), found, observer.supports, ["opened_event"]) == []
    following = Story(tmp_path / "next", uid("02")).start().complete()
    assert tell(FileStorageObserver(tmp_path / "copy"), following) == "2", "the numbers do not go on"


def test_a_local_store_that_was_uploaded_is_a_store_there(tmp_path, memory):
    """And the other way round: runs of a laptop move into the lab's bucket."""
    story = whole_story(tmp_path / "told")
    label = tell(FileStorageObserver(tmp_path / "runs"), story)
    observer = RemoteFolderObserver(memory)
    upload_folder(tmp_path / "runs", observer._open_store().files)
    found = open_reader(memory).get(label)
    assert differences(told(story), found, observer.supports, ["opened_event"]) == []
    assert tell(observer, Story(tmp_path / "next", uid("02")).start().complete()) == "2"
    assert tell(observer, story) == label, "a run that was uploaded is not recognised"


def test_what_was_changed_in_a_local_copy_counts_when_it_comes_back(tmp_path, memory):
    """``capture.json`` holds the other documents too; those must not win over newer files."""
    story = Story(tmp_path / "told", uid("01")).start()
    story.beat(info={"a": 1})
    observer = RemoteFolderObserver(memory)
    tell(observer, story)
    files = observer._open_store().files
    copy_folder(files, tmp_path / "copy")
    story.beat(info={"a": 2}).complete(5)
    tell(FileStorageObserver(tmp_path / "copy"), story)
    upload_folder(tmp_path / "copy", files)
    found = open_reader(memory).get(1)
    assert (found.info, found.status, found.result) == ({"a": 2}, "COMPLETED", 5)


# ------------------------------------------------------------------------------------------------------------ pieces


def test_a_run_that_goes_on_is_read_whole(tmp_path, memory):
    """Sacred's observer left only the newest part of the output in the bucket."""
    story = Story(tmp_path / "told", uid("01")).start()
    teller = Teller(RemoteFolderObserver(memory), story)
    seen, text = 0, ""
    for number in range(8):
        part = f"epoch {number} " + "x" * 20_000 + "\n"
        story.add(events.Output(text=part, offset=len(text))).metric("loss", [number], first=number)
        text += part
        lines = story.lines()
        teller.tell(lines[seen:])
        teller.flush()
        seen = len(lines)
        record = open_reader(memory).get(1)
        assert record.output == text
        assert record.metrics["loss"].values == list(range(number + 1))
    assert "1/cout.txt" not in paths()
    teller.tell(story.complete().lines()[seen:])
    teller.finish()
    assert open_reader(memory).get(1).output == text
    assert [path for path in paths() if "_pieces" in path] == [], "pieces were left behind"
    assert {"1/cout.txt", "1/metrics.jsonl", "1/metrics.json"} <= set(paths())


def test_a_run_that_was_copied_while_it_went_on_is_read_whole(tmp_path, memory):
    """Its pieces were copied with it; a run whose process was killed stays like that."""
    story = Story(tmp_path / "told", uid("01")).start()
    story.add(events.Output(text="so far\n", offset=0)).metric("loss", [1.0, 2.0]).beat(result=1)
    observer = RemoteFolderObserver(memory)
    tell(observer, story)
    copy_folder(observer._open_store().files, tmp_path / "copy")
    reader = FileStoreReader(tmp_path / "copy")
    assert reader.get(1).output == "so far\n"
    assert reader.get(1).metrics["loss"].values == [1.0, 2.0]
    assert next(iter(reader.find())).summary["loss"]["count"] == 2


def test_a_trickle_of_output_makes_few_pieces(tmp_path, memory):
    """A run of a day with a line a second must not leave 86,400 files."""
    story = Story(tmp_path / "told", uid("01")).start()
    teller = Teller(RemoteFolderObserver(memory), story)
    for number in range(200):
        story.add(events.Output(text="y" * 500, offset=number * 500))
    for line in story.lines():
        teller.tell([line])
        teller.flush()
    assert len([path for path in paths() if "_pieces" in path]) == 4
    assert open_reader(memory).get(1).output == "y" * 100_000


def test_output_that_goes_back_behind_a_finished_piece_is_replaced(tmp_path, memory):
    """A screen of progress bars is redrawn from its top."""
    story = Story(tmp_path / "told", uid("01")).start()
    teller = Teller(RemoteFolderObserver(memory), story)
    story.add(events.Output(text="a" * 40_000, offset=0))
    story.add(events.Output(text="b" * 40_000, offset=40_000), events.Output(text="end", offset=10))
    for line in story.lines():
        teller.tell([line])
        teller.flush()
    assert open_reader(memory).get(1).output == "a" * 10 + "end"
    teller.tell(story.complete().lines()[-1:])
    teller.finish()
    assert open_reader(memory).get(1).output == "a" * 10 + "end"


def test_a_process_that_died_while_it_joined_the_pieces_has_doubled_nothing(tmp_path, memory, monkeypatch):
    """The joined files are written before the record that says so."""
    story = whole_story(tmp_path / "told")
    lines = story.lines()
    dying = Teller(RemoteFolderObserver(memory), story)
    for line in lines[:-1]:
        dying.tell([line])
        dying.flush()
    dying.tell(lines[-1:])
    run = dying.observer._runs[uid("01")]
    with monkeypatch.context() as patch:
        patch.setattr(run, "_commit", lambda tails: (_ for _ in ()).throw(ConnectionError("died")))
        with pytest.raises(ConnectionError):
            dying.flush()
    assert "1/metrics.jsonl" in paths()
    assert open_reader(memory).get(1).metrics["loss"].values == [3.0, 2.0, 1.0]
    tell(RemoteFolderObserver(memory), story)
    found = open_reader(memory).get(1)
    assert differences(told(story), found, RemoteFolderObserver.supports, ["opened_event"]) == []


def test_pieces_of_a_writer_that_still_writes_are_joined_as_far_as_they_are():
    """A child process may go on after the run has ended."""
    found = {"main/000001-0.txt": 10, "main/000002.jsonl": 5, "child-1/000001.jsonl": 30}
    state = {"joined": {f"main/{OUTPUT}": [3, 0], f"main/{METRICS}": [3, 0], f"child-1/{METRICS}": [1, 20]}}
    left = remaining(found, state)
    assert [(piece.key, piece.skip) for piece in left] == [("_pieces/child-1/000001.jsonl", 20)]
    assert [piece.number for piece in remaining(found, {})] == [1, 1, 2]
    assert read_name("main/notes.md", 3) is None
    assert read_name(name_of("main", 7, METRICS)[len("_pieces/") :], 3).number == 7


# ---------------------------------------------------------------------------------------------------------- requests


@pytest.fixture
def requests(s3_url, monkeypatch):
    """The requests that were sent to S3, as (method, key)."""
    s3fs = pytest.importorskip("s3fs")
    sent: list[tuple[str, str]] = []
    plain = s3fs.S3FileSystem._call_s3

    async def noted(self, method, *args, **kwargs):
        sent.append((method, kwargs.get("Key") or kwargs.get("Prefix") or ""))
        return await plain(self, method, *args, **kwargs)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", noted)
    return sent


def test_a_flush_costs_few_requests(tmp_path, s3_url, requests):
    """There may be one every second, and a request costs money and a fraction of a second."""
    story = Story(tmp_path / "told", uid("01")).start()
    teller = Teller(RemoteFolderObserver(s3_url), story)
    cost = {}
    seen = 0

    def step(name: str) -> None:
        nonlocal seen
        lines = story.lines()
        requests.clear()
        teller.tell(lines[seen:])
        teller.flush()
        seen, cost[name] = len(lines), len(requests)

    step("start")
    step("nothing")
    story.add(events.Output(text="a\n", offset=0))
    step("output")
    story.add(events.Output(text="b\n", offset=2)).metric("loss", [1.0])
    step("output and measurements")
    story.beat(result=1)
    step("heartbeat")
    story.complete(2)
    step("end")
    assert cost["nothing"] == 0
    assert cost["output"] == 1
    assert cost["output and measurements"] == 2
    assert cost["heartbeat"] == 2
    assert cost["end"] <= 7
    assert cost["start"] <= 20  # the first of a store, which is made with it
    reader = open_reader(s3_url)
    list(reader.find())
    requests.clear()
    assert len(list(reader.find({"status": "COMPLETED"}))) == 1
    assert len(requests) == 2, f"a run that has ended was read again: {requests}"


def test_a_run_that_changed_after_its_end_is_read_again(tmp_path, memory):
    """A reader remembers runs that have ended; a tag that somebody sets has to be seen all the same."""
    tell(RemoteFolderObserver(memory), Story(tmp_path / "told", uid("01")).start().complete(1))
    reader = open_reader(memory)
    assert [record.tags for record in reader.find()] == [[]]
    open_curator(memory).annotate(1, tags=["paper"])
    assert [record.tags for record in reader.find()] == [["paper"]]


def test_the_summary_is_stored_with_the_run(tmp_path, memory):
    """A question about ten thousand runs must not read their series."""
    tell(RemoteFolderObserver(memory), whole_story(tmp_path / "told"))
    before = len(paths())
    record = next(iter(open_reader(memory).find({"metrics.loss.last": 1.0})))
    assert record.summary["loss"]["count"] == 3
    assert record.summary["loss"]["min"] == 1.0
    assert len(paths()) == before, "a reader wrote something"


def test_summaries_survive_a_crash_between_a_piece_and_the_record(tmp_path, memory):
    """What was acknowledged is not told again, so that its place in the summary has to come from the piece."""
    story = Story(tmp_path / "told", uid("01")).start()
    teller = Teller(RemoteFolderObserver(memory), story)
    teller.tell(story.lines())
    teller.flush()
    first = len(story.lines())
    story.metric("loss", [5.0, 4.0])
    teller.tell(story.lines()[first:])
    teller.flush()  # one piece; the record does not speak of it
    second = len(story.lines())
    story.metric("loss", [3.0], first=2).complete()
    heir = Teller(RemoteFolderObserver(memory), story)
    heir.tell(story.lines()[second:])
    heir.finish()
    record = open_reader(memory).get(1)
    assert record.summary["loss"]["count"] == len(record.metrics["loss"]) == 3


# ------------------------------------------------------------------------------------------------------------ faults


def test_an_erasure_that_died_can_be_begun_again_and_loses_no_file(tmp_path, memory, monkeypatch):
    """Shared files get another name when their bytes change: no record may name a place where nothing lies."""
    from fsspec.implementations.memory import MemoryFileSystem

    def check(of_secret):
        for label in (1, 2):
            record = open_reader(memory).get(label)
            for file in (*record.sources, *record.artifacts):
                with file.open() as stream:
                    data = stream.read()
                assert data
                assert not of_secret or hashlib.sha256(data).hexdigest() == file.digest, f"at step {steps}"
                assert not of_secret or b"topsecret" not in data

    for mark in ("01", "02"):
        story = Story(tmp_path / mark, uid(mark)).start().source("a.py", b"key = 'topsecret'\n")
        tell(RemoteFolderObserver(memory), story.artifact("out.txt", b"topsecret!").complete())
    before = {path: file.getvalue() for path, file in MemoryFileSystem.store.items()}
    steps, died = 0, True
    while died:
        steps, died = steps + 1, False
        MemoryFileSystem.store.clear()
        for path, data in before.items():
            MemoryFileSystem().pipe_file(path, data)

        with monkeypatch.context() as patch:
            die_at(steps, patch, MemoryFileSystem, "pipe_file", "rm_file")
            try:
                open_curator(memory).erase("topsecret")
            except Death:
                died = True
        check(of_secret=False)
        open_curator(memory).erase("topsecret")
        check(of_secret=True)
        assert not [path for path, file in MemoryFileSystem.store.items() if b"topsecret" in file.getvalue()]
    assert steps > 5


def test_a_file_that_was_purged_since_it_was_shared_is_stored_again(tmp_path, memory, monkeypatch):
    """A sweep goes on for hours in one process, and somebody tidies up meanwhile: the next run had no sources."""
    observer = RemoteFolderObserver(memory)
    first, second = (Story(tmp_path / mark, uid(mark)).start() for mark in ("01", "02"))
    tell(observer, first.source("train.py", b"print(1)\n").complete())
    curator = open_curator(memory)
    curator.bin(1)
    curator.purge(1)
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + 60)
    tell(observer, second.source("train.py", b"print(1)\n").complete())
    (source,) = open_reader(memory).get(2).sources
    with source.open() as stream:
        assert stream.read() == b"print(1)\n"


def test_a_queued_run_is_taken_over_though_the_connection_breaks_in_between(tmp_path, memory, monkeypatch):
    """Who tries again found it taken, by itself: the run got another label, and the queued one waited for ever."""
    from capture.observers._remote_store import RemoteStore

    tell(RemoteFolderObserver(memory), Story(tmp_path / "queued", uid("01")).queue("job"))
    story = Story(tmp_path / "told", uid("02")).start("job").complete(1)
    teller = Teller(RemoteFolderObserver(memory), story)
    with monkeypatch.context() as patch:
        patch.setattr(RemoteStore, "note_uid", lambda *_: (_ for _ in ()).throw(ConnectionError("reset by peer")))
        with pytest.raises(ConnectionError):
            teller.tell(story.lines())
    assert tell(RemoteFolderObserver(memory), story) == "job"
    assert [(run.label, run.status) for run in open_reader(memory).find()] == [("job", "COMPLETED")]
    late = Story(tmp_path / "late", uid("03")).start("job").complete(2)
    assert tell(RemoteFolderObserver(memory), late) == "1", "it is another's by now"


def test_a_server_that_is_away_is_a_matter_of_time(tmp_path, own_s3, monkeypatch):
    """The run goes on, and what it did is delivered when the server is back."""
    server = own_s3().start()
    for name, value in server.client_environment.items():
        monkeypatch.setenv(name, value)
    story = whole_story(tmp_path / "told")
    lines = story.lines()
    observer = RemoteFolderObserver(server.url)
    teller = Teller(observer, story)
    teller.tell(lines[:5])
    teller.flush()
    server.kill()
    with pytest.raises(ConnectionError) as lost:
        teller.tell(lines[5:])
        teller.flush()
    assert observer.transient(lost.value)
    assert server.secret not in str(lost.value)
    server.start()
    heir = Teller(RemoteFolderObserver(server.url), story)
    heir.tell(lines)
    heir.finish()
    found = open_reader(server.url).get(1)
    assert differences(told(story), found, observer.supports, ["opened_event"]) == []


@pytest.fixture
def own_ssh(monkeypatch):
    """A private SSH server."""
    pytest.importorskip("paramiko")
    for make in own(SSH):
        server = make().start()
        monkeypatch.setenv("HOME", server.home)
        yield server


def test_a_connection_that_broke_is_made_anew(tmp_path, own_ssh):
    """SSH is one connection for everything; paramiko says of it for ever that it is closed."""
    observer = RemoteFolderObserver(own_ssh.url)
    story = whole_story(tmp_path / "told")
    lines = story.lines()
    teller = Teller(observer, story)
    teller.tell(lines[:5])
    teller.flush()
    own_ssh.kill()
    with pytest.raises(ConnectionError):
        observer.flush()
        teller.tell(lines[5:])
        teller.flush()
    own_ssh.start()
    teller.tell(lines[5:])
    teller.finish()
    found = open_reader(own_ssh.url).get(1)
    assert differences(told(story), found, observer.supports, ["opened_event"]) == []


def test_an_ssh_server_that_nobody_knows_is_refused(tmp_path, own_ssh, monkeypatch):
    """fsspec would trust it, whoever it is."""
    with open(os.path.join(own_ssh.home, ".ssh", "known_hosts"), "w"):
        pass
    observer = RemoteFolderObserver(own_ssh.url)
    with pytest.raises(ObserverError, match="could be anybody's") as error:
        tell(observer, Story(tmp_path / "told", uid("01")).start())
    assert not observer.transient(error.value)


@pytest.mark.parametrize("kind", ["wrong_environment", "read_only_environment"])
def test_refused_credentials_are_no_matter_of_time(tmp_path, own_s3, monkeypatch, kind):
    """Trying again would only hide what has to be corrected; and no key is shown."""
    server = own_s3().start()
    for name, value in getattr(server, kind).items():
        monkeypatch.setenv(name, value)
    observer = RemoteFolderObserver(server.url)
    with pytest.raises(ObserverError, match="refuses access") as error:
        tell(observer, Story(tmp_path / "told", uid("01")).start())
    assert not observer.transient(error.value)
    assert server.secret not in str(error.value)
    assert server.url in str(error.value)


def test_errors_of_libraries_are_told_apart_without_importing_them():
    """A class is known by its name and package."""

    def error(name: str, module: str, base: type = Exception, **attributes) -> Exception:
        return type(name, (base,), {"__module__": module, **attributes})("said")

    assert is_passing(error("EndpointConnectionError", "botocore.exceptions"))
    assert is_passing(error("ClientOSError", "aiohttp.client", error("ClientConnectionError", "aiohttp").__class__))
    assert is_passing(error("HttpError", "gcsfs.retry", code=503))
    assert is_passing(OSError(16, "SlowDown"))
    assert not is_passing(error("HttpError", "gcsfs.retry", code=403))
    assert not is_passing(error("AuthenticationException", "paramiko.ssh_exception"))
    assert not is_passing(PermissionError("AccessDenied"))
    assert not is_passing(ValueError("x"))


def test_a_server_that_ignores_conditions_is_found_out(tmp_path, s3_url, monkeypatch, caplog):
    """Some services that look like S3 overwrite what they were asked to create: then labels are verified."""
    plain = S3Files._call

    def ignoring(self, method, *args, **kwargs):
        kwargs = {name: value for name, value in kwargs.items() if name not in ("mode", "IfMatch")}
        return plain(self, method, *args, **kwargs)

    monkeypatch.setattr(S3Files, "_call", ignoring)
    labels = [tell(RemoteFolderObserver(s3_url), whole_story(tmp_path / mark, mark)) for mark in ("0a", "0b")]
    assert labels == ["1", "2"]
    assert "does not know conditional writes" in caplog.text


def test_two_writers_that_commit_at_the_same_time_both_count(tmp_path, memory):
    """Each keeps its changes until they are stored, and makes them again on what the other wrote."""
    story = Story(tmp_path / "told", uid("01")).start()
    one, two = (Teller(RemoteFolderObserver(memory), story) for _ in range(2))
    one.tell(story.lines())
    one.flush()
    child = Story(tmp_path / "child", uid("01"), "child-1").artifact("child.txt", b"c").metric("loss", [7.0])
    two = Teller(two.observer, child)
    two.tell(child.lines())
    first = len(story.lines())
    story.artifact("main.txt", b"m")
    one.tell(story.lines()[first:])
    one.flush()
    two.flush()
    record = open_reader(memory).get(1)
    assert sorted(each.name for each in record.artifacts) == ["child.txt", "main.txt"]
    assert set(record.writers) == {"main", "child-1"}


# ------------------------------------------------------------------------------------------------------------- names


def test_any_scheme_of_fsspec_is_a_store():
    """One observer for all vendors."""
    for url in ("memory://x", "local:///tmp/x", "hdfs://host/x", "az://container/x"):
        assert issubclass(observer_class(url), RemoteFolderObserver), url


def test_stores_in_memory_are_told_apart_by_name():
    """They have no identity; two of them would share one entry in the labels of a run."""
    ex = capture.Experiment("two", observers=["memory://names/one", "memory://names/two"])
    ex.main(lambda: None)
    assert ex.run(options={"--loglevel": "ERROR"}).labels == {"memory://names/one": "1", "memory://names/two": "1"}


@pytest.mark.parametrize("url", ["github://owner:repo@main/runs", "https://example.org/runs", "zip::s3://b/runs.zip"])
def test_what_can_only_be_read_is_refused_for_writing(url):
    """At once, not an hour into the training."""
    with pytest.raises(ObserverError, match="cannot be written there"):
        RemoteFolderObserver(url)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    """The next command is in the message."""
    import importlib.util

    plain = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "gcsfs" else plain(name, *more))
    with pytest.raises(ObserverError, match=r"pip install 'experiment-capture\[gcs\]'"):
        make_observer("gs://bucket/runs")


def test_no_password_is_shown():
    """URLs may hold one, and identities are written down."""
    observer = RemoteFolderObserver("sftp://me:hunter2hunter2@host/runs")
    assert "hunter2" not in repr(observer) + str(observer.identity)
    assert observer.identity == "sftp://host/runs"


def test_an_observer_survives_being_copied_to_another_process(memory):
    """A sweep pickles its experiment."""
    observer = RemoteFolderObserver(memory, priority=3)
    again = pickle.loads(pickle.dumps(observer))
    assert again == observer
    assert again.priority == 3


def test_a_record_does_not_show_files_outside_of_its_store(tmp_path, memory):
    """Who can write into a store must not make others read what else they have access to."""
    observer = RemoteFolderObserver(memory)
    tell(observer, whole_story(tmp_path / "told"))
    files = observer._open_store().files
    files.write("/lab/secret", b"secret")
    for evil in ("../secret", "/lab/secret"):
        data = files.read("1/capture.json")
        stored = next(iter(path for path in paths() if path.startswith("_sources/")))
        files.write("1/capture.json", data.replace(stored.encode(), evil.encode()))
        with pytest.raises(FileNotFoundError):
            open_reader(memory).get(1).sources[0].open()
        files.write("1/capture.json", data)


def test_a_purged_run_takes_its_shared_files_along(tmp_path, memory):
    """Unless another run uses them."""
    observer, curator = RemoteFolderObserver(memory), open_curator(memory)
    for mark in ("0a", "0b"):
        tell(observer, whole_story(tmp_path / mark, mark))
    for label in ("1", "2"):
        assert any(path.startswith("_sources/") for path in paths())
        curator.bin(label)
        curator.purge(label)
    assert not any(path.startswith(("_sources/", "_resources/", "1/", "2/")) for path in paths())
    with pytest.raises(RunNotFoundError):
        open_reader(memory).get("1")
    assert tell(observer, Story(tmp_path / "x", uid("0c")).start()) == "3"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sftp://nohost.invalid/x", ["sftp://nohost.invalid/x cannot be reached"]),
        ("az://x/y", ["az://x/y cannot be opened", "AZURE_STORAGE_CONNECTION_STRING", "to go on: set"]),
    ],
)
def test_an_error_of_connecting_names_the_store_and_what_to_set(url, said, monkeypatch):
    """"Name or service not known" alone does not say which of several stores was meant."""
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    pytest.importorskip("adlfs" if url.startswith("az") else "paramiko")
    with pytest.raises((ObserverError, ConnectionError)) as caught:
        list(open_reader(url).find())
    assert all(part in str(caught.value) for part in said), caught.value


def test_a_server_that_is_away_leaves_no_tracebacks_of_libraries_behind(monkeypatch, caplog):
    """Two hundred lines of them hid the one in which `capture sync` said what it had not delivered."""
    pytest.importorskip("gcsfs")
    from fsspec.asyn import get_loop, sync

    files = Files("gs://bucket/x", {"token": "anon"})
    assert files.fs is not None

    async def give_up():
        async def fail():
            raise OSError("nobody takes this error")

        task = asyncio.ensure_future(fail())
        await asyncio.wait([task])

    sync(get_loop(), give_up)
    gc.collect()
    get_loop().call_exception_handler({"message": "Unclosed client session"})
    logging.getLogger("gcsfs").error("_request out of retries on exception: Cannot connect")
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO] == []
    get_loop().call_exception_handler({"message": "something else"})
    logging.getLogger("gcsfs").error("something else")
    assert [record.name for record in caplog.records if record.levelno >= logging.INFO] == ["asyncio", "gcsfs"]
