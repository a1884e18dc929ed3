"""Which machine, which system, which process: the cheap facts, read without starting anything."""

from __future__ import annotations

import os
import sys

from capture.hooks import Unavailable
from capture.liveness import machine_identity, process_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["environment", "host_facts", "hostname", "machine_identity", "os_facts", "plain", "process_start"]


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
