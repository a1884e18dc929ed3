"""Child processes: Python ones tell what they open, the others are counted, and none is harmed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
import tracemalloc

import pytest

import capture
from capture.probes.lineage import children, hook
from capture.probes.lineage.children import Child, account, process_name
from capture.probes.lineage.sightings import Sightings

LIBRARY = os.path.dirname(os.path.dirname(os.path.abspath(capture.__file__)))
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

#: a watched run in a process of its own; prints its facts
SCRIPT = """
import json, multiprocessing, os, subprocess, sys, threading, time
sys.path.insert(0, {library!r})
import capture
from concurrent.futures import ProcessPoolExecutor
from contextvars import ContextVar
from capture.probes.lineage.lineage import Lineage

def read(name):
    with open(name) as stream:
        return stream.read()

def write(name):
    with open(name, "w") as stream:
        stream.write("x")

def python(code, *arguments, **options):
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, **options)

WITH_CAPTURE = "import sys; sys.path.insert(0, {library!r}); import capture; "

def main():
{body}

if __name__ == "__main__":
    RUN = ContextVar("run", default=None)
    lineage = Lineage(object(), RUN, os.getcwd(), watch_folders=False, adapters=False, urls=False)
    lineage.start()
    main()
    facts, copies = lineage.report(True, 5.0)
    left = os.environ.get("CAPTURE_LINEAGE_JOURNAL")
    lineage.stop()
    assert "CAPTURE_LINEAGE_JOURNAL" not in os.environ and not os.path.exists(left), left
    print(json.dumps(facts))
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a body of `main` in a watched process, and returns its facts."""

    def run(body, files=("a", "b", "c", "d"), **environment):
        for name in files:
            (tmp_path / name).write_text(name)
        script = tmp_path / "script.py"
        script.write_text(SCRIPT.format(library=LIBRARY, body=textwrap.indent(textwrap.dedent(body), "    ")))
        done = subprocess.run(
            # since 3.12 Python warns of forks beside threads, of which a run has some
            [sys.executable, "-W", "ignore:This process:DeprecationWarning", str(script)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
            env={**os.environ, **environment},
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout.splitlines()[-1])

    return run


def names(entries):
    return sorted(entry["name"] for entry in entries)


@needs_fork
def test_forked_children_tell_what_they_open_even_if_they_end_at_once(run):
    """`os._exit` clears nothing up, and it is how forked children end."""
    facts = run("""
        for name in "ab":
            if os.fork() == 0:
                read(name)
                write(name + ".out")
                os._exit(0)
            os.wait()
        read("c")
    """)
    assert names(facts["inputs"]) == ["a", "b", "c"]
    assert names(facts["outputs"]) == ["a.out", "b.out"]
    assert facts["inputs"][0]["by"] == ["audit"] and facts["inputs"][1]["by"][0].startswith("child ")
    assert facts["children"]["observed"] == 2 and facts["children"]["not_observed"] == 0
    assert facts["coverage"]["complete"], facts["coverage"]


@needs_fork
def test_children_of_children_tell_their_grandparent(run):
    """Data loaders fork workers, which fork."""
    facts = run("""
        if os.fork() == 0:
            if os.fork() == 0:
                read("a")
                os._exit(0)
            os.wait()
            os._exit(0)
        os.wait()
    """)
    assert names(facts["inputs"]) == ["a"] and facts["children"]["observed"] == 2


METHODS = ["fork", "spawn", "forkserver"] if hasattr(os, "fork") else ["spawn"]


@pytest.mark.parametrize("method", METHODS)
def test_processes_of_multiprocessing_tell_however_they_are_started(run, method):
    """It depends on platform and Python version, and nobody chooses it with lineage in mind."""
    facts = run(f"""
        context = multiprocessing.get_context({method!r})
        process = context.Process(target=read, args=("a",))
        process.start()
        process.join()
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            assert list(pool.map(read, "bcd")) == list("bcd")
    """)
    assert names(facts["inputs"]) == ["a", "b", "c", "d"]
    assert facts["children"]["observed"] >= 2
    assert facts["children"]["not_observed"] == 0, facts["children"]


def test_a_python_that_imports_the_library_tells_and_another_program_is_counted(run):
    """What cannot be seen is said, by name and number, so that nobody believes that it was."""
    facts = run("""
        python(WITH_CAPTURE + "open('a').read()")
        python("open('b').read()")
        subprocess.run([sys.executable, "-c", WITH_CAPTURE + "open('c').read()"], env={"PATH": os.environ["PATH"]})
    """)
    assert names(facts["inputs"]) == ["a"]
    assert facts["children"]["observed"] == 1 and facts["children"]["not_observed"] == 2
    assert not facts["coverage"]["complete"]
    assert f"2 child processes not observed ({process_name([sys.executable])})" in facts["coverage"]["unseen"]


@pytest.mark.skipif(os.name != "posix", reason="the commands are POSIX's")
def test_shells_are_named_by_what_they_run(run):
    """"sh" says nothing; "wc" says that the files it was given are missing."""
    facts = run("""
        subprocess.run("wc a", shell=True, stdout=subprocess.DEVNULL)
        os.system("cat b > /dev/null")
        os.waitpid(os.posix_spawn("/bin/ls", ["ls", "/dev/null"], {}), 0)
        os.spawnv(os.P_WAIT, "/bin/echo", ["echo"])
        subprocess.run(["uname"], stdout=subprocess.DEVNULL)
    """)
    children = facts["children"]
    assert children["names"] == ["cat", "echo", "ls", "wc"] and children["not_observed"] == 4
    assert children["harmless"] == ["uname"]


@pytest.mark.skipif(os.name != "posix", reason="there is no preexec_fn here")
def test_a_fork_on_the_way_to_another_program_is_not_an_observed_child(run):
    """`preexec_fn` forks without a word; the child is another program a moment later."""
    facts = run("""
        subprocess.run(["cat", "a"], preexec_fn=lambda: None, stdout=subprocess.DEVNULL)
    """)
    assert facts["children"] == {"observed": 0, "not_observed": 1, "names": ["cat"], "harmless": []}


@needs_fork
def test_a_daemon_that_closed_everything_writes_into_no_file_of_its_own(run, tmp_path):
    """It may have been given the number of the journal's descriptor for a file of the user."""
    facts = run("""
        if os.fork() == 0:
            os.closerange(3, 100)
            out = [os.open(f"out{n}", os.O_WRONLY | os.O_CREAT) for n in range(10)]
            read("a")
            os._exit(0)
        os.wait()
    """)
    assert "a" in names(facts["inputs"])
    assert [os.path.getsize(tmp_path / f"out{n}") for n in range(10)] == [0] * 10


