"""``capture sync``: deliver what runs left behind."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any



def run(to: str | None, runs: list[str]) -> int:
    """Deliver the journals whose writers are gone, of all runs or of those named; say what became of each."""
    from capture import delivery, stores
    from capture.journal import state_dirs
    from capture.registry import make_observer

    observers: list[Any] = [make_observer(to)] if to else []
    reports = [
        report
        for state in state_dirs(stores.default_folder())
        for report in delivery.sync(
            state,
            observers,
            resolve=None if to else stores.store_of,
            instead=bool(to),
            retry_missed=True,
            only=(lambda uid: any(uid.startswith(part) or uid.endswith(part) for part in runs)) if runs else None,
        )
    ]
    if not reports:
        print("nothing waits")
        return 0
    for report in reports:
        print(report)
    return 0 if all(report.complete for report in reports) else 1
