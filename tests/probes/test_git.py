"""Facts about repositories, compared with what git itself says of real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from capture.hooks import Unavailable
from capture.probes import git
from tests.probes.repositories import make_repository, run_git

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins for git are shell scripts")


def fake_git(tmp_path, monkeypatch, script):
    """Put a shell script where git would be found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "git"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_a_clean_repository_is_described_as_git_describes_it(repo):
    """Whoever runs it again needs the very commit, and must be able to trust that nothing was changed."""
    facts = git.repository_facts(str(repo))
    assert facts == {
        "url": f"git:/{os.path.realpath(repo)}",
        "commit": run_git(repo, "rev-parse", "HEAD"),
        "dirty": False,
        "branch": "main",
        "root": os.path.realpath(repo),
    }


def test_a_changed_file_makes_it_dirty(repo):
    """A commit that is not what ran must not look as if it were."""
    (repo / "train.py").write_text("print(2)\n")
    assert git.repository_facts(str(repo))["dirty"] is True


def test_a_change_of_the_same_size_and_time_makes_it_dirty(repo):
    """File size and time alone do not tell: an edit right after the commit keeps both."""
    times = os.stat(repo / "train.py")
    (repo / "train.py").write_text("print(3)\n")
    os.utime(repo / "train.py", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert git.repository_facts(str(repo))["dirty"] is True


def test_a_staged_change_makes_it_dirty(repo):
    """What is in the index is not in the commit."""
    (repo / "train.py").write_text("print(2)\n")
    run_git(repo, "add", ".")
    assert git.repository_facts(str(repo))["dirty"] is True


def test_a_deleted_file_makes_it_dirty(repo):
    """The commit has a file that the run did not."""
    (repo / "train.py").unlink()
    assert git.repository_facts(str(repo))["dirty"] is True


def test_an_untracked_file_leaves_it_clean(repo):
    """As in Sacred: data and notes beside the code say nothing about the code."""
    (repo / "notes.txt").write_text("x")
    assert git.repository_facts(str(repo))["dirty"] is False


def test_a_touched_file_leaves_it_clean(repo):
    """Copying a checkout or a container's build renews all times; that is no change."""
    os.utime(repo / "train.py", (1, 1))
    assert git.repository_facts(str(repo))["dirty"] is False


def test_the_look_does_not_write_the_index(repo):
    """A run must not lock the index while its user commits."""
    os.utime(repo / "train.py", (1, 1))
    before = (repo / ".git" / "index").read_bytes()
    git.repository_facts(str(repo))
    assert (repo / ".git" / "index").read_bytes() == before


def test_a_file_and_a_folder_deep_inside_lead_to_the_root(repo):
    """Sources lie in packages, not at the top."""
    (repo / "a" / "b").mkdir(parents=True)
    (repo / "a" / "b" / "c.py").touch()
    assert git.repository_facts(str(repo / "a" / "b" / "c.py"))["root"] == os.path.realpath(repo)
    assert git.find_root(str(repo / "a" / "b")) == os.path.realpath(repo)


def test_a_link_to_the_project_leads_to_the_repository_behind_it(repo, tmp_path):
    """Clusters give people links to folders on other disks."""
    (tmp_path / "link").symlink_to(repo)
    assert git.repository_facts(str(tmp_path / "link" / "train.py"))["root"] == os.path.realpath(repo)


def test_packed_references_are_read(repo):
    """After `git gc` no branch has a file of its own."""
    run_git(repo, "pack-refs", "--all")
    assert not (repo / ".git" / "refs" / "heads" / "main").exists()
    assert git.repository_facts(str(repo))["commit"] == run_git(repo, "rev-parse", "HEAD")


def test_a_branch_with_slashes_is_named_in_full(repo):
    """Branches such as feature/x are folders in git's files."""
    run_git(repo, "checkout", "-q", "-b", "feature/deep/x")
    facts = git.repository_facts(str(repo))
    assert (facts["branch"], facts["commit"]) == ("feature/deep/x", run_git(repo, "rev-parse", "HEAD"))


def test_a_detached_head_has_a_commit_and_no_branch(repo):
    """Continuous integration checks commits out, not branches."""
    run_git(repo, "checkout", "-q", "--detach")
    facts = git.repository_facts(str(repo))
    assert (facts["branch"], facts["commit"]) == (None, run_git(repo, "rev-parse", "HEAD"))


def test_without_a_commit_there_is_a_branch_and_no_commit(tmp_path):
    """The first run often comes before the first commit; Sacred broke there."""
    run_git(tmp_path, "init", "-q", "-b", "main", ".")
    facts = git.repository_facts(str(tmp_path))
    assert (facts["branch"], facts["commit"], facts["dirty"]) == ("main", None, False)
    (tmp_path / "x.py").touch()
    run_git(tmp_path, "add", ".")
    assert git.repository_facts(str(tmp_path))["dirty"] is True


def test_a_worktree_has_its_own_branch_and_the_shared_remote(repo, tmp_path):
    """People run one branch while they edit another."""
    run_git(repo, "remote", "add", "origin", "https://example.org/a.git")
    run_git(repo, "worktree", "add", "-q", "-b", "other", str(tmp_path / "other"))
    (tmp_path / "other" / "train.py").write_text("changed")
    facts = git.repository_facts(str(tmp_path / "other"))
    assert (facts["branch"], facts["url"], facts["dirty"]) == ("other", "https://example.org/a.git", True)
    assert facts["commit"] == run_git(tmp_path / "other", "rev-parse", "HEAD")
    assert git.repository_facts(str(repo))["dirty"] is False


def test_a_submodule_is_a_repository_of_its_own_and_its_changes_count_outside(repo, tmp_path):
    """The commit of the outer repository says which commit of the inner one; a change there breaks both."""
    library = make_repository(tmp_path / "library")
    run_git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "lib")
    run_git(repo, "commit", "-q", "-m", "library")
    inner = git.repository_facts(str(repo / "lib"))
    assert (inner["root"], inner["dirty"]) == (os.path.realpath(repo / "lib"), False)
    assert inner["commit"] == run_git(library, "rev-parse", "HEAD")
    assert inner["url"] == str(library)
    assert git.repository_facts(str(repo))["dirty"] is False
    (repo / "lib" / "train.py").write_text("changed")
    assert git.repository_facts(str(repo / "lib"))["dirty"] is True
    assert git.repository_facts(str(repo))["dirty"] is True


