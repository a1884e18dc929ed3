"""``capture restore``: runs back from the bin."""

from __future__ import annotations

import sys

from capture.cli._arguments import chosen_store
from capture.cli._console import say
from capture.cli._runs import label_of
from capture.errors import CaptureError

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
  --store=URL  The store that the runs are in.
"""


def run(arguments: dict[str, Any]) -> int:
    """Restore runs; 1 if one of them stays in the bin, or there is none."""
    from capture.query.keeping import binned

    with chosen_store(arguments) as store:
        runs = binned(store, None if arguments["--all"] else arguments["RUN"])
        failed = 0
        for each in runs:
            try:
                each.restore()
            except CaptureError as error:
                failed += 1
                print(f"run {label_of(each)}: {error}", file=sys.stderr)
            else:
                say(f"run {label_of(each)} is back")
        if not runs:
            print("the bin is empty", file=sys.stderr)
    return 1 if failed or not runs else 0
