"""Are the copies of files in Sacred's own tables what was recorded? Sacred's tools read those, and not ours."""

from __future__ import annotations

from capture.observers import _sql_blobs
from capture.observers import _sql_tables as tables
from capture.observers._sql_sacred import MAX_CONTENT, MAX_SOURCE
from capture.observers._sql_values import plain_text, stored_text, told_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from capture.observers._sql_database import Database

#: kind of a file, as in `capture_file` -> the record's name of it, Sacred's table, and the bytes that this takes
_PLACES = {
    "artifact": ("artifacts", tables.artifact, MAX_CONTENT),
    "resource": ("resources", tables.resource, MAX_CONTENT),
    "source": ("sources", tables.source, MAX_SOURCE),
}


def copy_problems(database: Database, label: str) -> Iterator[tuple[str, str, str]]:
    """Yield kind, name and what is wrong of each copy that is not what was recorded."""
    from sqlalchemy import select

    if not _has_files(database):
        return
    run, file = tables.run, tables.capture_file
    mine = select(file).join(run, run.c.id == file.c.run).where(run.c.run_id == stored_text(label))
    with database.reading() as connection:
        rows = list(connection.execute(mine.where(file.c.sacred_id.is_not(None)).order_by(file.c.id)))
    for row in rows:
        kind, table, limit = _PLACES[row.kind]
        number = next(iter(table.primary_key.columns))
        with database.reading() as connection:
            copy = connection.execute(select(table.c.content).where(number == row.sacred_id)).first()
        wrong = _wrong(database, row, None if copy is None else (copy.content,), limit)
        if wrong:
            where = f"its copy in Sacred's table {table.name} ({number.name} {row.sacred_id})"
            yield kind, told_text(row.name), f"{where} {wrong}"


def _has_files(database: Database) -> bool:
    from sqlalchemy import inspect

    with database.reading() as connection:
        return inspect(connection).has_table(tables.capture_file.name)


def _wrong(database: Database, row: Any, copy: tuple[Any] | None, limit: int) -> str:
    """Say what is wrong with a copy; "" if nothing is."""
    if copy is None:
        return "is missing"
    (content,) = copy
    if row.size > limit:
        return ""
    if content is None:
        return "has no content"
    if row.kind == "source":  # as text, without what a database cannot hold
        try:
            with _sql_blobs.open_blob(database, row.digest) as stream:
                wanted = plain_text(stream.read().decode("utf-8", "replace"))
        except FileNotFoundError:  # which is said of the file itself
            return ""
        return "" if content == wanted else "has changed: its text is not that of the source"
    import hashlib

    data = content.encode() if isinstance(content, str) else bytes(content)
    digest = hashlib.sha256(data).hexdigest()
    return "" if digest == row.digest else f"has changed: SHA-256 {digest}, recorded is {row.digest}"
