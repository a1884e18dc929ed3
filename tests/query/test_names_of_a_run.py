"""A run of the client has every name of a record, with the same meaning."""

from __future__ import annotations

from capture.query.stored_run import StoredRun
from capture.records import RunRecord

#: what the client tells of a run on purpose as the record does, with the store's help or from its record
PASSED_ON = {"summary", "to_dict", "artifact", "duration", "losses"}


def test_the_client_hides_no_attribute_of_a_record():
    """A method called `config` would make code that was written for records fail with runs of the client."""
    fields = {name for name in vars(RunRecord()) if not name.startswith("_")}
    hidden = fields & {name for name in vars(StoredRun) if not name.startswith("_")}
    assert not hidden
    methods = {name for name in vars(RunRecord) if not name.startswith("_")}
    assert methods & set(vars(StoredRun)) <= PASSED_ON, methods & set(vars(StoredRun))
