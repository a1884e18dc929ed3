"""``capture restore``: runs back from the bin."""

from __future__ import annotations

import sys

from capture.cli._arguments import NamedStores
from capture.cli._runs import binned_runs, done_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

USAGE = """\
Bring runs back from the bin, under the labels that they had.

Usage:
  capture restore [--store=URL] RUN...
  capture restore [--store=URL] --all

Options:
  --all        All runs that are in the bin.
  --store=URL  The store that the runs are in; STORE::RUN names a run of another one.
"""


def run(arguments: dict[str, Any]) -> int:
    """Restore runs; 1 if one of them stays in the bin, or there is none."""
    with NamedStores(arguments) as stores:
        runs = binned_runs(stores, arguments, "there is nothing to restore")
        if not runs:
            print("the bin is empty", file=sys.stderr)
            return 1
        return 1 if done_to(runs, lambda each: each.restore(), lambda each: "is back") else 0
