"""A graph of runs and files drawn: as a tree in text, for Graphviz, for Mermaid.

Names of files and experiments may hold anything; in each form they are escaped so that they stay within their label.
"""

from __future__ import annotations

from functools import partial

from capture.file_uses import RAN, READ, WROTE
from capture.query._lineage_nodes import Edge, FileNode, RunNode, may_precede
from capture.wording import format_size, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from capture.query.lineage import Graph

MANY = 20  #: branches that are drawn at one place
_DIGITS = 12  #: of a digest that are shown
_LISTED = 8  #: runs that are named in one line
_UNICODE, _ASCII = ("├─ ", "└─ ", "│  ", "   "), ("|- ", "`- ", "|  ", "   ")


def describe_file(file: FileNode, name: str = "") -> str:
    """Return a line about a content: name, digest, size."""
    parts = [visible(name or file.name)]
    if file.files is not None:
        parts.append(f"{file.files:,} files")
    if file.digest:
        parts.append(visible(file.digest[:_DIGITS]) + (" (a sample)" if file.sampled else ""))
    elif not file.id.startswith("url:"):
        parts.append("empty" if file.size == 0 else "no digest")
    if file.size:
        parts.append(format_size(file.size))
    return "  ".join(parts)


def describe_run(run: RunNode, name: str = "") -> str:
    """Return a line about a run: label, experiment, status, start, whether it is known to have missed something.

    `name` is what it calls the file that the line is about, if that is to be told.
    """
    parts = [f"run {visible(str(run.label))}", visible(run.name), visible(run.status)]
    if run.start is not None:
        parts.append(_clock(run))
    line = "  ".join(part for part in parts if part) + (f"  as {visible(name)}" if name else "")
    if not run.watched:
        return f"{line}  ({run.why_unknown})"
    return line if run.is_complete else f"{line}  (did not see everything)"


def _clock(run: RunNode) -> str:
    assert run.start is not None
    try:
        return f"{run.start.astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):  # years that the platform's calendar does not reach
        return str(run.start)


# ---------------------------------------------------------------------------------------------------------------- text


class _Branch:
    """A line of the tree, and what makes the lines below it."""

    __slots__ = ("below", "kind", "seen", "text")

    def __init__(
        self,
        text: str,
        kind: str,
        below: Callable[[], list[_Branch]] = list,
        seen: Callable[[], bool] = bool,
    ) -> None:
        self.text, self.kind, self.below = text, kind, below
        self.seen = seen  # asked when it is drawn: whether what is below it stands above


def tree(graph: Graph, ascii: bool = False, every: bool = False) -> Iterator[tuple[str, str, str]]:
    """Yield the lines of a graph; see `capture.query.lineage.Graph.lines`."""
    fork, last, through, blank = _ASCII if ascii else _UNICODE
    trees = _Trees(graph, every)
    for root in trees.roots():
        waiting = [("", "", root)]  # a stack: lineages can be longer than Python's calls are deep
        while waiting:
            indent, branch, each = waiting.pop()
            seen = each.seen()
            yield indent + branch, f"{each.text}  (see above)" if seen else each.text, each.kind
            below = [] if seen else each.below()
            inner = indent + ("" if not branch else blank if branch == last else through)
            ends = [fork] * (len(below) - 1) + [last] * bool(below)
            waiting += [(inner, end, child) for end, child in zip(reversed(ends), reversed(below))]
    yield from trees.rest()


