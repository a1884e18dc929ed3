"""The lab's portal: one file, to which every run of every machine adds a line per event.

::

    {"run": "019a...", "writer": "main", "event": {"e": "started", "s": 2, "t": 1767225600.25, "command": "main", ...}}

``event`` is the JSON form that `capture.events` defines, so that `capture.records.Fold` reads it back. A line is added
by a single write to a file opened for appending, which needs no lock and no server on a local disk. Two rules make the
rest:

- ``run``, ``writer`` and ``event["s"]`` name an event. A writer looks up which are there before it adds one.
- Who first writes a label has it. The order of the lines decides, also between machines.

Files that a run made or read are not kept here: `PortalObserver.supports` says so.
"""

from __future__ import annotations

import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from capture import events
from capture.errors import RunNotFoundError
from capture.hooks import Reader, RunObserver
from capture.records import Fold

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from capture.hooks import MetricsBatch
    from capture.records import RunRecord

SCHEME = "lab://"


def path_of(url: str | os.PathLike[str]) -> str:
    """Return the file that ``lab:///shared/portal.jsonl``, or a plain path, stands for."""
    path = os.fspath(url)
    if path.startswith(SCHEME):
        path = path[len(SCHEME) :]
        if path[2:3] == ":":  # lab:///C:/portal.jsonl
            path = path[1:]
    if not path:
        raise ValueError(f"{os.fspath(url)!r} names no file; write lab:///shared/portal.jsonl")
    return os.path.abspath(path)


