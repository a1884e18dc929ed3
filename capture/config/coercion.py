"""Convert config values to declared types, without losing anything, or say exactly why not.

`coerce` gives values as a config holds them: an object of a typed class is the dict of its fields. `build` gives the
objects themselves, for functions that ask for them.

Each simple type has one small function below, found in a table; what `typing` builds from them is `_Coercion`'s.
"""

from __future__ import annotations

import math
import sys

from capture.codec import Opaque, StoredEnum, decode
from capture.config.fields import (
    ask_for,
    construct,
    fields_of,
    hints_of,
    is_pydantic,
    is_typed_class,
    plain,
    pydantic_problems,
    takes_more,
)
from capture.config.layers import MISSING
from capture.config.updates import join_path, merge, shorten
from capture.errors import ConfigTypeError, MissingConfigError, suggest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from capture.config.fields import Field

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_NONE = frozenset({"none", "null"})


def coerce(value: Any, annotation: Any, path: str, default: Any = MISSING) -> Any:
    """Convert `value` to what `annotation` says, as a config holds it.

    Parameters
    ----------
    value : object
        As it came from a command line, a file or code.
    annotation : type or typing construct
        Unknown constructs (type variables, protocols, callables) accept anything.
    path : str
        Dotted path of the entry, for messages.
    default : object
        What the entry would be otherwise: a partial dict for a nested class is laid over it.

    Returns
    -------
    object
        The converted value. An object of a typed class is returned as the dict of its fields; see `build` for the
        object itself.

    Raises
    ------
    ConfigTypeError
        If there is no conversion that loses nothing. It names the path (within lists too), the value, and what is
        possible.

    Examples
    --------
    >>> coerce("3e-4", float, "lr"), coerce("true", bool, "flag"), coerce([1, 2], tuple[float, ...], "betas")
    (0.0003, True, (1.0, 2.0))
    """
    return _Coercion().convert(value, annotation, path, default)


def build(cls: Any, mapping: Any, path: str = "") -> Any:
    """Make the object of class `cls` that `mapping` describes.

    Parameters
    ----------
    cls : type
        A typed class, or an annotation that mentions one (``Optional[Model]``, ``list[Layer]``).
    mapping : dict
        The entries, as they lie in the config. Keys that are no fields are refused.
    path : str
        Dotted path of the entries, for messages.

    Raises
    ------
    ConfigTypeError
        If a value does not fit its field, or the class refuses the values.
    MissingConfigError
        If a field without default has no value.

    Examples
    --------
    >>> from dataclasses import make_dataclass
    >>> Model = make_dataclass("Model", [("width", int, 64)])
    >>> build(Model, {"width": "8"})
    Model(width=8)
    """
    return _Coercion(objects=True).convert(mapping, cls, path)


