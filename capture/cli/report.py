"""``capture report``: a page about runs that needs nothing but itself."""

from __future__ import annotations

import sys

from capture.errors import CommandLineError, RunNotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.cli._arguments import NamedStores
    from capture.query.client import StoredRun

USAGE = """\
Write a page in HTML about runs that needs nothing else.

Usage:
  capture report [options] [--where=EXPR] RUN...
  capture report [options] --where=EXPR

The page has configuration, metrics, result, output, files and environment of each run, and why they differ. It loads
nothing, so that it can be sent, kept, or put on a server as it is. STORE::RUN is a run of another store, a folder or
URL.

Options:
  --where=EXPR            The runs for which a condition holds: "config.lr < 0.1", "status == 'FAILED'".
  -o FILE, --output=FILE  Where it is written; - is standard output. By default run-LABEL.html, or runs-....html.
  --title=TEXT            The heading; the names of the runs by default.
  --force                 Overwrite the file if it is there.
  --store=URL             The store of runs that name none, and of --where: a folder or URL; CAPTURE_STORE, else ./runs,
                          if left out.
  -h, --help              Show this text.

Exit status 1: a run could not be read; it is named, and the page is about the others.
"""


def run(arguments: dict[str, Any]) -> int:
    """Carry it out; return the exit status."""
    from capture.cli._arguments import NamedStores
    from capture.cli._runs import readable
    from capture.cli._writing import check_target, write_whole
    from capture.pages.report import report
    from capture.query.addresses import SEPARATOR, names_of

    with NamedStores(arguments) as stores:
        chosen = _chosen(stores, arguments)
        runs = readable(chosen)
        if not runs:
            return 1
        path = arguments["--output"] or file_name([name.replace(SEPARATOR, "-") for name in names_of(runs)])
        if path != "-":
            check_target(path, arguments["--force"], "-o FILE")
        data = report(runs, arguments["--title"]).encode("utf-8")
    if path == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return int(len(runs) < len(chosen))
    write_whole(path, data, arguments["--force"], "-o FILE")
    from capture.cli._console import hint
    from capture.wording import format_size, visible

    hint(f"written: {visible(path)}, {format_size(len(data))}")
    return int(len(runs) < len(chosen))


def _chosen(stores: NamedStores, arguments: dict[str, Any]) -> list[StoredRun]:
    """Return the runs that are named, in that order, then those for which the condition holds, oldest first."""
    from itertools import islice

    from capture.cli._runs import each_once, where_of
    from capture.pages.report import MOST_RUNS

    where = where_of(arguments)
    named = arguments["RUN"][: MOST_RUNS + 1]
    found = [stores.get(name) for name in named]
    if where is not None:
        found += list(islice(stores.chosen.find(where), MOST_RUNS + 1))[::-1]
    runs = each_once(found)
    if not runs:
        raise RunNotFoundError(f"there is no run for which this holds: {arguments['--where']}")
    if len(runs) > MOST_RUNS:
        raise CommandLineError(
            f"a page about more than {MOST_RUNS} runs cannot be read, and more are meant\n"
            "  what to do:  name fewer, narrow the condition, or make a table of them: capture ls --csv"
        )
    return runs


def file_name(labels: list[str]) -> str:
    """Return the name of the file that a page about runs is written to.

    Examples
    --------
    >>> file_name(["7"]), file_name(["1", "2"]), file_name(["../a b"])
    ('run-7.html', 'runs-1-2.html', 'run-.._a_b.html')
    """
    import re

    plain = [re.sub(r"[^A-Za-z0-9._+-]", "_", label)[:60] for label in labels]
    if len(plain) == 1:
        return f"run-{plain[0]}.html"
    return f"runs-{'-'.join(plain[:4])}{f'-and-{len(plain) - 4}-more' if len(plain) > 4 else ''}.html"
