"""Writes this store with Sacred: ``pip install sacred==0.8.7 'setuptools<81' tinydb tinydb-serialization hashfs numpy``.

Run in an empty folder: ``python make.py``. The names of the machine and its paths are replaced afterwards.
"""

import datetime
import os
import platform
import re
import sys

import numpy
from sacred import SETTINGS, Experiment
from sacred.observers import TinyDbObserver

SETTINGS.CAPTURE_MODE = "sys"
SETTINGS.CONFIG.READ_ONLY_CONFIG = False
ex = Experiment("digits", save_git_info=False)
ex.observers.append(TinyDbObserver("store"))


@ex.config
def config():
    lr = 0.1  # noqa: F841
    layers = [64, 32]  # noqa: F841
    since = datetime.datetime(2020, 2, 29, 12, 30)  # noqa: F841
    fails = False  # noqa: F841


@ex.main
def main(lr, fails, _run):
    print("epoch 1")
    with open("in.txt", "w") as stream:
        stream.write("data\n")
    _run.open_resource("in.txt").close()
    with open("plot.txt", "w") as stream:
        stream.write("plot\n")
    _run.add_artifact("plot.txt")
    _run.add_artifact("plot.txt", name="other")
    _run.info["weights"] = numpy.array([[1.5, 2.0], [3.0, 4.0]])
    _run.log_scalar("loss", 2.5, 0)
    if fails:
        raise ValueError("too bad")
    return {"acc": 0.5}


if __name__ == "__main__":
    ex.run()
    ex.run(config_updates={"lr": 0.2})
    try:
        ex.run(config_updates={"fails": True}, options={"--id": "named"})
    except ValueError:
        pass
    path = os.path.join("store", "metadata.json")
    with open(path) as stream:
        text = stream.read()
    text = text.replace(os.getcwd(), "/home/user/project").replace(sys.prefix, "/home/user/venv")
    text = text.replace(platform.platform(), "Linux-6.1")
    text = re.sub(r'"hostname": "[^"]*"', '"hostname": "node7"', text)
    with open(path, "w") as stream:
        stream.write(text)
