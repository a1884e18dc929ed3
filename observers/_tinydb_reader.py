"""Reading a TinyDB store, ours and Sacred's."""

from __future__ import annotations

import os
import re

from capture import plainjson
from capture.codec import decode
from capture.errors import RecordError
from capture.filters import MISSING
from capture.observers._labels import folder_of
from capture.observers._query import not_found
from capture.observers._raw_filter import UNKNOWN, compiled, descend, scalar
from capture.observers._reading import StoredRecord, StoreReader
from capture.observers._series import LINES, StoredSeries, _name
from capture.observers._streams import OUTPUT
from capture.observers._tinydb_file import key_of, read_lines, signature
from capture.observers._tinydb_run import FACTS
from capture.observers._tinydb_store import TinyStore, read_json
from capture.observers._tinydb_values import FILE, from_stored, moment
from capture.observers._writing import opener
from capture.records import StoredFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from capture.filters import Filter
    from capture.records import RunRecord

_MARK = "{Tiny"
_TIMES = {"queue_time": "queued", "start_time": "started", "stop_time": "stopped", "heartbeat": "heartbeat"}
_FILE_FIELDS = ("sources", "kept", "resources", "artifacts")


#: how a line of ours begins: what tells one run from another is there without the rest being parsed
_BEGINNING = re.compile(
    rb'\{"_id":[^{}]*?,"format":"[^"]*","capture":\{"format":\d+,"version":"[^"]*","uid":"([^"\\]*)","created":(\d+)[,}]'
)


class Row:
    """One entry, as it is stored; parsed when somebody asks for it.

    Attributes
    ----------
    label : object
    uid : str
        "" if Sacred made it.
    age : tuple of int
        What sorts runs by when they came into the store; Sacred's by their start.
    number : str
        TinyDB's ``doc_id``; "" if the run is not in ``metadata.json`` yet.
    """

    __slots__ = ("_data", "_entry", "age", "label", "number", "plain_uid", "uid")

    def __init__(self, data: bytes, number: str = "", key: bytes | None = None) -> None:
        self._data = data
        self._entry: dict[str, Any] | None = None
        self.number = number
        begins = _BEGINNING.match(data) if key is not None else None
        if begins is not None and key is not None:
            self.label = decode(plainjson.loads(key))
            self.uid = begins[1].decode("ascii")
            self.age = (int(begins[2]), int(number or 0))
        else:
            self.label = decode(self.entry.get("_id", number))
            self.uid = str(decode(self.own.get("uid", "")))
            self.age = (self._created(), int(number or 0))
        self.plain_uid = self.uid.replace("-", "").lower()

    def _created(self) -> int:
        created = self.own.get("created")
        if isinstance(created, int):
            return created
        started = moment(self.entry.get("start_time"), f"run {self.label}")
        return int(started.timestamp() * 1e6) if started is not None else 0

    @property
    def entry(self) -> dict[str, Any]:
        """The entry; an empty one for a document that is none."""
        if self._entry is None:
            entry = plainjson.loads(self._data)
            self._entry = entry if isinstance(entry, dict) else {}
            self._data = b""
        return self._entry

    @property
    def own(self) -> dict[str, Any]:
        """What is under ``capture``."""
        own = self.entry.get("capture")
        return own if isinstance(own, dict) else {}


