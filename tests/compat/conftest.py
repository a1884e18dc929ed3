"""Sacred's names, for one test."""

from __future__ import annotations

import pytest

from capture import compat


@pytest.fixture
def as_sacred():
    """Let `import sacred` find this library while the test runs."""
    compat.install_as_sacred()
    yield
    compat.uninstall()
