"""What machine and process do while a run goes on: on this machine, and on machines that are played by trees of files."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import psutil
import pytest

from capture.probes import gpu, nvml, system
from capture.probes.system import SystemMetrics
from capture.unwatched import IDENTS
from tests.probes.nvml_library import compile_nvml, needs_compiler
from tests.probes.trees import write_tree

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of this machine")


@pytest.fixture(autouse=True)
def no_gpus(monkeypatch):
    """What GPUs the machine of the tests has must not matter."""
    monkeypatch.setattr(gpu, "driver_present", lambda: False)
    monkeypatch.setattr(gpu, "amd_folders", lambda root="": [])


class Log(list):
    """Takes measurements, and lets a test wait for them."""

    def __init__(self):
        self._more = threading.Condition()
        self.in_library_thread = []

    def __call__(self, values):
        with self._more:
            self.in_library_thread.append(threading.get_ident() in IDENTS)
            self.append(dict(values))
            self._more.notify_all()

    def wait_for(self, wanted):
        """Wait until what is logged pleases `wanted`."""
        with self._more:
            assert self._more.wait_for(lambda: wanted(self), timeout=60), list(self)


@pytest.fixture
def measured(request):
    """Return a function that starts measuring, and stop it in the end."""
    started = []

    def start(log, interval_s=0.01, **options):
        metrics = SystemMetrics(log, interval_s, **options)
        metrics.start()
        started.append(metrics)
        return metrics

    yield start
    for metrics in started:
        metrics.stop()


class Clock:
    """Stands for time.monotonic: goes on when told."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(system.time, "monotonic", lambda: self.now)


# ------------------------------------------------------------------------------------------------------------ on the way


@LINUX
def test_this_machine_is_measured(measured):
    """Names, units and ranges are what is plotted."""
    log = Log()
    metrics = measured(log)
    log.wait_for(lambda values: any("system/cpu_percent" in v and "system/disk_read_bytes_per_s" in v for v in values))
    metrics.stop()
    assert {name for values in log for name in values} <= {
        *("system/cpu_percent", "system/memory_used_bytes", "system/memory_percent"),
        *("system/process_cpu_percent", "system/process_memory_bytes", "system/children_memory_bytes"),
        *("system/disk_read_bytes_per_s", "system/disk_written_bytes_per_s"),
        *("system/network_received_bytes_per_s", "system/network_sent_bytes_per_s"),
    }
    for values in log:
        assert all(value >= 0 for value in values.values())
        assert values.get("system/cpu_percent", 0) <= 100 and values.get("system/memory_percent", 0) <= 100
    assert all(log.in_library_thread), "what this library reads would be the run's input"


@LINUX
def test_a_run_that_is_over_at_once_has_a_measurement(measured):
    """How much memory was in use can be said without waiting."""
    log = Log()
    measured(log, interval_s=3600)
    log.wait_for(lambda values: len(values) == 1)
    assert {"system/memory_used_bytes", "system/process_memory_bytes"} <= set(log[0])
    assert "system/cpu_percent" not in log[0]


@LINUX
def test_the_time_since_the_last_measurement_is_not_lost(measured, monkeypatch):
    """The end of a run is when it ran out of memory."""
    monkeypatch.setattr(system, "_SHORTEST_S", 0.0)
    log = Log()
    metrics = measured(log, interval_s=3600)
    log.wait_for(lambda values: len(values) == 1)
    metrics.stop()
    assert len(log) == 2 and "system/disk_read_bytes_per_s" in log[1]


@LINUX
def test_nothing_is_measured_after_the_end(measured):
    """The record is closed by then."""
    log = Log()
    metrics = measured(log)
    log.wait_for(lambda values: len(values) > 2)
    metrics.stop()
    count = len(log)
    assert not [thread for thread in threading.enumerate() if thread.name == "capture-system"]
    metrics.stop()
    assert len(log) == count


