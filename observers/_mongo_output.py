"""The output of a run in MongoDB: a text in its document that viewers tail, and a file of GridFS when it becomes long.

The text grows on the server: what is sent is what is new. Beyond `LONGEST` bytes its beginning stays in the document,
the rest goes to a file, chunk by chunk, and the document shows the beginning, a line that says what is left out, and
the end.
"""

from __future__ import annotations

from capture.observers._mongo_files import CHUNK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.observers._mongo_place import Place
    from capture.observers._mongo_run import Changes

LONGEST = 2 << 20  #: bytes of output that lie in the document as a whole
HEAD = 1 << 20  #: bytes at the beginning that stay there
TAIL = 64 << 10  #: bytes at the end that are shown there

_KEPT = {"$ifNull": ["$captured_out", ""]}


class Output:
    """Writes the output of one run.

    Parameters
    ----------
    place : Place
    key : bson.ObjectId
        Names the run in what lies outside its document.
    label : object
    is_new : bool
        Whether nothing is stored yet.
    runs : pymongo.collection.Collection, optional
        Where the run's document is, if it is in the bin.
    """

    def __init__(self, place: Place, key: Any, label: Any, is_new: bool, runs: Any = None) -> None:
        self._place, self._key, self.label, self._given = place, key, label, runs
        self._pieces: list[tuple[int | None, bytes]] = []
        self._is_known = is_new
        self._size = 0  # bytes stored
        self._head: int | None = None  # bytes of the beginning in the document; None: all of them
        self._file: Any = None
        self._tail = b""  # the last bytes that are stored, if there is a file
        self._partial = b""  # what is in its last chunk, if that is not full

    @property
    def _runs(self) -> Any:
        return self._place.runs if self._given is None else self._given

    def add(self, text: str, offset: int | None) -> None:
        """Take text that replaces the output from byte `offset` on; None appends."""
        self._pieces.append((offset, text.encode("utf-8", "replace")))

    def flush(self, changes: Changes) -> None:
        """Write what does not belong into the document, and add what does to its changes."""
        if not self._pieces:
            return
        if not self._is_known:
            self._learn()
        start, data = self._joined()
        try:
            if self._head is None or start < self._head:
                self._write_short(changes, start, data)
            else:
                self._write_long(changes, start, data)
        except Exception:
            self._is_known = False  # nobody knows how far it came
            raise
        self._pieces.clear()

    def _joined(self) -> tuple[int, bytes]:
        """Return the pieces as one: from where on what is new."""
        start, new = self._size, bytearray()
        for offset, data in self._pieces:
            at = start + len(new) if offset is None else min(offset, start + len(new))
            if at < start:
                start, new = at, bytearray(data)
            else:
                del new[at - start :]
                new += data
        return start, bytes(new)

    def _learn(self) -> None:
        """Look at what is stored."""
        stages = [
            {"$match": {"_id": self.label}},
            {"$project": {"size": {"$strLenBytes": _KEPT}, "long": "$capture.output"}},
        ]
        found = next(self._runs.aggregate(stages), None) or {}
        long = found.get("long")
        self._size, self._head, self._file = found.get("size", 0), None, None
        if long:
            self._size, self._head, self._file = long["size"], long["head"], long["file"]
            rest = self._size - self._head
            last_two = {"files_id": self._file, "n": {"$gte": max(0, (rest - 1) // CHUNK - 1)}}
            chunks = list(self._place.chunks.find(last_two).sort("n", 1))
            stored = b"".join(bytes(each["data"]) for each in chunks)
            end = rest - (chunks[0]["n"] * CHUNK if chunks else 0)
            stored = stored[: max(end, 0)]
            self._tail = stored[-TAIL:]
            self._partial = stored[len(stored) - rest % CHUNK :] if rest % CHUNK else b""
        self._is_known = True

    # ------------------------------------------------------------------------------------- in the document

    def _write_short(self, changes: Changes, start: int, data: bytes) -> None:
        size = start + len(data)
        if size > LONGEST:
            before = self._stored_text(start)
            self._write_first(changes, before + data)
            return
        kept = {"$substrBytes": [_KEPT, 0, start]}
        changes.sets.pop("captured_out", None)
        changes.expressions["captured_out"] = {"$concat": [kept, {"$literal": data.decode("utf-8", "replace")}]}
        if self._file is not None:
            from capture.observers._mongo_files import Files

            changes.unset("capture.output")
            Files(self._place).remove([self._file])
        self._size, self._head, self._file = size, None, None

    def _stored_text(self, size: int) -> bytes:
        found = self._runs.find_one({"_id": self.label}, {"captured_out": 1}) or {}
        return str(found.get("captured_out") or "").encode()[:size]

    def _write_first(self, changes: Changes, whole: bytes) -> None:
        """Move all but the beginning into a file."""
        from bson import ObjectId

        head = HEAD
        while whole[head] & 0xC0 == 0x80:  # not between the bytes of a character
            head -= 1
        self._head, self._file = head, self._file or ObjectId()
        self._size, self._tail, self._partial = head, b"", b""
        changes.set("captured_out", whole[:head].decode("utf-8", "replace"))
        self._write_long(changes, head, whole[head:], shown=whole[:head])

    # ------------------------------------------------------------------------------------------- in a file

    def _write_long(self, changes: Changes, start: int, data: bytes, shown: bytes | None = None) -> None:
        assert self._head is not None
        place = start - self._head
        number, within = divmod(place, CHUNK)
        before = self._before(number, within)
        whole = before + data
        self._replace_chunks(number, whole)
        taken_back = self._size - start
        self._tail = (self._tail[: max(0, len(self._tail) - taken_back)] + data)[-TAIL:]
        self._size = start + len(data)
        rest = self._size - self._head
        self._partial = whole[len(whole) - rest % CHUNK :] if rest % CHUNK else b""
        self._describe(rest)
        self._show(changes, shown)

    def _before(self, number: int, within: int) -> bytes:
        """Return what stays of the chunk in which the writing begins."""
        if not within:
            return b""
        assert self._head is not None
        if number == (self._size - self._head) // CHUNK and len(self._partial) >= within:
            return self._partial[:within]
        found = self._place.chunks.find_one({"files_id": self._file, "n": number}) or {"data": b""}
        return bytes(found["data"])[:within]

    def _replace_chunks(self, number: int, data: bytes) -> None:
        from pymongo import DeleteMany, UpdateOne

        operations: list[Any] = []
        for at in range(0, len(data), CHUNK):
            wanted = {"files_id": self._file, "n": number}
            operations.append(UpdateOne(wanted, {"$set": {"data": data[at : at + CHUNK]}}, upsert=True))
            number += 1
        operations.append(DeleteMany({"files_id": self._file, "n": {"$gte": number}}))
        for at in range(0, len(operations), 32):
            self._place.chunks.bulk_write(operations[at : at + 32], ordered=True)

    def _describe(self, length: int) -> None:
        from datetime import datetime, timezone

        now = datetime.now(timezone.utc)
        fixed = {
            "filename": f"capture://{self._place.runs_name}/{self._key}/output.txt",
            "chunkSize": CHUNK,
            "contentType": "text/plain",
            "capture": {"run": self._key, "kind": "output"},
        }
        change = {"$set": {"length": length, "uploadDate": now}, "$setOnInsert": fixed}
        self._place.durable_files.update_one({"_id": self._file}, change, upsert=True)

    def _show(self, changes: Changes, head: bytes | None) -> None:
        assert self._head is not None
        tail = self._tail
        while tail and tail[0] & 0xC0 == 0x80:
            tail = tail[1:]
        hidden = self._size - self._head - len(tail)
        note = f"\n\n[... {hidden:,} bytes of output are not shown here; all of it is kept in GridFS ...]\n\n"
        end = (note if hidden > 0 else "") + tail.decode("utf-8", "replace")
        if head is not None:
            changes.set("captured_out", head.decode("utf-8", "replace") + end)
            changes.expressions.pop("captured_out", None)
        else:
            kept = {"$substrBytes": [_KEPT, 0, self._head]}
            changes.sets.pop("captured_out", None)
            changes.expressions["captured_out"] = {"$concat": [kept, {"$literal": end}]}
        changes.set("capture.output", {"size": self._size, "head": self._head, "file": self._file})
