"""Which distributions modules come from: made-up installations, and this one as `importlib.metadata` sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types

import pytest

from capture._version import __version__
from capture.probes import packages
from capture.probes.packages import all_distributions, discover_packages


class Site:
    """A folder on the search path in which distributions are installed by writing what pip would."""

    def __init__(self, folder):
        self.folder = folder

    def install(self, name, version, files=(), info=None, record=True, direct_url=None):
        """Install a distribution with empty files; `info` names its folder if that is not the usual one."""
        place = self.folder / (info or f"{name.replace('-', '_')}-{version}.dist-info")
        place.mkdir(parents=True)
        (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: no\n")
        for file in files:
            path = self.folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        if record:
            lines = [f"{file},sha256=x,0" for file in (*files, f"{place.name}/METADATA")]
            (place / "RECORD").write_text("\n".join(lines) + "\n")
        if direct_url is not None:
            (place / "direct_url.json").write_text(json.dumps(direct_url))
        return place

    def module(self, name, path=None):
        """Return a module of that name as Python would have loaded it from here."""
        module = types.ModuleType(name)
        path = path or name.replace(".", "/") + "/__init__.py"
        module.__file__ = str(self.folder / path)
        return {name: module}


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return Site(folder)


def namespace(name):
    """Return a package that has no file, as a folder without __init__.py gives."""
    module = types.ModuleType(name)
    module.__path__ = []
    return {name: module}


# ------------------------------------------------------------------------------------------------ this very environment


@pytest.mark.slow
def test_every_module_of_this_process_gets_the_distributions_that_python_itself_names():
    """The standard library's own answer takes a hundred milliseconds; ours must say the same."""
    code = (
        "import importlib.metadata as metadata, sys, json, docopt, wrapt, git, pytest, jsonpickle\n"
        "from capture.probes.packages import all_distributions, discover_packages\n"
        "ours = discover_packages(strategy='sys')\n"
        "owners = metadata.packages_distributions()\n"
        "tops = {name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names\n"
        "tops = {top for top in tops if getattr(sys.modules.get(top), '__file__', None)}\n"
        "names = {name for top in tops for name in owners.get(top, ())}\n"
        "theirs = {(metadata.metadata(name)['Name'], metadata.version(name)) for name in names}\n"
        "installed = {(each.metadata['Name'], each.version) for each in metadata.distributions()}\n"
        "print(json.dumps([sorted(ours), sorted(theirs), sorted(all_distributions()), sorted(installed)]))\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    ours, theirs, everything, installed = json.loads(out)
    assert {"docopt-ng", "wrapt", "GitPython", "pytest", "jsonpickle"} <= {name for name, _ in ours}
    # An editable install of this library lists no modules, so only we know it. Python 3.10 does not look into RECORD.
    known = theirs if sys.version_info >= (3, 11) else installed
    assert [pair for pair in ours if pair not in known] in ([], [["experiment-capture", __version__]])
    assert [pair for pair in theirs if pair not in ours] == []
    assert [pair for pair in installed if pair not in everything] == []


def test_this_library_is_among_the_dependencies(site):
    """A record must say which version wrote it; how it was installed does not matter."""
    assert discover_packages(["capture", "capture.probes.packages"]) == [("experiment-capture", __version__)]


def test_the_standard_library_and_the_script_are_no_dependencies():
    """They come with the interpreter, whose version is recorded elsewhere."""
    assert discover_packages(["json", "os.path", "__main__", "xml.etree", "_thread"]) == []


# --------------------------------------------------------------------------------------------- from module to its owner


def test_a_module_named_like_its_distribution_is_found(site):
    """The plain case; name and version are written as the distribution writes them."""
    site.install("Some.Thing", "1.0+cpu", ["some_thing/__init__.py"], info="some_thing-1.0+cpu.dist-info")
    assert discover_packages(site.module("some_thing")) == [("Some.Thing", "1.0+cpu")]


def test_modules_with_another_name_than_their_distribution_are_found_by_its_files(site):
    """Sacred dropped scikit-learn silently."""
    site.install("scikit-learn", "1.5.0", ["sklearn/__init__.py"])
    site.install("odd-name", "2.0", ["whatever/__init__.py", "single.py", "_native.cpython-311-x86_64-linux-gnu.so"])
    assert discover_packages(site.module("sklearn")) == [("scikit-learn", "1.5.0")]
    assert discover_packages(site.module("whatever")) == [("odd-name", "2.0")]
    assert discover_packages(site.module("single", "single.py")) == [("odd-name", "2.0")]


def test_a_distribution_of_the_module_s_name_without_its_files_is_not_the_owner(site):
    """PyPI has a `jwt` and a `PyJWT`, an `attr` and an `attrs`."""
    site.install("jwt", "1.3", ["other/__init__.py"])
    site.install("PyJWT", "2.8", ["jwt/__init__.py"])
    assert discover_packages(site.module("jwt")) == [("PyJWT", "2.8")]


def test_a_helper_of_a_package_belongs_to_it(site):
    """`_cffi_backend` and the like lie beside their package."""
    site.install("cffi", "1.16", ["cffi/__init__.py", "_cffi_backend.cpython-311-x86_64-linux-gnu.so"])
    module = site.module("_cffi_backend", "_cffi_backend.cpython-311-x86_64-linux-gnu.so")
    assert discover_packages(module) == [("cffi", "1.16")]


def test_the_distributions_of_a_shared_namespace_are_told_apart(site):
    """`google` and `azure` are filled by dozens of distributions; only what is imported counts."""
    site.install("google-cloud-storage", "2.1", ["google/cloud/storage/__init__.py"])
    site.install("protobuf", "4.2", ["google/protobuf/__init__.py", "google/protobuf/message.py"])
    site.install("google-auth", "1.1", ["google/auth/__init__.py"])
    modules = {
        **namespace("google"),
        **namespace("google.cloud"),
        **site.module("google.cloud.storage"),
        **site.module("google.protobuf"),
        **site.module("google.protobuf.message", "google/protobuf/message.py"),
    }
    assert discover_packages(modules) == [("google-cloud-storage", "2.1"), ("protobuf", "4.2")]


def test_a_namespace_of_the_old_kind_is_told_apart_too(site):
    """Before 3.3 each distribution brought the same __init__.py with one line in it."""
    shared = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    site.install("lab-a", "1", ["lab/__init__.py", "lab/a/__init__.py"])
    site.install("lab-b", "2", ["lab/__init__.py", "lab/b/__init__.py"])
    (site.folder / "lab" / "__init__.py").write_text(shared)
    top = site.module("lab")
    top["lab"].__path__ = [str(site.folder / "lab")]
    assert discover_packages({**top, **site.module("lab.b")}) == [("lab-b", "2")]


def test_a_package_of_which_only_a_part_is_loaded_is_found(site):
    """Some load a compiled part without the package around it, to save time."""
    site.install("whole", "1", ["whole/__init__.py", "whole/_part.py"])
    assert discover_packages(site.module("whole._part", "whole/_part.py")) == [("whole", "1")]


def test_without_a_list_of_files_the_top_level_names_tell(site):
    """Linux distributions strip RECORD, and old installs never had one."""
    place = site.install("PyYAML", "5.3", ["yaml/__init__.py"], info="PyYAML-5.3.egg-info", record=False)
    (place / "METADATA").rename(place / "PKG-INFO")
    (place / "top_level.txt").write_text("_yaml\nyaml\n")
    assert discover_packages(site.module("yaml")) == [("PyYAML", "5.3")]


def test_without_any_list_the_name_tells(site):
    """An .egg-info can be one single file."""
    (site.folder / "thing-0.9-py3.11.egg-info").write_text("Name: Thing\nVersion: 0.9\n")
    assert discover_packages(site.module("thing", "thing.py")) == [("Thing", "0.9")]
    (site.folder / "bare-0.7-py3.11.egg-info").write_text("")
    assert discover_packages(site.module("bare", "bare.py")) == [("bare", "0.7")]


def test_an_egg_on_the_search_path_is_found(site, monkeypatch):
    """`easy_install` made folders of their own."""
    egg = site.folder / "old-1.2-py3.11.egg"
    (egg / "EGG-INFO").mkdir(parents=True)
    (egg / "EGG-INFO" / "PKG-INFO").write_text("Name: old\nVersion: 1.2\n")
    (egg / "EGG-INFO" / "top_level.txt").write_text("older\n")
    monkeypatch.syspath_prepend(str(egg))
    assert discover_packages(Site(egg).module("older", "older.py")) == [("old", "1.2")]


def test_the_copy_that_python_loaded_is_the_one_that_counts(site, tmp_path, monkeypatch):
    """A user's own install hides the system's; the record must not name the hidden one."""
    first = tmp_path / "user"
    Site(first).install("thing", "2.0", ["thing/__init__.py"])
    site.install("thing", "1.0", ["thing/__init__.py"])
    monkeypatch.syspath_prepend(str(first))
    assert discover_packages(Site(first).module("thing")) == [("thing", "2.0")]
    assert discover_packages(site.module("thing")) == [("thing", "1.0")]
    assert ("thing", "2.0") in all_distributions() and ("thing", "1.0") not in all_distributions()


def test_a_module_that_belongs_to_nothing_is_left_out(site, tmp_path):
    """A folder on PYTHONPATH is no distribution, whatever it is called."""
    site.install("requests", "2.31", ["requests/__init__.py"])
    local = Site(tmp_path / "local")
    assert discover_packages(local.module("requests")) == []
    assert discover_packages(site.module("loose", "loose.py")) == []


# ------------------------------------------------------------------------------------------------------------- editable


def editable(folder):
    return {"url": folder.as_uri(), "dir_info": {"editable": True}}


def test_an_editable_install_is_found_by_the_folder_it_points_to(site, tmp_path):
    """The module lies in the developer's checkout, its metadata in the environment."""
    checkout = tmp_path / "my code" / "häuser"
    site.install("lab-tools", "0.3", ["__editable___lab.py"], direct_url=editable(checkout))
    module = Site(checkout / "src").module("labtools")
    assert discover_packages(module) == [("lab-tools", "0.3")]
    assert discover_packages(Site(tmp_path / "my code" / "häuserzeile").module("labtools")) == []


def test_an_environment_inside_an_editable_project_is_not_the_project(site, tmp_path):
    """``.venv`` lies in the checkout, mostly. Compiled modules of which no list tells (Cython's helpers) are not ours for that."""
    checkout = tmp_path / "project"
    site.install("lab-tools", "0.3", direct_url=editable(checkout))
    inside = Site(checkout / ".venv" / "lib" / "python3.11" / "site-packages").module("stray")
    assert discover_packages(inside) == []
    assert discover_packages(Site(checkout / "src").module("labtools")) == [("lab-tools", "0.3")]


def test_of_nested_editable_installs_the_inner_one_counts(site, tmp_path):
    """Workspaces hold projects of their own."""
    site.install("outer", "1", direct_url=editable(tmp_path / "w"))
    site.install("inner", "2", direct_url=editable(tmp_path / "w" / "libs" / "inner"))
    assert discover_packages(Site(tmp_path / "w" / "libs" / "inner").module("thing")) == [("inner", "2")]
    assert discover_packages(Site(tmp_path / "w" / "src").module("thing")) == [("outer", "1")]


def test_an_editable_install_without_a_note_is_found_by_its_name(site, tmp_path):
    """Older tools only leave a .pth file."""
    site.install("lab-tools", "0.4", ["lab_tools.pth"])
    assert discover_packages(Site(tmp_path / "src").module("lab_tools")) == [("lab-tools", "0.4")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '"editable"',
        '{"dir_info": {"editable": true}}',
        '{"url": 3, "dir_info": {"editable": true}}',
        '{"url": "https://example.org", "dir_info": {"editable": true}}',
        '{"url": "file:///%zz", "dir_info": {"editable": true}}',
    ],
)
def test_a_broken_note_is_no_error(site, tmp_path, text):
    """What lies in an environment may be anything."""
    place = site.install("lab", "1", [])
    (place / "direct_url.json").write_text(text)
    assert discover_packages(Site(tmp_path / "src").module("thing")) == []


