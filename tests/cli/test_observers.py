"""``capture observers``: what is installed, and whether it is ready."""

from __future__ import annotations

import importlib.util
import json
import sys

import pytest

from capture import registry
from capture.cli import main
from capture.cli.observers import rows


def test_built_in_stores_are_listed_with_what_they_keep(capsys):
    """One looks here before a long run, not after it."""
    assert main(["observers"]) == 0
    assert "FileStorageObserver" in capsys.readouterr().out
    found = {row[1]: row for row in rows()}
    scheme, _, keeps, sides, origin, state = found["FileStorageObserver"]
    assert scheme == "file" and sides == "rc" and origin.startswith("capture ") and state == "ready"
    assert {"metrics", "artifacts", "resources", "sources"} <= set(keeps.split())


def test_programs_get_the_list_as_json(capsys):
    """For a portal that shows what can be used here."""
    assert main(["observers", "--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["FileStorageObserver"]["schemes"] == ["file"] and found["FileStorageObserver"]["state"] == "ready"
    assert found["MongoObserver"]["needs"] == {"mongodb": [], "mongodb+srv": []}


def test_every_built_in_class_can_be_loaded():
    """Without its driver, too: that is imported when it is used."""
    assert not [row for row in rows() if "cannot be loaded" in row[-1]]


@pytest.fixture
def without(monkeypatch):
    """Return a function that hides modules, as if they were not installed."""
    find = importlib.util.find_spec

    def hide(*modules):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name in modules else find(name, *more))

    return hide


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("MongoObserver", "pymongo", "mongo"),
        ("SqlObserver", "sqlalchemy", "sql"),
        ("NotifyObserver", "apprise", "notify"),
        ("S3Observer", "s3fs", "s3"),
        ("GoogleCloudStorageObserver", "gcsfs", "gcs"),
    ],
)
def test_a_store_whose_driver_is_missing_says_what_to_install(name, module, extra, without):
    """Told to be ready, one looks for the fault elsewhere."""
    without(module)
    assert {row[1]: row[-1] for row in rows()}[name] == f"needs: pip install 'experiment-capture[{extra}]'"


def test_a_store_of_many_schemes_says_which_of_them_lack_something(without):
    """Each filesystem of fsspec's has a package of its own."""
    without("adlfs", "pyarrow", "paramiko")
    state = {row[1]: row[-1] for row in rows()}["RemoteFolderObserver"]
    parts = state.split("; ")
    assert "abfs, abfss, az needs: pip install 'experiment-capture[azure]'" in parts
    assert "sftp, ssh needs: pip install 'experiment-capture[ssh]'" in parts and "memory ready" in parts
    without("fsspec")
    assert "memory needs: pip install 'fsspec'" in {row[1]: row[-1] for row in rows()}["RemoteFolderObserver"]


def test_a_driver_in_a_package_that_is_missing_is_missing():
    """Python raises an error of its own where it looks for a module in a package that is not there."""
    from capture.query.installed import is_installed

    assert is_installed("json.decoder")
    assert not is_installed("no_such_package.driver") and not is_installed("json.decoder.driver")


def test_a_plugin_is_listed_and_a_broken_one_says_why(tmp_path, monkeypatch):
    """Another team's store is as good as ours, and its faults must be seen."""
    info = tmp_path / "labstore-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: labstore\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[capture.observers]\nlab = labstore:Lab\nbad = labstore.missing:Bad\nodd = labstore:Odd\n")
    (tmp_path / "labstore.py").write_text(
        "class Lab:\n    supports = {'metrics'}\n    drivers = {'no_such_driver': 'lab'}\n"
        "class Odd:\n    def drivers_of(scheme):\n        return {}[scheme]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "_seen", {})
    found = {row[0]: row for row in rows()}
    assert found["lab"] == ("lab", "Lab", "metrics", "-", "labstore 1.2", "needs: pip install 'experiment-capture[lab]'")
    assert "cannot be loaded: ModuleNotFoundError" in found["bad"][-1]
    assert "cannot be loaded: KeyError" in found["odd"][-1]
    sys.modules.pop("labstore", None)
