"""Groups of runs that are equal but for their seed: what came out of them on average, and how far it lies apart."""

from __future__ import annotations

from capture.query.columns import path_of, short_names, table_of, varying
from capture.query.grouping import Spread, group, is_number, is_seed, spread
from capture.wording import format_number, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from capture.query.stored_run import StoredRun


class Group:
    """Runs that are equal in the columns by which they were grouped.

    Attributes
    ----------
    values : dict
        What they have in these columns, by path; `capture.filters.MISSING` where they have nothing.
    runs : list of StoredRun
    spreads : dict of str to Spread
        Of result and metrics, by path: ``n``, ``mean`` and ``std`` of the runs that have a finite number there.
    """

    __slots__ = ("runs", "spreads", "values")

    def __init__(self, values: dict[str, Any], runs: list[StoredRun], spreads: dict[str, Spread]) -> None:
        self.values, self.runs, self.spreads = values, runs, spreads

    def __len__(self) -> int:
        return len(self.runs)

    def __repr__(self) -> str:
        values = ", ".join(f"{visible(path)}={value!r}" for path, value in self.values.items())
        return f"<Group of {len(self)} runs: {values}>"


class Groups:
    """Groups of runs, in the order of their first run; a sequence of `Group`.

    Attributes
    ----------
    by : list of str
        The columns by which they were made.
    outcomes : list of str
        The columns of which there are means.
    """

    def __init__(self, by: list[str], outcomes: list[str], groups: list[Group]) -> None:
        self.by, self.outcomes, self._groups = by, outcomes, groups

    @classmethod
    def of(cls, runs: Sequence[StoredRun], columns: Sequence[str] = ()) -> Groups:
        """Group runs by columns; if none are named, by all that was asked of them and varies, but seeds.

        That is the name of the experiment, the command, and the entries of the configuration.
        """
        table = table_of(runs)
        by = list(dict.fromkeys(path_of(column, runs) for column in columns)) or _varying(runs, table)
        table.update(table_of(runs, [column for column in by if column not in table]))
        outcomes = [
            column
            for column, values in table.items()
            if column not in by
            and (column == "result" or column.startswith("metrics."))
            and any(map(is_number, values))
        ]
        rows = [[table[column][place] for column in by] for place in range(len(runs))]
        groups = []
        for values, members in group(rows, range(len(by))):
            spreads = {column: spread(table[column][member] for member in members) for column in outcomes}
            groups.append(Group(dict(zip(by, values)), [runs[member] for member in members], spreads))
        return cls(by, outcomes, groups)

    def __iter__(self) -> Iterator[Group]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, place: int) -> Group:
        return self._groups[place]

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame`: a row for each group, ``n``, and mean and standard deviation of what came out.

        The columns by which the runs were grouped are its index; lists and dicts are text there. Standard deviations
        are those of a sample, NaN for fewer than two numbers; a run that has no number there is left out, and is
        counted in ``n`` nevertheless.
        """
        from capture.query.frames import frame_of

        headings, rows = self.table()
        keys = len(self.by)
        for row in rows:
            row[:keys] = map(_hashable, row[:keys])
            row[keys + 1 :] = [float("nan") if number is None else number for number in row[keys + 1 :]]
        columns = {heading: [row[place] for row in rows] for place, heading in enumerate(headings)}
        frame = frame_of(columns, range(len(rows)))
        return frame.set_index(headings[:keys]) if self.by else frame.reset_index(drop=True)

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return headings and rows: the columns grouped by, ``n``, then ``NAME_mean`` and ``NAME_std`` of outcomes."""
        short = self._headings()
        ends = [f"{short[column]}_{what}" for column in self.outcomes for what in ("mean", "std")]
        rows = []
        for each in self._groups:
            numbers = [getattr(each.spreads[column], what) for column in self.outcomes for what in ("mean", "std")]
            rows.append([*each.values.values(), len(each), *numbers])
        return [*(short[column] for column in self.by), "n", *ends], rows

    def _headings(self) -> dict[str, str]:
        """Return a heading for each column: its short name, where that is clear beside ``n`` and ``NAME_mean``."""
        short = short_names([*self.by, *self.outcomes])
        taken = {"n", *(f"{short[column]}_{what}" for column in self.outcomes for what in ("mean", "std"))}
        return {column: column if name in taken else name for column, name in short.items()}

    def _shown(self) -> tuple[list[str], list[list[Any]], dict[int, int]]:
        """Return a table to look at, with mean and spread in one cell, and of how many runs where not of all.

        The third are the digits of numbers by which the runs were grouped.
        """
        from capture.query.reprs import config_digits

        short = self._headings()
        rows = []
        for each in self._groups:
            cells = []
            for column in self.outcomes:
                told = each.spreads[column]
                apart = f" ± {format_number(told.std, 2)}" if told.std is not None else ""
                count = f" ({told.n})" if told.n != len(each) else ""
                cells.append("" if told.mean is None else f"{format_number(told.mean)}{apart}{count}")
            rows.append([*each.values.values(), len(each), *cells])
        headings = [*(short[column] for column in self.by), "n", *(short[column] for column in self.outcomes)]
        return headings, rows, config_digits(self.by, rows)

    def __repr__(self) -> str:
        from capture.query.reprs import text_table

        return text_table(*self._shown()) if self._groups else "no groups: there are no runs"

    def _repr_html_(self) -> str:
        from capture.query.reprs import table_html

        return table_html(*self._shown())


def _hashable(value: Any) -> Any:
    """Return a value that an index can hold: others as text."""
    try:
        hash(value)
    except TypeError:
        return str(value)
    return value


def _varying(runs: Sequence[StoredRun], table: dict[str, list[Any]]) -> list[str]:
    """Return the name and the command, and the entries of the configuration but seeds, where they vary."""
    config = [name for name in table if name.startswith("config.") and not is_seed(name)]
    columns = {**table_of(runs, ["name", "command"]), **{name: table[name] for name in config}}
    return varying(list(columns), list(zip(*columns.values()))) if len(runs) > 1 else config
