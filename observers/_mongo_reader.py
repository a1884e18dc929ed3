"""Reading runs from MongoDB: those that this library wrote, and those that Sacred did."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from capture.codec import decode
from capture.filters import fields_of
from capture.observers._mongo_files import Files
from capture.observers._mongo_filters import query_of
from capture.observers._mongo_labels import label_of
from capture.observers._mongo_place import Place, place_of
from capture.observers._mongo_values import cell_value, plain, true_key, with_ints
from capture.observers._reading import StoredRecord, StoreReader
from capture.observers._series import LazySeries
from capture.records import KEPT, RunRecord, Series, StoredFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime
    from typing import Any, BinaryIO

    from capture.filters import Filter
    from capture.hooks import UsedFiles

#: what a list of runs asks for; the rest of a document is fetched when it is asked for
_LISTED = {
    "status": 1, "command": 1, "start_time": 1, "stop_time": 1, "heartbeat": 1, "config": 1, "result": 1,
    "omniboard": 1, "capture.format": 1, "capture.uid": 1, "capture.key": 1, "capture.status": 1, "capture.times": 1,
    "capture.summary": 1, "capture.exact": 1, "experiment.name": 1,
}  # fmt: skip
#: fields of a record that `_LISTED` is enough for
_FROM_LIST = frozenset(
    {
        *("uid", "status", "command", "name", "config", "result", "tags", "notes", "summary", "metrics"),
        *("start_time", "stop_time", "heartbeat", "queue_time"),
    }
)
_AT_ONCE = 1_000  #: documents that are fetched together
_GROUP = 64  #: runs of a list whose whole documents are fetched together, when that of one is asked for
#: fields that a condition may ask for, and what of a document they need
_ASKED = {
    "experiment": ("experiment", "capture.told_sources"), "host": ("host",), "meta": ("meta",), "info": ("info",),
    "facts": ("capture.facts",), "user": ("capture.facts.process.value.user",), "writers": ("capture.writers",),
}  # fmt: skip


class MongoReader(StoreReader):
    """Reads the runs of one database.

    Parameters
    ----------
    url : str or Place
        A MongoDB URL, whose path names the database; see `MongoObserver.from_url`.
    """

    def __init__(self, url: str | Place) -> None:
        self.place = url if isinstance(url, Place) else place_of(url)
        self.url = self.place.identity
        self.files = Files(self.place)

    def __repr__(self) -> str:
        return f"MongoReader({self.url!r})"

    def close(self) -> None:
        """Let go of the connection."""
        self.place.close()

    # ------------------------------------------------------------------------------------------- which runs

    def all_labels(self, binned: bool = False) -> list[Any]:
        with self.place.explained():
            return [each["_id"] for each in self._in_order(self._collection(binned), {})]

    def find_label(self, text: str, binned: bool = False) -> Any:
        wanted = [label_of(text)] if label_of(text) == text else [label_of(text), text]
        with self.place.explained():
            found = self._collection(binned).find_one({"_id": {"$in": wanted}}, {"_id": 1})
        return None if found is None else found["_id"]

    def uids_like(self, part: str, binned: bool = False) -> Iterable[tuple[str, Any]]:
        import re

        digits = "-?".join(map(re.escape, part.replace("-", "").lower()))
        with self.place.explained():
            wanted = {"capture.uids": {"$regex": f"^{digits}|{digits}$"}}
            found = self._collection(binned).find(wanted, {"capture.uid": 1})
            return [(each["capture"]["uid"], each["_id"]) for each in found if each["capture"].get("uid")]

    def read(self, label: Any, binned: bool = False) -> RunRecord:
        with self.place.explained():
            document = self._document(label)
        return StoredRecord(label, _Stored(self, label, document).load)

    def output_from(self, label: Any, start: int) -> tuple[int, bytes] | None:
        with self.place.explained():
            return output_from(self.place, label, start)

    def used_files(self, progress: Callable[[], Any] = lambda: None) -> UsedFiles:
        """Return what tells which runs had to do with a file, from what all documents list of files."""
        from capture.observers._mongo_used_files import used_files

        with self.place.explained():
            return used_files(self, progress)

    def newest_first(self, fields: Mapping[str, Any]) -> Iterator[Any]:
        """Yield these fields of the documents of all runs in sight."""
        runs = self.place.runs
        if not self._has_names(runs):
            yield from runs.find({}, fields).sort("_id", -1)
            return
        labels = [each["_id"] for each in reversed(self._in_order(runs, {}))]
        for at in range(0, len(labels), _AT_ONCE):
            found = {each["_id"]: each for each in runs.find({"_id": {"$in": labels[at : at + _AT_ONCE]}}, fields)}
            yield from (found[label] for label in labels[at : at + _AT_ONCE] if label in found)

    def candidates(self, wanted: Filter | None, limit: int | None) -> Iterable[RunRecord]:
        query, runs = query_of(wanted), self.place.runs
        with self.place.explained():
            if self._has_names(runs):  # then numbers do not tell which is newer
                yield from self.by_label([each["_id"] for each in reversed(self._in_order(runs, query))])
                return
            asked = {name for name in fields_of(wanted) if name in _ASKED}
            asked -= {"user"} if "facts" in asked else set()
            fields = {**_LISTED, **{path: 1 for name in asked for path in _ASKED[name]}}
            if "experiment" in fields:  # MongoDB refuses to be asked for the whole and a part
                del fields["experiment.name"]
            cursor = runs.find(query, fields).sort("_id", -1)
            if limit is not None and wanted is None:
                cursor = cursor.limit(limit)
            cursor = cursor.batch_size(_AT_ONCE if limit is None else max(2, min(limit, _AT_ONCE)))
            while documents := list(islice(cursor, _GROUP)):
                yield from self._group(documents, _FROM_LIST | asked)

    def _group(self, documents: list[Any], listed: frozenset[str]) -> Iterator[RunRecord]:
        """Yield the records of runs of which a list is known."""
        group = _Group(self, [document["_id"] for document in documents])
        for document in documents:
            stored = _Stored(self, document["_id"], document, listed, group)
            record = StoredRecord(document["_id"], stored.load)
            if "user" in listed:
                _tell_user(record, document)
            yield record

    def by_label(self, labels: Sequence[Any]) -> Iterator[RunRecord]:
        """Yield the records of some runs, in this order; of what was deleted meanwhile there is none."""
        with self.place.explained():
            for at in range(0, len(labels), _AT_ONCE):
                some = labels[at : at + _AT_ONCE]
                found = {each["_id"]: each for each in self.place.runs.find({"_id": {"$in": some}}, _LISTED)}
                for start in range(0, len(some), _GROUP):
                    group = [found[label] for label in some[start : start + _GROUP] if label in found]
                    yield from self._group(group, _FROM_LIST)

    def _has_names(self, collection: Any) -> bool:
        """Say whether runs have labels that are no numbers; else these sort them by age."""
        return collection.find_one({"_id": {"$gte": ""}}, {"_id": 1}) is not None

    def _in_order(self, collection: Any, query: Mapping[str, Any]) -> list[Any]:
        """Return label and times of runs, oldest first."""
        if not self._has_names(collection):
            return list(collection.find(query, {"_id": 1}).sort("_id", 1))
        fields = {"start_time": 1, "capture.times.queued": 1, "capture.times.started": 1}
        return sorted(collection.find(query, fields), key=_age)

    def _collection(self, binned: bool) -> Any:
        return self.place.bin if binned else self.place.runs

    def _document(self, label: Any) -> Any:
        for collection in (self.place.runs, self.place.bin):
            found = collection.find_one({"_id": label}, {"captured_out": 0})
            if found is not None:
                return found
        from capture.observers._query import not_found

        raise not_found(self.url, label, self.all_labels())



def output_from(place: Place, label: Any, start: int) -> tuple[int, bytes] | None:
    """Return long output from a place on; None where all of it lies in the document, or the beginning is asked for."""
    from capture.observers._mongo_files import CHUNK

    document = place.runs.find_one({"_id": label}, {"capture.output": 1}) or {}
    known = (document.get("capture") or {}).get("output") or {}
    size, head, file = known.get("size"), known.get("head"), known.get("file")
    if file is None or not isinstance(size, int) or not isinstance(head, int):
        return None
    begin = min(start, size) if start >= 0 else max(size + start, 0)
    if begin < head:
        return None
    first = (begin - head) // CHUNK
    chunks = place.chunks.find({"files_id": file, "n": {"$gte": first}}).sort("n", 1)
    data = b"".join(bytes(each["data"]) for each in chunks)[: size - head - first * CHUNK]
    return begin, data[begin - head - first * CHUNK :]


def tags_in(stored: Any) -> list[str]:
    """Return tags as Omniboard and others store them: a list, or one text with commas."""
    if isinstance(stored, str):
        return [tag.strip() for tag in stored.split(",") if tag.strip()]
    return [str(tag) for tag in stored or ()]


class _Group:
    """Runs of a list: who asks for more of one of them will ask for the same of the next."""

    def __init__(self, reader: MongoReader, labels: list[Any]) -> None:
        self._reader, self._labels = reader, labels
        self._found: dict[Any, Any] | None = None

    def whole(self, label: Any) -> Any:
        """Return the document of one of the runs, but for its output."""
        with self._reader.place.explained():
            if self._found is None:
                wanted = {"_id": {"$in": self._labels}}
                self._found = {each["_id"]: each for each in self._reader.place.runs.find(wanted, {"captured_out": 0})}
            document = self._found.pop(label, None)
            return self._reader._document(label) if document is None else document


class _Stored:
    """The document of a run, and how each field of its record is read from it.

    Parameters
    ----------
    reader : MongoReader
    label : object
    document : dict
    listed : set of str
        The fields that can be read from `document`, if it is not whole.
    group : _Group, optional
        Where the whole of it is had.
    """

    def __init__(
        self,
        reader: MongoReader,
        label: Any,
        document: Any,
        listed: frozenset[str] = frozenset(),
        group: _Group | None = None,
    ) -> None:
        self._reader, self._label, self._document = reader, label, document
        self._at_hand, self._group = listed, group

    def load(self, name: str) -> Any:
        """Return one field of the record; KeyError if it is as in an empty one."""
        if self._group is not None and name not in self._at_hand:
            self._complete()
        return getattr(self, f"_{name}")()

    def _complete(self) -> None:
        if self._group is not None:
            self._document = self._group.whole(self._label)
            self._group = None

    @property
    def _document(self) -> Any:
        return self._known

    @_document.setter
    def _document(self, document: Any) -> None:
        self._known = document
        mine = document.get("capture")
        self._mine: Any = mine if isinstance(mine, dict) and "format" in mine else {}

    def _cell(self, stored: Any) -> Any:
        return cell_value(stored, self._reader.files.read)

    def _field(self, name: str) -> Any:
        exact = (self._mine.get("exact") or {}).get(name)
        if exact is not None:
            return self._cell(exact)
        value = self._document[name]
        return decode(with_ints(value) if self._mine else plain(value))

    # Fields, by the name of the attribute of `RunRecord`.

    def _uid(self) -> str:
        return self._mine.get("uid") or ""

    def _status(self) -> str:
        mine = self._mine.get("status")
        return str(decode(mine if mine is not None else self._document.get("status", "RUNNING")))

    def _command(self) -> Any:
        return self._field("command")

    def _config(self) -> Any:
        return self._field("config")

    def _name(self) -> str:
        name = (self._document.get("experiment") or {}).get("name")
        if not isinstance(name, str) or "experiment" in (self._mine.get("exact") or {}):
            raise KeyError("name")
        return name

    def _host(self) -> Any:
        return self._field("host")

    def _meta(self) -> Any:
        return self._field("meta")

    def _result(self) -> Any:
        return self._field("result")

    def _fail_trace(self) -> Any:
        trace = self._field("fail_trace")
        return [trace] if isinstance(trace, str) else trace

    def _info(self) -> Any:
        if "info" in (self._mine.get("exact") or {}):
            return self._field("info")
        info = dict(self._document["info"] or {})
        if _is_index(info.get("metrics")):
            del info["metrics"]
        return decode(plain(info))

    def _experiment(self) -> Any:
        stored = dict(self._document["experiment"] or {})
        if not self._mine:
            return decode(plain(stored))
        stored.pop("sources", None)
        experiment = decode(plain(stored))
        if "experiment" in (self._mine.get("exact") or {}):
            told = self._field("experiment")
            if "dependencies" in experiment:
                told["dependencies"] = experiment["dependencies"]
            experiment = told
        if "told_sources" in self._mine:
            experiment["sources"] = self._cell(self._mine["told_sources"])
        return experiment

    def _time(self, name: str, field: str) -> datetime | None:
        told = (self._mine.get("times") or {}).get(name)
        if told is not None:
            from datetime import datetime

            return datetime.fromisoformat(told)
        return _moment(self._document.get(field)) if field else None

    def _queue_time(self) -> datetime | None:
        if self._mine:
            return self._time("queued", "")
        self._complete()
        return _moment((self._document.get("meta") or {}).get("queue_time"))

    def _start_time(self) -> datetime | None:
        return self._time("started", "start_time")

    def _stop_time(self) -> datetime | None:
        return self._time("stopped", "stop_time")

    def _heartbeat(self) -> datetime | None:
        return self._time("heartbeat", "heartbeat")

    def _resumed(self) -> list[datetime]:
        from datetime import datetime

        return [datetime.fromisoformat(each) for each in self._mine["resumed"]]

    def _facts(self) -> dict[str, Any]:
        return {true_key(key): self._cell(each) for key, each in self._mine["facts"].items()}

    def _writers(self) -> dict[str, Any]:
        return {true_key(key): self._cell(each) for key, each in self._mine["writers"].items()}

    def _extra(self) -> list[Any]:
        from capture.observers._mongo_values import cell_json

        return [cell_json(each, self._reader.files.read) for each in self._mine["extra"]]

    def _tags(self) -> list[str]:
        return tags_in(self._document["omniboard"]["tags"])

    def _notes(self) -> str:
        return str(self._document["omniboard"]["notes"] or "")

    # Files.

    def _sources(self) -> list[StoredFile]:
        return [stored for stored in self._all_sources() if not stored.name.startswith(KEPT)]

    def _kept(self) -> list[StoredFile]:
        return [stored for stored in self._all_sources() if stored.name.startswith(KEPT)]

    def _all_sources(self) -> list[StoredFile]:
        if self._mine:
            return self._listed("sources")
        pairs = (self._document.get("experiment") or {}).get("sources") or ()
        return self._of_sacred([(str(pair[0]), pair[1]) for pair in pairs if isinstance(pair, list) and len(pair) > 1])

    def _resources(self) -> list[StoredFile]:
        if self._mine:
            return self._listed("resources")
        pairs = self._document.get("resources") or ()
        files = []
        for name, md5, *_ in [pair for pair in pairs if isinstance(pair, list) and len(pair) > 1]:
            # Early versions of Sacred stored resources under their path; later ones only name them.
            found = self._reader.place.files.find_one({"filename": name, "md5": md5}, {"length": 1})
            opener = None if found is None else self._opener(found["_id"], str(name))
            size = None if found is None else with_ints(found.get("length"))
            files.append(StoredFile(str(name), None, size, {"md5": md5}, None, opener))
        return files

    def _artifacts(self) -> list[StoredFile]:
        if self._mine:
            return self._listed("artifacts")
        entries = self._document.get("artifacts") or ()
        return self._of_sacred([(str(each["name"]), each.get("file_id")) for each in entries if isinstance(each, dict)])

    def _listed(self, kind: str) -> list[StoredFile]:
        found: dict[Any, StoredFile] = {}
        for entry in (self._mine.get("files") or {}).get(kind) or ():
            name = str(decode(plain(entry["name"])))
            key = (name, entry.get("digest")) if kind == "resources" else name
            found[key] = StoredFile(
                name,
                entry.get("digest"),
                with_ints(entry.get("size")),
                self._cell(entry["metadata"]) if "metadata" in entry else None,
                decode(plain(entry.get("content_type"))),
                None if entry.get("file") is None else self._opener(entry["file"], name),
            )
        return list(found.values())

    def _of_sacred(self, pairs: list[tuple[str, Any]]) -> list[StoredFile]:
        """Return files that a record of Sacred's names; of them GridFS knows the rest."""
        ids = [id for _, id in pairs]
        fields = {"length": 1, "metadata": 1, "contentType": 1, "md5": 1}
        known = {each["_id"]: each for each in self._reader.place.files.find({"_id": {"$in": ids}}, fields)}
        files = []
        for name, id in pairs:
            stored = known.get(id, {})
            metadata = decode(plain(stored.get("metadata")))
            kind, size = stored.get("contentType"), with_ints(stored.get("length"))
            files.append(StoredFile(name, None, size, metadata, kind, self._opener(id, name)))
        return files

    def _opener(self, id: Any, name: str) -> Callable[[], BinaryIO]:
        files = self._reader.files
        return lambda: files.open(id, name)

    # Streams.

    def _read_output(self) -> Callable[[], str]:
        return self._whole_output

    def _whole_output(self) -> str:
        place = self._reader.place
        with place.explained():
            return read_output(place, place.runs, self._label) or read_output(place, place.bin, self._label)

    def _metrics(self) -> Any:
        return LazySeries(self._read_series)

    def _read_series(self) -> dict[str, Series]:
        from capture.observers._mongo_series import read_sacred_series, read_series

        place = self._reader.place
        with place.explained():
            if self._mine:
                return read_series(place, self._mine["key"])
            self._complete()
            index: Any = (self._document.get("info") or {}).get("metrics")
            ids = [str(each["id"]) for each in index] if _is_index(index) else []
            return read_sacred_series(place, self._label, ids)

    def _summary(self) -> dict[str, dict[str, Any]]:
        if not self._mine:
            raise KeyError("summary")
        parts = ("count", "last", "step", "time", "min", "max")
        return {
            true_key(key): {part: with_ints(each.get(part)) for part in parts}
            for key, each in (self._mine.get("summary") or {}).items()
        }


