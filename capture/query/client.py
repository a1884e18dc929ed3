"""The client: ``capture.open_store(url)``, and the runs in it."""

from __future__ import annotations

import os

from capture.errors import CaptureError, RunNotFoundError, suggest
from capture.filters import MISSING, Every, as_filter, lookup
from capture.hooks import Reader
from capture.query.columns import flat, is_more_better, label_keys, order, path_of, source_of, table_of
from capture.query.files import RunFiles, fits, named, wrapped
from capture.records import FILES, RunRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any, SupportsIndex, TypeAlias, overload

    from capture.filters import Filter
    from capture.hooks import Curator
    from capture.query.differences import Comparison
    from capture.query.files import RunFile
    from capture.query.groups import Groups

    Condition: TypeAlias = Mapping[str, Any] | Filter | str | None
    Columns: TypeAlias = Sequence[str] | Mapping[str, str | Callable[["StoredRun"], Any]] | None


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
        hint = f"\n  did you mean:  {close}" if close else ""
        more = f", and {len(self.known) - 30} more" if len(self.known) > 30 else ""
        super().__init__(
            f"run {run} has nothing at {path!r}.{hint}\n  it has:        {', '.join(self.known[:30])}{more}",
            print_traceback=False,
        )

    def __reduce__(self) -> Any:
        return type(self), (self.path, self.run, self.known)


def closest(path: str, known: Iterable[str]) -> str | None:
    """Return the path that one is probably a slip of, or a part of."""
    listed = list(known)
    ends = {each.removesuffix(".last").rpartition(".")[2]: each for each in reversed(listed)}
    close = suggest(path, listed) or suggest(path, ends)
    return ends.get(close, close) if close is not None else None


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
        return value

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *vars(RunRecord())})

    # What is known.

    @property
    def summary(self) -> Mapping[str, dict[str, Any]]:
        return self.record.summary

    @property
    def state(self) -> str:
        """Its status; DIED if it says RUNNING and its process is known to be gone."""
        return "DIED" if self.status == "RUNNING" and self.store.is_alive(self.record) is False else self.status

    @property
    def duration(self) -> float | None:
        """Seconds from its start to its end, or to its last sign of life.

        Before the first heartbeat that is now for a run that goes on, and the newest measurement for one that died.
        """
        known, start = self.record.duration, self.start_time
        if known is not None or start is None or self.status != "RUNNING":
            return known
        from time import time

        began: float = start.timestamp()
        if self.store.is_alive(self.record):
            return max(time() - began, 0.0)
        times = [each["time"] / 1e6 for each in self.summary.values() if isinstance(each.get("time"), (int, float))]
        return max(max(times) - began, 0.0) if times else None

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
        return f"<StoredRun {self.label or self.uid[-8:]} of {self.experiment.get('name', '?')!r}: {state}>"

    def _repr_html_(self) -> str:
        from capture.query.reprs import run_html

        return run_html(self)


def _parts() -> frozenset[str]:
    """Return the words that the path of a value may begin with."""
    from capture.expressions import parts_of_a_run

    return frozenset((*parts_of_a_run(), "state", "dependencies", "environment", "lineage"))


def _run_again(store: Store, label: Any) -> StoredRun:
    return store.get(label)


