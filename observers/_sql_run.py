"""One run that is being written to a database.

`SqlRun` keeps what it is told until `flush`, which stores all of it in one transaction, with the place in each writer's
journal up to which it is stored: all of it, once, or nothing. A transaction first locks its run, so that several
writers of one run do not get into each other's way.
"""

from __future__ import annotations

from functools import partial

from capture import plainjson
from capture._version import __version__
from capture.codec import decode, encode
from capture.observers import _sql_blobs, _sql_errors, _sql_sacred
from capture.observers import _sql_tables as tables
from capture.observers._labels import is_number
from capture.observers._sql_points import PointWriter
from capture.observers._sql_values import (
    config_rows,
    key_of,
    moment_text,
    naive_utc,
    number_or_none,
    plain_text,
    stored_text,
    to_json,
    told_text,
)
from capture.observers._writing import RunWriter, log
from capture.records import KEPT, experiment_facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from typing import Any

    from sqlalchemy import Connection

    from capture.hooks import MetricsBatch
    from capture.observers._sql_database import Database
    from capture.observers._writing import Blob

_HELD = 2 << 20  #: bytes of output and points that are held in memory before they are stored
_PIECE = 16 << 10  #: bytes of output up to which it is added to the last row
_LONGEST_PIECE = 1 << 20  #: bytes of output in one row
_SHOWN = 64 << 10  #: bytes of output that Sacred's table shows while the run goes on
_MAX_SHOWN = 16 << 20  #: bytes of output that it shows at all
_TRIES = 5  #: times that a transaction is tried that another process was in the way of


class _Pending:
    """What was told and is not stored yet."""

    def __init__(self) -> None:
        self.sacreds: dict[str, Any] = {}  # columns of run
        self.own: dict[str, Any] = {}  # columns of capture_run
        self.documents: dict[str, str] = {}
        self.described: tuple[Any, Any, Any] | None = None  # experiment, host and config, encoded
        self.resumed: list[str] = []
        self.extra: list[Any] = []
        self.facts: dict[str, Any] = {}
        self.output: list[tuple[int | None, bytes]] = []
        self.batches: list[tuple[str, int, bytes]] = []
        self.files: list[_File] = []
        self.hosts: dict[str, str] = {}
        self.seqs = False
        self.size = 0

    def __bool__(self) -> bool:
        return any(vars(self).values())


class _File:
    """A file that is to be stored."""

    __slots__ = ("blob", "content_type", "kind", "metadata", "name")

    def __init__(self, kind: str, name: str, blob: Blob, metadata: Any = None, content_type: Any = None) -> None:
        self.kind, self.name, self.blob = kind, name, blob
        self.metadata, self.content_type = to_json(metadata), to_json(content_type)

    @property
    def key(self) -> str:
        if self.kind == "resource":  # which differ by their content, too
            return key_of(self.kind, self.name, self.blob.digest)
        return key_of(self.kind, self.name)


class _RunGone(Exception):
    """The run is not in the database any more."""


class _BytesGone(Exception):
    """Bytes that were there have been purged meanwhile."""


