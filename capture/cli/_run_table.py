"""Runs as the rows of a table for people: which columns are shown, how their cells read, and what fits the screen."""

from __future__ import annotations

from capture.errors import CommandLineError, suggest
from capture.filters import MISSING, lookup
from capture.query.columns import flat, is_part, order, short_names, sort_keys
from capture.query.grouping import identity, is_seed
from capture.wording import NOTHING, cell_width, fitted, format_duration, format_time, format_utc, format_value, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from capture.query.stored_run import StoredRun

#: what every run has, in the order in which it is shown
STANDARD = ("label", "start_time", "status", "name", "duration")
#: what else can be shown of every run, without a look at what it has
FURTHER = ("uid", "command", "stop_time", "heartbeat", "user", "notes", "git.commit", "git.branch", "git.dirty")

_TITLES = {"start_time": "start", "stop_time": "stop"}
_WIDEST_CELL = 32
_NARROWED_CELL = 18
_SPECIAL = "*?["
COMPANY = 20  #: other runs of its experiment among which a single one is looked at
_FEW = 8  #: entries, or metrics, all of which are shown of the only run of an experiment
_METRICS_ALIKE = 3  #: metrics that are shown though they are the same in all runs, where none differs


class Unreadable:
    """Stands where a part of a record cannot be read.

    Attributes
    ----------
    problem : str
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem

    def __repr__(self) -> str:
        return "?"

    __str__ = __repr__


def readable(value: Any) -> Any:
    """Return a value as a program gets it: None for what cannot be read, which people see as a question mark."""
    return None if isinstance(value, Unreadable) else value


class Row:
    """A run as a row: its values by path, each read once.

    Attributes
    ----------
    run : StoredRun
    problems : list of str
        What could not be read, a sentence each.
    """

    def __init__(self, run: StoredRun) -> None:
        self.run = run
        self.problems: list[str] = []
        self._values: dict[str, Any] = {}
        self._config: dict[str, Any] | None = None

    def __getitem__(self, path: str) -> Any:
        try:
            return self._values[path]
        except KeyError:
            value = self._values[path] = self._read(path)
            return value

    @property
    def config(self) -> dict[str, Any]:
        """The entries of the configuration, by path."""
        if self._config is None:
            config = self._tried(lambda: self.run.config)
            self._config = flat(config, "config") if isinstance(config, dict) and config else {}
            self._values.update(self._config)
        return self._config

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics."""
        summary = self._tried(lambda: self.run.summary)
        return [] if isinstance(summary, Unreadable) else list(summary)

    def _read(self, path: str) -> Any:
        if path == "label":
            return self.run.label if self.run.label is not None else self.run.uid[-8:]
        if path == "status":
            return self._tried(lambda: self.run.state)
        if self._config is None and path.startswith("config.") and path in self.config:
            return self.config[path]
        return self._tried(lambda: lookup(self.run, path))

    def look_for_losses(self) -> None:
        """Look whether something of the record is lost, so that it is said in the end."""
        self._tried(lambda: self.run.losses)

    def _tried(self, read: Any) -> Any:
        try:
            return read()
        except Exception as error:  # noqa: BLE001 - records may be damaged in any way; the user is told, the rest is shown
            problem = str(error) or type(error).__name__
            if problem not in self.problems:
                self.problems.append(problem)
            return Unreadable(problem)


# ------------------------------------------------------------------------------------------------------- which columns?


def all_columns(rows: Sequence[Row]) -> list[str]:
    """Return all columns that these runs have something in: what every run has, config, metrics' last, result, tags."""
    config: dict[str, None] = {}
    metrics: dict[str, None] = {}
    for row in rows:
        config.update(dict.fromkeys(row.config))
        metrics.update(dict.fromkeys(row.metrics))
    return [*STANDARD, *config, *(f"metrics.{name}.last" for name in metrics), "result", "tags"]


def varied(columns: Iterable[str], rows: Sequence[Row]) -> list[str]:
    """Return the columns in which not all runs have the same."""
    return [column for column in columns if len(rows) < 2 or _varies(column, rows)]


def _varies(column: str, rows: Sequence[Row]) -> bool:
    first = identity(_comparable(rows[0][column]))
    return any(identity(_comparable(row[column])) != first for row in rows)


def _comparable(value: Any) -> Any:
    return MISSING if value is None or isinstance(value, Unreadable) else value


