"""What was seen becomes inputs, outputs, intermediates and noise, by rules that a table can tell."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys

import pytest

from capture.probes.lineage import classify as sorting
from capture.probes.lineage import hook
from capture.probes.lineage.classify import classify, copy_name, is_noise, noise_folders, relative_name
from capture.probes.lineage.sightings import Sightings


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name, text="x"):
    with open(name, "w") as stream:
        stream.write(text)


def read(name):
    with open(name) as stream:
        return stream.read()


def watched(work, folder, **options):
    """Do some work and return what it read and wrote, by names, and the sorted whole."""
    sightings = hook.start(object(), noise=options.pop("noise", ()))
    try:
        work()
    finally:
        hook.stop(sightings)
    assert sightings.hook_errors == 0, sightings.first_error
    return classify(sightings, (), **options)


def names(files, folder):
    return [os.path.relpath(file.path, folder) for file in files]


def then(*steps):
    return lambda: [step() for step in steps]


def move_away_and_back():
    os.rename("input", "t")
    os.rename("t", "input")


CASES = {
    # what the run does: (inputs, outputs, intermediates, temporary)
    "reads": (lambda: read("input"), ["input"], [], [], 0),
    "writes": (lambda: write("new"), [], ["new"], [], 0),
    "appends": (lambda: open("input", "a").close(), [], ["input"], [], 0),
    "updates": (lambda: open("input", "r+").close(), ["input"], ["input"], [], 0),
    "reads, then overwrites": (then(lambda: read("input"), lambda: write("input", "yy")), ["input"], ["input"], [], 0),
    "writes, then reads": (then(lambda: write("new"), lambda: read("new")), [], ["new"], [], 0),
    "overwrites, then reads": (then(lambda: write("input"), lambda: read("input")), [], ["input"], [], 0),
    "writes, reads, removes": (
        then(lambda: write("new"), lambda: read("new"), lambda: os.remove("new")), [], [], ["new"], 0,
    ),
    "writes, removes": (then(lambda: write("new"), lambda: os.remove("new")), [], [], [], 1),
    "reads, removes": (then(lambda: read("input"), lambda: os.remove("input")), ["input"], [], [], 0),
    "writes beside, replaces": (
        then(lambda: write("t"), lambda: os.replace("t", "input")), [], ["input"], [], 0,
    ),
    "reads, writes beside, replaces": (
        then(lambda: read("input"), lambda: write("t"), lambda: os.replace("t", "input")), ["input"], ["input"], [], 0,
    ),
    "a chain of names": (
        then(lambda: write("a"), lambda: os.rename("a", "b"), lambda: os.rename("b", "c")), [], ["c"], [], 0,
    ),
    "the same temporary name again": (
        then(*[step for name in "pqr" for step in (lambda: write("t"), lambda name=name: os.replace("t", name))]),
        [], ["p", "q", "r"], [], 0,
    ),
    "reads its temporary name before it renames it": (
        then(lambda: write("t"), lambda: read("t"), lambda: os.rename("t", "new")), [], ["new"], [], 0,
    ),
    "moves an input": (lambda: os.rename("input", "moved"), ["input"], ["moved"], [], 0),
    "a folder of outputs is renamed": (
        then(lambda: os.mkdir("t"), lambda: write("t/x"), lambda: os.rename("t", "done")), [], ["done/x"], [], 0,
    ),
    "reads below a folder that is renamed": (
        then(lambda: os.mkdir("t"), lambda: write("t/x"), lambda: os.rename("t", "u"), lambda: read("u/x"),
             lambda: os.rename("u", "v")), [], ["v/x"], [], 0,
    ),
    "links an output": (then(lambda: write("a"), lambda: os.link("a", "b")), [], ["a", "b"], [], 0),
    "reads a folder": (lambda: os.listdir("."), [], [], [], 0),
    "by two names": (then(lambda: read("input"), lambda: read("../" + os.path.basename(os.getcwd()) + "/input")),
                     ["input"], [], [], 0),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_a_run_does_with_files_decides_what_they_are(case, here):
    """These are the rules that the record states; who reads it relies on each of them."""
    write("input")
    work, inputs, outputs, intermediates, temporary = CASES[case]
    found = watched(work, here)
    assert names(found.inputs, here) == inputs
    assert names(found.outputs, here) == outputs
    assert names(found.intermediates, here) == intermediates
    assert found.temporary == temporary


def test_a_failed_renaming_makes_the_old_name_the_output(here):
    """The hook is told before anything happens, so it must not believe that it did."""

    def work():
        write("made")
        with pytest.raises(OSError):
            os.rename("made", "no/such/folder")

    found = watched(work, here)
    assert names(found.outputs, here) == ["made"] and found.temporary == 0


def test_what_was_overwritten_is_an_input_as_it_was_and_flagged(here):
    """Its content is gone: nobody may take what is there now for what was read."""
    write("input", "before")
    found = watched(then(lambda: read("input"), lambda: write("input", "afterwards")), here)
    (file,) = found.inputs
    assert file.changed and file.first[0] == 6 and file.last[0] == 10


def test_an_input_that_somebody_else_changed_is_flagged(here):
    """The run may have read a mixture."""
    write("input", "before")
    sightings = hook.start(object())
    read("input")
    hook.stop(sightings)
    write("input", "afterwards")
    (file,) = classify(sightings, ()).inputs
    assert file.changed


def test_a_removed_input_says_so_and_a_renamed_one_where_it_went(here):
    """An input without content needs a reason, or it looks like a mistake."""
    write("one")
    write("two")
    found = watched(then(lambda: read("one"), lambda: os.remove("one"), lambda: os.rename("two", "three")), here)
    assert {os.path.basename(file.path): file.why for file in found.inputs} == {
        "one": "removed during the run",
        "two": f"renamed to {here / 'three'}",
    }


def test_what_is_read_back_in_a_temporary_folder_and_gone_is_temporary(here):
    """Libraries put much there that is nobody's intermediate result."""

    def work():
        write("new")
        read("new")
        os.remove("new")

    found = watched(work, here, temporary_folders=(str(here) + os.sep,))
    assert found.intermediates == [] and found.temporary == 1


