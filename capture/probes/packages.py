"""Which installed distributions the imported modules come from.

A distribution is what pip installs ("scikit-learn 1.5"), a module what is imported ("sklearn"); the names do not always
tell one from the other. The folders ``NAME-VERSION.dist-info`` beside the modules do, with the lists of files in them.
`importlib.metadata` reads the same, but all of it, and takes longer to import than this takes to answer.
"""

from __future__ import annotations

import os
import sys

from capture._version import __version__
from capture.probes._modules import INSTALLED, file_of, namespace_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

STRATEGIES = ("imported", "sys", "pkg", "none")

OWN_NAME = "experiment-capture"
OWN_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep

#: Where to look first for modules whose distribution has another name. Each guess is checked like any other.
_HINTS = {
    "attr": ("attrs",),
    "bs4": ("beautifulsoup4",),
    "Crypto": ("pycryptodome",),
    "cv2": ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "dateutil": ("python-dateutil",),
    "docopt": ("docopt-ng", "docopt"),
    "faiss": ("faiss-cpu", "faiss-gpu"),
    "git": ("gitpython",),
    "jwt": ("pyjwt",),
    "mpl_toolkits": ("matplotlib",),
    "OpenSSL": ("pyopenssl",),
    "PIL": ("pillow",),
    "pkg_resources": ("setuptools",),
    "pylab": ("matplotlib",),
    "serial": ("pyserial",),
    "skimage": ("scikit-image",),
    "sklearn": ("scikit-learn",),
    "yaml": ("pyyaml",),
    "zmq": ("pyzmq",),
    "_distutils_hack": ("setuptools",),
}


