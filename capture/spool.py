"""The bytes of files that a run recorded, as they were at that moment, until every observer has them.

::

    <directory>/held/<holder>/<sha256> content that this run still needs
    <directory>/<2 hex>/<sha256>       the same file by another name, for who records it next; only from 1 MiB
    <directory>/known                  digests of such files that have not changed since, by their stat

Where the directory lies on the filesystem of a store, the store links the content into its own place; nothing is copied
twice, and a file that was recorded before is not even read again.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
import time
from collections import namedtuple

from capture import plainjson
from capture.complaints import logger
from capture.digests import digests_of
from capture.errors import RecordError, SpoolError
from capture.unwatched import LibraryThread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, BinaryIO

MAX_MD5 = 4 * 2**20  #: bytes up to which the MD5 is made, too: for layouts that are addressed by it
MIN_KNOWN = 2**20  #: bytes from which it pays to remember the digest of a file
RACY_S = 2.0  #: a file changed this short before it was read may change again without a trace in its times
MAX_KNOWN_FILE = 2**20  #: bytes of the file `known` from which it is written anew
ATTEMPTS = 3  #: readings of a file that changes while it is read
_CHUNK = 1 << 20
_FICLONE = 0x40049409  # Linux: share the blocks of another file


class Taken(namedtuple("Taken", "digest md5 size")):
    """What is known of bytes in the spool."""

    __slots__ = ()
    digest: str  #: SHA-256, hexadecimal
    md5: str  #: hexadecimal; "" for files over `MAX_MD5` bytes
    size: int  #: bytes


class Spool:
    """Takes and gives the bytes of recorded files.

    Parameters
    ----------
    directory : str
        Made when the first file comes. Several runs may share it.
    holder : str, optional
        Name of who needs the content; default: one of its own. Content goes when nobody holds it.
    now : callable
        Wall clock in seconds.
    verify : bool
        Whether content is compared with its digest before it is given: a power cut may have cut it off.
    fallback : str, optional
        Another directory, for what this one cannot take: the disk of one store may be full, and that of others not.

    Attributes
    ----------
    directory, holder : str
    """

    def __init__(
        self,
        directory: str,
        holder: str | None = None,
        now: Callable[[], float] = time.time,
        verify: bool = False,
        fallback: str | None = None,
    ) -> None:
        self.directory = os.path.abspath(directory)
        self.holder = holder or f"{os.getpid()}-{os.urandom(6).hex()}"
        self._now = now
        self._verify = verify
        self._known: _Known | None = None
        self._lock = threading.Lock()
        self._digests: set[str] = set()  # held and whole, as this process knows
        self._fallback: Spool | None = None
        if fallback is not None and os.path.abspath(fallback) != self.directory:
            self._fallback = Spool(fallback, self.holder, now, verify)

    def hold_for(self, holder: str) -> None:
        """Name the holder, before the first file: with its name, content can be found and released by others later."""
        self.holder = holder
        if self._fallback is not None:
            self._fallback.hold_for(holder)

    def path(self, digest: str) -> str:
        """Return where the content lies; it must not be changed there.

        Raises
        ------
        RecordError
            If this spool verifies, and other bytes lie there.
        """
        held = self._held(digest)
        path = held if os.path.exists(held) else self._content(digest)
        if self._fallback is not None and not os.path.exists(path):
            return self._fallback.path(digest)
        if self._verify and digest not in self._digests and os.path.exists(path):
            if digest_of(path) != digest:
                raise RecordError(f"the recorded bytes {digest[:12]}... are damaged: {path}")
            self._digests.add(digest)
        return path

    def open(self, digest: str) -> BinaryIO:
        """Open content for reading; FileNotFoundError if it is not here."""
        return open(self.path(digest), "rb")

    def take(self, filename: str | os.PathLike[str]) -> Taken:
        """Take the bytes that a file has now.

        Returns
        -------
        Taken

        Raises
        ------
        OSError
            If the file cannot be read, or is not a regular file.
        SpoolError
            If the spool cannot be written.
        """
        try:
            return self._take_here(filename)
        except SpoolError as error:
            return self._instead(error).take(filename)

    def _take_here(self, filename: str | os.PathLike[str]) -> Taken:
        path = os.path.abspath(os.fspath(filename))
        # Not blocking: opening a pipe would wait for somebody to write into it.
        source = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            before = os.fstat(source)
            if not stat.S_ISREG(before.st_mode):
                kind = "a directory" if stat.S_ISDIR(before.st_mode) else "not a regular file"
                code = errno.EISDIR if stat.S_ISDIR(before.st_mode) else errno.EINVAL
                raise OSError(code, f"only the bytes of regular files can be recorded, and this is {kind}", path)
            known = self._remembered(path, before)
            if known is not None:
                return known
            return self._take(path, source, before)
        finally:
            os.close(source)

    def take_bytes(self, data: bytes) -> Taken:
        """Take bytes that are in memory; `SpoolError` if the spool cannot be written."""
        taken = _taken_of(data)
        try:
            self._keep_bytes(data, taken.digest)
        except SpoolError as error:
            self._instead(error).take_bytes(data)
        return taken

    def _instead(self, error: SpoolError) -> Spool:
        """Return the spool for what this one cannot take; raise the error if there is none."""
        if self._fallback is None:
            raise error
        _log().warning("%s (%s); a recorded file waits in %s", error, self.directory, self._fallback.directory)
        return self._fallback

    def release(self, digests: Iterable[str] | None = None) -> None:
        """Say that content (default: all of it) is not needed any more by this holder."""
        if self._fallback is not None:
            digests = None if digests is None else list(digests)
            self._fallback.release(digests)
        folder = os.path.join(self.directory, "held", self.holder)
        if digests is None:
            try:
                digests = os.listdir(folder)
            except FileNotFoundError:
                return
        for digest in digests:
            self._digests.discard(digest)
            _remove(self._held(digest))
            _remove_if_last(self._content(digest), MIN_KNOWN)
        _remove_folder(folder)

    def remove(self) -> None:
        """Release everything, and remove the directory if nothing is left in it."""
        self.release()
        if self._fallback is not None:
            self._fallback.remove()
        try:
            inner = os.listdir(self.directory)
        except FileNotFoundError:
            return
        own = self.holder.startswith(os.path.basename(self.directory))  # nobody else will look for content in it
        for name in inner:
            if len(name) == 2 or name == "held":
                if own and len(name) == 2:
                    for digest in os.listdir(os.path.join(self.directory, name)):
                        _remove(self._content(digest))
                _remove_folder(os.path.join(self.directory, name))
        _remove_folder(self.directory)

    def tidy(self) -> None:
        """Remove content that no store and no holder has any more, after files were removed from a store."""
        for folder, _, names in os.walk(self.directory):
            if len(os.path.basename(folder)) == 2:
                for name in names:
                    _remove_if_last(os.path.join(folder, name))

    # ---------------------------------------------------------------------------------------------------- inside

    def _content(self, digest: str) -> str:
        return os.path.join(self.directory, digest[:2], digest)

    def _held(self, digest: str) -> str:
        return os.path.join(self.directory, "held", self.holder, digest)

    def _temporary(self) -> str:
        return self._held(f".{os.urandom(6).hex()}")

    def _hold(self, digest: str) -> bool:
        """Hold content that is here already; False if it is not."""
        if digest in self._digests:
            return True
        held = self._held(digest)
        if not os.path.exists(held):
            try:
                _link(self._content(digest), held)
            except OSError:
                return False
        self._digests.add(digest)
        return True

    def _keep(self, temporary: str, digest: str) -> None:
        """Give a finished file its names: first the holder's own, which nobody else removes, then the common one."""
        held = self._held(digest)
        os.replace(temporary, held)
        self._digests.add(digest)
        try:
            _link(held, self._content(digest))
        except OSError:
            pass  # somebody was faster, or there are no links here: the holder's own name is enough

    def _keep_bytes(self, data: bytes, digest: str) -> None:
        """Keep bytes that are in memory; few of them only for this holder: finding them costs what writing does."""
        if self._hold(digest):
            return
        temporary = self._temporary()
        try:
            descriptor = _create(temporary)
            try:
                _write_all(descriptor, data)
            finally:
                os.close(descriptor)
            if len(data) >= MIN_KNOWN:
                self._keep(temporary, digest)
            else:
                os.replace(temporary, self._held(digest))
                self._digests.add(digest)
        except BaseException:
            _remove(temporary)
            raise

    def _remembered(self, path: str, info: os.stat_result) -> Taken | None:
        if info.st_size < MIN_KNOWN:
            return None
        with self._lock:
            if self._known is None:
                self._known = _Known(os.path.join(self.directory, "known"))
            taken = self._known.get(path, info)
        return taken if taken is not None and self._hold(taken.digest) else None

    def _remember(self, path: str, info: os.stat_result, taken: Taken, read_at: float) -> None:
        racy = max(info.st_mtime, info.st_ctime) > read_at - RACY_S
        if info.st_size >= MIN_KNOWN and not racy and self._known is not None:
            with self._lock:
                self._known.put(path, info, taken)

    def _take(self, path: str, source: int, before: os.stat_result) -> Taken:
        read = self._read_small if before.st_size <= MAX_MD5 else self._read_big
        for attempt in range(ATTEMPTS):
            read_at = self._now()
            taken, keep = read(source)
            after = os.fstat(source)
            steady = _place(after) == _place(before) and taken.size == after.st_size
            if steady or attempt == ATTEMPTS - 1:
                break
            keep(False)
            os.lseek(source, 0, os.SEEK_SET)
            before = after
        keep(True)
        if steady:
            self._remember(path, after, taken, read_at)
        else:
            text = "%s changed while it was read, %d times; what was read last is recorded"
            _log().warning(text, path, ATTEMPTS)
        return taken

    def _read_small(self, source: int) -> tuple[Taken, Callable[[bool], None]]:
        """Read a file into memory; return what is known of it, and how to keep it or not."""
        pieces = []
        while piece := os.read(source, MAX_MD5 + 1):
            pieces.append(piece)
        data = b"".join(pieces)
        taken = _taken_of(data)
        return taken, lambda wanted: self._keep_bytes(data, taken.digest) if wanted else None

    def _read_big(self, source: int) -> tuple[Taken, Callable[[bool], None]]:
        """Copy a file into the spool; return what is known of it, and how to keep it or not."""
        temporary = self._temporary()
        try:
            taken = _copy_and_hash(source, temporary)
        except BaseException:
            _remove(temporary)
            raise

        def keep(wanted: bool) -> None:
            if wanted and not self._hold(taken.digest):
                self._keep(temporary, taken.digest)
            else:
                os.unlink(temporary)

        return taken, keep


