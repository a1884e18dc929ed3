"""``sacred.dependencies``: the digest of a file."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

__all__ = ["get_digest"]

MB = 1 << 20


def get_digest(filename: str | os.PathLike[str]) -> str:
    """Return the MD5 digest of a file, as hexadecimal digits."""
    import hashlib

    digest = hashlib.md5(usedforsecurity=False)
    with open(filename, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
