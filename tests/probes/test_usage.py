"""What a run used, as the difference between its end and its beginning."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from capture.hooks import Unavailable
from capture.probes import usage
from capture.probes.host import plain
from capture.probes.usage import Usage

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells it")
UNIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not count it")


@pytest.fixture(autouse=True)
def nobody_at_work(monkeypatch):
    monkeypatch.setattr(usage, "_at_work", set())


def burn(seconds):
    """Use a processor until the process has used so much time."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        sum(range(1000))


def test_time_is_that_since_the_beginning():
    """A run in a process that worked before must not be charged with that."""
    burn(0.05)
    before = time.process_time()
    used = Usage()
    burn(0.1)
    facts = used.facts()
    spent = time.process_time() - before
    assert 0.05 < facts["cpu_s"] < spent + 0.05
    assert facts["cpu_s"] == pytest.approx(
        sum(facts[f"cpu_{name}_s"] for name in ("user", "system", "children_user", "children_system")), abs=1e-5
    )
    assert facts["wall_s"] > 0
    json.dumps(plain(facts))


def test_the_wall_time_ends_when_the_run_did():
    """What the library does after main is not the run's."""
    used = Usage()
    assert used.facts(ended=used._began + 12.5)["wall_s"] == 12.5


@UNIX
def test_children_that_were_waited_for_are_counted():
    """Much of a pipeline is done by programs that it starts."""
    used = Usage()
    code = "x = bytearray(60_000_000)\nimport time\nwhile time.process_time() < 0.2: pass"
    subprocess.run([sys.executable, "-S", "-c", code], check=True)
    facts = used.facts()
    assert facts["cpu_children_user_s"] + facts["cpu_children_system_s"] >= 0.15
    assert facts["children_peak_memory_bytes"] == 0 or facts["children_peak_memory_bytes"] > 50_000_000


@UNIX
def test_a_child_of_an_earlier_run_is_not_this_run_s():
    """The system remembers the largest child that the process ever had."""
    subprocess.run([sys.executable, "-S", "-c", "x = bytearray(60_000_000)"], check=True)
    assert Usage().facts()["children_peak_memory_bytes"] == 0


IN_A_FRESH_PROCESS = """
import sys, json
sys.path.insert(0, {root!r})
from capture.probes.usage import Usage
{before}
used = Usage()
{within}
print(json.dumps(used.facts(), default=str))
"""


def facts_of(before="pass", within="pass"):
    root = os.path.dirname(os.path.dirname(os.path.dirname(usage.__file__)))
    code = IN_A_FRESH_PROCESS.format(root=root, before=before, within=within)
    return json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)


@UNIX
def test_a_peak_within_the_run_is_the_run_s():
    """How much memory to ask for the next time."""
    facts = facts_of(within="x = bytearray(200_000_000); del x")
    assert 200_000_000 < facts["peak_memory_bytes"] < 400_000_000
    assert facts["peak_memory_within"] == "run"


@UNIX
def test_a_peak_before_the_run_is_only_the_process_s():
    """Systems count for the process; a second run must not be charged with what the first one needed."""
    facts = facts_of(before="x = bytearray(200_000_000); del x")
    assert facts["peak_memory_bytes"] > 200_000_000
    assert facts["peak_memory_within"] == "process"


@LINUX
def test_the_peak_is_not_that_of_the_program_that_started_this_one():
    """getrusage says what a big process had before it was replaced by Python."""
    code = "import os, sys; x = bytearray(300_000_000)\nos.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])"
    root = os.path.dirname(os.path.dirname(os.path.dirname(usage.__file__)))
    inner = IN_A_FRESH_PROCESS.format(root=root, before="pass", within="pass")
    done = subprocess.run([sys.executable, "-c", code, inner], capture_output=True, check=True)
    assert json.loads(done.stdout)["peak_memory_bytes"] < 200_000_000


@LINUX
def test_bytes_read_and_written_are_those_of_the_run(tmp_path):
    """They tell a run that waits for its disk from one that computes."""
    file = tmp_path / "data"
    used = Usage()
    file.write_bytes(b"x" * 3_000_000)
    file.read_bytes()
    facts = used.facts()
    if not isinstance(facts["read_bytes"], Unavailable):  # some containers do not let it be read
        assert 3_000_000 <= facts["written_bytes"] < 4_000_000
        assert 3_000_000 <= facts["read_bytes"] < 4_000_000
    assert facts["page_reclaims"] >= 0 and facts["context_switches_voluntary"] >= 0


def test_what_a_system_does_not_count_is_a_reason(monkeypatch):
    """Nought would look as if nothing had been read."""
    monkeypatch.setattr(usage, "read", lambda path, size=0: None)
    facts = Usage().facts()
    assert isinstance(facts["read_bytes"], Unavailable) and isinstance(facts["disk_written_bytes"], Unavailable)
    assert facts["cpu_s"] >= 0


def test_runs_at_the_same_time_are_told():
    """Their numbers hold the others', too; nobody must add them up."""
    alone = Usage()
    assert alone.facts()["other_runs"] == 0
    first, second = Usage(), Usage()
    assert second.facts()["other_runs"] == 1
    third = Usage()
    assert first.facts()["other_runs"] == 2
    assert third.facts()["other_runs"] == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked there")
def test_a_forked_child_knows_that_it_is_not_the_run():
    """Its clock began when it was forked."""
    used = Usage()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, json.dumps(plain(used.facts())).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(writing)
    with open(reading, "rb") as answer:
        assert "forked" in json.loads(answer.read())["other_runs"]["unavailable"]
    assert used.facts()["other_runs"] == 0
