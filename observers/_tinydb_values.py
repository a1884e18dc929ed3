"""Values in the form in which Sacred's TinyDB store keeps them: tagged text for what JSON has not.

``"{TinyDate}:2026-01-01T00:00:00.000000"`` is a time, ``"{TinyArray}:[1, 2]"`` an array, ``"{TinyFile}:\\"MD5\\""`` a
stored file. We write these where they say all there is to say, and `capture.codec`'s tags elsewhere; both are read.
"""

from __future__ import annotations

from capture import plainjson
from capture.codec import decode, encode, has_tag
from capture.errors import RecordError
from capture.moments import datetime, timezone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

DATE, ARRAY, FILE = "{TinyDate}:", "{TinyArray}:", "{TinyFile}:"
_FRAME, _SERIES = "{TinyDataFrame}:", "{TinySeries}:"
_MARK = "{Tiny"
_THEMSELVES = frozenset({float, int, bool, type(None)})  #: what stands for itself
_PLAIN_DTYPES = ("float64", "int64", "bool")  # those that numpy gives lists of floats, integers and booleans by itself


def to_stored(value: Any) -> Any:
    """Return the stored form of any value."""
    return _tag(encode(value))


def _tag(data: Any) -> Any:
    kind = type(data)
    if kind is str:
        return _untagged(data) if data.startswith(_MARK) else data
    if kind is list:
        return [_tag(item) for item in data]
    if kind is not dict:
        return data
    text = None
    if "capture/datetime" in data and len(data) == 1:
        text = _date(data["capture/datetime"])
    elif data.get("py/object") == "numpy.ndarray":
        text = _array(data)
    if text is not None:
        return text
    return {key: _tag(item) for key, item in data.items()}


def _untagged(text: str) -> Any:
    """Return the form of a text that is not to be taken for a tag."""
    from binascii import b2a_base64

    return {"capture/str": b2a_base64(text.encode("utf-8", "surrogatepass"), newline=False).decode("ascii")}


def _date(text: str) -> str | None:
    """Return the tagged form of a time without an offset; Sacred's form has no place for one, nor for early years."""
    if len(text) not in (19, 26) or text < "1000":
        return None
    return DATE + (text if len(text) == 26 else text + ".000000")


def _array(data: dict[str, Any]) -> str | None:
    """Return the tagged form of an array that comes back from a plain list as it was."""
    if data.keys() != {"py/object", "dtype", "values"} or data["dtype"] not in _PLAIN_DTYPES:
        return None
    return ARRAY + plainjson.dumps(data["values"], allow_nan=False)


def stored_time(moment: datetime) -> str:
    """Return a time as Sacred's layout has it: UTC, without an offset."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(timezone.utc).replace(tzinfo=None)
    return DATE + moment.isoformat(timespec="microseconds")


def handle(address: str) -> str:
    """Return the tagged form of a stored file."""
    return FILE + plainjson.dumps(address)


def from_stored(data: Any, open_file: Callable[[str], Any] | None = None) -> Any:
    """Return the value of a stored form. Nothing that it holds is run.

    Parameters
    ----------
    data : object
        Plain JSON.
    open_file : callable, optional
        ``open_file(address)`` gives what stands for a stored file; without it, the address itself does.
    """
    kind = type(data)
    if kind is dict:
        if has_tag(data):
            return decode(_resolve(data, open_file))
        if _THEMSELVES.issuperset(map(type, data.values())):
            return data.copy()
        # Most values are leaves that stand for themselves, and to call for each would take most of the time.
        return {
            key: item
            if type(item) in _THEMSELVES or (type(item) is str and item[:5] != _MARK)
            else from_stored(item, open_file)
            for key, item in data.items()
        }
    if kind is list:
        if _THEMSELVES.issuperset(map(type, data)):
            return data.copy()
        return [item if type(item) in _THEMSELVES else from_stored(item, open_file) for item in data]
    if kind is str and data.startswith(_MARK):
        return decode(_resolve(data, open_file))
    return data


def _resolve(data: Any, open_file: Callable[[str], Any] | None) -> Any:
    kind = type(data)
    if kind is str:
        return _value(data, open_file) if data.startswith(_MARK) else data
    if kind is list:
        return [_resolve(item, open_file) for item in data]
    if kind is dict:
        return {key: _resolve(item, open_file) for key, item in data.items()}
    return data


def _value(text: str, open_file: Callable[[str], Any] | None) -> Any:
    """Return the value of tagged text; text that only looks like it stays as it is."""
    try:
        if text.startswith(DATE):
            return parse_time(text)
        if text.startswith(FILE):
            address = str(plainjson.loads(text[len(FILE) :]))
            return address if open_file is None else open_file(address)
        if text.startswith(ARRAY):
            return _numpy_array(plainjson.loads(text[len(ARRAY) :]))
        if text.startswith((_FRAME, _SERIES)):
            return _pandas(text)
    except (ValueError, TypeError, ImportError):
        pass
    return text


def parse_time(text: str) -> datetime:
    """Return the time that a tagged text names, without an offset, as Sacred's reader does."""
    return datetime.fromisoformat(text[len(DATE) :])


def _numpy_array(values: Any) -> Any:
    import numpy

    return numpy.array(values)


def _pandas(text: str) -> Any:
    from io import StringIO

    import pandas

    tag, _, body = text.partition(":")
    return pandas.read_json(StringIO(body), typ="series" if tag + ":" == _SERIES else "frame")


def moment(data: Any, where: object) -> datetime | None:
    """Return the aware time that a record holds under one of its own keys; Sacred's have no offset and are UTC.

    `where` is what an error calls the record.
    """
    if data is None or data == "":
        return None
    try:
        found = parse_time(data) if data.startswith(DATE) else datetime.fromisoformat(data)
    except (ValueError, TypeError, AttributeError) as error:
        raise RecordError(f"{where} holds the time {data!r}, which is not one: {error}") from error
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
