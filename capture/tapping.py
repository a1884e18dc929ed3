"""Capturing what Python code writes: ``sys.stdout`` and ``sys.stderr`` are tapped, and the descriptors are left alone.

What is written goes on as before, and to the log of the run that the writing code belongs to, so that several runs in
one process do not mix.
"""

from __future__ import annotations

import os
import sys
import threading
from contextvars import ContextVar

from capture.terminal import text_decoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from capture.stdio import Log

_chain: ContextVar[tuple[SysCapture, ...]] = ContextVar("capture_output", default=())
_owner: ContextVar[Any] = _chain
_taps: list[_Tap] = []
_live: list[SysCapture] = []
_guard = threading.RLock()

# By owner the logs to feed, and those that get what nobody owns. Replaced or extended, never iterated.
_routes: dict[Any, tuple[Log, ...]] = {}
_outermost: tuple[Log, ...] = ()


class SysCapture:
    """Taps ``sys.stdout`` and ``sys.stderr``; see `capture.stdio.start_capture`."""

    mode = "sys"

    def __init__(self, log: Log, owner: ContextVar[Any] | None = None) -> None:
        global _owner
        self.log = log
        self._pid = os.getpid()
        self._suspended = False
        _prepare_forks()
        with _guard:
            self._around = tuple(capture for capture in _chain.get() if capture in _live)
            _chain.set((*self._around, self))
            _owner = _chain if owner is None else owner
            self._key = _owner.get()
            _live.append(self)
            if len(_live) == 1:
                _taps.extend(_Tap(name) for name in ("stdout", "stderr") if getattr(sys, name) is not None)
            _reroute()

    def stop(self) -> None:
        with _guard:
            if self not in _live or os.getpid() != self._pid:
                return
            _live.remove(self)
            if not _live:
                while _taps:
                    _taps.pop().remove()
            _reroute()
        if _chain.get()[-1:] == (self,):
            _chain.set(self._around)

    def flush(self) -> None:
        """Nothing waits: what is written is fed at once."""

    def suspend(self) -> None:
        with _guard:
            self._suspended = True
            _reroute()

    def resume(self) -> None:
        with _guard:
            self._suspended = False
            _reroute()

    def __enter__(self) -> SysCapture:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def route(self) -> tuple[Any, tuple[Log, ...]]:
        """Return the owner, and where to send what belongs to it: here and to the live captures around."""
        captures = [capture for capture in (*self._around, self) if capture in _live and not capture._suspended]
        return self._key, tuple(capture.log for capture in captures)

    def is_outermost(self) -> bool:
        return not any(capture in _live for capture in self._around)


def _reroute() -> None:
    global _outermost
    _outermost = tuple(log for capture in _live if capture.is_outermost() for log in capture.route()[1])
    routes = dict(capture.route() for capture in _live)
    for key in [key for key in _routes if key not in routes]:
        del _routes[key]
    _routes.update(routes)
    for tap in _taps:
        tap.lead(_live[0].log if len(_live) == len(_outermost) == 1 else None)


def _feed(text: str) -> None:
    for log in _routes.get(_owner.get(), _outermost):
        log.feed(text)


def _routing_write(write: Callable[[str], int]) -> Callable[[str], int]:
    def write_and_route(text: str) -> int:
        count = write(text)
        for log in _routes.get(_owner.get(), _outermost):
            log.feed(text)
        return count

    return write_and_route


