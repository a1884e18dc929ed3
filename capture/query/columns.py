"""Runs as a table: which columns there are, which of them say something, and what stands in them.

A column is named by its path, as in a condition: ``config.lr``, ``metrics.loss.last``, ``git.commit``, ``result``.
"""

from __future__ import annotations

from capture.codec import StoredEnum
from capture.filters import MISSING, lookup, state_of
from capture.query.grouping import identity
from capture.records import RunRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

#: what is read of each run before its configuration is looked at
LEADING = ("name", "status", "start_time", "duration")
_STORED = frozenset(vars(RunRecord()))
#: what a path may be besides an entry of the configuration or a metric
_PARTS = _STORED | {"name", "git", "user", "duration", "packages", "output", "params", "summary", "state", "project"}
_MANY = 8  #: columns of the configuration from which on it is taken apart as a whole

#: words of a metric's name that say that less is better
_LESS = frozenset(
    (
        *("loss", "err", "error", "errors", "mse", "mae", "rmse", "mape", "nll", "perplexity", "ppl", "cost", "regret"),
        *("distance", "divergence", "kl", "wer", "cer", "fid", "time", "duration", "seconds", "latency", "runtime"),
        *("brier", "bouldin", "deviance"),
    )
)

#: words of a metric's name that say that more is better
_MORE = frozenset(
    (
        *("accuracy", "acc", "auc", "auroc", "auprc", "f1", "fscore", "precision", "recall", "sensitivity"),
        *("specificity", "score", "r2", "map", "ndcg", "mrr", "bleu", "rouge", "iou", "dice", "psnr", "ssim"),
        *("reward", "return", "returns", "win", "wins", "elbo", "likelihood", "throughput"),
    )
)

#: words that say that the number is another one with its sign turned round
_NEGATED = frozenset(("neg", "negative", "negated", "minus"))


def flat(value: Any, prefix: str) -> dict[str, Any]:
    """Return the leaves of nested dicts by dotted path; lists are leaves.

    Examples
    --------
    >>> flat({"lr": 0.1, "net": {"layers": [64, 32]}}, "config")
    {'config.lr': 0.1, 'config.net.layers': [64, 32]}
    """
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    leaves: dict[str, Any] = {}
    for key, each in value.items():
        if isinstance(each, dict) and each:
            leaves.update(flat(each, f"{prefix}.{key}"))
        else:
            leaves[f"{prefix}.{key}"] = each
    return leaves


def columns_of(runs: Iterable[RunRecord]) -> list[str]:
    """Return the columns that these runs have values in: config, last value of metrics, result."""
    config: dict[str, None] = {}
    metrics: dict[str, None] = {}
    for run in runs:
        config.update(dict.fromkeys(flat(run.config, "config") if run.config else ()))
        metrics.update(dict.fromkeys(f"metrics.{name}.last" for name in run.summary))
    return [*config, *metrics, "result"]


def rows_of(runs: Iterable[RunRecord], columns: Sequence[str]) -> list[list[Any]]:
    """Return a row of values for each run; `MISSING` where it has none."""
    table = table_of(list(runs), columns)
    return [list(row) for row in zip(*(table[column] for column in columns))]


def table_of(runs: Sequence[RunRecord], columns: Sequence[str] | None = None) -> dict[str, list[Any]]:
    """Return the values of runs, column by column.

    Parameters
    ----------
    runs : sequence of RunRecord, shape (n,)
    columns : sequence of str, optional
        Paths; if none are named `LEADING`, those of `columns_of`, and tags and notes where a run has some.

    Returns
    -------
    dict of str to list, shape (n,)
        `MISSING` where a run has no such value. ``status`` and ``duration`` are as runs of a store show them: DIED
        where the process is known to be gone, and the time so far.

    Notes
    -----
    Configurations and summaries are taken apart side by side, key by key: looking each path up in each run takes ten
    times longer, which counts for ten thousand runs.
    """
    records: Sequence[RunRecord] = [getattr(run, "record", run) for run in runs]  # what a `StoredRun` asks itself
    if columns is None:
        return _as_shown(_whole_table(records), runs)
    config: dict[str, list[Any]] = {}
    if sum(column.startswith("config.") for column in columns) > _MANY:
        _take_apart([record.config for record in records], "config", config)
        for branch in {path[:end] for path in config for end, sign in enumerate(path) if sign == "."}:
            config.pop(branch, None)  # it is a leaf in some runs only
    asks_metrics = any(column.startswith("metrics.") for column in columns)
    summaries = [record.summary for record in records] if asks_metrics else []
    table = {}
    for column in columns:
        root, _, rest = column.partition(".")
        if column in config:
            table[column] = config[column]
        elif root == "metrics" and rest:
            table[column] = _of_summaries(summaries, *rest.rpartition(".")[::2])
        else:
            is_recorded = root in _STORED or hasattr(RunRecord, root)
            table[column] = [lookup(run, column) for run in (records if is_recorded else runs)]
    return _as_shown(table, runs)


