"""Where Windows and macOS keep what Linux writes into files."""

from __future__ import annotations

import sys


def windows_registry(key: str, name: str) -> str | None:
    """Return a value that Windows keeps for the whole machine; None where there is none."""
    if sys.platform != "win32":
        return None
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key, 0, winreg.KEY_READ | winreg.KEY_WOW64_64KEY) as opened:
            return str(winreg.QueryValueEx(opened, name)[0])
    except OSError:
        return None


def macos_sysctl(name: str) -> str | None:
    """Ask the macOS kernel for one of its strings."""
    answer = _sysctl(name)
    return None if answer is None else answer.partition(b"\0")[0].decode("utf-8", "replace").strip() or None


def macos_sysctl_number(name: str) -> int | None:
    """Ask the macOS kernel for one of its numbers."""
    answer = _sysctl(name)
    return int.from_bytes(answer, sys.byteorder) if answer is not None and len(answer) in (4, 8) else None


def _sysctl(name: str) -> bytes | None:
    import ctypes

    try:
        sysctl = ctypes.CDLL(None).sysctlbyname
    except (OSError, AttributeError):
        return None
    buffer, size = ctypes.create_string_buffer(4096), ctypes.c_size_t(4096)
    if sysctl(name.encode(), buffer, ctypes.byref(size), None, ctypes.c_size_t(0)) != 0:
        return None
    return buffer.raw[: size.value]


def windows_memory() -> tuple[int, int] | None:
    """Return total and available memory of a Windows machine, in bytes."""
    if sys.platform != "win32":
        return None
    import ctypes

    # MEMORYSTATUSEX: two numbers of 32 bits (its own length, per cent in use), seven of 64 (total, available, ...)
    status = (ctypes.c_uint64 * 8)()
    ctypes.cast(status, ctypes.POINTER(ctypes.c_uint32))[0] = ctypes.sizeof(status)
    if not ctypes.WinDLL("kernel32").GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return status[1], status[2]


def windows_peak_memory() -> int | None:
    """Return the most resident memory that this process of Windows ever had, in bytes."""
    if sys.platform != "win32":
        return None
    import ctypes

    # PROCESS_MEMORY_COUNTERS: two numbers of 32 bits (its own length, page faults), then words; the first is the peak
    word = ctypes.sizeof(ctypes.c_void_p)
    counters = ctypes.create_string_buffer(8 + 8 * word)
    kernel = ctypes.WinDLL("kernel32")
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    process = ctypes.c_void_p(kernel.GetCurrentProcess())
    if not kernel.K32GetProcessMemoryInfo(process, counters, len(counters)):
        return None
    return int.from_bytes(counters.raw[8 : 8 + word], sys.byteorder)
