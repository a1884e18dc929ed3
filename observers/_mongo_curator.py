"""Changing what people may change in MongoDB."""

from __future__ import annotations

from capture.errors import ObserverError
from capture.hooks import Curator, check_tags
from capture.observers._mongo_labels import Labels
from capture.observers._mongo_moving import Mover, free, is_free, is_same_run
from capture.observers._mongo_reader import MongoReader, tags_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from capture.observers._mongo_place import Place


_PATIENCE_S = 10.0  #: how long one waits for another who moves the run that is to be tagged


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
        self.revise(run, lambda _tags, _notes: (tags, notes))

    def revise(self, run: Any, change: Callable[[list[str], str], tuple[list[str] | None, str | None]]) -> None:
        """Change tags and notes by what they are at that moment, see `Curator.revise`.

        Raises
        ------
        ObserverError
            If the run is in the bin by then, or somebody is moving it and does not end.
        """
        from time import monotonic, sleep

        label, until = self._reader.resolve(run), monotonic() + _PATIENCE_S
        with self.place.explained():
            while True:
                found = self.place.runs.find_one({"_id": label}, {"omniboard": 1})
                if found is None:
                    raise Mover(self.url, label).too_late()
                known = found.get("omniboard")
                known = known if isinstance(known, dict) else {}
                tags, notes = change(tags_in(known.get("tags")), str(known.get("notes") or ""))
                new = {"tags": tags, "notes": notes}
                wanted = {f"omniboard.{name}": value for name, value in new.items() if value is not None}
                as_before = [
                    {"$eq": [{"$ifNull": [f"$omniboard.{name}", None]}, {"$literal": known.get(name)}]} for name in new
                ]
                # what is written into a document that moves would be lost: it was copied already
                mine = {"_id": label, "$and": [free(), {"$expr": {"$and": as_before}}]}
                if not wanted or self.place.durable_runs.update_one(mine, {"$set": wanted}).matched_count:
                    return
                if monotonic() > until:
                    raise Mover(self.url, label).too_late()
                if not is_free(self.place.runs, label):
                    sleep(0.02)

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
        place = self.place
        with place.explained():
            Labels(place).keep(label)
            mover = Mover(self.url, label)
            if not mover.claim(place.runs):
                raise mover.too_late()
            mover.move(place.runs, place.bin, "replace")

    def restore(self, run: Any) -> None:
        """Bring a binned run back under its label."""
        label = self._reader.resolve(run, binned=True)
        place = self.place
        with place.explained():
            mover = Mover(self.url, label)
            if not mover.claim(place.bin):
                raise mover.too_late()
            try:
                is_there = mover.claim(place.runs)
                if is_there and not is_same_run(*[each.find_one({"_id": label}) for each in (place.bin, place.runs)]):
                    raise ObserverError(f"{self.url} has another run {label} now; bin or move that one first")
            except BaseException:
                mover.release(place.bin, place.runs)
                raise
            if is_there:  # a process died while it moved the run: it is whole in sight
                mover.delete(place.bin)
                mover.release(place.runs)
            else:
                mover.move(place.bin, place.runs, "fail")

    def binned(self) -> list[Any]:
        """Return the labels of the runs in the bin, oldest first."""
        return self._reader.all_labels(binned=True)

    def purge(self, run: Any) -> None:
        """Delete a binned run for good, and the files that no other run uses. Its label is never given again.

        What viewers have left of runs that were deleted there goes, too, when it is more than a day old.
        """
        from capture.observers._mongo_removal import files_of, remove_satellites, sweep, sweep_orphans

        label = self._reader.resolve(run, binned=True)
        place = self.place
        with place.explained():
            Labels(place).bury(label)
            mover = Mover(self.url, label)
            document = mover.take(place.bin)
            if document is None:
                raise ObserverError(f"run {label} of {self.url} was restored just now: it is not deleted")
            if mover.claim(place.runs):  # a process died while it moved the run; or another got the label
                is_same = is_same_run(document, place.runs.find_one({"_id": label}))
                mover.release(place.runs)
                if is_same:
                    raise ObserverError(f"run {label} of {self.url} was restored just now: it is not deleted")
            remove_satellites(place, document)
            sweep(place, files_of(document))
            sweep_orphans(place)

    def mend(self, dry: bool = False) -> Iterator[str]:
        """Finish moves to and from the bin that broke off; yield each thing that is done, or would be."""
        place = self.place
        with place.explained():
            for document in list(place.bin.find({}, {"captured_out": 0})):
                label = document["_id"]
                shown = place.runs.find_one({"_id": label}, {"captured_out": 0})
                if shown is None or not is_same_run(document, shown) or not is_free(place.bin, label):
                    continue
                yield f"run {label} is in sight and in the bin, since a move of it broke off: it leaves the bin"
                if not dry:
                    self.restore(label)

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
