"""One run in MongoDB, as its writer sees it.

What happens is gathered and written with `flush`, in this order: bytes of files, measurements, and last the run's
document, in one atomic update that also says up to which event it goes. The update is refused by the server if the
document does not stand where this writer left it; so what was sent twice is stored once.

Only single fields are set: the document may hold fields of others (a viewer's notes, a launcher's).
"""

from __future__ import annotations

from capture._version import __version__
from capture.codec import encode
from capture.errors import ObserverError
from capture.observers._mongo_files import SMALL, Files, Upload
from capture.observers._mongo_output import Output
from capture.observers._mongo_series import SeriesWriter
from capture.observers._mongo_values import cell, readable, safe_key, shortened, size_of, true_key, view
from capture.observers._writing import Blob, RunWriter, log
from capture.records import KEPT, experiment_facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Any

    from capture.hooks import MetricsBatch
    from capture.observers.mongo import MongoObserver

FORMAT = 1  #: of the key ``capture``
LAYOUT = "MongoObserver-0.7.0"  #: Sacred's name of the rest
#: what a status that viewers do not know is shown as
SHOWN_AS = {"PREEMPTED": "INTERRUPTED"}

# Bytes that parts of a document may take, which may have 16 MB in all.
_FIELD = 1 << 20
_FACTS = 3 << 19  # all of them together
_CELL = 64 << 10
_FILES = 6 << 20
_NOTE = 64 << 10  # what is left of a field that was moved


class Changes:
    """What is to be changed in a document, and the update that does it.

    All is written as one pipeline, since what is appended to the output, or compared, depends on what is there.
    """

    def __init__(self) -> None:
        self.sets: dict[str, Any] = {}
        self.unsets: dict[str, None] = {}
        self.defaults: dict[str, Any] = {}  # set where there is nothing
        self.wholes: dict[str, tuple[Any, str]] = {}  # set, but for one key of theirs that stays
        self.appends: dict[str, list[Any]] = {}
        self.replaces: dict[str, list[tuple[Any, Any]]] = {}  # array -> (its element's name, the new element)
        self.summaries: dict[str, dict[str, Any]] = {}
        self.expressions: dict[str, Any] = {}

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def set(self, path: str, value: Any) -> None:
        self.unsets.pop(path, None)
        self.sets[path] = value

    def unset(self, path: str) -> None:
        self.sets.pop(path, None)
        self.unsets[path] = None

    def append(self, path: str, value: Any) -> None:
        self.appends.setdefault(path, []).append(value)

    def document(self) -> dict[str, Any]:
        """Return the changes as a new document."""
        document: dict[str, Any] = {}
        for path, value in {**self.defaults, **self.sets}.items():
            _assign(document, path, value)
        for path, (value, kept) in self.wholes.items():
            _assign(document, path, {**value, kept: []} if kept == "sources" else value)
        for path, values in self.appends.items():
            _assign(document, path, [*(_value_at(document, path) or ()), *values])
        for name, summary in self.summaries.items():
            _assign(document, f"capture.summary.{safe_key(name)}", summary)
        return document

    def pipeline(self) -> list[dict[str, Any]]:
        """Return the changes as an update."""
        first: dict[str, Any] = {
            path: {"$ifNull": [f"${path}", {"$literal": value}]} for path, value in self.defaults.items()
        }
        for path, (value, kept) in self.wholes.items():
            stays: Any = f"${path}.{kept}"
            if kept == "sources":  # viewers count on that one
                stays = {"$ifNull": [stays, []]}
            first[path] = {"$mergeObjects": [{"$literal": value}, {kept: stays}]}
        second: dict[str, Any] = {path: {"$literal": value} for path, value in self.sets.items()}
        second.update(self.expressions)
        third: dict[str, Any] = {path: _replacing(path, pairs) for path, pairs in self.replaces.items()}
        fourth: dict[str, Any] = {
            path: {"$concatArrays": [{"$ifNull": [f"${path}", []]}, {"$literal": values}]}
            for path, values in self.appends.items()
        }
        for name, summary in self.summaries.items():
            fourth.update(_merging(f"capture.summary.{safe_key(name)}", summary))
        stages: list[dict[str, Any]] = [{"$unset": list(self.unsets)}] if self.unsets else []
        return stages + [{"$set": each} for each in (first, second, third, fourth) if each]


