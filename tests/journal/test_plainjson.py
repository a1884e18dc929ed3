"""JSON without `json`: the same bytes, the same values, the same complaints."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture import plainjson

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
STYLES = [
    {},
    {"sort_keys": True},
    {"separators": (",", ":"), "ensure_ascii": False},
    {"indent": 2},
    {"indent": 2, "sort_keys": True},
    {"indent": 4, "separators": (" ,", " :"), "ensure_ascii": False},
]
BROKEN = ["", " ", "{", "[1", "[1,]", '{"a" 1}', '"a\nb"', '"ab', "1 2", "nul", "\ufeff1", '{"a":1}]', b"\xff", b"{"]


@pytest.mark.parametrize("style", STYLES, ids=str)
@given(value=VALUES)
def test_what_is_written_is_what_json_writes(style, value):
    """Stores are compared and hashed by their bytes, and read by other tools."""
    assert plainjson.dumps(value, **style) == json.dumps(value, **style)


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_keys_that_are_no_strings_are_written_as_json_writes_them(style):
    """A record of Sacred's may hold them; they become strings."""
    if "sort_keys" not in style:
        value = {7: 2, None: [3], True: {2.5: []}, '"': 1, float("inf"): ()}
        assert plainjson.dumps(value, **style) == json.dumps(value, **style)


@given(value=VALUES)
def test_what_is_read_is_what_json_reads(value):
    """Numbers, escapes and constants included, from text and from bytes of any of JSON's encodings."""
    for text in (json.dumps(value), f" \n{json.dumps(value, ensure_ascii=False)}\t"):
        assert repr(plainjson.loads(text)) == repr(json.loads(text))
        for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32-le"):
            data = text.encode(encoding, "surrogatepass")
            assert repr(plainjson.loads(data)) == repr(json.loads(data))


@pytest.mark.parametrize("text", BROKEN)
def test_mistakes_are_named_as_json_names_them(text):
    """Whoever reads the message of a broken record looks for the place that it names."""
    with pytest.raises(ValueError) as expected:
        json.loads(text)
    with pytest.raises(type(expected.value)) as found:
        plainjson.loads(text)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("style", [{}, {"indent": 2}], ids=str)
def test_what_json_refuses_is_refused(style):
    """A value that cannot be stored must not be stored as something else."""
    with pytest.raises(TypeError, match="set is not JSON serializable"):
        plainjson.dumps({"a": {1}}, **style)
    with pytest.raises(ValueError, match="Out of range float values"):
        plainjson.dumps({"a": [float("nan")]}, allow_nan=False, **style)
    circular: list = []
    circular.append(circular)
    with pytest.raises((ValueError, RecursionError)):
        plainjson.dumps(circular, **style)


def test_an_encoder_can_be_used_again_after_an_error():
    """Those of the journal live as long as the process."""
    write = plainjson.encoder((",", ":"), ensure_ascii=False, allow_nan=False)
    value = {"é": [1, 2]}
    with pytest.raises(ValueError, match="Out of range"):
        write([value, float("inf")])
    assert write(value) == write(value) == '{"é":[1,2]}'


TALK = """
import sys
{before}
from capture import plainjson
text = plainjson.dumps({{"a": [1, {{}}]}}, indent=2)
assert plainjson.loads(text) == {{"a": [1, {{}}]}} and plainjson.encoder()("x") == '"x"', text
print("json" in sys.modules)
"""


@pytest.mark.parametrize(("before", "loaded"), [("", False), ("sys.modules['_json'] = None", True)])
def test_json_is_loaded_only_where_it_is_needed(before, loaded):
    """Not loading it is all that this module is for; an interpreter without the module in C needs it."""
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}{TALK.format(before=before)}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(loaded)


@pytest.mark.parametrize("text", ['{"a" 1}', "[1", '"abc'])
def test_mistakes_are_named_when_json_was_not_loaded_before(text):
    """Before Python 3.12 the module in C fails to say what is wrong, if `json` is not there."""
    code = f"import sys; sys.path[:0] = {sys.path!r}\nfrom capture import plainjson\nplainjson.loads({text!r})"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert "json.decoder.JSONDecodeError: " in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("odd", ["", "{", "1,2", "nonsense", '"', "[", "]", "1],[2"])
def test_many_texts_are_read_as_each_alone(odd):
    """What is damaged in one must not move the values of the others."""
    good = ['{"a": 1, "b": [1.5, null]}', " 1 ", '"],["', '{"a": 2}', "NaN", "[]"]
    assert repr(plainjson.loads_each(good)) == repr([plainjson.loads(text) for text in good])
    for place in range(len(good) + 1):
        texts = [*good[:place], odd, *good[place:]]
        assert repr(plainjson.loads_each(texts)) == repr([odd if text is odd else plainjson.loads(text) for text in texts])
    assert plainjson.loads_each([]) == []


def test_damaged_texts_that_would_complete_each_other_do_not():
    """Three that make three values together are none by themselves."""
    texts = ["[1", "2]", "3,4"]
    assert plainjson.loads_each(texts) == texts
    assert plainjson.loads_each(["[1", "2]", "3", "4,5"]) == ["[1", "2]", 3, "4,5"]
