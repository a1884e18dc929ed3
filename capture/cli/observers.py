"""``capture observers``: which stores there are, what each keeps, and where it comes from."""

from __future__ import annotations

from capture.cli._console import say, styled
from capture.wording import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


USAGE = """\
List the observers that are installed, what each keeps, and which package it comes from.

Usage:
  capture observers [--json]

Options:
  --json  Print the answer as JSON.
"""


def run(arguments: dict[str, Any]) -> int:
    """List the observers that are installed."""
    if arguments["--json"]:
        import json

        from capture.query.installed import observers

        print(json.dumps([{**vars(each), "state": each.state} for each in observers()], indent=2))
        return 0
    for scheme, name, keeps, sides, origin, state in rows():
        say(styled(visible(scheme), "bold"))
        say(f"    {visible(name)}, from {visible(origin)}: {visible(state)}")
        if keeps:
            say(f"    keeps {visible(keeps)}; its store {_SIDES[sides]}")
    return 0


_SIDES = {
    "rc": "can be read and curated",
    "r": "can be read",
    "c": "can be curated",
    "-": "cannot be read from here",
}


def rows() -> list[tuple[str, ...]]:
    """Return schemes, class, capabilities, sides, origin and state of each observer, built-in ones first."""
    from capture.query.installed import observers

    found: list[tuple[str, ...]] = []
    for each in observers():
        sides = ("r" if each.can_read else "") + ("c" if each.can_curate else "")
        keeps = "" if each.problem else " ".join(each.keeps) or "-"
        sides = "" if each.problem else sides or "-"
        found.append((", ".join(each.schemes), each.name, keeps, sides, each.origin, each.state))
    return found
