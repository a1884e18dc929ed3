"""What belongs to a run outside its document, and taking it away."""

from __future__ import annotations

from capture.observers._mongo_files import Files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from capture.observers._mongo_place import Place

#: files and measurements of no run that are younger than this are left alone: they may belong to one that begins
YOUNG_S = 86_400

_REFERENCES = ("capture.files.sources.file", "capture.files.resources.file", "capture.files.artifacts.file")


def remove_satellites(place: Place, document: Mapping[str, Any]) -> None:
    """Remove the measurements of a run, its output and its moved values, and its own files; not what runs share."""
    from bson import ObjectId

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


def files_of(document: Mapping[str, Any]) -> set[Any]:
    """Return the ids of the files that a run's document names."""
    mine = (document.get("capture") or {}).get("files") or {}
    found = {entry.get("file") for entries in mine.values() for entry in entries or ()}
    found |= {each.get("file_id") for each in document.get("artifacts") or () if isinstance(each, dict)}
    pairs = (document.get("experiment") or {}).get("sources") or ()
    found |= {pair[1] for pair in pairs if isinstance(pair, list) and len(pair) > 1}
    return {each for each in found if type(each).__name__ == "ObjectId"}


def sweep(place: Place, candidates: Iterable[Any]) -> None:
    """Delete those files that no run uses.

    A run may find a shared file and decide to use it at this very moment. So the document of each is taken away first,
    after which nobody finds it, and comes back if a run has noted it meanwhile; a run, having noted a file, looks
    whether it is still there, and else stores it anew, under another id.
    """
    for id in candidates:
        document = place.files.find_one_and_delete({"_id": id})
        if document is None:
            continue
        if _is_used(place, id):
            _bring_back(place, document)
        else:
            place.chunks.delete_many({"files_id": id})


def _is_used(place: Place, id: Any) -> bool:
    wanted: list[dict[str, Any]] = [{path: id} for path in _REFERENCES]
    wanted.append({"artifacts.file_id": id})
    wanted.append({"experiment.sources": {"$elemMatch": {"$elemMatch": {"$eq": id}}}})
    return any(runs.find_one({"$or": wanted}, {"_id": 1}) is not None for runs in _all_runs(place))


def _bring_back(place: Place, document: dict[str, Any]) -> None:
    from capture.observers._mongo_place import is_duplicate

    try:
        place.files.insert_one(document)
    except Exception as error:
        if not is_duplicate(error):
            raise
        document["capture"].pop("shared", None)  # somebody stored the same bytes meanwhile; who comes now, uses those
        place.files.insert_one(document)


def _all_runs(place: Place) -> Iterator[Any]:
    """Yield all collections that may hold runs: those of other names in the database share its files."""
    database = place.client[place.database_name]
    others = (f"{place.fs_name}.", "system.", "omniboard.", "capture.labels")
    for name in database.list_collection_names():
        if not name.startswith(others) and name != "metrics" and not name.endswith("_metrics"):
            yield database[name]


def sweep_orphans(place: Place) -> None:
    """Delete what belongs to no run: viewers delete a run's document and Sacred's parts, and uploads break off."""
    known: set[Any] = set()
    used: set[Any] = set()
    fields = {"capture.key": 1, "capture.files": 1, "artifacts": 1, "experiment.sources": 1}
    for runs in _all_runs(place):
        for document in runs.find({}, fields):
            known.add((document.get("capture") or {}).get("key"))
            used |= files_of(document)
    for key in _old(place.metrics.distinct("capture.run")):
        if key not in known:
            place.metrics.delete_many({"capture.run": key})
    files = list(place.files.find({"capture": {"$exists": True}}, {"capture.run": 1, "capture.shared": 1}))
    lost = [each["_id"] for each in files if "run" in each["capture"] and each["capture"]["run"] not in known]
    Files(place).remove(_old(lost))
    sweep(place, [id for id in _old(each["_id"] for each in files if "shared" in each["capture"]) if id not in used])
    there = {each["_id"] for each in place.files.find({}, {"_id": 1})}
    grouped = place.chunks.aggregate([{"$group": {"_id": "$files_id"}}], allowDiskUse=True)
    for id in _old(each["_id"] for each in grouped):
        if id not in there:
            place.chunks.delete_many({"files_id": id})


def _old(ids: Iterable[Any]) -> list[Any]:
    """Return those ids that were made long enough ago."""
    from time import time

    limit = time() - YOUNG_S
    return [id for id in ids if type(id).__name__ == "ObjectId" and id.generation_time.timestamp() < limit]