def _place(info: os.stat_result) -> tuple[int, ...]:
    return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


class _Known:
    """Digests of big files by path and stat, kept in a file of JSON lines that several processes append to."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._taken: dict[str, tuple[tuple[int, ...], Taken]] = {}
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError:
            data = b""
        for line in data.split(b"\n"):
            try:
                name, place, digest, md5 = plainjson.loads(line)
                self._taken[name] = (tuple(place), Taken(digest, md5, place[2]))
            except (ValueError, TypeError, IndexError):
                continue  # torn by a death, or the empty piece behind the last line end
        self._is_long = len(data) > MAX_KNOWN_FILE

    def get(self, path: str, info: os.stat_result) -> Taken | None:
        place, taken = self._taken.get(path, ((), None))
        return taken if place == _place(info) else None

    def put(self, path: str, info: os.stat_result, taken: Taken) -> None:
        self._taken[path] = (_place(info), taken)
        try:
            if self._is_long:
                self._is_long = False
                self._write_anew()
            else:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
                descriptor = os.open(self._path, flags, 0o666)
                try:
                    os.write(descriptor, _known_line(path, *self._taken[path]))
                finally:
                    os.close(descriptor)
        except OSError as error:
            _log().debug("%s cannot be written: %s", self._path, error)

    def _write_anew(self) -> None:
        temporary = f"{self._path}.{os.urandom(6).hex()}"
        newest = list(self._taken.items())[-1_000:]
        with open(temporary, "xb") as file:
            file.writelines(_known_line(path, place, taken) for path, (place, taken) in newest)
        os.replace(temporary, self._path)


def _known_line(path: str, place: tuple[int, ...], taken: Taken) -> bytes:
    return plainjson.dumps([path, list(place), taken.digest, taken.md5]).encode() + b"\n"


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        if not os.path.exists(source):
            raise
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.link(source, target)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _remove_if_last(content: str, below: int = 0) -> None:
    """Remove the common name of content if the file has no other name, or less than `below` bytes.

    Another name is in a store, or belongs to another holder. For a big file it is worth while to keep this one then:
    whoever records it again need not read it. It may go at any time, since holders have names of their own; somebody
    copies once more than necessary, that is all.
    """
    try:
        info = os.stat(content)
        if info.st_nlink == 1 or info.st_size < below:
            os.unlink(content)
            _remove_folder(os.path.dirname(content))
    except FileNotFoundError:
        pass


def _remove_folder(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError:
        pass  # others still have something in it, or have removed it


# ------------------------------------------------------------------------------------------------------------ copying


def digest_of(path: str) -> str:
    """Return the SHA-256 of a file."""
    from hashlib import sha256

    hashing = sha256()
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        _pump(descriptor, None, hashing.update)
    finally:
        os.close(descriptor)
    return hashing.hexdigest()


def _taken_of(data: bytes) -> Taken:
    return Taken(*digests_of(data, md5=len(data) <= MAX_MD5), len(data))


def _create(path: str) -> int:
    """Open a new file for writing and reading, with the mode that the umask says; make its folder if need be."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        try:
            return os.open(path, flags, 0o666)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return os.open(path, flags, 0o666)
    except OSError as error:
        raise SpoolError(f"{path} cannot be made: {error.strerror}") from error


