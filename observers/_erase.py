"""Taking one string out of a whole store, byte for byte: offsets and the structure of files stay as they are."""

from __future__ import annotations

import json
import os

from capture.observers import _atomic, _names
from capture.observers._eraser import Eraser
from capture.observers._run_folder import EXTENSION, FILES, read_document
from capture.observers._store import RESOURCES, SOURCES
from capture.observers._writing import digests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_CHUNK = 1 << 20
_TEXTS = frozenset({*FILES.values(), "cout.txt", "metrics.jsonl", "metrics.json"})
#: keys that records have by themselves, at any depth
LAYOUT = frozenset(
    {"artifacts", "columns", "content_type", "digest", "metadata", "name", "original", "resources"}
    | {"size", "sources", "start", "steps", "stored", "times", "values"}
)


def erase(basedir: str, folders: list[str], value: str) -> int:
    """Mask `value` in the runs in `folders` and in what they share; see `FileStoreCurator.erase`."""
    eraser = FileEraser(value)
    moved: dict[str, tuple[str, str]] = {}  # stored path -> new path, new digest
    for folder in (SOURCES, RESOURCES):
        moved.update(eraser.shared(basedir, folder))
    for folder in folders:
        with _atomic.Lock(folder):
            eraser.run(folder, moved)
    return eraser.count


class FileEraser(Eraser):
    """Masks one string in files, and in the records that speak of them."""

    fixed = LAYOUT

    # Files.

    def shared(self, basedir: str, folder: str) -> dict[str, tuple[str, str]]:
        """Mask the files that runs share. Their names hold their MD5, so that those that changed get another."""
        moved = {}
        path = os.path.join(basedir, folder)
        for name in sorted(os.listdir(path)) if os.path.isdir(path) else ():
            old = os.path.join(path, name)
            if name.startswith(_names.TEMPORARY) or not os.path.isfile(old):
                continue
            changed = self.file(old)
            plain = self._name(name)
            if changed or plain != name:
                digest, md5, _ = digests(old)
                stem = plain.rpartition("_")[0] or plain
                new = _names.blob_name(stem + os.path.splitext(plain)[1], md5)
                os.replace(old, os.path.join(path, new))
                moved[f"{folder}/{name}"] = (f"{folder}/{new}", digest)
        return moved

    def run(self, folder: str, moved: dict[str, tuple[str, str]]) -> None:
        """Mask one run: its files first, then the records, which say what became of them."""
        artifacts: dict[str, tuple[str, str]] = {}
        for path in list(_files_below(folder)):
            inner = os.path.relpath(path, folder).replace(os.sep, "/")
            if inner in FILES.values():
                continue
            changed = self.file(path)
            plain = "/".join(self._name(part) for part in inner.split("/"))
            if plain != inner and inner not in _TEXTS:
                target = os.path.join(folder, *plain.split("/"))
                _atomic.ensure_folder(os.path.dirname(target))
                os.replace(path, target)
            if changed or plain != inner:
                artifacts[inner] = (plain, digests(os.path.join(folder, *plain.split("/")))[0])
        for file in FILES.values():
            path = os.path.join(folder, file)
            if os.path.exists(path):
                self._document(path, moved, artifacts)

    def file(self, path: str) -> bool:
        """Mask the bytes of one file; say whether there were any."""
        found = list(self.file_places(path))
        if not found:
            return False
        self.count += len(found)
        shared = bool(os.stat(path).st_mode & 0o020)
        new = _atomic.temporary(os.path.dirname(path))
        with open(path, "rb") as stream:
            _atomic.copy(stream, new, shared)
        with open(new, "rb+") as stream:
            for place, mask in found:
                stream.seek(place)
                stream.write(mask)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(new, path)
        return True

    def file_places(self, path: str) -> Iterator[tuple[int, bytes]]:
        """Yield offset and mask of each place in a file."""
        with open(path, "rb") as stream:
            yield from self.places(iter(lambda: stream.read(_CHUNK), b""))

    def _name(self, name: str) -> str:
        return name.replace(self.value, "x" * len(self.value))

    # Records.

    def _document(self, path: str, moved: dict[str, tuple[str, str]], artifacts: dict[str, tuple[str, str]]) -> None:
        old = read_document(path)
        name = os.path.basename(path)
        new = _relocated(old, name, moved, artifacts)
        if name in (FILES["run"], EXTENSION):  # the keys of these are the layout's own
            new = {key: self.json(item) for key, item in new.items()}
        else:
            new = self.json(new)
        if new != old:
            text = json.dumps(new, sort_keys=True, indent=None if name == EXTENSION else 2, allow_nan=False)
            _atomic.write(path, text.encode(), bool(os.stat(path).st_mode & 0o020), durable=True)


def _relocated(
    document: Any, name: str, moved: dict[str, tuple[str, str]], artifacts: dict[str, tuple[str, str]]
) -> Any:
    """Return a document with the new places and digests of files that changed."""
    if not isinstance(document, dict):
        return document
    document = json.loads(json.dumps(document))
    if name == EXTENSION:
        files = document.get("files", {})
        for kind, changes in (("sources", moved), ("resources", moved), ("artifacts", artifacts)):
            for entry in files.get(kind, ()):
                if entry.get("stored") in changes:
                    entry["stored"], entry["digest"] = changes[entry["stored"]]
    elif name == FILES["run"]:
        for pairs in ((document.get("experiment") or {}).get("sources"), document.get("resources")):
            for pair in pairs or ():
                parts = str(pair[1]).replace(os.sep, "/").rpartition("/") if len(pair) > 1 else ("", "", "")
                key = f"{parts[0].rpartition('/')[2]}/{parts[2]}"
                if key in moved:
                    pair[1] = pair[1][: -len(key)] + moved[key][0]
        if document.get("artifacts"):
            document["artifacts"] = [artifacts.get(str(each), (each, ""))[0] for each in document["artifacts"]]
    return document


def _files_below(folder: str) -> Iterator[str]:
    for path, _, files in os.walk(folder):
        for file in sorted(files):
            full = os.path.join(path, file)
            if not os.path.islink(full):
                yield full