class SqlRun(RunWriter):
    """One run that is being written.

    Parameters
    ----------
    database : Database
    uid : str or None
    number : int, optional
        ``run.id``; None for a run that is not in the database yet, which the first `flush` changes.
    label : object
        Its label, or the one that is asked for.
    takes_over : bool
        Whether that label may be the one of a queued run.
    """

    label: Any

    def __init__(
        self,
        database: Database,
        uid: str | None,
        number: int | None = None,
        label: Any = None,
        takes_over: bool = False,
        seqs: Any = None,
        missed: Any = None,
    ) -> None:
        super().__init__(label, uid, seqs, missed)
        self.number = number
        self.gone = False
        self._database = database
        self._takes_over = takes_over
        self._own_writers: set[str] = set()
        self._pending = _Pending()
        self._points = PointWriter()
        self._experiment: int | None = None
        self._is_new = False  # made in the transaction that goes on: nothing of it is there yet
        self._last_info = self._last_result = ""

    def __repr__(self) -> str:
        return f"SqlRun({self.label!r}, {self._database.url.shown()!r})"

    @classmethod
    def find(cls, database: Database, uid: str) -> SqlRun | None:
        """Return a writer that goes on with a run that is stored, or None."""
        from sqlalchemy import select

        own, writers = tables.capture_run, tables.capture_writer
        stored = stored_text(uid)
        with database.writing() as connection:
            number = connection.execute(select(own.c.run).where(own.c.uid == stored)).scalar()
            if number is None:  # the uid of a queued run that another process has taken over
                number = connection.execute(select(writers.c.run).where(writers.c.uid == stored).limit(1)).scalar()
            if number is None:
                return None
            label = connection.execute(select(tables.run.c.run_id).where(tables.run.c.id == number)).scalar()
            rows = connection.execute(writers.select().where(writers.c.run == number, writers.c.uid == stored)).all()
        seqs = {told_text(row.writer): row.seq for row in rows}
        missed = {told_text(row.writer): plainjson.loads(row.missed) for row in rows}
        return cls(database, uid, number, told_text(label), seqs=seqs, missed=missed)

    # ------------------------------------------------------------------------------------------- exactly once

    def stored(self, writer: str, seq: int) -> None:
        super().stored(writer, seq)
        self._own_writers.add(writer)
        self._pending.seqs = True

    def failed(self, writer: str, seq: int) -> None:
        super().failed(writer, seq)
        self._own_writers.add(writer)
        self._pending.seqs = True

    # ------------------------------------------------------------------------------------------- what happens

    def opened(self, writer: str, host: Any, version: Any) -> None:
        self._pending.hosts[writer] = to_json(host)
        self._own_writers.add(writer)
        if version is not None:
            self._pending.own["version"] = plain_text(version, 64)

    def described(
        self, status: str, moment: datetime, ex_info: Any, command: str, host_info: Any, config: Any, meta_info: Any
    ) -> None:
        pending = self._pending
        encoded = encode(config)
        pending.described = (ex_info, host_info, encoded)
        pending.documents.update(experiment=to_json(ex_info), host=to_json(host_info), meta=to_json(meta_info))
        pending.sacreds.update(
            command=plain_text(command),
            config=plainjson.dumps(encoded, separators=(",", ":"), allow_nan=False),
            **_sql_sacred.meta_columns(meta_info),
        )
        pending.own["command"] = stored_text(str(command))
        queued = status == "QUEUED"
        self._status(status)
        self._time("queued" if queued else "started", "queue_time" if queued else "start_time", moment)

    def _status(self, status: str) -> None:
        self._pending.own["status"] = stored_text(str(status))
        self._pending.sacreds["status"] = _sql_sacred.nearest_status(str(status))

    def _time(self, own: str, sacreds: str, moment: datetime) -> None:
        self._pending.own[own] = moment_text(moment)
        self._pending.sacreds[sacreds] = naive_utc(moment)

    def resumed(self, moment: datetime) -> None:
        pending = self._pending
        self._status("RUNNING")
        pending.own["stopped"] = None
        pending.sacreds.update(stop_time=None, fail_trace=None)
        pending.documents["fail_trace"] = "null"
        pending.resumed.append(moment_text(moment))

    def facts(self, topic: str, facts: Any) -> None:
        self._pending.facts[topic] = encode(facts)

    def output(self, text: str, offset: int | None) -> None:
        try:
            data = text.encode("utf-8")
        except UnicodeEncodeError:
            data = text.encode("utf-8", "surrogatepass")
        self._make_room(len(data))
        self._pending.output.append((offset, data))

    def metrics(self, batch: MetricsBatch, writer: str, seq: int) -> None:
        self._make_room(len(batch.encoded))
        self._pending.batches.append((writer, seq, batch.encoded))

    def _make_room(self, size: int) -> None:
        if self._pending.size + size > _HELD and self._pending.size:
            self.flush()
        self._pending.size += size

    def beat(self, moment: datetime, info: Any, result: Any) -> None:
        self._time("heartbeat", "heartbeat", moment)
        text = to_json(info)
        if text != self._last_info:
            self._pending.sacreds["info"] = self._last_info = text
        self._result(result)

    def _result(self, result: Any) -> None:
        text = to_json(result)
        if text != self._last_result:
            self._pending.own["result"] = self._last_result = text
            self._pending.sacreds["result"] = number_or_none(decode(encode(result)))

    def source(self, path: str, blob: Blob) -> None:
        self._pending.files.append(_File("source", path, blob))

    def resource(self, filename: str, blob: Blob) -> None:
        self._pending.files.append(_File("resource", filename, blob))

    def artifact(self, name: str, blob: Blob, metadata: Any, content_type: str | None) -> None:
        self._pending.files.append(_File("artifact", name, blob, metadata, content_type))

    def annotated(self, tags: list[str] | None, notes: str | None) -> None:
        if tags is not None:
            self._pending.own["tags"] = to_json(list(tags))
        if notes is not None:
            self._pending.own["notes"] = stored_text(notes)

    def finished(self, status: str, moment: datetime, **more: Any) -> None:
        self._status(status)
        self._time("stopped", "stop_time", moment)
        if "result" in more:
            self._result(more["result"])
        if "fail_trace" in more:
            self._pending.documents["fail_trace"] = to_json(more["fail_trace"])
            self._pending.sacreds["fail_trace"] = _sql_sacred.trace_text(more["fail_trace"])

    def unknown(self, payload: dict[str, Any]) -> None:
        self._pending.extra.append(payload)

    # --------------------------------------------------------------------------------------------------- writing

    def flush(self) -> None:
        """Store what was told, in one transaction."""
        if self.gone or not self._pending:
            return
        for _ in range(_TRIES):
            try:
                self._upload_large()
                self._store(self._steps(), one_by_one=False)
                return
            except _RunGone:
                self.gone = True
                return
            except _BytesGone:
                continue
            except (_sql_errors.DatabaseAwayError, _sql_errors.DatabaseRefusedError, _sql_errors.DatabaseVersionError):
                raise
            except Exception as error:  # noqa: BLE001 - raised again, or logged, when each step is tried by itself
                if not _sql_errors.is_conflict(error):
                    break
        self._store(self._steps(), one_by_one=True)

    def _upload_large(self) -> None:
        for file in self._pending.files:
            if _sql_blobs.is_large(file.blob):
                _sql_blobs.upload(self._database, file.blob)

    def _store(self, steps: list[_Step], one_by_one: bool) -> None:
        """Make one transaction of the steps.

        With `one_by_one`, each is tried by itself, and what the database does not take is left out, which the log says:
        else one value that it refuses would keep back all that comes later.
        """
        before = self.number, self.label, self._experiment
        lost: list[tuple[_Step, Exception]] = []
        try:
            with self._database.writing() as connection:
                self._is_new = False
                self._lock(connection)
                for step in steps:
                    if not one_by_one:
                        step.act(connection)
                        continue
                    savepoint = _Savepoint(connection)
                    try:
                        step.act(connection)
                    except (_RunGone, _BytesGone):
                        raise
                    except Exception as error:
                        if _sql_errors.is_passing(error):
                            raise
                        savepoint.undo()
                        self._points.forget()
                        lost.append((step, error))
                    else:
                        savepoint.keep()
                for step, _ in lost:
                    for writer, seq in step.places:
                        self.failed(writer, seq)
                self._store_seqs(connection)
        except BaseException:
            self.number, self.label, self._experiment = before
            self._points.forget()
            raise
        for step, reason in lost:
            text = "%s of run %s could not be stored in %s: %s"
            log().error(text, step.name, self.label, self._database.url.shown(), reason)
        self._pending = _Pending()

    def _steps(self) -> list[_Step]:
        pending = self._pending
        steps = [_Step("what the run is", self._store_columns)]
        if pending.described is not None:
            steps.append(_Step("what can be searched of the config", self._store_config))
        if pending.documents or pending.resumed or pending.extra:
            steps.append(_Step("its description", self._store_documents))
        steps.append(_Step("what Sacred's tables say", self._store_sacreds))
        steps += [
            _Step(f"the facts {topic!r}", partial(self._store_facts, topic=topic)) for topic in pending.facts
        ]
        if pending.output:
            steps.append(_Step("the output", self._store_output))
        elif self.ended:
            steps.append(_Step("the output", self._show_output))
        if pending.batches:
            places = tuple((writer, seq) for writer, seq, _ in pending.batches)
            steps.append(_Step("points of metrics", self._store_points, places))
        if pending.files:
            steps.append(_Step("files", self._store_files))
        return steps

    # The run itself.

    def _lock(self, connection: Connection) -> None:
        """Make sure that the run is there, and that nobody else changes it before the transaction ends."""
        if self.number is None:
            self._claim(connection)
            return
        from sqlalchemy import select

        own = tables.capture_run
        row = connection.execute(select(own.c.uid).where(own.c.run == self.number).with_for_update()).first()
        if row is None or (row.uid is not None and self.uid is not None and not self._is_ours(connection, row.uid)):
            raise _RunGone

    def _is_ours(self, connection: Connection, uid: str) -> bool:
        if told_text(uid) == self.uid:
            return True
        from sqlalchemy import select

        writers = tables.capture_writer
        known = select(writers.c.id).where(writers.c.run == self.number, writers.c.uid == stored_text(str(self.uid)))
        return connection.execute(known.limit(1)).first() is not None

    def _claim(self, connection: Connection) -> None:
        """Take a label. Who counts has locked the counter, so that labels are given one after the other."""
        from sqlalchemy import select

        counter, own = tables.capture_counter, tables.capture_run
        last: int = connection.execute(
            select(counter.c.value).where(counter.c.name == "label").with_for_update()
        ).scalar_one()
        uid = None if self.uid is None else stored_text(self.uid)
        if uid is not None:
            there = connection.execute(select(own.c.run).where(own.c.uid == uid)).scalar()
            if there is not None:  # another process told of this run at the same moment
                self.number = there
                self.label = told_text(connection.execute(_label_of(there)).scalar() or "")
                return
        asked = self.label
        label = None if asked is None else stored_text(str(asked))
        if label is not None and self._takes_over and self._take_over(connection, label, uid):
            return
        if label is None or len(label) > tables.LABEL or not label or not _is_free(connection, label):
            number = _next_number(connection, last)
            label = str(number)
        else:
            number = int(label) if is_number(label) and len(label) < 19 else 0
        if number > last:
            connection.execute(counter.update().where(counter.c.name == "label").values(value=number))
        self.number = _sql_sacred.insert(connection, tables.run, {"run_id": label})
        self.label, self._is_new = told_text(label), True
        connection.execute(
            own.insert(),
            {
                "run": self.number,
                "uid": uid,
                "layout": "capture",
                "status": "RUNNING",
                "binned": False,
                "indexed": True,
                "version": __version__,
            },
        )

    def _take_over(self, connection: Connection, label: str, uid: str | None) -> bool:
        """Go on with a queued run, if one has this label."""
        from sqlalchemy import select

        own, run = tables.capture_run, tables.run
        row = connection.execute(select(run.c.id, run.c.run_id).where(run.c.run_id == label)).first()
        if row is None or row.run_id != label:
            return False
        adopted = own.update().where(own.c.run == row.id, own.c.status == "QUEUED", own.c.binned.is_(False))
        if connection.execute(adopted.values(uid=uid)).rowcount != 1:
            return False
        self.number, self.label = row.id, told_text(label)
        return True

    def _store_columns(self, connection: Connection) -> None:
        pending, run, own = self._pending, tables.run, tables.capture_run
        exact = {name: pending.sacreds[name] for name in ("config", "info") if name in pending.sacreds}
        if exact:
            connection.execute(run.update().where(run.c.id == self.number).values(exact))
        if pending.own:
            connection.execute(own.update().where(own.c.run == self.number).values(pending.own))

    def _store_sacreds(self, connection: Connection) -> None:
        pending, run = self._pending, tables.run
        sacreds = {name: value for name, value in pending.sacreds.items() if name not in ("config", "info")}
        if pending.described is not None:
            ex_info, host_info, _ = pending.described
            self._experiment = sacreds["experiment_id"] = _sql_sacred.put_experiment(connection, ex_info)
            sacreds["host_id"] = _sql_sacred.put_host(connection, host_info)
        if sacreds:
            fitting = _sql_sacred.fitting(run, sacreds, connection)
            connection.execute(run.update().where(run.c.id == self.number).values(fitting))

    def _store_config(self, connection: Connection) -> None:
        assert self._pending.described is not None and self.number is not None
        _, host_info, config = self._pending.described
        table, own, gpu = tables.capture_config, tables.capture_run, tables.capture_gpu
        if not self._is_new:
            connection.execute(table.delete().where(table.c.run == self.number))
        rows, whole = config_rows(config)
        if rows:
            connection.execute(table.insert(), [{"run": self.number, **row} for row in rows])
        if not whole:
            connection.execute(own.update().where(own.c.run == self.number).values(indexed=False))
        gpus = _sql_sacred.gpu_rows(self.number, host_info)
        if gpus:
            if not self._is_new:
                connection.execute(gpu.delete().where(gpu.c.run == self.number))
            connection.execute(gpu.insert(), gpus)

    def _store_documents(self, connection: Connection) -> None:
        pending = self._pending
        if self._is_new and pending.documents:
            rows = [{"run": self.number, "name": name, "content": text} for name, text in pending.documents.items()]
            connection.execute(tables.capture_document.insert(), rows)
        else:
            for name, content in pending.documents.items():
                self._put_document(connection, name, content)
        for name, more in (("resumed", pending.resumed), ("extra", pending.extra)):
            if more:
                old = self._document(connection, name)
                content = plainjson.dumps([*(plainjson.loads(old) if old else ()), *more], allow_nan=False)
                self._put_document(connection, name, content)

    def _document(self, connection: Connection, name: str) -> str | None:
        from sqlalchemy import select

        table = tables.capture_document
        query = select(table.c.content).where(table.c.run == self.number, table.c.name == name)
        return connection.execute(query).scalar()

    def _put_document(self, connection: Connection, name: str, content: str) -> None:
        table = tables.capture_document
        known = {"run": self.number, "name": name}
        _put(connection, table, known, {"content": content})

    def _store_facts(self, connection: Connection, topic: str) -> None:
        facts = self._pending.facts[topic]
        known = {"run": self.number, "name_key": key_of(topic)}
        content = plainjson.dumps(facts, separators=(",", ":"), allow_nan=False)
        _put(connection, tables.capture_fact, known, {"topic": stored_text(topic), "facts": content})
        anew = experiment_facts(topic, decode(facts))
        if anew:
            old = self._document(connection, "experiment")
            whole = {**(plainjson.loads(old) if old else {}), **encode(anew)}
            self._put_document(connection, "experiment", plainjson.dumps(whole, allow_nan=False))
            experiment = self._experiment_of(connection)
            if experiment is not None:
                _sql_sacred.put_dependencies(connection, experiment, anew["dependencies"])

    def _experiment_of(self, connection: Connection) -> int | None:
        if self._experiment is None:
            from sqlalchemy import select

            query = select(tables.run.c.experiment_id).where(tables.run.c.id == self.number)
            self._experiment = connection.execute(query).scalar()
        return self._experiment

    # Output.

    def _store_output(self, connection: Connection) -> None:
        from sqlalchemy import select

        table = tables.capture_output
        last = select(table.c.start, table.c.data).where(table.c.run == self.number)
        last = last.order_by(table.c.start.desc()).limit(1)
        for offset, data in joined(self._pending.output):
            row = connection.execute(last).first()
            size = row.start + len(row.data) if row is not None else 0
            if offset is not None and offset < size:
                connection.execute(table.delete().where(table.c.run == self.number, table.c.start >= offset))
                row = connection.execute(last).first()
                if row is not None and row.start + len(row.data) > offset:
                    data = bytes(row.data)[: offset - row.start] + data
                    self._drop_output(connection, row.start)
                    row = None if row.start == 0 else connection.execute(last).first()
                    size = row.start + len(row.data) if row is not None else 0
                else:
                    size = offset
            if row is not None and len(row.data) + len(data) <= _PIECE:
                data, size = bytes(row.data) + data, row.start
                self._drop_output(connection, row.start)
            for start in range(0, len(data), _LONGEST_PIECE):
                piece = data[start : start + _LONGEST_PIECE]
                connection.execute(table.insert(), {"run": self.number, "start": size + start, "data": piece})
        self._show_output(connection)

    def _drop_output(self, connection: Connection, start: int) -> None:
        table = tables.capture_output
        connection.execute(table.delete().where(table.c.run == self.number, table.c.start == start))

    def _show_output(self, connection: Connection) -> None:
        """Put the output where Sacred has it: while the run goes on, as long as it is short."""
        from sqlalchemy import func, select

        table = tables.capture_output
        pieces = select(table.c.data).where(table.c.run == self.number).order_by(table.c.start)
        last = select(table.c.start + func.length(table.c.data)).where(table.c.run == self.number)
        size = connection.execute(last.order_by(table.c.start.desc()).limit(1)).scalar() or 0
        if size > _SHOWN and not self.ended:
            return
        if size > _MAX_SHOWN:
            text = f"({size:,} bytes of output are in the table {table.name})"
        else:
            text = b"".join(map(bytes, connection.execute(pieces).scalars())).decode("utf-8", "replace")
        connection.execute(
            tables.run.update().where(tables.run.c.id == self.number).values(captured_out=plain_text(text))
        )

    # Points and files.

    def _store_points(self, connection: Connection) -> None:
        assert self.number is not None
        self._points.write(connection, self.number, [(writer, line) for writer, _, line in self._pending.batches])

    def _store_files(self, connection: Connection) -> None:
        files = self._pending.files
        there = _sql_blobs.present(connection, [file.blob.digest for file in files])
        for file in sorted(files, key=lambda file: file.blob.digest):
            if file.blob.digest not in there:
                if _sql_blobs.is_large(file.blob):
                    raise _BytesGone
                _sql_blobs.store(connection, file.blob)
                there.add(file.blob.digest)
        known = self._known_files(connection, [file.key for file in files])
        replaced = []
        for file in files:
            old = known.get(file.key)
            row = self._file_row(connection, file, old)
            if old is None:
                number = _sql_sacred.insert(connection, tables.capture_file, row)
            else:
                number, table = old[0], tables.capture_file
                connection.execute(table.update().where(table.c.id == number).values(row))
                if old[1] != row["digest"]:
                    replaced.append(old[1])
            known[file.key] = (number, row["digest"], row["sacred_id"])
        if replaced:
            _sql_blobs.collect(connection, replaced)

    def _known_files(self, connection: Connection, keys: list[str]) -> dict[str, tuple[int, str, int | None]]:
        """Return number, digest and Sacred's number of those files that the run has already, by key."""
        from sqlalchemy import bindparam, select

        table = tables.capture_file
        query = select(table.c.name_key, table.c.id, table.c.digest, table.c.sacred_id).where(
            table.c.run == self.number, table.c.name_key.in_(bindparam("keys", expanding=True))
        )
        found: dict[str, tuple[int, str, int | None]] = {}
        for start in range(0, len(keys), 500):
            for key, number, digest, sacreds in connection.execute(query, {"keys": keys[start : start + 500]}):
                found[key] = (number, digest, sacreds)
        return found

    def _file_row(self, connection: Connection, file: _File, old: tuple[int, str, int | None] | None) -> dict[str, Any]:
        label, number = stored_text(str(self.label)), None
        if file.kind == "source" and not file.name.startswith(KEPT):
            number = _sql_sacred.put_source(connection, self._experiment_of(connection), file.name, file.blob)
        elif file.kind == "resource":
            number = _sql_sacred.put_resource(connection, label, file.name, file.blob)
        elif file.kind == "artifact":
            number = _sql_sacred.put_artifact(connection, label, file.name, file.blob, old[2] if old else None)
        return {
            "run": self.number,
            "name_key": file.key,
            "kind": file.kind,
            "name": stored_text(file.name),
            "digest": file.blob.digest,
            "md5": file.blob.md5,
            "size": file.blob.size,
            "metadata": file.metadata,
            "content_type": file.content_type,
            "sacred_id": number,
        }

    # Who wrote what.

    def _store_seqs(self, connection: Connection) -> None:
        uid = None if self.uid is None else stored_text(self.uid)
        for writer in sorted(self._own_writers):
            known = {"run": self.number, "name_key": key_of(self.uid or "", writer)}
            values = {
                "uid": uid,
                "writer": stored_text(writer),
                "seq": self.seqs.get(writer, 0),
                "missed": plainjson.dumps(sorted(self.missed.get(writer, ()))),
            }
            if writer in self._pending.hosts:
                values["host"] = self._pending.hosts[writer]
            if self._is_new:
                connection.execute(tables.capture_writer.insert(), {**known, "host": None, **values})
            else:
                _put(connection, tables.capture_writer, known, values)


