"""What a run has imported, as it is told when the run ends."""

from __future__ import annotations

import importlib.machinery
import json
import os
import py_compile
import subprocess
import sys
import threading
import types
import zipfile
from pathlib import Path

import pytest

from capture.probes import imports, packages
from capture.probes.imports import editable_roots, imports_facts, origins

from .test_packages import Site, editable, namespace, site  # noqa: F401 - a fixture

ROOT = os.path.dirname(packages.OWN_FOLDER[:-1])


def look(project, at_start=(), seen=(), sources="imported", packages="imported", known=(), added=None):
    """Ask about this process, for a project of one folder; the files of the tests themselves are left out."""
    facts, new = imports_facts([project.folder], set(at_start), set(seen), sources, packages, list(known), added or {})
    for key in ("sources", "late_sources"):
        facts[key] = [name for name in facts[key] if not name.startswith(ROOT + os.sep)]
    return facts, [(path, name) for path, name in new if not path.startswith(ROOT + os.sep)]


def entry(facts, name):
    """Return what is told of one distribution."""
    (found,) = [each for each in facts["distributions"] if each["name"] == name]
    return found


def names(facts):
    return {each["name"] for each in facts["distributions"]}


def lay(folder, files):
    """Make empty files that no distribution lists."""
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def loaded(monkeypatch):
    """Put modules into `sys.modules` for the length of a test."""

    def load(modules):
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)

    return load


TELL = """
import json, sys
seen = set()
sys.addaudithook(lambda event, args: seen.add(args[0]) if event == "import" else None)
START = set(sys.modules)
def tell(base, **options):
    from capture.probes.imports import editable_roots, imports_facts
    options = {"sources": "imported", "packages": "imported", "known": [], "added": {}, **options}
    facts, new = imports_facts([base], START, seen, options["sources"], options["packages"], options["known"], options["added"])
    print(json.dumps({"facts": facts, "new": new, "roots": editable_roots()}))
"""


