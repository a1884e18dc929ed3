"""The measurements of a run: ``metrics.jsonl``, which grows while the run goes on, and Sacred's ``metrics.json``.

``metrics.jsonl`` holds one `capture.events.Metrics` event per line, as the run's journal has it; lines of a further
writer begin with ``"w": "its name"``. ``metrics.json`` is Sacred's ``{name: {"steps", "timestamps", "values"}}``, made
from it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from capture import plainjson
from capture.codec import decode, decoded_name, encode
from capture.observers import _atomic, _numerals
from capture.observers._pieces import read_copied
from capture.records import Chunk, Series, as_array, numbers, summarize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime
    from typing import Any, BinaryIO

LINES = "metrics.jsonl"
JSON = "metrics.json"
_LONG = 16 << 10  #: bytes of a line from which on its numbers may be left as text
_HELD = 8 << 20  #: characters of metrics.json that are held in memory before they go to a temporary file

_COLUMNS = ("steps", "timestamps", "values")  # in the order of sorted keys
_LINE = ",\n      "  # between two entries, indented as `json.dumps(..., indent=2)` does
_entries = plainjson.encoder((_LINE, ": "), allow_nan=False)


def mark_writer(line: bytes, writer: str) -> bytes:
    """Return the line that is stored for a batch of `writer`."""
    if writer == "main":
        return line + b"\n"
    return b'{"w":' + plainjson.dumps(writer).encode() + b"," + line[1:] + b"\n"


def read_place(line: bytes) -> tuple[str, int] | None:
    """Return writer and seq of a stored line, or None if it is torn."""
    if not line.endswith(b"\n"):
        return None
    try:
        data = plainjson.loads(line)
        return data.get("w", "main"), data["s"]
    except (ValueError, KeyError, AttributeError):
        return None


def mend_lines(path: str, known_end: int, seqs: Mapping[str, int]) -> tuple[set[tuple[str, int]], int]:
    """Cut off a line of a ``metrics.jsonl`` that a crash tore, and see which batches it holds beyond what is known.

    Parameters
    ----------
    path : str
    known_end : int
        Bytes of which the record knows by `seqs`.
    seqs : mapping of str to int
        By writer: the last event that the record knows of.

    Returns
    -------
    set of (str, int)
        Writer and seq of the batches that were written before their seq was.
    int
        Where the file ends.
    """
    found: set[tuple[str, int]] = set()
    try:
        stream = open(path, "rb+")  # noqa: SIM115 - closed below, a missing file is no error
    except FileNotFoundError:
        return found, 0
    with stream:
        end = min(known_end, os.fstat(stream.fileno()).st_size)
        stream.seek(end)
        for line in stream:
            if not line.endswith(b"\n"):
                stream.truncate(end)
                break
            end += len(line)
            place = read_place(line)
            if place is not None and place[1] > seqs.get(place[0], 0):
                found.add(place)
    return found, end


def read_batches(path: str) -> Iterator[dict[str, Any]]:
    """Yield the batches of a ``metrics.jsonl``; a torn last line is none, a damaged line is reported."""
    try:
        stream = open(path, "rb")  # noqa: SIM115 - closed below, a missing file is no error
    except FileNotFoundError:
        return
    with stream:
        yield from batches_in(stream, path)


def batches_in(lines: Iterable[bytes], name: str, as_text: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the batches in the lines of a ``metrics.jsonl`` that messages call `name`.

    With `as_text` the numbers of a long line are left as bytes, for `series_of`.
    """
    for number, line in enumerate(lines, 1):
        try:
            data = read_batch(line) if as_text else plainjson.loads(line)
            data["columns"], data["start"]
        except (ValueError, KeyError, TypeError):
            if line.endswith(b"\n"):
                import logging

                logging.getLogger("capture.observers").warning("%s, line %d is damaged: passed over", name, number)
            continue
        yield data


