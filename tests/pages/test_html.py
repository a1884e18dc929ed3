"""HTML is made of elements that escape what they are given, so that no page can be broken from inside."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from hypothesis import given

from capture.pages import html
from capture.pages.html import Cell, Html, element, escape, image, page, table, together
from capture.pages.looks import SCRIPT, STYLE
from capture.query._images import image_type
from capture.wording import visible
from tests.pages.checking import NASTY, Page, read, texts


@given(texts)
def test_text_is_shown_and_never_markup(text):
    """Whatever a record holds, a reader sees it, and the browser obeys none of it."""
    parsed = Page(element("p", text))
    assert parsed.wrong == [] and parsed.count == {"p": 1}
    assert "".join(parsed.words) == visible(text, lines=True)


@given(texts)
def test_an_attribute_cannot_be_left_from_inside(text):
    """Quotes in a value would otherwise begin an attribute of their own, such as a handler."""
    parsed = Page(element("p", title=text))
    assert parsed.wrong == [] and parsed.count == {"p": 1}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("onclick", "x()"), ("onerror", "x"), ("style", "color: red"), ("srcdoc", "x"), ("formaction", "#x"),
        ("href", "javascript:1"), ("href", "http://example.org"), ("href", " #x"), ("src", "x.png"),
        ("src", "http://example.org/x.png"), ("src", "data:text/html,x"),
    ],
)  # fmt: skip
def test_what_could_run_or_load_is_refused(name, value):
    """A page is safe because no code of ours can make it otherwise, not because each of us takes care."""
    with pytest.raises(ValueError, match="page|place|run"):
        element("a", **{name: value})


def test_what_is_html_already_is_not_escaped_again():
    """Elements are put into elements; escaped twice, readers would see the escapes."""
    assert element("p", element("b", "<")) == "<p><b>&lt;</b></p>"
    assert together("<", None, False, Html("<br>"), [1, ("&",)]) == "&lt;<br>1&amp;"
    assert escape(escape("<")) == "&lt;"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n....", "image/png"), (b"\xff\xd8\xff\xe0", "image/jpeg"), (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"), (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"), (b"<svg xmlns=", None),
        (b"<?xml version", None), (b"<html>", None), (b"%PDF-1.7", None), (b"", None), (b"RIFF1234WAVE", None),
        (b" \x89PNG\r\n\x1a\n", None), (b"BM", None),
    ],
)  # fmt: skip
def test_images_are_known_by_their_bytes(data, kind):
    """A name says nothing: an HTML file called plot.png must not be shown, nor any SVG, which can hold scripts."""
    assert image_type(data) == kind
    if kind is None:
        with pytest.raises(ValueError, match="no PNG"):
            image(data, "plot.png")
    else:
        assert f"data:{kind};base64,{base64.b64encode(data).decode()}" in image(data, "plot")


def test_the_policy_allows_our_own_style_and_script_and_nothing_else():
    """Were something to slip through after all, the browser refuses it."""
    parsed = read(page("a title", element("h1", "x")))
    for text, kind in ((STYLE, "style"), (SCRIPT, "script")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in parsed.policy
    assert re.fullmatch(
        r"default-src 'none'; style-src '\S+'; script-src '\S+'; img-src data:; base-uri 'none'; form-action 'none'",
        parsed.policy,
    )


def test_style_and_script_cannot_end_early_and_fetch_nothing():
    """Both stand in the page as they are; a URL in them would be asked for when it is opened."""
    assert "</" not in STYLE.replace("</style", "</") and "</" not in SCRIPT
    assert "url(" not in STYLE and "@import" not in STYLE
    for word in ("innerHTML", "eval", "fetch", "XMLHttp", "import(", "document.write"):
        assert word not in SCRIPT


def test_a_cell_is_sorted_by_its_number_and_not_by_its_text():
    """10 s before 9 s, and 1.2 GB before 900 B, would be a table that lies."""
    made = table(["size"], [[Cell("1.2 GB", 1_200_000_000)], ["plain"]], "sorts", numbers=(0,))
    assert '<td class="number" data-sort="1200000000">1.2 GB</td>' in made and '<td class="number">plain</td>' in made


def test_lines_of_a_diff_are_coloured_by_what_became_of_them():
    """Added and removed are told apart at a glance; what stands in the lines stays text."""
    made = html.diff("--- a\n+++ b\n@@ -1 +1 @@\n-<old>\n+new\n same\n")
    assert '<span class="gone">-&lt;old&gt;\n</span>' in made and '<span class="added">+new\n</span>' in made
    assert made.count("<span") == 6


@pytest.mark.parametrize("text", NASTY)
def test_a_title_is_text(text):
    """The title stands where HTML has rules of its own, and is what --title= takes."""
    parsed = read(page(text, element("h1", text)))
    assert "".join(parsed.inside["title"]).strip() == visible(text, lines=True).strip()
