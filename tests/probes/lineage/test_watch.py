"""Watched folders, with the real inotify of the machine that runs the tests."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from capture.probes.lineage import inotify, watch
from capture.probes.lineage.inotify import Listening, file_system_kinds, instances_in_use
from capture.probes.lineage.watch import FolderWatch
from capture.unwatched import IDENTS

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone tells who opens what")


def eventually(condition):
    """Wait until something holds that another thread brings about."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.005)


def other_problems(watching):
    """Return the problems but one: all folders are watched, but it was stopped before it looked into the last of them."""
    return [each for each in watching.problems if not each.startswith("the run was over before all folders were watched")]


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """Give a function that starts a watch and waits until so many folders are watched."""
    monkeypatch.setattr(inotify, "instances_in_use", lambda timeout_s: 0)  # others' tests use some, too
    watches = []

    def begin(*folders, count=1, **options):
        watching = FolderWatch([str(folder) for folder in folders or (tmp_path,)], **options)
        watches.append(watching)
        watching.start()
        watching.hurry(20)
        eventually(lambda: watching.watched >= count)
        return watching

    yield begin
    for watching in watches:
        watching.stop()


def names(seen, folder):
    return {os.path.relpath(path, folder): how for path, how in seen.items()}


def cat(path):
    subprocess.run(["cat", str(path)], check=True, stdout=subprocess.DEVNULL)


@linux
def test_files_that_others_open_and_write_are_seen(watched, tmp_path):
    """That is what it is for: programs and libraries that Python's audit hook knows nothing of."""
    (tmp_path / "in.txt").write_text("x")
    (tmp_path / "untouched.txt").write_text("x")
    watching = watched()
    cat(tmp_path / "in.txt")
    subprocess.run(["sh", "-c", "cp in.txt out.txt; mv out.txt renamed.txt"], cwd=tmp_path, check=True)
    assert names(watching.stop(), tmp_path) == {"in.txt": "opened", "out.txt": "written", "renamed.txt": "written"}
    assert other_problems(watching) == []


@linux
def test_folders_below_are_watched_and_some_are_left_out(watched, tmp_path):
    """Data lies in sub-folders; repositories, caches and environments hold thousands of files of no interest."""
    for folder in ("a/b/c", ".git/objects", "node_modules/x", "a/__pycache__", "myenv/lib", "kept/secret"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "f").write_text("x")
    (tmp_path / "myenv" / "pyvenv.cfg").write_text("")
    watching = watched(exclude=[str(tmp_path / "kept")])
    eventually(lambda: cat(tmp_path / "a/b/c/f") or watching.seen)  # the last one
    for folder in ("a/b/c", ".git/objects", "node_modules/x", "a/__pycache__", "myenv/lib", "kept/secret"):
        cat(tmp_path / folder / "f")
    assert names(watching.stop(), tmp_path) == {"a/b/c/f": "opened"}
    assert watching.watched == 4


@linux
def test_folders_behind_links_are_watched_and_circles_end(watched, tmp_path):
    """Large data lies elsewhere and is linked to; a link to a parent must not be followed for ever."""
    elsewhere = tmp_path / "elsewhere"
    project = tmp_path / "project"
    (elsewhere / "deep").mkdir(parents=True)
    project.mkdir()
    (elsewhere / "deep" / "f").write_text("x")
    (project / "data").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(project)
    watching = watched(project, count=3)
    cat(elsewhere / "deep" / "f")
    assert names(watching.stop(), project) == {"data/deep/f": "opened"}
    assert watching.watched == 3


@linux
def test_folders_made_during_the_run_are_watched(watched, tmp_path):
    """Outputs go into a new folder as often as not, and are there before anybody can watch it."""
    watching = watched()
    subprocess.run(["sh", "-c", "mkdir -p new/deep && echo > new/early && echo > new/deep/early"], cwd=tmp_path, check=True)
    eventually(lambda: watching.watched == 3)
    subprocess.run(["sh", "-c", "echo > new/deep/late"], cwd=tmp_path, check=True)
    seen = names(watching.stop(), tmp_path)
    assert seen == {"new/early": "written", "new/deep/early": "written", "new/deep/late": "written"}


