"""``capture cp``: runs move from store to store, whole, as often as one likes."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil

import pytest

from capture import events, open_store
from capture.calls import identity_of
from capture.cli import main
from capture.codec import encode
from capture.copying import CopyError, compare_copy, copy_run, foreign_uid
from capture.observers import FileStorageObserver, FileStoreCurator
from capture.records import FILES, StoredFile
from capture.testing.contract import differences, uid
from capture.testing.feed import Story, Teller, tell

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SACRED = os.path.join(ROOT, "tests", "golden", "sacred-0.8.7")


def story(tmp_path, mark: str = "01", end: bool = True) -> Story:
    """Return a run with a bit of everything."""
    told = Story(tmp_path / f"told{mark}", uid(mark)).queue().start(config={"lr": 0.1, "n": float("nan"), "t": (1, 2)})
    told.source("train.py", b"print(1)").source(".capture/lock.json", b"{}").resource("/data/in.csv", b"a,b")
    told.artifact("model.bin", bytes(1000), metadata={"kind": "weights"}, content_type="application/x")
    told.add(events.Output(text="epoch 1\nw\u00f6rld\n", offset=0), events.Facts(topic="params", facts={"depth": 3}))
    told.metrics(loss=[3.0, "nan", 2.0]).metric("val.acc", [1, 10**18])
    told.add(events.Annotated(tags=["good"], notes="first")).beat(info={"best": (1, 2)}, result=0.5)
    return told.complete(result={"score": 1}) if end else told


@pytest.fixture
def stores(tmp_path):
    """Return the paths of a store with two runs and of one that is not there yet."""
    for mark in ("01", "02"):
        tell(FileStorageObserver(tmp_path / "a"), story(tmp_path, mark))
    return str(tmp_path / "a"), str(tmp_path / "b")


def same(source: str, target: str, label: str, copy: str) -> list[str]:
    """Return in what the run and its copy differ."""
    supports = FileStorageObserver.supports
    return differences(open_store(source).get(label), open_store(target).get(copy), supports, ["opened_event"])


def test_runs_are_copied_whole_and_once(stores, capsys):
    """What arrives is what was there, bytes and all; a second time nothing is left to do."""
    source, target = stores
    assert main(["cp", "--verify", source, target]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^1 -> 1: \d+ events, 4 files, .*, compared$", out, re.M)
    assert out.endswith(f"2 of 2 runs copied to {target}\n")
    for label in ("1", "2"):
        assert same(source, target, label, label) == []
    before = {path: os.stat(path).st_mtime_ns for path, _, _ in os.walk(target)}
    assert main(["cp", source, target]) == 0
    assert "1 -> 1: is there already" in capsys.readouterr().out
    assert open_store(target).labels() == ["1", "2"]
    assert {path: os.stat(path).st_mtime_ns for path, _, _ in os.walk(target)} == before


def test_a_source_without_runs_is_no_success(stores, tmp_path, capsys):
    """It is a slip, mostly: another database of the server, or a file that is not there, which must not be made."""
    pytest.importorskip("sqlalchemy")
    _, target = stores
    nowhere = tmp_path / "nowhere.db"
    assert main(["cp", f"sqlite:///{nowhere}", target]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert not nowhere.exists()
    nowhere.touch()
    assert main(["cp", f"sqlite:///{nowhere}", target]) == 1
    assert "nowhere.db holds no runs" in capsys.readouterr().err


@pytest.mark.parametrize("condition", ["config.lr<1", "config.lr < 0.1", "'good' in tags", "status == 'COMPLETED'"])
def test_a_condition_in_place_of_the_target_makes_no_store(condition, stores, tmp_path, monkeypatch, capsys):
    """Who forgets TARGET would look for the copies in vain, and find a folder of an odd name."""
    monkeypatch.chdir(tmp_path)
    before = sorted(os.listdir())
    assert main(["cp", stores[0], condition]) == 2
    assert "reads as a condition" in capsys.readouterr().err and sorted(os.listdir()) == before
    os.mkdir("lr<1")
    for target in ("lr<1", "./config.lr<1", "lr=0.1", "my runs"):
        assert main(["cp", stores[0], target]) == 0
        assert open_store(target).labels() == ["1", "2"]


def test_a_scheme_that_nobody_knows_is_a_slip_of_the_command_line(stores, capsys):
    """The status tells a script that it is wrong itself, as for a store that is not there."""
    for arguments in (["cp", stores[0], "foo://x"], ["cp", "foo://x", "b"], ["ls", "--store=foo://x"]):
        assert main(arguments) == 2
        assert "no store has the URL scheme 'foo'" in capsys.readouterr().err


def test_some_runs_can_be_named_or_described(stores, capsys):
    """By label, by part of the uid, or by a condition."""
    source, target = stores
    assert main(["cp", source, target, "2"]) == 0
    assert [record.uid for record in open_store(target).find()] == [uid("02")]
    assert main(["cp", source, target, f'uid == "{uid("01")}" and config.lr < 0.2']) == 0
    assert len(open_store(target).labels()) == 2
    assert main(["cp", source, target, "7"]) == 1
    assert "holds no run '7'" in capsys.readouterr().err
    assert main(["cp", source, target, "config.lr <"]) == 2
    assert "config.lr <\n  " in capsys.readouterr().err


def test_a_label_that_is_taken_is_not_overwritten(stores, tmp_path):
    """Two people who each have a run 1 put them together."""
    source, target = stores
    tell(FileStorageObserver(target), story(tmp_path, "0a"))
    assert main(["cp", source, target]) == 0
    assert sorted(open_store(target).labels(), key=int) == ["1", "2", "3"]
    assert open_store(target).get("1").uid == uid("0a")


def test_what_came_since_is_added(tmp_path):
    """A copy of a run that was going on is completed by the next."""
    source, target = tmp_path / "a", tmp_path / "b"
    growing = story(tmp_path, end=False)
    teller = Teller(FileStorageObserver(source), growing)
    lines = growing.lines()
    teller.tell(lines)
    teller.flush()
    assert main(["cp", str(source), str(target)]) == 0
    growing.add(events.Output(text="late\n", offset=len("epoch 1\nw\u00f6rld\n".encode())))
    growing.metric("loss", [1.0], first=3).artifact("late.bin", b"late").beat(result=0.25).complete(7)
    teller.tell(growing.lines()[len(lines) :])
    teller.finish()
    assert main(["cp", "--verify", str(source), str(target)]) == 0
    assert same(str(source), str(target), "1", "1") == []


def test_an_interrupted_copy_goes_on(stores, monkeypatch):
    """The connection breaks after any number of events; what arrived is not told again."""
    source, target = stores
    wanted = len(story(__import__("pathlib").Path(target).parent / "x").events())
    real = FileStorageObserver._tell
    for allowed in range(1, wanted):
        left = [allowed]

        def breaks(self, *args, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise OSError("the disk is gone")
            return real(self, *args)

        with monkeypatch.context() as patch:
            patch.setattr(FileStorageObserver, "_tell", breaks)
            place = f"{target}{allowed}"
            main(["cp", source, place, "1"])
        assert main(["cp", "--verify", source, place, "1"]) == 0
        assert same(source, place, "1", "1") == []
        assert open_store(place).labels() == ["1"]


def test_a_lost_connection_is_tried_again(stores, monkeypatch):
    """A server that restarts is back in a second."""
    source, target = stores
    monkeypatch.setattr("capture.copying._PAUSES_S", (0, 0, 0))
    failures = iter([ConnectionError("reset"), TimeoutError("late")])
    real = FileStorageObserver.artifact_event

    def flaky(self, name, filename, **rest):
        error = next(failures, None)
        if error is not None:
            raise error
        return real(self, name, filename, **rest)

    monkeypatch.setattr(FileStorageObserver, "artifact_event", flaky)
    assert main(["cp", "--verify", source, target]) == 0


def test_records_of_sacred_move_by_the_same_command(tmp_path, capsys):
    """They have no uid: one is made that is the same each time."""
    target = str(tmp_path / "b")
    labels = open_store(SACRED).labels()
    code = main(["cp", "--verify", SACRED, target])
    out = capsys.readouterr().out
    assert code == (1 if "no bytes of" in out else 0)
    assert "differs" not in out
    assert len(open_store(target).labels()) == len(labels)
    main(["cp", SACRED, target])
    assert len(open_store(target).labels()) == len(labels)
    source, copy = open_store(SACRED).get(labels[0]), open_store(target).get(labels[0])
    assert encode([copy.config, copy.result, copy.info]) == encode([source.config, source.result, source.info])
    assert copy.output == source.output
    assert copy.uid == foreign_uid(identity_of(FileStorageObserver(SACRED)), source)
    assert [each.name for each in copy.artifacts] == [each.name for each in source.artifacts]


def test_a_run_that_went_another_way_is_refused(stores, tmp_path, capsys):
    """Mixing two runs would lie about both."""
    source, target = stores
    other = Story(tmp_path / "other", uid("01")).start().metrics(loss=[7.0]).complete()
    tell(FileStorageObserver(target), other)
    assert main(["cp", source, target, "1"]) == 1
    assert "has other points" in capsys.readouterr().err


def test_a_file_without_bytes_is_named(stores, capsys):
    """The copy cannot be whole then, and must not claim to be."""
    source, target = stores
    os.unlink(os.path.join(source, "1", "model.bin"))
    assert main(["cp", source, target, "1"]) == 1
    assert "has no bytes of: artifact model.bin" in capsys.readouterr().out
    assert open_store(target).get("1").status == "COMPLETED"


def damage(store: str) -> None:
    """Change a byte of an artifact, and of a source, of run 1, as a broken disk does."""
    record = open_store(store).get("1")
    for stored in (record.artifacts[0], record.sources[0]):
        path = stored.open().name
        os.chmod(path, 0o644)
        with open(path, "r+b") as stream:
            stream.write(b"!")


def targets(tmp_path) -> dict[str, str]:
    """Return URLs of stores that need no server, none of them there yet."""
    return {
        "file": str(tmp_path / "b"),
        "sqlite": f"sqlite:///{tmp_path / 'b.db'}",
        "tinydb": f"tinydb://{tmp_path / 'b_tiny'}",
        "memory": f"memory://{tmp_path / 'b'}",
    }


@pytest.mark.parametrize("kind", ["file", "sqlite", "tinydb", "memory"])
def test_a_damaged_file_is_left_out_and_named_and_all_else_is_copied(kind, stores, tmp_path, capsys):
    """A finished run must not arrive as a stump; nor may the copy, or a copy of the copy, claim to be whole."""
    source, again = stores[0], targets(tmp_path)[kind]
    before = open_store(source).get("1")
    damage(source)
    assert main(["cp", "--verify", source, again, "1"]) == 1
    out = capsys.readouterr().out
    assert "left out, since its bytes are damaged: artifact model.bin: they have the SHA-256" in out
    assert "source train.py" in out and "differs" not in out and ", compared" not in out
    copy = open_store(again).get("1")
    assert (copy.status, copy.result, copy.tags, copy.notes) == ("COMPLETED", {"score": 1}, ["good"], "first")
    assert copy.output == before.output
    for record_kind in FILES:
        described = [each.describe() for each in getattr(before, record_kind)]
        assert [each.describe() for each in getattr(copy, record_kind)] == described
    assert main(["verify", f"--store={again}", "1"]) == 1
    assert capsys.readouterr().out.count("its bytes are not there") == 2

    third = str(tmp_path / "third")
    assert main(["cp", again, third]) == 1
    assert "has no bytes of: artifact model.bin" in capsys.readouterr().out
    assert main(["verify", f"--store={third}", "--all"]) == 1

    assert main(["cp", source, again, "1"]) == 1  # still damaged: nothing to tell, and that is said again
    assert "is there already" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["file", "sqlite", "tinydb", "memory"])
def test_a_copy_without_some_bytes_is_completed_from_a_mended_source(kind, stores, tmp_path, capsys):
    """Who finds the files in a backup types the same command again."""
    source, again = stores[0], targets(tmp_path)[kind]
    backup = str(tmp_path / "backup")
    shutil.copytree(source, backup)
    damage(source)
    assert main(["cp", source, again, "1"]) == 1
    shutil.rmtree(source)
    os.rename(backup, source)
    assert main(["cp", "--verify", source, again, "1"]) == 0
    assert ", compared" in capsys.readouterr().out
    assert main(["verify", f"--store={again}", "1"]) == 0
    wanted, found = open_store(source).get("1"), open_store(again).get("1")
    assert differences(wanted, found, FileStorageObserver.supports, ["opened_event"]) == []
    assert main(["cp", source, again, "1"]) == 0
    assert "is there already" in capsys.readouterr().out


def test_a_file_that_cannot_be_read_keeps_no_other_from_being_copied(stores, monkeypatch, capsys):
    """A bad block of the disk is damage like any other; a lost connection is not."""
    source, target = stores
    real, errors = StoredFile.open, {"model.bin": OSError(errno.EIO, "Input/output error")}

    def opens(self):
        return broken(errors[self.name]) if self.name in errors else real(self)

    monkeypatch.setattr(StoredFile, "open", opens)
    assert main(["cp", source, target, "1"]) == 1
    assert "model.bin: they cannot be read: OSError" in capsys.readouterr().out
    assert open_store(target).get("1").status == "COMPLETED"
    errors["model.bin"] = ConnectionError("reset")
    assert main(["cp", source, target, "2"]) == 1
    assert "not copied: ConnectionError: reset" in capsys.readouterr().err


def broken(error: Exception):
    """Return a stream that raises."""

    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise error

    return Broken()


def test_a_copy_that_broke_off_says_so_until_it_is_completed(stores, monkeypatch, tmp_path, capsys):
    """Else a stump passes for a run that died, and a copy of it for the whole."""
    source, target = stores
    monkeypatch.setattr("capture.copying._PAUSES_S", ())
    with monkeypatch.context() as patch:
        patch.setattr(FileStorageObserver, "metrics_event", lambda *args, **rest: broken(ConnectionError()).read())
        assert main(["cp", source, target, "1"]) == 1
    FileStorageObserver(target).forget()
    assert open_store(target).get("1").tags == ["half-copied"]
    assert main(["verify", f"--store={target}", "1"]) == 1
    assert "a copy that broke off" in capsys.readouterr().out
    third = str(tmp_path / "third")
    assert main(["cp", target, third]) == 1
    assert "is itself a copy that broke off" in capsys.readouterr().out
    assert open_store(third).get("1").tags == ["half-copied"]
    assert main(["cp", target, third]) == 1
    assert "is there already" in capsys.readouterr().out
    FileStoreCurator(third).annotate("1", tags=["mine", "half-copied"])
    for store, tags in ((target, ["good"]), (third, ["mine"])):
        assert main(["cp", "--verify", source, store, "1"]) == 0
        copy = open_store(store).get("1")
        assert (copy.tags, copy.status) == (tags, "COMPLETED")
        assert main(["verify", f"--store={store}", "1"]) == 0


def test_a_run_that_is_being_written_there_is_left_alone(stores, monkeypatch, tmp_path):
    """Two writers of one run would tell it twice."""
    source, target = stores
    main(["cp", source, target, "1"])
    reader = open_store(target)
    monkeypatch.setattr(type(reader), "is_alive", lambda self, record: True)
    with pytest.raises(CopyError, match="being written"):
        copy_run(open_store(source).get("1"), "a", FileStorageObserver(target), reader, str(tmp_path))


def test_notes_that_were_made_there_stay(stores):
    """Who curated the copy did it for a reason."""
    source, target = stores
    main(["cp", source, target, "1"])
    FileStoreCurator(target).annotate("1", tags=["mine"])
    main(["cp", source, target, "1"])
    assert open_store(target).get("1").tags == ["mine"]


def test_a_comparison_finds_what_differs(stores, tmp_path):
    """`--verify` must be able to fail."""
    source, target = stores
    record = open_store(source).get("1")
    copied = copy_run(record, "a", FileStorageObserver(target), open_store(source), str(tmp_path / "spool"))
    main(["cp", source, target, "1"])
    with open(os.path.join(target, "1", "cout.txt"), "a") as stream:
        stream.write("more")
    compare_copy(record, open_store(target), copied)
    assert copied.differences == ["output"]
    assert all(getattr(record, kind) for kind in FILES)


def test_a_store_is_not_copied_to_itself(stores, capsys):
    """Under another name it is still the same."""
    source, _ = stores
    assert main(["cp", source, source + "/."]) == 2
    assert "are one store" in capsys.readouterr().err


def test_a_run_that_goes_on_is_left_for_later(stores, monkeypatch, capsys):
    """A snapshot would say that all its events are there, and what its own writer still delivers would be passed over."""
    source, target = stores
    reader = type(open_store(source).reader)
    monkeypatch.setattr(reader, "is_alive", lambda self, record: record.label == "1" and self.basedir == source)
    assert main(["cp", source, target]) == 1
    said = capsys.readouterr()
    assert "1: not copied: it is still going on" in said.err
    assert open_store(target).labels() == ["2"]


def test_a_copy_that_knows_more_is_not_set_back(tmp_path, capsys):
    """The source missed the end of the run, which the other store has."""
    source, target = tmp_path / "a", tmp_path / "b"
    whole = story(tmp_path)
    tell(FileStorageObserver(target), whole)
    teller = Teller(FileStorageObserver(source), whole)
    teller.tell(whole.lines()[:9])
    teller.flush()
    before = open_store(target).get("1").to_dict()
    assert main(["cp", str(source), str(target)]) == 1
    assert "knows more" in capsys.readouterr().err
    assert str(open_store(target).get("1").to_dict()) == str(before)


def test_one_run_that_cannot_be_read_keeps_no_other_from_being_copied(stores, capsys):
    """A torn file among ten thousand runs is no reason to copy none."""
    source, target = stores
    with open(os.path.join(source, "1", "config.json"), "w") as stream:
        stream.write("{")
    assert main(["cp", source, target]) == 1
    said = capsys.readouterr()
    assert "1: not copied: " in said.err and "config.json" in said.err
    assert said.out.endswith(f"1 of 2 runs copied to {target}, 1 not whole\n")
    assert [record.uid for record in open_store(target).find()] == [uid("02")]


def test_a_store_that_is_lost_ends_the_copying(stores, monkeypatch, capsys):
    """Each of ten thousand runs would wait for it."""
    source, target = stores
    monkeypatch.setattr("capture.copying._PAUSES_S", (0,))
    monkeypatch.setattr(FileStorageObserver, "_tell", lambda *args: (_ for _ in ()).throw(ConnectionError("gone")))
    assert main(["cp", source, target]) == 1
    said = capsys.readouterr()
    assert "1 more were not tried" in said.err
    assert said.err.count("not copied") == 1


def test_a_comparison_looks_at_what_is_said_of_files(stores, tmp_path):
    """Metadata and types of artifacts are part of the record."""
    source, target = stores
    main(["cp", source, target, "1"])
    record, reader = open_store(source).get("1"), open_store(target)
    copied = copy_run(record, "a", FileStorageObserver(target), reader, str(tmp_path / "spool"))
    record.artifacts[0].metadata = {"kind": "other"}
    compare_copy(record, reader, copied)
    assert copied.differences == ["artifacts"]


def test_a_run_without_a_heartbeat_gets_none(tmp_path):
    """Its result came with its end."""
    source, target = tmp_path / "a", tmp_path / "b"
    tell(FileStorageObserver(source), Story(tmp_path / "told", uid("01")).start().complete(5))
    assert main(["cp", "--verify", str(source), str(target)]) == 0
    assert same(str(source), str(target), "1", "1") == []


def test_a_condition_that_holds_for_no_run_is_no_success_and_tells_a_slip(stores, capsys):
    """Who mistypes a name learns that nothing was copied from more than a number."""
    source, target = stores
    assert main(["cp", source, target, "config.rl == 0.1"]) == 1
    told = capsys.readouterr()
    assert f"no run of file://{source} fulfils this condition" in told.err and "config.lr" in told.err
    assert told.out == "" and not os.path.exists(target)
    assert main(["cp", source, target, "config.lr =< 0.1"]) == 2
    assert main(["cp", source, target, "config.lr == 7", "2"]) == 0  # what is meant beside it is copied


def test_who_stops_the_copying_learns_how_far_it_went(stores, monkeypatch, capsys):
    """Of a thousand runs nobody wants to begin again, nor has to."""
    from capture.cli import cp

    source, target = stores
    copied = cp._Copying.copy

    def stopped(self, label, folder, show):
        if label == "2":
            raise KeyboardInterrupt
        return copied(self, label, folder, show)

    with monkeypatch.context() as patched:
        patched.setattr(cp._Copying, "copy", stopped)
        assert main(["cp", source, target]) == 130
    assert capsys.readouterr().err == f"stopped: 1 of 2 runs were copied to {target}; the same command goes on from here\n"
    assert main(["cp", source, target]) == 0
    assert "1 of 2 runs copied" in capsys.readouterr().out


def test_a_store_with_a_login_is_called_as_other_commands_call_it():
    """A line of stars where a password was tells nobody which database it is."""
    from capture.cli.cp import _shown

    assert _shown("mongodb://writer:secret@host/db", "mongodb://host/db") == "mongodb://host/db"
    assert _shown("elsewhere", "file:///data/elsewhere") == "elsewhere"
    assert "secret" not in _shown("mongodb://writer:secret@host/db", None)
