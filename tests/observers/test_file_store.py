"""What the file store promises beyond the contract: modes, crashes, hostile places, numbers, and who may be alive."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import random
import shutil
import stat
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capture import events
from capture.calls import hooks_of
from capture.errors import ObserverError, RecordError, RunNotFoundError
from capture.observers import FileStorageObserver, FileStoreCurator, FileStoreReader, _atomic, _labels, _names
from capture.observers import file as file_observer
from capture.observers._series import write_metrics_json
from capture.observers._store import path_of
from capture.testing import Story, Teller, tell
from capture.testing.contract import ObserverContract, uid
from tests.observers.dying import Death, die_at

linux = pytest.mark.skipif(os.name != "posix", reason="modes and links are those of POSIX")


@pytest.fixture
def store(tmp_path):
    return tmp_path / "runs"


def run(tmp_path, mark="01", **start):
    return Story(tmp_path / f"told-{mark}", uid(mark)).start(**start)


# ------------------------------------------------------------------------------------------------------- the store


def test_a_path_is_fixed_when_the_observer_is_made(tmp_path, monkeypatch):
    """Scripts change their directory; their runs stay in one place."""
    monkeypatch.chdir(tmp_path)
    observer = FileStorageObserver("runs")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    tell(observer, run(tmp_path).complete())
    assert (tmp_path / "runs" / "1" / "run.json").exists()
    assert not os.listdir(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("url", "path"),
    [("runs", "runs"), ("file://runs", "runs"), ("file:///a/b", "/a/b"), ("file://localhost/a", "/a"),
     ("file:///a%20b", "/a b"), ("~/runs", "~/runs"), ("file:runs", "runs"), ("50%", "50%")],
)  # fmt: skip
def test_urls_name_folders(url, path):
    """What is written with a URL is read with the same one."""
    assert path_of(url) == os.path.expanduser(path)
    assert FileStorageObserver.from_url(url).basedir == FileStorageObserver.reader(url).basedir


def test_equal_folders_are_equal_stores(tmp_path):
    """What was left behind for a store is delivered to whoever writes into it, through whatever link."""
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    assert FileStorageObserver(tmp_path / "link").identity == FileStorageObserver(tmp_path / "runs").identity
    assert FileStorageObserver(tmp_path / "a") == FileStorageObserver(tmp_path / "a")
    assert pickle.loads(pickle.dumps(FileStorageObserver(tmp_path / "a"))) == FileStorageObserver(tmp_path / "a")


def test_only_a_default_store_hides_from_git(tmp_path):
    """Nobody's own folder gets a .gitignore that they did not ask for."""
    (tmp_path / "mine").mkdir()
    for name in ("mine", "new"):
        tell(FileStorageObserver(tmp_path / name, ignore_in_git=True), run(tmp_path, "0" + name[0]).complete())
    assert (tmp_path / "new" / ".gitignore").read_text() == "*\n"
    assert not (tmp_path / "mine" / ".gitignore").exists()
    tell(FileStorageObserver(tmp_path / "plain"), run(tmp_path, "0c").complete())
    assert not (tmp_path / "plain" / ".gitignore").exists()


def test_folders_that_are_no_runs_are_left_alone(tmp_path, store):
    """People keep notes and plots beside their runs."""
    (store / "plots").mkdir(parents=True)
    (store / "plots" / "a.png").write_bytes(b"x")
    (store / "notes.txt").write_text("x")
    (store / "3").mkdir()  # a run that is just starting, or an empty folder of somebody's
    assert tell(FileStorageObserver(store), run(tmp_path).complete()) == "4"
    assert FileStoreReader(store).labels() == ["4"]
    assert (store / "plots" / "a.png").exists()


def test_a_store_of_a_later_format_is_refused(tmp_path, store):
    """Writing into it could destroy what this version does not understand."""
    tell(FileStorageObserver(store), run(tmp_path).complete())
    (store / "_capture" / "format.json").write_text('{"format": 99, "made_by": "capture 9.9"}')
    for use in (
        lambda: tell(FileStorageObserver(store), run(tmp_path, "02")),
        lambda: FileStoreReader(store).get(1),
        lambda: list(FileStoreReader(store).find()),
    ):
        with pytest.raises(ObserverError, match=r"9\.9"):
            use()


def test_heartbeats_do_not_ask_for_the_whole_output(store):
    """An observer that declares `captured_out` makes a run keep all of its output in memory."""
    hooks = hooks_of(FileStorageObserver(store))
    assert not hooks["heartbeat_event"].wants("captured_out")
    assert hooks["heartbeat_event"].wants("seq")


# ------------------------------------------------------------------------------------------------------- numbers


def test_a_number_is_not_used_again_when_its_folder_is_gone(tmp_path, store):
    """Sacred gives the number of a deleted run to the next one."""
    for mark in ("01", "02"):
        tell(FileStorageObserver(store), run(tmp_path, mark).complete())
    subprocess.run(["rm", "-r", str(store / "2")], check=True)
    assert tell(FileStorageObserver(store), run(tmp_path, "03").complete()) == "3"


