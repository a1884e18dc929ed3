"""Reading a database that we, or Sacred, have written runs to."""

from __future__ import annotations

import os
from functools import lru_cache, partial

from capture import plainjson
from capture.codec import decode, is_untagged
from capture.errors import RunNotFoundError, StoreNotFoundError
from capture.filters import MISSING, TIMES, fields_of
from capture.observers import _sql_blobs, _sql_schema
from capture.observers import _sql_tables as tables
from capture.observers._raw_filter import UNKNOWN, compiled, descend, scalar
from capture.observers._reading import DAMAGE, StoredRecord, StoreReader
from capture.observers._sql_database import Database
from capture.observers._sql_points import StoredSeries, Summarized, merged_summary, summaries_of
from capture.observers._sql_query import condition, of_runs
from capture.observers._sql_values import aware_utc, from_json, key_of, stored_text, told_moment, told_text
from capture.observers._sql_version import HEAD
from capture.observers._writing import log
from capture.records import KEPT, RunRecord, StoredFile, bytes_opener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from sqlalchemy import Connection

    from capture.filters import Filter
    from capture.hooks import UsedFiles

_PAGE, _LARGE_PAGE = 2_000, 10_000  #: runs that are fetched at once, and where these were not all
#: runs of a page of which more is read together, where it is asked for of one; then as many as the last says
_GROUPS = (10, 90, 400, 1_500)

_KINDS = {"sources": "source", "kept": "source", "resources": "resource", "artifacts": "artifact"}
_DOCUMENTS: dict[str, Any] = {"experiment": {}, "host": {}, "meta": {}, "fail_trace": None, "extra": []}


