"""What is kept of a repository, judged by what git makes of it elsewhere."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys

import psutil
import pytest

from capture.hooks import Unavailable
from capture.probes import git, rebuild
from tests.probes.repositories import Kept, make_repository, publish, run_git

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins for git are shell scripts")


def state(repo, kept, used=(), **options):
    """Return the recorded state of a repository."""
    facts = git.repository_facts(str(repo))
    return rebuild.repository_state(facts["root"], facts, [str(path) for path in used], kept, **options)


def snapshot(folder):
    """Return names, times, modes and digests of all files of a folder, git's own included."""
    found = {}
    for path, _, files in os.walk(folder):
        for name in files:
            full = os.path.join(path, name)
            status = os.lstat(full)
            with open(full, "rb") as file:
                found[full] = (status.st_mtime_ns, status.st_mode, hashlib.sha256(file.read()).hexdigest())
    return found


# ------------------------------------------------------------------------------------------------------- the patch


def test_a_clean_and_pushed_repository_needs_nothing_kept(repo, tmp_path, kept):
    """The usual case of careful people costs no space."""
    publish(repo, tmp_path)
    found = state(repo, kept)
    assert (found["pushed"], found["untracked"], kept.files) == (True, [], {})
    assert not {"patch", "bundle", "files", "submodules", "incomplete"} & found.keys()


def test_the_patch_leads_from_the_commit_to_the_working_tree(repo, tmp_path, kept):
    """Research runs from dirty trees; whatever the change is, it must come back byte for byte."""
    odd = os.fsdecode(b"caf\xe9 \xff.txt")
    before = {
        "text.py": b"a = 1\nb = 2\n",
        "binary.bin": bytes(range(256)) * 40,
        "script.sh": b"echo\n",
        "old name.py": b"x\n" * 50,
        "gone.py": b"gone\n",
        "dos.txt": b"one\r\ntwo\r\n",
        "no end.txt": b"no end",
        odd: b"1\n",
        "empty.txt": b"",
    }
    for name, data in before.items():
        (repo / name).write_bytes(data)
    (repo / "link").symlink_to("text.py")
    (repo / ".gitattributes").write_text("*.eol text eol=crlf\n")
    (repo / "x.eol").write_bytes(b"1\r\n2\r\n")
    run_git(repo, "add", ".")
    run_git(repo, "commit", "-q", "-m", "second")
    clone = tmp_path / "clone"
    run_git(tmp_path, "clone", "-q", str(repo), str(clone))

    (repo / "text.py").write_bytes(b"a = 1\nb = 3\n")
    (repo / "binary.bin").write_bytes(bytes(range(255, -1, -1)) * 50)
    (repo / "script.sh").chmod(0o755)
    run_git(repo, "mv", "old name.py", "new name.py")
    run_git(repo, "rm", "-q", "gone.py")
    (repo / "dos.txt").write_bytes(b"one\r\nthree\r\nmixed\n")
    (repo / "no end.txt").write_bytes(b"still no end")
    (repo / odd).write_bytes(b"2\n")
    (repo / "link").unlink()
    (repo / "link").symlink_to("new name.py")
    (repo / "x.eol").write_bytes(b"1\r\n3\r\n")
    (repo / "staged.py").write_bytes(b"staged\n")
    run_git(repo, "add", "staged.py")
    (repo / "staged.py").write_bytes(b"and changed since\n")
    (repo / "intended.py").write_bytes(b"only intended\n")
    run_git(repo, "add", "-N", "intended.py")
    (repo / "empty.txt").unlink()

    found = state(repo, kept)
    patch = tmp_path / "x.patch"
    patch.write_bytes(kept.files[found["patch"]["source"]])
    run_git(clone, "apply", "--index", "--binary", str(patch))
    here, there = ({p.relative_to(f): p for p in f.iterdir() if p.name != ".git"} for f in (repo, clone))
    assert here.keys() == there.keys()
    for name, path in here.items():
        if path.is_symlink():
            assert os.readlink(path) == os.readlink(there[name])
        else:
            assert path.read_bytes() == there[name].read_bytes(), name
            assert path.stat().st_mode & 0o111 == there[name].stat().st_mode & 0o111, name