# ---------------------------------------------------------------------------------------------------- the rest of it


def test_what_an_interrupted_pip_left_and_broken_folders_are_no_error(site):
    """Environments age."""
    (site.folder / "~umpy-1.0.dist-info").mkdir()
    (site.folder / "empty-3.0.dist-info").mkdir()
    (site.folder / "bytes-1.dist-info").mkdir()
    (site.folder / "bytes-1.dist-info" / "METADATA").write_bytes(b"\xff\xfe\x00Name")
    (site.folder / "bytes-1.dist-info" / "RECORD").write_bytes(b"\xff\xfe\x00")
    found = all_distributions()
    assert ("empty", "3.0") in found and ("bytes", "1") in found
    assert not [name for name, _ in found if "umpy-1" in name or name.startswith("~")]
    assert discover_packages(site.module("bytes")) == []


def test_a_new_installation_is_seen_in_the_same_process(site):
    """Notebooks install packages while they run."""
    site.install("one", "1", ["one/__init__.py"])
    assert discover_packages({**site.module("one"), **site.module("two")}) == [("one", "1")]
    os.utime(site.folder, (1, 1))
    site.install("two", "2", ["two/__init__.py"])
    assert discover_packages({**site.module("one"), **site.module("two")}) == [("one", "1"), ("two", "2")]


