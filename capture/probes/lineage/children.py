"""Child processes: Python ones tell what they open in journals of their own; the others are counted.

The run's process makes a private folder. A forked child inherits the hook and begins a journal there at once; a Python
that was started anew (spawn, forkserver, ``subprocess``) finds the folder in the environment variable `VARIABLE` when
it imports this library. Each line is written when a path is first seen, since a child may end at any moment and often
does so without clearing up (``os._exit``). When the run is over the folder goes, and a child that goes on tells nobody.
"""

from __future__ import annotations

import os
import sys
from threading import Lock, get_ident
from time import perf_counter

from capture.complaints import logger
from capture.probes.lineage import hook
from capture.probes.lineage.sightings import MAX_PATHS, Sightings
from capture.unwatched import IDENTS, unwatched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, BinaryIO

VARIABLE = "CAPTURE_LINEAGE_JOURNAL"  #: environment variable that names the folders, as PATH does
MAX_LINE = 1 << 20  #: bytes of a journal's line; none that was written here comes near
MAX_LINES = 2 * MAX_PATHS  #: of all journals together
CUT_SHORT = ".cut"  #: ending of the name of a journal whose process could not go on with it

#: programs that tell about the system and touch nobody's data; libraries start them unasked
_HARMLESS = frozenset(
    {"uname", "lscpu", "ldconfig", "ldd", "nvidia-smi", "rocm-smi", "hostname", "sysctl", "getconf", "whoami", "id"}
    | {"arch", "nproc", "tput", "stty", "which", "lsb_release", "sw_vers", "system_profiler", "ps", "sleep", "true"}
)
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "cmd.exe", "cmd"})

_naming = Lock()  # held while the environment variable is read and written: runs begin and end in threads, too


# --- in the run's process ---


def make_folder(state_dir: str | None = None) -> str:
    """Make a private folder for the journals of children, and name it in the environment.

    Parameters
    ----------
    state_dir : str, optional
        The folder is made there, and what processes that were killed have left there is removed; where nothing can be
        made, a folder for temporary files must do.

    Raises
    ------
    OSError
        If no folder can be made anywhere.
    """
    attend_forks()
    error: OSError | None = None
    for parent in (_own_folder(state_dir), os.environ.get("TMPDIR"), os.environ.get("TEMP"), "/tmp"):
        if parent and os.pathsep not in os.path.abspath(parent):  # which would make two of it in the variable
            name = f"capture-lineage-{os.getpid()}@{_node()}-{os.urandom(6).hex()}"
            folder = os.path.join(os.path.abspath(parent), name)
            try:
                os.mkdir(folder, 0o700)
            except OSError as failed:
                error = failed
                continue
            with _naming:
                os.environ[VARIABLE] = os.pathsep.join([*_folders(), folder])
            return folder
    raise error or OSError("there is no folder for temporary files")


def _own_folder(state_dir: str | None) -> str | None:
    """Return the folder for all such folders, made if need be, without those whose process is gone."""
    if not state_dir:
        return None
    parent = os.path.join(state_dir, "children")
    try:
        os.makedirs(parent, 0o700, exist_ok=True)
        for name in os.listdir(parent):
            if not _may_live(name):
                _remove(os.path.join(parent, name))
    except OSError:  # a read-only state folder
        return None
    return parent


def _node() -> str:
    """Return the name of this machine: a state folder may be shared by several."""
    return os.uname().nodename.replace(os.sep, "_") if hasattr(os, "uname") else ""


def _may_live(name: str) -> bool:
    """Say whether the process that a folder is named after may still be there."""
    number, _, rest = name.removeprefix("capture-lineage-").partition("@")
    if not number.isdigit() or not _node() or rest.rpartition("-")[0] != _node():
        return True
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def remove_folder(folder: str) -> None:
    """Take a folder away, and its name out of the environment. What cannot be removed is left to the system."""
    with _naming:
        rest = [other for other in _folders() if other != folder]
        if rest:
            os.environ[VARIABLE] = os.pathsep.join(rest)
        else:
            os.environ.pop(VARIABLE, None)
    _remove(folder)


