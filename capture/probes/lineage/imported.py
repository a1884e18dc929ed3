"""Calls a function once a module has been imported: how libraries are wrapped that nobody has imported yet.

wrapt has such hooks, too. They are not used here, since importing that package costs as much as the rest of a small run
together, and its finder hands out loaders that are proxies.
"""

from __future__ import annotations

import sys
from threading import RLock, get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_callbacks: dict[str, list[Callable[[Any], None]]] = {}
_lock = RLock()


def after_import(name: str, callback: Callable[[Any], None]) -> None:
    """Have a function called with a module: now if it is imported, and after each time that it is imported or reloaded.

    Parameters
    ----------
    name : str
        Full name of the module.
    callback : callable
        Must be prepared for a module that it has seen before. What it raises is logged, and the import goes on.
    """
    with _lock:
        waiting = _callbacks.setdefault(name, [])
        is_new = callback not in waiting
        if is_new:
            waiting.append(callback)
    if _FINDER not in sys.meta_path:
        _resume()
    elif is_new:
        _call_if_imported(name, callback)


def rest() -> None:
    """Wait for nothing any more, until the next `after_import`: the import system is as it was."""
    with _lock:
        if _FINDER in sys.meta_path:
            sys.meta_path.remove(_FINDER)


def _resume() -> None:
    """Wait again, and call functions with what was imported meanwhile."""
    with _lock:
        if _FINDER in sys.meta_path:
            return
        sys.meta_path.insert(0, _FINDER)
        waiting = [(name, callback) for name, callbacks in _callbacks.items() for callback in callbacks]
    for name, callback in waiting:
        _call_if_imported(name, callback)


def _call_if_imported(name: str, callback: Callable[[Any], None]) -> None:
    module = sys.modules.get(name)
    if module is not None and not is_being_imported(module):
        _call(callback, module)


class _Finder:
    """Stands first in ``sys.meta_path``, and has the loaders of some modules tell when they are done."""

    def __init__(self) -> None:
        self._asking: set[tuple[str, int]] = set()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Find a module through the other finders; None, as if this one were not there, for all but a few."""
        if name not in _callbacks:
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
            _tell_when_done(loader, name)
        return spec

    def _ask_others(self, name: str, path: Any, target: Any) -> Any:
        for finder in list(sys.meta_path):
            # Another finder may do as this one does, and ask all others in turn; hence `_asking`.
            find_spec = getattr(finder, "find_spec", None) if finder is not self else None
            spec = find_spec(name, path, target) if find_spec else None
            if spec is not None:
                return spec
        return None


_FINDER = _Finder()


def _tell_when_done(loader: Any, name: str) -> None:
    original = loader.exec_module

    def exec_module(module: Any) -> None:
        # One loader may serve several modules, as those of zip files do.
        try:
            original(module)
        finally:
            if module.__name__ == name and vars(loader).get("exec_module") is exec_module:
                del loader.exec_module
        if module.__name__ == name:
            for callback in tuple(_callbacks.get(name, ())):
                _call(callback, module)

    try:
        loader.exec_module = exec_module
    except AttributeError as error:
        _log().warning("cannot tell when %s has been imported: %s", name, error)


def is_being_imported(module: Any) -> bool:
    """Say whether an import of a module is going on; also while callbacks are called that waited for it."""
    return getattr(getattr(module, "__spec__", None), "_initializing", False)


def _call(callback: Callable[[Any], None], module: Any) -> None:
    try:
        callback(module)
    except Exception:  # noqa: BLE001 - somebody else's import must not fail for it
        _log().warning("%s was imported, but cannot be watched", getattr(module, "__name__", module), exc_info=True)


def _log() -> Any:
    import logging

    return logging.getLogger("capture")