@needs_fork
def test_a_child_that_outlives_the_run_goes_on_unharmed(run, tmp_path):
    """Nobody listens any more; it must neither fail nor bring the folder back."""
    run("""
        ready, end = os.pipe()
        if os.fork() == 0:
            os.close(ready)
            os.write(end, b"x")
            time.sleep(0.5)
            read("a")
            write("late")
            write("later")
            os._exit(0)
        os.read(ready, 1)
    """)
    deadline = time.monotonic() + 60
    while not (tmp_path / "later").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (tmp_path / "later").read_text() == "x"


@needs_fork
def test_a_child_that_replaces_itself_is_not_observed_from_then_on(run):
    """What it opened before is known; what the other program opens is not."""
    facts = run("""
        if os.fork() == 0:
            read("a")
            os.execv("/bin/cat", ["cat", "/dev/null"])
        os.wait()
    """)
    assert names(facts["inputs"]) == ["a"]
    assert facts["children"]["names"] == ["cat"] and facts["children"]["observed"] == 0


def test_workers_from_before_the_run_are_not_observed(run):
    """A pool that is kept for many runs was started when nobody watched; its files cannot be seen, which must be said."""
    facts = run("""
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            pool.map(read, "a")
            inner = Lineage(object(), None, None, watch_folders=False, adapters=False, urls=False)
            inner.start()
            assert pool.map(read, "b") == ["b"]
            facts, _ = inner.report()
            inner.stop()
        assert facts["inputs"] == [], facts
        assert facts["children"]["names"] == ["a process from before the run"], facts
    """)
    assert names(facts["inputs"]) == ["a", "b"] and facts["children"]["not_observed"] == 0


@needs_fork
def test_a_forked_copy_of_the_run_tells_nothing_and_clears_nothing_up(run):
    """A child that leaves main as the parent does must not take the journals of its siblings away."""
    facts = run("""
        if os.fork() == 0:
            folder = os.environ["CAPTURE_LINEAGE_JOURNAL"]
            assert lineage.report() == ({}, [])
            lineage.stop()
            os._exit(0 if os.path.exists(folder) else 1)
        assert os.wait()[1] == 0
    """)
    assert facts["children"]["observed"] == 1


@needs_fork
def test_a_thread_and_a_fork_do_not_lock_each_other(run):
    """A fork copies one thread and all locks as they are."""
    facts = run("""
        going = True
        def busy():
            while going:
                read("b")
        threads = [threading.Thread(target=busy) for _ in range(3)]
        for thread in threads: thread.start()
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                read("a")
                os._exit(0)
            os.waitpid(pid, 0)
        going = False
        for thread in threads: thread.join()
    """)
    assert names(facts["inputs"]) == ["a", "b"] and facts["children"]["observed"] == 20