@linux
def test_a_folder_that_is_renamed_goes_by_its_new_name(watched, tmp_path):
    """Results are often written beside their place and moved there when they are whole."""
    (tmp_path / "part" / "deep").mkdir(parents=True)
    watching = watched(count=3)
    os.rename(tmp_path / "part", tmp_path / "whole")
    inner = tmp_path / "whole" / "deep" / "f"
    eventually(lambda: inner.write_text("x") and str(inner) in watching.seen)
    assert watching.stop()[str(inner)] == "written"
    assert watching.watched == 3


@linux
def test_many_folders_made_at_once_are_watched(watched, tmp_path):
    """An archive that is unpacked makes hundreds; each brings the next."""
    watching = watched()
    for number in range(1500):
        os.mkdir(tmp_path / str(number))
    eventually(lambda: watching.watched == 1501)
    (tmp_path / "1499" / "f").write_text("x")
    assert names(watching.stop(), tmp_path) == {"1499/f": "written"}
    assert other_problems(watching) == []


@linux
def test_a_folder_can_be_added_and_one_that_was_is_not_added_again(watched, tmp_path):
    """The parents of files that the run reads are added as it goes."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside / "below"):
        folder.mkdir(parents=True)
    (outside / "f").write_text("x")
    watching = watched(inside)
    for _ in range(3):
        watching.add(str(outside))
    eventually(lambda: watching.watched == 2)
    cat(outside / "f")
    assert names(watching.stop(), tmp_path) == {"out/f": "opened"}
    watching.add(str(tmp_path))  # too late, and no matter
    assert watching.watched == 2


@linux
def test_what_is_nearest_is_watched_when_there_are_too_many(watched, tmp_path):
    """A home folder has more folders than may be watched; the statement of coverage says that some were not."""
    for number in range(5):
        (tmp_path / f"{number}" / "below").mkdir(parents=True)
    watching = watched(limit=4, count=4)
    eventually(lambda: watching.problems)
    watching.stop()
    assert watching.watched == 4
    # on a busy machine the end may come before it has looked at the rest, which it then says as well
    assert watching.problems[0] == "more than 4 folders: the others are not watched"


@linux
def test_missing_folders_are_no_problem_and_files_are(watched, tmp_path):
    """Any string of the config that looks like a path is given here; what is no folder says nothing."""
    watching = watched(tmp_path / "missing", tmp_path)
    assert watching.stop() == {}
    assert other_problems(watching) == []


# --- a run that is short ---


@linux
def test_a_run_that_is_over_at_once_pays_nothing(tmp_path, monkeypatch):
    """Most runs of a hello-world are over before anything could be watched; and say that nothing was."""
    monkeypatch.delitem(sys.modules, "ctypes")
    monkeypatch.setattr(watch, "DELAY_S", 60)
    monkeypatch.setattr(Listening, "open", lambda self: pytest.fail("it looked"))
    watching = FolderWatch([str(tmp_path)])
    watching.start()
    assert watching.stop() == {}
    assert watching.problems == ["the run was over before folders were watched"]
    assert "ctypes" not in sys.modules


@linux
def test_whoever_is_about_to_start_a_child_can_hurry_it(tmp_path, monkeypatch):
    """A child may read its files within the time for which the thread would have waited."""
    monkeypatch.delitem(sys.modules, "ctypes")
    monkeypatch.setattr(watch, "DELAY_S", 60)
    monkeypatch.setattr(inotify, "instances_in_use", lambda timeout_s: 0)
    (tmp_path / "f").write_text("x")
    watching = FolderWatch([str(tmp_path)])
    watching.start()
    watching.hurry(20)
    cat(tmp_path / "f")
    assert names(watching.stop(), tmp_path) == {"f": "opened"}
    watching.hurry(20)  # it is over: nothing to wait for


@linux
def test_it_can_be_started_once_and_stopped_twice(watched, tmp_path):
    """A run has one beginning; its end may be reached on two ways."""
    watching = watched()
    with pytest.raises(RuntimeError, match="started before"):
        watching.start()
    assert watching.stop() == watching.stop() == {}


def test_one_that_was_never_started_has_seen_nothing(tmp_path):
    """A run that fails before its main function."""
    assert FolderWatch([str(tmp_path)]).stop() == {}


@linux
def test_its_thread_is_the_librarys_and_goes_away(watched):
    """What the watch itself opens must not show in the lineage; nor may descriptors be left behind."""
    before = set(os.listdir("/proc/self/fd"))
    idents = set(IDENTS)
    watching = watched()
    assert len(IDENTS - idents) == 1
    watching.stop()
    eventually(lambda: not (IDENTS - idents))
    assert {os.readlink(f"/proc/self/fd/{number}") for number in set(os.listdir("/proc/self/fd")) - before if os.path.lexists(f"/proc/self/fd/{number}")} <= set()


@linux
def test_a_forked_child_takes_nothing_of_its_parents(watched, tmp_path):
    """The queue is shared: a child that read from it would steal what the parent is to see."""
    (tmp_path / "f").write_text("x")
    watching = watched()
    child = os.fork()
    if child == 0:
        try:
            watching.add("/")
            watching.hurry(20)
            os._exit(0 if watching.stop() == {} else 1)
        finally:
            os._exit(2)
    timer = threading.Timer(20, os.kill, (child, signal.SIGKILL))
    timer.start()
    _, status = os.waitpid(child, 0)
    timer.cancel()
    assert os.waitstatus_to_exitcode(status) == 0
    cat(tmp_path / "f")
    assert names(watching.stop(), tmp_path) == {"f": "opened"}


# --- why it is off or incomplete ---


def test_other_systems_say_that_they_cannot(tmp_path, monkeypatch):
    """There the coverage statement must not claim a watch."""
    monkeypatch.setattr(sys, "platform", "darwin")
    watching = FolderWatch([str(tmp_path)])
    watching.start()
    watching.add("/")
    watching.hurry()
    assert watching.stop() == {}
    assert watching.problems == ["folders can be watched on Linux only, not on darwin"]


def off(tmp_path):
    """Start a watch that should refuse to work, and return why."""
    watching = FolderWatch([str(tmp_path)])
    watching.start()
    watching.hurry(20)
    eventually(lambda: watching.problems)
    assert watching.stop() == {} and watching.watched == 0
    return watching.problems


@linux
def test_scarce_instances_are_left_to_others(tmp_path, monkeypatch):
    """Editors and file managers need them; running out breaks those, with strange errors."""
    monkeypatch.setattr(inotify, "instances_in_use", lambda timeout_s: 70)
    monkeypatch.setattr(inotify, "_number", lambda path: 128)
    assert off(tmp_path) == ["70 of this user's 128 inotify instances are in use: the rest is for others"]


@linux
@pytest.mark.parametrize("kind", ["nfs4", "lustre", "fuse.sshfs", "9p", "cifs"])
def test_network_file_systems_are_not_watched(tmp_path, monkeypatch, kind):
    """The kernel knows only what this machine opens there; and adding watches may take minutes."""
    device = os.stat(tmp_path).st_dev
    monkeypatch.setattr(inotify, "instances_in_use", lambda timeout_s: 0)
    monkeypatch.setattr(inotify, "file_system_kinds", lambda: {f"{os.major(device)}:{os.minor(device)}": kind})
    assert off(tmp_path) == [f"{tmp_path} lies on a network file system ({kind}) and is not watched"]


@linux
def test_a_system_that_refuses_is_quoted(tmp_path, monkeypatch):
    """Some containers forbid the call."""

    class Refusing:
        def __init__(self):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(inotify, "instances_in_use", lambda timeout_s: 0)
    monkeypatch.setattr(inotify, "Inotify", Refusing)
    (problem,) = off(tmp_path)
    assert problem.startswith("the system refuses to watch folders: ") and "open files" in problem


@linux
@pytest.mark.parametrize(
    ("number", "problem"),
    [
        (errno.ENOSPC, "the system's limit of watches is reached: 1 folders are watched"),
        (errno.EACCES, "{} cannot be watched: Permission denied"),
    ],
)
def test_a_folder_that_cannot_be_watched_is_named(tmp_path, monkeypatch, number, problem):
    """A limit of the whole system is another's fault and ours to tell."""
    add = inotify.Inotify.add

    def failing(self, folder):
        if folder == str(tmp_path / "b"):
            raise OSError(number, os.strerror(number), folder)
        return add(self, folder)

    for name in "ab":
        (tmp_path / name).mkdir()
    monkeypatch.setattr(inotify, "instances_in_use", lambda timeout_s: 0)
    monkeypatch.setattr(inotify.Inotify, "add", failing)
    watching = FolderWatch([str(tmp_path / "a"), str(tmp_path / "b")])
    watching.start()
    watching.hurry(20)
    eventually(lambda: watching.problems)
    watching.stop()
    assert watching.problems == [problem.format(tmp_path / "b")]


