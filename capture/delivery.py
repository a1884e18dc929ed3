"""Delivery of what was left behind: journals whose writer died, or whose observers could not be reached."""

from __future__ import annotations

import os
import sys
import threading

from capture.acks import Acknowledged, Acks, read_acks
from capture.calls import identity_of, name_of
from capture.dispatch import remove_if_there
from capture.events import FORMAT
from capture.journal import acks_path, list_journals, opened_of
from capture.lane import Cursor, DeliveryOptions, Lane
from capture.liveness import machine_identity
from capture.locks import LocksUnsupportedError, try_lock, unlock
from capture.spool import Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any


class Report:
    """What became of one journal.

    Attributes
    ----------
    path, uid, writer : str
    delivered : dict of str to int
        Events that an observer was told now, by its identity (without one: its name).
    behind : list of str
        Identities of observers that have not got everything.
    replaced : list of str
        Identities of stores that have not got everything, and are not waited for any more: another got it instead.
    missed : dict of str to int
        Events that an observer refused, now or earlier.
    labels : dict of str to object
    damaged : int
        Lines of the journal that could not be read.
    deleted : bool
        Whether the journal is gone, because everybody has everything.
    reason : str
        Why nothing was done: "alive", "missing", "unknown", "elsewhere" (of another machine), "format", "empty"; or "".
    errors : dict of str to str
        What stopped an observer, by its identity.
    """

    def __init__(self, path: str, reason: str = "") -> None:
        self.path, self.reason = path, reason
        name = os.path.basename(path)
        self.uid, _, writer = name.removesuffix(".journal").partition(".")
        self.writer = writer
        self.delivered: dict[str, int] = {}
        self.behind: list[str] = []
        self.replaced: list[str] = []
        self.missed: dict[str, int] = {}
        self.labels: dict[str, Any] = {}
        self.damaged = 0
        self.deleted = False
        self.errors: dict[str, str] = {}

    @property
    def complete(self) -> bool:
        """Whether nothing of this journal waits for anybody."""
        return self.deleted or self.reason in ("alive", "missing")

    def __str__(self) -> str:
        name = f"run {self.uid[-8:]}" + (f" ({self.writer})" if self.writer != "main" else "")
        if self.reason:
            return f"{name}: {_REASONS[self.reason]}"
        parts = [f"{count} events to {identity}" for identity, count in self.delivered.items()]
        again = "kept, and offered again by the next `capture sync`"
        parts += [
            f"{count} event{'' if count == 1 else 's'} not taken by {identity} ({again})"
            for identity, count in self.missed.items()
        ]
        parts += [
            f"{identity} has not got everything ({self.errors.get(identity, 'no such store here')})"
            for identity in self.behind
        ]
        if self.replaced:
            parts.append(f"in place of {' and '.join(self.replaced)}")
        if self.damaged:
            parts.append(f"{self.damaged} damaged lines skipped")
        parts.append("done" if self.deleted else f"kept in {self.path}")
        return f"{name}: {', '.join(parts)}"

    def __repr__(self) -> str:
        facts = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if value and name != "path")
        return f"Report({facts})"


_REASONS = {
    "alive": "it is still running, or delivered by another process",
    "missing": "gone: delivered by another process",
    "unknown": "left alone: the file cannot be locked, so whether its writer lives is not known",
    "elsewhere": "left alone: it was written on another machine",
    "format": "left alone: it was written by a later version of capture",
    "empty": "left alone: it has no readable beginning",
}


def sync(
    state: str,
    observers: Iterable[Any] = (),
    resolve: Callable[[str], Any] | None = None,
    *,
    options: DeliveryOptions | None = None,
    host: Mapping[str, Any] | None = None,
    instead: bool = False,
    retry_missed: bool = False,
    only: Callable[[str], bool] | None = None,
) -> list[Report]:
    """Deliver the journals in a state folder whose writers are gone.

    Parameters
    ----------
    state : str
        See `capture.journal.state_dir`.
    observers : iterable
        Each gets the journals that were meant for an observer of its identity.
    resolve : callable, optional
        ``resolve(identity) -> observer or None``, asked about the other identities.
    options : DeliveryOptions, optional
    host : mapping, optional
        This machine, as in `Opened.host`; default: the one this runs on. Journals of other machines are left to those:
        a lock on a shared filesystem may not reach from there to here.
    instead : bool
        Whether `observers` get all journals in place of the stores that these were meant for.
    retry_missed : bool
        Whether events that an observer refused are offered again to one that has all the others. One that is behind
        gets them anyway, once: what kept the others from it may have been what they were refused for.
    only : callable, optional
        ``only(uid)``: whether the journals of a run are delivered now. Default: all.

    Returns
    -------
    list of Report
        One for each journal, oldest first.
    """
    by_identity = {identity_of(observer): observer for observer in observers}

    def find(identity: str) -> Any:
        return by_identity.get(identity) or (resolve(identity) if resolve is not None else None)

    given = list(by_identity.values()) if instead else []
    courier = _Courier(find, given, instead, options or DeliveryOptions(), host, retry_missed)
    paths = [path for path in list_journals(state) if only is None or only(Report(path).uid)]
    return [courier.deliver(path) for path in paths]


