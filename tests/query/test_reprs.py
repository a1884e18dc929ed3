"""What notebooks and prompts show of stores and runs: the state that readers infer, tables one can read."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from capture import Experiment, open_store
from capture.errors import CaptureError
from capture.query import reprs, signs
from capture.query.stored_run import StoredRun
from capture.records import RunRecord, Series

BEAT = datetime(2026, 1, 1, 12, 5, tzinfo=timezone.utc)


def running(answer: bool | None) -> StoredRun:
    """Return a run that is recorded as RUNNING, of a store that knows this of its process."""
    record = RunRecord("0" * 32, "7")
    record.status, record.experiment, record.heartbeat = "RUNNING", {"name": "digits"}, BEAT
    return StoredRun(record, SimpleNamespace(is_alive=lambda _: answer, url="memory"))


def test_a_run_that_died_does_not_say_that_it_runs():
    """Somebody who reads RUNNING waits; that it was recorded so is said, too, since other tools show it."""
    assert repr(running(False)) == "<StoredRun 7 of 'digits': DIED, recorded as RUNNING>"
    assert repr(running(True)) == repr(running(None)) == "<StoredRun 7 of 'digits': RUNNING>"
    told = reprs.run_html(running(False))
    assert "DIED" in told and "recorded as RUNNING, but its process is gone; the last sign came 2026-01-01 12:05:00 UTC" in told


@pytest.mark.parametrize(
    ("answer", "remark", "in_short"),
    [
        (False, "recorded as RUNNING, but its process is gone; the last sign came 2026-01-01 12:05:00 UTC", "recorded as RUNNING"),
        (True, "its process is alive; the last sign came 2026-01-01 12:05:00 UTC", ""),
        (None, "no sign for 4 min, since 2026-01-01 12:05:00 UTC; whether it lives cannot be told from here", "no sign for 4 min"),
    ],
)  # fmt: skip
def test_what_a_state_rests_on(answer, remark, in_short):
    """Pages, notebooks and tables say the same."""
    now = BEAT + timedelta(minutes=4)
    assert signs.remark(running(answer), now) == remark
    assert signs.in_short(running(answer), now) == in_short


def test_the_newest_sign_counts_be_it_a_heartbeat_or_a_measurement():
    """A run that was killed between two heartbeats, 10 s apart, measured until then: that is when it was last alive."""
    run = running(False)
    run.record.start_time = BEAT - timedelta(seconds=2)
    assert signs.newest_sign(run) == ("heartbeat", BEAT) and run.duration == 2
    later = BEAT + timedelta(seconds=9)
    run.record.metrics = {"loss": Series("loss", [0], [1.0], [int(later.timestamp() * 1e6)])}
    assert signs.newest_sign(run) == ("measurement", later) and run.duration == 11
    assert "the last sign came 2026-01-01 12:05:09 UTC" in signs.remark(run)
    run.record.metrics, run.record.heartbeat = {}, None
    assert signs.newest_sign(run) == ("start", run.start_time) and run.duration is None
    assert "no sign came after its start 2026-01-01 12:04:58 UTC" in signs.remark(run)


def test_a_run_that_goes_on_here_lasts_until_now():
    """Its last heartbeat is up to ten seconds old, and the process is known to live."""
    run = running(True)
    run.record.start_time = run.record.heartbeat = datetime.now(timezone.utc) - timedelta(seconds=60)
    assert run.duration >= 60


def test_what_has_ended_or_says_nothing_needs_no_remark():
    """Half a record must not break a page, and a run that ended gave its last sign by saying so."""
    run = RunRecord("a")
    run.status = "COMPLETED"
    assert signs.remark(run) == signs.in_short(run) == ""
    run.status = "RUNNING"
    assert signs.remark(run) == "whether it lives cannot be told from here" and signs.in_short(run) == ""
    run.heartbeat = BEAT.replace(tzinfo=None)  # as a record of others may have it
    assert signs.in_short(run).startswith("no sign for ")


@pytest.fixture
def store(tmp_path):
    """Return a store with a run that completed and one that failed."""
    ex = Experiment("tiny", save_git_info=False, observers=[str(tmp_path / "runs")])

    @ex.config
    def defaults():
        lr = 0.1
        many = {}
        fails = False

    @ex.main
    def main(lr, many, fails):
        assert not fails
        return lr

    ex.run(config_updates={"many": {f"k{place}": "v" for place in range(60)}}, options={"--force": True})
    with pytest.raises(AssertionError):
        ex.run(config_updates={"fails": True})
    return open_store(tmp_path / "runs")


def test_a_store_says_what_is_in_it(store):
    """The first cell of many a notebook ends with the store."""
    told = store._repr_html_()
    assert str(store.url) in told and "2 runs" in told and "COMPLETED</span> 1" in told and "FAILED</span> 1" in told


def test_a_store_of_many_runs_is_not_read_to_be_shown(store, monkeypatch):
    """A notebook shows the store unasked: reading ten thousand records for four numbers would take its time and memory."""

    def is_read(*_):
        raise AssertionError("the records are read")

    monkeypatch.setattr(reprs, "_STATES_UP_TO", 1)
    monkeypatch.setattr(store.reader, "find", is_read)
    told = store._repr_html_()
    assert "2 runs" in told and "COMPLETED" not in told


def test_a_store_that_cannot_be_read_says_why(store, monkeypatch):
    """A notebook that shows nothing but a traceback of its own display machinery helps nobody."""

    def fails(_):
        raise OSError("no route to <host>")

    monkeypatch.setattr(reprs, "states_of", fails)
    assert "no route to &lt;host&gt;" in store._repr_html_()


def test_headings_stand_above_their_numbers(store):
    """A heading at the left and numbers at the right of a wide column do not look as if they belonged together."""
    told = reprs.table_html(["name", "n"], [["a", 1], ["b", None], ["c", 2.5]])
    name, number = told.split('<th scope="col" style="')[1:]
    assert name.startswith("text-align:left") and number.startswith("text-align:right")


def test_a_long_configuration_is_folded(store):
    """Sixty entries would push the metrics off the screen."""
    long, short = store.runs().sort("label")._repr_html_(), [reprs.run_html(store.get(label)) for label in (1, 2)]
    assert "<details><summary>config (63)" in short[0]
    assert "<details open><summary>config (" in short[1]
    headings = long.partition("</thead>")[0]
    assert headings.index(">fails<") < headings.index(">many.k0<"), "what all runs have comes first"


def test_what_a_record_calls_things_steers_no_terminal(tmp_path):
    """A prompt prints tables, reprs, errors and warnings: a key of somebody's configuration is not to colour or hide them."""
    odd = "\x1b]0;title\x07\x1b[31m\u202e\nlast"
    ex = Experiment("tiny", save_git_info=False, observers=[str(tmp_path / "runs")])
    ex.add_config({odd: {"in": 1}})

    @ex.main
    def main(_run):
        _run.log_scalar(odd, 1.0)
        _run.info["n"] = 1
        (tmp_path / "file.txt").write_text("x")
        _run.add_artifact(str(tmp_path / "file.txt"), name="file" + odd)

    for number in (1, 2):
        ex.run(config_updates={odd: {"in": number}})
    runs = open_store(tmp_path / "runs").runs()
    run, groups = runs[0], runs.group_by()
    said = [str(runs), repr(groups), repr(list(groups)), str(runs.compare().causes)]
    record = RunRecord("0" * 32, odd)
    record.status = odd
    said.append(repr(StoredRun(record, SimpleNamespace(is_alive=lambda _: None, url="memory"))))
    for fails in (
        lambda: run["config.nothing"],
        lambda: run[f"config.{odd}.on"],
        lambda: run.artifact("nothing"),
        lambda: run.metrics_frame("nothing"),
        lambda: runs.best("nothing"),
    ):
        with pytest.raises(CaptureError) as caught:
            fails()
        said.append(str(caught.value))
    with pytest.warns(UserWarning) as warned:
        list(open_store(tmp_path / "runs").runs("config.lasting == 3"))
        runs.group_by(f"config.{odd}.on")
    said += [str(each.message) for each in warned]
    for text in said:
        assert not any(sign in text for sign in "\x1b\x07\u202e") and "\nlast" not in text
        assert "\\nlast" in text, text


def test_a_table_that_is_cut_says_so():
    """Twenty columns of thirty, or half a row, look like a whole file to whoever does not know it."""
    wide = ",".join(map(str, range(30)))
    assert "… 10 more columns" in reprs.csv_html(f"{wide}\n{wide}\n", ",")
    assert "… more rows" in reprs.csv_html("n\n" * 30, ",")
    assert "…" not in reprs.csv_html("n\n" * 21, ",")
    cut = reprs.csv_html("a,b\n1,2\n3,45", ",", is_whole=False)
    assert ">2<" in cut and ">45<" not in cut and "… more rows" in cut
    assert ">two lines<" in reprs.csv_html('a\n"two\nlines"\n', ",")