def discover_packages(
    modules: Mapping[str, Any] | Iterable[str] | None = None, strategy: str = "imported"
) -> list[tuple[str, str]]:
    """Name the distributions that modules come from.

    Parameters
    ----------
    modules : mapping of str to module, or iterable of str, optional
        The modules in question, for "imported"; names alone are looked up in `sys.modules`, which is also the default.
        `capture.probes.sources.imported_modules` gives those that the project's own code refers to.
    strategy : {"imported", "sys", "pkg", "none"}
        "sys" takes everything in `sys.modules` instead, "pkg" everything that is installed.

    Returns
    -------
    list of (str, str)
        Name and version, as the distribution itself writes them, sorted by name. Modules of the standard library and
        modules that belong to no distribution are left out.

    Raises
    ------
    ValueError
        If there is no such strategy.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"DISCOVER_DEPENDENCIES is one of {', '.join(STRATEGIES)}, got {strategy!r}")
    if strategy == "none":
        return []
    if strategy == "pkg":
        return all_distributions()
    if modules is None or strategy == "sys":
        modules = sys.modules.copy()
    elif not hasattr(modules, "keys"):
        modules = {name: sys.modules.get(name) for name in modules}
    owners = (owner for _, _, owner in owners_of(modules))  # type: ignore[arg-type]
    return _sorted(owner.identity() for owner in owners if owner is not None)


def all_distributions() -> list[tuple[str, str]]:
    """Return name and version of every distribution on `sys.path`; of two of one name, the one that Python finds."""
    return _sorted(distribution.identity() for distribution in installed().values())


def owners_of(modules: Mapping[str, Any]) -> Iterator[tuple[str, str, Distribution | None]]:
    """Tell whom each top-level module belongs to.

    Parameters
    ----------
    modules : mapping of str to module
        The modules in question. Those of the standard library are passed over.

    Yields
    ------
    (str, str, Distribution or None)
        Name and file of a module, and its owner; None where it belongs to no distribution. It is the top-level module,
        or where several distributions share that name, the first module of each (``google.cloud.storage``).
    """
    return _Search(modules).owners()


def _sorted(found: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted(set(found), key=lambda pair: (pair[0].lower(), pair[1]))


def normalized(name: str) -> str:
    """Return the form in which names of distributions are compared: lower case, runs of ``-_.`` one dash."""
    name = name.lower().replace("_", "-").replace(".", "-")
    while "--" in name:
        name = name.replace("--", "-")
    return name


# --------------------------------------------------------------------------------------------------- what is installed


class Distribution:
    """An installed distribution, known by its ``.dist-info`` or ``.egg-info``; what is inside is read when needed.

    Attributes
    ----------
    key : str
        Normalized name.
    folder : str
        The folder that holds its modules and `info`.
    info : str
        The ``.dist-info`` or ``.egg-info`` (a folder, or in old installs one file).
    """

    __slots__ = ("_files", "_identity", "folder", "info", "key")

    def __init__(self, folder: str, entry: str) -> None:
        self.folder, self.info = folder, os.path.join(folder, entry)
        self.key = normalized(entry.rpartition(".")[0].partition("-")[0])
        self._identity: tuple[str, str] | None = None
        self._files: bytes | None = None

    def identity(self) -> tuple[str, str]:
        """Return name and version as its own metadata write them, else as the folder's name has them."""
        if self._identity is None:
            fields = self._fields()
            name, _, version = os.path.basename(self.info).rpartition(".")[0].partition("-")
            self._identity = (fields.get("Name") or name, fields.get("Version") or version.partition("-py")[0])
        return self._identity

    def _fields(self) -> dict[str, str]:
        for path in (*(os.path.join(self.info, name) for name in ("METADATA", "PKG-INFO")), self.info):
            head = _read(path, 4096)
            if head is not None:
                lines = head.decode("utf-8", "replace").partition("\n\n")[0].splitlines()
                pairs = (line.partition(":") for line in lines)
                return {key: value.strip() for key, _, value in pairs if key in ("Name", "Version")}
        return {}

    def owns(self, path: str, top: str) -> bool | None:
        """Say whether it installed a file; None where it keeps no list.

        Parameters
        ----------
        path : str
            Relative to `folder`, with slashes.
        top : str
            The top-level module the file belongs to: old installs list only those.
        """
        record = self.record()
        if record:
            return f"\n{path},".encode("utf-8", "surrogateescape") in record
        listed = _read(os.path.join(self.info, "top_level.txt"))
        return None if listed is None else top.encode() in listed.split()

    def record(self) -> bytes:
        """Return its list of files, one per line after a line end; empty where it has none."""
        files = self._files
        if files is None:
            record = _read(os.path.join(self.info, "RECORD"))
            files = self._files = b"\n" + record if record else b""
        return files  # not the attribute, which another thread may have let go of

    def forget(self) -> None:
        """Let go of the list of files, which can be large."""
        self._files = None

    def direct_url(self) -> dict[str, Any]:
        """Return what the installer noted of where it took this from; empty where it came from an index.

        A dict with the keys ``url`` (str, without passwords) and one of ``vcs_info``, ``archive_info``, ``dir_info``
        (dict), sometimes ``subdirectory`` (str), as PEP 610 has it; a file that says something else counts as none.
        """
        data = _read(os.path.join(self.info, "direct_url.json"))
        return {} if not data else parse_direct_url(data)

    def editable_source(self) -> str | None:
        """Return the folder that an editable install points to; None for any other install."""
        told = self.direct_url()
        return path_of(told["url"]) if told.get("dir_info", {}).get("editable") is True else None

    def is_checkout(self) -> bool:
        """Say whether these are the metadata that setuptools leaves in a folder of sources.

        Such a folder is on the search path itself: ``setup.py develop`` puts it there, or it is that of the script.
        """
        if not self.info.endswith(".egg-info") or not INSTALLED.isdisjoint(self.folder.split(os.sep)):
            return False
        return os.path.isdir(self.info) and not os.path.exists(os.path.join(self.info, "installed-files.txt"))


def parse_direct_url(data: bytes) -> dict[str, Any]:
    """Read a ``direct_url.json``; empty where it is none."""
    from capture.plainjson import loads

    try:
        told = loads(data)
    except ValueError:
        return {}
    if not isinstance(told, dict) or not isinstance(told.get("url"), str):
        return {}
    parts = {key: told[key] for key in ("vcs_info", "archive_info", "dir_info") if isinstance(told.get(key), dict)}
    if isinstance(told.get("subdirectory"), str):
        parts["subdirectory"] = told["subdirectory"]
    return {"url": _public(told["url"]), **parts}


