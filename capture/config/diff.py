"""What differs between two configurations."""

from __future__ import annotations

from capture.config.updates import iter_flattened, join_path, shorten
from capture.config.values import equal, type_changed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

ADDED, REMOVED, CHANGED = "added", "removed", "changed"
_NUMBERS = (int, float)


class Change:
    """One entry that differs.

    Attributes
    ----------
    path : str
        Its dotted path.
    kind : {"added", "removed", "changed"}
    old, new : object
        The values; None where there is none.
    """

    __slots__ = ("kind", "new", "old", "path")

    def __init__(self, path: str, kind: str, old: Any = None, new: Any = None) -> None:
        self.path = path
        self.kind = kind
        self.old = old
        self.new = new

    @property
    def typechanged(self) -> bool:
        """Whether the values are of different types; an int and a float are both numbers, and None is of any type."""
        if self.kind != CHANGED or self.new is None or (type(self.old) in _NUMBERS and type(self.new) in _NUMBERS):
            return False
        return type_changed(self.old, self.new)

    def __repr__(self) -> str:
        return f"Change({self.path!r}, {self.kind!r}, {self.old!r}, {self.new!r})"

    def __str__(self) -> str:
        if self.kind == ADDED:
            return f"+ {self.path} = {shorten(self.new)}"
        if self.kind == REMOVED:
            return f"- {self.path} = {shorten(self.old)}"
        types = f"  ({type(self.old).__name__} to {type(self.new).__name__})" if self.typechanged else ""
        return f"~ {self.path} = {shorten(self.old)} -> {shorten(self.new)}{types}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Change):
            return NotImplemented
        same = (self.path, self.kind) == (other.path, other.kind)
        return same and equal(self.old, other.old) and equal(self.new, other.new)

    __hash__ = None  # type: ignore[assignment]


def diff(old: Mapping[Any, Any], new: Mapping[Any, Any], path: str = "") -> list[Change]:
    """List the entries in which two configurations differ.

    Parameters
    ----------
    old, new : mapping
        Nested dicts. Lists, arrays and other values are compared as wholes, NaN being equal to NaN.
    path : str
        Dotted path of both, put before every path in the result.

    Returns
    -------
    list of Change
        In the order of `old`, then what only `new` has. A group that only one side has gives one change per entry;
        an entry whose value becomes a group is one change. ``1`` and ``True``, ``1`` and ``"1"``, ``[1]`` and
        ``(1,)`` differ; ``1`` and ``1.0`` do not.

    Examples
    --------
    >>> for change in diff({"lr": 0.1, "model": {"width": 8}}, {"lr": 0.2, "model": {"width": 8, "depth": 2}}):
    ...     print(change)
    ~ lr = 0.1 -> 0.2
    + model.depth = 2
    """
    changes: list[Change] = []
    for key, value in old.items():
        here = join_path(path, str(key))
        if key not in new:
            changes.extend(Change(entry, REMOVED, old=inner) for entry, inner in iter_flattened({here: value}))
        elif isinstance(value, dict) and isinstance(new[key], dict):
            changes.extend(diff(value, new[key], here))
        else:
            change = Change(here, CHANGED, value, new[key])
            if change.typechanged or not equal(value, new[key]):
                changes.append(change)
    for key, value in new.items():
        if key not in old:
            here = join_path(path, str(key))
            changes.extend(Change(entry, ADDED, new=inner) for entry, inner in iter_flattened({here: value}))
    return changes
