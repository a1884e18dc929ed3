"""What a run has imported, wherever and whenever: its own files, and the distributions that the rest came from.

`capture.probes.sources` and `capture.probes.packages` look when a run begins, and follow what the script refers to.
This looks when it ends, at everything that is loaded or was: imports in functions, in threads, in helpers of helpers.
"""

from __future__ import annotations

import os
import sys

from capture.probes import packages, sources
from capture.probes._modules import file_of, namespace_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from capture.probes.packages import Distribution

LARGEST_SOURCE = 50_000_000  #: bytes; a larger file (a compiled module, an archive) is named but not kept
MOST_STRAY = 500  #: files that belong neither to a project nor to a distribution; code generators make thousands

_TOO_MANY = f"more than {MOST_STRAY} files belong neither to a project nor to a distribution"

_STANDARD = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_MAIN = ("__main__", "__mp_main__")
#: Loaded by the .pth files of an environment whenever Python starts, asked for or not.
_BY_THE_ENVIRONMENT = ("__editable__", "_distutils_hack", "_virtualenv")
_WITHOUT_FILE = ("cython_runtime",)  # what Cython leaves in `sys.modules`, but for names that begin with _
_MARKERS = ("pyproject.toml", "setup.py", "setup.cfg", ".git")


def imports_facts(
    base_dirs: Sequence[str],
    at_start: Collection[str],
    seen: Collection[str],
    source_strategy: str,
    package_strategy: str,
    known_sources: Sequence[tuple[str, str]],
    added_dependencies: Mapping[str, str],
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Tell what this process has imported.

    Parameters
    ----------
    base_dirs : sequence of str
        The base folders of the experiment and its ingredients. Files below them are the project's, as
        `capture.probes.sources.Project` has it.
    at_start : collection of str
        Names of the modules that were loaded when the run began.
    seen : collection of str
        Names that import statements have asked for; they may be gone from `sys.modules`, or never have been found.
    source_strategy, package_strategy : str
        See `capture.probes.sources.discover_sources` and `capture.probes.packages.discover_packages`. "none": nothing
        of this kind is looked for. "pkg": ``dependencies`` is everything that is installed. All others mean the same
        here: what was imported.
    known_sources : sequence of (str, str)
        Absolute path and name of the sources that are recorded already; they keep their names.
    added_dependencies : mapping of str to str
        Name to version of distributions that the user has named; they win over what is found.

    Returns
    -------
    facts : dict
        ``dependencies``: list of "name==version", sorted. ``distributions``: list of dict with ``name``, ``version``,
        ``modules`` (the top-level ones that were imported), ``late`` (whether all that was imported of it was imported
        during the run), and where it applies ``editable`` (the folder it points to) with ``sources`` (names of its
        files), or ``url`` and ``commit``. ``sources``: names of the local files, the known ones included;
        ``late_sources``: those that were loaded during the run. ``unmapped``: top-level modules of unknown origin.
        ``missing``: modules that were asked for and are neither loaded nor on the search path, such as optional
        packages. ``modules``: how many there are. ``left_out``, where it applies: list of dict with ``path`` and
        ``reason``, files that are not kept; ``files`` says how many there are like that one.
    new_sources : list of (str, str)
        Absolute path and name of the local files that are not among the known ones.

    Notes
    -----
    A local file is named by its path below the base folder; a file of an editable install elsewhere
    ``DISTRIBUTION/path``, below the folder that it points to; any other file, and one whose name is taken, by its
    absolute path. A module from an archive stands for the whole archive. No code of any module runs.
    """
    loaded = sys.modules.copy()
    gone, missing = _gone(seen, loaded)
    modules = {name: module for name, module in {**loaded, **gone}.items() if not name.startswith(_BY_THE_ENVIRONMENT)}
    before = at_start if isinstance(at_start, (set, frozenset, dict)) else set(at_start)
    wants_sources, wants_packages = source_strategy != "none", package_strategy != "none"
    owned = _Owned(modules) if wants_sources or wants_packages else None
    files = _LocalFiles(base_dirs, known_sources)
    if owned is not None and wants_sources:
        files.collect(modules, owned, before)
    facts: dict[str, Any] = {
        "dependencies": [],
        "distributions": [],
        "sources": sorted(files.names.values()),
        "late_sources": sorted(files.names[path] for path in files.late),
        "unmapped": [] if owned is None else sorted(_unmapped(modules, owned, files)),
        "missing": missing,
        "modules": len(modules),
    }
    dependencies: dict[str, str] = {}
    if owned is not None and wants_packages:
        facts["distributions"] = owned.described(before, files)
        dependencies = {each["name"]: each["version"] for each in facts["distributions"]}
    if package_strategy == "pkg":
        dependencies.update(packages.all_distributions())
    dependencies.update(added_dependencies)
    pairs = sorted(dependencies.items(), key=lambda pair: pair[0].lower())
    facts["dependencies"] = [f"{name}=={version}" for name, version in pairs]
    left_out = files.left_out()
    if left_out:
        facts["left_out"] = left_out
    return facts, files.new


def editable_roots(modules: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return the folders that the editable installs among the owners of modules point to, by distribution.

    Parameters
    ----------
    modules : mapping of str to module, optional
        `sys.modules` if left out. This library itself does not count.
    """
    found = {name: origin.get("editable") for name, origin in origins(modules).items()}
    return {name: root for name, root in found.items() if root is not None}


def origins(modules: Mapping[str, Any] | None = None) -> dict[str, dict[str, str]]:
    """Return where the owners of modules were taken from, those from an index left out.

    Parameters
    ----------
    modules : mapping of str to module, optional
        `sys.modules` if left out. This library itself does not count.

    Returns
    -------
    dict of str to dict
        By distribution: ``editable``, a folder; or ``url`` and, from a repository, ``commit``.
    """
    modules = sys.modules.copy() if modules is None else modules
    owned = _Owned({name: module for name, module in modules.items() if not name.startswith(_BY_THE_ENVIRONMENT)})
    return {owner.identity()[0]: origin for owner, origin in owned.origins.items() if origin}


# --------------------------------------------------------------------------------------------- distributions of modules


class _Owned:
    """Which distributions modules belong to.

    Attributes
    ----------
    owners : dict of str to Distribution or None
        By the module that tells it: the top-level one, or the first below a shared name; None: nobody's.
    files : dict of str to str
        The files of those modules.
    origins : dict of Distribution to dict
        Where each was taken from; see `_origin`.
    roots : dict of Distribution to str
        Where the editable installs among them point to.
    """

    def __init__(self, modules: Mapping[str, Any]) -> None:
        self.owners: dict[str, Distribution | None] = {}
        self.files: dict[str, str] = {}
        for name, path, owner in packages.owners_of(modules):
            if owner is not None and not sources.is_file_of(name, modules.get(name) or sys.modules.get(name), path):
                owner = None  # a module that only says it is that file
            self.owners[name], self.files[name] = owner, path
        self.roots: dict[Distribution, str] = {}
        self.origins: dict[Distribution, dict[str, str]] = {}
        for name, owner in self.owners.items():
            if owner is not None and owner not in self.origins:
                self.origins[owner] = _origin(owner, name, self.files[name])
                root = self.origins[owner].get("editable")
                if root is not None:
                    self.roots[owner] = root

    def owner_of(self, name: str) -> Distribution | None:
        """Return whose a module is, by itself or the packages around it."""
        while name:
            if name in self.owners:
                return self.owners[name]
            name = name.rpartition(".")[0]
        return None

    def described(self, before: Collection[str], files: _LocalFiles) -> list[dict[str, Any]]:
        """Describe each distribution, as `imports_facts` lists them."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for name, owner in self.owners.items():
            if owner is None:
                continue
            identity = owner.identity()
            if identity not in found:
                found[identity] = {"name": identity[0], "version": identity[1], "modules": [], "late": True}
                found[identity].update(self.origins[owner])
                if owner in self.roots:
                    found[identity]["sources"] = sorted(files.by_owner.get(owner, ()))
            found[identity]["modules"].append(name)
            found[identity]["late"] &= name not in before
        for each in found.values():
            each["modules"].sort()
        return [found[identity] for identity in sorted(found, key=lambda pair: (pair[0].lower(), pair[1]))]


def _origin(owner: Distribution, name: str, path: str) -> dict[str, str]:
    """Say where a distribution was taken from, if it is not from an index: ``editable``, or ``url`` and ``commit``."""
    told = owner.direct_url()
    if told:
        if told.get("dir_info", {}).get("editable") is True:
            root = packages.path_of(told["url"])
            return {"editable": root} if root else {"url": told["url"]}
        commit = told.get("vcs_info", {}).get("commit_id")
        return {"url": told["url"], **({"commit": commit} if isinstance(commit, str) else {})}
    if owner is packages.OWN:
        return {}
    if owner.is_checkout():
        return {"editable": os.path.realpath(owner.folder)}
    # Older tools leave a .pth file or a link, and no note.
    folder, relative = packages.split(name, os.path.abspath(path))
    if folder != owner.folder:
        folder = os.path.realpath(folder)
        return {"editable": _project_around(folder) or folder}
    top = os.path.join(folder, relative.partition("/")[0])
    if os.path.islink(top):
        # Only into a project: some installers fill environments with links into their caches.
        root = _project_around(os.path.dirname(os.path.realpath(top)))
        return {"editable": root} if root else {}
    return {}


def _project_around(folder: str) -> str | None:
    """Return the root of the project that keeps its modules in `folder`: that one, or with a src layout its parent."""
    for place in (folder, os.path.dirname(folder)):
        if any(os.path.exists(os.path.join(place, marker)) for marker in _MARKERS):
            return place
    return None


def _unmapped(modules: Mapping[str, Any], owned: _Owned, files: _LocalFiles) -> Iterator[str]:
    """Yield top-level modules that are neither the standard library's, nor a distribution's, nor the project's."""
    known = {name.partition(".")[0] for name, owner in owned.owners.items() if owner is not None}
    tops = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - known - files.tops
    for top in tops.difference(_MAIN, _WITHOUT_FILE):
        if top.startswith("_"):  # helpers that compilers and packages put there
            continue
        path = owned.files.get(top)
        if path is not None:
            if not path.startswith(_STANDARD) or _is_installed(path):
                yield top
            continue
        is_namespace = "__path__" in namespace_of(modules.get(top))
        if not is_namespace or any(name.startswith(f"{top}.") for name in owned.owners):
            yield top


def _is_installed(path: str) -> bool:
    return "site-packages" in path or "dist-packages" in path


# ---------------------------------------------------------------------------------------------------------- local files


class _LocalFiles:
    """The files of a project, of editable installs, and those that belong to nothing.

    Attributes
    ----------
    names : dict of str to str
        The name of each, by absolute path.
    new : list of (str, str)
        Path and name of those that were not known.
    late : set of str
        Paths of those that were loaded during the run.
    by_owner : dict of Distribution to list of str
        Names of the files of editable installs.
    tops : set of str
        Top-level modules of the project.
    """

    def __init__(self, base_dirs: Iterable[str], known: Iterable[tuple[str, str]]) -> None:
        self._projects = [sources.Project(folder) for folder in dict.fromkeys(base_dirs)]
        self.names = dict(known)
        self._taken = set(self.names.values())
        self.new: list[tuple[str, str]] = []
        self.late: set[str] = set()
        self.by_owner: dict[Distribution, list[str]] = {}
        self.tops: set[str] = set()
        self._left_out: dict[str, str] = {}
        self._stray = sum(path == name for path, name in self.names.items())

    def left_out(self) -> list[dict[str, Any]]:
        """Return what is not kept, with the reason; of those that are too many the first, and how many."""
        found: list[dict[str, Any]] = []
        paths = sorted(path for path, reason in self._left_out.items() if reason == _TOO_MANY)
        found += [{"path": path, "reason": why} for path, why in sorted(self._left_out.items()) if why != _TOO_MANY]
        return found + ([{"path": paths[0], "files": len(paths), "reason": _TOO_MANY}] if paths else [])

    def collect(self, modules: Mapping[str, Any], owned: _Owned, before: Collection[str]) -> None:
        """Find those that modules were loaded from."""
        early: set[str] = set()
        # Of these, files in folders that installers fill may be links to where the sources are.
        pointing = {name.partition(".")[0] for name, owner in owned.owners.items() if owner in owned.roots}
        for name, module, path in self._possible(modules, pointing):
            found = self._find(name, module, path, owned)
            if found is None:
                continue
            path, name_of_file, owner = found
            if path not in self.names and not self._keep(path, name_of_file):
                continue
            if owner is not None and self.names[path] not in self.by_owner.setdefault(owner, []):
                self.by_owner[owner].append(self.names[path])
            (early if name in before else self.late).add(path)
        self.late -= early
        self.new.sort(key=lambda pair: pair[1])

    def _possible(self, modules: Mapping[str, Any], pointing: Collection[str]) -> Iterator[tuple[str, Any, str]]:
        """Yield the few of all modules whose files can be local."""
        bases = tuple(project.folder.rstrip(os.sep) + os.sep for project in self._projects)
        elsewhere = (_STANDARD, packages.OWN_FOLDER)
        others = tuple(other for other in elsewhere if not any(base.startswith(other) for base in bases))
        for name, module in modules.items():
            path = file_of(module)
            if path is None or path.startswith(others):
                continue
            if _is_installed(path) and not (pointing and name.partition(".")[0] in pointing):
                if not path.startswith(bases):
                    continue
                base = max((base for base in bases if path.startswith(base)), key=len)
                if _is_installed(path[len(base) :]):  # an environment inside the project
                    continue
            yield name, module, path

    def _find(
        self, name: str, module: Any, path: str, owned: _Owned
    ) -> tuple[str, str, Distribution | None] | None:
        """Return path and name of a module's file, and the editable install it is of; None where it is not local."""
        owner = owned.owner_of(_name_as_imported(name, module))
        root = None if owner is None else owned.roots.get(owner)
        if owner is not None and root is None and name not in _MAIN:
            return None  # installed below the base folder: `pip install --target`
        editable = owner if root is not None else None
        for project in self._projects:
            found = project.source_of(name, module)
            if found is not None:
                self.tops.add(name.partition(".")[0])
                found = _archive_or_file(found)
                return None if found is None else (found, project.relative(found), editable)
        path = os.path.abspath(path)
        if not sources.is_file_of(name, module, path) or not path.endswith(sources.SUFFIXES):
            return None
        if root is not None and owner is not None:
            path = path if path.startswith(root + os.sep) else os.path.realpath(path)
        found = _archive_or_file(path)
        if found is None:
            return None
        if root is not None and owner is not None and found.startswith(root + os.sep):
            return found, f"{owner.identity()[0]}/{found[len(root) + 1 :].replace(os.sep, '/')}", editable
        return found, found, editable

    def _keep(self, path: str, name: str) -> bool:
        reason = None
        try:
            size = os.stat(path).st_size
        except OSError as error:
            reason = f"it cannot be read: {error.strerror or error}"
        else:
            if size > LARGEST_SOURCE:
                reason = f"it has {size} bytes, more than the {LARGEST_SOURCE} that are kept of one file"
        if name == path and reason is None:
            if self._stray >= MOST_STRAY:
                reason = _TOO_MANY
            else:
                self._stray += 1
        if reason is not None:
            self._left_out[path] = reason
            return False
        name = path if name in self._taken else name
        self._taken.add(name)
        self.names[path] = name
        self.new.append((path, name))
        return True


def _name_as_imported(name: str, module: Any) -> str:
    """Return a module's name, also of the one that ``python -m`` runs as ``__main__``."""
    if name not in _MAIN:
        return name
    spec = namespace_of(namespace_of(module).get("__spec__")).get("name")
    return spec if isinstance(spec, str) else name


def _archive_or_file(path: str) -> str | None:
    """Return a file's path, or that of the archive it lies in; None where there is neither."""
    while not os.path.isfile(path):
        parent = os.path.dirname(path)
        if parent == path or os.path.isdir(parent):
            return None
        path = parent
    return path


# ------------------------------------------------------------------------------------ modules that are no longer loaded


class _Gone:
    """Stands for a module that is gone: it has a file and perhaps a path, and nothing else."""

    def __init__(self, path: str | None, places: list[str] | None) -> None:
        if path is not None:
            self.__file__ = path
        if places is not None:
            self.__path__ = places


def _gone(seen: Iterable[str], loaded: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Find the files of modules that were asked for and are not loaded, and name those that are not to be found.

    Of a package that is not to be found only the package is named. The standard library's do not count.
    """
    found: dict[str, Any] = {}
    missing: list[str] = []
    places: list[str] | None = None
    mappings: list[dict[str, str]] = []
    for name in sorted({name for name in seen if isinstance(name, str)}.difference(loaded)):
        top, _, _ = name.partition(".")
        if top in sys.stdlib_module_names or top.startswith(_BY_THE_ENVIRONMENT):
            continue
        parent, _, last = name.rpartition(".")
        if parent:
            module = found.get(parent) or loaded.get(parent)
            inside = _places_of(module)
            if module is None and any(parent == other or parent.startswith(other + ".") for other in missing):
                continue
        else:
            if places is None:
                mappings = _mappings(loaded)
                standard = (_STANDARD[:-1], os.path.join(_STANDARD, "lib-dynload"))
                places = [place for place in packages.search_path() if place not in standard]
            inside = places
        stems = [os.path.join(place, last) for place in inside]
        if not parent:
            stems += [mapping[top] for mapping in mappings if isinstance(mapping.get(top), str)]
        stand_in = _look_up(stems)
        if stand_in is None:
            missing.append(name)
        else:
            found[name] = stand_in
    return found, missing


def _look_up(stems: Iterable[str]) -> _Gone | None:
    """Find a module the way Python does, by the paths that it may have without their endings."""
    from _imp import extension_suffixes

    namespaces = []
    for stem in stems:
        package = os.path.join(stem, "__init__.py")
        if os.path.isfile(package):
            return _Gone(package, [stem])
        for suffix in (*extension_suffixes(), ".py", ".pyc"):
            if os.path.isfile(stem + suffix):
                return _Gone(stem + suffix, None)
        if os.path.isdir(stem):
            namespaces.append(stem)
    return _Gone(None, namespaces) if namespaces else None


def _places_of(module: Any) -> list[str]:
    places = namespace_of(module).get("__path__")
    # Of the kinds of path that there are, these run no code of others.
    if type(places) in (list, tuple) or type(places).__name__ == "_NamespacePath":
        return [place for place in places if isinstance(place, str)]  # type: ignore[union-attr]
    return []


def _mappings(loaded: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return where editable installs of setuptools say that their modules are: on no search path."""
    finders = [module for name, module in loaded.items() if name.startswith("__editable__")]
    mappings = [namespace_of(finder).get("MAPPING") for finder in finders]
    return [mapping for mapping in mappings if type(mapping) is dict]
