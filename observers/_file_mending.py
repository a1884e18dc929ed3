"""Mending a store of run folders: finishing what a process that died had begun, and nothing else.

Each thing is yielded as a sentence before it is done, so that a dry run says the same as a real one.
"""

from __future__ import annotations

import os
import time

from capture.errors import CaptureError
from capture.observers import _atomic
from capture.observers._file_health import LEFT_OVER_S, index_problem, temporary_files
from capture.observers._file_index import NAME, FileIndex, discard
from capture.observers._names import TEMPORARY
from capture.wording import counted, first_few

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture.observers._file_curator import FileStoreCurator

#: a temporary file may be that of a process on another machine, of which nobody here knows whether it lives
ABANDONED_S = 86_400.0


def mend(curator: FileStoreCurator, dry: bool) -> Iterator[str]:
    """Yield what is done, and do it unless `dry`."""
    yield from _purges(curator, dry)
    yield from _temporary_files(curator, dry)
    yield from _index(curator, dry)
    yield from _measurements(curator, dry)


def _purges(curator: FileStoreCurator, dry: bool) -> Iterator[str]:
    """Finish deletions that broke off: somebody has asked for them, and the labels are given up already."""
    trash = os.path.join(curator.private, "trash")
    try:
        names = sorted(os.listdir(trash))
    except FileNotFoundError:
        return
    for name in names:
        path = os.path.join(trash, name)
        if not os.path.isdir(path) or not _is_left(path, LEFT_OVER_S):
            continue
        if name.endswith(curator.HELD):
            yield f"shared files that a purge had set aside are put back where a run uses them, else deleted: {path}"
            if not dry:
                curator.settle(path)
        else:
            yield f"the deletion of a purged run is finished: {path}"
            if not dry:
                curator.delete(path)


def _temporary_files(curator: FileStoreCurator, dry: bool) -> Iterator[str]:
    left = [path for path in temporary_files(curator.basedir, curator.private) if os.path.isfile(path)]
    left = [path for path in left if _is_left(path, ABANDONED_S)]
    if left:
        yield f"what writers that died left half-written is deleted ({len(left)}): {first_few(left, 5)}"
        if not dry:
            for path in left:
                _atomic.remove(path)


def _index(curator: FileStoreCurator, dry: bool) -> Iterator[str]:
    path = os.path.join(curator.private, NAME)
    if not os.path.exists(path):
        return
    problem = index_problem(path)
    if problem is not None:
        yield f"the index {path}, which is damaged ({problem}), is made anew"
        if not dry:
            discard(curator.private)
            curator.reader.indexed()
        return
    index: FileIndex = curator.reader.indexed()
    stale = index.overwritten(index.all_rows())
    if stale:
        yield f"runs whose files were written over in place are indexed again ({len(stale)}): {first_few(stale)}"
        if not dry:
            index.forget(stale)
            curator.reader.indexed()


def _measurements(curator: FileStoreCurator, dry: bool) -> Iterator[str]:
    """Bring back points that ``metrics.jsonl`` has lost, of runs that are over, where Sacred's form still has them."""
    from capture.observers._lost_measurements import bring_back, lost_points

    curator.reader.logs_unreadable = False  # it is said here, or of the store
    for label in curator.reader.labels():
        try:
            record = curator.reader.get(label)
            has_lost = any(loss.kind == "metrics" for loss in record.losses) and record.stop_time is not None
        except CaptureError:
            continue
        folder = curator.reader.folder(label)
        count = lost_points(folder) if has_lost else None
        if count is not None:
            come = "comes" if count == 1 else "come"
            what = f"{counted(count, 'point')} that metrics.jsonl has lost {come} back from metrics.json"
            yield f"run {label}: {what if count else 'metrics.jsonl has all points again, which is noted'}"
            if not dry:
                bring_back(folder, curator.basedir)


def _is_left(path: str, age_s: float) -> bool:
    """Say whether nobody has written for so long, and no process of the number in its name is here."""
    try:
        known = os.stat(path)
    except FileNotFoundError:
        return False
    # A folder keeps the time of its content when it is renamed; that of its own changes then.
    if time.time() - (max(known.st_mtime, known.st_ctime) if os.path.isdir(path) else known.st_mtime) <= age_s:
        return False
    number = os.path.basename(path).removeprefix(TEMPORARY).partition("-")[0]
    try:
        return not _is_process(int(number, 16))
    except ValueError:
        return False  # not a name of ours


def _is_process(number: int) -> bool:
    if os.name != "posix":
        return number == os.getpid()  # elsewhere a signal would end it; its age has to do
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