class SqlReader(StoreReader):
    """Reads the runs of a database. It changes nothing, and runs nothing that it reads.

    Parameters
    ----------
    url : str, optional
    database : Database, optional
        In place of `url`.
    """

    def __init__(self, url: str | None = None, *, database: Database | None = None) -> None:
        self._database = database or Database(url, read_only=True)
        self.url = self._database.url.shown()
        self._ours: bool | None = None

    def __repr__(self) -> str:
        return f"SqlReader({self.url!r})"

    def close(self) -> None:
        """Let go of the connections."""
        self._database.close()

    def check_exists(self) -> None:
        """See that a file of SQLite is there; of a server's database the first question tells.

        Raises
        ------
        StoreNotFoundError
            If there is none.
        """
        path = self._database.url.path
        if path is not None and not os.path.isfile(path):
            what = "is not a file" if os.path.exists(path) else "does not exist"
            raise StoreNotFoundError(f"there is no store at {self.url!r}: {path} {what}", print_traceback=False)

    def health(self) -> Iterator[tuple[str, str, str]]:
        """Yield what `capture doctor` says of the database: level, what was found, what to do."""
        with self._database.reading() as connection:
            found = _sql_schema.version(connection, self._database)
            if found is None:
                yield "ok", "the tables are those of Sacred: ours are made by the first run", ""
            elif found != HEAD:
                text = f"the tables have version {found}, this library writes {HEAD}"
                yield "note", text, "the next run updates them"
            else:
                yield "ok", f"the tables have the newest version, {HEAD}", ""
            if self._database.is_sqlite:
                answer = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
                if answer != "ok":
                    path = self._database.url.path
                    yield "problem", f"SQLite says that {path} is damaged: {answer}", f"sqlite3 {path} .recover"

    def output_from(self, label: Any, start: int) -> tuple[int, bytes] | None:
        from sqlalchemy import func, select

        if not self._has_ours():
            return None
        run, part = tables.run, tables.capture_output
        number = select(run.c.id).where(run.c.run_id == stored_text(str(label))).scalar_subquery()
        mine = part.c.run == number
        with self._database.reading() as connection:
            last = select(part.c.start, part.c.data).where(mine).order_by(part.c.start.desc()).limit(1)
            end = connection.execute(last).first()
            if end is None:
                return None  # nothing was printed, or Sacred wrote the run
            size = end.start + len(end.data)
            begin = min(start, size) if start >= 0 else max(size + start, 0)
            first = select(func.max(part.c.start)).where(mine, part.c.start <= begin).scalar_subquery()
            rows = connection.execute(part.select().where(mine, part.c.start >= first).order_by(part.c.start)).all()
        if not rows:
            return None  # they have gone since
        data = b"".join(bytes(row.data) for row in rows)
        return begin, data[begin - rows[0].start :]

    def copy_problems(self, label: Any) -> Iterator[tuple[str, str, str]]:
        """Yield kind, name and what is wrong of each copy in Sacred's tables that is not what was recorded."""
        from capture.observers._sql_copies import copy_problems

        return copy_problems(self._database, str(label))

    # ------------------------------------------------------------------------------------------------------ names

    def all_labels(self, binned: bool = False) -> list[str]:
        """Return the labels of the runs that are in sight, or of those in the bin, oldest first."""
        return [told_text(label) for label, in self._rows(self._query(tables.run.c.run_id, binned=binned))]

    def find_label(self, text: str, binned: bool = False) -> str | None:
        """Return the label that is written `text`, or None if no run in sight (in the bin) has it."""
        query = self._query(tables.run.c.run_id, binned=binned)
        rows = self._rows(None if query is None else query.where(tables.run.c.run_id == stored_text(text)))
        return next((text for label, in rows if told_text(label) == text), None)  # whatever the collation says

    def uids_like(self, part: str, binned: bool = False) -> Iterable[tuple[str, str]]:
        """Yield uid and label of runs that have a uid."""
        if not self._has_ours():
            return []
        from sqlalchemy import func

        uid = tables.capture_run.c.uid
        query = self._query(uid, tables.run.c.run_id, binned=binned)
        rows = self._rows(query.where(func.length(uid) >= len(part.replace("-", ""))))  # of a digest there is none
        return [(told_text(uid), told_text(label)) for uid, label in rows]

    def _has_ours(self) -> bool | None:
        """Say whether our tables are there; None if there are none at all."""
        if self._ours:
            return True
        path = self._database.url.path
        if path is not None and not os.path.exists(path):
            return None
        with self._database.reading() as connection:
            if _sql_schema.version(connection, self._database) == HEAD:
                self._ours = True
                return True
        with self._database.reading() as connection:
            return False if _sql_schema.has_sacreds(connection) else None

    def _query(self, *columns: Any, binned: bool = False) -> Any:
        """Return a query for runs, oldest first; None if there are no tables."""
        from sqlalchemy import false, select

        ours = self._has_ours()
        if ours is None:
            return None
        query = select(*columns).order_by(tables.run.c.id)
        if not ours:
            return query.select_from(tables.run).where(false() if binned else tables.run.c.id.is_not(None))
        own = tables.capture_run
        query = query.select_from(tables.run.outerjoin(own, own.c.run == tables.run.c.id))
        return query.where(own.c.binned.is_(True) if binned else own.c.binned.is_not(True))

    def _rows(self, query: Any) -> list[Any]:
        if query is None:
            return []
        with self._database.reading() as connection:
            return list(connection.execute(query))

    # ----------------------------------------------------------------------------------------------------- records

    def read(self, label: Any, binned: bool = False) -> RunRecord:
        """Return the record of a run, in sight or in the bin, that exists."""
        query = self._base()
        with self._database.reading() as connection:
            rows = connection.execute(query.where(tables.run.c.run_id == stored_text(str(label))))
            row = next((row for row in rows if told_text(row.run_id) == str(label)), None)
        if row is None:
            raise RunNotFoundError(f"run {label} of {self.url} was purged by somebody else just now")
        return self._record(row)

    def matching(self, wanted: Filter | None, limit: int | None) -> Iterator[RunRecord]:
        """Yield the records that fulfil `wanted`, newest first; most are told by their JSON, before it is decoded."""
        answer = compiled(wanted, _located) if wanted is not None else None
        for record in self.candidates(wanted, limit):
            try:
                sure = True if answer is None else answer(record._load)
                is_meant = sure if sure is not None or wanted is None else wanted.matches(record)
            except DAMAGE as error:
                self.leave_out(record.label, f"run {record.label} cannot be read: {error}")
                continue
            if is_meant:
                yield record

    def candidates(self, wanted: Filter | None, limit: int | None) -> Iterator[StoredRecord]:
        """Yield the records of all runs in sight that may fulfil `wanted`, newest first."""
        ours = self._has_ours()
        if ours is None:
            return
        query = self._base().order_by(tables.run.c.id.desc())
        if ours:
            query = query.where(tables.capture_run.c.binned.is_not(True))
        looked_at = fields_of(wanted)
        where = condition(wanted, ours, ours and "config" in looked_at and self._all_indexed())
        if where is not None:
            query = query.where(where)
        page, below = min(_PAGE, limit or _PAGE), None
        while True:
            with self._database.reading() as connection:
                some = query if below is None else query.where(tables.run.c.id < below)
                rows = connection.execute(some.limit(page)).all()
                records = [self._record(row) for row in rows]
                runs = [record._load for record in records if isinstance(record._load, _OurRun)]
                self._read_ahead(connection, runs, looked_at)
                if "user" in looked_at:
                    _read_users(connection, records)
            self._form_groups(runs)
            yield from records
            if len(rows) < page:
                return
            below, page = rows[-1].id, _PAGE if page < _PAGE else _LARGE_PAGE

    def used_files(self, progress: Callable[[], Any] = lambda: None) -> UsedFiles:
        """Return what tells which runs had to do with a file, from all that is listed of files."""
        from capture.observers._sql_used_files import used_files

        return used_files(self, self._database, progress)

    def numbered(self, page: int) -> Iterator[list[Any]]:
        """Yield pages of the runs in sight, newest first: ``id``, ``run_id`` and ``layout`` of each."""
        from sqlalchemy import literal

        run = tables.run
        layout = tables.capture_run.c.layout if self._has_ours() else literal("sacred").label("layout")
        query, below = self._query(run.c.id, run.c.run_id, layout), None
        while query is not None:
            some = query if below is None else query.where(run.c.id < below)
            rows = self._rows(some.order_by(None).order_by(run.c.id.desc()).limit(page))
            yield rows
            if len(rows) < page:
                return
            below = rows[-1].id

    def read_numbered(self, numbers: Sequence[int]) -> Iterator[tuple[int, RunRecord]]:
        """Yield number and record of some runs, in this order; of what was deleted meanwhile there is none."""
        for at in range(0, len(numbers), 500):
            some = numbers[at : at + 500]
            rows = {row.id: row for row in self._rows(self._base().where(tables.run.c.id.in_(some)))}
            yield from ((number, self._record(rows[number])) for number in some if number in rows)

    def _all_indexed(self) -> bool:
        """Say whether each run has its config in `capture_config`, where the database profits from knowing.

        MySQL and MariaDB look into a subquery again for each row if it is one of two alternatives.
        """
        if self._database.url.dialect in ("sqlite", "postgresql"):
            return False
        from sqlalchemy import select

        run, own = tables.run, tables.capture_run
        runs = run.outerjoin(own, own.c.run == run.c.id)
        others = select(run.c.id).select_from(runs).where(own.c.indexed.is_not(True))
        return not self._rows(others.limit(1))

    def _base(self) -> Any:
        """Return the query for what each record has at once."""
        from sqlalchemy import literal, select

        run, own = tables.run, tables.capture_run
        sacreds = [run.c.id, run.c.run_id, run.c.config, run.c.status.label("sacreds_status"), run.c.experiment_id]
        if not self._has_ours():
            return select(*sacreds, literal("sacred").label("layout")).select_from(run)
        ours = [column for column in own.c if column.name not in ("run", "indexed", "binned")]
        return select(*sacreds, *ours).select_from(run.outerjoin(own, own.c.run == run.c.id))

    def _record(self, row: Any) -> StoredRecord:
        parts = _OurRun if row.layout == "capture" else SacredsRun
        return StoredRecord(told_text(row.run_id), parts(self._database, row))

    def _form_groups(self, runs: list[_OurRun]) -> None:
        """Let runs of a list know each other: who asks for more of one of them will ask for the same of the next."""
        at = 0
        for size in (*_GROUPS, *[_GROUPS[-1]] * (len(runs) // _GROUPS[-1])):
            group = runs[at : at + size]
            at += size
            for run in group:
                run.read_group = partial(self._read_more, group)

    def _read_more(self, runs: list[_OurRun], name: str) -> None:
        if name == "config":
            for run, config in zip(runs, plainjson.loads_each([run.row.config or "{}" for run in runs])):
                run.parsed_config = config
            return
        with self._database.reading() as connection:
            self._read_ahead(connection, runs, {name})

    def _read_ahead(self, connection: Connection, runs: list[_OurRun], looked_at: set[str]) -> None:
        """Read documents, or what is known of the metrics, for many runs at once."""
        if "name" in looked_at:
            _read_names(connection, runs)
        names = sorted(looked_at & set(_DOCUMENTS))
        by_number = {run.number: run for run in runs}
        if names and runs:
            table = tables.capture_document
            query = table.select().where(table.c.name.in_(names))
            documents: dict[int, dict[str, str]] = {number: {} for number in by_number}
            for row in of_runs(connection, query, table.c.run, list(by_number)):
                documents[row.run][row.name] = row.content
            for number, run in by_number.items():
                for name in names:
                    run.texts[name] = documents[number].get(name)
        if "metrics" in looked_at and runs:
            for run in runs:
                run.series = []
            rows = of_runs(connection, _summaries(), tables.capture_series.c.run, list(by_number))
            for number, summarized in summaries_of(rows):
                by_number[number].series.append(summarized)  # type: ignore[union-attr]


def _summaries() -> Any:
    """Return the query for what `summaries_of` reads."""
    series = tables.capture_series
    columns = series.c.run, series.c.writer, series.c.name, series.c.summary
    return series.select().with_only_columns(*columns).order_by(series.c.id)


def _read_names(connection: Connection, runs: list[_OurRun]) -> None:
    """Read the names of experiments from Sacred's table, where many runs have one row."""
    from sqlalchemy import bindparam
    from sqlalchemy.exc import DBAPIError

    table, numbers = tables.experiment, {run.row.experiment_id for run in runs} - {None}
    query = table.select().with_only_columns(table.c.experiment_id, table.c.name)
    query = query.where(table.c.experiment_id.in_(bindparam("numbers", expanding=True)))
    try:
        found = {row.experiment_id: row.name for row in connection.execute(query, {"numbers": sorted(numbers)})}
    except DBAPIError as error:  # somebody changed or removed what is Sacred's; our document has the name
        log().debug("Names of experiments are read from their descriptions: %s", error)
        connection.rollback()
        found = {}
    for run in runs:
        run.sacreds_name = found.get(run.row.experiment_id) or ""


def _read_users(connection: Connection, records: list[StoredRecord]) -> None:
    """Read whose runs these are, without all the other facts."""
    table, own = tables.capture_fact, [record for record in records if isinstance(record._load, _OurRun)]
    query = table.select().with_only_columns(table.c.run, table.c.facts).where(table.c.name_key == key_of("process"))
    rows = of_runs(connection, query, table.c.run, [record._load.number for record in own])
    facts = {row.run: plainjson.loads(row.facts) for row in rows}
    for record in own:
        process = facts.get(record._load.number)
        user = process.get("user") if isinstance(process, dict) else None
        name = user.get("name") if isinstance(user, dict) else None
        if name is None or isinstance(name, str):
            record.__dict__["_user"] = name


def _located(path: str) -> Callable[[Any], Any]:
    """Return a function of the parts of a run that gives the value at a dotted path, where it need not be decoded."""
    root, _, rest = path.partition(".")
    if path in ("status", "tags", "notes", *TIMES):
        return lambda parts: parts(path)
    if root == "config" and rest:
        return lambda parts: descend(parts.raw_config(), rest) if isinstance(parts, _OurRun) else UNKNOWN
    if root == "metrics" and rest:
        name, _, part = rest.rpartition(".")
        return lambda parts: parts.of_summary(name, part) if isinstance(parts, _OurRun) else UNKNOWN
    return lambda parts: UNKNOWN


class _OurRun:
    """The parts of a run that we wrote, each read when it is asked for."""

    def __init__(self, database: Database, row: Any) -> None:
        self.database, self.row, self.number = database, row, row.id
        self.known: dict[str, Any] = {}
        self.texts: dict[str, str | None] = {}  # documents that were read ahead, as they are stored
        self.sacreds_name: str | None = None  # in Sacred's table of experiments, "" if it is not there
        self.series: list[Summarized] | None = None  # where they were read ahead
        self.read_group: Callable[[str], None] | None = None  # reads a part of this run and those around it in a list
        self.parsed_config: Any = MISSING  # or its text, if that is damaged

    def __call__(self, name: str) -> Any:
        if name in self.known:
            return self.known[name]
        return self._files(name) if name in _KINDS else getattr(self, "_" + name)()

    def _ask(self, query: Any) -> list[Any]:
        with self.database.reading() as connection:
            return list(connection.execute(query))

    def _uid(self) -> str:
        return told_text(self.row.uid or "")

    def _status(self) -> str:
        return told_text(self.row.status)

    def _command(self) -> str:
        return told_text(self.row.command or "")

    def raw_config(self) -> Any:
        """Return the config as it is stored."""
        if self.parsed_config is MISSING and self.read_group is not None:
            self.read_group("config")
        if self.parsed_config is MISSING or isinstance(self.parsed_config, str):
            self.parsed_config = plainjson.loads(self.row.config or "{}")
        return self.parsed_config

    def of_summary(self, name: str, part: str) -> Any:
        """Return what the summary of a metric says, where one row tells it."""
        found = [each.summary for each in self.series if each.name == name] if self.series is not None else None
        if found is None or len(found) > 1 or (found and isinstance(found[0], str)):
            return UNKNOWN
        return scalar(found[0].get(part, MISSING)) if found and found[0] is not None else MISSING

    def _config(self) -> Any:
        data = self.raw_config()
        return data if is_untagged(self.row.config or "") else decode(data)

    def _result(self) -> Any:
        return from_json(self.row.result)

    def _name(self) -> str:
        if self.read_group is None:
            raise KeyError("name")
        if self.sacreds_name is None:
            self.read_group("name")
        name = self.sacreds_name
        if name and len(name) < tables.SHORT and name.isprintable() and "\ufffd" not in name and name[0] not in "[{":
            return name  # as it was told: it is text, and all of it was taken
        if "experiment" not in self.texts and "experiment" not in self.known:
            self.read_group("experiment")
        return _name_in(self.texts.get("experiment"))

    def _tags(self) -> list[str]:
        return from_json(self.row.tags, [])

    def _notes(self) -> str:
        return told_text(self.row.notes or "")

    def _queue_time(self) -> Any:
        return told_moment(self.row.queued)

    def _start_time(self) -> Any:
        return told_moment(self.row.started)

    def _stop_time(self) -> Any:
        return told_moment(self.row.stopped)

    def _heartbeat(self) -> Any:
        return told_moment(self.row.heartbeat)

    def _document(self, name: str) -> Any:
        if self.read_group is not None and name in _DOCUMENTS:
            if name not in self.texts:
                self.read_group(name)
            self.known[name] = from_json(self.texts[name], _DOCUMENTS[name])
            return self.known[name]
        table = tables.capture_document
        rows = self._ask(table.select().where(table.c.run == self.number))
        for each, default in (*_DOCUMENTS.items(), ("resumed", [])):
            self.known.setdefault(each, default)
        for row in rows:
            value = plainjson.loads(row.content)
            self.known[row.name] = value if row.name in ("extra", "resumed") else decode(value)
        self.known["resumed"] = [told_moment(text) if isinstance(text, str) else text for text in self.known["resumed"]]
        return self.known[name]

    def _experiment(self) -> Any:
        return self._document("experiment")

    def _host(self) -> Any:
        return self._document("host")

    def _meta(self) -> Any:
        return self._document("meta")

    def _fail_trace(self) -> Any:
        return self._document("fail_trace")

    def _extra(self) -> Any:
        return self._document("extra")

    def _resumed(self) -> Any:
        return self._document("resumed")

    def _info(self) -> Any:
        rows = self._ask(tables.run.select().with_only_columns(tables.run.c.info).where(tables.run.c.id == self.number))
        return from_json(rows[0].info if rows else None, {})

    def _facts(self) -> dict[str, Any]:
        table = tables.capture_fact
        rows = self._ask(table.select().where(table.c.run == self.number).order_by(table.c.id))
        return {told_text(row.topic): from_json(row.facts) for row in rows}

    def _writers(self) -> dict[str, Any]:
        table = tables.capture_writer
        rows = self._ask(table.select().where(table.c.run == self.number).order_by(table.c.id))
        own = [row for row in rows if row.host is not None]
        own.sort(key=lambda row: row.uid == self.row.uid)  # of a run that was taken over, the later uid counts
        return {told_text(row.writer): from_json(row.host) for row in own}

    def _metrics(self) -> Any:
        return StoredSeries(self.database, self.number)

    def _summary(self) -> Any:
        if self.series is None and self.read_group is not None:
            self.read_group("metrics")
        if self.series is None:
            rows = self._ask(_summaries().where(tables.capture_series.c.run == self.number))
            self.series = [summarized for _, summarized in summaries_of(rows)]
        return merged_summary(self.series)

    def _read_output(self) -> Callable[[], str]:
        table = tables.capture_output

        def read() -> str:
            rows = self._ask(table.select().where(table.c.run == self.number).order_by(table.c.start))
            return b"".join(bytes(row.data) for row in rows).decode("utf-8", "replace")

        return read

    def _files(self, name: str) -> list[StoredFile]:
        table, bytes_of = tables.capture_file, tables.capture_blob
        kind = _KINDS[name]
        both = table.outerjoin(bytes_of, bytes_of.c.digest == table.c.digest)
        query = both.select().with_only_columns(*table.c, bytes_of.c.id.label("blob"))
        rows = self._ask(query.where(table.c.run == self.number, table.c.kind == kind).order_by(table.c.id))
        found = [self._file(row) for row in rows]
        if kind == "source":
            found = [stored for stored in found if stored.name.startswith(KEPT) is (name == "kept")]
        return found

    def _file(self, row: Any) -> StoredFile:
        open_blob = None if row.blob is None else partial(_sql_blobs.open_blob, self.database, row.digest)
        metadata, content_type = from_json(row.metadata), from_json(row.content_type)
        name = told_text(row.name)
        return StoredFile(name, row.digest, row.size, metadata, content_type, open_blob)


@lru_cache(maxsize=64)
def _name_in(experiment: str | None) -> str:
    """Return the name in the document of an experiment, which many runs share."""
    described = from_json(experiment, {})
    return str(described.get("name") or "") if isinstance(described, dict) else ""


class SacredsRun:
    """The parts of a run that Sacred wrote."""

    def __init__(self, database: Database, row: Any) -> None:
        self.database, self.row, self.number = database, row, row.id
        self.known: dict[str, Any] = {}
        self._whole: Any = None

    def __call__(self, name: str) -> Any:
        if name in self.known:
            return self.known[name]
        method = getattr(self, f"_{name}", None)
        if method is None:
            raise KeyError(name)
        return method()

    def _ask(self, query: Any) -> list[Any]:
        with self.database.reading() as connection:
            return list(connection.execute(query))

    def _run(self) -> Any:
        if self._whole is None:
            (self._whole,) = self._ask(tables.run.select().where(tables.run.c.id == self.number))
        return self._whole

    def _status(self) -> str:
        return self.row.sacreds_status or "RUNNING"

    def _config(self) -> Any:
        return from_json(self.row.config, {})

    def _command(self) -> str:
        return self._run().command or ""

    def _info(self) -> Any:
        return from_json(self._run().info, {})

    def _result(self) -> Any:
        return self._run().result

    def _fail_trace(self) -> list[str] | None:
        text = self._run().fail_trace
        return None if text is None else [line + "\n" for line in text.splitlines() if line.strip()]

    def _queue_time(self) -> Any:
        return aware_utc(self._run().queue_time)

    def _start_time(self) -> Any:
        return aware_utc(self._run().start_time)

    def _stop_time(self) -> Any:
        return aware_utc(self._run().stop_time)

    def _heartbeat(self) -> Any:
        return aware_utc(self._run().heartbeat)

    def _meta(self) -> dict[str, Any]:
        return {"command": self._command(), "priority": self._run().priority, "comment": self._run().comment}

    def _tags(self) -> list[str]:
        return from_json(getattr(self.row, "tags", None), [])

    def _notes(self) -> str:
        return told_text(getattr(self.row, "notes", None) or "")

    def _read_output(self) -> Callable[[], str]:
        return lambda: self._run().captured_out or ""

    def _host(self) -> dict[str, Any]:
        rows = self._ask(tables.host.select().where(tables.host.c.host_id == self._run().host_id))
        if not rows:
            return {}
        (row,) = rows
        return {
            "hostname": row.hostname,
            "cpu": row.cpu,
            "os": [row.os, row.os_info],
            "python_version": row.python_version,
        }

    def _experiment(self) -> dict[str, Any]:
        table = tables.experiment
        rows = self._ask(table.select().where(table.c.experiment_id == self.row.experiment_id))
        if not rows:
            return {}
        sources = self._linked(tables.source, tables.experiments_sources)
        repositories = self._linked(tables.repository, tables.experiments_repositories)
        dependencies = self._linked(tables.dependency, tables.experiments_dependencies)
        return {
            "name": rows[0].name,
            "base_dir": rows[0].base_dir,
            "sources": [[row.filename, row.md5sum] for row in sources],
            "repositories": [{"url": row.url, "commit": row.commit, "dirty": row.dirty} for row in repositories],
            "dependencies": sorted(f"{row.name}=={row.version}" for row in dependencies),
        }

    def _linked(self, table: Any, association: Any) -> list[Any]:
        """Return the rows of `table`, without their contents, that belong to the experiment."""
        number = next(iter(table.primary_key.columns))
        columns = [column for column in table.c if column.name != "content"]
        query = table.select().with_only_columns(*columns).order_by(number)
        linked = association.c[number.name]
        return self._ask(
            query.join(association, linked == number).where(association.c.experiment_id == self.row.experiment_id)
        )

    def _sources(self) -> list[StoredFile]:
        table, association = tables.source, tables.experiments_sources
        query = table.select().join(association, association.c.source_id == table.c.source_id)
        rows = self._ask(query.where(association.c.experiment_id == self.row.experiment_id).order_by(table.c.source_id))
        return [_sacred_file(row, (row.content or "").encode()) for row in rows]

    def _resources(self) -> list[StoredFile]:
        table, association = tables.resource, tables.runs_resources
        query = table.select().join(association, association.c.resource_id == table.c.resource_id)
        rows = self._ask(query.where(association.c.run_id == self.row.run_id).order_by(table.c.resource_id))
        return [_sacred_file(row, row.content) for row in rows]

    def artifact_rows(self) -> list[dict[str, Any]]:
        """Return number and name of each artifact, as Sacred's `to_json` does."""
        table = tables.artifact
        columns = table.select().with_only_columns(table.c.artifact_id, table.c.filename)
        rows = self._ask(columns.where(table.c.run_id == self.row.run_id).order_by(table.c.artifact_id))
        return [{"_id": row.artifact_id, "filename": row.filename} for row in rows]

    def _artifacts(self) -> list[StoredFile]:
        table = tables.artifact
        rows = self._ask(table.select().where(table.c.run_id == self.row.run_id).order_by(table.c.artifact_id))
        return [_sacred_file(row, row.content) for row in rows]


def _sacred_file(row: Any, content: Any) -> StoredFile:
    """Return a file of a run that Sacred wrote: of its digests it knows the MD5 at most."""
    md5 = getattr(row, "md5sum", None)
    data = None if content is None else bytes(content)
    return StoredFile(
        row.filename,
        None,
        None if data is None else len(data),
        {"md5": md5} if md5 else None,
        None,
        None if data is None else bytes_opener(data),
    )
