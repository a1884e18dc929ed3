"""What stands after `with` on a command line, and the nested dicts it becomes."""

import ast
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.config.updates import (
    LONGEST_LITERAL,
    flatten,
    get_by_path,
    iter_flattened,
    merge,
    nest,
    parse_update,
    parse_updates,
    parse_value,
    prefixes,
    set_by_path,
)
from capture.errors import CommandLineError, ConfigError

keys = st.text("abcxyz_", min_size=1, max_size=3)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=4),
    st.lists(st.integers(), max_size=2),
)
values = st.recursive(leaves, lambda below: st.dictionaries(keys, below, max_size=3), max_leaves=6)
trees = st.dictionaries(keys, values, max_size=3)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-3", -3),
        ("+5", 5),
        ("0", 0),
        ("1_000", 1000),
        ("0b101", 5),
        ("0x1F", 31),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e-3", 0.001),
        ("1e400", float("inf")),
        ("2+3j", 2 + 3j),
        ("True", True),
        ("False", False),
        ("None", None),
        ("adam", "adam"),
        ("'7'", "7"),
        ('"a b"', "a b"),
        ("b'x'", b"x"),
        ("[1, 'a', [2]]", [1, "a", [2]]),
        ("(1, 2)", (1, 2)),
        ("1, 2", (1, 2)),
        ("{'a': 1, 2: None}", {"a": 1, 2: None}),
        ("{1, 2}", {1, 2}),
        ("  3 ", 3),
        ("a=b=c", "a=b=c"),
        ("http://host/?q=1", "http://host/?q=1"),
        ("/data/train.csv", "/data/train.csv"),
        ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"),
        ("", ""),
    ],
)
def test_a_value_is_read_as_a_python_literal(text, value):
    """People type numbers, lists and words without thinking about types; each must arrive as what it looks like."""
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    "text", ["true", "false", "null", "nan", "inf", "-inf", "007", "1__0", "[true]", "[1, 2", "1e", ".", "f(x)", "a.b"]
)
def test_what_is_no_literal_stays_the_string_that_was_typed(text):
    """Guessing would turn file names and ids into numbers; entries with a declared type do their own reading."""
    assert parse_value(text) == text


@given(st.text("0123456789_.eE+-xob'\"[](){},: aTrue", max_size=8))
def test_the_fast_path_agrees_with_the_parser(text):
    """Simple values never reach `ast`; that short cut must not change what any of them means."""
    try:
        expected = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        expected = text.strip()
    assert repr(parse_value(text)) == repr(expected) or expected is Ellipsis


def test_simple_updates_do_not_import_the_parser():
    """Importing `ast` costs more than reading a hundred updates."""
    code = (
        "import sys; from capture.config.updates import parse_updates;"
        "parse_updates(['a=1', 'b=0.5', 'c=word', 'd=True', 'e=/data/x.csv', 'f=None', 'g=1e-3']);"
        "print('ast' in sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-S", "-c", code], capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)}
        ).stdout
        == "False\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "-" * 100_000 + "1",
        "(" + "1+" * 50_000 + "1)",
        "[1" + "[0]" * 50_000 + "]",
        "lambda:" * 50_000 + "(1)",
        "'\udc80'",
        "'a\0b'",
        "9" * 5_000,
        "[" * (LONGEST_LITERAL + 1),
        "x" * 20_000_000,
        "{[]: 1}",
    ],
    ids=["brackets", "signs", "sums", "items", "lambdas", "surrogate", "null", "digits", "long", "20MB", "unhashable"],
)
def test_a_hostile_value_is_a_plain_string(text):
    """Nothing that stands on a command line may end in a traceback of ours or take the machine down."""
    assert parse_value(text) == text or isinstance(parse_value(text), int)
    with_path = parse_update("a=" + text)
    assert with_path == ("a", parse_value(text))


def test_a_value_never_builds_an_object():
    """Sacred ran a shell command for this very update."""
    text = "{'py/reduce': [{'py/function': 'os.system'}, {'py/tuple': ['echo pwned']}]}"
    value = parse_value(text)
    assert value == {"py/reduce": [{"py/function": "os.system"}, {"py/tuple": ["echo pwned"]}]}
    assert type(value) is dict
    assert parse_value("__import__('os').system('true')") == "__import__('os').system('true')"


