"""Runs in MLflow, on a real server and in a database: complete, once, and findable there."""

from __future__ import annotations

import enum
import io
import json
import os
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
import uuid
from pathlib import Path, PurePosixPath

import pytest

from capture import Experiment, events, start_run
from capture.errors import ObserverError
from capture.observers import MlflowObserver
from capture.observers._mlflow_tracking import RestTracking, TrackingError, artifacts_of
from capture.observers.mlflow import Keys, Output, legal_key
from capture.registry import make_observer
from capture.testing import Story, tell
from tests.project.tree import ROOT
from tests.servers import installing
from tests.servers.fixtures import leave_out


class Mlflow:
    """What a person sees of MLflow: asked over HTTP, with nothing of the library."""

    def __init__(self, url):
        self.url = url
        self.experiment = f"test-{uuid.uuid4().hex[:8]}"

    def observer(self, **options):
        return MlflowObserver(self.url, self.experiment, **options)

    def ask(self, path, **fields):
        data = json.dumps(fields).encode()
        request = urllib.request.Request(
            f"{self.url}/api/2.0/mlflow/{path}", data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def get(self, where, **fields):
        with urllib.request.urlopen(f"{self.url}/api/2.0/mlflow/{where}?{urllib.parse.urlencode(fields)}") as answer:
            return json.load(answer)

    def runs(self):
        found = self.get("experiments/get-by-name", experiment_name=self.experiment)["experiment"]
        return self.ask("runs/search", experiment_ids=[found["experiment_id"]]).get("runs", [])

    def run(self):
        [run] = self.runs()
        return Seen(self, run)


class Seen:
    """One run as MLflow shows it."""

    def __init__(self, mlflow, run):
        self.mlflow, self.info = mlflow, run["info"]
        self.id, self.status = self.info["run_id"], self.info["status"]
        self.tags = {each["key"]: each.get("value", "") for each in run["data"].get("tags", [])}
        self.params = {each["key"]: each.get("value", "") for each in run["data"].get("params", [])}
        self.inputs = run.get("inputs", {}).get("dataset_inputs", [])

    def points(self, key):
        found = self.mlflow.get("metrics/get-history", run_id=self.id, metric_key=key, max_results=25_000)
        return [(each["step"], each["value"]) for each in found.get("metrics", [])]

    def files(self, folder=""):
        listed = self.mlflow.get("artifacts/list", run_id=self.id, path=folder).get("files", [])
        found = set()
        for each in listed:
            found |= self.files(each["path"]) if each.get("is_dir") else {each["path"]}
        return found

    def read(self, name):
        query = urllib.parse.urlencode({"run_uuid": self.id, "path": name})
        with urllib.request.urlopen(f"{self.mlflow.url}/get-artifact?{query}") as answer:
            return answer.read()

    def document(self, name):
        return json.loads(self.read(f"capture/{name}.json"))


@pytest.fixture
def mlflow(mlflow_url):
    return Mlflow(mlflow_url)


def story_of(folder, uid="01997a1c-0001-7000-8000-000000000001"):
    """A run with something of everything."""
    run = Story(folder, uid).start(config={"lr": 0.1, "net": {"layers": [64, 32]}, "name": "x"})
    run.source("train.py", b"print('hello')\n").resource("/data/in.csv", b"1,2\n")
    run.add(events.Output(text="one\nloss 1", offset=0), events.Output(text="loss 0\n", offset=4))
    run.metrics(loss=[3.0, 2.0, 1.0]).metric("acc@5", [0.5, "nan", "inf"])
    run.artifact("plots/a b.png", b"PNG", metadata={"dpi": 90}).artifact("model.bin", b"\0" * 1000)
    run.add(events.Annotated(tags=["baseline", "a/b c"], notes="try *this*"))
    run.add(events.Facts(topic="process", facts={"user": {"name": "ada"}}))
    return run.beat(info={"epoch": 3}, result=0.25).complete(result=0.25)


# ------------------------------------------------------------------------------------------------- what MLflow shows


def test_a_parameter_reads_as_its_value_does(mlflow, tmp_path):
    """Runs are searched by parameters there: nobody looks for the JSON that a path is stored as."""
    mode = enum.Enum("Mode", {"FAST": "fast"})
    config = {"mode": mode.FAST, "data": PurePosixPath("/data/a.csv")}
    tell(mlflow.observer(), Story(tmp_path, uuid.uuid4().hex).start(config=config).complete())
    assert mlflow.run().params == {"mode": "FAST", "data": "/data/a.csv"}


def test_a_run_is_there_with_all_it_has(mlflow, tmp_path):
    """Whoever looks at MLflow only must find everything there."""
    tell(mlflow.observer(), story_of(tmp_path), offered=12)
    run = mlflow.run()
    assert run.status == "FINISHED"
    assert run.params == {"lr": "0.1", "net.layers": "[64, 32]", "name": "x"}
    assert run.points("loss") == [(0, 3.0), (1, 2.0), (2, 1.0)]
    assert sorted(map(str, run.points("acc_5"))) == ["(0, 0.5)", "(1, 'NaN')", "(2, 1.7976931348623157e+308)"]
    tags = run.tags
    assert (tags["capture.uid"], tags["capture.label"]) == ("01997a1c-0001-7000-8000-000000000001", "12")
    assert (tags["capture.status"], tags["capture.result"]) == ("COMPLETED", "0.25")
    assert (tags["mlflow.note.content"], tags["mlflow.user"]) == ("try *this*", "ada")
    assert tags["mlflow.source.name"].endswith(".py") and tags["mlflow.source.type"] == "LOCAL"
    assert tags["capture.tags"] == "baseline, a/b c" and tags["capture.tag.a/b c"] == "a/b c"
    assert tags["mlflow.runName"] == f"{mlflow.experiment} 12"
    assert run.read("cout.txt") == b"one\nloss 0\n"
    assert run.read("plots/a b.png") == b"PNG" and run.read("model.bin") == b"\0" * 1000
    assert run.read("capture/sources/train.py") == b"print('hello')\n"
    assert run.document("config") == {"lr": 0.1, "net": {"layers": [64, 32]}, "name": "x"}
    assert (run.document("info"), run.document("result")) == ({"epoch": 3}, 0.25)
    assert run.document("names") == {"acc_5": "acc@5"}
    [described] = [each for each in run.files() if each.startswith("capture/about/")]
    assert json.loads(run.read(described))["metadata"] == {"dpi": 90}
    [seen] = run.inputs
    assert seen["dataset"]["name"] == "in.csv" and json.loads(seen["dataset"]["source"])["uri"] == "/data/in.csv"


def test_a_real_run_arrives(mlflow, tmp_path):
    """Through the library's own threads, beside a store that gives the number."""
    ex = Experiment(mlflow.experiment, observers=[str(tmp_path / "runs"), f"mlflow+{mlflow.url}"])

    @ex.config
    def config():
        lr = 0.5

    @ex.main
    def main(lr, _run):
        print("hello")
        for step in range(2_500):
            _run.log_scalar("loss", 1 / (step + 1), step)
        return lr

    run = ex.run()
    seen = mlflow.run()
    assert (seen.status, seen.tags["capture.uid"], seen.tags["capture.label"]) == ("FINISHED", run.uid, "1")
    assert len(seen.points("loss")) == 2_500
    assert b"hello" in seen.read("cout.txt")
    assert seen.params["lr"] == "0.5"
    assert seen.info["end_time"] >= seen.info["start_time"]
    assert run.labels[str(MlflowObserver(mlflow.url).identity)] == seen.id


@pytest.mark.parametrize(
    ("error", "status", "ours"),
    [(ValueError("no"), "FAILED", "FAILED"), (KeyboardInterrupt(), "KILLED", "INTERRUPTED")],
)
def test_other_ends_have_their_status(mlflow, error, status, ours):
    """MLflow has five states; ours stands in a tag."""
    with pytest.raises(type(error)):
        with start_run("any", observers=[mlflow.observer()]):
            raise error
    run = mlflow.run()
    assert (run.status, run.tags["capture.status"]) == (status, ours)
    if status == "FAILED":
        assert run.tags["capture.error"] == "ValueError: no"
        assert run.document("ending")["fail_trace"][0].startswith("Traceback")


def test_what_is_longer_than_mlflow_takes_is_cut_there_and_kept_whole(mlflow, tmp_path):
    """A prompt of 20,000 characters is a parameter like any other."""
    config = {"prompt": "ä" * 20_000, **{f"p{number}": number for number in range(250)}, "k" * 400: 1}
    tell(mlflow.observer(), Story(tmp_path, uuid.uuid4().hex).start(config=config).complete())
    run = mlflow.run()
    assert run.params["prompt"] == "ä" * 6_000 and run.params["p249"] == "249" and run.params["k" * 250] == "1"
    assert run.document("config") == config


def test_steps_that_are_no_integers_are_rounded_down(mlflow, tmp_path):
    """MLflow has none; the time tells such points apart."""
    story = Story(tmp_path, uuid.uuid4().hex).start()
    columns = {"steps": [0.0, 0.5, 1.5, 1e30], "values": [1, 2, 3, 4], "times": [0, 1000, 2000, 3000]}
    story.add(events.Metrics(start=1_700_000_000_000_000, columns={"loss": columns}))
    tell(mlflow.observer(), story.complete())
    assert mlflow.run().points("loss") == [(0, 1.0), (0, 2.0), (1, 3.0), (2**63 - 1, 4.0)]


def test_names_that_mlflow_refuses_stay_different():
    """Two metrics must not become one, in this process or the next."""
    keys = Keys()
    assert [keys.of("acc@5"), keys.of("acc#5"), keys.of("acc_5"), keys.of("acc@5")] == ["acc_5", "acc_5_2", "acc_5_3", "acc_5"]
    later = Keys()
    later.learn(keys.document())
    assert later.of("acc#5") == "acc_5_2" and later.of("acc%5") == "acc_5"[:-1] + "5_4"


@pytest.mark.parametrize("name", ["a//b", "/a", "a/../b", ".", "..", "./a", "a/", "é: x-1.5", "x" * 300, "\n"])
def test_a_name_is_made_one_that_mlflow_takes(mlflow, tmp_path, name):
    """One refused name would take a whole batch of points with it."""
    story = Story(tmp_path, uuid.uuid4().hex).start().metric(name, [1.0]).complete()
    tell(mlflow.observer(), story)
    assert mlflow.run().points(legal_key(name)) == [(0, 1.0)]


def test_an_artifact_does_not_hide_what_is_ours(mlflow, tmp_path):
    """`cout.txt` is a name that a script may choose, too."""
    story = Story(tmp_path, uuid.uuid4().hex).start().add(events.Output(text="out", offset=0))
    story.artifact("cout.txt", b"mine").artifact("capture/config.json", b"mine, too").artifact("capture_x", b"x").complete()
    tell(mlflow.observer(), story)
    run = mlflow.run()
    assert run.read("cout.txt") == b"out" and run.document("config") is not None
    about = [json.loads(run.read(name)) for name in run.files() if name.startswith("capture/about/")]
    stored = {each["name"]: run.read(each["stored"]) for each in about}
    assert stored == {"cout.txt": b"mine", "capture/config.json": b"mine, too"}
    assert run.read("capture_x") == b"x"


def test_long_output_is_sent_piece_by_piece_and_joined(mlflow, tmp_path, monkeypatch):
    """A server takes whole files: of a day's output it must not get all at every line."""
    monkeypatch.setattr(Output, "PIECE", 10)
    observer = mlflow.observer()
    uid = uuid.uuid4().hex
    story = Story(tmp_path, uid).start().add(events.Output(text="0123456789abcdefghij-tail", offset=0))
    tell(observer, story)
    run = mlflow.run()
    assert {"cout.txt", "cout.txt.00001", "cout.txt.00002"} < run.files()
    assert run.read("cout.txt") == b"0123456789"
    story.add(events.Output(text="ABC", offset=12)).complete()
    tell(mlflow.observer(), story)  # another process goes on
    run = mlflow.run()
    assert run.read("cout.txt") == b"0123456789abABC"
    assert not any(name.startswith("cout.txt.") for name in run.files())


def test_output_goes_on_when_a_run_is_resumed(mlflow, tmp_path, monkeypatch):
    """What was joined at the first end is taken apart again, and joined at the second."""
    monkeypatch.setattr(Output, "PIECE", 10)
    uid = uuid.uuid4().hex
    first = Story(tmp_path / "1", uid).start().add(events.Output(text="0123456789" * 5, offset=0)).complete()
    second = Story(tmp_path / "2", uid, "main-2")
    second.add(events.Resumed(resume_time=second.moment()), events.Output(text="and more", offset=50))
    observer = mlflow.observer()
    tell(observer, first)
    tell(observer, second)
    run = mlflow.run()
    assert (run.status, run.read("cout.txt")) == ("RUNNING", b"0123456789")
    tell(mlflow.observer(), second.complete())
    run = mlflow.run()
    assert (run.status, run.read("cout.txt")) == ("FINISHED", b"0123456789" * 5 + b"and more")
    assert not any(name.startswith("cout.txt.") for name in run.files())


def test_a_server_that_takes_no_files_gets_the_rest(mlflow, monkeypatch, caplog):
    """Its folder is on another machine: that is said, and metrics and parameters arrive."""

    def refuse(tracking, uri):
        raise TrackingError("a folder of its own machine")

    monkeypatch.setattr("capture.observers.mlflow.artifacts_of", refuse)
    with start_run("any", {"lr": 1}, observers=[mlflow.observer()]) as run:
        run.log_scalar("loss", 1.0)
    seen = mlflow.run()
    assert (seen.status, seen.params["lr"], seen.points("loss")) == ("FINISHED", "1", [(0, 1.0)])
    assert caplog.text.count("and the like are left out: a folder of its own machine") == 1


@pytest.mark.slow
def test_a_frozen_server_does_not_hold_the_process(own_mlflow, monkeypatch):
    """It takes connections and never answers; the run ends, and its journal waits."""
    from capture import SETTINGS
    from capture.journal import list_journals, state_dirs

    monkeypatch.setitem(SETTINGS._values, "DELIVERY.STALL_S", 0.5)
    server = own_mlflow().start()
    mlflow = Mlflow(server.url)
    try:
        with start_run("any", observers=[mlflow.observer()]) as run:
            run.log_scalar("loss", 1.0)
            server.pause()
            run.log_scalar("loss", 2.0)
        assert run.status == "COMPLETED"
        assert [path for state in state_dirs(None) for path in list_journals(state)]
    finally:
        server.resume()


def test_tags_that_are_taken_off_are_gone(mlflow, tmp_path):
    """People search MLflow by tag."""
    story = Story(tmp_path, uuid.uuid4().hex).start()
    story.add(events.Annotated(tags=["a", "b"])).add(events.Annotated(tags=["b", "c"])).complete()
    tell(mlflow.observer(), story)
    tags = mlflow.run().tags
    assert {key for key in tags if key.startswith("capture.tag.")} == {"capture.tag.b", "capture.tag.c"}


# ------------------------------------------------------------------------------------------------------ exactly once


def test_what_is_delivered_again_changes_nothing(mlflow, tmp_path):
    """After a crash all of it may come once more, by another process."""
    story = story_of(tmp_path)
    for _ in range(3):
        tell(mlflow.observer(), story)
    run = mlflow.run()
    assert run.points("loss") == [(0, 3.0), (1, 2.0), (2, 1.0)]
    assert len(run.points("acc_5")) == 3
    assert run.read("cout.txt") == b"one\nloss 0\n"


def test_points_that_were_stored_before_the_place_was_are_not_doubled(mlflow, tmp_path):
    """The process dies between the two requests: the points come again, and MLflow has them."""
    story = story_of(tmp_path)
    tell(mlflow.observer(), story)
    run = mlflow.run()
    mlflow.ask("runs/delete-tag", run_id=run.id, key="capture.seq.main")
    tell(mlflow.observer(), story)
    again = mlflow.run()
    assert again.points("loss") == [(0, 3.0), (1, 2.0), (2, 1.0)] and len(again.points("acc_5")) == 3
    assert again.tags["capture.seq.main"] == run.tags["capture.seq.main"]


def test_two_writers_of_one_run_keep_their_own_place(mlflow, tmp_path):
    """A child process that writes must not make the main one's events come again, or be lost."""
    uid = uuid.uuid4().hex
    main = Story(tmp_path / "a", uid).start().metrics(loss=[1.0])
    child = Story(tmp_path / "b", uid, "child-7").metrics(other=[1.0, 2.0])
    tell(mlflow.observer(), main)
    tell(mlflow.observer(), child)
    tell(mlflow.observer(), main.complete())
    run = mlflow.run()
    assert {"capture.seq.main", "capture.seq.child-7"} < set(run.tags)
    assert len(run.points("loss")) == 1 and len(run.points("other")) == 2


def test_a_queued_run_is_taken_over(mlflow, tmp_path):
    """`--queue` writes it down, and whoever starts it goes on with it."""
    observer = mlflow.observer()
    queued = Story(tmp_path / "q", uuid.uuid4().hex).queue()
    label = tell(observer, queued)
    assert mlflow.run().status == "SCHEDULED"
    started = Story(tmp_path / "s", uuid.uuid4().hex).start(label=label).complete()
    assert tell(mlflow.observer(), started) == label
    run = mlflow.run()
    assert (run.id, run.status, run.tags["capture.uid"]) == (label, "FINISHED", started.uid)


def test_eight_processes_leave_eight_runs(mlflow, tmp_path):
    """All at once, in an experiment that none of them finds."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; from capture import start_run; from capture.observers import MlflowObserver\n"
        f"with start_run('any', {{'n': int(sys.argv[1])}}, observers=[MlflowObserver({mlflow.url!r}, {mlflow.experiment!r})]) as run:\n"
        "    for step in range(20): run.log_scalar('loss', step, step)\n"
    )
    processes = [subprocess.Popen([sys.executable, str(script), str(n)], cwd=tmp_path) for n in range(8)]
    assert [process.wait(60) for process in processes] == [0] * 8
    runs = [Seen(mlflow, run) for run in mlflow.runs()]
    assert sorted(run.params["n"] for run in runs) == [str(n) for n in range(8)]
    assert all(run.status == "FINISHED" and len(run.points("loss")) == 20 for run in runs)


# ------------------------------------------------------------------------------------------------------------ faults


@pytest.mark.slow
def test_a_server_that_dies_in_mid_run_has_all_of_it_in_the_end(own_mlflow):
    """It is killed, started again, and nothing is missing or there twice."""
    server = own_mlflow().start()
    mlflow = Mlflow(server.url)
    with start_run("any", observers=[mlflow.observer()]) as run:
        for step in range(100):
            run.log_scalar("loss", step, step)
        server.kill()
        for step in range(100, 200):
            run.log_scalar("loss", step, step)
        print("while it was away")
        server.start()
    seen = mlflow.run()
    assert seen.status == "FINISHED"
    assert seen.points("loss") == [(step, float(step)) for step in range(200)]
    assert b"while it was away" in seen.read("cout.txt")


@pytest.mark.slow
def test_a_server_that_is_away_costs_the_run_nothing_and_gets_it_later(own_mlflow, tmp_path, monkeypatch, caplog):
    """The run's journal waits for the next run, or for `capture sync`."""
    from capture import SETTINGS
    from capture.delivery import sync
    from capture.journal import state_dirs

    monkeypatch.setitem(SETTINGS._values, "DELIVERY.STALL_S", 0.5)
    server = own_mlflow().start()
    mlflow = Mlflow(server.url)
    server.stop()
    with start_run("any", observers=[mlflow.observer()]) as run:
        run.log_scalar("loss", 1.0)
    assert "cannot be reached" in caplog.text
    server.start()
    for state in state_dirs(None):
        sync(state, [mlflow.observer()])
    assert mlflow.run().points("loss") == [(0, 1.0)]


def test_a_run_that_somebody_deletes_is_not_written_any_more(mlflow, caplog):
    """MLflow's people clear up while the run goes on; the run does not mind."""
    with start_run("any", observers=[mlflow.observer()]) as run:
        run.log_scalar("loss", 1.0)
        [seen] = mlflow.runs()
        mlflow.ask("runs/delete", run_id=seen["info"]["run_id"])
        run.log_scalar("loss", 2.0)
    assert mlflow.runs() == []
    assert run.status == "COMPLETED"


def test_refused_credentials_are_a_clear_error_without_the_password(caplog):
    """At once, and not tried again: it names user and host."""
    from http.server import BaseHTTPRequestHandler, HTTPServer

    asked = []

    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers["Authorization"])
            self.send_error(401)

        do_POST = do_GET

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        observer = MlflowObserver(f"http://bob:TOPSECRET@127.0.0.1:{server.server_port}", "x")
        with pytest.raises(TrackingError, match="refuses the user 'bob'") as caught:
            observer.tracking.experiment("x")
        server.shutdown()
    assert not observer.transient(caught.value)
    assert asked[0].startswith("Basic ")
    assert "TOPSECRET" not in str(caught.value) + repr(observer) + observer.identity


