"""Threads of the library's own."""

from __future__ import annotations

import signal
import threading

import pytest

from capture.unwatched import LibraryThread


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timers that send signals")
def test_an_interrupted_wait_does_not_end_the_thread():
    """The second Ctrl-C at the end of a run: the thread that told the end was taken for dead, and its facts were lost."""

    def interrupt(signum, frame):
        raise KeyboardInterrupt

    go = threading.Event()
    thread = LibraryThread(target=lambda: go.wait(60), name="test")
    thread.start()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            thread.join(60)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert thread.is_alive()
    thread.join(0.01)
    assert thread.is_alive()
    go.set()
    thread.join(60)
    assert not thread.is_alive()


def test_a_thread_that_was_not_started_cannot_be_waited_for():
    """It would be waited for in vain."""
    with pytest.raises(RuntimeError, match="before it is started"):
        LibraryThread(target=lambda: None, name="test").join()