def test_numbers_go_on_behind_those_of_others(tmp_path, store):
    """Sacred may write into the same store at the same time."""
    store.mkdir()
    for number in (1, 2, 40):
        (store / str(number)).mkdir()
    assert tell(FileStorageObserver(store), run(tmp_path).complete()) == "41"
    for number in range(42, 90):
        (store / str(number)).mkdir()
    assert tell(FileStorageObserver(store), run(tmp_path, "02").complete()) == "90"


def test_a_lost_counter_is_counted_anew(tmp_path, store):
    """It is a hint; the folders are the truth."""
    tell(FileStorageObserver(store), run(tmp_path).complete())
    for content in (None, b"", b"rubbish"):
        hint = store / "_capture" / "next_id"
        hint.unlink() if content is None else hint.write_bytes(content)
        before = set(FileStoreReader(store).labels())
        mark = f"{len(before):02}a"
        assert tell(FileStorageObserver(store), run(tmp_path, mark).complete()) == str(len(before) + 1)


_WRITER = """
import sys
from capture.observers import FileStorageObserver
from capture.testing import Story, tell
from capture.testing.contract import uid
from capture import events
store, told, me = sys.argv[1], sys.argv[2], int(sys.argv[3])
for i in range(20):
    story = Story(f"{told}/{me}-{i}", uid(f"{me:02}{i:02}"), spool=f"{store}/_capture/spool")
    story.start(config={"me": [me, i]})
    story.source("a.py", b"same").add(events.Output(text=f"run {me} {i}\\n", offset=0))
    story.metric("loss", [float(n) for n in range(10)])
    print(tell(FileStorageObserver(store), story.complete([me, i])))
"""


@pytest.mark.slow
def test_eight_processes_write_twenty_runs_each(tmp_path, store):
    """A scheduler starts a whole sweep in the same second."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(store), str(tmp_path / "told"), str(me)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for me in range(8)
    ]
    labels = [label for worker in workers for label in worker.communicate()[0].split()]
    assert [worker.returncode for worker in workers] == [0] * 8
    assert sorted(map(int, labels)) == list(range(1, 161))
    found = set()
    for record in FileStoreReader(store).find():
        me, i = record.config["me"]
        assert record.output == f"run {me} {i}\n"
        assert len(record.metrics["loss"]) == 10
        assert record.result == [me, i]
        assert record.sources[0].read() == b"same"
        found.add((me, i))
    assert len(found) == 160
    leftovers = [path for path in store.rglob("*") if path.name.startswith(_names.TEMPORARY)]
    assert leftovers == []


# ------------------------------------------------------------------------------------------------------- names

names = st.text(st.characters(codec=None), max_size=40) | st.sampled_from(
    [
        "",
        ".",
        "..",
        "/",
        "//",
        "a/",
        "/a",
        "con",
        "CON.txt",
        "nul/a",
        "run.json",
        "RUN.JSON",
        "a/run.json",
        " ",
        "a ",
        "~",
    ]
)


@given(names)
def test_a_safe_path_is_harmless_everywhere(name):
    """It stays in its folder, and Windows takes it."""
    path = _names.safe_path(name)
    parts = path.split("/")
    path.encode("utf-8")
    for part in parts:
        assert part not in ("", ".", "..")
        assert not set(part) & set('<>:"\\|?*') and min(map(ord, part)) >= 32
        assert part[-1] not in ". "
        assert len(part.encode()) <= 255
        assert part.partition(".")[0].lower() not in ("con", "nul", "aux", "prn", "com1", "lpt1")
    assert parts[0].lower() not in _names.RESERVED
    assert _names.safe_path(path) == path, "a safe path is not its own"


@given(names)
def test_the_folder_of_a_label_is_one_harmless_name(name):
    """It must not look like one of the store's own folders either."""
    folder = _labels.folder_of(name)
    assert "/" not in folder and folder[0] not in "_."
    assert len(folder.encode()) <= 256


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(names, min_size=1, max_size=8, unique=True))
def test_artifacts_of_any_names_give_back_their_own_bytes(tmp_path_factory, given_names):
    """However alike their names are."""
    place = tmp_path_factory.mktemp("names")
    story = run(place)
    for number, name in enumerate(given_names):
        story.artifact(name, str(number).encode())
    tell(FileStorageObserver(place / "runs"), story.complete())
    record = FileStoreReader(place / "runs").get(1)
    assert [(stored.name, stored.read()) for stored in record.artifacts] == [
        (name, str(number).encode()) for number, name in enumerate(given_names)
    ]
    assert sorted(os.listdir(place)) == ["runs", "told-01"]


@pytest.mark.parametrize(
    "label", ["../x", "/abs", "a/b", "..", "", "_capture", "_sources", ".hidden", "CON", "x" * 300]
)
def test_a_hostile_label_names_a_run_and_nothing_else(tmp_path, label):
    """Labels come from other stores and from command lines."""
    store = tmp_path / "deep" / "runs"
    assert tell(FileStorageObserver(store), run(tmp_path, label=label).complete(1)) == label
    reader = FileStoreReader(store)
    assert reader.labels() == [label]
    assert reader.get(label or uid("01")).result == 1
    assert os.listdir(tmp_path / "deep") == ["runs"]


