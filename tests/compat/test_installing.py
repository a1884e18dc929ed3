"""Taking Sacred's names, and giving them back: for a process, its children, an environment."""

from __future__ import annotations

import importlib.metadata
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
import types

import pytest

from capture import SETTINGS, compat
from capture.compat.errors import SacredImportedError, SacredNameError
from tests.project.tree import ROOT


def python(*arguments, status=0, cwd=None, **variables):
    """Run this interpreter; return what it printed."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        cwd=cwd,
        check=False,
        timeout=600,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def script(folder, code, name="script.py"):
    path = folder / name
    path.write_text(textwrap.dedent(code).lstrip(), encoding="utf-8")
    return path


# ---------------------------------------------------------------------------------------------------------- a process


def test_doing_it_twice_is_harmless(as_sacred):
    """A script and a package that it uses may both ask for it."""
    import sacred

    before = list(sys.meta_path)
    compat.install_as_sacred()
    assert sys.meta_path == before and sys.modules["sacred"] is sacred and compat.is_installed()


def test_it_is_refused_where_sacred_was_imported_before(monkeypatch):
    """Half of a process with Sacred's classes and half with ours would fail much later, and inexplicably."""
    theirs = types.ModuleType("sacred")
    theirs.__file__ = "/site-packages/sacred/__init__.py"
    monkeypatch.setitem(sys.modules, "sacred", theirs)
    with pytest.raises(SacredImportedError, match=r"from /site-packages/sacred.*\n.*before anything imports") as caught:
        compat.install_as_sacred()
    assert caught.value.modules == ("sacred",) and not compat.is_installed()
    assert sys.modules["sacred"] is theirs


def test_uninstalling_leaves_nothing_behind():
    """A test suite that tries it must be able to go on with Sacred itself."""
    before = list(sys.meta_path), list(sys.path), os.environ.get("PYTHONPATH"), SETTINGS.STORE, SETTINGS.NAIVE_TIMES
    compat.install_as_sacred(children=True)
    import sacred.utils

    join_paths = sacred.utils.join_paths
    compat.uninstall()
    after = list(sys.meta_path), list(sys.path), os.environ.get("PYTHONPATH"), SETTINGS.STORE, SETTINGS.NAIVE_TIMES
    assert after == before
    assert SETTINGS.origin("STORE") == "library"
    assert not [name for name in sys.modules if name.partition(".")[0] == "sacred"] and not compat.is_installed()
    assert join_paths("a", "b") == "a.b"
    compat.uninstall()


def test_the_version_is_that_of_the_sacred_whose_names_these_are(as_sacred):
    """Packages compare it with what they need, and some take it to pieces."""
    import sacred

    assert sacred.__version__ == importlib.metadata.version("sacred") == importlib.metadata.version("Sacred") == "0.8.7"
    assert "experiment-capture" in importlib.metadata.metadata("sacred")["Summary"]
    assert "sacred" not in {each.metadata["Name"] for each in importlib.metadata.distributions()}


def test_pickles_find_their_classes(as_sacred):
    """Those written with Sacred, and those written here: they name modules of this library, which stay."""
    from sacred.config import ConfigDict
    from sacred.utils import SacredInterrupt

    of_sacred = b"csacred.utils\nTimeoutInterrupt\n."
    assert pickle.loads(of_sacred).__name__ == "TimeoutInterrupt"
    data = pickle.dumps((ConfigDict({"a": 1}), SacredInterrupt("x")))
    assert b"sacred.config" not in data
    compat.uninstall()
    assert pickle.loads(data)[0]() == {"a": 1}


@pytest.mark.parametrize(
    "error", [SacredImportedError(["sacred"], "/x"), SacredNameError("sacred.x", "capture.y")], ids=repr
)
def test_its_errors_survive_pickling(error):
    """They may be raised in a worker process."""
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) and vars(again) == vars(error)


# ----------------------------------------------------------------------------------------------- what Sacred does, too


