"""Servers are absent, killed, frozen, full, restarted, or refuse: the run goes on, and in the end every store is whole.

The stories are the same for each kind of server, and what is compared in the end is the record: no line missing, no
measurement missing, none twice.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import pytest

from capture import open_store
from tests.e2e.scripts import Folder

pytestmark = pytest.mark.slow

SCRIPT = """
import os, sys, time
from capture import Experiment

ex = Experiment("steady", observers=[sys.argv.pop(1)])

@ex.config
def defaults():
    steps = 40
    pause = 0.1
    kill_at = -1

@ex.automain
def main(steps, pause, kill_at, _run):
    for step in range(steps):
        print("line", step)
        _run.log_scalar("n", step, step)
        if step % 10 == 5:
            name = f"artifact{step}.txt"
            with open(name, "w") as stream:
                stream.write(f"bytes of {step}" * 1000)
            _run.add_artifact(name)
        _run.info["step"] = step
        open("step", "w").write(str(step))
        if step == kill_at:
            os.kill(os.getpid(), 9)
        time.sleep(pause)
    open("main-ended", "w").write(str(time.time()))
    return steps
"""


def a_server_of(*kinds):
    """Return the decorator of a test that is run with a server of each kind."""
    return pytest.mark.parametrize("make_server", kinds or ("mongo", "postgres", "mariadb", "s3"), indirect=True)


@pytest.fixture
def make_server(request, monkeypatch):
    """Return a factory of private servers of one kind, not started yet."""
    make = request.getfixturevalue(f"own_{request.param}")

    def make_one(**options):
        server = make(**options)
        for name, value in getattr(server, "client_environment", {}).items():
            monkeypatch.setenv(name, value)
        return server

    make_one.kind = request.param
    return make_one


@pytest.fixture
def folder(tmp_path):
    """Return a folder with the script."""
    place = Folder(tmp_path)
    place.write(SCRIPT, head="")
    return place


def url_of(server) -> str:
    """Return the URL of a store on a server that runs."""
    if hasattr(server, "create"):
        server.create("runs-here")
    return server.url_of("runs-here")


def start(folder, url, *updates):
    """Start the script."""
    folder.environment.update({name: value for name, value in os.environ.items() if name.startswith("AWS_")})
    return folder.start(url, *(("with", *updates) if updates else ()))


def wait_for_step(folder, step: int, timeout_s: float = 120.0) -> None:
    """Wait until main has come so far."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if int((folder.path / "step").read_text() or 0) >= step:
                return
        except FileNotFoundError:
            pass
        time.sleep(0.02)
    raise AssertionError(f"main did not reach step {step} in {timeout_s} s")


