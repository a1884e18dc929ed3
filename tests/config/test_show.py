"""A configuration as people see it, and what differs between two."""

import pytest

from capture.config.diff import Change, diff
from capture.config.origin import Origin
from capture.config.show import BLUE, END, GREEN, GREY, RED, format_config
from capture.config.summary import ConfigSummary

VALUES = {
    "__doc__": "How to train.\nIn two lines.",
    "lr": 0.5,
    "layers": [64, 32],
    "model": {"__doc__": "the net", "width": 8, "act": "relu", "more": {}},
    "tag": None,
    "seed": 1,
}
SUMMARY = ConfigSummary(
    added=["tag"],
    modified=["lr"],
    typechanged={"model.act": (int, str)},
    docs={"lr": "learning rate", "model": "the network", "model.width": "units", "seed": "the random seed"},
)
ORIGINS = {
    "lr": Origin("command line"),
    "layers": Origin("config scope", "defaults", "/home/me/train.py", 12),
    "model.width": Origin("config scope", "defaults", "/home/me/train.py", 14),
    "model.act": Origin("named config", "big", "/home/me/train.py", 30),
    "tag": Origin("command line"),
}


def test_a_configuration_is_a_tree_with_docs_and_origins():
    """The layout is what users read every day, so it is spelled out here as a whole."""
    assert (
        format_config(VALUES, SUMMARY, origins=ORIGINS)
        == '''\
Configuration (modified, added, typechanged, doc):
  """How to train.
  In two lines."""
  lr = 0.5          # learning rate    <- command line
  layers = [64, 32]
  model:            # the network
    """the net"""
    width = 8       # units
    act = 'relu'                       <- named config big (train.py:30)
    more = {}
  tag = None                           <- command line
  seed = 1          # the random seed'''
    )


def test_origins_can_be_asked_for_everywhere_or_nowhere():
    """Where an entry is declared is noise by default, and the answer when somebody asks."""
    everywhere = format_config(VALUES, SUMMARY, origins=ORIGINS, with_origin="all")
    assert "<- config scope defaults (train.py:14)" in everywhere
    assert everywhere.count("<-") == len(ORIGINS)
    assert "<-" not in format_config(VALUES, SUMMARY, origins=ORIGINS, with_origin=False)


def test_colours_say_what_updates_did():
    """Blue, green, red and grey as in Sacred; the indentation is not coloured, and nothing is by default."""
    text = format_config(VALUES, SUMMARY, origins=ORIGINS, color=True)
    assert f"  {BLUE}lr = 0.5{END}" in text
    assert f"  {GREEN}tag = None{END}" in text
    assert f"    {RED}act = 'relu'{END}" in text
    assert f"  {BLUE}model:{END}" in text
    assert f"{GREY}# the network{END}" in text
    legend = f"{BLUE}modified{END}, {GREEN}added{END}, {RED}typechanged{END}, {GREY}doc{END}"
    assert text.startswith(f"Configuration ({legend}):")
    plain = format_config(VALUES, SUMMARY, origins=ORIGINS)
    for code in (BLUE, GREEN, RED, GREY, END):
        text = text.replace(code, "")
    assert text == plain
    assert "\033" not in plain


class Loud:
    def __repr__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({}, None),
        ({"a": "x" * 3000}, "... (3000 characters)"),
        ({"a": Loud()}, "a = <Loud whose repr raises RuntimeError>"),
        ({"a": "\udc80"}, r"a = '\udc80'"),
        ({"a\nb": 1}, r"'a\nb' = 1"),
        ({3: 1}, "3 = 1"),
        ({"": 1}, "'' = 1"),
    ],
)
def test_odd_values_and_keys_do_not_break_the_layout(values, line):
    """`print_config` is where people look when something is odd; it must not be the thing that fails."""
    lines = format_config(values, ConfigSummary()).split("\n")
    assert len(lines) == 1 + len(values)
    assert line is None or line in lines[1]
    "\n".join(lines).encode("utf-8")


def test_values_of_several_lines_stay_together():
    """An array's repr has rows; they are indented under their entry."""
    numpy = pytest.importorskip("numpy")
    text = format_config({"a": {"m": numpy.eye(2)}, "b": 1}, ConfigSummary(docs={"a.m": "matrix\x1b[31m"}))
    assert text.split("\n")[2:] == [
        "    m = array([[1., 0.],    # matrix?[31m",
        "               [0., 1.]])",
        "  b = 1",
    ]


def test_no_line_ends_in_white_space():
    """So that the text can be pasted, stored and compared."""
    docs = {"lr": "  ", "model": "x \n y", "__doc__": "a  \n\n b "}
    for origins in ({}, ORIGINS):
        for color in (False, True):
            for line in format_config(VALUES, SUMMARY, docs, origins, color).split("\n"):
                assert line == line.rstrip()


# ---------------------------------------------------------------------------------------------- differences


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ({}, {}, []),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": [1, 2]}, {"a": (1, 2)}, ["~ a = [1, 2] -> (1, 2)"]),
        ({"a": float("nan")}, {"a": float("nan")}, []),
        ({"a": [1, 2]}, {"a": [1, 3]}, ["~ a = [1, 2] -> [1, 3]"]),
        ({"a": 1}, {"a": True}, ["~ a = 1 -> True  (int to bool)"]),
        ({"a": 1}, {"a": "1"}, ["~ a = 1 -> '1'  (int to str)"]),
        ({"a": 1}, {"a": 2.5}, ["~ a = 1 -> 2.5"]),
        ({"a": None}, {"a": 2}, ["~ a = None -> 2"]),
        ({"a": 2}, {"a": None}, ["~ a = 2 -> None"]),
        ({"a": {"b": 1, "c": {"d": 2}}}, {"a": {"b": 1, "c": {"d": 3}}}, ["~ a.c.d = 2 -> 3"]),
        ({"a": {"b": 1, "c": {"d": 2}}}, {}, ["- a.b = 1", "- a.c.d = 2"]),
        ({}, {"a": {"b": 1}, "e": {}}, ["+ a.b = 1", "+ e = {}"]),
        ({"a": 1}, {"a": {"b": 1}}, ["~ a = 1 -> {'b': 1}  (int to dict)"]),
    ],
)
def test_differences_are_listed_entry_by_entry(old, new, changes):
    """`capture diff` shows these; nothing that is equal may appear, and nothing that differs may be missing."""
    assert [str(change) for change in diff(old, new)] == changes


def test_differences_see_into_arrays():
    """Sacred compared arrays by whether any element was equal."""
    numpy = pytest.importorskip("numpy")
    same = numpy.array([1.0, numpy.nan])
    assert diff({"a": same}, {"a": same.copy()}) == []
    assert [c.kind for c in diff({"a": numpy.array([1, 2])}, {"a": numpy.array([1, 3])})] == ["changed"]


def test_changes_can_be_compared():
    """Tests of tools built on `diff` need it."""
    assert diff({"a": 1}, {"a": 2}, "x") == [Change("x.a", "changed", 1, 2)]
    assert Change("a", "added", new=1) != Change("a", "removed", old=1)
    assert Change("a", "added") != 3
