"""Taking one string out of a whole MongoDB store. Masks are as long as what they replace, so that places stay."""

from __future__ import annotations

from capture import plainjson
from capture.observers._erase import LAYOUT
from capture.observers._eraser import Eraser, masked
from capture.observers._mongo_files import CHUNK, Files
from capture.observers._mongo_output import Output
from capture.observers._mongo_run import Changes
from capture.observers._mongo_values import safe_key, true_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from capture.observers._mongo_place import Place

#: parts of a document whose keys come from the run; elsewhere they are the layout's
_OURS = frozenset({"config", "info", "result", "host", "meta", "omniboard"})
#: parts of ``capture`` that hold cells by name
_NAMED = ("facts", "writers", "exact")


def erase(place: Place, value: str) -> int:
    """Mask `value` in a store; see `MongoCurator.erase`.

    The bytes of files come last: so who dies meanwhile finds the string again, and with it what documents have to say.
    """
    eraser = _MongoEraser(place, value)
    digests = eraser.files()
    for collection in (place.runs, place.bin):
        for label in [each["_id"] for each in collection.find({}, {"_id": 1})]:
            eraser.output(collection, label)
            eraser.document(collection, label, digests)
    eraser.metrics()
    eraser.contents()
    return eraser.count


class _MongoEraser(Eraser):
    """Masks one string in the documents and files of a store, and counts the places."""

    fixed = LAYOUT

    def __init__(self, place: Place, value: str) -> None:
        super().__init__(value)
        self._place, self._files = place, Files(place)
        self._found: list[tuple[dict[str, Any], list[tuple[int, bytes]]]] = []  # files, and where the string is in them
        # as `capture.observers._mongo_values.view` writes it in keys
        self.texts += tuple(text.replace(".", ",").replace("$", "@") for text in self.texts)

    # Files.

    def files(self) -> dict[Any, tuple[str, str]]:
        """Mask what is said of the files in GridFS; return SHA-256 and MD5 that some will have, by id."""
        changed = {}
        fields = {"chunkSize": 1, "length": 1, "filename": 1, "metadata": 1, "capture": 1}
        for document in list(self._place.files.find({}, fields)):
            if (document.get("capture") or {}).get("kind") == "output":
                continue  # see `output`
            change: dict[str, Any] = {}
            for name in ("filename", "metadata"):
                new = self._plain(document.get(name))
                if new != document.get(name):
                    change[name] = new
            if (document.get("capture") or {}).get("kind") == "value":
                found, is_changed = [], self._moved_value(document)
            else:
                found = self._look(document)
                is_changed = bool(found)
            if is_changed:
                changed[document["_id"]] = digests = self._digests(document["_id"], found)
                change["md5"] = digests[1]
                if "capture" in document:
                    change["capture.sha256"] = digests[0]
            if change:
                self._describe(document, change)
        return changed

    def _describe(self, document: Mapping[str, Any], change: dict[str, Any]) -> None:
        from capture.observers._mongo_place import is_duplicate

        wanted = {"_id": document["_id"]}
        if "shared" not in (document.get("capture") or {}) or "capture.sha256" not in change:
            self._place.files.update_one(wanted, {"$set": change})
            return
        try:
            self._place.files.update_one(wanted, {"$set": {**change, "capture.shared": change["capture.sha256"]}})
        except Exception as error:
            if not is_duplicate(error):
                raise
            self._place.files.update_one(wanted, {"$set": change, "$unset": {"capture.shared": ""}})

    def _look(self, document: dict[str, Any]) -> list[tuple[int, bytes]]:
        """Return where the string is in one file."""
        try:
            with self._files.open(document["_id"]) as stream:
                found = sorted(self.places(iter(lambda: stream.read(CHUNK), b"")))
        except OSError:  # chunks are missing, as after an upload of others that broke off
            return []
        if found:
            self._found.append((document, found))
        return found

    def contents(self) -> None:
        """Mask the bytes of files."""
        for document, found in self._found:
            size = int(document.get("chunkSize") or CHUNK)
            for place, mask in found:
                while mask:
                    number, within = divmod(place, size)
                    part = mask[: size - within]
                    self._overwrite(document["_id"], number, within, part)
                    place, mask = place + len(part), mask[len(part) :]
            self.count += len(found)

    def _overwrite(self, file: Any, number: int, within: int, data: bytes) -> None:
        wanted = {"files_id": file, "n": number}
        chunk = self._place.chunks.find_one(wanted, {"data": 1})
        old = bytes(chunk["data"])
        self._place.chunks.update_one(wanted, {"$set": {"data": old[:within] + data + old[within + len(data) :]}})

    def _moved_value(self, document: Mapping[str, Any]) -> bool:
        """Mask a value that is kept as JSON; its length may change."""
        old = plainjson.loads(self._files.read(document["_id"]))
        new = self.json(old)
        if new == old:
            return False
        data = plainjson.dumps(new, separators=(",", ":"), allow_nan=False).encode()
        pieces = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
        for number, piece in enumerate(pieces):
            wanted = {"files_id": document["_id"], "n": number}
            self._place.chunks.update_one(wanted, {"$set": {"data": piece}}, upsert=True)
        self._place.chunks.delete_many({"files_id": document["_id"], "n": {"$gte": len(pieces)}})
        self._place.files.update_one({"_id": document["_id"]}, {"$set": {"length": len(data), "chunkSize": CHUNK}})
        return True

    def _digests(self, file: Any, found: list[tuple[int, bytes]]) -> tuple[str, str]:
        """Return the digests that a file has when it is masked in these places."""
        import hashlib

        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        with self._files.open(file) as stream:
            for piece in masked(stream, found):
                sha256.update(piece)
                md5.update(piece)
        return sha256.hexdigest(), md5.hexdigest()

    # Documents.

    def output(self, collection: Any, label: Any) -> None:
        """Mask the output of a run: its place in the document and its file hang together."""
        from capture.observers._mongo_reader import read_output

        text = read_output(self._place, collection, label)
        old = text.encode("utf-8", "replace")
        new = self.data(old)
        if new == old:
            return
        document = collection.find_one({"_id": label}, {"capture.key": 1, "capture.output": 1})
        mine = document.get("capture") or {}
        if not mine.get("output"):
            collection.update_one({"_id": label}, {"$set": {"captured_out": new.decode("utf-8", "replace")}})
            return
        changes = Changes()
        writer = Output(self._place, mine["key"], label, False, collection)
        writer.add(new.decode("utf-8", "replace"), 0)
        writer.flush(changes)
        collection.update_one({"_id": label}, changes.pipeline())

    def document(self, collection: Any, label: Any, digests: Mapping[Any, tuple[str, str]]) -> None:
        """Mask the document of a run, and note the new digests of its files."""
        old = collection.find_one({"_id": label}, {"captured_out": 0})
        change: dict[str, Any] = {}
        for name, value in old.items():
            if name == "capture" and isinstance(value, dict):
                for part, inner in value.items():
                    new = self._part(part, inner)
                    if part == "files":
                        new = _with_digests(new, digests)
                    if new != inner:
                        change[f"capture.{part}"] = new
            elif name != "_id":
                new = self._plain(value, name in _OURS)
                if name == "resources" and isinstance(value, list):
                    new = _with_md5(new, old, digests)
                if new != value:
                    change[name] = new
        if change:
            stages = [{"$set": {path: {"$literal": new} for path, new in change.items()}}]
            collection.update_one({"_id": label}, stages)

    def _part(self, name: str, value: Any) -> Any:
        if name in ("key", "uid", "uids", "seqs", "missed", "times", "resumed", "format"):
            return value
        if name == "summary":
            return {self._key(key): each for key, each in value.items()}
        if name in _NAMED:
            own_keys = name != "exact"
            return {self._key(key) if own_keys else key: self._cell(each) for key, each in value.items()}
        if name == "told_sources":
            return self._cell(value)
        if name == "extra":
            return [self._cell(each) for each in value]
        if name == "files":
            return {kind: [self._entry(each) for each in entries] for kind, entries in value.items()}
        return self._plain(value)

    def _entry(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        new = {key: self._plain(each) if key != "digest" else each for key, each in entry.items()}
        if "metadata" in entry:
            new["metadata"] = self._cell(entry["metadata"])
        return new

    def _key(self, key: str) -> str:
        return safe_key(self.text(true_key(key)))

    def _cell(self, stored: Any) -> Any:
        if "value" in stored:
            return {"value": self._plain(stored["value"], True)}
        if "json" in stored:
            return {"json": self._json(stored["json"])}
        if "zlib" in stored:
            import zlib

            text = zlib.decompress(stored["zlib"]).decode()
            new = self._json(text)
            return stored if new == text else {"zlib": zlib.compress(new.encode(), 1)}
        return stored  # a file: see `files`

    def _json(self, text: str) -> str:
        old = plainjson.loads(text)
        new = self.json(old)
        return text if new == old else plainjson.dumps(new, separators=(",", ":"), allow_nan=False)

    def _plain(self, value: Any, keys: bool = False) -> Any:
        """Return a value of BSON's without the string; `keys`: those of dicts, too."""
        if isinstance(value, list):
            return [self._plain(item, keys) for item in value]
        if isinstance(value, dict):
            if not keys:
                return {key: self._plain(item) for key, item in value.items()}
            if len(value) == 1:
                (tag,) = value
                if tag.startswith(("py/", "capture/")):
                    return self.json(value)
            return {self.text(key): self._plain(item, True) for key, item in value.items()}
        if isinstance(value, bytes):
            return self.data(value)
        return self.text(value) if isinstance(value, str) else value

    def metrics(self) -> None:
        """Mask the names of series."""
        wanted = {"$or": [{"name": {"$exists": True}}, {"capture.lines": {"$exists": True}}]}
        fields = {"name": 1, "capture.name": 1, "capture.lines": 1}
        for old in self._place.metrics.find(wanted, fields):
            change: dict[str, Any] = {}
            if "name" in old and self._plain(old["name"]) != old["name"]:
                change["name"] = self._plain(old["name"])
            mine = old.get("capture") or {}
            if "name" in mine and self._plain(mine["name"]) != mine["name"]:
                change["capture.name"] = self._plain(mine["name"])
            lines = [self.data(line) for line in mine.get("lines", ())]
            if lines != mine.get("lines", []):
                change["capture.lines"] = lines
            if change:
                self._place.metrics.update_one({"_id": old["_id"]}, {"$set": change})


def _with_digests(files: dict[str, Any], digests: Mapping[Any, tuple[str, str]]) -> dict[str, Any]:
    return {
        kind: [
            {**entry, "digest": digests[entry["file"]][0]} if entry.get("file") in digests else entry
            for entry in entries
        ]
        for kind, entries in files.items()
    }


def _with_md5(pairs: list[Any], document: Mapping[str, Any], digests: Mapping[Any, tuple[str, str]]) -> list[Any]:
    """Return Sacred's list of resources with their new MD5; our list of them goes along with it."""
    entries = ((document.get("capture") or {}).get("files") or {}).get("resources") or ()
    new = list(pairs)
    for index, entry in enumerate(entries):
        if entry.get("file") in digests and index < len(new):
            new[index] = [new[index][0], digests[entry["file"]][1]]
    return new
