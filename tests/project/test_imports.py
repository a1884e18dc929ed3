"""What `import capture` brings along, and what it must not."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys

import pytest

from tests.project.tree import ROOT, modules

#: Costly, or not installed everywhere, or none of our business before somebody asks for it.
NOT_AT_IMPORT = [
    "numpy",
    "pandas",
    "git",
    "cpuinfo",
    "rich",
    "docopt",
    "jsonpickle",
    "yaml",
    "pymongo",
    "sqlalchemy",
    "tinydb",
    "sqlite3",
    "asyncio",
    "typing",
    "logging",
    "inspect",
    "dataclasses",
    "importlib.metadata",
    "subprocess",
    "tempfile",
    "argparse",
    "hashlib",
    "uuid",
    "unittest",
    "email",
    "json",
    "re",
    "enum",
    "ast",
    "datetime",
    "contextlib",
    "capture.cli",
    "capture.testing",
    "capture.observers",
]

#: What a recorded run does without, too, where nothing of the user's loads it.
NOT_IN_A_RUN = [name for name in NOT_AT_IMPORT if name != "capture.observers"]

RECORDED = """\
import sys
sys.path[:0] = sys.argv.pop(1).split(":")
from capture import Experiment

ex = Experiment("x", observers=["runs"])

@ex.config
def defaults():
    lr = 0.1

@ex.main
def main(lr):
    print("hello", lr)
    return lr

sys.argv[:] = ["script"]
ex.run_commandline()
print(*sorted(sys.modules))
"""


def loaded_by(code: str) -> set[str]:
    """Return the modules that a bare interpreter has loaded after `code`.

    Site is left out: an editable install has a hook there that imports half of the list by itself.
    """
    paths = [str(ROOT), *site.getsitepackages()]
    script = f"import sys; sys.path[:0] = {paths!r}\n{code}\nfound = sorted(sys.modules)\nimport json; print(json.dumps(found))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("code", ["import capture", "from capture import Experiment", "from capture import Ingredient"])
def test_importing_the_library_leaves_costly_modules_alone(code):
    """Every script pays for the import, also one that only prints its help."""
    loaded = loaded_by(code)
    assert "capture" in loaded
    assert not loaded & set(NOT_AT_IMPORT)


@pytest.mark.skipif(os.name == "nt", reason="rewritten config scopes are not kept there, so that `ast` is loaded")
def test_a_recorded_run_leaves_costly_modules_alone(tmp_path):
    """A script of one line pays for each of them at its start and again at its end, when they are cleared up."""
    package = tmp_path / "site" / "capture"  # as it is installed, without the hook of an editable install
    package.mkdir(parents=True)
    for entry in (*(ROOT / "capture").iterdir(), ROOT / "observers"):
        (package / entry.name).symlink_to(entry)
    script = tmp_path / "script.py"
    script.write_text(RECORDED)
    paths = ":".join([str(package.parent), *site.getsitepackages()])
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CAPTURE_"))}
    environment["CAPTURE_STATE_DIR"] = str(tmp_path / "state")
    for _ in range(3):  # the first run makes the folder in which the second one keeps what the third one finds
        command = [sys.executable, "-S", str(script), paths]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    greeting, loaded = done.stdout.splitlines()
    assert greeting == "hello 0.1" and "capture.observers.file" in loaded.split()
    assert not set(loaded.split()) & set(NOT_IN_A_RUN)


def test_the_backends_folder_is_only_known_as_capture_observers():
    """A user's own observers.py beside a script must not be shadowed, nor ours be loaded a second time by path."""
    names = [name for name in modules() if name.startswith("capture.observers")]
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "assert 'observers' not in sys.modules, 'loaded as a top-level package'"
    )
    subprocess.run([sys.executable, "-P" if sys.version_info >= (3, 11) else "-I", "-c", code], check=True)
    assert "observers" not in sys.modules


#: imports each module in a child of its own, which has nothing of the library yet
IN_CHILDREN = """\
import os, sys, traceback
for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            __import__(name)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1]:
        print(name)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process for each module takes too long")
def test_every_module_imports_by_itself():
    """Whoever imports one module first must not meet a half-made other one."""
    command = [sys.executable, "-c", IN_CHILDREN, *sorted(set(modules()) - {"capture.__main__"})]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_what_is_public_is_written_out():
    """A type checker runs nothing: a list that is computed would leave users of `mypy --strict` without one name."""
    import ast

    import capture

    with open(os.path.join(ROOT, "capture", "__init__.py"), encoding="utf-8") as stream:
        body = ast.parse(stream.read()).body
    [told] = [
        each.value
        for each in body
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name) and each.targets[0].id == "__all__"
    ]
    assert ast.literal_eval(told) == ["__version__", "observers", *capture._HOMES]
