"""NVML, the library of NVIDIA's driver, as far as it is asked here."""

from __future__ import annotations

import ctypes
import sys

from capture.hooks import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_LIBRARIES = ("libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1")
NO_PERMISSION = 4  #: NVML_ERROR_NO_PERMISSION
_NOT_FOUND = 6  # NVML_ERROR_NOT_FOUND
_MEANINGS = {3: "not supported", NO_PERMISSION: "no permission", _NOT_FOUND: "not found", 15: "the GPU is lost"}
_COMPUTE_MODES = ("default", "exclusive thread", "prohibited", "exclusive process")
MIB = 2**20


class NVMLError(OSError):
    """NVML answered with an error.

    Attributes
    ----------
    question : str
        The function's name.
    code : int
        NVML's number of the error.
    """

    def __init__(self, question: str, code: int) -> None:
        super().__init__(question, code)  # keeps it picklable
        self.question, self.code = question, code

    def __str__(self) -> str:
        meaning = f" ({_MEANINGS[self.code]})" if self.code in _MEANINGS else ""
        return f"{self.question} of NVML failed with code {self.code}{meaning}"


def load() -> Any:
    """Load the library.

    Raises
    ------
    OSError
        If there is none.
    """
    if sys.platform == "win32":
        return ctypes.CDLL("nvml.dll")
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            reason = error
    raise reason


class opened:
    """A context in which the library may be asked; a function that it lacks raises OSError there, too."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml

    def __enter__(self) -> Any:
        try:
            ask(self._nvml.nvmlInit_v2)
        except AttributeError as error:
            raise _too_old(error) from error
        return self._nvml

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._nvml.nvmlShutdown()
        if isinstance(error, AttributeError):
            raise _too_old(error) from error


def _too_old(error: AttributeError) -> OSError:
    return OSError(f"NVML is too old: {error}")


def ask(question: Callable[..., int], *arguments: Any) -> None:
    """Call a function of the library, and raise `NVMLError` if it answers with a code."""
    code = question(*arguments)
    if code != 0:
        raise NVMLError(getattr(question, "__name__", "a call"), code)


def text(question: Callable[..., int], *arguments: Any) -> str:
    """Return the text that a function of the library writes."""
    buffer = ctypes.create_string_buffer(256)
    ask(question, *arguments, buffer, ctypes.c_uint(256))
    return buffer.value.decode("utf-8", "replace")


def number(question: Callable[..., int], *arguments: Any) -> int:
    """Return the number that a function of the library writes."""
    found = ctypes.c_uint()
    ask(question, *arguments, ctypes.byref(found))
    return found.value


def devices(nvml: Any) -> list[ctypes.c_void_p]:
    """Return handles of the cards, in NVML's order (that of the PCI bus)."""
    found = []
    for index in range(number(nvml.nvmlDeviceGetCount_v2)):
        device = ctypes.c_void_p()
        ask(nvml.nvmlDeviceGetHandleByIndex_v2, ctypes.c_uint(index), ctypes.byref(device))
        found.append(device)
    return found


def parts(nvml: Any, device: ctypes.c_void_p) -> list[ctypes.c_void_p]:
    """Return handles of the parts of a divided card (MIG)."""
    found = []
    for index in range(number(nvml.nvmlDeviceGetMaxMigDeviceCount, device)):
        part = ctypes.c_void_p()
        try:
            ask(nvml.nvmlDeviceGetMigDeviceHandleByIndex, device, ctypes.c_uint(index), ctypes.byref(part))
        except NVMLError as error:
            if error.code == _NOT_FOUND:  # there could be more parts than there are
                continue
            raise
        found.append(part)
    return found


def memory(nvml: Any, device: ctypes.c_void_p) -> tuple[int, int]:
    """Return total and used memory, in bytes; of a card that may not be asked, since it is divided, of its first part.

    Whoever was given only a part of a divided card may not ask the card, but the part.
    """
    found = (ctypes.c_ulonglong * 3)()  # nvmlMemory_t: total, free, used
    try:
        ask(nvml.nvmlDeviceGetMemoryInfo, device, ctypes.byref(found))
    except NVMLError as error:
        if error.code != NO_PERMISSION:
            raise
        part = ctypes.c_void_p()
        ask(nvml.nvmlDeviceGetMigDeviceHandleByIndex, device, ctypes.c_uint(0), ctypes.byref(part))
        ask(nvml.nvmlDeviceGetMemoryInfo, part, ctypes.byref(found))
    return found[0], found[2]


