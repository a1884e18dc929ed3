"""seml, a launcher of experiments, from PyPI, unchanged, with a real MongoDB and its executor for this machine.

Its environment has Sacred itself, too, since seml asks for it: it is passed over.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import textwrap

import pytest

from capture.stores import open_store
from tests.compat.environments import environment_of

pytestmark = pytest.mark.server

TRAIN = """
    import numpy
    from helper import double
    from seml import Experiment

    ex = Experiment(capture_output=True)

    @ex.config
    def config():
        n = 3
        lr = 0.1  # learning rate
        fails = False
        model = {"width": 8, "act": "relu"}

    @ex.named_config
    def big():
        model = {"width": 64}

    @ex.capture(prefix="model")
    def build(width, _log):
        _log.info("width %s", width)
        return width

    @ex.automain
    def main(n, lr, fails, _run):
        print("hello from the experiment")
        width = build()
        for step in range(n):
            _run.log_scalar("loss", lr / (step + 1), step)
        if fails:
            raise ValueError("told to fail")
        with open("out.txt", "w") as stream:
            stream.write("weights")
        ex.add_artifact("out.txt")
        return {"score": double(lr), "width": width, "pair": (1, numpy.float32(2.0))}
"""
CONFIG = """
    seml:
      executable: train.py
      name: demo
      output_dir: logs
      project_root_dir: .
    slurm:
      - experiments_per_job: 1
        sbatch_options:
          time: 0-01:00
    fixed:
      n: 2
    grid:
      fails:
        type: choice
        options: [false, true]
"""


class Seml:
    """A project, a database of its own, and the command ``seml``."""

    def __init__(self, python, folder, server, name):
        self.python, self.folder, self.server = python, folder / "project", server
        self.home = folder / "home"
        self.database_name, self.collection_name = name, "demo"
        password = secrets.token_hex(8)
        self.client = server.client()
        self.client[name].command("createUser", "lab", pwd=password, roles=["readWrite"])
        host, port = self.client.address
        settings = self.home / ".config" / "seml" / "mongodb.config"
        settings.parent.mkdir(parents=True)
        settings.write_text(
            f"username: lab\npassword: {password}\nport: {port}\ndatabase: {name}\nhost: {host}\n", encoding="utf-8"
        )
        self.url = f"mongodb://lab:{password}@{host}:{port}/{name}?authSource={name}"
        (self.folder / "logs").mkdir(parents=True)
        self.write("train.py", TRAIN)
        self.write("helper.py", "def double(x):\n    return 2 * x\n")
        self.write("config.yaml", CONFIG)
        for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Begin"]):
            subprocess.run(["git", *command], cwd=self.folder, check=True)

    def write(self, name, text):
        (self.folder / name).write_text(textwrap.dedent(text).lstrip(), encoding="utf-8")

    def __call__(self, *arguments, status=0):
        """Run ``seml COLLECTION ...`` in the project; return what it printed."""
        return self.run_python("-m", "seml", self.collection_name, *arguments, status=status)

    def run_python(self, *arguments, status=0):
        environment = {**os.environ, "HOME": str(self.home), "COLUMNS": "200"}
        environment["PATH"] = os.path.dirname(self.python) + os.pathsep + environment["PATH"]
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(
            [self.python, *map(str, arguments)],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == status, done.stdout
        return done.stdout

    def documents(self):
        return list(self.client[self.database_name][self.collection_name].find().sort("_id"))

    def logs(self):
        return "".join(path.read_text(encoding="utf-8") for path in sorted((self.folder / "logs").glob("*.out")))


@pytest.fixture(scope="module")
def started(tmp_path_factory, mongo_server):
    """Two experiments, one of which is told to fail, added and run once; the tests below look at what came of them."""
    python = environment_of("seml")
    name = f"test-{secrets.token_hex(6)}"
    lab = Seml(python, tmp_path_factory.mktemp("seml"), mongo_server, name)
    lab.run_python("-m", "capture.compat", "--enable")
    lab("add", "config.yaml")
    lab.added = lab.documents()
    lab.printed = lab("start", "--local")
    yield lab
    lab.client.close()
    mongo_server.drop(name)


def test_experiments_are_added_with_their_whole_configuration(started):
    """seml takes the steps of Sacred's initialize by hand for it, and makes a run to see whether all is given."""
    first, second = started.added
    assert (first["status"], second["status"]) == ("STAGED", "STAGED")
    assert first["config"]["model"] == {"width": 8, "act": "relu"} and first["config"]["n"] == 2
    assert first["config_unresolved"] == {"fails": False, "n": 2} and second["config"]["fails"] is True
    assert sorted(name for name, _ in first["seml"]["source_files"]) == ["helper.py", "train.py"]


