"""The recording side of one run: journal, spool, delivery, and the thread that keeps them moving.

A `Recorder` knows no state machine and no configuration: it takes events, files, output and numbers, and sees to it
that they are in the journal soon and with the observers later. `NullRecorder` takes the same and keeps nothing.
"""

from __future__ import annotations

# In Python 3.13 this module puts another in its place while it is imported: of two threads that import it first at the
# same time, one gets a module without names. So it is there before any thread of this library.
import collections.abc  # noqa: F401
import os
import threading
import time

from capture import events
from capture.complaints import logger
from capture.metrics import MetricsLog
from capture.unwatched import LibraryThread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from capture.events import Event

TICK_S = 0.2  #: period of the ticker; with the writing it bounds what the death of the process can lose
STOP_WAIT_S = 2.0  #: how long the end of a run waits for the ticker, whose disk may not answer
LEFTOVERS_STALL_S = 2.0  #: how long the end of a run waits for a store that does not take an earlier run's leftovers
INFO_SHARE = 0.02  #: share of the time that looking for changes in ``_run.info`` may take
MAX_KEPT_OUTPUT = 16 * 2**20  #: bytes of output that `captured_out` gives back; head and tail of longer output


def new_uid(now_ns: int | None = None) -> str:
    """Return a UUID of version 7 (RFC 9562): 48 bits of milliseconds, then random bits."""
    milliseconds = (time.time_ns() if now_ns is None else now_ns) // 1_000_000
    number = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    number = number & ~(0xF << 76) | (0x7 << 76)  # version
    number = number & ~(0x3 << 62) | (0x2 << 62)  # variant
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class KeptOutput:
    """The recorded output of this process's own run, for ``run.captured_out``; bounded."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._tail_at = 0  # offset of the first byte of `_tail`

    def put(self, text: str, offset: int) -> None:
        """The output is now ``old[:offset] + text``."""
        data = text.encode()
        half = MAX_KEPT_OUTPUT // 2
        if offset <= len(self._head):
            del self._head[offset:]
            self._head += data[: max(half - offset, 0)]
            data, offset = data[max(half - offset, 0) :], max(offset, half)
            self._tail, self._tail_at = bytearray(), offset
        if data or offset < self._tail_at + len(self._tail):
            del self._tail[max(offset - self._tail_at, 0) :]
            self._tail += data
            if len(self._tail) > 2 * half:
                cut = len(self._tail) - half
                del self._tail[:cut]
                self._tail_at += cut

    def __str__(self) -> str:
        missing = self._tail_at - len(self._head)
        between = f"\n[... {missing:,} bytes left out ...]\n" if missing > 0 and self._tail else ""
        return self._head.decode("utf-8", "replace") + between + self._tail.decode("utf-8", "replace")


class NullRecorder:
    """Takes what a `Recorder` takes and keeps nothing but the output: for runs that nobody observes."""

    observed = False
    state_dir = ""  #: folder of what is not delivered yet

    def __init__(self, uid: str) -> None:
        self.uid = uid
        self.kept = KeptOutput()
        self.labels: dict[str, Any] = {}
        self.metrics = MetricsLog(lambda body: None)

    def emit(self, event: Event) -> Event:
        return event

    def output(self, text: str, offset: int) -> None:
        self.kept.put(text, offset)

    def take_file(self, filename: str) -> Any:
        return None

    def take_bytes(self, data: bytes) -> Any:
        return None

    def start(self, first: Event, after: Sequence[Event] = ()) -> None:
        return None

    def wait_started(self) -> Any:
        return None

    def start_ticker(
        self, beat_interval_s: float, beat: Callable[[bool], None], flush_output: Callable[[], None]
    ) -> None:
        return None

    def stop_ticker(self) -> None:
        return None

    def used(self, what: str) -> None:
        return None

    def finish(self, ending: Event | None, stall_s: float | None = None) -> list[str]:
        return []

    def abandon(self, ending: Event | None = None) -> None:
        return None


class ChildRecorder(NullRecorder):
    """What a forked child has of its parent's recorder: it keeps nothing, and says so once."""

    def __init__(self, uid: str) -> None:
        super().__init__(uid)
        self.metrics = MetricsLog(lambda body: self.used("log_scalar"))
        self._said = False

    def used(self, what: str) -> None:
        if not self._said:
            self._said = True
            _log().warning(
                "%s() was called in a forked process, from which nothing is recorded;"
                " hand results to the process that started the run",
                what,
            )


