"""Values as the columns of a database hold them."""

from __future__ import annotations

import math

from capture import plainjson
from capture.codec import decode, encode, is_untagged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from typing import Any

#: values of a config above which not all of them are put where a filter finds them; the config itself is whole
MAX_INDEXED = 2_000
LONGEST = 255  #: characters of a label, and of a path or a text that a filter finds
#: characters of a text that an index holds in MySQL and MariaDB, which cannot have one on texts of any length
SHORT = 512
_LARGEST = 1.7976931348623157e308  #: not every database knows infinity

_ODD = "json://"  #: begins the stored form of a text that a database cannot hold
_dumps = plainjson.encoder((",", ":"), allow_nan=False)


def to_json(value: Any) -> str:
    """Return any value as JSON in ASCII, which every database takes."""
    return _dumps(encode(value))


def from_json(text: str | None, default: Any = None) -> Any:
    """Return the value that `to_json` wrote; `default` for NULL."""
    if text is None:
        return default
    data = plainjson.loads(text)
    return data if is_untagged(text) else decode(data)


def stored_text(text: str) -> str:
    """Return the stored form of a name: itself, but for those few that a database cannot hold.

    Examples
    --------
    >>> stored_text("val.loss"), stored_text("nul\\x00")
    ('val.loss', 'json://"nul\\\\u0000"')
    >>> told_text(stored_text("nul\\x00"))
    'nul\\x00'
    """
    if "\x00" in text or text.startswith(_ODD) or not _is_unicode(text):
        return _ODD + to_json(text)
    return text


def told_text(text: str) -> str:
    """Return what `stored_text` was given."""
    return str(from_json(text[len(_ODD) :])) if text.startswith(_ODD) else text


def plain_text(value: Any, limit: int | None = None) -> str | None:
    """Return text for people, without what a database cannot hold, and no longer than `limit` characters."""
    if value is None:
        return None
    text = value if isinstance(value, str) else to_json(value)
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    if not _is_unicode(text):
        text = text.encode("utf-8", "replace").decode()
    return text if limit is None else text[:limit]


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def key_of(*parts: str) -> str:
    """Return 32 hexadecimal digits that stand for a name of any length, which a unique index can hold."""
    from hashlib import sha256

    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def number_or_none(value: Any) -> float | None:
    """Return the finite float that a number is, at least nearly; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def clamped(value: float) -> float | None:
    """Return the nearest float that every database can hold; None for what is not a number.

    It keeps the order, so that what is found with it is never too little.
    """
    try:
        number = float(value)
    except OverflowError:
        number = math.inf if value > 0 else -math.inf
    if number != number:
        return None
    return min(max(number, -_LARGEST), _LARGEST)


# ------------------------------------------------------------------------------------------------------------ times


def naive_utc(moment: datetime | None) -> datetime | None:
    """Return a time as Sacred's tables hold it."""
    if moment is None or moment.tzinfo is None:
        return moment
    from capture.moments import timezone

    return moment.astimezone(timezone.utc).replace(tzinfo=None)


def aware_utc(moment: datetime | None) -> datetime | None:
    """Return a time of Sacred's tables with its offset."""
    if moment is None or moment.tzinfo is not None:
        return moment
    from capture.moments import timezone

    return moment.replace(tzinfo=timezone.utc)


def moment_text(moment: datetime) -> str:
    """Return a time in ISO 8601 with its offset; one without is UTC, as Sacred's are."""
    aware = aware_utc(moment)
    assert aware is not None
    return aware.isoformat()


def told_moment(text: str | None) -> datetime | None:
    """Return the time that `moment_text` wrote."""
    if text is None:
        return None
    from capture.moments import datetime

    return datetime.fromisoformat(text)


# ----------------------------------------------------------------------------------------------------------- config


def config_rows(config: Any) -> tuple[list[dict[str, Any]], bool]:
    """Return the values of an encoded config by dotted path, for a filter to find, and whether these are all.

    What only the decoded config tells (a long text, an array, a list as a whole) has kind "?": it may match anything.
    Elements of lists are not listed: `is_indexed` says which paths are.
    """
    rows: list[dict[str, Any]] = []
    whole = True
    for path, value in _leaves(config, ""):
        if len(rows) >= MAX_INDEXED or len(path) > LONGEST:
            whole = False
            continue
        rows.append({"path": path, **indexed(value)})
    return rows, whole


def indexed(value: Any) -> dict[str, Any]:
    """Return kind, number and text of one encoded value."""
    kind, number, text = "?", None, None
    if value is None:
        kind = "0"
    elif isinstance(value, (int, float)):
        kind, number = "n", clamped(value)
    elif isinstance(value, str) and len(value) <= LONGEST and "\x00" not in value:
        kind, text = "s", value
    return {"kind": kind, "number": number, "text": text}


def is_indexed(path: str) -> bool:
    """Say whether `config_rows` would have listed a value at this path: not if it may lead into a list."""
    if not path or len(path) > LONGEST or "\x00" in path or not _is_unicode(path):
        return False
    return not any(part.isdigit() for part in path.split("."))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield path and encoded value of all that is no plain dict; of keys only strings can be asked for."""
    if not isinstance(value, dict) or any(key.startswith(("py/", "capture/")) for key in value):
        yield path, _untagged(value)
        return
    if path:
        yield path, value  # a dict as a whole, which is "?"
    for key, item in value.items():
        name = str(next(iter(decode({key: None})))) if key.startswith(_ODD) else key
        if _is_unicode(name) and "\x00" not in name:
            yield from _leaves(item, f"{path}.{name}" if path else name)


def _untagged(value: Any) -> Any:
    """Return the number that a tag stands for, or the value as it is."""
    if isinstance(value, dict) and len(value) == 1 and ("capture/int" in value or "capture/float" in value):
        number = decode(value)
        return value if isinstance(number, float) and number != number else number
    return value
