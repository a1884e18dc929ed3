"""What the lab adds to runs, seen by an observer; no store, no subprocess."""

from __future__ import annotations

import pytest
from lab_framework import DatasetIngredient, LabExperiment, PortalObserver
from lab_framework.probes import ScratchSpace, loaded_modules

from capture import Unavailable
from capture.testing import RecordingObserver


@pytest.fixture
def lab():
    """Return an experiment that is watched by an observer."""
    ex = LabExperiment("fit", project="lines", observers=[RecordingObserver()])
    ex.main(lambda: 1)
    return ex


def test_the_project_is_a_config_entry_and_a_tag(lab):
    """What a run is booked on is part of what it was told to do."""
    run = lab.run()
    assert run.config["project"] == "lines"
    assert "project:lines" in run.tags


@pytest.mark.parametrize("how", [{"config_updates": {"project": "x"}}, {"options": {"--project": "x"}}])
def test_the_project_can_be_changed_for_a_run(lab, how):
    """From a job script as from the command line."""
    assert lab.run(**how).config["project"] == "x"


def test_a_required_portal_is_added_beside_what_the_script_asks_for(lab, tmp_path, monkeypatch):
    """The cluster's administrators set the variable, whoever wrote the script."""
    monkeypatch.setenv("LAB_PORTAL", f"lab://{tmp_path}/portal.jsonl")
    recording, portal = lab.run().observers
    assert isinstance(recording, RecordingObserver)
    assert isinstance(portal, PortalObserver)
    assert portal.required


def test_a_dataset_records_the_file_it_reads(tmp_path):
    """What a run was trained on is part of the run."""
    (tmp_path / "points.csv").write_text("x,y\n1,2\n3,4\n")
    points = DatasetIngredient("points")
    observer = RecordingObserver()
    ex = LabExperiment("fit", ingredients=[points], observers=[observer])
    ex.main(lambda: points.load())
    run = ex.run(config_updates={"points": {"folder": str(tmp_path), "file": "points.csv"}})
    assert run.result == [{"x": 1.0, "y": 2.0}, {"x": 3.0, "y": 4.0}]
    assert [call["filename"] for call in observer.of("resource_event")] == [str(tmp_path / "points.csv")]


def test_probes_say_what_they_cannot_see(tmp_path, monkeypatch):
    """No module system, no scratch disk: a laptop is not a cluster."""
    monkeypatch.delenv("LAB_SCRATCH", raising=False)
    monkeypatch.delenv("LOADEDMODULES", raising=False)
    assert ScratchSpace().gather() == Unavailable("LAB_SCRATCH is not set")
    assert loaded_modules() == Unavailable("there is no module system here")
    monkeypatch.setenv("LAB_SCRATCH", str(tmp_path))
    assert ScratchSpace().gather()["folder"] == str(tmp_path)