def test_the_step_is_the_time_since_the_start(monkeypatch):
    """So that series of runs that began at different times lie over each other."""
    clock = Clock(monkeypatch)
    metrics = SystemMetrics(Log(), 1.0)
    clock.now += 7.5
    assert metrics.elapsed_s == 7.5


@pytest.mark.parametrize("interval_s", [0, -1.0, float("nan")])
def test_an_interval_that_is_none_is_refused(interval_s):
    """It would measure without a pause."""
    with pytest.raises(ValueError, match="interval_s must be positive"):
        SystemMetrics(Log(), interval_s)


def test_a_source_that_fails_is_dropped_once_and_logged(measured, monkeypatch, caplog):
    """A disk that is taken out must not fill the log, nor stop the rest."""

    def fails():
        raise OSError("gone")

    monkeypatch.setattr(system, "_sources", lambda root: [("the disks", fails), ("the rest", lambda: {"rest": 1.0})])
    log = Log()
    metrics = measured(log)
    log.wait_for(lambda values: len(values) > 3)
    metrics.stop()
    assert set(log[0]) == {"system/rest"}
    assert caplog.text.count("the disks is no longer measured: OSError: gone") == 1


def test_a_log_that_fails_ends_it(measured, monkeypatch, caplog):
    """A run that cannot record numbers must not be told so for ever."""
    calls = []

    def log(values):
        calls.append(values)
        raise ValueError("the run is over")

    monkeypatch.setattr(system, "_sources", lambda root: [("the rest", lambda: {"rest": 1.0})])
    metrics = measured(log)
    (thread,) = metrics._threads
    thread.join(60)
    assert not thread.is_alive() and len(calls) == 1
    assert "system metrics cannot be logged" in caplog.text and "the run is over" in caplog.text


