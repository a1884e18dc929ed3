"""Calls functions with libraries once these have been imported: how what nobody has imported yet is wrapped."""

from __future__ import annotations

import sys
from threading import RLock

from capture.imported import ImportWatch, is_being_imported

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
    if not _watch.active:
        _resume()
    elif is_new:
        _call_if_imported(name, callback)


def rest(unless: Callable[[], bool]) -> None:
    """Wait for nothing any more, until the next `after_import`: the import system is as it was.

    Parameters
    ----------
    unless : callable
        Says whether somebody still needs this: asked here, where nobody who begins can come in between.
    """
    with _lock:
        if not unless():
            _watch.stop()


def _resume() -> None:
    """Wait again, and call functions with what was imported meanwhile."""
    with _lock:
        if _watch.active:
            return
        _watch.start()
        waiting = [(name, callback) for name, callbacks in _callbacks.items() for callback in callbacks]
    for name, callback in waiting:
        _call_if_imported(name, callback)


def _call_if_imported(name: str, callback: Callable[[Any], None]) -> None:
    module = sys.modules.get(name)
    if module is not None and not is_being_imported(module):
        _call(callback, module)


def _was_imported(name: str, module: Any) -> None:
    for callback in tuple(_callbacks.get(name, ())):
        _call(callback, module)


def _call(callback: Callable[[Any], None], module: Any) -> None:
    try:
        callback(module)
    except Exception:  # somebody else's import must not fail for it
        import logging

        name = getattr(module, "__name__", module)
        logging.getLogger("capture").warning("%s was imported, but cannot be watched", name, exc_info=True)


_watch = ImportWatch(_callbacks, _was_imported)
