"""One thing in which runs are not alike."""

from __future__ import annotations

from capture.query._grounds import EXPLAINS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

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
        How likely it is to explain the rest, from 0 to 1; the list of causes is in this order. 0 is noise: any two runs
        differ in it, it is listed only when everything is asked for, and it makes no difference.
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

    @property
    def counts(self) -> bool:
        """Whether runs that differ in nothing else differ: it is neither equal nor noise."""
        return not self.same and (self.kind not in CAUSES or self.weight > 0) and self.kind != "usage"

    @property
    def explains(self) -> bool:
        """Whether it is a cause that may explain the rest: it follows from no other, and is of what changes results."""
        return self.kind in CAUSES and not self.same and self.weight >= EXPLAINS

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data that JSON can hold; of a run that has nothing there, the entry lacks ``value``."""
        from capture.codec import encode
        from capture.filters import MISSING

        values: list[dict[str, Any]] = []
        for value, origin in zip(self.values, self.origins):
            entry = {} if value is MISSING else {"value": encode(value)}
            values.append({**entry, "origin": origin} if origin is not None else entry)
        told = {"kind": self.kind, "name": self.name, "values": values, "weight": self.weight, "why": self.why}
        return {**told, "detail": self.detail, "same": self.same}

    def __repr__(self) -> str:
        from capture.wording import visible

        values = " | ".join(map(repr, self.values))
        return f"<Difference {self.kind} {visible(self.name)}: {values}, weight {self.weight:g}>"
