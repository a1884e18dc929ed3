"""From a store's URL to the classes that write, read and curate it; loaded when asked for.

Built-in schemes are a table. Those of other packages are entry points of the group ``capture.observers`` whose name is
the URL scheme and whose object is the observer class. The class has ``from_url(url)``, and where its store can be read
and curated, ``reader(url)`` and ``curator(url)``, which return a `capture.hooks.Reader` and `Curator`.
"""

from __future__ import annotations

import os
import sys

from capture.errors import ObserverError, suggest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from capture.hooks import Curator, Reader, RunObserver

GROUP = "capture.observers"
PROBE_GROUP = "capture.probes"

#: scheme -> "module:class"
BUILT_IN = {
    **dict.fromkeys(("s3", "s3a"), "capture.observers.s3:S3Observer"),
    **dict.fromkeys(("gs", "gcs"), "capture.observers.gcs:GoogleCloudStorageObserver"),
    **dict.fromkeys(
        ("abfs", "abfss", "az", "hdfs", "memory", "sftp", "ssh"), "capture.observers.remote:RemoteFolderObserver"
    ),
    "file": "capture.observers.file:FileStorageObserver",
    "mariadb": "capture.observers.sql:SqlObserver",
    "mongodb": "capture.observers.mongo:MongoObserver",
    "mongodb+srv": "capture.observers.mongo:MongoObserver",
    "mysql": "capture.observers.sql:SqlObserver",
    "mlflow": "capture.observers.mlflow:MlflowObserver",
    "notify": "capture.observers.notify:NotifyObserver",
    "postgres": "capture.observers.sql:SqlObserver",
    "postgresql": "capture.observers.sql:SqlObserver",
    "sql": "capture.observers.sql:SqlObserver",
    "sqlite": "capture.observers.sql:SqlObserver",
    "tinydb": "capture.observers.tinydb:TinyDbObserver",
}


def split_url(url: str) -> tuple[str, str]:
    """Return the scheme of a URL and the URL; a plain path has the scheme "file".

    Examples
    --------
    >>> split_url("runs")
    ('file', 'runs')
    >>> split_url("lab://portal/team")
    ('lab', 'lab://portal/team')
    >>> split_url("tinydb:runs_db")
    ('tinydb', 'tinydb:runs_db')
    """
    url = os.fspath(url)
    scheme, separator, _ = url.partition("://")
    if not separator:  # a scheme that is known may do without the slashes
        scheme = url.partition(":")[0] if ":" in url else ""
        separator = scheme.lower() if scheme.lower() in BUILT_IN else ""
    return (scheme.lower(), url) if separator else ("file", url)


def observer_class(url: str) -> Any:
    """Return the observer class for the scheme of `url`; an ObserverError lists the schemes that exist."""
    _refuse_empty(url)
    scheme, _ = split_url(url)
    _refuse_single_slash(url)
    _refuse_several(url)
    candidates = (scheme, scheme.partition("+")[0])  # "postgresql+psycopg" is handled by "postgresql"
    for candidate in candidates:
        if candidate in BUILT_IN:
            module, _, name = BUILT_IN[candidate].partition(":")
            return getattr(_import(module), name)
    plugins = plugin_classes(GROUP)
    for candidate in candidates:
        if candidate in plugins:
            return _load(plugins[candidate], candidate)
    if _is_filesystem(scheme):
        return observer_class("memory://")
    known = sorted({*BUILT_IN, *plugins})
    close = suggest(scheme, known)
    from capture.secrets import redact_url

    raise ObserverError(
        f"no store has the URL scheme {scheme!r} (in {redact_url(url)!r})."
        + (f"\n  did you mean:   {close}://" if close else "")
        + f"\n  known schemes:  {', '.join(known)}"
        + "\n  to add one:     install a package that declares it as an entry point of the group 'capture.observers'",
        print_traceback=False,
    )


def _is_filesystem(scheme: str) -> bool:
    """Say whether fsspec knows the scheme: then a store of run folders can lie there."""
    from importlib.util import find_spec

    if find_spec("fsspec") is None:
        return False
    from fsspec import available_protocols

    return scheme in available_protocols()


def _refuse_empty(url: str) -> None:
    """Refuse what a variable of the shell that is not set leaves: it would be the current folder."""
    if not os.fspath(url).strip():
        raise ObserverError(
            "an empty text names no store: is a variable not set?"
            "\n  for a folder:   runs; the current one is ."
            "\n  for others:     a URL; `capture observers` lists the schemes",
            print_traceback=False,
        )


