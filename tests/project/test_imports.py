"""What `import capture` brings along, and what it must not."""

from __future__ import annotations

import json
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
    "capture.cli",
    "capture.testing",
    "capture.observers",
]


def loaded_by(code: str) -> set[str]:
    """Return the modules that a bare interpreter has loaded after `code`.

    Site is left out: an editable install has a hook there that imports half of the list by itself.
    """
    paths = [str(ROOT), *site.getsitepackages()]
    script = f"import sys; sys.path[:0] = {paths!r}\n{code}\nimport json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("code", ["import capture", "from capture import Experiment", "from capture import Ingredient"])
def test_importing_the_library_leaves_costly_modules_alone(code):
    """Every script pays for the import, also one that only prints its help."""
    loaded = loaded_by(code)
    assert "capture" in loaded
    assert not loaded & set(NOT_AT_IMPORT)


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


@pytest.mark.parametrize("module", sorted(modules()))
def test_every_module_imports_by_itself(module):
    """Whoever imports one module first must not meet a half-made other one."""
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True, capture_output=True, text=True)
