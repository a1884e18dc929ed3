"""Which machine, which system, which process: the cheap facts, read without starting anything."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from capture.hooks import Unavailable
from capture.probes._system import macos_sysctl, windows_registry

if TYPE_CHECKING:
    from collections.abc import Iterable

_identity: dict[str, str | None] = {}  # what cannot change while the process lives


def hostname() -> str:
    """Return the network name of this machine, as `platform.node` does."""
    if hasattr(os, "uname"):
        return os.uname().nodename
    import platform

    return platform.node()


def os_facts() -> list[str]:
    """Return what `platform.system` and `platform.platform` say.

    Notes
    -----
    On Linux they are put together here: importing `platform` takes longer than a whole start of a run may, and it may
    start ``uname -p``.
    """
    libc = _glibc()
    if sys.platform == "linux" and libc is not None:
        system = os.uname()
        return ["Linux", _dashed(system.sysname, system.release, system.machine, "with", libc)]
    import platform

    return [platform.system(), platform.platform()]


def _glibc() -> str | None:
    if sys.platform != "linux":
        return None
    try:
        return "".join((os.confstr("CS_GNU_LIBC_VERSION") or "").split()) or None
    except (ValueError, OSError):  # another libc: `platform` looks into the interpreter's file for its version
        return None


def _dashed(*parts: str) -> str:
    """Join words the way `platform.platform` does: no blanks or separators of paths, single dashes."""
    text = "-".join(part.strip() for part in parts if part)
    text = text.translate({ord(char): "_" for char in " "} | {ord(char): "-" for char in '/\\:;"()'})
    text = text.replace("unknown", "")
    while "--" in text:
        text = text.replace("--", "-")
    return text.strip("-")


def python_version() -> str:
    """Return the interpreter's version, as `platform.python_version` does: ``"3.11.7"``, ``"3.14.0b1+"``."""
    return sys.version.split()[0]


def environment(names: Iterable[str]) -> dict[str, str]:
    """Return those of the named environment variables that are set."""
    return {name: os.environ[name] for name in names if name in os.environ}


def host_facts(captured_env: Iterable[str] = (), include_cpu: bool = True) -> dict[str, Any]:
    """Gather the host's facts under Sacred's keys, but for the GPUs, which can take long.

    Parameters
    ----------
    captured_env : iterable of str
        Names of the environment variables to record.
    include_cpu : bool
        Whether the processor's name is wanted; None stands for it otherwise.

    Returns
    -------
    dict
        ``hostname``, ``os`` ([system, platform]), ``python_version``, ``cpu``, ``ENV``. A fact that this machine does
        not tell is `Unavailable`.
    """
    from capture.probes.cpu import cpu_name

    return {
        "hostname": hostname(),
        "os": os_facts(),
        "python_version": python_version(),
        "cpu": cpu_name() if include_cpu else None,
        "ENV": environment(captured_env),
    }


# ------------------------------------------------------------------------------------------- is the writer still alive?


def machine_identity() -> dict[str, Any]:
    """Say which process this is, so that another one can tell later whether it still lives.

    Returns
    -------
    dict
        ``machine_id``: str, of this installation of the system; ``boot_id``: str or None, of the time since it was
        started; ``pid``: int; ``pid_start``: int or None, when this process began, in a unit of the platform's own
        (equal means the same process, and nothing else is said); ``hostname``: str.
    """
    if not _identity:
        _identity.update(machine_id=_machine_id(), boot_id=_boot_id())
    pid = os.getpid()
    return {**_identity, "pid": pid, "pid_start": process_start(pid), "hostname": hostname()}


def process_start(pid: int) -> int | None:
    """Return when process `pid` began, or None where it is gone or the platform does not say.

    Clock ticks since the boot on Linux, microseconds since 1970 on macOS, 100 ns since 1601 on Windows.
    """
    if sys.platform == "win32":
        return _windows_process_start(pid)
    if sys.platform == "darwin":
        return _macos_process_start(pid)
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as stat:
            text = stat.read()
    except OSError:
        return None
    # The second field is the program's name in brackets and may hold blanks and brackets: count from the last one.
    fields = text[text.rfind(b")") + 2 :].split()
    return int(fields[19]) if len(fields) > 19 else None


def _machine_id() -> str:
    if sys.platform == "win32":
        found = windows_registry(r"SOFTWARE\Microsoft\Cryptography", "MachineGuid")
    elif sys.platform == "darwin":
        found = macos_sysctl("kern.uuid")
    else:
        found = _first_line("/etc/machine-id") or _first_line("/var/lib/dbus/machine-id")
    # Minimal containers have none. The name is the next best: containers get one of their own.
    return found if found and found != "uninitialized" else f"hostname:{hostname()}"


def _boot_id() -> str | None:
    if sys.platform == "win32":
        memory = r"SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters"
        return windows_registry(memory, "BootId")
    if sys.platform == "darwin":
        return macos_sysctl("kern.bootsessionuuid")
    return _first_line("/proc/sys/kernel/random/boot_id")


def _first_line(path: str) -> str | None:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(256).split(b"\n")[0].decode("ascii", "replace").strip() or None
    except OSError:
        return None


def _windows_process_start(pid: int) -> int | None:
    if sys.platform != "win32":
        return None
    import ctypes

    query_limited_information = 0x1000
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(query_limited_information, False, pid)
    if not handle:
        return None
    created, ended, in_kernel, in_user = (ctypes.c_uint64() for _ in range(4))
    times = [ctypes.byref(value) for value in (created, ended, in_kernel, in_user)]
    try:
        return created.value if kernel.GetProcessTimes(ctypes.c_void_p(handle), *times) else None
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))


def _macos_process_start(pid: int) -> int | None:
    import ctypes

    # struct proc_bsdinfo (sys/proc_info.h): 136 bytes, the last two words are seconds and microseconds of the start.
    bsd_info, length = 3, 136
    buffer = ctypes.create_string_buffer(length)
    try:
        info = ctypes.CDLL("/usr/lib/libproc.dylib").proc_pidinfo
    except (OSError, AttributeError):
        return None
    if info(pid, bsd_info, ctypes.c_uint64(0), buffer, length) != length:
        return None
    seconds = int.from_bytes(buffer.raw[120:128], sys.byteorder)
    return seconds * 1_000_000 + int.from_bytes(buffer.raw[128:136], sys.byteorder)


def plain(facts: Any) -> Any:
    """Write facts as plain data, ``{"unavailable": reason}`` where one could not be seen.

    Examples
    --------
    >>> plain({"cpu": Unavailable("no /proc"), "gpus": []})
    {'cpu': {'unavailable': 'no /proc'}, 'gpus': []}
    """
    if isinstance(facts, Unavailable):
        return {"unavailable": facts.reason}
    if isinstance(facts, dict):
        return {key: plain(value) for key, value in facts.items()}
    if isinstance(facts, (list, tuple)):
        return [plain(value) for value in facts]
    return facts