class Portal:
    """The file, read as far as it has grown.

    Attributes
    ----------
    told : dict
        For each ``(run, writer)`` the sequence numbers of the events that are there.
    lines : dict
        For each run its events, by writer, as stored.
    labels : dict
        What each run is called here; in the order in which the runs came.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.told: dict[tuple[str, str], set[int]] = {}
        self.lines: dict[str, dict[str, dict[int, dict[str, Any]]]] = {}
        self.labels: dict[str, str] = {}
        self._offset = 0

    def update(self) -> None:
        """Read what was added since the last time."""
        try:
            with open(self.path, "rb") as stream:
                stream.seek(self._offset)
                for line in stream:
                    if not line.endswith(b"\n"):
                        break  # somebody is writing it, or died doing so
                    self._offset += len(line)
                    self._take(line)
        except FileNotFoundError:
            pass

    def _take(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
            run, writer, event = entry["run"], entry["writer"], entry["event"]
            seq = event["s"]
        except (ValueError, KeyError, TypeError):
            return  # what a crash has torn: the event came again, whole
        told = self.told.setdefault((run, writer), set())
        if seq in told:
            return
        told.add(seq)
        self.lines.setdefault(run, {}).setdefault(writer, {})[seq] = event
        if event["e"] == "started" and run not in self.labels:
            self.labels[run] = self._free_label(event.get("label"), run)

    def _free_label(self, wanted: Any, run: str) -> str:
        taken = set(self.labels.values())
        candidates = ([str(wanted)] if wanted is not None else []) + [run[-8:], run]
        return next(label for label in candidates if label not in taken)

    def append(self, run: str, writer: str, event: dict[str, Any]) -> None:
        """Add a line; one that a crash has torn is ended first."""
        line = json.dumps({"run": run, "writer": writer, "event": event}, allow_nan=False).encode() + b"\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            if self._ends_torn():
                line = b"\n" + line
            while line:
                line = line[os.write(descriptor, line) :]
        finally:
            os.close(descriptor)

    def _ends_torn(self) -> bool:
        with open(self.path, "rb") as stream:
            if stream.seek(0, os.SEEK_END) == 0:
                return False
            stream.seek(-1, os.SEEK_END)
            return stream.read() != b"\n"


class PortalObserver(RunObserver):
    """Tells the portal of a run.

    Parameters
    ----------
    url : str
        ``lab:///path/to/portal.jsonl``, or the path.
    required : bool
        Whether a run that cannot be told of here does not start.
    """

    supports = frozenset({"metrics", "output", "facts", "annotations", "resume"})

    def __init__(self, url: str | os.PathLike[str], required: bool = False) -> None:
        self.path = path_of(url)
        self.required = required
        self._portal = Portal(self.path)
        self._lock = threading.Lock()  # one observer may serve several runs, each from a thread of its own

    @classmethod
    def from_url(cls, url: str, **options: Any) -> PortalObserver:
        """Make an observer for ``-o lab:///path/to/portal.jsonl``."""
        return cls(url, **options)

    @classmethod
    def reader(cls, url: str) -> PortalReader:
        """Return a reader of the portal at `url`."""
        return PortalReader(url)

    @property
    def identity(self) -> str:
        """Name the portal; what one process could not deliver is delivered by the next that writes to it."""
        return SCHEME + os.path.realpath(self.path)

    def transient(self, error: BaseException) -> bool:
        """A full or absent network disk comes back: keep the event and try again."""
        return isinstance(error, OSError)

    def __repr__(self) -> str:
        return f"PortalObserver({self.path!r})"

    def _store(self, event: events.Event, uid: str, writer: str, seq: int) -> str | None:
        """Add an event unless it is there; return what the portal calls the run."""
        return self._store_json(event.at(seq, time.time()).to_json(), uid, writer, seq)

    def _store_json(self, event: dict[str, Any], uid: str, writer: str, seq: int) -> str | None:
        with self._lock:
            if (uid, writer) not in self._portal.told:
                self._portal.update()
            if seq not in self._portal.told.get((uid, writer), ()):
                self._portal.append(uid, writer, event)
            self._portal.update()  # of the lines that claim one label, the first to stand in the file has it
            return self._portal.labels.get(uid)

    def opened_event(self, host: dict[str, Any], version: str, uid: str, writer: str, seq: int) -> None:
        opened = events.Opened(format=events.FORMAT, uid=uid, writer=writer, version=version, host=host, observers=[])
        self._store(opened, uid, writer, seq)

    def started_event(
        self,
        ex_info: dict[str, Any],
        command: str,
        host_info: dict[str, Any],
        start_time: datetime,
        config: dict[str, Any],
        meta_info: dict[str, Any],
        _id: Any,
        uid: str,
        writer: str,
        seq: int,
    ) -> str | None:
        started = events.Started(
            start_time=start_time,
            command=command,
            ex_info=ex_info,
            host_info=host_info,
            config=config,
            meta_info=meta_info,
            label=_id,
        )
        return self._store(started, uid, writer, seq)

    def resumed_event(self, resume_time: datetime, uid: str, writer: str, seq: int) -> str | None:
        return self._store(events.Resumed(resume_time=resume_time), uid, writer, seq)

    def facts_event(self, name: str, facts: Any, uid: str, writer: str, seq: int) -> None:
        self._store(events.Facts(topic=name, facts=facts), uid, writer, seq)

    def output_event(self, text: str, offset: int, uid: str, writer: str, seq: int) -> None:
        self._store(events.Output(text=text, offset=offset), uid, writer, seq)

    def metrics_event(self, batch: MetricsBatch, uid: str, writer: str, seq: int) -> None:
        self._store_json(json.loads(batch.encoded), uid, writer, seq)

    def heartbeat_event(
        self, info: dict[str, Any], beat_time: datetime, result: Any, uid: str, writer: str, seq: int
    ) -> None:
        self._store(events.Heartbeat(beat_time=beat_time, info=[info], result=[result]), uid, writer, seq)

    def annotated_event(self, tags: list[str] | None, notes: str | None, uid: str, writer: str, seq: int) -> None:
        self._store(events.Annotated(tags=tags, notes=notes), uid, writer, seq)

    def completed_event(self, stop_time: datetime, result: Any, uid: str, writer: str, seq: int) -> None:
        self._store(events.Completed(stop_time=stop_time, result=result), uid, writer, seq)

    def interrupted_event(self, interrupt_time: datetime, status: str, uid: str, writer: str, seq: int) -> None:
        self._store(events.Interrupted(interrupt_time=interrupt_time, status=status), uid, writer, seq)

    def failed_event(self, fail_time: datetime, fail_trace: list[str], uid: str, writer: str, seq: int) -> None:
        self._store(events.Failed(fail_time=fail_time, fail_trace=fail_trace), uid, writer, seq)

    def unknown_event(self, payload: dict[str, Any], uid: str, writer: str, seq: int) -> None:
        self._store_json(payload, uid, writer, seq)

    def flush(self) -> None:
        """Have the system put on the disk what was written."""
        try:
            descriptor = os.open(self.path, os.O_RDWR)
        except FileNotFoundError:
            return
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class PortalReader(Reader):
    """Reads the portal.

    Parameters
    ----------
    url : str
        ``lab:///path/to/portal.jsonl``, or the path.
    """

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self._portal = Portal(path_of(url))
        self.url = SCHEME + self._portal.path

    def labels(self) -> list[str]:
        """Return the labels of all runs, oldest first."""
        self._portal.update()
        return list(self._portal.labels.values())

    def get(self, run: Any) -> RunRecord:
        """Return one run, named by its label, its uid or a beginning or end of it, "latest", or -1, -2, ..."""
        return self._record(self._find(run))

    def find(self, where: Mapping[str, Any] | None = None, limit: int | None = None) -> Iterator[RunRecord]:
        """Yield runs, newest first, that have these values at dotted paths."""
        self._portal.update()
        count = 0
        for uid in reversed(list(self._portal.labels)):
            if limit is not None and count >= limit:
                return
            record = self._record(uid)
            if all(_is_at(vars(record), path, value) for path, value in (where or {}).items()):
                count += 1
                yield record

    def is_alive(self, record: RunRecord) -> bool | None:
        """Of a run that has not ended, nothing in the portal tells whether its process lives."""
        return None if record.status == "RUNNING" else False

    def _find(self, run: Any) -> str:
        self._portal.update()
        labels, wanted = self._portal.labels, str(run)
        uids = list(labels)
        for uid, label in labels.items():
            if wanted in (label, uid):
                return uid
        if wanted == "latest" and uids:
            return uids[-1]
        if wanted[:1] == "-" and wanted[1:].isdigit() and 1 <= -int(wanted) <= len(uids):
            return uids[int(wanted)]
        matching = [uid for uid in uids if len(wanted) >= 4 and (uid.startswith(wanted) or uid.endswith(wanted))]
        if len(matching) == 1:
            return matching[0]
        problem = f"{wanted!r} could be any of {len(matching)} runs" if matching else f"there is no run {wanted!r}"
        known = ", ".join(labels.values()) or "none"
        raise RunNotFoundError(f"{problem} in the portal {self._portal.path}.\n  labels:  {known}")

    def _record(self, uid: str) -> RunRecord:
        folding = Fold()
        writers = self._portal.lines[uid]
        for writer in sorted(writers, key=lambda name: name != "main"):  # the others in the order in which they came
            for _, event in sorted(writers[writer].items()):
                folding.apply(events.from_json(event))
        folding.record.uid, folding.record.label = uid, self._portal.labels[uid]
        return folding.record


def _is_at(values: Any, path: str, wanted: Any) -> bool:
    """Say whether `wanted` stands at a dotted path; keys may hold dots themselves."""
    if isinstance(values, dict):
        for key, value in values.items():
            if path == key and value == wanted:
                return True
            if isinstance(key, str) and path.startswith(key + ".") and _is_at(value, path[len(key) + 1 :], wanted):
                return True
    return False
