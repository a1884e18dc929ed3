"""What is wrong with the state folders: whether they can be written and locked, and the journals that wait in them."""

from __future__ import annotations

import os

from capture.query._finding import Finding
from capture.wording import counted, first_few, format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

OLD_S = 30 * 86_400.0  #: a journal that has been waiting for so long is probably forgotten
LITTLE_BYTES = 1_000_000_000  #: of free space, below which it is said
NONE_BYTES = 50_000_000  #: below which runs are about to fail


def state() -> Iterator[Finding]:
    """Yield what is found out about the state folders and the journals in them."""
    from capture.journal import list_journals, state_dirs
    from capture.stores import default_folder

    folders = state_dirs(default_folder())
    journals = [path for folder in folders for path in list_journals(folder)]
    for folder in folders:
        yield from free_space(folder)
        yield from _locks(folder)
    waiting: dict[tuple[str, ...], list[str]] = {}
    for path in journals:
        yield from _journal(path, waiting)
    for stores, paths in waiting.items():
        yield _waiting(stores, paths)
    if not journals:
        yield Finding("ok", f"none wait: no journals are in {', '.join(folders)}")
    yield from _spools(folders, journals)


def free_space(folder: str) -> Iterator[Finding]:
    """Yield how much more can be written to a folder, and whether anything can."""
    import shutil

    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding("problem", f"{folder} cannot be written", "give yourself the right to, or name another")
    free = shutil.disk_usage(folder).free
    level = "problem" if free < NONE_BYTES else "warning" if free < LITTLE_BYTES else "ok"
    remedy = "make room there" if level != "ok" else ""
    yield Finding(level, f"{folder} has {format_size(free)} of free space", remedy)


def _locks(folder: str) -> Iterator[Finding]:
    """Try a lock on a file that is deleted at once."""
    import tempfile

    from capture.locks import LocksUnsupportedError, try_lock

    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            try_lock(stream.fileno())
    except LocksUnsupportedError:
        text = f"the file system of {folder} has no locks: whether a run lives is told by its heartbeat alone"
        yield Finding("warning", text, "set CAPTURE_STATE_DIR to a folder on a local disk")
    except OSError:  # it cannot be written, which is said already
        return


def _journal(path: str, waiting: dict[tuple[str, ...], list[str]]) -> Iterator[Finding]:
    """Say what is wrong with a journal; one that can be delivered is put with those that wait for the same stores."""
    from capture.delivery import Report
    from capture.events import FORMAT
    from capture.journal import opened_of
    from capture.liveness import machine_identity, probe

    name, size = os.path.basename(path), _size_of(path)
    writer = probe(path)
    about = f"journal {name} ({format_size(size)}, writer {writer})"
    if writer in ("alive", "missing"):
        yield Finding("ok", f"{about}: a run is writing it, or it was delivered just now")
        return
    run = Report(path).uid
    opened = opened_of(path)
    if opened is None:
        text = f"{about} has no readable beginning: it cannot be delivered"
        yield Finding("problem", text, f"look at it, then delete it: rm {path}")
        return
    if opened.format > FORMAT:
        yield Finding("problem", f"{about} was written by a later version", "pip install --upgrade experiment-capture")
        return
    if opened.host.get("machine_id") != machine_identity()["machine_id"]:
        host = opened.host.get("hostname")
        yield Finding("warning", f"{about} was written on another machine, {host}", f"capture sync on {host}")
        return
    if writer == "unknown":
        remedy = f"make sure that the run has ended, then: capture sync {run[-8:]}"
        yield Finding("warning", f"{about} cannot be locked: whether its run goes on is not known", remedy)
        return
    waiting.setdefault(tuple(_waited_for(path, opened)), []).append(path)
    damaged = _damaged_lines(path)
    if damaged:
        text = f"journal {name} has {counted(damaged, 'damaged line')}, passed over in delivery"
        yield Finding("warning", text, "check the disk; what can be read is delivered all the same")


def _waiting(stores: tuple[str, ...], paths: list[str]) -> Finding:
    """Say that journals whose writers are dead wait for these stores."""
    from time import time

    from capture.delivery import Report

    size = sum(map(_size_of, paths))
    names = first_few([os.path.basename(path).removesuffix(".journal") for path in paths])
    what = f"{counted(len(paths), 'journal')} ({format_size(size)}, writer dead) with"
    age = max(time() - _changed_at(path) for path in paths)
    old = f", for {age / 86_400:.0f} days" if age > OLD_S else ""
    runs = f" {Report(paths[0]).uid[-8:]}" if len(paths) == 1 else ""
    remedy = f"capture sync{runs}; with a password, or to another store if it is gone: --to=URL"
    text = f"{what} what {', '.join(stores) or 'a store'} has not got{old}: {names}"
    return Finding("warning", text, remedy)


def _changed_at(path: str) -> float:
    from time import time

    try:
        return os.stat(path).st_mtime
    except OSError:  # delivered meanwhile
        return time()


def _size_of(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:  # delivered meanwhile
        return 0


def _waited_for(path: str, opened: Any) -> list[str]:
    """Return the stores that have not got everything of a journal."""
    from capture.acks import Acknowledged, read_acks
    from capture.journal import acks_path

    known = read_acks(acks_path(path))
    named = [str(each["identity"]) for each in opened.observers if each.get("identity") and each.get("replay", True)]
    behind = []
    for identity in named:
        far = known.get(identity, Acknowledged())
        if far.missed:
            behind.append(f"{identity} (it refused {counted(len(far.missed), 'event')})")
        elif not far.done:
            behind.append(identity)
    return behind


def _damaged_lines(path: str) -> int:
    from capture.journal import parse_line, split_lines

    with open(path, "rb", buffering=0) as file:
        return sum(parse_line(data, end) is None for data, end in split_lines(file.read, 0))


def _spools(folders: list[str], journals: list[str]) -> Iterator[Finding]:
    """Look for bytes of files that belong to no journal any more."""
    uids = {os.path.basename(path).partition(".")[0] for path in journals}
    for folder in folders:
        spool = os.path.join(folder, "spool")
        try:
            left = [name for name in os.listdir(spool) if len(name) == 36 and name not in uids]
        except (FileNotFoundError, NotADirectoryError):
            continue
        if left:
            text = f"{spool} holds files of {counted(len(left), 'run')} without a journal: {first_few(left)}"
            yield Finding("note", text, "delete these folders if no such run is going on")
