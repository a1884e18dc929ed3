"""Trees of files that stand for another machine's /proc, /sys and /etc."""

from __future__ import annotations

import os


def write_tree(folder, files):
    """Write ``{path: text}`` below a folder, and return the folder as a string; a path that ends with / is a folder."""
    for path, text in files.items():
        target = os.path.join(str(folder), *path.strip("/").split("/"))
        os.makedirs(target if path.endswith("/") else os.path.dirname(target), exist_ok=True)
        if not path.endswith("/"):
            with open(target, "w", encoding="utf-8", newline="") as file:
                file.write(text)
    return str(folder)
