"""``capture note``: what somebody thought of a run."""

from __future__ import annotations

import io
import os
import sys

import pytest

from capture import open_store
from capture.cli import main, note
from tests.cli.making import fill


@pytest.fixture
def url(tmp_path):
    return fill(str(tmp_path / "runs"), tmp_path, "01")


@pytest.fixture
def editor(tmp_path, monkeypatch):
    """Return a function that makes an editor which runs some Python on the file's path, and sits at a terminal."""
    monkeypatch.setattr("capture.cli.note.can_ask", lambda: True)
    monkeypatch.delenv("VISUAL", raising=False)

    def make(code):
        script = tmp_path / "my editor.py"
        script.write_text(f"import sys\npath = sys.argv[-1]\n{code}\n")
        monkeypatch.setenv("EDITOR", f'"{sys.executable}" "{script}" --wait')

    return make


def notes(url):
    return open_store(url).get("1").notes


def test_a_note_is_set_added_to_and_taken_away(url, capsys):
    """By hand or from a script."""
    assert main(["note", f"--store={url}", "1", "looks good"]) == 0
    assert main(["note", f"--store={url}", "--append", "1", "--", "- but slow"]) == 0
    assert notes(url) == "looks good\n\n- but slow"
    assert main(["note", f"--store={url}", "1"]) == 0
    assert capsys.readouterr().out == "looks good\n\n- but slow\n"
    assert main(["note", f"--store={url}", "1", ""]) == 0
    assert notes(url) == ""
    assert main(["note", f"--store={url}", "--append", "1"]) == 2


def test_a_dash_stands_for_standard_input(url, monkeypatch):
    """The output of another command becomes the note."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("two\nlines\n"))
    assert main(["note", f"--store={url}", "1", "-"]) == 0
    assert notes(url) == "two\nlines"


def test_the_editor_gets_the_notes_and_gives_them_back(url, editor, capsys):
    """More than a line is written in the editor that one is used to; its command may have arguments and blanks."""
    main(["note", f"--store={url}", "1", "first"])
    editor("assert open(path).read() == 'first\\n'; open(path, 'a').write('s\u00e9cond\\n')")
    assert main(["note", f"--store={url}", "1"]) == 0
    assert notes(url) == "first\nsécond"
    editor("pass")
    assert main(["note", f"--store={url}", "1"]) == 0
    assert "nothing changed" in capsys.readouterr().err
    editor("assert open(path).read() == ''; open(path, 'w').write('third')")
    assert main(["note", f"--store={url}", "--append", "1"]) == 0
    assert notes(url) == "first\nsécond\n\nthird"


def test_an_editor_that_fails_changes_nothing(url, editor, monkeypatch, capsys):
    """``:cq`` in vi means: I did not mean it."""
    main(["note", f"--store={url}", "1", "first"])
    editor("sys.exit(3)")
    assert main(["note", f"--store={url}", "1"]) == 1
    err = capsys.readouterr().err
    assert "ended with status 3: nothing was changed" in err and "what you wrote" not in err
    editor("open(path, 'w').write('crashed'); sys.exit(3)")
    assert main(["note", f"--store={url}", "1"]) == 1
    with open(capsys.readouterr().err.split("what you wrote is in ")[1].splitlines()[0]) as stream:
        assert stream.read() == "crashed"
    monkeypatch.setenv("EDITOR", "no-such-editor-anywhere")
    assert main(["note", f"--store={url}", "1"]) == 1
    assert "cannot be started" in capsys.readouterr().err
    monkeypatch.setenv("EDITOR", "'vi")
    assert main(["note", f"--store={url}", "1"]) == 2
    assert notes(url) == "first"


def test_what_was_written_is_not_lost_when_the_store_refuses(url, editor, monkeypatch, capsys):
    """An hour's thoughts, and the disk is full."""
    from capture.observers._file_curator import FileStoreCurator

    def refuse(self, run, change):
        raise OSError("no space left")

    monkeypatch.setattr(FileStoreCurator, "revise", refuse)
    editor("open(path, 'w').write('thoughts')")
    assert main(["note", f"--store={url}", "1"]) == 1
    told = capsys.readouterr().err
    assert "no space left" in told
    path = told.split("what you wrote is in ")[1].splitlines()[0]
    with open(path) as stream:
        assert stream.read() == "thoughts"
    assert os.stat(os.path.dirname(path)).st_mode & 0o77 == 0


def test_two_who_edit_at_once_do_not_undo_each_other(url, editor, capsys):
    """The editor may be open all afternoon."""
    main(["note", f"--store={url}", "1", "first"])
    editor(f"from capture.cli import main; main(['note', {f'--store={url}'!r}, '1', 'of others']); open(path, 'a').write('mine')")
    assert main(["note", f"--store={url}", "1"]) == 1
    err = capsys.readouterr().err
    assert "changed by somebody else meanwhile" in err and notes(url) == "of others"
    with open(err.split("what you wrote is in ")[1].splitlines()[0]) as stream:
        assert stream.read() == "first\nmine"


def test_notes_that_are_no_utf_8_can_be_edited(url, editor):
    """Half a pair from JSON in the record, a byte of Latin-1 from the editor."""
    open_store(url).get("1").note("half \ud800")
    editor("open(path, 'ab').write(b'caf\\xe9')")
    assert main(["note", f"--store={url}", "1"]) == 0
    assert notes(url) == "half \\ud800\ncaf\\xe9"


def test_the_notes_that_are_printed_cannot_move_the_cursor(url, capsys):
    """They come from anybody who may write into the store."""
    main(["note", f"--store={url}", "1", "\x1b[2Jgone\nline"])
    main(["note", f"--store={url}", "1"])
    assert capsys.readouterr().out == "\\x1b[2Jgone\nline\n"


def test_without_a_named_editor_one_that_is_there_is_taken(monkeypatch):
    """Nobody sets EDITOR before the first note."""
    for name in ("VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}" if name in ("nano", "notepad") else None)
    assert note.editor_command() in (["nano"], ["notepad"])


def test_the_words_of_an_editor_may_be_quoted_on_windows(monkeypatch):
    """Programs lie in a folder with a blank in its name, and backslashes are no escapes."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("VISUAL", r'"C:\Program Files\ed.exe" --wait')
    assert note.editor_command() == [r"C:\Program Files\ed.exe", "--wait"]
