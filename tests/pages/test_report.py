"""A page about runs: all that is known of them, escaped, within limits, loading nothing."""

from __future__ import annotations

import io
from datetime import datetime, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capture import Experiment, open_store
from capture.observers import FileStorageObserver
from capture.pages import one_run as module
from capture.pages.report import report
from capture.records import RunRecord, Series, StoredFile, bytes_opener
from tests.pages.checking import NASTY, nasty_run, read, texts, values

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 50


def record(**attributes) -> RunRecord:
    """Return a run with little in it."""
    run = RunRecord("0" * 32, "7")
    run.status, run.experiment = "COMPLETED", {"name": "digits"}
    run.start_time, run.stop_time = (datetime(2026, 1, 1, 12, 0, second, tzinfo=timezone.utc) for second in (0, 9))
    for name, value in attributes.items():
        setattr(run, name, value)
    return run


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(words=st.lists(texts, min_size=1, max_size=8), some=st.lists(values, min_size=1, max_size=8))
def test_a_page_about_anything_is_whole_and_harmless(words, some):
    """Records come from anywhere: none of their text may become markup, break the page, or stop it from being made."""
    read(report([nasty_run(words, some)], title=words[0]))


@pytest.mark.slow
@settings(deadline=None, max_examples=20, suppress_health_check=list(HealthCheck))
@given(words=st.lists(texts, min_size=2, max_size=8), some=st.lists(values, min_size=2, max_size=8))
def test_a_page_about_several_of_anything_is_too(words, some):
    """Several runs add a table of them, overlaid curves and what differs, each with the runs' own words in it."""
    other = nasty_run(words[::-1], some[::-1])
    read(report([nasty_run(words, some), other, record()]))


def test_all_nasty_words_at_once():
    """The list of what has broken other pages, every time, whatever Hypothesis chooses."""
    read(report([nasty_run(NASTY, [NASTY, float("nan"), None]), nasty_run(NASTY[::-1], [{"a": NASTY}, 10**5000])]))


