"""MongoDB: one run that several people bin, restore and purge at the same moment."""

from __future__ import annotations

import threading

import pytest

from capture.errors import ObserverError, RunNotFoundError
from capture.observers import _mongo_curator, _mongo_moving
from tests.observers.mongo_parts import Store
from tests.observers.test_mongo import check, whole


@pytest.fixture
def store(mongo_server, mongo_url):
    with mongo_server.client() as client:
        yield Store(mongo_url, client, mongo_url.partition("?")[0].rpartition("/")[2])


class Steps:
    """A collection that calls somebody before a step, of which there is one for each question to the server."""

    count = 0

    def __init__(self, collection, before):
        self._collection, self._before = collection, before

    def __getattr__(self, name):
        found = getattr(self._collection, name)
        if not callable(found):
            return found

        def step(*arguments, **options):
            self._before()
            return found(*arguments, **options)

        return step


def interrupted(store, action: str, at: int, by) -> bool:
    """Let a curator do something, and call `by` before one of its steps; say whether it had so many."""
    curator, counted = store.curator, []

    def before() -> None:
        counted.append(1)
        if len(counted) == at:
            by()

    place = curator.place
    stepped = type("Stepped", (type(place),), {
        "runs": property(lambda self: Steps(place.runs, before)),
        "bin": property(lambda self: Steps(place.bin, before)),
    })  # fmt: skip
    curator.place = object.__new__(stepped)
    vars(curator.place).update(vars(place))
    done(curator, action)
    return len(counted) >= at


def done(curator, action: str) -> bool:
    """Do something to the run, and say whether that was possible."""
    try:
        getattr(curator, action)(1)
    except (ObserverError, RunNotFoundError):
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("seems_dead", [False, True], ids=["at-once", "stopped-for-long"])
@pytest.mark.parametrize("second", ["bin", "restore", "purge"])
@pytest.mark.parametrize("first", ["bin", "restore", "purge"])
def test_a_run_is_whole_in_one_place_whoever_comes_in_between(store, tmp_path, monkeypatch, first, second, seems_dead):
    """A second person acts before each single step of the first; also when the first had stopped for a minute there.

    The worst that may come of it is that one of the two is told to look again: the run is never lost, unless somebody
    was told that it is purged, and then nothing of it is left.
    """
    story, at = whole(tmp_path), 0
    while True:
        at += 1
        for name in store.db.list_collection_names():
            store.db.drop_collection(name)
        store.tell(story)
        if first != "bin":
            store.curator.bin(1)
        said: dict[str, bool] = {}

        def meanwhile(said=said) -> None:
            with monkeypatch.context() as patch:
                if seems_dead:
                    patch.setattr(_mongo_moving, "CLAIM_S", -3600)
                said[second] = done(store.curator, second)

        had_step = interrupted(store, first, at, meanwhile)
        monkeypatch.setattr(_mongo_moving, "CLAIM_S", -3600)
        list(store.curator.mend())
        in_sight = store.db.runs.count_documents({"_id": 1})
        in_bin = store.db["capture.bin.runs"].count_documents({"_id": 1})
        if in_sight + in_bin == 0:
            assert "purge" in (first, second), f"lost at step {at}"
            assert store.db.metrics.count_documents({}) == 0
        else:
            assert in_sight + in_bin == 1, f"in two places after step {at}"
            if in_bin:
                store.curator.restore(1)
            check(store, 1, story)
            assert "capture_moving" not in store.run()
        monkeypatch.undo()
        if not had_step:
            assert at > 3, "the steps were not seen"
            return


@pytest.mark.slow
@pytest.mark.parametrize("first", ["bin", "restore", "purge"])
def test_a_tag_that_somebody_sets_while_the_run_moves_is_kept_or_refused(store, tmp_path, monkeypatch, first):
    """The document is copied, then deleted: what is written into it in between would be gone, and nobody told."""
    monkeypatch.setattr(_mongo_curator, "_PATIENCE_S", 0.0)
    story, at, had_step = whole(tmp_path), 0, True
    while had_step:
        at += 1
        for name in store.db.list_collection_names():
            store.db.drop_collection(name)
        store.tell(story)
        if first != "bin":
            store.curator.bin(1)
        said: list[str] = []

        def tags(said=said) -> None:
            for name, act in (("annotated", "annotate"), ("revised", "revise")):
                given = {"notes": name} if act == "annotate" else {"change": lambda tags, _: ([*tags, "revised"], None)}
                try:
                    getattr(store.curator, act)(1, **given)
                except (ObserverError, RunNotFoundError):
                    continue
                said.append(name)

        had_step = interrupted(store, first, at, tags)
        found = store.db.runs.find_one({"_id": 1}) or store.db["capture.bin.runs"].find_one({"_id": 1})
        if found is not None:
            written = found.get("omniboard") or {}
            assert ("annotated" in said) == (written.get("notes") == "annotated"), f"at step {at}"
            assert ("revised" in said) == ("revised" in (written.get("tags") or [])), f"at step {at}"
    assert at > 3, "the steps were not seen"


def test_one_of_many_who_purge_and_restore_at_once_is_right(store, tmp_path):
    """Real threads, each with a connection of its own."""
    story = whole(tmp_path)
    store.tell(story)
    store.curator.bin(1)
    said: list[tuple[str, bool]] = []
    start = threading.Barrier(8)

    def act(action: str) -> None:
        curator = store.curator
        start.wait()
        said.append((action, done(curator, action)))

    threads = [threading.Thread(target=act, args=(action,)) for action in ["restore", "purge"] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    right = [action for action, was_done in said if was_done]
    assert len(right) == 1
    assert store.db["capture.bin.runs"].count_documents({}) == 0
    if right == ["purge"]:
        assert store.db.runs.count_documents({}) == 0 and store.db.metrics.count_documents({}) == 0
    else:
        check(store, 1, story)


def test_what_a_dead_mover_left_in_both_places_is_mended(store, tmp_path, monkeypatch):
    """It is in sight and in the bin: purge must not take the measurements of the one in sight."""
    story = whole(tmp_path)
    store.tell(story)
    monkeypatch.setattr(_mongo_moving.Mover, "delete", lambda self, collection: None)
    with pytest.raises(ObserverError, match="by somebody else"):
        store.curator.bin(1)
    monkeypatch.undo()
    assert store.reader.labels() == [1] and store.curator.binned() == [1]
    with pytest.raises(ObserverError, match="restored just now"):
        store.curator.purge(1)
    check(store, 1, story)
    store.db["capture.bin.runs"].insert_one(store.run())
    [told] = store.curator.mend(dry=True)
    assert "run 1 is in sight and in the bin" in told and store.curator.binned() == [1]
    assert list(store.curator.mend()) == [told]
    assert store.curator.binned() == [] and list(store.curator.mend()) == []
    check(store, 1, story)


def test_another_run_under_the_label_is_in_the_way(store, tmp_path):
    """Sacred counts for itself, and may have given the label of a run in the bin."""
    story = whole(tmp_path)
    store.tell(story)
    store.curator.bin(1)
    store.db.runs.insert_one({"_id": 1, "format": "MongoObserver-0.7.0", "config": {}})
    with pytest.raises(ObserverError, match="has another run 1 now"):
        store.curator.restore(1)
    assert list(store.curator.mend()) == []
    store.db.runs.delete_one({"_id": 1})
    store.curator.restore(1)
    check(store, 1, story)
