"""What is found out beside a run: what its start did not wait for, what is seen while it goes on, what its end tells.

::

    start ──► slow probes, each in a thread of its own ──► a `facts` event each, when it has an answer
          ──► lineage, imports, clocks                 ──► `facts` events with a heartbeat now and then, and at the end

Whatever fails here is logged and left out of the record, and the run goes on.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextvars import copy_context

from capture import events
from capture.calls import identity_of
from capture.complaints import logger
from capture.context import CONTEXT_RUN, current
from capture.errors import RunOverError
from capture.hooks import Unavailable
from capture.probes.gather import FunctionProbe, Reporting
from capture.probes.host import plain
from capture.probes.usage import Usage
from capture.settings import SETTINGS
from capture.unwatched import LibraryThread, unwatched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from capture.facts import Facts
    from capture.run import Run

GPUS_TIMEOUT_S = 30.0  #: a driver that has to wake up many GPUs takes its time
FIRST_INTERIM_S, LONGEST_INTERIM_S = 5.0, 300.0  #: how soon what was seen so far is recorded, and how rarely
GRACE_S = 1.0  #: for the end to be told when its time is up
HURRIED_LOOK_S = 0.05  #: between two looks whether the end is to wait no longer
COPY_GRACE_S = 0.5  #: of that, for small files to be copied


class Watching:
    """Watches one run from just before its main function until its end: `start`, `beat` now and then, `close`.

    Nothing happens before `start`, so that `close` can clear up wherever that was interrupted.

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
        self._all_told = False  # whether the thread that tells the end is done
        self._ended: float | None = None
        self._loaded_before = frozenset(sys.modules)
        self._telling = threading.Lock()  # held while it is recorded what was seen so far
        self._interim_every_s = FIRST_INTERIM_S
        self._next_interim = time.monotonic() + FIRST_INTERIM_S
        self._sources = list(facts.files)
        self._git_so_far: list[dict[str, Any]] = []  # filled while the probe is at work
        self._usage = Usage()
        self._folder = _working_folder()
        self._system: Any = None
        self._lineage: Any = None
        self._reporting: Reporting | None = None
        self._cache = os.path.join(run._recorder.state_dir, "cache")
        self._until = 0.0  # on the monotonic clock: when the end is to be told
        self._told: set[str] = set()  # topics that have facts
        self._imports_told = (0, 0)  # how many modules were loaded, and asked for, when it was told last

    def start(self) -> None:
        """Begin. What cannot be watched is logged, and the record says why."""
        self._tell_who_set_what()
        if SETTINGS.PROCESS.ENABLED:
            self._tell_process()  # now: main may change the environment and go to another folder
        if SETTINGS.LINEAGE.ENABLED:
            self._begin_lineage()
        if SETTINGS.SYSTEM_METRICS.INTERVAL_S:
            try:
                self._measure_system()
            except Exception:  # noqa: BLE001 - logged; there are just no such series
                _log().exception("the system metrics of the run are not recorded")
        self._reporting = Reporting(self._probes, self._report)

    def _begin_lineage(self) -> None:
        try:
            self._watch_files()
        except Exception as error:  # noqa: BLE001 - it is logged, and recorded as the reason
            lineage, self._lineage = self._lineage, None
            if lineage is not None:
                lineage.stop()
            self._report("lineage", _unavailable(error))

    def _watch_files(self) -> None:
        from capture.probes.lineage.lineage import Lineage

        run, settings = self._run, SETTINGS.LINEAGE
        own = [getattr(observer, "local_folder", None) or identity_of(observer) for observer in run.observers]
        self._lineage = Lineage(
            run,
            CONTEXT_RUN,
            self._facts.experiment.base_dir,
            [*(os.fspath(place) for place in own if place), run._recorder.state_dir],
            watch_folders=settings.WATCH_FOLDERS,
            adapters=settings.ADAPTERS,
            urls=settings.URLS,
            children=settings.CHILDREN,
            copy_inputs_bytes=settings.COPY_INPUTS_BYTES,
            copy_outputs_bytes=settings.COPY_OUTPUTS_BYTES,
            copy_total_bytes=settings.COPY_TOTAL_BYTES,
            hash_limit_bytes=settings.HASH_LIMIT_BYTES,
            hash_budget_bytes=settings.HASH_BUDGET_BYTES,
            end_wait_s=settings.END_WAIT_S,
            manifest_files=settings.MANIFEST_FILES,
            config_strings=[*strings_in(run.config), *sys.argv[1:]],
            keep=self._keep,
            state_dir=self._cache,
            git_roots=self._facts.repository_roots,
        )
        self._lineage.start()
        from capture.probes.lineage import writers

        writers.attach(note_logdir)

    def _measure_system(self) -> None:
        from capture.probes.system import SystemMetrics

        metrics = self._run._recorder.metrics
        system = SystemMetrics(
            lambda values: metrics.log_many(values, round(system.elapsed_s, 3)),
            SETTINGS.SYSTEM_METRICS.INTERVAL_S,
            gpus=SETTINGS.HOST_INFO.INCLUDE_GPU_INFO,
        )
        system.start()
        self._system = system

    def _tell_who_set_what(self) -> None:
        resolved = self._run.resolved
        if resolved is None or not resolved.values:
            return
        try:
            origins = {path: str(origin) for path, origin in resolved.origins.items()}
            self._report("config", {"origins": origins, "docs": dict(resolved.docs)})
        except Exception as error:  # noqa: BLE001 - of mappings that are somebody's own; logged, and recorded as the reason
            self._report("config", _unavailable(error))

    def _tell_process(self) -> None:
        from capture.probes.process import process_facts

        try:
            self._report("process", process_facts(SETTINGS.PROCESS.ENV))
        except Exception as error:  # noqa: BLE001 - it is logged, and recorded as the reason
            self._report("process", _unavailable(error))

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
                self._tell_what_was_seen(final=False)

    def close(
        self, ended: float, wait_s: float, digests_wait_s: float, hurried: Callable[[], bool] = lambda: False
    ) -> None:
        """Record what the end of the run tells.

        Parameters
        ----------
        ended : float
            `time.monotonic` when main was over.
        wait_s : float
            How long to wait for probes that have not answered, in seconds.
        digests_wait_s : float
            How long to wait for the digests of inputs and outputs, in seconds.
        hurried : callable, optional
            Says whether somebody has asked meanwhile not to wait for digests any more.
        """
        self._closing, self._ended, self._until = True, ended, time.monotonic() + digests_wait_s
        telling: LibraryThread | None = None
        try:
            telling = self._tell_the_end()
            if self._system is not None:
                self._system.stop()
            if self._reporting is not None:
                self._reporting.close(wait_s)
            if telling is not None:
                self._await(telling, hurried)
        except BaseException:  # a second Ctrl-C: what is known by now is told all the same
            self._hurry()
            if telling is not None:
                telling.join(GRACE_S)
            raise
        finally:
            if not self._all_told:
                self._give_up()
            if not self._over:
                self._refuse_more()
            if self._lineage is not None:
                self._lineage.stop()

    def _tell_the_end(self) -> LibraryThread | None:
        """Record what was seen; return the thread that does so, None if it is done.

        In a thread, since it looks at files, and the disk that they lie on may not answer any more.
        """
        telling = LibraryThread(target=copy_context().run, args=(self._tell_final,), name="capture-watching")
        try:
            telling.start()
        except RuntimeError:  # the interpreter is going down, and has no more threads to give
            self._tell_final()
            return None
        return telling

    def _await(self, telling: LibraryThread, hurried: Callable[[], bool]) -> None:
        """Wait for the thread that tells the end, until its time is up or somebody is tired of waiting."""
        while telling.is_alive() and (left_s := self._until - time.monotonic()) > 0:
            if hurried():
                self._hurry()
                break
            telling.join(min(HURRIED_LOOK_S, left_s))
        telling.join(GRACE_S)

    def _hurry(self) -> None:
        """Have the thread that tells the end wait for nothing more."""
        self._until = time.monotonic()
        if self._lineage is not None:
            self._lineage.hurry()

    def _tell_final(self) -> None:
        with self._telling:
            self._tell_what_was_seen(final=True)
        self._all_told = True

    def _give_up(self) -> None:
        """Say of what the end of the run did not wait for that it is not known, or no more than was told before."""
        _log().warning("the end of the run is not wholly recorded: there was no time left")
        if self._refuse_more():
            for name, wanted in self._wanted():
                if wanted and name not in self._told:
                    reason = "the end of the run waited no longer: a disk does not answer, or there is too much to tell"
                    self._emit(name, Unavailable(reason))

    def _refuse_more(self) -> bool:
        """Record nothing from now on; say whether no other thread is still at it, which may wait for a disk."""
        self._over = True
        idle = self._lock.acquire(timeout=GRACE_S)
        if idle:
            self._lock.release()
        return idle

    def _wanted(self) -> tuple[tuple[str, bool], ...]:
        """Return the topics that the end tells, and whether they are to be told."""
        return (("imports", SETTINGS.IMPORTS), ("lineage", self._lineage is not None), ("usage", True))

    # ------------------------------------------------------------------------------------------------ what is recorded

    def _report(self, topic: str, facts: Any) -> None:
        if topic == "git" and isinstance(facts, Unavailable) and self._git_so_far:
            # Making a bundle may take long; what is known besides is not lost for that.
            facts = [{**found, "incomplete": facts.reason} for found in self._git_so_far]
        with self._lock:
            if not self._over:
                self._told.add(topic)
                self._emit(topic, facts)

    def _emit(self, topic: str, facts: Any) -> None:
        self._run._recorder.emit(events.Facts(topic=topic, facts=plain(facts)))

    def _keep(self, name: str, data: bytes) -> dict[str, Any]:
        """Store something that this library made, among the sources; return what refers to it."""
        with self._lock:  # no bytes for a run that is over: its spool is gone
            if self._over:
                raise RunOverError(f"{name} came when the run was over")
            taken = self._run._recorder.take_bytes(data)
        return self._keep_taken(name, taken)

    def _keep_taken(self, name: str, taken: Any) -> dict[str, Any]:
        with self._lock:
            if self._over:
                raise RunOverError(f"{name} came when the run was over")
            self._run._recorder.emit(events.Source(path=name, digest=taken.digest, size=taken.size, md5=taken.md5))
        return {"source": name, "digest": taken.digest, "size": taken.size}

    # ------------------------------------------------------------------------------------------------ beside the run

    def _probes(self) -> list[Any]:
        """Return the probes that work while main does; called in a thread of its own."""
        from capture.probes import gpu

        facts, settings = self._facts, SETTINGS
        found: list[Any] = []
        if facts.late_repositories:
            found.append(FunctionProbe("repositories", facts.answered_late, timeout_s=settings.GIT.TIMEOUT_S))
        if facts.late_gpus:
            found.append(FunctionProbe("gpus", facts.gpus_answered_late, timeout_s=GPUS_TIMEOUT_S))
        if settings.GIT.ENABLED:
            found.append(FunctionProbe("git", self._git, timeout_s=2 * settings.GIT.TIMEOUT_S))
        elif self._lineage is not None:
            self._lineage.git_answered()
        if settings.ENVIRONMENT:
            found.append(FunctionProbe("environment", self._environment))
        if settings.HOST_INFO.MACHINE:
            found.append(FunctionProbe("machine", self._machine))
            if settings.HOST_INFO.INCLUDE_GPU_INFO and (gpu.driver_present() or gpu.amd_folders()):
                found.append(FunctionProbe("gpu", gpu.gpu_details, GPUS_TIMEOUT_S, timeout_s=GPUS_TIMEOUT_S))
        others = list(getattr(facts.experiment, "additional_probes", ()))
        if settings.PROBES.ENABLED:
            others += plugin_probes()
        return found + _distinct(others)

    def _git(self) -> list[dict[str, Any]]:
        """Look at the repositories of the sources, and of what is installed as a pointer to its folder."""
        try:
            return self._repositories(self._facts.repositories())
        finally:
            if self._lineage is not None:
                self._lineage.git_answered()

    def _repositories(self, found: dict[str, Any]) -> list[dict[str, Any]]:
        """Describe these repositories, and add those of what is installed as a pointer to its folder."""
        from capture.probes import git
        from capture.probes.imports import editable_roots

        distributions = {}
        for name, folder in editable_roots().items() if found or SETTINGS.IMPORTS else ():
            root = git.find_root(folder)
            if root is not None:
                distributions[root] = name
        found.update({root: git.repository_facts(root) for root in distributions if root not in found})
        return [self._repository(root, facts, distributions.get(root)) for root, facts in sorted(found.items())]

    def _repository(self, root: str, facts: Any, distribution: str | None) -> dict[str, Any]:
        from capture.probes.rebuild import repository_state

        if not isinstance(facts, dict):
            return {"root": root, **plain(facts)}
        settings, found = SETTINGS.GIT, dict(facts, root=root)
        self._git_so_far.append(found)
        return repository_state(
            root,
            facts,
            [path for path, _ in self._facts.files],
            self._keep,
            patch=settings.PATCH,
            untracked_bytes=settings.UNTRACKED_BYTES,
            bundle_bytes=settings.BUNDLE_BYTES,
            timeout_s=settings.TIMEOUT_S,
            distribution=distribution,
            cache=os.path.join(self._cache, "bundles"),
            found=found,
        )

    def _environment(self) -> dict[str, Any]:
        from capture.probes import environment

        facts = environment.lock(self._keep, self._facts.experiment.base_dir, self._cache)
        if self._lineage is not None:
            self._lineage.own_reads.update(entry["path"] for entry in facts["lock_files"])
        return facts

    def _machine(self) -> dict[str, Any]:
        from capture.probes import machine

        return machine.machine_facts(self._folder, self._cache)

    # ---------------------------------------------------------------------------------------------- while it goes on

    def _tell_what_was_seen(self, final: bool) -> None:
        """Record imports, lineage and usage as they are known now; each whether or not the others fail."""
        steps: list[tuple[str, Callable[[bool], None]]] = []
        if final:
            steps.append(("usage", self._tell_usage))  # first: the rest takes time and memory of its own
        if SETTINGS.IMPORTS and (final or self._imports_seen() != self._imports_told):
            steps.append(("imports", self._tell_imports))
        if self._lineage is not None and (final or self._lineage.interim_due()):
            steps.append(("lineage", self._tell_lineage))
        for name, step in steps:
            if self._over:
                return  # the end of the run did not wait for this thread
            try:
                with unwatched():
                    step(final)
            except Exception as error:  # noqa: BLE001 - it is logged, and recorded as the reason
                if name not in self._told:
                    self._report(name, _unavailable(error))
                elif not self._over:
                    _log().exception("%s of the run are not wholly recorded", name)

    def _imports_seen(self) -> tuple[int, int]:
        return len(sys.modules), len(self._lineage.imports) if self._lineage is not None else 0

    def _tell_imports(self, final: bool) -> None:
        from capture.probes.imports import imports_facts

        self._imports_told = self._imports_seen()
        facts, new = imports_facts(
            self._facts.base_dirs,
            self._loaded_before,
            self._lineage.imports if self._lineage is not None else (),
            SETTINGS.DISCOVER_SOURCES,
            SETTINGS.DISCOVER_DEPENDENCIES,
            self._sources,
            self._facts.added_dependencies,
        )
        for path, name in new:
            try:
                self._keep_taken(name, self._run._recorder.take_file(path))
            except OSError as error:
                self._run.run_logger.warning("The source file %s cannot be stored: %s", path, error)
            self._sources.append((path, name))
        self._report("imports", facts)

    def _tell_lineage(self, final: bool) -> None:
        self._lineage.known_sources.update(path for path, _ in self._sources)
        facts, copies = self._lineage.report(final, max(0.0, self._until - time.monotonic()) if final else 0.0)
        if not facts:
            return  # its beginning was interrupted
        described = {(kind, entry["path"]): entry for kind in ("inputs", "outputs") for entry in facts[kind]}
        by_user = self._run.artifact_names()
        for kind, path, name in copies:
            entry = described[f"{kind}s", path]
            if kind == "output" and entry["digest"] in by_user:
                entry["artifact"] = by_user[entry["digest"]]
                continue
            try:
                if time.monotonic() > self._until + COPY_GRACE_S:
                    raise NotCopiedError("there was no time left")
                entry["copied" if kind == "input" else "artifact"] = self._copy(kind, path, name, entry["digest"])
            except OSError as error:  # it went away, or may not be read
                entry["why"] = f"it could not be copied: {error.strerror or error}"
        self._report("lineage", facts)

    def _copy(self, kind: str, path: str, name: str, digest: str) -> Any:
        """Put a file into the store as a resource or an artifact.

        Returns
        -------
        True for an input, for an output the name of the artifact.

        Raises
        ------
        OSError
            If there is no copy of the bytes with this digest.
        """
        run = self._run
        taken = run._take(lambda: run._recorder.take_file(path), f"The {kind} {path}")
        if taken is None:
            raise NotCopiedError("the store did not take it")
        if taken.digest != digest:
            raise NotCopiedError("it has changed since it was hashed")
        with self._lock:
            if self._over:
                raise NotCopiedError("the run is over")
            if kind == "output":
                return run._emit_artifact(taken, path, name, {"output": path}, None)
            run._emit_resource(taken, path)
            return True

    def _tell_usage(self, final: bool) -> None:
        self._report("usage", self._usage.facts(self._ended))