def _remove(folder: str) -> None:
    for _ in range(3):  # a child may be writing a new journal at this moment
        try:
            for name in os.listdir(folder):
                os.unlink(os.path.join(folder, name))
            os.rmdir(folder)
            return
        except FileNotFoundError:
            return
        except OSError:
            continue


def _folders() -> list[str]:
    return [folder for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder]


class Child:
    """What one child process told.

    Attributes
    ----------
    pid : int
    lives : list of dict
        ``{"kind": "fork" | "python", "parent": pid, "argv": [...]}``: a process that replaces itself by another Python
        has two. "exec" is added where it replaced itself.
    seen : list of list
        ``[when, what, *details]``, as `Sightings` told the journal.
    lost : int
        Lines that make no sense: torn ones, or of somebody else.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.lives: list[dict[str, Any]] = []
        self.seen: list[list[Any]] = []
        self.lost = 0

    def read(self, lines: Iterable[bytes]) -> None:
        """Take what a journal says, so far as it makes sense: nothing of it is ours to believe."""
        from capture.plainjson import loads

        for line in lines:
            try:
                entry = loads(line)
            except (ValueError, RecursionError):
                entry = None
            if _is_life(entry):
                self.lives.append(entry)
            elif not _is_sighting(entry):
                self.lost += 1
            elif entry[1] == "exec" and self.lives:
                self.lives[-1]["exec"] = entry[2]
            else:
                self.seen.append(entry)


def collect(folder: str, most: int = MAX_LINES) -> list[Child]:
    """Read the journals in a folder, by the ids of the processes; so many lines at most."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    children = []
    left = most
    for name in sorted(names, key=lambda name: (len(name), name)):
        number = name.removesuffix(CUT_SHORT)
        if not (number.isascii() and number.isdecimal()):
            continue
        child = Child(int(number))
        child.lost += number != name
        try:
            with open(os.path.join(folder, name), "rb") as stream:
                child.read(_lines(stream, left, child))
        except OSError as error:
            child.lost += 1
            _log().warning("what the child process %d read and wrote cannot be told: %s", child.pid, error)
        left = max(0, left - len(child.seen))
        if child.lives:
            children.append(child)
    return children


def _lines(stream: BinaryIO, most: int, child: Child) -> Iterator[bytes]:
    """Yield whole lines, so many at most, and none too long to be one."""
    for _ in range(most):
        line = stream.readline(MAX_LINE)
        if not line.endswith(b"\n"):  # it is being written, or will never end
            child.lost += len(line) == MAX_LINE
            return
        yield line
    child.lost += bool(stream.readline(1))


#: What is told, and how: by a path and a `Stat` or None, by texts, by the arguments of a process, ...
_SHAPES: dict[str, Callable[[list[Any]], bool]] = {
    **dict.fromkeys("rwd", lambda found: len(found) == 2 and _is_path(found[0]) and _is_stat(found[1])),
    **dict.fromkeys(("by", "special"), lambda found: len(found) == 2 and _is_path(found[0]) and type(found[1]) is str),
    "rename": lambda found: len(found) == 2 and all(map(_is_path, found)),
    **dict.fromkeys(("host", "error"), lambda found: len(found) == 1 and type(found[0]) is str),
    "url": lambda found: len(found) == 1 and isinstance(found[0], dict),
    "process": lambda found: len(found) == 2 and _is_argv(found[1]),
    "exec": lambda found: len(found) == 1 and _is_argv(found[0]),
    "fork": lambda found: not found,
}


def _is_life(entry: Any) -> bool:
    if not isinstance(entry, dict) or entry.get("kind") not in ("fork", "python"):
        return False
    return type(entry.get("parent")) is int and _is_argv(entry.get("argv"))