class Snapshot:
    """What lies in a store, read again where it changed.

    Parameters
    ----------
    store : TinyStore
    """

    def __init__(self, store: TinyStore) -> None:
        self._store = store
        self._state: Any = None
        self._metadata: tuple[int, ...] | None = None
        self._settled: dict[bytes, Row] = {}
        self._lines: dict[str, tuple[int, Row]] = {}
        self._files: dict[str, tuple[tuple[int, ...], Row]] = {}
        self._rows: list[Row] = []
        self._binned: list[Row] = []
        self._by_label: dict[str, Row] = {}

    def rows(self, binned: bool = False) -> list[Row]:
        """Return the runs in sight, or those in the bin, oldest first."""
        self._refresh()
        return self._binned if binned else self._rows

    def parse(self) -> None:
        """Parse all entries in sight that are not yet.

        The collector of cycles stands still meanwhile: it would go through all that is there, again and again, and find
        nothing; three times the time for ten thousand runs.
        """
        import gc

        was_enabled = gc.isenabled()
        gc.disable()
        try:
            for row in self.rows():
                row.entry  # noqa: B018 - parses
        finally:
            if was_enabled:
                gc.enable()

    def row(self, label: str, binned: bool = False) -> Row | None:
        """Return the run in sight, or in the bin, whose label is written so; of several the newest."""
        self._refresh()
        if binned:
            return next((row for row in reversed(self._binned) if str(row.label) == label), None)
        return self._by_label.get(label)

    def _refresh(self) -> None:
        # In this order, so that a run that moves meanwhile is seen in one place at least.
        live = [(path, signature(path)) for path in self._store.live_files()]
        binned = [(path, signature(path)) for path in self._store.binned_files()]
        metadata = signature(self._store.metadata)
        state = (live, binned, metadata)
        if state == self._state:
            return
        if metadata != self._metadata:
            self._settled = self._read_settled()
            self._metadata = metadata
        rows = dict(self._settled)
        for path, known in live:
            row = self._read_file(path, known)
            if row is not None:
                key = key_of(row.entry.get("_id"))
                if key in rows:
                    row.number = rows[key].number
                rows[key] = row
        out = [row for path, known in binned if (row := self._read_file(path, known)) is not None]
        for row in out:
            rows.pop(key_of(row.entry.get("_id")), None)
        self._files = {path: self._files[path] for path, _ in (*live, *binned) if path in self._files}
        self._rows = sorted(rows.values(), key=lambda row: row.age)
        self._binned = sorted(out, key=lambda row: row.age)
        self._by_label = {str(row.label): row for row in self._rows}
        self._state = state

    def _read_settled(self) -> dict[bytes, Row]:
        """Return the runs in ``metadata.json``; lines that are as they were are not parsed again."""
        rows: dict[bytes, Row] = {}
        lines: dict[str, tuple[int, Row]] = {}
        for line in read_lines(self._store.metadata)[1]:
            check = hash(line.data)
            known = self._lines.get(line.number)
            if known is None or known[0] != check:
                known = (check, Row(line.data, line.number, line.key))
            lines[line.number] = known
            # Sacred makes a second document for an id that is asked for again: both stay in sight.
            key = line.key if line.key is not None and line.key not in rows else line.number.encode("ascii") + b"#"
            rows[key] = known[1]
        self._lines = lines
        return rows

    def _read_file(self, path: str, known: tuple[int, ...]) -> Row | None:
        found = self._files.get(path)
        if found is None or found[0] != known:
            try:
                with open(path, "rb") as stream:
                    data = stream.read()
            except FileNotFoundError:  # it just moved on, into what is read next
                return None
            found = self._files[path] = (known, Row(data))
        return found[1]