@pytest.mark.parametrize("uri", ["./mlruns", "file:///data/mlruns", "mlruns"])
def test_the_layout_that_mlflow_gave_up_is_refused(uri):
    """With what to do instead."""
    with pytest.raises(ObserverError, match=r"MLflow has given up[\s\S]*sqlite:///[\s\S]*migrate-filestore"):
        MlflowObserver(uri)


@pytest.mark.parametrize(
    ("url", "identity"),
    [
        ("mlflow+http://bob:pw@host:5000", "mlflow+http://host:5000"),
        ("mlflow://host:5000/sub/", "mlflow+http://host:5000/sub"),
        ("mlflow+https://host?experiment=a%20b", "mlflow+https://host?experiment=a%20b"),
        ("mlflow+postgresql://bob:p/w@host/db?sslmode=require&password=pw", "mlflow+postgresql://host/db"),
        ("mlflow+sqlite:////data/m.db", "mlflow+sqlite:////data/m.db"),
        ("mlflow+sqlite:////data/@home/m.db", "mlflow+sqlite:////data/@home/m.db"),
        ("mlflow+sqlite:///m.db", f"mlflow+sqlite:///{os.path.abspath('m.db')}"),
    ],
)
def test_urls_lead_to_what_they_name(url, identity):
    """What waits for a store is delivered to an observer that is made from its identity."""
    observer = make_observer(url)
    assert observer.identity == identity
    assert make_observer(identity).identity == identity


