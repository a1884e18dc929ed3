"""Libraries that open files past Python: real ones, each in turn, in the version that is installed."""

from __future__ import annotations

import configparser
import importlib
import inspect
import os
import pickle
import re
import subprocess
import sys
import textwrap

import pytest

from capture.probes.lineage import adapters, hook, readers
from tests.project.tree import ROOT

PACKAGES = {"cv2": "opencv-python-headless"}
LIBRARIES = ("h5py", "netCDF4", "pyarrow", "polars", "duckdb", "cv2", "safetensors", "lmdb", "soundfile")


def library(name):
    """Import a library, or skip the test on a Python for which there is no wheel of it."""
    module = pytest.importorskip(name)
    adapters.attach()
    return module


@pytest.fixture
def seen(tmp_path, monkeypatch):
    """Watch; gives a function that returns the names of the files that a library reports as read and as written."""
    monkeypatch.chdir(tmp_path)
    adapters.attach()
    sightings = hook.start(object())
    reported = []
    note = hook.note

    def keep(path, write, by):
        note(path, write, by)
        reported.append((os.path.abspath(os.fsdecode(path)), write, by))

    monkeypatch.setattr(hook, "note", keep)

    def names(library):
        def those(paths, written):
            mine = {path for path, write, by in reported if write is written and by == library and path in paths}
            return {os.path.relpath(path, tmp_path) for path in mine}

        return those(sightings.reads, False), those(sightings.writes, True)

    names.sightings = sightings
    yield names
    hook.stop(sightings)


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="only where wheels of all of them must be had")
@pytest.mark.parametrize("name", (*LIBRARIES, "httpx", "requests", "urllib3", "aiohttp", "tensorboardX"))
def test_every_library_is_there_on_the_default_interpreter(name):
    """Tests of a library that is missing are skipped; here none may be, or the wrappers would go untested for good."""
    assert importlib.import_module(name)


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_installed_version_is_one_that_was_tested(name):
    """A version that is not in the table is not wrapped: whoever installs a newer one for the tests extends the table."""
    library(name)
    assert not [sentence for sentence in adapters.coverage() if sentence.startswith(f"{name} ") and "tested" in sentence]


