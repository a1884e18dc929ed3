"""Runs of a store, chosen, put in order, tabled and grouped; nothing is read before it is asked for."""

from __future__ import annotations

import os

from capture.errors import RunNotFoundError, suggest
from capture.filters import MISSING, Every, as_filter
from capture.query.columns import is_more_better, is_part, order, path_of, sort_keys, source_of, table_of
from capture.query.files import RunFiles
from capture.query.stored_run import closest
from capture.wording import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any, SupportsIndex, TypeAlias, overload

    from capture.filters import Filter
    from capture.query.client import Store
    from capture.query.differences import Comparison
    from capture.query.groups import Groups
    from capture.query.stored_run import StoredRun

    Condition: TypeAlias = Mapping[str, Any] | Filter | str | None
    Columns: TypeAlias = Sequence[str] | Mapping[str, str | Callable[["StoredRun"], Any]] | None


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
        from capture.query.grouping import is_number, no_numbers

        runs = self._all()
        path = path_of(metric, runs)
        values = table_of(runs, [path])[path]
        numbers = [place for place, value in enumerate(values) if is_number(value)]
        if not numbers:
            if not runs:
                raise self._none()
            known = dict.fromkeys(path for run in runs[:50] for path in run.paths() if is_number(run.get(path)))
            close = closest(metric, known)
            hint = f"\n  did you mean:  {visible(close)}" if close else ""
            raise RunNotFoundError(
                f"none of these {len(runs)} runs has a finite number at {metric!r}: {no_numbers(values)}.{hint}"
                f"\n  there are:     {', '.join(map(visible, list(known)[:30])) or 'none'}",
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
            Paths, or short names as in `sort`: ``lr``, ``loss``. A column is called as it is asked for; of one in which
            no run has anything a warning says what was probably meant. A mapping has a path, a short name or a function
            of a run for each heading: ``{"rate": "config.lr", "steps": lambda run: len(run.metrics["loss"])}``. By
            default those of `columns`.

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
                return table_of(runs) if columns is None else self._named(columns)
        paths = self._named([path for path in columns.values() if isinstance(path, str)])
        return {
            heading: paths[path] if isinstance(path, str) else [path(run) for run in runs]
            for heading, path in columns.items()
        }

    def _named(self, names: Sequence[str]) -> dict[str, list[Any]]:
        """Return the columns that paths and short names stand for, called as they are asked for."""
        runs = self._all()
        paths = {name: name if is_part(name) else path_of(name, runs) for name in names}
        table = table_of(runs, list(dict.fromkeys(paths.values())))
        named = {}
        for name, path in paths.items():
            named[name] = table[path]
            if not runs or any(value is not MISSING for value in table[path]):
                continue
            short = path_of(name, runs) if is_part(name) else path  # an entry may be called as a part of a run is
            named[name] = table_of(runs, [short])[short]
            if all(value is MISSING for value in named[name]):
                _warn_of_nowhere(name, runs)
        return named

    def to_dicts(self, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return a dict for each run: ``label`` and the columns in which it has a value, see `to_pandas`."""
        table = self._table(columns)
        return [
            {"label": run.label, **{name: each[place] for name, each in table.items() if each[place] is not MISSING}}
            for place, run in enumerate(self._all())
        ]

    def metrics_frame(self, name: str) -> Any:
        """Return one metric of all runs side by side as a `pandas.DataFrame`: a column for each label, by step.

        If no run has such a metric, the frame is empty, and a warning says what was probably meant.
        """
        from capture.query.frames import series_frame

        runs = self._all()
        having = [run for run in runs if name in run.metrics]
        if runs and not having:
            close = suggest(name, dict.fromkeys(each for run in runs[:50] for each in run.summary))
            hint = f"; did you mean {close}?" if close else ""
            _warn(f"none of these {len(runs)} runs has a metric called {name!r}{hint}")
        return series_frame((run.metrics[name] for run in having), [run.label for run in having])

    def group_by(self, *columns: str) -> Groups:
        """Take runs together that are equal in some columns: mean, spread and number of what came out.

        Parameters
        ----------
        columns : str
            Paths; if none are named, the experiment, the command, and the entries of the configuration, where they
            vary, but seeds.
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
    """Warn whoever called this library, however deep in it we are; what a record holds is made visible."""
    import sys
    import warnings

    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(own + os.sep):
        frame, level = frame.f_back, level + 1
    warnings.warn(visible(text), stacklevel=level)


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
            ordered = [ordered[place] for place in order(sort_keys(path, values), self.descending)]
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
