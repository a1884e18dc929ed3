"""What a config source hands back: the values, and what the updates did to them."""

from __future__ import annotations

from capture.config.updates import join_path, prefixes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


class ConfigSummary(dict):
    """A config (the dict itself), and how updates changed it.

    Attributes
    ----------
    added : set of str
        Dotted paths that updates set and no source declares.
    modified : set of str
        Dotted paths that updates set to another value than the source's; groups with such an entry too.
    typechanged : dict of str to (type, type)
        Dotted paths whose type an update changed: the source's type and the update's.
    ignored_fallbacks : set of str
        Entries of others (ingredients) that a source tried to set; they kept their values.
    docs : dict of str to str
        What the source's comments say about each entry.
    lines : dict of str to int
        The line of the source's file that set each entry last, where it is known.
    defaults : dict of str to object
        Dotted paths that updates set, with what the source sets there.

    A path is in one of `added`, `typechanged` and `modified` only, in that order of precedence, the middle one first.
    """

    def __init__(
        self,
        added: Iterable[str] = (),
        modified: Iterable[str] = (),
        typechanged: Mapping[str, tuple[type, type]] | Iterable[tuple[str, tuple[type, type]]] = (),
        ignored_fallbacks: Iterable[str] = (),
        docs: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        lines: Mapping[str, int] | Iterable[tuple[str, int]] = (),
        values: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        defaults: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
    ) -> None:
        super().__init__(values)
        self.added = set(added)
        self.modified = set(modified)
        self.typechanged: dict[str, tuple[type, type]] = dict(typechanged)
        self.ignored_fallbacks = set(ignored_fallbacks)
        self.docs: dict[str, str] = dict(docs)
        self.lines: dict[str, int] = dict(lines)
        self.defaults: dict[str, Any] = dict(defaults)
        self._settle()

    def update_from(self, other: ConfigSummary) -> None:
        """Take in what a later source of the same config reports; the values are left alone.

        An entry stays `added` only if the later source does not declare it either.
        """
        self.added &= other.added
        self.modified |= other.modified
        self.typechanged.update(other.typechanged)
        self.ignored_fallbacks |= other.ignored_fallbacks
        self.docs.update(other.docs)
        self.lines.update(other.lines)
        self.defaults.update(other.defaults)
        self._settle()

    def update_add(self, other: ConfigSummary, path: str = "") -> None:
        """Take in what the config at `path` within this one reports; the values are left alone."""
        self.added |= {join_path(path, entry) for entry in other.added}
        self.modified |= {join_path(path, entry) for entry in other.modified}
        self.typechanged.update({join_path(path, entry): types for entry, types in other.typechanged.items()})
        self.ignored_fallbacks |= {join_path(path, entry) for entry in other.ignored_fallbacks}
        self.lines.update({join_path(path, entry): line for entry, line in other.lines.items()})
        self.defaults.update({join_path(path, entry): value for entry, value in other.defaults.items()})
        for entry, text in other.docs.items():
            place = join_path(path, entry)
            if not path or place not in self.docs:
                self.docs[place] = text
        self._settle()

    def _settle(self) -> None:
        changed = [*self.added, *self.modified, *self.typechanged]
        self.modified.update(group for entry in changed for group in prefixes(entry))
        self.added.difference_update(self.typechanged)
        self.modified.difference_update(self.typechanged, self.added)
