"""Questions to a file store are answered from an index, and the answers are those of the folders themselves."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capture.events import Annotated, Facts
from capture.filters import Test, field
from capture.observers import FileStorageObserver, _series
from capture.observers._file_curator import FileStoreCurator
from capture.observers._file_reader import FileStoreReader
from capture.testing.contract import uid
from capture.testing.feed import Story, Teller, describe, tell

VALUES = [1, 2.5, 0, -3, True, None, "adam", "{x", "", 10**30, float("nan"), float("inf"), [1, 2], (1,), {"eps": 1}]


def run(tmp_path, mark: str, **config):
    """Return the story of a run with this configuration and one metric."""
    story = Story(tmp_path / "told", uid(mark)).start(config=config)
    return story.metrics(loss=[1.0, 0.5 + 0.01 * int(mark, 16)]).complete(0.5)


REPOSITORIES: list[list] = [
    [],
    [{"url": "git@example.org:a/b.git", "commit": "ab12", "dirty": True}],
    [{"commit": "c0ffee", "dirty": False}],
    [None],
]


@pytest.fixture
def store(tmp_path):
    """Return a store whose runs differ in their configurations and in who made them, and a reader."""
    observer = FileStorageObserver(tmp_path / "runs")
    for place, value in enumerate(VALUES):
        config = {"v": value, "opt": {"lr": value, "inner": {"w": value}}, "opt.name": place, "a-b": place}
        story = Story(tmp_path / "told", uid(f"{place + 1:02x}"))
        if place % 5 == 4:
            story.queue()
        described = {**describe()["ex_info"], "repositories": REPOSITORIES[place % 4]}
        story.start(config=config, ex_info=described)
        if place % 3:
            user = {"user": {"name": "ada"} if place % 3 == 1 else {"name": None}}
            story.add(Facts(topic="process", facts=user), Facts(topic="git", facts=[{"commit": "ab12", "branch": "main"}]))
        story.metrics(loss=[1.0, 0.5 + 0.01 * place])
        if place % 4 == 3:
            story.add(Annotated(tags=["good", f"{place}"], notes="a good run\n"))
        tell(observer, story.complete([None, 0.5, "good", value][place % 4]))
    return FileStoreReader(tmp_path / "runs")


PATHS = ["config.v", "config.opt.lr", "config.opt.inner.w", "config.opt.name", "config.a-b", "status", "metrics.loss.last"]  # fmt: skip
PATHS += ["metrics.loss.count", "result", "command", "experiment.name", "config.none", "config.v.0", "uid", "tags"]
PATHS += ["name", "user", "notes", "label", "git", "git.commit", "git.dirty", "git.branch", "start_time", "stop_time"]
PATHS += ["queue_time", "duration", "packages.numpy", "facts.process.user.name", "experiment", "config", "metrics.loss"]
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
OTHERS = [0.5, 0.52, 2, 3, "COMPLETED", "main", "digits", 2**53, "\udc80", False, "ada", "dig", "COM", "ab12", "c0ffee", 1.0]
OTHERS += [START + timedelta(seconds=number, microseconds=250) for number in (2, 3, 4, 6, 7)]
OTHERS += [datetime(2026, 1, 1), "good", "a good run", "numpy", "1", (START + timedelta(hours=1)).astimezone(timezone(timedelta(hours=2)))]
TESTS = st.builds(
    lambda path, sign, value: Test(path, sign, [value, 1, None, "ada"] if sign == "in" else value),
    st.sampled_from(PATHS),
    st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in", "contains", "startswith", "exists"]),
    st.sampled_from([*VALUES, *OTHERS]),
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_index_answers_as_the_records_do(store, data):
    """What SQL thinks of a value must be what Python thinks of it, for tags, missing keys and odd types too."""
    one, two = data.draw(TESTS), data.draw(TESTS)
    wanted = data.draw(st.sampled_from([one, one & two, one | two, ~one, ~one & two]))
    records = [store.get(label) for label in reversed(store.labels())]
    assert [each.label for each in store.find(wanted)] == [each.label for each in records if wanted.matches(each)]


def test_a_number_is_not_the_text_that_it_looks_like(store):
    """A column of text would take the one for the other: labels are text in a store of folders."""
    assert [each.label for each in store.find(Test("label", "in", [1, None]))] == []
    assert [each.label for each in store.find(Test("label", "in", ["1", 2]))] == ["1"]
    assert [each.label for each in store.find(~Test("label", "in", [1]))] == store.labels()[::-1]


def test_a_few_of_many_runs_are_the_newest_of_all(store, monkeypatch):
    """Where some are enough, only the newest runs are looked at: which ones are shown must not depend on it."""
    monkeypatch.setattr("capture.observers._file_reader._BLOCK", 1)
    for wanted in (None, field("config.a-b") > 3, ~field("user").exists(), field("metrics.loss.last") < 0.55):
        every = [each.label for each in FileStoreReader(store.basedir).find(wanted)]
        for limit in (0, 1, 2, 5, 100):
            FileStoreCurator(store.basedir).annotate("4", notes=str(limit))
            reader = FileStoreReader(store.basedir)
            assert [each.label for each in reader.find(wanted, limit)] == every[:limit]
            assert [each.label for each in reader.find(wanted)] == every


def test_records_from_the_index_are_whole(store):
    """They know some parts at once and read others; nobody should see a difference."""
    for record in store.find(limit=3):
        known = store.get(record.label)
        assert str(record.to_dict()) == str(known.to_dict())
        assert record.summary == known.summary


def test_changes_are_noticed(store, tmp_path):
    """Runs are annotated, deleted and added while somebody looks."""
    assert len(list(store.find({"tags": ["good"]}))) == 0
    FileStoreCurator(store.basedir).annotate("2", tags=["good"])
    assert [each.label for each in store.find({"tags": ["good"]})] == ["2"]
    shutil.rmtree(tmp_path / "runs" / "2")
    tell(FileStorageObserver(store.basedir), run(tmp_path, "7f", v="new"))
    assert [each.label for each in store.find({"tags": ["good"]})] == []
    assert [each.label for each in store.find({"config.v": "new"})] == [str(len(VALUES) + 1)]


def test_what_sacred_writes_in_place_is_noticed(tmp_path):
    """Its files are overwritten, which leaves the folder as it was."""
    folder = tmp_path / "runs" / "1"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"lr": 1}')
    (folder / "run.json").write_text('{"status": "RUNNING", "command": "main"}')
    (tmp_path / "runs" / "_capture").mkdir()
    reader = FileStoreReader(tmp_path / "runs")
    assert len(list(reader.find({"status": "RUNNING"}))) == 1
    time.sleep(0.01)  # a file system's clock may tick that slowly
    (folder / "run.json").write_text('{"status": "COMPLETED", "command": "main"}')
    assert len(list(reader.find({"status": "RUNNING"}))) == 0
    assert len(list(reader.find({"status": "COMPLETED"}))) == 1


@pytest.mark.parametrize("damage", [b"no database at all", b""])
def test_a_damaged_index_is_made_anew(store, damage):
    """It holds nothing that the folders do not."""
    assert len(list(store.find({"status": "COMPLETED"}))) == len(VALUES)
    store.close()
    index = os.path.join(store.basedir, "_capture", "index.sqlite")
    with open(index, "wb") as stream:
        stream.write(damage)
    assert len(list(FileStoreReader(store.basedir).find({"status": "COMPLETED"}))) == len(VALUES)
    assert sqlite3.connect(index).execute("SELECT count(*) FROM runs").fetchone() == (len(VALUES),)


def test_an_index_that_cannot_be_written_does_not_matter(store, monkeypatch, caplog):
    """A colleague's store may be read, and not written."""
    list(store.find({"status": "COMPLETED"}))
    store.close()
    index = os.path.join(store.basedir, "_capture", "index.sqlite")
    database = sqlite3.connect(index)
    database.execute("BEGIN EXCLUSIVE")  # somebody keeps it for himself
    monkeypatch.setattr("capture.observers._file_index._BUSY_S", 0.05)
    with caplog.at_level("INFO", "capture.observers"):
        assert len(list(FileStoreReader(store.basedir).find({"status": "COMPLETED"}))) == len(VALUES)
    assert "in memory" in caplog.text
    database.close()