def _refuse_several(url: str) -> None:
    """Refuse ``runs,tinydb:other``, which would be one folder of an odd name."""
    head, colon, rest = os.fspath(url).partition(":")
    first, comma, scheme = head.rpartition(",")
    if colon and comma and (rest.startswith("//") or scheme.strip().lower() in BUILT_IN):
        from capture.secrets import redact_url

        second = redact_url(f"{scheme.strip()}:{rest}")
        raise ObserverError(
            f"{first + comma + second!r} names several stores, where one is to be named."
            f"\n  on a command line:  -o {first} -o {second}"
            f"\n  in a script:        observers=[{first!r}, {second!r}]",
            print_traceback=False,
        )


def _refuse_single_slash(url: str) -> None:
    """Refuse ``lab:/folder``, which is no URL and hardly the name of a folder."""
    head, colon, rest = os.fspath(url).partition(":")
    if colon and len(head) > 1 and head.isalnum() and rest.startswith("/") and not rest.startswith("//"):
        from capture.secrets import redact_url

        meant = redact_url(f"{head}:/{rest}")
        shown = meant.replace("://", ":/", 1)
        raise ObserverError(
            f"{shown!r} is neither a URL nor a plain path.\n  did you mean:   {meant}\n  for a folder:   ./{shown}",
            print_traceback=False,
        )


def make_observer(url: str, **options: Any) -> RunObserver:
    """Return an observer that writes to the store at `url`."""
    return observer_class(url).from_url(url, **options)


def open_reader(url: str) -> Reader:
    """Return a reader of the store at `url`."""
    return _side(url, "reader", "read")


def open_curator(url: str) -> Curator:
    """Return the curator of the store at `url`."""
    return _side(url, "curator", "changed")


def _side(url: str, name: str, verb: str) -> Any:
    cls = observer_class(url)
    make = getattr(cls, name, None)
    if make is None:
        raise ObserverError(f"{cls.__module__}.{cls.__qualname__} writes runs, but its store cannot be {verb}")
    return make(url)


def declares(group: str) -> bool:
    """Say whether an installed package declares entry points in `group`.

    It looks at the files that installers write, which takes 1 ms for 100 packages, where `importlib.metadata` takes 30.
    Packages in zip files and eggs are not seen.
    """
    return _remembered(("declares", group), lambda: _is_declared(f"[{group}]".encode()))


def plugin_classes(group: str) -> dict[str, Any]:
    """Return the entry points that installed packages declare in `group`, by name."""

    def look() -> dict[str, Any]:
        from importlib.metadata import entry_points

        return {entry.name: entry for entry in entry_points(group=group)}

    return dict(_remembered(("classes", group), look))


_seen: dict[Any, tuple[Any, Any]] = {}  # what `_remembered` found, and the state of the folders when it did


def _remembered(question: Any, look: Callable[[], Any]) -> Any:
    """Return what `look` found, now or when it was asked last; it looks again when a package may have come or gone."""
    state = tuple((folder, _changed_at(folder or os.curdir)) for folder in sys.path)
    known = _seen.get(question)
    if known is None or known[0] != state:
        known = _seen[question] = (state, look())
    return known[1]


def _changed_at(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


def _is_declared(section: bytes) -> bool:
    for folder in dict.fromkeys(sys.path):
        try:
            names = os.listdir(folder or os.curdir)
        except OSError:  # a zip file, or nothing
            continue
        for name in names:
            if not name.endswith((".dist-info", ".egg-info")):
                continue
            try:
                with open(os.path.join(folder, name, "entry_points.txt"), "rb", buffering=0) as stream:
                    if section in stream.read():
                        return True
            except OSError:  # it declares nothing
                pass
    return False


def _load(entry: Any, scheme: str) -> Any:
    try:
        return entry.load()
    except Exception as error:
        raise ObserverError(
            f"the store for {scheme}:// is {entry.value!r} of the package {package_of(entry)!r}, "
            f"which cannot be imported: {type(error).__name__}: {error}"
        ) from error


def package_of(entry: Any) -> str:
    """Return the name of the package that declares an entry point."""
    distribution = getattr(entry, "dist", None)
    return distribution.name if distribution is not None else "?"


def _import(module: str) -> Any:
    from importlib import import_module

    return import_module(module)
