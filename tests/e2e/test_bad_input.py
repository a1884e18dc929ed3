"""Whatever comes in is stored safely or refused with its place named; nothing is lost and nothing runs."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import threading

import pytest

from capture import Experiment, open_store
from capture.errors import ConfigError
from capture.hooks import HOOKS
from tests.e2e.scripts import Folder

CONFIG = """
@ex.config
def defaults():
    lr = 0.1
    model = {"width": 64, "depth": 2}
    name = "x"
    data = None

@ex.automain
def main(lr, model, name, data, _run):
    return [lr, model, data]
"""


def problem(done):
    """Return what an error says: one paragraph, without a traceback."""
    assert "Traceback" not in done.stderr, done.stderr
    text = done.stderr.strip()
    assert "\n\n" not in text
    return text


# ------------------------------------------------------------------------------------------------------- command line


@pytest.mark.parametrize(
    ("update", "code", "said"),
    [
        ("learning_rate=3", 1, ["'learning_rate'", "command line", "known entries"]),
        ("=3", 2, ["no config entry before"]),
        ("a..b=3", 2, ["empty name"]),
        ("$x=3", 1, ["'$x'", "$"]),
        ("py/object=3", 1, ["py/object"]),
        ("seed=abc", 1, ["seed", "'abc'"]),
        ("seed=-1.5", 1, ["seed", "-1.5"]),
        ("nothing_of_this_name", 1, ["nothing_of_this_name", "named config"]),
    ],
)
def test_a_wrong_update_is_refused_with_its_place(folder, update, code, said):
    """A slip in a name is the commonest of all mistakes; Sacred shows a traceback for most of these."""
    folder.write(CONFIG)
    text = problem(folder.run("with", update, code=code))
    for word in said:
        assert word in text
    assert not (folder.path / "runs" / "1").exists()


def test_a_new_entry_in_a_group_that_is_read_whole_is_allowed_and_named(folder):
    """Nobody can know which of its keys the function reads; so the run goes on and the slip is in the log."""
    folder.write(CONFIG)
    done = folder.run("with", "model.widht=3")
    assert 'Added new config entry: "model.widht"' in done.stderr
    assert 'did you mean "model.width"?' in done.stderr
    done = folder.run("with", "lr.x=3")
    assert 'Changed type of config entry "lr" from float to dict' in done.stderr


@pytest.mark.parametrize(
    "value",
    [
        '{"py/reduce": [{"py/function": "os.system"}, {"py/tuple": ["touch ran"]}]}',
        '{"py/object/apply:os.system": ["touch ran"]}',
        "__import__('os').system('touch ran')",
        "[x for x in [__import__('os').system('touch ran')]]",
    ],
)
def test_a_value_on_the_command_line_never_runs(folder, value):
    """The first of these runs a shell command in Sacred."""
    folder.write(CONFIG)
    folder.run("with", f"data={value}", code=None)
    assert not (folder.path / "ran").exists()


def test_a_value_that_is_not_utf_8_reaches_main_and_the_record(folder):
    """A file name in an old encoding arrives as lone surrogates; Sacred loses the run."""
    folder.write("""
    @ex.config
    def defaults():
        data = ""
    @ex.automain
    def main(data):
        return data == "caf\\udce9"
    """)
    subprocess.run(
        [sys.executable.encode(), b"script.py", b"with", b"data=caf\xe9"], cwd=folder.path, env=folder.environment, check=True
    )
    record = folder.record(1)
    assert record.result is True
    assert record.config["data"] == "caf\udce9"
    assert folder.json()["status"] == "COMPLETED"


def test_a_comment_and_a_tag_that_are_not_utf_8_are_recorded(folder):
    """They come from the same shell as values do."""
    folder.write(CONFIG)
    command = [sys.executable.encode(), b"script.py", b"-c", b"caf\xe9", b"--tag", b"t\xe9"]
    subprocess.run(command, cwd=folder.path, env=folder.environment, check=True)
    record = folder.record(1)
    assert record.meta["comment"] == "caf\udce9"
    assert record.tags == ["t\udce9"]
    folder.json(), folder.json(name="capture.json")


# ------------------------------------------------------------------------------------------------------- config files

EVIL_JSON = json.dumps({"data": {"py/reduce": [{"py/function": "os.system"}, {"py/tuple": ["touch ran"]}]}})
EVIL_YAML = "data: !!python/object/apply:os.system ['touch ran']\n"
EVIL_SUBPROCESS = json.dumps({"data": {"py/object": "subprocess.Popen", "py/newargs": {"py/tuple": [["touch", "ran"]]}}})


class Evil:
    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("evil.json", EVIL_JSON.encode()),
        ("popen.json", EVIL_SUBPROCESS.encode()),
        ("evil.yaml", EVIL_YAML.encode()),
        ("evil.pickle", pickle.dumps(Evil())),
        ("evil.pkl", pickle.dumps(Evil())),
    ],
)
def test_a_config_file_never_runs(folder, name, content):
    """`with evil.json` ran a shell command in Sacred; so did a pickle."""
    folder.write(CONFIG)
    (folder.path / name).write_bytes(content)
    done = folder.run("with", name, code=None)
    assert not (folder.path / "ran").exists()
    if done.returncode:
        assert name in problem(done)
    else:  # inert data, which is recorded as such
        assert folder.json()["status"] == "COMPLETED"
        folder.json(name="config.json")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cut.json", b'{"lr": 0.1, "mod', "cut.json:1:"),
        ("cut.yaml", b"lr: [1, 2\nmodel: {", "cut.yaml:"),
        ("cut.toml", b'lr = "x', "cut.toml"),
        ("latin.json", b'{"name": "caf\xe9"}', "latin.json:1:14: not text in UTF-8"),
        ("utf16.json", '{"lr": 1}'.encode("utf-16"), "utf16.json:1:1: not text in UTF-8"),
        ("list.json", b"[1, 2]", "holds a list"),
        ("number.yaml", b"3", "holds a int"),
        ("nothing.json", b"", "nothing.json:1:1: not JSON"),
        ("nul.yaml", b"lr: \x00", "nul.yaml"),
        ("deep.json", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        ("deep.yaml", b"{a: " * 2_000 + b"1" + b"}" * 2_000, "nested too deeply"),
        ("bomb.yaml", b"a: &a [1,1,1,1,1,1,1,1,1,1]\n" + b"".join(
            b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 10)) for c in range(ord("b"), ord("l"))
        ), "aliases"),
        ("cycle.yaml", b"lr: &x [1, *x]\n", "contains it"),
        ("dotted.json", b'{"a.b": {"": 1}}', "dotted.json"),
        ("dollar.yaml", b"$lr: 1\n", "$lr"),
        ("unknown.json", b'{"learning_rate": 1}', "learning_rate"),
        ("config.ini", b"[a]\nlr=1\n", "config.ini"),
    ],
)  # fmt: skip
def test_a_config_file_that_cannot_be_used_is_named_with_the_place_in_it(folder, name, content, said):
    """Line and column, as far as they are known, and never a traceback."""
    folder.write(CONFIG)
    (folder.path / name).write_bytes(content)
    text = problem(folder.run("with", name, code=1))
    assert said in text
    assert not (folder.path / "runs" / "1").exists()


def test_a_directory_or_a_missing_file_is_no_config_file(folder):
    """Both are slips for a named config, and are answered as such."""
    folder.write(CONFIG)
    (folder.path / "conf.json").mkdir()
    for name in ("conf.json", "missing.yaml"):
        assert name in problem(folder.run("with", name, code=1))


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_config_file_that_may_not_be_read_is_named(folder, everybody):
    """A file of a colleague's, on a cluster."""
    folder.write(CONFIG)
    (folder.path / "secret.json").write_text("{}")
    (folder.path / "secret.json").chmod(0)
    done = everybody(folder, "with", "secret.json")
    assert done.returncode == 1
    assert "secret.json" in problem(done)


