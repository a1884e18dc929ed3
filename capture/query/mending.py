"""Mending what can be mended without a risk: what `capture doctor --fix` does, and says.

Delivered is what waits in journals for the store, and finished what a process that died had begun in it. Nothing that
belongs to somebody is deleted, but for runs whose deletion somebody has asked for, and no run is said to have ended
that has not said so itself.
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

    location = SETTINGS.STORE if url is None else url
    if location.lower() != "none":
        yield from _deliver(location, dry)
        yield from _mend_store(location, dry)


def _deliver(location: str, dry: bool) -> Iterator[Mended]:
    """Deliver what journals hold for a store, as `capture sync` does; to ask others may take long."""
    from capture import delivery
    from capture.calls import identity_of
    from capture.journal import list_journals, state_dirs
    from capture.registry import make_observer

    try:
        observer = make_observer(location)
    except CaptureError:  # which is said of the store
        return
    identity = identity_of(observer)
    if identity is None:
        return
    for state in state_dirs(getattr(observer, "local_folder", None)):
        waiting = [delivery.Report(path) for path in list_journals(state) if _is_for(path, identity)]
        if dry:
            for each in waiting:
                yield Mended("state", f"run {each.uid[-8:]}: what waits in {each.path} is delivered")
        elif waiting:
            uids = {each.uid for each in waiting}
            reports = delivery.sync(state, [observer], retry_missed=True, only=uids.__contains__)
            yield from (_delivered(each, identity) for each in reports)


def _is_for(path: str, identity: str) -> bool:
    """Say whether a journal of this machine whose writer is dead holds something that a store has not got."""
    from capture.acks import Acknowledged, read_acks
    from capture.journal import acks_path, opened_of
    from capture.liveness import machine_identity, probe

    opened = opened_of(path) if probe(path) == "dead" else None
    if opened is None or opened.host.get("machine_id") != machine_identity()["machine_id"]:
        return False
    named = [each.get("identity") for each in opened.observers if each.get("replay", True)]
    known = read_acks(acks_path(path)).get(identity, Acknowledged())
    # one that nobody waits for any more lies there still since its deliverer died before it could delete it
    return (identity in named and bool(known.missed or not known.done)) or not any(named)


def _delivered(report: Report, identity: str) -> Mended:
    others = [each for each in {**dict.fromkeys(report.behind), **report.missed} if each != identity]
    if report.complete or report.reason or identity in report.behind or identity in report.missed or not others:
        problem = "" if report.complete else "; ".join(report.errors.values()) or "not everything could be delivered"
        return Mended("state", str(report), problem)
    count = report.delivered.get(identity, 0)
    rest = f"what is for {', '.join(others)} waits: capture sync {report.uid[-8:]} delivers it"
    return Mended("state", f"run {report.uid[-8:]}: {count} events to {identity}; {rest}")


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
