"""Which files a run read and wrote: one list, from the several places of a record that tell of it.

Lineage tells what was seen, resources and artifacts what was kept, sources what ran. A file that two of them tell of is
one use.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from capture.records import RunRecord, StoredFile

READ, WROTE, RAN = "read", "wrote", "ran"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  #: SHA-256 of nothing


class Use:
    """A file or folder as one run had to do with it.

    Attributes
    ----------
    role : str
        "read", "wrote" or "ran": as a source.
    path : str
        Absolute where it is known, else a name; a URL, if it was fetched.
    name : str
        As people call it: relative to the project's folder, if it lies there.
    digest : str or None
        SHA-256, hexadecimal: of the file, of a sample of it, or of a folder's manifest.
    sampled : bool
    size : int or None
        Bytes.
    mtime : float or None
        s, Unix time.
    real : str or None
        The path without symbolic links, if that is another.
    files : int or None
        How many files a folder has; None for a file.
    manifest : StoredFile or None
        Of a folder: what lists its files.
    stored : StoredFile or None
        The copy, where its digest is not known but could be computed: records of Sacred.
    is_url : bool
    place : (int, int)
        Set by who gathers the uses of many runs: which run it is, and which of its uses.
    """

    __slots__ = (
        *("digest", "files", "is_url", "manifest", "mtime"),
        *("name", "path", "place", "real", "role", "sampled", "size", "stored"),
    )

    def __init__(
        self, role: str, path: str, name: str = "", digest: str | None = None, size: int | None = None,
    ) -> None:  # fmt: skip
        self.role, self.path, self.name, self.digest, self.size = role, path, name or path, digest, size
        self.mtime: float | None = None
        self.real: str | None = None
        self.files: int | None = None
        self.manifest: StoredFile | None = None
        self.stored: StoredFile | None = None
        self.sampled = self.is_url = False
        self.place = (0, 0)

    @property
    def key(self) -> str:
        """What tells the content from others: its digest; for what has none, its path, size and time.

        Nothing is said by two files being empty: their paths count, too.

        Examples
        --------
        >>> Use(READ, "/data/a.csv", digest="ab12").key, Use(READ, "/data/empty", digest=EMPTY, size=0).key
        ('digest:ab12', 'path:/data/empty:0')
        """
        if self.is_url and self.digest is None:
            return f"url:{self.path}"
        if self.digest is not None and self.digest != EMPTY:
            return f"digest:{self.digest}"
        if self.digest == EMPTY or self.size == 0:
            return f"path:{self.path}:0"
        if self.size is None:
            return f"path:{self.path}"
        return f"path:{self.path}:{self.size}" + (f":{self.mtime:.6f}" if self.mtime is not None else "")

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths by which the file was known."""
        return (self.path,) if self.real is None else (self.path, self.real)


def uses_of(record: RunRecord) -> list[Use]:
    """Return what a run read, wrote and ran."""
    lineage = lineage_of(record)
    uses = [*_seen(record, lineage.get("inputs"), READ), *_seen(record, lineage.get("outputs"), WROTE)]
    uses += _fetched(lineage.get("urls"))
    base = str(record.experiment.get("base_dir") or "").rstrip("/") + "/"
    for files, role in ((record.resources, READ), (record.artifacts, WROTE), (record.sources, RAN)):
        uses += _beside(files, role, uses, base)
    return uses


def lineage_of(record: RunRecord) -> dict[str, Any]:
    """Return the facts about files; nothing where nothing was watched."""
    facts = record.facts.get("lineage")
    return facts if isinstance(facts, dict) else {}


def why_unknown(record: RunRecord, state: str) -> str:
    """Return why nothing was noted of the files that a run used, as a sentence about it; "" if they were noted.

    They are noted for the first time some seconds after the start: a run that was killed before says nothing of them.

    Parameters
    ----------
    record : RunRecord
    state : str
        As `capture.filters.state_of` has it.
    """
    told = record.facts.get("lineage")
    if isinstance(told, dict) and isinstance(told.get("coverage"), dict):
        return ""
    if told is None and record.uid and state == "DIED":
        return "it was killed before its files were noted"
    if told is None and record.uid and state == "RUNNING":
        return "its files are not noted yet"
    return "its files were not watched"


def entries(listed: Any) -> Iterator[dict[str, Any]]:
    """Yield what is a file in a list of lineage's."""
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("path"), str):
            yield entry


def _seen(record: RunRecord, listed: Any, role: str) -> Iterator[Use]:
    for entry in entries(listed):
        use = Use(role, entry["path"], _text(entry, "name") or "", _text(entry, "digest"), _whole(entry, "size"))
        mtime = entry.get("mtime")
        use.mtime = mtime if isinstance(mtime, (int, float)) else None
        use.real, use.sampled = _text(entry, "real"), bool(entry.get("sampled"))
        manifest = entry.get("manifest")
        if isinstance(manifest, dict):
            use.files = _whole(entry, "files")
            use.manifest = next((kept for kept in record.kept if kept.name == manifest.get("source")), None)
            use.sampled = False  # some of its files are; the manifest is whole
        yield use


def _fetched(listed: Any) -> Iterator[Use]:
    """Yield what was fetched. The digest of a part of an answer says nothing, and an empty answer is no file."""
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("url"), str):
            whole = bool(entry.get("complete") and entry.get("size"))
            use = Use(READ, entry["url"], "", _text(entry, "digest") if whole else None, _whole(entry, "size"))
            use.is_url = True
            yield use


def _text(entry: dict[str, Any], key: str) -> str | None:
    """Return a text of a record, where anything may stand; None for all else."""
    value = entry.get(key)
    return value if isinstance(value, str) else None


def _whole(entry: dict[str, Any], key: str) -> int | None:
    """Return a whole number of a record; None for all else."""
    value = entry.get(key)  # a database may have a type of its own for those beyond 32 bits
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _beside(files: Iterable[StoredFile], role: str, known: Sequence[Use], base: str) -> list[Use]:
    """Return the stored files that lineage does not tell of already; `base` is how paths of the project begin."""
    digests = {use.digest for use in known if use.role == role and use.digest}
    paths = {path for use in known if use.role == role for path in (*use.paths, use.name)}
    found = []
    for stored in files:
        if stored.digest in digests and (stored.digest != EMPTY or stored.name in paths):
            continue
        if stored.digest is None and stored.name in paths:
            continue
        name = stored.name[len(base) :] if len(base) > 1 and stored.name.startswith(base) else ""
        use = Use(role, stored.name, name, stored.digest, stored.size)
        if stored.digest is None:
            use.stored = stored
        found.append(use)
    return found
