"""NVIDIA's GPUs: NVML where its library loads, else ``nvidia-smi``."""

from __future__ import annotations

import os
import sys

from capture.hooks import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_DEVICES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg")  # the last one: Windows' subsystem for Linux
_LIBRARIES = ("libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1")
_NO_PERMISSION = 4  # NVML_ERROR_NO_PERMISSION
_MIB = 2**20

_found: list[dict[str, Any]] = []  # what the driver answered, once it has


def gpu_facts(timeout_s: float = 5.0) -> dict[str, Any] | Unavailable:
    """Describe the GPUs of this machine, under Sacred's keys.

    Parameters
    ----------
    timeout_s : float
        How long ``nvidia-smi`` may take, in seconds, where it has to be asked.

    Returns
    -------
    dict or Unavailable
        ``{"driver_version": str, "gpus": [{"model": str, "total_memory": int, "persistence_mode": bool}]}``, memory in
        MiB. Of a card that is divided (MIG) and does not tell its own memory, that of the first part.

    Notes
    -----
    A machine without a driver is told by one look into /dev, without loading or starting anything. What was found is
    kept for the life of the process.
    """
    if not driver_present():
        return Unavailable("no NVIDIA driver")
    if not _found:
        facts = _ask_driver(timeout_s)
        if isinstance(facts, Unavailable):
            return facts
        _found.append(facts)
    return {**_found[0], "gpus": [dict(gpu) for gpu in _found[0]["gpus"]]}


def _ask_driver(timeout_s: float) -> dict[str, Any] | Unavailable:
    try:
        return facts_from_nvml(_load_nvml())
    except OSError as error:
        reason = str(error)
    facts = facts_from_smi(timeout_s)
    return facts if isinstance(facts, dict) else Unavailable(f"{reason}; {facts.reason}")


def driver_present() -> bool:
    """Say whether this machine has NVIDIA's driver, as far as one look tells."""
    if sys.platform == "win32":
        from shutil import which

        return which("nvidia-smi") is not None
    return any(os.path.exists(device) for device in _DEVICES)


# ----------------------------------------------------------------------------------------------------------------- NVML


def _load_nvml() -> Any:
    """Load NVML, or raise OSError."""
    import ctypes

    if sys.platform == "win32":
        return ctypes.CDLL("nvml.dll")
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            reason = error
    raise reason


def facts_from_nvml(nvml: Any) -> dict[str, Any]:
    """Ask NVML.

    Parameters
    ----------
    nvml : ctypes.CDLL

    Returns
    -------
    dict
        As `gpu_facts` does.

    Raises
    ------
    OSError
        If a question that cannot be left out is refused, or the library lacks it.
    """
    import ctypes

    try:
        _ask(nvml.nvmlInit_v2)
        try:
            count = ctypes.c_uint()
            _ask(nvml.nvmlDeviceGetCount_v2, ctypes.byref(count))
            return {
                "driver_version": _text(nvml.nvmlSystemGetDriverVersion),
                "gpus": [_device_facts(nvml, index) for index in range(count.value)],
            }
        finally:
            nvml.nvmlShutdown()
    except AttributeError as error:
        raise OSError(f"NVML is too old: {error}") from error


class _NVMLError(OSError):
    """NVML answered with an error; `code` is its number."""

    def __init__(self, question: str, code: int) -> None:
        super().__init__(f"{question} of NVML failed with code {code}")
        self.code = code


def _ask(question: Callable[..., int], *arguments: Any) -> None:
    code = question(*arguments)
    if code != 0:
        raise _NVMLError(getattr(question, "__name__", "a call"), code)


def _text(question: Callable[..., int], *arguments: Any) -> str:
    import ctypes

    buffer = ctypes.create_string_buffer(256)
    _ask(question, *arguments, buffer, ctypes.c_uint(256))
    return buffer.value.decode("utf-8", "replace")


def _device_facts(nvml: Any, index: int) -> dict[str, Any]:
    import ctypes

    device, mode = ctypes.c_void_p(), ctypes.c_uint()
    _ask(nvml.nvmlDeviceGetHandleByIndex_v2, ctypes.c_uint(index), ctypes.byref(device))
    # Windows has no persistence mode and says so with an error.
    persistent = nvml.nvmlDeviceGetPersistenceMode(device, ctypes.byref(mode)) == 0 and mode.value == 1
    return {
        "model": _text(nvml.nvmlDeviceGetName, device),
        "total_memory": _memory_mib(nvml, device),
        "persistence_mode": persistent,
    }


def _memory_mib(nvml: Any, device: Any) -> int:
    import ctypes

    memory = (ctypes.c_ulonglong * 3)()  # nvmlMemory_t: total, free, used
    try:
        _ask(nvml.nvmlDeviceGetMemoryInfo, device, ctypes.byref(memory))
    except _NVMLError as error:
        if error.code != _NO_PERMISSION:
            raise
        # Whoever was given only a part of a divided card may not ask the card, but the part.
        part = ctypes.c_void_p()
        _ask(nvml.nvmlDeviceGetMigDeviceHandleByIndex, device, ctypes.c_uint(0), ctypes.byref(part))
        _ask(nvml.nvmlDeviceGetMemoryInfo, part, ctypes.byref(memory))
    return memory[0] // _MIB


# ----------------------------------------------------------------------------------------------------------- nvidia-smi


def facts_from_smi(timeout_s: float = 5.0) -> dict[str, Any] | Unavailable:
    """Ask ``nvidia-smi -q -x`` and wait for its answer `timeout_s` seconds at most."""
    import subprocess

    try:
        answer = subprocess.run(
            ["nvidia-smi", "-q", "-x"], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=True
        )
    except subprocess.TimeoutExpired:
        return Unavailable(f"nvidia-smi did not answer within {timeout_s:g} s")
    except subprocess.CalledProcessError as error:
        return Unavailable(f"nvidia-smi ended with code {error.returncode}")
    except OSError as error:
        return Unavailable(f"nvidia-smi cannot be started: {error.strerror or error}")
    return parse_smi(answer.stdout.decode("utf-8", "replace"))


def parse_smi(xml: str) -> dict[str, Any] | Unavailable:
    """Take the facts from what ``nvidia-smi -q -x`` printed."""
    from xml.etree import ElementTree

    try:
        log = ElementTree.fromstring(xml)
        facts: dict[str, Any] = {"gpus": [_parse_gpu(gpu) for gpu in log.iter("gpu")]}
    except (ElementTree.ParseError, ValueError) as error:
        return Unavailable(f"the answer of nvidia-smi is not understood: {error}")
    driver = log.findtext("driver_version")
    return {"driver_version": driver, **facts} if driver else facts


def _parse_gpu(gpu: Any) -> dict[str, Any]:
    total = gpu.findtext("fb_memory_usage/total") or ""
    if not total[:1].isdigit():  # "Insufficient Permissions": only the part of the divided card may be asked
        total = gpu.findtext("mig_devices/mig_device/fb_memory_usage/total") or total
    number, _, unit = total.partition(" ")
    if not number.isdigit():
        raise ValueError(f"memory of {total!r}")
    if unit.strip() not in ("MiB", ""):
        raise ValueError(f"memory in {unit!r}")
    return {
        "model": gpu.findtext("product_name"),
        "total_memory": int(number),
        "persistence_mode": gpu.findtext("persistence_mode") == "Enabled",
    }
