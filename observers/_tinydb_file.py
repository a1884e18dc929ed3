"""``metadata.json``, TinyDB's own file, which any TinyDB reads, with one run to a line::

    {"runs":{
    "1":{"_id":1,"format":"TinyDbObserver-0.7.0", ...},
    "2":{"_id":2, ...}
    }}

So a run is added or changed by copying the other lines as they are: nobody parses ten thousand runs to end one. A file
that Sacred, or TinyDB itself, wrote in its own way is put into this form when it is next changed. Whatever replaces the
file is written beside it and renamed.
"""

from __future__ import annotations

import os

from capture import plainjson
from capture.codec import encode
from capture.errors import RecordError
from capture.observers import _atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, BinaryIO

    Changes = Mapping[bytes, Callable[[str], bytes] | None]  # by the key of a run

NAME = "metadata.json"
TABLE = "runs"

_OPENING = b'"runs":{\n'  #: how the first line ends
_CLOSING = b"}}\n"  #: the last line
_ID = b'{"_id":'  #: how a document begins
_NEXT = b',"format":'  #: what follows its id
_BEGINNING = 256  #: bytes of a line that hold its number and its id, but for very long labels
_BUFFER = 1 << 18  #: bytes that are read at once: lines are long
_COMMA = 0x2C
_dump = plainjson.encoder((",", ":"), allow_nan=False)
Signature = tuple[int, ...]


def dump_entry(entry: Mapping[str, Any]) -> bytes:
    """Return an entry as it is stored, on one line, what tells one run from another in front."""
    first = {name: entry[name] for name in ("_id", "format", "capture") if name in entry}
    try:
        return _dump({**first, **entry}).encode("ascii")
    except ValueError:  # what TinyDB wrote may hold NaN, which is no JSON
        return _dump(_finite({**first, **entry})).encode("ascii")


def _finite(data: Any) -> Any:
    """Return JSON with the numbers tagged that JSON has not."""
    if isinstance(data, dict):
        return {key: _finite(item) for key, item in data.items()}
    if isinstance(data, list):
        return [_finite(item) for item in data]
    return encode(data) if isinstance(data, float) else data


def key_of(entry_id: Any) -> bytes:
    """Return what tells the line of a run from others: its stored id."""
    return _dump(entry_id).encode("ascii")


class Line:
    """One document of the file: its number, what it is found by, and its JSON.

    Attributes
    ----------
    number : str
        TinyDB's ``doc_id``.
    key : bytes or None
        See `key_of`; None for a document that is no run of ours or Sacred's.
    data : bytes
        The document.
    start, end : int
        Where the line lies in the file, without its separator; 0 if it does not lie there in this form.
    """

    __slots__ = ("data", "end", "key", "number", "start")

    def __init__(self, number: str, key: bytes | None, data: bytes, start: int = 0, end: int = 0) -> None:
        self.number, self.key, self.data, self.start, self.end = number, key, data, start, end


def read_lines(path: str) -> tuple[bytes, Iterator[Line]]:
    """Return the first line of the file, with what other tables it has, and an iterator over the documents.

    Raises
    ------
    RecordError
        If it is not readable; names the file and says what to do.
    """
    try:
        stream = open(path, "rb", _BUFFER)  # noqa: SIM115 - closed when the lines are read
    except FileNotFoundError:
        return b"{" + _OPENING, iter(())
    head = stream.readline()
    if head.startswith(b"{") and head.endswith(_OPENING):
        return head, _own_lines(stream, path, len(head))
    with stream:
        data = head + stream.read()
    return _foreign_lines(path, data)


def _own_lines(stream: Any, path: str, start: int) -> Iterator[Line]:
    seen: set[str] = set()
    with stream:
        for text in stream:
            if text == _CLOSING:
                return
            try:
                line = _split(text, path, start)
            except RecordError:
                break
            yield line
            seen.add(line.number)
            start += len(text)
    # An editor, or another tool, may have broken the lines elsewhere: if it is JSON, it is good.
    with open(path, "rb") as stream:
        data = stream.read()
    for line in _foreign_lines(path, data)[1]:
        if line.number not in seen:
            yield line


