"""What is said of GPUs, asked of a real shared library that plays the driver."""

from __future__ import annotations

import json
import sys
import threading

import pytest

from capture.hooks import Unavailable
from capture.probes import gpu, machine, nvml
from capture.probes.host import plain
from tests.probes.nvml_library import compile_nvml, needs_compiler
from tests.probes.trees import write_tree


@pytest.fixture(autouse=True)
def nobody_asked_yet(monkeypatch, tmp_path):
    """A machine with a driver and neither NVML nor nvidia-smi, until a test says otherwise."""
    monkeypatch.setattr(gpu, "_asked", [])
    monkeypatch.setattr(gpu, "driver_present", lambda: True)
    monkeypatch.setattr(gpu, "amd_folders", lambda root="": [])
    monkeypatch.setenv("PATH", str(tmp_path))
    load_fails(monkeypatch)


def load_fails(monkeypatch):
    def fail():
        raise OSError("libnvidia-ml.so.1: cannot open shared object file")

    monkeypatch.setattr(nvml, "load", fail)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return lambda **choices: compile_nvml(tmp_path_factory.mktemp("nvml"), **choices)


@needs_compiler
def test_each_card_is_described(monkeypatch, library):
    """Whoever repeats a run needs the same card, driver and CUDA; and may see that another one had its memory."""
    loaded = library()
    monkeypatch.setattr(nvml, "load", lambda: loaded)
    assert plain(machine.gpu_details()) == {
        "driver_version": "550.54.15",
        "cuda_version": "12.4",
        "gpus": [
            {
                "vendor": "NVIDIA",
                "model": "NVIDIA H100 80GB HBM3",
                "uuid": "GPU-0",
                "pci_id": "00000000:17:00.0",
                "memory_total_mib": 81920,
                "memory_used_mib": 1,
                "compute_mode": "default",
                "mig": True,
                "mig_parts": [
                    {"uuid": "MIG-8", "memory_total_mib": 10240, "memory_used_mib": 9},
                    {"uuid": "MIG-9", "memory_total_mib": 10240, "memory_used_mib": 10},
                ],
            },
            {
                "vendor": "NVIDIA",
                "model": "NVIDIA T4",
                "uuid": "GPU-1",
                "pci_id": "00000000:18:00.0",
                "memory_total_mib": 81920,
                "memory_used_mib": 2,
                "compute_mode": "exclusive process",
                "mig": False,
            },
        ],
        "asked": "NVML",
    }
    assert loaded.fake_nvml_opened() == 0, "NVML was left open, and holds the driver awake"


@needs_compiler
def test_sacred_s_keys_come_from_the_same_library(monkeypatch, library):
    """Two bindings would be two truths."""
    assert gpu.facts_from_nvml(library(CARDS=1)) == {
        "driver_version": "550.54.15",
        "gpus": [{"model": "NVIDIA H100 80GB HBM3", "total_memory": 81920, "persistence_mode": True}],
    }


@needs_compiler
def test_a_card_whose_part_was_given_tells_the_memory_of_the_part(monkeypatch, library):
    """In a container with one part of a card, the card itself may not be asked."""
    loaded = library(REFUSE_MEMORY=4)
    monkeypatch.setattr(nvml, "load", lambda: loaded)
    assert [card["memory_total_mib"] for card in gpu.gpu_details()["gpus"]] == [10240, 10240]


@needs_compiler
def test_a_card_that_refuses_one_question_answers_the_others(monkeypatch, library):
    """A lost card must not hide its neighbours, nor what else is known of it."""
    loaded = library(REFUSE_MEMORY=15)
    monkeypatch.setattr(nvml, "load", lambda: loaded)
    card = gpu.gpu_details()["gpus"][1]
    assert card["model"] == "NVIDIA T4"
    assert card["memory_total_mib"] == card["memory_used_mib"]
    assert "code 15 (the GPU is lost)" in card["memory_used_mib"].reason
    json.dumps(plain(card))


@needs_compiler
def test_functions_that_an_old_driver_lacks_leave_reasons(monkeypatch, library):
    """Clusters update their drivers late."""
    loaded = library(NO_DETAILS=1)
    monkeypatch.setattr(nvml, "load", lambda: loaded)
    facts = gpu.gpu_details()
    assert facts["driver_version"] == "550.54.15"
    missing = [facts["cuda_version"], *(facts["gpus"][0][name] for name in ("pci_id", "compute_mode", "mig"))]
    assert all("too old" in reason.reason for reason in missing)


@needs_compiler
def test_a_machine_without_cards_has_none(monkeypatch, library):
    """A driver may be installed, and the card taken out."""
    loaded = library(CARDS=0)
    monkeypatch.setattr(nvml, "load", lambda: loaded)
    assert gpu.gpu_details()["gpus"] == []


@needs_compiler
def test_a_library_that_does_not_start_gives_way_to_nvidia_smi(monkeypatch, library):
    """NVML of another version than the kernel's part of the driver refuses (code 18); the reason names both."""
    loaded = library(FAIL_INIT=18)
    monkeypatch.setattr(nvml, "load", lambda: loaded)
    reason = gpu.gpu_details().reason
    assert "nvmlInit_v2 of NVML failed with code 18" in reason and "nvidia-smi" in reason


@needs_compiler
@pytest.mark.slow
def test_a_driver_that_hangs_is_left_alone(monkeypatch, library):
    """A broken driver never answers; asking it again for each run would leave a thread each."""
    loaded = library(HANG=8000)
    monkeypatch.setattr(nvml, "load", lambda: loaded)
    late = Unavailable("NVIDIA's driver did not answer within 0.05 s")
    assert gpu.gpu_details(timeout_s=0.05) == late
    assert gpu.gpu_details(timeout_s=0.05) == late
    asking = [thread for thread in threading.enumerate() if thread.name == "capture-probe-gpus"]
    assert len(asking) == 1 and asking[0].daemon
    asking[0].join(60)
    assert gpu.gpu_details(timeout_s=60)["driver_version"] == "550.54.15", "the late answer is lost"


