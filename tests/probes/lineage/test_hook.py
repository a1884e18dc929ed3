"""The audit hook sees what Python opens, for the run that opens it, and never gets in the way."""

from __future__ import annotations

import asyncio
import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextvars import ContextVar

import pytest

from capture.probes.lineage import hook
from capture.probes.lineage import sightings as sightings_module
from capture.unwatched import unwatched

RUN = ContextVar("run", default=None)


class FakeRun:
    def __init__(self, parent=None):
        self.parent = parent


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a file in it, which is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").write_text("1,2\n")
    return tmp_path


@pytest.fixture
def seen(here):
    """What is seen of the only run."""
    sightings = hook.start(FakeRun(), RUN)
    yield sightings
    hook.stop(sightings)
    assert sightings.hook_errors == 0, sightings.first_error


def names(paths, folder):
    """Return the names of those paths that lie in a folder."""
    return sorted(os.path.relpath(path, folder) for path in paths if path.startswith(str(folder) + os.sep))


class PathLike:
    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return self.path


OPENINGS = [
    # (how, reads, writes)
    (lambda: open("data.csv").close(), ["data.csv"], []),
    (lambda: open("./data.csv", "rb").close(), ["data.csv"], []),
    (lambda: open(os.path.abspath("data.csv")).close(), ["data.csv"], []),
    (lambda: open(b"data.csv").close(), ["data.csv"], []),
    (lambda: open(PathLike("data.csv")).close(), ["data.csv"], []),
    (lambda: open(PathLike(b"data.csv")).close(), ["data.csv"], []),
    (lambda: open("new", "w").close(), [], ["new"]),
    (lambda: open("new", "xb").close(), [], ["new"]),
    (lambda: open("data.csv", "a").close(), [], ["data.csv"]),
    (lambda: open("data.csv", "r+").close(), ["data.csv"], ["data.csv"]),
    (lambda: open("data.csv", "a+").close(), ["data.csv"], ["data.csv"]),
    (lambda: open("data.csv", "w+").close(), [], ["data.csv"]),
    (lambda: open("new", "a+").close(), [], ["new"]),
    (lambda: os.close(os.open("data.csv", os.O_RDONLY)), ["data.csv"], []),
    (lambda: os.close(os.open("data.csv", os.O_RDWR)), ["data.csv"], ["data.csv"]),
    (lambda: os.close(os.open("new", os.O_WRONLY | os.O_CREAT)), [], ["new"]),
    (lambda: os.close(os.open("data.csv", os.O_WRONLY | os.O_TRUNC)), [], ["data.csv"]),
    (lambda: shutil.copyfile("data.csv", "copy"), ["data.csv"], ["copy"]),
    (lambda: os.truncate("data.csv", 1), ["data.csv"], ["data.csv"]),
    (lambda: hook.note("data.csv", write=False, by="h5py"), ["data.csv"], []),
    (lambda: hook.note(b"new", write=True, by="h5py"), [], ["new"]),
    (lambda: hook.note(PathLike("data.csv"), write=False, by="h5py"), ["data.csv"], []),
    (lambda: hook.note(7, write=False, by="h5py"), [], []),
]


@pytest.mark.parametrize("index", range(len(OPENINGS)))
def test_whatever_opens_a_file_and_however_it_is_named_is_seen(index, here, seen):
    """Data is opened in every way that Python has; one that is missed is an input that nobody will ever find."""
    how, reads, writes = OPENINGS[index]
    how()
    assert (names(seen.reads, here), names(seen.writes, here)) == (reads, writes)


def test_what_cannot_be_opened_is_not_read(here, seen):
    """Programs try whether a file is there; a try is no input. The error must be the user's own."""
    for path in ("missing.csv", "data.csv/below", "with\0nul"):
        with pytest.raises((OSError, ValueError)):
            open(path).close()
    assert names(seen.reads, here) == []


def test_a_folder_is_not_read(here, seen):
    """Opening a folder is how one is listed or synced, which reads no data."""
    (here / "folder").mkdir()
    os.close(os.open("folder", os.O_RDONLY))
    assert names(seen.reads, here) == []


