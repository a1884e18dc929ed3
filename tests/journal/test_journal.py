"""The journal: what is written, when, and what is read back."""

from __future__ import annotations

import errno
import logging
import os
import stat
import subprocess
import sys
import threading
from collections import deque

import pytest

from capture import events, journal
from capture.journal import (
    Journal,
    iter_lines,
    list_journals,
    opened_of,
    read_journal,
    state_dir,
)
from capture.liveness import probe
from capture.testing import FakeClock
from tests.journal.making import UID, completed, journal_in, metrics_body, opened, started


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def log(tmp_path, clock):
    made = journal_in(str(tmp_path), now=clock.time, monotonic=clock.monotonic)
    yield made
    made.close()


def written(made):
    """Return the events that are in the file."""
    return list(read_journal(made.path))


# ------------------------------------------------------------------------------------------------- what is stored


def test_events_come_back_as_they_were_appended(log):
    """The journal is the run; a value that changed on the way would be wrong in every store."""
    first = log.append(started(lr=0.1, layers=(64, 32), text="Zoë ☃ \n"))
    second = log.append(events.Output(text="hello\n", offset=0))
    log.append_body("metrics", metrics_body(0.5, "nan"))
    log.flush()
    back = written(log)
    assert [event.seq for event in back] == [1, 2, 3, 4]
    assert back[1] == first
    assert back[2] == second
    assert back[3].columns["loss"]["values"] == [0.5, "nan"]
    assert back[0] == opened().at(1, back[0].time)


def test_name_and_place_are_known_without_parsing_an_event(log):
    """A lane passes a batch of a million numbers on without looking into it."""
    log.append_body("metrics", metrics_body(*range(1000)))
    log.flush()
    lines = list(iter_lines(log.path))
    assert [(line.seq, line.kind) for line in lines] == [(1, "opened"), (2, "metrics")]
    assert lines[1].data.startswith(b'{"e":"metrics","s":2,"t":')
    assert lines[-1].end == os.path.getsize(log.path)
    assert [line.seq for line in iter_lines(log.path, lines[0].end)] == [2]


def test_an_event_of_a_later_version_is_kept_and_passed_on(log):
    """An old reader in front of a new journal must not lose what it does not understand."""
    payload = {"e": "weather/2", "s": 9, "t": 1.0, "sky": "blue", "nested": {"py/tuple": [1, 2]}}
    log.append(events.Unknown(kind="weather/2", payload=payload))
    log.flush()
    back = written(log)[-1]
    assert isinstance(back, events.Unknown)
    assert back.payload == {**payload, "s": 2, "t": back.time}


def test_text_that_is_not_unicode_does_not_stop_the_journal(log):
    """A lone surrogate in a file's name is legal on Linux, and nothing that UTF-8 can hold."""
    log.append(events.Resource(filename="/tmp/\udcff", digest="0" * 64, size=0))
    log.append_body("facts", '"topic":"t","facts":"\ud800"')
    log.flush()
    assert written(log)[1].filename == "/tmp/\udcff"
    assert len(written(log)) == 3


def test_the_journal_is_for_its_owner_only(log):
    """It holds configuration and output, on machines that people share."""
    assert stat.S_IMODE(os.stat(log.path).st_mode) == 0o600


def test_a_writer_has_one_journal(log, tmp_path):
    """Two processes that append under one name would give two events the same place."""
    with pytest.raises(FileExistsError):
        journal_in(str(tmp_path))


def test_a_writer_cannot_be_named_out_of_the_folder(tmp_path):
    """The name becomes part of a path."""
    with pytest.raises(ValueError, match="writer"):
        Journal.create(str(tmp_path), opened(writer="../x"))


def test_threads_that_append_together_give_each_event_a_place_of_its_own(log):
    """Metrics come from any thread; a place that is given twice loses an event in every store."""

    def work(number):
        for index in range(200):
            log.append_body("facts", f'"topic":"{number}","facts":{index}')

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.flush()
    back = written(log)
    assert [event.seq for event in back] == list(range(1, 1602))
    for number in range(8):
        assert [e.facts for e in back[1:] if e.topic == str(number)] == list(range(200)), "a thread's own order"


def test_an_append_inside_an_append_follows_it(log, monkeypatch):
    """A signal handler may log while the interrupted code holds the journal's lock."""
    real, nested = journal.crc32, []

    def crc32(*arguments):
        if not nested:
            nested.append(log.append(events.Facts(topic="signal", facts=15)))
        return real(*arguments)

    monkeypatch.setattr(journal, "crc32", crc32)
    log.append(events.Facts(topic="interrupted", facts=1))
    log.flush()
    assert nested[0].seq == 0, "its place is not known yet when the inner call returns"
    assert [event.topic for event in written(log)[1:]] == ["interrupted", "signal"]


