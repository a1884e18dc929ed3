# A hook may take a subset of its arguments: a rule that the type system does not know.
# mypy: disable-error-code="override"

"""What every store's observer does alike: whose event it is, whether it is stored already, when it is made durable.

`StoreObserver` has all hooks. It needs two things of a store: to find a run that it holds, and to claim a place for a
new one. Both return a `RunWriter`, which is told what happens, one method for each event, and writes it when it is
flushed, or before.
"""

from __future__ import annotations

import os
import threading

from capture.errors import ObserverError, PartlyStoredError
from capture.hooks import CAPABILITIES, MetricsBatch, RunObserver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime
    from typing import Any, BinaryIO

_CHUNK = 1 << 20
_FIRST = 8  #: events of a writer among which a start is looked for: it comes second, or third after being queued


class Blob:
    """The bytes of a file, wherever they lie, and what is known of them.

    Attributes
    ----------
    digest : str
        SHA-256, hexadecimal.
    md5 : str
        Hexadecimal; "" where nobody computed it.
    size : int
        Bytes.
    open : callable
        ``open() -> binary file``, as often as one likes.
    """

    __slots__ = ("digest", "md5", "open", "size")

    def __init__(self, digest: str, md5: str, size: int, open: Callable[[], BinaryIO]) -> None:
        self.digest, self.md5, self.size, self.open = digest, md5, size, open

    @classmethod
    def of_file(cls, path: str) -> Blob:
        """Look at a file that nobody has looked at yet."""
        return cls(*digests(path), opener(path))


def digests(filename: str) -> tuple[str, str, int]:
    """Return SHA-256, MD5 and size of a file."""
    import hashlib

    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with open(filename, "rb") as stream:
        while True:
            chunk = stream.read(_CHUNK)
            if not chunk:
                return sha256.hexdigest(), md5.hexdigest(), size
            sha256.update(chunk)
            md5.update(chunk)
            size += len(chunk)


def opener(path: str) -> Callable[[], BinaryIO]:
    """Return a function that opens a file."""
    return lambda: open(path, "rb")


