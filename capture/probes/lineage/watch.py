"""Watched folders: what anybody opens in them, also past Python, as Linux tells it (inotify).

The kernel tells of a folder, not of a tree, and not who opened a file. So each folder is watched on its own, up to a
limit, and what was seen only here is "seen nearby". Nothing is watched on network file systems, where the kernel knows
its own openings only and adding watches may be slow, nor where it would take the user's last inotify instances from
other programs.

Watching begins in a thread. It waits a little first if `ctypes` has yet to be imported, which takes 3 ms: a run that is
over by then pays nothing. Little is missed. Who opens files past Python has imported extension modules, and nearly all
of those that read data import numpy, which imports `ctypes`; then there is no wait. Of the well-known others
`adapters` tells, and before a child process starts, `hurry` can be called.
"""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock, start_new_thread

from capture.unwatched import unwatched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

DELAY_S = 0.02  #: before anything is done, where `ctypes` has to be imported
PAUSE_S = 0.05  #: between two looks at what was opened, so that opening files wakes this thread rarely
STOP_WAIT_S = 1.0  #: for the thread to come to its end
MAX_PATHS = 200_000  #: that are kept, about 200 bytes each
COUNT_LIMIT_S = 0.1  #: for counting the inotify instances in use

#: Folders with these names are not watched, nor is what lies in them.
SKIPPED = frozenset(
    {".git", ".hg", ".svn", "__pycache__", "node_modules", "site-packages"}
    | {".venv", "venv", ".tox", ".nox", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints"}
)
_ENVIRONMENT_FILES = frozenset({"pyvenv.cfg", "conda-meta"})  # what a virtual environment or a conda one contains

#: File systems whose files others may open unseen, or which are slow to ask. FUSE's are told by "fuse.".
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "smb2", "ncpfs", "lustre", "ceph", "glusterfs", "gpfs", "beegfs", "9p"}
    | {"afs", "orangefs", "pvfs2", "ocfs2", "gfs2", "panfs", "virtiofs", "wekafs", "vboxsf", "vmhgfs", "davfs"}
    | {"autofs"}
)