def test_a_config_file_from_a_pipe_is_read(folder):
    """``with <(make-config)`` has no ending, so it is refused with what the endings are; it must not hang."""
    folder.write(CONFIG)
    os.mkfifo(folder.path / "pipe.json")
    text = problem(folder.run("with", "pipe.json", code=1))
    assert "pipe.json" in text


# ------------------------------------------------------------------------------------------------------------- values

ODD_VALUES = {
    "nan": "float('nan')",
    "infinities": "[float('inf'), -float('inf')]",
    "big int": "10 ** 400",
    "tuple": "(1, (2, 3))",
    "set": "{1, 2}",
    "frozenset": "frozenset([1])",
    "bytes": "b'\\xff\\x00'",
    "complex": "complex(1, float('nan'))",
    "surrogates": "'a\\udc80b\\ud83d'",
    "nul": "'a\\0b'",
    "int keys": "{1: 'a', -2: 'b'}",
    "tuple keys": "{(1, 2): 'a'}",
    "None key": "{None: 1, True: 2, 1.5: 3}",
    "empty key": "{'': 1}",
    "dotted key": "{'a.b': 1}",
    "dollar key": "{'$a': 1}",
    "tag key": "{'py/object': 'os.system'}",
    "surrogate key": "{'\\udc80': 1}",
    "numpy scalars": "[numpy.float32(1.5), numpy.int64(3), numpy.bool_(True), numpy.float64('nan')]",
    "numpy array": "numpy.arange(6).reshape(2, 3)",
    "numpy objects": "numpy.array([object(), None], dtype=object)",
    "numpy empty": "numpy.zeros((0, 3))",
    "structured": "numpy.zeros(2, dtype=[('a', int)])",
    "datetime": "numpy.array(['2020-01-01', 'NaT'], dtype='M8[D]')",
    "frame": "pandas.DataFrame({'a': [1, None], 'b': ['x', None]})",
    "recursive list": "recursive_list()",
    "recursive dict": "recursive_dict()",
    "deep": "deep()",
    "lock": "threading.Lock()",
    "generator": "(x for x in [1])",
    "file": "open(__file__)",
    "module": "os",
    "lambda": "lambda: 1",
    "class": "Bad",
    "bad repr": "BadRepr()",
    "bad dict": "BadDict()",
    "bad getattr": "BadGetattr()",
    "bad proxy": "BadProxy()",
    "bad metaclass": "BadMeta()",
    "bad hash and eq": "BadEq()",
    "bad reduce": "BadReduce()",
    "bad str subclass": "BadStr('x')",
    "bad dict subclass": "BadMapping(a=1)",
    "self exiting": "Exits()",
}

