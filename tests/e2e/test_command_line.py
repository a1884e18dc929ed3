"""A script's command line, as its user types it: each flag, each command, each kind of mistake."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from capture import open_store

SCRIPT = '''"""Trains digits.

usage: of the script itself, to be left alone
Options:
  --nonsense
"""
from capture import Experiment, Ingredient, cli_option

data = Ingredient("data")

@data.config
def data_config():
    path = "digits.csv"  # where the data lie
    batch = {"size": 32, "shuffle": True}

@data.command
def count(path):
    """Count what is there.

    In many words.
    """
    print("counting", path)
    return 12

@data.capture
def load(path, batch):
    return path, batch["size"]

ex = Experiment("script", ingredients=[data])

@ex.config
def defaults():
    """How to train."""
    lr = 0.1  # learning rate
    layers = [64, 32]
    name = None

@ex.named_config
def big():
    """A large model."""
    layers = [1024, 1024]

@ex.named_config
def fast():
    lr = 1.0

@ex.command
def evaluate(lr, steps: int = 3, *, unit="s"):
    """Measure it."""
    print("evaluated with", lr)
    return lr

@ex.main
def train(lr, layers, name, _run, _config):
    """Train it.

    At length.
    """
    print("trained with", lr, load())
    return [lr, layers, name]

if __name__ == "__main__":
    ex.run_commandline()
'''


@pytest.fixture
def script(folder):
    folder.write("", head=SCRIPT)
    return folder


def problem(done):
    """Return what an error says: one paragraph on standard error, without a traceback."""
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout == ""
    text = done.stderr.strip()
    assert text and "\n\n" not in text
    return text


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


# ------------------------------------------------------------------------------------------------------------- commands


def test_without_arguments_the_main_function_runs(script):
    """And is recorded."""
    assert "trained with 0.1" in script.run().stdout
    assert script.json()["command"] == "train"


def test_commands_run_by_name_those_of_ingredients_by_path(script):
    """Each is recorded as what it is."""
    assert "evaluated with 0.5" in script.run("evaluate", "with", "lr=0.5").stdout
    assert "counting a.csv" in script.run("data.count", "with", "data.path=a.csv").stdout
    assert [script.json(label)["command"] for label in "12"] == ["evaluate", "data.count"]
    assert [script.json(label)["result"] for label in "12"] == [0.5, 12]


def test_updates_and_named_configs_apply_in_order_and_are_recorded(script):
    """What was typed is part of how a run is explained."""
    script.run("with", "big", "lr=0.5", "fast", "data.batch.size=7", "name=a=b", " layers = [1,(2,)] ")
    assert script.json()["result"] == [0.5, [1, {"py/tuple": [2]}], "a=b"]
    meta = script.json()["meta"]
    assert meta["named_configs"] == ["big", "fast"]
    assert meta["config_updates"]["data"] == {"batch": {"size": 7}}
    assert meta["command"] == "train"


def test_options_may_stand_before_and_behind_and_be_spelled_in_all_ways(script):
    """As docopt allows, and Sacred's users do."""
    lines = [
        ["-c", "x", "with", "lr=2"],
        ["with", "lr=2", "-c", "x"],
        ["--comment=x", "with", "lr=2"],
        ["with", "lr=2", "--comment", "x"],
        ["-cx", "train", "with", "lr=2"],
        ["--com=x", "train", "with", "lr=2"],
        ["train", "with", "lr=2", "-fc", "x"],
    ]
    for number, line in enumerate(lines, 1):
        script.run(*line)
        run = script.json(str(number))
        assert (run["meta"]["comment"], run["result"][0]) == ("x", 2), line


