"""What is known of one run: `RunRecord`, and `fold`, which makes it from the run's events.

``fold(events)`` defines what "stored" means: a backend is right when its reader returns that record, file bytes
included. The bulky parts (series, output, file bytes) are read when asked for.
"""

from __future__ import annotations

import io

from capture.codec import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime
    from typing import Any, BinaryIO

    from capture.events import Event
    from capture.filters import Filter

#: sources whose name begins so are no code of the project: the library made them (a patch, a lock), or keeps them so
#: that the run can be rebuilt (an untracked file)
KEPT = ".capture/"

FILES = ("sources", "kept", "resources", "artifacts")  #: attributes of a record that list files

_NUMBERS = frozenset({float, int})
_SPECIAL = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


class Loss:
    """Something that a stored record has lost, as far as the rest of it tells.

    Attributes
    ----------
    kind : str
        "record", "output" or "metrics".
    name : str
        Of the file.
    text : str
        The same as a sentence.
    expected, found : int or None
        Bytes that had been written, and that are there; None where that is not known, or nothing is.
    remedy : str
        What to do.
    """

    __slots__ = ("expected", "found", "kind", "name", "remedy", "text")

    def __init__(
        self, kind: str, name: str, text: str, expected: int | None = None, found: int | None = None, remedy: str = ""
    ) -> None:
        self.kind, self.name, self.text = kind, name, text
        self.expected, self.found, self.remedy = expected, found, remedy

    def __repr__(self) -> str:
        return f"Loss({self.kind!r}, {self.name!r}, {self.text!r})"


class StoredFile:
    """A file of a run: a source, a resource or an artifact.

    Attributes
    ----------
    name : str
        Path relative to the base directory (sources), absolute path (resources), name in the run (artifacts).
    digest : str or None
        SHA-256 of the bytes, hexadecimal; None where an old record does not know it.
    size : int or None
        Bytes.
    metadata, content_type : object
        As given with an artifact.
    """

    __slots__ = ("_open", "content_type", "digest", "metadata", "name", "size")

    def __init__(
        self,
        name: str,
        digest: str | None = None,
        size: int | None = None,
        metadata: Any = None,
        content_type: str | None = None,
        open: Callable[[], BinaryIO] | None = None,
    ) -> None:
        # of a file that is only listed, stores keep "" and 0 for what its record did not know
        self.name, self.digest, self.size = name, digest or None, size if size or digest or open else None
        self.metadata, self.content_type = metadata, content_type
        self._open = open

    @property
    def is_only_listed(self) -> bool:
        """Whether the record itself says that its store has no bytes of this file; they may be gone in any case."""
        return self._open is None

    def open(self) -> BinaryIO:
        """Open the stored bytes for reading.

        Raises
        ------
        FileNotFoundError
            If the store has the file's name but not its bytes.
        """
        if self._open is None:
            raise FileNotFoundError(f"the store holds the name {self.name!r}, but not the bytes of this file")
        return self._open()

    def read(self) -> bytes:
        with self.open() as stream:
            return stream.read()

    def describe(self) -> tuple[Any, ...]:
        """Return what identifies the file, for comparison."""
        return (self.name, self.digest, self.size, self.metadata, self.content_type)

    def __repr__(self) -> str:
        return f"StoredFile({self.name!r}, digest={(self.digest or '')[:12]!r}, size={self.size})"


class Chunk:
    """Some consecutive points of a series, as a store has them; each column is made when it is asked for.

    The columns are "steps", "values" and "times", of which the last are microseconds since the epoch. What they hold
    does not change, also where the run goes on.
    """

    __slots__ = ()

    def __len__(self) -> int:
        raise NotImplementedError

    def listed(self, column: str) -> list[Any]:
        """Return a column as a list of numbers."""
        raise NotImplementedError

    def array(self, column: str) -> Any:
        """Return a column as `as_array` does."""
        return as_array(self.listed(column), column)


