"""For tests, ours and those of other teams: the contract of a store, observers that record or fail, a fake clock."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.testing.clock import FakeClock
    from capture.testing.contract import Backend, ObserverContract
    from capture.testing.feed import Story, Teller, tell, told
    from capture.testing.observers import FailingObserver, MemoryStore, RecordingObserver

_LAZY = {
    "FakeClock": "clock",
    "Backend": "contract",  # needs pytest
    "ObserverContract": "contract",
    "Story": "feed",
    "Teller": "feed",
    "tell": "feed",
    "told": "feed",
    "FailingObserver": "observers",
    "MemoryStore": "observers",
    "RecordingObserver": "observers",
}

__all__ = [
    "Backend",
    "FailingObserver",
    "FakeClock",
    "MemoryStore",
    "ObserverContract",
    "RecordingObserver",
    "Story",
    "Teller",
    "tell",
    "told",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
