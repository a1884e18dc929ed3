"""Moving runs from one store to another: a record is told again, event by event, as far as the other store lacks it.

What is copied is what the record says. So a run can be copied as often as one likes: what is there already is not told
again, and what came since is. Records of Sacred get a uid that follows from their store and label.
"""

from __future__ import annotations

import errno
import os
import time

from capture import events, plainjson
from capture._version import __version__
from capture.calls import Calls, hooks_of
from capture.errors import ObserverError, RunNotFoundError
from capture.journal import Line
from capture.records import FILES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from typing import Any

    from capture.events import Event
    from capture.hooks import Reader, RunObserver
    from capture.records import RunRecord, Series, StoredFile
    from capture.spool import Spool, Taken

_POINTS = 10_000  #: of one series in one event
_TEXT = 1 << 20  #: bytes of output in one event
_SPOOLED = 256 << 20  #: bytes of files after which the store is asked to make them durable
UNFINISHED = "half-copied"  #: the tag of a run whose copying has begun, and has not come to its end
_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 4.0)  #: before a call that failed for want of a connection is made again


class CopyError(ObserverError):
    """A run that could not be copied whole."""


class StoreLostError(CopyError):
    """The store that is copied to does not answer any more: there is no use in going on with other runs."""


class _DamagedFile(Exception):
    """The bytes of a file are not what the record says, or cannot be read; the text says which."""


class Copied:
    """What became of one run.

    Attributes
    ----------
    source, label : object
        Its labels there and here.
    uid : str
    events, files, size : int
        What was told; `size` in bytes of files.
    missing : list of str
        Files of which the source had no bytes to give: the copy lists them, with the digest that was recorded.
    damaged : dict of str to str
        Files whose bytes are not those of the record, or cannot be read, and what is wrong; likewise listed.
    lost : list of str
        What the source has lost of its record itself, see `capture.records.Loss`: the copy has no more of it, and keeps
        the tag `UNFINISHED`, since nothing else in it would tell.
    is_of_half : bool
        Whether the source is itself a copy that broke off.
    differences : list of str
        In what the copy differs from its source; filled when it was compared.
    """

    def __init__(self, source: Any, uid: str) -> None:
        self.source, self.uid = source, uid
        self.label: Any = None
        self.events = self.files = self.size = 0
        self.missing: list[str] = []
        self.damaged: dict[str, str] = {}
        self.lost: list[str] = []
        self.is_of_half = False
        self.differences: list[str] = []

    @property
    def is_complete(self) -> bool:
        """Whether the copy holds all that the record says."""
        return not (self.missing or self.damaged or self.lost or self.differences or self.is_of_half)

    def lacks(self, kind: str, stored: StoredFile) -> bool:
        """Say whether the bytes of a file could not be copied."""
        name = _missing_name(kind, stored)
        return name in self.missing or name in self.damaged


def copy_run(
    record: RunRecord,
    source: str,
    observer: RunObserver,
    reader: Reader | None,
    folder: str,
    progress: Callable[[Copied], None] = lambda copied: None,
    passing: Callable[[BaseException], bool] | None = None,
    marked: bool = True,
) -> Copied:
    """Copy one run.

    A file that is damaged is left out, listed, and named in the answer; all else is copied.
    While that goes on, and if it breaks off, the copy has the tag `UNFINISHED`.

    Parameters
    ----------
    record : RunRecord
    source : str
        Identity of the store it comes from.
    observer : RunObserver
        Of the store it goes to.
    reader : Reader or None
        Of the same store; None if that is not there yet.
    folder : str
        Where files may lie meanwhile: there must be room twice for the largest one.
    progress : callable, optional
        Called as events are told.
    passing : callable, optional
        Says of an error of the store it comes from whether it is one of the connection, and not of the file. If nothing
        is said, those are `ConnectionError` and `TimeoutError`.
    marked : bool
        Whether the copy is tagged meanwhile.

    Raises
    ------
    CopyError
        If the store holds a run of this uid that has gone another way, or further, or refuses an event.
    StoreLostError
        If it does not answer any more.
    """
    uid = record.uid or foreign_uid(source, record)
    copied = Copied(record.label, uid)
    copied.lost = [loss.text for loss in record.losses]
    known: RunRecord | None = None
    if reader is not None:
        try:
            known = reader.get(uid)
        except RunNotFoundError:
            pass
    if reader is not None and known is not None:
        if reader.is_alive(known):
            raise CopyError(f"run {known.label} of {reader.url} is being written: copy it when it has ended")
        if _is_ahead(known, record):
            raise CopyError(f"run {known.label} of {reader.url} has gone on since: it knows more than what is copied")
    from capture.spool import Spool

    teller = _Teller(observer, uid, record.label, Spool(folder), copied, progress)
    copied.is_of_half = UNFINISHED in record.tags
    hooks = hooks_of(observer)
    try:
        told = missing_events(record, known, uid, teller.spool, copied, passing)
        if marked and "annotated_event" in hooks:
            told = _marked(told, record, known, teller.flush, bool(copied.lost))
        for writer, event in told:
            if event.name != "listed" or "listed_event" in hooks:
                teller.tell(writer, event)
        teller.finish()
    finally:
        teller.spool.remove()
    copied.label = teller.label if teller.label is not None else known.label if known is not None else None
    return copied


