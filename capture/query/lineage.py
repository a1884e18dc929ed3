"""Where files come from and where they go: which run wrote a file, which runs read it, and so on from run to run.

Files are known by their content: what run B read is what run A wrote if the digests agree, whatever the paths. A
`Lineage` is made of all runs of a store; `Lineage.graph` follows it from a file, a digest or a run.

What is not recorded is not known. A file that no recorded run wrote may have been written by anybody; runs that are
known not to have seen everything are marked.
"""

from __future__ import annotations

import os
from bisect import insort

from capture.errors import CaptureError, RecordError
from capture.file_marks import (
    FOLDER,
    INSIDE,
    KINDS,
    PATH,
    beginning_marks,
    content_marks,
    folder_marks,
    mark,
    name_mark,
    size_mark,
    with_kind,
)
from capture.file_uses import RAN, READ, WROTE, Use, entries, lineage_of, uses_of
from capture.query._lineage_nodes import Edge, FileNode, RunNode, may_precede

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from capture.hooks import Reader, UsedFiles
    from capture.records import RunRecord, StoredFile

SHORTEST = 6  #: hexadecimal digits that name a content
_HEXADECIMAL = frozenset("0123456789abcdef")
_NAMED = 10  #: candidates that an error lists


class LineageError(CaptureError, LookupError):
    """Nothing that is recorded is what was asked for, or several things are.

    Attributes
    ----------
    wanted : str
    """

    def __init__(self, wanted: str, message: str) -> None:
        super().__init__(message)
        self.wanted, self.message = wanted, message

    def __reduce__(self) -> Any:
        return type(self), (self.wanted, self.message)


class Graph:
    """Runs and files, and what came of what.

    Attributes
    ----------
    start : list of str
        Ids of the nodes that were asked for.
    nodes : dict of str to RunNode or FileNode
    edges : list of Edge
    up, down : bool
        Which ways were followed.
    depth : int or None
        How many runs far; None: to the end.
    followed : set of (str, str)
        "read" and "wrote", for up and down, with the ids of runs whose files are here.
    versions : list of (RunNode, Use)
        Runs that knew the path that was asked for with another content.
    notes : list of str
        Sentences about what was seen of it besides.
    """

    def __init__(self, up: bool = True, down: bool = True, depth: int | None = None) -> None:
        self.start: list[str] = []
        self.up, self.down, self.depth = up, down, depth
        self.nodes: dict[str, RunNode | FileNode] = {}
        self.edges: list[Edge] = []
        self.followed: set[tuple[str, str]] = set()
        self.versions: list[tuple[RunNode, Use]] = []
        self.notes: list[str] = []
        self._known: dict[tuple[str, str, str], Edge] = {}
        self._into: dict[str, list[Edge]] = {}
        self._from: dict[str, list[Edge]] = {}

    def connect(self, kind: str, source: str, target: str, use: Use | None = None, others: bool = False) -> Edge:
        """Add an edge, or what one more use says of it."""
        edge = self._known.get((kind, source, target))
        if edge is None:
            edge = self._known[kind, source, target] = Edge(kind, source, target)
            edge.others = others
            self.edges.append(edge)
            self._into.setdefault(target, []).append(edge)
            self._from.setdefault(source, []).append(edge)
        edge.others = edge.others and others
        if use is not None and use.path not in edge.paths:
            edge.names.append(use.name)
            edge.paths.append(use.path)
        return edge

    def into(self, node: str) -> list[Edge]:
        """Return the edges that end at a node."""
        return self._into.get(node, [])

    def out_of(self, node: str) -> list[Edge]:
        """Return the edges that begin at a node."""
        return self._from.get(node, [])

    @property
    def runs(self) -> list[RunNode]:
        """The runs, oldest first where that is known."""
        runs = [node for node in self.nodes.values() if isinstance(node, RunNode)]
        return sorted(runs, key=lambda run: run.start.timestamp() if run.start else 0.0)

    @property
    def files(self) -> list[FileNode]:
        return [node for node in self.nodes.values() if isinstance(node, FileNode)]

    def to_dict(self) -> dict[str, Any]:
        """Return the graph as plain data, with strict JSON in mind."""
        versions = [
            {"run": run.label, "role": use.role, "path": use.path, "digest": use.digest, "size": use.size}
            for run, use in self.versions
        ]
        return {
            "start": self.start,
            "followed": [way for way, followed in (("up", self.up), ("down", self.down)) if followed],
            "depth": self.depth,
            "nodes": [node.to_dict() for node in self.nodes.values()],
            "edges": [edge.to_dict() for edge in self.edges],
            "other_versions": versions,
            "notes": self.notes,
        }

    def to_text(self, ascii: bool = False, every: bool = False) -> str:
        """Return the graph as a tree in plain text, whatever stands in names escaped; see `lines`."""
        return "".join(f"{branches}{text}\n" for branches, text, _ in self.lines(ascii, every))

    def lines(self, ascii: bool = False, every: bool = False) -> Iterator[tuple[str, str, str]]:
        """Yield the lines of the tree: the branches before a text, the text, and its kind.

        Parameters
        ----------
        ascii : bool
            Whether the branches are drawn in ASCII.
        every : bool
            Whether all of what is many is listed.

        Yields
        ------
        (str, str, str)
            The kind is "run", "file", "part", "none" (no recorded run), "more", "heading" or "note".
        """
        from capture.query._lineage_drawing import tree

        return tree(self, ascii, every)

    def to_dot(self) -> str:
        """Return the graph in the language of Graphviz."""
        from capture.query._lineage_drawing import dot

        return dot(self)

    def to_mermaid(self) -> str:
        """Return the graph as a Mermaid flowchart."""
        from capture.query._lineage_drawing import mermaid

        return mermaid(self)


