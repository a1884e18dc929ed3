"""A lane: one observer's queue and worker, the only place where its hooks are called.

A `Lane` reads the journal at its own pace. A transient error blocks it, and it tries again with growing pauses; any
other sets that one event aside. The queue is the journal: what a lane has not delivered costs no memory, and outlives
the process.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque

from capture.acks import Acknowledged, Acks
from capture.calls import Call, Calls, hooks_of, identity_of, name_of, place_of, replays
from capture.clock import SYSTEM_CLOCK
from capture.complaints import logger
from capture.errors import PartlyStoredError, SacredInterrupt
from capture.journal import Line, parse_line, split_lines
from capture.unwatched import LibraryThread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from capture.clock import Clock
    from capture.journal import Journal
    from capture.spool import Spool

OPENINGS = frozenset({"queued", "started", "resumed"})  #: an observer hears nothing more before it has one of these


AGAIN = "it is tried again while the run lasts"  #: said of an observer that nothing can be delivered to later


class DeliveryOptions:
    """How patient delivery is. All times in seconds.

    Parameters
    ----------
    start_wait_s : float
        What all observers together may take to start before main is called.
    required_wait_s : float
        What an observer with ``required = True`` may take for it.
    call_deadline_s : float
        A call that takes longer is not waited for any more. It goes on, and no second one starts before it returns.
    stall_s : float
        At the end: how long to wait while nothing moves. The rest stays in the journal.
    backoff_s : (float, float)
        First and longest pause before a transient error is tried again.
    flush_pause_s : float
        How long after a `flush` a lane that has nothing else to do waits with the next: in a burst more is coming, and
        each costs the store some files to open.
    ack_interval_s, flush_interval_s : float
        How often progress is written down, and `flush` called, while a lane is busy.
    clock : Clock
    random : callable
        ``random() -> float`` in [0, 1): spreads the attempts of many runs that lost one server.
    """

    def __init__(
        self,
        *,
        start_wait_s: float = 2.0,
        required_wait_s: float = 10.0,
        call_deadline_s: float = 30.0,
        stall_s: float = 8.0,
        backoff_s: tuple[float, float] = (0.5, 30.0),
        ack_interval_s: float = 1.0,
        flush_interval_s: float = 1.0,
        flush_pause_s: float = 0.1,
        clock: Clock = SYSTEM_CLOCK,
        random: Callable[[], float] | None = None,
    ) -> None:
        self.start_wait_s, self.required_wait_s = start_wait_s, required_wait_s
        self.call_deadline_s, self.stall_s = call_deadline_s, stall_s
        self.backoff_s = backoff_s
        self.ack_interval_s, self.flush_interval_s = ack_interval_s, flush_interval_s
        self.flush_pause_s = flush_pause_s
        self.clock = clock
        self.random = random or _random


def _random() -> float:
    return int.from_bytes(os.urandom(4), "big") / 2**32


class _Turn:
    """Whose turn it is at an observer: two runs of a process may share it, and its hooks are called one at a time."""

    known: dict[int, _Turn] = {}
    guard = threading.Lock()

    def __init__(self, observer: Any) -> None:
        self.observer = observer  # kept, so that no other gets its id meanwhile
        self.lock = threading.RLock()  # re-entrant: a hook on the main thread may start a run of its own
        self.lanes = 0

    @classmethod
    def at(cls, observer: Any) -> _Turn:
        with cls.guard:
            turn = cls.known.setdefault(id(observer), cls(observer))
            turn.lanes += 1
            return turn

    def leave(self) -> None:
        with self.guard:
            self.lanes -= 1
            if not self.lanes:
                self.known.pop(id(self.observer), None)

    @classmethod
    def forget(cls) -> None:
        """In a forked child: threads that are not here may hold the locks."""
        cls.guard = threading.Lock()
        cls.known = {}


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_Turn.forget)


class Cursor:
    """Reads a journal from its beginning, line by line, and later what was added.

    Parameters
    ----------
    path : str
    journal : Journal, optional
        The journal if it is this process that writes it: what the disk refuses is read from memory.
    verify : bool
        Whether checksums are looked at.
    """

    def __init__(self, path: str, journal: Journal | None = None, verify: bool = False) -> None:
        self.path = path
        self.seq = 0  #: of the newest line that was given
        self.damaged = 0  #: lines that were skipped
        self._journal, self._verify = journal, verify
        self._file: Any = None
        self._offset = 0
        self._lines: Iterator[tuple[bytes, int]] | None = None
        self._memory: deque[Line] = deque()

    def next(self) -> Line | None:
        """Return the next line, or None if there is none yet."""
        while True:
            line = self._next_in_file() or self._next_in_memory()
            if line is None or line.seq > self.seq:  # what was repeated, or read from memory before, is passed over
                self.seq = line.seq if line is not None else self.seq
                return line

    def _next_in_file(self) -> Line | None:
        while True:
            if self._lines is None:
                if self._file is None:
                    try:
                        self._file = open(self.path, "rb", buffering=0)  # noqa: SIM115 - closed by `close`
                    except OSError:
                        return None  # the disk refused it; what it should hold is in memory
                self._file.seek(self._offset)
                self._lines = split_lines(self._file.read, self._offset)
            found = next(self._lines, None)
            if found is None:
                self._lines = None
                return None
            data, self._offset = found
            line = parse_line(data, self._offset, self._verify)
            if line is not None:
                return line
            self.damaged += 1

    def _next_in_memory(self) -> Line | None:
        if not self._memory and self._journal is not None and self._journal.failed is not None:
            self._memory.extend(self._journal.unwritten(self.seq))
        return self._memory.popleft() if self._memory else None

    def close(self) -> None:
        """Let go of the file."""
        self._lines = None
        if self._file is not None:
            self._file.close()
            self._file = None


def _for_one_run(observer: Any) -> Any:
    """Return a copy of an observer that is at work for another run, if it cannot tell runs apart by ``uid``.

    Sacred's observers keep the run that they were told of last in attributes: its start would make the rest of the
    other run land in this one's record.
    """
    start = hooks_of(observer).get("started_event")
    if start is None or start.wants("uid"):
        return observer
    from copy import copy

    try:
        return copy(observer)
    except Exception as error:  # noqa: BLE001 - whatever its class makes of being copied
        text = "%s is shared by runs that go on at the same time, and cannot be copied (%s): it may mix them up"
        logger("capture.dispatch").warning(text, name_of(observer), error)
        return observer


class Lane:
    """One observer's queue and worker: the only place where its hooks are called.

    It is driven by `step`, which does one piece of work; `start` has a thread do that.

    Parameters
    ----------
    observer : object
    cursor : Cursor
        Where the events come from.
    uid, writer : str
    spool : Spool
    acks : Acks
    options : DeliveryOptions
    known : Acknowledged, optional
        What an earlier process achieved: after the openings, events up to there are passed over.
    offered : callable
        ``offered(label asked for) -> label`` to offer to the store.
    on_answer : callable
        Called when the first attempt to start has an answer.
    on_news : callable
        Called after each piece of work.

    Attributes
    ----------
    delivered : int
        Seq up to which the observer was told everything, but for what it missed.
    acked : int
        Seq up to which it has made that durable.
    missed : list of int
    label : object
        The id it gave the run.
    """

    def __init__(
        self,
        observer: Any,
        cursor: Cursor,
        uid: str,
        writer: str,
        spool: Spool,
        acks: Acks,
        options: DeliveryOptions,
        known: Acknowledged | None = None,
        offered: Callable[[Any], Any] = lambda asked: asked,
        on_answer: Callable[[Lane], None] = lambda lane: None,
        on_news: Callable[[], None] = lambda: None,
    ) -> None:
        known = known or Acknowledged()
        self._turn, self._left = _Turn.at(observer), False
        if self._turn.lanes > 1:
            observer = _for_one_run(observer)
        self.observer, self.name, self.identity = observer, name_of(observer), identity_of(observer)
        self.place = place_of(observer)  #: what messages call it
        self.replays = replays(observer)
        self.required = getattr(observer, "required", False) is True
        self.on_main_thread = getattr(observer, "lane", "thread") == "main"
        self._of = (uid, writer)
        self.calls = Calls(observer, uid, writer, spool, self._label_to_offer, self._progressed)
        self.delivered = 0
        self.acked = known.seq
        self.label = known.label
        self.missed: list[int] = []
        self.made_up: list[int] = []
        self.start_error: BaseException | None = None
        self.veto: SacredInterrupt | None = None
        self.started = False
        self.heard = False  # a hook was called for an event
        self.answered = False  # the first attempt to start has returned, in whatever way
        self.released = False  # it may start now
        self.closing = False  # nothing more will be written to the journal
        self.done = False
        self.abandoned = False
        self.calling: tuple[str, float] | None = None  # hook, and since when
        self._overdue: tuple[str, float] | None = None  # such a call that was reported
        self.progress_at = options.clock.monotonic()
        self.failing_since: float | None = None
        self.last_error: BaseException | None = None
        self.thread: threading.Thread | None = None
        self._cursor, self._acks, self._options, self._clock = cursor, acks, options, options.clock
        self._known = known
        self._offered, self._on_answer, self._on_news = offered, on_answer, on_news
        self._wake = threading.Event()
        self._line: Line | None = None
        self._due: deque[Call] = deque()
        self._attempts = 0  # of the call that is due
        self._closing_attempts = 0  # failed ones since the end came
        self._not_before = float("-inf")
        self._unflushed = False
        self._flushed_at = self._acked_at = self.progress_at
        self._told: tuple[Any, ...] = (known.seq, known.label, 0, 0, False)  # what the acks say
        self._counts: dict[tuple[str, str], int] = {}
        self._joined = False

    # ------------------------------------------------------------------------------------------------- the thread

    def start(self) -> None:
        """Have a thread of this lane's own do its work."""
        if self.thread is None:
            self.thread = LibraryThread(target=self._work, name=f"capture-lane-{self.name}")
            self.thread.start()

    def _work(self) -> None:
        try:
            while not self.ended:
                self._wake.clear()
                delay = self.step()
                if delay != 0 and not self.ended:
                    self._clock.wait(self._wake, delay)
        finally:
            self.leave()
            self._on_news()

    def leave(self) -> None:
        """Let go of file and observer: no call is going on, and none will follow."""
        self._cursor.close()
        if not self._left:
            self._left = True
            self._turn.leave()

    def wake(self) -> None:
        """Say that there is something new."""
        self._wake.set()

    def close(self) -> None:
        """Say that nothing more will be written: deliver what there is, flush and join, without long pauses."""
        self.closing = self.released = True
        self._not_before = float("-inf")
        self._attempts = 0
        self.wake()

    def abandon(self) -> None:
        """Make no further call."""
        self.abandoned = True
        self.wake()

    @property
    def ended(self) -> bool:
        return self.done or self.abandoned

    # ------------------------------------------------------------------------------------------------------- work

    def step(self) -> float | None:
        """Do one piece of work.

        Returns
        -------
        float or None
            Seconds until there is something to do again: 0 if there is at once, None if that depends on others.
        """
        if self.ended:
            return None
        pause = self._not_before - self._clock.monotonic()
        if pause > 0:
            return pause
        if not self._due and not self._fetch():
            return self._idle()
        self._attempt(self._due[0])
        self._on_news()
        return max(0.0, self._not_before - self._clock.monotonic())

    def _fetch(self) -> bool:
        """Read on until a call is due; False if there is none."""
        while not self._due:
            if self._unflushed and self._clock.monotonic() - self._flushed_at >= self._options.flush_interval_s:
                self._due_flush()
                continue
            if self._line is None:
                self._line = self._cursor.next()
                if self._line is None:
                    return False
            line = self._line
            if line.kind in OPENINGS and not self.released:
                return False
            if self._knows(line):
                self.calls.absorb(line)
            else:
                self._due.extend(self.calls.of(line))
            if not self._due:
                self._complete(line)
        return True

    def _knows(self, line: Line) -> bool:
        """Say whether an earlier process has delivered this; openings are repeated, so that the record is opened."""
        if line.kind == "opened" or line.kind in OPENINGS or line.seq in self._known.missed:
            return False
        return line.seq <= self._known.seq

    def _attempt(self, call: Call) -> None:
        try:
            with self._turn.lock:
                self.calling = (call.hook.name, self._clock.monotonic())
                if self.abandoned:
                    return
                result = call.make()
        except Exception as error:  # noqa: BLE001 - an observer may raise whatever it likes; it is logged and counted
            self._failed(call, error)
        except BaseException as error:
            # SystemExit and KeyboardInterrupt in a lane's own thread can only come from the observer. On the main
            # thread they may be the user's, or a signal's.
            if self.on_main_thread:
                raise
            self._failed(call, error)
        else:
            self._succeeded(call, result)
        finally:
            self.calling = None

    def _succeeded(self, call: Call, result: Any) -> None:
        line = self._line
        if line is not None and line.kind in OPENINGS and call.seqs:
            self.started = True
            self.start_error = None
            if result is not None and line.kind != "resumed":
                self.label = result
        self.failing_since = self.last_error = None
        self.heard = self.heard or bool(call.seqs)
        self._progressed()
        self._advance(call)
        if not self.answered and self.started:
            self.answered = True
            self._on_answer(self)

    def _advance(self, call: Call) -> None:
        """Go on to the next call."""
        if call.settle is not None:
            call.settle()
        self._due.popleft()
        self._attempts = 0
        self._not_before = float("-inf")
        if not self._due and call.seqs and self._line is not None:
            self._complete(self._line)

    def _complete(self, line: Line) -> None:
        """Count an event as delivered."""
        if line.seq in self._known.missed and line.seq not in self.missed:
            self.made_up.append(line.seq)
        if line.kind in OPENINGS and not self.answered:  # an observer without such a hook has nothing to answer
            self.started = self.answered = True
            self._on_answer(self)
        self.delivered = line.seq
        self._line = None
        self._unflushed = True

    # ----------------------------------------------------------------------------------------------------- errors

    def _failed(self, call: Call, error: BaseException) -> None:
        now = self._clock.monotonic()
        self.last_error = error
        opening = self._line is not None and self._line.kind in OPENINGS and bool(call.seqs)
        if opening and isinstance(error, SacredInterrupt):
            self._vetoed(error)
            return
        transient = self._is_transient(error)
        if opening:
            self.start_error = error
        if isinstance(error, PartlyStoredError) and call.hook.name == "flush":
            refused = error.refused.get(self._of, ())
            self._report(call, error, f"{self._fate_of(refused)}; the rest is stored")
            self._miss(refused)
            self._progressed()
            self._advance(call)
        elif opening or transient or call.hook.name == "flush":
            self._report(call, error, "what it was told is kept, and it is tried again" if self.replays else AGAIN)
            self.failing_since = now if self.failing_since is None else self.failing_since
            self._not_before = now + self._pause()
            self._attempts += 1
            if self.closing:
                self._closing_attempts += 1
        else:
            self._report(call, error, self._fate_of(call.seqs))
            self._miss(call.seqs)
            self._progressed()
            self._advance(call)
        if opening and not self.answered:
            self.answered = True
            self._on_answer(self)

    def _fate_of(self, refused: Sequence[int]) -> str:
        """Say what becomes of events that the observer did not take."""
        if not refused:
            return "it is left out"
        which = ", ".join(map(str, refused[:3])) + ("..." if len(refused) > 3 else "")
        many = len(refused) > 1
        which, verb = f"event{'s' if many else ''} {which}", "are" if many else "is"
        if self.replays:
            return f"{which} {verb} kept, and `capture sync` offers {'them' if many else 'it'} again"
        return f"{which} {verb} not told again"

    def _miss(self, seqs: Sequence[int]) -> None:
        """Set events aside: the journal keeps them."""
        self.missed += [seq for seq in seqs if seq not in self.missed[-len(seqs) :]]

    def _vetoed(self, veto: SacredInterrupt) -> None:
        """The observer does not want the run, and hears nothing more of it."""
        if self.answered:
            self._warn("%s refused the run, %r, when it was too late", self.place, veto)
        self.veto = veto
        self._due.clear()
        self.done = self.answered = True
        self._acknowledge()
        self._on_answer(self)

    def _is_transient(self, error: BaseException) -> bool:
        judge = getattr(self.observer, "transient", None)
        if callable(judge):
            try:
                return judge(error) is True
            except Exception as second:  # noqa: BLE001 - reported; then it counts as any other error
                self._warn("%s: transient(%r) raised %r", self.place, error, second)
                return False
        return isinstance(error, (ConnectionError, TimeoutError))

    def _pause(self) -> float:
        first, longest = self._options.backoff_s
        pause = min(longest, first * 2 ** min(self._attempts, 30))
        return pause * (0.75 + 0.5 * self._options.random())

    def _report(self, call: Call, error: BaseException, consequence: str) -> None:
        """Log the first error of a kind; count the others."""
        kind = (call.hook.name, type(error).__name__)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if self._counts[kind] == 1:
            where = f" (event {call.seqs[0]})" if call.seqs else ""
            said = f": {error}" if str(error) else ""
            self._warn("%s: %s%s: %s%s; %s", self.place, kind[0], where, kind[1], said, consequence)

    def _warn(self, text: str, *arguments: Any) -> None:
        logger("capture.dispatch").warning(text, *arguments)

    def _progressed(self) -> None:
        self.progress_at = self._clock.monotonic()

    def _label_to_offer(self, asked: Any) -> Any:
        return self.label if self.label is not None else self._offered(asked)

    # ----------------------------------------------------------------------------------- when nothing else is due

    def _idle(self) -> float | None:
        if self._line is not None:  # it waits for its turn to start
            return None
        if self.closing:
            self._due.extend(self.calls.rest())
            if self._due:
                self._unflushed = True
                return 0
        if self._unflushed:
            pause = 0.0 if self.closing else self._flushed_at + self._options.flush_pause_s - self._clock.monotonic()
            if pause > 0:
                return pause
            self._due_flush()
            if self._due:
                return 0
        if self.closing and not self._joined:
            self._joined = True
            join = self.calls.hooks.get("join")
            if join is not None and self.heard:
                self._due.append(Call(join, dict, ()))
                return 0
        if self.closing:
            self.done = True
            self._on_news()
            return None
        return self._acknowledge_if_due()

    def _due_flush(self) -> None:
        """Have `flush` called; an observer without it has stored what it was told."""
        flush = self.calls.hooks.get("flush")
        if flush is None or not self.heard:
            self._flushed()
        else:
            self._due.append(Call(flush, dict, (), self._flushed))

    def _flushed(self) -> None:
        self._flushed_at = self._clock.monotonic()
        self._unflushed = False
        held = self.calls.held_from
        self.acked = max(self.acked, min(self.delivered, held - 1) if held else self.delivered)
        if self.label != self._told[1] or self._flushed_at - self._acked_at >= self._options.ack_interval_s:
            self._acknowledge()

    def _acknowledge_if_due(self) -> float | None:
        if not self.replays or self._state() == self._told:
            return None
        wait = self._acked_at + self._options.ack_interval_s - self._clock.monotonic()
        if wait <= 0:
            self._acknowledge()
            return None
        return wait

    def _state(self) -> tuple[Any, ...]:
        return (self.acked, self.label, len(self.missed), len(self.made_up), self.done)

    def _acknowledge(self) -> None:
        """Write down how far the observer is."""
        state = self._state()
        if not self.replays or state == self._told:
            return
        assert self.identity is not None
        missed = tuple(self.missed[self._told[2] :])
        # what a flush refused had been taken before
        made_up = tuple(seq for seq in self.made_up[self._told[3] :] if seq not in missed)
        try:
            self._acks.write(self.identity, self.acked, self.label, missed, made_up, self.done)
        except OSError as error:
            logger("capture.dispatch").debug("%s cannot be written: %s", self._acks.path, error)
            return
        self._told, self._acked_at = state, self._clock.monotonic()

    acknowledge = _acknowledge

    # ------------------------------------------------------------------------------------------- for who waits for it

    def is_stalled(self, since: float, stall_s: float) -> bool:
        """Say whether waiting is in vain.

        Parameters
        ----------
        since : float
            When the waiting began, on the monotonic clock.
        stall_s : float
            Seconds without progress that are waited for.
        """
        now = self._clock.monotonic()
        calling = self.calling
        if calling is not None:
            overdue = max(calling[1], self.progress_at) + self._options.call_deadline_s <= now
            return overdue or now - max(since, self.progress_at) >= stall_s
        if self._closing_attempts and self.failing_since is not None:
            if self.start_error is not None and not self._is_transient(self.start_error):
                return True  # it has had its last chance
            return now - self.failing_since >= stall_s
        return now - max(since, self.progress_at) >= stall_s

    def report_if_overdue(self) -> None:
        """Log once when a call takes longer than its deadline."""
        calling = self.calling
        if calling is not None and calling != self._overdue:
            since = max(calling[1], self.progress_at)
            if self._clock.monotonic() - since >= self._options.call_deadline_s:
                self._overdue = calling
                seconds = self._options.call_deadline_s
                text = "%s: %s has not returned for %g s; its later events wait"
                self._warn(text, self.place, calling[0], seconds)

    @property
    def errors(self) -> int:
        """Number of calls that failed."""
        return sum(self._counts.values())
