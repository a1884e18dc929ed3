"""`print_dependencies`, `add_source_file` and `add_package_dependency`, as a script's user meets them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from capture import Experiment
from capture.testing import RecordingObserver

SCRIPT = """
import docopt, helper, labtools, fetched
from capture import Experiment

ex = Experiment("listed", save_git_info=True)
ex.add_source_file("extra.txt")
ex.add_source_file(ELSEWHERE)
ex.add_package_dependency("matlab-engine", "9.13")

@ex.automain
def main():
    import lazy
    return 1
"""


def git(folder, *arguments):
    """Run git with nobody's settings."""
    command = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e@example.org", *arguments]
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def repository(folder, files):
    """Make a repository with files that are committed; return the commit."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return git(folder, "rev-parse", "HEAD")


def install(site, name, files, direct_url):
    """Leave what pip leaves of a distribution; `files` are those beside its metadata."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    (info / "direct_url.json").write_text(json.dumps(direct_url))
    for file in files:
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).touch()


@pytest.fixture
def listed(tmp_path):
    """Run a script in a repository, with an editable install of a changed repository and one of a commit."""
    elsewhere = tmp_path / "elsewhere.cfg"
    elsewhere.write_text("x")
    project, tools = tmp_path / "project", tmp_path / "tools"
    script = SCRIPT.replace("ELSEWHERE", repr(str(elsewhere)))
    files = {"script.py": script, "helper.py": "", "lazy.py": "", "extra.txt": "", ".gitignore": "runs\n__pycache__\n"}
    commit = repository(project, files)
    tools_commit = repository(tools, {"labtools/__init__.py": ""})
    (tools / "labtools" / "__init__.py").write_text("X = 1\n")
    site = tmp_path / "site-packages"
    install(site, "labtools", [], {"url": tools.as_uri(), "dir_info": {"editable": True}})
    vcs = {"vcs": "git", "commit_id": "f" * 40}
    install(site, "fetched", ["fetched/__init__.py"], {"url": "https://me:geheim-12@h.org/f.git", "vcs_info": vcs})
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(tools)]), "PYTHONDONTWRITEBYTECODE": "1"}
    env.update(CAPTURE_STATE_DIR=str(tmp_path / "state"))

    def run(*arguments):
        command = [sys.executable, "script.py", *arguments]
        done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.project, run.tools, run.elsewhere = project, tools, elsewhere
    run.commits = commit, tools_commit
    return run


def test_print_dependencies_tells_packages_sources_and_repositories(listed):
    """The headings are Sacred's; behind each package stands where it was taken from, if that is no index."""
    text = listed("print_dependencies")
    packages, sources, repositories = re.split(r"\n\n(?:Sources|Version Control):\n", text.rstrip("\n"))
    lines = packages.splitlines()
    assert lines[0] == "Dependencies:"
    assert re.search(r"^  docopt(-ng)? +== \S+$", packages, re.MULTILINE)
    assert re.search(rf"^  labtools +== 1\.0  \(editable: {re.escape(str(listed.tools))}\)$", packages, re.MULTILINE)
    assert re.search(rf"^  fetched +== 1\.0  \(https://\S+ @ {'f' * 40}\)$", packages, re.MULTILINE)
    assert "geheim" not in text
    assert re.search(r"^  matlab-engine +== 9\.13$", packages, re.MULTILINE)
    named = [line.split() for line in sources.splitlines()]
    assert [name for name, _ in named] == sorted(["extra.txt", "helper.py", "script.py", str(listed.elsewhere)])
    assert all(re.fullmatch("[0-9a-f]{32}", digest) for _, digest in named)
    commit, tools_commit = listed.commits
    assert repositories.splitlines() == [
        f"  git:/{listed.project}  {commit}",
        f"M git:/{listed.tools}  {tools_commit}",
    ]
    assert not (listed.project / "runs").exists()


def test_what_was_added_by_hand_is_recorded(listed):
    """Data descriptions, binaries, tools outside of Python: only their user knows of them."""
    listed()
    stored = json.loads((listed.project / "runs" / "1" / "run.json").read_text())["experiment"]
    names = [name for name, _ in stored["sources"]]
    assert {"extra.txt", str(listed.elsewhere)} <= set(names)
    assert "matlab-engine==9.13" in stored["dependencies"]
    by_name = dict(map(tuple, stored["sources"]))
    assert (listed.project / "runs" / by_name["extra.txt"]).is_file()


def test_what_cannot_be_added_is_refused_where_it_is_added():
    """Not at the end of a long run."""
    ex = Experiment("refusing")
    with pytest.raises(ValueError, match=r"no file '.*nowhere\.txt'"):
        ex.add_source_file("nowhere.txt")
    with pytest.raises(ValueError, match="'newest' is not a version"):
        ex.add_package_dependency("thing", "newest")


def test_what_an_ingredient_adds_counts_for_the_experiment(tmp_path):
    """Ingredients are shared; they bring along what they need."""
    from capture import Ingredient

    (tmp_path / "table.csv").write_text("1")
    part = Ingredient("part")
    part.add_source_file(tmp_path / "table.csv")
    part.add_package_dependency("driver", "1.2.3.post1")
    ex = Experiment("whole", ingredients=[part])
    observer = RecordingObserver()
    ex.observers.append(observer)
    ex.main(lambda: None)
    ex.run()
    info = ex.current_run.experiment_info
    assert "driver==1.2.3.post1" in info["dependencies"]
    assert any(name.endswith("table.csv") for name, _ in info["sources"])
