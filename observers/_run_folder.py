"""The folder of one run, as its writer sees it.

`Documents` is what is known of the run, as the JSON that lies in the folder; `RunFolder` keeps it in memory, with the
output and the measurements that are not written yet, and writes what changed when it is told to. A second writer of
the same run (a child process, a resumed run) is noticed by its newer ``capture.json``: the documents are then read
again and this writer's own changes, which it keeps until they are written, are made once more.
"""

from __future__ import annotations

import os

from capture import plainjson
from capture._version import __version__
from capture.codec import decode, encode
from capture.errors import RecordError
from capture.observers import _atomic
from capture.observers._writing import DocumentWriter, joined, log
from capture.records import KEPT, experiment_facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from typing import Any

    from capture.hooks import MetricsBatch

FORMAT = 1  #: of capture.json and of the store
EXTENSION = "capture.json"  #: holds what Sacred's layout has no place for
FILES = {"run": "run.json", "config": "config.json", "info": "info.json", "capture": EXTENSION}
METRICS = "metrics.jsonl"
OUTPUT = "cout.txt"

_HELD = 256 << 10  #: bytes of output or measurements that are held in memory before they are written


def naive(moment: datetime) -> str:
    """Return a time as Sacred stores it: UTC, ISO 8601, without an offset."""
    if moment.tzinfo is not None:
        from capture.moments import timezone

        moment = moment.astimezone(timezone.utc).replace(tzinfo=None)
    return moment.isoformat()


def aware(moment: datetime) -> str:
    """Return a time with its offset; one without is UTC, as Sacred's are."""
    if moment.tzinfo is None:
        from capture.moments import timezone

        moment = moment.replace(tzinfo=timezone.utc)
    return moment.isoformat()


def read_document(path: str) -> Any:
    """Read one JSON file of a store, without decoding its tags.

    Raises
    ------
    FileNotFoundError
    RecordError
        If it is not whole; names file and line, and says what to do.
    """
    with open(path, "rb") as stream:
        data = stream.read()
    try:
        return plainjson.loads(data)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", "?")
        raise RecordError(
            f"{path}, line {line}: not readable as JSON ({error})."
            f"\n  it was probably cut off; capture doctor says what else is left in {os.path.dirname(path)}"
            "\n  to go on: bring the file back from a backup; else capture rm puts the run into the bin as it is"
        ) from error


