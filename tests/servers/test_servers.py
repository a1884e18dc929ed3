"""The servers themselves: what other tests build upon when they kill, freeze and restart one."""

from __future__ import annotations

import pytest


def test_mongo_databases_are_fresh(mongo_url, mongo_server):
    """A test that finds another one's runs passes or fails by chance."""
    from pymongo import MongoClient

    with MongoClient(mongo_url) as client:
        database = client.get_default_database()
        assert database.list_collection_names() == []
        database.runs.insert_one({"_id": 1})
    assert mongo_url.startswith(f"mongodb://127.0.0.1:{mongo_server.port}/")


@pytest.mark.parametrize("name", ["postgres_url", "mariadb_url"])
def test_sql_databases_are_fresh(name, request):
    """A test that finds another one's tables passes or fails by chance."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(request.getfixturevalue(name), poolclass=sqlalchemy.NullPool)
    assert sqlalchemy.inspect(engine).get_table_names() == []
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE runs (id INT)"))


def test_s3_buckets_are_fresh_and_found_by_the_environment(s3_url):
    """A client is told nothing but the URL, as a user's is."""
    import s3fs

    files = s3fs.S3FileSystem()
    assert not files.exists(s3_url)
    files.pipe(f"{s3_url}/1/run.json", b"{}")
    assert files.cat(f"{s3_url}/1/run.json") == b"{}"
