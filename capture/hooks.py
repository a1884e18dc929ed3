"""The plug-in interfaces, on one page: `RunObserver`, `Reader`, `Curator`, `Probe`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import datetime
    from typing import Any, BinaryIO

    from capture.filters import Filter
    from capture.records import Loss, RunRecord

#: Every hook of an observer and the arguments it may declare, in the order in which a run reaches them.
HOOKS: dict[str, tuple[str, ...]] = {
    "opened_event": ("host", "version"),
    "queued_event": ("ex_info", "command", "host_info", "queue_time", "config", "meta_info", "_id"),
    "started_event": ("ex_info", "command", "host_info", "start_time", "config", "meta_info", "_id", "requested"),
    "resumed_event": ("resume_time",),
    "source_event": ("path", "digest", "md5", "size", "open"),
    "facts_event": ("name", "facts"),
    "output_event": ("text", "offset"),
    "metrics_event": ("batch",),
    "log_metrics": ("metrics_by_name", "info"),
    "heartbeat_event": ("info", "captured_out", "beat_time", "result"),
    "resource_event": ("filename", "digest", "md5", "size", "open"),
    "artifact_event": ("name", "filename", "metadata", "content_type", "digest", "size", "open"),
    "listed_event": ("kind", "filename", "digest", "size", "metadata", "content_type"),
    "annotated_event": ("tags", "notes"),
    "completed_event": ("stop_time", "result"),
    "interrupted_event": ("interrupt_time", "status"),
    "failed_event": ("fail_time", "fail_trace"),
    "unknown_event": ("payload",),
    "flush": (),
    "join": (),
}

#: What any hook but `flush` and `join` may declare besides: together they name an event once and for all.
PLACE = ("uid", "writer", "seq")

#: What an observer may say that it stores.
CAPABILITIES = frozenset(
    {"metrics", "artifacts", "resources", "sources", "output", "queue", "facts", "annotations", "resume"}
)


def check_tags(tags: Any) -> list[str] | None:
    """Return tags as a list, None as it is.

    Raises
    ------
    TypeError
        If it is one text: its letters would be the tags.
    """
    if tags is None:
        return None
    if isinstance(tags, (str, bytes)):
        raise TypeError(f"tags are a list of strings, got {tags!r}; one tag is [{tags!r}]")
    return list(tags)


class Unavailable:
    """Why a fact is not known; it stands where the fact would stand, and is false."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return f"Unavailable({self.reason!r})"

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unavailable) and self.reason == other.reason

    def __hash__(self) -> int:
        return hash(("Unavailable", self.reason))


