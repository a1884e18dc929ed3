"""``python -m tests.bench [NAME ...] [--quick] [--peer]``: measure, and print one table."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable

from tests.bench.environments import python_with_peer, python_with_wheel
from tests.bench.measuring import Bench, Row

NAMES = ("import", "hello", "inject", "metrics", "output", "config", "files", "concurrent", "runs", "kill", "facts", "lock", "lineage", "stores", "query", "following")
HEAD = Row("what", "floor", "ours", "ratio", "goal", None)


def main(argv: list[str] | None = None) -> int:
    """Measure what was asked for; return 1 if a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure speed and memory.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--quick", action="store_true", help="small and coarse: see only that everything works")
    parser.add_argument("--peer", action="store_true", help="measure Sacred 0.8.7 too, in an environment of its own")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    options = parser.parse_args(argv)
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    folder = tempfile.mkdtemp(prefix="capture-bench-")
    rows = []
    try:
        peer = python_with_peer() if options.peer else None
        bench = Bench(python_with_wheel(), peer, options.quick, folder)
        print(about_the_machine(), flush=True)
        for name in options.names or NAMES:
            for row in importlib.import_module(f"tests.bench.bench_{name}").rows(bench):
                rows.append(row)
                print(as_text(row), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.markdown:
        print("\n" + as_markdown(rows))
    return 0 if options.quick or all(row.met is not False for row in rows) else 1


def about_the_machine() -> str:
    """Return a line about what the figures depend on."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"Python {platform.python_version()} on {sys.platform}, {processor()}, {os.cpu_count()} cores{load}"


def processor() -> str:
    """Return the name of the processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            return next(line.partition(":")[2].strip() for line in stream if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def as_text(row: Row) -> str:
    """Return a row in columns."""
    met = {True: "met", False: "MISSED", None: ""}[row.met]
    return f"{row.what:44} {row.ours:>14} {row.ratio:>12}  {row.goal:22} {met:7} {row.floor}"


def as_markdown(rows: Iterable[Row]) -> str:
    """Return the table as Markdown."""
    lines = ["| what | floor | ours | ratio | goal | met? |", "|---|---|---:|---:|---|---|"]
    for row in rows:
        met = {True: "yes", False: "**no**", None: ""}[row.met]
        lines.append("| " + " | ".join((row.what.strip(), row.floor, row.ours, row.ratio, row.goal, met)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
