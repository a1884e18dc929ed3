"""Changing what people may change in MongoDB."""
from __future__ import annotations

from capture.hooks import Curator


class MongoCurator(Curator):
    def __init__(self, url): self.url = url
