"""Which files count as a run's own sources."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import py_compile
import subprocess
import sys
import types

import pytest

from capture.digests import LARGE
from capture.probes import sources
from capture.probes.sources import digests, discover_sources, imported_modules


def names(project, module, **options):
    """Return the relative paths that are found from a module of the project."""
    found = discover_sources(vars(module), project.folder, mainfile=module.__file__, **options)
    assert all(os.path.isabs(path) and os.path.isfile(path) for path, _ in found)
    return [name for _, name in found]


# ----------------------------------------------------------------------------------------------------- what is imported


@pytest.mark.parametrize(
    "statement",
    [
        "import helper",
        "import os, helper as h",
        "from helper import work",
        "from helper import Thing",
        "from helper import CONSTANT",
        "from helper import (\n    CONSTANT,\n)",
        "from helper import *",
        "def f():\n    import helper\nf()",
        "def f():\n\tfrom helper import CONSTANT\nf()",
        "if True: import helper",
        "import os; import helper",
        "try:\n    import helper\nexcept ImportError:\n    pass",
        "import importlib\nmodule = importlib.import_module('helper')",
        "import importlib\nthing = importlib.import_module('helper').Thing()",
        "import importlib\nwork = importlib.import_module('helper').work",
    ],
)
def test_a_module_is_found_however_it_is_imported(project, statement):
    """Sacred looks at the main file's globals only, where constants and imports in functions leave no trace."""
    project.write({"helper.py": "CONSTANT = 3\ndef work(): pass\nclass Thing: pass\n", "main.py": statement})
    assert names(project, project.load("main")) == ["helper.py", "main.py"]


def test_imports_of_imports_are_found_with_the_packages_around_them(project):
    """What a helper's helper does decides a result as much as the main file."""
    project.write(
        {
            "main.py": "import first",
            "first.py": "from pkg.inner import second",
            "pkg/__init__.py": "",
            "pkg/inner/__init__.py": "",
            "pkg/inner/second.py": "from . import third\nfrom ..other import VALUE",
            "pkg/inner/third.py": "",
            "pkg/other.py": "from consts import VALUE",
            "consts.py": "VALUE = 1",
            "unused.py": "",
        }
    )
    main = project.load("main")
    project.load("unused")
    assert names(project, main) == [
        "consts.py",
        "first.py",
        "main.py",
        "pkg/__init__.py",
        "pkg/inner/__init__.py",
        "pkg/inner/second.py",
        "pkg/inner/third.py",
        "pkg/other.py",
    ]


def test_modules_that_import_each_other_end_the_search(project):
    """Circles are legal Python."""
    project.write({"main.py": "import a", "a.py": "import b", "b.py": "import a\nimport main"})
    assert names(project, project.load("main")) == ["a.py", "b.py", "main.py"]


def test_a_folder_without_init_is_followed(project):
    """Many projects never write an __init__.py."""
    project.write({"main.py": "import tools.deep.a", "tools/deep/a.py": "from tools import b", "tools/b.py": ""})
    assert names(project, project.load("main")) == ["main.py", "tools/b.py", "tools/deep/a.py"]


def test_a_folder_without_init_is_followed_where_only_its_name_is_in_sight(project):
    """The module object of the folder has no file, but holds the modules in it."""
    project.write({"main.py": "tools = __import__('tools.deep.a')", "tools/deep/a.py": ""})
    assert names(project, project.load("main")) == ["main.py", "tools/deep/a.py"]


def test_a_source_folder_below_the_base_counts(project, monkeypatch):
    """With a src layout the path is longer than the module's name; Sacred leaves such modules out."""
    monkeypatch.syspath_prepend(os.path.join(project.folder, "src"))
    project.write({"main.py": "import pkg.a", "src/pkg/__init__.py": "", "src/pkg/a.py": ""})
    assert names(project, project.load("main")) == ["main.py", "src/pkg/__init__.py", "src/pkg/a.py"]


def test_a_base_folder_inside_the_package_counts_what_is_below_it(project):
    """A script in a package is run by ``python -m``; its base folder is the script's."""
    project.write({"pkg/__init__.py": "", "pkg/sub/__init__.py": "", "pkg/sub/a.py": ""})
    project.write({"pkg/sub/main.py": "import pkg.sub.a"})
    main = project.load("pkg.sub.main")
    found = discover_sources(vars(main), os.path.join(project.folder, "pkg", "sub"), mainfile=main.__file__)
    assert [name for _, name in found] == ["__init__.py", "a.py", "main.py"]


