"""Which files of the project a run executes.

A file is the project's own if it lies below the base folder and Python has loaded it as a module. What was installed
there (a virtual environment inside the project), the standard library and this library do not count.
"""

from __future__ import annotations

import os
import sys

from capture.digests import hash_functions
from capture.probes._modules import INSTALLED, file_of, namespace_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

STRATEGIES = ("imported", "sys", "dir", "none")
SUFFIXES = (".py", ".so", ".pyd", ".ipynb", ".pyx")

_MAIN = ("__main__", "__mp_main__")  # the script, and its name in processes started by multiprocessing
_OWN_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_CHUNK = 1 << 20  # bytes that are read at a time


def discover_sources(
    globals_: Mapping[str, Any],
    base_dir: str,
    strategy: str = "imported",
    mainfile: str | None = None,
    modules: Mapping[str, Any] | None = None,
    save: Iterable[str] = (),
) -> list[tuple[str, str]]:
    """List the project's own source files.

    Parameters
    ----------
    globals_ : mapping
        Names of the module to begin with, as `globals` gives them.
    base_dir : str
        The folder of the project.
    strategy : {"imported", "sys", "dir", "none"}
        "imported": what that module refers to, what those modules refer to, and so on. "sys": every module of the
        project that is loaded. "dir": every ``*.py`` below `base_dir`, loaded or not. "none": only `mainfile` and
        `save`.
    mainfile : str, optional
        The script; it always counts, also under another suffix.
    modules : mapping of str to module, optional
        What is loaded; `sys.modules` if left out.
    save : iterable of str
        Further files, wherever they lie.

    Returns
    -------
    list of (str, str)
        Absolute path, and path relative to `base_dir` with slashes (the absolute one for a file outside of it), sorted
        by the latter. Files that are gone are left out.

    Raises
    ------
    ValueError
        If there is no such strategy.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"DISCOVER_SOURCES is one of {', '.join(STRATEGIES)}, got {strategy!r}")
    project = Project(base_dir)
    loaded = sys.modules.copy() if modules is None else modules
    found: dict[str, str] = {}
    if strategy == "imported":
        found.update(project.files(imported_modules(globals_, base_dir, mainfile, loaded)))
    elif strategy == "sys":
        found.update(project.files(loaded))
    elif strategy == "dir":
        found.update((path, project.relative(path)) for path in _python_files(project.folder))
    for path in (*([mainfile] if mainfile else []), *save):
        path = os.path.abspath(path)
        found[path] = project.relative(path)
    return sorted(((path, name) for path, name in found.items() if os.path.isfile(path)), key=lambda pair: pair[1])


def imported_modules(
    globals_: Mapping[str, Any],
    base_dir: str,
    mainfile: str | None = None,
    modules: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what the project's own code refers to: its modules, and the foreign ones that those use directly.

    Parameters are those of `discover_sources`.

    Returns
    -------
    dict
        Name to module, parent packages included. The module behind `globals_` is in it if it is a loaded one.

    Notes
    -----
    A module refers to what it imports and to the modules that its functions, classes and objects come from. Only those
    of the project are followed further. No attribute of a user's object is asked for, so nothing of theirs runs.
    Where the first one has no readable file (a notebook, a prompt), its imports cannot be seen, and every loaded module
    of the project counts as referred to.
    """
    project = Project(base_dir)
    loaded = sys.modules.copy() if modules is None else modules
    found: dict[str, Any] = {}
    own_name = str(globals_.get("__name__"))
    if own_name in loaded and namespace_of(loaded[own_name]) is globals_:
        found[own_name] = loaded[own_name]
    first = mainfile or globals_.get("__file__")
    pending = [(globals_, first)]
    unseen = [] if _text_of(first) else [name for name, module in loaded.items() if project.holds(name, module)]
    while pending:
        namespace, path = pending.pop()
        for name in _with_parents([*_references(namespace, path, loaded), *unseen]):
            if name in found or name not in loaded:
                continue
            module = found[name] = loaded[name]
            if project.holds(name, module):
                pending.append((namespace_of(module), file_of(module)))
    return found


