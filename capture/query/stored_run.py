"""One run in a store, as the client returns it: a record that can also be asked by path, changed, and looked at."""

from __future__ import annotations

from collections.abc import Mapping

from capture.errors import CaptureError, suggest
from capture.filters import MISSING, lookup
from capture.query.columns import flat
from capture.query.files import RunFiles, fits, named, wrapped
from capture.records import FILES, RunRecord, Series, duration_of
from capture.wording import first_few, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from capture.query.client import Store
    from capture.query.differences import Comparison
    from capture.query.files import RunFile
    from capture.records import Loss


class NoSuchValueError(CaptureError, KeyError):
    """A run has nothing at this path.

    Attributes
    ----------
    path : str
    known : tuple of str
        Paths at which it has something.
    """

    def __init__(self, path: str, run: object, known: Iterable[str] = ()) -> None:
        self.path, self.run, self.known = path, run, tuple(known)
        close = closest(path, self.known)
        hint = f"\n  did you mean:  {visible(close)}" if close else ""
        listed = first_few([visible(each) for each in self.known], 30) or "nothing"
        super().__init__(
            f"run {visible(str(run))} has nothing at {path!r}.{hint}\n  it has:        {listed}", print_traceback=False
        )

    def __reduce__(self) -> Any:
        return type(self), (self.path, self.run, self.known)


def closest(path: str, known: Iterable[str]) -> str | None:
    """Return the path that one is probably a slip of, or a part of."""
    listed = list(known)
    ends = {each.removesuffix(".last").rpartition(".")[2]: each for each in reversed(listed)}
    close = suggest(path, listed) or suggest(path, ends)
    return ends.get(close, close) if close is not None else None


class RunMetrics(Mapping[str, Series]):
    """The metrics of a run by name; one that it has not is a `NoSuchValueError`, which says what there is."""

    def __init__(self, series: Mapping[str, Series], run: object) -> None:
        self._series, self._run = series, run

    def __getitem__(self, name: str) -> Series:
        try:
            return self._series[name]
        except KeyError:
            if name in self:  # it broke within
                raise
            raise NoSuchValueError(f"metrics.{name}", self._run, [f"metrics.{each}" for each in self]) from None

    def __contains__(self, name: object) -> bool:
        return name in self._series

    def __iter__(self) -> Iterator[str]:
        return iter(self._series)

    def __len__(self) -> int:
        return len(self._series)

    def __reduce__(self) -> Any:
        return type(self), (dict(self._series), self._run)  # the points themselves: a connection stays where it is

    def __repr__(self) -> str:
        return repr(self._series)