def ended(process, within_s: float = 200.0) -> str:
    """Wait for the process; return what it said."""
    try:
        out, err = process.communicate(timeout=within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, out + err
    return out + err


def sync(folder, *arguments) -> str:
    """Deliver what was left behind, as a user does."""
    done = subprocess.run(
        [sys.executable, "-m", "capture", "sync", *arguments],
        cwd=folder.path, env=folder.environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    return done.stdout + done.stderr


def check_whole(url: str, steps: int = 40, status: str = "COMPLETED") -> None:
    """Assert that the store holds one run, in which nothing is missing and nothing twice."""
    store = open_store(url)
    labels = store.labels()
    assert len(labels) == 1
    record = store.get(labels[0])
    assert record.status == status
    assert re.findall(r"^line (\d+)$", record.output, re.M) == [str(step) for step in range(steps)]
    assert list(record.metrics["n"].steps) == list(range(steps))
    assert list(record.metrics["n"].values) == list(range(steps))
    wanted = {f"artifact{step}.txt": f"bytes of {step}".encode() * 1000 for step in range(5, steps, 10)}
    added = [each for each in record.artifacts if each.name.startswith("artifact")]  # beside what was seen written
    assert {each.name: each.read() for each in added} == wanted
    assert record.summary["n"]["count"] == steps
    if status == "COMPLETED":
        assert record.result == steps
        assert record.info["step"] == steps - 1
    store.close()


@a_server_of()
def test_a_server_that_is_absent_at_the_start(make_server, folder):
    """The run goes on, ends well, says what to do, and is delivered when the server is there."""
    server = make_server()
    server.start()
    url = url_of(server)
    server.stop()
    begun = time.monotonic()
    said = ended(start(folder, url, "steps=10", "pause=0.01"))
    assert time.monotonic() - begun < 120  # not as long as the server is away
    assert "capture sync" in said
    server.start()
    sync(folder, f"--to={url}")
    check_whole(url, steps=10)
    sync(folder, f"--to={url}")
    check_whole(url, steps=10)


@a_server_of()
def test_a_server_that_is_killed_in_mid_run(make_server, folder):
    """Ten seconds without it; the run does not notice, and its record has no gap and no repetition."""
    server = make_server()
    server.start()
    url = url_of(server)
    process = start(folder, url, "steps=140")
    wait_for_step(folder, 15)
    server.kill()
    time.sleep(10)
    server.start()
    said = ended(process)
    if "capture sync" in said:
        sync(folder, f"--to={url}")
    check_whole(url, steps=140)


@a_server_of("mongo")
def test_what_a_server_confirmed_outlives_its_death(make_server, tmp_path, monkeypatch):
    """It keeps what it confirmed in memory for a while, and the run's document must not speak of what died with it."""
    from capture import Experiment
    from capture.observers import _mongo_run

    server = make_server()
    server.start()
    url = url_of(server)
    monkeypatch.chdir(tmp_path)
    resend, kills = _mongo_run.MongoRun._resend, []

    def resend_to_another(self):
        if not kills and "loss" in str(self._sent[1]):
            kills.append(1)
            server.kill()
            server.start()
        resend(self)

    monkeypatch.setattr(_mongo_run.MongoRun, "_resend", resend_to_another)
    ex = Experiment("confirmed", observers=[url])

    @ex.main
    def main(_run):
        (tmp_path / "weights.bin").write_bytes(b"w" * 300_000)
        for step in range(10):
            _run.log_scalar("loss", step, step)
        _run.add_artifact(tmp_path / "weights.bin")

    ex.run()
    assert kills
    record = open_store(url).get(-1)
    assert list(record.metrics["loss"].values) == list(range(10))
    assert [artifact.open().read() for artifact in record.artifacts] == [b"w" * 300_000]


@a_server_of()
def test_a_server_that_is_gone_for_good(make_server, folder):
    """The process ends some seconds after main's end and says what to do."""
    server = make_server()
    server.start()
    url = url_of(server)
    process = start(folder, url)
    wait_for_step(folder, 15)
    server.kill()
    said = ended(process)
    over = time.time() - float((folder.path / "main-ended").read_text())
    assert over < 60.0, f"the process ended {over:.1f} s after main"  # ten where nothing else goes on
    assert "capture sync" in said
    server.start()
    sync(folder, f"--to={url}")
    check_whole(url)


@a_server_of()
def test_a_server_that_freezes(make_server, folder):
    """It answers nothing for a while, then everything."""
    server = make_server()
    server.start()
    url = url_of(server)
    process = start(folder, url, "steps=100")
    wait_for_step(folder, 15)
    server.pause()
    time.sleep(6)
    server.resume()
    said = ended(process)
    if "capture sync" in said:
        sync(folder, f"--to={url}")
    check_whole(url, steps=100)


@a_server_of()
def test_a_server_that_restarts_between_beats(make_server, folder):
    """Administrators restart servers; connections in the pool are dead then."""
    server = make_server()
    server.start()
    url = url_of(server)
    process = start(folder, url, "steps=80")
    for step in (15, 40):
        wait_for_step(folder, step)
        server.stop()
        server.start()
    said = ended(process)
    if "capture sync" in said:
        sync(folder, f"--to={url}")
    check_whole(url, steps=80)


@a_server_of()
def test_a_run_that_is_killed(make_server, folder):
    """What it had told is delivered from its journal, however often it is delivered."""
    server = make_server()
    server.start()
    url = url_of(server)
    process = start(folder, url, "kill_at=30")
    process.communicate(timeout=600)
    assert process.returncode == -9
    time.sleep(0.5)
    for _ in range(2):
        sync(folder, f"--to={url}")
        store = open_store(url)
        record = store.get(store.labels()[0])
        assert record.status == "RUNNING"
        assert store.is_alive(record) is False
        lines = re.findall(r"^line (\d+)$", record.output, re.M)
        assert lines == [str(step) for step in range(len(lines))]
        assert 15 <= len(lines) <= 31  # half a second may be lost, which is five steps, or more on a busy machine
        values = list(record.metrics["n"].values)
        assert values == list(range(len(values)))
        assert 15 <= len(values) <= 31
        assert len(store.labels()) == 1


@a_server_of()
def test_a_store_that_refuses_the_credentials(make_server, folder, monkeypatch):
    """That does not pass by itself: it is said at once, without the password, and nothing is lost."""
    server = make_server(**({"auth": True} if make_server.kind == "mongo" else {}))
    server.start()
    url = url_of(server)
    if make_server.kind == "s3":
        right = {name: os.environ[name] for name in server.wrong_environment}
        for name, value in server.wrong_environment.items():
            monkeypatch.setenv(name, value)
        wrong, secret = url, server.wrong_environment["AWS_SECRET_ACCESS_KEY"]
    else:
        right, wrong = {}, server.wrong_url
        secret = re.search(r"//[^:/@]+:([^@]+)@", wrong)[1]
    begun = time.monotonic()
    said = ended(start(folder, wrong, "steps=10", "pause=0.01"))
    assert time.monotonic() - begun < 120
    assert secret not in said
    assert re.search("refuse|denied|authenticat|password|credential|key", said, re.I), said
    folder.environment.update(right)
    sync(folder, f"--to={url}")
    for name, value in right.items():
        monkeypatch.setenv(name, value)
    check_whole(url, steps=10)


@a_server_of("mongo", "postgres", "mariadb")
def test_a_server_whose_disk_is_full(make_server, folder):
    """The run goes on; when there is room, what waited goes in."""
    from tests.servers.processes import small_disks_missing

    if small_disks_missing():
        pytest.skip(small_disks_missing())
    server = make_server(disk_mib={"mongo": 400, "postgres": 120, "mariadb": 300}[make_server.kind])
    server.start()
    url = url_of(server)
    filler = os.path.join(server.folder, "filler")
    process = start(folder, url, "steps=60")
    wait_for_step(folder, 15)
    with open(filler, "wb") as stream:
        try:
            while True:
                stream.write(b"\0" * (1 << 20))
                stream.flush()
        except OSError:
            pass
    time.sleep(3)
    os.unlink(filler)
    if not server.running:
        server.start()
    ended(process)
    if not server.running:
        server.start()
    sync(folder, f"--to={url}")
    check_whole(url, steps=60)
