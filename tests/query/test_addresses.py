"""``STORE::RUN``: what stands before a run, and what runs of several stores are called."""

from __future__ import annotations

import pytest

from capture import open_store
from capture.query.addresses import names_of, short_names, split_run, stores_of
from capture.query.differences import compare
from capture.records import RunRecord
from capture.registry import make_observer
from capture.testing.contract import uid
from capture.testing.feed import Story, tell

ALONE = [
    *("12", "latest", "-1", "0a1b2c3d", ".", "..", "~", "./runs", "runs/1", "a:b", "night shift", "#3", "runs#12", ""),
    *("C:\\runs", "C:/runs", "mongodb://host:27017/lab", "mongodb://user:pass@host:27017/lab?authSource=admin&w=1#x"),
    *("mongodb://[::1]:27017/lab", "mongodb://[::1]", "mongodb://[fe80::1]:27017", "mongodb://u:a::b@host"),
    *("postgresql://u:p::q@[::1]:5432/lab", "simplecache::s3://bucket/runs", "./two::colons/", "a::b\\c"),
]


@pytest.mark.parametrize("word", ALONE)
def test_what_names_no_store_and_run_is_left_as_it_is(word):
    """A label, a uid, a folder, or a URL whose ports, passwords and addresses have colons of their own."""
    assert split_run(word) == (None, word)


STORES = [
    *("runs", "./runs", "../lab/runs/", "/data/runs", ".", "~/digits/runs", "C:\\runs", "C:/runs", "two words", "runs#12"),
    *("sqlite:///lab.db", "tinydb:tdb", "tinydb://tdb", "memory://m", "s3://bucket", "file:///data/runs"),
    *("mongodb://host:27017", "mongodb://host:27017/lab", "mongodb+srv://u:p%3A%3Aw@host/lab?retryWrites=true&w=majority"),
    *("mongodb://u:a::b@h1:1,h2:2/lab?replicaSet=rs", "mongodb://[::1]:27017/lab", "postgresql+psycopg://u:p@[::1]/lab"),
    *("zip://runs::s3://bucket/runs.zip", "a::b"),
]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("run", ["12", "latest", "-1", "0a1b2c3d", "night shift", "a:b", "ümlaut", "before"])
def test_a_store_of_any_kind_stands_before_its_run(store, run):
    """Whatever a URL has in it: the last two colons count, where a run can follow."""
    assert split_run(f"{store}::{run}") == (store, run)


def test_an_empty_part_is_told_and_not_guessed():
    """It is what a variable of the shell leaves that is not set."""
    assert split_run("::3") == ("", "3") and split_run("runs::") == ("runs", "") and split_run("::") == ("", "")


@pytest.mark.parametrize(("urls", "names"), [
    (["file:///a/runs", "mongodb://db:27017/lab"], ["runs", "lab"]),
    (["file:///a/runs", "file:///b/runs", "sqlite:////b/lab.db"], ["a/runs", "b/runs", "lab.db"]),
    (["file:///runs", "file:///b/runs"], ["file:///runs", "b/runs"]),
    (["mongodb://one/lab?w=1", "mongodb://two/lab?w=1"], ["one/lab", "two/lab"]),
    (["tinydb:///a/runs", "file:///a/runs"], ["tinydb:///a/runs", "file:///a/runs"]),
    (["memory://", "memory://x"], ["memory://", "x"]),
    ([], []),
])  # fmt: skip
def test_stores_are_called_by_as_much_of_their_urls_as_tells_them_apart(urls, names):
    """They stand in the headings of tables."""
    assert list(short_names(urls).values()) == names


def stores(tmp_path):
    """Return the URLs of a folder and a database, each with runs 1 and 2, whose code and output differ."""
    urls = [f"file://{tmp_path}/laptop/runs", f"sqlite:///{tmp_path}/lab.db"]
    for place, url in enumerate(urls):
        for number in (1, 2):
            mark = f"{place}{number}"
            made = Story(tmp_path / f"told{mark}", uid(mark)).start(config={"lr": 0.1})
            made.source("train.py", f"def train():\n    return {place * 10 + number}\n".encode())
            made.artifact("model.bin", f"model {mark}".encode()).metrics(loss=[1.0, place + number])
            tell(make_observer(url), made.complete(result=place))
    return urls


def test_runs_are_named_with_their_stores_only_where_there_are_several(tmp_path):
    """In one store the label says it; a working tree and records of no client have no store."""
    one, other = map(open_store, stores(tmp_path))
    mine, theirs = one.get(1), other.get(1)
    assert names_of([mine, one.get(2)]) == ["1", "2"] and stores_of([mine, one.get(2)]) == {}
    assert names_of([mine, theirs]) == ["runs::1", "lab.db::1"]
    assert stores_of([mine, theirs]) == {one.url: "runs", other.url: "lab.db"}
    assert names_of([mine, theirs, mine]) == ["runs::1 (1)", "lab.db::1", "runs::1 (2)"]
    tree = RunRecord(label=".")
    assert names_of([mine, theirs, tree]) == ["runs::1", "lab.db::1", "."] and names_of([mine, tree]) == ["1", "."]
    assert names_of([mine.record, theirs.record]) == ["1 (1)", "1 (2)"]
    again = open_store(one.url).get(2)
    assert names_of([mine, again]) == ["1", "2"], "two clients of one store are one store"


def test_a_store_whose_reader_has_no_name_is_called_by_its_url_without_the_password():
    """What a store of another package is called stands in every comparison."""
    from capture.hooks import Reader
    from capture.query.client import Store

    assert Store("lab://ada:hunter2@db/runs", Reader()).url == "lab://ada:***masked:url-password***@db/runs"


def test_python_compares_runs_of_several_stores(tmp_path):
    """Files come from the store of each run: both have a run 1 and a file train.py, with other content."""
    one, other = map(open_store, stores(tmp_path))
    found = one.get(1).diff(other.get(1))
    assert found.names == ["runs::1", "lab.db::1"] and found.stores == [one.url, other.url]
    told = found.to_dict()
    assert told["stores"] == [one.url, other.url] and told["names"] == found.names
    code = next(each for each in found.causes if each.kind == "source")
    assert "-    return 1\n+    return 11" in code.detail
    assert {"result", "metric", "artifact"} <= {each.kind for each in found.outcomes}
    three = compare([other.get(2), one.get(2), one.get(1)])
    assert three.names == ["lab.db::2", "runs::2", "runs::1"]
    pytest.importorskip("pandas")
    assert list(found.to_pandas().columns[2:4]) == found.names
    assert not one.get(1).diff(open_store(one.url).get(1)).differ
