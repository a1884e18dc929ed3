"""Measurements in MongoDB: every batch as it was told, and beside it, for viewers, Sacred's documents.

The collection ``metrics`` holds two kinds of documents:

- *views*, one for each series, exactly as Sacred writes them (``run_id``, ``name``, ``steps``, ``values``,
  ``timestamps``). A series of more than `VIEW` points is thinned there: every second, fourth, ... point is left, so
  that plots show the whole of it.
- *pages*, which only this library reads: the batches of one writer, as lines of JSON, up to about a megabyte. They
  have no ``run_id``, by which viewers look for series.

A page tells the places of the first and the last batch in it, and takes a further one only if that comes later. So what
arrives again is recognised, and a page changes by what is appended alone.
"""

from __future__ import annotations

from capture import plainjson
from capture.codec import decode, decoded_name
from capture.observers._mongo_values import readable
from capture.records import Series, summarize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from capture.hooks import MetricsBatch
    from capture.observers._mongo_place import Place

VIEW = 20_000  #: points of a view
VIEWS = 20_000  #: series of a run that have one: each takes some of the run's document
_PAGE = 1 << 20  #: bytes of lines after which a page is full
_LONGEST = 8 << 20  #: bytes of a line; a longer one is split
_LAG_S = 2.0  #: how old a view may be: each point that is appended to a long one costs the server the whole of it
_PENDING = 5_000  #: points that wait for their view at most
_SPECIAL = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


class View:
    """The document of one series that viewers read.

    Attributes
    ----------
    stride : int
        Each how-manieth point is in it.
    seen : int
        Points of the series.
    size : int
        Points in the stored document.
    last : int
        Place of the last batch in the stored document.
    """

    def __init__(self, id: Any, name: str, writer: str) -> None:
        self.id, self.name, self.writer = id, name, writer
        self.stride, self.seen, self.size, self.last = 1, 0, 0, 0
        self.is_new = True
        self.written_at = 0.0
        self._cut = 1  # by how much the stored document is to be thinned
        self._steps: list[Any] = []
        self._values: list[Any] = []
        self._times: list[int] = []
        self._final: tuple[Any, Any, int] | None = None  # the newest point, if it is left out

    @property
    def pending(self) -> int:
        return len(self._times)

    def add(self, column: Mapping[str, list[Any]], start: int) -> None:
        """Take the points of one column."""
        steps, values, times = column["steps"], column["values"], column["times"]
        count = len(times)
        if not count:
            return
        first = -self.seen % self.stride
        self._steps += steps[first :: self.stride]
        self._values += values[first :: self.stride]
        self._times += [start + time for time in times[first :: self.stride]]
        self.seen += count
        is_in = (self.seen - 1) % self.stride == 0
        self._final = None if is_in else (steps[-1], values[-1], start + times[-1])
        while self.size + self.pending > VIEW:
            self._halve()

    def _halve(self) -> None:
        odd = self.size % 2
        for points in (self._steps, self._values, self._times):
            points[:] = points[odd::2]
        self.size -= self.size // 2
        self.stride *= 2
        self._cut *= 2

    def is_due(self, now: float, ending: bool) -> bool:
        """Say whether the document should be written now."""
        if not self.pending and not (ending and self._final):
            return False
        return ending or self.is_new or self.pending >= _PENDING or now - self.written_at >= _LAG_S

    def operation(self, run: Any, label: Any, seq: int, ending: bool) -> Any:
        """Return the write that brings the document up to date with batch `seq` of its writer."""
        from pymongo import InsertOne, UpdateOne

        if ending and self._final is not None:
            step, value, time = self._final
            self._steps.append(step)
            self._values.append(value)
            self._times.append(time)
        points = {
            "steps": _numbers(self._steps),
            "values": _numbers(self._values),
            "timestamps": _dates(self._times),
        }
        state = {"stride": self.stride, "seen": self.seen, "last": seq}
        if self.is_new:
            mine = {"run": run, "view": True, "writer": readable(self.writer), "name": _exact(self.name), **state}
            return InsertOne(
                {"_id": self.id, "run_id": label, "name": readable(self.name), **points, "capture": mine}
            )
        wanted: dict[str, Any] = {"_id": self.id}
        if seq:
            wanted["capture.last"] = {"$lt": seq}
        if self._cut == 1:
            return UpdateOne(
                wanted,
                {
                    "$push": {name: {"$each": column} for name, column in points.items()},
                    "$set": {f"capture.{name}": value for name, value in state.items()},
                },
            )
        sets: dict[str, Any] = {
            name: {"$concatArrays": [_every(self._cut, name), {"$literal": column}]} for name, column in points.items()
        }
        sets.update({f"capture.{name}": value for name, value in state.items()})
        return UpdateOne(wanted, [{"$set": sets}])

    def written(self, now: float, seq: int, ending: bool) -> None:
        """Note that the operation was done."""
        self.size += self.pending
        self._steps, self._values, self._times = [], [], []
        if ending:
            self._final = None
        self._cut, self.is_new, self.written_at, self.last = 1, False, now, seq