def _is_sighting(entry: Any) -> bool:
    if not isinstance(entry, list) or len(entry) < 2 or type(entry[0]) not in (int, float):
        return False
    has_shape = _SHAPES.get(entry[1]) if type(entry[1]) is str else None
    return has_shape is not None and has_shape(entry[2:])


def _is_path(value: Any) -> bool:
    return type(value) is str and os.path.isabs(value) and "\0" not in value


def _is_stat(value: Any) -> bool:
    return value is None or (isinstance(value, list) and len(value) == 4 and all(type(each) is int for each in value))


def _is_argv(value: Any) -> bool:
    return isinstance(value, list) and all(type(each) is str for each in value)


def merge(sightings: Sightings, children: Iterable[Child]) -> None:
    """Add what children saw to what the run saw."""
    for child in children:
        by = f"child {child.pid}"
        if child.lost:
            sightings.hook_errors += child.lost
            sightings.first_error = sightings.first_error or f"in {by}: what it told is not whole"
        for at, what, *details in child.seen:
            if what in ("r", "w", "d"):
                path, stat = details
                kept = {"r": sightings.reads, "w": sightings.writes, "d": sightings.databases}[what]
                known = path in sightings.reads or path in sightings.writes
                sightings.by.setdefault(path, {"audit"} if known else set()).add(by)
                before = kept.get(path)
                if before is None or at < before[1]:
                    kept[path] = (tuple(stat) if stat else None, at)
            elif what == "by":
                sightings.by.setdefault(details[0], set()).add(details[1])
            elif what == "special":
                sightings.special[details[0]] = details[1]
            elif what == "host":
                sightings.hosts.add(details[0])
            elif what == "url":
                sightings.urls.append({**details[0], "by": f"{details[0].get('by')}, {by}"})
            elif what == "error":
                sightings.hook_errors += 1
                sightings.first_error = sightings.first_error or f"in {by}: {details[0]}"
            else:
                sightings.events.append((at, what, *details))
                if what == "rename":
                    _move_written(sightings, *details)
    sightings.events.sort(key=lambda event: event[0])


def _move_written(sightings: Sightings, source: str, target: str) -> None:
    """What one process wrote, another one gave a new name."""
    if source in sightings.writes:
        sightings.writes.setdefault(target, sightings.writes[source])
    elif os.path.isdir(target):
        below = source + os.sep
        for path, sight in list(sightings.writes.items()):
            if path.startswith(below):
                sightings.writes.setdefault(target + path[len(source) :], sight)


def account(
    events: Iterable[Sequence[Any]],
    children: Sequence[Child],
    pid: int,
    multiprocessing_made: int = 0,
    from_before: int = 0,
) -> dict[str, Any]:
    """Say how many child processes were observed, and which were not.

    Parameters
    ----------
    events : iterable
        Of the run's process alone; see `Sightings`.
    children : sequence of Child
    pid : int
        Of the run's process.
    multiprocessing_made : int
        Processes that `multiprocessing` made in the run's process, by whatever means.
    from_before : int
        Processes that `multiprocessing` had made before, which may have worked for the run.

    Returns
    -------
    dict
        observed : int; not_observed : int; names : list of str, of what was not observed, sorted; harmless : list of
        str, programs that were not observed and only tell about the system.
    """
    processes = _Started()
    forks: dict[int, int] = {}
    told_by: list[tuple[int, Sequence[Any]]] = [(pid, list(events)), *((child.pid, child.seen) for child in children)]
    for owner, told in told_by:
        for event in told:
            if event[1] == "process":
                processes.add(event[3])
            elif event[1] == "fork":
                forks[owner] = forks.get(owner, 0) + 1
    observed = 0
    missing: list[str] = []
    forked: dict[int, int] = {}
    made_by_multiprocessing = 0
    for child in children:
        for life in child.lives:
            if life["kind"] == "fork":
                forked[life["parent"]] = forked.get(life["parent"], 0) + 1
                made_by_multiprocessing += 1
            else:
                made_by_multiprocessing += _is_by_multiprocessing(life, pid)
                processes.take(life["argv"])
        if child.lives[-1].get("exec"):
            missing.append(process_name(child.lives[-1]["exec"]))
        else:
            observed += 1
    for owner in forks.keys() | forked.keys():
        without_journal = forks.get(owner, 0) - forked.get(owner, 0)
        if without_journal < 0:  # `preexec_fn` of subprocess: forked unannounced, and another program a moment later
            observed = max(0, observed + without_journal)
        missing += ["a forked process"] * without_journal
    missing += ["multiprocessing"] * (multiprocessing_made - made_by_multiprocessing - len(missing))
    missing += [process_name(argv) for argv in processes.left()]
    missing += ["a process from before the run"] * from_before
    names = [name for name in missing if name not in _HARMLESS]
    harmless = sorted(set(missing) & _HARMLESS)
    return {"observed": observed, "not_observed": len(names), "names": sorted(set(names)), "harmless": harmless}