ZOO = """
import os, sys, threading

def recursive_list():
    a = []; a.append(a); return a
def recursive_dict():
    a = {}; a["me"] = {"again": a}; return a
def deep():
    a = []
    for _ in range(100_000):
        a = [a]
    return a
class Bad: pass
class BadRepr:
    def __repr__(self): raise RuntimeError("no repr")
class BadDict:
    @property
    def __dict__(self): raise RuntimeError("no dict")
class BadGetattr:
    def __getattribute__(self, name): raise RuntimeError("no " + name)
class BadProxy:
    def __getattr__(self, name): raise RuntimeError("stands for nothing yet")
class Meta(type):
    def __instancecheck__(cls, other): raise RuntimeError("no")
    def __subclasscheck__(cls, other): raise RuntimeError("no")
    def __getattribute__(cls, name): raise RuntimeError("no " + name)
class BadMeta(metaclass=Meta): pass
class BadEq:
    __hash__ = None
    def __eq__(self, other): raise RuntimeError("no eq")
    def __bool__(self): raise RuntimeError("no bool")
class BadReduce:
    def __init__(self): self.a = 1
    def __reduce_ex__(self, protocol): raise RuntimeError("no reduce")
    def __getstate__(self): raise RuntimeError("no state")
class BadStr(str):
    def encode(self, *a): raise RuntimeError("no")
    def __str__(self): raise RuntimeError("no")
    __repr__ = __str__
class BadMapping(dict):
    def items(self): raise RuntimeError("no")
    def keys(self): raise RuntimeError("no")
    def __iter__(self): raise RuntimeError("no")
    __repr__ = __iter__
class Exits:
    def __repr__(self): sys.exit(9)
"""


def make(what):
    """Return a new value of the collection; numpy and pandas are there for those that need them."""
    import numpy
    import pandas

    names = {"numpy": numpy, "pandas": pandas, "__file__": __file__}
    exec(ZOO, names)
    return eval(ODD_VALUES[what], names)  # noqa: S307 - the table above


class Here:
    """An experiment in this process, which records into a folder: as `Folder`, but a hundred times as fast."""

    def __init__(self, path):
        self.ex = Experiment("here", base_dir=str(path), save_git_info=False, observers=[str(path / "runs")])
        self.path = path

    def json(self, name="run.json"):
        return Folder(self.path).json("1", name)

    @property
    def record(self):
        return open_store(self.path / "runs").get(1)


