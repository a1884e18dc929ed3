"""What a record in a folder has lost is told; what goes on, was cut off by a kill, or is Sacred's, is not accused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from capture import events, open_store
from capture.cli import main
from capture.errors import RecordError
from capture.observers import _atomic
from capture.observers._file_curator import FileStoreCurator
from capture.observers._file_reader import FileStoreReader
from capture.query.verifying import verify
from capture.registry import make_observer
from capture.testing.feed import Story, Teller, tell

UID = "01997a1c-0000-7000-8000-0000000000"

GOLDEN = Path(__file__).parents[1] / "golden"
POINTS = 40
TEXT = "epoch 1 of 3, loss 0.25\n" * 9


def a_run(folder: Path, uid: str, ends: bool = True) -> Story:
    """Return a run with output and forty points in eight batches."""
    run = Story(folder / uid[-4:], uid).start(config={"lr": 0.1}).add(events.Output(text=TEXT, offset=0))
    for first in range(0, POINTS, 5):
        run.metric("loss", [1.0 / (1 + step) for step in range(first, first + 5)], first=first)
    run.beat(info={}, result=None)
    return run.complete(result=0.5) if ends else run


@pytest.fixture
def store(tmp_path):
    """Return the folder of a store with one run that is over."""
    folder = str(tmp_path / "runs")
    (tmp_path / "told").mkdir()
    tell(make_observer(folder), a_run(tmp_path / "told", UID + "01"))
    return folder


def lost(store, run="1"):
    """Return file, expected and found of what a run has lost: as read alone, and as found among all, alike."""
    alone = open_store(store).get(run).losses
    [listed] = [each.losses for each in open_store(store).find() if each.label == run]
    told = [[(each.name, each.expected, each.found) for each in losses] for losses in (alone, listed)]
    assert told[0] == told[1], "with the index or without it"
    return told[0]


def halve(path: str) -> tuple[int, int]:
    """Cut off the second half of a file; return its sizes before and after."""
    size = os.stat(path).st_size
    os.truncate(path, size // 2)
    return size, size // 2


def capture_json(store, run="1"):
    with open(os.path.join(store, run, "capture.json"), "rb") as stream:
        return json.load(stream)


@pytest.mark.parametrize("name", ["metrics.jsonl", "cout.txt"])
def test_a_file_that_was_cut_off_is_told_with_both_sizes(store, name):
    """Half of the points must not be taken for all of them; the record says how many bytes there were."""
    assert lost(store) == []
    before, after = halve(os.path.join(store, "1", name))
    assert lost(store) == [(name, before, after)]
    assert len(open_store(store).get("1").output) < len(TEXT) or name == "metrics.jsonl", "what is there can be read"


@pytest.mark.parametrize("name", ["metrics.jsonl", "cout.txt", "capture.json", "config.json"])
def test_a_file_that_is_away_is_told(store, name):
    """Without the file there is less to see, and nothing that looks wrong."""
    os.unlink(os.path.join(store, "1", name))
    [(file, _, found)] = lost(store)
    assert (file, found) == (name, None)


@pytest.mark.parametrize("name", ["metrics.jsonl", "cout.txt", "capture.json"])
def test_damage_after_the_index_was_made_is_seen_through_it(store, name):
    """A truncated file leaves no trace in its folder, by which the index knows what is new."""
    os.utime(os.path.join(store, "1"), (1_700_000_000, 1_700_000_000))
    assert lost(store) == []
    path = os.path.join(store, "1", name)
    if name == "capture.json":
        os.unlink(path)
    else:
        halve(path)
    os.utime(os.path.join(store, "1"), (1_700_000_000, 1_700_000_000))
    assert [each[0] for each in lost(store)] == [name]


def test_a_run_without_capture_json_keeps_the_uid_that_its_store_has_noted(store, tmp_path, capsys):
    """A copy under a uid that was made up would be another run."""
    os.unlink(os.path.join(store, "1", "capture.json"))
    assert open_store(store).get("1").uid == UID + "01"
    assert main(["cp", store, str(tmp_path / "other")]) == 1
    assert open_store(str(tmp_path / "other")).get("1").uid == UID + "01"


def test_a_tag_hides_no_loss(store):
    """To tag a run whose capture.json is away makes that file anew."""
    os.unlink(os.path.join(store, "1", "capture.json"))
    open_store(store).get("1").tag("good")
    [(name, _, _)] = lost(store)
    assert name == "capture.json" and open_store(store).get("1").tags == ["good"]


def test_a_tag_on_a_run_that_was_cut_off_hides_no_loss(store):
    """Who tags opens the folder for writing, and notes sizes there only of what it has written."""
    before, after = halve(os.path.join(store, "1", "metrics.jsonl"))
    open_store(store).get("1").tag("good")
    assert lost(store) == [("metrics.jsonl", before, after)]


# ------------------------------------------------------------------------------------------- what must not be accused


def test_records_of_sacred_have_lost_nothing(tmp_path):
    """They have no capture.json at all; nor need they have output."""
    shutil.copytree(GOLDEN / "sacred-0.8.7", tmp_path / "runs")
    os.unlink(tmp_path / "runs" / "1" / "cout.txt")
    store = open_store(tmp_path / "runs")
    assert [each.losses for each in store.find()] == [[], [], []]
    store.get("1").tag("good")
    assert store.get("1").losses == [], "nor if one of them was tagged"


def test_a_record_of_sacreds_that_took_the_number_of_a_run_of_ours_has_lost_nothing(store):
    """Where both write into a folder, Sacred gives a number again whose folder somebody has deleted."""
    shutil.rmtree(os.path.join(store, "1"))
    shutil.copytree(GOLDEN / "sacred-0.8.7" / "1", os.path.join(store, "1"))
    assert lost(store) == [] and open_store(store).get("1").uid == ""


def test_an_old_record_without_sizes_has_lost_nothing(store):
    """What earlier versions wrote has no number of bytes of the output, nor has a run that measured nothing of that."""
    data = capture_json(store)
    for name in ("metrics_bytes", "output_bytes"):
        data.pop(name)
    with open(os.path.join(store, "1", "capture.json"), "w") as stream:
        json.dump(data, stream)
    assert lost(store) == []
    os.truncate(os.path.join(store, "1", "cout.txt"), 5)
    assert lost(store) == [], "nobody knows"


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """Look, before and after each write into a store, whether a reader finds that something is lost; count the looks."""
    reader, looks = FileStoreReader(tmp_path / "runs"), []

    def look():
        for label in reader.labels() if os.path.isdir(tmp_path / "runs") else ():
            try:
                record = reader.get(label)
            except RecordError:  # its folder was made, and nothing is in there yet
                continue
            looks.append(label)
            assert record.losses == []

    def around(act):
        def acting(*args, **kwargs):
            look()
            try:
                return act(*args, **kwargs)
            finally:
                look()

        return acting

    for name in ("write", "append", "write_pieces", "make_folder"):
        monkeypatch.setattr(_atomic, name, around(getattr(_atomic, name)))
    return looks


def stories(folder: Path) -> list[Story]:
    """Return what two writers tell of a run: with a progress bar, an ending, and output that goes on after it."""
    run = a_run(folder, UID + "01")
    run.add(events.Resumed(resume_time=run.moment()), events.Output(text="again\n", offset=20)).metric(
        "loss", [0.1], 40
    )
    run.complete(result=1.0).add(events.Output(text="late", offset=3))
    child = Story(folder / "child", UID + "01", "child").metric("of child", [1.0, 2.0])
    return [run, child]


def test_no_write_ever_leaves_a_run_that_looks_damaged(tmp_path, watched):
    """Who is killed between any two writes leaves a record that agrees with what was written, told by whatever store."""
    main_writer, child = stories(tmp_path)
    observer = make_observer(str(tmp_path / "runs"))
    first, second = Teller(observer, main_writer), Teller(observer, child)
    lines = main_writer.lines()
    for place, line in enumerate(lines):
        first.tell([line])
        first.flush()
        if place == len(lines) // 2:
            second.tell(child.lines())
            second.finish()
    first.finish()
    assert len(watched) > 2 * len(lines)
    assert "output_bytes" not in capture_json(str(tmp_path / "runs")), "nobody knows what else comes"


@pytest.mark.parametrize("told_first", range(3, 14))
def test_a_killed_writer_and_who_delivers_the_rest_leave_a_whole_record(tmp_path, watched, told_first):
    """A journal that waits, and is delivered later by another process, has lost nothing meanwhile."""
    run = a_run(tmp_path, UID + "01")
    killed = Teller(make_observer(str(tmp_path / "runs")), run)
    killed.tell(run.lines()[:told_first])
    killed.flush()
    path = tmp_path / "runs" / "1" / "metrics.jsonl"
    if path.exists():
        with open(path, "ab") as stream:  # it dies while it writes
            stream.write(b'{"e":"metrics","s":99,"t":1.0,"sta')
    later = Teller(make_observer(str(tmp_path / "runs")), run)
    later.tell(run.lines())
    later.finish()
    assert watched and lost(str(tmp_path / "runs")) == []
    assert len(open_store(tmp_path / "runs").get("1").metrics["loss"]) == POINTS


def test_what_is_copied_erased_binned_and_restored_is_whole(store, tmp_path):
    """All of these write files anew, or elsewhere."""
    assert main(["cp", "--verify", store, str(tmp_path / "other")]) == 0
    other = str(tmp_path / "other")
    curator = FileStoreCurator(other)
    assert curator.erase("epoch") > 0
    assert lost(other) == [] and verify(open_store(other).get("1")).whole
    curator.bin("1")
    assert FileStoreReader(other).read("1", binned=True).losses == []
    curator.restore("1")
    assert lost(other) == []


def test_a_run_whose_output_gets_shorter_after_its_end_is_whole(tmp_path):
    """A late line may take back a progress bar; the record then speaks of the shorter output."""
    run = a_run(tmp_path, UID + "01").add(events.Output(text="short\n", offset=0))
    tell(make_observer(str(tmp_path / "runs")), run)
    later = (
        a_run(tmp_path / "again", UID + "01")
        .add(events.Output(text="short\n", offset=0))
        .add(events.Output(text="ab", offset=0))
    )
    tell(make_observer(str(tmp_path / "runs")), later)
    assert open_store(tmp_path / "runs").get("1").output == "ab"
    assert lost(str(tmp_path / "runs")) == []


# ----------------------------------------------------------------------------------------------------- who is told


def test_the_commands_say_it(store, tmp_path, capsys):
    """Wherever one looks at the run: else half of the points are taken for the truth."""
    shutil.copytree(store, tmp_path / "whole")
    before, after = halve(os.path.join(store, "1", "metrics.jsonl"))
    sizes = f"metrics.jsonl was cut off: it has {after:,} of the {before:,} bytes that had been written"
    assert main(["show", f"--store={store}", "1"]) == 0
    assert sizes in capsys.readouterr().out
    for command in (
        ["ls"],
        ["best", "--max"],
        ["report", "-o", str(tmp_path / "page.html"), "1"],
        ["show", "--metrics", "1"],
    ):
        assert main([command[0], f"--store={store}", *command[1:]]) == 0
        told = capsys.readouterr().err
        assert "1 run is damaged: 1; capture verify --store=" in told and "1 says what is lost" in told, command
    assert main(["doctor", f"--store={store}"]) == 1
    told = capsys.readouterr().out
    assert f"run 1 is damaged: {sizes}" in told and "capture doctor --fix brings the points back" in told
    assert main(["diff", f"{tmp_path}/whole::1", f"{store}::1"]) == 1
    told = capsys.readouterr().out
    assert f"is damaged, and differs by that: {sizes}" in told and "nothing that was recorded differs" not in told
    assert main(["verify", f"--store={store}", "1"]) == 1
    told, footnote = capsys.readouterr()
    assert f"  metrics: {sizes}" in told and not footnote
    assert main(["verify", f"--store={store}", "--json", "1"]) == 1
    [problem] = json.loads(capsys.readouterr().out)[0]["problems"]
    assert (problem["kind"], problem["name"], problem["what"]) == ("metrics", "metrics.jsonl", "size")
    assert (problem["expected"], problem["found"]) == (before, after)


def test_output_that_is_lost_gives_tail_another_status(store, capsys):
    """To print nothing would say that the run printed nothing."""
    assert main(["tail", f"--store={store}", "1"]) == 0
    os.unlink(os.path.join(store, "1", "cout.txt"))
    capsys.readouterr()
    for command in (["tail", "1"], ["show", "--out", "1"]):
        assert main([command[0], f"--store={store}", *command[1:]]) == 1
        told = capsys.readouterr()
        assert told.out == "" and "1 run is damaged: 1" in told.err


def test_a_client_is_warned_once(store, caplog):
    """In a script nobody runs `capture verify`; the log says it, and `losses` has it for programs."""
    halve(os.path.join(store, "1", "metrics.jsonl"))
    with open_store(store) as opened:
        run = next(opened.find())
        assert len(run.metrics["loss"]) < POINTS and [loss.kind for loss in run.losses] == ["metrics"]
        list(run.metrics)
        assert len(run.output) == len(TEXT)
    [said] = [each.getMessage() for each in caplog.records if "damaged" in each.getMessage()]
    assert said.startswith("Run 1 is damaged: metrics.jsonl was cut off")


def test_a_copy_of_a_damaged_run_says_so_until_it_is_made_of_a_whole_one(store, tmp_path, capsys):
    """The shorter file is all that the copy knows of, so that nothing in it would tell."""
    other = str(tmp_path / "other")
    halve(os.path.join(store, "1", "metrics.jsonl"))
    for _ in range(2):
        assert main(["cp", "--verify", store, other]) == 1
        told, errors = capsys.readouterr()
        assert "the run it was made from is damaged: metrics.jsonl was cut off" in told and "compared" not in told
        assert open_store(other).get("1").tags == ["half-copied"]
    assert "is there already" in told, "there is nothing more to copy"
    assert main(["doctor", "--fix", f"--store={store}"]) == 0
    assert main(["cp", "--verify", store, other]) == 0
    copy = open_store(other).get("1")
    assert copy.tags == [] and len(copy.metrics["loss"]) == POINTS and verify(copy).whole


# ------------------------------------------------------------------------------------------------- what comes back


def points(store):
    series = open_store(store).get("1").metrics["loss"]
    return series.steps, series.values, series.times


@pytest.mark.parametrize("left", [0.0, 0.3, 0.5, 0.99, None])
def test_doctor_brings_back_points_that_sacreds_form_still_has(store, capsys, left):
    """It was made at the end of the run from the same points."""
    before = points(store)
    path = os.path.join(store, "1", "metrics.jsonl")
    if left is None:
        os.unlink(path)
    else:
        os.truncate(path, int(left * os.stat(path).st_size))
    assert main(["doctor", "--fix", "--dry-run", f"--store={store}"]) == 1
    assert "come back from metrics.json" in capsys.readouterr().out and lost(store) != []
    assert main(["doctor", "--fix", f"--store={store}"]) == 0
    assert "come back from metrics.json" in capsys.readouterr().out
    assert points(store) == before and lost(store) == []
    [found] = open_store(store).find()
    assert found.summary["loss"]["count"] == POINTS
    assert main(["verify", f"--store={store}", "1"]) == 0


def test_points_of_another_run_are_not_brought_back(store, capsys):
    """Where the points that are left are not the first of those in metrics.json, nobody knows which are right."""
    with open(os.path.join(store, "1", "metrics.json")) as stream:
        other = json.load(stream)
    other["loss"]["steps"][0] = 7
    with open(os.path.join(store, "1", "metrics.json"), "w") as stream:
        json.dump(other, stream)
    before, after = halve(os.path.join(store, "1", "metrics.jsonl"))
    assert main(["doctor", "--fix", f"--store={store}"]) == 1
    assert "bring metrics.jsonl back from a backup" in capsys.readouterr().out
    assert lost(store) == [("metrics.jsonl", before, after)]
