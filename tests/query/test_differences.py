"""Why runs differ: what each kind of evidence is worth, and what is said where there is none."""

from __future__ import annotations

import hashlib
import io
import math
from datetime import datetime, timedelta, timezone

import pytest

from capture import codec
from capture.filters import MISSING
from capture.query._compared import unified
from capture.query._grounds import GROUNDS
from capture.query._outcome_differences import distance
from capture.query._shown_values import shown_values
from capture.query.differences import CAUSES, Difference, compare
from capture.records import RunRecord, Series, StoredFile, bytes_opener
from tests.project.tree import ROOT

SCOPE = """
from somewhere import ex

@ex.config
def defaults():
    lr = 0.1
    warmup = lr * 2
    stamp = now()

def train(lr, warmup, stamp):
    return lr
"""


START = datetime(2026, 1, 31, 9, tzinfo=timezone.utc)


def stored(name: str, data: bytes, digest: bool = True) -> StoredFile:
    """Return a file whose bytes the store has."""
    return StoredFile(name, hashlib.sha256(data).hexdigest() if digest else None, len(data), open=bytes_opener(data))


def record(label: str, source: str = "x = 1\n", **config: object) -> RunRecord:
    """Return a run as a store gives it, with everything known of it."""
    run = RunRecord(uid=f"uid{label}", label=label)
    run.status, run.command, run.result = "COMPLETED", "main", 1.0
    run.config = {"seed": 1, **config}
    run.experiment = {"name": "e", "base_dir": "/p", "mainfile": "main.py", "dependencies": ["numpy==1.0"]}
    run.host = {"hostname": "node1", "cpu": "a", "os": ["Linux", "Linux-6"], "python_version": "3.11.7", "ENV": {}}
    run.sources = [stored("main.py", source.encode())]
    run.facts["config"] = {"origins": {path: "command line" for path in run.config}}
    run.facts["process"] = {"environment": {}, "argv": ["main.py"], "pid": int(label)}
    run.facts["machine"] = {"cores": {"affinity": 4}, "boot": {"uptime_s": float(label)}}
    run.facts["lineage"] = {"inputs": [], "coverage": {"complete": True, "unseen": []}}
    return run


def pair(**config: object) -> tuple[RunRecord, RunRecord]:
    return record("1", **config), record("2", **config)


def causes(*runs: RunRecord, every: bool = False) -> dict[str, Difference]:
    """Return what differs by name, in order."""
    return {each.name: each for each in compare(runs, every).causes if every or not each.same}


# ---------------------------------------------------------------------------------------------------------- the whole


def test_equal_runs_do_not_differ():
    """Process numbers and uptimes do, in any two runs; that is noise and listed on demand only."""
    found = compare(pair())
    assert (found.causes, found.outcomes, found.differ) == ([], [], False)
    everything = compare(pair(), every=True)
    assert not everything.differ
    noise = [each.name for each in everything.causes if not each.same]
    assert noise == ["pid", "boot.uptime_s"]
    assert all(not each.counts for each in (*everything.causes, *everything.outcomes))


def test_fewer_than_two_runs_are_no_comparison():
    """It is a slip of who calls it."""
    with pytest.raises(ValueError, match="two runs or more, got 1"):
        compare([record("1")])


def test_every_ground_is_documented_with_its_weight():
    """The ranking rests on this table alone, and people who doubt a ranking look it up."""
    page = (ROOT / "docs" / "comparing.md").read_text(encoding="utf-8")
    for name, (weight, reason) in GROUNDS.items():
        assert f"| {name} | {weight:.2f} | {reason} |" in page
    assert list(GROUNDS.values()) == sorted(GROUNDS.values(), key=lambda each: -each[0])


def test_a_comparison_is_plain_data_and_a_frame_and_a_small_table():
    """For programs, for notebooks; what a record holds is escaped."""
    one, other = pair()
    other.config["<b>x</b>"] = "<script>alert(1)</script>"
    other.config["n"] = float("nan")
    found = compare([one, other])
    told = codec.loads(codec.dumps(found.to_dict()))
    assert told["names"] == ["1", "2"]
    assert told["causes"][0]["values"][0] == {}
    assert "value" in told["causes"][0]["values"][1]
    html = found._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    other.sources = [stored("main.py", b"x = 2\n")]
    other.facts["usage"], one.facts["usage"] = {"peak_memory_bytes": 12_345_678}, {"peak_memory_bytes": 1}
    html = compare([one, other])._repr_html_()
    digest = other.sources[0].digest or ""
    assert digest[:12] in html and digest not in html and "12.3 MB" in html
    causes, outcomes = html.partition(">What it took<")[::2]  # a heading parts them, and no kind is broken in two
    assert ">What differs, the likeliest cause first<" in causes and ">source<" in causes and ">usage<" in outcomes
    assert all('white-space:nowrap">' + kind in html for kind in ("source", "usage"))
    frame = pytest.importorskip("pandas") and found.to_pandas()
    assert list(frame.columns) == ["kind", "name", "1", "2", "weight", "why"]
    assert len(frame) == len(found.causes) + len(found.outcomes)
    assert "2 causes" in repr(found)


def test_causes_are_in_the_order_of_their_weights():
    """That is what ranked means; what is equal stands at the end."""
    one, other = pair(a=1)
    other.config["a"] = 2
    other.sources = [stored("main.py", b"x = 2\n")]
    other.host["hostname"] = "node2"
    found = compare([one, other], every=True).causes
    weights = [each.weight for each in found if not each.same]
    assert weights == sorted(weights, reverse=True)
    assert [each.same for each in found] == sorted(each.same for each in found)
    assert {each.kind for each in found} <= set(CAUSES)


def test_runs_of_one_label_are_told_apart():
    """Two stores may both have a run 1."""
    assert compare([record("1"), record("1")]).names == ["1 (1)", "1 (2)"]


# --------------------------------------------------------------------------------------------------- config and seeds


def test_values_that_are_not_numbers_are_compared_as_values():
    """NaN is NaN, a tuple that came back as a list is the same, True is not 1."""
    one, other = pair()
    one.config.update(nan=math.nan, shape=(1, 2), flag=True, text="a")
    other.config.update(nan=math.nan, shape=[1, 2], flag=1, text="a")
    assert list(causes(one, other)) == ["config.flag"]


def test_arrays_are_compared_element_by_element():
    """Their == gives an array."""
    numpy = pytest.importorskip("numpy")
    one, other = pair()
    one.config.update(a=numpy.array([1.0, math.nan]), b=numpy.arange(3), c=numpy.arange(3))
    other.config.update(a=numpy.array([1.0, math.nan]), b=numpy.arange(4), c=[0, 1, 3])
    assert list(causes(one, other)) == ["config.b", "config.c"]


