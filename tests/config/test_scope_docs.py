"""What comments and positions in the source say about entries."""

from __future__ import annotations

import pytest

from capture.config.scope import ConfigScope


@ConfigScope
def documented():
    """The defaults.

    They are good ones.
    """
    # description for a
    a = 1
    # b and c together
    b, c = 2.0, True
    d = "# no comment"
    e = [1, 2]  # inline, with "quotes" and # another mark
    # above f
    f = {"x": 1}  # inline f
    # pylint: disable=all
    g = 1
    # Über die Länge
    h = "ä"  # größer
    # two lines
    # about i
    i = 1

    # after an empty line, too

    j = 1
    if a:
        k = 1  # in a branch
    else:
        k = 2  # not the first
    for n in range(2):
        # in a loop
        m = n
    try:
        with open(__file__):
            o = 1  # deep inside
    except OSError:
        p = 1  # in a handler
    q: int = 3  # annotated
    r = (
        1,  # not about r
        2,
    )  # about r
    s = """
    # not a comment"""
    t = 1
    # ----------------
    u = 1
    v = 1; w = 2  # both  # fmt: skip  # noqa: E702
    first = "#".join(  # on the first line
        ["a", "b"]
    )
    _hidden = 1  # no entry
    z = 1  # type: ignore

    def helper():
        y = 1  # another function's
        return y + 1

    match a:
        case 1:
            x = 1  # in a case


def test_comments_beside_and_above_describe_entries():
    """`print_config` shows them; nobody writes them twice."""
    docs = dict(documented.docs)
    assert docs.pop("__doc__") == "The defaults.\n\nThey are good ones."
    assert docs == {
        "a": "description for a",
        "b": "b and c together",
        "c": "b and c together",
        "e": 'inline, with "quotes" and # another mark',
        "f": "inline f",
        "h": "größer",
        "i": "two lines about i",
        "j": "after an empty line, too",
        "k": "in a branch",
        "m": "in a loop",
        "o": "deep inside",
        "p": "in a handler",
        "q": "annotated",
        "r": "about r",
        "v": "both  # fmt: skip  # noqa: E702",
        "w": "both  # fmt: skip  # noqa: E702",
        "first": "on the first line",
        "x": "in a case",
    }
    assert documented().docs == documented.docs


def test_keys_of_a_dict_written_over_several_lines_are_described():
    """Groups of entries are declared as dicts, and commented key by key."""

    @ConfigScope
    def cfg():
        model = {
            "width": 64,  # units per layer
            # how many layers
            "depth": 3,
            "head": {
                "kind": "linear",  # linear or mlp
            },
            "last": 1,
        }  # the network
        optimizer = dict(
            lr=0.1,  # learning rate
        )

    assert cfg.docs == {
        "model": "the network",
        "model.width": "units per layer",
        "model.depth": "how many layers",
        "model.head.kind": "linear or mlp",
        "optimizer.lr": "learning rate",
    }


def test_parameters_with_defaults_are_described():
    """They declare entries, so they deserve a word."""

    @ConfigScope
    def cfg(
        lr: float = 0.1,  # learning rate
        # how often
        steps=10,
        *,
        seed_offset=0,  # added to the seed
    ):
        pass

    assert cfg.docs == {"lr": "learning rate", "steps": "how often", "seed_offset": "added to the seed"}
    lines = cfg().lines
    assert lines["steps"] == lines["lr"] + 2


def test_which_comments_are_ignored_can_be_chosen():
    """SETTINGS.CONFIG.IGNORED_COMMENTS is passed on to here."""

    def cfg():
        a = 1  # TODO: later
        b = 1  # pylint: off

    assert ConfigScope(cfg).docs == {"a": "TODO: later"}
    assert ConfigScope(cfg, ignored_comments=["^TODO"]).docs == {"b": "pylint: off"}


def test_lines_tell_where_an_entry_was_last_bound():
    """`print_config` says which line set each entry."""

    @ConfigScope
    def cfg(flag=True):
        a = 1
        b = 2
        if flag:
            a = 3
        c = [
            1,
        ]

    first = cfg.origin.line
    assert (cfg.origin.kind, cfg.origin.name, cfg.origin.file) == ("config scope", "cfg", __file__)
    assert str(cfg.origin) == f"config scope cfg (test_scope_docs.py:{first})"
    assert cfg().lines == {"flag": first + 1, "a": first + 5, "b": first + 3, "c": first + 6}
    assert cfg({"flag": False, "new": 1}).lines == {"flag": first + 1, "a": first + 2, "b": first + 3, "c": first + 6}


def test_docs_cost_no_evaluation():
    """`help` must not run the user's code."""

    @ConfigScope
    def cfg():
        # never seen
        a = 1 / 0

    assert cfg.docs == {"a": "never seen"}
    with pytest.raises(ZeroDivisionError):
        cfg()
