"""Read-only dicts and lists: what captured functions get, so that none of them changes the config of another.

They are real dicts and lists. Copying or pickling one gives a plain, changeable one.
"""

from __future__ import annotations

from capture.errors import ReadOnlyConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


class Lookalike(type):
    """A subclass of a builtin that equals that builtin wherever classes are compared or looked up.

    PyYAML's safe dumper, `copy`, `functools.singledispatch`, torch's and JAX's trees and many others keep tables keyed
    by exact type: ``representers[type(value)]``. A subclass of dict falls through all of them, and PyYAML then refuses
    to write it. Being equal to ``dict`` (with its hash) finds the entry for dict, without our registering anything
    with libraries that may be imported later. ``type(value) == dict`` holds too; ``type(value) is dict`` does not.
    """

    stands_for: type

    def __eq__(cls, other: object) -> bool:
        return cls.stands_for is (other.stands_for if isinstance(other, Lookalike) else other)

    def __hash__(cls) -> int:
        return hash(cls.stands_for)


def _refuse(operation: str, kind: str, remedy: str) -> Any:
    def refuse(self: object, *args: object, **kwargs: object) -> NoReturn:
        raise ReadOnlyConfigError(
            f"cannot {operation} a {kind} of the configuration: it is read-only in captured functions."
            f"\n  to change a copy:  {remedy}"
            f"\n  to lift the rule:  SETTINGS.CONFIG.READ_ONLY_CONFIG = False",
            operation=operation,
        )

    return refuse


def _refuse_dict(operation: str) -> Any:
    return _refuse(operation, "dict", "copy.deepcopy(value), or dict(value) for the top level alone")


def _refuse_list(operation: str) -> Any:
    return _refuse(operation, "list", "copy.deepcopy(value), or list(value) for the top level alone")


class ReadOnlyDict(dict, metaclass=Lookalike):
    """A dict whose every changing method raises `ReadOnlyConfigError`."""

    __slots__ = ()
    stands_for = dict

    __setitem__ = _refuse_dict("set a key of")
    __delitem__ = _refuse_dict("delete a key of")
    __ior__ = _refuse_dict("update (|=)")
    clear = _refuse_dict("clear")
    pop = _refuse_dict("pop from")
    popitem = _refuse_dict("pop from")
    setdefault = _refuse_dict("set a default in")
    update = _refuse_dict("update")

    def __reduce_ex__(self, protocol: Any) -> Any:
        return dict, (dict(self),)  # serves pickle, copy and deepcopy: what comes out can be changed


class ReadOnlyList(list, metaclass=Lookalike):
    """A list whose every changing method raises `ReadOnlyConfigError`."""

    __slots__ = ()
    stands_for = list

    __setitem__ = _refuse_list("set an element of")
    __delitem__ = _refuse_list("delete an element of")
    __iadd__ = _refuse_list("extend (+=)")
    __imul__ = _refuse_list("repeat (*=)")
    append = _refuse_list("append to")
    clear = _refuse_list("clear")
    extend = _refuse_list("extend")
    insert = _refuse_list("insert into")
    pop = _refuse_list("pop from")
    remove = _refuse_list("remove from")
    reverse = _refuse_list("reverse")
    sort = _refuse_list("sort")

    def __reduce_ex__(self, protocol: Any) -> Any:
        return list, (list(self),)


def freeze(value: Any) -> Any:
    """Return `value` with every plain dict and list in it replaced by a read-only one.

    Tuples are rebuilt around their frozen elements. Objects of other types, subclasses of dict and list among them,
    are kept as they are: changing their type would break the code that relies on it.

    Examples
    --------
    >>> frozen = freeze({"layers": [64, 32]})
    >>> frozen["layers"].append(16)
    Traceback (most recent call last):
    ...
    capture.errors.ReadOnlyConfigError: cannot append to a list of the configuration: ...
    """
    kind = type(value)
    if kind is dict:
        return ReadOnlyDict({key: freeze(inner) for key, inner in value.items()})
    if kind is list:
        return ReadOnlyList([freeze(inner) for inner in value])
    if kind is tuple:
        return tuple([freeze(inner) for inner in value])
    return value


def thaw(value: Any) -> Any:
    """Return `value` with every plain or read-only dict and list in it replaced by a fresh plain one.

    Examples
    --------
    >>> thaw(freeze({"layers": [64, 32]}))["layers"].append(16)
    """
    kind = type(value)
    if kind is dict or kind is ReadOnlyDict:
        return {key: thaw(inner) for key, inner in value.items()}
    if kind is list or kind is ReadOnlyList:
        return [thaw(inner) for inner in value]
    if kind is tuple:
        return tuple([thaw(inner) for inner in value])
    return value
