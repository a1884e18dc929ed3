"""GPUs: NVIDIA's by NVML where its library loads, else by ``nvidia-smi``; AMD's by the files of their driver."""

from __future__ import annotations

import os
import sys

from capture.complaints import logger
from capture.hooks import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_DEVICES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg")  # the last one: Windows' subsystem for Linux
_AMD = "0x1002"  #: AMD's number as a vendor of PCI devices
_MIB = 2**20

_found: list[dict[str, Any]] = []  # what the driver answered, once it has
_asked: list[_Question] = []  # the question that is still at work


def gpu_facts(timeout_s: float = 5.0) -> dict[str, Any] | Unavailable:
    """Describe NVIDIA's GPUs of this machine, under Sacred's keys.

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
        facts = _ask_driver(facts_from_nvml, parse_smi, timeout_s)
        if isinstance(facts, Unavailable):
            return facts
        _found.append(facts)
    return {**_found[0], "gpus": [dict(gpu) for gpu in _found[0]["gpus"]]}


def gpu_details(timeout_s: float = 5.0, root: str = "") -> dict[str, Any] | Unavailable:
    """Describe the GPUs of this machine as they are now, and their drivers.

    Parameters
    ----------
    timeout_s : float
        How long NVIDIA's driver may take, in seconds. One that has not answered is not asked again in this process;
        what it answers in the end, a later call returns.
    root : str
        Stands before the paths below /sys that are read.

    Returns
    -------
    dict or Unavailable
        - ``gpus``: for each card ``vendor`` ("NVIDIA" or "AMD"), ``model``, ``uuid``, ``pci_id``,
          ``memory_total_mib``, ``memory_used_mib``; of NVIDIA's also ``compute_mode`` (such as "default"), ``mig``
          (bool) and, where that is true, ``mig_parts`` (``memory_total_mib``, ``memory_used_mib``, ``uuid``); of AMD's
          ``driver_version``. In the order of the PCI bus, NVIDIA's first; CUDA may count otherwise.
        - ``driver_version``, ``cuda_version``: of NVIDIA's driver, where there is one; the latter is the newest CUDA
          that it can serve.
        - ``asked``: "NVML" or "nvidia-smi"; ``nvidia``: why NVIDIA's driver does not answer, where there is one and
          GPUs of AMD are told of.

        A detail that a card does not tell is `Unavailable`, and so is all of it without a driver.
    """
    amd = amd_details(root)
    if not driver_present():
        return {"gpus": amd} if amd else Unavailable("no NVIDIA driver")
    nvidia = _within(timeout_s, lambda: _ask_driver(_details_from_nvml, parse_smi_details, timeout_s))
    if not amd:
        return nvidia
    if isinstance(nvidia, Unavailable):
        return {"gpus": amd, "nvidia": nvidia}
    return {**nvidia, "gpus": nvidia["gpus"] + amd}


def driver_present() -> bool:
    """Say whether this machine has NVIDIA's driver, as far as one look tells."""
    if sys.platform == "win32":
        from shutil import which

        return which("nvidia-smi") is not None
    return any(os.path.exists(device) for device in _DEVICES)


def _ask_driver(
    from_nvml: Callable[[Any], dict[str, Any]],
    from_smi: Callable[[str], dict[str, Any] | Unavailable],
    timeout_s: float,
) -> dict[str, Any] | Unavailable:
    try:
        return from_nvml(_load_nvml())
    except OSError as error:
        reason = str(error)
    facts = facts_from_smi(timeout_s, from_smi)
    return facts if isinstance(facts, dict) else Unavailable(f"{reason}; {facts.reason}")


class _Question:
    """A question to the driver in a thread of its own, since a broken driver keeps whoever asks it for ever."""

    def __init__(self, ask: Callable[[], dict[str, Any] | Unavailable]) -> None:
        from capture.unwatched import LibraryThread

        self._ask = ask
        self._answer: dict[str, Any] | Unavailable | None = None
        self._thread = LibraryThread(target=self._work, name="capture-probe-gpus")
        self._thread.start()

    def _work(self) -> None:
        try:
            self._answer = self._ask()
        except Exception as error:  # noqa: BLE001 - recorded as the reason
            logger().info("the GPUs cannot be described", exc_info=True)
            self._answer = Unavailable(f"{type(error).__name__}: {error}")

    def answer(self, timeout_s: float) -> dict[str, Any] | Unavailable | None:
        """Return the answer; None if there is none within `timeout_s` seconds."""
        self._thread.join(timeout_s)
        return self._answer

    @property
    def at_work(self) -> bool:
        return self._thread.is_alive()


def _within(timeout_s: float, ask: Callable[[], dict[str, Any] | Unavailable]) -> dict[str, Any] | Unavailable:
    earlier = _asked[0] if _asked else None
    if earlier is None or not (
        earlier.at_work or earlier.answer(0) is not None
    ):  # a fork takes the question along, not its thread
        try:
            _asked[:] = [_Question(ask)]
        except RuntimeError as error:  # the interpreter is going down, or there are too many threads
            return Unavailable(str(error))
    answer = _asked[0].answer(0 if _asked[0] is earlier else timeout_s)
    if answer is None:
        return Unavailable(f"NVIDIA's driver did not answer within {timeout_s:g} s")
    _asked.clear()
    return answer


# ----------------------------------------------------------------------------------------------------------------- NVML


def _load_nvml() -> Any:
    """Load NVML, or raise OSError."""
    from capture.probes import nvml

    return nvml.load()


def _details_from_nvml(library: Any) -> dict[str, Any]:
    from capture.probes import nvml

    return {**nvml.details(library), "asked": "NVML"}


