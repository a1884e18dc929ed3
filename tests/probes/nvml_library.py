"""A shared library that answers as NVIDIA's does, compiled for the test."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys

import pytest

SOURCE = os.path.join(os.path.dirname(__file__), "fake_nvml.c")
COMPILER = shutil.which("cc") or shutil.which("gcc")
_ENVIRONMENT = dict(os.environ)  # tests hide programs from the search path

needs_compiler = pytest.mark.skipif(
    sys.platform == "win32" or COMPILER is None, reason="no C compiler to make a library with"
)


def compile_nvml(folder, **choices):
    """Compile `fake_nvml.c` with some of its choices, and return the loaded library."""
    path = os.path.join(str(folder), "libnvidia-ml-" + "-".join(f"{k}{v}" for k, v in choices.items()) + ".so.1")
    defined = [f"-D{name}={value}" for name, value in choices.items()]
    subprocess.run([COMPILER, "-shared", "-fPIC", "-w", *defined, "-o", path, SOURCE], check=True, env=_ENVIRONMENT)
    return ctypes.CDLL(path)
