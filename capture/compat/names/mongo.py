"""``sacred.observers.mongo``: making values fit for MongoDB by hand."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def force_valid_bson_key(key: object) -> str:
    """Return a key as text without what MongoDB has uses of its own for: "." and a "$" in front."""
    return str(key).replace(".", ",").replace("$", "@")


def force_bson_encodeable(obj: Any) -> Any:
    """Return a value with what BSON cannot hold replaced by its text."""
    import bson

    if isinstance(obj, dict):
        return {force_valid_bson_key(key): force_bson_encodeable(value) for key, value in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [force_bson_encodeable(value) for value in obj]
    try:
        bson.encode({"value": obj})
    except (bson.errors.InvalidDocument, OverflowError, TypeError, ValueError):
        return str(obj)
    return obj
