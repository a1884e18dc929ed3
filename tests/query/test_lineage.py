"""Lineage: which run wrote a file, which runs read it, from run to run, and what may be said where nothing is known."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from datetime import datetime, timedelta, timezone

import pytest

from capture import events, open_store
from capture.errors import RunNotFoundError
from capture.file_uses import EMPTY, uses_of
from capture.hooks import Reader
from capture.observers import FileStorageObserver
from capture.probes.lineage.digesting import SAMPLE_BYTES, Digester
from capture.probes.lineage.manifests import manifest_of
from capture.query.lineage import Lineage, LineageError, sample_digest
from capture.records import RunRecord, StoredFile, bytes_opener
from capture.registry import make_observer
from capture.testing.contract import uid
from capture.testing.feed import Story, tell
from tests.compat.environments import environment_of
from tests.servers.fixtures import each_kind

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
BASE = "/project"
SACRED = os.path.join(os.path.dirname(os.path.dirname(__file__)), "golden", "sacred-0.8.7")


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def entry(name: str, data: bytes | None, **more) -> dict:
    """Return a file as lineage records it; None: one that was not hashed."""
    path = name if name.startswith("/") else f"{BASE}/{name}"
    told = {"path": path, "size": None if data is None else len(data), "mtime": 1.0, "by": ["audit"]}
    if path != name:
        told["name"] = name
    return {**told, "digest": None if data is None else sha(data), **more}


def lineage(reads=(), writes=(), unseen=(), **more) -> dict:
    coverage = {"complete": not unseen, "watched": [], "unseen": list(unseen), "text": ""}
    told = {"inputs": [entry(*each) for each in reads], "outputs": [entry(*each) for each in writes]}
    return {**told, "intermediates": [], "nearby": [], "urls": [], "coverage": coverage, **more}


def run(label, name="run", reads=(), writes=(), hour=None, **more) -> RunRecord:
    """Return a run of an hour that read and wrote files: pairs of name and content."""
    record = RunRecord(uid(f"{label:02}"), str(label))
    record.status = "COMPLETED"
    record.experiment = {"name": name, "base_dir": BASE}
    hour = label if hour is None else hour
    record.start_time, record.stop_time = START + timedelta(hours=hour), START + timedelta(hours=hour + 1)
    record.facts = {"lineage": lineage(reads, writes, **more)}
    return record


class Store(Reader):
    """As much of a store as lineage asks for."""

    url = "memory"

    def __init__(self, *records):
        self.records = {record.label: record for record in records}

    def find(self, where=None, limit=None):
        return iter(reversed(self.records.values()))

    def get(self, wanted):
        label = list(self.records)[-1] if wanted in ("latest", "-1") else wanted
        if label not in self.records:
            raise RunNotFoundError(f"no run {wanted}")
        return self.records[label]


RAW, CLEAN, MODEL, REPORT = b"raw", b"clean", b"model", b"report"
PIPELINE = (
    run(1, "prepare", [("raw.csv", RAW)], [("clean.csv", CLEAN)]),
    run(2, "train", [("clean.csv", CLEAN)], [("model.bin", MODEL)]),
    run(3, "evaluate", [("model.bin", MODEL), ("clean.csv", CLEAN)], [("report.txt", REPORT)]),
)


def graph(wanted, *records, **options):
    return Lineage(Store(*records)).graph(wanted, **options)


def edges(found) -> set:
    """Return the edges of a graph with short names for the files."""
    short = {node.id: node.name for node in found.files} | {each.id: str(each.label) for each in found.runs}
    return {(short[edge.source], edge.kind, short[edge.target]) for edge in found.edges}


def test_a_file_is_followed_through_all_runs_both_ways():
    """What a reader of a result asks: where does it come from, and what was made of it?"""
    found = graph(sha(CLEAN)[:12], *PIPELINE)
    assert edges(found) == {
        ("raw.csv", "read", "1"),
        ("1", "wrote", "clean.csv"),
        ("clean.csv", "read", "2"),
        ("clean.csv", "read", "3"),
        ("2", "wrote", "model.bin"),
        ("model.bin", "read", "3"),
        ("3", "wrote", "report.txt"),
    }


def test_the_tree_reads_as_sentences():
    """The text is what most people see; it never says more than is known."""
    assert graph(sha(MODEL), *PIPELINE).to_text() == re.sub(
        r"@(\w+)@", lambda match: sha(match[1].encode())[:12], clocked(
            "model.bin  @model@  5 B\n"
            "├─ written by run 2  train  COMPLETED  {2}\n"
            "│  └─ read clean.csv  @clean@  5 B\n"
            "│     └─ written by run 1  prepare  COMPLETED  {1}\n"
            "│        └─ read raw.csv  @raw@  3 B\n"
            "│           └─ written by no recorded run\n"
            "└─ read by run 3  evaluate  COMPLETED  {3}\n"
            "   └─ wrote report.txt  @report@  6 B\n"
            "      └─ read by no recorded run\n"
        ),
    )  # fmt: skip
    assert graph(sha(MODEL), *PIPELINE).to_text(ascii=True).isascii()


def clocked(text: str) -> str:
    """Put in the times at which runs began, as the clock here shows them."""
    shown = [f"{(START + timedelta(hours=hour)).astimezone():%Y-%m-%d %H:%M:%S}" for hour in range(4)]
    return re.sub(r"\{(\d)\}", lambda match: shown[int(match[1])], text)


def test_one_way_and_no_further_than_asked():
    """In a large store somebody looks for one step."""
    assert edges(graph("3", *PIPELINE, down=False, depth=1)) == {
        ("model.bin", "read", "3"), ("clean.csv", "read", "3"), ("2", "wrote", "model.bin"), ("1", "wrote", "clean.csv"),
    }  # fmt: skip
    assert edges(graph("1", *PIPELINE, up=False, depth=1)) == {
        ("1", "wrote", "clean.csv"), ("clean.csv", "read", "2"), ("clean.csv", "read", "3"),
    }  # fmt: skip
    found = graph(sha(CLEAN), *PIPELINE, depth=1)
    assert edges(found) == {("1", "wrote", "clean.csv"), ("clean.csv", "read", "2"), ("clean.csv", "read", "3")}
    assert "no recorded run" not in found.to_text()  # what was not looked for is not denied


def test_a_later_run_is_not_where_an_earlier_one_has_its_input_from():
    """A step that is deterministic writes the same bytes again, after they were read."""
    again = run(4, "prepare", [("raw.csv", RAW)], [("clean.csv", CLEAN)])
    assert ("4", "wrote", "clean.csv") not in edges(graph("2", *PIPELINE, again))
    assert ("4", "wrote", "clean.csv") in edges(graph(sha(CLEAN), *PIPELINE, again))


def test_of_several_writers_the_last_before_the_reader_is_followed():
    """Hundreds of runs may have written the same bytes; they are named, and followed if all are asked for."""
    before = [run(label, "prepare", [(f"raw{label}", b"%d" % label)], [("clean.csv", CLEAN)]) for label in (1, 2, 3)]
    elsewhere = run(4, "copy", [("other", b"o")], [("/elsewhere/clean.csv", CLEAN)])
    train = run(5, "train", [("clean.csv", CLEAN)])
    found = graph("5", *before, elsewhere, train, down=False)
    assert {edge.source for edge in found.edges if edge.kind == "wrote" and not edge.others} == {"run:3"}
    assert ("raw3", "read", "3") in edges(found) and ("raw2", "read", "2") not in edges(found)
    assert "the same bytes were written by runs 4, 2, 1, too" in found.to_text()
    everything = graph("5", *before, elsewhere, train, down=False, every=True)
    assert {("raw1", "read", "1"), ("raw2", "read", "2"), ("other", "read", "4")} <= edges(everything)


def test_empty_files_say_nothing_of_each_other():
    """All empty files have one digest; two marker files are no pipeline."""
    found = graph(
        "1", run(1, writes=[("a.done", b"")]), run(2, reads=[("b.done", b"")]), run(3, reads=[("a.done", b"")])
    )
    assert edges(found) == {("1", "wrote", "a.done"), ("a.done", "read", "3")}


def test_files_without_a_digest_are_matched_by_all_that_is_known():
    """A file that was too large to hash in time: path, size and time agree, or nothing is claimed."""
    big = {"size": 10**12, "why": "no time"}
    writer = run(1)
    writer.facts["lineage"]["outputs"] = [entry("big.bin", None, **big)]
    same, other = run(2), run(3)
    same.facts["lineage"]["inputs"] = [entry("big.bin", None, **big)]
    other.facts["lineage"]["inputs"] = [entry("big.bin", None, **{**big, "mtime": 2.0})]
    found = graph("1", writer, same, other)
    assert edges(found) == {("1", "wrote", "big.bin"), ("big.bin", "read", "2")}
    assert "big.bin  no digest  1.0 TB" in found.to_text()


def test_a_file_on_disk_is_known_by_its_content(tmp_path, monkeypatch):
    """It may have been renamed, or another may be in its place."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "renamed.csv").write_bytes(CLEAN)
    assert ("1", "wrote", "renamed.csv") in edges(graph("renamed.csv", *PIPELINE))
    (tmp_path / "unknown").write_bytes(b"never seen")
    found = graph("unknown", *PIPELINE)
    assert not found.edges
    assert "written by no recorded run" in found.to_text() and "read by no recorded run" in found.to_text()