class Lineage:
    """What the runs of a store had to do with files.

    Parameters
    ----------
    store : Reader
        If it has an index of files, those runs are read that an answer needs; else all of them, once, when something is
        asked first.
    progress : callable, optional
        Called after each run of which it has to be found out which files it used.
    """

    def __init__(self, store: Reader, progress: Callable[[], Any] = lambda: None) -> None:
        self.store, self._progress = store, progress
        self.runs: dict[str, RunNode] = {}
        self.unreadable: list[str] = []  #: what is said of runs that could not be read
        self._uses: dict[str, list[Use]] = {}  # by run
        self._places: dict[str, int] = {}  # by run: 0 is the newest
        # lists are in the order in which a store finds its runs, whatever the order in which these were read
        self._of: dict[str, dict[str, list[tuple[str, Use]]]] = {READ: {}, WROTE: {}, RAN: {}}  # by content
        self._paths: dict[str, list[tuple[str, Use]]] = {}
        self._asides: dict[str, list[tuple[int, str, str]]] = {}  # by path: what else was seen of it
        self._undigested: dict[int, list[tuple[str, Use]]] = {}  # stored files, by size
        self._folders: dict[str, tuple[tuple[int, int], frozenset[str]]] = {}  # first use and files' digests, by key
        self._is_read = False
        self._index: UsedFiles | None = None
        self._taken: set[int] = set()  # runs that were taken from the index
        self._asked: set[tuple[str, str]] = set()  # what the index need not be asked again

    # ------------------------------------------------------------------------------------------------------- reading

    def read(self) -> Lineage:
        """Read all runs, unless that was done; return itself."""
        if not self._is_read:
            self._is_read = True
            if self._index is not None:
                self._take(range(len(self._index)))
                return self
            for place, record in enumerate(getattr(self.store, "reader", self.store).find()):
                self.add(record, place)
                self._progress()
        return self

    def _prepare(self) -> None:
        """Have the store's index at hand, or all runs."""
        if self._is_read or self._index is not None:
            return
        make_index = getattr(getattr(self.store, "reader", self.store), "used_files", None)
        self._index = None if make_index is None else make_index(self._progress)
        if self._index is None:
            self.read()
        else:
            self._take(self._index.always())

    def _take(self, places: Iterable[int]) -> None:
        """Read runs that the index names, unless that was done."""
        new = [place for place in places if place not in self._taken]
        if new and self._index is not None:
            self._taken.update(new)
            for place, record in self._index.records(new):
                self.add(record, place)

    def _take_marked(self, *marks: int) -> None:
        """Read the runs that have one of some marks."""
        if self._index is not None and not self._is_read:
            self._take(self._index.find(marks))

    def add(self, record: RunRecord, place: int) -> None:
        """Take in one run; `place` is its number among the runs of the store, of which 0 is the newest."""
        try:
            run, uses, lineage = RunNode(record), uses_of(record), lineage_of(record)
        except RecordError as error:
            self.unreadable.append(f"run {record.label} cannot be read: {error}")
            return
        if self._places.get(run.id, -1) <= place:
            self.runs[run.id], self._uses[run.id], self._places[run.id] = run, uses, place
        for number, use in enumerate(uses):
            use.place = (place, number)
            self._enter(run.id, use)
            for path in use.paths:
                _insert(self._paths.setdefault(path, []), (run.id, use))
            if use.stored is not None and use.size:
                self._undigested.setdefault(use.size, []).append((run.id, use))
            if use.manifest is not None:
                self._read_manifest(use)
        for entry in entries(lineage.get("nearby")):
            how = f"{entry.get('how') or 'seen'} nearby, perhaps by another process"
            self._asides.setdefault(entry["path"], []).append((place, run.id, how))
        for entry in entries(lineage.get("intermediates")):
            self._asides.setdefault(entry["path"], []).append((place, run.id, "written, read and gone at its end"))

    def _enter(self, run: str, use: Use) -> None:
        _insert(self._of[use.role].setdefault(use.key, []), (run, use))

    def _read_manifest(self, use: Use) -> None:
        known = self._folders.get(use.key)
        if known is not None and (known[0] <= use.place or known[1]):
            self._folders[use.key] = (min(known[0], use.place), known[1])
            return
        try:
            files = _files_of(use)
        except (CaptureError, OSError) as error:
            self.unreadable.append(f"the list of the files in {use.path} cannot be read: {error}")
            files = []
        inside = frozenset(file["digest"] for file in files if file["digest"] and file["size"])
        self._folders[use.key] = (use.place, inside)

    def _digest_stored(self, size: int | None) -> None:
        """Compute the digests of stored files that have none, as in records of Sacred, if they are of this size."""
        if not size:
            return
        if self._is_new("stored", str(size)):
            self._take_marked(size_mark(size, "stored"))
        for run, use in self._undigested.pop(size, ()):
            entered = self._of[use.role][use.key]
            digest = None if use.stored is None else _digest_of_stored(use.stored)
            if digest is not None:
                entered[:] = [each for each in entered if each[1] is not use]
                use.digest = digest
                self._enter(run, use)

    def _is_new(self, *question: str) -> bool:
        """Say whether the index has to be asked something, and has not been so far."""
        if self._index is None or self._is_read or question in self._asked:
            return False
        self._asked.add(question)  # type: ignore[arg-type]
        return True

    def _sorted_paths(self) -> list[tuple[str, list[tuple[str, Use]]]]:
        """Return paths and what used them, in the order of the store."""

        def place(each: tuple[str, list[tuple[str, Use]]]) -> tuple[tuple[int, int], int]:
            use = each[1][0][1]
            return use.place, use.paths.index(each[0])

        return sorted(self._paths.items(), key=place)

    # ------------------------------------------------------------------------------------------------------ answering

    def graph(
        self, wanted: str, up: bool = True, down: bool = True, depth: int | None = None, every: bool = False
    ) -> Graph:
        """Follow a file, a digest or a run.

        Parameters
        ----------
        wanted : str
            In this order: the label of a run; a file or folder that is there now, which is known by its digest; a run
            by part of its uid; the beginning of a digest, from 6 digits on; a URL, a path or a name that runs knew.
        up, down : bool
            Whether to follow where it comes from, and where it went.
        depth : int, optional
            How many runs far.
        every : bool
            Where several runs wrote the same bytes, to follow all of them rather than the last before they were read.

        Raises
        ------
        LineageError
            If nothing that is recorded is meant, or several things are.
        """
        self._prepare()
        graph = Graph(up, down, depth)
        run = self._run_named(wanted)
        if run is not None:
            graph.start = [run]
        elif os.path.isfile(wanted):
            self._start_at_file(graph, os.path.abspath(wanted))
        elif os.path.isdir(wanted):
            self._start_at_folder(graph, os.path.abspath(wanted))
        else:
            graph.start = self._recorded(wanted)
        walk = _Walk(self, graph, every)
        walk.begin()
        if up:
            walk.follow(READ)
        if down:
            walk.follow(WROTE)
        return graph

    def _run_named(self, wanted: str) -> str | None:
        if self._has_run(wanted):
            return f"run:{wanted}"
        if wanted != "latest" and not (wanted[:1] == "-" and wanted[1:].isdecimal()):
            return None
        return self._run(wanted)

    def _run(self, named: str) -> str:
        label = self.store.get(named).label
        if not self._has_run(str(label)):
            raise LineageError(named, f"run {named} cannot be read:\n  " + "\n  ".join(self.unreadable))
        return f"run:{label}"

    def _has_run(self, label: str) -> bool:
        if self._index is not None and not self._is_read:
            self._take(self._index.labelled(label))
        return f"run:{label}" in self.runs

    def _start_at_file(self, graph: Graph, path: str) -> None:
        names = dict.fromkeys((path, os.path.realpath(path)))
        self._take_marked(*(mark(PATH, name) for name in names))
        known = {id(each[1]): each for name in names for each in self._paths.get(name, ())}
        size = os.stat(path).st_size
        self._digest_stored(size)
        self._take_marked(size_mark(size, "sampled"), size_mark(size, "whole"))
        candidates = [self._use_now(path, size, digest) for digest in self._digests_now(path, size)]
        now = next((use for use in candidates if self._is_known(use)), candidates[0])
        graph.start = [now.key]
        graph.nodes[now.key] = FileNode(now.key)
        graph.nodes[now.key].learn(now)  # type: ignore[union-attr]
        self._add_versions(graph, known.values())
        self._add_asides(graph, path)

    def _use_now(self, path: str, size: int, digest: str) -> Use:
        use = Use(READ, path, os.path.relpath(path), digest, size)
        use.name = path if use.name.startswith("..") else use.name
        return use

    def _digests_now(self, path: str, size: int) -> list[str]:
        """Return the digests by which runs may know a file: of the whole, and of a sample if they took one."""
        from capture.probes.lineage.digesting import SAMPLE_BYTES, file_digest
        from capture.settings import SETTINGS

        sampled = {
            use.sampled for uses in self._of.values() for each in uses.values() for _, use in each if use.size == size
        }
        digests = []
        if size <= max(SETTINGS.LINEAGE.HASH_LIMIT_BYTES, SAMPLE_BYTES) or False in sampled:
            digests.append(file_digest(path))
        if True in sampled or not digests:
            digests.append(sample_digest(path))
        return digests

    def _is_known(self, use: Use) -> bool:
        if any(self.first_using(use.key, role) for role in self._of):
            return True
        self._take_overlapping(use.key, READ)
        self._take_overlapping(use.key, WROTE)
        return any(use.digest in digests for _, digests in self._folders.values())

    def _start_at_folder(self, graph: Graph, folder: str) -> None:
        """Start at what runs knew in a folder, and is there still as they knew it."""
        inside = folder.rstrip(os.sep) + os.sep
        if folder.rstrip(os.sep):
            self._take_marked(*folder_marks(folder))
        else:  # everything lies in there
            self.read()
        changes: dict[str, str] = {}
        for path, known in self._sorted_paths():
            if path != folder and not path.startswith(inside):
                continue
            uses = {use.key: use for _, use in known if use.role != RAN}
            there = [key for key, use in uses.items() if key in graph.start or _is_there(use, path)]
            graph.start += [key for key in there if key not in graph.start]
            if uses and not there:
                changes.update(_changes(list(uses.values())[-1], path))
            self._add_versions(graph, known)
        told = [
            f"what was read or written here {what}" if path == folder else f"the file {path[len(inside) :]} {what}"
            for path, what in sorted(changes.items())
        ]
        graph.notes += told[:_NAMED]
        if len(told) > _NAMED:
            graph.notes.append(f"{len(told) - _NAMED} more files have changed or are gone")
        if not graph.start and not graph.versions:
            raise LineageError(folder, f"no recorded run of {self.store.url} read or wrote anything in {folder}")

    def _add_versions(self, graph: Graph, known: Iterable[tuple[str, Use]]) -> None:
        graph.versions += [
            (self.runs[run], use) for run, use in known if use.key not in graph.start and use.role != RAN
        ]

    def _add_asides(self, graph: Graph, path: str) -> None:
        for _, run, how in sorted(self._asides.get(path, ()), key=lambda aside: aside[0]):
            graph.notes.append(f"for run {self.runs[run].label} it was {how}")

    def _recorded(self, wanted: str) -> list[str]:
        """Return the nodes that are meant by what is neither a label nor a file that is there."""
        from capture.errors import RunNotFoundError

        try:
            return [self._run(wanted)]
        except RunNotFoundError:
            pass
        digest = wanted.lower().removeprefix("sha256:")
        if len(digest) >= SHORTEST and set(digest) <= _HEXADECIMAL:
            matching = self._with_digest(digest)
            if len(matching) > 1:
                listed = "".join(f"\n  {each}" for each in matching[:_NAMED])
                raise LineageError(wanted, f"{wanted} is the beginning of {len(matching)} digests:{listed}")
            if matching:
                self._digest_stored(self._size_of(matching[0]))
                return [f"digest:{matching[0]}"]
        return self._with_path(wanted)

    def _with_digest(self, beginning: str) -> list[str]:
        if self._index is not None and not self._is_read:
            self._take(self._index.between(*beginning_marks(beginning)))
        keys = {key[7:] for uses in self._of.values() for key in uses if key.startswith(f"digest:{beginning}")}
        for _, digests in self._folders.values():
            keys.update(digest for digest in digests if digest.startswith(beginning))
        return sorted(keys)

    def _size_of(self, digest: str) -> int | None:
        known = (uses.get(f"digest:{digest}") for uses in self._of.values())
        return next((each[0][1].size for each in known if each), None)

    def _with_path(self, wanted: str) -> list[str]:
        ends = "/" + wanted.replace(os.sep, "/").removeprefix("./")
        self._take_marked(mark(PATH, wanted), mark(PATH, os.path.abspath(wanted)))
        found = self._paths.get(wanted) or self._paths.get(os.path.abspath(wanted))
        if not found:
            self._take_marked(name_mark(wanted), name_mark(ends))
            found = [
                each
                for path, known in self._sorted_paths()
                for each in known
                if path.replace(os.sep, "/").endswith(ends) or each[1].name in (wanted, ends[1:])
            ]
        if not found:
            raise LineageError(
                wanted,
                f"{wanted!r} is no file here, and no recorded run of {self.store.url} is, read or wrote anything"
                " called so\n  what can be named:  a file or folder, the label or uid of a run, a URL,"
                f" {SHORTEST} or more digits of a digest",
            )
        return list({use.key: None for _, use in found})

    # ------------------------------------------------------------------------------------------- for those who follow

    def uses(self, run: str, role: str) -> Iterator[Use]:
        """Yield what a run read, wrote or ran, by the id of its node."""
        return (use for use in self._uses[run] if use.role == role)

    def using(self, content: str, role: str) -> list[tuple[str, Use]]:
        """Return the runs that read, wrote or ran a content, and how."""
        if self._is_new(role, content):
            self._take_marked(*content_marks(KINDS[role], content))
        return list(self._of[role].get(content, ()))

    def first_using(self, content: str, role: str) -> tuple[str, Use] | None:
        """Return the first of `using`, without having read the others."""
        question = ("first " + role, content)
        if self._is_new(*question) and (role, content) not in self._asked:
            assert self._index is not None
            for place in self._index.find(content_marks(KINDS[role], content)):
                self._take([place])
                known = self._of[role].get(content)
                # a digest that was computed afterwards comes last
                if known and not _order(known[0])[0] and known[0][1].place[0] <= place:
                    return known[0]
        known = self._of[role].get(content)
        return known[0] if known else None

    def overlapping(self, content: str, role: str) -> Iterator[tuple[str, int]]:
        """Yield what runs read or wrote that shares files with a content, one of them being a folder; and how many."""
        self._take_overlapping(content, role)
        if not self._folders:
            return
        known, inside = self._of[role], self._folders[content][1] if content in self._folders else None
        digest = content.removeprefix("digest:")
        for other, (_, digests) in sorted(self._folders.items(), key=lambda folder: folder[1][0]):
            if other == content or other not in known:
                continue
            shared = len(digests & inside) if inside is not None else int(digest in digests)
            if shared:
                yield other, shared
        for each in inside or ():
            if f"digest:{each}" in known:
                yield f"digest:{each}", 1

    def _take_overlapping(self, content: str, role: str) -> None:
        """Read the runs that `overlapping` tells of."""
        if not content.startswith("digest:") or not self._is_new(f"overlapping {role}", content):
            return
        assert self._index is not None
        self._take_folder(mark(FOLDER, content))
        _, inside = self._folders.get(content, (None, frozenset()))
        files = [f"digest:{each}" for each in inside] or [content]
        for folder in self._index.folders([mark(INSIDE, each) for each in files]):
            places = self._index.find([with_kind(folder, KINDS[role])])
            if places:
                self._take_folder(folder)
                self._take(places)
        if inside:
            self._take_marked(*(mark(KINDS[role], each) for each in files))

    def _take_folder(self, folder: int) -> None:
        """Read the first run that had to do with a folder: it says where this stands among others."""
        if self._index is not None:
            for place in self._index.find([folder]):
                self._take([place])
                if any(first[0] == place and mark(FOLDER, key) == folder for key, (first, _) in self._folders.items()):
                    return

    def settle(self, use: Use) -> None:
        """See to it that all that has the content of a use is known to have it."""
        self._digest_stored(use.size)


