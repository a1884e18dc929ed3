"""``sacred.config.custom_containers``: dicts and lists that protect what is in them."""

from __future__ import annotations

from capture.config.readonly import ReadOnlyDict, ReadOnlyList
from capture.config.readonly import freeze as make_read_only
from capture.config.updates import join_path
from capture.config.values import equal
from capture.config.values import type_changed as _type_changed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

__all__ = [
    "DogmaticDict",
    "DogmaticList",
    "ReadOnlyContainer",
    "ReadOnlyDict",
    "ReadOnlyList",
    "fallback_dict",
    "is_different",
    "make_read_only",
    "type_changed",
]


class _EitherKind(type):
    """Answers isinstance and issubclass; an abstract base class would take plain dicts for the read-only ones."""

    def __instancecheck__(cls, instance: object) -> bool:
        return cls.__subclasscheck__(type(instance))

    def __subclasscheck__(cls, subclass: type) -> bool:
        return any(base is ReadOnlyDict or base is ReadOnlyList for base in subclass.__mro__)


class ReadOnlyContainer(metaclass=_EitherKind):
    """What `ReadOnlyDict` and `ReadOnlyList` are."""


def fallback_dict(fallback: Mapping[Any, Any], **kwargs: Any) -> dict[Any, Any]:
    """Return a copy of `fallback` with further entries."""
    return {**fallback, **kwargs}


def type_changed(old_value: Any, new_value: Any) -> bool:
    """Say whether two values are of different types; from None any type is welcome."""
    return _type_changed(_plain(old_value), _plain(new_value))


def is_different(old_value: Any, new_value: Any) -> bool:
    """Say whether two values differ; arrays are compared element by element."""
    return not equal(old_value, new_value)


def _plain(value: Any) -> Any:
    if isinstance(value, DogmaticDict):
        return dict.copy(value)
    return list(value) if isinstance(value, DogmaticList) else value


class DogmaticDict(dict):
    """A dict that begins empty and in which the values of `fixed` win over those that are assigned.

    Parameters
    ----------
    fixed : mapping, optional
        An entry of it appears when its key is assigned to, or with `revelation`.
    fallback : mapping, optional
        Where keys that the dict lacks are looked up.

    Attributes
    ----------
    modified : set of str
        Keys whose assigned value was another; dotted where it lies in a dict.
    typechanges : dict of str to (type, type)
        Keys whose assigned value had another type: that type, and the winner's.
    fallback_writes : list of str
        Keys of `fallback` that were assigned to.
    """

    def __init__(self, fixed: Mapping[Any, Any] | None = None, fallback: Mapping[Any, Any] | None = None) -> None:
        super().__init__()
        self.fixed: dict[Any, Any] = dict(fixed or {})
        self.modified: set[str] = set()
        self.typechanges: dict[str, tuple[type, type]] = {}
        self.fallback_writes: list[Any] = []
        self.fallback = fallback or {}

    @property
    def fallback(self) -> Mapping[Any, Any]:
        return self._fallback

    @fallback.setter
    def fallback(self, fallback: Mapping[Any, Any]) -> None:
        for key in self.fixed.keys() & fallback.keys():
            if isinstance(self.fixed[key], dict):
                if not isinstance(self.fixed[key], DogmaticDict):
                    self.fixed[key] = DogmaticDict(self.fixed[key])
                self.fixed[key].fallback = fallback[key]
        self._fallback = fallback

    def __setitem__(self, key: Any, value: Any) -> None:
        if key not in self.fixed:
            if key in self._fallback:
                self.fallback_writes.append(key)
            super().__setitem__(key, value)
            return
        winner = self.fixed[key]
        super().__setitem__(key, winner)
        both_groups = isinstance(winner, DogmaticDict) and isinstance(value, dict)
        if both_groups:
            winner.update(value)
            self.modified |= {join_path(key, inner) for inner in winner.modified}
            self.typechanges.update({join_path(key, inner): types for inner, types in winner.typechanges.items()})
        if type_changed(value, winner):
            self.typechanges[key] = (type(value), type(_plain(winner)))
        if not equal(_plain(winner), value):
            self.modified.add(key)

    def __getitem__(self, key: Any) -> Any:
        if not dict.__contains__(self, key) and key in self._fallback:
            return self.fixed[key] if key in self.fixed else self._fallback[key]
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._fallback

    def get(self, key: Any, default: Any = None) -> Any:
        return super().__getitem__(key) if dict.__contains__(self, key) else self._fallback.get(key, default)

    def has_key(self, key: Any) -> bool:
        return key in self

    def __delitem__(self, key: Any) -> None:
        if key not in self.fixed:
            super().__delitem__(key)

    def update(self, other: Any = (), **entries: Any) -> None:  # type: ignore[override]
        for key, value in {**dict(other), **entries}.items():
            self[key] = value

    def revelation(self) -> set[str]:
        """Let all entries of `fixed` appear; return the dotted paths of those that nobody has assigned."""
        missing: set[str] = set()
        for key, winner in self.fixed.items():
            if not dict.__contains__(self, key):
                super().__setitem__(key, winner)
                missing.add(key)
            if isinstance(winner, (DogmaticDict, DogmaticList)):
                missing |= {join_path(key, inner) for inner in winner.revelation()}
        return missing


def _ignore(self: Any, *args: Any, **kwargs: Any) -> None:
    """Change nothing: what fixed this list has the last word."""


class DogmaticList(list):
    """A list that cannot be changed: what tries to is ignored, and `pop` is refused."""

    append = extend = insert = remove = reverse = sort = clear = _ignore
    __setitem__ = __delitem__ = _ignore

    def __iadd__(self, other: Iterable[Any]) -> DogmaticList:  # type: ignore[misc]
        return self

    def __imul__(self, other: Any) -> DogmaticList:  # type: ignore[misc]
        return self

    def pop(self, index: Any = -1) -> Any:
        raise TypeError("cannot pop from a list that a config update has overridden")

    def revelation(self) -> set[str]:
        """Let the dicts in the list show their entries."""
        for value in self:
            if isinstance(value, (DogmaticDict, DogmaticList)):
                value.revelation()
        return set()
