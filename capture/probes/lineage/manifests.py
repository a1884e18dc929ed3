"""Manifests: what a folder of many files held, as one text, so that one digest stands for all of them.

A manifest has a line for each file, sorted by path (by Unicode code points)::

    DIGEST  SIZE  PATH

with two spaces between, UTF-8, and a line feed after each line. DIGEST is the SHA-256 of the file in hexadecimal, or
that of a sample of it after a ``~``, or ``-`` where there is none. SIZE is in bytes, or ``-``. PATH is relative to the
folder, its parts joined by ``/``. In it a backslash is written ``\\\\``; a control character, a line separator
(U+2028, U+2029) or a byte that is no UTF-8 (for Python a lone surrogate) is written ``\\n``, ``\\r``, ``\\t``,
``\\xNN`` or ``\\uNNNN``. Times are not in it: folders with the same files have the same manifest.
"""

from __future__ import annotations

import os

from capture.complaints import logger
from capture.digests import digests_of
from capture.errors import RecordError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    Entry = dict[str, Any]
    Keep = Callable[[str, bytes], dict[str, Any]]

FOLDER = ".capture/manifests"  #: of the names under which manifests are kept
FEW = 10  #: a folder's stray files, at most threshold / FEW of them, do not draw the folders beside them into one
SPLITS = 8  #: so many folders of folders, as train, val and test, get a manifest each; more become one


# -------------------------------------------------------------------------------------------------------------- format


def manifest_of(files: Iterable[Entry]) -> bytes:
    """Write a manifest.

    Parameters
    ----------
    files : iterable of dict
        "name" : path relative to the folder, with "/"; "size" and "digest" : as above, or None; "sampled" : bool,
        optional.

    Returns
    -------
    bytes
    """
    lines = []
    for file in sorted(files, key=_name):
        digest, size = file.get("digest") or "-", file.get("size")
        if file.get("sampled") and digest != "-":
            digest = f"~{digest}"
        lines.append(f"{digest}  {'-' if size is None else size}  {_escaped(file['name'])}\n")
    return "".join(lines).encode()


def read_manifest(data: bytes) -> list[Entry]:
    """Read a manifest.

    Returns
    -------
    list of dict
        As `manifest_of` takes them, sorted by name; "sampled" is there where it is true.

    Raises
    ------
    RecordError
        If it is none, or names a file outside of its folder.
    """
    files = []
    try:
        text = data.decode()
        if text and not text.endswith("\n"):
            raise ValueError("its last line is cut off")
        for number, line in enumerate(text.split("\n")[:-1], 1):
            files.append(_read_line(line, number))
    except ValueError as error:
        raise RecordError(f"this is no manifest of a folder: {error}") from error
    return files


def compare_manifests(old: bytes, new: bytes) -> dict[str, list[str]]:
    """Tell what has become of the files of a folder.

    Returns
    -------
    dict
        Sorted names under "added", "removed", "changed", and "unsure": of the same size as far as is known, and not
        both with a digest of the same kind.
    """
    before = {file["name"]: file for file in read_manifest(old)}
    after = {file["name"]: file for file in read_manifest(new)}
    differences: dict[str, list[str]] = {"added": [], "removed": [], "changed": [], "unsure": []}
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            differences["added"].append(name)
        elif name not in after:
            differences["removed"].append(name)
        elif (kind := _difference(before[name], after[name])) is not None:
            differences[kind].append(name)
    return differences


def _difference(old: Entry, new: Entry) -> str | None:
    sizes = {old["size"], new["size"]} - {None}
    if len(sizes) > 1:
        return "changed"
    if old["digest"] is None or new["digest"] is None or old.get("sampled") != new.get("sampled"):
        return "unsure"
    return None if old["digest"] == new["digest"] else "changed"


def _name(file: Entry) -> str:
    return str(file["name"])


def _read_line(line: str, number: int) -> Entry:
    fields = line.split("  ", 2)
    if len(fields) != 3:
        raise ValueError(f"line {number} is not DIGEST  SIZE  PATH: {line[:100]!r}")
    digest, size, path = fields
    sampled = digest.startswith("~")
    digest = digest[sampled:]
    if digest != "-" and (len(digest) != 64 or digest.strip("0123456789abcdef")):
        raise ValueError(f"line {number} begins with no SHA-256: {line[:100]!r}")
    if size != "-" and not (size.isascii() and size.isdigit()):
        raise ValueError(f"line {number} has no size: {line[:100]!r}")
    name = _unescaped(path, number)
    if name.startswith("/") or {"", ".", ".."} & set(name.split("/")):
        raise ValueError(f"line {number} names what is not a file below the folder: {name!r}")
    file: Entry = {
        "name": name,
        "size": None if size == "-" else int(size),
        "digest": None if digest == "-" else digest,
    }
    if sampled:
        file["sampled"] = True
    return file


