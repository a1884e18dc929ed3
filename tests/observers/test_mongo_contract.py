"""MongoDB keeps the contract of a store."""

from __future__ import annotations

import hashlib

import pytest

from capture.observers.mongo import MongoObserver
from capture.testing import Backend, ObserverContract


class TestMongo(ObserverContract):
    @pytest.fixture(autouse=True)
    def _server(self, mongo_url, request):
        self.url = mongo_url

    def backend(self, tmp_path):
        # one database for each test; stores of one test are told apart by their collections
        prefix = hashlib.sha256(str(tmp_path).encode()).hexdigest()[:8]
        url = f"{self.url}{'&' if '?' in self.url else '?'}collection_prefix={prefix}"
        return Backend(MongoObserver.from_url(url), MongoObserver.reader(url), MongoObserver.curator(url))
