"""``capture lineage``: which run wrote a file, which runs read it, and so on."""

from __future__ import annotations

import os

from capture.errors import CommandLineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.cli._arguments import NamedStores
    from capture.query.client import Store
    from capture.query.lineage import Graph

USAGE = """\
Say which run wrote a file and which runs read it, and what these read and wrote in turn.

Usage:
  capture lineage [options] [--dot | --mermaid | --json] WHAT

WHAT is a file or a folder, which is known by its digest, whatever it was called then; 6 or more digits of a digest; a
URL; the path of a file that is gone; or a run. What is the label of a run counts as that run: write ./3 for a file
called 3. STORE::RUN is a run of another store, a folder or URL, which is looked into then.

Options:
  --up         Only where it comes from.
  --down       Only where it went.
  --depth=N    Go no more than N runs far.
  --all        List all of what is many, and follow every run that wrote the same bytes.
  --dot        Print a graph for Graphviz: capture lineage --dot FILE | dot -Tsvg > lineage.svg
  --mermaid    Print a Mermaid flowchart, which many Markdown pages show as a picture.
  --json       Print nodes and edges as JSON.
  --store=URL  Look into this store.

Exit status 1: no recorded run read, wrote or ran what is there now.
"""

_STYLES = {"run": None, "file": "bold", "part": None, "none": "dim", "more": "dim", "heading": "bold", "note": None}


def run(arguments: dict[str, Any]) -> int:
    """Draw the lineage of what the arguments name."""
    from capture.cli._arguments import NamedStores, whole_number
    from capture.cli._console import hint, progress
    from capture.query.lineage import Lineage
    from capture.wording import visible

    up, down = arguments["--up"], arguments["--down"]
    depth = whole_number(arguments, "--depth", 1)
    with NamedStores(arguments) as stores:
        store, what = _meant(stores, arguments["WHAT"])
        labels = store.labels()
        if not labels:
            raise CommandLineError(f"{store.url} holds no runs")
        with progress("reading runs", len(labels)) as shown:
            lineage = Lineage(store, shown.advance)
            graph = lineage.graph(what, up or not down, down or not up, depth, arguments["--all"])
    for each in lineage.unreadable:
        hint(visible(each))
    _show(graph, arguments)
    is_found = graph.edges or any(node.startswith("run:") for node in graph.start)
    return 0 if is_found and not lineage.unreadable else 1  # a run that cannot be read may belong there


def _meant(stores: NamedStores, word: str) -> tuple[Store, str]:
    """Return the store to look into, and what is looked for there; a file may have two colons in its name."""
    from capture.query.addresses import split_run

    if split_run(word)[0] is None or os.path.lexists(word):
        return stores.chosen, word
    run = stores.get(word)
    return run.store, str(run.label)


def _show(graph: Graph, arguments: dict[str, Any]) -> None:
    from capture.cli._console import say, speaks_unicode, styled

    if arguments["--json"]:
        from capture import plainjson

        say(plainjson.dumps(graph.to_dict(), indent=2, allow_nan=False))
    elif arguments["--dot"]:
        say(graph.to_dot(), end="")
    elif arguments["--mermaid"]:
        say(graph.to_mermaid(), end="")
    else:
        for branches, text, kind in graph.lines(not speaks_unicode(), arguments["--all"]):
            say(styled(branches, "dim") + styled(text, _STYLES[kind]) if text else "")
