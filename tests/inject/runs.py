"""Runs that do nothing but be live, and functions that a fresh interpreter can import."""

from __future__ import annotations

from contextlib import contextmanager

from capture import context
from capture.inject import Frame, capture_function

OWNER = "experiment"


class FakeRun:
    """What captured functions need of a run."""

    def __init__(self, views=None, parent=None, label="1", **frame):
        self._id = label
        self.parent = parent
        self.frame = None if views is None else Frame(self, views, **frame)


@contextmanager
def live(config=None, owner=OWNER, **options):
    """A run of one owner, live and current inside the block."""
    run = FakeRun({owner: config or {}}, **options)
    activation = context.activate(run)
    try:
        yield run
    finally:
        context.deactivate(activation)


def captured(function=None, prefix=None, owner=OWNER):
    """Capture for `OWNER`; usable with and without arguments."""
    if function is None:
        return lambda decorated: capture_function(decorated, prefix, owner)
    return capture_function(function, prefix, owner)


@captured
def importable(lr, steps=1):
    """Say what was filled in."""
    return lr, steps


class Importable:
    @captured
    def method(self, lr):
        return lr
