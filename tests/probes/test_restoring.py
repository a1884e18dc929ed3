"""From a recorded state back to a working tree, and what must not happen on the way."""

from __future__ import annotations

import copy
import json
import os
import shutil
import sys

import pytest

from capture.errors import CaptureError, RestoringError
from capture.probes import git, rebuild, restoring
from capture.probes.host import plain
from tests.probes.repositories import make_repository, publish, run_git

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and modes are part of what is restored")


@pytest.fixture
def target(tmp_path):
    return str(tmp_path / "restored")


def record(repo, kept, used=(), **options):
    """Return the recorded state as a record holds it."""
    facts = git.repository_facts(str(repo))
    found = rebuild.repository_state(facts["root"], facts, [str(path) for path in used], kept, **options)
    return json.loads(json.dumps(plain(found)))


def files(folder):
    """Return what a working tree holds: contents and modes by path."""
    found = {}
    for path, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != ".git"]
        for name in [*names, *(name for name in folders if os.path.islink(os.path.join(path, name)))]:
            full = os.path.join(path, name)
            if os.path.islink(full):
                found[os.path.relpath(full, folder)] = os.readlink(full)
            elif name != ".git":
                with open(full, "rb") as file:
                    found[os.path.relpath(full, folder)] = (file.read(), os.stat(full).st_mode & 0o100)
    return found


def change_all_over(repo):
    """Leave staged, unstaged and untracked changes of many kinds."""
    (repo / "binary.bin").write_bytes(bytes(range(256)))
    (repo / "gone.py").write_text("gone")
    (repo / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"1\r\n")
    run_git(repo, "add", ".")
    run_git(repo, "commit", "-q", "-m", "second")
    (repo / "train.py").write_text("print(2)")
    (repo / "train.py").chmod(0o755)
    (repo / "binary.bin").write_bytes(bytes(range(255, -1, -1)))
    (repo / "gone.py").unlink()
    (repo / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"2\r\n")
    (repo / "staged.py").write_text("staged")
    run_git(repo, "add", "staged.py")
    (repo / "pkg").mkdir()
    (repo / "pkg" / "new.py").write_text("new")
    (repo / "run.sh").write_text("#!/bin/sh\n")
    (repo / "run.sh").chmod(0o755)
    (repo / "link").symlink_to("pkg")
    (repo / os.fsdecode(b"\xff.py")).write_text("odd")


# ------------------------------------------------------------------------------------------------------ the way back


@pytest.mark.parametrize("published", ["not at all", "in part", "in full"])
def test_a_changed_repository_comes_back_byte_for_byte(repo, tmp_path, kept, target, published):
    """That is what all the rest is for: the run again, elsewhere, from the record and perhaps a remote."""
    if published == "in part":
        publish(repo, tmp_path)
    change_all_over(repo)
    if published == "in full":
        publish(repo, tmp_path)
    facts, before = record(repo, kept), files(repo)
    run_git(repo, "checkout", "-q", "--orphan", "elsewhere")
    run_git(repo, "rm", "-rfq", ".")
    report = restoring.restore(target, facts, kept.open)
    assert report["missing"] == [] and report["differences"] == [] and report["complete"] is True
    assert report["source"] == {"not at all": "bundle", "in part": "bundle and remote", "in full": "remote"}[published]
    assert files(target) == before
    assert (report["commit"], report["patched"]) == (facts["commit"], True)
    assert run_git(target, "rev-parse", "HEAD") == facts["commit"]
    assert run_git(target, "symbolic-ref", "--short", "HEAD") == "main"


def test_a_clean_checkout_of_a_detached_commit_comes_back_detached(repo, tmp_path, kept, target):
    """Nothing is invented: there was no branch."""
    publish(repo, tmp_path)
    run_git(repo, "checkout", "-q", "--detach")
    report = restoring.restore(target, record(repo, kept), kept.open)
    assert report["complete"] and report["patched"] is False
    assert git.repository_facts(target)["branch"] is None


def test_before_the_first_commit(tmp_path, kept, target):
    """What was added is added again, and there is no commit again."""
    run_git(tmp_path, "init", "-q", "-b", "main", "new")
    (tmp_path / "new" / "x.py").write_text("x\n")
    (tmp_path / "new" / "y.py").write_text("y\n")
    run_git(tmp_path / "new", "add", "x.py")
    report = restoring.restore(target, record(tmp_path / "new", kept), kept.open)
    assert report["complete"] and files(target) == files(tmp_path / "new")
    assert git.repository_facts(target)["commit"] is None