def test_settings_of_the_user_do_not_change_the_patch(repo, tmp_path, kept):
    """Colours, other prefixes and other tools are for eyes; a patch must apply everywhere, and be the same bytes."""
    publish(repo, tmp_path)
    (repo / "train.py").write_text("print(2)\n")
    plain = kept.files[state(repo, kept)["patch"]["source"]]
    script = tmp_path / "evil"
    script.write_text(f'#!/bin/sh\ntouch {tmp_path}/ran\ncat "$1"\n')
    script.chmod(0o755)
    (repo / ".git" / "info" / "attributes").write_text("*.py diff=evil\n")
    for name, value in {
        "color.ui": "always", "diff.mnemonicPrefix": "true", "diff.noprefix": "true", "diff.external": str(script),
        "diff.evil.command": str(script), "diff.evil.textconv": str(script), "diff.algorithm": "histogram",
        "diff.context": "9", "diff.interHunkContext": "5", "diff.relative": "true", "core.quotePath": "false",
        "core.fsmonitor": str(script), "core.pager": str(script), "diff.suppressBlankEmpty": "true",
        "diff.renames": "copies", "diff.submodule": "log", "diff.orderFile": str(script),
    }.items():  # fmt: skip
        run_git(repo, "config", name, value)
    assert kept.files[state(repo, kept)["patch"]["source"]] == plain
    assert not (tmp_path / "ran").exists()


def test_before_the_first_commit_the_patch_is_all_that_was_added(tmp_path, kept):
    """The first runs come before the first commit."""
    run_git(tmp_path, "init", "-q", "-b", "main", "new")
    repo = tmp_path / "new"
    (repo / "x.py").write_text("x\n")
    (repo / "y.py").write_text("y\n")
    run_git(repo, "add", "x.py")
    found = state(repo, kept, used=[repo / "y.py"])
    run_git(tmp_path, "init", "-q", "-b", "main", "other")
    (tmp_path / "p").write_bytes(kept.files[found["patch"]["source"]])
    run_git(tmp_path / "other", "apply", "--index", str(tmp_path / "p"))
    assert (tmp_path / "other" / "x.py").read_text() == "x\n"
    assert [(entry["path"], entry["used"]) for entry in found["untracked"]] == [("y.py", True)]
    assert isinstance(found["pushed"], Unavailable) and "bundle" not in found


def test_a_patch_beyond_the_limit_is_left_out_and_the_used_files_are_kept(repo, tmp_path, kept):
    """A changed tracked data file of some gigabytes must not end up in each record; the code must."""
    publish(repo, tmp_path)
    (repo / "train.py").write_text("# " + "long " * 1000)
    (repo / "data.csv").write_text("1")
    found = state(repo, kept, used=[repo / "train.py"], bundle_bytes=1000)
    assert found["patch"] == {"left_out": "larger than 1000 bytes"}
    assert [entry["path"] for entry in found["files"]] == ["train.py"]
    assert kept.files[found["files"][0]["source"]] == (repo / "train.py").read_bytes()


def test_the_patch_can_be_switched_off(repo, tmp_path, kept):
    """What is confidential may be in the changes."""
    publish(repo, tmp_path)
    (repo / "train.py").write_text("print(2)\n")
    assert "GIT.PATCH" in state(repo, kept, patch=False)["patch"]["left_out"]
    assert kept.files == {}


def test_touched_files_make_no_patch(repo, tmp_path, kept):
    """Where git did not say whether there are changes, the times of a copied checkout must not look like any."""
    publish(repo, tmp_path)
    os.utime(repo / "train.py", (1, 1))
    facts = {**git.repository_facts(str(repo)), "dirty": None}
    assert "patch" not in rebuild.repository_state(str(repo), facts, [], kept)


