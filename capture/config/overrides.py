"""Values that win: what a config scope sees in place of what it assigns, where an update has set the entry.

An entry that an update fixes has the update's value from its first assignment on, so that everything computed from it
is right. Inside a scope, overridden dicts and lists protect what is overridden in them.
"""

from __future__ import annotations

from capture.config.readonly import Lookalike
from capture.config.values import clone, equal, extend_path, simple_type, type_changed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any


class Overrides:
    """The fixed entries of one evaluation, and what they won against.

    Parameters
    ----------
    fixed : mapping
        Nested; the values that win.

    Attributes
    ----------
    modified : set of str
        Dotted paths whose last assigned value differs from the fixed one.
    typechanged : dict of str to (type, type)
        Dotted paths whose last assigned value had another type.
    defaults : dict of str to object
        Dotted paths of fixed entries, with the value that was assigned to them last.
    """

    __slots__ = ("_declared", "_imposed", "defaults", "fixed", "modified", "typechanged")

    def __init__(self, fixed: Mapping[Any, Any]) -> None:
        self.fixed = fixed
        self.modified: set[str] = set()
        self.typechanged: dict[str, tuple[type, type]] = {}
        self.defaults: dict[str, Any] = {}
        self._declared: set[str] = set()
        self._imposed: dict[str, Any] = {}

    def impose(self, path: str, value: Any, fixed: Any) -> Any:
        """Return what the entry at `path` is to be, given that the source assigns `value` to it."""
        if value is self._imposed.get(path, self):
            return value  # assigned to itself, as after `entry += [4]`: keep its identity, learn nothing
        self.declare(path)
        self.modified.discard(path)
        self.typechanged.pop(path, None)
        are_groups = isinstance(value, dict) and isinstance(fixed, dict)
        if not are_groups:
            self.defaults[path] = value
        if type_changed(value, fixed):
            self.typechanged[path] = (simple_type(value), simple_type(fixed))
        elif not are_groups and not equal(value, fixed):
            self.modified.add(path)
        return self._stand_in(path, value, fixed)

    def declare(self, path: str) -> None:
        """Note that the source knows the entry at `path`, so that an update of it adds nothing."""
        self._declared.add(path)

    def undeclared(self, path: str, fixed: Any) -> Any:
        """Return what the entry at `path` is although the source never assigned it."""
        return self._stand_in(path, None, fixed)

    def _stand_in(self, path: str, value: Any, fixed: Any) -> Any:
        if isinstance(fixed, dict):
            stand_in: Any = OverriddenDict(value if isinstance(value, dict) else {}, fixed, path, self)
        elif isinstance(fixed, list):
            stand_in = OverriddenList(clone(fixed))
        else:
            stand_in = clone(fixed)
        self._imposed[path] = stand_in
        return stand_in

    def added(self) -> set[str]:
        """Return the dotted paths of all fixed entries and groups that the source never assigned."""
        return {path for path in _paths(self.fixed) if path not in self._declared}


def _paths(nested: Mapping[Any, Any], above: str = "") -> Iterator[str]:
    for key, value in nested.items():
        path = extend_path(above, key)
        yield path
        if isinstance(value, dict):
            yield from _paths(value, path)


def settle(value: Any, fixed: Any) -> Any:
    """Return `value` with `fixed` laid over it, as a fresh value: what ends up in the config, whatever came before."""
    if not (isinstance(value, dict) and isinstance(fixed, dict)):
        return clone(fixed)
    settled = {key: settle(inner, fixed[key]) if key in fixed else inner for key, inner in value.items()}
    settled.update((key, clone(inner)) for key, inner in fixed.items() if key not in settled)
    return settled


def fill_in(values: dict[Any, Any], preset: Mapping[Any, Any]) -> None:
    """Add to `values` the entries of `preset` that it lacks, at any depth, in place."""
    for key, value in preset.items():
        if key not in values:
            values[key] = value
        elif isinstance(values[key], dict) and isinstance(value, dict):
            values[key] = dict(values[key])  # it may be the user's own, for instance a module's constant
            fill_in(values[key], value)


class OverriddenDict(dict, metaclass=Lookalike):
    """A dict some of whose keys are fixed: assigning, deleting or popping those changes nothing."""

    __slots__ = ("_fixed", "_overrides", "_path")
    stands_for = dict

    def __init__(self, values: Mapping[Any, Any], fixed: Mapping[Any, Any], path: str, overrides: Overrides) -> None:
        super().__init__()
        self._fixed, self._path, self._overrides = fixed, path, overrides
        self.update(values)
        for key, value in fixed.items():
            if key not in self:
                super().__setitem__(key, overrides.undeclared(extend_path(path, key), value))

    def __setitem__(self, key: Any, value: Any) -> None:
        if key in self._fixed:
            value = self._overrides.impose(extend_path(self._path, key), value, self._fixed[key])
        super().__setitem__(key, value)

    def __delitem__(self, key: Any) -> None:
        if key not in self._fixed:
            super().__delitem__(key)

    def update(self, *args: Any, **kwargs: Any) -> None:
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def __ior__(self, other: Any) -> OverriddenDict:  # type: ignore[misc]
        self.update(other)
        return self

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self or key in self._fixed:
            self[key] = default
        return self[key]

    def pop(self, key: Any, *default: Any) -> Any:
        return self[key] if key in self._fixed else super().pop(key, *default)

    def popitem(self) -> tuple[Any, Any]:
        for key in reversed(self):
            if key not in self._fixed:
                return key, super().pop(key)
        raise KeyError("popitem(): only overridden entries are left")

    def clear(self) -> None:
        for key in list(self):
            del self[key]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return dict, (dict(self),)  # copies and pickles are plain, and protect nothing


def _ignore(self: object, *args: object, **kwargs: object) -> None:
    """Change nothing: the update that fixed this list has the last word."""


def _ignore_in_place(self: Any, other: object) -> Any:
    return self


def _refuse_to_pop(self: object, *args: object) -> Any:
    # Nothing sensible can be returned: the scope expects the list to shrink, and it must not.
    raise TypeError("cannot pop from a list that a config update has overridden")


class OverriddenList(list, metaclass=Lookalike):
    """A list that an update has fixed: every attempt to change it changes nothing, and `pop` raises TypeError."""

    __slots__ = ()
    stands_for = list

    __setitem__ = _ignore
    __delitem__ = _ignore
    __iadd__ = _ignore_in_place
    __imul__ = _ignore_in_place
    append = _ignore
    clear = _ignore
    extend = _ignore
    insert = _ignore
    pop = _refuse_to_pop
    remove = _ignore
    reverse = _ignore
    sort = _ignore

    def __reduce_ex__(self, protocol: Any) -> Any:
        return list, (list(self),)
