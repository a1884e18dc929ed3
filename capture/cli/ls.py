"""``capture ls``: runs as a table."""

from __future__ import annotations

from capture.cli import _run_table as table
from capture.cli._arguments import chosen_store, condition, whole_number
from capture.cli._console import (
    STATE_STYLES,
    hint,
    is_terminal,
    paged,
    plain_data,
    print_json,
    print_table,
    say,
    screen_size,
)
from capture.errors import CommandLineError, RecordError
from capture.filters import MISSING
from capture.query.columns import order, sort_keys
from capture.query.grouping import Spread, group, is_number, is_seed, spread
from capture.query.stored_run import StoredRun
from capture.wording import digits_apart, format_value, inert, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from capture.cli._run_table import Row
    from capture.filters import Filter
    from capture.query.client import Store


USAGE = """\
List runs, the newest first; of those for which a condition holds.

Usage:
  capture ls [options] [--cols=PATTERN]... [--drop=PATTERN]... [EXPR...]

EXPR is a condition such as "config.lr < 0.1 and status == 'COMPLETED'", or the name of an experiment; of several, all
must hold. The columns are those that say something about the runs: what differs in their configuration, their metrics'
last values, the result. On a terminal those that find no place are left out, which is said; in a pipe none is.

Options:
  -n N, --number=N       Show so many runs [default: 20].
  -a, --all              Show all of them.
  --cols=PATTERN         Show these columns and no others: full or short names (config.lr, lr, loss), with * and ?, or
                         a regular expression; several apart by commas, or by giving the option again.
  --drop=PATTERN         Leave out these columns.
  --only-changed         Leave out every column in which all runs have the same.
  --sort=COL             Sort all runs by a column, the least first; what has no value comes last.
  --desc                 The greatest first.
  --group-by=[COLS]      A row for the runs that have these columns in common, with the mean of what came out, its
                         spread and the number of runs; without COLS: for runs that differ in nothing but seeds.
  --mine                 Only runs of my own.
  --bin                  What is in the bin.
  --json                 As a list of objects: full paths, all columns; what is no finite number is null.
  --csv                  As comma-separated values: full paths, all columns.
  --md                   As a Markdown table.
  --precision=N          Significant digits of numbers; 5 if left out, and of a configuration so many more as tell
                         apart what differs.
  --no-pager             Print at once what is longer than the screen.
  --store=URL            The store to look into.
"""

_FORMATS = ("--json", "--csv", "--md")


def run(arguments: dict[str, Any]) -> int:
    """List the runs that the arguments mean; 0 also where there are none."""
    wanted = Wanted(arguments)
    with chosen_store(arguments) as store:
        rows = wanted.rows(store)
        if not rows:
            _say_why_nothing(store, wanted)
        wanted.find_others(rows, store)
        listing = _listing(rows, wanted)
        _print(listing, wanted)
        _say_how_many(listing, store, wanted)
        _say_problems(rows)
    return 0


def _listing(rows: list[Row], wanted: Wanted) -> Listing:
    if wanted.groups is not None:
        return grouped(rows, wanted)
    return Listing(rows, wanted.columns(rows), precision=wanted.precision)