def test_each_repository_is_looked_at_once(repo, tmp_path):
    """Sacred looked once per source file, and recorded it as often."""
    other = make_repository(tmp_path / "other")
    paths = [str(repo / "train.py"), str(repo), str(other / "train.py"), str(tmp_path)]
    assert git.roots_of(paths) == sorted([os.path.realpath(repo), os.path.realpath(other)])
    assert [facts["root"] for facts in git.repositories(paths)] == git.roots_of(paths)


def test_thousands_of_changed_files_are_an_answer_like_any_other(repo, tmp_path, monkeypatch):
    """The list is longer than a pipe holds; whoever does not read it waits for ever."""
    path = os.environ["PATH"]
    fake_git(tmp_path, monkeypatch, f"PATH={path} head -c 1000000 /dev/zero\n")
    assert git.repository_facts(str(repo))["dirty"] is True


def test_it_works_where_the_standard_streams_are_closed(repo):
    """Daemons close them, and their numbers go to the next files that are opened."""
    code = (
        "import os, sys\n"
        "os.dup2(1, 9); [os.close(number) for number in (0, 1, 2)]\n"
        "from capture.probes import git\n"
        f"facts = git.repository_facts({str(repo)!r})\n"
        "os.write(9, repr(facts['dirty']).encode())\n"
    )
    (repo / "train.py").write_text("changed")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True"


def test_names_that_are_not_utf8_are_no_obstacle(tmp_path):
    """Old disks hold names in other encodings."""
    repo = make_repository(tmp_path / os.fsdecode(b"caf\xe9"))
    assert git.repository_facts(str(repo))["dirty"] is False


# -------------------------------------------------------------------------------------------------------- the remote


@pytest.mark.parametrize(
    ("commands", "url"),
    [
        ([("remote", "add", "origin", "git@example.org:a/b.git")], "git@example.org:a/b.git"),
        ([("remote", "add", "up", "https://e.org/up"), ("remote", "add", "origin", "https://e.org/o")], "https://e.org/o"),
        ([("remote", "add", "up", "https://e.org/up")], "https://e.org/up"),
        (
            [
                ("remote", "add", "first", "https://e.org/1"),
                ("remote", "add", "second", "https://e.org/2"),
                ("config", "branch.main.remote", "second"),
            ],
            "https://e.org/2",
        ),
        ([("remote", "add", "origin", 'https://e.org/a b;c#d"e\\f')], 'https://e.org/a b;c#d"e\\f'),
    ],
)
def test_the_remote_is_origin_or_else_the_branch_s_or_else_the_first(repo, commands, url):
    """The url tells others where to get the commit."""
    for command in commands:
        run_git(repo, *command)
    assert git.repository_facts(str(repo))["url"] == url


