"""Digests of what a run reads and writes, beside it: right, in time, and never in the way."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from capture.probes.lineage import digest_cache, digesting
from capture.probes.lineage.digest_cache import DigestCache
from capture.probes.lineage.digesting import SMALL, Digester, file_digest, place_of, sample_ranges
from capture.unwatched import IDENTS

MANY = 10**12
BIG = 300_000  #: bytes of a file that is big enough to be remembered
OLD = 1_000_000_000  #: a time when no file of this test was changed


@pytest.fixture(autouse=True)
def remembering(monkeypatch):
    """Look up known digests from the first big file, lest each test writes megabytes."""
    monkeypatch.setattr(digesting, "WORTH_A_CACHE", 0)


def later():
    """Return the time at which files of this test are no longer young."""
    return time.time() + 100


def digester(state_dir=None, limit=MANY, budget=MANY, now=later):
    return Digester(None if state_dir is None else str(state_dir), limit, budget, now)


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def results_of(hashing, paths, wait_s=60):
    for path in paths:
        hashing.submit(path)
    hashing.finish(wait_s)
    return [hashing.result(path) for path in paths]


def digests_of(hashing, paths):
    return [result["digest"] for result in results_of(hashing, paths)]


def read_bytes(hashing):
    """Return how much was really read."""
    return hashing._work.spent


class Gate:
    """Makes the digester wait before it reads on in a big file, until the test lets it go."""

    def __init__(self, monkeypatch):
        self.reached, self.go = threading.Event(), threading.Event()
        read = digesting._Reading.read

        def wait_and_read(reading, buffer):
            self.reached.set()
            assert self.go.wait(60)
            return read(reading, buffer)

        monkeypatch.setattr(digesting._Reading, "read", wait_and_read)


@pytest.fixture
def gate(monkeypatch):
    gate = Gate(monkeypatch)
    yield gate
    gate.go.set()


@pytest.fixture
def alone(monkeypatch):
    """Leave the work to one thread, so that it is done in one order."""
    monkeypatch.setattr(digesting, "_step_back", lambda: False)


# -------------------------------------------------------------------------------------------------------------- digests


@pytest.mark.parametrize("size", [0, 1, SMALL - 1, SMALL, SMALL + 1, digesting.CHUNK, 2 * digesting.CHUNK + 7])
@pytest.mark.parametrize("hinted", [False, True])
def test_a_digest_is_the_sha256_of_the_file(tmp_path, size, hinted):
    """At each size at which another way of reading begins, and whether or not the caller knows the file's stat."""
    data = os.urandom(size)
    path = write(tmp_path / "data", data)
    hashing = digester()
    hashing.submit(path, os.stat(path) if hinted else None)
    assert hashing.finish(60)
    info = os.stat(path)
    assert hashing.result(path) == {
        "digest": sha256(data),
        "sampled": False,
        "size": size,
        "mtime": info.st_mtime,
        "stat": place_of(info),
        "why": None,
    }
    assert file_digest(path) == sha256(data)


def test_what_was_not_submitted_has_no_result(tmp_path):
    """None says "not known (yet)", and not "no digest", for which there is a reason."""
    hashing = digester()
    assert hashing.result("/nothing") is None
    assert hashing.finish(0)
    hashing.submit(write(tmp_path / "late", b""))
    assert hashing.result(str(tmp_path / "late")) is None


def test_a_file_that_is_submitted_again_is_hashed_again(tmp_path):
    """An output is written, read by somebody, and written anew: the record names what is there at the end."""
    path = write(tmp_path / "data", b"one")
    hashing = digester()
    hashing.submit(path)
    while hashing.result(path) is None:
        time.sleep(0.001)
    write(tmp_path / "data", b"two")
    assert digests_of(hashing, [path]) == [sha256(b"two")]