@linux
def test_a_link_in_the_folder_of_a_run_leads_nothing_out(tmp_path, store):
    """A script may link its output folder into its run; artifacts of that name must not land behind the link."""
    observer, outside = FileStorageObserver(store), tmp_path / "outside"
    outside.mkdir()
    story = run(tmp_path)
    teller = Teller(observer, story)
    teller.tell(story.lines())
    (store / "1" / "plots").symlink_to(outside)
    (store / "1" / "model.bin").symlink_to(outside / "target")
    story.artifact("plots/a.png", b"a").artifact("plots/deep/b.png", b"b").artifact("model.bin", b"c").complete()
    teller.tell(story.lines()[2:])
    teller.finish()
    assert os.listdir(outside) == []
    assert [stored.read() for stored in FileStoreReader(store).get(1).artifacts] == [b"a", b"b", b"c"]


# ------------------------------------------------------------------------------------------------------- modes


@linux
@pytest.mark.parametrize(("umask", "setgid", "file", "folder"), [
    (0o022, False, 0o644, 0o755), (0o077, False, 0o600, 0o700), (0o002, False, 0o664, 0o775),
    (0o022, True, 0o664, 0o2775),
])  # fmt: skip
def test_modes_follow_umask_and_group(tmp_path, store, umask, setgid, file, folder):
    """mkstemp's 0600 hides runs from colleagues; a folder made for a group is for the group."""
    old = os.umask(umask)
    try:
        store.mkdir()
        if setgid:
            store.chmod(0o2775)
        story = Story(tmp_path / "told", uid("01"), spool=str(store / "_capture" / "spool")).start()
        story.source("a.py", b"a").resource("/b.csv", b"b").artifact("deep/c.bin", b"c").metrics(loss=[1.0])
        story.beat(info={"a": 1}).add(events.Output(text="x", offset=0)).complete()
        tell(FileStorageObserver(store), story)
    finally:
        os.umask(old)
    wrong = {}
    for path in store.rglob("*"):
        if "spool" in path.parts:
            continue
        mode, wanted = stat.S_IMODE(path.stat().st_mode), folder if path.is_dir() else file
        if mode != wanted:
            wrong[str(path.relative_to(store))] = oct(mode)
    assert not wrong, f"expected {oct(file)} and {oct(folder)}"


@linux
def test_bytes_move_from_a_spool_into_the_store_without_being_copied(tmp_path, store):
    """Half a gigabyte is written once."""
    story = Story(tmp_path / "told", uid("01"), spool=str(store / "_capture" / "spool")).start()
    story.artifact("a.bin", b"content").resource("/r.csv", b"resource").complete()
    inodes = {path.stat().st_ino for path in (store / "_capture" / "spool").rglob("*")}
    tell(FileStorageObserver(store), story)
    (shared,) = (store / "_resources").iterdir()
    assert {(store / "1" / "a.bin").stat().st_ino, shared.stat().st_ino} <= inodes


# ------------------------------------------------------------------------------------------------------- faults


def test_a_full_disk_may_pass(store):
    """The run's journal keeps everything meanwhile."""
    observer = FileStorageObserver(store)
    assert observer.transient(OSError(errno.ENOSPC, "full"))
    assert observer.transient(OSError(errno.ESTALE, "gone"))
    assert observer.transient(TimeoutError())
    assert not observer.transient(PermissionError(errno.EACCES, "no"))
    assert not observer.transient(ValueError())


@pytest.mark.parametrize("call", ["write", "replace", "ftruncate", "mkdir", "fsync"])
def test_a_disk_that_fails_for_a_while_loses_and_doubles_nothing(tmp_path, store, monkeypatch, call):
    """Each step is tried again where it failed: half a line, half a file must not stay."""
    contract = ObserverContract()
    story = contract.whole_story(tmp_path / "told", uid("01"))
    lines, observer = story.lines(), FileStorageObserver(store)
    genuine, chance = getattr(os, call), random.Random(call)

    def failing(*args, **kwargs):
        if chance.random() < 0.15:
            if call == "write" and len(args[1]) > 3:
                genuine(args[0], args[1][:3])  # the disk took a part of it
            raise OSError(errno.ENOSPC, "No space left on device")
        return genuine(*args, **kwargs)

    monkeypatch.setattr(os, call, failing)
    teller = Teller(observer, story)

    def insist(action):
        for _ in range(500):
            try:
                return action()
            except OSError as error:
                assert observer.transient(error)
        raise AssertionError("it never went through")

    for line in lines:
        insist(lambda line=line: teller.tell([line]))
        insist(teller.flush)
    monkeypatch.setattr(os, call, genuine)
    teller.finish()
    from capture.testing.contract import Backend

    contract.check(Backend(observer, FileStoreReader(store)), uid("01"), story)
    assert FileStoreReader(store).labels() == FileStoreReader(store).labels()[:1]
    assert not list(store.rglob(_names.TEMPORARY + "*"))


