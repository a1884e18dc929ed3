"""Capturing all that a process prints: descriptors 1 and 2 lead through a pipe of our own.

A thread (no child process) passes on what comes through to where it went before and to the log. Everything is caught:
Python, C libraries, child processes. POSIX only.

What ``fd`` does to a process
-----------------------------
- Where stdout is a terminal, the way leads through a pseudo-terminal of the same size, so that ``isatty()``, colours,
  the width of progress bars, ``input()``, ``pdb`` and readline are what they were. (Programs that read keys from the
  descriptor of their *output*, as curses does, need mode ``sys`` or ``no``.)
- Where 1 and 2 lead to the same place (a terminal, ``2>&1``) they share one way, and their order is exact. Where they
  lead to two places each keeps its own order; between them the log has the order in which we met them, which is
  right to within milliseconds, not to the byte.
- A slow reader of our output slows the process down, as it would without us. When a reader goes away
  (``| head``) the process gets the same broken pipe, at its next write. When a destination fails in another way (a
  full disk, a terminal that was closed) recording goes on, and a warning is logged.
- A child that outlives the run still holds the pipe: its output goes to the old destination for as long as this
  process lives, but no longer to the log. When this process ends, the pipe breaks for that child (SIGPIPE, or EIO at
  a pseudo-terminal). Start a daemon with its output redirected, as one should anyway.
- ``os._exit``, ``os.abort`` and ``os.exec*`` are wrapped from the first such capture on, so that what was written
  before them arrives, and so that a program that takes this one's place has the old descriptors. When the process is
  killed from outside or crashes in C, what it wrote in the very last moment (usually under a millisecond) dies with
  the pipe, on the terminal, too. The tracebacks of ``python -X faulthandler`` go to the old stderr directly.
- A forked child writes to the same pipe, so that its output is captured; it never touches the log.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque

from capture.terminal import text_decoder
from capture.unwatched import LibraryThread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from capture.stdio import Log

#: Bytes per read from a pipe. Larger buffers are mapped and unmapped each time, which costs more than it saves.
READ_SIZE = 65_536
#: Size asked for our pipes (Linux): a burst of this size does not wait for the pump.
PIPE_SIZE = 2**20
#: After a small read the pump rests this long, so that it takes a thousand lines at once, not a thousand times one.
REST_S = 0.005
#: How often the size of a terminal is looked at.
WINDOW_CHECK_S = 0.5
#: How long `stop` waits for a destination that takes nothing; the rest goes there later, at the latest at exit.
PATIENCE_S = 2.0


class _Way:
    """From some of the descriptors 1 and 2, through a pipe or pseudo-terminal, to where they led before.

    `lock` is held while a piece is read and recorded, `out` while pieces are passed on; so that `stop` can read what is
    left even while the pump is stuck at a destination that takes nothing.
    """

    def __init__(self, fds: tuple[int, ...]) -> None:
        import stat

        self.fds = fds
        self.lock, self.out = threading.RLock(), threading.RLock()
        self.backlog: deque[bytes] = deque()
        self.decode = text_decoder().decode
        self.open, self.failed = True, False
        self.window: bytes | None = None
        self.rests_below = 2048  # little room: rest only after the smallest reads
        self.destination = _duplicate(fds[0])
        self.takes_all = stat.S_ISREG(os.fstat(self.destination).st_mode)
        try:
            self.reader, self.writer = self._open()
        except OSError:
            os.close(self.destination)
            raise
        self.identity = _identity(self.writer)

    def _open(self) -> tuple[int, int]:
        if os.isatty(self.destination):
            try:
                return self._open_terminal()
            except OSError as error:  # no pseudo-terminals in this container
                _warn("stdout looks like a pipe to this run: %s", error)
        if sys.platform == "win32":
            raise NotImplementedError
        import fcntl

        reader, writer = (_above_standard(fd) for fd in os.pipe())
        try:
            fcntl.fcntl(writer, getattr(fcntl, "F_SETPIPE_SZ", 1031), PIPE_SIZE)
            self.rests_below = READ_SIZE
        except OSError:
            pass  # not Linux, or this user's share is used up: the usual size will do
        return reader, writer

    def _open_terminal(self) -> tuple[int, int]:
        if sys.platform == "win32":
            raise NotImplementedError
        import termios

        reader, writer = (_above_standard(fd) for fd in os.openpty())
        attributes = termios.tcgetattr(writer)
        attributes[1] &= ~termios.OPOST  # the real terminal turns \n into \r\n, once
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(writer, termios.TCSANOW, attributes)
        self.window = b""
        self.reader = reader
        self.follow_window()
        return reader, writer

    def follow_window(self) -> None:
        """Give the pseudo-terminal the size of the real one."""
        if sys.platform == "win32":
            raise NotImplementedError
        import fcntl
        import termios

        try:
            window = fcntl.ioctl(self.destination, termios.TIOCGWINSZ, b"\0" * 8)
            if window != self.window:
                fcntl.ioctl(self.reader, termios.TIOCSWINSZ, window)
                self.window = window
        except OSError:
            pass  # the terminal has gone; nothing is drawn on it any more

    def lead(self) -> None:
        """Make the descriptors lead into it, unless somebody has pointed them elsewhere."""
        for fd in self.fds:
            if _identity(fd) == _identity(self.destination):
                os.dup2(self.writer, fd)

    def restore(self) -> None:
        """Make the descriptors lead where they led before, unless somebody has pointed them elsewhere."""
        for fd in self.fds:
            if _identity(fd) == self.identity:
                os.dup2(self.destination, fd)

    def take(self, record: Callable[[str], object] | None) -> int:
        """Read one piece, if there is one, without waiting; return its size, 0 for none, -1 at the end."""
        with self.lock:
            if not self.open:
                return -1
            if not _wait_readable([self.reader], 0):
                return 0
            try:
                data = os.read(self.reader, READ_SIZE)
            except BlockingIOError:
                return 0
            except OSError:  # EIO: no one holds the other end of the pseudo-terminal
                data = b""
            if record is not None:
                text = self.decode(data, not data)
                if text:
                    record(text)
            if data:
                self.backlog.append(data)
        return len(data) or -1

    def take_all(self, record: Callable[[str], object] | None) -> bool:
        """Read what was written before this call; say whether that was the end.

        What a busy child writes meanwhile is read, too, but not for ever.
        """
        room = PIPE_SIZE  # nothing older is behind that many bytes
        while room > 0:
            size = self.take(record)
            if size <= 0:
                return size < 0
            room -= size
        return False

    def pass_on(self, patience_s: float | None = None) -> bool:
        """Write the backlog to the destination; say whether all of it went.

        Parameters
        ----------
        patience_s : float, optional
            Give up when the destination takes nothing for this long; the rest stays in the backlog.
        """
        if not self.out.acquire(timeout=-1 if patience_s is None else patience_s):
            return False
        try:
            while self.backlog:
                if not self._write_some(self.backlog[0], patience_s):
                    return False
            return True
        finally:
            self.out.release()

    def _write_some(self, data: bytes, patience_s: float | None) -> bool:
        if patience_s is not None and not self.takes_all:
            if not _wait_writable(self.destination, patience_s):
                return False
            data = data[:4096]  # a pipe that is ready takes that much (PIPE_BUF) without blocking
        try:
            count = os.write(self.destination, data)
        except BlockingIOError:  # someone has made the shared descriptor non-blocking
            return _wait_writable(self.destination, 0.1 if patience_s is None else patience_s) or patience_s is None
        except BrokenPipeError:
            self.close_reader()  # so that the process gets the same at its next write
            count = len(self.backlog[0])
        except OSError as error:
            if not self.failed:
                self.failed = True
                _warn("output cannot be passed on to descriptor %d any more: %s", self.fds[0], error)
            count = len(self.backlog[0])
        if count == len(self.backlog[0]):
            self.backlog.popleft()
        else:
            self.backlog[0] = self.backlog[0][count:]
        return True

    def close_writer(self) -> None:
        with _guard:
            if self.writer >= 0:
                os.close(self.writer)
                self.writer = -1

    def close_reader(self) -> None:
        with self.lock, _guard:
            if self.open:
                self.open = False
                os.close(self.reader)

    def close(self) -> None:
        """Close all of it; the descriptors lead elsewhere by now."""
        self.close_writer()
        self.close_reader()
        with self.out, _guard:
            if self.destination >= 0:
                os.close(self.destination)
                self.destination = -1


class FdCapture:
    """Leads descriptors 1 and 2 through a pipe; see `capture.stdio.start_capture`."""

    mode = "fd"

    def __init__(self, log: Log) -> None:
        self._log = log
        self._pid = os.getpid()
        self._record: Callable[[str], object] | None = self._feed
        self._failed = False
        self._suspended = False
        self._faulthandler: Any = None
        self._stopping = threading.Event()
        self._lock = threading.RLock()
        self._ways: list[_Way] = []
        flush_python()
        try:
            for fds in _groups():
                self._ways.append(_Way(fds))
            self._pump = LibraryThread(target=self._run_pump, name="capture-output")
            self._pump.start()  # before anything leads to it: a process that is going down starts no thread any more
        except (OSError, RuntimeError):
            for way in self._ways:
                way.close()
            raise
        _at_first_capture()
        _wrap_departures()
        with _guard:
            _fd_captures.append(self)
        self._lead()

    def stop(self) -> None:
        if os.getpid() != self._pid:
            return
        with self._lock:
            if self._record is None:
                return
            flush_python()
            _flush_c()
            self._restore()
            ended = True
            for way in self._ways:
                way.close_writer()
                ended = way.take_all(self._record) and ended
            self._record = None
            self._stopping.set()
            arrived = [way.pass_on(PATIENCE_S) for way in self._ways]
            for way in self._ways:
                if not way.open:
                    way.close()
        if not all(arrived):
            _warn("what was printed last is still on its way: nobody reads it")
        elif ended:
            self._pump.join(1.0)  # at once; no thread stays behind

    def flush(self) -> None:
        if os.getpid() != self._pid or self._record is None:
            return
        # Python's buffers are flushed only into empty pipes: this must not wait for a slow reader.
        if self._pull():
            with _flushing:
                flush_python(lent=True)
            self._pull()

    def _pull(self) -> bool:
        """Read and pass on what is there without waiting; say whether nothing is left."""
        empty = True
        for way in self._ways:
            if way.pass_on(0.0):  # else its reader is slow, and the process has to feel that
                way.take_all(self._record)
            empty = way.pass_on(0.0) and empty
        return empty

    def suspend(self) -> None:
        if os.getpid() == self._pid and self._record is not None:
            self._suspended = True
            flush_python()
            _flush_c()
            self._restore()
            self.drain()

    def resume(self) -> None:
        if os.getpid() == self._pid and self._record is not None:
            self._suspended = False
            flush_python()
            _flush_c()
            self._lead()

    def __enter__(self) -> FdCapture:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def drain(self, patience_s: float | None = PATIENCE_S) -> None:
        """Read and pass on what has been written, without touching buffers."""
        for way in self._ways:
            way.take_all(self._record)
            way.pass_on(patience_s)

    def leave(self) -> None:
        """Make way for something that ends or replaces this process at once."""
        if os.getpid() == self._pid:
            self._restore()
            self.drain()
            self._flush_log()

    def stay(self) -> None:
        """Undo `leave`: nothing has replaced this process after all."""
        if self._record is not None and not self._suspended:
            self._lead()

    def finish(self) -> None:
        """At exit: nothing may be left on the way."""
        self.stop()
        if os.getpid() == self._pid:
            self._flush_log()
            self.drain(patience_s=None)

    def _flush_log(self) -> None:
        flush = getattr(self._log, "flush", None)
        if flush is not None:
            flush()

    def forget(self) -> None:
        """In a forked child: close what belongs to the parent, and nothing else."""
        if self._faulthandler:
            self._faulthandler.enable(2)
        for way in self._ways:
            for fd in (way.reader if way.open else -1, way.writer, way.destination):
                if fd >= 0:
                    os.close(fd)
            way.open, way.writer, way.destination = False, -1, -1

    def _lead(self) -> None:
        for way in self._ways:
            way.lead()
        self._lead_faulthandler()

    def _restore(self) -> None:
        for way in self._ways:
            way.restore()
        if self._faulthandler:
            self._faulthandler.enable(2)

    def _lead_faulthandler(self) -> None:
        """Let faulthandler write past the pump, which is dead when it speaks.

        Only where the command line or environment has enabled it, which means stderr; a program's own
        ``faulthandler.enable(file)`` cannot be told from one for another file.
        """
        from_environment = os.environ.get("PYTHONFAULTHANDLER") and not sys.flags.ignore_environment
        if from_environment or sys.flags.dev_mode or "faulthandler" in sys._xoptions:
            import faulthandler

            for way in self._ways:
                if 2 in way.fds:
                    self._faulthandler = faulthandler
                    faulthandler.enable(way.destination)

    def _feed(self, text: str) -> None:
        try:
            self._log.feed(text)
        except Exception as error:  # noqa: BLE001 - output goes on whatever becomes of its record
            if not self._failed:
                self._failed = True
                _warn("output could not be recorded: %r", error)

    def _run_pump(self) -> None:
        ways = list(self._ways)
        while ways:
            timeout = WINDOW_CHECK_S if any(way.window is not None for way in ways) else None
            ready = _wait_readable([way.reader for way in ways if way.open], timeout)
            size = rests_below = 0
            for way in list(ways):
                if way.window is not None:
                    way.follow_window()
                if way.reader in ready or not way.open:
                    size, rests_below = way.take(self._record), way.rests_below
                    way.pass_on()
                    if size < 0:
                        ways.remove(way)
                        way.close_reader()
                        if self._record is None:  # else `stop` still needs the old descriptor
                            way.close()
            # Two ways with little in each get no rest, which would blur their order.
            if 0 < size < rests_below and (len(ways) == 1 or size >= 4096) and not self._stopping.is_set():
                self._stopping.wait(REST_S)
        with _guard:
            if self in _fd_captures:
                _fd_captures.remove(self)


def _groups() -> list[tuple[int, ...]]:
    """Return the descriptors to capture; those that lead to the same place share a way.

    A descriptor that was closed when Python started is left alone: what has its number now is some file of the user's.
    """
    standard = ((1, sys.__stdout__), (2, sys.__stderr__))
    found = [(fd, _identity(fd)) for fd, stream in standard if stream is not None]
    found = [(fd, identity) for fd, identity in found if identity is not None]
    if len(found) == 2 and found[0][1] == found[1][1]:
        return [(1, 2)]
    return [(fd,) for fd, _ in found]


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _above_standard(fd: int) -> int:
    """Return `fd`, moved out of the way if it got the number of a closed standard stream."""
    if fd > 2:
        return fd
    moved = _duplicate(fd)
    os.close(fd)
    return moved


def _duplicate(fd: int) -> int:
    """Return a duplicate of `fd` that is no standard stream and that other programs do not inherit."""
    if sys.platform == "win32":  # here and elsewhere: so that type checkers pass over what is not there
        raise NotImplementedError
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)


def _wait_readable(fds: list[int], timeout_s: float | None) -> list[int]:
    if sys.platform == "win32":
        raise NotImplementedError
    import select

    if not fds:
        return []
    if sys.platform == "darwin" and max(fds) < 1024:  # its poll() does not know terminals
        return select.select(fds, [], [], timeout_s)[0]
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(None if timeout_s is None else timeout_s * 1000)]


def _wait_writable(fd: int, timeout_s: float) -> bool:
    if sys.platform == "win32":
        raise NotImplementedError
    import select

    if sys.platform == "darwin" and fd < 1024:
        return bool(select.select([], [fd], [], timeout_s)[1])
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(timeout_s * 1000))


def flush_python(lent: bool = False) -> None:
    """Flush Python's streams; one that is closed, broken, or busy further up this very stack keeps what it has.

    Parameters
    ----------
    lent : bool
        The caller is a thread of ours: leave alone what a user has put in their place, which may not bear that.
    """
    streams = (sys.__stdout__, sys.__stderr__) if lent else (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    for stream in {id(stream): stream for stream in streams if stream is not None}.values():
        try:
            stream.flush()
        except (OSError, ValueError, RuntimeError, AttributeError) as error:
            _debug("%r was not flushed: %r", stream, error)


def _flush_c() -> None:
    """Flush what C libraries have in stdio's buffers.

    Through `_ctypes`, since importing all of `ctypes` takes four times as long. Not by ``fflush(NULL)``, which
    waits for a thread that is reading stdin.
    """
    if sys.platform == "win32":
        raise NotImplementedError
    try:
        import _ctypes

        class Pointer(_ctypes._SimpleCData):
            _type_ = "P"

        library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type,unused-ignore]  # the program itself
        fflush = _ctypes.dlsym(library, "fflush")
        for name in ("__stdoutp", "__stderrp") if sys.platform == "darwin" else ("stdout", "stderr"):
            stream = Pointer.from_address(_ctypes.dlsym(library, name))
            _ctypes.call_function(fflush, (stream,))
    except (ImportError, AttributeError, OSError) as error:
        _debug("the buffers of C's stdio were not flushed: %r", error)


# ------------------------------------------------------- what a process may do to itself while its output is captured

_fd_captures: list[FdCapture] = []
_flushing = threading.RLock()
_prepared = False
_guard = threading.RLock()  #: of what a forked child must not find half changed


def _at_first_capture() -> None:
    global _prepared
    if _prepared:
        return
    _prepared = True
    import atexit

    atexit.register(_finish_all)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)


def _wrap_departures() -> None:
    for name in ("_exit", "abort", "execv", "execve"):  # the other exec functions call one of the last two
        function = getattr(os, name)
        if not hasattr(function, "_capture_leaves"):
            setattr(os, name, _leaving(function))


def _leaving(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function after which this program is no more, so that its output arrives before."""

    def leave(*args: Any, **kwargs: Any) -> Any:
        captures = [capture for capture in reversed(_fd_captures) if capture._pid == os.getpid()]
        for capture in captures:
            capture.leave()
        try:
            return function(*args, **kwargs)
        finally:
            for capture in reversed(captures):
                capture.stay()  # exec failed

    leave.__name__, leave.__doc__ = function.__name__, function.__doc__
    leave._capture_leaves = True  # type: ignore[attr-defined]
    return leave


def _finish_all() -> None:
    for capture in list(reversed(_fd_captures)):
        capture.finish()


def _before_fork() -> None:
    # No thread of ours may hold, or be in the middle of changing, what the child inherits.
    _flushing.acquire(timeout=PATIENCE_S)
    _guard.acquire()


def _after_fork() -> None:
    _guard.release()
    _release(_flushing)


def _after_fork_in_child() -> None:
    _after_fork()
    for capture in _fd_captures:
        capture.forget()
    _fd_captures.clear()


def _release(lock: Any) -> None:
    try:
        lock.release()
    except RuntimeError:
        pass  # not ours: acquiring it had timed out


def _warn(message: str, *args: object) -> None:
    import logging

    logging.getLogger(__name__).warning(message, *args)


def _debug(message: str, *args: object) -> None:
    import logging

    logging.getLogger(__name__).debug(message, *args)
