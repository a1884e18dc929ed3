"""``capture sync``: deliver what runs left behind."""

from __future__ import annotations

import sys

from capture.cli._console import say
from capture.errors import CommandLineError
from capture.wording import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


USAGE = """\
Deliver what runs left behind when their process died or a store was away.

Usage:
  capture sync [--to=URL]... [UID...]

The beginning or the end of a uid is enough; without one, everything that waits is delivered, to the stores that the
journals name. capture doctor says what waits. Status 1: something waits still.

Options:
  --to=URL  The store that is waited for, with its password, which no journal has; what waits for others as well is
            kept for them. If nothing waits for this store, what waits is delivered to it in place of all others.
"""


def run(arguments: dict[str, Any]) -> int:
    """Deliver what the arguments name; return 1 if something still waits."""
    for word in arguments["UID"]:
        if word.replace("-", "").lower().strip("0123456789abcdef"):
            raise CommandLineError(
                f"{visible(word)!r} is no part of the uid of a run, which has the digits 0 to 9 and a to f."
                f"\n  to deliver to a store of that name:  capture sync --to={visible(word)}"
            )
    return deliver(arguments["--to"], arguments["UID"])


def deliver(to: Sequence[str], runs: list[str]) -> int:
    """Deliver the journals whose writers are gone, of all runs or of those named; say what became of each."""
    from capture import delivery, stores
    from capture.calls import identity_of
    from capture.journal import list_journals, state_dirs

    observers = [_lasting(url) for url in to]
    states = state_dirs(stores.default_folder())
    waiting = [path for state in states for path in list_journals(state)]
    uids = [delivery.Report(path).uid for path in waiting]
    unknown = [part for part in runs if not any(_is_meant(uid, part) for uid in uids)]
    if unknown and waiting:
        print(f"no journal is of a run {' or '.join(unknown)}; those of these runs wait:", file=sys.stderr)
        for uid in dict.fromkeys(uids):
            print(f"  {uid}", file=sys.stderr)

    def is_chosen(uid: str) -> bool:
        return not runs or any(_is_meant(uid, part) for part in runs)

    named = {identity for path, uid in zip(waiting, uids) if is_chosen(uid) for identity in _waited_for(path)}
    reports = [
        report
        for state in states
        for report in delivery.sync(
            state,
            observers,
            resolve=stores.store_of,
            instead=bool(observers) and named.isdisjoint(map(identity_of, observers)),
            retry_missed=True,
            only=is_chosen,
        )
    ]
    for report in reports:
        say(visible(str(report)))
    if not waiting:
        print("nothing waits")
    behind = sorted({identity for report in reports for identity in report.behind} - set(map(identity_of, observers)))
    if behind:
        remedy = f"if it asks for a password, which no journal has: capture sync --to=URL ({', '.join(behind)})"
        print(visible(remedy), file=sys.stderr)
    is_done = all(report.complete for report in reports)
    return 0 if is_done and not (unknown and waiting) else 1


def _waited_for(path: str) -> list[str]:
    """Return the identities of the stores that a journal names."""
    from capture.journal import opened_of

    opened = opened_of(path)
    return [each["identity"] for each in opened.observers if each.get("identity")] if opened is not None else []


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
