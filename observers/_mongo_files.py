"""Files in GridFS: bytes in chunks, and a document that says what they are, which comes last.

Whoever finds that document finds all of the bytes. What several runs have alike is stored once; a unique index on
``capture.shared``, its SHA-256, decides between two that store it at the same moment.
"""

from __future__ import annotations

import io

from capture.observers._mongo_place import is_duplicate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, BinaryIO

    from capture.observers._mongo_place import Place
    from capture.observers._writing import Blob

CHUNK = 255 << 10  #: bytes of a chunk, as every driver makes them
SMALL = 128 << 10  #: bytes up to which a file may wait for others, to be written with them
_TOGETHER = 32  #: chunks that are sent at once


class Upload:
    """One file that is to be stored.

    Attributes
    ----------
    id : bson.ObjectId
        Of its document.
    data : bytes or None
        What it holds, if it is small.
    """

    __slots__ = ("blob", "capture", "content_type", "data", "filename", "id", "metadata", "shared")

    def __init__(
        self,
        blob: Blob,
        filename: str,
        shared: bool,
        capture: dict[str, Any] | None = None,
        content_type: str | None = None,
        metadata: Any = None,
    ) -> None:
        from bson import ObjectId

        self.id = ObjectId()
        self.blob, self.filename, self.shared = blob, filename, shared
        self.capture, self.content_type, self.metadata = capture or {}, content_type, metadata
        self.data: bytes | None = None

    def document(self, length: int, md5: str) -> dict[str, Any]:
        """Return the document of ``fs.files``."""
        from datetime import datetime, timezone

        document: dict[str, Any] = {
            "_id": self.id,
            "filename": self.filename,
            "length": length,
            "chunkSize": CHUNK,
            "uploadDate": datetime.now(timezone.utc),
            "md5": md5,
        }
        if self.content_type is not None:
            document["contentType"] = self.content_type
        if self.metadata is not None:
            document["metadata"] = self.metadata
        document["capture"] = {"sha256": self.blob.digest, **self.capture}
        if self.shared:
            document["capture"]["shared"] = self.blob.digest
        return document


