"""Typed config sources: a dataclass, an attrs class or a pydantic model declares entries, with their types.

A class stands in the config as a plain dict of its fields, classes within it as nested dicts, so that updates, docs
and stores treat it like any other config. What an update gives is converted to the declared type (``"3e-4"`` to a
float, ``[1, 2]`` to a tuple, ``"adam"`` to a member of an enum) or refused at its exact path. `build` makes the
object again for a function that asks for it.
"""

from __future__ import annotations

import sys

from capture.config.coercion import build, coerce, coerce_part
from capture.config.fields import (
    COMPUTED,
    evaluate_annotation,
    fields_of,
    is_typed,
    is_typed_class,
    kind_of,
    plain,
    raw_annotations,
)
from capture.config.layers import MISSING, place
from capture.config.origin import Origin
from capture.config.summary import ConfigSummary
from capture.config.updates import flatten, get_by_path, join_path, merge, shorten
from capture.config.values import DEFAULT_RULES, KeyRules, equal
from capture.errors import ConfigTypeError, MissingConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

__all__ = [
    "TypedEntries",
    "TypedSource",
    "build",
    "coerce",
    "conform_parameters",
    "is_typed",
    "is_typed_class",
    "split_typed",
]


class TypedSource:
    """A config source made of a typed class, or of an object of one.

    Parameters
    ----------
    declared : type or object
        A dataclass, an attrs class, a pydantic (2) model: its defaults are the entries. Or an object of one: its
        values are.
    at : str
        Dotted path of the group that the fields become; "" for the top level of the config.

    Attributes
    ----------
    cls : type
    at : str
    origin : Origin
        Names the class and the line where it is defined.

    Raises
    ------
    TypeError
        If `declared` is none of those.

    Notes
    -----
    At the top level an update of an entry that is no field is left to the other sources, and reported as added. Within
    a group of its own it is refused.

    A field without default may get its value from an update, or from any other source, before or after this one.

    Examples
    --------
    >>> from dataclasses import make_dataclass
    >>> source = TypedSource(make_dataclass("Training", [("lr", float, 0.1), ("steps", int, 10)]))
    >>> source({"lr": "3e-4"})
    {'lr': 0.0003, 'steps': 10}
    """

    def __init__(self, declared: Any, at: str = "") -> None:
        if not is_typed(declared):
            raise ConfigTypeError(
                at, f"{shorten(declared)} is no dataclass, attrs class or pydantic model, nor an object of one"
            )
        self.cls: Any = declared if isinstance(declared, type) else type(declared)
        self.at = at
        self.origin = Origin(kind_of(self.cls), self.cls.__name__, *place_of(self.cls))
        self._instance = None if isinstance(declared, type) else declared
        self._docs: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"TypedSource({self.cls.__name__}, at={self.at!r})"

    def __call__(
        self,
        fixed: Mapping[str, Any] | None = None,
        preset: Mapping[str, Any] | None = None,
        fallback: Mapping[str, Any] | None = None,
    ) -> ConfigSummary:
        """Return the entries, with `fixed` in place of the declared values and `preset` for what it does not declare.

        The summary has no docs: finding them takes reading the class's source, so they wait in `docs` to be asked for.

        Raises
        ------
        ConfigTypeError
            If a value in `fixed` does not fit, or names no field.
        """
        fixed, preset = dict(fixed or {}), dict(preset or {})
        declared = self._declared()
        given, rest = self._split(fixed, "")
        given = coerce_part(self.cls, given, self.at)
        entries = merge({**self._known(preset, declared), **declared}, given)
        try:
            entries = plain(build(self.cls, entries, self.at))
        except MissingConfigError:
            pass  # a source after this one may have the value; `conform` asks for it in the end
        own = place({}, self.at, entries) if self.at else entries
        overridden = flatten(place({}, self.at, given) if self.at else given)
        defaults = place({}, self.at, declared) if self.at else declared
        return ConfigSummary(
            values=merge(merge(preset, own), rest),
            added=flatten(rest),
            modified=[path for path in overridden if _differs(defaults, own, path)],
            defaults=flatten(defaults),
        )

    def conform(self, config: dict[str, Any], path: str = "", complete: bool = False) -> dict[str, Any]:
        """Return `config` with the entries of the class converted to their types, wherever they came from.

        Parameters
        ----------
        config : dict
            Updates, or a whole config. Not changed.
        path : str
            Dotted path of `config` itself, for messages.
        complete : bool
            Whether `config` is meant to be whole: then a missing value is an error, and the class's own checks run.

        Raises
        ------
        ConfigTypeError
            If a value does not fit, or names no field.
        MissingConfigError
            If `complete`, and a field without default has no value.
        """
        if not complete and self.at and get_by_path(config, self.at, MISSING) is MISSING:
            return config
        given, _ = self._split(config, path)
        where = join_path(path, self.at)
        entries = plain(build(self.cls, given, where)) if complete else coerce_part(self.cls, given, where)
        if not self.at:
            return {**config, **entries}
        return _replace(config, self.at, entries)

    @property
    def docs(self) -> dict[str, str]:
        """What the class says about its fields: in their metadata or description, or in comments beside them."""
        if self._docs is None:
            self._docs = {join_path(self.at, name): text for name, text in _docs_of(self.cls)}
        return self._docs

    def objects(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Build the object that `config` describes, and find those within it.

        Parameters
        ----------
        config : mapping
            A whole config, as `conform` leaves it.

        Returns
        -------
        dict of str to object
            By dotted path in `config`; the object of a class at the top level is at "".
        """
        given, _ = self._split(dict(config), "")
        return dict(_objects_in(build(self.cls, given, self.at), self.at))

    def _declared(self) -> dict[str, Any]:
        """Return the values that the class, or the object, has by itself."""
        if self._instance is not None:
            return plain(self._instance)
        defaults = {name: field.default() for name, field in fields_of(self.cls).items()}
        return {name: plain(value) for name, value in defaults.items() if value not in (MISSING, COMPUTED)}

    def _known(self, preset: Mapping[str, Any], declared: Mapping[str, Any]) -> dict[str, Any]:
        """Return what earlier sources say about fields without a default."""
        given, _ = self._split(dict(preset), "")
        return {name: value for name, value in given.items() if name in fields_of(self.cls) and name not in declared}

    def _split(self, config: dict[str, Any], path: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Split `config` into the entries of the class and the others."""
        if not self.at:
            fields = fields_of(self.cls)
            given = {name: value for name, value in config.items() if name in fields}
            return given, {name: value for name, value in config.items() if name not in fields}
        here = get_by_path(config, self.at, {})
        given = plain(here) if isinstance(here, self.cls) else here
        if not isinstance(given, dict):
            raise ConfigTypeError(
                join_path(path, self.at),
                f"{shorten(given)} is not a group of entries ({self.cls.__name__}: {', '.join(fields_of(self.cls))})",
            )
        return given, _replace(config, self.at, None) if here else config


def conform_parameters(function: Any, config: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Return `config` with the entries that `function` declares as typed parameters converted to their types.

    Parameters
    ----------
    function : function
        As in ``def defaults(lr: float = 0.1, steps: int = 10)``. A parameter without a default only reads an entry of
        others, and says nothing about its type.
    config : dict
        Updates, or a whole config. Not changed.
    path : str
        Dotted path of `config`, for messages.

    Raises
    ------
    ConfigTypeError
        If a value does not fit.
    """
    annotations = function.__annotations__
    if not annotations:
        return config
    converted = dict(config)
    for name, default in _defaults_of(function):
        if name in config and name in annotations:
            annotation = evaluate_annotation(annotations[name], function.__globals__)
            converted[name] = coerce(config[name], annotation, join_path(path, name), default)
    return converted


def _defaults_of(function: Any) -> Iterator[tuple[str, Any]]:
    code = function.__code__
    positional = code.co_varnames[: code.co_argcount]
    values = function.__defaults__ or ()
    yield from zip(positional[len(positional) - len(values) :], values)
    yield from (function.__kwdefaults__ or {}).items()


def split_typed(config: Mapping[str, Any], at: str = "") -> tuple[dict[str, Any], list[TypedSource]]:
    """Take the objects of typed classes out of a config dict.

    Parameters
    ----------
    config : mapping
        Not changed.
    at : str
        Dotted path of `config`.

    Returns
    -------
    (dict, list of TypedSource)
        What remains, and a source for each object, at the path where it was.

    Examples
    --------
    >>> from dataclasses import make_dataclass
    >>> Model = make_dataclass("Model", [("width", int, 64)])
    >>> split_typed({"model": Model(), "lr": 0.1})
    ({'lr': 0.1}, [TypedSource(Model, at='model')])
    """
    rest: dict[str, Any] = {}
    sources = []
    for name, value in config.items():
        here = join_path(at, str(name))
        if is_typed_class(type(value)):
            sources.append(TypedSource(value, here))
        elif type(value) is dict:
            inner, found = split_typed(value, here)
            sources.extend(found)
            if inner or not found:
                rest[name] = inner
        else:
            rest[name] = value
    return rest, sources


class TypedEntries:
    """A config source made of a dict some of whose values are objects of typed classes.

    Parameters
    ----------
    entries : mapping
        Objects of dataclasses, attrs classes and pydantic models become groups of typed entries, see `TypedSource`;
        the rest is as in any config dict.
    rules : KeyRules
        What keys may be.
    origin : Origin, optional
        Of the entries that are not typed.

    Attributes
    ----------
    sources : tuple of config sources
        What it stands for, in order: a dict, and one source for each object.
    """

    def __init__(
        self, entries: Mapping[str, Any], rules: KeyRules = DEFAULT_RULES, origin: Origin | None = None
    ) -> None:
        from capture.config.dicts import ConfigDict

        rest, typed = split_typed(entries)
        self.origin = origin or Origin("config dict")
        self.sources: tuple[Any, ...] = (ConfigDict(rest, self.origin, rules), *typed)

    def __call__(
        self,
        fixed: Mapping[str, Any] | None = None,
        preset: Mapping[str, Any] | None = None,
        fallback: Mapping[str, Any] | None = None,
    ) -> ConfigSummary:
        """Return the entries, as any config source does."""
        first, *others = self.sources
        summary: ConfigSummary = first(fixed, preset, fallback)
        for source in others:
            result = source(fixed, summary, fallback)
            summary.update(result)
            summary.update_from(result)
        return summary

    def conform(self, config: dict[str, Any], path: str = "", complete: bool = False) -> dict[str, Any]:
        """Convert the typed entries in `config`, see `TypedSource.conform`."""
        for source in self.sources[1:]:
            config = source.conform(config, path, complete)
        return config

    def objects(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Build the objects that `config` describes, see `TypedSource.objects`."""
        return {path: value for source in self.sources[1:] for path, value in source.objects(config).items()}

    @property
    def docs(self) -> dict[str, str]:
        return {path: text for source in self.sources for path, text in source.docs.items()}


def _objects_in(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, value
    for name in fields_of(type(value)):
        inner = getattr(value, name, None)
        if is_typed_class(type(inner)):
            yield from _objects_in(inner, join_path(path, name))


def _replace(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return `config` with `value` at `path`, or with nothing there if it is None."""
    name, _, rest = path.partition(".")
    if rest:
        group = config.get(name)
        inner = _replace(group if isinstance(group, dict) else {}, rest, value)
        value = inner if inner or value is not None else None
    others = {key: present for key, present in config.items() if key != name}
    return others if value is None else {**config, name: value}


def _differs(defaults: Mapping[str, Any], values: Mapping[str, Any], path: str) -> bool:
    return not equal(get_by_path(defaults, path, MISSING), get_by_path(values, path, MISSING))


# ---------------------------------------------------------------------------------------------- the class's source


def place_of(cls: type) -> tuple[str | None, int | None]:
    """Return the file and the line where `cls` is defined, None for what cannot be found out."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if file is None:
        return None, None
    line = cls.__dict__.get("__firstlineno__")  # 3.13 and newer
    if line is None:
        import linecache

        lines = linecache.getlines(file)
        places = list(_places_named(cls, lines))
        if len(places) > 1:  # of classes of one name, the one with these fields
            places = [place for place in places if _parsed(cls, lines, place) is not None]
        line = places[0] + 1 if places else None
    return file, line


def _places_named(cls: type, lines: list[str]) -> Iterator[int]:
    """Yield the index of each line that begins the definition of a class with the name of `cls`."""
    head = f"class {cls.__name__}"
    for number, line in enumerate(lines):
        text = line.lstrip()
        if text.startswith(head) and text[len(head) :].lstrip()[:1] in ("(", ":", "["):
            yield number


def _parsed(cls: type, lines: list[str], first: int) -> tuple[Any, list[str]] | None:
    """Parse the definition that begins in `lines` at index `first`, decorators or `class`.

    Returns
    -------
    (ast.ClassDef, list of str) or None
        The definition and its own lines; None if it is not that of `cls`, the file having been edited since.
    """
    import ast
    import textwrap

    indent = len(lines[first]) - len(lines[first].lstrip())
    last = first + 1
    while last < len(lines) and lines[last - 1].lstrip()[:5] != "class":  # on from a decorator
        last += 1
    while last < len(lines) and (not (text := lines[last].lstrip()) or len(lines[last]) - len(text) > indent):
        last += 1
    block = textwrap.dedent("".join(lines[first:last])).splitlines(keepends=True)
    try:
        node = ast.parse("".join(block)).body[0]
    except (SyntaxError, IndexError):
        return None
    if not isinstance(node, ast.ClassDef):
        return None
    fields = {n.target.id for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    return (node, block) if fields == set(raw_annotations(cls)) else None


def _docs_of(cls: Any, above: tuple[type, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield (dotted path, text) for the fields of `cls` and of the classes within it."""
    comments: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        comments.update(_comments_in(base))
    for name, field in fields_of(cls).items():
        text = field.doc or comments.get(name)
        if text:
            yield name, text
        inner = field.annotation
        if is_typed_class(inner) and inner not in (cls, *above):
            for path, inner_text in _docs_of(inner, (cls, *above)):
                yield join_path(name, path), inner_text


def _comments_in(cls: type) -> dict[str, str]:
    """Return what stands beside, above or (as a string) below the fields in the source of `cls`."""
    import ast
    import linecache

    file, line = place_of(cls)
    parsed = _parsed(cls, linecache.getlines(file), line - 1) if file is not None and line is not None else None
    if parsed is None:
        return {}
    from capture.config.comments import docs_from_comments

    # A class body reads like the body of a function without parameters.
    node, lines = parsed
    as_function = ast.FunctionDef(cls.__name__, ast.arguments([], [], None, [], [], None, []), node.body, [], None)
    docs = docs_from_comments(ast.copy_location(as_function, node), lines)
    docs.pop("__doc__", None)
    for field, below in zip(node.body, node.body[1:]):
        name = field.target.id if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) else None
        string = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else None
        if name is not None and isinstance(string, str):
            docs.setdefault(name, " ".join(string.split()))
    return docs
