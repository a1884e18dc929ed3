"""What machine and process are doing while a run goes on: processor, memory, disk, network and GPUs, now and then."""

from __future__ import annotations

import os
import sys
import threading
import time

from capture.complaints import logger
from capture.probes._files import pairs, read, read_number
from capture.unwatched import LibraryThread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Source = tuple[str, Callable[[], dict[str, float]]]  # what it is called in the log, and what measures

STOP_WAIT_S = 1.0  #: how long `SystemMetrics.stop` waits for a measurement that has begun
_SHORTEST_S = 0.5  #: a rate over less is mostly noise: processors count in ticks of 10 ms
_MOST_PROCESSES = 512  #: of a process and its descendants that are measured
_SECTOR = 512  #: bytes; the unit of /proc/diskstats, whatever the disk's own is


class SystemMetrics:
    """Measures, in threads of its own, what machine and process are doing.

    Parameters
    ----------
    log : callable
        ``log(values)`` with name to number: the measurements of one moment. It is called from one thread at a time.
    interval_s : float
        Seconds between measurements, > 0.
    gpus : bool
        Whether to measure GPUs, too.
    root : str
        Stands before the paths that are read. A tree of files made for a test is read as Linux' on every system.

    Attributes
    ----------
    elapsed_s : float
        Seconds since `start`: the step of what is logged now.

    Raises
    ------
    ValueError
        If `interval_s` is not positive.

    Notes
    -----
    Names: ``system/cpu_percent`` (of all processors together), ``system/memory_used_bytes``,
    ``system/memory_percent``, ``system/process_cpu_percent`` (of this process and its descendants; 100 is one
    processor), ``system/process_memory_bytes``, ``system/children_memory_bytes`` (of descendants; what they share is
    counted for each), ``system/disk_read_bytes_per_s``, ``system/disk_written_bytes_per_s``,
    ``system/network_received_bytes_per_s``, ``system/network_sent_bytes_per_s``, and for each GPU, numbered as by
    `capture.probes.gpu.gpu_details`, ``system/gpu0_utilization_percent`` and ``system/gpu0_memory_used_bytes``.

    The first measurement is made at once, so that also a short run has one; rates are there from the second one on.
    What cannot be measured is logged once and left out from then on. A forked child measures nothing.
    """

    def __init__(
        self, log: Callable[[dict[str, float]], None], interval_s: float, gpus: bool = True, root: str = ""
    ) -> None:
        if not interval_s > 0:
            raise ValueError(f"interval_s must be positive (seconds), got {interval_s!r}")
        self._log, self._interval_s, self._gpus, self._root = log, interval_s, gpus, root
        self._log_lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._pid = os.getpid()
        self._started = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started

    def start(self) -> None:
        """Begin to measure; returns at once."""
        self._pid, self._started = os.getpid(), time.monotonic()
        self._stopping.clear()
        work = [("capture-system", lambda: _sources(self._root))]
        if self._gpus:
            # Their driver may hang, which must not keep the rest from being measured.
            from capture.probes import gpu

            if gpu.driver_present() or gpu.amd_folders(self._root):
                work.append(("capture-gpus", lambda: _gpu_sources(self._root)))
        self._threads = [LibraryThread(target=self._work, name=name, args=(find,)) for name, find in work]
        for thread in list(self._threads):
            try:
                thread.start()
            except RuntimeError as error:  # too many threads; or the interpreter is going down
                self._threads.remove(thread)
                _logger().warning("system metrics are not measured: %s", error)

    def stop(self) -> None:
        """Measure once more if the last time is a while ago, and end; waits `STOP_WAIT_S` at most."""
        if os.getpid() != self._pid:  # a fork takes no threads along
            return
        self._stopping.set()
        until = time.monotonic() + STOP_WAIT_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                _logger().warning("the thread %s has not ended: what it measures does not answer", thread.name)
        self._threads = []

    def _work(self, find: Callable[[], list[Source]]) -> None:
        try:
            sources = find()
        except Exception as error:  # noqa: BLE001 - whatever a driver's library raises, the run goes on
            _logger().warning("system metrics are not wholly measured: %s", error, exc_info=True)
            return
        number = 0
        while self._measure(sources):
            measured = time.monotonic()
            number = max(number + 1, int((measured - self._started) / self._interval_s) + 1)  # none is made up for
            due = self._started + number * self._interval_s
            if self._stopping.wait(max(0.0, due - measured)):
                if time.monotonic() - measured >= _SHORTEST_S:
                    self._measure(sources)
                return

    def _measure(self, sources: list[Source]) -> bool:
        """Log the measurements of now; forget sources that fail. Say whether it is worth going on."""
        values: dict[str, float] = {}
        for source in list(sources):
            name, measure = source
            try:
                values.update(measure())
            except Exception as error:  # noqa: BLE001 - logged, once: the source is not asked again
                sources.remove(source)
                _logger().warning("%s is no longer measured: %s: %s", name, type(error).__name__, error)
        if values:
            try:
                with self._log_lock:
                    self._log({f"system/{name}": value for name, value in values.items()})
            except Exception:
                logger = _logger()
                logger.exception("system metrics cannot be logged, and are no longer measured")
                return False
        return bool(sources)


