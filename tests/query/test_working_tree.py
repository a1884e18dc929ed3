"""The working tree as it is now: looked at, hashed and listed, and never executed."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys

import pytest

from capture.filters import MISSING
from capture.query.differences import Difference, compare
from capture.query.working_tree import (
    FolderNotFoundError,
    InterpreterError,
    WorkingTree,
    root_of,
    working_tree,
)
from capture.records import RunRecord, StoredFile, bytes_opener
from capture.settings import Settings

EXECUTED = "raise SystemExit('a module of the folder was executed')\n"


def stored(name: str, data: bytes) -> StoredFile:
    return StoredFile(name, hashlib.sha256(data).hexdigest(), len(data), open=bytes_opener(data))


def record(base, **sources: str) -> RunRecord:
    """Return a run whose base folder was `base`."""
    run = RunRecord(uid="uid", label="1")
    run.status = "COMPLETED"
    run.config = {"lr": 0.1}
    run.experiment = {"name": "e", "base_dir": str(base), "mainfile": "main.py", "dependencies": []}
    run.sources = [stored(f"{name}.py", text.encode()) for name, text in {"main": EXECUTED, **sources}.items()]
    return run


@pytest.fixture
def folder(tmp_path):
    """A folder with the source of a run."""
    place = tmp_path / "project"
    place.mkdir()
    (place / "main.py").write_text(EXECUTED)
    return place


def differing(run: RunRecord, tree: WorkingTree, *kinds: str) -> dict[str, Difference]:
    return {each.name: each for each in compare([run, tree]).causes if each.kind in (kinds or ("source", "input"))}


def test_an_unchanged_folder_differs_in_nothing_of_the_project(folder):
    """Else nobody could tell that a run can be repeated."""
    run = record(folder)
    assert differing(run, working_tree(run, folder)) == {}


def test_sources_are_compared_and_nothing_is_executed(folder):
    """Every file of this test would end the process if it were imported."""
    run = record(folder, helper="x = 1\n", gone="y = 1\n")
    (folder / "helper.py").write_text("import fresh\nx = 2\n" + EXECUTED)
    (folder / "fresh.py").write_text("import fresher\n" + EXECUTED)
    (folder / "fresher.py").write_text(EXECUTED)
    (folder / "unused.py").write_text(EXECUTED)
    tree = working_tree(run, folder)
    found = differing(run, tree)
    assert set(found) == {"helper.py", "gone.py", "fresh.py", "fresher.py"}
    assert "+x = 2" in found["helper.py"].detail
    assert found["gone.py"].values[1] is MISSING
    assert found["gone.py"].why == "it is part of 1 only"
    assert any("only when it runs" in each for each in tree.limits)


def test_configuration_and_outcomes_are_not_compared(folder):
    """They take a run; an entry that is not known is no difference."""
    run = record(folder)
    run.result = 3
    found = compare([run, working_tree(run, folder)])
    assert found.outcomes == []
    assert not [each for each in found.causes if each.kind in ("config", "seed", "command")]
    assert any("nothing in the folder is executed" in each for each in found.limits)
    several = compare([run, record(folder), working_tree(run, folder)])
    assert not [each for each in several.causes if each.kind == "config"]


@pytest.mark.parametrize("place", [".", "inner/..", "around"])
def test_the_base_folder_is_found_where_it_lies_now(tmp_path, place):
    """A run that was started as ``python experiments/main.py`` is compared with the folder it was started from."""
    moved = tmp_path / "clone" / "experiments"
    moved.mkdir(parents=True)
    (moved / "main.py").write_text("")
    (moved / "inner").mkdir()
    run = record("/home/user/project/experiments")
    run.facts["process"] = {"cwd": "/home/user/project"}
    chosen = moved.parent if place == "around" else moved / place
    found = root_of(run, str(chosen))
    assert found is not None
    assert os.path.samefile(found, moved)


def test_the_base_folder_is_found_in_a_clone_of_its_repository(tmp_path):
    """The folder the run was started from says nothing then."""
    inside = tmp_path / "clone" / "a" / "b"
    inside.mkdir(parents=True)
    (inside / "main.py").write_text("")
    run = record("/elsewhere/repository/a/b")
    run.facts["git"] = [{"root": "/elsewhere/repository"}]
    found = root_of(run, str(tmp_path / "clone"))
    assert found is not None
    assert os.path.samefile(found, inside)


def test_a_folder_without_the_sources_says_so(tmp_path):
    """A slip of who names it, most likely."""
    run = record("/somewhere")
    tree = working_tree(run, tmp_path)
    assert any("main.py of 1 is not in" in each for each in tree.limits)
    run.experiment["repositories"] = [{"url": "u", "commit": "ab12" * 10, "dirty": False}]
    comparison = compare([run, tree])
    [cause] = [each for each in comparison.causes if each.kind in ("source", "git")]  # and no commit, which the folder of something else has or has not
    assert (cause.kind, cause.name, cause.values[1]) == ("source", "main.py", MISSING)
    assert cause.why == f"it is not in {tmp_path}" and comparison.differ
    assert not any("is not recorded: sources" in each for each in comparison.limits)


def test_inputs_are_hashed_again(folder, tmp_path):
    """In the folder first, else where they lay; what is gone is a difference."""
    outside = tmp_path / "outside.csv"
    outside.write_bytes(b"1")
    (folder / "data.csv").write_bytes(b"new")
    run = record("/old/project")
    run.facts["lineage"] = {
        "inputs": [
            {"path": "/old/project/data.csv", "name": "data.csv", "digest": hashlib.sha256(b"old").hexdigest()},
            {"path": str(outside), "digest": hashlib.sha256(b"1").hexdigest(), "size": 1},
            {"path": "/nowhere/gone.csv", "digest": "a" * 64, "size": 1},
        ],
        "urls": [{"url": "https://example.org/x", "digest": "b" * 64}],
    }
    run.resources = [stored("/old/project/data.csv", b"old")]
    tree = working_tree(run, folder)
    found = differing(run, tree)
    assert set(found) == {"data.csv", "/nowhere/gone.csv"}
    assert found["/nowhere/gone.csv"].why == "it is not there now"
    assert any("not fetched again" in each for each in tree.limits)


@pytest.mark.skipif(not os.path.exists("/proc/version"), reason="there are no files that the system makes up")
def test_what_the_system_makes_up_is_not_read(folder):
    """A record may name /proc/kcore, which has more bytes than can ever be hashed."""
    run = record(folder)
    run.facts["lineage"] = {"inputs": [{"path": "/proc/version", "digest": "a" * 64, "size": 1}]}
    run.sources.append(stored("/proc/version", b"x"))
    tree = working_tree(run, folder)
    assert [each.name for each in tree.sources] == ["main.py"]
    assert "/proc/version is made up by the system: it is not read, nor compared" in tree.limits
    run.sources.pop()
    assert differing(run, tree) == {}


def test_what_has_grown_very_large_is_not_hashed_as_a_whole(folder, monkeypatch):
    """A run would not have done it either; that it is not what it was is clear from its size."""
    from capture.probes.lineage import digesting

    monkeypatch.setattr(digesting, "SAMPLE_BYTES", 1 << 20)
    settings = Settings()
    settings.LINEAGE.HASH_LIMIT_BYTES = 1 << 20
    monkeypatch.setattr("capture.settings.SETTINGS", settings)
    path = folder / "big.bin"
    path.write_bytes(bytes(2 << 20))
    run = record(folder)
    run.facts["lineage"] = {"inputs": [{"path": str(path), "name": "big.bin", "digest": "a" * 64, "size": 1}]}
    tree = working_tree(run, folder)
    assert tree.facts["lineage"]["inputs"][0]["sampled"] and list(differing(run, tree)) == ["big.bin"]


def test_a_sample_is_compared_with_a_sample(folder, monkeypatch):
    """A digest of the whole would never be equal to that of a part."""
    from capture.probes.lineage import digesting

    monkeypatch.setattr(digesting, "SAMPLE_BYTES", 1 << 20)
    (folder / "big.bin").write_bytes(bytes(range(256)) * 8192)
    sampled = digesting.Digester(None, 0, sys.maxsize)
    path = str(folder / "big.bin")
    sampled.submit(path)
    sampled.finish(60)
    result = sampled.result(path)
    assert result is not None
    assert result["sampled"]
    run = record(folder)
    entry = {"path": path, "name": "big.bin", "digest": result["digest"], "size": result["size"], "sampled": True}
    run.facts["lineage"] = {"inputs": [entry]}
    assert differing(run, working_tree(run, folder)) == {}
    with open(path, "r+b") as file:
        file.write(b"another")
    assert list(differing(run, working_tree(run, folder))) == ["big.bin"]


def test_a_folder_of_inputs_is_compared_file_by_file(folder):
    """Files that the run did not read do not count."""
    from capture.probes.lineage.manifests import folder_digest

    images = folder / "images"
    images.mkdir()
    for name in ("a", "b"):
        (images / name).write_text(name)
    kept: list[StoredFile] = []

    def keep(name, data):
        kept.append(stored(name, data))
        return {"source": name}

    run = record(folder)
    run.facts["lineage"] = {"inputs": [folder_digest(str(images), keep=keep)]}
    run.kept = kept
    (images / "unread").write_text("")
    assert differing(run, working_tree(run, folder)) == {}
    (images / "a").write_text("other")
    (images / "b").unlink()
    found = next(iter(differing(run, working_tree(run, folder)).values()))
    assert found.detail.split("\n") == ["- b", "~ a"]


def test_what_lies_outside_of_the_folder_is_never_shown(folder, tmp_path):
    """A record is other people's data: it may name any file of who compares it."""
    secret = tmp_path / "secret.txt"
    secret.write_text("my password\n")
    (folder / "link.py").symlink_to(secret)
    run = record(folder)
    for name in (str(secret), "../secret.txt", "link.py"):
        run.sources.append(stored(name, b"x\n"))
    run.resources = [stored(str(secret), b"y\n")]
    run.facts["lineage"] = {"inputs": [{"path": str(secret), "digest": "a" * 64}]}
    found = compare([run, working_tree(run, folder)], every=True)
    assert "my password" not in repr([(each.detail, each.values) for each in found.causes])