def test_there_is_no_default_store_once_sacred_is_imported():
    """A run without an observer records nothing in Sacred, and packages count on it; what somebody set stands."""
    compat.install_as_sacred()
    try:
        assert SETTINGS.STORE == "./runs"
        import sacred

        assert SETTINGS.STORE == "none" and SETTINGS.origin("STORE") == "capture.compat"
    finally:
        compat.uninstall()
    SETTINGS.STORE = "elsewhere"
    try:
        compat.install_as_sacred()
        import sacred  # noqa: F401

        assert SETTINGS.STORE == "elsewhere"
    finally:
        compat.uninstall()
        assert SETTINGS.STORE == "elsewhere"
        SETTINGS._set("STORE", "./runs", "library")


def test_an_unobserved_run_leaves_no_folder(tmp_path):
    """As with Sacred, which says so in a warning."""
    path = script(
        tmp_path,
        """
        from sacred import Experiment
        ex = Experiment()
        @ex.automain
        def main():
            return 7
        """,
    )
    printed = python("-m", "capture.compat", path)
    assert "No observers have been added to this run" in printed and "Result: 7" in printed
    assert os.listdir(tmp_path) == ["script.py"]


def test_times_are_naive_utc(as_sacred):
    """Observers of that time subtract `datetime.utcnow()` from them, which is refused where one has a time zone."""
    from datetime import datetime, timedelta, timezone

    from sacred import Experiment
    from sacred.observers import RunObserver

    times = {}

    class Mine(RunObserver):
        def started_event(self, ex_info, command, host_info, start_time, config, meta_info, _id):
            times["start"] = start_time

        def heartbeat_event(self, info, captured_out, beat_time, result):
            times["beat"] = beat_time

        def completed_event(self, stop_time, result):
            times["stop"] = stop_time

        def log_metrics(self, metrics_by_name, info):
            (times["metric"],) = metrics_by_name["loss"]["timestamps"]

    ex = Experiment("x")
    ex.observers.append(Mine())

    @ex.main
    def main(_run):
        times["run"] = _run.start_time
        ex.log_scalar("loss", 1.0)

    run = ex.run()
    times["run's stop"] = run.stop_time
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    assert times.keys() == {"start", "beat", "stop", "metric", "run", "run's stop"}
    for name, time in times.items():
        assert time.tzinfo is None and timedelta(0) <= now - time < timedelta(minutes=10), name


# ------------------------------------------------------------------------------------------------------ the command line


def test_a_script_runs_as_python_would_run_it(tmp_path):
    """Its arguments, its folder on the path, its exit status, and its own `__main__`."""
    script(tmp_path, "def double(x): return 2 * x", "beside.py")
    path = script(
        tmp_path,
        """
        import sys
        from beside import double
        import sacred
        print(sys.argv[1:], double(3), __name__, sys.modules["__main__"].double is double, sacred.__name__)
        sys.exit(7)
        """,
    )
    assert python("-m", "capture.compat", path, "a", "-b", status=7) == "['a', '-b'] 6 __main__ True sacred\n"


def test_a_script_stays_the_main_module_until_the_process_ends(tmp_path):
    """A script that is named by a relative path and goes elsewhere, and what it has left to do at its end."""
    script(
        tmp_path,
        """
        import atexit, os, pickle, sys
        class Mine: pass
        @atexit.register
        def later():
            print(type(pickle.loads(pickle.dumps(Mine()))) is Mine, sys.argv, os.path.isabs(__file__), __spec__)
        os.chdir(os.sep)
        """,
    )
    assert python("-m", "capture.compat", "script.py", cwd=tmp_path) == "True ['script.py'] True None\n"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="-P is new in 3.11")
def test_a_python_that_was_told_to_leave_the_scripts_folder_out_does(tmp_path):
    """And keeps the folders that it has."""
    path = script(tmp_path, "import sys; print(any(p in (sys.argv[0].rpartition('/')[0], '') for p in sys.path))")
    first = python("-P", "-c", "import sys; print(sys.path[0])").strip()
    assert python("-P", "-m", "capture.compat", path) == "False\n"
    script(tmp_path, "import sys; print(sys.path[0])")
    assert python("-P", "-m", "capture.compat", path).strip() == first


