"""The parts a configuration is put together from: the tree of ingredients, and what each source contributed.

A `Node` is what an experiment or ingredient declares. A `Layer` is what one source, named config, hook or update set
in one node, kept so that the history of every entry can be told later without slowing down the run's start.
"""

from __future__ import annotations

from capture.config.updates import get_by_path, iter_flattened, prefixes, shorten
from capture.config.values import equal
from capture.errors import CircularDependencyError, ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from capture.config.origin import Origin
    from capture.config.summary import ConfigSummary

# How strong a layer is: a higher rank wins. Among equals the later wins.
SOURCE, HOOK, NAMED, UPDATE, LATER = range(5)


class Missing:
    """The type of `MISSING` and `OVERRIDDEN`: values that say why there is none."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


MISSING = Missing("<missing>")
#: Stands in a history for a value that a source would have set, had a stronger layer not overridden the entry.
OVERRIDDEN = Missing("<overridden>")


class Node:
    """What one experiment or ingredient declares.

    Parameters
    ----------
    path : str
        Where its entries lie in the whole configuration, as a dotted path; "" for the experiment.
    sources : iterable
        Its config sources in order of declaration; a later one overwrites an earlier one. A source with a true
        attribute `override` acts like a named config that is always given, see `resolve`.
    named : mapping of str to config source
        Its named configs.
    hooks : iterable of callable
        Its config hooks, ``(config, command_name, logger) -> dict or None``; an attribute `origin` is used if there.
    children : iterable of Node
        Its direct sub-ingredients. An ingredient that is used in two places is one `Node` in both.
    name : str
        The experiment's own name, which may be put before the names of its named configs.
    """

    __slots__ = ("children", "hooks", "name", "named", "path", "sources")

    def __init__(
        self,
        path: str = "",
        sources: Iterable[Any] = (),
        named: Mapping[str, Any] | None = None,
        hooks: Iterable[Callable[..., Any]] = (),
        children: Iterable[Node] = (),
        name: str = "",
    ) -> None:
        self.path = path
        self.sources = tuple(sources)
        self.named = dict(named or {})
        self.hooks = tuple(hooks)
        self.children = tuple(children)
        self.name = name

    def __repr__(self) -> str:
        return f"Node({self.path!r})"


def sources_of(node: Node) -> Iterator[Any]:
    """Yield the config sources of `node`, and in place of one that has `sources` those."""
    for source in node.sources:
        yield from getattr(source, "sources", (source,))


class Tree:
    """An experiment with all ingredients below it, and where each is seen from another.

    Parameters
    ----------
    root : Node

    Raises
    ------
    CircularDependencyError
        If an ingredient contains itself.
    ConfigError
        If two ingredients have the same path.

    Attributes
    ----------
    nodes : list of Node
        Deepest first, so that each comes after all that it contains; the root is last.
    by_path : dict of str to Node
    """

    def __init__(self, root: Node) -> None:
        self.root = root
        self.nodes = _deepest_first(root)
        self.by_path: dict[str, Node] = {}
        for node in self.nodes:
            if node.path in self.by_path:
                raise ConfigError(
                    f"the paths of the ingredients are not unique: there are two with the path {node.path!r}."
                    "\n  give each Ingredient(path) of an experiment its own"
                )
            self.by_path[node.path] = node
        self._places: dict[str, list[tuple[str, Node]]] = {}

    def places(self, node: Node) -> list[tuple[str, Node]]:
        """Return where the ingredients below `node` are seen from it, longest path first.

        A common prefix is dropped: seen from "dataset", the ingredient "dataset.paths" is "paths". An ingredient
        without that prefix keeps its path.
        """
        found = self._places.get(node.path)
        if found is None:
            below: dict[str, Node] = {}
            for other in _descendants(node):
                below.setdefault(relative_path(node.path, other.path), other)
            found = sorted(below.items(), key=lambda place: -place[0].count("."))
            self._places[node.path] = found
        return found

    def carve(
        self, node: Node, config: dict[str, Any], refuse: Callable[[str, Any], None]
    ) -> tuple[dict[str, Any], list[tuple[str, Node, dict[str, Any]]]]:
        """Split `config`, as seen from `node`, into its own entries and those of the ingredients below it.

        Parameters
        ----------
        node : Node
        config : dict
            Not changed.
        refuse : callable
            Called with (path, value) where a value stands in the place of an ingredient; if it returns, the value is
            left out.

        Returns
        -------
        (dict, list of (path as seen from node, Node, dict))
        """
        parts = []
        for path, below in self.places(node):
            blocking = next((p for p in prefixes(path) if not isinstance(get_by_path(config, p, config), dict)), None)
            if blocking is not None:
                value, config = _take(config, blocking)
                refuse(blocking, value)
                continue
            part, config = _take(config, path)
            if part is not MISSING:
                parts.append((path, below, part))
        return config, parts


def _deepest_first(root: Node) -> list[Node]:
    depth: dict[int, tuple[int, Node]] = {}

    def visit(node: Node, above: tuple[Node, ...]) -> None:
        if node in above:
            raise CircularDependencyError(n.path for n in (*above[above.index(node) :], node))
        level, _ = depth.get(id(node), (-1, node))
        depth[id(node)] = (max(level, len(above)), node)
        for child in node.children:
            visit(child, (*above, node))

    visit(root, ())
    return [node for _, node in sorted(depth.values(), key=lambda entry: -entry[0])]


def _descendants(node: Node) -> Iterator[Node]:
    for child in node.children:
        yield child
        yield from _descendants(child)


def relative_path(base: str, path: str) -> str:
    """Return `path` as seen from `base`: without `base` in front, if it has it there.

    Examples
    --------
    >>> relative_path("dataset", "dataset.paths"), relative_path("dataset", "model")
    ('paths', 'model')
    """
    return path[len(base) + 1 :] if base and path.startswith(base + ".") else path


def _take(config: dict[str, Any], path: str) -> tuple[Any, dict[str, Any]]:
    """Return the entry at `path` and a copy of `config` without it and without the groups that this empties."""
    name, _, rest = path.partition(".")
    if name not in config:
        return MISSING, config
    if not rest:
        return config[name], {key: value for key, value in config.items() if key != name}
    group = config[name]
    if not isinstance(group, dict):
        return MISSING, config
    taken, left = _take(group, rest)
    if taken is MISSING:
        return MISSING, config
    if left:
        return taken, {**config, name: left}
    return taken, {key: value for key, value in config.items() if key != name}


def place(config: dict[str, Any], path: str, part: dict[str, Any]) -> dict[str, Any]:
    """Return `config` with `part` merged in at `path`; neither is changed, only the way to `path` is copied."""
    name, _, rest = path.partition(".")
    present = config.get(name)
    group: dict[str, Any] = present if isinstance(present, dict) else {}
    return {**config, name: place(group, rest, part) if rest else {**group, **part}}


class Layer:
    """What one source, named config, hook or update set in one node.

    Parameters
    ----------
    origin : Origin
    path : str
        The node whose entries these are.
    rank : int
        `SOURCE`, `HOOK`, `NAMED`, `UPDATE` or `LATER`.
    values : dict
        The entries after this layer.
    before : dict
        The entries before it.
    fixed : dict
        The entries that it could not change.
    result : ConfigSummary, optional
        What the source handed back: the lines that set entries (such an entry counts as set even if it had that value
        before), and which of `fixed` it does not declare.
    seen_as : str
        Path of these entries in `result`.
    defaults : dict of str to object
        What the layer would have set where it was overridden, as far as known; by path in `result`.
    """

    __slots__ = ("added", "before", "defaults", "fixed", "lines", "origin", "path", "rank", "seen_as", "values")

    def __init__(
        self,
        origin: Origin,
        path: str,
        rank: int,
        values: dict[str, Any],
        before: dict[str, Any] | None = None,
        fixed: dict[str, Any] | None = None,
        result: ConfigSummary | None = None,
        seen_as: str = "",
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        self.origin = origin
        self.path = path
        self.rank = rank
        self.values = values
        self.before = before or {}
        self.fixed = fixed or {}
        self.lines: Mapping[str, int] = {} if result is None else result.lines
        self.added: set[str] = set() if result is None else result.added
        self.seen_as = seen_as
        self.defaults: Mapping[str, Any] = (
            (result.defaults if result is not None else {}) if defaults is None else defaults
        )

    def entries(self) -> Iterator[tuple[str, Origin, Any]]:
        """Yield (path in the whole configuration, origin with its line, value) for each entry that this layer set.

        The value is `OVERRIDDEN` where the layer had no say and what it would have set is unknown.
        """
        for path, value in iter_flattened(self.values):
            there = f"{self.seen_as}.{path}" if self.seen_as else path
            line = self.lines.get(there)
            if line is None and self.lines:  # the line that set a group set all in it
                line = next((self.lines[p] for p in prefixes(there) if p in self.lines), None)
            if self.fixed and _covers(self.fixed, path):
                if any(p in self.added for p in prefixes(there)):
                    continue
                value = self.defaults.get(there, OVERRIDDEN)
            if line is None and value is not OVERRIDDEN:
                before = get_by_path(self.before, path, MISSING)
                if before is not MISSING and equal(before, value):
                    continue
            yield f"{self.path}.{path}" if self.path else path, self.origin.at(line), value


def _covers(fixed: Mapping[str, Any], path: str) -> bool:
    """Say whether `fixed` gives a value to the entry at `path`, or to a group above it."""
    value: Any = fixed
    for name in path.split("."):
        if not isinstance(value, dict):
            return True
        if name not in value:
            return False
        value = value[name]
    return value != {} if isinstance(value, dict) else True


def refuse_in_place_of_ingredient(origin: object) -> Callable[[str, Any], None]:
    """Return the `refuse` of `Tree.carve` for a layer that must not do so: it raises, naming `origin`."""

    def refuse(path: str, value: Any) -> None:
        raise ConfigError(
            f"{path}={shorten(value)}, set by the {origin}, stands in the place of an ingredient, which has entries"
            f" of its own.\n  to set one of them:  {path}.KEY=VALUE",
            conflicting_configs=path,
            print_conflicting_configs=False,
        )

    return refuse
