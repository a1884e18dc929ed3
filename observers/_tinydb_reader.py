"""Reading a TinyDB store, ours and Sacred's."""

from __future__ import annotations

import os

from capture.codec import TAG_PREFIXES, decode, decoded_name, has_tag
from capture.errors import CaptureError, RecordError
from capture.filters import MISSING, TIMES
from capture.observers._labels import folder_of
from capture.observers._query import not_found
from capture.observers._raw_filter import (
    UNKNOWN,
    compiled,
    descend,
    experiment_name,
    package,
    repository,
    scalar,
    texts,
)
from capture.observers._reading import DAMAGE, StoredRecord, StoreReader, end_of_file
from capture.observers._series import LINES, StoredSeries
from capture.observers._streams import OUTPUT
from capture.observers._tinydb_run import FACTS, KINDS
from capture.observers._tinydb_snapshot import Row, Snapshot, parsed
from capture.observers._tinydb_store import TinyStore, name_of, read_json
from capture.observers._tinydb_values import FILE, from_stored, moment
from capture.observers._writing import opener
from capture.records import StoredFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime
    from typing import Any

    from capture.filters import Filter
    from capture.hooks import UsedFiles
    from capture.observers._marked_files import MarkedFiles
    from capture.records import RunRecord

_MARK = "{Tiny"
_TIMES = {"queue_time": "queued", "start_time": "started", "stop_time": "stopped", "heartbeat": "heartbeat"}
_ENTRY_FIELDS = frozenset({"status", "command", "host", "meta", "config", "info", "result", "fail_trace"})
_FILE_FIELDS = ("sources", "kept", "resources", "artifacts")


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

    def read(self, label: Any, binned: bool = False) -> RunRecord:
        return self._record(self._snapshot.row(str(label)) or self.row(label, binned=True))

    def matching(self, wanted: Filter | None, limit: int | None) -> Iterator[RunRecord]:
        answer_of = None if wanted is None else compiled(wanted, _locate)
        rows = self._snapshot.rows()[::-1]
        for row in rows if wanted is None or limit is not None else parsed(rows):
            try:
                answer = True if answer_of is None else answer_of(row)
                record = self._record(row)
                is_meant = answer or (answer is None and wanted is not None and wanted.matches(record))
            except DAMAGE as error:
                self.leave_out(row.label, error)
                continue
            if is_meant:
                yield record

    @property
    def unreadable(self) -> dict[str, str]:
        return {**self._snapshot.unreadable, **super().unreadable}

    def output_from(self, label: Any, start: int) -> tuple[int, bytes] | None:
        path = os.path.join(self._store.runs, name_of(self.row(label).entry.get("_id")), OUTPUT)
        return end_of_file(path, start) if os.path.exists(path) else None

    def used_files(self, progress: Callable[[], Any] = lambda: None) -> UsedFiles:
        """Return what tells which runs had to do with a file, from what all runs list of files."""
        from capture.observers._marked_files import MarkedFiles, uncollected

        rows = self._snapshot.rows()[::-1]
        found = MarkedFiles(lambda places: ((place, self._record(rows[place])) for place in places), from_stored)
        with uncollected():
            for row in parsed(rows):
                try:
                    _Loader(self._store, row).add_to(found)
                except (CaptureError, OSError, *DAMAGE) as error:
                    found.add_unknown(row.label, error)
                progress()
        return found

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
            if known is None or metric.startswith(TAG_PREFIXES):
                return UNKNOWN
            return scalar(known[metric][part]) if metric in known and part in known[metric] else MISSING

        return summary
    if name == "packages" and rest:
        return lambda row: package(row.entry.get("experiment") or {}, rest)
    if path in ("git.commit", "git.dirty", "git.url"):
        return lambda row: repository(row.entry.get("experiment") or {}, rest)
    if path in TIMES:
        return lambda row: _time_of(row, path)
    return _PLACES.get(path, lambda row: UNKNOWN)


#: path -> function of the row that gives its value
_PLACES: dict[str, Callable[[Row], Any]] = {
    "uid": lambda row: row.uid,
    "label": lambda row: row.label,
    "name": lambda row: experiment_name(row.entry.get("experiment") or {}),
    "tags": lambda row: texts(row.own.get("tags", []), _MARK),
    "duration": lambda row: _duration_of(row),
}


