"""A TinyDB store whose writers die at any step, whose disk is full, and whose file others edit."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from capture import events
from capture.observers import TinyDbCurator, TinyDbObserver, TinyDbReader, _atomic
from capture.observers._tinydb_snapshot import Snapshot
from capture.observers._tinydb_store import TinyStore
from capture.testing import Story, Teller, tell
from capture.testing.contract import uid
from tests.observers.test_tinydb import Death, check, plain_table, root, run, whole  # noqa: F401 - a fixture

tinydb = pytest.importorskip("tinydb")
linux = pytest.mark.skipif(os.name != "posix", reason="signals and forks are those of POSIX")


def long_story(tmp_path, mark="01", batches=12):
    """Return a story whose measurements do not fit into what a writer holds in memory."""
    story = run(tmp_path, mark)
    for number in range(batches):
        story.metric("loss", [float(i) for i in range(8_000)], first=8_000 * number)
    return story.complete()


def dying(patch, after):
    """Let the process die at the `after`-th change of the disk; return a list that is empty until then."""
    died: list[int] = []
    left = [after]

    def make(original):
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                died.append(after)
                raise Death
            return original(*args, **kwargs)

        return call

    for name in ("replace", "unlink", "mkdir", "link", "write", "fsync", "rename"):
        patch.setattr(os, name, make(getattr(os, name)))
    return died


# ------------------------------------------------------------------------------------------------- measurements


@pytest.mark.slow
def test_a_disk_that_is_full_in_the_midst_of_many_measurements_doubles_none(tmp_path, root, monkeypatch):  # noqa: F811
    """The event at which the disk was full comes again; what it has handed over already must not be kept as well."""
    story = long_story(tmp_path)
    teller = Teller(TinyDbObserver(root), story)
    original, failures = _atomic.write_at, 0
    for line in story.lines():
        with monkeypatch.context() as patch:

            def full(*_arguments):
                raise OSError(errno.ENOSPC, "No space left on device")

            patch.setattr(_atomic, "write_at", full)
            try:
                teller.tell([line])
                continue
            except OSError:
                failures += 1
        assert _atomic.write_at is original
        teller.tell([line])
    teller.finish()
    assert failures, "no event found the disk full"
    assert len(check(root, story.uid, story).metrics["loss"]) == 12 * 8_000


def test_measurements_that_a_dead_writer_had_not_noted_are_not_doubled_though_another_wrote_since(tmp_path, root):  # noqa: F811
    """A curator's summary covers them; the heir of the dead writer must know them all the same."""
    story = long_story(tmp_path)
    lines = story.lines()
    dead = Teller(TinyDbObserver(root), story)
    dead.tell(lines[:3])
    dead.flush()
    dead.tell(lines[3:-1])  # some are written since there are many; none is noted
    TinyDbCurator(root).annotate(1, tags=["seen"])
    assert TinyDbReader(root).get(1).summary["loss"]["count"] > 8_000
    heir = Teller(TinyDbObserver(root), story)
    heir.tell(lines)
    heir.finish()
    found = TinyDbReader(root).get(1)
    assert found.metrics["loss"].steps == list(range(12 * 8_000))
    assert found.summary["loss"]["count"] == 12 * 8_000
    assert "metrics_ahead" not in plain_table(root)[0]["capture"]


def test_what_another_writer_has_stored_is_not_set_back(tmp_path, root):  # noqa: F811
    """Two processes write one run: each knows of the other's events what it knew when it opened the run, and no more."""
    story = run(tmp_path)
    lines = story.lines()
    one, other = TinyDbObserver(root), TinyDbObserver(root)
    first = Teller(one, story)
    first.tell(lines)
    first.flush()
    child = other.find_run(story.uid)
    child.stored("child", 5)
    child.beat(story.moment(), {}, None)
    child.flush()
    ours = one.find_run(story.uid)
    child.stored("child", 20)
    child.failed("child", 7)
    child.beat(story.moment(), {}, None)
    child.flush()
    ours.stored("main", 30)
    ours.beat(story.moment(), {"a": 1}, None)
    ours.flush()
    own = json.loads((root / "_capture" / "live" / "1.json").read_bytes())["capture"]
    assert own["seqs"] == {"main": 30, "child": 20}
    assert own["missed"] == {"child": [7]}


# ------------------------------------------------------------------------------------------- deaths of curators