class _Trees:
    def __init__(self, graph: Graph, every: bool) -> None:
        self._graph, self._many = graph, None if every else MANY
        self._drawn: set[tuple[str, str]] = set()  # ways and nodes

    def roots(self) -> Iterator[_Branch]:
        for start in self._graph.start:
            node = self._graph.nodes[start]
            text = describe_run(node) if isinstance(node, RunNode) else describe_file(node)
            yield _Branch(text, "run" if isinstance(node, RunNode) else "file", partial(self._around, node))

    def _around(self, node: RunNode | FileNode) -> list[_Branch]:
        branches = []
        for way, followed in ((READ, self._graph.up), (WROTE, self._graph.down)):
            if followed:
                self._drawn.add((way, node.id))
                both = self._of_run(node, way) if isinstance(node, RunNode) else self._of_file(node, way, None)
                branches += both
        return branches

    # What stands below a run are files, and the other way round. Up, `way` is READ; down, it is WROTE.

    def _of_run(self, run: RunNode, way: str) -> list[_Branch]:
        if (way, run.id) not in self._graph.followed:
            return []
        edges = self._graph.into(run.id) if way == READ else self._graph.out_of(run.id)
        branches = [self._file_branch(edge, way, run) for edge in edges]
        return self._shortened(branches, "files")

    def _file_branch(self, edge: Edge, way: str, run: RunNode) -> _Branch:
        file = self._graph.nodes[edge.source if way == READ else edge.target]
        assert isinstance(file, FileNode)
        shown = ", ".join(edge.names)
        text = f"{edge.kind} {describe_file(file, shown)}"
        return _Branch(text, "file", lambda: self._of_file(file, way, run, shown))

    def _of_file(self, file: FileNode, way: str, run: RunNode | None, shown: str = "") -> list[_Branch]:
        """Return the runs at the other side of a file, and the folders that share files with it."""
        edges = self._graph.into(file.id) if way == READ else self._graph.out_of(file.id)
        near = [edge for edge in edges if edge.kind != "part" and self._is_possible(edge, way, run)]
        likely = [edge for edge in near if not edge.others]
        likely.sort(key=lambda edge: self._started(edge, way), reverse=way == READ)
        verb = "written by" if way == READ else "read by"
        branches = [
            self._run_branch(edge, verb if edge.kind != RAN else "run by", way, shown or file.name) for edge in likely
        ]
        branches = self._shortened(branches, "runs")
        others = [self._run_of(edge, way) for edge in near if edge.others]
        if others:
            branches.append(_Branch(f"the same bytes were written by {_listed(others)}", "more"))
        branches += [self._part_branch(edge, way, file, run) for edge in edges if edge.kind == "part"]
        return branches or [_Branch(f"{verb} no recorded run", "none")]

    def _run_branch(self, edge: Edge, verb: str, way: str, shown: str) -> _Branch:
        run = self._run_of(edge, way)
        name = ", ".join(edge.names)
        text = f"{verb} {describe_run(run, name if name != shown else '')}"

        def below() -> list[_Branch]:
            self._drawn.add((way, run.id))
            return self._of_run(run, way)

        return _Branch(text, "run", below, lambda: (way, run.id) in self._drawn)

    def _part_branch(self, edge: Edge, way: str, file: FileNode, run: RunNode | None) -> _Branch:
        other = self._graph.nodes[edge.source if way == READ else edge.target]
        assert isinstance(other, FileNode)
        if file.files is not None and other.files is not None:
            text = f"shares {edge.shared:,} files with {describe_file(other)}"
        else:
            text = f"{'in' if other.files is not None else 'has in it'} {describe_file(other)}"

        def below() -> list[_Branch]:
            return [each for each in self._of_file(other, way, run) if each.kind not in ("part", "none")]

        return _Branch(text, "part", below)

    def _is_possible(self, edge: Edge, way: str, run: RunNode | None) -> bool:
        other = self._run_of(edge, way)
        if run is None or other is run:
            return run is None
        return may_precede(other, run) if way == READ else may_precede(run, other)

    def _run_of(self, edge: Edge, way: str) -> RunNode:
        run = self._graph.nodes[edge.source if way == READ else edge.target]
        assert isinstance(run, RunNode)
        return run

    def _started(self, edge: Edge, way: str) -> float:
        start = self._run_of(edge, way).start
        return start.timestamp() if start else 0.0

    def _shortened(self, branches: list[_Branch], what: str) -> list[_Branch]:
        if self._many is None or len(branches) <= self._many:
            return branches
        more = len(branches) - self._many
        return [*branches[: self._many], _Branch(f"and {more:,} more {what} (--all lists them)", "more")]

    # And what is no tree.

    def rest(self) -> Iterator[tuple[str, str, str]]:
        """Yield the other versions of a path, what was seen besides, and what runs are known to have missed."""
        graph = self._graph
        if graph.versions:
            yield "", "", "note"
            yield from self._versions()
        if graph.notes:
            yield "", "", "note"
        for note in graph.notes:
            yield "", visible(note[:1].upper() + note[1:]) + ".", "note"
        missed = [run for run in graph.runs if run.unseen]
        if missed:
            yield "", "", "note"
            yield "", "Not seen, as far as is known:", "heading"
        for run in missed[: self._many]:
            yield "  ", f"run {visible(str(run.label))}: {visible('; '.join(run.unseen))}", "note"

    def _versions(self) -> Iterator[tuple[str, str, str]]:
        """Yield the runs that knew the path with another content: below an answer how many, and the newest."""
        versions = sorted(self._graph.versions, key=lambda each: each[0].start.timestamp() if each[0].start else 0.0)
        count = len({run.id for run, _ in versions})
        if self._graph.edges and self._many is not None and count > 1:
            run, use = versions[-1]
            newest = f"the newest is run {visible(str(run.label))}, which {'wrote' if use.role == WROTE else 'read'} it"
            yield "", f"{count:,} runs knew this path with another content; {newest} (--all lists them).", "note"
            return
        yield "", "Runs that knew this path with another content:", "heading"
        shown = versions if self._many is None else versions[-self._many :]
        if len(shown) < len(versions):
            yield "  ", f"{len(versions) - len(shown):,} older ones (--all lists them)", "more"
        for run, use in shown:
            content = visible(use.digest[:_DIGITS]) if use.digest else "no digest"
            verb = "wrote" if use.role == WROTE else "read"
            where = "" if len({each.path for _, each in versions}) == 1 else f"  {visible(use.path)}"
            yield "  ", f"{describe_run(run)} {verb}{where}  {content}", "run"


