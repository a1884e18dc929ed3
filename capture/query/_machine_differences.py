"""What the runs ran in and on: the environment of their processes, and the machines."""

from __future__ import annotations

from capture.filters import MISSING
from capture.query._compared import listed, rows_of
from capture.query._difference import Difference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.query._compared import Compared
    from capture.records import RunRecord

#: how the names of variables begin that steer threads, kernels, devices, or the order in which things are done
NUMERIC = (
    *("OMP_", "MKL_", "OPENBLAS_", "BLIS_", "VECLIB_", "NUMEXPR_", "KMP_", "GOTO_", "CUDA_", "CUBLAS_", "CUDNN_"),
    *("NVIDIA_", "NCCL_", "HIP_", "ROCR_", "TF_", "XLA_", "JAX_", "TORCH_", "PYTORCH_", "PYTHONHASHSEED"),
)
#: variables that say where things are, or how Python starts and talks, and change nothing that is computed
AROUND = (
    *("VIRTUAL_ENV", "CONDA_", "MALLOC_", "LANGUAGE", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHE"),
    *("PYTHONSTARTUP", "PYTHONBREAKPOINT", "PYTHONFAULTHANDLER", "PYTHON_HISTORY", "PYTHON_BASIC_REPL"),
)


# ---------------------------------------------------------------------------------------------------------- environment


def environment_differences(compared: Compared) -> list[Difference]:
    """Compare variables of the environment, switches of the interpreter, locale, folder."""
    facts = compared.facts("process")
    _say_what_is_unknown(compared, facts)
    tables: list[dict[str, Any] | None] = [_environment(each) if each else None for each in facts]
    if not any(facts):
        tables = [_old_environment(run) for run in compared.runs]
    return compared.differences("environment", tables, _environment_ground)


def _say_what_is_unknown(compared: Compared, facts: list[dict[str, Any]]) -> None:
    if any(facts) and not all(facts):
        missing = compared.named(not each for each in facts)
        compared.limit(f"the environment of {missing} is not recorded")


def _environment(process: dict[str, Any]) -> dict[str, Any]:
    found = {f"env.{name}": value for name, value in _dict(process.get("environment")).items()}
    found.update({f"flags.{name}": value for name, value in _dict(process.get("flags")).items()})
    found.update({f"xoptions.{name}": value for name, value in _dict(process.get("xoptions")).items()})
    found.update({f"encoding.{name}": value for name, value in _dict(process.get("encoding")).items()})
    zone = _dict(process.get("time_zone"))
    if zone:
        found["time_zone"] = zone.get("name") or zone.get("utc_offset_s")
    seed = _dict(process.get("hash_randomization"))
    if seed:
        found["hash seed"] = "random" if seed.get("random") else seed.get("seed")
        found.pop("env.PYTHONHASHSEED", None)  # which says the same
    for name in ("locale", "gil", "warnoptions", "cwd", "executable", "umask", "nice", "pid", "ppid"):
        if name in process:
            found[name] = process[name]
    return found


def _old_environment(run: RunRecord) -> dict[str, Any]:
    """Return the variables that Sacred was told to record."""
    return {f"env.{name}": value for name, value in _dict(run.host.get("ENV")).items()}


def _environment_ground(name: str, values: list[Any]) -> tuple[str, str]:
    kind, _, variable = name.partition(".")
    if kind == "env":
        if variable.startswith(NUMERIC):
            return "environment, numeric", ""
        told = "it says where things are, or how Python starts and talks: nothing is computed from it"
        return ("host, around", told) if variable.startswith(AROUND) else ("environment", "")
    if name == "hash seed":
        return "environment, numeric", "it decides the order of sets of strings"
    if name in ("pid", "ppid"):
        return "noise", ""
    if name in ("umask", "nice", "executable", "cwd", "flags.dont_write_bytecode"):
        return "host, around", ""
    return "environment", ""


# ----------------------------------------------------------------------------------------------------------------- host


def host_differences(compared: Compared) -> list[Difference]:
    """Compare the machines: processors, cores, memory, GPUs, containers, systems."""
    tables = [_host(run) for run in compared.runs]
    known = [bool(run.facts.get("machine")) for run in compared.runs]
    if any(known) and not all(known):
        compared.limit(f"the machine of {compared.named(not each for each in known)} is recorded in little detail")
    return compared.differences("host", tables, _host_ground)


def _host(run: RunRecord) -> dict[str, Any]:
    found: dict[str, Any] = {"hostname": run.host.get("hostname"), "cpu": run.host.get("cpu")}
    system = run.host.get("os")
    if isinstance(system, (list, tuple)) and system:
        found["os"] = str(system[-1])
    machine = _dict(run.facts.get("machine"))
    found.update(_processor(_dict(machine.get("cpu"))))
    cores = _dict(machine.get("cores"))
    if "affinity" in cores:
        cores.pop("usable", None)  # the smaller of affinity and quota
    found.update({f"cores.{name}": value for name, value in cores.items()})
    found.update({f"memory.{name}": value for name, value in _dict(machine.get("memory")).items()})
    found.update({f"container.{name}": value for name, value in _dict(machine.get("container")).items()})
    found.update({f"virtualisation.{name}": value for name, value in _dict(machine.get("virtualisation")).items()})
    found.update({f"limits.{name}": value for name, value in _dict(machine.get("limits")).items()})
    found.update({f"folder.{name}": value for name, value in _dict(machine.get("folder")).items()})
    found.update({f"boot.{name}": value for name, value in _dict(machine.get("boot")).items()})
    found.update(_gpus(run))
    process = _dict(run.facts.get("process"))
    found.update({f"scheduler.{name}": value for name, value in _dict(process.get("scheduler")).items()})
    found.update({f"rank.{name}": value for name, value in _dict(process.get("rank")).items()})
    if run.user is not None:
        found["user"] = run.user
    return {name: value for name, value in found.items() if value is not None and not _is_unavailable(value)}


#: how the names of a processor's abilities begin that libraries choose their kernels by
_VECTORS = ("avx", "sse", "neon", "asimd", "sve", "amx", "fma")


def _processor(cpu: dict[str, Any]) -> dict[str, Any]:
    """Return its make; what it can do as one text, since a list of a hundred flags says nothing."""
    found = {f"processor.{name}": value for name, value in cpu.items() if name != "flags"}
    flags = cpu.get("flags")
    if isinstance(flags, list):
        found["processor.vectors"] = " ".join(sorted(str(flag) for flag in flags if str(flag).startswith(_VECTORS)))
    return found


def _gpus(run: RunRecord) -> dict[str, Any]:
    details = _dict(run.facts.get("gpu"))
    old = _dict(run.host.get("gpus")) or _dict(run.facts.get("gpus"))
    models = [str(each.get("model")) for each in rows_of(details.get("gpus") or old.get("gpus"))]
    found: dict[str, Any] = {"gpus": models} if models else {}
    for name in ("driver_version", "cuda_version"):
        value = details.get(name) or old.get(name)
        if value:
            found[f"gpu.{name}"] = value
    return found


#: facts of a machine -> their ground; those that are not named here are around it
_HOST_GROUNDS = {
    **dict.fromkeys(("cpu", "gpus", "cores.usable", "cores.affinity", "cores.quota"), "host, computing"),
    **dict.fromkeys(("gpu.driver_version", "gpu.cuda_version", "processor.vectors", "rank.rank"), "host, computing"),
    **dict.fromkeys(("rank.world_size", "rank.size", "cores.logical", "cores.physical"), "host, computing"),
    **dict.fromkeys(("hostname", "os", "container.image", "memory.total_bytes", "memory.limit_bytes"), "host"),
    **dict.fromkeys(("boot.id", "boot.uptime_s", "memory.available_bytes", "memory.swap_free_bytes"), "noise"),
    **dict.fromkeys(("memory.limit_used_bytes", "folder.free_bytes", "folder.path", "folder.total_bytes"), "noise"),
    **dict.fromkeys(("scheduler.job_id", "scheduler.array_task_id", "scheduler.variables"), "noise"),
}


def _host_ground(name: str, values: list[Any]) -> tuple[str, str]:
    ground = _HOST_GROUNDS.get(name, "host, around")
    if name == "gpus" and MISSING in values:
        return ground, "only some of the runs saw a GPU"
    if name.startswith("cores.") and ground == "host, computing":
        return ground, "another number of threads sums in another order and takes another time"
    return ground, ""


def _dict(value: Any) -> dict[str, Any]:
    is_known = isinstance(value, dict) and not _is_unavailable(value)
    return {str(key): each for key, each in value.items()} if is_known else {}


def _is_unavailable(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"unavailable"}


def machines_in_words(compared: Compared) -> str:
    """Return the names of the machines of the runs, each once."""
    names = [str(run.host.get("hostname") or "an unknown machine") for run in compared.runs]
    return listed(list(dict.fromkeys(names)))
