"""What an observer is told of an event: which hooks it has, which arguments they take, and what is passed to them.

Here is everything that depends on the shape of an observer: subset arguments, Sacred's hooks that want numbers gathered
between heartbeats and the whole output so far, copies that belong to the observer alone. `capture.dispatch` decides
when the calls are made, and what their errors mean.
"""

from __future__ import annotations

import io
from collections import namedtuple

from capture import plainjson
from capture.codec import decode, encode
from capture.errors import HookError, ObserverError
from capture.events import ENDINGS
from capture.hooks import HOOKS, PLACE, MetricsBatch, RunObserver
from capture.journal import event_of
from capture.moments import datetime, timezone
from capture.records import Series, utc_from_microseconds
from capture.settings import SETTINGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, BinaryIO

    from capture.journal import Line
    from capture.spool import Spool

MAX_GATHERED = 8 * 2**20  #: bytes of metrics kept for `log_metrics` before it is called between heartbeats
_VARKEYWORDS = 0x08  # of `code.co_flags`, as `inspect.CO_VARKEYWORDS`


# -------------------------------------------------------------------------------------------------------------- hooks


class Hook(namedtuple("Hook", "name method wanted")):
    """A hook of an observer."""

    __slots__ = ()
    name: str
    method: Callable[..., Any]
    wanted: frozenset[str] | None  #: arguments that it declares; None if it takes any

    def wants(self, argument: str) -> bool:
        return self.wanted is None or argument in self.wanted


def name_of(observer: Any) -> str:
    """Return the name of an observer for messages and stored facts: its `display_name`, else its class with module."""
    name = getattr(observer, "display_name", None)
    if isinstance(name, str) and name:
        return name
    cls = type(observer)
    return f"{cls.__module__}.{cls.__qualname__}"


def identity_of(observer: Any) -> str | None:
    """Return the identity of the store behind an observer, or None if it has none."""
    identity = getattr(observer, "identity", None)
    return identity if isinstance(identity, str) and identity else None


def place_of(observer: Any) -> str:
    """Return what messages call an observer: the identity of its store, which `capture sync` takes; else its name.

    Two stores of one class are told apart by it, and it has no password.
    """
    return identity_of(observer) or name_of(observer)


def replays(observer: Any) -> bool:
    """Say whether a journal that was left behind may be delivered to this observer (or its equal) later."""
    return identity_of(observer) is not None and keeps_runs(observer)


def keeps_runs(observer: Any) -> bool:
    """Say whether a run is recorded by this observer: one with ``replay = False`` only tells somebody of it."""
    return getattr(observer, "replay", True) is not False


def describe(observers: Iterable[Any]) -> list[dict[str, Any]]:
    """Return what `Opened.observers` holds."""
    return [
        {"identity": identity_of(each), "name": name_of(each), "replay": keeps_runs(each)}
        for each in observers
    ]