def test_nothing_is_written_to_the_repository(repo, kept):
    """A run must not lock the index while its user commits, nor pack their objects."""
    os.utime(repo / "train.py", (1, 1))
    (repo / "other.py").write_text("new")
    run_git(repo, "add", "other.py")
    (repo / "other.py").write_text("newer")
    before = snapshot(repo)
    found = state(repo, kept)
    assert found["patch"]["source"] and found["bundle"]["source"]
    assert snapshot(repo) == before


# --------------------------------------------------------------------------------------------------- untracked files


def test_untracked_files_are_kept_and_ignored_ones_are_not(repo, tmp_path, kept):
    """A module that was never added is what a run cannot be repeated without."""
    publish(repo, tmp_path)
    (repo / ".git" / "info" / "exclude").write_text("ignored.py\n")
    (repo / "ignored.py").write_text("x")
    (repo / "pkg").mkdir()
    (repo / "pkg" / "new.py").write_text("new = 1\n")
    (repo / "run.sh").write_text("#!/bin/sh\n")
    (repo / "run.sh").chmod(0o755)
    odd = os.fsdecode(b"\xe9t\xe9.py")
    (repo / odd).write_text("summer")
    (repo / "link").symlink_to("pkg/new.py")
    found = state(repo, kept, used=[repo / "pkg" / "new.py", repo / "train.py", tmp_path / "elsewhere.py"])
    entries = {entry["path"]: entry for entry in found["untracked"]}
    assert entries.keys() == {"pkg/new.py", "run.sh", odd, "link"}
    assert kept.files[entries["pkg/new.py"]["source"]] == b"new = 1\n"
    assert entries["pkg/new.py"]["used"] is True and "used" not in entries["run.sh"]
    assert entries["run.sh"]["executable"] is True and "executable" not in entries["pkg/new.py"]
    assert entries["link"]["link"] == "pkg/new.py"
    assert entries[odd]["source"].isascii() and kept.files[entries[odd]["source"]] == b"summer"
    assert entries["pkg/new.py"]["source"].startswith(".capture/git/project-")


SECRET = [".env", ".env.local", "prod.env", "server.pem", "tls/host.key", "id_rsa", "id_rsa.pub", "id_ed25519", "a.p12",
          ".netrc", ".pypirc", "credentials", "credentials.json", "secrets.yaml", ".aws/config", "passwords.txt",
          "client_secret_12.json", "ID_RSA"]  # fmt: skip
HARMLESS = [
    "environment.yml",
    "monkey.py",
    "keys.py",
    "secrets.py",
    "credentials.py",
    "token_dim.json",
    "env.py",
    "my_id_rsa.py",
]


def test_passwords_and_keys_are_never_kept(repo, kept):
    """A record is shown to others."""
    for name in SECRET + HARMLESS:
        (repo / name).parent.mkdir(exist_ok=True)
        (repo / name).write_text("hunter2")
    (repo / "notes.txt").write_text("-----BEGIN RSA PRIVATE KEY-----\nhunter2")
    found = state(repo, kept, used=[repo / ".env"])
    left_out = {entry["path"]: entry["left_out"] for entry in found["untracked"] if "left_out" in entry}
    assert left_out == {**dict.fromkeys(SECRET, "may hold a secret"), "notes.txt": "holds a private key"}
    assert len(kept.files) == len(HARMLESS) + 1  # and the bundle


def test_large_files_pipes_and_other_repositories_are_named_and_left_out(repo, tmp_path, kept):
    """Data lies beside code, and a pipe would be waited for without end."""
    publish(repo, tmp_path)
    (repo / "large.bin").write_bytes(b"x" * 101)
    (repo / "small.bin").write_bytes(b"x" * 100)
    make_repository(repo / "nested")
    os.mkfifo(repo / "pipe")
    found = state(repo, kept, untracked_bytes=100)
    left_out = {entry["path"]: entry.get("left_out") for entry in found["untracked"]}
    assert left_out["large.bin"] == "larger than 100 bytes" and left_out["small.bin"] is None
    assert left_out["nested/"] == "a repository of its own"
    assert left_out.get("pipe") in (None, "not a plain file")  # git itself passes over pipes
    assert len(kept.files) == 1
    assert state(repo, kept, untracked_bytes=0)["untracked"][0]["left_out"] == "untracked files are not kept"