def _split(line: bytes, path: str, start: int) -> Line:
    text = line[:-2] if line.endswith(b",\n") else line[:-1]
    number, _, data = text.partition(b":")
    if number[:1] != b'"' or not number[1:-1].isdigit() or data[-1:] != b"}":
        raise torn(path, f"a line begins with {line[:60]!r}")
    key = _key_at_beginning(data)
    return Line(number[1:-1].decode("ascii"), key or _key_in(data, path), data, start, start + len(text))


def _key_at_beginning(data: bytes) -> bytes | None:
    """Return what tells a document from others, if that stands where we write it."""
    end = data.find(_NEXT) if data.startswith(_ID) else -1
    return data[len(_ID) : end] if end >= 0 else None


def _key_in(data: bytes, path: str) -> bytes | None:
    """Return what tells a document from others; None if it is no run."""
    try:
        document = plainjson.loads(data)
    except (ValueError, RecursionError) as error:
        raise torn(path, str(error)) from error
    has_id = isinstance(document, dict) and "_id" in document and "format" in document
    return _lenient(document["_id"]) if has_id else None


def _foreign_lines(path: str, data: bytes) -> tuple[bytes, Iterator[Line]]:
    """Return the same of a file that was not written line by line."""
    if not data.strip():
        return b"{" + _OPENING, iter(())
    try:
        tables = plainjson.loads(data)
        others = {name: table for name, table in tables.items() if name != TABLE}
        documents = dict(tables.get(TABLE, {}).items())
    except (ValueError, AttributeError, RecursionError) as error:
        raise torn(path, str(error)) from error
    head = b"{" + (_lenient(others)[1:-1] + b"," if others else b"") + _OPENING

    def lines() -> Iterator[Line]:
        for number, document in documents.items():
            has_id = isinstance(document, dict) and "_id" in document and "format" in document
            yield Line(str(number), _lenient(document["_id"]) if has_id else None, _entry(document))

    return head, lines()


def _entry(document: Any) -> bytes:
    first = {name: document[name] for name in ("_id", "format") if isinstance(document, dict) and name in document}
    return _lenient({**first, **document} if first else document)


def _lenient(data: Any) -> bytes:
    """Write JSON that others wrote: with NaN, if they had it."""
    return plainjson.dumps(data, separators=(",", ":")).encode("ascii")


def torn(path: str, why: str) -> RecordError:
    return RecordError(
        f"{path} is not readable as TinyDB's JSON: {why}"
        "\n  it was probably written by two processes at once, or cut off; runs that wait in _capture/live are whole"
        "\n  to go on: repair it by hand, or move it away (a new one is made)"
    )


def rewrite(path: str, changes: Changes, numbers: Mapping[bytes, int], shared: bool = False) -> None:
    """Replace the file in one step by one with these changes; on return it is on the disk.

    Parameters
    ----------
    path : str
    changes : mapping
        By the key of a run: a function that returns its new JSON, or None to remove it.
    numbers : mapping
        By key: the number that a new run gets if no other document has it; else it gets the next.
    shared : bool
    """
    folder = os.path.dirname(path)
    new = _atomic.temporary(folder)
    descriptor = _atomic.create(new, shared)
    try:
        with open(descriptor, "wb", 1 << 20) as stream:
            _write_changed(path, stream, changes, numbers)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(new, path)
    except BaseException:
        _atomic.remove(new)
        raise
    if os.name == "posix":
        _atomic.sync(folder)


def _write_changed(path: str, stream: BinaryIO, changes: Changes, numbers: Mapping[bytes, int]) -> None:
    """Write the file with its changes; lines that stay are copied together, by the kernel where it can."""
    head, lines = _places(path)
    try:
        pieces = _changed(lines, changes, numbers)
    except RecordError:  # its lines are not ours after all
        head, lines = read_lines(path)
        pieces = _changed(lines, changes, numbers)
    stream.write(head)
    for index, piece in enumerate(pieces):
        if index:
            stream.write(b",\n")
        if type(piece) is list:
            _copy_part(path, stream, *piece)
        else:
            stream.write(piece)
    stream.write((b"\n" if pieces else b"") + _CLOSING)