def test_an_experiment_is_run_and_recorded_in_its_document(started):
    """What Sacred's observer would leave there, and what seml has there itself."""
    done, _ = started.documents()
    assert done["status"] == "COMPLETED", started.printed + started.logs()
    assert done["config"]["lr"] == 0.1 and done["config"]["overwrite"] == 1
    assert done["result"]["score"] == 0.2 and done["result"]["width"] == 8
    assert done["experiment"]["name"] == "train"
    assert {name for name, _ in done["experiment"]["sources"]} == {"train.py", "helper.py"}
    assert [each["name"] for each in done["artifacts"]] == ["out.txt"]
    assert done["start_time"] <= done["stop_time"] and done["start_time"] <= done["heartbeat"]
    assert "hello from the experiment\n" in done["captured_out"] and "width 8" in done["captured_out"]
    assert done["host"]["hostname"] and "fail_trace" not in done
    for field in ("seml", "slurm", "git", "batch_id", "config_hash", "config_unresolved", "add_time"):
        assert field in done, field
    assert done["execution"] == {"cluster": "local"} and done["stats"]["real_time"] >= 0
    assert done["config_hash"] == started.added[0]["config_hash"]
    series = started.client[started.database_name]["metrics"].find_one({"run_id": 1})
    assert (series["name"], series["steps"], series["values"]) == ("loss", [0, 1], [0.1, 0.05])


def test_one_that_fails_is_recorded_as_failed(started):
    """With the trace, which `seml print-fail-trace` shows."""
    _, failed = started.documents()
    assert failed["status"] == "FAILED" and "told to fail" in "".join(failed["fail_trace"])
    assert failed["stop_time"] and failed.get("result") is None and "hello" in failed["captured_out"]
    shown = started("print-fail-trace")
    assert "told to fail" in shown and "train.py" in shown


def test_its_other_commands_read_what_is_there(started):
    """Status, commands, output, and results as a table."""
    status = started("status")
    assert "COMPLETED" in status and "FAILED" in status and "Total" in status
    assert "python train.py with" in started("print-command", "--filter-states", "FAILED")
    assert "hello from the experiment" in started("print-output")
    code = """
        import json
        from seml.evaluation import get_results
        (run,) = get_results("demo", progress=False)
        print(json.dumps([run["config"]["n"], run["result"]["score"], run["result"]["pair"]]))
    """
    assert json.loads(started.run_python("-c", textwrap.dedent(code)).splitlines()[-1]) == [2, 0.2, [1, 2]]


def test_our_reader_reads_it_too(started):
    """From the collection that seml writes into."""
    store = open_store(f"{started.url}&collection={started.collection_name}")
    record = store.get("1")
    assert record.status == "COMPLETED" and record.config["model"]["width"] == 8
    assert list(record.metrics["loss"].values) == [0.1, 0.05]


def test_it_was_this_library_that_ran(started):
    """Sacred lies in the same environment."""
    done, _ = started.documents()
    packages = [each.partition("==")[0] for each in done["experiment"]["dependencies"]]
    assert "capture" in done and "sacred" not in packages


def test_an_experiment_is_reset_and_run_again(started):
    """A second start in the same document; nothing of the first may shine through."""
    lab = started
    lab.write("helper.py", "def double(x):\n    return 20 * x\n")
    lab("reset", "--sacred-id", "2", "--yes")
    _, second = lab.documents()
    assert second["status"] == "STAGED" and "fail_trace" not in second
    lab.client[lab.database_name][lab.collection_name].update_one({"_id": 2}, {"$set": {"config.fails": False}})
    lab("start", "--local")
    _, second = lab.documents()
    assert second["status"] == "COMPLETED" and "fail_trace" not in second, lab.logs()
    assert second["result"]["score"] == 0.2, "the sources are those that were uploaded when it was added"


def test_a_job_that_wants_another_turn_says_so_in_the_document(started):
    """seml waits for a status of its own, and for a field that it puts into the observer's `run_entry` in mid-run."""
    started.write(
        "again.py",
        """
        from seml.experiment.experiment import Experiment, RescheduleInterrupt
        ex = Experiment(logger=None)

        @ex.automain
        def main(_run):
            ex._add_reschedule_config_to_db({"checkpoint": 3})
            raise RescheduleInterrupt
        """,
    )
    runs = started.client[started.database_name][started.collection_name]
    runs.insert_one({**started.added[0], "_id": 50, "status": "RUNNING", "batch_id": 9})
    printed = started.run_python(
        "again.py", "with", "db_collection='demo'", "overwrite=50", "--force", status=1
    )
    (document,) = runs.find({"_id": 50})
    assert document["status"] == "RESCHEDULED", printed
    assert document["reschedule_config_update"] == {"checkpoint": 3}
    assert document["slurm"] == started.added[0]["slurm"] and document["batch_id"] == 9


def test_runs_are_deleted_with_their_files(started):
    """seml takes the ids of files from the document."""
    started("delete", "--filter-states", "", "--yes")
    database = started.client[started.database_name]
    assert started.documents() == []
    assert not [each for each in database["fs.files"].find() if each["filename"].startswith("artifact://")]
