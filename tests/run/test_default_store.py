"""When a run goes into the default store."""

from __future__ import annotations

import pytest

from capture import Experiment, start_run
from capture.hooks import RunObserver
from capture.observers import QueueObserver
from capture.registry import observer_class


class Chat(RunObserver):
    """Tells somebody, and keeps nothing."""

    replay = False

    def started_event(self, ex_info):
        pass

    @classmethod
    def from_url(cls, url):
        return QueueObserver(cls()) if url.endswith("queued") else cls()


@pytest.fixture
def chat(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("capture.registry.observer_class", lambda url: Chat if url.startswith("notify+") else observer_class(url))


def experiment(**options):
    ex = Experiment("words", interactive=True, **options)

    @ex.main
    def main():
        return 1

    return ex


@pytest.mark.parametrize("url", ["notify+x://y", "notify+x://queued"])
def test_who_only_tells_somebody_takes_the_place_of_no_store(chat, tmp_path, url):
    """A run that was told to a chat and stored nowhere is lost, and nobody was warned."""
    run = experiment().run(options={"--observe": [url]})
    assert (tmp_path / "runs" / "1" / "run.json").exists()
    assert len(run.observers) == 2


def test_a_store_that_is_named_takes_the_place_of_the_default_one(chat, tmp_path):
    """Whoever names a folder does not want another beside it."""
    experiment().run(options={"--observe": ["there", "notify+x://y"]})
    assert (tmp_path / "there" / "1").exists() and not (tmp_path / "runs").exists()


@pytest.mark.parametrize("given", ["argument", "appended"])
def test_a_script_that_only_tells_somebody_is_warned(chat, tmp_path, caplog, given):
    """As in Sacred, an experiment with observers has no other; that nothing keeps the run has to be said."""
    ex = experiment(**({"observers": [Chat()]} if given == "argument" else {}))
    if given == "appended":
        ex.observers.append(Chat())
    ex.run()
    assert not (tmp_path / "runs").exists()
    assert "this run is not recorded" in caplog.text and "name a store as well" in caplog.text
    caplog.clear()
    ex.run(options={"--observe": ["runs"]})
    assert (tmp_path / "runs" / "1").exists() and "not recorded" not in caplog.text


def test_a_run_without_an_experiment_is_warned_likewise(chat, caplog):
    """It is the same loss."""
    with start_run("sums", observers=[Chat()]):
        pass
    assert "this run is not recorded" in caplog.text
