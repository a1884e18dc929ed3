r"""The run's append-only event log: every event is here before any observer hears of it.

A journal is a file of lines, each ``CRC JSON\n``: eight hexadecimal digits of the CRC-32 of the JSON bytes, a blank,
the event as one JSON object, a line end. The object begins ``{"e":"NAME","s":N,"t":T``, so that name and place of an
event are known without parsing it. The writer holds an exclusive lock on the file while it lives. The
specification is `docs/format.md`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque, namedtuple
from zlib import crc32

from capture import plainjson
from capture.codec import encode
from capture.complaints import logger
from capture.events import ENDINGS, Output, Unknown, from_json
from capture.locks import LocksUnsupportedError, try_lock
from capture.quoting import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from capture.events import Event, Opened

WRITE_AT_ONCE_S = 0.05  #: an event is written at once when the last write is older than this
MAX_BUFFERED = 256 * 1024  #: bytes that may wait for the ticker in a burst
SYNC_INTERVAL_S = 5.0  #: a journal that has changed is forced to the disk at least this often
RETRY_S = 1.0  #: between attempts to write after the disk refused
MAX_KEPT = 64 * 2**20  #: bytes kept in memory while the disk refuses
STATE_CHANGES = frozenset({"queued", "started", "resumed"}) | ENDINGS  #: written at once, forced to the disk soon
_BULK = frozenset({"metrics", "output", "heartbeat"})  #: what is given up first when memory runs short, too
_CHUNK = 1 << 20

_to_json = plainjson.encoder((",", ":"), ensure_ascii=False, allow_nan=False)
_write = os.write  # tests put failing disks here
_datasync = getattr(os, "fdatasync", os.fsync)


class Line(namedtuple("Line", "seq kind data end")):
    """One event as it is stored."""

    __slots__ = ()
    seq: int
    kind: str
    data: bytes  #: the JSON object, without checksum and line end
    end: int  #: offset in the file behind this line; 0 while it is only in memory


# ------------------------------------------------------------------------------------------------------------- places


def state_dir(fallback: str | None = None) -> str:
    """Return the folder for what is not delivered yet, made if need be.

    Parameters
    ----------
    fallback : str, optional
        Folder of the first local store. Its ``_capture`` is taken where the home is missing, cannot be written or goes
        away with its container.

    Returns
    -------
    str
        ``SETTINGS.STATE_DIR``; else ``capture`` in the place that the system has for state; else the fallback; else a
        temporary folder, about which a warning is logged.

    Raises
    ------
    OSError
        If there is not even that.
    """
    asked = _asked_for()
    if asked:
        candidates = [os.path.abspath(os.path.expanduser(asked))]
    else:
        home = _home_state_dir()
        candidates = [home] if home is not None and not (fallback and _goes_away(home, fallback)) else []
    if fallback:
        candidates.append(os.path.join(os.path.abspath(fallback), "_capture"))
    problems = []
    for path in candidates:
        problem = _unwritable(path, shared=path.endswith("_capture"))
        if problem is None:
            return path
        problems.append(problem)
    import tempfile

    path = _temporary_state_dir()
    if _unwritable(path) is not None or (sys.platform != "win32" and os.lstat(path).st_uid != os.getuid()):
        path = tempfile.mkdtemp(prefix="capture-")
    _log().warning(
        "There is no lasting place for what observers have not stored yet (%s); using %s. Set CAPTURE_STATE_DIR.",
        "; ".join(problems) or "no home directory",
        path,
    )
    return path


def state_dirs(fallback: str | None = None) -> list[str]:
    """Return every folder in which journals of this user may wait: that of now, and those that are taken at need."""
    places = [state_dir(fallback), _temporary_state_dir()]
    if fallback:
        places.append(os.path.join(os.path.abspath(fallback), "_capture"))
    return [place for place in dict.fromkeys(places) if os.path.isdir(place)]


def own_cache_dir() -> str | None:
    """Return where what was worked out may be kept for this user's next runs; None if no run was recorded so far."""
    state = os.path.expanduser(_asked_for() or _home_state_dir() or "")
    return os.path.join(state, "cache") if os.path.isdir(state) else None


def _temporary_state_dir() -> str:
    import tempfile

    return os.path.join(tempfile.gettempdir(), f"capture-{os.getuid() if hasattr(os, 'getuid') else 'state'}")


