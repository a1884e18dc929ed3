"""Calls functions once modules have been imported, whoever imports them, and without importing anything itself.

wrapt has such hooks, too. They are not used here, since importing that package costs as much as the rest of a small run
together, and its finder hands out loaders that are proxies.
"""

from __future__ import annotations

import sys
from threading import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import Any


class ImportWatch:
    """Stands first in ``sys.meta_path``, and has the loaders of some modules tell when they are done.

    Parameters
    ----------
    names : container of str
        Full names of the modules in question; may grow.
    done : callable
        ``done(name, module)``, right after a module was imported or reloaded and before whoever imports it goes on.
        What it raises is raised by the import.
    """

    def __init__(self, names: Container[str], done: Callable[[str, Any], None]) -> None:
        self._names, self._done = names, done
        self._asking: set[tuple[str, int]] = set()

    @property
    def active(self) -> bool:
        """Whether it stands there now."""
        return any(finder is self for finder in sys.meta_path)

    def start(self) -> None:
        """Begin to watch. Doing it twice is harmless."""
        if not self.active:
            sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """Stop watching; the import system is as it was. Doing it twice is harmless."""
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Find a module through the other finders; None, as if this one were not there, for all but a few."""
        if name not in self._names:
            return None
        question = (name, get_ident())
        if question in self._asking:
            return None
        self._asking.add(question)
        try:
            spec = self._ask_others(name, path, target)
        finally:
            self._asking.discard(question)
        loader: Any = getattr(spec, "loader", None)
        # A loader that is a class serves all modules there are, and cannot be told apart for one of them.
        if hasattr(loader, "exec_module") and not isinstance(loader, type):
            self._tell_when_done(loader, name)
        return spec

    def _ask_others(self, name: str, path: Any, target: Any) -> Any:
        for finder in list(sys.meta_path):
            # Another finder may do as this one does, and ask all others in turn; hence `_asking`.
            find_spec = getattr(finder, "find_spec", None) if finder is not self else None
            spec = find_spec(name, path, target) if find_spec else None
            if spec is not None:
                return spec
        return None

    def _tell_when_done(self, loader: Any, name: str) -> None:
        original = loader.exec_module

        def exec_module(module: Any) -> None:
            # One loader may serve several modules, as those of zip files do.
            try:
                original(module)
            finally:
                if module.__name__ == name and vars(loader).get("exec_module") is exec_module:
                    del loader.exec_module
            if module.__name__ == name and self.active:
                self._done(name, module)

        try:
            loader.exec_module = exec_module
        except AttributeError as error:
            import logging

            logging.getLogger("capture").warning("cannot tell when %s has been imported: %s", name, error)


def is_being_imported(module: Any) -> bool:
    """Say whether an import of a module is going on; also while functions are called that waited for it."""
    return getattr(getattr(module, "__spec__", None), "_initializing", False)
