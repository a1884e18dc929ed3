"""A config scope's function as it is evaluated, made anew from its source or as it was kept the last time.

Parsing Python in Python takes 5 ms, most of them for loading what it takes. So what comes of it is kept in a file, as
Python keeps compiled modules in ``__pycache__``: it holds code, and is believed only if nobody but its owner can have
written it, the source has the same size and time of change, and the running code is the very code that was rewritten.
"""

from __future__ import annotations

import os
import sys
import time

from capture._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, FunctionType
    from typing import Any

    from capture.config.rewrite import Recipe

FORMAT = 3  #: of what is kept; to be raised when scopes are rewritten in another way
UNUSED_S = 30 * 86400.0  #: what is older is made anew, and removed when something else is kept


class Rewritten:
    """What the source of a scope yields.

    Attributes
    ----------
    function : function
        Binds through the hook.
    docs : dict of str to str
        What its comments say about each entry.
    parameter_lines : dict of str to int
    """

    __slots__ = ("docs", "function", "parameter_lines")

    def __init__(self, function: FunctionType, docs: dict[str, str], parameter_lines: dict[str, int]) -> None:
        self.function, self.docs, self.parameter_lines = function, docs, parameter_lines


def rewritten(
    func: Any, hook: Any, ignored_comments: tuple[str, ...] | None = None, cache_dir: str | None = None
) -> Rewritten | None:
    """Return `func` so that it binds names through `hook`.

    Parameters
    ----------
    func : function
    hook : object
        Has ``bind(name, value, line) -> value``, ``leave(local_variables)`` and, as ``locals``, the builtin.
    ignored_comments : tuple of str, optional
        Regular expressions of comments that describe no entry.
    cache_dir : str, optional
        The user's own folder, where rewritten code is kept.

    Returns
    -------
    Rewritten or None
        None where there is no source, or where it is not the source of the running code.
    """
    kept = _Kept.of(func, ignored_comments, cache_dir)
    recipe = kept.read() if kept is not None else None
    if recipe is None:
        from capture.config.rewrite import rewrite

        recipe = rewrite(func, ignored_comments)
        if recipe is None:
            return None
        if kept is not None:
            kept.write(recipe)
    code, placeholder, docs, parameter_lines = recipe
    return Rewritten(_same_function(func, _with_hook(code, placeholder, hook)), docs, parameter_lines)


def _with_hook(code: CodeType, placeholder: str, hook: Any) -> CodeType:
    """Put `hook` in the place of its `placeholder`; also in comprehensions, which were functions before 3.12."""

    def replaced(constant: Any) -> Any:
        if isinstance(constant, type(code)):
            return _with_hook(constant, placeholder, hook)
        return hook if constant == placeholder else constant

    return code.replace(co_consts=tuple([replaced(constant) for constant in code.co_consts]))


def _same_function(func: FunctionType, code: CodeType) -> FunctionType:
    """Return a function like `func` that runs `code`: same globals, same closure cells, same defaults."""
    cells = dict(zip(func.__code__.co_freevars, func.__closure__ or ()))
    closure = tuple([cells[name] for name in code.co_freevars])
    function = type(func)(code, func.__globals__, func.__name__, func.__defaults__, closure)
    function.__kwdefaults__ = func.__kwdefaults__
    function.__qualname__ = func.__qualname__
    return function


def _python() -> int:
    """Return a number of this very Python, from which checksums begin: each version writes code in its own way."""
    from zlib import crc32

    return crc32(sys.version.encode())


class _Kept:
    """The file in which the recipe of one scope is kept.

    Attributes
    ----------
    path : str
    made_for : tuple
        What it depends on besides the code: library and Python, the source file, what comments count.
    """

    def __init__(self, path: str, made_for: tuple[Any, ...], code: CodeType) -> None:
        self.path, self.made_for, self._code = path, made_for, code

    @classmethod
    def of(cls, func: Any, ignored_comments: tuple[str, ...] | None, cache_dir: str | None) -> _Kept | None:
        """Return the file for `func`; None where nothing is kept, or where there is no source file."""
        if cache_dir is None or not hasattr(os, "getuid"):  # on Windows nothing says that others cannot have written it
            return None
        source = os.path.abspath(func.__code__.co_filename)
        try:
            now = os.stat(source)
        except OSError:
            return None
        from zlib import crc32

        scope = repr((sys.version, source, func.__qualname__)).encode("utf-8", "replace")
        name = f"{os.path.basename(source)}-{crc32(scope):08x}"
        made_for = (
            *(FORMAT, __version__, sys.version, func.__code__.co_filename, func.__qualname__),
            *(now.st_mtime_ns, now.st_size, now.st_ino, ignored_comments),
        )
        return cls(os.path.join(cache_dir, "scopes", name), made_for, func.__code__)

    def read(self) -> Recipe | None:
        """Return what was kept for this very code, or None."""
        import marshal
        from zlib import crc32

        if sys.platform == "win32":  # where it cannot be told whose a file is; nothing is kept there
            return None
        try:
            with open(self.path, "rb") as file:
                about = os.fstat(file.fileno())
                if about.st_uid != os.geteuid() or about.st_mode & 0o022 or time.time() - about.st_mtime > UNUSED_S:
                    return None  # somebody else's, or one that others can write to: it may hold anything
                checksum, data = file.read(4), file.read()
        except OSError:
            return None
        if not data or int.from_bytes(checksum, "little") != crc32(data, _python()):
            return None  # cut short, damaged, or of another Python: reading such code may end the process
        made_for, original, *recipe = marshal.loads(data)
        return tuple(recipe) if made_for == self.made_for and original == self._code else None

    def write(self, recipe: Recipe) -> None:
        """Keep a recipe; where that is not possible it is made anew the next time."""
        if sys.dont_write_bytecode:
            return
        import marshal
        from zlib import crc32

        new = f"{self.path}.{os.getpid()}"
        try:
            data = marshal.dumps((self.made_for, self._code, *recipe))
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as file:
                file.write(crc32(data, _python()).to_bytes(4, "little") + data)
            os.replace(new, self.path)
            self._remove_unused()
        except (OSError, ValueError) as error:  # a full disk, another user's folder; a constant that is no plain value
            import logging

            logging.getLogger("capture").debug("A config scope is not kept in %s: %s", self.path, error)

    def _remove_unused(self) -> None:
        with os.scandir(os.path.dirname(self.path)) as entries:
            for entry in entries:
                if time.time() - entry.stat().st_mtime > UNUSED_S:
                    os.unlink(entry.path)
