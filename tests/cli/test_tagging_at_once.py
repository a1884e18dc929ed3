"""Tags and notes by several people at once, in every kind of store: nobody's change takes another's away."""

from __future__ import annotations

import threading

import pytest

from capture import open_store
from capture.cli import main
from capture.hooks import Curator
from capture.query import keeping
from tests.cli.making import fill
from tests.servers.fixtures import each_kind, forget_s3_clients, url_of_kind

KINDS = ("file", "sqlite", "tinydb", "memory")
PEOPLE = 6

pytestmark = pytest.mark.xdist_group("all-servers")


@pytest.fixture
def url(request, tmp_path):
    """Make a store of one kind with a run in it; return its URL."""
    forget_s3_clients()
    yield fill(url_of_kind(request.param, request, tmp_path), tmp_path, "01")
    forget_s3_clients()


@pytest.fixture
def on_many_machines(monkeypatch):
    """Let no lock of this machine keep people apart."""
    from contextlib import nullcontext

    monkeypatch.setattr(keeping, "only_one", lambda store: nullcontext())


def together(*actions) -> None:
    """Do things at once, each in a thread; raise what one of them raises."""
    start, wrong = threading.Barrier(len(actions)), []

    def act(action) -> None:
        try:
            start.wait()
            action()
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=act, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise wrong[0]


ATOMIC = ["file", "sqlite", "tinydb", *each_kind("mongo", "postgres", "mariadb", "s3")]


@pytest.mark.parametrize("url", ATOMIC, indirect=True)
def test_people_on_many_machines_tag_one_run(url, on_many_machines):
    """Adding one tag must not remove one that another added meanwhile, nor bring back one that another took away."""
    with open_store(url) as store:
        store.get("latest").tag("old", *[f"to-go-{number}" for number in range(PEOPLE)])
    runs = [open_store(url).get("latest") for _ in range(PEOPLE)]  # each has read the tags before anybody changes them

    def change(number: int, run) -> None:
        keeping.change_tags(run, [f"by-{number}"], [f"to-go-{number}"])
        keeping.append_note(run, f"paragraph {number}")

    together(*[lambda number=number, run=run: change(number, run) for number, run in enumerate(runs)])
    with open_store(url) as store:
        run = store.get("latest")
        assert sorted(run.tags) == [*[f"by-{number}" for number in range(PEOPLE)], "old"]
        assert sorted(run.notes.split("\n\n")) == [f"paragraph {number}" for number in range(PEOPLE)]
    for each in runs:
        each.store.close()


@pytest.mark.parametrize("url", ["file", "tinydb", "memory", *each_kind("mongo", "s3")], indirect=True)
def test_who_was_slower_begins_again(url, on_many_machines):
    """Where no lock is held while it is decided what to change, what was decided is decided anew."""
    mine, other = open_store(url).get("latest"), open_store(url).get("latest")
    asked: list[list[str]] = []

    def change(tags, _notes):
        if not asked:
            other.tag("theirs")
        asked.append(tags)
        return [*tags, "mine"], None

    keeping.revise(mine, change)
    assert mine.tags == ["theirs", "mine"] and asked[-1] == ["theirs"]


@pytest.mark.parametrize("url", ["file", "sqlite", "tinydb", "memory", *each_kind("mongo")], indirect=True)
def test_what_is_refused_changes_nothing(url, capsys):
    """The notes that somebody edited for an hour were changed by another: both must stay as they are."""
    run = open_store(url).get("latest")
    run.annotate(["kept"], "first")

    def refuse(_tags, _notes):
        raise RuntimeError("somebody else was here")

    with pytest.raises(RuntimeError, match="somebody else"):
        keeping.revise(run, refuse)
    run.refresh()
    assert (run.tags, run.notes) == (["kept"], "first")
    keeping.revise(run, lambda tags, notes: (None, None))
    assert (run.tags, run.notes) == (["kept"], "first")
    assert main(["tag", f"--store={url}", "-a", "more", "-r", "kept", "1"]) == 0
    assert open_store(url).get("latest").tags == ["more"]


def test_a_store_of_somebody_elses_that_cannot_is_used_as_before(tmp_path, monkeypatch):
    """It has `annotate`, which sets the whole."""
    from capture.observers._file_curator import FileStoreCurator

    monkeypatch.setattr(FileStoreCurator, "revise", Curator.revise)
    run = open_store(fill(str(tmp_path / "runs"), tmp_path, "01")).get("1")
    assert keeping.change_tags(run, ["a", "b"]) == ["a", "b"]
    assert keeping.change_tags(run, ["c"], ["a"]) == ["b", "c"]
    assert keeping.append_note(run, "text") == "text"


def test_sacreds_runs_are_tagged_at_once(tmp_path, on_many_machines):
    """They have no row of ours yet, and several make it."""
    sqlalchemy = pytest.importorskip("sqlalchemy")
    url = fill(f"sqlite:///{tmp_path / 'runs.db'}", tmp_path, "01")
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("INSERT INTO run (run_id, config, status) VALUES ('old', '{}', 'COMPLETED')"))
    engine.dispose()
    runs = [open_store(url).get("old") for _ in range(PEOPLE)]
    together(*[lambda n=n, run=run: keeping.change_tags(run, [f"by-{n}"]) for n, run in enumerate(runs)])
    assert sorted(open_store(url).get("old").tags) == [f"by-{number}" for number in range(PEOPLE)]