@pytest.fixture
def here(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    return Here(tmp_path)


@pytest.mark.parametrize("what", ODD_VALUES)
def test_any_value_is_stored_as_info_result_metadata_and_params(here, what):
    """What a user puts there is theirs; the run must end as it would have without us, with strict JSON on the disk."""

    @here.ex.main
    def main(_run):
        value = make(what)
        _run.info["value"] = value
        _run.info["after"] = 1
        _run.log_params({"p": value, "q": 2})
        _run.add_artifact(here.path / "a.txt", metadata={"m": value})
        _run.log_scalar("x", 1)
        return value

    assert here.ex.run().status == "COMPLETED"
    assert here.json()["status"] == "COMPLETED"
    info = here.json("info.json")
    assert info["after"] == 1 and "value" in info
    here.json("capture.json")
    assert here.record.params["q"] == 2
    assert here.record.artifacts[0].name == "a.txt"
    assert here.record.metrics["x"].values == [1]


REFUSED_IN_CONFIG = {"empty key", "dotted key", "dollar key", "tag key", "recursive list", "recursive dict", "deep"}


# an imported module is no entry; what does not even tell its class cannot be told from a module
@pytest.mark.parametrize("what", [what for what in ODD_VALUES if what not in ("module", "bad getattr")])
def test_any_value_may_be_in_the_config_but_for_keys_that_no_path_can_name(here, what):
    """It reaches main as it is, and the store in a form that JSON has; or it is refused before main, named."""
    made = make(what)

    @here.ex.config
    def defaults():
        value = made
        lr = 0.1

    @here.ex.main
    def main(value, lr):
        return lr

    if what in REFUSED_IN_CONFIG:
        with pytest.raises(ConfigError, match="value") as caught:
            here.ex.run()
        assert caught.value.print_traceback is False
        assert not (here.path / "runs" / "1").exists()
        return
    assert here.ex.run().result == 0.1
    config = here.json("config.json")
    assert config["lr"] == 0.1 and "value" in config
    assert here.record.config["lr"] == 0.1


def test_an_object_reaches_main_as_it_is(here):
    """What is stored is its inert form; what main works with is the object."""
    lock = threading.Lock()
    here.ex.add_config(lock=lock)

    @here.ex.main
    def main(lock):
        return lock

    assert here.ex.run().result is lock


ROUND_TRIPS = ["nan", "infinities", "big int", "tuple", "set", "frozenset", "bytes", "surrogates", "nul", "int keys", "tuple keys",
               "None key", "surrogate key"]  # fmt: skip


def unordered(value):
    return sorted(map(repr, value.items())) if isinstance(value, dict) else repr(value)


@pytest.mark.parametrize("what", ROUND_TRIPS)
def test_plain_values_come_back_as_they_were(here, what):
    """Sacred turns tuples into lists, and NaN into JSON that nothing reads."""
    made = make(what)
    here.ex.add_config(value=made)

    @here.ex.main
    def main(value, _run):
        _run.info["value"] = value
        return value

    here.ex.run()
    for value in (here.record.config["value"], here.record.info["value"], here.record.result):
        assert unordered(value) == unordered(made)


def test_values_that_are_not_numbers_are_refused_as_metrics_with_the_metrics_name(folder):
    """The line that logs it is the user's, and so is the traceback."""
    folder.write("""
    import numpy
    @ex.automain
    def main(_run):
        refused = []
        for value in ("a", None, [1], numpy.zeros(2), 1j, object(), {}):
            try:
                _run.log_scalar("loss", value)
            except TypeError as error:
                refused.append("'loss'" in str(error))
        _run.log_scalar("loss", float("nan"))
        _run.log_scalar("loss", float("inf"))
        _run.log_scalar("loss", numpy.float32(0.5))
        _run.log_scalar("loss", 10**400)
        _run.log_scalar("loss", True)
        for name in (3, None, "a\\udc80"):
            try:
                _run.log_scalar(name, 1)
            except TypeError:
                refused.append(True)
        _run.log_scalar("odd.name/$x ", 1)
        _run.log_scalar("", 1)
        return refused
    """)
    folder.run()
    assert folder.json()["result"] == [True] * 10
    metrics = folder.record(1).metrics
    values = list(metrics["loss"].values)
    assert [repr(value) for value in values[:3]] == ["nan", "inf", "0.5"]
    assert values[3:] == [10**400, 1]
    assert metrics["odd.name/$x "].values == [1] and metrics[""].values == [1]
    folder.json(name="metrics.json")


@pytest.mark.slow
def test_strings_of_20_mb_are_recorded_everywhere(folder):
    """MongoDB's 16 MB ends such a record in Sacred; a single printed line must not either."""
    folder.write("""
    @ex.config
    def defaults():
        text = "c" * 20_000_000
    @ex.automain
    def main(text, _run):
        _run.info["text"] = "i" * 20_000_000
        print("p" * 20_000_000)
        print("é" * 100)
        _run.add_artifact(b"a" * 20_000_000, name="a.bin")
        return "r" * 20_000_000
    """)
    folder.run(stderr=subprocess.STDOUT)  # one pipe for both, or their order would be anybody's guess
    record = folder.record(1)
    assert record.status == "COMPLETED"
    assert record.config["text"] == "c" * 20_000_000
    assert record.info["text"] == "i" * 20_000_000
    assert record.result == "r" * 20_000_000
    assert "p" * 20_000_000 + "\n" + "é" * 100 + "\n" in record.output
    assert record.artifacts[0].read() == b"a" * 20_000_000


# ---------------------------------------------------------------------------------------------------- artifact names


@pytest.mark.parametrize(
    "name",
    ["../../../escaped.txt", "/tmp/escaped-absolute.txt", "a/../../../../escaped.txt", "..", ".", "", "/", "//", "a//b.txt",
     "nul\0byte.txt", "con", "CON.txt", "aux/prn.txt", "com1", "trailing.", "trailing ", "a:b", "a<b>|?*.txt", "C:\\x\\y.txt", "\\\\server\\x",
     "x" * 300 + ".txt", "/".join(["d" * 200] * 20), "é" * 200, "a\udc80.txt", "new\nline", "run.json", "config.json", "cout.txt", "metrics.json",
     "metrics.jsonl", "capture.json", "info.json", "_sources", ".hidden", "-rf", "~", "$HOME", "%PATH%"],
)  # fmt: skip
def test_an_artifact_of_any_name_stays_in_the_run_and_can_be_read_back(here, name):
    """Sacred writes ``../../../x`` outside of the store, and run.json over the record."""

    @here.ex.main
    def main(_run):
        return [_run.add_artifact(b"bytes", name=name), _run.add_artifact(b"other", name=name)]

    before = outside(here.path)
    here.ex.run()
    assert outside(here.path) == before
    assert not os.path.exists("/tmp/escaped-absolute.txt")
    assert here.json()["status"] == "COMPLETED"
    assert here.json("config.json")["seed"]
    assert here.record.status == "COMPLETED"
    assert [artifact.read() for artifact in here.record.artifacts] == [b"bytes", b"other"]
    assert len({artifact.name for artifact in here.record.artifacts}) == 2


def outside(path):
    """Return the files around a store."""
    return {file for file in path.parent.rglob("*") if "runs" not in file.parts}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("_run.add_artifact('missing.txt')", "missing.txt"),
        ("_run.add_artifact(object(), name='a.txt')", "object"),
        ("_run.add_artifact({1: 2})", "needs a name"),
        ("_run.add_artifact({1: 2}, name='a.csv')", "endings for it"),
        ("_run.add_artifact([1], name='a.pkl')", "pickle=True"),
        ("_run.add_resource('missing.txt')", "missing.txt"),
        ("_run.open_resource('missing.txt')", "missing.txt"),
        ("_run.add_resource('.')", "."),
        ("_run.add_artifact('/proc/self/mem', name='mem')", ""),
    ],
)
def test_a_file_or_value_that_cannot_be_kept_is_an_error_at_the_users_line(folder, call, said):
    """It is the user's mistake, so it is told to the user, and the record is whole."""
    folder.write(f"""
    @ex.automain
    def main(_run):
        {call}
    """)
    done = folder.run(code=1)
    run = folder.json()
    assert run["status"] == "FAILED"
    assert said in "".join(run["fail_trace"])
    assert call in done.stderr


