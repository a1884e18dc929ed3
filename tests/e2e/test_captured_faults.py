"""What can happen to a run while its files are watched: the record says what was seen, and what was not."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest


def lineage(folder, run="latest"):
    return folder.record(run).facts["lineage"]


def names(entries):
    return sorted(entry.get("name", entry["path"]) for entry in entries)


# -------------------------------------------------------------------------------------------------- an end that is hurried


@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGTERM, 1)])
def test_an_interruption_ends_the_wait_for_digests_and_loses_nothing_else(folder, number, times):
    """Who is asked to wait five seconds for a digest that nobody needs presses Ctrl-C, and means the digest."""
    folder.write("""
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
    folder.environment["CAPTURE_LINEAGE__END_WAIT_S"] = "60"
    process = folder.start(stdout=subprocess.DEVNULL)
    folder.wait_for("Completed after")
    time.sleep(0.5)
    begun = time.monotonic()
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.1)
    process.communicate(timeout=30)
    assert time.monotonic() - begun < 20
    assert process.returncode == -number
    record = folder.record(1)
    assert record.status == "COMPLETED"
    seen = record.facts["lineage"]
    assert seen["interim"] is False and "usage" in record.facts and "imports" in record.facts
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
    process.communicate(timeout=30)
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