def test_help_shows_the_everyday_options_and_help_all_the_rest(script):
    """A first look should not be a wall."""
    for flag in ("-h", "--help"):
        text = script.run(flag).stdout
        assert "--comment" in text and "--mongo_db" not in text and "--help-all" in text
        assert "Trains digits." in text and "usage: of the script itself" in text
        for command in ("train", "evaluate", "data.count", "print_config", "save_config"):
            assert re.search(rf"^  {re.escape(command)} +\S", text, re.M), command
        assert "A large model." in text
    everything = script.run("--help-all").stdout
    for flag in ("--mongo_db", "--sql", "--tiny_db", "--s3", "--queue", "--priority", "--beat-interval", "--capture", "--id"):
        assert flag in everything
    assert not (script.path / "runs").exists()


def test_help_of_a_command_shows_its_parameters_and_docstring(script):
    """As `help` does everywhere."""
    assert script.run("help", "evaluate").stdout == "evaluate(lr, steps: int = 3, *, unit='s')\n    Measure it.\n"
    assert "In many words." in script.run("help", "data.count").stdout
    assert "Usage:" in script.run("help").stdout
    assert "Did you mean 'evaluate'?" in script.run("help", "evaluat", code=1).stdout
    assert "print_config" in script.run("help", "print_config").stdout
    assert not (script.path / "runs").exists()


def test_print_config_shows_values_changes_origins_and_docs(script):
    """Before a run of ten hours people want to see what will run."""
    text = plain(script.run("print_config", "with", "lr=0.5", "data.path=x.csv", "seed=7").stdout)
    assert "Configuration (" in text
    assert re.search(r"lr = 0\.5 .*learning rate", text)
    assert "command line" in text
    assert "path = 'x.csv'" in text and "size = 32" in text
    assert "seed = 7" in text
    assert "\x1b" not in script.run("print_config").stdout
    assert not (script.path / "runs").exists()


def test_print_config_before_a_run(script):
    """``-p`` prints and runs."""
    done = script.run("-p", "with", "lr=0.25")
    assert "lr = 0.25" in done.stdout and "trained with 0.25" in done.stdout


def test_print_dependencies_and_named_configs(script):
    """What a run would record, without running."""
    text = script.run("print_dependencies").stdout
    assert "Dependencies:" in text and "Sources:" in text
    assert re.search(r"script\.py +[0-9a-f]{32}", text)
    text = script.run("print_named_configs").stdout
    assert re.search(r"big +# A large model\.", text) and "fast" in text
    assert not (script.path / "runs").exists()


@pytest.mark.parametrize("name", ["config.json", "mine.yaml", "mine.toml", "sub.d/mine.json"])
def test_a_saved_config_can_be_given_back(script, name):
    """The way to keep a good one."""
    (script.path / "sub.d").mkdir()
    updates = ["lr=0.125", "data.path=x", "name=kept"]
    options = [] if name == "config.json" else [f"config_filename={name}"]
    script.run("save_config", "with", *updates, *options)
    script.run("with", name)
    assert script.json()["result"] == [0.125, [64, 32], "kept"]
    assert "config_filename" not in (script.path / name).read_text()
    assert not (script.path / "runs" / "2").exists()


def test_a_config_that_cannot_be_saved_says_why(script):
    """The folder is missing, or the format has no word for a value."""
    for name, said in (("no/such/c.json", "no/such/c.json"), ("c.toml", "None"), ("c.ini", ".ini"), ("c.pickle", "pickle")):
        done = script.run("save_config", "with", f"config_filename={name}", code=1)
        assert said in done.stderr, name
        assert "originated from within" not in done.stderr


# ---------------------------------------------------------------------------------------------------------------- flags


def test_unobserved(script):
    """``-u`` leaves nothing."""
    for flag in ("-u", "--unobserved"):
        assert "trained" in script.run(flag).stdout
    assert not (script.path / "runs").exists()