# <sys/inotify.h>
_CLOSE_WRITE, _OPEN, _MOVED_TO, _CREATE = 0x8, 0x20, 0x80, 0x100
_OVERFLOW, _IGNORED, _ONLY_FOLDERS, _IS_FOLDER = 0x4000, 0x8000, 0x01000000, 0x40000000
_WANTED = _OPEN | _CLOSE_WRITE | _MOVED_TO | _CREATE | _ONLY_FOLDERS
_HEADER_SIZE = 16  # int wd, uint32 mask, cookie, len; then the name, padded with zeros


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
    problems : list of str
        Why nothing is watched, or not everything. Complete once `stop` has returned.
    watched : int
        How many folders are watched.
    """

    def __init__(self, folders: Sequence[str], limit: int = 2000, exclude: Sequence[str] = ()) -> None:
        self.problems: list[str] = []
        self.watched = 0
        self._limit = limit
        self._trees = list(dict.fromkeys(os.path.abspath(folder) for folder in folders))
        self._exclude = frozenset(os.path.realpath(folder) for folder in exclude)
        self._single: list[str] = []  # folders that were added and have yet to be watched
        self._known: set[str] = set(self._trees)
        self._seen: dict[str, str] = {}
        self._process = os.getpid()
        self._state = "new"  # -> "started" -> "stopped"; or "ended" by the thread itself
        # Held while the thread waits: before it begins, and between two looks. Freeing one ends that waiting for good.
        self._asleep, self._pausing = allocate_lock(), allocate_lock()
        self._running = allocate_lock()  # held by the thread
        self._first = allocate_lock()  # held until the given folders are watched
        self._kernel: _Inotify | None = None
        self._wake_ends: tuple[int, int] | None = None
        self._waking = allocate_lock()  # so that nobody writes to a descriptor that was closed, and is another file now

    # ------------------------------------------------------------------------------------------- for the run's thread

    def start(self) -> None:
        """Begin to watch, beside the run. Returns at once."""
        if self._state != "new":
            raise RuntimeError("this watch was started before; make a new one")
        self._state = "started"
        if not sys.platform.startswith("linux"):
            self.problems.append(f"folders can be watched on Linux only, not on {sys.platform}")
            self._state = "ended"
            return
        for lock in (self._asleep, self._pausing, self._running, self._first):
            lock.acquire()
        try:
            # Not a `Thread`: making one waits until it runs, ten times as long as this takes.
            start_new_thread(self._work, ())
        except RuntimeError as error:
            self._fail(f"no thread could be started to watch folders: {error}")
            self._end()

    def add(self, folder: str) -> None:
        """Watch one more folder, without those below it; such as that of a file that was read. Returns at once."""
        folder = os.path.abspath(folder)
        if folder in self._known or self._state in ("stopped", "ended") or os.getpid() != self._process:
            return
        self._known.add(folder)
        self._single.append(folder)
        self._wake()

    def hurry(self, timeout_s: float = 0.2) -> None:
        """Wait until the given folders themselves are watched: for what may open files at once, such as a child."""
        if self._state == "started" and os.getpid() == self._process:
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
        if self._state == "started":
            self._state = "stopped"
            _free(self._asleep)
            _free(self._pausing)
            self._wake()
            if not self._running.acquire(timeout=STOP_WAIT_S):
                self.problems.append(f"watching did not come to an end within {STOP_WAIT_S:g} s")
        return self._seen

    # ----------------------------------------------------------------------------------------------- for its own thread

    def _work(self) -> None:
        with unwatched():
            try:
                delay = 0.0 if "ctypes" in sys.modules else DELAY_S
                if delay:
                    self._asleep.acquire(timeout=delay)
                if self._stopping:
                    self._fail("the run was over before folders were watched")
                elif self._open():
                    self._watch_all()
                    self._listen()
            except Exception as error:  # noqa: BLE001 - a thread of ours must not print a trace beside the user's output
                self._fail(f"watching folders failed: {type(error).__name__}: {error}")
                _log().warning("watching folders failed", exc_info=True)
            finally:
                self._close()
                self._end()

    @property
    def _stopping(self) -> bool:
        return self._state == "stopped"

    def _open(self) -> bool:
        """Get an inotify instance, if there are enough; say whether."""
        available = _number("/proc/sys/fs/inotify/max_user_instances")
        used = instances_in_use(COUNT_LIMIT_S)
        if available is not None and used is not None and used > available // 2:
            self._fail(f"{used} of this user's {available} inotify instances are in use; the rest is left to others")
            return False
        try:
            self._kernel = _Inotify()
            self._wake_ends = os.pipe()
        except (OSError, AttributeError, ImportError) as error:
            self._fail(f"the system refuses to watch folders: {error}")
            return False
        os.set_blocking(self._wake_ends[1], False)
        return True

    def _watch_all(self) -> None:
        """Watch the folders themselves, then what lies below them."""
        watchable = [folder for folder in self._trees if self._watch(folder, given=True)]
        _free(self._first)
        self._watch_below(watchable)

    def _watch_below(self, folders: Iterable[str], made_now: bool = False) -> None:
        """Watch what lies below folders that are watched, breadth first, symbolic links last."""
        level, links = list(folders), list[str]()
        while level or links:
            below: list[str] = []
            for folder in level or links:
                if self._stopping:
                    self._fail(f"the run was over before all folders were watched ({self.watched} were)")
                    return
                real, linked = self._subfolders(folder, made_now)
                below += [path for path in real if self._watch(path)]
                links += [path for path in linked if self._watch(path)] if level else []
                if not level:
                    below += [path for path in linked if self._watch(path)]
            if not level:
                links = []
            level = below
            self._drain()  # before the kernel's queue is full

    def _subfolders(self, folder: str, made_now: bool) -> tuple[list[str], list[str]]:
        """Return the folders in a watched folder, and the links to folders."""
        real, linked = list[str](), list[str]()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name in _ENVIRONMENT_FILES:
                        self._unwatch(folder)
                        return [], []
                    try:
                        if not entry.is_dir():
                            if made_now:  # it was there before its folder was watched, and so are its files
                                self._see(entry.path, "written")
                        elif entry.name not in SKIPPED:
                            (linked if entry.is_symlink() else real).append(entry.path)
                    except OSError as error:
                        _log().debug("%s cannot be looked at: %s", entry.path, error)
        except OSError as error:
            _log().debug("%s cannot be listed: %s", folder, error)
        return real, linked

    def _watch(self, folder: str, given: bool = False) -> bool:
        """Watch one folder; say whether it is watched now and was not before."""
        kernel = self._kernel
        assert kernel is not None
        if self._exclude and os.path.realpath(folder) in self._exclude:
            return False
        if self.watched >= self._limit:
            self._fail(f"more than {self._limit} folders: the others are not watched")
            return False
        try:
            network = kernel.network_file_system(folder)
            if network:
                self._fail(f"{folder} lies on a network file system ({network}) and is not watched")
                return False
            watch = kernel.add(folder)
        except OSError as error:
            import errno

            if error.errno == errno.ENOSPC:
                self._fail(f"the system's limit of watches is reached: {self.watched} folders are watched")
            elif given and not isinstance(error, FileNotFoundError):
                self._fail(f"{folder} cannot be watched: {error.strerror}")
            return False
        if watch in kernel.folders:
            kernel.folders[watch] = folder  # it was moved, or is known by another name, too
            return False
        kernel.folders[watch] = folder
        self.watched += 1
        return True

    def _unwatch(self, folder: str) -> None:
        assert self._kernel is not None
        self._kernel.remove(folder)
        self.watched -= 1

    def _listen(self) -> None:
        """Note what is opened, until the run is over, and then once more."""
        import select

        assert self._kernel is not None and self._wake_ends is not None
        poll = select.poll()
        for descriptor in (self._kernel.descriptor, self._wake_ends[0]):
            poll.register(descriptor, select.POLLIN)
        while not self._stopping:
            self._watch_added()
            for descriptor, _ in poll.poll():
                if descriptor == self._wake_ends[0]:
                    os.read(descriptor, 4096)
            self._pausing.acquire(timeout=PAUSE_S)
            self._drain()
        self._watch_added()
        self._drain()

    def _watch_added(self) -> None:
        while self._single:
            folder = self._single.pop()
            # Data lies outside the watched trees as often as not; a folder in an environment holds code.
            if not SKIPPED.intersection(folder.split(os.sep)):
                self._watch(folder, given=True)

    def _drain(self) -> None:
        """Note what the kernel has to tell by now."""
        assert self._kernel is not None
        last = None
        for watch, mask, name in self._kernel.events():
            if (watch, mask, name) == last:
                continue
            last = (watch, mask, name)
            if mask & _OVERFLOW:
                self._fail("more files were opened at once than the system tells of: some were not seen")
            elif mask & _IGNORED:
                if self._kernel.folders.pop(watch, None) is not None:
                    self.watched -= 1
            elif watch in self._kernel.folders:
                path = os.path.join(self._kernel.folders[watch], os.fsdecode(name))
                if not mask & _IS_FOLDER:
                    if not mask & _CREATE:  # a file that was only linked or made without being opened is no news
                        self._see(path, "opened" if mask & _OPEN else "written")
                elif mask & (_CREATE | _MOVED_TO) and os.path.basename(path) not in SKIPPED:
                    self._watch(path)
                    self._watch_below([path], made_now=bool(mask & _CREATE))

    def _see(self, path: str, how: str) -> None:
        if how == "written" or path not in self._seen:
            if len(self._seen) >= MAX_PATHS and path not in self._seen:
                self._fail(f"more than {MAX_PATHS} files were opened in watched folders: the others are not listed")
            else:
                self._seen[path] = how

    # ----------------------------------------------------------------------------------------------------- small things

    def _fail(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def _wake(self) -> None:
        with self._waking:
            if self._wake_ends is not None:
                try:
                    os.write(self._wake_ends[1], b"!")
                except BlockingIOError:
                    pass  # it has been woken a thousand times, and has yet to look

    def _close(self) -> None:
        with self._waking:
            ends, self._wake_ends = self._wake_ends, None
            for end in ends or ():
                os.close(end)
        if self._kernel is not None:
            self._kernel.close()

    def _end(self) -> None:
        self._state = "ended"
        _free(self._first)
        _free(self._running)


class _Inotify:
    """The system calls. Everything raises OSError."""

    def __init__(self) -> None:
        import ctypes
        import struct

        self._errno = ctypes.get_errno
        library = ctypes.CDLL(None, use_errno=True)
        self._add: Callable[[int, bytes, int], int] = library.inotify_add_watch
        self._add.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
        self._remove: Callable[[int, int], int] = library.inotify_rm_watch
        self._header = struct.Struct("iIII").unpack_from
        self.descriptor: int = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(self._errno(), os.strerror(self._errno()))
        self.folders: dict[int, str] = {}  # by number of the watch
        self._devices: dict[int, str | None] = {}  # kind of network file system, by number of the device

    def add(self, folder: str) -> int:
        """Watch a folder and return the watch's number: the same for the same folder."""
        watch = self._add(self.descriptor, os.fsencode(folder), _WANTED)
        if watch < 0:
            raise OSError(self._errno(), os.strerror(self._errno()), folder)
        return watch

    def remove(self, folder: str) -> None:
        for watch, watched in list(self.folders.items()):
            if watched == folder:
                del self.folders[watch]
                self._remove(self.descriptor, watch)

    def events(self) -> Iterable[tuple[int, int, bytes]]:
        """Yield number of the watch, mask, and name in the folder, until there is nothing more."""
        while True:
            try:
                data = os.read(self.descriptor, 1 << 16)
            except BlockingIOError:
                return
            offset = 0
            while offset < len(data):
                watch, mask, _, length = self._header(data, offset)
                offset += _HEADER_SIZE + length
                yield watch, mask, data[offset - length : offset].rstrip(b"\0")

    def network_file_system(self, folder: str) -> str | None:
        """Name the kind of network file system that a folder lies on; None if it is none."""
        device = os.stat(folder).st_dev
        if device not in self._devices:
            kind = file_system_kinds().get(f"{os.major(device)}:{os.minor(device)}", "")
            self._devices[device] = kind if kind in NETWORK or kind.startswith("fuse.") else None
        return self._devices[device]

    def close(self) -> None:
        os.close(self.descriptor)


