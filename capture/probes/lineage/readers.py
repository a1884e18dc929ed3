"""Which functions of which libraries open which files, and the wrappers that tell.

A wrapper is a plain Python function that carries the name, the documentation and the signature of what it wraps, and it
takes its place wherever the library itself keeps it. So it is pickled by name, makes bound methods, and shows its
signature, as what it wraps does. Classes are not replaced: what is wrapped is their `__init__`, where that can be set.
"""

from __future__ import annotations

import os
import sys
from functools import wraps
from time import time

from capture.imported import is_being_imported
from capture.probes._modules import file_of, namespace_of
from capture.probes.lineage import hook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    Note = tuple[Any, bool]  #: a path or several, and whether they are written
    Opens = Callable[[Sequence[Any], Mapping[str, Any]], Iterable[Note]]  #: from the arguments of a call
    Opened = Callable[[Any, Sequence[Any], Mapping[str, Any], float], Iterable[Note]]
    #: from its result, the arguments, and when it was called, in seconds since the epoch

#: Library: oldest and newest version that the tests were run with, as exactly as it matters: before 1.7.5, netCDF4's
#: classes could not be wrapped.
TESTED = {
    "h5py": ("3.8", "3.16"),
    "netCDF4": ("1.7.5", "1.7.5"),
    "pyarrow": ("15.0", "26.0"),
    "polars": ("1.0", "2.1"),
    "duckdb": ("1.0", "2.0"),
    "cv2": ("4.8", "5.0"),
    "safetensors": ("0.4", "0.8"),
    "lmdb": ("1.4", "3.0"),
    "soundfile": ("0.12", "0.14"),
    "torch": ("2.13", "2.13"),
}

#: What the wrappers of a library do not see, though it is one that was tested.
UNSEEN = {
    "h5py": "files behind external links and virtual datasets",
    "pyarrow": "files opened by pyarrow.OSFile, CSVWriter or through a filesystem object",
    "polars": "Excel, Delta and Iceberg tables, and partitioned sinks",
    "duckdb": "files named in SQL (FROM 'file', COPY, ATTACH)",
    "cv2": "networks, classifiers and image sequences",
    "safetensors": "files opened by safe_open",
    "lmdb": "environments made by lmdb.Environment instead of lmdb.open",
    "torch": "files opened by compiled extensions",
}


class Target:
    """A function to be wrapped.

    Parameters
    ----------
    path : str
        Its name in the module; "Class.method" for what belongs to a class.
    opens : callable, optional
        Says what a call with these arguments is about to open.
    opened : callable, optional
        Says what a call has opened that returned this result.
    """

    __slots__ = ("opened", "opens", "path")

    def __init__(self, path: str, opens: Opens | None = None, opened: Opened | None = None) -> None:
        self.path, self.opens, self.opened = path, opens, opened


# --- what is opened, from the arguments ---


def _argument(args: Sequence[Any], named: Mapping[str, Any], place: int, name: str, default: Any = None) -> Any:
    return args[place] if len(args) > place else named.get(name, default)


def _reads(name: str, place: int = 0) -> Opens:
    """A function that reads the files in an argument; not if a file system is given that is not this machine's."""

    def opens(args: Sequence[Any], named: Mapping[str, Any]) -> Iterator[Note]:
        if _is_local(named.get("filesystem")):
            yield _argument(args, named, place, name), False

    return opens


def _writes(name: str, place: int = 0) -> Opens:
    """A function that writes the file in an argument."""

    def opens(args: Sequence[Any], named: Mapping[str, Any]) -> Iterator[Note]:
        if _is_local(named.get("filesystem")):
            yield _argument(args, named, place, name), True

    return opens


def _by_mode(name: str, place: int, mode_place: int, default: str = "r") -> Opens:
    """A function with an argument `mode` like that of `open`: "r", and what is neither that nor begins anew is both."""

    def opens(args: Sequence[Any], named: Mapping[str, Any]) -> Iterator[Note]:
        path, mode = _argument(args, named, place, name), _argument(args, named, mode_place, "mode", default) or default
        if mode[:1] not in ("w", "x"):
            yield path, False
        if mode[:1] != "r" or "+" in mode:
            yield path, True

    return opens


def _h5py_file(args: Sequence[Any], named: Mapping[str, Any]) -> Iterable[Note]:
    if named.get("driver") == "core" and not named.get("backing_store", True):
        return ()  # in memory alone
    return _by_mode("name", 1, 2)(args, named)


