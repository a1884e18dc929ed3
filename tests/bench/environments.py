"""Clean virtual environments to measure in, made once and kept in the temporary folder."""

from __future__ import annotations

import compileall
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROJECT = ("capture", "observers", "setup.py", "setup.cfg", "pyproject.toml", "LICENSE", "README.md")
PEER = ("sacred==0.8.7", "setuptools<81")  # sacred needs pkg_resources, which later versions of setuptools lack

SCIENCE = ("numpy", "pandas", "scikit-learn")
DRIVERS = ("pymongo>=4.6", "SQLAlchemy>=2", "alembic>=1.13", "psycopg[binary]>=3.1", "PyMySQL>=1.1", "tinydb>=4.8")
FRAMES = (*DRIVERS, "numpy", "pandas")
DISTRIBUTIONS = 150  #: in an environment for science; what is missing is made up, as small packages of 11 modules

UNUSED_S = 6 * 3600.0  #: an environment that nobody has asked for in this time is removed; others may measure in newer


def clean_environment(**more: str) -> dict[str, str]:
    """Return the environment for what is measured: without variables of Python's, the library's and the tests'."""
    dropped = ("PYTHON", "CAPTURE_", "XDG_", "PYTEST_", "COVERAGE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    for name in ("RANK", "WORLD_SIZE"):
        kept.pop(name, None)
    return {**kept, **more}


def python_with_wheel() -> str:
    """Return the Python of an environment that holds this working tree as a wheel; made anew when a file changed."""

    return _environment("wheel", _fingerprint(PROJECT), _install_wheel)


def python_with_peer() -> str:
    """Return the Python of an environment that holds Sacred."""
    return _environment("peer", _PEER_KEY, lambda folder: _install(folder, PEER))


_PEER_KEY = "-".join(PEER).replace("=", "").replace("<", "")


def python_with_science(peer: bool = False, lent: bool = False) -> str:
    """Return the Python of an environment with pandas, scikit-learn and 150 distributions in all.

    It holds the wheel, or Sacred. The real packages are installed once and linked from there into each environment;
    if they are `lent`, they are those of this Python, which is enough to see that a benchmark works.
    """
    base = _base("science", SCIENCE, lent)

    def fill(folder: str) -> None:
        packages = _packages_of(_python(folder))
        _link_packages(base, folder)
        if peer:
            _install(folder, PEER)
        else:
            _link_packages(python_with_wheel(), folder)
        number = 0
        while sum(name.endswith(".dist-info") for name in os.listdir(packages)) < DISTRIBUTIONS:
            _make_up(packages, f"made_up_{number:03}")
            number += 1
        compileall.compile_dir(packages, maxlevels=2, quiet=2)

    key = _lent(lent) + (_PEER_KEY if peer else _fingerprint(PROJECT))
    return _environment("science-peer" if peer else "science-wheel", key, fill)


def python_with_stores(lent: bool = False) -> str:
    """Return the Python of an environment with the drivers of databases, which are installed once, and the wheel."""
    return _python_with("drivers", DRIVERS, "stores", lent)


def python_with_frames(lent: bool = False) -> str:
    """Return the Python of an environment with drivers of databases, NumPy and pandas, and the wheel."""
    return _python_with("frame-drivers", FRAMES, "frames", lent)


def _python_with(base_name: str, what: Sequence[str], name: str, lent: bool) -> str:
    """Return the Python of an environment with the wheel, and others' packages, which are linked from one without it."""
    base = _base(base_name, what, lent)

    def fill(folder: str) -> None:
        _link_packages(base, folder)
        _link_packages(python_with_wheel(), folder)

    return _environment(name, f"{_lent(lent)}{_key_of(what)}-{_fingerprint(PROJECT)}", fill)


def _base(name: str, what: Sequence[str], lent: bool) -> str:
    """Return the Python of an environment with packages of others, installed there or lent by this Python."""
    return _environment(name, _lent(lent) + _key_of(what), lambda folder: _lend(folder) if lent else _install(folder, what))


def _lend(folder: str) -> None:
    """Let an environment find the packages of this Python, after its own."""
    with open(os.path.join(_packages_of(_python(folder)), "lent.pth"), "w", encoding="utf-8") as stream:
        stream.write(_packages_of(sys.executable) + "\n")


def _lent(lent: bool) -> str:
    """Return the part of a key that says whose packages are lent: a lender may be gone tomorrow, with what it lent."""
    return f"lent-{_key_of([_packages_of(sys.executable)])}-" if lent else ""


def _key_of(what: Sequence[str]) -> str:
    return hashlib.sha256("".join(what).encode()).hexdigest()[:8]


def _link_packages(source: str, folder: str) -> None:
    """Link what is installed for the Python `source` into the environment in `folder`."""
    packages = _packages_of(_python(folder))
    shutil.copytree(_packages_of(source), packages, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    if not os.path.exists(target):  # a package that both have
        os.link(source, target)


def _packages_of(python: str) -> str:
    command = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _make_up(packages: str, name: str) -> None:
    """Write a small installed distribution: a package with ten modules, and what pip leaves beside it."""
    info = f"{name}-1.2.3.dist-info"
    files = {f"{name}/__init__.py": "".join(f"from {name} import part_{i}\n" for i in range(10))}
    files.update({f"{name}/part_{i}.py": f"NUMBER = {i}\n" for i in range(10)})
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2.3\n\n" + "About it.\n" * 200
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: made up\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/top_level.txt"], files[f"{info}/INSTALLER"] = f"{name}\n", "pip\n"
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    for file, text in files.items():
        path = os.path.join(packages, file)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)


def _install_wheel(folder: str) -> None:
    with tempfile.TemporaryDirectory() as copy:  # a build leaves folders beside what it builds
        for part in PROJECT:
            source, target = os.path.join(ROOT, part), os.path.join(copy, part)
            if os.path.isdir(source):
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            elif os.path.exists(source):
                shutil.copy2(source, target)
        _install(folder, [copy])


def _environment(name: str, key: str, fill: Callable[[str], None]) -> str:
    """Return the Python of an environment, which is made if need be; old ones of that name are removed.

    Of several processes that ask at once, one makes it.
    """
    version = "{}.{}".format(*sys.version_info)
    parent = os.path.join(tempfile.gettempdir(), f"capture-bench-{_user()}")
    folder = os.path.join(parent, f"{name}-{version}-{key}")
    os.makedirs(parent, mode=0o700, exist_ok=True)
    with _alone(os.path.join(parent, f"{name}-{version}.lock")):
        if not os.path.exists(folder):
            new = f"{folder}.new"
            shutil.rmtree(new, ignore_errors=True)
            # without pip and setuptools: the latter puts a .pth file there that every start of Python reads
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", new], check=True)
            fill(new)
            os.rename(new, folder)
        os.utime(folder)
        for other in os.listdir(parent):
            path = os.path.join(parent, other)
            if other.startswith(f"{name}-{version}-") and time.time() - os.stat(path).st_mtime > UNUSED_S:
                shutil.rmtree(path, ignore_errors=True)
    return _python(folder)


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """Let one process at a time through; the others wait."""
    with open(path, "ab") as stream:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(stream.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _install(folder: str, what: Iterable[str]) -> None:
    command = [sys.executable, "-m", "pip", "--python", _python(folder), "install", "--quiet", "--compile", *what]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""})
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")


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