def _assign(document: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split(".")
    for key in above:
        document = document.setdefault(key, {})
    document[last] = value


def _value_at(document: Any, path: str) -> Any:
    for key in path.split("."):
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _replacing(path: str, pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    named = {"$arrayElemAt": ["$$old", 0]} if path == "experiment.sources" else "$$old.name"
    branches = [
        {"case": {"$eq": [named, {"$literal": name}]}, "then": {"$literal": element}} for name, element in pairs
    ]
    change = {"$switch": {"branches": branches, "default": "$$old"}}
    return {"$map": {"input": {"$ifNull": [f"${path}", []]}, "as": "old", "in": change}}


def _merging(path: str, new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the expressions that add `new` to the summary of a series; several writers may do so in any order."""
    newer = {"$gte": [{"$literal": new["time"]}, {"$ifNull": [f"${path}.time", 0]}]}
    merged: dict[str, Any] = {
        f"{path}.count": {"$add": [{"$ifNull": [f"${path}.count", 0]}, new["count"]]},
        f"{path}.min": {"$min": [f"${path}.min", {"$literal": new["min"]}]},  # these pass over null
        f"{path}.max": {"$max": [f"${path}.max", {"$literal": new["max"]}]},
    }
    for part in ("last", "step", "time"):
        merged[f"{path}.{part}"] = {"$cond": [newer, {"$literal": new[part]}, f"${path}.{part}"]}
    return merged


class MongoRun(RunWriter):
    """One run that is written to MongoDB.

    Parameters
    ----------
    observer : MongoObserver
    label : object
        None as long as the run has no document: the first flush gives it one.
    uid : str or None
    document : mapping, optional
        What is stored of the run.
    is_binned : bool
        Whether that is in the bin.

    Attributes
    ----------
    entry : dict
        The top level of the document, as far as this writer set it. What else is put into it is written, too.
    gone : bool
        Whether somebody deleted the document.
    """

    def __init__(
        self,
        observer: MongoObserver,
        label: Any,
        uid: str | None,
        document: Mapping[str, Any] | None = None,
        is_binned: bool = False,
    ) -> None:
        mine = (document or {}).get("capture") or {}
        seqs = {true_key(writer): seq for writer, seq in (mine.get("seqs") or {}).items()}
        missed = {true_key(writer): each for writer, each in (mine.get("missed") or {}).items()}
        super().__init__(label, uid, seqs, missed)
        from bson import ObjectId

        self._observer, self._place = observer, observer.place
        self._files = Files(self._place)
        self._is_binned = is_binned
        self.asked: Any = None
        self.superseded = uid is not None and bool(mine) and mine.get("uid") != uid
        self.gone = False
        self.entry: dict[str, Any] = {} if label is None else {"_id": label}
        self._shown: dict[str, Any] = dict(self.entry)
        self._is_new = label is None
        self.key = mine.get("key") or ObjectId()
        self._base = dict(self.seqs)  # as the document has them
        self._missed_base = {writer: set(each) for writer, each in self.missed.items()}
        self._changes = Changes()
        self._sent: tuple[dict[str, Any], list[dict[str, Any]], dict[str, int]] | None = None
        self._series = SeriesWriter(self._place, self.key, self._is_new)
        self._output = Output(self._place, self.key, label, self._is_new, self._place.bin if is_binned else None)
        self._info: Any = None
        self._base_dir = ""
        self._facts_room = _FACTS
        self._moved: dict[str, Any] = {}  # field -> the file that holds its value
        self._useless: list[Any] = []  # files that nothing refers to after the next flush
        self._names: dict[str, dict[Any, Any]] = {"sources": {}, "resources": {}, "artifacts": {}}
        self._files_size = 0
        self._uploads: dict[tuple[str, str], Upload] = {}  # begun, perhaps broken off
        self._waiting: list[tuple[Upload | None, str, dict[str, Any]]] = []  # without an upload: only listed
        self._used: dict[Any, Upload] = {}  # shared files that this run has come to use since the last flush
        if document is None or not mine.get("key"):
            self._introduce()
        if document is not None:
            self._remember(document)

    @property
    def _runs(self) -> Any:
        return self._place.bin if self._is_binned else self._place.runs

    def _introduce(self) -> None:
        """Say what every document of ours says."""
        changes = self._changes
        changes.set("capture.format", FORMAT)
        changes.set("capture.version", __version__)
        changes.set("capture.key", self.key)
        if self.uid is not None:
            changes.set("capture.uid", self.uid)
            if self._is_new:
                changes.set("capture.uids", [self.uid])

    def _remember(self, document: Mapping[str, Any]) -> None:
        mine = document.get("capture") or {}
        for kind, known in self._names.items():
            for entry in (mine.get("files") or {}).get(kind) or ():
                known[_file_key(kind, entry)] = entry.get("file")
                self._files_size += _entry_size(entry)
        metrics = (document.get("info") or {}).get("metrics")
        self._series.list_known(metrics if isinstance(metrics, list) else ())
        self._moved = {
            field: each["file"] for field, each in (mine.get("exact") or {}).items() if "file" in (each or {})
        }
        self._base_dir = str((document.get("experiment") or {}).get("base_dir") or "")

    def has(self, writer: str, seq: int) -> bool:
        return self.superseded or super().has(writer, seq)

    # ------------------------------------------------------------------------------------------- what happens

    def opened(self, writer: str, host: Any, version: Any) -> None:
        self._changes.set(f"capture.writers.{safe_key(writer)}", self._cell("writer", host))
        if version is not None:
            self._changes.set("capture.version", readable(str(version)))

    def described(
        self, status: str, moment: datetime, ex_info: Any, command: str, host_info: Any, config: Any, meta_info: Any
    ) -> None:
        changes = self._changes
        self._top("format", LAYOUT)
        self._top("status", status)
        changes.unset("capture.status")
        self._field("command", command)
        self._field("config", config)
        self._field("host", host_info)
        self._field("meta", meta_info)
        self._describe_experiment(ex_info)
        changes.set(f"capture.times.{'queued' if status == 'QUEUED' else 'started'}", _iso(moment))
        if status == "QUEUED":
            return
        self._top("start_time", _utc(moment))
        for name, empty in (("info", {}), ("captured_out", ""), ("resources", []), ("artifacts", [])):
            changes.defaults[name] = empty
            self.entry.setdefault(name, empty)
            self._shown.setdefault(name, self.entry[name])
        changes.defaults["heartbeat"] = None

    def _describe_experiment(self, ex_info: Any) -> None:
        told = dict(ex_info) if isinstance(ex_info, dict) else {}
        self._base_dir = str(told.get("base_dir") or "")
        if "sources" in told:
            self._changes.set("capture.told_sources", self._cell("sources", told.pop("sources")))
        else:
            self._changes.unset("capture.told_sources")
        self._field("experiment", told, keep="sources")

    def resumed(self, moment: datetime) -> None:
        self._top("status", "RUNNING")
        for path in ("stop_time", "fail_trace", "capture.status", "capture.times.stopped", "capture.exact.fail_trace"):
            self._changes.unset(path)
        self._changes.append("capture.resumed", _iso(moment))

    def facts(self, topic: str, facts: Any) -> None:
        encoded = encode(facts)
        room = max(min(_CELL, self._facts_room), 0)
        stored = cell(encoded, room, lambda data: self._store_value(f"facts.{topic}", data))
        self._facts_room -= size_of(stored)
        self._changes.set(f"capture.facts.{safe_key(topic)}", stored)
        for name, value in experiment_facts(topic, facts).items():
            viewed, _ = view(encode(value))
            self._changes.set(f"experiment.{name}", viewed)

    def output(self, text: str, offset: int | None) -> None:
        self._output.add(text, offset)

    def metrics(self, batch: MetricsBatch, writer: str, seq: int) -> None:
        with self._place.explained():
            self._series.add(batch, writer, seq, self._base)

    def beat(self, moment: datetime, info: Any, result: Any) -> None:
        self._top("heartbeat", _utc(moment))
        self._changes.set("capture.times.heartbeat", _iso(moment))
        encoded = encode(info)
        if encoded != self._info:
            self._field("info", info, keep="metrics")
            self._info = encoded
        self._field("result", result)

    def annotated(self, tags: list[str] | None, notes: str | None) -> None:
        if tags is not None:
            self._changes.set("omniboard.tags", [readable(str(tag)) for tag in tags])
        if notes is not None:
            self._changes.set("omniboard.notes", readable(notes))

    def finished(self, status: str, moment: datetime, **more: Any) -> None:
        shown = SHOWN_AS.get(status, readable(status))
        self._top("status", shown)
        if shown != status:
            self._changes.set("capture.status", encode(status))
        else:
            self._changes.unset("capture.status")
        self._top("stop_time", _utc(moment))
        self._changes.set("capture.times.stopped", _iso(moment))
        if "result" in more:
            self._field("result", more["result"])
        if "fail_trace" in more:
            self._field("fail_trace", more["fail_trace"])

    def unknown(self, payload: dict[str, Any]) -> None:
        self._changes.append("capture.extra", cell(payload, _CELL, lambda data: self._store_value("extra", data)))

    # ------------------------------------------------------------------------------------------- values

    def _top(self, name: str, value: Any) -> None:
        """Set a field of Sacred's."""
        self._changes.set(name, value)
        self.entry[name] = self._shown[name] = value

    def _field(self, name: str, value: Any, keep: str = "") -> None:
        """Set a field of Sacred's to a value of any kind, and keep it beside that if it is not exact there.

        `keep` names a key of it that is not the run's, but the layout's, and stays.
        """
        encoded = encode(value)
        if name == "fail_trace" and isinstance(value, (list, tuple)):
            viewed: Any = [readable(str(line)) for line in value]  # viewers join the lines
            exact = viewed == list(value)
        else:
            viewed, exact = view(encoded)
        if keep and (not isinstance(viewed, dict) or keep in viewed):
            exact = False
            viewed = {key: item for key, item in viewed.items() if key != keep} if isinstance(viewed, dict) else {}
        if size_of(viewed) > _FIELD:
            exact = False
            viewed = shortened(viewed, _NOTE)
            viewed = [viewed] if name == "fail_trace" else viewed
        self._useless += [self._moved.pop(name)] if name in self._moved else []
        if exact:
            self._changes.unset(f"capture.exact.{name}")
        else:
            stored = cell(encoded, _CELL, lambda data: self._store_value(name, data))
            if "file" in stored:
                self._moved[name] = stored["file"]
            self._changes.set(f"capture.exact.{name}", stored)
        if keep:
            self._changes.wholes[name] = (viewed, keep)
            self._changes.unsets.pop(name, None)
        else:
            self._changes.set(name, viewed)
        self.entry[name] = self._shown[name] = viewed

    def _cell(self, name: str, value: Any) -> dict[str, Any]:
        return cell(encode(value), _CELL, lambda data: self._store_value(name, data))

    def _store_value(self, name: str, data: bytes) -> Any:
        """Put the JSON of a value into a file; return its id."""
        import hashlib
        import io

        blob = Blob(hashlib.sha256(data).hexdigest(), "", len(data), lambda: io.BytesIO(data))
        upload = Upload(
            blob,
            f"capture://{self._place.runs_name}/{self.key}/{readable(name)}.json",
            shared=False,
            capture={"run": self.key, "kind": "value"},
            content_type="application/json",
        )
        with self._place.explained():
            return self._files.store(upload)

    # ------------------------------------------------------------------------------------------- files

    def source(self, path: str, blob: Blob) -> None:
        import os

        self._file("sources", path, blob, os.path.abspath(os.path.join(self._base_dir, path)), shared=True)

    def resource(self, filename: str, blob: Blob) -> None:
        if self._names["resources"].get((_name(filename), blob.digest)) is None:  # not there, or only listed
            self._file("resources", filename, blob, filename, shared=True)

    def artifact(self, name: str, blob: Blob, metadata: Any, content_type: str | None) -> None:
        entry: dict[str, Any] = {}
        if metadata is not None:
            entry["metadata"] = self._cell("metadata", metadata)
        if content_type is not None:
            entry["content_type"] = encode(content_type)
        filename = f"artifact://{self._place.runs_name}/{self.label}/{name}"
        shown = readable(content_type) if isinstance(content_type, str) else _guess_type(name)
        viewed = view(encode(metadata))[0]
        if size_of(viewed) > _NOTE:
            viewed = shortened(viewed, _NOTE)
        self._file("artifacts", name, blob, filename, self._observer.share_artifacts, entry, shown, viewed)

    def listed(self, kind: str, name: str, digest: str, size: int, metadata: Any, content_type: Any) -> None:
        entry: dict[str, Any] = {"name": _name(name), "digest": digest, "size": size, "file": None}
        if metadata is not None:
            entry["metadata"] = self._cell("metadata", metadata)
        if content_type is not None:
            entry["content_type"] = encode(content_type)
        self._check_room(name, entry)
        self._files_size += _entry_size(entry)
        self._waiting.append((None, f"{kind}s", entry))

    def _file(
        self,
        kind: str,
        name: str,
        blob: Blob,
        filename: str,
        shared: bool,
        more: Mapping[str, Any] | None = None,
        content_type: str | None = None,
        metadata: Any = None,
    ) -> None:
        """Store the bytes of a file, or keep those of a small one until the flush."""
        entry = {"name": _name(name), "digest": blob.digest, "size": blob.size, **(more or {})}
        self._check_room(name, entry)
        capture = {"kind": kind} if shared else {"kind": kind, "run": self.key}
        upload = self._uploads.setdefault(
            (f"{kind}/{name}", blob.digest),
            Upload(blob, readable(filename), shared, capture, content_type, metadata),
        )
        if blob.size <= SMALL:
            with blob.open() as stream:
                upload.data = stream.read()
        else:
            with self._place.explained():
                found = self._files.shared_ids([blob.digest]).get(blob.digest) if shared else None
                if found is None:
                    found = self._files.store(upload)
            if found != upload.id:
                self._used[found] = upload
            entry["file"] = found
        self._files_size += _entry_size(entry)
        self._waiting.append((upload, kind, entry))

    def _check_room(self, name: str, entry: Mapping[str, Any]) -> None:
        """Refuse one more file where the document has no room for it."""
        if self._files_size + _entry_size(entry) > _FILES:
            raise ObserverError(
                f"the run has so many files that its document in MongoDB cannot list {name!r}, too"
                "\n  what can be done:  record an archive of them, or the folder to another store"
            )

    def _bring_files(self) -> None:
        """Store the small files that wait, and note all that do in the run's document."""
        waiting = self._waiting
        small = {upload.id: upload for upload, _, _ in waiting if upload is not None and upload.data is not None}
        found = self._files.shared_ids(upload.blob.digest for upload in small.values() if upload.shared)
        ids = {upload.id: found[upload.blob.digest] for upload in small.values() if upload.blob.digest in found}
        first: dict[Any, Any] = {}
        for upload in small.values():  # two of a run may have the same bytes
            if upload.shared and upload.id not in ids:
                first.setdefault(upload.blob.digest, upload)
        twins = {u.id: first[u.blob.digest].id for u in small.values() if u.shared and u.id not in ids}
        new = [u for u in small.values() if u.id not in ids and twins.get(u.id, u.id) == u.id]
        if new:
            ids.update(self._files.store_small(new))
        ids.update({id: ids[other] for id, other in twins.items()})
        for upload, kind, entry in waiting:
            if upload is None:
                self._note_file(kind, entry, None)
                continue
            id = entry.get("file") or ids.get(upload.id, upload.id)
            self._note_file(kind, {**entry, "file": id}, upload)
            if upload.shared and id != upload.id:  # of ours nobody else knows yet
                self._used[id] = upload
        self._waiting = []
        self._uploads.clear()

    def _note_file(self, kind: str, entry: dict[str, Any], upload: Upload | None) -> None:
        name, key = entry["name"], _file_key(kind, entry)
        known = self._names[kind]
        shown: list[tuple[str, Any, Any]] = []
        label = readable(name) if isinstance(name, str) else readable_name(name)
        if upload is None:
            pass  # viewers would offer what cannot be opened
        elif kind == "sources" and not label.startswith(KEPT):
            shown.append(("experiment.sources", label, [label, entry["file"]]))
        elif kind == "resources":
            shown.append(("resources", None, [label, upload.blob.md5 or entry["digest"]]))
        elif kind == "artifacts":
            shown.append(("artifacts", label, {"name": label, "file_id": entry["file"]}))
        if key in known and kind != "resources":
            old = known[key]
            is_own = kind == "artifacts" and not self._observer.share_artifacts
            if is_own and upload is not None and old not in (None, entry["file"]):
                self._useless.append(old)
            self._replace(f"capture.files.{kind}", name, entry)
            for path, shown_name, element in shown:
                if old is None:  # it was only listed, and not shown
                    self._changes.append(path, element)
                else:
                    self._replace(path, shown_name, element)
        elif known.get(key) is None:  # of a resource that was only listed, the later entry counts
            self._changes.append(f"capture.files.{kind}", entry)
            for path, _, element in shown:
                self._changes.append(path, element)
        known[key] = entry["file"]

    def _replace(self, path: str, name: Any, element: Any) -> None:
        """Replace an element of an array, in what waits or in what is stored."""
        waiting = self._changes.appends.get(path, ())
        for index, old in enumerate(waiting):
            if (old[0] if isinstance(old, list) else old["name"]) == name:
                self._changes.appends[path][index] = element
                return
        self._changes.replaces.setdefault(path, []).append((name, element))

    def _check_shared(self) -> None:
        """See that shared files are there, now that everyone can read that this run uses them.

        Somebody may have purged the last other run that used them after they were found to be there.
        """
        used, self._used = self._used, {}
        for old in self._files.missing(used):
            upload = used[old]
            again = Upload(
                upload.blob, upload.filename, True, upload.capture, upload.content_type, upload.metadata
            )
            new = self._files.store(again)
            for kind in self._names:
                self._runs.update_one(
                    {"_id": self.label, f"capture.files.{kind}.file": old},
                    {"$set": {f"capture.files.{kind}.$[each].file": new}},
                    array_filters=[{"each.file": old}],
                )
            self._runs.update_one(
                {"_id": self.label, "experiment.sources": {"$elemMatch": {"$elemMatch": {"$eq": old}}}},
                [
                    {
                        "$set": {
                            "experiment.sources": {
                                "$map": {
                                    "input": "$experiment.sources",
                                    "in": {
                                        "$cond": [
                                            {"$eq": [{"$arrayElemAt": ["$$this", 1]}, old]},
                                            [{"$arrayElemAt": ["$$this", 0]}, new],
                                            "$$this",
                                        ]
                                    },
                                }
                            }
                        }
                    }
                ],
            )

    # ------------------------------------------------------------------------------------------------ writing

    def flush(self) -> None:
        """Write what waits; see the module."""
        if self.gone or self.superseded:
            return
        with self._place.explained():
            if self._sent is not None:
                self._resend()
            if self._is_new:
                self._insert()
            self._write()

    def _insert(self) -> None:
        """Make the run's document, and with it take a label."""
        self._note_places()
        document = self._changes.document()
        self.label = self._observer.labels.insert(document, self.asked, self.uid)
        self._is_new = False
        self.entry["_id"] = self._shown["_id"] = self.label
        self._output.label = self.label
        self._changes = Changes()
        self._base = dict(self.seqs)

    def _write(self) -> None:
        from time import monotonic

        if self._waiting:
            self._bring_files()
        self._series.flush(self.label, self._base, monotonic(), self.ended)
        changes = self._changes
        for name, summary in self._series.take_summaries().items():
            changes.summaries[name] = summary
        entries = self._series.new_entries()
        if entries:
            changes.appends.setdefault("info.metrics", []).extend(entries)
        self._output.flush(changes)
        for name, value in self.entry.items():
            if name not in self._shown or self._shown[name] is not value:  # somebody else put it there
                changes.set(readable(name), view(encode(value))[0])
                self._shown[name] = value
        self._note_places()
        if not changes:
            return
        wanted: dict[str, Any] = {"_id": self.label}
        for writer, seq in self.seqs.items():
            if seq != self._base.get(writer):
                wanted[f"capture.seqs.{safe_key(writer)}"] = self._base.get(writer)
        self._sent = wanted, changes.pipeline(), dict(self.seqs)
        self._changes = Changes()
        self._resend()
        if self._used:
            self._check_shared()
        if self._useless:
            useless, self._useless = self._useless, []
            self._files.remove(useless)

    def _note_places(self) -> None:
        """Note up to where the events are in these changes."""
        for writer, seq in self.seqs.items():
            if seq != self._base.get(writer):
                self._changes.set(f"capture.seqs.{safe_key(writer)}", seq)
        for writer in {*self.missed, *self._missed_base}:
            now = self.missed.get(writer) or set()
            if now != (self._missed_base.get(writer) or set()):
                path = f"capture.missed.{safe_key(writer)}"
                if now:
                    self._changes.set(path, sorted(now))
                else:
                    self._changes.unset(path)
        self._missed_base = {writer: set(each) for writer, each in self.missed.items()}

    def _resend(self) -> None:
        """Make the update that waits, and see whether it was made, now or when its answer was lost."""
        assert self._sent is not None
        wanted, pipeline, seqs = self._sent
        done = (self._place.durable_bin if self._is_binned else self._place.durable_runs).update_one(wanted, pipeline)
        if not done.matched_count:
            self._look(seqs)
        self._sent = None
        self._base = seqs

    def _look(self, seqs: Mapping[str, int]) -> None:
        """See why the server did not make the update."""
        found = self._runs.find_one({"_id": self.label}, {"capture.seqs": 1})
        if found is None:
            self.gone = True
            log().warning("Run %s was removed from %s while it was being recorded", self.label, self._place.identity)
            return
        stored = {true_key(w): seq for w, seq in ((found.get("capture") or {}).get("seqs") or {}).items()}
        if any(stored.get(writer, 0) < seq for writer, seq in seqs.items()):
            raise ObserverError(
                f"run {self.label} of {self._place.identity} is being written by somebody else, too, as if by this"
                f" writer: it stands at {stored}, not at {self._base}"
            )


def readable_name(name: Any) -> str:
    """Return the text that viewers get for a name that is stored in a coded form."""
    from capture.codec import decode

    return readable(str(decode(name)))


def _name(name: str) -> Any:
    return encode(name)


def _file_key(kind: str, entry: Mapping[str, Any]) -> Any:
    name = entry.get("name")
    name = name if isinstance(name, str) else repr(name)
    return (name, entry.get("digest")) if kind == "resources" else name


def _entry_size(entry: Mapping[str, Any]) -> int:
    return 200 + 2 * len(str(entry.get("name"))) + (size_of(entry["metadata"]) if "metadata" in entry else 0)


def _guess_type(name: str) -> str | None:
    from mimetypes import guess_type

    return guess_type(readable(name).replace("\0", ""), strict=False)[0]


def _utc(moment: datetime) -> datetime:
    """Return a time as viewers want it; one without an offset is UTC."""
    from datetime import timezone

    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)


def _iso(moment: datetime) -> str:
    """Return a time as text: MongoDB's have milliseconds only."""
    from datetime import timezone

    return (moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment).isoformat()
