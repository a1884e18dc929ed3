"""Where the project's files are, and what its modules import."""

from __future__ import annotations

import ast
import functools
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"capture": ROOT / "capture", "capture.observers": ROOT / "observers"}


def modules() -> dict[str, Path]:
    """Return every module of the library, by the name under which users import it."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            if "__pycache__" in path.parts:
                continue
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            name = ".".join(parts).removesuffix(".__init__")
            found[name] = path
    return found


@functools.cache
def imports_of(name: str, path: Path, known: frozenset[str]) -> frozenset[str]:
    """Return the library's modules that a module imports when it runs, in functions too.

    Parameters
    ----------
    name : str
        Dotted name of the module.
    path : Path
        Its file.
    known : frozenset of str
        Names of all modules, to tell ``from package import module`` from ``from module import thing``.
    """
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in _walk_runtime(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in known else base)
    return frozenset(module for module in found if module in known and module != name)


def _walk_runtime(node):
    """Yield the nodes below `node`, leaving out what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for other in child.orelse:
                yield other
                yield from _walk_runtime(other)
            continue
        yield child
        yield from _walk_runtime(child)


def tracked_files() -> list[Path]:
    """Return the files that the project keeps: those git tracks, or all that are there where git cannot tell."""
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
        names = done.stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        left_out = {".git", ".venv", ".servers", "build", "dist", "_build", "__pycache__", "runs"}
        names = [
            os.path.relpath(os.path.join(folder, name), ROOT)
            for folder, folders, files in os.walk(ROOT)
            for name in files
            if not left_out & set(Path(folder).relative_to(ROOT).parts)
        ]
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]