def _as_shown(table: dict[str, list[Any]], runs: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """Let runs that call themselves RUNNING have the status that conditions and lists know."""
    if "RUNNING" in table.get("status", ()):
        table["status"] = [
            state_of(run) if status == "RUNNING" else status for run, status in zip(runs, table["status"])
        ]
    return table


def _whole_table(records: Sequence[RunRecord]) -> dict[str, list[Any]]:
    parts = (*LEADING, "config", "summary", "result", "tags", "notes")
    # Run by run: what was stored of one lies together in memory, of which a processor has only a little at hand.
    rows = [[getattr(record, name) for name in parts] for record in records]
    values = {name: [row[place] for row in rows] for place, name in enumerate(parts)}
    table = {name: values[name] for name in LEADING}
    _take_apart(values["config"], "config", table)
    summaries = values["summary"]
    for name in dict.fromkeys(name for summary in summaries for name in summary):
        table[f"metrics.{name}.last"] = _of_summaries(summaries, name, "last")
    for name in ("result", "tags", "notes"):
        if name == "result" or any(values[name]):
            table[name] = values[name]
    return table


def _side_by_side(dicts: Sequence[dict[Any, Any]]) -> Iterable[tuple[Any, list[Any]]]:
    """Yield each key with what the dicts have there, or `MISSING`."""
    orders = set(map(tuple, dicts))
    if len(orders) == 1:  # as in most projects, and several times faster
        yield from zip(orders.pop(), map(list, zip(*[each.values() for each in dicts])))
        return
    for key in dict.fromkeys(key for each in dicts for key in each):
        yield key, [each.get(key, MISSING) for each in dicts]


def _of_summaries(summaries: Sequence[Mapping[str, dict[str, Any]]], name: str, part: str) -> list[Any]:
    nothing: dict[str, Any] = {}
    return [summary.get(name, nothing).get(part, MISSING) for summary in summaries]


def _take_apart(dicts: Sequence[Any], prefix: str, into: dict[str, list[Any]]) -> None:
    """Add the columns of nested dicts that lie side by side; a place of another kind has `MISSING` in all of them."""
    plain = [each if isinstance(each, dict) else {} for each in dicts]
    for key, column in _side_by_side(plain):
        path = f"{prefix}.{key}"
        kinds = set(map(type, column))
        if dict in kinds and any(type(value) is dict and value for value in column):
            leaves = [MISSING if type(value) is dict and value else value for value in column]
            if any(value is not MISSING for value in leaves):
                into[path] = leaves
            _take_apart(column, path, into)
        elif path not in into:
            into[path] = column
        else:  # {"a": {"b": 1}} in one run, {"a.b": 1} in another; where a run has both, the key with the dot counts
            pairs = zip(column, into[path]) if "." in str(key) else zip(into[path], column)
            into[path] = [other if one is MISSING else one for one, other in pairs]


def order(values: Sequence[Any], descending: bool = False) -> list[int]:
    """Return the places of values in the order of these.

    Numbers come before text, text before times, those before time spans, lists and all else; lists are sorted by what
    is in them, members of enumerations as text, or as numbers if they stand for such. What is missing, None or not a
    number comes last, whatever the direction. Equal values stay in their order.

    Examples
    --------
    >>> order([3, None, 1, "a", float("nan"), 2])
    [2, 5, 0, 3, 1, 4]
    >>> order([3, None, 1, 2], descending=True)
    [0, 3, 2, 1]
    """
    known = [place for place, value in enumerate(values) if not _is_nothing(value)]
    nothing = [place for place, value in enumerate(values) if _is_nothing(value)]
    return sorted(known, key=lambda place: _rank(values[place]), reverse=descending) + nothing


def sort_keys(path: str, values: Sequence[Any]) -> list[Any]:
    """Return what the values at a path are sorted by: labels that are digits as numbers, versions as versions.

    Stores that number their runs in text mean numbers, 2 before 10; and 1.10 is a newer version than 1.9.

    Examples
    --------
    >>> sort_keys("label", ["2", 10, "a", None])
    [2, 10, 'a', None]
    >>> order(sort_keys("packages.numpy", ["1.10", "1.9"])), order(sort_keys("notes", ["1.10", "1.9"]))
    ([1, 0], [0, 1])
    """
    if path == "label":
        return [int(each) if isinstance(each, str) and each.isdecimal() and len(each) < 20 else each for each in values]
    if path.startswith("packages.") or path == "host.python_version":
        from capture.versions import Version

        return [Version(each) if isinstance(each, str) else each for each in values]
    return list(values)


def _is_nothing(value: Any) -> bool:
    return value is None or value is MISSING or (hasattr(value, "__float__") and _is_not_itself(value))


def _is_not_itself(value: Any) -> bool:
    """Say whether a value is "not a number", which is equal to nothing; of an array each element may be."""
    try:
        differs = value != value
    except ArithmeticError:  # a Decimal that signals
        return True
    return differs is True or (getattr(value, "shape", None) == () and bool(differs))


def _rank(value: Any) -> tuple[int, Any]:
    """Return something that sorts among all that a record may hold."""
    if isinstance(value, (bool, int, float)):
        return 0, value
    if isinstance(value, str):
        return 1, value
    if isinstance(value, StoredEnum):
        return _rank(value.value) if isinstance(value.value, (int, float)) else (1, str(value))
    if hasattr(value, "isoformat") and hasattr(value, "year"):
        return 2, _seconds_since_1970(value)
    if hasattr(value, "total_seconds"):
        return 3, value.total_seconds()
    if isinstance(value, (list, tuple)):
        return 4, tuple(map(_rank, value))
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return _rank(value.item())
    if hasattr(value, "__float__") and not hasattr(value, "shape"):  # a Decimal, a Fraction
        try:
            return 0, float(value)
        except (OverflowError, ValueError):
            pass
    return 5, str(value)


def _seconds_since_1970(time: Any) -> float:
    """Return when a date or time is; without a zone it is in that of this machine, as in a condition."""
    from capture.dates import moment_of
    from capture.moments import datetime, timezone

    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    try:
        return (moment_of(time) - epoch).total_seconds()
    except (ValueError, OverflowError, OSError):  # in the first or last hours that Python knows
        return (datetime(time.year, time.month, time.day, tzinfo=timezone.utc) - epoch).total_seconds()


def path_of(name: str, runs: Iterable[RunRecord]) -> str:
    """Return the path that a short name stands for in these runs: itself, a metric's last value, or a config entry.

    A name that leads nowhere is returned as it is.
    """
    candidates = (f"metrics.{name}.last", f"metrics.{name}", f"config.{name}", f"result.{name}")
    for run in runs:
        for path in (name, *candidates) if is_part(name) else candidates:
            if lookup(run, path) is not MISSING:
                return path
    return name


def is_part(path: str) -> bool:
    """Say whether a path begins with a word that stands for a part of every run, and so is no short name.

    A run of a client has more attributes, such as ``environment``: in a table that is an entry of the configuration.

    Examples
    --------
    >>> is_part("status"), is_part("config.lr"), is_part("environment")
    (True, True, False)
    """
    return path.partition(".")[0] in _PARTS


def is_more_better(name: str) -> bool | None:
    """Say by its name whether a number is wanted great; None if the name does not tell.

    One that is turned round, such as scikit-learn's ``neg_log_loss``, does not tell: with others that is a part of the
    loss. A negative likelihood is a loss everywhere.

    Examples
    --------
    >>> [is_more_better(each) for each in ("metrics.valAccuracy.last", "metrics.loss.min", "result", "config.lr")]
    [True, False, None, None]
    >>> [is_more_better(each) for each in ("log_likelihood", "neg_log_likelihood", "neg_mean_squared_error")]
    [True, False, None]
    """
    words = _words(name)
    if not _NEGATED.isdisjoint(words):
        return False if "likelihood" in words else None
    if not _LESS.isdisjoint(words):
        return False
    return True if not _MORE.isdisjoint(words) else None


def _words(name: str) -> list[str]:
    pairs = zip(" " + name, name)
    apart = "".join(f" {sign}" if sign.isupper() and not before.isupper() else sign for before, sign in pairs)
    return "".join(sign.lower() if sign.isalnum() else " " for sign in apart).split()


def source_of(results: Sequence[Any], metrics: Mapping[str, Sequence[Any]]) -> str | None:
    """Return the metric that results are: whose name says which way is better, and whose values are equal to them.

    Parameters
    ----------
    results : sequence, shape (n,)
    metrics : mapping of str to sequence, shape (n,)
        The last values of each metric.
    """
    known = (name for name in metrics if is_more_better(name) is not None)
    return next((name for name in known if list(metrics[name]) == list(results)), None)


def varying(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Return the columns in which not all rows are equal."""
    if len(rows) < 2:
        return list(columns)
    return [
        column
        for place, column in enumerate(columns)
        if any(_differs(row[place], rows[0][place]) for row in rows[1:])
    ]


def _differs(one: Any, other: Any) -> bool:
    if one is other:
        return False
    if (one is MISSING) != (other is MISSING):
        return True
    if isinstance(one, float) and isinstance(other, float) and one != one and other != other:
        return False  # not a number, both
    if isinstance(one, (bool, list, dict)) or isinstance(other, (bool, list, dict)):
        return bool(identity(one) != identity(other))  # True is not 1, alone or in a list
    same = one == other
    return not (same if isinstance(same, bool) else bool(getattr(same, "all", lambda: same)()))


def short_names(columns: Sequence[str]) -> dict[str, str]:
    """Return a heading for each column: without ``config.``, ``metrics.`` and ``.last``, where that is clear.

    What would read like a part of the run itself, such as its ``name``, is written out.

    Examples
    --------
    >>> short_names(["config.lr", "config.loss", "metrics.loss.last"])
    {'config.lr': 'lr', 'config.loss': 'config.loss', 'metrics.loss.last': 'metrics.loss.last'}
    """
    short = {column: _shortened(column) for column in columns}
    taken = list(short.values())
    return {
        column: name if taken.count(name) == 1 and name not in _PARTS else column for column, name in short.items()
    }


def _shortened(column: str) -> str:
    if column.startswith("config."):
        return column[7:]
    if column.startswith("metrics."):
        return column[8:].removesuffix(".last")
    return column