def _is_ahead(known: RunRecord, record: RunRecord) -> bool:
    """Say whether a copy knows more than what it is to be completed from: that would set it back."""
    if len(known.resumed) != len(record.resumed):
        return len(known.resumed) > len(record.resumed)
    if known.stop_time is not None and record.stop_time is None and record.status in ("QUEUED", "RUNNING"):
        return True
    return known.heartbeat is not None and record.heartbeat is not None and known.heartbeat > record.heartbeat


def compare_copy(record: RunRecord, reader: Reader, copied: Copied) -> None:
    """Read the copy, bytes of files included, and note in what it differs from its source."""
    copy = reader.get(copied.uid)
    wanted, found = record.to_dict(), copy.to_dict()
    wanted.update({kind: _comparable(record, copy, kind, copied) for kind in FILES})
    found.update({kind: _comparable(copy, record, kind, copied) for kind in FILES})
    for name, value in wanted.items():
        other = found[name]
        if name == "uid" or (name in ("tags", "notes") and other):
            continue
        if name == "heartbeat" and value is None:
            other = None  # info and result of a run that never had one came with one
        if name == "bytes":
            files = [(kind, each) for kind in FILES for each in getattr(record, kind)]
            left_out = {f"{kind}/{each.name}" for kind, each in files if copied.lacks(kind, each)}
            value, other = ({file: each[file] for file in each if file not in left_out} for each in (value, other))
            value, other = ({file: digest for file, digest in each.items() if digest} for each in (value, other))
        if _canonical(value) != _canonical(other):
            copied.differences.append(name)


def _comparable(record: RunRecord, other: RunRecord, kind: str, copied: Copied) -> list[Any]:
    """Return what two records must say alike of their files: what both know. Sacred's know no digests."""
    all_known = all(each.digest is not None for each in (*getattr(record, kind), *getattr(other, kind)))
    described = []
    for stored in getattr(record, kind):
        if not copied.lacks(kind, stored):
            more = (stored.metadata, stored.content_type) if kind == "artifacts" else ()
            described.append([stored.name, *([stored.digest, stored.size] if all_known else ()), *more])
    return described


def _missing_name(kind: str, stored: StoredFile) -> str:
    return f"{kind if kind == 'kept' else kind[:-1]} {stored.name}"


def _canonical(value: Any) -> str:
    from capture.codec import encode

    return plainjson.dumps(encode(value), sort_keys=True)


def foreign_uid(source: str, record: RunRecord) -> str:
    """Return the uid of a run that has none: the same each time, from its store, label and start."""
    import hashlib

    text = "\0".join([source, str(record.label), str(record.start_time or record.queue_time)])
    digits = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    moment = record.start_time or record.queue_time
    clock = f"{int(moment.timestamp() * 1000) if moment is not None else 0:012x}"[-12:]  # sorts as other uids do
    return f"{clock[:8]}-{clock[8:]}-8{digits[:3]}-a{digits[3:6]}-{digits[6:18]}"


# -------------------------------------------------------------------------------------------------------- the events


def missing_events(
    record: RunRecord,
    known: RunRecord | None,
    uid: str,
    spool: Spool,
    copied: Copied,
    passing: Callable[[BaseException], bool] | None = None,
) -> Iterator[tuple[str, Event]]:
    """Yield writer and event for all that a record has and `known`, the copy so far, has not."""
    for writer, host in record.writers.items():
        if known is None or known.writers.get(writer) != host:
            yield writer, _opened(uid, writer, host)
    for event in _events(record, known, spool, copied, passing or _is_lost):
        yield "main", event


