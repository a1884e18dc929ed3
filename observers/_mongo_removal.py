"""What belongs to a run outside its document, and taking it away."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from capture.observers._mongo_place import Place


def remove_satellites(place: Place, document: Mapping[str, Any]) -> None:
    """Remove the measurements of a run, its output and its moved values, and its own files; not what runs share."""
    from bson import ObjectId

    from capture.observers._mongo_files import Files

    key = (document.get("capture") or {}).get("key")
    metrics = (document.get("info") or {}).get("metrics")
    named = [each.get("id") for each in metrics if isinstance(each, dict)] if isinstance(metrics, list) else []
    ids = [ObjectId(each) for each in named if isinstance(each, str) and ObjectId.is_valid(each)]
    if ids:
        place.metrics.delete_many({"_id": {"$in": ids}})
    if key is not None:
        place.metrics.delete_many({"capture.run": key})
        own = [each["_id"] for each in place.files.find({"capture.run": key}, {"_id": 1})]
        Files(place).remove(own)