# ------------------------------------------------------------------------------------------------- when it is written


def test_a_single_event_is_written_at_once(log, clock):
    """Whoever logs once a second loses nothing when the process dies."""
    clock.advance(1)
    log.append(events.Facts(topic="a", facts=1))
    assert len(written(log)) == 2


def test_a_burst_is_written_together(log, clock):
    """A write per number in a tight loop costs more than the number."""
    clock.advance(1)
    for index in range(10):
        log.append(events.Facts(topic="a", facts=index))
    assert len(written(log)) == 2
    log.tick()
    assert len(written(log)) == 11


def test_a_burst_does_not_wait_once_it_is_big(log):
    """Memory stays small between two ticks, whatever a run logs."""
    for _ in range(3):
        log.append_body("output", f'"offset":0,"text":"{"x" * 100_000}"')
    assert len(written(log)) == 4


def test_a_change_of_state_is_written_at_once_and_on_the_disk_at_the_next_tick(log, monkeypatch):
    """The start and the end of a run are what nobody wants to miss after a power cut."""
    synced = []
    monkeypatch.setattr(journal, "_datasync", synced.append)
    log.append(started())
    assert len(written(log)) == 2
    log.tick()
    log.tick()
    assert len(synced) == 1


def test_what_changed_is_on_the_disk_every_few_seconds(log, clock, monkeypatch):
    """After a power cut, at most the last five seconds are missing."""
    synced = []
    monkeypatch.setattr(journal, "_datasync", synced.append)
    for _ in range(110):
        clock.advance(0.1)
        log.append(events.Facts(topic="a", facts=1))
        log.tick()
    assert len(synced) == 2
    for _ in range(3):
        clock.advance(60)
        log.tick()
    assert len(synced) == 3, "nothing changed any more, so the disk may sleep"


# ------------------------------------------------------------------------------------------------- damage


def test_a_line_that_death_cut_short_is_not_there(log):
    """`kill -9` leaves half a line at most; it must not hide the whole ones before it."""
    log.append(started())
    log.flush()
    whole = written(log)
    with open(log.path, "ab") as file:
        file.write(b'00000000 {"e":"facts","s":3,"t":1.0,"topic":"a","fac')
    assert written(log) == whole


@pytest.mark.parametrize("damage", [b"garbage", b"zzzzzzzz {}", b'00000000 {"e":"facts","s":3,"t":1}', b""])
def test_a_damaged_line_in_the_middle_is_skipped_and_reported(log, damage, caplog):
    """One bad block of a disk must not cost the rest of the run, and must not pass in silence."""
    with open(log.path, "ab") as file:
        file.write(damage + b"\n")
    log.append(started())
    with caplog.at_level(logging.WARNING):
        assert [event.name for event in written(log)] == ["opened", "started"]
    assert "damaged" in caplog.text


def test_a_flipped_bit_is_noticed(log, caplog):
    """A number that changed on the disk is worse than one that is missing."""
    log.append(started(lr=0.125))
    log.append(completed())
    log.flush()
    with open(log.path, "rb") as file:
        data = file.read()
    with open(log.path, "wb") as file:
        file.write(data.replace(b"0.125", b"0.126"))
    assert [event.name for event in written(log)] == ["opened", "completed"]


def test_lines_that_were_written_twice_are_read_once(log):
    """A signal right behind a write makes the journal write the same lines again."""
    log.append(started())
    log.flush()
    with open(log.path, "rb") as file:
        data = file.read()
    with open(log.path, "ab") as file:
        file.write(data)
    assert [event.seq for event in written(log)] == [1, 2]


def test_a_journal_without_a_readable_beginning_belongs_to_nobody(tmp_path):
    """Delivery must not guess whose events these are."""
    path = tmp_path / "x.main.journal"
    path.write_bytes(b"\x00" * 100)
    assert opened_of(str(path)) is None


# ------------------------------------------------------------------------------------------------- a disk that refuses


@pytest.fixture
def full_disk(monkeypatch):
    """A disk that takes so many bytes; the test may change how many."""

    class Disk:
        free = 10**9

    def write(descriptor, data):
        if Disk.free <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = bytes(data[: Disk.free])
        Disk.free -= len(taken)
        return os.write(descriptor, taken)

    monkeypatch.setattr(journal, "_write", write)
    return Disk