def _logger() -> Any:
    return logger()


class _PerSecond:
    """Makes rates of counts.

    Parameters
    ----------
    count : callable
        Returns name to count.
    finish : callable, optional
        Makes what is measured of name to count per second.
    """

    def __init__(
        self, count: Callable[[], dict[str, float]], finish: Callable[[dict[str, float]], dict[str, float]] = dict
    ) -> None:
        self._count, self._finish = count, finish
        self._before: tuple[float, dict[str, float]] | None = None

    def __call__(self) -> dict[str, float]:
        now = time.monotonic(), self._count()
        before, self._before = self._before, now
        if before is None or now[0] <= before[0]:
            return {}
        span = now[0] - before[0]
        # A count that fell begins anew: a disk was taken out, or a child ended for which nobody had waited yet.
        rates = {
            name: max(0.0, (count - before[1][name]) / span) for name, count in now[1].items() if name in before[1]
        }
        return self._finish(rates)


def _sources(root: str) -> list[Source]:
    """Return what can be measured here, but for GPUs."""
    if root or sys.platform == "linux":
        # psutil would do the same, and takes 20 ms to import.
        return [
            ("the processor", _PerSecond(lambda: _cpu_ticks(root), _cpu_percent)),
            ("the memory", lambda: _memory(root)),
            ("the process", _Process(root, os.getpid())),
            ("the disks", _PerSecond(_Disks(root))),
            ("the network", _PerSecond(_Network(root))),
        ]
    from importlib import import_module  # psutil has no types

    try:
        psutil = import_module("psutil")
    except (ImportError, NotImplementedError) as error:  # the latter: psutil does not know this system either
        _logger().info("of the system's metrics, only the process' time is measured; psutil would do more: %s", error)
        return [("the process", _PerSecond(_own_seconds, _as_process_percent))]
    return _psutil_sources(psutil)


# --------------------------------------------------------------------------------------------------------------- Linux


def _cpu_ticks(root: str) -> dict[str, float]:
    line = (read(root + "/proc/stat", 512) or "").partition("\n")[0].split()
    # user nice system idle iowait irq softirq steal; guests are counted in the first two already
    ticks = [int(word) for word in line[1:9]]
    return {"total": sum(ticks), "idle": sum(ticks[3:5])}


def _cpu_percent(rates: dict[str, float]) -> dict[str, float]:
    total, idle = rates["total"], rates["idle"]
    if total <= 0:
        return {}
    # Linux's count of time spent waiting for disks may go backwards, and a quotient of equals may end in ...01.
    return {"cpu_percent": 100.0 * min(1.0, max(0.0, (total - idle) / total))}