def test_the_packages_are_those_of_this_interpreter_or_of_another(folder):
    """Which one is said, since people have several."""
    run = record(folder)
    run.experiment["dependencies"] = ["pytest==0.0.1", "no-such-thing==1"]
    tree = working_tree(run, folder)
    assert tree.packages["pytest"] == pytest.__version__
    assert any(sys.executable in each for each in tree.limits)
    found = differing(run, tree, "package")
    assert found["packages.pytest"].values == ["0.0.1", pytest.__version__]
    assert found["packages.no-such-thing"].values == ["1", MISSING]
    other = working_tree(run, folder, python=sys.executable)
    assert other.packages["pytest"] == pytest.__version__
    assert other.host["python_version"] == sys.version.split()[0]


def test_a_default_that_was_changed_comes_before_the_environment(folder, monkeypatch):
    """What the config scopes of a folder set is not compared by itself, since nothing is executed."""
    scope = "from capture import Experiment\nex = Experiment()\n@ex.config\ndef c():\n    lr = {}\n"
    run = record(folder, model=scope.format(1))
    run.facts["process"] = {"environment": {"OMP_NUM_THREADS": "1"}}
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (folder / "model.py").write_text(scope.format(2))
    found = [each.name for each in compare([run, working_tree(run, folder)]).causes]
    assert found.index("model.py") < found.index("env.OMP_NUM_THREADS")


