"""Omniboard and Incense, made for Sacred's records, show ours: the fields that they read are there, in their types."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.parse
import urllib.request

import pytest

from capture import Experiment, open_store
from tests.servers import packages
from tests.servers.fixtures import require

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(mongo_url, tmp_path, monkeypatch):
    """Record a run that completes, one that fails and one with odd values; return the URL of the store."""
    monkeypatch.chdir(tmp_path)
    ex = Experiment("viewed", observers=[mongo_url])

    @ex.config
    def config():
        lr = 0.1
        layers = (64, 32)
        optimizer = {"name": "adam", "betas": [0.9, 0.99]}
        big = 10**30
        tags = ["baseline"]
        fails = False

    @ex.main
    def main(lr, fails, _run):
        print("said by main")
        for step in range(20):
            _run.log_scalar("loss", 1.0 / (step + 1), step)
            _run.log_scalar("val.acc", step / 20, step)
        with open("plot.svg", "w") as stream:
            stream.write("<svg/>")
        _run.add_artifact("plot.svg")
        with open("table.csv", "w") as stream:
            stream.write("a,b\n1,2\n")
        _run.add_artifact("table.csv")
        _run.info["best"] = 7
        _run.info["odd"] = {"a.b": 1, "$set": 2}
        if fails:
            raise ValueError("as asked")
        return 0.5

    ex.run(options={"--comment": "first try"})
    with pytest.raises(ValueError, match="as asked"):
        ex.run(config_updates={"fails": True})
    ex.run(config_updates={"lr": float("nan")})
    return mongo_url


class Board:
    """Omniboard, asked as its page asks."""

    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, path: str, **query: str) -> object:
        return json.loads(self.bytes(path, **query))

    def bytes(self, path: str, **query: str) -> bytes:
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=30) as answer:
            return answer.read()

    def put(self, path: str, data: object) -> None:
        request = urllib.request.Request(
            f"{self._url}/api/v1/{path}", json.dumps(data).encode(), {"Content-Type": "application/json"}, method="PUT"
        )
        urllib.request.urlopen(request, timeout=30).read()


@pytest.fixture
def board(runs, own_omniboard):
    """Return an Omniboard of these runs."""
    server = own_omniboard(runs)
    server.start()
    return Board(server.url)


def test_omniboard_lists_the_runs(board):
    """Its table: state, times from which it computes the duration, configuration, result, comment."""
    table = board.get("Runs", sort_by="_id", order_by="-1", limit="200")
    assert [row["_id"] for row in table] == [3, 2, 1]
    first = table[2]
    assert first["status"] == "COMPLETED" and table[1]["status"] == "FAILED"
    assert first["experiment"]["name"] == "viewed" and first["command"] == "main"
    assert first["config"]["lr"] == 0.1 and first["config"]["optimizer"]["name"] == "adam"
    assert first["config"]["tags"] == ["baseline"]
    assert first["result"] == 0.5 and first["meta"]["comment"] == "first try"
    assert first["host"]["hostname"]
    begun, beat = (time.strptime(first[name][:19], "%Y-%m-%dT%H:%M:%S") for name in ("start_time", "heartbeat"))
    assert 0 <= time.mktime(beat) - time.mktime(begun) < 60
    assert abs(time.mktime(begun) - time.mktime(time.gmtime())) < 120
    assert board.get("Runs/count")["count"] == 3


def test_omniboard_filters_by_configuration(board):
    """A column filter becomes a query of MongoDB on `config.*`, which must hold real values."""
    query = json.dumps({"$and": [{"config.optimizer.name": {"$eq": "adam"}}, {"config.lr": {"$lt": 0.5}}]})
    assert [row["_id"] for row in board.get("Runs", sort_by="_id", order_by="-1", query=query)] == [2, 1]


def test_omniboard_shows_one_run(board):
    """Output, trace, info with metrics, sources, artifacts."""
    run = board.get("Runs/1", select="captured_out,fail_trace,info,artifacts,resources,experiment")
    assert "said by main" in run["captured_out"]
    failed = board.get("Runs/2")
    assert isinstance(failed["fail_trace"], list) and any("as asked" in line for line in failed["fail_trace"])
    assert {each["name"] for each in run["info"]["metrics"]} == {"loss", "val.acc"}
    assert run["info"]["best"] == 7
    artifacts = {each["name"]: each["file_id"] for each in run["artifacts"]}
    assert board.bytes(f"files/preview/{artifacts['table.csv']}/table.csv") == b"a,b\n1,2\n"
    assert len(board.get("files/source/1")) == len(run["experiment"]["sources"]) >= 1
    name, file_id = next(each for each in run["experiment"]["sources"] if each[0].endswith("test_mongo_viewers.py"))
    assert b"Omniboard and Incense" in board.bytes(f"files/preview/{file_id}/{name.rpartition('/')[2]}")


def test_omniboard_plots_metrics(board):
    """Steps, values and times of equal length, found by the id that `info.metrics` names."""
    metrics = board.get("Metrics", query=json.dumps({"run_id": 1}))
    by_name = {each["name"]: each for each in metrics}
    assert by_name["loss"]["steps"] == list(range(20))
    assert by_name["loss"]["values"][1] == 0.5
    assert len(by_name["loss"]["timestamps"]) == 20
    info = board.get("Runs/1")["info"]["metrics"]
    assert {each["id"] for each in info} == {each["_id"] for each in metrics}


def test_notes_and_tags_made_in_omniboard_are_ours(board, runs):
    """It writes `omniboard.notes` and `omniboard.tags`; what the library writes afterwards leaves them alone."""
    board.put("Runs/1", {"omniboard": {"notes": "looks good", "tags": ["keep"]}})
    record = open_store(runs).get(1)
    assert (record.notes, record.tags) == ("looks good", ["keep"])
    assert [each.label for each in open_store(runs).find({"notes": "looks good"})] == [record.label]


INCENSE = """
import json, sys
from incense import ExperimentLoader
url, name = sys.argv[1].rsplit("/", 1)
loader = ExperimentLoader(mongo_uri=url, db_name=name, unpickle=False)
run = loader.find_by_id(1)
print(json.dumps({
    "lr": run.config.lr,
    "adam": run.config.optimizer.name,
    "result": run.result,
    "status": run.status,
    "steps": list(map(int, run.metrics["loss"].index)),
    "second": float(run.metrics["loss"].iloc[1]),
    "artifacts": {name: type(each).__name__ for name, each in run.artifacts.items()},
    "csv": run.artifacts["table.csv"].render().values.tolist(),
    "failed": [each.id for each in loader.find_by_key("status", "FAILED")],
    "latest": loader.find_latest().id,
    "named": len(loader.find_by_name("viewed")),
}))
"""


def test_incense_reads_our_runs(runs, tmp_path):
    """It picks how to show an artifact by its content type."""

    class Sacred:
        name, drivers = "sacred", ()

        @staticmethod
        def missing() -> str | None:
            return None if packages.is_installed("sacred") else "Incense is not installed"

    require(Sacred)
    done = subprocess.run(
        [packages.python("sacred"), "-c", INCENSE, runs],
        capture_output=True, text=True, timeout=600, env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["lr"] == 0.1 and found["adam"] == "adam" and found["result"] == 0.5
    assert found["status"] == "COMPLETED" and found["failed"] == [2] and found["latest"] == 3 and found["named"] == 3
    assert found["steps"] == list(range(20)) and found["second"] == 0.5
    assert found["artifacts"]["table.csv"] == "CSVArtifact"
    assert found["csv"] == [[1, 2]]