class RunObserver:
    """Told what happens to a run. Override what you need; a hook may take a subset of its arguments.

    Hooks of one observer are never called at the same time: `started_event` runs before the main function, the rest in
    this observer's own thread. Arguments are this observer's own plain copies: changing them changes nothing else.
    After a crash an event may arrive again; declare ``uid, writer, seq`` to tell, and store it once. Runs that go on at
    the same time share an observer whose `started_event` declares ``uid``; of another, a later run gets a shallow copy.

    An exception that is a connection problem or a time-out (`transient`) is tried again, in order; any other sets that
    one event aside, which the run's journal keeps and the log reports, and the next event is delivered.

    Every hook here only documents its arguments: `HOOKS` lists them, and an observer that declares another is refused
    when it is added.
    """

    priority: float = 0  #: higher is told first; the first id returned by `started_event` is offered to the others
    supports: frozenset[str] = frozenset()  #: of `CAPABILITIES`; what is missing is not stored by this observer
    replay: bool = True  #: whether a journal that was left behind is delivered later; a notifier says False
    lane: str = "thread"  #: "main" keeps this observer's hooks on the thread of the run
    required: bool = False  #: True: a run does not start without it

    @property
    def identity(self) -> str | None:
        """Name the store behind this observer, without credentials; equal for observers of the same store.

        What one process left undelivered is delivered to an observer of the same identity. None: never.
        """
        return None

    def transient(self, error: BaseException) -> bool:
        """Say whether `error` may pass by itself, so that the event should be tried again."""
        return isinstance(error, (ConnectionError, TimeoutError))

    def opened_event(self, host: dict[str, Any], version: str) -> None:
        """A writer of the run opened its journal; `host` says how to tell whether it lives. Comes before the start."""

    def queued_event(
        self,
        ex_info: dict[str, Any],
        command: str,
        host_info: dict[str, Any],
        queue_time: datetime,
        config: dict[str, Any],
        meta_info: dict[str, Any],
        _id: Any,
    ) -> Any:
        """The run is described for later; return the label this store gives it, or None."""

    def started_event(
        self,
        ex_info: dict[str, Any],
        command: str,
        host_info: dict[str, Any],
        start_time: datetime,
        config: dict[str, Any],
        meta_info: dict[str, Any],
        _id: Any,
        requested: bool = True,
    ) -> Any:
        """The run begins; return the label this store gives it, or None.

        `_id` is the label it is offered. `requested` says that the user asked for it: then it may name a queued run
        that is to be taken over. Otherwise another store gave it, and here it may belong to another run.
        """

    def resumed_event(self, resume_time: datetime) -> None:
        """A run that had ended goes on."""

    def source_event(self, path: str, digest: str, md5: str, size: int, open: Callable[[], BinaryIO]) -> None:
        """A source file of the run; ``open()`` gives its bytes."""

    def facts_event(self, name: str, facts: Any) -> None:
        """Facts that came after the start; they replace earlier ones of that name."""

    def output_event(self, text: str, offset: int) -> None:
        """The recorded output is now ``old[:offset] + text``, `offset` in bytes of UTF-8."""

    def metrics_event(self, batch: MetricsBatch) -> None:
        """New points. Without this hook they come through `log_metrics`."""

    def log_metrics(self, metrics_by_name: dict[str, Any], info: dict[str, Any]) -> None:
        """New points since the last heartbeat, ``{name: {"name", "steps", "values", "timestamps"}}``."""

    def heartbeat_event(self, info: dict[str, Any], captured_out: str, beat_time: datetime, result: Any) -> None:
        """The run is alive. `captured_out` is the whole output so far, built only for who declares it."""

    def resource_event(
        self, filename: str, digest: str, md5: str, size: int, open: Callable[[], BinaryIO]
    ) -> None:
        """The run read a file; ``open()`` gives the bytes it had then."""

    def artifact_event(
        self,
        name: str,
        filename: str,
        metadata: dict[str, Any] | None = None,
        content_type: str | None = None,
        digest: str = "",
        size: int = 0,
        open: Callable[[], BinaryIO] | None = None,
    ) -> None:
        """The run made a file; `filename` holds the bytes it had when it was added."""

    def listed_event(
        self,
        kind: str,
        filename: str,
        digest: str,
        size: int,
        metadata: dict[str, Any] | None = None,
        content_type: str | None = None,
    ) -> None:
        """The run has this source, resource or artifact (`kind`), whose bytes the store it is copied from has lost.

        `digest` is "" and `size` 0 where its record does not know them, as those of Sacred's, of which some have
        ``{"md5": ...}`` for metadata.
        """

    def annotated_event(self, tags: list[str] | None, notes: str | None) -> None:
        """Tags or notes changed; None leaves the old ones."""

    def completed_event(self, stop_time: datetime, result: Any) -> None:
        """The main function returned."""

    def interrupted_event(self, interrupt_time: datetime, status: str) -> None:
        """The run was stopped; `status` says how."""

    def failed_event(self, fail_time: datetime, fail_trace: list[str]) -> None:
        """The main function raised. Only observers that were told of the start hear this."""

    def unknown_event(self, payload: dict[str, Any]) -> None:
        """An event of a later version of this library."""

    def flush(self) -> None:
        """Make everything told so far durable: what was delivered before it returns is not delivered again.

        Called when nothing waits, from time to time under load, and before the run's journal goes. An observer that
        stores each event before its hook returns does not need it.
        """

    def join(self) -> None:
        """The last call for a run: finish what is still going on. Must come to an end."""


class MetricsBatch:
    """New points of one or more series, as `RunObserver.metrics_event` gets them.

    Attributes
    ----------
    start : int
        Microseconds since the epoch; times are counted from here.
    columns : dict
        ``{name: {"steps": [...], "values": [...], "times": [...]}}`` of equal lengths, as in the stored event:
        non-finite values are the strings "nan", "inf", "-inf".
    encoded : bytes
        The event as one line of JSON without the line end: parse it later, or store it as it is.
    """

    __slots__ = ("_data", "encoded")

    def __init__(self, encoded: bytes, data: dict[str, Any] | None = None) -> None:
        self.encoded = encoded
        self._data = data

    def _load(self) -> dict[str, Any]:
        if self._data is None:
            from capture.plainjson import loads

            self._data = loads(self.encoded)
        return self._data

    @property
    def seq(self) -> int:
        return self._load()["s"]

    @property
    def start(self) -> int:
        return self._load()["start"]

    @property
    def columns(self) -> dict[str, dict[str, list[Any]]]:
        return self._load()["columns"]


