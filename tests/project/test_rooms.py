"""The house has rooms; imports point up the table and never run in a circle.

The table is mirrored in docs/design.md. A new module gets a place here first, which is the moment to ask whether it
belongs where it is.
"""

from __future__ import annotations

import fnmatch
import re

import pytest

from tests.project.tree import ROOT, imports_of, modules

#: Top to bottom: name of the room, its modules, and the rooms above it that it may import (None: all of them).
ROOMS: list[tuple[str, list[str], list[str] | None]] = [
    (
        "ground",
        [
            *("_version", "_system", "clock", "complaints", "digests", "imported", "locks", "liveness"),
            *("moments", "plainjson", "quoting", "unwatched"),
        ],
        [],
    ),
    (
        "language",
        [
            *("errors", "codec", "dates", "events", "expressions", "file_marks", "file_uses", "filters", "records"),
            *("settings", "hooks", "secrets", "masking", "versions", "wording"),
        ],
        ["ground"],
    ),
    ("config", ["config", "config.*"], ["ground", "language"]),
    (
        "captured",
        ["context", "binding", "inject", "signature", "randomness", "_wrapped"],
        ["ground", "language", "config"],
    ),
    ("output", ["piping", "stdio", "tapping", "terminal"], ["ground", "language"]),
    ("probes", ["probes", "probes.*"], ["ground", "language"]),
    (
        "delivery",
        ["registry", "journal", "acks", "spool", "calls", "lane", "dispatch", "delivery", "stores", "copying"],
        ["ground", "language"],
    ),
    ("observers", ["observers", "observers.*"], ["ground", "language", "config"]),
    (
        "run",
        ["run", "recorder", "metrics", "artifacts", "signals", "logs", "traces"],
        ["ground", "language", "config", "captured", "output", "probes", "delivery"],
    ),
    (
        "experiment",
        [
            *("experiment", "facts", "watching", "ingredient", "assembly"),
            *("start", "script", "commands", "commandline_options"),
        ],
        ["ground", "language", "config", "captured", "output", "probes", "delivery", "run"],
    ),
    ("query", ["query", "query.*"], ["ground", "language", "probes", "delivery"]),
    ("pages", ["pages", "pages.*"], ["ground", "language", "query"]),
    ("exporting", ["exporting", "exporting.*"], ["ground", "language", "delivery", "query", "pages"]),
    ("testing", ["testing", "testing.*"], None),
    ("cli", ["cli", "cli.*", "__main__"], None),
    (
        "sacred's names",
        ["utils", "serializer", "host_info", "stflow", "compat", "compat.*"],
        None,
    ),
]
ORDER = [room for room, _, _ in ROOMS]
MODULES = modules()


def room_of(module: str) -> str | None:
    """Return the room a module lies in; None for the front door, `capture` itself."""
    if module == "capture":
        return None
    short = module.removeprefix("capture.")
    rooms = [room for room, patterns, _ in ROOMS for pattern in patterns if fnmatch.fnmatchcase(short, pattern)]
    assert len(rooms) == 1, f"{module} belongs to {len(rooms)} rooms ({rooms}); give it one in {__file__}"
    return rooms[0]


@pytest.mark.parametrize("module", [name for name in MODULES if name != "capture"])
def test_a_module_imports_only_from_rooms_above_its_own(module):
    """One glance at the table tells what a change can break; an import that points down would end that."""
    room = room_of(module)
    allowed = {name: above for name, _, above in ROOMS}[room]
    above = set(ORDER[: ORDER.index(room)]) if allowed is None else set(allowed)
    for imported in imports_of(module, MODULES[module], frozenset(MODULES)):
        assert imported != "capture", f"{module} imports the front door; name the module it needs"
        target = room_of(imported)
        assert target == room or target in above, f"{module} ({room}) imports {imported} ({target})"


def test_what_a_room_may_import_lies_above_it():
    """The table itself must not point down, or the test above would allow it."""
    for index, (room, _, allowed) in enumerate(ROOMS):
        assert set(allowed or ()) <= set(ORDER[:index]), room


def test_the_table_lists_only_what_there_is():
    """A row for a module that went away is where the next one is put without a thought."""
    short = [name.removeprefix("capture.") for name in MODULES]
    for room, patterns, _ in ROOMS:
        for pattern in patterns:
            assert any(fnmatch.fnmatchcase(name, pattern) for name in short), f"{room}: {pattern}"


def test_no_modules_import_each_other_in_a_circle():
    """Modules in a circle can only be read, tested and changed together."""
    graph = {name: imports_of(name, path, frozenset(MODULES)) for name, path in MODULES.items() if name != "capture"}
    done: set[str] = set()

    def visit(name, path):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for imported in graph.get(name, ()):
                visit(imported, [*path, name])
            done.add(name)

    for name in graph:
        visit(name, [])


def test_core_names_no_backend():
    """A store is found through the registry, by the scheme of its URL; so another team's is as good as ours."""
    for name, path in MODULES.items():
        if name.startswith(("capture.observers", "capture.testing")):
            continue
        for imported in imports_of(name, path, frozenset(MODULES)):
            assert not imported.startswith("capture.observers"), f"{name} imports {imported}"


def test_the_design_page_draws_the_same_table():
    """People read the page; if it said anything else than this file it would be worse than none."""
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    drawn = re.findall(r"^\| \*\*(.+?)\*\* \|", page, re.MULTILINE)
    assert drawn == ORDER
