"""RO-Crates: valid in the eyes of a validator, readable by another library, and true."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
import textwrap
import zipfile

import pytest

from capture import events, open_store
from capture.exporting.licenses import UnknownLicenseError, license_of
from capture.exporting.ro_crate import export_ro_crate
from capture.testing.contract import uid
from capture.testing.feed import Story, told
from tests.compat.environments import environment_of

SACRED = os.path.join(os.path.dirname(os.path.dirname(__file__)), "golden", "sacred-0.8.7")
VALIDATOR = os.path.join(os.path.dirname(__file__), "validate_crate.py")


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def story(tmp_path, mark, name, reads=(), writes=(), **start) -> Story:
    """Return a run that read and wrote files: pairs of name and bytes."""
    ex_info = {"name": name, "base_dir": "/project", "mainfile": f"{name}.py", "dependencies": ["numpy==2.0.0"]}
    repository = {"url": "git@example.org:lab/digits.git", "commit": "ab12" * 10, "dirty": False}
    run = Story(tmp_path / f"told{mark}", uid(mark))
    run.start(
        **{"ex_info": {**ex_info, "repositories": [repository]}, "config": {"lr": 0.1, "net": {"n": [1]}}, **start}
    )
    run.source(f"{name}.py", f"print({name!r})".encode()).source(".capture/environment.json", b"{}")
    for path, data in reads:
        run.resource(f"/project/{path}", data)
    for path, data in writes:
        run.artifact(path, data)
    process = {"user": {"name": "ada"}, "argv": [f"{name}.py", "with", "lr=0.1"], "environment": {"LANG": "C"}}
    big = {"path": "/data/big.bin", "size": 10**12, "digest": "c" * 64, "by": ["audit"]}
    url = {"url": "https://example.org/x", "status": 200, "size": 3, "digest": "d" * 64, "complete": True}
    lineage = {"inputs": [big], "outputs": [], "urls": [url], "coverage": {"complete": True}}
    return run.add(events.Facts(topic="process", facts=process), events.Facts(topic="lineage", facts=lineage))


@pytest.fixture
def pipeline(tmp_path):
    """Return a run that prepares data and one that fails on them."""
    first = story(tmp_path, "01", "prepare", [("raw data.csv", b"raw")], [("clean.csv", b"clean")])
    second = story(tmp_path, "02", "train", [("clean.csv", b"clean")])
    second.metrics(loss=[3.0, "nan"])
    trace = ["Traceback (most recent call last):\n", "ValueError: no \u2028 way\n"]
    second.add(events.Failed(fail_time=second.moment(), fail_trace=trace))
    runs = [told(first.complete(result=0.5)), told(second)]
    runs[0].label, runs[1].label = "1", "2"
    return runs


def graph_of(path) -> dict:
    if str(path).endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            data = archive.read("ro-crate-metadata.json").decode()
    else:
        data = (path / "ro-crate-metadata.json").read_text(encoding="utf-8")
    entities = json.loads(data)["@graph"]
    assert len({entity["@id"] for entity in entities}) == len(entities)
    return {entity["@id"]: entity for entity in entities}


def listed(value) -> list:
    """Return the values of a property: JSON-LD writes a list of one as that one."""
    return value if isinstance(value, list) else [value]


def validate(path, severity="REQUIRED") -> dict:
    """Return what the validator of the profile says, asked in an environment of its own, without a network."""
    python = environment_of("formats")
    done = subprocess.run([python, VALIDATOR, str(path), severity], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.server
@pytest.mark.parametrize("ending", ["", ".zip"])
def test_a_crate_is_valid(pipeline, tmp_path, ending):
    """An archive refuses what is not: RO-Crate 1.1 and Process Run Crate 0.5, all that is required."""
    path = tmp_path / f"crate{ending}"
    export_ro_crate(pipeline, str(path), license="CC-BY-4.0")
    assert validate(path) == {"passed": True, "issues": []}


@pytest.mark.server
def test_of_what_is_recommended_little_is_left(pipeline, tmp_path):
    """What a record does not know: where packages came from, and where people work."""
    export_ro_crate(pipeline[:1], str(tmp_path / "crate"), license="CC-BY-4.0")
    said = {issue["message"] for issue in validate(tmp_path / "crate", "RECOMMENDED")["issues"]}
    assert said <= {
        "The Application SHOULD have a url",
        "The SoftwareApplication id SHOULD be an absolute URI",
        "The `publisher` property of a `Root Data Entity` SHOULD be an `Organization`",
        "The author SHOULD have an organizational affiliation.",
        "The author SHOULD have a Contextual Entity which specifies the organizational `affiliation`.",
    }


@pytest.mark.server
def test_the_validator_would_find_a_mistake(pipeline, tmp_path):
    """Otherwise the tests above say nothing."""
    export_ro_crate(pipeline, str(tmp_path / "crate"))
    path = tmp_path / "crate" / "ro-crate-metadata.json"
    document = json.loads(path.read_text())
    for entity in document["@graph"]:
        entity.pop("instrument", None)
    path.write_text(json.dumps(document))
    assert not validate(tmp_path / "crate")["passed"]


@pytest.mark.server
def test_records_of_sacred_make_valid_crates(tmp_path):
    """They have no user, no digests, perhaps no sources."""
    with open_store(SACRED) as store:
        runs = [each.record for each in store.find()]
    export_ro_crate(runs, str(tmp_path / "crate"))
    assert validate(tmp_path / "crate") == {"passed": True, "issues": []}


@pytest.mark.server
def test_another_library_reads_a_crate(pipeline, tmp_path):
    """ro-crate-py finds the action, its files on disk, and what they hold."""
    export_ro_crate(pipeline[:1], str(tmp_path / "crate"))
    script = textwrap.dedent("""
        import json, os, sys
        from rocrate.rocrate import ROCrate
        crate = ROCrate(sys.argv[1])
        [action] = [each for each in crate.get_entities() if each.type == "CreateAction"]
        files = [each.id for each in crate.data_entities if each.type == "File" or "File" in each.type]
        there = all(os.path.isfile(os.path.join(sys.argv[1], each.replace("%20", " "))) for each in files)
        print(json.dumps([action["instrument"]["name"], action["agent"]["name"], len(files), there,
                          crate.root_dataset["license"]["name"]]))
    """)
    done = subprocess.run(
        [environment_of("formats"), "-c", script, str(tmp_path / "crate")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    name, agent, files, there, license = json.loads(done.stdout)
    assert (name, agent, there, license) == ("prepare", "ada", True, "No license stated")
    assert files == 10


def test_what_one_run_made_and_another_used_is_one_file(pipeline, tmp_path):
    """That is how a crate tells of a pipeline."""
    export_ro_crate(pipeline[::-1], str(tmp_path / "crate"))
    entities = graph_of(tmp_path / "crate")
    first, second = (entities[f"#{run.uid}"] for run in pipeline)
    shared = {each["@id"] for each in listed(first["result"])} & {each["@id"] for each in listed(second["object"])}
    assert shared == {"run-1/artifacts/clean.csv"}
    assert not (tmp_path / "crate" / "run-2" / "resources").exists()


def test_files_are_described_as_they_are(pipeline, tmp_path):
    """Size, digest and type of each, and an address that is one."""
    export_ro_crate(pipeline, str(tmp_path / "crate"))
    entities = graph_of(tmp_path / "crate")
    raw = entities["run-1/resources/raw%20data.csv"]
    assert (raw["contentSize"], raw["sha256"], raw["encodingFormat"]) == ("3", sha(b"raw"), "text/csv")
    listed = {each["@id"] for each in entities["./"]["hasPart"]}
    there = {str(path.relative_to(tmp_path / "crate")) for path in (tmp_path / "crate").rglob("*") if path.is_file()}
    assert {each.replace("%20", " ") for each in listed} == there - {"ro-crate-metadata.json"}
    for path in there - {"ro-crate-metadata.json"}:
        entity = entities[path.replace(" ", "%20")]
        data = (tmp_path / "crate" / path).read_bytes()
        assert (entity["sha256"], entity["contentSize"]) == (sha(data), str(len(data)))


def test_a_run_is_an_action_with_all_that_belongs_to_it(pipeline, tmp_path):
    """Who, when, with what, from what."""
    export_ro_crate(pipeline[:1], str(tmp_path / "crate"), license="https://example.org/terms")
    entities = graph_of(tmp_path / "crate")
    action = entities[f"#{pipeline[0].uid}"]
    instrument = entities[action["instrument"]["@id"]]
    assert instrument["@type"] == ["File", "SoftwareSourceCode"] and instrument["version"] == "ab12" * 10
    assert instrument["url"] == "https://example.org/lab/digits"
    assert [entities[each["@id"]]["name"] for each in listed(instrument["softwareRequirements"])] == ["numpy"]
    values = {each["name"]: each["value"] for each in entities.values() if each["@type"] == "PropertyValue"}
    assert values == {"lr": 0.1, "net.n": "[1]", "result": 0.5, "LANG": "C"}
    assert action["description"] == "python prepare.py with lr=0.1"
    assert action["actionStatus"].endswith("/CompletedActionStatus") and "error" not in action
    assert action["startTime"].endswith("+00:00") and action["endTime"] > action["startTime"]
    assert entities[action["agent"]["@id"]]["name"] == "ada" and entities[action["location"]["@id"]]["name"] == "node7"
    absent = [entities[each["@id"]] for each in action["object"] if entities[each["@id"]]["@type"] == "CreativeWork"]
    assert {each["name"] for each in absent} == {"/data/big.bin", "https://example.org/x"}
    assert all("not in this crate" in each["description"] for each in absent)
    assert entities["./"]["license"] == {"@id": "https://example.org/terms"}


def test_a_license_is_one_that_there_is(pipeline, tmp_path):
    """An address that leads nowhere would be published; whoever means another license has its URL."""
    for license in ("nonsense", "CC-BY", "", "https://", "see the paper"):
        with pytest.raises(UnknownLicenseError, match="give its URL") as told:
            export_ro_crate(pipeline, str(tmp_path / "crate"), license=license)
        assert pickle.loads(pickle.dumps(told.value)).license == license and not (tmp_path / "crate").exists()
    with pytest.raises(UnknownLicenseError, match="did you mean:  CC-BY-"):
        license_of("cc by-4.0")
    assert license_of("apache-2.0") == ("https://spdx.org/licenses/Apache-2.0", "Apache-2.0")
    assert license_of("https://example.org/terms/") == ("https://example.org/terms/", "terms")


def test_a_note_describes_the_run_that_it_is_on(pipeline, tmp_path):
    """The note on one of three runs was the first line about the whole dataset."""
    pipeline[1].notes = "with the old labels"
    export_ro_crate(pipeline, str(tmp_path / "both"))
    entities = graph_of(tmp_path / "both")
    assert "old labels" not in entities["./"]["description"]
    assert entities[f"#{pipeline[1].uid}"]["description"] == "python train.py with lr=0.1\nwith the old labels"
    export_ro_crate(pipeline[1:], str(tmp_path / "one"))
    assert graph_of(tmp_path / "one")["./"]["description"].startswith("with the old labels\n")


def test_a_failed_run_says_so(pipeline, tmp_path):
    """And why; what does not end well is no CompletedAction."""
    export_ro_crate(pipeline[1:], str(tmp_path / "crate"))
    action = graph_of(tmp_path / "crate")[f"#{pipeline[1].uid}"]
    assert action["actionStatus"].endswith("/FailedActionStatus") and action["error"] == "ValueError: no \u2028 way"


@pytest.mark.parametrize(
    ("state", "status", "error"),
    [("DIED", "Failed", "DIED: the process ended before it could say how"), ("RUNNING", "Active", None)],
)
def test_a_run_whose_process_is_gone_is_not_active(tmp_path, state, status, error):
    """A crate lies in an archive for ever, and such a run would go on in there as long."""
    run = told(story(tmp_path, "01", "prepare"))
    run.state = state  # as a run of a client has it
    export_ro_crate([run], str(tmp_path / "crate"))
    action = graph_of(tmp_path / "crate")[f"#{run.uid}"]
    assert action["actionStatus"].endswith(f"/{status}ActionStatus") and action.get("error") == error


def test_masked_secrets_stay_masked(tmp_path):
    """A crate is published."""
    masked = "***masked:name***"
    run = told(story(tmp_path, "01", "prepare", config={"password": masked}).complete())
    export_ro_crate([run], str(tmp_path / "crate"))
    values = [each["value"] for each in graph_of(tmp_path / "crate").values() if each["@type"] == "PropertyValue"]
    assert masked in values


@pytest.mark.server
def test_every_word_is_in_a_context(pipeline, tmp_path):
    """A property that JSON-LD does not know is dropped without a word."""
    export_ro_crate(pipeline, str(tmp_path / "crate"))
    words = {key for entity in graph_of(tmp_path / "crate").values() for key in entity if not key.startswith("@")}
    types = {
        each
        for entity in graph_of(tmp_path / "crate").values()
        for each in ([entity["@type"]] if isinstance(entity["@type"], str) else entity["@type"])
    }
    done = subprocess.run(
        [environment_of("formats"), VALIDATOR, "--words", *sorted(words | types)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_an_export_needs_nothing_installed(pipeline, tmp_path):
    """The library writes the JSON itself."""
    export_ro_crate(pipeline, str(tmp_path / "crate"))
    assert not {"rocrate", "rdflib"} & set(sys.modules)


def test_many_metrics_are_summed_up_once_each(pipeline, tmp_path, monkeypatch):
    """To go through all points of all metrics for each of them took minutes where there were a thousand."""
    from capture import records
    from capture.exporting.folder import json_of

    run, asked = pipeline[1], []
    run.metrics = {f"m{number}": run.metrics["loss"] for number in range(20)}
    summarize = records.summarize
    monkeypatch.setattr(records, "summarize", lambda *given: asked.append(1) or summarize(*given))
    json_of(run)
    assert len(asked) == 20
    asked.clear()
    export_ro_crate([run], str(tmp_path / "crate"))
    assert len(asked) < 100


def test_a_record_that_holds_anything_is_exported(pipeline, tmp_path):
    """What is no table of variables is told of in run.json, and is no reason to fail."""
    run = pipeline[1]
    run.host = {**run.host, "ENV": ["LANG"]}
    export_ro_crate([run], str(tmp_path / "crate"))
    assert graph_of(tmp_path / "crate")
