"""``capture get``: files of a run, on the disk where they are wanted and nowhere else."""

from __future__ import annotations

import os
import sys

import pytest

from capture import open_store
from capture.cli import main
from capture.query.fetching import AmbiguousFileError, matching
from capture.registry import make_observer
from capture.testing import tell
from tests.cli.making import fill, story


@pytest.fixture
def url(tmp_path, monkeypatch):
    """Return a store with one run; the current folder is an empty one."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return fill(str(tmp_path / "runs"), tmp_path, "01")


def with_artifacts(tmp_path, **names):
    """Return a store of one run with artifacts of these names and contents."""
    made = story(tmp_path, "0a", end=False)
    for name, data in names.items():
        made.artifact(name, data)
    url = str(tmp_path / "others")
    tell(make_observer(url), made.complete())
    return url


def files_below(folder):
    return sorted(os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names)


def test_without_a_name_the_files_are_listed(url, capsys):
    """What is there to be fetched?"""
    assert main(["get", f"--store={url}", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["kind", "name"],
        ["artifacts", "plots/loss.png"],
        ["artifacts", "model.bin"],
        ["resources", "/project/data/in.csv"],
        ["sources", "train.py"],
        ["kept", ".capture/environment.json"],
    ]
    assert main(["get", f"--store={url}", "--sources", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_what_is_kept_of_the_repository_is_one_line(tmp_path, monkeypatch, capsys):
    """Of a script of ten lines, fifty files that git does not know hide the one that somebody looks for."""
    monkeypatch.chdir(tmp_path)
    made = story(tmp_path, "0a", end=False)
    for number in range(50):
        made.source(f".capture/git/0/untracked/{number}.txt", b"%d" % number)
    tell(make_observer("runs"), made.complete())
    assert main(["get", "1"]) == 0
    out = capsys.readouterr().out
    assert "untracked" not in out and "and 50 files of the repository, 90 B: capture get 1 --kept lists them" in out
    assert ".capture/environment.json" in out
    assert main(["get", "1", "--kept"]) == 0
    assert capsys.readouterr().out.count("untracked/") == 50


def test_a_kind_is_fetched_as_a_whole_where_a_folder_is_named(url, capsys):
    """A folder that is named and not written to is a slip that nobody notices."""
    assert main(["get", f"--store={url}", "--sources", "--to=all", "1"]) == 0
    assert files_below("all") == ["train.py"]
    assert main(["get", f"--store={url}", "--to=none", "1"]) == 2
    assert "name files" in capsys.readouterr().err and not os.path.exists("none")


@pytest.mark.parametrize(("wanted", "path", "data"), [
    ("model.bin", "model.bin", bytes(range(256))),
    ("loss.png", "plots/loss.png", b"PNG" * 40),
    ("*.png", "plots/loss.png", b"PNG" * 40),
    ("/project/data/in.csv", "data/in.csv", b"a,b\n1,2\n"),
    ("in.csv", "data/in.csv", b"a,b\n1,2\n"),
    ("data/in.csv", "data/in.csv", b"a,b\n1,2\n"),
    ("train.py", "train.py", b"print(1)\n"),
    ("40aff2e9d2d8", "model.bin", bytes(range(256))),
    ("SHA256:40AFF2", "model.bin", bytes(range(256))),
])  # fmt: skip
def test_a_file_is_named_by_name_pattern_or_digest(url, wanted, path, data, tmp_path):
    """What the run read goes where it was in the project's folder."""
    assert main(["get", f"--store={url}", "--to=out", "1", wanted]) == 0
    assert files_below("out") == [path]
    with open(os.path.join("out", path), "rb") as stream:
        assert stream.read() == data


def test_a_slip_says_what_there_is(url, capsys):
    """Also for a file that the run used and that was too big to be kept."""
    assert main(["get", f"--store={url}", "1", "modle.bin"]) == 1
    err = capsys.readouterr().err
    assert "did you mean:  model.bin" in err and "plots/loss.png" in err
    assert main(["get", f"--store={url}", "1", "big.npy"]) == 1
    assert "the run read /project/big.npy, and its bytes were not kept: it has more than" in capsys.readouterr().err
    assert main(["get", f"--store={url}", "1", "40aff"]) == 1, "five digits are no digest"
    assert main(["get", f"--store={url}", "--artifacts", "1", "train.py"]) == 1
    assert files_below(".") == []


