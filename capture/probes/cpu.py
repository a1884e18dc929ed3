"""The name of the processor."""

from __future__ import annotations

import os
import sys

from capture._system import macos_sysctl, windows_registry
from capture.hooks import Unavailable

#: (implementer, part) -> name, of processors that experiments are run on; py-cpuinfo knows the rest
_ARM_PARTS = {
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4f"): "Neoverse-V2",
    ("0x41", "0xd84"): "Neoverse-V3",
    ("0x41", "0xd8e"): "Neoverse-N3",
    ("0x48", "0xd01"): "TaiShan-v110",
    ("0xc0", "0xac3"): "Ampere-1",
}

_found: list[str | Unavailable] = []  # asked once per process: the processor stays


def cpu_name() -> str | Unavailable:
    """Return the processor's name, such as ``"AMD EPYC 7B13"``; `Unavailable` where nothing tells it."""
    if not _found:
        _found.append(_ask())
    return _found[0]


def _ask() -> str | Unavailable:
    name = None
    if sys.platform == "darwin":
        name = macos_sysctl("machdep.cpu.brand_string")
    elif sys.platform == "win32":
        name = windows_registry(r"HARDWARE\DESCRIPTION\System\CentralProcessor\0", "ProcessorNameString")
    else:
        name = _from_proc()
    return name.strip() if name and name.strip() else _from_py_cpuinfo()


def _from_proc(path: str = "/proc/cpuinfo") -> str | None:
    """Read the first processor's name; it stands within the first lines, however many cores follow."""
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(4096).decode("utf-8", "replace")
    except OSError:
        return None
    told: dict[str, str] = {}
    for line in head.splitlines():
        key, _, value = line.partition(":")
        told.setdefault(key.strip(), value.strip())
    # POWER's kernels say "cpu"; Arm's give numbers of vendor and part and leave the name to the reader.
    part = (told.get("CPU implementer", ""), told.get("CPU part", ""))
    return told.get("model name") or told.get("cpu") or _ARM_PARTS.get(part)


def _from_py_cpuinfo() -> str | Unavailable:
    """Ask py-cpuinfo, which knows other systems but takes a second or more."""
    if "cpuinfo" in sys.modules and not hasattr(sys.modules["cpuinfo"], "get_cpu_info"):
        return Unavailable("a module of yours is called cpuinfo and hides py-cpuinfo")
    try:
        from cpuinfo import get_cpu_info
    except ImportError:
        return Unavailable(f"nothing on {sys.platform} ({os.name}) tells it, and py-cpuinfo is not installed")
    info = get_cpu_info() or {}
    name = info.get("brand_raw") or info.get("arch_string_raw")
    return str(name) if name else Unavailable("py-cpuinfo does not know this processor")
