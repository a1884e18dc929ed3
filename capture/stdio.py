"""Capturing what a process prints, without getting in its way.

`start_capture` begins it, in one of three modes:

``fd``
    The process's file descriptors 1 and 2 lead through a pipe of our own, and a thread (no child process) passes on
    what comes through to where it went before and to the log. Everything is caught: Python, C libraries, child
    processes. POSIX only; elsewhere, and where it cannot be set up, ``sys`` takes its place with a warning.
``sys``
    ``sys.stdout`` and ``sys.stderr`` are tapped: what Python code writes to them goes on as before, and to the log of
    the run that the writing code belongs to. Several runs in one process do not mix.
``no``
    Nothing.

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
from contextvars import ContextVar

from capture.errors import SettingError, suggest
from capture.terminal import text_decoder
from capture.unwatched import LibraryThread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, Protocol

    class Log(Protocol):
        """Where captured output goes; `capture.terminal.OutputLog` is one."""

        def feed(self, data: str) -> object:
            """Take in output; called from any thread, also from within itself."""


MODES = ("fd", "sys", "no")

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


def default_mode(owns_process: bool) -> str:
    """Return the capture mode for a run that was not told any.

    Parameters
    ----------
    owns_process : bool
        Whether the run is what the process is there for: the experiment's script is ``__main__``, in the main
        thread, and no test runner is around it.

    Returns
    -------
    str
        ``"fd"`` if so and the platform is POSIX, otherwise ``"sys"``. In a Jupyter kernel it is ``"sys"``: there the
        streams do not lead to a descriptor, and the kernel mirrors descriptors 1 and 2 into them.
    """
    if not owns_process or not _has_descriptors() or _in_kernel():
        return "sys"
    if threading.current_thread() is not threading.main_thread() or in_test():
        return "sys"
    return "fd"


def in_test() -> bool:
    """Say whether pytest runs a test in this very process; a script that a test has started is not meant."""
    return "_pytest" in sys.modules and "PYTEST_CURRENT_TEST" in os.environ


def _has_descriptors() -> bool:
    return os.name == "posix" and sys.platform not in ("emscripten", "wasi")


def _in_kernel() -> bool:
    return type(sys.stdout).__module__.partition(".")[0] == "ipykernel"


def start_capture(mode: str, log: Log, owner: ContextVar[Any] | None = None) -> Capture:
    """Begin to feed what the process prints to `log`.

    Parameters
    ----------
    mode : {"fd", "sys", "no"}
    log : object with a method ``feed(text)``
        Usually a `capture.terminal.OutputLog`. It is neither flushed nor closed by the capture.
    owner : ContextVar, optional
        Mode ``sys``: says to which run the calling code belongs; its value now (hashable) stands for this capture. By
        default the context that calls `start_capture`, and those copied from it, belong to this capture.

    Returns
    -------
    Capture
        To be stopped; `Capture.mode` says which mode it really is.

    Raises
    ------
    SettingError
        If there is no such mode (also a KeyError).

    Notes
    -----
    In mode ``sys``, code that belongs to no capture (a plain thread, which inherits no context) is recorded by the
    only live one; if several are live that are not nested in each other, by all of them: a line too many is better
    than one lost. A nested capture's output is recorded by the captures around it, too.
    """
    if mode == "no":
        return Capture()
    if mode == "sys":
        return SysCapture(log, owner)
    if mode != "fd":
        close = suggest(mode, MODES)
        hint = f"\n  did you mean:  {close}" if close else ""
        raise SettingError(f"there is no capture mode {mode!r}.{hint}\n  modes:  {', '.join(MODES)}")
    if not _has_descriptors():
        _warn("capture mode 'fd' needs a POSIX system; mode 'sys' is used instead")
        return SysCapture(log, owner)
    try:
        return FdCapture(log)
    except (OSError, RuntimeError) as error:
        _warn("capture mode 'fd' cannot be set up (%s); mode 'sys' is used instead", error)
        return SysCapture(log, owner)


class Capture:
    """A capture that captures nothing, and what all of them can do."""

    mode = "no"

    def stop(self) -> None:
        """End the capture: all that was printed before has been fed to the log afterwards.

        May be called twice, from a signal handler, at exit, and in a forked child (where it does nothing). It does not
        wait for children that hold our pipe.
        """

    def flush(self) -> None:
        """Feed all that was printed so far to the log. For a ticker, from any thread."""

    def suspend(self) -> None:
        """Let output go where it went before, unrecorded, until `resume`. For a full-screen program."""

    def resume(self) -> None:
        """Go on after `suspend`."""

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


# ------------------------------------------------------------------------------------------------------ mode sys

_chain: ContextVar[tuple[SysCapture, ...]] = ContextVar("capture_output", default=())
_owner: ContextVar[Any] = _chain
_taps: list[_Tap] = []
_live: list[SysCapture] = []
_guard = threading.RLock()

# By owner the logs to feed, and those that get what nobody owns. Replaced or extended, never iterated.
_routes: dict[Any, tuple[Log, ...]] = {}
_outermost: tuple[Log, ...] = ()


class SysCapture(Capture):
    """Taps ``sys.stdout`` and ``sys.stderr``; see `start_capture`."""

    mode = "sys"

    def __init__(self, log: Log, owner: ContextVar[Any] | None = None) -> None:
        global _owner
        self.log = log
        self._pid = os.getpid()
        self._suspended = False
        _at_first_capture()
        with _guard:
            self._around = tuple(capture for capture in _chain.get() if capture in _live)
            _chain.set((*self._around, self))
            _owner = _chain if owner is None else owner
            self._key = _owner.get()
            _live.append(self)
            if len(_live) == 1:
                _taps.extend(_Tap(name) for name in ("stdout", "stderr") if getattr(sys, name) is not None)
            _reroute()

    def stop(self) -> None:
        with _guard:
            if self not in _live or os.getpid() != self._pid:
                return
            _live.remove(self)
            if not _live:
                while _taps:
                    _taps.pop().remove()
            _reroute()
        if _chain.get()[-1:] == (self,):
            _chain.set(self._around)

    def suspend(self) -> None:
        with _guard:
            self._suspended = True
            _reroute()

    def resume(self) -> None:
        with _guard:
            self._suspended = False
            _reroute()

    def route(self) -> tuple[Any, tuple[Log, ...]]:
        """Return the owner, and where to send what belongs to it: here and to the live captures around."""
        captures = [capture for capture in (*self._around, self) if capture in _live and not capture._suspended]
        return self._key, tuple(capture.log for capture in captures)

    def is_outermost(self) -> bool:
        return not any(capture in _live for capture in self._around)


def _reroute() -> None:
    global _outermost
    _outermost = tuple(log for capture in _live if capture.is_outermost() for log in capture.route()[1])
    routes = dict(capture.route() for capture in _live)
    for key in [key for key in _routes if key not in routes]:
        del _routes[key]
    _routes.update(routes)
    for tap in _taps:
        tap.lead(_live[0].log if len(_live) == len(_outermost) == 1 else None)


def _feed(text: str) -> None:
    for log in _routes.get(_owner.get(), _outermost):
        log.feed(text)


def _routing_write(write: Callable[[str], int]) -> Callable[[str], int]:
    def write_and_route(text: str) -> int:
        count = write(text)
        for log in _routes.get(_owner.get(), _outermost):
            log.feed(text)
        return count

    return write_and_route


class _Tap:
    """What is done to one of the two streams, and how it is undone.

    The stream keeps its identity for those who hold it already (logging handlers made before the run): its `write`
    is replaced on the object itself. `sys.stdout` becomes a stand-in whose `buffer` is tapped, too, which cannot be
    done in place. Streams that refuse the first get by with the second. So does a notebook's from the second cell on:
    for each cell IPython puts a `write` of its own on the stream, and then puts back what it had found there.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._stream = stream = getattr(sys, name)
        in_kernel = _in_kernel()
        self._original: Callable[[str], int] = type(stream).write.__get__(stream) if in_kernel else stream.write
        self._before = getattr(stream, "__dict__", {}).get("write")
        self._write: Callable[[str], int] | None = None
        self._in_place = True
        self._stand_in: _StandIn | None = None
        self.lead(None)
        if in_kernel or not self._in_place or getattr(stream, "buffer", None) is not None:
            self._stand_in = _stand_in_for(stream)
            self._stand_in._capture_lead(self._write)
            setattr(sys, name, self._stand_in)

    def lead(self, log: Log | None) -> None:
        """Send what is written to `log`, or, if that is None, to whom it belongs."""
        tee = getattr(log, "tee", None)
        write = _routing_write(self._original) if tee is None else tee(self._original)
        if self._in_place and self._is_on_top():
            try:
                self._stream.write = write
            except (AttributeError, TypeError):
                self._in_place = False
        if self._stand_in is not None:
            self._stand_in._capture_lead(write)
        self._write = write

    def remove(self) -> None:
        """Undo it, unless somebody has put something of their own on top."""
        if self._in_place and self._is_on_top():
            if self._before is None:
                del self._stream.write
            else:
                self._stream.write = self._before
        if self._stand_in is not None:
            self._stand_in._capture_lead(None)
            if getattr(sys, self._name) is self._stand_in:
                setattr(sys, self._name, self._stream)

    def _is_on_top(self) -> bool:
        return self._write is None or getattr(self._stream, "__dict__", {}).get("write") is self._write