def test_what_stands_behind_a_database_is_passed_on():
    """``sslmode=require`` that got lost on the way would be a connection that anybody can read."""
    observer = make_observer("mlflow+postgresql://host/db?sslmode=require&experiment=a+b&x=%20")
    assert observer._uri == "postgresql://host/db?sslmode=require&x=%20"
    assert observer.experiment_name == "a b"


def test_a_password_is_not_told_to_whom_the_server_sends_one_on():
    """Whoever can answer in the server's place could else collect passwords."""
    from http.server import BaseHTTPRequestHandler, HTTPServer

    heard = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append(self.path)
            if self.path.startswith("/api"):
                self.send_response(302)
                self.send_header("Location", f"http://bob:hunter2hunter2@127.0.0.1:{self.server.server_port}/other")
            else:
                self.send_response(200)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        tracking = RestTracking(f"http://bob:pw@127.0.0.1:{server.server_port}")
        for ask in (lambda: tracking.get("x"), lambda: tracking.update("x", "RUNNING")):
            with pytest.raises(TrackingError, match="sends one on to .*/other") as caught:
                ask()
            assert "hunter2" not in str(caught.value)
        server.shutdown()
    assert len(heard) == 2


def test_without_any_address_one_is_told_which_there_are(monkeypatch):
    """`mlflow://` alone stands for MLflow's own variable."""
    with pytest.raises(ObserverError, match="MLFLOW_TRACKING_URI"):
        make_observer("mlflow://")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:1")
    assert make_observer("mlflow://").identity == "mlflow+http://host:1"


