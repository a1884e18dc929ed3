"""What is said of machines: this one, and odd ones that are played by trees of files."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from capture.hooks import Unavailable
from capture.probes import machine
from capture.probes.host import plain
from tests.probes.trees import write_tree

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of this machine")

X86 = (
    "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 143\nmodel name\t: Intel(R) Xeon(R)\n"
    "stepping\t: 8\nmicrocode\t: 0x2b0004b1\nflags\t\t: fpu vme sse2 avx512f amx_bf16{more}\nbugs\t\t: spectre_v1\n\n"
    "processor\t: 1\nvendor_id\t: other\nflags\t\t: second\n\n"
)
ARM = (
    "processor\t: 0\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd sve\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
    "CPU variant\t: 0x1\nCPU part\t: 0xd40\nCPU revision\t: 1\n\n"
)
MEMINFO = (
    "MemTotal:       1048576 kB\nMemFree: 1 kB\nMemAvailable:    524288 kB\nSwapTotal:     2048 kB\nSwapFree: 1024 kB\n"
)


@pytest.fixture(autouse=True)
def nothing_known_yet(monkeypatch):
    monkeypatch.setattr(machine, "_known", {})


def facts_of(folder, files, environ=None):
    return machine.machine_facts(root=write_tree(folder, files), environ=environ or {})


def topology(cores, cpus_of_socket):
    """Return files that describe processors: ``cores`` are lists of the numbers of each core's processors."""
    files = {}
    for numbers in cores:
        for number in numbers:
            folder = f"/sys/devices/system/cpu/cpu{number}/topology"
            files[f"{folder}/thread_siblings_list"] = ",".join(map(str, numbers)) + "\n"
            files[f"{folder}/core_siblings_list"] = next(
                text for first, last, text in cpus_of_socket if first <= number <= last
            )
    last = max(number for numbers in cores for number in numbers)
    return {**files, "/sys/devices/system/cpu/online": f"0-{last}\n"}


# --------------------------------------------------------------------------------------------------------- this machine


@LINUX
def test_this_machine_is_described():
    """The numbers have to be those that the kernel says."""
    facts = machine.machine_facts()
    assert facts["cores"]["affinity"] == len(os.sched_getaffinity(0))
    assert 1 <= facts["cores"]["usable"] <= facts["cores"]["affinity"] <= facts["cores"]["logical"]
    page = os.sysconf("SC_PAGE_SIZE")
    assert facts["memory"]["total_bytes"] == os.sysconf("SC_PHYS_PAGES") * page
    assert 0 < facts["memory"]["available_bytes"] <= facts["memory"]["total_bytes"]
    assert facts["folder"]["path"] == os.path.realpath(os.getcwd()) and facts["folder"]["free_bytes"] > 0
    assert facts["folder"]["path"].startswith(facts["folder"]["mount_point"]) and facts["folder"]["file_system"]
    assert facts["boot"]["uptime_s"] > 0 and facts["boot"]["id"]
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert facts["limits"]["open_files"]["soft"] == (None if soft == resource.RLIM_INFINITY else soft)
    json.dumps(plain(facts))


def test_every_fact_is_there_on_every_system():
    """Readers must not have to ask which system a run worked on."""
    facts = machine.machine_facts()
    assert list(facts) == ["cpu", "cores", "memory", "container", "virtualisation", "boot", "folder", "limits"]
    assert "flags" in facts["cpu"]
    assert {"logical", "physical", "sockets", "numa_nodes", "affinity", "quota", "usable"} == set(facts["cores"])
    assert {"total_bytes", "available_bytes", "limit_bytes"} <= set(facts["memory"])
    json.dumps(plain(facts))


def test_describing_the_machine_imports_nothing_slow():
    """It is done in the background of every run, also the shortest, which waits for it."""
    code = "import sys; from capture.probes import machine; machine.machine_facts(); print(*sorted(sys.modules))"
    environ = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(os.path.dirname(machine.__file__)))}
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, env=environ)
    slow = "subprocess logging platform ctypes hashlib inspect dataclasses re urllib xml json shutil pathlib"
    assert sys.platform != "linux" or not set(slow.split()) & set(done.stdout.split())


def test_a_folder_that_is_gone_is_a_reason(tmp_path):
    """A run may work in a folder that somebody deletes."""
    assert (
        isinstance(machine.machine_facts(folder=str(tmp_path / "gone"))["folder"], Unavailable)
        or sys.platform == "win32"
    )


