"""Digests of the files that a run reads and writes, computed beside it by one thread.

Small files go first, since at the end of a run the time is short and they are many; then the big ones, the smaller of
them first. A file is read in pieces, without Python's lock, and given up between two of them when time is up.

What a digest is worth is said with it: of the whole file, of a sample of a very big one, or none and why. A file that
changes while it is read has none: its bytes of now and its bytes of then make no file that there ever was.

The sample of a file of `size` bytes is the SHA-256 of the text ``capture-sample-1 SIZE\\n`` followed by 64 blocks of
1 MiB, which begin at the bytes ``i * (size - 1 MiB) // 63`` for i = 0 ... 63; so the first and the last are in it.
"""

from __future__ import annotations

import os
import stat
import sys
import threading
import time
from io import FileIO

from capture.complaints import logger
from capture.digests import hash_functions
from capture.unwatched import unwatched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from capture.probes.lineage.digest_cache import DigestCache

#: Bytes read, and hashed, at once. Beside a main function that computes in Python, the thread waits 5 ms for the lock
#: after each of the two: with 1 MiB it comes to 90 MB/s, with 4 MiB to 310; the main function is as fast either way.
CHUNK = 4 << 20
SMALL = 256 << 10  #: below it a file is read in one go, and hashed sooner than its digest could be looked up
SAMPLE_BLOCKS = 64
SAMPLE_BLOCK = 1 << 20  #: bytes
SAMPLE_BYTES = SAMPLE_BLOCKS * SAMPLE_BLOCK  #: a file no larger than its sample is hashed whole, whatever the limit
RACY_S = 2.0  #: a file as young as this may be changed again without its times changing; its digest is not remembered
#: Bytes of big files from which known digests are looked up. Hashing them takes 5 ms; to import SQLite (3 ms, all of
#: them with Python's lock), open the file, ask and write (0.5 ms) takes about as long.
WORTH_A_CACHE = 8 << 20
ATTEMPTS = 2  #: at reading a file that changes meanwhile
SAVE_S = 2.0  #: between two times that new digests are written for other runs, while there is more to do
HURRIED_LOOK_S = 0.05  #: between two looks whether to wait no longer
GRACE_S = 0.25  #: for the thread to notice that time is up
NICE = 15  #: of the thread, while main runs and there are big files to hash

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)


def place_of(info: os.stat_result) -> tuple[int, ...]:
    """Return what tells a file from another and from itself after a change: device, inode, size, mtime, ctime (ns)."""
    return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


