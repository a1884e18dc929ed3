"""Stores and folders that may not be written: what could not be done is said, in the words of who asked for it."""

from __future__ import annotations

import errno
import os

import pytest

from capture.cli import main
from capture.observers._run_folder import RunFolder
from tests.cli.making import fill

NO_RIGHT = PermissionError(errno.EACCES, "Permission denied", "/2/metrics.jsonl")
READ_ONLY = OSError(errno.EROFS, "Read-only file system", "/2/metrics.jsonl")


def refuse(error):
    def refusing(*args, **kwargs):
        raise error

    return refusing


@pytest.mark.parametrize("error", [NO_RIGHT, READ_ONLY], ids=["no right", "mounted read-only"])
@pytest.mark.parametrize("command", [["tag", "--add=good"], ["note", "--append"], ["rm"]], ids=lambda words: words[0])
def test_a_store_that_may_not_be_written_is_named_and_none_of_its_files(tmp_path, monkeypatch, capsys, command, error):
    """Nobody expects metrics.jsonl where a tag was to be set."""
    store = fill(str(tmp_path / "runs"), tmp_path, "01")
    monkeypatch.setattr(RunFolder, "open", refuse(error))
    monkeypatch.setattr(os, "rename", refuse(error))
    words = ["1", "text"] if command[0] == "note" else ["1"]
    assert main([*command, f"--store={store}", *words]) == 1
    told = capsys.readouterr().err
    done = "put into the bin" if command == ["rm"] else "changed"
    assert f"run 1 cannot be {done}: {store} may not be written ({error.strerror})" in told
    assert "metrics.jsonl" not in told and "Traceback" not in told


def test_a_report_names_the_file_that_was_asked_for(tmp_path, capsys):
    """The name under which it is written at first is nobody's business."""
    store = fill(str(tmp_path / "runs"), tmp_path, "01")
    target = str(tmp_path / "nowhere" / "page.html")
    assert main(["report", "-o", target, f"--store={store}", "1"]) == 2
    told = capsys.readouterr().err
    assert f"{target} cannot be written: there is no folder {tmp_path / 'nowhere'}" in told and ".part" not in told