class _Tap:
    """What is done to one of the two streams, and how it is undone.

    The stream keeps its identity for those who hold it already (logging handlers made before the run): its `write`
    is replaced on the object itself. `sys.stdout` becomes a stand-in whose `buffer` is tapped, too, which cannot be
    done in place. Streams that refuse the first get by with the second. So does a notebook's from the second cell on:
    for each cell IPython puts a `write` of its own on the stream, and then puts back what it had found there.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._stream = stream = getattr(sys, name)
        is_in_kernel = in_kernel()
        self._original: Callable[[str], int] = type(stream).write.__get__(stream) if is_in_kernel else stream.write
        self._before = getattr(stream, "__dict__", {}).get("write")
        self._write: Callable[[str], int] | None = None
        self._in_place = True
        self._stand_in: _StandIn | None = None
        self.lead(None)
        if is_in_kernel or not self._in_place or getattr(stream, "buffer", None) is not None:
            self._stand_in = _stand_in_for(stream)
            self._stand_in._capture_lead(self._write)
            setattr(sys, name, self._stand_in)

    def lead(self, log: Log | None) -> None:
        """Send what is written to `log`, or, if that is None, to whom it belongs."""
        tee = getattr(log, "tee", None)
        write = _routing_write(self._original) if tee is None else tee(self._original)
        if self._in_place and self._is_on_top():
            try:
                self._stream.write = write
            except (AttributeError, TypeError):
                self._in_place = False
        if self._stand_in is not None:
            self._stand_in._capture_lead(write)
        self._write = write

    def remove(self) -> None:
        """Undo it, unless somebody has put something of their own on top."""
        if self._in_place and self._is_on_top():
            if self._before is None:
                del self._stream.write
            else:
                self._stream.write = self._before
        if self._stand_in is not None:
            self._stand_in._capture_lead(None)
            if getattr(sys, self._name) is self._stand_in:
                setattr(sys, self._name, self._stream)

    def _is_on_top(self) -> bool:
        return self._write is None or getattr(self._stream, "__dict__", {}).get("write") is self._write


def _stand_in_for(stream: Any) -> _StandIn:
    """Return the stand-in of `stream`: always the same one, since a logging handler may keep it from run to run."""
    if isinstance(stream, _StandIn):
        return stream
    stand_in = getattr(stream, "__dict__", {}).get("_capture_stand_in")
    if stand_in is None:
        stand_in = _StandIn(stream)
        try:
            stream._capture_stand_in = stand_in
        except (AttributeError, TypeError):
            pass  # it takes no attributes; then its stand-in lasts for one capture
    found: _StandIn = stand_in
    return found


class _StandIn:
    """Behaves like the stream it stands for in every respect but `write` and `buffer`, which are tapped."""

    __slots__ = ("__weakref__", "_capture_buffer", "_capture_stream", "write")

    write: Callable[[Any], int]  # a slot: found faster than a method, and it is called for every word

    def __init__(self, stream: Any) -> None:
        object.__setattr__(self, "_capture_stream", stream)
        object.__setattr__(self, "_capture_buffer", None)
        self._capture_lead(None)

    def _capture_lead(self, write: Callable[[Any], int] | None) -> None:
        object.__setattr__(self, "write", write or self._capture_stream.write)

    def writelines(self, lines: Iterable[Any]) -> None:
        for line in lines:
            self.write(line)

    @property
    def buffer(self) -> Any:
        buffer = self._capture_stream.buffer
        if self._capture_buffer is None or self._capture_buffer._capture_stream is not buffer:
            object.__setattr__(self, "_capture_buffer", _StandInBuffer(buffer))
        return self._capture_buffer

    def detach(self) -> Any:
        return _StandInBuffer(self._capture_stream.detach())

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._capture_stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._capture_stream, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._capture_stream, name, value)
        if name == "write":
            self._capture_lead(value)

    def __delattr__(self, name: str) -> None:
        delattr(self._capture_stream, name)
        if name == "write":
            self._capture_lead(None)

    def __repr__(self) -> str:
        return repr(self._capture_stream)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._capture_stream)

    def __next__(self) -> Any:
        return next(self._capture_stream)

    def __enter__(self) -> Any:
        self._capture_stream.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> Any:
        return self._capture_stream.__exit__(*exc_info)


class _StandInBuffer(_StandIn):
    """The same for a stream of bytes: what is written to it directly is recorded."""

    __slots__ = ()

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        write, decode = stream.write, text_decoder().decode

        def write_and_route(data: Any) -> int:
            count: int = write(data)
            if _routes:
                _feed(decode(bytes(data)[:count]))
            return count

        self._capture_lead(write_and_route)


def in_kernel() -> bool:
    """Say whether a notebook's kernel shows what is printed."""
    return type(sys.stdout).__module__.partition(".")[0] == "ipykernel"


# -------------------------------------------------------------------------------------------------------------- forking

_is_prepared = False


def _prepare_forks() -> None:
    global _is_prepared
    if not _is_prepared and hasattr(os, "register_at_fork"):
        # no other thread may be in the middle of changing what the child inherits
        os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_forget)
    _is_prepared = True


def _forget() -> None:
    """In a forked child: its output is its own."""
    _guard.release()
    _live.clear()
    _reroute()
