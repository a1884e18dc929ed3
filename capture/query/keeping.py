"""Changing what people may change: tags, notes, the bin. `StoredRun` does it to one run; here is the rest."""

from __future__ import annotations

import os
from contextlib import contextmanager

from capture.errors import CaptureError, RecordError, RunNotFoundError
from capture.query.signs import last_sign
from capture.records import FILES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from capture.filters import Filter
    from capture.query.client import Store, StoredRun
    from capture.records import RunRecord

PATIENCE_S = 10.0  #: how long one waits for another who tags runs of the same store
UNREADABLE = "UNREADABLE"  #: the state of what stands for a run whose record cannot be read
SILENT_S = 600.0  #: a run of elsewhere that gave no sign for so long is taken to have ended


class RunAliveError(CaptureError, RuntimeError):
    """A run is still written, or may be.

    Attributes
    ----------
    run : object
        Its label.
    known : bool
        Whether its process is known to live; else the run has only given a sign of life lately.
    """

    def __init__(self, run: Any, known: bool, because: str) -> None:
        self.run, self.known = run, known
        what = "stop it first" if known else "if it is over all the same: --force"
        super().__init__(f"run {run} is still going on: {because}\n  what to do:  {what}", print_traceback=False)
        self.because = because

    def __reduce__(self) -> Any:
        return type(self), (self.run, self.known, self.because)


# ----------------------------------------------------------------------------------------------------- which runs


def chosen(
    store: Store, names: Iterable[Any], where: Filter | None = None, damaged: bool = False
) -> list[StoredRun]:
    """Return the runs that are named, in that order, and those for which a condition holds; each once.

    With `damaged`, one that is named and cannot be read has the state `UNREADABLE`, and nothing else but its label.

    Raises
    ------
    RunNotFoundError
        If one of those that are named is not there: then nothing is to be done to the others.
    """
    found = [_even_damaged(store, name) if damaged else store.get(name) for name in names]
    if where is not None:
        found += store.find(where)
    return list({str(run.label): run for run in found}.values())


def binned(store: Store, names: Iterable[Any] | None = None) -> list[StoredRun]:
    """Return runs that are in the bin: all of them, oldest first, or those that are named.

    Raises
    ------
    RunNotFoundError
        If one of those that are named is not in the bin.
    """
    reader: Any = store.reader
    if names is None:
        labels: list[Any] = store.curator.binned()
    elif hasattr(reader, "resolve"):
        labels = [reader.resolve(name, binned=True) for name in names]
    else:  # a reader of another package, which knows no more than labels
        labels = list(names)
        missing = [label for label in labels if str(label) not in map(str, store.curator.binned())]
        if missing:
            there = ", ".join(map(str, store.curator.binned())) or "none"
            raise RunNotFoundError(f"run {missing[0]!r} is not in the bin of {store.url}; there are: {there}")
    return [_from_bin(store, label) for label in {str(label): label for label in labels}.values()]


def _from_bin(store: Store, label: Any) -> StoredRun:
    from capture.records import RunRecord

    reader: Any = store.reader
    try:
        return store.run_of(reader.read(label, binned=True) if hasattr(reader, "read") else RunRecord(label=label))
    except RecordError:  # so that it can be brought back, or deleted
        return _unreadable(store, label)


def _even_damaged(store: Store, name: Any) -> StoredRun:
    reader: Any = store.reader
    try:
        return store.get(name)
    except RecordError:
        if not hasattr(reader, "resolve"):
            raise
        return _unreadable(store, reader.resolve(name))


def _unreadable(store: Store, label: Any) -> StoredRun:
    from capture.records import RunRecord

    record = RunRecord(label=label)
    record.status = UNREADABLE
    return store.run_of(record)


# ----------------------------------------------------------------------------------------------------- tags, notes


def change_tags(run: StoredRun, add: Sequence[str] = (), remove: Sequence[str] = ()) -> list[str]:
    """Add tags to a run and take others away; return those that it has then.

    What another adds or takes away at the same moment stays so, see `revise`.

    Parameters
    ----------
    run : StoredRun
    add, remove : sequence of str
        A tag that is there is not added again, and one that is not there need not be taken away. What stands in both
        is added.

    Raises
    ------
    ValueError
        If a tag is empty.
    """
    if not all(tag.strip() for tag in (*add, *remove)):
        raise ValueError("a tag is at least one character that is no blank")

    def change(tags: list[str], _notes: str) -> tuple[list[str] | None, None]:
        kept = [tag for tag in tags if tag in add or tag not in remove]
        changed = list(dict.fromkeys((*kept, *add)))
        return (changed if changed != tags else None), None

    revise(run, change)
    return run.tags