def sample_ranges(size: int) -> list[tuple[int, int]]:
    """Return start and length, in bytes, of what is read of a file that is sampled."""
    return [(i * (size - SAMPLE_BLOCK) // (SAMPLE_BLOCKS - 1), SAMPLE_BLOCK) for i in range(SAMPLE_BLOCKS)]


def file_digest(path: str) -> str:
    """Return the SHA-256 of the file; OSError if it cannot be read, or is not a regular file."""
    descriptor = _open(path)
    try:
        size = os.fstat(descriptor).st_size
        hashing = hash_functions(size)[0]()
        while piece := os.read(descriptor, CHUNK):
            hashing.update(piece)
    finally:
        os.close(descriptor)
    return str(hashing.hexdigest())


class Digester:
    """Hashes files in the background, one after the other.

    Parameters
    ----------
    state_dir : str or None
        Folder for digests that are known from earlier runs; None to know none.
    hash_limit_bytes : int
        Size above which a file is sampled (see above).
    hash_budget_bytes : int
        How many bytes are read at most, for all files together.
    now : callable
        Unix time, s.

    Notes
    -----
    `submit` and `result` may be called from any thread, and from handlers of signals and audit events: they take no
    lock. A forked child has what was known at the fork, forgets what was not, and starts a thread of its own at need.
    """

    def __init__(
        self,
        state_dir: str | None,
        hash_limit_bytes: int,
        hash_budget_bytes: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._state_dir = state_dir
        self._limit = max(hash_limit_bytes, SAMPLE_BYTES)
        self._budget = hash_budget_bytes
        self._now = now
        self._work = _Work()
        _remember_for_forks(self)

    def submit(self, path: str, stat: os.stat_result | None = None) -> None:
        """Have a file hashed, as it is when its turn comes; anew, if it was submitted before.

        Parameters
        ----------
        path : str
            Absolute: the working directory may be another by then.
        stat : os.stat_result, optional
            If the caller has it; spares asking for it again, and stands for the file that is not reached in time.
        """
        work = self._work
        if work.closing:
            return
        work.asked[path] = stat
        work.results.pop(path, None)
        work.waiting[path] = stat
        if work.asleep:
            work.wake()
        elif not work.started:
            self._start(work)

    def result(self, path: str) -> dict[str, Any] | None:
        """Return what is known of a file that was submitted; None while, or if, nothing is.

        Returns
        -------
        dict
            digest : str or None, hexadecimal; sampled : bool; size : bytes, or None; mtime : s (Unix time), or None;
            stat : `place_of` the file that has this digest, or None; why : str why there is no digest of the whole
            file, or None.
        """
        result = self._work.results.get(path)
        return None if result is None else result.plain()

    def finish(self, wait_s: float) -> bool:
        """Wait until all that was submitted is hashed, at most so long; take no more.

        Returns
        -------
        bool
            Whether all was done in time. What was not has a result that says so.
        """
        work = self._work
        work.closing = True
        if work.stop:
            return work.complete
        if work.started:
            if work.stepped_back and (work.waiting or work.big or work.at_big):
                # The thread cannot step forward again, but a new one begins in front.
                work.relieved = self._worker(work, nice=False).start()
            work.wake()
            wait_s = self._wait(work, wait_s)
        elif work.waiting:  # no thread could be started
            work.deadline = time.monotonic() + wait_s
            self._worker(work, nice=False).work_off()
        work.stop = True
        work.complete = not work.unfinished()
        if not work.complete:
            self._give_up(work, wait_s)
        return work.complete

    def hurry(self) -> None:
        """Have `finish`, in another thread, wait no longer than it has."""
        work = self._work
        work.hurried = True
        work.deadline = time.monotonic()

    # ------------------------------------------------------------------------------------------------------- inside

    def _wait(self, work: _Work, wait_s: float) -> float:
        """Wait until all is done, in vain or not; return how long it was to be, in seconds."""
        begun = time.monotonic()
        while (left_s := begun + wait_s - time.monotonic()) > 0 and not work.done.wait(min(HURRIED_LOOK_S, left_s)):
            if work.hurried:
                break
        return time.monotonic() - begun if work.hurried else wait_s

    def _worker(self, work: _Work, nice: bool = True) -> _Worker:
        return _Worker(work, self._state_dir, self._limit, self._budget, self._now, nice)

    def _start(self, work: _Work) -> None:
        if work.starting.acquire(blocking=False):
            work.started = True
            work.started = self._worker(work).start()

    def _give_up(self, work: _Work, wait_s: float) -> None:
        """Leave the threads to themselves, and say of what they have not done that there was no time for it."""
        # A thread that does not notice hangs in a read; asking the same disk for a stat would hang, too.
        answering = not work.started or work.done.wait(GRACE_S)
        for reading in work.begun.values():
            reading.file.close()
        unfinished = work.unfinished()
        results = work.results = work.results.copy()  # a thread may still write into the other
        total = len(work.asked)
        why = work.failure or f"no time left: {total - len(unfinished)} of {total} files hashed within {wait_s:.3g} s"
        with unwatched():
            for path in unfinished:
                info = work.asked[path]
                if answering:
                    try:
                        info = os.stat(path)
                    except (OSError, ValueError) as error:
                        results[path] = _Result(None, None, _reason(error))
                        continue
                results[path] = _Result(None, None if info is None else place_of(info), why)


class _Worker:
    """One thread that hashes, and what it has for itself."""

    def __init__(
        self, work: _Work, state_dir: str | None, limit: int, budget: int, now: Callable[[], float], nice: bool
    ) -> None:
        self._work = work
        self._results = work.results  # which are others, once time is up
        self._state_dir = state_dir
        self._limit = limit
        self._budget = budget
        self._now = now
        self._nice = nice  # to step back behind everybody else when there is a big file to do
        self._buffer = bytearray()  # for the pieces of big files; empty until there is one
        self._cache: DigestCache | None = None
        self._saved_at = 0.0

    def start(self) -> bool:
        """Work in a thread; say whether there could be one."""
        work = self._work
        with work.lock:
            work.threads += 1
        try:
            threading.Thread(target=self._run, name="capture-digests", daemon=True).start()
        except RuntimeError as error:  # no more threads, or the interpreter is going down: `finish` does the work
            work.threads -= 1
            _log().debug("files are hashed at the end of the run: %s", error)
            return False
        return True

    def _run(self) -> None:
        work = self._work
        try:
            self.work_off()
        except Exception as error:  # noqa: BLE001 - whatever it is, `finish` must not wait in vain, and says it
            _log().exception("no more files are hashed")
            work.failure = f"{type(error).__name__}: {error}"
        finally:
            with work.lock:
                work.threads -= 1
                if not work.threads:
                    work.done.set()

    def work_off(self) -> None:
        """Hash until the work is closed and done, somebody else does it, or time is up."""
        work = self._work
        with unwatched():
            while not self._over():
                if work.waiting:
                    self._take_waiting()
                elif work.big:
                    self._take_big()
                elif (work.at_big or work.sorting) and not self._nice:
                    time.sleep(0.001)  # until the first thread has handed over what it is at
                elif work.closing:
                    if self._is_done():
                        break
                else:
                    self._save()
                    work.sleep()
            self._save()

    def _over(self) -> bool:
        return self._work.stopped() or (self._work.relieved and self._nice)

    def _is_done(self) -> bool:
        """Say whether nothing is left, after all: the other thread may have handed something over just now."""
        work = self._work
        with work.lock:
            return self._nice or not (work.waiting or work.big or work.at_big or work.sorting)

    def _take_waiting(self) -> None:
        """Hash the small files that wait; put the big ones, unless their digest is known, in order."""
        with self._work.lock:
            self._work.sorting += 1
        try:
            self._sort_waiting()
        finally:
            with self._work.lock:
                self._work.sorting -= 1

    def _sort_waiting(self) -> None:
        work = self._work
        big: dict[str, tuple[int, ...]] = {}
        while work.waiting and not self._over():
            try:
                path, info = work.waiting.popitem()
            except KeyError:  # the other thread has taken the last
                break
            result = self._tried(self._digest_small, path, info)
            if isinstance(result, _Result):
                self._results[path] = result
            elif result is not None:
                big[path] = result
        if not big:
            return
        work.big_bytes += sum(place[2] for place in big.values())
        known = cache.find(big) if (cache := self._known()) is not None else {}
        with work.lock:
            for path, place in big.items():
                if path in known:
                    self._results[path] = _Result(known[path], place)
                else:
                    work.big.append((place[2], path))
            work.big.sort(reverse=True)

    def _take_big(self) -> None:
        work = self._work
        with work.lock:
            if not work.big:  # the other thread has taken the last
                return
            size, path = work.big.pop()
            work.at_big = self._nice or work.at_big
        if self._nice and not work.stepped_back:
            work.stepped_back = _step_back()
        result = self._tried(self._digest_big, path)
        with work.lock:
            work.at_big = work.at_big and not self._nice
            if result is not None:
                self._results[path] = result
            else:
                work.big.append((size, path))  # for the other thread to go on with
        self._save(SAVE_S)

    def _digest_small(self, path: str, info: os.stat_result | None) -> _Result | tuple[int, ...]:
        """Hash a small file; of a big one only return its place."""
        work = self._work
        hinted = info is not None and stat.S_ISREG(info.st_mode)
        if info is None or not hinted:
            info = os.stat(path)  # before it is opened: opening does something to what is not a regular file
        for _ in range(ATTEMPTS + hinted):
            if not stat.S_ISREG(info.st_mode):
                return _Result(None, place_of(info), "not a regular file")
            size = info.st_size
            if size >= SMALL:
                return place_of(os.stat(path) if hinted else info)
            if work.spent + size > self._budget:
                return self._over_budget(info)
            descriptor = os.open(path, _FLAGS)
            try:
                data = os.read(descriptor, size + 1)
                after = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            work.spend(len(data))
            place = place_of(after)
            if len(data) == size and place == place_of(info):
                return _Result(hash_functions(work.spent)[0](data).hexdigest(), place)
            info = after
        return _Result(None, place_of(info), _CHANGED)

    def _digest_big(self, path: str) -> _Result | None:
        """Hash a file in pieces; None if time is up, or the other thread is to go on."""
        work = self._work
        reading = work.begun.pop(path, None) or _Reading(path)
        handed_over = False
        try:
            while reading.attempt <= ATTEMPTS:
                size = reading.info.st_size
                sampled = size > self._limit
                if reading.hashing is None:
                    if work.spent + (SAMPLE_BYTES if sampled else size) > self._budget:
                        return self._over_budget(reading.info)
                    reading.begin(sampled, hash_functions(work.spent + size)[0], self._now())
                if not self._read(reading):
                    if not work.stopped():
                        work.begun[path] = reading
                        handed_over = True
                    return None
                digest, place = reading.end()
                if digest is not None:
                    if sampled:
                        return _Result(digest, place, self._why_sampled(size), sampled=True)
                    self._remember(path, reading, digest)
                    return _Result(digest, place)
            return _Result(None, place_of(reading.info), _CHANGED)
        finally:
            if not handed_over:
                reading.file.close()

    def _read(self, reading: _Reading) -> bool:
        """Read what is to be read of a file, or all there is of it; False if it is not for this thread to go on.

        Small files that come meanwhile are not kept waiting.
        """
        work = self._work
        buffer = self._buffer = self._buffer or bytearray(CHUNK)
        while reading.parts:
            if self._over():
                return False
            if work.waiting:
                self._take_waiting()
            work.spend(reading.read(buffer))
        return True

    def _tried(self, digest: Callable[..., Any], path: str, *arguments: Any) -> Any:
        try:
            return digest(path, *arguments)
        except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
            return _Result(None, None, _reason(error))
        except Exception as error:  # noqa: BLE001 - logged; the other files must not go without digests for it
            _log().exception("%s could not be hashed", path)
            return _Result(None, None, f"{type(error).__name__}: {error}")

    def _over_budget(self, info: os.stat_result) -> _Result:
        spent = self._work.spent
        why = f"over the budget: {spent:,} of the {self._budget:,} bytes that are hashed for one run are used"
        return _Result(None, place_of(info), why)

    def _why_sampled(self, size: int) -> str:
        return f"a sample: {SAMPLE_BYTES:,} of {size:,} bytes, for the file is larger than {self._limit:,} bytes"

    def _remember(self, path: str, reading: _Reading, digest: str) -> None:
        info = reading.info
        if max(info.st_mtime, info.st_ctime) <= reading.begun - RACY_S and (cache := self._known()) is not None:
            cache.add(path, place_of(info), digest)

    def _known(self) -> DigestCache | None:
        if self._cache is None and self._state_dir is not None and self._work.big_bytes >= WORTH_A_CACHE:
            from capture.probes.lineage.digest_cache import DigestCache

            self._cache, self._saved_at = DigestCache(self._state_dir, self._now), time.monotonic()
        return self._cache

    def _save(self, every_s: float = 0.0) -> None:
        """Write new digests for other runs, if that was not done within so many seconds."""
        if self._cache is not None and self._cache.unsaved and time.monotonic() >= self._saved_at + every_s:
            self._cache.save()
            self._saved_at = time.monotonic()


class _Reading:
    """A big file that is being read and hashed; one thread may begin it, and another go on.

    Attributes
    ----------
    parts : list of (int, int)
        Start and length, in bytes, of what is still to be read; the next is last.
    attempt : int
        1 at first, more if the file changed meanwhile.
    """

    def __init__(self, path: str) -> None:
        self.file = FileIO(_open(path))
        self.info = os.fstat(self.file.fileno())
        self.attempt = 1
        self.begun = 0.0  # Unix time, s
        self.hashing: Any = None
        self.parts: list[tuple[int, int]] = []
        self._cut_short = False

    def begin(self, sampled: bool, hash_function: Callable[..., Any], now: float) -> None:
        size = self.info.st_size
        self.begun = now
        self.hashing = hash_function(b"capture-sample-1 %d\n" % size if sampled else b"")
        self.parts = sample_ranges(size)[::-1] if sampled else [(0, size)]
        self._cut_short = False

    def read(self, buffer: bytearray) -> int:
        """Read and hash as much as goes into the buffer; return how many bytes that was."""
        start, length = self.parts.pop()
        self.file.seek(start)
        count = self.file.readinto(buffer if length >= len(buffer) else memoryview(buffer)[:length])
        if not count:
            self.parts.clear()
            self._cut_short = True
            return 0
        self.hashing.update(buffer if count == len(buffer) else memoryview(buffer)[:count])
        if count < length:
            self.parts.append((start + count, length - count))
        return count

    def end(self) -> tuple[str | None, tuple[int, ...]]:
        """Return the digest, None if the file has changed since it was begun, and the place that it has now."""
        before, self.info = self.info, os.fstat(self.file.fileno())
        hashing, self.hashing = self.hashing, None
        self.attempt += 1
        place = place_of(self.info)
        return None if self._cut_short or place != place_of(before) else str(hashing.hexdigest()), place


_CHANGED = f"it changed while it was read, {ATTEMPTS} times"


class _Result:
    __slots__ = ("digest", "place", "sampled", "why")

    def __init__(
        self, digest: str | None, place: tuple[int, ...] | None, why: str | None = None, sampled: bool = False
    ):
        self.digest = digest
        self.place = place
        self.why = why
        self.sampled = sampled

    def plain(self) -> dict[str, Any]:
        size = mtime = None
        if self.place is not None:
            size, (seconds, ns) = self.place[2], divmod(self.place[3], 1_000_000_000)
            mtime = seconds + 1e-9 * ns  # as os.stat computes it, to the last bit
        return {
            "digest": self.digest,
            "sampled": self.sampled,
            "size": size,
            "mtime": mtime,
            "stat": self.place,
            "why": self.why,
        }


class _Work:
    """What one process has to hash. What `submit` does to it needs no lock: each step is one of the interpreter's."""

    def __init__(self) -> None:
        self.asked: dict[str, os.stat_result | None] = {}
        self.results: dict[str, _Result] = {}
        self.waiting: dict[str, os.stat_result | None] = {}  # and not looked at
        self.big: list[tuple[int, str]] = []  # sizes and paths; the smallest is last
        self.at_big = False  # the first thread is
        self.sorting = 0  # threads that have taken files from `waiting` and may put some of them into `big`
        self.begun: dict[str, _Reading] = {}  # by path, for the other thread to go on with
        self.big_bytes = 0  # of all big files that were submitted
        self.spent = 0  # bytes that were read
        self.closing = False  # nothing more is submitted
        self.stop = False
        self.complete = False  # all is hashed; as `finish` found it
        self.failure: str | None = None  # what ended the thread
        self.deadline: float | None = None  # of the monotonic clock, where `finish` itself does the work
        self.hurried = False  # `finish` is to wait no longer
        self.starting = threading.Lock()
        self.started = False
        self.threads = 0
        self.stepped_back = False  # the first thread has, behind everybody else
        self.relieved = False  # of what it has not begun, by a second one
        self.lock = threading.Lock()  # of `big`, `spent` and `threads`, between these two
        self.done = threading.Event()  # and both are gone
        self.asleep = False
        # A bare lock as the bell: an Event holds one while it is set, and a signal handler may come between.
        self._bell = threading.Lock()
        self._bell.acquire()

    def stopped(self) -> bool:
        return self.stop or (self.deadline is not None and time.monotonic() > self.deadline)

    def spend(self, count: int) -> None:
        with self.lock:
            self.spent += count

    def unfinished(self) -> list[str]:
        """Return the files that have no result, or one from before they were submitted again."""
        results, waiting = self.results, self.waiting
        return [path for path in list(self.asked) if path not in results or path in waiting]

    def sleep(self) -> None:
        """Wait until there is something to do; only for the thread that does it."""
        self.asleep = True
        if not (self.waiting or self.closing):
            self._bell.acquire()
        self.asleep = False

    def wake(self) -> None:
        self.asleep = False
        try:
            self._bell.release()
        except RuntimeError:
            pass  # somebody else has rung


def _step_back() -> bool:
    """Let everybody else have the processor first; say whether this thread, and only this, could do so.

    On one core that main keeps busy, hashing costs main a third to a half of its speed without this, 2 to 5 % with it.
    """
    if sys.platform != "linux":  # where it would hold for the process
        return False
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
    except OSError as error:
        _log().debug("hashing cannot be made to wait for others: %s", error)
        return False
    return True


def _open(path: str) -> int:
    """Open a regular file for reading; a pipe would wait for a writer, or give one a reader that it does not have."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError("not a regular file")
    descriptor = os.open(path, _FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return descriptor


def _reason(error: Exception) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return f"it could not be read: {text}"


# --------------------------------------------------------------------------------------------------------------- forks

_digesters: Any = None  # a WeakSet of all there are


def _remember_for_forks(digester: Digester) -> None:
    """See to it that the digester has new work in a forked child, where there is no thread to do the old."""
    global _digesters
    if _digesters is None:
        from weakref import WeakSet

        _digesters = WeakSet()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_start_anew)
    _digesters.add(digester)


def _start_anew() -> None:
    for digester in list(_digesters):
        old, digester._work = digester._work, _Work()
        digester._work.results = old.results.copy()
        digester._work.asked = {path: old.asked.get(path) for path in old.results}
        digester._work.closing = old.closing


def _log() -> Any:
    return logger()
