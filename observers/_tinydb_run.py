"""One run of a TinyDB store, as its writer sees it.

`Entry` is what is known of the run, as the document that TinyDB holds: Sacred's fields, and ours under ``capture``.
`TinyRun` keeps it in memory and writes it when it is told to. A second writer of the same run (a child process, a
resumed run, a curator) is noticed by its newer file: the entry is then read again, and this writer's own changes, which
it keeps until they are written, are made once more.
"""

from __future__ import annotations

import os

from capture import plainjson
from capture._version import __version__
from capture.codec import decode, encode
from capture.errors import ObserverError
from capture.observers import _atomic
from capture.observers._streams import METRICS, OUTPUT, Streams, extend_summary
from capture.observers._tinydb_store import FORMAT, TinyStore, has_ended, read_json
from capture.observers._tinydb_values import handle, stored_time, to_stored
from capture.observers._writing import Blob, DocumentWriter
from capture.records import KEPT, experiment_facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from typing import Any

    from capture.hooks import MetricsBatch

VERSION = "TinyDbObserver-0.7.0"  #: Sacred's name of the layout
FACTS = "facts.json"  #: facts that are too large for the entry
KINDS = ("sources", "resources", "artifacts")

_SMALL_FACTS = 512  #: characters of JSON up to which facts lie in the entry
_SHOWN_OUTPUT = 256 << 10  #: bytes of output that the entry repeats, for Sacred's readers


