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
from capture.errors import RecordError
from capture.observers import _atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

NAME = "metadata.json"
TABLE = "runs"

_OPENING = b'"runs":{\n'  #: how the first line ends
_CLOSING = b"}}\n"  #: the last line
_ID = b':{"_id":'  #: what follows the number of a document
_NEXT = b',"format":'  #: what follows its id
_dump = plainjson.encoder((",", ":"), allow_nan=False)
Signature = tuple[int, ...]


def signature(path: str) -> Signature:
    """Return what changes when a file is replaced or written; () if it is not there."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def dump_entry(entry: Mapping[str, Any]) -> bytes:
    """Return an entry as it is stored, on one line, its id and format in front."""
    first = {name: entry[name] for name in ("_id", "format") if name in entry}
    return _dump({**first, **entry}).encode("ascii")


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
    """

    __slots__ = ("data", "key", "number")

    def __init__(self, number: str, key: bytes | None, data: bytes) -> None:
        self.number, self.key, self.data = number, key, data


def read_lines(path: str) -> tuple[bytes, Iterator[Line]]:
    """Return the first line of the file, with what other tables it has, and an iterator over the documents.

    Raises
    ------
    RecordError
        If it is not readable; names the file and says what to do.
    """
    try:
        stream = open(path, "rb")  # noqa: SIM115 - closed when the lines are read
    except FileNotFoundError:
        return b"{" + _OPENING, iter(())
    head = stream.readline()
    if head.startswith(b"{") and head.endswith(_OPENING):
        return head, _own_lines(stream, path)
    with stream:
        data = head + stream.read()
    return _foreign_lines(path, data)


def _own_lines(stream: Any, path: str) -> Iterator[Line]:
    with stream:
        for line in stream:
            if line == _CLOSING:
                return
            yield _split(line, path)
    raise torn(path, "its last line is missing")


def _split(line: bytes, path: str) -> Line:
    text = line.rstrip(b",\n")
    number, found, rest = text.partition(_ID)
    if not found:
        number, found, rest = text.partition(b":")
        key, body = None, rest
    else:
        body = text[len(number) + 1 :]
        end = rest.find(_NEXT)
        key = rest[:end] if end >= 0 else None
    if number[:1] != b'"' or not number[1:-1].isdigit() or body[-1:] != b"}":
        raise torn(path, f"a line begins with {line[:60]!r}")
    return Line(number[1:-1].decode("ascii"), key, body)


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


def rewrite(
    path: str,
    changes: Mapping[bytes, Callable[[str | None], bytes] | None],
    numbers: Mapping[bytes, int],
    shared: bool = False,
) -> None:
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
    head, lines = read_lines(path)
    folder = os.path.dirname(path)
    new = _atomic.temporary(folder)
    left = dict(changes)
    descriptor = _atomic.create(new, shared)
    try:
        with open(descriptor, "wb", 1 << 20) as stream:
            stream.write(head)
            used: set[int] = set()
            separator = b""
            for line in lines:
                data: bytes | None = line.data
                if line.key in left:
                    change = left.pop(line.key)
                    data = None if change is None else change(line.number)
                if data is None:
                    continue
                used.add(int(line.number))
                stream.write(b'%s"%s":%s' % (separator, line.number.encode("ascii"), data))
                separator = b",\n"
            for key, change in left.items():
                if change is None:
                    continue
                number = numbers.get(key, 0)
                if number <= 0 or number in used:
                    number = max(used, default=0) + 1
                used.add(number)
                stream.write(b'%s"%d":%s' % (separator, number, change(str(number))))
                separator = b",\n"
            stream.write((b"\n" if separator else b"") + _CLOSING)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(new, path)
    except BaseException:
        _atomic.remove(new)
        raise
    if os.name == "posix":
        _atomic.sync(folder)