def facts_from_nvml(library: Any) -> dict[str, Any]:
    """Ask NVML.

    Parameters
    ----------
    library : ctypes.CDLL

    Returns
    -------
    dict
        As `gpu_facts` does.

    Raises
    ------
    OSError
        If a question that cannot be left out is refused, or the library lacks it.
    """
    from capture.probes import nvml

    with nvml.opened(library):
        return {
            "driver_version": nvml.text(library.nvmlSystemGetDriverVersion),
            "gpus": [_device_facts(library, device) for device in nvml.devices(library)],
        }


def _device_facts(library: Any, device: Any) -> dict[str, Any]:
    from capture.probes import nvml

    try:
        persistent = nvml.number(library.nvmlDeviceGetPersistenceMode, device) == 1
    except nvml.NVMLError:  # Windows has no such mode, and says so with an error
        persistent = False
    return {
        "model": nvml.text(library.nvmlDeviceGetName, device),
        "total_memory": nvml.memory(library, device)[0] // _MIB,
        "persistence_mode": persistent,
    }


# ----------------------------------------------------------------------------------------------------------- nvidia-smi


def facts_from_smi(
    timeout_s: float = 5.0, parse: Callable[[str], dict[str, Any] | Unavailable] | None = None
) -> dict[str, Any] | Unavailable:
    """Ask ``nvidia-smi -q -x``, wait for its answer `timeout_s` seconds at most, and `parse` it (`parse_smi`)."""
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
    return (parse or parse_smi)(answer.stdout.decode("utf-8", "replace"))


def parse_smi(xml: str) -> dict[str, Any] | Unavailable:
    """Take what `gpu_facts` returns from what ``nvidia-smi -q -x`` printed."""
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


def parse_smi_details(xml: str) -> dict[str, Any] | Unavailable:
    """Take what `gpu_details` returns from what ``nvidia-smi -q -x`` printed."""
    from xml.etree import ElementTree

    try:
        log = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        return Unavailable(f"the answer of nvidia-smi is not understood: {error}")
    return {
        "driver_version": _told(log, "driver_version"),
        "cuda_version": _told(log, "cuda_version"),
        "gpus": [_parse_gpu_details(gpu) for gpu in log.iter("gpu")],
        "asked": "nvidia-smi",
    }


def _parse_gpu_details(gpu: Any) -> dict[str, Any]:
    mode, mig = _told(gpu, "compute_mode"), _told(gpu, "mig_mode/current_mig")
    facts = {
        "vendor": "NVIDIA",
        "model": _told(gpu, "product_name"),
        "uuid": _told(gpu, "uuid"),
        "pci_id": gpu.get("id") or _told(gpu, "pci/pci_bus_id"),
        "memory_total_mib": _told_mib(gpu, "total"),
        "memory_used_mib": _told_mib(gpu, "used"),
        "compute_mode": mode.lower().replace("_", " ") if isinstance(mode, str) else mode,
        "mig": mig == "Enabled",  # a card that cannot be divided has "N/A", and older drivers have no word for it
    }
    if facts["mig"]:
        facts["mig_parts"] = [
            {"memory_total_mib": _told_mib(part, "total"), "memory_used_mib": _told_mib(part, "used")}
            for part in gpu.iter("mig_device")
        ]
    return facts


def _told(element: Any, path: str) -> Any:
    text = (element.findtext(path) or "").strip()
    return text if text and text != "N/A" else Unavailable("nvidia-smi does not tell")


def _told_mib(element: Any, which: str) -> Any:
    text = _told(element, f"fb_memory_usage/{which}")
    if isinstance(text, Unavailable):
        return text
    number, _, unit = text.partition(" ")
    understood = number.isdecimal() and unit in ("MiB", "")
    return int(number) if understood else Unavailable(f"nvidia-smi tells {text!r}")


# ------------------------------------------------------------------------------------------------------------------ AMD


def amd_folders(root: str = "") -> list[str]:
    """Return the folders of the driver's files about AMD's cards, in the order of the PCI bus."""
    cards = root + "/sys/class/drm"
    try:
        names = [name for name in os.listdir(cards) if name.startswith("card") and name[4:].isdecimal()]
    except OSError:  # no graphics at all; or another system
        return []
    from capture.probes._files import read

    folders = [os.path.realpath(f"{cards}/{name}/device") for name in names]
    return sorted(folder for folder in folders if (read(folder + "/vendor", 64) or "").strip() == _AMD)


def amd_details(root: str = "") -> list[dict[str, Any]]:
    """Describe AMD's cards from what their driver tells by files; see `gpu_details`."""
    folders = amd_folders(root)
    if not folders:
        return []
    from capture.probes._files import read, read_number

    def told(path: str, why: str) -> Any:
        return (read(path, 256) or "").strip() or Unavailable(why)

    def mib(path: str) -> Any:
        size = read_number(path)
        return Unavailable("the driver does not tell") if size is None else size // _MIB

    return [
        {
            "vendor": "AMD",
            "model": told(folder + "/product_name", f"the card has no name but its number {_number_of(folder)}"),
            "uuid": told(folder + "/unique_id", "the card has none"),
            "pci_id": os.path.basename(folder),
            "memory_total_mib": mib(folder + "/mem_info_vram_total"),
            "memory_used_mib": mib(folder + "/mem_info_vram_used"),
            "driver_version": told(root + "/sys/module/amdgpu/version", "the driver is the kernel's own"),
        }
        for folder in folders
    ]


def _number_of(folder: str) -> str:
    from capture.probes._files import read

    return (read(folder + "/device", 64) or "").strip() or "unknown"