def test_runs_with_nasty_words_are_compared():
    """Words of others are no reason not to say why runs differ."""
    page = read(report([nasty_run(NASTY, [NASTY, 1], odd=False), nasty_run(NASTY[::-1], [{"a": NASTY}, 2], odd=False)]))
    assert "What went in" in page.text and "could not be compared: something" not in page.text


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Return real runs: two that completed, one that failed."""
    monkeypatch.chdir(tmp_path)
    ex = Experiment("tiny", save_git_info=False)
    ex.observers.append(FileStorageObserver(tmp_path / "runs"))
    (tmp_path / "plot.png").write_bytes(PNG)
    (tmp_path / "page.html").write_text("<script>alert(1)</script>")
    (tmp_path / "in.csv").write_text("a,b")

    @ex.config
    def defaults():
        lr = 0.1  # learning rate
        fails = False

    @ex.main
    def main(lr, fails, _run):
        print("said by main")
        for step in range(5):
            _run.log_scalar("loss", lr / (step + 1), step)
        _run.add_artifact("plot.png")
        _run.add_artifact("page.html")
        _run.add_resource("in.csv")
        _run.info["best"] = {"step": 4}
        if fails:
            raise ValueError("as <asked>")
        return lr * 2

    ex.run()
    ex.run(config_updates={"lr": 0.5})
    with pytest.raises(ValueError):
        ex.run(config_updates={"fails": True})
    return [open_store(tmp_path / "runs").get(label) for label in (1, 2, 3)]


def test_a_page_about_one_run_has_all_of_it(runs):
    """Somebody who gets the page has nothing else: what the run was given, what it did and what came of it is there."""
    source = report(runs[:1])
    page = read(source)
    for words in (
        "Run 1 of tiny", "COMPLETED", "0.2", "lr", "config scope defaults", "learning rate", "said by main", "plot.png",
        "page.html", "in.csv", "test_report.py", "best", "loss", "Python", "Environment",
    ):  # fmt: skip
        assert words in page.text, words
    assert len(page.images) == 1 and page.count["svg"] >= 1
    assert "<script>alert" not in source and len(page.images) == 1, "an HTML file is listed, and never shown"


def test_a_page_about_several_runs_says_why_they_differ(runs):
    """Side by side they have one table and one picture for each metric, with the likeliest cause in a sentence."""
    page = read(report(runs))
    for words in ("Runs 1, 2 and 3 of tiny", "What differs", "The likeliest cause", "config.lr", "0.5", "run 3"):
        assert words in page.text, words
    assert "run-0" in page.ids and "#run-2" in page.links


def test_runs_of_several_experiments_are_told_apart_and_long_numbers_are_short():
    """Sixteen digits of each number of a result make the table wider than any screen."""
    made = [RunRecord("a", "1"), RunRecord("b", "2")]
    for run, name in zip(made, ("first", "second")):
        run.experiment, run.status, run.result = {"name": name}, "COMPLETED", {"loss": 1.0 / 3.0, "n": 2}
    table = report(made).partition("</table>")[0]
    assert "experiment" in table and "first" in table and "second" in table
    assert "0.33333" in table and "0.333333" not in table
    made[1].experiment = made[0].experiment
    assert "experiment" not in report(made).partition("</table>")[0].partition("<table")[2]


def test_what_was_set_for_a_run_is_marked(runs):
    """It is what tells this run from all others of the experiment."""
    mark = "<strong>* </strong>"
    assert report(runs[1:2]).count(mark) == 1
    assert report(runs[:1]).count(mark) == 0


def test_a_failure_comes_first(runs):
    """Of a failed run nobody wants to see the configuration before the error."""
    page = read(report(runs[2:]))
    assert "ValueError: as <asked>" in page.text
    assert page.text.index("Traceback") < page.text.index("Configuration", page.text.index("Traceback"))
    assert page.links[0] == "#failure"


def test_what_differs_comes_first_then_curves_then_each_run(runs):
    """It is why they stand on one page."""
    page = read(report(runs))
    assert page.links[:3] == ["#differences", "#metrics", "#outcomes"] and "#each" in page.links
    assert page.text.index("The likeliest cause") < page.text.index("by step") < page.text.rindex("Run by run")


def alive_or_not(answer):
    """Return a run that is recorded as RUNNING, of a store that knows this of its process."""
    from types import SimpleNamespace

    run = record(status="RUNNING", stop_time=None, heartbeat=datetime(2026, 1, 1, 12, 5, tzinfo=timezone.utc))
    run.store, run.state = SimpleNamespace(is_alive=lambda _: answer, url="x"), "DIED" if answer is False else "RUNNING"
    return run


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (False, "DIED · 2026-01-01 12:00:00 UTC · 5 min recorded as RUNNING, but its process is gone; the last sign came 2026-01-01 12:05:00 UTC"),
        (True, "its process is alive; the last sign came 2026-01-01 12:05:00 UTC"),
        (None, "since 2026-01-01 12:05:00 UTC; whether it lives cannot be told from here"),
    ],
)  # fmt: skip
def test_what_a_state_rests_on_is_said(answer, words):
    """A record of a run that was killed says RUNNING for ever; a reader of the page must not wait for it."""
    page = read(report([alive_or_not(answer)]))
    assert words in page.text
    assert ("no sign for" in page.text) == (answer is None)
    several = read(report([alive_or_not(answer), record(label="8")])).text
    assert words.rpartition(" · ")[2].partition(" recorded")[0] in several
    assert ("RUNNING recorded as" not in several) and ("DIED recorded as RUNNING" in several) == (answer is False)


def test_a_repository_without_a_remote_is_named_by_its_folder():
    """``git://data/p`` is no address, although Sacred's layout has it; of git's own facts the folder is known."""
    run = record(facts={"git": [{"commit": "c" * 40, "root": "/data/p"}]})
    run.experiment["repositories"] = [{"url": "git://data/p", "commit": "c" * 40, "dirty": False}]
    page = report([run])
    assert "git://" not in page and "/data/p" in page
    run.experiment["repositories"][0]["url"] = "git://example.org/p"
    assert "git://example.org/p" in report([run])


def test_a_long_configuration_is_folded_but_for_what_was_set():
    """Two hundred entries between the curves and the output would hide both."""
    run = record(config={f"k{place:03}": place for place in range(200)})
    run.facts = {"config": {"origins": {f"k{place:03}": "command line" if place == 150 else "config scope" for place in range(200)}}}
    text = read(report([run])).text
    assert text.index("k150") < text.index("199 more entries") < text.index("k149")


def test_a_page_of_long_curves_is_small():
    """Eight runs with 100,000 points each are sent by mail."""
    import random

    def long(seed: int) -> RunRecord:
        draw = random.Random(seed)
        values = [1 / (1 + place / 1000) + draw.random() / 10 for place in range(100_000)]
        return record(label=str(seed), metrics={"loss": Series("loss", range(100_000), values, range(10**15, 10**15 + 10**11, 10**6))})

    assert len(report([long(seed) for seed in range(8)])) < 500_000


def test_a_page_is_the_same_whoever_opens_it_where(runs):
    """Nothing in it refers to a file or an address: it can be moved and archived."""
    page = read(report(runs))
    assert all(link.startswith("#") for link in page.links)


def test_long_output_is_cut_in_the_middle_and_says_so():
    """The beginning says what was started, the end what came of it; what is between is counted."""
    text = "first\n" + "x" * 300_000 + "\nlast\n"
    page = read(report([record(read_output=lambda: text)]))
    assert "first" in page.text and "last" in page.text
    assert f"{len(text) - module.LONGEST_OUTPUT:,} characters left out" in page.text