class Store(Reader):
    """A store of runs, opened by `capture.open_store`.

    It can be used by several threads, and pickled: it is then opened again where it is unpickled.

    Attributes
    ----------
    url : str
        What the store is called, without credentials.
    reader : Reader
        What reads it.
    """

    def __init__(self, url: str, reader: Reader) -> None:
        import threading

        self.reader = reader
        self.url = reader.url or url
        self._location = url
        self._curator: Curator | None = None
        self._lock = threading.Lock()

    def get(self, run: Any) -> StoredRun:
        """Return one run.

        Parameters
        ----------
        run : str or int
            Label, uid, beginning or end of a uid, "latest", or a negative number: -1 is the newest.

        Raises
        ------
        RunNotFoundError
            If there is none, or several; it lists the labels.
        """
        return self.run_of(self.reader.get(run))

    def run_of(self, record: RunRecord) -> StoredRun:
        """Return the run of a record that the store's reader gave."""
        return StoredRun(record, self)

    def find(self, where: Condition = None, limit: int | None = None) -> Iterator[StoredRun]:
        """Yield the runs for which a condition holds, newest first, one by one; see `runs` for more."""
        for record in self.reader.find(condition(where, self), limit):
            yield self.run_of(record)

    def runs(self, where: Condition = None, *, labels: Iterable[Any] | None = None) -> Runs:
        """Return the runs for which a condition holds, newest first; nothing is read before it is asked for.

        Parameters
        ----------
        where : str, mapping or Filter, optional
            ``"config.lr < 0.1 and 'good' in tags"``, ``{"config.lr": 0.1}``, or a condition made by
            `capture.filters.field`.
        labels : iterable, optional
            These runs and no others, in this order; each is named as in `get`.
        """
        runs = Runs(self) if labels is None else Runs(self, picked=[self.get(label) for label in labels])
        return runs if where is None else runs.filter(where)

    def labels(self) -> list[Any]:
        """Return the labels of all runs, oldest first."""
        return self.reader.labels()

    @property
    def unreadable(self) -> dict[str, str]:
        """What is wrong with runs that were left out of answers since the store was opened, by their labels.

        A damaged record does not hide the others: `find` and `runs` go on without it, and the log says so.
        """
        return dict(getattr(self.reader, "unreadable", None) or {})

    def is_alive(self, record: RunRecord) -> bool | None:
        """Say whether the process that writes a RUNNING run lives; None where it cannot be told from here."""
        return self.reader.is_alive(record.record if isinstance(record, StoredRun) else record)

    @property
    def curator(self) -> Curator:
        """What changes the store: tags, notes, the bin."""
        with self._lock:
            if self._curator is None:
                from capture.registry import open_curator

                self._curator = open_curator(self._location)
            return self._curator

    def close(self) -> None:
        """Let go of connections."""
        self.reader.close()
        with self._lock:
            curator, self._curator = self._curator, None
        end = getattr(curator, "close", None)
        if end is not None:
            end()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        return open_store, (self._location,)

    def __repr__(self) -> str:
        return f"<Store {self.url}>"

    def _repr_html_(self) -> str:
        from capture.query.reprs import store_html

        return store_html(self)