def test_a_file_in_a_temporary_folder_that_is_still_there_is_recorded(here):
    """Data is often in /tmp."""
    write("input")
    found = watched(then(lambda: read("input"), lambda: write("new")), here, temporary_folders=(str(here) + os.sep,))
    assert (names(found.inputs, here), names(found.outputs, here)) == (["input"], ["new"])


def test_imported_sources_are_sources(here):
    """They are recorded as such, with their content; a generated one that is imported is an output all the same."""
    write("module.py")
    found = watched(
        then(lambda: read("module.py"), lambda: write("made.py"), lambda: read("made.py")),
        here,
        sources={str(here / "module.py"), str(here / "made.py")},
    )
    assert (found.inputs, names(found.outputs, here)) == ([], ["made.py"])


def test_a_link_is_recorded_as_it_was_used_with_what_it_leads_to(here):
    """The name that the program used is in its code; what was read is elsewhere."""
    write("real")
    try:
        os.symlink("real", "link")
    except (OSError, NotImplementedError):
        pytest.skip("links cannot be made here")
    found = watched(then(lambda: read("link"), lambda: read("real")), here)
    (file,) = found.inputs
    assert (file.path, file.real) == (str(here / "link"), str(here / "real"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs here")
def test_what_came_through_a_fifo_is_an_input_without_content(here):
    """It was read, so it is told of; reading it again would block for ever."""
    os.mkfifo("pipe")

    def work():
        writer = subprocess.Popen([sys.executable, "-c", "open('pipe', 'w').write('x')"])
        assert read("pipe") == "x"
        writer.wait()

    (file,) = watched(work, here).inputs
    assert file.why == "a FIFO: what came through it is gone"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no such sockets here")
def test_a_socket_is_no_output(here):
    """It has no content at all."""

    def work():
        server = socket.socket(socket.AF_UNIX)
        server.bind("s")
        server.close()

    found = watched(work, here)
    assert found.inputs == found.outputs == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such devices")
def test_devices_are_dropped(here):
    """Everybody reads /dev/null."""
    found = watched(lambda: read("/dev/null"), here)
    assert found.inputs == found.outputs == []


def test_databases_are_judged_by_what_became_of_them(here):
    """How SQLite opens its files is not told to Python; whether they are what they were is seen."""

    def connect(name, statement):
        connection = sqlite3.connect(name)
        with connection:
            connection.execute(statement).fetchall()
        connection.close()

    for name in ("only read", "read and written"):
        connect(name, "CREATE TABLE t (a)")
    found = watched(
        then(
            lambda: connect("only read", "SELECT * FROM t"),
            lambda: connect("read and written", "INSERT INTO t VALUES (1)"),
            lambda: connect("made", "CREATE TABLE t (a)"),
        ),
        here,
    )
    assert names(found.inputs, here) == ["only read", "read and written"]
    assert names(found.outputs, here) == ["read and written", "made"]
    assert found.inputs[0].by == {"sqlite3"}


def test_who_saw_a_file_is_kept_through_all_its_names(here):
    """It tells how far to trust the record."""
    write("input")

    def work():
        read("input")
        hook.note(os.path.join("..", here.name, "input"), write=False, by="h5py")

    (file,) = watched(work, here).inputs
    assert file.by == {"audit", "h5py"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/project/data.csv", False),
        ("/project/.git/index", True),
        ("/project/pkg/__pycache__/tmp.1234", True),
        ("/project/.github/data.csv", False),
        ("/env/lib/python3.11/json/__init__.py", True),
        ("/environment/data.csv", False),
        ("/elsewhere/thing.egg-info/entry_points.txt", True),
        ("/project/runs/1/config.json", True),
        ("/project/runs-of-last-year/x", False),
    ],
)
def test_noise_is_told_by_whole_names_of_folders(path, expected):
    """/environment is not /env, and runs-of-last-year not the store."""
    path = path.replace("/", os.sep)
    assert is_noise(path, tuple(f.replace("/", os.sep) for f in ("/env/", "/project/runs/"))) is expected


def test_the_installation_is_noise_and_the_project_is_not(tmp_path):
    """Thousands of files are read to import numpy, and none of them is data."""
    folders = noise_folders([str(tmp_path / "runs")])
    assert is_noise(os.path.abspath(os.__file__), folders)
    assert is_noise(os.path.abspath(pytest.__file__), folders)
    assert is_noise(str(tmp_path / "runs" / "1"), folders)
    assert not is_noise(str(tmp_path / "data.csv"), folders)
    assert not is_noise(os.path.expanduser(os.path.join("~", "data.csv")), folders)


def test_an_environment_that_holds_the_project_is_noise_only_where_things_are_installed(tmp_path, monkeypatch):
    """People make an environment of their project's folder; their data must not vanish."""
    for name in ("prefix", "exec_prefix"):
        monkeypatch.setattr(sys, name, str(tmp_path))
    folders = noise_folders(base_dir=str(tmp_path / "project"))
    assert is_noise(str(tmp_path / "lib" / "x.py"), folders)
    assert not is_noise(str(tmp_path / "project" / "data.csv"), folders)
    assert not is_noise(str(tmp_path / "data" / "data.csv"), folders)


def test_an_interpreter_of_the_system_does_not_hide_what_lies_in_usr(tmp_path, monkeypatch):
    """Its prefix is /usr, and /usr/local/data is anybody's."""
    for name in ("prefix", "exec_prefix", "base_prefix", "base_exec_prefix"):
        monkeypatch.setattr(sys, name, "/usr")
    monkeypatch.setattr(sys, "platform", "linux")
    folders = noise_folders()
    assert not is_noise("/usr/local/data/x.csv", folders)
    assert is_noise("/usr/lib/python3/dist-packages/x.py", folders)
    assert not is_noise("/dev/shm/x.csv", folders)


def test_many_files_of_one_folder_are_sorted_by_one_look_each(here, monkeypatch):
    """A data set has 100,000 files; resolving each path part by part would take seconds."""
    sightings = Sightings(object())
    for number in range(50):
        sightings.reads[str(here / f"{number}")] = (None, float(number))
    resolved = []
    real_path = os.path.realpath
    monkeypatch.setattr(sorting.os.path, "realpath", lambda path: resolved.append(path) or real_path(path))
    assert len(classify(sightings, ()).inputs) == 50
    assert resolved == [str(here)]


@pytest.mark.parametrize(
    ("path", "base", "expected"),
    [
        ("/project/a/b", "/project", "a/b"),
        ("/project/a/b", "/project/", "a/b"),
        ("/projects/b", "/project", None),
        ("/elsewhere/b", "/project", None),
        ("/elsewhere/b", None, None),
    ],
)
@pytest.mark.skipif(os.sep != "/", reason="the paths of the table are POSIX's")
def test_names_are_relative_to_the_project_below_it_only(path, base, expected):
    """A name with dots in it would mean something else in another folder."""
    assert relative_name(path, base) == expected


@pytest.mark.skipif(os.sep != "/", reason="the paths of the table are POSIX's")
def test_copies_from_elsewhere_get_the_shortest_name_that_is_free():
    """Two files of one name must not become one."""
    assert copy_name("/project/a", "/project", {"a"}.__contains__) == "a"
    assert copy_name("/data/one/a", "/project", set().__contains__) == "a"
    assert copy_name("/data/one/a", "/project", {"a"}.__contains__) == "one/a"
    assert copy_name("/data/one/a", None, {"a", "one/a"}.__contains__) == "data/one/a"


def test_many_renamings_are_not_compared_with_many_files_that_are_gone(here):
    """A week of checkpoints, each written under another name first, made the end of a run wait for minutes."""

    class Compared(str):
        count = 0
        __hash__ = str.__hash__

        def __eq__(self, other):
            Compared.count += 1
            return str.__eq__(self, other)

    seen = Sightings(None)
    for number in range(300):
        seen.events.append((0.0, "rename", f"/nowhere/{number}.tmp", Compared(f"/nowhere/{number}")))
        seen.writes[f"/nowhere/{number}.gone"] = (None, 0.0)
    assert classify(seen, ()).temporary == 300
    assert Compared.count < 3_000