def test_comment_name_id_tag_priority_are_recorded(script):
    """What people sort their runs by."""
    script.run("-c", "a comment", "-n", "other", "-i", "my-run", "--tag", "a", "--tag=b", "-P", "2.5")
    run = script.json("my-run")
    assert run["meta"]["comment"] == "a comment" and run["meta"]["priority"] == 2.5
    assert run["experiment"]["name"] == "other"
    record = open_store(script.path / "runs").get("my-run")
    assert record.tags == ["a", "b"]


def test_a_taken_id_never_overwrites(script):
    """The store gives the second run one of its own."""
    script.run("-i", "same")
    script.run("-i", "same", "with", "lr=2")
    records = {record.label: record.result[0] for record in open_store(script.path / "runs").find()}
    assert records["same"] == 0.1
    assert sorted(records.values()) == [0.1, 2]


@pytest.mark.parametrize("odd", ["../outside", "/tmp/outside-id", "a/b", "..", "", "con", "x" * 300, "_sources", "-1", "latest", "nul\\x00"])
def test_an_odd_id_stays_in_the_store(script, odd):
    """It names a folder."""
    before = {path.name for path in script.path.iterdir()}
    done = script.run(f"--id={odd}", code=None)
    assert "Traceback" not in done.stderr
    assert {path.name for path in script.path.iterdir()} - before <= {"runs"}
    assert not (script.path.parent / "outside").exists()
    if done.returncode == 0:
        assert [record.result[0] for record in open_store(script.path / "runs").find()] == [0.1]


def test_queue_describes_the_run_and_does_not_start_it(script):
    """For workers that come later."""
    done = script.run("-q", "with", "lr=3")
    assert "trained" not in done.stdout
    assert script.json()["status"] == "QUEUED"
    assert script.json(name="config.json")["lr"] == 3


def test_force_takes_unknown_entries(script):
    """Sacred's way to say: I know."""
    assert "'unknown'" in problem(script.run("with", "unknown=1", code=1))
    script.run("-f", "with", "unknown=1")
    assert script.json(name="config.json")["unknown"] == 1


def test_enforce_clean_wants_committed_sources(script):
    """Before a result that goes into a paper."""
    assert "git repository" in problem(script.run("-e", code=2))
    subprocess.run("git init -q && git add script.py && git commit -qm x", shell=True, cwd=script.path, check=True)
    script.run("-e", "-u")
    with (script.path / "script.py").open("a") as f:
        f.write("# changed\n")
    assert "uncommitted" in problem(script.run("-e", code=2))
    assert not (script.path / "runs").exists()


@pytest.mark.parametrize(("level", "seen"), [("ERROR", False), ("40", False), ("info", True), ("DEBUG", True), ("10", True)])
def test_loglevel(script, level, seen):
    """By name or number, from the first message on."""
    assert ("Running command" in script.run("-u", "-l", level).stderr) is seen


@pytest.mark.parametrize("mode", ["no", "sys", "fd"])
def test_capture_modes(script, mode):
    """Each passes the output on; ``no`` records none."""
    assert "trained with" in script.run("-C", mode).stdout
    assert ("trained with" in script.text() if mode != "no" else not (script.path / "runs/1/cout.txt").exists() or not script.text())


def test_beat_interval(folder):
    """0 means no heartbeats, and loses nothing: in Sacred it loses output and numbers."""
    folder.write("""
    import time
    @ex.automain
    def main(_run):
        for i in range(3):
            print("line", i); _run.log_scalar("x", i); time.sleep(0.1)
        return _run.beat_interval
    """)
    for number, value in enumerate(("0", "0.05", "1e3"), 1):
        folder.run("-b", value)
        assert folder.json(str(number))["result"] == float(value)
        assert folder.text(str(number)).count("line") == 3
        assert folder.json(str(number), "metrics.json")["x"]["values"] == [0, 1, 2]


