"""Sacred's names for turning values into JSON and back; see `capture.codec`."""

from capture.codec import decode as restore
from capture.codec import encode as flatten

__all__ = ["flatten", "restore"]
