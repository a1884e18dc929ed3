"""``capture purge``: delete what is in the bin."""

from __future__ import annotations

import sys

from capture.cli._arguments import NamedStores
from capture.cli._console import hint, print_table, say
from capture.cli._runs import binned_runs, can_ask, confirmed, label_of, list_of, names_of
from capture.errors import CaptureError, CommandLineError
from capture.wording import counted, format_duration, format_size, format_value, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.query.client import Store, StoredRun

USAGE = """\
Delete runs that are in the bin for good, and their files.

Usage:
  capture purge [--store=URL]
  capture purge [--store=URL] [--yes] RUN...
  capture purge [--store=URL] [--yes] --all
  capture purge [--store=URL] [--yes] --older-than=AGE

Files that other runs use stay. Without a run the bin is listed, and nothing is deleted.

Options:
  --all             All runs that are in the bin.
  --older-than=AGE  Runs in the bin that ended so long ago: "30 days", "12 h".
  -y, --yes         Do not ask. Where nobody can be asked it has to be given.
  --store=URL       The store that the runs are in; STORE::RUN names a run of another one.
"""


def run(arguments: dict[str, Any]) -> int:
    """Delete runs; 1 if one of them is not deleted, or none is meant."""
    from capture.query.keeping import stored_bytes

    with NamedStores(arguments) as stores:
        is_listing = not arguments["RUN"] and not arguments["--all"] and arguments["--older-than"] is None
        runs = binned_runs(stores, arguments, "capture rm puts it there, and what is there can be purged")
        if is_listing:
            return _list(stores.chosen, runs)
        if arguments["--older-than"] is not None:
            runs = _older(runs, arguments["--older-than"])
        if not runs:
            print("nothing in the bin is meant", file=sys.stderr)
            return 1
        size = sum(map(stored_bytes, runs))
        what = f"{counted(len(runs), 'run')} for good ({list_of(runs)}), with files of up to {format_size(size)}"
        if not arguments["--yes"]:
            if not can_ask():
                raise CommandLineError(f"this would delete {what}. With --yes it does.")
            if not confirmed(f"Delete {what}?"):
                hint("nothing was done")
                return 1
        return _purge(runs)


def _purge(runs: list[StoredRun]) -> int:
    from capture.query.keeping import check_over, stored_bytes

    done, freed = 0, 0
    for name, each in zip(names_of(runs), runs):
        size = stored_bytes(each)
        try:
            check_over(each, force=True)  # it may have been put into the bin on another machine
            each.store.curator.purge(each.label)
        except CaptureError as error:
            say(f"run {name}: {visible(str(error), lines=True)}", sys.stderr)
        else:
            done, freed = done + 1, freed + size
    say(f"deleted {counted(done, 'run')}; their files had {format_size(freed)}, of which what other runs use stays")
    return 0 if done == len(runs) else 1


def _list(store: Store, runs: list[StoredRun]) -> int:
    from capture.query.keeping import age, stored_bytes

    rows = [
        [label_of(each), each.name, each.status, format_duration(age(each)), format_size(stored_bytes(each))]
        for each in runs
    ]
    if rows:
        print_table(["run", "name", "state", "ended before", "files"], rows, ["left", "left", "left", "right", "right"])
        hint("capture purge RUN... deletes some of them, capture purge --all all of them")
    else:
        hint(f"the bin of {format_value(store.url)} is empty")
    return 0


def _older(runs: list[StoredRun], text: str) -> list[StoredRun]:
    """Return the runs that ended long enough ago; those whose records have no time are not among them."""
    from capture.dates import NotATime, seconds
    from capture.query.keeping import age

    try:
        wanted = seconds(text)
    except NotATime as error:
        raise CommandLineError(f"--older-than: {error}") from error
    ages = [(each, age(each)) for each in runs]
    return [each for each, found in ages if found is not None and found > wanted]