def _every(number: int, column: str) -> dict[str, Any]:
    """Return the expression for each `number`-th element of an array."""
    field = f"${column}"
    return {
        "$map": {
            "input": {"$range": [0, {"$size": field}, number]},
            "in": {"$arrayElemAt": [field, "$$this"]},
        }
    }


def _numbers(values: list[Any]) -> list[Any]:
    """Return numbers that MongoDB has."""
    return [value if type(value) is float else _number(value) for value in values]


def _number(value: Any) -> Any:
    kind = type(value)
    if kind is int:
        return value if -(2**63) <= value < 2**63 else float(value)
    if kind is str:
        return _SPECIAL[value]
    if kind is dict:
        number = decode(value)
        try:
            return float(number)
        except (TypeError, ValueError, OverflowError):
            return str(number)
    return value


def _dates(times: list[int]) -> list[Any]:
    """Return naive UTC times, with the milliseconds that MongoDB keeps."""
    from datetime import datetime, timedelta

    epoch = datetime(1970, 1, 1)
    known: dict[int, datetime] = {}
    dates = []
    for time in times:
        milliseconds = time // 1000
        date = known.get(milliseconds)
        if date is None:
            date = known[milliseconds] = epoch + timedelta(milliseconds=milliseconds)
        dates.append(date)
    return dates


def _exact(name: str) -> Any:
    return name if readable(name) == name else name.encode("utf-8", "surrogatepass")


class _Page:
    """A page that may take more lines."""

    __slots__ = ("id", "last", "size")

    def __init__(self, id: Any, size: int, last: int) -> None:
        self.id, self.size, self.last = id, size, last


