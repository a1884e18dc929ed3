"""Stored journals of each version of the format are still read, and mean what they meant.

The files are never made anew: a run of years ago cannot be. A new version of the format gets a folder of its own.
"""

from __future__ import annotations

import json
import os

import pytest

from capture import events
from capture.codec import encode
from capture.journal import iter_lines, parse_line, read_journal
from capture.records import RunRecord, fold

HERE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "golden", "journal-1")
NAMES = sorted(name[: -len(".journal")] for name in os.listdir(HERE) if name.endswith(".journal"))
PAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(__file__))), "docs", "format.md")


def path_of(name):
    return os.path.join(HERE, f"{name}.journal")


@pytest.mark.parametrize("name", NAMES)
def test_a_stored_journal_still_tells_its_run(name):
    """Whoever changes an event, the codec or the fold finds here whose records that breaks."""
    record = fold(read_journal(path_of(name))).to_dict()
    del record["bytes"]
    with open(os.path.join(HERE, f"{name}.json"), encoding="utf-8") as file:
        wanted = json.load(file)
    empty = RunRecord().to_dict()
    newer = {field: empty[field] for field in record.keys() - wanted.keys()}  # which these journals have nothing for
    assert json.loads(json.dumps(encode(record))) == {**newer, **wanted}


@pytest.mark.parametrize("name", NAMES)
def test_a_stored_event_is_written_as_it_was(name):
    """A reader of version 1 elsewhere must be able to read what is written today."""
    for line in iter_lines(path_of(name)):
        stored = json.loads(line.data)
        written = events.from_json(stored).to_json()
        assert {key: written[key] for key in stored} == stored, "fields may be added, not changed"


def test_the_stored_journals_hold_every_event():
    """An event that is in no stored file could change unnoticed."""
    kinds = {line.kind for name in NAMES for line in iter_lines(path_of(name))}
    assert set(events.EVENTS) <= kinds


def test_the_specification_names_every_event_and_field():
    """The page is what others write readers from."""
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    for name, event in events.EVENTS.items():
        _, heading, section = page.partition(f"\n### `{name}`\n")
        assert heading, f"no section on {name}"
        section = section.partition("\n### ")[0]
        for field in event.fields:
            assert f"`{field}`" in section, f"{name}.{field}"
    assert f"format {events.FORMAT}" in page


def test_the_examples_of_the_specification_are_real_lines():
    """Checksums included: somebody will test a reader of theirs with them."""
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    block = page.partition("```text\n")[2].partition("```")[0]
    lines = [parse_line(line.encode(), 0) for line in block.splitlines()]
    assert len(lines) >= 2
    assert None not in lines
