"""The working tree as it is now, in the form of a record, so that it can be compared with runs.

Nothing in the tree is executed or imported: its files are read, and the interpreter is asked what is installed. So what
only a run would tell is not known, and `WorkingTree.limits` says what that is: the configuration, what comes out, and
which files would be read or imported anew. Where a fact cannot be had without a run, that of the run stands for it.

A record is other people's data: what it names outside of the folder is hashed and never shown.
"""

from __future__ import annotations

import os
import sys

from capture.errors import CaptureError
from capture.probes.notebook import is_cells
from capture.query._compared import MOST_READ_BYTES, content_of, listed, rows_of, text_of
from capture.query._input_differences import inputs_of
from capture.records import RunRecord, StoredFile, bytes_opener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from capture.query._input_differences import Input

PYTHON_TIMEOUT_S = 30.0  #: for another interpreter to list what is installed

#: what another interpreter is asked; alone (-I), so that nothing of a folder or of PYTHONPATH gets in
_ASK = """
import json, platform, sys
from importlib.metadata import distributions
build, _, rest = sys.version.partition("(")[2].partition(")")
found = {}
for each in distributions():
    if each.metadata["Name"]:
        found.setdefault(each.metadata["Name"], [each.version, each.read_text("direct_url.json")])
json.dump({"distributions": found, "version": platform.python_version(), "implementation": sys.implementation.name,
           "build": build, "compiler": rest.partition("[")[2].partition("]")[0], "executable": sys.executable},
          sys.stdout)
"""


