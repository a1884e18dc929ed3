"""Where people work: prompts, notebooks, debuggers, files without source. Scopes and runs work in all of them."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time

import pytest

from capture import open_store
from capture.query.working_tree import working_tree
from tests.e2e.scripts import HEAD

SCOPES = """
@ex.config
def defaults():
    lr = 0.1  # learning rate
    steps = [i for i in range(3) if lr > 0]
    double = lr * 2
"""
MAIN = """
@ex.main
def main(lr, steps, double):
    print("main ran with", lr)
    return [lr, len(steps), double]
"""
RUN = 'print("result", ex.run(config_updates={"lr": 0.5}).result)\n'


class Terminal:
    """A program in a terminal of its own, to which a test types."""

    def __init__(self, folder, *command):
        master, slave = pty.openpty()
        environment = {**folder.environment, "TERM": "dumb", "PYTHON_BASIC_REPL": "1", "PYTHON_COLORS": "0", "NO_COLOR": "1"}
        self.process = subprocess.Popen(
            command,
            cwd=folder.path,
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that its Ctrl-C is a signal
        )
        os.close(slave)
        self.master, self.text, self.read_to = master, "", 0

    def expect(self, pattern, timeout_s=30.0):
        """Wait until something that matches was written since the last match; return the match."""
        until = time.monotonic() + timeout_s
        while True:
            found = re.search(pattern, self.text[self.read_to :])
            if found:
                self.read_to += found.end()
                return found
            left = until - time.monotonic()
            if left <= 0:
                raise AssertionError(f"{pattern!r} did not come; there was:\n{self.text}")
            if select.select([self.master], [], [], left)[0]:
                try:
                    data = os.read(self.master, 65536)
                except OSError:  # the other side has been closed
                    data = b""
                if not data:
                    raise AssertionError(f"it ended before {pattern!r} came; there was:\n{self.text}")
                self.text += data.decode("utf-8", "replace").replace("\r\n", "\n")

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self):
        """Wait for the end of the program; return its exit code."""
        until = time.monotonic() + 30
        while self.process.poll() is None and time.monotonic() < until:
            if select.select([self.master], [], [], 0.05)[0]:
                try:
                    self.text += os.read(self.master, 65536).decode("utf-8", "replace").replace("\r\n", "\n")
                except OSError:
                    break
        return self.process.wait(timeout=600)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminal(folder):
    """Start programs in terminals."""
    started = []

    def start(*command):
        started.append(Terminal(folder, *command))
        return started[-1]

    yield start
    for each in started:
        each.close()


def run(folder, *command, **options):
    done = subprocess.run(command, cwd=folder.path, env=folder.environment, capture_output=True, text=True, timeout=600, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


# -------------------------------------------------------------------------------------------------------------- prompts


def test_at_the_prompt(terminal, folder):
    """No file, no source in most versions of Python; Sacred cannot do it at all."""
    session = terminal(sys.executable, "-q", "-i")
    session.expect(">>> ")
    for block in (HEAD.replace("\n", "", 1), SCOPES.lstrip() + "\n", MAIN.lstrip() + "\n"):
        for line in block.splitlines():
            session.type(line + "\n")
            session.expect(r"(>>> |\.\.\. )")
        session.type("\n")
        session.expect(">>> ")
    for lr in ("0.5", "0.25"):
        session.type(f'print("result", ex.run(config_updates={{"lr": {lr}}}).result)\n')
        session.expect(rf"main ran with {lr}\n")
        session.expect(rf"result \[{lr}, 3, {float(lr) * 2}\]")
        session.expect(">>> ")
    session.type("_ = 1 + 1; print('still', 40 + 2)\n")
    session.expect("still 42")
    session.type("exit()\n")
    assert session.end() == 0
    record = folder.record(2)
    assert (record.status, record.result) == ("COMPLETED", [0.25, 3, 0.5])
    assert "main ran with 0.25\n" in record.output and ">>>" not in record.output


def test_automain_at_the_prompt_says_what_to_use(terminal, folder):
    """It would run the command line of the interactive session."""
    session = terminal(sys.executable, "-q", "-i")
    session.expect(">>> ")
    for line in ["from capture import Experiment", "ex = Experiment()"]:
        session.type(line + "\n")
        session.expect("(>>> |\n)")
    session.expect("name is required in interactive mode")
    for line in ["ex = Experiment('x')", "@ex.automain", "def main():", "    pass", ""]:
        session.type(line + "\n")
    session.expect("RuntimeError: .*Use @ex.main")
    session.type("exit()\n")
    session.end()


def test_python_i_after_a_script_keeps_the_session_usable(terminal, folder):
    """``python -i script.py`` is how results are looked at afterwards."""
    folder.write(SCOPES + MAIN + "run = ex.run()\n")
    session = terminal(sys.executable, "-q", "-i", "script.py")
    session.expect("main ran with 0.1")
    session.expect(">>> ")
    session.type("run.result\n")
    session.expect(r"\[0\.1, 3, 0\.2\]")
    session.type("raise ValueError('after the run')\n")
    session.expect("ValueError: after the run")
    session.type("exit()\n")
    assert session.end() == 0
    assert folder.json()["status"] == "COMPLETED"


def test_python_c(folder):
    """One-liners in shell scripts."""
    done = run(folder, sys.executable, "-c", HEAD + SCOPES + MAIN + RUN)
    assert "result [0.5, 3, 1.0]" in done.stdout
    assert folder.json()["result"] == [0.5, 3, 1.0]
    assert "main ran with 0.5" in folder.text()


def test_a_script_from_standard_input(folder):
    """``ssh host python < script.py``; in Sacred: invalid filename <stdin>."""
    for arguments in ([], ["-"]):
        done = run(folder, sys.executable, *arguments, input=HEAD + SCOPES + MAIN + RUN)
        assert "result [0.5, 3, 1.0]" in done.stdout
    assert folder.json("2")["result"] == [0.5, 3, 1.0]


def test_code_that_was_never_in_a_file(folder):
    """``exec`` in frameworks, cells in other front ends."""
    folder.write("", head=f"code = {HEAD + SCOPES + MAIN + RUN!r}\nexec(compile(code, '<made up>', 'exec'), {{'__name__': 'made_up'}})\n")
    assert "result [0.5, 3, 1.0]" in folder.run().stdout


def test_only_compiled_files(folder):
    """Products are delivered so; comments are gone, values are not."""
    folder.write(SCOPES + MAIN + RUN)
    run(folder, sys.executable, "-c", "import py_compile; py_compile.compile('script.py', cfile='script.pyc')")
    (folder.path / "script.py").unlink()
    assert "result [0.5, 3, 1.0]" in run(folder, sys.executable, "script.pyc").stdout
    assert folder.json()["result"] == [0.5, 3, 1.0]


def test_a_compiled_file_older_than_its_edited_source(folder):
    """What runs is the old code; the new source must not be mistaken for it."""
    folder.write(SCOPES + MAIN, name="module.py")
    folder.write("import module, pathlib, re\n"
                 "file = pathlib.Path('module.py'); file.write_text('\\n\\n' + file.read_text().replace('0.1', '0.7'))\n"
                 "print('result', module.ex.run().result)\n", head="")  # fmt: skip
    assert "result [0.1, 3, 0.2]" in folder.run().stdout


# ------------------------------------------------------------------------------------------------- coverage, profilers


def test_under_coverage(folder):
    """Tracing functions are in use then, on 3.12 and newer `sys.monitoring`; scopes are measured, too."""
    pytest.importorskip("coverage")
    folder.write(SCOPES + MAIN + RUN)
    done = run(folder, sys.executable, "-m", "coverage", "run", "--include=script.py", "script.py")
    assert "result [0.5, 3, 1.0]" in done.stdout
    report = run(folder, sys.executable, "-m", "coverage", "report", "--include=script.py", "-m").stdout
    assert re.search(r"script\.py +\d+ +0 +100%", report), report


@pytest.mark.parametrize("module", ["cProfile", "trace --count --missing -C counts"])
def test_under_profilers(folder, module):
    """They run the script by compiling it themselves."""
    folder.write(SCOPES + MAIN + RUN)
    done = run(folder, sys.executable, "-m", *module.split(), "script.py")
    assert "result [0.5, 3, 1.0]" in done.stdout
    assert folder.json()["result"] == [0.5, 3, 1.0]


def test_under_a_tracing_function_of_the_users(folder):
    """A debugger of an editor is one; it must still be there afterwards."""
    folder.write("import sys\nseen = []\ndef tracer(frame, event, arg):\n    seen.append(frame.f_code.co_name)\n    return tracer\nsys.settrace(tracer)\n"
                 + SCOPES + MAIN + RUN + "assert sys.gettrace() is tracer\nassert 'defaults' in seen and 'main' in seen\n")  # fmt: skip
    assert "result [0.5, 3, 1.0]" in folder.run().stdout


# ------------------------------------------------------------------------------------------------------------- debugger


def test_a_pdb_session_steps_through_scope_and_main(terminal, folder):
    """``python -m pdb script.py``: break points in a config scope and in main, values shown at the prompt."""
    folder.write(SCOPES + MAIN + RUN)
    lines = (folder.path / "script.py").read_text().splitlines()
    session = terminal(sys.executable, "-m", "pdb", "script.py")
    session.expect(r"\(Pdb\) ")
    for number in (lines.index("    double = lr * 2") + 1, lines.index("    return [lr, len(steps), double]") + 1):
        session.type(f"break {number}\n")
        session.expect(r"Breakpoint \d at")
        session.expect(r"\(Pdb\) ")
    session.type("continue\n")
    session.expect(r"-> double = lr \* 2")
    session.expect(r"\(Pdb\) ")
    session.type("p ('lr is', lr)\n")
    session.expect(r"\('lr is', 0\.5\)")
    session.expect(r"\(Pdb\) ")
    session.type("continue\n")
    session.expect(r"-> return \[lr, len\(steps\), double\]")
    session.expect(r"\(Pdb\) ")
    session.type("p double + 41\n")
    session.expect(r"42\.0")
    session.expect(r"\(Pdb\) ")
    session.type("continue\n")
    session.expect(r"result \[0\.5, 3, 1\.0\]")
    session.expect(r"\(Pdb\) ")
    session.type("quit\n")
    session.end()
    assert folder.json()["result"] == [0.5, 3, 1.0]


def test_breakpoint_in_main_under_capture(terminal, folder):
    """The commonest debugger of all; its prompt must come before the answer is waited for."""
    folder.write("""
    @ex.automain
    def main():
        secret = 40
        print("before")
        breakpoint()
        print("after", secret)
        return secret
    """)
    session = terminal(sys.executable, "script.py")
    session.expect("before")
    session.expect(r"\(Pdb\) ")
    session.type("secret = 42\n")
    session.expect(r"\(Pdb\) ")
    session.type("p 'seen', secret\n")
    session.expect(r"\('seen', 42\)")
    session.expect(r"\(Pdb\) ")
    session.type("continue\n")
    session.expect("after 42")
    assert session.end() == 0
    assert folder.json()["result"] == 42
    assert "before\n" in folder.text() and "after 42" in folder.text()


def test_input_in_main_under_capture(terminal, folder):
    """The prompt is shown before the answer, and is part of the output."""
    folder.write("""
    import getpass
    @ex.automain
    def main():
        name = input("your name? ")
        secret = getpass.getpass("password: ")
        print("hello", name)
        return [name, len(secret)]
    """)
    session = terminal(sys.executable, "script.py")
    session.expect(r"your name\? ")
    session.type("Ada\n")
    session.expect("password: ")
    session.type("hunter2\n")
    session.expect("hello Ada")
    assert session.end() == 0
    assert folder.json()["result"] == ["Ada", 7]
    assert "your name? " in folder.text()
    assert "hunter2" not in folder.text() and "hunter2" not in session.text


@pytest.mark.parametrize("flag", ["-D", "--pdb"])
def test_the_debugger_where_an_error_was_raised(terminal, folder, flag):
    """``-D`` opens it in the user's frame, after the record is complete."""
    folder.write("""
    @ex.automain
    def main():
        value = 41
        print("working")
        raise ValueError("broken")
    """)
    session = terminal(sys.executable, "script.py", flag)
    session.expect("ValueError: broken")
    session.expect(r"\(Pdb\) ")
    assert folder.json()["status"] == "FAILED"
    session.type("p value + 1\n")
    session.expect("42")
    session.expect(r"\(Pdb\) ")
    session.type("quit\n")
    assert session.end() == 1
    assert "working" in folder.text()


