"""Mending what can be mended without a risk: what `capture doctor --fix` does, and says.

Delivered is what waits in journals, and finished what a process that died had begun in a store. Nothing that belongs to
somebody is deleted, but for runs whose deletion somebody has asked for, and no run is said to have ended that has not
said so itself.
"""

from __future__ import annotations

from capture.errors import CaptureError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from capture.delivery import Report


class Mended:
    """Something that was mended, or would be.

    Attributes
    ----------
    area : str
        "state" or "store".
    text : str
        What is done, as a sentence.
    problem : str
        Why it could not be done; "" if it was.
    """

    __slots__ = ("area", "problem", "text")

    def __init__(self, area: str, text: str, problem: str = "") -> None:
        self.area, self.text, self.problem = area, text, problem

    def to_dict(self) -> dict[str, str]:
        """Return the attributes as plain data."""
        return {name: getattr(self, name) for name in ("area", "text", "problem")}

    def __repr__(self) -> str:
        return f"Mended({self.area!r}, {self.text!r}, {self.problem!r})"


def mend(url: str | None = None, dry: bool = False) -> Iterator[Mended]:
    """Mend journals and a store; yield each thing that is done.

    Parameters
    ----------
    url : str, optional
        The store; the default one if nothing is said.
    dry : bool
        Whether nothing is to be done: then it is said what would be.
    """
    from capture.settings import SETTINGS

    yield from _deliver(dry)
    location = SETTINGS.STORE if url is None else url
    if location.lower() != "none":
        yield from _mend_store(location, dry)


def _deliver(dry: bool) -> Iterator[Mended]:
    """Deliver the journals whose writers are dead, as `capture sync` does."""
    from capture import delivery, stores
    from capture.journal import list_journals, opened_of, state_dirs
    from capture.liveness import machine_identity, probe

    here = machine_identity()["machine_id"]
    for state in state_dirs(stores.default_folder()):
        waiting = []
        for path in list_journals(state):
            opened = opened_of(path) if probe(path) == "dead" else None
            if opened is not None and opened.host.get("machine_id") == here:
                waiting.append(delivery.Report(path))
        if dry:
            for each in waiting:
                yield Mended("state", f"run {each.uid[-8:]}: what waits in {each.path} is delivered")
        elif waiting:
            uids = {each.uid for each in waiting}
            reports = delivery.sync(state, resolve=stores.store_of, retry_missed=True, only=uids.__contains__)
            yield from map(_delivered, reports)


def _delivered(report: Report) -> Mended:
    problem = "" if report.complete else "; ".join(report.errors.values()) or "not everything could be delivered"
    return Mended("state", str(report), problem)


def _mend_store(location: str, dry: bool) -> Iterator[Mended]:
    import os

    from capture.query.known import local_place
    from capture.registry import open_curator

    place = local_place(location)
    if place is not None and not os.path.exists(place):
        return
    doing = "the store is opened"
    try:
        curator: Any = open_curator(location)
        try:
            for doing in curator.mend(dry) if hasattr(curator, "mend") else ():
                yield Mended("store", doing)
        finally:
            if hasattr(curator, "close"):
                curator.close()
    except (CaptureError, OSError) as error:
        yield Mended("store", doing, str(error) or type(error).__name__)