def test_children_can_be_left_alone(tmp_path):
    """A setting of its own: the environment variable is not for everybody."""
    from capture.probes.lineage.lineage import Lineage

    lineage = Lineage(object(), None, str(tmp_path), children=False, watch_folders=False, adapters=False, urls=False)
    lineage.start()
    assert children.VARIABLE not in os.environ
    facts, _ = lineage.report()
    lineage.stop()
    assert "child processes opened (not watched, by a setting)" in facts["coverage"]["text"]


def test_a_folder_that_is_gone_is_no_reason_to_fail(tmp_path):
    """The variable may be inherited from a run that ended long ago, or name a folder of somebody else."""
    environment = {**os.environ, children.VARIABLE: str(tmp_path / "gone") + os.pathsep + "relative"}
    code = f"import sys; sys.path.insert(0, {LIBRARY!r}); import capture; print(open({str(tmp_path / 'x')!r}).read())"
    (tmp_path / "x").write_text("read")
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("read\n", "")


def test_a_torn_line_and_strangers_in_the_folder_are_passed_over(tmp_path):
    """A child may be killed while it writes."""
    (tmp_path / "12").write_text('{"kind": "fork", "parent": 1, "argv": []}\n[1.0, "r", "/a", null]\nnonsense\n[2.0, "r"')
    (tmp_path / "notes.txt").write_text("?")
    (child,) = children.collect(str(tmp_path))
    assert (child.pid, child.seen) == (12, [[1.0, "r", "/a", None]])


NONSENSE = [
    *("5", "[]", '[1, "r"]', '["x", "r", "/a", null]', '[1, "r", 5, null]', '[1, "r", "/a", 7]', '[1, "r", "/a", [1]]'),
    *('[1, "url", 3]', '[1, "rename", "/a"]', '[1, "process", "x"]', "{}", '[1, "r", "../../x", null]', "\\xff"),
    *('{"kind": "python", "parent": 1, "argv": 7}', '[1, "exec", "x"]', '[1, ["r"], "/a", null]', "[" * 100_000),
]


@pytest.mark.parametrize("line", NONSENSE, ids=lambda line: line[:30])
def test_nonsense_in_a_journal_costs_a_line_and_a_word_in_the_statement(line, tmp_path):
    """One child that writes rubbish, or what is not ours to believe, must not cost the run its whole lineage."""
    (tmp_path / "12").write_text(f'{{"kind": "fork", "parent": 1, "argv": []}}\n{line}\n[2.0, "w", "/b", null]\n')
    told = children.collect(str(tmp_path))
    seen = Sightings(None)
    children.merge(seen, told)
    account([], told, 1)
    assert (list(seen.reads), list(seen.writes)) == ([], ["/b"])
    assert (seen.hook_errors, seen.first_error) == (1, "in child 12: what it told is not whole")


def test_a_line_without_end_is_not_read_into_memory(tmp_path):
    """A child that writes into a descriptor that is not its own any more may write gigabytes."""
    with open(tmp_path / "12", "wb") as stream:
        stream.write(b'{"kind": "fork", "parent": 1, "argv": []}\n')
        stream.truncate(1 << 30)  # zeros, and no line end
    tracemalloc.start()
    try:
        (child,) = children.collect(str(tmp_path))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert child.lost == 1 and len(child.lives) == 1


def test_what_cannot_be_opened_among_the_journals_does_not_hide_the_others(tmp_path):
    """It lies where others may put things, too."""
    (tmp_path / "7").mkdir()
    (tmp_path / "12").write_text('{"kind": "fork", "parent": 1, "argv": []}\n')
    assert [child.pid for child in children.collect(str(tmp_path))] == [12]


def test_more_lines_than_are_kept_are_told_of(tmp_path):
    """A hundred workers that open a million files each must not fill the memory of the run."""
    for pid in (12, 13):
        lines = ['{"kind": "fork", "parent": 1, "argv": []}', *(f'[1.0, "r", "/{n}", null]' for n in range(9))]
        (tmp_path / str(pid)).write_text("\n".join(lines) + "\n")
    told = children.collect(str(tmp_path), most=10)
    assert sum(len(child.seen) for child in told) <= 10
    assert [bool(child.lost) for child in told] == [False, True]


@needs_fork
def test_a_child_that_cannot_write_its_journal_any_more_is_told_of(run):
    """A full disk must not make a record complete."""
    facts = run("""
        pid = os.fork()
        if not pid:
            import resource, signal
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))
            read("a")
            os._exit(0)
        os.waitpid(pid, 0)
    """)
    assert facts["coverage"]["complete"] is False
    assert "what it told is not whole" in facts["coverage"]["text"]


