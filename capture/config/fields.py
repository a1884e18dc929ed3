"""Typed classes: which fields a dataclass, an attrs class or a pydantic model has, and how its objects are made.

The three kinds differ only in this module. Everything else asks `fields_of`, `construct` and `plain`.
"""

from __future__ import annotations

import sys

from capture.config.layers import MISSING
from capture.config.updates import join_path, shorten
from capture.errors import ConfigError, ConfigTypeError, MissingConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any


class Field:
    """One field of a typed class.

    Attributes
    ----------
    name : str
    annotation : type or typing construct
        `MISSING` where there is none that can be evaluated, or where the class itself converts.
    doc : str
    converter : callable or None
        What the class applies to a value.
    """

    __slots__ = ("_default", "_factory", "annotation", "converter", "doc", "name")

    def __init__(
        self,
        name: str,
        annotation: Any,
        default: Any = MISSING,
        factory: Callable[[], Any] | None = None,
        doc: str = "",
        converter: Callable[[Any], Any] | None = None,
    ) -> None:
        self.name = name
        self.annotation = annotation
        self.doc = doc
        self.converter = converter
        self._default = default
        self._factory = factory

    def default(self) -> Any:
        """Return the default value; `MISSING` if there is none, `COMPUTED` if the class makes it from other fields."""
        return self._factory() if self._factory is not None else self._default


class _Computed:
    __slots__ = ()

    def __repr__(self) -> str:
        return "<computed>"


COMPUTED = _Computed()


# ---------------------------------------------------------------------------------------------- three kinds of class


def is_typed_class(cls: object) -> bool:
    """Say whether `cls` is a dataclass, an attrs class or a pydantic (2) model."""
    return isinstance(cls, type) and (
        hasattr(cls, "__dataclass_fields__") or hasattr(cls, "__attrs_attrs__") or is_pydantic(cls)
    )


def is_typed(value: object) -> bool:
    """Say whether `value` is a typed class or an object of one."""
    return is_typed_class(value) or is_typed_class(type(value))


def is_pydantic(cls: type) -> bool:
    # A class can only be a model if pydantic has been imported, so there is no need to import it to find out.
    return hasattr(cls, "model_fields") and hasattr(cls, "model_validate")


def kind_of(cls: type) -> str:
    """Return what `cls` is called in messages and origins: "pydantic model", "attrs class" or "dataclass"."""
    if is_pydantic(cls):
        return "pydantic model"
    return "attrs class" if hasattr(cls, "__attrs_attrs__") else "dataclass"


def fields_of(cls: Any) -> dict[str, Field]:
    """Return the fields that `cls` takes, by name and in order.

    Parameters
    ----------
    cls : type
        A typed class, see `is_typed_class`.
    """
    if is_pydantic(cls):
        fields = _pydantic_fields(cls)
    elif hasattr(cls, "__attrs_attrs__"):
        fields = _attrs_fields(cls, hints_of(cls))
    else:
        fields = _dataclass_fields(cls, hints_of(cls))
    return {field.name: field for field in fields}


def _dataclass_fields(cls: Any, hints: Mapping[str, Any]) -> Iterator[Field]:
    import dataclasses

    for field in dataclasses.fields(cls):
        if field.init:
            default = MISSING if field.default is dataclasses.MISSING else field.default
            factory = None if field.default_factory is dataclasses.MISSING else field.default_factory
            yield Field(field.name, hints.get(field.name, MISSING), default, factory, _doc_in(field.metadata))


def _attrs_fields(cls: Any, hints: Mapping[str, Any]) -> Iterator[Field]:
    import attr

    for field in cls.__attrs_attrs__:
        if not field.init:
            continue
        factory = None
        default: Any = MISSING if field.default is attr.NOTHING else field.default
        if hasattr(default, "takes_self"):  # attr.Factory
            default, factory = COMPUTED, None if default.takes_self else default.factory
        # A converter takes what the declared type does not tell; what it makes has that type.
        annotation = MISSING if field.converter is not None else hints.get(field.name, MISSING)
        converter = field.converter if not hasattr(field.converter, "takes_self") else None
        # In __init__, attrs calls `_name` by its alias `name`.
        yield Field(field.alias, annotation, default, factory, _doc_in(field.metadata), converter)


def _pydantic_fields(cls: Any) -> Iterator[Field]:
    for name, field in cls.model_fields.items():
        default = field.default
        if field.is_required():
            default = MISSING
        elif field.default_factory is not None:
            default = COMPUTED
        yield Field(name, field.annotation, default, None, field.description or "")


def _doc_in(metadata: Mapping[Any, Any]) -> str:
    for key in ("doc", "help", "description"):
        if isinstance(metadata.get(key), str):
            return metadata[key]
    return ""


def takes_more(cls: Any) -> bool:
    """Say whether `cls` accepts entries that are no fields of it."""
    return is_pydantic(cls) and cls.model_config.get("extra") == "allow"


