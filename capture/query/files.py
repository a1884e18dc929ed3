"""Files of a run, to look at and to take along: `RunFile`."""

from __future__ import annotations

import os

from capture.errors import CaptureError, RecordError
from capture.query.saving import SavedAlreadyError, fetch
from capture.records import StoredFile
from capture.wording import first_few, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any, SupportsIndex, overload

_LONGEST_NAME = 200  #: bytes of UTF-8 of one part of a path, below what file systems take

#: names that Windows keeps for devices
_DEVICES = frozenset(("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))))


class RunFile(StoredFile):
    """A file of a run: a source, a resource, an artifact, or what is kept beside the sources.

    Attributes
    ----------
    kind : str
        Which list of the run it is in: "sources", "kept", "resources" or "artifacts".
    run : object
        Label of the run, or None.
    """

    __slots__ = ("kind", "run")

    def __init__(self, stored: StoredFile, kind: str, run: Any = None) -> None:
        super().__init__(stored.name, stored.digest, stored.size, stored.metadata, stored.content_type, stored._open)
        self.kind, self.run = kind, run

    def text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the content as text; line ends as they are."""
        return self.read().decode(encoding, errors)

    def json(self) -> Any:
        """Return the content of a JSON file as plain data."""
        from capture import plainjson

        return plainjson.loads(self.read())

    def to_pandas(self, **options: Any) -> Any:
        """Return a table as a `pandas.DataFrame`: CSV, TSV, JSON, Parquet, Feather or Excel, by its name.

        Parameters
        ----------
        options : object
            For the function of pandas that reads such a file. Pickles are not read: to load one runs what is in it.

        Raises
        ------
        ValueError
            If the name is that of no table.
        """
        from capture.query.frames import read_table

        return read_table(self, **options)

    def save(self, target: str | os.PathLike[str] = ".", overwrite: bool = False) -> str:
        """Write the file to disk.

        Parameters
        ----------
        target : path
            A folder that exists or ends with a separator: the file gets its own name in there, with the folders that
            belong to the name, and never lies outside of it, whatever the name. Anything else: the path of the file.
        overwrite : bool
            Whether a file that is there is replaced.

        Returns
        -------
        str
            The path of the file.

        Raises
        ------
        FileExistsError
            If something is there, unless `overwrite`.
        OSError
            If it cannot be written.
        RecordError
            If the stored bytes are missing or are not those that were recorded.
        """
        target = os.fspath(target)
        separators = (os.sep, "/") if os.altsep is None else (os.sep, os.altsep)
        if os.path.isdir(target) or target.endswith(separators):
            target = _place_in(target, self.name)
        if os.path.lexists(target) and not overwrite:
            raise SavedAlreadyError(target)
        fetch(self, target, overwrite)
        return target

    def as_path(self) -> AbstractContextManager[str]:
        """Lend the file under a path, for libraries that want one; it is a copy, which is gone afterwards.

        Examples
        --------
        ::

            with run.artifact("model.pt").as_path() as path:
                model = torch.load(path, weights_only=True)
        """
        from contextlib import contextmanager

        @contextmanager
        def lent() -> Iterator[str]:
            import tempfile

            with tempfile.TemporaryDirectory(prefix="capture-") as folder:
                yield self.save(os.path.join(folder, safe_parts(self.name)[-1]))

        return lent()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        from capture.query.reprs import file_bundle

        return file_bundle(self)

    def __reduce__(self) -> Any:
        raise TypeError(f"a file of a store cannot be pickled: pickle the bytes, {self.name!r} has .read()")

    def __repr__(self) -> str:
        size = f", {self.size} bytes" if self.size is not None else ""
        return f"<RunFile {self.name!r} of the {self.kind} of run {self.run}{size}>"


class RunFiles(list["RunFile"]):
    """Files of a run: a list that also finds by name, ``run.artifacts["model.pt"]``."""

    if TYPE_CHECKING:  # `typing` takes longer to import than all of this module

        @overload
        def __getitem__(self, which: SupportsIndex | str) -> RunFile: ...
        @overload
        def __getitem__(self, which: slice) -> RunFiles: ...
        def __getitem__(self, which: Any) -> Any: ...

    else:

        def __getitem__(self, which):
            if isinstance(which, slice):
                return RunFiles(super().__getitem__(which))
            return super().__getitem__(which) if not isinstance(which, str) else named(self, which)

    def matching(self, pattern: str) -> RunFiles:
        """Return the files whose name, or whose name without folders, fits a pattern such as ``*.png``."""
        return RunFiles(each for each in self if fits(each.name, pattern))

    def save(self, folder: str | os.PathLike[str] = ".", overwrite: bool = False) -> list[str]:
        """Write all files into a folder, see `RunFile.save`; return their paths.

        Those of several runs go into a folder for each, which is called as its run. Files of one name that differ are
        told apart by more of their paths, or by their digests; the same bytes of one name are written once.
        """
        runs = {str(each.run): RunFiles(other for other in self if other.run == each.run) for each in self}
        names = {label: _names_apart(files) for label, files in runs.items()}
        paths: list[str] = []
        saved: dict[str, str | None] = {}
        for each in self:
            label = str(each.run)
            target = os.fspath(folder) if len(runs) < 2 else os.path.join(folder, *safe_parts(label)[-1:])
            path = _place_in(target, names[label][id(each)])
            if path not in saved or each.digest is None or saved[path] != each.digest:
                path = each.save(path, overwrite)
                saved[path] = each.digest
            paths.append(path)
        return paths

    def _repr_html_(self) -> str:
        from capture.query.reprs import files_html

        return files_html(self)


def wrapped(files: Iterable[StoredFile], kind: str, run: Any = None) -> RunFiles:
    """Return files of a record as files to look at."""
    return RunFiles(RunFile(each, kind, run) for each in files)


class FileNotInRunError(CaptureError, KeyError):
    """The run has no file of this name.

    Attributes
    ----------
    name : str
    known : tuple of str
    """

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        from capture.errors import suggest

        self.name, self.known = name, tuple(known)
        close = suggest(name, self.known)
        hint = f"\n  did you mean:  {visible(close)}" if close else ""
        shown = first_few([visible(each) for each in self.known], 20)
        text = f"there is no file {name!r} among these.{hint}\n  there are:     {shown or 'none'}"
        super().__init__(text, print_traceback=False)

    def __reduce__(self) -> Any:
        return type(self), (self.name, self.known)


def named(files: Iterable[RunFile], name: str) -> RunFile:
    """Return the file of that name; the last one, where a run has several (a resource that changed).

    The end of a path is enough, from a separator on, if it is that of one file.
    """
    listed = list(files)
    for each in reversed(listed):
        if each.name == name:
            return each
    tail = "/" + name.replace("\\", "/").lstrip("/")
    ending = [each for each in listed if each.name.replace("\\", "/").endswith(tail)]
    if len({each.name for each in ending}) == 1 or len({each.digest or id(each) for each in ending}) == 1:
        return ending[-1]
    raise FileNotInRunError(name, [each.name for each in ending or listed])


def _names_apart(files: Iterable[RunFile]) -> dict[int, str]:
    """Return under which name each file of a run is to be saved, by its `id`: files that differ get different names."""
    places: dict[str, list[RunFile]] = {}
    for each in files:
        places.setdefault(os.path.normcase(os.path.join(*safe_parts(each.name))), []).append(each)
    names = {}
    for alike in places.values():
        if len({each.digest or id(each) for each in alike}) == 1:
            names.update({id(each): each.name for each in alike})
            continue
        paths = [each.name.replace("\\", "/").split("/") for each in alike]
        shared = 0
        while len({tuple(path[: shared + 1]) for path in paths}) == 1 and all(len(path) > shared + 1 for path in paths):
            shared += 1
        rests = ["/".join(path[shared:]).lstrip("/") for path in paths]
        for number, (each, rest) in enumerate(zip(alike, rests)):
            if any(rest == other and each.digest != alike[at].digest for at, other in enumerate(rests)):
                stem, ending = os.path.splitext(rest)
                rest = f"{stem}-{each.digest[:12] if each.digest else number}{ending}"
            names[id(each)] = rest
    return names


def fits(name: str, pattern: str) -> bool:
    """Say whether a name, or its last part, fits a pattern of the shell; the case of letters counts.

    Examples
    --------
    >>> fits("plots/loss.png", "*.png"), fits("plots/loss.png", "plots/*"), fits("/data/in.csv", "in.csv")
    (True, True, True)
    """
    from fnmatch import fnmatchcase

    return fnmatchcase(name, pattern) or fnmatchcase(name.replace("\\", "/").rpartition("/")[2], pattern)


def safe_parts(name: str) -> list[str]:
    """Return the parts of a path that may be made below a folder, from the name of a file in a record.

    Of an absolute path only the last part is left. Parts that lead upwards are dropped; what a file system may take
    amiss (control characters, ``:``, device names of Windows, overlong names) is replaced.

    Examples
    --------
    >>> safe_parts("plots/loss.png"), safe_parts("../../etc/passwd"), safe_parts("/data/in.csv"), safe_parts("..")
    (['plots', 'loss.png'], ['etc', 'passwd'], ['in.csv'], ['file'])
    """
    plain = name.replace("\\", "/")
    absolute = plain.startswith("/") or plain[1:3] == ":/"
    parts = [part for part in plain.split("/") if part not in ("", ".", "..")]
    return [_safe_part(part) for part in (parts[-1:] if absolute else parts)] or ["file"]


def _safe_part(part: str) -> str:
    part = "".join("_" if not sign.isprintable() or sign in '<>:"|?*' else sign for sign in part).rstrip(". ") or "_"
    if part.partition(".")[0].rstrip().lower() in _DEVICES:
        part = "_" + part
    if len(part.encode("utf-8", "replace")) > _LONGEST_NAME:
        stem, ending = os.path.splitext(part)
        ending = ending if len(ending) < 20 else ""
        part = stem.encode("utf-8", "replace")[: _LONGEST_NAME - 20].decode("utf-8", "ignore") + ending
    return part


def _place_in(folder: str, name: str) -> str:
    """Return where a file of that name goes in a folder."""
    path = os.path.join(folder, *safe_parts(name))
    above = os.path.dirname(path)
    if leads_out(folder, above):
        raise RecordError(f"{name!r} would be saved outside of {folder}: {above} leads elsewhere")
    return path


def leads_out(folder: str, path: str) -> bool:
    """Say whether a path below a folder leads out of it, by a symbolic link or a junction."""
    root = os.path.realpath(folder)
    try:
        return os.path.commonpath([root, os.path.realpath(path)]) != root
    except ValueError:  # to another drive
        return True