def test_nothing_is_overwritten_unless_it_is_asked_for(url, capsys):
    """The file that is there may be the only one of its kind; and either all are fetched, or none."""
    with open("model.bin", "wb") as stream:
        stream.write(b"mine")
    assert main(["get", f"--store={url}", "1", "train.py", "model.bin"]) == 1
    assert "model.bin exists already, with other content" in capsys.readouterr().err
    assert files_below(".") == ["model.bin"]
    assert main(["get", f"--store={url}", "--force", "1", "train.py", "model.bin"]) == 0
    assert os.path.getsize("model.bin") == 256
    before = os.stat("model.bin").st_mtime_ns
    capsys.readouterr()
    assert main(["get", f"--store={url}", "1", "model.bin"]) == 0
    assert capsys.readouterr().out == "model.bin is there already\n"
    assert os.stat("model.bin").st_mtime_ns == before


@pytest.mark.parametrize("name", [
    "../../evil.txt", "/etc/evil.txt", "C:\\evil.txt", "..\\..\\evil.txt", "a/../../evil.txt", "con.txt", "a:b", "x\n\x1b[2J",
])  # fmt: skip
def test_no_name_leads_out_of_the_folder(name, tmp_path, monkeypatch, capsys):
    """A record is other people's data, and so are the names in it."""
    url = with_artifacts(tmp_path, **{name: b"evil"})
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    before = files_below(tmp_path)
    stored = open_store(url).get("1").artifacts[-1].name
    assert main(["get", f"--store={url}", "--to=out", "1", stored]) == 0
    [new] = set(files_below(tmp_path)) - set(before)
    assert new.startswith(os.path.join("deep", "er", "out") + os.sep)
    assert new.isprintable() and ":" not in new and os.path.basename(new) != "con.txt"
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="making a symbolic link takes rights there")
def test_symbolic_links_are_not_followed_out_of_the_folder(url, tmp_path, capsys):
    """Whoever may write into the folder could lead the file anywhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.mkdir("out")
    os.symlink(elsewhere, "out/plots")
    assert main(["get", f"--store={url}", "--to=out", "--force", "1", "loss.png"]) == 1
    assert "leads out of out, by a symbolic link" in capsys.readouterr().err
    (elsewhere / "file").write_text("precious")
    os.symlink(elsewhere / "file", "out/model.bin")
    assert main(["get", f"--store={url}", "--to=out", "1", "model.bin"]) == 1
    assert main(["get", f"--store={url}", "--to=out", "--force", "1", "model.bin"]) == 0
    assert (elsewhere / "file").read_text() == "precious" and not os.path.islink("out/model.bin")
    os.unlink("out/plots")
    with open("out/plots", "w"):
        pass
    assert main(["get", f"--store={url}", "--to=out", "--force", "1", "loss.png"]) == 1
    assert "is no folder" in capsys.readouterr().err


def test_damaged_bytes_are_not_handed_out(url, tmp_path, capsysbinary):
    """What is on the disk afterwards is what was recorded, or it is not there."""
    path = tmp_path / "runs" / "1" / "model.bin"
    path.chmod(0o644)
    path.write_bytes(b"\1" + path.read_bytes()[1:])
    assert main(["get", f"--store={url}", "--to=out", "1", "model.bin"]) == 1
    assert b"is not what was recorded: its bytes have changed" in capsysbinary.readouterr().err
    assert files_below("out") == []
    assert main(["get", f"--store={url}", "--to=-", "1", "model.bin"]) == 1
    path.unlink()
    assert main(["get", f"--store={url}", "1", "model.bin"]) == 1
    assert b"the store has no bytes of artifacts: model.bin" in capsysbinary.readouterr().err
    assert files_below(".") == []


@pytest.mark.parametrize(("error", "said"), [
    (ConnectionError("reset by peer"), "capture: reset by peer\n"),
    (OSError(5, "Input/output error"), "the bytes of artifacts: model.bin (40aff2e9d2d8) cannot be read: OSError"),
    (ValueError("bad chunk"), "the bytes of artifacts: model.bin (40aff2e9d2d8) cannot be read: ValueError: bad chunk"),
])  # fmt: skip
def test_trouble_in_the_store_is_not_said_of_what_is_written(error, said, url, monkeypatch, capsys):
    """Whoever reads that the file cannot be written makes room on the wrong disk."""
    from capture.records import StoredFile

    def fail(self):
        raise error

    monkeypatch.setattr(StoredFile, "open", fail)
    assert main(["get", f"--store={url}", "1", "model.bin"]) == 1
    assert said in capsys.readouterr().err
    assert files_below(".") == []


def test_a_file_that_was_fetched_just_now_is_not_replaced(tmp_path, monkeypatch, capsys):
    """On macOS and Windows names that differ in case are one: --force means what was there before."""
    monkeypatch.chdir(tmp_path)
    url = with_artifacts(tmp_path, Model=b"one", model=b"two")
    monkeypatch.setattr("capture.query.fetching.places", lambda run, files, folder: [
        (each, os.path.join(folder, "model")) for each in files
    ])  # fmt: skip
    assert main(["get", f"--store={url}", "--to=out", "--force", "1", "Model", "model"]) == 1
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "out" / "model").read_bytes() == b"one"


def test_one_file_goes_to_standard_output(url, capsysbinary):
    """Into a pipe, byte for byte."""
    assert main(["get", f"--store={url}", "--to=-", "1", "model.bin"]) == 0
    assert capsysbinary.readouterr().out == bytes(range(256))
    assert main(["get", f"--store={url}", "--to=-", "1", "model.bin", "train.py"]) == 2
    assert b"takes one file" in capsysbinary.readouterr().err


def test_a_name_of_two_files_is_asked_about(tmp_path, monkeypatch, capsys):
    """An artifact and a source of one name: whichever was fetched, it might be the wrong one."""
    monkeypatch.chdir(tmp_path)
    url = with_artifacts(tmp_path, **{"train.py": b"print(2)\n"})
    assert main(["get", f"--store={url}", "--to=out", "1", "train.py"]) == 2
    err = capsys.readouterr().err
    assert "artifacts: train.py" in err and "sources: train.py" in err
    with pytest.raises(AmbiguousFileError):
        matching(open_store(url).get("1"), "train.py")
    assert main(["get", f"--store={url}", "--to=out", "--sources", "1", "train.py"]) == 0
    assert (tmp_path / "out" / "train.py").read_text() == "print(1)\n"
    monkeypatch.setattr("capture.cli.get.can_ask", lambda: True)
    for answer, code in (("1\n", 0), ("\n", 2), ("3\n", 2)):
        monkeypatch.setattr(sys, "stdin", __import__("io").StringIO(answer))
        assert main(["get", f"--store={url}", "--to=asked", "1", "train.py"]) == code
    assert (tmp_path / "asked" / "train.py").read_text() == "print(2)\n"
    assert main(["get", f"--store={url}", "--to=both", "1", "*.py"]) == 1
    assert "would be both" in capsys.readouterr().err and not (tmp_path / "both").exists()


def test_records_of_sacred_give_their_files_too(tmp_path, capsys):
    """They know an MD5 at most."""
    golden = os.path.join(os.path.dirname(os.path.dirname(__file__)), "golden", "sacred-0.8.7")
    assert main(["get", f"--store={golden}", f"--to={tmp_path}", "1", "plot.txt", "gen.py", "in.txt"]) == 0
    assert files_below(tmp_path) == ["gen.py", "in.txt", "plot.txt"]
    capsys.readouterr()
    assert main(["get", f"--store={golden}", f"--to={tmp_path}", "1", "gen.py"]) == 0
    assert capsys.readouterr().out.endswith("gen.py is there already\n"), "the MD5 says so"