def check_hooks(observer: Any) -> None:
    """Refuse an observer whose hooks declare arguments that no run passes.

    Raises
    ------
    HookError
        Naming observer, hook and argument.
    ObserverError
        If `observer` is a class, or one of the attributes by which it is told raises or is of no use.
    """
    if isinstance(observer, type):
        raise ObserverError(
            f"{observer.__qualname__} is a class, not an observer."
            f"\n  to add one:  observers.append({observer.__qualname__}(...))"
        )
    try:
        hooks = hooks_of(observer)
        priority = getattr(observer, "priority", 0)
        for attribute in ("lane", "required", "replay", "supports"):
            getattr(observer, attribute, None)
    except ObserverError:
        raise
    except Exception as error:
        raise ObserverError(
            f"{name_of(observer)} cannot be asked what it is: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(priority, (int, float)) or priority != priority:
        raise ObserverError(f"{name_of(observer)}.priority is a number, got {priority!r}")
    misspelt = _near_misses(observer)
    if misspelt:
        slips = "".join(f"\n  {name}: did you mean {meant}?" for name, meant in misspelt.items())
        raise ObserverError(f"{name_of(observer)} has methods that are probably hooks, misspelt:{slips}")
    if not hooks:
        raise ObserverError(
            f"{name_of(observer)} has none of the hooks of an observer, so it would be told nothing."
            f"\n  hooks:  {', '.join(HOOKS)}"
        )


def _near_misses(observer: Any) -> dict[str, str]:
    """Return methods that no run calls and whose names are nearly those of hooks, with the hook that was meant."""
    candidates = [name for name in dir(type(observer)) if "_ev" in name and name[0] != "_" and name not in HOOKS]
    if not candidates:
        return {}
    from difflib import get_close_matches

    close = {name: get_close_matches(name, HOOKS, n=1, cutoff=0.85) for name in candidates}
    return {name: meant[0] for name, meant in close.items() if meant}


def hooks_of(observer: Any) -> dict[str, Hook]:
    """Return the hooks that an observer has, by name.

    It has those it defines itself: what it inherits from `RunObserver` only documents.
    """
    found = {}
    for name, arguments in HOOKS.items():
        method = getattr(observer, name, None)
        if not callable(method) or getattr(method, "__func__", None) is getattr(RunObserver, name, None):
            continue
        known = arguments if name in ("flush", "join") else arguments + PLACE
        found[name] = Hook(name, method, _wanted(observer, name, method, known))
    return found


def _wanted(observer: Any, hook: str, method: Any, known: tuple[str, ...]) -> frozenset[str] | None:
    positional_only, named, required, takes_any = _parameters(method)
    for argument in (*positional_only, *required):
        if argument in positional_only or argument not in known:
            raise HookError(type(observer).__qualname__, hook, argument, known)
    return None if takes_any else frozenset(named).intersection(known)


def _parameters(method: Any) -> tuple[list[str], list[str], list[str], bool]:
    """Return required positional-only, all named and required named parameters, and whether any keyword is taken."""
    function = getattr(method, "__func__", method)
    code = getattr(function, "__code__", None)
    if code is None or hasattr(function, "__wrapped__") or hasattr(function, "__signature__"):
        return _inspected(method)
    bound = 1 if function is not method else 0
    positional = code.co_varnames[: code.co_argcount]
    defaults = len(function.__defaults__ or ())
    required = list(positional[: len(positional) - defaults])
    keyword_only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    required += [name for name in keyword_only if name not in (function.__kwdefaults__ or {})]
    hidden = positional[bound : code.co_posonlyargcount]
    named = [*positional[max(bound, code.co_posonlyargcount) :], *keyword_only]
    return (
        [name for name in hidden if name in required],
        named,
        [name for name in required if name in named],
        bool(code.co_flags & _VARKEYWORDS),
    )


def _inspected(method: Any) -> tuple[list[str], list[str], list[str], bool]:
    import inspect

    try:
        parameters = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):  # written in C without a signature: nothing can be checked
        return [], [], [], True
    empty = inspect.Parameter.empty
    hidden = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.default is empty]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    required = [p.name for p in named if p.default is empty]
    return hidden, [p.name for p in named], required, any(p.kind is p.VAR_KEYWORD for p in parameters)


# -------------------------------------------------------------------------------------------------------------- files


class _Watched(io.FileIO):
    """A file that says when it was read from: a long upload is progress."""

    def __init__(self, path: str, progress: Callable[[], None]) -> None:
        super().__init__(path)
        self._progress = progress

    def readinto(self, buffer: Any) -> int | None:
        self._progress()
        return super().readinto(buffer)


class Opener:
    """Opens the bytes of a recorded file; the `open` that hooks get.

    Attributes
    ----------
    path : str
        Where the bytes lie until the run's journal goes: for a link, which costs nothing. They must not be changed.
    """

    __slots__ = ("_progress", "path")

    def __init__(self, path: str, progress: Callable[[], None]) -> None:
        self.path = path
        self._progress = progress

    def __call__(self) -> BinaryIO:
        return io.BufferedReader(_Watched(self.path, self._progress), 1 << 20)


# -------------------------------------------------------------------------------------------------------------- calls


class Call(namedtuple("Call", "hook arguments seqs settle", defaults=(None,))):
    """One call of a hook that is due.

    `arguments` makes them anew for each attempt, so that what an observer did to its copy does not matter; `seqs` are
    the events that the call stands for; `settle` is called once when it was made, or given up.
    """

    __slots__ = ()
    hook: Hook
    arguments: Callable[[], dict[str, Any]]
    seqs: tuple[int, ...]
    settle: Callable[[], None] | None

    def make(self) -> Any:
        """Call the hook with those arguments that it declares."""
        given = self.arguments()
        wanted = self.hook.wanted
        if wanted is not None:
            given = {name: value for name, value in given.items() if name in wanted}
        return self.hook.method(**given)


