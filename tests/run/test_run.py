"""A run told to observers: order, states, what users record, nesting."""

from __future__ import annotations

import threading

import pytest

import capture
from capture import Experiment, Ingredient
from capture.errors import (
    CommandLineError,
    ConfigAddedError,
    ConfigTypeError,
    HookError,
    NoRunError,
    ObserverError,
    RequiredObserverError,
    SacredInterrupt,
    TimeoutInterrupt,
)
from capture.masking import Masker
from capture.pages.report import report
from capture.testing import FailingObserver, MemoryStore, RecordingObserver


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def ex(store):
    return Experiment("test", observers=[store])


def record_of(store, run):
    return store.record(run.uid)


def test_observers_are_told_in_the_order_in_which_things_happen(ex):
    """Stores that read this order can be built on it."""
    recording = RecordingObserver(label=7)
    ex.observers.append(recording)

    @ex.main
    def main(_run):
        print("hi")
        _run.log_scalar("loss", 1.0)
        return 3

    run = ex.run()
    names = [name for name in recording.names if name not in ("flush", "source_event", "opened_event")]
    assert names[0] == "started_event"
    assert names[-2:] == ["completed_event", "join"]
    assert "metrics_event" in names and "output_event" in names and "heartbeat_event" in names
    assert recording.of("completed_event")[0]["result"] == 3
    assert run.result == 3 and run.status == "COMPLETED"


def test_the_record_holds_what_the_run_was_and_did(ex, store, tmp_path):
    """The whole of it in one place."""
    data = tmp_path / "data.txt"
    data.write_text("input")

    @ex.config
    def config():
        lr = 0.1

    @ex.main
    def main(lr, _run):
        print("printed")
        _run.info["note"] = {"a": (1, 2)}
        _run.log_metrics({"loss": lr, "acc": 1}, step=4)
        _run.log_params({"found": 17})
        with _run.open_resource(data) as stream:
            assert stream.read() == "input"
        assert _run.add_artifact({"w": [1]}, name="weights.json") == "weights.json"
        assert _run.add_artifact(data, name="sub/copy.txt") == "sub/copy.txt"
        _run.add_tags("first")
        return {"done": True}

    run = ex.run(config_updates={"lr": 0.5}, tags=["given"], meta_info={"comment": "c"})
    record = record_of(store, run)
    assert record.status == "COMPLETED"
    assert record.config["lr"] == 0.5 and isinstance(record.config["seed"], int)
    assert record.result == {"done": True}
    assert record.info == {"note": {"a": (1, 2)}}
    assert record.params == {"found": 17}
    assert record.metrics["loss"].values == [0.5] and record.metrics["acc"].steps == [4]
    assert "printed\n" in record.output
    assert record.tags == ["given", "first"]
    assert record.meta["comment"] == "c" and record.meta["config_updates"] == {"lr": 0.5}
    assert record.resources[0].name == str(data) and record.resources[0].read() == b"input"
    assert record.artifact("sub/copy.txt").read() == b"input"
    assert b"w" in record.artifact("weights.json").read()
    assert record.experiment["mainfile"] == "test_run.py"
    assert "test_run.py" in [stored.name for stored in record.sources]


def test_a_run_starts_only_once(ex):
    """Its events have one beginning."""

    @ex.main
    def main():
        pass

    run = ex.run()
    with pytest.raises(RuntimeError, match="only be started once"):
        run()


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt, "INTERRUPTED"), (TimeoutInterrupt, "TIMEOUT"), (SacredInterrupt, "INTERRUPTED"), (ValueError, "FAILED")],
)
def test_an_exception_gives_its_status_and_reaches_the_caller(ex, store, error, status):
    """The caller decides what to do next; the record says what was."""

    @ex.main
    def main():
        raise error("x")

    with pytest.raises(error):
        ex.run()
    record = record_of(store, ex.current_run)
    assert record.status == ex.current_run.status == status
    assert record.stop_time is not None


def test_the_first_store_gives_the_label_and_the_others_are_offered_it(ex):
    """One number for one run, wherever it is."""
    first, second = RecordingObserver(label=12, priority=30), RecordingObserver(label=5, priority=1)
    ex.observers[:] = [second, first]
    seen = []

    @ex.main
    def main(_run):
        seen.append(_run._id)

    run = ex.run()
    assert seen == [12] and run._id == 12
    assert second.of("started_event")[0]["_id"] == 12


def test_without_a_label_the_id_is_the_short_uid(ex):
    """So that there is always something to call a run by."""
    ex.observers[:] = []

    @ex.main
    def main():
        pass

    run = ex.run()
    assert run._id == run.uid[-8:]


