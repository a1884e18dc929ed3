"""The contract catches stores that do not keep it: a conformance test that cannot fail is worth nothing."""

from __future__ import annotations

import glob
import os

import pytest

from capture.errors import CaptureError, HookError
from capture.observers import FileStorageObserver, FileStoreReader, _names
from capture.testing import Backend, ObserverContract


def contract(observer_class, **attributes):
    """Return the contract for a file store with another observer."""

    class Contract(ObserverContract):
        def backend(self, tmp_path):
            return Backend(observer_class(tmp_path / "runs"), FileStoreReader(tmp_path / "runs"))

    for name, value in attributes.items():
        setattr(Contract, name, value)
    return Contract()


class Forgetful(FileStorageObserver):
    """Does not store notes."""

    def annotated_event(self, tags, notes):
        pass


class Doubling(FileStorageObserver):
    """Does not recognise what it was told before."""

    def metrics_event(self, batch, uid, writer, seq):
        super().metrics_event(batch, uid, writer, 0)


class Lossy(FileStorageObserver):
    """Counts a batch as stored when it has only heard of it."""

    def flush(self):
        for run in self._runs.values():
            run._metrics.clear()
        super().flush()


class Mislabelling(FileStorageObserver):
    """Says that each run has the label that was asked for."""

    def started_event(self, _id, **rest):
        return super().started_event(_id=_id, **rest) if _id is None else str(_id)


class Shouting(FileStorageObserver):
    """Changes the topics of facts."""

    def facts_event(self, name, **rest):
        super().facts_event(name=name.lower(), **rest)


class Possessive(FileStorageObserver):
    """Leaves a queued run to the process that queued it."""

    def started_event(self, _id, **rest):
        return super().started_event(_id=None, **rest)


class Requeueing(FileStorageObserver):
    """Takes what is queued again for a new run."""

    def queued_event(self, uid, **rest):
        return super().queued_event(uid=f"{uid}-again" if os.path.isdir(self.basedir) else uid, **rest)


class Crowding(FileStorageObserver):
    """Lets a run that is queued take over the label of another that is."""

    def claim_run(self, uid, asked, takes_over):
        return super().claim_run(uid, asked, takes_over=True)


class Promising(FileStorageObserver):
    """Gives a label that is stored with the next flush."""

    def started_event(self, uid, **rest):
        self.held = {"uid": uid, **rest}
        return str(len(glob.glob(os.path.join(self.basedir, "[0-9]*"))) + 1)

    def flush(self):
        if "held" in vars(self):
            super().started_event(**vars(self).pop("held"))
        super().flush()


class Narrow(FileStorageObserver):
    """Knows only its own passing errors."""

    def transient(self, error):
        return "locked" in str(error)


class Misspelt(FileStorageObserver):
    def completed_event(self, stop_tme, result):
        pass


@pytest.mark.parametrize(
    ("observer", "test", "said"),
    [
        (Forgetful, "test_a_run_is_read_back_as_it_was_told", r"notes:\s+told:  'first try'\s+read:  ''"),
        (Doubling, "test_what_is_told_twice_is_stored_once", r"metrics\['loss'\]"),
        (Doubling, "test_a_crash_between_any_two_events_loses_and_doubles_nothing", r"crash after event \d+"),
        (Lossy, "test_a_run_is_read_back_as_it_was_told", "metrics: 'loss' is missing"),
        (Shouting, "test_facts_keep_their_topics_to_the_letter", "facts: 'GPU' is missing"),
        (Possessive, "test_a_queued_run_can_be_started_by_another_process", r"label:\s+told:  '1'.*\s+read:  '3'"),
        (Requeueing, "test_a_queued_run_can_be_started_by_another_process", "label: when queued_event was told again"),
        (Crowding, "test_a_queued_run_can_be_started_by_another_process", "was given to another that is queued"),
        (Promising, "test_a_label_is_given_for_good_before_it_is_returned", "given to another run"),
        (Mislabelling, "test_a_label_asked_for_does_not_overwrite", "holds no run"),
    ],
)
def test_a_store_that_breaks_the_contract_is_told_how(tmp_path, observer, test, said):
    """The message names the field, what was told and what was read."""
    with pytest.raises((AssertionError, CaptureError), match=said):
        getattr(contract(observer), test)(tmp_path)


def test_names_that_lead_out_of_the_store_are_caught(tmp_path, monkeypatch):
    """This is how a run overwrites somebody's shell start-up file."""
    monkeypatch.setattr(_names, "safe_path", lambda name: name)
    with pytest.raises((AssertionError, OSError, ValueError)):
        contract(FileStorageObserver).test_artifacts_may_have_any_name(tmp_path)


def test_an_observer_that_gives_up_on_a_lost_connection_is_caught(tmp_path):
    """Its own `transient` replaces the rule for all observers, and is easily written without it."""
    with pytest.raises(AssertionError, match=r"transient\(ConnectionError\('refused'\)\) is False"):
        contract(Narrow).test_a_lost_connection_may_pass(tmp_path, ConnectionError("refused"))
    contract(FileStorageObserver).test_a_lost_connection_may_pass(tmp_path, ConnectionError("refused"))


def test_wrong_arguments_are_caught(tmp_path):
    """Before an experiment is run with them."""
    with pytest.raises(HookError, match="stop_tme"):
        contract(Misspelt).test_the_observer_is_accepted(tmp_path)


def test_capabilities_that_the_observer_does_not_declare_are_caught(tmp_path):
    """`capture observers` shows what an observer declares."""
    with pytest.raises(AssertionError, match="teleport"):
        contract(FileStorageObserver, supports={"teleport"}).test_the_observer_is_accepted(tmp_path)
    modest = type("Modest", (FileStorageObserver,), {"supports": frozenset({"metrics"})})
    with pytest.raises(AssertionError, match="output"):
        contract(modest, supports={"metrics", "output"}).test_the_observer_is_accepted(tmp_path)


def test_what_is_not_supported_is_skipped_and_not_compared(tmp_path):
    """A notifier or a table of results is a fine observer, too."""
    with pytest.raises(pytest.skip.Exception, match="annotations"):
        contract(Forgetful, supports={"metrics"}).test_tags_and_notes_can_be_set_and_cleared(tmp_path)
    contract(Forgetful, supports={"metrics"}).test_a_run_is_read_back_as_it_was_told(tmp_path)


def test_a_contract_without_a_backend_says_what_to_define(tmp_path):
    """It is the first thing that somebody meets."""
    with pytest.raises(NotImplementedError, match="backend"):
        ObserverContract().backend(tmp_path)