def test_a_folder_with_a_main_module_is_run(tmp_path):
    """So is an archive of that form."""
    (tmp_path / "tool").mkdir()
    script(tmp_path / "tool", "import sacred; print(__name__, sacred.__version__)", "__main__.py")
    assert python("-m", "capture.compat", str(tmp_path / "tool")) == "__main__ 0.8.7\n"
    archive = shutil.make_archive(str(tmp_path / "archive"), "zip", tmp_path / "tool")
    assert python("-m", "capture.compat", archive) == "__main__ 0.8.7\n"


def test_a_module_runs_as_python_would_run_it(tmp_path):
    """How packages with commands of their own are started."""
    (tmp_path / "tool").mkdir()
    script(tmp_path / "tool", "import sys, sacred; print(sys.argv[1:], __name__, sacred.__version__)", "__main__.py")
    printed = python("-m", "capture.compat", "-m", "tool", "x", PYTHONPATH=str(tmp_path))
    assert printed == "['x'] __main__ 0.8.7\n"


def test_a_script_owns_its_process(tmp_path):
    """Ctrl-C, SIGTERM and file descriptors are then watched as when it is started without us."""
    path = script(
        tmp_path,
        """
        from sacred import Experiment
        from sacred.observers import FileStorageObserver
        ex = Experiment()
        ex.observers.append(FileStorageObserver("mine"))
        @ex.automain
        def main(_run):
            print(_run.owns_process, ex.path)
        """,
    )
    assert "True script" in python("-m", "capture.compat", path, cwd=tmp_path)
    assert "True script\n" in (tmp_path / "mine" / "1" / "cout.txt").read_text()


def test_processes_that_a_script_starts_find_the_names_too(tmp_path):
    """Workers of a pool import the script anew; launchers start one Python per experiment."""
    path = script(
        tmp_path,
        """
        import multiprocessing, subprocess, sys
        from sacred.utils import join_paths

        def work(name):
            return join_paths(name, "b"), sys.modules["sacred"].__spec__.origin

        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(work, ["a"]))
            subprocess.run([sys.executable, "-c", "import sacred; print(sacred.Experiment.__module__)"], check=True)
        """,
    )
    printed = python("-m", "capture.compat", path).splitlines()
    assert sorted(printed) == ["[('a.b', 'capture.compat')]", "capture.experiment"]


@pytest.mark.parametrize(
    "arguments", [["nothing.py"], [], ["-x"], ["-m"], ["--enable", "more"], ["-m", "nowhere.at_all"]], ids=repr
)
def test_a_wrong_command_line_is_explained(arguments):
    """Exit status 2, and no traceback."""
    printed = python("-m", "capture.compat", *arguments, status=2)
    assert printed.startswith("capture.compat: ") and "Traceback" not in printed
    assert "Usage:" in python("-m", "capture.compat", "--help")


# ------------------------------------------------------------------------------------------------------ an environment


@pytest.mark.slow
def test_an_environment_is_told_and_told_otherwise(tmp_path):
    """Launchers that keep no variables start `python train.py`: then only the environment itself can say it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    there = tmp_path / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    (site,) = (tmp_path / "env").glob("lib/python3*/site-packages")
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "capture").symlink_to(ROOT / "capture")
    (site / "library.pth").write_text(f"{tmp_path / 'library'}\n")
    (site / "sacred").mkdir()
    (site / "sacred" / "__init__.py").write_text("itself = True\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def tell(*arguments):
        done = subprocess.run(
            [there, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    ask = ["-c", "import sacred; print(hasattr(sacred, 'itself'))"]
    assert tell(*ask) == "True\n"
    assert "import sacred finds capture now" in tell("-m", "capture.compat", "--enable")
    assert tell(*ask) == "False\n"
    assert tell("-c", "import sys; print('sacred' in sys.modules)") == "False\n"
    assert "import sacred finds Sacred again" in tell("-m", "capture.compat", "--disable")
    assert tell(*ask) == "True\n"
    assert "nothing to take back" in tell("-m", "capture.compat", "--disable")
    tell("-m", "capture.compat", "--enable")
    (site / "library.pth").unlink()  # the library is uninstalled
    done = subprocess.run([there, *ask], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("True\n", "")
