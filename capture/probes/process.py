"""The process a run works in: how it was started, by whom, with what environment, and as one of how many."""

from __future__ import annotations

import os
import sys

from capture.hooks import Unavailable
from capture.probes._files import pairs, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

#: name -> variables that hold its job's id (one of them tells that it is at work), the number of an array's task, and
#: the nodes (or a file that names them); and those that say something about the job. None of them holds a secret.
_SCHEDULERS: dict[str, dict[str, tuple[str, ...]]] = {
    "slurm": {
        "job_id": ("SLURM_JOB_ID", "SLURM_JOBID"),
        "array_task_id": ("SLURM_ARRAY_TASK_ID",),
        "node_list": ("SLURM_JOB_NODELIST", "SLURM_NODELIST"),
        "variables": (
            *("SLURM_JOB_NAME", "SLURM_JOB_PARTITION", "SLURM_JOB_ACCOUNT", "SLURM_JOB_QOS", "SLURM_JOB_RESERVATION"),
            *("SLURM_CLUSTER_NAME", "SLURM_SUBMIT_HOST", "SLURM_SUBMIT_DIR", "SLURM_JOB_USER"),
            *("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX"),
            *("SLURM_HET_SIZE", "SLURM_RESTART_COUNT", "SLURM_JOB_START_TIME", "SLURM_JOB_END_TIME"),
            *("SLURM_JOB_NUM_NODES", "SLURM_NNODES", "SLURM_NTASKS", "SLURM_NPROCS", "SLURM_TASKS_PER_NODE"),
            *("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "SLURM_JOB_CPUS_PER_NODE"),
            *("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURM_MEM_PER_GPU"),
            *("SLURM_GPUS", "SLURM_GPUS_PER_NODE", "SLURM_GPUS_PER_TASK", "SLURM_GPUS_ON_NODE", "SLURM_JOB_GPUS"),
            *("SLURM_STEP_ID", "SLURM_STEP_GPUS", "SLURM_NODEID", "SLURMD_NODENAME"),
            *("SLURM_PROCID", "SLURM_LOCALID"),
        ),
    },
    "pbs": {
        "job_id": ("PBS_JOBID",),
        "array_task_id": ("PBS_ARRAY_INDEX", "PBS_ARRAYID"),
        "node_file": ("PBS_NODEFILE",),
        "variables": (
            *("PBS_JOBNAME", "PBS_QUEUE", "PBS_ENVIRONMENT", "PBS_SERVER", "PBS_ARRAY_ID"),
            *("PBS_O_HOST", "PBS_O_QUEUE", "PBS_O_WORKDIR", "PBS_O_LOGNAME"),
            *("PBS_NUM_NODES", "PBS_NUM_PPN", "PBS_NP", "PBS_NODENUM", "PBS_TASKNUM", "PBS_VNODENUM", "NCPUS", "NGPUS"),
        ),
    },
    "lsf": {
        "job_id": ("LSB_JOBID",),
        "array_task_id": ("LSB_JOBINDEX",),
        "node_list": ("LSB_MCPU_HOSTS", "LSB_HOSTS"),
        "variables": (
            *("LSB_JOBNAME", "LSB_QUEUE", "LSB_PROJECT_NAME", "LSB_SUB_HOST", "LSB_SUB_USER", "LS_SUBCWD"),
            *("LSB_DJOB_NUMPROC", "LSB_BATCH_JID", "LSB_EXIT_PRE_ABORT"),
        ),
    },
    "sge": {  # its JOB_ID is a name that others use, too
        "job_id": ("JOB_ID",),
        "only_with": ("SGE_TASK_ID",),
        "array_task_id": ("SGE_TASK_ID",),
        "node_file": ("PE_HOSTFILE",),
        "variables": (
            *("JOB_NAME", "QUEUE", "NSLOTS", "NHOSTS", "NQUEUES", "PE", "RESTARTED"),
            *("SGE_CELL", "SGE_CLUSTER_NAME", "SGE_O_HOST", "SGE_O_WORKDIR", "SGE_O_LOGNAME"),
            *("SGE_TASK_FIRST", "SGE_TASK_LAST", "SGE_TASK_STEPSIZE"),
        ),
    },
    "flux": {
        "job_id": ("FLUX_JOB_ID",),
        "variables": ("FLUX_JOB_SIZE", "FLUX_JOB_NNODES", "FLUX_TASK_RANK", "FLUX_TASK_LOCAL_ID", "FLUX_JOB_CC"),
    },
    "htcondor": {
        "job_id": (),  # it stands in the file that _CONDOR_JOB_AD names
        "only_with": ("_CONDOR_JOB_AD",),
        "variables": ("_CONDOR_SLOT", "_CONDOR_JOB_IWD", "_CONDOR_SCRATCH_DIR", "BATCH_SYSTEM"),
    },
    "oar": {
        "job_id": ("OAR_JOB_ID", "OAR_JOBID"),
        "array_task_id": ("OAR_ARRAY_INDEX",),
        "node_file": ("OAR_NODEFILE",),
        "variables": ("OAR_JOB_NAME", "OAR_PROJECT_NAME", "OAR_ARRAY_ID", "OAR_WORKDIR"),
    },
    "aws batch": {
        "job_id": ("AWS_BATCH_JOB_ID",),
        "array_task_id": ("AWS_BATCH_JOB_ARRAY_INDEX",),
        "variables": (
            *("AWS_BATCH_JQ_NAME", "AWS_BATCH_CE_NAME", "AWS_BATCH_JOB_ATTEMPT"),
            *("AWS_BATCH_JOB_NODE_INDEX", "AWS_BATCH_JOB_NUM_NODES"),
        ),
    },
    "sagemaker": {
        "job_id": ("TRAINING_JOB_NAME",),
        "only_with": ("SM_CURRENT_HOST",),
        "node_list": ("SM_HOSTS",),
        "variables": ("SM_CURRENT_HOST", "SM_CURRENT_INSTANCE_TYPE", "SM_NUM_GPUS", "SM_NUM_CPUS"),
    },
    "azureml": {
        "job_id": ("AZUREML_RUN_ID",),
        "variables": ("AZUREML_EXPERIMENT_NAME", "AZUREML_EXPERIMENT_ID", "AZUREML_ARM_WORKSPACE_NAME"),
    },
    "kubeflow": {
        "job_id": ("KFP_POD_NAME", "ARGO_NODE_ID"),
        "variables": ("KFP_POD_UID", "ARGO_CONTAINER_NAME", "PET_NNODES", "PET_NODE_RANK", "PET_NPROC_PER_NODE"),
    },
    "ray": {
        "job_id": ("RAY_JOB_ID",),
        "variables": ("RAY_RAYLET_PID", "RAY_CLUSTER_NAME"),
    },
    "kubernetes": {  # last: it is below others
        "job_id": ("POD_NAME", "HOSTNAME"),
        "only_with": ("KUBERNETES_SERVICE_HOST",),
        "array_task_id": ("JOB_COMPLETION_INDEX",),
        "variables": ("POD_NAMESPACE", "NODE_NAME", "JOB_NAME"),
    },
}
_NO_ARRAY = ("0", "undefined")  #: what LSF and SGE write where the job is none; theirs begin with 1
_BEGIN_WITH_1 = ("lsf", "sge")

#: rank, number of processes, rank on this machine: by launchers that declare one job, by MPI, by the scheduler alone
_RANKS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK"),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
    ("PMIX_RANK", "", ""),
    ("PALS_RANKID", "", "PALS_LOCAL_RANKID"),
    ("JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_LOCAL_RANK"),
    ("HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_LOCAL_RANK"),
    ("FLUX_TASK_RANK", "FLUX_JOB_SIZE", "FLUX_TASK_LOCAL_ID"),
    ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
)
_MEETING = (
    *("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "GROUP_RANK", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE"),
    *("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"),
)

