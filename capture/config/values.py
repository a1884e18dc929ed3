"""What a config value may be, when two are equal, and how one is copied."""

from __future__ import annotations

import sys

from capture.config.readonly import Lookalike
from capture.errors import ConfigTypeError, InvalidConfigKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

#: Types whose values nobody can change and that hold no other values: most entries of most configs.
ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})

#: Containers that are rebuilt. Our read-only and overridden ones compare equal to their builtin (`Lookalike`), so that
#: they are found here too; subclasses of anybody else's are not.
_DICT, _LIST, _TUPLE = frozenset({dict}), frozenset({list}), frozenset({tuple})


# ---------------------------------------------------------------------------------------------- keys


class KeyRules:
    """Which dict keys a config may have. The defaults are those of ``SETTINGS.CONFIG``.

    Parameters
    ----------
    mongo_compatible : bool
        No "." in a key, and no "$" in front.
    jsonpickle_compatible : bool
        No key that looks like one of jsonpickle's tags ("py/...", "json://...").
    no_equals : bool
        No "=" in a key, so that the command line can name it.
    identifiers : bool
        Only Python identifiers.
    strings : bool
        Only strings.
    """

    __slots__ = ("identifiers", "jsonpickle_compatible", "mongo_compatible", "no_equals", "strings")

    def __init__(
        self,
        mongo_compatible: bool = True,
        jsonpickle_compatible: bool = True,
        no_equals: bool = True,
        identifiers: bool = False,
        strings: bool = False,
    ) -> None:
        self.mongo_compatible = mongo_compatible
        self.jsonpickle_compatible = jsonpickle_compatible
        self.no_equals = no_equals
        self.identifiers = identifiers
        self.strings = strings

    def violation(self, key: object) -> tuple[str, str | None] | None:
        """Return (the rule that `key` breaks, the setting that lifts it), or None for a proper key."""
        if not isinstance(key, str):
            if self.strings:
                return "a key is a string", "ENFORCE_STRING_KEYS"
            if self.identifiers:
                return "a key is a Python identifier", "ENFORCE_VALID_PYTHON_IDENTIFIER_KEYS"
            return None
        if not key:
            return "a key is not empty, or no dotted path could name it", None
        if self.mongo_compatible and "." in key:
            return "a key has no '.', which separates the parts of a path", "ENFORCE_KEYS_MONGO_COMPATIBLE"
        if self.mongo_compatible and key[0] == "$":
            return "a key does not begin with '$', as MongoDB's operators do", "ENFORCE_KEYS_MONGO_COMPATIBLE"
        if self.jsonpickle_compatible and key.startswith(("py/", "json://")):
            return "a key does not look like the tag of a stored object", "ENFORCE_KEYS_JSONPICKLE_COMPATIBLE"
        if self.no_equals and "=" in key:
            return "a key has no '=', which ends it on the command line", "ENFORCE_KEYS_NO_EQUALS"
        if self.identifiers and not key.isidentifier():
            return "a key is a Python identifier", "ENFORCE_VALID_PYTHON_IDENTIFIER_KEYS"
        return None

    def check(self, key: object, path: str = "") -> None:
        """Refuse `key`, found in the dict at `path`, if it breaks a rule.

        Raises
        ------
        InvalidConfigKey
            Naming the full path, the rule, and the setting that lifts it.
        """
        problem = self.problem(key, path)
        if problem is not None:
            raise problem

    def problem(self, key: object, path: str = "") -> InvalidConfigKey | None:
        """Return the error that `check` raises, or None for a proper key."""
        violation = self.violation(key)
        if violation is None:
            return None
        rule, setting = violation
        full_path = extend_path(path, key)
        lines = [f"invalid config key {key!r}: {rule}.", f"  path:         {full_path}"]
        if setting is not None:
            lines.append(f"  to allow it:  SETTINGS.CONFIG.{setting} = False")
        return InvalidConfigKey("\n".join(lines), path=full_path, rule=rule, setting=setting)


_NAMED = 20  #: keys that an error names at most


def all_in_one(problems: Sequence[InvalidConfigKey]) -> InvalidConfigKey:
    """Return one error that tells of all these keys; its attributes are those of the first."""
    first = problems[0]
    texts = list(dict.fromkeys(str(problem) for problem in problems))
    if len(texts) > _NAMED:
        texts[_NAMED:] = [f"and {len(texts) - _NAMED} more"]
    return InvalidConfigKey("\n".join(texts), path=first.path, rule=first.rule, setting=first.setting)


DEFAULT_RULES = KeyRules()
MAX_DEPTH = 200  #: levels of nesting that a config may have


def extend_path(path: str, key: object) -> str:
    """Return the dotted path of `key` in the dict at `path`."""
    return f"{path}.{key}" if path else str(key)


# ---------------------------------------------------------------------------------------------- values