class Runs:
    """Runs of a store, chosen and put in order; made by `Store.runs`.

    Each method returns another one, and nothing is read before somebody asks for a run, their number, or a table. What
    has been read then stays: ask the store again to see what happened since.

    Attributes
    ----------
    store : Store
    where : Filter or None
        What the store is asked for.
    """

    def __init__(
        self,
        store: Store,
        where: Condition = None,
        *,
        steps: Sequence[_Step] = (),
        picked: Sequence[StoredRun] | None = None,
    ) -> None:
        self.store, self.where = store, condition(where, store)
        self._steps = tuple(steps)
        self._is_picked = picked is not None
        self._read: list[StoredRun] | None = None if picked is None else list(picked)

    # Which, and in what order.

    def filter(self, where: Condition) -> Runs:
        """Return those of these runs for which a condition holds, see `Store.runs`."""
        wanted = condition(where, self.store)
        if wanted is None:
            return self
        if self._is_picked or self._steps:
            return self._with(_Holds(wanted))
        return Runs(self.store, wanted if self.where is None else Every([self.where, wanted]))

    def sort(self, by: str | Sequence[str], descending: bool = False) -> Runs:
        """Return these runs in the order of values at a path, or at several; runs without one come last."""
        return self._with(_Sorted([by] if isinstance(by, str) else list(by), descending))

    def limit(self, n: int) -> Runs:
        """Return the first `n` of these runs."""
        if n < 0:
            raise ValueError(f"a number of runs is 0 or more, got {n}")
        return self._with(_Limited(n))

    def _with(self, step: _Step) -> Runs:
        if self._is_picked:
            return Runs(self.store, picked=list(step(self._all())))
        return Runs(self.store, self.where, steps=(*self._steps, step))

    # One of them.

    def first(self) -> StoredRun:
        """Return the first of these runs: the newest, unless they were put in another order.

        Raises
        ------
        RunNotFoundError
            If there is none; ``if runs:`` asks whether there are any.
        """
        for run in self if self._read is not None else self.limit(1):
            return run
        raise self._none()

    @property
    def latest(self) -> StoredRun:
        """The newest of these runs; RunNotFoundError if there is none."""
        if not any(isinstance(step, _Sorted) for step in self._steps) and not self._is_picked:
            return self.first()
        newest = order([run.start_time or run.queue_time for run in self._all()], descending=True)
        if not newest:
            raise self._none()
        return self._all()[newest[0]]

    def best(self, metric: str = "result", smallest: bool | None = None) -> StoredRun:
        """Return the run with the largest or smallest number somewhere; of equal ones the first.

        Parameters
        ----------
        metric : str
            A path (``result``, ``result.accuracy``, ``metrics.loss.min``), or the name of a metric, which stands for
            its last value.
        smallest : bool, optional
            Whether the smallest number is the best. If it is not said, it is so for names in which a word says so
            (loss, error, mse, time, ...), and for others the largest is. The result goes the way of the metric whose
            last value it is in each of these runs.

        Raises
        ------
        RunNotFoundError
            If no run has a finite number there: what is missing or not a number never wins.
        """
        from capture.query.grouping import is_number

        runs = self._all()
        path = path_of(metric, runs)
        values = table_of(runs, [path])[path]
        numbers = [place for place, value in enumerate(values) if is_number(value)]
        if not numbers:
            if not runs:
                raise self._none()
            known = dict.fromkeys(path for run in runs[:50] for path in run.paths() if is_number(run.get(path)))
            close = closest(metric, known)
            hint = f"\n  did you mean:  {close}" if close else ""
            raise RunNotFoundError(
                f"none of these {len(runs)} runs has a number at {metric!r}.{hint}"
                f"\n  there are:     {', '.join(list(known)[:30]) or 'none'}",
                print_traceback=False,
            )
        if smallest is None:
            smallest = _is_less_better(path, [runs[place] for place in numbers])
        choose = min if smallest else max
        return runs[choose(numbers, key=lambda place: values[place])]

    def _none(self) -> RunNotFoundError:
        said = f" for which {self.where!r} holds" if self.where is not None else ""
        return RunNotFoundError(f"{self.store.url} has no run{said}", print_traceback=False)

    # As a sequence.

    def __iter__(self) -> Iterator[StoredRun]:
        if self._read is not None:
            return iter(self._read)
        return self._stream()

    def _stream(self) -> Iterator[StoredRun]:
        limit = self._steps[0].count if self._steps and isinstance(self._steps[0], _Limited) else None
        runs: Iterable[StoredRun] = self._or_warn(self.store.find(self.where, limit), limit)
        for step in self._steps:
            runs = step(runs)
        return iter(runs)

    def _or_warn(self, runs: Iterator[StoredRun], limit: int | None) -> Iterator[StoredRun]:
        """Yield runs; if there is none, and the condition asks for something that no run has, say so."""
        found = False
        for run in runs:
            found = True
            yield run
        if not found and self.where is not None and limit != 0:
            from capture.query.asking import LOOKED_AT, unknown_paths

            for odd in unknown_paths(self.where, self.store.reader.find(None, LOOKED_AT + 1)):
                _warn(f"no run of {self.store.url} fulfils the condition: {odd}")

    def _all(self) -> list[StoredRun]:
        if self._read is None:
            with _Uncollected():
                self._read = list(self._stream())
        return self._read

    def __len__(self) -> int:
        return len(self._all())

    def __bool__(self) -> bool:
        return len(self._read) > 0 if self._read is not None else any(True for _ in self.limit(1))

    if TYPE_CHECKING:  # `typing` takes longer to import than all of this module

        @overload
        def __getitem__(self, which: SupportsIndex) -> StoredRun: ...
        @overload
        def __getitem__(self, which: slice) -> Runs: ...
        def __getitem__(self, which: Any) -> Any: ...

    else:

        def __getitem__(self, which):
            """Return the run in a place, or, for a slice, runs."""
            if isinstance(which, slice):
                return Runs(self.store, picked=self._all()[which])
            if isinstance(which, str):
                raise TypeError(f"runs are counted from 0; that of a label is store.get({which!r})")
            return self._all()[which]

    # As tables.

    def columns(self) -> list[str]:
        """Return the columns that `to_pandas` has: paths, as in a condition."""
        return list(table_of(self._all()))

    def to_pandas(self, columns: Columns = None) -> Any:
        """Return a `pandas.DataFrame`, one row for each run, in their order; its index is the labels.

        Parameters
        ----------
        columns : sequence of str, or mapping, optional
            Paths. A mapping has a path or a function of a run for each heading:
            ``{"lr": "config.lr", "steps": lambda run: len(run.metrics["loss"])}``. By default those of `columns`.

        Returns
        -------
        pandas.DataFrame
            Numbers are numbers (NaN where a run has none; integers that a float would round stay Python's), times are
            datetime64 in UTC, text is what pandas takes for text, all else stays what it is, with None where a run has
            nothing.
        """
        from collections.abc import Mapping

        if isinstance(columns, Mapping):  # its functions may leave behind what has to be collected
            return self._frame(columns)
        with _Uncollected():
            return self._frame(columns)

    def _frame(self, columns: Columns) -> Any:
        from capture.query.frames import frame_of

        return frame_of(self._table(columns), [run.record.label for run in self._all()])

    def _table(self, columns: Columns) -> dict[str, list[Any]]:
        from collections.abc import Mapping

        runs = self._all()
        if isinstance(columns, str):
            raise TypeError(f"columns are a list of paths, got {columns!r}; one column is [{columns!r}]")
        if not isinstance(columns, Mapping):
            with _Uncollected():
                return table_of(runs, columns)
        paths = table_of(runs, [path for path in columns.values() if isinstance(path, str)])
        return {
            heading: paths[path] if isinstance(path, str) else [path(run) for run in runs]
            for heading, path in columns.items()
        }

    def to_dicts(self, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return a dict for each run: ``label`` and the columns in which it has a value, see `to_pandas`."""
        table = self._table(columns)
        return [
            {"label": run.label, **{name: each[place] for name, each in table.items() if each[place] is not MISSING}}
            for place, run in enumerate(self._all())
        ]

    def metrics_frame(self, name: str) -> Any:
        """Return one metric of all runs side by side as a `pandas.DataFrame`: a column for each label, by step."""
        from capture.query.frames import series_frame

        having = [run for run in self._all() if name in run.metrics]
        return series_frame((run.metrics[name] for run in having), [run.label for run in having])

    def group_by(self, *columns: str) -> Groups:
        """Take runs together that are equal in some columns: mean, spread and number of what came out.

        Parameters
        ----------
        columns : str
            Paths; if none are named, all entries of the configuration that vary, but seeds.
        """
        from capture.query.groups import Groups

        groups = Groups.of(self._all(), list(columns))
        for path in groups.by:
            if len(groups) and all(group.values[path] is MISSING for group in groups):
                _warn_of_nowhere(path, self._all())
        return groups

    def compare(self, every: bool = False) -> Comparison:
        """Say why these runs differ, see `capture.query.differences.compare`."""
        from capture.query.differences import compare

        return compare(self._all(), every)

    def files(self, pattern: str = "*", kind: str | None = "artifacts") -> RunFiles:
        """Return the files of all these runs whose name fits a pattern; artifacts, if no other kind is named."""
        return RunFiles(each for run in self._all() for each in run.files(pattern, kind))

    # What people may change.

    def tag(self, *tags: str) -> None:
        """Add tags to each run."""
        for run in self._all():
            run.tag(*tags)

    def untag(self, *tags: str) -> None:
        """Take tags away from each run."""
        for run in self._all():
            run.untag(*tags)

    def note(self, text: str) -> None:
        """Set the notes of each run."""
        for run in self._all():
            run.note(text)

    def bin(self) -> list[Any]:
        """Take all these runs out of sight; return their labels. ``store.curator.restore`` brings one back."""
        for run in self._all():
            run.bin()
        return [run.label for run in self._all()]

    # As text.

    def __reduce__(self) -> Any:
        if self._is_picked:
            return _picked_again, (self.store, [run.label for run in self._all()])
        return _runs_again, (self.store, self.where, self._steps)

    def __repr__(self) -> str:
        said = [f"where {self.where!r}"] if self.where is not None else []
        said += [repr(step) for step in self._steps]
        said.append("not read yet" if self._read is None else f"{len(self._read)} runs")
        return f"<Runs of {self.store.url}: {', '.join(said)}>"

    def __str__(self) -> str:
        from capture.query.reprs import ROWS, runs_table, text_table

        runs = self._all()
        if not runs:
            return f"no runs of {self.store.url}"
        more = f"\n... and {len(runs) - ROWS} more" if len(runs) > ROWS else ""
        return text_table(*runs_table(runs[:ROWS])) + more

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        from capture.query.reprs import runs_html

        return runs_html(self)


def _is_less_better(path: str, runs: Sequence[StoredRun]) -> bool:
    """Say whether the smallest number at a path is the best; of the result, by the metric that it is."""
    if path != "result":
        return is_more_better(path) is False
    metrics = table_of(runs, [f"metrics.{name}.last" for name in runs[0].summary])
    return is_more_better(source_of([run.result for run in runs], metrics) or "") is False


def _warn_of_nowhere(path: str, runs: Sequence[StoredRun]) -> None:
    """Warn that no run has anything at a path: it is probably a slip."""
    close = closest(path, dict.fromkeys(known for run in runs[:50] for known in run.paths()))
    _warn(f"none of these {len(runs)} runs has anything at {path!r}" + (f"; did you mean {close}?" if close else ""))


def _warn(text: str) -> None:
    """Warn whoever called this library, however deep in it we are."""
    import sys
    import warnings

    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(own + os.sep):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)


class _Uncollected:
    """Keeps the garbage collector from looking through records that are being made, by the thousand, again and again.

    None of them is garbage, and to find that out takes as long as all the rest.
    """

    def __enter__(self) -> None:
        import gc

        self._was_enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *error: object) -> None:
        import gc

        if self._was_enabled:
            gc.enable()


def _runs_again(store: Store, where: Filter | None, steps: Sequence[_Step]) -> Runs:
    return Runs(store, where, steps=steps)


def _picked_again(store: Store, labels: Sequence[Any]) -> Runs:
    return store.runs(labels=labels)


class _Step:
    """What is done with runs after the store has given them."""

    def __call__(self, runs: Iterable[StoredRun]) -> Iterable[StoredRun]:
        raise NotImplementedError


class _Holds(_Step):
    def __init__(self, where: Filter) -> None:
        self.where = where

    def __call__(self, runs: Iterable[StoredRun]) -> Iterable[StoredRun]:
        return (run for run in runs if self.where.matches(run))

    def __repr__(self) -> str:
        return f"where {self.where!r}"


class _Sorted(_Step):
    def __init__(self, by: list[str], descending: bool) -> None:
        self.by, self.descending = by, descending

    def __call__(self, runs: Iterable[StoredRun]) -> Iterable[StoredRun]:
        ordered = list(runs)
        for path in reversed(self.by):  # sorting is stable: the first path, which comes last, decides most
            path = path_of(path, ordered)
            values = table_of(ordered, [path])[path]
            if ordered and all(value is MISSING for value in values):
                _warn_of_nowhere(path, ordered)
            values = label_keys(values) if path == "label" else values
            ordered = [ordered[place] for place in order(values, self.descending)]
        return ordered

    def __repr__(self) -> str:
        return f"by {', '.join(self.by)}{' descending' if self.descending else ''}"


class _Limited(_Step):
    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self, runs: Iterable[StoredRun]) -> Iterable[StoredRun]:
        from itertools import islice

        return islice(runs, self.count)

    def __repr__(self) -> str:
        return f"the first {self.count}"


def condition(where: Condition, store: Store | None = None) -> Filter | None:
    """Return the filter that a condition stands for: text, exact values by path, or a filter itself.

    What the newest runs of the store have is named where the text is not understood.
    """
    if isinstance(where, str):
        from capture.query import asking

        def known() -> list[str]:
            return asking.known_paths(store.reader.find(None, asking.LOOKED_AT)) if store is not None else []

        return asking.condition(where, known=known)
    return as_filter(where)


def open_store(url: str | os.PathLike[str] | None = None) -> Store:
    """Open a store for reading.

    Journals that writers of this machine left behind for a local store are delivered first, so that a run whose process
    was killed is there with all it had recorded.

    Parameters
    ----------
    url : str or path, optional
        A folder, or a URL whose scheme is built in or declared by an installed package. By default the store that runs
        are recorded in: that of ``CAPTURE_STORE`` or the settings, else ``runs``.

    Raises
    ------
    ObserverError
        If no store has this scheme, or its store cannot be read.
    StoreNotFoundError
        If it is a folder that does not exist, or a place in a bucket or on a file server where nothing lies.
    """
    from capture.settings import SETTINGS
    from capture.stores import open_store as open_reader

    location = os.fspath(SETTINGS.STORE if url is None else url)
    return Store(location, open_reader(location))