def test_other_versions_of_a_path_are_told_apart(tmp_path):
    """The file was changed since: the runs that knew it before are named, and not as its makers."""
    path = tmp_path / "data.csv"
    path.write_bytes(b"version 2")
    old = run(1, "old", writes=[(str(path), b"version 1")])
    new = run(2, "new", writes=[(str(path), b"version 2")])
    found = graph(str(path), old, new)
    assert [edge.source for edge in found.edges] == ["run:2"]
    assert [(each.label, use.digest) for each, use in found.versions] == [("1", sha(b"version 1"))]
    assert f"run 1  old  COMPLETED  {clocked('{1}')} wrote  {sha(b'version 1')[:12]}" in found.to_text()
    assert found.to_dict()["other_versions"][0]["run"] == "1"


def test_a_path_that_is_gone_is_found_in_the_records():
    """The file was deleted; what runs called it is enough."""
    assert ("1", "wrote", "clean.csv") in edges(graph("clean.csv", *PIPELINE))
    assert ("1", "wrote", "clean.csv") in edges(graph(f"{BASE}/clean.csv", *PIPELINE))


def test_what_nobody_knows_is_an_error_that_says_what_can_be_named():
    """A typo must not look like an answer."""
    with pytest.raises(LineageError, match="'claen.csv' is no file here.*\n.*what can be named"):
        graph("claen.csv", *PIPELINE)
    with pytest.raises(LineageError, match="is the beginning of 2 digests"):
        twins = run(1, reads=[("a", b"1"), ("b", b"2")])
        for each, digest in zip(twins.facts["lineage"]["inputs"], ("abcdef01" * 8, "abcdef02" * 8)):
            each["digest"] = digest
        graph("abcdef", twins)