def test_an_empty_place_is_no_entry_where_another_run_fills_it():
    """``net: {}`` against ``net: {layers: 3}`` is one difference, not two."""
    one, other = pair()
    one.config["net"], other.config["net"] = {}, {"layers": 3}
    found = causes(one, other)
    assert list(found) == ["config.net.layers"]
    assert found["config.net.layers"].values[0] is MISSING


def scoped(label: str, source: str = SCOPE, **config: object) -> RunRecord:
    run = record(label, source=source, **config)
    lines = source.splitlines()
    told = {key: next((n for n, line in enumerate(lines, 1) if line.strip().startswith(f"{key} =")), 0) for key in config}
    run.facts["config"]["origins"] = {"seed": "command line"} | {
        key: f"config scope defaults (main.py:{line})" for key, line in told.items()
    }
    return run


def test_an_entry_that_follows_from_another_ranks_behind_it():
    """Nobody chose it: the scope computed it from what somebody set."""
    one, other = scoped("1", lr=0.1, warmup=0.2), scoped("2", lr=0.2, warmup=0.4)
    other.facts["config"]["origins"]["lr"] = "command line"
    found = causes(one, other)
    assert list(found) == ["config.lr", "config.warmup"]
    assert found["config.warmup"].why.startswith("follows from lr")
    assert found["config.warmup"].weight == GROUNDS["config, follows"][0]


def test_a_default_that_was_changed_in_the_code_outranks_the_code():
    """The value is what matters; the source changed in nothing but that scope."""
    one = scoped("1", lr=0.1, warmup=0.2)
    other = scoped("2", SCOPE.replace("lr = 0.1", "lr = 0.3"), lr=0.3, warmup=0.6)
    found = causes(one, other)
    assert list(found) == ["config.lr", "config.warmup", "main.py"]
    assert found["config.lr"].why == "its line in the config scope was changed"
    assert found["main.py"].why.endswith("only config scopes: defaults()")


def test_what_a_scope_took_from_nowhere_is_said_to_be_unexplained():
    """The clock, a file, chance: no record holds it."""
    found = causes(scoped("1", lr=0.1, stamp=5), scoped("2", lr=0.1, stamp=6))
    assert found["config.stamp"].weight == GROUNDS["config, not explained"][0]
    assert "not recorded" in found["config.stamp"].why


def test_an_entry_that_no_source_mentions_hardly_matters():
    """A left-over in the configuration; but a function that takes all of it may read anything."""
    one, other = pair(unused=1)
    other.config["unused"] = 2
    assert "no recorded source mentions unused" in causes(one, other)["config.unused"].why
    for run in (one, other):
        run.sources = [stored("main.py", b"def main(_config): return _config\n")]
    assert causes(one, other)["config.unused"].weight == GROUNDS["config, set"][0]


def test_an_entry_that_only_a_config_scope_reads_is_read():
    """Others are computed from it."""
    source = SCOPE.replace("lr = 0.1", "lr = base * 2")
    one, other = scoped("1", source, lr=2, base=1), scoped("2", source, lr=4, base=2)
    for run in (one, other):
        run.facts["config"]["origins"]["base"] = "command line"
    found = causes(one, other)
    assert list(found) == ["config.base", "config.lr"]
    assert found["config.base"].weight == GROUNDS["config, set"][0]
    assert found["config.lr"].why.startswith("follows from base")


def test_runs_of_different_experiments_are_compared_and_it_is_said():
    """Two labels were mixed up, perhaps."""
    one, other = pair()
    other.experiment["name"] = "f"
    assert compare([one, other]).limits == ["these are runs of different experiments: e and f"]


def test_seeds_drawn_at_random_come_after_what_somebody_changed_and_before_nothing():
    """Any two runs differ in them, so they tell little, unless nothing else differs."""
    one, other = pair(lr=0.1)
    for run, seed in ((one, 5), (other, 6)):
        run.config["seed"] = seed
        run.facts["config"]["origins"]["seed"] = "generated random seed"
    other.result = 2.0
    found = causes(one, other)
    assert list(found) == ["config.seed"]
    assert found["config.seed"].why == "drawn at random, and nothing else that matters differs"
    other.config["lr"] = 0.2
    other.host["hostname"] = "node2"
    assert list(causes(one, other)) == ["config.lr", "config.seed", "hostname"]
    assert any("part of the difference is chance" in each for each in compare([one, other]).limits)
    other.result = 1.0
    assert causes(one, other)["config.seed"].why.endswith("what came out is the same")


def test_seeds_of_the_users_own_come_after_what_is_no_seed():
    """A name that begins early in the alphabet is no better reason than a learning rate."""
    code = "print(lr, data_seed)\n"
    one, other = record("1", code, lr=0.1, data_seed=1), record("2", code, lr=0.2, data_seed=2)
    found = causes(one, other)
    assert [(each.kind, name) for name, each in found.items()] == [("config", "config.lr"), ("seed", "config.data_seed")]
    assert found["config.data_seed"].weight == GROUNDS["seed, set"][0]
    assert found["config.data_seed"].why == "set by the command line"


def test_seeds_of_ingredients_follow_from_the_global_one():
    """They are drawn from it."""
    one, other = pair()
    for run, seed in ((one, 5), (other, 6)):
        run.config.update(seed=seed, data={"seed": seed * 7})
        run.facts["config"]["origins"] = {"seed": "command line", "data.seed": "generated random seed"}
    found = causes(one, other)
    assert list(found) == ["config.seed", "config.data.seed"]
    assert found["config.data.seed"].why == "derived from config.seed"
    assert found["config.seed"].why == "set by the command line"


def test_masked_values_are_not_called_equal():
    """Two passwords are masked alike."""
    one, other = pair(password="***masked:password***")
    found = compare([one, other])
    assert found.limits == ["what password held is masked in the records, and cannot be compared"]


def test_another_command_is_another_function():
    """Nothing explains more."""
    one, other = pair(lr=1)
    other.command, other.config["lr"] = "evaluate", 2
    assert list(causes(one, other)) == ["command", "config.lr"]