_LETTERS = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}
_MEANINGS = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


def _escaped(name: str) -> str:
    # what counts as printable beyond ASCII differs between versions of Python, and the digest must not
    if name.isascii() and name.isprintable() and "\\" not in name:
        return name
    return "".join(map(_escaped_character, name))


def _escaped_character(character: str) -> str:
    code = ord(character)
    if character in _LETTERS:
        return _LETTERS[character]
    if code < 0x20 or 0x7F <= code < 0xA0:
        return f"\\x{code:02x}"
    if 0xD800 <= code < 0xE000 or code in (0x2028, 0x2029):
        return f"\\u{code:04x}"
    return character


def _unescaped(path: str, number: int) -> str:
    first, *rest = path.split("\\")
    pieces, parts = [first], iter(rest)
    for part in parts:
        kind = part[:1]
        if not kind:  # a backslash is what two of them mean, and nothing is between the two
            after = next(parts, None)
            if after is None:
                raise ValueError(f"line {number} ends within an escape: {path[:100]!r}")
            pieces.append("\\" + after)
        elif kind in _MEANINGS:
            pieces.append(_MEANINGS[kind] + part[1:])
        elif kind in "xu":
            digits = part[1 : 3 if kind == "x" else 5]
            if len(digits) != (2 if kind == "x" else 4) or digits.strip("0123456789abcdef"):
                raise ValueError(f"line {number} has a broken escape: {path[:100]!r}")
            pieces.append(chr(int(digits, 16)) + part[1 + len(digits) :])
        else:
            raise ValueError(f"line {number} has an unknown escape: {path[:100]!r}")
    return "".join(pieces)


# ----------------------------------------------------------------------------------------------------------- collapsing


def collapse(entries: list[Entry], threshold: int, keep: Keep, roots: Iterable[str] = ()) -> list[Entry]:
    """Put one entry for a folder in the place of those of its files, where they are more than a threshold.

    Parameters
    ----------
    entries : list of dict
        Inputs or outputs: "path" (absolute), "name", "size", "mtime", "digest", and what else is known. What stands for
        a folder already is left alone.
    threshold : int
        Files below one folder that keep an entry each.
    keep : callable
        Keeps a file of the record, ``keep(name, data)``, and returns how it is referred to.
    roots : iterable of str
        Folders that mean more than one set of data, as the project's, besides the home, "/" and what lies directly in
        it: files are not gathered there, but in folders below, unless it is only there that they are too many.

    Returns
    -------
    list of dict
        In the order of the first file of each. A folder has "path", "name" (where its files are named from a folder
        that is not below it), "files" (how many), "size" (bytes, together), "digest" (SHA-256 of the manifest) and
        "manifest" (of `keep`); "incomplete", how many files have no digest, if some have none; and of what its files
        have, "by", all of them together, "sampled" and "changed" if one of them is so.

    Notes
    -----
    Files are gathered in the deepest folder that has them all: photographs in ``data/train/cat`` and ``data/train/dog``
    in ``data/train``. It is the folder below that counts if a few stray files lie beside it (``data/labels.csv``), and
    it is several if they are folders of folders (``data/train`` and ``data/val``), which often are used one by one.
    """
    if len(entries) <= threshold:
        return entries
    files = {entry["path"]: index for index, entry in enumerate(entries) if "files" not in entry}
    if len(files) <= threshold:
        return entries
    avoided = {_folder(os.path.abspath(path)) for path in (os.path.expanduser("~"), *roots)}
    gathered = _gather(_tree(files), threshold, avoided)
    inside: dict[int, Entry] = {}
    dropped: set[int] = set()
    for folder, paths in gathered:
        indexes = sorted(files[path] for path in paths)
        inside[indexes[0]] = _folder_entry(folder, [entries[index] for index in indexes], keep)
        dropped.update(indexes)
    return [inside.get(index, entry) for index, entry in enumerate(entries) if index in inside or index not in dropped]


def folder_digest(path: str, digest_of: Callable[[str], str | None] | None = None, keep: Keep | None = None) -> Entry:
    """Make the manifest of all files that are in a folder now, and below it.

    Parameters
    ----------
    path : str
        Of the folder.
    digest_of : callable, optional
        Gives the SHA-256 of a file, or None; by default it is computed.
    keep : callable, optional
        As for `collapse`; without it the manifest itself, as bytes, is "manifest".

    Returns
    -------
    dict
        As `collapse` makes it. Links to files are followed, links to folders are not; what is not a regular file is
        left out, and what cannot be read has no digest.

    Raises
    ------
    OSError
        If the folder cannot be read.
    """
    from capture.probes.lineage.digesting import file_digest

    top, entries = os.path.abspath(path), []
    for file in _files_below(top):
        try:
            size: int | None = os.stat(file).st_size
            digest = (digest_of or file_digest)(file)
        except OSError as error:
            _log().debug("%s has no digest: %s", file, error)
            size = digest = None
        entries.append({"path": file, "size": size, "digest": digest})
    return _folder_entry(top, entries, keep or (lambda name, data: data))  # type: ignore[arg-type, return-value]


