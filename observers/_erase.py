"""Taking one string out of a whole store, byte for byte: offsets and the structure of files stay as they are."""

from __future__ import annotations

import json
import os

from capture.observers import _atomic, _names
from capture.observers._eraser import CHUNK, Eraser, masked
from capture.observers._run_folder import EXTENSION, FILES, read_document
from capture.observers._store import RESOURCES, SOURCES
from capture.observers._writing import digests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_TEXTS = frozenset({*FILES.values(), "cout.txt", "metrics.jsonl", "metrics.json"})
#: keys that records have by themselves, at any depth
LAYOUT = frozenset(
    {"artifacts", "columns", "content_type", "digest", "metadata", "name", "original", "resources"}
    | {"size", "sources", "start", "steps", "stored", "times", "values"}
)


def erase(basedir: str, folders: Callable[[], list[str]], value: str) -> int:
    """Mask `value` in a store; see `FileStoreCurator.erase`. Who dies meanwhile can begin again.

    Parameters
    ----------
    basedir : str
    folders : callable
        Returns the folders of the runs that there are.
    value : str
    """
    eraser = FileEraser(value)
    moved: dict[str, tuple[str, str]] = {}  # stored path -> new path, new digest
    for folder in (SOURCES, RESOURCES):
        moved.update(eraser.shared(basedir, folder))
    done: set[str] = set()
    while left := [folder for folder in folders() if folder not in done]:  # a run may have begun meanwhile
        for folder in left:
            with _atomic.Lock(folder):
                eraser.run(folder, moved)
        done.update(left)
    for stored in moved:  # not before: records name these until they are changed
        _atomic.remove(os.path.join(basedir, stored))
    return eraser.count


class FileEraser(Eraser):
    """Masks one string in files, and in the records that speak of them."""

    fixed = LAYOUT

    # Files.

    def shared(self, basedir: str, folder: str) -> dict[str, tuple[str, str]]:
        """Store masked copies of the files that runs share; return what each becomes, and its digest.

        Their names hold their MD5, so that those that changed get another. The old ones are left: records name them.
        """
        moved = {}
        path = os.path.join(basedir, folder)
        for name in sorted(os.listdir(path)) if os.path.isdir(path) else ():
            old = os.path.join(path, name)
            if name.startswith(_names.TEMPORARY) or not os.path.isfile(old):
                continue
            found, plain = sorted(self.file_places(old)), self._name(name)
            if found or plain != name:
                copy = _atomic.temporary(path)
                self._copy(old, copy, found)
                digest, md5, _ = digests(copy)
                stem = plain.rpartition("_")[0] or plain
                new = _names.blob_name(stem + os.path.splitext(plain)[1], md5)
                os.replace(copy, os.path.join(path, new))
                moved[f"{folder}/{name}"] = (f"{folder}/{new}", digest)
        return moved

    def run(self, folder: str, moved: dict[str, tuple[str, str]]) -> None:
        """Mask one run.

        Its records are written when what they name is there, and before the string is out of the files: so who dies
        meanwhile finds it again, and with it what the records have to say.
        """
        artifacts: dict[str, tuple[str, str]] = {}
        copies: list[tuple[str, str]] = []  # of files that keep their names
        useless: list[str] = []
        for path in list(_files_below(folder)):
            inner = os.path.relpath(path, folder).replace(os.sep, "/")
            if inner in FILES.values():
                continue
            found = sorted(self.file_places(path))
            plain = inner if inner in _TEXTS else "/".join(self._name(part) for part in inner.split("/"))
            if found or plain != inner:
                target = os.path.join(folder, *plain.split("/"))
                _atomic.ensure_folder(os.path.dirname(target))
                copy = _atomic.temporary(os.path.dirname(target))
                self._copy(path, copy, found)
                artifacts[inner] = (plain, digests(copy)[0])
                if target == path:
                    copies.append((copy, path))
                else:
                    os.replace(copy, target)
                    useless.append(path)
        for file in FILES.values():
            path = os.path.join(folder, file)
            if os.path.exists(path):
                self._document(path, moved, artifacts)
        for copy, path in copies:
            os.replace(copy, path)
        for path in useless:
            os.unlink(path)

    def file(self, path: str) -> bool:
        """Mask the bytes of one file; say whether there were any."""
        found = sorted(self.file_places(path))
        if not found:
            return False
        new = _atomic.temporary(os.path.dirname(path))
        self._copy(path, new, found)
        os.replace(new, path)
        return True

    def _copy(self, path: str, new: str, found: list[tuple[int, bytes]]) -> None:
        """Make a masked copy of a file: what is masked is never written, should this process die."""
        self.count += len(found)
        shared = bool(os.stat(path).st_mode & 0o020)
        with open(path, "rb") as source, open(_atomic.create(new, shared), "wb") as target:
            target.writelines(masked(source, found))
            target.flush()
            os.fsync(target.fileno())

    def file_places(self, path: str) -> Iterator[tuple[int, bytes]]:
        """Yield offset and mask of each place in a file."""
        with open(path, "rb") as stream:
            yield from self.places(iter(lambda: stream.read(CHUNK), b""))

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