@pytest.mark.parametrize("call", ["mkdir", "open"])
def test_a_read_only_folder_is_an_error_that_names_it(tmp_path, store, monkeypatch, call):
    """It must not look as if the run had been stored."""
    story, genuine = run(tmp_path), getattr(os, call)
    lines = story.lines()

    # root may write anywhere, so that the calls are made to refuse
    def refuse(path, *args, **kwargs):
        if str(path).startswith(str(store)):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return genuine(path, *args, **kwargs)

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(PermissionError, match=str(store)):
        Teller(FileStorageObserver(store), story).tell(lines)


def test_a_folder_that_is_a_file_is_an_error_that_names_it(tmp_path):
    """`-F notes.txt` is a slip."""
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises((FileExistsError, NotADirectoryError), match=r"notes\.txt"):
        tell(FileStorageObserver(tmp_path / "notes.txt"), run(tmp_path / "y"))


def test_a_torn_line_of_measurements_is_cut_off(tmp_path, store):
    """kill -9 in the middle of a write; the batch is in the journal and comes again."""
    story = run(tmp_path).metrics(loss=[1.0, 2.0]).metric("loss", [3.0], first=2)
    lines = story.lines()
    teller = Teller(FileStorageObserver(store), story)
    teller.tell(lines)
    teller.flush()
    path = store / "1" / "metrics.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert FileStoreReader(store).get(1).metrics["loss"].values == [1.0, 2.0]
    heir = Teller(FileStorageObserver(store), story)
    heir.tell(line for line in lines if line.kind != "opened")
    heir.finish()
    assert path.read_bytes() == whole
    assert FileStoreReader(store).get(1).metrics["loss"].values == [1.0, 2.0, 3.0]


def test_a_damaged_line_in_the_middle_costs_only_itself(tmp_path, store, caplog):
    """A bad sector, an editor: the rest of the series is worth having."""
    tell(FileStorageObserver(store), run(tmp_path).metrics(loss=[1.0]).metric("loss", [2.0]).metric("loss", [3.0]))
    path = store / "1" / "metrics.jsonl"
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"#" + second[1:] + third)
    assert FileStoreReader(store).get(1).metrics["loss"].values == [1.0, 3.0]
    assert "line 2 is damaged" in caplog.text


@pytest.mark.parametrize("file", ["run.json", "config.json", "info.json", "capture.json"])
def test_a_truncated_record_is_an_error_that_names_file_and_line(tmp_path, store, caplog, file):
    """Sacred wrote its files in place, so that such records exist; the others must stay readable."""
    for mark in ("01", "02"):
        tell(FileStorageObserver(store), run(tmp_path, mark).beat(info={"a": [1, 2]}).complete())
    path = store / "1" / file
    path.write_bytes(path.read_bytes()[:-9])
    reader = FileStoreReader(store)
    with pytest.raises(RecordError, match=rf"1/{file}, line \d+") as error:
        reader.get(1)
    assert "to go on" in str(error.value)
    assert [record.label for record in reader.find()] == ["2"]
    assert f"1/{file}" in caplog.text
    assert reader.labels() == ["1", "2"]


def test_a_run_that_was_cut_off_before_it_was_written_says_so(tmp_path, store):
    """Sacred makes the folder first and its files one after the other."""
    (store / "7").mkdir(parents=True)
    (store / "7" / "config.json").write_text("{}")
    with pytest.raises(RecordError, match=r"run\.json is missing"):
        FileStoreReader(store).get(7)


def test_events_for_a_run_that_never_started_are_refused(tmp_path, store):
    """Silence would look like success."""
    with pytest.raises(ObserverError, match="no run"):
        FileStorageObserver(store).facts_event("a", 1, uid=uid("01"), writer="main", seq=3)
    with pytest.raises(ObserverError, match="before a run started"):
        FileStorageObserver(store).artifact_event("a", "b")


def test_a_folder_that_is_removed_during_the_run_stays_removed(tmp_path, store, caplog):
    """Somebody tidies up: the run goes on, and nothing is written where nothing should be."""
    observer, story = FileStorageObserver(store), run(tmp_path)
    teller = Teller(observer, story)
    teller.tell(story.lines())
    subprocess.run(["rm", "-r", str(store / "1")], check=True)
    teller.tell(story.add(events.Output(text="x", offset=0)).lines()[-1:])
    teller.flush()
    assert "was removed" in caplog.text
    assert not (store / "1").exists()
    with pytest.raises(ObserverError):
        teller.tell(story.complete().lines()[-1:])


