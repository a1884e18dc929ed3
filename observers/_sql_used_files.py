"""Which runs of a database had to do with a file."""

from __future__ import annotations

from functools import partial

from capture import plainjson
from capture.observers import _sql_blobs
from capture.observers import _sql_tables as tables
from capture.observers._marked_files import MarkedFiles, uncollected
from capture.observers._sql_query import of_runs
from capture.observers._sql_values import key_of, told_text
from capture.records import StoredFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from sqlalchemy import Connection

    from capture.observers._sql_database import Database
    from capture.observers._sql_reader import SqlReader
    from capture.records import RunRecord

_PAGE = 500  #: runs whose facts are in memory at once
_LISTS = {"source": "sources", "resource": "resources"}


def used_files(reader: SqlReader, database: Database, progress: Callable[[], Any]) -> MarkedFiles:
    """Return what all runs in sight list of files; `progress` is called for each of them."""
    numbers: list[int] = []

    def read(places: Sequence[int]) -> Iterator[tuple[int, RunRecord]]:
        numbered = {numbers[place]: place for place in places}
        return ((numbered[number], record) for number, record in reader.read_numbered(list(numbered)))

    found = MarkedFiles(read)
    with uncollected():
        for rows in reader.numbered(_PAGE):
            numbers += [row.id for row in rows]
            ours = [row.id for row in rows if row.layout == "capture"]
            sacreds = dict(reader.read_numbered([row.id for row in rows if row.layout != "capture"]))
            with database.reading() as connection:
                lineage, files = _lineage(connection, ours), _files(connection, database, ours)
            for row in rows:
                label = told_text(row.run_id)
                if row.layout == "capture":
                    found.add(label, lineage.get(row.id), files.get(row.id, ()))
                elif row.id in sacreds:
                    found.add_record(label, sacreds[row.id])
                else:
                    found.add_unknown(label, "somebody purged it just now")
                progress()
    return found


def _lineage(connection: Connection, numbers: list[int]) -> dict[int, Any]:
    """Return the facts about files as they are stored, by the numbers of runs; what is no JSON, as text."""
    table = tables.capture_fact
    query = table.select().with_only_columns(table.c.run, table.c.facts).where(table.c.name_key == key_of("lineage"))
    rows = of_runs(connection, query, table.c.run, numbers)
    return dict(zip([row.run for row in rows], plainjson.loads_each([row.facts for row in rows])))


def _files(connection: Connection, database: Database, numbers: list[int]) -> dict[int, list[tuple[str, StoredFile]]]:
    """Return the stored files, and of these no more than what identifies them, by the numbers of runs."""
    table = tables.capture_file
    columns = table.c.run, table.c.kind, table.c.name, table.c.digest, table.c.size
    query = table.select().with_only_columns(*columns).order_by(table.c.id)
    found: dict[int, list[tuple[str, StoredFile]]] = {}
    for row in of_runs(connection, query, table.c.run, numbers):
        opener = partial(_sql_blobs.open_blob, database, row.digest)
        stored = StoredFile(told_text(row.name), row.digest, row.size, open=opener)
        found.setdefault(row.run, []).append((_LISTS.get(row.kind, "artifacts"), stored))
    return found
