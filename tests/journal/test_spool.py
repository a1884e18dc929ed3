"""The spool: bytes as they were when they were recorded."""

from __future__ import annotations

import hashlib
import os
import time

import pytest

from capture import spool as spools
from capture.errors import RecordError, SpoolError
from capture.spool import MIN_KNOWN, Spool


@pytest.fixture
def spool(tmp_path):
    return Spool(str(tmp_path / "spool"))


def sha(data):
    return hashlib.sha256(data).hexdigest()


def files_in(folder):
    return sorted(os.path.join(root, name) for root, _, names in os.walk(folder) for name in names)


def old_file(path, data):
    """Write a file that was last changed a minute ago, as far as its times tell."""
    path.write_bytes(data)
    os.utime(path, (time.time() - 60, time.time() - 60))
    return str(path)


@pytest.mark.parametrize("size", [0, 1, 100_000, 4 * 2**20, 4 * 2**20 + 1, 9 * 2**20 + 17])
def test_bytes_come_back_whatever_their_number(spool, tmp_path, size):
    """Small files are read at once, big ones in pieces by two threads."""
    data = os.urandom(size)
    (tmp_path / "a").write_bytes(data)
    taken = spool.take(tmp_path / "a")
    assert (taken.digest, taken.size) == (sha(data), size)
    assert taken.md5 == (hashlib.md5(data).hexdigest() if size <= 4 * 2**20 else "")
    with spool.open(taken.digest) as stream:
        assert stream.read() == data
    assert spool.take_bytes(data) == taken


def test_what_was_recorded_stays_when_the_file_changes(spool, tmp_path):
    """What is stored is what the user had at that moment, not what a store finds an hour later."""
    path = tmp_path / "model"
    path.write_bytes(b"epoch 1")
    first = spool.take(path)
    path.write_bytes(b"epoch 2, longer")
    second = spool.take(path)
    path.unlink()
    assert [spool.open(taken.digest).read() for taken in (first, second)] == [b"epoch 1", b"epoch 2, longer"]


def test_equal_bytes_are_kept_once(spool, tmp_path):
    """A checkpoint that is recorded under ten names costs the disk one."""
    for name in "abc":
        (tmp_path / name).write_bytes(b"same")
        spool.take(tmp_path / name)
    assert len(files_in(spool.directory)) == 1


@pytest.mark.parametrize("make", [os.mkdir, getattr(os, "mkfifo", os.mkdir)])
def test_only_regular_files_have_bytes_to_record(spool, tmp_path, make):
    """A pipe would be read for ever, a directory has no bytes."""
    make(tmp_path / "odd")
    with pytest.raises(OSError, match="regular files"):
        spool.take(tmp_path / "odd")