def test_a_relative_path_is_what_it_was_when_it_was_opened(here, seen):
    """Scripts change the folder; resolved at the end, a relative path would name another file, or none."""
    for name in ("one", "two"):
        (here / name).mkdir()
        (here / name / "x").write_text("")
        os.chdir(here / name)
        open("x").close()
    assert names(seen.reads, here) == ["one/x", "two/x"]


@pytest.mark.skipif(not hasattr(os, "O_DIRECTORY"), reason="folders cannot be opened here")
def test_a_path_relative_to_an_open_folder_is_found(here, seen):
    """Python tells hooks of `os.open` without its `dir_fd`; careful code uses it against races."""
    (here / "folder").mkdir()
    (here / "folder" / "inside").write_text("")
    folder = os.open("folder", os.O_RDONLY)
    try:
        os.close(os.open("inside", os.O_RDONLY, dir_fd=folder))
        os.close(os.open("made", os.O_WRONLY | os.O_CREAT, dir_fd=folder))
        os.rename("made", "moved", src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        os.close(folder)
    assert "folder/inside" in names(seen.reads, here)
    assert {"folder/made", "folder/moved"} <= set(names(seen.writes, here))


def test_how_a_file_was_when_it_was_first_read_is_kept(here, seen):
    """Only so it can be told at the end that an input changed meanwhile."""
    open("data.csv").close()
    (here / "data.csv").write_text("longer than before")
    open("data.csv").close()
    stat, _ = seen.reads[str(here / "data.csv")]
    assert stat[0] == 4


def test_what_was_written_is_followed_through_its_new_names(here, seen):
    """Careful programs write a temporary file and rename it; the output is what it is called in the end."""
    with open("a.tmp", "w") as stream:
        stream.write("x")
    os.rename("a.tmp", "b.tmp")
    os.replace("b.tmp", "c")
    os.mkdir("t.tmp")
    open("t.tmp/inside", "w").close()
    os.rename("t.tmp", "t")
    assert {"c", "t/inside"} <= set(names(seen.writes, here))


def test_a_renamed_file_from_before_was_read_and_its_new_name_is_written(here, seen):
    """What is at the new place came from the old one; that is lineage."""
    shutil.move("data.csv", "moved.csv")
    assert (names(seen.reads, here), names(seen.writes, here)) == (["data.csv"], ["moved.csv"])


@pytest.mark.parametrize(
    ("database", "expected"),
    [
        ("db.sqlite", ["db.sqlite"]),
        ("file:db.sqlite?mode=rwc", ["db.sqlite"]),
        ("file:with%20space.db", ["with space.db"]),
        (":memory:", []),
        ("", []),
        ("file::memory:?cache=shared", []),
        ("file:named?mode=memory", []),
    ],
)
def test_databases_are_seen_by_whatever_name(database, expected, here, seen):
    """SQLite opens its files past Python; the connection is all there is to see."""
    sqlite3.connect(database, uri=True).close()
    assert names(seen.databases, here) == expected


def test_an_absolute_uri_of_a_database_is_understood(here, seen):
    """`Path.as_uri` gives them three slashes."""
    sqlite3.connect((here / "db.sqlite").as_uri() + "?mode=rwc", uri=True).close()
    assert names(seen.databases, here) == ["db.sqlite"]


def test_imports_processes_and_hosts_are_noted(seen):
    """They tell where else data may have come from."""
    sys.modules.pop("this_module_is_not_there", None)
    with pytest.raises(ImportError):
        __import__("this_module_is_not_there")
    subprocess.run([sys.executable, "-c", ""], check=True)
    os.system("exit 0")
    assert "this_module_is_not_there" in seen.imports
    processes = [event[3] for event in seen.events if event[1] == "process"]
    assert processes == [[sys.executable, "-c", ""], ["exit 0"]]


def test_threads_belong_to_the_only_run(here, seen):
    """Threads have no context of their own, and readers use them."""
    thread = threading.Thread(target=lambda: open("data.csv").close())
    thread.start()
    thread.join()
    assert names(seen.reads, here) == ["data.csv"]


def test_what_the_library_opens_is_nobodys(here, seen):
    """The library reads the very files it records; they would all be read by it."""
    with unwatched():
        open("data.csv").close()
        hook.note("data.csv", write=False, by="x")
        hook.note_url({"url": "x"})
    assert names(seen.reads, here) == [] and seen.urls == []


def test_a_file_belongs_to_the_run_of_its_context(here):
    """Runs that go on at the same time must not have each other's inputs."""
    (here / "other").write_text("")
    one, two = FakeRun(), FakeRun()
    of_one, of_two = hook.start(one, RUN), hook.start(two, RUN)

    async def read(run, name):
        RUN.set(run)
        await asyncio.sleep(0)
        open(name).close()

    async def both():
        await asyncio.gather(read(one, "data.csv"), read(two, "other"))

    try:
        asyncio.run(both())
    finally:
        hook.stop(of_one)
        hook.stop(of_two)
    assert (names(of_one.reads, here), names(of_two.reads, here)) == (["data.csv"], ["other"])


def test_what_no_context_tells_belongs_to_every_run(here):
    """Given to none it would be lost, given to one it would be a guess."""
    of_one, of_two = hook.start(FakeRun(), RUN), hook.start(FakeRun(), RUN)
    open("data.csv").close()
    hook.stop(of_one)
    hook.stop(of_two)
    assert names(of_one.reads, here) == names(of_two.reads, here) == ["data.csv"]


def test_a_nested_run_has_its_own_files_and_an_unwatched_one_gives_them_to_its_parent(here):
    """The files of an inner run are the inner run's; where nobody watches it they are still the outer one's doing."""
    (here / "inner").write_text("")
    (here / "unobserved").write_text("")
    outer = FakeRun()
    inner, unobserved = FakeRun(outer), FakeRun(outer)
    of_outer, of_inner = hook.start(outer, RUN), hook.start(inner, RUN)
    for run, name in ((outer, "data.csv"), (inner, "inner"), (unobserved, "unobserved")):
        token = RUN.set(run)
        open(name).close()
        RUN.reset(token)
    hook.stop(of_inner)
    hook.stop(of_outer)
    assert (names(of_outer.reads, here), names(of_inner.reads, here)) == (["data.csv", "unobserved"], ["inner"])


def test_nothing_is_seen_once_watching_has_ended(here, seen):
    """A hook stays for ever; its run does not."""
    assert hook.active()
    hook.stop(seen)
    hook.stop(seen)
    assert not hook.active()
    open("data.csv").close()
    hook.note("data.csv", write=False, by="x")
    assert names(seen.reads, here) == []


def test_a_failure_of_the_hook_is_counted_and_the_file_is_opened(here):
    """What a hook raises aborts what it was told of: the user's file would not open for a mistake of ours."""
    sightings = hook.start(FakeRun(), RUN)
    sightings.noise_folders = 7  # no folder can be told by it
    with open("data.csv") as stream, open("new", "w"):
        assert stream.read() == "1,2\n"
    hook.note("data.csv", write=False, by="h5py")
    hook.stop(sightings)
    assert sightings.hook_errors == 3
    assert sightings.first_error.startswith("TypeError: startswith")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers here")
def test_a_time_limit_that_strikes_within_the_hook_is_not_swallowed(here, seen):
    """A signal handler may run while the hook does, and what it raises is meant for the program."""

    class TimeIsUp(Exception):
        pass

    def strike(number, frame):
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, strike)
    try:
        for _ in range(40):
            with pytest.raises(TimeIsUp):
                signal.setitimer(signal.ITIMER_REAL, 0.002)
                for number in range(1_000_000):  # until the limit strikes, mostly within the hook
                    sys.audit("open", f"missing {number}", "r", 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen.hook_errors == 0


def test_events_that_were_made_up_do_no_harm(here):
    """Anybody may raise audit events, with any arguments."""
    sightings = hook.start(FakeRun(), RUN)
    for event in hook._HANDLERS:
        for arguments in ((), (None,), (None, None, None), (object(), "x", "y", 3), ("a", [], {}, -1)):
            sys.audit(event, *arguments)
    hook.stop(sightings)
    assert sightings.hook_errors > 0


def test_what_a_path_object_opens_when_asked_for_its_path_does_not_recurse(here, seen):
    """Some download their file when they are asked where it is."""

    class Downloads:
        def __fspath__(self):
            open("fetched", "w").close()
            return "data.csv"

    os.close(os.open(Downloads(), os.O_RDONLY))
    assert "data.csv" in names(seen.reads, here)


def test_more_paths_than_are_kept_are_counted(here, seen, monkeypatch):
    """Memory must not grow without end, and the record must say that it is not whole."""
    monkeypatch.setattr(seen, "_limit", 3)
    for number in range(5):
        open(f"{number}", "w").close()
    assert len(seen.writes) == 3 and seen.lost == 2


def test_noise_is_told_by_folder_before_the_file_system_is_asked(here):
    """A large import opens thousands of files; each look at the file system would be felt."""
    sightings = hook.start(FakeRun(), RUN, noise=(str(here / "lib") + os.sep,))
    (here / "lib").mkdir()
    (here / "lib" / "module.py").write_text("")
    open("lib/module.py").close()
    open("data.pyc", "w").close()
    hook.stop(sightings)
    assert names(sightings.noise, here) == ["data.pyc", "lib/module.py"]
    assert names({**sightings.reads, **sightings.writes}, here) == []


def test_who_reported_a_file_is_kept(here, seen):
    """It tells how far to trust a record: a library said so, or Python itself."""
    hook.note("data.csv", write=False, by="h5py")
    open("new", "w").close()
    hook.note("new", write=True, by="polars")
    assert seen.by[str(here / "data.csv")] == {"h5py"}
    assert seen.by[str(here / "new")] == {"audit", "polars"}


def test_a_url_can_be_completed_after_it_was_reported(seen):
    """What came back is known only when it has been read."""
    entry = {"url": "http://x", "digest": None}
    hook.note_url(entry)
    entry["digest"] = "abc"
    assert seen.urls[0]["digest"] == "abc"


def test_unpickling_and_other_readers_of_open_files_are_unharmed(here, seen):
    """A descriptor is no path."""
    with open("data.pkl", "wb") as stream:
        pickle.dump([1], stream)
    descriptor = os.open("data.pkl", os.O_RDONLY)
    with open(descriptor, "rb") as stream:
        assert pickle.load(stream) == [1]
    assert names(seen.writes, here) == ["data.pkl"]


def test_the_hook_is_not_installed_before_a_run_is_watched():
    """It can never be taken away again, so a process that only imports the library does not get one."""
    code = (
        "import capture, capture.probes.lineage.hook as hook\n"
        "assert not hook._installed\n"
        "s = hook.start(object()); assert hook._installed; hook.stop(s)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_path_of_a_kind_of_its_own_is_seen_as_text(here, seen):
    """Names come out of arrays and tables as kinds of str; whoever loops over those reads all of the data so."""

    class Name(str):
        def __eq__(self, other):
            raise AssertionError("it is not to be asked")

        __hash__ = str.__hash__

    open(Name(here / "data.csv")).close()
    open(Name("new"), "w").close()
    assert [type(path) for path in (*seen.reads, *seen.writes)] == [str, str]
    assert names(seen.reads, here) == ["data.csv"] and names(seen.writes, here) == ["new"]


def test_a_thread_that_opens_while_another_changes_the_folder_misleads_nobody(here, seen):
    """The hook is told before the folder is another; whoever remembered the old one lost all that was read later."""
    (here / "below").mkdir()
    (here / "below" / "more.csv").write_text("1")
    hook._hook("os.chdir", ("below",))  # it is about to happen
    other = threading.Thread(target=lambda: open("data.csv").close())
    other.start()
    other.join()
    os.chdir("below")
    open("more.csv").close()
    open("more.csv").close()
    assert names(seen.reads, here) == ["below/more.csv", "data.csv"]


def test_noise_that_never_ends_does_not_fill_the_memory(seen, monkeypatch):
    """A monitor that looks at processes opens another file below /proc for each there ever was."""
    monkeypatch.setattr(sightings_module, "MAX_NOISE", 10)
    noisy = hook.start(FakeRun(), RUN, noise=("/proc/",))
    try:
        for number in range(100):
            hook.note(f"/proc/{number}/stat", False, "psutil")
            hook.note(f"/nowhere/{number}", False, "psutil")
        assert len(noisy.noise) == 10 and not noisy.reads and not noisy.lost
    finally:
        hook.stop(noisy)
