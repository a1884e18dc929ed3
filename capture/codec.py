"""Values to strict JSON and back, without ever running code that a record holds.

What JSON has stays as it is. The rest is tagged, by jsonpickle's own tags where those say enough (so that tools
written for Sacred read them), by ``capture/...`` where they do not:

================================  ===============================================================
value                             stored as
================================  ===============================================================
tuple, set                        ``{"py/tuple": [...]}``, ``{"py/set": [...]}``
frozenset, complex                ``{"capture/frozenset": [...]}``, ``{"capture/complex": [re, im]}``
bytes                             ``{"py/b64": "..."}``
NaN, infinity                     ``{"capture/float": "nan" | "inf" | "-inf"}``
an integer beyond 64 bits         ``{"capture/int": "..."}``
a string with lone surrogates     ``{"capture/str": base64 of UTF-8 with surrogates}``
a key that is not a string        ``"json://"`` and the key as JSON
datetime, date, time, timedelta   ``{"capture/datetime": ISO 8601}`` ..., seconds for timedelta
Path, Decimal, Fraction, UUID     ``{"capture/path": "..."}`` ...
a numpy array of 1,000 numbers    ``{"py/object": "numpy.ndarray", "dtype", "values"}``, with ``"shape"``
or fewer, all finite              where it is empty, ``"order": "F"`` where its columns lie together
another numpy array               ``{"capture/ndarray": {"dtype", "shape", "values" | "data" | "objects"}}``
a pandas Series, DataFrame        ``{"capture/series": {...}}``, ``{"capture/dataframe": {...}}``
an enum member, a dataclass       ``{"capture/enum": {...}}``, ``{"capture/dataclass": {...}}``
a function, a class               ``{"py/function": "module.name"}``, ``{"py/type": "module.name"}``
another object of modest size     jsonpickle's form, ``{"py/object": "module.name", ...}``
anything else                     ``{"capture/repr": {"type", "repr"}}``
a value that contains itself      ``{"capture/cycle": levels up}``
================================  ===============================================================

`decode` goes through a fixed table. Dataclasses, functions and objects come back as `Opaque`: inert data that knows the
name of its type and encodes to the same JSON again; enum members as `StoredEnum`, which knows its name and value, too.
"""

from __future__ import annotations

import math
import sys

from capture import plainjson
from capture.errors import RecordError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

MAX_DEPTH = 200  #: levels of nesting that are stored; what lies deeper is stored as its repr
MAX_REPR = 2_000  #: characters kept of the repr of an object
MAX_OBJECT_NODES = 2_000  #: an object that reaches more values than this is stored as its repr
_MAX_STATE = 80  #: characters that an inert object shows of its state
_SMALL_ARRAY = 1_000  #: arrays up to this many elements are stored as readable numbers

_INT_MIN, _INT_MAX = -(2**63), 2**64
#: how a key of a stored dict begins that is no key of the user's, or stands for one that is not a string
TAG_PREFIXES = ("py/", "capture/", "json://")
MEMBER_TAGS = ("capture/enum", "py/reduce")  #: what members of enumerations are stored under
MEMBER_PARTS = ("name", "value")  #: what a path may end in that leads to one
_CONTAINERS = frozenset({dict, list})
_TAG_MARKS = ("\\", *(f'"{prefix}' for prefix in TAG_PREFIXES))  #: JSON text without one of these has no tag
_TAG_MARKS_ENCODED = tuple(mark.encode() for mark in _TAG_MARKS)


