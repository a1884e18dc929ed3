"""Is a store of run folders as it should be? What nobody sees who reads a single run."""

from __future__ import annotations

import os
import time

from capture.observers import _labels
from capture.observers._names import TEMPORARY
from capture.observers._run_folder import EXTENSION
from capture.wording import first_few

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LEFT_OVER_S = 3600.0  #: a temporary file of this age belongs to nobody any more


def findings(basedir: str, private: str) -> Iterator[tuple[str, str, str]]:
    """Yield level ("ok", "note", "warning" or "problem"), what was found, and what to do."""
    yield from _index(os.path.join(private, "index.sqlite"))
    left = [path for path in temporary_files(basedir, private) if _is_old(path)]
    trash = os.path.join(private, "trash")
    purges = [path for path in left if os.path.dirname(path) == trash]
    if purges:
        text = f"a purge broke off, files that other runs use may be away until it is finished: {', '.join(purges)}"
        yield "warning", text, "capture doctor --fix finishes it"
    left = [path for path in left if path not in purges]
    if left:
        text = f"{len(left)} of the files were left by writes that broke off: {first_few(left, 5)}"
        yield "note", text, "capture doctor --fix deletes them when they are a day old"
    empty = [name for name in _folders(basedir) if _labels.is_number(name) and _is_cut_off(os.path.join(basedir, name))]
    if empty:
        text = f"folders without a record, of runs that were cut off as they began: {first_few(empty, 10)}"
        yield "note", text, "delete them"
    lock = os.path.join(private, "next_id")
    if os.path.exists(lock):
        from capture.locks import LocksUnsupportedError, try_lock

        try:
            descriptor = os.open(lock, os.O_RDWR)
        except PermissionError:
            yield "note", f"{basedir} can be read, and not be written by this user", ""
            return
        try:
            try_lock(descriptor, shared=True)
        except LocksUnsupportedError as error:
            text = f"the file system of {basedir} has no locks ({error.strerror})"
            yield "warning", text, "runs are safe; starting hundreds at once is slower, and DIED is told by time alone"
        else:
            yield "ok", "files can be locked", ""
        finally:
            os.close(descriptor)


def _index(path: str) -> Iterator[tuple[str, str, str]]:
    if not os.path.exists(path):
        yield "ok", "there is no index yet: it is made when runs are asked for", ""
        return
    problem = index_problem(path)
    if problem is None:
        yield "ok", "the index is whole", ""
    else:
        text = f"the index {path} is damaged ({problem}): runs are read one by one"
        yield "warning", text, "capture doctor --fix makes it anew"


def index_problem(path: str) -> str | None:
    """Return what is wrong with the index, as SQLite says it; None if nothing is."""
    import sqlite3
    from urllib.parse import quote

    try:
        database = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=2)
        try:
            answer = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
        finally:
            database.close()
    except sqlite3.Error as error:
        answer = str(error)
    return None if answer == "ok" else answer


def temporary_files(basedir: str, private: str) -> list[str]:
    """Return the half-written files of the store, and the folders of runs that somebody began to delete."""
    return [path for path in _files(basedir, private) if os.path.basename(path).startswith(TEMPORARY)]


def _folders(basedir: str) -> list[str]:
    with os.scandir(basedir) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and entry.name[0] not in "_.")


def _files(basedir: str, private: str) -> Iterator[str]:
    """Yield files in the places where the store writes: not those deep in runs, of which there may be millions.

    With them are the folders of runs that somebody began to delete.
    """
    trash = os.path.join(private, "trash")
    places = [basedir, private, os.path.join(private, "uids"), trash]
    places += [os.path.join(basedir, name) for name in ("_sources", "_resources", *_folders(basedir))]
    for place in places:
        try:
            with os.scandir(place) as entries:
                yield from [entry.path for entry in entries if place == trash or not entry.is_dir()]
        except (FileNotFoundError, NotADirectoryError):
            continue


def _is_old(path: str) -> bool:
    try:
        return time.time() - os.stat(path).st_mtime > LEFT_OVER_S
    except OSError:  # it is gone, so somebody is at work
        return False


def _is_cut_off(folder: str) -> bool:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:  # somebody has put the run into the bin just now
        return False
    has_record = any(name in names for name in ("run.json", "config.json", EXTENSION))
    return not has_record and _is_old(folder) and all(name.startswith(TEMPORARY) for name in names)
