"""Distributions that pip really installs: one from a folder, an editable one, one from a commit."""

from __future__ import annotations

import os
import subprocess
import sys
import types

import pytest

#: A build backend that needs nothing: it writes a wheel of one package, or of a .pth file that points to it.
BACKEND = """
import os, zipfile

NAME = {name!r}

def _wheel(folder, files):
    info = f"{{NAME}}-1.0.dist-info"
    files = {{
        **files,
        f"{{info}}/METADATA": f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: 1.0\\n",
        f"{{info}}/WHEEL": "Wheel-Version: 1.0\\nGenerator: tiny\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }}
    record = "".join(f"{{name}},,\\n" for name in files) + f"{{info}}/RECORD,,\\n"
    name = f"{{NAME}}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        for path, text in {{**files, f"{{info}}/RECORD": record}}.items():
            wheel.writestr(path, text)
    return name

def build_wheel(folder, config_settings=None, metadata_directory=None):
    return _wheel(folder, {{f"{{NAME}}/{{name}}": open(f"{{NAME}}/{{name}}").read() for name in os.listdir(NAME)}})

def build_editable(folder, config_settings=None, metadata_directory=None):
    return _wheel(folder, {{f"__editable__.{{NAME}}.pth": os.getcwd()}})
"""

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "{name}"
version = "1.0"
"""


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """Give an environment with a plain install, an editable one, and one of a commit, all made by pip.

    Its attributes: ``folder``, with the projects in it; ``python``, its interpreter; ``commit``; ``pip``, to install
    more.
    """
    folder = tmp_path_factory.mktemp("installs").resolve()
    python = str(folder / "env" / ("Scripts" if os.name == "nt" else "bin") / "python")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "GIT_", "PYTHON"))}
    clean.update(GIT_CONFIG_GLOBAL=os.devnull, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INDEX="1")

    def call(*command, **options):
        done = subprocess.run(command, env=clean, capture_output=True, text=True, check=False, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    call(sys.executable, "-m", "venv", "--without-pip", str(folder / "env"))

    def pip(*arguments):
        call(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", *arguments)

    for name in ("plainly", "pointed", "fetched"):
        (folder / name / name).mkdir(parents=True)
        (folder / name / name / "__init__.py").write_text("")
        (folder / name / name / "part.py").write_text("")
        (folder / name / "backend.py").write_text(BACKEND.format(name=name))
        (folder / name / "pyproject.toml").write_text(PYPROJECT.format(name=name))
        git = ("git", "-C", str(folder / name), "-c", "user.name=n", "-c", "user.email=e@example.org")
        call(*git, "init", "-q")
        call(*git, "add", ".")
        call(*git, "commit", "-q", "-m", "first")
    commit = call("git", "-C", str(folder / "fetched"), "rev-parse", "HEAD")
    pip(str(folder / "plainly"))
    pip("-e", str(folder / "pointed"))
    pip(f"git+file://{folder / 'fetched'}")
    return types.SimpleNamespace(folder=folder, python=python, commit=commit, pip=pip)