def settings_that_vary(rows: Sequence[Row]) -> list[str]:
    """Return the entries of the configuration, and the name and the command, that tell runs apart.

    What one experiment has and another has not says no more than their names, unless it varies within one of them.
    """
    config = [column for column in all_columns(rows) if column.startswith("config.")]
    named: dict[str, list[Row]] = {}
    for row in rows:
        named.setdefault(str(row["name"]), []).append(row)
    command = ["command"] if any(_varies("command", alike) for alike in named.values()) else []
    if len(named) < 2:
        return [*command, *varied(config, rows)] if len(rows) > 1 else []

    def is_telling(column: str) -> bool:
        having = [row for row in rows if row[column] is not MISSING]
        return _varies(column, having) or any(_varies(column, alike) for alike in named.values())

    return ["name", *command, *filter(is_telling, config)]


def telling_columns(rows: Sequence[Row], others: Iterable[Row] = ()) -> list[str]:
    """Return the columns that say something about these runs: what is shown if nobody asks for others.

    Of a single run that is what tells it apart from `others` of its experiment, as if all of them were listed.
    """
    among = [*rows, *(_of_one_experiment(rows[0], others) if len(rows) == 1 else ())]
    kept = []
    columns = all_columns(rows)
    metrics = [column for column in columns if column.startswith("metrics.")]
    changing = {*settings_that_vary(among), *(varied(metrics, among) or sorted(metrics)[:_METRICS_ALIKE])}
    if "command" in changing:  # which is mostly the only one
        columns.insert(columns.index("name") + 1, "command")
    if len(among) == 1:
        changing.update(_of_a_lone_run(rows[0], columns))
        if len(metrics) > _FEW:
            changing.difference_update(sorted(metrics)[_METRICS_ALIKE:])
    for column in columns:
        if column == "name":
            is_kept = column in changing
        elif column in ("result", "tags"):
            is_kept = any(_comparable(row[column]) not in (MISSING, []) for row in rows)
        elif column in STANDARD:
            is_kept = True
        else:
            is_kept = column in changing
        if is_kept:
            kept.append(column)
    return kept


def _of_one_experiment(row: Row, others: Iterable[Row]) -> list[Row]:
    """Return those of some runs that are other runs of the experiment of one; no more than tell it apart."""
    from itertools import islice

    alike = (each for each in others if each["name"] == row["name"] and each["label"] != row["label"])
    return list(islice(alike, COMPANY))


def _of_a_lone_run(row: Row, columns: Sequence[str]) -> list[str]:
    """Return the entries of its configuration that are shown of the only run of an experiment.

    There is nothing to tell it apart from: of many entries these are the ones that were set for it.
    """
    config = [column for column in columns if column.startswith("config.")]
    if len(config) <= _FEW:
        return config
    meta = row["meta"]
    updates = meta.get("config_updates") if isinstance(meta, dict) else None
    updated = set(flat(updates, "config")) if isinstance(updates, dict) and updates else set()
    return [column for column in config if column in updated]


def chosen_columns(
    patterns: Sequence[str], rows: Sequence[Row], further: Callable[[], Sequence[Row]] | None = None
) -> list[str]:
    """Return the columns that patterns mean, in their order.

    Parameters
    ----------
    patterns : sequence of str
    rows : sequence of Row
    further : callable, optional
        Gives other runs of the store: a column that only they have is no slip, and is empty in these rows.

    Raises
    ------
    CommandLineError
        If a pattern means no column of any of them.
    """
    usual, rare = [*all_columns(rows), *FURTHER], _summaries(rows)
    candidates = [*usual, *rare]
    found: dict[str, None] = {}
    for pattern in _split(patterns, candidates):
        matching = matched(pattern, candidates if _asks_for_parts(pattern, rows) else usual) or matched(pattern, rare)
        if not matching and not set(_SPECIAL) & set(pattern):
            # what no table lists: host.cpu, packages.numpy, facts.usage.cpu_s
            matching = [pattern] if any(_comparable(row[pattern]) is not MISSING for row in rows) else []
        if not matching and rows:
            if further is None:
                raise CommandLineError(_no_column(pattern, candidates))
            matching = chosen_columns([pattern], [*rows, *further()])
        found.update(dict.fromkeys(matching))
    return list(found)


def _asks_for_parts(pattern: str, rows: Sequence[Row]) -> bool:
    """Say whether a pattern is about more than the last value of a metric: ``loss.*``; l* and metrics.* are not."""
    from fnmatch import fnmatchcase

    name = pattern.removeprefix("metrics.").rpartition(".")[0]
    if not name.strip("*"):
        return False
    return any(fnmatchcase(metric, name) for metric in dict.fromkeys(each for row in rows for each in row.metrics))


