"""One run that is being written to a store that lies elsewhere.

What a flush writes, in this order: new output and measurements as pieces, together with ``run.json``, ``config.json``
and ``info.json`` if they changed; then ``capture.json``, if anything but output and measurements did. That last file
has all of it, so that a process which dies in between has changed nothing, and who reads or resumes sees all or
nothing. Where another writer of the run stored something meanwhile, its documents are read and this writer's changes,
which it keeps until they are written, are made once more.
"""

from __future__ import annotations

import os

from capture import plainjson
from capture.codec import decode
from capture.errors import ObserverError
from capture.observers import _names
from capture.observers._pieces import (
    METRICS,
    OUTPUT,
    PIECES,
    Piece,
    name_of,
    place_of,
    remaining,
    size_of_output,
)
from capture.observers._remote_files import Changed, chunks_of
from capture.observers._remote_store import (
    BIN,
    CHANGED,
    RESOURCES,
    SOURCES,
    RemoteStore,
    dump_extension,
    file_entry,
)
from capture.observers._run_folder import EXTENSION, FILES, Documents
from capture.observers._writing import DocumentWriter, log
from capture.records import summarize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from capture.hooks import MetricsBatch
    from capture.observers._writing import Blob

_FULL = 32 << 10  #: bytes of a piece from which on the next one begins
_HELD = 4 << 20  #: bytes of a piece that are held in memory before they are sent
_KEPT = 4 << 20  #: bytes of finished pieces that are kept in memory for the end, so that they need not be read again
_GROUP = 32  #: pieces that are read at once


class _Tail:
    """The piece that a writer is at."""

    __slots__ = ("data", "file", "key", "number", "offset", "unsent")

    def __init__(self, number: int, writer: str, file: str, offset: int = 0) -> None:
        self.number, self.file, self.offset = number, file, offset
        self.key = name_of(writer, number, file, offset)
        self.data = bytearray()
        self.unsent = False


