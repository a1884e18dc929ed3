"""Plain data as JSON text and back, byte for byte as `json` does it, without loading `json`.

That package brings `re` and `enum` along and takes 5 ms, as long as half a start of Python; what does its work is
written in C and lies in a module of its own, which is used here directly. Whatever that does not read, `json` itself is
asked to, so that every oddity is treated, and every mistake named, as usual. Where there is no such module (PyPy),
everything is left to `json`.
"""

from __future__ import annotations

import os

try:
    from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner
except ImportError:
    make_encoder = make_scanner = None  # type: ignore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_BLANKS = " \t\n\r"


def dumps(
    value: object,
    *,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
    indent: int | None = None,
    ensure_ascii: bool = True,
    allow_nan: bool = True,
) -> str:
    """Write `value` as `json.dumps` does.

    Raises
    ------
    TypeError
        If it holds something that JSON has not.
    ValueError
        If it holds itself (with `indent` a RecursionError); or NaN or infinity without `allow_nan`.
    """
    if make_encoder is None:
        import json

        return json.dumps(
            value, separators=separators, sort_keys=sort_keys, indent=indent, ensure_ascii=ensure_ascii,
            allow_nan=allow_nan,
        )  # fmt: skip
    if separators is None:
        separators = (", ", ": ") if indent is None else (",", ": ")
    flat = _one_line({}, separators, sort_keys, ensure_ascii, allow_nan)
    return flat(value) if indent is None else _indented(value, " " * indent, "\n", separators, sort_keys, flat)


def encoder(
    separators: tuple[str, str] = (", ", ": "),
    sort_keys: bool = False,
    ensure_ascii: bool = True,
    allow_nan: bool = True,
) -> Callable[[Any], str]:
    """Return a function that writes values on one line; values that hold themselves are not looked for."""
    if make_encoder is None:
        import json

        return json.JSONEncoder(
            separators=separators, sort_keys=sort_keys, ensure_ascii=ensure_ascii, allow_nan=allow_nan,
            check_circular=False,
        ).encode  # fmt: skip
    return _one_line(None, separators, sort_keys, ensure_ascii, allow_nan)


def _one_line(
    within: dict[int, Any] | None, separators: tuple[str, str], sort_keys: bool, ensure_ascii: bool, allow_nan: bool
) -> Callable[[Any], str]:
    """Return a function that writes on one line; `within` is where it notes the containers that it is in."""
    quote = encode_basestring_ascii if ensure_ascii else encode_basestring
    between, after_key = separators
    pieces = make_encoder(within, _refuse, quote, None, after_key, between, sort_keys, False, allow_nan)
    return lambda value: "".join(pieces(value, 0))


def _refuse(value: object) -> None:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _indented(
    value: Any, step: str, line: str, separators: tuple[str, str], sort_keys: bool, flat: Callable[[Any], str]
) -> str:
    """Write `value` over several lines; `line` is the line end with the indentation of where it stands."""
    if not isinstance(value, (dict, list, tuple)) or not value:
        return flat(value)
    inner = line + step
    between, after_key = separators
    if isinstance(value, dict):
        items = sorted(value.items()) if sort_keys else value.items()
        parts = [
            f"{_key(key, flat)}{after_key}{_indented(item, step, inner, separators, sort_keys, flat)}"
            for key, item in items
        ]
        first, last = "{}"
    else:
        parts = [_indented(item, step, inner, separators, sort_keys, flat) for item in value]
        first, last = "[]"
    return f"{first}{inner}{(between + inner).join(parts)}{line}{last}"


def _key(key: object, flat: Callable[[Any], str]) -> str:
    if isinstance(key, str):
        return flat(key)
    text = flat({key: ""})  # a number, True or None becomes a string there
    return text[1 : text.rindex('"', 0, text.rindex('"', 0, text.rindex('"'))) + 1]


def loads(text: str | bytes) -> Any:
    """Read a JSON text as `json.loads` does.

    Raises
    ------
    json.JSONDecodeError
        If it is none. A ValueError.
    UnicodeDecodeError
        If its bytes are none of UTF-8, UTF-16 and UTF-32. A ValueError, too.
    """
    if make_scanner is not None:
        try:
            plain = (text if isinstance(text, str) else text.decode()).strip(_BLANKS)
            value, end = _scan(plain, 0)
            if end == len(plain):
                return value
        except Exception:  # noqa: BLE001 - in 3.11 a SystemError may mean a missing comma; `json` says what it is
            pass
    import json

    return json.loads(text)


def loads_each(texts: Iterable[str]) -> list[Any]:
    """Read many JSON texts, in less time than one by one: keys that they share are made, and hashed, once.

    What is no JSON is left as it is: who reads it alone is told what is wrong.

    Examples
    --------
    >>> loads_each(['{"lr": 0.1}', "null", "{"])
    [{'lr': 0.1}, None, '{']
    """
    listed = list(texts)
    mark = os.urandom(8).hex()  # so that no text can, with its neighbours, pass for several of them
    try:
        values = loads("[" + f',"{mark}",'.join(listed) + "]")
    except (ValueError, RecursionError):
        values = []
    if len(values) == max(2 * len(listed) - 1, 0) and values[1::2] == [mark] * (len(listed) - 1):
        return list(values[::2])
    return [_loads_if_json(text) for text in listed]


def _loads_if_json(text: str) -> Any:
    try:
        return loads(text)
    except (ValueError, RecursionError):
        return text


class _Rules:
    """How JSON's values become Python's: what `make_scanner` is told."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int
    parse_constant = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}.__getitem__


if make_scanner is not None:
    _scan = make_scanner(_Rules)  # type: ignore[arg-type]  # typeshed knows only `json`'s own
