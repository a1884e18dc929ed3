"""Output and measurements of a run in a store that cannot append: numbered pieces, until the run ends.

::

    7/_pieces/main/000001-0.txt        output from byte 0 on
    7/_pieces/main/000002.jsonl        lines of metrics.jsonl
    7/_pieces/main/000003-32801.txt    output: what there was from byte 32801 on is replaced

A writer sends what is new as the piece that it is at, anew with each flush, until that is large enough; then it begins
the next. So a flush costs one request and sends little twice, and there are few pieces. At the end of the run they
become ``cout.txt`` and ``metrics.jsonl``. What ``capture.json`` holds under ``pieces`` says how far that has come:

- ``joined``, ``{writer/file: [number, size]}``: pieces of that writer and file before that number lie in the file, and
  that many bytes of the one with it.
- ``bytes``, ``{file: size}``: how much of a file counts while there are pieces. More of it was written by a process
  that died before it could say so.
- ``tails``, ``{writer: number}``: from this piece on there may be measurements that ``seqs`` does not speak of.
- ``done``: there are no pieces that count.
"""

from __future__ import annotations

import os
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

PIECES = "_pieces"
OUTPUT, METRICS = "cout.txt", "metrics.jsonl"


class Piece(namedtuple("Piece", "number writer key file offset size skip", defaults=(0,))):
    """One piece.

    Attributes
    ----------
    number : int
        Its place among all pieces of the run.
    writer : str
        Its folder.
    key : str
        Its path in the folder of the run.
    file : str
        `OUTPUT` or `METRICS`: what it is a piece of.
    offset : int
        Of output: where it begins.
    size : int
        Bytes.
    skip : int
        Bytes at its beginning that lie in the file already.
    """

    __slots__ = ()


def name_of(writer: str, number: int, file: str, offset: int = 0) -> str:
    """Return the path of a piece in the folder of the run.

    Examples
    --------
    >>> name_of("main", 3, OUTPUT, 120)
    '_pieces/main/000003-120.txt'
    """
    return f"{PIECES}/{writer}/{number:06d}" + (f"-{offset}.txt" if file == OUTPUT else ".jsonl")


def read_name(path: str, size: int) -> Piece | None:
    """Return the piece of a path in `PIECES`, or None if it is none.

    Examples
    --------
    >>> read_name("main/000003-120.txt", 17)
    Piece(number=3, writer='main', key='_pieces/main/000003-120.txt', file='cout.txt', offset=120, size=17, skip=0)
    """
    writer, slash, base = path.rpartition("/")
    stem, _, kind = base.rpartition(".")
    number, _, offset = stem.partition("-")
    if not slash or not number.isdigit() or kind not in ("txt", "jsonl") or (kind == "txt" and not offset.isdigit()):
        return None
    file = OUTPUT if kind == "txt" else METRICS
    return Piece(int(number), writer, f"{PIECES}/{path}", file, int(offset or 0), size)


def place_of(piece: Piece) -> str:
    """Return what ``joined`` calls the pieces of one writer and file."""
    return f"{piece.writer}/{piece.file}"


def remaining(found: Mapping[str, int], state: Mapping[str, Any]) -> list[Piece]:
    """Return the pieces that do not lie in the files yet, in order.

    Parameters
    ----------
    found : mapping
        Size by path in `PIECES`.
    state : mapping
        What ``capture.json`` holds under ``pieces``.
    """
    joined = state.get("joined") or {}
    pieces = []
    for path, size in found.items():
        piece = read_name(path, size)
        if piece is None:
            continue
        number, known = joined.get(place_of(piece), (0, 0))
        if piece.number == number and size > known:
            piece = piece._replace(skip=known)
        elif piece.number <= number:
            continue
        pieces.append(piece)
    return sorted(pieces)


def size_of_output(size: int, pieces: Iterable[Piece]) -> int:
    """Return the size of the output whose file has this size, with its pieces."""
    for piece in pieces:
        if piece.file == OUTPUT:
            size = piece.offset + piece.size
    return size


def joined_output(base: bytes, parts: Iterable[tuple[int, bytes]]) -> bytes:
    """Return the output: what lies in the file, and pieces with their offsets.

    Examples
    --------
    >>> joined_output(b"10 %", [(0, b"20 %"), (4, b" done")])
    b'20 % done'
    """
    output = bytearray(base)
    for offset, data in parts:
        del output[offset:]
        output += data
    return bytes(output)


def read_copied(run_dir: str, file: str) -> bytes | None:
    """Return a file with its pieces, of a run that went on while it was copied to this machine; None without pieces."""
    folder = os.path.join(run_dir, PIECES)
    if not os.path.isdir(folder):
        return None
    from capture import plainjson

    with open(os.path.join(run_dir, "capture.json"), "rb") as stream:
        state = plainjson.loads(stream.read()).get("pieces", {})
    found = {}
    for path, _, names in os.walk(folder):
        for name in names:
            full = os.path.join(path, name)
            found[os.path.relpath(full, folder).replace(os.sep, "/")] = os.path.getsize(full)
    pieces = [] if state.get("done") else remaining(found, state)
    if not pieces:
        return None
    base = _content(os.path.join(run_dir, file))[: state.get("bytes", {}).get(file, 0)]
    parts = [
        (piece.offset, _content(os.path.join(run_dir, *piece.key.split("/")))[piece.skip :])
        for piece in pieces
        if piece.file == file
    ]
    return joined_output(base, parts) if file == OUTPUT else base + b"".join(data for _, data in parts)


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return b""