class Opaque:
    """A stored value that is not rebuilt: the name of its type and its data, nothing that runs.

    Attributes
    ----------
    type : str
        ``module.name`` of the class it had.
    data : object
        The stored JSON form.
    """

    __slots__ = ("data", "type")

    def __init__(self, type: str, data: Any) -> None:
        self.type = type
        self.data = data

    @property
    def fields(self) -> dict[str, Any] | None:
        """The stored fields of an object, by name; None for what is no object, or was stored in another way."""
        data = self.data
        if not isinstance(data, dict):
            return None
        described = data.get("capture/dataclass")
        if isinstance(described, dict):
            fields = described.get("fields")
            return fields if isinstance(fields, dict) else None
        if "py/object" not in data or any(key.startswith("py/") for key in data if key != "py/object"):
            return None
        return {key: item for key, item in data.items() if key != "py/object"}

    def is_of(self, cls: type) -> bool:
        """Say whether it was an object of a class of this name; which module that is in depends on what was started."""
        return self.type.rpartition(".")[2] == cls.__name__

    def __repr__(self) -> str:
        if isinstance(self.data, dict) and set(self.data) == {"capture/repr"}:
            return str(self.data["capture/repr"].get("repr"))
        state = self._state()
        return f"<stored {self.type}{f': {state}' if state else ''}>"

    def _state(self) -> str:
        """Return what tells it from others of its type, in few words; "" if its type says all."""
        fields = self.fields
        if fields is not None:
            text = ", ".join(f"{name}={_short_json(item)}" for name, item in fields.items())
        elif isinstance(self.data, dict) and len(self.data) == 1 and self.type in self.data.values():
            return ""  # a function, a class
        else:
            text = _short_json(self.data)
        if len(text) <= _MAX_STATE:
            return text
        return f"{text[:_MAX_STATE]}... #{_checksum(self.data)}"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[Any, ...]:
        return self.type, _sorted_json(self.data)


class StoredEnum(Opaque):
    """A member of an enumeration, as it was stored: what it was called and what it stood for.

    Two are equal if they are members of one name and value of enumerations of one name, in whichever module: a script
    that is started is called ``__main__``. In a condition one is equal to its name and to its value, too.

    Attributes
    ----------
    name : str or None
        None where only the value was stored: in Sacred's records, and of flags that have no name.
    value : object

    Examples
    --------
    >>> import enum
    >>> member = decode(encode(enum.Enum("Optimizer", {"ADAM": "adam", "SGD": "sgd"}).SGD))
    >>> member, str(member), member.value
    (Optimizer.SGD, 'SGD', 'sgd')
    """

    __slots__ = ("name", "value")

    def __init__(self, type: str, data: Any, name: str | None, value: Any) -> None:
        super().__init__(type, data)
        self.name, self.value = name, value

    def __str__(self) -> str:
        return str(self.value) if self.name is None else self.name

    def __repr__(self) -> str:
        class_name = self.type.rpartition(".")[2]
        return f"{class_name}({self.value!r})" if self.name is None else f"{class_name}.{self.name}"

    def _identity(self) -> tuple[Any, ...]:
        return self.type.rpartition(".")[2], self.name, _sorted_json(encode(self.value))


def _short_json(data: Any) -> str:
    return _json(data, separators=(",", ":"), ensure_ascii=False)


def _sorted_json(data: Any) -> str:
    return _json(data, sort_keys=True)


def _json(data: Any, **options: Any) -> str:
    try:
        return plainjson.dumps(data, **options)
    except TypeError:  # a store that has times, or arrays, of its own gives them as such
        return plainjson.dumps(encode(data), **options)


def _checksum(data: Any) -> str:
    from zlib import crc32

    return f"{crc32(_sorted_json(data).encode()):08x}"


def dumps(value: object, **options: Any) -> str:
    """Encode `value` and write it as strict JSON text; `options` go to `json.dumps`."""
    options.setdefault("separators", None if "indent" in options else (",", ":"))
    return plainjson.dumps(encode(value), allow_nan=False, ensure_ascii=False, **options)


def loads(text: str | bytes) -> Any:
    """Read JSON text written by `dumps`, by Sacred or by jsonpickle; a `RecordError` names what is broken."""
    try:
        data = plainjson.loads(text)
        return data if is_untagged(text) else decode(data)
    except (ValueError, RecursionError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"not readable as JSON: {error}") from error