def test_an_event_that_could_not_be_stored_is_taken_when_it_comes_again(tmp_path, store, monkeypatch):
    """The lane sets it aside and goes on; `capture sync` brings it later."""
    story = run(tmp_path).artifact("a.bin", b"a").artifact("b.bin", b"b").complete()
    lines, observer = story.lines(), FileStorageObserver(store)
    teller = Teller(observer, story)
    teller.tell(lines[:2])
    with monkeypatch.context() as patch:
        patch.setattr(_atomic, "take", lambda *args, **kwargs: (_ for _ in ()).throw(PermissionError("no")))
        with pytest.raises(PermissionError):
            teller.tell(lines[2:3])
    teller.tell(lines[3:])
    teller.finish()
    assert [stored.name for stored in FileStoreReader(store).get(1).artifacts] == ["b.bin"]
    later = Teller(FileStorageObserver(store), story)
    later.tell(lines)
    later.finish()
    assert [stored.name for stored in FileStoreReader(store).get(1).artifacts] == ["b.bin", "a.bin"]


def test_many_artifacts_do_not_rewrite_the_record_each_time(tmp_path, store):
    """With Sacred a thousand files cost a thousand ever longer records."""
    story = run(tmp_path)
    for number in range(300):
        story.artifact(f"{number}.txt", str(number).encode())
    observer, written = FileStorageObserver(store), []
    genuine = _atomic.write
    _atomic.write = lambda path, *args, **kwargs: written.append(path) or genuine(path, *args, **kwargs)
    try:
        tell(observer, story.complete())
    finally:
        _atomic.write = genuine
    assert len([path for path in written if path.endswith("run.json")]) == 2
    assert len(FileStoreReader(store).get(1).artifacts) == 300


# ------------------------------------------------------------------------------------------------------- metrics.json


def test_metrics_json_is_what_json_would_write(tmp_path, store):
    """Tools compare such files byte by byte."""
    story = run(tmp_path)
    for batch in range(3):
        story.metric("b", [1, 2.5, "nan"], first=3 * batch).metric("größe", [1e300], first=batch).metric('"q"', [batch])
    tell(FileStorageObserver(store), story.complete())
    text = (store / "1" / "metrics.json").read_text(encoding="utf-8")
    data = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert text == json.dumps(data, indent=2, sort_keys=True)
    assert data["b"]["values"] == [1, 2.5, None] * 3
    assert data["b"]["timestamps"][:2] == ["2026-01-01T00:00:02", "2026-01-01T00:00:02.001000"]


def test_metrics_json_is_made_piece_by_piece(tmp_path, store, monkeypatch):
    """Ten million points do not fit into memory as text."""
    from capture.observers import _series

    monkeypatch.setattr(_series, "_HELD", 100)
    story = run(tmp_path)
    for batch in range(20):
        story.metric("a", [batch] * 3, first=3 * batch).metric("b", [-batch], first=batch)
    tell(FileStorageObserver(store), story.complete())
    data = json.loads((store / "1" / "metrics.json").read_text())
    assert data["a"]["values"] == [batch for batch in range(20) for _ in range(3)]
    assert data["a"]["steps"] == list(range(60))
    assert data["b"]["values"] == [-batch for batch in range(20)]
    assert sorted(path.name for path in (store / "1").iterdir()) == sorted(
        ["capture.json", "config.json", "cout.txt", "metrics.json", "metrics.jsonl", "run.json"]
    )


def test_metrics_json_can_be_left_until_somebody_asks(tmp_path, store):
    """Above a limit nobody waits for it at the end of a run."""
    tell(FileStorageObserver(store, metrics_json_limit=5), run(tmp_path).metrics(loss=[0.0] * 6).complete())
    path = store / "1" / "metrics.json"
    assert not path.exists()
    assert len(FileStoreReader(store).get(1).metrics["loss"]) == 6
    assert write_metrics_json(str(store / "1"))
    assert len(json.loads(path.read_text())["loss"]["steps"]) == 6
    tell(FileStorageObserver(store), run(tmp_path, "02").complete())
    assert not write_metrics_json(str(store / "2"))


# ------------------------------------------------------------------------------------------------------- reports


def test_a_report_is_made_from_a_template(tmp_path, store, monkeypatch):
    """Sacred's users have such templates."""
    import types

    class Template:
        def __init__(self, filename):
            with open(filename, encoding="utf-8") as stream:
                self.text = stream.read()

        def render(self, run, config, info, cout, savedir):
            return self.text.format(run=run["status"], lr=config["lr"], info=info, cout=cout)

    monkeypatch.setitem(sys.modules, "mako", types.ModuleType("mako"))
    monkeypatch.setitem(sys.modules, "mako.template", types.SimpleNamespace(Template=Template))
    template = tmp_path / "t.html"
    template.write_text("{run} {lr} {info} {cout}", encoding="utf-8")
    story = run(tmp_path).beat(info={"a": 1}).add(events.Output(text="größe", offset=0)).complete()
    tell(FileStorageObserver(store, template=template), story)
    assert (store / "1" / "report.html").read_text(encoding="utf-8") == "COMPLETED 0.1 {'a': 1} größe"
    template.write_text("{nosuch}", encoding="utf-8")
    tell(FileStorageObserver(store, template=template), run(tmp_path, "02").complete())
    assert FileStoreReader(store).get(2).status == "COMPLETED"


def test_a_template_that_is_not_there_is_refused_at_once(tmp_path):
    """Not after a week of training."""
    with pytest.raises(FileNotFoundError, match=r"nosuch\.html"):
        FileStorageObserver(tmp_path, template=tmp_path / "nosuch.html")