def test_arguments_that_are_config_updates_are_told_once():
    """They are in the configuration; other arguments are causes of their own."""
    one, other = pair(lr=1)
    other.config["lr"] = 2
    one.facts["process"]["argv"] = ["main.py", "with", "lr=1"]
    other.facts["process"]["argv"] = ["main.py", "with", "lr=2"]
    assert list(causes(one, other)) == ["config.lr"]
    other.facts["process"]["argv"] = ["main.py", "--fast", "with", "lr=2"]
    assert list(causes(one, other)) == ["config.lr", "argv"]
    one.meta["options"], other.meta["options"] = {"--fast": False, "--loglevel": None}, {"--fast": True, "--loglevel": 1}
    assert list(causes(one, other)) == ["config.lr", "meta.options.--fast"]


def test_arguments_that_a_script_reads_itself_are_a_cause():
    """It calls ``ex.run()``, and what it makes of them is in no record."""
    one, other = pair()
    for run, argv in ((one, ["a.py", "--data", "x"]), (other, ["a.py", "--data", "y"])):
        run.meta["options"] = {"--loglevel": None, "--debug": False}
        run.facts["process"]["argv"] = argv
    assert list(causes(one, other)) == ["argv"]


# ------------------------------------------------------------------------------------------------------------- sources


def changed(before: str, after: str, name: str = "main.py") -> Difference:
    one, other = pair()
    one.sources, other.sources = [stored(name, before.encode())], [stored(name, after.encode())]
    return causes(one, other)[name]


@pytest.mark.parametrize(
    ("before", "after", "ground", "said"),
    [
        ("x = 1\n", "x = 2\n", "source, code", "+1 -1 lines; changes top-level code"),
        ("def f():\n    return 1\n", "def f():\n    return 2\n", "source, code", "+1 -1 lines; changes f()"),
        ("class A:\n    def f(self): 1\n", "class A:\n    def f(self): 2\n", "source, code", "changes A.f()"),
        ("x = 1\n", "x = 1  # one\n", "source, comments", "comments or formatting only"),
        ("x = [1, 2]\n", "x = [\n    1,\n    2,\n]\n", "source, comments", "comments or formatting only"),
        ('def f():\n    """A."""\n', 'def f():\n    """B."""\n', "source, comments", "docstrings"),
        ("x = 1\n", "x = = 1\n", "source, code", "Python cannot parse it"),
    ],
)
def test_a_change_of_code_is_judged_by_what_python_makes_of_it(before, after, ground, said):
    """A comment changes nothing that is computed; a statement may change everything."""
    found = changed(before, after)
    assert found.weight == GROUNDS[ground][0]
    assert said in found.why
    assert found.detail.startswith("--- 1/main.py\n+++ 2/main.py\n@@")


def test_bytes_that_are_no_text_are_told_apart_without_being_shown():
    """Compiled or broken sources; nothing is guessed of them."""
    one, other = pair()
    one.sources, other.sources = [stored("a.py", b"\xff\xfe1")], [stored("a.py", b"\xff\xfe2")]
    found = causes(one, other)["a.py"]
    assert found.detail == ""
    assert "no text in UTF-8" in found.why


def test_a_source_whose_bytes_the_store_lacks_says_so():
    """The digest tells that it differs, and nobody can say in what."""
    one, other = pair()
    other.sources = [StoredFile("main.py", "f" * 64, 3)]
    found = causes(one, other)["main.py"]
    assert found.why == "the store lacks the bytes of it in 2, so what changed cannot be shown"
    assert found.weight == GROUNDS["source, code"][0]


def test_a_source_without_a_digest_is_compared_by_its_bytes():
    """Old records know an MD5, or nothing."""
    one, other = pair()
    one.sources, other.sources = [stored("a.py", b"1", digest=False)], [stored("a.py", b"1")]
    assert causes(one, other) == {}
    one.sources, other.sources = [StoredFile("a.py")], [StoredFile("a.py")]
    one.experiment["sources"], other.experiment["sources"] = [["a.py", "aa"]], [["a.py", "bb"]]
    assert causes(one, other)["a.py"].values == ["md5 aa", "md5 bb"]


def test_files_that_only_some_runs_used_are_listed():
    """Added and removed sources are causes too."""
    one, other = pair()
    other.sources.append(stored("new.py", b"1"))
    assert causes(one, other)["new.py"].why == "only 2 used it"


def test_a_run_without_sources_is_said_not_to_be_comparable():
    """Where one side is unknown, nothing differs, and nothing is equal either."""
    one, other = pair()
    other.sources = []
    found = compare([one, other])
    assert found.causes == []
    assert found.limits == ["the code of 2 is not recorded: sources cannot be compared"]


def test_another_commit_is_explained_by_sources_that_are_the_same():
    """A commit that touched other files is no reason for anything."""
    one, other = pair()
    for run, commit in ((one, "a" * 40), (other, "b" * 40)):
        run.experiment["repositories"] = [{"url": "u", "commit": commit, "dirty": False}]
    found = causes(one, other)["git.commit"]
    assert found.why == "all source files that the runs used are the same"
    assert found.weight == GROUNDS["git, explained"][0]
    one.sources = other.sources = []
    assert causes(one, other)["git.commit"].weight == GROUNDS["git, unexplained"][0]


def test_a_repository_without_a_remote_in_another_folder_is_no_other_repository():
    """What stands for its URL is the folder on somebody's machine."""
    one, other = pair()
    for run, folder in ((one, "work/a"), (other, "home/b")):
        run.experiment["base_dir"] = f"/{folder}"
        run.experiment["repositories"] = [{"url": f"git://{folder}", "commit": "a" * 40, "dirty": False}]
    assert "git.url" not in causes(one, other)
    one.experiment["repositories"][0]["url"] = "git://one.org/r"
    other.experiment["repositories"][0]["url"] = "git://two.org/r"
    assert "git.url" in causes(one, other)


def test_kept_untracked_files_are_compared():
    """They are in no commit, so nothing else would tell."""
    one, other = pair()
    for run, digest in ((one, "a" * 64), (other, "b" * 64)):
        run.experiment["repositories"] = [{"url": "u", "commit": "c" * 40, "dirty": False}]
        run.facts["git"] = [{"commit": "c" * 40, "untracked": [{"path": "notes.txt", "digest": digest}]}]
        run.facts["git"][0]["root"] = "/p"
        del run.facts["lineage"]
    assert list(causes(one, other)) == ["git.untracked notes.txt"]
    for run in (one, other):
        run.facts["lineage"] = {"inputs": []}
    assert not compare([one, other]).differ, "a file that no run was seen to open is one that lies around"
    assert compare([one, other], every=True).causes[0].weight == 0
    one.facts["lineage"]["outputs"] = [{"path": "/p/notes.txt"}]
    assert causes(one, other) == {}  # what a run wrote is no cause