@linux
def test_too_many_openings_at_once_are_told(watched, tmp_path, monkeypatch):
    """The kernel's queue is finite; what it dropped cannot be known, that it did can."""
    watching = watched()
    monkeypatch.setattr(inotify, "PAUSE_S", 30)
    monkeypatch.setattr(FolderWatch, "_wake", lambda self: None)
    for name in "ab":
        (tmp_path / name).write_text("x")
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    queue = inotify._number("/proc/sys/fs/inotify/max_queued_events") or 16384
    if queue > 100_000:
        pytest.skip("this system's queue is too long to be filled in a test")
    time.sleep(0.2)  # the thread has seen the first openings and pauses
    for _ in range(queue // 2 + 1000):
        os.close(os.open(a, os.O_RDONLY))
        os.close(os.open(b, os.O_RDONLY))
    assert set(names(watching.stop(), tmp_path)) == {"a", "b"}
    assert watching.losses == ["more files were opened at once than the system tells of: some were not seen"]


@linux
def test_the_list_of_files_is_finite(watched, tmp_path, monkeypatch):
    """A run that opens millions of files must not fill the memory with their names."""
    monkeypatch.setattr(inotify, "MAX_PATHS", 3)
    watching = watched()
    for number in range(5):
        (tmp_path / str(number)).write_text("x")
    assert len(watching.stop()) == 3
    assert watching.losses == ["more than 3 files were opened in watched folders: the others are not listed"]


@linux
def test_a_failure_of_its_own_is_told_and_not_printed(tmp_path, monkeypatch, capsys, caplog):
    """A traceback of a thread beside the user's output helps nobody."""
    monkeypatch.setattr(Listening, "watch_all", lambda self: 1 / 0)
    monkeypatch.setattr(inotify, "instances_in_use", lambda timeout_s: 0)
    assert off(tmp_path) == ["watching folders failed: ZeroDivisionError: division by zero"]
    assert capsys.readouterr().err == ""
    assert "watching folders failed" in caplog.text


# --- what the system says ---


def test_mounts_are_read_by_device(tmp_path):
    """The lines of mountinfo have optional fields in their middle."""
    lines = tmp_path / "mountinfo"
    lines.write_text(
        "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
        "36 35 98:0 /mnt1 /mnt/with\\040space rw shared:1 master:2 - nfs4 server:/x rw\n"
        "odd line\n"
    )
    assert file_system_kinds(str(lines)) == {"0:21": "proc", "98:0": "nfs4"}
    assert file_system_kinds(str(tmp_path / "missing")) == {}


@linux
def test_instances_of_this_user_are_counted(watched):
    """One more watch is one more instance."""

    def counts_one_more() -> bool:
        before = instances_in_use(20)
        watched()
        return instances_in_use(20) >= before + 1

    assert any(counts_one_more() for _ in range(20))  # other processes of this user may end theirs meanwhile
    assert instances_in_use(0) is None  # there was no time


def test_instances_are_told_from_other_descriptors(tmp_path):
    """Old and new kernels name them differently; processes of others are not looked into."""
    for number, target in enumerate(["anon_inode:inotify", "anon_inode:[inotify]", "anon_inode:[eventpoll]", "/etc/inotify.conf"]):
        (tmp_path / "12" / "fd").mkdir(parents=True, exist_ok=True)
        os.symlink(target, tmp_path / "12" / "fd" / str(number))
    (tmp_path / "self").mkdir()
    if hasattr(os, "getuid"):
        assert instances_in_use(20, str(tmp_path)) == 2