class Calls:
    """Turns the events of one writer into calls of one observer's hooks.

    Parameters
    ----------
    observer : object
    uid, writer : str
    spool : Spool
        Where the bytes of files are.
    label : callable
        ``label(asked for) -> object``: the label to offer to `queued_event` and `started_event`.
    progress : callable
        Called when the observer reads from a file.
    """

    def __init__(
        self,
        observer: Any,
        uid: str,
        writer: str,
        spool: Spool,
        label: Callable[[Any], Any],
        progress: Callable[[], None],
    ) -> None:
        self.hooks = hooks = hooks_of(observer)
        self._place = {"uid": uid, "writer": writer}
        self._spool, self._label, self._progress = spool, label, progress
        self._gathers = "log_metrics" in hooks and "metrics_event" not in hooks
        self._gathered: list[Line] = []
        self._gathered_bytes = 0
        beat = hooks.get("heartbeat_event")
        self._keeps_output = beat is not None and beat.wants("captured_out")
        self._output = bytearray()
        self._untold_output = 0  # seq of the first output that no heartbeat has carried
        self._info = self._result = b"null"  # as JSON, so that each call gets its own copy
        self._beat_time = b"null"
        self._naive = SETTINGS.NAIVE_TIMES and not _is_own(observer)

    @property
    def held_from(self) -> int:
        """Seq of the first event that was taken in, but that the observer has not been told of; 0 if there is none."""
        held = [self._untold_output] if self._untold_output else []
        if self._gathered:
            held.append(self._gathered[0].seq)
        return min(held, default=0)

    def absorb(self, line: Line) -> None:
        """Take in an event that the observer knows already: later calls may need it."""
        if line.kind == "output" and self._keeps_output:
            self._take_output(line, told=True)
        elif line.kind == "heartbeat":
            self._take_heartbeat(line)

    def of(self, line: Line) -> list[Call]:
        """Return the calls that an event asks for."""
        kind = line.kind
        if kind == "metrics":
            return self._metrics(line)
        if kind == "output" and self._keeps_output:
            self._take_output(line, told=False)
        elif kind == "heartbeat":
            self._take_heartbeat(line)
            return self._beat(line.seq)
        before = self.rest() if kind in ENDINGS else []
        known = kind in _ARGUMENTS and bool(event_of(line.data).name)  # a later version may have changed its fields
        maker = _ARGUMENTS[kind] if known else lambda calls, event: {"payload": event.payload}
        hook = self.hooks.get(f"{kind}_event" if known else "unknown_event")
        if hook is None:
            return before

        def arguments() -> dict[str, Any]:
            return self._timed({**maker(self, event_of(line.data)), **self._at(line.seq)})

        return [*before, Call(hook, arguments, (line.seq,))]

    def rest(self) -> list[Call]:
        """Return calls for what was gathered and no heartbeat has carried; after them nothing is held back."""
        if self._untold_output:
            return self._beat(self._untold_output)
        return self._metrics_call() if self._gathered else []

    def _timed(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return what a hook is passed with the times in it as its observer takes them."""
        if not self._naive:
            return values
        return {name: _naive(value) if name in _TIMES else value for name, value in values.items()}

    def _at(self, seq: int) -> dict[str, Any]:
        return {**self._place, "seq": seq}

    # Numbers: handed on as they are stored, or gathered for Sacred's hook.

    def _metrics(self, line: Line) -> list[Call]:
        hook = self.hooks.get("metrics_event")
        if hook is not None:
            return [Call(hook, lambda: {"batch": MetricsBatch(line.data), **self._at(line.seq)}, (line.seq,))]
        if self._gathers:
            self._gathered.append(line)
            self._gathered_bytes += len(line.data)
            if self._gathered_bytes > MAX_GATHERED:
                return self._metrics_call()
        return []

    def _metrics_call(self) -> list[Call]:
        lines = list(self._gathered)

        def arguments() -> dict[str, Any]:
            return {
                "metrics_by_name": {name: self._timed(columns) for name, columns in _by_name(lines).items()},
                "info": json_value(self._info) or {},
                **self._at(lines[-1].seq),
            }

        def settle() -> None:
            del self._gathered[: len(lines)]
            self._gathered_bytes = sum(len(line.data) for line in self._gathered)

        return [Call(self.hooks["log_metrics"], arguments, tuple(line.seq for line in lines), settle)]

    # Heartbeats, with all that Sacred's hook wants.

    def _take_output(self, line: Line, told: bool) -> None:
        data = plainjson.loads(line.data)
        self._beat_time = _moment(data["t"])
        del self._output[data["offset"] :]
        self._output += json_text(data["text"]).encode("utf-8", "replace")
        if not told:
            self._untold_output = self._untold_output or line.seq

    def _take_heartbeat(self, line: Line) -> None:
        data = plainjson.loads(line.data)
        self._beat_time = plainjson.dumps(data["beat_time"]).encode()
        if data.get("info") is not None:
            self._info = plainjson.dumps(data["info"][0]).encode()
        if data.get("result") is not None:
            self._result = plainjson.dumps(data["result"][0]).encode()

    def _beat(self, seq: int) -> list[Call]:
        calls = self._metrics_call() if self._gathered else []
        hook = self.hooks.get("heartbeat_event")
        if hook is None:
            self._untold_output = 0
            return calls
        beat_time = self._beat_time

        def arguments() -> dict[str, Any]:
            values = {
                "info": json_value(self._info) or {},
                "captured_out": self._output.decode("utf-8", "replace") if self._keeps_output else "",
                "beat_time": json_value(beat_time),
                "result": json_value(self._result),
                **self._at(seq),
            }
            return self._timed(values)

        def settle() -> None:
            self._untold_output = 0

        return [*calls, Call(hook, arguments, (seq,), settle)]

    # Files.

    def opener(self, digest: str) -> Opener:
        return Opener(self._spool.path(digest), self._progress)

    def label(self, asked: Any) -> Any:
        return self._label(asked)


_TIMES = frozenset(
    {"queue_time", "start_time", "resume_time", "beat_time", "stop_time", "interrupt_time", "fail_time", "timestamps"}
)


def _naive(times: Any) -> Any:
    """Return a time, or a list of times, as Sacred has it: UTC, without saying so."""
    if isinstance(times, datetime):
        return times.astimezone(timezone.utc).replace(tzinfo=None)
    return [_naive(time) for time in times] if isinstance(times, list) else times


def _is_own(observer: Any) -> bool:
    """Say whether an observer is this library's, or derived from one that is."""
    bases = (cls for cls in type(observer).__mro__ if cls is not RunObserver)
    return any(cls.__module__.partition(".")[0] == "capture" for cls in bases)


def json_value(data: bytes) -> Any:
    """Decode a stored value."""
    return decode(plainjson.loads(data))


def _moment(time: float) -> bytes:
    """Return the stored form of a time given in seconds since the epoch."""
    return plainjson.dumps(encode(utc_from_microseconds(round(time * 1e6)))).encode()


def json_text(data: Any) -> str:
    """Decode a stored string, which is tagged where JSON cannot hold it."""
    return data if isinstance(data, str) else str(decode(data))


def _by_name(lines: list[Line]) -> dict[str, Any]:
    """Join columns of metrics in the form of Sacred's `log_metrics`."""
    series: dict[str, Series] = {}
    for line in lines:
        data = plainjson.loads(line.data)
        for name, column in data["columns"].items():
            series.setdefault(name, Series(name)).extend(column, data["start"])
    return {
        name: {"name": name, "steps": each.steps, "values": each.values, "timestamps": each.timestamps}
        for name, each in series.items()
    }


def _same(*fields: str) -> Callable[[Calls, Any], dict[str, Any]]:
    return lambda calls, event: {field: getattr(event, field) for field in fields}


def _described(time: str) -> Callable[[Calls, Any], dict[str, Any]]:
    copy = _same("ex_info", "command", "host_info", time, "config", "meta_info")
    return lambda calls, event: {**copy(calls, event), "_id": calls.label(event.label)}


def _started(calls: Calls, event: Any) -> dict[str, Any]:
    return {**_described("start_time")(calls, event), "requested": event.label is not None}


def _file(calls: Calls, event: Any) -> dict[str, Any]:
    return {"digest": event.digest, "size": event.size, "open": calls.opener(event.digest)}


#: For each event with a hook of its own: what that hook is passed, besides `PLACE`.
_ARGUMENTS: dict[str, Callable[[Calls, Any], dict[str, Any]]] = {
    "opened": _same("host", "version"),
    "queued": _described("queue_time"),
    "started": _started,
    "resumed": _same("resume_time"),
    "source": lambda calls, event: {"path": event.path, "md5": event.md5, **_file(calls, event)},
    "facts": lambda calls, event: {"name": event.topic, "facts": event.facts},
    "output": _same("text", "offset"),
    "resource": lambda calls, event: {"filename": event.filename, "md5": event.md5, **_file(calls, event)},
    "artifact": lambda calls, event: {
        "name": event.artifact_name,
        "filename": calls.opener(event.digest).path,
        "metadata": event.metadata,
        "content_type": event.content_type,
        **_file(calls, event),
    },
    "listed": _same("kind", "filename", "digest", "size", "metadata", "content_type"),
    "annotated": _same("tags", "notes"),
    "completed": _same("stop_time", "result"),
    "interrupted": _same("interrupt_time", "status"),
    "failed": _same("fail_time", "fail_trace"),
}