class SeriesWriter:
    """Writes the measurements of one run.

    Parameters
    ----------
    place : Place
    key : bson.ObjectId
        Names the run in what lies outside its document.
    is_new : bool
        Whether nothing of this run can be stored yet.
    """

    def __init__(self, place: Place, key: Any, is_new: bool) -> None:
        self._place, self._key = place, key
        self._lines: list[tuple[str, int, bytes]] = []
        self._pages: dict[str, _Page] = {}
        self._views: dict[str, View] = {}
        self._told: dict[str, int] = {}  # by writer: the last batch that the views were told of
        self._summaries: dict[str, dict[str, Any]] = {}
        self._listed: set[str] = set()  # ids of views that the run's document names
        self._is_known = is_new  # whether what is stored was looked at
        self._ranges: dict[str, list[tuple[int, int]]] = {}
        self._floor: dict[str, int] = {}

    @property
    def is_pending(self) -> bool:
        return bool(self._lines) or any(view.pending for view in self._views.values())

    def add(self, batch: MetricsBatch, writer: str, seq: int, seqs: Mapping[str, int]) -> None:
        """Take a batch; `seqs` is what the run's document says that it has."""
        columns, start = batch.columns, batch.start
        if not columns:
            return
        self._learn(seqs)
        for key, column in columns.items():
            name = decoded_name(key)
            self._summaries[name] = summarize(column, start, self._summaries.get(name))
        if self._is_stored(writer, seq):  # by a process that died before it could say so in the run's document
            return
        line = batch.encoded
        if len(line) > _LONGEST:
            self._lines += [(writer, seq, part) for part in _split(columns, start, seq)]
        else:
            self._lines.append((writer, seq, line))
        self._take(columns, start, writer, seq)

    def _take(self, columns: Mapping[str, Any], start: int, writer: str, seq: int) -> None:
        for key, column in columns.items():
            name = decoded_name(key)
            view = self._views.get(name)
            if view is None:
                if len(self._views) >= VIEWS:
                    continue
                from bson import ObjectId

                view = self._views[name] = View(ObjectId(), name, writer)
            if view.writer == writer and (seq == 0 or seq > view.last):
                view.add(column, start)
        self._told[writer] = max(seq, self._told.get(writer, 0))

    def take_summaries(self) -> dict[str, dict[str, Any]]:
        """Return what is to be added to the summaries of the run, once."""
        taken, self._summaries = self._summaries, {}
        return {name: {part: _number(value) for part, value in each.items()} for name, each in taken.items()}

    def new_entries(self) -> list[dict[str, str]]:
        """Return what ``info.metrics`` lacks."""
        new = [view for view in self._views.values() if not view.is_new and str(view.id) not in self._listed]
        self._listed |= {str(view.id) for view in new}
        return [{"name": readable(view.name), "id": str(view.id)} for view in new]

    # ------------------------------------------------------------------------------------------- what is there

    def list_known(self, entries: Iterable[Any]) -> None:
        """Take note of what ``info.metrics`` has."""
        self._listed |= {str(each.get("id")) for each in entries if isinstance(each, dict)}

    def doubt(self) -> None:
        """Note that a write may have been done or not."""
        self._is_known = False

    def _learn(self, seqs: Mapping[str, int]) -> None:
        """Look at what is stored, if that is not known."""
        if self._is_known:
            return
        self._floor = dict(seqs)
        self._ranges, self._pages = {}, {}
        fields = {"capture.lines": 0, "steps": 0, "values": 0, "timestamps": 0}
        known = list(self._place.metrics.find({"capture.run": self._key}, fields))
        for document in sorted(known, key=lambda each: each["capture"].get("last", 0)):
            mine = document["capture"]
            if mine.get("view"):
                self._learn_view(document)
                continue
            self._ranges.setdefault(mine["writer"], []).append((mine["first"], mine["last"]))
            self._pages[mine["writer"]] = _Page(document["_id"], _PAGE, mine["last"])  # full: the next gets a new one
        self._lines = [each for each in self._lines if not self._is_stored(each[0], each[1])]
        self._is_known = True
        self._catch_up()

    def _learn_view(self, document: Mapping[str, Any]) -> None:
        mine = document["capture"]
        name = mine["name"]
        name = name.decode("utf-8", "surrogatepass") if isinstance(name, bytes) else name
        view = self._views.get(name)
        if view is not None and (view.id == document["_id"] and not view.is_new and view.last == mine["last"]):
            return  # as it is known
        view = View(document["_id"], name, mine["writer"])
        view.stride, view.seen, view.last = mine["stride"], mine["seen"], mine["last"]
        view.size, view.is_new = -(-view.seen // view.stride), False
        self._views[name] = view

    def _catch_up(self) -> None:
        """Tell the views what is in pages that were written before a process died, or waits to be written."""
        behind = {name: view for name, view in self._views.items() if not view.pending and not view.is_new}
        ends = {writer: max(last for _, last in ranges) for writer, ranges in self._ranges.items()}
        behind = {name: view for name, view in behind.items() if view.last < ends.get(view.writer, 0)}
        if not behind:
            return
        since = min(view.last for view in behind.values())
        wanted = {"capture.run": self._key, "capture.last": {"$gt": since}, "capture.lines": {"$exists": True}}
        for _, _, line in sorted(_lines_of(self._place.metrics.find(wanted)), key=lambda each: each[:2]):
            self._show(line, behind)
        for _, _, line in self._lines:
            self._show(line, behind)

    def _show(self, line: bytes, views: Mapping[str, View]) -> None:
        event = plainjson.loads(line)
        for key, column in event["columns"].items():
            view = views.get(decoded_name(key))
            if view is not None and event["s"] > view.last:
                view.add(column, event["start"])

    def _is_stored(self, writer: str, seq: int) -> bool:
        """Say whether a page has a batch that the run's document does not speak of yet."""
        if seq == 0 or seq <= self._floor.get(writer, 0):
            return False
        return any(first <= seq <= last for first, last in self._ranges.get(writer, ()))

    # ------------------------------------------------------------------------------------------------ writing

    def flush(self, label: Any, seqs: Mapping[str, int], now: float, ending: bool) -> None:
        """Write what waits."""
        if not self.is_pending and not ending:
            return
        self._learn(seqs)
        operations, pages = self._page_operations()
        due = [view for view in self._views.values() if view.is_due(now, ending)]
        told = [self._told.get(view.writer, view.last) for view in due]
        operations += [view.operation(self._key, label, seq, ending) for view, seq in zip(due, told)]
        if not operations:
            return
        try:
            # On the server's disk before the run's document says that it is there: between the two the server may die.
            self._place.durable_metrics.bulk_write(operations, ordered=True)
        except Exception:
            self.doubt()
            raise
        self._pages.update(pages)
        self._lines.clear()
        for view, seq in zip(due, told):
            view.written(now, seq, ending)

    def _page_operations(self) -> tuple[list[Any], dict[str, _Page]]:
        """Return the writes for the lines that wait, and the pages that can take more after them."""
        from bson import ObjectId
        from pymongo import InsertOne, UpdateOne

        operations: list[Any] = []
        pages = {writer: _Page(page.id, page.size, page.last) for writer, page in self._pages.items()}
        for writer, seqs_and_lines in _by_writer(self._lines):
            at = 0
            while at < len(seqs_and_lines):
                page, first = pages.get(writer), seqs_and_lines[at][0]
                is_late = page is not None and 0 < first <= page.last  # it was missed when its turn was
                room = _PAGE if page is None or is_late or page.size >= _PAGE else _PAGE - page.size
                end, size = at, 0
                while end < len(seqs_and_lines) and (end == at or (not is_late and size < room)):
                    size += len(seqs_and_lines[end][1])
                    end += 1
                last, lines = seqs_and_lines[end - 1][0], [line for _, line in seqs_and_lines[at:end]]
                if page is None or is_late or page.size >= _PAGE:
                    id = ObjectId()
                    mine = {"run": self._key, "writer": writer, "first": first, "last": last, "lines": lines}
                    operations.append(InsertOne({"_id": id, "capture": mine}))
                    if not is_late:
                        pages[writer] = _Page(id, size, last)
                else:
                    wanted: dict[str, Any] = {"_id": page.id}
                    if first:
                        wanted["capture.last"] = {"$lt": first}
                    change = {"$push": {"capture.lines": {"$each": lines}}, "$set": {"capture.last": last}}
                    operations.append(UpdateOne(wanted, change))
                    page.size, page.last = page.size + size, last
                at = end
        return operations, pages


def _by_writer(lines: list[tuple[str, int, bytes]]) -> Iterator[tuple[str, list[tuple[int, bytes]]]]:
    found: dict[str, list[tuple[int, bytes]]] = {}
    for writer, seq, line in lines:
        found.setdefault(writer, []).append((seq, line))
    yield from found.items()


def _split(columns: Mapping[str, Any], start: int, seq: int) -> Iterator[bytes]:
    """Yield a batch that no document could hold in lines of a hundred thousand points."""
    for key, column in columns.items():
        for at in range(0, len(column["times"]), 100_000):
            part = {name: values[at : at + 100_000] for name, values in column.items()}
            event = {"e": "metrics", "s": seq, "t": start / 1e6, "start": start, "columns": {key: part}}
            yield plainjson.dumps(event, separators=(",", ":"), allow_nan=False).encode()


def _lines_of(documents: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, int, bytes]]:
    """Yield writer, place and line."""
    for document in documents:
        mine = document["capture"]
        for line in mine.get("lines", ()):
            yield mine["writer"], _place_of(line), bytes(line)