class Wanted:
    """What the arguments ask for."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.where: Filter | None = condition(arguments)
        self.formats = [name for name in _FORMATS if arguments[name]]
        if len(self.formats) > 1:
            raise CommandLineError(f"{' and '.join(self.formats)} are two ways to print it: choose one")
        self.number = None if arguments["--all"] else whole_number(arguments, "--number")
        self.precision = whole_number(arguments, "--precision", 1)
        self.cols, self.drop = arguments["--cols"], arguments["--drop"]
        self.only_changed, self.descending = arguments["--only-changed"], arguments["--desc"]
        self.sort: str | None = arguments["--sort"]
        if self.descending and self.sort is None:
            raise CommandLineError("--desc needs --sort=COL; without it the newest runs come first")
        self.groups: str | None = arguments["--group-by"]
        self.words: list[str] = list(arguments["EXPR"] or [])
        self.in_bin = arguments["--bin"]
        self.pager = not arguments["--no-pager"]
        #: how many runs or groups there are, if that is known; whether there are more than are shown
        self.total: int | None = None
        self.has_more = False
        self.others: list[Row] = []  #: where one run is listed: others of its experiment
        self.further: Callable[[], list[Row]] = list  #: the newest runs of the store, be they shown or not

    @property
    def is_data(self) -> bool:
        """Whether a program reads it: full names, all there is."""
        return self.formats in (["--json"], ["--csv"])

    def rows(self, store: Store) -> list[Row]:
        """Return the runs to show; of those that are not shown, only what they are sorted by is read."""
        self.further = lambda: _newest(store)
        limit = self.number if self.sort is None and self.groups is None else None
        more = 0 if limit is None else int(self.tells_more)  # one more is looked for, not read
        found = _binned(store, self.where) if self.in_bin else store.find(self.where, limit and limit + more)
        if self.sort is None or self.groups is not None:
            from itertools import islice

            rows = [table.Row(each) for each in islice(found, limit)]
            self.has_more = bool(more and rows) and next(found, None) is not None
            return rows
        held = [table.Row(each) for each in found]
        self.total = len(held)
        return table.sorted_rows(held, self.sort, self.descending, self.number)

    def find_others(self, rows: Sequence[Row], store: Store) -> None:
        """Look for runs among which a single one can be told apart: it is shown as in a list of all of them."""
        name = rows[0]["name"] if len(rows) == 1 and not self.cols and not self.is_data and not self.in_bin else None
        if isinstance(name, str):
            self.others = [table.Row(each) for each in store.find({"experiment.name": name}, table.COMPANY + 1)]

    @property
    def tells_more(self) -> bool:
        """Whether somebody sits there who is to be told that not all of it is shown."""
        return not self.formats and is_terminal()

    def columns(self, rows: Sequence[Row]) -> list[str]:
        """Return the columns to show."""
        if self.cols:
            columns = list(dict.fromkeys(["label", *table.chosen_columns(self.cols, rows, self.further)]))
        else:
            columns = [*table.all_columns(rows)] if self.is_data else table.telling_columns(rows, self.others)
            if self.is_data:
                columns.insert(1, "uid")
        if self.sort is not None and rows and not self.cols:
            sort = table.sort_path(self.sort, rows)
            columns += [sort] if sort not in columns else []
        columns = table.without(columns, self.drop, rows, self.further)
        if self.only_changed:
            columns = ["label", *table.varied([column for column in columns if column != "label"], rows)]
        return columns


def _newest(store: Store) -> list[Row]:
    from capture.query.asking import LOOKED_AT

    return [table.Row(each) for each in store.find(limit=LOOKED_AT)]


def _binned(store: Store, where: Filter | None) -> Iterator[StoredRun]:
    """Yield the runs in the bin, the newest first."""
    read: Any = getattr(store.reader, "read", None)
    labels = store.curator.binned()[::-1]
    if read is None and labels:  # somebody else's reader
        listed = ", ".join(visible(str(label)) for label in labels)
        raise CommandLineError(f"this store does not show runs that are in the bin; there are: {listed}")
    for label in labels:
        try:
            run = StoredRun(read(label, binned=True), store)
        except RecordError as error:
            if not hasattr(store.reader, "leave_out"):
                raise
            store.reader.leave_out(label, error)
            continue
        if where is None or where.matches(run):
            yield run


# ------------------------------------------------------------------------------------------------------------- a table


class Listing:
    """What is printed: values, and how they read.

    Attributes
    ----------
    columns : list of str, shape (n,)
        Full paths.
    values : list of list, shape (m, n)
    states : list of str, shape (m,)
        The state of each run, for the colour of its cell.
    note : str
        A sentence above the table.
    """

    def __init__(self, rows: Sequence[Row], columns: list[str], precision: int | None = None) -> None:
        self.columns, self.precision = columns, precision
        self.values: list[list[Any]] = [[row[column] for column in columns] for row in rows]
        self.note = ""

    def headings(self) -> list[str]:
        return table.titles(self.columns)

    def cells(self, brief: bool, for_others: bool = False) -> list[list[str]]:
        """Return what stands in the cells, see `_run_table.cell`."""
        digits = self._digits()
        return [
            [table.cell(*each, brief, for_others) for each in zip(self.columns, row, digits)] for row in self.values
        ]

    def _digits(self) -> list[int | None]:
        """Return the significant digits of each column."""
        if self.precision is not None:
            return [self.precision] * len(self.columns)
        return [
            digits_apart(row[place] for row in self.values) if column.startswith("config.") else None
            for place, column in enumerate(self.columns)
        ]

    def alignment(self) -> list[str]:
        """Return "left" or "right" for each column."""
        columns = zip(*self.values) if self.values else ((),) * len(self.columns)
        return ["right" if table.is_numeric(column) else "left" for column in columns]

    def flat(self) -> tuple[list[str], list[list[Any]]]:
        """Return columns and values for programs, with None for what cannot be read."""
        return self.columns, [[table.readable(value) for value in row] for row in self.values]


class Groups(Listing):
    """A listing in which a row stands for several runs."""

    def __init__(self, columns: list[str], values: list[list[Any]], precision: int | None, note: str) -> None:
        self.columns, self.values, self.precision, self.note = columns, values, precision, note

    def cells(self, brief: bool, for_others: bool = False) -> list[list[str]]:
        runs, digits = self.columns.index("n"), self._digits()
        return [
            [
                _spread_text(value, row[runs], self.precision)
                if isinstance(value, Spread)
                else table.cell(column, value, precision, brief, for_others)
                for column, value, precision in zip(self.columns, row, digits)
            ]
            for row in self.values
        ]

    def alignment(self) -> list[str]:
        columns = list(zip(*self.values)) if self.values else [()] * len(self.columns)
        spreads = [any(isinstance(value, Spread) for value in column) for column in columns]
        return ["right" if is_spread else side for is_spread, side in zip(spreads, super().alignment())]

    def flat(self) -> tuple[list[str], list[list[Any]]]:
        spreads = {
            place for row in self.values for place, value in enumerate(row) if isinstance(value, Spread)
        }
        columns = []
        for place, column in enumerate(self.columns):
            columns += [f"{column}.{part}" for part in ("mean", "std", "n")] if place in spreads else [column]
        rows = []
        for row in self.values:
            flat: list[Any] = []
            for place, value in enumerate(row):
                flat += [value.mean, value.std, value.n] if place in spreads else [table.readable(value)]
            rows.append(flat)
        return columns, rows


def _spread_text(value: Spread, runs: int, precision: int | None) -> str:
    """Return mean ± spread; how many numbers there were where it is not one for each run."""
    if value.mean is None:
        return "-"
    text = format_value(value.mean, precision)
    if value.std is not None:
        text += f" ± {format_value(value.std, min(precision or 2, 2))}"
    return text if value.n == runs else f"{text} ({value.n})"


def grouped(rows: Sequence[Row], wanted: Wanted) -> Groups:
    """Return a row for the runs that have some columns in common."""
    everything = table.all_columns(rows)
    config = [column for column in everything if column.startswith("config.")]
    if wanted.groups:
        keys = table.chosen_columns([wanted.groups], rows)
        note = ""
    else:
        keys = [column for column in table.settings_that_vary(rows) if not is_seed(column)]
        seeds = [column for column in config if is_seed(column)]
        note = f" that differ in nothing of their configuration but {', '.join(seeds)}" if seeds else ""
    outcomes = [column for column in everything if column.startswith("metrics.") or column == "result"]
    if wanted.cols:
        chosen = table.chosen_columns(wanted.cols, rows)
        outcomes = [column for column in chosen if column not in keys and any(is_number(row[column]) for row in rows)]
    outcomes = [column for column in outcomes if any(is_number(row[column]) for row in rows)]
    kept = table.without([*keys, *outcomes, "status", "runs"], wanted.drop, rows)
    keys, outcomes = [each for each in keys if each in kept], [each for each in outcomes if each in kept]
    states = [] if "status" in keys else ["status"]
    values = []
    for key, members in group([[row[column] for column in keys] for row in rows], range(len(keys))):
        runs = [rows[place] for place in members]
        spreads = [spread(row[column] for row in runs) for column in outcomes]
        values.append([*key, len(runs), *(_states(runs) for _ in states), *spreads, [row["label"] for row in runs]])
    columns = [*keys, "n", *states, *outcomes, "runs"]
    if wanted.sort is not None:
        values = _sorted_groups(values, columns, wanted.sort, wanted.descending)
    wanted.total = len(values)
    values = values[: wanted.number]
    text = visible(f"Mean ± sample standard deviation of n runs{note}.")
    return Groups(columns, values, wanted.precision, text)


def _states(rows: Sequence[Row]) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        state = str(row["status"])
        counts[state] = counts.get(state, 0) + 1
    return ", ".join(state if len(counts) == 1 else f"{state} {count}" for state, count in counts.items())


def _sorted_groups(values: list[list[Any]], columns: list[str], sort: str, descending: bool) -> list[list[Any]]:
    found = table.matched(sort, columns)
    if len(found) != 1:
        raise CommandLineError(f"groups are sorted by one of their columns: {', '.join(map(visible, columns))}")
    place = columns.index(found[0])
    keys = [row[place].mean if isinstance(row[place], Spread) else row[place] for row in values]
    return [values[each] for each in order(sort_keys(found[0], keys), descending)]


# ------------------------------------------------------------------------------------------------------------ printing


def _print(listing: Listing, wanted: Wanted) -> None:
    if wanted.formats == ["--json"]:
        _print_json(listing)
    elif wanted.formats == ["--csv"]:
        _print_csv(listing)
    elif wanted.formats == ["--md"]:
        _print_markdown(listing)
    elif listing.values:
        with paged(wanted.pager):
            print_listing(listing, bool(wanted.cols))


def print_listing(listing: Listing, in_order: bool = False) -> None:
    """Print a table for people: fitted to the screen on a terminal, whole in a pipe."""
    brief = is_terminal()
    headings, cells, align = listing.headings(), listing.cells(brief), listing.alignment()
    places = list(range(len(headings)))
    if brief:
        width = screen_size()[0]
        places, cells = table.fit(listing.columns, headings, cells, width, in_order)
    if listing.note:
        say(listing.note)
    status = listing.columns.index("status") if "status" in listing.columns else -1

    def style(row: int, column: int) -> str | None:
        return STATE_STYLES.get(str(listing.values[row][status])) if places[column] == status else None

    print_table([headings[place] for place in places], cells, [align[place] for place in places], style, wrap=False)
    hidden = [headings[place] for place in range(len(headings)) if place not in places]
    if hidden:
        names = ", ".join(map(visible, hidden[:6])) + (", ..." if len(hidden) > 6 else "")
        columns = "column is" if len(hidden) == 1 else "columns are"
        say(f"{len(hidden)} {columns} hidden: {names}; --cols=PATTERN shows them")


def _print_json(listing: Listing) -> None:
    columns, rows = listing.flat()
    print_json([dict(zip(columns, row)) for row in rows])


def _print_csv(listing: Listing) -> None:
    import csv
    from types import SimpleNamespace

    columns, rows = listing.flat()
    lines: list[str] = []
    # A carriage return within a cell is put between quotes only if lines end with one; here they do not, in the end.
    writer = csv.writer(SimpleNamespace(write=lines.append), lineterminator="\r\n")
    writer.writerow(map(inert, columns))
    writer.writerows([_csv_cell(value) for value in row] for row in rows)
    text = "".join(f"{line[:-2]}\n" for line in lines)
    say(visible(text, lines=True) if is_terminal() else text, end="")


def _csv_cell(value: Any) -> Any:
    if value is None or value is MISSING:
        return ""
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, (dict, list, tuple)):
        import json

        return json.dumps(plain_data(value))
    if isinstance(value, (bool, int)):
        return plain_data(value)
    return inert(str(plain_data(value)))


def _print_markdown(listing: Listing) -> None:
    from capture.pages.markdown import cell, row

    headings = [cell(each) for each in listing.headings()]
    marks = ["---:" if side == "right" else "---" for side in listing.alignment()]
    if listing.note:
        say(f"{cell(listing.note)}\n")
    for line in (headings, marks, *(map(cell, each) for each in listing.cells(brief=False, for_others=True))):
        say(row(list(line)))


# ---------------------------------------------------------------------------------------- what is said beside the table


def _say_why_nothing(store: Store, wanted: Wanted) -> None:
    from capture.secrets import redact_url

    url = redact_url(store.url)
    if wanted.in_bin:
        hint(f"no such run is in the bin of {url}" if wanted.where is not None else f"the bin of {url} is empty")
        return
    if not any(True for _ in store.find(limit=1)):
        hint(f"there are no runs in {url} yet; capture demo records one, capture stores lists other stores")
    elif wanted.where is not None and wanted.number != 0:
        from capture.cli._runs import nothing_fulfils

        text = nothing_fulfils(store, wanted.where)
        if wanted.groups == "":  # --group-by lr: a word of its own is a condition
            columns = table.all_columns([table.Row(each) for each in store.find(limit=20)])
            meant = [word for word in wanted.words if table.matched(word, columns)]
            text += "".join(f"\n  for groups by {visible(word)} write --group-by={visible(word)}" for word in meant)
        hint(text)


def _say_how_many(listing: Listing, store: Store, wanted: Wanted) -> None:
    """Say on a terminal that there are more than are shown; how many, where that is known without reading them."""
    shown = len(listing.values)
    if not wanted.tells_more or not shown:
        return
    total = wanted.total
    if total is None and wanted.has_more and wanted.where is None and not wanted.in_bin:
        total = len(store.labels())
    what = "groups" if wanted.groups is not None else "runs"
    if total is not None and total > shown:
        hint(f"{shown} of {total} {what}; -a lists all, -n N lists N")
    elif total is None and wanted.has_more:
        hint(f"the newest {shown} {what} of them, and there are more; -a lists all, -n N lists N")


def _say_problems(rows: Sequence[Row]) -> None:
    for row in rows:
        row.look_for_losses()
        for problem in row.problems:
            hint(f"run {format_value(row['label'])}: not all of it can be read: {visible(problem, lines=True)}")
