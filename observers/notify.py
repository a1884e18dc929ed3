# A hook may take a subset of its arguments: a rule that the type system does not know.
# mypy: disable-error-code="override"

"""Messages about runs to Slack, mail, Telegram and a hundred other places, by way of Apprise."""

from __future__ import annotations

import re
import time
import zlib

from capture import plainjson
from capture.codec import encode
from capture.errors import ObserverError, suggest
from capture.observers._messages import (
    Channel,
    Message,
    MessageObserver,
    NotDelivered,
    check_text,
    quietly,
    secret_parts,
    td_format,
)  # fmt: skip
from capture.settings import SETTINGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, ClassVar

    from capture.hooks import MetricsBatch

#: what can be told, and how Apprise classifies it
EVENTS = {
    "started": "info",
    "completed": "success",
    "failed": "failure",
    "interrupted": "warning",
    "stalled": "warning",
    "moving": "info",
}
#: what a user chooses from: who wants to hear of a stall is told of its end, too
CHOICES = ("started", "completed", "failed", "interrupted", "stalled")

_WHAT = "{experiment[name]} {event} ({run}, {host_info[hostname]})"
TITLES = {**dict.fromkeys(EVENTS, _WHAT), "moving": "{experiment[name]} moves again ({run}, {host_info[hostname]})"}
BODIES = {
    "started": "Command {command}, started at {start_time:%Y-%m-%d %H:%M:%S} UTC.",
    "completed": "Result: {result}\nIt took {elapsed_time}.",
    "failed": "After {elapsed_time}:\n\n{trace}",
    "interrupted": "Status: {status}\nAfter {elapsed_time}.",
    "stalled": "No new output, metric, file, info or result for {quiet_time}.",
    "moving": "There is something new after {quiet_time}.",
}

#: hooks that are only there to see whether a run moves
_WATCHING = ("output_event", "metrics_event", "resource_event", "artifact_event", "heartbeat_event")


class NotifyObserver(MessageObserver):
    """Tells people how a run goes, wherever Apprise can reach them.

    Parameters
    ----------
    urls : str or iterable of str
        Recipients as Apprise writes them, ``slack://...``, ``mailto://...``; those of one text are separated by blanks
        or commas. They hold secrets: nothing of them but the scheme is ever shown.
    on : iterable of str
        Which of "started", "completed", "failed", "interrupted" and "stalled" are told.
    stalled_after_s : float, optional
        Seconds without new output, metric, file, info or result after which a run counts as stalled, which is told
        once, and once more when it moves again. Heartbeats are no progress; it is they at which this is looked at, so
        it is noticed with the next one. None: never.
    title, body : str or mapping of event to str, optional
        Texts in place of the usual, with fields in braces; see `capture.observers._messages.FIELDS`. A mapping may also
        have "moving".
    priority : float

    Raises
    ------
    ObserverError
        If Apprise is not installed, an argument makes no sense, or a text names an unknown field. Whether Apprise can
        use the URLs is seen when the run has started, and logged.

    Examples
    --------
    >>> NotifyObserver("json://localhost", on=["failed"])  # doctest: +SKIP
    <NotifyObserver to json://>
    """

    drivers: ClassVar[dict[str, str]] = {"apprise": "notify"}  #: module -> the extra that brings it

    def __init__(
        self,
        urls: str | Iterable[str],
        on: str | Iterable[str] = CHOICES,
        stalled_after_s: float | None = None,
        title: str | Mapping[str, str] | None = None,
        body: str | Mapping[str, str] | None = None,
        priority: float = 10,
    ) -> None:
        super().__init__(priority)
        self._channels = _channels_of(split_urls(urls))
        self.on = _chosen(on)
        self.stalled_after_s = _positive(stalled_after_s)
        self._titles, self._bodies = _texts(title, "title", TITLES), _texts(body, "body", BODIES)
        _find_apprise()
        self._moved_at = time.monotonic()
        self._state: int | None = None  # of info and result, when they were looked at last
        self._stalled = False
        if self.stalled_after_s is None or "stalled" not in self.on:
            for hook in _WATCHING:
                setattr(self, hook, None)  # a hook that is not there costs nothing

    @classmethod
    def from_url(cls, url: str, **options: Any) -> NotifyObserver:
        """Make an observer from ``notify+slack://...``, any URL of Apprise's with ``notify+`` before it.

        ``notify://`` alone stands for those of ``SETTINGS.NOTIFY``, which also says what is told if `options` do not.
        """
        scheme, _, rest = url.partition("://")
        kind = scheme.partition("+")[2]
        urls = [f"{kind}://{rest}"] if kind else list(SETTINGS.NOTIFY.URLS)
        if rest and not kind:
            raise ObserverError("notify:// stands for the setting NOTIFY.URLS; for a recipient: notify+SCHEME://...")
        if not urls:
            raise ObserverError(
                "notify:// tells those that the setting NOTIFY.URLS names, and it names nobody."
                "\n  to set it:  CAPTURE_NOTIFY__URLS='slack://... mailto://...'",
                print_traceback=False,
            )
        usual = {"on": SETTINGS.NOTIFY.ON, "stalled_after_s": SETTINGS.NOTIFY.STALLED_AFTER_S}
        return cls(urls, **{**usual, **options})

    def __repr__(self) -> str:
        return f"<{type(self).__name__} to {', '.join(channel.scheme for channel in self._channels)}>"

    # -------------------------------------------------------------------------------------------------- what to say

    def channels(self) -> list[AppriseChannel]:
        return self._channels

    def compose(self, event: str) -> Message | None:
        if event not in self.on and event != "moving":
            return None
        return Message(
            event,
            self.filled(self._titles[event], TITLES[event]),
            self.filled(self._bodies[event], BODIES[event]),
        )

    def tell(self, event: str) -> None:
        if event == "started":
            self._moved_at, self._stalled, self._state = time.monotonic(), False, None
        super().tell(event)

    # ----------------------------------------------------------------------------------------------- does it move?

    def output_event(self, text: str) -> None:
        self._moved()

    def metrics_event(self, batch: MetricsBatch) -> None:
        self._moved()

    def resource_event(self, filename: str) -> None:
        self._moved()

    def artifact_event(self, name: str) -> None:
        self._moved()

    def heartbeat_event(self, info: dict[str, Any], result: Any) -> None:
        state = zlib.crc32(plainjson.dumps(encode([info, result])).encode())
        if self._state not in (None, state):
            self._moved()
        self._state = state
        quiet_s = time.monotonic() - self._moved_at
        if not self._stalled and self.stalled_after_s is not None and quiet_s >= self.stalled_after_s:
            self._stalled = True
            self._tell_of_stall("stalled", quiet_s)

    def _moved(self) -> None:
        now = time.monotonic()
        quiet_s, self._moved_at = now - self._moved_at, now
        if self._stalled:
            self._stalled = False
            self._tell_of_stall("moving", quiet_s)

    def _tell_of_stall(self, event: str, quiet_s: float) -> None:
        from datetime import timedelta

        if self.run is not None:
            self.run["quiet_time"] = td_format(timedelta(seconds=quiet_s))
            self.tell(event)