class TinyDbReader(StoreReader):
    """Reads a TinyDB store, ours and Sacred's, also while runs are written into it.

    It changes nothing, and runs nothing that it reads. Besides the methods of `capture.hooks.Reader` it has those of
    Sacred's reader: `search`, `fetch_metadata`, `fetch_files`, `fetch_report`.

    Parameters
    ----------
    path : path
        The store.

    Raises
    ------
    FileNotFoundError
        If there is none; `OSError` catches it, as with Sacred.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._store = TinyStore(path)
        if not os.path.isdir(self._store.root):
            raise FileNotFoundError(f"there is no TinyDB store at {os.fspath(path)!r}: that is no folder")
        self._store.check_format()
        self.root = self._store.root
        self.url = "tinydb://" + self.root
        self._snapshot = Snapshot(self._store)
        self._db: Any = None

    def __repr__(self) -> str:
        return f"TinyDbReader({self.root!r})"

    # What `StoreReader` asks.

    def all_labels(self, binned: bool = False) -> list[Any]:
        return [row.label for row in self._snapshot.rows(binned)]

    def find_label(self, text: str, binned: bool = False) -> Any:
        row = self._snapshot.row(text, binned)
        return None if row is None else row.label

    def row(self, label: Any, binned: bool = False) -> Row:
        """Return the entry of a run, in sight or in the bin, that exists."""
        row = self._snapshot.row(str(label), binned)
        if row is None:
            raise not_found(self.url, label, self.all_labels(binned))
        return row

    def uids_like(self, part: str, binned: bool = False) -> Iterable[tuple[str, Any]]:
        wanted = part.replace("-", "").lower()
        return [
            (row.uid, row.label)
            for row in self._snapshot.rows(binned)
            if row.plain_uid.startswith(wanted) or row.plain_uid.endswith(wanted)
        ]

    def read(self, label: Any) -> RunRecord:
        return self._record(self._snapshot.row(str(label)) or self.row(label, binned=True))

    def matching(self, wanted: Filter | None, limit: int | None) -> Iterator[RunRecord]:
        if wanted is not None and limit is None:
            self._snapshot.parse()
        answer_of = None if wanted is None else compiled(wanted, _locate)
        for row in reversed(self._snapshot.rows()):
            answer = True if answer_of is None else answer_of(row)
            if answer is False:
                continue
            record = self._record(row)
            try:
                if answer or wanted is None or wanted.matches(record):
                    yield record
            except RecordError as error:
                from capture.observers._writing import log

                log().warning("A run was left out: %s", error)

    # Records.

    def _record(self, row: Row) -> StoredRecord:
        return StoredRecord(row.label, _Loader(self._store, row).field)

    # What Sacred's reader has.

    @property
    def db(self) -> Any:
        """The store as a `tinydb.TinyDB`."""
        if self._db is None:
            from capture.observers._tinydb_storage import open_db

            self._db = open_db(self.root, self._snapshot)
        return self._db

    @property
    def runs(self) -> Any:
        """The table of the runs."""
        return self.db.table("runs")

    @property
    def fs(self) -> Any:
        """The stored files, with ``get``, ``open`` and ``exists`` by their MD5."""
        from capture.observers._tinydb_storage import Files

        return Files(self._store)

    def search(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Return the documents that fulfil a query of TinyDB's; see `tinydb.table.Table.search`."""
        return self.runs.search(*args, **kwargs)

    def fetch_metadata(self, exp_name: str | None = None, query: Any = None, indices: Any = None) -> list[Any]:
        """Return the documents of the runs that are asked for.

        Parameters
        ----------
        exp_name : str, optional
            A regular expression, looked for in the names of experiments.
        query : tinydb query, optional
            It goes before `exp_name`.
        indices : int or sequence of int, optional
            Places in the table, if neither of the others is given.

        Raises
        ------
        ValueError
            If nothing is given, or there is no such place.
        """
        from capture.observers._tinydb_report import fetch_metadata

        return fetch_metadata(self.runs, exp_name, query, indices)

    def fetch_files(self, exp_name: str | None = None, query: Any = None, indices: Any = None) -> list[dict[str, Any]]:
        """Return the files of the runs that are asked for, see `fetch_metadata`.

        Returns
        -------
        list of dict
            ``exp_name``, ``exp_id``, ``date``, and ``sources``, ``resources``, ``artifacts`` where the run has some: by
            name, a binary file that is opened when it is first read.
        """
        from capture.observers._tinydb_report import files_of

        return [files_of(entry) for entry in self.fetch_metadata(exp_name, query, indices)]

    def fetch_report(self, exp_name: str | None = None, query: Any = None, indices: Any = None) -> list[str]:
        """Return a text about each of the runs that are asked for, see `fetch_metadata`."""
        from capture.observers._tinydb_report import report_of

        return [report_of(entry) for entry in self.fetch_metadata(exp_name, query, indices)]


def _locate(path: str) -> Callable[[Row], Any]:
    """Return what gives the value at a dotted path of the record as the row has it; see `compiled`."""
    name, _, rest = path.partition(".")
    if (name in ("status", "command") and not rest) or path == "result":
        return lambda row: scalar(row.entry.get(name, UNKNOWN), _MARK)
    if name in ("config", "info", "host", "meta", "experiment") and rest and not path.startswith("experiment.sources"):
        return lambda row: descend(row.entry.get(name) or {}, rest, _MARK)
    if name == "metrics" and rest:
        metric, _, part = rest.rpartition(".")

        def summary(row: Row) -> Any:
            known = row.own.get("summary")
            if known is None or metric.startswith(("py/", "capture/", "json://")):
                return UNKNOWN
            return scalar(known[metric][part]) if metric in known and part in known[metric] else MISSING

        return summary
    if path == "uid":
        return lambda row: row.uid
    if path == "label":
        return lambda row: row.label
    return lambda row: UNKNOWN