def _place_of(line: bytes) -> int:
    """Return the seq of a line without parsing it: it comes second."""
    at = line.find(b'"s":') + 4
    return int(line[at : line.find(b",", at)])


def read_series(place: Place, key: Any) -> dict[str, Series]:
    """Read all series of a run. The points of the main writer come first, then those of the others, by name."""
    from capture.observers._series import SeriesBuilder, read_batch

    found = place.metrics.find({"capture.run": key, "capture.lines": {"$exists": True}}, {"capture": 1}).sort("_id", 1)
    lines = list(_lines_of(found))
    lines.sort(key=lambda each: (each[0] != "main", each[0], each[1]))
    builder = SeriesBuilder()
    for _, _, line in lines:
        builder.add(read_batch(line))
    return builder.series()


def read_sacred_series(place: Place, label: Any, ids: Iterable[str]) -> dict[str, Series]:
    """Read the series of a run that Sacred wrote: the documents that its ``info.metrics`` names, or that name it."""
    from bson import ObjectId

    from capture.observers._series import _microseconds as microseconds

    wanted = [ObjectId(id) for id in ids if ObjectId.is_valid(id)]
    query: dict[str, Any] = {"_id": {"$in": wanted}} if wanted else {"run_id": label}
    series = {}
    for document in place.metrics.find({**query, "capture": {"$exists": False}}):
        values = [float("nan") if value is None else value for value in document.get("values", ())]
        times = microseconds(document.get("timestamps", ()))
        series[str(document["name"])] = Series(str(document["name"]), document.get("steps", ()), values, times)
    return series
