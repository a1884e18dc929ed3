"""Taking one string out of a whole TinyDB store."""

from __future__ import annotations

import os

from capture import plainjson
from capture.codec import encode
from capture.observers import _atomic
from capture.observers._erase import FileEraser
from capture.observers._names import TEMPORARY
from capture.observers._streams import METRICS, OUTPUT, extend_summary
from capture.observers._tinydb_file import dump_entry
from capture.observers._tinydb_run import FACTS, KINDS
from capture.observers._tinydb_store import TinyStore, lines_of, name_of, read_json, remove_leftovers
from capture.observers._tinydb_values import handle
from capture.observers._writing import digests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Moved = dict[str, tuple[str, str]]  # address -> new address, new SHA-256

_FIXED = ("_id", "format")  #: keys of an entry whose values stay: they say which run it is


def erase(store: TinyStore, value: str) -> int:
    """Mask `value` in a store; see `TinyDbCurator.erase`."""
    eraser = FileEraser(value)
    with store.lock():
        moved = _files(store, eraser)
        for name in sorted(os.listdir(store.runs)):
            with _atomic.Lock(os.path.join(store.runs, name)):
                remove_leftovers(os.path.join(store.runs, name), age_s=float("-inf"))  # of an erasure that died
                _streams(store, name, eraser)
                for folder in (store.live, store.bin):
                    _entry_file(store, os.path.join(folder, name + ".json"), eraser, moved)
        changes = {}
        for line in lines_of(store):
            entry = plainjson.loads(line.data)
            masked = _masked(store, entry, eraser, moved)
            if masked != entry and line.key is not None:
                changes[line.key] = lambda _number, masked=masked: dump_entry(masked)
        if changes:
            store.rewrite(changes)
        for address in moved:  # not before: one who dies meanwhile can begin again
            _atomic.remove(store.path_of(address))
    return eraser.count


def _files(store: TinyStore, eraser: FileEraser) -> Moved:
    """Store masked copies of the files that hold the string, under the addresses of their new bytes."""
    import shutil

    copies = store.inner("erasing")  # a folder of its own, in which nothing stays, should this process die
    shutil.rmtree(copies, ignore_errors=True)
    _atomic.ensure_folder(copies, store.shared)
    moved: Moved = {}
    for path in list(_files_below(store.hashfs)):
        if next(eraser.file_places(path), None) is None:
            continue
        new = _atomic.temporary(copies)
        with open(path, "rb") as stream:
            _atomic.copy(stream, new, store.shared)
        eraser.file(new)
        address = os.path.relpath(path, store.hashfs).replace(os.sep, "")
        sha256, md5, _ = digests(new)
        target = store.path_of(md5)
        _atomic.ensure_folder(os.path.dirname(target), store.shared)
        os.replace(new, target)
        moved[address] = (md5, sha256)
    os.rmdir(copies)
    return moved


def _files_below(folder: str) -> Iterator[str]:
    for path, _, names in os.walk(folder):
        for name in sorted(names):
            full = os.path.join(path, name)
            if not name.startswith(TEMPORARY) and not os.path.islink(full):
                yield full


def _streams(store: TinyStore, name: str, eraser: FileEraser) -> None:
    folder = os.path.join(store.runs, name)
    for file in (METRICS, OUTPUT):
        path = os.path.join(folder, file)
        if os.path.exists(path):
            eraser.file(path)
    path = os.path.join(folder, FACTS)
    facts = read_json(path)
    if facts is not None:
        masked = eraser.json(facts)
        if masked != facts:
            _atomic.write(path, plainjson.dumps(masked, allow_nan=False).encode("ascii"), store.shared, durable=True)


def _entry_file(store: TinyStore, path: str, eraser: FileEraser, moved: Moved) -> None:
    entry = read_json(path)
    if entry is None:
        return
    masked = _masked(store, entry, eraser, moved)
    if masked != entry:
        _atomic.write(path, dump_entry(masked) + b"\n", store.shared, durable=True)


def _masked(store: TinyStore, entry: dict[str, Any], eraser: FileEraser, moved: Moved) -> dict[str, Any]:
    """Return an entry without the string, and with the new addresses of files."""
    old, own = entry, entry.get("capture")
    entry = {key: item if key in (*_FIXED, "capture") else eraser.json(item) for key, item in old.items()}
    if isinstance(own, dict):  # the keys of these are the layout's own
        entry["capture"] = {key: eraser.json(item) for key, item in own.items()}
    _relocate(entry, moved)
    if isinstance(own, dict) and "summary" in own and entry["capture"]["summary"] != own["summary"]:
        folder = os.path.join(store.runs, name_of(entry.get("_id")))
        summary, end, _ = extend_summary({}, os.path.join(folder, METRICS), 0)
        entry["capture"].update(summary=encode(summary), metrics_end=end)
    return entry


def _relocate(entry: dict[str, Any], moved: Moved) -> None:
    experiment = entry.get("experiment")
    listed = [
        *((experiment.get("sources") or ()) if isinstance(experiment, dict) else ()),
        *(entry.get("resources") or ()),
        *(entry.get("artifacts") or ()),
    ]
    for each in listed:
        if isinstance(each, list) and len(each) >= 2:
            for address, (new, _) in moved.items():
                if each[-1] == handle(address):
                    each[-2:] = [new, handle(new)]
                    break
    files = (entry.get("capture") or {}).get("files") or {}
    for kind in KINDS:
        for file in files.get(kind, ()):
            if file.get("id") in moved:
                file["id"], file["digest"] = moved[file["id"]]