def coerce_part(cls: Any, entries: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Convert those fields of `cls` that are in `entries`, and ask nothing of those that are not.

    Parameters
    ----------
    cls : type
        A typed class.
    entries : mapping
        Some of its fields; nested classes may be partial too.
    path : str
        Dotted path of the entries, for messages.

    Returns
    -------
    dict
        As a config holds it. The checks of the class itself have not run.

    Raises
    ------
    ConfigTypeError
        If a value does not fit its field, or there is no such field.
    """
    return _Coercion(partial=True).entries(cls, entries, path)


class _Coercion:
    """Converts values to annotations.

    Parameters
    ----------
    objects : bool
        Whether typed classes come out as objects, and not as dicts.
    partial : bool
        Whether the dict for a typed class may leave out fields.
    """

    def __init__(self, objects: bool = False, partial: bool = False) -> None:
        self.objects = objects
        self.partial = partial

    def convert(self, value: Any, annotation: Any, path: str, default: Any = MISSING) -> Any:
        import typing

        if annotation is MISSING or annotation is typing.Any or annotation is object:
            return self._as_it_is(value)
        if annotation is None:
            annotation = type(None)
        origin = typing.get_origin(annotation)
        arguments = typing.get_args(annotation)
        if origin is typing.Annotated or getattr(origin, "__name__", "") in ("Required", "NotRequired", "ReadOnly"):
            return self.convert(value, arguments[0], path, default)
        if _is_final(origin):
            return self.convert(value, arguments[0], path, default)
        if hasattr(annotation, "__supertype__"):  # typing.NewType
            return self.convert(value, annotation.__supertype__, path, default)
        if type(annotation).__name__ == "TypeAliasType":  # the `type` statement of 3.12
            return self.convert(value, annotation.__value__, path, default)
        if _is_union(origin):
            return self._union(value, annotation, arguments, path, default)
        if origin is typing.Literal:
            return _literal(value, arguments, path)
        if origin is not None:
            return self._generic(value, annotation, origin, arguments, path)
        if isinstance(annotation, type):
            return self._class(value, annotation, path, default)
        return self._as_it_is(value)  # a type variable or an annotation left as a string says nothing about the value

    def _as_it_is(self, value: Any) -> Any:
        return value if self.objects else plain(value)

    # ------------------------------------------------------------------ typing constructs

    def _union(self, value: Any, annotation: Any, members: tuple[Any, ...], path: str, default: Any) -> Any:
        if type(None) in members and (value is None or (isinstance(value, str) and value.lower() in _NONE)):
            return None
        # A value that already has one of the types keeps it: in `float | str`, "nan" is a string and 1.5 a float.
        for member in members:
            if type(value) is member:
                return value
        if isinstance(value, Opaque):  # so does one that was recorded
            members = tuple(sorted(members, key=lambda each: not (isinstance(each, type) and value.is_of(each))))
        refusals = []
        for member in members:
            if member is not type(None):
                try:
                    return self.convert(value, member, path, default)
                except (ConfigTypeError, MissingConfigError) as error:
                    refusals.append(error)
        if len(refusals) == 1:  # Optional[X]: what X says is more exact
            raise refusals[0]
        raise _refusal(path, value, name_of(annotation))

    def _generic(self, value: Any, annotation: Any, origin: Any, arguments: tuple[Any, ...], path: str) -> Any:
        import collections.abc as abc

        if is_typed_class(origin):
            return self._class(value, origin, path, MISSING)
        if not isinstance(origin, type) or issubclass(origin, abc.Callable):  # type: ignore[arg-type]
            return value
        if issubclass(origin, tuple):
            return self._tuple(value, annotation, arguments, path)
        if issubclass(origin, abc.Mapping):
            return self._mapping(value, annotation, arguments, path)
        if issubclass(origin, abc.Iterable):
            item = arguments[0] if arguments else MISSING
            container = _container_for(origin, value)
            # What is in a set stays an object, since no set holds dicts.
            coercion = _Coercion(objects=True) if container in (set, frozenset) else self
            return container(
                coercion.convert(inner, item, f"{path}[{i}]") for i, inner in enumerate(_items(value, annotation, path))
            )
        if isinstance(value, origin):
            return value
        raise _refusal(path, value, name_of(annotation))

    def _tuple(self, value: Any, annotation: Any, arguments: tuple[Any, ...], path: str) -> Any:
        items = _items(value, annotation, path)
        if not arguments:
            return tuple(items)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(self.convert(inner, arguments[0], f"{path}[{i}]") for i, inner in enumerate(items))
        wanted = () if arguments == ((),) else arguments
        if len(items) != len(wanted):
            raise _refusal(path, value, f"{name_of(annotation)}: it has {len(items)} elements, not {len(wanted)}")
        return tuple(self.convert(inner, wanted[i], f"{path}[{i}]") for i, inner in enumerate(items))

    def _mapping(self, value: Any, annotation: Any, arguments: tuple[Any, ...], path: str) -> Any:
        if not isinstance(value, dict):
            raise _refusal(path, value, name_of(annotation))
        key_type, value_type = arguments or (MISSING, MISSING)
        return {
            self.convert(key, key_type, f"a key of {path}"): self.convert(inner, value_type, join_path(path, str(key)))
            for key, inner in value.items()
        }

    # ------------------------------------------------------------------ classes

    def _class(self, value: Any, cls: type, path: str, default: Any) -> Any:
        import enum

        if is_typed_class(cls):
            return self._typed(value, cls, path, default)
        if hasattr(cls, "__total__") and hasattr(cls, "__required_keys__"):
            return self._typed_dict(value, cls, path)
        if issubclass(cls, tuple) and hasattr(cls, "_fields"):
            return self._named_tuple(value, cls, path)
        if issubclass(cls, enum.Enum):
            return _member(value, cls, path)
        simple = _coercer_of(cls)
        if simple is not None:
            return simple(value, cls, path)
        if _is_numpys(cls):
            return _to_numpys(value, cls, path)
        if issubclass(cls, (list, set, frozenset, tuple)):
            return value if isinstance(value, cls) else cls(_items(value, cls, path))
        try:
            fits = isinstance(value, cls)
        except TypeError:  # a protocol that cannot be checked at runtime
            fits = True
        if fits:
            return value
        raise _refusal(path, value, name_of(cls))

    def _typed(self, value: Any, cls: Any, path: str, default: Any) -> Any:
        if isinstance(value, cls):
            return value if self.objects else plain(value)
        # In a set, objects are recorded as objects.
        if isinstance(value, Opaque) and value.fields is not None and value.is_of(cls):
            value = decode(value.fields)
        if not isinstance(value, dict):
            raise _refusal(path, value, f"a group of entries ({cls.__name__}: {', '.join(fields_of(cls))})")
        if self.partial:
            return self.entries(cls, value, path)
        base = plain(default) if isinstance(default, cls) else default if isinstance(default, dict) else {}
        instance = construct(cls, _Coercion(objects=True).entries(cls, merge(base, value), path), path)
        return instance if self.objects else plain(instance)

    def entries(self, cls: Any, given: Mapping[str, Any], path: str) -> dict[str, Any]:
        """Convert those of `given` that are fields of `cls`; anything else is refused, unless the class takes it."""
        fields = fields_of(cls)
        converted = {}
        for name, value in given.items():
            here = join_path(path, str(name))
            if name in fields:
                converted[name] = self._field(cls, fields[name], value, here)
            elif takes_more(cls):
                converted[name] = value
            else:
                raise ConfigTypeError(here, _unknown(name, fields, cls, path))
        return converted

    def _field(self, cls: Any, field: Field, value: Any, path: str) -> Any:
        if is_pydantic(cls) and not _holds_class(field.annotation):
            # pydantic converts by rules of its own (constrained and secret types), when the object is made.
            return _by_pydantic(cls, field, value, path) if self.partial else value
        if field.converter is not None and self.partial:
            try:
                return field.converter(value.value if isinstance(value, StoredEnum) else value)
            except Exception as error:
                raise ConfigTypeError(path, f"{shorten(value)} is refused by its converter: {error}") from error
        return self.convert(value, field.annotation, path, field.default())

    def _typed_dict(self, value: Any, cls: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise _refusal(path, value, f"a group of entries ({cls.__name__}: {', '.join(cls.__annotations__)})")
        hints = hints_of(cls)
        for name in value:
            if name not in hints:
                raise ConfigTypeError(join_path(path, str(name)), _unknown(name, hints, cls, path))
        ask_for(sorted(set(cls.__required_keys__) - value.keys()), cls, path)
        return {name: self.convert(inner, hints[name], join_path(path, name)) for name, inner in value.items()}

    def _named_tuple(self, value: Any, cls: Any, path: str) -> Any:
        hints = hints_of(cls)
        if isinstance(value, dict):
            for name in value:
                if name not in cls._fields:
                    raise ConfigTypeError(join_path(path, str(name)), _unknown(name, cls._fields, cls, path))
            given = dict(value)
        else:
            items = _items(value, cls, path)
            if len(items) > len(cls._fields):
                raise _refusal(path, value, f"{cls.__name__}({', '.join(cls._fields)})")
            given = dict(zip(cls._fields, items))
        given = {**cls._field_defaults, **given}
        ask_for([name for name in cls._fields if name not in given], cls, path)
        return cls(**{n: self.convert(v, hints.get(n, MISSING), join_path(path, n)) for n, v in given.items()})


def _holds_class(annotation: Any) -> bool:
    """Say whether `annotation` is a typed class, an enum or a number of NumPy's, or offers one among others."""
    import enum
    import typing

    arguments = typing.get_args(annotation)
    if not arguments and isinstance(annotation, type):  # Python 3.10 calls list[int] a type, too
        return is_typed_class(annotation) or issubclass(annotation, enum.Enum) or _is_numpys(annotation)
    if isinstance(annotation, enum.Enum):  # one of a Literal
        return True
    return any(map(_holds_class, arguments))


def _by_pydantic(cls: Any, field: Field, value: Any, path: str) -> Any:
    import typing

    import pydantic

    metadata = cls.model_fields[field.name].metadata
    annotation: Any = field.annotation
    for constraint in metadata:
        annotation = typing.Annotated[annotation, constraint]
    strict = cls.model_config.get("strict")
    try:
        return pydantic.TypeAdapter(annotation).validate_python(value, strict=strict)
    except pydantic.ValidationError as error:
        place, text = pydantic_problems(error.errors(), path)[0]
        raise ConfigTypeError(place, text) from error


def _is_union(origin: Any) -> bool:
    import types
    import typing

    return origin is typing.Union or origin is types.UnionType


def _is_final(origin: Any) -> bool:
    import dataclasses
    import typing

    return origin in (typing.Final, typing.ClassVar, dataclasses.InitVar)


def _container_for(origin: type, value: Any) -> Callable[[Iterable[Any]], Any]:
    """Return what to make for an annotation such as list[int], or for an abstract one such as Sequence[int]."""
    if origin in (list, set, frozenset):
        return origin
    return type(value) if type(value) in (list, tuple, set, frozenset) else list


def _items(value: Any, annotation: Any, path: str) -> list[Any]:
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    tolist = getattr(value, "tolist", None)  # an array
    if tolist is not None and isinstance(listed := tolist(), list):
        return listed
    raise _refusal(path, value, name_of(annotation))


def _literal(value: Any, choices: tuple[Any, ...], path: str) -> Any:
    for choice in choices:
        if value == choice and type(value) is type(choice):
            return choice
        if isinstance(value, StoredEnum) and value.is_of(type(choice)) and value.name == getattr(choice, "name", None):
            return choice
    for choice in choices:
        # The command line reads `mode=1` as a number, and 'true' as a string.
        if not isinstance(value, (list, dict)) and str(value).lower() == str(choice).lower():
            return choice
    raise _no_choice(path, value, [repr(choice) for choice in choices], [str(choice) for choice in choices])


def _member(value: Any, cls: Any, path: str) -> Any:
    import enum

    if isinstance(value, cls):
        return value
    if isinstance(value, StoredEnum):  # by its name; by its value where it has none, or has been renamed
        if value.name in cls.__members__:
            return cls.__members__[value.name]
        value = value.value
    for member in cls.__members__.values():
        same = value == member.value and isinstance(value, bool) is isinstance(member.value, bool)
        if same or (isinstance(value, str) and value == member.name):
            return member
    if isinstance(value, str):
        for name, member in cls.__members__.items():
            if value.lower() in (name.lower(), str(member.value).lower(), f"{cls.__name__}.{name}".lower()):
                return member
    if issubclass(cls, enum.Flag) and isinstance(value, int):
        try:
            return cls(value)
        except ValueError:
            pass
    names = list(cls.__members__)
    raise _no_choice(path, value, names, names)


# ---------------------------------------------------------------------------------------------- simple types


def _coercer_of(cls: type) -> Callable[[Any, Any, str], Any] | None:
    coercer = _SIMPLE.get(cls)
    if coercer is not None:
        return coercer
    if cls.__module__ in ("pathlib", "pathlib._local"):
        return _to_path
    if cls.__module__ in ("datetime", "decimal", "fractions", "uuid"):
        return _from_text
    if issubclass(cls, dict):
        return _to_dict
    return None


def _to_bool(value: Any, cls: Any, path: str) -> bool:
    if isinstance(value, bool):
        return value
    text = value.lower() if isinstance(value, str) else str(value) if value in (0, 1) else ""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise _refusal(path, value, "bool (true or false)")


def _to_int(value: Any, cls: Any, path: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        if isinstance(value, str):
            return int(value, 10) if value[:2].lower() not in ("0x", "0b", "0o") else int(value, 0)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if hasattr(value, "__index__") and not isinstance(value, bool):
            return value.__index__()
    except (ValueError, OverflowError):
        pass
    raise _refusal(path, value, "int")


def _to_float(value: Any, cls: Any, path: str) -> float:
    if isinstance(value, float):
        return value
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise _refusal(path, value, "float")


def _to_complex(value: Any, cls: Any, path: str) -> complex:
    if isinstance(value, (int, float, complex, str)) and not isinstance(value, bool):
        try:
            return complex(value)
        except ValueError:
            pass
    raise _refusal(path, value, "complex")


def _to_str(value: Any, cls: Any, path: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    # `version=1.10` has been read as the number 1.1 by now; guessing the text back would lose the zero.
    raise ConfigTypeError(
        path, f"{shorten(value)} is not a str.\n  to pass a string:  quote it twice, {path}='\"{shorten(value)}\"'"
    )


def _to_bytes(value: Any, cls: Any, path: str) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return value if type(value) is cls else cls(value)
    raise _refusal(path, value, f"{cls.__name__} (b'...')")


def _is_numpys(cls: type) -> bool:
    """Say whether a class is that of a number, or another single value, of NumPy's."""
    return cls.__module__ == "numpy" and issubclass(cls, sys.modules["numpy"].generic)


def _to_numpys(value: Any, cls: Any, path: str) -> Any:
    """Convert a number, which is recorded as one of Python's; of a float the last digits may not fit, as ever."""
    numpy = sys.modules["numpy"]
    if isinstance(value, cls):
        return value
    try:
        if issubclass(cls, numpy.bool_):
            return cls(_to_bool(value, bool, path))
        if issubclass(cls, numpy.integer):
            number = _to_int(value, int, path)
            if numpy.iinfo(cls).min <= number <= numpy.iinfo(cls).max:
                return cls(number)
        elif issubclass(cls, numpy.floating):
            wanted = _to_float(value, float, path)
            with numpy.errstate(over="ignore"):
                converted = cls(wanted)
            if math.isfinite(converted) or not math.isfinite(wanted):
                return converted
        elif issubclass(cls, numpy.complexfloating):
            return cls(_to_complex(value, complex, path))
        elif issubclass(cls, (numpy.character, numpy.datetime64, numpy.timedelta64)):
            return cls(value)
    except (ConfigTypeError, ValueError, TypeError):
        pass
    raise _refusal(path, value, f"number of numpy's ({cls.__name__})")


def _to_none(value: Any, cls: Any, path: str) -> None:
    if value is None or (isinstance(value, str) and value.lower() in _NONE):
        return
    raise _refusal(path, value, "None")


def _to_dict(value: Any, cls: Any, path: str) -> Any:
    if isinstance(value, cls):
        return value
    if isinstance(value, dict):
        return cls(value)
    raise _refusal(path, value, "a group of entries (dict)")


def _to_path(value: Any, cls: Any, path: str) -> Any:
    if isinstance(value, cls):
        return value
    if isinstance(value, str) or hasattr(value, "__fspath__"):
        return cls(str(value))  # one of another system's would be read by the rules of that
    if isinstance(value, int) and not isinstance(value, bool):  # a folder named after a year
        return cls(str(value))
    raise _refusal(path, value, "path")


def _from_text(value: Any, cls: Any, path: str) -> Any:
    """Convert to a date, a time, a span, an exact number or a UUID."""
    if isinstance(value, cls):
        return value
    try:
        if cls.__name__ == "timedelta" and isinstance(value, (int, float)) and not isinstance(value, bool):
            return cls(seconds=value)
        if isinstance(value, str) and hasattr(cls, "fromisoformat"):
            # Before 3.11 fromisoformat did not know the Z that everybody writes for UTC.
            return cls.fromisoformat(value[:-1] + "+00:00" if value[-1:] in ("Z", "z") else value)
        if isinstance(value, str) or (cls.__module__ in ("decimal", "fractions") and type(value) is int):
            return cls(value)
        if cls.__module__ in ("decimal", "fractions") and type(value) is float:
            return cls(repr(value))  # 0.1 means a tenth, not the double nearest to it
    except (ValueError, TypeError, ArithmeticError, OverflowError):
        pass
    wanted = {"timedelta": "timedelta (a number of seconds)"}.get(cls.__name__, cls.__name__)
    raise _refusal(path, value, wanted)


_SIMPLE: dict[type, Callable[[Any, Any, str], Any]] = {
    bool: _to_bool,
    int: _to_int,
    float: _to_float,
    complex: _to_complex,
    str: _to_str,
    bytes: _to_bytes,
    bytearray: _to_bytes,
    type(None): _to_none,
    dict: _to_dict,
}


# ---------------------------------------------------------------------------------------------- messages


def name_of(annotation: Any) -> str:
    """Return an annotation as people write it: ``list[int]``, ``float | None``."""
    import typing

    if annotation is type(None):
        return "None"
    arguments = typing.get_args(annotation)
    if _is_union(typing.get_origin(annotation)):
        return " | ".join(name_of(member) for member in arguments)
    if arguments or not isinstance(annotation, type):
        return str(annotation).replace("typing.", "")
    return annotation.__name__


def _refusal(path: str, value: Any, wanted: str) -> ConfigTypeError:
    kind = "" if isinstance(value, (str, type(None))) else f" ({type(value).__name__})"
    return ConfigTypeError(path, f"{shorten(value)}{kind} is not {_a(wanted)}")


def _a(wanted: str) -> str:
    return wanted if wanted.startswith(("a ", "None")) else f"{'an' if wanted[0] in 'aeiou' else 'a'} {wanted}"


def _no_choice(path: str, value: Any, choices: list[str], names: list[str]) -> ConfigTypeError:
    close = suggest(value, names) or suggest(str(value).upper(), names) or suggest(str(value).lower(), names)
    hint = f"\n  did you mean:  {close}" if close else ""
    return ConfigTypeError(path, f"{shorten(value)} is not one of {', '.join(choices)}{hint}")


def _unknown(name: Any, fields: Iterable[str], cls: Any, path: str) -> str:
    known = [join_path(path, field) for field in fields]
    close = suggest(join_path(path, str(name)), known)
    hint = f"\n  did you mean:   {close}" if close else ""
    return f"{cls.__name__} has no field {str(name)!r}.{hint}\n  known entries:  {', '.join(known)}"
