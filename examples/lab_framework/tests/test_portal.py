"""The portal keeps what every store has to keep, of what it says that it supports."""

from __future__ import annotations

import json

import pytest
from lab_framework import PortalObserver, PortalReader

from capture.testing import Backend, ObserverContract, Story, tell, told


class TestPortal(ObserverContract):
    """The contract of a store: the tests come with `capture`."""

    supports = PortalObserver.supports

    def backend(self, tmp_path):
        url = f"lab://{tmp_path}/portal.jsonl"
        return Backend(PortalObserver(url), PortalReader(url))


UID = "01997a1c-0001-7000-8000-0000ab120f3a"


def test_a_torn_line_is_passed_over_and_does_not_swallow_the_next(tmp_path):
    """A machine that loses power in the middle of a line must not cost another machine's run."""
    path = tmp_path / "portal.jsonl"
    path.write_bytes(b'{"run": "x", "writer": "main", "ev')
    story = Story(tmp_path / "told", UID).start().complete(3)
    label = tell(PortalObserver(path), story)
    assert PortalReader(path).labels() == [label]
    assert PortalReader(path).get(label).result == told(story).result == 3


def test_each_line_names_run_writer_and_kind_of_event(tmp_path):
    """The web page of the portal reads these lines with nothing but a JSON parser."""
    path = tmp_path / "portal.jsonl"
    tell(PortalObserver(path), Story(tmp_path / "told", UID).start().complete())
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["run"], line["writer"], line["event"]["e"]) for line in lines] == [
        (UID, "main", kind) for kind in ("opened", "started", "completed")
    ]


def test_a_url_without_a_file_is_refused():
    """It would make a file in whatever folder the run was started from."""
    with pytest.raises(ValueError, match="names no file"):
        PortalObserver.from_url("lab://")