def test_repositories_by_sha256(tmp_path, kept, target):
    """Git can name its objects by another digest."""
    run_git(tmp_path, "init", "-q", "-b", "main", "--object-format=sha256", "new")
    (tmp_path / "new" / "x.py").write_text("x\n")
    run_git(tmp_path / "new", "add", ".")
    run_git(tmp_path / "new", "commit", "-q", "-m", "first")
    (tmp_path / "new" / "x.py").write_text("y\n")
    report = restoring.restore(target, record(tmp_path / "new", kept), kept.open)
    assert report["complete"] and files(target) == {"x.py": (b"y\n", 0)}


def test_the_last_commit_alone_suffices(repo, kept, target):
    """Where the history is too large, git is told where it ends."""
    (repo / "big.bin").write_bytes(os.urandom(20_000))
    run_git(repo, "add", ".")
    run_git(repo, "commit", "-q", "-m", "big")
    run_git(repo, "rm", "-q", "big.bin")
    run_git(repo, "commit", "-q", "-m", "small again")
    facts = record(repo, kept, bundle_bytes=5000)
    assert facts["bundle"]["commits"] == "last"
    shutil.rmtree(repo)
    report = restoring.restore(target, facts, kept.open)
    assert report["complete"] and run_git(target, "rev-list", "--count", "HEAD") == "1"


def test_a_shallow_clone_without_a_remote(repo, tmp_path, kept, target):
    """Its history has no beginning, which is no obstacle."""
    (repo / "train.py").write_text("print(2)\n")
    run_git(repo, "commit", "-q", "-a", "-m", "second")
    run_git(tmp_path, "clone", "-q", "--depth", "1", f"file://{repo}", "shallow")
    run_git(tmp_path / "shallow", "remote", "remove", "origin")
    (tmp_path / "shallow" / "train.py").write_text("print(3)\n")
    report = restoring.restore(target, record(tmp_path / "shallow", kept), kept.open)
    assert report["complete"] and files(target) == {"train.py": (b"print(3)\n", 0)}


def test_where_git_could_not_help_the_used_files_come_back(repo, kept, target):
    """Code without its repository runs, too; but nothing claims to be the repository."""
    facts = record(repo, kept, used=[repo / "train.py"], bundle_bytes=0)
    report = restoring.restore(target, facts, kept.open)
    assert files(target) == {"train.py": (b"print(1)\n", 0)} and not os.path.exists(os.path.join(target, ".git"))
    assert report["commit"] is None and report["complete"] is False
    assert [entry["what"] for entry in report["missing"]] == ["commit"]
    assert report["differences"] == [{"what": "repository", "recorded": facts["url"], "now": None}]


def test_submodules_come_back_at_their_commits(repo, tmp_path, kept, target):
    """The commit that was checked out, not the one that the outer repository would have liked."""
    library = make_repository(tmp_path / "library")
    run_git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "lib")
    run_git(repo, "commit", "-q", "-m", "library")
    (library / "train.py").write_text("print(5)\n")
    run_git(library, "commit", "-q", "-a", "-m", "newer")
    run_git(repo / "lib", "fetch", "-q")
    run_git(repo / "lib", "checkout", "-q", "origin/main")
    facts = record(repo, kept)
    report = restoring.restore(target, facts, kept.open)
    assert report["missing"] == [] and report["differences"] == []
    assert run_git(os.path.join(target, "lib"), "rev-parse", "HEAD") == run_git(library, "rev-parse", "HEAD")
    shutil.rmtree(target)
    report = restoring.restore(target, facts, kept.open, remotes_allowed=False)
    assert [entry["path"] for entry in report["missing"]] == ["lib"]
    assert report["differences"][0]["what"] == "submodule"


def test_remotes_are_asked_only_if_they_may_be(repo, tmp_path, kept, target):
    """Whoever looks at a stranger's record does not want to call the stranger's server."""
    publish(repo, tmp_path)
    report = restoring.restore(target, record(repo, kept), kept.open, remotes_allowed=False)
    assert "not to be asked" in report["missing"][0]["reason"]