class Documents:
    """What is known of a run, in the JSON form that its folder holds. Each method is one change.

    Attributes
    ----------
    run, config, info, capture : dict
        The contents of ``run.json``, ``config.json``, ``info.json`` and ``capture.json``.
    dirty : set of str
        Which of them changed.
    """

    def __init__(self, label: str = "", uid: str = "") -> None:
        self.run: dict[str, Any] = {}
        self.config: Any = None
        self.info: Any = None
        self.capture: dict[str, Any] = {
            "format": FORMAT,
            "version": __version__,
            "label": encode(label),
            "uid": encode(uid),
            "seqs": {},
            "writers": {},
            "times": {},
            "files": {"sources": [], "resources": [], "artifacts": []},
        }
        self.dirty: set[str] = set()
        self._places: dict[str, dict[Any, int]] = {}

    @classmethod
    def read(cls, folder: str) -> Documents:
        """Read the documents of a folder; those that are not there yet are empty."""
        documents = cls(label=os.path.basename(folder))
        for name, file in FILES.items():
            try:
                setattr(documents, name, read_document(os.path.join(folder, file)))
            except FileNotFoundError:
                pass
        if documents.run and not documents.capture["uid"] and not os.path.exists(os.path.join(folder, EXTENSION)):
            documents.capture["layout"] = "sacred"  # its files are listed in run.json, and only there
        files = documents.capture.setdefault("files", {})
        for kind in ("sources", "resources", "artifacts"):
            files.setdefault(kind, [])
        return documents

    def opened(self, writer: str, host: Any, version: Any) -> None:
        self.capture.setdefault("writers", {}).update(encode({writer: host}))
        if version is not None:
            self.capture["version"] = encode(version)
        self.dirty.add("capture")

    def describe(
        self, status: str, moment: datetime, ex_info: Any, command: str, host_info: Any, config: Any, meta_info: Any
    ) -> None:
        """The run is described: status QUEUED or RUNNING."""
        experiment = encode(ex_info)
        self.capture["experiment"] = {"sources": experiment["sources"]} if "sources" in experiment else {}
        self.run.update(
            experiment=experiment,
            command=encode(command),
            host=encode(host_info),
            meta=encode(meta_info),
            status=status,
        )
        times = self.capture.setdefault("times", {})
        if status == "QUEUED":
            times["queued"] = aware(moment)
        else:
            times["started"] = aware(moment)
            self.run["start_time"] = naive(moment)
            self.run.setdefault("heartbeat", None)
        self.config = encode(config)
        self.dirty |= {"run", "config", "capture"}

    def resumed(self, moment: datetime) -> None:
        self.run["status"] = "RUNNING"
        for name in ("stop_time", "fail_trace"):
            self.run.pop(name, None)
        self.capture.setdefault("times", {}).pop("stopped", None)
        self.capture.pop("output_bytes", None)
        self.capture.setdefault("resumed", []).append(aware(moment))
        self.dirty |= {"run", "capture"}

    def beat(self, moment: datetime, info: Any, result: Any) -> None:
        self.run["heartbeat"] = naive(moment)
        self.run["result"] = encode(result)
        self.capture.setdefault("times", {})["heartbeat"] = aware(moment)
        self.dirty |= {"run", "capture"}
        encoded = encode(info)
        if encoded != (self.info if self.info is not None else {}):
            self.info = encoded
            self.dirty.add("info")

    def ended(self, status: str, moment: datetime, **more: Any) -> None:
        self.run["status"] = encode(status)
        self.run["stop_time"] = naive(moment)
        self.run.update({name: encode(value) for name, value in more.items()})
        self.capture.setdefault("times", {})["stopped"] = aware(moment)
        self.dirty |= {"run", "capture"}

    def facts(self, topic: str, facts: Any) -> None:
        self.capture.setdefault("facts", {}).update(encode({topic: facts}))
        self.dirty.add("capture")
        anew = experiment_facts(topic, facts)
        if anew:
            self.run["experiment"] = {**self.run.get("experiment", {}), **encode(anew)}
            self.dirty.add("run")

    def annotate(self, tags: list[str] | None, notes: str | None) -> None:
        if tags is not None:
            self.capture["tags"] = encode(list(tags))
        if notes is not None:
            self.capture["notes"] = encode(notes)
        self.dirty.add("capture")

    def revise(self, change: Callable[[list[str], str], tuple[list[str] | None, str | None]]) -> None:
        """Set tags and notes to what ``change(tags, notes)`` makes of them."""
        self.annotate(*change(decode(self.capture.get("tags") or []), decode(self.capture.get("notes") or "")))

    def measured(self, size: int) -> None:
        """Measurements that were lost are back: their file has this many bytes now."""
        self.capture["metrics_bytes"] = dict.fromkeys(self.capture.get("metrics_bytes", {}), size)
        self.dirty.add("capture")

    def unknown(self, payload: Any) -> None:
        self.capture.setdefault("extra", []).append(payload)
        self.dirty.add("capture")

    def add_file(self, kind: str, entry: dict[str, Any]) -> None:
        """Note a stored file. Sources and artifacts of a name replace earlier ones, resources differ by content too."""
        files, places = self.capture["files"][kind], self._known(kind)
        place = places.setdefault(_key(kind, entry), len(files))
        files[place : place + 1] = [entry]
        self.dirty |= {"run", "capture"}

    def file(self, kind: str, name: str, digest: str | None = None) -> dict[str, Any] | None:
        """Return what is noted of a file, or None."""
        place = self._known(kind).get(_key(kind, {"name": encode(name), "digest": digest}))
        return None if place is None else self.capture["files"][kind][place]

    def _known(self, kind: str) -> dict[Any, int]:
        """Return the places of the files in their list: with a thousand artifacts, each must not search for its own."""
        if kind not in self._places:
            files = self.capture["files"][kind]
            self._places[kind] = {_key(kind, entry): place for place, entry in enumerate(files)}
        return self._places[kind]

    def sacreds_run(self, place: Callable[[str], str]) -> dict[str, Any]:
        """Return run.json with the files where Sacred's readers look for them; `place` says where a path leads.

        Files whose bytes are lost are left out: those readers would look for them.
        """
        run, all_files = dict(self.run), self.capture["files"]
        files = {kind: [entry for entry in entries if _stored(entry)] for kind, entries in all_files.items()}
        sources = [[entry["name"], _stored(entry)] for entry in files["sources"] if not _is_kept(entry)]
        if run.get("status") == "QUEUED":
            return {**run, "experiment": {**run["experiment"], "sources": sources}} if sources else run
        run["experiment"] = {**run.get("experiment", {}), "sources": sources}
        run["resources"] = [[entry["name"], place(_stored(entry))] for entry in files["resources"]]
        run["artifacts"] = [entry["stored"] for entry in files["artifacts"]]
        return run

    def adopt(self, uid: str) -> None:
        """A queued run is taken over by the process that runs it."""
        self.capture["uid"] = encode(uid)
        self.capture["seqs"] = {}
        for name in ("layout", "missed"):
            self.capture.pop(name, None)
        self.dirty.add("capture")


