"""The audit hook: which files Python opens, as it opens them.

Python tells an audit hook of every opening before it happens, whoever asked for it. A hook cannot be taken away again,
it is called tens of thousands of times, and what it raises aborts what it was told of. So it is installed with the
first watched run, returns at once while none is, looks each path up in a dict and asks the file system only when a
path is first read, and lets no failure of its own out; failures are counted, and the coverage statement tells of them.

Which run an opening belongs to: that of the context, or the nearest of its parents that is watched; else the only run
that is watched; else, as it cannot be told, every one. What threads do that work for the library
(`capture.unwatched.IDENTS`) belongs to none.
"""

from __future__ import annotations

import os
import sys
from threading import Lock, get_ident

from capture.probes.lineage.sightings import Sightings
from capture.unwatched import IDENTS, unwatched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import ContextVar
    from typing import Any

_WINDOWS = sys.platform == "win32"
_FOLDER_FLAGS = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_PATH", 0)
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_FRESH_FLAGS = os.O_TRUNC | os.O_EXCL  #: what was in the file before does not matter
_NOWHERE = "/a folder that was removed"  #: relative paths lead nowhere from there
_MAX_SEARCHES = 200  #: for the folder that a path was relative to, per process

_lock = Lock()
_installed = False
_context: ContextVar[Any] | None = None
_watched: tuple[Sightings, ...] = ()  # replaced, never changed, so that the hook needs no lock
_single: Sightings | None = None  # the only one of them
_here: str | None = None  # the current folder with a separator at its end, until it changes
_moving: set[int] = set()  # idents of threads that were about to change it, and may not have done so yet
_searches = 0


# --- for the other parts ---


def active() -> bool:
    """Say whether any run is watched in this process."""
    return bool(_watched)


def note(path: Any, write: bool, by: str) -> None:
    """Report a file that is about to be opened, or was.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        If relative, to the current folder. What is not a path (a file object, say) is ignored.
    write : bool
        Whether it is written; else it is read.
    by : str
        Who says so: the name of a library.
    """
    if not _watched or get_ident() in IDENTS:
        return
    text = _text(path)
    if not text:
        return
    text = _absolute(text)
    for sightings in _targets():
        try:
            sightings.report(text, by)
            (sightings.write if write else sightings.read)(text)
        except Exception as error:  # noqa: BLE001 - it would come out of the user's call of a library; it is counted
            sightings.failed(error)


def note_url(entry: dict[str, Any]) -> None:
    """Report a URL that was asked for.

    Parameters
    ----------
    entry : dict
        ``{"method", "url", "status", "size", "digest", "complete", "by"}``. It is kept as it is, so that who reports it
        can fill in later what is not known yet.
    """
    if _watched and get_ident() not in IDENTS:
        for sightings in _targets():
            try:
                sightings.url(entry)
            except Exception as error:  # noqa: BLE001 - it would come out of the user's request; it is counted
                sightings.failed(error)


# --- for the front ---


def start(key: Any, context: ContextVar[Any] | None = None, **options: Any) -> Sightings:
    """Begin to watch for a run.

    Parameters
    ----------
    key : object
        The run, as `context` holds it.
    context : ContextVar, optional
        Tells which run a context belongs to.
    **options
        See `Sightings`.

    Returns
    -------
    Sightings
        Filled while the run goes on; to be given to `stop`.
    """
    sightings = Sightings(key, **options)
    watch(sightings, context)
    return sightings


def watch(sightings: Sightings, context: ContextVar[Any] | None) -> None:
    """Begin to fill sightings; `start` makes them and does this."""
    global _installed, _context, _here
    with _lock:
        _context = context or _context
        _here = None
        if not _installed:
            sys.addaudithook(_hook)
            _installed = True
        _set((*_watched, sightings))


def stop(sightings: Sightings) -> None:
    """Watch no longer for a run. Doing it twice is harmless."""
    with _lock:
        rest = tuple(other for other in _watched if other is not sightings)
        if len(rest) < len(_watched):
            sightings.beside = rest
            for other in rest:
                other.elsewhere |= sightings.used()
        _set(rest)


def replace_all(sightings: tuple[Sightings, ...]) -> None:
    """Watch for these and nobody else: what a forked child does, in which only one thread is left."""
    global _lock
    _lock = Lock()  # another thread may have held it
    _moving.clear()
    _set(sightings)


def watched() -> tuple[Sightings, ...]:
    """Return what is being filled."""
    return _watched


def _set(sightings: tuple[Sightings, ...]) -> None:
    global _watched, _single
    _single = sightings[0] if len(sightings) == 1 else None
    _watched = sightings


# --- the hook ---


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _watched:
        return
    handle = _handler_of(event)
    if handle is None or get_ident() in IDENTS:
        return
    try:
        handle(args)
    except Exception as error:  # it would abort what the user does
        if _comes_from_elsewhere(error):
            raise
        for sightings in _watched:
            sightings.failed(error)