def test_settings_are_read_as_git_reads_them(tmp_path):
    """Settings are written by hand, too: quotes, comments, any case, continued lines, a value behind the section."""
    config = tmp_path / "config"
    config.write_text(
        '# comment\n[Core] bare = false\n[remote "Up\\"x"]\n\tURL = "https://e.org/#1" ; why\n'
        "\tfetch = +refs/*:\\\nrefs/*\n\turl = second\n[user]\nname\n"
    )
    assert git.parse_config(str(config)) == {
        ("core", "bare"): "false",
        ('remote.Up"x', "url"): "https://e.org/#1",
        ('remote.Up"x', "fetch"): "+refs/*:refs/*",
        ("user", "name"): "",
    }
    assert git.parse_config(str(tmp_path / "none")) == {}


# --------------------------------------------------------------------------------------------------- what goes wrong


def test_outside_a_repository_the_facts_say_so(tmp_path):
    """No repository is a fact, not an error."""
    facts = git.repository_facts(str(tmp_path))
    assert isinstance(facts, Unavailable) and "in no git repository" in facts.reason
    assert git.roots_of([str(tmp_path)]) == []


def test_a_folder_that_does_not_exist_is_no_error(tmp_path):
    """A source may be gone by the time it is asked about."""
    assert isinstance(git.repository_facts(str(tmp_path / "gone" / "x.py")), Unavailable)


def test_a_bare_repository_is_no_place_of_sources(tmp_path):
    """It has no files that a run could have used."""
    run_git(tmp_path, "init", "-q", "--bare", "store.git")
    facts = git.repository_facts(str(tmp_path / "store.git"))
    assert isinstance(facts, Unavailable) and "bare" in facts.reason


def test_a_worktree_whose_repository_is_gone_is_unavailable(tmp_path):
    """A copied worktree points to where it came from."""
    (tmp_path / ".git").write_text("gitdir: ../elsewhere/.git/worktrees/x\n")
    facts = git.repository_facts(str(tmp_path))
    assert isinstance(facts, Unavailable) and "elsewhere" in facts.reason


def test_a_file_called_git_that_is_binary_is_unavailable(tmp_path):
    """Nothing that lies in a folder may break a run."""
    (tmp_path / ".git").write_bytes(b"\xff\xfe\x01")
    assert isinstance(git.repository_facts(str(tmp_path)), Unavailable)


def test_an_unreadable_repository_is_unavailable(repo):
    """A HEAD that is a folder stands for every file that cannot be read, also for root."""
    (repo / ".git" / "HEAD").unlink()
    (repo / ".git" / "HEAD").mkdir()
    facts = git.repository_facts(str(repo))
    assert isinstance(facts, Unavailable) and "cannot be read" in facts.reason


def test_without_git_commit_and_remote_are_known_all_the_same(repo, tmp_path, monkeypatch):
    """Slim containers have the checkout, but no git; Sacred refused to run there."""
    commit = run_git(repo, "rev-parse", "HEAD")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    facts = git.repository_facts(str(repo))
    assert (facts["commit"], facts["dirty"]) == (commit, None)
    assert "not installed" in facts["dirty_unknown"]


def test_a_refusal_of_git_is_passed_on(repo, tmp_path, monkeypatch):
    """Git refuses folders of other users (shared disks, containers); its words say what to do."""
    fake_git(tmp_path, monkeypatch, "echo 'fatal: detected dubious ownership' >&2; exit 128\n")
    facts = git.repository_facts(str(repo))
    assert facts["dirty"] is None and facts["dirty_unknown"] == "fatal: detected dubious ownership"
    assert facts["commit"]


@pytest.mark.slow
def test_a_hanging_git_is_given_up_and_ended(repo, tmp_path, monkeypatch):
    """A network disk that does not answer must not keep a run from starting, nor leave processes behind."""
    path = os.environ["PATH"]
    fake_git(tmp_path, monkeypatch, f"echo $$ > {tmp_path}/pid\nPATH={path} exec sleep 600\n")
    facts = git.repository_facts(str(repo), timeout_s=3)
    assert facts["dirty"] is None and "within 3 s" in facts["dirty_unknown"]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_git_that_runs_in_the_background_keeps_nobody_waiting(repo, tmp_path, monkeypatch):
    """A helper that git leaves behind holds its error stream open."""
    path = os.environ["PATH"]
    fake_git(tmp_path, monkeypatch, f"PATH={path} sleep 600 &\necho $! > {tmp_path}/pid\necho changed\n")
    assert git.repository_facts(str(repo))["dirty"] is True
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)  # it is still there