def test_what_came_out_the_same_is_said():
    """Whoever repeats a run asks just that."""
    one, other = pair()
    for run in (one, other):
        run.metrics = {"loss": Series("loss", [0, 1], [1.0, 0.5], [START] * 2)}
        run.read_output = lambda: "epoch 1\n"
    assert compare([one, other]).agreements == ["the result", "1 metric", "the output"]
    other.result = 2.0
    other.metrics["other"] = Series("other", [0], [1.0], [START])
    assert compare([one, other]).agreements == ["1 metric", "the output"]


def test_a_changed_repository_explains_nothing_where_all_sources_are_the_same():
    """The patch of what no run used would fill the screen."""
    one, other = pair()
    for run, digest in ((one, "a" * 64), (other, "b" * 64)):
        run.experiment["repositories"] = [{"url": "u", "commit": "c" * 40, "dirty": True}]
        patch = stored(".capture/git/p.patch", digest.encode())
        run.kept = [patch]
        run.facts["git"] = [{"commit": "c" * 40, "patch": {"digest": digest, "source": patch.name}}]
    comparison = compare([one, other])
    assert [each.name for each in comparison.causes] == ["git.patch"]
    assert comparison.causes[0].detail == "" and not comparison.explains
    assert compare([one, other], every=True).causes[0].detail


def test_the_hash_seed_is_compared_once():
    """The variable and what it makes of the hashes are one thing."""
    one, other = pair()
    for run, seed in ((one, 1), (other, 2)):
        run.facts["process"]["environment"] = {"PYTHONHASHSEED": str(seed)}
        run.facts["process"]["hash_randomization"] = {"random": False, "seed": seed}
    assert list(causes(one, other)) == ["hash seed"]


# ------------------------------------------------------------------------------------------------------------ packages


def with_packages(run: RunRecord, imported: dict[str, str], installed: dict[str, str]) -> RunRecord:
    run.experiment["dependencies"] = [f"{name}=={version}" for name, version in imported.items()]
    lock = {"format": 1, "distributions": [{"name": name, "version": each} for name, each in installed.items()]}
    data = codec.dumps(lock).encode()
    run.kept = [stored(".capture/environment.json", data)]
    run.facts["environment"] = {"lock": {"source": ".capture/environment.json"}, "python": {"version": "3.11.7"}}
    return run


def test_packages_that_the_code_imports_come_before_those_that_are_merely_installed():
    """Installing a linter explains nothing."""
    one, other = record("1", "import torch\n"), record("2", "import torch\n")
    with_packages(one, {"torch": "1", "six": "1"}, {"torch": "1", "six": "1", "ruff": "1", "sacred": "1"})
    with_packages(other, {"torch": "2", "six": "2"}, {"torch": "2", "six": "2", "ruff": "2", "sacred": "2"})
    found = causes(one, other)
    assert list(found) == ["packages.torch", "packages.six", "packages.sacred", "packages.ruff"]
    assert found["packages.torch"].weight == GROUNDS["package, imported by the sources"][0]
    assert found["packages.ruff"].why == GROUNDS["package, installed"][1]


def test_spellings_of_a_package_are_one():
    """``PyYAML`` in an old record, ``pyyaml`` in a lock."""
    one, other = pair()
    one.experiment["dependencies"], other.experiment["dependencies"] = ["Foo_Bar==1"], ["foo-bar==1"]
    assert causes(one, other) == {}


def test_another_python_is_a_cause():
    """And its place is between packages and the machine."""
    one, other = pair()
    other.host["python_version"] = "3.12.1"
    assert causes(one, other)["python"].weight == GROUNDS["python"][0]


def test_editable_packages_differ_by_their_commits():
    """Their version stays the same for months."""
    one, other = pair()
    for run, commit in ((one, "a" * 40), (other, "b" * 40)):
        run.facts["git"] = [{"distribution": "mylib", "commit": commit}]
    found = causes(one, other)
    assert list(found) == ["packages.mylib.commit"]
    assert found["packages.mylib.commit"].weight == GROUNDS["package, imported"][0]
    assert "at another commit" in found["packages.mylib.commit"].why


def test_the_commit_of_a_package_explains_nothing_that_its_files_do_not():
    """They are among the sources, and the one that was changed is the cause."""
    one, other = pair()
    for run, commit in ((one, "a" * 40), (other, "b" * 40)):
        run.facts["git"] = [{"distribution": "mylib", "commit": commit, "patch": {"digest": commit}}]
        run.facts["imports"] = {"distributions": [{"name": "mylib", "version": "1", "sources": ["mylib/a.py"]}]}
    found = causes(one, other)
    for name in ("packages.mylib.commit", "packages.mylib.changes"):
        assert found[name].weight == GROUNDS["git, explained"][0]
        assert "compared one by one" in found[name].why


# -------------------------------------------------------------------------------------------------------------- inputs


def reading(run: RunRecord, **files: str | None) -> RunRecord:
    run.facts["lineage"]["inputs"] = [
        {"path": f"/p/{name}", "name": name, "digest": digest and digest * 64, "size": 5} for name, digest in files.items()
    ]
    return run


def test_inputs_are_compared_by_digest():
    """Another content under the same name is a cause; a file that only one run read is a weaker one."""
    one, other = reading(record("1"), a="1", b="2"), reading(record("2"), a="3", c="4")
    found = causes(one, other)
    assert found["a"].weight == GROUNDS["input, other content"][0]
    assert found["b"].why == "only 1 read it"
    assert found["c"].why == "only 2 read it"


def test_the_same_content_under_another_path_is_no_difference():
    """Data is copied to a scratch disk for every job."""
    one, other = reading(record("1"), a="1"), reading(record("2"), b="1")
    assert not compare([one, other]).differ
    everything = causes(one, other, every=True)
    assert everything["a"].same
    assert everything["a"].why == "the same content under another path: a and b"


def test_inputs_without_digests_are_said_not_to_be_comparable():
    """Not equal, not different: unknown, with the reason."""
    one, other = reading(record("1"), a=None), reading(record("2"), a="1")
    one.facts["lineage"]["inputs"][0]["why"] = "it changed while it was read"
    found = compare([one, other])
    assert found.causes == []
    assert found.limits == ["whether a had the same content cannot be told: it changed while it was read"]
    other.facts["lineage"]["inputs"][0]["size"] = 6
    assert list(causes(one, other)) == ["a"]


def test_a_sample_is_not_compared_with_a_whole():
    """The digests are of different things."""
    one, other = reading(record("1"), a="1"), reading(record("2"), a="2")
    one.facts["lineage"]["inputs"][0]["sampled"] = True
    assert "cannot be told" in compare([one, other]).limits[0]


