"""``capture stores``: the stores that are known here."""

from __future__ import annotations

from capture.cli._arguments import seconds
from capture.cli._console import hint, print_table, say, styled
from capture.wording import counted, format_size, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.query.known import KnownStore

USAGE = """\
List the stores that are known here, and what is in them.

Usage:
  capture stores [--json] [--timeout=SECONDS] [URL...]

Known are the default store, those that settings and CAPTURE_STORE name, those for which journals wait, and ./runs;
further ones may be named. Nothing is delivered or changed. Status 1: one of those that are named cannot be read.

Options:
  --json             Print the answer as JSON.
  --timeout=SECONDS  How long a store has to answer [default: 5].
"""


def run(arguments: dict[str, Any]) -> int:
    """List stores; 1 if one that is named cannot be read."""
    from capture.query.known import known_stores, look_at_all

    timeout_s = seconds(arguments, "--timeout")
    stores = known_stores(*arguments["URL"])
    look_at_all(stores, timeout_s)
    if arguments["--json"]:
        import json

        print(json.dumps([each.to_dict() for each in stores], indent=2))
    else:
        _print(stores)
    return 1 if any("named" in each.reasons and not each.reachable for each in stores) else 0


def _print(stores: list[KnownStore]) -> None:
    rows = [
        [
            each.url,
            str(each.runs) if each.runs is not None else "-",
            ", ".join(f"{count} {state}" for state, count in each.states.items()) or "-",
            format_size(each.size),
            str(each.waiting) if each.waiting else "-",
            "; ".join(each.reasons),
        ]
        for each in stores
    ]
    if rows:
        align = ["left", "right", "left", "right", "right", "left"]
        print_table(["store", "runs", "states", "size", "waiting", "known by"], rows, align)
    else:
        hint("no store is known here: nothing was recorded, and the settings name none")
    for each in stores:
        if each.problem:
            say(f"{visible(each.url)}: {styled(visible(each.problem.partition(chr(10))[0]), 'yellow')}")
    if any(each.waiting for each in stores):
        hint(f"capture sync delivers what waits ({counted(sum(each.waiting for each in stores), 'journal')})")