def test_a_stat_from_before_a_change_does_no_harm(tmp_path):
    """It is taken when a file is opened; the file is hashed later, when it may be longer, bigger, or a folder."""
    hashing = digester()
    before = {name: os.stat(write(tmp_path / name, b"x")) for name in ("longer", "big", "folder", "gone")}
    write(tmp_path / "longer", b"longer")
    write(tmp_path / "big", b"x" * BIG)
    os.unlink(tmp_path / "folder")
    os.unlink(tmp_path / "gone")
    os.mkdir(tmp_path / "folder")
    for name, info in before.items():
        hashing.submit(str(tmp_path / name), info)
    link = tmp_path / "link"
    link.symlink_to("longer")
    hashing.submit(str(link), os.lstat(link))
    hashing.finish(60)
    results = {name: hashing.result(str(tmp_path / name)) for name in (*before, "link")}
    assert results["longer"]["digest"] == results["link"]["digest"] == sha256(b"longer")
    assert results["big"]["digest"] == sha256(b"x" * BIG)
    assert (results["folder"]["digest"], results["gone"]["digest"]) == (None, None)
    assert "No such file" in results["gone"]["why"]


def test_what_cannot_be_hashed_says_why_and_holds_up_nothing(tmp_path):
    """A pipe without a writer would block for ever; a record that just lacks a digest would look like a fault of ours."""
    os.mkfifo(tmp_path / "pipe")
    fine = write(tmp_path / "fine", b"fine")
    paths = [str(tmp_path / "pipe"), str(tmp_path), str(tmp_path / "gone"), "/dev/zero", "nul\0byte", fine]
    *bad, good = results_of(digester(), paths)
    assert [result["digest"] for result in bad] == [None] * 5
    assert [result["why"] for result in bad[:2]] == ["not a regular file"] * 2
    assert "No such file" in bad[2]["why"]
    assert (bad[2]["size"], bad[2]["mtime"], bad[2]["stat"]) == (None, None, None)
    assert bad[3]["why"] == "not a regular file"
    assert "embedded null" in bad[4]["why"]
    assert good["digest"] == sha256(b"fine")


