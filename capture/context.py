"""Which run is the current one: by context, by thread, by process.

A run is current in the context (:mod:`contextvars`) that started it and in every context copied from there, which
covers asyncio tasks and ``asyncio.to_thread``. Plain threads start with an empty context, so they fall back to the
process's only live run; while several are live a thread has to say which one it belongs to, with ``_run.bind(fn)``.
"""

from __future__ import annotations

import os
import sys
import threading
from contextvars import ContextVar, Token

from capture.errors import AmbiguousRunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

CONTEXT_RUN: ContextVar[Any] = ContextVar("capture_run", default=None)
"""The run of this context, or None. Captured functions read it on every call; everyone else asks `current`."""

MAX_FINISHED = 8
"""Finished runs that stay reachable, each of other experiments than the newer ones; see `finished_runs`."""

CO_COROUTINE = 0x80  # inspect.CO_COROUTINE, without importing inspect

# Runs are kept in tuples that are replaced, never changed, so that readers need no lock.
_lock = threading.Lock()
_live: tuple[Any, ...] = ()
_inherited: tuple[Any, ...] = ()  # live in the parent process when this one was forked
_finished: tuple[Any, ...] = ()  # newest first


class Activation:
    """What `activate` returns and `deactivate` takes."""

    __slots__ = ("run", "token")

    def __init__(self, run: Any, token: Token[Any] | None) -> None:
        self.run = run
        self.token = token  #: None: only what may have been begun is ended


def activate(run: Any) -> Activation:
    """Make `run` live in this process, and current in this context.

    Parameters
    ----------
    run : object
        Any object with an attribute `frame` (see :class:`capture.inject.Frame`).

    Returns
    -------
    Activation
        To be given to `deactivate` when the run ends.
    """
    global _live
    with _lock:
        _live = (*_live, run)
    return Activation(run, CONTEXT_RUN.set(run))


def deactivate(activation: Activation) -> None:
    """End what `activate` began. Doing it twice, or from another context or thread, is harmless."""
    global _live, _finished
    run = activation.run
    with _lock:
        if _is_among(run, _live):
            _live = tuple(other for other in _live if other is not run)
            older = (other for other in _finished if other is not run and not _replaces(run, other))
            _finished = (run, *older)[:MAX_FINISHED]
    try:
        if activation.token is not None:
            CONTEXT_RUN.reset(activation.token)
    except (ValueError, RuntimeError):
        pass  # begun in another context (a notebook cell, another thread), or already reset
    if CONTEXT_RUN.get() is run:
        parent = getattr(run, "parent", None)
        CONTEXT_RUN.set(parent if _is_among(parent, _live) else None)


class Within:
    """Context manager in which a run is current, whether or not it is live.

    Parameters
    ----------
    run : object
        A run, or anything with a `frame` and a `parent` that captured functions are to be filled from.
    """

    def __init__(self, run: Any) -> None:
        self.run = run
        self._tokens: list[Token[Any]] = []

    def __enter__(self) -> Any:
        self._tokens.append(CONTEXT_RUN.set(self.run))
        return self.run

    def __exit__(self, *error: object) -> None:
        CONTEXT_RUN.reset(self._tokens.pop())


def current() -> Any:
    """Return the run that the calling code belongs to, or None.

    Returns
    -------
    run or None
        The run of this context; else the only live run of the process (in a forked child: of the process it was
        forked from); else None.

    Raises
    ------
    AmbiguousRunError
        If this context has no run while several are live.
    """
    run = CONTEXT_RUN.get()
    return run if run is not None else only_run(candidate_runs())


def only_run(runs: tuple[Any, ...], what: str = "this code") -> Any:
    """Return the one run in `runs`, or None if it is empty.

    Raises
    ------
    AmbiguousRunError
        If there are several; `what` says in the message for whom a run was looked for.
    """
    if len(runs) > 1:
        raise AmbiguousRunError(
            f"{what} was called in a thread or context that belongs to no run, while {len(runs)} runs are live:"
            f" {', '.join(_name(run) for run in runs)}."
            "\n  Threads do not inherit the run that started them."
            "\n  to say which one: start the thread with _run.bind(fn), e.g."
            " threading.Thread(target=_run.bind(work)) or pool.submit(_run.bind(work), ...)"
        )
    return runs[0] if runs else None


def live_runs() -> tuple[Any, ...]:
    """Return the runs that this process has started and not ended, oldest first. Empty in a forked child."""
    return _live


def candidate_runs() -> tuple[Any, ...]:
    """Return the runs that code without a run of its own may belong to: the live ones, in a forked child those
    of the parent process (they give config; they refuse to record there)."""
    return _live or _inherited


def last() -> Any:
    """Return the run that finished last in this process, or None."""
    return _finished[0] if _finished else None


def finished_runs() -> tuple[Any, ...]:
    """Return the finished runs that functions called outside any run may fall back to, newest first.

    Only the newest run of each set of experiments is kept, `MAX_FINISHED` at most, so that thousands of runs in one
    process do not pile up.
    """
    return _finished


def bind(run: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a callable that calls `function` with `run` as its current run, in whatever thread or task.

    Parameters
    ----------
    run : object
        A run.
    function : callable
        A plain function, a coroutine function, or anything else that can be called.

    Returns
    -------
    callable
        Takes and returns what `function` does; a coroutine function if `function` is one.
    """
    import functools

    if not callable(function):
        raise TypeError(f"bind() needs something that can be called, got {function!r}")

    def bound(*args: Any, **kwargs: Any) -> Any:
        with Within(run):
            return function(*args, **kwargs)

    async def bound_coroutine(*args: Any, **kwargs: Any) -> Any:
        with Within(run):
            return await function(*args, **kwargs)

    wrapper = bound_coroutine if _is_coroutine_function(function) else bound
    return functools.update_wrapper(wrapper, function)


def _is_coroutine_function(function: Any) -> bool:
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return bool(getattr(code, "co_flags", 0) & CO_COROUTINE)


def _replaces(newer: Any, older: Any) -> bool:
    """Say whether whatever could fall back to the run `older` can as well fall back to `newer`."""
    return _owners(older) <= _owners(newer)


def _owners(run: Any) -> frozenset[Any]:
    return getattr(getattr(run, "frame", None), "owners", frozenset())


def _is_among(run: Any, runs: tuple[Any, ...]) -> bool:
    return any(other is run for other in runs)


def _name(run: Any) -> str:
    identity = getattr(run, "_id", None)
    return repr(run) if identity is None else f"run {identity}"


def _forget_in_child() -> None:
    # The parent's runs are not this process's to end or record; and the lock may have been held by a thread that
    # does not exist here.
    global _lock, _live, _inherited
    _lock = threading.Lock()
    _inherited = _live or _inherited
    _live = ()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget_in_child)
