"""What is installed: a lock of the whole environment, from which it can be built again.

`importlib.metadata` and ``pip freeze`` tell the same, in a tenth of a second and more. Name and version of a
distribution are in the name of its folder, so that few files have to be read; and as long as the folders on the search
path have not changed, the document of the last run is still right.
"""

from __future__ import annotations

import os
import sys
import time

from capture import plainjson
from capture._version import __version__
from capture.complaints import logger
from capture.probes import packages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from capture.probes.packages import Distribution

NAME = ".capture/environment.json"
FORMAT = 1
LARGEST_LOCK_FILE = 5_000_000  #: bytes

#: What tools call the files in which they write down what a project was resolved to.
LOCK_FILES = (
    "uv.lock",
    "pixi.lock",
    "poetry.lock",
    "pdm.lock",
    "Pipfile.lock",
    "pylock.toml",
    "conda-lock.yml",
    "environment.yml",
    "requirements.txt",
)

#: Of `sys.flags`, those that change what code does.
_FLAGS = ("dev_mode", "ignore_environment", "isolated", "no_site", "no_user_site", "optimize", "safe_path", "utf8_mode")
_SETTLED_NS = 2_000_000_000  # a folder that changed later than that may change again within one tick of its clock
_CONDA_KEYS = ("name", "version", "build", "channel", "url", "md5")


def lock(
    keep: Callable[[str, bytes], dict[str, Any]], project_folder: str | None, cache_dir: str | None = None
) -> dict[str, Any]:
    """Write down everything that is installed, and keep the lock files of the project.

    Parameters
    ----------
    keep : callable
        ``keep(name, data)`` stores bytes and returns ``{"source": name, "digest": SHA-256, "size": bytes}``.
    project_folder : str, optional
        Lock files are looked for there and, inside a git repository, above it up to the top.
    cache_dir : str, optional
        A folder of this library's own, made if need be, in which the document is left for the next run; None: nothing
        is left.

    Returns
    -------
    dict
        ``lock``: what `keep` said of the document, called `NAME`. ``distributions``: how many. ``python``: the
        interpreter, as in the document. ``conda``, inside a conda environment: list of "name=version=build".
        ``lock_files``: list of what `keep` said of the project's. ``notes``: list of str, what cannot be built again
        from versions alone.

    Notes
    -----
    The document is JSON: ``format`` (1); ``python`` (version, implementation, build, compiler, executable, prefix,
    base_prefix, abi, free_threaded, flags); ``platform`` (system, machine, pointer_bits, byteorder, libc or release);
    ``distributions``: by name, each with ``name`` (normalized as PEP 503 has it), ``version`` (str or None) and where
    it applies ``direct_url`` (PEP 610), ``editable`` (folder), ``installer`` and ``requested`` (True);
    ``conda``: list of dict with name, version, build, channel, url, md5. Nothing in it depends on the time: equal
    environments have equal documents. Passwords in URLs are masked.
    """
    document, count, conda, notes = _document(cache_dir)
    kept = keep(NAME, document)
    lock_files, more = _kept_lock_files(keep, project_folder)
    facts = {"lock": kept, "distributions": count, "python": python_facts()}
    if conda:
        facts["conda"] = conda
    return {**facts, "lock_files": lock_files, "notes": notes + more}


def read(document: bytes) -> dict[str, Any]:
    """Return a lock from its bytes.

    Raises
    ------
    ValueError
        If they are no lock, or of a later format.
    """
    found = plainjson.loads(document)
    if not isinstance(found, dict) or not isinstance(found.get("distributions"), list):
        raise ValueError(f"no lock of an environment: {document[:50]!r}...")
    if found.get("format") != FORMAT:
        raise ValueError(f"a lock of format {found.get('format')!r}; this version of the library reads {FORMAT}")
    return found


# ----------------------------------------------------------------------------------------------- the interpreter's part


def python_facts() -> dict[str, Any]:
    """Describe the interpreter: which, of whom, where."""
    build, _, rest = sys.version.partition("(")[2].partition(")")
    flags = {name: int(getattr(sys.flags, name, 0)) for name in _FLAGS}
    return {
        "version": sys.version.split()[0],
        "implementation": sys.implementation.name,
        "build": build,
        "compiler": rest.partition("[")[2].partition("]")[0],
        "executable": sys.executable,
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "abi": _abi(),
        "free_threaded": "free-threading" in sys.version,
        "flags": {name: value for name, value in flags.items() if value},
    }