#: of `sys.flags`; those that are not set are left out
_FLAGS = (
    *("optimize", "dev_mode", "utf8_mode", "isolated", "ignore_environment", "safe_path", "no_site", "no_user_site"),
    *("dont_write_bytecode", "bytes_warning", "inspect", "interactive", "verbose", "debug", "warn_default_encoding"),
)


def process_facts(
    env_patterns: Iterable[str] = (), environ: Mapping[str, str] | None = None, root: str = ""
) -> dict[str, Any]:
    """Describe the process.

    Parameters
    ----------
    env_patterns : iterable of str
        Which variables of the environment are recorded: names, or patterns such as ``"OMP_*"``.
    environ : mapping of str to str, optional
        Stands for the environment.
    root : str
        Stands before the paths that are read.

    Returns
    -------
    dict
        - ``argv``, ``orig_argv``: what the script sees and what the interpreter was given; ``cwd``, ``executable``,
          ``prefix``, ``base_prefix``, ``pid``, ``ppid``.
        - ``user``: ``name``, ``uid``, ``by`` ("/etc/passwd", a variable's name, or "name service").
        - ``umask`` (such as "0022"), ``nice``.
        - ``hash_randomization``: `hash_randomization`.
        - ``flags``, ``xoptions``, ``warnoptions``: of the interpreter, as far as set; ``gil`` (bool).
        - ``encoding``: ``files`` (what `open` takes by default), ``paths``, ``stdout``; ``locale``; ``time_zone``:
          ``name``, ``abbreviation``, ``utc_offset_s``.
        - ``environment``: the chosen variables, sorted by name.
        - ``scheduler``: `schedulers`, the first; None without one; ``other_schedulers`` where there are more.
        - ``rank``: `rank`; None where nothing declares one.

        A fact that this system does not tell is `Unavailable`.

    Notes
    -----
    Arguments and variables are taken as they are: who writes them down masks secrets.
    """
    environ = os.environ if environ is None else environ
    at_work = schedulers(environ)
    facts: dict[str, Any] = {
        "argv": list(sys.argv),
        "orig_argv": list(sys.orig_argv),
        "cwd": _cwd(),
        "executable": sys.executable,
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "pid": os.getpid(),
        "ppid": os.getppid(),
        "user": user_facts(environ, root),
        "umask": _umask(root),
        "nice": os.nice(0) if hasattr(os, "nice") else Unavailable(f"{sys.platform} has no such number"),
        "hash_randomization": hash_randomization(environ),
        "flags": {name: value for name in _FLAGS if (value := getattr(sys.flags, name, 0))},
        "xoptions": dict(sys._xoptions),
        "warnoptions": list(sys.warnoptions),
        "gil": _has_gil(),
        "encoding": _encodings(),
        "locale": _locale_name(),
        "time_zone": _time_zone(environ, root),
        "environment": chosen(env_patterns, environ),
        "scheduler": at_work[0] if at_work else None,
        "rank": rank(environ),
    }
    return {**facts, "other_schedulers": at_work[1:]} if at_work[1:] else facts


