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
from capture.observers._labels import is_number
from capture.observers._sql_points import PointWriter
from capture.observers._sql_statements import Statements
from capture.observers._sql_values import (
    LONGEST,
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
from capture.observers._writing import Blob, RunWriter, joined, log
from capture.records import KEPT, experiment_facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from typing import Any

    from sqlalchemy import Connection

    from capture.hooks import MetricsBatch
    from capture.observers._sql_database import Database

_HELD = 2 << 20  #: bytes of output and points that are held in memory before they are stored
_PIECE = 16 << 10  #: bytes of output up to which it is added to the last row
_LONGEST_PIECE = 1 << 20  #: bytes of output in one row
_SHOWN = 64 << 10  #: bytes of output that Sacred's table shows while the run goes on
_MAX_SHOWN = 16 << 20  #: bytes of output that it shows at all
_MAX_SHOWN_IN_MYSQL = 4 << 20  #: likewise, where the length of a statement is limited
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
        self.places: dict[str, list[tuple[str, int]]] = {}  # what was told -> writer and seq of the events
        self.seqs = False
        self.size = 0

    def __bool__(self) -> bool:
        return any(vars(self).values())


class _Doubted:
    """What a transaction would have added whose end nobody knows: the connection was lost while it was committed.

    Attributes
    ----------
    places : dict of str to (int, list of int)
        How far each writer is if it was made, and what it missed.
    refused : list of (str, int)
        What it left out.
    """

    def __init__(
        self, pending: _Pending, places: dict[str, tuple[int, list[int]]], refused: list[tuple[str, int]]
    ) -> None:
        self.places, self.refused = places, refused
        self._counts = {name: len(getattr(pending, name)) for name in ("resumed", "extra", "batches")}

    def take_out(self, pending: _Pending) -> None:
        """Take out of what waits what was added; more may have come behind it."""
        for name, count in self._counts.items():
            del getattr(pending, name)[:count]


class _File:
    """A file that is to be stored, or only listed: then what is known of its bytes is all there is of them."""

    __slots__ = ("blob", "content_type", "is_listed", "kind", "metadata", "name")

    def __init__(
        self, kind: str, name: str, blob: Blob, metadata: Any = None, content_type: Any = None, is_listed: bool = False
    ) -> None:
        self.kind, self.name, self.blob, self.is_listed = kind, name, blob, is_listed
        self.metadata, self.content_type = to_json(metadata), to_json(content_type)

    @property
    def key(self) -> str:
        if self.kind == "resource":  # which differ by their content, too
            return key_of(self.kind, self.name, self.blob.digest)
        return key_of(self.kind, self.name)


def _lost() -> Any:
    raise FileNotFoundError("the bytes of this file are lost: it is only listed")


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
        self._told = ""  # what the event says that is being told
        self._pending = _Pending()
        self._doubted: _Doubted | None = None
        self._points = PointWriter()
        self._experiment: int | None = None
        self._is_new = False  # made in the transaction that goes on: nothing of it is there yet
        self._last_info = self._last_result = ""

    def __repr__(self) -> str:
        return f"SqlRun({self.label!r}, {self._database.url.shown()!r})"

    @classmethod
    def find(cls, database: Database, uid: str) -> SqlRun | None:
        """Return a writer that goes on with a run that is stored, or None."""
        stored = stored_text(uid)
        with database.writing() as statements:
            number = statements.value("capture_run", "run", uid=stored)
            if number is None:  # the uid of a queued run that another process has taken over
                number = statements.value("capture_writer", "run", uid=stored)
            if number is None:
                return None
            label = statements.value("run", "run_id", id=number)
            rows = statements.select("capture_writer", ["writer", "seq", "missed"], run=number, uid=stored)
        seqs = {told_text(writer): seq for writer, seq, _ in rows}
        missed = {told_text(writer): plainjson.loads(text) for writer, _, text in rows}
        return cls(database, uid, number, told_text(label), seqs=seqs, missed=missed)

    # ------------------------------------------------------------------------------------------- exactly once

    def stored(self, writer: str, seq: int) -> None:
        super().stored(writer, seq)
        self._own_writers.add(writer)
        self._pending.seqs = True
        if seq and self._told:
            self._pending.places.setdefault(self._told, []).append((writer, seq))

    def failed(self, writer: str, seq: int) -> None:
        super().failed(writer, seq)
        self._own_writers.add(writer)
        self._pending.seqs = True

    # ------------------------------------------------------------------------------------------- what happens

    def opened(self, writer: str, host: Any, version: Any) -> None:
        self._told = "run"
        self._pending.hosts[writer] = to_json(host)
        self._own_writers.add(writer)
        if version is not None:
            self._pending.own["version"] = plain_text(version, 64)

    def described(
        self, status: str, moment: datetime, ex_info: Any, command: str, host_info: Any, config: Any, meta_info: Any
    ) -> None:
        self._told = "description"
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
        self._told = "description"
        pending = self._pending
        self._status("RUNNING")
        pending.own["stopped"] = None
        pending.sacreds.update(stop_time=None, fail_trace=None)
        pending.documents["fail_trace"] = "null"
        pending.resumed.append(moment_text(moment))

    def facts(self, topic: str, facts: Any) -> None:
        self._told = f"facts {topic}"
        self._pending.facts[topic] = encode(facts)

    def output(self, text: str, offset: int | None) -> None:
        self._told = "output"
        try:
            data = text.encode("utf-8")
        except UnicodeEncodeError:
            data = text.encode("utf-8", "surrogatepass")
        self._make_room(len(data))
        self._pending.output.append((offset, data))

    def metrics(self, batch: MetricsBatch, writer: str, seq: int) -> None:
        self._told = "points"
        self._make_room(len(batch.encoded))
        self._pending.batches.append((writer, seq, batch.encoded))

    def _make_room(self, size: int) -> None:
        if self._pending.size + size > _HELD and self._pending.size:
            self.flush()
        self._pending.size += size

    def beat(self, moment: datetime, info: Any, result: Any) -> None:
        self._told = "heartbeat"
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
        self._told = "files"
        self._pending.files.append(_File("source", path, blob))

    def resource(self, filename: str, blob: Blob) -> None:
        self._told = "files"
        self._pending.files.append(_File("resource", filename, blob))

    def artifact(self, name: str, blob: Blob, metadata: Any, content_type: str | None) -> None:
        self._told = "files"
        self._pending.files.append(_File("artifact", name, blob, metadata, content_type))

    def listed(self, kind: str, name: str, digest: str, size: int, metadata: Any, content_type: Any) -> None:
        self._told = "files"
        lost = Blob(digest, "", size, _lost)
        self._pending.files.append(_File(kind, name, lost, metadata, content_type, is_listed=True))

    def annotated(self, tags: list[str] | None, notes: str | None) -> None:
        self._told = "run"
        if tags is not None:
            self._pending.own["tags"] = to_json(list(tags))
        if notes is not None:
            self._pending.own["notes"] = stored_text(notes)

    def finished(self, status: str, moment: datetime, **more: Any) -> None:
        self._told = "description"
        self._status(status)
        self._time("stopped", "stop_time", moment)
        if "result" in more:
            self._result(more["result"])
        if "fail_trace" in more:
            self._pending.documents["fail_trace"] = to_json(more["fail_trace"])
            self._pending.sacreds["fail_trace"] = _sql_sacred.trace_text(more["fail_trace"])

    def unknown(self, payload: dict[str, Any]) -> None:
        self._told = "description"
        self._pending.extra.append(payload)

    # --------------------------------------------------------------------------------------------------- writing

    def flush(self) -> None:
        """Store what was told, in one transaction."""
        if self.gone or not self._pending:
            return
        problem: Exception | None = None
        for _ in range(_TRIES):
            try:
                self._upload_large()
                self._store(one_by_one=False)
                return
            except _RunGone:
                self.gone = True
                return
            except _BytesGone:
                continue
            except (_sql_errors.DatabaseAwayError, _sql_errors.DatabaseRefusedError, _sql_errors.DatabaseVersionError):
                raise
            except Exception as error:  # noqa: BLE001 - raised again, or logged, when each step is tried by itself
                problem = error
                if not _sql_errors.is_conflict(error):
                    break
        try:
            self._store(one_by_one=True)
        except _BytesGone:  # the bytes of a large file, which are stored before all else
            if problem is not None:
                raise problem from None
            place = self._database.url.shown()
            raise _sql_errors.DatabaseAwayError(
                f"the bytes of a large file were deleted in {place}, by a purge or by hand, while the run was stored",
                print_traceback=False,
            ) from None

    def _upload_large(self) -> None:
        for file in self._pending.files:
            if _sql_blobs.is_large(file.blob) and not file.is_listed:
                _sql_blobs.upload(self._database, file.blob)

    def _store(self, one_by_one: bool) -> None:
        """Make one transaction of all that waits.

        With `one_by_one`, each step is tried by itself, and what the database does not take is left out, which the log
        says: else one value that it refuses would keep back all that comes later.
        """
        before, is_told = (self.number, self.label, self._experiment), False
        refused: dict[tuple[str, int], None] = {}
        lost: list[tuple[_Step, Exception]] = []
        try:
            with self._database.writing() as statements:
                self._is_new = False
                self._lock(statements)
                if self._doubted is not None:
                    self._settle(statements, self._doubted)
                for step in self._steps():
                    if not one_by_one:
                        step.act(statements)
                        continue
                    savepoint = _Savepoint(statements.connection)
                    try:
                        step.act(statements)
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
                refused = dict.fromkeys(place for step, _ in lost for place in step.places)
                for writer, seq in refused:
                    self.failed(writer, seq)
                self._store_seqs(statements)
                is_told = True
        except BaseException:
            if is_told and self.uid is not None:  # it may have been made all the same
                self._doubted = _Doubted(self._pending, self._own_places(), list(refused))
            self.number, self.label, self._experiment = before
            self._points.forget()
            raise
        for step, reason in lost:
            text = "%s of run %s could not be stored in %s: %s"
            log().error(text, step.name, self.label, self._database.url.shown(), reason)
        self.refused += refused
        self._pending, self._doubted = _Pending(), None

    def _settle(self, statements: Statements, doubted: _Doubted) -> None:
        """See whether the transaction was made whose answer was lost: what it added must not be added again.

        All else that it stored may be stored twice, and changes nothing.
        """
        known = {"run": self.number, "uid": stored_text(str(self.uid))}
        rows = statements.select("capture_writer", ["writer", "seq", "missed"], **known)
        stored = {told_text(writer): (seq, plainjson.loads(missed)) for writer, seq, missed in rows}
        nothing: tuple[int, list[int]] = (0, [])
        if all(
            stored.get(writer, nothing)[0] >= seq and stored.get(writer, nothing)[1] == missed
            for writer, (seq, missed) in doubted.places.items()
        ):
            doubted.take_out(self._pending)
            self.refused += doubted.refused
        self._doubted = None

    def _own_places(self) -> dict[str, tuple[int, list[int]]]:
        """Return how far each of our writers is, and what it missed before."""
        return {
            writer: (self.seqs.get(writer, 0), sorted(self.missed.get(writer, ()))) for writer in self._own_writers
        }

    def _steps(self) -> list[_Step]:
        pending = self._pending

        def places(*kinds: str) -> tuple[tuple[str, int], ...]:
            return tuple(place for kind in kinds for place in pending.places.get(kind, ()))

        described = places("description", "heartbeat")
        steps = [_Step("what the run is", self._store_columns, places("run") + described)]
        if "config" in pending.sacreds:
            steps.append(_Step("the config", partial(self._store_exact, name="config"), places("description")))
        if "info" in pending.sacreds:
            steps.append(_Step("the info", partial(self._store_exact, name="info"), places("heartbeat")))
        if pending.described is not None:
            steps.append(_Step("what can be searched of the config", self._store_config))
        if pending.documents or pending.resumed or pending.extra:
            steps.append(_Step("its description", self._store_documents, described))
        # Sacred's tables repeat what ours hold: what they do not take is logged, and the run is whole all the same
        steps.append(_Step("what Sacred's table of runs says", self._store_sacreds))
        if pending.described is not None:
            steps.append(_Step("experiment and host in Sacred's tables", self._store_parts))
        steps += [
            _Step(f"the facts {topic!r}", partial(self._store_facts, topic=topic), places(f"facts {topic}"))
            for topic in pending.facts
        ]
        if pending.output:
            steps.append(_Step("the output", self._store_output, places("output")))
        if pending.output or self.ended:
            steps.append(_Step("the output in Sacred's table", self._show_output))
        if pending.batches:
            batches = tuple((writer, seq) for writer, seq, _ in pending.batches)
            steps.append(_Step("points of metrics", self._store_points, batches))
        if pending.files:
            steps.append(_Step("files", self._store_files, places("files")))
        return steps

    # The run itself.

    def _lock(self, statements: Statements) -> None:
        """Make sure that the run is there, and that nobody else changes it before the transaction ends."""
        if self.number is None:
            self._claim(statements)
            return
        row = statements.first("capture_run", ["uid"], lock=statements.for_update, run=self.number)
        if row is None or (row.uid is not None and self.uid is not None and not self._is_ours(statements, row.uid)):
            raise _RunGone

    def _is_ours(self, statements: Statements, uid: str) -> bool:
        if told_text(uid) == self.uid:
            return True
        known = {"run": self.number, "uid": stored_text(str(self.uid))}
        return statements.first("capture_writer", ["id"], **known) is not None

    def _claim(self, statements: Statements) -> None:
        """Take a label. Who counts has locked the counter, so that labels are given one after the other."""
        last = statements.value("capture_counter", "value", lock=statements.for_update, name="label")
        uid = None if self.uid is None else stored_text(self.uid)
        if uid is not None:
            self.number = statements.value("capture_run", "run", uid=uid)
            if self.number is not None:  # another process told of this run at the same moment
                self.label = told_text(statements.value("run", "run_id", id=self.number))
                return
        label = None if self.label is None else stored_text(str(self.label))
        if label is not None and self._takes_over and self._take_over(statements, label, uid):
            return
        if not label or len(label) > LONGEST or not _is_free(statements, label):
            number = _next_number(statements, last)
            label = str(number)
        else:
            number = int(label) if is_number(label) and len(label) < 19 else 0
        if number > last:
            statements.update("capture_counter", {"value": number}, name="label")
        self.number = statements.add("run", {"run_id": label})
        self.label, self._is_new = told_text(label), True
        row = {"run": self.number, "uid": uid, "layout": "capture", "status": "RUNNING", "version": __version__}
        statements.insert("capture_run", {**row, "binned": False, "indexed": True})

    def _take_over(self, statements: Statements, label: str, uid: str | None) -> bool:
        """Go on with a queued run, if one has this label."""
        row = statements.first("run", ["id", "run_id"], run_id=label)
        if row is None or row.run_id != label:
            return False
        if statements.update("capture_run", {"uid": uid}, run=row.id, status="QUEUED", binned=False) != 1:
            return False
        self.number, self.label = row.id, told_text(label)
        return True

    def _store_columns(self, statements: Statements) -> None:
        if self._pending.own:
            statements.update("capture_run", self._pending.own, run=self.number)

    def _store_exact(self, statements: Statements, name: str) -> None:
        """Store one of the columns of Sacred's table from which the record is read."""
        statements.update("run", {name: self._pending.sacreds[name]}, id=self.number)

    def _store_sacreds(self, statements: Statements) -> None:
        pending = self._pending
        sacreds = {name: value for name, value in pending.sacreds.items() if name not in ("config", "info")}
        if "command" in sacreds:
            sacreds.update(_sql_sacred.fitting(statements, {"command": sacreds["command"]}))
        if sacreds:
            statements.update("run", sacreds, id=self.number)

    def _store_parts(self, statements: Statements) -> None:
        assert self._pending.described is not None
        ex_info, host_info, _ = self._pending.described
        experiment, host = _sql_sacred.put_experiment(statements, ex_info), _sql_sacred.put_host(statements, host_info)
        statements.update("run", {"experiment_id": experiment, "host_id": host}, id=self.number)
        self._experiment = experiment

    def _store_config(self, statements: Statements) -> None:
        assert self._pending.described is not None and self.number is not None
        _, host_info, config = self._pending.described
        if not self._is_new:
            statements.delete("capture_config", run=self.number)
            statements.delete("capture_gpu", run=self.number)
        rows, whole = config_rows(config)
        statements.insert("capture_config", *[{"run": self.number, **row} for row in rows])
        if not whole or not self._is_new:
            statements.update("capture_run", {"indexed": whole}, run=self.number)
        statements.insert("capture_gpu", *_sql_sacred.gpu_rows(self.number, host_info))

    def _store_documents(self, statements: Statements) -> None:
        pending = self._pending
        if self._is_new:
            rows = [{"run": self.number, "name": name, "content": text} for name, text in pending.documents.items()]
            statements.insert("capture_document", *rows)
        else:
            for name, content in pending.documents.items():
                self._put_document(statements, name, content)
        for name, more in (("resumed", pending.resumed), ("extra", pending.extra)):
            if more:
                old = self._document(statements, name)
                content = plainjson.dumps([*(plainjson.loads(old) if old else ()), *more], allow_nan=False)
                self._put_document(statements, name, content)

    def _document(self, statements: Statements, name: str) -> str | None:
        return statements.value("capture_document", "content", run=self.number, name=name)

    def _put_document(self, statements: Statements, name: str, content: str) -> None:
        statements.put("capture_document", {"run": self.number, "name": name}, {"content": content})

    def _store_facts(self, statements: Statements, topic: str) -> None:
        facts = self._pending.facts[topic]
        known = {"run": self.number, "name_key": key_of(topic)}
        content = plainjson.dumps(facts, separators=(",", ":"), allow_nan=False)
        statements.put("capture_fact", known, {"topic": stored_text(topic), "facts": content})
        anew = experiment_facts(topic, decode(facts))
        if anew:
            old = self._document(statements, "experiment")
            whole = {**(plainjson.loads(old) if old else {}), **encode(anew)}
            self._put_document(statements, "experiment", plainjson.dumps(whole, allow_nan=False))
            experiment = self._experiment_of(statements)
            if experiment is not None:
                _sql_sacred.put_dependencies(statements, experiment, anew["dependencies"])

    def _experiment_of(self, statements: Statements) -> int | None:
        if self._experiment is None:
            self._experiment = statements.value("run", "experiment_id", id=self.number)
        return self._experiment

    # Output.

    def _store_output(self, statements: Statements) -> None:
        for offset, data in joined(self._pending.output):
            self._write_output(statements, offset, data)

    def _write_output(self, statements: Statements, offset: int | None, data: bytes) -> None:
        """Make the output ``old[:offset] + data``."""
        start, last = self._last_output(statements)
        if offset is not None and offset < start + len(last):
            while offset < start:
                statements.delete("capture_output", run=self.number, start=start)
                start, last = self._last_output(statements)
            last = last[: offset - start]
            changed = True
        else:
            changed = False
        if changed or (last and len(last) + len(data) <= _PIECE):
            statements.delete("capture_output", run=self.number, start=start)
            data = last + data
        else:
            start += len(last)
        for place in range(0, len(data), _LONGEST_PIECE):
            piece = data[place : place + _LONGEST_PIECE]
            statements.insert("capture_output", {"run": self.number, "start": start + place, "data": piece})

    def _last_output(self, statements: Statements) -> tuple[int, bytes]:
        """Return where the last piece of the output begins, and what it is."""
        row = statements.first("capture_output", ["start", "data"], "ORDER BY start DESC", run=self.number)
        return (0, b"") if row is None else (row.start, bytes(row.data))

    def _show_output(self, statements: Statements) -> None:
        """Put the output where Sacred has it: while the run goes on, as long as it is short."""
        start, last = self._last_output(statements)
        size = start + len(last)
        if size > _SHOWN and not self.ended:
            return
        if size > (_MAX_SHOWN_IN_MYSQL if statements.is_mysql else _MAX_SHOWN):
            text = f"({size:,} bytes of output are in the table capture_output)"
        else:
            pieces = statements.select("capture_output", ["data"], "ORDER BY start", run=self.number)
            text = b"".join(bytes(data) for (data,) in pieces).decode("utf-8", "replace")
        statements.update("run", {"captured_out": plain_text(text)}, id=self.number)

    # Points and files.

    def _store_points(self, statements: Statements) -> None:
        assert self.number is not None
        self._points.write(statements, self.number, [(writer, line) for writer, _, line in self._pending.batches])

    def _store_files(self, statements: Statements) -> None:
        files = self._pending.files
        there = _sql_blobs.present(statements, [file.blob.digest for file in files])
        for file in sorted(files, key=lambda file: file.blob.digest):
            if file.blob.digest not in there and not file.is_listed:
                if _sql_blobs.is_large(file.blob):
                    raise _BytesGone
                _sql_blobs.store(statements, file.blob)
                there.add(file.blob.digest)
        columns = ["name_key", "id", "digest", "sacred_id"]
        rows = statements.among("capture_file", columns, "name_key", [file.key for file in files], run=self.number)
        known = {key: (number, digest, sacreds) for key, number, digest, sacreds in rows}
        replaced = []
        for file in files:
            old = known.get(file.key)
            row = self._file_row(statements, file, old)
            if old is None:
                number = statements.add("capture_file", row)
            else:
                number = old[0]
                statements.update("capture_file", row, id=number)
                if old[1] != row["digest"]:
                    replaced.append(old[1])
            known[file.key] = (number, row["digest"], row["sacred_id"])
        if replaced:
            _sql_blobs.collect(statements, replaced)

    def _file_row(self, statements: Statements, file: _File, old: tuple[int, str, int | None] | None) -> dict[str, Any]:
        label, number = stored_text(str(self.label)), None
        if file.is_listed:  # Sacred's tables have rows of what can be read
            pass
        elif file.kind == "source" and not file.name.startswith(KEPT):
            number = _sql_sacred.put_source(statements, self._experiment_of(statements), file.name, file.blob)
        elif file.kind == "resource":
            number = _sql_sacred.put_resource(statements, label, file.name, file.blob)
        elif file.kind == "artifact":
            number = _sql_sacred.put_artifact(statements, label, file.name, file.blob, old[2] if old else None)
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

    def _store_seqs(self, statements: Statements) -> None:
        uid = None if self.uid is None else stored_text(self.uid)
        for writer, (seq, missed) in sorted(self._own_places().items()):
            known = {"run": self.number, "name_key": key_of(self.uid or "", writer)}
            values = {
                "uid": uid,
                "writer": stored_text(writer),
                "seq": seq,
                "missed": plainjson.dumps(missed),
            }
            if writer in self._pending.hosts:
                values["host"] = self._pending.hosts[writer]
            statements.put("capture_writer", known, values)


class _Step:
    """One part of a transaction.

    Attributes
    ----------
    name : str
        What it stores, for messages.
    places : tuple of (str, int)
        Events that it stores, whose loss must be known; none where it repeats what other steps store.
    """

    def __init__(self, name: str, act: Callable[[Statements], None], places: tuple[tuple[str, int], ...] = ()) -> None:
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


def _is_free(statements: Statements, label: str) -> bool:
    """Say whether no run has a label, or had it."""
    if statements.first("run", ["id"], run_id=label) is not None:
        return False
    return statements.first("capture_purged", ["label"], label=label) is None


def _next_number(statements: Statements, last: int) -> int:
    """Return the next number that no run has, nor had: others than we may write into Sacred's tables."""
    from capture.observers._sql_schema import largest_label

    number, tried = last + 1, 0
    while not _is_free(statements, str(number)):
        tried += 1
        number = max(number, largest_label(statements.connection)) + 1 if tried % 8 == 0 else number + 1
    return number