def file_system_kinds(path: str = "/proc/self/mountinfo") -> dict[str, str]:
    """Return the kind of file system of each mounted device, by "major:minor"; empty where that cannot be read."""
    kinds = {}
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                mount, _, system = line.partition(" - ")
                fields, kind = mount.split(), system.split()
                if len(fields) > 2 and kind:
                    kinds[fields[2]] = kind[0]
    except OSError as error:
        _log().debug("cannot tell network file systems: %s", error)
    return kinds


def instances_in_use(timeout_s: float, proc: str = "/proc") -> int | None:
    """Count this user's inotify instances, as far as it may be seen; None if that takes too long.

    An instance that forked processes share is counted for each of them.
    """
    from time import monotonic

    end = monotonic() + timeout_s
    user, count = os.getuid(), 0
    try:
        processes = [name for name in os.listdir(proc) if name.isdigit()]
    except OSError:
        return None
    for process in processes:
        if monotonic() > end:
            return None
        folder = f"{proc}/{process}/fd"
        try:
            if os.stat(f"{proc}/{process}").st_uid != user:
                continue
            descriptors = os.listdir(folder)
        except OSError:
            continue  # it has ended, or may not be looked at
        for descriptor in descriptors:
            try:
                # "anon_inode:inotify", or "anon_inode:[inotify]" as newer kernels write it
                count += os.readlink(f"{folder}/{descriptor}").strip("]").endswith("inotify")
            except OSError:
                continue  # it has been closed
    return count


def _number(path: str) -> int | None:
    try:
        with open(path, "rb") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _free(lock: Any) -> None:
    """Release a lock that may be free already."""
    try:
        lock.release()
    except RuntimeError:
        pass  # somebody else was faster, and that is all the same


def _log() -> Any:
    import logging

    return logging.getLogger("capture")
