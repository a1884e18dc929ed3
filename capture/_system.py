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
    import ctypes

    try:
        sysctl = ctypes.CDLL(None).sysctlbyname
    except (OSError, AttributeError):
        return None
    buffer, size = ctypes.create_string_buffer(256), ctypes.c_size_t(256)
    if sysctl(name.encode(), buffer, ctypes.byref(size), None, ctypes.c_size_t(0)) != 0:
        return None
    return buffer.value.decode("utf-8", "replace").strip() or None
