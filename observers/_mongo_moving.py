"""Moving a run's document between the runs and the bin, where no transaction can be counted on.

The document is copied and then deleted, and several people may bin, restore and purge one run at the same moment. So
each of them first claims the document by a mark in it, in one step, which only one of them can. The copy has the mark,
too, and everything that follows is done to documents that have one's own mark only. A claim whose owner says nothing
for `CLAIM_S` is taken to be of a process that died; whoever takes it over ends it, should it wake up again.
"""

from __future__ import annotations

import os

from capture.errors import ObserverError
from capture.observers._mongo_place import is_duplicate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

CLAIM_S = 60  #: on the server's clock
MARK = "capture_moving"  #: key of a document


def free() -> dict[str, Any]:
    """Return the condition that nobody moves a document; a mark that is missing is less than any time."""
    return {"$expr": {"$lt": [f"${MARK}.since", {"$subtract": ["$$NOW", CLAIM_S * 1000]}]}}


def is_free(collection: Any, label: Any) -> bool:
    """Say whether a document is there and nobody moves it at this moment."""
    return collection.find_one({"_id": label, **free()}, {"_id": 1}) is not None


def is_same_run(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Say whether two documents under one label are of one run; Sacred's have no key."""
    if one is None or other is None:
        return False
    keys = [(each.get("capture") or {}).get("key") for each in (one, other)]
    if any(key is not None for key in keys):
        return bool(keys[0] == keys[1])
    told = ("start_time", "host", "config", "experiment")
    return all(one.get(name) == other.get(name) for name in told)


class Mover:
    """One person's move of one run.

    Parameters
    ----------
    url : str
        Of the store, for messages.
    label : object
    """

    def __init__(self, url: str, label: Any) -> None:
        self._url, self._label = url, label
        self._token = os.urandom(8).hex()
        self._mine = {"_id": label, f"{MARK}.by": self._token}

    def too_late(self) -> ObserverError:
        """Return the error that somebody else was faster."""
        return ObserverError(
            f"run {self._label} of {self._url} is moved by somebody else at this moment, or was just now"
            "\n  what to do:  look where it is, and try again",
            print_traceback=False,
        )

    def claim(self, collection: Any) -> bool:
        """Claim the document in a collection; say whether there is one.

        Raises
        ------
        ObserverError
            If somebody else has claimed it.
        """
        mark = [{"$set": {MARK: {"by": self._token, "since": "$$NOW"}}}]
        if collection.find_one_and_update({"_id": self._label, **free()}, mark, {"_id": 1}) is not None:
            return True
        if collection.find_one({"_id": self._label}, {"_id": 1}) is None:
            return False
        raise self.too_late()

    def take(self, collection: Any) -> dict[str, Any] | None:
        """Delete a document that nobody moves, and return it without what the run printed; None if there is none."""
        found: dict[str, Any] | None = collection.find_one_and_delete(
            {"_id": self._label, **free()}, {"captured_out": 0}
        )
        return found

    def move(self, source: Any, target: Any, when_there: str) -> None:
        """Move a document that was claimed, on the server. What breaks off leaves it in both places: it is in sight.

        Raises
        ------
        ObserverError
            If the claim was taken over meanwhile, since this process had stopped for long.
        """
        into = {"into": target.name, "on": "_id", "whenMatched": when_there}
        try:
            source.aggregate([{"$match": self._mine}, {"$merge": into}])
        except Exception as error:
            self.release(source)
            if not is_duplicate(error):
                raise
            raise ObserverError(f"{self._url} has another run {self._label} now; bin or move that one first") from error
        if target.find_one(self._mine, {"_id": 1}) is None or not self.delete(source):
            self.release(source, target)
            raise self.too_late()
        self.release(target)

    def delete(self, collection: Any) -> bool:
        """Delete the document if it is still claimed; say whether it was."""
        return bool(collection.delete_one(self._mine).deleted_count)

    def release(self, *collections: Any) -> None:
        """Give a claim back where it is still held."""
        for collection in collections:
            collection.update_one(self._mine, {"$unset": {MARK: ""}})
