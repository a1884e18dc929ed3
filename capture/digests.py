"""SHA-256 and MD5: by Python's own code where little is to be hashed, by OpenSSL's where it is much."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LARGE = 1 << 20  #: bytes from which OpenSSL, being twice as fast, wins back the 3 ms that loading it takes


def hash_functions(size: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return what makes SHA-256 and MD5 objects for about `size` bytes; each takes first bytes, as `hashlib`'s do."""
    if size < LARGE and "hashlib" not in sys.modules:
        try:
            from _md5 import md5  # type: ignore[import-not-found]

            if sys.version_info >= (3, 12):
                from _sha2 import sha256  # type: ignore[import-not-found]
            else:
                from _sha256 import sha256  # type: ignore[import-not-found]
            return sha256, md5
        except ImportError:  # an interpreter that was built without its own
            pass
    import hashlib

    return hashlib.sha256, lambda data=b"": hashlib.md5(data, usedforsecurity=False)


def digests_of(data: bytes, md5: bool = True) -> tuple[str, str]:
    """Return SHA-256 and MD5 of bytes, hexadecimal; the latter is "" if it is not wanted."""
    strong, weak = hash_functions(len(data))
    return strong(data).hexdigest(), weak(data).hexdigest() if md5 else ""