def test_special_files_are_not_read_for_ever(folder):
    """A FIFO blocks its reader, a device never ends."""
    folder.write("""
    import os
    os.mkfifo("fifo")
    os.makedirs("d/inner"); open("d/a.txt", "w").close(); os.mkfifo("d/fifo"); os.symlink("..", "d/inner/loop")
    @ex.automain
    def main(_run):
        said = []
        for path in ("fifo", "/dev/zero", "/dev/null"):
            for add in (_run.add_artifact, _run.add_resource):
                try:
                    add(path)
                    said.append("taken")
                except OSError as error:
                    said.append(path in str(error))
        return [said, _run.add_artifact("d")]
    """)
    folder.run()
    assert folder.json()["result"] == [[True] * 6, ["d/a.txt"]]


# --------------------------------------------------------------------------------------------------------- the places


def test_a_folder_without_git_and_a_machine_without_git(folder):
    """Most folders of students are like this."""
    folder.write(CONFIG)
    folder.environment["PATH"] = str(folder.path)
    done = folder.run()
    assert folder.json()["status"] == "COMPLETED"
    assert folder.json()["experiment"]["repositories"] == []
    assert "WARNING" not in done.stderr


def test_a_git_repository_without_a_commit(folder):
    """Sacred crashes: there is no HEAD to read."""
    folder.write(CONFIG)
    subprocess.run(["git", "init", "-q"], cwd=folder.path, check=True)
    folder.run()
    run = folder.json()
    assert run["status"] == "COMPLETED"
    assert [repository["commit"] for repository in run["experiment"]["repositories"]] in ([], [None], [""])