class _Step:
    """One part of a transaction.

    Attributes
    ----------
    name : str
        What it stores, for messages.
    places : tuple of (str, int)
        Events that it stores, where that is known.
    """

    def __init__(self, name: str, act: Callable[[Connection], None], places: tuple[tuple[str, int], ...] = ()) -> None:
        self.name, self.act, self.places = name, act, places


class _Savepoint:
    """A point of a transaction that one can go back to."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        connection.exec_driver_sql("SAVEPOINT one_step")

    def undo(self) -> None:
        self._connection.exec_driver_sql("ROLLBACK TO SAVEPOINT one_step")

    def keep(self) -> None:
        self._connection.exec_driver_sql("RELEASE SAVEPOINT one_step")


def _put(connection: Connection, table: Any, known: dict[str, Any], values: dict[str, Any]) -> None:
    """Set values in the one row that is known by these columns; make it where it is not there."""
    row = [table.c[name] == value for name, value in known.items()]
    if connection.execute(table.select().with_only_columns(next(iter(table.c))).where(*row)).first() is None:
        connection.execute(table.insert(), {**known, **values})
    else:
        connection.execute(table.update().where(*row).values(values))


def _label_of(number: int) -> Any:
    from sqlalchemy import select

    return select(tables.run.c.run_id).where(tables.run.c.id == number)


def _is_free(connection: Connection, label: str) -> bool:
    """Say whether no run has a label, or had it."""
    from sqlalchemy import select

    taken = select(tables.run.c.id).where(tables.run.c.run_id == label)
    purged = select(tables.capture_purged.c.label).where(tables.capture_purged.c.label == label)
    return connection.execute(taken).first() is None and connection.execute(purged).first() is None


def _next_number(connection: Connection, last: int) -> int:
    """Return the next number that no run has, nor had: others than we may write into Sacred's tables."""
    from capture.observers._sql_schema import largest_label

    number, tried = last + 1, 0
    while not _is_free(connection, str(number)):
        tried += 1
        number = max(number, largest_label(connection)) + 1 if tried % 8 == 0 else number + 1
    return number


def joined(output: list[tuple[int | None, bytes]]) -> list[tuple[int | None, bytes]]:
    """Join pieces of output that follow each other, so that they are written at once.

    Examples
    --------
    >>> joined([(0, b"ab"), (2, b"c"), (None, b"d"), (1, b"e")])
    [(0, b'abcd'), (1, b'e')]
    """
    pieces: list[tuple[int | None, list[bytes], int]] = []
    for offset, data in output:
        if pieces:
            first, parts, size = pieces[-1]
            if offset is None or (first is not None and offset == first + size):
                parts.append(data)
                pieces[-1] = (first, parts, size + len(data))
                continue
        pieces.append((offset, [data], len(data)))
    return [(offset, b"".join(parts)) for offset, parts, _ in pieces]
