"""What users record reaches the record, the right one, or they are told."""

from __future__ import annotations

import pytest

import capture
from capture import Experiment
from capture.errors import NoRunError
from capture.testing import MemoryStore


@pytest.fixture
def store():
    return MemoryStore()


@pytest.mark.slow
@pytest.mark.parametrize("act", [lambda run: run.log_scalar("x", 1), lambda run: run.log_metrics({"x": 1})])
def test_a_number_logged_after_the_end_is_refused_like_an_artifact(act, store):
    """It would be lost without a word."""
    with capture.start_run("plain", observers=[store]) as run:
        pass
    with pytest.raises(NoRunError, match="is COMPLETED"):
        act(run)


def test_tags_and_notes_can_be_read_back(store):
    """The run says what its record says."""
    with capture.start_run("plain", observers=[store]) as run:
        run.add_tags("a", "b", "a")
        run.add_notes("first try")
        assert (run.tags, run.notes) == (["a", "b"], "first try")
    record = store.record(run.uid)
    assert (record.tags, record.notes) == (["a", "b"], "first try")


class TestAnExperimentsOwnRun:
    """`ex.log_scalar` and its like record in a run of that experiment, wherever they are called."""

    @pytest.mark.slow
    def test_an_outer_experiment_called_from_an_inner_run_records_in_its_own(self, store):
        """A number in another experiment's record is worse than none."""
        outer, inner = Experiment("outer", observers=[store]), Experiment("inner", observers=[store])

        @inner.main
        def inner_main():
            outer.log_scalar("from_inside", 1)
            outer.info["seen"] = True

        @outer.main
        def outer_main():
            return inner.run().uid

        run = outer.run()
        assert store.record(run.uid).metrics["from_inside"].values == [1]
        assert store.record(run.uid).info == {"seen": True}
        assert not store.record(run.result).metrics

    def test_a_run_of_another_experiment_is_not_its_own(self, store):
        """As in Sacred, where this ends in an AttributeError."""
        one, other = Experiment("one", observers=[store]), Experiment("other", observers=[store])

        @one.main
        def main():
            other.log_scalar("x", 1)

        with pytest.raises(NoRunError, match="'other'"):
            one.run()

    def test_an_experiment_used_as_an_ingredient_records_in_the_run_it_is_part_of(self, store):
        """An Experiment is an Ingredient, and may be one."""
        part = Experiment("part")
        whole = Experiment("whole", ingredients=[part], observers=[store])

        @whole.main
        def main():
            part.log_scalar("x", 1)

        assert store.record(whole.run().uid).metrics["x"].values == [1]

    def test_a_thread_of_its_own_needs_no_binding_while_another_experiment_runs(self, store):
        """Only two runs of one experiment are ambiguous."""
        import threading

        one, other = Experiment("one", observers=[store]), Experiment("other", observers=[store])

        @other.main
        def other_main():
            thread = threading.Thread(target=one.log_scalar, args=("x", 1))
            thread.start()
            thread.join()

        @one.main
        def main():
            other.run()

        assert store.record(one.run().uid).metrics["x"].values == [1]


def test_the_password_in_a_stores_url_is_not_recorded(store):
    """Options are part of the record; colleagues read it, and other stores get a copy."""
    from capture import cli_option

    @cli_option("-z", "--database")
    def database(args, run):
        """Where results go."""
        seen.append(args)

    seen = []
    ex = Experiment("secret", observers=[store], additional_cli_options=[database])
    ex.main(lambda: 1)
    url = "postgresql://bob:hunter2@db.example/results"
    run = ex.run(options={"--database": url, "--tag": ["mongodb://bob:hunter2@db.example/x"]})
    assert seen == [url]
    options = store.record(run.uid).meta["options"]
    assert options["--database"] == "postgresql://bob:***masked:url-password***@db.example/results"
    assert "hunter2" not in repr(options)