def test_a_store_of_runs_is_one_entry(repo, tmp_path, kept):
    """Records within records would double with each run."""
    publish(repo, tmp_path)
    for name in ("results/_capture/format.json", "results/1/run.json", "results/1/deep/x", "own.py"):
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text("{}")
    found = state(repo, kept)
    assert [entry["path"] for entry in found["untracked"]] == ["own.py", "results/"]
    assert found["untracked"][1] == {"path": "results/", "left_out": "a store of runs"}


def test_a_database_beside_the_code_is_not_kept(repo, tmp_path, kept):
    """Mostly it is that in which the runs are recorded, and each would hold all that went before it."""
    publish(repo, tmp_path)
    connection = sqlite3.connect(repo / "runs.db")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE runs (number INTEGER)")
    (repo / "notes-wal").write_text("of no database")
    found = {entry["path"]: entry for entry in state(repo, kept)["untracked"]}
    connection.close()
    left_out = {path: entry.get("left_out") for path, entry in found.items()}
    database = "a database"
    assert left_out == {"runs.db": database, "runs.db-shm": database, "runs.db-wal": database, "notes-wal": None}


def test_of_very_many_files_those_that_the_run_used_come_first(repo, tmp_path, kept, monkeypatch):
    """A folder of a hundred thousand images must not push the module out of the record, nor fill it."""
    publish(repo, tmp_path)
    monkeypatch.setattr(rebuild, "MOST_LISTED", 20)
    monkeypatch.setattr(rebuild, "MOST_KEPT", 5)
    for number in range(40):
        (repo / f"{number:02}.txt").write_text("x")
    (repo / "zz.py").write_text("x")
    found = state(repo, kept, used=[repo / "zz.py"])
    assert len(found["untracked"]) == 20 and found["untracked_unlisted"] == 21
    assert found["untracked"][-1]["path"] == "zz.py" and "source" in found["untracked"][-1]
    assert len(kept.files) == 6
    monkeypatch.setattr(rebuild, "MOST_KEPT_BYTES", 3)
    kept.files.clear()
    state(repo, kept)
    assert len(kept.files) == 3


# ---------------------------------------------------------------------------------------------- commits and bundles


def test_a_commit_on_another_remote_branch_is_pushed(repo, tmp_path, kept):
    """Work on a local branch that starts at the remote's main."""
    publish(repo, tmp_path)
    run_git(repo, "checkout", "-q", "-b", "local")
    assert state(repo, kept)["pushed"] is True
    run_git(repo, "checkout", "-q", "--detach")
    assert state(repo, kept)["pushed"] is True
    assert kept.files == {}


def test_packed_remote_references_count(repo, tmp_path, kept):
    """After a clone all references are in one file."""
    publish(repo, tmp_path)
    run_git(repo, "pack-refs", "--all")
    assert state(repo, kept)["pushed"] is True


def test_commits_that_no_remote_has_are_bundled(repo, tmp_path, kept):
    """Nobody else has them, and tomorrow they may be rebased away."""
    origin = publish(repo, tmp_path)
    pushed = run_git(repo, "rev-parse", "HEAD")
    (repo / "train.py").write_text("print(2)\n")
    run_git(repo, "commit", "-q", "-a", "-m", "local")
    found = state(repo, kept)
    assert (found["pushed"], found["bundle"]["commits"], found["bundle"]["prerequisites"]) == (
        False,
        "unpushed",
        [pushed],
    )
    (tmp_path / "x.bundle").write_bytes(kept.files[found["bundle"]["source"]])
    run_git(tmp_path, "clone", "-q", str(origin), "clone")
    run_git(tmp_path / "clone", "bundle", "unbundle", str(tmp_path / "x.bundle"))
    run_git(tmp_path / "clone", "checkout", "-q", found["commit"])
    assert (tmp_path / "clone" / "train.py").read_text() == "print(2)\n"


