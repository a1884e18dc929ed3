"""``capture best``: the runs with the highest or lowest result or metric."""

from __future__ import annotations

from capture.cli import _run_table as table
from capture.cli._arguments import chosen_store, condition, whole_number
from capture.cli._console import hint, paged, print_json
from capture.errors import CommandLineError
from capture.query.columns import is_more_better, source_of
from capture.query.grouping import is_number, no_numbers
from capture.wording import counted, first_few, format_value, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from capture.cli._run_table import Row


USAGE = """\
Show the run with the highest or lowest result or metric.

Usage:
  capture best [options] [--min | --max] [--cols=PATTERN]... [EXPR...]

EXPR is a condition, as for capture ls. The direction is known for names such as accuracy and loss; the result goes the
way of the metric whose last value it is. What is missing or no finite number never wins. Status 1: no run has a number
there.

Options:
  --by=COL          What counts: a metric (loss, metrics.loss.min), a path (result.score, config.lr) [default: result].
  --min             The least is best.
  --max             The greatest is best.
  -n N, --number=N  Show so many runs [default: 5].
  --cols=PATTERN    Show these columns, as for capture ls, and what counts.
  --mine            Only runs of my own.
  --precision=N     Significant digits of numbers; 5 if left out, and of a configuration so many more as tell apart
                    what differs.
  --json            As JSON: the runs, the best first, with all columns, or those of --cols.
  --no-pager        Print at once what is longer than the screen.
  --store=URL       The store to look into.
"""


def run(arguments: dict[str, Any]) -> int:
    """Show the best of the runs that the arguments mean."""
    number, precision = whole_number(arguments, "--number", 1), whole_number(arguments, "--precision", 1)
    by = arguments["--by"]
    with chosen_store(arguments) as store:
        rows = [table.Row(each) for each in store.find(condition(arguments))]
        if not rows:
            hint("there are no such runs")
            return 1
        path = _path(by, rows)
        numbers = [row for row in rows if is_number(row[path])]
        lost = _tell_lost(path, rows)
        if not numbers:
            hint(f"no run has a finite number at {visible(path)}: {_in_place(path, rows)}; {_possible(rows)}")
            return 1
        descending = _direction(path, numbers, arguments)
        ranked = sorted(numbers, key=lambda row: float(row[path]), reverse=descending)[:number]
        cols = arguments["--cols"]
        chosen = table.chosen_columns(cols, ranked) if cols else _telling(path, ranked, rows)
        columns = list(dict.fromkeys(["label", path, *chosen]))
        for row in ranked:
            row.look_for_losses()
        if arguments["--json"]:
            every = columns if cols else list(dict.fromkeys(["label", "uid", path, *table.all_columns(ranked)]))
            print_json([{column: table.readable(row[column]) for column in every} for row in ranked])
            return int(lost)
        from capture.cli.ls import Listing, print_listing
        from capture.cli.show import print_config

        with paged(not arguments["--no-pager"]):
            print_listing(Listing(ranked, columns, precision), bool(cols))
            print_config(ranked[0].run, f"Configuration of run {format_value(ranked[0]['label'])}")
        without = len(rows) - len(numbers)
        if without:
            hint(f"{without} of {len(rows)} runs have no number at {visible(path)}")
    return int(lost)


def _tell_lost(path: str, rows: Sequence[Row]) -> bool:
    """Say which runs cannot be read at a path, since one of them may be the best; return whether there are any."""
    lost = [visible(str(row["label"])) for row in rows if isinstance(row[path], table.Unreadable)]
    if lost:
        runs = f"{counted(len(lost), 'run')}, which may be better: {first_few(lost)}"
        hint(f"{visible(path)} cannot be read of {runs}")
    return bool(lost)


def _path(by: str, rows: Sequence[Row]) -> str:
    """Return the path that `by` means; one that leads nowhere as it is, if it is the default."""
    try:
        return table.sort_path(by, rows)
    except CommandLineError as error:
        if by == "result":
            return by
        raise CommandLineError(f"{str(error).splitlines()[0]}\n  {_possible(rows)}") from None


def _telling(path: str, rows: Sequence[Row], others: Sequence[Row]) -> list[str]:
    return [column for column in table.telling_columns(rows, others) if column not in ("label", path)]


def _in_place(path: str, rows: Sequence[Row]) -> str:
    """Say what there is at a path in place of numbers."""
    return no_numbers([row[path] for row in rows if not isinstance(row[path], table.Unreadable)])


def _direction(path: str, rows: Sequence[Row], arguments: dict[str, Any]) -> bool:
    """Say whether the greatest is best.

    Raises
    ------
    CommandLineError
        If nobody says so.
    """
    if arguments["--min"] or arguments["--max"]:
        return bool(arguments["--max"])
    known = is_more_better(path)
    if known is None:
        known = is_more_better(_source_of(path, rows) or "")
    if known is None:
        raise CommandLineError(
            f"is a high or a low {visible(path)} the better one? Say --max or --min, or name another with --by=COL;"
            f" {_possible(rows)}"
        )
    return known


def _source_of(path: str, rows: Sequence[Row]) -> str | None:
    """Return the metric whose last value the result is, in every run."""
    if path != "result":
        return None
    metrics = {name: [row[f"metrics.{name}.last"] for row in rows] for name in rows[0].metrics}
    return source_of([row[path] for row in rows], metrics)


def _possible(rows: Sequence[Row]) -> str:
    """Say which columns hold numbers."""
    newest = rows[:20]
    metrics = dict.fromkeys(name for row in newest for name in row.metrics)
    scores = [f"result.{name}" for row in newest if isinstance(row["result"], dict) for name in row["result"]]
    names = [f"metrics.{name}.{part}" for name in metrics for part in ("last", "min", "max")]
    known = [name for name in dict.fromkeys([*names, "result", *scores]) if any(is_number(row[name]) for row in newest)]
    return f"there are: {', '.join(map(visible, known[:30]))}" if known else "no run has one anywhere"