def chosen(patterns: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables whose names match one of the patterns, sorted by name.

    Examples
    --------
    >>> chosen(["OMP_*", "LANG", "*_DEVICES"], {"OMP_NUM_THREADS": "4", "LANGUAGE": "de", "CUDA_DEVICES": "0"})
    {'CUDA_DEVICES': '0', 'OMP_NUM_THREADS': '4'}
    """
    names, prefixes, others = set(), [], []
    for pattern in patterns:
        start = pattern.rstrip("*")
        if any(char in start for char in "*?["):
            others.append(pattern)
        elif start != pattern:
            prefixes.append(start)
        else:
            names.add(pattern)
    begins = tuple(prefixes)
    matches = [name for name in environ if name in names or name.startswith(begins)]
    if others:  # seldom: the module costs an import
        from fnmatch import fnmatchcase

        matches += [name for name in environ if any(fnmatchcase(name, pattern) for pattern in others)]
    return {name: environ[name] for name in sorted(set(matches))}


# ---------------------------------------------------------------------------------------------------------- interpreter


def hash_randomization(environ: Mapping[str, str]) -> dict[str, Any]:
    """Say whether the hashes of strings, and so the order of sets, differ from process to process.

    Returns
    -------
    dict
        ``random``: bool; ``seed``: int or None; ``note``: str, where ``PYTHONHASHSEED`` says something that is not in
        force, since it was set too late or the interpreter was told to ignore it.
    """
    setting = environ.get("PYTHONHASHSEED", "")
    note = {"note": f"PYTHONHASHSEED={setting} is not in force: the interpreter started without it, or ignores it"}
    if not sys.flags.hash_randomization:
        return {"random": False, "seed": 0, **(note if _seed(setting) else {})}
    if _seed(setting) is None:
        return {"random": True, "seed": None}
    from capture.probes._hashseed import is_in_force

    if is_in_force(_seed(setting) or 0) is not False:
        return {"random": False, "seed": _seed(setting)}
    # What the process was started with: there changes that it made itself are not seen.
    start = f"\0{read('/proc/self/environ', 2**20) or ''}".partition("\0PYTHONHASHSEED=")[2].partition("\0")[0]
    first = _seed(start)
    if first is not None and is_in_force(first):
        return {"random": False, "seed": first, **note}
    return {"random": True, "seed": None, **note}


def _seed(setting: str) -> int | None:
    return int(setting) if setting.isdecimal() and int(setting) < 2**32 else None


def _has_gil() -> bool:
    enabled = getattr(sys, "_is_gil_enabled", None)  # from 3.13 on
    return True if enabled is None else bool(enabled())


def _encodings() -> dict[str, Any]:
    import io

    # Named, since to leave it out is a warning under -X warn_default_encoding; in UTF-8 mode the name means another.
    files = "utf-8" if sys.flags.utf8_mode else io.TextIOWrapper(io.BytesIO(), encoding="locale").encoding
    return {
        "files": files,
        "paths": sys.getfilesystemencoding(),
        "stdout": getattr(sys.stdout, "encoding", None),
    }


def _locale_name() -> str:
    # The module `locale` costs milliseconds; this is what it asks.
    from _locale import LC_ALL, setlocale

    return setlocale(LC_ALL, None)


def _time_zone(environ: Mapping[str, str], root: str) -> dict[str, Any]:
    import time

    now = time.localtime()
    name = environ.get("TZ", "").lstrip(":")
    if not name:
        try:
            name = os.readlink(root + "/etc/localtime").partition("zoneinfo/")[2]
        except (OSError, ValueError):  # a copy rather than a link; another system
            name = ""
    name = name or (read(root + "/etc/timezone", 256) or "").strip()
    return {
        "name": name or Unavailable("no file tells it"),
        "abbreviation": now.tm_zone,
        "utc_offset_s": now.tm_gmtoff,
    }


# -------------------------------------------------------------------------------------------------------------- process


def _cwd() -> str | Unavailable:
    try:
        return os.getcwd()
    except OSError as error:  # it was deleted
        return Unavailable(f"{type(error).__name__}: {error}")


def user_facts(environ: Mapping[str, str] | None = None, root: str = "") -> dict[str, Any]:
    """Return who this process belongs to: ``name``, ``uid``, ``by``; see `process_facts` for the parameters."""
    environ = os.environ if environ is None else environ
    if sys.platform == "win32":
        name = environ.get("USERNAME")
        return {"name": name, "by": "USERNAME"} if name else {"name": Unavailable("USERNAME is not set")}
    uid = os.getuid()
    for line in (read(root + "/etc/passwd", 2**20) or "").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2] == str(uid):
            return {"name": fields[0], "uid": uid, "by": "/etc/passwd"}
    # Users of clusters are known to a server, which can take seconds to answer; they have a variable.
    for variable in ("LOGNAME", "USER"):
        if environ.get(variable):
            return {"name": environ[variable], "uid": uid, "by": variable}
    import pwd

    try:
        return {"name": pwd.getpwuid(uid).pw_name, "uid": uid, "by": "name service"}
    except (KeyError, OSError):
        return {"name": Unavailable("the user has a number and no name"), "uid": uid}


def _umask(root: str) -> str | Unavailable:
    told = pairs(read(root + "/proc/self/status")).get("Umask")
    return told or Unavailable("it cannot be read without being changed for a moment")


# ------------------------------------------------------------------------------------------------- schedulers and ranks


def schedulers(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the schedulers that started this process, the one that gives machines first.

    Returns
    -------
    list of dict
        ``name`` ("slurm", "pbs", "lsf", "sge", "flux", "htcondor", "oar", "aws batch", "sagemaker", "azureml",
        "kubeflow", "ray", "kubernetes"), ``job_id``, ``array_task_id`` and ``node_list`` (str or None), and
        ``variables``, those of the environment that say something about the job.
    """
    found = []
    for name, known in _SCHEDULERS.items():
        job_id = _first(known["job_id"], environ)
        markers = known.get("only_with", known["job_id"])
        if not any(environ.get(marker) for marker in markers):
            continue
        if name == "htcondor":
            job_id = _condor_job(environ["_CONDOR_JOB_AD"])
        if name == "sge" and job_id is None:
            continue
        task = _first(known.get("array_task_id", ()), environ)
        if name in _BEGIN_WITH_1 and task in _NO_ARRAY:
            task = None
        nodes = _first(known.get("node_list", ()), environ) or _nodes(_first(known.get("node_file", ()), environ))
        told = {variable for variables in known.values() for variable in variables} | set(known["variables"])
        found.append(
            {
                "name": name,
                "job_id": job_id,
                "array_task_id": task,
                "node_list": nodes,
                "variables": {variable: environ[variable] for variable in sorted(told) if variable in environ},
            }
        )
    return found


def _first(names: Iterable[str], environ: Mapping[str, str]) -> str | None:
    return next((environ[name] for name in names if environ.get(name)), None)


def _nodes(path: str | None) -> str | None:
    """Return the machines that a scheduler's file lists, each once; it has a line for each slot."""
    text = read(path) if path else None
    lines = [line.split() for line in (text or "").splitlines()]
    return ",".join(dict.fromkeys(words[0] for words in lines if words)) or None


def _condor_job(path: str) -> str | None:
    """Return ``cluster.process`` of the job that a file of HTCondor's describes."""
    told = {}
    for line in (read(path, 2**20) or "").splitlines():
        name, equals, value = line.partition("=")
        if equals:
            told[name.strip().lower()] = value.strip()
    cluster, process = told.get("clusterid"), told.get("procid")
    return f"{cluster}.{process}" if cluster and process else None


def rank(environ: Mapping[str, str]) -> dict[str, Any] | None:
    """Say which one of how many processes this is, by the first of the variables below that declares it.

    Returns
    -------
    dict or None
        ``rank``, ``world_size`` and ``local_rank`` (int or None), ``declared_by`` (a variable's name), and
        ``variables``, all those that are set.

    Notes
    -----
    ``RANK`` (torchrun and its like), then Open MPI, MVAPICH2, PMI, PMIx, PALS, jsrun, Horovod, Flux, Slurm. Only the
    first one says that the processes do one job; the others number also tasks that have nothing to do with each other.
    """
    known = {name for names in _RANKS for name in names if name} | set(_MEETING)
    told = {name: environ[name] for name in sorted(known) if name in environ}
    for number, size, local in _RANKS:
        value = _integer(told.get(number))
        if value is not None:
            return {
                "rank": value,
                "local_rank": _integer(told.get(local)),
                "world_size": _integer(told.get(size)),
                "declared_by": number,
                "variables": told,
            }
    return None


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdecimal() else None
