"""Files that are there whole or not at all, with the modes that their folder asks for."""

from __future__ import annotations

import errno
import os
import time

from capture.locks import try_lock, unlock
from capture.observers._names import TEMPORARY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, BinaryIO

CHUNK = 1 << 20  #: bytes that are copied at a time

#: errors of the operating system that may pass by themselves
PASSING = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "ESTALE", "EIO", "ETIMEDOUT", "EAGAIN", "EBUSY", "EMFILE", "ENFILE", "ENOLCK",
                 "EINTR", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENOTCONN", "EREMOTEIO")
    if hasattr(errno, name)
)  # fmt: skip

_SHARED = 0o2020  #: setgid and writable by the group: a folder that colleagues write into together
_counter = iter(range(1, 1 << 62))


def make_folder(path: str, shared: bool = False) -> None:
    """Make a folder, which must not exist yet, with the modes that the umask leaves.

    Parameters
    ----------
    path : str
    shared : bool
        Whether it is open to the group whatever the umask says.
    """
    os.mkdir(path)
    if shared:
        open_to_group(path)


def open_to_group(folder: str) -> None:
    """Let the group write into a folder, whatever the umask says."""
    mode = os.stat(folder).st_mode & 0o7777
    if mode & 0o2070 != 0o2070:
        os.chmod(folder, mode | 0o2070)


def ensure_folder(path: str, shared: bool = False) -> None:
    """Make a folder and those above it, where they are missing."""
    try:
        make_folder(path, shared)
    except FileExistsError:
        if os.path.isdir(path):
            return
        if os.path.lexists(path):
            raise
        ensure_folder(path, shared)  # somebody has deleted it just now
    except FileNotFoundError:
        above = os.path.dirname(path)
        if os.path.isdir(above):  # a place where no folder can be made, such as /proc
            raise
        ensure_folder(above, shared)
        ensure_folder(path, shared)


def is_shared(path: str) -> bool:
    """Say whether a folder is set up for a group: what lies in it is then open to the group too."""
    return os.name == "posix" and os.stat(path).st_mode & _SHARED == _SHARED


def create(path: str, shared: bool = False) -> int:
    """Create a file that does not exist yet and return its descriptor; umask and default ACLs decide its mode."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    if shared:
        os.chmod(path, os.stat(path).st_mode & 0o7777 | 0o060)
    return descriptor


def temporary(folder: str) -> str:
    """Return a path in `folder` that nothing else uses."""
    return os.path.join(folder, f"{TEMPORARY}{os.getpid():x}-{time.time_ns() & 0xFFFFFFFFFF:x}-{next(_counter)}")


def write(path: str, data: bytes, shared: bool = False, durable: bool = False) -> None:
    """Write a file in one step: who opens it sees the old bytes or the new ones.

    Parameters
    ----------
    path : str
    data : bytes
    shared : bool
    durable : bool
        Whether the bytes are on the disk when this returns.
    """
    new = temporary(os.path.dirname(path))
    descriptor = create(new, shared)
    try:
        try:
            write_all(descriptor, data)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(new, path)
    except BaseException:
        remove(new)
        raise


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data` where the descriptor stands."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`."""
    os.lseek(descriptor, offset, os.SEEK_SET)
    write_all(descriptor, data)


def append(descriptor: int, data: bytes) -> int:
    """Write at the end of a file, all of it or nothing: what a full disk cut off is taken back. Return the new size."""
    size = os.fstat(descriptor).st_size
    _write_or_take_back(descriptor, data, size, size)
    return size + len(data)


def write_pieces(descriptor: int, pieces: list[tuple[int | None, bytes]]) -> None:
    """Write pieces of a text, each at its offset or at the end; where one ends, the file does.

    What is written is taken out of the list. A piece that a full disk cut off is taken back, and stays in it.
    """
    size = os.fstat(descriptor).st_size
    while pieces:
        offset, data = pieces[0]
        start = size if offset is None else min(offset, size)
        _write_or_take_back(descriptor, data, start, size)
        if start + len(data) < size:
            os.ftruncate(descriptor, start + len(data))
        size = start + len(data)
        del pieces[0]