@pytest.fixture
def editable(tmp_path):
    """A package in a folder and repository of its own, which an environment points to, and what records tell of it."""
    place = tmp_path / "lib"
    (place / "lab_models").mkdir(parents=True)
    (place / "lab_models" / "model.py").write_text("x = 1\n")
    subprocess.run(["git", "init", "-q", "."], cwd=place, check=True)
    subprocess.run(["git", "add", "."], cwd=place, check=True)
    subprocess.run(["git", "commit", "-q", "-m", "first"], cwd=place, check=True)
    site = tmp_path / "site"
    info = site / "lab_models-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab_models\nVersion: 1.0\n")
    (info / "direct_url.json").write_text(json.dumps({"url": place.as_uri(), "dir_info": {"editable": True}}))
    return place, site


def with_editable(base, commit: str | None) -> RunRecord:
    run = record(base)
    run.experiment["dependencies"] = ["lab_models==1.0"]
    run.sources.append(stored("lab_models/lab_models/model.py", b"x = 1\n"))
    row = {
        "name": "lab_models",
        "version": "1.0",
        "editable": "/elsewhere",
        "sources": ["lab_models/lab_models/model.py"],
    }
    run.facts["imports"] = {"distributions": [row]}
    run.facts["git"] = [{"distribution": "lab_models", "commit": commit}]
    return run


def test_the_files_of_editable_packages_are_compared_where_they_lie_now(folder, editable, monkeypatch):
    """They are half of the code of a lab, and the likeliest to have been changed since."""
    place, site = editable
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=place, check=True, capture_output=True, text=True).stdout
    run = with_editable(folder, commit.strip())
    monkeypatch.syspath_prepend(str(site))
    assert differing(run, working_tree(run, folder)) == {}
    (place / "lab_models" / "model.py").write_text("x = 2\n")
    found = differing(run, working_tree(run, folder), "source", "package")
    assert not {"packages.lab-models", "packages.lab-models.commit"} & found.keys()
    assert "+x = 2" in found["lab_models/lab_models/model.py"].detail
    assert "compared one by one" in found["packages.lab-models.changes"].why


def test_another_interpreter_tells_where_its_editable_packages_lie(folder, editable, tmp_path):
    """It is asked alone, so that its own site folder counts only."""
    place, site = editable
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = next(each for each in (tmp_path / "venv").glob("*/python*") if each.name in ("python", "python.exe"))
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    library = subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True).stdout.strip()
    shutil.copytree(site / "lab_models-1.0.dist-info", os.path.join(library, "lab_models-1.0.dist-info"))
    (place / "lab_models" / "model.py").write_text("x = 2\n")
    run = with_editable(folder, "a" * 40)
    assert "lab_models/lab_models/model.py" in differing(run, working_tree(run, folder, python=str(python)))


