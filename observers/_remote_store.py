"""A store of run folders that lies elsewhere: its names and notes, and who gets which label.

The layout is that of the file store, so that a store may be copied from one to the other. A label is claimed by
writing ``<label>/capture.json``, which only one of those who try can do.
"""

from __future__ import annotations

import os
import time

from capture import plainjson
from capture._version import __version__
from capture.codec import decode, encode
from capture.errors import ObserverError, RecordError
from capture.observers import _labels, _names
from capture.observers._remote_files import Files, scheme_of
from capture.observers._run_folder import EXTENSION, FILES, FORMAT, Documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PRIVATE = "_capture"
BIN = f"{PRIVATE}/bin"
CHANGED = f"{PRIVATE}/changed"  #: has a file for each run that changed after it had ended
SOURCES, RESOURCES = "_sources", "_resources"

_GALLOP = 8  #: numbers that are tried one by one before the folders are counted
_WIDTH = 20  #: digits of the hint, as in a local store
_EMBEDDED = 64 << 10  #: bytes of a document up to which capture.json holds it, too
_SEEN_S = 5.0  #: how long a shared file that was seen is not looked for again: somebody may purge what else uses it
_HINT = f"{PRIVATE}/next_id"
_MARKER = f"{PRIVATE}/format.json"

#: how people make a bucket, by scheme
_MAKES_BUCKET = {
    **dict.fromkeys(("s3", "s3a"), "aws s3 mb s3://{}"),
    **dict.fromkeys(("gs", "gcs"), "gcloud storage buckets create gs://{}"),
    **dict.fromkeys(("az", "abfs", "abfss"), "az storage container create --name {}"),
}


def files_at(url: str, options: Mapping[str, Any] | None = None) -> Files:
    """Return the files below the folder at a URL."""
    url, options = split_endpoint(url, options)
    if scheme_of(url) in ("s3", "s3a"):
        from capture.observers._remote_s3 import S3Files

        return S3Files(url, options)
    return Files(url, options)


