"""Is a record what it was? Every digest that it holds is computed again from the bytes that the store gives."""

from __future__ import annotations

from contextlib import contextmanager

from capture.errors import CaptureError, RecordError
from capture.records import FILES, KEPT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from capture.records import RunRecord, StoredFile

_CHUNK = 1 << 20  #: bytes that are read at once


class Problem:
    """Something that is not as the record says.

    Attributes
    ----------
    kind : str
        "sources", "kept", "resources" or "artifacts"; "facts" where a fact refers to what is not there; "record",
        "output" or "metrics" where these cannot be read, or less of them is there than was written.
    name : str
        Of the file, or what refers to it.
    what : str
        "changed", "size", "missing", "unreadable", "incomplete" or "refers to nothing"; "copy" where the file is what
        it was, and its copy in Sacred's tables is not.
    text : str
        The same as a sentence.
    expected, found : object
        Digests, sizes, or None.
    """

    __slots__ = ("expected", "found", "kind", "name", "text", "what")

    def __init__(self, kind: str, name: str, what: str, text: str, expected: Any = None, found: Any = None) -> None:
        self.kind, self.name, self.what, self.text = kind, name, what, text
        self.expected, self.found = expected, found

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as plain data."""
        return {name: getattr(self, name) for name in ("kind", "name", "what", "text", "expected", "found")}

    def __repr__(self) -> str:
        return f"Problem({self.kind!r}, {self.name!r}, {self.what!r})"


class Verified:
    """What `verify` found.

    Attributes
    ----------
    label : object
        Of the run.
    uid : str
    files, size : int
        How many files were read, and their bytes.
    unknown : list of str
        Files that were read, and of which the record has no digest to compare with: Sacred's, mostly.
    problems : list of Problem
    """

    def __init__(self, label: Any, uid: str = "") -> None:
        self.label, self.uid = label, uid
        self.files = self.size = 0
        self.unknown: list[str] = []
        self.problems: list[Problem] = []

    @property
    def whole(self) -> bool:
        """Whether everything is as the record says."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as plain data."""
        problems = [each.to_dict() for each in self.problems]
        plain = {"run": self.label, "uid": self.uid, "files": self.files, "bytes": self.size, "unknown": self.unknown}
        return {**plain, "problems": problems}


def verify(
    run: RunRecord,
    progress: Callable[[int], Any] | None = None,
    passing: Callable[[BaseException], bool] | None = None,
) -> Verified:
    """Compute all digests of a run again, and look whether everything is there that the record refers to.

    Parameters
    ----------
    run : RunRecord
    progress : callable, optional
        Told the number of bytes that were read.
    passing : callable, optional
        Says whether an error is one of the connection: it is raised, and does not count against the record. If nothing
        is said, those are `ConnectionError` and `TimeoutError`.

    Returns
    -------
    Verified
    """
    passing = is_lost if passing is None else passing
    found = Verified(run.label)
    try:
        found.uid = run.uid
        found.problems += _losses(run)  # before the rest is read, and readers warn of it
        for kind in FILES:
            for stored in getattr(run, kind):
                _check_file(kind, stored, found, progress, passing)
        found.problems += _unfinished(run)
        found.problems += _copies(run, passing)
        found.problems += _loose_references(run)
        _check_streams(run, found, passing)
    except CaptureError as error:
        if passing(error):
            raise
        found.problems.append(Problem("record", "", "unreadable", str(error)))
    return found


def is_lost(error: BaseException) -> bool:
    """Say whether an error is one of the connection, which tells nothing about the record."""
    return isinstance(error, (ConnectionError, TimeoutError))


def recorded_md5(stored: StoredFile) -> str | None:
    """Return the MD5 that a record of Sacred's has of a file; None if there is none, or a better digest."""
    metadata = stored.metadata
    if stored.digest is not None or not isinstance(metadata, dict) or list(metadata) != ["md5"]:
        return None
    md5 = metadata["md5"]
    return md5 if isinstance(md5, str) and len(md5) == 32 else None