def read_batch(line: bytes) -> dict[str, Any]:
    """Return one batch; in a long line, each list of numbers is left as the bytes between its brackets.

    Raises
    ------
    ValueError
        If it is no JSON.
    """
    if len(line) < _LONG:
        return plainjson.loads(line)
    texts: list[bytes] = []
    rest: list[bytes] = []
    at = 0
    # Within a string a quote has a backslash before it: so these three bytes are the end of a key and what it names.
    while (before := line.find(b'":[', at)) >= 0:
        end = line.find(b"]", before)
        if end < 0 or line[before - 1 : before] == b"\\" or b"[" in line[before + 3 : end]:
            return plainjson.loads(line)  # it was found in a string, or something else stands in there
        rest += (line[at : before + 2], b"%d" % len(texts))
        texts.append(line[before + 3 : end])
        at = end + 1
    data = plainjson.loads(b"".join((*rest, line[at:])))
    for column in data["columns"].values():
        for part, place in column.items():
            if isinstance(place, list):  # it was written with spaces, and not found
                return plainjson.loads(line)
            column[part] = texts[place]
    return data


def write_metrics_json(run_dir: str, limit: int | None = None) -> bool:
    """Write Sacred's ``metrics.json`` of a run from its ``metrics.jsonl``, without holding the points in memory.

    Parameters
    ----------
    run_dir : str
        The run's folder.
    limit : int, optional
        Points above which nothing is written.

    Returns
    -------
    bool
        Whether the file was written: not if the run has no points, or more than `limit`.

    Notes
    -----
    NaN and infinity become null, which strict JSON asks for; the record keeps them.
    """
    lines = os.path.join(run_dir, LINES)
    if limit is not None and _size(lines) > 100 * limit:  # a point is some twenty bytes: not worth counting
        return False
    target = os.path.join(run_dir, JSON)
    shared = _atomic.is_shared(run_dir)
    spill = _Spill(_atomic.temporary(run_dir))
    try:
        points = 0
        for batch in read_batches(lines):
            points += _add_batch(spill, batch)
            if limit is not None and points > limit:
                return False
        if not points:
            return False
        new = _atomic.temporary(run_dir)
        descriptor = _atomic.create(new, shared)
        try:
            with open(descriptor, "wb") as stream:
                _write_columns(stream, spill)
            os.replace(new, target)
        except BaseException:
            _atomic.remove(new)
            raise
    finally:
        spill.close()
    return True


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _add_batch(spill: _Spill, batch: dict[str, Any]) -> int:
    start, points = batch["start"], 0
    for key, column in batch["columns"].items():
        name, values = decoded_name(key), column["values"]
        if not values:
            continue
        if any(type(value) is str for value in values):
            values = [None if type(value) is str else value for value in values]
        spill.add((name, "steps"), _entries(column["steps"])[1:-1])
        spill.add((name, "values"), _entries(values)[1:-1])
        spill.add((name, "timestamps"), _timestamps(start, column["times"]))
        points += len(values)
    return points


def _timestamps(start: int, times: list[int]) -> str:
    """Return naive UTC ISO strings, as `datetime.isoformat` writes them, as entries of a JSON list."""
    from time import gmtime, strftime

    entries, second, prefix = [], -1, ""
    for time in times:
        whole, micro = divmod(start + time, 1_000_000)
        if whole != second:
            second, prefix = whole, strftime('"%Y-%m-%dT%H:%M:%S', gmtime(whole))
        entries.append(f'{prefix}.{micro:06d}"' if micro else prefix + '"')
    return _LINE.join(entries)


def _write_columns(stream: BinaryIO, spill: _Spill) -> None:
    """Write the whole document, key by key in sorted order, copying each column's pieces from the spill."""
    first = True
    for name in sorted(spill.names()):
        stream.write(b"{\n  " if first else b",\n  ")
        first = False
        stream.write(plainjson.dumps(name).encode() + b": {")
        for column in _COLUMNS:
            stream.write(b"" if column == "steps" else b",")
            stream.write(f'\n    "{column}": [\n      '.encode())
            for index, piece in enumerate(spill.pieces((name, column))):
                stream.write(_LINE.encode() if index else b"")
                stream.write(piece)
            stream.write(b"\n    ]")
        stream.write(b"\n  }")
    stream.write(b"\n}")


