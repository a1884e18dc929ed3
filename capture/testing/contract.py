"""What every store has to do, as tests that another team runs on its own.

::

    from capture.testing import Backend, ObserverContract

    class TestRedis(ObserverContract):
        supports = {"metrics", "artifacts", "resources"}

        def backend(self, tmp_path):
            url = start_redis(tmp_path)
            return Backend(writer=RedisObserver(url), reader=RedisReader(url))

A backend is right when its reader gives back what `capture.records.fold` makes of the events that its writer was told
of, file bytes included; told once or twice, by one writer or several, with a crash between any two events. What a
backend does not say that it supports is shown as skipped.
"""

from __future__ import annotations

import hashlib
import json
import threading

import pytest

from capture import events
from capture.calls import check_hooks, hooks_of
from capture.codec import encode
from capture.errors import RunNotFoundError
from capture.file_marks import KINDS, mark, marks_of
from capture.hooks import CAPABILITIES, Curator, Reader
from capture.probes.lineage.manifests import manifest_of
from capture.records import FILES
from capture.testing.feed import OPENINGS, START_US, Story, Teller, describe, tell, told

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Any, ClassVar

    from capture.file_marks import Marked
    from capture.records import RunRecord

#: fields of `RunRecord.to_dict` that a store keeps only if it supports the capability
NEEDS = {
    "metrics": "metrics",
    "output": "output",
    "sources": "sources",
    "kept": "sources",
    "resources": "resources",
    "artifacts": "artifacts",
    "facts": "facts",
    "tags": "annotations",
    "notes": "annotations",
    "queue_time": "queue",
    "resumed": "resume",
}

#: fields that a store keeps only if its observer has the hook that tells them
HOOK_OF = {"writers": "opened_event", "extra": "unknown_event"}

VALUES: dict[str, Any] = {
    "not finite numbers": {"nan": float("nan"), "inf": float("inf"), "list": [1.0, float("-inf")]},
    "tuples, sets and bytes": {"t": (1, (2, 3)), "s": {1, 2}, "b": b"\x00\xff", "c": 1 + 2j},
    "keys that are no identifiers": {1: "int", (1, 2): "tuple", "": "empty", "a.b": "dot", "$set": "dollar", None: 0},
    "keys that look like tags": {"py/object": "os.system", "py/tuple": [1], "capture/int": "1", "json://1": 2},
    "text of the world": {"größe": "日本語 🎉 \u202e", "nul": "a\x00b", "line": "a\r\n\tb\u2028c"},
    "lone surrogates": {"name\udc80": "value\udcff"},
    "numbers beyond 64 bits": {"big": 10**40, "negative": -(10**30), "long": 2**63 - 1, "small": 5e-324},
    "a long text": {"text": "x" * 3_000_000},
    "deep nesting": {"a": {"b": {"c": {"d": {"e": [{"f": [[[1]]]}]}}}}},
    "empty things": {"d": {}, "l": [], "t": (), "s": "", "n": None, "f": False, "z": 0},
}

NAMES = (
    "plots/loss.png", "plots/deep/er/loss.png", "with space.txt", "größe/日本.txt", "dotted.name.tar.gz", ".hidden",
    "run.json", "config.json", "info.json", "metrics.json", "metrics.jsonl", "capture.json", "cout.txt", "$ref",
    "../outside.txt", "../../../etc/passwd", "/etc/passwd", "a/../b.txt", ".", "..", "a//b", "trailing.", "trailing ",
    "CON", "aux.txt", "a:b", "a\\b", "what?*", "new\nline", "x" * 300 + ".txt", "deep/" * 60 + "x", "nul\x00",
    "name\udc80",
)  # fmt: skip

#: what lineage says of files: as it mostly does, in odder ways, and in ways that only a damaged record has
USES: tuple[Any, ...] = (
    {"path": "/data/a.csv", "name": "a.csv", "digest": "a1" * 32, "size": 9, "mtime": 1.5},
    {"path": "/data/a.csv", "digest": "b2" * 32, "size": 10, "by": ["open"]},
    {"path": "/data/deep/b.csv", "name": "b.csv", "digest": None, "size": 7, "mtime": 2.25, "why": "it changed"},
    {"path": "/data/empty", "digest": hashlib.sha256(b"").hexdigest(), "size": 0},
    {"path": "/data/link", "real": "/mnt/disk/real", "name": "elsewhere", "digest": "c3" * 32, "size": 5},
    {"path": "/data/large", "digest": "d4" * 32, "size": 5 << 40, "sampled": True},
    {"path": "/data/large", "digest": None, "size": 5 << 40},
    {"path": "/data/whole", "digest": "e5" * 32, "size": 3 << 30},
    {"path": "C:\\data\\c.csv", "name": "data\\c.csv", "digest": "f6" * 32, "size": 3},
    {"path": "größe/\udcff", "name": "\udcff", "digest": "a7" * 32, "size": None},
    {"path": "/data/odd", "name": "", "digest": "ABC", "size": True},
    {"path": "/data/odder", "name": 5, "digest": "a1" * 4 + "é", "size": "many"},
    {"path": "/data/{Tiny", "name": "{TinyDate}:x", "digest": "{TinyFile}:x", "py/tuple": []},
    {"path": ("not", "a path"), "digest": "b8" * 32},
    {"path": None}, None, "text", {}, ["/data/listed"],
)  # fmt: skip
#: the list of a folder's files
MANIFEST = manifest_of([{"name": f"{n}.jpg", "size": n + 3, "digest": f"{n}9" * 32} for n in range(2)])


class Backend:
    """A store under test.

    Parameters
    ----------
    writer : object
        An observer.
    reader : Reader
    curator : Curator, optional
    """

    def __init__(self, writer: Any, reader: Reader, curator: Curator | None = None) -> None:
        self.writer, self.reader, self.curator = writer, reader, curator


