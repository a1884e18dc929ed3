"""Values in the form in which MongoDB and its viewers take them, and what is kept beside where that is not exact.

`view` makes real nested values, with the tags of `capture.codec` where JSON has no such value. It changes what MongoDB
or its viewers stumble over: keys with dots, dollars or nothing in them, integers beyond 64 bits, very deep nesting. A
`cell` holds a value exactly, in the first of these forms that can:

==================  =================================================================
``{"value": ...}``  as it is
``{"json": text}``  as JSON
``{"zlib": bytes}`` as compressed JSON
``{"file": id}``    as JSON in a file of GridFS, since a document may have 16 MB only
==================  =================================================================
"""

from __future__ import annotations

import re

from capture import plainjson
from capture.codec import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_DEEPEST = 60  #: levels of a viewed value; MongoDB takes 100 in a whole document
_INT64 = 2**63
_TEXT = 32 << 10  #: characters of JSON that are kept as readable text
_INLINE = 8 << 10  #: characters of JSON of a value that is kept as it is


# -------------------------------------------------------------------------------------------------------------- keys


def safe_key(name: str) -> str:
    """Return a key of a document for any name; `true_key` makes the name of it again.

    Examples
    --------
    >>> safe_key("loss"), safe_key("val.acc"), true_key("val%002eacc")
    ('loss', 'val%002eacc', 'val.acc')
    """
    if name and not _ODD.search(name):
        return name
    return _ODD.sub(lambda match: f"%{ord(match[0]):04x}", name) or "%"


def true_key(key: str) -> str:
    """Return the name that `safe_key` made `key` of."""
    if "%" not in key:
        return key
    return "" if key == "%" else _ESCAPED.sub(lambda match: chr(int(match[1], 16)), key)


_ODD = re.compile("[.$%\0\ud800-\udfff]")
_ESCAPED = re.compile("%([0-9a-f]{4})")


def readable(text: str) -> str:
    """Return text that UTF-8 can hold: without lone surrogates."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


# ------------------------------------------------------------------------------------------------------------- views


def view(encoded: Any) -> tuple[Any, bool]:
    """Return what MongoDB and its viewers take for an encoded value, and whether it decodes to the very same value.

    Examples
    --------
    >>> view({"lr": 0.1, "a.b": 1})
    ({'lr': 0.1, 'a,b': 1}, False)
    """
    exact = [True]
    return _view(encoded, 0, exact), exact[0]


def _view(value: Any, depth: int, exact: list[bool]) -> Any:
    kind = type(value)
    if kind is dict:
        return _view_dict(value, depth, exact)
    if kind is list:
        if depth >= _DEEPEST:
            exact[0] = False
            return "[...]"
        return [_view(item, depth + 1, exact) for item in value]
    if kind is int and not -_INT64 <= value < _INT64:
        exact[0] = False
        return float(value)
    return value


def _view_dict(value: dict[str, Any], depth: int, exact: list[bool]) -> Any:
    if len(value) == 1:
        if "capture/float" in value:
            return float(value["capture/float"])  # MongoDB has these
        if "capture/int" in value:
            exact[0] = False
            return _as_float(value["capture/int"])
    if depth >= _DEEPEST:
        exact[0] = False
        return "{...}"
    result = {}
    for key, item in value.items():
        plain = key
        if not key or "." in key or "$" in key or "\0" in key:
            exact[0] = False
            plain = key.replace(".", ",").replace("$", "@").replace("\0", " ") or "_"
            while plain in value or plain in result:
                plain += "_"
        result[plain] = _view(item, depth + 1, exact)
    return result


def _as_float(digits: str) -> Any:
    try:
        return float(digits)
    except OverflowError:
        return digits


def size_of(value: Any) -> int:
    """Return the size of a viewed value in a document, in bytes."""
    if value is None or type(value) in (bool, int, float):
        return 16
    if type(value) is str:
        return len(value.encode("utf-8", "replace"))
    import bson

    return len(bson.encode({"": value}))


def shortened(value: Any, room: int) -> Any:
    """Return a viewed value with its largest parts replaced by a note, so that it takes about `room` bytes."""
    if not isinstance(value, dict):
        return _moved(size_of(value))
    sizes = {key: size_of(item) + len(key) for key, item in value.items()}
    total, result = sum(sizes.values()), dict(value)
    for key in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if total <= room:
            return result
        note = _moved(sizes[key])
        if len(note) >= sizes[key]:
            break
        total += len(note) - sizes[key]
        result[key] = note
    return result if total <= room else {"capture": _moved(sum(sizes.values()))}


def _moved(size: int) -> str:
    return f"({size / 1e6:,.1f} MB, kept in GridFS)"


# ------------------------------------------------------------------------------------------------------------- cells


def cell(encoded: Any, room: int, store: Callable[[bytes], Any]) -> dict[str, Any]:
    """Return the cell that holds an encoded value exactly.

    Parameters
    ----------
    encoded : object
        By `capture.codec.encode`.
    room : int
        Bytes that it may take in the document.
    store : callable
        ``store(json) -> id`` puts what needs more into a file.
    """
    kind = type(encoded)
    if encoded is None or kind in (bool, float):
        return {"value": encoded}
    text = plainjson.dumps(encoded, separators=(",", ":"), allow_nan=False)
    if len(text) <= min(_INLINE, room):
        viewed, exact = view(encoded)
        if exact:
            return {"value": viewed}
    if len(text) <= min(_TEXT, room):
        return {"json": text}
    data = text.encode()
    if len(data) <= 8 * room:
        import zlib

        packed = zlib.compress(data, 1)
        if len(packed) <= room:
            return {"zlib": packed}
    return {"file": store(data)}


def cell_json(stored: Any, load: Callable[[Any], bytes]) -> Any:
    """Return the encoded value of a cell; `load` reads a file. KeyError if it is none."""
    if "value" in stored:
        return with_ints(stored["value"])
    if "json" in stored:
        return plainjson.loads(stored["json"])
    if "zlib" in stored:
        import zlib

        return plainjson.loads(zlib.decompress(stored["zlib"]))
    return plainjson.loads(load(stored["file"]))


def cell_value(stored: Any, load: Callable[[Any], bytes]) -> Any:
    """Return the value of a cell; `load` reads a file."""
    return decode(cell_json(stored, load))


_PLAIN = frozenset({str, int, float, bool, type(None)})


def with_ints(value: Any) -> Any:
    """Return what we wrote to MongoDB with Python's int in place of BSON's Int64, as which long integers come back."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict:  # most hold nothing but leaves, and to rebuild each is what the time of reading would go into
        if _PLAIN.issuperset(map(type, value.values())):
            return value
        return {key: with_ints(item) for key, item in value.items()}
    if kind is list:
        return value if _PLAIN.issuperset(map(type, value)) else [with_ints(item) for item in value]
    return int(value) if isinstance(value, int) else value


def plain(value: Any) -> Any:
    """Return what came from MongoDB in the types that `decode` knows: anything of BSON's own as text.

    Sacred, and people, may have stored more than JSON has.
    """
    kind = type(value)
    if kind in (str, int, float, bool) or value is None:
        return value
    if kind is dict or isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if kind is list:
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        from binascii import b2a_base64

        return {"py/b64": b2a_base64(value, newline=False).decode("ascii")}
    if hasattr(value, "isoformat"):
        return {"capture/datetime": value.isoformat()}
    if isinstance(value, int):  # Int64
        return int(value)
    return str(value)
