"""Advisory locks that the kernel frees at any death of their holder: `flock`, on Windows a locked byte."""

from __future__ import annotations

import errno
import os
import sys

# What a filesystem answers that has no locks at all, as opposed to "somebody else holds it".
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}

if sys.platform == "win32":
    import msvcrt

    _BYTE = 1 << 40  #: locked byte, far behind any content: such a lock also keeps others from reading the byte

    def _lock(descriptor: int, shared: bool) -> None:
        # There is no shared lock here; who probes holds the lock for an instant.
        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def unlock(descriptor: int) -> None:
        """Let go of a lock."""
        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int, shared: bool) -> None:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)

    def unlock(descriptor: int) -> None:
        """Let go of a lock. In a forked child that shares the descriptor this frees the parent's: close it instead."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)


class LocksUnsupportedError(OSError):
    """The file lies on a filesystem that has no locks."""


def try_lock(descriptor: int, shared: bool = False) -> bool:
    """Take a lock on an open file without waiting.

    Parameters
    ----------
    descriptor : int
        Open file descriptor; the lock lasts until every copy of it is closed.
    shared : bool
        Several may hold a shared lock while nobody holds an exclusive one.

    Returns
    -------
    bool
        Whether the lock was taken; False if another holds it.

    Raises
    ------
    LocksUnsupportedError
        If the filesystem has no locks.
    """
    try:
        _lock(descriptor, shared)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise LocksUnsupportedError(error.errno, f"no file locks here: {error.strerror}") from error
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK, errno.EAGAIN):
            return False
        raise
    return True
