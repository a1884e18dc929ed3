"""Folders elsewhere: one run that several people bin, restore and purge at the same moment."""

from __future__ import annotations

import threading
import time

import pytest

from capture import open_store, plainjson
from capture.errors import ObserverError, RunNotFoundError
from capture.liveness import machine_identity
from capture.observers import _remote_curator
from capture.observers._remote_files import Files
from capture.query.verifying import verify
from capture.registry import open_curator
from tests.cli.making import fill
from tests.observers.test_remote import memory  # noqa: F401 - a fixture
from tests.servers.fixtures import each_kind

pytest.importorskip("fsspec")


@pytest.fixture
def url(request, tmp_path):
    """Make a store with a run in it."""
    kind = request.param
    return fill(request.getfixturevalue(kind if kind == "memory" else f"{kind}_url"), tmp_path, "01")


def done(url: str, action: str) -> bool:
    """Do something to the run as somebody else, and say whether that was possible."""
    try:
        getattr(open_curator(url), action)("1")
    except (ObserverError, RunNotFoundError):
        return False
    return True


def check_whole(url: str) -> None:
    """Assert that the run is in one place, with all its files."""
    with open_store(url) as store:
        binned = store.curator.binned()
        assert len(binned) + len(store.labels()) == 1
        if binned:
            store.curator.restore("1")
    with open_store(url) as store:
        assert verify(store.get("1")).whole


@pytest.mark.parametrize("url", ["memory", *each_kind("s3")], indirect=True)
@pytest.mark.parametrize("second", ["bin", "restore", "purge"])
@pytest.mark.parametrize("first", ["bin", "restore", "purge"])
def test_who_comes_in_between_has_to_wait(url, monkeypatch, first, second):
    """Half of a run in one place and half in the other is of no use in either."""
    if first != "bin":
        open_curator(url).bin("1")
    said = []
    with monkeypatch.context() as patch:
        for name in ("_copy", "delete_folder", "move_folder"):
            plain = getattr(Files, name)

            def step(self, *arguments, plain=plain):
                if threading.current_thread() is threading.main_thread() and not said:
                    said.append(None)
                    said.append(done(url, second))
                return plain(self, *arguments)

            patch.setattr(Files, name, step)
        assert done(url, first)
    assert said == [None, False]
    if first == "purge":
        assert open_store(url).labels() == [] and open_curator(url).binned() == []
    else:
        check_whole(url)


@pytest.mark.parametrize("url", ["memory", *each_kind("s3")], indirect=True)
def test_one_of_many_who_purge_and_restore_is_right(url):
    """All at once: either the run is whole, or it is gone."""
    open_curator(url).bin("1")
    said: list[tuple[str, bool]] = []
    start = threading.Barrier(6)

    def act(action: str) -> None:
        start.wait()
        said.append((action, done(url, action)))

    threads = [threading.Thread(target=act, args=(action,)) for action in ["restore", "purge"] * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    right = [action for action, was_done in said if was_done]
    assert len(right) <= 1 and len(said) == 6
    if right == ["purge"]:
        assert open_store(url).labels() == [] and open_curator(url).binned() == []
    else:
        check_whole(url)


@pytest.mark.parametrize("url", ["memory"], indirect=True)
@pytest.mark.parametrize(("host", "age_s", "is_free"), [
    ({"pid": 2**22 + 7, "pid_start": 1}, 0, True),
    ({}, 10**6, False),
    ({"machine_id": "another"}, 60, False),
    ({"machine_id": "another"}, 10**6, True),
], ids=["dead", "alive", "elsewhere", "elsewhere-long-ago"])  # fmt: skip
def test_what_a_dead_process_claimed_is_free(url, host, age_s, is_free):
    """It died in the middle of a move: whoever comes next finishes it."""
    curator = open_curator(url)
    curator.bin("1")
    claim = {**machine_identity(), "since": time.time() - age_s, **host}
    curator._files.write("_capture/moving/1", plainjson.dumps(claim).encode())
    assert done(url, "restore") is is_free
    if is_free:
        check_whole(url)
    else:
        with pytest.raises(ObserverError, match=r"by somebody else at this moment\n.*delete \S*lab/runs/_capture/moving/1"):
            curator.restore("1")
    assert _remote_curator._is_left(b"half of it") is False


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memory", *each_kind("s3")])
@pytest.mark.parametrize("second", ["bin", "restore"])
def test_files_of_a_run_that_moves_while_another_is_purged_are_seen_to_be_used(
    kind, second, tmp_path, monkeypatch, request
):
    """A purge looks which runs use a file: one that is in the bin at one moment and in sight at the next does, too."""
    place, at, had_step = request.getfixturevalue(kind if kind == "memory" else f"{kind}_url"), 0, True
    while had_step:
        at += 1
        url = fill(f"{place.rstrip('/')}/{at}", tmp_path / str(at), "01", "02")
        open_curator(url).bin("1")
        if second == "restore":
            open_curator(url).bin("2")
        counted: list[int] = []
        with monkeypatch.context() as patch:
            for name in ("list", "read_many", "_copy"):
                plain = getattr(Files, name)

                def step(self, *arguments, plain=plain, counted=counted, url=url, **options):
                    counted.append(1)
                    if len(counted) == at:
                        try:
                            getattr(open_curator(url), second)("2")
                        except (ObserverError, RunNotFoundError):
                            pass
                    return plain(self, *arguments, **options)

                patch.setattr(Files, name, step)
            open_curator(url).purge("1")
        had_step = len(counted) >= at
        with open_store(url) as store:
            if store.curator.binned():
                store.curator.restore("2")
        with open_store(url) as store:
            assert verify(store.get("2")).whole, f"at step {at}"
    assert at > 4, "the steps were not seen"