@pytest.mark.parametrize(
    "damage",
    [
        lambda git: (git / "HEAD").write_bytes(b"\xff\xfe garbage"),
        lambda git: (git / "HEAD").unlink(),
        lambda git: (git / "config").write_bytes(b"[core\n\xff"),
        lambda git: (git / "index").write_bytes(b"DIRC garbage"),
    ],
    ids=["HEAD is garbage", "no HEAD", "config is garbage", "index is garbage"],
)
def test_a_damaged_git_repository_does_not_fail_the_run(folder, damage):
    """It is a fact that could not be seen, no more."""
    folder.write(CONFIG)
    subprocess.run("git init -q && git add script.py && git commit -q -m x", shell=True, cwd=folder.path, check=True)
    damage(folder.path / ".git")
    folder.run()
    assert folder.json()["status"] == "COMPLETED"


def test_a_script_of_an_odd_encoding_or_with_a_nul_in_a_name_of_its_own(folder):
    """Sources are bytes; comments in them are looked for as docs."""
    (folder.path / "script.py").write_bytes(
        b"# -*- coding: latin-1 -*-\nfrom capture import Experiment\nex = Experiment('script')\n"
        b"@ex.config\ndef c():\n    lr = 1  # caf\xe9\n@ex.automain\ndef main(lr):\n    return lr\n"
    )
    folder.run()
    assert folder.json()["result"] == 1
    assert "café" in folder.run("print_config").stdout


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_store_that_may_not_be_written_to_keeps_the_run_in_its_journal_and_says_so(folder, everybody, monkeypatch):
    """The training is worth more than its record: main runs, and `capture sync` brings the record later."""
    folder.write("""
    @ex.automain
    def main(_run):
        print("trained")
        _run.log_scalar("loss", 0.5)
        return 7
    """)
    (folder.path / "runs").mkdir(mode=0o555)
    done = everybody(folder)
    assert done.returncode == 0, done.stderr
    assert "trained" in done.stdout
    assert "runs" in done.stderr and "Traceback" not in done.stderr
    (folder.path / "runs").chmod(0o777)
    monkeypatch.setenv("CAPTURE_STATE_DIR", folder.environment["CAPTURE_STATE_DIR"])
    record = folder.record("latest")
    assert (record.status, record.result) == ("COMPLETED", 7)
    assert record.metrics["loss"].values == [0.5]
    assert "trained" in record.output


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_folder_in_which_nothing_can_be_written_at_all(folder, everybody):
    """Neither store nor state: the run goes on, and its log says where the journal is, or that there is none."""
    folder.write("""
    @ex.automain
    def main():
        print("trained")
        return 7
    """)
    folder.path.chmod(0o555)
    folder.environment.pop("CAPTURE_STATE_DIR", None)
    folder.environment["HOME"] = "/nonexistent"
    done = everybody(folder)
    assert done.returncode == 0, done.stderr
    assert "trained" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("target", ["a file", "a dangling link", "below a file"])