# ------------------------------------------------------------------------------------------------------- alive?


def alive(tmp_path, store, **host):
    """Return what the reader says of a RUNNING run whose writer gave this host."""
    story = run(tmp_path)
    lines = story.lines()
    observer = FileStorageObserver(store)
    observer.opened_event(host, "0", uid=story.uid, writer="main", seq=1)
    Teller(observer, story).tell(lines[1:])
    observer.flush()
    reader = FileStoreReader(store)
    return reader.is_alive(reader.get(1))


def here(**more):
    from capture.liveness import machine_identity

    return {**machine_identity(), **more}


needs_boot_id = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks for a boot id")


@needs_boot_id
def test_who_holds_the_lock_lives(tmp_path, store):
    """The kernel frees the lock at any death; pids are used again, clocks jump."""
    journal = str(tmp_path / "told-01" / "journals" / f"{uid('01')}.main.journal")
    assert alive(tmp_path, store, **here(journal=journal)) is True


@needs_boot_id
def test_who_left_a_free_journal_is_dead(tmp_path, store):
    """Even if a process with its pid exists: this one."""
    journal = tmp_path / "free.journal"
    journal.write_bytes(b"")
    assert alive(tmp_path, store, **here(journal=str(journal))) is False


@needs_boot_id
def test_a_missing_journal_means_death_only_in_its_own_folder(tmp_path, store):
    """In a container the same path is another folder."""
    found = tmp_path.stat()
    journal = str(tmp_path / "gone.journal")
    told = {"journal": journal, "pid": 2**22 + 1}
    assert alive(tmp_path, store, **here(**told, journal_dir=[found.st_dev, found.st_ino])) is False
    subprocess.run(["rm", "-r", str(store), str(tmp_path / "told-01")], check=True)
    assert alive(tmp_path, store, **here(**told, journal_dir=[found.st_dev, found.st_ino + 1])) is None


@needs_boot_id
def test_other_machines_cannot_be_asked_and_other_boots_are_over(tmp_path, store):
    """Somebody else's process may have the same pid."""
    assert alive(tmp_path, store, **here(machine_id="another")) is None
    subprocess.run(["rm", "-r", str(store), str(tmp_path / "told-01")], check=True)
    assert alive(tmp_path, store, **here(boot_id="another")) is False


@needs_boot_id
def test_a_live_run_cannot_be_binned(tmp_path, store):
    """Its process would write into a folder that is gone."""
    journal = str(tmp_path / "told-01" / "journals" / f"{uid('01')}.main.journal")
    assert alive(tmp_path, store, **here(journal=journal)) is True
    with pytest.raises(ObserverError, match="still going on"):
        FileStoreCurator(store).bin(1)


# ------------------------------------------------------------------------------------------------------- the curator


def test_a_binned_run_is_out_of_sight_of_sacreds_tools_too(tmp_path, store):
    """They list the folders."""
    tell(FileStorageObserver(store), run(tmp_path).complete())
    curator = FileStoreCurator(store)
    curator.bin(1)
    assert not (store / "1").exists()
    assert tell(FileStorageObserver(store), run(tmp_path, "02").complete()) == "2"
    with pytest.raises(RunNotFoundError):
        curator.bin(1)
    curator.restore("1")
    assert FileStoreReader(store).labels() == ["1", "2"]


def test_purging_the_last_user_of_a_shared_file_removes_it(tmp_path, store):
    """Otherwise a store only ever grows."""
    for mark in ("01", "02"):
        story = run(tmp_path, mark).source("a.py", b"shared").source("b.py", mark.encode()).complete()
        tell(FileStorageObserver(store), story)
    curator = FileStoreCurator(store)
    for left in (2, 0):
        label = FileStoreReader(store).labels()[0]
        curator.bin(label)
        curator.purge(label)
        assert len(os.listdir(store / "_sources")) == left
    assert os.listdir(store / "_capture" / "trash") == []


def test_a_file_that_is_purged_while_a_run_takes_it_is_stored_again(tmp_path, store):
    """The run found it there and trusted that it would stay."""
    tell(FileStorageObserver(store), run(tmp_path).source("a.py", b"shared").complete())
    story = run(tmp_path, "02").source("a.py", b"shared").complete()
    lines, teller = story.lines(), Teller(FileStorageObserver(store), story)
    teller.tell(lines[:3])  # it found the file, and has not written down that it uses it
    curator = FileStoreCurator(store)
    curator.bin(1)
    curator.purge(1)
    assert os.listdir(store / "_sources") == []
    teller.tell(lines[3:])
    teller.finish()
    assert FileStoreReader(store).get(2).sources[0].read() == b"shared"