def test_many_renamings_and_many_processes_are_merged_in_no_time(monkeypatch):
    """Each one that was compared with all the others made the end of a run wait for minutes."""
    words, asked = children._words, []
    monkeypatch.setattr(children, "_words", lambda argv: asked.append(argv) or words(argv))
    started = [(0.0, "process", "subprocess", ["/bin/sh", "-c", f"wc {number}"]) for number in range(200)]
    started += [(0.0, "process", "subprocess", ["python", str(number)]) for number in range(200)]
    told = [child(number, ("python", 1, ["python", str(number)])) for number in range(200)]
    facts = account(started, told, 1)
    assert (facts["observed"], facts["not_observed"], facts["names"]) == (200, 200, ["wc"])
    assert len(asked) <= 2 * len(started)  # once to find it, once to name it


def test_what_another_process_wrote_is_followed_to_its_new_name(tmp_path):
    """Workers write parts, and one of them puts the whole in its place."""
    (tmp_path / "new").mkdir()
    writer, mover = child(2, ("fork", 1, [])), child(3, ("fork", 1, []))
    old, new = str(tmp_path / "old"), str(tmp_path / "new")
    writer.seen = [[1.0, "w", f"{old}/part", None], [1.0, "w", "/x.tmp", None]]
    mover.seen = [[2.0, "rename", old, new], [2.0, "rename", "/x.tmp", "/x"]]
    seen = Sightings(None)
    children.merge(seen, [writer, mover])
    assert {f"{new}/part", "/x"} <= set(seen.writes)


def child(pid, *lives):
    made = Child(pid)
    made.lives = [dict(zip(("kind", "parent", "argv"), life)) for life in lives]
    return made


START = (0.0, "process", "subprocess", ["/usr/bin/python", "train.py"])
ACCOUNTS = [
    # events of the run, children, made by multiprocessing; observed, names of the others
    ([], [], 0, 0, []),
    ([START], [], 0, 0, ["python"]),
    ([START], [child(2, ("python", 1, ["python", "train.py"]))], 0, 1, []),
    ([START, START], [child(2, ("python", 1, ["python", "train.py"]))], 0, 1, ["python"]),
    ([(0.0, "process", "os.system", ["python train.py"])], [child(2, ("python", 1, ["python", "train.py"]))], 0, 1, []),
    ([(0.0, "fork")], [child(2, ("fork", 1, []))], 0, 1, []),
    ([(0.0, "fork")], [], 0, 0, ["a forked process"]),
    ([], [], 3, 0, ["multiprocessing"]),
    ([], [child(2, ("python", 1, ["python", "-c", "x", "--multiprocessing-fork"]))], 1, 1, []),
    ([(0.0, "fork")], [child(2, ("fork", 1, []), ("python", 1, ["python", "train.py"]))], 0, 1, []),
]


@pytest.mark.parametrize(("events", "told", "made", "observed", "others"), ACCOUNTS)
def test_the_account_adds_up(events, told, made, observed, others):
    """A child that is counted twice, or not at all, makes the coverage statement a lie."""
    facts = account(events, told, 1, made)
    assert (facts["observed"], facts["names"]) == (observed, others)


def test_the_check_at_import_does_nothing_where_no_run_asks():
    """Every `import capture` pays for it."""
    code = (
        f"import sys; sys.path.insert(0, {LIBRARY!r}); import capture; "
        "assert not [name for name in sys.modules if 'lineage' in name]"
    )
    environment = {name: value for name, value in os.environ.items() if name != children.VARIABLE}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_an_import_does_not_fail_for_what_the_parent_would_like_to_know(tmp_path, monkeypatch, caplog):
    """The child's own work matters more."""
    monkeypatch.setenv(children.VARIABLE, str(tmp_path))
    monkeypatch.setattr(hook, "start", lambda *args, **options: 1 / 0)
    children.attach()
    assert "is not told to the run" in caplog.text


def test_what_a_killed_process_left_is_cleared_up_by_the_next(tmp_path):
    """A sweep of which half the runs run out of memory must not fill the disk with folders."""
    import subprocess

    gone = subprocess.Popen(["true"])
    gone.wait()
    parent = tmp_path / "children"
    left = parent / f"capture-lineage-{gone.pid}@{os.uname().nodename}-abc"
    elsewhere = parent / f"capture-lineage-{gone.pid}@another-machine-abc"
    living = parent / f"capture-lineage-{os.getpid()}@{os.uname().nodename}-abc"
    for folder in (left, elsewhere, living):
        folder.mkdir(parents=True)
        (folder / "1.journal").write_text("")
    made = children.make_folder(str(tmp_path))
    try:
        assert os.path.dirname(made) == str(parent)
        assert not left.exists() and elsewhere.exists() and living.exists()
    finally:
        children.remove_folder(made)
    assert not os.path.exists(made)
