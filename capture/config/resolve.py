"""Put a whole configuration together: one layered merge, with a record of who set what.

Layers, weakest first::

    config scopes, dicts, files      in order of declaration, a later one overwrites an earlier one
    config hooks                     in order of declaration
    named configs                    in the order they are given
    config updates                   `ex.run(config_updates=...)`, the command line

An ingredient is complete before anything that contains it begins. What comes from above (named configs and updates)
is known first and handed to every source as `fixed`, so that entries computed from an overridden one follow it.

Of two *sources* the later one does not make the earlier one compute again: ``a = 1; b = a`` in one scope and
``a = 2`` in the next give ``a = 2, b = 1``. A source with a true attribute `override` does: it is treated like a named
config that is always given, weaker than all that are. It therefore cannot read what ordinary sources set.

Nothing here has side effects: no clock, disk, logger or global setting; warnings come back as data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from capture.config.layers import (
    HOOK,
    LATER,
    MISSING,
    NAMED,
    OVERRIDDEN,
    SOURCE,
    UPDATE,
    Layer,
    Node,
    Tree,
    place,
    refuse_in_place_of_ingredient,
    relative_path,
)
from capture.config.origin import Origin
from capture.config.readonly import freeze
from capture.config.summary import ConfigSummary
from capture.config.updates import flatten, get_by_path, iter_flattened, join_path, merge, nest, prefixes, shorten
from capture.config.values import DEFAULT_RULES, KeyRules, clone, normalize
from capture.errors import ConfigAddedError, ConfigError, ConfigTypeError, NamedConfigNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

__all__ = ["ConfigWarning", "Node", "Resolved", "check_additions", "resolve"]


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


def resolve(
    root: Node,
    updates: Mapping[Any, Any] | None = None,
    named: Sequence[str] = (),
    *,
    command_name: str | None = None,
    logger: Any = None,
    load_file: Callable[[str], Any] | None = None,
    update_layer: str = "config_updates",
    rules: KeyRules = DEFAULT_RULES,
    extra: Iterable[tuple[str, Mapping[Any, Any]]] = (),
) -> Resolved:
    """Put the configuration of an experiment and all its ingredients together.

    Parameters
    ----------
    root : Node
        The experiment; ingredients are below it.
    updates : mapping
        Config updates, nested or with dotted paths, or both. Each goes to the ingredient with the longest path that
        leads to it. Not changed.
    named : sequence of str
        Named configs in the order they apply: ``name``, or ``ingredient.name``. A later one sees what earlier ones
        set and wins over them. A named config may also set entries of the ingredients below its own.
    command_name : str, optional
        Told to config hooks.
    logger : logging.Logger, optional
        Offered to config scopes as `_log`, and told to hooks; an ingredient gets the child of its path.
    load_file : callable, optional
        ``load_file(name)`` returns a config source if there is a *file* of that name, else None. A file wins over a
        named config.
    update_layer : str
        Who sets `updates`, for messages and origins: "config_updates", "command line".
    rules : KeyRules
        What keys may be.
    extra : iterable of (str, mapping)
        Further updates with the name of who sets them, each stronger than the one before and than `updates`.

    Returns
    -------
    Resolved

    Raises
    ------
    ConfigError
        If updates contradict each other, or a value stands in the place of an ingredient.
    ConfigTypeError
        If a value does not fit its typed entry.
    MissingConfigError
        If an entry of a typed source has no value.
    InvalidConfigKey
        If `rules` forbid a key.
    NamedConfigNotFoundError
        If there is neither a file nor a named config of a name.
    CircularDependencyError
        If an ingredient contains itself.

    Notes
    -----
    A named config that names an ingredient below as a parameter reads the config that the ingredient has with the
    updates and the named configs before it. One that assigns to the ingredient's name sets entries of it.

    Whether one ingredient is declared before an unrelated one makes no difference to any value, except to hooks that
    look at unrelated ingredients: a hook sees what is complete by then.
    """
    assembly = _Assembly(Tree(root), logger, rules)
    for name, update in ((update_layer, updates or {}), *extra):
        assembly.pin(Origin(name), update)
    for node in assembly.tree.nodes:
        for source in sources_of(node):
            if _overrides(source):
                assembly.preset(node, source, _relabelled("config override", source.origin.name, source))
    for name in named:
        node, source = _find_named(assembly.tree, name, load_file)
        assembly.preset(node, source, _relabelled("named config", name, source))
    for node in assembly.tree.nodes:
        assembly.evaluate(node)
        assembly.ask_hooks(node, command_name)
    return assembly.finish()


def sources_of(node: Node) -> Iterator[Any]:
    """Yield the config sources of `node`, and in place of one that has `sources` those."""
    for source in node.sources:
        yield from getattr(source, "sources", (source,))


def _overrides(source: object) -> bool:
    return bool(getattr(source, "override", False))


def _relabelled(kind: str, name: str, source: Any) -> Origin:
    origin = source.origin
    return Origin(kind, name, origin.file, origin.line)


def _find_named(tree: Tree, name: str, load_file: Callable[[str], Any] | None) -> tuple[Node, Any]:
    source = load_file(name) if load_file is not None else None
    if source is not None:
        return tree.root, source
    for full_name in (name, relative_path(tree.root.name, name)):
        for path in ("", *prefixes(full_name.rpartition(".")[0])):
            node = tree.by_path.get(path)
            short_name = relative_path(path, full_name)
            if node is not None and short_name in node.named:
                return node, node.named[short_name]
    known = [join_path(node.path, short_name) for node in tree.nodes for short_name in node.named]
    raise NamedConfigNotFoundError(name, known)


class _Part:
    """What is known of one node while the configuration is put together."""

    __slots__ = ("config", "declared", "named", "summary", "updates")

    def __init__(self) -> None:
        self.updates: dict[str, Any] = {}
        self.named: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        self.declared: set[str] = set()  # entries that hooks and overriding sources set
        self.summary = ConfigSummary()

    @property
    def fixed(self) -> dict[str, Any]:
        return merge(self.named, self.updates)


class _Assembly:
    """The configuration while it is put together; one method per step, called in the order they stand here."""

    def __init__(self, tree: Tree, logger: Any, rules: KeyRules) -> None:
        self.tree = tree
        self.logger = logger
        self.rules = rules
        self.parts = {node.path: _Part() for node in tree.nodes}
        self.layers: list[Layer] = []
        self.warnings: list[ConfigWarning] = []

    # ------------------------------------------------------------------ from above: updates and named configs

    def pin(self, origin: Origin, updates: Mapping[Any, Any]) -> None:
        """Lay `updates` over all earlier ones; nothing below them can change these entries."""
        for _, node, values in self._split(self.tree.root, self._normalized(updates), origin):
            values = _conformed(node, values)
            part = self.parts[node.path]
            part.updates = merge(part.updates, values)
            self.layers.append(Layer(origin, node.path, UPDATE, values))

    def preset(self, node: Node, source: Any, origin: Origin) -> None:
        """Ask a named config of `node`, or a source that overrides, what it sets here and in what is below."""
        places = self.tree.places(node)
        named = getattr(source, "parameters", ())
        read = {path for path, _ in places if path.partition(".")[0] in named}
        fallback = {"_log": self._log(node), **(freeze(self._preview(node)) if read else {})}
        fixed = self._seen_from(node, lambda part: part.updates)
        known = self._seen_from(node, lambda part: part.named, read)
        result = self._ask(source, node, fixed, known, fallback)
        for seen_as, below, values in self._split(node, dict(result), origin):
            part = self.parts[below.path]
            values = _conformed(below, values)
            layer = Layer(origin, below.path, NAMED, values, part.named, part.updates, result, seen_as)
            self.layers.append(layer)
            part.named = {**part.named, **values}
            if _overrides(source):
                part.declared |= _touched(layer)

    # ------------------------------------------------------------------ from below: sources and hooks

    def evaluate(self, node: Node) -> None:
        """Ask the sources of `node` in order, each building on the ones before."""
        part = self.parts[node.path]
        fixed = part.fixed
        part.summary.added = set(flatten(fixed))
        fallback = {"_log": self._log(node), **freeze(self._seen_below(node))}
        config: dict[str, Any] = {}
        for source in sources_of(node):
            if _overrides(source):
                continue
            result = self._ask(source, node, fixed, config, fallback)
            own = self._own_entries(node, dict(result))
            self.layers.append(Layer(source.origin, node.path, SOURCE, own, config, fixed, result))
            config = {**config, **own}
            if hasattr(source, "conform"):
                fixed = _as_made(fixed, own)
            part.summary.update_from(result)
            for path in result.ignored_fallbacks:
                self._warn_of_ingredient(join_path(node.path, path))
        part.config = merge(config, fixed)

    def ask_hooks(self, node: Node, command_name: str | None) -> None:
        """Let the config hooks of `node` set entries of it, and of the ingredients below it, under what is fixed."""
        for hook in node.hooks:
            origin = _origin_of_hook(hook)
            config = clone(self._whole())
            try:
                returned = hook(config, command_name, self._log(node))
            except ConfigError as error:
                raise _tracked(error, self._whole()) from None
            if returned is None:
                continue
            if not isinstance(returned, dict):
                raise ConfigTypeError(
                    node.path,
                    f"{origin} returned {shorten(returned)}; a config hook returns a dict of entries, or None",
                )
            for _, below, values in self._split(node, self._normalized(returned), origin):
                part = self.parts[below.path]
                layer = Layer(origin, below.path, HOOK, values, part.config, part.fixed, defaults=flatten(values))
                self.layers.append(layer)
                part.declared |= _touched(layer)
                part.config = merge(merge(part.config, values), part.fixed)

    # ------------------------------------------------------------------ the end

    def finish(self) -> Resolved:
        for node in self.tree.nodes:
            part = self.parts[node.path]
            part.config = _conformed(node, part.config, complete=True)
            part.summary.added -= part.declared
            if "seed" in part.summary.added:  # every ingredient has a seed, whether or not a source names it
                part.summary.added.discard("seed")
                part.summary.modified.add("seed")
            self.warnings.extend(_type_warnings(node, part.summary))
        return Resolved(
            self.tree,
            {path: part.config for path, part in self.parts.items()},
            {path: part.summary for path, part in self.parts.items()},
            self.layers,
            self.warnings,
        )

    # ------------------------------------------------------------------ steps

    def _normalized(self, updates: Mapping[Any, Any]) -> dict[str, Any]:
        return normalize(nest(updates), "", self.rules)

    def _split(self, node: Node, config: dict[str, Any], origin: Origin) -> list[tuple[str, Node, dict[str, Any]]]:
        own, parts = self.tree.carve(node, config, refuse_in_place_of_ingredient(origin))
        return [("", node, own), *parts]

    def _own_entries(self, node: Node, config: dict[str, Any]) -> dict[str, Any]:
        """Drop what an ordinary source says about ingredients: they are complete, and theirs to configure."""
        if not node.children:
            return config
        ignored = [path for path, _ in self.tree.places(node) if get_by_path(config, path, MISSING) is not MISSING]
        own, _ = self.tree.carve(node, config, lambda path, _: ignored.append(path))
        for path in ignored:
            self._warn_of_ingredient(join_path(node.path, path))
        return own

    def _warn_of_ingredient(self, path: str) -> None:
        warning = ConfigWarning(
            path,
            f'Ignored attempt to set value of "{path}", because it is an ingredient.'
            " Set its entries in the ingredient itself, in a named config, or by an update.",
        )
        if warning not in self.warnings:
            self.warnings.append(warning)

    def _ask(self, source: Any, node: Node, fixed: Any, preset: Any, fallback: Any) -> ConfigSummary:
        try:
            return source(fixed=fixed, preset=preset, fallback=fallback)
        except ConfigError as error:
            raise _tracked(error, merge(preset, fixed)) from error.__cause__

    def _log(self, node: Node) -> Any:
        return self.logger.getChild(node.path) if self.logger is not None and node.path else self.logger

    def _seen_below(self, node: Node) -> dict[str, Any]:
        below: dict[str, Any] = {}
        for path, other in reversed(self.tree.places(node)):
            below = place(below, path, self.parts[other.path].config)
        return below

    def _preview(self, node: Node) -> dict[str, Any]:
        """Return what the ingredients below `node` come to with the updates and named configs known so far."""
        preview = _Assembly(self.tree, self.logger, self.rules)
        for path, part in self.parts.items():
            preview.parts[path].updates, preview.parts[path].named = part.updates, part.named
        below = {other.path for _, other in self.tree.places(node)}
        for other in self.tree.nodes:
            if other.path in below:
                preview.evaluate(other)
        return preview._seen_below(node)

    def _seen_from(
        self, node: Node, entries: Callable[[_Part], dict[str, Any]], without: set[str] | frozenset[str] = frozenset()
    ) -> dict[str, Any]:
        seen = entries(self.parts[node.path])
        for path, other in reversed(self.tree.places(node)):
            if path not in without and entries(self.parts[other.path]):
                seen = place(seen, path, entries(self.parts[other.path]))
        return seen

    def _whole(self) -> dict[str, Any]:
        return _whole(self.tree, {path: part.config for path, part in self.parts.items()})


def _whole(tree: Tree, configs: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return all configs as one: the experiment's entries first, then each ingredient's at its path."""
    whole = dict(configs[""]) if "" in configs else {}
    for node in reversed(tree.nodes):
        if node.path and configs[node.path]:
            whole = place(whole, node.path, configs[node.path])
    return whole