class Entry:
    """What is known of a run. Each method is one change.

    Parameters
    ----------
    data : dict
        The document.
    facts : dict
        Facts that lie outside of it.
    """

    def __init__(self, data: dict[str, Any], facts: dict[str, Any]) -> None:
        self.data = data
        self.own: dict[str, Any] = data.setdefault("capture", {})
        if "uid" not in self.own:
            self.own["layout"] = "sacred"  # its files are listed as Sacred lists them, and only there
        self.all_facts: dict[str, Any] = {**facts, **self.own.get("facts", {})}
        self.facts_changed = False
        files = self.own.setdefault("files", {})
        self.files: dict[str, list[dict[str, Any]]] = {kind: files.setdefault(kind, []) for kind in KINDS}
        self._places: dict[str, dict[Any, int]] = {}

    @classmethod
    def new(cls, label: Any, uid: str, created: int) -> Entry:
        """Return the entry of a run of which nothing is known yet; `created` is in microseconds since the epoch."""
        own = {"format": FORMAT, "version": __version__, "uid": encode(uid), "created": created}
        return cls({"_id": encode(label), "format": VERSION, "status": "RUNNING", "capture": own}, {})

    def opened(self, writer: str, host: Any, version: Any) -> None:
        self.own.setdefault("writers", {}).update(to_stored({writer: host}))
        if version is not None:
            self.own["version"] = encode(version)

    def describe(
        self, status: str, moment: datetime, ex_info: Any, command: str, host_info: Any, config: Any, meta_info: Any
    ) -> None:
        experiment = to_stored(ex_info)
        self.own["experiment"] = {"sources": experiment["sources"]} if "sources" in experiment else {}
        self.data.update(
            experiment=experiment,
            command=to_stored(command),
            host=to_stored(host_info),
            meta=to_stored(meta_info),
            config=to_stored(config),
            status=status,
        )
        for name, empty in (("info", {}), ("captured_out", ""), ("heartbeat", None), ("result", None)):
            self.data.setdefault(name, empty)
        self._time("queued" if status == "QUEUED" else "started", moment)
        if status != "QUEUED" or "start_time" not in self.data:  # Sacred's readers ask every entry when it began
            self.data["start_time"] = stored_time(moment)

    def _time(self, name: str, moment: datetime) -> None:
        """Note a time with its offset; one without is UTC, as Sacred's are."""
        if moment.tzinfo is None:
            from capture.moments import timezone

            moment = moment.replace(tzinfo=timezone.utc)
        self.own.setdefault("times", {})[name] = moment.isoformat()

    def resumed(self, moment: datetime) -> None:
        self.data["status"] = "RUNNING"
        for name in ("stop_time", "fail_trace"):
            self.data.pop(name, None)
        times = self.own.setdefault("times", {})
        times.pop("stopped", None)
        self._time("resumed", moment)
        self.own.setdefault("resumed", []).append(times.pop("resumed"))

    def beat(self, moment: datetime, info: Any, result: Any) -> None:
        self.data.update(heartbeat=stored_time(moment), info=to_stored(info), result=to_stored(result))
        self._time("heartbeat", moment)

    def ended(self, status: str, moment: datetime, **more: Any) -> None:
        self.data.update(status=to_stored(status), stop_time=stored_time(moment))
        self.data.update({name: to_stored(value) for name, value in more.items()})
        self._time("stopped", moment)

    def facts(self, topic: str, facts: Any) -> None:
        self.all_facts.update(to_stored({topic: facts}))
        self.facts_changed = True
        anew = experiment_facts(topic, facts)
        if anew:
            self.data["experiment"] = {**self.data.get("experiment", {}), **to_stored(anew)}

    def annotate(self, tags: list[str] | None, notes: str | None) -> None:
        if tags is not None:
            self.own["tags"] = encode(list(tags))
        if notes is not None:
            self.own["notes"] = encode(notes)

    def revise(self, change: Callable[[list[str], str], tuple[list[str] | None, str | None]]) -> None:
        """Set tags and notes to what ``change(tags, notes)`` makes of them."""
        self.annotate(*change(decode(self.own.get("tags") or []), decode(self.own.get("notes") or "")))

    def unknown(self, payload: Any) -> None:
        self.own.setdefault("extra", []).append(payload)

    def adopted(self, uid: str) -> None:
        """A queued run is taken over by the process that runs it."""
        self.own.update(uid=encode(uid), seqs={})
        for name in ("layout", "missed", "metrics_ahead"):
            self.own.pop(name, None)

    def add_file(self, kind: str, file: dict[str, Any]) -> None:
        """Note a stored file. Sources and artifacts of a name replace earlier ones, resources differ by content too."""
        files = self.files[kind]
        if kind not in self._places:  # with a thousand artifacts, each must not search for its own
            self._places[kind] = {_file_key(kind, each): place for place, each in enumerate(files)}
        place = self._places[kind].setdefault(_file_key(kind, file), len(files))
        files[place : place + 1] = [file]

    def document(self) -> dict[str, Any]:
        """Return what is stored, with the files where Sacred's readers look for them."""
        small, _ = self.split_facts()
        own = {**self.own, "facts": small}
        if self.own.get("layout") == "sacred":
            return {**self.data, "capture": own}
        listed = {
            kind: [_as_sacred(kind, each) for each in files if each["id"] is not None and not _is_kept(each)]
            for kind, files in self.files.items()
        }
        experiment = {**self.data.get("experiment", {}), "sources": listed.pop("sources")}
        return {**self.data, "experiment": experiment, **listed, "capture": own}

    def split_facts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the facts that lie in the entry, and those that do not; what people search by always does."""
        small: dict[str, Any] = {}
        large: dict[str, Any] = {}
        for topic, facts in self.all_facts.items():
            is_small = topic == "params" or len(plainjson.dumps(facts)) <= _SMALL_FACTS
            (small if is_small else large)[topic] = facts
        return small, large


def _file_key(kind: str, file: dict[str, Any]) -> Any:
    name = str(file["name"])
    return (name, file["digest"]) if kind == "resources" else name


def _is_kept(file: dict[str, Any]) -> bool:
    return str(file["name"]).startswith(KEPT)


def _as_sacred(kind: str, file: dict[str, Any]) -> list[Any]:
    """Return how Sacred lists a file; a name that UTF-8 cannot hold is shown with question marks there."""
    name = str(decode(file["name"])).encode("utf-8", "replace").decode("utf-8")
    shown = " " + name if name.startswith("{Tiny") else name
    names = [shown, shown] if kind == "artifacts" else [shown]
    return [*names, file["id"], handle(file["id"])]


class TinyRun(DocumentWriter):
    """One run that is being written.

    Parameters
    ----------
    store : TinyStore
    name : str
        Of the run's folder.
    entry : Entry
    written : tuple of int
        The signature of the file that `entry` was read from; () if it lies in ``metadata.json``, None if it is new.
    """

    def __init__(self, store: TinyStore, name: str, entry: Entry, written: tuple[int, ...] | None = None) -> None:
        own = entry.own
        super().__init__(decode(entry.data["_id"]), decode(own.get("uid", "")), own.get("seqs"), own.get("missed"))
        self.store, self.name, self.documents = store, name, entry
        self.path = os.path.join(store.runs, name)
        self._written = written
        self.gone = False  #: whether somebody has purged the run
        self._own: set[str] = set()  # the writers that speak through this object
        ahead = [(each[0], each[1]) for each in own.get("metrics_ahead", ())]
        self._streams = Streams(self.path, store.shared, own.get("metrics_end", 0), self.seqs, ahead)
        self._changes: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self._missed_changed = False
        self._blobs: dict[str, Blob] = {}
        # A process that died may have written the ending and not settled the run.
        self._unsettled = bool(written) and has_ended(entry.data) and os.path.dirname(store.place(name)) == store.live

    @classmethod
    def open(cls, store: TinyStore, name: str, entry_id: Any) -> TinyRun | None:
        """Go on with a run that exists, whoever wrote it; None if it has no entry (yet)."""
        with _atomic.Lock(os.path.join(store.runs, name)):
            written = _atomic.signature(store.place(name))
            data = store.load(name, entry_id)
            return None if data is None else cls(store, name, Entry(data, _read_facts(store, name)), written)

    # ------------------------------------------------------------------------------------------- what happens

    def failed(self, writer: str, seq: int) -> None:
        super().failed(writer, seq)
        if seq:
            self._own.add(writer)
        self._missed_changed = self._missed_changed or bool(seq)

    def stored(self, writer: str, seq: int) -> None:
        if seq:
            self._own.add(writer)
        self._missed_changed = self._missed_changed or seq in self.missed.get(writer, ())
        super().stored(writer, seq)

    def adopt(self, uid: str | None) -> None:
        """Go on with a queued run as the one of `uid`."""
        self.change("adopted", uid or "")
        self.seqs.clear()
        self.missed.clear()
        self.uid = uid

    def output(self, text: str, offset: int | None) -> None:
        self._streams.add_output(text, offset)

    def metrics(self, batch: MetricsBatch, writer: str, seq: int) -> None:
        self._streams.add_metrics(batch.encoded, writer, seq)

    def source(self, path: str, blob: Blob) -> None:
        self._add_file("sources", path, blob)

    def resource(self, filename: str, blob: Blob) -> None:
        self._add_file("resources", filename, blob)

    def artifact(self, name: str, blob: Blob, metadata: Any, content_type: str | None) -> None:
        self._add_file("artifacts", name, blob, metadata=metadata, content_type=content_type)

    def listed(self, kind: str, name: str, digest: str, size: int, metadata: Any, content_type: Any) -> None:
        self._note_file(f"{kind}s", name, None, digest, size, metadata=metadata, content_type=content_type)

    def _add_file(self, kind: str, name: str, blob: Blob, **more: Any) -> None:
        md5 = blob.md5 or _md5(blob)
        address = md5
        if not self.store.bring(address, blob):
            address = blob.digest
            if not self.store.bring(address, blob):
                path = self.store.path_of(address)
                raise ObserverError(f"{path} exists and is not the file that its name says; move it away")
        self._blobs[address] = blob
        self._streams.unsynced.add(self.store.path_of(address))
        self._note_file(kind, name, address, blob.digest, blob.size, **more)

    def _note_file(self, kind: str, name: str, address: str | None, digest: str, size: int, **more: Any) -> None:
        file = {"name": encode(name), "id": address, "digest": digest, "size": size}
        file.update({key: encode(value) for key, value in more.items() if value is not None})
        self.change("add_file", kind, file)

    # --------------------------------------------------------------------------------------------------- writing

    def flush(self) -> None:
        """Write what changed; after the ending of the run, put it on the disk and into ``metadata.json``."""
        if self._changes or self._missed_changed or self._streams.is_dirty():
            with _atomic.Lock(self.path):
                self._write()
            for address, blob in self._blobs.items():  # now that everyone can read that this run uses them
                self.store.bring(address, blob)  # somebody may have purged the last other run that did
            self._blobs.clear()
            self._changes.clear()
            self._missed_changed = False
            self._unsettled = has_ended(self.documents.data) and not self.gone
        if self._unsettled:
            if not self.store.settle_in_time():  # then it lies in `live` alone
                _atomic.sync(self.store.place(self.name))
            self._unsettled = False

    def _write(self) -> None:
        place = self.store.place(self.name)
        now = _atomic.signature(place)
        if now != (self._written or ()) or self._written == ():  # metadata.json may have changed in any case
            self._merge()
        if self.gone:
            return
        entry, streams, ended = self.documents, self._streams, has_ended(self.documents.data)
        streams.write()
        self._note_places()
        if ended:
            entry.data["captured_out"] = shown_output(streams.file(OUTPUT))
            streams.sync()
        if entry.facts_changed:
            facts = plainjson.dumps(entry.split_facts()[1], allow_nan=False).encode("ascii")
            _atomic.write(streams.file(FACTS), facts, self.store.shared, durable=ended)
            entry.facts_changed = False
        self._written = self.store.save(self.name, entry.document())

    def _note_places(self) -> None:
        """Note which events are stored now, and how far the summary speaks of the measurements.

        Of other writers, the entry knows more than we do. Measurements that one of them wrote, and has not noted yet,
        are in the summary from now on: should it die first, its heir must not take them for missing.
        """
        own = self.documents.own
        seqs = own["seqs"] = {**own.get("seqs", {}), **{name: self.seqs[name] for name in self._own & self.seqs.keys()}}
        missed = {**own.pop("missed", {}), **{name: sorted(self.missed.get(name, ())) for name in self._own}}
        missed = {name: places for name, places in missed.items() if places}
        if missed:
            own["missed"] = missed
        path = self._streams.file(METRICS)
        summary, end, places = extend_summary(decode(own.get("summary", {})), path, own.get("metrics_end", 0))
        if end:
            own.update(summary=encode(summary), metrics_end=end)
        places.update((name, seq) for name, seq in own.pop("metrics_ahead", ()))
        ahead = sorted([name, seq] for name, seq in places if seq > seqs.get(name, 0))
        if ahead:
            own["metrics_ahead"] = ahead

    def _merge(self) -> None:
        """Another writer stored something, or settled the run: take over its entry and make our changes again."""
        data = self.store.load(self.name, self.documents.data["_id"])
        self.gone = data is None and self.store.is_purged(self.name)
        if data is not None:
            self.documents = Entry(data, _read_facts(self.store, self.name))
            for name, args, kwargs in self._changes:
                getattr(self.documents, name)(*args, **kwargs)
        for writer, seq in self.documents.own.get("seqs", {}).items():
            if writer not in self._own:
                self.seqs[writer] = seq


def _read_facts(store: TinyStore, name: str) -> dict[str, Any]:
    facts = read_json(os.path.join(store.runs, name, FACTS))
    return facts if isinstance(facts, dict) else {}


def _md5(blob: Blob) -> str:
    import hashlib

    md5 = hashlib.md5(usedforsecurity=False)
    with blob.open() as stream:
        while chunk := stream.read(_atomic.CHUNK):
            md5.update(chunk)
    return md5.hexdigest()


def shown_output(path: str) -> Any:
    """Return what the entry repeats of the output: all of it, or the end of it and where the whole lies."""
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            stream.seek(max(0, size - _SHOWN_OUTPUT))
            text = stream.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    if size > _SHOWN_OUTPUT:
        folder = os.path.basename(os.path.dirname(path))
        text = f"[... {size - _SHOWN_OUTPUT} bytes before this are in _capture/runs/{folder}/{OUTPUT}]\n{text}"
    return to_stored(text)