def death_at_each_step(tmp_path, monkeypatch, prepare, act, look):
    """Do something anew in a store of its own until it survives; each time dying one change of the disk later."""
    number = 0
    while True:
        number += 1
        place = tmp_path / f"store-{number}"
        prepare(place)
        with monkeypatch.context() as patch:
            died = dying(patch, number)
            try:
                act(place)
            except Death:
                pass
        try:
            look(place, bool(died))
        except Exception as error:
            raise AssertionError(f"death at change {number}: {error!r}") from error
        if not died:
            return number


def two_runs(tmp_path):
    def prepare(place):
        for mark in ("01", "02"):
            tell(TinyDbObserver(place), whole(tmp_path / place.name, mark))

    return prepare


def files_are_whole(place, label):
    for file in (*(record := TinyDbReader(place).get(label)).sources, *record.resources, *record.artifacts):
        with file.open() as stream:
            assert stream.read()


@pytest.mark.slow
def test_a_death_while_a_run_goes_through_the_bin_harms_no_other_and_can_be_gone_on_from(tmp_path, monkeypatch):
    """Files that another run uses stay in their places, and a second attempt leaves nothing behind."""

    def act(place):
        curator = TinyDbCurator(place)
        curator.bin(1)
        curator.restore(1)
        curator.bin(1)
        curator.purge(1)

    def look(place, _died):
        files_are_whole(place, 2)
        curator = TinyDbCurator(place)
        if 1 in curator.binned():
            curator.restore(1)
            files_are_whole(place, 1)
        if 1 in TinyDbReader(place).labels():
            curator.bin(1)
        if 1 in curator.binned():
            curator.purge(1)
        assert TinyDbReader(place).labels() == [2]
        assert curator.binned() == []
        tell(TinyDbObserver(place), whole(tmp_path / place.name, "03"))
        assert [entry["_id"] for entry in plain_table(place)] == [2, 3], "a purged run came back, or a label"

    assert death_at_each_step(tmp_path, monkeypatch, two_runs(tmp_path), act, look) > 20


@pytest.mark.slow
def test_a_run_whose_binning_died_can_be_purged(tmp_path, monkeypatch):
    """Its entry then lies in two places; purged is purged."""

    def look(place, _died):
        curator = TinyDbCurator(place)
        if 1 in curator.binned():
            curator.purge(1)
            tell(TinyDbObserver(place), whole(tmp_path / place.name, "03"))
            assert TinyDbReader(place).labels() == [2, 3]
        files_are_whole(place, 2)

    death_at_each_step(tmp_path, monkeypatch, two_runs(tmp_path), lambda place: TinyDbCurator(place).bin(1), look)


@pytest.mark.slow
def test_an_erasure_that_died_can_be_begun_again_and_loses_no_file(tmp_path, monkeypatch):
    """Stored files move when their bytes change: entries must never name a place where nothing lies."""

    def prepare(place):
        story = run(tmp_path / f"of-{place.name}").source("train.py", b"key = 'hunter2hunter2'\n")
        story.add(events.Output(text="it is hunter2hunter2\n", offset=0))
        tell(TinyDbObserver(place), story.artifact("out.txt", b"hunter2hunter2!").complete())
        tell(TinyDbObserver(place), whole(tmp_path / place.name, "02"))

    def look(place, _died):
        files_are_whole(place, 1)
        TinyDbCurator(place).erase("hunter2hunter2")
        files_are_whole(place, 1)
        files_are_whole(place, 2)
        assert TinyDbReader(place).get(1).artifacts[0].read() == b"*" * 14 + b"!"
        kept = [path for path in place.rglob("*") if path.is_file() and "spool" not in path.parts]
        assert not [path for path in kept if b"hunter2hunter2" in path.read_bytes()]

    act = lambda place: TinyDbCurator(place).erase("hunter2hunter2")  # noqa: E731
    assert death_at_each_step(tmp_path, monkeypatch, prepare, act, look) > 5


@pytest.mark.slow
@pytest.mark.parametrize("how", ["overwrite", "queue"])
def test_a_death_while_a_run_takes_the_place_of_another_loses_nothing_of_it(tmp_path, monkeypatch, how):
    """Delivered again, it must not be taken for the one that had the label before."""
    made, queued = {}, {}

    def prepare(place):
        first = Story(tmp_path / place.name / "told-a", uid("0a"))
        first = first.queue() if how == "queue" else first.start().metric("loss", [9.0] * 9).complete()
        tell(TinyDbObserver(place), first)
        queued[place] = [first] if how == "queue" else []
        story = made[place] = Story(tmp_path / place.name / "told-b", uid("0b"))
        story.start(label=1 if how == "queue" else None).metrics(loss=[1.0, 2.0]).complete(result=3)

    def observer(place):
        return TinyDbObserver(place, overwrite=1 if how == "overwrite" else None)

    def act(place):
        teller = Teller(observer(place), made[place])
        for line in made[place].lines():
            teller.tell([line])
            teller.flush()
        teller.finish()

    def look(place, _died):
        tell(observer(place), made[place])
        check(place, made[place].uid, *queued[place], made[place])
        assert TinyDbReader(place).labels() == [1]

    assert death_at_each_step(tmp_path, monkeypatch, prepare, act, look) > 20


