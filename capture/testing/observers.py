# A hook may take a subset of its arguments: a rule that the type system does not know.
# mypy: disable-error-code="override"

"""Observers for tests: one that records what it is told, one that fails as asked, one that is a store in memory."""

from __future__ import annotations

from capture import events
from capture.hooks import CAPABILITIES, HOOKS, RunObserver
from capture.records import Fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from capture.hooks import MetricsBatch
    from capture.records import RunRecord


class RecordingObserver:
    """Records every call, as ``(hook, arguments)`` in `calls`.

    Parameters
    ----------
    label : object
        What `queued_event` and `started_event` return.
    hooks : iterable of str, optional
        The hooks that it has; default: all.
    **attributes
        ``priority``, ``identity``, ``replay``, ``lane``, ``required``, ...

    Examples
    --------
    >>> observer = RecordingObserver(hooks=["heartbeat_event"])
    >>> observer.heartbeat_event(info={}, result=3)
    >>> observer.calls
    [('heartbeat_event', {'info': {}, 'result': 3})]
    """

    priority: float = 0
    identity: str | None = None
    replay = True
    lane = "thread"
    required = False
    supports = CAPABILITIES

    def __init__(self, label: Any = None, hooks: Iterable[str] | None = None, **attributes: Any) -> None:
        self.label = label
        self.calls: list[tuple[str, dict[str, Any]]] = []
        vars(self).update(attributes)
        for name in HOOKS if hooks is None else hooks:
            setattr(self, name, self._hook(name))

    def _hook(self, name: str) -> Callable[..., Any]:
        def hook(**arguments: Any) -> Any:
            return self.told(name, arguments)

        return hook

    def told(self, hook: str, arguments: dict[str, Any]) -> Any:
        """Take one call; return what the hook returns."""
        self.calls.append((hook, arguments))
        return self.label if hook in ("queued_event", "started_event") else None

    @property
    def names(self) -> list[str]:
        """Hooks that were called, in order."""
        return [name for name, _ in self.calls]

    def of(self, hook: str) -> list[dict[str, Any]]:
        """Return the arguments of each call of one hook."""
        return [arguments for name, arguments in self.calls if name == hook]

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{type(self).__name__} has no {name!r}")


class FailingObserver(RecordingObserver):
    """Records every call, and fails as asked.

    Parameters
    ----------
    faults : mapping of str to list
        For each hook what becomes of its calls, one after the other: None (nothing), an exception (it is raised), or
        something callable (it is called first: a wait, for instance). After the last entry all goes well. The entry
        ``...`` at the end repeats the one before it for ever. The hook ``"*"`` stands for those not named.
    """

    def __init__(self, faults: Mapping[str, list[Any]], **options: Any) -> None:
        self._faults = {hook: list(plan) for hook, plan in faults.items()}
        super().__init__(**options)

    def told(self, hook: str, arguments: dict[str, Any]) -> Any:
        result = super().told(hook, arguments)
        plan = self._faults.get(hook if hook in self._faults else "*")
        if plan:
            fault = plan[0] if plan[1:2] == [...] else plan.pop(0)
            if isinstance(fault, BaseException):
                raise fault
            if callable(fault):
                fault()
        return result