class StoredRun(RunRecord):
    """A run in a store: its record, whose parts are read when they are asked for, and what can be done with it.

    It has all that `capture.records.RunRecord` has: ``config``, ``result``, ``status``, ``metrics``, ``output``, ...
    A value is also found by its path, as in a condition: ``run["config.optimizer.lr"]``, ``run["metrics.loss.min"]``.

    Attributes
    ----------
    record : RunRecord
        As the store's reader returned it.
    store : Store
    sources, resources, artifacts, kept : RunFiles
        Lists of `capture.query.files.RunFile`, which also find by name: ``run.artifacts["model.pt"]``.
    """

    sources: RunFiles  # type: ignore[assignment]
    resources: RunFiles  # type: ignore[assignment]
    artifacts: RunFiles  # type: ignore[assignment]
    kept: RunFiles  # type: ignore[assignment]

    def __init__(self, record: RunRecord, store: Store) -> None:
        self.record, self.store = record, store

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("record", "store"):
            raise AttributeError(f"a run has no attribute {name!r}")
        try:
            value = getattr(self.record, name)
        except AttributeError:
            if name in dir(self):  # it broke within
                raise
            raise AttributeError(f"a run has no attribute {name!r}", name=name, obj=self) from None
        if name in FILES:
            value = self.__dict__[name] = wrapped(value, name, self.label)
        return RunMetrics(value, self.label) if name == "metrics" else value

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *vars(RunRecord())})

    # What is known.

    @property
    def summary(self) -> Mapping[str, dict[str, Any]]:
        return self.record.summary

    @property
    def losses(self) -> list[Loss]:
        """What the stored record has lost, each with its `text`: a file that is away, or was cut off.

        That costs little to know, and is told by what is left of the record; `capture verify` computes every digest.
        """
        return self.record.losses

    @property
    def state(self) -> str:
        """Its status; DIED if it says RUNNING and its process is known to be gone."""
        return "DIED" if self.status == "RUNNING" and self.store.is_alive(self.record) is False else self.status

    @property
    def duration(self) -> float | None:
        """Seconds from its start to its end; to now for one that goes on here; else to its last sign of life.

        That is the last heartbeat, or the newest measurement; None if there is neither.
        """
        return duration_of(self.record, is_alive=lambda: self.store.is_alive(self.record) is True)

    @property
    def dependencies(self) -> list[str]:
        """What was imported, as pip names it: ``numpy==2.1.0``."""
        return [each for each in self.experiment.get("dependencies") or [] if isinstance(each, str)]

    @property
    def environment(self) -> dict[str, Any] | None:
        """All that was installed, see `capture.probes.environment.lock`; None in records that do not have it."""
        from capture.probes.environment import NAME, read

        lock = next((each for each in self.kept if each.name == NAME), None)
        return read(lock.read()) if lock is not None else None

    @property
    def lineage(self) -> dict[str, Any]:
        """Files that the run read and wrote.

        ``inputs``, ``outputs``, ``intermediates`` and ``urls`` are lists of dict (``path``, ``name``, ``size``,
        ``digest``, ...), ``coverage`` is a dict: ``complete``, and in ``text`` what was watched, and what could not be
        seen. All of it is as `facts` has it; in records without lineage the lists are empty, and ``coverage`` says so.
        """
        told = self.facts.get("lineage")
        none = {"complete": False, "text": "this record does not tell which files the run used"}
        lists: dict[str, Any] = {name: [] for name in ("inputs", "outputs", "intermediates", "urls")}
        return {**lists, "coverage": none, **(told if isinstance(told, dict) else {})}

    @property
    def parent(self) -> StoredRun | None:
        """The run within which this one was made, or None.

        Raises
        ------
        RunNotFoundError
            If there was one, and it is not in this store.
        """
        told = self.facts.get("parent")
        uid = told.get("uid") if isinstance(told, dict) else None
        return self.store.get(uid) if uid else None

    def __getitem__(self, path: str) -> Any:
        value = self.get(path, MISSING)
        if value is MISSING:
            raise NoSuchValueError(path, self.label, self.paths())
        return value

    def get(self, path: str, default: Any = None) -> Any:
        """Return the value at a dotted path (``config.lr``, ``metrics.loss.last``), or `default`."""
        if path.partition(".")[0] not in _parts():
            return default
        value = lookup(self, path)
        return default if value is MISSING else value

    def paths(self) -> list[str]:
        """Return the paths at which this run has values: of config, metrics, result and what identifies it."""
        config = flat(self.config, "config") if self.config else {}
        result = flat(self.result, "result") if self.result is not None else {}
        metrics = [f"metrics.{name}.{part}" for name in self.summary for part in ("last", "min", "max")]
        return ["label", "name", "status", "start_time", "duration", *config, *result, *metrics]

    def metrics_frame(self, *names: str) -> Any:
        """Return metrics side by side as a `pandas.DataFrame`, one row for each step that one of them has.

        Parameters
        ----------
        names : str
            Patterns such as ``val_*``; all metrics if none are given. Where a metric has several points at a step, the
            last one counts.

        Raises
        ------
        KeyError
            If no metric fits a name.
        """
        from capture.query.frames import series_frame

        return series_frame(self.metrics[name] for name in self._metric_names(names))

    def _metric_names(self, patterns: Sequence[str]) -> list[str]:
        from fnmatch import fnmatchcase

        known = list(self.metrics)
        for pattern in patterns:
            if not any(name == pattern or fnmatchcase(name, pattern) for name in known):
                raise NoSuchValueError(f"metrics.{pattern}", self.label, [f"metrics.{name}" for name in known])
        return [
            name for name in known if not patterns or any(name == each or fnmatchcase(name, each) for each in patterns)
        ]

    # Files.

    def artifact(self, name: str) -> RunFile:
        """Return the artifact called `name`; a KeyError lists those there are."""
        found: RunFile = named(self.artifacts, name)
        return found

    def files(self, pattern: str = "*", kind: str | None = None) -> RunFiles:
        """Return files whose name, or whose name without folders, fits a pattern such as ``*.png``.

        Parameters
        ----------
        pattern : str
        kind : {"artifacts", "resources", "sources", "kept"}, optional
            Only files of this kind; otherwise those of the first three, which are the user's.
        """
        if kind is not None and kind not in FILES:
            raise ValueError(f"files are of the kinds {', '.join(FILES)}, got {kind!r}")
        kinds = ("artifacts", "resources", "sources") if kind is None else (kind,)
        return RunFiles(each for which in kinds for each in getattr(self, which) if fits(each.name, pattern))

    # What people may change.

    def annotate(self, tags: list[str] | None = None, notes: str | None = None) -> None:
        """Set tags or notes; None leaves the old ones."""
        self.store.curator.annotate(self.label, tags, notes)
        self.refresh()

    def tag(self, *tags: str) -> None:
        """Add tags; those that the run has already are not added again."""
        from capture.query.keeping import change_tags

        change_tags(self, add=tags)

    def untag(self, *tags: str) -> None:
        """Take tags away."""
        from capture.query.keeping import change_tags

        change_tags(self, remove=tags)

    def note(self, text: str) -> None:
        """Set the notes, in place of what was there."""
        self.annotate(notes=text)

    def bin(self) -> None:
        """Take the run out of sight; `restore` brings it back. ``store.curator.purge`` deletes what is in the bin."""
        self.store.curator.bin(self.label)

    def restore(self) -> None:
        """Bring the run back from the bin."""
        self.store.curator.restore(self.label)

    def refresh(self) -> None:
        """Read the record again: what was read before is what it said then."""
        self.record = self.store.reader.get(self.label)
        for name in FILES:
            self.__dict__.pop(name, None)

    # The whole of it.

    def diff(self, *others: RunRecord, every: bool = False) -> Comparison:
        """Say why this run and others differ, see `capture.query.differences.compare`."""
        from capture.query.differences import compare

        return compare([self, *others], every)

    def to_dict(self, streams: bool = True) -> dict[str, Any]:
        return self.record.to_dict(streams)

    def __reduce__(self) -> Any:
        return _run_again, (self.store, self.label)

    def __repr__(self) -> str:
        state = self.state if self.state == self.status else f"{self.state}, recorded as {self.status}"
        label = self.label if self.label is not None else self.uid[-8:]
        return visible(f"<StoredRun {label} of {self.experiment.get('name', '?')!r}: {state}>")

    def _repr_html_(self) -> str:
        from capture.query.reprs import run_html

        return run_html(self)


def _parts() -> frozenset[str]:
    """Return the words that the path of a value may begin with."""
    from capture.expressions import parts_of_a_run

    return frozenset((*parts_of_a_run(), "state", "dependencies", "environment", "lineage"))


def _run_again(store: Store, label: Any) -> StoredRun:
    return store.get(label)
