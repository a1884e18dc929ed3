"""The folder of a store: what it is called, what makes it one, which run lies where."""

from __future__ import annotations

import os

from capture._version import __version__
from capture.errors import ObserverError
from capture.observers import _atomic, _names
from capture.observers._run_folder import FORMAT, read_document
from capture.observers._writing import Blob, digests

PRIVATE = "_capture"  #: folder of the store's own files
SOURCES, RESOURCES = "_sources", "_resources"  #: folders of the files that runs share


def path_of(url: str | os.PathLike[str]) -> str:
    """Return the folder that a ``file:`` URL or a plain path names.

    Examples
    --------
    >>> path_of("file:///data/my%20runs"), path_of("file://runs"), path_of("runs")
    ('/data/my runs', 'runs', 'runs')
    """
    text = os.fspath(url)
    if text[:5].lower() == "file:":
        text = text[5:]
        if text.startswith("//"):
            text = text[2:]
            if text.startswith("localhost/"):
                text = text[len("localhost") :]
        if "%" in text:
            from urllib.parse import unquote

            text = unquote(text)
        if os.name == "nt" and text[:1] == "/" and text[2:3] == ":":
            text = text[1:]
    return os.path.expanduser(text)


def make_store(basedir: str, ignore_in_git: bool = False) -> bool:
    """Make the folders of a store where they are missing; say whether it belongs to a group.

    Raises
    ------
    ObserverError
        If the store was written by a later version of this library, in a format that this one does not know.
    """
    # a run spools its files below the private folder before its store hears of it, so that one may be there
    is_new = not os.path.isdir(basedir) or os.listdir(basedir) == [PRIVATE]
    _atomic.ensure_folder(basedir)
    shared = _atomic.is_shared(basedir)
    private = os.path.join(basedir, PRIVATE)
    marker = os.path.join(private, "format.json")
    if os.path.exists(marker):
        check_format(basedir)
        return shared
    _atomic.ensure_folder(private, shared)
    if shared:
        _atomic.open_to_group(private)  # a spool that came first knows nothing of groups
    _atomic.ensure_folder(os.path.join(private, "uids"), shared)
    if is_new and ignore_in_git:
        _atomic.write(os.path.join(basedir, ".gitignore"), b"*\n", shared)
    _atomic.write(marker, f'{{"format": {FORMAT}, "made_by": "capture {__version__}"}}\n'.encode(), shared)
    return shared


def check_format(basedir: str) -> None:
    """Refuse a store that a later version of this library made and that this one would misread."""
    try:
        marker = read_document(os.path.join(basedir, PRIVATE, "format.json"))
    except FileNotFoundError:
        return
    if not isinstance(marker, dict) or marker.get("format", FORMAT) > FORMAT:
        raise ObserverError(
            f"{basedir} has format {marker.get('format')}, made by {marker.get('made_by')};"
            f" this version ({__version__}) knows {FORMAT}.\n  to use it: upgrade capture"
        )


def find_uid(basedir: str, uid: str) -> str | None:
    """Return the folder of the run with this uid, also in the bin; None if there is none."""
    private = os.path.join(basedir, PRIVATE)
    try:
        with open(os.path.join(private, "uids", _names.safe_component(uid)), encoding="utf-8") as stream:
            name = stream.read().rstrip("\n")
    except FileNotFoundError:
        return None
    if not name or os.path.basename(name) != name:
        return None
    for path in (os.path.join(basedir, name), os.path.join(private, "bin", name)):
        if os.path.isdir(path):
            return path
    return None


def write_uid(basedir: str, uid: str, name: str, shared: bool) -> None:
    """Note which folder a run has, before anything is written into it: a start that is told twice finds it."""
    path = os.path.join(basedir, PRIVATE, "uids", _names.safe_component(uid))
    _atomic.write(path, f"{name}\n".encode(), shared)


def bring(blob: Blob, target: str, shared: bool) -> bool:
    """See that `target` holds the bytes; false if it holds others."""
    try:
        return os.stat(target).st_size == blob.size
    except FileNotFoundError:
        pass
    try:
        _atomic.take(blob.open, target, blob.digest, shared)
    except FileExistsError:  # another run stored it just now
        return os.stat(target).st_size == blob.size
    return True


def holds(path: str, digest: str) -> bool:
    """Say whether a file has these bytes: one that was stored before a crash, but not noted."""
    try:
        return os.path.isfile(path) and not os.path.islink(path) and digests(path)[0] == digest
    except OSError:
        return False


def relative(path: str, basedir: str) -> str | None:
    """Return `path` relative to the store, with "/"; None if it lies elsewhere."""
    path, root = os.path.realpath(path), os.path.realpath(basedir)
    if not path.startswith(root + os.sep):
        return None
    return path[len(root) + 1 :].replace(os.sep, "/")