class RunWriter:
    """One run that is being written to a store: a subclass says how.

    The methods from `opened` to `unknown` each take one event. They may keep it in memory until `flush`, and they are
    not called for an event that `has` knows. What they raise sets the event aside as missed.

    Parameters
    ----------
    label : object
        The run's id in this store.
    uid : str or None
        None for a run that Sacred's way of calling tells of.
    seqs, missed : mapping, optional
        What the store says of them, see below.

    Attributes
    ----------
    seqs : dict of str to int
        By writer: the last event that is stored, or will be with the next `flush`. A store keeps it in the same atomic
        write as what it speaks of.
    missed : dict of str to set of int
        Events before that one that could not be stored.
    refused : list of (str, int)
        Writer and seq of events that `flush` found the store not to take; whoever flushed is told, and empties it.
    ended : bool
        Whether the run has an ending, so that after a flush the observer may forget it.
    """

    def __init__(
        self,
        label: Any,
        uid: str | None,
        seqs: Mapping[str, int] | None = None,
        missed: Mapping[str, Any] | None = None,
    ) -> None:
        self.label, self.uid = label, uid
        self.seqs: dict[str, int] = dict(seqs or {})
        self.missed: dict[str, set[int]] = {writer: set(each) for writer, each in (missed or {}).items()}
        self.refused: list[tuple[str, int]] = []
        self.ended = False
        self._followed = 0  # characters of Sacred's `captured_out` that were seen

    # ------------------------------------------------------------------------------------------- exactly once

    def has(self, writer: str, seq: int) -> bool:
        """Say whether this event is stored already, or will be with the next flush."""
        return 0 < seq <= self.seqs.get(writer, 0) and seq not in self.missed.get(writer, ())

    def stored(self, writer: str, seq: int) -> None:
        """Note that this event is stored with the next flush."""
        if seq:
            self.seqs[writer] = max(seq, self.seqs.get(writer, 0))
            self.missed.get(writer, set()).discard(seq)

    def failed(self, writer: str, seq: int) -> None:
        """Note that this event could not be stored, so that it is taken when it comes again after others."""
        if seq:
            self.missed.setdefault(writer, set()).add(seq)

    def take_over(self, stored: Mapping[str, Any], own: Iterable[str]) -> None:
        """Take over the ``seqs`` and ``missed`` that another writer stored, but of those in `own`, which are ours."""
        for writer, seq in (stored.get("seqs") or {}).items():
            self.seqs[writer] = max(seq, self.seqs.get(writer, 0))
        missed = stored.get("missed") or {}
        for writer in {*self.missed, *missed}.difference(own):
            self.missed[writer] = set(missed.get(writer, ()))

    # ------------------------------------------------------------------------------------------- what happens

    def opened(self, writer: str, host: Any, version: Any) -> None:
        """A writer's process has begun to tell; `host` says how to ask whether it lives."""
        raise NotImplementedError

    def described(
        self, status: str, moment: datetime, ex_info: Any, command: str, host_info: Any, config: Any, meta_info: Any
    ) -> None:
        """The run is QUEUED or RUNNING since `moment`."""
        raise NotImplementedError

    def resumed(self, moment: datetime) -> None:
        """The run is RUNNING again: what its ending said does not hold any more."""
        raise NotImplementedError

    def facts(self, topic: str, facts: Any) -> None:
        """Late facts; see `capture.records.experiment_facts` for what they say anew of the experiment."""
        raise NotImplementedError

    def output(self, text: str, offset: int | None) -> None:
        """The output is now ``old[:offset] + text``, `offset` in bytes of UTF-8; None appends."""
        raise NotImplementedError

    def metrics(self, batch: MetricsBatch, writer: str, seq: int) -> None:
        """New points."""
        raise NotImplementedError

    def beat(self, moment: datetime, info: Any, result: Any) -> None:
        """The run lives; `info` and `result` are the whole of them as they are now."""
        raise NotImplementedError

    def source(self, path: str, blob: Blob) -> None:
        """A source file, or under ``.capture/`` what is kept beside them; it replaces an earlier one of that path."""
        raise NotImplementedError

    def resource(self, filename: str, blob: Blob) -> None:
        """A file that was read; two of one name and different bytes are two."""
        raise NotImplementedError

    def artifact(self, name: str, blob: Blob, metadata: Any, content_type: str | None) -> None:
        """A file that was made; it replaces an earlier one of that name."""
        raise NotImplementedError

    def listed(self, kind: str, name: str, digest: str, size: int, metadata: Any, content_type: Any) -> None:
        """A "source", "resource" or "artifact" whose bytes are lost: the record lists it; its own event replaces it."""
        raise NotImplementedError

    def annotated(self, tags: list[str] | None, notes: str | None) -> None:
        """Tags or notes as they are from now on; None leaves the old ones."""
        raise NotImplementedError

    def finished(self, status: str, moment: datetime, **more: Any) -> None:
        """The run has ended; `more` may be ``result`` or ``fail_trace``."""
        raise NotImplementedError

    def unknown(self, payload: dict[str, Any]) -> None:
        """An event of a later version of this library: kept as it is."""
        raise NotImplementedError

    # --------------------------------------------------------------------------------------------------- writing

    def flush(self) -> None:
        """Write what was told, with `seqs` and `missed` beside it; when it returns, nothing of it can be lost."""
        raise NotImplementedError

    def follow_output(self, text: str) -> None:
        """Append what is new in the whole output so far; a text that became shorter is written again."""
        if len(text) < self._followed:
            self.output(text, 0)
        elif len(text) > self._followed:
            self.output(text[self._followed :], None)
        self._followed = len(text)


