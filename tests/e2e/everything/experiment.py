"""Does most of what an experiment can do that leaves a trace. Says at the end what it did, for the test to compare."""

import json
import os
import subprocess
import sys
import threading

from helpers import shared

from capture import Experiment

ex = Experiment("everything")


@ex.config
def config():
    data = "data"
    url = ""


def read(path):
    """Read one file with the library that its name asks for; imports happen here, not at the top."""
    name = os.path.basename(path)
    if name == "pandas.csv":
        import pandas

        return pandas.read_csv(path)
    if name == "polars.csv":
        import polars

        return polars.read_csv(path)
    if name == "polars.parquet":
        import polars

        return polars.scan_parquet(path).collect()
    if name == "numpy.npy":
        import numpy

        return numpy.load(path)
    if name == "plain.json":
        with open(path) as file:
            return json.load(file)
    if name == "packed.txt.gz":
        import gzip

        return gzip.open(path, "rt").read()
    if name == "archive.zip":
        import zipfile

        return zipfile.ZipFile(path).read("member.txt")
    if name == "pickled.pkl":
        import pickle

        with open(path, "rb") as file:
            return pickle.load(file)
    if name == "arrow.parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_table(path)
    if name == "arrow.feather":
        import pyarrow.feather

        return pyarrow.feather.read_table(path)
    if name == "hdf.h5":
        import h5py

        with h5py.File(path, "r") as file:
            return file["x"][:]
    if name == "net.nc":
        import netCDF4

        return netCDF4.Dataset(path).dimensions
    if name == "image.png":
        import cv2

        return cv2.imread(path)
    if name == "weights.safetensors":
        from safetensors.numpy import load_file

        return load_file(path)
    if name == "duck.db":
        import duckdb

        return duckdb.connect(path, read_only=True).execute("select * from t").fetchall()
    import sqlite3

    return sqlite3.connect(path).execute("select * from t").fetchall()


def in_a_thread(path):
    """Import and read where no context of the run leads."""
    import plain_module  # a file of the project that nothing else names

    plain_module.touch(path)


def in_a_child(path):
    """Read in a process of multiprocessing."""
    with open(path) as file:
        return len(file.read())


@ex.main
def main(data, url, _run):
    names = sorted(os.listdir(data))
    for name in names:
        assert read(os.path.join(data, name)) is not None, name
    shared.write("shared_output.txt")

    thread = threading.Thread(target=in_a_thread, args=("read_in_a_thread.txt",))
    thread.start()
    thread.join()

    import multiprocessing

    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            pool.map(in_a_child, [f"read_by_{method}.txt"])
            pool.close()
            pool.join()
    subprocess.run([sys.executable, "-c", "open('read_by_a_stranger.txt').read()"], check=True)
    subprocess.run(["cat", "read_by_cat.txt"], check=True, stdout=subprocess.DEVNULL)

    import urllib.request

    urllib.request.urlopen(url + "/fetched.txt?token=hunter2hunter2hunter2").read()
    import httpx

    httpx.get(url + "/fetched_too.txt", trust_env=False).raise_for_status()

    os.makedirs("out", exist_ok=True)
    with open("out/result.tmp", "w") as file:
        file.write("done")
    os.replace("out/result.tmp", "out/result.txt")
    return names


if __name__ == "__main__":
    ex.run_commandline()
