"""Sacred's `TelegramObserver`: its names, its texts, and an API to try them on."""

from __future__ import annotations

import json
import threading

import pytest

from capture import Experiment
from capture.errors import ConfigFileError, ObserverError
from capture.observers import TelegramObserver
from tests.observers.recipients import Recipient

TOKEN = "123456:TOPSECRET-abc"


def run_of(observer, body=lambda: 7):
    ex = Experiment("digits", observers=[observer])

    @ex.main
    def main():
        return body()

    ex.run()


def fail():
    raise ValueError("no such file")


def interrupt():
    raise KeyboardInterrupt


def base(recipient):
    return f"http://127.0.0.1:{recipient.port}/bot"


class Bot:
    """A bot as python-telegram-bot had it before version 20."""

    def __init__(self):
        self.sent = []

    def send_message(self, chat_id, text, disable_notification=None, parse_mode=None):
        self.sent.append({"chat_id": chat_id, "text": text, "quiet": disable_notification, "parse_mode": parse_mode})


class AsyncBot(Bot):
    """A bot as it is since: its connections belong to one event loop."""

    token = TOKEN

    def __init__(self):
        super().__init__()
        self.loops = set()

    async def send_message(self, **options):
        import asyncio

        await asyncio.sleep(0)
        self.loops.add(id(asyncio.get_running_loop()))
        super().send_message(**options)


@pytest.mark.parametrize("kind", [Bot, AsyncBot])
def test_a_bot_of_the_users_is_told(kind):
    """Whoever has one set up hands it over, as with Sacred; its newer versions are asynchronous."""
    bot = kind()
    run_of(TelegramObserver(bot, 42))
    run_of(TelegramObserver(bot, 42)) if kind is Bot else None
    start, end = bot.sent[:2]
    assert start["text"].startswith("♻ *digits* started at _20") and "on host `" in start["text"]
    assert end["text"] == "✅ *digits* completed after _less than a second_ with result=`7`"
    assert [(each["chat_id"], each["quiet"], each["parse_mode"]) for each in (start, end)] == [
        (42, True, "Markdown"),
        (42, False, "Markdown"),
    ]


def test_an_asynchronous_bot_stays_in_one_event_loop():
    """Its connections are of no use in another: the second run's message would fail."""
    bot = AsyncBot()
    observer = TelegramObserver(bot, 42)
    run_of(observer)
    run_of(observer)
    assert len(bot.sent) == 4 and len(bot.loops) == 1


def test_a_token_is_enough():
    """No package has to be installed for this."""
    with Recipient() as api:
        run_of(TelegramObserver(TOKEN, "@lab", silent_completion=True, base_url=base(api)))
        assert [path for path, _ in api.requests] == [f"/bot{TOKEN}/sendMessage"] * 2
        assert [(body["chat_id"], body["disable_notification"]) for body in api.bodies] == [("@lab", True), ("@lab", True)]


@pytest.mark.parametrize(
    ("body", "error", "text"),
    [
        (fail, ValueError, "❌ *digits* failed after _less than a second_ with `ValueError: no such file`\n\nBacktrace:\n```Traceback"),
        (interrupt, KeyboardInterrupt, "⚠ *digits* interrupted after _less than a second_"),
    ],
)
def test_the_other_ends_are_told_with_a_sound(body, error, text):
    """They are what one carries the telephone for."""
    with Recipient() as api:
        with pytest.raises(error):
            run_of(TelegramObserver(TOKEN, 1, silent_completion=True, base_url=base(api)), body)
        end = api.bodies[-1]
    assert end["text"].startswith(text) and end["disable_notification"] is False


def test_a_text_that_is_no_markdown_is_sent_as_it_is():
    """An experiment called `my_exp` has half an italic in it; Sacred's message is refused, and nobody told."""

    def answer(body, count):
        if "parse_mode" in body and body["text"].count("_") % 2:
            return 400, json.dumps({"ok": False, "description": "Bad Request: can't parse entities"}), {}
        return 200, "{}", {}

    with Recipient(answer) as api:
        run_of(TelegramObserver(TOKEN, 1, started_text="my_exp", completed_text="*done*", base_url=base(api)))
        assert [(body["text"], "parse_mode" in body) for body in api.bodies] == [
            ("my_exp", True),
            ("my_exp", False),
            ("*done*", True),
        ]


