"""The virtual environments of packages from PyPI."""

from __future__ import annotations

from tests.servers import packages
from tests.servers.fixtures import check_mark, leave_out


def environment_of(name: str) -> str:
    """Return the interpreter of a package's environment; skip the test, or fail it, where that is not installed."""
    check_mark()
    if not packages.is_installed(name):
        leave_out(f"{name} is not installed: python -m tests.servers install {name}")
    return packages.python(name)