def _stand_in_for(stream: Any) -> _StandIn:
    """Return the stand-in of `stream`: always the same one, since a logging handler may keep it from run to run."""
    if isinstance(stream, _StandIn):
        return stream
    stand_in = getattr(stream, "__dict__", {}).get("_capture_stand_in")
    if stand_in is None:
        stand_in = _StandIn(stream)
        try:
            stream._capture_stand_in = stand_in
        except (AttributeError, TypeError):
            pass  # it takes no attributes; then its stand-in lasts for one capture
    found: _StandIn = stand_in
    return found


class _StandIn:
    """Behaves like the stream it stands for in every respect but `write` and `buffer`, which are tapped."""

    __slots__ = ("__weakref__", "_capture_buffer", "_capture_stream", "write")

    write: Callable[[Any], int]  # a slot: found faster than a method, and it is called for every word

    def __init__(self, stream: Any) -> None:
        object.__setattr__(self, "_capture_stream", stream)
        object.__setattr__(self, "_capture_buffer", None)
        self._capture_lead(None)

    def _capture_lead(self, write: Callable[[Any], int] | None) -> None:
        object.__setattr__(self, "write", write or self._capture_stream.write)

    def writelines(self, lines: Iterable[Any]) -> None:
        for line in lines:
            self.write(line)

    @property
    def buffer(self) -> Any:
        buffer = self._capture_stream.buffer
        if self._capture_buffer is None or self._capture_buffer._capture_stream is not buffer:
            object.__setattr__(self, "_capture_buffer", _StandInBuffer(buffer))
        return self._capture_buffer

    def detach(self) -> Any:
        return _StandInBuffer(self._capture_stream.detach())

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._capture_stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._capture_stream, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._capture_stream, name, value)
        if name == "write":
            self._capture_lead(value)

    def __delattr__(self, name: str) -> None:
        delattr(self._capture_stream, name)
        if name == "write":
            self._capture_lead(None)

    def __repr__(self) -> str:
        return repr(self._capture_stream)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._capture_stream)

    def __next__(self) -> Any:
        return next(self._capture_stream)

    def __enter__(self) -> Any:
        self._capture_stream.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> Any:
        return self._capture_stream.__exit__(*exc_info)


class _StandInBuffer(_StandIn):
    """The same for a stream of bytes: what is written to it directly is recorded."""

    __slots__ = ()

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        write, decode = stream.write, text_decoder().decode

        def write_and_route(data: Any) -> int:
            count: int = write(data)
            if _routes:
                _feed(decode(bytes(data)[:count]))
            return count

        self._capture_lead(write_and_route)


# ------------------------------------------------------------------------------------------------------- mode fd


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


class FdCapture(Capture):
    """Leads descriptors 1 and 2 through a pipe; see the module's docstring."""

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
        _flush_python()
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
            _flush_python()
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
                _flush_python(lent=True)
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
            _flush_python()
            _flush_c()
            self._restore()
            self.drain()

    def resume(self) -> None:
        if os.getpid() == self._pid and self._record is not None:
            self._suspended = False
            _flush_python()
            _flush_c()
            self._lead()

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


def _flush_python(lent: bool = False) -> None:
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


def flush_streams() -> None:
    """Flush standard output and error, so that what is written next to the other one stands behind."""
    _flush_python()


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
    _live.clear()
    _reroute()


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