def test_a_store_that_cannot_be_a_folder(folder, target):
    """A slip in -o must not lose the training."""
    folder.write(CONFIG)
    place = folder.path / "place"
    if target == "a dangling link":
        place.symlink_to(folder.path / "no" / "such")
    else:
        place.write_text("a file")
    url = str(place / "below") if target == "below a file" else str(place)
    done = folder.run("-o", url, code=None)
    assert "Traceback" not in done.stderr
    if target != "a dangling link":
        assert "place" in done.stderr
        assert place.read_text() == "a file"


# ---------------------------------------------------------------------------------------------------------- full disk

FILLING = """
import os, sys
@ex.automain
def main(_run):
    for i in range(2000):
        print("line", i, "x" * 100)
        _run.log_scalar("n", i)
    _run.add_artifact(os.urandom(3_000_000), name="big.bin")
    _run.info["big"] = "y" * 500_000
    sys.stdout.flush()
    with open(os.environ["DONE"], "w") as f:
        f.write("main went to its end")
    return 5
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting takes root, as CI is")
@pytest.mark.parametrize("full", ["store", "state", "both"])
def test_a_full_disk_does_not_end_the_training_and_what_it_refused_comes_later(folder, small_disk, monkeypatch, full):
    """What does not fit is told, what does is readable, and the rest comes when there is room."""
    folder.write(FILLING)
    place = folder.path.parent
    store = small_disk("store") if full in ("store", "both") else place / "runs"
    state = small_disk("state") if full in ("state", "both") else place / "state"
    folder.environment.update(CAPTURE_STATE_DIR=str(state), DONE=str(place / "done"))
    # A store that is full is tried again until the end's patience is over; one that only seems slow has to be waited for.
    folder.environment["CAPTURE_DELIVERY__STALL_S"] = "60" if full == "state" else "0.5"
    done = folder.run("-o", str(store))
    assert "Traceback" not in done.stderr
    assert (place / "done").exists()
    assert strict_json_in(store)
    if full == "both":
        assert re.search(r"big\.bin is not recorded: .*No space left", done.stderr)
    if full != "state":
        subprocess.run(["mount", "-o", "remount,size=50m", str(store)], check=True)
    monkeypatch.setenv("CAPTURE_STATE_DIR", str(state))
    record = open_store(store).get("latest")
    if full != "both":
        assert record.status == "COMPLETED" and record.result == 5
        assert record.metrics["n"].values == list(range(2000))
        assert record.info["big"] == "y" * 500_000
        assert "line 1999 " in record.output
        sizes = {artifact.name: artifact.size for artifact in record.artifacts}
        assert sizes.get("big.bin") == 3_000_000
        with next(each for each in record.artifacts if each.name == "big.bin").open() as file:
            assert len(file.read()) == 3_000_000


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting takes root, as CI is")
def test_a_full_disk_of_one_store_takes_no_file_from_another(folder, small_disk):
    """Recorded files wait on the disk of the first store, and what does not fit there in the state folder."""
    folder.write(FILLING)
    full, roomy = small_disk("full"), folder.path.parent / "roomy"
    folder.environment.update(DONE=str(folder.path / "done"), CAPTURE_DELIVERY__STALL_S="0.5")
    done = folder.run("-o", str(full), "-o", str(roomy))
    assert "No space left on device" in done.stderr and "waits in " in done.stderr
    assert "is not recorded" not in done.stderr
    whole = open_store(roomy).get("latest")
    assert whole.status == "COMPLETED"
    artifact = next(each for each in whole.artifacts if each.name == "big.bin")
    with artifact.open() as file:
        assert len(file.read()) == artifact.size == 3_000_000


def test_a_limit_on_file_sizes_does_not_end_the_training(folder):
    """``ulimit -f`` on a cluster: SIGXFSZ, which Python ignores, and EFBIG."""
    import resource

    folder.write(FILLING)
    done = folder.path / "done"
    folder.environment.update(DONE=str(done), CAPTURE_DELIVERY__STALL_S="0.5")
    ended = folder.run(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)))
    assert "Traceback" not in ended.stderr
    assert re.search(r"big\.bin is not recorded: .*File too large", ended.stderr)
    assert done.exists()
    assert strict_json_in(folder.path / "runs")


def strict_json_in(store):
    """Read every JSON file of a store; return their names."""
    files = [file for file in store.rglob("*.json") if "_capture" not in file.parts]
    return [file.name for file in files if json.loads(file.read_text(), parse_constant=pytest.fail) is not None]


# ---------------------------------------------------------------------------------------------------------- observers

FAULTY = """
import os, time
from capture import Experiment
from capture.hooks import HOOKS
from capture.testing import RecordingObserver