def test_strict_parsing_asks_for_quotes_and_names_the_entry():
    """With strict parsing on, a bare word is more likely a slip than a string."""
    assert parse_update("a='word'", strict=True) == ("a", "word")
    for text in ("opt.name=adam", "opt.name=[1, 2", "opt.name=" + "[" * 5000):
        with pytest.raises(CommandLineError, match=r"'opt\.name'.*not a Python literal") as caught:
            parse_update(text, strict=True)
        assert len(str(caught.value)) < 600


@pytest.mark.parametrize("text", ["=3", " = 3", "a..b=1", ".a=1", "a.=1", "word"])
def test_a_malformed_update_says_what_is_wrong(text):
    """The message is all the user sees, so it quotes the word and shows the form."""
    with pytest.raises(CommandLineError) as caught:
        parse_update(text)
    assert "KEY=VALUE" in str(caught.value)
    assert text.strip().split("=")[0].strip() in str(caught.value)


def test_words_are_sorted_into_updates_and_named_configs():
    """The command line mixes both freely; the order of each kind is kept and the last update of an entry wins."""
    updates, named = parse_updates([" lr = 0.1 ", "big", "", "  ", "model.width=8", "conf/a.yaml", "lr=0.2"])
    assert updates == {"lr": 0.2, "model": {"width": 8}}
    assert named == ["big", "conf/a.yaml"]


@pytest.mark.parametrize("texts", [["a=1", "a.b=2"], ["a.b=2", "a=1"], ["a.b.c=2", "a.b=1"]])
def test_contradicting_updates_are_refused_and_both_are_named(texts):
    """Whichever won, one of the two things the user asked for would be dropped without a word."""
    with pytest.raises(ConfigError) as caught:
        parse_updates(texts)
    for text in texts:
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("updates", "nested"),
    [
        ({"a.b": 1, "a.c": 2}, {"a": {"b": 1, "c": 2}}),
        ({"a": {"b": 1}, "a.c": 2}, {"a": {"b": 1, "c": 2}}),
        ({"a.c": 2, "a": {"b": 1}}, {"a": {"b": 1, "c": 2}}),
        ({"a": {"b.c": 1}}, {"a": {"b": {"c": 1}}}),
        ({"a": {}, "b.c": {}}, {"a": {}, "b": {"c": {}}}),
        ({1: "x", "t": {2: "y"}}, {1: "x", "t": {2: "y"}}),
        ([("a", {"b": 1}), ("a", 3)], {"a": 3}),
        ([("a", 3), ("a", {"b": 1})], {"a": {"b": 1}}),
        ({}, {}),
    ],
)
def test_dotted_paths_become_nested_dicts(updates, nested):
    """`ex.run(config_updates=...)` takes either spelling, also mixed."""
    assert nest(updates) == nested


@given(trees)
def test_nesting_undoes_flattening(tree):
    """The two spellings carry the same facts, empty groups included."""
    assert nest(flatten(tree)) == tree
    assert nest(tree) == tree


@pytest.mark.slow
@given(trees, trees)
def test_merging_changes_neither_argument_and_the_update_wins(base, update):
    """Callers keep using the dicts they pass in."""
    before = repr((base, update))
    merged = merge(base, update)
    assert repr((base, update)) == before
    for path, value in iter_flattened(update):
        if value != {}:
            assert get_by_path(merged, path) == value


def test_entries_are_read_and_set_by_path():
    """Hooks and tools address entries the way the command line does."""
    config = {"a": {"b": 1}}
    assert get_by_path(config, "a.b") == 1
    assert get_by_path(config, "") is config
    assert get_by_path(config, "a.b.c", "none") == "none"
    set_by_path(config, "a.c.d", 2)
    assert config == {"a": {"b": 1, "c": {"d": 2}}}
    with pytest.raises(ConfigError, match=r"a\.b\.x"):
        set_by_path(config, "a.b.x", 3)
    assert list(prefixes("a.b")) == ["a.b", "a"]
