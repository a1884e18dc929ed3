"""The machine a run works on: processor, cores, memory, container, file system, limits.

Everything is read from small files; no process is started. What stays until the next boot is kept for the life of the
process and, where a folder for it is given, in a file.
"""

from __future__ import annotations

import os
import sys

from capture.complaints import logger
from capture.hooks import Unavailable
from capture.liveness import machine_identity
from capture.probes._files import pairs, read, read_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

__all__ = ["gpu_details", "machine_facts"]

_FORMAT = 1  #: of the file of what stays; a file of another format is made anew
_NO_LIMIT = 2**60  #: bytes from which a limit of memory is none: version 1 of cgroups writes the largest number it has

#: kind of container -> a file that only it has
_CONTAINER_FILES = (
    ("docker", "/.dockerenv"),
    ("podman", "/run/.containerenv"),
    ("kubernetes", "/var/run/secrets/kubernetes.io"),
    ("apptainer", "/.singularity.d"),
)
#: kind of container -> a variable that it sets
_CONTAINER_VARIABLES = (
    ("kubernetes", "KUBERNETES_SERVICE_HOST"),
    ("apptainer", "APPTAINER_CONTAINER"),
    ("singularity", "SINGULARITY_CONTAINER"),
    ("shifter", "SHIFTER_RUNTIME"),
    ("charliecloud", "CH_RUNNING"),
    ("wsl", "WSL_DISTRO_NAME"),
)
#: kind of container -> what stands in the name of its control group; "docker.service" is the daemon, no container
_CONTAINER_GROUPS = (
    ("kubernetes", "kubepods"),
    ("docker", "/docker/"),
    ("docker", "/docker-"),
    ("podman", "libpod-"),
    ("containerd", "cri-containerd-"),
    ("lxc", "/lxc/"),
    ("lxc", "/lxc.payload"),
)
#: fact -> what it is called in /proc/cpuinfo: on x86, on Arm, elsewhere
_PROCESSOR = {
    "vendor": ("vendor_id", "CPU implementer", "mvendorid"),
    "family": ("cpu family", "CPU architecture"),
    "model": ("model", "CPU part", "marchid"),
    "stepping": ("stepping", "CPU revision", "revision"),
    "microcode": ("microcode",),
}
_FLAGS = ("flags", "Features", "features", "isa")
#: fact -> name of the limit in the module `resource`
_LIMITS = {
    "open_files": "RLIMIT_NOFILE",
    "processes": "RLIMIT_NPROC",
    "address_space_bytes": "RLIMIT_AS",
    "locked_memory_bytes": "RLIMIT_MEMLOCK",
    "stack_bytes": "RLIMIT_STACK",
    "file_size_bytes": "RLIMIT_FSIZE",
    "cpu_time_s": "RLIMIT_CPU",
}

_known: dict[str, dict[str, Any]] = {}  # root -> what stays until the next boot


def gpu_details(timeout_s: float = 5.0) -> dict[str, Any] | Unavailable:
    """Describe the GPUs; see `capture.probes.gpu.gpu_details`."""
    from capture.probes import gpu

    return gpu.gpu_details(timeout_s)


