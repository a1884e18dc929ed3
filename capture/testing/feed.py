"""Stories of runs, and telling them to an observer: through the very code that a run uses, without the threads."""

from __future__ import annotations

import os

from capture import events
from capture.calls import Calls
from capture.journal import Journal, iter_lines, read_journal
from capture.records import RunRecord, fold, utc_from_microseconds
from capture.spool import Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from capture.journal import Line

START_US = 1_767_225_600_000_000  #: when stories begin, in microseconds since the epoch
OPENINGS = frozenset({"opened", "queued", "started", "resumed"})  #: events that are told again after a crash


class Story:
    """What one writer of a run has to tell: a journal with a spool beside it, in which each event takes a second.

    Parameters
    ----------
    folder : path
        Where journal and spool are made.
    uid : str
    writer : str
    spool : str, optional
        Folder of the spool; default: one in `folder`.
    """

    def __init__(
        self, folder: str | os.PathLike[str], uid: str, writer: str = "main", spool: str | None = None
    ) -> None:
        self.uid, self.writer = uid, writer
        self._seconds = 0
        self.spool = Spool(spool or os.path.join(folder, "spool"))
        journals = os.path.join(folder, "journals")
        os.makedirs(journals, exist_ok=True)
        host = {"machine_id": "m", "boot_id": "b", "pid": 7, "pid_start": 1}
        opened = events.Opened(format=events.FORMAT, uid=uid, writer=writer, version="0", host=host, observers=[])
        self._journal = Journal.create(journals, opened, now=self._now)

    def _now(self) -> float:
        self._seconds += 1
        return START_US / 1e6 + self._seconds

    def moment(self) -> Any:
        """Return the time of the next event."""
        return utc_from_microseconds(START_US + (self._seconds + 1) * 1_000_000 + 250)

    def add(self, *more: events.Event) -> Story:
        """Append events."""
        for event in more:
            self._journal.append(event)
        return self

    def start(self, label: Any = None, **fields: Any) -> Story:
        """Append a start; `fields` replace parts of an ordinary one."""
        described = {**describe(), **fields}
        return self.add(events.Started(start_time=self.moment(), label=label, **described))

    def queue(self, label: Any = None, **fields: Any) -> Story:
        """Append that the run is queued."""
        described = {**describe(), **fields}
        return self.add(events.Queued(queue_time=self.moment(), label=label, **described))

    def beat(self, info: Any = None, result: Any = None) -> Story:
        """Append a heartbeat that carries `info` and `result`."""
        return self.add(events.Heartbeat(beat_time=self.moment(), info=[info or {}], result=[result]))

    def complete(self, result: Any = None) -> Story:
        """Append that the main function returned."""
        return self.add(events.Completed(stop_time=self.moment(), result=result))

    def source(self, path: str, data: bytes) -> Story:
        """Append a source file with its bytes."""
        taken = self.spool.take_bytes(data)
        return self.add(events.Source(path=path, digest=taken.digest, size=taken.size, md5=taken.md5))

    def resource(self, filename: str, data: bytes) -> Story:
        """Append a file that the run read, with its bytes."""
        taken = self.spool.take_bytes(data)
        return self.add(events.Resource(filename=filename, digest=taken.digest, size=taken.size, md5=taken.md5))

    def artifact(self, name: str, data: bytes, **more: Any) -> Story:
        """Append a file that the run made, with its bytes; `more` may be ``metadata`` and ``content_type``."""
        taken = self.spool.take_bytes(data)
        origin = "/somewhere/" + os.path.basename(name)
        return self.add(
            events.Artifact(artifact_name=name, filename=origin, digest=taken.digest, size=taken.size, **more)
        )

    def metrics(self, **columns: list[Any]) -> Story:
        """Append points at steps 0, 1, ... of each series; a name that is no identifier goes into `metric`."""
        for name, values in columns.items():
            self.metric(name, values)
        return self

    def metric(self, name: str, values: list[Any], first: int = 0) -> Story:
        """Append points of one series at steps `first`, `first` + 1, ...; not finite ones as "nan", "inf", "-inf"."""
        steps = list(range(first, first + len(values)))
        column = {"steps": steps, "values": values, "times": [1000 * step for step in range(len(values))]}
        return self.add(events.Metrics(start=START_US + self._seconds * 1_000_000, columns={name: column}))

    def lines(self) -> list[Line]:
        """Return the events as the journal holds them."""
        self._journal.flush()
        return list(iter_lines(self._journal.path))

    def events(self) -> list[events.Event]:
        """Return the events as a reader of the journal gets them."""
        self._journal.flush()
        return list(read_journal(self._journal.path))

    def close(self) -> None:
        """Let go of the journal, which is open, and locked, as that of a run that goes on."""
        self._journal.close()


def describe() -> dict[str, Any]:
    """Return the fields of an ordinary start."""
    return {
        "command": "main",
        "ex_info": {
            "name": "digits",
            "base_dir": "/home/user/project",
            "sources": [["train.py", "0123456789abcdef0123456789abcdef"]],
            "dependencies": ["numpy==2.0.0"],
            "repositories": [],
            "mainfile": "train.py",
        },
        "host_info": {"hostname": "node7", "os": ["Linux", "Linux-6.1"], "python_version": "3.11.7", "ENV": {}},
        "config": {"lr": 0.1, "layers": (64, 32), "seed": 42},
        "meta_info": {"command": "main", "options": {}, "named_configs": [], "config_updates": {}},
    }


def told(*stories: Story) -> RunRecord:
    """Return the record that a store has to give back after it was told these stories of one run.

    The first is that of the main writer; those of further writers follow.
    """
    spools = [story.spool for story in stories]

    def open_blob(digest: str) -> Any:
        for spool in spools[:-1]:
            try:
                return spool.open(digest)
            except FileNotFoundError:
                pass
        return spools[-1].open(digest)

    return fold((event for story in stories for event in story.events()), open_blob)


class Teller:
    """Tells one observer of one writer's events, as a lane does: hook by hook, in order.

    Parameters
    ----------
    observer : object
    story : Story
    offered : object
        The label that another store gave, which is offered to this one.
    """

    def __init__(self, observer: Any, story: Story, offered: Any = None) -> None:
        self.observer = observer
        self.label: Any = None
        self._calls = Calls(
            observer,
            story.uid,
            story.writer,
            story.spool,
            label=lambda asked: asked if asked is not None else offered,
            progress=lambda: None,
        )

    def tell(self, lines: Iterable[Line]) -> Any:
        """Tell of some events; return the label that the observer gave."""
        for line in lines:
            for call in self._calls.of(line):
                self._make(call, line.kind in OPENINGS)
        return self.label

    def _make(self, call: Any, opens: bool) -> None:
        answer = call.make()
        if opens and answer is not None:
            self.label = answer
        if call.settle is not None:
            call.settle()

    def flush(self) -> None:
        """Make durable what was told."""
        if "flush" in self._calls.hooks:
            self._calls.hooks["flush"].method()

    def finish(self) -> Any:
        """Tell what was held back, make all durable, and say that nothing more comes."""
        for call in self._calls.rest():
            self._make(call, False)
        self.flush()
        if "join" in self._calls.hooks:
            self._calls.hooks["join"].method()
        return self.label


def tell(observer: Any, story: Story, offered: Any = None) -> Any:
    """Tell a whole story to an observer; return the label that it gave the run."""
    teller = Teller(observer, story, offered)
    teller.tell(story.lines())
    return teller.finish()