# ---------------------------------------------------------------------------------------------------------- encoding


def encode(value: object) -> Any:
    """Turn any value into what strict JSON can hold.

    Parameters
    ----------
    value : object
        It is read, never changed. Objects that cannot be stored become their repr.

    Returns
    -------
    dict, list, str, int, float, bool or None

    Examples
    --------
    >>> encode({"layers": (64, 32), "lr": 0.1})
    {'layers': {'py/tuple': [64, 32]}, 'lr': 0.1}
    >>> decode(_)
    {'layers': (64, 32), 'lr': 0.1}
    """
    return _encode(value, [])


def _encode(value: Any, path: list[int]) -> Any:
    encoder = _EXACT.get(type(value))
    return encoder(value, path) if encoder is not None else _encode_other(value, path)


def _encode_other(value: Any, path: list[int]) -> Any:
    try:
        return _encoder_for(value)(value, path)
    except Exception:  # noqa: BLE001 - properties, methods and metaclasses of the user's may raise whatever they like
        return _repr(value, path)


def _same(value: Any, path: list[int]) -> Any:
    return value


def _int(value: int, path: list[int]) -> Any:
    return value if _INT_MIN <= value < _INT_MAX else {"capture/int": str(value)}


def _float(value: float, path: list[int]) -> Any:
    return value if math.isfinite(value) else {"capture/float": repr(value)}


def _str(value: str, path: list[int]) -> Any:
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return {"capture/str": _b64(value.encode("utf-8", "surrogatepass"))}
    return value


def _nested(encode_items: Callable[[Any, list[int]], Any]) -> Callable[[Any, list[int]], Any]:
    """Wrap the encoder of a container: containers that hold themselves, or nest too deep, end there."""

    def encoder(value: Any, path: list[int]) -> Any:
        if id(value) in path:
            return {"capture/cycle": len(path) - path.index(id(value))}
        if len(path) >= MAX_DEPTH:
            return _repr(value, path)
        path.append(id(value))
        try:
            return encode_items(value, path)
        finally:
            path.pop()

    return encoder


@_nested
def _dict(value: dict[Any, Any], path: list[int]) -> Any:
    # list() takes its snapshot in one step, so that a thread may go on changing the dict
    return {
        key if type(key) is str and _plain_key(key) else _key(key): _encode(item, path)
        for key, item in list(value.items())
    }


def _plain_key(key: str) -> bool:
    # p, c and j begin the three prefixes that mean something to `decode`
    return (key[:1] not in ("p", "c", "j") or not key.startswith(TAG_PREFIXES)) and (
        key.isascii() or _str(key, []) is key
    )


def _key(key: object) -> str:
    return "json://" + plainjson.dumps(encode(key), allow_nan=False, sort_keys=True)


@_nested
def _list(value: list[Any], path: list[int]) -> Any:
    return [_encode(item, path) for item in list(value)]


@_nested
def _tuple(value: tuple[Any, ...], path: list[int]) -> Any:
    return {"py/tuple": [_encode(item, path) for item in value]}


def _sorted_items(value: Any, path: list[int]) -> list[Any]:
    return sorted((_encode(item, path) for item in list(value)), key=lambda item: (str(type(item)), str(item)))


@_nested
def _set(value: set[Any], path: list[int]) -> Any:
    return {"py/set": _sorted_items(value, path)}


@_nested
def _frozenset(value: frozenset[Any], path: list[int]) -> Any:
    return {"capture/frozenset": _sorted_items(value, path)}


def _bytes(value: bytes | bytearray, path: list[int]) -> Any:
    return {"py/b64": _b64(bytes(value))}


def _complex(value: complex, path: list[int]) -> Any:
    return {"capture/complex": [_float(value.real, path), _float(value.imag, path)]}


_EXACT: dict[type, Callable[[Any, list[int]], Any]] = {
    type(None): _same,
    bool: _same,
    int: _int,
    float: _float,
    str: _str,
    dict: _dict,
    list: _list,
    tuple: _tuple,
    set: _set,
    frozenset: _frozenset,
    bytes: _bytes,
    bytearray: _bytes,
    complex: _complex,
}