class Series:
    """One metric of a run.

    What a store holds is turned into lists when these are asked for. `array`, `step_array` and `time_array` are made
    without them where that is faster, and each time anew: changing one changes nothing else.

    Attributes
    ----------
    name : str
    steps : list of number, shape (n,)
    values : list of number, shape (n,)
    times : list of int, shape (n,)
        Microseconds since the epoch, UTC.
    """

    __slots__ = ("_arrays", "_chunks", "_lists", "name")

    def __init__(self, name: str, steps: Any = (), values: Any = (), times: Any = ()) -> None:
        self.name = name
        self._chunks: list[Chunk] | None = None  # in place of lists that nobody has asked for
        self._arrays: dict[str, Any] = {}
        self._lists: dict[str, list[Any]] = {"steps": list(steps), "values": list(values), "times": list(times)}

    @classmethod
    def of_chunks(cls, name: str, chunks: Iterable[Chunk]) -> Series:
        """Return a series of points as its store has them."""
        series = cls(name)
        series._chunks, series._lists = list(chunks), {}
        return series

    def __reduce__(self) -> Any:
        return Series, (self.name, self.steps, self.values, self.times)

    @property
    def steps(self) -> list[Any]:
        return self._listed("steps")

    @steps.setter
    def steps(self, steps: list[Any]) -> None:
        self._lists["steps"] = steps

    @property
    def values(self) -> list[Any]:
        return self._listed("values")

    @values.setter
    def values(self, values: list[Any]) -> None:
        self._lists["values"] = values

    @property
    def times(self) -> list[int]:
        return self._listed("times")

    @times.setter
    def times(self, times: list[int]) -> None:
        self._lists["times"] = times

    def _listed(self, column: str) -> list[Any]:
        if column not in self._lists:
            whole: list[Any] = []
            for chunk in self._chunks or ():
                whole += chunk.listed(column)
            self._lists[column] = whole
            if len(self._lists) == 3:
                self._chunks, self._arrays = None, {}
        return self._lists[column]

    @property
    def array(self) -> Any:
        """The values as a float64 `numpy.ndarray`, shape (n,); whole numbers too large for a float are infinite there.

        Raises
        ------
        ImportError
            If NumPy is not installed.
        """
        return self._array("values")

    @property
    def step_array(self) -> Any:
        """The steps as a `numpy.ndarray`, shape (n,): int64 where all are whole numbers that it has, else float64."""
        return self._array("steps")

    @property
    def time_array(self) -> Any:
        """The times as a `numpy.ndarray` of ``datetime64[us]``, UTC, shape (n,)."""
        return self._array("times").view("datetime64[us]")

    def _array(self, column: str) -> Any:
        if column in self._lists:  # which may have been changed since
            return as_array(self._lists[column], column)
        if column not in self._arrays:
            numpy = _numpy()
            parts = [chunk.array(column) for chunk in self._chunks or ()]
            whole = parts[0] if len(parts) == 1 else numpy.concatenate(parts) if parts else as_array([], column)
            self._arrays[column] = whole
        return self._arrays[column].copy()

    def to_pandas(self) -> Any:
        """Return the values by step as a `pandas.Series` of this name; ImportError if pandas is not installed."""
        pandas = import_pandas()
        return pandas.Series(self.array, index=pandas.Index(self.step_array, name="step"), name=self.name)

    def extend(self, column: Mapping[str, list[Any]], start: int) -> None:
        """Append the points of one column of a `Metrics` event."""
        self.steps += numbers(column["steps"])
        self.values += numbers(column["values"])
        self.times += [start + offset for offset in column["times"]]

    @property
    def timestamps(self) -> list[datetime]:
        """Aware UTC times of the points."""
        return [utc_from_microseconds(time) for time in self.times]

    def __len__(self) -> int:
        for column in self._lists.values():
            return len(column)
        return sum(map(len, self._chunks or ()))

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Yield (step, value)."""
        return zip(self.steps, self.values)

    def __repr__(self) -> str:
        last = f", last {self.values[-1]!r} at step {self.steps[-1]!r}" if self.values else ""
        return f"Series({self.name!r}, {len(self)} points{last})"


def as_array(column: list[Any], name: str) -> Any:
    """Return a column of a series as an array.

    Parameters
    ----------
    column : list of number, shape (n,)
    name : {"steps", "values", "times"}

    Returns
    -------
    numpy.ndarray, shape (n,)
        Values: float64. Steps and times: int64 if all are whole numbers of 64 bits, else float64. A whole number beyond
        the range of floats is infinite there.
    """
    numpy = _numpy()
    if name != "values" and set(map(type, column)) <= {int}:
        try:
            return numpy.array(column, dtype=numpy.int64)
        except OverflowError:
            pass
    try:
        return numpy.array(column, dtype=numpy.float64)
    except OverflowError:
        return numpy.array([_nearest(number) for number in column], dtype=numpy.float64)


def _nearest(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _numpy() -> Any:
    try:
        import numpy
    except ImportError as error:
        raise ImportError(
            "a series as an array needs NumPy, which is not installed\n  to go on: pip install numpy, or take the lists"
            " steps, values and times",
            name="numpy",
        ) from error
    return numpy


def import_pandas() -> Any:
    """Return the module; an ImportError says how to install it."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            f"this needs pandas, which cannot be imported: {error}\n  to install it:  pip install pandas", name="pandas"
        ) from error
    return pandas