class _Spill:
    """Texts that grow under many keys at once: in memory while they are small, else in a temporary file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stream: BinaryIO | None = None
        self._held: dict[Any, list[str]] = {}
        self._size = 0
        self._places: dict[Any, list[tuple[int, int]]] = {}

    def names(self) -> set[str]:
        return {name for name, _ in [*self._held, *self._places]}

    def add(self, key: Any, text: str) -> None:
        self._held.setdefault(key, []).append(text)
        self._size += len(text)
        if self._size > _HELD:
            self._spill()

    def _spill(self) -> None:
        if self._stream is None:
            self._stream = open(self._path, "xb+")  # noqa: SIM115 - closed by `close`
        for key, texts in self._held.items():
            data = _LINE.join(texts).encode()
            self._places.setdefault(key, []).append((self._stream.tell(), len(data)))
            self._stream.write(data)
        self._held, self._size = {}, 0

    def pieces(self, key: Any) -> Iterator[bytes]:
        for offset, size in self._places.get(key, ()):
            assert self._stream is not None
            self._stream.seek(offset)
            yield self._stream.read(size)
        if key in self._held:
            yield _LINE.join(self._held[key]).encode()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            _atomic.remove(self._path)


class LazySeries(Mapping[str, Series]):
    """The series of a run by name, read when they are first asked for.

    Parameters
    ----------
    read : callable
        ``read() -> dict of Series``.
    """

    def __init__(self, read: Callable[[], dict[str, Series]]) -> None:
        self._load = read
        self._read: dict[str, Series] | None = None

    def __reduce__(self) -> Any:
        return dict, (self._series(),)

    def _series(self) -> dict[str, Series]:
        if self._read is None:
            self._read = self._load()
        return self._read

    def __getitem__(self, name: str) -> Series:
        return self._series()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._series())

    def __len__(self) -> int:
        return len(self._series())

    def __repr__(self) -> str:
        return repr(self._series())


class StoredSeries(LazySeries):
    """The series of a run whose files lie in a folder."""

    def __init__(self, run_dir: str) -> None:
        super().__init__(lambda: read_series(run_dir))


def read_series(run_dir: str) -> dict[str, Series]:
    """Read all series of a run: from ``metrics.jsonl``, or from the ``metrics.json`` that Sacred wrote."""
    path = os.path.join(run_dir, LINES)
    copied = read_copied(run_dir, LINES)
    if copied is not None:
        return series_of(batches_in(copied.splitlines(keepends=True), path, as_text=True))
    try:
        with open(path, "rb") as stream:
            return series_of(batches_in(stream, path, as_text=True))
    except FileNotFoundError:
        pass
    path = os.path.join(run_dir, JSON)
    try:
        with open(path, "rb") as stream:
            return sacreds_series(stream.read(), path)
    except FileNotFoundError:
        return {}


class _Parsed(Chunk):
    """Points that were read as numbers already."""

    __slots__ = ("_columns",)

    def __init__(self) -> None:
        self._columns: dict[str, list[Any]] = {"steps": [], "values": [], "times": []}

    def extend(self, column: Mapping[str, list[Any]], start: int) -> None:
        self._columns["steps"] += numbers(column["steps"])
        self._columns["values"] += numbers(column["values"])
        self._columns["times"] += [start + offset for offset in column["times"]]

    def __len__(self) -> int:
        return len(self._columns["values"])

    def listed(self, column: str) -> list[Any]:
        return self._columns[column]


class _Text(Chunk):
    """Points whose numbers are still as they were written."""

    __slots__ = ("_start", "_texts")

    def __init__(self, texts: Mapping[str, bytes], start: int) -> None:
        self._texts, self._start = texts, start

    def __len__(self) -> int:
        times = self._texts["times"]
        return times.count(b",") + 1 if times else 0

    def listed(self, column: str) -> list[Any]:
        found = numbers(_numerals.listed(self._texts[column]))
        return [self._start + offset for offset in found] if column == "times" else found

    def array(self, column: str) -> Any:
        text = self._texts[column]
        found = None if column == "values" else _numerals.integers(text)
        if found is None and column != "times":
            found = _numerals.floats(text)
        if found is None:
            return as_array(self.listed(column), column)
        return found + self._start if column == "times" else found


class SeriesBuilder:
    """Gathers the points of batches by metric."""

    def __init__(self) -> None:
        self.chunks: dict[str, list[Chunk]] = {}

    def add(self, batch: Mapping[str, Any]) -> None:
        """Take the points of a batch as `read_batch` returns it."""
        for key, column in batch["columns"].items():
            chunks = self.chunks.setdefault(decoded_name(key), [])
            if type(column["values"]) is bytes:
                chunks.append(_Text(column, batch["start"]))
                continue
            if not chunks or type(chunks[-1]) is not _Parsed:
                chunks.append(_Parsed())
            chunks[-1].extend(column, batch["start"])  # type: ignore[attr-defined]

    def series(self) -> dict[str, Series]:
        """Return the series."""
        return {name: Series.of_chunks(name, chunks) for name, chunks in self.chunks.items()}


def series_of(batches: Iterable[dict[str, Any]]) -> dict[str, Series]:
    """Return the series that batches make: the main writer's points first, then those of the others, by name."""
    by_writer: dict[str, SeriesBuilder] = {}
    for batch in batches:
        writer = batch.get("w", "main")
        if writer not in by_writer:
            by_writer[writer] = SeriesBuilder()
        by_writer[writer].add(batch)
    whole = SeriesBuilder()
    for writer in sorted(by_writer, key=lambda writer: (writer != "main", writer)):
        for name, chunks in by_writer[writer].chunks.items():
            whole.chunks.setdefault(name, []).extend(chunks)
    return whole.series()