def test_a_number_is_a_run_and_a_path_is_a_file(tmp_path, monkeypatch):
    """Files are called 3, too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "3").write_bytes(RAW)
    assert graph("3", *PIPELINE).start == ["run:3"]
    assert graph("./3", *PIPELINE).start == [f"digest:{sha(RAW)}"]
    assert graph("latest", *PIPELINE).start == graph("-1", *PIPELINE).start == ["run:3"]


def test_runs_that_missed_something_are_marked():
    """Nobody should take silence for proof."""
    blind = run(1, "blind", writes=[("a", b"a")], unseen=["1 child process not observed (sort)"])
    old = run(2, "old", reads=[("a", b"a")])
    old.facts = {}
    old.resources = [StoredFile(f"{BASE}/a", sha(b"a"), 1)]
    text = graph("1", blind, old).to_text()
    assert re.search(r"^run 1  blind .*\(did not see everything\)$", text, re.M)
    assert re.search(r"run 2  old .*\(its files were not watched\)$", text, re.M)
    assert "run 1: 1 child process not observed (sort)" in text


def test_a_run_that_was_killed_before_its_files_were_noted_says_so():
    """They were watched, and are noted after some seconds: that they were not was false."""
    node, text = None, ""
    for state, said in {
        "DIED": "it was killed before its files were noted",
        "RUNNING": "its files are not noted yet",
        "FAILED": "its files were not watched",
    }.items():
        killed = run(1, "killed")
        killed.facts, killed.state = {}, state
        node, text = graph("1", killed).runs[0], graph("1", killed).to_text()
        assert text.rstrip().endswith(f"({said})") and not node.watched and node.to_dict()["watched"] is False
    assert node is not None and said in graph("1", killed).to_mermaid()


def test_what_was_only_seen_nearby_is_a_note(tmp_path):
    """It may have been another process; it is no edge."""
    path = tmp_path / "f"
    path.write_bytes(b"f")
    watcher = run(1, nearby=[{"path": str(path), "how": "opened"}], intermediates=[{"path": str(path)}])
    found = graph(str(path), watcher)
    assert not found.edges
    assert "For run 1 it was opened nearby, perhaps by another process." in found.to_text()
    assert "For run 1 it was written, read and gone at its end." in found.to_text()


def test_artifacts_resources_urls_and_sources_count():
    """Files that were added by a call, fetched, or generated and then run."""
    body = b"downloaded"
    url = {"method": "GET", "url": "https://example.org/d.csv", "status": 200, "size": len(body), "complete": True}
    fetch = run(1, "fetch", urls=[{**url, "digest": sha(body), "by": "httpx"}])
    fetch.artifacts = [StoredFile("script.py", sha(b"print()"), 7)]
    use = run(2, "use", [("d.csv", body)])
    use.sources = [StoredFile("script.py", sha(b"print()"), 7), StoredFile("people.py", sha(b"by hand"), 7)]
    found = graph("https://example.org/d.csv", fetch, use)
    assert {(edge.kind, edge.target) for edge in found.edges} >= {("read", "run:1"), ("read", "run:2")}
    upwards = graph("2", fetch, use, down=False)
    assert ("script.py", "ran", "2") in edges(upwards) and ("1", "wrote", "script.py") in edges(upwards)
    assert "people.py" not in upwards.to_text()  # what people write comes from no run
    assert ("people.py", "ran", "2") in edges(graph(sha(b"by hand"), fetch, use))
    part = run(3, urls=[{**url, "digest": sha(b"down"), "complete": False, "by": "httpx"}])
    assert [each.key for each in uses_of(part)] == ["url:https://example.org/d.csv"]


def folder_entry(record, folder, files, kept):
    """Add a folder with a manifest to what a run read or wrote."""
    data = manifest_of([{"name": name, "size": len(text), "digest": sha(text)} for name, text in files.items()])
    stored = StoredFile(f".capture/manifests/{sha(data)[:12]}.txt", sha(data), len(data), open=bytes_opener(data))
    record.kept.append(stored)
    told = {"path": folder, "name": "photos", "files": len(files), "size": 1, "digest": sha(data)}
    kept.append({**told, "manifest": {"source": stored.name, "digest": sha(data), "size": len(data)}})
    return sha(data)


def test_files_are_found_in_folders_of_many(tmp_path):
    """A folder of photographs is one entry; each photograph in it is found all the same."""
    photos = {f"{n}.raw": b"photo %d" % n for n in range(5)}
    writer, reader, one = run(1, "shoot"), run(2, "train"), run(3, "look", [("/elsewhere/3.raw", photos["3.raw"])])
    folder_entry(writer, "/photos", photos, writer.facts["lineage"]["outputs"])
    some = {name: data for name, data in photos.items() if name != "4.raw"}
    folder_entry(reader, "/photos", some, reader.facts["lineage"]["inputs"])
    found = graph(sha(photos["3.raw"]), writer, reader, one)
    kinds = {(edge.kind, edge.source.partition(":")[0], edge.target) for edge in found.edges}
    assert ("read", "digest", "run:2") in kinds and ("read", "digest", "run:3") in kinds
    assert any(edge.kind == "wrote" and edge.source == "run:1" for edge in found.edges)
    text = found.to_text()
    assert "has in it" not in text and "in photos  5 files" in text
    downwards = graph("1", writer, reader, one, up=False).to_text()
    assert "shares 4 files with photos  4 files" in downwards and "read by run 2" in downwards
    assert "read by run 3" in downwards


def test_a_folder_on_disk_is_compared_file_by_file(tmp_path):
    """Whoever names a folder means what is in it now."""
    for name, data in {"a": b"a", "b": b"b"}.items():
        (tmp_path / name).write_bytes(data)
    writer = run(1, writes=[(str(tmp_path / "a"), b"a"), (str(tmp_path / "b"), b"old")])
    found = graph(str(tmp_path), writer)
    assert found.start == [f"digest:{sha(b'a')}"]
    assert [use.digest for _, use in found.versions] == [sha(b"old")]
    whole = run(2)
    digest = folder_entry(whole, str(tmp_path), {"a": b"a", "b": b"b"}, whole.facts["lineage"]["inputs"])
    assert graph(str(tmp_path), whole).start == [f"digest:{digest}"]
    with pytest.raises(LineageError, match="read or wrote anything in"):
        graph(str(tmp_path), *PIPELINE)


def test_of_a_folder_on_disk_it_is_said_which_files_changed_or_are_gone(tmp_path):
    """That a folder is not what it was is half of an answer: which file is the one that people look for."""
    names = ("Same.csv", "changed.csv", "gone.csv")
    for name in names:
        (tmp_path / name).write_text(name)
    record = run(1, reads=[(str(tmp_path / name), name.encode()) for name in names])
    assert graph(str(tmp_path), record).notes == []
    (tmp_path / "changed.csv").write_text("other")
    (tmp_path / "gone.csv").unlink()
    said = ["the file changed.csv has changed since a run knew it", "the file gone.csv is gone from the disk"]
    assert graph(str(tmp_path), record).notes == said
    whole = run(2)
    folder_entry(whole, str(tmp_path), {name: name.encode() for name in names}, whole.facts["lineage"]["inputs"])
    assert graph(str(tmp_path), whole).notes == said


def test_a_very_large_file_is_known_by_its_sample(tmp_path):
    """Runs hash a sample of it, by the rule of the documented format; so does the question."""
    path = tmp_path / "big"
    with open(path, "wb") as stream:
        stream.write(os.urandom(100_000))
        stream.truncate(SAMPLE_BYTES + 1_000_000)
    digester = Digester(None, 1, 10**9)
    digester.submit(str(path))
    digester.finish(60)
    recorded = digester.result(str(path)) or {}
    assert recorded["sampled"] and recorded["digest"] == sample_digest(str(path))
    reader = run(1)
    seen = {"path": "/was/elsewhere", "size": recorded["size"], "digest": recorded["digest"], "sampled": True}
    reader.facts["lineage"]["inputs"] = [seen]
    assert graph(str(path), reader).edges
    assert "(a sample)" in graph(str(path), reader).to_text()


def test_a_long_chain_is_no_deep_recursion():
    """A run that goes on from the last checkpoint, a thousand times."""
    chain = [
        run(n, reads=[(f"c{n}", b"checkpoint %d" % n)], writes=[(f"c{n + 1}", b"checkpoint %d" % (n + 1))])
        for n in range(1, 1500)
    ]
    found = graph("1", *chain)
    assert len(found.runs) == 1499
    assert found.to_text().count("\n") > 2900


def test_a_run_that_reads_what_it_wrote_is_no_endless_tree():
    """A cache that two runs share goes round in circles."""
    found = graph(
        "1",
        run(1, reads=[("a", b"a")], writes=[("b", b"b")]),
        run(2, reads=[("b", b"b")], writes=[("a", b"a")], hour=1),
    )
    text = found.to_text()
    assert "(see above)" in text and text.count("\n") < 20


def test_many_are_shortened():
    """A data set that a thousand runs read: the first are listed, the rest counted."""
    runs = [run(n, reads=[("raw.csv", RAW)]) for n in range(1, 51)]
    found = graph(sha(RAW), *runs)
    assert "and 30 more runs (--all lists them)" in found.to_text()
    assert found.to_text(every=True).count("read by run") == 50


HOSTILE = [
    'a" ]; evil [label="x',
    "end\n  evil --> other",
    "\x1b[31mred\u202e\u2028",
    "<b onclick=x>&amp;`code` #quot; %%{init}%%",
    "\\",
    "\\N\\l",
    "a]b)c}d|e;f",
    "\udcff",
]


def hostile():
    records = [
        run(1, name, [(f"{name}{n}", name.encode("utf-8", "replace") + b"%d" % n)]) for n, name in enumerate(HOSTILE)
    ]
    for n, record in enumerate(records):
        record.label = str(n)
        record.facts["lineage"]["inputs"].append(entry("shared", b"shared"))
    return graph(sha(b"shared"), *records)


def test_names_cannot_break_out_of_the_text():
    """A file's name may hold escape sequences of the terminal, or another line of the tree."""
    text = hostile().to_text()
    assert all(line.isprintable() for line in text.split("\n"))
    assert len(text.splitlines()) == len(HOSTILE) + 2


