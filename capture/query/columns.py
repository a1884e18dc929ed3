"""Runs as a table: which columns there are, which of them say something, and what stands in them.

A column is named by its path, as in a condition: ``config.lr``, ``metrics.loss.last``, ``git.commit``, ``result``.
"""

from __future__ import annotations

from capture.filters import MISSING, lookup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from capture.records import RunRecord


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
        leaves.update(flat(each, f"{prefix}.{key}"))
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
    return [[lookup(run, column) for column in columns] for run in runs]


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
    if (one is MISSING) != (other is MISSING):
        return True
    same = one == other
    return not (same if isinstance(same, bool) else bool(getattr(same, "all", lambda: same)()))


def short_names(columns: Sequence[str]) -> dict[str, str]:
    """Return a heading for each column: without ``config.``, ``metrics.`` and ``.last``, where that is clear.

    Examples
    --------
    >>> short_names(["config.lr", "config.loss", "metrics.loss.last"])
    {'config.lr': 'lr', 'config.loss': 'config.loss', 'metrics.loss.last': 'metrics.loss.last'}
    """
    short = {column: _shortened(column) for column in columns}
    taken = list(short.values())
    return {column: name if taken.count(name) == 1 else column for column, name in short.items()}


def _shortened(column: str) -> str:
    if column.startswith("config."):
        return column[7:]
    if column.startswith("metrics."):
        return column[8:].removesuffix(".last")
    return column
