"""Which threads work for the library and not for the run: what they open is nobody's input or output."""

from __future__ import annotations

import os
from threading import Event, Thread, current_thread, get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

IDENTS: set[int] = set()  #: of the threads that are the library's at this moment
ENDING_S = 1.0  #: for a thread whose work is done to go


def _forget_others() -> None:
    """In a forked child only the thread that forked goes on; idents of the others are given to new threads."""
    IDENTS.intersection_update({get_ident()})


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_others)


class unwatched:
    """A context in which the calling thread works for the library; it may be entered within itself.

    A class rather than a generator function: it is entered for each file that is recorded.
    """

    __slots__ = ("_ident",)

    def __enter__(self) -> None:
        ident = get_ident()
        self._ident = None if ident in IDENTS else ident
        IDENTS.add(ident)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ident is not None:
            IDENTS.discard(self._ident)


def watch_again() -> None:
    """Take the mark off the calling thread: the code of the user's begins.

    It would stay, and hide what that code does, where Ctrl-C came between the two lines that set it and take it off.
    """
    IDENTS.discard(get_ident())


class LibraryThread(Thread):
    """A daemon thread that works for the library from its first step to its last.

    A daemon: whatever it waits for, it must not keep the process from ending.
    """

    def __init__(self, target: Callable[..., object], name: str, args: tuple[object, ...] = ()) -> None:
        super().__init__(target=target, name=name, args=args, daemon=True)
        self._done = Event()

    def run(self) -> None:
        try:
            with unwatched():
                super().run()
        finally:
            self._done.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread has ended; Ctrl-C may end the waiting, and the thread is waited for again.

        Up to Python 3.12, where a signal's handler raises in `Thread.join`, the thread counts as ended from then on,
        although it works. So its lock is left alone as long as it does.
        """
        if not self.is_alive() or self is current_thread():
            super().join(timeout)
        elif self._done.wait(timeout):
            super().join(ENDING_S)