def machine_facts(
    folder: str | None = None,
    cache_dir: str | None = None,
    root: str = "",
    environ: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Describe the machine, but for its GPUs, which can take long (`gpu_details`).

    Parameters
    ----------
    folder : str, optional
        Whose file system is described; the working folder by default.
    cache_dir : str, optional
        Folder of a file for what stays until the next boot; it is made where needed. None: there is no such file.
    root : str
        Stands before the paths that are read. A tree of files made for a test is read as Linux' on every system.
    environ : mapping of str to str, optional
        Stands for the environment.

    Returns
    -------
    dict
        - ``cpu``: ``vendor``, ``family``, ``model``, ``stepping``, ``microcode`` as far as there are such, and
          ``flags``, a sorted list.
        - ``cores``: ``logical``, ``physical``, ``sockets`` and ``numa_nodes`` of the machine; ``affinity``, how many
          the process may run on; ``quota``, how many it gets the time of by its control group (float; None: no limit);
          ``usable``, the smaller of the two, at least 1.
        - ``memory``: ``total_bytes``, ``available_bytes``, ``swap_total_bytes``, ``swap_free_bytes``, and of the
          control group ``limit_bytes`` (None: no limit) and ``limit_used_bytes``.
        - ``container``: ``kinds``, ``hints`` (what each was told by) and ``image`` where known; without hints, kinds
          are empty.
        - ``virtualisation``: ``hypervisor`` (bool), ``vendor`` and ``product`` as the firmware says.
        - ``boot``: ``id``, ``uptime_s``.
        - ``folder``: ``path``, ``file_system``, ``mount_point``, ``total_bytes``, ``free_bytes``.
        - ``limits``: name to ``{"soft": int or None, "hard": int or None}``; None is no limit.

        A fact that this system does not tell is `Unavailable`.
    """
    environ = os.environ if environ is None else environ
    linux = _is_linux(root)
    still = _still(cache_dir, root)
    groups = _Groups(root) if linux else None
    return {
        "cpu": {name: list(fact) if isinstance(fact, list) else fact for name, fact in still["cpu"].items()},
        "cores": {**still["cores"], **_usable(groups)},
        "memory": {**(_linux_memory(root) if linux else _other_memory()), **_memory_limit(groups)},
        "container": _container(root, environ, groups),
        "virtualisation": dict(still["virtualisation"]),
        "boot": {"id": machine_identity()["boot_id"] or Unavailable("not told"), "uptime_s": _uptime_s(root)},
        "folder": _folder(folder, root),
        "limits": _limits(),
    }


def _is_linux(root: str) -> bool:
    return bool(root) or sys.platform == "linux"


# --------------------------------------------------------------------------------------- what stays until the next boot


def _still(cache_dir: str | None, root: str) -> dict[str, Any]:
    if root not in _known:
        _known[root] = _from_file(cache_dir, root) if cache_dir and _is_linux(root) else _ask(root)
    return _known[root]


def _ask(root: str) -> dict[str, Any]:
    processor = _linux_processor(root) if _is_linux(root) else _other_processor()
    return {
        "cpu": processor,
        "cores": _linux_cores(root) if _is_linux(root) else _other_cores(),
        "virtualisation": _virtualisation(root, processor["flags"]),
    }


def _from_file(cache_dir: str, root: str) -> dict[str, Any]:
    """Return what stays, from the file if that was written in this boot, by this format, with these cores."""
    from capture.plainjson import dumps, loads

    identity = machine_identity()
    # A home folder is shared by many machines: each has a file, which a later boot replaces.
    machine = "".join(char if char.isalnum() else "-" for char in identity["machine_id"])[:64]
    path = os.path.join(cache_dir, f"machine-{machine}.json")
    # Cores can be switched off and on while a machine works.
    made_for = [_FORMAT, identity["boot_id"], read(root + "/sys/devices/system/cpu/online", 4096), root]
    try:
        with open(path, encoding="utf-8") as file:
            kept = loads(file.read())
        if identity["boot_id"] and kept["made_for"] == made_for and _is_whole(kept):
            return {name: _revived(kept[name]) for name in _PARTS}
    except FileNotFoundError:
        pass
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        _log().info("the facts kept in %s cannot be read, and are gathered again: %s", path, error)
    found = _ask(root)
    if identity["boot_id"]:
        _keep(path, dumps({"made_for": made_for, **{name: _kept(found[name]) for name in _PARTS}}))
    return found


_PARTS = ("cpu", "cores", "virtualisation")


def _is_whole(kept: Any) -> bool:
    return all(isinstance(kept[name], dict) and kept[name] for name in _PARTS) and "flags" in kept["cpu"]


def _kept(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: {"unavailable": fact.reason} if isinstance(fact, Unavailable) else fact for key, fact in facts.items()}


def _revived(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        key: Unavailable(str(fact["unavailable"])) if isinstance(fact, dict) else fact for key, fact in facts.items()
    }


def _keep(path: str, text: str) -> None:
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError as error:
        _log().info("the machine's facts cannot be kept in %s: %s", path, error)
        try:
            os.unlink(temporary)
        except OSError:  # it was not made
            pass


def _linux_processor(root: str) -> dict[str, Any]:
    # All processors of a machine are described, one after the other; the first is enough, and much cheaper.
    told = pairs((read(root + "/proc/cpuinfo", 8192) or "").partition("\n\n")[0])
    facts: dict[str, Any] = {}
    for fact, names in _PROCESSOR.items():
        value = next((told[name] for name in names if told.get(name)), None)
        if value is not None:
            facts[fact] = value
    flags = next((told[name] for name in _FLAGS if told.get(name)), "")
    facts["flags"] = sorted(set(flags.split())) if flags else Unavailable("/proc/cpuinfo does not tell them")
    return facts


def _other_processor() -> dict[str, Any]:
    unavailable: dict[str, Any] = {"flags": Unavailable(f"not looked for on {sys.platform}")}
    told: dict[str, str | None] = {}
    if sys.platform == "win32":
        from capture._system import windows_registry

        key = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
        told = {"vendor": windows_registry(key, "VendorIdentifier"), "model": windows_registry(key, "Identifier")}
    elif sys.platform == "darwin":
        from capture._system import macos_sysctl

        told = {"vendor": macos_sysctl("machdep.cpu.vendor"), "model": macos_sysctl("hw.model")}
        features = macos_sysctl("machdep.cpu.features")  # Intel's processors only
        if features:
            unavailable["flags"] = sorted(set(features.lower().split()))
    return {**{name: value for name, value in told.items() if value}, **unavailable}


def _linux_cores(root: str) -> dict[str, Any]:
    system = root + "/sys/devices/system"
    online = _numbers(read(system + "/cpu/online", 4096))
    nodes = _numbers(read(system + "/node/online", 4096))
    return {
        "logical": len(online) or os.cpu_count(),
        "physical": _groups_of(online, system, "thread_siblings_list"),
        "sockets": _groups_of(online, system, "core_siblings_list"),
        "numa_nodes": len(nodes) or Unavailable("/sys does not tell"),
    }


def _groups_of(online: list[int], system: str, siblings: str) -> int | Unavailable:
    """Count groups of processors. A processor names all of its group, so one file for each group is read."""
    seen: set[int] = set()
    groups = 0
    for number in online:
        if number not in seen:
            group = _numbers(read(f"{system}/cpu/cpu{number}/topology/{siblings}", 4096))
            if not group:
                return Unavailable("/sys does not tell")
            seen.update(group)
            groups += 1
    return groups or Unavailable("/sys does not tell")


def _numbers(ranges: str | None) -> list[int]:
    """Read a list of the kernel's.

    Examples
    --------
    >>> _numbers("0-2,8\\n")
    [0, 1, 2, 8]
    """
    found: list[int] = []
    for part in (ranges or "").strip().split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            found += range(int(first), int(last or first) + 1)
    return found


def _other_cores() -> dict[str, Any]:
    unavailable = Unavailable(f"not looked for on {sys.platform}")
    cores: dict[str, Any] = {"logical": os.cpu_count(), "physical": unavailable}
    if sys.platform == "darwin":
        from capture._system import macos_sysctl_number

        cores["physical"] = macos_sysctl_number("hw.physicalcpu") or unavailable
    return {**cores, "sockets": unavailable, "numa_nodes": unavailable}


def _virtualisation(root: str, flags: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"hypervisor": Unavailable("this system does not tell")}
    if _is_linux(root):
        firmware = root + "/sys/class/dmi/id/"
        vendor = _line(firmware + "sys_vendor")
        product = _line(firmware + "product_name") or _line(root + "/proc/device-tree/model")
        xen = _line(root + "/sys/hypervisor/type")
        if isinstance(flags, list) and "fpu" in flags:  # x86, which has a flag for it; elsewhere there is none
            facts["hypervisor"] = "hypervisor" in flags or xen is not None
        elif xen is not None:
            facts["hypervisor"] = True
    elif sys.platform == "win32":
        from capture._system import windows_registry

        vendor = windows_registry(r"HARDWARE\DESCRIPTION\System\BIOS", "SystemManufacturer")
        product = windows_registry(r"HARDWARE\DESCRIPTION\System\BIOS", "SystemProductName")
    elif sys.platform == "darwin":
        from capture._system import macos_sysctl, macos_sysctl_number

        vendor, product = "Apple", macos_sysctl("hw.model")
        present = macos_sysctl_number("kern.hv_vmm_present")
        if present is not None:
            facts["hypervisor"] = present != 0
    else:
        vendor = product = None
    unknown = Unavailable("the firmware does not tell")
    return {**facts, "vendor": vendor or unknown, "product": product or unknown}


def _line(path: str) -> str | None:
    return (read(path, 256) or "").strip("\0 \t\r\n") or None


# ------------------------------------------------------------------------------------------------------- control groups


class _Groups:
    """The control groups of this process: what they are called, and the limits they set."""

    def __init__(self, root: str) -> None:
        self.text = read(root + "/proc/self/cgroup") or ""
        self._mounts = root + "/sys/fs/cgroup"

    def _folders(self, controller: str) -> Iterator[tuple[bool, str]]:
        """Yield ``(is version 2, folder)`` of the groups that may limit this process, from its own to the outermost."""
        for line in self.text.splitlines():
            number, _, rest = line.partition(":")
            names, _, path = rest.partition(":")
            if number == "0" and not names:
                unified = self._mounts + "/unified"
                mounts = [unified if os.path.isdir(unified) else self._mounts]
            elif controller in names.split(","):
                mounts = [f"{self._mounts}/{names}", f"{self._mounts}/{controller}"]
            else:
                continue
            mount = next((folder for folder in mounts if os.path.isdir(folder)), None)
            if mount is None:
                continue
            # In a container the path may be that of the machine, while what is mounted is the container's own group.
            parts = [part for part in path.split("/") if part]
            if ".." in parts or not os.path.isdir("/".join([mount, *parts])):
                parts = []
            for length in range(len(parts), -1, -1):
                yield not names, "/".join([mount, *parts[:length]])

    def memory(self) -> tuple[int, int | None] | None:
        """Return the tightest limit of memory and how much of it is used, in bytes; None without a limit."""
        tightest: tuple[int, str] | None = None
        for unified, folder in self._folders("memory"):
            limit = read_number(folder + ("/memory.max" if unified else "/memory.limit_in_bytes"))
            if limit is not None and limit < _NO_LIMIT and (tightest is None or limit < tightest[0]):
                tightest = (limit, folder + ("/memory.current" if unified else "/memory.usage_in_bytes"))
        return None if tightest is None else (tightest[0], read_number(tightest[1]))

    def cpus(self) -> float | None:
        """Return the tightest quota, in processors; None without one."""
        quotas = []
        for unified, folder in self._folders("cpu"):
            if unified:
                quota, _, period = (read(folder + "/cpu.max", 64) or "").strip().partition(" ")
            else:
                quota = str(read_number(folder + "/cpu.cfs_quota_us"))  # -1, which is none, is no number here
                period = str(read_number(folder + "/cpu.cfs_period_us"))
            if quota.isdecimal() and period.isdecimal() and int(period):
                quotas.append(int(quota) / int(period))
        return min(quotas, default=None)


def _usable(groups: _Groups | None) -> dict[str, Any]:
    # Not on macOS and Windows: the former lets processes run everywhere, the latter asks by another call.
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = groups.cpus() if groups is not None else None
    usable = affinity if quota is None else min(affinity, -int(-quota // 1))
    return {"affinity": affinity, "quota": quota, "usable": max(1, usable)}


def _memory_limit(groups: _Groups | None) -> dict[str, Any]:
    limit = groups.memory() if groups is not None else None
    if limit is None:
        return {"limit_bytes": None}
    return {"limit_bytes": limit[0], "limit_used_bytes": limit[1]}


# ------------------------------------------------------------------------------------------------- memory, boot, folder


def _linux_memory(root: str) -> dict[str, Any]:
    told = pairs(read(root + "/proc/meminfo"))
    return {
        "total_bytes": _kib(told, "MemTotal"),
        "available_bytes": _kib(told, "MemAvailable"),
        "swap_total_bytes": _kib(told, "SwapTotal"),
        "swap_free_bytes": _kib(told, "SwapFree"),
    }


def _kib(told: dict[str, str], name: str) -> int | Unavailable:
    number = told.get(name, "").partition(" ")[0]
    return int(number) * 1024 if number.isdecimal() else Unavailable("/proc/meminfo does not tell")


def _other_memory() -> dict[str, Any]:
    unavailable = Unavailable(f"not looked for on {sys.platform}")
    facts: dict[str, Any] = {"total_bytes": unavailable, "available_bytes": unavailable}
    if sys.platform == "win32":
        from capture._system import windows_memory

        memory = windows_memory()
        if memory is not None:
            facts["total_bytes"], facts["available_bytes"] = memory
    elif sys.platform == "darwin":
        from capture._system import macos_sysctl_number

        facts["total_bytes"] = macos_sysctl_number("hw.memsize") or unavailable
    return {**facts, "swap_total_bytes": unavailable, "swap_free_bytes": unavailable}


def _uptime_s(root: str) -> float | Unavailable:
    if _is_linux(root):
        seconds = (read(root + "/proc/uptime", 64) or "").partition(" ")[0]
        try:
            return float(seconds)
        except ValueError:
            return Unavailable("/proc/uptime does not tell")
    if sys.platform == "win32":
        import time

        return time.monotonic()
    return Unavailable(f"not looked for on {sys.platform}")


def _folder(folder: str | None, root: str) -> dict[str, Any] | Unavailable:
    try:
        path = os.path.realpath(os.getcwd() if folder is None else folder)
        if sys.platform == "win32":
            import shutil

            usage = shutil.disk_usage(path)
            total, free = usage.total, usage.free
        else:
            state = os.statvfs(path)
            total, free = state.f_blocks * state.f_frsize, state.f_bavail * state.f_frsize
    except OSError as error:
        return Unavailable(f"{type(error).__name__}: {error}")
    file_system, mount_point = _mount(path, root) if _is_linux(root) else (None, None)
    unavailable = Unavailable(f"not looked for on {sys.platform}")
    return {
        "path": path,
        "file_system": file_system or unavailable,
        "mount_point": mount_point or unavailable,
        "total_bytes": total,
        "free_bytes": free,
    }


def _mount(path: str, root: str) -> tuple[str | None, str | None]:
    """Return type and place of the file system that `path` is on."""
    found_type = found_place = None
    for line in (read(root + "/proc/self/mountinfo", 2**20) or "").splitlines():
        mount, dash, source = line.partition(" - ")
        fields = mount.split(" ")
        if not dash or len(fields) < 5:
            continue
        place = _unescaped(fields[4])
        # Of two at one place, the later one lies over the earlier one.
        if len(place) >= len(found_place or "") and (path == place or path.startswith(place.rstrip("/") + "/")):
            found_type, found_place = source.partition(" ")[0], place
    return found_type, found_place


def _unescaped(text: str) -> str:
    r"""Put blanks and the like back, which are written as ``\040``."""
    for char in " \t\n\\" if "\\" in text else "":
        text = text.replace(f"\\{ord(char):03o}", char)
    return text


def _limits() -> dict[str, Any] | Unavailable:
    if sys.platform == "win32":
        return Unavailable("Windows has no such limits")
    import resource

    found: dict[str, Any] = {}
    for fact, name in _LIMITS.items():
        number = getattr(resource, name, None)
        if number is not None:
            soft, hard = (None if n == resource.RLIM_INFINITY else n for n in resource.getrlimit(number))
            found[fact] = {"soft": soft, "hard": hard}
    return found


# ----------------------------------------------------------------------------------------------------------- containers


def _container(root: str, environ: Mapping[str, str], groups: _Groups | None) -> dict[str, Any]:
    if groups is None:  # programs of macOS and Windows are seldom in one, and those that are, are not told
        return {"kinds": [], "hints": []}
    hints = [(kind, path) for kind, path in _CONTAINER_FILES if os.path.exists(root + path)]
    hints += [(kind, f"${name}") for kind, name in _CONTAINER_VARIABLES if environ.get(name)]
    if environ.get("container"):  # a convention of systemd's, which podman, LXC and others follow
        hints.append((environ["container"], "$container"))
    manager = _line(root + "/run/systemd/container")
    if manager is not None:
        hints.append((manager, "/run/systemd/container"))
    hints += [(kind, f"control group {part!r}") for kind, part in _CONTAINER_GROUPS if part in groups.text]
    if "microsoft" in (_line(root + "/proc/sys/kernel/osrelease") or "").lower():
        hints.append(("wsl", "/proc/sys/kernel/osrelease"))
    facts: dict[str, Any] = {"kinds": list(dict.fromkeys(kind for kind, _ in hints))}
    facts["hints"] = [f"{kind}: {hint}" for kind, hint in hints]
    image = _image(root, environ)
    return {**facts, "image": image} if image else facts


def _image(root: str, environ: Mapping[str, str]) -> str | None:
    """Return the image that a container was made of, where it says so."""
    for line in (read(root + "/run/.containerenv", 8192) or "").splitlines():
        name, _, value = line.partition("=")
        if name == "image":
            return value.strip('"') or None
    return environ.get("APPTAINER_CONTAINER") or environ.get("SINGULARITY_CONTAINER")


def _log() -> Any:
    return logger()