def _listed(runs: list[RunNode]) -> str:
    labels = [visible(str(run.label)) for run in runs]
    if len(labels) == 1:
        return f"run {labels[0]}, too"
    shown = ", ".join(labels[:_LISTED])
    more = f" and {len(labels) - _LISTED:,} more" if len(labels) > _LISTED else ""
    return f"runs {shown}{more}, too"


# ------------------------------------------------------------------------------------------------- Graphviz and Mermaid


def _lines(node: RunNode | FileNode) -> list[str]:
    """Return what stands in a node of a drawing."""
    if isinstance(node, RunNode):
        lines = [f"run {node.label}  {node.name}".rstrip(), node.status]
        lines += [] if node.start is None else [_clock(node)]
        missing = node.why_unknown or ("" if node.is_complete else "did not see everything")
        return [visible(line) for line in (*lines, missing) if line]
    size = "" if node.size is None else format_size(node.size)
    count = "" if node.files is None else f"{node.files:,} files"
    content = node.digest[:_DIGITS] if node.digest else "" if node.id.startswith("url:") else "no digest"
    return [visible(node.name), "  ".join(part for part in (content, count, size) if part)]


def _numbered(graph: Graph) -> dict[str, str]:
    """Return a name for each node that is a name in any language."""
    return {id: f"{'r' if id.startswith('run:') else 'f'}{number}" for number, id in enumerate(graph.nodes)}


def dot(graph: Graph) -> str:
    """Return a graph in the language of Graphviz: runs are boxes, files are notes, what was asked for is bold."""
    names = _numbered(graph)
    lines = ["digraph lineage {", "  rankdir=LR;", '  node [fontname="sans-serif", fontsize=11];']
    for id, node in graph.nodes.items():
        label = "\\n".join(_in_quotes(line) for line in _lines(node))
        shape = "box, style=rounded" if isinstance(node, RunNode) else "folder" if node.files is not None else "note"
        bold = ", penwidth=2.5" if id in graph.start else ""
        lines.append(f'  {names[id]} [label="{label}", shape={shape}{bold}];')
    for edge in graph.edges:
        style = ", style=dashed" if edge.others or edge.kind == "part" else ""
        lines.append(f'  {names[edge.source]} -> {names[edge.target]} [label="{_verb(edge)}"{style}];')
    return "\n".join([*lines, "}", ""])


def _in_quotes(text: str) -> str:
    """Escape for a quoted string: a backslash would begin an escape (``\\N`` is the node's name)."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def mermaid(graph: Graph) -> str:
    """Return a graph as a Mermaid flowchart: runs are rounded, files are boxes, what was asked for has a thick line."""
    names = _numbered(graph)
    lines = ["flowchart LR"]
    for id, node in graph.nodes.items():
        label = "<br>".join(_as_entities(line) for line in _lines(node))
        left, right = ('(["', '"])') if isinstance(node, RunNode) else ('["', '"]')
        lines.append(f"  {names[id]}{left}{label}{right}")
    for edge in graph.edges:
        arrow = "-.->" if edge.others or edge.kind == "part" else "-->"
        lines.append(f'  {names[edge.source]} {arrow}|"{_verb(edge)}"| {names[edge.target]}')
    lines += [f"  style {names[id]} stroke-width:4px" for id in graph.start]
    return "\n".join([*lines, ""])


def _as_entities(text: str) -> str:
    """Write all punctuation that could mean something to Mermaid, Markdown or HTML by its number."""
    return "".join(each if each.isalnum() or each in " .,:-/" or ord(each) > 127 else f"#{ord(each)};" for each in text)


def _verb(edge: Edge) -> str:
    if edge.kind != "part":
        return edge.kind
    return f"{edge.shared:,} files" if edge.shared > 1 else "part of"