def deliver(
    path: str,
    observers: Iterable[Any],
    *,
    options: DeliveryOptions | None = None,
    host: Mapping[str, Any] | None = None,
    retry_missed: bool = False,
) -> Report:
    """Deliver one journal to these observers, from where each of them is; delete it if everybody has everything.

    A journal whose writer lives is not touched. For the parameters see `sync`.
    """
    given = list(observers)
    return _Courier(lambda identity: None, given, False, options or DeliveryOptions(), host, retry_missed).deliver(path)


class _Courier:
    """Delivers journals; for the parameters see `sync`.

    `find` returns the observer of an identity that a journal names, or None; those `given` get every journal, besides
    the named ones or, with `instead`, in their place.
    """

    def __init__(
        self,
        find: Callable[[str], Any],
        given: list[Any],
        instead: bool,
        options: DeliveryOptions,
        host: Mapping[str, Any] | None,
        retry_missed: bool,
    ) -> None:
        self._find, self._instead = find, instead
        self._given = {identity_of(observer) or name_of(observer): observer for observer in given}
        self._options, self._retry_missed = options, retry_missed
        self._machine = (host or machine_identity()).get("machine_id")

    def deliver(self, path: str) -> Report:
        """Deliver a journal if its writer is gone and nobody else delivers it."""
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return Report(path, "missing")
        except OSError:
            return Report(path, "unknown")
        try:
            try:
                if not try_lock(descriptor):
                    return Report(path, "alive")
            except LocksUnsupportedError:
                return Report(path, "unknown")
            try:
                if not _is_still(path, descriptor):
                    return Report(path, "missing")
                report = self._deliver_locked(path)
            finally:
                unlock(descriptor)
        finally:
            os.close(descriptor)
        if report.deleted:
            remove_if_there(path)
        return report

    def _deliver_locked(self, path: str) -> Report:
        opened = opened_of(path)
        if opened is None:  # just made by somebody who has not locked it yet, or nothing is left of it
            return Report(path, "empty")
        if opened.format > FORMAT:
            return Report(path, "format")
        if opened.host.get("machine_id") != self._machine:
            return Report(path, "elsewhere")
        report = Report(path)
        known = read_acks(acks_path(path))
        named = [each["identity"] for each in opened.observers if each.get("identity") and each.get("replay", True)]
        wanted = dict.fromkeys([*([] if self._instead else named), *self._given])
        report.replaced = [each for each in named if each not in wanted and not known.get(each, Acknowledged()).done]
        spool = _spool_of(path, opened)
        acks = Acks(acks_path(path))
        settled = True
        try:
            for identity in wanted:
                far = known.get(identity, Acknowledged())
                if far.missed:
                    report.missed[identity] = len(far.missed)
                if far.done and not (far.missed and self._retry_missed):
                    settled = settled and not far.missed
                    continue
                observer = self._given.get(identity) or self._find(identity)
                if observer is None:
                    report.behind.append(identity)
                    settled = False
                else:
                    settled = self._tell(identity, observer, far, opened, spool, acks, report) and settled
        finally:
            acks.close()
        if settled:
            if sys.platform != "win32":  # there an open file cannot be removed; see `deliver`
                os.unlink(path)
            remove_if_there(acks_path(path))
            spool.remove()
            report.deleted = True
        return report

    def _tell(
        self, identity: str, observer: Any, far: Acknowledged, opened: Any, spool: Spool, acks: Acks, report: Report
    ) -> bool:
        """Tell one observer what it has not got; say whether it has everything now."""
        options = self._options
        cursor = Cursor(report.path, verify=True)
        lane = Lane(observer, cursor, opened.uid, opened.writer, spool, acks, options, known=far)
        lane.close()
        begun = options.clock.monotonic()
        nobody = threading.Event()
        try:
            while not lane.done and not lane.is_stalled(begun, options.stall_s):
                delay = lane.step()
                if delay is None:
                    break
                if delay:
                    options.clock.wait(nobody, delay)
        finally:
            lane.acknowledge()
            lane.leave()
        report.damaged = cursor.damaged
        report.delivered[identity] = max(lane.delivered - far.seq, 0)
        if lane.label is not None:
            report.labels[identity] = lane.label
        missed = len((far.missed - set(lane.made_up)) | set(lane.missed))
        report.missed.pop(identity, None)
        if missed:
            report.missed[identity] = missed
        if not lane.done:
            report.behind.append(identity)
            report.errors[identity] = f"{type(lane.last_error).__name__}: {lane.last_error}"
        return lane.done and not missed


def _is_still(path: str, descriptor: int) -> bool:
    """Say whether the locked file is the one of that name: another delivery may have deleted it just before."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _spool_of(path: str, opened: Any) -> Spool:
    """Return the spool with the bytes that a journal speaks of."""
    state = os.path.dirname(os.path.dirname(path))
    usual = os.path.join(state, "spool", opened.uid)
    return Spool(opened.spool or usual, holder=f"{opened.uid}.{opened.writer}", verify=True, fallback=usual)