def test_a_file_that_the_configuration_names_follows_from_it():
    """Who sets data=b.csv has another input, and one cause."""
    one, other = reading(record("1", data="a.csv"), **{"a.csv": "1"}), reading(record("2", data="b.csv"), **{"b.csv": "2"})
    for run in (one, other):
        run.sources = [stored("main.py", b"def main(data): pass\n")]
    found = causes(one, other)
    assert list(found) == ["config.data", "a.csv", "b.csv"]
    assert found["b.csv"].why == "only 2 read it: follows from config.data"


def test_a_folder_tells_which_of_its_files_differ():
    """A million images have one digest; the manifest says which image it was."""
    from capture.probes.lineage.manifests import manifest_of

    runs = []
    for label, files in (("1", {"a": "1", "b": "2"}), ("2", {"a": "1", "b": "3", "c": "4"})):
        run = record(label)
        data = manifest_of({"name": name, "digest": digit * 64, "size": 1} for name, digit in files.items())
        run.kept = [stored("m", data)]
        run.facts["lineage"]["inputs"] = [
            {"path": "/p/images", "name": "images", "files": len(files), "digest": run.kept[0].digest,
             "manifest": {"source": "m"}}
        ]  # fmt: skip
        runs.append(run)
    found = causes(*runs)["images"]
    assert found.why == "2 files of the folder differ: 1 added and 1 changed"
    assert found.detail.split("\n") == ["+ c", "~ b"]


def test_that_only_one_run_read_a_file_is_no_cause_where_nobody_knows_what_the_other_read():
    """Of a run that was killed within seconds no files are noted yet: "only 2 read it" was the likeliest cause."""
    one, other = reading(record("1"), a="1", b="2"), reading(record("2"), a="1", b="2")
    one.status, one.writers = "RUNNING", {}
    del one.facts["lineage"]
    one.state = "DIED"
    comparison = compare([one, other])
    assert not [each for each in comparison.causes if each.kind == "input"]
    assert "whether 1 read a and b, too, is not known" in comparison.limits
    why = "which files 1 read is not recorded, but for those that it named itself: it was killed before its files were noted"
    assert why in comparison.limits
    other.resources, one.status = [stored("/p/c", b"c")], "COMPLETED"
    del other.facts["lineage"], one.state  # nobody watched either: what one named is a difference
    assert causes(one, other)["c"].why == "only 2 read it"


def test_what_lineage_did_not_see_is_a_limit():
    """A verdict that leaves out what it could not see would be a lie."""
    one, other = pair()
    other.facts["lineage"]["coverage"] = {"complete": False, "unseen": ["2 child processes not observed"]}
    assert compare([one, other]).limits == ["inputs of 2 may have gone unseen: 2 child processes not observed"]


# --------------------------------------------------------------------------------------------- environment, host, more


def test_variables_that_steer_numerics_come_before_others():
    """Threads change the order of sums; where an environment lies changes nothing."""
    one, other = pair()
    other.facts["process"]["environment"] = {"OMP_NUM_THREADS": "1", "LANG": "de_DE", "VIRTUAL_ENV": "/v"}
    assert list(causes(one, other)) == ["env.OMP_NUM_THREADS", "env.LANG", "env.VIRTUAL_ENV"]


def test_cores_and_processors_come_before_names_of_machines():
    """They change what is computed, and how fast."""
    one, other = pair()
    other.host.update(hostname="node2", cpu="b")
    other.facts["machine"] = {"cores": {"affinity": 1}, "boot": {"uptime_s": 1.0}}
    assert list(causes(one, other)) == ["cores.affinity", "cpu", "hostname"]


def test_nothing_that_was_recorded_differs_and_yet_what_came_out_does():
    """Then it is said what no record holds, and no cause is made up."""
    one, other = pair()
    other.result = 2.0
    found = compare([one, other])
    assert found.differ
    assert found.causes == []
    assert found.limits[0].startswith("nothing that was recorded differs, and yet what came out does")
    assert "GPU kernels" in found.limits[0]


def test_numbers_that_agree_up_to_rounding_point_at_the_machine():
    """That is what another order of sums looks like."""
    one, other = pair()
    other.result = 1.0 + 1e-9
    other.host["cpu"] = "b"
    found = compare([one, other])
    assert any("up to rounding" in each for each in found.limits)
    assert found.causes[0].weight > GROUNDS["host, computing"][0]


def test_another_machine_explains_what_agrees_up_to_rounding_and_little_else():
    """Of its name or system nothing depends, but that libraries were built otherwise."""
    one, other = pair()
    other.host["os"] = ["Linux", "another"]
    other.result = 0.5
    assert [each.weight for each in compare([one, other]).causes] == [GROUNDS["host"][0]]
    assert not compare([one, other]).explains
    other.result = 1.0 + 1e-9
    assert compare([one, other]).explains


# ------------------------------------------------------------------------------------------------------------ outcomes


def outcomes(*runs: RunRecord) -> dict[str, Difference]:
    return {each.name: each for each in compare(runs).outcomes}


def test_results_are_compared_with_their_distance():
    """Absolute and relative."""
    one, other = pair()
    one.result, other.result = {"acc": 0.8, "n": 3}, {"acc": 0.6, "n": 3}
    assert {name: each.why for name, each in outcomes(one, other).items()} == {"result.acc": "-0.2, -25 %"}


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ([3, 2, 1], [3, 2, 0.5], "-0.5, -50 %; they part at step 2; 3 points"),
        ([3, 2], [3, 2, 1], "-1, -50 %; equal as far as both go (2 points); 2 and 3 points"),
        ([1], [2], "+1, +100 %; they part at the first point, step 0; 1 point"),
        ([1, math.nan], [1, 2], "they part at step 1; 2 points"),
    ],
)
def test_metrics_tell_where_they_part(before, after, why):
    """A series that agrees for a while and then parts tells something else than one that never agreed."""
    one, other = pair()
    for run, values in ((one, before), (other, after)):
        run.metrics = {"loss": Series("loss", range(len(values)), values, range(len(values)))}
    assert outcomes(one, other)["loss"].why == why


def test_series_with_equal_nans_are_equal():
    """NaN is not equal to itself, the series are."""
    one, other = pair()
    for run in (one, other):
        run.metrics = {"loss": Series("loss", [0], [float("nan")], [0])}
    assert outcomes(one, other) == {}


def test_a_metric_that_only_one_run_logged_is_named():
    """It has no last value in the other."""
    one, other = pair()
    one.metrics = {"loss": Series("loss", [0], [1.0], [0])}
    found = outcomes(one, other)["loss"]
    assert found.why == "2 did not log it"
    assert found.values[1] is MISSING