def test_debug_shows_the_whole_traceback(folder):
    """For those who look for a bug in the library."""
    folder.write("""
    @ex.automain
    def main():
        raise ValueError("mine")
    """)
    done = folder.run("-d", code=1)
    assert "ValueError: mine" in done.stderr and "capture/run.py" in done.stderr
    assert folder.json()["status"] == "FAILED"
    done = folder.run(code=1)
    assert "ValueError: mine" in done.stderr and "capture/run.py" not in done.stderr


def test_stores_by_flag_and_url(script):
    """``-F`` as in Sacred, ``-o`` for all kinds, several at once."""
    script.run("-F", "one", "-o", "two", "-o", "file://" + str(script.path / "three with space"))
    for name in ("one", "two", "three with space"):
        assert json.loads((script.path / name / "1" / "run.json").read_text())["status"] == "COMPLETED"
    assert not (script.path / "runs").exists()


@pytest.mark.parametrize(
    ("flag", "value", "module", "extra"),
    [
        ("-m", "localhost:27017:lab", "pymongo", "mongo"),
        ("-s", "sqlite:///runs.db", "sqlalchemy", "sql"),
        ("-s", "postgresql://localhost/lab", "psycopg", "postgres"),
        ("-S", "s3://bucket/runs", "s3fs", "s3"),
    ],
)
def test_a_store_whose_driver_is_missing_is_a_message(script, flag, value, module, extra):
    """Not an ImportError after an hour: it is said before main, with what to install."""
    blocked = script.path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(f"import sys\nsys.modules[{module!r}] = None\n")  # as if it were not there
    script.environment["PYTHONPATH"] = str(blocked)
    done = script.run(flag, value, code=None)
    assert done.returncode in (1, 2), done.stdout + done.stderr
    text = problem(done)
    assert f"experiment-capture[{extra}" in text and "Traceback" not in text


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--coment", "x"], "Did you mean --comment?"),
        (["--unknown"], "--unknown"),
        (["--lr", "0.1"], "there is no option --lr. To set a config entry, write: with lr=0.1."),
        (["--lr=0.1", "-u"], "there is no option --lr. To set a config entry, write: with lr=0.1."),
        (["-x"], "-x"),
        (["-c"], "needs a value"),
        (["--comment"], "needs a value"),
        (["--force=yes"], "takes no value"),
        (["train", "lr=3"], "with lr=3"),
        (["with"], "at least one update"),
        (["train", "with"], "at least one update"),
        (["a", "b"], "do not fit"),
        (["-c", "a", "-c", "b"], "-c"),
        (["-b", "often"], "--beat-interval"),
        (["-P", "high"], "--priority"),
        (["-l", "loud"], "--loglevel"),
        (["-C", "all"], "--capture"),
        (["-o", "nosuch://place"], "nosuch"),
        (["--observe"], "needs a value"),
        (["-o", ""], "an empty text names no store"),
        (["-F", ""], "--file_storage names a store, and its value is empty"),
        (["--help=x"], "--help"),
    ],
)
def test_a_malformed_command_line_is_one_paragraph_and_code_2(script, arguments, said):
    """Never a traceback of ours."""
    assert said in problem(script.run(*arguments, code=2))
    assert not (script.path / "runs").exists()


def test_an_unknown_command_lists_those_there_are(script):
    """And the one that was probably meant. Sacred prints it so, with code 1."""
    done = script.run("trian", code=1)
    assert 'Command "trian" not found.' in done.stdout and "'train'" in done.stdout and "evaluate" in done.stdout
    for word in ("big", "-", "--"):
        assert f'Command "{word}" not found.' in script.run(word, code=1).stdout
    assert 'with "lr=3"' in script.run("lr=3", code=1).stdout
    assert not (script.path / "runs").exists()


