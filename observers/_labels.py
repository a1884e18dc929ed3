"""Who gets which label: one `mkdir` decides, and a number is given once for all time.

The store remembers the next number in ``_capture/next_id``, so that the ten-thousandth run starts as fast as the first
and a number stays used when its folder is gone. It is a hint: folders that are there already, also those that Sacred
makes in the same store, count as well.
"""

from __future__ import annotations

import os

from capture.observers import _atomic, _names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_GALLOP = 8  #: numbers that are tried one by one before the folders are counted
_WIDTH = 20  #: digits of the hint; of fixed width, so that it is overwritten in place


def is_number(name: str) -> bool:
    """Say whether a folder's name is a number of the kind that is counted."""
    return name.isascii() and name.isdigit() and (name[0] != "0" or name == "0")


def take_number(basedir: str, private: str, shared: bool) -> str:
    """Make the folder of the next run and return its name.

    Parameters
    ----------
    basedir : str
        The store.
    private : str
        The store's own folder, which exists.
    shared : bool
        Whether the group may write.
    """
    hint = os.path.join(private, "next_id")
    _ensure_hint(basedir, hint, shared)
    with _atomic.Lock(hint, patience_s=1.0):  # only spares hundreds of starting runs from trying each other's numbers
        number = max(_read(hint), 1)
        tried = 0
        while True:
            try:
                _atomic.make_folder(os.path.join(basedir, str(number)), shared)
                break
            except FileExistsError:
                tried += 1
                number = max(number, _largest(basedir, private)) + 1 if tried % _GALLOP == 0 else number + 1
        with given_back(os.path.join(basedir, str(number))):
            _write(hint, number + 1)
    return str(number)


class given_back:
    """Removes the new, empty folder of a run if the block fails: else each attempt would use up a label."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: Any, error: BaseException | None, _traceback: Any) -> None:
        if isinstance(error, OSError):
            try:
                os.rmdir(self._folder)
            except OSError:  # the first error is the one to tell
                pass


def bury(private: str, shared: bool, name: str) -> None:
    """See that a label is never given again, also where another store offers it."""
    buried = os.path.join(private, "purged")
    _atomic.ensure_folder(buried, shared)
    _atomic.write(os.path.join(buried, name), b"", shared)


def take_name(basedir: str, private: str, shared: bool, name: str) -> bool:
    """Make the folder `name`; say whether it was free. A number that is taken so is not given again either."""
    if os.path.exists(os.path.join(private, "purged", name)) or os.path.exists(os.path.join(private, "bin", name)):
        return False
    try:
        _atomic.make_folder(os.path.join(basedir, name), shared)
    except FileExistsError:
        return False
    if is_number(name):
        with given_back(os.path.join(basedir, name)):
            keep_number(basedir, private, shared, int(name))
    return True


def keep_number(basedir: str, private: str, shared: bool, number: int) -> None:
    """See that `number` is never given again."""
    hint = os.path.join(private, "next_id")
    _ensure_hint(basedir, hint, shared)
    with _atomic.Lock(hint, patience_s=1.0):
        if _read(hint) <= number < 10**_WIDTH - 1:
            _write(hint, number + 1)


def folder_of(label: object) -> str:
    """Return the name of the folder for a label that somebody chose."""
    name = str(label)
    safe = _names.safe_component(name)
    return f"+{safe}" if safe[:1] in ("_", ".", "+") else safe  # those are the store's own, or hidden


def _ensure_hint(basedir: str, hint: str, shared: bool) -> None:
    if not os.path.exists(hint):
        try:
            descriptor = _atomic.create(hint, shared)
        except FileExistsError:
            return
        try:
            _atomic.write_all(descriptor, f"{_largest(basedir, os.path.dirname(hint)) + 1:0{_WIDTH}d}\n".encode())
        finally:
            os.close(descriptor)


def _read(hint: str) -> int:
    with open(hint, "rb") as stream:
        text = stream.read(_WIDTH + 1).strip()
    return int(text) if text.isdigit() else 0  # an empty one was just made by another process


def _write(hint: str, number: int) -> None:
    descriptor = os.open(hint, os.O_WRONLY | getattr(os, "O_BINARY", 0))
    try:
        _atomic.write_at(descriptor, f"{number:0{_WIDTH}d}\n".encode(), 0)
    finally:
        os.close(descriptor)


def _largest(basedir: str, private: str) -> int:
    """Return the largest number that a run has, or had."""
    names: list[str] = os.listdir(basedir)
    for folder in ("bin", "purged"):
        try:
            names += os.listdir(os.path.join(private, folder))
        except FileNotFoundError:
            pass
    return max((int(name) for name in names if is_number(name) and len(name) < _WIDTH), default=0)