class NotCopiedError(OSError):
    """Why a file that was to be copied into the store was not."""


def _working_folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # somebody removed it
        return None


def note_logdir(framework: str, path: str) -> None:
    """Note the folder of a TensorBoard writer in the info of the run that made it."""
    run = current()
    if run is not None:
        folders = run.info.setdefault("tensorboard", {}).setdefault("logdirs", [])
        if path not in folders:
            folders.append(path)


def strings_in(value: Any, most: int = 1000) -> list[str]:
    """Return the strings in a configuration, `most` of them at most.

    Examples
    --------
    >>> strings_in({"data": "train.csv", "lr": 0.1, "folds": ["a", {"b": "c"}]})
    ['train.csv', 'a', 'c']
    """
    found: list[str] = []
    waiting = [value]
    while waiting and len(found) < most:
        item = waiting.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, os.PathLike):
            found.append(str(item))
        elif isinstance(item, dict):
            waiting += reversed(list(item.values()))
        elif isinstance(item, (list, tuple)):
            waiting += reversed(item)
    return found


def _unavailable(error: Exception) -> Unavailable:
    """Log what should not have happened, and return what stands for the facts."""
    _log().exception("facts of a run could not be gathered")
    return Unavailable(f"{type(error).__name__}: {error}")


def plugin_probes() -> list[Any]:
    """Return the probes that installed packages declare as entry points of the group ``capture.probes``.

    An entry point is a `capture.hooks.Probe`, a class that makes one when it is called, or a function that returns
    facts; its name stands in for that of a probe that has none. One that cannot be loaded answers with the reason.
    """
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
    *("params", "parent", "config", "repositories", "gpus", "gpu"),
    *("imports", "environment", "git", "machine", "process", "usage", "lineage", "secrets"),
)


def _distinct(probes: list[Any]) -> list[Any]:
    """Leave out probes whose topic is taken, by this library or by a probe before them; say so in the log."""
    found: dict[Any, Any] = {}
    for probe in probes:
        name = getattr(probe, "name", "")  # one without a name is refused where they are asked
        if name in found or name in OWN_TOPICS:
            logger().warning("The probe %r is not asked: facts called %r are recorded by another", probe, name)
        else:
            found[name or object()] = probe
    return list(found.values())


def _log() -> Any:
    return logger()
