"""``capture tag``: tags of runs."""

from __future__ import annotations

import sys

from capture.cli._arguments import NamedStores
from capture.cli._console import hint, print_table
from capture.cli._runs import chosen_runs, names_of
from capture.errors import CommandLineError
from capture.wording import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

USAGE = """\
Add or take away tags of runs, or list them.

Usage:
  capture tag [--store=URL] [--add=TAG]... [--remove=TAG]... RUN...
  capture tag [--store=URL] [--add=TAG]... [--remove=TAG]... --where=EXPR
  capture tag [--store=URL]

With neither --add nor --remove, the tags of these runs are listed; without a run, all tags of the store, with the
number of runs that have each.

Options:
  -a TAG, --add=TAG     Add a tag; may be given several times. A comma is part of the tag.
  -r TAG, --remove=TAG  Take a tag away; may be given several times.
  --where=EXPR          The runs for which a condition holds: "config.lr < 0.1", "status == 'FAILED'".
  --store=URL           The store that the runs are in; STORE::RUN names a run of another one.
"""


def run(arguments: dict[str, Any]) -> int:
    """Change or list tags; 1 if no run was meant."""
    from capture.query.keeping import change_tags, tag_counts

    add, remove = arguments["--add"], arguments["--remove"]
    if not all(tag.strip() for tag in (*add, *remove)):
        raise CommandLineError("a tag is at least one character that is no blank")
    with NamedStores(arguments) as stores:
        if not arguments["RUN"] and arguments["--where"] is None:
            counts = tag_counts(stores.chosen.find())
            if counts:
                print_table(["tag", "runs"], [[tag, str(count)] for tag, count in counts.items()], ["left", "right"])
            else:
                hint(f"no run of {visible(stores.chosen.url)} has a tag")
            return 0
        runs = chosen_runs(stores, arguments)
        rows = []
        for name, each in zip(names_of(runs), runs):
            missing = [tag for tag in dict.fromkeys(remove) if tag not in each.tags]
            if missing:
                print(f"run {name} has no tag {', '.join(map(visible, missing))}", file=sys.stderr)
            tags = change_tags(each, add, remove) if add or remove else each.tags
            rows.append([name, ", ".join(tags)])
    if not rows:
        hint("no run is meant")
        return 1
    print_table(["run", "tags"], rows)
    return 0
