"""The work of `watch`: asking the kernel for what is opened in folders, and reading what it answers.

Nothing is watched on network file systems, where the kernel knows its own openings only and adding watches may be slow,
nor where it would take the user's last inotify instances from other programs.
"""

from __future__ import annotations

import os
import sys
from sys import byteorder

from capture.complaints import logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from capture.probes.lineage.watch import FolderWatch

PAUSE_S = 0.05  #: between two looks at what was opened, so that opening files wakes this thread rarely
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
_OF_FILES = _OPEN | _CLOSE_WRITE  # events with nothing else in their mask say nothing new when they come again
_HEADER_SIZE, _LENGTH_AT = 16, 12  # int wd, uint32 mask, cookie, len; then the name, padded with zeros
MAX_TOLD = 100_000  #: events that are known again


def listen(watch: FolderWatch) -> None:
    """Watch folders and note what is opened in them, until that is to stop."""
    listening = Listening(watch)
    try:
        if listening.open():
            listening.watch_all()
            listening.listen()
            watch.heard_all()  # the kernel takes 5 to 15 ms to take its instance back: nobody has to wait for that
    finally:
        listening.close()


class Listening:
    """The folders that are watched, and what is heard of them."""

    def __init__(self, watch: FolderWatch) -> None:
        self._front = watch
        self._exclude = _identities(watch.exclude)
        self._kernel: Inotify | None = None
        self._ends: tuple[int, int] | None = None
        self._links: set[str] = set()  # to folders, that were met
        self._new: list[tuple[str, bool]] = []  # folders that came up, and whether they were made there

    def open(self) -> bool:
        """Get an inotify instance, if there are enough; say whether."""
        if sys.platform == "win32":  # here and below: so that type checkers pass over what is not there
            return False
        available = _number("/proc/sys/fs/inotify/max_user_instances")
        used = instances_in_use(COUNT_LIMIT_S)
        if available is not None and used is not None and used > available // 2:
            self._front.fail(f"{used} of this user's {available} inotify instances are in use: the rest is for others")
            return False
        try:
            self._kernel = Inotify()
            self._ends = os.pipe()
        except (OSError, AttributeError, ImportError) as error:
            self._front.fail(f"the system refuses to watch folders: {error}")
            return False
        os.set_blocking(self._ends[1], False)
        self._front.wake_by(self._ends[1])
        return True

    def watch_all(self) -> None:
        """Watch the folders themselves, then what lies below them."""
        watchable = [folder for folder in self._front.trees if self._watch(folder, real=False)]
        self._front.given_are_watched()
        self._watch_below(watchable)

    def _watch_below(self, folders: Iterable[str], made_now: bool = False) -> None:
        """Watch what lies below folders that are watched, breadth first, symbolic links last."""
        from collections import deque

        real, links = deque(folders), deque[str]()
        while real or links:
            if self._front.stopping:
                self._front.fail(f"the run was over before all folders were watched ({self._front.watched} were)")
                return
            folder = real.popleft() if real else links.popleft()
            if folder in self._links and not self._watch(folder, real=False):
                continue
            below, linked = self._subfolders(folder, made_now)
            real.extend(path for path in below if self._watch(path))
            links.extend(linked)
            self._links.update(linked)
            self._note()  # before the kernel's queue is full

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

    def _watch(self, folder: str, real: bool = True) -> bool:
        """Watch one folder; say whether what lies below it is to be watched now.

        A folder that is watched already is so under another name if it was moved. If it is named by the user or by a
        link (`real` is false), it was reached on another way, and its first name stays: links may run in circles.
        """
        kernel, front = self._kernel, self._front
        assert kernel is not None
        if front.watched >= front.limit:
            front.fail(f"more than {front.limit} folders: the others are not watched")
            return False
        try:
            found = os.stat(folder)
            if (found.st_dev, found.st_ino) in self._exclude:
                return False
            network = kernel.network_file_system(found.st_dev)
            if network:
                front.fail(f"{folder} lies on a network file system ({network}) and is not watched")
                return False
            watch = kernel.add(folder)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return False  # no folder, or no longer one
        except OSError as error:
            import errno

            if error.errno == errno.ENOSPC:
                front.fail(f"the system's limit of watches is reached: {front.watched} folders are watched")
            else:
                front.fail(f"{folder} cannot be watched: {error.strerror}")
            return False
        before = kernel.folders.get(watch)
        if before is not None and not real:
            return False
        kernel.folders[watch] = folder
        kernel.told.clear()  # the same events may mean other paths now
        front.watched += before is None
        return before != folder

    def _unwatch(self, folder: str) -> None:
        assert self._kernel is not None
        self._kernel.remove(folder)
        self._front.watched -= 1

    def listen(self) -> None:
        """Note what is opened, until the run is over, and then once more."""
        if sys.platform == "win32":
            return
        import select

        assert self._kernel is not None and self._ends is not None
        poll = select.poll()
        for descriptor in (self._kernel.descriptor, self._ends[0]):
            poll.register(descriptor, select.POLLIN)
        while not self._front.stopping:
            self._watch_added()
            for descriptor, _ in poll.poll():
                if descriptor == self._ends[0]:
                    os.read(descriptor, 4096)
            self._front.pausing.acquire(timeout=PAUSE_S)
            has_answer = self._front.has_answer
            self._drain()
            if has_answer and self._front.asking:  # what was opened before is told of by now
                self._front.asking = False
                self._kernel.told.clear()  # what is opened again from here on is news
        self._watch_added()
        self._drain()

    def _watch_added(self) -> None:
        while self._front.added:
            folder = self._front.added.pop()
            # Data lies outside the watched trees as often as not; a folder in an environment holds code.
            if not SKIPPED.intersection(folder.split(os.sep)):
                self._watch(folder, real=False)

    def _drain(self) -> None:
        """Note what the kernel has to tell by now, and watch the folders that came up."""
        self._note()
        while self._new and not self._front.stopping:
            folder, made = self._new.pop()
            self._watch(folder)
            self._watch_below([folder], made_now=made)

    def _note(self) -> None:
        assert self._kernel is not None
        for watch, mask, name in self._kernel.events():
            if mask & _OVERFLOW:
                self._front.lose("more files were opened at once than the system tells of: some were not seen")
            elif mask & _IGNORED:
                if self._kernel.folders.pop(watch, None) is not None:
                    self._front.watched -= 1
            elif watch in self._kernel.folders:
                path = os.path.join(self._kernel.folders[watch], os.fsdecode(name))
                if not mask & _IS_FOLDER:
                    if not mask & _CREATE:  # a file that was only linked or made without being opened is no news
                        self._see(path, "opened" if mask & _OPEN else "written")
                elif mask & (_CREATE | _MOVED_TO) and os.path.basename(path) not in SKIPPED:
                    self._new.append((path, bool(mask & _CREATE)))

    def _see(self, path: str, how: str) -> None:
        seen = self._front.seen
        if path not in seen and len(seen) >= MAX_PATHS:
            self._front.lose(f"more than {MAX_PATHS} files were opened in watched folders: the others are not listed")
            return
        if not (self._front.asking and how == "opened"):
            self._front.meanwhile.discard(path)
        elif path not in seen:
            self._front.meanwhile.add(path)
        if how == "written" or path not in seen:
            seen[path] = how

    def close(self) -> None:
        """Give back what was taken."""
        self._front.wake_by(None)
        for end in self._ends or ():
            os.close(end)
        if self._kernel is not None:
            self._kernel.close()


