"""Small files of the kernel's, read whole and without much ado."""

from __future__ import annotations

import os


def read(path: str, size: int = 65536) -> str | None:
    """Return the first `size` bytes of a file as text; None where there is none that may be read.

    Files below /proc and /sys are made while they are read, some of them piecemeal; so it is read until nothing comes.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        parts, wanted = [], size
        while wanted > 0 and (part := os.read(descriptor, wanted)):
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts).decode("utf-8", "replace")
    except OSError:  # a folder; or a file that opens, and says then that this machine lacks what it tells of
        return None
    finally:
        os.close(descriptor)


def read_number(path: str) -> int | None:
    """Return the number that a file holds; None where it holds something else, such as ``max``."""
    text = (read(path, 64) or "").strip()
    return int(text) if text.isdecimal() else None


def pairs(text: str | None) -> dict[str, str]:
    """Return the first value of each ``key: value`` line."""
    found: dict[str, str] = {}
    for line in (text or "").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found.setdefault(key.strip(), value.strip())
    return found
