"""For tests, ours and those of other teams: observers that record or fail, a store in memory, a fake clock."""

from capture.testing.clock import FakeClock
from capture.testing.observers import FailingObserver, MemoryStore, RecordingObserver

__all__ = ["FailingObserver", "FakeClock", "MemoryStore", "RecordingObserver"]
