"""One experiment that does most of what leaves a trace; its record names all of it, or says what it could not see."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from capture import open_store

HERE = Path(__file__).parent / "everything"
READ_BY_OTHERS = ("read_in_a_thread.txt", "read_by_fork.txt", "read_by_spawn.txt")
BY_STRANGERS = ("read_by_a_stranger.txt", "read_by_cat.txt")
DISTRIBUTIONS = {
    *("pandas", "numpy", "polars", "pyarrow", "h5py", "netCDF4", "opencv-python-headless", "safetensors", "duckdb"),
    *("httpx", "experiment-capture"),
}
SOURCES = {
    *("experiment.py", "helpers/__init__.py", "helpers/shared.py", "helpers/deeper.py"),
    *("plain_module.py", "forgotten.py"),
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """The data of the experiment, made once."""
    pytest.importorskip("netCDF4", reason="the test extra has netCDF4 from Python 3.11 on")
    place = tmp_path_factory.mktemp("everything") / "data"
    subprocess.run([sys.executable, HERE / "prepare.py", place], check=True, stdout=subprocess.DEVNULL)
    return place


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A server that has two files to fetch."""
    place = tmp_path_factory.mktemp("served")
    (place / "fetched.txt").write_text("fetched " * 1000)
    (place / "fetched_too.txt").write_text("fetched, too " * 1000)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            """Say nothing."""

    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=place))
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()


@pytest.fixture
def project(tmp_path, data):
    """A folder with the experiment and its data."""
    place = tmp_path / "project"
    shutil.copytree(HERE, place, ignore=shutil.ignore_patterns("__pycache__", "prepare.py"))
    shutil.copytree(data, place / "data")
    for name in (*READ_BY_OTHERS, *BY_STRANGERS):
        (place / name).write_text(f"{name}\n")
    return place


def run(project, server, *arguments, python=sys.executable, **environment):
    """Run the experiment as a user does; return its record."""
    command = [python, "experiment.py", *arguments, "with", f"url={server}"]
    env = {**os.environ, **environment}
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return open_store(str(project / "runs")).get("latest")


def names(files, project):
    """Return the names of files in lineage, as seen from the project."""
    return {os.path.relpath(file["path"], project) for file in files}


def check_lineage(record, project, data, server):
    lineage = record.facts["lineage"]
    inputs, coverage = names(lineage["inputs"], project), lineage["coverage"]
    wanted = {f"data/{path.name}" for path in data.iterdir()} | set(READ_BY_OTHERS)
    if any("netCDF4" in what for what in coverage["unseen"]):  # 1.7.5 is the oldest that tells; Python 3.10 has 1.7.4
        wanted.remove("data/net.nc")
    assert wanted <= inputs, f"missing: {wanted - inputs}\n{coverage['text']}"
    seen = inputs | names(lineage["nearby"], project)
    assert set(BY_STRANGERS) <= seen or not coverage["complete"]
    assert not inputs & SOURCES and not {name for name in inputs if "site-packages" in name or name.startswith("runs")}

    digests = {os.path.relpath(file["path"], project): file["digest"] for file in lineage["inputs"]}
    for name in wanted - {"data/lite.sqlite", "data/duck.db"}:
        assert digests[name] == hashlib.sha256((project / name).read_bytes()).hexdigest(), name

    assert names(lineage["outputs"], project) == {"shared_output.txt", "out/result.txt"}
    urls = {entry["url"].replace(server, ""): entry for entry in lineage["urls"]}
    assert "hunter2" not in json.dumps(lineage["urls"])
    for path, text in (("/fetched.txt", "fetched " * 1000), ("/fetched_too.txt", "fetched, too " * 1000)):
        entry = next(entry for url, entry in urls.items() if url.split("?")[0] == path)
        assert entry["digest"] == hashlib.sha256(text.encode()).hexdigest(), entry
    assert lineage["children"]["not_observed"] == 2, lineage["children"]
    assert "2 child processes not observed" in coverage["text"]
    assert not coverage["complete"]

    kept = {artifact.name: artifact.read() for artifact in record.artifacts}
    assert kept == {"shared_output.txt": b"shared", "out/result.txt": b"done"}


