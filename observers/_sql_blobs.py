"""The bytes of files: once for each content, in chunks, so that no file need be held in memory."""

from __future__ import annotations

import io
import time

from capture.observers._sql_tables import capture_blob, capture_chunk, capture_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, BinaryIO

    from sqlalchemy import Connection

    from capture.observers._sql_database import Database
    from capture.observers._writing import Blob

CHUNK = 1 << 20  #: bytes of a chunk: less than any server's limit for a statement
_LARGE = 4 << 20  #: bytes from which a file is stored in transactions of its own, so that nobody waits for all of it
_AT_ONCE = 8  #: chunks in such a transaction
_FORGOTTEN_S = 86_400  #: seconds after which an upload that did not end is nobody's


def is_large(blob: Blob) -> bool:
    """Say whether a file has to be stored by `upload`, before the transaction that refers to it."""
    return blob.size > _LARGE


def present(connection: Connection, digests: Iterable[str]) -> set[str]:
    """Return which of these contents are stored; they cannot be purged before the transaction ends."""
    from sqlalchemy import bindparam, select

    wanted = sorted(set(digests))
    found: set[str] = set()
    query = select(capture_blob.c.digest).where(capture_blob.c.digest.in_(bindparam("digests", expanding=True)))
    for start in range(0, len(wanted), 500):
        rows = connection.execute(query.with_for_update(read=True), {"digests": wanted[start : start + 500]})
        found.update(rows.scalars())
    return found


def store(connection: Connection, blob: Blob) -> None:
    """Store the bytes of a file in the transaction that goes on."""
    number = _begin(connection, blob, blob.digest)
    with blob.open() as stream:
        for place, data in enumerate(_chunks(stream)):
            _put(connection, number, place, data)


def upload(database: Database, blob: Blob) -> None:
    """Store the bytes of a large file, in several transactions; nobody sees them before they are whole."""
    with database.writing() as connection:
        if present(connection, [blob.digest]):
            return
        number = _begin(connection, blob, None)
    with blob.open() as stream:
        place, chunks = 0, _chunks(stream)
        while True:
            some = [data for _, data in zip(range(_AT_ONCE), chunks)]
            if not some:
                break
            with database.writing() as connection:
                for data in some:
                    _put(connection, number, place, data)
                    place += 1
    with database.writing() as connection:
        if present(connection, [blob.digest]):  # somebody was faster
            delete(connection, [number])
        else:
            connection.execute(
                capture_blob.update().where(capture_blob.c.id == number).values(digest=blob.digest)
            )


def _begin(connection: Connection, blob: Blob, digest: str | None) -> int:
    values = {"digest": digest, "size": blob.size, "begun": int(time.time())}
    done: Any = connection.execute(capture_blob.insert(), values)
    return done.inserted_primary_key[0]


def _put(connection: Connection, number: int, place: int, data: bytes) -> None:
    connection.execute(capture_chunk.insert(), {"blob": number, "number": place, "data": data})


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while data := stream.read(CHUNK):
        yield data


def collect(connection: Connection, digests: Iterable[str]) -> None:
    """Delete those of these contents that no file has any more, and uploads that never ended."""
    from sqlalchemy import bindparam, exists, select

    numbers = []
    query = select(capture_blob.c.id).where(capture_blob.c.digest == bindparam("digest")).with_for_update()
    used = select(exists().where(capture_file.c.digest == bindparam("digest")))
    for digest in sorted(set(digests)):
        number = connection.execute(query, {"digest": digest}).scalar()
        if number is not None and not connection.execute(used, {"digest": digest}).scalar():
            numbers.append(number)
    old = int(time.time()) - _FORGOTTEN_S
    stale = select(capture_blob.c.id).where(capture_blob.c.digest.is_(None), capture_blob.c.begun < old)
    delete(connection, [*numbers, *connection.execute(stale).scalars()])


def delete(connection: Connection, numbers: list[int]) -> None:
    """Delete stored bytes, whoever has them."""
    for number in numbers:
        connection.execute(capture_chunk.delete().where(capture_chunk.c.blob == number))
        connection.execute(capture_blob.delete().where(capture_blob.c.id == number))


def open_blob(database: Database, digest: str) -> BinaryIO:
    """Open stored bytes for reading; FileNotFoundError if they are not there."""
    with database.reading() as connection:
        found = connection.execute(
            capture_blob.select().where(capture_blob.c.digest == digest)
        ).first()
    if found is None:
        raise FileNotFoundError(f"{database.url.shown()} does not hold the bytes with the SHA-256 {digest}")
    return io.BufferedReader(_StoredBytes(database, found.id), CHUNK)


class _StoredBytes(io.RawIOBase):
    """Stored bytes, read chunk by chunk."""

    def __init__(self, database: Database, number: int) -> None:
        self._database, self._number = database, number
        self._place, self._left = 0, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._left:
            from sqlalchemy import select

            query = select(capture_chunk.c.data).where(
                capture_chunk.c.blob == self._number, capture_chunk.c.number == self._place
            )
            with self._database.reading() as connection:
                data = connection.execute(query).scalar()
            if data is None:
                return 0
            self._left = memoryview(bytes(data))
            self._place += 1
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size