def test_the_test_extra_asks_for_the_versions_that_are_wrapped():
    """Else a new release of any of them would fail these tests, though nothing of this library has changed."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    asked = dict(re.findall(r"^(\S+?)>=(\S+)(?: ;.*)?$", config["options.extras_require"]["test"], re.MULTILINE))
    for name, (oldest, newest) in readers.TESTED.items():
        if name != "torch":  # too large to be asked for
            *first, last = newest.split(".")
            below = ".".join([*first, str(int(last) + 1)])
            assert asked[PACKAGES.get(name, name)] == f"{oldest.removesuffix('.0')},<{below}"


# --- each library ---


def test_h5py_tells_reading_writing_and_updating(seen, tmp_path):
    """HDF5 opens files in C; without this the data of half of all laboratories would be missing."""
    h5py = library("h5py")
    with h5py.File("made.h5", "w") as file:
        file["x"] = [1, 2, 3]
    assert seen("h5py") == (set(), {"made.h5"})
    with h5py.File(tmp_path / "made.h5") as file:
        assert list(file["x"]) == [1, 2, 3]
    with h5py.File(b"made.h5", mode="a") as file:
        file["y"] = 1
    assert seen("h5py") == ({"made.h5"}, {"made.h5"})


def test_h5py_in_memory_alone_is_no_file(seen):
    """A file that never existed would be looked for in vain by whoever reproduces the run."""
    h5py = library("h5py")
    h5py.File("never.h5", "w", driver="core", backing_store=False).close()
    assert seen("h5py") == (set(), set())


def test_h5py_file_can_be_subclassed(seen):
    """Libraries build on `h5py.File`; a wrapped class must stay the class it was."""
    h5py = library("h5py")

    class Measurement(h5py.File):
        def __init__(self, name, operator):
            super().__init__(name, "w")
            self.attrs["operator"] = operator

    with Measurement("m.h5", operator="me") as file:
        assert isinstance(file, h5py.File) and isinstance(file, h5py.Group)
    assert seen("h5py") == (set(), {"m.h5"})
    assert "name" in inspect.signature(h5py.File).parameters


def test_netcdf4_tells_reading_and_writing(seen):
    """Climate data comes in netCDF, opened in C."""
    netCDF4 = library("netCDF4")
    with netCDF4.Dataset("a.nc", "w", format="NETCDF4_CLASSIC") as data:
        data.createDimension("t", None)
        data.createVariable("t", "f8", ("t",))[:] = [1.0, 2.0]
    assert seen("netCDF4") == (set(), {"a.nc"})
    with netCDF4.Dataset("a.nc") as data:
        assert isinstance(data, netCDF4.Dataset) and data.variables["t"].shape == (2,)
    netCDF4.MFDataset(["a.nc"], aggdim="t").close()
    assert seen("netCDF4") == ({"a.nc"}, {"a.nc"})
    netCDF4.Dataset("memory.nc", "w", memory=1024).close()
    assert seen("netCDF4") == ({"a.nc"}, {"a.nc"})


def test_pyarrow_tells_parquet(seen):
    """pandas reads and writes Parquet through it."""
    pa = library("pyarrow")
    pq = library("pyarrow.parquet")
    table = pa.table({"x": [1, 2], "part": ["a", "b"]})
    pq.write_table(table, "t.parquet")
    pq.write_to_dataset(table, "folder", partition_cols=["part"])
    reads, writes = seen("pyarrow")
    assert reads == set() and {"t.parquet"} < writes and len(writes) == 3
    assert pq.read_table("t.parquet").equals(table)
    assert seen("pyarrow")[0] == {"t.parquet"}
    pq.read_table("folder")
    assert seen("pyarrow")[0] == writes
    with open("t.parquet", "rb") as file:  # seen by the audit hook, and not refused by the wrapper
        assert pq.read_table(file).equals(table)


@pytest.mark.parametrize(
    "read",
    [
        lambda pq: pq.ParquetFile("only.parquet").read(),
        lambda pq: pq.read_schema("only.parquet"),
        lambda pq: pq.read_metadata("only.parquet"),
        lambda pq: pq.ParquetDataset("only.parquet").read(),
        lambda pq: pq.read_table(source="only.parquet"),
    ],
)
def test_pyarrow_tells_every_way_to_read_parquet(seen, read):
    """There are many doors into one room."""
    pa = library("pyarrow")
    pq = library("pyarrow.parquet")
    pq.write_table(pa.table({"x": [1]}), "only.parquet")
    read(pq)
    assert seen("pyarrow")[0] == {"only.parquet"}


def test_what_pandas_reads_through_pyarrow_is_seen(seen, tmp_path):
    """`pandas.read_parquet` is how most people meet Parquet; older ones open the file themselves."""
    pandas = library("pandas")
    pa, pq = library("pyarrow"), library("pyarrow.parquet")
    pq.write_table(pa.table({"x": [1]}), "t.parquet")
    assert len(pandas.read_parquet("t.parquet")) == 1
    assert str(tmp_path / "t.parquet") in seen.sightings.reads


def test_pyarrow_tells_csv_json_feather_ipc_orc(seen, tmp_path):
    """Each format has functions of its own, most of them compiled."""
    pa = library("pyarrow")
    table = pa.table({"x": [1, 2]})
    csv, json = library("pyarrow.csv"), library("pyarrow.json")
    feather, ipc, orc = library("pyarrow.feather"), library("pyarrow.ipc"), library("pyarrow.orc")
    csv.write_csv(table, "t.csv")
    feather.write_feather(table, tmp_path / "t.feather")
    orc.write_table(table, "t.orc")
    with ipc.new_file("t.arrow", table.schema) as writer:
        writer.write_table(table)
    with ipc.new_stream("t.arrows", table.schema) as writer:
        writer.write_table(table)
    made = {"t.csv", "t.feather", "t.orc", "t.arrow", "t.arrows"}
    assert seen("pyarrow") == (set(), made)
    (tmp_path / "t.json").write_text('{"x": 1}\n')
    assert csv.read_csv("t.csv").equals(table)
    assert csv.open_csv(input_file="t.csv").read_all().equals(table)
    assert json.read_json("t.json").num_rows == 1
    assert feather.read_table("t.feather").equals(table)
    assert feather.read_feather("t.feather").shape == (2, 1)
    assert orc.read_table("t.orc").equals(table)
    assert ipc.open_file("t.arrow").read_all().equals(table)
    assert ipc.open_stream("t.arrows").read_all().equals(table)
    assert seen("pyarrow") == ({*made, "t.json"}, made)


def test_pyarrow_tells_the_files_of_a_dataset(seen):
    """A dataset is a folder; what was read are the files in it."""
    pa = library("pyarrow")
    ds = library("pyarrow.dataset")
    ds.write_dataset(pa.table({"x": [1]}), "data", format="parquet")
    made = {"data/part-0.parquet"}
    assert seen("pyarrow") == (set(), made)
    ds.dataset([ds.dataset("data"), ds.dataset("data/part-0.parquet")])
    assert seen("pyarrow") == (made, made)


def test_pyarrow_tells_memory_maps(seen, tmp_path):
    """The usual way to read an Arrow file without copying it."""
    pa = library("pyarrow")
    (tmp_path / "raw").write_bytes(b"0123")
    with pa.memory_map("raw") as file:
        assert file.read() == b"0123"
    with pa.output_stream("out") as file:
        file.write(b"x")
    assert seen("pyarrow") == ({"raw"}, {"out"})


def test_polars_tells_what_it_reads_scans_writes_and_sinks(seen, tmp_path):
    """polars opens everything in Rust."""
    pl = library("polars")
    frame = pl.DataFrame({"x": [1, 2]})
    frame.write_csv("t.csv")
    frame.write_parquet(tmp_path / "t.parquet")
    frame.write_ipc("t.ipc")
    frame.write_ndjson("t.ndjson")
    frame.write_json("t.json")
    frame.write_avro("t.avro")
    frame.lazy().sink_parquet("sunk.parquet")
    made = {"t.csv", "t.parquet", "t.ipc", "t.ndjson", "t.json", "t.avro", "sunk.parquet"}
    assert seen("polars") == (set(), made)
    for read in (pl.read_csv, pl.scan_csv):
        assert read("t.csv").lazy().collect().equals(frame)
    for name, read in {"t.ipc": pl.read_ipc, "t.ndjson": pl.scan_ndjson, "t.json": pl.read_json, "t.avro": pl.read_avro}.items():
        assert read(source=name).lazy().collect().equals(frame)
    assert pl.scan_parquet("*.parquet").collect().height == 4
    assert seen("polars") == (made, made)


def test_polars_tells_the_files_of_patterns_folders_and_lists(seen):
    """One call, many files: each is an input."""
    pl = library("polars")
    os.makedirs("in/a")
    for name in ("in/a/1.parquet", "in/2.parquet"):
        pl.DataFrame({"x": [1]}).write_parquet(name)
    pl.scan_parquet("in/**/*.parquet").collect()
    assert seen("polars")[0] == {"in/a/1.parquet", "in/2.parquet"}
    pl.DataFrame({"x": [1]}).write_csv("3.csv")
    pl.read_csv(["3.csv"]) if "list" in str(inspect.signature(pl.read_csv)) else pl.scan_csv(["3.csv"]).collect()
    assert "3.csv" in seen("polars")[0]


def test_duckdb_tells_databases_and_readers(seen, tmp_path):
    """Databases by `connect`, files by functions; what SQL names is not seen, which the coverage statement says."""
    duckdb = library("duckdb")
    (tmp_path / "t.csv").write_text("x\n1\n2\n")
    with duckdb.connect("new.duckdb") as connection:
        connection.execute("create table t as select 1 as x")
        assert len(connection.read_csv("t.csv").fetchall()) == 2
    assert seen("duckdb") == ({"t.csv"}, {"new.duckdb"})
    with duckdb.connect(database="new.duckdb", read_only=True) as connection:
        assert connection.execute("select x from t").fetchall() == [(1,)]
    duckdb.read_csv("t.csv").write_parquet("out.parquet")
    duckdb.read_parquet("out.parquet").fetchall()
    assert seen("duckdb") == ({"t.csv", "new.duckdb", "out.parquet"}, {"new.duckdb", "out.parquet"})
    duckdb.connect().close()
    duckdb.connect(":memory:").close()
    assert seen("duckdb")[1] == {"new.duckdb", "out.parquet"}
    assert any("SQL" in sentence for sentence in adapters.limits())


def test_opencv_tells_images_and_videos(seen):
    """OpenCV opens images and videos in C++."""
    cv2 = library("cv2")
    np = pytest.importorskip("numpy")
    image = np.zeros((16, 16, 3), np.uint8)
    assert cv2.imwrite("a.png", image)
    assert cv2.imread("a.png").shape == (16, 16, 3)
    assert cv2.imread("missing.png") is None
    writer = cv2.VideoWriter("v.avi", cv2.VideoWriter_fourcc(*"MJPG"), 5.0, (16, 16))
    assert isinstance(writer, cv2.VideoWriter) and writer.isOpened()
    for _ in range(3):
        writer.write(image)
    writer.release()
    capture = cv2.VideoCapture("v.avi")
    assert capture.isOpened() and capture.read()[0]
    assert seen("cv2") == ({"a.png", "v.avi"}, {"a.png", "v.avi"})


def test_safetensors_tells_loading_and_saving(seen):
    """Model weights; opened in Rust."""
    numpy_files = library("safetensors.numpy")
    np = pytest.importorskip("numpy")
    numpy_files.save_file({"w": np.ones(3)}, "w.safetensors")
    assert numpy_files.load_file("w.safetensors")["w"].sum() == 3
    assert seen("safetensors") == ({"w.safetensors"}, {"w.safetensors"})
    from safetensors import safe_open

    with safe_open("w.safetensors", "numpy") as file:
        assert list(file.keys()) == ["w"]


def test_lmdb_tells_its_data_file(seen):
    """Image datasets are often kept in LMDB."""
    lmdb = library("lmdb")
    with lmdb.open("db") as environment, environment.begin(write=True) as transaction:
        transaction.put(b"k", b"v")
    assert isinstance(environment, lmdb.Environment)
    with lmdb.open("db", readonly=True) as environment, environment.begin() as transaction:
        assert transaction.get(b"k") == b"v"
    assert seen("lmdb") == ({"db/data.mdb"}, {"db/data.mdb"})


def test_soundfile_tells_reading_and_writing(seen):
    """Speech data; libsndfile opens it."""
    soundfile = library("soundfile")
    np = pytest.importorskip("numpy")
    soundfile.write("a.wav", np.zeros(100), 8000)
    assert soundfile.read("a.wav")[1] == 8000
    assert seen("soundfile") == ({"a.wav"}, {"a.wav"})


def test_torch_tells_saving_and_scripts(seen):
    """`torch.save` opens its file in C++; so do scripts."""
    torch = library("torch")
    library("torch.jit")
    torch.save({"w": torch.ones(2)}, "w.pt")
    assert torch.load("w.pt")["w"].sum() == 2
    script = torch.jit.script(torch.nn.Linear(2, 2))
    script.save("a.jit")
    torch.jit.save(script, "b.jit")
    torch.jit.load("b.jit")
    assert seen("torch") == ({"b.jit"}, {"w.pt", "a.jit", "b.jit"})


# --- wrappers ---


@pytest.mark.parametrize("name", readers.TABLE)
def test_every_function_of_the_table_exists_in_the_newest_version(name):
    """A slip in a name would be taken for a function that another version lacks, and nothing would be wrapped."""
    module = library(name)
    if sys.version_info[:2] != (3, 11):
        pytest.skip("an older version of the library may be installed")
    for target in readers.TABLE[name]:
        owner, attribute = readers._owner_of(module, target.path)
        assert hasattr(getattr(owner, attribute), "__capture_target__"), target.path


FUNCTIONS = [
    ("polars", "read_csv"),
    ("polars", "scan_parquet"),
    ("pyarrow.parquet", "read_table"),
    ("pyarrow.csv", "read_csv"),
    ("cv2", "imread"),
    ("safetensors.numpy", "load_file"),
    ("duckdb", "read_csv"),
]


@pytest.mark.parametrize(("module", "name"), FUNCTIONS)
def test_a_wrapped_function_is_pickled_as_before(module, name):
    """Process pools pickle functions by name; one that does not find itself there is refused."""
    function = getattr(library(module), name)
    original = function.__wrapped__
    assert (function.__name__, function.__doc__) == (original.__name__, original.__doc__)
    try:
        expected = inspect.signature(original)
    except ValueError:
        expected = None
    if expected is not None:
        assert inspect.signature(function) == expected
    if inspect.isfunction(original) or module != "duckdb":  # pybind11's functions, which it once had, never could be
        assert pickle.loads(pickle.dumps(function)) is function


def test_exceptions_and_results_pass_through(seen):
    """What a library says of a wrong call is what its user must read."""
    pl = library("polars")
    with pytest.raises(FileNotFoundError):
        pl.read_csv("missing.csv")
    with pytest.raises(TypeError):
        pl.read_csv()
    h5py = library("h5py")
    with pytest.raises(TypeError):
        h5py.File()
    assert seen("polars") == seen("h5py") == (set(), set())


def test_urls_and_buffers_are_no_files(seen):
    """Nobody finds "s3://bucket/x" on a disk."""
    paths = readers._paths
    assert list(paths("s3://bucket/x.parquet", False)) == list(paths(b"https://h/x", False)) == []
    assert list(paths(3, False)) == list(paths(None, True)) == []
    assert list(paths("file:///a/b", False)) == ["/a/b"]


def test_nothing_is_reported_while_nothing_is_watched(tmp_path, monkeypatch):
    """The wrappers stay when a run is over; what is opened then belongs to nobody."""
    h5py = library("h5py")

    def fail(*args):
        raise AssertionError("reported")

    monkeypatch.setattr(hook, "note", fail)
    h5py.File(tmp_path / "a.h5", "w").close()


def test_a_version_that_was_not_tested_is_left_alone_and_named(monkeypatch):
    """A wrapper that was not tested may break what it wraps; better not to see, and to say so."""
    pl = library("polars")
    monkeypatch.setitem(readers._state, "polars", {})
    monkeypatch.setattr(pl, "__version__", "9.9.0")
    original = pl.read_csv.__wrapped__
    monkeypatch.setattr(pl, "read_csv", original)
    readers.wrap(pl)
    assert pl.read_csv is original
    (sentence,) = [s for s in adapters.coverage() if s.startswith("polars")]
    assert "polars 9.9.0 is newer than what was tested" in sentence and "not seen" in sentence


def test_a_call_that_is_not_understood_goes_on_and_is_named(seen, monkeypatch):
    """Arguments may be anything; a wrapper's mistake must neither fail the call nor be hidden."""
    pl = library("polars")
    monkeypatch.setitem(readers._state, "polars", {})
    monkeypatch.setattr(readers, "_paths", lambda value, write: 1 / 0)
    pl.DataFrame({"x": [1]}).write_csv("a.csv")
    assert os.path.exists("a.csv")
    assert any("polars.DataFrame.write_csv was called" in sentence for sentence in adapters.coverage())


