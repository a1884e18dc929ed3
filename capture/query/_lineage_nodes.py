"""What a graph of runs and files is made of: runs, contents, and edges between them."""

from __future__ import annotations

from capture.file_uses import lineage_of, why_unknown
from capture.filters import state_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from capture.file_uses import Use
    from capture.records import RunRecord


class RunNode:
    """A run in a graph.

    Attributes
    ----------
    id : str
    label : object
    uid, name, status : str
    user : str or None
    start, stop : datetime or None
        Aware, UTC.
    watched : bool
        Whether anybody noted which files it read and wrote.
    why_unknown : str
        Why nobody did, in words; "" if somebody did.
    unseen : list of str
        What of that is known to have gone unseen.
    """

    __slots__ = ("id", "label", "name", "start", "status", "stop", "uid", "unseen", "user", "why_unknown")

    def __init__(self, record: RunRecord) -> None:
        self.label, self.uid, self.name, self.status = record.label, record.uid, record.name, state_of(record)
        self.id = f"run:{record.label}"
        self.start: datetime | None = record.start_time or record.queue_time
        self.stop: datetime | None = record.stop_time or record.heartbeat
        self.user: str | None = None  # told when it is shown: to look it up costs more than the rest
        coverage = lineage_of(record).get("coverage")
        self.why_unknown = why_unknown(record, self.status)
        unseen = coverage.get("unseen") if isinstance(coverage, dict) and not coverage.get("complete") else ()
        self.unseen = [str(each) for each in unseen] if isinstance(unseen, (list, tuple)) else []

    @property
    def watched(self) -> bool:
        return not self.why_unknown

    @property
    def is_complete(self) -> bool:
        """Whether nothing is known to have gone unseen."""
        return self.watched and not self.unseen

    def to_dict(self) -> dict[str, Any]:
        """Return the run as plain data."""
        return {
            "id": self.id,
            "kind": "run",
            "label": self.label,
            "uid": self.uid,
            "name": self.name,
            "status": self.status,
            "start_time": self.start.isoformat() if self.start else None,
            "stop_time": self.stop.isoformat() if self.stop else None,
            "watched": self.watched,
            "complete": self.is_complete,
            "unseen": self.unseen,
        }


class FileNode:
    """A content in a graph: a file, a folder or what a URL gave, by whatever names runs knew it.

    Attributes
    ----------
    id : str
        ``digest:...`` where the digest is known, else ``path:...`` or ``url:...``.
    digest : str or None
    sampled : bool
    size : int or None
        Bytes.
    files : int or None
        Of a folder.
    names, paths : list of str
    """

    __slots__ = ("digest", "files", "id", "names", "paths", "sampled", "size")

    def __init__(self, id: str) -> None:
        self.id = id
        self.digest: str | None = None
        self.sampled = False
        self.size: int | None = None
        self.files: int | None = None
        self.names: list[str] = []
        self.paths: list[str] = []

    @property
    def name(self) -> str:
        return self.names[0] if self.names else self.id.partition(":")[2]

    def learn(self, use: Use) -> None:
        """Take what one more run knew of it."""
        self.digest, self.sampled = self.digest or use.digest, self.sampled or use.sampled
        self.size = use.size if self.size is None else self.size
        self.files = use.files if self.files is None else self.files
        if use.name not in self.names:
            self.names.append(use.name)
        if use.path not in self.paths:
            self.paths.append(use.path)

    def to_dict(self) -> dict[str, Any]:
        """Return the content as plain data."""
        plain = {
            "id": self.id,
            "kind": "file" if self.files is None else "folder",
            "name": self.name,
            "names": self.names,
            "paths": self.paths,
            "digest": self.digest,
            "sampled": self.sampled,
            "size": self.size,
        }
        return plain if self.files is None else {**plain, "files": self.files}


class Edge:
    """From what came first to what came of it.

    Attributes
    ----------
    kind : str
        "wrote" (run to file), "read" or "ran" (file to run); "part" (file to file) where one is a folder that has the
        other, or files of it, in it.
    source, target : str
        Ids of nodes.
    names, paths : list of str
        What the run called the file; files of the same content are one.
    others : bool
        Another run wrote the same bytes, and is likelier to be where a reader has them from.
    shared : int
        How many files two folders have in common.
    """

    __slots__ = ("kind", "names", "others", "paths", "shared", "source", "target")

    def __init__(self, kind: str, source: str, target: str) -> None:
        self.kind, self.source, self.target = kind, source, target
        self.names: list[str] = []
        self.paths: list[str] = []
        self.others = False
        self.shared = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the edge as plain data."""
        plain: dict[str, Any] = {"kind": self.kind, "source": self.source, "target": self.target}
        if self.names:
            plain.update(names=self.names, paths=self.paths)
        if self.others:
            plain["others"] = True
        if self.shared:
            plain["shared"] = self.shared
        return plain


def may_precede(first: RunNode, second: RunNode) -> bool:
    """Say whether a run can have read what another wrote: not if it was over before the other began."""
    return first.start is None or second.stop is None or first.start <= second.stop
