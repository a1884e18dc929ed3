"""Rewritten scopes are kept for the next run, and believed only while they are what they would be made anew."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

from capture.config.rewritten import UNUSED_S
from capture.config.scope import ConfigScope

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="nothing is kept where files have no owner")

SOURCE = """\
def outer():
    @Scope
    def cfg(base=2):
        lr = 0.1  # how fast
        squares = [n * n for n in range(base)]
    return cfg
"""


@pytest.fixture(autouse=True)
def bytecode_may_be_written(monkeypatch):
    """Whoever wants no compiled modules kept wants no compiled scopes kept either; here both are wanted."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


@pytest.fixture
def rewrites(monkeypatch):
    """Return a list that grows with each rewriting."""
    from capture.config import rewrite as module

    real, calls = module.rewrite, []
    monkeypatch.setattr(module, "rewrite", lambda *args: calls.append(args[0].__name__) or real(*args))
    return calls


def scope_from(path, cache):
    spec = importlib.util.spec_from_file_location("experiment_of_test", path)
    module = importlib.util.module_from_spec(spec)
    module.Scope = ConfigScope
    exec(compile(path.read_text(), str(path), "exec"), vars(module))
    scope = module.outer()
    scope.cache_dir = str(cache)
    return scope


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "experiment.py"
    path.write_text(SOURCE)
    return path


def kept(cache):
    return sorted((cache / "scopes").iterdir())


def test_the_second_run_takes_what_the_first_one_kept(source, tmp_path, rewrites):
    """Loading the parser and parsing costs a short run more than all the rest of its configuration."""
    first = scope_from(source, tmp_path / "cache")({"lr": 0.5})
    second = scope_from(source, tmp_path / "cache")({"lr": 0.5})
    assert rewrites == ["cfg"]
    assert dict(first) == dict(second) == {"base": 2, "lr": 0.5, "squares": [0, 1]}
    assert second.docs == {"lr": "how fast"}
    assert (second.lines, second.modified) == (first.lines, first.modified)


def test_nothing_is_kept_without_a_folder(source, rewrites):
    """A scope by itself knows no place that is the user's own."""
    scope = scope_from(source, "")
    scope.cache_dir = None
    scope()
    assert rewrites == ["cfg"] and sorted(each.name for each in source.parent.iterdir()) == ["experiment.py"]


@pytest.mark.parametrize("new", [SOURCE.replace("0.1", "0.2"), SOURCE.replace("fast", "slow"), "\n" + SOURCE])
def test_an_edited_source_counts_anew(source, tmp_path, rewrites, new):
    """Its values, its comments, and where its lines are."""
    scope_from(source, tmp_path / "cache")()
    source.write_text(new)
    os.utime(source, ns=(1, 1))
    summary = scope_from(source, tmp_path / "cache")()
    assert rewrites == ["cfg", "cfg"]
    assert summary["lr"] == (0.2 if "0.2" in new else 0.1)
    assert summary.docs == {"lr": "how slow" if "slow" in new else "how fast"}


def test_code_that_differs_from_what_was_rewritten_is_rewritten(source, tmp_path, rewrites):
    """The file's size and time may be the old ones, as with a tool that sets them."""
    scope_from(source, tmp_path / "cache")()
    about = source.stat()
    source.write_text(SOURCE.replace("0.1", "0.2"))
    os.utime(source, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert scope_from(source, tmp_path / "cache")()["lr"] == 0.2
    assert rewrites == ["cfg", "cfg"]


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_what_others_can_write_to_is_not_believed(source, tmp_path, rewrites, mode):
    """It is code, and would run."""
    scope_from(source, tmp_path / "cache")()
    kept(tmp_path / "cache")[0].chmod(mode)
    scope_from(source, tmp_path / "cache")()
    assert rewrites == ["cfg", "cfg"]
    assert kept(tmp_path / "cache")[0].stat().st_mode & 0o777 == 0o600


def test_what_another_user_wrote_is_not_believed(source, tmp_path, rewrites, monkeypatch):
    """A state folder may be named that is not one's own."""
    scope_from(source, tmp_path / "cache")()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    scope_from(source, tmp_path / "cache")()
    assert rewrites == ["cfg", "cfg"]


@pytest.mark.parametrize("damage", [b"", b"\0\0", b"\0" * 300])
def test_a_damaged_file_is_made_anew(source, tmp_path, rewrites, damage):
    """Reading damaged code may end the process."""
    scope_from(source, tmp_path / "cache")()
    path = kept(tmp_path / "cache")[0]
    path.write_bytes(damage)
    scope_from(source, tmp_path / "cache")()
    scope_from(source, tmp_path / "cache")()
    assert rewrites == ["cfg", "cfg"]


def test_what_nobody_used_for_long_is_removed(source, tmp_path, rewrites):
    """Every script that ever ran would have its file there."""
    folder = tmp_path / "cache" / "scopes"
    folder.mkdir(parents=True)
    (folder / "old").write_bytes(b"")
    os.utime(folder / "old", (1, 1))
    scope_from(source, tmp_path / "cache")()
    (mine,) = kept(tmp_path / "cache")
    assert mine.name.startswith("experiment.py-")
    os.utime(mine, (mine.stat().st_mtime - UNUSED_S - 60,) * 2)
    scope_from(source, tmp_path / "cache")()
    assert rewrites == ["cfg", "cfg"]


def test_a_folder_that_cannot_be_written_changes_nothing(source, tmp_path, rewrites):
    """What is kept saves time; without it everything is as it is."""
    (tmp_path / "cache").write_text("a file")
    assert dict(scope_from(source, tmp_path / "cache")()) == {"base": 2, "lr": 0.1, "squares": [0, 1]}


@pytest.mark.slow
def test_a_run_loads_no_parser_the_second_time(tmp_path):
    """Seen from outside: the first recorded run makes the folder, the second one keeps, the third one saves."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom capture import Experiment\nex = Experiment('x', observers=['runs'])\n\n"
        "@ex.config\ndef cfg():\n    lr = 0.1  # how fast\n\n"
        "@ex.automain\ndef main(lr):\n    print('capture.config.rewrite' in sys.modules, lr)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CAPTURE_"))}
    environment["CAPTURE_STATE_DIR"] = str(tmp_path / "state")
    told = []
    for words in ([], [], [], ["with", "lr=7"]):
        done = subprocess.run(
            [sys.executable, str(script), *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        told.append(done.stdout.strip())
    assert told == ["True 0.1", "True 0.1", "False 0.1", "False 7"]


def test_what_another_python_has_kept_is_not_read(source, tmp_path, rewrites, monkeypatch):
    """Each version writes code in its own way: 3.10 ended with "bad marshal data" wherever 3.13 had run before."""
    cache = tmp_path / "cache"
    with monkeypatch.context() as other:
        other.setattr(sys, "version", "3.99.0 (another Python)")
        other.setattr("marshal.dumps", lambda value: b"\x7f code of 3.99")
        scope_from(source, cache)()
    (theirs,) = kept(cache)
    scope_from(source, cache)()
    assert rewrites == ["cfg", "cfg"]
    assert theirs.read_bytes().endswith(b"code of 3.99")  # two Pythons that take turns do not overwrite each other's
    (ours,) = set(kept(cache)) - {theirs}
    ours.write_bytes(theirs.read_bytes())  # even where the names are equal
    assert dict(scope_from(source, cache)())["base"] == 2