# ---------------------------------------------------------------------------------------------- annotations


def hints_of(cls: Any) -> dict[str, Any]:
    """Return the evaluated annotations of `cls`; one that cannot be evaluated is left out, the others stay."""
    import typing

    try:
        return typing.get_type_hints(cls, include_extras=True)
    except Exception:  # noqa: BLE001 - an annotation is code of the user's and may raise anything; see below
        pass
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        names = {**vars(sys.modules.get(base.__module__, typing)), **vars(base)}
        for name, annotation in raw_annotations(base).items():
            evaluated = evaluate_annotation(annotation, names)
            if evaluated is not MISSING:
                hints[name] = evaluated
    return hints


def raw_annotations(cls: type) -> Mapping[str, Any]:
    """Return the annotations of `cls` itself, not those it inherits, as they are written down."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return vars(cls).get("__annotations__", {})


def evaluate_annotation(annotation: Any, names: Mapping[str, Any]) -> Any:
    """Return the type that `annotation` means where it is a string, `MISSING` where that cannot be found out."""
    if not isinstance(annotation, str):
        return annotation
    try:
        # The annotation is source code of the user's own, of a class that has long been imported.
        return eval(annotation, dict(names))  # noqa: S307
    except Exception:  # noqa: BLE001 - as above
        return MISSING


# ---------------------------------------------------------------------------------------------- objects


def plain(value: Any) -> Any:
    """Return `value` with every object of a typed class in it replaced by the dict of its fields.

    Containers are rebuilt. Anything else, enums and paths among them, stays what it is.
    """
    cls = type(value)
    if cls is dict:
        return {key: plain(inner) for key, inner in value.items()}
    if cls is list or cls is tuple:
        return cls([plain(inner) for inner in value])
    if not is_typed_class(cls):
        return value
    if is_pydantic(cls):
        return {name: plain(getattr(value, name)) for name in [*cls.model_fields, *(value.model_extra or {})]}
    entries = {}
    for name in fields_of(cls):
        # attrs keeps what it takes as `name` under `_name`; an InitVar is kept nowhere.
        inner = getattr(value, name, getattr(value, "_" + name, MISSING))
        if inner is not MISSING:
            entries[name] = plain(inner)
    return entries


def ask_for(missing: list[str], cls: Any, path: str) -> None:
    """Refuse to go on without values for the fields `missing` of `cls`.

    Raises
    ------
    MissingConfigError
        If there are any.
    """
    if missing:
        paths = [join_path(path, name) for name in missing]
        entries, have = ("config entry", "has") if len(paths) == 1 else ("config entries", "have")
        raise MissingConfigError(
            f"{entries} {', '.join(paths)} of {cls.__name__} {have} no value and no default."
            f"\n  to set one:  {paths[0]}=VALUE",
            missing_configs=paths,
            print_usage=False,
        )


def construct(cls: Any, entries: Mapping[str, Any], path: str) -> Any:
    """Call `cls`, so that its own checks run; what they say is raised with the path of the entry.

    Raises
    ------
    MissingConfigError
        If a field without default is missing.
    ConfigTypeError
        If the class refuses the values.
    """
    fields = fields_of(cls)
    ask_for([name for name in fields if name not in entries and fields[name].default() is MISSING], cls, path)
    try:
        if is_pydantic(cls):
            return cls.model_validate(_by_alias(cls, entries))
        return cls(**entries)
    except ConfigError:
        raise
    except Exception as error:
        raise _refused_by_class(cls, path, error) from error


def _by_alias(cls: Any, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return `entries` under the names that validation wants: an alias, unless the model also takes plain names."""
    if cls.model_config.get("populate_by_name") or cls.model_config.get("validate_by_name"):
        return dict(entries)
    renamed = {}
    for name, value in entries.items():
        field = cls.model_fields.get(name)
        alias = getattr(field, "validation_alias", None) or getattr(field, "alias", None)
        renamed[alias if isinstance(alias, str) else name] = value
    return renamed


def _refused_by_class(cls: Any, path: str, error: Exception) -> ConfigTypeError:
    details = getattr(error, "errors", None)
    if not (is_pydantic(cls) and callable(details)):
        return ConfigTypeError(path, f"{cls.__name__} refuses these values: {error}")
    problems = pydantic_problems(details(), path)
    (first, text), *others = problems
    return ConfigTypeError(first, "\n".join([text, *(f"{place}: {other}" for place, other in others)]))


def pydantic_problems(details: list[Any], path: str) -> list[tuple[str, str]]:
    """Return (dotted path, message) for each problem that pydantic found."""
    return [
        (
            join_path(path, *(str(part) for part in problem["loc"])),
            # What a check of the whole model was given is the whole model, which helps nobody.
            problem["msg"] if isinstance(problem["input"], dict) else f"{shorten(problem['input'])}: {problem['msg']}",
        )
        for problem in details
    ]