def utilization_percent(nvml: Any, device: ctypes.c_void_p) -> int:
    """Return the share of the time in which the card worked, lately (a second at most)."""
    found = (ctypes.c_uint * 2)()  # nvmlUtilization_t: gpu, memory
    ask(nvml.nvmlDeviceGetUtilizationRates, device, ctypes.byref(found))
    return found[0]


def details(nvml: Any) -> dict[str, Any]:
    """Describe driver and cards.

    Returns
    -------
    dict
        As `capture.probes.gpu.gpu_details` does. What is refused is `Unavailable`, but for the number of the cards and
        their handles, without which there is nothing to tell.

    Raises
    ------
    OSError
    """
    with opened(nvml):
        return {
            "driver_version": _or_reason(lambda: text(nvml.nvmlSystemGetDriverVersion)),
            "cuda_version": _or_reason(lambda: _cuda_version(number(nvml.nvmlSystemGetCudaDriverVersion_v2))),
            "gpus": [_device_details(nvml, device) for device in devices(nvml)],
        }


def _device_details(nvml: Any, device: ctypes.c_void_p) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "vendor": "NVIDIA",
        "model": _or_reason(lambda: text(nvml.nvmlDeviceGetName, device)),
        "uuid": _or_reason(lambda: text(nvml.nvmlDeviceGetUUID, device)),
        "pci_id": _or_reason(lambda: _pci_id(nvml, device)),
        **_memory_mib(nvml, device),
        "compute_mode": _or_reason(lambda: _compute_mode(number(nvml.nvmlDeviceGetComputeMode, device))),
        "mig": _or_reason(lambda: _mig(nvml, device)),
    }
    if facts["mig"] is True:
        facts["mig_parts"] = _or_reason(lambda: [_part_details(nvml, part) for part in parts(nvml, device)])
    return facts


def _part_details(nvml: Any, part: ctypes.c_void_p) -> dict[str, Any]:
    return {"uuid": _or_reason(lambda: text(nvml.nvmlDeviceGetUUID, part)), **_memory_mib(nvml, part)}


def _memory_mib(nvml: Any, device: ctypes.c_void_p) -> dict[str, Any]:
    found = _or_reason(lambda: memory(nvml, device))
    total, used = (found, found) if isinstance(found, Unavailable) else (found[0] // MIB, found[1] // MIB)
    return {"memory_total_mib": total, "memory_used_mib": used}


def _or_reason(question: Callable[[], Any]) -> Any:
    """Return the answer; `Unavailable` where this card or this driver has none."""
    try:
        return question()
    except AttributeError as error:  # ctypes names the missing function
        return Unavailable(f"NVML is too old: {error}")
    except NVMLError as error:
        return Unavailable(str(error))


def _cuda_version(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def _compute_mode(mode: int) -> str:
    return _COMPUTE_MODES[mode] if mode < len(_COMPUTE_MODES) else f"mode {mode}"


def _mig(nvml: Any, device: ctypes.c_void_p) -> bool:
    current, pending = ctypes.c_uint(), ctypes.c_uint()
    try:
        ask(nvml.nvmlDeviceGetMigMode, device, ctypes.byref(current), ctypes.byref(pending))
    except NVMLError as error:
        if error.code == 3:  # a card that cannot be divided is not
            return False
        raise
    return current.value == 1


def _pci_id(nvml: Any, device: ctypes.c_void_p) -> str:
    # nvmlPciInfo_t: 16 bytes of an older form of the name, five numbers of 32 bits, 32 bytes of the name
    info = ctypes.create_string_buffer(16 + 5 * 4 + 32)
    ask(nvml.nvmlDeviceGetPciInfo_v3, device, info)
    return info.raw[36:].partition(b"\0")[0].decode("ascii", "replace")