def read_output(place: Place, collection: Any, label: Any) -> str:
    """Return the whole output of a run whose document is in `collection`; "" if it is not."""
    found = collection.find_one({"_id": label}, {"captured_out": 1, "capture.output": 1}) or {}
    shown = str(found.get("captured_out") or "")
    long = (found.get("capture") or {}).get("output")
    if not long:
        return shown
    rest = Files(place).read(long["file"])[: long["size"] - long["head"]]
    return (shown.encode()[: long["head"]] + rest).decode("utf-8", "replace")


def _tell_user(record: StoredRecord, document: Any) -> None:
    """Let a record know whose it is, where the facts that say so are stored as they are."""
    for name in ("capture", "facts", "process", "value", "user", "name"):
        document = document.get(name) if isinstance(document, dict) else None
    if isinstance(document, str):
        record.__dict__["_user"] = document


def _is_index(value: Any) -> bool:
    """Say whether it is the list by which Sacred finds the series of a run."""
    return isinstance(value, list) and all(isinstance(each, dict) and {"name", "id"} <= set(each) for each in value)


def _moment(value: Any) -> datetime | None:
    """Return an aware time; Sacred's have no offset and are UTC."""
    from datetime import datetime, timezone

    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=timezone.utc)


def _age(document: Mapping[str, Any]) -> tuple[str, int, str]:
    times = (document.get("capture") or {}).get("times") or {}
    started = _moment(times.get("started") or times.get("queued") or document.get("start_time"))
    label = document["_id"]
    return (started.isoformat() if started else "", label if isinstance(label, int) else 0, str(label))