def test_a_full_disk_does_not_stop_the_run_and_loses_nothing_when_there_is_room_again(log, clock, full_disk, caplog):
    """Days of training must not end because a colleague filled the disk."""
    log.append(started())
    size = os.path.getsize(log.path)
    full_disk.free = 30
    for index in range(20):
        clock.advance(1)
        log.append(events.Facts(topic="a", facts=index))
    assert log.failed.errno == errno.ENOSPC
    assert os.path.getsize(log.path) == size, "half a line was cut off again"
    assert [line.seq for line in log.unwritten(after=5)] == list(range(6, 23))
    assert caplog.text.count("cannot be written") == 1, "said once, not twenty times"
    full_disk.free = 10**9
    clock.advance(1)
    log.tick()
    assert log.failed is None
    assert log.unwritten(after=0) == []
    assert [event.seq for event in written(log)] == list(range(1, 23))


def test_a_disk_that_is_full_from_the_start_costs_only_durability(tmp_path, caplog):
    """The folder may vanish, too: the run is delivered from memory."""
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    made = Journal.create(str(blocked / "journals"), opened())
    assert made.append(started()).seq == 2
    made.tick()
    assert isinstance(made.failed, OSError)
    assert [line.kind for line in made.unwritten(after=0)] == ["opened", "started"]
    made.close()
    assert "cannot be written" in caplog.text


def test_trouble_that_another_thread_tells_first_stops_nobody(log, full_disk):
    """Main logs a number while the heartbeat's thread says that the disk is full: it failed with an IndexError."""

    class Told(deque):
        emptied = 0

        def __bool__(self):
            some = len(self) > 0
            self.clear()  # as another thread does between the look and the taking
            self.emptied += some
            return some

    log._reports = Told()
    full_disk.free = 0
    log.append(started())
    log.append(completed())
    assert log._reports.emptied == 1


def test_memory_is_bounded_while_the_disk_refuses(log, clock, full_disk, monkeypatch):
    """What all observers have goes first, then numbers and output; the facts of the run stay."""
    monkeypatch.setattr(journal, "MAX_KEPT", 10_000)
    full_disk.free = 0
    log.append(started())
    for index in range(100):
        clock.advance(2)
        log.append_body("metrics", metrics_body(*range(index, index + 20)))
    kinds = [line.kind for line in log.unwritten(after=0)]
    assert kinds[0] == "started"
    assert sum(len(line.data) for line in log.unwritten(after=0)) <= 10_500
    assert log.lost == 100 + 1 - len(kinds)


def test_what_every_observer_has_is_given_up_first(log, clock, full_disk, monkeypatch):
    """Nothing is lost by dropping it."""
    monkeypatch.setattr(journal, "MAX_KEPT", 10_000)
    full_disk.free = 0
    log.delivered = lambda: log.last_seq - 5
    for index in range(100):
        clock.advance(2)
        log.append(events.Facts(topic="a", facts="x" * 500))
    assert log.unwritten(after=log.last_seq - 5) != []
    assert len(log.unwritten(after=log.last_seq - 5)) == 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of a process are a matter of POSIX")
