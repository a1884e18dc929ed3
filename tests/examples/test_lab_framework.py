"""The example framework works as its README says: from the command line, in a job script, and after a pip install."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig

import pytest

from capture.stores import open_store
from tests.project.tree import ROOT, tracked_files

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FRAMEWORK = ROOT / "examples" / "lab_framework"


class Lab:
    """The lab's package, importable by a Python interpreter, and a copy of its jobs."""

    def __init__(self, python, folder, environment):
        self.python, self.folder = str(python), folder
        self.portal = folder / "portal.jsonl"
        self.environment = {**os.environ, **environment, "LOADEDMODULES": "gcc/12:cuda/12.4"}
        self.environment.pop("LAB_PORTAL", None)
        shutil.copytree(FRAMEWORK / "jobs", folder, dirs_exist_ok=True)

    def run(self, *arguments, status=0, **variables):
        """Run Python in the folder of the jobs; return what it printed."""
        done = subprocess.run(
            [self.python, *map(str, arguments)],
            cwd=self.folder,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def records(self):
        """Return what the portal's own reader finds there, oldest first."""
        code = (
            "import json, sys\nfrom capture.stores import open_store\nfrom capture.codec import encode\n"
            "runs = reversed(list(open_store(sys.argv[1]).find()))\n"
            "print(json.dumps([{**encode(run.to_dict()), 'label': run.label} for run in runs]))"
        )
        return json.loads(self.run("-c", code, f"lab://{self.portal}"))


@pytest.fixture
def lab(tmp_path):
    """The package as an installation leaves it, without the installing: its code, and the file of its entry points."""
    with open(FRAMEWORK / "pyproject.toml", "rb") as stream:
        project = tomllib.load(stream)["project"]
    info = tmp_path / "site" / f"lab_framework-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    shutil.copytree(FRAMEWORK / "src" / "lab_framework", tmp_path / "site" / "lab_framework")
    path = os.pathsep.join([str(tmp_path / "site"), str(ROOT)])
    return Lab(sys.executable, tmp_path / "jobs", {"PYTHONPATH": path})


def test_a_run_is_recorded_in_the_portal_by_its_url(lab):
    """A store of another package is as good as one of ours: -o and a URL."""
    lab.run("train.py", "-o", f"lab://{lab.portal}", "with", "steps=3")
    (run,) = lab.records()
    assert run["status"] == "COMPLETED"
    assert run["config"]["steps"] == 3
    assert run["metrics"]["loss"]["py/tuple"][0] == [0, 1, 2]
    assert run["experiment"]["name"] == "train"
    assert run["experiment"]["mainfile"] == "train.py"
    assert run["experiment"]["base_dir"] == os.path.realpath(lab.folder)
    assert not (lab.folder / "runs").exists()


def test_probes_of_the_package_are_in_the_record(lab):
    """Nobody named them: the package is installed."""
    lab.run("train.py", "-o", f"lab://{lab.portal}", LAB_SCRATCH=str(lab.folder))
    lab.run("train.py", "-o", f"lab://{lab.portal}")
    seen, unseen = lab.records()
    assert seen["facts"]["lab_modules"] == ["gcc/12", "cuda/12.4"]
    assert seen["facts"]["lab_scratch"]["folder"] == str(lab.folder)
    assert unseen["facts"]["lab_scratch"] == {"unavailable": "LAB_SCRATCH is not set"}


def test_what_the_framework_adds_is_in_every_run(lab):
    """Options, tags, team, a host fact, and the file that the ingredient read."""
    lab.run("train.py", "--project", "night", "-g", "2.5", "--tag", "mine", LAB_TEAM="blue")
    run = open_store(lab.folder / "runs").get("latest")
    assert run.config["project"] == "night"
    assert run.meta["gpu_hours"] == 2.5
    assert run.experiment["team"] == "blue"
    assert run.host["partition"] == "interactive"
    assert run.tags[0] == "mine"
    assert run.tags[1] == "project:night"
    assert [os.path.basename(stored.name) for stored in run.resources] == ["line.csv"]
    assert run.resources[0].read() == (lab.folder / "data" / "line.csv").read_bytes()


def test_a_malformed_option_of_the_framework_is_a_message(lab):
    """The framework raises the library's error for command lines; its users see one line."""
    printed = lab.run("train.py", "--gpu-hours", "many", status=2)
    assert printed == "train.py: --gpu-hours is a number of hours, got 'many'\n"


def test_the_help_shows_what_the_framework_adds(lab):
    """Its options stand before the library's, its commands among the others, its ingredient's under their prefix."""
    printed = lab.run("train.py", "--help")
    assert printed.startswith("Fit a line to a table of points by gradient descent.\n")
    assert "-j --project=VALUE" in printed
    assert "points.head" in printed
    assert lab.run("train.py", "show_project", "with", "project=x").splitlines()[0] == "x"
    assert "x,y" in lab.run("train.py", "points.head")


def test_a_required_portal_is_told_of_every_run(lab):
    """The variable is set for everybody on the cluster: whatever else a script asks for, the portal knows."""
    lab.run("train.py", "-F", "mine", LAB_PORTAL=f"lab://{lab.portal}")
    (run,) = lab.records()
    assert run["label"] == open_store(lab.folder / "mine").get("latest").label == "1"


def test_a_job_script_runs_several_configurations(lab):
    """In one process, one after the other; both stores have all of them under the same labels."""
    printed = lab.run("job.py", LAB_PORTAL=f"lab://{lab.portal}")
    assert printed.count("lr 0.1 ") == 2
    here = list(open_store(lab.folder / "runs").find())
    portal = lab.records()
    assert len(here) == len(portal) == 6
    assert sorted(run["label"] for run in portal) == sorted(run.label for run in here)
    assert {(run.config["lr"], run.config["steps"]) for run in here} == {
        (lr, steps) for lr in (0.01, 0.1, 0.5) for steps in (50, 200)
    }
    assert all(run["config"]["project"] == "sweep" and "sweep" in run["tags"] for run in portal)


# ---------------------------------------------------------------------------------------------- a real installation


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A virtual environment with the library and the framework installed by pip; returns its interpreter.

    What both depend on is taken from the interpreter of the tests.
    """
    folder = tmp_path_factory.mktemp("environment")
    source = folder / "source"
    for path in tracked_files():  # building writes beside the sources: not beside ours
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [python, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, source, source / "examples" / "lab_framework"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    paths = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    with open(os.path.join(site, "dependencies.pth"), "w") as stream:
        stream.write("\n".join(paths) + "\n")
    return python


@pytest.mark.slow
def test_everything_works_after_a_pip_install(environment, tmp_path):
    """What a colleague does: install two packages, run a script, look at the portal."""
    lab = Lab(environment, tmp_path, {"PYTHONPATH": ""})
    where = lab.run("-c", "import capture, lab_framework; print(capture.__file__, lab_framework.__file__)").split()
    assert all("site-packages" in path for path in where), where
    lab.run("train.py", "-o", f"lab://{lab.portal}", "--project", "night", LAB_SCRATCH=str(tmp_path))
    (run,) = lab.records()
    assert run["config"]["project"] == "night"
    assert {"lab_modules", "lab_scratch", "imports"} <= run["facts"].keys()
    assert [name for name in run["experiment"]["dependencies"] if name.startswith("lab-framework==")]


@pytest.mark.slow
def test_a_job_script_runs_in_several_processes_after_a_pip_install(environment, tmp_path):
    """Each worker is a process of its own that writes to the same two stores."""
    lab = Lab(environment, tmp_path, {"PYTHONPATH": ""})
    lab.run("job.py", 3, LAB_PORTAL=f"lab://{lab.portal}")
    portal = lab.records()
    assert len(portal) == len(open_store(tmp_path / "runs").labels()) == 6
    assert {run["status"] for run in portal} == {"COMPLETED"}
    assert len({run["label"] for run in portal}) == 6


@pytest.mark.slow
def test_the_packages_own_tests_pass_after_a_pip_install(environment, tmp_path):
    """Among them the contract of a store, which another team runs with nothing but the installed library."""
    lab = Lab(environment, tmp_path, {"PYTHONPATH": ""})
    shutil.copytree(FRAMEWORK / "tests", tmp_path / "tests")
    # The root is its own, that it does not spend minutes on removing the folders that earlier sessions left behind.
    printed = lab.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", PYTEST_DEBUG_TEMPROOT=str(tmp_path))
    assert " passed" in printed
    assert "failed" not in printed
