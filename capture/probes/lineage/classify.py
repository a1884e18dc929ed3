"""What was seen, sorted: inputs, outputs, intermediates, what was temporary, and what is of no interest.

Opened for writing makes an output; read, and not written before, an input. A file may be both: read first, written
later. Only what exists at the end is an output; what was written and is gone was an intermediate if the run read it
back, else (or in a folder for temporary files) temporary. An input that is gone is kept, with the reason.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from typing import Any

    from capture.probes.lineage.sightings import Sight, Sightings, Stat

_REGULAR, _FOLDER, _LINK, _KIND = 0o100000, 0o040000, 0o120000, 0o170000
_SEP = os.sep

#: what belongs to the system, by platform
_SYSTEM = {
    "linux": (
        *("/proc/", "/sys/", "/etc/", "/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/", "/usr/share/", "/nix/store/"),
        *("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts/"),
        *("/dev/std", "/dev/fd/", "/dev/nvidia", "/dev/dri/", "/dev/kfd"),  # but not /dev/shm/: people put data there
    ),
    "darwin": (
        *("/System/", "/Library/", "/etc/", "/private/etc/", "/usr/lib/", "/usr/share/"),
        *("/dev/null", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/fd/", "/dev/std", "/private/var/db/"),
    ),
}
#: below an installation's prefix, where the prefix itself holds other things, too
_INSTALLED = (
    *("lib", "lib64", "share", "include", "bin", "etc", "ssl", "conda-meta"),
    *("Lib", "DLLs", "Library", "Scripts"),
)
_SHARED_PREFIXES = ("/", "/usr", "/usr/local", "/opt")
#: below the home folder: what libraries remember for themselves
_CACHES = (
    *(".cache/matplotlib", ".cache/fontconfig", ".cache/pip", ".cache/uv", ".config/matplotlib", ".matplotlib"),
    *(".nv", ".triton/cache", ".cache/torch_extensions", ".cache/numba", ".ipython", ".jupyter"),
)
_NOISE_PARTS = frozenset({".git", ".hg", ".svn", "__pycache__", ".ipynb_checkpoints", ".pytest_cache", ".mypy_cache"})
_SIDECARS = ("-journal", "-wal", "-shm")  #: what SQLite puts beside a database


def noise_folders(own: Iterable[str] = (), base_dir: str | None = None) -> tuple[str, ...]:
    """Return the folders below which nothing is an input or an output, each with a separator at its end.

    Parameters
    ----------
    own : iterable of str
        Folders of this library: stores, state.
    base_dir : str, optional
        Of the project. An environment that holds it (``python -m venv .``) is noise in its own subfolders only.
    """
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    folders: list[str] = []
    for prefix in prefixes:
        holds_project = base_dir is not None and (base_dir + _SEP).startswith(prefix.rstrip(_SEP) + _SEP)
        if holds_project or prefix in _SHARED_PREFIXES:
            folders += [os.path.join(prefix, name) for name in _INSTALLED]
        else:
            folders.append(prefix)
    folders += own
    folders.append(os.path.dirname(os.__file__))
    folders += [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    home = os.path.expanduser("~")
    if home not in ("~", _SEP):
        folders += [os.path.join(home, *name.split("/")) for name in _CACHES]
    if sys.platform == "win32":
        folders += [os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ]
    found = dict.fromkeys(_SYSTEM.get(sys.platform, ()))
    for folder in folders:
        path = os.path.abspath(folder).rstrip(_SEP) + _SEP
        if path == _SEP or path.startswith(tuple(found)):
            continue
        found[path] = found[os.path.realpath(folder).rstrip(_SEP) + _SEP] = None
    found.pop(_SEP, None)
    return tuple(found)


def is_noise(path: str, folders: tuple[str, ...]) -> bool:
    """Say whether an absolute path is of no interest, by its name alone.

    Examples
    --------
    >>> is_noise("/usr/lib/os.py", ("/usr/lib/",)), is_noise("/data/.git/HEAD", ()), is_noise("/data/a.csv", ())
    (True, True, False)
    """
    if path.startswith(folders) or ".dist-info" + _SEP in path or ".egg-info" + _SEP in path:
        return True
    return not _NOISE_PARTS.isdisjoint(path.split(_SEP))


class File:
    """One file that the run read or wrote, by whatever names.

    Attributes
    ----------
    path : str
        As it was first used, absolute.
    real : str
        Without symbolic links.
    first : tuple or None
        ``(size, mtime_ns, ino, dev)`` when it was first read.
    last : tuple or None
        The same at the end; None if it is gone.
    by : set of str
        Who saw it.
    changed : bool
        An input that is not what it was when it was first read.
    why : str or None
        Why nothing more can be said of its content.
    """

    __slots__ = ("by", "changed", "first", "last", "path", "read_at", "real", "why", "written_at")

    def __init__(self, path: str, real: str) -> None:
        self.path, self.real = path, real
        self.first: Stat | None = None
        self.last: Stat | None = None
        self.by: set[str] = set()
        self.read_at: float | None = None
        self.written_at: float | None = None
        self.changed = False
        self.why: str | None = None

    def __repr__(self) -> str:
        return f"File({self.path!r})"


class Sorted:
    """What was seen, sorted.

    Attributes
    ----------
    inputs, outputs, intermediates : list of File
        In the order in which they were first seen.
    temporary, noise : int
        Numbers of files that were dropped.
    """

    def __init__(self) -> None:
        self.inputs: list[File] = []
        self.outputs: list[File] = []
        self.intermediates: list[File] = []
        self.temporary = 0
        self.noise = 0


def classify(
    sightings: Sightings,
    noise: tuple[str, ...],
    sources: Collection[str] = (),
    temporary_folders: tuple[str, ...] = (),
) -> Sorted:
    """Sort what was seen.

    Parameters
    ----------
    sightings : Sightings
        What was seen. It is not changed.
    noise : tuple of str
        See `noise_folders`.
    sources : collection of str
        Absolute paths of source files that were imported, which are sources and no inputs.
    temporary_folders : tuple of str
        Folders, each with a separator at its end, in which what is gone at the end was temporary.

    Returns
    -------
    Sorted
    """
    found = Sorted()
    dropped = set(sightings.noise)
    files = _files(sightings, noise, sources, dropped)
    renamed = _renames(sightings)
    targets = {target: source for source, target in renamed.items()}
    for file in files:
        kind = _kind_now(file)
        if kind == _FOLDER or (file.real.startswith("/dev/") and sightings.special.get(file.path) == "device"):
            continue
        exists = file.last is not None
        if _is_input(file):
            _judge_input(file, exists, sightings, renamed)
            found.inputs.append(file)
        if file.written_at is None:
            continue
        if exists:
            if kind == _REGULAR:
                found.outputs.append(file)
        elif _is_input(file) or _new_name(file.path, renamed) or file.path in sightings.guesses:
            pass  # told of already, known by another name now, or never there
        elif file.read_at is not None and not file.path.startswith(temporary_folders):
            file.why = "removed before the end of the run"
            found.intermediates.append(file)
        elif file.path not in targets or not os.path.lexists(targets[file.path]):
            found.temporary += 1  # had the renaming succeeded, this file would be here and the other one not
    found.noise = len(dropped)
    return found


def _files(
    sightings: Sightings, noise: tuple[str, ...], sources: Collection[str], dropped: set[str]
) -> Iterable[File]:
    """Return one `File` for all names of a file."""
    real_path = RealPaths()
    by_real: dict[str, File] = {}
    verdicts: dict[str, bool] = {}  # by folder: the same for all the files in it

    def file_of(path: str) -> File | None:
        folder = os.path.dirname(path)
        verdict = verdicts.get(folder)
        if verdict is None:
            verdict = verdicts[folder] = is_noise(folder + _SEP, noise)
        if verdict or path.startswith(noise):
            dropped.add(path)
            return None
        real = real_path(path)
        if real is not path and is_noise(real, noise):
            dropped.add(path)
            return None
        file = by_real.get(real)
        if file is None:
            file = by_real[real] = File(path if _SEP + "." not in path else os.path.normpath(path), real)
        file.by |= sightings.by.get(path) or {"audit"}
        return file

    for path, (stat, at) in list(sightings.reads.items()):
        if path in sources:
            if path not in sightings.writes:
                continue
        elif (file := file_of(path)) is not None and (file.read_at is None or at < file.read_at):
            file.read_at, file.first = at, stat
    for path, (_, at) in list(sightings.writes.items()):
        file = file_of(path)
        if file is not None and (file.written_at is None or at < file.written_at):
            file.written_at = at
    for path, sight in list(sightings.databases.items()):
        for suffix in _SIDECARS:
            by_real.pop(real_path(path + suffix), None)
        file = file_of(path)
        if file is not None:
            file.by.discard("audit")
            file.by.add("sqlite3")
            _judge_database(file, sight)
    return by_real.values()


def _judge_database(file: File, sight: Sight) -> None:
    """A database was read if it was there before; it was written if it is not what it was."""
    before, at = sight
    now = _stat(file.real)
    waiting = _stat(file.real + "-wal")
    if before is not None and before[0] and file.read_at is None:
        file.read_at, file.first = at, before
    if now != before or (waiting is not None and waiting[0]):
        file.written_at = at if file.written_at is None else min(at, file.written_at)


def _is_input(file: File) -> bool:
    if file.read_at is None:
        return False
    # Opened to be read and written, a file is read an instant before; a database at the same time, if it was there.
    return file.written_at is None or file.read_at <= file.written_at


def _judge_input(file: File, exists: bool, sightings: Sightings, renamed: Mapping[str, str]) -> None:
    special = sightings.special.get(file.path)
    if special is not None:
        article = "an" if special[0] in "aeiou" else "a"
        file.why = f"{article} {special}: what came through it is gone"
        return
    if not exists:
        target = _new_name(file.path, renamed)
        file.why = f"renamed to {target}" if target is not None else "removed during the run"
    elif file.first is not None and file.first != file.last:
        file.changed = True


def _kind_now(file: File) -> int:
    """Look at a file as it is now; return what kind of thing it is."""
    try:
        found = os.stat(file.real)
    except (OSError, ValueError):
        return 0
    file.last = (found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev)
    return found.st_mode & _KIND


def _stat(path: str) -> Stat | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return (found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev)


def _renames(sightings: Sightings) -> dict[str, str]:
    """Return what became of names, the last time: old to new, of files and folders."""
    return {event[2]: event[3] for event in list(sightings.events) if event[1] == "rename"}


def _new_name(path: str, renamed: Mapping[str, str]) -> str | None:
    """Return what became of a path whose name, or that of a folder it lies in, was changed; None for others."""
    folder = path
    while renamed and folder not in renamed:
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
    return renamed[folder] + path[len(folder) :] if renamed else None


class RealPaths:
    """Paths without symbolic links. Each folder is resolved once, so that 100,000 files of one cost a look each."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def __call__(self, path: str) -> str:
        """Return the real path; the very same string where there is nothing to resolve."""
        folder, name = os.path.split(path)
        real = self._folders.get(folder)
        if real is None:
            real = self._folders[folder] = os.path.realpath(folder)
        if name in (".", "..", "") or self._is_link(path):
            return os.path.realpath(path)
        return path if real == folder else os.path.join(real, name)

    @staticmethod
    def _is_link(path: str) -> bool:
        try:
            return os.lstat(path).st_mode & _KIND == _LINK
        except (OSError, ValueError):
            return False


