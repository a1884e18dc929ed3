"""What is said of the process: how it was started, by whom, with what environment, by which scheduler, as which rank."""

from __future__ import annotations

import json
import locale
import os
import subprocess
import sys

import pytest

from capture.hooks import Unavailable
from capture.probes import process
from capture.probes.host import plain
from capture.settings import DEFAULTS
from tests.probes.trees import write_tree

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(process.__file__)))


def in_new_process(code, *options, **environ):
    """Run code in an interpreter of its own, and return what it prints, as JSON."""
    environ = {**{k: v for k, v in os.environ.items() if k not in ("PYTHONHASHSEED", "PYTHONOPTIMIZE")}, **environ}
    command = [sys.executable, *options, "-c", f"import sys; sys.path.insert(0, {ROOT!r})\n{code}"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=environ).stdout)


# ------------------------------------------------------------------------------------------------------------ as it is


def test_this_process_is_described():
    """What is needed to start it again: arguments, folder, interpreter."""
    facts = process.process_facts()
    assert (facts["argv"], facts["orig_argv"]) == (sys.argv, sys.orig_argv)
    assert (facts["cwd"], facts["executable"], facts["prefix"]) == (os.getcwd(), sys.executable, sys.prefix)
    assert (facts["pid"], facts["ppid"]) == (os.getpid(), os.getppid())
    assert facts["encoding"]["paths"] == sys.getfilesystemencoding()
    assert facts["locale"] == locale.setlocale(locale.LC_ALL, None)
    assert facts["gil"] in (True, False)
    json.dumps(plain(facts))


def test_files_have_the_encoding_that_open_would_take(tmp_path):
    """A text that was read with another encoding is another text."""
    (tmp_path / "x").write_bytes(b"")
    with open(tmp_path / "x") as file:
        assert process.process_facts()["encoding"]["files"].lower() == file.encoding.lower()
    code = "import json; from capture.probes.process import process_facts as p; print(json.dumps(p()['encoding']['files']))"
    assert in_new_process(code, "-X", "utf8").lower() == "utf-8"
    assert in_new_process(code, "-X", "warn_default_encoding", "-W", "error")


def test_flags_and_options_of_the_interpreter_are_recorded():
    """-O drops assertions, -X dev finds errors: both change what a program does."""
    code = "import json; from capture.probes.process import process_facts as p; f = p(); print(json.dumps([f['flags'], f['xoptions'], f['warnoptions'], f['orig_argv']]))"
    flags, xoptions, warnoptions, started = in_new_process(code, "-O", "-X", "dev", "-W", "error::FutureWarning")
    assert flags["optimize"] == 1 and flags["dev_mode"] == True  # noqa: E712 - a number in some versions
    assert xoptions == {"dev": True} and "error::FutureWarning" in warnoptions
    assert "-O" in started and "verbose" not in flags


def test_the_facts_of_a_process_import_nothing_slow():
    """They are gathered before main, in every run."""
    code = (
        f"from capture.probes import process; process.process_facts({DEFAULTS['PROCESS.ENV'][0]!r});"
        "loaded = sorted(sys.modules); import json; print(json.dumps(loaded))"
    )
    loaded = set(in_new_process(code, "-S"))
    slow = "getpass locale fnmatch re subprocess platform logging ctypes pathlib zoneinfo"
    assert not loaded & set(slow.split())