class _Loader:
    """The fields of one run's record, made when somebody asks for them."""

    def __init__(self, store: TinyStore, row: Row) -> None:
        self._store, self._entry, self._own = store, row.entry, row.own
        self._is_sacreds = "uid" not in row.own or row.own.get("layout") == "sacred"
        self._folder = os.path.join(store.runs, folder_of(row.label))
        self._where = f"run {row.label} of {store.root}"
        self._files: dict[str, list[StoredFile]] | None = None

    def field(self, name: str) -> Any:
        """Return the value of a field; KeyError if it is as in an empty record."""
        special = getattr(self, "_" + name, None)
        if special is not None:
            return special()
        if name in _TIMES:
            return self._time(name)
        if name in _FILE_FIELDS:
            return self._listed()[name]
        if name in ("status", "command", "host", "meta", "config", "info", "result", "fail_trace"):
            value = from_stored(self._entry[name])
            if value is None and name not in ("result", "fail_trace"):
                raise KeyError(name)
            return value
        return from_stored(self._own[name])  # uid, tags, notes, writers

    def _time(self, name: str) -> Any:
        times = self._own.get("times") or {}
        if self._is_sacreds:
            if name == "queue_time":
                raise KeyError(name)
            return moment(times.get(_TIMES[name]) or self._entry.get(name), self._where)
        return moment(times.get(_TIMES[name]), self._where)

    def _experiment(self) -> Any:
        experiment = from_stored(self._entry["experiment"]) or {}
        if not self._is_sacreds or "experiment" in self._own:  # the sources as they were told
            experiment.pop("sources", None)
            experiment.update(from_stored(self._own.get("experiment", {})))
        elif "sources" in experiment:
            experiment["sources"] = [list(each[:2]) for each in experiment["sources"]]
        return experiment

    def _resumed(self) -> Any:
        return [moment(each, self._where) for each in self._own.get("resumed", ())]

    def _extra(self) -> Any:
        return list(self._own.get("extra", ()))

    def _facts(self) -> Any:
        stored = read_json(os.path.join(self._folder, FACTS)) or {}
        return from_stored({**stored, **self._own.get("facts", {})})

    def _summary(self) -> Any:
        return {_name(key): decode(each) for key, each in self._own["summary"].items()}

    def _metrics(self) -> Any:
        if not os.path.exists(os.path.join(self._folder, LINES)):
            return {}
        return StoredSeries(self._folder)

    def _read_output(self) -> Any:
        path, shown = os.path.join(self._folder, OUTPUT), self._entry.get("captured_out")

        def read() -> str:
            try:
                with open(path, "rb") as stream:
                    return stream.read().decode("utf-8", "replace")
            except FileNotFoundError:
                return str(from_stored(shown) or "")

        return read

    def _listed(self) -> dict[str, list[StoredFile]]:
        if self._files is None:
            from capture.records import RunRecord

            record = RunRecord()
            if self._is_sacreds:
                self._add_sacreds(record)
            files = self._own.get("files", {})
            for file in files.get("sources", ()):
                record.put_source(self._stored(file))
            record.resources += [self._stored(file) for file in files.get("resources", ())]
            record.artifacts += [self._stored(file) for file in files.get("artifacts", ())]
            self._files = {name: getattr(record, name) for name in _FILE_FIELDS}
        return self._files

    def _stored(self, file: dict[str, Any]) -> StoredFile:
        return StoredFile(
            decode(file["name"]),
            file.get("digest"),
            file.get("size"),
            decode(file.get("metadata")),
            decode(file.get("content_type")),
            self._open(file.get("id")),
        )

    def _open(self, address: Any) -> Any:
        """Return what opens a stored file; a record must not make it open anything else."""
        if not isinstance(address, str) or not address or address.strip("0123456789abcdef"):
            return None
        return opener(self._store.path_of(address))

    def _add_sacreds(self, record: RunRecord) -> None:
        """Add the files that a record of Sacred's lists: of their digests it knows the MD5."""
        for kind, listed in (
            ("sources", (self._entry.get("experiment") or {}).get("sources")),
            ("resources", self._entry.get("resources")),
            ("artifacts", self._entry.get("artifacts")),
        ):
            for each in listed or ():
                if not isinstance(each, list) or len(each) < 2:
                    continue
                name, address = str(each[0]), _address(each)
                path = self._store.path_of(address)
                is_there = self._open(address) is not None and os.path.isfile(path)
                size = os.stat(path).st_size if is_there else None
                metadata = {"md5": address} if address else None
                stored = StoredFile(name, None, size, metadata, None, opener(path) if is_there else None)
                getattr(record, kind).append(stored)


def _address(listed: list[Any]) -> str:
    """Return the address of a file in a list of Sacred's, whose last item is its handle."""
    last = listed[-1]
    if isinstance(last, str) and last.startswith(FILE):
        found = from_stored(last)
        return found if isinstance(found, str) else ""
    return str(last)