class Reader:
    """Gives back what a store holds. It never changes the store and never runs anything that it reads.

    A run is named by its label, by its uid or an unambiguous beginning or end of it, by "latest", or by a negative
    number: -1 is the newest.
    """

    url: str = ""

    def get(self, run: Any) -> RunRecord:
        """Return one run; `RunNotFoundError` if there is none."""
        raise NotImplementedError

    def find(
        self, where: Mapping[str, Any] | Filter | str | None = None, limit: int | None = None
    ) -> Iterator[RunRecord]:
        """Yield runs, newest first.

        Parameters
        ----------
        where : mapping or Filter, optional
            Exact values by dotted path: ``{"status": "COMPLETED", "config.lr": 0.1, "experiment.name": "digits"}``, or
            a condition made by `capture.filters.field`. The readers of this library take text, too, as
            `capture.expressions.parse` does: ``"config.lr > 0.1"``.
        limit : int, optional
        """
        raise NotImplementedError

    def labels(self) -> list[Any]:
        """Return the labels of all runs, oldest first."""
        raise NotImplementedError

    def is_alive(self, record: RunRecord) -> bool | None:
        """Say whether the process that writes a RUNNING run lives; None where it cannot be told from here."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of connections."""

    def used_files(self, progress: Callable[[], Any] = lambda: None) -> UsedFiles | None:
        """Return what tells which runs had to do with a file; None: all runs have to be read to know.

        `progress` is called once for each run that has to be read for it.
        """
        return None

    def output_from(self, label: Any, start: int) -> tuple[int, bytes] | None:
        """Return what a run in sight printed from a place on, so that who follows it need not read all of it again.

        Parameters
        ----------
        label : object
        start : int
            In bytes of UTF-8; negative: from the end.

        Returns
        -------
        tuple of int and bytes, or None
            Where the bytes begin: at `start`, or at the end if there is less. None where the whole has to be read.
        """
        return None

    @property
    def unreadable(self) -> dict[str, str]:
        """What is wrong with runs that `find` has left out since the store was opened, by their labels."""
        return {}

    @property
    def damaged(self) -> dict[str, list[Loss]]:
        """What runs that were looked at since the store was opened have lost, by their labels; the rest can be read."""
        return {}

    def copy_problems(self, label: Any) -> Iterator[tuple[str, str, str]]:
        """Yield what is wrong with copies of files that are kept for tools of others: kind, name, and a sentence."""
        return iter(())

    def health(self) -> Iterator[tuple[str, str, str]]:
        """Yield what `capture doctor` says of the store: "ok", "note", "warning" or "problem"; a text; what to do."""
        return iter(())


class UsedFiles:
    """Finds the runs that had to do with a file, among those that there were when it was made.

    Runs are numbered in the order in which `Reader.find` yields them: 0 is the newest. Of each run there are the marks
    that `capture.file_marks.marks_of` makes of its record. More runs than meant may be found, never fewer: who asks
    looks at their records.
    """

    def __len__(self) -> int:
        """Return how many runs there are."""
        raise NotImplementedError

    def labelled(self, label: str) -> list[int]:
        """Return the runs with a label, which is one if labels are what they should be."""
        raise NotImplementedError

    def find(self, marks: Collection[int]) -> list[int]:
        """Return the runs that have one of these marks, newest first."""
        raise NotImplementedError

    def between(self, least: int, most: int) -> list[int]:
        """Return the runs that used a content with a mark between two, or a folder with a file of one; newest first."""
        raise NotImplementedError

    def folders(self, marks: Collection[int]) -> set[int]:
        """Return the marks of the folders whose lists of files have one of these marks in them."""
        raise NotImplementedError

    def always(self) -> list[int]:
        """Return the runs whose marks are not known, newest first: they have to be looked at in any case."""
        raise NotImplementedError

    def records(self, places: Sequence[int]) -> Iterator[tuple[int, RunRecord]]:
        """Yield number and record of some runs, in this order; without what cannot be read any more."""
        raise NotImplementedError


class Curator:
    """Changes what people may change in a store, and nothing else."""

    def annotate(self, run: Any, tags: list[str] | None = None, notes: str | None = None) -> None:
        """Set tags or notes; None leaves the old ones. One text in place of a list of tags is a TypeError."""
        raise NotImplementedError

    def revise(
        self, run: Any, change: Callable[[list[str], str], tuple[list[str] | None, str | None]]
    ) -> None:
        """Change tags and notes by what they are at that moment, so that nobody's change is lost to another's.

        ``change(tags, notes)`` returns what they are to be, None for what stays. It is called again if somebody else
        was faster. A curator without this has `annotate` called with what was read just before.
        """
        raise NotImplementedError

    def bin(self, run: Any) -> None:
        """Take a run out of sight; `restore` brings it back."""
        raise NotImplementedError

    def restore(self, run: Any) -> None:
        """Bring a binned run back."""
        raise NotImplementedError

    def binned(self) -> list[Any]:
        """Return the labels of the runs in the bin."""
        raise NotImplementedError

    def purge(self, run: Any) -> None:
        """Delete a binned run for good, and the stored files that no other run uses. Its label is never given again."""
        raise NotImplementedError

    def mend(self, dry: bool = False) -> Iterator[str]:
        """Finish what processes that died had begun in the store, and delete nothing that somebody may need.

        Each thing is yielded as a sentence before it is done; with `dry` it is not done.
        """
        return iter(())

    def erase(self, value: str) -> int:
        """Replace one string everywhere in the store (a leaked secret); return the number of places."""
        raise NotImplementedError


class Probe:
    """Gathers one kind of fact about a run when asked."""

    name: str = ""  #: the topic under which its facts are recorded
    timeout_s: float = 2.0  #: how long a run waits for it before main; facts that come later are recorded later

    def gather(self) -> Any:
        """Return facts, as plain data, or `Unavailable`; what it raises is recorded as unavailable."""
        raise NotImplementedError
