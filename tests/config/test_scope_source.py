"""Where a scope's code comes from, and how it is run there: files, shells, debuggers."""

from __future__ import annotations

import compileall
import copy
import linecache
import os
import pickle
import subprocess
import sys
import textwrap
import traceback

import pytest

from capture.config.scope import ConfigScope

SCRIPT = """
from capture.config.scope import ConfigScope

def make(base):
    @ConfigScope
    def cfg():
        a = 1  # first
        b = [a + n for n in range(2)]
        c = base + a
    return cfg

cfg = make(100)
"""
EXPECTED = {"a": 5, "b": [5, 6], "c": 105}
USE = "print(dict(cfg({'a': 5})), cfg.engine)"
FAST_SHELL = sys.version_info >= (3, 13)  # which keeps what was typed


def run(*command, stdin=None, cwd=None):
    result = subprocess.run(
        [sys.executable, *command],
        input=stdin,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(cwd or ""), *sys.path]))},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def test_a_file_that_is_run_has_source(script):
    """The common case."""
    script.write_text(SCRIPT + USE)
    assert run(str(script)) == f"{EXPECTED} source\n"


@pytest.mark.parametrize("flag", ["-O", "-OO", "-X dev", "-X utf8"])
def test_interpreter_flags_make_no_difference(script, flag):
    """-OO removes docstrings and asserts from the running code, and so from what it is compared with."""
    text = SCRIPT.replace("    def cfg():\n", '    def cfg():\n        """Doc."""\n        assert True, "x"\n')
    script.write_text(text + USE)
    assert run(*flag.split(), str(script)) == f"{EXPECTED} source\n"


def test_code_on_the_command_line(script):
    """`python -c`; its source is known since Python 3.13."""
    assert run("-c", SCRIPT + USE) == f"{EXPECTED} {'source' if FAST_SHELL else 'bytecode'}\n"


def test_code_on_standard_input():
    """Sacred failed with `invalid filename <stdin>`."""
    output = run("-", stdin=SCRIPT + USE)
    assert output.rpartition(" ")[0] == str(EXPECTED)


def test_an_interactive_session(monkeypatch):
    """The plain REPL, as far as it can be had through a pipe."""
    lines = "from capture.config.scope import ConfigScope\n@ConfigScope\ndef cfg():\n    a = 1\n    b = a + 1\n\n"
    output = run("-i", "-q", stdin=lines + "print(dict(cfg({'a': 5})))\n")
    assert "{'a': 5, 'b': 6}" in output


def test_code_that_exec_was_given():
    """Generated scopes have no source anywhere."""
    module = {"__name__": "generated"}
    exec(SCRIPT, module)
    assert module["cfg"]({"a": 5}) == EXPECTED
    assert module["cfg"].engine == "bytecode"
    assert (module["cfg"].docs, module["cfg"]().lines) == ({}, {})


def test_a_notebook_cell():
    """IPython registers each cell with linecache; the file of that name does not exist."""
    name = "/tmp/ipykernel_1/cell-of-a-notebook.py"
    linecache.cache[name] = (len(SCRIPT), None, SCRIPT.splitlines(True), name)
    module = {"__name__": "__main__"}
    exec(compile(SCRIPT, name, "exec"), module)
    assert module["cfg"]({"a": 5}) == EXPECTED
    assert (module["cfg"].engine, module["cfg"].docs) == ("source", {"a": "first"})


def test_a_module_of_which_only_the_compiled_file_is_there(script):
    """How some share their code."""
    compileall.compile_file(script, legacy=True, quiet=1)
    script.unlink()
    assert run("-c", f"from script import cfg; {USE}", cwd=script.parent) == f"{EXPECTED} bytecode\n"