def test_a_file_loaded_under_another_name_counts(project):
    """Plug-ins and configs are loaded from files by path."""
    project.write({"main.py": "", "plug/odd-name.py": "X = 1"})
    main = project.load("main")
    path = os.path.join(project.folder, "plug", "odd-name.py")
    spec = importlib.util.spec_from_file_location("plugin_7", path)
    main.plugin = sys.modules["plugin_7"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(main.plugin)
    assert names(project, main) == ["main.py", "plug/odd-name.py"]


def test_a_module_whose_file_is_not_its_own_does_not_count(project):
    """Some libraries put modules together at run time and give them any file's name."""
    project.write({"main.py": "", "data.py": ""})
    main = project.load("main")
    main.made = sys.modules["made"] = types.ModuleType("made")
    main.made.__file__ = os.path.join(project.folder, "data.py")
    assert names(project, main) == ["main.py"]


def test_from_a_prompt_all_loaded_modules_of_the_project_count(project):
    """A notebook has no file whose imports could be read."""
    project.write({"helper.py": "VALUE = 1", "other.py": "import json"})
    helper = project.load("helper")
    assert discover_sources({"__name__": "__main__", "VALUE": helper.VALUE}, project.folder) == [
        (helper.__file__, "helper.py")
    ]


# ------------------------------------------------------------------------------------------------- what does not count


@pytest.mark.parametrize("strategy", ["imported", "sys", "dir"])
def test_a_virtual_environment_inside_the_project_does_not_count(project, monkeypatch, strategy):
    """Most tools put it there; its thousands of files are not the user's work."""
    site = os.path.join(project.folder, "env", "lib", "python3", "site-packages")
    monkeypatch.syspath_prepend(site)
    project.write(
        {
            "main.py": "import installed, env_tool",
            "env/pyvenv.cfg": "",
            "env/lib/python3/site-packages/installed/__init__.py": "",
            "env/lib/python3/site-packages/env_tool.py": "",
        }
    )
    assert names(project, project.load("main"), strategy=strategy) == ["main.py"]


@pytest.mark.parametrize("strategy", ["imported", "sys"])
def test_the_standard_library_and_this_library_do_not_count_even_below_the_base(project, strategy):
    """A base folder as wide as the disk contains all of them."""
    project.write({"main.py": "import json, capture, capture.probes.git\nfrom capture.probes import sources"})
    main = project.load("main")
    found = discover_sources(vars(main), os.path.abspath(os.sep), strategy, mainfile=main.__file__)
    paths = [path for path, _ in found]
    assert main.__file__ in paths
    own, standard = os.path.dirname(os.path.dirname(sources.__file__)), os.path.dirname(os.__file__)
    assert not [path for path in paths if path.startswith((own + os.sep, standard + os.sep))]


def test_a_project_inside_this_library_counts(project):
    """The bundled example is recorded like any other script."""
    folder = os.path.dirname(sources.__file__)
    found = discover_sources({}, folder, "sys", modules={"capture.probes.sources": sources})
    assert found == [(sources.__file__, "sources.py")]


def test_a_lazy_module_is_not_woken(project):
    """Looking must not import what the user has put off."""
    project.write({"main.py": "", "heavy.py": "raise RuntimeError('woken')"})
    main = project.load("main")
    spec = importlib.util.find_spec("heavy")
    spec.loader = importlib.util.LazyLoader(spec.loader)
    main.heavy = sys.modules["heavy"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(main.heavy)
    assert names(project, main, strategy="sys") == ["heavy.py", "main.py"]
    assert names(project, main) == ["heavy.py", "main.py"]


def test_objects_that_answer_every_question_are_not_asked(project):
    """Proxies of databases and requests connect, or raise, when an attribute of theirs is read."""

    class Touchy:
        def __getattribute__(self, name):
            raise RuntimeError(f"asked for {name}")

    project.write({"main.py": ""})
    main = project.load("main")
    main.touchy, sys.modules["touchy"], sys.modules["nothing"] = Touchy(), Touchy(), None
    assert names(project, main) == ["main.py"]
    assert names(project, main, strategy="sys") == ["main.py"]


# ------------------------------------------------------------------------------------------------- the other strategies


def test_sys_takes_every_loaded_module_of_the_project(project):
    """For projects that load their parts by name."""
    project.write({"main.py": "", "registered.py": "", "never.py": ""})
    main = project.load("main")
    project.load("registered")
    assert names(project, main, strategy="sys") == ["main.py", "registered.py"]


def test_dir_takes_every_python_file_but_not_what_tools_made(project):
    """Caches, environments and earlier runs with copies of the sources would drown the project."""
    project.write(
        {
            "main.py": "",
            "never/imported.py": "",
            "data.txt": "",
            ".hidden/a.py": "",
            "__pycache__/b.py": "",
            "conda/conda-meta/history": "",
            "conda/c.py": "",
            "runs/.gitignore": "*\n",
            "runs/1/d.py": "",
            "old/_sources/main_abc.py": "",
        }
    )
    assert names(project, project.load("main"), strategy="dir") == ["main.py", "never/imported.py"]


def test_none_takes_the_script_and_what_was_named(project, tmp_path):
    """Files that were added by hand are wanted whatever the strategy."""
    (tmp_path / "outside.cfg").write_text("x")
    project.write({"main.py": "import helper", "helper.py": "", "extra.txt": ""})
    extra, outside = os.path.join(project.folder, "extra.txt"), str(tmp_path / "outside.cfg")
    main = project.load("main")
    found = discover_sources(vars(main), project.folder, "none", main.__file__, save=[extra, outside])
    assert found == [(outside, outside), (extra, "extra.txt"), (main.__file__, "main.py")]


def test_an_unknown_strategy_is_refused_with_the_known_ones():
    """A slip in a setting must not record nothing."""
    with pytest.raises(ValueError, match="imported, sys, dir, none"):
        discover_sources({}, ".", "import")


# ------------------------------------------------------------------------------------------------------------ the files


def test_links_lead_to_the_same_names(project, tmp_path):
    """The base folder and the modules may come by different ways to one disk."""
    project.write({"main.py": "import helper", "helper.py": ""})
    main = project.load("main")
    (tmp_path / "link").symlink_to(project.folder)
    found = discover_sources(vars(main), str(tmp_path / "link"), mainfile=main.__file__)
    assert [name for _, name in found] == ["helper.py", "main.py"]


def test_a_module_that_is_reached_through_a_link_elsewhere_counts(project, tmp_path, monkeypatch):
    """PYTHONPATH names the link, the base folder what is behind it."""
    project.write({"main.py": "import helper2", "lib/helper2.py": ""})
    (tmp_path / "elsewhere").symlink_to(os.path.join(project.folder, "lib"))
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    assert names(project, project.load("main")) == ["lib/helper2.py", "main.py"]


def test_without_source_the_compiled_file_counts(project):
    """Some projects are shipped compiled; a digest is still worth having."""
    project.write({"main.py": "import closed, both", "closed.py": "X = 1", "both.py": "X = 1"})
    for name in ("closed", "both"):
        path = os.path.join(project.folder, f"{name}.py")
        py_compile.compile(path, cfile=path + "c")
    os.unlink(os.path.join(project.folder, "closed.py"))
    main = project.load("main")
    assert names(project, main) == ["both.py", "closed.pyc", "main.py"]


def test_files_in_odd_encodings_and_deleted_files_are_no_obstacle(project):
    """Old sources are in Latin-1, and scripts may clean up after themselves."""
    project.write({"gone.py": "", "main.py": "import odd, gone", "größe.py": "X = 1"})
    with open(os.path.join(project.folder, "odd.py"), "wb") as file:
        file.write(b"# -*- coding: latin-1 -*-\nNAME = 'caf\xe9'\nimport gr\xf6\xdfe\n")
    main = project.load("main")
    os.unlink(os.path.join(project.folder, "gone.py"))
    assert names(project, main) == ["größe.py", "main.py", "odd.py"]


def test_digests_are_those_of_the_bytes(tmp_path):
    """Sacred's layouts know files by MD5, ours by SHA-256."""
    for size in (0, 10, LARGE + 1):
        data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        (tmp_path / "file").write_bytes(data)
        expected = (hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest(), size)
        assert digests(str(tmp_path / "file")) == expected
    with pytest.raises(FileNotFoundError):
        digests(str(tmp_path / "none"))


def test_the_digests_without_openssl_are_the_same(tmp_path):
    """A small script's digests come from the interpreter itself, since loading OpenSSL takes longer."""
    (tmp_path / "file").write_bytes(b"small")
    code = (
        "import sys\nfrom capture.probes.sources import digests\n"
        f"print(digests({str(tmp_path / 'file')!r})); print('hashlib' in sys.modules)"
    )
    paths = os.pathsep.join([os.path.dirname(os.path.dirname(os.path.dirname(sources.__file__)))])
    env = {**os.environ, "PYTHONPATH": paths}
    out = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, env=env).stdout
    told, loaded = out.splitlines()
    assert told == repr((hashlib.sha256(b"small").hexdigest(), hashlib.md5(b"small").hexdigest(), 5))
    assert loaded == "False"


# ------------------------------------------------------------------------------------------ what the project depends on


def test_foreign_modules_are_named_where_the_project_uses_them(project):
    """Packages that only packages use are no dependency of the project; those of a helper are."""
    project.write({"main.py": "import helper", "helper.py": "from docopt import docopt\nfrom wrapt import __version__"})
    main = project.load("main")
    found = imported_modules(vars(main), project.folder)
    assert set(found) == {"main", "helper", "docopt", "wrapt"}