# ------------------------------------------------------------------------------------------------- others' edits


@pytest.mark.parametrize("edit", ["no last line end", "indented", "one run indented", "spaces", "a document of others"])
def test_a_file_that_others_edited_is_read_and_gone_on_with(tmp_path, root, edit):  # noqa: F811
    """It is JSON, and TinyDB reads it: how its lines are broken is nobody's business but ours."""
    for mark in ("01", "02", "03"):
        tell(TinyDbObserver(root), run(tmp_path, mark).complete())
    path = root / "metadata.json"
    text = path.read_text()
    lines = text.split("\n")
    second = json.loads(lines[2].partition(":")[2].rstrip(","))
    path.write_text(
        {
            "no last line end": text.rstrip("\n"),
            "indented": json.dumps(json.loads(text), indent=2),
            "one run indented": text.replace(lines[2], '"2": ' + json.dumps(second, indent=1) + ","),
            "spaces": text.replace(lines[2], '"2": ' + json.dumps(second) + ","),
            "a document of others": text.replace("\n}}", ',\n"9":{"a":{"_id":1}}\n}}'),
        }[edit]
    )
    assert TinyDbReader(root).labels()[-3:] == [1, 2, 3]
    TinyDbCurator(root).annotate(2, tags=["odd"])
    tell(TinyDbObserver(root), run(tmp_path, "04").complete())
    assert [entry["_id"] for entry in plain_table(root) if "_id" in entry] == [1, 2, 3, 4]
    assert TinyDbReader(root).get(2).tags == ["odd"]
    assert path.read_text().count('\n"') == (5 if edit == "a document of others" else 4)


def test_an_entry_that_a_power_cut_left_empty_hides_no_other_run(tmp_path, root, caplog):  # noqa: F811
    """Entries of runs that go on are not forced onto the disk each time."""
    story = run(tmp_path, "01")
    teller = Teller(TinyDbObserver(root), story)
    teller.tell(story.lines())
    teller.flush()
    (root / "_capture" / "live" / "1.json").write_bytes(b"")
    tell(TinyDbObserver(root), run(tmp_path, "02").complete())
    assert TinyDbReader(root).labels() == [2]
    assert [entry["_id"] for entry in plain_table(root)] == [2]
    assert "1.json is not readable" in caplog.text


def test_a_run_that_ends_while_it_is_looked_for_is_found(tmp_path, root, monkeypatch):  # noqa: F811
    """It moves from a file of its own into one that was read a moment before."""
    story = run(tmp_path).complete()
    teller = Teller(TinyDbObserver(root), story)
    teller.tell(story.lines()[:-1])
    teller.flush()
    original = Snapshot._read_settled

    def ends_meanwhile(self):
        found = original(self)
        if not moved:
            moved.append(True)
            teller.tell(story.lines()[-1:])
            teller.finish()
        return found

    moved: list[bool] = []
    monkeypatch.setattr(Snapshot, "_read_settled", ends_meanwhile)
    tell(TinyDbObserver(root), run(tmp_path, "02").complete())
    assert TinyDbReader(root).labels() == [1, 2]
    assert moved


def test_half_written_files_of_the_dead_go_with_time(tmp_path, root):  # noqa: F811
    """Each is as long as the whole store."""
    tell(TinyDbObserver(root), run(tmp_path).complete())
    old, new = root / ".tmp-1-1-1", root / ".tmp-2-2-2"
    for path in (old, new):
        path.write_bytes(b"{")
    os.utime(old, (time.time() - 7200,) * 2)
    tell(TinyDbObserver(root), run(tmp_path, "02").complete())
    assert not old.exists()
    assert new.exists()