def _netcdf_dataset(args: Sequence[Any], named: Mapping[str, Any]) -> Iterable[Note]:
    if named.get("memory") is not None or (named.get("diskless") and not named.get("persist")):
        return ()
    return _by_mode("filename", 1, 2)(args, named)


def _duckdb_connect(args: Sequence[Any], named: Mapping[str, Any]) -> Iterator[Note]:
    path = _argument(args, named, 0, "database", ":memory:")
    name = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
    if name and not name.startswith(":"):
        # Whether anything is written into a database that was there shows when the run is over.
        yield path, not os.path.exists(path)


def _lmdb_open(args: Sequence[Any], named: Mapping[str, Any]) -> Iterator[Note]:
    folder = _argument(args, named, 0, "path")
    path = os.path.join(os.fsdecode(folder), "data.mdb") if named.get("subdir", True) else folder
    yield path, not named.get("readonly", False) and not os.path.exists(path)


# --- what was opened, from the result ---


def _dataset_files(name: str, place: int, of_self: bool = False) -> Opened:
    """A function that makes a pyarrow dataset of a path or several: it knows its files, and scans them later.

    Only of paths: asked for the file system of a dataset that was made of something else, pyarrow ends the process.
    """

    def opened(result: Any, args: Sequence[Any], named: Mapping[str, Any], since: float) -> Iterator[Note]:
        source, dataset = _argument(args, named, place, name), args[0] if of_self else result
        if _is_local(named.get("filesystem")) and any(True for _ in _paths(source, write=False)):
            yield list(dataset.files), False

    return opened


def _new_files(name: str, place: int) -> Opened:
    """A function that fills a folder: what is newer there than its call was written by it."""

    def opened(result: Any, args: Sequence[Any], named: Mapping[str, Any], since: float) -> Iterator[Note]:
        folder = _argument(args, named, place, name)
        if not _is_local(named.get("filesystem")) or not isinstance(folder, (str, os.PathLike)):
            return
        if os.path.isdir(folder):
            yield [path for path in _files_below(folder) if os.stat(path).st_mtime >= since], True

    return opened


def _is_local(filesystem: Any) -> bool:
    return filesystem is None or type(filesystem).__name__ == "LocalFileSystem"


# --- the table ---

_POLARS_READERS = (
    *("avro", "csv", "ipc", "ipc_schema", "ipc_stream", "json", "lines", "ndjson"),
    *("parquet", "parquet_metadata", "parquet_schema"),
)
_POLARS_WRITERS = ("avro", "csv", "ipc", "ipc_stream", "json", "ndjson", "parquet")
_SAFETENSORS = (
    Target("load_file", _reads("filename")),
    Target("save_file", _writes("filename", 1)),
)