def test_a_script_without_a_main_function_says_so(folder):
    """And lists what there is."""
    folder.write("""
    @ex.command
    def one(): pass
    if __name__ == "__main__":
        ex.run_commandline()
    """)
    done = folder.run(code=1)
    assert "No command" in done.stdout and "one" in done.stdout
    folder.run("one")


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        ("return 1", 0, "COMPLETED"),
        ("raise ValueError('x')", 1, "FAILED"),
        ("raise SystemExit(0)", 0, "COMPLETED"),
        ("raise SystemExit(5)", 5, "FAILED"),
        ("raise SystemExit('a message')", 1, "FAILED"),
        ("from capture.errors import TimeoutInterrupt; raise TimeoutInterrupt()", 1, "TIMEOUT"),
        ("from capture.errors import InvalidConfigError; raise InvalidConfigError('no', 'lr')", 1, "FAILED"),
        ("raise BaseException('odd')", 1, "FAILED"),
        ("raise GeneratorExit()", 1, "FAILED"),
        ("assert False", 1, "FAILED"),
        ("undefined", 1, "FAILED"),
        ("main()", 1, "FAILED"),
    ],
)
def test_exit_codes(folder, body, code, status):
    """What a launcher sees."""
    folder.write(f"""
    @ex.config
    def c():
        lr = 3
    @ex.automain
    def main(lr):
        {body}
    """)
    done = folder.run(code=code)
    assert folder.json()["status"] == status
    if "no" in body and "Invalid" in body:
        assert "lr=3" in done.stderr and "Traceback" not in done.stderr
    if "message" in body:
        assert "a message" in done.stderr


def test_an_error_in_a_config_scope_shows_the_users_line(folder):
    """Nothing was started, so nothing is recorded."""
    folder.write("""
    @ex.config
    def c():
        lr = 1 / 0
    @ex.automain
    def main(lr):
        pass
    """)
    done = folder.run(code=1)
    assert "ZeroDivisionError" in done.stderr and "lr = 1 / 0" in done.stderr
    assert "capture/config" not in done.stderr
    assert not (folder.path / "runs").exists()


def test_missing_values_are_listed_with_what_to_do(folder):
    """The commonest mistake of a beginner."""
    folder.write("""
    @ex.config
    def c():
        learning_rate = 0.1
    @ex.automain
    def main(learning_rat):
        pass
    """)
    done = folder.run(code=1)
    assert "learning_rat" in done.stderr and "did you mean: learning_rate" in done.stderr
    assert "Traceback" not in done.stderr
    assert folder.json()["status"] == "FAILED"


# ------------------------------------------------------------------------------------------- options of the user's own

OPTIONS = '''
from capture import Experiment, cli_option

@cli_option("-g", "--gpu")
def gpu(args, run):
    """Which GPU to use."""
    run.info["gpu"] = args

@cli_option("-k", "--keep", is_flag=True)
def keep(args, run):
    """Keep it."""
    run.info["keep"] = args

ex = Experiment("script", additional_cli_options=[gpu, keep])

@ex.option_hook
def hook(options):
    if options["--keep"]:
        options["--comment"] = "from the hook"

@ex.automain
def main(_run):
    return dict(_run.info)
'''


def test_options_of_ones_own_act_on_the_run_and_show_in_the_help(folder):
    """Labs add a dozen."""
    folder.write("", head=OPTIONS)
    folder.run("-g", "3", "-k")
    assert folder.json()["result"] == {"gpu": "3", "keep": True}
    assert folder.json()["meta"]["comment"] == "from the hook"
    assert "Which GPU to use." in folder.run("--help").stdout


@pytest.mark.parametrize("flags", ['"-f", "--fetch"', '"-x", "--force"', '"-m", "--model"', '"-h", "--host"', '"-x", "--help"'])
def test_a_flag_of_sacreds_cannot_be_taken(folder, flags):
    """Scripts and fingers rely on it."""
    folder.write("", head=OPTIONS.replace('"-g", "--gpu"', flags))
    done = folder.run(code=1)
    assert re.search("taken|needs another", done.stderr)