def test_names_cannot_break_out_of_mermaid():
    """Each line is a node, an edge or a style, and within quotes stands nothing that means something."""
    node = r'  [rf]\d+(\(\["[^"]*"\]\)|\["[^"]*"\])'
    edge = r'  [rf]\d+ (-->|-\.->)\|"[\w ,]+"\| [rf]\d+'
    lines = hostile().to_mermaid().splitlines()
    assert lines[0] == "flowchart LR"
    for line in lines[1:]:
        assert re.fullmatch(f"{node}|{edge}|  style [rf]\\d+ stroke-width:4px", line), line
        label = re.sub("#\\d+;|<br>", "", line.partition('"')[2].rpartition('"')[0]) if "|" not in line else ""
        assert not set(label) & set('<>&`#%;|[]{}()"\\'), line


PARSE_DOT = """
import json, sys, pydot
graphs = pydot.graph_from_dot_data(sys.stdin.read())
nodes = [[node.get_name(), node.get("label")] for node in graphs[0].get_nodes() if node.get_name() not in ("node",)]
print(json.dumps([len(graphs), nodes, len(graphs[0].get_edges())]))
"""


@pytest.mark.server
def test_names_cannot_break_out_of_dot():
    """As a parser of Graphviz's language reads it: as many nodes and edges as there are, with these names."""
    found = hostile()
    python = environment_of("formats")
    done = subprocess.run([python, "-c", PARSE_DOT], input=found.to_dot(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    graphs, nodes, count = json.loads(done.stdout)
    assert graphs == 1 and count == len(found.edges)
    assert [name for name, _ in nodes] == [
        f"{'r' if id.startswith('run:') else 'f'}{n}" for n, id in enumerate(found.nodes)
    ]
    assert not any("evil" in name for name, _ in nodes)


def test_plain_data_is_strict_json():
    """Other programs read it."""
    plain = json.loads(json.dumps(hostile().to_dict(), allow_nan=False))
    assert {node["id"] for node in plain["nodes"]} >= {edge["source"] for edge in plain["edges"]}


def told(folder, mark, name, reads, writes) -> Story:
    story = Story(folder / mark, uid(mark)).start(ex_info={"name": name, "base_dir": BASE})
    return story.add(events.Facts(topic="lineage", facts=lineage(reads, writes))).complete()


@pytest.mark.parametrize("kind", each_kind("file", "sqlite", "tinydb", "mongo", "postgres", "mariadb"))
def test_any_store_is_followed(kind, tmp_path, request):
    """The question is the same wherever the runs are kept."""
    if kind in ("mongo", "postgres", "mariadb"):
        url = request.getfixturevalue(f"{kind}_url")
    else:
        url = {"file": f"{tmp_path}/runs", "sqlite": f"sqlite:///{tmp_path}/r.db", "tinydb": f"tinydb://{tmp_path}/t"}[
            kind
        ]
    observer = make_observer(url)
    tell(observer, told(tmp_path, "01", "prepare", [("raw.csv", RAW)], [("clean.csv", CLEAN)]))
    tell(observer, told(tmp_path, "02", "train", [("clean.csv", CLEAN)], [("model.bin", MODEL)]))
    with open_store(url) as store:
        found = Lineage(store).graph("clean.csv")
    assert [(each.name, each.status) for each in found.runs] == [("prepare", "COMPLETED"), ("train", "COMPLETED")]
    assert len(found.edges) == 4


def test_records_of_sacred_are_followed(tmp_path):
    """They know no digests: these are computed of the copies, where the sizes agree."""
    with open_store(SACRED) as store:
        records = list(store.find())
        with_files = next(each for each in records if each.resources)
        resource = with_files.resources[0]
        path = tmp_path / "the same bytes"
        path.write_bytes(resource.read())
        found = Lineage(store).graph(str(path))
        assert with_files.label in {each.label for each in found.runs}
        assert "(its files were not watched)" in found.to_text()
        assert Lineage(store).graph(str(with_files.label)).edges


def test_a_run_that_cannot_be_read_hides_no_other(tmp_path):
    """One torn file among ten thousand runs."""
    observer = FileStorageObserver(tmp_path / "runs")
    for mark in ("01", "02"):
        tell(observer, told(tmp_path, mark, "prepare", [("raw.csv", RAW)], []))
    (tmp_path / "runs" / "1" / "capture.json").write_text("{")
    with open_store(tmp_path / "runs") as store:
        found = Lineage(store)
        assert [each.label for each in found.graph("raw.csv").runs] == ["2"]


def test_an_empty_digest_is_that_of_no_bytes():
    """The constant stands for a rule."""
    assert sha(b"") == EMPTY


@pytest.mark.parametrize("odd", [5, 1.5, ["a"], {"a": 1}, "x\n\x1b[31m", float("nan")])
def test_records_that_hold_anything_are_followed(odd):
    """One strange record must not keep a store from answering for all others, nor move a cursor."""
    strange = run(1, reads=[("a.csv", b"raw")], writes=[("b.csv", b"made")])
    for each in strange.facts["lineage"]["inputs"]:
        each.update(dict.fromkeys(("name", "size", "mtime", "real", "files"), odd), manifest={"source": odd})
    for each in strange.facts["lineage"]["outputs"]:
        each.update(name=odd, digest=odd, mtime=odd)
    strange.facts["lineage"]["urls"] = [{"url": "http://x", "digest": odd, "size": odd, "complete": odd}]
    strange.facts["lineage"]["coverage"] = {"unseen": odd}
    found = graph("2", strange, run(2, reads=[("a.csv", b"raw"), ("b.csv", b"made")]))
    assert [each.label for each in found.runs] == ["2"]
    text = graph("1", strange).to_text()
    assert "\x1b" not in text
    assert json.dumps(graph("1", strange).to_dict(), allow_nan=False)
    assert graph("1", strange).to_dot() and graph("1", strange).to_mermaid()