def test_without_a_remote_the_whole_history_is_bundled(repo, tmp_path, kept):
    """A project of one person on one disk."""
    (repo / "train.py").write_text("print(2)\n")
    run_git(repo, "commit", "-q", "-a", "-m", "second")
    found = state(repo, kept)
    assert (found["pushed"], found["bundle"]["commits"], found["bundle"]["prerequisites"]) == (False, "all", [])
    (tmp_path / "x.bundle").write_bytes(kept.files[found["bundle"]["source"]])
    run_git(tmp_path, "clone", "-q", str(tmp_path / "x.bundle"), "clone")
    assert run_git(tmp_path / "clone", "rev-list", "--count", "HEAD") == "2"
    assert run_git(tmp_path / "clone", "rev-parse", "HEAD") == found["commit"]


def test_runs_of_one_commit_make_the_same_bundle(repo):
    """What is stored by its digest is then stored once."""
    for number in range(20):
        (repo / "train.py").write_text("\n".join(map(str, range(number * 100))))
        run_git(repo, "commit", "-q", "-a", "-m", str(number))
    digests = {state(repo, Kept())["bundle"]["digest"] for _ in range(3)}
    (repo / "train.py").write_text("changed")
    assert {state(repo, Kept())["bundle"]["digest"]} == digests


def test_of_too_long_a_history_the_last_commit_is_bundled(repo, kept):
    """What it takes to run again is the last state, not how it came about."""
    (repo / "big.bin").write_bytes(os.urandom(20_000))
    run_git(repo, "add", ".")
    run_git(repo, "commit", "-q", "-m", "big")
    run_git(repo, "rm", "-q", "big.bin")
    run_git(repo, "commit", "-q", "-m", "small again")
    before = snapshot(repo)
    found = state(repo, kept, bundle_bytes=5000)
    assert found["bundle"]["commits"] == "last" and found["bundle"]["size"] < 5000
    assert snapshot(repo) == before


def test_of_too_large_a_commit_the_used_files_are_kept(repo, kept):
    """A repository full of data: the code can be rebuilt nevertheless."""
    (repo / "big.bin").write_bytes(os.urandom(20_000))
    run_git(repo, "add", ".")
    run_git(repo, "commit", "-q", "-m", "big")
    (repo / "new.py").write_text("new")
    found = state(repo, kept, used=[repo / "train.py", repo / "new.py", repo / "gone.py"], bundle_bytes=5000)
    assert found["bundle"] == {"left_out": "larger than 5000 bytes"}
    assert [entry["path"] for entry in found["files"]] == ["gone.py", "train.py"]
    assert "cannot be read" in found["files"][0]["left_out"]
    assert kept.files[found["files"][1]["source"]] == b"print(1)\n"
    packed = state(repo, kept, bundle_bytes=0)
    assert packed["bundle"] == {"left_out": "bundles are switched off"} and "files" in packed


def test_a_bundle_that_took_long_is_remembered_for_the_next_run(repo, tmp_path, monkeypatch):
    """A minute's script that runs a hundred times shall not pack the history a hundred times."""
    monkeypatch.setattr(rebuild, "_WORTH_REMEMBERING_S", 0.0)
    cache, first, second = str(tmp_path / "cache"), Kept(), Kept()
    found = state(repo, first, cache=cache)
    (name,) = os.listdir(cache)
    assert os.stat(os.path.join(cache, name)).st_mode & 0o077 == 0
    asked = []
    monkeypatch.setattr(rebuild._Look, "ask_for_bundle", lambda *arguments: asked.append(arguments))
    assert state(repo, second, cache=cache)["bundle"] == found["bundle"]
    assert asked == [] and second.files == first.files
    monkeypatch.undo()
    with open(os.path.join(cache, name), "wb") as file:
        file.write(b"damaged")
    assert state(repo, Kept(), cache=cache)["bundle"] == found["bundle"]


