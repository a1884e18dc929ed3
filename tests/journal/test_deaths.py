"""The journal of a process that is killed, and of one that forks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from capture import events
from capture.journal import list_journals, read_journal
from capture.liveness import probe
from tests.journal.making import journal_in, metrics_body

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="signals and forks are a matter of POSIX")

BURST = """
import os, sys, threading, time
from capture import events
from tests.journal.making import journal_in
journal = journal_in(sys.argv[1])
number = 0
def tick():
    noted = os.open(sys.argv[3], os.O_CREAT | os.O_WRONLY)
    while True:
        time.sleep(0.2)
        before = number
        journal.tick()
        os.pwrite(noted, b"%020d" % before, 0)
threading.Thread(target=tick, daemon=True).start()
while True:
    journal.append(events.Facts(topic="time", facts=number))
    number += 1
    time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("pause, ticks", [(0, 1), (0, 2), (0.0005, 3), (0.02, 2)])
def test_kill_9_loses_nothing_that_is_older_than_a_tick(tmp_path, pause, ticks):
    """The promise of the journal, which ticks several times within half a second; and no torn line is read as an event."""
    noted = tmp_path / "noted"
    arguments = [str(tmp_path / "journals"), str(pause), str(noted)]
    child = subprocess.Popen([sys.executable, "-c", BURST, *arguments])
    seen, until = [], time.monotonic() + 120
    while len(seen) < ticks and time.monotonic() < until:
        time.sleep(0.001)
        number = int(noted.read_text() or 0) if noted.exists() else 0
        if number not in (0, *seen):
            seen.append(number)
    (path,) = list_journals(arguments[0])
    assert probe(path) == "alive"
    child.kill()
    child.wait()
    assert probe(path) == "dead"
    back = list(read_journal(path))
    assert [event.seq for event in back] == list(range(1, len(back) + 1)), "without a gap"
    assert [event.facts for event in back[1:]] == list(range(len(back) - 1))
    assert len(back) - 1 >= int(noted.read_text()) >= seen[-1]


def forks(folder, count):
    journal = journal_in(folder)
    stop = threading.Event()

    def log():
        while not stop.wait(1e-4):  # not without a pause: two busy threads would mostly wait for each other
            journal.append_body("metrics", metrics_body(*range(50)))

    thread = threading.Thread(target=log)
    thread.start()
    try:
        for _ in range(count):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    silent = journal.append(events.Facts(topic="child", facts=1)).seq == 0
                    silent = silent and journal.append_body("metrics", metrics_body(1)) == 0
                    journal.tick()
                    journal.flush(sync=True)
                    journal.delete()
                    journal.close()
                    code = 0 if silent else 2
                finally:
                    os._exit(code)
            deadline = time.monotonic() + 30
            while True:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    break
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                    pytest.fail("a forked child hangs")
                time.sleep(0.0005)
            assert os.waitstatus_to_exitcode(status) == 0
    finally:
        stop.set()
        thread.join()
    journal.flush()
    back = list(read_journal(journal.path))
    assert [event.seq for event in back] == list(range(1, len(back) + 1))
    assert {event.name for event in back} == {"opened", "metrics"}, "nothing of a child is in it"
    assert probe(journal.path) == "alive", "no child took the lock away"
    journal.close()


def test_children_that_are_forked_under_load_neither_hang_nor_write(tmp_path):
    """Data loaders fork in the middle of training, while another thread logs."""
    forks(str(tmp_path), 10)


@pytest.mark.slow
def test_hundreds_of_forks_under_load(tmp_path):
    """A deadlock that comes once in some hundred forks is met by every user of a data loader; tests/e2e has a thousand."""
    forks(str(tmp_path), 400)


def test_a_child_that_outlives_the_run_does_not_keep_it_alive(tmp_path):
    """Else a run would look alive as long as a forgotten worker does."""
    code = """
import os, sys, time
from tests.journal.making import journal_in
journal_in(sys.argv[1])
if os.fork() == 0:
    sys.stdout.close(); os.close(1)
    time.sleep(60)
print("forked", flush=True)
os._exit(0)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert child.stdout.read() == b"forked\n"
        child.wait()
        (path,) = list_journals(str(tmp_path))
        assert probe(path) == "dead"
    finally:
        child.stdout.close()
        os.killpg(child.pid, signal.SIGKILL)