class RemoteRun(DocumentWriter):
    """One run that is being written.

    Parameters
    ----------
    store : RemoteStore
    folder : str
        Relative to the store.
    documents : Documents
    version : object
        Of its ``capture.json``, as `Files.replace` takes it.
    source_dir, resource_dir : str
        Where shared files are kept, relative to the store, or from the root of the filesystem with a leading "/".
    metrics_json_limit : int
        Measurements above which there is no ``metrics.json``.
    """

    def __init__(
        self,
        store: RemoteStore,
        folder: str,
        documents: Documents,
        version: Any,
        source_dir: str = SOURCES,
        resource_dir: str = RESOURCES,
        metrics_json_limit: int = 1_000_000,
    ) -> None:
        known = documents.capture
        super().__init__(decode(known["label"]), decode(known["uid"]), known.get("seqs"), known.get("missed"))
        self.store, self.folder, self.documents = store, folder, documents
        self.source_dir, self.resource_dir = source_dir, resource_dir
        self.metrics_json_limit = metrics_json_limit
        self.gone = False
        self._files = store.files
        self._version = version
        self._was_ended = _is_ended(documents)
        self._changes: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self._missed_changed = False
        #: our seqs, and how many changes, of a commit that has no answer yet
        self._attempted: tuple[dict[str, int], int] | None = None
        self._writers: set[str] = set()  # that speak through this object
        self._place = ""  # the folder of its pieces
        self._next = 1  # number of the next piece
        self._base = {OUTPUT: 0, METRICS: 0}  # how much counts of the files that pieces follow
        self._base_changed = False  # while the record says otherwise
        self._output_size = 0
        self._tails: dict[str, _Tail] = {}
        self._full: list[_Tail] = []  # finished, but not sent
        self._sent: dict[str, int] = {}  # size of each piece of this object that was sent
        self._kept: dict[str, bytes] = {}
        self._kept_size = 0
        self._found: dict[str, int] = {}  # pieces that were there before, as `remaining` takes them
        self._unspoken: set[tuple[str, int]] = set()  # batches that are stored while ``seqs`` does not say so
        self._summaries: dict[str, dict[str, Any]] = {}  # by writer and stored name, of what this object was told
        self._taken: _Paths | None = None

    @classmethod
    def open(cls, store: RemoteStore, folder: str, **options: Any) -> RemoteRun:
        """Go on with a run that exists, whoever wrote it."""
        documents, version = store.read_documents(folder)
        run = cls(store, folder, documents, version, **options)
        run._look_at_pieces()
        return run

    # ------------------------------------------------------------------------------------------- exactly once

    def has(self, writer: str, seq: int) -> bool:
        self._writers.add(writer)
        self._place = self._place or _names.safe_component(writer)
        return super().has(writer, seq)

    def stored(self, writer: str, seq: int) -> None:
        self._missed_changed = self._missed_changed or (bool(seq) and seq in self.missed.get(writer, ()))
        super().stored(writer, seq)

    def failed(self, writer: str, seq: int) -> None:
        super().failed(writer, seq)
        self._missed_changed = self._missed_changed or bool(seq)

    # ------------------------------------------------------------------------------------------- what happens

    def output(self, text: str, offset: int | None) -> None:
        data = text.encode("utf-8", "surrogatepass")
        self._send_if_held(OUTPUT)
        start = self._output_size if offset is None else min(offset, self._output_size)
        tail = self._tails.get(OUTPUT)
        if tail is None or start < tail.offset:
            tail = self._begin(OUTPUT, start)
        del tail.data[start - tail.offset :]
        tail.data += data
        tail.unsent = True
        self._output_size = start + len(data)

    def metrics(self, batch: MetricsBatch, writer: str, seq: int) -> None:
        if (writer, seq) in self._unspoken:
            return
        from capture.observers._series import mark_writer

        self._send_if_held(METRICS)
        tail = self._tails.get(METRICS) or self._begin(METRICS)
        tail.data += mark_writer(batch.encoded, writer)
        tail.unsent = True
        self._summarize(writer, batch.columns, batch.start)

    def source(self, path: str, blob: Blob) -> None:
        stored = self._share(self.source_dir, path, blob)
        self.change("add_file", "sources", file_entry(path, stored, blob.digest, blob.size))

    def resource(self, filename: str, blob: Blob) -> None:
        stored = self._share(self.resource_dir, filename, blob)
        self.change("add_file", "resources", file_entry(filename, stored, blob.digest, blob.size))

    def artifact(self, name: str, blob: Blob, metadata: Any, content_type: str | None) -> None:
        old = self.documents.file("artifacts", name)
        paths = self._paths()
        stored = (old and old["stored"]) or paths.find(name)
        self._files.upload(f"{self.folder}/{stored}", blob.open, blob.size, blob.digest)
        paths.take(stored)
        entry = file_entry(name, stored, blob.digest, blob.size, metadata=metadata, content_type=content_type)
        self.change("add_file", "artifacts", entry)

    def listed(self, kind: str, name: str, digest: str, size: int, metadata: Any, content_type: Any) -> None:
        entry = file_entry(name, None, digest, size, metadata=metadata, content_type=content_type)
        self.change("add_file", f"{kind}s", entry)

    def _share(self, folder: str, path: str, blob: Blob) -> str:
        """Store bytes once for all runs; return where."""
        for digest in (blob.md5 or blob.digest, blob.digest):
            stored = f"{folder}/{_names.blob_name(path, digest)}"
            if self.store.has_seen(stored):
                return stored
            size = self._files.size(stored)
            if size is None:
                self._files.upload(stored, blob.open, blob.size, blob.digest)
            if size is None or size == blob.size:
                self.store.note_seen(stored)
                return stored
        raise ObserverError(
            f"{self.store.describe(stored)} exists and is not the file that its name says; move it away"
        )

    def _paths(self) -> _Paths:
        if self._taken is None:
            listed = [entry["stored"] for entry in self.documents.capture["files"]["artifacts"]]
            self._taken = _Paths(stored for stored in listed if stored is not None)
        return self._taken

    def _summarize(self, writer: str, columns: Any, start: int) -> None:
        if writer not in self._summaries:
            known = self.documents.capture.get("summaries", {}).get(writer, {})
            self._summaries[writer] = decode(known)
        own = self._summaries[writer]
        for name, column in columns.items():
            own[name] = summarize(column, start, own.get(name))

    # ------------------------------------------------------------------------------------------- pieces

    def _begin(self, file: str, offset: int = 0) -> _Tail:
        """Begin a new piece; the old one is finished."""
        old = self._tails.pop(file, None)
        if old is not None and old.unsent:
            self._full.append(old)
        elif old is not None:
            self._keep(old)
        tail = self._tails[file] = _Tail(self._next, self._place, file, offset)
        self._next += 1
        return tail

    def _keep(self, tail: _Tail) -> None:
        if self._kept_size + len(tail.data) <= _KEPT:
            self._kept[tail.key] = bytes(tail.data)
            self._kept_size += len(tail.data)

    def _unsent(self) -> list[_Tail]:
        return [tail for tail in (*self._full, *self._tails.values()) if tail.unsent]

    def _send_if_held(self, file: str) -> None:
        """Send a piece that has become large, before anything is added to it: so nothing is added twice."""
        tail = self._tails.get(file)
        if tail is not None and len(tail.data) > _HELD:
            self._send()

    def _contents(self, tails: Iterable[_Tail]) -> dict[str, bytes]:
        return {f"{self.folder}/{tail.key}": bytes(tail.data) for tail in tails}

    def _send(self) -> None:
        tails = self._unsent()
        self._files.write_many(self._contents(tails))
        self._were_sent(tails)

    def _were_sent(self, tails: Iterable[_Tail]) -> None:
        for tail in tails:
            tail.unsent = False
            self._sent[tail.key] = len(tail.data)
        for tail in self._full:
            self._keep(tail)
        self._full.clear()
        for file, tail in list(self._tails.items()):
            if len(tail.data) >= _FULL and not tail.unsent:
                self._keep(tail)
                del self._tails[file]

    def _look_at_pieces(self) -> None:
        """See what lies in the store while the record does not say so."""
        state = self.documents.capture.get("pieces", {})
        if not state.get("done"):
            self._found = self._files.walk(f"{self.folder}/{PIECES}")
        pieces = remaining(self._found, state)
        numbers = [piece.number for piece in pieces] + [number for number, _ in state.get("joined", {}).values()]
        self._next = max(numbers, default=0) + 1
        known = {file: state.get("bytes", {}).get(file, 0) for file in (OUTPUT, METRICS)}
        self._base = dict(known) if pieces else {file: self._files.size(f"{self.folder}/{file}") or 0 for file in known}
        self._base_changed = self._base != known
        self._output_size = size_of_output(self._base[OUTPUT], pieces)
        if self._base[METRICS] > known[METRICS]:  # a process died before it could speak of what it had joined
            self._note_unspoken(self._files.read(f"{self.folder}/{METRICS}")[known[METRICS] :])
        tails = state.get("tails", {})
        late = [each for each in pieces if each.file == METRICS and each.number >= tails.get(each.writer, 0)]
        found = self._files.read_many(f"{self.folder}/{piece.key}" for piece in late)
        for piece in late:
            self._note_unspoken(found.get(f"{self.folder}/{piece.key}", b"")[piece.skip :])

    def _note_unspoken(self, lines: bytes) -> None:
        for line in lines.splitlines(keepends=True):
            try:
                batch = plainjson.loads(line)
                place, columns, start = (batch.get("w", "main"), batch["s"]), batch["columns"], batch["start"]
            except (ValueError, KeyError, TypeError, AttributeError):  # who reads the series says so
                continue
            if place[1] > self.seqs.get(place[0], 0):
                self._unspoken.add(place)
                self._summarize(place[0], columns, start)

    # ------------------------------------------------------------------------------------------- writing

    def flush(self) -> None:
        changed = bool(self._changes) or self._missed_changed
        tails = self._unsent()
        if not changed and not tails:
            return
        if not changed and not self.ended and not self._base_changed:
            self._send()
            return
        while True:
            base = self._base, self._base_changed
            joined = self._join() if self.ended else None
            try:
                self._commit([] if joined is not None else tails)
                break
            except Changed:
                self._base, self._base_changed = base  # the files hold more now, which counts when the record says so
                if not self._merge():
                    return
        if joined is not None:
            self._forget_pieces(joined)
        if self._was_ended:
            self._files.write(f"{CHANGED}/{self.folder.rpartition('/')[2]}", os.urandom(8).hex().encode())
        self._was_ended = _is_ended(self.documents)
        self._changes.clear()
        self._missed_changed = self._base_changed = False

    def _commit(self, tails: list[_Tail]) -> None:
        documents, capture = self.documents, self.documents.capture
        capture["seqs"] = {**capture.get("seqs", {}), **self.seqs}
        missed = {writer: sorted(seqs) for writer, seqs in self.missed.items() if seqs}
        capture.pop("missed", None)
        if missed:
            capture["missed"] = missed
        if self._summaries:
            from capture.codec import encode

            capture["summaries"] = {**capture.get("summaries", {}), **encode(self._summaries)}
        state = capture.setdefault("pieces", {})
        if self._base_changed:
            state["bytes"] = dict(self._base)
        if not self.ended and self._place:
            state["done"] = False
        if self._place:
            tail = self._tails.get(METRICS)
            state.setdefault("tails", {})[self._place] = self._next if tail is None else tail.number
        derived = {name: content for name in ("config", "info", "run") if (content := self._derived(name)) is not None}
        contents = {f"{self.folder}/{FILES[name]}": content for name, content in derived.items()}
        self._files.write_many({**self._contents(tails), **contents})
        self._were_sent(tails)
        data = dump_extension(capture, documents)
        own = {writer: seq for writer, seq in self.seqs.items() if writer in self._writers}
        self._attempted = own, len(self._changes)
        self._version = self._files.replace(f"{self.folder}/{EXTENSION}", data, self._version)
        self._attempted = None
        documents.dirty.clear()

    def _derived(self, name: str) -> bytes | None:
        """Return what Sacred's file of a document shall hold, or None if that has not changed."""
        if name not in self.documents.dirty:
            return None
        content = getattr(self.documents, name)
        if name == "info" and not content:
            return None
        if name == "run":
            content = self.documents.sacreds_run(self._files.path)
        return plainjson.dumps(content, sort_keys=True, indent=2, allow_nan=False).encode()

    def _merge(self) -> bool:
        """Take over what another writer stored, and make our own changes again; false if the run is gone."""
        documents, version = self.store.read_documents(self.folder)
        if version is None:
            name = self.folder.rpartition("/")[2]
            moved = next((each for each in (name, f"{BIN}/{name}") if each != self.folder), name)
            documents, version = self.store.read_documents(moved)
            if version is None:
                self.gone = True
                return False
            self.folder = moved
        self.documents, self._version, self._taken = documents, version, None
        self._was_ended = _is_ended(documents)
        if not self._base_changed:
            self._base.update(documents.capture.get("pieces", {}).get("bytes", {}))
        self._drop_stored()
        for name, args, kwargs in self._changes:
            getattr(self.documents, name)(*args, **kwargs)
        self.take_over(self.documents.capture, self._writers)
        return True

    def _drop_stored(self) -> None:
        """Forget the changes of a commit that was made though its answer was lost: nothing is to be added twice."""
        (own, count), self._attempted = self._attempted or ({}, 0), None
        known, missed = self.documents.capture.get("seqs", {}), self.documents.capture.get("missed", {})
        if own and all(
            known.get(writer, 0) >= seq and set(missed.get(writer, ())) == self.missed.get(writer, set())
            for writer, seq in own.items()
        ):
            del self._changes[:count]

    # ------------------------------------------------------------------------------------------- the end

    def _join(self) -> list[Piece] | None:
        """Make ``cout.txt`` and ``metrics.jsonl`` of the pieces, and Sacred's ``metrics.json``; return the pieces.

        None if there is nothing new.
        """
        state = self.documents.capture.setdefault("pieces", {})
        others = set(self.documents.capture.get("writers", {})) - self._writers
        if others:  # their pieces, too, as far as they are
            self._found = self._files.walk(f"{self.folder}/{PIECES}")
        pieces = self._pieces()
        if not pieces and state.get("joined"):
            return None
        from tempfile import TemporaryDirectory

        with TemporaryDirectory(prefix="capture-") as scratch:
            sizes = {}
            for file in (OUTPUT, METRICS):
                sizes[file] = self._assemble(os.path.join(scratch, file), file, [p for p in pieces if p.file == file])
            self._upload_joined(scratch)
        self._base, self._base_changed = sizes, True
        joined = state.setdefault("joined", {})
        joined.update({place_of(piece): [piece.number, piece.size] for piece in pieces})
        joined.update({f"{self._place}/{file}": [self._next, 0] for file in sizes})
        self._next += 1  # no piece gets the number up to which all are joined
        state["done"] = not others
        return pieces

    def _pieces(self) -> list[Piece]:
        """Return all pieces that do not lie in the files, also those that were not sent."""
        own = dict(self._sent)
        own.update({tail.key: len(tail.data) for tail in self._unsent()})
        found = {**self._found, **{key[len(PIECES) + 1 :]: size for key, size in own.items()}}
        return remaining(found, self.documents.capture.get("pieces", {}))

    def _assemble(self, path: str, file: str, pieces: list[Piece]) -> int:
        """Write a file from what lies in the store and its pieces; return its size."""
        held = {tail.key: bytes(tail.data) for tail in (*self._full, *self._tails.values())}
        with open(path, "wb") as stream:
            if self._base[file]:
                with self._files.open(f"{self.folder}/{file}") as base:
                    for chunk in chunks_of(base):
                        stream.write(chunk[: max(self._base[file] - stream.tell(), 0)])
            for at in range(0, len(pieces), _GROUP):
                group = pieces[at : at + _GROUP]
                known = {piece.key: held.get(piece.key, self._kept.get(piece.key)) for piece in group}
                missing = [f"{self.folder}/{key}" for key, data in known.items() if data is None]
                found = self._files.read_many(missing)
                for piece in group:
                    data = known[piece.key]
                    if data is None:
                        data = found[f"{self.folder}/{piece.key}"]
                    if file == OUTPUT:
                        stream.seek(piece.offset)
                        stream.truncate()
                    stream.write(data[piece.skip :])
            return stream.tell()

    def _upload_joined(self, scratch: str) -> None:
        from capture.observers._series import write_metrics_json
        from capture.observers._writing import opener

        names = [OUTPUT]
        if os.path.getsize(os.path.join(scratch, METRICS)):
            names.append(METRICS)
            if write_metrics_json(scratch, self.metrics_json_limit):
                names.append("metrics.json")
        small = {}
        for name in names:
            path = os.path.join(scratch, name)
            size = os.path.getsize(path)
            if size <= _KEPT:
                with open(path, "rb") as stream:
                    small[f"{self.folder}/{name}"] = stream.read()
            else:
                self._files.upload(f"{self.folder}/{name}", opener(path), size)
        self._files.write_many(small)

    def _forget_pieces(self, pieces: list[Piece]) -> None:
        """Delete pieces that lie in the files now; the last one of another writer may still grow."""
        last = {place_of(piece): piece.key for piece in pieces if piece.writer != self._place}
        useless = [piece.key for piece in pieces if piece.key != last.get(place_of(piece))]
        useless = [key for key in useless if key in self._sent or key[len(PIECES) + 1 :] in self._found]
        self._sent.clear()
        self._kept.clear()
        self._kept_size = 0
        self._found = {path: size for path, size in self._found.items() if f"{PIECES}/{path}" not in useless}
        self._tails.clear()
        self._full.clear()
        try:
            self._files.delete(f"{self.folder}/{key}" for key in useless)
        except Exception as error:  # noqa: BLE001 - they do not count any more, and must not keep the run from ending
            log().warning("pieces of run %s were left in %s: %s", self.label, self.store.name, error)


