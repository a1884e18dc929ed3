"""The process that looks at a repository: whatever it does, the run goes on."""

from __future__ import annotations

import os
import sys
import time

import pytest

from capture.probes import _process
from capture.probes._process import Child

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and shells are others there")


def ended(child: Child) -> int | None:
    """Wait for the exit code, for no more than 20 seconds."""
    until = time.monotonic() + 60
    while (code := child.poll()) is None and time.monotonic() < until:
        child.wait(0.1)
    if code is None:
        child.kill()
    return code


def test_one_that_complains_at_length_still_answers():
    """git warns of each folder that it cannot read: a full pipe of warnings stopped it, and its answer never came."""
    child = Child(["sh", "-c", "head -c 300000 /dev/zero | tr '\\0' 'w' >&2; echo answer"], dict(os.environ), keep=100)
    assert ended(child) == 0
    assert child.output == b"answer\n"
    assert child.complaint == "w" * 65_536


def test_one_that_does_not_die_of_being_killed_is_not_waited_for(monkeypatch):
    """A process that waits for a dead mount takes no signal; the run that had given it up hung with it."""
    monkeypatch.setattr(_process, "_KILL_WAIT_S", 0.01)
    child = Child(["sleep", "600"], dict(os.environ))
    die, child.signal = child.signal, lambda: None
    try:
        child.kill()
        assert os.waitpid(child._pid, os.WNOHANG) == (0, 0)  # back, though it runs on
    finally:
        die()
        os.waitpid(child._pid, 0)