@pytest.mark.skipif(sys.platform == "win32", reason="a folder cannot be deleted there while somebody works in it")
def test_a_working_folder_that_was_deleted_is_a_reason(tmp_path, monkeypatch):
    """Scratch folders are cleaned up while jobs still run in them."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert "FileNotFoundError" in process.process_facts()["cwd"].reason


# --------------------------------------------------------------------------------------------------------- environment


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["OMP_*"], ["OMP_NUM_THREADS", "OMP_PROC_BIND"]),
        (["LANG"], ["LANG"]),
        (["LANG*"], ["LANG", "LANGUAGE"]),
        (["*_THREADS"], ["MKL_NUM_THREADS", "OMP_NUM_THREADS"]),
        (["?KL_*", "LAN[G]"], ["LANG", "MKL_NUM_THREADS"]),
        (["OMP_*", "OMP_NUM_THREADS", "LANG"], ["LANG", "OMP_NUM_THREADS", "OMP_PROC_BIND"]),
        (["*"], ["LANG", "LANGUAGE", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "OMP_PROC_BIND", "TOKEN"]),
        (["omp_*", ""], []),
        ([], []),
    ],
)
def test_only_chosen_variables_are_recorded(patterns, names):
    """An environment is full of secrets; what is recorded is a whitelist."""
    environ = dict.fromkeys(["TOKEN", "OMP_PROC_BIND", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "LANGUAGE", "LANG"], "1")
    found = process.chosen(patterns, environ)
    assert list(found) == names
    assert process.process_facts(patterns, environ)["environment"] == found


# ------------------------------------------------------------------------------------------------------------- hashing

HASHING = (
    "import json, os; from capture.probes.process import hash_randomization as h; {}; print(json.dumps(h(os.environ)))"
)


@pytest.mark.parametrize("seed", [0, 1, 42, 4294967295])
def test_the_seed_of_hashes_is_recorded_when_it_is_in_force(seed):
    """The order of a set of strings depends on it, and with it many a result."""
    assert in_new_process(HASHING.format("pass"), PYTHONHASHSEED=str(seed)) == {"random": False, "seed": seed}


@pytest.mark.parametrize("setting", [{}, {"PYTHONHASHSEED": "random"}])
def test_random_hashes_are_recorded_as_such(setting):
    """No record of the seed exists then; the run cannot be repeated in that respect."""
    assert in_new_process(HASHING.format("pass"), **setting) == {"random": True, "seed": None}


@pytest.mark.parametrize(
    ("options", "start", "late", "expected"),
    [
        ((), {}, "0", {"random": True, "seed": None}),
        ((), {}, "42", {"random": True, "seed": None}),
        ((), {"PYTHONHASHSEED": "0"}, "42", {"random": False, "seed": 0}),
        (("-E",), {"PYTHONHASHSEED": "42"}, "42", {"random": True, "seed": None}),
    ],
)
def test_a_seed_that_has_no_effect_is_not_believed(options, start, late, expected):
    """Setting PYTHONHASHSEED in a script is a common way to believe that it repeats exactly."""
    code = HASHING.format(f"os.environ['PYTHONHASHSEED'] = {late!r}")
    found = in_new_process(code, *options, **start)
    assert found.pop("note").startswith(f"PYTHONHASHSEED={late} is not in force")
    assert found == expected


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the first environment is not kept")
def test_a_seed_that_was_changed_too_late_leaves_the_first_one():
    """What the process was started with is what counts."""
    found = in_new_process(HASHING.format("os.environ['PYTHONHASHSEED'] = '7'"), PYTHONHASHSEED="42")
    assert (found["random"], found["seed"]) == (False, 42) and "=7 is not in force" in found["note"]


# ------------------------------------------------------------------------------------------------------- user and zone


@pytest.mark.skipif(sys.platform == "win32", reason="users have no numbers there")
def test_the_user_is_the_one_that_the_system_says():
    """The variable USER may be left over from somebody else (su, containers)."""
    import pwd

    user = process.process_facts(environ={"USER": "somebody else"})["user"]
    assert user["uid"] == os.getuid()
    try:
        expected = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        expected = "somebody else"
    assert user["name"] in (expected, "somebody else")
    assert user["by"] != "/etc/passwd" or user["name"] == expected


@pytest.mark.skipif(sys.platform == "win32", reason="users have no numbers there")
@pytest.mark.parametrize(
    ("passwd", "environ", "name", "by"),
    [
        ("root:x:0:0::/:/bin/sh\nada:x:1234:1::/home/ada:/bin/sh\n", {"USER": "bob"}, "ada", "/etc/passwd"),
        ("root:x:0:0::/:/bin/sh\n", {"LOGNAME": "bob", "USER": "carol"}, "bob", "LOGNAME"),
        ("broken\n\n", {"USER": "carol"}, "carol", "USER"),
    ],
)
def test_users_of_a_cluster_are_named_without_asking_a_server(tmp_path, monkeypatch, passwd, environ, name, by):
    """Directory servers take seconds when they are ill, and every run would wait for them."""
    monkeypatch.setattr(os, "getuid", lambda: 1234)
    root = write_tree(tmp_path, {"/etc/passwd": passwd})
    assert process.user_facts(environ, root) == {"name": name, "uid": 1234, "by": by}


@pytest.mark.skipif(sys.platform == "win32", reason="users have no numbers there")
def test_a_user_without_a_name_is_a_number(tmp_path, monkeypatch):
    """Containers are started with any number."""
    monkeypatch.setattr(os, "getuid", lambda: 987654)
    user = process.user_facts({}, str(tmp_path))
    assert user["uid"] == 987654 and isinstance(user["name"], Unavailable)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
@pytest.mark.parametrize(
    ("environ", "link", "name"),
    [
        ({"TZ": ":Asia/Tokyo"}, "/usr/share/zoneinfo/Europe/Berlin", "Asia/Tokyo"),
        ({}, "/usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin"),
        ({}, None, "America/Lima"),
    ],
)
def test_the_time_zone_has_its_full_name(tmp_path, environ, link, name):
    """Abbreviations name several zones each."""
    root = write_tree(tmp_path, {"/etc/timezone": "America/Lima\n"})
    if link:
        os.symlink(link, os.path.join(root, "etc", "localtime"))
    assert process._time_zone(environ, root)["name"] == name


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it without changing it")
def test_the_umask_is_read_and_not_touched():
    """Another thread may make a file in the moment in which it would be changed."""
    before = os.umask(0o027)
    try:
        assert process.process_facts()["umask"] == "0027"
    finally:
        os.umask(before)


# ---------------------------------------------------------------------------------------------------------- schedulers


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (
            {
                "SLURM_JOB_ID": "71",
                "SLURM_ARRAY_TASK_ID": "3",
                "SLURM_JOB_NODELIST": "gpu[01-04]",
                "SLURM_JOB_PARTITION": "a100",
            },
            ("slurm", "71", "3", "gpu[01-04]"),
        ),
        (
            {"PBS_JOBID": "12[4].server", "PBS_ARRAY_INDEX": "4", "PBS_QUEUE": "long"},
            ("pbs", "12[4].server", "4", None),
        ),
        ({"PBS_JOBID": "12-7.torque", "PBS_ARRAYID": "7"}, ("pbs", "12-7.torque", "7", None)),
        ({"LSB_JOBID": "9", "LSB_JOBINDEX": "0", "LSB_MCPU_HOSTS": "a 4 b 4"}, ("lsf", "9", None, "a 4 b 4")),
        ({"LSB_JOBID": "9", "LSB_JOBINDEX": "2", "LSB_HOSTS": "a a"}, ("lsf", "9", "2", "a a")),
        ({"JOB_ID": "5", "SGE_TASK_ID": "undefined", "QUEUE": "all.q"}, ("sge", "5", None, None)),
        ({"JOB_ID": "5", "SGE_TASK_ID": "8"}, ("sge", "5", "8", None)),
        ({"FLUX_JOB_ID": "ƒ3Kv", "FLUX_JOB_CC": "2"}, ("flux", "ƒ3Kv", None, None)),
        ({"OAR_JOB_ID": "31"}, ("oar", "31", None, None)),
        ({"AWS_BATCH_JOB_ID": "e4:0", "AWS_BATCH_JOB_ARRAY_INDEX": "0"}, ("aws batch", "e4:0", "0", None)),
        ({"KFP_POD_NAME": "train-xyz", "KUBERNETES_SERVICE_HOST": "198.51.100.1"}, ("kubeflow", "train-xyz", None, None)),
        ({"RAY_JOB_ID": "01000000"}, ("ray", "01000000", None, None)),
        (
            {"KUBERNETES_SERVICE_HOST": "198.51.100.1", "HOSTNAME": "train-0-x7", "JOB_COMPLETION_INDEX": "0"},
            ("kubernetes", "train-0-x7", "0", None),
        ),
    ],
)
def test_each_scheduler_is_known_by_its_variables(environ, expected):
    """The job's number leads to its log, its nodes and what it cost."""
    found = process.process_facts(environ=environ)["scheduler"]
    assert tuple(found[name] for name in ("name", "job_id", "array_task_id", "node_list")) == expected
    unknown = {"HOSTNAME"} if expected[0] != "kubernetes" else set()
    assert {**found["variables"]}.keys() <= environ.keys() - unknown and found["variables"]