class _Walk:
    """Follows a lineage from run to run, and puts what it meets into a graph."""

    def __init__(self, lineage: Lineage, graph: Graph, every: bool) -> None:
        self._lineage, self._graph, self._every = lineage, graph, every

    def begin(self) -> None:
        for node in self._graph.start:
            if node.startswith("run:"):
                self._graph.nodes[node] = self._lineage.runs[node]
            else:
                self._content(node)

    def follow(self, role: str) -> None:
        """Follow to where things come from (READ), or to where they went (WROTE)."""
        from collections import deque

        near = self._writers if role == READ else self._readers
        waiting = deque((node, 0) for node in self._graph.start if node.startswith("run:"))
        for node in self._graph.start:
            if not node.startswith("run:"):
                waiting.extend((run, 1) for run in near(node, None, None))
        followed, depth = self._graph.followed, self._graph.depth
        while waiting:
            run, distance = waiting.popleft()
            if (role, run) in followed or (depth is not None and distance >= depth):
                continue
            followed.add((role, run))
            for use in [*self._lineage.uses(run, role), *(self._lineage.uses(run, RAN) if role == READ else ())]:
                self._lineage.settle(use)
                if use.role == RAN and not self._is_written_by_another(use, run):
                    continue  # sources are written by people
                self._connect(run, use)
                waiting.extend((other, distance + 1) for other in near(use.key, run, use))

    def _is_written_by_another(self, use: Use, run: str) -> bool:
        return any(writer != run for writer, _ in self._lineage.using(use.key, WROTE))

    def _content(self, key: str, use: Use | None = None) -> None:
        node = self._graph.nodes.setdefault(key, FileNode(key))
        known = next(filter(None, (self._lineage.first_using(key, role) for role in (WROTE, READ, RAN))), None)
        for each in (use, known and known[1]):
            if each is not None:
                node.learn(each)  # type: ignore[union-attr]
        if isinstance(node, FileNode) and node.digest is None and key.startswith("digest:"):
            node.digest = key[7:]

    def _connect(self, run: str, use: Use, others: bool = False) -> None:
        self._graph.nodes[run] = self._lineage.runs[run]
        self._content(use.key, use)
        ends = (run, use.key) if use.role == WROTE else (use.key, run)
        self._graph.connect(use.role, *ends, use, others)

    def _writers(self, content: str, reader: str | None, read: Use | None) -> Iterator[str]:
        """Connect a content to the runs that wrote it; yield those that are worth following."""
        yield from self._writers_of(content, reader, read)
        for other, shared in self._lineage.overlapping(content, WROTE):
            self._content(other)
            self._graph.connect("part", other, content).shared = shared
            yield from self._writers_of(other, reader, read)

    def _writers_of(self, content: str, reader: str | None, read: Use | None) -> list[str]:
        runs = self._lineage.runs
        found = [
            (run, use)
            for run, use in self._lineage.using(content, WROTE)
            if run != reader and (reader is None or may_precede(runs[run], runs[reader]))
        ]
        if not found:
            return []
        paths = read.paths if read is not None else getattr(self._graph.nodes.get(content), "paths", ())

        def likelihood(each: tuple[str, Use]) -> tuple[bool, float]:
            started = runs[each[0]].start
            return each[1].path in paths, started.timestamp() if started else 0.0

        likeliest = max(found, key=likelihood)[0]
        for run, use in found:
            self._connect(run, use, others=run != likeliest and not self._every)
        return [run for run, _ in found] if self._every else [likeliest]

    def _readers(self, content: str, writer: str | None, wrote: Use | None) -> Iterator[str]:
        """Connect a content to the runs that read it; yield these."""
        yield from self._readers_of(content, writer)
        for other, shared in self._lineage.overlapping(content, READ):
            self._content(other)
            self._graph.connect("part", content, other).shared = shared
            yield from self._readers_of(other, writer)

    def _readers_of(self, content: str, writer: str | None) -> Iterator[str]:
        runs = self._lineage.runs
        for role in (READ, RAN):
            for run, use in self._lineage.using(content, role):
                if run != writer and (writer is None or may_precede(runs[writer], runs[run])):
                    self._connect(run, use)
                    yield run


