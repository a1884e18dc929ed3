"""Why runs differ, as a page and as Markdown: the ranked causes first, everything escaped, within limits."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from itertools import cycle

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from capture.filters import MISSING
from capture.pages import markdown
from capture.pages.comparison import as_html, as_markdown, metric_of
from capture.query.differences import CAUSES, OUTCOMES, Comparison, Difference
from capture.records import RunRecord, Series
from tests.pages.checking import NASTY, read, texts, values

DIFF = "--- a/train.py\n+++ b/train.py\n@@ -1,2 +1,2 @@\n x = 1\n-y = 2\n+y = 3\n"


def comparison(**more) -> Comparison:
    """Return a comparison of runs 3 and 4, which differ in a bit of everything."""
    causes = [
        Difference("config", "config.lr", [0.1, 0.01], ["config scope defaults (train.py:7)", "command line"], 0.95, "set for run 4"),
        Difference("source", "train.py", ["0" * 64, "1" * 64], None, 0.85, "code was changed", DIFF),
        Difference("package", "packages.rich", ["13.0", MISSING], None, 0.1),
    ]
    outcomes = [Difference("result", "result", [0.93111111111, 0.5]), Difference("metric", "loss", [0.25, 0.5])]
    return Comparison(["3", "4"], more.get("causes", causes), more.get("outcomes", outcomes), more.get("limits", ["no output"]))


def runs() -> list[RunRecord]:
    made = [RunRecord("a", "3"), RunRecord("b", "4")]
    for run in made:
        run.metrics = {"loss": Series("loss", [0, 1, 2], [3.0, 1.0, 0.5], [0, 1, 2])}
    return made


def nasty(words: list[str], some: list[object]) -> Comparison:
    """Return a comparison whose every text is somebody else's."""
    word, value = cycle(words), cycle(some)
    differences = [
        Difference(
            kind, next(word), [next(value), MISSING, next(value)], [next(word), None, next(word)], place / 9, next(word),
            f"--- {next(word)}\n+++ {next(word)}\n@@ -1 +1 @@\n-{next(word)}\n+{next(word)}\n" if place % 2 else "",
        )
        for place, kind in enumerate((*CAUSES, *OUTCOMES))
    ]  # fmt: skip
    return Comparison([next(word) for _ in range(3)], differences[:9], differences[9:], [next(word), next(word)])


# ---------------------------------------------------------------------------------------------------------------- HTML


def test_a_page_has_causes_first_then_what_came_out_then_limits():
    """Whoever opens it reads the likeliest cause in the first sentence."""
    page = read(as_html(comparison(), runs()))
    order = [
        "Why runs 3 and 4 differ", "The likeliest cause", "config.lr", "0.1", "against", "0.01", "What went in",
        "set for run 4", "config scope defaults (train.py:7)", "train.py", "+y = 3", "1 less likely", "packages.rich",
        "What came out", "0.93111", "run 3", "What could not be compared", "no output",
    ]  # fmt: skip
    place = -1
    for words in order:
        place = page.text.find(words, place + 1)
        assert place >= 0, words
    assert page.count["svg"] >= 2, "a legend's lines and the curves of the metric that differs"


def test_curves_are_drawn_of_runs_that_the_comparison_knows():
    """`capture diff --html` has the comparison; the runs come with it."""
    told = comparison()
    told.runs = runs()
    assert read(as_html(told)).count["svg"] == read(as_html(comparison(), runs())).count["svg"]
    assert "svg" not in read(as_html(comparison())).count


@pytest.mark.parametrize(
    ("name", "metric"), [("loss", "loss"), ("metrics.loss.last", "loss"), ("metrics.loss", "loss"), ("acc", None)]
)
def test_a_metric_is_found_by_the_path_of_a_condition(name, metric):
    """A difference may name it either way."""
    assert metric_of(name, runs()) == metric


@pytest.mark.slow
@settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck))
@given(words=st.lists(texts, min_size=1, max_size=6), some=st.lists(values, min_size=1, max_size=6))
def test_a_page_is_whole_whatever_differs(words, some):
    """File names, values and diffs are other people's text."""
    read(as_html(nasty(words, some)))


