"""Makes the data that `experiment.py` reads: one small file for each of the libraries."""

from __future__ import annotations

import gzip
import json
import pickle
import sqlite3
import sys
import zipfile
from pathlib import Path

import cv2
import duckdb
import h5py
import netCDF4
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
from safetensors.numpy import save_file


def make(folder: Path) -> list[str]:
    """Write the files into a folder; return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame({"x": np.arange(20.0), "y": np.arange(20.0) ** 2})
    frame.to_csv(folder / "pandas.csv", index=False)
    frame.to_csv(folder / "polars.csv", index=False)
    np.save(folder / "numpy.npy", np.arange(6.0))
    (folder / "plain.json").write_text(json.dumps({"a": 1}))
    with gzip.open(folder / "packed.txt.gz", "wt") as file:
        file.write("packed\n")
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        archive.writestr("member.txt", "inside")
    (folder / "pickled.pkl").write_bytes(pickle.dumps([1, 2, 3]))
    pa.parquet.write_table(pa.table({"x": [1, 2, 3]}), folder / "arrow.parquet")
    pa.feather.write_feather(pa.table({"x": [1, 2, 3]}), str(folder / "arrow.feather"))
    pl.DataFrame({"x": [1, 2]}).write_parquet(folder / "polars.parquet")
    with h5py.File(folder / "hdf.h5", "w") as file:
        file["x"] = np.arange(5)
    dataset = netCDF4.Dataset(str(folder / "net.nc"), "w")
    dataset.createDimension("x", 3)
    dataset.close()
    cv2.imwrite(str(folder / "image.png"), np.zeros((4, 4, 3), dtype=np.uint8))
    save_file({"weight": np.ones(3, dtype=np.float32)}, str(folder / "weights.safetensors"))
    connection = duckdb.connect(str(folder / "duck.db"))
    connection.execute("create table t as select 1 as x")
    connection.close()
    connection = sqlite3.connect(folder / "lite.sqlite")
    connection.execute("create table t (x)")
    connection.commit()
    connection.close()
    return sorted(path.name for path in folder.iterdir())


if __name__ == "__main__":
    print("\n".join(make(Path(sys.argv[1]))))