class Digests:
    """Takes the bytes of a file as they pass, and says in the end whether they are those of the record.

    Attributes
    ----------
    size : int
        Bytes so far.
    """

    def __init__(self, stored: StoredFile) -> None:
        import hashlib

        md5 = recorded_md5(stored)
        self.expected = md5 or stored.digest
        self._hash = hashlib.md5(usedforsecurity=False) if md5 else hashlib.sha256()
        self._name = "MD5" if md5 else "SHA-256"
        self._stored, self.size = stored, 0

    def update(self, chunk: bytes) -> None:
        """Take some bytes."""
        self._hash.update(chunk)
        self.size += len(chunk)

    def problem(self, kind: str) -> Problem | None:
        """Say what is wrong with the bytes, now that there are no more; None if nothing is known to be."""
        found, name = self._hash.hexdigest(), self._stored.name
        if self.expected is not None and found != self.expected:
            text = f"its bytes have changed: {self._name} {found}, recorded is {self.expected}"
            return Problem(kind, name, "changed", text, self.expected, found)
        if self._stored.size is not None and self.size != self._stored.size:
            text = f"it has {self.size} bytes, recorded are {self._stored.size}"
            return Problem(kind, name, "size", text, self._stored.size, self.size)
        return None


def chunks(stored: StoredFile) -> Iterator[bytes]:
    """Yield the bytes of a stored file."""
    with stored.open() as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _check_file(
    kind: str,
    stored: StoredFile,
    found: Verified,
    progress: Callable[[int], Any] | None,
    passing: Callable[[BaseException], bool],
) -> None:
    digests = Digests(stored)
    found.files += 1
    try:
        for chunk in chunks(stored):
            digests.update(chunk)
            if progress is not None:
                progress(len(chunk))
    except FileNotFoundError as error:
        found.problems.append(Problem(kind, stored.name, "missing", f"its bytes are not there: {error}", stored.digest))
        return
    except Exception as error:  # whatever a driver raises over damaged data: it becomes the answer
        if passing(error):
            raise
        text = f"its bytes cannot be read: {type(error).__name__}: {error}"
        found.problems.append(Problem(kind, stored.name, "unreadable", text, stored.digest))
        return
    found.size += digests.size
    problem = digests.problem(kind)
    if problem is not None:
        found.problems.append(problem)
    elif digests.expected is None:
        found.unknown.append(stored.name)


def _losses(run: RunRecord) -> list[Problem]:
    """Return what the rest of the record tells of files that are away, or were cut off."""
    problems = []
    for loss in run.losses:
        what = "missing" if loss.found is None else "size"
        text = f"{loss.text}\n    to go on: {loss.remedy}" if loss.remedy else loss.text
        problems.append(Problem(loss.kind, loss.name, what, text, loss.expected, loss.found))
    return problems


def _unfinished(run: RunRecord) -> list[Problem]:
    """Return that the run is a copy whose making broke off, if it is."""
    from capture.copying import UNFINISHED

    text = f"it is a copy that broke off, as its tag {UNFINISHED} says: the same capture cp completes it"
    return [Problem("record", "", "incomplete", text)] if UNFINISHED in run.tags else []


def _copies(run: RunRecord, passing: Callable[[BaseException], bool]) -> list[Problem]:
    """Return what is wrong with copies of files that a store keeps for tools of others, where its reader can tell."""
    reader: Any = getattr(getattr(run, "store", None), "reader", None)
    if not hasattr(reader, "copy_problems"):
        return []
    try:
        return [Problem(kind, name, "copy", text) for kind, name, text in reader.copy_problems(run.label)]
    except Exception as error:  # as above
        if passing(error):
            raise
        text = f"its copies for other tools cannot be read: {type(error).__name__}: {error}"
        return [Problem("record", "", "unreadable", text)]