def _conformed(node: Node, config: dict[str, Any], complete: bool = False) -> dict[str, Any]:
    """Have the typed sources of `node` coerce their entries; with `complete`, also ask that none is missing."""
    for source in sources_of(node):
        conform = getattr(source, "conform", None)
        if conform is not None:
            config = conform(config, path=node.path, complete=complete)
    return config


def _as_made(fixed: dict[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    """Return `fixed` with the values that a typed source made of it, so that later sources compute from those."""
    as_made = {}
    for name, value in fixed.items():
        new = made.get(name, value)
        as_made[name] = _as_made(value, new) if isinstance(value, dict) and isinstance(new, dict) else new
    return as_made


def _touched(layer: Layer) -> set[str]:
    """Return the entries that `layer` names, whether or not it could set them; relative to its node."""
    return set(flatten(layer.values))


def _origin_of_hook(hook: Any) -> Origin:
    origin = getattr(hook, "origin", None)
    if isinstance(origin, Origin):
        return origin
    code = getattr(hook, "__code__", None)
    name = getattr(hook, "__name__", type(hook).__name__)
    return Origin("config hook", name, code and code.co_filename, code and code.co_firstlineno)


def _tracked(error: ConfigError, config: dict[str, Any]) -> ConfigError:
    """Return `error` with the config in which it arose, so that its message can list the values that clash."""
    if error.config is None:
        error.config = config
    return error


def _type_warnings(node: Node, summary: ConfigSummary) -> Iterable[ConfigWarning]:
    for entry, (old, new) in sorted(summary.typechanged.items()):
        # An int where a float stood is how people write floats, and None says nothing about a type.
        if old is type(None) or (old in (int, float) and new in (int, float)):
            continue
        path = join_path(node.path, entry)
        yield ConfigWarning(path, f'Changed type of config entry "{path}" from {old.__name__} to {new.__name__}')


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
        self.values = _whole(tree, configs)
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
        self.values = _whole(self._tree, self._configs)
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
                    for entry, text in source.docs.items():
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


def closest(path: str, known: Iterable[str]) -> str | None:
    """Return the entry that `path` is probably a slip of: by its whole path, else by its last name alone.

    Examples
    --------
    >>> closest("learning_rat", ["seed", "model.learning_rate"])
    'model.learning_rate'
    """
    from capture.errors import suggest

    known = list(known)
    whole = suggest(path, known)
    if whole is not None:
        return whole
    by_name = {entry.rpartition(".")[2]: entry for entry in reversed(known)}
    name = suggest(path.rpartition(".")[2], by_name)
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
        warnings.append(ConfigWarning(path, f'Added new config entry: "{path}"'))
    return warnings