def test_a_module_in_a_zip_file(tmp_path):
    """`python experiment.pyz`."""
    import zipfile

    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.writestr("zipped.py", SCRIPT)
    path = str(tmp_path / "app.zip")
    assert (
        run("-c", f"import sys; sys.path.insert(0, {path!r}); from zipped import cfg; {USE}") == f"{EXPECTED} source\n"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a = 1 ", "a = 2 "),
        ("a = 1 ", "a = 1.0 "),
        ("a + n", "a - n"),
        ("c = base", "d = base"),
        ("range(2)", "range(3)"),
        ("def make", "\n\ndef make"),
        ("def cfg", "def cfg_"),
    ],
)
def test_a_file_edited_since_its_import_is_not_believed(script, before, after):
    """The config must be that of the code which is running, not of what the editor has saved since."""
    module = {"__name__": "script"}
    exec(compile(SCRIPT, str(script), "exec"), module)
    assert before in SCRIPT
    script.write_text(SCRIPT.replace(before, after))
    assert module["cfg"]({"a": 5}) == EXPECTED
    assert module["cfg"]() == {"a": 1, "b": [1, 2], "c": 101}
    assert module["cfg"].engine == "bytecode"


def test_an_edit_elsewhere_in_the_file_does_no_harm(script):
    """Editing below a scope while the run goes on is normal."""
    module = {"__name__": "script"}
    exec(compile(SCRIPT, str(script), "exec"), module)
    script.write_text(SCRIPT + "\nthis is no Python any more (")
    assert module["cfg"]({"a": 5}) == EXPECTED
    assert module["cfg"].engine == "source"


@pytest.mark.parametrize(
    "text",
    [
        # attributes of imported names compile to other code than those of others, since Python 3.11
        "import os\nimport os.path as p\ndef cfg():\n    a = os.getcwd()\n    b = p.join('x', 'y')\n",
        "from pathlib import Path\ndef cfg():\n    a = Path.cwd()\n    b = a\n",
        "from copy import copy\nimport copy as c\ncopy.x = print\ndef cfg():\n    a = copy.x('hi')\n    b = c.copy(a)\n",
        "try:\n    import json\nexcept ImportError:\n    json = None\ndef cfg():\n    a = json.dumps(1)\n    b = a\n",
        "import types\nNS = types.SimpleNamespace(f=int)\ndef cfg():\n    a = NS.f()\n    b = a\n",
        "from os import environ\nfrom datetime import *\ndef cfg():\n    a = environ.get('x')\n    b = date.today()\n",
        "def cfg():\n    a = '''\nno indent\n'''\n    b = (\n1,\n)\n",
        "if True:\n    class A:\n        class B:\n            def cfg():\n                a = __x = 1\n                b = __x\n    cfg = A.B.cfg\n",
        "class A:\n    def m(self):\n        def cfg():\n            a = __class__\n            b = self\n        return cfg\ncfg = A().m()\n",
        "def cfg(): a = 1; b = 2\n",
        "def outer():\n  def cfg():\n   a = 1\n   def cfg(): return a\n   b = 1\n  return cfg\ncfg = outer()\n",
        "from __future__ import annotations\ndef cfg(x: nothing = 1) -> nowhere:\n    a: never = 1\n    b = x\n",
        "def cfg():\n\ta = 1\n\tif a:\n\t\tb = 2\n\t# end\n",
        "x = 1\r\ndef cfg():\r\n    a = 1\r\n    b = 1\r\n",
        "# -*- coding: latin-1 -*-\ndef cfg():\n    a = 'ä'\n    b = 1\n",
        "\ufeffdef cfg():\n    a = 1\n    b = 1\n",
        "def cfg():\n    a = lambda: 1\n    b = 1\n    return locals()\n    dead = 1\n",
        "def cfg():\n    a = b = 1\n    return {'a': a, 'b': b}\n",
        "def cfg():\n    a = b = 1\n    assert a, 'text'\n    print(f'{a=}', end='')\n",
        *(
            ["def cfg[T](x: T = 1):\n    a = T\n    b = x\n", "def cfg():\n    type a = int\n    b = 1\n"]
            if sys.version_info >= (3, 12)
            else []
        ),
    ],
)
def test_source_is_recognised_wherever_a_function_stands(text, tmp_path):
    """Each of these compiles to code that depends on more than the function's own lines."""
    path = tmp_path / "script.py"
    encoding = "latin-1" if "latin-1" in text else "utf-8"
    path.write_bytes(text.encode(encoding))
    module = {"__name__": "script"}
    exec(compile(path.read_bytes(), str(path), "exec"), module)
    scope = ConfigScope(module["cfg"])
    assert scope.engine == "source"
    assert {"a", "b"} <= scope().keys()
    assert scope({"b": "new"})["b"] == "new"