def check_imports(record):
    imports = record.facts["imports"]
    found = {entry["name"] for entry in imports["distributions"]}
    assert found >= DISTRIBUTIONS, f"missing: {DISTRIBUTIONS - found}"
    assert {stored.name for stored in record.sources} >= SOURCES
    for stored in record.sources:
        if stored.name in SOURCES:
            assert stored.read() == (HERE / stored.name).read_bytes()
    listed = {line.partition("==")[0] for line in record.experiment["dependencies"]}
    assert listed >= DISTRIBUTIONS


def test_in_a_folder_without_git(project, data, server):
    """Most experiments begin in a folder that nobody has made a repository of."""
    record = run(project, server)
    check_lineage(record, project, data, server)
    check_imports(record)
    assert record.facts.get("git", []) == []
    assert {"environment", "machine", "process", "usage"} <= set(record.facts)
    assert record.facts["usage"]["wall_s"] > 0 and record.facts["usage"]["peak_memory_bytes"] > 1_000_000
    assert record.facts["process"]["argv"][1:] == ["with", f"url={server}"]


def git(folder, *arguments):
    subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True)


def test_in_a_dirty_repository_with_untracked_files(project, data, server, tmp_path):
    """What was never committed is what cannot be got back later, unless the record has it."""
    git(project, "init", "-q")
    (project / ".gitignore").write_text("data/\nruns/\n*.txt\nout/\n__pycache__/\n")
    git(project, "add", "experiment.py", "helpers", ".gitignore")
    git(project, "commit", "-q", "-m", "begin")
    (project / "helpers" / "shared.py").write_text((HERE / "helpers" / "shared.py").read_text() + "\n# changed\n")
    (project / "notes.md").write_text("an untracked file that nothing imports\n")
    (project / ".env").write_text("PASSWORD=do-not-keep-this\n")

    record = run(project, server)

    check_lineage(record, project, data, server)
    (state,) = record.facts["git"]
    kept = {stored.name: stored for stored in record.kept}
    assert state["dirty"] is True and b"+# changed" in kept[state["patch"]["source"]].read()
    untracked = {entry["path"]: entry for entry in state["untracked"]}
    assert {"plain_module.py", "forgotten.py", "notes.md"} <= set(untracked)
    assert b"nothing imports" in kept[untracked["notes.md"]["source"]].read()
    assert "left_out" in untracked.get(".env", {"left_out": ""})
    assert b"do-not-keep-this" not in b"".join(stored.read() for stored in (*record.sources, *record.kept))

    from capture.probes.restoring import restore

    restored = tmp_path / "restored"
    restore(str(restored), state, lambda name: kept[name].open())
    for name in SOURCES | {"notes.md"}:
        assert (restored / name).read_bytes() == (project / name).read_bytes(), name


def test_with_an_editable_install(project, data, server, tmp_path):
    """Code under development is installed as a pointer to its folder, which is a repository of its own."""
    package = tmp_path / "lab"
    (package / "lab_tools").mkdir(parents=True)
    (package / "lab_tools" / "__init__.py").write_text("VALUE = 42\n")
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=64"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "lab-tools"\nversion = "0.3"\n[tool.setuptools]\npackages = ["lab_tools"]\n'
    )
    git(package, "init", "-q")
    git(package, "add", ".")
    git(package, "commit", "-q", "-m", "begin")
    (package / "lab_tools" / "__init__.py").write_text("VALUE = 42  # changed\n")
    place = tmp_path / "installed"
    # An environment of its own, which finds all that this one has: nothing is installed into the one that runs the tests.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True, capture_output=True)
    python = str(place / "bin" / "python")
    (site,) = place.glob("lib/python*/site-packages")
    ours = [path for path in sys.path if os.path.basename(path) == "site-packages"]
    (site / "zz_all_of_this.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in ours))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--prefix", place, "-e", package],
        check=True,
        capture_output=True,
    )
    script = project / "experiment.py"
    script.write_text(script.read_text().replace("    names = sorted", "    import lab_tools\n\n    names = sorted"))

    record = run(project, server, python=python)

    check_lineage(record, project, data, server)
    (entry,) = [each for each in record.facts["imports"]["distributions"] if each["name"] == "lab-tools"]
    assert (entry["version"], os.path.realpath(entry["editable"]), entry["late"]) == ("0.3", str(package), True)
    (state,) = [each for each in record.facts["git"] if os.path.realpath(each["root"]) == str(package)]
    assert state["dirty"] is True and state["distribution"] == "lab-tools"
    assert any(stored.read() == b"VALUE = 42  # changed\n" for stored in record.sources)
