"""Config files: read as data, written so that they read the same."""

from __future__ import annotations

import builtins
import decimal
import json
import pathlib
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capture.codec import Opaque
from capture.config.files import load_config_file, save_config_file
from capture.config.readonly import freeze
from capture.config.values import equal
from capture.errors import ConfigFileError


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.json", '{"lr": 0.1, "model": {"layers": [64, 32], "name": "größe"}}'),
        ("c.JSON", '\ufeff{"lr": 0.1, "model": {"layers": [64, 32], "name": "größe"}}'),
        ("c.yaml", "lr: 0.1\nmodel:\n  layers: [64, 32]\n  name: größe\n"),
        ("c.yml", "{lr: 1e-1, model: {layers: [64, 32], name: größe}}"),
        ("c.toml", 'lr = 0.1\n[model]\nlayers = [64, 32]\nname = "größe"\n'),
    ],
)
def test_each_format_is_read(tmp_path, name, text):
    """The ending says how a file is written."""
    path = write(tmp_path, name, text)
    expected = {"lr": 0.1, "model": {"layers": [64, 32], "name": "größe"}}
    assert load_config_file(path) == load_config_file(str(path)) == expected


VALUES = {
    "int": 1,
    "negative": -5,
    "big": 2**70,
    "float": 1e-05,
    "nan": float("nan"),
    "inf": float("-inf"),
    "text": 'quotes " and \\ and\nlines\tand \x7f and \u2028 and ä 🙂',
    "empty": "",
    "true": True,
    "tuple": (1, (2, [3])),
    "set": {1, 2},
    "bytes": b"\x00\xff",
    "complex": 1j,
    "path": pathlib.Path("a/b"),
    "decimal": decimal.Decimal("1.5"),
    "group": {"a key": 1, "a-b": [{"c": (1,)}], "deep": {"er": {}}, "ä": 1, "last": 1},
    "keys": {1: "one", 2: "two"},
    "list": [[1, "a"], [], [{}]],
    "yes": "yes",
    "date": "2020-01-01",
    "number": "1e3",
}


@pytest.mark.parametrize("name", ["c.json", "c.yaml", "c.toml"])
def test_what_is_saved_reads_the_same(tmp_path, name):
    """`save_config` and `with config.yaml` are one round trip, tuples included."""
    save_config_file(freeze(VALUES), tmp_path / name)
    loaded = load_config_file(tmp_path / name)
    assert equal(loaded, VALUES)
    assert type(loaded["tuple"]) is tuple
    assert loaded["int"] is not True
    assert list(loaded["group"]) == list(VALUES["group"]) or name == "c.toml"


@pytest.mark.parametrize("name", ["c.json", "c.yaml"])
def test_none_and_arrays_are_saved(tmp_path, name):
    """They are ordinary values of a config."""
    save_config_file({"x": None, "a": np.arange(3.0)}, tmp_path / name)
    loaded = load_config_file(tmp_path / name)
    assert loaded["x"] is None
    assert np.array_equal(loaded["a"], np.arange(3.0))


def test_toml_has_no_null(tmp_path):
    """Better refused than left out."""
    path = tmp_path / "c.toml"
    with pytest.raises(ConfigFileError, match=r"model\.x is None.*\n.*\.json or \.yaml"):
        save_config_file({"model": {"x": None}}, path)
    assert not path.exists()


keys = st.text(min_size=1, max_size=5).filter(lambda key: not key.startswith(("py/", "capture/", "json://")))
plain = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine it is
@given(st.dictionaries(keys, plain, max_size=4), st.sampled_from(["json", "yaml", "toml"]))
def test_any_config_survives_any_format(tmp_path_factory, config, ending):
    """Keys and texts with quotes, line ends, control characters, look-alikes of numbers."""
    path = tmp_path_factory.mktemp("files") / f"c.{ending}"
    save_config_file(config, path)
    assert load_config_file(path) == config