def test_a_package_that_is_not_editable_any_more_is_named(folder):
    """Its files are then those of a version, in a place where no run recorded them."""
    run = with_editable(folder, "a" * 40)
    tree = working_tree(run, folder)
    assert any("lab_models: no editable install now" in each for each in tree.limits)


def test_another_interpreter_runs_nothing_of_the_folder(folder, monkeypatch):
    """A json.py beside the script must not become the json of who is asked."""
    for name in ("json", "platform", "sitecustomize", "usercustomize"):
        (folder / f"{name}.py").write_text(EXECUTED)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    run = record(folder)
    assert working_tree(run, ".", python=sys.executable).host["python_version"]


@pytest.mark.parametrize("python", ["/no/such/python", os.devnull])
def test_an_interpreter_that_does_not_answer_is_refused(folder, python):
    """A comparison with nothing would list every package as missing."""
    with pytest.raises(InterpreterError, match="does not tell what is installed") as caught:
        working_tree(record(folder), folder, python=python)
    assert pickle.loads(pickle.dumps(caught.value)).path == python


def test_an_interpreter_that_fails_is_refused_with_its_words(folder, tmp_path):
    """A program of another kind, or a broken environment."""
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'no module named encodings' >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(InterpreterError, match="no module named encodings"):
        working_tree(record(folder), folder, python=str(broken))
    broken.write_text("#!/bin/sh\necho hello\n")
    with pytest.raises(InterpreterError):
        working_tree(record(folder), folder, python=str(broken))


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    """It says what to name."""
    with pytest.raises(FolderNotFoundError, match="there is no folder") as caught:
        working_tree(record(tmp_path), tmp_path / "nothing")
    assert isinstance(caught.value, NotADirectoryError)
    assert pickle.loads(pickle.dumps(caught.value)).path == caught.value.path


def test_the_repository_is_looked_at(folder):
    """Commit and changes, as a run would record them."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q", "-b", "main")
    git("add", "main.py")
    git("commit", "-q", "-m", "one")
    run = record(folder)
    run.experiment["repositories"] = [{"url": f"git:/{folder}", "commit": "a" * 40, "dirty": False}]
    (folder / "main.py").write_text(EXECUTED + "# changed\n")
    tree = working_tree(run, folder)
    found = differing(run, tree, "git")
    assert found["git.commit"].values == ["a" * 40, git("rev-parse", "HEAD")]
    assert found["git.dirty"].values == [False, True]
    assert found["git.commit"].why == "the sources that changed are listed"


def test_the_machine_and_the_variables_are_those_of_now(folder, monkeypatch):
    """What belongs to a process of its own, as its arguments do, is taken as the run had it."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("JAX_API_KEY", "abcdefghijklmnop1234567890")
    run = record(folder)
    run.host = {"hostname": "another"}
    run.facts["process"] = {"argv": ["main.py"], "cwd": "/x", "environment": {}}
    run.facts["machine"] = {"cores": {"affinity": 4000}}
    tree = working_tree(run, folder)
    found = differing(run, tree, "environment", "host")
    assert found["env.OMP_NUM_THREADS"].values == [MISSING, "3"]
    assert "cores.affinity" in found
    assert "hostname" in found
    assert "cwd" not in found
    assert "abcdefghijklmnop1234567890" not in repr(tree.facts)


def test_an_old_record_is_compared(folder):
    """Sacred's records have no facts."""
    run = RunRecord(label="1")
    run.experiment = {"name": "old", "base_dir": "/old", "mainfile": "main.py", "sources": [["main.py", "x.py"]]}
    run.sources = [StoredFile("main.py", open=bytes_opener(b"old\n"))]
    found = differing(run, working_tree(run, folder))
    assert "-old" in found["main.py"].detail


@pytest.mark.parametrize("junk", [None, 5, "x", ["y"], {"z": 1}])
def test_a_record_that_makes_no_sense_is_survived(folder, junk):
    """It may come from anybody."""
    run = record(folder)
    run.facts = dict.fromkeys(("process", "git", "lineage", "environment", "machine"), junk)
    run.experiment.update(base_dir=junk, mainfile=junk)
    run.host = {"ENV": junk}
    run.sources.append(StoredFile("a\0b", "c" * 64))
    compare([run, working_tree(run, folder)])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_what_is_no_plain_file_is_not_opened(folder, tmp_path):
    """A record that names a pipe, or a device without an end, as a source would make this wait for ever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    run = record(folder)
    run.sources += [stored(str(pipe), b"x"), stored("/dev/zero", b"x")]
    found = differing(run, working_tree(run, folder))
    assert [found[name].values[1] for name in (str(pipe), "/dev/zero")] == [MISSING, MISSING]