def test_what_is_no_mlflow_is_called_so(tmp_path):
    """A web server that answers anything at all."""
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        with pytest.raises(TrackingError, match="is no MLflow server"):
            RestTracking(f"http://127.0.0.1:{server.server_port}").get("x")
        server.shutdown()


def test_nothing_of_mlflow_is_imported_for_a_server():
    """It takes seconds, and 1,600 modules."""
    code = (
        "import sys; from capture.observers import MlflowObserver\n"
        "try: MlflowObserver('http://127.0.0.1:1').tracking.experiment('x')\n"
        "except ConnectionError: print('mlflow' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_files_go_into_a_bucket_that_the_server_names(s3_url):
    """A server may only say where files are, and leave it to its clients to bring them there."""
    files = artifacts_of(RestTracking("http://tracking.example.org"), f"{s3_url}/1/abc/artifacts")
    files.put("a b/c.txt", lambda: io.BytesIO(b"hello"), 5)
    assert files.get("a b/c.txt") == b"hello" and files.get("nothing") is None
    files.delete(["a b/c.txt", "nothing"])
    assert files.get("a b/c.txt") is None


def test_files_go_into_a_folder_of_this_machine_only(tmp_path):
    """A path of the server's is one of ours only if the server is here."""
    files = artifacts_of(RestTracking("http://127.0.0.1:1"), tmp_path.as_uri() + "/artifacts")
    files.put("a/b.txt", lambda: io.BytesIO(b"hello"), 5)
    assert (tmp_path / "artifacts" / "a" / "b.txt").read_bytes() == files.get("a/b.txt") == b"hello"
    files.delete(["a/b.txt", "nothing"])
    assert files.get("a/b.txt") is None
    with pytest.raises(TrackingError, match="a folder of its own machine"):
        artifacts_of(RestTracking("http://tracking.example.org"), "/data/mlruns/1/abc/artifacts")


# -------------------------------------------------------------------------------------------------------- a database


@pytest.fixture
def with_mlflow(mlflow_server):
    """Environment of a process of this Python that can import MLflow, which the tests' own environment has not."""
    place = Path(installing.place("mlflow"))
    packages = place / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    if not packages.is_dir():
        leave_out("python -m tests.servers install mlflow was called with another Python")
    patient = {"CAPTURE_DELIVERY__STALL_S": "150"}  # to import MLflow takes seconds, many where others are at work
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(packages)]), **patient}