def test_what_was_erased_or_purged_is_not_in_the_index(store, tmp_path):
    """A secret would live on in there."""
    tell(FileStorageObserver(store.basedir), run(tmp_path, "7e", key="hunter2-hunter2"))
    index = os.path.join(store.basedir, "_capture", "index.sqlite")

    def holds() -> bool:
        list(FileStoreReader(store.basedir).find({"config.v": 1}))
        with open(index, "rb") as stream:
            return b"hunter2" in stream.read()

    assert holds()
    FileStoreCurator(store.basedir).erase("hunter2-hunter2")
    assert not holds()
    tell(FileStorageObserver(store.basedir), run(tmp_path, "7d", key="hunter2-hunter2"))
    assert holds()
    curator = FileStoreCurator(store.basedir)
    curator.bin("latest")
    curator.purge("latest")
    assert not holds()


def test_the_index_of_a_later_version_is_replaced(store):
    """Both versions may be in use; each makes its own."""
    list(store.find({"status": "COMPLETED"}))
    store.close()
    database = sqlite3.connect(os.path.join(store.basedir, "_capture", "index.sqlite"))
    database.execute("PRAGMA user_version = 99")
    database.close()
    assert len(list(FileStoreReader(store.basedir).find({"status": "COMPLETED"}))) == len(VALUES)