def differences(
    wanted: RunRecord, found: RunRecord, supports: Iterable[str], hooks: Iterable[str], ordered: bool = True
) -> list[str]:
    """Say, field by field, in what two records differ.

    Parameters
    ----------
    wanted, found : RunRecord
    supports : iterable of str
        Capabilities of the store: fields that need others are not compared.
    hooks : iterable of str
        Hooks of its observer, likewise.
    ordered : bool
        Whether the order of files counts: not if several writers told of them at the same time.
    """
    expected, actual = wanted.to_dict(), found.to_dict()
    lines = []
    for name, value in expected.items():
        if NEEDS.get(name, "") not in {"", *supports} or HOOK_OF.get(name, "") not in {"", *hooks}:
            continue
        if name == "bytes":
            value, actual["bytes"] = (
                {file: digest for file, digest in each.items() if NEEDS[file.partition("/")[0]] in supports}
                for each in (value, actual["bytes"])
            )
        other = actual.get(name)
        if name == "experiment" and "facts" not in supports:  # which may tell of dependencies anew
            value, other = ({k: v for k, v in each.items() if k != "dependencies"} for each in (value, other or {}))
        if not ordered and name in FILES:
            value, other = sorted(value, key=str), sorted(other or (), key=str)
        lines += _compare(name, value, other)
    return lines


def _compare(path: str, wanted: Any, found: Any) -> list[str]:
    if isinstance(wanted, dict) and isinstance(found, dict) and all(isinstance(key, str) for key in (*wanted, *found)):
        lines = [f"{path}: {key!r} is missing" for key in wanted if key not in found]
        lines += [f"{path}: {key!r} is there, but was never told" for key in found if key not in wanted]
        for key in wanted:
            if key in found:
                lines += _compare(f"{path}[{key!r}]", wanted[key], found[key])
        return lines
    if _canonical(wanted) == _canonical(found):
        return []
    return [f"{path}:\n      told:  {_short(wanted)}\n      read:  {_short(found)}"]


def _canonical(value: Any) -> str:
    """Return text that is equal for values that a store need not tell apart."""
    return json.dumps(encode(value), sort_keys=True)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:200]} ... {text[-60:]} ({len(text):,} characters)"


