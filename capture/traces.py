"""Tracebacks for people: without the frames between their code and their code."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEADER = "Traceback (most recent calls WITHOUT capture internals):\n"
OURS = ("capture", "wrapt", "docopt")


def is_ours(frame: Any) -> bool:
    """Say whether a frame belongs to this library or to what it calls user code through."""
    return frame.f_globals.get("__name__", "").partition(".")[0] in OURS


def format_filtered(error: BaseException) -> str:
    """Return the traceback of `error` and of the errors behind it, without this library's frames.

    An error with no other frames is shown whole: hiding where it was raised would help nobody.
    """
    import traceback

    shown = traceback.TracebackException.from_exception(error)
    filtered = _filter(shown, error, set())
    text = "".join(shown.format())
    if not filtered:
        return "Exception originated from within capture.\n" + text
    return text.replace("Traceback (most recent call last):\n", HEADER)


def _filter(shown: Any, error: BaseException, seen: set[int]) -> bool:
    """Cut our frames out of `shown`; say whether any frame of the user's is left in the last error."""
    import traceback

    seen.add(id(error))
    frames, trace = [], error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    kept = [entry for entry, frame in zip(shown.stack, frames) if not is_ours(frame)]
    for inner_shown, inner in ((shown.__cause__, error.__cause__), (shown.__context__, error.__context__)):
        if inner_shown is not None and inner is not None and id(inner) not in seen:
            _filter(inner_shown, inner, seen)
    if not kept:
        return False
    shown.stack = traceback.StackSummary.from_list(kept)
    return True


def describe(error: BaseException) -> str:
    """Return what the command line shows for an error that ended a run."""
    print_traceback = getattr(error, "print_traceback", True)
    how = getattr(error, "filter_traceback", "default")
    if not print_traceback:
        return f"{type(error).__name__}: {error}\n"
    if how == "never":
        import traceback

        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return format_filtered(error)


def show(error: BaseException) -> None:
    """Write what `describe` says to standard error."""
    if sys.stderr is not None:
        sys.stderr.write(describe(error))
        sys.stderr.flush()