class DocumentWriter(RunWriter):
    """A run of which all but output, metrics and files is said by changes to `documents`, what is known of it.

    The changes are kept until they are written: when somebody else wrote meanwhile, they are made once more.
    """

    documents: Any  #: has a method for each change: `opened`, `describe`, `resumed`, `facts`, `beat`, and so on
    _changes: list[tuple[str, tuple[Any, ...], dict[str, Any]]]

    def change(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Make one change to what is known of the run."""
        getattr(self.documents, name)(*args, **kwargs)
        self._changes.append((name, args, kwargs))

    def opened(self, writer: str, host: Any, version: Any) -> None:
        self.change("opened", writer, host, version)

    def described(
        self, status: str, moment: datetime, ex_info: Any, command: str, host_info: Any, config: Any, meta_info: Any
    ) -> None:
        self.change("describe", status, moment, ex_info, command, host_info, config, meta_info)

    def resumed(self, moment: datetime) -> None:
        self.change("resumed", moment)

    def facts(self, topic: str, facts: Any) -> None:
        self.change("facts", topic, facts)

    def beat(self, moment: datetime, info: Any, result: Any) -> None:
        self.change("beat", moment, info, result)

    def annotated(self, tags: list[str] | None, notes: str | None) -> None:
        self.change("annotate", tags, notes)

    def finished(self, status: str, moment: datetime, **more: Any) -> None:
        self.change("ended", status, moment, **more)

    def unknown(self, payload: dict[str, Any]) -> None:
        self.change("unknown", payload)


class Heartbeat:
    """The hook `heartbeat_event`, which takes Sacred's ``captured_out`` without declaring it.

    For an observer that declares it, the whole output would be kept in memory and handed over at each heartbeat.
    """

    def __init__(self, function: Callable[..., None], observer: Any = None) -> None:
        self.__func__ = function  #: like a bound method's: what the hook declares
        self.__doc__ = "The run is alive. Sacred's `captured_out`, the whole output so far, is taken too."
        self._observer = observer

    def __get__(self, observer: Any, owner: Any = None) -> Any:
        return self if observer is None else Heartbeat(self.__func__, observer)

    def __call__(self, *args: Any, captured_out: str | None = None, **kwargs: Any) -> None:
        if captured_out:
            self._observer.follow_output(captured_out, kwargs.get("uid"))
        self.__func__(self._observer, *args, **kwargs)


class StoreObserver(RunObserver):
    """The hooks of an observer that stores runs; a subclass says where, with `find_run` and `claim_run`.

    Hooks that are called without ``uid``, as Sacred does, have stored their event when they return; otherwise `flush`
    decides.
    """

    supports = CAPABILITIES

    def __init__(self, priority: float = 0) -> None:
        self.priority = priority
        self.forget()

    @classmethod
    def create(cls, *args: Any, **kwargs: Any) -> Any:
        """Make an observer (Sacred's old way)."""
        import warnings

        text = f"{cls.__name__}.create(...) is deprecated: call {cls.__name__}(...)"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return cls(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.forget()

    def forget(self) -> None:
        """Forget the runs that are being written: in a copy, and in another process."""
        self._lock = threading.RLock()
        self._runs: dict[Any, Any] = {}
        self._last: Any = None
        self._hosts: dict[tuple[Any, str], tuple[Any, Any, int]] = {}

    # What a store says.

    def find_run(self, uid: str) -> RunWriter | None:
        """Return a writer that goes on with the run of this uid, or None if the store holds none."""
        raise NotImplementedError

    def claim_run(self, uid: str | None, asked: Any, takes_over: bool) -> RunWriter:
        """Give a new run its label, in one atomic step: the one `asked` for where it is free, else the next number.

        With `takes_over`, a label that a QUEUED run has is taken over from it: its writer is returned, with the new uid
        and without ``seqs``.
        """
        raise NotImplementedError

    def is_gone(self, run: Any) -> bool:
        """Say whether somebody deleted a run while it is being written."""
        return False

    def label_of(self, run: Any) -> Any:
        """Return the label that is given to the run's process."""
        return run.label

    # The hooks.

    def opened_event(self, host: Any, version: Any = None, uid: Any = None, writer: str = "main", seq: int = 0) -> None:
        with self._lock:
            run = self._known(uid)
            if run is None:
                self._hosts[uid, writer] = (host, version, seq)  # until the start tells of the run
            elif not run.has(writer, seq):
                run.opened(writer, host, version)
                run.stored(writer, seq)

    def queued_event(
        self,
        ex_info: dict[str, Any],
        command: str,
        host_info: dict[str, Any],
        queue_time: datetime,
        config: dict[str, Any],
        meta_info: dict[str, Any],
        _id: Any,
        uid: Any = None,
        writer: str = "main",
        seq: int = 0,
    ) -> Any:
        described = (ex_info, command, host_info, config, meta_info)
        return self._begin("QUEUED", queue_time, described, _id, uid, writer, seq)

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
        uid: Any = None,
        writer: str = "main",
        seq: int = 0,
    ) -> Any:
        described = (ex_info, command, host_info, config, meta_info)
        return self._begin("RUNNING", start_time, described, _id, uid, writer, seq, takes_over=requested)

    def _begin(
        self,
        status: str,
        moment: datetime,
        described: tuple[Any, ...],
        _id: Any,
        uid: Any,
        writer: str,
        seq: int,
        takes_over: bool = False,
    ) -> Any:
        with self._lock:
            run = None if uid is None else self._known(uid)  # whom Sacred calls, it tells of one run after the other
            if run is None:
                run = self.claim_run(uid, _id, takes_over)
                self._runs[uid] = run
                self._open(run, uid, writer, seq)
            else:  # claimed before the connection broke
                self._tell_of_writers(run, uid)
            self._last = run
            if not run.has(writer, seq):
                run.ended = False
                run.described(status, moment, *described)
                if uid is None:
                    self.store_listed_sources(run, described[0])
                run.stored(writer, seq)
            # The label is a promise to others: it is written before it is returned.
            run.flush()
            return self.label_of(run)

    def _open(self, run: Any, uid: Any, writer: str, seq: int) -> None:
        """Tell a new run of its writers; what came before its start and was refused is missed, and may come again."""
        told = self._tell_of_writers(run, uid)
        if seq <= _FIRST:
            for place in range(1, seq):
                if (writer, place) not in told:
                    run.failed(writer, place)

    def _tell_of_writers(self, run: Any, uid: Any) -> set[tuple[str, int]]:
        """Tell a run of the writers that opened their journals before its start; return these events."""
        told = set()
        for key in [key for key in self._hosts if key[0] == uid]:
            host, version, place = self._hosts.pop(key)
            if not run.has(key[1], place):
                run.opened(key[1], host, version)
                run.stored(key[1], place)
            told.add((key[1], place))
        return told

    def resumed_event(self, resume_time: datetime, uid: Any = None, writer: str = "main", seq: int = 0) -> None:
        def act(run: Any) -> None:
            run.ended = False
            run.resumed(resume_time)

        self._tell(act, uid, writer, seq)

    def facts_event(self, name: str, facts: Any, uid: Any = None, writer: str = "main", seq: int = 0) -> None:
        self._tell(lambda run: run.facts(name, facts), uid, writer, seq)

    def output_event(self, text: str, offset: int, uid: Any = None, writer: str = "main", seq: int = 0) -> None:
        self._tell(lambda run: run.output(text, offset), uid, writer, seq)

    def metrics_event(self, batch: MetricsBatch, uid: Any = None, writer: str = "main", seq: int = 0) -> None:
        self._tell(lambda run: run.metrics(batch, writer, seq), uid, writer, seq)

    def log_metrics(
        self,
        metrics_by_name: Mapping[str, Any],
        info: Any = None,
        uid: Any = None,
        writer: str = "main",
        seq: int = 0,
    ) -> None:
        if any(len(column["values"]) for column in metrics_by_name.values()):
            from capture.observers._series import batch_line

            batch = MetricsBatch(batch_line(metrics_by_name))
            self._tell(lambda run: run.metrics(batch, writer, seq), uid, writer, seq)

    def _beat(
        self,
        info: dict[str, Any],
        beat_time: datetime,
        result: Any,
        uid: Any = None,
        writer: str = "main",
        seq: int = 0,
    ) -> None:
        self._tell(lambda run: run.beat(beat_time, info, result), uid, writer, seq)

    heartbeat_event = Heartbeat(_beat)

    def source_event(
        self,
        path: str,
        digest: str,
        md5: str,
        size: int,
        open: Callable[[], BinaryIO],
        uid: Any = None,
        writer: str = "main",
        seq: int = 0,
    ) -> None:
        self._tell(lambda run: run.source(path, Blob(digest, md5, size, open)), uid, writer, seq)

    def resource_event(
        self,
        filename: str,
        digest: str = "",
        md5: str = "",
        size: int = 0,
        open: Callable[[], BinaryIO] | None = None,
        uid: Any = None,
        writer: str = "main",
        seq: int = 0,
    ) -> None:
        def act(run: Any) -> None:
            run.resource(filename, Blob.of_file(filename) if open is None else Blob(digest, md5, size, open))

        self._tell(act, uid, writer, seq)

    def artifact_event(
        self,
        name: str,
        filename: str,
        metadata: Any = None,
        content_type: Any = None,
        digest: str = "",
        size: int = 0,
        open: Callable[[], BinaryIO] | None = None,
        uid: Any = None,
        writer: str = "main",
        seq: int = 0,
    ) -> None:
        def act(run: Any) -> None:
            blob = Blob.of_file(filename) if open is None else Blob(digest, "", size, open)
            run.artifact(name, blob, metadata, content_type)

        self._tell(act, uid, writer, seq)

    def listed_event(
        self,
        kind: str,
        filename: str,
        digest: str,
        size: int,
        metadata: Any = None,
        content_type: Any = None,
        uid: Any = None,
        writer: str = "main",
        seq: int = 0,
    ) -> None:
        self._tell(lambda run: run.listed(kind, filename, digest, size, metadata, content_type), uid, writer, seq)

    def annotated_event(
        self, tags: list[str] | None, notes: str | None, uid: Any = None, writer: str = "main", seq: int = 0
    ) -> None:
        self._tell(lambda run: run.annotated(tags, notes), uid, writer, seq)

    def completed_event(
        self, stop_time: datetime, result: Any, uid: Any = None, writer: str = "main", seq: int = 0
    ) -> None:
        self._tell(lambda run: _end(run, "COMPLETED", stop_time, result=result), uid, writer, seq)

    def interrupted_event(
        self, interrupt_time: datetime, status: str, uid: Any = None, writer: str = "main", seq: int = 0
    ) -> None:
        self._tell(lambda run: _end(run, status, interrupt_time), uid, writer, seq)

    def failed_event(
        self, fail_time: datetime, fail_trace: list[str], uid: Any = None, writer: str = "main", seq: int = 0
    ) -> None:
        self._tell(lambda run: _end(run, "FAILED", fail_time, fail_trace=fail_trace), uid, writer, seq)

    def unknown_event(self, payload: dict[str, Any], uid: Any = None, writer: str = "main", seq: int = 0) -> None:
        self._tell(lambda run: run.unknown(payload), uid, writer, seq)

    def flush(self) -> None:
        """Write what was told since the last flush; what keeps one run from being written keeps no other.

        Raises
        ------
        PartlyStoredError
            If the store does not take some events; the others are stored.
        """
        problems: list[Exception] = []
        refused: dict[tuple[str, str], list[int]] = {}
        with self._lock:
            for uid, run in list(self._runs.items()):
                if self.is_gone(run):
                    log().warning("Run %s was removed from %s while it was being recorded", run.label, self.identity)
                    del self._runs[uid]
                    continue
                try:
                    run.flush()
                except Exception as error:  # noqa: BLE001 - raised below
                    problems.append(error)
                    continue
                for writer, seq in run.refused:
                    refused.setdefault((str(run.uid), writer), []).append(seq)
                run.refused.clear()
                if run.ended and uid is not None:
                    del self._runs[uid]  # should more come, it is found in the store
        for other in problems[1:]:
            log().warning("%r could not store a run: %s: %s", self, type(other).__name__, other)
        if problems:
            raise problems[0]
        if refused:
            count = sum(map(len, refused.values()))
            raise PartlyStoredError(f"{self.identity} does not take {count} events, which the log names", refused)

    def join(self) -> None:
        self.flush()

    def follow_output(self, text: str, uid: Any = None) -> None:
        """Store what is new in `text`, the whole output so far."""
        with self._lock:
            run = self._known(uid)
            if run is not None:
                run.follow_output(text)

    def store_listed_sources(self, run: Any, ex_info: dict[str, Any]) -> None:
        """Store the sources that Sacred lists as ``(path, md5)`` and leaves to the observer to read."""
        base = ex_info.get("base_dir") or ""
        for path, *_ in ex_info.get("sources", ()):
            full = os.path.join(base, path)
            try:
                blob = Blob.of_file(full)
            except OSError as error:
                log().warning("The source file %s could not be stored: %s", full, error)
                continue
            run.source(path, blob)

    def _tell(self, act: Callable[[Any], None], uid: Any, writer: str, seq: int) -> None:
        """Apply one event, once, to the run that it belongs to."""
        with self._lock:
            run = self._known(uid)
            if run is None:
                raise ObserverError(
                    f"{self.identity} holds no run {uid}: its start never arrived here, or it was removed"
                    if uid is not None
                    else f"{self!r} was told of an event before a run started"
                )
            if run.has(writer, seq):
                return
            self._last = run
            try:
                act(run)
            except Exception as error:
                if not self.transient(error):  # else it comes again, before any other
                    run.failed(writer, seq)
                raise
            run.stored(writer, seq)
            if uid is None:
                run.flush()

    def _known(self, uid: Any) -> Any:
        """Return the run of that uid, from memory or from the store."""
        run = self._runs.get(uid)
        if run is None and uid is not None:
            run = self.find_run(uid)
            if run is not None:
                self._runs[uid] = run
        return run


def _end(run: Any, status: str, moment: datetime, **more: Any) -> None:
    run.finished(status, moment, **more)
    run.ended = True


def require_driver(module: str, extra: str, what: str) -> None:
    """Refuse an observer whose driver is not installed: when it is made, not when a run has gone on for an hour.

    Raises
    ------
    ObserverError
        It says what to install.
    """
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise ObserverError(
            f"{what} by {module}, which is not installed."
            f"\n  to install it:  pip install 'experiment-capture[{extra}]'",
            print_traceback=False,
        )


def log() -> Any:
    """Return the logger of all observers."""
    import logging

    return logging.getLogger("capture.observers")


def joined(output: list[tuple[int | None, bytes]]) -> list[tuple[int | None, bytes]]:
    """Join pieces of output that follow each other, so that they are written at once.

    Examples
    --------
    >>> joined([(0, b"ab"), (2, b"c"), (None, b"d"), (1, b"e")])
    [(0, b'abcd'), (1, b'e')]
    """
    pieces: list[tuple[int | None, list[bytes], int]] = []
    for offset, data in output:
        if pieces:
            first, parts, size = pieces[-1]
            if offset is None or (first is not None and offset == first + size):
                parts.append(data)
                pieces[-1] = (first, parts, size + len(data))
                continue
        pieces.append((offset, [data], len(data)))
    return [(offset, b"".join(parts)) for offset, parts, _ in pieces]