# ----------------------------------------------------------------------------------------------------------- processors


def test_the_first_processor_stands_for_all(tmp_path):
    """The list of a big machine is hundreds of kilobytes."""
    cpu = facts_of(tmp_path, {"/proc/cpuinfo": X86.format(more=" hypervisor")})["cpu"]
    assert cpu == {
        "vendor": "GenuineIntel",
        "family": "6",
        "model": "143",
        "stepping": "8",
        "microcode": "0x2b0004b1",
        "flags": ["amx_bf16", "avx512f", "fpu", "hypervisor", "sse2", "vme"],
    }


def test_arm_has_other_words_for_the_same(tmp_path):
    """Much computing is done on Arm; it has no family, no microcode, and says nothing of hypervisors."""
    facts = facts_of(tmp_path, {"/proc/cpuinfo": ARM, "/proc/device-tree/model": "Raspberry Pi 5\0"})
    assert facts["cpu"] == {
        "vendor": "0x41",
        "family": "8",
        "model": "0xd40",
        "stepping": "1",
        "flags": ["asimd", "fp", "sve"],
    }
    assert isinstance(facts["virtualisation"]["hypervisor"], Unavailable)
    assert facts["virtualisation"]["product"] == "Raspberry Pi 5"


def test_a_kernel_that_names_no_flags_leaves_a_reason(tmp_path):
    """POWER's kernels do not."""
    flags = facts_of(tmp_path, {"/proc/cpuinfo": "processor\t: 0\ncpu\t\t: POWER9\n\n"})["cpu"]["flags"]
    assert flags == Unavailable("/proc/cpuinfo does not tell them")


def test_cores_sockets_and_nodes_are_counted(tmp_path):
    """Two sockets of 64 cores, two threads each, are 256 processors but not 256 cores."""
    cores = [[number, number + 128] for number in range(128)]
    sockets = [
        (0, 63, "0-63,128-191"),
        (64, 127, "64-127,192-255"),
        (128, 191, "0-63,128-191"),
        (192, 255, "64-127,192-255"),
    ]
    files = {**topology(cores, sockets), "/sys/devices/system/node/online": "0-7\n"}
    found = facts_of(tmp_path, files)["cores"]
    assert [found[name] for name in ("logical", "physical", "sockets", "numa_nodes")] == [256, 128, 2, 8]


def test_a_processor_of_unequal_cores_is_counted_core_by_core(tmp_path):
    """Performance cores have two threads, efficient ones have one: no division tells the number of cores."""
    files = topology([[0, 1], [2, 3], [4], [5], [6], [7]], [(0, 7, "0-7")])
    found = facts_of(tmp_path, files)["cores"]
    assert (found["logical"], found["physical"], found["sockets"]) == (8, 6, 1)


def test_a_machine_that_tells_nothing_has_reasons_and_no_errors(tmp_path):
    """Sandboxes hide /proc and /sys."""
    facts = facts_of(tmp_path, {"/empty/": ""})
    for value in (
        facts["cpu"]["flags"],
        facts["cores"]["physical"],
        facts["cores"]["numa_nodes"],
        facts["memory"]["total_bytes"],
    ):
        assert isinstance(value, Unavailable)
    assert facts["cores"]["logical"] == os.cpu_count() and facts["memory"]["limit_bytes"] is None
    assert isinstance(facts["boot"]["uptime_s"], Unavailable)
    assert facts["container"] == {"kinds": [], "hints": []}


# ------------------------------------------------------------------------------------------------------- control groups


def test_memory_is_read_in_bytes(tmp_path):
    """The kernel counts in KiB."""
    memory = facts_of(tmp_path, {"/proc/meminfo": MEMINFO})["memory"]
    assert memory == {
        "total_bytes": 2**30,
        "available_bytes": 2**29,
        "swap_total_bytes": 2**21,
        "swap_free_bytes": 2**20,
        "limit_bytes": None,
    }


def usable(monkeypatch, folder, files, processors=64):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(processors)), raising=False)
    facts = facts_of(folder, files)
    return facts["memory"].get("limit_bytes"), facts["memory"].get("limit_used_bytes"), facts["cores"]