def run_script(tmp_path, text):
    """Run a script in a process of its own, where nothing is imported yet; return what it printed."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(text))
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_names_taken_before_are_said_to_be_unseen(tmp_path):
    """``from polars import read_csv`` above the run keeps the function that is not wrapped."""
    pytest.importorskip("polars")
    printed = run_script(
        tmp_path,
        """
        import polars
        from polars import read_csv
        from capture.probes.lineage import adapters
        adapters.attach()
        assert polars.read_csv is not read_csv
        print(adapters.coverage())
        """,
    )
    assert "__main__ took read_csv from polars before the run" in printed


def test_a_library_that_is_imported_later_is_wrapped(tmp_path):
    """Imports in functions are the rule in long scripts."""
    pytest.importorskip("polars")
    printed = run_script(
        tmp_path,
        """
        import sys
        from capture.probes.lineage import adapters, hook
        adapters.attach()
        assert not {"polars", "h5py", "capture.probes.lineage.readers"} & set(sys.modules)
        sightings = hook.start(object())
        open("a.csv", "w").write("x,1")
        from polars import read_csv
        read_csv("a.csv")
        print(sightings.by, adapters.coverage())
        """,
    )
    assert "a.csv': {'polars'" in printed.replace('"', "'") or "'polars'" in printed
    assert "took" not in printed


def test_attaching_imports_no_library_and_reads_no_table(tmp_path):
    """Every run does it; most import none of these libraries."""
    printed = run_script(
        tmp_path,
        """
        import sys
        from capture.probes.lineage import adapters
        before = set(sys.modules)
        adapters.attach()
        print(sorted(set(sys.modules) - before), adapters.coverage())
        """,
    )
    assert printed.strip() == "[] []"
