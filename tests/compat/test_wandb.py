"""W&B's observer for Sacred, from PyPI, unchanged; Sacred itself is not installed there."""

from __future__ import annotations

import json
import os
import subprocess
import textwrap

import pytest

from capture.stores import open_store
from tests.compat.environments import environment_of

pytestmark = pytest.mark.server

TRAIN = """
    from sacred import Experiment
    from sacred.observers import FileStorageObserver
    from wandb.integration.sacred import WandbObserver

    ex = Experiment("digits")
    ex.observers.append(WandbObserver(project="sacred_test", name="first", dir="."))
    ex.observers.append(FileStorageObserver("mine"))

    @ex.config
    def config():
        C = 1.0
        gamma = 0.7
        data = "train.py"

    @ex.automain
    def run(C, gamma, data, _run):
        with ex.open_resource(data) as stream:
            stream.read()
        for step in range(3):
            _run.log_scalar("loss", C / (step + 1), step)
        with open("model.txt", "w") as stream:
            stream.write("weights")
        ex.add_artifact("model.txt")
        return 0.5
"""
#: prints what W&B keeps of an offline run: a log in LevelDB's form, with a protobuf message in each entry
READ = """
    import glob, json, struct
    from wandb.proto import wandb_internal_pb2 as messages

    def entries(data):
        place, whole = 7, b""  # after the file's header
        while place + 7 <= len(data):
            room = 32768 - place % 32768
            if room < 7:
                place += room
                continue
            _, length, kind = struct.unpack_from("<IHB", data, place)
            whole += data[place + 7 : place + 7 + length]
            place += 7 + length
            if kind in (1, 4):  # whole, or the last part of it
                yield whole
                whole = b""

    def items(found):
        return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in found}

    (path,) = glob.glob("wandb/offline-run-*/*.wandb")
    told = {"config": {}, "history": [], "artifacts": [], "status": None}
    for data in entries(open(path, "rb").read()):
        record = messages.Record.FromString(data)
        kind = record.WhichOneof("record_type")
        if kind in ("run", "config"):
            told["config"].update(items((record.run.config if kind == "run" else record.config).update))
        elif kind == "history":
            told["history"].append(items(record.history.item))
        elif kind == "artifact":
            told["artifacts"].append([record.artifact.name, record.artifact.type])
        elif kind == "exit":
            told["status"] = record.exit.exit_code
    print(json.dumps(told))
"""


def test_a_run_is_told_to_wandb(tmp_path):
    """Config, numbers, result and artifact, beside another observer that has the same."""
    python = environment_of("wandb")
    (tmp_path / "train.py").write_text(textwrap.dedent(TRAIN).lstrip(), encoding="utf-8")
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true"}

    def run(*arguments):
        done = subprocess.run(
            [python, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("-m", "capture.compat", "train.py", "with", "gamma=0.9", "seed=3")
    told = json.loads(run("-c", textwrap.dedent(READ)))
    assert {name: told["config"][name] for name in ("C", "gamma", "seed")} == {"C": 1.0, "gamma": 0.9, "seed": 3}
    assert [point["loss"] for point in told["history"] if "loss" in point] == [1.0, 1 / 2, 1 / 3]
    assert [point["result_0"] for point in told["history"] if "result_0" in point] == [0.5]
    assert told["artifacts"] == [["model.txt", "file"]] and told["status"] == 0
    record = open_store(tmp_path / "mine").get("latest")
    assert record.config["gamma"] == 0.9 and list(record.metrics["loss"].values) == [1.0, 1 / 2, 1 / 3]