def _duration_of(row: Row) -> Any:
    start, stop = (_time_of(row, name) for name in ("start_time", "stop_time"))
    if UNKNOWN in (start, stop) or stop is None:  # without an end it lasted to its last sign of life, or goes on
        return UNKNOWN
    return (stop - start).total_seconds() if start else None


def _time_of(row: Row, name: str) -> Any:
    """Return one of the times of a run."""
    stored = (row.own.get("times") or {}).get(_TIMES[name])
    if _is_sacreds(row.own):
        stored = None if name == "queue_time" else stored or row.entry.get(name)
    try:
        return moment(stored, "")
    except RecordError:  # who reads the record is told
        return UNKNOWN


def _is_sacreds(own: dict[str, Any]) -> bool:
    return "uid" not in own or own.get("layout") == "sacred"


class _Loader:
    """The fields of one run's record, made when somebody asks for them."""

    def __init__(self, store: TinyStore, row: Row) -> None:
        self._store, self._row, self._entry, self._own = store, row, row.entry, row.own
        self._is_sacreds = _is_sacreds(row.own)
        self._files: dict[str, list[StoredFile]] | None = None

    def __str__(self) -> str:
        return f"run {self._row.label} of {self._store.root}"

    @property
    def _folder(self) -> str:
        return os.path.join(self._store.runs, folder_of(self._row.label))

    def field(self, name: str) -> Any:
        """Return the value of a field; KeyError if it is as in an empty record."""
        if name in _ENTRY_FIELDS:
            value = from_stored(self._entry[name])
            if value is None and name not in ("result", "fail_trace"):
                raise KeyError(name)
            return value
        if name in _TIMES:
            return self._time(name)
        if name in _FILE_FIELDS:
            return self._listed()[name]
        special = getattr(self, "_" + name, None)
        if special is not None:
            return special()
        return from_stored(self._own[name])  # uid, tags, notes, writers

    def add_to(self, found: MarkedFiles) -> None:
        """Tell which files the run used."""
        label = self._row.label
        if self._is_sacreds:
            found.add_record(label, StoredRecord(label, self.field))
            return
        listed = self._own.get("files", {})
        files = [(kind, self._stored(file)) for kind in KINDS for file in listed.get(kind, ())]
        if "lineage" in self._own.get("facts", {}):
            found.add(label, self._own["facts"]["lineage"], files)
            return
        found.add(label, (read_json(os.path.join(self._folder, FACTS)) or {}).get("lineage"), files)

    def _time(self, name: str) -> Any:
        stored = (self._own.get("times") or {}).get(_TIMES[name])
        if self._is_sacreds:
            if name == "queue_time":
                raise KeyError(name)
            stored = stored or self._entry.get(name)
        return self._moment(stored)

    def _moment(self, stored: Any) -> datetime | None:
        return None if stored is None else moment(stored, self)

    def _experiment(self) -> Any:
        experiment = from_stored(self._entry["experiment"]) or {}
        if not self._is_sacreds or "experiment" in self._own:  # the sources as they were told
            experiment.pop("sources", None)
            experiment.update(from_stored(self._own.get("experiment", {})))
        elif "sources" in experiment:
            experiment["sources"] = [list(each[:2]) for each in experiment["sources"]]
        return experiment

    def _name(self) -> str:
        name = (self._entry.get("experiment") or {}).get("name")
        if not isinstance(name, str) or name.startswith(_MARK) or "name" in (self._own.get("experiment") or {}):
            raise KeyError("name")
        return name

    def _resumed(self) -> Any:
        return [self._moment(each) for each in self._own.get("resumed", ())]

    def _extra(self) -> Any:
        return list(self._own.get("extra", ()))

    def _facts(self) -> Any:
        stored = read_json(os.path.join(self._folder, FACTS)) or {}
        return from_stored({**stored, **self._own.get("facts", {})})

    def _summary(self) -> Any:
        summary = self._own["summary"]
        name_of_key = decoded_name if has_tag(summary) else str
        return {name_of_key(key): decode(each) for key, each in summary.items()}

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