def test_colours_and_overwritten_lines_of_a_terminal_are_not_shown():
    """A progress bar is one line on a terminal, and a thousand in a file."""
    output = "\x1b[32mgreen\x1b[0m\n" + "".join(f"\r{done} %" for done in range(1000)) + "\ndone\n"
    page = read(report([record(read_output=lambda: output)]))
    assert "green 999 % done" in page.text and "[32m" not in page.text and "500 %" not in page.text


@pytest.mark.slow
def test_the_size_of_a_page_is_bounded():
    """Fifty runs with much of everything still make a page that a browser opens and a mail takes."""
    def large(label: int) -> RunRecord:
        files = [StoredFile(f"s{place}.py", "0" * 64, 10**6, open=bytes_opener(b"x = 1\n" * 200_000)) for place in range(20)]
        images = [StoredFile(f"i{place}.png", "1" * 64, 10**6, open=bytes_opener(PNG + bytes(900_000))) for place in range(5)]
        return record(
            label=str(label), read_output=lambda: "y" * 10**6, sources=files, artifacts=images,
            notes="z" * 10**6, tags=["t" * 10**4] * 1000, fail_trace=["f" * 10**6],
            config={f"k{place}": "v" * 10**4 for place in range(600)},
            metrics={f"m{place}": Series(f"m{place}", range(50), range(50), range(50)) for place in range(60)},
        )  # fmt: skip

    one = report([large(0)])
    page = read(one)
    assert len(one) < 10_000_000
    assert len(report([large(place) for place in range(50)])) < 22_000_000
    for words in ("left out", "more entries left out", "more metrics not drawn", "Cut after"):
        assert words in page.text, words


def test_images_beyond_the_limits_are_listed_and_not_shown(monkeypatch):
    """One picture of 100 MB must not make a page that no browser opens; that it is missing is said."""
    monkeypatch.setattr(module, "LARGEST_IMAGE", 100)
    monkeypatch.setattr(module, "ALL_IMAGES", 150)
    files = [
        StoredFile("small.png", None, 58, open=bytes_opener(PNG)),
        StoredFile("large.png", None, 158, open=bytes_opener(PNG + bytes(100))),
        StoredFile("second.png", None, 58, open=bytes_opener(PNG)),
        StoredFile("third.png", None, 58, open=bytes_opener(PNG)),
    ]
    page = read(report([record(artifacts=files)]))
    assert len(page.images) == 2
    assert "2 images too large for the page" in page.text and "large.png" in page.text and "third.png" in page.text


def test_a_name_does_not_make_an_image():
    """A file called x.png that holds HTML or SVG is listed like any other file."""
    for data in (b"<svg onload=alert(1)>", b"<html><script>", b""):
        assert read(report([record(artifacts=[StoredFile("x.png", None, 3, None, "image/png", bytes_opener(data))])])).images == []


def test_bytes_that_are_gone_are_said_to_be(caplog):
    """Old records and purged stores have names without bytes: the page says so, and is made."""
    files = [StoredFile("gone.py", "0" * 64, 5)]
    page = read(report([record(sources=files, artifacts=[StoredFile("gone.png", "0" * 64, 5)])]))
    assert "gone.py 5 B its bytes are not in the store" in page.text and "gone.png" in page.text
    assert "left out of the report" in caplog.text


def test_a_store_that_fails_to_read_costs_only_that_part(caplog):
    """The page about ten runs must not fall with one file of one of them."""

    class Broken(io.BytesIO):
        def read(self, *size):
            raise OSError("the disk is broken")

    run = record(sources=[StoredFile("a.py", None, 1, open=Broken)], result=0.5)
    run.read_output = lambda: Broken().read()
    page = read(report([run]))
    assert "0.5" in page.text and "cannot read its output" in page.text
    assert "the disk is broken" in caplog.text


def test_binary_sources_are_no_text():
    """A compiled module among the sources would be pages of rubbish."""
    page = read(report([record(sources=[StoredFile("a.so", "ab" * 32, 4, open=bytes_opener(b"\x7fELF\x00\x01"))])]))
    assert "a.so 4 B no text" in page.text and "ELF" not in page.text


def test_a_record_with_nothing_in_it_makes_a_page():
    """A run that died at once, or that a tool wrote half, can be looked at too."""
    assert "Run 7" in read(report([RunRecord("", "7")])).text


def test_too_many_or_no_runs_are_refused():
    """Somebody who means it hears the limit."""
    with pytest.raises(ValueError, match="1 to 50 runs, got 51"):
        report([record()] * 51)
    with pytest.raises(ValueError, match="got 0"):
        report([])