def test_a_process_that_exits_leaves_what_it_cannot_settle_to_the_next_run(tmp_path, root, monkeypatch, caplog):  # noqa: F811
    """A disk that is full at the very end is no reason for a traceback, nor to leave out the other stores."""
    from capture.observers import _tinydb_store

    monkeypatch.setattr(_tinydb_store, "_SMALL", 0)
    monkeypatch.setattr(_tinydb_store, "_BYTES_PER_S", 1.0)
    other = tmp_path / "other"
    for place in (root, other):
        for mark in ("01", "02"):
            tell(TinyDbObserver(place), run(tmp_path / place.name, mark).complete())
        assert len(plain_table(place)) == 1
    original = _tinydb_store.TinyStore.rewrite

    def full(self, *arguments):
        if self.root == str(other):
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(_tinydb_store.TinyStore, "rewrite", full)
        _tinydb_store.settle_waiting()
    assert len(plain_table(root)) == 2
    assert "No space left" in caplog.text
    monkeypatch.setattr(_tinydb_store, "_SMALL", 1 << 30)
    tell(TinyDbObserver(other), run(tmp_path / "other", "03").complete())
    assert len(plain_table(other)) == 3


@linux
def test_a_child_that_is_forked_while_the_store_is_locked_does_not_keep_the_lock(tmp_path, root):  # noqa: F811
    """Workers of a data loader live as long as the run, and have every descriptor that was open at their birth."""
    tell(TinyDbObserver(root), run(tmp_path).complete())
    store = TinyStore(root)
    with store.lock(), _atomic.Lock(str(root / "_capture" / "runs" / "1")):
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
    try:
        with store.lock(0.0):
            pass
        begun = time.monotonic()
        with _atomic.Lock(str(root / "_capture" / "runs" / "1"), patience_s=30.0):
            pass
        assert time.monotonic() - begun < 30.0
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


# ----------------------------------------------------------------------------------------------- kill -9, at random

WRITER = """
import sys
from pathlib import Path
from capture.observers import TinyDbObserver, _tinydb_store
from capture.testing import Story, Teller
from capture.testing.contract import uid

root, told, mark = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
_tinydb_store._SMALL = 0  # as in a long store: ended runs wait now and then
_tinydb_store._BYTES_PER_S = 1e6
story = Story(told, uid(mark)).start(config={"mark": mark}).source("train.py", b"shared").artifact("out.txt", b"x" + mark.encode())
for number in range(20):
    story.metric("loss", [float(i) for i in range(500)], first=500 * number).beat(info={"n": number})
story.complete(result=mark)
print(flush=True)
teller = Teller(TinyDbObserver(root), story)
for number, line in enumerate(story.lines()):
    teller.tell([line])
    if number % 3 == 0:
        teller.flush()
teller.finish()
print("done", flush=True)
"""


@pytest.mark.slow
@linux
def test_writers_that_are_killed_at_any_moment_store_everything_when_they_come_again(tmp_path, root):  # noqa: F811
    """Two at a time, killed at random and begun again until each ends by itself; a third process reads all along."""
    chance = random.Random(int(os.environ.get("SEED", "7")))
    waiting = [f"{number:02x}" for number in range(10)]
    going: dict[str, subprocess.Popen[str]] = {}
    killed = 0
    while waiting or going:
        while waiting and len(going) < 2:
            mark = waiting.pop(0)
            arguments = [sys.executable, "-c", WRITER, str(root), str(tmp_path / f"told-{mark}-{killed}"), mark]
            going[mark] = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        for mark, process in list(going.items()):
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(chance.random() * 0.15)
            if chance.random() < 0.6:
                process.kill()
                killed += 1
                if "done" not in process.communicate()[0]:
                    waiting.append(mark)
            else:
                assert "done" in process.communicate()[0]
            del going[mark]
        if root.exists():
            reader = TinyDbReader(root)
            assert len(reader.labels()) == len(set(reader.labels()))
            for record in reader.find({"status": "COMPLETED"}):
                assert len(record.metrics["loss"]) == 10_000
    tell(TinyDbObserver(root), run(tmp_path, "ff").complete())
    assert killed > 3
    found = {record.config["mark"]: record for record in TinyDbReader(root).find() if "mark" in record.config}
    assert sorted(found) == [f"{number:02x}" for number in range(10)]
    assert len(plain_table(root)) == len(TinyDbReader(root).labels()) == 11, "a run was stored twice"
    for mark, record in found.items():
        assert (record.status, record.result) == ("COMPLETED", mark)
        assert record.metrics["loss"].steps == list(range(10_000))
        assert record.summary["loss"]["count"] == 10_000
        assert record.artifacts[0].read() == b"x" + mark.encode()
