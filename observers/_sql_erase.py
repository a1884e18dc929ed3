"""Taking one string out of a whole database."""

from __future__ import annotations

import hashlib

from capture.observers import _sql_blobs
from capture.observers import _sql_tables as tables
from capture.observers._eraser import Eraser
from capture.observers._sql_statements import Statements
from capture.observers._sql_values import key_of, stored_text, told_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from sqlalchemy import Connection, Table

    from capture.observers._sql_database import Database

#: columns that hold JSON
_JSON = {
    tables.run: ("config", "info"),
    tables.capture_run: ("tags", "result"),
    tables.capture_document: ("content",),
    tables.capture_writer: ("host",),
    tables.capture_fact: ("facts",),
    tables.capture_file: ("metadata", "content_type"),
}

#: columns that hold text in its stored form
_NAMES = {
    tables.capture_run: ("command", "notes"),
    tables.capture_config: ("path", "text"),
    tables.capture_fact: ("topic",),
    tables.capture_series: ("name",),
    tables.capture_file: ("name",),
    tables.capture_gpu: ("model",),
}

#: columns of Sacred's that hold text, or bytes
_TEXTS = {
    tables.run: ("command", "comment", "fail_trace"),
    tables.host: ("cpu", "hostname", "os", "os_info", "python_version"),
    tables.experiment: ("name", "base_dir"),
    tables.repository: ("url",),
    tables.dependency: ("name", "version"),
    tables.source: ("filename",),
    tables.resource: ("filename",),
    tables.artifact: ("filename",),
}

#: columns of Sacred's that hold the bytes of files or of the output
_CONTENTS = {
    tables.run: ("captured_out",),
    tables.source: ("content",),
    tables.resource: ("content",),
    tables.artifact: ("content",),
}

_PAGE = 200  #: rows that are looked at at once


def erase(database: Database, value: str) -> int:
    """Mask `value` in a database; see `SqlCurator.erase`."""
    eraser = Eraser(value)
    with database.writing() as statements:
        blobs = statements.connection.execute(tables.capture_blob.select()).all()
        runs = list(statements.connection.execute(tables.run.select().with_only_columns(tables.run.c.id)).scalars())
    for blob in blobs:
        with database.writing() as statements:
            _mask_blob(statements.connection, blob, eraser)
    for run in runs:
        with database.writing() as statements:
            _mask_output(statements.connection, run, eraser)
    for table in tables.metadata.sorted_tables:
        with database.writing() as statements:
            _mask_table(statements.connection, table, eraser)
    if eraser.count and database.is_sqlite:
        _rewrite(database)
    return eraser.count


def _rewrite(database: Database) -> None:
    """Have SQLite write its file anew: what was deleted or replaced stays in it otherwise."""
    with database.reading() as connection:
        try:
            connection.exec_driver_sql("VACUUM")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        except Exception as error:  # noqa: BLE001 - somebody reads it at this moment; the records are clean
            from capture.observers._writing import log

            text = "%s could not be rewritten, so that its file may still hold what was erased; VACUUM does that: %s"
            log().warning(text, database.url.shown(), error)


# ----------------------------------------------------------------------------------------------------- bytes


def _mask_blob(connection: Connection, blob: Any, eraser: Eraser) -> None:
    """Mask the bytes of a file, and say everywhere what their digests are now."""
    table = tables.capture_chunk
    if not _mask_pieces(connection, table, table.c.blob == blob.id, table.c.number, eraser):
        return
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    for _, _, data in _pieces(connection, table, table.c.blob == blob.id, table.c.number):
        sha256.update(data)
        md5.update(data)
        size += len(data)
    if blob.digest is not None:
        _replace_digest(connection, blob, sha256.hexdigest(), md5.hexdigest())


def _replace_digest(connection: Connection, blob: Any, digest: str, md5: str) -> None:
    from sqlalchemy import select

    files, there = tables.capture_file, tables.capture_blob
    for file in connection.execute(files.select().where(files.c.digest == blob.digest)).all():
        values = {"digest": digest, "md5": md5 if file.md5 else ""}
        if file.kind == "resource":
            values["name_key"] = key_of(file.kind, told_text(file.name), digest)
            double = select(files.c.id).where(files.c.run == file.run, files.c.name_key == values["name_key"])
            if connection.execute(double).first() is not None:  # the same file, masked before
                connection.execute(files.delete().where(files.c.id == file.id))
                continue
        connection.execute(files.update().where(files.c.id == file.id).values(values))
        if file.sacred_id is not None and file.kind in ("source", "resource"):
            sacreds = getattr(tables, file.kind)
            number = next(iter(sacreds.primary_key.columns))
            connection.execute(sacreds.update().where(number == file.sacred_id).values(md5sum=md5))
    statements = Statements(connection)
    if _sql_blobs.present(statements, [digest]):
        _sql_blobs.delete(statements, [blob.id])
    else:
        connection.execute(there.update().where(there.c.id == blob.id).values(digest=digest))


def _mask_output(connection: Connection, run: int, eraser: Eraser) -> None:
    table = tables.capture_output
    _mask_pieces(connection, table, table.c.run == run, table.c.start, eraser)


