"""Facts about machine, system, processor and process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from capture import liveness
from capture.hooks import Unavailable
from capture.probes import cpu, host


def test_the_facts_are_those_of_the_platform_module():
    """Sacred's viewers show these strings; they must not change with how they are found."""
    facts = host.host_facts()
    assert facts["hostname"] == platform.node()
    assert facts["os"] == [platform.system(), platform.platform()]
    assert facts["python_version"] == platform.python_version()
    assert list(facts) == ["hostname", "os", "python_version", "cpu", "ENV"]


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        (("Linux", "5.15.0-1 (x)", "x86_64", "with", "glibc2.36"), "Linux-5.15.0-1_-x-x86_64-with-glibc2.36"),
        (("Linux", "6.1", "", "with", "musl1.2"), "Linux-6.1-with-musl1.2"),
        (("Linux", "unknown", "arm/64:a;b\"c\\d", "with", "x"), "Linux-arm-64-a-b-c-d-with-x"),
    ],
)
def test_odd_names_of_systems_are_joined_as_platform_joins_them(parts, joined):
    """Kernels are named by whoever builds them."""
    assert host._dashed(*parts) == joined == platform._platform(*parts)


def test_without_glibc_platform_is_asked(monkeypatch):
    """Alpine's libc does not tell its version as glibc does."""
    monkeypatch.setattr(host, "_glibc", lambda: None)
    assert host.os_facts() == [platform.system(), platform.platform()]


def test_only_named_variables_of_the_environment_are_recorded(monkeypatch):
    """The environment is full of secrets."""
    monkeypatch.setenv("LAB_QUEUE", "gpu")
    monkeypatch.delenv("LAB_OTHER", raising=False)
    assert host.host_facts(["LAB_QUEUE", "LAB_OTHER"])["ENV"] == {"LAB_QUEUE": "gpu"}


def test_gathering_the_facts_imports_nothing_slow():
    """They are gathered before every run, also the shortest."""
    code = (
        "import sys; from capture.probes import cpu, gpu, git, gather, getters, host, packages, sources\n"
        "host.host_facts(); host.machine_identity(); gpu.gpu_facts(); packages.discover_packages(strategy='sys')\n"
        "sources.discover_sources({}, '.', 'sys'); git.repository_facts(__import__('os').getcwd())\n"
        "print(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, env=_light())
    slow = "subprocess logging platform ctypes hashlib inspect dataclasses importlib.metadata urllib git cpuinfo xml"
    assert not set(slow.split()) & set(done.stdout.split())


def _light():
    return {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(os.path.dirname(host.__file__)))}


def test_what_could_not_be_seen_is_written_plainly():
    """Stores take plain data; a reason must survive in it."""
    facts = {"a": Unavailable("why"), "b": [{"c": Unavailable("x")}, (1, "y")], "d": None}
    assert host.plain(facts) == {"a": {"unavailable": "why"}, "b": [{"c": {"unavailable": "x"}}, [1, "y"]], "d": None}


# --------------------------------------------------------------------------------------------------------- the process


def test_a_process_knows_itself_again_and_differs_from_its_children():
    """Readers tell a living writer from another process that got the same number later."""
    code = "import json; from capture.probes.host import machine_identity as m; print(json.dumps(m()))"
    import json

    mine = host.machine_identity()
    theirs = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)
    assert mine == host.machine_identity()
    assert set(mine) == {"machine_id", "boot_id", "pid", "pid_start", "hostname"}
    assert mine["pid"] == os.getpid() and mine["hostname"] == platform.node()
    assert (theirs["machine_id"], theirs["boot_id"]) == (mine["machine_id"], mine["boot_id"])
    assert theirs["pid"] != mine["pid"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_child_is_another_process():
    """What is kept for speed must not make a child its parent."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, str(host.machine_identity()["pid"]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(reader, 20)) == child
    os.close(reader)
    os.close(writer)


def test_the_start_of_a_process_is_the_system_s_own_number():
    """psutil reads the same clock."""
    psutil = pytest.importorskip("psutil")
    if sys.platform != "linux":
        pytest.skip("other systems count in other units")
    started_s = host.process_start(os.getpid()) / os.sysconf("SC_CLK_TCK") + psutil.boot_time()
    assert abs(started_s - psutil.Process().create_time()) < 2


def test_a_process_that_is_gone_has_no_start():
    """The question is asked about processes that have died."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    assert host.process_start(done.pid) is None


def test_a_machine_without_an_id_is_known_by_its_name(monkeypatch):
    """Minimal containers have none, or one that says so."""
    for told in (None, "uninitialized"):
        monkeypatch.setattr(liveness, "_first_line", lambda path, told=told: told)
        if sys.platform == "linux":
            assert liveness._machine_id() == f"hostname:{platform.node()}"


# ------------------------------------------------------------------------------------------------------- the processor


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC 7B13\nmodel name\t: other\n", "AMD EPYC 7B13"),
        ("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n", "Neoverse-V1"),
        ("processor\t: 0\nCPU implementer\t: 0x99\nCPU part\t: 0x001\n", None),
        ("processor\t: 0\ncpu\t\t: POWER9, altivec supported\n", "POWER9, altivec supported"),
        ("", None),
    ],
)
def test_the_kernel_s_words_give_the_processor_s_name(tmp_path, text, name):
    """Each architecture has words of its own."""
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu._from_proc(str(tmp_path / "cpuinfo")) == name
    assert cpu._from_proc(str(tmp_path / "none")) is None


def test_where_the_kernel_is_silent_py_cpuinfo_is_asked_once(monkeypatch):
    """It takes a second or more; 200 runs in one process must not wait for it 200 times."""
    import cpuinfo

    calls = []
    monkeypatch.setattr(cpu, "_found", [])
    monkeypatch.setattr(cpu, "_from_proc", lambda: None)
    monkeypatch.setattr(cpuinfo, "get_cpu_info", lambda: calls.append(1) or {"brand_raw": "Some CPU"})
    monkeypatch.setattr(sys, "platform", "freebsd13")
    assert cpu.cpu_name() == cpu.cpu_name() == "Some CPU"
    assert calls == [1]


def test_where_nothing_tells_the_processor_it_is_unavailable(monkeypatch):
    """An unknown name is a fact with a reason, not an error."""
    monkeypatch.setitem(sys.modules, "cpuinfo", None)
    assert isinstance(cpu._from_py_cpuinfo(), Unavailable)