@pytest.mark.parametrize(
    "environ",
    [{}, {"JOB_ID": "5"}, {"SGE_TASK_ID": "5"}, {"TRAINING_JOB_NAME": "x"}, {"HOSTNAME": "x"}, {"SLURM_JOB_ID": ""}],
)
def test_without_a_scheduler_there_is_none(environ):
    """Names such as JOB_ID are used by others, too."""
    facts = process.process_facts(environ=environ)
    assert facts["scheduler"] is None and "other_schedulers" not in facts


def test_a_scheduler_within_another_comes_after_it():
    """Ray is started in a job of Slurm's; the job is what the cluster knows."""
    facts = process.process_facts(
        environ={"RAY_JOB_ID": "01", "SLURM_JOB_ID": "7", "KUBERNETES_SERVICE_HOST": "h", "HOSTNAME": "p"}
    )
    assert facts["scheduler"]["name"] == "slurm"
    assert [other["name"] for other in facts["other_schedulers"]] == ["ray", "kubernetes"]


def test_nodes_are_read_from_the_file_that_names_them(tmp_path):
    """PBS and Grid Engine write a line for each slot."""
    nodes = tmp_path / "nodes"
    nodes.write_text("node1\nnode1\nnode2\n\n")
    hosts = tmp_path / "hosts"
    hosts.write_text("node7 8 all.q@node7 UNDEFINED\nnode8 8 all.q@node8 UNDEFINED\n")
    assert process.schedulers({"PBS_JOBID": "1", "PBS_NODEFILE": str(nodes)})[0]["node_list"] == "node1,node2"
    grid = {"JOB_ID": "1", "SGE_TASK_ID": "undefined", "PE_HOSTFILE": str(hosts)}
    assert process.schedulers(grid)[0]["node_list"] == "node7,node8"
    assert process.schedulers({"PBS_JOBID": "1", "PBS_NODEFILE": str(tmp_path / "no")})[0]["node_list"] is None