def test_a_failing_observer_touches_neither_the_run_nor_the_others(ex, store):
    """In Sacred one that fails at the start ends the run."""
    ex.observers.insert(0, FailingObserver({"started_event": [ValueError("broken")] * 50, "heartbeat_event": [OSError("x")]}))

    @ex.main
    def main(_run):
        _run.log_scalar("x", 1)
        return 1

    run = ex.run()
    assert run.result == 1
    assert record_of(store, run).metrics["x"].values == [1]


def test_a_required_observer_that_cannot_start_stops_the_run_before_main(ex, store):
    """Some labs would rather not run than run unrecorded."""
    ex.observers.append(FailingObserver({"started_event": [ValueError("no access")] * 50}, required=True))
    called = []

    @ex.main
    def main():
        called.append(1)

    with pytest.raises(RequiredObserverError, match="no access"):
        ex.run()
    assert called == []
    assert record_of(store, ex.current_run).status == "FAILED"


def test_an_observer_may_veto_a_run(ex):
    """Labs check quotas in started_event."""

    class Veto:
        def started_event(self, command):
            raise SacredInterrupt("over quota")

    ex.observers.append(Veto())
    called = []

    @ex.main
    def main():
        called.append(1)

    with pytest.raises(SacredInterrupt):
        ex.run()
    assert called == [] and ex.current_run.status == "INTERRUPTED"


def test_a_wrong_hook_is_refused_when_the_observer_is_added(ex):
    """Not an hour into training."""

    class Wrong:
        def started_event(self, confg):
            """Takes an argument that nobody passes."""

    with pytest.raises(HookError, match="did you mean: config"):
        ex.observers.append(Wrong())


def test_hooks_run_around_main_ingredients_first(store):
    """And only if main did not fail, those after."""
    told = []
    ing = Ingredient("ing")
    ex = Experiment("hooks", ingredients=[ing], observers=[store])
    ing.pre_run_hook(lambda: told.append("ing pre"))
    ex.pre_run_hook(lambda: told.append("ex pre"))
    ex.post_run_hook(lambda: told.append("ex post"))

    @ex.main
    def main():
        told.append("main")

    ex.run()
    assert told == ["ing pre", "ex pre", "main", "ex post"]


def test_nested_runs_are_separate_and_know_their_parent(ex, store):
    """Sacred's inner run overwrote the outer's configuration and reset its observers."""

    @ex.config
    def config():
        depth = 0

    @ex.capture
    def how_deep(depth):
        return depth

    @ex.main
    def main(depth, _run):
        print("depth", depth)
        _run.log_scalar("depth", depth)
        before = how_deep()
        if depth < 2:
            inner = ex.run(config_updates={"depth": depth + 1})
            assert inner.parent is _run
        assert how_deep() == before == depth
        return depth

    outer = ex.run()
    assert outer.result == 0
    records = {record.config["depth"]: record for record in store_records(store)}
    assert {depth: record.metrics["depth"].values for depth, record in records.items()} == {0: [0], 1: [1], 2: [2]}
    assert records[2].facts["parent"]["uid"] == records[1].uid
    assert "depth 2" in records[2].output


def store_records(store):
    return [store.record(uid) for uid in store.uids]


def test_runs_in_threads_do_not_mix(store):
    """Configuration, metrics and output of each are its own."""
    ex = Experiment("threads", observers=[store])

    @ex.config
    def config():
        k = 0

    @ex.capture
    def get(k):
        return k

    barrier = threading.Barrier(4)

    @ex.main
    def main(k, _run):
        barrier.wait(60)
        for _ in range(50):
            assert get() == k
            print("I am", k)
            _run.log_scalar("k", k)
        barrier.wait(60)

    errors = []

    def work(k):
        try:
            ex.run(config_updates={"k": k})
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for record in store_records(store):
        k = record.config["k"]
        assert record.metrics["k"].values == [k] * 50
        assert {line for line in record.output.splitlines() if line.startswith("I am")} == {f"I am {k}"}


def test_an_async_main_function_is_run(ex, store):
    """Data is fetched asynchronously these days."""
    import asyncio

    @ex.capture
    async def helper(seed):
        await asyncio.sleep(0)
        return seed

    @ex.main
    async def main(_run):
        return await helper()

    run = ex.run(config_updates={"seed": 5})
    assert run.result == 5 and record_of(store, run).result == 5


def test_a_queued_run_is_described_and_not_started(ex, store):
    """For workers that take it up later."""
    called = []

    @ex.main
    def main():
        called.append(1)

    run = ex.run(options={"--queue": True})
    assert called == [] and run.status == "QUEUED"
    record = record_of(store, run)
    assert record.status == "QUEUED" and record.queue_time is not None


def test_an_unobserved_run_tells_nobody(ex):
    """`-u`, and commands that only print."""
    recording = RecordingObserver()
    ex.observers[:] = [recording]

    @ex.main
    def main():
        return 1

    assert ex.run(options={"--unobserved": True}).result == 1
    ex.run("print_named_configs")
    assert recording.names == []


