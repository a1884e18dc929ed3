"""``capture sync``: deliver what runs left behind."""

from __future__ import annotations

import sys

from capture.cli._console import say
from capture.errors import CommandLineError
from capture.wording import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


USAGE = """\
Deliver what runs left behind when their process died or a store was away.

Usage:
  capture sync [--to=URL] [UID...]

The beginning or the end of a uid is enough; without one, everything that waits is delivered, to the stores that the
journals name. capture doctor says what waits. Status 1: something waits still.

Options:
  --to=URL  Deliver to this store instead of those that the journals name.
"""


def run(arguments: dict[str, Any]) -> int:
    """Deliver what the arguments name; return 1 if something still waits."""
    return deliver(arguments["--to"], arguments["UID"])


def deliver(to: str | None, runs: list[str]) -> int:
    """Deliver the journals whose writers are gone, of all runs or of those named; say what became of each."""
    from capture import delivery, stores
    from capture.journal import list_journals, state_dirs

    observers = [_lasting(to)] if to is not None else []
    states = state_dirs(stores.default_folder())
    waiting = [delivery.Report(path).uid for state in states for path in list_journals(state)]
    unknown = [part for part in runs if not any(_is_meant(uid, part) for uid in waiting)]
    if unknown and waiting:
        print(f"no journal is of a run {' or '.join(unknown)}; those of these runs wait:", file=sys.stderr)
        for uid in dict.fromkeys(waiting):
            print(f"  {uid}", file=sys.stderr)
    reports = [
        report
        for state in states
        for report in delivery.sync(
            state,
            observers,
            resolve=None if observers else stores.store_of,
            instead=bool(observers),
            retry_missed=True,
            only=(lambda uid: any(_is_meant(uid, part) for part in runs)) if runs else None,
        )
    ]
    for report in reports:
        say(visible(str(report)))
    if not waiting:
        print("nothing waits")
    is_done = all(report.complete for report in reports)
    return 0 if is_done and not (unknown and waiting) else 1


def _is_meant(uid: str, part: str) -> bool:
    return uid.startswith(part) or uid.endswith(part)


def _lasting(url: str) -> Any:
    """Return the observer of a store that is still there when this process has ended.

    Journals are deleted when what they hold is delivered, so it must not be delivered to nowhere.

    Raises
    ------
    CommandLineError
        If the store ends with the process, or is no store.
    """
    from capture.calls import replays
    from capture.registry import make_observer
    from capture.secrets import redact_url

    observer = make_observer(url)
    if not replays(observer):
        raise CommandLineError(
            f"{redact_url(url)} keeps nothing that is there later: it ends with this process, or stores no runs."
            "\n  possible:  a folder, or a store that can be opened again by its URL"
        )
    return observer