@pytest.mark.parametrize(
    ("name", "text", "line", "column", "words"),
    [
        ("c.json", '{"a": 1,\n "b": }', 2, 7, "not JSON: Expecting value"),
        ("c.json", "", 1, 1, "not JSON"),
        ("c.json", '{"a": ' + "9" * 5000 + "}", None, None, "not JSON"),
        ("c.yaml", "a: 1\nb: [1, 2\nc: 3\n", 3, 2, "not plain YAML"),
        ("c.yaml", "a: \t\x00", None, None, "not plain YAML"),
        ("c.yaml", "a: 1\n  b: 2\n", 2, 4, "not plain YAML"),
        ("c.yaml", "d: 2020-13-45\n", None, None, "not plain YAML"),
        ("c.yaml", "a: 1\n---\nb: 2\n", 2, 1, "not plain YAML"),
        ("c.toml", "a = 1\nb = \n", 2, 5, "not TOML"),
        ("c.toml", "a = 1\na = 2\n", None, None, "not TOML"),
        ("c.json", b'{"a":\n "\xff"}', 2, 3, "not text in UTF-8"),
    ],
)
def test_a_malformed_file_is_named_with_line_and_column(tmp_path, name, text, line, column, words):
    """The place is what one needs to mend it."""
    path = write(tmp_path, name, text)
    with pytest.raises(ConfigFileError) as caught:
        load_config_file(path)
    error = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(error, ValueError)
    assert (error.file, words in str(error)) == (str(path), True), str(error)
    assert str(error).startswith(f"{path}:{line}:{column}: " if line else str(path))
    if line:
        assert (error.line, error.column) == (line, column)


@pytest.mark.parametrize("text", ["[1, 2]", '"text"', "3", "null", '{"py/tuple": [1]}'])
def test_a_config_file_holds_a_mapping(tmp_path, text):
    """Anything else is some other file."""
    with pytest.raises(ConfigFileError, match="holds a mapping of entries"):
        load_config_file(write(tmp_path, "c.json", text))


def test_an_empty_yaml_file_is_an_empty_config(tmp_path):
    """All its entries may be commented out."""
    assert load_config_file(write(tmp_path, "c.yaml", "# nothing yet\n")) == {}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.yaml", "a: !!python/object/apply:os.system ['touch {}']"),
        ("c.yaml", "a: !!python/name:os.system"),
        ("c.yaml", "!!python/object/new:os.system ['touch {}']"),
        ("c.json", '{{"a": {{"py/reduce": [{{"py/function": "os.system"}}, {{"py/tuple": ["touch {}"]}}]}}}}'),
        ("c.json", '{{"a": {{"py/object/apply": "os.system", "x": "touch {}"}}}}'),
        ("c.json", '{{"a": {{"py/object": "subprocess.Popen", "args": ["touch", "{}"]}}}}'),
        ("c.json", '{{"a": {{"py/repr": "os/os.system(\'touch {}\')"}}}}'),
        ("c.toml", 'a = {{"py/reduce" = [{{"py/function" = "os.system"}}, {{"py/tuple" = ["touch {}"]}}]}}'),
    ],
)
def test_nothing_in_a_file_runs(tmp_path, name, text):
    """Each of these ran a shell command in Sacred; people share config files."""
    victim = tmp_path / "victim"
    path = write(tmp_path, name, text.format(victim))
    try:
        loaded = load_config_file(path)
    except ConfigFileError as error:
        assert "python" in str(error) or "tag" in str(error)
    else:
        assert type(loaded["a"]) is Opaque
        save_config_file(loaded, tmp_path / "again.json")
        assert load_config_file(tmp_path / "again.json") == loaded
    assert not victim.exists()


@pytest.mark.parametrize("function", [load_config_file, lambda path: save_config_file({}, path)])
def test_pickles_are_refused_with_the_remedy(tmp_path, function):
    """Reading one runs whatever it holds."""

    class Bomb:
        def __reduce__(self):
            return print, ("boom",)

    path = write(tmp_path, "c.pickle", pickle.dumps({"a": Bomb()}))
    with pytest.raises(ConfigFileError, match=r"pickle(?s:.*)save_config_file"):
        function(path)