def _memory(root: str) -> dict[str, float]:
    told = pairs(read(root + "/proc/meminfo"))
    total, available = (int(told[name].partition(" ")[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    return {"memory_used_bytes": total - available, "memory_percent": 100.0 * ((total - available) / total)}


class _Process:
    """Time and memory of a process and its descendants."""

    def __init__(self, root: str, pid: int) -> None:
        self._processes, self._pid = root + "/proc", pid
        self._page, self._tick_s = 4096, 0.01
        if sys.platform != "win32":
            self._page, self._tick_s = os.sysconf("SC_PAGE_SIZE"), 1 / os.sysconf("SC_CLK_TCK")
        self._memory: dict[str, float] = {}
        self._rate = _PerSecond(self._seconds, _as_process_percent)

    def __call__(self) -> dict[str, float]:
        return {**self._rate(), **self._memory}

    def _seconds(self) -> dict[str, float]:
        own, ticks = self._stat(self._pid)
        memory, families = 0, 0
        for pid in self._descendants():
            try:
                resident, used = self._stat(pid)
            except LookupError:  # it has ended since it was listed
                continue
            memory, ticks, families = memory + resident, ticks + used, families + 1
        self._memory = {"process_memory_bytes": own}
        if families:
            self._memory["children_memory_bytes"] = memory
        return {"seconds": ticks * self._tick_s}

    def _stat(self, pid: int) -> tuple[int, int]:
        """Return resident bytes, and ticks of the process and of those descendants that it has waited for."""
        text = read(f"{self._processes}/{pid}/stat", 4096) or ""
        # The program's name in brackets may hold blanks and brackets: count from the last one.
        fields = text[text.rfind(")") + 2 :].split()
        return int(fields[21]) * self._page, sum(int(field) for field in fields[11:15])

    def _descendants(self) -> Iterator[int]:
        """Yield the numbers of children and their children, as far as this kernel lists them."""
        waiting, seen = [self._pid], {self._pid}
        while waiting and len(seen) < _MOST_PROCESSES:
            for child in self._children(waiting.pop()):
                if child not in seen:
                    seen.add(child)
                    waiting.append(child)
                    yield child

    def _children(self, pid: int) -> list[int]:
        tasks = f"{self._processes}/{pid}/task"
        try:
            threads = os.listdir(tasks)
        except OSError:  # it has ended
            return []
        found = " ".join(read(f"{tasks}/{thread}/children") or "" for thread in threads)
        return [int(word) for word in found.split()]


class _Disks:
    """Bytes read from and written to disks; not to their parts, nor to what is laid over them, which are the same."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._is_disk: dict[str, bool] = {}

    def __call__(self) -> dict[str, float]:
        sectors_read = sectors_written = 0
        for line in (read(self._root + "/proc/diskstats", 2**20) or "").splitlines():
            fields = line.split()
            name = fields[2]
            if name not in self._is_disk:
                self._is_disk[name] = os.path.exists(f"{self._root}/sys/block/{name.replace('/', '!')}/device")
            if self._is_disk[name]:
                sectors_read, sectors_written = sectors_read + int(fields[5]), sectors_written + int(fields[9])
        return {
            "disk_read_bytes_per_s": sectors_read * _SECTOR,
            "disk_written_bytes_per_s": sectors_written * _SECTOR,
        }


class _Network:
    """Bytes received and sent; by devices rather than by what is laid over them, where there are devices."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._is_device: dict[str, bool] = {}

    def __call__(self) -> dict[str, float]:
        counts = {}
        for line in (read(self._root + "/proc/self/net/dev", 2**20) or "").splitlines()[2:]:
            name, _, numbers = line.partition(":")
            name, fields = name.strip(), numbers.split()
            if name not in self._is_device:
                self._is_device[name] = os.path.exists(f"{self._root}/sys/class/net/{name}/device")
            counts[name] = int(fields[0]), int(fields[8])
        # In a container there is but one end of a pipe of the kernel's.
        devices = [name for name in counts if self._is_device[name]] or [name for name in counts if name != "lo"]
        return {
            "network_received_bytes_per_s": sum(counts[name][0] for name in devices),
            "network_sent_bytes_per_s": sum(counts[name][1] for name in devices),
        }


# ------------------------------------------------------------------------------------------------------- other systems


def _own_seconds() -> dict[str, float]:
    return {"seconds": sum(os.times()[:4])}


def _as_process_percent(rates: dict[str, float]) -> dict[str, float]:
    return {"process_cpu_percent": 100.0 * rates["seconds"]}


def _psutil_sources(psutil: Any) -> list[Source]:
    process = psutil.Process()

    def processor() -> dict[str, float]:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        return {"total": sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0), "idle": idle}

    def memory() -> dict[str, float]:
        found = psutil.virtual_memory()
        used = found.total - found.available
        return {"memory_used_bytes": used, "memory_percent": 100.0 * (used / found.total)}

    def seconds() -> dict[str, float]:
        total = sum(process.cpu_times()[:4])
        for child in process.children(recursive=True)[:_MOST_PROCESSES]:
            try:
                total += sum(child.cpu_times()[:4])
            except psutil.Error:  # it has ended, or is somebody else's
                continue
        return {"seconds": total}

    def own_memory() -> dict[str, float]:
        return {"process_memory_bytes": process.memory_info().rss}

    def disks() -> dict[str, float]:
        found = psutil.disk_io_counters()  # None where there is no disk
        return (
            {"disk_read_bytes_per_s": found.read_bytes, "disk_written_bytes_per_s": found.write_bytes} if found else {}
        )

    def network() -> dict[str, float]:
        found = psutil.net_io_counters()
        received, sent = (found.bytes_recv, found.bytes_sent) if found else (0, 0)
        return {"network_received_bytes_per_s": received, "network_sent_bytes_per_s": sent}

    return [
        ("the processor", _PerSecond(processor, _cpu_percent)),
        ("the memory", memory),
        ("the process", _PerSecond(seconds, _as_process_percent)),
        ("the process' memory", own_memory),
        ("the disks", _PerSecond(disks)),
        ("the network", _PerSecond(network)),
    ]


# ---------------------------------------------------------------------------------------------------------------- GPUs


def _gpu_sources(root: str) -> list[Source]:
    from capture.probes import gpu

    sources: list[Source] = []
    if gpu.driver_present():
        try:
            sources += _nvidia_sources()
        except (OSError, AttributeError) as error:
            _logger().warning("NVIDIA's GPUs are not measured: %s", error)
    for number, folder in enumerate(gpu.amd_folders(root), len(sources) // 2):
        sources.append((f"GPU {number}", _amd_source(number, folder)))
    return sources


def _nvidia_sources() -> list[Source]:
    """Open NVML and return a source for each number. It stays open: a driver that is let go of may fall asleep."""
    from capture.probes import nvml

    library = nvml.load()
    nvml.ask(library.nvmlInit_v2)
    sources: list[Source] = []
    for number, device in enumerate(nvml.devices(library)):

        def utilization(number: int = number, device: Any = device) -> dict[str, float]:
            return {f"gpu{number}_utilization_percent": nvml.utilization_percent(library, device)}

        def memory(number: int = number, device: Any = device) -> dict[str, float]:
            return {f"gpu{number}_memory_used_bytes": nvml.memory(library, device)[1]}

        sources += [(f"the utilization of GPU {number}", utilization), (f"the memory of GPU {number}", memory)]
    return sources


def _amd_source(number: int, folder: str) -> Callable[[], dict[str, float]]:
    def measure() -> dict[str, float]:
        busy, used = read_number(folder + "/gpu_busy_percent"), read_number(folder + "/mem_info_vram_used")
        found = {f"gpu{number}_utilization_percent": busy, f"gpu{number}_memory_used_bytes": used}
        values: dict[str, float] = {name: value for name, value in found.items() if value is not None}
        if not values:
            raise OSError(f"{folder} tells nothing of it")
        return values

    return measure
