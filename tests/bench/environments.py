"""Clean virtual environments to measure in, made once and kept in the temporary folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROJECT = ("capture", "observers", "setup.py", "setup.cfg", "pyproject.toml", "LICENSE", "README.md")
PEER = ("sacred==0.8.7", "setuptools<81")  # sacred needs pkg_resources, which later versions of setuptools lack

READY = "ready"  #: a file in an environment that is filled; its time says when it was last used
UNUSED_S = 6 * 3600.0  #: from when on an environment is removed for a newer one


def clean_environment(**more: str) -> dict[str, str]:
    """Return the environment for what is measured: without variables of Python's, the library's and the tests'."""
    dropped = ("PYTHON", "CAPTURE_", "XDG_", "PYTEST_", "COVERAGE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    for name in ("RANK", "WORLD_SIZE"):
        kept.pop(name, None)
    return {**kept, **more}


def python_with_wheel() -> str:
    """Return the Python of an environment that holds this working tree as a wheel; made anew when a file changed."""
    folder, is_new = _environment("wheel", _fingerprint(PROJECT))
    if is_new:
        with tempfile.TemporaryDirectory() as copy:  # a build leaves folders beside what it builds
            for part in PROJECT:
                source, target = os.path.join(ROOT, part), os.path.join(copy, part)
                if os.path.isdir(source):
                    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
                elif os.path.exists(source):
                    shutil.copy2(source, target)
            _install(folder, [copy])
    return _python(folder)


def python_with_peer() -> str:
    """Return the Python of an environment that holds Sacred."""
    folder, is_new = _environment("peer", "-".join(PEER).replace("=", "").replace("<", ""))
    if is_new:
        _install(folder, PEER)
    return _python(folder)


def _environment(name: str, key: str) -> tuple[str, bool]:
    """Return the folder of an environment, and whether it is to be filled; old ones of that name are removed."""
    version = "{}.{}".format(*sys.version_info)
    parent = os.path.join(tempfile.gettempdir(), f"capture-bench-{_user()}")
    folder = os.path.join(parent, f"{name}-{version}-{key}")
    ready = os.path.join(folder, READY)
    if os.path.exists(ready):
        os.utime(ready)
        return folder, False
    os.makedirs(parent, mode=0o700, exist_ok=True)
    for other in os.listdir(parent):
        mark = os.path.join(parent, other, READY)
        if other.startswith(f"{name}-{version}-") and os.path.exists(mark):
            if time.time() - os.stat(mark).st_mtime > UNUSED_S:  # others may be measuring in it
                shutil.rmtree(os.path.join(parent, other))
    # without pip and setuptools: the latter puts a .pth file there that every start of Python reads
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder, True


def _install(folder: str, what: Iterable[str]) -> None:
    command = [sys.executable, "-m", "pip", "--python", _python(folder), "install", "--quiet", "--compile", *what]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""})
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    with open(os.path.join(folder, READY), "w", encoding="utf-8"):
        pass


def _python(folder: str) -> str:
    return os.path.join(folder, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))


def _fingerprint(parts: Iterable[str]) -> str:
    known = hashlib.sha256()
    for part in parts:
        for path in _files(os.path.join(ROOT, part)):
            known.update(path.encode() + b"\0")
            with open(path, "rb") as stream:
                known.update(hashlib.sha256(stream.read()).digest())
    return known.hexdigest()[:12]


def _files(path: str) -> Iterator[str]:
    if os.path.isfile(path):
        yield path
    elif os.path.isdir(path):
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(each for each in folders if each != "__pycache__")
            yield from (os.path.join(folder, name) for name in sorted(names))


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else "user"