class InterpreterError(CaptureError, ValueError):
    """An interpreter does not tell what is installed.

    Attributes
    ----------
    path, reason : str
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path} does not tell what is installed: {reason}\n"
            "  what to do:  name the python of an environment, as in --python=.venv/bin/python",
            print_traceback=False,
        )
        self.path, self.reason = path, reason

    def __reduce__(self) -> Any:
        return type(self), (self.path, self.reason)


class WorkingTree(RunRecord):
    """What is there now of what runs used; made by `working_tree`.

    Attributes
    ----------
    root : str or None
        The folder that the names of sources are relative to; None where the run's sources are not found.
    limits : list of str
        Sentences about what is not known of it.
    """

    is_working_tree = True
    description = "as it is now"

    def __init__(self, label: str) -> None:
        super().__init__(label=label)
        self.root: str | None = None
        self.limits: list[str] = []


def working_tree(
    runs: RunRecord | Sequence[RunRecord], folder: str | os.PathLike[str] = ".", python: str | None = None
) -> WorkingTree:
    """Look at a folder, this machine and an interpreter as a run would find them now.

    Parameters
    ----------
    runs : RunRecord or sequence of RunRecord
        What it is to be compared with: they name the files.
    folder : path
        Where their code lies now: the folder of the main file, or one around it that the run was started from.
    python : str, optional
        Path of the interpreter whose packages count; the one that runs this, if left out. It is asked in a process of
        its own, and imports nothing but the standard library.

    Raises
    ------
    NotADirectoryError
        If there is no such folder.
    InterpreterError
        If the interpreter does not tell.
    """
    given = [runs] if isinstance(runs, RunRecord) else list(runs)
    records: list[RunRecord] = [getattr(run, "record", run) for run in given]  # of a client's run, what the store holds
    place = os.path.abspath(folder)
    if not os.path.isdir(place):
        raise FolderNotFoundError(os.fspath(folder))
    reference = records[0]
    tree = WorkingTree(os.fspath(folder))
    tree.root = root_of(reference, place)
    tree.limits.append(
        f"the configuration of {tree.label} and what comes of it are not compared: nothing in the folder is executed"
    )
    tree.config, tree.meta, tree.command = reference.config, reference.meta, reference.command
    editables = _Editables(tree, reference, _look_at_packages(tree, reference, python))
    _look_at_sources(tree, records, place, editables)
    _look_at_inputs(tree, records)
    _look_at_repositories(tree, editables)
    _look_at_machine(tree, reference, place)
    return tree


class FolderNotFoundError(CaptureError, NotADirectoryError):
    """There is no folder of that name, and no run is called so either.

    Attributes
    ----------
    path : str
    """

    def __init__(self, path: str) -> None:
        super().__init__(
            f"there is no folder {path!r}\n  what to do:  name one that holds the code of the run, as in: diff -1 .",
            print_traceback=False,
        )
        self.path = path

    def __reduce__(self) -> Any:
        return type(self), (self.path,)


# -------------------------------------------------------------------------------------------------------------- sources


def root_of(run: RunRecord, folder: str) -> str | None:
    """Return the folder that stands for the run's base folder; None where its main file lies in none that may.

    The folder itself is tried first, then the place in it where the base folder lay in the folder that the run was
    started from, or in its repository; then the base folder itself, if it lies in the folder.
    """
    main = run.experiment.get("mainfile") or next((each.name for each in run.sources if not is_cells(each.name)), None)
    base = run.experiment.get("base_dir")
    candidates = [folder]
    if isinstance(base, str) and base:
        process = run.facts.get("process")
        around = [process.get("cwd") if isinstance(process, dict) else None]
        around += [state.get("root") for state in rows_of(run.facts.get("git"))]
        inside = [_below(base, outer) for outer in around if isinstance(outer, str)]
        candidates += [os.path.join(folder, each) for each in inside if each]
        if _below(base, folder) is not None:
            candidates.append(base)
    if not isinstance(main, str) or _path_in(folder, main) is None:
        return folder if main is None else None
    return next((each for each in candidates if os.path.isfile(os.path.join(each, main))), None)


def _below(path: str, outer: str) -> str | None:
    """Return a path relative to a folder that it lies in; None where it does not."""
    relative = os.path.relpath(path, outer) if os.path.isabs(path) and os.path.isabs(outer) else ".."
    return None if relative.split(os.sep)[0] == os.pardir else relative


def _path_in(root: str, name: str) -> str | None:
    """Return the path of a recorded name below a folder; None where it leads out of it."""
    if not name or os.path.isabs(name) or "\0" in name:
        return None
    path = os.path.join(root, *name.split("/"))
    real, real_root = os.path.realpath(path), os.path.realpath(root)
    return path if real == real_root or real.startswith(real_root.rstrip(os.sep) + os.sep) else None


class _Editables:
    """The folders of the packages whose files the run recorded as sources, being installed as a pointer to a folder.

    Where they lie is asked of the interpreter that counts, never taken from the record.

    Attributes
    ----------
    folders : dict
        By the name of the distribution, which begins the names of its sources.
    """

    def __init__(self, tree: WorkingTree, reference: RunRecord, editable: dict[str, str]) -> None:
        from capture.probes.packages import normalized

        imports = reference.facts.get("imports")
        rows = rows_of(imports.get("distributions") if isinstance(imports, dict) else None)
        recorded = [each for each in rows if each.get("sources") and isinstance(each.get("name"), str)]
        places = {each["name"]: editable.get(normalized(each["name"])) for each in recorded}
        self.folders = {name: folder for name, folder in places.items() if folder is not None}
        tree.facts["imports"] = {"distributions": [each for each in recorded if each["name"] in self.folders]}
        elsewhere = [name for name in places if name not in self.folders]
        if elsewhere:
            tree.limits.append(f"{listed(elsewhere)}: no editable install now, so that its files are not compared")

    def source(self, name: str) -> StoredFile | None:
        """Return a source of one of them as it is now."""
        distribution, _, rest = name.partition("/")
        folder = self.folders.get(distribution)
        return None if folder is None or _path_in(folder, rest) is None else _source(folder, rest, name)

    def paths(self, sources: Iterable[StoredFile]) -> Iterator[str]:
        """Yield where those of the sources lie that are of these packages."""
        for stored in sources:
            distribution, _, rest = stored.name.partition("/")
            if distribution in self.folders:
                yield os.path.join(self.folders[distribution], *rest.split("/"))


def _look_at_sources(tree: WorkingTree, records: Sequence[RunRecord], folder: str, editables: _Editables) -> None:
    names = list(dict.fromkeys(stored.name for run in records for stored in run.sources))
    if any(map(is_cells, names)):
        tree.limits.append(f"the cells of a notebook are in no file of {tree.label}: they are not compared")
    reference = records[0]
    tree.experiment.update(name=reference.name, base_dir=tree.root or folder)
    if reference.experiment.get("mainfile"):
        tree.experiment["mainfile"] = reference.experiment["mainfile"]
    if tree.root is None:
        main = reference.experiment.get("mainfile") or next(name for name in names if not is_cells(name))
        tree.limits.append(f"{main} of {_called(reference)} is not in {tree.label}: others were not sought")
        return
    for name in names:
        stored = _source(tree.root, name) or editables.source(name)
        if stored is not None:
            tree.sources.append(stored)
    recorded = {(stored.name, stored.digest) for run in records for stored in run.sources}
    changed = [each for each in tree.sources if (each.name, each.digest) not in recorded]
    if changed:
        _add_imports_of(tree, changed)
        these = listed([each.name for each in changed])
        tree.limits.append(f"what {these} would import or read anew is known for sure only when it runs")


def _called(run: RunRecord) -> str:
    return str(run.label if run.label is not None else run.uid[-8:])


def _source(root: str, name: str, called: str | None = None) -> StoredFile | None:
    """Return a source as it is now; of what lies outside of the folder, only the digest is told."""
    inside = _path_in(root, name)
    if inside is not None:
        data = _read(inside)
        return None if data is None else _stored(called or name, data)
    is_file = os.path.isabs(name) and os.path.isfile(name) and not _is_of_the_system(name)
    digest, size = _hashed(name) if is_file else (None, None)
    return None if digest is None else StoredFile(name, digest, size)


def _stored(name: str, data: bytes) -> StoredFile:
    from capture.digests import digests_of

    return StoredFile(name, digests_of(data, md5=False)[0], len(data), open=bytes_opener(data))


def _read(path: str) -> bytes | None:
    """Return the bytes of a plain file that is not too large; None for anything else."""
    if not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_READ_BYTES + 1)
    except OSError:
        return None
    return data if len(data) <= MOST_READ_BYTES else None


def _hashed(path: str) -> tuple[str | None, int | None]:
    from capture.probes.lineage.digesting import file_digest

    try:
        return file_digest(path), os.stat(path).st_size
    except OSError:
        return None, None


def _add_imports_of(tree: WorkingTree, changed: Iterable[StoredFile]) -> None:
    """Add the modules beside the main file that changed sources import by name, and those that these import."""
    assert tree.root is not None
    known = {stored.name for stored in tree.sources}
    waiting = list(changed)
    while waiting:
        stored = waiting.pop()
        for name in _local_modules(tree.root, stored):
            if name not in known:
                known.add(name)
                found = _source(tree.root, name)
                if found is not None:
                    tree.sources.append(found)
                    waiting.append(found)


def _local_modules(root: str, stored: StoredFile) -> list[str]:
    """Return names of files below a folder that the import statements of a source lead to."""
    import ast

    try:
        parsed = ast.parse(text_of(content_of(stored)) or "")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    modules: list[str] = []
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            modules += [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules += [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
    paths = [path for module in modules for path in _files_of(module)]
    return [path for path in dict.fromkeys(paths) if os.path.isfile(os.path.join(root, *path.split("/")))]


def _files_of(module: str) -> list[str]:
    parts = module.split(".")
    packages = ["/".join([*parts[:depth], "__init__.py"]) for depth in range(1, len(parts) + 1)]
    return ["/".join(parts) + ".py", *packages]


# ------------------------------------------------------------------------------------------------------------- packages


def _look_at_packages(tree: WorkingTree, reference: RunRecord, python: str | None) -> dict[str, str]:
    """Take the versions that are installed now for what the run imported, and list everything else.

    Returns
    -------
    dict
        The folders of editable installs, by the normal form of their names.
    """
    lock, facts = _ask_interpreter(python) if python is not None else _own_lock()
    executable = facts.get("executable") or python or sys.executable
    tree.limits.append(f"the packages of {tree.label} are those of {executable}")
    tree.host["python_version"] = facts.get("version")
    kept = _keep(tree, ".capture/environment.json", lock)
    tree.facts["environment"] = {"lock": kept, "python": facts}
    from capture.probes import environment
    from capture.probes.packages import normalized

    installed = list(rows_of(environment.read(lock)["distributions"]))
    versions = {normalized(str(each.get("name"))): each.get("version") for each in installed}
    used = {name: versions.get(normalized(name)) for name in reference.packages}
    tree.experiment["dependencies"] = [f"{name}=={version}" for name, version in used.items() if version is not None]
    return {normalized(str(each.get("name"))): str(each["editable"]) for each in installed if each.get("editable")}


def _own_lock() -> tuple[bytes, dict[str, Any]]:
    from capture.probes import environment

    documents: list[bytes] = []

    def keep(name: str, data: bytes) -> dict[str, Any]:
        documents.append(data)
        return {}

    facts = environment.lock(keep, None, None)
    return documents[0], facts["python"]


def _ask_interpreter(path: str) -> tuple[bytes, dict[str, Any]]:
    import subprocess

    from capture import plainjson
    from capture.probes.environment import FORMAT

    try:
        asked = [path, "-I", "-c", _ASK]
        nothing = subprocess.DEVNULL
        told = subprocess.run(asked, capture_output=True, timeout=PYTHON_TIMEOUT_S, check=True, stdin=nothing)
        answer = plainjson.loads(told.stdout)
        packages = [_distribution(name, *about) for name, about in answer.pop("distributions").items()]
    except subprocess.CalledProcessError as error:
        last = (error.stderr or b"").decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise InterpreterError(path, last or f"it ended with code {error.returncode}") from error
    except subprocess.TimeoutExpired as error:
        raise InterpreterError(path, f"no answer within {PYTHON_TIMEOUT_S:g} s") from error
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InterpreterError(path, str(error)) from error
    return plainjson.dumps({"format": FORMAT, "distributions": packages}).encode(), answer


def _distribution(name: str, version: str, direct_url: str | None) -> dict[str, str]:
    """Describe what another interpreter has installed, as the lock of an environment does."""
    from capture.probes.packages import parse_direct_url, path_of

    told = parse_direct_url(direct_url.encode()) if direct_url else {}
    folder = path_of(told["url"]) if told.get("dir_info", {}).get("editable") is True else None
    return {"name": name, "version": version, **({"editable": folder} if folder else {})}


def _keep(tree: WorkingTree, name: str, data: bytes) -> dict[str, Any]:
    stored = _stored(name, data)
    tree.kept.append(stored)
    return {"source": name, "digest": stored.digest, "size": stored.size}


# --------------------------------------------------------------------------------------------------------------- inputs


def _look_at_inputs(tree: WorkingTree, records: Sequence[RunRecord]) -> None:
    """Hash what the runs read, where it lies now."""
    entries: list[dict[str, Any]] = []
    fetched: list[str] = []
    seen: set[str] = set()
    for run in records:
        for name, recorded in inputs_of(run).items():
            if name in seen:
                continue
            seen.add(name)
            if "://" in recorded.path:
                fetched.append(name)
                entries.append({"path": name, "name": name, "digest": recorded.digest, "size": recorded.size})
                continue
            entry = _input_now(tree, run, name, recorded)
            if entry is not None:
                entries.append({**entry, "name": name})
    if fetched:
        tree.limits.append(f"{listed(fetched)}: URLs are not fetched again")
    tree.facts["lineage"] = {"inputs": entries}


def _input_now(tree: WorkingTree, run: RunRecord, name: str, recorded: Input) -> dict[str, Any] | None:
    """Describe an input as it is now, as lineage does; None where it is not there."""
    inside = _path_in(tree.root, name) if tree.root is not None else None
    path = inside if inside is not None and os.path.lexists(inside) else recorded.path
    if _is_of_the_system(path):
        tree.limits.append(f"{path} is made up by the system: it is not read, nor compared")
        return {"path": path, "digest": recorded.digest, "size": recorded.size}
    if recorded.manifest is not None:
        return _folder_now(tree, run, path, recorded)
    if not os.path.isfile(path):
        return None
    entry: dict[str, Any] = {"path": path, **_digest_now(path, _is_sampled_now(path, recorded))}
    if path == inside and (data := _read(path)) is not None:
        tree.resources.append(StoredFile(path, entry["digest"], entry["size"], open=bytes_opener(data)))
    return entry


def _is_of_the_system(path: str) -> bool:
    """Say whether a path leads to what the kernel makes up: to read it may take for ever, or do something."""
    return os.path.realpath(path).startswith(("/proc/", "/sys/"))


def _is_sampled_now(path: str, recorded: Input) -> bool:
    """Say whether a sample is enough: of what has grown beyond what a run hashes as a whole it tells as much."""
    from capture.settings import SETTINGS

    most = max(SETTINGS.LINEAGE.HASH_LIMIT_BYTES, recorded.size or 0)
    return recorded.is_sampled or os.stat(path).st_size > most


def _digest_now(path: str, sampled: bool) -> dict[str, Any]:
    """Return digest and size, by a sample where the record has one."""
    from capture.probes.lineage.digesting import Digester

    digester = Digester(None, 0 if sampled else sys.maxsize, sys.maxsize)
    digester.submit(path)
    digester.finish(float("inf") if sys.platform == "win32" else 86_400.0)
    found = digester.result(path) or {}
    entry = {"digest": found.get("digest"), "size": found.get("size")}
    for key in ("sampled", "why"):
        if found.get(key):
            entry[key] = found[key]
    return entry


def _folder_now(tree: WorkingTree, run: RunRecord, folder: str, recorded: Input) -> dict[str, Any] | None:
    """Make the manifest anew of the files of a folder that the run read."""
    from capture.digests import digests_of
    from capture.errors import RecordError
    from capture.probes.lineage.manifests import manifest_of, read_manifest

    if not os.path.isdir(folder):
        return None
    try:
        files = read_manifest(run.kept_file(str(recorded.manifest)).read())
    except (KeyError, OSError, RecordError):
        tree.limits.append(f"which files of {folder} were read is not in the store: it is not compared")
        return {"path": folder, "digest": recorded.digest, "size": recorded.size}
    now = []
    for file in files:
        path = os.path.join(folder, *file["name"].split("/"))
        if os.path.isfile(path) and not _is_of_the_system(path):
            now.append({**_digest_now(path, bool(file.get("sampled"))), "name": file["name"]})
    data = manifest_of(now)
    digest = digests_of(data, md5=False)[0]
    kept = _keep(tree, f".capture/manifests/{digest[:12]}.txt", data)
    size = sum(each["size"] or 0 for each in now)
    return {"path": folder, "files": len(now), "size": size, "digest": digest, "manifest": kept}


# --------------------------------------------------------------------------------------------- repository and machine


def _look_at_repositories(tree: WorkingTree, editables: _Editables) -> None:
    from capture.hooks import Unavailable
    from capture.probes import git

    # where the code of the run is not, the state of a repository says nothing about it
    found = git.repository_facts(tree.root) if tree.root is not None else Unavailable("the sources are not there")
    states = []
    if not isinstance(found, Unavailable):
        used = [os.path.join(str(tree.root), *each.name.split("/")) for each in tree.sources]
        used += [str(each["path"]) for each in rows_of(tree.facts["lineage"]["inputs"])]
        tree.experiment["repositories"] = [{key: found.get(key) for key in ("url", "commit", "dirty")}]
        states.append(_state(tree, found, used))
    roots = {state["root"] for state in states}
    for name, place in editables.folders.items():
        found = git.repository_facts(place)
        if not isinstance(found, Unavailable) and found["root"] not in roots:
            roots.add(found["root"])
            states.append(_state(tree, found, list(editables.paths(tree.sources)), name))
    if states:
        tree.facts["git"] = states


def _state(
    tree: WorkingTree, found: Mapping[str, Any], used: Sequence[str], distribution: str | None = None
) -> dict[str, Any]:
    """Describe a repository as a run does at its end."""
    from capture.probes import rebuild
    from capture.probes.host import plain

    keep: Callable[[str, bytes], dict[str, Any]] = lambda name, data: _keep(tree, name, data)  # noqa: E731
    state = rebuild.repository_state(found["root"], dict(found), used, keep, bundle_bytes=0, distribution=distribution)
    return dict(plain(state))


def _look_at_machine(tree: WorkingTree, reference: RunRecord, folder: str) -> None:
    """Ask the machine; what belongs to the process of a run and not to that of a command is taken as the run had it."""
    from capture.masking import Masker
    from capture.probes import gpu, host, machine
    from capture.probes.process import process_facts
    from capture.settings import SETTINGS

    now = host.plain(host.host_facts())
    tree.host.update({key: now[key] for key in ("hostname", "os", "cpu")}, ENV=reference.host.get("ENV"))
    tree.facts["machine"] = host.plain(machine.machine_facts(folder))
    if gpu.driver_present() or gpu.amd_folders():
        tree.facts["gpu"] = host.plain(gpu.gpu_details())
    recorded = reference.facts.get("process")
    if isinstance(recorded, dict) and "unavailable" not in recorded:
        now = host.plain(process_facts(SETTINGS.PROCESS.ENV))
        kept = {key: now[key] for key in ("locale", "time_zone", "user", "scheduler", "rank") if key in now}
        kept["environment"] = {**_others(recorded), **Masker().mask(now["environment"], "environment")}
        tree.facts["process"] = {**recorded, **kept, "hash_randomization": _hash_seed()}


def _others(recorded: dict[str, Any]) -> dict[str, str]:
    """Return the recorded variables that the settings do not ask for here: they stand as the run had them."""
    from capture.probes.process import chosen
    from capture.settings import SETTINGS

    variables = recorded.get("environment")
    told = variables if isinstance(variables, dict) else {}
    asked = chosen(SETTINGS.PROCESS.ENV, told)
    return {name: value for name, value in told.items() if name not in asked}


def _hash_seed() -> dict[str, Any]:
    """Return what a run that is started now would do about the hashes of strings."""
    setting = os.environ.get("PYTHONHASHSEED", "")
    if setting.isdecimal():
        return {"random": False, "seed": int(setting)}
    return {"random": True, "seed": None}