def test_contents_outside_git_are_named_as_missing(repo, kept, target):
    """What git has of such a file is a pointer; whoever runs it again must fetch the rest."""
    (repo / ".gitattributes").write_text("*.bin filter=lfs -text\n")
    (repo / "x.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    run_git(repo, "add", ".")
    run_git(repo, "commit", "-q", "-m", "lfs")
    report = restoring.restore(target, record(repo, kept), kept.open)
    assert report["commit"] and [entry["what"] for entry in report["missing"]] == ["lfs"]


def test_a_sparse_checkout_comes_back_whole(repo, kept, target):
    """What was not checked out was not changed either."""
    (repo / "deep").mkdir()
    (repo / "deep" / "x.py").write_text("x")
    run_git(repo, "add", ".")
    run_git(repo, "commit", "-q", "-m", "deep")
    run_git(repo, "sparse-checkout", "set", "--cone")
    report = restoring.restore(target, record(repo, kept), kept.open)
    assert report["complete"] and os.path.exists(os.path.join(target, "deep", "x.py"))


def test_a_remote_that_lost_the_commit_is_reported(repo, tmp_path, kept, target):
    """After a forced push, git's own words say what is wrong."""
    origin = publish(repo, tmp_path)
    facts = record(repo, kept)
    shutil.rmtree(origin)
    run_git(tmp_path, "init", "-q", "--bare", "origin.git")
    report = restoring.restore(target, facts, kept.open)
    assert report["commit"] is None and facts["commit"] in report["missing"][0]["reason"]


def test_a_masked_password_is_left_out_of_the_address():
    """The mask is no password; a credential helper may have the right one."""
    from capture.secrets import redact_url

    address = restoring._address(redact_url("https://me:hunter2hunter2@example.org/a.git"), "/x")
    assert address == "https://me@example.org/a.git"
    token = "ghp_" + "0123456789abcdefghijABCDEFGHIJ012345"
    assert restoring._address(redact_url(f"https://{token}@github.com/a.git"), "/x") == "https://github.com/a.git"
    assert restoring._address("https://example.org/a?b=c", "/x") == "https://example.org/a?b=c"
    assert restoring._address("git@example.org:a/b.git", "/x") == "git@example.org:a/b.git"
    assert restoring._address("../other.git", "/home/project") == "/home/other.git"
    assert restoring._address("git://home/project", "/home/project") is None


def test_what_is_lost_or_damaged_in_the_record_is_reported(repo, kept, target):
    """A record with holes still gives back the rest."""
    change_all_over(repo)
    facts = record(repo, kept)
    untracked = {entry["path"]: entry for entry in facts["untracked"]}
    kept.files[untracked["run.sh"]["source"]] = b"other bytes"
    del kept.files[untracked["pkg/new.py"]["source"]]
    kept.files[facts["patch"]["source"]] = b"other bytes"
    report = restoring.restore(target, facts, kept.open)
    missing = {entry.get("path") or entry["what"]: entry["reason"] for entry in report["missing"]}
    assert missing.keys() == {"run.sh", "pkg/new.py", "patch"}
    assert "digest" in missing["run.sh"] and "not in the record" in missing["pkg/new.py"]
    assert not os.path.exists(os.path.join(target, "run.sh"))
    assert {entry["path"] for entry in report["differences"] if entry["what"] == "untracked"} == {
        "run.sh",
        "pkg/new.py",
    }
    assert report["differences"][0]["what"] == "patch"


def test_secrets_that_the_run_used_are_named(repo, kept, target):
    """Whoever runs it again must bring their own."""
    (repo / ".env").write_text("x")
    report = restoring.restore(target, record(repo, kept, used=[repo / ".env"]), kept.open)
    assert report["missing"] == [{"path": ".env", "reason": "it was not kept: may hold a secret"}]


def test_a_folder_that_holds_something_is_refused(repo, tmp_path, kept):
    """Nothing of the user's is overwritten."""
    with pytest.raises(RestoringError, match="not empty") as caught:
        restoring.restore(str(repo), record(repo, kept), kept.open)
    assert isinstance(caught.value, CaptureError) and isinstance(caught.value, OSError)
    (tmp_path / "file").write_text("")
    with pytest.raises(RestoringError, match="cannot be a folder"):
        restoring.restore(str(tmp_path / "file"), {}, kept.open)


# ------------------------------------------------------------------------------------------- what must not happen


@pytest.fixture
def trap(tmp_path):
    """A program that leaves a trace if it is run, and the trace."""
    script = tmp_path / "trap"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    script.chmod(0o755)
    return script, tmp_path / "sprung"


def test_no_hook_and_no_filter_runs(repo, kept, target, trap, monkeypatch, tmp_path):
    """A record may come from anyone; looking at it must be safe, whatever the reader's own settings define."""
    script, sprung = trap
    (repo / ".gitattributes").write_text("*.py filter=trap diff=trap\n")
    run_git(repo, "add", ".")
    run_git(repo, "commit", "-q", "-m", "attributes")
    (repo / "train.py").write_text("print(7)\n")
    facts = record(repo, kept)
    templates = tmp_path / "templates" / "hooks"
    templates.mkdir(parents=True)
    for name in ("post-checkout", "reference-transaction", "post-index-change", "fsmonitor-watchman"):
        shutil.copy(script, templates / name)
    settings = tmp_path / "gitconfig"
    settings.write_text(
        f"[init]\n\ttemplateDir = {tmp_path}/templates\n[core]\n\thooksPath = {templates}\n\tfsmonitor = {script}\n"
        f'[filter "trap"]\n\tsmudge = {script}\n\tclean = {script}\n\trequired = true\n[diff "trap"]\n\tcommand = {script}\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    # what a record says is restored by git alone; that it is compared by git as the user has set it up is no secret
    monkeypatch.setattr(restoring, "compare", lambda *arguments: [])
    report = restoring.restore(target, facts, kept.open)
    assert report["complete"] and files(target)["train.py"] == (b"print(7)\n", 0)
    assert not sprung.exists()


@pytest.mark.parametrize("url", ["ext::{script}", "--upload-pack={script}", "ext::sh -c {script}", "fd::17/{script}"])
def test_no_transport_that_is_a_command_runs(repo, kept, target, trap, url, monkeypatch):
    """An address in a record is only an address, even where the reader's settings allow more."""
    script, sprung = trap
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "ext:fd:file")
    facts = {**record(repo, kept, bundle_bytes=0), "pushed": True, "url": url.format(script=script)}
    facts["submodules"] = [{"path": "lib", "url": facts["url"], "commit": facts["commit"], "recorded": None}]
    report = restoring.restore(target, facts, kept.open)
    assert report["commit"] is None and report["missing"][0]["what"] == "commit"
    assert not sprung.exists()


@pytest.mark.parametrize(
    "path",
    [
        "../evil",
        "/tmp/evil",
        "a/../../evil",
        ".git/hooks/post-checkout",
        ".GIT/config",
        ".g\u200cit/config",
        "git\ufeff~1/config",
        "link/evil",
        "",
        "a//b",
        "./x",
        "x\0",
    ],
)
def test_no_name_leads_out_of_the_folder(repo, tmp_path, kept, target, path):
    """A record with a name such as ``../../.bashrc`` must not write there."""
    (tmp_path / "outside").mkdir()
    run_git(repo, "config", "core.symlinks", "true")
    (repo / "link").symlink_to(tmp_path / "outside")
    run_git(repo, "add", ".")
    run_git(repo, "commit", "-q", "-m", "link")
    facts = record(repo, kept)
    for key in ("untracked", "files", "submodules"):
        evil = copy.deepcopy(facts)
        entry = {"path": path, "size": 4, "url": str(repo), "commit": facts["commit"], **kept("evil", b"evil")}
        evil[key] = [entry, {"path": path, "link": "/etc/passwd"}]
        report = restoring.restore(f"{target}-{key}", evil, kept.open)
        assert report["missing"] and report["written"] == []
    assert os.listdir(tmp_path / "outside") == [] and not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "links",
    [
        {"a": ".."},
        {"a": "/etc/passwd"},
        {"deep/a": "../../outside"},
        {"a": "b/..", "b": "."},
        {"b": ".", "a": "b/../x"},
    ],
)
def test_no_link_leads_out_of_the_folder(repo, kept, target, links):
    """A run that writes to its folder would write through it."""
    facts = record(repo, kept)
    facts["untracked"] = [{"path": path, "link": goal} for path, goal in {**links, "good": "train.py"}.items()]
    report = restoring.restore(target, facts, kept.open)
    (bad,) = (path for path in links if path != "b")
    assert [entry["path"] for entry in report["missing"]] == [bad]
    assert not os.path.lexists(os.path.join(target, bad))
    assert os.readlink(os.path.join(target, "good")) == "train.py"


