"""The dispatcher of a run: events into the journal, and from there to each observer in a lane of its own."""

from __future__ import annotations

import os
import sys
import threading

from capture.acks import Acks
from capture.calls import check_hooks, describe, identity_of, place_of
from capture.errors import RequiredObserverError
from capture.journal import acks_path
from capture.lane import Cursor, DeliveryOptions, Lane

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence
    from typing import Any

    from capture.events import Event
    from capture.journal import Journal
    from capture.spool import Spool

__all__ = ["DeliveryOptions", "Dispatcher", "Lane", "Summary", "check_hooks", "describe"]

_TURN = 0.1  #: seconds after which somebody who waits looks again at what nobody tells him: the clock


class Summary:
    """How the delivery of a run ended.

    Attributes
    ----------
    behind : dict of str to int
        Stores (other observers) that have not got everything, with the number of events.
    missed : dict of str to int
        Those that did not take some events, with the number of events.
    lost : int
        Events that neither disk nor memory could hold.
    journal : str or None
        The journal that was left for later delivery; None if nothing was left.
    waiting : bool
        Whether delivery still goes on.
    passing : container of str
        Observers among them that nothing can be delivered to later: they are of this process alone.
    """

    def __init__(
        self,
        behind: dict[str, int],
        missed: dict[str, int],
        lost: int,
        journal: str | None,
        waiting: bool = False,
        passing: Container[str] = (),
    ) -> None:
        self.behind, self.missed, self.lost, self.journal = behind, missed, lost, journal
        self.waiting, self.passing = waiting, passing

    @property
    def lines(self) -> list[str]:
        """What to tell the user: nothing if all went well."""
        found = []
        if self.behind and self.waiting:
            found.append(f"waiting for {_counted_events(self.behind)}")
        elif self.behind:
            kept, given_up = self._by_fate(self.behind)
            if kept:
                text = "kept, and delivered by `capture sync` or with the next run"
                found.append(f"not stored yet by {_counted_events(kept)}; {text}")
            if given_up:
                found.append(f"not told to {_counted_events(given_up)}")
        if self.missed:
            kept, given_up = self._by_fate(self.missed)
            if kept:
                text = "kept, and offered again by `capture sync`; the log says why"
                found.append(f"not taken by {_counted_events(kept)}; {text}")
            if given_up:
                found.append(f"not taken by {_counted_events(given_up)}, and not told again; the log says why")
        if self.lost:
            found.append(f"{self.lost} events were lost: disk and memory were full")
        return found

    def _by_fate(self, counts: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
        """Divide observers into those for which the journal is kept, and those that get nothing more."""
        kept = {name: count for name, count in counts.items() if self.journal is not None and name not in self.passing}
        return kept, {name: count for name, count in counts.items() if name not in kept}

    def __str__(self) -> str:
        return "; ".join(self.lines) or "all observers have everything"

    def __bool__(self) -> bool:
        return bool(self.lines)


def _counted_events(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count} event{'' if count == 1 else 's'})" for name, count in counts.items())