def without(
    columns: Sequence[str],
    patterns: Sequence[str],
    rows: Sequence[Row],
    further: Callable[[], Sequence[Row]] | None = None,
) -> list[str]:
    """Return the columns that no pattern means.

    Raises
    ------
    CommandLineError
        If a pattern means no column of these runs, neither one that is shown nor another.
    """
    dropped: set[str] = set()
    for pattern in _split(patterns, columns):
        matching = matched(pattern, columns)
        if not matching:
            chosen_columns([pattern], rows, further)
        dropped.update(matching)
    return [column for column in columns if column not in dropped]


def matched(pattern: str, columns: Iterable[str]) -> list[str]:
    """Return the columns that a pattern means: by full or short name; as a glob; as a regular expression.

    Examples
    --------
    >>> columns = ["config.lr", "config.net.lr", "metrics.loss.last", "result"]
    >>> matched("lr", columns), matched("loss", columns), matched("config.*", columns), matched("r.+", columns)
    (['config.lr'], ['metrics.loss.last'], ['config.lr', 'config.net.lr'], ['result'])
    """
    names = {column: {column, *_short(column)} for column in columns}
    exact = [column for column in names if column == pattern] or [
        column for column, spelt in names.items() if pattern in spelt
    ]
    if exact:
        return exact
    from fnmatch import fnmatchcase

    found = [column for column, spelt in names.items() if any(fnmatchcase(name, pattern) for name in spelt)]
    if found:
        return found
    import re

    try:
        expression = re.compile(pattern)
    except re.error:  # it was a glob, or the name of nothing
        return []
    return [column for column, spelt in names.items() if any(expression.fullmatch(name) for name in spelt)]


def _short(column: str) -> list[str]:
    """Return other names that a column goes by."""
    head, _, rest = column.partition(".")
    if head == "config" and rest:
        return [rest]
    if head == "metrics" and rest:
        return [rest, rest[: -len(".last")]] if rest.endswith(".last") else [rest]
    return [_TITLES[column]] if column in _TITLES else []


def _summaries(rows: Sequence[Row]) -> list[str]:
    names = dict.fromkeys(name for row in rows for name in row.metrics)
    return [f"metrics.{name}.{part}" for name in names for part in ("min", "max", "step", "count")]