def test_standard_output_is_a_terminal_in_a_terminal(terminal, folder):
    """Progress bars and colours look; they must see what they would see without us."""
    folder.write("""
    import os, sys
    @ex.automain
    def main():
        return [sys.stdout.isatty(), os.isatty(1), sys.stdin.isatty(), os.get_terminal_size().columns > 0 if True else None]
    """)
    session = terminal(sys.executable, "script.py")
    assert session.end() == 0
    assert folder.json()["result"][:3] == [True, True, True]


def test_ctrl_c_at_the_keyboard(terminal, folder):
    """The terminal sends it to the whole group, children included."""
    folder.write("""
    import time, subprocess, sys
    @ex.automain
    def main():
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"], stderr=subprocess.DEVNULL)
        print("ready", flush=True)
        time.sleep(30)
    """)
    session = terminal(sys.executable, "script.py")
    session.expect("ready")
    session.type("\x03")
    session.end()
    assert folder.record(1).status == "INTERRUPTED"


# ------------------------------------------------------------------------------------------------------------ notebooks


def notebook(folder, *cells):
    """Run cells in a real kernel; return their outputs as text, one per cell."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python", "language": "python"}
    kernels = folder.path.parent / "jupyter" / "kernels" / "python3"
    kernels.mkdir(parents=True, exist_ok=True)
    (kernels / "kernel.json").write_text(
        json.dumps(
            {
                "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                "display_name": "Python",
                "language": "python",
            }
        )
    )
    environment = {**folder.environment, "JUPYTER_PATH": str(kernels.parent.parent), "IPYTHONDIR": str(folder.path.parent / "ipython")}
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        client = nbclient.NotebookClient(book, timeout=600, allow_errors=True, resources={"metadata": {"path": str(folder.path)}})
        client.execute()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return ["".join(text_of(output) for output in cell.outputs) for cell in book.cells]


def text_of(output):
    if output.output_type == "stream":
        return output.text
    if output.output_type == "error":
        return f"{output.ename}: {output.evalue}"
    return output.data.get("text/plain", "")


@pytest.mark.slow
def test_a_notebook(folder):
    """Cells as experiments: output is shown and recorded, re-run cells replace what they defined."""
    scope = "@ex.config\ndef defaults():\n    lr = {}  # learning rate\n    steps = [i for i in range(3) if lr > 0]\n    double = lr * 2\n"
    outputs = notebook(
        folder,
        "from capture import Experiment\nex = Experiment('book', interactive=True)",
        scope.format("0.1"),
        MAIN,
        "run = ex.run(); run.result",
        scope.format("0.3"),
        MAIN.replace("main ran", "main changed"),
        "ex.run().result, len(ex.configurations)",
        "ex.build_config({'lr': 2})['double']",
        "import logging; 1 / 0",
        "print('still', 42)",
        "@ex.automain\ndef other(): pass",
        "Experiment()",
    )
    assert "main ran with 0.1" in outputs[3] and "[0.1, 3, 0.2]" in outputs[3]
    assert "main changed with 0.3" in outputs[6] and "([0.3, 3, 0.6], 1)" in outputs[6]
    assert outputs[7] == "4"
    assert "ZeroDivisionError" in outputs[8] and outputs[9] == "still 42\n"
    assert "Use @ex.main" in outputs[10] and "name is required" in outputs[11]
    store = open_store(folder.path / "runs")
    assert sorted(record.result for record in store.find()) == [[0.1, 3, 0.2], [0.3, 3, 0.6]]
    assert "main ran with 0.1\n" in store.get(1).output and "changed" not in store.get(1).output
    assert "main changed with 0.3\n" in store.get(2).output
    cells = {source.name: source.read().decode() for source in store.get(2).sources}["notebook-cells.py"]
    assert cells.startswith("# %% [1]\nfrom capture import Experiment\n") and "# %% [2]\n@ex.config\n" in cells
    assert cells.endswith("# %% [7]\nex.run().result, len(ex.configurations)\n")
    compile(cells, "notebook-cells.py", "exec")
    (source,) = [each for each in store.get(1).diff(store.get(2)).causes if each.kind == "source"]
    assert source.name == "notebook-cells.py" and "main changed" in source.detail
    against = store.get(2).diff(working_tree(store.get(2), folder.path))
    assert not [each for each in against.causes if each.kind == "source"]
    assert any("cells of a notebook" in limit for limit in against.limits)


@pytest.mark.slow
def test_a_run_over_several_cells_of_a_notebook(folder):
    """`start_run` without a with block: what is printed in between is recorded and shown."""
    outputs = notebook(
        folder,
        "import capture\nrun = capture.start_run('book', config={'lr': 0.5})",
        "print('first cell')\ncapture.log_scalar('loss', 1.0)",
        "import os\nos.system('echo from a program')\nprint('second cell')\nrun.log_scalar('loss', 0.5)",
        "run.end()\nprint('after the run')",
        "raise ValueError('no harm')",
    )
    assert outputs[1] == "first cell\n" and "second cell\n" in outputs[2] and outputs[3].endswith("after the run\n")
    record = open_store(folder.path / "runs").get("latest")
    assert record.status == "COMPLETED"
    assert record.metrics["loss"].values == [1.0, 0.5]
    assert "first cell\n" in record.output and "second cell\n" in record.output and "after" not in record.output
    begun, later = sorted(record.sources, key=lambda source: source.name, reverse=True)
    assert (begun.name, later.name) == ("notebook-cells.py", "notebook-cells-after-1.py")
    assert begun.read().startswith(b"# %% [1]\nimport capture\n") and b"[2]" not in begun.read()
    assert later.read().startswith(b"# %% [2]\nprint('first cell')") and b"after the run" in later.read()


@pytest.mark.slow
def test_a_notebooks_interrupt(folder):
    """The stop button."""
    outputs = notebook(
        folder,
        HEAD,
        "import os, signal, threading\n@ex.main\ndef main():\n    print('working', flush=True)\n"
        "    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()\n    import time; time.sleep(20)\n",
        "ex.run()",
        "print('still', 42)",
    )
    assert "KeyboardInterrupt" in outputs[2] and outputs[3] == "still 42\n"
    assert folder.record(1).status == "INTERRUPTED"
