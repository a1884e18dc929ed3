"""Changing what people may change in MongoDB."""

from __future__ import annotations

from capture.errors import ObserverError
from capture.hooks import Curator, check_tags
from capture.observers._mongo_labels import Labels
from capture.observers._mongo_reader import MongoReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.observers._mongo_place import Place


class MongoCurator(Curator):
    """Changes what people may change in the runs of one database.

    Parameters
    ----------
    url : str or Place
        A MongoDB URL, whose path names the database; see `MongoObserver.from_url`.
    """

    def __init__(self, url: str | Place) -> None:
        self._reader = MongoReader(url)
        self.place = self._reader.place
        self.url = self._reader.url

    def __repr__(self) -> str:
        return f"MongoCurator({self.url!r})"

    def annotate(self, run: Any, tags: list[str] | None = None, notes: str | None = None) -> None:
        """Set tags or notes, in the fields in which Omniboard keeps those that people write there."""
        tags = check_tags(tags)
        label = self._reader.resolve(run)
        change: dict[str, Any] = {}
        if tags is not None:
            change["omniboard.tags"] = tags
        if notes is not None:
            change["omniboard.notes"] = notes
        if change:
            with self.place.explained():
                self.place.durable_runs.update_one({"_id": label}, {"$set": change})

    def bin(self, run: Any) -> None:
        """Take a run out of sight: its document moves into the collection ``capture.bin.RUNS``.

        Raises
        ------
        ObserverError
            If the run is being written, as far as that can be told from here.
        """
        label = self._reader.resolve(run)
        if self._reader.is_alive(self._reader.read(label)):
            raise ObserverError(f"run {label} of {self.url} is still going on: stop it first")
        with self.place.explained():
            Labels(self.place).keep(label)
            self._move(label, self.place.runs, self.place.bin)

    def restore(self, run: Any) -> None:
        """Bring a binned run back under its label."""
        label = self._reader.resolve(run, binned=True)
        with self.place.explained():
            if self.place.runs.find_one({"_id": label}, {"_id": 1}) is not None:
                raise ObserverError(f"{self.url} has another run {label} now; bin or move that one first")
            self._move(label, self.place.bin, self.place.runs)

    def _move(self, label: Any, source: Any, target: Any) -> None:
        """Move a document on the server. What breaks off leaves it in both places, where it is in sight."""
        into = {"into": target.name, "on": "_id", "whenMatched": "replace"}
        source.aggregate([{"$match": {"_id": label}}, {"$merge": into}])
        source.delete_one({"_id": label})

    def binned(self) -> list[Any]:
        """Return the labels of the runs in the bin, oldest first."""
        return self._reader.all_labels(binned=True)

    def purge(self, run: Any) -> None:
        """Delete a binned run for good, and the files that no other run uses. Its label is never given again.

        What viewers have left of runs that were deleted there goes, too, when it is more than a day old.
        """
        from capture.observers._mongo_removal import files_of, remove_satellites, sweep, sweep_orphans

        label = self._reader.resolve(run, binned=True)
        with self.place.explained():
            document = self.place.bin.find_one({"_id": label}, {"captured_out": 0})
            if document is None:
                raise ObserverError(f"run {run} of {self.url} was restored just now: it is not deleted")
            Labels(self.place).bury(label)
            self.place.bin.delete_one({"_id": label})
            remove_satellites(self.place, document)
            sweep(self.place, files_of(document))
            sweep_orphans(self.place)

    def erase(self, value: str) -> int:
        """Replace one string everywhere in the store with asterisks, byte for byte; return the number of places.

        Looked through are the documents of runs (all of their fields) and metrics, the output, and the files in GridFS
        with their names, also binary ones (as UTF-8, UTF-16 and UTF-32), and the bin. Not reached: what is compressed
        or encrypted, labels of runs, other collections of the database, journals and spools. The digests of changed
        files are recorded anew.

        Raises
        ------
        ValueError
            If `value` has fewer than 4 characters, which would destroy the records.
        """
        from capture.observers._mongo_erase import erase

        with self.place.explained():
            return erase(self.place, value)
