"""Config updates: what stands after `with` on a command line, and the nested dicts it becomes.

An update is ``path.to.entry=VALUE``. The value is read as a Python literal and never runs; what is no literal is a
plain string. Nested dicts and dotted paths are two spellings of one thing, and the helpers here go between them.
None of them changes what it is given, except `set_by_path`, whose purpose it is.
"""

from __future__ import annotations

from capture.errors import CommandLineError, ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

#: Longer texts are not searched for a literal. A command line cannot carry one (Linux ends an argument at 128 KiB),
#: and the parser needs a few hundred times the memory of its input.
LONGEST_LITERAL = 1 << 20

_WORDS = {"True": True, "False": False, "None": None}
_NUMBER_CHARACTERS = frozenset("0123456789_.eE+-")
_LITERAL_MARKS = frozenset("'\"[({,")
#: CPython refuses decimal integers longer than this (3.10.7 and newer); before that they take quadratic time.
_LONGEST_INTEGER = 4300


# ---------------------------------------------------------------------------------------------- one update


def parse_value(text: str, strict: bool = False) -> Any:
    """Read one value as a Python literal, else as the plain string that it is.

    Parameters
    ----------
    text : str
        White space at either end is dropped.
    strict : bool
        Whether a text that is no literal is an error, so that strings have to be quoted.

    Returns
    -------
    object
        Number, string, bytes, list, tuple, dict, set, bool or None. Never code, never an object built from the text:
        ``{"py/reduce": ...}`` is a dict with that key. ``nan``, ``inf``, ``true``, ``null`` stay strings; an entry
        with a declared type turns them into what they mean there.

    Raises
    ------
    CommandLineError
        If `strict` and the text is no literal.

    Examples
    --------
    >>> parse_value("1e-3"), parse_value("0b101"), parse_value("(1, 2)"), parse_value("adam")
    (0.001, 5, (1, 2), 'adam')
    """
    text = text.strip()
    if text in _WORDS:
        return _WORDS[text]
    if text and text[0] in "0123456789.+-" and _NUMBER_CHARACTERS.issuperset(text):
        number = _decimal(text)
        if number is not None:
            return number
    # Without a quote, a bracket or a comma only a number can still be a literal, and numbers begin with these. So
    # words, paths and URLs never pay for the import of `ast`, nor can they reach its parser.
    elif text and text[0] not in "0123456789+-" and _LITERAL_MARKS.isdisjoint(text):
        return _plain(text, strict, "it is not a Python literal")
    if len(text) > LONGEST_LITERAL:
        return _plain(text, strict, f"it is longer than {LONGEST_LITERAL} characters")
    return _literal(text, strict)


def _decimal(text: str) -> int | float | None:
    """Return the decimal number in `text`, or None where Python's grammar sees none (as in ``007``)."""
    digits = text.lstrip("+-")
    if len(text) - len(digits) > 1 or len(text) > _LONGEST_INTEGER:
        return None
    try:
        if digits[:1] == "0" and digits.strip("0_") and digits.replace("_", "").isdigit():
            return None
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None


