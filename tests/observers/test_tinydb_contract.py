"""The TinyDB store keeps the contract of a store."""

from __future__ import annotations

from capture.observers.tinydb import TinyDbCurator, TinyDbObserver, TinyDbReader
from capture.testing import Backend, ObserverContract


class TestTinyDbStore(ObserverContract):
    def backend(self, tmp_path):
        folder = tmp_path / "runs_db"
        folder.mkdir(exist_ok=True)
        return Backend(TinyDbObserver(folder), TinyDbReader(folder), TinyDbCurator(folder))
