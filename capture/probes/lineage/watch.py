"""Watched folders: what anybody opens in them, also past Python, as Linux tells it (inotify).

The kernel tells of a folder, not of a tree, and not who opened a file. So each folder is watched on its own, up to a
limit, and what was seen only here is "seen nearby". The work is done in `inotify`, by a thread.

That thread waits a little first if `ctypes` has yet to be imported, which takes 3 ms: a run that is over by then pays
nothing. Little is missed. Who opens files past Python has imported extension modules, and nearly all of those that read
data import numpy, which imports `ctypes`; then there is no wait. Of the well-known others `adapters` tells, and before
a child process starts, `hurry` can be called.
"""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock, start_new_thread

from capture.complaints import logger
from capture.unwatched import unwatched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

DELAY_S = 0.02  #: before anything is done, where `ctypes` has to be imported
STOP_WAIT_S = 1.0  #: for the thread to come to its end


class FolderWatch:
    """Tells which files were opened, and which of them written, in some folders and below.

    Parameters
    ----------
    folders : list of str
        Watched first, in this order; then what lies below them, breadth first. Links to folders are followed last.
    limit : int
        How many folders are watched at most.
    exclude : sequence of str
        Folders that are not watched, nor what lies below them.

    Attributes
    ----------
    losses : list of str
        What was to be seen and was not.
    problems : list of str
        Why nothing is watched, or not everything. Complete once `stop` has returned.
    watched : int
        How many folders are watched.
    asking : bool
        Programs that this library has started look at files in the folders; `answered` says that they are done.
    meanwhile : set of str
        Files that were opened then and never since, and not written: nobody else may have.
    """

    def __init__(
        self, folders: Sequence[str], limit: int = 2000, exclude: Sequence[str] = (), asking: bool = False
    ) -> None:
        self.problems: list[str] = []
        self.losses: list[str] = []
        self.watched = 0
        self.limit = limit
        self.trees = list(dict.fromkeys(os.path.abspath(folder) for folder in folders))
        self.exclude = exclude
        self.added: list[str] = []  # folders that were added and have yet to be watched
        self.seen: dict[str, str] = {}
        self.asking, self.has_answer = asking, False
        self.meanwhile: set[str] = set()
        self._known: set[str] = set(self.trees)
        self._process = os.getpid()
        self._state = "new"  # -> "waiting" -> "working" -> "stopped"; "ended" by the thread itself
        self._changing = allocate_lock()  # held while the state changes
        # Held while the thread waits: before it begins, and between two looks. Freeing one ends that waiting for good.
        self._asleep, self.pausing = allocate_lock(), allocate_lock()
        self._running = allocate_lock()  # held by the thread
        self._first = allocate_lock()  # held until the given folders are watched
        self._wake_end: int | None = None
        self._waking = allocate_lock()  # so that nobody writes to a descriptor that was closed, and is another file now

    # ------------------------------------------------------------------------------------------- for the run's thread

    def start(self) -> None:
        """Begin to watch, beside the run. Returns at once."""
        if self._state != "new":
            raise RuntimeError("this watch was started before; make a new one")
        if not sys.platform.startswith("linux"):
            self.fail(f"folders can be watched on Linux only, not on {sys.platform}")
            self._state = "ended"
            return
        self._state = "waiting"
        for lock in (self._asleep, self.pausing, self._running, self._first):
            lock.acquire()
        try:
            # Not a `Thread`: making one waits until it runs, ten times as long as this takes.
            start_new_thread(self._work, ())
        except RuntimeError as error:
            self.fail(f"no thread could be started to watch folders: {error}")
            self._end()

    def add(self, folder: str) -> None:
        """Watch one more folder, without those below it; such as that of a file that was read. Returns at once."""
        folder = os.path.abspath(folder)
        if folder in self._known or self._state in ("stopped", "ended") or os.getpid() != self._process:
            return
        self._known.add(folder)
        self.added.append(folder)
        self._wake()

    def answered(self) -> None:
        """Whoever looked at files for this library is done. Returns at once."""
        self.has_answer = True
        if os.getpid() == self._process:
            self._wake()

    def hurry(self, timeout_s: float = 0.2) -> None:
        """Wait until the given folders themselves are watched: for what may open files at once, such as a child."""
        if self._state in ("waiting", "working") and os.getpid() == self._process:
            _free(self._asleep)
            if self._first.acquire(timeout=timeout_s):
                _free(self._first)

    def stop(self) -> dict[str, str]:
        """End watching.

        Returns
        -------
        dict
            Absolute path of each file to "opened" or "written"; without symbolic links resolved. Empty in a forked
            child, to which nothing belongs of what its parent sees.
        """
        if os.getpid() != self._process:
            return {}
        with self._changing:
            before = self._state
            if before in ("waiting", "working"):
                self._state = "stopped"
        if before == "waiting":  # it will find that out by itself; there is nothing to wait for
            self.fail("the run was over before folders were watched")
            _free(self._asleep)
        elif before == "working":
            _free(self.pausing)
            self._wake()
            if not self._running.acquire(timeout=STOP_WAIT_S):
                self.fail(f"watching did not come to an end within {STOP_WAIT_S:g} s")
        return self.seen

    # ---------------------------------------------------------------------------------------------- for its own thread

    def _work(self) -> None:
        with unwatched():
            try:
                if "ctypes" not in sys.modules:
                    self._asleep.acquire(timeout=DELAY_S)
                with self._changing:
                    if self._state != "waiting":
                        return
                    self._state = "working"
                from capture.probes.lineage.inotify import listen

                listen(self)
            except Exception as error:  # noqa: BLE001 - a thread of ours must not print a trace beside the user's output
                self.fail(f"watching folders failed: {type(error).__name__}: {error}")
                logger().warning("watching folders failed", exc_info=True)
            finally:
                self._end()

    @property
    def stopping(self) -> bool:
        return self._state == "stopped"

    def wake_by(self, descriptor: int | None) -> None:
        """Take the descriptor that wakes the thread when something is written to it; None before it is closed."""
        with self._waking:
            self._wake_end = descriptor

    def heard_all(self) -> None:
        """Let `stop` return: nothing more will be seen."""
        _free(self._running)

    def given_are_watched(self) -> None:
        """Let those go on who waited for the given folders."""
        _free(self._first)

    def fail(self, problem: str) -> None:
        """Write down why something is not watched, once."""
        if problem not in self.problems:
            self.problems.append(problem)

    def lose(self, what: str) -> None:
        """Write down that something which was watched went unseen, once."""
        if what not in self.losses:
            self.losses.append(what)

    def _wake(self) -> None:
        with self._waking:
            if self._wake_end is not None:
                try:
                    os.write(self._wake_end, b"!")
                except BlockingIOError:
                    pass  # it has been woken a thousand times, and has yet to look

    def _end(self) -> None:
        with self._changing:
            self._state = "ended"
        _free(self._first)
        _free(self._running)


def _free(lock: Any) -> None:
    """Release a lock that may be free already."""
    try:
        lock.release()
    except RuntimeError:
        pass  # somebody else was faster, and that is all the same
