"""``capture sync``: deliver what runs left behind."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any



def run(to: str | None) -> int:
    """Deliver every journal whose writer is gone; say what became of each."""
    from capture import delivery, stores
    from capture.journal import state_dir
    from capture.registry import make_observer

    observers: list[Any] = [make_observer(to)] if to else []
    reports = delivery.sync(
        state_dir(), observers, resolve=None if to else stores.local_store, instead=bool(to), retry_missed=True
    )
    if not reports:
        print("nothing waits")
        return 0
    for report in reports:
        print(report)
    return 0 if all(report.complete for report in reports) else 1