def test_output_is_compared_without_what_the_library_says_of_itself():
    """The name of a run and its duration differ always."""
    one, other = pair()
    one.read_output = lambda: 'INFO - e - Started run with ID "1"\nhello\nINFO - e - Completed after 0:00:01\n'
    other.read_output = lambda: 'INFO - e - Started run with ID "2"\nhello\nINFO - e - Completed after 0:00:09\n'
    assert outcomes(one, other) == {}
    other.read_output = lambda: "hello\nworld\n"
    found = outcomes(one, other)["line 2"]
    assert found.values == [MISSING, "world"]
    assert found.detail.endswith("+world")


def test_failures_and_artifacts_are_compared():
    """The last line of a traceback, and digests by name."""
    one, other = pair()
    other.status, other.fail_trace = "FAILED", ["Traceback\n", '  File "x"\n', "ValueError: no\n"]
    one.artifacts, other.artifacts = [stored("model", b"1")], [stored("model", b"2"), stored("log", b"")]
    found = outcomes(one, other)
    assert found["status"].values == ["COMPLETED", "FAILED"]
    assert found["fail_trace"].values == [MISSING, "ValueError: no"]
    assert {"model", "log"} <= set(found)


@pytest.mark.parametrize(("other_bytes", "is_same"), [(b"aaa", True), (b"bbb", False), (b"aaaa", False)])
def test_artifacts_without_digests_are_compared_by_their_bytes(other_bytes, is_same):
    """Sacred records no digests: models of one name were told to be the same, whatever was in them."""
    one, other = pair()
    one.artifacts, other.artifacts = [stored("model", b"aaa", False)], [stored("model", other_bytes, False)]
    found = compare([one, other])
    assert found.differ is not is_same
    assert [each.name for each in found.outcomes if each.kind == "artifact"] == ([] if is_same else ["model"])
    assert ("1 file" in found.agreements) is is_same


def test_artifacts_of_which_nobody_knows_are_said_to_be_neither_the_same_nor_different():
    """The store of an old record may have the name of a file alone."""

    def lost():
        raise FileNotFoundError("it is gone")

    one, other = pair()
    one.artifacts = [StoredFile("model", None, None, open=lost), stored("log", b"1")]
    other.artifacts = [stored("model", b"aaa"), stored("log", b"1")]
    found = compare([one, other])
    assert not found.differ
    assert found.agreements == ["the result", "1 file"]
    assert "whether model came out the same cannot be told: their digests are not known" in found.limits


# -------------------------------------------------------------------------------------------------------- robustness


def test_records_with_nothing_in_them_are_compared():
    """A run that died before it told anything."""
    found = compare([RunRecord(label="1"), RunRecord(label="2")])
    assert not found.differ
    assert any("had not ended" in each for each in found.limits)


@pytest.mark.parametrize("junk", [None, 5, "x", [], [1], {"unavailable": "why"}, {"inputs": 3, "lock": 4, "cores": "x"}])
def test_facts_that_are_not_what_they_should_be_do_not_stop_a_comparison(junk):
    """A record may come from anybody."""
    one, other = pair()
    topics = ("config", "environment", "imports", "lineage", "process", "machine", "git", "gpu", "usage")
    other.facts = dict.fromkeys(topics, junk)
    other.meta = {"options": junk, "config_updates": junk, "named_configs": junk}
    other.experiment.update(sources=junk, repositories=junk, dependencies=junk)
    compare([one, other], every=True)
    compare([other, one], every=True)


def test_values_that_refuse_to_be_compared_do_not_stop_a_comparison():
    """An object in a result that raises when it is compared."""

    class Stubborn:
        def __eq__(self, other):
            raise RuntimeError("no")

        __hash__ = None

        def __repr__(self):
            return "stubborn"

    one, other = pair()
    one.result, other.result = Stubborn(), Stubborn()
    assert outcomes(one, other) == {}


def test_a_file_that_cannot_be_read_any_more_is_told():
    """A store that went away between the record and the bytes."""

    def broken() -> io.BytesIO:
        raise OSError("gone")

    one, other = pair()
    other.sources = [StoredFile("main.py", "e" * 64, 3, open=broken)]
    assert "lacks the bytes" in causes(one, other)["main.py"].why


# ------------------------------------------------------------------------------------------------- large and odd records


def test_code_of_more_levels_than_python_allows_calls_is_compared():
    """A long chain of elif, or a long sum, is a tree of hundreds of levels: to call oneself for each ends in an error."""

    def chain(offset: int) -> str:
        return "if x: pass\n" + "".join(f"elif x == {i}: y = {i + offset}\n" for i in range(400))

    terms = "+".join("1" * 900)
    for before, after, why in [
        (chain(0), chain(1), "changes top-level code"),
        (chain(0), chain(0) + "# the end\n", "comments or formatting only"),
        (f"x = {terms}\n", f"x = {terms}+2\n", "changes top-level code"),
    ]:
        found = causes(record("1", before), record("2", after))
        assert why in found["main.py"].why


def test_the_diff_of_a_long_text_is_that_of_its_changed_part():
    """In a file of 50,000 lines one was changed: which one is worth more than that the file is long."""
    lines = [f"line {number}" for number in range(50_000)]
    changed = [*lines[:30_000], "another", *lines[30_001:]]
    diff = unified("\n".join(lines), "\n".join(changed), ("a", "b"), 1).split("\n")
    assert diff == ["--- a", "+++ b", "@@ -30000,3 +30000,3 @@", " line 29999", "-line 30000", "+another", " line 30001"]


@pytest.mark.parametrize("context", [0, 1, 3, 50])
def test_a_diff_of_what_changed_is_the_diff_of_the_whole(context):
    """What is equal at both ends is not looked at, and must be missed by nobody."""
    import difflib
    import random

    chance = random.Random(7)
    for _ in range(200):
        before = [str(chance.randrange(1000)) for _ in range(chance.randrange(30))]
        after = list(before)
        for _ in range(chance.randrange(3)):
            place = chance.randrange(len(after) + 1)
            after[place : place + chance.randrange(2)] = ["new"] * chance.randrange(3)
        whole = "\n".join(difflib.unified_diff(before, after, "a", "b", n=context, lineterm=""))
        assert unified("\n".join(before), "\n".join(after), ("a", "b"), context) == whole