def _public(url: str) -> str:
    if url.startswith("file:") or ("@" not in url and "=" not in url):
        return url
    from capture.secrets import redact_url

    return redact_url(url)


def path_of(url: str) -> str | None:
    """Return the folder that a file URL names, links resolved; `urllib` takes longer to import than all else here."""
    if not url.startswith("file://"):
        return None
    first, *escaped = url[len("file://") :].encode("utf-8", "surrogateescape").split(b"%")
    try:
        path = os.fsdecode(first + b"".join(bytes.fromhex(part[:2].decode()) + part[2:] for part in escaped))
    except ValueError:  # a % that escapes nothing, or a name that this system cannot have
        return None
    # A drive comes after one slash more: file:///C:/work
    return os.path.realpath(path.lstrip("/") if os.name == "nt" else path)


def _read(path: str, size: int = -1) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError:
        return None


#: This library, whichever way it got here; its files are not asked for.
OWN = Distribution(os.path.dirname(OWN_FOLDER[:-1]), f"experiment_capture-{__version__}.dist-info")
OWN._identity = (OWN_NAME, __version__)

_scans: dict[str, tuple[int, list[Distribution]]] = {}  # folder -> (its time of change in ns, what was in it)
_UNKNOWN: Any = object()
_known: dict[tuple[str, str], Distribution | None] = {}  # (module, its file) -> owner, until a folder changes


def distributions_in(folder: str) -> list[Distribution]:
    """List the distributions of one folder; a folder that has not changed is not read again."""
    try:
        changed = os.stat(folder).st_mtime_ns
        cached = _scans.get(folder)
        if cached is not None and cached[0] == changed:
            return cached[1]
        names = sorted(os.listdir(folder))
    except OSError:  # not there, not a folder (a zip archive), not ours to read
        return []
    found = [
        # pip leaves ~names behind when it cannot finish
        Distribution(folder, name)
        for name in names
        if name.endswith((".dist-info", ".egg-info")) and not name.startswith("~")
    ]
    if folder.endswith(".egg") and "EGG-INFO" in names:
        found.append(_egg(folder))
    _scans[folder] = changed, found
    _known.clear()
    return found


def _egg(folder: str) -> Distribution:
    egg = Distribution(folder, os.path.basename(folder))
    egg.info = os.path.join(folder, "EGG-INFO")
    return egg


def search_path() -> list[str]:
    """Return the entries of `sys.path`, absolute, each once."""
    folders = [os.path.abspath(entry) for entry in sys.path if isinstance(entry, str)]
    return list(dict.fromkeys(folders))


def installed() -> dict[str, Distribution]:
    """Return what is installed, by normalized name; of two of one name, the one that Python finds."""
    found: dict[str, Distribution] = {}
    for folder in search_path():
        for distribution in distributions_in(folder):
            found.setdefault(distribution.key, distribution)
    return found


# ------------------------------------------------------------------------------------------------- whose is this module