def _write_or_take_back(descriptor: int, data: bytes, offset: int, size: int) -> None:
    try:
        write_at(descriptor, data, offset)
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def sync(path: str) -> None:
    """Put what a file or folder holds on the disk; a file that went away meanwhile needs none."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: str) -> None:
    """Remove a file if it is there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def copy(stream: BinaryIO, path: str, shared: bool = False, hashes: tuple[Any, ...] = ()) -> int:
    """Copy a stream into a new file; return its size in bytes.

    Parameters
    ----------
    stream : binary file
    path : str
        A file that does not exist yet.
    shared : bool
    hashes : tuple of hashlib objects
        Updated with what is copied.
    """
    size = 0
    descriptor = create(path, shared)
    try:
        while True:
            chunk = stream.read(CHUNK)
            if not chunk:
                return size
            for each in hashes:
                each.update(chunk)
            write_all(descriptor, chunk)
            size += len(chunk)
    except BaseException:
        remove(path)
        raise
    finally:
        os.close(descriptor)


def place(source: str, target: str, replace: bool) -> None:
    """Give the finished file `source` the name `target`.

    Raises
    ------
    FileExistsError
        If `target` exists and `replace` is false.
    """
    if replace:
        os.replace(source, target)
        return
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # no hard links here; a folder has a single writer, so that the gap between the two does not matter
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
        os.rename(source, target)
        return
    os.unlink(source)


def take(
    open_bytes: Callable[[], BinaryIO], target: str, digest: str, shared: bool = False, replace: bool = False
) -> None:
    """Bring the bytes of a file into the store: by a hard link where they lie in a spool beside it, else by a copy.

    Parameters
    ----------
    open_bytes : callable
        Gives the bytes as a binary file.
    target : str
        Where they shall lie; its folder exists.
    digest : str
        Their SHA-256. A file of that very name is a spool's: nobody writes into it, so that sharing its bytes is safe.
    shared, replace : bool
        See `place`.
    """
    folder = os.path.dirname(target)
    new = temporary(folder)
    with open_bytes() as stream:
        origin = getattr(stream, "name", None)
        in_spool = isinstance(origin, str) and digest and os.path.basename(origin) == digest
        if not (in_spool and _link(origin, new if replace else target, shared)):
            copy(stream, new, shared)
        elif not replace:
            return
    try:
        place(new, target, replace)
    except BaseException:
        remove(new)
        raise


def _link(origin: Any, new: str, shared: bool) -> bool:
    """Link a file of the spool; false where the file system cannot."""
    try:
        os.link(origin, new)
    except FileExistsError:
        raise
    except OSError:
        return False
    # The spool is private, the store is as open as its folder: who may search the folder may read the file.
    wanted = (os.stat(os.path.dirname(new)).st_mode | (0o060 if shared else 0)) & 0o666
    try:
        if os.stat(new).st_mode & 0o777 != wanted:
            os.chmod(new, wanted)
    except OSError:  # another user's file: ours is a copy
        remove(new)
        return False
    return True


class Lock:
    """Keeps other processes out of a file or folder for some milliseconds, where the file system can lock.

    Where it cannot, or another holds on for longer than `patience_s`, the work goes on without: what must never go
    wrong is decided by `mkdir` and `rename`, and the lock only keeps writers from redoing each other's work.
    """

    def __init__(self, path: str, patience_s: float = 5.0) -> None:
        self._path, self._patience_s = path, patience_s
        self._descriptor = -1
        self._is_locked = False

    def __enter__(self) -> Lock:
        try:
            try:
                self._descriptor = os.open(self._path, os.O_RDWR)  # network file systems lock only what may be written
            except IsADirectoryError:
                self._descriptor = os.open(self._path, os.O_RDONLY)
            deadline, pause = time.monotonic() + self._patience_s, 0.0005
            while not (locked := try_lock(self._descriptor)) and time.monotonic() < deadline:
                time.sleep(pause)
                pause = min(2 * pause, 0.02)
            self._is_locked = locked
        except OSError:  # no locks here, or (on Windows) not on folders
            return self
        return self

    def __exit__(self, *_error: object) -> None:
        if self._descriptor >= 0:
            if self._is_locked:  # a process that was forked meanwhile has the descriptor, too
                unlock(self._descriptor)
                self._is_locked = False
            os.close(self._descriptor)
            self._descriptor = -1


def signature(path: str) -> tuple[int, ...]:
    """Return what changes when a file is replaced or written; () if it is not there."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return (found.st_ino, found.st_mtime_ns, found.st_size)