def test_a_patch_cannot_leave_the_folder(repo, tmp_path, kept, target):
    """Git refuses such patches; nothing here may talk it out of that."""
    (repo / "train.py").write_text("print(2)\n")
    facts = record(repo, kept)
    patch = (
        b"diff --git a/../evil b/../evil\nnew file mode 100644\n--- /dev/null\n+++ b/../evil\n@@ -0,0 +1 @@\n+evil\n"
    )
    facts["patch"] = kept("evil", patch)
    report = restoring.restore(target, facts, kept.open)
    assert report["missing"][0]["what"] == "patch" and not (tmp_path / "evil").exists()


@pytest.mark.parametrize("commit", ["--help", "HEAD; touch x", "a" * 39, 17, "refs/heads/main", ["x"]])
def test_a_commit_that_is_none_is_refused(kept, target, commit):
    """It would be an option, or a name of something else."""
    report = restoring.restore(target, {"commit": commit, "url": "x", "root": "/x"}, kept.open)
    assert report["missing"][0]["what"] == "commit" and report["commit"] is None


@pytest.mark.parametrize("branch", ["--detach", "a..b", "-x", "", 5, "a b"])
def test_a_branch_that_cannot_be_one_is_passed_over(repo, kept, target, branch):
    """The commit is what matters."""
    report = restoring.restore(target, {**record(repo, kept), "branch": branch}, kept.open)
    assert report["commit"] and report["missing"] == []


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"untracked": {"unavailable": "x"}, "patch": {"unavailable": "y"}, "bundle": {"unavailable": "z"}},
        {"untracked": [None, {}, {"path": 5}], "files": "x", "submodules": [{}], "commit": None},
        {"untracked": [{"path": "x", "link": 5}, {"path": "y", "source": 7}], "shallow": 5, "bundle": {"source": 1}},
    ],
)
def test_facts_of_any_shape_are_no_error(kept, target, facts):
    """Old, foreign and damaged records have holes where this one has facts."""
    assert restoring.restore(target, facts, kept.open)["commit"] is None


