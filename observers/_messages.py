# A hook may take a subset of its arguments: a rule that the type system does not know.
# mypy: disable-error-code="override"

"""What observers that tell somebody have in common: the facts of a run, and messages that nobody waits for long.

A hook only hands a message over. A `Courier` for each recipient takes it there in a thread of its own, so that a server
that is slow or away costs the run nothing. The end of a run waits for what is still on its way, `END_WAIT_S` at most.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque, namedtuple
from contextlib import contextmanager

from capture.complaints import logger
from capture.errors import ObserverError
from capture.hooks import RunObserver
from capture.unwatched import LibraryThread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta
    from typing import Any

TIMEOUT_S = 4.0  #: for each step of an exchange with a server: connecting, and waiting for its answer
END_WAIT_S = 8.0  #: what the end of a run waits for messages; under the 10 s after which nobody waits for an observer
LONGEST_RETRY_AFTER_S = 3.0  #: a server that is busy longer does not get the message
TRACE_LINES, TRACE_CHARACTERS = 20, 2_000  #: of the end of a traceback that goes into a message
SHORTEST_SECRET = 4  #: characters from which a piece of a recipient's address is masked in what is logged

#: what a text may name in braces; Sacred's, and `command`, `run`, `trace`
FIELDS = frozenset(
    {"_id", "backtrace", "command", "config", "elapsed_time", "error", "event", "experiment", "fail_time", "fail_trace"}
    | {"host_info", "interrupt_time", "quiet_time", "result", "run", "start_time", "status", "stop_time", "trace"}
)


class Message(namedtuple("Message", "event title body")):
    """What is to be said: "started", "completed", "failed", "interrupted", "stalled" or "moving", and the words."""

    __slots__ = ()
    event: str
    title: str
    body: str


class NotDelivered(Exception):
    """A message did not arrive; it says why, without anything secret."""


class Channel:
    """A recipient.

    Parameters
    ----------
    name : str
        For the log: nothing secret.
    secrets : sequence of str
        What must not be logged, and may be in what goes wrong.
    """

    def __init__(self, name: str, secrets: Sequence[str] = ()) -> None:
        self.name = name
        self._secrets = sorted((each for each in secrets if len(each) >= SHORTEST_SECRET), key=len, reverse=True)

    def prepare(self) -> None:
        """Look whether a message could be delivered; raise what speaks against it, which is better known early."""

    def send(self, message: Message) -> None:
        """Deliver a message; whatever this raises says that it did not arrive."""
        raise NotImplementedError

    def reason(self, error: BaseException) -> str:
        """Say what went wrong, with nothing secret in it."""
        text = str(error) if isinstance(error, NotDelivered) else f"{type(error).__name__}: {error}"
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


class Courier:
    """Takes messages to one recipient, in order, in a thread that is there while there are any.

    Parameters
    ----------
    channel : Channel
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._waiting: deque[Message | None] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._said: set[str] = set()

    def take(self, message: Message | None) -> None:
        """Deliver `message` as soon as those before it are delivered; without one, see whether it could be."""
        with self._lock:
            self._waiting.append(message)
            if self._thread is not None:
                return
            self._thread = LibraryThread(self._work, f"capture-courier-{self.channel.name}")
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter goes down, and gives no more threads
            self._work()

    def wait(self, seconds: float) -> bool:
        """Wait until everything is delivered, or given up; False if that takes longer."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)
        return self._thread is None

    def complain(self, reason: str) -> None:
        """Log why something did not arrive; each reason once."""
        if reason not in self._said:
            self._said.add(reason)
            logger("capture.observers").warning("no message to %s: %s", self.channel.name, reason)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                message = self._waiting.popleft()
            try:
                with quietly():
                    if message is None:
                        self.channel.prepare()
                    else:
                        self.channel.send(message)
            except Exception as error:  # noqa: BLE001 - it is logged; a message is no reason to disturb a run
                self.complain(self.channel.reason(error))


class MessageObserver(RunObserver):
    """Tells somebody how a run goes.

    A subclass says what (`compose`) and to whom (`channels`). It hears of one run at a time: of runs that go on at the
    same time, each gets a copy.

    Attributes
    ----------
    run : dict or None
        What is known of the run, as texts may name it; see `FIELDS`.
    """

    priority: float = 10
    replay = False

    def __init__(self, priority: float = 10) -> None:
        self.priority = priority
        self.run: dict[str, Any] | None = None
        self._couriers: list[Courier] | None = None
        self._wait_until: float | None = None  # from the end of the run on

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # no address: those are secret

    def compose(self, event: str) -> Message | None:
        """Return what to say of an event, or None for nothing."""
        raise NotImplementedError

    def channels(self) -> Iterable[Channel]:
        """Return who is to be told."""
        raise NotImplementedError

    # -------------------------------------------------------------------------------------------------------- hooks

    def started_event(
        self,
        ex_info: dict[str, Any],
        command: str,
        host_info: dict[str, Any],
        start_time: datetime,
        config: dict[str, Any],
        meta_info: dict[str, Any],
        _id: Any,
    ) -> None:
        self._begin(ex_info, command, host_info, start_time, config, _id)
        self.tell("started")

    def resumed_event(self, resume_time: datetime) -> None:
        if self.run is None:  # another process was told what it is
            self._begin({"name": "a resumed run"}, "", {}, resume_time, {}, None)
        self.tell("started")

    def completed_event(self, stop_time: datetime, result: Any) -> None:
        self._end("completed", stop_time, stop_time=stop_time, result=result, status="COMPLETED")

    def interrupted_event(self, interrupt_time: datetime, status: str) -> None:
        self._end("interrupted", interrupt_time, interrupt_time=interrupt_time, status=status)

    def failed_event(self, fail_time: datetime, fail_trace: list[str]) -> None:
        lines = "".join(fail_trace).rstrip().splitlines()
        self._end(
            "failed",
            fail_time,
            fail_time=fail_time,
            fail_trace=fail_trace,
            error=fail_trace[-1].strip() if fail_trace else "",
            trace=end_of(lines, TRACE_LINES, TRACE_CHARACTERS),
            status="FAILED",
        )

    def join(self) -> None:
        self._wait()

    def _begin(self, ex_info: Any, command: str, host_info: Any, start_time: datetime, config: Any, label: Any) -> None:
        self.run = {
            "_id": label,
            "config": config,
            "start_time": start_time,
            "experiment": ex_info,
            "command": command,
            "host_info": {"hostname": "?", **host_info},
        }
        self._wait_until = None
        self._couriers = None  # not those of another run, which a copy of this observer may still use

    def _end(self, event: str, time: datetime, **facts: Any) -> None:
        if self.run is None:  # nobody said that it began
            self._begin({"name": "a run"}, "", {}, time, {}, None)
        assert self.run is not None
        self.run.update(facts, elapsed_time=td_format(time - self.run["start_time"]))
        self.tell(event)
        self._wait()

    # ------------------------------------------------------------------------------------------------------ messages

    def tell(self, event: str) -> None:
        """Hand the message of an event over to who delivers it."""
        if self.run is None:
            return
        self.run.update(event=event, run=self._name_of_run())
        message = self.compose(event)
        if self._couriers is None:
            self._couriers = [Courier(channel) for channel in self.channels()]
        if message is not None or event == "started":
            for courier in self._couriers:
                courier.take(message)

    def _name_of_run(self) -> str:
        assert self.run is not None
        label = self.run["_id"]
        return f"run {label}" if label is not None else "run"

    def _wait(self) -> None:
        if self._wait_until is None:
            self._wait_until = time.monotonic() + END_WAIT_S
        for courier in self._couriers or ():
            if not courier.wait(max(0.0, self._wait_until - time.monotonic())):
                courier.complain(f"it was not delivered within {END_WAIT_S:g} s, and is not waited for")

    def filled(self, text: str, default: str, **more: Any) -> str:
        """Return a text with its fields filled in; `default` instead where that cannot be done."""
        fields = {**dict.fromkeys(FIELDS, ""), **(self.run or {}), **more}
        try:
            return text.format(**fields)
        except Exception as error:  # noqa: BLE001 - a text of the user's: it is logged, and the news is told anyway
            logger("capture.observers").warning(
                "%s: the text %r cannot be filled in, %s: %s; the message has the usual text",
                type(self).__name__,
                text,
                type(error).__name__,
                error,
            )
            return default.format(**fields)


class TextObserver(MessageObserver):
    """Tells what its texts say; one that is None is not told.

    A text is a format string; `FIELDS` are what it may name.
    """

    started_text: str | None = None
    completed_text: str | None = None
    interrupted_text: str | None = None
    failed_text: str | None = None
    usual: Mapping[str, str] = {}  #: text by event, where none is given, or one cannot be filled in

    def set_texts(self, **texts: str | None) -> None:
        """Set the texts of events; None, or an empty one, stands for the usual."""
        for event, text in texts.items():
            usual = self.usual.get(event)
            setattr(self, f"{event}_text", check_text(text, f"{event}_text") if text else usual)

    def get_started_text(self) -> str:
        return self._text("started")

    def get_completed_text(self) -> str:
        return self._text("completed")

    def get_interrupted_text(self) -> str:
        return self._text("interrupted")

    def get_failed_text(self) -> str:
        return self._text("failed")

    def compose(self, event: str) -> Message | None:
        if getattr(self, f"{event}_text", None) is None:
            return None
        return Message(event, "", getattr(self, f"get_{event}_text")())

    def _text(self, event: str) -> str:
        return self.filled(getattr(self, f"{event}_text"), self.usual.get(event, "{experiment[name]} {event}"))

    @classmethod
    def create(cls, *args: Any, **kwargs: Any) -> Any:
        """Make an observer (Sacred's old way)."""
        import warnings

        warnings.warn(
            f"{cls.__name__}.create(...) is deprecated: call {cls.__name__}(...)", DeprecationWarning, stacklevel=2
        )
        return cls(*args, **kwargs)


def read_config(filename: str | os.PathLike[str], needed: Iterable[str], possible: Iterable[str]) -> dict[str, Any]:
    """Return what a config file says of an observer.

    Raises
    ------
    ConfigFileError
        If something that is needed is not in it, or something else is. It shows no value.
    """
    from capture.config.files import load_config_file
    from capture.errors import ConfigFileError

    entries = load_config_file(filename)
    known = [*needed, *possible]
    missing = [name for name in needed if name not in entries]
    unknown = [name for name in entries if name not in known]
    if missing or unknown:
        said = [f"it lacks {', '.join(missing)}"] if missing else []
        said += [f"nothing reads {', '.join(map(str, unknown))}"] if unknown else []
        raise ConfigFileError(
            f"{os.fspath(filename)}: {'; '.join(said)}.\n  needed:    {', '.join(needed)}"
            f"\n  possible:  {', '.join(possible)}",
            file=os.fspath(filename),
        )
    return entries


# ------------------------------------------------------------------------------------------------------------- texts


def check_text(text: str, where: str) -> str:
    """Return a text if every field that it names exists; an ObserverError lists those that do."""
    import string

    try:
        names = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    except (ValueError, TypeError) as error:
        raise ObserverError(f"{where} is no format string: {error}") from error
    for name in sorted(names):
        if name.partition("[")[0].partition(".")[0] not in FIELDS:
            raise ObserverError(
                f"{where} names the field {name!r}, which no run has."
                f"\n  fields:  {', '.join(sorted(FIELDS))}"
                "\n  braces:  write {{ and }} for braces that are meant as they are"
            )
    return text


def end_of(lines: Sequence[str], most_lines: int, most_characters: int) -> str:
    """Return the last lines of a text, with dots where something is left out.

    Examples
    --------
    >>> end_of(["one", "two", "three"], 2, 100)
    '...\\ntwo\\nthree'
    """
    text = "\n".join(lines[-most_lines:])
    cut = len(lines) > most_lines
    if len(text) > most_characters:
        text, cut = text[-most_characters:], True
    return f"...\n{text}" if cut else text


def td_format(td_object: timedelta) -> str:
    """Say in words how long something took (Sacred's form).

    Examples
    --------
    >>> from datetime import timedelta
    >>> td_format(timedelta(seconds=3725)), td_format(timedelta(seconds=0.4))
    ('1 hour, 2 minutes, 5 seconds', 'less than a second')
    """
    left = int(td_object.total_seconds())
    words = []
    for unit, seconds in _UNITS:
        count, left = divmod(left, seconds) if left >= seconds else (0, left)
        if count:
            words.append(f"{count} {unit}" if count == 1 else f"{count} {unit}s")
    return ", ".join(words) or "less than a second"


#: a year has 365 days, a month 30
_UNITS = (
    ("year", 31_536_000),
    ("month", 2_592_000),
    ("day", 86_400),
    ("hour", 3_600),
    ("minute", 60),
    ("second", 1),
)


# -------------------------------------------------------------------------------------------------------------- HTTP


class Refused(NotDelivered):
    """The server answered, and did not take the message.

    Attributes
    ----------
    code : int
        The HTTP status.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code

    def __str__(self) -> str:
        return f"HTTP {self.code}: {self.args[1]}"


def check_web_address(url: Any, what: str) -> str:
    """Return `url` if it is one of http or https; an ObserverError that does not show it if not."""
    if not isinstance(url, str) or not url.lower().startswith(("https://", "http://")):
        raise ObserverError(f"{what} is a URL that begins with https:// (or http://); what was given is none")
    return url


def post_json(url: str, data: Mapping[str, Any], proxy_url: str | None = None) -> None:
    """Send JSON to a web address; once more after a moment if the server is busy or cannot be reached.

    Raises
    ------
    NotDelivered
        If it did not arrive. A time-out is not tried again: the message may have arrived.
    """
    body = json.dumps(data).encode()
    post = _through_socks if proxy_url and proxy_url.lower().startswith("socks") else _through_http
    for attempt in (1, 2):
        refusal, pause = post(url, body, proxy_url)
        if refusal is None:
            return
        if pause is None or pause > LONGEST_RETRY_AFTER_S or attempt == 2:
            raise refusal
        time.sleep(pause)


_HEADERS = {"Content-Type": "application/json", "Accept": "text/plain, application/json"}


# Both return what went wrong, or None, and the seconds after which it is worth another attempt, or None.


def _through_http(url: str, body: bytes, proxy_url: str | None) -> tuple[NotDelivered | None, float | None]:
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

    class Stay(HTTPRedirectHandler):
        """An address that gives access is told to nobody else."""

        def redirect_request(self, *arguments: Any) -> None:
            return None

    proxies = ProxyHandler({"http": proxy_url, "https": proxy_url}) if proxy_url else ProxyHandler()
    try:
        request = Request(url, data=body, headers=_HEADERS, method="POST")
        with build_opener(Stay, proxies).open(request, timeout=TIMEOUT_S) as answer:
            answer.read(1 << 16)
        return None, None
    except HTTPError as error:
        with error:
            text = error.read(2_000).decode("utf-8", "replace")
        return _judged(error.code, text or str(error.reason), error.headers.get("Retry-After"))
    except TimeoutError:
        return NotDelivered(f"no answer within {TIMEOUT_S:g} s"), None
    except URLError as error:
        if isinstance(error.reason, TimeoutError):
            return NotDelivered(f"no connection within {TIMEOUT_S:g} s"), None
        return NotDelivered(str(error.reason)), 0.5
    except (OSError, HTTPException, ValueError) as error:
        return NotDelivered(f"{type(error).__name__}: {error}"), None


def _through_socks(url: str, body: bytes, proxy_url: str | None) -> tuple[NotDelivered | None, float | None]:
    """Post through a SOCKS proxy, which the standard library cannot do."""
    try:
        import requests
        import socks  # type: ignore[import-untyped]  # noqa: F401 - what requests needs for it
    except ImportError:
        return NotDelivered("a SOCKS proxy needs: pip install 'requests[socks]'"), None
    try:
        answer = requests.post(
            url,
            data=body,
            headers=_HEADERS,
            timeout=TIMEOUT_S,
            proxies={"http": proxy_url, "https": proxy_url},  # type: ignore[dict-item]
            allow_redirects=False,
        )
    except requests.RequestException as error:
        return NotDelivered(f"{type(error).__name__}: {error}"), None
    return (None, None) if answer.ok else _judged(answer.status_code, answer.text, answer.headers.get("Retry-After"))


def _judged(code: int, text: str, retry_after: str | None) -> tuple[NotDelivered | None, float | None]:
    refusal = Refused(code, " ".join(text.split())[:200])
    if code != 429 and code < 500:
        return refusal, None
    pause = float(retry_after) if retry_after and retry_after.strip().isdecimal() else 1.0
    return refusal, pause


def secret_parts(url: str) -> list[str]:
    """Return what must not be logged of an address: all of it, and its pieces but the scheme."""
    import re
    from urllib.parse import unquote

    rest = url.partition("://")[2]
    pieces = [piece for piece in re.split(r"[/:@?&=,#]+", rest) if piece]
    return [url, rest, *pieces, *(unquote(piece) for piece in pieces)]


# --------------------------------------------------------------------------------------------------------------- logs

_TALKATIVE = ("apprise", "httpx", "requests", "telegram", "urllib3.connectionpool", "urllib3.util.retry")
_listening = threading.local()  # ``said``, in threads that are within `quietly`


@contextmanager
def quietly() -> Iterator[list[str]]:
    """Keep libraries that send messages from logging anything of this thread: what they log has addresses in it.

    Other threads of the process log as before.

    Yields
    ------
    list of str
        What would have been logged as a warning or worse.
    """
    import logging

    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(_is_of_others)  # added once, however often that is said
    before = getattr(_listening, "said", None)
    said: list[str] = []
    _listening.said = said
    try:
        yield said
    finally:
        _listening.said = before


def _is_of_others(record: Any) -> bool:
    said = getattr(_listening, "said", None)
    if said is None:
        return True
    if record.levelno >= 30:
        said.append(record.getMessage())
    return False