def _marked(
    told: Iterator[tuple[str, Event]],
    record: RunRecord,
    known: RunRecord | None,
    flush: Callable[[], None],
    stays: bool,
) -> Iterator[tuple[str, Event]]:
    """Yield events, and between them those that tag the copy from its beginning until the last of them is told.

    The tag is flushed at once, as a store does with the start of a run: who is killed now leaves both behind. If it
    `stays`, the source has lost something, and the copy is whole when it was made of a whole one.
    """
    before = [] if known is None else known.tags
    tags, _ = _annotations(record, known)
    is_tagged = UNFINISHED in before
    for writer, event in told:
        if not is_tagged and (known is not None or event.name not in ("opened", "queued", "started")):
            yield "main", events.Annotated(tags=[*before, UNFINISHED])
            flush()
            is_tagged = True
        if isinstance(event, events.Annotated):
            event = events.Annotated(tags=[*(tag for tag in tags if tag != UNFINISHED), UNFINISHED], notes=event.notes)
        yield writer, event
    if is_tagged and UNFINISHED not in tags and not stays:
        yield "main", events.Annotated(tags=tags)


def _annotations(record: RunRecord, known: RunRecord | None) -> tuple[list[str], str]:
    """Return tags and notes of a copy that has come to its end: those that were made there stay, which may be newer."""
    there = [] if known is None else [tag for tag in known.tags if tag != UNFINISHED]
    if there and UNFINISHED in record.tags:
        there.append(UNFINISHED)
    return there or list(record.tags), (known.notes if known is not None else "") or record.notes


def _opened(uid: str, writer: str, host: Any) -> Event:
    return events.Opened(
        format=events.FORMAT, uid=uid, writer=writer, version=__version__, host=host, observers=[]
    )  # fmt: skip


def _events(
    record: RunRecord,
    known: RunRecord | None,
    spool: Spool,
    copied: Copied,
    passing: Callable[[BaseException], bool],
) -> Iterator[Event]:
    is_open = known is not None and known.status in ("QUEUED", "RUNNING")
    yield from _beginning(record, known)
    for topic, facts in record.facts.items():
        if known is None or topic not in known.facts or _canonical(known.facts[topic]) != _canonical(facts):
            yield events.Facts(topic=topic, facts=facts)
    yield from _files(record, known, spool, copied, passing)
    yield from _output(record, known)
    for name, summary in record.summary.items():  # the points, which may be millions, are read only where there are new
        if known is None or _canonical(known.summary.get(name)) != _canonical(summary):
            yield from _points(name, record.metrics[name], None if known is None else known.metrics.get(name), copied)
    tags, notes = _annotations(record, known)
    there = [] if known is None else [tag for tag in known.tags if tag != UNFINISHED or not copied.lost]  # it stays
    if [tags, notes] != [there, "" if known is None else known.notes]:
        yield events.Annotated(tags=tags, notes=notes or None)
    beat = record.heartbeat
    if beat is None and (record.info or (record.result is not None and record.status != "COMPLETED")):
        beat = record.stop_time or record.start_time or record.queue_time
    said = [record.info, record.result]
    if beat is not None and (
        known is None or known.heartbeat != beat or _canonical([known.info, known.result]) != _canonical(said)
    ):
        yield events.Heartbeat(beat_time=beat, info=[record.info], result=[record.result])
    for payload in record.extra:
        if known is None or payload not in known.extra:
            yield events.Unknown(kind=payload.get("e", ""), payload=payload)
    if known is None or is_open or known.status != record.status or known.stop_time != record.stop_time:
        yield from _ending(record)


def _beginning(record: RunRecord, known: RunRecord | None) -> Iterator[Event]:
    described: dict[str, Any] = {
        "command": record.command,
        "ex_info": record.experiment,
        "host_info": record.host,
        "config": record.config,
        "meta_info": record.meta,
    }
    if record.queue_time is not None and (known is None or known.queue_time is None):
        yield events.Queued(queue_time=record.queue_time, **described)
    started = record.start_time
    if started is None and record.queue_time is None:
        started = record.stop_time or record.heartbeat or _epoch()
    if started is not None and (known is None or known.start_time is None):
        yield events.Started(start_time=started, **described)
    for moment in record.resumed:
        if known is None or moment not in known.resumed:
            yield events.Resumed(resume_time=moment)


def _ending(record: RunRecord) -> Iterator[Event]:
    stopped = record.stop_time
    if stopped is None and record.status not in ("QUEUED", "RUNNING"):
        stopped = record.heartbeat or record.start_time or _epoch()
    if stopped is None or record.status in ("QUEUED", "RUNNING"):
        return
    if record.status == "COMPLETED":
        yield events.Completed(stop_time=stopped, result=record.result)
    elif record.status == "FAILED":
        yield events.Failed(fail_time=stopped, fail_trace=record.fail_trace or [])
    else:
        yield events.Interrupted(interrupt_time=stopped, status=record.status)