def _abi() -> str:
    """Return what compiled modules are called for (``cpython-311-x86_64-linux-gnu``); `sysconfig` takes 2 ms to say."""
    from _imp import extension_suffixes

    suffixes = extension_suffixes()
    return suffixes[0].strip(".").rpartition(".")[0] if suffixes else ""


def platform_facts() -> dict[str, Any]:
    """Describe the platform as far as it decides what can be installed; no release of a kernel, which changes often."""
    facts = {"system": sys.platform, "byteorder": sys.byteorder, "pointer_bits": sys.maxsize.bit_length() + 1}
    if sys.platform == "linux":
        facts["machine"] = os.uname().machine
        try:
            facts["libc"] = os.confstr("CS_GNU_LIBC_VERSION") or "unknown"
        except (ValueError, OSError):
            facts["libc"] = "not glibc"
        return facts
    import platform

    return {**facts, "machine": platform.machine(), "release": platform.mac_ver()[0] or platform.release()}


# --------------------------------------------------------------------------------------------------------- the document


def _document(cache_dir: str | None) -> tuple[bytes, int, list[str], list[str]]:
    """Return the document, how many distributions are in it, the conda packages, and notes."""
    head = {"format": FORMAT, "library": __version__, "python": python_facts(), "platform": platform_facts()}
    places = _places()
    conda_meta = _conda_meta()
    head["conda"] = [conda_meta, _changed(conda_meta)] if conda_meta else None
    cache = None if cache_dir is None else _Cache(cache_dir)
    if cache is not None:
        known = cache.read(head, places)
        if known is not None:
            return known
    notes: list[str] = []
    found = [_described(each, notes) for _, each in sorted(packages.installed().items())]
    conda = _conda_packages(conda_meta) if conda_meta else []
    document = {"format": FORMAT, "python": head["python"], "platform": head["platform"], "distributions": found}
    if conda:
        document["conda"] = conda
    notes += _hidden(places)
    archives = [place for place in places if os.path.isfile(place)]
    notes += [f"what is installed in {archive} is not listed: it is no folder" for archive in archives]
    data = plainjson.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    result = (
        data.encode("utf-8", "surrogateescape"),
        len(found),
        [f"{each.get('name')}={each.get('version')}={each.get('build')}" for each in conda],
        notes,
    )
    if cache is not None:
        cache.write(head, places, result)
    return result


def _described(distribution: Distribution, notes: list[str]) -> dict[str, Any]:
    version = _version_of(distribution)
    entry: dict[str, Any] = {"name": distribution.key, "version": version}
    try:
        inside = os.listdir(distribution.info)
    except OSError:  # an .egg-info that is one file
        inside = []
    if "direct_url.json" in inside:
        told = distribution.direct_url()
        if told:
            entry["direct_url"] = told
            editable = distribution.editable_source()
            if editable:
                entry["editable"] = editable
    elif distribution.is_checkout():
        entry["editable"] = os.path.realpath(distribution.folder)
    if "INSTALLER" in inside:
        entry["installer"] = _first_line(os.path.join(distribution.info, "INSTALLER"))
    if "REQUESTED" in inside:
        entry["requested"] = True
    problem = _problem(entry)
    if problem:
        title = f"{distribution.key} {version}" if version else distribution.key
        notes.append(f"{title} cannot be installed again by version alone: {problem}")
    return entry


def _version_of(distribution: Distribution) -> str | None:
    version = os.path.basename(distribution.info).rpartition(".")[0].partition("-")[2]
    if distribution.info.endswith(".egg-info"):
        version = version.partition("-py")[0]
    if not version or "_" in version:  # not in the name, or not as it is written elsewhere
        version = distribution.identity()[1]
    return version or None


def _problem(entry: Mapping[str, Any]) -> str | None:
    told = entry.get("direct_url", {})
    if "editable" in entry:
        return f"it is an editable install of {entry['editable']}"
    if "vcs_info" in told:
        return f"it was taken from {told['url']}, commit {told['vcs_info'].get('commit_id')}"
    if told:
        return f"it was taken from {told['url']}"
    version = entry["version"]
    if version is None:
        return "its version is not known"
    return "its version is a local one, which only the index it came from has" if "+" in version else None


def _hidden(places: Mapping[str, int]) -> list[str]:
    """Say which distributions are installed twice, and which of the two Python finds."""
    notes = []
    first: dict[str, Distribution] = {}
    for place in places:
        for each in packages.distributions_in(place):
            winner = first.setdefault(each.key, each)
            if winner is not each and _version_of(winner) != _version_of(each):
                notes.append(
                    f"{each.key} is installed twice: {_version_of(winner)} in {winner.folder} hides "
                    f"{_version_of(each)} in {each.folder}"
                )
    return notes


