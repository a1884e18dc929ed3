"""Alive or dead: which process is this, and does the one that a record names still live?"""

from __future__ import annotations

import os
import sys

from capture._system import macos_sysctl, windows_registry
from capture.locks import try_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_identity: dict[str, str | None] = {}  # what cannot change while the process lives


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
    return {**_identity, "pid": pid, "pid_start": process_start(pid), "hostname": _hostname()}


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
    return found if found and found != "uninitialized" else f"hostname:{_hostname()}"


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


def _hostname() -> str:
    if hasattr(os, "uname"):
        return os.uname().nodename
    import platform

    return platform.node()


# ------------------------------------------------------------------------------------------- is the writer still alive?


def place_of(folder: str) -> list[int] | None:
    """Return device and inode of a folder, which name it on this machine; None if there is no such folder."""
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return [found.st_dev, found.st_ino]


def probe(path: str) -> str:
    """Say whether the writer of a journal lives: "alive", "dead", "missing", or "unknown".

    Nothing is kept from the writer or from another reader: the lock that is tried is a shared one, for an instant.
    "unknown" is the answer where the filesystem has no locks, or the file may not be read. Locks do not always reach
    other machines: ask only about journals of this one.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "unknown"
    try:
        return "dead" if try_lock(descriptor, shared=True) else "alive"
    except OSError:
        return "unknown"
    finally:
        os.close(descriptor)


def is_alive(host: Any) -> bool | None:
    """Say whether the writer lives that described itself as `host`; None where that cannot be told from here.

    Parameters
    ----------
    host : dict
        What `machine_identity` returned in the writer, with ``journal``, the path of its journal, and ``journal_dir``,
        the `place_of` the journal's folder.

    Notes
    -----
    Alive is who holds the lock on its journal. The journal is asked only on the machine, and in the boot, of its
    writer; that it is gone says something only where its folder is the very one that the writer saw.
    """
    if not isinstance(host, dict):
        return None
    here = machine_identity()
    if host.get("machine_id") is None or host.get("machine_id") != here["machine_id"]:
        return None
    if host.get("boot_id") is None or here["boot_id"] is None:
        return None
    if host["boot_id"] != here["boot_id"]:
        return False  # the machine was started again since
    journal = host.get("journal")
    if isinstance(journal, str):
        answer = probe(journal)
        if answer in ("alive", "dead"):
            return answer == "alive"
        if answer == "missing":
            return False if place_of(os.path.dirname(journal)) == host.get("journal_dir") else None
    started = process_start(host["pid"]) if isinstance(host.get("pid"), int) else None
    if started is not None and started == host.get("pid_start"):
        return True
    same_processes = host.get("hostname") == here["hostname"]  # a container sees its own processes only
    return False if same_processes and isinstance(host.get("pid"), int) and not isinstance(journal, str) else None