def _asked_for() -> str | None:
    """Return the folder that the settings name, if they do."""
    from capture.settings import SETTINGS

    # the variable is read anew: it may have been set since the settings were read
    asked, origin = os.environ.get("CAPTURE_STATE_DIR"), SETTINGS.origin("STATE_DIR")
    if origin == "code" or not (asked or origin.startswith("environment")):
        asked = SETTINGS.STATE_DIR
    return asked


def _home_state_dir() -> str | None:
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return os.path.join(base, "capture") if base else None
    home = os.path.expanduser("~")
    if not os.path.isdir(home):  # accounts of services name a home that nobody made; making it would surprise
        return None
    if sys.platform == "darwin":
        return os.path.join(home, "Library", "Application Support", "capture")
    return os.path.join(os.environ.get("XDG_STATE_HOME") or os.path.join(home, ".local", "state"), "capture")


def _goes_away(home: str, fallback: str) -> bool:
    """Say whether the home dies with its container while the store lies on a volume that does not."""
    if not (os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv")):
        return False
    root = os.stat("/").st_dev
    return os.stat(_existing(home)).st_dev == root != os.stat(_existing(fallback)).st_dev


def _existing(path: str) -> str:
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def _unwritable(path: str, shared: bool = False) -> str | None:
    """Make the folder and say why it cannot be used, or None; a shared one gets the modes that the umask says."""
    try:
        for folder in (path, os.path.join(path, "journals")):
            os.makedirs(folder, mode=0o777 if shared else 0o700, exist_ok=True)
    except OSError as error:
        return f"{path}: {error.strerror}"
    if not os.access(os.path.join(path, "journals"), os.W_OK | os.X_OK):
        return f"{path}: not writable"
    return None


def list_journals(state: str) -> list[str]:
    """Return the paths of the journals in a state folder, oldest run first, a run's main writer before its others."""
    folder = os.path.join(state, "journals")
    try:
        names = [name for name in os.listdir(folder) if name.endswith(".journal")]
    except FileNotFoundError:
        return []

    def by_age(name: str) -> tuple[str, bool, str]:
        uid, _, writer = name[: -len(".journal")].partition(".")
        return uid, writer != "main", writer  # a uid begins with the time

    return [os.path.join(folder, name) for name in sorted(names, key=by_age)]


def acks_path(journal_path: str) -> str:
    """Return the path of the file that says what observers have acknowledged of a journal."""
    return journal_path[: -len(".journal")] + ".acks"


# ------------------------------------------------------------------------------------------------------------ writing


def body_of(event: Event) -> str:
    """Return the fields of an event as JSON text without the braces."""
    if isinstance(event, Output):
        text = encode(event.text)
        if type(text) is str:
            return f'"text":{quote(text)},"offset":{event.offset}'
    if isinstance(event, Unknown):
        fields = {name: value for name, value in event.payload.items() if name not in ("e", "s", "t")}
    else:
        fields = {name: encode(value) for name, value in event.items()}
    return _to_json(fields)[1:-1]


class Journal:
    """A journal that is being written; made by `Journal.create`.

    Attributes
    ----------
    path, uid, writer : str
    last_seq : int
        Place of the newest event.
    failed : OSError or None
        Why the disk refuses at the moment. Events are kept in memory meanwhile, up to `MAX_KEPT` bytes.
    lost : int
        Events that are not in the file because even the memory for them ran out.
    on_write : callable or None
        Called without arguments after events were written (or, while the disk refuses, taken into memory).
    on_tick : callable or None
        Called without arguments by `tick`.
    on_close : callable or None
        Called without arguments before `close` lets go of the file.
    delivered : callable or None
        ``delivered() -> seq``: up to where every observer has everything, asked when memory runs out.

    Notes
    -----
    An event is written at once when the last write is older than `WRITE_AT_ONCE_S`, in bursts together with others when
    `tick` is called or `MAX_BUFFERED` bytes wait: a write costs a few microseconds, a thread that logs in a loop should
    not pay it each time. Nothing that was written is lost by the death of the process. `tick` also forces the file to
    the disk, for the death of the machine.

    Any thread may append. So may a signal handler that interrupts an append: its event follows the interrupted one. In
    a forked child the journal is inert.
    """

    def __init__(
        self,
        path: str,
        uid: str,
        writer: str,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path, self.uid, self.writer = path, uid, writer
        self.last_seq = 0
        self.failed: OSError | None = None
        self.lost = 0
        self.closed = False
        self.on_write: Callable[[], None] | None = None
        self.on_close: Callable[[], None] | None = None
        self.on_tick: Callable[[], None] | None = None
        self.delivered: Callable[[], int] | None = None
        self._now, self._monotonic = now, monotonic
        self._pid = os.getpid()
        self._descriptor: int | None = None
        self._lock = threading.RLock()
        self._sync_lock = threading.Lock()
        self._busy = False
        self._interrupting: deque[tuple[str, str, float | None]] = deque()
        self._waiting: deque[tuple[int, str, bytes]] = deque()  # seq, kind, line
        self._waiting_bytes = 0
        self._reports: deque[tuple[Any, ...]] = deque()  # for the log
        self._written_at = self._tried_at = float("-inf")
        self._sync_at: float | None = None
        self._named = False  # whether the folder's entry is on the disk, too

    @classmethod
    def create(
        cls,
        directory: str,
        opened: Opened,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Journal:
        """Open a new journal, lock it, and write its first event.

        Parameters
        ----------
        directory : str
            The ``journals`` folder in the state folder.
        opened : Opened
            Names run and writer.
        now, monotonic : callable
            Clocks, in seconds.

        Raises
        ------
        FileExistsError
            If this writer of this run has a journal already.
        ValueError
            If the name of the writer cannot be part of a file's name.
        """
        if not opened.writer or set(opened.writer) & set('/\\:*?"<>|\0'):
            raise ValueError(f"a writer's name becomes part of a file's name, got {opened.writer!r}")
        path = os.path.join(directory, f"{opened.uid}.{opened.writer}.journal")
        journal = cls(path, opened.uid, opened.writer, now, monotonic)
        try:
            journal._open()
        except FileExistsError:
            raise
        except OSError as error:
            journal._refused(error)
        _OPEN.add(journal)
        journal.append(opened)
        return journal

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
        descriptor = os.open(self.path, flags, 0o600)
        try:
            for _ in range(200):  # somebody who looks for free journals may hold the new file's lock for an instant
                if try_lock(descriptor):
                    break
                time.sleep(0.005)
            else:
                _log().warning("%s is locked by somebody else, who may take this run for dead", self.path)
        except LocksUnsupportedError as error:
            _log().debug("%s is not locked: %s", self.path, error)
        self._descriptor = descriptor

    def append(self, event: Event) -> Event:
        """Add an event; return it with its place.

        In a forked child, after `close` and inside a signal handler that interrupted another append, the event is
        returned without a place; in the last case it is in the journal all the same.
        """
        kind = event.kind if isinstance(event, Unknown) else event.name
        place = self._put(kind, body_of(event), None)
        return event if place is None else event.at(*place)

    def append_body(self, name: str, body: str, time: float | None = None) -> int:
        """Add an event whose fields are JSON text already (without the braces); return its seq, 0 if it has none."""
        place = self._put(name, body, time)
        return 0 if place is None else place[0]

    def _put(self, kind: str, body: str, when: float | None) -> tuple[int, float] | None:
        if self._is_inert():
            return None
        with self._lock:
            if self._busy:
                self._interrupting.append((kind, body, when))
                return None
            try:
                self._busy = True
                place = self._take(kind, body, when)
                while self._interrupting:
                    self._take(*self._interrupting.popleft())
                wrote = self._write_if_due(kind)
            finally:
                self._busy = False
        self._told(wrote)
        return place

    def _told(self, wrote: bool) -> None:
        """Tell of what happened, when the lock is free again: a log's handler may write to what is captured here."""
        while self._reports:
            try:
                report = self._reports.popleft()
            except IndexError:  # another thread told it in between
                break
            _log().warning(*report)
        if wrote and self.on_write is not None:
            self.on_write()

    def _take(self, kind: str, body: str, when: float | None) -> tuple[int, float]:
        seq = self.last_seq + 1
        when = round(self._now() if when is None else when, 6)
        name = f'"{kind}"' if kind.isidentifier() and kind.isascii() else plainjson.dumps(kind)
        head = f'{{"e":{name},"s":{seq},"t":{when!r}{"," if body else ""}'.encode()
        fields = body.encode("utf-8", "surrogatepass")
        checksum = crc32(b"}", crc32(fields, crc32(head)))
        line = b"".join((b"%08x " % checksum, head, fields, b"}\n"))  # big fields are copied once
        self._waiting_bytes += len(line)
        # In this order a KeyboardInterrupt in between leaves a gap, never two events with one seq.
        self.last_seq = seq
        self._waiting.append((seq, kind, line))
        return seq, when

    def _write_if_due(self, kind: str) -> bool:
        now = self._monotonic()
        if kind in STATE_CHANGES:
            self._sync_at = now
            due = True
        else:
            due = now - self._written_at > WRITE_AT_ONCE_S or self._waiting_bytes > MAX_BUFFERED
        if due and self.failed is not None:
            due = now - self._tried_at >= RETRY_S
            if not due:
                self._make_room()
                return True
        if due:
            self._write(now)
        return due

    def _write(self, now: float) -> None:
        """Write what waits, in pieces that end at the end of a line."""
        self._tried_at = now
        try:
            if self._descriptor is None:
                self._open()
            while self._waiting:
                lines, size = [], 0
                for _, _, line in self._waiting:
                    lines.append(line)
                    size += len(line)
                    if size >= _CHUNK:
                        break
                self._write_whole(b"".join(lines))
                for _ in lines:
                    self._waiting.popleft()
                self._waiting_bytes -= size
        except OSError as error:
            self._refused(error)
            self._make_room()
            return
        self._written_at = now
        if self._sync_at is None:
            self._sync_at = now + SYNC_INTERVAL_S
        if self.failed is not None:
            self.failed = None
            self._reports.append(("%s can be written again", self.path))

    def _write_whole(self, data: bytes) -> None:
        """Write all of `data`, or nothing: what a full disk took of it is cut off again."""
        descriptor = self._descriptor
        assert descriptor is not None
        written = 0
        try:
            while written < len(data):
                written += _write(descriptor, data[written:] if written else data)
        except OSError:
            if written:
                os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
            raise

    def _refused(self, error: OSError) -> None:
        if self.failed is None:
            text = "The journal %s cannot be written (%s); the run goes on, and its events are kept in memory."
            self._reports.append((text, self.path, error))
        self.failed = error

    def _make_room(self) -> None:
        """Give up what memory cannot hold: first what all observers have, then numbers and output, oldest first."""
        if self._waiting_bytes <= MAX_KEPT:
            return
        delivered = self.delivered() if self.delivered is not None else 0
        excess = self._waiting_bytes - MAX_KEPT // 2
        for worthless in (lambda seq, kind: seq <= delivered, lambda seq, kind: kind in _BULK):
            kept: deque[tuple[int, str, bytes]] = deque()
            for seq, kind, line in self._waiting:
                if excess > 0 and worthless(seq, kind):
                    excess -= len(line)
                    self._waiting_bytes -= len(line)
                    self.lost += 1
                else:
                    kept.append((seq, kind, line))
            self._waiting = kept

    def unwritten(self, after: int) -> list[Line]:
        """Return the events behind `after` that the disk refuses; none while it takes them."""
        with self._lock:
            if self.failed is None:
                return []
            return [Line(seq, kind, line[9:-1], 0) for seq, kind, line in self._waiting if seq > after]

    @property
    def unwritten_count(self) -> int:
        """Number of events that are only in memory."""
        return len(self._waiting)

    def tick(self) -> None:
        """Write what waits and force it to the disk if that is due; the run's ticker calls it a few times a second."""
        self.flush()
        if self._sync_at is not None and self._monotonic() >= self._sync_at:
            self._sync()
        if self.on_tick is not None:
            self.on_tick()

    def flush(self, sync: bool = False) -> None:
        """Write what waits; with `sync`, return when it is on the disk."""
        if self._is_inert():
            return
        wrote = False
        with self._lock:
            if self._waiting and not self._busy:
                try:
                    self._busy = True
                    self._write(self._monotonic())
                    wrote = True
                finally:
                    self._busy = False
        self._told(wrote)
        if sync:
            self._sync()

    def _sync(self) -> None:
        with self._sync_lock:  # not the lock of `append`: a busy disk takes seconds
            if self._is_inert() or self._descriptor is None:
                return
            self._sync_at = None
            try:
                _datasync(self._descriptor)
                if not self._named:
                    sync_folder(os.path.dirname(self.path))
                    self._named = True
            except OSError as error:
                _log().warning("%s could not be forced to the disk: %s", self.path, error)

    def close(self) -> None:
        """Write what waits and let go of the file: from now on others may deliver what it holds."""
        if not self._is_inert():
            self.flush()
            if self.on_close is not None:
                self.on_close()
            self._let_go()

    def delete(self) -> None:
        """Remove the file, which must happen before its lock is free, and close it."""
        if self._is_inert():
            return
        if sys.platform == "win32":  # an open file cannot be removed there
            self._let_go()
        if self._descriptor is not None or sys.platform == "win32":
            _unlink(self.path)
        self._let_go()

    def _let_go(self) -> None:
        with self._lock, self._sync_lock:
            self.closed = True
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                os.close(descriptor)
        _OPEN.discard(self)

    def _is_inert(self) -> bool:
        return self.closed or self._pid != os.getpid()

    def _forked(self) -> None:
        """In a forked child: drop the descriptor, so that the lock goes when the parent does."""
        self.closed = True
        self._lock, self._sync_lock = threading.RLock(), threading.Lock()  # another thread may have held them
        self._waiting.clear()
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


_OPEN: set[Journal] = set()


def _forked() -> None:
    for journal in _OPEN:
        journal._forked()
    _OPEN.clear()


if sys.platform != "win32":
    # Nothing is locked before the fork: the child touches no lock that it has not made itself, and a fork inside a
    # signal handler would wait for ever for a lock that the interrupted code holds.
    os.register_at_fork(after_in_child=_forked)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def sync_folder(path: str) -> None:
    """Force the entries of a folder to the disk, where the system can."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ------------------------------------------------------------------------------------------------------------ reading


def iter_lines(path: str, offset: int = 0) -> Iterator[Line]:
    """Yield the events of a journal as they are stored, from `offset` (the `end` of an earlier line) on.

    A last line that is not whole yet, or never will be, is not there. A line with a wrong checksum is skipped, and
    reported in the log.
    """
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        for data, end in split_lines(file.read, offset):
            line = parse_line(data, end)
            if line is None:
                _log().warning("%s: skipped a damaged line that ends at byte %d", path, end)
            else:
                yield line


def split_lines(read: Callable[[int], bytes | None], offset: int) -> Iterator[tuple[bytes, int]]:
    """Yield ``(line without its end, offset behind it)`` for each whole line."""
    rest: list[bytes] = []
    while chunk := read(_CHUNK):
        *whole, last = chunk.split(b"\n")
        for piece in whole:
            data = b"".join((*rest, piece)) if rest else piece
            rest = []
            offset += len(data) + 1
            yield data, offset
        if last:
            rest.append(last)


def parse_line(data: bytes, end: int, verify: bool = True) -> Line | None:
    """Take a stored line apart; None if it is damaged."""
    content = data[9:]
    if verify:
        try:
            if data[8:9] != b" " or int(data[:8], 16) != crc32(content):
                return None
        except ValueError:
            return None
    head = content[:200].split(b",", 2)
    if len(head) == 3 and head[0].startswith(b'{"e":"') and head[1].startswith(b'"s":'):
        name, number = head[0][6:-1], head[1][4:]
        if name.isalnum() and number.isdigit():
            return Line(int(number), name.decode(), content, end)
    try:
        event = plainjson.loads(content)
        return Line(int(event["s"]), str(event["e"]), content, end)
    except (ValueError, KeyError, TypeError):
        return None


def read_journal(path: str) -> Iterator[Event]:
    """Yield the events of a journal, in order, each once."""
    last = 0
    for line in iter_lines(path):
        if line.seq > last:  # a write that was interrupted just after it had happened is repeated
            last = line.seq
            yield event_of(line.data)


def event_of(data: bytes) -> Event:
    """Rebuild an event from the JSON of its line."""
    return from_json(plainjson.loads(data))


def opened_of(path: str) -> Opened | None:
    """Return the first event of a journal, or None if it has no readable one."""
    try:
        for line in iter_lines(path):
            event: Any = event_of(line.data)
            return event if line.kind == "opened" and event.name == "opened" else None
    except OSError:
        pass
    return None


def _log() -> Any:
    return logger("capture.journal")
