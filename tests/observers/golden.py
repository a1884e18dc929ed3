"""The run that `tests/golden/file-store-1` holds; ``python -m tests.observers.golden FOLDER`` writes it anew."""

from __future__ import annotations

import os
import sys
import tempfile

from capture import events
from capture.observers import FileStorageObserver
from capture.testing import Story, tell

UID = "01997a1c-0000-7000-8000-000000000001"


def story(folder) -> Story:
    """Return a run with everything in it, whose bytes depend on nothing around it."""
    run = Story(folder, UID)
    run.queue().start(config={"lr": 0.1, "layers": (64, 32), "by_id": {1: "one"}, "limit": float("inf")})
    run.source("train.py", b"print('hello')\n").source("lib/model.py", b"x = 1\n")
    run.add(events.Facts(topic="params", facts={"depth": 3}))
    run.add(events.Output(text="epoch 1\n", offset=0), events.Output(text="größe 10%\r", offset=8))
    run.add(events.Output(text="größe 20%\n", offset=8))
    run.metrics(loss=[3.0, 2.5, 2.25]).metric("val.acc", [0.5, "nan", 1])
    run.beat(info={"best": (1, 0.5)}, result=0.25)
    run.resource("/data/in.csv", b"a,b\n1,2\n")
    run.artifact("model.bin", bytes(range(16)), metadata={"kind": "weights"}, content_type="application/x")
    run.artifact("plots/loss.svg", b"<svg/>").artifact("run.json", b"{}").artifact("../a:b.txt", b"ab")
    run.metric("loss", [2.0, "inf"], first=3)
    run.add(events.Annotated(tags=["good", "größer"], notes="first try"))
    run.add(events.Unknown(kind="teleported", payload={"e": "teleported", "s": 0, "t": 0.0, "to": [1]}))
    run.add(events.Failed(fail_time=run.moment(), fail_trace=["Traceback\n", "ValueError: boom\n"]))
    resumed = run.moment()
    run.add(events.Resumed(resume_time=resumed), events.Output(text="again\n", offset=20))
    return run.complete(result={"score": 0.125, "pair": (1, 2)})


def write(basedir: str) -> None:
    """Tell the story to a store in `basedir`."""
    with tempfile.TemporaryDirectory() as folder:
        tell(FileStorageObserver(basedir), story(folder))


def contents(basedir: str) -> dict[str, bytes]:
    """Return the files of a store by path, without those that name version, place or time."""
    found = {}
    for folder, _, files in os.walk(basedir):
        for file in files:
            path = os.path.join(folder, file)
            inner = os.path.relpath(path, basedir).replace(os.sep, "/")
            if inner == "_capture/format.json":
                continue
            with open(path, "rb") as stream:
                found[inner] = stream.read().replace(os.path.abspath(basedir).encode(), b"/store")
    return found


if __name__ == "__main__":
    write(sys.argv[1])
    for name, data in contents(sys.argv[1]).items():
        with open(os.path.join(sys.argv[1], name), "wb") as target:
            target.write(data)