def run(folder, script, *arguments, python=sys.executable, path=()):
    """Run a program that ends with `tell`, and return what it told."""
    folder.mkdir(exist_ok=True)
    (folder / "telling.py").write_text(TELL)
    if script is not None:
        (folder / "script.py").write_text(script)
        arguments = ("script.py",)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, path), ROOT]), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([python, *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# ----------------------------------------------------------------------------------------------------------- local files


def test_imports_in_functions_threads_and_helpers_of_helpers_are_found(tmp_path):
    """Tools that look at the top of a script miss these, and a run cannot be built again without them."""
    folder = tmp_path / "project"
    (folder / "pkg").mkdir(parents=True)
    (folder / "pkg" / "__init__.py").write_text("")
    (folder / "pkg" / "deep.py").write_text("import last\n")
    for name in ("early", "infunction", "inthread", "last", "never"):
        (folder / f"{name}.py").write_text("")
    told = run(
        folder,
        "import early\nfrom telling import tell, START\nimport threading, os\nSTART.add('early')\n"
        "def main():\n    import infunction\n    import pkg.deep\n"
        "    t = threading.Thread(target=lambda: __import__('inthread')); t.start(); t.join()\n"
        "main()\ntell(os.getcwd())\n",
    )
    facts = told["facts"]
    late = ["infunction.py", "inthread.py", "last.py", "pkg/__init__.py", "pkg/deep.py"]
    assert [name for name in facts["late_sources"] if name != "telling.py"] == late
    assert set(facts["sources"]) == {"early.py", "script.py", "telling.py", *late}
    assert [name for _, name in told["new"]] == facts["sources"]
    assert all(os.path.isfile(path) for path, _ in told["new"])


def test_a_module_that_is_gone_again_is_found_by_its_name(tmp_path):
    """Plug-in loaders and reloaders take modules out of `sys.modules`; their code ran all the same."""
    folder = tmp_path / "project"
    (folder / "gone").mkdir(parents=True)
    (folder / "gone" / "__init__.py").write_text("")
    (folder / "gone" / "inner.py").write_text("")
    (folder / "space").mkdir()
    (folder / "space" / "part.py").write_text("")
    told = run(
        folder,
        "import os, sys\nfrom telling import tell\nimport gone.inner, space.part\n"
        "for name in ('gone', 'gone.inner', 'space', 'space.part'): del sys.modules[name]\n"
        "try:\n    import nowhere.at.all\nexcept ImportError: pass\n"
        "try:\n    import json.nothing\nexcept ImportError: pass\n"
        "try:\n    import telling.more\nexcept ImportError: pass\n"
        "tell(os.getcwd())\n",
    )
    assert {"gone/__init__.py", "gone/inner.py", "space/part.py"} <= set(told["facts"]["late_sources"])
    assert [name for name in told["facts"]["missing"] if name in ("nowhere", "nowhere.at", "json.nothing")] == ["nowhere"]
    assert "telling.more" in told["facts"]["missing"]


def test_known_sources_keep_their_names_and_are_not_told_again(project):
    """They were recorded when the run began; a second copy under another name would be a second source."""
    project.write({"main.py": "import helper", "helper.py": ""})
    main = project.load("main")
    facts, new = look(project, at_start=["main"], known=[(main.__file__, "the/main.py")])
    assert facts["sources"] == ["helper.py", "the/main.py"] and facts["late_sources"] == ["helper.py"]
    assert [name for _, name in new] == ["helper.py"]


def test_files_of_one_name_in_two_base_folders_get_two_names(project, tmp_path, monkeypatch):
    """Ingredients have base folders of their own; one file must not stand for another."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "utils.py").write_text("")
    project.write({"utils.py": ""})
    first = project.load("utils")
    monkeypatch.syspath_prepend(str(other))
    sys.modules["other_utils"] = sys.modules.pop("utils")
    second = project.load("utils")
    facts, new = imports_facts([project.folder, str(other)], set(), set(), "sys", "none", [], {})
    assert {"utils.py", second.__file__} <= set(facts["sources"])
    assert {first.__file__, second.__file__} <= {path for path, _ in new}


def test_a_local_module_may_be_called_like_one_of_the_standard_library(project, monkeypatch):
    """`test`, `code`, `token` and `queue` are names that people give their own files."""
    project.write({"token.py": "", "main.py": ""})
    monkeypatch.delitem(sys.modules, "token", raising=False)
    project.load("token")
    facts, _ = look(project)
    assert facts["sources"] == ["token.py"]


def test_compiled_modules_of_the_project_count(project, loaded):
    """What was built in place decides a result as much as what was written."""
    name = "fast" + importlib.machinery.EXTENSION_SUFFIXES[0]
    project.write({name: "not really", "sub/__init__.py": ""})
    module = types.ModuleType("fast")
    module.__file__ = os.path.join(project.folder, name)
    loaded({"fast": module})
    assert look(project)[0]["sources"] == [name]


def test_a_module_without_its_source_counts_by_its_compiled_file(project):
    """Some projects are shipped compiled."""
    project.write({"closed.py": "X = 1"})
    path = os.path.join(project.folder, "closed.py")
    py_compile.compile(path, cfile=path + "c")
    os.unlink(path)
    project.load("closed")
    assert look(project)[0]["sources"] == ["closed.pyc"]


def test_a_module_from_an_archive_stands_for_the_archive(tmp_path):
    """A zipapp, or a library that was put on the search path as one file."""
    folder = tmp_path / "project"
    folder.mkdir()
    with zipfile.ZipFile(folder / "app.zip", "w") as archive:
        archive.writestr("__main__.py", "import inside.part, os\nfrom telling import tell\ntell(os.getcwd())\n")
        archive.writestr("inside/__init__.py", "")
        archive.writestr("inside/part.py", "")
    told = run(folder, None, "app.zip", path=[folder])
    assert told["facts"]["sources"] == ["app.zip", "telling.py"]
    assert [str(folder / "app.zip"), "app.zip"] in told["new"]
    elsewhere = tmp_path / "elsewhere"
    script = "import inside.part, os\nfrom telling import tell\ntell(os.getcwd())\n"
    told = run(elsewhere, script, path=[folder / "app.zip"])
    assert str(folder / "app.zip") in told["facts"]["sources"] and told["facts"]["unmapped"] == ["inside"]


def test_a_package_that_is_run_by_its_name_counts(tmp_path):
    """``python -m pkg``: the script has another name than its file."""
    folder = tmp_path / "project"
    (folder / "pkg").mkdir(parents=True)
    (folder / "pkg" / "__init__.py").write_text("")
    (folder / "pkg" / "__main__.py").write_text("import os\nfrom telling import tell\ntell(os.getcwd())\n")
    told = run(folder, None, "-m", "pkg")
    assert told["facts"]["sources"] == ["pkg/__init__.py", "pkg/__main__.py", "telling.py"]


def test_a_prompt_or_notebook_has_no_file_but_its_helpers_have(project):
    """A cell is no file; what it imports is."""
    project.write({"helper.py": ""})
    code = (
        "import sys; sys.path[:0] = [BASE, ROOT, TOLD]\n"
        "from telling import tell\nimport helper\ndel sys.modules['__main__'].__dict__['__spec__']\ntell(BASE)\n"
    )
    project.write({"told/telling.py": TELL})
    code = code.replace("BASE", repr(project.folder)).replace("ROOT", repr(ROOT))
    code = code.replace("TOLD", repr(os.path.join(project.folder, "told")))
    done = subprocess.run([sys.executable, "-"], input=code, capture_output=True, text=True, check=True, cwd=os.sep)
    assert json.loads(done.stdout)["facts"]["sources"] == ["helper.py", "told/telling.py"]


def test_a_module_that_says_it_is_a_file_that_it_is_not_does_not_count(project, site, loaded):  # noqa: F811
    """Some libraries put modules together at run time and give them any file's name."""
    site.install("thing", "1", ["thing/__init__.py"])
    project.write({"data.py": ""})
    made = types.ModuleType("made")
    made.__file__ = os.path.join(project.folder, "data.py")
    liar = types.ModuleType("liar")
    liar.__file__ = str(site.folder / "thing" / "__init__.py")
    loaded({"made": made, "liar": liar})
    facts, _ = look(project)
    assert facts["sources"] == [] and "thing" not in names(facts)
    assert {"made", "liar"} <= set(facts["unmapped"])


def test_no_module_is_woken_and_no_stand_in_is_asked(project, loaded):
    """Looking must not import what the user has put off, nor connect to what a proxy stands for."""

    class Touchy:
        def __getattribute__(self, name):
            raise RuntimeError(f"asked for {name}")

    class Path(list):
        def __iter__(self):
            raise RuntimeError("asked for its places")

    odd = types.ModuleType("odd")
    odd.__path__ = Path(["x"])
    project.write({"heavy.py": "raise RuntimeError('woken')"})
    spec = importlib.util.spec_from_file_location("heavy", os.path.join(project.folder, "heavy.py"))
    spec.loader = importlib.util.LazyLoader(spec.loader)
    lazy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lazy)
    loaded({"touchy": Touchy(), "nothing": None, "heavy": lazy, "odd": odd})
    facts, _ = look(project, seen=["touchy.part", "odd.part", "nothing.part", None])
    assert facts["sources"] == ["heavy.py"]


def test_a_file_of_no_project_and_no_distribution_is_kept_under_its_full_path(project, tmp_path, monkeypatch):
    """A lab's common folder on PYTHONPATH: nobody else could give it back."""
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "labutils.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / "common"))
    stray = project.load("labutils")
    facts, new = look(project, known=[])
    assert stray.__file__ in facts["sources"] and (stray.__file__, stray.__file__) in new
    assert "labutils" in facts["unmapped"]


def test_files_that_are_too_large_or_too_many_are_named_with_the_reason(project, monkeypatch):
    """A record must not silently be incomplete."""
    project.write({"big.py": "x = '" + "y" * 100 + "'", "small.py": ""})
    project.load("big"), project.load("small")
    monkeypatch.setattr(imports, "LARGEST_SOURCE", 50)
    facts, new = look(project)
    assert facts["sources"] == ["small.py"] and [name for _, name in new] == ["small.py"]
    (left,) = [each for each in facts["left_out"] if each["path"].startswith(project.folder)]
    assert left["path"].endswith("big.py") and "106 bytes" in left["reason"]


def test_of_files_that_belong_to_nothing_only_so_many_are_kept(project, tmp_path, monkeypatch):
    """Compilers of kernels write a module for each; their thousands would fill the store, run after run."""
    lay(tmp_path / "made", [f"made_{number}.py" for number in range(6)])
    monkeypatch.syspath_prepend(str(tmp_path / "made"))
    for number in range(6):
        project.load(f"made_{number}")
    alone = {name: module for name, module in sys.modules.items() if name.startswith("made_")}
    with monkeypatch.context() as patch:
        patch.setattr(sys, "modules", alone)
        patch.setattr(imports, "MOST_STRAY", 4)
        facts, new = look(project)
        again, more = look(project, known=new)
    assert len(new) == 4 and facts["left_out"][0]["files"] == 2
    assert more == [] and again["left_out"] == facts["left_out"] and len(again["sources"]) == 4


def test_an_environment_inside_the_project_is_not_the_project(project, loaded):
    """Most tools put it there."""
    place = Site(Path(project.folder) / "env" / "lib" / "site-packages")
    place.install("inside", "3", ["inside/__init__.py"])
    loaded(place.module("inside"))
    facts, _ = look(project)
    assert facts["sources"] == [] and entry(facts, "inside")["version"] == "3"


def test_what_pip_put_into_a_folder_of_the_project_is_a_distribution(project, loaded):
    """``pip install --target lib``: the thousands of files in there are not the user's."""
    place = Site(Path(project.folder) / "lib")
    place.install("vendored", "3", ["vendored/__init__.py"])
    project.write({"own.py": "", "third_party/plain.py": ""})
    loaded({**place.module("vendored"), **Site(place.folder.parent / "third_party").module("plain", "plain.py")})
    facts, _ = look(project)
    assert facts["sources"] == ["third_party/plain.py"]
    assert entry(facts, "vendored")["version"] == "3"


# --------------------------------------------------------------------------------------------------------- distributions


def test_distributions_are_told_with_version_modules_and_whether_they_came_late(project, site, loaded):  # noqa: F811
    """Also those whose modules have other names, and those that share one."""
    site.install("scikit-learn", "1.5.0", ["sklearn/__init__.py"])
    site.install("opencv-python", "4.1", ["cv2/__init__.py"])
    site.install("lab-auth", "1.1", ["lab/auth/__init__.py"])
    site.install("lab-cloud-storage", "2.1", ["lab/cloud/storage/__init__.py"])
    site.install("sky-core", "3.1", ["sky/core/__init__.py"])
    site.install("unused", "9", ["unused/__init__.py"])
    loaded({**site.module("sklearn"), **site.module("cv2"), **namespace("lab"), **site.module("lab.auth")})
    loaded({**namespace("lab.cloud"), **site.module("lab.cloud.storage"), **namespace("sky")})
    facts, _ = look(project, at_start=["sklearn"])
    assert entry(facts, "scikit-learn") == {
        "name": "scikit-learn",
        "version": "1.5.0",
        "modules": ["sklearn"],
        "late": False,
    }
    assert entry(facts, "opencv-python")["late"] is True
    assert entry(facts, "lab-auth")["modules"] == ["lab.auth"]
    assert entry(facts, "lab-cloud-storage")["modules"] == ["lab.cloud.storage"]
    assert not {"sky-core", "unused"} & names(facts)  # a namespace alone is no import of what lies in it
    dependencies = facts["dependencies"]
    assert dependencies == sorted(dependencies, key=lambda each: each.partition("==")[0].lower())
    assert {"lab-auth==1.1", "lab-cloud-storage==2.1", "opencv-python==4.1", "scikit-learn==1.5.0"} <= set(dependencies)
    assert not {"sklearn", "cv2", "lab", "sky"} & set(facts["unmapped"])
    assert facts["modules"] > 20


def test_of_two_versions_on_the_path_the_loaded_one_is_told(project, site, tmp_path, loaded, monkeypatch):  # noqa: F811
    """The other one had no part in the run."""
    first = Site(tmp_path / "user")
    first.install("thing", "2.0", ["thing/__init__.py"])
    site.install("thing", "1.0", ["thing/__init__.py"])
    monkeypatch.syspath_prepend(str(first.folder))
    loaded(site.module("thing"))
    assert entry(look(project)[0], "thing")["version"] == "1.0"


def test_a_distribution_whose_modules_are_gone_again_is_told(project, site, monkeypatch):  # noqa: F811
    """Imported, used, and taken out of `sys.modules`."""
    site.install("brief", "1.1", ["brief/__init__.py", "brief/part.py"])
    facts, _ = look(project, seen=["brief", "brief.part", "brief.no", "cupy.cuda", "cupy"])
    assert entry(facts, "brief")["late"] is True
    assert facts["missing"] == ["brief.no", "cupy"]


def test_what_an_environment_loads_whenever_python_starts_is_no_import(project, site, loaded):  # noqa: F811
    """Each editable install of setuptools loads a module of its own at every start, imported or not."""
    site.install("setuptools", "70", ["_distutils_hack/__init__.py", "setuptools/__init__.py"])
    site.install("lab", "1", ["__editable___lab_1_finder.py"])
    loaded({**site.module("_distutils_hack"), **site.module("__editable___lab_1_finder", "__editable___lab_1_finder.py")})
    facts, _ = look(project)
    assert "lab" not in names(facts) and not [name for name in facts["unmapped"] if name.startswith("_")]


def test_what_cython_leaves_behind_is_not_of_unknown_origin(project, loaded):
    """It has no file, and nobody imported it."""
    made = types.ModuleType("made_up")
    loaded({"cython_runtime": types.ModuleType("cython_runtime"), "_cython_3_0_11": types.ModuleType("c"), "made_up": made})
    unmapped = look(project)[0]["unmapped"]
    assert "made_up" in unmapped and not {"cython_runtime", "_cython_3_0_11"} & set(unmapped)


def test_added_dependencies_count_and_win(project, site, loaded):  # noqa: F811
    """What the user says is recorded even where nothing is to be seen."""
    site.install("thing", "1.0", ["thing/__init__.py"])
    loaded(site.module("thing"))
    dependencies = look(project, added={"thing": "1.0+patched", "hidden": "3"})[0]["dependencies"]
    assert "thing==1.0+patched" in dependencies and "hidden==3" in dependencies
    assert "thing==1.0" not in dependencies


def test_strategies(project, site, loaded):  # noqa: F811
    """Those of Sacred: "none" tells nothing of its kind, "pkg" everything that is installed."""
    site.install("used", "1", ["used/__init__.py"])
    site.install("unused", "2", ["unused/__init__.py"])
    loaded(site.module("used"))
    project.write({"main.py": ""})
    main = project.load("main")
    facts, new = look(project, sources="none", packages="none", added={"named": "1"})
    assert (facts["sources"], facts["late_sources"], facts["distributions"], new) == ([], [], [], [])
    assert facts["dependencies"] == ["named==1"] and facts["unmapped"] == []
    assert look(project, sources="none", known=[(main.__file__, "main.py")])[0]["sources"] == ["main.py"]
    for strategy in ("imported", "sys"):
        dependencies = look(project, sources=strategy, packages=strategy)[0]["dependencies"]
        assert "used==1" in dependencies and "unused==2" not in dependencies
    facts, _ = look(project, sources="dir", packages="pkg")
    assert {"used==1", "unused==2"} <= set(facts["dependencies"]) and "unused" not in names(facts)
    assert facts["sources"] == ["main.py"]


def test_modules_may_come_and_go_while_it_looks(project):
    """Other threads import all the time."""
    stop = threading.Event()

    def disturb():
        while not stop.is_set():
            for number in range(50):
                sys.modules[f"_coming_{number}"] = types.ModuleType(f"_coming_{number}")
            for number in range(50):
                del sys.modules[f"_coming_{number}"]

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(20):
            look(project)
    finally:
        stop.set()
        thread.join()


# -------------------------------------------------------------------------------------------------- editable, and from git


def test_files_of_an_editable_install_are_sources_named_after_it(project, site, tmp_path, loaded):  # noqa: F811
    """They change without a new version, so a version alone says nothing."""
    checkout = tmp_path / "checkout"
    files = Site(checkout / "src")
    lay(files.folder, ["labtools/__init__.py", "labtools/part.py"])
    site.install("lab-tools", "0.3", direct_url=editable(checkout))
    loaded({**files.module("labtools"), **files.module("labtools.part", "labtools/part.py")})
    facts, new = look(project, at_start=["labtools"])
    told = entry(facts, "lab-tools")
    assert told["editable"] == str(checkout)
    assert told["sources"] == ["lab-tools/src/labtools/__init__.py", "lab-tools/src/labtools/part.py"]
    assert facts["late_sources"] == ["lab-tools/src/labtools/part.py"]
    assert (str(checkout / "src" / "labtools" / "part.py"), "lab-tools/src/labtools/part.py") in new
    assert editable_roots()["lab-tools"] == str(checkout)
    assert "labtools" not in facts["unmapped"]
    assert "lab-tools" not in editable_roots({"json": json})


def test_the_project_itself_may_be_an_editable_install(site, project, loaded):  # noqa: F811
    """Then its files have the names that they have in the project."""
    project.write({"mine/__init__.py": ""})
    site.install("mine", "0.1", direct_url={"url": f"file://{project.folder}", "dir_info": {"editable": True}})
    loaded(Site(Path(project.folder)).module("mine"))
    facts, _ = look(project)
    assert facts["sources"] == ["mine/__init__.py"]
    assert entry(facts, "mine")["sources"] == ["mine/__init__.py"]


def test_an_install_from_git_is_told_with_its_commit_and_without_passwords(project, site, loaded):  # noqa: F811
    """Its version is the same at every commit."""
    site.install(
        "from-git",
        "1.0",
        ["from_git/__init__.py"],
        direct_url={
            "url": "https://me:geheim-1234567@example.org/a/b.git",
            "vcs_info": {"vcs": "git", "commit_id": "a" * 40},
        },
    )
    site.install("from-file", "2", ["from_file.py"], direct_url={"url": "file:///x/y.whl", "archive_info": {}})
    loaded({**site.module("from_git"), **site.module("from_file", "from_file.py")})
    facts, _ = look(project)
    told = entry(facts, "from-git")
    assert told["commit"] == "a" * 40 and "example.org/a/b.git" in told["url"] and "geheim" not in json.dumps(facts)
    assert entry(facts, "from-file")["url"] == "file:///x/y.whl"
    assert origins()["from-git"]["commit"] == "a" * 40 and "from-git" not in editable_roots()


def test_installs_of_older_tools_point_to_their_folders_too(project, site, tmp_path, loaded, monkeypatch):  # noqa: F811
    """An .egg-link puts the folder on the search path, where its metadata lie; others leave a .pth file or a link."""
    develop = Site(tmp_path / "develop")
    develop.install("developed", "0.5", ["developed/__init__.py"], info="developed.egg-info", record=False)
    (develop.folder / "developed.egg-info" / "METADATA").rename(develop.folder / "developed.egg-info" / "PKG-INFO")
    (develop.folder / "developed.egg-info" / "top_level.txt").write_text("developed\n")
    (site.folder / "developed.egg-link").write_text(f"{develop.folder}\n.")
    monkeypatch.syspath_prepend(str(develop.folder))
    flit = Site(tmp_path / "flit" / "src")
    lay(flit.folder, ["flitted/__init__.py", "linked/__init__.py"])
    (tmp_path / "flit" / "pyproject.toml").write_text("")
    site.install("flitted", "0.6", ["flitted.pth"])
    site.install("linked", "0.7", ["linked/__init__.py"])
    (site.folder / "linked" / "__init__.py").unlink()
    (site.folder / "linked").rmdir()
    (site.folder / "linked").symlink_to(flit.folder / "linked")
    loaded({**develop.module("developed"), **flit.module("flitted"), **site.module("linked")})
    facts, _ = look(project)
    assert entry(facts, "developed")["version"] == "0.5"
    assert entry(facts, "developed")["editable"] == str(develop.folder)
    assert entry(facts, "developed")["sources"] == ["developed/developed/__init__.py"]
    assert entry(facts, "flitted")["editable"] == str(tmp_path / "flit")
    assert entry(facts, "flitted")["sources"] == ["flitted/src/flitted/__init__.py"]
    assert entry(facts, "linked")["editable"] == str(tmp_path / "flit")
    assert entry(facts, "linked")["sources"] == ["linked/src/linked/__init__.py"]


def test_links_into_the_cache_of_an_installer_are_no_editable_install(project, site, tmp_path, loaded):  # noqa: F811
    """Some installers fill environments with links; what they link to does not change."""
    cache = Site(tmp_path / "cache" / "archive-v0" / "abc")
    lay(cache.folder, ["cached/__init__.py"])
    site.install("cached", "1", ["cached/__init__.py"])
    (site.folder / "cached" / "__init__.py").unlink()
    (site.folder / "cached" / "__init__.py").symlink_to(cache.folder / "cached" / "__init__.py")
    loaded(site.module("cached"))
    facts, _ = look(project)
    assert "editable" not in entry(facts, "cached") and facts["sources"] == []


def test_a_module_that_only_a_finder_of_setuptools_knows_is_found_when_it_is_gone(project, site, tmp_path, loaded):  # noqa: F811
    """An editable install with a mapping puts nothing on the search path."""
    checkout = Site(tmp_path / "checkout")
    lay(checkout.folder, ["mapped/__init__.py", "mapped/part.py"])
    site.install("mapped", "0.3", direct_url=editable(checkout.folder))
    finder = types.ModuleType("__editable___mapped_finder")
    finder.MAPPING = {"mapped": str(checkout.folder / "mapped")}
    loaded({"__editable___mapped_finder": finder})
    facts, _ = look(project, seen=["mapped", "mapped.part"])
    assert entry(facts, "mapped")["sources"] == ["mapped/mapped/__init__.py", "mapped/mapped/part.py"]


@pytest.mark.slow
def test_real_installs_are_told_as_they_are(installed):
    """What pip of today writes: a wheel, an editable install of a git repository, and a commit from one."""
    script = (
        "from telling import tell\nimport os\n"
        "def main():\n    import plainly, pointed.part, fetched\nmain()\ntell(os.getcwd())\n"
    )
    told = run(installed.folder / "project", script, python=installed.python)
    facts = told["facts"]
    plainly = entry(facts, "plainly")
    assert (plainly["version"], plainly["modules"], plainly["late"]) == ("1.0", ["plainly"], True)
    assert "editable" not in plainly and plainly["url"].startswith("file://")
    pointed = entry(facts, "pointed")
    assert pointed["editable"] == str(installed.folder / "pointed")
    assert pointed["sources"] == ["pointed/pointed/__init__.py", "pointed/pointed/part.py"]
    assert told["roots"] == {"pointed": str(installed.folder / "pointed")}
    fetched = entry(facts, "fetched")
    assert fetched["commit"] == installed.commit and fetched["url"].startswith("file://")
    assert {"plainly==1.0", "pointed==1.0", "fetched==1.0"} <= set(facts["dependencies"])
    assert facts["sources"] == ["pointed/pointed/__init__.py", "pointed/pointed/part.py", "script.py", "telling.py"]
    assert facts["unmapped"] == []


@pytest.mark.slow
def test_what_pip_installed_into_a_target_folder_is_told(installed):
    """Clusters without environments do that."""
    target = installed.folder / "target"
    installed.pip("--target", str(target), str(installed.folder / "plainly"))
    script = "from telling import tell\nimport os, plainly\ntell(os.getcwd())\n"
    told = run(installed.folder / "other", script, path=[target])
    assert entry(told["facts"], "plainly")["version"] == "1.0"