def test_where_nothing_differs_the_page_says_so():
    """An empty table would leave a doubt."""
    page = read(as_html(comparison(causes=[], outcomes=[], limits=[])))
    assert "Nothing that was compared differs" in page.text


def test_unexplained_outcomes_are_said_to_be():
    """That what came out differs and nothing that went in does, is the finding."""
    assert "yet what came out does" in read(as_html(comparison(causes=[]))).text
    assert "yet what came out does" in as_markdown(comparison(causes=[]))


def test_what_is_equal_is_told_apart_from_what_differs():
    """With --all both are listed; a reader must not take one for the other."""
    equal = [Difference("config", "config.epochs", [15, 15], same=True), Difference("package", "numpy", ["2.0", "2.0"], same=True)]
    told = comparison(causes=[*comparison().causes, *equal], outcomes=[Difference("status", "status", ["FAILED"] * 2, same=True)])
    text = read(as_html(told)).text
    assert "2 equal" in text and text.index("less likely") < text.index("2 equal") < text.index("config.epochs")
    assert "3 equal" in as_markdown(told)


def test_the_working_tree_is_called_by_its_name():
    """A run is compared with the files as they are now, and "run ." would be no sentence."""
    told = comparison()
    told.names = ["3", "."]
    assert "Why run 3 and the working tree differ" in read(as_html(told)).text
    assert as_markdown(told).startswith("### Why run 3 and the working tree differ")
    assert "run ." not in as_html(told) + as_markdown(told)


@pytest.mark.slow
def test_a_page_about_many_differences_is_bounded():
    """Two unlike machines differ in hundreds of packages, two branches in megabytes of diff."""
    many = [Difference("package", f"p{place}", ["x" * 9999, "y"], None, 0.9, "", "+z\n" * 100_000) for place in range(900)]
    source = as_html(comparison(causes=many))
    assert len(source) < 4_000_000
    assert "600 more differences left out" in read(source).text and "more lines left out" in read(source).text


# ------------------------------------------------------------------------------------------------------------ Markdown


def rendered(text: str) -> str:
    """Return what becomes of Markdown on a site that lets HTML through, as GitHub does before it looks for mentions."""
    return MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(text)


def seen(text: str):
    """Return elements that are there after rendering, with their attributes, and the text outside of code."""
    from html.parser import HTMLParser

    class Reader(HTMLParser):
        def __init__(self):
            super().__init__()
            self.tags: list[tuple[str, tuple]] = []
            self.pieces: list[str] = []
            self.code = 0

        def handle_starttag(self, tag, attrs):
            self.tags.append((tag, tuple(attrs)))
            self.code += tag in ("code", "pre")

        def handle_endtag(self, tag):
            self.code -= tag in ("code", "pre")

        def handle_data(self, data):
            if not self.code:
                self.pieces.append(data)

    reader = Reader()
    reader.feed(rendered(text))
    return reader


ALLOWED = {"h3", "h4", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "pre", "details", "summary", "br", "ul", "li"}


def check(text: str):
    """Check that nothing but our own markup is there, and that nobody is mentioned."""
    text.encode("utf-8")
    reader = seen(text)
    for tag, attributes in reader.tags:
        assert tag in ALLOWED, tag
        assert not attributes or attributes == (("class", "language-diff"),), (tag, attributes)
    for piece in reader.pieces:
        assert not re.search(r"@\w|#\d|https?://|www\.", piece), piece
    return reader