def _epoch() -> datetime:
    from capture.moments import datetime, timezone

    return datetime(1970, 1, 1, tzinfo=timezone.utc)


def _files(
    record: RunRecord,
    known: RunRecord | None,
    spool: Spool,
    copied: Copied,
    passing: Callable[[BaseException], bool],
) -> Iterator[Event]:
    """Yield the files that the copy lacks; those whose bytes cannot be had are listed, and noted in `copied`."""
    for kind in FILES:
        there = {(each.name, each.digest): each for each in getattr(known, kind)} if known is not None else {}
        whole = {key for key, each in there.items() if not each.is_only_listed}
        names = {name for name, _ in whole}
        for stored in getattr(record, kind):
            key = stored.name, stored.digest
            if key in whole or (stored.digest is None and stored.name in names):
                continue
            try:
                taken = _take(stored, spool, passing)
            except FileNotFoundError:
                copied.missing.append(_missing_name(kind, stored))
            except _DamagedFile as error:
                copied.damaged[_missing_name(kind, stored)] = str(error)
            else:
                copied.files += 1
                copied.size += taken.size
                yield _file_event(kind, stored, taken)
                continue
            if key not in there:
                yield _listed_event(kind, stored)


def _file_event(kind: str, stored: StoredFile, taken: Taken) -> Event:
    given: dict[str, Any] = {"digest": taken.digest, "size": taken.size}
    if kind == "artifacts":
        return events.Artifact(
            artifact_name=stored.name,
            filename=stored.name,
            metadata=stored.metadata,
            content_type=stored.content_type,
            **given,
        )
    if kind == "resources":
        return events.Resource(filename=stored.name, md5=taken.md5, **given)
    return events.Source(path=stored.name, md5=taken.md5, **given)


def _listed_event(kind: str, stored: StoredFile) -> Event:
    return events.Listed(
        kind="source" if kind == "kept" else kind[:-1],
        filename=stored.name,
        digest=stored.digest or "",  # Sacred's records know an MD5 at most, which is in the metadata
        size=stored.size or 0,
        metadata=stored.metadata,
        content_type=stored.content_type,
    )


def _take(stored: StoredFile, spool: Spool, passing: Callable[[BaseException], bool]) -> Taken:
    """Bring the bytes of a stored file into the spool.

    Raises
    ------
    FileNotFoundError
        If the store has none.
    _DamagedFile
        If they are not those of the record, or cannot be read.
    CopyError
        If there is no room for them.
    """
    import tempfile

    os.makedirs(spool.directory, exist_ok=True)
    descriptor, path = tempfile.mkstemp(dir=spool.directory, prefix=".copy-")
    try:
        chunks = _chunks(stored, passing)
        try:
            with open(descriptor, "wb") as local:
                local.writelines(chunks)
            taken = spool.take(path)  # closed before: elsewhere than on Unix it could not be opened twice
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise CopyError(
                f"{stored.name}: there is no room for its bytes in {spool.directory}"
                "\n  to go on: set TMPDIR to a folder on a larger disk"
            ) from error
    finally:
        os.unlink(path)
    if stored.digest is not None and taken.digest != stored.digest:
        raise _DamagedFile(f"they have the SHA-256 {taken.digest[:12]}..., recorded is {stored.digest[:12]}...")
    return taken


def _chunks(stored: StoredFile, passing: Callable[[BaseException], bool]) -> Iterator[bytes]:
    try:
        with stored.open() as stream:
            while chunk := stream.read(1 << 20):
                yield chunk
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever a driver raises over damaged data: the other files are copied
        is_of_disk = isinstance(error, OSError) and error.errno == errno.EIO  # a bad block, mostly
        if passing(error) and not is_of_disk:
            raise
        raise _DamagedFile(f"they cannot be read: {type(error).__name__}: {error}") from error


def _output(record: RunRecord, known: RunRecord | None) -> Iterator[Event]:
    text = record.output
    before = known.output if known is not None else ""
    offset = len(before.encode("utf-8", "surrogatepass")) if text.startswith(before) else 0
    rest = text[len(before) :] if text.startswith(before) else text
    for place in range(0, len(rest), _TEXT):
        piece = rest[place : place + _TEXT]
        yield events.Output(text=piece, offset=offset)
        offset += len(piece.encode("utf-8", "surrogatepass"))


