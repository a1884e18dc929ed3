"""``capture verify``: every digest once more."""

from __future__ import annotations

import sys

from capture.cli._arguments import NamedStores
from capture.cli._console import progress, say, styled
from capture.cli._runs import chosen_runs, names_of
from capture.errors import CaptureError
from capture.wording import counted, format_size, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from capture.hooks import RunObserver
    from capture.query.client import Store
    from capture.query.verifying import Verified

USAGE = """\
Compute every digest of runs again from the stored bytes, and say what is not as it was recorded.

Usage:
  capture verify [--store=URL] [--json] RUN...
  capture verify [--store=URL] [--json] --where=EXPR
  capture verify [--store=URL] [--json] --all

Checked are sources, files kept beside them, resources and artifacts: their digests and sizes, and that they are there;
that what facts and lineage refer to is there; and that output and metrics can be read, and have not lost anything of
what was written. Of records that Sacred wrote, the MD5 is checked where there is one. Status 1: something is wrong.

Options:
  --where=EXPR  The runs for which a condition holds: "config.lr < 0.1".
  --all         All runs of the store, oldest first.
  --json        Print the answer as JSON.
  --store=URL   The store that the runs are in; STORE::RUN names a run of another one.
"""


def run(arguments: dict[str, Any]) -> int:
    """Verify runs; 1 if one of them is not whole, or none is meant."""
    found = []
    with NamedStores(arguments) as stores:
        for name, verified in _verified(stores, arguments):
            found.append(verified)
            if not arguments["--json"]:
                _print(name, verified)
    wrong = [each for each in found if not each.whole]
    if arguments["--json"]:
        import json

        print(json.dumps([each.to_dict() for each in found], indent=2, default=str))
    elif not found:
        print("no run is meant", file=sys.stderr)
    elif len(found) > 1:
        size = format_size(sum(each.size for each in found))
        files = counted(sum(each.files for each in found), "file")
        end = f"{counted(len(wrong), 'run')} not whole" if wrong else "all whole"
        say(f"{counted(len(found), 'run')}, {files}, {size}: {end}")
    return 1 if wrong or not found else 0


def _meant(stores: NamedStores, arguments: dict[str, Any]) -> list[tuple[str, Store, Any]]:
    """Return the runs that are meant: what each is called, its store, and its label there."""
    if arguments["--all"]:
        return [(visible(str(label)), stores.chosen, label) for label in stores.chosen.labels()]
    runs = chosen_runs(stores, arguments)
    return [(name, each.store, each.label) for name, each in zip(names_of(runs), runs)]


def _verified(stores: NamedStores, arguments: dict[str, Any]) -> Iterator[tuple[str, Verified]]:
    """Yield what each run is called, and what was found; a record that cannot be read is a finding, too."""
    from capture.copying import is_passing
    from capture.query.verifying import Problem, Verified, verify

    meant = _meant(stores, arguments)
    for place, (name, store, label) in enumerate(meant, 1):
        observer = stores.observer_of(store)

        def is_lost(error: BaseException, observer: RunObserver = observer) -> bool:
            return is_passing(observer, error)

        read = 0
        with progress(f"[{place}/{len(meant)}] run {name}: MB read") as line:

            def advance(size: int, line: Any = line) -> None:
                nonlocal read
                steps, read = (read + size) // 1_000_000 - read // 1_000_000, read + size
                line.advance(steps)

            try:
                found = verify(store.get(label), advance, is_lost)
            except CaptureError as error:
                if is_lost(error):
                    raise
                found = Verified(label)
                found.problems.append(Problem("record", "", "unreadable", str(error)))
        yield name, found


def _print(name: str, found: Verified) -> None:
    read = f"{counted(found.files, 'file')}, {format_size(found.size)}"
    if found.whole:
        say(f"run {name}: {read}, as recorded")
    else:
        count = counted(len(found.problems), "problem")
        say(f"run {name}: {read}, {styled(count, 'bold red')}")
    for each in found.problems:
        name = "" if each.text.startswith(each.name) else f" {each.name}"
        say(f"  {each.kind}{visible(name)}: {visible(each.text, lines=True)}")
    if found.unknown:
        say(f"  no digest was recorded of {counted(len(found.unknown), 'file')}, which can be read")
