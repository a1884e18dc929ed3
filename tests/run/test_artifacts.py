"""Names and forms of artifacts."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.artifacts import clean_name, files_below, free_name, to_bytes


@given(st.text() | st.text(alphabet="./\\ab"))
def test_no_name_leads_out_of_the_run(name):
    """Sacred wrote an artifact called ../../../x outside the store."""
    cleaned = clean_name(name)
    assert cleaned and not cleaned.startswith("/")
    assert ".." not in cleaned.split("/")
    assert clean_name(cleaned) == cleaned


def test_other_bytes_under_a_taken_name_get_a_number():
    """Two files of one basename were one artifact in Sacred."""
    taken = {}
    assert free_name("a.png", "d1", taken) == ("a.png", True)
    assert free_name("a.png", "d2", taken) == ("a_2.png", True)
    assert free_name("a.png", "d3", taken) == ("a_3.png", True)
    assert free_name("a.png", "d2", taken) == ("a_2.png", False)


def test_a_directory_is_taken_file_by_file(tmp_path):
    """Checkpoints are directories; a loop of links must end."""
    (tmp_path / "model" / "sub").mkdir(parents=True)
    (tmp_path / "model" / "a").write_text("a")
    (tmp_path / "model" / "sub" / "b").write_text("b")
    (tmp_path / "model" / "sub" / "loop").symlink_to(tmp_path / "model")
    names = [name for _, name in files_below(str(tmp_path / "model"), None)]
    assert names == ["model/a", "model/sub/b"]
    assert [name for _, name in files_below(str(tmp_path / "model"), "ckpt/1")] == ["ckpt/1/a", "ckpt/1/sub/b"]


def test_an_array_comes_back_from_npy():
    """Exact, and without pickle."""
    array = np.random.default_rng(0).random((3, 2))
    assert np.array_equal(np.load(io.BytesIO(to_bytes(array, "w.npy")), allow_pickle=False), array)
    assert to_bytes(np.array([[1.0, 2.0]]), "w.csv").startswith(b"1.0")


def test_a_frame_comes_back_from_csv():
    """What a spreadsheet opens."""
    frame = pd.DataFrame({"a": [1, 2]})
    pd.testing.assert_frame_equal(pd.read_csv(io.BytesIO(to_bytes(frame, "t.csv")), index_col=0), frame)


def test_a_json_value_is_readable():
    """Strict JSON, with NaN tagged."""
    assert json.loads(to_bytes({"a": [1, None]}, "r.json")) == {"a": [1, None]}
    assert b"NaN" not in to_bytes([float("nan")], "r.json")


def test_a_figure_is_drawn_as_its_name_says():
    """Any object with `savefig`."""

    class Figure:
        def savefig(self, stream, format):
            stream.write(f"drawn as {format}".encode())

    assert to_bytes(Figure(), "loss.svg") == b"drawn as svg"


def test_a_value_with_no_such_form_says_which_forms_it_has():
    """Guessing would store something nobody can read."""
    with pytest.raises(TypeError, match=r"endings for it:.*\.csv.*\.npy"):
        to_bytes(np.zeros(2), "w.xlsx")
    with pytest.raises(TypeError, match="cannot be written"):
        to_bytes(object(), "o.json")


def test_a_pickle_is_written_only_when_asked_for():
    """Whoever reads a pickle runs it."""
    with pytest.raises(TypeError, match="pickle=True"):
        to_bytes({1}, "s.pkl")
    assert to_bytes({1}, "s.pkl", pickle=True).startswith(b"\x80")
