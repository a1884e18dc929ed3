"""What commands that change something have in common: the runs that are meant, and asking before it is done."""

from __future__ import annotations

import sys

from capture.cli._console import is_terminal, say
from capture.errors import CaptureError, CommandLineError, RunNotFoundError
from capture.wording import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from capture.cli._arguments import NamedStores
    from capture.filters import Filter
    from capture.hooks import Reader
    from capture.query.client import Store, StoredRun


def done_to(runs: Sequence[StoredRun], action: Callable[[StoredRun], Any], said: Callable[[StoredRun], str]) -> int:
    """Do something to each of some runs and say so; return with how many it failed, of which stderr tells why."""
    failed = 0
    for name, each in zip(names_of(runs), runs):
        try:
            action(each)
        except CaptureError as error:
            failed += 1
            say(f"run {name}: {visible(str(error), lines=True)}", sys.stderr)
        else:
            say(f"run {name} {said(each)}")
    return failed


def where_of(arguments: dict[str, Any]) -> Filter | None:
    """Return the condition of ``--where``; None if there is none.

    Raises
    ------
    CommandLineError
        If it is empty, which a variable of the shell that is not set leaves: it would mean every run.
    """
    text = arguments.get("--where")
    if text is None:
        return None
    from capture.cli._arguments import condition_of, known_paths_of

    found = condition_of([text], known=lambda: known_paths_of(arguments))
    if found is None:
        raise CommandLineError("the condition of --where is empty: is a variable not set?")
    return found


def chosen_runs(stores: NamedStores, arguments: dict[str, Any], damaged: bool = False) -> list[StoredRun]:
    """Return the runs that ``RUN...`` names and those for which ``--where`` holds; see `keeping.chosen`.

    A condition is one on runs of the store that ``--store`` names.

    Raises
    ------
    RunNotFoundError
        If a run that is named is not there, or none is named and the condition holds for none.
    """
    from capture.query.keeping import chosen

    where = where_of(arguments)
    found = []
    for word in arguments.get("RUN") or ():
        store, run = stores.of(word)
        found += chosen(store, [run], damaged=damaged)
    if where is not None:
        found += chosen(stores.chosen, (), where)
        if not found:
            raise RunNotFoundError(nothing_fulfils(stores.chosen, where), print_traceback=False)
    return each_once(found)


def nothing_fulfils(store: Store | Reader, where: Filter) -> str:
    """Return what is said of a condition that holds for no run: what in it no run has, and what was probably meant."""
    from capture.query.asking import LOOKED_AT, unknown_paths
    from capture.secrets import redact_url

    odd = unknown_paths(where, store.find(None, LOOKED_AT + 1))
    said = f"no run of {visible(redact_url(store.url))} fulfils this condition"
    return said + "".join(f"\n  {visible(str(each))}" for each in odd)


def binned_runs(stores: NamedStores, arguments: dict[str, Any], in_sight: str) -> list[StoredRun]:
    """Return the runs in the bin that ``RUN...`` names; all that are in the bin where none is named.

    Of one that is named and is not in the bin, `in_sight` says what that means to the command; RunNotFoundError.
    """
    from capture.query.keeping import binned

    words = arguments.get("RUN")
    if not words:
        return binned(stores.chosen)
    named = [stores.of(word) for word in words]
    try:
        return each_once(found for store, run in named for found in binned(store, [run]))
    except RunNotFoundError as error:
        if not getattr(error, "is_in_sight", False):
            raise
        _, _, there = str(error).partition("\n")
        said = f"run {getattr(error, 'run', None)!r} is not in the bin: {in_sight}\n{there}"
        raise RunNotFoundError(said, print_traceback=False) from error


def each_once(runs: Iterable[StoredRun]) -> list[StoredRun]:
    """Return runs without those that were named before, in whatever way."""
    # labels are compared as text: a store may have numbers for them
    return list({(run.store.url, str(run.label)): run for run in runs}.values())


def readable(runs: Sequence[StoredRun]) -> list[StoredRun]:
    """Return the runs whose whole record can be read; of each of the others, say on stderr why it is left out.

    A store may find a run by its index, and open its documents only when something of them is asked for.
    """
    return [run for run in runs if _can_be_read(run)]


def _can_be_read(run: StoredRun) -> bool:
    from capture.query.verifying import is_lost

    try:
        for part in ("config", "facts", "info", "metrics", "output"):
            getattr(run, part)
    except Exception as error:
        if is_lost(error):
            raise
        say(f"run {label_of(run)} is left out: {visible(str(error).partition(chr(10))[0])}", sys.stderr)
        return False
    return True


def label_of(run: Any) -> str:
    """Return what a run is called, for a sentence."""
    return visible(str(run.label))


def names_of(runs: Sequence[Any]) -> list[str]:
    """Return what each of some runs is called in a sentence about it; the store is said where there are several."""
    from capture.query import addresses

    return [visible(name) for name in addresses.names_of(runs)]


def list_of(runs: Sequence[Any]) -> str:
    """Return the names of runs for a sentence; of many, the first and the last."""
    labels = names_of(runs)
    return ", ".join(labels if len(labels) <= 10 else [*labels[:5], f"... ({len(labels) - 8} more)", *labels[-3:]])


def can_ask() -> bool:
    """Say whether somebody is there to be asked."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def confirmed(question: str) -> bool:
    """Ask on the terminal; anything but yes is no."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
