"""Stores for tests of commands, made quickly: runs are told to an observer, without a process of their own."""

from __future__ import annotations

from capture import events
from capture.registry import make_observer
from capture.testing.contract import uid
from capture.testing.feed import Story, tell

LOCK = b'{"format": 1}'


def story(tmp_path, mark: str, end: bool = True, **config) -> Story:
    """Return a run with a file of each kind, and facts that refer to two of them."""
    made = Story(tmp_path / f"told{mark}", uid(mark)).start(config={"lr": 0.1, "number": int(mark, 16), **config})
    made.source("train.py", b"print(1)\n").source(".capture/environment.json", LOCK)
    made.resource("/project/data/in.csv", b"a,b\n1,2\n")
    made.artifact("plots/loss.png", b"PNG" * 40).artifact("model.bin", bytes(range(256)))
    model = next(each for each in made.events() if getattr(each, "artifact_name", "") == "model.bin")
    lock = next(each for each in made.events() if getattr(each, "path", "") == ".capture/environment.json")
    output = {"path": "/project/model.bin", "name": "model.bin", "digest": model.digest, "artifact": "model.bin"}
    inputs = [
        {"path": "/project/data/in.csv", "name": "data/in.csv", "copied": True},
        {"path": "/project/big.npy", "name": "big.npy", "left_out": "it has more than 1000000 bytes"},
    ]
    kept = {"source": ".capture/environment.json", "digest": lock.digest, "size": len(LOCK)}
    made.add(
        events.Output(text="epoch 1\n", offset=0),
        events.Facts(topic="lineage", facts={"inputs": inputs, "outputs": [output]}),
        events.Facts(topic="environment", facts={"lock": kept, "distributions": 3}),
    )
    made.metrics(loss=[3.0, 2.0])
    return made.complete(result=int(mark, 16)) if end else made


def fill(url: str, tmp_path, *marks: str) -> str:
    """Make a store at a URL with a run for each mark; return the URL."""
    observer = make_observer(url)
    for mark in marks:
        tell(observer, story(tmp_path, mark))
    return url