def _insert(entered: list[tuple[str, Use]], entry: tuple[str, Use]) -> None:
    """Put a use where it belongs: in the order of the store, but those last whose digest was computed afterwards."""
    if not entered or _order(entered[-1]) <= _order(entry):
        entered.append(entry)
    else:
        insort(entered, entry, key=_order)


def _order(entry: tuple[str, Use]) -> tuple[bool, tuple[int, int]]:
    use = entry[1]
    return use.stored is not None and use.digest is not None, use.place


def sample_digest(path: str) -> str:
    """Return the SHA-256 of a sample of a file, as runs record it of very large files."""
    import hashlib

    from capture.probes.lineage.digesting import sample_ranges

    size = os.stat(path).st_size
    hashing = hashlib.sha256(b"capture-sample-1 %d\n" % size)
    with open(path, "rb") as stream:
        for start, length in sample_ranges(size):
            stream.seek(start)
            hashing.update(stream.read(length))
    return hashing.hexdigest()


def _files_of(use: Use) -> list[dict[str, Any]]:
    from capture.probes.lineage.manifests import read_manifest

    return read_manifest(use.manifest.read()) if use.manifest is not None else []


def _digest_of_stored(stored: StoredFile) -> str | None:
    import hashlib

    hashing = hashlib.sha256()
    try:
        with stored.open() as stream:
            while piece := stream.read(1 << 20):
                hashing.update(piece)
    except OSError:  # the store has the name, not the bytes
        return None
    return hashing.hexdigest()


