"""GPUs, without one: NVML and nvidia-smi are played by the tests."""

from __future__ import annotations

import ctypes
import sys

import pytest

from capture.hooks import Unavailable
from capture.probes import gpu

MIB = 2**20


def xml(*gpus):
    """Return what ``nvidia-smi -q -x`` prints, cut to what is read and a bit around it."""
    return (
        '<?xml version="1.0" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">\n<nvidia_smi_log>'
        "<driver_version>550.54</driver_version><attached_gpus>1</attached_gpus>" + "".join(gpus) + "</nvidia_smi_log>"
    )


def card(total="81559 MiB", mode="Enabled", parts=""):
    return (
        f'<gpu id="1"><product_name>NVIDIA H100</product_name><persistence_mode>{mode}</persistence_mode>'
        f"<mig_devices>{parts}</mig_devices><fb_memory_usage><total>{total}</total></fb_memory_usage></gpu>"
    )


PART = "<mig_device><fb_memory_usage><total>9728 MiB</total></fb_memory_usage></mig_device>"


@pytest.fixture(autouse=True)
def nothing_found_yet(monkeypatch):
    monkeypatch.setattr(gpu, "_found", [])


def test_the_answer_of_nvidia_smi_gives_sacred_s_keys():
    """Viewers made for Sacred show these."""
    assert gpu.parse_smi(xml(card(), card("16384 MiB", "Disabled"))) == {
        "driver_version": "550.54",
        "gpus": [
            {"model": "NVIDIA H100", "total_memory": 81559, "persistence_mode": True},
            {"model": "NVIDIA H100", "total_memory": 16384, "persistence_mode": False},
        ],
    }


def test_a_divided_card_has_the_memory_of_its_part():
    """In a container with one part of a card, the card itself does not answer."""
    facts = gpu.parse_smi(xml(card("Insufficient Permissions", parts=PART)))
    assert facts["gpus"][0]["total_memory"] == 9728


@pytest.mark.parametrize(
    "text", ["", "no xml", xml(card("N/A")), xml(card("2 TiB")), xml("<gpu></gpu>"), "<a>" * 3]
)
def test_an_answer_that_is_not_understood_is_unavailable(text):
    """Drivers change their output; a wrong number would be worse than none."""
    assert isinstance(gpu.parse_smi(text), Unavailable)


def test_nvidia_smi_that_is_missing_failing_or_hanging_is_unavailable(tmp_path, monkeypatch):
    """A broken driver makes it hang for minutes."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "cannot be started" in gpu.facts_from_smi().reason
    if sys.platform == "win32":
        return
    program = tmp_path / "nvidia-smi"
    for script, expected in [("exit 9", "code 9"), ("exec /bin/sleep 30", "within 0.2 s")]:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        assert expected in gpu.facts_from_smi(timeout_s=0.2).reason
    program.write_text(f"#!/bin/sh\necho '{xml(card(mode='Off'))}'\n")
    assert gpu.facts_from_smi()["driver_version"] == "550.54"


# ----------------------------------------------------------------------------------------------------------------- NVML


class FakeNVML:
    """NVML as far as it is asked: functions that fill what they are given a pointer to and return a code."""

    def __init__(self, total=81559 * MIB, init=0, memory=0, part=9728 * MIB):
        self.total, self.init, self.memory, self.part = total, init, memory, part
        self.open = 0

    def nvmlInit_v2(self):
        self.open += self.init == 0
        return self.init

    def nvmlShutdown(self):
        self.open -= 1
        return 0

    def nvmlSystemGetDriverVersion(self, buffer, size):
        buffer.value = b"550.54"
        return 0

    def nvmlDeviceGetCount_v2(self, count):
        count._obj.value = 1
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index, device):
        device._obj.value = 7
        return 0

    def nvmlDeviceGetName(self, device, buffer, size):
        buffer.value = b"NVIDIA H100"
        return 0

    def nvmlDeviceGetPersistenceMode(self, device, mode):
        mode._obj.value = 1
        return 0

    def nvmlDeviceGetMemoryInfo(self, device, memory):
        if device.value == 8:
            memory._obj[0] = self.part
            return 0
        memory._obj[0] = self.total
        return self.memory

    def nvmlDeviceGetMigDeviceHandleByIndex(self, device, index, part):
        part._obj.value = 8
        return 0


def test_nvml_gives_the_same_facts_as_nvidia_smi():
    """Which of the two was asked must not show in a record."""
    nvml = FakeNVML()
    assert gpu.facts_from_nvml(nvml) == gpu.parse_smi(xml(card()))
    assert nvml.open == 0


def test_nvml_of_a_divided_card_gives_the_memory_of_the_part():
    """The card refuses, its part answers."""
    nvml = FakeNVML(memory=4)
    assert gpu.facts_from_nvml(nvml)["gpus"][0]["total_memory"] == 9728


@pytest.mark.parametrize("nvml", [FakeNVML(init=9), FakeNVML(memory=999), object()])
def test_nvml_that_refuses_raises_one_kind_of_error(nvml):
    """Then nvidia-smi is asked."""
    with pytest.raises(OSError, match="NVML"):
        gpu.facts_from_nvml(nvml)
    assert getattr(nvml, "open", 0) == 0


def test_without_a_driver_nothing_is_loaded(monkeypatch):
    """Most machines have none; they must not pay for the question."""
    monkeypatch.setattr(gpu, "driver_present", lambda: False)
    monkeypatch.setattr(gpu, "_load_nvml", lambda: pytest.fail("loaded"))
    assert gpu.gpu_facts() == Unavailable("no NVIDIA driver")


def test_a_driver_is_asked_once_and_its_answer_is_not_shared(monkeypatch):
    """200 runs in one process ask 200 times; what one of them changes, the next must not see."""
    loads = []
    monkeypatch.setattr(gpu, "driver_present", lambda: True)
    monkeypatch.setattr(gpu, "_load_nvml", lambda: loads.append(1) or FakeNVML())
    first = gpu.gpu_facts()
    first["gpus"][0]["model"] = "changed"
    assert gpu.gpu_facts()["gpus"][0]["model"] == "NVIDIA H100"
    assert loads == [1]


def test_where_both_fail_the_reason_names_both(monkeypatch, tmp_path):
    """Whoever wonders why the GPU is missing needs both answers."""

    def load():
        raise OSError("libnvidia-ml.so.1: no such file")

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gpu, "driver_present", lambda: True)
    monkeypatch.setattr(gpu, "_load_nvml", load)
    reason = gpu.gpu_facts().reason
    assert "libnvidia-ml" in reason and "nvidia-smi" in reason


def test_the_memory_is_read_from_where_nvml_writes_it():
    """nvmlMemory_t is three 64-bit words, the total first."""
    memory = (ctypes.c_ulonglong * 3)(3 * MIB, 2, 1)
    assert ctypes.sizeof(memory) == 24 and memory[0] == 3 * MIB