def test_the_cache_stays_small_and_is_no_condition(repo, tmp_path, monkeypatch, caplog):
    """A disk that is full or read-only costs time, not the record."""
    caplog.set_level("INFO", "capture")
    monkeypatch.setattr(rebuild, "_WORTH_REMEMBERING_S", 0.0)
    monkeypatch.setattr(rebuild, "MOST_REMEMBERED_BYTES", 1)
    for text in ("2", "3"):
        (repo / "train.py").write_text(text)
        run_git(repo, "commit", "-q", "-a", "-m", text)
        commit = state(repo, Kept(), cache=str(tmp_path / "cache"))["commit"]
    (name,) = os.listdir(tmp_path / "cache")
    assert commit in name
    (tmp_path / "file").write_text("")
    assert "source" in state(repo, Kept(), cache=str(tmp_path / "file" / "cache"))["bundle"]
    assert "not kept for the next run" in caplog.text


# ---------------------------------------------------------------------------------------------- kinds of repositories


def test_submodules_are_recorded_by_commit(repo, tmp_path, kept):
    """The outer commit says which inner one it wants; what is checked out may be another."""
    library = make_repository(tmp_path / "library")
    run_git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "lib")
    run_git(repo, "commit", "-q", "-m", "library")
    publish(repo, tmp_path)
    first = run_git(library, "rev-parse", "HEAD")
    entry = {"path": "lib", "url": str(library), "recorded": first, "commit": first, "dirty": False}
    assert state(repo, kept)["submodules"] == [entry]
    (repo / "lib" / "train.py").write_text("changed")
    found = state(repo, kept)
    assert found["submodules"] == [{**entry, "dirty": True}]
    assert "patch" not in found  # the change is the submodule's
    run_git(repo / "lib", "commit", "-q", "-a", "-m", "inner")
    second = run_git(repo / "lib", "rev-parse", "HEAD")
    found = state(repo, kept)
    assert found["submodules"] == [{**entry, "commit": second, "dirty": False}]
    assert b"+Subproject commit " + second.encode() in kept.files[found["patch"]["source"]]
    run_git(repo, "submodule", "--quiet", "deinit", "-f", "lib")
    assert state(repo, kept)["submodules"] == [{**entry, "commit": None, "dirty": False}]


def test_a_submodule_as_a_root_is_a_repository(repo, tmp_path, kept):
    """Its sources are recorded with it."""
    library = make_repository(tmp_path / "library")
    run_git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "lib")
    (repo / "lib" / "train.py").write_text("changed\n")
    found = state(repo / "lib", kept)
    assert found["pushed"] is True and b"+changed" in kept.files[found["patch"]["source"]]


def test_a_worktree_is_recorded_with_its_own_changes(repo, tmp_path, kept):
    """People run one branch while they edit another."""
    publish(repo, tmp_path)
    run_git(repo, "worktree", "add", "-q", "-b", "other", str(tmp_path / "other"))
    (tmp_path / "other" / "train.py").write_text("other\n")
    (repo / "train.py").write_text("this\n")
    found = state(tmp_path / "other", kept)
    assert found["pushed"] is True and b"+other" in kept.files[found["patch"]["source"]]


def test_a_sparse_checkout_lacks_nothing_and_says_so(repo, tmp_path, kept):
    """Files that are not checked out are not deleted ones."""
    (repo / "deep").mkdir()
    (repo / "deep" / "x.py").write_text("x")
    run_git(repo, "add", ".")
    run_git(repo, "commit", "-q", "-m", "deep")
    publish(repo, tmp_path)
    run_git(repo, "sparse-checkout", "set", "--cone")
    assert not (repo / "deep").exists()
    found = state(repo, kept)
    assert found["sparse"] is True and kept.files == {}


