"""What Sacred's tables say of a run, in the form that Sacred's own observer answers in."""

from __future__ import annotations

from capture.observers import _sql_tables as tables
from capture.observers._query import not_found
from capture.observers._sql_reader import SacredsRun, SqlReader
from capture.observers._sql_values import stored_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.observers._sql_database import Database


def sacreds_view(database: Database, _id: Any) -> dict[str, Any]:
    """Return what `SqlObserver.query` returns."""
    run = tables.run
    with database.writing() as statements:
        row = statements.connection.execute(run.select().where(run.c.run_id == stored_text(str(_id)))).first()
        if row is None and str(_id).isdigit():
            row = statements.connection.execute(run.select().where(run.c.id == int(_id))).first()
    if row is None:
        raise not_found(database.url.shown(), _id, SqlReader(database=database).all_labels())
    told = SacredsRun(database, row)
    experiment = told("experiment")
    return {
        "_id": row.run_id,
        "command": row.command,
        "start_time": row.start_time,
        "heartbeat": row.heartbeat,
        "stop_time": row.stop_time,
        "queue_time": row.queue_time,
        "status": row.status,
        "result": row.result,
        "meta": {"comment": row.comment, "priority": row.priority},
        "resources": [{"filename": each.name, "md5sum": each.metadata["md5"]} for each in told("resources")],
        "artifacts": told.artifact_rows(),
        "host": told("host"),
        "experiment": {
            **experiment,
            "sources": [{"filename": name, "md5sum": md5} for name, md5 in experiment.get("sources", ())],
        },
        "config": told("config"),
        "captured_out": row.captured_out,
        "fail_trace": row.fail_trace,
    }
