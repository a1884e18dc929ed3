"""``sacred.settings``: what `SETTINGS` is."""

from __future__ import annotations

from capture.settings import Group as FrozenKeyMunch

__all__ = ["FrozenKeyMunch"]