def test_the_names_over_a_diff_are_of_one_line():
    """A file may be called anything; what looks like a line of the diff has to be one."""
    diff = unified("a", "b", ("x\n-forged", "y"))
    assert diff.split("\n") == ["--- x\\n-forged", "+++ y", "@@ -1 +1 @@", "-a", "+b"]


def test_numbers_that_part_on_the_way_are_no_rounding():
    """Two runs that end with the same loss after quite other ones have not been rounded apart."""
    one, other = pair()
    for run, first in ((one, 5.0), (other, 9.0)):
        series = Series("loss")
        series.steps, series.values, series.times = [0, 1], [first, 0.0], [0, 1]
        run.metrics = {"loss": series}
    assert not any("rounding" in each for each in compare([one, other]).limits)
    other.metrics["loss"].values = [5.0 + 1e-12, 0.0]
    assert any("rounding" in each for each in compare([one, other]).limits)


def test_whole_numbers_beyond_the_range_of_floats_are_compared():
    """Python has them, and JSON can hold them."""
    one, other = pair()
    one.result, other.result = 10**400, 10**400 + 1
    assert [each.name for each in compare([one, other]).outcomes] == ["result"]


def test_a_range_of_numbers_leaves_out_what_is_none():
    """NaN is neither less nor more than anything: the least and the greatest must not depend on where it stands."""
    assert distance([float("nan"), 1.0, 2.0]) == distance([1.0, 2.0, float("nan")]) == "from 1 to 2"
    assert distance([float("nan")] * 3) == ""


def test_sources_without_bytes_and_digests_are_not_called_equal():
    """Nobody knows whether they are: that is said, and neither that they differ nor that they do not."""
    one, other = pair()
    for run in (one, other):
        run.sources = [StoredFile("main.py", None, None)]
    found = compare([one, other])
    assert not found.differ
    assert "whether main.py had the same content cannot be told: the store lacks the bytes of it" in found.limits
    other.sources = [stored("main.py", b"x = 1\n")]
    one.experiment["sources"] = [["main.py", "0123456789abcdef0123456789abcdef"]]
    assert "main.py" not in causes(one, other)


def test_a_run_that_goes_on_is_not_a_riddle():
    """Of two equal runs one has not ended: that is why less came out of it, not threads and uninitialised memory."""
    one, other = pair()
    other.status, other.result = "RUNNING", None
    limits = compare([one, other]).limits
    assert limits == ["2 had not ended when this was compared"]


@pytest.mark.parametrize("state", ["INTERRUPTED", "PREEMPTED", "TIMEOUT"])
def test_a_run_that_was_stopped_early_needs_no_other_explanation(state):
    """What came out of it is half of it: threads and kernels have nothing to do with that."""
    one, other = pair()
    other.status, other.result = state, None
    other.start_time, other.stop_time = START, START + timedelta(seconds=3)
    [limit] = compare([one, other]).limits
    assert limit.startswith(f"2 was stopped after 3.0 s ({state})")
    one.status = state  # both: then what differs is to be explained
    one.start_time, one.stop_time = other.start_time, other.stop_time
    assert "nothing that was recorded differs" in compare([one, other]).limits[0]


def test_a_run_that_failed_is_explained_by_its_exception():
    """It is what one looks for."""
    one, other = pair()
    other.status, other.result = "FAILED", None
    other.fail_trace = ["Traceback (most recent call last):\n", "ValueError: no good\n"]
    assert compare([one, other]).limits == ["2 failed: ValueError: no good"]


def test_runs_of_other_experiments_differ_in_that_first():
    """Nobody changed the code of one into that of the other."""
    one, other = pair(lr=0.1)
    other.config["lr"] = 0.2
    other.experiment = {**other.experiment, "name": "f", "mainfile": "other.py"}
    first = compare([one, other]).causes[0]
    assert (first.kind, first.name, first.values) == ("command", "experiment", ["e", "f"])
    assert "main.py and other.py" in first.why


def test_bytes_that_are_not_those_of_the_record_are_not_compared():
    """A disk that flips a bit must not be shown as a change of the code."""
    one, other = record("1", "x = 1\n"), record("2", "x = 2\n")
    digest = one.sources[0].digest
    one.sources = [StoredFile("main.py", digest, 6, open=bytes_opener(b"y = 1\n"))]
    found = compare([one, other])
    [source] = [each for each in found.causes if each.kind == "source"]
    assert (source.detail, source.values[0]) == ("", digest) and "the recorded digests differ" in source.why
    assert any(each.startswith("the stored bytes of main.py in run 1 are damaged") for each in found.limits)


def test_a_run_that_died_is_told_from_one_that_goes_on():
    """Its status still says RUNNING; who waits for it waits in vain."""
    one, other = pair()
    other.status = "RUNNING"
    other.state = "DIED"  # as a client's run has it
    found = compare([one, other])
    assert found.outcomes[0].values == ["COMPLETED", "DIED"]
    assert found.limits == ["2 died: what came out of it is what there was by then"]


def test_lines_that_look_nearly_like_the_librarys_own_count():
    """What a program prints of its own progress is output."""
    one, other = pair()
    one.read_output = lambda: "INFO - e - Completed after 3 epochs\n"
    other.read_output = lambda: "INFO - e - Completed after 4 epochs\n"
    assert [each.kind for each in compare([one, other]).outcomes] == ["output"]
    one.read_output = lambda: "INFO - e - Completed after 0:00:01\nINFO - e - Started run with ID \"1\"\n"
    other.read_output = lambda: "INFO - e - Completed after 2 days, 0:00:04\n"
    assert not compare([one, other]).differ


def test_inputs_are_compared_with_each_other_where_the_first_has_no_digest():
    """Of three runs the first tells nothing of its file, the other two read different ones."""
    runs = [record(label) for label in "123"]
    for run, digest in zip(runs, (None, "aa" * 32, "bb" * 32)):
        run.facts["lineage"]["inputs"] = [{"path": "/p/a.csv", "digest": digest, "size": 3}]
    assert causes(*runs)["a.csv"].weight == GROUNDS["input, other content"][0]


def test_what_stands_for_nothing_is_the_same_in_copies():
    """Comparisons are pickled and copied, and asked whether a value `is MISSING`."""
    import copy
    import pickle

    difference = Difference("config", "config.a", [1, MISSING])
    assert pickle.loads(pickle.dumps(difference)).values[1] is MISSING
    assert copy.deepcopy(difference).values[1] is MISSING