class Dispatcher:
    """Puts events into the journal and has them delivered to the observers.

    Parameters
    ----------
    journal : Journal
    spool : Spool
    observers : sequence
        Their hooks have been checked (`check_hooks`).
    options : DeliveryOptions
    uid : str
    label : object, optional
        The id that the run has or asks for: offered to all.

    Attributes
    ----------
    labels : dict
        What the stores call the run, by identity (without one: name) of the observer.
    """

    def __init__(
        self,
        journal: Journal,
        spool: Spool,
        observers: Sequence[Any],
        options: DeliveryOptions | None = None,
        uid: str = "",
        label: Any = None,
    ) -> None:
        self.journal, self.spool = journal, spool
        self.options = options or DeliveryOptions()
        self.labels: dict[str, Any] = {}
        self.first_label: Any = None
        self._asked = label
        self._pid = os.getpid()
        self._news = threading.Event()
        self._acks = Acks(acks_path(journal.path))
        self._closed = False
        uid = uid or journal.uid
        spool.hold_for(f"{uid}.{journal.writer}")
        self.lanes = [
            Lane(
                observer,
                Cursor(journal.path, journal),
                uid,
                journal.writer,
                spool,
                self._acks,
                self.options,
                offered=self._offer,
                on_answer=self._answered,
                on_news=self._news.set,
            )
            for observer in sorted(_each_store_once(observers), key=_priority, reverse=True)
        ]
        journal.on_write = self._wake
        journal.on_close = self._abandon_lanes
        journal.on_tick = self._report_overdue
        journal.delivered = self._delivered_by_all
        if self.lanes:
            self.lanes[0].released = True
        _LIVE.add(self)

    # --------------------------------------------------------------------------------------------------- emitting

    def emit(self, event: Event) -> Event:
        """Put an event into the journal, from where the lanes get it; return it with its place."""
        return self.journal.append(event)

    def emit_body(self, name: str, body: str, time: float | None = None) -> int:
        """Put an event into the journal whose fields are JSON text already, without the braces."""
        return self.journal.append_body(name, body, time)

    def _wake(self) -> None:
        for lane in self.lanes:
            lane.wake()

    def _report_overdue(self) -> None:
        for lane in self.lanes:
            lane.report_if_overdue()

    def _delivered_by_all(self) -> int:
        return min((lane.delivered for lane in self.lanes if not lane.done), default=self.journal.last_seq)

    # --------------------------------------------------------------------------------------------------- starting

    def start_lanes(self) -> None:
        """Let the lanes work; those on the main thread work when `pump` is called."""
        if self._is_inert():
            return
        self.journal.flush()
        for lane in self.lanes:
            if not lane.on_main_thread:
                try:
                    lane.start()
                except RuntimeError:  # the interpreter is going down, or has no threads
                    lane.thread, lane.on_main_thread = None, True

    def pump(self) -> float | None:
        """Do what is due in the lanes of the main thread; return seconds until more is due, None if unknown."""
        delays = []
        for lane in self.lanes:
            if lane.on_main_thread and not lane.ended:
                while (delay := lane.step()) == 0 and not lane.ended:
                    pass
                delays.append(delay)
        return min((delay for delay in delays if delay is not None), default=None)

    def _offer(self, asked: Any) -> Any:
        if asked is not None:
            return asked
        return self._asked if self._asked is not None else self.first_label

    def _answered(self, lane: Lane) -> None:
        """An observer has started, or not: the next one's turn."""
        if lane.label is not None:
            self.labels[lane.identity or lane.name] = lane.label
            if self.first_label is None:
                self.first_label = lane.label
        for other in self.lanes:
            if not other.released:
                other.released = True
                other.wake()
                break
        self._news.set()

    def wait_started(self, timeout_s: float | None = None) -> Any:
        """Wait until the observers know of the run.

        They are told in order of priority, each offered the label that the first gave. All share one allowance; the
        next does not wait for one that takes more than half of what is left.

        Parameters
        ----------
        timeout_s : float, optional
            Default: `DeliveryOptions.start_wait_s`.

        Returns
        -------
        object
            The first label that was given, or None.

        Raises
        ------
        SacredInterrupt
            If an observer refuses the run.
        RequiredObserverError
            If an observer that the run may not be without does not start.
        """
        if self._is_inert():
            return None
        clock, begun = self.options.clock, self.options.clock.monotonic()
        allowance = self.options.start_wait_s if timeout_s is None else timeout_s
        required_until = begun + max(allowance, self.options.required_wait_s)
        turn_until = begun + allowance / 2
        turn = None
        self.journal.flush()
        while True:
            self._news.clear()
            delay = self.pump()
            self._raise_veto()
            now = clock.monotonic()
            open_lanes = [lane for lane in self.lanes if not lane.answered]
            needed = [lane for lane in self.lanes if lane.required and not lane.started]
            self._raise_required(needed, now >= required_until)
            if not open_lanes and not needed:
                break
            if now >= begun + allowance:
                for lane in open_lanes:
                    lane.released = True
                    lane.wake()
                if not needed:
                    break
            if open_lanes and open_lanes[0] is not turn:
                turn, turn_until = open_lanes[0], now + (begun + allowance - now) / 2
            elif open_lanes and now >= turn_until:
                waiting = next((lane for lane in open_lanes if not lane.released), None)
                if waiting is not None:
                    waiting.released = True
                    waiting.wake()
                    turn_until = now + (begun + allowance - now) / 2
                    continue
            clock.wait(self._news, min(_TURN, delay) if delay is not None else _TURN)
        return self.first_label

    def _raise_veto(self) -> None:
        for lane in self.lanes:
            if lane.veto is not None:
                raise lane.veto

    def _raise_required(self, needed: list[Lane], is_late: bool) -> None:
        for lane in needed:
            error = lane.start_error
            if error is not None and (is_late or not lane._is_transient(error)):
                problem = f"{type(error).__name__}: {error}"
            elif is_late:
                problem = "it did not answer in time"
            else:
                continue
            raise RequiredObserverError(
                f"{lane.place} was added as required and cannot start, so the run does not: {problem}"
                "\n  to run without it:  remove required=True, or the observer"
            ) from error

    # --------------------------------------------------------------------------------------------------- the end

    def finish(self, on_wait: Callable[[Summary], Any] | None = None, stall_s: float | None = None) -> Summary:
        """Deliver what there is, wait while there is progress, and leave the rest to the journal.

        Parameters
        ----------
        on_wait : callable, optional
            ``on_wait(summary)``, called about once a second while there is something to wait for.
        stall_s : float, optional
            Default: `DeliveryOptions.stall_s`.

        Returns
        -------
        Summary
        """
        if self._is_inert() or self._closed:
            return Summary({}, {}, 0, None)
        stall_s = self.options.stall_s if stall_s is None else stall_s
        self.start_lanes()
        for lane in self.lanes:
            lane.close()
        try:
            self._wait(stall_s, on_wait)
        finally:
            summary = self._close()
        return summary

    def _wait(self, stall_s: float, on_wait: Callable[[Summary], Any] | None) -> None:
        clock = self.options.clock
        begun = told = clock.monotonic()
        while True:
            self._news.clear()
            delay = self.pump()
            now = clock.monotonic()
            if all(lane.done or lane.is_stalled(begun, stall_s) for lane in self.lanes):
                return
            if on_wait is not None and now - told >= 1.0:
                told = now
                on_wait(self._summary(None, waiting=True))
            clock.wait(self._news, min(_TURN, delay) if delay is not None else _TURN)

    def _close(self) -> Summary:
        """Remove journal and spool if nobody needs them any more, or let go of them."""
        self._closed = True
        self._abandon_lanes()
        settled = not any(lane.replays and (not lane.done or lane.missed) for lane in self.lanes)
        if settled:
            self.journal.delete()
        else:
            for lane in self.lanes:
                lane.acknowledge()
            self.journal.flush(sync=True)
            self.journal.close()
        self._acks.close()
        if settled:
            remove_if_there(self._acks.path)
            self.spool.remove()
        for lane in self.lanes:
            if lane.thread is not None and lane.done:
                lane.thread.join(1.0)
        kept = not settled and os.path.exists(self.journal.path)
        return self._summary(self.journal.path if kept else None)

    def _abandon_lanes(self) -> None:
        """Call no hook any more: from now on others may deliver."""
        for lane in self.lanes:
            if not lane.done:
                lane.abandon()
            if lane.thread is None:
                lane.leave()
        _LIVE.discard(self)

    def _summary(self, journal: str | None, waiting: bool = False) -> Summary:
        last = self.journal.last_seq
        behind = {lane.place: max(last - lane.delivered, 1) for lane in self.lanes if not lane.done}
        missed = {lane.place: len(lane.missed) for lane in self.lanes if lane.missed}
        passing = {lane.place for lane in self.lanes if not lane.replays}
        lost = self.journal.lost + (self.journal.unwritten_count if behind and not waiting else 0)
        return Summary(behind, missed, lost, journal, waiting, passing)

    # --------------------------------------------------------------------------------------------------- forks

    def _is_inert(self) -> bool:
        return self._pid != os.getpid()

    def close_in_child(self) -> None:
        """In a forked child: let go of everything; the parent delivers."""
        self._closed = True
        for lane in self.lanes:
            lane.abandoned = True
            lane._cursor.close()
        self.lanes = []


_LIVE: set[Dispatcher] = set()


def _forked() -> None:
    for dispatcher in _LIVE:
        dispatcher.close_in_child()
    _LIVE.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forked)


def _priority(observer: Any) -> float:
    priority = getattr(observer, "priority", 0)
    return priority if isinstance(priority, (int, float)) else 0


def _each_store_once(observers: Sequence[Any]) -> list[Any]:
    kept: list[Any] = []
    for observer in observers:
        identity = identity_of(observer)
        if any(other is observer or (identity is not None and identity_of(other) == identity) for other in kept):
            import logging

            logging.getLogger("capture.dispatch").warning("%s was added twice; it is told once", place_of(observer))
        else:
            kept.append(observer)
    return kept


def remove_if_there(path: str) -> None:
    """Remove a file that may be gone already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