def _first_line(path: str) -> str:
    # os.read: opening 150 small files as text takes as long as all the rest
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return ""
    try:
        return os.read(descriptor, 200).decode("utf-8", "replace").strip()
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _places() -> dict[str, int]:
    """Return the entries of the search path with the time of their last change, in ns; 0 for what is not there."""
    return {place: _changed(place) for place in packages.search_path()}


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


# ---------------------------------------------------------------------------------------------------------------- conda


def _conda_meta() -> str | None:
    """Return the folder in which conda describes what it installed into the environment that is in use."""
    for prefix in dict.fromkeys((sys.prefix, sys.base_prefix, os.environ.get("CONDA_PREFIX", ""))):
        folder = os.path.join(prefix, "conda-meta")
        if prefix and os.path.isdir(folder):
            return folder
    return None


def _conda_packages(folder: str) -> list[dict[str, str]]:
    found = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".json"):
            package = _conda_package(os.path.join(folder, name))
            if package:
                found.append(package)
    return found


def _conda_package(path: str) -> dict[str, str] | None:
    """Return what identifies a package; of the file, which lists every file in it, only the lines that tell.

    Conda indents by two blanks, so the keys of the outermost object are told from others by that. A file that is
    written in another way is read as a whole.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return None
    found = {}
    for key in _CONDA_KEYS:
        start = b'\n  "%s": "' % key.encode()
        at = data.find(start)
        end = data.find(b'"', at + len(start))
        if at < 0 or end < 0 or b"\\" in data[at:end]:
            found = _conda_package_in_full(data)
            break
        found[key] = data[at + len(start) : end].decode("utf-8", "replace")
    for key in ("channel", "url"):
        if key in found:
            found[key] = _public_channel(found[key])
    return found or None


def _conda_package_in_full(data: bytes) -> dict[str, str]:
    try:
        told = plainjson.loads(data)
    except ValueError:
        return {}
    return {key: told[key] for key in _CONDA_KEYS if isinstance(told.get(key), str)} if isinstance(told, dict) else {}


def _public_channel(url: str) -> str:
    """Mask passwords, and the token that private channels have in their path: ``https://host/t/TOKEN/channel``."""
    if "/t/" not in url and "@" not in url:
        return url
    from capture.secrets import mask_of, redact_url

    before, slash, rest = url.partition("/t/")
    _, further, channel = rest.partition("/")
    if slash and further and "://" in before:
        url = f"{before}/t/{mask_of('auth-token')}/{channel}"
    return redact_url(url)


# ----------------------------------------------------------------------------------------------------------- lock files


def _kept_lock_files(
    keep: Callable[[str, bytes], dict[str, Any]], folder: str | None
) -> tuple[list[dict[str, Any]], list[str]]:
    kept, notes = [], []
    for path in _lock_files(folder) if folder else ():
        try:
            size = os.stat(path).st_size
            if size > LARGEST_LOCK_FILE:
                notes.append(f"{path} is not kept: it has {size} bytes, more than {LARGEST_LOCK_FILE}")
                continue
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            notes.append(f"{path} is not kept: {error.strerror or error}")
            continue
        public = _public_text(data)
        if public != data:
            notes.append(f"{path} is kept with masks in place of the passwords in it")
        kept.append({**keep(f".capture/{os.path.basename(path)}", public), "path": path})
    return kept, notes


def _lock_files(folder: str) -> Iterator[str]:
    """Yield the nearest file of each kind, from a folder up to the top of its repository."""
    folders = [os.path.abspath(folder)]
    while not os.path.lexists(os.path.join(folders[-1], ".git")):
        parent = os.path.dirname(folders[-1])
        if parent == folders[-1]:
            folders = folders[:1]  # in no repository: what lies further up is another project's, or nobody's
            break
        folders.append(parent)
    for name in LOCK_FILES:
        for place in folders:
            path = os.path.join(place, name)
            if os.path.isfile(path):
                yield path
                break


def _public_text(data: bytes) -> bytes:
    from capture.secrets import replaced, secret_spans

    text = data.decode("utf-8", "surrogateescape")
    spans = [*secret_spans(text), *_channel_tokens(text)]
    return replaced(text, spans).encode("utf-8", "surrogateescape") if spans else data