def test_a_run_that_cannot_be_read_is_left_out_and_named(store, caplog):
    """One torn file must not hide the other runs."""
    path = os.path.join(store.basedir, "3", "config.json")
    with open(path, "w") as stream:
        stream.write(json.dumps({"v": 1})[:-1])
    assert "3" not in [each.label for each in store.find()]
    assert "3/config.json" in caplog.text


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.one_of(
            st.floats(), st.integers(), st.booleans(), st.text(max_size=4), st.none(), st.just({"py/tuple": [1]}),
            st.sampled_from([2**53, 2**53 + 1, 2**63, -(2**63), 10**30, "2", True, 1e30, "\u00e9", 'a"b', {"a": 1}]),
        ),
        min_size=1, max_size=4,
    ),
    key=st.sampled_from(["v", "größe", "a.b", "a b", 'q"uote', "x'y", "$set", "été.a", "V", "_", "a-b"]),
    sign=st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
    wanted=st.one_of(st.floats(), st.integers(), st.booleans(), st.text(max_size=4), st.sampled_from([2**53, 10**30])),
)  # fmt: skip
def test_odd_keys_and_values_are_compared_as_python_does(tmp_path_factory, values, key, sign, wanted):
    """SQLite knows neither long integers nor how JSON may write a key, and rounds where Python does not."""
    folder = tmp_path_factory.mktemp("odd")
    for number, value in enumerate(values, 1):
        (folder / str(number)).mkdir()
        (folder / str(number) / "run.json").write_text('{"status": "COMPLETED"}')
        (folder / str(number) / "config.json").write_text(json.dumps({key: value, "in": {key: value}}))
    reader = FileStoreReader(folder)
    for path in (f"config.{key}", f"config.in.{key}"):
        test = Test(path, sign, wanted)
        records = [reader.get(label) for label in reversed(reader.labels())]
        assert [each.label for each in reader.find(test)] == [each.label for each in records if test.matches(each)]
    reader.close()


def test_a_change_in_the_same_tick_of_the_clock_is_noticed(store):
    """Some file systems count whole seconds: two changes with a question in between leave one time."""
    assert len(list(store.find({"status": "COMPLETED"}))) == len(VALUES)
    folder = os.path.join(store.basedir, "2")
    before = os.stat(folder)
    FileStoreCurator(store.basedir).annotate("2", tags=["good"])
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [each.label for each in store.find({"tags": ["good"]})] == ["2"]


