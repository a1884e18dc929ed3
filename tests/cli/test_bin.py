"""``capture rm``, ``restore`` and ``purge``: out of sight, back, and gone."""

from __future__ import annotations

import pytest

from capture import open_store
from capture.cli import main
from capture.query.client import Store
from tests.cli.making import fill, story


@pytest.fixture(params=["files", "sqlite", "tinydb"])
def url(request, tmp_path):
    place = tmp_path / "runs"
    urls = {"files": str(place), "sqlite": f"sqlite:///{place}.db", "tinydb": f"tinydb://{place}"}
    return fill(urls[request.param], tmp_path, "01", "02", "03")


@pytest.fixture
def asked(monkeypatch):
    """Sit at a terminal, and answer; what was asked is in the list that is returned."""
    questions = []

    def sit(answer):
        for name in ("rm", "purge"):
            monkeypatch.setattr(f"capture.cli.{name}.can_ask", lambda: True)
            monkeypatch.setattr(f"capture.cli.{name}.confirmed", lambda text: questions.append(text) or answer)
        return questions

    return sit


def labels(url):
    return [str(label) for label in open_store(url).labels()]


def binned(url):
    return [str(label) for label in open_store(url).curator.binned()]


def test_a_run_goes_into_the_bin_comes_back_and_is_deleted_for_good(url, capsys):
    """The whole way, in every kind of store."""
    assert main(["rm", f"--store={url}", "1", "2"]) == 0
    assert (labels(url), binned(url)) == (["3"], ["1", "2"])
    assert main(["restore", f"--store={url}", "2"]) == 0
    assert (labels(url), binned(url)) == (["2", "3"], ["1"])
    assert main(["purge", f"--store={url}"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert listed[-2].split()[:3] == ["run", "name", "state"] and listed[-1].split()[:3] == ["1", "digits", "COMPLETED"]
    assert main(["purge", f"--store={url}", "--yes", "1"]) == 0
    assert "deleted 1 run; their files had 406 B" in capsys.readouterr().out
    assert (labels(url), binned(url)) == (["2", "3"], [])
    assert main(["purge", f"--store={url}", "--yes", "--all"]) == 1
    assert main(["restore", f"--store={url}", "--all"]) == 1


def test_what_is_not_there_is_said_with_what_is(url, capsys):
    """Before anything is done to the others that were named."""
    main(["rm", f"--store={url}", "1"])
    for words, said in (
        (["rm", "2", "9"], "holds no run '9'"),
        (["rm", "1"], "'1' is in the bin: restore it first"),
        (["restore", "1", "2"], "'2' is not in the bin"),
        (["purge", "--yes", "1", "3"], "'3' is not in the bin"),
    ):
        assert main([words[0], f"--store={url}", *words[1:]]) == 1
        assert said in capsys.readouterr().err
    assert (labels(url), binned(url)) == (["2", "3"], ["1"])


def test_several_runs_are_asked_about_on_a_terminal(url, asked, capsys):
    """A condition may mean more than one thinks."""
    questions = asked(False)
    assert main(["rm", f"--store={url}", "1", "3"]) == 1
    assert questions == ["Put 2 runs into the bin: 1, 3?"] and labels(url) == ["1", "2", "3"]
    asked(True)
    assert main(["rm", f"--store={url}", "--where=config.number < 3"]) == 0
    assert labels(url) == ["3"] and len(questions) == 2
    assert main(["rm", f"--store={url}", "3"]) == 0
    assert len(questions) == 2, "one run that is named is put into the bin without a question"
    asked(False)
    assert main(["purge", f"--store={url}", "1"]) == 1
    assert questions[-1].startswith("Delete 1 run for good (1)") and binned(url) == ["1", "2", "3"]


def test_where_nobody_can_be_asked_only_yes_is_yes(url, capsys):
    """A script that got its condition wrong must not empty the store."""
    assert main(["rm", f"--store={url}", "--where=config.number < 3"]) == 2
    assert "2 runs would go into the bin: 2, 1. With --yes they do" in capsys.readouterr().err
    assert main(["rm", f"--store={url}", "--where="]) == 2
    assert labels(url) == ["1", "2", "3"]
    assert main(["rm", f"--store={url}", "--yes", "--where=config.number < 3"]) == 0
    assert main(["purge", f"--store={url}", "--all"]) == 2
    assert "would delete 2 runs for good" in capsys.readouterr().err and binned(url) == ["1", "2"]
    assert main(["rm", f"--store={url}", "--yes", "--where=config.number == 77"]) == 1


def test_old_runs_can_be_deleted_by_their_age(url, capsys):
    """For a job that tidies up every night. The runs ended in January 2026."""
    main(["rm", f"--store={url}", "1"])
    assert main(["purge", f"--store={url}", "--yes", "--older-than=1000 weeks"]) == 1
    assert binned(url) == ["1"]
    assert main(["purge", f"--store={url}", "--yes", "--older-than=soon"]) == 2
    assert "--older-than: 'soon' is no duration" in capsys.readouterr().err
    assert main(["purge", f"--store={url}", "--yes", "--older-than=2 min"]) == 0
    assert binned(url) == []


@pytest.mark.parametrize(("alive", "beat_s", "force", "code"), [
    (True, 1, True, 1),
    (None, 1, False, 1),
    (None, 1, True, 0),
    (None, 3600, False, 0),
    (False, 1, False, 0),
])  # fmt: skip
def test_a_run_that_goes_on_is_refused(alive, beat_s, force, code, tmp_path, monkeypatch, capsys):
    """Its writer would lose its folder; one that died, or has long been silent, may go."""
    from capture.registry import make_observer
    from capture.testing import tell

    url = str(tmp_path / "runs")
    tell(make_observer(url), story(tmp_path, "01", end=False))
    monkeypatch.setattr(Store, "is_alive", lambda self, record: alive)
    monkeypatch.setattr("capture.query.keeping.silence", lambda run: float(beat_s))
    assert main(["rm", f"--store={url}", *(["--force"] if force else []), "1"]) == code
    assert labels(url) == (["1"] if code else [])
    assert ("is still going on" in capsys.readouterr().err) == bool(code)


def test_a_run_whose_process_lives_is_not_deleted(tmp_path, monkeypatch, capsys):
    """On another machine, from which that cannot be seen, it may have gone into the bin."""
    from capture.registry import make_observer
    from capture.testing import tell

    url = str(tmp_path / "runs")
    tell(make_observer(url), story(tmp_path, "01", end=False))
    monkeypatch.setattr(Store, "is_alive", lambda self, record: None)
    assert main(["rm", "--force", f"--store={url}", "1"]) == 0
    monkeypatch.setattr(Store, "is_alive", lambda self, record: True)
    assert main(["purge", "--yes", f"--store={url}", "1"]) == 1
    assert "run 1 is still going on: its process lives" in capsys.readouterr().err and binned(url) == ["1"]
    monkeypatch.setattr(Store, "is_alive", lambda self, record: False)
    assert main(["purge", "--yes", f"--store={url}", "1"]) == 0


def test_a_run_that_is_restored_meanwhile_is_not_deleted(tmp_path, capsys, monkeypatch):
    """Two people tidy up, and one of them has thought again."""
    pytest.importorskip("sqlalchemy")
    from capture.observers import _sql_curator

    url = fill(f"sqlite:///{tmp_path}/runs.db", tmp_path, "01")
    main(["rm", f"--store={url}", "1"])
    number_of = _sql_curator._number_of

    def restored_before(connection, label):
        monkeypatch.setattr(_sql_curator, "_number_of", number_of)
        connection.exec_driver_sql("UPDATE capture_run SET binned = 0")
        return number_of(connection, label)

    monkeypatch.setattr(_sql_curator, "_number_of", restored_before)
    assert main(["purge", "--yes", f"--store={url}", "1"]) == 1
    assert "was restored just now: it is not deleted" in capsys.readouterr().err
    assert binned(url) == ["1"], "what was done in the same transaction is undone, and nothing is deleted"


def test_a_folder_that_is_restored_meanwhile_is_not_deleted(tmp_path, capsys, monkeypatch):
    """Nor is the half of it: it leaves the bin in one step, before the first file goes."""
    from capture.observers import _labels

    url = fill(str(tmp_path / "runs"), tmp_path, "01")
    main(["rm", f"--store={url}", "1"])
    bury = _labels.bury

    def restored_before(*arguments):
        bury(*arguments)
        open_store(url).curator.restore("1")

    monkeypatch.setattr(_labels, "bury", restored_before)
    assert main(["purge", "--yes", f"--store={url}", "1"]) == 1
    assert "is not in the bin any more: it is not deleted" in capsys.readouterr().err
    assert main(["verify", f"--store={url}", "1"]) == 0


def test_a_deletion_that_broke_off_is_seen_by_doctor(tmp_path, monkeypatch):
    """Its run is in the bin no longer, and its bytes are nobody's."""
    import os
    import shutil

    from capture.observers import _file_health
    from capture.observers._file_reader import FileStoreReader

    url = fill(str(tmp_path / "runs"), tmp_path, "01")
    main(["rm", f"--store={url}", "1"])
    with monkeypatch.context() as patched:

        def killed(path):
            raise KeyboardInterrupt

        patched.setattr(shutil, "rmtree", killed)
        assert main(["purge", "--yes", f"--store={url}", "1"]) == 130
    assert binned(url) == [] and os.listdir(tmp_path / "runs" / "_capture" / "trash")
    monkeypatch.setattr(_file_health, "LEFT_OVER_S", -1.0)
    assert any("a purge broke off" in text for _, text, _ in FileStoreReader(url).health())


@pytest.mark.parametrize("command", ["restore", "purge"])
def test_of_a_run_that_is_in_sight_it_is_said_that_it_is(command, tmp_path, capsys):
    """Nothing has to be done to have it back, and what is to be deleted goes into the bin first."""
    url = fill(str(tmp_path / "runs"), tmp_path, "01")
    assert main([command, *(["--yes"] if command == "purge" else []), f"--store={url}", "1"]) == 1
    said = {"restore": "there is nothing to restore", "purge": "capture rm puts it there"}[command]
    assert f"run '1' is not in the bin: {said}" in capsys.readouterr().err