def _points(name: str, series: Series, before: Series | None, copied: Copied) -> Iterator[Event]:
    done = 0 if before is None else len(before)
    if before is not None and not _is_beginning(before, series):
        raise CopyError(f"the metric {name!r} of run {copied.source} has other points in the store it is copied to")
    for first in range(done, len(series), _POINTS):
        part = slice(first, first + _POINTS)
        times = series.times[part]
        start = min(times)
        column = {
            "steps": series.steps[part],
            "values": [_plain(value) for value in series.values[part]],
            "times": [each - start for each in times],
        }
        yield events.Metrics(start=start, columns={name: column})


def _is_beginning(part: Series, whole: Series) -> bool:
    size = len(part)
    same_times = part.times == whole.times[:size] and part.steps == whole.steps[:size]
    return same_times and all(a == b or (a != a and b != b) for a, b in zip(part.values, whole.values))


def _plain(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return "nan" if value != value else "inf" if value > 0 else "-inf"
    return value


# ------------------------------------------------------------------------------------------------------------- telling


def is_passing(observer: Any, error: BaseException) -> bool:
    """Say whether an observer takes an error for one that may pass by itself; see `RunObserver.transient`."""
    judge = getattr(observer, "transient", None)
    return bool(judge(error)) if judge else isinstance(error, (ConnectionError, TimeoutError))


def _is_lost(error: BaseException) -> bool:
    return is_passing(None, error)


class _Teller:
    """Tells an observer, hook by hook, as a lane does, and again where the connection was lost."""

    def __init__(
        self,
        observer: Any,
        uid: str,
        offered: Any,
        spool: Spool,
        copied: Copied,
        progress: Callable[[Copied], None],
    ) -> None:
        self.spool, self.label = spool, None
        self._observer, self._uid, self._offered = observer, uid, offered
        self._copied, self._progress = copied, progress
        self._calls: dict[str, Calls] = {}
        # beyond any that the run's own writers have given, so that what they still deliver is known to be here
        self._seq = time.time_ns() // 1000
        self._unsafe = 0

    def _of(self, writer: str) -> Calls:
        if writer not in self._calls:
            self._calls[writer] = Calls(
                self._observer,
                self._uid,
                writer,
                self.spool,
                label=lambda asked: asked if asked is not None else self._offered,
                progress=lambda: self._progress(self._copied),
            )
        return self._calls[writer]

    def tell(self, writer: str, event: Event) -> None:
        self._seq += 1
        told = event.at(self._seq, time.time()).to_json()
        data = plainjson.dumps(told, separators=(",", ":"), allow_nan=False).encode()  # as in a journal
        kind = event.name or event.to_json().get("e", "")
        for call in self._of(writer).of(Line(self._seq, kind, data, 0)):
            answer = self._call(call.make, f"{kind} of run {self._copied.source}")
            if kind in ("queued", "started", "resumed") and answer is not None:
                self.label = answer
            if call.settle is not None:
                call.settle()
        self._copied.events += 1
        self._progress(self._copied)
        if kind in events.FILES:
            self._unsafe += getattr(event, "size", 0)
            if self._unsafe > _SPOOLED:
                self._release()

    def finish(self) -> None:
        """Tell the rest and make everything durable."""
        for calls in self._calls.values():
            for call in calls.rest():
                self._call(call.make, "the rest")
        self._release()
        for calls in list(self._calls.values())[:1]:
            if "join" in calls.hooks:
                self._call(calls.hooks["join"].method, "the end")

    def flush(self) -> None:
        """Make durable what was told."""
        for calls in list(self._calls.values())[:1]:
            if "flush" in calls.hooks:
                self._call(calls.hooks["flush"].method, "what was told")

    def _release(self) -> None:
        """Make durable what was told, after which nobody needs the bytes that were."""
        self.flush()
        self.spool.release()
        self._unsafe = 0

    def _call(self, call: Callable[[], Any], what: str) -> Any:
        pauses = iter(_PAUSES_S)
        while True:
            try:
                return call()
            except Exception as error:
                passes = is_passing(self._observer, error)
                pause = next(pauses, None)
                if not passes or pause is None:
                    raise (StoreLostError if passes else CopyError)(
                        f"{getattr(self._observer, 'identity', self._observer)} did not take {what}:"
                        f" {type(error).__name__}: {error}\n  what it took is kept: copy again to go on from there"
                    ) from error
                time.sleep(pause)