def test_limits_of_version_2_hold_from_any_group_above(monkeypatch, tmp_path):
    """A user's slice may have less than the session in it asks for."""
    group = "/sys/fs/cgroup/user.slice/job"
    files = {
        "/proc/self/cgroup": "0::/user.slice/job\n",
        f"{group}/memory.max": "max\n",
        f"{group}/cpu.max": "150000 100000\n",
        "/sys/fs/cgroup/user.slice/memory.max": "4096\n",
        "/sys/fs/cgroup/user.slice/memory.current": "1024\n",
        "/sys/fs/cgroup/user.slice/cpu.max": "max 100000\n",
    }
    limit, used, cores = usable(monkeypatch, tmp_path, files)
    assert (limit, used) == (4096, 1024)
    assert (cores["affinity"], cores["quota"], cores["usable"]) == (64, 1.5, 2)


def test_limits_of_version_1_are_read_where_a_container_sees_them(monkeypatch, tmp_path):
    """There the path is that of the machine, and what is mounted is the container's own group."""
    files = {
        "/proc/self/cgroup": "11:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": "2147483648\n",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes": "7\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    limit, used, cores = usable(monkeypatch, tmp_path, files)
    assert (limit, used, cores["quota"], cores["usable"]) == (2**31, 7, 0.5, 1)


def test_no_limit_is_none(monkeypatch, tmp_path):
    """Version 1 writes the largest number it has, and -1; nobody has that much memory."""
    files = {
        "/proc/self/cgroup": "4:memory:/\n3:cpu:/\n0::/\n",
        "/sys/fs/cgroup/unified/": "",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    }
    limit, used, cores = usable(monkeypatch, tmp_path, files, processors=3)
    assert (limit, used, cores["quota"], cores["usable"]) == (None, None, None, 3)


# ----------------------------------------------------------------------------------------------------------- containers


@pytest.mark.parametrize(
    ("files", "environ", "kinds"),
    [
        ({"/.dockerenv": ""}, {}, ["docker"]),
        (
            {"/run/.containerenv": 'engine="podman-4.9"\nimage="docker.io/lab/train:3"\n'},
            {"container": "podman"},
            ["podman"],
        ),
        ({"/proc/self/cgroup": "0::/kubepods.slice/pod1/cri-containerd-1.scope\n"}, {}, ["kubernetes", "containerd"]),
        ({}, {"KUBERNETES_SERVICE_HOST": "198.51.100.1"}, ["kubernetes"]),
        ({"/.singularity.d/": ""}, {"APPTAINER_CONTAINER": "/images/train.sif"}, ["apptainer"]),
        ({}, {"SINGULARITY_CONTAINER": "/images/train.sif"}, ["singularity"]),
        ({"/proc/self/cgroup": "4:memory:/lxc/web\n"}, {"container": "lxc"}, ["lxc"]),
        ({"/run/systemd/container": "systemd-nspawn\n"}, {}, ["systemd-nspawn"]),
        ({"/proc/sys/kernel/osrelease": "5.15.90.1-microsoft-standard-WSL2\n"}, {}, ["wsl"]),
        ({"/proc/self/cgroup": "0::/system.slice/docker.service\n"}, {}, []),
        ({"/proc/self/cgroup": "0::/user.slice\n"}, {"container": ""}, []),
    ],
)
def test_containers_are_known_by_what_they_leave(tmp_path, files, environ, kinds):
    """Whoever repeats a run has to know that it did not see the machine itself; what told it is recorded, too."""
    found = facts_of(tmp_path, files, environ)["container"]
    assert found["kinds"] == kinds
    assert len(found["hints"]) >= len(kinds)
    image = found.get("image")
    assert image == {
        "podman": "docker.io/lab/train:3",
        "apptainer": "/images/train.sif",
        "singularity": "/images/train.sif",
    }.get(kinds[0] if kinds else "")


@pytest.mark.parametrize(
    ("more", "xen", "hypervisor"), [("", False, False), (" hypervisor", False, True), ("", True, True)]
)
def test_virtual_machines_are_known_by_flag_and_firmware(tmp_path, more, xen, hypervisor):
    """The firmware's words alone do not tell: a cloud's bare metal has them, too."""
    files = {
        "/proc/cpuinfo": X86.format(more=more),
        "/sys/class/dmi/id/sys_vendor": "Amazon EC2\n",
        "/sys/class/dmi/id/product_name": "m7i.metal-24xl\n",
        **({"/sys/hypervisor/type": "xen\n"} if xen else {}),
    }
    assert facts_of(tmp_path, files)["virtualisation"] == {
        "hypervisor": hypervisor,
        "vendor": "Amazon EC2",
        "product": "m7i.metal-24xl",
    }


@pytest.mark.parametrize(
    ("folder", "expected"), [("/data/my set/x", "nfs4"), ("/data", "ext4"), ("/database", "overlay")]
)
def test_the_file_system_is_that_of_the_innermost_mount(tmp_path, folder, expected):
    """A name that begins alike is another folder; the later of two mounts at one place hides the earlier one."""
    mounts = (
        "1 0 0:1 / / rw - overlay overlay rw\n2 1 8:1 / /data rw shared:1 - xfs /dev/sda1 rw\n"
        "3 1 8:2 / /data rw - ext4 /dev/sdb1 rw\n4 3 0:9 / /data/my\\040set rw - nfs4 server:/x rw\nbroken line\n"
    )
    root = write_tree(tmp_path, {"/proc/self/mountinfo": mounts})
    assert machine._mount(folder, root)[0] == expected


# ---------------------------------------------------------------------------------------------------------------- cache


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Return a function that asks anew, as another process would, with a file between; and the file's folder."""
    root = write_tree(tmp_path / "root", {"/proc/cpuinfo": ARM, "/sys/devices/system/cpu/online": "0-3\n"})
    monkeypatch.setattr(machine, "machine_identity", lambda: {"machine_id": "m/1", "boot_id": "b1"})

    def ask(boot_id="b1", cpuinfo=None):
        machine._known.clear()
        monkeypatch.setattr(machine, "machine_identity", lambda: {"machine_id": "m/1", "boot_id": boot_id})
        if cpuinfo is not None:
            write_tree(root, {"/proc/cpuinfo": cpuinfo})
        return machine.machine_facts(cache_dir=str(tmp_path / "cache"), root=root)

    ask.folder, ask.root = tmp_path / "cache", root
    return ask


def test_what_stays_until_the_next_boot_is_read_once(kept):
    """Older kernels measure each processor's clock before they describe it, which takes 20 ms."""
    first = kept()
    again = kept(cpuinfo="")
    assert again["cpu"] == first["cpu"] and again["cpu"]["flags"] == ["asimd", "fp", "sve"]
    assert again["cores"] == first["cores"] and again["virtualisation"] == first["virtualisation"]
    assert os.listdir(kept.folder) == ["machine-m-1.json"]


def test_another_boot_asks_again(kept):
    """The disk may be in another machine by then."""
    kept()
    assert isinstance(kept(boot_id="b2", cpuinfo="")["cpu"]["flags"], Unavailable)


def test_cores_that_were_switched_off_are_noticed(kept):
    """That needs no boot."""
    kept()
    write_tree(kept.root, {"/sys/devices/system/cpu/online": "0-1\n"})
    assert kept()["cores"]["logical"] == 2


def test_without_a_boot_s_id_nothing_is_kept(kept):
    """Nobody could tell when it is out of date."""
    kept(boot_id=None)
    assert not kept.folder.exists()


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"made_for": 1}', "cut", "fields"])
def test_a_damaged_file_is_made_anew(kept, damage):
    """A machine that crashed may leave half a file; a run must not care."""
    first = kept()
    path = kept.folder / "machine-m-1.json"
    if damage == "cut":
        damage = path.read_text()[:-40]
    elif damage == "fields":
        damage = json.dumps({**json.loads(path.read_text()), "cpu": {}})
    path.write_text(damage)
    assert kept()["cpu"] == first["cpu"]
    assert json.loads(path.read_text())["cpu"]["flags"] == ["asimd", "fp", "sve"]


def test_a_folder_that_cannot_be_written_is_no_obstacle(kept, caplog):
    """Home folders run full."""
    kept.folder.write_text("a file where the folder should be")
    with caplog.at_level("INFO", logger="capture"):
        assert kept()["cpu"]["vendor"] == "0x41"
    assert "cannot be kept" in caplog.text


def test_what_one_run_does_to_its_facts_is_not_seen_by_the_next():
    """Hundreds of runs of one process are told the same."""
    first = machine.machine_facts()
    first["cpu"]["vendor"] = "changed"
    if isinstance(first["cpu"]["flags"], list):
        first["cpu"]["flags"].append("changed")
    assert "changed" not in json.dumps(plain(machine.machine_facts()["cpu"]))