@pytest.mark.slow
def test_a_database_gets_the_same_runs(with_mlflow, tmp_path):
    """Several processes make it at once, and MLflow's own client reads it."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from capture import start_run\n"
        "with start_run('any', {'n': int(sys.argv[1])}, observers=['mlflow+sqlite:///runs.db']) as run:\n"
        "    for step in range(1500): run.log_scalar('loss', step, step)\n"
        "    print('hello'); run.add_artifact('script.py'); run.add_resource('script.py')\n"
        "    run.log_scalar('odd', float('nan')); run.log_scalar('odd', float('inf'))\n"
    )
    count = 3
    processes = [
        subprocess.Popen([sys.executable, str(script), str(n)], cwd=tmp_path, env=with_mlflow) for n in range(count)
    ]
    assert [process.wait(600) for process in processes] == [0] * count
    check = tmp_path / "check.py"
    check.write_text(
        "import json; from mlflow.tracking import MlflowClient\n"
        "client = MlflowClient('sqlite:///runs.db'); found = []\n"
        "for run in client.search_runs([client.get_experiment_by_name('any').experiment_id]):\n"
        "    names = [file.path for file in client.list_artifacts(run.info.run_id)]\n"
        "    points = client.get_metric_history(run.info.run_id, 'loss')\n"
        "    found.append([run.data.params['n'], run.info.status, len(points), sorted(names), len(run.inputs.dataset_inputs)])\n"
        "print(json.dumps(sorted(found)))\n"
    )
    done = subprocess.run([sys.executable, str(check)], cwd=tmp_path, env=with_mlflow, stdout=subprocess.PIPE, check=True)
    files = ["capture", "cout.txt", "script.py"]
    assert json.loads(done.stdout) == [[str(n), "FINISHED", 1500, files, 1] for n in range(count)]


@pytest.mark.slow
def test_a_database_that_is_away_is_waited_for(with_mlflow, tmp_path):
    """What SQLAlchemy raises before MLflow has a connection is none of MLflow's errors."""
    script = tmp_path / "script.py"
    script.write_text(
        "from capture.observers import MlflowObserver\n"
        "import mlflow.store.db.utils as utils, sqlalchemy.exc\n"
        "def away(uri): raise sqlalchemy.exc.OperationalError('connect', {}, OSError('refused\\nhunter2hunter2'))\n"
        "utils.create_sqlalchemy_engine_with_retry = away\n"
        "observer = MlflowObserver('postgresql://bob:hunter2hunter2@127.0.0.1:1/x')\n"
        "try: observer.tracking.experiment('x')\n"
        "except Exception as error: print(type(error).__name__, observer.transient(error), error)\n"
    )
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, env=with_mlflow, capture_output=True, text=True)
    assert done.stdout.startswith("TrackingAwayError True"), done.stderr
    assert "hunter2" not in done.stdout


def test_a_database_without_the_package_says_what_to_install(tmp_path, monkeypatch):
    """And that a server needs none."""
    monkeypatch.setitem(sys.modules, "mlflow", None)
    observer = MlflowObserver(f"sqlite:///{tmp_path}/runs.db")
    with pytest.raises(ObserverError, match=r"pip install 'experiment-capture\[mlflow\]'[\s\S]*mlflow server"):
        observer.tracking.experiment("x")