def _loose_references(run: RunRecord) -> list[Problem]:
    """Return what facts refer to and the record does not have: kept files by name and digest, artifacts by name."""
    kept, artifacts = _digests(run.kept), _digests(run.artifacts)
    problems = []
    for where, refers in _references(run.facts, "facts"):
        name, digest = refers["source"], refers["digest"]
        if name not in kept:
            problems.append(Problem("facts", name, "refers to nothing", f"{where} refers to it, and it is not kept"))
        elif digest not in kept[name]:
            text = f"{where} refers to the SHA-256 {digest}, kept is {kept[name][-1]}"
            problems.append(Problem("facts", name, "changed", text, digest, kept[name][-1]))
    lineage = run.facts.get("lineage")
    outputs = lineage.get("outputs") if isinstance(lineage, dict) else None
    for entry in outputs if isinstance(outputs, list) else ():
        name = entry.get("artifact") if isinstance(entry, dict) else None
        if isinstance(name, str) and name not in artifacts:
            text = f"the file {entry.get('path')} that the run wrote is said to be this artifact, which is not there"
            problems.append(Problem("facts", name, "refers to nothing", text))
        elif isinstance(name, str) and entry.get("digest") not in artifacts[name]:
            text = f"the file {entry.get('path')} that the run wrote had the SHA-256 {entry.get('digest')}"
            text += f", the artifact has {artifacts[name][-1]}"
            problems.append(Problem("facts", name, "changed", text, entry.get("digest"), artifacts[name][-1]))
    return problems


def _digests(files: Iterable[StoredFile]) -> dict[str, list[str | None]]:
    """Return the digests of files by their names, of which several may have the same one."""
    found: dict[str, list[str | None]] = {}
    for stored in files:
        found.setdefault(stored.name, []).append(stored.digest)
    return found


def _references(value: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects in facts that refer to kept files, with the path that leads to each."""
    if isinstance(value, dict):
        if str(value.get("source", "")).startswith(KEPT) and "digest" in value:
            yield where, value
        for key, each in value.items():
            yield from _references(each, f"{where}.{key}")
    elif isinstance(value, (list, tuple)):
        for place, each in enumerate(value):
            yield from _references(each, f"{where}.{place}")


def _check_streams(run: RunRecord, found: Verified, passing: Callable[[BaseException], bool]) -> None:
    """Read output and metrics; no digest is kept of them, but what cannot be read is damaged."""
    for kind, read in (("output", _read_output), ("metrics", _read_metrics)):
        with _complaints() as damage:
            try:
                read(run)
            except Exception as error:  # as above
                if passing(error):
                    raise
                damage.append(f"it cannot be read: {type(error).__name__}: {error}")
        found.problems += [Problem(kind, "", "unreadable", text) for text in dict.fromkeys(damage)]


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what the readers of stores say in this thread, meanwhile, of damage that they pass over."""
    import logging
    import threading

    said: list[str] = []
    here = threading.get_ident()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == here:
                said.append(record.getMessage())

    logger, listener = logging.getLogger("capture.observers"), Listener(logging.WARNING)
    level = logger.level
    if not logger.isEnabledFor(logging.WARNING):
        logger.setLevel(logging.WARNING)
    logger.addHandler(listener)
    try:
        yield said
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)


def _read_output(run: RunRecord) -> None:
    len(run.output)


def _read_metrics(run: RunRecord) -> None:
    known = {name: each.get("count") for name, each in run.summary.items()}  # first: more may come meanwhile
    for name, counted in known.items():
        left = len(run.metrics[name]) if name in run.metrics else 0
        if isinstance(counted, int) and left < counted:
            raise RecordError(f"of the {counted} points of {name!r} that the record counts there are {left}")
    for name, series in run.metrics.items():
        count = len(series)  # which a store may know without the points
        lengths = [len(column) for column in (series.steps, series.values, series.times)]
        if lengths != [count] * 3:
            there = "{} steps, {} values, {} times".format(*lengths)
            raise RecordError(f"of the {count} points of {name!r} there are {there}")