@pytest.mark.parametrize("odd", [None, 5, "text", [], [None], [5], {"a": 5}, {"name": 5}, [{"digest": 5, "size": "x"}]])
@pytest.mark.parametrize("place", ["experiment", "facts", "lineage", "inputs", "git", "process", "imports", "machine"])
def test_records_that_hold_anything_are_compared(place, odd):
    """Other programs write records, too, and other people send theirs."""
    one, other = pair()
    if place == "experiment":
        for name in ("dependencies", "repositories", "sources", "name"):
            one.experiment[name] = odd
    elif place == "facts":
        one.facts.update(dict.fromkeys(("config", "usage", "gpu", "environment"), odd))
    elif place == "inputs":
        one.facts["lineage"]["inputs"] = one.facts["lineage"]["urls"] = odd
    elif place == "imports":
        one.facts["imports"] = {"distributions": [{"name": odd, "modules": odd, "commit": odd}]}
    elif place == "lineage":
        one.facts["lineage"]["coverage"] = {"unseen": odd}
    else:
        one.facts[place] = odd
    compare([one, other], every=True).to_dict()


@pytest.mark.parametrize("odd", [None, 5, "text", [], [None], {"name": 5}])
def test_what_is_derived_of_a_record_never_fails(odd):
    """Tables are made of these for thousands of runs, of which one may be strange."""
    run = RunRecord()
    for name in ("experiment", "facts", "start_time", "heartbeat"):
        setattr(run, name, odd)
    assert (dict(run.git), run.user, run.packages, run.duration) == ({}, None, {}, None)
    assert isinstance(run.name, str)
    run.experiment = dict.fromkeys(("repositories", "dependencies"), odd)
    run.facts = {"process": {"user": odd}, "git": odd}
    assert (dict(run.git), run.packages) == ({}, {})
    assert run.user is None


def test_of_many_runs_it_is_told_which_part_first():
    """Where thirty seeds are laid side by side, the one that leaves first is the one to look at."""
    runs = [record(label) for label in "1234"]
    for run, values in zip(runs, ([3.0, 2.0, 1.0], [3.0, 2.0, 0.5], [3.0, 9.0, 1.0], [3.0, 8.0, 1.0])):
        series = Series("loss")
        series.steps, series.values, series.times = [0, 1, 2], values, [0, 1, 2]
        run.metrics = {"loss": series}
    [found] = [each for each in compare(runs).outcomes if each.kind == "metric"]
    assert found.why == "from 0.5 to 1; the first to part from 1: 3 and 4, at step 1; 3 points"


def test_a_float_in_place_of_a_whole_number_is_a_cause_and_no_outcome():
    """`epochs=10.0` breaks `range(epochs)`: to say that nothing differs would be wrong. A loss of 1 is one of 1.0."""
    one, other = pair(epochs=10, sizes=[1, {"a": 2}])
    other.config = {"seed": 1, "epochs": 10.0, "sizes": [1, {"a": 2.0}]}
    one.result, other.result = 1, 1.0
    found = compare([one, other])
    assert [each.name for each in found.causes] == ["config.epochs", "config.sizes"]
    assert found.outcomes == []


def test_what_the_library_says_of_a_failed_run_is_no_output():
    """How long it took until it failed differs in any two."""
    one, other = pair()
    one.read_output = lambda: "WARNING - e - Failed after 0:00:01!\n"
    other.read_output = lambda: "WARNING - e - Aborted after 0:00:04!\n"
    assert not compare([one, other]).differ


def test_a_source_that_was_renamed_is_the_same_code():
    """A file that was moved is listed, as what it is: no code was changed."""
    one, other = record("1"), record("2")
    for run, name in ((one, "tools.py"), (other, "library/tools.py")):
        run.sources = [*run.sources, stored(name, b"def f():\n    return 1\n")]
    found = causes(one, other)
    assert {each.weight for each in found.values()} == {GROUNDS["source, comments"][0]}
    assert found["tools.py"].why == "the same content under another path: library/tools.py"
    other.sources[-1] = stored("library/tools.py", b"def f():\n    return 2\n")
    assert {each.weight for each in causes(one, other).values()} == {GROUNDS["source, more or fewer"][0]}


@pytest.mark.parametrize("junk", [b"", b"[]", b"{}", b"\xff\x00", b"[" * 100_000, b'{"format": 1, "distributions": 5}'])
def test_a_lock_that_is_none_is_what_is_not_known(junk):
    """The file may have been damaged, or be somebody's trap."""
    one, other = pair()
    one.kept = [stored(".capture/environment.json", junk)]
    one.facts["environment"] = {"lock": {"source": ".capture/environment.json"}}
    assert not compare([one, other]).differ


@pytest.mark.parametrize("name", ["config", "meta", "host", "experiment", "facts", "info"])
@pytest.mark.parametrize("odd", [None, [], "text"])
def test_a_record_without_its_tables_is_compared(name, odd):
    """A file of it was damaged, or another program left it out."""
    one, other = pair(lr=0.1)
    setattr(one, name, odd)
    compare([one, other])
    assert getattr(one, name) is odd


def test_values_are_shown_so_that_they_differ_where_they_do():
    """Five digits are enough to read, and not always enough to see the difference."""

    def shown(*values, longest=None):
        return shown_values(Difference("config", "config.x", values), longest)

    assert shown(0.123456789, 0.12345679) == ["0.123456789", "0.12345679"]
    assert shown(None, MISSING) == ["None", "-"] and shown("1", 1) == ["'1'", "1"]
    assert shown([1], [1.0]) == ["[1]", "[1.0]"] and shown(True, 1) == ["True", "1"]
    assert shown("a" * 64, "b" * 64) == ["a" * 12, "b" * 12]
    long = ["x" * 100 + "1" + "y" * 100, "x" * 100 + "2" + "y" * 100]
    assert [("1" in text, "2" in text, len(text) < 70) for text in shown(*long, longest=60)] == [
        (True, False, True),
        (False, True, True),
    ]
    assert shown(*long) == long
    assert shown(1.0, 0.3, 0.1 + 0.2) == ["1.0", "0.3", "0.30000000000000004"], "not only the first against the others"
    assert len(set(shown("b", *long, longest=60))) == 3
    host = Difference("host", "memory.total_bytes", [16_000_000_000, 16_000_100_000])
    assert shown_values(host) == ["16000000000", "16000100000"]


def test_what_a_run_took_is_shown_with_its_unit_where_a_run_lacks_it_too():
    """Old records know no peak of memory; the others' should not become a number of nine digits by that."""
    took = Difference("usage", "peak_memory_bytes", [207_273_984, MISSING])
    assert shown_values(took) == ["207.3 MB", "-"]
    assert shown_values(Difference("usage", "cpu_s", [75.2, 0.5])) == ["1 min 15 s", "500 ms"]