def _channel_tokens(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield where the addresses of private conda channels have their token: ``https://host/t/TOKEN/channel``."""
    at = text.find("/t/")
    while at >= 0:
        end = text.find("/", at + 3)
        host = text[max(0, at - 300) : at].rpartition("://")
        if host[1] and host[2] and end > 0 and not any(char in "/ \t\n\"'" for char in host[2] + text[at + 3 : end]):
            yield at + 3, end, "auth-token"
        at = text.find("/t/", at + 3)


# -------------------------------------------------------------------------------------------- the document of last time


class _Cache:
    """The document as the last run has left it, one file per environment.

    The first line says what it was made from, the rest are its bytes. It is right as long as the interpreter is the
    same, the folders with distributions have not changed, and no other folder has got any.
    """

    def __init__(self, folder: str) -> None:
        from zlib import crc32

        self._checksum = crc32
        environment = os.fsencode(f"{sys.prefix}\n{sys.executable}\n{sys.version}")
        self._path = os.path.join(folder, f"environment-{crc32(environment):08x}.json")

    def read(self, head: dict[str, Any], places: Mapping[str, int]) -> tuple[bytes, int, list[str], list[str]] | None:
        """Return what was written, if it is still right."""
        try:
            with open(self._path, "rb") as file:
                first, _, document = file.read().partition(b"\n")
            told = plainjson.loads(first)
            if told["checksum"] != self._checksum(document) or told["head"] != head:
                return None
            full, empty = dict(told["full"]), dict(told["empty"])
            result = document, int(told["count"]), list(told["conda"]), list(told["notes"])
        except (OSError, ValueError, KeyError, TypeError):  # not there, or not whole: then it is made again
            return None
        if [(place, changed) for place, changed in places.items() if place in full] != list(full.items()):
            return None
        for place, changed in places.items():
            if place not in full and empty.get(place) != changed and packages.distributions_in(place):
                return None
        return result

    def write(
        self, head: dict[str, Any], places: Mapping[str, int], result: tuple[bytes, int, list[str], list[str]]
    ) -> None:
        """Leave the document for the next run, unless it may be wrong already."""
        settled = time.time_ns() - _SETTLED_NS
        full = [(place, changed) for place, changed in places.items() if packages.distributions_in(place)]
        filled = {place for place, _ in full}
        conda_changed = head["conda"][1] if head["conda"] else 0
        if conda_changed > settled or any(changed > settled for _, changed in full):
            return
        empty = [(place, changed) for place, changed in places.items() if place not in filled and changed < settled]
        document, count, conda, notes = result
        told = {
            "head": head,
            "full": full,
            "empty": empty,
            "checksum": self._checksum(document),
            "count": count,
            "conda": conda,
            "notes": notes,
        }
        temporary = f"{self._path}.{os.getpid()}"
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            with open(temporary, "wb") as file:
                file.write(plainjson.dumps(told).encode() + b"\n" + document)
            os.replace(temporary, self._path)
        except OSError as error:
            logger().info("The list of what is installed is not left for the next run: %s", error)


# ---------------------------------------------------------------------------------------------------- to build it again


def requirements_text(lock: Mapping[str, Any]) -> str:
    """Write a requirements file for pip from a lock, as `read` returns it.

    What pip cannot install again as it was is there with a comment that says why: local versions, editable installs,
    files of this machine. Conda's packages are not pip's, and only counted.
    """
    python, platform = lock.get("python", {}), lock.get("platform", {})
    lines = [f"# Python {python.get('version')} ({python.get('implementation')}), {platform.get('system')}"]
    if lock.get("conda"):
        lines.append(f"# {len(lock['conda'])} packages of conda are not listed here")
    for entry in lock["distributions"]:
        problem = _problem(entry)
        if problem and "vcs_info" not in entry.get("direct_url", {}):
            lines.append(f"# {problem}:")
        lines.append(_requirement(entry))
    return "\n".join(lines) + "\n"


def _requirement(entry: Mapping[str, Any]) -> str:
    name, version, told = entry["name"], entry["version"], entry.get("direct_url", {})
    if "editable" in entry:
        return f"-e {entry['editable']}"
    if told:
        url, vcs, archive = told["url"], told.get("vcs_info", {}), told.get("archive_info", {})
        if vcs:
            url = f"{vcs.get('vcs', 'git')}+{url}@{vcs.get('commit_id')}"
            if told["url"].startswith("file:"):  # no host in it: older versions of pip take only this form
                return f"{url}#egg={name}" + (f"&subdirectory={told['subdirectory']}" if "subdirectory" in told else "")
        marks = [f"subdirectory={told['subdirectory']}"] if "subdirectory" in told else []
        sha256 = archive.get("hashes", {}).get("sha256") or archive.get("hash", "").partition("sha256=")[2]
        marks += [f"sha256={sha256}"] if sha256 else []
        return f"{name} @ {url}" + (f"#{'&'.join(marks)}" if marks else "")
    return f"{name}=={version}" if version else name