class _Search:
    """One look for the owners of modules."""

    def __init__(self, modules: Mapping[str, Any]) -> None:
        self._modules = modules
        self._installed: dict[str, Distribution] | None = None
        self._editables: list[tuple[str, Distribution]] | None = None

    def owners(self) -> Iterator[tuple[str, str, Distribution | None]]:
        """Yield what `owners_of` does."""
        tops = {name.partition(".")[0] for name in self._modules} - sys.stdlib_module_names - {"__main__"}
        try:
            for top in sorted(tops):
                for name, path in self._representatives(top):
                    yield name, path, self._owner(name, path)
        finally:
            for _, distributions in list(_scans.values()):
                for distribution in distributions:
                    distribution.forget()

    def _representatives(self, top: str) -> list[tuple[str, str]]:
        """Return the modules that tell whom a top-level name belongs to, with their files.

        One, unless the name is a namespace that several distributions share: then the first real module on each way
        down (``google.cloud.storage``, ``google.protobuf``).
        """
        path = self._real_file(top)
        if path is not None:
            return [(top, path)]
        module = self._module(top)  # None: only parts of the package are loaded, or it was taken out again
        if module is not None and "__path__" not in namespace_of(module):
            return []
        found: list[tuple[str, str]] = []
        for name in sorted(name for name in self._modules if name.startswith(top + ".")):
            if found and name.startswith(found[-1][0] + "."):  # sorting puts a package right before what is in it
                continue
            path = self._real_file(name)
            if path is not None:
                found.append((name, path))
        return found

    def _module(self, name: str) -> Any:
        return self._modules.get(name) or sys.modules.get(name)

    def _real_file(self, name: str) -> str | None:
        module = self._module(name)
        path = file_of(module)
        return None if path is None or _is_shared_namespace(module, path) else path

    def _owner(self, name: str, path: str) -> Distribution | None:
        if path.startswith(OWN_FOLDER):
            return OWN
        if self._installed is None:  # before a look at `_known`, which a change of any folder empties
            self._installed = installed()
        key = (name, path)
        owner = _known.get(key, _UNKNOWN)  # asked once: another thread may empty it in between
        if owner is _UNKNOWN:
            owner = _known[key] = self._find(name, os.path.abspath(path))
        return owner

    def _find(self, name: str, path: str) -> Distribution | None:
        folder, relative = split(name, path)
        top = name.partition(".")[0]
        unlisted = None
        for distribution in _likely_first(top, distributions_in(folder)):
            owned = distribution.owns(relative, top)
            if owned:
                return distribution
            if owned is None and distribution.key == normalized(top):
                unlisted = distribution
        return unlisted or self._editable(top, path)

    def _editable(self, top: str, path: str) -> Distribution | None:
        """Find the distribution that was installed as a pointer to the folder this module lies in."""
        everything = self._installed or {}
        if self._editables is None:
            sources = ((each.editable_source(), each) for each in everything.values())
            self._editables = [(source + os.sep, each) for source, each in sources if source]
        path = os.path.realpath(path)
        # what an environment inside the project holds is not the project's
        around = [
            (source, each)
            for source, each in self._editables
            if path.startswith(source) and INSTALLED.isdisjoint(path[len(source) :].split(os.sep))
        ]
        if around:
            # The innermost: a workspace may hold projects of its own.
            return max(around, key=lambda pair: (len(pair[0]), pair[1].key == normalized(top)))[1]
        named = everything.get(normalized(top))
        # Older tools leave no note of where they point to, only a distribution of that name that puts a folder on the
        # search path and has no such module itself.
        if named is not None and b".pth," in named.record() and not _lists_module(named, top):
            return named
        return None


def split(name: str, path: str) -> tuple[str, str]:
    """Split a module's file into the folder it is imported from and the rest, with slashes.

    Examples
    --------
    >>> split("google.cloud.storage", "/site/google/cloud/storage/__init__.py")
    ('/site', 'google/cloud/storage/__init__.py')
    """
    levels = name.count(".") + 1
    if os.path.basename(path).startswith("__init__."):
        levels += 1
    parts = path.split(os.sep)
    return os.sep.join(parts[:-levels]) or os.sep, "/".join(parts[-levels:])


def _likely_first(top: str, distributions: list[Distribution]) -> Iterator[Distribution]:
    """Yield those first whose name promises something, so that few lists of files are read."""
    key = normalized(top)
    bare = key.strip("-")
    hints = [normalized(hint) for hint in _HINTS.get(top, ())]
    likely, others = [], []
    for distribution in distributions:
        if distribution.key == key or distribution.key in hints:
            yield distribution
        elif bare in distribution.key or distribution.key in bare:
            likely.append(distribution)
        else:
            others.append(distribution)
    yield from likely
    if not top.startswith("_"):  # a helper beside a package, or of the environment itself: not worth reading all lists
        yield from others


def _lists_module(distribution: Distribution, top: str) -> bool:
    record, name = distribution.record(), top.encode()
    return any(b"\n" + name + end in record for end in (b"/", b".py,", b".so,", b".pyd,", b".cp", b".abi3"))


def _is_shared_namespace(module: Any, path: str) -> bool:
    """Say whether a package is one of the old kind that several distributions fill, each with the same few lines."""
    if not os.path.basename(path).startswith("__init__.py") or len(namespace_of(module)) > 20:
        return False
    text = _read(path, 2048) or b""
    return b"extend_path" in text or b"declare_namespace" in text