def _comes_from_elsewhere(error: BaseException) -> bool:
    """Say whether an exception was raised by a signal handler (a time limit, say) that ran while the hook did.

    It is meant for the code that is running, and would have been raised there an instant later.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").rpartition(".")[0] != __package__


def _on_open(args: tuple[Any, ...]) -> None:
    path, mode, flags = args
    if type(path) is not str:
        path = _text(path)
        if path is None:
            return
    given = path
    if given[:1] != "/" or _WINDOWS:
        path = _absolute(given)
    writes = flags & _WRITE_FLAGS if flags else mode is not None and _is_write_mode(mode)
    sightings = _single
    if sightings is not None:
        if path in (sightings.writes if writes else sightings.reads):
            return
        if not writes and mode is not None:
            sightings.read(path)
            return
    _see_open(given, path, mode, flags or 0, writes)


def _see_open(given: str, path: str, mode: str | None, flags: int, writes: Any) -> None:
    if flags & _FOLDER_FLAGS:
        return  # a folder, or (O_TMPFILE) a file without a name
    paths = [path]
    if mode is None and given is not path and not _WINDOWS and not os.path.lexists(path):
        paths += _relative_to_open_folders(given)
    for sightings in _targets():
        for path in paths:
            if not writes:
                sightings.read(path)
                continue
            if (flags & os.O_RDWR or (mode and "+" in mode)) and not flags & _FRESH_FLAGS:
                _see_update(sightings, path)
            sightings.write(path)
        if writes and len(paths) > 1:
            sightings.guesses.update(paths)


def _see_update(sightings: Sightings, path: str) -> None:
    """A file opened to be read and written is an input, too, if it was there before the run and held something."""
    if path not in sightings.writes:
        try:
            if os.stat(path).st_size:
                sightings.read(path)
        except (OSError, ValueError):
            pass  # it is made now


def _is_write_mode(mode: str) -> bool:
    return any(letter in mode for letter in "wax+")


def _on_import(args: tuple[Any, ...]) -> None:
    sightings = _single
    if sightings is not None:
        sightings.imports.add(args[0])
        return
    for sightings in _targets():
        sightings.imports.add(args[0])


def _on_chdir(args: tuple[Any, ...]) -> None:
    # Told before it happens: until this thread goes on, another one may still find the old folder.
    global _here
    _moving.add(get_ident())
    _here = None


def _on_rename(args: tuple[Any, ...]) -> None:
    source, target, source_fd, target_fd = args
    source, target = _resolved(source, source_fd), _resolved(target, target_fd)
    if source and target:
        for sightings in _targets():
            sightings.rename(source, target)


def _on_link(args: tuple[Any, ...]) -> None:
    source, target, source_fd, target_fd = args
    source, target = _resolved(source, source_fd), _resolved(target, target_fd)
    if source and target:
        for sightings in _targets():
            if source not in sightings.writes:
                sightings.read(source)
            sightings.write(target)


def _on_truncate(args: tuple[Any, ...]) -> None:
    path = _text(args[0])
    if path:
        path = _absolute(path)
        for sightings in _targets():
            _see_update(sightings, path)
            sightings.write(path)


def _on_sqlite(args: tuple[Any, ...]) -> None:
    text = _text(args[0])
    if not text or text == ":memory:":
        return
    if text.startswith("file:"):
        path = _path_of_uri(text)
        if not path:
            return
        text = path
    text = _absolute(text)
    for sightings in _targets():
        sightings.database(text)


def _path_of_uri(uri: str) -> str | None:
    """Return the path in a URI as SQLite reads it; None for a database in memory."""
    from urllib.parse import unquote

    path, _, query = uri[len("file:") :].partition("#")[0].partition("?")
    if "mode=memory" in query.split("&"):
        return None
    if path.startswith("//"):
        path = "/" + path[2:].partition("/")[2]
    path = unquote(path)
    if _WINDOWS and path[:1] == "/" and path[2:3] == ":":
        path = path[1:]
    return path if path and path != ":memory:" else None


def _on_popen(args: tuple[Any, ...]) -> None:
    executable, argv = args[0], args[1]
    if isinstance(argv, (str, bytes)) or not isinstance(argv, (list, tuple)):
        argv = [argv]
    _event("process", "subprocess", [_plain(part) for part in argv] or [_plain(executable)])


def _on_system(args: tuple[Any, ...]) -> None:
    _event("process", "os.system", [_plain(args[0])])


def _on_spawn(args: tuple[Any, ...]) -> None:
    argv = [_plain(part) for part in args[-2]] or [_plain(args[-3])]
    for sightings in _targets():
        if sightings.events[-1:] and sightings.events[-1][1:] == ("process", "subprocess", argv):
            continue  # subprocess told of it
        sightings.event("process", "spawn", argv)


def _on_startfile(args: tuple[Any, ...]) -> None:
    _event("process", "os.startfile", [_plain(args[0])])


def _on_fork(args: tuple[Any, ...]) -> None:
    _event("fork")


def _on_exec(args: tuple[Any, ...]) -> None:
    _event("exec", [_plain(part) for part in args[1]] or [_plain(args[0])])


def _on_connect(args: tuple[Any, ...]) -> None:
    address = args[1]
    if isinstance(address, tuple) and address:
        _on_lookup(address)


def _on_lookup(args: tuple[Any, ...]) -> None:
    host = _plain(args[0])
    if host:
        for sightings in _targets():
            sightings.host(host)


def _event(what: str, *details: Any) -> None:
    for sightings in _targets():
        sightings.event(what, *details)


_HANDLERS: dict[str, Callable[[tuple[Any, ...]], None]] = {
    "open": _on_open,
    "import": _on_import,
    "os.chdir": _on_chdir,
    "os.rename": _on_rename,
    "os.link": _on_link,
    "os.truncate": _on_truncate,
    "sqlite3.connect": _on_sqlite,
    "subprocess.Popen": _on_popen,
    "os.system": _on_system,
    "os.posix_spawn": _on_spawn,
    "os.spawn": _on_spawn,
    "os.startfile": _on_startfile,
    "os.fork": _on_fork,
    "os.forkpty": _on_fork,
    "os.exec": _on_exec,
    "socket.connect": _on_connect,
    "socket.getaddrinfo": _on_lookup,
}
_handler_of = _HANDLERS.get


# --- which run, which path ---


def _targets() -> tuple[Sightings, ...]:
    """Return where something that happens now belongs."""
    everyone = _watched
    if len(everyone) == 1 or _context is None:
        return everyone
    run = _context.get()
    while run is not None:
        theirs = tuple(sightings for sightings in everyone if sightings.key is run or sightings.key is None)
        if any(sightings.key is run for sightings in theirs):
            return theirs
        run = getattr(run, "parent", None)
    for sightings in everyone:
        sightings.shared = True
    return everyone


def _text(path: Any) -> str | None:
    """Return a path as text; None for what is none, such as a descriptor."""
    if type(path) is str:
        return path
    if isinstance(path, str):  # numpy's, say: it must not stay alive, nor bring its own idea of what is equal
        return str.__str__(path)
    if isinstance(path, bytes):
        return os.fsdecode(path)
    if path is None or isinstance(path, int) or not hasattr(path, "__fspath__"):
        return None
    with unwatched():  # it is code of others, which may open files
        try:
            return os.fsdecode(path)
        except Exception:  # noqa: BLE001 - whoever opens it will raise the same
            return None


def _absolute(path: str) -> str:
    global _here
    if _WINDOWS:
        return os.path.abspath(path)
    if path[:1] == "/":
        return path
    here = _here
    if here is None:
        _moving.discard(get_ident())
        try:
            folder = os.getcwd()
        except FileNotFoundError:  # somebody removed it
            return os.path.join(_NOWHERE, path)
        here = folder if folder.endswith("/") else folder + "/"
        if not _moving:
            _here = here
    return here + (path[2:] if path[:2] == "./" else path)


def _resolved(path: Any, folder_fd: Any = -1) -> str | None:
    """Return the absolute path of something named relative to an open folder; None if it cannot be told."""
    text = _text(path)
    if not text:
        return None
    if folder_fd is None or folder_fd < 0 or os.path.isabs(text):
        return _absolute(text)
    folder = _folder_of(folder_fd)
    return folder and os.path.join(folder, text)


def _folder_of(descriptor: int) -> str | None:
    """Return the path of an open folder."""
    try:
        if sys.platform == "darwin":
            import fcntl

            F_GETPATH = 50
            return os.fsdecode(fcntl.fcntl(descriptor, F_GETPATH, bytes(1024)).rstrip(b"\0"))
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return None


def _relative_to_open_folders(path: str) -> list[str]:
    """Return what a path may have meant that does not exist: `os.open` does not tell hooks its argument `dir_fd`."""
    global _searches
    if _searches >= _MAX_SEARCHES:
        return []
    _searches += 1
    found = []
    try:
        descriptors = os.listdir("/proc/self/fd" if sys.platform != "darwin" else "/dev/fd")
    except OSError:
        return []
    for descriptor in descriptors:
        try:
            is_folder = os.stat(int(descriptor)).st_mode & 0o170000 == 0o040000
        except (OSError, ValueError):
            continue
        folder = _folder_of(int(descriptor)) if is_folder else None
        if folder and folder.startswith("/") and not folder.startswith("/proc/"):
            found.append(os.path.join(folder, path))
    return found


def _plain(value: Any) -> str:
    return value if type(value) is str else (_text(value) or "")
