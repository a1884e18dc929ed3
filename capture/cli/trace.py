"""``capture trace SCRIPT``: run a script and print each event of its runs on one line."""

from __future__ import annotations

import os
import sys
import time

from capture.errors import CommandLineError
from capture.hooks import HOOKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

WIDTH = 60  #: characters shown of one value


class TraceObserver:
    """An observer that prints what it is told."""

    priority = 1000.0  # first, so that the printed order is the order of the events
    replay = False

    def __init__(self, write: Callable[[str], Any]) -> None:
        self._write = write
        self._start = time.monotonic()

    def tell(self, hook: str, values: dict[str, Any]) -> None:
        """Print one line."""
        seq = values.pop("seq", None)
        shown = " ".join(f"{name}={_short(value)}" for name, value in values.items() if name != "open")
        place = f"{seq:>5}" if seq is not None else "    -"
        self._write(f"{time.monotonic() - self._start:9.3f}s {place} {hook.removesuffix('_event'):<11} {shown}\n")


def _hook(name: str, arguments: tuple[str, ...]) -> Callable[..., None]:
    shown = (*arguments, "seq")  # what takes any keyword is passed more: show what a hook may declare

    def hook(self: TraceObserver, **values: Any) -> None:
        self.tell(name, {argument: values[argument] for argument in shown if argument in values})

    hook.__name__ = name
    return hook


# One hook for each that there is; `log_metrics` would only repeat what `metrics_event` says, and the whole output is
# not asked for.
for _name, _arguments in HOOKS.items():
    if _name not in ("log_metrics", "heartbeat_event", "flush", "join", "metrics_event"):
        setattr(TraceObserver, _name, _hook(_name, _arguments))


def _heartbeat_event(self: TraceObserver, info: Any, beat_time: Any, result: Any, seq: int) -> None:
    self.tell("heartbeat_event", {"info": info, "result": result, "seq": seq})


def _metrics_event(self: TraceObserver, batch: Any, seq: int) -> None:
    counts = {name: len(column["values"]) for name, column in batch.columns.items()}
    last = {name: column["values"][-1] for name, column in batch.columns.items()}
    self.tell("metrics_event", {"points": counts, "last": last, "seq": seq})


TraceObserver.heartbeat_event = _heartbeat_event  # type: ignore[attr-defined]
TraceObserver.metrics_event = _metrics_event  # type: ignore[attr-defined]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 4]}...{text[-1]}"


def run(arguments: list[str]) -> int:
    """Run the script as Python would, with a `TraceObserver` added to each of its runs."""
    if not arguments or arguments[0].startswith("-"):
        raise CommandLineError("trace needs a script: capture trace SCRIPT [ARG...]")
    script = arguments[0]
    if not os.path.isfile(script):
        raise CommandLineError(f"there is no file {script!r}")
    import runpy

    from capture import assembly

    # a descriptor of its own: what is printed here must not become output of the run
    stream = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    assembly.additional_observers.append(lambda: TraceObserver(stream.write))
    sys.argv = arguments
    sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
    runpy.run_path(script, run_name="__main__")
    return 0
