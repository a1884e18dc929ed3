"""What the tests of the Mongo store share."""

from __future__ import annotations

from contextlib import contextmanager

from capture import events
from capture.observers import MongoObserver
from capture.testing import Story, tell

LIMIT = 16 << 20  #: bytes that MongoDB takes in a document


class Store:
    """One database: its observer, reader, curator, and a client that looks at what is really there."""

    def __init__(self, url: str, client, name: str) -> None:
        self.url = url
        self.db = client[name]
        self.reader = MongoObserver.reader(url)
        self.curator = MongoObserver.curator(url)

    def observer(self, **options) -> MongoObserver:
        return MongoObserver.from_url(self.url, **options)

    def tell(self, story: Story, **options):
        return tell(self.observer(**options), story)

    def run(self, label=1):
        return self.db.runs.find_one({"_id": label})

    def size(self, label=1) -> int:
        """Bytes of a run's document."""
        import bson

        return len(bson.encode(self.run(label)))


def failed(story: Story, *lines: str) -> Story:
    return story.add(events.Failed(fail_time=story.moment(), fail_trace=list(lines)))


@contextmanager
def watched(observer):
    """Yield the list of commands that an observer sends, as (name, bytes)."""
    import bson
    from pymongo import monitoring

    sent = []

    class Listener(monitoring.CommandListener):
        def started(self, event):
            sent.append((event.command_name, len(bson.encode(dict(event.command)))))

        def succeeded(self, event):
            pass

        def failed(self, event):
            pass

    observer.place.options["event_listeners"] = [Listener()]
    observer.place.forget()
    yield sent