def going_on(children: Iterable[Child]) -> int:
    """Return how many of these processes are still at work, as far as the system tells."""
    return sum(_goes_on(child.pid) for child in children)


def _goes_on(pid: int) -> bool:
    if sys.platform == "win32":  # where `os.kill` does what it says
        return False
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (OSError, IndexError):
        if os.path.exists("/proc/self/stat"):
            return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _is_by_multiprocessing(life: dict[str, Any], pid: int) -> bool:
    """Say whether a Python is a process of `multiprocessing`, and none that helps it, such as its fork server."""
    if "--multiprocessing-fork" in life["argv"]:
        return True
    return life["parent"] != pid and any("multiprocessing.forkserver" in argument for argument in life["argv"])


class _Started:
    """The processes that were started, of which one is taken away for each that was observed."""

    def __init__(self) -> None:
        self._all: list[list[str] | None] = []
        self._by_arguments: dict[tuple[str, ...], list[int]] = {}

    def add(self, argv: list[str]) -> None:
        for arguments in {tuple(argv[1:]), tuple(_words(argv)[1:])}:
            self._by_arguments.setdefault(arguments, []).append(len(self._all))
        self._all.append(argv)

    def take(self, argv: list[str]) -> None:
        """Take away the start of a process that was observed, by its arguments: its program has many names."""
        indexes = self._by_arguments.get(tuple(argv[1:]), [])
        while indexes:
            index = indexes.pop()
            if self._all[index] is not None:  # it is there by two texts if a shell was asked
                self._all[index] = None
                return

    def left(self) -> list[list[str]]:
        return [argv for argv in self._all if argv is not None]


def _words(argv: list[str]) -> list[str]:
    """Return what a shell is asked to run, if it is; else the arguments as they are."""
    if len(argv) == 3 and _base(argv[0]) in _SHELLS and argv[1] == "-c":
        text = argv[2]
    elif len(argv) == 1:
        text = argv[0]
    else:
        return argv
    import shlex

    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def process_name(argv: list[str]) -> str:
    """Return the name of the program that was to run.

    Examples
    --------
    >>> process_name(["/usr/bin/wc", "-l"]), process_name(["/bin/sh", "-c", "LANG=C sort a"]), process_name([])
    ('wc', 'sort', 'unknown')
    """
    for word in _words(argv):
        if "=" not in word.partition("/")[0]:
            return _base(word) or "unknown"
    return "unknown"