class Recorder(NullRecorder):
    """Records one run for some observers.

    Parameters
    ----------
    uid : str
    observers : sequence
        Observers, highest priority first.
    label : object
        Id that the user asked for, or None.
    settings : Settings
        Only its ``DELIVERY`` is read.
    masker : Masker, optional
        Masks what is secret in each event before it is written anywhere.

    Raises
    ------
    HookError
        If a hook of an observer declares an argument that is never passed.
    OSError
        If there is no place at all for the journal.
    """

    observed = True

    def __init__(self, uid: str, observers: Sequence[Any], label: Any, settings: Any, masker: Any = None) -> None:
        from capture.calls import check_hooks, describe
        from capture.dispatch import DeliveryOptions, Dispatcher
        from capture.journal import Journal
        from capture.liveness import machine_identity
        from capture.spool import Spool

        super().__init__(uid)
        self._pid = os.getpid()
        self._masker = masker
        self._masks_told: dict[str, Any] = {}
        place, spool = places(uid, observers)
        journals = os.path.join(place, "journals")
        os.makedirs(journals, mode=0o700, exist_ok=True)
        folder = os.stat(journals)
        # where a reader can ask whether the writer lives: its lock on the journal, if this is the very folder it sees
        place_of_journal = {
            "journal": os.path.join(journals, f"{uid}.main.journal"),
            "journal_dir": [folder.st_dev, folder.st_ino],
        }
        opened = events.Opened(
            format=events.FORMAT,
            uid=uid,
            writer="main",
            version=_version(),
            host={**machine_identity(), **place_of_journal},
            observers=describe(observers),
            spool=spool,
        )
        self.state_dir, self._observers = place, list(observers)
        delivery = settings.DELIVERY
        options = DeliveryOptions(
            start_wait_s=delivery.START_WAIT_S, call_deadline_s=delivery.CALL_DEADLINE_S, stall_s=delivery.STALL_S
        )
        for observer in observers:
            check_hooks(observer)  # not all came through a list that checks them
        self.spool = Spool(spool, fallback=os.path.join(place, "spool", uid))
        self.metrics = MetricsLog(self._emit_metrics)
        self._ticker: threading.Thread | None = None
        self._stop = threading.Event()
        self._ended = False
        try:
            self.journal = Journal.create(journals, opened)
            self.dispatcher = Dispatcher(self.journal, self.spool, observers, options, uid=uid, label=label)
        except BaseException:
            if "journal" in vars(self):
                self.journal.delete()
            raise

    def _emit_metrics(self, body: str) -> None:
        if os.getpid() == self._pid:
            self.dispatcher.emit_body("metrics", body)

    def emit(self, event: Event) -> Event:
        """Put an event into the journal and wake the observers' threads; in a forked child, do nothing."""
        if os.getpid() != self._pid:
            return event
        if self._masker is not None:
            event = self._masker.event(event)
        return self.dispatcher.emit(event)

    def _tell_masks(self) -> None:
        """Record what was masked, if that was not recorded already."""
        if self._masker is not None and self._masker.found:
            facts = self._masker.facts()
            if facts != self._masks_told:
                self._masks_told = facts
                self.emit(events.Facts(topic="secrets", facts=facts))

    def output(self, text: str, offset: int) -> None:
        """Record that the output, in which secrets are masked already, is now ``old[:offset] + text``."""
        self.kept.put(text, offset)
        self.emit(events.Output(text=text, offset=offset))

    def take_file(self, filename: str) -> Any:
        """Take the bytes of a file into the spool; return its digest, MD5 and size."""
        return self.spool.take(filename)

    def take_bytes(self, data: bytes) -> Any:
        """Take bytes into the spool."""
        return self.spool.take_bytes(data)

    def start(self, first: Event, after: Sequence[Event] = ()) -> None:
        """Record the first event (queued or started) and what belongs to it, and start the delivery."""
        self.emit(first)
        for event in after:
            self.emit(event)
        self._tell_masks()
        self.dispatcher.start_lanes()

    def wait_started(self) -> Any:
        """Wait until the observers know of the run; return the label that the first of them gave it."""
        label = self.dispatcher.wait_started()
        self.labels = self.dispatcher.labels
        return label

    def start_ticker(
        self, beat_interval_s: float, beat: Callable[[bool], None], flush_output: Callable[[], None]
    ) -> None:
        """Start the thread that writes what waits and calls ``beat(due)``.

        Parameters
        ----------
        beat_interval_s : float
            Seconds between heartbeats; none if it is not positive.
        beat : callable
            Called about five times a second, with True when a heartbeat is due.
        flush_output : callable
            Emits output that waits.
        """
        self._stop.clear()

        next_beat = time.monotonic() + beat_interval_s
        next_look = 0.0

        def look() -> None:
            nonlocal next_beat, next_look
            now = time.monotonic()
            due = beat_interval_s > 0 and now >= next_beat
            if due:
                next_beat = now + beat_interval_s
            if due or now >= next_look:
                beat(due)
                next_look = now + (time.monotonic() - now) / INFO_SHARE

        said: set[tuple[str, type]] = set()

        def take(step: Callable[[], None]) -> None:
            try:
                step()
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the writing of the rest
                kind = (getattr(step, "__name__", ""), type(error))
                if kind not in said:  # it may fail five times a second for a week
                    said.add(kind)
                    _log().exception("writing in the background failed; it is tried again")

        def tick_until_stopped() -> None:
            while not self._stop.wait(TICK_S):
                for step in (flush_output, self.metrics.flush, look, self.journal.tick):
                    take(step)

        self._ticker = LibraryThread(target=tick_until_stopped, name="capture-ticker")
        try:
            self._ticker.start()
        except RuntimeError:  # the interpreter is going down: what waits is written at the end of the run
            self._ticker = None

    def stop_ticker(self) -> None:
        self._stop.set()
        ticker = self._ticker
        if ticker is not None and ticker is not threading.current_thread():
            if ticker.is_alive():  # Ctrl-C may have come before it was started
                ticker.join(STOP_WAIT_S)
                if ticker.is_alive():
                    _log().warning("the thread that writes beside the run is stuck, and not waited for")
            self._ticker = None

    def finish(self, ending: Event | None, stall_s: float | None = None) -> list[str]:
        """Record the last event, wait for the observers while they make progress, and return what to tell the user."""
        if os.getpid() != self._pid:
            return []
        self._emit_ending(ending)
        if stall_s is None:
            report = self.dispatcher.finish()
        else:
            report = self.dispatcher.finish(stall_s=stall_s)
        self.labels = self.dispatcher.labels
        lines = list(report.lines)
        if not lines and stall_s is None:
            lines += self._deliver_leftovers()
        return lines

    def _deliver_leftovers(self) -> list[str]:
        """Deliver to the same stores what earlier runs of this machine left behind; return what to tell the user."""
        from capture.calls import identity_of, replays
        from capture.journal import list_journals

        stores = [each for each in self._observers if identity_of(each) is not None and replays(each)]
        if not stores or not list_journals(self.state_dir):
            return []
        from capture.delivery import sync
        from capture.lane import DeliveryOptions

        options = DeliveryOptions(stall_s=LEFTOVERS_STALL_S)
        reports = sync(self.state_dir, stores, options=options)
        return [f"Delivered what an earlier run left behind: {report}" for report in reports if report.delivered]

    def _emit_ending(self, ending: Event | None) -> None:
        self.metrics.flush()
        if ending is not None and not self._ended:
            if self._masker is not None:
                ending = self._masker.event(ending)  # what is masked in it belongs on the list before it
            self._tell_masks()
            self.emit(ending)
            self._ended = True  # if an interruption comes in between, it is there twice: stores take the first

    def abandon(self, ending: Event | None = None) -> None:
        """Record the last event, if it was not yet, and close the journal: what is in it is delivered later.

        After `finish` there is nothing left to do.
        """
        self.stop_ticker()
        if os.getpid() == self._pid and not self.journal.closed:
            self._emit_ending(ending)
            self.journal.flush(sync=True)
            self.journal.close()


def places(uid: str, observers: Sequence[Any]) -> tuple[str, str]:
    """Return the folder for the run's state, and the one for the bytes of its files.

    Where there is a local store the bytes lie on its filesystem, from where they move in without being copied again.
    """
    from capture.journal import state_dir

    store = first_local_store(observers)
    state = state_dir(fallback=store)
    if store is not None:
        spool = os.path.join(store, "_capture", "spool")
        try:
            os.makedirs(spool, exist_ok=True)
            if os.access(spool, os.W_OK | os.X_OK):
                return state, spool
        except OSError:  # the store itself says what is wrong with it; the files are kept elsewhere until it is mended
            pass
    return state, os.path.join(state, "spool", uid)


def first_local_store(observers: Sequence[Any]) -> str | None:
    """Return the folder of the first observer that writes to local files, or None."""
    for observer in observers:
        folder = getattr(observer, "local_folder", None)
        if folder:
            return os.fspath(folder)
    return None


def _log() -> Any:
    return logger()


def _version() -> str:
    from capture._version import __version__

    return __version__