def normalize(value: Any, path: str = "", rules: KeyRules = DEFAULT_RULES) -> Any:
    """Return `value` as a config holds it: fresh plain containers, Python scalars, proper keys.

    Dicts, lists and tuples are rebuilt, numpy scalars become Python's, and every other object is kept, subclasses of
    dict and list among them (the keys of the former are checked).

    Parameters
    ----------
    value : object
    path : str
        Dotted path of the value, for messages.
    rules : KeyRules
        What dict keys may be.

    Raises
    ------
    InvalidConfigKey
        If a dict at any depth has a key that `rules` forbids; it names all such keys.
    ConfigTypeError
        If the value contains itself.

    Examples
    --------
    >>> normalize({"shape": (2, [3])})
    {'shape': (2, [3])}
    """
    problems: list[InvalidConfigKey] = []
    normal = _normalize(value, path, rules, [], problems)
    if problems:
        raise all_in_one(problems)
    return normal


def _normalize(
    value: Any, path: str, rules: KeyRules, above: list[int], problems: list[InvalidConfigKey]
) -> Any:
    kind = type(value)
    if kind in ATOMS:
        return value
    if issubclass(kind, dict):  # asked of the type: what objects say of themselves is code of the user's
        _enter(value, path, above)
        items: dict[Any, Any] = {}
        for key, inner in dict.items(value):
            key = python_scalar(key)
            problem = rules.problem(key, path)
            if problem is not None:
                problems.append(problem)
            items[key] = _normalize(inner, extend_path(path, key), rules, above, problems)
        above.pop()
        return items if kind in _DICT else value
    if kind in _LIST or kind in _TUPLE:
        _enter(value, path, above)
        elements = [_normalize(inner, f"{path}[{i}]", rules, above, problems) for i, inner in enumerate(value)]
        above.pop()
        return elements if kind in _LIST else tuple(elements)
    return python_scalar(value)


def _enter(container: object, path: str, above: list[int]) -> None:
    if id(container) in above:
        raise ConfigTypeError(path, "the value contains itself, which no store can hold")
    if len(above) >= MAX_DEPTH:
        raise ConfigTypeError(
            path.partition("[")[0][:80],
            f"the value is nested more than {MAX_DEPTH} levels deep, which no store can hold",
        )
    above.append(id(container))


def python_scalar(value: Any) -> Any:
    """Return the Python number, string or bool that a numpy scalar holds; anything else as it is.

    numpy's dates and spans of time stay, since Python's are coarser. numpy is looked at only where it is loaded.
    """
    numpy = sys.modules.get("numpy")
    # A half-imported numpy has no `generic` yet; nor can there be a scalar of it.
    generic = getattr(numpy, "generic", None)
    if generic is None or not issubclass(type(value), generic) or value.dtype.kind not in "biufcSU":
        return value
    return value.item()


def clone(value: Any) -> Any:
    """Return a copy of `value` that can be changed without changing `value`.

    Containers are rebuilt as plain ones. An object that refuses to be copied (a lock, an open file, a generator) is
    shared: it is still better than no config at all.
    """
    kind = type(value)
    if kind in ATOMS:
        return value
    if kind in _DICT:
        return {key: clone(inner) for key, inner in value.items()}
    if kind in _LIST:
        return [clone(inner) for inner in value]
    if kind in _TUPLE:
        return tuple([clone(inner) for inner in value])
    import copy

    try:
        return copy.deepcopy(value)
    except Exception:  # noqa: BLE001 - a copy method of the user's may raise anything; sharing is documented above
        return value


def equal(one: Any, other: Any) -> bool:
    """Say whether two config values are the same: by structure, with numpy only at the leaves.

    NaN equals NaN. Arrays are equal if their shapes and all their elements are. Values whose comparison fails, or
    has no truth value, are different.

    Examples
    --------
    >>> equal({"a": [1, 2]}, {"a": [1, 3]}), equal(float("nan"), float("nan"))
    (False, True)
    """
    if one is other:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    for sequence in (list, tuple):
        if isinstance(one, sequence) and isinstance(other, sequence):
            return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, float) and isinstance(other, float) and one != one:
        return bool(other != other)
    array = getattr(sys.modules.get("numpy"), "ndarray", None)
    if array is not None and (isinstance(one, array) or isinstance(other, array)):
        return isinstance(one, array) and isinstance(other, array) and _equal_arrays(one, other)
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001 - an __eq__ may raise anything; without an answer they count as different
        return False


def _equal_arrays(one: Any, other: Any) -> bool:
    if one.shape != other.shape:
        return False
    if one.dtype.kind in "fc" and other.dtype.kind in "fc":
        return bool(((one == other) | ((one != one) & (other != other))).all())
    return equal(one.tolist(), other.tolist()) if one.dtype.kind == "O" else bool((one == other).all())


def type_changed(old: Any, new: Any) -> bool:
    """Say whether an update gives an entry another type; from None any type is welcome.

    A list and a tuple count as one type (files and command lines write either), a numpy scalar as Python's.
    """
    sequences = (list, tuple)
    one, other = simple_type(old), simple_type(new)
    return old is not None and one is not other and not (one in sequences and other in sequences)


def simple_type(value: Any) -> type:
    """Return the type of `value`: Python's for a numpy scalar, dict or list for our own kinds of those."""
    kind = type(python_scalar(value))
    return kind.stands_for if isinstance(kind, Lookalike) else kind