def test_a_secret_in_a_shared_file_is_masked_for_all_runs(tmp_path, store):
    """The file changes, so its digest and its name do."""
    for mark in ("01", "02"):
        story = run(tmp_path, mark).source("a.py", b"key = 'topsecret'\n").resource("/topsecret.csv", b"1").complete()
        tell(FileStorageObserver(store), story)
    assert FileStoreCurator(store).erase("topsecret") > 0
    for label in (1, 2):
        record = FileStoreReader(store).get(label)
        assert record.sources[0].read() == b"key = '*********'\n"
        assert record.resources[0].name == "/*********.csv"
        assert record.resources[0].read() == b"1"
        run_json = json.loads((store / str(label) / "run.json").read_text())
        assert (store / run_json["experiment"]["sources"][0][1]).read_bytes() == b"key = '*********'\n"
    listing = "\n".join(str(path) for path in store.rglob("*"))
    assert "topsecret" not in listing
    assert not [path for path in store.rglob("*") if path.is_file() and b"topsecret" in path.read_bytes()]


def test_an_erasure_that_died_can_be_begun_again_and_loses_no_file(tmp_path, store, monkeypatch):
    """Shared files get another name when their bytes change: no record may name a place where nothing lies."""

    def files(place):
        return [file for label in (1, 2) for kind in ("sources", "resources", "artifacts")
                for file in getattr(FileStoreReader(place).get(label), kind)]  # fmt: skip

    for mark in ("01", "02"):
        story = run(tmp_path, mark).source("a.py", b"key = 'topsecret'\n").resource("/topsecret.csv", b"1")
        tell(FileStorageObserver(store), story.artifact("topsecret/out.txt", b"topsecret!").complete())
    steps, died = 0, True
    while died:
        steps, died = steps + 1, False
        place = tmp_path / f"runs-{steps}"
        shutil.copytree(store, place)

        with monkeypatch.context() as patch:
            die_at(steps, patch, os, "replace", "unlink", "mkdir", "open", "fsync")
            try:
                FileStoreCurator(place).erase("topsecret")
            except Death:
                died = True
        assert all(file.read() for file in files(place)), f"a file was lost at step {steps}"
        FileStoreCurator(place).erase("topsecret")
        for file in files(place):
            with file.open() as stream:
                data = stream.read()
            assert hashlib.sha256(data).hexdigest() == file.digest, f"{file.name}, at step {steps}"
            assert b"topsecret" not in data
        left_over = [path for path in place.rglob("*") if path.is_file() and "spool" not in path.parts]
        assert not [path for path in left_over if b"topsecret" in path.read_bytes()], f"at step {steps}"
    assert steps > 20


def test_a_short_value_is_not_erased(store):
    """One letter is in everything."""
    with pytest.raises(ValueError, match="4 characters"):
        FileStoreCurator(store).erase("abc")


def test_notes_and_a_live_writer_do_not_overwrite_each_other(tmp_path, store):
    """People annotate a run while it goes on."""
    story = run(tmp_path)
    teller = Teller(FileStorageObserver(store), story)
    teller.tell(story.lines())
    teller.flush()
    FileStoreCurator(store).annotate(1, tags=["promising"])
    story.add(events.Facts(topic="late", facts=1), events.Annotated(notes="from the run")).complete(5)
    teller.tell(story.lines()[2:])
    teller.finish()
    record = FileStoreReader(store).get(1)
    assert (record.tags, record.notes, record.facts, record.result) == (["promising"], "from the run", {"late": 1}, 5)


def test_a_reader_sees_what_changed_since_it_last_looked(tmp_path, store):
    """It remembers documents, and a board keeps one reader for days."""
    reader, story = FileStoreReader(store), run(tmp_path)
    teller = Teller(FileStorageObserver(store), story)
    teller.tell(story.lines())
    assert reader.get(1).status == "RUNNING"
    first = reader.get(1)
    first.config["lr"] = "changed by the caller"
    time.sleep(0.01)
    teller.tell(story.complete().lines()[-1:])
    teller.finish()
    assert reader.get(1).status == "COMPLETED"
    assert reader.get(1).config["lr"] == 0.1


def test_a_run_that_was_copied_into_the_store_is_found_by_its_uid(tmp_path, store):
    """People merge stores with `cp -r`; only the writer's own runs are in its notes."""
    tell(FileStorageObserver(tmp_path / "other"), run(tmp_path, "0a", label="theirs").complete(7))
    tell(FileStorageObserver(store), run(tmp_path, "0b").complete())
    shutil.copytree(tmp_path / "other" / "theirs", store / "theirs")
    reader = FileStoreReader(store)
    assert reader.get(uid("0a")).result == reader.get(uid("0a")[-8:]).result == 7
    assert reader.get(uid("0b")[-8:]).label == "1"