def _mask_pieces(connection: Connection, table: Table, whole: Any, order: Any, eraser: Eraser) -> bool:
    """Mask bytes that lie in several rows, in place; say whether there was anything."""
    borders: list[tuple[int, int, Any]] = []  # where each piece begins and ends, and its own number

    def read() -> Iterator[bytes]:
        for start, place, data in _pieces(connection, table, whole, order):
            borders.append((start, start + len(data), place))
            yield data

    found = list(eraser.places(read()))
    eraser.count += len(found)
    by_piece: dict[Any, list[tuple[int, bytes]]] = {}
    for offset, mask in found:
        for start, end, place in borders:
            if offset < end and offset + len(mask) > start:
                by_piece.setdefault(place, []).append((offset - start, mask))
    for place, changes in by_piece.items():
        query = table.select().with_only_columns(table.c.data).where(whole, order == place)
        data = bytearray(connection.execute(query).scalar_one())
        for at, mask in changes:
            inside = mask[max(0, -at) : len(data) - at]
            data[max(0, at) : max(0, at) + len(inside)] = inside
        connection.execute(table.update().where(whole, order == place).values(data=bytes(data)))
    return bool(found)


def _pieces(connection: Connection, table: Table, whole: Any, order: Any) -> Iterator[tuple[int, Any, bytes]]:
    """Yield offset, own number and bytes of each piece, one after the other."""
    places = connection.execute(table.select().with_only_columns(order).where(whole).order_by(order)).scalars().all()
    offset = 0
    for place in places:
        query = table.select().with_only_columns(table.c.data).where(whole, order == place)
        data = bytes(connection.execute(query).scalar_one())
        yield offset, place, data
        offset += len(data)


# --------------------------------------------------------------------------------------------------- records


def _mask_table(connection: Connection, table: Table, eraser: Eraser) -> None:
    """Mask the texts and documents of one table, row by row."""
    ways: dict[str, Callable[[Any], Any]] = {}
    ways.update(dict.fromkeys(_JSON.get(table, ()), eraser.json_text))
    ways.update(dict.fromkeys(_NAMES.get(table, ()), lambda value: _stored(value, eraser)))
    ways.update(dict.fromkeys(_TEXTS.get(table, ()), eraser.text))
    ways.update(dict.fromkeys(_CONTENTS.get(table, ()), lambda value: _content(value, eraser)))
    if not ways:
        return
    keys = list(table.primary_key.columns)
    columns = [*keys, *(table.c[name] for name in ways)]
    last: Any = None
    while True:
        query = table.select().with_only_columns(*columns).order_by(*keys).limit(_PAGE)
        if last is not None:
            query = query.where(_after(keys, last))
        rows = connection.execute(query).all()
        for row in rows:
            changes = {}
            for name, way in ways.items():
                old = getattr(row, name)
                new = old if old is None else way(old)
                if new != old:
                    changes[name] = new
            if changes:
                _change(connection, table, keys, row, changes)
        if len(rows) < _PAGE:
            return
        last = rows[-1]


def _after(keys: list[Any], row: Any) -> Any:
    """Return the condition for the rows that follow one, in the order of their keys."""
    from sqlalchemy import and_, or_

    first, *rest = keys
    if not rest:
        return first > getattr(row, first.name)
    return or_(first > getattr(row, first.name), and_(first == getattr(row, first.name), _after(rest, row)))


def _content(value: Any, eraser: Eraser) -> Any:
    """Mask content byte for byte, as `capture_chunk` and `capture_output` are, so that digests stay equal."""
    if isinstance(value, str):
        return eraser.data(value.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
    return eraser.data(bytes(value))


def _is_ours(connection: Connection, table: Table, row: Any) -> bool:
    """Say whether a file of ours stands behind a row of Sacred's: then its digest is set already."""
    files, number = tables.capture_file, getattr(row, next(iter(table.primary_key.columns)).name)
    known = files.select().where(files.c.kind == table.name, files.c.sacred_id == number)
    return connection.execute(known.limit(1)).first() is not None


def _stored(text: str, eraser: Eraser) -> str:
    """Mask the stored form of a name."""
    told = told_text(text)
    masked = eraser.text(told)
    return text if masked == told else stored_text(masked)


def _change(connection: Connection, table: Table, keys: list[Any], row: Any, changes: dict[str, Any]) -> None:
    """Store the masked texts of a row, and what is made from them."""
    if "content" in changes and "md5sum" in table.c and not _is_ours(connection, table, row):
        content = changes["content"]
        data = content.encode() if isinstance(content, str) else content
        changes["md5sum"] = hashlib.md5(data, usedforsecurity=False).hexdigest()
    where = [key == getattr(row, key.name) for key in keys]
    if table is tables.capture_fact and "topic" in changes:
        changes["name_key"] = key_of(told_text(changes["topic"]))
    elif table in (tables.capture_series, tables.capture_file) and "name" in changes:
        whole = connection.execute(table.select().where(*where)).one()
        name = told_text(changes["name"])
        if table is tables.capture_series:
            changes["name_key"] = key_of(told_text(whole.writer), name)
        elif whole.kind == "resource":
            changes["name_key"] = key_of(whole.kind, name, whole.digest)
        else:
            changes["name_key"] = key_of(whole.kind, name)
    connection.execute(table.update().where(*where).values(changes))