def _split(patterns: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return the patterns that stand between commas; a column's own name may hold some."""
    return [
        part.strip()
        for pattern in patterns
        for part in ([pattern] if matched(pattern, columns) else pattern.split(","))
        if part.strip()
    ]


def _no_column(pattern: str, columns: Sequence[str]) -> str:
    names = [name for column in columns for name in (column, *_short(column))]
    close = suggest(pattern, names)
    hint = f" Did you mean {visible(close)!r}?" if close else ""
    listed = ", ".join(map(visible, [column for column in columns if not column.startswith("metrics.")][:40]))
    metrics = ", ".join(visible(column) for column in columns if column.startswith("metrics."))[:2000]
    return f"these runs have no column {visible(pattern)!r}.{hint}\n  there are:  {listed}" + (
        f"\n  metrics:    {metrics}" if metrics else ""
    )


# ----------------------------------------------------------------------------------------------- how do the cells read?


def titles(columns: Sequence[str]) -> list[str]:
    """Return the headings of columns: their short names, where these are clear."""
    short = short_names(columns)
    own = {_TITLES[column] for column in columns if column in _TITLES}
    return [_TITLES.get(column, column if short[column] in own else short[column]) for column in columns]


def is_numeric(values: Iterable[Any]) -> bool:
    """Say whether a column holds numbers, or labels that are, and so is aligned to the right."""
    known = [value for value in values if _comparable(value) is not MISSING]
    return bool(known) and all(map(_is_like_a_number, known))


def _is_like_a_number(value: Any) -> bool:
    if isinstance(value, str):
        return value.isdecimal()
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def cell(column: str, value: Any, precision: int | None = None, brief: bool = False, for_others: bool = False) -> str:
    """Return what stands in a cell, escaped.

    Parameters
    ----------
    column : str
    value : object
    precision : int, optional
        Significant digits.
    brief : bool
        Whether times are shortened, as on a terminal.
    for_others : bool
        Whether times are in UTC, since it is read where the clock may show another time.
    """
    if isinstance(value, Unreadable):
        return "?"
    if value is None or value is MISSING:
        return NOTHING
    if column == "duration" and isinstance(value, (int, float)):
        return format_duration(value)
    if column in ("tags", "runs") and isinstance(value, (list, tuple)):
        return ", ".join(format_value(each) for each in value) or NOTHING
    if column == "git.commit" and isinstance(value, str) and brief:
        return visible(value[:10])
    if hasattr(value, "astimezone"):
        return format_utc(value) if for_others else short_time(value) if brief else format_time(value)
    return format_value(value, precision)


def short_time(time: Any, now: Any = None) -> str:
    """Return a time as the clock here shows it: of today the time, of this year the day and time, else the day."""
    try:
        local = time.astimezone()
        today = now or local.now().astimezone()
    except (ValueError, OverflowError, OSError):
        return format_time(time)
    if local.date() == today.date():
        return f"{local.hour:02}:{local.minute:02}:{local.second:02}"
    if local.year == today.year:
        return f"{local.month:02}-{local.day:02} {local.hour:02}:{local.minute:02}"
    return f"{local.year:04}-{local.month:02}-{local.day:02}"


# --------------------------------------------------------------------------------------------- what fits on the screen?


def fit(
    columns: Sequence[str], headings: Sequence[str], cells: Sequence[Sequence[str]], width: int, in_order: bool = False
) -> tuple[list[int], list[list[str]]]:
    """Choose the columns that fit side by side.

    Parameters
    ----------
    columns, headings : sequence of str, shape (n,)
    cells : sequence of sequence of str, shape (m, n)
    width : int
        Of the screen.
    in_order : bool
        Whether the last columns go first; else those that say least.

    Returns
    -------
    places : list of int, shape (k,)
        The columns that stay; the first always does.
    cells : list of list of str, shape (m, k)
        Long ones are cut.
    """
    places = list(range(len(columns)))
    rank = {place: float(place) for place in places} if in_order else _ranks(columns)
    for widest in (_WIDEST_CELL, _NARROWED_CELL):
        sizes = [
            max(cell_width(headings[place]), *(min(cell_width(row[place]), widest) for row in cells), 1)
            for place in range(len(columns))
        ]
        if _total(sizes, places) <= width:
            break
    while len(places) > 1 and _total(sizes, places) > width:
        places.remove(max(places[1:], key=lambda place: (rank[place], place)))
    return places, [[fitted(row[place], max(sizes[place], 1)) for place in places] for row in cells]


def _total(sizes: Sequence[int], places: Sequence[int]) -> int:
    return sum(sizes[place] for place in places) + 2 * (len(places) - 1)


def _ranks(columns: Sequence[str]) -> dict[int, float]:
    """Return for each column how soon it goes: a seed and the duration first, of config and metrics the last ones."""
    fixed = {"label": 0.0, "n": 0.5, "status": 1.0, "result": 2.0, "name": 2.5, "start_time": 3.0, "tags": 6.0}
    fixed |= {"command": 2.7, "duration": 1e9, "runs": 2e9}
    of_groups = "n" in columns  # then two rows are told apart by their settings alone
    if of_groups:
        fixed |= {"name": 0.1, "command": 0.15, "status": 1e9}
    config = metrics = 0
    ranks = {}
    for place, column in enumerate(columns):
        if column in fixed:
            ranks[place] = fixed[column]
        elif is_seed(column):
            ranks[place] = 1e8
        elif column.startswith("metrics."):
            metrics += 1
            ranks[place] = 3.5 + metrics
        else:
            config += 1
            ranks[place] = 0.2 if of_groups else 3.0 + config
    return ranks


# ---------------------------------------------------------------------------------------------------------------- order


def sorted_rows(rows: Iterable[Row], name: str, descending: bool, number: int | None) -> list[Row]:
    """Return runs sorted by a column: all, or the first ones; the newest first among equals, what has nothing last.

    Of a run that is not among these only that column is read.
    """
    held = list(rows)
    path = sort_path(name, held)
    values = [row[path] for row in held]
    return [held[place] for place in order(sort_keys(path, values), descending)[:number]]


def sort_path(name: str, rows: Sequence[Row]) -> str:
    """Return the path that runs are sorted by: the first meaning of a name that one of them has something at.

    Raises
    ------
    CommandLineError
        If none has.
    """
    named = {title: column for column, title in _TITLES.items()}
    whole = named.get(name, name)
    meanings = (*([whole] if is_part(whole) else []), f"config.{name}", f"metrics.{name}.last", f"metrics.{name}")
    for row in rows:
        for path in meanings:
            if path in STANDARD or row[path] is not MISSING:
                return path
    if not rows:
        return name
    newest = rows[:20]
    descending = name[1:] if name[:1] == "-" else ""
    if descending and any(matched(descending, all_columns([row])) for row in newest):
        wanted = f"--sort={visible(descending)} --desc"
        raise CommandLineError(f"no column begins with a dash: for the greatest first, write {wanted}")
    raise CommandLineError(_no_column(name, [*all_columns(newest), *FURTHER, *_summaries(newest)]))