def numbers(stored: list[Any]) -> list[Any]:
    """Return the numbers of a stored column: "nan", "inf" and "-inf" stand for themselves, a tag for a long integer.

    Examples
    --------
    >>> numbers([1, "inf", {"capture/int": "18446744073709551616"}])
    [1, inf, 18446744073709551616]
    """
    if _NUMBERS.issuperset(map(type, stored)):
        return stored
    return [_SPECIAL[value] if type(value) is str else decode(value) for value in stored]


def summarize(column: Mapping[str, list[Any]], start: int, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what is asked of a series most: what `before` said, with the points of one more column.

    Parameters
    ----------
    column : mapping
        ``steps``, ``values`` and ``times`` of a `Metrics` event, or of a `Series`.
    start : int
        What the times are counted from, in microseconds since the epoch.
    before : mapping, optional
        An earlier answer of this function.

    Returns
    -------
    dict
        ``count``; ``last``, ``step`` and ``time`` (microseconds since the epoch) of the newest point; ``min`` and
        ``max``, which leave out what is not a number, None if nothing is.

    Examples
    --------
    >>> one = summarize({"steps": [0, 1], "values": [2.5, "nan"], "times": [0, 7]}, 100)
    >>> summarize({"steps": [2], "values": [0.5], "times": [9]}, 100, one)
    {'count': 3, 'last': 0.5, 'step': 2, 'time': 109, 'min': 0.5, 'max': 2.5}
    """
    steps, values, times = column["steps"], numbers(column["values"]), column["times"]
    if not values:
        return dict(before or _NOTHING)
    newest, latest = len(times) - 1, max(times)
    if times[newest] < latest:
        newest -= times[::-1].index(latest)
    low, high, total = min(values), max(values), _total(values)
    if total != total:  # something is not a number, which minimum and maximum may have met or missed
        finite = [value for value in values if value == value]
        low, high = (min(finite), max(finite)) if finite else (None, None)
    new = {
        "count": len(values),
        "last": values[newest],
        "step": numbers(steps[newest : newest + 1])[0],
        "time": start + times[newest],
        "min": low,
        "max": high,
    }
    if before is None or not before["count"]:
        return new
    new["count"] += before["count"]
    if before["time"] > new["time"]:
        new.update((name, before[name]) for name in ("last", "step", "time"))
    for name, better in (("min", min), ("max", max)):
        if before[name] is not None:
            new[name] = before[name] if new[name] is None else better(before[name], new[name])
    return new


_NOTHING = {"count": 0, "last": None, "step": None, "time": None, "min": None, "max": None}


def _total(values: list[Any]) -> Any:
    """Return a sum that tells whether something is not a number."""
    try:
        return sum(values)
    except OverflowError:  # an integer beyond the range of floats, among these
        return float("nan")


def utc_from_microseconds(time: int) -> datetime:
    """Return the aware UTC datetime that lies `time` microseconds after the epoch, exactly."""
    from capture.moments import datetime, timedelta, timezone

    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=time)


class LazyMapping(dict):
    """A dict whose values are made when they are first read; its keys are known at once.

    To all else it is a plain dict: what copies, compares, merges, prints or pickles it reads the values first, and a
    copy is plain.
    """

    def __init__(self, names: Iterable[str], load: Callable[[str], Any]) -> None:
        super().__init__(dict.fromkeys(names, self))  # `self` marks "not loaded yet"
        self._load = load

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if value is self:
            value = self._load(name)
            super().__setitem__(name, value)
        return value

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys: that this is defined keeps ``dict(lazy)`` and ``f(**lazy)`` from taking the marks."""
        return super().__iter__()

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401 - dict.get would give the mark

    def values(self) -> Any:
        return [self[name] for name in self]

    def items(self) -> Any:
        return [(name, self[name]) for name in self]

    def setdefault(self, name: str, default: Any = None) -> Any:
        if name not in self:
            self[name] = default
        return self[name]

    def pop(self, name: str, *default: Any) -> Any:
        if name in self:
            self[name]  # which makes the value
        return super().pop(name, *default)

    def popitem(self) -> tuple[str, Any]:
        for name in reversed(self):
            return name, self.pop(name)
        raise KeyError("popitem(): the mapping is empty")

    def copy(self) -> dict[str, Any]:
        return dict(self)

    def __eq__(self, other: object) -> bool:
        return bool(dict(self) == (dict(other) if isinstance(other, LazyMapping) else other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # as of any dict

    def __or__(self, other: Any) -> Any:
        return dict(self) | other

    def __ror__(self, other: Any) -> Any:
        return other | dict(self)

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return dict, (dict(self),)  # what loads the values stays behind


class RunRecord:
    """One run, as its events or a store tell it.

    Attributes
    ----------
    uid : str
        Identifies the run in every store; "" in records that Sacred made.
    label : object
        The id that the store it was read from gave it.
    status : str
        One of `capture.filters.STATES`, or an experiment's own.
    command : str
    experiment : dict
        ``name, base_dir, dependencies, repositories, mainfile, sources``; the dependencies are those at the end of the
        run where these are known.
    host, meta, config : dict
    info : dict
        What the run put into ``_run.info``.
    result : object
    fail_trace : list of str or None
    queue_time, start_time, stop_time, heartbeat : datetime or None
        Aware, UTC.
    resumed : list of datetime
    facts : dict
        Late facts by topic; what ``log_params`` recorded is ``facts["params"]``.
    tags : list of str
    notes : str
    sources, resources, artifacts : list of StoredFile
    kept : list of StoredFile
        What the library keeps beside the sources so that the run can be rebuilt: patches, the environment's lock, files
        that are in no commit. Facts refer to them by name.
    metrics : mapping of str to Series
    writers : dict
        Writer name to the ``host`` part of its `Opened` event: who to ask whether the run is alive.
    extra : list of dict
        Events that this version of the library does not know.
    """

    def __init__(self, uid: str = "", label: Any = None) -> None:
        self.uid = uid
        self.label = label
        self.status = "RUNNING"
        self.command = ""
        self.experiment: dict[str, Any] = {}
        self.host: dict[str, Any] = {}
        self.meta: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        self.info: dict[str, Any] = {}
        self.result: Any = None
        self.fail_trace: list[str] | None = None
        self.queue_time: datetime | None = None
        self.start_time: datetime | None = None
        self.stop_time: datetime | None = None
        self.heartbeat: datetime | None = None
        self.resumed: list[datetime] = []
        self.facts: dict[str, Any] = {}
        self.tags: list[str] = []
        self.notes = ""
        self.sources: list[StoredFile] = []
        self.kept: list[StoredFile] = []
        self.resources: list[StoredFile] = []
        self.artifacts: list[StoredFile] = []
        self.metrics: Mapping[str, Series] = {}
        self.writers: dict[str, dict[str, Any]] = {}
        self.extra: list[dict[str, Any]] = []
        self.read_output: Callable[[], str] = str

    @property
    def output(self) -> str:
        """What the run printed."""
        return self.read_output()

    @property
    def params(self) -> dict[str, Any]:
        """What the run recorded with ``log_params``."""
        return self.facts.get("params") or {}

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return str(_dict(self.experiment).get("name") or "")

    @property
    def git(self) -> Mapping[str, Any]:
        """``commit``, ``dirty``, ``url`` and ``branch`` of the main repository; empty where there is none."""
        repositories = _dict(self.experiment).get("repositories")
        if not isinstance(repositories, list) or not repositories or not isinstance(repositories[0], dict):
            return {}
        main = repositories[0]
        return LazyMapping(
            ("commit", "dirty", "url", "branch"),
            lambda key: main.get(key) if key in main or key != "branch" else self._git_branch(main),
        )

    def _git_branch(self, main: Mapping[str, Any]) -> Any:
        """Return what late facts say of a repository, which its short description lacks."""
        late = _dict(self.facts).get("git")
        told = [each for each in late if isinstance(each, dict)] if isinstance(late, list) else []
        same = [each for each in told if each.get("commit") == main.get("commit")]
        return same[0].get("branch") if same else None

    @property
    def user(self) -> str | None:
        """Name of the user whose process it was."""
        name = _dict(_dict(_dict(self.facts).get("process")).get("user")).get("name")
        return name if isinstance(name, str) else None

    @property
    def duration(self) -> float | None:
        """Seconds from its start to its end; to now if its process lives on this machine; else to its `newest_sign`."""
        return duration_of(self, is_alive=self._is_alive_here)

    def _is_alive_here(self) -> bool:
        from capture.liveness import is_alive

        return any(is_alive(host) is True for host in self.writers.values())

    @property
    def packages(self) -> dict[str, str]:
        """Version of each package that was imported, by name."""
        listed = _dict(self.experiment).get("dependencies")
        entries = listed if isinstance(listed, list) else []
        return dict(each.split("==", 1) for each in entries if isinstance(each, str) and "==" in each)

    @property
    def summary(self) -> Mapping[str, dict[str, Any]]:
        """What `summarize` says of each metric."""
        return {
            name: summarize({"steps": series.steps, "values": series.values, "times": series.times}, 0)
            for name, series in self.metrics.items()
        }

    @property
    def losses(self) -> list[Loss]:
        """What the stored record has lost, as far as the rest of it tells without a look at every file."""
        return []

    def artifact(self, name: str) -> StoredFile:
        """Return the artifact called `name`; a KeyError lists those there are."""
        for stored in self.artifacts:
            if stored.name == name:
                return stored
        known = ", ".join(stored.name for stored in self.artifacts) or "none"
        raise KeyError(f"run {self.label or self.uid} has no artifact {name!r}; it has: {known}")

    def kept_file(self, name: str) -> StoredFile:
        """Return what is kept under a name that facts refer to; KeyError if there is none."""
        for stored in self.kept:
            if stored.name == name:
                return stored
        raise KeyError(f"run {self.label or self.uid} keeps nothing called {name!r}")

    def put_source(self, stored: StoredFile) -> None:
        """Add a source, or what is kept beside them, in place of an earlier one of that name."""
        _replace(self.kept if stored.name.startswith(KEPT) else self.sources, stored)

    def matches(self, where: Mapping[str, Any] | Filter) -> bool:
        """Say whether the record has exactly these values, by dotted path, or fulfils a filter of `capture.filters`.

        Examples
        --------
        >>> record = RunRecord()
        >>> record.config = {"optimizer": {"lr": 0.1}}
        >>> record.matches({"config.optimizer.lr": 0.1}), record.matches({"config.epochs": 3})
        (True, False)
        """
        from capture.filters import as_filter

        wanted = as_filter(where)
        return wanted is None or wanted.matches(self)

    def to_dict(self, streams: bool = True) -> dict[str, Any]:
        """Return the record as plain data.

        Parameters
        ----------
        streams : bool
            Whether series, output and the SHA-256 of each file's stored bytes are read and included.
        """
        plain = {
            name: value
            for name, value in vars(self).items()
            if name not in (*FILES, "metrics", "read_output", "label")
        }
        for kind in FILES:
            plain[kind] = [stored.describe() for stored in getattr(self, kind)]
        if streams:
            plain["metrics"] = {
                name: (series.steps, series.values, series.times) for name, series in self.metrics.items()
            }
            plain["output"] = self.output
            plain["bytes"] = {
                f"{kind}/{stored.name}": _digest_of(stored)
                for kind in FILES
                for stored in getattr(self, kind)
            }
        return plain

    def __repr__(self) -> str:
        name = self.experiment.get("name", "?")
        return f"<RunRecord {self.label or self.uid[-8:]} of {name!r}: {self.status}>"


def duration_of(record: RunRecord, is_alive: Callable[[], bool]) -> float | None:
    """Return how many seconds a run took: what lists show, what conditions compare, what pages and notebooks say.

    Parameters
    ----------
    record : RunRecord
    is_alive : callable
        Says whether a process that writes it lives; asked only of a run that is recorded as RUNNING.

    Returns
    -------
    float or None
        To its end; to now for one that lives; else to its last heartbeat or measurement, whichever is newer. None if
        there is neither, or its times are none.
    """
    start, end = record.start_time, record.stop_time
    try:
        if start is None:
            return None
        if end is None and record.status == "RUNNING" and is_alive():
            from time import time

            return max(time() - start.timestamp(), 0.0)
        if end is None:
            sign = newest_sign(record)
            if sign is None:
                return None
            end, start = sign[1], aware_utc(start)
            return max((end - start).total_seconds(), 0.0)
        return (end - start).total_seconds()
    except (TypeError, AttributeError, ValueError):  # other people's data: one of them is no time, or names no zone
        return None


def newest_sign(record: RunRecord) -> tuple[str, datetime] | None:
    """Return the newest sign of life after the start that a record has, "heartbeat" or "measurement", with its time."""
    from capture.errors import CaptureError

    try:
        known = record.summary
    except CaptureError:  # damaged: who shows the metrics says so
        known = {}
    times = [each.get("time") for each in known.values()]
    measured = max((int(time) for time in times if isinstance(time, (int, float)) and time == time), default=None)
    signs = [] if record.heartbeat is None else [("heartbeat", aware_utc(record.heartbeat))]
    if measured is not None:
        signs.append(("measurement", utc_from_microseconds(measured)))
    return max(signs, key=lambda sign: sign[1], default=None)


def aware_utc(moment: datetime) -> datetime:
    from capture.moments import timezone

    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _dict(value: Any) -> dict[str, Any]:
    """Return what stands in a record where a dict belongs; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def _digest_of(stored: StoredFile) -> str | None:
    import hashlib

    try:
        stream = stored.open()
    except FileNotFoundError:
        return None
    digest = hashlib.sha256()
    with stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


class Fold:
    """The running fold: apply events one by one, read `record` at any time.

    Parameters
    ----------
    open_blob : callable, optional
        ``open_blob(digest) -> binary file``: where the bytes of files are.
    """

    def __init__(self, open_blob: Callable[[str], BinaryIO] | None = None, streams: bool = True) -> None:
        self.record = RunRecord()
        self._open_blob = open_blob
        self._streams = streams
        self._output = bytearray()
        self._series: dict[str, Series] = {}
        self.record.metrics = self._series
        self.record.read_output = lambda: self._output.decode("utf-8")

    def apply(self, event: Event) -> None:
        """Apply one event."""
        handler = getattr(self, f"_on_{event.name}", None) if event.name else None
        if handler is None:
            self.record.extra.append(event.to_json())
        else:
            handler(event)

    def _on_opened(self, event: Any) -> None:
        self.record.uid = event.uid
        self.record.writers[event.writer] = event.host

    def _describe(self, event: Any) -> None:
        record = self.record
        record.command, record.config, record.meta = event.command, event.config, event.meta_info
        record.experiment, record.host = event.ex_info, event.host_info

    def _on_queued(self, event: Any) -> None:
        self._describe(event)
        self.record.status, self.record.queue_time = "QUEUED", event.queue_time

    def _on_started(self, event: Any) -> None:
        self._describe(event)
        self.record.status, self.record.start_time = "RUNNING", event.start_time

    def _on_resumed(self, event: Any) -> None:
        record = self.record
        record.status, record.stop_time, record.fail_trace = "RUNNING", None, None
        record.resumed.append(event.resume_time)

    def _on_facts(self, event: Any) -> None:
        self.record.facts[event.topic] = event.facts
        self.record.experiment = {**self.record.experiment, **experiment_facts(event.topic, event.facts)}

    def _on_output(self, event: Any) -> None:
        if self._streams:
            del self._output[event.offset :]
            self._output += event.text.encode("utf-8")

    def _on_metrics(self, event: Any) -> None:
        if self._streams:
            for name, column in event.columns.items():
                self._series.setdefault(name, Series(name)).extend(column, event.start)

    def _on_heartbeat(self, event: Any) -> None:
        record = self.record
        record.heartbeat = event.beat_time
        if event.info is not None:
            record.info = event.info[0]
        if event.result is not None:
            record.result = event.result[0]

    def _stored(self, event: Any, name: str, metadata: Any = None, content_type: Any = None) -> StoredFile:
        opener = None
        if self._open_blob is not None:
            open_blob, digest = self._open_blob, event.digest

            def opener() -> BinaryIO:
                return open_blob(digest)

        return StoredFile(name, event.digest, event.size, metadata, content_type, opener)

    def _on_source(self, event: Any) -> None:
        self.record.put_source(self._stored(event, event.path))

    def _on_resource(self, event: Any) -> None:
        self._put_resource(self._stored(event, event.filename))

    def _put_resource(self, new: StoredFile) -> None:
        files = self.record.resources
        for index, old in enumerate(files):
            if (old.name, old.digest) == (new.name, new.digest):
                files[index] = new if old.is_only_listed else old
                return
        files.append(new)

    def _on_artifact(self, event: Any) -> None:
        stored = self._stored(event, event.artifact_name, event.metadata, event.content_type)
        _replace(self.record.artifacts, stored)

    def _on_listed(self, event: Any) -> None:
        stored = StoredFile(event.filename, event.digest, event.size, event.metadata, event.content_type)
        if event.kind == "source":
            self.record.put_source(stored)
        elif event.kind == "resource":
            self._put_resource(stored)
        else:
            _replace(self.record.artifacts, stored)

    def _on_completed(self, event: Any) -> None:
        record = self.record
        record.status, record.stop_time, record.result = "COMPLETED", event.stop_time, event.result

    def _on_interrupted(self, event: Any) -> None:
        self.record.status, self.record.stop_time = event.status, event.interrupt_time

    def _on_failed(self, event: Any) -> None:
        record = self.record
        record.status, record.stop_time, record.fail_trace = "FAILED", event.fail_time, event.fail_trace

    def _on_annotated(self, event: Any) -> None:
        if event.tags is not None:
            self.record.tags = list(event.tags)
        if event.notes is not None:
            self.record.notes = event.notes


def experiment_facts(topic: str, facts: Any) -> dict[str, Any]:
    """Return what late facts say anew of the experiment: its start knew only the imports at the top of its files.

    Examples
    --------
    >>> experiment_facts("imports", {"dependencies": ["numpy==2.1.0"], "modules": 41})
    {'dependencies': ['numpy==2.1.0']}
    >>> experiment_facts("usage", {"wall_s": 12.5})
    {}
    """
    dependencies = facts.get("dependencies") if topic == "imports" and isinstance(facts, dict) else None
    return {"dependencies": dependencies} if isinstance(dependencies, list) else {}


def _replace(files: list[StoredFile], new: StoredFile) -> None:
    for index, old in enumerate(files):
        if old.name == new.name:
            files[index] = new
            return
    files.append(new)


def fold(events: Iterable[Event], open_blob: Callable[[str], BinaryIO] | None = None) -> RunRecord:
    """Make the record of a run from its events.

    Parameters
    ----------
    events : iterable of Event
        In the order of their `seq`; those of further writers follow those of the first.
    open_blob : callable, optional
        ``open_blob(digest) -> binary file``.

    Examples
    --------
    >>> from capture.events import Output
    >>> fold([Output(text="loss 1\\n", offset=0), Output(text="0\\n", offset=5)]).output
    'loss 0\\n'
    """
    folding = Fold(open_blob)
    for event in events:
        folding.apply(event)
    return folding.record


def bytes_opener(data: bytes) -> Callable[[], BinaryIO]:
    """Return an opener for bytes that are already in memory."""
    return lambda: io.BytesIO(data)