def test_a_real_limit_on_the_size_of_files_is_survived(tmp_path):
    """The kernel refuses in its own ways: short writes, a signal, EFBIG."""
    code = """
import resource, signal, sys
from capture import events
from capture.journal import read_journal
from tests.journal.making import journal_in, started, completed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = journal_in(sys.argv[1])
journal.append(started())
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
for index in range(500):
    journal.append(events.Facts(topic="a", facts="x" * 1000))
journal.flush()
assert journal.failed is not None and len(journal.unwritten(0)) > 300
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append(completed())
journal.flush()
assert journal.failed is None
assert [event.seq for event in read_journal(journal.path)] == list(range(1, 504))
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


# ------------------------------------------------------------------------------------------------- alive or dead


def test_a_reader_knows_whether_the_writer_lives(log):
    """A run that calls itself RUNNING is believed only while somebody holds its lock."""
    assert probe(log.path) == "alive"
    assert probe(log.path) == "alive", "looking does not change the answer"
    log.close()
    assert probe(log.path) == "dead"
    assert probe(log.path + "x") == "missing"


def test_the_lock_goes_with_the_process(tmp_path):
    """No farewell is needed: the kernel frees the lock at any death."""
    code = "import os, sys; from tests.journal.making import journal_in; journal_in(sys.argv[1]); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 9
    (path,) = list_journals(str(tmp_path))
    assert probe(path) == "dead"


def test_a_deleted_journal_is_never_seen_free(log):
    """Between unlocking and removing, another process would deliver everything a second time."""
    log.append(started())
    log.delete()
    assert probe(log.path) == "missing"
    assert log.append(completed()).seq == 0, "what comes after the end has no place"


# ------------------------------------------------------------------------------------------------- where it lies


def test_the_environment_says_where_journals_lie(tmp_path, monkeypatch):
    """On a cluster the home may be slow or small."""
    monkeypatch.setenv("CAPTURE_STATE_DIR", str(tmp_path / "here"))
    assert state_dir() == str(tmp_path / "here")
    assert (tmp_path / "here" / "journals").is_dir()


def test_journals_lie_in_the_state_folder_of_the_system(tmp_path, monkeypatch):
    """Where the user expects such files, and outside every project."""
    monkeypatch.delenv("CAPTURE_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert state_dir() == str(tmp_path / "state" / "capture")


@pytest.mark.parametrize("home", ["missing", "file/home"])
def test_without_a_home_journals_lie_beside_the_first_store(tmp_path, monkeypatch, home):
    """Accounts of services and containers have none; making one up would lose the journal with the container."""
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("CAPTURE_STATE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path / home))
    assert state_dir(str(tmp_path / "runs")) == str(tmp_path / "runs" / "_capture")


def test_a_place_that_cannot_be_written_is_left_for_the_store(tmp_path, monkeypatch):
    """A read-only home is common in batch jobs."""
    (tmp_path / "blocked").write_text("")
    monkeypatch.setenv("CAPTURE_STATE_DIR", str(tmp_path / "blocked" / "state"))
    assert state_dir(str(tmp_path / "runs")) == str(tmp_path / "runs" / "_capture")


def test_a_temporary_place_is_the_last_resort_and_is_reported(tmp_path, monkeypatch, caplog):
    """The run goes on; but its user should know that a reboot may take what was not delivered."""
    (tmp_path / "blocked").write_text("")
    monkeypatch.setenv("CAPTURE_STATE_DIR", str(tmp_path / "blocked" / "state"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = state_dir(str(tmp_path / "blocked"))
    assert path.startswith(str(tmp_path))
    assert "CAPTURE_STATE_DIR" in caplog.text


def test_state_is_private_at_home_and_shared_in_a_store(tmp_path, monkeypatch):
    """Spooled files are as readable as the folder lets them be; a store of a group needs room for each of its users."""
    old = os.umask(0o002)
    try:
        monkeypatch.setenv("CAPTURE_STATE_DIR", str(tmp_path / "state"))
        assert os.stat(state_dir()).st_mode & 0o777 == 0o700
        monkeypatch.delenv("CAPTURE_STATE_DIR")
        monkeypatch.setenv("HOME", str(tmp_path / "missing"))
        path = state_dir(str(tmp_path / "runs"))
        assert os.stat(os.path.join(path, "journals")).st_mode & 0o777 == 0o775
    finally:
        os.umask(old)


def test_a_log_that_ends_in_the_journal_does_not_stop_it(log, clock, full_disk):
    """With captured output, the warning about the full disk is itself recorded, by a thread that waits for the lock."""
    recorded = []

    class Captured(logging.Handler):
        def emit(self, record):
            thread = threading.Thread(target=lambda: recorded.append(log.append(events.Facts(topic="t", facts=1))))
            thread.start()
            thread.join(30)
            assert not thread.is_alive(), "the lock was held while the log was written"

    handler = Captured()
    logging.getLogger("capture.journal").addHandler(handler)
    try:
        full_disk.free = 0
        clock.advance(1)
        log.append(started())
    finally:
        logging.getLogger("capture.journal").removeHandler(handler)
    assert len(recorded) == 1


def test_journals_are_listed_oldest_first_and_the_main_writer_before_others(tmp_path):
    """They are delivered in this order, and a rank's numbers need the run that they belong to."""
    for uid, writer in (("02", "main"), ("01", "rank-1"), ("01", "main")):
        journal_in(str(tmp_path), opened(uid=uid, writer=writer)).close()
    names = [os.path.basename(path) for path in list_journals(str(tmp_path))]
    assert names == ["01.main.journal", "01.rank-1.journal", "02.main.journal"]
    assert list_journals(str(tmp_path / "nowhere")) == []


def test_uid_names_the_file(log):
    """People look for the journal of a run."""
    assert os.path.basename(log.path) == f"{UID}.main.journal"