class _Paths:
    """Where artifacts of a run lie, in lower case, and their folders with a "/" behind."""

    def __init__(self, stored: Iterable[str]) -> None:
        self._taken: set[str] = set()
        for path in stored:
            self.take(path)

    def take(self, stored: str) -> None:
        """Note that an artifact lies at this path."""
        folded = stored.lower()
        self._taken.add(folded)
        while "/" in folded:
            folded = folded.rpartition("/")[0]
            self._taken.add(folded + "/")

    def find(self, name: str) -> str:
        """Return a free path for an artifact of this name, also where upper and lower case are one."""
        wanted = _names.safe_path(name)
        if self._is_below_file(wanted) or wanted.lower().startswith(f"{PIECES}/"):
            wanted = _names.flat_name(name)
        stored, number = wanted, 1
        while stored.lower() in self._taken or stored.lower() + "/" in self._taken or stored.lower() == PIECES:
            number += 1
            stored = _names.numbered(wanted, number)
        return stored

    def _is_below_file(self, stored: str) -> bool:
        above = stored.lower().rpartition("/")[0]
        while above:
            if above in self._taken:
                return True
            above = above.rpartition("/")[0]
        return False


def _is_ended(documents: Documents) -> bool:
    return "stopped" in documents.capture.get("times", {}) or documents.run.get("stop_time") is not None