TABLE: dict[str, tuple[Target, ...]] = {
    "h5py": (Target("File.__init__", _h5py_file),),
    "netCDF4": (Target("Dataset.__init__", _netcdf_dataset), Target("MFDataset.__init__", _reads("files", 1))),
    "pyarrow": (
        Target("memory_map", _by_mode("path", 0, 1)),
        Target("create_memory_map", _writes("path")),
        Target("input_stream", _reads("source")),
        Target("output_stream", _writes("source")),
    ),
    "pyarrow.parquet": (
        Target("ParquetFile.__init__", _reads("source", 1)),
        Target("ParquetWriter.__init__", _writes("where", 1)),
        Target("ParquetDataset.__init__", opened=_dataset_files("path_or_paths", 1, of_self=True)),
        Target("read_table", _reads("source")),
        Target("read_metadata", _reads("where")),
        Target("read_schema", _reads("where")),
    ),
    "pyarrow.csv": (
        Target("read_csv", _reads("input_file")),
        Target("open_csv", _reads("input_file")),
        Target("write_csv", _writes("output_file", 1)),
    ),
    "pyarrow.json": (Target("read_json", _reads("input_file")), Target("open_json", _reads("input_file"))),
    "pyarrow.feather": (
        Target("read_table", _reads("source")),
        Target("read_feather", _reads("source")),
        Target("write_feather", _writes("dest", 1)),
    ),
    "pyarrow.dataset": (
        Target("dataset", opened=_dataset_files("source", 0)),
        Target("write_dataset", opened=_new_files("base_dir", 1)),
    ),
    "pyarrow.ipc": (
        Target("RecordBatchFileReader.__init__", _reads("source", 1)),
        Target("RecordBatchStreamReader.__init__", _reads("source", 1)),
        Target("RecordBatchFileWriter.__init__", _writes("sink", 1)),
        Target("RecordBatchStreamWriter.__init__", _writes("sink", 1)),
    ),
    "pyarrow.orc": (
        Target("ORCFile.__init__", _reads("source", 1)),
        Target("ORCWriter.__init__", _writes("where", 1)),
        Target("read_table", _reads("source")),
        Target("write_table", _writes("where", 1)),
    ),
    "polars": (
        *(Target(f"read_{kind}", _reads("source")) for kind in _POLARS_READERS),
        *(Target(f"scan_{kind}", _reads("source")) for kind in ("csv", "ipc", "lines", "ndjson", "parquet")),
        *(
            Target(f"DataFrame.write_{kind}", _writes("file", 1), _new_files("file", 1) if kind == "parquet" else None)
            for kind in _POLARS_WRITERS
        ),
        *(Target(f"LazyFrame.sink_{kind}", _writes("path", 1)) for kind in ("csv", "ipc", "ndjson", "parquet")),
    ),
    "duckdb": (
        Target("connect", _duckdb_connect),
        *(Target(f"read_{kind}", _reads("path_or_buffer")) for kind in ("csv", "json", "parquet")),
        *(Target(f"from_{kind}", _reads("path_or_buffer")) for kind in ("csv_auto", "parquet")),
        Target("write_csv", _writes("filename", 1)),
        *(
            Target(f"DuckDBPyConnection.{name}", _reads("path_or_buffer", 1))
            for name in ("read_csv", "read_json", "read_parquet", "from_csv_auto", "from_parquet")
        ),
        *(
            Target(f"DuckDBPyRelation.{name}", _writes("file_name", 1), _new_files("file_name", 1))
            for name in ("to_csv", "to_parquet", "write_csv", "write_parquet")
        ),
    ),
    "cv2": (
        *(Target(name, _reads("filename")) for name in ("imread", "imreadmulti", "imreadanimation", "imcount")),
        *(Target(name, _writes("filename")) for name in ("imwrite", "imwritemulti", "imwriteanimation")),
        Target("VideoCapture.__init__", _reads("filename", 1)),
        Target("VideoCapture.open", _reads("filename", 1)),
        Target("VideoWriter.__init__", _writes("filename", 1)),
        Target("VideoWriter.open", _writes("filename", 1)),
    ),
    "safetensors": (),
    "safetensors.numpy": _SAFETENSORS,
    "safetensors.torch": _SAFETENSORS,
    "lmdb": (Target("open", _lmdb_open),),
    "soundfile": (Target("SoundFile.__init__", _by_mode("file", 1, 2)),),
    "torch": (Target("save", _writes("f", 1)),),
    "torch.jit": (
        Target("load", _reads("f")),
        Target("save", _writes("f", 1)),
        Target("RecursiveScriptModule.save", _writes("f", 1)),
    ),
}

#: Libraries of so many modules that only those are looked through that are named here.
ALIASES = {"torch": ("torch", "torch.serialization", "torch.jit", "torch.jit._serialization")}

_state: dict[str, dict[str, None]] = {}  # library: sentences for `coverage`, in order


# --- wrapping ---


def wrap(module: Any) -> None:
    """Wrap what the table lists for a module that was imported."""
    name = module.__name__
    library = name.partition(".")[0]
    notes = _state.setdefault(library, {})
    problem = _untested(library)
    if problem:
        notes[problem] = None
        return
    replaced: dict[int, tuple[Any, Any]] = {}  # by id of the original: the original, its wrapper
    for target in TABLE[name]:
        owner, attribute = _owner_of(module, target.path)
        original = namespace_of(owner).get(attribute) if owner is module else getattr(owner, attribute, None)
        if original is None or hasattr(original, "__capture_target__"):
            continue  # another version has no such function; or it is wrapped
        _, wrapper = replaced.get(id(original)) or (None, _wrapper(library, target, original))  # it may have two names
        try:
            setattr(owner, attribute, wrapper)
        except (AttributeError, TypeError) as error:
            notes[f"{name}.{target.path} cannot be watched: {error}"] = None
            continue
        if owner is module and not isinstance(original, type):  # the class itself stays what it is elsewhere
            replaced[id(original)] = original, wrapper
    _replace(library, replaced)
    if is_being_imported(module):
        return  # nobody can have taken anything from it yet
    for holder, names in _held_by_users(library, replaced).items():
        sentence = f"{holder} took {', '.join(names)} from {library} before the run: what they open is not seen"
        notes[sentence] = None


def coverage() -> list[str]:
    """Say what the libraries that are imported did or do unseen."""
    return [note for notes in _state.values() for note in notes]