class Inotify:
    """The system calls. Everything raises OSError."""

    _errno: Callable[[], int]
    _header: Callable[[bytes, int], tuple[int, ...]]
    descriptor: int

    def __init__(self) -> None:
        if sys.platform == "win32":
            raise OSError("there is no inotify on Windows")
        import ctypes
        import struct

        self._errno = ctypes.get_errno
        library = ctypes.CDLL(None, use_errno=True)
        self._add: Callable[[int, bytes, int], int] = library.inotify_add_watch
        self._add.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
        self._remove: Callable[[int, int], int] = library.inotify_rm_watch
        self._header = struct.Struct("iIII").unpack_from
        self.descriptor = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(self._errno(), os.strerror(self._errno()))
        self.folders: dict[int, str] = {}  # by number of the watch
        self.told: set[bytes] = set()  # events of files that were yielded, as the kernel writes them
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
        """Yield number of the watch, mask, and name in the folder, until there is nothing more.

        That a file is opened or written once more is no news, and is left out: a loop that opens files should not have
        to wait for a thread that takes its events apart.
        """
        told = self.told
        while True:
            try:
                data = os.read(self.descriptor, 1 << 16)
            except BlockingIOError:
                return
            offset = 0
            while offset < len(data):
                length = int.from_bytes(data[offset + _LENGTH_AT : offset + _HEADER_SIZE], byteorder)
                end = offset + _HEADER_SIZE + length
                event = data[offset:end]
                offset = end
                if event in told:
                    continue
                watch, mask, _, _ = self._header(event, 0)
                if not mask & ~_OF_FILES and len(told) < MAX_TOLD:
                    told.add(event)
                yield watch, mask, event[_HEADER_SIZE:].rstrip(b"\0")

    def network_file_system(self, device: int) -> str | None:
        """Name the kind of network file system on a device; None if it is none."""
        if sys.platform == "win32":
            return None
        if device not in self._devices:
            kind = file_system_kinds().get(f"{os.major(device)}:{os.minor(device)}", "")
            self._devices[device] = kind if kind in NETWORK or kind.startswith("fuse.") else None
        return self._devices[device]

    def close(self) -> None:
        os.close(self.descriptor)


def _identities(folders: Iterable[str]) -> frozenset[tuple[int, int]]:
    """Return device and inode of each folder that there is."""
    found = set()
    for folder in folders:
        try:
            stat = os.stat(folder)
        except (OSError, ValueError):
            continue
        found.add((stat.st_dev, stat.st_ino))
    return frozenset(found)


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
    if sys.platform == "win32":
        return None
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


def _log() -> Any:
    return logger()