def _literal(text: str, strict: bool) -> Any:
    import ast
    import warnings

    try:
        with warnings.catch_warnings():
            # "\d" inside a quoted value would warn about a file called <unknown>.
            warnings.simplefilter("ignore")
            return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        # ValueError: calls, names, lone surrogates, null bytes. TypeError: a list as a dict key. The last two: a
        # hostile depth. All of them mean the same: this is not a literal.
        return _plain(text, strict, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def _plain(text: str, strict: bool, reason: str) -> str:
    if strict:
        raise CommandLineError(
            f"{shorten(text)} is not a Python literal ({shorten(reason, 120)}), and strict parsing is on."
            f"\n  to pass a string:  quote it twice, for the shell and for Python: KEY='\"text\"'"
        )
    return text


def parse_update(text: str, strict: bool = False) -> tuple[str, Any]:
    """Split ``path=VALUE`` at its first ``=`` and read the value.

    Returns
    -------
    (str, object)
        The dotted path and the value, see `parse_value`.

    Raises
    ------
    CommandLineError
        If there is no ``=``, or no proper path before it; or the value is no literal and `strict` is set.

    Examples
    --------
    >>> parse_update(" model.layers = [64, 32]")
    ('model.layers', [64, 32])
    >>> parse_update("url=http://host/?a=b")
    ('url', 'http://host/?a=b')
    """
    path, equals, value = text.partition("=")
    path = path.strip()
    if not equals:
        raise CommandLineError(f"{shorten(text)} is not a config update.\n  to set a value:  KEY=VALUE")
    if not path:
        raise CommandLineError(f"{shorten(text)} has no config entry before its '='.\n  to set a value:  KEY=VALUE")
    if "" in path.split("."):
        raise CommandLineError(
            f"{shorten(path)} in {shorten(text)} is not the path of a config entry: there is an empty name"
            " beside a dot.\n  to set a value:  KEY=VALUE or GROUP.KEY=VALUE"
        )
    try:
        return path, parse_value(value, strict)
    except CommandLineError as error:
        raise CommandLineError(f"config entry {path!r}: {error}") from error


def parse_updates(texts: Iterable[str], strict: bool = False) -> tuple[dict[str, Any], list[str]]:
    """Sort the words after `with` into updates and names of named configs.

    Parameters
    ----------
    texts : iterable of str
        ``KEY=VALUE`` is an update; anything else names a named config or a config file; empty words are skipped.
    strict : bool
        See `parse_value`.

    Returns
    -------
    (dict, list of str)
        The updates as one nested dict, where of two updates of one entry the last wins; and the names in order.

    Raises
    ------
    CommandLineError
        If an update is malformed.
    ConfigError
        If two updates contradict each other, as ``a=1`` and ``a.b=2`` do.

    Examples
    --------
    >>> parse_updates(["lr=0.1", "big", "model.width=8", "lr=0.2"])
    ({'lr': 0.2, 'model': {'width': 8}}, ['big'])
    """
    updates: list[tuple[str, Any]] = []
    named: list[str] = []
    for text in texts:
        if "=" in text:
            updates.append(parse_update(text, strict))
        elif text.strip():
            named.append(text.strip())
    return nest(updates), named


# ---------------------------------------------------------------------------------------------- nested and dotted


def nest(updates: Mapping[Any, Any] | Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """Turn dotted paths into nested dicts, at any depth.

    Parameters
    ----------
    updates : mapping, or iterable of (path, value)
        Paths may be dotted; values may be dicts whose keys are dotted again. Keys that are not strings are kept.

    Returns
    -------
    dict
        New dicts throughout; other values are those given. Dicts for one path are merged, and of two other values
        for one path the last is kept. Empty dicts stay.

    Raises
    ------
    ConfigError
        If a path is given a value while another path leads through it; or a dict contains itself.

    Examples
    --------
    >>> nest({"a.b": 1, "a": {"c.d": 2}, "e": {}})
    {'a': {'b': 1, 'c': {'d': 2}}, 'e': {}}
    """
    try:
        return _nest(updates)
    except RecursionError:
        raise ConfigError("the updates contain themselves, or are nested too deep to be a configuration") from None


def _nest(updates: Any) -> dict[Any, Any]:
    nested: dict[Any, Any] = {}
    whole: dict[str, Any] = {}  # paths that were given a value themselves, and are not only on the way to one
    for path, value in updates.items() if hasattr(updates, "items") else updates:
        _put(nested, whole, path, _nest(value) if isinstance(value, dict) else value)
    return nested


def _put(nested: dict[Any, Any], whole: dict[str, Any], path: Any, value: Any) -> None:
    parts = path.split(".") if isinstance(path, str) else [path]
    group = nested
    for depth, part in enumerate(parts[:-1], start=1):
        below = group.setdefault(part, {})
        if not isinstance(below, dict):
            _contradiction(".".join(parts[:depth]), below, path, value)
        group = below
    present = group.get(parts[-1])
    if isinstance(present, dict) and isinstance(value, dict):
        group[parts[-1]] = merge(present, value)
    elif isinstance(present, dict) and path not in whole:
        inner, inner_value = next(iter_flattened(present, str(path)), (path, present))
        _contradiction(path, value, inner, inner_value)
    else:
        group[parts[-1]] = value
    whole[path] = value


def _contradiction(upper: object, value: object, lower: object, lower_value: object) -> None:
    raise ConfigError(
        f"the updates {upper}={shorten(value)} and {lower}={shorten(lower_value)} contradict each other:"
        f" {upper!r} cannot be one value and a group of entries at the same time.",
        print_conflicting_configs=False,
        conflicting_configs=(str(upper), str(lower)),
    )


def iter_flattened(nested: Mapping[Any, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted path, value) for each entry that is not a group; an empty group counts as a value.

    Examples
    --------
    >>> list(iter_flattened({"a": {"b": 1}, "c": {}}))
    [('a.b', 1), ('c', {})]
    """
    for key, value in nested.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, dict) and value:
            yield from iter_flattened(value, here)
        else:
            yield here, value


def flatten(nested: Mapping[Any, Any]) -> dict[str, Any]:
    """Return `nested` as one flat dict of dotted paths, the reverse of `nest`.

    Examples
    --------
    >>> flatten({"model": {"width": 8}, "lr": 0.1})
    {'model.width': 8, 'lr': 0.1}
    """
    return dict(iter_flattened(nested))


def set_by_path(nested: dict[Any, Any], path: str, value: Any) -> None:
    """Set the entry at a dotted path, in place, making the groups on the way.

    Raises
    ------
    ConfigError
        If the path leads through an entry that is not a group.
    """
    *groups, last = path.split(".")
    for depth, name in enumerate(groups, start=1):
        below = nested.setdefault(name, {})
        if not isinstance(below, dict):
            _contradiction(".".join(groups[:depth]), below, path, value)
        nested = below
    nested[last] = value


def get_by_path(nested: Mapping[Any, Any], path: str, default: Any = None) -> Any:
    """Return the entry at a dotted path, or `default`; the empty path is `nested` itself.

    Examples
    --------
    >>> get_by_path({"model": {"width": 8}}, "model.width")
    8
    """
    value: Any = nested
    for name in path.split(".") if path else ():
        if not isinstance(value, dict) or name not in value:
            return default
        value = value[name]
    return value


def merge(base: Mapping[Any, Any], update: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return `base` with `update` laid over it; dicts are merged, any other value is replaced.

    Neither argument is changed. Parts that only one of them has are shared with the result, not copied.

    Examples
    --------
    >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}, "d": 4})
    {'a': {'b': 1, 'c': 3}, 'd': 4}
    """
    merged = dict(base)
    for key, value in update.items():
        present = merged.get(key)
        if isinstance(present, dict) and isinstance(value, dict):
            merged[key] = merge(present, value)
        else:
            merged[key] = value
    return merged


def join_path(*parts: str) -> str:
    """Join dotted paths, leaving out empty ones.

    Examples
    --------
    >>> join_path("dataset", "", "paths.root")
    'dataset.paths.root'
    """
    return ".".join(part for part in parts if part)


def prefixes(path: str) -> Iterator[str]:
    """Yield `path` and the paths above it, longest first.

    Examples
    --------
    >>> list(prefixes("a.b.c"))
    ['a.b.c', 'a.b', 'a']
    """
    while path:
        yield path
        path = path.rpartition(".")[0]


def shorten(value: object, longest: int = 60) -> str:
    """Return `repr(value)` cut to `longest` characters, for use in a message."""
    if isinstance(value, str) and len(value) > longest:
        value = value[:longest]  # so that 20 MB are not escaped first
        return f"{value!r}..."
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 3] + "..."
