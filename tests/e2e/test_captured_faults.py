"""What can happen to a run while its files are watched: the record says what was seen, and what was not."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from capture import open_store


def lineage(folder, run="latest"):
    return folder.record(run).facts["lineage"]


def names(entries):
    return sorted(entry.get("name", entry["path"]) for entry in entries)


# -------------------------------------------------------------------------------------------------- an end that is hurried


@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGTERM, 1)])
def test_an_interruption_ends_the_wait_for_digests_and_loses_nothing_else(folder, number, times):
    """Who is asked to wait five seconds for a digest that nobody needs presses Ctrl-C, and means the digest."""
    folder.write("""
    import capture.watching

    capture.watching.GRACE_S = capture.watching.COPY_GRACE_S = 60  # what is left takes milliseconds; longer on a busy machine

    @ex.automain
    def main(_run):
        with open("big.bin", "rb") as big, open("out.txt", "w") as out:
            out.write(str(len(big.read(5))))
        open("over", "w").close()
    """)
    with open(folder.path / "big.bin", "wb") as file:
        file.truncate(400_000_000_000)
    folder.environment["CAPTURE_LINEAGE__HASH_LIMIT_BYTES"] = str(10**12)
    folder.environment["CAPTURE_LINEAGE__HASH_BUDGET_BYTES"] = str(10**13)
    folder.environment["CAPTURE_LINEAGE__END_WAIT_S"] = "600"
    begun = time.monotonic()
    process = folder.start(stdout=subprocess.DEVNULL)
    folder.wait_for("Completed after")
    # All but the digest, which takes minutes, is done before long; nothing outside tells when. A busy machine needs longer.
    time.sleep(4 + 4 * (time.monotonic() - begun))
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.1)
    process.communicate(timeout=600)
    assert process.returncode == -number
    record = folder.record(1)
    assert record.status == "COMPLETED"
    seen = record.facts["lineage"]
    assert seen.get("interim") is False, (seen, process.stderr)
    assert "usage" in record.facts and "imports" in record.facts
    (big,) = seen["inputs"]
    assert big["digest"] is None and big["why"].startswith("no time left")
    assert "out.txt" in [artifact.name for artifact in record.artifacts]


def test_a_preempted_run_keeps_its_small_outputs(folder):
    """The checkpoint that was written on the way out is what the next run goes on from."""
    folder.write("""
    import time
    @ex.automain
    def main(_run):
        print("ready", flush=True)
        try:
            time.sleep(60)
        finally:
            with open("checkpoint.txt", "w") as file:
                file.write("step 17")
    """)
    process = folder.start(stdout=subprocess.DEVNULL)
    folder.wait_for("ready")
    process.terminate()
    process.communicate(timeout=600)
    record = folder.record(1)
    assert record.status == "PREEMPTED"
    assert [(artifact.name, artifact.read()) for artifact in record.artifacts] == [("checkpoint.txt", b"step 17")]


# ------------------------------------------------------------------------------------------------------- what runs out


def test_a_run_that_has_used_up_its_descriptors_is_recorded(folder):
    """Whoever cannot open a file cannot import `logging` either, in the thread that delivers to the store."""
    folder.write("""
    import resource, time
    @ex.automain
    def main(_run):
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        files = []
        try:
            while True:
                files.append(open("data.txt"))
        except OSError:
            time.sleep(1)
        return len(files) > 5
    """)
    (folder.path / "data.txt").write_text("data")
    done = folder.run()
    assert "Traceback" not in done.stderr and "not stored yet" not in done.stderr
    record = folder.record(1)
    assert (record.status, record.result) == ("COMPLETED", True)
    assert names(record.facts["lineage"]["inputs"]) == ["data.txt"]
    topics = {"environment", "git", "imports", "lineage", "machine", "process", "usage"}
    assert topics <= set(record.facts), "what could not be found out has a reason"


# ------------------------------------------------------------------------------------------- what others open meanwhile


def git(folder, *arguments):
    subprocess.run(["git", "-C", folder.path, *arguments], check=True, capture_output=True)


def test_what_git_and_this_library_open_is_not_held_against_the_run(folder):
    """A statement that says "not complete" in every dirty repository is read by nobody."""
    folder.write("""
    import numpy, time
    @ex.automain
    def main(_run):
        time.sleep(0.5)
    """)
    for name in ("changed.py", "uv.lock", ".gitattributes"):
        (folder.path / name).write_text("# 1\n")
    (folder.path / ".gitignore").write_text("runs/\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "begin")
    (folder.path / "changed.py").write_text("# 2\n")
    (folder.path / "untracked.md").write_text("3\n")
    folder.run()
    seen = lineage(folder)
    assert seen["coverage"]["complete"], seen["coverage"]["text"]
    assert {entry["how"] for entry in seen["nearby"]} <= {"opened, most likely by git"}


def test_what_a_stranger_opens_after_git_is_still_told(folder):
    """Only the time in which git looks is git's."""
    folder.write("""
    import numpy, subprocess, time
    @ex.automain
    def main(_run):
        time.sleep(1.5)
        subprocess.run(["cat", ".gitignore"], stdout=subprocess.DEVNULL)
        time.sleep(0.2)
    """)
    (folder.path / ".gitignore").write_text("runs/\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "begin")
    folder.run()
    seen = lineage(folder)
    assert names(seen["nearby"]) == [".gitignore"] and not seen["coverage"]["complete"]


def test_runs_within_and_beside_a_run_are_no_strangers(folder):
    """Their files are told in their own records, and are watched no less."""
    folder.write(
        """
    import numpy, threading, time
    inner = Experiment("inner")
    @inner.main
    def read_inner():
        open("inner.txt").close()
    @ex.main
    def main(_config):
        time.sleep(0.3)
        open(_config["file"]).close()
        if _config["file"] == "alone.txt":
            inner.run()
        time.sleep(0.3)
    if __name__ == "__main__":
        runs = [threading.Thread(target=ex.run, kwargs={"config_updates": {"file": f"{i}.txt"}}) for i in range(2)]
        [run.start() for run in runs]
        [run.join() for run in runs]
        ex.run(config_updates={"file": "alone.txt"})
    """.replace("    @ex.main\n", '    @ex.config\n    def config():\n        file = ""\n    @ex.main\n')
    )
    for name in ("0.txt", "1.txt", "alone.txt", "inner.txt"):
        (folder.path / name).write_text(name)
    folder.run()
    found = open_store(folder.path / "runs").find()
    by_input = {record.facts["lineage"]["inputs"][0]["name"]: record.facts["lineage"] for record in found}
    assert set(by_input) == {"0.txt", "1.txt", "alone.txt", "inner.txt"}
    for seen in by_input.values():
        assert len(seen["inputs"]) == 1 and seen["nearby"] == []
        assert seen["coverage"]["complete"], seen["coverage"]["text"]


def test_what_a_thread_of_no_run_in_particular_opens_is_said_to_be_anybodys(folder):
    """Threads do not inherit context variables: with two runs at once nobody knows whose they are."""
    folder.write("""
    import threading
    both = threading.Barrier(2)
    @ex.main
    def main():
        both.wait(60)
        thread = threading.Thread(target=lambda: open("data.txt").close())
        thread.start()
        thread.join()
        both.wait(60)
    if __name__ == "__main__":
        runs = [threading.Thread(target=ex.run) for _ in range(2)]
        [run.start() for run in runs]
        [run.join() for run in runs]
    """)
    (folder.path / "data.txt").write_text("data")
    folder.run()
    for record in open_store(folder.path / "runs").find():
        seen = record.facts["lineage"]
        assert names(seen["inputs"]) == ["data.txt"] and "of several in this process" in seen["coverage"]["text"]


# -------------------------------------------------------------------------------------------------------- sudden death


@pytest.mark.slow
def test_a_run_that_is_killed_has_told_what_it_read_and_that_this_was_not_the_end(folder):
    """What was seen by then is recorded, and nobody takes it for the whole."""
    folder.write("""
    import time
    @ex.automain
    def main(_run):
        import fractions
        open("data.txt").close()
        print("ready", flush=True)
        time.sleep(60)
    """)
    (folder.path / "data.txt").write_text("data")
    process = folder.start(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder.wait_for("ready")
    until = time.monotonic() + 90
    while "lineage" not in folder.record(1).facts and time.monotonic() < until:
        time.sleep(0.2)
    process.kill()
    process.wait()
    record = folder.record(1)
    seen = record.facts["lineage"]
    assert record.status == "RUNNING" and "imports" in record.facts
    assert names(seen["inputs"]) == ["data.txt"]
    assert seen["interim"] is True and seen["coverage"]["complete"] is False
    assert "while the run went on" in seen["coverage"]["text"]


# ------------------------------------------------------------------------------------------------- what goes on, or away


def test_a_child_that_outlives_the_run_is_named_in_the_statement(folder):
    """What it does from then on is in no record, and whoever reads this one should know."""
    folder.write("""
    import os, time
    @ex.automain
    def main(_run):
        begun, begins = os.pipe()
        if os.fork() == 0:
            os.setsid()
            for descriptor in (0, 1, 2):
                os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
            open("data.txt").close()
            os.write(begins, b"!")
            time.sleep(3)
            with open("late.txt", "w") as file:
                file.write("late")
            os._exit(0)
        os.read(begun, 1)
    """)
    (folder.path / "data.txt").write_text("data")
    folder.run()
    seen = lineage(folder)
    assert names(seen["inputs"]) == ["data.txt"] and seen["outputs"] == []
    assert seen["children"]["going_on"] == 1
    assert "1 child process did that went on when the run was over" in seen["coverage"]["text"]


def test_paths_relative_to_a_folder_that_was_removed_lead_nowhere(folder):
    """Clean-up code removes the folder that it stands in."""
    folder.write("""
    import os
    @ex.automain
    def main(_run):
        os.mkdir("gone")
        os.chdir("gone")
        os.rmdir("../gone")
        try:
            open("data.txt")
        except FileNotFoundError:
            os.chdir(_run.experiment_info["base_dir"])
        open("data.txt").close()
    """)
    (folder.path / "data.txt").write_text("data")
    folder.run()
    seen = lineage(folder)
    assert names(seen["inputs"]) == ["data.txt"]
    assert seen["coverage"]["complete"], seen["coverage"]["text"]


def test_a_damaged_repository_is_given_no_commit(folder):
    """What stands in HEAD is a commit only if it looks like one."""
    folder.write("""
    @ex.automain
    def main(_run):
        return 1
    """)
    (folder.path / ".git").mkdir()
    (folder.path / ".git" / "HEAD").write_text("garbage\n")
    folder.run()
    record = folder.record()
    assert record.status == "COMPLETED"
    assert all("commit" not in state for state in record.facts["git"]) and record.experiment["repositories"] == []
    assert "damaged" in str(record.facts["git"])