def _encoder_for(value: Any) -> Callable[[Any, list[int]], Any]:
    """Find the encoder of a value whose type is not in the table."""
    if isinstance(value, Opaque):
        return lambda opaque, path: opaque.data
    for name in [cls.__module__.partition(".")[0] + ":" + cls.__name__ for cls in type(value).__mro__]:
        if name in _BY_NAME:
            return _BY_NAME[name]
    if isinstance(value, type):
        return lambda cls, path: {"py/type": _qualified(cls)}
    if "dataclasses" in sys.modules and hasattr(type(value), "__dataclass_fields__"):
        return _dataclass
    for cls, encoder in (
        (str, lambda v, p: _str(str.__str__(v), p)),
        (int, lambda v, p: _int(int(v), p)),
        (float, lambda v, p: _float(float(v), p)),
        (dict, _dict),
        (list, _list),
        (tuple, _tuple),
        (set, _set),
        (frozenset, _frozenset),
        (bytes, _bytes),
    ):
        if isinstance(value, cls):
            return encoder
    if callable(value) and hasattr(value, "__qualname__") and hasattr(value, "__module__"):
        return lambda function, path: {"py/function": _qualified(function)}
    return _object


def _qualified(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


@_nested
def _dataclass(value: Any, path: list[int]) -> Any:
    fields = {name: _encode(getattr(value, name, None), path) for name in type(value).__dataclass_fields__}
    return {"capture/dataclass": {"type": _qualified(type(value)), "fields": fields}}


def _enum(value: Any, path: list[int]) -> Any:
    return {
        "capture/enum": {"type": _qualified(type(value)), "name": value.name, "value": _encode(value.value, path)}
    }


def _numpy_scalar(value: Any, path: list[int]) -> Any:
    if value.dtype.kind in "iufb" and value.dtype.itemsize <= 8:
        return _encode(value.item(), path)  # the number is exact, only the width of its type is not kept
    return _ndarray(value, path)


def _ndarray(value: Any, path: list[int]) -> Any:
    numpy = sys.modules["numpy"]
    array = numpy.asarray(value)
    kind = array.dtype.kind
    if kind not in "iufbcSUmM" or array.dtype.names:
        if kind == "O" and array.size <= MAX_OBJECT_NODES:
            body: dict[str, Any] = {"objects": [_encode(item, path) for item in array.ravel().tolist()]}
            return {"capture/ndarray": {"dtype": "O", "shape": list(array.shape), **body}}
        return _repr(value, path)
    readable = (
        array.size <= _SMALL_ARRAY
        and kind in "iufb"
        and array.dtype.itemsize <= 8
        and bool(numpy.isfinite(array).all())
    )
    if readable and array.ndim and array.dtype.isnative:
        return _jsonpickles_ndarray(array)
    body = {"values": array.tolist()} if readable else {"data": _b64(numpy.ascontiguousarray(array).tobytes())}
    return {"capture/ndarray": {"dtype": array.dtype.str, "shape": list(array.shape), **body}}


def _jsonpickles_ndarray(array: Any) -> dict[str, Any]:
    """Return the form that jsonpickle's handler of arrays reads, with which tools for Sacred's records decode them."""
    data = {"py/object": "numpy.ndarray", "dtype": array.dtype.name, "values": array.tolist()}
    if not array.size:
        data["shape"] = list(array.shape)
    if not array.flags.c_contiguous and array.flags.f_contiguous:
        data["order"] = "F"
    return data


def _pandas_axis(index: Any, path: list[int]) -> Any:
    return {"names": _encode(list(index.names), path), "values": [_encode(item, path) for item in index.tolist()]}


@_nested
def _series(value: Any, path: list[int]) -> Any:
    return {
        "capture/series": {
            "name": _encode(value.name, path),
            "dtype": str(value.dtype),
            "index": _pandas_axis(value.index, path),
            "values": [_encode(item, path) for item in value.tolist()],
        }
    }


@_nested
def _dataframe(value: Any, path: list[int]) -> Any:
    columns = [value.iloc[:, i] for i in range(value.shape[1])]
    return {
        "capture/dataframe": {
            "columns": _pandas_axis(value.columns, path),
            "dtypes": [str(column.dtype) for column in columns],
            "index": _pandas_axis(value.index, path),
            "values": [[_encode(item, path) for item in column.tolist()] for column in columns],
        }
    }


def _tagged(tag: str, text: Callable[[Any], Any]) -> Callable[[Any, list[int]], Any]:
    return lambda value, path: {"capture/" + tag: text(value)}


#: encoders by "top-level module:class", so that no module is imported to recognise its classes
_BY_NAME: dict[str, Callable[[Any, list[int]], Any]] = {
    "datetime:datetime": _tagged("datetime", lambda v: v.isoformat()),
    "datetime:date": _tagged("date", lambda v: v.isoformat()),
    "datetime:time": _tagged("time", lambda v: v.isoformat()),
    "datetime:timedelta": _tagged("timedelta", lambda v: v.total_seconds()),
    "pathlib:PurePath": _tagged("path", str),
    "decimal:Decimal": _tagged("decimal", str),
    "fractions:Fraction": _tagged("fraction", str),
    "uuid:UUID": _tagged("uuid", str),
    "enum:Enum": _enum,
    "numpy:generic": _numpy_scalar,
    "numpy:ndarray": _ndarray,
    "pandas:Series": _series,
    "pandas:DataFrame": _dataframe,
}


def _object(value: Any, path: list[int]) -> Any:
    """Store an object in jsonpickle's form when it is small and willing, else as its repr."""
    state = getattr(value, "__dict__", None)
    if not isinstance(state, dict) or not _is_modest(state):
        return _repr(value, path)
    try:
        import jsonpickle

        flat = plainjson.loads(jsonpickle.encode(value, keys=True, max_depth=20, warn=False))
        plainjson.dumps(flat, allow_nan=False)  # bare NaN is not JSON
    except Exception:  # noqa: BLE001 - whatever the object's own hooks raise, its repr is what can be stored
        return _repr(value, path)
    return flat if isinstance(flat, dict) and "py/object" in flat else _repr(value, path)


def _is_modest(state: dict[str, Any]) -> bool:
    left, todo = MAX_OBJECT_NODES, [state]
    while todo and left > 0:
        value: Any = todo.pop()
        left -= 1
        if isinstance(value, dict):
            left -= len(value)
            todo.extend(list(value.values())[:left] if left > 0 else ())
        elif isinstance(value, (list, tuple, set, frozenset)):
            left -= len(value)
            todo.extend(list(value)[:left] if left > 0 else ())
        elif isinstance(value, (str, bytes, bytearray)):
            left -= len(value) // 64
        else:
            nested = getattr(value, "__dict__", None)
            if isinstance(nested, dict) and not isinstance(value, type):
                todo.append(nested)
    return left > 0


def _repr(value: Any, path: list[int]) -> Any:
    name = _type_name(type(value))
    try:
        text = repr(value)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the record says that the object would not show itself
        text = f"<{name.rpartition('.')[2]} whose repr raised {type(error).__name__}>"
    if len(text) > MAX_REPR:
        text = f"{text[:MAX_REPR]}... ({len(text):,} characters)"
    text = text.encode("utf-8", "backslashreplace").decode()
    return {"capture/repr": {"type": name, "repr": text}}


def _type_name(cls: type) -> str:
    # past a metaclass that answers such questions itself
    return f"{type.__getattribute__(cls, '__module__')}.{type.__getattribute__(cls, '__qualname__')}"


def _b64(data: bytes) -> str:
    from binascii import b2a_base64

    return b2a_base64(data, newline=False).decode("ascii")


# ---------------------------------------------------------------------------------------------------------- decoding


def decode(data: Any, classes: Mapping[str, type] | None = None) -> Any:
    """Turn what `encode` made back into values; nothing is imported or called because the data says so.

    Parameters
    ----------
    data : dict, list, str, int, float, bool or None
        Parsed JSON. Tags of jsonpickle are read as data.
    classes : mapping of str to type, optional
        The caller's own classes, by ``module.name``: enums and dataclasses that may be rebuilt.

    Returns
    -------
    object
        Unknown or malformed tags come back as `Opaque` or as the plain dict that they are.
    """
    kind = type(data)
    if kind is dict:
        if has_tag(data):
            return _decode_tagged(data, classes)
        # Most values are leaves, and to look at each is what the time of reading many runs would go into.
        if _CONTAINERS.isdisjoint(map(type, data.values())):
            return data.copy()
        return {
            key: decode(item, classes) if type(item) is dict or type(item) is list else item
            for key, item in data.items()
        }
    if kind is list:
        if _CONTAINERS.isdisjoint(map(type, data)):
            return data.copy()
        return [decode(item, classes) if type(item) is dict or type(item) is list else item for item in data]
    return data


def has_tag(data: dict[str, Any]) -> bool:
    """Say whether one of the keys of a stored dict is a tag, or stands for a key that is no text."""
    return "/" in "".join(data) and any(key.startswith(TAG_PREFIXES) for key in data)


def is_untagged(text: str | bytes) -> bool:
    """Say whether JSON text surely has no tag: then what is read from it is what `decode` would make of that.

    A tag is a key that begins with one of a few words, after a quote; what is escaped may hide one.
    """
    if isinstance(text, str):
        return not any(mark in text for mark in _TAG_MARKS)
    return not any(mark in text for mark in _TAG_MARKS_ENCODED)


def _decode_tagged(data: dict[str, Any], classes: Mapping[str, type] | None) -> Any:
    tag = next((key for key in data if key.startswith(("py/", "capture/"))), None)
    if tag is None:
        return {_decode_key(key): decode(item, classes) for key, item in data.items()}
    try:
        if len(data) == 1 and tag in _DECODERS:
            return _DECODERS[tag](data[tag], classes)
        if tag == "py/object":
            return _decode_object(data)
    except Exception:  # noqa: BLE001 - a malformed tag is data like any other
        return Opaque(tag, data)
    return Opaque(_type_named_in(data, tag), data)


def decoded_name(key: str) -> str:
    """Return the name of a metric behind the key that it is stored under.

    Examples
    --------
    >>> decoded_name("loss"), decoded_name("json://1")
    ('loss', '1')
    """
    return str(_decode_key(key))


def _decode_key(key: str) -> Any:
    if not key.startswith("json://"):
        return key
    try:
        value = decode(plainjson.loads(key[len("json://") :]))
        hash(value)
    except (ValueError, TypeError, RecursionError):
        return key
    return value


def _type_named_in(data: dict[str, Any], tag: str) -> str:
    named = data.get(tag)
    if isinstance(named, dict):
        named = named.get("type")
    return named if isinstance(named, str) else tag


def _decode_enum(data: Any, classes: Mapping[str, type] | None) -> Any:
    cls: Any = (classes or {}).get(data["type"])
    name, value = data["name"], decode(data["value"], classes)
    if cls is not None:
        return cls[name] if name in cls.__members__ else cls(value)  # flags together have a value only
    if not isinstance(data["type"], str) or not isinstance(name, (str, type(None))):
        raise ValueError("these are no names")
    return StoredEnum(data["type"], {"capture/enum": data}, name, value)


def _decode_call(data: Any, classes: Mapping[str, type] | None) -> Any:
    """Read what jsonpickle makes of a member of an enumeration: its class, and the one value to call that with."""
    called, arguments = data
    if set(called) != {"py/type"} or not isinstance(called["py/type"], str) or set(arguments) != {"py/tuple"}:
        raise ValueError("this is another kind of call")
    (value,) = arguments["py/tuple"]
    return StoredEnum(called["py/type"], {"py/reduce": data}, None, decode(value))


def _decode_dataclass(data: Any, classes: Mapping[str, type] | None) -> Any:
    cls = (classes or {}).get(data["type"])
    if cls is None:
        return Opaque(data["type"], {"capture/dataclass": data})
    return cls(**{name: decode(item, classes) for name, item in data["fields"].items()})


def _decode_ndarray(data: Any, classes: Mapping[str, type] | None) -> Any:
    try:
        import numpy
    except ImportError:
        return Opaque("numpy.ndarray", {"capture/ndarray": data})
    shape = tuple(int(n) for n in data["shape"])
    if data["dtype"] == "O":
        items = numpy.empty(len(data["objects"]), dtype=object)
        items[:] = [decode(item, classes) for item in data["objects"]]
        return items.reshape(shape)
    dtype = numpy.dtype(str(data["dtype"]))
    if dtype.hasobject:
        raise ValueError("an array of objects is stored item by item")
    if "values" in data:
        array: Any = numpy.array(data["values"], dtype=dtype).reshape(shape)
    else:
        array = numpy.frombuffer(_unb64(data["data"]), dtype).reshape(shape).copy()
    return array[()] if shape == () else array


def _decode_axis(data: Any) -> Any:
    import pandas

    names, values = decode(data["names"]), [decode(item) for item in data["values"]]
    if len(names) > 1:
        return pandas.MultiIndex.from_tuples(values, names=names)
    return pandas.Index(values, name=names[0])


def _decode_series(data: Any, classes: Mapping[str, type] | None) -> Any:
    try:
        import pandas
    except ImportError:
        return Opaque("pandas.Series", {"capture/series": data})
    values = [decode(item, classes) for item in data["values"]]
    series = pandas.Series(values, index=_decode_axis(data["index"]), name=decode(data["name"]))
    return series.astype(data["dtype"])


def _decode_dataframe(data: Any, classes: Mapping[str, type] | None) -> Any:
    try:
        import pandas
    except ImportError:
        return Opaque("pandas.DataFrame", {"capture/dataframe": data})
    index, columns = _decode_axis(data["index"]), _decode_axis(data["columns"])
    frame = pandas.DataFrame(index=index)
    parts = [
        pandas.Series([decode(item, classes) for item in values], index=index).astype(dtype)
        for values, dtype in zip(data["values"], data["dtypes"])
    ]
    if parts:
        frame = pandas.concat(parts, axis=1)
    frame.columns = columns
    return frame


def _decode_object(data: dict[str, Any]) -> Any:
    """Read the objects that Sacred's records hold by hand: arrays and times; anything else stays inert."""
    name = data["py/object"]
    if name == "numpy.ndarray":
        return _decode_jsonpickles_ndarray(data)
    if name.startswith("numpy.") and {"dtype", "value"} <= set(data):  # a number: only the width of its type is lost
        return decode(data["value"])
    if name in ("datetime.datetime", "datetime.date") and "__reduce__" in data:
        return _pickled_time(name, _unb64(data["__reduce__"][1][0]))
    if name in ("pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib.Path"):
        parts = data["py/reduce"][1]["py/tuple"]
        return _time_free_path(parts)
    return Opaque(str(name), data)


def _decode_jsonpickles_ndarray(data: dict[str, Any]) -> Any:
    """Read an array as jsonpickle's handler writes it: numbers, or compressed bytes, or a view of another array."""
    try:
        import numpy
    except ImportError:
        return Opaque("numpy.ndarray", data)
    dtype, order, values = numpy.dtype(str(data["dtype"])), data.get("order", "C"), data.get("values")
    if isinstance(values, list):
        array = numpy.array(decode(values), dtype=dtype, order=order)
        return array.reshape(data["shape"]) if 0 in data.get("shape", ()) else array
    if isinstance(values, (int, float)):
        return numpy.array([values], dtype=dtype)
    if dtype.hasobject:
        return Opaque("numpy.ndarray", data)
    if data.get("byteorder") in ("<", ">"):
        dtype = dtype.newbyteorder(data["byteorder"])
    shape = data["shape"]
    if "base" in data:
        content = decode(data["base"]).tobytes(order="A")  # as it lay in memory
    else:
        content = _inflated(str(values), math.prod(shape) * dtype.itemsize)
    array = numpy.ndarray(shape, dtype, content, data.get("offset", 0), data.get("strides"), order)
    if array.nbytes > len(content):
        raise ValueError(f"an array of {array.nbytes} bytes is said to be made of {len(content)}")
    return array.copy("K")


def _inflated(text: str, size: int) -> bytes:
    """Return compressed bytes as they were, if they are `size`: few compressed bytes may claim to be very many."""
    from zlib import decompressobj

    data = decompressobj().decompress(_unb64(text), size + 1)
    if len(data) != size:
        raise ValueError(f"these are {len(data)} bytes or more, where {size} are due")
    return data


def _pickled_time(name: str, packed: bytes) -> Any:
    # The ten (four) bytes are year, month, day, hour, minute, second, microsecond: the documented pickle state.
    from capture.moments import date, datetime

    year, month, day = packed[0] * 256 + packed[1], packed[2] & 0x7F, packed[3]
    if name == "datetime.date":
        return date(year, month, day)
    hour, minute, second = packed[4:7]
    return datetime(year, month, day, hour, minute, second, int.from_bytes(packed[7:10], "big"))


def _time_free_path(parts: list[str]) -> Any:
    import pathlib

    return pathlib.PurePosixPath(*[str(part) for part in parts])


def _unb64(text: str) -> bytes:
    from binascii import a2b_base64

    return a2b_base64(text)


def _from_module(module: str, build: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def decoder(data: Any, classes: Any) -> Any:
        from importlib import import_module

        return build(import_module(module), data)  # `module` is one of the literals below, never from the data

    return decoder


_DECODERS: dict[str, Callable[[Any, Any], Any]] = {
    "py/tuple": lambda data, classes: tuple(decode(item, classes) for item in data),
    "py/set": lambda data, classes: {decode(item, classes) for item in data},
    "py/b64": lambda data, classes: _unb64(data),
    "py/b85": _from_module("base64", lambda base64, data: base64.b85decode(data)),
    "capture/frozenset": lambda data, classes: frozenset(decode(item, classes) for item in data),
    "capture/complex": lambda data, classes: complex(*(decode(item) for item in data)),
    "capture/float": lambda data, classes: float(data),
    "capture/int": lambda data, classes: int(data),
    "capture/str": lambda data, classes: _unb64(data).decode("utf-8", "surrogatepass"),
    "capture/datetime": _from_module("capture.moments", lambda m, data: m.datetime.fromisoformat(data)),
    "capture/date": _from_module("capture.moments", lambda m, data: m.date.fromisoformat(data)),
    "capture/time": _from_module("capture.moments", lambda m, data: m.time.fromisoformat(data)),
    "capture/timedelta": _from_module("capture.moments", lambda m, data: m.timedelta(seconds=data)),
    "capture/path": _from_module("pathlib", lambda m, data: m.Path(data)),
    "capture/decimal": _from_module("decimal", lambda m, data: m.Decimal(data)),
    "capture/fraction": _from_module("fractions", lambda m, data: m.Fraction(data)),
    "capture/uuid": _from_module("uuid", lambda m, data: m.UUID(data)),
    "capture/enum": _decode_enum,
    "py/reduce": _decode_call,
    "capture/dataclass": _decode_dataclass,
    "capture/ndarray": _decode_ndarray,
    "capture/series": _decode_series,
    "capture/dataframe": _decode_dataframe,
}
