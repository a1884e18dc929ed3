"""What an index keeps of the files that a run read, wrote and ran: numbers instead of names and digests.

A mark is a number of 63 bits, made of a text and of what the text is. Different texts may have the same mark, so who
finds a run by its marks looks at its record afterwards; but a run that had to do with a file always has its marks. An
index of them stays small, and tells nobody what the files are called.
"""

from __future__ import annotations

import re
from functools import lru_cache

from capture.file_uses import RAN, READ, WROTE, entries, lineage_of, uses_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from capture.file_uses import Use
    from capture.records import RunRecord

#: what a mark is about, in its last four bits: a content that was read, written, run; a content that is a folder with a
#: list of its files; a file in such a list; a path; the last part of a path; a folder above a path; a size
KINDS = {READ: 0, WROTE: 1, RAN: 2}
FOLDER, INSIDE, PATH, NAME, ABOVE, SIZE = range(3, 9)
LARGE = 1 << 20  #: bytes: of larger files it counts whether they were hashed whole

_DIGITS = frozenset("0123456789abcdef")
_MARKED = 16  #: digits of a digest that its mark is made of, but for the last five bits
_BEGINNING = 6  #: so many digits are asked for at least
_REST = 35  #: bits of a mark that follow these
_LISTED = re.compile(rb"^~?([0-9a-f]{64})  ", re.MULTILINE)


def number_of(text: str) -> int:
    """Return 59 bits for a text; those of a digest begin as the digest does, and are its own where it is whole."""
    digits = text[7 : 7 + _MARKED] if text.startswith("digest:") else ""
    if len(digits) == _MARKED and _DIGITS.issuperset(digits):
        return int(digits, 16) >> 5
    from hashlib import blake2b

    number = int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") >> 5
    beginning = digits[:_BEGINNING]
    if len(beginning) == _BEGINNING and _DIGITS.issuperset(beginning):
        return (int(beginning, 16) << _REST) | (number & ((1 << _REST) - 1))
    return number


_number = lru_cache(1 << 16)(number_of)  # many runs have the same files


def mark(kind: int, text: str) -> int:
    """Return the mark of a text."""
    return _number(text) << 4 | kind


def with_kind(mark: int, kind: int) -> int:
    """Return the mark that the text of another has as something else."""
    return mark >> 4 << 4 | kind


def content_marks(kind: int, content: str) -> set[int]:
    """Return the marks that runs may have of a content, which is known by `Use.key`.

    Size and time of a stored file may have changed since it was marked: they do not count.
    """
    if not content.startswith("path:"):
        return {mark(kind, content)}
    marks = {mark(kind, content)}
    for _ in range(2):  # a path may itself end as sizes and times do
        content = content.rpartition(":")[0] or content
        marks.add(mark(kind, content))
    return marks


def beginning_marks(digits: str) -> tuple[int, int]:
    """Return the smallest and the largest mark of contents whose digests begin with 6 or more hexadecimal digits."""
    first = int(digits[:_BEGINNING], 16) << (_REST + 4)
    return first, first + (1 << (_REST + 4)) - 1


def name_mark(path: str) -> int:
    """Return the mark of the last part of a path."""
    return mark(NAME, last_part(path))


def last_part(path: str) -> str:
    """Return the last part of a path, whatever divides its parts."""
    return path[_end_of_folder(path) + 1 :]


def size_mark(size: int, what: str) -> int:
    """Return the mark of a size: "stored" of a file without digest, "sampled" or "whole"."""
    return mark(SIZE, f"{what}:{size}")


class Marked:
    """The marks of one run.

    Attributes
    ----------
    marks : set of int
    folders : dict of int to callable
        By the mark of a folder's content: what reads the marks of the files in its list. It raises an OSError or a
        ValueError where the list is not what its digest says.
    """

    __slots__ = ("folders", "marks")

    def __init__(self) -> None:
        self.marks: set[int] = set()
        self.folders: dict[int, Callable[[], set[int]]] = {}


def marks_of(record: RunRecord) -> Marked:
    """Return the marks of a run.

    Raises
    ------
    RecordError
        If its files cannot be read from the record.
    """
    found = Marked()
    for use in uses_of(record):
        _add(found, use)
    for listed in ("nearby", "intermediates"):
        for entry in entries(lineage_of(record).get(listed)):
            found.marks.add(mark(PATH, entry["path"]))
    return found


def _add(found: Marked, use: Use) -> None:
    marks, key = found.marks, use.key
    # of what has no digest, only the path: see `content_marks`
    content = f"path:{use.path}" if key.startswith("path:") else key
    marks.add(_number(content) << 4 | KINDS[use.role])
    for path in use.paths:
        end = _end_of_folder(path)
        marks.add(_number(path) << 4 | PATH)
        marks.add(_number(path[end + 1 :]) << 4 | NAME)
        if end > 0:
            marks |= _above_marks(path[:end])
    if use.name != use.path and not use.path.endswith(f"/{use.name}"):  # else that is the mark of the path's last part
        marks.add(name_mark(use.name))
    if use.size is not None:
        if use.stored is not None:
            marks.add(size_mark(use.size, "stored"))
        if use.sampled or use.size > LARGE:
            marks.add(size_mark(use.size, "sampled" if use.sampled else "whole"))
    if use.manifest is not None:
        folder = mark(FOLDER, content)
        marks.add(folder)
        manifest, digest = use.manifest, use.digest
        found.folders[folder] = lambda: _marks_inside(manifest.read(), digest)


@lru_cache(1 << 14)
def _above_marks(folder: str) -> frozenset[int]:
    """Return the marks of a folder and of those above it."""
    return frozenset(mark(ABOVE, each) for each in (folder, *folders_above(folder)))


def folders_above(path: str) -> Iterator[str]:
    """Yield the folders that a path lies in, the nearest first."""
    while path := path[: max(_end_of_folder(path), 0)]:
        yield path


def _end_of_folder(path: str) -> int:
    """Return where the last divider of a path is, in whatever system; -1 if it has none."""
    end = path.rfind("/")
    return max(end, path.rfind("\\")) if "\\" in path else end


def folder_marks(folder: str) -> set[int]:
    """Return the marks of which a run that used a folder, or something in it, has one."""
    return {mark(PATH, folder), mark(ABOVE, folder.rstrip("/\\"))}


def _marks_inside(data: bytes, digest: str | None) -> set[int]:
    from hashlib import sha256

    if sha256(data).hexdigest() != digest:
        raise ValueError(f"a list of files is not the one with the digest {digest}")
    return {mark(INSIDE, f"digest:{each.decode()}") for each in _LISTED.findall(data)}
