"""A configuration that has been put together: its values, what each function sees of it, and who set what."""

from __future__ import annotations

from capture.config.layers import LATER, MISSING, OVERRIDDEN, Layer, place, relative_path, sources_of
from capture.config.summary import ConfigSummary
from capture.config.updates import flatten, get_by_path, iter_flattened, join_path, merge, nest, prefixes, shorten
from capture.errors import ConfigAddedError, ConfigError, is_short_for, suggest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from capture.config.layers import Node, Tree
    from capture.config.origin import Origin


class ConfigWarning:
    """Something about a configuration that the user should hear of.

    Attributes
    ----------
    path : str
        Dotted path of the entry.
    text : str
        The message.
    """

    __slots__ = ("path", "text")

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text

    def __repr__(self) -> str:
        return f"ConfigWarning({self.path!r}, {self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConfigWarning) and (self.path, self.text) == (other.path, other.text)

    def __hash__(self) -> int:
        return hash((self.path, self.text))


def whole_of(tree: Tree, configs: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return all configs as one: the experiment's entries first, then each ingredient's at its path."""
    whole = dict(configs[""]) if "" in configs else {}
    for node in reversed(tree.nodes):
        if node.path and configs[node.path]:
            whole = place(whole, node.path, configs[node.path])
    return whole


class Resolved:
    """A whole configuration, and who set what in it.

    Attributes
    ----------
    values : dict
        All entries as one nested dict, ingredients at their paths.
    warnings : list of ConfigWarning
    """

    def __init__(
        self,
        tree: Tree,
        configs: dict[str, dict[str, Any]],
        summaries: dict[str, ConfigSummary],
        layers: list[Layer],
        warnings: list[ConfigWarning],
    ) -> None:
        self._tree = tree
        self._configs = configs
        self._summaries = summaries
        self._layers = layers
        self._views: dict[str, dict[str, Any]] = {}
        self._history: dict[str, list[tuple[Origin, Any]]] | None = None
        self._summary: ConfigSummary | None = None
        self._docs: dict[str, str] | None = None
        self._later_docs: dict[str, str] = {}
        self.values = whole_of(tree, configs)
        self.warnings = warnings

    def __repr__(self) -> str:
        return f"Resolved({shorten(self.values, 200)})"

    # ------------------------------------------------------------------ what captured functions see

    def view(self, path: str = "") -> dict[str, Any]:
        """Return what functions and hooks of the ingredient at `path` see; for reading only.

        These are its own entries, and the configs of the ingredients below it under their paths, a common prefix
        dropped.

        Raises
        ------
        KeyError
            If there is no ingredient at `path`.
        """
        view = self._views.get(path)
        if view is None:
            view = self._configs[path]
            for seen_as, below in reversed(self._tree.places(self._tree.by_path[path])):
                if self._configs[below.path]:
                    view = place(view, seen_as, self._configs[below.path])
            self._views[path] = view
        return view

    def locate(self, path: str, name: str) -> str:
        """Return where the entry that the ingredient at `path` sees as `name` lies in `values`, as a dotted path."""
        for seen_as, below in self._tree.places(self._tree.by_path[path]):
            if name == seen_as or name.startswith(seen_as + "."):
                return join_path(below.path, relative_path(seen_as, name) if name != seen_as else "")
        return join_path(path, name)

    def add(self, path: str, value: Any, origin: Origin, doc: str = "") -> None:
        """Set one entry after the fact (a seed that was drawn), over whatever was there, and record who did."""
        node = self._owner(path)
        entry = nest({relative_path(node.path, path): value})
        self._configs[node.path] = merge(self._configs[node.path], entry)
        self._layers.append(Layer(origin, node.path, LATER, entry))
        if doc:
            self._later_docs[path] = doc
            self._docs = None
        self.values = whole_of(self._tree, self._configs)
        self._views.clear()
        self._history = None

    def _owner(self, path: str) -> Node:
        for prefix in prefixes(path.rpartition(".")[0]):
            if prefix in self._tree.by_path:
                return self._tree.by_path[prefix]
        return self._tree.root

    # ------------------------------------------------------------------ what updates changed, and the docs

    @property
    def summary(self) -> ConfigSummary:
        """What updates added, modified and changed the type of, by dotted path in `values`."""
        if self._summary is None:
            summary = ConfigSummary()
            for node in reversed(self._tree.nodes):
                summary.update_add(self._summaries[node.path], node.path)
            self._summary = summary
        self._summary.docs = self.docs
        return self._summary

    @property
    def docs(self) -> dict[str, str]:
        """What comments say about the entries, by dotted path in `values`."""
        if self._docs is None:
            docs = dict(self._later_docs)
            for node in self._tree.nodes:
                for source in sources_of(node):
                    for entry, text in getattr(source, "docs", {}).items():  # one of somebody's own may have none
                        docs[join_path(node.path, entry)] = text
            self._docs = docs
        return self._docs

    # ------------------------------------------------------------------ who set what

    @property
    def history(self) -> dict[str, list[tuple[Origin, Any]]]:
        """All that was ever said about each entry, weakest first: dotted path -> [(origin, value), ...].

        The value is `OVERRIDDEN` where a source set the entry, was overridden, and what it would have set is unknown.
        """
        if self._history is None:
            history: dict[str, list[tuple[Origin, Any]]] = {}
            for layer in sorted(self._layers, key=lambda layer: layer.rank):
                for path, origin, value in layer.entries():
                    history.setdefault(path, []).append((origin, value))
            self._history = history
        return self._history

    @property
    def origins(self) -> dict[str, Origin]:
        """Who set each entry of `values`, with the line where that is known: dotted path -> origin."""
        history = self.history
        origins = {}
        for path, _ in iter_flattened(self.values):
            told = history.get(path) or next((history[p] for p in prefixes(path) if p in history), None)
            if told is not None:
                origins[path] = told[-1][0]
        return origins

    def explain(self, path: str) -> str:
        """Tell the story of one entry or group, for people.

        Raises
        ------
        ConfigError
            If there is no such entry.
        """
        value = get_by_path(self.values, path, MISSING)
        if value is MISSING:
            raise ConfigError(_no_such_entry(path, flatten(self.values)))
        if isinstance(value, dict) and value:
            return "\n".join(self.explain(join_path(path, str(key))) for key in value)
        lines = [f"{path} = {shorten(value, 200)}"]
        if path in self.docs:
            lines[0] += f"   # {self.docs[path]}"
        told = next((self.history[p] for p in prefixes(path) if p in self.history), [])
        said = [shorten(value, 40) if value is not OVERRIDDEN else "(overridden)" for _, value in told]
        width = max(map(len, said), default=0)
        for i, (origin, _) in enumerate(told):
            mark = "->" if i == len(told) - 1 else "  "
            lines.append(f"  {mark} {said[i]:<{width}}  {origin}")
        return "\n".join(lines)


def _no_such_entry(path: str, known: Iterable[str]) -> str:
    close = closest(path, known)
    hint = f"\n  did you mean: {close}" if close else ""
    return f"there is no config entry {path!r}.{hint}"


# ---------------------------------------------------------------------------------------------- added entries


def _closest_beside(path: str, values: Mapping[str, Any], added: Iterable[str]) -> str | None:
    """Return the entry in the same group that the new entry `path` is probably a slip of."""
    group, _, name = path.rpartition(".")
    inside = get_by_path(values, group, {}) if group else values
    names = [key for key in inside if join_path(group, str(key)) not in added] if isinstance(inside, dict) else []
    close = suggest(name, names)
    return join_path(group, close) if close else None


def closest(path: str, known: Iterable[str]) -> str | None:
    """Return the entry that `path` is probably a slip of: by its whole path, else by its last name, or its initials.

    Examples
    --------
    >>> closest("learning_rat", ["seed", "model.learning_rate"]), closest("learning_rate", ["lr", "seed"])
    ('model.learning_rate', 'lr')
    """
    known = list(known)
    whole = suggest(path, known)
    if whole is not None:
        return whole
    by_name = {entry.rpartition(".")[2]: entry for entry in reversed(known)}
    name = suggest(path.rpartition(".")[2], by_name)
    if name is None:
        name = next((each for each in by_name if is_short_for(path.rpartition(".")[2], each)), None)
    return by_name[name] if name is not None else None


def check_additions(resolved: Resolved, read_names: Iterable[str], *, force: bool = False) -> list[ConfigWarning]:
    """Refuse entries that an update added and nothing reads: they are slips, mostly.

    Parameters
    ----------
    resolved : Resolved
    read_names : iterable of str
        What captured functions can read, as dotted paths in the whole configuration (see `Resolved.locate`): names
        of entries or of groups. The empty path stands for everything.
    force : bool
        Skip the check.

    Returns
    -------
    list of ConfigWarning
        One for each added entry that something reads.

    Raises
    ------
    ConfigAddedError
        For the first added entry that nothing reads, with the entry it is probably a slip of.
    """
    if force:
        return []
    read = {*read_names, "__doc__"}
    above = {group for name in read for group in prefixes(name)}
    warnings = []
    added = resolved.summary.added
    for path in sorted(added):
        if not ("" in read or path in above or any(prefix in read for prefix in prefixes(path))):
            known = [entry for entry in flatten(resolved.values) if entry not in added]
            origin = resolved.origins.get(path)
            raise ConfigAddedError(
                path,
                str(origin or "config update"),
                known,
                suggestion=closest(path, [*known, *read]),
                config=resolved.values,
            )
        beside = _closest_beside(path, resolved.values, added)
        hint = f'; did you mean "{beside}"?' if beside else ""
        warnings.append(ConfigWarning(path, f'Added new config entry: "{path}"{hint}'))
    return warnings
