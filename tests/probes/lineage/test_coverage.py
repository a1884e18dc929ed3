"""The coverage statement says what was watched and what was not, so that a scientist can rely on it."""

from __future__ import annotations

from capture.probes.lineage.coverage import statement

NO_CHILDREN = {"observed": 0, "not_observed": 0, "names": [], "harmless": []}


def test_where_nothing_went_unseen_it_says_so_and_still_names_its_limits():
    """"Complete" must never be read as "all files"."""
    said = statement(since="noon", children=NO_CHILDREN, folders=12, libraries=[], urls=True)
    assert said["complete"] and said["unseen"] == []
    assert said["text"] == (
        "Watched: files that Python opened, by its audit hook, since noon; files that libraries opened past Python, for"
        " those that are known and tested; URLs fetched by http.client, httpx and aiohttp; 12 folders, for files that anybody"
        " opened there. Nothing is known to have gone unseen. Out of sight: what was opened before, or after the run."
    )


def test_what_is_switched_off_is_said():
    """A setting of last month must not make today's record look whole."""
    said = statement(since="noon", children=None, libraries=None)
    assert "child processes" in said["text"] and "past Python" in said["text"]
    assert said["watched"] == ["files that Python opened, by its audit hook, since noon"]


def test_each_thing_that_went_unseen_makes_it_incomplete():
    """One exception and the verdict would rest on it."""
    whole = {"since": "noon", "children": NO_CHILDREN, "libraries": [], "urls": True, "folders": 1}
    for gap, words in [
        ({"children": {**NO_CHILDREN, "not_observed": 2, "names": ["cat", "wc"]}}, "2 child processes not observed (cat, wc)"),
        ({"libraries": ["polars 9 is newer than what was tested"]}, "polars 9 is newer"),
        ({"hosts": ["db.example"]}, "connections whose content is not recorded: db.example"),
        ({"nearby": 1}, "1 file was opened nearby"),
        ({"lost": 1000}, "1,000 things more than are kept"),
        ({"hook_errors": 1, "first_error": "TypeError: x"}, "1 time (TypeError: x)"),
        ({"replaced": ["cat"]}, "what cat did"),
        ({"failures": ["URLs (watching them failed: x)"]}, "URLs (watching them failed: x)"),
    ]:
        said = statement(**{**whole, **gap})
        assert not said["complete"], gap
        assert words in said["text"], said["text"]


def test_long_lists_are_cut_short():
    """A run may talk to hundreds of hosts; the statement is for people."""
    said = statement(since="noon", children=NO_CHILDREN, hosts=[f"host{n}" for n in range(9)])
    assert "host0, host1, host2, host3, host4 and 4 more" in said["text"]