def test_an_intermediate_result_and_info_are_stored_before_the_end(ex, store):
    """A killed run should leave what it knew."""
    seen = threading.Event()

    class Watcher:
        def heartbeat_event(self, info, result):
            if info.get("epoch") == 3 and result == 0.5:
                seen.set()

    ex.observers.append(Watcher())

    @ex.main
    def main(_run):
        _run.result = 0.5
        _run.info["epoch"] = 3
        assert seen.wait(60)
        return 1.0

    ex.run()


def test_what_belongs_to_a_run_says_so_outside_of_one(ex):
    """Instead of an AttributeError on None."""
    for act in (lambda: ex.info, lambda: ex.log_scalar("x", 1), lambda: capture.log_scalar("x", 1)):
        with pytest.raises(NoRunError, match="no run is live"):
            act()


def test_a_run_that_is_over_records_nothing_more(ex):
    """An artifact added after the end would be lost silently."""

    @ex.main
    def main():
        pass

    run = ex.run()
    with pytest.raises(NoRunError, match="is COMPLETED"):
        run.add_artifact({"a": 1}, name="a.json")


class TestStartRun:
    """Recording without decorators."""

    def test_a_with_block_is_a_run(self, store):
        """The same record as a decorated script's."""
        with capture.start_run("plain", config={"lr": 0.1}, observers=[store], tags=["t"], notes="n") as run:
            print("inside")
            run.log_scalar("loss", 1.0)
            capture.log_metrics({"loss": 0.5})
            capture.log_params({"n": 3})
            run.result = 42
        record = record_of(store, run)
        assert (record.status, record.result, record.tags, record.notes) == ("COMPLETED", 42, ["t"], "n")
        assert record.config == {"lr": 0.1}
        assert record.metrics["loss"].values == [1.0, 0.5]
        assert record.params == {"n": 3}
        assert record.output == "inside\n"
        assert record.experiment["name"] == "plain"

    def test_an_exception_fails_it_and_passes(self, store):
        """As any context manager that is honest."""
        with pytest.raises(ZeroDivisionError), capture.start_run("plain", observers=[store]) as run:
            1 / 0
        record = record_of(store, run)
        assert record.status == "FAILED" and "ZeroDivisionError" in record.fail_trace[-1]

    def test_it_can_be_ended_by_hand(self, store):
        """For notebooks and long scripts."""
        run = capture.start_run("plain", observers=[store])
        assert run.status == "RUNNING" and capture.current_run() is run
        run.end()
        run.end()
        assert record_of(store, run).status == "COMPLETED"

    @pytest.mark.parametrize("kind", ["namespace", "dataclass", "mapping"])
    def test_the_configuration_may_be_what_the_script_has(self, store, kind):
        """argparse, dataclasses, mappings."""
        import argparse
        from collections import ChainMap
        from dataclasses import make_dataclass

        config = {
            "namespace": argparse.Namespace(lr=0.5),
            "dataclass": make_dataclass("C", [("lr", float)])(0.5),
            "mapping": ChainMap({"lr": 0.5}),
        }[kind]
        with capture.start_run("plain", config=config, observers=[store]) as run:
            assert run.config == {"lr": 0.5}

    def test_a_configuration_that_is_none_is_refused(self):
        """A number is no configuration."""
        with pytest.raises(TypeError, match="config is a dict"):
            capture.start_run("plain", config=3, observers=[])


def test_a_filter_of_the_users_own_is_applied_to_the_whole_output(ex, store):
    """Sacred's `captured_out_filter`: whatever text it returns is what is recorded."""
    ex.captured_out_filter = lambda text: text.upper().replace("SECRET", "...")

    @ex.main
    def main():
        for i in range(3):
            print("line", i, "secret")

    run = ex.run()
    assert record_of(store, run).output == "LINE 0 ...\nLINE 1 ...\nLINE 2 ...\n"
    assert "SECRET" not in run.captured_out.upper()


def test_commands_that_only_show_something_run_no_hooks(ex, capsys):
    """In Sacred `print_config` prepares the data first."""
    ex.pre_run_hook(lambda: pytest.fail("a hook ran"))

    @ex.main
    def main():
        pass

    ex.run("print_config")
    assert "Configuration" in capsys.readouterr().out


def test_build_config_gives_the_configuration_and_refuses_what_a_run_would_refuse(ex):
    """A launcher that asks first should hear the same answer."""

    @ex.config
    def config():
        lr = 0.1
        double = lr * 2

    @ex.main
    def main(lr):
        pytest.fail("nothing runs")

    assert ex.build_config({"lr": 2})["double"] == 4
    with pytest.raises(ConfigAddedError, match="did you mean:   lr"):
        ex.build_config({"lrr": 2})
    with pytest.raises(ConfigTypeError, match="seed"):
        ex.build_config({"seed": "s"})