def _files_below(folder: str) -> Iterator[str]:
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as inside:
            for item in inside:
                if item.is_dir(follow_symlinks=False):
                    folders.append(item.path)
                elif item.is_file():
                    yield item.path


def _folder_entry(folder: str, entries: list[Entry], keep: Keep) -> Entry:
    start = len(_folder(folder))
    relative = [entry["path"][start:].replace(os.sep, "/") for entry in entries]
    data = manifest_of({**entry, "name": name} for entry, name in zip(entries, relative))
    digest = digests_of(data, md5=False)[0]
    merged: Entry = {"path": folder}
    name = _name_of_folder(folder, entries[0], relative[0]) if entries else None
    if name is not None:
        merged["name"] = name
    merged["files"] = len(entries)
    merged["size"] = sum(entry.get("size") or 0 for entry in entries)
    merged["digest"] = digest
    merged["manifest"] = keep(f"{FOLDER}/{digest[:12]}.txt", data)
    without = sum(not entry.get("digest") for entry in entries)
    if without:
        merged["incomplete"] = without
    by = {observer for entry in entries for observer in entry.get("by", ())}
    if by:
        merged["by"] = sorted(by)
    for fact in ("sampled", "changed"):
        if any(entry.get(fact) for entry in entries):
            merged[fact] = True
    return merged


def _name_of_folder(folder: str, entry: Entry, relative: str) -> str | None:
    """Name a folder as its files are named: relative to the base folder, if it is not above that; else None."""
    name = str(entry.get("name", "")).replace(os.sep, "/")
    if name == relative:
        return "."
    if name.endswith(f"/{relative}"):
        return name[: -len(relative) - 1] or folder
    return None


# ---------------------------------------------------------------------------------------------------------- the folders


class _Node:
    __slots__ = ("children", "count", "files", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.files: list[str] = []  # directly in it
        self.children: list[_Node] = []
        self.count = 0  # of files, with those below


def _tree(paths: Iterable[str]) -> _Node:
    """Return the root of the tree of folders that files lie in."""
    nodes: dict[str, _Node] = {}
    root = _Node("")  # where there are drives, above all of them

    def node_of(folder: str) -> _Node:
        missing = []
        while folder not in nodes:
            missing.append(folder)
            above = os.path.dirname(folder)
            if above == folder:
                break
            folder = above
        for folder in reversed(missing):
            node = nodes[folder] = _Node(folder)
            above = os.path.dirname(folder)
            (root if above == folder else nodes[above]).children.append(node)
        return nodes[missing[0] if missing else folder]

    for path in paths:
        folder = path.rpartition(os.sep)[0]
        node = nodes.get(folder) or node_of(os.path.dirname(path))
        node.files.append(path)
        node.count += 1
    for node in sorted(nodes.values(), key=lambda node: len(node.path), reverse=True):  # the deepest first
        node.count += sum(child.count for child in node.children)
    root.count = sum(child.count for child in root.children)
    return root


def _gather(root: _Node, threshold: int, avoided: set[str]) -> list[tuple[str, list[str]]]:
    """Return the folders that are to stand for their files, each with these files."""
    gathered = []
    nodes = [root] if root.count > threshold else []
    while nodes:
        node = nodes.pop()
        large = [child for child in node.children if child.count > threshold]
        rest = node.count - sum(child.count for child in large)
        if not node.path:
            nodes += large
            continue
        if large and (_is_avoided(node, avoided) or (rest <= threshold // FEW and _are_apart(large))):
            nodes += large
            if rest <= threshold:
                continue
        else:
            large = []
        gathered.append((node.path, list(_files_of(node, without=set(large)))))
    return gathered


def _is_avoided(node: _Node, avoided: set[str]) -> bool:
    above = os.path.dirname(node.path)
    return os.path.dirname(above) == above or _folder(node.path) in avoided


def _are_apart(nodes: list[_Node]) -> bool:
    """Say whether folders beside each other are sets of data of their own, rather than parts of one."""
    if len(nodes) == 1:
        return True
    return len(nodes) <= SPLITS and any(2 * len(node.files) < node.count for node in nodes)


def _files_of(node: _Node, without: set[_Node]) -> Iterator[str]:
    nodes = [node]
    while nodes:
        node = nodes.pop()
        yield from node.files
        nodes += [child for child in node.children if child not in without]


def _folder(path: str) -> str:
    """Return the path of a folder as that of a file in it begins."""
    return path if path.endswith(os.sep) else path + os.sep


def _log() -> Any:
    return logger()
