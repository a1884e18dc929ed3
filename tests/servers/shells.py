"""The shells that completion is tested with. They are no servers, and come from Debian, too."""

from __future__ import annotations

import shutil

from tests.servers import installing

SHELLS = ("bash", "zsh", "fish")


def missing(name: str) -> str | None:
    """Say what a test lacks that runs a shell; None if it is there."""
    return None if shutil.which(name) else f"{name} is not installed: python -m tests.servers install shells"


def install() -> None:
    """Install those that are not there."""
    wanted = [name for name in SHELLS if missing(name)]
    if wanted:
        installing.install_packages(wanted)
