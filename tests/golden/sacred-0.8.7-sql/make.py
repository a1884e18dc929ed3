"""Make runs.sql: three runs that Sacred 0.8.7 wrote into SQLite.

In an environment of its own::

    pip install sacred==0.8.7 'setuptools<81' 'sqlalchemy<2' numpy
    python make.py            # writes runs.sql beside itself; `python make.py URL` writes into another database

In runs.sql as it is kept, the names of the host and of the environment were replaced.
"""

import os
import sqlite3
import sys
import tempfile

import numpy
from sacred import Experiment
from sacred.observers import SqlObserver
from sacred.settings import SETTINGS

HERE = os.path.dirname(os.path.abspath(__file__))
SETTINGS.CAPTURE_MODE = "sys"


def experiment(url):
    ex = Experiment("digits", save_git_info=False)
    ex.observers.append(SqlObserver(url))

    @ex.config
    def config():
        lr = 0.1
        layers = (64, 32)
        net = {"depth": 2, "name": "größe"}
        array = numpy.arange(3.0)

    @ex.main
    def main(lr, _run):
        print("epoch 1\nwörld")
        _run.info["best"] = {"step": 3, "value": numpy.float64(0.5)}
        _run.log_scalar("loss", 0.5)
        with open("in.txt", "w") as stream:
            stream.write("what was read\n")
        _run.add_resource("in.txt")
        with open("out.bin", "wb") as stream:
            stream.write(bytes(range(256)))
        _run.add_artifact("out.bin", name="model.bin")
        if lr < 0:
            raise ValueError("lr is negative")
        return lr * 2

    return ex


def main():
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    url = sys.argv[1] if len(sys.argv) > 1 else "sqlite:///runs.db"
    experiment(url).run()
    try:
        experiment(url).run(config_updates={"lr": -1})
    except ValueError:
        pass
    experiment(url).run(config_updates={"lr": 0.2}, options={"--id": "baseline", "--comment": "the baseline"})
    if len(sys.argv) == 1:
        with sqlite3.connect("runs.db") as database, open(os.path.join(HERE, "runs.sql"), "w", encoding="utf-8") as out:
            out.write("\n".join(database.iterdump()) + "\n")


if __name__ == "__main__":
    main()
