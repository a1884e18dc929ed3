"""Makes this interpreter look like one on Windows, as far as what is missing there goes, and runs `capture`.

Real Windows cannot be had in the tests. What can be tested is that nothing is used which does not exist there: modules,
functions, signals, and the git executable. The standard library is imported first, since it looks at the platform when
it is imported and would take the wrong turn; then the differences are put in place, and only then the library is
imported. Locks are played by a `msvcrt` that locks as Windows does, one byte of the file, exclusively.
"""

import ctypes
import fcntl
import http.client  # noqa: F401 - like the next ones, imported while the platform is still the real one
import importlib.util  # noqa: F401
import json  # noqa: F401
import logging  # noqa: F401
import os
import platform
import random  # noqa: F401
import shutil
import signal
import subprocess
import sys
import tempfile
import threading  # noqa: F401
import traceback  # noqa: F401
import types

MODULES = ("fcntl", "termios", "pwd", "grp", "resource", "pty", "tty", "posix", "readline", "syslog", "crypt", "curses")
FUNCTIONS = [
    "fork",
    "forkpty",
    "register_at_fork",
    "posix_spawn",
    "posix_spawnp",
    "mkfifo",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getgroups",
    "setuid",
    "setgid",
    "uname",
    "confstr",
    "sysconf",
    "openpty",
    "chown",
    "fchown",
    "fchmod",
    "nice",
    "wait",
    "wait3",
    "wait4",
    "sched_getaffinity",
    "getloadavg",
    "killpg",
    "setsid",
    "pread",
    "pwrite",
    "sendfile",
    "copy_file_range",
    "fdatasync",
    "sync",
    "statvfs",
    "ctermid",
]
SIGNALS = ("SIGHUP", "SIGXCPU", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD", "SIGSTOP", "SIGCONT", "SIGQUIT", "SIGPIPE")
CONSTANTS = ("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "WNOHANG")

flock = fcntl.lockf


class Hidden:
    """Refuses to find the modules that Windows has not."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r} (there is none on Windows)", name=name)


def locking(descriptor, mode, count):
    """Lock `count` bytes from where the file stands, as msvcrt does."""
    operation = fcntl_lock["unlock"] if mode == msvcrt.LK_UNLCK else fcntl_lock["lock"]
    try:
        flock(descriptor, operation, count, os.lseek(descriptor, 0, os.SEEK_CUR))
    except BlockingIOError as error:
        raise PermissionError(13, "Permission denied") from error


class WinDLL:
    """A Windows library that answers 0 to everything."""

    def __init__(self, name, use_last_error=False):
        self.name = name

    def __getattr__(self, function):
        return lambda *arguments: 0


def registry_has_nothing(*arguments):
    raise FileNotFoundError(2, "The system cannot find the file specified")


fcntl_lock = {"lock": fcntl.LOCK_EX | fcntl.LOCK_NB, "unlock": fcntl.LOCK_UN}
msvcrt = types.ModuleType("msvcrt")
msvcrt.LK_NBLCK, msvcrt.LK_UNLCK, msvcrt.locking = 2, 0, locking
msvcrt.get_osfhandle = lambda descriptor: descriptor
winreg = types.ModuleType("winreg")
winreg.HKEY_LOCAL_MACHINE, winreg.KEY_READ, winreg.KEY_WOW64_64KEY = 0, 1, 2
winreg.OpenKey = winreg.QueryValueEx = registry_has_nothing

platform.system, platform.platform, platform.node = lambda: "Windows", lambda *a, **k: "Windows-11", lambda: "host"
for name in FUNCTIONS:
    if hasattr(os, name):
        delattr(os, name)
for name in SIGNALS:
    if hasattr(signal, name):
        delattr(signal, name)
for name in CONSTANTS:
    if hasattr(os, name):
        delattr(os, name)
for name in MODULES:
    sys.modules.pop(name, None)
sys.modules.update(msvcrt=msvcrt, winreg=winreg)
sys.meta_path.insert(0, Hidden())
ctypes.WinDLL = WinDLL
subprocess._USE_POSIX_SPAWN = False  # decided when it was imported
shutil._winapi = types.SimpleNamespace(NeedCurrentDirectoryForExePath=lambda name: False)
shutil.disk_usage = lambda path: types.SimpleNamespace(total=2 << 40, used=1 << 40, free=1 << 40)
sys.platform = "win32"
os.environ["PATH"] = os.environ["LOCALAPPDATA"] = tempfile.mkdtemp()

from capture.cli import main  # noqa: E402 - the platform must be in place first

sys.exit(main(sys.argv[1:]))
