"""Images, by what their bytes begin with: a file is shown as what it is, not as what it is called."""

from __future__ import annotations

#: SVG is not among them, since it is a document that can hold scripts
_TYPES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


def image_type(data: bytes) -> str | None:
    """Return the type of an image by its first bytes; None for anything else, SVG too.

    Examples
    --------
    >>> image_type(b"GIF89a..."), image_type(b"<svg onload=...>")
    ('image/gif', None)
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _TYPES if data.startswith(start)), None)