# ------------------------------------------------------------------------------------------- faults in the middle of it


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["metrics", "output"])
def test_what_a_full_disk_refused_is_stored_once_when_there_is_room(store, tmp_path, monkeypatch, kind):
    """The event comes again; what is held in memory already must not be held twice."""
    observer, story = FileStorageObserver(store), run(tmp_path)
    size = 40_000
    for number in range(4):
        if kind == "metrics":
            story.metric("loss", [float(each) for each in range(size)], first=number * size)
        else:
            story.add(events.Output(text=f"{number}" * 10 * size, offset=number * 10 * size))
    story.complete()
    teller = Teller(observer, story)
    lines = story.lines()
    real, failures = _atomic.write_at, iter([True, True])

    def full(*args):
        if next(failures, False):
            raise OSError(errno.ENOSPC, "no space left on device")
        return real(*args)

    monkeypatch.setattr(_atomic, "write_at", full)
    for line in lines:
        while True:
            try:
                teller.tell([line])
                break
            except OSError as error:
                assert observer.transient(error)
    teller.finish()
    assert next(failures, False) is False
    record = FileStoreReader(store).get("1")
    if kind == "metrics":
        assert record.metrics["loss"].steps == list(range(4 * size))
    else:
        assert record.output == "".join(f"{number}" * 10 * size for number in range(4))


def test_writers_do_not_set_each_other_back(store, tmp_path):
    """A child's record of how far the main writer came is old when the child writes."""
    main, child = run(tmp_path), Story(tmp_path / "child", uid("01"), "child-1")
    one, two = FileStorageObserver(store), FileStorageObserver(store)
    first, second = Teller(one, main), Teller(two, child)
    first.tell(main.lines())
    first.flush()
    second.tell(child.lines())
    second.flush()
    told = len(main.lines())
    main.add(events.Resumed(resume_time=main.moment()), events.Unknown(kind="later", payload={"e": "later", "x": 1}))
    first.tell(main.lines()[told:])
    run_of_main = one._runs[uid("01")]
    run_of_main.failed("main", 2)  # an event that could not be stored, and may come again
    first.flush()
    child.artifact("late.txt", b"late")
    second.tell(child.lines()[1:])
    second.flush()
    heir = Teller(FileStorageObserver(store), main)  # the main process died, and all is told again
    heir.tell(main.lines())
    heir.finish()
    record = FileStoreReader(store).get("1")
    assert len(record.resumed) == len(record.extra) == 1
    with open(store / "1" / "capture.json") as stream:
        known = json.load(stream)
    assert known["seqs"]["main"] == main.lines()[-1].seq


def test_what_a_writer_missed_is_not_forgotten_by_another(store, tmp_path):
    """It is told again some day, and must be taken then."""
    main, child = run(tmp_path), Story(tmp_path / "child", uid("01"), "child-1").metrics(x=[1.0])
    one, two = FileStorageObserver(store), FileStorageObserver(store)
    first, second = Teller(one, main), Teller(two, child)
    first.tell(main.lines())
    first.flush()
    second.tell(child.lines()[:1])
    second.flush()
    one._runs[uid("01")].failed("main", 2)
    first.flush()
    child.artifact("late.txt", b"late")
    second.tell(child.lines()[1:])
    second.flush()
    with open(store / "1" / "capture.json") as stream:
        assert json.load(stream)["missed"] == {"main": [2]}


@pytest.mark.parametrize("step", ["flush", "write_uid"])
def test_a_crash_while_a_queued_run_is_taken_over_loses_nothing(store, tmp_path, monkeypatch, step):
    """Whoever delivers the journal of the dead process goes on where it was, and nobody else gets the run."""
    queued = Story(tmp_path / "queued", uid("0a")).queue("7")
    assert tell(FileStorageObserver(store), queued) == "7"
    story = run(tmp_path, "0b", label="7", config={"lr": 3})

    def dies(*args, **kwargs):
        raise SystemExit

    with monkeypatch.context() as patch:
        owner = file_observer._Run if step == "flush" else file_observer
        patch.setattr(owner, step, dies)
        with pytest.raises(SystemExit):
            tell(FileStorageObserver(store), story)
    other = run(tmp_path, "0c", label="7")
    assert tell(FileStorageObserver(store), other) != "7"
    assert tell(FileStorageObserver(store), story.complete()) == "7"
    record = FileStoreReader(store).get("7")
    assert (record.uid, record.status, record.config) == (uid("0b"), "COMPLETED", {"lr": 3})


def test_a_part_of_a_record_that_is_damaged_is_not_taken_for_an_empty_one(store, tmp_path):
    """Else a run would seem to have made no artifacts."""
    tell(FileStorageObserver(store), run(tmp_path).artifact("a.txt", b"a").complete())
    path = store / "1" / "capture.json"
    text = path.read_text().replace('"name"', '"nome"')
    path.write_text(text)
    with pytest.raises(RecordError, match="artifacts of .*name"):
        print(FileStoreReader(store).get("1").artifacts)


def test_a_run_that_cannot_be_written_keeps_no_other_from_it(store, tmp_path, monkeypatch):
    """Two runs of one process share an observer."""
    observer = FileStorageObserver(store)
    one, two = run(tmp_path, "0a"), run(tmp_path, "0b")
    first, second = Teller(observer, one), Teller(observer, two)
    first.tell(one.lines())
    second.tell(two.beat(result=5).lines())
    broken = observer._runs[uid("0a")]

    def refuses():
        raise OSError(errno.EACCES, "not yours")

    monkeypatch.setattr(broken, "flush", refuses)
    with pytest.raises(PermissionError):
        observer.flush()
    assert FileStoreReader(store).get("2").result == 5