def _base(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def multiprocessing_count() -> int:
    """Return how many processes `multiprocessing` has made in this process; the newest may not have started yet."""
    module = sys.modules.get("multiprocessing.process")
    digits = "".join(filter(str.isdigit, repr(getattr(module, "_process_counter", None))))  # count(3)
    return int(digits) - 1 if digits else 0


def multiprocessing_alive() -> int:
    """Return how many processes of `multiprocessing`, such as workers of a pool, this process has at the moment."""
    module = sys.modules.get("multiprocessing.process")
    return sum(process.exitcode is None for process in list(getattr(module, "_children", ())))


# --- in a child ---


class Journal:
    """Where a child process writes what it sees, one line of JSON each.

    Parameters
    ----------
    folder : str
        The private folder of the run's process.
    kind : str
        "fork" or "python": how the child came to be watched.

    Raises
    ------
    OSError
        If the folder is gone: the run is over.
    """

    def __init__(self, folder: str, kind: str) -> None:
        self._path = os.path.join(folder, str(os.getpid()))
        self._open()
        argv = [] if kind == "fork" else list(sys.orig_argv)
        self._write({"kind": kind, "parent": os.getppid(), "argv": argv})

    def __call__(self, what: str, *details: Any) -> None:
        """Write a line. OSError if the run is over, or the disk full; then the parent is left a sign of that."""
        try:
            self._write([perf_counter(), what, *details])
        except OSError:
            with unwatched():
                try:
                    os.rename(self._path, self._path + CUT_SHORT)  # which needs no room on the disk
                except OSError:
                    pass  # the run is over
            raise

    def _open(self) -> None:
        # Without O_CREAT where the folder is gone this fails; so does it with it.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        with unwatched():
            self._descriptor = os.open(self._path, flags, 0o600)
        found = os.fstat(self._descriptor)
        self._identity = (found.st_dev, found.st_ino)

    def _write(self, entry: Any) -> None:
        import errno

        from capture.plainjson import dumps

        if not self._is_ours():
            self._open()
        line = dumps(entry).encode() + b"\n"
        if os.write(self._descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)

    def _is_ours(self) -> bool:
        """Say whether the descriptor is still ours: a daemon closes all it has, and may open files of its own."""
        try:
            found = os.fstat(self._descriptor)
        except OSError:
            return False
        if (found.st_dev, found.st_ino) != self._identity:
            return False
        if found.st_nlink == 0:
            raise FileNotFoundError(self._path)
        return True

    def close(self) -> None:
        """Close the file, if it is still ours."""
        try:
            if self._is_ours():
                os.close(self._descriptor)
        except OSError:
            return


def attach() -> None:
    """Tell the process that started this one what is opened here; called when the library is imported."""
    try:
        _attach()
    except Exception:  # noqa: BLE001 - an import of this library must not fail for what another process would like to know
        _log().warning("what this process reads and writes is not told to the run that started it", exc_info=True)


def _attach() -> None:
    with unwatched():
        folders = [folder for folder in _folders() if not any(other.folder == folder for other in hook.watched())]
        if not folders:
            return
        from capture.probes.lineage.classify import noise_folders

        attend_forks()
        for folder in folders:
            try:
                journal = Journal(folder, "python")
            except OSError:
                continue  # that run is over, or belongs to somebody else
            hook.start(None, noise=noise_folders(), journal=journal, folder=folder)


_registered = False


def attend_forks() -> None:
    """See to it that forked children begin a journal, or watch nothing if nobody listens."""
    global _registered
    if not _registered and hasattr(os, "register_at_fork"):
        _registered = True
        os.register_at_fork(after_in_child=_after_fork)


def _after_fork() -> None:
    parents = hook.watched()
    if not parents:
        return
    global _naming
    _naming = Lock()  # another thread may have held it
    hook.replace_all(())
    IDENTS.intersection_update({get_ident()})  # the other threads are not here, and their ids will be given to others
    if IDENTS:
        return  # it works for the library
    children = []
    for parent in parents:
        if parent.folder is not None:
            try:
                journal = Journal(parent.folder, "fork")
            except OSError:
                continue  # the run is over, or no file can be opened
            children.append(Sightings(parent.key, parent.noise_folders, journal, parent.folder))
    hook.replace_all(tuple(children))


def _log() -> Any:
    return logger()
