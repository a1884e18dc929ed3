"""An index of files answers as reading all runs does, whatever these hold and whatever became of them since."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sqlite3

import pytest

from capture import events, open_store
from capture.codec import decode, encode
from capture.errors import CaptureError
from capture.file_marks import LARGE, beginning_marks, content_marks, mark, marks_of, name_mark
from capture.file_uses import uses_of
from capture.hooks import Reader
from capture.observers._marked_files import MarkedFiles
from capture.probes.lineage.digesting import SAMPLE_BYTES
from capture.probes.lineage.manifests import manifest_of
from capture.query.lineage import Lineage
from capture.records import RunRecord, StoredFile
from capture.registry import make_observer, open_curator
from capture.testing.contract import uid
from capture.testing.feed import Story, tell, told
from tests.servers.fixtures import each_kind

SACRED = os.path.join(os.path.dirname(os.path.dirname(__file__)), "golden", "sacred-0.8.7")
NAMES = ("a.csv", "data/b.csv", "data/deep/c.bin", "data/deep/a.csv", "/elsewhere/d", "with:12", "data", "ü\udcff.txt")
KINDS = ("file", "sqlite", "tinydb", "mongo", "postgres", "mariadb")
CONTENTS = (b"", b"one", b"two", b"three", b"four", b"five")


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Scanned(Reader):
    """A store without an index of files: all of its runs are read."""

    def __init__(self, store):
        self.url, self._store, self._records = store.url, store, list(store.reader.find())

    def get(self, run):
        return self._store.reader.get(run)

    def find(self, where=None, limit=None):
        return iter(self._records)


def answer(lineage, wanted, **options):
    """Return all that is said of a file, or which error there is."""
    try:
        return lineage.graph(wanted, **options).to_dict()
    except CaptureError as error:
        return type(error), str(error)


def assert_same_answers(url, questions):
    with open_store(url) as store:
        scanned = Scanned(store)
        for wanted in questions:
            for options in ({}, {"up": False, "every": True}, {"down": False, "depth": 1}):
                expected = answer(Lineage(scanned), wanted, **options)
                assert answer(Lineage(store), wanted, **options) == expected, (wanted, options)
        indexed, read = Lineage(store), Lineage(scanned)  # those that are asked several things
        for wanted in questions:
            assert answer(indexed, wanted) == answer(read, wanted), wanted


class Maker:
    """Makes runs that use a few files in all ways there are, so that they meet."""

    def __init__(self, observer, folder, seed):
        self.observer, self.folder, self.random, self.count = observer, folder, random.Random(seed), 0

    def entry(self):
        random = self.random
        name, data = random.choice(NAMES), random.choice(CONTENTS)
        path = name if name.startswith("/") else f"{self.folder}/{name}"
        entry = {"path": path, "name": name, "size": len(data), "mtime": random.choice((1.0, 2.5)), "digest": sha(data)}
        kind = random.randrange(8)
        if kind == 0:
            entry["digest"] = None
        elif kind == 1:
            entry["real"] = f"{self.folder}/{random.choice(NAMES)}"
        elif kind == 2:
            entry.update(size=SAMPLE_BYTES + 1, sampled=True)
        elif kind == 3:
            entry.update(
                random.choice(({"size": None}, {"digest": "ABCDEF"}, {"digest": 7}, {"name": 5}, {"path": None}))
            )
        return entry

    def manifest(self, story):
        inside = self.random.sample(CONTENTS, self.random.randrange(1, 4))
        listed = [{"name": f"{n}.raw", "size": len(data), "digest": sha(data)} for n, data in enumerate(inside)]
        data = manifest_of(listed)
        name = f".capture/manifests/{sha(data)[:12]}.txt"
        if self.random.randrange(8):  # else it is missing
            story.source(name, data)
        path = f"{self.folder}/{self.random.choice(('photos', 'data/deep'))}"
        entry = {"path": path, "name": "photos", "files": len(inside), "size": 9, "digest": sha(data)}
        return {**entry, "manifest": {"source": name, "digest": sha(data), "size": len(data)}}

    def run(self):
        story = self.story()
        tell(self.observer, story)
        story.close()

    def story(self):
        random = self.random
        self.count += 1
        mark = f"{random.getrandbits(32):08x}{self.count:02x}"
        story = Story(f"{self.folder}/told/{mark}", uid(mark))
        story.start(ex_info={"name": f"run {self.count}", "base_dir": str(self.folder)})
        facts = {
            key: [self.entry() for _ in range(random.randrange(3))]
            for key in ("inputs", "outputs", "nearby", "intermediates")
        }
        for key in ("inputs", "outputs"):
            if random.randrange(3) == 0:
                facts[key].append(self.manifest(story))
        url = {"url": "http://example.org/x", "digest": sha(random.choice(CONTENTS)), "size": 3, "complete": True}
        facts["urls"] = random.choice(([], [url], [{**url, "complete": False}], "odd"))
        facts["coverage"] = {"complete": True, "unseen": []}
        if random.randrange(4):
            story.add(
                events.Facts(topic="lineage", facts=random.choice((facts, facts, facts, {"inputs": facts["inputs"]})))
            )
        for add in (story.source, story.resource, story.artifact):
            if random.randrange(3) == 0:
                add(random.choice(NAMES[:4]), random.choice(CONTENTS))
        if random.randrange(4):
            story.complete()
        return story

    def questions(self):
        files = [sha(data)[: self.random.choice((6, 12, 64))] for data in CONTENTS]
        gone = [self.random.choice(("gone/a.csv", "c.bin", "deep/c.bin", "with:12", "d", "raw"))]
        return [
            *files,
            *gone,
            "http://example.org/x",
            "1",
            "2",
            "-1",
            str(self.folder),
            f"{self.folder}/data",
            "nobody",
        ]


def url_of(kind, tmp_path, request):
    if kind in KINDS[3:]:
        return request.getfixturevalue(f"{kind}_url")
    return {"file": f"file://{tmp_path}/s", "sqlite": f"sqlite:///{tmp_path}/s.db", "tinydb": f"tinydb://{tmp_path}/s"}[
        kind
    ]


def put_files(folder):
    """Have some of the files there, so that questions about files on the disk have something to look at."""
    for name, data in zip(NAMES[:3], CONTENTS):
        os.makedirs(os.path.dirname(f"{folder}/{name}"), exist_ok=True)
        with open(f"{folder}/{name}", "wb") as stream:
            stream.write(data)


@pytest.mark.parametrize("kind", each_kind(*KINDS))
def test_an_index_says_what_reading_all_runs_says(kind, tmp_path, request):
    """Nobody could tell from an answer that a run is missing from it."""
    seed, url = KINDS.index(kind), url_of(kind, tmp_path, request)
    observer = make_observer(url)
    maker = Maker(observer, tmp_path, seed)
    put_files(tmp_path)
    for _ in range(7):
        maker.run()
    assert_same_answers(url, [f"{tmp_path}/{name}" for name in NAMES[:3]])
    for _ in range(5):
        maker.run()
    curator = open_curator(url)
    for change, label in ((curator.bin, "3"), (curator.bin, "5"), (curator.restore, "5")):
        change(label)
    assert_same_answers(url, maker.questions())


def test_runs_that_are_deleted_replaced_or_torn_are_told_of_as_they_are(tmp_path):
    """People copy, edit and remove folders of runs; the index is told by nobody."""
    url = f"file://{tmp_path}/s"
    maker = Maker(make_observer(url), tmp_path, 7)
    for _ in range(12):
        maker.run()
    questions = maker.questions()
    assert_same_answers(url, questions)
    runs = tmp_path / "s"
    shutil.rmtree(runs / "2")
    shutil.rmtree(runs / "3")
    shutil.copytree(runs / "4", runs / "3")
    (runs / "5").rename(runs / "50")
    (runs / "6" / "capture.json").write_text("{")
    kept = (runs / "7" / "capture.json").read_text()
    (runs / "8" / "capture.json").write_text(kept)  # written over in place
    assert_same_answers(url, questions)
    (runs / "6" / "capture.json").write_text(kept)
    for folder in os.listdir(runs / "_sources") if (runs / "_sources").exists() else ():
        if "manifests" in folder or folder.endswith(".txt"):
            os.unlink(runs / "_sources" / folder)
    assert_same_answers(url, questions)


def test_an_index_that_is_damaged_or_may_not_be_written_is_not_needed(tmp_path):
    """It is derived: whatever becomes of it, the answer is that of the runs."""
    url = f"file://{tmp_path}/s"
    maker = Maker(make_observer(url), tmp_path, 8)
    for _ in range(6):
        maker.run()
    index = tmp_path / "s" / "_capture" / "index.sqlite"
    questions = maker.questions()
    assert_same_answers(url, questions)
    index.write_bytes(b"no database")
    assert_same_answers(url, questions)
    with sqlite3.connect(index) as database:
        database.execute("PRAGMA user_version = 4")  # of a version that knew no files
        database.execute("DROP TABLE file_marks")
    database.close()
    assert_same_answers(url, questions)


def test_old_marks_are_cleared_away(tmp_path, monkeypatch):
    """A run that goes on for days gets new marks with each question."""
    from capture.observers import _used_files

    monkeypatch.setattr(_used_files, "_MAY_STAY", 0)
    url = f"file://{tmp_path}/s"
    maker = Maker(make_observer(url), tmp_path, 9)
    maker.run()
    for _ in range(10):  # it has just been written: what is known of it does not hold
        assert_same_answers(url, ["1"])
    maker.run()
    assert_same_answers(url, maker.questions())
    with sqlite3.connect(tmp_path / "s" / "_capture" / "index.sqlite") as database:
        owners = {owner for (owner,) in database.execute("SELECT DISTINCT owner FROM file_marks WHERE owner > 0")}
        live = {number for (number,) in database.execute("SELECT number FROM used")}
    database.close()
    assert len(owners) <= 2 * len(live) + 1


@pytest.mark.parametrize("other", ["knows fewer runs", "makes the index anew"])
def test_what_another_process_does_to_the_index_hides_no_run(other, tmp_path, monkeypatch):
    """Two ask at the same moment, one of them since before the newest run began; or with an older version of this."""
    url = f"file://{tmp_path}/s"
    for number in range(3):
        story = Story(tmp_path / str(number), uid(f"0{number}")).start()
        tell(make_observer(url), story.artifact(f"{number}.txt", b"%d" % number).complete())
        os.utime(tmp_path / "s" / str(number + 1), (1e9, 1e9))  # long ago, so that the index relies on it
    wanted = [mark(1, f"digest:{sha(b'2')}")]
    with open_store(url) as store, open_store(url) as theirs:
        asked = store.reader.used_files()
        assert asked.find(wanted) == [0]
        if other == "knows fewer runs":
            monkeypatch.setattr(theirs.reader, "_listed", lambda root: ["1", "2"])
            assert theirs.reader.used_files().find(wanted) == []
        else:
            database = sqlite3.connect(tmp_path / "s" / "_capture" / "index.sqlite")
            database.executescript("DELETE FROM used; DELETE FROM file_marks; DELETE FROM cleared")
            database.close()
        assert asked.find(wanted) == [0]
        assert [place for place, _ in asked.records([0])] == [0]


def test_sacreds_runs_are_found_by_their_copies(tmp_path):
    """They know no digests: those of copies with the size of the file in question are computed."""
    shutil.copytree(SACRED, tmp_path / "s")
    with open_store(tmp_path / "s") as store:
        (tmp_path / "same bytes").write_bytes(next(each for each in store.find() if each.resources).resources[0].read())
        names = [use.name for each in store.find() for use in uses_of(each)]
        labels = [str(each.label) for each in store.find()]
    assert_same_answers(f"{tmp_path}/s", [f"{tmp_path}/same bytes", *dict.fromkeys(names), *labels])


def test_only_the_runs_that_count_are_read(tmp_path):
    """That is what the index is for."""
    observer = make_observer(f"file://{tmp_path}/s")
    for number in range(10):
        story = Story(tmp_path / str(number), uid(f"0{number}")).start()
        tell(observer, story.artifact(f"{number}.txt", b"%d" % number).complete())
    with open_store(tmp_path / "s") as store:
        lineage = Lineage(store)
        assert [run.label for run in lineage.graph(sha(b"4")).runs] == ["5"]
        assert list(lineage.runs) == ["run:5"]


@pytest.mark.parametrize("seed", range(20))
def test_a_run_has_a_mark_of_all_that_it_can_be_asked_for(seed, tmp_path):
    """What is looked up is made of the same uses by other functions: these must not part."""
    record = told(Maker(None, tmp_path, seed).story())
    marks = marks_of(record).marks
    for use in uses_of(record):
        kind = {"read": 0, "wrote": 1, "ran": 2}[use.role]
        assert marks & content_marks(kind, use.key)
        assert name_mark(use.name) in marks
        if use.key.startswith("digest:") and set(use.key[7:13]) <= set("0123456789abcdef"):
            least, most = beginning_marks(use.key[7:])
            assert least <= mark(kind, use.key) <= most


TEXTS = (sha(b"one"), sha(b"two"), sha(b""), "abcdef12", "ABCDEF", "", "b.csv", "/a/b.csv", "c:\\d", "\udcff", "{Tiny")
SIZES = (None, 0, 3, LARGE + 1, 5 << 40)
ODD = (*TEXTS, *SIZES, True, 1.5, (), [], {}, b"bytes", {1: 2}, {"py/tuple": [1]}, {"path": "/x"}, ["/x"])


def some_lineage(random):
    """Return facts about files: of every second run as they mostly are, else with something odd in them."""

    def entry(values):
        found = {"path": random.choice(TEXTS[4:])}
        found.update((key, random.choice(TEXTS)) for key in ("name", "digest") if random.randrange(3))
        found.update((key, random.choice(SIZES)) for key in ("size",) if random.randrange(3))
        found.update((key, random.choice(values)) for key in ("real", "sampled", "url") if not random.randrange(6))
        return found

    lineage = {
        name: [entry(TEXTS) for _ in range(random.randrange(3))]
        for name in ("inputs", "outputs", "nearby", "intermediates", "urls")
        if random.randrange(5) and (name != "urls" or not random.randrange(4))
    }
    if random.randrange(2) or not lineage:
        return lineage
    odd = random.choice(list(lineage))
    strange = {**entry(ODD), random.choice(["path", "name", "digest", "size", "manifest"]): random.choice(ODD)}
    lineage[odd] = random.choice(([strange], [strange], [*lineage[odd], random.choice(ODD)], random.choice(ODD)))
    return random.choice((lineage, lineage, lineage, {**lineage, 1: 2}, random.choice(ODD)))


@pytest.mark.parametrize("seed", range(5))
def test_what_is_looked_up_in_stored_facts_is_what_their_record_is_marked_with(seed):
    """Facts are looked into as they are stored, most of them without being decoded: another way to the same marks."""
    choices, found, marked = random.Random(seed), MarkedFiles(lambda places: iter(())), []
    for number in range(200):
        record, files = RunRecord(label=number), []
        lineage = some_lineage(choices)
        record.facts = {"lineage": decode(encode(lineage))}
        for kind, name in (("sources", "a.py"), ("sources", ".capture/c"), ("resources", "/b"), ("artifacts", "d")):
            if not choices.randrange(4):
                digest = choices.choice((sha(b""), sha(b"one"), sha(b"two"), None)) if number % 3 else sha(b"three")
                files.append((kind, StoredFile(name, digest, choices.choice(SIZES))))
                getattr(record, "kept" if name == ".capture/c" else kind).append(files[-1][1])
        found.add(str(number), None if lineage is None else encode(lineage), files)
        marked.append(marks_of(record).marks)
    known, places = set(found.always()), set()
    for number, marks in enumerate(marked):
        for each in () if number in known else marks:
            assert number in found.find([each])
            assert each & 15 not in (0, 1, 2) or number in found.between(each, each)
            places.add(number)
    assert len(places) > 150


@pytest.mark.parametrize("kind", each_kind(*KINDS[1:]))
def test_a_size_beyond_32_bits_is_one_in_every_store(kind, tmp_path, request):
    """MongoDB's driver gives these numbers a type of its own: a large file without a digest was one of no known size."""
    url = url_of(kind, tmp_path, request)
    story = Story(tmp_path / "told", uid("01")).start()
    entry = {"path": "/data/large", "size": 5 << 40, "digest": None}
    story.add(events.Facts(topic="lineage", facts={"inputs": [entry]}))
    tell(make_observer(url), story.complete())
    with open_store(url) as store:
        (use,) = uses_of(store.reader.get("1"))
        assert (use.size, use.key) == (5 << 40, f"path:/data/large:{5 << 40}")


def test_of_larger_files_than_a_sample_it_is_known_how_they_were_hashed():
    """The digest of a file on the disk is looked for by the way in which runs made it."""
    assert LARGE <= SAMPLE_BYTES