def _changed(lines: Iterator[Line], changes: Changes, numbers: Mapping[bytes, int]) -> list[Any]:
    """Return the changed file in pieces: text, or [start, end] of what is copied."""
    left = dict(changes)
    used: set[int] = set()
    pieces: list[Any] = []
    for line in lines:
        if line.key in left:
            change = left.pop(line.key)
            if change is None:
                continue
            pieces.append(_line(line.number, change(line.number)))
        elif not line.end:
            pieces.append(_line(line.number, line.data))
        elif pieces and type(pieces[-1]) is list and pieces[-1][1] + 2 == line.start:  # after a comma and a line end
            pieces[-1][1] = line.end
        else:
            pieces.append([line.start, line.end])
        used.add(int(line.number))
    for key, change in left.items():
        if change is None:
            continue
        number = numbers.get(key, 0)
        if number <= 0 or number in used:
            number = max(used, default=0) + 1
        used.add(number)
        pieces.append(_line(str(number), change(str(number))))
    return pieces


def _places(path: str) -> tuple[bytes, Iterator[Line]]:
    """Return what `read_lines` does, without the documents themselves where the lines need only be told apart."""
    try:
        with open(path, "rb") as stream:
            head = stream.readline()
            size = os.fstat(stream.fileno()).st_size
            stream.seek(max(0, size - len(_CLOSING)))
            is_ours = head.startswith(b"{") and head.endswith(_OPENING) and stream.read() == _CLOSING
    except FileNotFoundError:
        is_ours = False
    return (head, _scan(path, len(head), size - len(_CLOSING))) if is_ours else read_lines(path)


def _scan(path: str, start: int, stop: int) -> Iterator[Line]:
    """Yield the lines between two places; of each, only the beginning is looked at.

    Going through 44 MB line by line makes ten thousand copies; one buffer that is filled again takes half the time.
    """
    buffer = bytearray(_atomic.CHUNK)
    with open(path, "rb", buffering=0) as stream:
        offset, begun, last = stream.seek(start), b"", 0  # what the parts before hold of a line, and their last byte
        while offset < stop:
            filled = min(stream.readinto(buffer) or 0, stop - offset)
            if not filled:
                raise torn(path, "it became shorter while it was read")
            at = 0
            while (end := buffer.find(b"\n", at, filled)) >= 0:
                text = begun + buffer[at : min(end, at + _BEGINNING)]
                last = buffer[end - 1] if end else last
                yield _split_beginning(text, path, start, offset + end - (last == _COMMA))
                at, begun = end + 1, b""
                start = offset + at
            if len(begun) < _BEGINNING:
                begun += buffer[at : min(filled, at + _BEGINNING)]
            last = buffer[filled - 1]
            offset += filled


def _split_beginning(text: bytes, path: str, start: int, end: int) -> Line:
    number, _, data = bytes(text).partition(b":")
    if number[:1] != b'"' or not number[1:-1].isdigit():
        raise torn(path, f"a line begins with {bytes(text[:60])!r}")
    key = _key_at_beginning(data)
    if key is None:  # a very long label, or a line that somebody else wrote
        with open(path, "rb") as stream:
            stream.seek(start + len(number) + 1)
            data = stream.read(end - stream.tell())
        key = _key_at_beginning(data) or _key_in(data, path)
    return Line(number[1:-1].decode("ascii"), key, b"", start, end)


def _line(number: str, data: bytes) -> bytes:
    return b'"%s":%s' % (number.encode("ascii"), data)


def _copy_part(path: str, stream: BinaryIO, start: int, end: int) -> None:
    """Append the bytes of a file from `start` to `end` to a stream."""
    with open(path, "rb") as source:
        copy = getattr(os, "copy_file_range", None)
        if copy is not None and end - start > _atomic.CHUNK:
            stream.flush()
            try:
                while start < end:
                    done = copy(source.fileno(), stream.fileno(), end - start, start)
                    if not done:
                        break
                    start += done
            except OSError:  # not between these file systems
                pass
        source.seek(start)
        while start < end:
            chunk = source.read(min(_atomic.CHUNK, end - start))
            if not chunk:
                raise torn(path, "it became shorter while it was read")
            stream.write(chunk)
            start += len(chunk)
