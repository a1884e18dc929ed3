"""The code in the README and in every page of the documentation runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.docs.pages import Block, PageRunner, _pattern, _squeeze, blocks_of
from tests.project.tree import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_code_on_a_page_runs(page, tmp_path, monkeypatch):
    """A reader copies what is there; if it does not work, the page costs more than it gives."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    try:
        PageRunner(page, tmp_path).run()
    finally:
        for name in set(sys.modules) - before:  # a page's train.py is not the next page's train.py
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
                del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_library_has_every_name_that_a_page_mentions(page):
    """Documentation runs ahead of the code, or stays behind it, unless something compares the two."""
    import importlib

    text = page.read_text(encoding="utf-8")
    for name in sorted(set(re.findall(r"`(capture(?:\.(?!json`)[A-Za-z_]\w*)+)(?:\(\))?`", text))):
        parts = name.split(".")
        thing = None
        for cut in range(len(parts), 0, -1):
            try:
                thing = importlib.import_module(".".join(parts[:cut]))
            except ModuleNotFoundError:
                continue
            for part in parts[cut:]:
                thing = getattr(thing, part)
            break
        assert thing is not None, name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_between_pages_lead_somewhere(page):
    """A link to a page that was renamed is found here, not by a reader."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)\s#]+)(?:#[\w-]+)?\)", text):
        assert (page.parent / target).exists(), target


def test_blocks_are_found_with_their_marks():
    """The runner is itself a parser; a block that it overlooks would never be run."""
    text = "a\n```python\nx = 1\n```\n<!-- not run: needs a cluster -->\n```console\n$ sbatch\n```\n<!-- run:\nassert x\n-->\n"
    assert blocks_of(text) == [
        Block("python", "x = 1\n", 3),
        Block("console", "$ sbatch\n", 7, "not run", "needs a cluster"),
        Block("python", "assert x\n", 9),
    ]


@pytest.mark.parametrize(
    ("expected", "output", "equal"),
    [
        ("loss 0.5\n", "loss   0.5\n\n", True),
        ("loss 0.5\n", "loss 0.6\n", False),
        ("loss ...\n", "loss 0.6\n", True),
        ("...\nlast\n", "one\ntwo\nlast\n", True),
        ("first\n...\n", "first\ntwo\nthree\n", True),
        ("first\n...\nlast\n", "first\nlast\n", True),
        ("first\n...\nlast\n", "first\nbut\n", False),
        ("one\n", "one\ntwo\n", False),
    ],
)
def test_output_is_compared_loosely_but_compared(expected, output, equal):
    """Dots stand for what changes from run to run; everything else is a promise."""
    assert bool(_pattern(expected).fullmatch(_squeeze(output))) is equal