class ObserverContract:
    """The conformance test of a store: subclass it as ``TestSomething`` and define `backend`.

    Attributes
    ----------
    supports : set of str
        Capabilities that the store claims, of `capture.hooks.CAPABILITIES`; tests of the others are skipped.
    exactly_once : bool
        Whether the store keeps an event once that it is told twice.
    """

    supports: ClassVar[Any] = CAPABILITIES
    exactly_once: ClassVar[bool] = True

    def backend(self, tmp_path: Path) -> Backend:
        """Return new objects for the store that belongs to `tmp_path`: the same store each time for the same folder."""
        raise NotImplementedError(f"{type(self).__name__} must define backend(self, tmp_path) -> Backend")

    # ------------------------------------------------------------------------------------------------ helpers

    def needs(self, *capabilities: str) -> None:
        """Skip the test if the store does not support this."""
        missing = [each for each in capabilities if each not in self.supports]
        if missing:
            pytest.skip(f"{type(self).__name__}.supports does not name {', '.join(missing)}")

    def needs_hooks(self, backend: Backend, *hooks: str) -> None:
        """Skip the test if the observer is not told of this."""
        missing = [each for each in hooks if each not in hooks_of(backend.writer)]
        if missing:
            pytest.skip(f"{type(backend.writer).__name__} has no hook {', '.join(missing)}")

    def check(self, backend: Backend, run: Any, *stories: Story) -> RunRecord:
        """Assert that the store gives back a run as it was told; return its record."""
        found = backend.reader.get(run)
        wrong = differences(told(*stories), found, self.supports, hooks_of(backend.writer), len(stories) == 1)
        assert not wrong, f"{backend.reader!r} does not give back run {run} as it was told:\n  " + "\n  ".join(wrong)
        return found

    def whole_story(self, folder: Path, uid: str, writer: str = "main") -> Story:
        """Return a story with a bit of everything that the store supports."""
        story = Story(folder, uid, writer)
        if "queue" in self.supports:
            story.queue()
        story.start()
        if "sources" in self.supports:
            story.source("train.py", b"print('hello')\n").source("lib/model.py", b"x = 1\n")
        if "facts" in self.supports:
            story.add(events.Facts(topic="params", facts={"depth": 3}))
        if "output" in self.supports:
            story.add(events.Output(text="epoch 1\n", offset=0), events.Output(text="wörld 10%\r", offset=8))
            story.add(events.Output(text="wörld 20%\n", offset=8))
        if "metrics" in self.supports:
            story.metrics(loss=[3.0, 2.5, 2.25]).metric("val.acc", [0.5, "nan", 1])
        story.beat(info={"best": (1, 0.5)}, result=0.25)
        if "resources" in self.supports:
            story.resource("/data/in.csv", b"a,b\n1,2\n")
        if "artifacts" in self.supports:
            story.artifact("model.bin", bytes(range(256)), metadata={"kind": "weights"}, content_type="application/x")
            story.artifact("plots/loss.svg", b"<svg/>")
        if "metrics" in self.supports:
            story.metric("loss", [2.0, "inf"], first=3)
        if "annotations" in self.supports:
            story.add(events.Annotated(tags=["good", "größer"], notes="first try"))
        story.beat(info={"best": (2, 0.25)}, result=0.125)
        if "output" in self.supports:
            story.add(events.Output(text="done\n", offset=19))
        return story.complete(result={"score": 0.125})

    # ----------------------------------------------------------------------------------------- the whole of it

    def test_the_observer_is_accepted(self, tmp_path):
        """Hooks with wrong arguments are refused when an observer is added, and what it supports must be words."""
        writer = self.backend(tmp_path).writer
        check_hooks(writer)
        unknown = set(self.supports) - CAPABILITIES
        assert not unknown, f"supports names {sorted(unknown)}; there are {', '.join(sorted(CAPABILITIES))}"
        undeclared = set(self.supports) - set(getattr(writer, "supports", ()))
        assert not undeclared, f"{type(writer).__name__}.supports lacks {sorted(undeclared)}, which this test claims"

    @pytest.mark.parametrize("error", [ConnectionError("refused"), TimeoutError("too slow")], ids=["lost", "late"])
    def test_a_lost_connection_may_pass(self, tmp_path, error):
        """An observer's own `transient` decides alone: if it forgets these, a short outage costs events."""
        judge = getattr(self.backend(tmp_path).writer, "transient", None)
        if judge is None:  # then exactly these errors are tried again
            return
        assert judge(error) is True, f"transient({error!r}) is {judge(error)!r}: ask super().transient(error) as well"

    def test_a_run_is_read_back_as_it_was_told(self, tmp_path):
        """This is what "stored" means."""
        backend = self.backend(tmp_path)
        story = self.whole_story(tmp_path / "told", uid("01"))
        label = tell(backend.writer, story)
        assert label is not None, f"{type(backend.writer).__name__}.started_event returned no label"
        found = self.check(backend, label, story)
        assert str(found.label) == str(label)
        self.check(self.backend(tmp_path), label, story)

    def test_a_run_is_readable_while_it_runs(self, tmp_path):
        """People watch their runs, and a run whose process was killed stays as it is now."""
        backend = self.backend(tmp_path)
        story = self.whole_story(tmp_path / "told", uid("01"))
        lines = story.lines()
        teller = Teller(backend.writer, story)
        teller.tell(lines[:-1])
        teller.flush()
        record = backend.reader.get(teller.label)
        assert record.status == "RUNNING"
        assert record.stop_time is None
        assert record.result == 0.125

    def test_what_is_told_twice_is_stored_once(self, tmp_path):
        """After a crash nobody knows what had arrived, so that it is told again."""
        self.needs_exactly_once()
        backend = self.backend(tmp_path)
        story = self.whole_story(tmp_path / "told", uid("01"))
        first = tell(backend.writer, story)
        assert tell(backend.writer, story) == first, "the run got a second label"
        assert tell(self.backend(tmp_path).writer, story) == first, "a new observer gave the run a second label"
        self.check(backend, first, story)
        assert len(backend.reader.labels()) == 1

    def test_a_crash_between_any_two_events_loses_and_doubles_nothing(self, tmp_path):
        """A new process goes on from what was acknowledged last, whatever had been told or even stored meanwhile."""
        self.needs_exactly_once()
        story = self.whole_story(tmp_path / "told", uid("01"))
        lines = story.lines()
        for cut in range(1, len(lines) + 1):
            place = tmp_path / f"store{cut}"
            place.mkdir()
            acknowledged = cut // 2
            dying = Teller(self.backend(place).writer, story)
            dying.tell(lines[:acknowledged])
            if acknowledged:
                dying.flush()
            dying.tell(lines[acknowledged:cut])
            if cut % 2:
                dying.flush()  # it was stored, and the process died before it could write down that it was
            backend = self.backend(place)
            heir = Teller(backend.writer, story)
            heir.tell(line for line in lines if line.seq > acknowledged or line.kind in OPENINGS)
            heir.finish()
            after = lines[cut - 1].kind
            try:
                self.check(backend, uid("01"), story)
                assert len(backend.reader.labels()) == 1
            except AssertionError as error:
                raise AssertionError(
                    f"crash after event {cut} ({after}), with {acknowledged} events acknowledged: {error}"
                ) from None

    def test_what_was_refused_before_the_start_is_taken_later(self, tmp_path):
        """A store may refuse the first event, for a wrong password, and get it again when all others have arrived."""
        self.needs_exactly_once()
        backend = self.backend(tmp_path)
        self.needs_hooks(backend, "opened_event")
        story = self.whole_story(tmp_path / "told", uid("01"))
        lines = story.lines()
        teller = Teller(backend.writer, story)
        teller.tell(line for line in lines if line.kind != "opened")
        teller.flush()
        again = Teller(self.backend(tmp_path).writer, story)
        again.tell(line for line in lines if line.kind in OPENINGS)
        again.flush()
        self.check(backend, uid("01"), story)

    def needs_exactly_once(self) -> None:
        """Skip the test if the store does not recognise what it was told before."""
        if not self.exactly_once:
            pytest.skip(f"{type(self).__name__}.exactly_once is False")

    # -------------------------------------------------------------------------------------------- several runs

    def test_two_runs_at_once_do_not_mix(self, tmp_path):
        """One process may run two experiments, and their observer is one object."""
        backend = self.backend(tmp_path)
        stories = [self.whole_story(tmp_path / name, uid(name)) for name in ("0a", "0b")]
        tellers = [Teller(backend.writer, story) for story in stories]
        for pair in zip(*[story.lines() for story in stories]):
            for teller, line in zip(tellers, pair):
                teller.tell([line])
        labels = [teller.finish() for teller in tellers]
        assert labels[0] != labels[1]
        for label, story in zip(labels, stories):
            self.check(backend, label, story)

    def test_a_label_is_given_for_good_before_it_is_returned(self, tmp_path):
        """It is printed and passed on at once; a process that dies in the next moment must not have lied."""
        self.needs_exactly_once()
        first, second = Story(tmp_path / "a", uid("0a")).start(), Story(tmp_path / "b", uid("0b")).start()
        label = Teller(self.backend(tmp_path).writer, first).tell(first.lines())  # dies before it flushes
        other = tell(self.backend(tmp_path).writer, second)
        assert str(other) != str(label), f"label: {label!r} was given, not yet flushed, and then given to another run"
        again = tell(self.backend(tmp_path).writer, first)
        assert str(again) == str(label), f"label: the run was called {label!r}, and {again!r} when it was told again"

    def test_two_writers_of_one_run_both_arrive(self, tmp_path):
        """A child process tells its own part of a run, at the same time, through an observer of its own."""
        self.needs("metrics")
        first, second = self.backend(tmp_path), self.backend(tmp_path)
        self.needs_hooks(first, "opened_event", "metrics_event")
        main = self.whole_story(tmp_path / "main", uid("01"))
        child = Story(tmp_path / "child", uid("01"), "child-1").metrics(**{"child.loss": [1.0, 2.0]})
        if "artifacts" in self.supports:
            child.artifact("child.txt", b"from the child").artifact("plots/child.svg", b"<svg>child</svg>")
        child.metric("loss", [9.0], first=100)
        one, two = Teller(first.writer, main), Teller(second.writer, child)
        lines, more = main.lines(), child.lines()
        one.tell(lines[:8])
        one.flush()
        two.tell(more[:2])
        one.tell(lines[8:12])
        two.flush()
        one.flush()
        two.tell(more[2:])
        one.tell(lines[12:])
        label = one.finish()
        two.finish()
        self.check(first, label, main, child)

    def test_labels_are_unique_under_threads(self, tmp_path):
        """A sweep starts many runs in the same second."""
        backends = [self.backend(tmp_path) for _ in range(6)]
        labels: list[Any] = []
        errors: list[BaseException] = []
        ready = threading.Barrier(len(backends))

        def work(number: int) -> None:
            try:
                stories = [Story(tmp_path / f"{number}-{i}", uid(f"{number}{i}")).start() for i in range(4)]
                ready.wait()
                labels.extend([tell(backends[number].writer, story) for story in stories])
            except BaseException as error:  # noqa: BLE001 - raised again below, in the thread of the test
                errors.append(error)
                ready.abort()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(len(backends))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        assert len({str(label) for label in labels}) == len(labels) == 24, f"labels were given twice: {sorted(labels)}"
        assert sorted(map(str, self.backend(tmp_path).reader.labels())) == sorted(map(str, labels))

    def test_an_offered_label_is_taken_if_it_is_free(self, tmp_path):
        """With two stores the second should call a run as the first does, but never overwrite one of its own."""
        backend = self.backend(tmp_path)
        first, second = Story(tmp_path / "a", uid("0a")).start().complete(), Story(tmp_path / "b", uid("0b")).start()
        assert str(tell(backend.writer, first, offered=17)) == "17"
        other = tell(backend.writer, second, offered=17)
        assert str(other) != "17", "two runs have one label"
        self.check(backend, 17, first)
        self.check(backend, other, second)

    def test_a_label_asked_for_does_not_overwrite(self, tmp_path):
        """Nobody loses a run because a name was used twice."""
        backend = self.backend(tmp_path)
        first = Story(tmp_path / "a", uid("0a")).start("baseline").complete(1)
        second = Story(tmp_path / "b", uid("0b")).start("baseline").complete(2)
        assert str(tell(backend.writer, first)) == "baseline"
        other = tell(backend.writer, second)
        assert str(other) != "baseline"
        self.check(backend, "baseline", first)
        self.check(backend, other, second)

    # -------------------------------------------------------------------------------------------- states and endings

    @pytest.mark.parametrize("status", ["INTERRUPTED", "TIMEOUT", "PREEMPTED", "EARLY_STOP"])
    def test_an_interruption_keeps_its_status(self, tmp_path, status):
        """Experiments may end with statuses of their own."""
        backend = self.backend(tmp_path)
        story = Story(tmp_path / "told", uid("01")).start().beat(result=1)
        story.add(events.Interrupted(interrupt_time=story.moment(), status=status))
        assert self.check(backend, tell(backend.writer, story), story).status == status

    def test_a_failure_keeps_its_trace(self, tmp_path):
        """The trace is what one looks for first."""
        backend = self.backend(tmp_path)
        story = Story(tmp_path / "told", uid("01")).start()
        trace = ["Traceback (most recent call last):\n", '  File "train.py", line 3\n', "ValueError: größe \udc80\n"]
        story.add(events.Failed(fail_time=story.moment(), fail_trace=trace))
        found = self.check(backend, tell(backend.writer, story), story)
        assert found.status == "FAILED"
        assert found.fail_trace == trace

    def test_a_queued_run_can_be_started_by_another_process(self, tmp_path):
        """The run that starts has a uid of its own, is offered the label, and takes it over: a queue knows only labels.

        The record is the fold of both, what was queued first.
        """
        self.needs("queue")
        queued = Story(tmp_path / "queue", uid("0a")).queue()
        label = tell(self.backend(tmp_path).writer, queued)
        assert self.check(self.backend(tmp_path), label, queued).status == "QUEUED"
        other = tell(self.backend(tmp_path).writer, Story(tmp_path / "other", uid("0d")).queue(label))
        assert str(other) != str(label), f"label: {label!r}, that of a queued run, was given to another that is queued"
        self.check(self.backend(tmp_path), label, queued)
        backend = self.backend(tmp_path)
        started = Story(tmp_path / "run", uid("0b")).start(label, config={"lr": 0.5}).complete(3)
        found = tell(backend.writer, started)
        assert str(found) == str(label), (
            f"label:\n      told:  {label!r}, that of a run that is queued\n      read:  {found!r}; "
            "started_event has to take over a queued run whose label it is offered"
        )
        self.check(backend, label, queued, started)
        third = Story(tmp_path / "late", uid("0c")).start(label)
        assert str(tell(backend.writer, third)) != str(label), (
            f"label: {label!r} was given to a second run that started; one that is not queued any more is nobody else's"
        )
        if self.exactly_once:
            again = tell(self.backend(tmp_path).writer, queued)
            assert str(again) == str(label), (
                f"label: when queued_event was told again after the run had started, it gave {again!r}, not {label!r}"
            )
            self.check(self.backend(tmp_path), label, queued, started)

    def test_a_run_can_be_resumed(self, tmp_path):
        """What comes after the resumption follows what was there."""
        self.needs("resume")
        first = self.whole_story(tmp_path / "first", uid("01"))
        label = tell(self.backend(tmp_path).writer, first)
        second = Story(tmp_path / "second", uid("01"), "resumed-1")
        second.add(events.Resumed(resume_time=second.moment()))
        if "output" in self.supports:
            second.add(events.Output(text="once more\n", offset=24))
        if "metrics" in self.supports:
            second.metric("loss", [1.0], first=5)
        if "artifacts" in self.supports:
            second.artifact("more/model.bin", b"second").artifact("model.bin", b"replaced")
        second.beat(result=7)
        second.add(events.Failed(fail_time=second.moment(), fail_trace=["boom\n"]))
        backend = self.backend(tmp_path)
        tell(backend.writer, second)
        self.check(backend, label, first, second)

    # -------------------------------------------------------------------------------------------- values

    @pytest.mark.parametrize("kind", VALUES)
    def test_values_are_kept(self, tmp_path, kind):
        """Configs, infos and results hold whatever Python has."""
        backend, value = self.backend(tmp_path), VALUES[kind]
        story = Story(tmp_path / "told", uid("01"))
        story.start(config=value, meta_info={"comment": value}).beat(info=value, result=value)
        if "facts" in self.supports:
            story.add(events.Facts(topic="kind: " + kind, facts=value))
        story.complete(result=value)
        self.check(backend, tell(backend.writer, story), story)

    def test_numpy_values_are_kept(self, tmp_path):
        """Numbers come from numpy more often than not."""
        numpy = pytest.importorskip("numpy")
        backend = self.backend(tmp_path)
        value = {"array": numpy.arange(6.0).reshape(2, 3), "nan": numpy.float32("nan"), "flag": numpy.bool_(True)}
        story = Story(tmp_path / "told", uid("01")).start(config=value).beat(info=value).complete(numpy.float64(0.5))
        self.check(backend, tell(backend.writer, story), story)

    def test_nothing_that_a_record_holds_is_run(self, tmp_path):
        """A record is data: whoever can write into a store must not get to run code where it is read."""
        backend = self.backend(tmp_path)
        trap = tmp_path / "trap"
        evil = {"py/reduce": [{"py/function": "os.mkdir"}, {"py/tuple": [str(trap)]}]}
        story = Story(tmp_path / "told", uid("01")).start(config={"x": evil}).beat(info=evil).complete(evil)
        self.check(backend, tell(backend.writer, story), story)
        assert not trap.exists(), "reading the record ran what it holds"

    @pytest.mark.parametrize("name", ["loss", "val.acc", "$x", "größe", "a b", "a/b", "", "metric\n", "x" * 500])
    def test_metrics_may_have_any_name(self, tmp_path, name):
        """Names come from people and from frameworks."""
        self.needs("metrics")
        backend = self.backend(tmp_path)
        story = Story(tmp_path / "told", uid("01")).start().metric(name, [1, 2.5, "nan", "inf", "-inf", 10**17])
        self.check(backend, tell(backend.writer, story.complete()), story)

    def test_many_points_in_many_batches_are_kept_in_order(self, tmp_path):
        """Series are long, and arrive in pieces."""
        self.needs("metrics")
        backend = self.backend(tmp_path)
        story = Story(tmp_path / "told", uid("01")).start()
        for batch in range(20):
            story.metric("loss", [float(i) for i in range(500)], first=500 * batch)
            story.metric("acc", [batch], first=batch)
        found = self.check(backend, tell(backend.writer, story.complete()), story)
        assert len(found.metrics["loss"]) == 10_000
        assert found.metrics["loss"].times == sorted(found.metrics["loss"].times)

    def test_output_is_replaced_from_an_offset_on(self, tmp_path):
        """That is how progress bars are kept to one line."""
        self.needs("output")
        backend = self.backend(tmp_path)
        story = Story(tmp_path / "told", uid("01")).start()
        for percent in range(0, 101, 20):
            story.add(events.Output(text=f"{percent} %\n", offset=0))
        story.add(events.Output(text="ü" * 100_000, offset=6), events.Output(text="end\n", offset=6 + 100_000))
        found = self.check(backend, tell(backend.writer, story.complete()), story)
        assert found.output == "100 %\n" + "ü" * 50_000 + "end\n"

    def test_a_run_with_nothing_in_it_is_kept(self, tmp_path):
        """No config, no output, no result: the fact that it ran is a result."""
        backend = self.backend(tmp_path)
        story = Story(tmp_path / "told", uid("01"))
        story.start(config={}, ex_info={}, host_info={}, meta_info={}, command="").complete()
        self.check(backend, tell(backend.writer, story), story)

    def test_tags_and_notes_can_be_set_and_cleared(self, tmp_path):
        """None leaves what was there, an empty list does not."""
        self.needs("annotations")
        backend = self.backend(tmp_path)
        story = Story(tmp_path / "told", uid("01")).start()
        story.add(events.Annotated(tags=["a"], notes="n"), events.Annotated(tags=[]), events.Annotated(notes="größe"))
        found = self.check(backend, tell(backend.writer, story), story)
        assert (found.tags, found.notes) == ([], "größe")

    def test_events_of_a_later_version_are_kept(self, tmp_path):
        """A store that was written by a newer library loses nothing when an older one delivers."""
        backend = self.backend(tmp_path)
        self.needs_hooks(backend, "unknown_event")
        payload = {"e": "teleported", "s": 0, "t": 0.0, "to": [1, {"x": None}]}
        story = Story(tmp_path / "told", uid("01")).start()
        story.add(events.Unknown(kind="teleported", payload=payload)).complete()
        found = self.check(backend, tell(backend.writer, story), story)
        assert found.extra[0]["to"] == [1, {"x": None}]

    def test_facts_keep_their_topics_to_the_letter(self, tmp_path):
        """Topics come from people; two that differ in case only are two."""
        self.needs("facts")
        backend = self.backend(tmp_path)
        story = Story(tmp_path / "told", uid("01")).start()
        for number, topic in enumerate(["GPU", "gpu", "Grid Job", "a.b", "a/b", "größe", ""]):
            story.add(events.Facts(topic=topic, facts={"Number": number}))
        story.add(events.Facts(topic="gpu", facts=["replaced"])).complete()
        self.check(backend, tell(backend.writer, story), story)

    def test_what_the_library_keeps_is_no_source(self, tmp_path):
        """A patch or a lock is stored as sources are, and is none: who lists the code of a run does not want it."""
        self.needs("sources")
        backend = self.backend(tmp_path)
        story = Story(tmp_path / "told", uid("01")).start()
        story.source("main.py", b"print(1)\n").source(".capture/git/main.patch", b"\x00 changed").complete()
        found = self.check(backend, tell(backend.writer, story), story)
        assert [stored.name for stored in found.sources] == ["main.py"]
        assert [(stored.name, stored.read()) for stored in found.kept] == [(".capture/git/main.patch", b"\x00 changed")]

    def test_imports_known_at_the_end_complete_the_dependencies(self, tmp_path):
        """What is imported inside of functions is known late, and belongs where viewers look for dependencies."""
        self.needs("facts")
        backend = self.backend(tmp_path)
        facts = {"dependencies": ["numpy==2.1.0", "pandas==2.2.3"], "modules": 812}
        story = Story(tmp_path / "told", uid("01")).start().add(events.Facts(topic="imports", facts=facts)).complete()
        found = self.check(backend, tell(backend.writer, story), story)
        assert found.experiment["dependencies"] == ["numpy==2.1.0", "pandas==2.2.3"]

    # -------------------------------------------------------------------------------------------- files

    def test_artifacts_may_have_any_name(self, tmp_path):
        """Every name gives back its own bytes, and none leads out of the store."""
        self.needs("artifacts")
        outside = tmp_path / "store"
        outside.mkdir()
        backend = self.backend(outside)
        story = Story(tmp_path / "told", uid("01")).start()
        for number, name in enumerate(NAMES):
            story.artifact(name, f"bytes {number}".encode())
        label = tell(backend.writer, story.complete())
        found = self.check(backend, label, story)
        assert [stored.name for stored in found.artifacts] == list(NAMES)
        assert sorted(each.name for each in tmp_path.iterdir()) == ["store", "told"], "something was written outside"

    def test_names_that_meet_in_one_file_name_are_kept_apart(self, tmp_path):
        """Some systems do not tell upper from lower case, or take a file for a folder."""
        self.needs("artifacts")
        backend = self.backend(tmp_path)
        story = Story(tmp_path / "told", uid("01")).start()
        for number, name in enumerate(["loss", "Loss", "LOSS", "loss/a", "a/b", "a", "a/b/c", "a\\b", "a_b"]):
            story.artifact(name, f"bytes {number}".encode())
        self.check(backend, tell(backend.writer, story.complete()), story)

    def test_an_artifact_of_the_same_name_replaces_the_earlier_one(self, tmp_path):
        """The run numbers clashing names itself; what arrives under one name is one artifact."""
        self.needs("artifacts")
        backend = self.backend(tmp_path)
        story = Story(tmp_path / "told", uid("01")).start()
        story.artifact("model.bin", b"old").artifact("other", b"old").artifact("model.bin", b"new and longer")
        found = self.check(backend, tell(backend.writer, story.complete()), story)
        assert found.artifact("model.bin").read() == b"new and longer"
        assert found.artifact("other").read() == b"old"

    def test_resources_of_equal_content_are_told_apart(self, tmp_path):
        """Equal bytes are stored once, but each file was read."""
        self.needs("resources")
        backend = self.backend(tmp_path)
        story = Story(tmp_path / "told", uid("01")).start()
        for name, data in [("/a/x.csv", b"1"), ("/b/x.csv", b"1"), ("/b/y.csv", b"1"), ("/a/x.csv", b"2")]:
            story.resource(name, data)
        story.resource("/a/x.csv", b"1").resource("/empty", b"")
        found = self.check(backend, tell(backend.writer, story.complete()), story)
        assert [stored.read() for stored in found.resources] == [b"1", b"1", b"1", b"2", b""]

    def test_a_file_is_listed_though_nothing_but_its_md5_is_known(self, tmp_path):
        """Sacred's MongoDB only names resources: a copy that does not name them seems whole and is not."""
        self.needs("resources", "artifacts")
        backend = self.backend(tmp_path)
        self.needs_hooks(backend, "listed_event")
        story = Story(tmp_path / "told", uid("01")).start()
        known = {"md5": "0cc175b9c0f1b6a831c399e269772661"}
        story.add(events.Listed(kind="resource", filename="/data/in.csv", metadata=known, digest="", size=0))
        story.add(events.Listed(kind="artifact", filename="m.bin", digest="", size=0)).complete()
        found = self.check(backend, tell(backend.writer, story), story)
        ((resource,), (artifact,)) = found.resources, found.artifacts
        assert (resource.name, resource.metadata, artifact.name) == ("/data/in.csv", known, "m.bin")
        for stored in (resource, artifact):
            assert (stored.digest, stored.size, stored.is_only_listed) == (None, None, True)

    def test_a_file_whose_bytes_are_lost_is_listed_and_can_be_completed(self, tmp_path):
        """A copy of a damaged store says what it lacks, and gets it from one that has been mended."""
        self.needs("sources", "resources", "artifacts")
        backend = self.backend(tmp_path)
        self.needs_hooks(backend, "listed_event")
        story = Story(tmp_path / "told", uid("01")).start()
        files = [("source", "train.py"), ("source", ".capture/lock"), ("resource", "/a.csv"), ("artifact", "run.json")]
        for kind, name in files:
            more = {"metadata": {"a": (1, 2)}, "content_type": "a/b"} if kind == "artifact" else {}
            digest = hashlib.sha256(name.encode()).hexdigest()
            story.add(events.Listed(kind=kind, filename=name, digest=digest, size=len(name), **more))
        teller = Teller(backend.writer, story.complete())
        lines = story.lines()
        teller.tell(lines)
        label = teller.finish()
        found = self.check(backend, label, story)
        for kind in FILES:
            for stored in getattr(found, kind):
                assert stored.is_only_listed
                with pytest.raises(FileNotFoundError):
                    stored.open()
        story.source("train.py", b"train.py").source(".capture/lock", b".capture/lock").resource("/a.csv", b"/a.csv")
        story.artifact("run.json", b"run.json", metadata={"a": (1, 2)}, content_type="a/b")
        teller.tell(story.lines()[len(lines) :])
        teller.finish()
        found = self.check(backend, label, story)
        assert {stored.name: stored.read().decode() for kind in FILES for stored in getattr(found, kind)} == {
            name: name for _, name in files
        }

    def test_runs_share_their_sources(self, tmp_path):
        """Ten runs of one script must not need ten copies, nor lose theirs when the script changes."""
        self.needs("sources")
        backend = self.backend(tmp_path)
        stories = [
            Story(tmp_path / str(i), uid(f"0{i}")).start().source("train.py", text).complete()
            for i, text in enumerate([b"v1", b"v1", b"v2"])
        ]
        labels = [tell(backend.writer, story) for story in stories]
        for label, story in zip(labels, stories):
            self.check(backend, label, story)

    def test_a_big_file_is_kept(self, tmp_path):
        """Bytes are not held in memory as a whole, nor cut."""
        self.needs("artifacts")
        backend = self.backend(tmp_path)
        data = bytes(range(256)) * 20_000
        story = Story(tmp_path / "told", uid("01")).start().artifact("model.bin", data).complete()
        self.check(backend, tell(backend.writer, story), story)

    # -------------------------------------------------------------------------------------------- the reader

    def three_runs(self, tmp_path: Path) -> tuple[Backend, list[Any]]:
        """Return a store that holds three runs, and their labels."""
        backend, labels = self.backend(tmp_path), []
        for number, (lr, status) in enumerate([(0.1, "ok"), (0.2, "ok"), (0.1, "bad")]):
            story = Story(tmp_path / f"told{number}", uid(f"{number}{number}"))
            story.start(
                config={"lr": lr, "net": {"depth": number}, "a.b": number},
                ex_info={**describe()["ex_info"], "name": f"ex{number}"},
            )
            if status == "ok":
                story.complete(number)
            else:
                story.add(events.Failed(fail_time=story.moment(), fail_trace=["boom"]))
            labels.append(tell(backend.writer, story))
        return backend, labels

    def test_a_run_is_found_by_label_uid_parts_of_it_and_place(self, tmp_path):
        """People name a run by whatever they have in front of them."""
        backend, labels = self.three_runs(tmp_path)
        get = backend.reader.get
        for number, label in enumerate(labels):
            own = uid(f"{number}{number}")
            for name in (label, str(label), own, own[:14], own[-8:], number - 3):
                assert get(name).uid == own, f"get({name!r})"
        assert get("latest").uid == get(-1).uid == get("-1").uid == uid("22")
        assert [str(label) for label in backend.reader.labels()] == [str(label) for label in labels]

    def test_a_run_that_is_not_there_is_an_error_that_says_what_is(self, tmp_path):
        """A slip in a label is the usual case."""
        backend, labels = self.three_runs(tmp_path)
        for missing in ("nosuchrun", -4, 99999):
            with pytest.raises(RunNotFoundError) as error:
                backend.reader.get(missing)
            assert str(labels[0]) in str(error.value), f"the message names no labels: {error.value}"
        with pytest.raises(RunNotFoundError):
            backend.reader.get(uid("00")[:5])  # the beginning of all three uids

    def test_an_empty_store_has_no_runs(self, tmp_path):
        """The first thing that somebody does is to look."""
        reader = self.backend(tmp_path).reader
        assert list(reader.find()) == []
        assert reader.labels() == []
        with pytest.raises(RunNotFoundError):
            reader.get("latest")

    def test_runs_are_found_by_values_at_dotted_paths(self, tmp_path):
        """Newest first, and as many as one asks for."""
        backend, _ = self.three_runs(tmp_path)

        def find(where: Any = None, limit: Any = None) -> list[str]:
            return [record.uid[-2:] for record in backend.reader.find(where, limit)]

        assert find() == ["22", "11", "00"]
        assert find(limit=2) == ["22", "11"]
        assert find({"status": "COMPLETED"}) == ["11", "00"]
        assert find({"config.lr": 0.1}) == ["22", "00"]
        assert find({"config.lr": 0.1, "status": "COMPLETED"}) == ["00"]
        assert find({"config.lr": 0.1}, limit=1) == ["22"]
        assert find({"config.net.depth": 1}) == ["11"]
        assert find({"config.a.b": 2}) == ["22"]
        assert find({"experiment.name": "ex1"}) == ["11"]
        assert find({"config.nosuch": None}) == []

    def test_runs_are_found_by_the_files_that_they_used(self, tmp_path):
        """Nobody could tell from an answer about a file that a run is missing from it."""
        self.needs("facts")
        backend = self.backend(tmp_path)
        stories = [Story(tmp_path / f"used {number}", uid(f"0{number}")) for number in range(8)]
        for number, story in enumerate(stories):
            self.use_files(story.start(), number)
            tell(backend.writer, story if number == 5 else story.complete())
        expected = [self.marked(story) for story in stories]
        counted: list[None] = []
        found = getattr(backend.reader, "used_files", lambda progress: None)(lambda: counted.append(None))
        if found is None:
            pytest.skip(f"the reader of {type(self).__name__} does not tell: all runs are read")
        order = [record.label for record in backend.reader.find()]
        assert len(found) == len(order) == len(stories)
        assert len(counted) <= len(stories)
        always = set(found.always())
        for place, (label, one) in enumerate(zip(order, reversed(expected))):
            assert place in found.labelled(str(label))
            assert [(each, record.uid) for each, record in found.records([place])] == [(place, stories[-1 - place].uid)]
            if place in always:
                continue
            missed = [each for each in one.marks if place not in found.find([each])]
            assert not missed, f"run {label} is not found by the marks {missed}"
            for each in sorted(one.marks)[::20]:
                if each & 15 in KINDS.values():
                    assert place in found.between(each - 1, each + 1)
            for folder, inside in one.folders.items():
                assert all(folder in found.folders([each]) for each in inside())
        everything = list(range(len(order)))
        assert [place for place, _ in found.records(everything)] == everything
        assert set(found.find([mark(KINDS["read"], f"digest:{'0' * 64}")])) <= always
        if "sources" in self.supports:
            assert any(one.folders for one in expected)

    def use_files(self, story: Story, number: int) -> None:
        """Add what a run says of files: each run of other files, and in another way."""
        plain = [
            {"path": f"/data/{number}/{n}", "digest": hashlib.sha256(b"%d %d" % (number, n)).hexdigest(), "size": n}
            for n in range((3, 100, 1_500)[number % 3])  # so many that stores keep them elsewhere
        ]
        url = {"url": "https://example.org/a", "digest": "a1" * 32, "size": 3, "complete": True}
        facts: Any = {
            "inputs": [*USES[number::8], *USES[:3], *plain],
            "outputs": list(USES[(number + 3) % 8 :: 8]),
            "nearby": [{"path": f"/nearby/{number}"}],
            "intermediates": [{"path": f"/gone/{number}"}] if number % 2 else "odd",
            "urls": [url] if number == 4 else [],
        }
        if number in (1, 2):
            facts = {"inputs": plain, "outputs": [USES[0]], "nearby": [], "intermediates": [], "urls": []}
        if number == 6:
            facts = ["no facts"]
        if number in (3, 7) and "sources" in self.supports:
            digest = hashlib.sha256(MANIFEST).hexdigest()
            story.source(".capture/manifests/photos.txt", MANIFEST)
            manifest = {"source": ".capture/manifests/photos.txt", "digest": digest, "size": len(MANIFEST)}
            facts["inputs"].append({"path": "/photos", "files": 2, "size": 7, "digest": digest, "manifest": manifest})
        for kind, name in (("sources", "train.py"), ("resources", "/data/kept.csv"), ("artifacts", "model.bin")):
            if kind in self.supports:
                add = getattr(story, kind[:-1])
                add(name, b"of all runs")
                add(f"{name}.{number}", b"" if number == 3 else b"of run %d" % number)
        if number != 5:
            story.add(events.Facts(topic="lineage", facts=facts))

    def marked(self, story: Story) -> Marked:
        """Return the marks that the record of a run has to have, as far as the store keeps what they are of."""
        record = told(story)
        for kind in ("sources", "kept", "resources", "artifacts"):
            if NEEDS[kind] not in self.supports:
                setattr(record, kind, [])
        return marks_of(record)

    def test_a_run_that_has_ended_is_not_alive(self, tmp_path):
        """Whether a run lives is asked of all that look so."""
        backend, labels = self.three_runs(tmp_path)
        assert backend.reader.is_alive(backend.reader.get(labels[0])) is False

    # -------------------------------------------------------------------------------------------- the curator

    def curated(self, tmp_path: Path) -> tuple[Backend, Curator, list[Any]]:
        backend, labels = self.three_runs(tmp_path)
        if backend.curator is None:
            pytest.skip(f"the backend of {type(self).__name__} has no curator")
        return backend, backend.curator, labels

    def test_people_can_tag_a_run_and_write_notes(self, tmp_path):
        """What they write stays beside what the run wrote."""
        backend, curator, labels = self.curated(tmp_path)
        curator.annotate(labels[0], tags=["paper"], notes="Figure 3")
        curator.annotate(labels[0], notes="Figure 4")
        record = backend.reader.get(labels[0])
        assert (record.tags, record.notes, record.result) == (["paper"], "Figure 4", 0)

    def test_one_text_is_no_list_of_tags(self, tmp_path):
        """Its letters would be the tags."""
        backend, curator, labels = self.curated(tmp_path)
        curator.annotate(labels[0], tags=["paper"])
        with pytest.raises(TypeError, match="list"):
            curator.annotate(labels[0], tags="abc")  # type: ignore[arg-type]
        assert backend.reader.get(labels[0]).tags == ["paper"]

    def test_a_binned_run_is_out_of_sight_until_it_is_restored(self, tmp_path):
        """Tidying up must not cost anything that cannot be undone."""
        backend, curator, labels = self.curated(tmp_path)
        before = backend.reader.get(labels[1]).to_dict()
        curator.bin(labels[1])
        assert [str(label) for label in curator.binned()] == [str(labels[1])]
        assert str(labels[1]) not in [str(label) for label in backend.reader.labels()]
        assert uid("11") not in [record.uid for record in backend.reader.find()]
        with pytest.raises(RunNotFoundError, match="bin"):
            backend.reader.get(labels[1])
        curator.restore(labels[1])
        assert curator.binned() == []
        assert _canonical(backend.reader.get(labels[1]).to_dict()) == _canonical(before)

    def test_the_label_of_a_purged_run_is_never_given_again(self, tmp_path):
        """A number in a lab book means one run for all time."""
        backend, curator, labels = self.curated(tmp_path)
        with pytest.raises(RunNotFoundError, match="not in the bin"):
            curator.purge(labels[2])
        assert str(labels[2]) in [str(label) for label in backend.reader.labels()]
        curator.bin(labels[2])
        curator.purge(labels[2])
        assert curator.binned() == []
        with pytest.raises(RunNotFoundError):
            backend.reader.get(labels[2])
        another = tell(self.backend(tmp_path).writer, Story(tmp_path / "x", uid("0x")).start(labels[2]))
        further = tell(self.backend(tmp_path).writer, Story(tmp_path / "y", uid("0y")).start())
        assert len({str(label) for label in (*labels, another, further)}) == 5

    def test_purging_keeps_the_files_that_other_runs_use(self, tmp_path):
        """Shared files go with the last run that uses them, and no earlier."""
        self.needs("sources")
        backend = self.backend(tmp_path)
        if backend.curator is None:
            pytest.skip(f"the backend of {type(self).__name__} has no curator")
        stories = [
            Story(tmp_path / str(i), uid(f"0{i}")).start().source("a.py", b"shared").source("b.py", own).complete()
            for i, own in enumerate([b"0", b"1"])
        ]
        labels = [tell(backend.writer, story) for story in stories]
        backend.curator.bin(labels[0])
        backend.curator.purge(labels[0])
        self.check(backend, labels[1], stories[1])

    def test_a_leaked_secret_can_be_erased(self, tmp_path):
        """From everywhere: it turns up in configs, output, names and files alike."""
        backend = self.backend(tmp_path)
        if backend.curator is None:
            pytest.skip(f"the backend of {type(self).__name__} has no curator")
        secret = 'hunter2-"größe"'
        story = Story(tmp_path / "told", uid("01")).start(config={"key": secret, "list": ["a " + secret], secret: 1})
        story.beat(info={"raw": secret.encode()}, result=secret)
        if "output" in self.supports:
            story.add(events.Output(text=f"key is {secret}!\nthe rest stays\n", offset=0))
        if "artifacts" in self.supports:
            story.artifact("log.txt", f"{secret} and more".encode()).artifact("clean.txt", b"nothing here")
        if "resources" in self.supports:
            story.resource("/etc/key", secret.encode())
        if "metrics" in self.supports:
            story.metric("loss of " + secret, [1.0]).metric("loss", [2.0])
        if "annotations" in self.supports:
            story.add(events.Annotated(notes=f"it was {secret}"))
        story.complete(result=secret)
        label = tell(backend.writer, story)
        assert backend.curator.erase(secret) >= 5
        record = self.backend(tmp_path).reader.get(label)
        plain = record.to_dict()
        left = [name for name, value in plain.items() if "hunter2" in json.dumps(encode(value), ensure_ascii=False)]
        assert not left, f"the secret is still in: {', '.join(left)}"
        assert record.status == "COMPLETED"
        if "output" in self.supports:
            assert record.output.endswith("!\nthe rest stays\n")
        if "artifacts" in self.supports:
            assert b"hunter2" not in record.artifact("log.txt").read()
            assert record.artifact("log.txt").read().endswith(b" and more")
            assert record.artifact("clean.txt").read() == b"nothing here"
        if "metrics" in self.supports:
            assert record.metrics["loss"].values == [2.0]
            assert len(record.metrics) == 2
        for kind in FILES:
            for stored in getattr(record, kind):
                digest = plain["bytes"].get(f"{kind}/{stored.name}")
                assert digest == stored.digest, f"{kind}: the recorded digest of {stored.name} is not that of its bytes"
        assert backend.curator.erase(secret) == 0


def uid(mark: str) -> str:
    """Return a uid that ends in `mark`; all begin alike, as those of one day do."""
    hexadecimal = "".join(char if char in "0123456789abcdef" else format(ord(char) % 16, "x") for char in mark)
    return f"01997a1c-{_ticks(hexadecimal)}-7000-8000-{hexadecimal.rjust(12, '0')}"


def _ticks(mark: str) -> str:
    return mark[-4:].rjust(4, "0")


__all__ = ["START_US", "Backend", "ObserverContract", "differences", "uid"]
