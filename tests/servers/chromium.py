"""The browser that pages are opened in. It is no server, and comes from Debian, too."""

from __future__ import annotations

import shutil

from tests.servers import installing


def path() -> str | None:
    """Return where it is; None if it is not installed."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def missing() -> str | None:
    """Say what a test lacks that opens a page; None if it is there."""
    return None if path() else "Chromium is not installed: python -m tests.servers install chromium"


def install() -> None:
    """Install it if it is not there."""
    if missing():
        installing.install_packages(["chromium"])