@pytest.mark.parametrize("name", ["c.txt", "c", "c.ini"])
def test_unknown_endings_name_the_known_ones(tmp_path, name):
    """The user's next try should succeed."""
    with pytest.raises(ValueError, match=r"\.json, \.yaml, \.yml, \.toml"):
        load_config_file(write(tmp_path, name, "{}"))


def test_a_missing_file_is_an_oserror(tmp_path):
    """As everywhere in Python."""
    with pytest.raises(FileNotFoundError):
        load_config_file(tmp_path / "missing.json")


def test_without_pyyaml_the_message_says_what_to_install(tmp_path, monkeypatch):
    """It is optional."""
    real_import = builtins.__import__

    def without_yaml(name, *args, **kwargs):
        if name == "yaml":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_yaml)
    with pytest.raises(ConfigFileError, match="pip install PyYAML"):
        load_config_file(write(tmp_path, "c.yaml", "a: 1"))


def test_a_yaml_bomb_is_refused(tmp_path):
    """Nine lines of aliases stand for 10^9 values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ConfigFileError, match="aliases stand for"):
        load_config_file(write(tmp_path, "c.yaml", "\n".join(lines)))
    shared = load_config_file(write(tmp_path, "ok.yaml", "base: &b {x: [1]}\nother: *b\n"))
    assert shared == {"base": {"x": [1]}, "other": {"x": [1]}}


@pytest.mark.slow
def test_recursive_and_very_deep_files_are_refused(tmp_path):
    """They would end in a RecursionError somewhere far away."""
    with pytest.raises(ConfigFileError, match="contains it"):
        load_config_file(write(tmp_path, "c.yaml", "a: &a [*a]"))
    for name, text in (
        ("deep.json", '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"),
        ("deep.yaml", "a: " + "[" * 3_000 + "]" * 3_000),
        ("deep.toml", "a = " + "[" * 100_000 + "]" * 100_000),
    ):
        with pytest.raises(ConfigFileError, match="nested too deeply|not TOML"):
            load_config_file(write(tmp_path, name, text))


def test_yaml_numbers_are_what_one_thinks(tmp_path):
    """PyYAML reads 1e-3 as a text, which then fails in the optimizer."""
    text = "a: 1e-3\nb: 1E5\nc: -2.5e+3\nd: .5e1\ne: 1e\nf: 1.0.0\ng: '1e-3'\nh: 0x1f\n"
    assert load_config_file(write(tmp_path, "c.yaml", text)) == {
        "a": 0.001,
        "b": 1e5,
        "c": -2500.0,
        "d": 5.0,
        "e": "1e",
        "f": "1.0.0",
        "g": "1e-3",
        "h": 31,
    }


def test_yaml_keys_that_are_no_strings_are_kept(tmp_path):
    """A table by class number, for instance."""
    assert load_config_file(write(tmp_path, "c.yaml", "names: {0: cat, 1: dog, null: none, 0.5: half}")) == {
        "names": {0: "cat", 1: "dog", None: "none", 0.5: "half"}
    }


def test_a_failing_save_leaves_no_half_file(tmp_path):
    """The text is made before the file is opened."""
    path = write(tmp_path, "c.toml", "a = 1\n")
    with pytest.raises(ConfigFileError):
        save_config_file({"b": 2, "x": [None]}, path)
    assert path.read_text() == "a = 1\n"


def test_saved_json_is_strict_and_readable(tmp_path):
    """Other tools read it, and people."""
    save_config_file({"a": float("nan"), "ä": (1,)}, tmp_path / "c.json")
    text = (tmp_path / "c.json").read_text(encoding="utf-8")
    assert "ä" in text
    assert "NaN" not in text
    json.loads(text, parse_constant=pytest.fail)