def test_a_long_trace_is_cut_to_what_telegram_takes():
    """A message of more than 4,096 characters is refused as a whole."""

    def deep():
        raise ValueError("\n".join(f"line {number}" for number in range(3_000)) + "\nthe very end")

    with Recipient() as api:
        with pytest.raises(ValueError):
            run_of(TelegramObserver(TOKEN, 1, base_url=base(api), failed_text="```{backtrace}```"), deep)
        text = api.bodies[-1]["text"]
    assert len(text) <= 4_096 and text.endswith("the very end```")


def test_a_refused_token_is_logged_once_without_it(caplog):
    """The address of a request to Telegram has the token in it."""
    caplog.set_level("DEBUG")
    with Recipient(lambda body, count: (401, f"Unauthorized {TOKEN}", {})) as api:
        run_of(TelegramObserver(TOKEN, 1, base_url=base(api)))
    said = [record.getMessage() for record in caplog.records if "no message to" in record.getMessage()]
    assert said == ["no message to Telegram: HTTP 401: Unauthorized ***"]
    assert "TOPSECRET" not in caplog.text


def test_a_bot_that_hangs_does_not_hold_the_run_up():
    """Sacred calls it before main is called."""
    in_main = threading.Event()

    class Hanging(Bot):
        def send_message(self, **options):
            assert in_main.wait(20)
            super().send_message(**options)

    bot = Hanging()
    run_of(TelegramObserver(bot, 1), in_main.set)
    assert len(bot.sent) == 2


def test_messages_go_through_a_proxy():
    """Sacred's `proxy_url`; the proxy's user and password are entries of their own."""
    with Recipient() as proxy:
        observer = TelegramObserver(
            TOKEN, 1, proxy_url=f"http://127.0.0.1:{proxy.port}", username="bob", password="p@ss", base_url="http://api.invalid/bot"
        )
        run_of(observer)
        assert [path for path, _ in proxy.requests] == [f"http://api.invalid/bot{TOKEN}/sendMessage"] * 2
    assert observer.proxy_url.startswith("http://bob:p%40ss@127.0.0.1:")


def test_a_file_makes_one(tmp_path):
    """The token belongs there, not in the script."""
    path = tmp_path / "telegram.json"
    path.write_text(json.dumps({"token": TOKEN, "chat_id": 5, "silent_completion": True, "started_text": "{command} starts"}))
    observer = TelegramObserver.from_config(path)
    assert (observer.chat_id, observer.silent_completion, observer.started_text) == (5, True, "{command} starts")
    assert observer.failed_text == TelegramObserver(TOKEN, 5).failed_text
    assert (observer.priority, observer.replay) == (10, False)
    assert "TOPSECRET" not in repr(observer)


@pytest.mark.parametrize("entries", [{"token": TOKEN}, {"chat_id": 1}, {"token": TOKEN, "chat_id": 1, "chatid": 1}])
def test_a_file_that_cannot_do_says_so(tmp_path, entries):
    """`ValueError` as in Sacred, and no token in it."""
    path = tmp_path / "telegram.json"
    path.write_text(json.dumps(entries))
    with pytest.raises(ValueError) as caught:
        TelegramObserver.from_config(path)
    assert isinstance(caught.value, ConfigFileError) and "TOPSECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"bot": 5}, "needs the token of a bot"),
        ({"bot": TOKEN, "proxy_url": "ftp://x"}, "begins with one of http://"),
        ({"bot": TOKEN, "started_text": "{name}"}, "names the field 'name'"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(arguments, words):
    """Not when the run has failed, and nobody hears of it."""
    with pytest.raises(ObserverError, match=words):
        TelegramObserver(chat_id=1, **arguments)


def test_the_old_constructor_works():
    """Deprecated, as with Sacred's other observers."""
    with pytest.warns(DeprecationWarning):
        assert TelegramObserver.create(TOKEN, 1).chat_id == 1
