"""Puts the servers' software into ``.servers/``, once; asks Debian for what only it has."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import zipfile

from tests.servers import INSTALLED

_STAMP = "installed-from"


class InstallFailed(RuntimeError):
    """A server's software could not be installed; the message says why, and what else can be done."""


def place(name: str) -> str:
    """The folder of a server's software."""
    return os.path.join(INSTALLED, name)


def is_installed(name: str, origin: str) -> bool:
    """Say whether the software lies there complete, from this very `origin`."""
    try:
        with open(os.path.join(place(name), _STAMP), encoding="utf-8") as stamp:
            return stamp.read() == origin
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def fresh_place(name: str, origin: str):
    """Give an empty folder to install into; it counts as installed only if the block ends well."""
    folder = place(name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    yield folder
    with open(os.path.join(folder, _STAMP), "w", encoding="utf-8") as stamp:
        stamp.write(origin)


@contextlib.contextmanager
def only_one(name: str):
    """Let one process at a time install `name`; on Windows, none of this runs."""
    import fcntl

    os.makedirs(INSTALLED, exist_ok=True)
    with open(os.path.join(INSTALLED, f".{name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(*command: str, **options) -> None:
    """Run a command silently; show what it said if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode != 0:
        raise InstallFailed(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stdout[-4000:]}")


def unpack_wheels(requirements: list[str], python: str, platform: str, folder: str) -> None:
    """Download wheels for another interpreter than this one, and unpack them; nothing is installed."""
    wheels = os.path.join(folder, "wheels")
    wanted = ["--no-deps", "--only-binary=:all:", "--python-version", python, "--platform", platform]
    run(sys.executable, "-m", "pip", "download", "-q", *wanted, "-d", wheels, *requirements)
    for name in os.listdir(wheels):
        with zipfile.ZipFile(os.path.join(wheels, name)) as wheel:
            wheel.extractall(folder)
    shutil.rmtree(wheels)


def make_environment(folder: str, requirements: list[str]) -> None:
    """Make a virtual environment of a server's own, so that its pins do not reach ours."""
    run(sys.executable, "-m", "venv", folder)
    python = os.path.join(folder, "bin", "python")
    # not compiled ahead: most of what is installed is never imported
    run(python, "-m", "pip", "install", "-q", "--no-compile", "--only-binary=:all:", *requirements)


def install_packages(packages: list[str]) -> None:
    """Install Debian's packages, without starting the services that they bring.

    Raises
    ------
    InstallFailed
        Where that takes another account or another system.
    """
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise InstallFailed(f"please install it yourself; as root on Debian: {' '.join(command)}")
    # a service that starts on installation would be nobody's; runlevel 1 keeps Debian's scripts from starting any
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    with only_one("packages"):  # dpkg has a lock, and does not wait at it
        try:
            run(*command, env=environment)
        except InstallFailed:  # mostly for want of fresh lists
            run("apt-get", "update", "-q", env=environment)
            run(*command, env=environment)