def test_a_pipe_gets_no_reader_from_us(tmp_path):
    """Who writes into a pipe that nobody reads waits; if hashing opened it, the writer would be killed by SIGPIPE."""
    os.mkfifo(tmp_path / "pipe")
    opened = []
    original = os.open

    def watched_open(path, *arguments, **keywords):
        opened.append(path)
        return original(path, *arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", watched_open)
        results_of(digester(), [str(tmp_path / "pipe")])
    assert opened == []


def test_an_unreadable_file_says_so(tmp_path, monkeypatch):
    """Files are often readable when they are opened, and not any more when they are hashed."""
    path = write(tmp_path / "secret", b"x")

    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(digesting.os, "open", refuse)
    [result] = results_of(digester(), [path])
    assert result["why"] == "it could not be read: Permission denied"


def test_a_fault_of_ours_costs_one_digest_and_is_logged(tmp_path, monkeypatch, caplog):
    """One odd file must not leave all others without digests, nor the end of the run waiting."""
    paths = [write(tmp_path / name, name.encode()) for name in ("odd", "fine")]
    original = digesting._Worker._digest_small

    def fail_at_odd(worker, path, info):
        if path.endswith("odd"):
            raise KeyError("a mistake")
        return original(worker, path, info)

    monkeypatch.setattr(digesting._Worker, "_digest_small", fail_at_odd)
    odd, fine = results_of(digester(), paths)
    assert odd["why"] == "KeyError: 'a mistake'"
    assert fine["digest"] == sha256(b"fine")
    assert "odd could not be hashed" in caplog.text


# -------------------------------------------------------------------------------------------------------------- changes


@pytest.mark.parametrize("times", [1, 2])
def test_a_file_that_changes_under_the_hasher_is_read_once_more(tmp_path, monkeypatch, times):
    """The bytes of two moments make a digest of a file that never was; better none."""
    path = write(tmp_path / "data", b"a" * BIG)
    read, changes = digesting._Reading.read, []

    def change_and_read(reading, buffer):
        if len(changes) < times:
            changes.append(1)
            count = read(reading, buffer)
            write(tmp_path / "data", b"b" * (BIG + len(changes)))
            return count
        return read(reading, buffer)

    monkeypatch.setattr(digesting._Reading, "read", change_and_read)
    [result] = results_of(digester(), [path])
    if times == 1:
        assert (result["digest"], result["why"]) == (sha256(b"b" * (BIG + 1)), None)
    else:
        assert (result["digest"], result["why"]) == (None, "it changed while it was read, 2 times")
    assert result["stat"] == place_of(os.stat(path))


def test_a_small_file_that_changes_under_the_hasher_is_read_once_more(tmp_path, monkeypatch):
    """The same for what is read in one go: its stat may be older than what is read."""
    path = write(tmp_path / "log", b"a")
    original, lengths = os.read, iter(range(2, 100))

    def read_and_grow(descriptor, count):
        data = original(descriptor, count)
        write(tmp_path / "log", b"a" * next(lengths))
        return data

    monkeypatch.setattr(digesting.os, "read", read_and_grow)
    [result] = results_of(digester(), [path])
    assert (result["digest"], result["why"]) == (None, "it changed while it was read, 2 times")


def test_a_file_that_shrinks_under_the_hasher_does_not_hang_it(tmp_path, monkeypatch):
    """The rest of what was to be read never comes."""
    path = write(tmp_path / "data", b"a" * BIG)
    read, seen = digesting._Reading.read, []

    def shrink_and_read(reading, buffer):
        if not seen:
            seen.append(os.truncate(path, SMALL))
        return read(reading, buffer)

    monkeypatch.setattr(digesting._Reading, "read", shrink_and_read)
    [result] = results_of(digester(), [path])
    assert result["digest"] == sha256(b"a" * SMALL)


# ------------------------------------------------------------------------------------------------------ limit and budget


def test_of_a_very_big_file_a_sample_is_hashed(tmp_path, monkeypatch):
    """Terabytes cannot be hashed beside a run; size and a sample tell most changes, and the record says what it is."""
    monkeypatch.setattr(digesting, "SAMPLE_BLOCK", 100)
    monkeypatch.setattr(digesting, "SAMPLE_BYTES", 6400)
    data = os.urandom(BIG)
    path = write(tmp_path / "data", data)
    [result] = results_of(digester(tmp_path, limit=BIG - 1), [path])
    offsets = [i * (BIG - 100) // 63 for i in range(64)]
    expected = sha256(b"capture-sample-1 300000\n" + b"".join(data[offset : offset + 100] for offset in offsets))
    assert (result["digest"], result["sampled"]) == (expected, True)
    assert result["why"] == "a sample: 6,400 of 300,000 bytes, for the file is larger than 299,999 bytes"
    assert digests_of(digester(tmp_path, limit=BIG), [path]) == [
        sha256(data)
    ]  # a sample is not remembered as the whole


def test_a_sample_holds_the_first_and_the_last_bytes():
    """Headers and footers are what changes when a format's library appends to a file."""
    size = 10**11 + 1
    ranges = sample_ranges(size)
    assert len(ranges) == 64
    assert ranges[0] == (0, 1 << 20)
    assert sum(ranges[-1]) == size
    assert all(start + length <= after for (start, length), (after, _) in itertools.pairwise(ranges))


def test_a_file_no_larger_than_its_sample_is_hashed_whole(tmp_path):
    """A sample of it would be no less to read, and say less."""
    data = os.urandom(BIG)
    [result] = results_of(digester(limit=1000), [write(tmp_path / "data", data)])
    assert (result["digest"], result["sampled"]) == (sha256(data), False)


def test_beyond_the_budget_there_are_no_digests(tmp_path):
    """A job that reads a petabyte must not read it twice."""
    paths = [write(tmp_path / str(size), b"x" * size) for size in (100, BIG, 2 * BIG)]
    small, big, bigger = results_of(digester(budget=2 * BIG), paths)
    assert (small["digest"], big["digest"]) == (sha256(b"x" * 100), sha256(b"x" * BIG))
    assert (bigger["digest"], bigger["size"]) == (None, 2 * BIG)
    assert bigger["why"] == "over the budget: 300,100 of the 600,000 bytes that are hashed for one run are used"
    [small] = results_of(digester(budget=99), paths[:1])
    assert "over the budget" in small["why"]


# ---------------------------------------------------------------------------------------------------------------- time


def test_when_time_is_up_the_rest_says_so(tmp_path, gate, alone):
    """A run may be held up by some seconds, and no more; size and time of the files are better than nothing."""
    small, one, two = write(tmp_path / "s", b"s"), write(tmp_path / "1", b"1" * BIG), write(tmp_path / "2", b"2" * BIG)
    hashing = digester()
    for path in (small, one):
        hashing.submit(path)
    assert gate.reached.wait(60)
    hashing.submit(two)
    assert not hashing.finish(0.01)
    results = [hashing.result(path) for path in (small, one, two)]
    assert results[0]["digest"] == sha256(b"s")
    assert {result["why"] for result in results[1:]} == {"no time left: 1 of 3 files hashed within 0.01 s"}
    assert [result["digest"] for result in results[1:]] == [None, None]
    gate.go.set()
    assert hashing._work.done.wait(60)
    assert hashing.result(one) == results[1]  # what comes too late changes nothing
    assert not hashing.finish(1)


def test_a_file_whose_new_content_is_not_reached_does_not_keep_the_old_digest(tmp_path, gate, alone):
    """A digest that is out of date is worse than none."""
    path, blocking = write(tmp_path / "out", b"old"), write(tmp_path / "big", b"x" * BIG)
    hashing = digester()
    hashing.submit(path)
    while hashing.result(path) is None:
        time.sleep(0.001)
    hashing.submit(blocking)
    assert gate.reached.wait(60)
    hashing.submit(path)
    assert not hashing.finish(0.01)
    assert hashing.result(path)["digest"] is None


def test_the_sizes_of_files_that_are_not_reached_are_known(tmp_path, monkeypatch):
    """By size and time somebody may still tell which of two files it was."""
    monkeypatch.setattr(digesting._Worker, "_take_waiting", lambda worker: time.sleep(0.001))
    paths = [write(tmp_path / "one", b"one"), str(tmp_path / "gone")]
    one, gone = results_of(digester(), paths, wait_s=0.01)
    assert (one["size"], one["mtime"]) == (3, os.stat(paths[0]).st_mtime)
    assert "No such file" in gone["why"]


def test_small_files_do_not_wait_for_big_ones(tmp_path, gate):
    """At the end there are seconds: the thousand small files are done in one, the big one perhaps in none."""
    big, small = write(tmp_path / "big", b"x" * (2 * digesting.CHUNK)), write(tmp_path / "small", b"s")
    hashing = digester()
    hashing.submit(big)
    assert gate.reached.wait(60)
    hashing.submit(small)
    gate.go.set()
    assert hashing.finish(60)
    done = list(hashing._work.results)
    assert done == [small, big]


def test_the_smaller_of_big_files_go_first(tmp_path, gate, alone):
    """So the most files have digests when time is up."""
    first = write(tmp_path / "first", b"x" * BIG)
    paths = [write(tmp_path / str(i), b"x" * (BIG + i)) for i in (3, 1, 2)]
    hashing = digester()
    hashing.submit(first)
    assert gate.reached.wait(60)
    for path in paths:
        hashing.submit(path)
    gate.go.set()
    assert hashing.finish(60)
    assert list(hashing._work.results) == [first, paths[1], paths[2], paths[0]]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority of their own")
def test_a_thread_that_stepped_back_is_relieved_at_the_end(tmp_path, monkeypatch, gate):
    """Beside main it takes what is left of the processor; when the run waits for it, that would be too little.

    The file that it is at is not begun anew: that may be seconds of work.
    """
    data = os.urandom(3 * digesting.CHUNK)
    big, other = write(tmp_path / "big", data), write(tmp_path / "other", data + b"x")
    priorities = []
    update = digesting._Reading.read

    def note_priority(reading, buffer):
        count = update(reading, buffer)
        priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return count

    monkeypatch.setattr(digesting._Reading, "read", note_priority)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    hashing = digester()
    hashing.submit(big)
    assert gate.reached.wait(60)
    hashing.submit(other)
    threading.Timer(0.2, gate.go.set).start()
    assert hashing.finish(60)
    assert [hashing.result(path)["digest"] for path in (big, other)] == [sha256(data), sha256(data + b"x")]
    assert set(priorities) == {digesting.NICE, before}
    assert read_bytes(hashing) == 6 * digesting.CHUNK + 1
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_without_a_thread_the_end_of_the_run_does_the_work(tmp_path, monkeypatch, caplog):
    """At the limit of threads, or when Python is going down already."""

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    caplog.set_level(logging.DEBUG, "capture")
    paths = [write(tmp_path / "small", b"s"), write(tmp_path / "big", b"x" * BIG)]
    assert digests_of(digester(), paths) == [sha256(b"s"), sha256(b"x" * BIG)]
    assert "at the end of the run" in caplog.text
    assert "no time left: 0 of 2" in results_of(digester(), paths, wait_s=-1)[0]["why"]


def test_the_thread_is_not_watched_by_lineage(tmp_path, monkeypatch):
    """Or each file that is hashed would be read once more, by the run, and hashed again."""
    seen = []
    original = os.open

    def note(path, *arguments, **keywords):
        if str(path).startswith(str(tmp_path)):
            seen.append(threading.get_ident() in IDENTS)
        return original(path, *arguments, **keywords)

    monkeypatch.setattr(os, "open", note)
    before = set(IDENTS)
    results_of(digester(tmp_path), [write(tmp_path / "small", b"s"), write(tmp_path / "big", b"x" * BIG)])
    assert seen
    assert all(seen)
    assert before >= IDENTS


def test_submitting_in_a_signal_handler_does_not_hang(tmp_path):
    """Handlers of signals save checkpoints; they come between any two steps of what the main thread does."""
    paths = [write(tmp_path / str(number), b"%d" % number) for number in range(200)]
    hashing = digester()
    handled = []

    def handler(*_):
        handled.append(len(handled) % len(paths))
        hashing.submit(paths[handled[-1]])

    previous = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        begun = time.monotonic()
        while (lasted := time.monotonic() - begun) < 0.5 or (len(handled) <= 10 and lasted < 60):
            for path in paths:
                hashing.submit(path)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert len(handled) > 10
    assert hashing.finish(60)
    assert [hashing.result(path)["digest"] for path in paths] == [sha256(b"%d" % n) for n in range(200)]


def test_many_threads_may_submit(tmp_path):
    """Data loaders open files in threads of their own."""
    paths = [write(tmp_path / str(number), b"%d" % number) for number in range(400)]
    hashing = digester()
    threads = [
        threading.Thread(target=lambda part=part: [hashing.submit(path) for path in paths[part::8]])
        for part in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hashing.finish(60)
    assert [hashing.result(path)["digest"] for path in paths] == [sha256(b"%d" % n) for n in range(400)]


# --------------------------------------------------------------------------------------------------------------- forks


def in_child(do):
    """Fork, and return what `do` writes in the child; fail if the child does not end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            os.write(writing, repr(do()).encode())
        except BaseException as error:  # the child of a test must not go on with the other tests
            os.write(writing, f"failed: {error!r}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        text = file.read().decode()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child hung, or died of signal {status}"
    return text


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_forked_in_mid_work_hangs_on_nothing(tmp_path, gate):
    """A data loader is forked while the data are hashed; in it there is no thread to wait for."""
    small, big, new = (
        write(tmp_path / "small", b"s"),
        write(tmp_path / "big", b"x" * BIG),
        write(tmp_path / "new", b"n"),
    )
    hashing = digester(tmp_path)
    hashing.submit(small)
    hashing.submit(big)
    assert gate.reached.wait(60)

    def idle():
        return hashing.finish(10), hashing.result(small)["digest"] == sha256(b"s"), hashing.result(big)

    def busy():
        gate.go.set()
        hashing.submit(new)
        hashing.submit(big)
        return hashing.finish(10), [hashing.result(path)["digest"] for path in (new, big)]

    assert in_child(idle) == "(True, True, None)"
    assert in_child(busy) == repr((True, [sha256(b"n"), sha256(b"x" * BIG)]))
    gate.go.set()
    assert hashing.finish(60)
    assert hashing.result(big)["digest"] == sha256(b"x" * BIG)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_children_forked_at_any_moment_can_use_sqlite(tmp_path):
    """If a fork came while our thread is within SQLite, its locks would be held in the child for ever."""
    paths = []
    for number in range(300):
        paths.append(write(tmp_path / str(number), os.urandom(BIG)))
        os.utime(paths[-1], (OLD, OLD))
    stop = threading.Event()

    def hash_on():
        while not stop.is_set():
            digests_of(digester(tmp_path), paths)
            os.unlink(tmp_path / digest_cache.FILE_NAME)

    thread = threading.Thread(target=hash_on)
    thread.start()
    try:
        for number in range(40):
            other = str(tmp_path / "other.sqlite")
            assert in_child(lambda: sqlite3.connect(other).execute("SELECT 1").fetchone()) == "(1,)"
            child = in_child(lambda: digests_of(digester(tmp_path), paths[:1]) == [file_digest(paths[0])])
            assert child == "True"
    finally:
        stop.set()
        thread.join()


# --------------------------------------------------------------------------------------------------------------- cache


def old_file(path, data):
    write(path, data)
    os.utime(path, (OLD, OLD))
    return str(path)


def test_a_big_file_is_not_hashed_again_by_the_next_run(tmp_path):
    """The same 100 GB of training data are read by every run of a project."""
    state = tmp_path / "state"
    state.mkdir()
    paths = [old_file(tmp_path / "data" / str(number), os.urandom(BIG)) for number in range(20)]
    first = digester(state)
    digests = digests_of(first, paths)
    second = digester(state)
    assert results_of(second, paths) == [first.result(path) for path in paths]
    assert digests == [file_digest(path) for path in paths]
    assert (read_bytes(first), read_bytes(second)) == (20 * BIG, 0)
    assert os.stat(state / digest_cache.FILE_NAME).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("change", ["content", "replaced", "touched", "moved"])
def test_a_file_that_is_not_quite_the_same_is_hashed_again(tmp_path, change):
    """Times can be set back; the inode and the time of the change of the inode cannot."""
    path = old_file(tmp_path / "data", b"a" * BIG)
    assert digests_of(digester(tmp_path), [path]) == [sha256(b"a" * BIG)]
    time.sleep(0.02)
    content = b"a" * BIG
    if change == "content":
        content = b"b" * BIG
        old_file(tmp_path / "data", content)
    elif change == "replaced":
        content = b"b" * BIG
        os.replace(old_file(tmp_path / "new", content), path)
    elif change == "touched":
        os.utime(path)
    else:
        os.rename(path, tmp_path / "other")
        path = str(tmp_path / "other")
    again = digester(tmp_path)
    assert digests_of(again, [path]) == [sha256(content)]
    assert read_bytes(again) == BIG


def test_the_digest_of_a_young_file_is_not_remembered(tmp_path):
    """Within the clock's grain it may change once more and look the same: git's "racy" files."""
    path = write(tmp_path / "data", b"a" * BIG)
    assert digests_of(digester(tmp_path, now=time.time), [path]) == [sha256(b"a" * BIG)]
    again = digester(tmp_path)
    digests_of(again, [path])
    assert read_bytes(again) == BIG
    third = digester(tmp_path)
    digests_of(third, [path])
    assert read_bytes(third) == 0


def test_small_files_do_without_sqlite(tmp_path):
    """It takes 3 ms to import, in which hashing reads megabytes; a hello-world must not pay that."""
    code = """if True:
        import sys
        from capture.probes.lineage.digesting import Digester
        hashing = Digester(sys.argv[1], 10**10, 10**10)
        for path in sys.argv[2:]:
            hashing.submit(path)
        assert hashing.finish(60) and all(hashing.result(path)["digest"] for path in sys.argv[2:])
        print([name for name in ("sqlite3", "hashlib", "logging", "subprocess", "re") if name in sys.modules])
    """
    paths = [write(tmp_path / "small", b"s" * 1000), write(tmp_path / "rather big", b"s" * BIG)]
    # isolated, and without the site's own imports, which may bring any of these
    path = "import sys; sys.path[:0] = " + repr([entry for entry in sys.path if entry]) + "; "
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            path + code.replace("if True:", "exec('''if True:", 1) + "''')",
            str(tmp_path),
            *paths,
        ],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    "damage", [b"this is no database, whatever it is called" * 100, b"", b"SQLite format 3\0" + b"\xff" * 8192]
)
def test_a_damaged_cache_is_no_error_and_is_made_anew(tmp_path, damage):
    """A full disk or a power cut leaves such things behind; the run that finds them did nothing wrong."""
    path = old_file(tmp_path / "data", b"a" * BIG)
    write(tmp_path / digest_cache.FILE_NAME, damage)
    for _ in range(2):
        assert digests_of(digester(tmp_path), [path]) == [sha256(b"a" * BIG)]
    third = digester(tmp_path)
    assert digests_of(third, [path]) == [sha256(b"a" * BIG)]
    assert read_bytes(third) == 0


def test_bytes_that_flip_in_the_cache_never_make_a_wrong_digest(tmp_path):
    """A row is sealed: a digest that is not what was written is not used."""
    paths = [old_file(tmp_path / str(number), b"%d" % number * BIG) for number in range(10)]
    right = digests_of(digester(tmp_path), paths)
    file = tmp_path / digest_cache.FILE_NAME
    data = file.read_bytes()
    flipped = data
    for digest in right:
        wrong = digest[:-1] + ("0" if digest[-1] != "0" else "1")
        flipped = flipped.replace(digest.encode(), wrong.encode())
    assert flipped != data
    file.write_bytes(flipped)
    again = digester(tmp_path)
    assert digests_of(again, paths) == right
    assert read_bytes(again) > 0


def test_a_locked_cache_is_done_without(tmp_path, caplog, monkeypatch):
    """Somebody looks into it with a tool that keeps it locked; runs must go on."""
    caplog.set_level(logging.DEBUG, "capture")
    monkeypatch.setattr(digest_cache, "LOCK_WAIT_S", 0.01)
    path = old_file(tmp_path / "data", b"a" * BIG)
    digests_of(digester(tmp_path), [path])
    holder = sqlite3.connect(tmp_path / digest_cache.FILE_NAME, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        assert digests_of(digester(tmp_path), [path]) == [sha256(b"a" * BIG)]
    finally:
        holder.close()
    assert "locked" in caplog.text
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]
    again = digester(tmp_path)
    digests_of(again, [path])
    assert read_bytes(again) == 0


@pytest.mark.parametrize("obstacle", ["no folder", "a folder in its place", "no sqlite3"])
def test_where_nothing_can_be_remembered_everything_is_hashed(tmp_path, monkeypatch, obstacle):
    """Read-only homes, and Pythons that were built without SQLite."""
    state = tmp_path / "state"
    if obstacle == "a folder in its place":
        (state / digest_cache.FILE_NAME).mkdir(parents=True)
    if obstacle == "no sqlite3":
        state.mkdir()
        monkeypatch.setitem(sys.modules, "sqlite3", None)
    path = old_file(tmp_path / "data", b"a" * BIG)
    for _ in range(2):
        assert digests_of(digester(state), [path]) == [sha256(b"a" * BIG)]


def test_odd_names_are_remembered_too(tmp_path):
    """Names are bytes that need not be text."""
    path = old_file(tmp_path / os.fsdecode(b"od\xff d\n'\"%?"), b"a" * BIG)
    digests_of(digester(tmp_path), [path])
    again = digester(tmp_path)
    assert digests_of(again, [path]) == [sha256(b"a" * BIG)]
    assert read_bytes(again) == 0


def test_the_cache_stays_small_and_keeps_what_is_used(tmp_path, monkeypatch):
    """It outlives every run of every project; nobody would think of emptying it."""
    monkeypatch.setattr(digest_cache, "MAX_BYTES", 200_000)
    clock = [1e9]
    cache = DigestCache(str(tmp_path), lambda: clock[0])
    place = (1, 2**64 - 1, 3, 4, 5)
    for day in range(40):
        clock[0] += 100_000
        cache.find({"/used": place})
        cache.add("/used" if day == 0 else f"/once/{day}", place, "d" * 64)
        for number in range(50):
            cache.add(f"/{day}/{number}", place, "d" * 64)
        cache.save()
    assert cache.unsaved == 0
    assert os.path.getsize(cache.path) < 400_000
    assert cache.find({"/used": place, "/39/49": place, "/1/1": place, "/39/48": (1, 2, 3, 4, 5)}) == {
        "/used": "d" * 64,
        "/39/49": "d" * 64,
    }


@pytest.mark.slow
def test_eight_processes_share_the_cache(tmp_path):
    """Jobs of an array start in the same second, read the same data, and remember them in the same file."""
    paths = [old_file(tmp_path / "data" / str(number), b"%d" % number * BIG) for number in range(100)]
    state = tmp_path / "state"
    state.mkdir()
    code = """if True:
        import sys, time
        from capture.probes.lineage import digesting
        digesting.WORTH_A_CACHE = 0
        digesting.SAVE_S = 0
        for _ in range(5):
            hashing = digesting.Digester(sys.argv[1], 10**12, 10**12, lambda: time.time() + 100)
            for path in sys.argv[2:]:
                hashing.submit(path)
            assert hashing.finish(60)
        print(*(hashing.result(path)["digest"] for path in sys.argv[2:]))
    """
    command = [sys.executable, "-c", code, str(state), *paths]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    children = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(8)
    ]
    expected = " ".join(file_digest(path) for path in paths) + "\n"
    assert [child.communicate(timeout=600) for child in children] == [(expected, "")] * 8
    last = digester(state)
    digests_of(last, paths)
    assert read_bytes(last) == 0


# ----------------------------------------------------------------------------------------------------------------- many


@pytest.mark.slow
def test_twenty_thousand_files(tmp_path):
    """A data set of images: all of them, each once, and the thread takes no more memory than results need."""
    paths = [write(tmp_path / str(number % 100) / str(number), b"%d" % number) for number in range(20_000)]
    hashing = digester(tmp_path)
    assert digests_of(hashing, paths) == [sha256(b"%d" % number) for number in range(20_000)]
    assert read_bytes(hashing) == sum(len(str(number)) for number in range(20_000))
