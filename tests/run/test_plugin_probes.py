"""Probes that other packages declare: found without cost, asked beside the run, recorded as facts."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from capture import Experiment, Probe, Unavailable, start_run
from capture.registry import PROBE_GROUP, declares
from capture.testing import RecordingObserver
from capture.watching import OWN_TOPICS


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Return a function that installs a package with probes, for this test only."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def install(name, code, **probes):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(code))
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{probe} = {name}:{target}" for probe, target in probes.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{PROBE_GROUP}]", *lines, ""]))
        made.append(name)

    yield install
    for name in made:
        sys.modules.pop(name, None)


def facts_of(observer):
    facts = {call["name"]: call["facts"] for call in observer.of("facts_event")}
    return {name: value for name, value in facts.items() if name not in OWN_TOPICS or name == "params"}


def run(**options):
    """Return the facts that a run records."""
    observer = RecordingObserver()
    ex = Experiment("facts", observers=[observer])
    for probe in options.get("probes", ()):
        ex.additional_probes.append(probe)

    @ex.main
    def main():
        return 1

    ex.run()
    told = [name for name in observer.names if name not in ("flush", "join")]
    assert told[-1] == "completed_event", "something came after the end"
    return facts_of(observer)


def test_declared_probes_are_recorded_under_their_names(installed):
    """Class, object or function: whatever the entry point names."""
    code = """
        from capture import Probe

        class Disk(Probe):
            name = "disk"
            def gather(self):
                return {"free_gib": 3}

        class Nameless(Probe):
            def gather(self):
                return [1]

        disk_object = Disk()
        disk_object.name = "another"

        def modules():
            return ["gcc"]
    """
    installed("probing", code, declared="Disk", nameless="Nameless", thing="disk_object", modules="modules")
    assert run() == {"disk": {"free_gib": 3}, "nameless": [1], "another": {"free_gib": 3}, "modules": ["gcc"]}


def test_what_cannot_be_seen_is_recorded_with_the_reason(installed):
    """A missing fact that gives no reason is taken for a fact."""
    code = """
        from capture import Unavailable

        def absent():
            return Unavailable("no disk here")

        def partly():
            return {"a": 1, "b": [Unavailable("why not")]}

        def failing():
            raise OSError("broken")
    """
    installed("probing", code, absent="absent", partly="partly", failing="failing", missing="nosuch")
    facts = run()
    assert "nosuch" in facts.pop("missing")["unavailable"]
    assert facts == {
        "absent": {"unavailable": "no disk here"},
        "partly": {"a": 1, "b": [{"unavailable": "why not"}]},
        "failing": {"unavailable": "OSError: broken"},
    }


def test_a_package_that_cannot_be_imported_is_named(installed):
    """It breaks every run of the machine; whoever reads the record should know whom to ask."""
    installed("probing", "raise RuntimeError('half installed')", disk="Disk")
    reason = run()["disk"]["unavailable"]
    assert "'probing:Disk' of the package 'probing' cannot be loaded" in reason
    assert "RuntimeError: half installed" in reason


def test_a_topic_of_our_own_or_of_another_probe_is_not_taken_over(installed, caplog):
    """Facts of one name replace each other, so that the record would depend on who was last."""
    installed("probing", "def one(): return 1\ndef two(): return 2", params="one", disk="two")

    class Disk(Probe):
        name = "disk"

        def gather(self):
            return "the experiment's own"

    assert run(probes=[Disk()]) == {"disk": "the experiment's own"}
    assert caplog.text.count("is not asked") == 2


def test_start_run_asks_them_too(installed):
    """The record is the same with and without decorators."""
    installed("probing", "def one(): return 1", one="one")
    observer = RecordingObserver()
    with start_run("facts", observers=[observer]):
        pass
    assert facts_of(observer) == {"one": 1}


def test_they_can_be_switched_off(installed):
    """Whoever is not asked cannot be in the way."""
    from capture import SETTINGS

    installed("probing", "def one(): return 1", one="one")
    SETTINGS.PROBES.ENABLED = False
    try:
        assert run() == {}
    finally:
        SETTINGS.PROBES.ENABLED = True


def test_unobserved_runs_ask_nobody(installed):
    """`print_config` must not start nvidia-smi."""
    installed("probing", "def one(): raise SystemExit('asked')", one="one")
    ex = Experiment("facts", observers=[])
    ex.main(lambda: 1)
    ex.additional_probes.append(Loud())
    ex.run()
    assert not Loud.asked


class Loud(Probe):
    name = "loud"
    asked = False

    def gather(self):
        type(self).asked = True
        return Unavailable("never mind")


def test_a_package_that_is_installed_later_is_found(installed, tmp_path):
    """In a notebook packages come while the process lives: nothing is remembered for longer than it is true."""
    os.utime(tmp_path, ns=(0, 0))  # or the folder might be changed within one tick of the file system's clock
    assert run() == {}
    installed("probing", "def one(): return 1", one="one")
    assert run() == {"one": 1}


def test_a_run_without_declared_probes_does_not_load_importlib_metadata(tmp_path):
    """Loading it takes as long as a whole small run."""
    assert not declares(PROBE_GROUP)
    script = tmp_path / "plain.py"
    script.write_text(
        "from capture import Experiment\nimport sys\nex = Experiment('plain', observers=['store'])\n"
        "ex.main(lambda: 1)\nbefore = 'importlib.metadata' in sys.modules\nex.run()\n"
        "assert before or 'importlib.metadata' not in sys.modules\n"
    )
    subprocess.run([sys.executable, script], cwd=tmp_path, check=True, capture_output=True)