def test_variables_of_a_git_hook_do_not_mislead(repo, tmp_path, kept, target, monkeypatch):
    """Restoring from within a hook must not touch the repository of the hook."""
    change_all_over(repo)
    facts, before = record(repo, kept), run_git(repo, "rev-parse", "HEAD")
    other = make_repository(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    report = restoring.restore(target, facts, kept.open)
    assert report["complete"] and report["commit"] == before
    assert (other / "train.py").read_text() == "print(1)\n"


# ------------------------------------------------------------------------------------------------------- comparing


def test_an_unchanged_tree_does_not_differ(repo, kept):
    """Otherwise nobody would read the list."""
    change_all_over(repo)
    facts = record(repo, kept)
    assert restoring.compare(str(repo), facts) == []
    assert restoring.compare(str(repo), facts, kept.open) == []


def test_each_difference_is_named(repo, kept):
    """ "Which version was that?" is what people ask of a result."""
    change_all_over(repo)
    facts = record(repo, kept)
    (repo / "train.py").write_text("print(99)")
    (repo / "pkg" / "new.py").write_text("newer")
    (repo / "run.sh").unlink()
    (repo / "link").unlink()
    (repo / "link").symlink_to("train.py")
    (repo / "more.py").write_text("more")
    found = {(entry["what"], entry.get("path")): entry for entry in restoring.compare(str(repo), facts, kept.open)}
    assert found.keys() == {
        *(("change", "train.py"), ("untracked", "pkg/new.py"), ("untracked", "run.sh")),
        *(("untracked", "link"), ("untracked", "more.py")),
    }
    assert found["untracked", "run.sh"]["now"] is None and found["untracked", "more.py"]["recorded"] is None
    assert found["untracked", "link"] == {"what": "untracked", "path": "link", "recorded": "pkg", "now": "train.py"}
    assert ("patch", None) in {(entry["what"], entry.get("path")) for entry in restoring.compare(str(repo), facts)}
    run_git(repo, "checkout", "-q", "-b", "other")
    run_git(repo, "commit", "-q", "-a", "-m", "third")
    kinds = [entry["what"] for entry in restoring.compare(str(repo), facts, kept.open)]
    assert kinds[:2] == ["commit", "branch"]


def test_patches_of_another_version_of_git_are_compared_by_contents(repo, kept):
    """Other releases choose other hunks and compress otherwise, and lead to the same files."""
    (repo / "train.py").write_text("print(2)\n")
    (repo / "x.bin").write_bytes(bytes(range(256)))
    run_git(repo, "add", "x.bin")
    facts = record(repo, kept)
    patch = kept.files[facts["patch"]["source"]].replace(b"@@ -1 +1 @@", b"@@ -1 +1 @@ def other():")
    facts["patch"] = kept("other.patch", patch)
    assert restoring.compare(str(repo), facts, kept.open) == []


def test_a_folder_without_a_repository_differs(repo, tmp_path, kept):
    """The code may have been copied without its history."""
    facts = record(repo, kept)
    (tmp_path / "copy").mkdir()
    assert restoring.compare(str(tmp_path / "copy"), facts)[0]["what"] == "repository"