@pytest.mark.parametrize(("flags", "arguments"), [('"-o", "--output"', ["-o", "x"]), ('"-O", "--observe"', ["--observe", "x"]), ('"-T", "--tag"', ["--tag", "x"])])
def test_a_flag_that_only_we_have_gives_way(folder, flags, arguments):
    """Existing scripts must not break."""
    folder.write("", head=OPTIONS.replace('"-g", "--gpu"', flags))
    folder.run(*arguments)
    assert folder.json()["result"] == {"gpu": "x"}
    folder.run("--help-all")


@pytest.mark.parametrize("flags", ['"g", "--gpu"', '"-gg", "--gpu"', '"-g", "-gpu"', '"-g", "--g=U"', '"", "--gpu"', '"-g", ""'])
def test_a_malformed_option_is_refused_where_it_is_defined(folder, flags):
    """Not when somebody uses it."""
    folder.write("", head=OPTIONS.replace('"-g", "--gpu"', flags))
    done = folder.run(code=1)
    assert "ValueError" in done.stderr and "flag" in done.stderr and "cli_option" in done.stderr


def test_an_option_that_raises_ends_before_the_run(folder):
    """With the user's own traceback, since it is the user's code."""
    folder.write("", head=OPTIONS.replace('run.info["gpu"] = args', "int(args)"))
    done = folder.run("-g", "x", code=1)
    assert "invalid literal" in done.stderr and "int(args)" in done.stderr
    assert not (folder.path / "runs").exists()


def test_an_option_hook_that_raises_and_one_without_the_parameter(folder):
    """Both are the user's code."""
    folder.write("", head=OPTIONS.replace('if options["--keep"]:', "if 1 / 0:"))
    assert "ZeroDivisionError" in folder.run(code=1).stderr
    folder.write("", head=OPTIONS.replace("def hook(options):", "def hook(opts):").replace("options[", "opts["))
    assert "options" in folder.run(code=1).stderr


# ------------------------------------------------------------------------------------------------------------- settings


def test_settings_from_the_environment_and_a_project_file(script):
    """A cluster's defaults and a project's."""
    (script.path / "pyproject.toml").write_text('[tool.capture]\nstore = "from_project"\n')
    script.run()
    assert (script.path / "from_project" / "1" / "run.json").exists()
    script.environment["CAPTURE_STORE"] = "from_environment"
    script.run()
    assert (script.path / "from_environment" / "1" / "run.json").exists()
    script.environment["CAPTURE_STORE"] = "none"
    script.run()
    assert not (script.path / "runs").exists()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("CAPTURE_CAPTURE_MODE", "all", "environment variable CAPTURE_CAPTURE_MODE"),
        ("CAPTURE_OUTPUT__MAX_BYTES", "many", "environment variable CAPTURE_OUTPUT__MAX_BYTES"),
        ("CAPTURE_SIGNALS", "perhaps", "environment variable CAPTURE_SIGNALS"),
        ("CAPTURE_STORE", "nosuch://x", "nosuch"),
    ],
)
def test_a_wrong_setting_names_where_it_was_made(script, variable, value, said):
    """A variable set in a profile years ago is hard to find."""
    script.environment[variable] = value
    done = script.run(code=None)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("content", ["[tool.capture\n", "[tool.capture]\nstor = 1\n", "[tool.capture]\nstore = 1\n", "[tool.capture]\noutput = 3\n"])
def test_a_wrong_project_file_is_named(script, content):
    """It may lie several folders up."""
    (script.path / "pyproject.toml").write_text(content)
    done = script.run(code=1)
    assert "pyproject.toml" in done.stderr
    assert "Traceback" not in done.stderr


def test_strict_parsing(script):
    """A setting of Sacred's: strings must be quoted."""
    script.environment["CAPTURE_COMMAND_LINE__STRICT_PARSING"] = "1"
    assert "strict parsing" in problem(script.run("with", "name=abc", code=2))
    script.run("with", "name='abc'")
    assert script.json()["result"][2] == "abc"