def test_new_measurements_alone_are_noticed_and_read_once(tmp_path, monkeypatch):
    """They are appended to a file, which leaves its folder as it was; and there may be millions before them."""
    observer = FileStorageObserver(tmp_path / "runs")
    story = Story(tmp_path / "told", uid("01")).start()
    teller = Teller(observer, story)
    reader = FileStoreReader(tmp_path / "runs")
    told, read = 0, []
    real = _series.batches_in
    monkeypatch.setattr(
        _series, "batches_in", lambda lines, name: (read.append(each) or each for each in real(lines, name))
    )
    for value in (3.0, 2.0, 1.0):
        story.metrics(loss=[value, value / 2])
        lines = story.lines()
        teller.tell(lines[told:])
        told = len(lines)
        teller.flush()
        old = time.time_ns() - 10**10
        os.utime(tmp_path / "runs" / "1", ns=(old, old + told))  # long ago, at another moment each time
        assert [each.label for each in reader.find(field("metrics.loss.last") == value / 2)] == ["1"]
    assert len(read) == 3
    (record,) = reader.find()
    assert record.summary == reader.get("1").summary
    assert record.summary["loss"]["count"] == 6


def test_measurements_are_noticed_by_themselves(tmp_path):
    """Between two heartbeats, and after the last one of a run that was killed."""
    observer = FileStorageObserver(tmp_path / "runs")
    story = Story(tmp_path / "told", uid("01")).start().metrics(loss=[1.0])
    teller = Teller(observer, story)
    teller.tell(story.lines())
    teller.flush()
    old = time.time_ns() - 10**10
    os.utime(tmp_path / "runs" / "1", ns=(old, old))
    reader = FileStoreReader(tmp_path / "runs")
    assert len(list(reader.find(field("metrics.loss.last") == 1.0))) == 1
    told = len(story.lines())
    story.metrics(loss=[0.5])
    teller.tell(story.lines()[told:])
    teller.flush()
    assert len(list(reader.find(field("metrics.loss.last") == 0.5))) == 1


def test_runs_that_go_while_somebody_looks_are_left_out(store, monkeypatch):
    """A store of ten thousand runs is never quiet."""
    real = FileStoreReader._listed

    def stale(self, root):
        names = real(self, root)
        shutil.rmtree(os.path.join(root, "4"), ignore_errors=True)
        return names

    monkeypatch.setattr(FileStoreReader, "_listed", stale)
    assert len(list(store.find({"status": "COMPLETED"}))) == len(VALUES) - 1
    store.close()
    shutil.rmtree(os.path.join(store.basedir, "5"))
    assert len(list(FileStoreReader(store.basedir).find())) == len(VALUES) - 2


def test_what_is_wrong_is_looked_at_again(store):
    """Somebody gives the rights that were missing: that changes the folder's contents, and not its time."""
    path = os.path.join(store.basedir, "3", "config.json")
    with open(path, "rb") as stream:
        good = stream.read()
    old = time.time_ns() - 10**10
    for content, found in ((b"{", 0), (good, 1)):
        with open(path, "wb") as stream:
            stream.write(content)
        os.utime(os.path.join(store.basedir, "3"), ns=(old, old))
        assert [each.label for each in store.find()].count("3") == found


def test_many_readers_at_once_get_the_whole_answer(tmp_path):
    """Each brings the same index up to date, and knows of other runs than the next one; threads share a reader."""
    base = tmp_path / "runs"
    shared = FileStoreReader(base)
    problems: list[BaseException] = []
    ends = threading.Event()

    def look(reader: FileStoreReader) -> None:
        try:
            while not ends.is_set():
                before = len(reader.labels())
                assert len(list(reader.find({"status": "COMPLETED"}))) >= before - 1  # one may be about to end
        except BaseException as error:  # raised below, in the thread of the test
            problems.append(error)

    tell(FileStorageObserver(base), run(tmp_path, "01"))
    readers = [shared, shared, FileStoreReader(base), FileStoreReader(base)]
    threads = [threading.Thread(target=look, args=(reader,)) for reader in readers]
    for thread in threads:
        thread.start()
    observer = FileStorageObserver(base)
    for number in range(2, 30):
        tell(observer, run(tmp_path, f"{number:02x}"))
    ends.set()
    for thread in threads:
        thread.join()
    assert not problems, problems[0]
    for reader in readers:
        reader.close()