def test_strategies_none_pkg_and_sys(site, monkeypatch):
    """The setting that Sacred's users know."""
    site.install("one", "1", ["one/__init__.py"])
    monkeypatch.setitem(sys.modules, "one", site.module("one")["one"])
    assert discover_packages({}, "none") == []
    assert ("one", "1") in discover_packages({}, "pkg")
    assert ("one", "1") in discover_packages({}, "sys")
    assert ("one", "1") in discover_packages(None, "imported")
    assert discover_packages(["one.deeper"]) == [("one", "1")]


def test_an_unknown_strategy_is_refused_with_the_known_ones():
    """A slip in a setting must not record nothing."""
    with pytest.raises(ValueError, match="imported, sys, pkg, none"):
        discover_packages({}, "all")


def test_entries_of_the_search_path_that_are_no_folders_are_passed_over(site, monkeypatch, tmp_path):
    """Zip archives, missing folders, and objects that import hooks put there."""
    (tmp_path / "file.zip").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "file.zip"), str(tmp_path / "gone"), object(), "", *sys.path])
    site.install("one", "1", ["one/__init__.py"])
    assert discover_packages(site.module("one")) == [("one", "1")]


def test_lists_of_files_are_not_kept(site):
    """Those of large packages are megabytes."""
    site.install("one", "1", ["one/__init__.py"])
    discover_packages(site.module("one"))
    kept = [each for _, found in packages._scans.values() for each in found if each._files]
    assert kept == []


def test_another_thread_may_list_a_folder_while_one_looks(site, monkeypatch):
    """Probes work side by side."""
    site.install("one", "1", ["one/__init__.py"])
    forget = packages.Distribution.forget

    def disturbed(distribution):
        packages._scans[f"{distribution.info}/new"] = (0, [])
        packages._known.clear()
        forget(distribution)

    monkeypatch.setattr(packages, "_scans", {})
    monkeypatch.setattr(packages.Distribution, "forget", disturbed)
    assert discover_packages(site.module("one")) == [("one", "1")]