class Faulty(RecordingObserver):
    def told(self, hook, arguments):
        if hook == {hook!r}:
            {fault}
        return super().told(hook, arguments)

HOOKS = [hook for hook in HOOKS if hook != "metrics_event" or {hook!r} != "log_metrics"]  # one is called or the other
ex = Experiment("script", observers=["runs", Faulty(hooks=HOOKS, priority={priority})])
open("r.txt", "w").close()

@ex.automain
def main(_run):
    print("line")
    _run.log_scalar("x", 1)
    _run.info["a"] = 1
    _run.add_resource("r.txt")
    _run.add_artifact("r.txt")
    _run.add_tags("t")
    _run.log_params({{"p": 1}})
    if {hook!r} == "failed_event":
        raise ValueError("mine")
    if {hook!r} == "interrupted_event":
        raise KeyboardInterrupt
    return 3
"""
#: those that tell of what happened to a run before or elsewhere
NOT_IN_A_RUN = ("queued_event", "resumed_event", "listed_event", "unknown_event")
STATUS = {"failed_event": "FAILED", "interrupted_event": "INTERRUPTED"}


@pytest.mark.parametrize(
    "fault",
    [
        "raise ValueError('broken')",
        pytest.param("raise ConnectionError('gone')", marks=pytest.mark.slow),
        pytest.param("raise SystemExit(9)", marks=pytest.mark.slow),
        pytest.param("raise KeyboardInterrupt", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("hook", [hook for hook in HOOKS if hook not in NOT_IN_A_RUN])
def test_an_observer_that_raises_at_any_hook_harms_nobody_else(folder, hook, fault):
    """In Sacred it is dropped for the rest of the run, or takes the run with it."""
    folder.environment["CAPTURE_DELIVERY__STALL_S"] = "0.5"
    folder.environment["CAPTURE_DELIVERY__START_WAIT_S"] = "0.5"
    folder.write("", head=FAULTY.format(hook=hook, fault=fault, priority=5))
    folder.run(code=None)
    record = folder.record(1)  # on a machine that is slow the end may come only now
    assert folder.json()["status"] == STATUS.get(hook, "COMPLETED")
    assert "line\n" in record.output
    assert record.metrics["x"].values == [1]
    assert record.tags == ["t"] and record.params == {"p": 1}
    assert [len(record.artifacts), len(record.resources)] == [1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("hook", [hook for hook in HOOKS if hook not in NOT_IN_A_RUN])
def test_an_observer_that_hangs_at_any_hook_delays_the_end_by_the_stall_time_at_most(folder, hook):
    """In Sacred, 60 seconds in a hook are 60 seconds more of the process; here they are the user's to choose."""
    folder.environment["CAPTURE_DELIVERY__STALL_S"] = "1"
    folder.environment["CAPTURE_DELIVERY__START_WAIT_S"] = "0.5"
    folder.write("", head=FAULTY.format(hook=hook, fault="time.sleep(300)", priority=5))
    done = folder.run(code=None, within_s=30)
    record = folder.record(1)  # on a machine that is slow the end may come only now
    assert folder.json()["status"] == STATUS.get(hook, "COMPLETED")
    assert "line\n" in record.output
    assert record.metrics["x"].values == [1]
    assert "Faulty" in done.stderr


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("@property\n    def priority(self): raise RuntimeError('asleep')", "asleep"),
        ("priority = 'high'", "priority"),
        ("priority = float('nan')", "priority"),
        ("def __getattr__(self, name): raise RuntimeError('asleep')", "asleep"),
        ("def started_event(self, confg): pass", "did you mean: config"),
    ],
)
def test_an_observer_that_cannot_be_asked_what_it_is_is_refused_when_it_is_added(folder, body, said):
    """An hour into the training would be too late; duck-typed observers come from other people's code."""
    folder.write(
        "",
        head=f"""
from capture import Experiment
class Odd:
    {body}
    def completed_event(self, result):
        pass
ex = Experiment("script", observers=["runs", Odd()])
@ex.automain
def main():
    return 3
""",
    )
    done = folder.run(code=1)
    assert "Odd" in done.stderr and said in done.stderr
    assert "in <module>" in done.stderr
    assert not (folder.path / "runs").exists()