class MemoryStore(RunObserver):
    """A store in memory that keeps each event once, however often it is told of it.

    It is the smallest observer that does all that is asked of one: ``(uid, writer, seq)`` names an event, labels are
    given once, `flush` makes durable what was told. `forget_unflushed` is a power cut.

    Attributes
    ----------
    deliveries : int
        Events that it was told of, repetitions included.
    """

    supports = CAPABILITIES

    def __init__(self, identity: str = "memory:", **attributes: Any) -> None:
        self._identity = identity
        self._durable: dict[tuple[str, str, int], events.Event] = {}
        self._new: dict[tuple[str, str, int], events.Event] = {}
        self._labels: dict[str, int] = {}
        self._blobs: dict[str, bytes] = {}
        self.joined = 0
        self.deliveries = 0
        vars(self).update(attributes)

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def uids(self) -> list[str]:
        """The runs it was told of."""
        return list(dict.fromkeys(uid for uid, _, _ in [*self._durable, *self._new]))

    def record(self, uid: str) -> RunRecord:
        """Return the fold of what is stored of a run."""
        import io

        folding = Fold(open_blob=lambda digest: io.BytesIO(self._blobs[digest]))
        folding.record.uid, folding.record.label = uid, self._labels.get(uid)
        stored = {**self._durable, **self._new}
        for _, place, event in sorted(
            (((where[1] != "main", where[1], where[2]), where, event) for where, event in stored.items()),
            key=lambda item: item[0],
        ):
            if place[0] == uid:
                folding.apply(event)
        return folding.record

    def forget_unflushed(self) -> None:
        """Lose what was not made durable."""
        self._new.clear()

    def _store(self, event: events.Event, uid: str, writer: str, seq: int) -> None:
        self.deliveries += 1
        if (uid, writer, seq) not in self._durable:
            self._new[uid, writer, seq] = event

    def _keep(self, digest: str, open: Any) -> None:
        if digest not in self._blobs:
            with open() as stream:
                self._blobs[digest] = stream.read()

    def opened_event(self, host, version, uid, writer, seq):
        opened = events.Opened(format=events.FORMAT, uid=uid, writer=writer, version=version, host=host, observers=[])
        self._store(opened, uid, writer, seq)

    def queued_event(self, ex_info, command, host_info, queue_time, config, meta_info, _id, uid, writer, seq):
        event = events.Queued(
            queue_time=queue_time, command=command, ex_info=ex_info, host_info=host_info, config=config,
            meta_info=meta_info,
        )  # fmt: skip
        self._store(event, uid, writer, seq)
        return self._label(uid, _id)

    def started_event(self, ex_info, command, host_info, start_time, config, meta_info, _id, uid, writer, seq):
        event = events.Started(
            start_time=start_time, command=command, ex_info=ex_info, host_info=host_info, config=config,
            meta_info=meta_info,
        )  # fmt: skip
        self._store(event, uid, writer, seq)
        return self._label(uid, _id)

    def _label(self, uid: str, asked: Any) -> Any:
        if uid not in self._labels:
            free = asked is not None and asked not in self._labels.values()
            self._labels[uid] = asked if free else 1 + max((n for n in self._labels.values() if n), default=0)
        return self._labels[uid]

    def resumed_event(self, resume_time, uid, writer, seq):
        self._store(events.Resumed(resume_time=resume_time), uid, writer, seq)

    def source_event(self, path, digest, md5, size, open, uid, writer, seq):
        self._keep(digest, open)
        self._store(events.Source(path=path, digest=digest, size=size, md5=md5), uid, writer, seq)

    def facts_event(self, name, facts, uid, writer, seq):
        self._store(events.Facts(topic=name, facts=facts), uid, writer, seq)

    def output_event(self, text, offset, uid, writer, seq):
        self._store(events.Output(text=text, offset=offset), uid, writer, seq)

    def metrics_event(self, batch: MetricsBatch, uid, writer, seq):
        self._store(events.Metrics(start=batch.start, columns=batch.columns), uid, writer, seq)

    def heartbeat_event(self, info, beat_time, result, uid, writer, seq):
        self._store(events.Heartbeat(beat_time=beat_time, info=[info], result=[result]), uid, writer, seq)

    def resource_event(self, filename, digest, md5, size, open, uid, writer, seq):
        self._keep(digest, open)
        self._store(events.Resource(filename=filename, digest=digest, size=size, md5=md5), uid, writer, seq)

    def artifact_event(self, name, filename, metadata, content_type, digest, size, open, uid, writer, seq):
        self._keep(digest, open)
        event = events.Artifact(
            artifact_name=name, filename=filename, digest=digest, size=size, metadata=metadata,
            content_type=content_type,
        )  # fmt: skip
        self._store(event, uid, writer, seq)

    def listed_event(self, kind, filename, digest, size, metadata, content_type, uid, writer, seq):
        event = events.Listed(
            kind=kind, filename=filename, digest=digest, size=size, metadata=metadata, content_type=content_type
        )
        self._store(event, uid, writer, seq)

    def annotated_event(self, tags, notes, uid, writer, seq):
        self._store(events.Annotated(tags=tags, notes=notes), uid, writer, seq)

    def completed_event(self, stop_time, result, uid, writer, seq):
        self._store(events.Completed(stop_time=stop_time, result=result), uid, writer, seq)

    def interrupted_event(self, interrupt_time, status, uid, writer, seq):
        self._store(events.Interrupted(interrupt_time=interrupt_time, status=status), uid, writer, seq)

    def failed_event(self, fail_time, fail_trace, uid, writer, seq):
        self._store(events.Failed(fail_time=fail_time, fail_trace=fail_trace), uid, writer, seq)

    def unknown_event(self, payload, uid, writer, seq):
        self._store(events.Unknown(kind=payload["e"], payload=payload), uid, writer, seq)

    def flush(self):
        self._durable.update(self._new)
        self._new.clear()

    def join(self):
        self.joined += 1
