"""What was seen of one run: paths read and written, and what else tells where data came from and went."""

from __future__ import annotations

import os
from itertools import islice
from time import perf_counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Stat = tuple[int, int, int, int]  #: size in bytes, time of change in ns, inode, device
    Sight = tuple[Stat | None, float]  #: the file when it was first seen; when that was, as `perf_counter` tells it

MAX_PATHS = 1_000_000  #: read or written, of which one run is kept; about 300 bytes each
MAX_NOISE = 100_000  #: that is counted, and known at once when it is met again
MAX_EVENTS = 10_000
MAX_URLS = 10_000
MAX_HOSTS = 1_000

NOISE_SUFFIXES = (".pyc", ".pyo", ".so", ".pyd", ".dylib")
_CACHE = os.sep + "__pycache__" + os.sep

_REGULAR, _FOLDER, _KIND = 0o100000, 0o040000, 0o170000


class Sightings:
    """What was seen of one run.

    Parameters
    ----------
    key : object
        The run, as its context variable holds it; None sees what belongs to any run (in a child process).
    noise : tuple of str
        Absolute folders, each with a separator at its end, below which nothing is of interest.
    journal : callable, optional
        Called with ``(what, *details)`` for each thing that is first seen, in the thread that did it: how a child
        process tells its parent. OSError says that nobody listens any more.
    folder : str, optional
        Where child processes of this one are to tell what they see.

    Attributes
    ----------
    reads, writes : dict
        Absolute path to `Sight`. The stat is from just before the first reading; None where the file could not be
        asked, and for files that were written.
    read_order : list of str
        The keys of `reads`.
    by : dict
        Absolute path to the names of those who reported it; a path that is not among the keys was seen by the audit
        hook alone.
    noise : set of str
        Absolute paths that were opened and are of no interest.
    special : dict
        Absolute path to what the file is: "FIFO", "socket", "device".
    guesses : set of str
        Written paths that may not have been meant: which folder a path was relative to could not be told.
    databases : dict
        Absolute path to `Sight` of what `sqlite3` connected to.
    imports : set of str
        Names of modules that were looked for.
    hosts : set of str
        Names and addresses to which connections were made.
    events : list of tuple
        ``(when, what, *details)``: "rename" (source, target), "process" (how, argv), "fork", "exec" (argv).
    urls : list of dict
        What `note_url` was given. Whoever reported one may change it later.
    lost : int
        Things that were seen and not kept, there being too many.
    left_out : int
        Things that a copy was made without.
    hook_errors, first_error
        How often seeing failed, and why it did first.
    elsewhere : set of str
        What other runs of this process opened, which ended before.
    beside : tuple of Sightings
        Of those that went on when this one ended.
    shared : bool
        Whether something was seen in a thread of no run in particular while there were several.
    """

    def __init__(
        self,
        key: Any,
        noise: tuple[str, ...] = (),
        journal: Callable[..., None] | None = None,
        folder: str | None = None,
    ) -> None:
        self.key = key
        self.noise_folders = noise
        self.journal = journal
        self.folder = folder
        self.started = perf_counter()
        self.reads: dict[str, Sight] = {}
        self.read_order: list[str] = []  # a list, since a dict cannot be asked for what is new in it
        self.writes: dict[str, Sight] = {}
        self.by: dict[str, set[str]] = {}
        self.noise: set[str] = set()
        self.special: dict[str, str] = {}
        self.guesses: set[str] = set()
        self.databases: dict[str, Sight] = {}
        self.imports: set[str] = set()
        self.hosts: set[str] = set()
        self.events: list[tuple[Any, ...]] = []
        self.urls: list[dict[str, Any]] = []
        self.lost = self.left_out = 0
        self._limit = MAX_PATHS
        self.hook_errors = 0
        self.first_error: str | None = None
        self.elsewhere: set[str] = set()
        self.beside: tuple[Sightings, ...] = ()
        self.shared = False

    def read(self, path: str) -> None:
        """Note that a file is about to be read, unless it was read before."""
        if path in self.reads or path in self.noise or self._is_noise(path) or not self._limit:
            return
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return  # what cannot be opened is not read
        except OSError:
            self._keep_read(path, None)
            return
        kind = found.st_mode & _KIND
        if kind == _REGULAR:
            self._keep_read(path, (found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev))
        elif kind != _FOLDER:
            self.special[path] = _KINDS.get(kind, "special file")
            self._tell("special", path, self.special[path])
            self._keep_read(path, None)

    def write(self, path: str) -> None:
        """Note that a file is about to be written, unless it was written before."""
        if path not in self.writes and path not in self.noise and not self._is_noise(path):
            self._keep(self.writes, "w", path, None)

    def rename(self, source: str, target: str) -> None:
        """Note that a file or a folder is about to get another name: what was written there is now here."""
        self.event("rename", source, target)
        if source in self.writes:
            self.write(target)
            return
        try:
            is_folder = os.stat(source).st_mode & _KIND == _FOLDER
        except (OSError, ValueError):
            return
        if is_folder:
            below = source + os.sep
            for path in [path for path in list(self.writes) if path.startswith(below)]:
                self.write(target + os.sep + path[len(below) :])
        else:  # a file from before the run, or one that somebody wrote whom nobody saw
            self.read(source)
            self.write(target)

    def database(self, path: str) -> None:
        """Note a connection to a database file; whether it is read or written shows when the run is over."""
        if path in self.databases or self._is_noise(path):
            return
        try:
            found = os.stat(path)
        except (OSError, ValueError):
            stat = None
        else:
            stat = (found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev)
        self._keep(self.databases, "d", path, stat)

    def event(self, what: str, *details: Any) -> None:
        """Keep something that happened."""
        if len(self.events) < MAX_EVENTS:
            self.events.append((perf_counter(), what, *details))
            self._tell(what, *details)
        else:
            self.lost += 1

    def host(self, name: str) -> None:
        """Keep the name or the address of a host."""
        if name not in self.hosts and len(self.hosts) < MAX_HOSTS:
            self.hosts.add(name)
            self._tell("host", name)

    def url(self, entry: dict[str, Any]) -> None:
        """Keep a URL."""
        if len(self.urls) < MAX_URLS:
            self.urls.append(entry)
            self._tell("url", entry)
        else:
            self.lost += 1

    def report(self, path: str, by: str) -> None:
        """Say who else saw a path; to be called before `read` or `write` is."""
        known = path in self.reads or path in self.writes
        if not known and len(self.by) >= self._limit:
            return  # the path itself is counted as lost
        names = self.by.setdefault(path, {"audit"} if known else set())
        if by not in names:
            names.add(by)
            self._tell("by", path, by)

    def failed(self, error: BaseException) -> None:
        """Count a failure to see."""
        self.hook_errors += 1
        if self.first_error is None:
            self.first_error = f"{type(error).__name__}: {error}"[:300]
            self._tell("error", self.first_error)

    def used(self) -> set[str]:
        """Return all paths that were seen, here or by other runs."""
        return self.elsewhere.union(list(self.reads), list(self.writes), list(self.databases))

    def copy(self, most: int | None = None) -> Sightings:
        """Return what was seen so far, for somebody who adds to it; or the first files, databases and URLs of it."""
        new = Sightings(self.key, self.noise_folders)
        for name in ("reads", "writes", "by", "noise", "special", "guesses", "databases", "hosts", "events", "urls"):
            setattr(new, name, getattr(self, name).copy())
        if most is not None:
            new._leave_out_all_but(most)
        new.by = {path: names.copy() for path, names in new.by.items()}
        new.started, new.lost = self.started, self.lost
        new.shared = self.shared
        new.hook_errors, new.first_error = self.hook_errors, self.first_error
        return new

    def _leave_out_all_but(self, most: int) -> None:
        # Of a file that is kept, all is kept: whether it was read or written first makes an input or an output of it.
        kept = {*islice(self.reads, most), *islice(self.writes, most), *islice(self.databases, most)}
        for seen in (self.reads, self.writes, self.databases):
            self.left_out += len(seen)
            for path in [path for path in seen if path not in kept]:
                del seen[path]
            self.left_out -= len(seen)
        self.by = {path: self.by[path] for path in kept if path in self.by}
        self.left_out += len(self.urls[most:])
        del self.urls[most:]

    def _tell(self, what: str, *details: Any) -> None:
        if self.journal is not None:
            try:
                self.journal(what, *details)
            except OSError:
                self.journal = None  # the run is over, or the disk is full: from now on nothing is kept
                self._limit = 0

    def _is_noise(self, path: str) -> bool:
        if path.startswith(self.noise_folders) or path.endswith(NOISE_SUFFIXES) or _CACHE in path:
            if len(self.noise) < MAX_NOISE:  # a monitor opens /proc/PID/stat for years
                self.noise.add(path)
            return True
        return False

    def _keep_read(self, path: str, stat: Stat | None) -> None:
        if self._keep(self.reads, "r", path, stat):
            self.read_order.append(path)

    def _keep(self, kept: dict[str, Sight], kind: str, path: str, stat: Stat | None) -> bool:
        if len(kept) >= self._limit:
            self.lost += 1
            return False
        kept[path] = (stat, perf_counter())
        if self.journal is not None:
            self._tell(kind, path, stat)
        return True


_KINDS = {0o010000: "FIFO", 0o140000: "socket", 0o020000: "device", 0o060000: "device"}
