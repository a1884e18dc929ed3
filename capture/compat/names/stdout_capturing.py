"""``sacred.stdout_capturing``."""

from __future__ import annotations


def flush() -> None:
    """Write out what Python and the C library hold back of standard output and error."""
    import ctypes
    import sys

    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not getattr(stream, "closed", False):
            stream.flush()
    if sys.platform != "win32":
        ctypes.CDLL(None).fflush(None)