def _copy_and_hash(source: int, target: str) -> Taken:
    """Copy an open file to a new one; return what is known of the copy."""
    from hashlib import sha256

    hashing = sha256()
    descriptor = _create(target)
    try:
        if _clone(source, descriptor):
            size = _pump(descriptor, None, hashing.update)
        else:
            size = _pump(source, descriptor, hashing.update)
    finally:
        os.close(descriptor)
    return Taken(hashing.hexdigest(), "", size)


def _clone(source: int, target: int) -> bool:
    """Share the source's blocks, where the filesystem can (Btrfs, XFS, ...)."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _pump(source: int, target: int | None, update: Callable[[Any], None]) -> int:
    """Read to the end, writing in this thread and hashing in another; both let go of the interpreter's lock."""
    buffers = [memoryview(bytearray(_CHUNK)) for _ in range(4)]
    free, full = threading.Semaphore(len(buffers)), threading.Semaphore(0)
    filled: list[memoryview | None] = []

    def hash_them() -> None:
        taken = 0
        while True:
            full.acquire()
            data = filled[taken]
            filled[taken] = None
            if data is None:
                return
            update(data)
            taken += 1
            free.release()

    hasher = LibraryThread(target=hash_them, name="capture-hash")
    try:
        hasher.start()
    except RuntimeError:  # the interpreter is going down
        return _pump_alone(source, target, update)
    total = 0
    try:
        with open(source, "rb", buffering=0, closefd=False) as file:
            while True:
                free.acquire()
                buffer = buffers[len(filled) % len(buffers)]
                count = file.readinto(buffer)
                if not count:
                    return total
                filled.append(buffer[:count])
                full.release()
                if target is not None:
                    _write_all(target, buffer[:count])
                total += count
    finally:
        filled.append(None)
        full.release()
        hasher.join()


def _pump_alone(source: int, target: int | None, update: Callable[[Any], None]) -> int:
    """Do what `_pump` does where no thread can be started."""
    total = 0
    while piece := os.read(source, _CHUNK):
        update(piece)
        if target is not None:
            _write_all(target, piece)
        total += len(piece)
    return total


def _write_all(descriptor: int, data: Any) -> None:
    try:
        written = os.write(descriptor, data)
        while written < len(data):
            written += os.write(descriptor, data[written:])
    except OSError as error:
        raise SpoolError(f"the spool cannot be written: {error.strerror}") from error


def _log() -> Any:
    return logger("capture.spool")