def test_a_job_of_htcondor_has_its_number_in_a_file(tmp_path):
    """It sets no variable for it."""
    ad = tmp_path / ".job.ad"
    ad.write_text('Owner = "ada"\nClusterId = 512\nProcId = 3\nEnvironment = "TOKEN=secret"\n')
    (found,) = process.schedulers({"_CONDOR_JOB_AD": str(ad), "_CONDOR_SLOT": "slot1"})
    assert (found["name"], found["job_id"]) == ("htcondor", "512.3")
    assert "secret" not in json.dumps(found)
    assert process.schedulers({"_CONDOR_JOB_AD": str(tmp_path / "no")})[0]["job_id"] is None


def test_variables_that_may_hold_secrets_are_not_among_the_scheduler_s():
    """Job scripts export passwords, and schedulers hand whole environments on."""
    names = {name for known in process._SCHEDULERS.values() for names in known.values() for name in names}
    assert not [name for name in names if any(word in name for word in ("TOKEN", "SECRET", "PASS", "KEY", "CRED"))]
    environ = {"SLURM_JOB_ID": "1", "SLURM_JWT": "eyJhbGciOi", "SLURM_COMMENT": "hunter2"}
    assert process.schedulers(environ)[0]["variables"] == {"SLURM_JOB_ID": "1"}


# ---------------------------------------------------------------------------------------------------------------- rank


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "SLURM_PROCID": "0"}, (3, 1, 8, "RANK")),
        ({"RANK": "0"}, (0, None, None, "RANK")),
        (
            {
                "OMPI_COMM_WORLD_RANK": "2",
                "OMPI_COMM_WORLD_SIZE": "4",
                "OMPI_COMM_WORLD_LOCAL_RANK": "0",
                "PMIX_RANK": "2",
            },
            (2, 0, 4, "OMPI_COMM_WORLD_RANK"),
        ),
        ({"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1"}, (1, 1, 2, "PMI_RANK")),
        ({"PMIX_RANK": "5"}, (5, None, None, "PMIX_RANK")),
        ({"MV2_COMM_WORLD_RANK": "1", "MV2_COMM_WORLD_SIZE": "2"}, (1, None, 2, "MV2_COMM_WORLD_RANK")),
        ({"SLURM_PROCID": "6", "SLURM_NTASKS": "9", "SLURM_LOCALID": "2"}, (6, 2, 9, "SLURM_PROCID")),
        ({"RANK": "first", "SLURM_PROCID": "1"}, (1, None, None, "SLURM_PROCID")),
    ],
)
def test_the_rank_is_that_of_the_innermost_launcher(environ, expected):
    """torchrun in a job of Slurm's numbers processes that Slurm knows nothing of."""
    found = process.rank(environ)
    assert tuple(found[name] for name in ("rank", "local_rank", "world_size", "declared_by")) == expected
    assert found["variables"] == dict(sorted(environ.items()))


def test_where_the_processes_meet_is_recorded_with_the_rank():
    """It tells which processes of several jobs on a machine belong together."""
    environ = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "198.51.100.3", "MASTER_PORT": "29500"}
    assert process.rank(environ)["variables"]["MASTER_ADDR"] == "198.51.100.3"
    assert process.rank({"MASTER_ADDR": "198.51.100.3", "WORLD_SIZE": "2"}) is None


@pytest.mark.parametrize(
    ("environ", "silent"),
    [
        ({"RANK": "1", "WORLD_SIZE": "2"}, True),
        ({"RANK": "0", "WORLD_SIZE": "2"}, False),
        ({"RANK": "1", "WORLD_SIZE": "1"}, False),
        ({"RANK": "1"}, False),
        ({"RANK": "x", "WORLD_SIZE": "2"}, False),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "7"}, False),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, False),
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, False),
    ],
)
def test_only_a_launcher_that_declares_one_job_silences_a_run(monkeypatch, environ, silent):
    """A scheduler numbers also tasks that are experiments of their own: each has to leave a record, with its number."""
    from capture.assembly import is_silent_rank

    for name in list(os.environ):
        if name.startswith(("SLURM_", "OMPI_", "PMI")) or name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
            monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert is_silent_rank() is silent
    number = next(value for name, value in environ.items() if name.endswith(("RANK", "PROCID")))
    found = process.rank(os.environ)
    assert found is None if number == "x" else found["rank"] == int(number)
