"""What can happen to a run: one small frozen class per event.

A run is the list of its events, in the order of their `seq`. Everything else that is known about it (the record, the
stores, what an observer is told) is derived from that list. An event is stored as one JSON object::

    {"e": "heartbeat", "s": 7, "t": 1767225600.25, "beat_time": {"capture/datetime": "..."}, "result": null}

``e`` names the event, ``s`` is its sequence number (from 1, without gaps, per writer), ``t`` the wall clock in seconds
since the epoch; the other keys are the event's fields, encoded by `capture.codec`. Readers keep an event whose name
they do not know (`Unknown`), and ignore fields that they do not know: that is how the format grows. What would make an
old reader misread a record raises `FORMAT`.
"""

from __future__ import annotations

from capture.codec import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from typing import Any, ClassVar

    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_options):
        return lambda cls: cls


FORMAT = 1  #: version of the events' and the journal's format


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Event:
    """Base of all events: keyword fields taken from the annotations, frozen, comparable, printable.

    It does what a frozen dataclass does; creating twenty of those costs as much as starting Python twice.

    Attributes
    ----------
    seq : int
        Position in the run's journal, from 1; 0 before the journal has it.
    time : float
        Wall clock when it happened, in seconds since the epoch.
    """

    name: ClassVar[str] = ""
    fields: ClassVar[tuple[str, ...]] = ()
    raw: ClassVar[frozenset[str]] = frozenset()  #: fields that are plain JSON by their nature and stored as they are
    seq: int = 0
    time: float = 0.0

    def __init_subclass__(cls) -> None:
        own = [name for name, kind in cls.__annotations__.items() if not str(kind).startswith("ClassVar")]
        cls.fields = tuple(own)
        if cls.name:
            EVENTS[cls.name] = cls

    def __init__(self, **values: Any) -> None:
        known = self.fields
        for name in known:
            if name not in values and not hasattr(type(self), name):
                raise TypeError(f"event {self.name!r} needs {name}")
        for name in values:
            if name not in known and name not in ("seq", "time"):
                raise TypeError(f"event {self.name!r} has no field {name!r}; it has {', '.join(known)}")
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"events do not change: cannot set {name!r} of {self.name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"events do not change: cannot delete {name!r} of {self.name!r}")

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        names = (*self.fields, "seq", "time")
        return all(getattr(self, name) == getattr(other, name) for name in names)

    __hash__ = None  # type: ignore[assignment]  # events hold dicts

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.items())
        return f"{type(self).__name__}({shown})"

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield each field's name and value, in the order of declaration."""
        for name in self.fields:
            yield name, getattr(self, name)

    def at(self, seq: int, time: float) -> Event:
        """Return a copy that carries its place in the journal."""
        return _make(type(self), {**self.__dict__, "seq": seq, "time": time})

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that is stored."""
        data = {"e": self.name, "s": self.seq, "t": self.time}
        for name, value in self.items():
            data[name] = value if name in self.raw else encode(value)
        return data


def _make(cls: type[Event], values: dict[str, Any]) -> Any:
    event = cls.__new__(cls)
    event.__dict__.update(values)
    return event


def from_json(data: dict[str, Any]) -> Event:
    """Rebuild an event from its JSON object; a name that is not known gives an `Unknown`."""
    cls = EVENTS.get(data.get("e", ""))
    place = {"seq": data.get("s", 0), "time": data.get("t", 0.0)}
    if cls is None:
        return Unknown(kind=data.get("e", ""), payload=data, **place)
    values = {
        name: data[name] if name in cls.raw else decode(data[name]) for name in cls.fields if name in data
    }
    missing = [name for name in cls.fields if name not in values and not hasattr(cls, name)]
    if missing:
        return Unknown(kind=data["e"], payload=data, **place)
    return _make(cls, {**values, **place})


EVENTS: dict[str, type[Event]] = {}  #: event classes by their stored name


class Opened(Event):
    """A writer opened its journal: always the first event."""

    name = "opened"
    format: int
    uid: str
    writer: str  #: "main", or the name of a further writer of the same run (a child process, a rank, a resumed run)
    version: str  #: of this library
    host: dict[str, Any]  #: ``machine_id``, ``boot_id``, ``pid``, ``pid_start``: is the writer still alive?
    observers: list[dict[str, Any]]  #: ``identity``, ``name`` and ``replay`` of those that it delivers to
    spool: str = ""  #: folder with the bytes of the run's files; "": in the state folder, under the run's uid


class Queued(Event):
    """The run was described for later, and is not started by this process."""

    name = "queued"
    queue_time: datetime
    command: str
    ex_info: dict[str, Any]
    host_info: dict[str, Any]
    config: dict[str, Any]
    meta_info: dict[str, Any]
    label: Any = None  #: id asked for by the user, or None


class Started(Event):
    """The run begins; its main function has not been called yet."""

    name = "started"
    start_time: datetime
    command: str
    ex_info: dict[str, Any]  #: ``name, base_dir, sources, dependencies, repositories, mainfile``
    host_info: dict[str, Any]
    config: dict[str, Any]
    meta_info: dict[str, Any]
    label: Any = None


class Resumed(Event):
    """A run that had ended, or whose process had died, goes on under its old label."""

    name = "resumed"
    resume_time: datetime


class Facts(Event):
    """Facts that were not known when the run started. A later event of the same name replaces the earlier."""

    name = "facts"
    topic: str  #: "lineage", "system", "params", ...
    facts: Any


class Source(Event):
    """A source file that the run uses; its bytes are in the spool."""

    name = "source"
    path: str  #: relative to the experiment's base directory where it lies below it
    digest: str  #: SHA-256, hexadecimal
    size: int  #: bytes
    md5: str = ""  #: for stores whose layout is addressed by it


class Output(Event):
    """What was printed: the recorded text is now ``old[:offset] + text``."""

    name = "output"
    text: str
    offset: int  #: bytes of the UTF-8 form


class Metrics(Event):
    """New points of one or more series, in columns of equal length.

    `columns` maps a name to ``{"steps": [...], "values": [...], "times": [...]}``; values are numbers, with "nan",
    "inf" and "-inf" as strings; times are microseconds after `start`, which is in microseconds since the epoch.
    """

    name = "metrics"
    raw = frozenset({"columns"})  # a metric may be called "py/tuple"
    start: int
    columns: dict[str, dict[str, list[Any]]]


class Heartbeat(Event):
    """The run is alive. `info` and `result` are given when they changed since the last heartbeat that had them."""

    name = "heartbeat"
    beat_time: datetime
    info: Any = None  #: a one-element list holding the info dict, or None for "as before"
    result: Any = None  #: likewise


class Resource(Event):
    """A file that the run read; its bytes are in the spool."""

    name = "resource"
    filename: str  #: absolute path
    digest: str
    size: int
    md5: str = ""


class Artifact(Event):
    """A file that the run made; its bytes are in the spool."""

    name = "artifact"
    artifact_name: str  #: may be nested: "plots/loss.png"
    filename: str
    digest: str
    size: int
    metadata: Any = None
    content_type: Any = None


class Listed(Event):
    """The run has a file whose bytes the store that it is copied from has lost: it is listed, and nothing more.

    No run tells this of itself. The event of the file, should its bytes be found, takes the place of this one.
    """

    name = "listed"
    kind: str  #: "source", "resource" or "artifact"
    filename: str  #: as the event of the file names it: path, absolute path, or name of the artifact
    digest: str  #: "" where the record that was copied has none; one of Sacred's may have an MD5, in the metadata
    size: int  #: 0 where it is not known
    metadata: Any = None
    content_type: Any = None


class Completed(Event):
    """The main function returned."""

    name = "completed"
    stop_time: datetime
    result: Any = None


class Interrupted(Event):
    """The run was stopped from outside, or stopped itself, with a status that says so."""

    name = "interrupted"
    interrupt_time: datetime
    status: str  #: INTERRUPTED, TIMEOUT, PREEMPTED, or an experiment's own


class Failed(Event):
    """The main function, or a hook of the run, raised."""

    name = "failed"
    fail_time: datetime
    fail_trace: list[str]


class Annotated(Event):
    """Tags and notes as they are from now on; None leaves the old ones."""

    name = "annotated"
    tags: Any = None  #: list of str
    notes: Any = None  #: str


class Unknown(Event):
    """An event of a later version of this library: kept, passed on, not understood."""

    kind: str
    payload: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return self.payload


ENDINGS = frozenset({"completed", "interrupted", "failed"})  #: after one of these a writer says nothing more
FILES = frozenset({"source", "resource", "artifact"})  #: events whose bytes lie in the spool under their digest
