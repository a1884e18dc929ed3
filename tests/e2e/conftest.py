"""Fixtures for tests that start processes."""

import pytest

from tests.e2e.scripts import Folder


@pytest.fixture
def folder(tmp_path):
    """A folder to run scripts in."""
    place = tmp_path / "work"
    place.mkdir()
    return Folder(place)