def digests(path: str) -> tuple[str, str, int]:
    """Return SHA-256 and MD5 of a file's bytes, both hexadecimal, and its size in bytes.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        sha256, md5 = hash_functions(size)
        strong, weak = sha256(), md5()
        size = 0
        while chunk := file.read(_CHUNK):
            strong.update(chunk)
            weak.update(chunk)
            size += len(chunk)
    return strong.hexdigest(), weak.hexdigest(), size


# ------------------------------------------------------------------------------------------------ what is the project's


class Project:
    """Tells the files of a project from those of others.

    Attributes
    ----------
    folder : str
        The base folder, absolute.
    """

    def __init__(self, base_dir: str) -> None:
        self.folder = os.path.abspath(base_dir)
        folders = (self.folder, os.path.realpath(base_dir))
        self._inside = tuple(dict.fromkeys(os.path.normcase(_with_separator(folder)) for folder in folders))
        others = (_with_separator(folder) for folder in (os.path.dirname(os.path.abspath(os.__file__)), _OWN_FOLDER))
        # A project may lie inside one of them (an example that is shipped with the library): then it does not matter.
        self._others = tuple(other for other in others if not self._inside[0].startswith(other))

    def relative(self, path: str) -> str:
        """Return `path` as seen from the base folder, with slashes; as it is where it lies outside."""
        inside = self._below(path)
        return path if inside is None else inside.replace(os.sep, "/")

    def files(self, modules: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield absolute and relative path of those modules that are the project's own."""
        for name, module in modules.items():
            path = self.source_of(name, module)
            if path is not None:
                yield path, self.relative(path)

    def holds(self, name: str, module: Any) -> bool:
        """Say whether a module is the project's own; a package without a file counts by where it looks for modules."""
        if self.source_of(name, module) is not None:
            return True
        places = namespace_of(module).get("__path__", ())
        return file_of(module) is None and any(self._owns(str(place)) for place in places)

    def source_of(self, name: str, module: Any) -> str | None:
        """Return the absolute path of the file that a module was loaded from, if it is the project's own."""
        path = file_of(module)
        if path is None:
            return None
        if not os.path.isabs(path) or f"{os.sep}." in path:
            path = os.path.abspath(path)
        if not self._owns(path) or not is_file_of(name, module, path):
            return None
        if path.endswith(".pyc"):  # loaded without its source; the source may be there all the same
            return path[:-1] if os.path.isfile(path[:-1]) else path
        return path if path.endswith(SUFFIXES) or name in _MAIN else None

    def _owns(self, path: str) -> bool:
        inside = self._below(path)
        if inside is None or path.startswith(self._others):
            return False
        parts = inside.split(os.sep)
        return not any(folder in parts for folder in INSTALLED)

    def _below(self, path: str) -> str | None:
        same_case = os.path.normcase(path)
        for folder in self._inside:
            if same_case.startswith(folder):
                return path[len(folder) :]
        if path.startswith(self._others) or any(f"{os.sep}{folder}{os.sep}" in path for folder in INSTALLED):
            return None
        # Rare and costly, so last: the same folder by another way, through a link.
        real, folder = os.path.realpath(path), self._inside[-1]
        return real[len(folder) :] if os.path.normcase(real).startswith(folder) else None


def _with_separator(folder: str) -> str:
    return folder if folder.endswith(os.sep) else folder + os.sep


def is_file_of(name: str, module: Any, path: str) -> bool:
    """Say whether a module can have come from the file that it names; some libraries name any."""
    return _fits(name, path) or _loaded_from(module, path)


def _fits(name: str, path: str) -> bool:
    """Say whether a file lies where a module of this name would: ``a.b`` in ``a/b.py`` or ``a/b/__init__.py``."""
    if name in _MAIN:
        return True
    folder, file = os.path.split(path)
    parts = folder.split(os.sep)
    stem = file.partition(".")[0]  # what follows may be long: b.cpython-311-x86_64-linux-gnu.so
    if stem != "__init__":
        parts.append(stem)
    wanted = name.split(".")
    return parts[-len(wanted) :] == wanted


def _loaded_from(module: Any, path: str) -> bool:
    """Say whether Python itself loaded the module from this file, under whatever name."""
    origin = getattr(namespace_of(module).get("__spec__"), "origin", None)
    return isinstance(origin, str) and os.path.abspath(origin) == path


# ---------------------------------------------------------------------------------------------- what a module refers to


