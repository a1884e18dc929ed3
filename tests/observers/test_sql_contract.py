"""The SQL store keeps the contract of a store, with each database."""

from __future__ import annotations

import pytest

from capture.observers.sql import SqlObserver
from capture.testing import Backend, ObserverContract


def backend_at(url: str) -> Backend:
    return Backend(SqlObserver(url), SqlObserver.reader(url))


class TestSqlite(ObserverContract):
    def backend(self, tmp_path):
        return backend_at(f"sqlite:///{tmp_path}/runs.db")
