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

from capture.config.layers import (
    HOOK,
    MISSING,
    NAMED,
    SOURCE,
    UPDATE,
    Layer,
    Node,
    Tree,
    place,
    refuse_in_place_of_ingredient,
    relative_path,
    sources_of,
)
from capture.config.origin import Origin
from capture.config.readonly import freeze
from capture.config.resolved import ConfigWarning, Resolved, check_additions, whole_of
from capture.config.summary import ConfigSummary
from capture.config.updates import flatten, get_by_path, iter_flattened, join_path, merge, nest, prefixes, shorten
from capture.config.values import DEFAULT_RULES, KeyRules, clone, equal, normalize
from capture.errors import ConfigError, ConfigTypeError, NamedConfigNotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

__all__ = ["ConfigWarning", "Node", "Resolved", "check_additions", "resolve"]


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
                assembly.preset(node, source, _relabelled("config override", origin_of(source).name, source))
    for name in named:
        node, source = _find_named(assembly.tree, name, load_file)
        assembly.preset(node, source, _relabelled("named config", name, source))
    for node in assembly.tree.nodes:
        assembly.evaluate(node)
        assembly.ask_hooks(node, command_name)
    return assembly.finish()


def _overrides(source: object) -> bool:
    return bool(getattr(source, "override", False))


def _relabelled(kind: str, name: str, source: Any) -> Origin:
    origin = origin_of(source)
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
                part.declared |= {path for path in flatten(values) if join_path(seen_as, path) not in result.added}

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
            self.layers.append(Layer(origin_of(source), node.path, SOURCE, own, config, fixed, result))
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
            whole = self._whole()
            try:
                returned = hook(clone(whole), command_name, self._log(node))
            except ConfigError as error:
                _attach(whole, error)
                raise
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
                # A hook that hands the whole config back declares only what it changed in it.
                part.declared |= _changed(layer) if returned.keys() >= whole.keys() else set(flatten(values))
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
            result = source(fixed=fixed, preset=preset, fallback=fallback)
        except ConfigError as error:
            _attach(merge(preset, fixed), error)
            raise
        if isinstance(result, ConfigSummary):
            return result
        return ConfigSummary(values=self._normalized(result))  # a source of somebody's own, which reports no more

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
        return whole_of(self.tree, {path: part.config for path, part in self.parts.items()})


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


def _changed(layer: Layer) -> set[str]:
    """Return the entries of `layer` that differ from those before it; relative to its node."""
    return {
        path
        for path, value in iter_flattened(layer.values)
        if not equal(get_by_path(layer.before, path, MISSING), value)
    }


def origin_of(source: Any) -> Origin:
    """Return the origin of a config source; one of somebody's own need not have one and is named by its class."""
    origin = getattr(source, "origin", None)
    if isinstance(origin, Origin):
        return origin
    return Origin("config source", getattr(source, "__name__", type(source).__name__))


def _origin_of_hook(hook: Any) -> Origin:
    origin = getattr(hook, "origin", None)
    if isinstance(origin, Origin):
        return origin
    code = getattr(hook, "__code__", None)
    name = getattr(hook, "__name__", type(hook).__name__)
    return Origin("config hook", name, code and code.co_filename, code and code.co_firstlineno)


def _attach(config: dict[str, Any], error: ConfigError) -> None:
    """Give `error` the config in which it arose, so that its message can list the values that clash."""
    if error.config is None:
        error.config = config


def _type_warnings(node: Node, summary: ConfigSummary) -> Iterable[ConfigWarning]:
    for entry, (old, new) in sorted(summary.typechanged.items()):
        # An int where a float stood is how people write floats, and None says nothing about a type.
        if old is type(None) or (old in (int, float) and new in (int, float)):
            continue
        path = join_path(node.path, entry)
        yield ConfigWarning(path, f'Changed type of config entry "{path}" from {old.__name__} to {new.__name__}')