def split_endpoint(url: str, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
    """Return a URL without the endpoint of S3 that may be in it, and the options with it."""
    if scheme_of(url) in ("s3", "s3a"):
        from capture.observers import _remote_s3

        return _remote_s3.split_endpoint(url, options)
    return url, dict(options or {})


class RemoteStore:
    """The names and notes of a store.

    Parameters
    ----------
    files : Files
    makes_bucket : callable, optional
        Called with the store when its bucket does not exist, to make it.
    """

    def __init__(self, files: Files, makes_bucket: Any = None) -> None:
        self.files = files
        self._makes_bucket = makes_bucket
        self._is_made = False
        self._claimed: dict[str, tuple[str, Any]] = {}  # by uid: claims that were not finished
        self._ahead: dict[str, bytes | None] = {}  # what was read before it was needed, to be used once
        self._seen: dict[str, float] = {}  # shared files that were there, and when, in seconds of the monotonic clock

    @property
    def name(self) -> str:
        return self.files.name

    # The store itself.

    def _read(self, key: str) -> bytes:
        data = self._ahead.pop(key) if key in self._ahead else self.files.read(key)
        if data is None:
            raise FileNotFoundError(key)
        return data

    def make(self, uid: str | None = None) -> None:
        """See that there is a store which this version can write; read with that what the run of `uid` needs next."""
        if self._is_made:
            return
        keys = [_MARKER, _HINT, *([_uid_note(uid)] if uid else ())]
        found = self.files.read_many(keys)
        self._ahead = {key: found.get(key) for key in keys}
        marker = self._ahead.get(_MARKER)
        if not self.check_format():
            marker = f'{{"format": {FORMAT}, "made_by": "capture {__version__}"}}\n'.encode()
            self._write_first(marker)
        self.files.check_refusal(_MARKER, marker or b"")
        self._is_made = True

    def _write_first(self, marker: bytes) -> None:
        """Write the first file of a store, whose bucket may have to be made."""
        try:
            self.files.write(_MARKER, marker)
        except FileNotFoundError as error:
            if self._makes_bucket is None:
                raise ObserverError(_no_bucket(self.name), print_traceback=False) from error
            self._makes_bucket(self)
            self.files.write(_MARKER, marker)
        except (NotImplementedError, ValueError) as error:
            raise ObserverError(f"{self.name} cannot be written: {error}", print_traceback=False) from error

    def check_format(self) -> bool:
        """Refuse a store that a later version of this library made; say whether there is a store."""
        try:
            marker = plainjson.loads(self._read(_MARKER))
        except FileNotFoundError:
            return False
        except ValueError:
            marker = None
        if not isinstance(marker, dict) or marker.get("format", FORMAT) > FORMAT:
            made = marker if isinstance(marker, dict) else {}
            raise ObserverError(
                f"{self.name} has format {made.get('format')}, made by {made.get('made_by')};"
                f" this version ({__version__}) knows {FORMAT}.\n  to use it: upgrade capture"
            )
        return True

    # Which run lies where.

    def folders_of_uid(self, uid: str) -> list[str]:
        """Return where the run with this uid may lie, if it is known: in sight or in the bin."""
        try:
            name = self._read(_uid_note(uid)).decode("utf-8").rstrip("\n")
        except FileNotFoundError:
            return []
        return [name, f"{BIN}/{name}"] if name and "/" not in name else []

    def note_uid(self, uid: str, name: str) -> None:
        """Note which folder a run has: a start that is told twice finds it."""
        self.files.write(_uid_note(uid), f"{name}\n".encode())

    # Labels.

    def claim(self, uid: str | None, asked: Any) -> tuple[str, Any] | None:
        """Claim a label for a run: the one asked for, or the next number.

        Returns
        -------
        (str, object) or None
            The label and the version of the run's ``capture.json``; None if the one asked for is taken.
        """
        claimed = self._claimed.get(uid) if uid is not None else None  # the connection broke after the claim
        if claimed is None:
            claimed = self._take_number(uid) if asked is None else self._take_name(uid, str(asked))
        if claimed is None:
            return None
        name = _labels.folder_of(claimed[0])
        notes = {_HINT: _hint(int(name) + 1)} if asked is None else {}
        if uid is not None:
            self._claimed[uid] = claimed
            notes[_uid_note(uid)] = f"{name}\n".encode()
        self.files.write_many(notes)
        if uid is not None:
            del self._claimed[uid]
        return claimed

    def _take_number(self, uid: str | None) -> tuple[str, Any]:
        number, tried = self._next_number(), 0
        while True:
            version = self._take(uid, str(number), str(number)) if self._is_free(str(number)) else None
            if version is not None:
                break
            tried += 1
            if tried % _GALLOP == 0:
                number = max(number, self._largest())
            # hundreds that start at once must not try the same numbers all the time
            number = max(number, self._next_number() - 1) + 1 + (os.urandom(1)[0] % tried if tried > 1 else 0)
        return str(number), version

    def _take_name(self, uid: str | None, label: str) -> tuple[str, Any] | None:
        name = _labels.folder_of(label)
        version = self._take(uid, name, label) if self._is_free(name) else None
        if version is None:
            return None
        if _labels.is_number(name):
            self._keep_number(int(name))
        return label, version

    def _take(self, uid: str | None, name: str, label: str) -> Any:
        documents = Documents(label, uid or "")
        if uid is None:
            documents.capture["claim"] = os.urandom(8).hex()  # tells this claim from any other's
        return self.files.create(f"{name}/{EXTENSION}", dump_extension(documents.capture))

    def _is_free(self, name: str) -> bool:
        """Say whether no run has the label, or had it; runs of Sacred's have only a run.json."""
        marks = (f"{name}/run.json", f"{BIN}/{name}/run.json", f"{BIN}/{name}/{EXTENSION}", f"{PRIVATE}/purged/{name}")
        return not self.files.read_many(marks)

    def _next_number(self) -> int:
        try:
            text = self._read(_HINT).strip()
        except FileNotFoundError:
            return self._largest() + 1
        return max(int(text), 1) if text.isdigit() else 1

    def _keep_number(self, number: int) -> None:
        """See that a number is not tried again. The note is a hint: who overtakes another may set it back."""
        if self._next_number() <= number < 10**_WIDTH - 1:
            self.files.write(_HINT, _hint(number + 1))

    def _largest(self) -> int:
        """Return the largest number that a run has, or had."""
        names = [name for folder in ("", BIN, f"{PRIVATE}/purged") for name in self.files.list(folder)]
        return max((int(name) for name in names if _labels.is_number(name) and len(name) < _WIDTH), default=0)

    def bury(self, name: str) -> None:
        """See that a label is never given again, also where another store offers it."""
        self.files.write(f"{PRIVATE}/purged/{name}", b"\n")
        self.keep_name(name)

    def keep_name(self, name: str) -> None:
        """See that a number that a run has is not tried again."""
        if _labels.is_number(name):
            self._keep_number(int(name))

    def take_over(self, name: str, uid: str | None) -> bool:
        """Say whether the run of `uid` may take over a queued one: of several that want it, one succeeds.

        It still does when it asks again, since it was cut off before it could say more.
        """
        mark = os.urandom(8).hex() if uid is None else uid
        return self.files.create(f"{PRIVATE}/taken/{name}", mark.encode("utf-8", "surrogatepass")) is not None

    # Files that runs share.

    def has_seen(self, key: str) -> bool:
        """Say whether a shared file was there a moment ago."""
        return time.monotonic() - self._seen.get(key, float("-inf")) < _SEEN_S

    def note_seen(self, key: str) -> None:
        """Note that a shared file is there."""
        self._seen[key] = time.monotonic()

    # Documents.

    def read_documents(self, folder: str) -> tuple[Documents, Any]:
        """Return the documents of a run, and the version of its ``capture.json``, None if it has none."""
        try:
            data, version = self.files.read_version(f"{folder}/{EXTENSION}")
        except FileNotFoundError:
            data, version = None, None
        return documents_of(folder, self.parts(folder, data)), version

    def parts(self, folder: str, data: bytes | None) -> dict[str, Any]:
        """Return the documents of a run by name as JSON, None for those that are missing.

        Parameters
        ----------
        folder : str
        data : bytes or None
            Its ``capture.json``.
        """
        capture = None if data is None else parse(data, self.describe(f"{folder}/{EXTENSION}"))
        parts = embedded(capture) if isinstance(capture, dict) else {}
        missing = {name: f"{folder}/{FILES[name]}" for name in ("run", "config", "info") if name not in parts}
        found = self.files.read_many(missing.values())
        for name, key in missing.items():
            parts[name] = parse(found[key], self.describe(key)) if key in found else None
        parts["capture"] = capture
        return parts

    def describe(self, key: str) -> str:
        """Return how a message calls a file."""
        return f"{self.name.rstrip('/')}/{key}"


def _no_bucket(name: str) -> str:
    """Return what to say where the bucket of a store is missing."""
    scheme, _, rest = name.partition("://")
    bucket = rest.partition("/")[0]
    command = _MAKES_BUCKET.get(scheme.lower())
    how = f"make it ({command.format(bucket)})" if command else "make it"
    return f"{name} cannot be written: there is no {bucket!r}.\n  to go on: correct the name, or {how}"


def _hint(number: int) -> bytes:
    return f"{number:0{_WIDTH}d}\n".encode()


def _uid_note(uid: str) -> str:
    return f"{PRIVATE}/uids/{_names.safe_component(uid)}"


def parse(data: bytes, name: str) -> Any:
    """Parse a JSON file; a RecordError says which and what to do."""
    try:
        return plainjson.loads(data)
    except (ValueError, RecursionError) as error:
        raise RecordError(
            f"{name}, line {getattr(error, 'lineno', '?')}: not readable as JSON ({error})."
            "\n  to go on: bring it back from a backup; else capture rm puts the run into the bin as it is"
        ) from error


def embedded(capture: dict[str, Any]) -> dict[str, Any]:
    """Take the other documents out of a ``capture.json``, if they are of its age.

    They lie in there so that all changes by one event are seen at once. Who writes into a copy of the store, as into a
    local one, changes only the files beside it.
    """
    documents = capture.pop("documents", None)
    if not isinstance(documents, dict) or documents.pop("of", None) != [capture.get("seqs"), capture.get("times")]:
        return {}
    return {name: documents[name] for name in ("run", "config", "info") if name in documents}


def documents_of(folder: str, parts: Mapping[str, Any]) -> Documents:
    """Return the documents of a run from their JSON, ready to be changed."""
    documents = Documents(label=folder.rpartition("/")[2])
    for name in FILES:
        if parts.get(name) is not None:
            setattr(documents, name, parts[name])
    if parts.get("run") and parts.get("capture") is None:
        documents.capture["layout"] = "sacred"  # its files are listed in run.json, and only there
    files = documents.capture.setdefault("files", {})
    for kind in ("sources", "resources", "artifacts"):
        files.setdefault(kind, [])
    return documents


def dump_extension(capture: dict[str, Any], documents: Documents | None = None) -> bytes:
    """Return the bytes of a ``capture.json``, one line for each key; with small documents in it."""
    dump = plainjson.encoder(sort_keys=True, allow_nan=False)
    lines = {key: dump(value) for key, value in capture.items()}
    if documents is not None:
        parts = {name: dump(getattr(documents, name)) for name in ("run", "config", "info")}
        small = {name: text for name, text in parts.items() if len(text) <= _EMBEDDED}
        small["of"] = dump([capture.get("seqs"), capture.get("times")])
        lines["documents"] = "{" + ", ".join(f"{dump(name)}: {text}" for name, text in sorted(small.items())) + "}"
    body = ",\n".join(f"{dump(key)}: {text}" for key, text in sorted(lines.items()))
    return f"{{\n{body}\n}}\n".encode()


def label_in(capture: Any, name: str) -> str:
    """Return the label of the run in the folder `name`, whose ``capture.json`` holds this."""
    return name if _labels.is_number(name) or not isinstance(capture, dict) else str(decode(capture.get("label", name)))


def file_entry(name: str, stored: str | None, digest: str, size: int, **more: Any) -> dict[str, Any]:
    """Return what ``capture.json`` says of one file; `stored` is None where its bytes are lost."""
    entry = {"name": encode(name), "stored": stored, "digest": digest, "size": size}
    entry.update({key: encode(value) for key, value in more.items() if value is not None})
    return entry