def test_a_shallow_clone_names_its_boundary(repo, tmp_path, kept):
    """Without it git refuses a bundle whose history has no beginning."""
    (repo / "train.py").write_text("print(2)\n")
    run_git(repo, "commit", "-q", "-a", "-m", "second")
    run_git(tmp_path, "clone", "-q", "--depth", "1", f"file://{repo}", "shallow")
    found = state(tmp_path / "shallow", kept)
    assert (found["shallow"], found["pushed"]) == ([found["commit"]], True)


def test_lfs_is_noted(repo, tmp_path, kept):
    """What git has of such a file is a pointer, and no bundle holds more."""
    (repo / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    (repo / "x.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    run_git(repo, "add", ".")
    run_git(repo, "commit", "-q", "-m", "lfs")
    assert state(repo, kept)["lfs"] is True


def test_repositories_by_sha256_work_alike(tmp_path, kept):
    """Their commits have longer names, and their empty tree another one."""
    run_git(tmp_path, "init", "-q", "-b", "main", "--object-format=sha256", "new")
    repo = tmp_path / "new"
    (repo / "x.py").write_text("x\n")
    run_git(repo, "add", ".")
    assert "source" in state(repo, kept)["patch"]
    run_git(repo, "commit", "-q", "-m", "first")
    found = state(repo, kept)
    assert len(found["commit"]) == 64 and found["bundle"]["commits"] == "all"


def test_two_repositories_of_one_name_do_not_mix(tmp_path):
    """Every second project is called "code"."""
    names = [state(make_repository(tmp_path / folder / "code"), Kept())["name"] for folder in "ab"]
    assert len(set(names)) == 2 and all(name.startswith("code-") for name in names)


def test_the_distribution_is_passed_on(repo, kept):
    """Editable installs are recorded with their repositories."""
    assert state(repo, kept, distribution="my-lib")["distribution"] == "my-lib"


def test_passwords_in_remotes_are_masked(repo, kept):
    """Tokens in URLs are how many people clone."""
    run_git(repo, "remote", "add", "origin", "https://me:hunter2hunter2@example.org/a.git")
    found = state(repo, kept)
    assert "hunter2" not in repr(found) and "example.org/a.git" in found["url"]
    run_git(repo, "remote", "set-url", "origin", "ssh://git@example.org/a.git")
    assert state(repo, kept)["url"] == "ssh://git@example.org/a.git"


# --------------------------------------------------------------------------------------------------- what goes wrong


def test_without_git_the_used_files_are_kept(repo, tmp_path, kept, monkeypatch):
    """Slim containers have the checkout, but no git."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    found = state(repo, kept, used=[repo / "train.py"])
    for piece in ("patch", "untracked", "bundle"):
        assert isinstance(found[piece], Unavailable) and "not installed" in found[piece].reason
    assert list(kept.files) == [found["files"][0]["source"]]


def test_a_refusal_of_git_is_passed_on_for_each_piece(repo, fake_git, kept):
    """Git refuses folders of other users; its words say what to do."""
    fake_git("echo 'fatal: detected dubious ownership in repository' >&2; exit 128\n")
    found = state(repo, kept, used=[repo / "train.py"])
    for piece in ("patch", "untracked", "bundle"):
        assert "dubious ownership" in found[piece].reason
    assert "source" in found["files"][0]


def test_a_hanging_git_costs_the_time_limit_and_is_ended(repo, tmp_path, fake_git, kept):
    """A huge repository or a dead network disk: what is known stays, and no process is left behind."""
    facts = git.repository_facts(str(repo))
    children = psutil.Process().children(recursive=True)
    fake_git(f"echo $$ >> {tmp_path}/pids\nPATH={os.environ['PATH']} exec sleep 60\n")
    found = rebuild.repository_state(facts["root"], {**facts, "dirty": True}, [], kept, timeout_s=0.3)
    for piece in ("patch", "untracked", "bundle"):
        assert found[piece] == Unavailable("git did not answer in time")
    assert (found["commit"], found["pushed"]) == (facts["commit"], False)
    assert [child for child in psutil.Process().children(recursive=True) if child not in children] == []


def test_a_git_that_answers_without_end_is_ended(repo, fake_git, kept):
    """What is larger than the limit is not read to its end."""
    facts = {**git.repository_facts(str(repo)), "dirty": True}
    children = psutil.Process().children(recursive=True)
    fake_git(f"PATH={os.environ['PATH']} exec cat /dev/zero\n")
    found = rebuild.repository_state(facts["root"], facts, [], kept, bundle_bytes=100_000)
    assert found["patch"] == {"left_out": "larger than 100000 bytes"}
    assert found["bundle"] == {"left_out": "larger than 100000 bytes"}
    assert [child for child in psutil.Process().children(recursive=True) if child not in children] == []


def test_a_damaged_repository_is_unavailable_piece_by_piece(repo, kept):
    """A disk error in an object must not end the run, and the files are still there."""
    (repo / "train.py").write_text("print(2)\n")
    shutil.rmtree(repo / ".git" / "objects")
    (repo / ".git" / "objects").mkdir()
    (repo / "new.py").write_text("new")
    found = state(repo, kept, used=[repo / "train.py"])
    assert found["patch"].reason and found["bundle"].reason
    assert [entry["path"] for entry in found["untracked"]] == ["new.py"]
    assert kept.files[found["files"][0]["source"]] == b"print(2)\n"


def test_a_store_that_refuses_is_logged_and_stated(repo, caplog):
    """The disk for the record is full: the run goes on, and the record says what it lacks."""

    def keep(name, data):
        raise OSError("no space left")

    found = state(repo, keep)
    assert "no space left" in found["incomplete"] and "not recorded in full" in caplog.text
    assert found["commit"]


def test_no_files_stay_open(repo, kept):
    """A thousand runs in one process must not run out of them."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("open files cannot be counted here")
    (repo / "new.py").write_text("new")
    state(repo, kept)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        state(repo, kept)
    assert len(os.listdir("/proc/self/fd")) == before


def test_gitpython_is_not_imported(repo):
    """It costs a short run more than all the rest of the library."""
    code = (
        "import sys\nfrom capture.probes import git, rebuild\n"
        f"facts = git.repository_facts({str(repo)!r})\n"
        "rebuild.repository_state(facts['root'], facts, [], lambda name, data: {'source': name})\n"
        "print([name for name in ('git', 'subprocess', 'logging', 'hashlib', 're') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_run_that_ends_earlier_leaves_no_git_behind(repo, tmp_path, fake_git):
    """The end of a run does not wait for a slow disk for ever, and its processes must not either."""
    facts = {**git.repository_facts(str(repo)), "dirty": True}
    path = os.environ["PATH"]
    fake_git(f"echo $$ > {tmp_path}/pid-$$\nPATH={path} exec sleep 60\n")
    code = (
        "import os, threading, time\nfrom capture.probes import rebuild\n"
        f"arguments = ({facts['root']!r}, {facts!r}, [], lambda name, data: dict())\n"
        "threading.Thread(target=rebuild.repository_state, args=arguments, daemon=True).start()\n"
        f"while len([name for name in os.listdir({str(tmp_path)!r}) if name.startswith('pid-')]) < 3: time.sleep(0.01)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    pids = [int(path.name[4:]) for path in tmp_path.glob("pid-*")]
    assert len(pids) == 3
    for pid in pids:
        try:
            assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE or _ends(pid)
        except psutil.NoSuchProcess:
            continue


def _ends(pid):
    """Say whether a process is about to be over."""
    try:
        psutil.Process(pid).wait(60)
    except psutil.NoSuchProcess:
        pass
    except psutil.TimeoutExpired:
        return False
    return True
