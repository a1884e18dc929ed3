"""Which runs in MongoDB had to do with a file."""

from __future__ import annotations

from functools import partial
from itertools import islice

from capture.codec import decode
from capture.errors import CaptureError
from capture.observers._marked_files import MarkedFiles, uncollected
from capture.observers._mongo_values import cell_json, plain
from capture.observers._reading import DAMAGE
from capture.records import StoredFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from capture.observers._mongo_files import Files
    from capture.observers._mongo_reader import MongoReader
    from capture.records import RunRecord

_LISTS = ("sources", "resources", "artifacts")
_FIELDS = {"capture.format": 1, "capture.facts.lineage": 1}
_FIELDS.update({f"capture.files.{kind}.{part}": 1 for kind in _LISTS for part in ("name", "digest", "size", "file")})
_TOGETHER = 500  #: documents that are in memory at once


def used_files(reader: MongoReader, progress: Callable[[], Any]) -> MarkedFiles:
    """Return what all runs in sight list of files; `progress` is called for each of them."""

    def read(places: Sequence[int]) -> Iterator[tuple[int, RunRecord]]:
        placed = {found.labels[place]: place for place in places}
        return ((placed[record.label], record) for record in reader.by_label(list(placed)))

    found = MarkedFiles(read)
    documents = reader.newest_first(_FIELDS)
    with uncollected():
        while some := list(islice(documents, _TOGETHER)):
            sacreds = [document["_id"] for document in some if not _is_ours(document)]
            records = {record.label: record for record in reader.by_label(sacreds)}
            for document in some:
                if _is_ours(document):
                    _add(found, document, reader.files)
                elif document["_id"] in records:
                    found.add_record(document["_id"], records[document["_id"]])
                else:
                    found.add_unknown(document["_id"], "somebody deleted it just now")
                progress()
    return found


def _is_ours(document: dict[str, Any]) -> bool:
    mine = document.get("capture")
    return isinstance(mine, dict) and "format" in mine


def _add(found: MarkedFiles, document: dict[str, Any], files: Files) -> None:
    try:
        mine = document["capture"]
        cell = (mine.get("facts") or {}).get("lineage")
        lineage = None if cell is None else cell_json(cell, files.read)
        stored = [
            (kind, _stored(entry, files)) for kind in _LISTS for entry in (mine.get("files") or {}).get(kind) or ()
        ]
    except (CaptureError, OSError, *DAMAGE) as error:
        found.add_unknown(document["_id"], error)
    else:
        found.add(document["_id"], lineage, stored)


def _stored(entry: dict[str, Any], files: Files) -> StoredFile:
    name, id = str(decode(plain(entry["name"]))), entry.get("file")
    opener = None if id is None else partial(files.open, id, name)
    return StoredFile(name, entry.get("digest"), entry.get("size"), open=opener)
