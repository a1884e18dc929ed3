"""The SQL store keeps the contract of a store, with each database."""

from __future__ import annotations

import pytest

from capture.observers.sql import SqlObserver
from capture.testing import Backend, ObserverContract
from tests.servers.fixtures import fresh_name


def backend_at(url: str) -> Backend:
    return Backend(SqlObserver(url), SqlObserver.reader(url), SqlObserver.curator(url))


class TestSqlite(ObserverContract):
    def backend(self, tmp_path):
        return backend_at(f"sqlite:///{tmp_path}/runs.db")


class TestPostgres(ObserverContract):
    @pytest.fixture(autouse=True)
    def _databases(self, postgres_server):
        self.server, self.names = postgres_server, {}
        yield
        for name in self.names.values():
            postgres_server.drop(name)

    def backend(self, tmp_path):
        if tmp_path not in self.names:
            self.names[tmp_path] = fresh_name()
            self.server.create(self.names[tmp_path])
        return backend_at(self.server.url_of(self.names[tmp_path]))


class TestMariaDB(ObserverContract):
    @pytest.fixture(autouse=True)
    def _databases(self, mariadb_server):
        self.server, self.names = mariadb_server, {}
        yield
        for name in self.names.values():
            mariadb_server.drop(name)

    def backend(self, tmp_path):
        if tmp_path not in self.names:
            self.names[tmp_path] = fresh_name()
            self.server.create(self.names[tmp_path])
        return backend_at(self.server.url_of(self.names[tmp_path]))
