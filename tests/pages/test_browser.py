"""Pages opened in a real browser, without a network: nothing is asked for, nothing of others runs, nothing is wrong."""

from __future__ import annotations

import re
import subprocess

import pytest

from capture.pages.comparison import as_html
from capture.pages.report import report
from capture.records import RunRecord, Series
from tests.pages.checking import NASTY, nasty_run
from tests.pages.test_comparison import comparison, nasty, runs
from tests.servers import chromium
from tests.servers.fixtures import leave_out

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("browser")]


@pytest.fixture(scope="module")
def browser() -> None:
    """Leave the tests out where there is no browser, unless somebody counts on them."""
    reason = chromium.missing()
    if reason is not None:
        leave_out(reason)


def opened(source: str, tmp_path, place: str = "") -> tuple[str, list[str]]:
    """Return the page after it was loaded, as HTML, and what the browser wrote on its console."""
    path = tmp_path / "page.html"
    path.write_text(source, encoding="utf-8", newline="\n")
    done = subprocess.run(
        [
            chromium.path(), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0", "--no-first-run",
            f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9",
            "--virtual-time-budget=3000", "--dump-dom", f"{path.as_uri()}{place}",
        ],
        capture_output=True, timeout=600,
    )  # fmt: skip
    log = done.stderr.decode("utf-8", "replace").splitlines()
    return done.stdout.decode("utf-8", "replace"), [line for line in log if ":CONSOLE" in line]


PAGES = {
    "a run": lambda title: report([nasty_run(NASTY, [NASTY, 0.5])], title),
    "several runs": lambda title: report([nasty_run(NASTY, [1, 2]), nasty_run(NASTY[::-1], [NASTY], odd=False)], title),
    "a comparison": lambda title: as_html(nasty(NASTY, [NASTY, None]), title=title),
    "plain runs": lambda title: report(runs(), title),
    "a plain comparison": lambda title: as_html(comparison(), runs(), title),
}


@pytest.mark.parametrize("kind", PAGES)
def test_a_page_loads_without_a_word_on_the_console(kind, tmp_path):
    """A script of theirs that runs, something that is fetched, a style that the policy refuses: all would show there."""
    dom, console = opened(PAGES[kind]("A title"), tmp_path)
    assert console == []
    assert re.findall(r"<title>(.*?)</title>", dom, re.DOTALL)[0] == "A title", "scripts of theirs would set another"
    assert dom.rstrip().endswith("</html>")


def test_the_browser_would_have_complained(tmp_path):
    """The test above rests on it: what a policy refuses, and what a script says, is on the console."""
    source = report(runs())
    _, console = opened(source.replace("</body>", "<script>console.log(1)</script><img src='http://x.example/'></body>"), tmp_path)
    assert len(console) == 2


def test_axes_are_chosen_without_our_script(tmp_path):
    """Where a strict policy forbids even our own script, rules of CSS alone show the picture that was chosen."""
    steps, times = range(3), [10**15, 10**15 + 10**7, 10**15 + 2 * 10**7]
    run = RunRecord("a", "1")
    run.metrics = {"loss": Series("loss", steps, [1.0, 0.1, 0.01], times)}
    asking = """<script>
      function shown() { return [...document.querySelectorAll("figure svg")].map(
        each => getComputedStyle(each).display === "none" ? 0 : 1).join(""); }
      const seen = [shown()];
      for (const button of [".axis-of.time", ".scale.log", ".axis-of.step"]) {
        document.querySelector(button).click(); seen.push(shown()); }
      document.title = seen.join(" ");
    </script>"""
    source = report([run])
    source = re.sub(r"<script>.*?</script>", lambda _: asking, source.replace("http-equiv", "data-sort", 1), flags=re.DOTALL)
    dom, console = opened(source, tmp_path)
    assert console == []
    assert re.findall(r"<title>(.*?)</title>", dom, re.DOTALL)[0] == "1000 0100 0001 0010"


def test_tables_can_be_sorted_and_links_open_what_is_folded(tmp_path):
    """The few lines of script of ours do run: their hash in the policy is right."""
    dom, _ = opened(report(runs()), tmp_path, "#run-1")
    assert 'aria-sort="none"' in dom
    assert re.search(r'<details id="run-1" class="run" open="">', dom)
    assert re.search(r'<details id="run-0" class="run">', dom)