@pytest.mark.slow
@settings(deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
@given(words=st.lists(texts, min_size=1, max_size=6), some=st.lists(values, min_size=1, max_size=6))
def test_markdown_is_ours_whatever_differs(words, some):
    """Put under a pull request, it must not ping a team, show somebody's HTML, or lose its tables."""
    check(as_markdown(nasty(words, some)))


def test_markdown_of_all_nasty_words():
    """The list of what has broken others, every time."""
    reader = check(as_markdown(nasty(NASTY, [*NASTY, float("inf"), None])))
    tags = [tag for tag, _ in reader.tags]
    assert tags.count("table") == 3


def test_every_row_of_a_table_has_all_its_cells():
    """A pipe in a value would move what stands behind it into the next column."""
    causes = [Difference("config", f"config.{word}", [word, "a\\|b"], [word, word], 0.9, word) for word in NASTY]
    html = rendered(as_markdown(comparison(causes=causes)))
    table = html[html.index("<tbody>") : html.index("</tbody>")]
    assert [row.count("<td") for row in table.split("<tr>")[1:]] == [4] * len(NASTY)


def test_markdown_says_the_likeliest_cause_first():
    """A reviewer reads one sentence."""
    lines = as_markdown(comparison()).splitlines()
    assert lines[0] == "### Why runs 3 and 4 differ"
    assert lines[2] == "The likeliest cause is the configuration `config.lr`: `0.1` against `0.01`."
    assert "| `config.lr` configuration | `0.1`<br>config scope defaults (train.py:7) | `0.01`<br>command line | set for run 4 |" in lines


def test_the_head_says_which_runs_these_are_and_the_foot_when_it_was_written():
    """A page is looked at long after it was made, by others."""
    compared = runs()
    for run, state in zip(compared, ("COMPLETED", "PREEMPTED")):
        run.experiment, run.status, run.start_time = {"name": f"of-{run.label}"}, state, datetime(2026, 1, 31, 9, tzinfo=timezone.utc)
    text = read(as_html(comparison(), compared)).text
    for words in ("of-3", "of-4", "PREEMPTED", "2026-01-31", "Written by capture, 20"):
        assert words in text, words


def test_nothing_that_came_out_has_no_heading():
    """An empty heading looks as if something were missing."""
    assert "What came out" in read(as_html(comparison())).text
    assert "What came out" not in read(as_html(comparison(outcomes=[]))).text


def test_causes_of_the_same_weight_are_named_together():
    """To name one of them would be a guess."""
    causes = [Difference("source", name, ["0", "1"], None, 0.85, "", f"+{name}") for name in ("helpers.py", "train.py")]
    causes.append(Difference("git", "git.patch", ["a", "b"], None, 0.04, "", "+helpers.py\n+train.py"))
    told = as_markdown(comparison(causes=causes))
    assert told.splitlines()[2] == "The likeliest cause is the source, one of `helpers.py`, `train.py`."
    assert told.count("+train.py") == 1, "and the patch does not repeat it"
    words = read(as_html(comparison(causes=causes))).text.replace(" ,", ",")
    assert "one of helpers.py, train.py" in words


def test_a_fence_is_longer_than_any_in_the_diff():
    """A README among the sources has fences of its own."""
    text = as_markdown(comparison(causes=[Difference("source", "README.md", ["0", "1"], None, 0.9, "", "+````diff\n-```\n")]))
    assert "\n`````diff\n" in text and rendered(text).count("<pre>") == 1


@pytest.mark.parametrize("longest", [1000, 5000, 65_000])
def test_markdown_keeps_to_its_limit_and_counts_what_is_left_out(longest):
    """A comment that is too long is refused as a whole; what found no room is not silently missing."""
    many = [
        Difference("source", f"module{place}.py", ["0", "1"], None, 0.9, "x" * 200, "+ new line\n" * 3000)
        for place in range(400)
    ]
    text = as_markdown(comparison(causes=many, limits=["y" * 3000] * 30), longest)
    assert len(text) <= longest
    assert re.search(r"Left out, since there is no room for more: .*\d+ differences", text)
    check(text)


@pytest.mark.parametrize("text", ["@octocat", "see #12", "http://x.example", "www.x.example", "a@b.example"])
def test_nobody_is_mentioned_and_nothing_is_linked(text):
    """A site finds names in what its Markdown became, so that an escape alone does not help."""
    reader = seen(markdown.prose(text))
    assert [tag for tag, _ in reader.tags] == ["p"]
    assert text not in reader.pieces and "".join(reader.pieces).strip() == text


def test_code_shows_its_text_as_it_is():
    """Escaped text must read as the value that was recorded."""
    for text in ("a|b", "`x`", "\\|", "<b>", "*x*", "_x_", "&amp;", " x ", "~~x~~", "a`b``c"):
        html = rendered(f"| a |\n| --- |\n{markdown.row([markdown.code(text)])}")
        cell = re.search(r"<td>(.*?)</td>", html, re.DOTALL)[1]
        import html as unescaping

        assert unescaping.unescape(re.sub("<[^>]*>", "", cell)).strip() == text.strip(), (text, cell)