def imported_sources(modules: Mapping[str, Any]) -> set[str]:
    """Return the absolute paths of the source files of modules, as `sys.modules` names them; and of the main script."""
    found = set()
    for module in list(modules.values()):
        path = getattr(module, "__dict__", {}).get("__file__")  # not by getattr: some modules then import others
        if type(path) is str:
            found.add(path if path[:1] == "/" else os.path.abspath(path))
    return found


def temporary_folders() -> tuple[str, ...]:
    """Return where this process puts temporary files, each with a separator at its end."""
    module = sys.modules.get("tempfile")
    named = [os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")]
    found = {folder for folder in [*named, getattr(module, "tempdir", None), "/tmp", "/var/tmp"] if folder}
    forms = {form for folder in found for form in (os.path.abspath(folder), os.path.realpath(folder))}
    return tuple(sorted(form.rstrip(_SEP) + _SEP for form in forms))


def relative_name(path: str, base_dir: str | None) -> str | None:
    """Return a path relative to the project's folder, with "/" between its parts; None if it lies elsewhere."""
    if base_dir is None or not path.startswith(base_dir.rstrip(_SEP) + _SEP):
        return None
    return path[len(base_dir.rstrip(_SEP)) + 1 :].replace(_SEP, "/")


def copy_name(path: str, base_dir: str | None, taken: Callable[[str], bool]) -> str:
    """Return a name under which a file can be kept: relative, else as few of its last parts as tell it from others."""
    name = relative_name(path, base_dir)
    parts = [part for part in path.replace(_SEP, "/").split("/") if part and not part.endswith(":")]
    count = 1
    while name is None:
        candidate = "/".join(parts[-count:])
        if not taken(candidate) or count >= len(parts):
            name = candidate
        count += 1
    return name