def test_an_early_question_gets_none_and_a_later_one_the_answer(repo, tmp_path, monkeypatch):
    """The run starts without the answer and records it when it comes."""
    path = os.environ["PATH"]
    script = f"while [ ! -e {tmp_path}/go ]; do PATH={path} sleep 0.01; done\necho changed\n"
    fake_git(tmp_path, monkeypatch, script)
    look = git.start(str(repo))
    assert look.result(0.0) is None
    assert look.result(0.05) is None
    (tmp_path / "go").touch()
    facts = look.result()
    assert facts["dirty"] is True
    assert look.result(0.0) == facts


def test_an_exit_code_that_someone_else_took_is_unknown(repo):
    """Programs that ignore SIGCHLD get no exit codes; guessing one would be a lie."""
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        facts = git.repository_facts(str(repo))
    finally:
        signal.signal(signal.SIGCHLD, old)
    assert facts["dirty"] is None and "exit code" in facts["dirty_unknown"]


def test_variables_of_a_git_hook_do_not_mislead(repo, tmp_path, monkeypatch):
    """A hook that starts an experiment passes on GIT_DIR of another repository."""
    other = make_repository(tmp_path / "other")
    (repo / "train.py").write_text("changed")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert git.repository_facts(str(repo))["dirty"] is True
    assert git.repository_facts(str(other))["dirty"] is False


def test_programs_that_a_repository_names_for_diffs_are_not_run(repo, tmp_path):
    """A record of a run is no occasion to start what a downloaded repository's settings name."""
    script = tmp_path / "evil"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    script.chmod(0o755)
    run_git(repo, "config", "diff.external", str(script))
    run_git(repo, "config", "core.fsmonitor", str(script))
    (repo / "train.py").write_text("changed")
    assert git.repository_facts(str(repo))["dirty"] is True
    assert not (tmp_path / "ran").exists()


def test_looks_leave_no_open_files_and_no_dead_processes(repo):
    """A thousand runs in one process must not run out of either."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("open files cannot be counted here")
    git.repository_facts(str(repo))
    before, children = len(os.listdir("/proc/self/fd")), psutil.Process().children()
    for _ in range(10):
        git.repository_facts(str(repo))
    assert len(os.listdir("/proc/self/fd")) == before
    # other tests may have children of their own; a dead one that nobody has waited for counts as a child
    assert [child for child in psutil.Process().children() if child not in children] == []


def test_where_git_keeps_references_in_a_table_it_is_asked(repo, monkeypatch):
    """Newer repositories can have no file per branch, and a HEAD that says nothing."""
    (repo / ".git" / "reftable").mkdir()
    facts = git.repository_facts(str(repo))
    assert (facts["commit"], facts["branch"]) == (run_git(repo, "rev-parse", "HEAD"), "main")
    run_git(repo, "checkout", "-q", "--detach")
    assert git.repository_facts(str(repo))["branch"] is None


def test_gitpython_opens_the_same_repository(repo):
    """What needs more than these facts uses GitPython."""
    (repo / "deep").mkdir()
    with git.repository(str(repo / "deep")) as opened:
        assert opened.head.commit.hexsha == git.repository_facts(str(repo))["commit"]
        assert os.path.realpath(opened.working_dir) == os.path.realpath(repo)


# ------------------------------------------------------------------------------------- secrets in addresses


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("https://me:hunter2hunter2@example.org/a.git", "hunter2"),
        ("https://ghp_0123456789abcdefghijABCDEFGHIJ012345@github.com/a.git", "ghp_"),
        ("https://example.org/a.git?access_token=0123456789abcdef0123", "0123456789"),
    ],
)
def test_what_gives_access_is_masked_in_the_remote_s_address(repo, url, secret):
    """Continuous integration clones with a token in the URL, and records are shown to others."""
    run_git(repo, "remote", "add", "origin", url)
    found = git.repository_facts(str(repo))["url"]
    assert secret not in found and found.startswith("https://")