def test_a_source_that_hangs_does_not_hold_up_the_end(measured, monkeypatch, caplog):
    """The end of a run is not the place to wait for a broken driver."""
    release, hanging = threading.Event(), threading.Event()

    def hang():
        hanging.set()
        release.wait(30)
        return {}

    monkeypatch.setattr(system, "STOP_WAIT_S", 0.05)
    monkeypatch.setattr(system, "_sources", lambda root: [("the disks", hang)])
    metrics = measured(Log())
    assert hanging.wait(60)
    (thread,) = metrics._threads
    metrics.stop()
    assert "has not ended" in caplog.text and thread.daemon
    release.set()
    thread.join(60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked there")
def test_a_forked_child_measures_nothing_and_stops_at_once(measured):
    """It has the object, but not its thread, and its parent measures it already."""
    metrics = measured(Log(), interval_s=3600)
    pid = os.fork()
    if pid == 0:
        metrics.stop()
        os._exit(0 if not metrics._stopping.is_set() else 1)
    assert os.waitpid(pid, 0)[1] == 0


# ------------------------------------------------------------------------------------------------------------------ Linux


def test_the_processor_s_share_leaves_waiting_out(tmp_path, monkeypatch):
    """A machine that waits for its disk is idle; guests are counted once."""
    clock = Clock(monkeypatch)
    root = write_tree(tmp_path, {"/proc/stat": "cpu  100 0 100 800 0 0 0 0 50 0\ncpu0 1 1\n"})
    share = dict(system._sources(root))["the processor"]
    assert share() == {}
    clock.now += 2
    write_tree(tmp_path, {"/proc/stat": "cpu  150 0 110 820 15 5 0 0 90 0\ncpu0 1 1\n"})
    assert share() == {"cpu_percent": 65.0}
    clock.now += 2
    assert share() == {}, "a clock that stands still tells nothing"


def test_memory_in_use_is_what_is_not_available(tmp_path):
    """What the system holds as a cache is as good as free."""
    root = write_tree(tmp_path, {"/proc/meminfo": "MemTotal: 1000 kB\nMemFree: 10 kB\nMemAvailable: 750 kB\n"})
    assert dict(system._sources(root))["the memory"]() == {"memory_used_bytes": 256_000, "memory_percent": 25.0}


@pytest.mark.parametrize(("idle", "waiting", "percent"), [(75, 0, 25.0), (0, 0, 100.0), (0, -1, 100.0)])
def test_the_processors_share_is_a_share(tmp_path, monkeypatch, idle, waiting, percent):
    """Linux documents that its count of waiting for disks may decrease; and 100.0 * x / x need not be 100.0."""
    clock = Clock(monkeypatch)
    before = "cpu 1000 0 0 1000 1000 0 0 0 0 0\n"
    processor = dict(system._sources(write_tree(tmp_path, {"/proc/stat": before})))["the processor"]
    assert processor() == {}
    clock.now += 1.1
    busy = 100 - idle
    write_tree(tmp_path, {"/proc/stat": f"cpu {1000 + busy} 0 0 {1000 + idle} {1000 + waiting} 0 0 0 0 0\n"})
    measured = processor()["cpu_percent"]
    assert measured == pytest.approx(percent) and 0 <= measured <= 100


def stat(name, user=0, kernel=0, children=0, pages=1):
    return f"7 ({name}) S 1 7 7 0 -1 4194560 0 0 0 0 {user} {kernel} {children} 0 20 0 1 0 5 9999 {pages} 18446744073709551615 0\n"


def test_a_process_is_measured_with_its_descendants(tmp_path, monkeypatch):
    """A training run's loaders do much of its work. One that ends hands its time to whoever waits for it."""
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_CLK_TCK": 100}.__getitem__, raising=False)
    clock = Clock(monkeypatch)
    processes = {
        "/proc/7/stat": stat("py (th) on", user=100, pages=10),
        "/proc/7/task/7/children": "8 ",
        "/proc/7/task/70/children": "9 10 ",
        "/proc/8/stat": stat("loader", user=50, pages=3),
        "/proc/8/task/8/children": "11 ",
        "/proc/11/stat": stat("helper", kernel=20, pages=2),
        "/proc/11/task/11/children": "",
        "/proc/9/task/9/children": "",
    }
    root = write_tree(tmp_path, processes)  # 9 and 10 have ended since they were listed
    process = system._Process(root, 7)
    assert process() == {"process_memory_bytes": 40960, "children_memory_bytes": 5 * 4096}
    clock.now += 1
    os.remove(tmp_path / "proc" / "8" / "stat")
    os.remove(tmp_path / "proc" / "11" / "stat")
    write_tree(tmp_path, {"/proc/7/stat": stat("py", user=150, children=100, pages=10)})
    assert process() == {"process_memory_bytes": 40960, "process_cpu_percent": pytest.approx(80.0)}
    clock.now += 1
    write_tree(tmp_path, {"/proc/7/stat": stat("py", user=10, pages=10)})
    assert process()["process_cpu_percent"] == 0, "time that fell is no negative share"


@LINUX
def test_a_child_that_works_shows_in_its_parent_s_share():
    """The kernel's own list of children is used; without it only those that ended would count."""
    code = "print(flush=True)\nwhile True: pass"
    child = subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
            pytest.skip("this kernel lists no children")
        process = system._Process("", os.getpid())
        begun, own = time.monotonic(), sum(os.times()[:2])
        process()
        worked = psutil.Process(child.pid).cpu_times().user
        until = time.monotonic() + 60
        while psutil.Process(child.pid).cpu_times().user < worked + 0.5 and time.monotonic() < until:
            time.sleep(0.05)
        values = process()
        lasted_s, own_s = time.monotonic() - begun, sum(os.times()[:2]) - own
        assert values["children_memory_bytes"] > 1_000_000
        assert values["process_cpu_percent"] / 100 * lasted_s > own_s + 0.3
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_disks_are_counted_once(tmp_path, monkeypatch):
    """A byte in a volume on a part of a disk is listed three times."""
    clock = Clock(monkeypatch)

    def diskstats(sectors):
        lines = [
            ("8 0 sda", sectors),
            ("8 1 sda1", sectors),
            ("253 0 dm-0", sectors),
            ("7 0 loop0", 9),
            ("259 0 nvme0n1", 0),
        ]
        return "".join(f" {name} 1 0 {number} 0 1 0 {2 * number} 0 0 0 0\n" for name, number in lines)

    disks = {f"/sys/block/{name}/device/": "" for name in ("sda", "nvme0n1")}
    root = write_tree(tmp_path, {"/proc/diskstats": diskstats(0), "/sys/block/dm-0/": "", **disks})
    rates = dict(system._sources(root))["the disks"]
    assert rates() == {}
    clock.now += 4
    write_tree(tmp_path, {"/proc/diskstats": diskstats(8)})
    assert rates() == {"disk_read_bytes_per_s": 1024, "disk_written_bytes_per_s": 2048}


NET = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes\n"


@pytest.mark.parametrize(
    ("devices", "expected"), [({"/sys/class/net/eth0/device/": ""}, (10.0, 1.0)), ({}, (10.0 + 1000.0, 1.0 + 100.0))]
)
def test_traffic_is_counted_once_and_not_within_the_machine(tmp_path, monkeypatch, devices, expected):
    """A container's traffic passes several devices of the kernel's; in the container there is only the last of them."""
    clock = Clock(monkeypatch)

    def dev(n):
        return NET + "".join(
            f"{name}: {factor * n} 0 0 0 0 0 0 0 {factor * n // 10} 0 0 0 0 0 0 0\n"
            for name, factor in (("    lo", 7), ("  eth0", 10), ("veth12", 1000))
        )

    root = write_tree(tmp_path, {"/proc/self/net/dev": dev(0), **devices})
    rates = dict(system._sources(root))["the network"]
    rates()
    clock.now += 10
    write_tree(tmp_path, {"/proc/self/net/dev": dev(10)})
    assert tuple(rates().values()) == expected


# ---------------------------------------------------------------------------------------------------------- other systems


def test_elsewhere_psutil_is_asked(monkeypatch):
    """macOS and Windows have no files to read."""

    class Gone(Exception):
        pass

    def gone():
        raise Gone

    times = SimpleNamespace
    children = [SimpleNamespace(cpu_times=lambda: (1.0, 1.0, 0.0, 0.0)), SimpleNamespace(cpu_times=gone)]
    state = SimpleNamespace(busy=10.0, idle=90.0, own=1.0, sent=0)
    psutil = SimpleNamespace(
        Error=Gone,
        Process=lambda: SimpleNamespace(
            cpu_times=lambda: (state.own, 0.0, 0.0, 0.0, 0.0),
            memory_info=lambda: SimpleNamespace(rss=4096),
            children=lambda recursive: children,
        ),
        cpu_times=lambda: CPU(state.busy, state.idle),
        virtual_memory=lambda: SimpleNamespace(total=1000, available=250),
        disk_io_counters=lambda: None,
        net_io_counters=lambda: SimpleNamespace(bytes_recv=5, bytes_sent=state.sent),
    )
    clock = Clock(monkeypatch)
    monkeypatch.setattr(system.sys, "platform", "darwin")
    monkeypatch.setitem(sys.modules, "psutil", psutil)
    sources = system._sources("")
    first = {name: value for _, measure in sources for name, value in measure().items()}
    assert first == {"memory_used_bytes": 750, "memory_percent": 75.0, "process_memory_bytes": 4096}
    clock.now += 2
    state.busy, state.idle, state.own, state.sent = 40.0, 100.0, 4.0, 30
    second = {name: value for _, measure in sources for name, value in measure().items()}
    assert second == {
        **first,
        "cpu_percent": 75.0,
        "process_cpu_percent": 150.0,
        "network_received_bytes_per_s": 0.0,
        "network_sent_bytes_per_s": 15.0,
    }


class CPU(tuple):
    """A tuple with names, as psutil's."""

    def __new__(cls, user, idle):
        return super().__new__(cls, (user, idle))

    idle = property(lambda self: self[1])


def test_without_psutil_there_is_still_the_process_time(monkeypatch, caplog):
    """Something is better than nothing, and the log says what would be more."""
    clock = Clock(monkeypatch)
    monkeypatch.setattr(system.sys, "platform", "darwin")
    monkeypatch.setitem(sys.modules, "psutil", None)
    with caplog.at_level("INFO", logger="capture"):
        ((_, measure),) = system._sources("")
    assert "psutil would do more" in caplog.text
    measure()
    clock.now += 1
    assert set(measure()) == {"process_cpu_percent"}


# ------------------------------------------------------------------------------------------------------------------- GPUs


@needs_compiler
def test_gpus_are_measured_beside_the_rest(tmp_path, monkeypatch, measured, caplog):
    """A GPU that stands idle is the most expensive thing in the room. What one card does not tell, another may."""
    library = compile_nvml(tmp_path)
    monkeypatch.setattr(gpu, "driver_present", lambda: True)
    monkeypatch.setattr(nvml, "load", lambda: library)
    log = Log()
    metrics = measured(log)
    log.wait_for(lambda values: sum("system/gpu1_utilization_percent" in v for v in values) > 2)
    metrics.stop()
    values = next(values for values in reversed(log) if "system/gpu1_utilization_percent" in values)
    assert values == {
        "system/gpu0_memory_used_bytes": 2**20,
        "system/gpu1_utilization_percent": 42,
        "system/gpu1_memory_used_bytes": 2 * 2**20,
    }
    assert caplog.text.count("the utilization of GPU 0 is no longer measured") == 1


@needs_compiler
@pytest.mark.slow
def test_a_driver_that_hangs_keeps_nothing_else_from_being_measured(tmp_path, monkeypatch, measured):
    """It has a thread of its own."""
    library = compile_nvml(tmp_path, HANG=3000)
    monkeypatch.setattr(gpu, "driver_present", lambda: True)
    monkeypatch.setattr(nvml, "load", lambda: library)
    monkeypatch.setattr(system, "_sources", lambda root: [("the rest", lambda: {"rest": 1.0})])
    log = Log()
    measured(log)
    log.wait_for(lambda values: len(values) > 3)
    assert set(log[0]) == {"system/rest"}
    log.wait_for(lambda values: any("system/gpu0_memory_used_bytes" in v for v in values))


def test_a_driver_that_is_broken_is_logged(monkeypatch, measured, caplog):
    """Whoever looks for the GPU's curve finds out why there is none."""

    def load():
        raise OSError("libnvidia-ml.so.1: wrong ELF class")

    monkeypatch.setattr(gpu, "driver_present", lambda: True)
    monkeypatch.setattr(nvml, "load", load)
    assert system._gpu_sources("") == []
    assert "NVIDIA's GPUs are not measured: libnvidia-ml.so.1" in caplog.text


def test_gpus_can_be_left_out(monkeypatch, measured):
    """To ask them keeps them awake."""
    monkeypatch.setattr(gpu, "driver_present", lambda: pytest.fail("looked for"))
    monkeypatch.setattr(system, "_sources", lambda root: [("the rest", lambda: {"rest": 1.0})])
    log = Log()
    measured(log, gpus=False)
    log.wait_for(lambda values: len(values) > 1)


def test_amd_s_cards_are_measured_by_files(tmp_path, monkeypatch):
    """Their driver writes what NVIDIA's has to be asked for."""
    root = write_tree(
        tmp_path, {"/card/gpu_busy_percent": "37\n", "/card/mem_info_vram_used": "1048576\n", "/bare/": ""}
    )
    monkeypatch.setattr(gpu, "amd_folders", lambda root="": [root + "/card", root + "/bare"])
    (_, first), (_, second) = system._gpu_sources(root)
    assert first() == {"gpu0_utilization_percent": 37, "gpu0_memory_used_bytes": 2**20}
    with pytest.raises(OSError, match="tells nothing"):
        second()