def _stored(entry: dict[str, Any]) -> str:
    return entry["stored"] or entry.get("original", "")


def _is_kept(entry: dict[str, Any]) -> bool:
    return str(entry["name"]).startswith(KEPT)


def _key(kind: str, entry: dict[str, Any]) -> Any:
    name = str(entry.get("name"))
    return (name, entry.get("digest")) if kind == "resources" else name


def _extension(capture: dict[str, Any]) -> bytes:
    """Return the text of ``capture.json``, one line a key: readable, and fast to write with a thousand files in it."""
    dump = plainjson.encoder(sort_keys=True, allow_nan=False)
    lines = ",\n".join(f"{dump(key)}: {dump(capture[key])}" for key in sorted(capture))
    return f"{{\n{lines}\n}}\n".encode()


class RunFolder(DocumentWriter):
    """One run that is being written. Where its files go is for its subclass to say.

    Parameters
    ----------
    path : str
        The folder.
    basedir : str
        The store.
    documents : Documents
    shared : bool
        Whether what lies in it is open to the group, whatever the umask says.
    """

    def __init__(self, path: str, basedir: str, documents: Documents, shared: bool = False) -> None:
        known = documents.capture
        super().__init__(decode(known["label"]), decode(known["uid"]), known.get("seqs"), known.get("missed"))
        self.path, self.basedir, self.documents, self.shared = path, basedir, documents, shared
        self._own: set[str] = set()  # the writers that speak through this object
        self._changes: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self._output: list[tuple[int | None, bytes]] = []
        self._output_size = 0
        self._noted_output = known.get("output_bytes", 0)  # what ``capture.json`` says on the disk
        self._metrics: list[bytes] = []
        self._metrics_size = 0
        self._tail: set[tuple[str, int]] = set()  # batches that lie in the file while ``seqs`` does not say so
        self._metrics_end = 0
        self._blobs: list[tuple[str, Callable[[], None]]] = []
        self._unsynced: set[str] = set()
        self._taken: set[str] | None = None  # paths of artifacts in lower case, and of their folders with a "/" behind
        self._checked = {path}
        self._written: tuple[int, ...] | None = None
        self._missed_changed = False

    @classmethod
    def open(cls, path: str, basedir: str, shared: bool = False) -> RunFolder:
        """Go on with a folder that exists, whoever wrote it."""
        with _atomic.Lock(path):
            folder = cls(path, basedir, Documents.read(path), shared)
            folder._written = _atomic.signature(os.path.join(path, EXTENSION))
            folder._mend_metrics()
        return folder

    # ------------------------------------------------------------------------------------------- exactly once

    def stored(self, writer: str, seq: int) -> None:
        if seq:
            self._own.add(writer)
            self._missed_changed = self._missed_changed or seq in self.missed.get(writer, ())
        super().stored(writer, seq)

    def failed(self, writer: str, seq: int) -> None:
        super().failed(writer, seq)
        if seq:
            self._own.add(writer)
            self._missed_changed = True

    # ------------------------------------------------------------------------------------------- what happens

    def described(
        self, status: str, moment: datetime, ex_info: Any, command: str, host_info: Any, config: Any, meta_info: Any
    ) -> None:
        super().described(status, moment, ex_info, command, host_info, config, meta_info)
        if status == "RUNNING" and not os.path.exists(self.file(OUTPUT)):
            self.output("", 0)

    def output(self, text: str, offset: int | None) -> None:
        try:
            data = text.encode("utf-8")
        except UnicodeEncodeError:
            data = text.encode("utf-8", "surrogatepass")
        if self._output_size > _HELD:  # before: what fails here is told again, and must not be held already
            self._flush_output()
        self._output.append((offset, data))
        self._output_size += len(data)

    def metrics(self, batch: MetricsBatch, writer: str, seq: int) -> None:
        if (writer, seq) in self._tail:
            return
        from capture.observers._series import mark_writer

        if self._metrics_size > _HELD:  # before: what fails here is told again, and must not be held already
            with _atomic.Lock(self.path):
                self._flush_metrics()
        self._metrics.append(mark_writer(batch.encoded, writer))
        self._metrics_size += len(batch.encoded)

    def has_metrics(self) -> bool:
        return bool(self._metrics) or os.path.exists(self.file(METRICS))

    def note_blob(self, path: str, take: Callable[[], None]) -> None:
        """Remember a shared file that this run uses: `take` brings it again should it vanish before that is written."""
        self._blobs.append((path, take))

    def note_file(self, path: str) -> None:
        """Remember a file whose bytes must be on the disk when the run has ended."""
        self._unsynced.add(path)

    def file(self, name: str) -> str:
        """Return the path of a file of this folder."""
        return os.path.join(self.path, name)

    def is_taken(self, stored: str) -> bool:
        """Say whether an artifact, or a folder of some, lies at this path, or at one that some systems take for it."""
        folded = stored.lower()
        return folded in self._paths() or folded + "/" in self._paths()

    def is_below_file(self, stored: str) -> bool:
        """Say whether an artifact lies where this path needs a folder."""
        above = stored.lower().rpartition("/")[0]
        while above:
            if above in self._paths():
                return True
            above = above.rpartition("/")[0]
        return False

    def _paths(self) -> set[str]:
        if self._taken is None:
            self._taken = set()
            for entry in self.documents.capture["files"]["artifacts"]:
                if entry["stored"] is not None:
                    self.take_path(entry["stored"])
        return self._taken

    def take_path(self, stored: str) -> None:
        """Note that an artifact lies at this path."""
        paths, folded = self._paths(), stored.lower()
        paths.add(folded)
        while "/" in folded:
            folded = folded.rpartition("/")[0]
            paths.add(folded + "/")

    def inner(self, stored: str) -> str:
        """Return the path of an artifact, its folder made; refuse one that a link leads out of the run's folder."""
        path = os.path.join(self.path, *stored.split("/"))
        folder = os.path.dirname(path)
        if folder not in self._checked:
            if not os.path.realpath(folder).startswith(os.path.realpath(self.path) + os.sep):
                raise NotADirectoryError(f"{folder} leads out of the folder of the run")
            try:
                _atomic.ensure_folder(folder, self.shared)
            except FileExistsError as error:
                raise NotADirectoryError(*error.args) from error
            self._checked.add(folder)
        return path

    # ------------------------------------------------------------------------------------------- writing

    def derive(self) -> None:
        """Make the files that only repeat what others hold; called when all but ``capture.json`` is written."""

    def flush(self) -> None:
        """Write what changed; after the ending of the run, put it on the disk."""
        if not (self._changes or self._output or self._metrics or self._missed_changed):
            return
        with _atomic.Lock(self.path):
            if self._written is not None and _atomic.signature(self.file(EXTENSION)) != self._written:
                self._merge()
            self._flush_metrics()
            self._flush_output()
            # Output and measurements alone are safe already: when they are told again, output goes where it was, and
            # a batch is recognised by its seq.
            if self._changes or self._missed_changed:
                self._write_documents(("config", "info", "run"))
                self.derive()
                if self.ended:
                    self._sync()
                self._write_extension()
                if self.ended and os.name == "posix":
                    _atomic.sync(self.path)  # the names of all of them
        self._check_blobs()
        self._changes.clear()
        self._missed_changed = False

    def _merge(self) -> None:
        """Another writer stored something: take over its documents and make our own changes again."""
        self.documents = Documents.read(self.path)
        self._noted_output = self.documents.capture.get("output_bytes", 0)
        self._taken = None
        for name, args, kwargs in self._changes:
            getattr(self.documents, name)(*args, **kwargs)
        self.take_over(self.documents.capture, self._own)

    def _write_documents(self, names: tuple[str, ...]) -> None:
        documents = self.documents
        for name in names:
            if name not in documents.dirty:
                continue
            content = getattr(documents, name)
            if name == "run":
                content = documents.sacreds_run(lambda path: os.path.join(self.basedir, path))
            elif name == "info" and not content and not os.path.exists(self.file(FILES["info"])):
                continue
            text = plainjson.dumps(content, sort_keys=True, indent=2, allow_nan=False)
            self._write(FILES[name], text.encode())
            documents.dirty.discard(name)

    def _write_extension(self) -> None:
        capture = self.documents.capture
        capture["seqs"] = {**capture.get("seqs", {}), **self.seqs}
        missed = {writer: sorted(seqs) for writer, seqs in self.missed.items() if seqs}
        capture.pop("missed", None)
        if missed:
            capture["missed"] = missed
        self._tail = {(writer, seq) for writer, seq in self._tail if seq > self.seqs.get(writer, 0)}
        if not self._tail:
            own = dict.fromkeys(self._own, self._metrics_end)
            capture["metrics_bytes"] = {**capture.get("metrics_bytes", {}), **own}
        if self.ended:  # while a run goes on, a progress bar takes back what it printed
            capture["output_bytes"] = self._output_bytes()
        self._write(EXTENSION, _extension(capture))
        self._noted_output = capture.get("output_bytes", 0)
        self._written = _atomic.signature(self.file(EXTENSION))
        self.documents.dirty.discard("capture")

    def _write(self, name: str, data: bytes) -> None:
        _atomic.write(self.file(name), data, self.shared, durable=self.ended)
        if self.ended:
            self._unsynced.discard(self.file(name))
        else:
            self._unsynced.add(self.file(name))

    def _flush_output(self) -> None:
        if not self._output:
            return
        self._output = joined(self._output)
        if self._noted_output and self._gets_shorter(self._noted_output):  # the run is over, and goes on all the same
            self._forget_output_bytes()
        descriptor = self._open(OUTPUT)
        try:
            _atomic.write_pieces(descriptor, self._output)
        finally:
            os.close(descriptor)
        self._output_size = 0

    def _output_bytes(self) -> int:
        try:
            return os.stat(self.file(OUTPUT)).st_size
        except FileNotFoundError:
            return 0

    def _gets_shorter(self, size: int) -> bool:
        """Say whether the output that is held takes back some of the first `size` bytes."""
        end = self._output_bytes()
        shortest = end
        for offset, data in self._output:
            end = min(end if offset is None else offset, end) + len(data)
            shortest = min(shortest, end)
        return shortest < size

    def _forget_output_bytes(self) -> None:
        """Have the record on the disk say nothing of the output's size, and else what it said."""
        self.documents.capture.pop("output_bytes", None)
        is_own = _atomic.signature(self.file(EXTENSION)) == self._written  # else `_merge` shall see what others wrote
        stored = read_document(self.file(EXTENSION))
        stored.pop("output_bytes", None)
        self._write(EXTENSION, _extension(stored))
        if is_own:
            self._written = _atomic.signature(self.file(EXTENSION))
        self._noted_output = 0

    def _flush_metrics(self) -> None:
        """Append the lines that are held."""
        if not self._metrics:
            return
        descriptor = self._open(METRICS)
        try:
            self._metrics_end = _atomic.append(descriptor, b"".join(self._metrics))
        finally:
            os.close(descriptor)
        self._metrics.clear()
        self._metrics_size = 0
        try:
            os.utime(self.path)  # says to the index that there is something new, as a file that is replaced does
        except OSError as error:
            log().debug("the time of %s is not set: %s", self.path, error)

    def _open(self, name: str) -> int:
        path = self.file(name)
        self._unsynced.add(path)
        try:
            return os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            return _atomic.create(path, self.shared)

    def _mend_metrics(self) -> None:
        """Cut off a line that a crash tore, and see which batches were written before their seq was."""
        path = self.file(METRICS)
        if os.path.exists(path):
            from capture.observers._series import mend_lines

            known = self.documents.capture.get("metrics_bytes", {})
            self._tail, self._metrics_end = mend_lines(path, min(known.values(), default=0), self.seqs)

    def _sync(self) -> None:
        """Put on the disk what was written; but ``capture.json``, which is about to be replaced."""
        for path in sorted(self._unsynced - {self.file(EXTENSION)}):
            _atomic.sync(path)
        self._unsynced.clear()

    def _check_blobs(self) -> None:
        """See that the shared files are there, now that everyone can read that this run uses them.

        Somebody may have purged the last other run that used them after they were found to exist.
        """
        for path, take in self._blobs:
            if not os.path.exists(path):
                take()
        self._blobs.clear()