def _changes(use: Use, path: str) -> dict[str, str]:
    """Return what became of a file, or of the files of a folder, that are not now what they were: by path."""
    files: list[Any] = []
    if use.manifest is not None and os.path.isdir(path):
        try:
            files = _files_of(use)
        except (OSError, CaptureError):
            pass  # the folder is told of as a whole
    found = {}
    for file in files:
        inside = os.path.join(path, *file["name"].split("/"))
        one = Use(READ, inside, digest=file["digest"], size=file["size"])
        one.sampled = bool(file.get("sampled"))
        if not _is_there(one, inside):
            found.update(_changes(one, inside))
    if found or (use.digest is None and os.path.lexists(path)):
        return found
    return {path: "has changed since a run knew it" if os.path.lexists(path) else "is gone from the disk"}


def _is_there(use: Use, path: str) -> bool:
    """Say whether a file, or the files of a folder, are now what they were for a run."""
    from capture.probes.lineage.digesting import file_digest
    from capture.probes.lineage.manifests import manifest_of

    try:
        if use.manifest is None:
            if use.digest is None or os.stat(path).st_size != use.size:
                return False
            return (sample_digest(path) if use.sampled else file_digest(path)) == use.digest
        files = _files_of(use)
        for file in files:
            inside = os.path.join(path, *file["name"].split("/"))
            file["size"] = os.stat(inside).st_size
            file["digest"] = sample_digest(inside) if file.get("sampled") else file_digest(inside)
    except (OSError, CaptureError):
        return False
    import hashlib

    return hashlib.sha256(manifest_of(files)).hexdigest() == use.digest
