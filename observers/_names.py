"""File names for whatever a run calls its things: a name goes through unchanged wherever it is harmless everywhere.

Harmless means: a relative path of plain components that Linux, macOS and Windows accept, that leads nowhere else and
hides no file of the store's own. Any other name is stored under one that is, made of its readable characters and a
checksum of the true name; the store keeps the true name beside it.
"""

from __future__ import annotations

import zlib

#: files of a run's folder that no artifact may stand for, in lower case
RESERVED = frozenset(
    {"run.json", "config.json", "cout.txt", "metrics.json", "metrics.jsonl", "info.json", "capture.json"}
)
TEMPORARY = ".tmp-"  #: how the names of half-written files begin

_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³"}
)
_FORBIDDEN = {ord(char): "_" for char in '<>:"/\\|?*'} | dict.fromkeys(range(32), "_") | {127: "_"}
_LONGEST = 255  #: bytes of one component
_LONGEST_PATH = 1024  #: bytes of a whole artifact name, well below what any system takes


def safe_component(name: str) -> str:
    """Return a single file name for `name`: the same where it is harmless, else a readable part and a checksum.

    Examples
    --------
    >>> safe_component("loss.png")
    'loss.png'
    >>> safe_component("a:b")
    'a_b~3041a608'
    """
    plain = _readable(name)
    return name if plain == name else _with_checksum(plain, name)


def safe_path(name: str) -> str:
    """Return a relative path with "/" for an artifact called `name`; see `safe_component`.

    Examples
    --------
    >>> safe_path("plots/loss.png")
    'plots/loss.png'
    >>> safe_path("../run.json").startswith("_/run~")
    True
    """
    parts = [_readable(part) for part in name.split("/") if part]
    if not parts or _size("/".join(parts)) > _LONGEST_PATH:
        return _with_checksum("_".join(parts) or "_", name)
    hides = parts[0].lower() in RESERVED or parts[0].startswith(TEMPORARY)
    if "/".join(parts) == name and not hides:
        return name
    parts[-1] = _with_checksum(parts[-1], name)
    if hides and len(parts) > 1:
        parts[0] = _with_checksum(parts[0], parts[0])
    return "/".join(parts)


def flat_name(name: str) -> str:
    """Return a single file name for an artifact whose folders cannot be made.

    Examples
    --------
    >>> flat_name("loss/final.txt")
    'loss_final~d3f73bec.txt'
    """
    return _with_checksum(_readable(name), name)


def numbered(path: str, number: int) -> str:
    """Return the `number`-th name for a path that is taken.

    Examples
    --------
    >>> numbered("plots/loss.png", 2)
    'plots/loss_2.png'
    """
    folder, slash, base = path.rpartition("/")
    stem, extension = split_extension(base)
    return f"{folder}{slash}{_cut(stem, _LONGEST - 12 - _size(extension))}_{number}{extension}"


def split_extension(base: str) -> tuple[str, str]:
    """Split a file name before its extension; a very long "extension" is none."""
    dot = base.rfind(".")
    if dot <= 0 or _size(base[dot:]) > 32:
        return base, ""
    return base[:dot], base[dot:]


def blob_name(path: str, digest: str) -> str:
    """Return ``NAME_DIGEST.ext``, the name under which the bytes of the file `path` are shared between runs."""
    base = path.replace("\\", "/").rpartition("/")[2]
    stem, extension = split_extension(_readable(base))
    return f"{_cut(stem, _LONGEST - 1 - _size(digest) - _size(extension))}_{digest}{extension}"


def _readable(part: str) -> str:
    """Replace in one component what some system does not take."""
    if part.isascii() and part.isalnum() and part.lower() not in _DEVICES and len(part) <= _LONGEST:
        return part  # nearly all of them
    part = part.encode("utf-8", "replace").decode("utf-8").translate(_FORBIDDEN)
    part = part.rstrip(". ") or "_"
    if part.partition(".")[0].rstrip().lower() in _DEVICES:
        part = "_" + part
    return _cut(part, _LONGEST)


def _with_checksum(base: str, name: str) -> str:
    mark = f"~{zlib.crc32(name.encode('utf-8', 'surrogatepass')):08x}"
    stem, extension = split_extension(base)
    return f"{_cut(stem, _LONGEST - len(mark) - _size(extension))}{mark}{extension}"


def _cut(text: str, size: int) -> str:
    """Shorten `text` to `size` bytes of UTF-8."""
    data = text.encode("utf-8")
    return text if len(data) <= size else data[:size].decode("utf-8", "ignore").rstrip(". ")


def _size(text: str) -> int:
    return len(text.encode("utf-8"))