def limits() -> list[str]:
    """Say what the libraries that are imported could do unseen, although they are wrapped."""
    return [f"{library}'s {UNSEEN[library]}" for library in _state if library in UNSEEN and not _untested(library)]


def _untested(library: str) -> str | None:
    """Say why a library is not wrapped; None if it is."""
    version = str(namespace_of(sys.modules.get(library)).get("__version__", "of unknown version"))
    oldest, newest = TESTED[library]
    low, high = _number(oldest), _number(newest)
    number = _number(version)[: len(low)]
    if low <= number <= high:
        return None
    how = "newer than" if number > high else "older than" if number else "not"
    tested = oldest if oldest == newest else f"{oldest} to {newest}"
    return f"{library} {version} is {how} what was tested ({tested}): the files it opens past Python are not seen"


def _number(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with."""
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def _owner_of(module: Any, path: str) -> tuple[Any, str]:
    owner = module
    *classes, attribute = path.split(".")
    for name in classes:
        owner = getattr(owner, name, None)
    return owner, attribute


def _wrapper(library: str, target: Target, original: Any) -> Any:
    opens, opened = target.opens, target.opened

    @wraps(original)
    def call(*args: Any, **named: Any) -> Any:
        if not hook.active():
            return original(*args, **named)
        if opens is not None:
            _tell(library, target, opens, args, named)
        if opened is None:
            return original(*args, **named)
        since = time() - 0.01  # file systems' clocks lag behind by a tick
        result = original(*args, **named)
        _tell(library, target, lambda args, named: opened(result, args, named, since), args, named)
        return result

    call.__capture_target__ = target  # type: ignore[attr-defined]
    return call


def _tell(library: str, target: Target, opens: Opens, args: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Report what a call opens; whatever goes wrong is written down, and the call goes on."""
    try:
        for value, write in opens(args, named):
            for path in _paths(value, write):
                hook.note(path, write, library)
    except Exception as error:  # noqa: BLE001 - arguments may be anything, and are judged by who was called
        import logging

        sentence = f"{library}.{target.path} was called in a way that is not understood: what it opened is not seen"
        _state.setdefault(library, {})[sentence] = None
        logging.getLogger("capture").debug("%s (%r)", sentence, error)


def _paths(value: Any, write: bool) -> Iterator[Any]:
    """Yield the files that an argument names: a path, a pattern, a folder, or several of them; not URLs."""
    if isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _paths(item, write)
        return
    if not isinstance(value, (str, bytes, os.PathLike)):
        return
    path = os.fsdecode(value)
    if path.startswith("file://"):
        path = path[len("file://") :]
    if "://" in path:
        return
    path = os.path.expanduser(path)
    if write:
        if not os.path.isdir(path):
            yield path
    elif os.path.isdir(path):
        yield from _files_below(path)
    elif any(sign in path for sign in "*?[") and not os.path.exists(path):
        from glob import iglob

        yield from iglob(path, recursive=True)
    else:
        yield path


def _files_below(folder: Any) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (os.path.join(parent, name) for name in files if not name.startswith("."))


# --- names that others hold ---


def _replace(library: str, replaced: dict[int, tuple[Any, Any]]) -> None:
    """Put the wrappers wherever the library itself keeps what they wrap: there pickle looks for them, too."""
    if not replaced:
        return
    own = library, "_" + library
    for name in ALIASES.get(library) or [name for name in list(sys.modules) if name.startswith(own)]:
        module = sys.modules.get(name)
        for attribute, value in list(namespace_of(module).items()):
            found = replaced.get(id(value))
            if found is not None and found[0] is value:
                setattr(module, attribute, found[1])


def _held_by_users(library: str, replaced: dict[int, tuple[Any, Any]]) -> dict[str, list[str]]:
    """Return which modules of the user hold originals: those that took them by ``from ... import`` before."""
    held: dict[str, list[str]] = {}
    if not replaced:
        return held
    installed = tuple(os.path.join(prefix, "") for prefix in {sys.prefix, sys.base_prefix})
    for name, module in list(sys.modules.items()):
        path = file_of(module)
        if _is_installed(path, installed) if path else name != "__main__":
            continue
        names = [
            attribute
            for attribute, value in list(namespace_of(module).items())
            if id(value) in replaced and replaced[id(value)][0] is value
        ]
        if names:
            held[name] = sorted(names)
    return held


def _is_installed(path: str, prefixes: tuple[str, ...]) -> bool:
    # A project may keep its environment within itself, and be within one.
    return "site-packages" in path or path.startswith(prefixes)
