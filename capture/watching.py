"""What is found out beside a run: what its start did not wait for, what is seen while it goes on, what its end tells.

::

    start ──► slow probes, each in a thread of its own ──► a `facts` event each, when it has an answer
          ──► lineage, imports, clocks                 ──► `facts` events with a heartbeat now and then, and at the end

Whatever fails here is logged and left out of the record, and the run goes on.
"""

from __future__ import annotations

import sys
import threading
import time

from capture import events
from capture.probes.gather import FunctionProbe, Reporting
from capture.probes.host import plain
from capture.settings import SETTINGS
from capture.unwatched import LibraryThread, unwatched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from capture.facts import Facts
    from capture.run import Run

KEPT = ".capture/"  #: what this library makes and keeps with the sources of a run has a name that begins so
GPUS_TIMEOUT_S = 30.0  #: a driver that has to wake up many GPUs takes its time
FIRST_INTERIM_S, LONGEST_INTERIM_S = 5.0, 300.0  #: how soon what was seen so far is recorded, and how rarely


class Watching:
    """Watches one run from just before its main function until its end.

    Parameters
    ----------
    run : Run
        It has started, and somebody observes it.
    facts : Facts
        What was found out before.
    """

    def __init__(self, run: Run, facts: Facts) -> None:
        self._run, self._facts = run, facts
        self._lock = threading.RLock()  # what is recorded here is recorded before the run's ending
        self._closing = self._over = False
        self._loaded_before = frozenset(sys.modules)
        self._telling = threading.Lock()  # held while it is recorded what was seen so far
        self._interim_every_s = FIRST_INTERIM_S
        self._next_interim = time.monotonic() + FIRST_INTERIM_S
        self._reporting = Reporting(self._probes, self._report)

    def beat(self) -> None:
        """Record what was seen so far, once in a while: a run that is killed has told that much.

        To be called often; it returns at once.
        """
        now = time.monotonic()
        if now < self._next_interim or self._over:
            return
        self._next_interim = now + self._interim_every_s
        self._interim_every_s = min(self._interim_every_s * 2, LONGEST_INTERIM_S)
        try:
            LibraryThread(target=self._tell_interim, name="capture-watching").start()
        except RuntimeError:  # the interpreter is going down: the end of the run tells it all
            return

    def _tell_interim(self) -> None:
        with self._telling:
            if not self._closing:
                self._tell_what_was_seen(final=False, wait_s=0.0)

    def close(self, wait_s: float, digests_wait_s: float) -> None:
        """Record what the end of the run tells.

        Parameters
        ----------
        wait_s : float
            How long to wait for probes that have not answered, in seconds.
        digests_wait_s : float
            How long to wait for the digests of inputs and outputs, in seconds.
        """
        self._closing = True
        try:
            self._reporting.close(wait_s)
            with self._telling:
                self._tell_what_was_seen(final=True, wait_s=digests_wait_s)
        finally:
            with self._lock:
                self._over = True

    # ------------------------------------------------------------------------------------------------ what is recorded

    def _report(self, topic: str, facts: Any) -> None:
        with self._lock:
            if not self._over:
                self._run._recorder.emit(events.Facts(topic=topic, facts=plain(facts)))

    def _keep(self, name: str, data: bytes) -> dict[str, Any]:
        """Store something that this library made, among the sources; return what refers to it."""
        taken = self._run._recorder.take_bytes(data)
        return self._keep_taken(name, taken)

    def _keep_taken(self, name: str, taken: Any) -> dict[str, Any]:
        with self._lock:
            if self._over:
                raise RuntimeError(f"{name} came when the run was over")
            self._run._recorder.emit(
                events.Source(path=name, digest=taken.digest, size=taken.size, md5=taken.md5)
            )
        return {"source": name, "digest": taken.digest, "size": taken.size}

    # ------------------------------------------------------------------------------------------------ beside the run

    def _probes(self) -> list[Any]:
        """Return the probes that work while main does; called in a thread of its own."""
        facts = self._facts
        found: list[Any] = []
        if facts.late_repositories:
            found.append(FunctionProbe("repositories", facts.answered_late, timeout_s=SETTINGS.GIT.TIMEOUT_S))
        if facts.late_gpus:
            found.append(FunctionProbe("gpus", facts.gpus_answered_late, timeout_s=GPUS_TIMEOUT_S))
        others = list(getattr(facts.experiment, "additional_probes", ()))
        if SETTINGS.PROBES.ENABLED:
            others += plugin_probes()
        return found + _distinct(others)

    # ---------------------------------------------------------------------------------------------- while it goes on

    def _tell_what_was_seen(self, final: bool, wait_s: float) -> None:
        """Record imports, lineage and usage as they are known now; each whether or not the others fail."""
        steps: list[Callable[[bool, float], None]] = []
        for step in steps:
            try:
                with unwatched():
                    step(final, wait_s)
            except Exception:
                import logging

                logging.getLogger("capture").exception("what the run was seen to do is not wholly recorded")


def plugin_probes() -> list[Any]:
    """Return the probes that installed packages declare as entry points of the group ``capture.probes``.

    An entry point is a `capture.hooks.Probe`, a class that makes one when it is called, or a function that returns
    facts; its name stands in for that of a probe that has none. One that cannot be loaded answers with the reason.
    """
    from capture.hooks import Unavailable
    from capture.registry import PROBE_GROUP, declares, package_of, plugin_classes

    if not declares(PROBE_GROUP):
        return []
    found = []
    for name, entry in plugin_classes(PROBE_GROUP).items():
        try:
            probe = entry.load()
            probe = probe() if isinstance(probe, type) else probe
        except Exception as error:  # noqa: BLE001 - code of others; what it raised becomes the recorded reason
            reason = f"{entry.value!r} of the package {package_of(entry)!r} cannot be loaded: "
            found.append(FunctionProbe(name, Unavailable, f"{reason}{type(error).__name__}: {error}"))
            continue
        if not hasattr(probe, "gather"):
            probe = FunctionProbe(name, probe)
        elif not getattr(probe, "name", ""):
            probe.name = name
        found.append(probe)
    return found


#: facts that this library records under these names
OWN_TOPICS = (
    *("params", "parent", "repositories", "gpus"),
    *("imports", "environment", "git", "machine", "process", "usage", "lineage", "secrets"),
)


def _distinct(probes: list[Any]) -> list[Any]:
    """Leave out probes whose topic is taken, by this library or by a probe before them; say so in the log."""
    found: dict[str, Any] = {}
    for probe in probes:
        if probe.name in found or probe.name in OWN_TOPICS:
            import logging

            logging.getLogger("capture").warning(
                "The probe %r is not asked: facts called %r are recorded by another", probe, probe.name
            )
        else:
            found[probe.name] = probe
    return list(found.values())
