"""Why runs differ: what went in, ranked by what most likely explains it, and then what came out."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from capture.records import RunRecord

#: kinds of what may cause a difference, and of what came out
CAUSES = ("config", "source", "input", "package", "seed", "command", "git", "environment", "host")
OUTCOMES = ("status", "result", "metric", "output", "artifact", "usage")


class Difference:
    """One thing in which runs are not alike.

    Attributes
    ----------
    kind : str
        One of `CAUSES` or `OUTCOMES`.
    name : str
        What: a path as in a condition (``config.lr``), a file, a package, a metric.
    values : list
        What each run has there, in their order; `capture.filters.MISSING` where it has nothing.
    origins : list of str or None
        Who set each value, where that is known.
    weight : float
        How likely it is to explain the rest, from 0 to 1; the list of causes is in this order.
    why : str
        A sentence that says what the weight rests on; "" where it is plain.
    detail : str
        More text: a unified diff of sources; "" if there is none.
    same : bool
        True for what is equal, which is listed only when everything is asked for.
    """

    __slots__ = ("detail", "kind", "name", "origins", "same", "values", "weight", "why")

    def __init__(
        self,
        kind: str,
        name: str,
        values: Sequence[Any],
        origins: Sequence[str | None] | None = None,
        weight: float = 0.0,
        why: str = "",
        detail: str = "",
        same: bool = False,
    ) -> None:
        self.kind, self.name, self.values = kind, name, list(values)
        self.origins = list(origins) if origins is not None else [None] * len(self.values)
        self.weight, self.why, self.detail, self.same = weight, why, detail, same


class Comparison:
    """What `compare` found.

    Attributes
    ----------
    names : list of str
        What the runs are called: labels, or ``.`` for the working tree.
    causes : list of Difference
        What went in, the likeliest explanation first.
    outcomes : list of Difference
        What came out.
    limits : list of str
        Sentences about what could not be compared.
    """

    def __init__(
        self, names: list[str], causes: list[Difference], outcomes: list[Difference], limits: list[str]
    ) -> None:
        self.names, self.causes, self.outcomes, self.limits = names, causes, outcomes, limits

    @property
    def differ(self) -> bool:
        """Whether anything differs."""
        return any(not each.same for each in (*self.causes, *self.outcomes))


def compare(runs: Sequence[RunRecord], every: bool = False) -> Comparison:
    """Compare two or more runs.

    Parameters
    ----------
    runs : sequence of RunRecord
        The first is what the others are compared with.
    every : bool
        Whether what is equal is listed too.
    """
    raise NotImplementedError
