"""``capture rm``: runs into the bin."""

from __future__ import annotations

import sys

from capture.cli._arguments import NamedStores
from capture.cli._console import hint
from capture.cli._runs import can_ask, chosen_runs, confirmed, done_to, list_of
from capture.errors import CommandLineError
from capture.wording import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.query.client import StoredRun

USAGE = """\
Put runs into the bin, from which they can be brought back.

Usage:
  capture rm [--store=URL] [--yes] [--force] RUN...
  capture rm [--store=URL] [--yes] [--force] --where=EXPR

A run that is still going on is refused. One whose record cannot be read may be named, too. capture ls --bin shows what
is in the bin, capture restore brings it back, capture purge deletes it.

Options:
  --where=EXPR  The runs for which a condition holds: "config.lr < 0.1", "status == 'FAILED'".
  -y, --yes     Do not ask, where more than one run is meant.
  --force       Also a run of another machine that gave a sign of life lately.
  --store=URL   The store that the runs are in; STORE::RUN names a run of another one.
"""


def run(arguments: dict[str, Any]) -> int:
    """Bin runs; 1 if one of them is not binned, or none is meant."""
    from capture.query.keeping import check_over

    with NamedStores(arguments) as stores:
        runs = chosen_runs(stores, arguments, damaged=True)
        if not runs:
            print("no run is meant", file=sys.stderr)
            return 1
        for each in runs:
            check_over(each, arguments["--force"])
        if len(runs) > 1 and not arguments["--yes"]:
            if can_ask():
                if not confirmed(f"Put {counted(len(runs), 'run')} into the bin: {list_of(runs)}?"):
                    hint("nothing was done")
                    return 1
            elif arguments["--where"] is not None:
                raise CommandLineError(
                    f"{counted(len(runs), 'run')} would go into the bin: {list_of(runs)}."
                    " With --yes they do, without asking."
                )
        return 1 if done_to(runs, lambda each: each.bin(), _said) else 0


def _said(binned: StoredRun) -> str:
    """Say what became of a run."""
    from capture.query.keeping import UNREADABLE

    left = ", with all that is left of it: its record cannot be read" if binned.status == UNREADABLE else ""
    return f"is in the bin{left}"
