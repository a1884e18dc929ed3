"""Taking files of a run along: which are meant by a name, a pattern or a digest, and where each goes in a folder."""

from __future__ import annotations

import os

from capture.errors import CaptureError, suggest
from capture.query.files import RunFile, fits, leads_out, safe_parts, wrapped
from capture.query.saving import FetchError, describe, is_there
from capture.query.verifying import recorded_md5
from capture.wording import first_few

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from capture.records import RunRecord

#: kinds of files, in the order in which they are searched and listed
KINDS = ("artifacts", "resources", "sources", "kept")
LEAST_DIGITS = 6  #: of a digest, so that no name is taken for one


class NoSuchFileError(CaptureError, KeyError):
    """A run has no file of this name, pattern or digest.

    Attributes
    ----------
    wanted : str
    run : object
        Label of the run.
    known : tuple of str
        Names that there are.
    """

    def __init__(self, wanted: str, run: Any, known: Iterable[str] = (), because: str = "") -> None:
        self.wanted, self.run, self.known, self.because = wanted, run, tuple(known), because
        lines = [f"run {run} has no file {wanted!r}{because}"]
        close = suggest(wanted, self.known) or suggest(wanted, [each.rpartition("/")[2] for each in self.known])
        lines += [f"  did you mean:  {close}"] if close else []
        lines.append(f"  it has:        {first_few(self.known, 12) or 'none'}")
        super().__init__("\n".join(lines), print_traceback=False)

    def __reduce__(self) -> Any:
        return type(self), (self.wanted, self.run, self.known, self.because)


class AmbiguousFileError(CaptureError, ValueError):
    """A name that several files of a run have, with different content.

    Attributes
    ----------
    wanted : str
    candidates : list of RunFile
    """

    def __init__(self, wanted: str, candidates: Sequence[RunFile]) -> None:
        self.wanted, self.candidates = wanted, list(candidates)
        lines = [f"{wanted!r} is the name of {len(candidates)} files; say which by kind, or by digest:"]
        lines += [f"  {describe(each)}" for each in candidates]
        super().__init__("\n".join(lines), print_traceback=False)

    def __reduce__(self) -> Any:  # files of a store cannot be pickled
        return CaptureError, (str(self), False)


# ------------------------------------------------------------------------------------------------- which files


def files_of(run: RunRecord, kinds: Sequence[str] = KINDS) -> list[RunFile]:
    """Return the files of some kinds of a run."""
    return [each for kind in KINDS if kind in kinds for each in wrapped(getattr(run, kind), kind, run.label)]


def matching(run: RunRecord, wanted: str, kinds: Sequence[str] = KINDS) -> list[RunFile]:
    """Return the files of a run that a text means.

    Parameters
    ----------
    run : RunRecord
    wanted : str
        The name of a file; the end of its path; a pattern with ``*``, ``?`` or ``[``; at least `LEAST_DIGITS` digits of
        its SHA-256. They are tried in this order.
    kinds : sequence of str
        Of `KINDS`.

    Returns
    -------
    list of RunFile
        More than one only for a pattern.

    Raises
    ------
    NoSuchFileError
        If there is none.
    AmbiguousFileError
        If several have the name, and not all the same bytes.
    """
    files = files_of(run, kinds)
    exact = [each for each in files if each.name == wanted]
    if not exact:
        tail = "/" + wanted.replace("\\", "/").lstrip("/")
        exact = [each for each in files if each.name.replace("\\", "/").endswith(tail)]
    if exact:
        return [_only(wanted, exact)]
    if any(sign in wanted for sign in "*?["):
        found = [each for each in files if fits(each.name, wanted)]
    else:
        found = []
        digits = wanted.lower().removeprefix("sha256:")
        if len(digits) >= LEAST_DIGITS and not digits.strip("0123456789abcdef"):
            of_digest = [each for each in files if (each.digest or recorded_md5(each) or "").startswith(digits)]
            found = [_only(wanted, of_digest)] if of_digest else []
    if not found:
        raise NoSuchFileError(wanted, run.label, [each.name for each in files], _not_kept(run, wanted))
    return found


def _only(wanted: str, candidates: list[RunFile]) -> RunFile:
    """Return one of several files if they have the same bytes, and so it does not matter which."""
    if len({each.digest or id(each) for each in candidates}) > 1:
        raise AmbiguousFileError(wanted, candidates)
    return candidates[0]


def _not_kept(run: RunRecord, wanted: str) -> str:
    """Say where a file was that the run used, and that is not in the store."""
    lineage = run.facts.get("lineage")
    for kind, verb in (("inputs", "read"), ("outputs", "wrote"), ("intermediates", "wrote and read")):
        entries = lineage.get(kind) if isinstance(lineage, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            names = (entry.get("name"), entry.get("path")) if isinstance(entry, dict) else ()
            if any(isinstance(name, str) and (name == wanted or name.endswith("/" + wanted)) for name in names):
                reason = entry.get("left_out") or entry.get("why")
                why = f": {reason}" if reason else ""
                return f": the run {verb} {entry.get('path')}, and its bytes were not kept{why}"
    return ""


# ------------------------------------------------------------------------------------------------- where they go


def names_in_project(run: RunRecord) -> dict[str, str]:
    """Return the name in the project's folder of each file that the run read there, by its whole path."""
    lineage = run.facts.get("lineage")
    inputs = lineage.get("inputs") if isinstance(lineage, dict) else None
    return {
        entry["path"]: entry["name"]
        for entry in (inputs if isinstance(inputs, list) else ())
        if isinstance(entry, dict) and isinstance(entry.get("path"), str) and isinstance(entry.get("name"), str)
    }


def places(run: RunRecord, files: Iterable[RunFile], folder: str) -> list[tuple[RunFile, str]]:
    """Return files with the path at which each is to be written, below `folder`, whatever their names are.

    What the run read goes where it was in the project's folder; what lay elsewhere has only the last part of its path.

    Raises
    ------
    FetchError
        If two files that differ would go to the same place.
    """
    known = names_in_project(run)
    taken: dict[str, RunFile] = {}
    found = []
    for file in files:
        path = os.path.normpath(os.path.join(folder, *safe_parts(known.get(file.name, file.name))))
        other = taken.setdefault(os.path.normcase(path), file)
        if other is file:
            found.append((file, path))
        elif other.digest is None or other.digest != file.digest:
            remedy = "fetch one after the other, into different folders (--to=FOLDER)"
            raise FetchError(path, f"would be both {describe(other)} and {describe(file)}", remedy)
    return found


def obstacle(file: RunFile, path: str, folder: str, overwrite: bool = False) -> FetchError | None:
    """Return what stands in the way of writing a file to a path below `folder`, or None. Nothing is changed."""
    above = os.path.dirname(path)
    if leads_out(folder, above):
        return FetchError(path, f"is not written: {above} leads out of {folder}, by a symbolic link")
    while not os.path.lexists(above):
        above = os.path.dirname(above) or os.curdir
    if not os.path.isdir(above):
        return FetchError(path, f"cannot be written: {above} is no folder")
    if os.path.isdir(path):
        return FetchError(path, "is a folder")
    if os.path.lexists(path) and not overwrite and not is_there(file, path):
        remedy = "--force replaces it, --to=FOLDER writes elsewhere"
        return FetchError(path, "exists already, with other content", remedy)
    return None
