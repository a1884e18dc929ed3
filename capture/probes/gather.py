"""Runs probes side by side, each with a time limit, and never lets one of them harm the run."""

from __future__ import annotations

import threading
import time

from capture.complaints import logger
from capture.hooks import Probe, Unavailable
from capture.unwatched import LibraryThread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

PATIENCE_S = 0.01  #: how long probes beside a run wait for those before them, until another thread asks the next one

_DEFAULT_TIMEOUT_S = Probe.timeout_s


class FunctionProbe(Probe):
    """A probe made of a function.

    Parameters
    ----------
    name : str
        The topic of its facts.
    function : callable
        Called with `arguments`; returns facts or `Unavailable`.
    timeout_s : float
        How long a run waits for it, in seconds.

    Examples
    --------
    >>> gather([FunctionProbe("answer", lambda: {"is": 42})], deadline_s=1.0)
    {'answer': {'is': 42}}
    """

    def __init__(
        self, name: str, function: Callable[..., Any], *arguments: Any, timeout_s: float = _DEFAULT_TIMEOUT_S
    ) -> None:
        self.name, self.timeout_s = name, timeout_s
        self._function, self._arguments = function, arguments

    def gather(self) -> Any:
        return self._function(*self._arguments)


def gather(
    probes: Iterable[Any], deadline_s: float, on_late: Callable[[str, Any], None] | None = None
) -> dict[str, Any]:
    """Run probes side by side and return what they have found in time.

    Parameters
    ----------
    probes : iterable of Probe
        Objects with a ``name`` and a method ``gather()``; ``timeout_s`` is how long this one may take.
    deadline_s : float
        How long to wait for all of them together, in seconds.
    on_late : callable, optional
        ``on_late(name, facts)`` hears of facts that came after this function had returned, from a thread of the
        probe's own.

    Returns
    -------
    dict
        Name to facts. A probe that raised is ``Unavailable("TypeName: text")``, one that is late
        ``Unavailable("no answer within ... s")``.

    Raises
    ------
    ValueError
        If two probes have one name, or one has none.
    """
    return Gathering(probes, on_late).collect(deadline_s)


class Gathering:
    """Probes that are at work: started when this is made, collected when the facts are needed.

    Parameters are those of `gather`.
    """

    def __init__(self, probes: Iterable[Any], on_late: Callable[[str, Any], None] | None = None) -> None:
        probes = list(probes)
        _check_names(probes)
        self._started = time.monotonic()
        self._on_late = on_late
        self._jobs = [_Job(probe) for probe in probes]
        for job in self._jobs:
            thread = LibraryThread(target=self._work, args=(job,), name=f"capture-probe-{job.name}")
            try:
                thread.start()
            except RuntimeError:  # the interpreter is going down, and starts no thread any more
                self._work(job)

    def collect(self, deadline_s: float) -> dict[str, Any]:
        """Wait until all have answered, at most `deadline_s` seconds from now, and return name to facts."""
        until = time.monotonic() + deadline_s
        return {job.name: self._wait(job, min(until, self._started + job.timeout_s)) for job in self._jobs}

    def _wait(self, job: _Job, until: float) -> Any:
        job.done.wait(max(0.0, until - time.monotonic()))
        with job.lock:
            if job.done.is_set():
                return job.facts
            job.given_up = True
        return Unavailable(f"no answer within {time.monotonic() - self._started:.1f} s")

    def _work(self, job: _Job) -> None:
        facts = _ask(job.probe)
        with job.lock:
            job.facts = facts
            job.done.set()
            late = job.given_up
        if late and self._on_late is not None:
            try:
                self._on_late(job.name, facts)
            except Exception:  # noqa: BLE001 - it is logged
                logger().exception("late facts of the probe %r are lost", job.name)