class Files:
    """The files of one store.

    Parameters
    ----------
    place : Place
    """

    def __init__(self, place: Place) -> None:
        self._place = place

    # ------------------------------------------------------------------------------------------------ writing

    def shared_ids(self, digests: Iterable[str]) -> dict[str, Any]:
        """Return digest -> id of those shared files that are there."""
        wanted = sorted(set(digests))
        if not wanted:
            return {}
        found = self._place.files.find({"capture.shared": {"$in": wanted}}, {"capture.shared": 1})
        return {each["capture"]["shared"]: each["_id"] for each in found}

    def missing(self, ids: Iterable[Any]) -> set[Any]:
        """Return those ids that no file has."""
        wanted = set(ids)
        if not wanted:
            return set()
        return wanted - {each["_id"] for each in self._place.files.find({"_id": {"$in": list(wanted)}}, {"_id": 1})}

    def store(self, upload: Upload) -> Any:
        """Store one file, chunk by chunk; return the id under which it is found.

        When it is called again for an upload that was broken off, chunks that are there already are left alone.
        """
        import hashlib

        md5 = None if upload.blob.md5 else hashlib.md5(usedforsecurity=False)
        length, number, held = 0, 0, []
        with upload.blob.open() as stream:
            for data in _pieces(stream):
                length += len(data)
                if md5 is not None:
                    md5.update(data)
                held.append({"files_id": upload.id, "n": number, "data": data})
                number += 1
                if len(held) >= _TOGETHER:
                    _insert(self._place.chunks, held)
                    held = []
        _insert(self._place.chunks, held)
        return self._finish(upload, length, upload.blob.md5 if md5 is None else md5.hexdigest())

    def _finish(self, upload: Upload, length: int, md5: str) -> Any:
        document = upload.document(length, md5)
        try:
            self._place.durable_files.insert_one(document)  # before the run's document refers to it
        except Exception as error:
            if not is_duplicate(error):
                raise
            if upload.shared:
                return self._settle(upload)
        return upload.id

    def _settle(self, upload: Upload) -> Any:
        """Return the id of shared bytes that somebody stored first, and take ours away."""
        first = self.shared_ids([upload.blob.digest]).get(upload.blob.digest, upload.id)
        if first != upload.id:
            self._place.chunks.delete_many({"files_id": upload.id})
        return first

    def store_small(self, uploads: list[Upload]) -> dict[Any, Any]:
        """Store small files, whose ``data`` is in memory, together; return the id that each upload's id became."""
        import hashlib

        chunks = [
            {"files_id": upload.id, "n": number, "data": data[start : start + CHUNK]}
            for upload in uploads
            for data in [upload.data or b""]
            for number, start in enumerate(range(0, len(data), CHUNK))
        ]
        _insert(self._place.chunks, chunks)
        documents = []
        for upload in uploads:
            data = upload.data or b""
            md5 = upload.blob.md5 or hashlib.md5(data, usedforsecurity=False).hexdigest()
            documents.append(upload.document(len(data), md5))
        ids = {upload.id: upload.id for upload in uploads}
        if _insert(self._place.files, documents):
            return ids
        shared = [upload for upload in uploads if upload.shared]
        first = self.shared_ids(upload.blob.digest for upload in shared)
        beaten = [upload for upload in shared if first.get(upload.blob.digest, upload.id) != upload.id]
        if beaten:
            self._place.chunks.delete_many({"files_id": {"$in": [upload.id for upload in beaten]}})
            ids.update({upload.id: first[upload.blob.digest] for upload in beaten})
        return ids

    def remove(self, ids: Iterable[Any]) -> None:
        """Remove files, the documents first."""
        wanted = list(ids)
        if wanted:
            self._place.files.delete_many({"_id": {"$in": wanted}})
            self._place.chunks.delete_many({"files_id": {"$in": wanted}})

    # ------------------------------------------------------------------------------------------------ reading

    def open(self, file: Any, name: str = "") -> BinaryIO:
        """Open a file for reading.

        Raises
        ------
        FileNotFoundError
            If it is not there: a viewer may have deleted it with another run.
        """
        document = self._place.files.find_one({"_id": file}, {"length": 1, "chunkSize": 1})
        if document is None:
            raise FileNotFoundError(f"GridFS holds no file {file} any more; it should hold the bytes of {name!r}")
        length, chunk = int(document.get("length") or 0), int(document.get("chunkSize") or CHUNK)
        return io.BufferedReader(_Stored(self._place, file, length, chunk), chunk)

    def read(self, file: Any) -> bytes:
        """Return the bytes of a file."""
        with self.open(file) as stream:
            return stream.read()


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    """Yield what a stream gives in pieces of exactly `CHUNK` bytes, the last one shorter."""
    while True:
        data = stream.read(CHUNK)
        while 0 < len(data) < CHUNK:
            more = stream.read(CHUNK - len(data))
            if not more:
                break
            data += more
        if data:
            yield data
        if len(data) < CHUNK:
            return


def _insert(collection: Any, documents: list[Any]) -> bool:
    """Insert documents; those that are there already are left alone. Say whether none was."""
    if not documents:
        return True
    try:
        collection.insert_many(documents, ordered=False)
    except Exception as error:
        if not is_duplicate(error):
            raise
        return False
    return True


class _Stored(io.RawIOBase):
    """The bytes of a file in GridFS; chunks are fetched as they are needed, some at once."""

    def __init__(self, place: Place, file: Any, length: int, chunk: int) -> None:
        self._place, self._file, self._length, self._chunk = place, file, length, chunk
        self._at = 0
        self._cursor: Any = None
        self._next = -1  # number of the chunk that the cursor gives next
        self._held = (-1, b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self._at >= self._length:
            return 0
        number, skipped = divmod(self._at, self._chunk)
        data = memoryview(self._data(number))[skipped : skipped + len(buffer)]
        data = data[: self._length - self._at]
        if not data:
            raise OSError(f"GridFS lacks bytes of the file {self._file}: chunk {number} is too short")
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _data(self, number: int) -> bytes:
        if self._held[0] != number:
            if self._next != number:
                self._rewind(number)
            found = next(self._cursor, None)
            if found is None or found["n"] != number:
                raise OSError(f"GridFS lacks bytes of the file {self._file}: chunk {number} is not there")
            self._held = number, bytes(found["data"])
            self._next = number + 1
        return self._held[1]

    def _rewind(self, number: int) -> None:
        if self._cursor is not None:
            self._cursor.close()
        wanted = {"files_id": self._file, "n": {"$gte": number}}
        self._cursor = self._place.chunks.find(wanted, {"n": 1, "data": 1}).sort("n", 1).batch_size(_TOGETHER)
        self._next = number

    def close(self) -> None:
        if self._cursor is not None:
            self._cursor.close()
            self._cursor = None
        super().close()