# ---------------------------------------------------------------------------------------------------------- arguments


def split_urls(urls: str | Iterable[str]) -> list[str]:
    """Return the URLs in one text or several; what follows a comma belongs to the one before if it has no scheme.

    Examples
    --------
    >>> split_urls("mailto://bob:pw@example.org?to=a@x.org,b@x.org, json://localhost")
    ['mailto://bob:pw@example.org?to=a@x.org,b@x.org', 'json://localhost']
    """
    text = urls if isinstance(urls, str) else ",".join(urls)
    pieces = re.split(r"[\s,]+(?=[A-Za-z][\w+.-]*://)", text)
    return [piece for piece in (piece.strip(" \t\r\n,") for piece in pieces) if piece]


def _channels_of(urls: list[str]) -> list[AppriseChannel]:
    if not urls:
        raise ObserverError("a NotifyObserver needs the URL of a recipient, as Apprise writes it: 'slack://...'")
    for number, url in enumerate(urls, 1):
        if not re.match(r"[A-Za-z][\w+.-]*://", url):
            raise ObserverError(
                f"recipient {number} of {len(urls)} is no URL of Apprise's: it does not begin with SCHEME://"
                "\n  (it is not shown, since such URLs hold secrets)"
            )
    return [AppriseChannel(url, number, len(urls)) for number, url in enumerate(urls, 1)]


def _chosen(on: str | Iterable[str]) -> frozenset[str]:
    names = re.split(r"[\s,]+", on.strip()) if isinstance(on, str) else list(on)
    for name in names:
        if name not in CHOICES:
            close = suggest(name, CHOICES)
            raise ObserverError(
                f"a run cannot be {name!r}, as far as messages go."
                + (f"\n  did you mean:  {close}" if close else "")
                + f"\n  possible:      {', '.join(CHOICES)}"
            )
    return frozenset(names)


def _positive(seconds: float | None) -> float | None:
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
        raise ObserverError(f"stalled_after_s is a number of seconds above 0, or None; got {seconds!r}")
    return seconds


def _texts(given: str | Mapping[str, str] | None, what: str, usual: Mapping[str, str]) -> dict[str, str]:
    texts = dict.fromkeys(EVENTS, given) if isinstance(given, str) else dict(given or {})
    for event, text in texts.items():
        if event not in EVENTS:
            raise ObserverError(f"{what} has a text for {event!r}; possible: {', '.join(EVENTS)}")
        check_text(text, f"{what} for {event!r}" if not isinstance(given, str) else what)
    return {**usual, **texts}


def _find_apprise() -> None:
    """Raise an ObserverError if Apprise is not there; it is not imported before there is something to say."""
    from importlib.util import find_spec

    if find_spec("apprise") is None:
        raise ObserverError(
            "messages are sent by Apprise, which is not installed."
            "\n  to install it:  pip install 'experiment-capture[notify]'",
            print_traceback=False,
        )


# ------------------------------------------------------------------------------------------------------------- Apprise


class AppriseChannel(Channel):
    """A recipient that Apprise reaches.

    Parameters
    ----------
    url : str
        As Apprise writes it.
    number, of : int
        Which of how many it is: the log shows no more of it than its scheme.
    """

    def __init__(self, url: str, number: int = 1, of: int = 1) -> None:
        self.scheme = url.partition("://")[0] + "://"
        super().__init__(self.scheme + (f" (URL {number} of {of})" if of > 1 else ""), secret_parts(url))
        self._url = url
        self._service: Any = None

    def prepare(self) -> None:
        if self._service is not None:
            return
        import apprise

        with quietly() as said:
            self._service = apprise.Apprise.instantiate(self._url)
        if self._service is None:
            raise NotDelivered("; ".join(said) or "Apprise cannot use this URL")

    def send(self, message: Message) -> None:
        from apprise import NotifyFormat, NotifyType

        self.prepare()
        kind = getattr(NotifyType, EVENTS[message.event].upper())
        with quietly() as said:
            # The service itself: `Apprise.notify` has threads of its own, which keep a process from ending.
            delivered = self._service.notify(
                title=message.title, body=message.body, notify_type=kind, body_format=NotifyFormat.TEXT
            )
        if not delivered:
            raise NotDelivered("; ".join(said) or "Apprise does not say why")
