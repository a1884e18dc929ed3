"""Taking one string out of a whole store, byte for byte: offsets and the structure of files stay as they are."""

from __future__ import annotations

import json
import os

from capture.observers import _atomic, _names
from capture.observers._run_folder import EXTENSION, FILES, read_document
from capture.observers._store import RESOURCES, SOURCES
from capture.observers._writing import digests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_SHORTEST = 4  #: characters below which a string is in everything
_CHUNK = 1 << 20
_TEXTS = frozenset({*FILES.values(), "cout.txt", "metrics.jsonl", "metrics.json"})
_ARRAYS = "capture/ndarray"
_LAYOUT = frozenset(  # keys that records have by themselves, at any depth
    {"artifacts", "columns", "content_type", "digest", "metadata", "name", "original", "resources"}
    | {"size", "sources", "start", "steps", "stored", "times", "values"}
)


def erase(basedir: str, folders: list[str], value: str) -> int:
    """Mask `value` in the runs in `folders` and in what they share; see `FileStoreCurator.erase`."""
    if len(value) < _SHORTEST:
        raise ValueError(f"{value!r} has fewer than {_SHORTEST} characters: erasing it would destroy the records")
    eraser = _Eraser(value)
    moved: dict[str, tuple[str, str]] = {}  # stored path -> new path, new digest
    for folder in (SOURCES, RESOURCES):
        moved.update(eraser.shared(basedir, folder))
    for folder in folders:
        with _atomic.Lock(folder):
            eraser.run(folder, moved)
    return eraser.count


class _Eraser:
    """Masks one string and counts the places."""

    def __init__(self, value: str) -> None:
        self.value, self.mask = value, "*" * len(value)
        self.count = 0
        self._forms: dict[bytes, bytes] = {}
        self._texts = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
        for text in self._texts:
            encoded = text.encode("utf-8", "surrogatepass")
            self._forms[encoded] = b"*" * len(encoded)
        for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
            wide = value.encode(encoding, "surrogatepass")
            self._forms[wide] = self.mask.encode(encoding).ljust(len(wide), b"*")

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
        found = list(self._places(path))
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

    def _places(self, path: str) -> Iterator[tuple[int, bytes]]:
        """Yield offset and mask of each place in a file."""
        overlap = max(len(form) for form in self._forms) - 1
        seen: set[tuple[int, bytes]] = set()
        with open(path, "rb") as stream:
            before, offset = b"", 0
            while chunk := stream.read(_CHUNK):
                window = before + chunk
                for form, mask in self._forms.items():
                    at = window.find(form)
                    while at >= 0:
                        place = offset - len(before) + at
                        if (place, form) not in seen:
                            seen.add((place, form))
                            yield place, mask
                        at = window.find(form, at + len(form))
                offset += len(chunk)
                before = window[-overlap:] if overlap else b""

    def _name(self, name: str) -> str:
        return name.replace(self.value, self.mask.replace("*", "x"))

    # Records.

    def _document(self, path: str, moved: dict[str, tuple[str, str]], artifacts: dict[str, tuple[str, str]]) -> None:
        old = read_document(path)
        name = os.path.basename(path)
        new = _relocated(old, name, moved, artifacts)
        if name in (FILES["run"], EXTENSION):  # the keys of these are the layout's own
            new = {key: self._masked(item) for key, item in new.items()}
        else:
            new = self._masked(new)
        if new != old:
            text = json.dumps(new, sort_keys=True, indent=None if name == EXTENSION else 2, allow_nan=False)
            _atomic.write(path, text.encode(), bool(os.stat(path).st_mode & 0o020), durable=True)

    def _masked(self, value: Any) -> Any:
        """Return a JSON value without the string, also where `capture.codec` keeps text as Base64."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            return [self._masked(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            tag, item = next(iter(value.items()))
            if tag in ("py/b64", "capture/str") and isinstance(item, str):
                return {tag: self._base64(item)}
            if tag == _ARRAYS and isinstance(item, dict) and isinstance(item.get("data"), str):
                return {tag: {**item, "data": self._base64(item["data"])}}
        return {key if key in _LAYOUT else self._text(key): self._masked(item) for key, item in value.items()}

    def _text(self, text: str) -> str:
        for form in self._texts:
            if form in text:
                self.count += text.count(form)
                text = text.replace(form, "*" * len(form))
        return text

    def _base64(self, text: str) -> str:
        from base64 import b64decode, b64encode

        try:
            data = b64decode(text, validate=True)
        except ValueError:
            return text
        new = data
        for form, mask in self._forms.items():
            self.count += new.count(form)
            new = new.replace(form, mask)
        return text if new == data else b64encode(new).decode("ascii")


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
