"""The virtual environments of packages from PyPI."""

from __future__ import annotations

import os

import pytest

from tests.servers import packages


def environment_of(name: str) -> str:
    """Return the interpreter of a package's environment; skip the test, or fail it, where that is not installed."""
    if not packages.is_installed(name):
        reason = f"{name} is not installed: python -m tests.servers install {name}"
        if os.environ.get("REQUIRE_SERVERS", "0") not in ("", "0"):
            pytest.fail(f"{reason} (REQUIRE_SERVERS is set)", pytrace=False)
        pytest.skip(reason)
    return packages.python(name)
