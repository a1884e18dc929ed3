"""Which runs had to do with a file, as `capture lineage` asks, where a store quickly gives all that runs list of files.

Most questions are about contents, so what was listed stays text, and marks are made of the texts of a kind when that
kind is first asked for: to make all of them would take most of the time.
"""

from __future__ import annotations

from contextlib import contextmanager

from capture.codec import decode, has_tag
from capture.errors import CaptureError
from capture.file_marks import (
    ABOVE,
    KINDS,
    LARGE,
    NAME,
    PATH,
    SIZE,
    Marked,
    folders_above,
    last_part,
    marks_of,
    number_of,
)
from capture.file_uses import EMPTY, RAN, READ, WROTE
from capture.hooks import UsedFiles
from capture.observers._reading import DAMAGE
from capture.observers._writing import log
from capture.records import KEPT, RunRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from typing import Any

    from capture.records import StoredFile

    Places = dict[str, list[int]]  # of runs, by a text

_KIND = 15  #: the bits of a mark that say what it is about
_ROLES = {"sources": KINDS[RAN], "resources": KINDS[READ], "artifacts": KINDS[WROTE]}


@contextmanager
def uncollected() -> Iterator[None]:
    """Let the collector of cycles stand still: it would go through all that is read, again and again, and find none."""
    import gc

    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _NotPlain(Exception):
    """Something of a run is not as it mostly is."""