class Reporting:
    """Probes that are at work beside a run: each one's facts are reported when they are there.

    Finding the probes is done in a thread, too, since it may mean importing other people's packages. A probe that has
    not answered when its time is up is reported as `Unavailable`; its facts are reported all the same if they come
    before `close`.

    One thread asks one probe after the other, and further threads go on with the rest only when one takes long: most
    answer within a millisecond, and threads that do so at once keep each other from it.

    Parameters
    ----------
    find : callable
        ``find() -> iterable of Probe``.
    report : callable
        ``report(name, facts)``; never called from two threads at once, nor after `close`.
    """

    def __init__(self, find: Callable[[], Iterable[Any]], report: Callable[[str, Any], None]) -> None:
        self._find, self._report = find, report
        self._lock = threading.Condition(threading.Lock())  # notified when there is an answer, and at the end
        self._closed = False
        self._waiting: list[tuple[float, Any]] = []  # time limit and probe, the last one is asked next
        self._asked: list[tuple[float, float, Any]] = []  # when its time is up, time limit, probe
        self._unanswered: list[str] | None = None  # None: they are still being looked for
        self._thread = LibraryThread(target=self._work, name="capture-probes")
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is going down, and will not wait for anybody's answer
            self._closed = True

    def close(self, wait_s: float) -> None:
        """Wait for what is still at work, at most `wait_s` seconds; what has no answer then is unavailable."""
        if self._thread.is_alive():
            self._thread.join(wait_s)
        with self._lock:
            closed, self._closed = self._closed, True
            unanswered = self._unanswered
            self._lock.notify_all()
        if closed:
            return
        if unanswered is None and self._thread.is_alive():
            logger().info("the run ended while probes were still being loaded: none is recorded")
        for name in unanswered or ():
            self._report_or_say_why(name, Unavailable("the run ended before there was an answer"))

    def _work(self) -> None:
        try:
            probes = _usable(self._find())
        except Exception:  # noqa: BLE001 - it is logged
            logger().exception("the probes cannot be started")
            return
        waiting = sorted(((_timeout_of(probe), probe) for probe in probes), key=lambda pair: -pair[0])
        with self._lock:
            if self._closed:
                return
            self._unanswered, self._waiting = [probe.name for probe in probes], waiting
        while self._waiting:
            thread = LibraryThread(target=self._ask_waiting, name="capture-probe")
            try:
                thread.start()
            except RuntimeError:  # there are as many threads as there may be: this one asks
                self._ask_waiting()
            else:
                thread.join(PATIENCE_S)
        for until, timeout_s, probe in sorted(self._asked, key=lambda asked: asked[0]):
            with self._lock:
                self._lock.wait_for(lambda: self._is_settled(probe.name), max(0.0, until - time.monotonic()))  # noqa: B023
            self._tell(probe.name, Unavailable(f"no answer within {timeout_s:g} s"), only_if_unanswered=True)

    def _ask_waiting(self) -> None:
        """Ask one probe after the other, until there is none that nobody has asked."""
        while True:
            with self._lock:
                if self._closed:
                    self._waiting.clear()
                if not self._waiting:
                    return
                timeout_s, probe = self._waiting.pop()
                self._asked.append((time.monotonic() + timeout_s, timeout_s, probe))
            self._tell(probe.name, _ask(probe))

    def _is_settled(self, name: str) -> bool:
        return self._closed or name not in (self._unanswered or ())

    def _tell(self, name: str, facts: Any, only_if_unanswered: bool = False) -> None:
        with self._lock:
            unanswered = self._unanswered or []
            if self._closed or (only_if_unanswered and name not in unanswered):
                return
            self._unanswered = [other for other in unanswered if other != name]
            self._report_or_say_why(name, facts)
            self._lock.notify_all()

    def _report_or_say_why(self, name: str, facts: Any) -> None:
        """Report facts; where they cannot be recorded (they may be anything that a plug-in returns), the reason."""
        try:
            self._report(name, facts)
        except Exception as error:  # noqa: BLE001 - it is logged
            logger().exception("facts of the probe %r cannot be recorded", name)
            if not isinstance(facts, Unavailable):
                reason = f"its answer cannot be recorded: {type(error).__name__}: {error}"
                self._report_or_say_why(name, Unavailable(reason))


class _Job:
    """One probe at work. `lock` decides whether its facts are in time or late, never both."""

    def __init__(self, probe: Any) -> None:
        self.probe, self.name = probe, probe.name
        self.timeout_s = _timeout_of(probe)
        self.lock, self.done = threading.Lock(), threading.Event()
        self.given_up = False
        self.facts: Any = None


def _timeout_of(probe: Any) -> float:
    """Return how long a probe may take; what is no such time (plug-ins are anybody's) counts as the usual one."""
    try:
        timeout_s = float(getattr(probe, "timeout_s", _DEFAULT_TIMEOUT_S))
    except (TypeError, ValueError):
        timeout_s = -1.0
    if timeout_s >= 0:  # which NaN is not
        return min(timeout_s, threading.TIMEOUT_MAX / 2)  # longer ones cannot be waited for, nor be added to the clock
    logger().warning(
        "the probe %r has timeout_s = %r, which is no number of seconds: it gets %g",
        probe,
        probe.timeout_s,
        _DEFAULT_TIMEOUT_S,
    )
    return _DEFAULT_TIMEOUT_S


def _usable(probes: Iterable[Any]) -> list[Any]:
    """Leave out, and log, probes that are called nothing or like one before them: they must not cost the others."""
    found: list[Any] = []
    for probe in probes:
        try:
            _check_names([*found, probe])
        except ValueError as error:
            logger().error("a probe is not asked: %s", error)
        else:
            found.append(probe)
    return found


def _ask(probe: Any) -> Any:
    try:
        return probe.gather()
    except BaseException as error:  # noqa: BLE001 - the thread is the probe's own: SystemExit, too, is its answer
        logger().info("the probe %r failed", probe.name, exc_info=True)
        return Unavailable(f"{type(error).__name__}: {error}")


def _check_names(probes: list[Any]) -> None:
    seen: dict[str, Any] = {}
    for probe in probes:
        name = getattr(probe, "name", "")
        if not isinstance(name, str) or not name:
            raise ValueError(f"{probe!r} has no name: a probe's `name` is the topic of its facts")
        if name in seen:
            raise ValueError(f"two probes are called {name!r}: {seen[name]!r} and {probe!r}; rename one of them")
        seen[name] = probe
