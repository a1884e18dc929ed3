"""The bytes of files: once for each content, in chunks, so that no file need be held in memory."""

from __future__ import annotations

import io
import time

from capture.observers._sql_statements import Statements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from capture.observers._sql_database import Database
    from capture.observers._writing import Blob

CHUNK = 1 << 20  #: bytes of a chunk: less than any server's limit for a statement
_LARGE = 4 << 20  #: bytes from which a file is stored in transactions of its own, so that nobody waits for all of it
_AT_ONCE = 8  #: chunks in such a transaction
_FORGOTTEN_S = 86_400  #: seconds after which an upload that did not end is nobody's


def is_large(blob: Blob) -> bool:
    """Say whether a file has to be stored by `upload`, before the transaction that refers to it."""
    return blob.size > _LARGE


def present(statements: Statements, digests: Iterable[str]) -> set[str]:
    """Return which of these contents are stored; they cannot be purged before the transaction ends."""
    wanted = sorted(set(digests))
    rows = statements.among("capture_blob", ["digest"], "digest", wanted, tail=statements.for_share)
    return {digest for digest, in rows}


def store(statements: Statements, blob: Blob) -> None:
    """Store the bytes of a file in the transaction that goes on."""
    number = _begin(statements, blob, blob.digest)
    with blob.open() as stream:
        for place, data in enumerate(_chunks(stream)):
            _put(statements, number, place, data)


def upload(database: Database, blob: Blob) -> None:
    """Store the bytes of a large file, in several transactions; nobody sees them before they are whole."""
    with database.writing() as statements:
        if present(statements, [blob.digest]):
            return
        number = _begin(statements, blob, None)
    with blob.open() as stream:
        place, chunks = 0, _chunks(stream)
        while some := [data for _, data in zip(range(_AT_ONCE), chunks)]:
            with database.writing() as statements:
                for data in some:
                    _put(statements, number, place, data)
                    place += 1
    with database.writing() as statements:
        if present(statements, [blob.digest]):  # somebody was faster
            delete(statements, [number])
        else:
            statements.update("capture_blob", {"digest": blob.digest}, id=number)


def _begin(statements: Statements, blob: Blob, digest: str | None) -> int:
    return statements.add("capture_blob", {"digest": digest, "size": blob.size, "begun": int(time.time())})


def _put(statements: Statements, number: int, place: int, data: bytes) -> None:
    statements.insert("capture_chunk", {"blob": number, "number": place, "data": data})


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while data := stream.read(CHUNK):
        yield data


def collect(statements: Statements, digests: Iterable[str]) -> None:
    """Delete those of these contents that no file has any more, and uploads that never ended."""
    numbers = []
    for digest in sorted(set(digests)):
        number = statements.value("capture_blob", "id", lock=statements.for_update, digest=digest)
        if number is not None and statements.first("capture_file", ["id"], digest=digest) is None:
            numbers.append(number)
    old = int(time.time()) - _FORGOTTEN_S
    unended = statements.select("capture_blob", ["id", "begun"], digest=None)
    delete(statements, [*numbers, *(number for number, begun in unended if begun < old)])


def delete(statements: Statements, numbers: list[int]) -> None:
    """Delete stored bytes, whoever has them."""
    for number in numbers:
        statements.delete("capture_chunk", blob=number)
        statements.delete("capture_blob", id=number)


def open_blob(database: Database, digest: str) -> BinaryIO:
    """Open stored bytes for reading; FileNotFoundError if they are not there."""
    with database.reading() as connection:
        number = Statements(connection).value("capture_blob", "id", digest=digest)
    if number is None:
        raise FileNotFoundError(f"{database.url.shown()} does not hold the bytes with the SHA-256 {digest}")
    return io.BufferedReader(_StoredBytes(database, number), CHUNK)


class _StoredBytes(io.RawIOBase):
    """Stored bytes, read chunk by chunk."""

    def __init__(self, database: Database, number: int) -> None:
        self._database, self._number = database, number
        self._place, self._left = 0, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._left:
            with self._database.reading() as connection:
                chunk = {"blob": self._number, "number": self._place}
                data = Statements(connection).value("capture_chunk", "data", **chunk)
            if data is None:
                return 0
            self._left = memoryview(bytes(data))
            self._place += 1
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size