def test_a_missing_file_is_the_usual_error(spool, tmp_path):
    """The run reports it as Python would."""
    with pytest.raises(FileNotFoundError):
        spool.take(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        spool.open("0" * 64)


def test_a_failed_copy_leaves_nothing_behind(spool, tmp_path, monkeypatch):
    """A full disk should not be filled with halves of files."""

    def write(descriptor, data):
        raise OSError(28, "No space left on device")

    (tmp_path / "a").write_bytes(b"x" * 100)
    monkeypatch.setattr(spools, "_write_all", write)
    with pytest.raises(OSError, match="No space"):
        spool.take(tmp_path / "a")
    assert files_in(spool.directory) == []


# -------------------------------------------------- files that change meanwhile


def changing(monkeypatch, path, times):
    """Have the file grow while it is copied, so many times."""
    real = Spool._read_small
    left = [times]

    def read(self, source):
        taken, keep = real(self, source)
        if left[0]:
            left[0] -= 1
            with open(path, "ab") as file:
                file.write(b"+")
        return taken, keep

    monkeypatch.setattr(Spool, "_read_small", read)


def test_a_file_that_changes_while_it_is_read_is_read_again(spool, tmp_path, monkeypatch):
    """Otherwise a mixture of two versions would be stored, which never existed."""
    path = tmp_path / "a"
    path.write_bytes(b"start")
    changing(monkeypatch, path, 1)
    taken = spool.take(path)
    assert spool.open(taken.digest).read() == b"start+"
    assert len(files_in(spool.directory)) == 1, "of the first reading nothing is left"


def test_a_file_that_never_rests_is_recorded_with_a_warning(spool, tmp_path, monkeypatch, caplog):
    """A log that is written all the time must not hold the run up for ever."""
    path = tmp_path / "a"
    path.write_bytes(b"start")
    changing(monkeypatch, path, 100)
    taken = spool.take(path)
    assert spool.open(taken.digest).read() == b"start++"
    assert "changed while it was read" in caplog.text


# -------------------------------------------------- not reading a second time


@pytest.fixture
def copies(monkeypatch):
    """Count how often a file is read."""
    real, made = Spool._take, []

    def take(self, path, source, before):
        made.append(path)
        return real(self, path, source, before)

    monkeypatch.setattr(Spool, "_take", take)
    return made


def settled(directory):
    """Return a spool of whose clock all files were changed long ago."""
    return Spool(str(directory), now=lambda: time.time() + 60)


def test_a_big_file_that_did_not_change_is_not_read_again(tmp_path, copies):
    """A data set of 500 MB is recorded by each of a hundred runs."""
    path = old_file(tmp_path / "data", b"x" * MIN_KNOWN)
    first = settled(tmp_path / "spool").take(path)
    again = settled(tmp_path / "spool").take(path)
    assert again == first
    assert len(copies) == 1


def test_a_store_that_links_keeps_a_big_file_known_after_the_run(tmp_path, copies):
    """The second run finds the bytes in the store, by their common name."""
    path = old_file(tmp_path / "data", b"x" * MIN_KNOWN)
    spool = settled(tmp_path / "spool")
    taken = spool.take(path)
    os.link(spool.path(taken.digest), tmp_path / "stored")
    spool.remove()
    second = settled(tmp_path / "spool")
    assert second.take(path) == taken
    assert second.open(taken.digest).read() == b"x" * MIN_KNOWN
    assert len(copies) == 1


def test_bytes_that_are_gone_are_read_again(tmp_path, copies):
    """Knowing a digest is worth nothing without the bytes."""
    path = old_file(tmp_path / "data", b"x" * MIN_KNOWN)
    spool = settled(tmp_path / "spool")
    taken = spool.take(path)
    spool.remove()
    second = settled(tmp_path / "spool")
    assert second.take(path) == taken
    assert second.open(taken.digest).read() == b"x" * MIN_KNOWN
    assert len(copies) == 2


def test_a_changed_file_is_read_again(tmp_path, copies):
    """Size, times or inode tell."""
    path = old_file(tmp_path / "data", b"x" * MIN_KNOWN)
    settled(tmp_path / "spool").take(path)
    old_file(tmp_path / "data", b"y" * MIN_KNOWN)
    assert settled(tmp_path / "spool").take(path).digest == sha(b"y" * MIN_KNOWN)
    assert len(copies) == 2


def test_a_file_that_was_just_written_is_not_trusted_to_rest(tmp_path, copies):
    """Within the grain of its times it may change without a trace (git calls such files racy)."""
    (tmp_path / "data").write_bytes(b"x" * MIN_KNOWN)
    for _ in range(2):
        Spool(str(tmp_path / "spool")).take(tmp_path / "data")
    assert len(copies) == 2


def test_a_torn_list_of_known_files_is_only_slower(tmp_path, copies):
    """It is a cache: whatever is in it, the bytes are right."""
    path = old_file(tmp_path / "data", b"x" * MIN_KNOWN)
    settled(tmp_path / "spool").take(path)
    (tmp_path / "spool" / "known").write_bytes(b'["/a", [1,\nnull\n{}\n[1]\n\xff')
    assert settled(tmp_path / "spool").take(path).digest == sha(b"x" * MIN_KNOWN)


def test_the_list_of_known_files_does_not_grow_for_ever(tmp_path, monkeypatch):
    """A store lives for years."""
    monkeypatch.setattr(spools, "MAX_KNOWN_FILE", 2_000)
    monkeypatch.setattr(spools, "MIN_KNOWN", 10)
    for index in range(200):
        path = old_file(tmp_path / "data", b"%20d" % index)
        settled(tmp_path / "spool").take(path)
    assert os.path.getsize(tmp_path / "spool" / "known") < 4_000


# -------------------------------------------------- several runs, one spool


def test_a_run_that_ends_does_not_take_away_what_another_needs(tmp_path):
    """Runs that start together record the same sources."""
    one, two = Spool(str(tmp_path / "spool")), Spool(str(tmp_path / "spool"))
    digest = one.take_bytes(b"shared").digest
    assert two.take_bytes(b"shared").digest == digest
    one.remove()
    assert two.open(digest).read() == b"shared"
    two.remove()
    assert not os.path.exists(tmp_path / "spool")


def test_a_later_process_finds_and_releases_what_a_dead_one_held(tmp_path):
    """The bytes must outlive the run until every store has them, and not longer."""
    dead = Spool(str(tmp_path / "spool"))
    dead.hold_for("uid.main")
    digest = dead.take_bytes(b"left").digest
    later = Spool(str(tmp_path / "spool"), holder="uid.main")
    assert later.open(digest).read() == b"left"
    later.remove()
    assert not os.path.exists(tmp_path / "spool")


def test_where_there_are_no_hard_links_each_run_has_its_own_copy(tmp_path, monkeypatch):
    """FAT and some network filesystems have none."""

    def link(source, target):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    one, two = Spool(str(tmp_path / "spool")), Spool(str(tmp_path / "spool"))
    digest = one.take_bytes(b"x").digest
    two.take_bytes(b"x")
    one.remove()
    assert two.open(digest).read() == b"x"
    two.remove()
    assert files_in(tmp_path) == []


def test_small_content_is_not_kept_after_the_run_even_if_a_store_links_it(tmp_path):
    """Else a secret that is erased from the store would live on beside it."""
    spool = Spool(str(tmp_path / "spool"))
    digest = spool.take_bytes(b"small").digest
    os.link(spool.path(digest), tmp_path / "stored")
    spool.remove()
    assert files_in(tmp_path) == [str(tmp_path / "stored")]


def test_tidying_removes_what_no_store_has_any_more(tmp_path):
    """Purging a run should give the disk back."""
    path = old_file(tmp_path / "data", b"x" * MIN_KNOWN)
    spool = settled(tmp_path / "spool")
    digest = spool.take(path).digest
    os.link(spool.path(digest), tmp_path / "stored")
    spool.release()
    spool.tidy()
    assert os.path.exists(spool.path(digest)), "a store has it"
    os.unlink(tmp_path / "stored")
    spool.tidy()
    assert not os.path.exists(spool.path(digest))


def test_modes_follow_the_umask(tmp_path):
    """In a store that a group shares, the file that was linked from here must be readable by the group."""
    old = os.umask(0o002)
    try:
        spool = Spool(str(tmp_path / "spool"))
        (tmp_path / "a").write_bytes(b"x")
        for digest in (spool.take(tmp_path / "a").digest, spool.take_bytes(b"y").digest):
            assert os.stat(spool.path(digest)).st_mode & 0o777 == 0o664
    finally:
        os.umask(old)


def test_bytes_that_a_power_cut_damaged_are_not_passed_off_as_whole(tmp_path):
    """The journal may be on the disk and the file not: half a model must not be kept under the digest of a whole."""
    dead = Spool(str(tmp_path / "spool"), holder="uid.main")
    good, bad = dead.take_bytes(b"good"), dead.take_bytes(b"a whole model")
    with open(dead.path(bad.digest), "wb") as file:
        file.write(b"a whole")
    later = Spool(str(tmp_path / "spool"), holder="uid.main", verify=True)
    assert later.open(good.digest).read() == b"good"
    with pytest.raises(RecordError, match="damaged"):
        later.path(bad.digest)


@pytest.mark.parametrize("size", [100, 2 * 2**20, 9 * 2**20])
def test_reading_a_file_that_never_rests_ends_whatever_its_size(spool, tmp_path, monkeypatch, size):
    """The two ways of reading have the same patience."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * size)
    real = os.fstat
    moved = []

    def fstat(descriptor):
        moved.append(1)
        os.utime(path, (len(moved), len(moved)))
        return real(descriptor)

    monkeypatch.setattr(os, "fstat", fstat)
    assert spool.take(path).size == size
    monkeypatch.undo()
    assert {os.path.basename(name) for name in files_in(spool.directory)} == {sha(b"x" * size)}


@pytest.fixture
def full_disk(tmp_path, monkeypatch):
    """Return a folder in which nothing can be made."""
    create = spools._create

    def refuse(path):
        if path.startswith(str(tmp_path / "full")):
            raise SpoolError(f"{path} cannot be made: No space left on device")
        return create(path)

    monkeypatch.setattr(spools, "_create", refuse)
    return str(tmp_path / "full")


def test_what_does_not_fit_waits_in_another_place(tmp_path, full_disk, caplog):
    """The disk of one store is full: files that were recorded for others must not be lost for that."""
    data = os.urandom(MIN_KNOWN + 5)
    file = old_file(tmp_path / "a", data)
    spool = Spool(full_disk, fallback=str(tmp_path / "other"))
    spool.hold_for("run.main")
    small, big = spool.take_bytes(b"small"), spool.take(file)
    assert "waits in " + str(tmp_path / "other") in caplog.text
    again = Spool(full_disk, holder="run.main", verify=True, fallback=str(tmp_path / "other"))
    for taken, expected in ((small, b"small"), (big, data)):
        with again.open(taken.digest) as stream:
            assert stream.read() == expected
    again.remove()
    assert files_in(tmp_path / "other") == []


def test_without_another_place_what_does_not_fit_is_an_error(full_disk):
    """Who records it is told at once."""
    for spool in (Spool(full_disk), Spool(full_disk, fallback=full_disk)):
        with pytest.raises(SpoolError, match="cannot be made"):
            spool.take_bytes(b"small")