class MarkedFiles(UsedFiles):
    """What is known of files, in memory: filled from the newest run to the oldest, then asked.

    Parameters
    ----------
    read : callable
        ``read(places)`` yields number and record of some runs; of what was deleted meanwhile there is none.
    decoded : callable
        Makes facts of the form in which the store has them. What is text or a number in it is so in them: only of lists
        and dicts it may make something else.
    """

    def __init__(
        self,
        read: Callable[[Sequence[int]], Iterator[tuple[int, RunRecord]]],
        decoded: Callable[[Any], Any] = decode,
    ) -> None:
        self._read, self._decoded = read, decoded
        self.labels: list[Any] = []  #: of the runs, newest first
        self._always: list[int] = []
        self._texts: dict[int, Places] = {kind: {} for kind in (*KINDS.values(), PATH, NAME, SIZE)}
        self._places: dict[int, dict[int, list[int]]] = {}  # by mark, by its kind: those that were asked for
        self._marks: dict[int, list[int]] = {}  # places, by mark: of runs that are not plain
        self._folders: dict[int, set[int]] = {}  # marks of folders, by the mark of a file in them
        self._known_folders: set[int] = set()

    # -------------------------------------------------------------------------------------------------------- filling

    def add(self, label: Any, lineage: Any, files: Sequence[tuple[str, StoredFile]]) -> None:
        """Take in a run.

        Parameters
        ----------
        label : object
        lineage : object
            Its facts about files as the store has them, see `decoded`; text if they cannot be read.
        files : sequence of (str, StoredFile)
            What it stored: as "sources", "resources" or "artifacts".
        """
        if isinstance(lineage, str):
            self.add_unknown(label, "its facts are no JSON")
            return
        try:
            self._add_plain(len(self.labels), {} if lineage is None else lineage, files)
        except _NotPlain:
            record = RunRecord(label=label)
            for kind, stored in files:
                if kind == "sources":
                    record.put_source(stored)
                else:
                    getattr(record, kind).append(stored)
            try:
                record.facts = {} if lineage is None else {"lineage": self._decoded(lineage)}
            except DAMAGE as error:
                self.add_unknown(label, error)
            else:
                self.add_record(label, record)
        else:
            self.labels.append(label)

    def add_record(self, label: Any, record: RunRecord) -> None:
        """Take in a run of which there is a record, with its files and its facts about files."""
        try:
            found = marks_of(record)
            self._add_folders(found)
        except (CaptureError, OSError, *DAMAGE) as error:
            self.add_unknown(label, error)
            return
        for each in found.marks:
            self._marks.setdefault(each, []).append(len(self.labels))
        self.labels.append(label)

    def add_unknown(self, label: Any, problem: object) -> None:
        """Take in a run that does not tell which files it used."""
        log().debug("the files of the run %s are not known: %s", label, problem)
        self._always.append(len(self.labels))
        self.labels.append(label)

    def _add_folders(self, found: Marked) -> None:
        for folder in found.folders.keys() - self._known_folders:
            for inside in found.folders[folder]():
                self._folders.setdefault(inside, set()).add(folder)
            self._known_folders.add(folder)

    def _add_plain(self, place: int, lineage: Any, files: Sequence[tuple[str, StoredFile]]) -> None:
        """Note all that `marks_of` marks, or more; where that takes a closer look, raise `_NotPlain`."""
        if type(lineage) is not dict or has_tag(lineage) or lineage.get("urls"):
            raise _NotPlain
        for name in ("nearby", "intermediates"):
            for entry in _entries(lineage, name):
                self._add_text(PATH, entry["path"], place)
        for name, role in (("inputs", KINDS[READ]), ("outputs", KINDS[WROTE])):
            self._add_used(place, role, _entries(lineage, name))
        for kind, stored in files:
            if stored.digest is None:  # as of Sacred's: their sizes count
                raise _NotPlain
            if kind != "sources" or not stored.name.startswith(KEPT):
                entry = {"path": stored.name, "digest": stored.digest, "size": stored.size}
                self._add_used(place, _ROLES[kind], [entry])

    def _add_used(self, place: int, role: int, listed: list[dict[str, Any]]) -> None:
        """Note files that a run used. A store has hundreds of thousands of them, so all is in one loop."""
        contents, paths = self._texts[role], self._texts[PATH]
        for entry in listed:
            get = entry.get
            path, digest, size, name = entry["path"], get("digest"), get("size"), get("name")
            if "manifest" in entry:
                raise _NotPlain
            if type(digest) is str and digest != EMPTY:
                content = f"digest:{digest}"
            elif digest is None or digest == EMPTY:
                content = f"path:{path}"
            else:
                raise _NotPlain
            places = contents.get(content)
            if places is None:
                contents[content] = [place]
            else:
                places.append(place)
            places = paths.get(path)
            if places is None:
                paths[path] = [place]
            else:
                places.append(place)
            if "real" in entry:
                if type(entry["real"]) is not str:
                    raise _NotPlain
                self._add_text(PATH, entry["real"], place)
            if name is not None and name != path:
                if type(name) is not str:
                    raise _NotPlain
                if not path.endswith(f"/{name}"):
                    self._add_text(NAME, last_part(name), place)
            if size is not None:
                if not isinstance(size, int):
                    raise _NotPlain
                if size > LARGE or "sampled" in entry:
                    self._add_text(SIZE, f"{'sampled' if get('sampled') else 'whole'}:{size}", place)

    def _add_text(self, kind: int, text: str, place: int) -> None:
        self._texts[kind].setdefault(text, []).append(place)

    # --------------------------------------------------------------------------------------------------------- asking

    def __len__(self) -> int:
        return len(self.labels)

    def labelled(self, label: str) -> list[int]:
        return [place for place, known in enumerate(self.labels) if str(known) == label]

    def find(self, marks: Collection[int]) -> list[int]:
        found: set[int] = set()
        for each in marks:
            found.update(self._marks.get(each, ()), self._of_kind(each & _KIND).get(each, ()))
        return sorted(found)

    def between(self, least: int, most: int) -> list[int]:
        known: list[Iterable[int]] = [self._marks, self._folders, *map(self._of_kind, KINDS.values())]
        marks = {each for some in known for each in some if least <= each <= most}
        return self.find(marks | self.folders(marks))

    def folders(self, marks: Collection[int]) -> set[int]:
        return {folder for each in marks for folder in self._folders.get(each, ())}

    def always(self) -> list[int]:
        return self._always

    def records(self, places: Sequence[int]) -> Iterator[tuple[int, RunRecord]]:
        return self._read(places)

    def _of_kind(self, kind: int) -> dict[int, list[int]]:
        """Return the places of all marks of a kind."""
        known = self._places.get(kind)
        if known is None:
            known = self._places[kind] = {}
            for text, places in self._all_of_kind(kind):
                number = number_of(text) << 4 | kind
                known[number] = known[number] + places if number in known else places
        return known

    def _all_of_kind(self, kind: int) -> Iterator[tuple[str, list[int]]]:
        yield from self._texts.get(kind, {}).items()
        if kind in (NAME, ABOVE):
            parts: Callable[[str], Iterable[str]] = folders_above if kind == ABOVE else _last_parts
            texts: dict[str, list[int]] = {}
            for path, places in self._texts[PATH].items():
                for text in parts(path):
                    texts.setdefault(text, []).extend(places)
            yield from texts.items()


def _entries(lineage: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the entries of a list; `_NotPlain` if one of them has no path, or what is stored has to be decoded."""
    listed = lineage.get(name)
    if listed is None:
        return []
    if type(listed) is not list:
        raise _NotPlain
    for each in listed:
        if type(each) is not dict or type(each.get("path")) is not str:
            raise _NotPlain
    return listed


def _last_parts(path: str) -> tuple[str]:
    return (last_part(path),)