def append_note(run: StoredRun, text: str) -> str:
    """Add a paragraph to the notes of a run; return all of them."""
    revise(run, lambda _tags, notes: (None, f"{notes.rstrip()}\n\n{text}" if notes.strip() else text))
    return run.notes


def revise(run: StoredRun, change: Callable[[list[str], str], tuple[list[str] | None, str | None]]) -> None:
    """Change tags and notes of a run by what they are at that moment, and read the run anew.

    A store does that in one step, or again if somebody else was faster, whoever and wherever that is. Where it cannot,
    tags and notes are read just before they are written, and processes of one user on one machine do that one after the
    other.

    Parameters
    ----------
    run : StoredRun
    change : callable
        ``change(tags, notes) -> (tags, notes)``: what they are to be, None for what stays. It may be called several
        times; if it raises, nothing is changed.
    """
    with only_one(run.store):
        try:
            run.store.curator.revise(run.label, change)
        except NotImplementedError:
            run.refresh()
            tags, notes = change(list(run.tags), run.notes)
            if tags is not None or notes is not None:
                run.store.curator.annotate(run.label, tags, notes)
        run.refresh()


def tag_counts(runs: Iterable[RunRecord]) -> dict[str, int]:
    """Return how many runs have each tag, the most frequent first."""
    counts: dict[str, int] = {}
    for run in runs:
        for tag in run.tags:
            counts[tag] = counts.get(tag, 0) + 1
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


@contextmanager
def only_one(store: Store) -> Iterator[None]:
    """Keep other processes of this user on this machine from changing tags and notes of a store meanwhile.

    Where the state folder has no locks or cannot be written, or another holds on for more than `PATIENCE_S` seconds,
    it goes on without.
    """
    from time import monotonic, sleep

    from capture.journal import state_dir
    from capture.locks import LocksUnsupportedError, try_lock

    try:
        descriptor = os.open(os.path.join(state_dir(), "curating.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        from capture.complaints import logger

        logger().warning("others may change tags and notes at the same time: %s", error)
        yield
        return
    try:
        until = monotonic() + PATIENCE_S
        try:
            while not try_lock(descriptor) and monotonic() < until:
                sleep(0.01)
        except LocksUnsupportedError:
            pass
        yield
    finally:
        os.close(descriptor)  # which frees the lock


# ----------------------------------------------------------------------------------------------------- the bin


def check_over(run: StoredRun, force: bool = False) -> None:
    """Refuse a run that is still written.

    Raises
    ------
    RunAliveError
        If its process lives; unless `force`, also if that cannot be told from here and it gave a sign of life within
        the last `SILENT_S` seconds.
    """
    if run.status != "RUNNING":
        return
    alive = run.store.is_alive(run)
    if alive:
        raise RunAliveError(run.label, True, "its process lives")
    age = silence(run)
    if alive is None and not force and age is not None and age < SILENT_S:
        raise RunAliveError(run.label, False, f"its last sign of life is {age:.0f} s old, and it runs elsewhere")


def silence(run: RunRecord) -> float | None:
    """Return the seconds since the last sign of life of a run; None if there never was one.

    It is negative where the clock of the other machine is ahead of this one's.
    """
    from capture.moments import datetime, timezone

    sign = last_sign(run)
    return (datetime.now(timezone.utc) - sign).total_seconds() if sign is not None else None


def age(run: RunRecord) -> float | None:
    """Return the seconds since a run ended, or since its last sign of life; None if its record has no time."""
    from capture.moments import datetime, timezone

    end = run.stop_time or last_sign(run) or run.queue_time
    return (datetime.now(timezone.utc) - end).total_seconds() if end is not None else None


def stored_bytes(run: RunRecord) -> int:
    """Return the bytes of all files of a run, as its record says; content that several names share counts once."""
    files = [each for kind in FILES for each in getattr(run, kind)]
    sizes = {each.digest or id(each): each.size or 0 for each in files}
    return sum(sizes.values())