def test_an_error_shows_the_users_file_and_line(script):
    """The traceback is what a user debugs with."""
    script.write_text("x = 1\n\ndef cfg():\n    a = 1\n    b = (a +\n         None)\n")
    module = {"__name__": "script"}
    exec(compile(script.read_text(), str(script), "exec"), module)
    with pytest.raises(TypeError) as caught:
        ConfigScope(module["cfg"])()
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.filename, frame.lineno, frame.name) == (str(script), 5, "cfg")
    assert "b = (a +" in frame.line


def test_coverage_sees_the_lines_of_a_scope(script):
    """A scope that runs has to count as covered, and the others not."""
    pytest.importorskip("coverage")
    script.write_text(SCRIPT.replace("        c = ", "        if not a:\n            c = 0\n        c = ") + USE)
    cwd = script.parent
    assert run("-m", "coverage", "run", "--include=script.py", "script.py", cwd=cwd) == f"{EXPECTED} source\n"
    report = run("-m", "coverage", "report", "-m", cwd=cwd)
    assert [line.split()[-1] for line in report.splitlines() if line.startswith("script.py")] == ["10"]


def test_a_tracer_is_put_back_after_a_scope_without_source():
    """Coverage and debuggers go on after it."""
    module = {"__name__": "generated"}
    exec(SCRIPT, module)
    seen = []

    def tracer(frame, event, arg):
        seen.append(frame.f_code.co_name)

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        assert module["cfg"]({"a": 5}) == EXPECTED
        after = sys.gettrace()
        textwrap.dedent("x")
    finally:
        sys.settrace(before)
    assert after is tracer
    assert "dedent" in seen


def test_a_debugger_stops_in_a_scope(script):
    """Breakpoints are set by file and line."""
    script.write_text(SCRIPT.replace("        c = ", "        d = 7\n        c = ") + USE)
    commands = "break script.py:9\ncontinue\np a\np sorted(locals())\nnext\np d\ncontinue\n"
    output = run("-m", "pdb", "script.py", stdin=commands, cwd=script.parent)
    assert "(Pdb) 5\n" in output
    assert "['a', 'b', 'base']" in output
    assert "(Pdb) 7\n" in output
    assert "{'a': 5, 'b': [5, 6], 'd': 7, 'c': 105} source" in output


@ConfigScope
def of_this_module():
    """Found by its name when it is unpickled."""
    a = 1


def plain_function():
    a = 2
    return locals()


def test_scopes_can_be_pickled_and_copied():
    """Sacred's could not (#441), nor could experiments that hold them."""
    assert pickle.loads(pickle.dumps(of_this_module)) is of_this_module
    assert copy.deepcopy(of_this_module)({"a": 2}) == {"a": 2}
    again = pickle.loads(pickle.dumps(ConfigScope(plain_function)))
    assert again({"a": 3}) == {"a": 3}


def test_a_scope_keeps_what_is_known_of_its_function():
    """Sphinx, help() and wrapt look at it."""
    assert of_this_module.__name__ == "of_this_module"
    assert of_this_module.__qualname__ == "of_this_module"
    assert of_this_module.__module__ == __name__
    assert of_this_module.__doc__ == "Found by its name when it is unpickled."
    assert of_this_module.__wrapped__.__name__ == "of_this_module"
    assert of_this_module.parameters == ()
    assert repr(of_this_module).startswith("<config scope of_this_module (test_scope_source.py:")


def test_defining_a_scope_imports_nothing_heavy():
    """Importing a module with scopes is on everybody's path; evaluating them is not."""
    code = (
        "import sys; before = set(sys.modules)\n"
        "from capture.config.scope import ConfigScope\n"
        "@ConfigScope\n"
        "def cfg(a=1):\n    b = 2\n"
        "print(sorted({'ast', 'inspect', 'tokenize', 'linecache', 'dis', 'numpy', 'dataclasses', 'logging'}"
        " & (set(sys.modules) - before)))"
    )
    assert run("-c", code) == "[]\n"
