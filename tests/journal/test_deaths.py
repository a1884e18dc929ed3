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
def tick():
    while True:
        time.sleep(0.2)
        journal.tick()
threading.Thread(target=tick, daemon=True).start()
print("ready", flush=True)
number = 0
while True:
    journal.append(events.Facts(topic="time", facts=[number, time.time()]))
    number += 1
    time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("pause, life_s", [(0, 0.3), (0, 0.55), (0.0005, 0.7), (0.02, 0.5)])
def test_kill_9_loses_nothing_that_is_older_than_half_a_second(tmp_path, pause, life_s):
    """The promise of the journal; and no torn line is ever read as an event."""
    child = subprocess.Popen([sys.executable, "-c", BURST, str(tmp_path), str(pause)], stdout=subprocess.PIPE)
    child.stdout.readline()
    time.sleep(life_s)
    (path,) = list_journals(str(tmp_path))
    assert probe(path) == "alive"
    killed_at = time.time()
    child.kill()
    child.wait()
    child.stdout.close()
    assert probe(path) == "dead"
    back = list(read_journal(path))
    assert [event.seq for event in back] == list(range(1, len(back) + 1)), "without a gap"
    assert [event.facts[0] for event in back[1:]] == list(range(len(back) - 1))
    newest = back[-1].facts[1]
    assert newest > killed_at - 0.5 - max(pause, 0.1)


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
    forks(str(tmp_path), 100)


@pytest.mark.slow
def test_a_thousand_forks_under_load(tmp_path):
    """A deadlock that comes once in some hundred forks is met by every user of a data loader."""
    forks(str(tmp_path), 1_000)


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