def test_a_misspelt_hook_and_an_observer_without_any_are_refused(ex):
    """Both would be told nothing, and nobody would notice before the records are looked for."""

    class Misspelt:
        def started_event(self, command): ...

        def artifact_evnt(self, name): ...

    class Nothing: ...

    with pytest.raises(ObserverError, match="artifact_evnt: did you mean artifact_event"):
        ex.observers.append(Misspelt())
    with pytest.raises(ObserverError, match="none of the hooks"):
        ex.observers.append(Nothing())


def test_a_url_with_one_slash_is_not_taken_for_a_folder(ex):
    """It would record into a new folder called "lab:"."""

    @ex.main
    def main():
        pytest.fail("main ran")

    with pytest.raises(CommandLineError, match="did you mean:   lab://x"):
        ex.run(options={"--observe": ["lab:/x"]})


def test_a_label_that_another_store_gave_takes_over_no_queued_run(tmp_path):
    """Run 1 of one store and run 1 of another have nothing to do with each other."""
    first, second = tmp_path / "first", tmp_path / "second"
    queued = Experiment("queued", observers=[str(second)])
    queued.main(lambda: None)
    queued.run("<lambda>", options={"--queue": True})
    ex = Experiment("both", observers=[str(first), str(second)])

    @ex.main
    def main():
        return 3

    run = ex.run()
    assert sorted(run.labels.values()) == ["1", "2"]
    reader = capture.open_store(second)
    assert [(record.label, record.status) for record in reader.find()] == [("2", "COMPLETED"), ("1", "QUEUED")]
    started = ex.run(options={"--id": "1", "--observe": [str(second)], "--unobserved": False})
    assert started.labels
    assert capture.open_store(second).get("1").status == "COMPLETED"


def test_who_asks_for_a_label_that_is_taken_is_told(tmp_path, caplog):
    """Else the wrong run is tagged, and kept, under that number."""
    ex = Experiment("twice", observers=[str(tmp_path / "runs")])
    ex.main(lambda: None)
    ex.run("<lambda>", options={"--id": "5"})
    assert "taken" not in caplog.text
    again = ex.run("<lambda>", options={"--id": "5"})
    (label,) = again.labels.values()
    (said,) = [record.getMessage() for record in caplog.records if "taken" in record.getMessage()]
    assert said.startswith('ID "5" is taken in ') and said.endswith(f'this run has "{label}" there') and label != "5"


@pytest.mark.parametrize("token", ["tell-nobody-7f3a91", "tell-" + "nobody-" + "55c0de"], ids=["in the source", "from elsewhere"])
def test_a_source_that_holds_what_is_masked_is_named(tmp_path, caplog, token):
    """Sources are stored as they are: who sees a mask in the configuration would not expect the value beside it."""
    ex = Experiment("careless", observers=[str(tmp_path / "runs")])
    ex.add_config(api_token=token)
    ex.main(lambda: None)
    ex.run("<lambda>")
    stored = capture.open_store(tmp_path / "runs").get("latest")
    assert token not in str(stored.config)
    stands_there = token.endswith("7f3a91")
    (name,) = [source.name for source in stored.sources if source.name.endswith("test_run.py")]
    assert stored.facts["secrets"].get("in_sources") == ([name] if stands_there else None)
    assert ("holds a value that is masked" in caplog.text) == stands_there
    page = report([stored])
    assert token not in page
    said = " ".join(("left", "out:", "what", "is", "masked"))  # this file is on the page if the source is
    assert (said in page) == stands_there


def test_a_source_that_is_found_later_is_told_too():
    """A cell that was typed while the run went on: what was told before must not change with it, and seem to be all."""
    masker = Masker(environ={"API_TOKEN": "another-9d21b7"})
    masker.look_into_source("first.py", b"another-9d21b7")
    told = masker.facts()
    masker.look_into_source("second.py", b"another-9d21b7")
    assert (told["in_sources"], masker.facts()["in_sources"]) == (["first.py"], ["first.py", "second.py"])


def test_a_tag_is_a_string(ex):
    """A list among the tags would be stored, and found by nobody."""

    @ex.main
    def main(_run):
        with pytest.raises(TypeError, match="one by one"):
            _run.add_tags(["late"])
        _run.add_tags("late", "late")
        return list(_run.tags)

    assert ex.run().result == ["late"]


def test_a_store_that_is_not_there_is_said_to_be_missing(tmp_path):
    """An empty answer would be taken for an empty store."""
    with pytest.raises(FileNotFoundError, match="no store at"):
        capture.open_store(tmp_path / "typo")


def test_a_folder_with_a_saved_configuration_is_no_run(tmp_path):
    """`save_config` writes config.json beside the sources."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "config.json").write_text("{}")
    assert list(capture.open_store(tmp_path).find()) == []