def test_without_a_driver_nothing_is_asked(monkeypatch):
    """Most machines have none; they must not pay for the question."""
    monkeypatch.setattr(gpu, "driver_present", lambda: False)
    monkeypatch.setattr(nvml, "load", lambda: pytest.fail("loaded"))
    assert gpu.gpu_details() == Unavailable("no NVIDIA driver")


def test_what_the_library_breaks_is_a_reason(monkeypatch):
    """It runs in the process; whatever it does to ctypes must not end the run."""

    def load():
        raise ValueError("embedded null byte")

    monkeypatch.setattr(nvml, "load", load)
    assert gpu.gpu_details() == Unavailable("ValueError: embedded null byte")


# ----------------------------------------------------------------------------------------------------------- nvidia-smi

SMI = """<?xml version="1.0" ?><!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd"><nvidia_smi_log>
<driver_version>550.54.15</driver_version><cuda_version>12.4</cuda_version><attached_gpus>2</attached_gpus>
<gpu id="00000000:17:00.0"><product_name>NVIDIA A100</product_name><uuid>GPU-1</uuid>
<mig_mode><current_mig>Enabled</current_mig></mig_mode><mig_devices><mig_device><index>0</index>
<fb_memory_usage><total>4864 MiB</total><used>3 MiB</used></fb_memory_usage></mig_device></mig_devices>
<fb_memory_usage><total>40960 MiB</total><used>12 MiB</used></fb_memory_usage>
<compute_mode>Exclusive_Process</compute_mode></gpu>
<gpu id="00000000:18:00.0"><product_name>NVIDIA T4</product_name><uuid>N/A</uuid>
<mig_mode><current_mig>N/A</current_mig></mig_mode>
<fb_memory_usage><total>Insufficient Permissions</total><used>1 GiB</used></fb_memory_usage></gpu></nvidia_smi_log>"""


@pytest.mark.skipif(sys.platform == "win32", reason="plays nvidia-smi by a shell script")
def test_nvidia_smi_tells_the_same_where_nvml_does_not_load(tmp_path):
    """Some containers have the program and not the library."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nwhile read line; do echo \"$line\"; done <<'END'\n{SMI}\nEND\n")
    program.chmod(0o755)
    facts = gpu.gpu_details()
    assert (facts["driver_version"], facts["cuda_version"], facts["asked"]) == ("550.54.15", "12.4", "nvidia-smi")
    assert facts["gpus"][0] == {
        "vendor": "NVIDIA",
        "model": "NVIDIA A100",
        "uuid": "GPU-1",
        "pci_id": "00000000:17:00.0",
        "memory_total_mib": 40960,
        "memory_used_mib": 12,
        "compute_mode": "exclusive process",
        "mig": True,
        "mig_parts": [{"memory_total_mib": 4864, "memory_used_mib": 3}],
    }
    assert plain(facts["gpus"][1]) == {
        "vendor": "NVIDIA",
        "model": "NVIDIA T4",
        "pci_id": "00000000:18:00.0",
        "mig": False,
        "uuid": {"unavailable": "nvidia-smi does not tell"},
        "compute_mode": {"unavailable": "nvidia-smi does not tell"},
        "memory_total_mib": {"unavailable": "nvidia-smi tells 'Insufficient Permissions'"},
        "memory_used_mib": {"unavailable": "nvidia-smi tells '1 GiB'"},
    }


def test_an_answer_that_is_no_xml_is_a_reason():
    """Broken drivers print their complaint instead."""
    assert "not understood" in gpu.parse_smi_details("NVIDIA-SMI has failed").reason


# ------------------------------------------------------------------------------------------------------------------ AMD


@pytest.fixture
def amd(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(gpu, "_asked", [])
    monkeypatch.setattr(gpu, "driver_present", lambda: False)
    card = "/sys/class/drm/card{}/device"
    return write_tree(
        tmp_path,
        {
            card.format(1) + "/vendor": "0x1002\n",
            card.format(1) + "/device": "0x740f\n",
            card.format(1) + "/product_name": "AMD Instinct MI210\n",
            card.format(1) + "/unique_id": "a1b2\n",
            card.format(1) + "/mem_info_vram_total": f"{2**36}\n",
            card.format(1) + "/mem_info_vram_used": f"{2**30}\n",
            card.format(0) + "/vendor": "0x1a03\n",
            "/sys/class/drm/card1-DP-1/status": "connected\n",
            "/sys/module/amdgpu/version": "6.7.0\n",
        },
    )


def test_amd_s_cards_are_described_by_their_driver_s_files(amd):
    """They compute, too; the chip that shows the console is no such card."""
    (card,) = gpu.gpu_details(root=amd)["gpus"]
    assert card == {
        "vendor": "AMD",
        "model": "AMD Instinct MI210",
        "uuid": "a1b2",
        "pci_id": card["pci_id"],
        "memory_total_mib": 65536,
        "memory_used_mib": 1024,
        "driver_version": "6.7.0",
    }


def test_both_vendors_may_be_there(amd, monkeypatch):
    """If NVIDIA's driver does not answer, AMD's cards are told of all the same."""
    monkeypatch.setattr(gpu, "driver_present", lambda: True)
    load_fails(monkeypatch)
    monkeypatch.setenv("PATH", "")
    facts = gpu.gpu_details(root=amd)
    assert [card["vendor"] for card in facts["gpus"]] == ["AMD"] and "libnvidia-ml" in facts["nvidia"].reason