def summary_so_far(path: str, end: int, before: dict[str, dict[str, Any]]) -> tuple[dict[str, dict[str, Any]], int]:
    """Return what `capture.records.summarize` says of each metric in a ``metrics.jsonl``, and how far that was read.

    Parameters
    ----------
    path : str
    end, before : int, dict
        An earlier answer: only what came since is read. ``0, {}`` if there is none.
    """
    summary = dict(before)
    with open(path, "rb") as stream:
        if os.fstat(stream.fileno()).st_size < end:  # something was taken back
            summary, end = {}, 0
        stream.seek(end)

        def whole_lines() -> Iterator[bytes]:
            nonlocal end
            for line in stream:
                if not line.endswith(b"\n"):  # it is being written
                    return
                end += len(line)
                yield line

        for batch in batches_in(whole_lines(), path):
            for key, column in batch["columns"].items():
                name = decoded_name(key)
                summary[name] = summarize(column, batch["start"], summary.get(name))
    return summary, end


def sacreds_series(text: bytes, path: str) -> dict[str, Series]:
    """Return the series in the text of a ``metrics.json`` that messages call `path`."""
    from capture.errors import RecordError

    try:
        data = plainjson.loads(text)
    except ValueError as error:
        raise RecordError(
            f"{path} is not readable as JSON: {error}\n  to go on without it: delete it or move it away"
        ) from error
    return {
        name: Series(name, decode(column["steps"]), _numbers(column["values"]), _read_times(column["timestamps"]))
        for name, column in data.items()
    }


def _numbers(values: list[Any]) -> list[Any]:
    return [float("nan") if value is None else decode(value) for value in values]


def _read_times(texts: list[str]) -> list[int]:
    from capture.moments import datetime

    return _microseconds([datetime.fromisoformat(text) for text in texts])


def _microseconds(moments: list[datetime]) -> list[int]:
    """Return microseconds since the epoch, exactly; a time without an offset is UTC."""
    from capture.moments import datetime, timedelta, timezone

    epoch, unit = datetime(1970, 1, 1, tzinfo=timezone.utc), timedelta(microseconds=1)
    return [((each if each.tzinfo else each.replace(tzinfo=timezone.utc)) - epoch) // unit for each in moments]


def batch_line(metrics_by_name: Mapping[str, Any]) -> bytes:
    """Return one line for what Sacred's ``log_metrics`` is handed: lists of steps, values and times by name.

    Parameters
    ----------
    metrics_by_name : mapping
        ``{name: {"steps": [...], "values": [...], "timestamps": [datetime, ...]}}``.
    """
    times = {name: _microseconds(column["timestamps"]) for name, column in metrics_by_name.items()}
    start = min((min(each) for each in times.values() if each), default=0)
    columns = {
        name: {
            "steps": [encode(step) for step in column["steps"]],
            "values": [_plain(encode(value)) for value in column["values"]],
            "times": [time - start for time in times[name]],
        }
        for name, column in metrics_by_name.items()
    }
    event = {"e": "metrics", "s": 0, "t": start / 1e6, "start": start, "columns": columns}
    return plainjson.dumps(event, separators=(",", ":"), allow_nan=False).encode()


def _plain(value: Any) -> Any:
    return value["capture/float"] if type(value) is dict and "capture/float" in value else value
