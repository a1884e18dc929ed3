"""What names a store, and what does not."""

from __future__ import annotations

import pytest

from capture import open_store
from capture.errors import ObserverError
from capture.registry import make_observer, open_curator, open_reader, split_url


@pytest.mark.parametrize("call", [make_observer, open_reader, open_curator, open_store])
@pytest.mark.parametrize("empty", ["", " "])
def test_nothing_is_no_store(call, empty, tmp_path, monkeypatch):
    """What an unset variable leaves would be the current folder, where everything but runs lies."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ObserverError, match="an empty text names no store"):
        call(empty)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("both", ["runs,tinydb:x2", "runs, sqlite:///x.db", "a,b,postgresql://u:hunter2@h/d"])
def test_several_stores_in_one_text_are_refused_with_what_to_write(both, tmp_path, monkeypatch):
    """It was a folder of that name, and the second store had nothing."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ObserverError, match=r"names several stores(?s:.*)-o (runs|a,b) -o \w+:") as error:
        make_observer(both)
    assert "hunter2" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["a,b", "runs,2024/x"])
def test_a_folder_may_have_a_comma_in_its_name(url, tmp_path, monkeypatch):
    """Only what looks like a second store is refused."""
    monkeypatch.chdir(tmp_path)
    assert split_url(url) == ("file", url)
    assert make_observer(url).local_folder.endswith(url)


def test_a_slip_in_a_url_does_not_show_its_password():
    """Error messages are logged."""
    with pytest.raises(ObserverError, match="did you mean:   postgresql://bob") as error:
        make_observer("postgresql:/bob:hunter2@db/runs")
    assert "hunter2" not in str(error.value)
