"""Which run has which label in MongoDB: inserting its document decides, and a number is given once for all time.

A counter in the collection ``capture.labels`` gives the next number. Others, Sacred among them, may insert numbers of
their own at any time; where one is taken, the counter moves behind the largest and the next one is tried.
"""

from __future__ import annotations

from capture.observers._mongo_place import is_duplicate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.observers._mongo_place import Place

_INDEXES = 2  #: version of the indexes that `Labels._make_indexes` makes


def label_of(text: Any) -> Any:
    """Return the label that is meant by what somebody asked for: a number where it is one.

    Examples
    --------
    >>> label_of("17"), label_of("baseline"), label_of("007")
    (17, 'baseline', '007')
    """
    if isinstance(text, int) and not isinstance(text, bool):
        return text if 0 <= text < 2**63 else str(text)
    plain = str(text)
    if plain.isascii() and plain.isdigit() and len(plain) < 19 and (plain[0] != "0" or plain == "0"):
        return int(plain)
    return plain.encode("utf-8", "backslashreplace").decode()


class Labels:
    """Gives labels to the runs of one store.

    Parameters
    ----------
    place : Place
    """

    def __init__(self, place: Place) -> None:
        self._place = place

    def insert(self, document: dict[str, Any], asked: Any, uid: str | None) -> Any:
        """Insert the document of a new run under the label `asked` for if it is free, else the next number; return it.

        Where the document is there already, since an answer was lost, its label is returned.
        """
        if asked is not None:
            label = label_of(asked)
            if not self._is_used(label) and self._try(document, label, uid):
                self.keep(label)
                return document["_id"]
        while True:
            label = self._next()
            if self._try(document, label, uid):
                return document["_id"]

    def _try(self, document: dict[str, Any], label: Any, uid: str | None) -> bool:
        document["_id"] = label
        ordered = {"_id": label, **document}  # it comes first, as everywhere
        try:
            self._place.durable_runs.insert_one(ordered)
        except Exception as error:
            if not is_duplicate(error):
                raise
            if uid is not None:
                mine = self._place.runs.find_one({"capture.uids": uid}, {"_id": 1})
                if mine is not None:
                    document["_id"] = mine["_id"]
                    return True
            if "_id" not in ((getattr(error, "details", None) or {}).get("keyPattern") or {"_id": 1}):
                raise  # by an index of others, in whose eyes the next label is no better
            if isinstance(label, int):
                self._raise_to(self._largest())
            return False
        return True

    def _is_used(self, label: Any) -> bool:
        """Say whether a label was given and is not to be given again, though no run in sight has it."""
        place = self._place
        if place.bin.find_one({"_id": label}, {"_id": 1}) is not None:
            return True
        return place.labels.find_one({"_id": _grave(place.runs_name, label)}, {"_id": 1}) is not None

    def _next(self) -> int:
        return self._count({"$inc": {"last": 1}})

    def _raise_to(self, number: int) -> None:
        """See that no number up to this one is given."""
        self._count({"$max": {"last": number}})

    def _count(self, change: dict[str, Any]) -> int:
        """Change the counter; return the number at which it stands."""
        from pymongo import ReturnDocument

        labels, name = self._place.labels, self._place.runs_name
        counter = labels.find_one_and_update(
            {"_id": name}, change, upsert=True, return_document=ReturnDocument.AFTER
        )
        if counter.get("indexes") != _INDEXES:
            self._make_indexes()
        return int(counter["last"])

    def keep(self, label: Any) -> None:
        """See that a label that is in use is not given to another run."""
        if isinstance(label, int):
            self._raise_to(label)

    def _largest(self) -> int:
        largest = 0
        for collection in (self._place.runs, self._place.bin):
            found = collection.find_one({"_id": {"$type": "number"}}, {"_id": 1}, sort=[("_id", -1)])
            largest = max(largest, int(found["_id"]) if found is not None else 0)
        return largest

    def bury(self, label: Any) -> None:
        """See that a label is never given again."""
        self.keep(label)
        self._place.labels.update_one(
            {"_id": _grave(self._place.runs_name, label)}, {"$set": {"purged": True}}, upsert=True
        )

    def _make_indexes(self) -> None:
        """Make the indexes of a store, once."""
        place = self._place
        ours = {"partialFilterExpression": {"capture.uids": {"$exists": True}}}
        place.runs.create_index("capture.uids", unique=True, name="capture_uids", **ours)
        place.runs.create_index([("status", 1), ("start_time", -1)], name="capture_status")
        place.runs.create_index([("start_time", -1)], name="capture_start_time")
        place.metrics.create_index("run_id", name="capture_run_id")
        place.metrics.create_index(
            "capture.run", name="capture_run", partialFilterExpression={"capture.run": {"$exists": True}}
        )
        place.chunks.create_index([("files_id", 1), ("n", 1)], unique=True)  # these two are GridFS's own
        place.files.create_index([("filename", 1), ("uploadDate", 1)])
        place.files.create_index(
            "capture.shared",
            unique=True,
            name="capture_shared",
            partialFilterExpression={"capture.shared": {"$exists": True}},
        )
        place.labels.update_one({"_id": place.runs_name}, {"$set": {"indexes": _INDEXES}}, upsert=True)


def _grave(runs: str, label: Any) -> dict[str, Any]:
    return {"runs": runs, "label": label}