def _references(namespace: Mapping[str, Any], path: Any, loaded: Mapping[str, Any]) -> set[str]:
    """Return names of modules that a module refers to, by its values and by the import statements in its file."""
    # What Python itself puts into a module (__spec__, __builtins__, ...) says nothing about it.
    values = [value for key, value in list(namespace.items()) if not (isinstance(key, str) and key.startswith("__"))]
    found = {name for name in map(_home_of, values) if name is not None} - {"builtins"}
    text = _text_of(path)
    if not text:
        return found
    package = namespace.get("__package__") or ""
    for origin, names in _imports_in(text):
        if origin is None:
            found.update(names)
            continue
        origin = _absolute(origin, package)
        found.add(origin)
        found.update(f"{origin}.{name}" for name in names if f"{origin}.{name}" in loaded)
    return found


def _imports_in(text: str) -> Iterator[tuple[str | None, list[str]]]:
    """Yield ``(None, ["a.b", "c"])`` for ``import a.b, c as d``, ``("a.b", ["c", "d"])`` for ``from a.b import c, d``.

    Wherever they stand: also in functions, and also of constants, whose values do not know where they come from. It
    may find some in a docstring; only loaded modules count in the end. (`re` would take 3 ms to be loaded.)
    """
    at = text.find("import")
    while at >= 0:
        behind = at + len("import")
        start = text.rfind("\n", 0, at) + 1
        start = max(start, text.rfind(";", start, at) + 1, text.rfind(":", start, at) + 1)
        before = text[start:at].split()
        end = text.find("\n", behind)
        rest = text[behind : end if end >= 0 else None].partition("#")[0].partition(";")[0].strip("\\ \t\r")
        if not before and text[behind : behind + 1] in (" ", "\t"):
            yield None, [part.split()[0] for part in rest.split(",") if part.strip()]
        elif before[:1] == ["from"] and len(before) == 2:
            if rest[:1] == "(":
                rest = text[text.index("(", behind) + 1 :].partition(")")[0]
            yield before[1], rest.replace(",", " ").split()
        at = text.find("import", behind)


def _home_of(value: Any) -> str | None:
    """Return the module that a value is or comes from.

    Only types that are known not to run anything are asked themselves; of all others the type is.
    """
    kind = type(value)
    if issubclass(kind, _MODULE):
        name = namespace_of(value).get("__name__")
    elif kind is _FUNCTION or kind is _BUILTIN:
        name = value.__module__
    else:
        name = type.__getattribute__(value if issubclass(kind, type) else kind, "__module__")
    return name if isinstance(name, str) else None


_MODULE, _FUNCTION, _BUILTIN = type(sys), type(_home_of), type(len)


def _text_of(path: Any) -> str:
    if not isinstance(path, str) or not path.endswith((".py", ".pyx")):
        return ""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:  # deleted since it was loaded, or inside an archive: its values still tell
        return ""


def _absolute(name: str, package: str) -> str:
    """Resolve ``..name`` as seen from a package."""
    bare = name.lstrip(".")
    level = len(name) - len(bare)
    if not level:
        return name
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], *([bare] if bare else [])])


def _with_parents(names: Iterable[str]) -> list[str]:
    """Return names and those of the packages around them: importing ``a.b`` runs ``a`` first."""
    found = set()
    for name in names:
        while name and name not in found:
            found.add(name)
            name = name.rpartition(".")[0]
    return sorted(found)


def _python_files(folder: str) -> Iterator[str]:
    """Yield every ``*.py`` below a folder, but not below what tools have made: environments, caches, stores of runs."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _is_made_by_tools(os.path.join(place, name))]
        yield from (os.path.join(place, name) for name in files if name.endswith(".py"))


def _is_made_by_tools(folder: str) -> bool:
    name = os.path.basename(folder)
    if name.startswith(".") or name in (*INSTALLED, "__pycache__", "node_modules", "_sources"):
        return True
    if any(os.path.exists(os.path.join(folder, marker)) for marker in ("pyvenv.cfg", "conda-meta")):
        return True
    try:
        with open(os.path.join(folder, ".gitignore"), encoding="utf-8", errors="replace") as file:
            return "*" in file.read(1000).split()  # a folder that hides itself from git altogether
    except OSError:
        return False
