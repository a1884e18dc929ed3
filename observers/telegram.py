"""Messages to a chat of Telegram, under Sacred's names."""

from __future__ import annotations

import os
import threading

from capture.errors import ObserverError
from capture.observers._messages import (
    Channel,
    Message,
    TextObserver,
    check_web_address,
    end_of,
    post_json,
    read_config,
    secret_parts,
)  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_TELEGRAM_PRIORITY = 10
MAX_CHARACTERS = 4_096  #: of a message, says Telegram
MAX_TRACE = 3_000  #: characters of the end of a traceback that go into a message

_TEXTS = {
    "started": "♻ *{experiment[name]}* started at _{start_time}_ on host `{host_info[hostname]}`",
    "completed": "✅ *{experiment[name]}* completed after _{elapsed_time}_ with result=`{result}`",
    "interrupted": "⚠ *{experiment[name]}* interrupted after _{elapsed_time}_",
    "failed": "❌ *{experiment[name]}* failed after _{elapsed_time}_ with `{error}`\n\nBacktrace:\n```{backtrace}```",
}
_PROXIES = ("http://", "https://", "socks5://", "socks5h://")


class TelegramObserver(TextObserver):
    """Writes to a chat of Telegram when a run starts and ends.

    Parameters
    ----------
    bot : str or object
        The token of a bot, or an object with ``send_message(chat_id=, text=, disable_notification=, parse_mode=)``: a
        bot of python-telegram-bot, of whatever version. One whose method is a coroutine function must not be in use in
        an event loop of the program's own.
    chat_id : int or str
        The chat, or the name of a channel.
    silent_completion : bool
        Whether the message of a completed run makes no sound.
    priority : float
    started_text, completed_text, interrupted_text, failed_text : str, optional
        What is written, in Telegram's Markdown, with fields in braces: ``experiment``, ``config``, ``command``,
        ``host_info``, ``_id``, ``start_time``, ``elapsed_time``, ``result``, ``error``, ``fail_trace``, ``backtrace``
        (the end of the traceback) ... Set the attribute of that name to None for no message.
    proxy_url : str, optional
        ``http://...``, or ``socks5://...``, which needs ``pip install 'requests[socks]'``. For a token only.
    username, password : str, optional
        For the proxy.
    base_url : str
        Where the API is, for a token: that of a server of one's own.

    Raises
    ------
    ObserverError
        If `bot` is no such object, the proxy no such URL, or a text names an unknown field.
    """

    usual = _TEXTS

    def __init__(
        self,
        bot: Any,
        chat_id: int | str,
        silent_completion: bool = False,
        priority: float = DEFAULT_TELEGRAM_PRIORITY,
        *,
        started_text: str | None = None,
        completed_text: str | None = None,
        interrupted_text: str | None = None,
        failed_text: str | None = None,
        proxy_url: str | None = None,
        username: str | None = None,
        password: str | None = None,
        base_url: str = "https://api.telegram.org/bot",
    ) -> None:
        super().__init__(priority)
        if not isinstance(bot, str) and not callable(getattr(bot, "send_message", None)):
            raise ObserverError(
                "a TelegramObserver needs the token of a bot, or an object with send_message(chat_id=, text=, ...); "
                f"got a {type(bot).__name__}"
            )
        self.bot, self.chat_id, self.silent_completion = bot, chat_id, silent_completion
        self.base_url = check_web_address(base_url, "the base_url of Telegram's API")
        self.proxy_url = _with_credentials(proxy_url, username, password)
        self._loop = _Loop()
        self.set_texts(started=started_text, completed=completed_text, interrupted=interrupted_text, failed=failed_text)

    @classmethod
    def from_config(cls, filename: str | os.PathLike[str]) -> TelegramObserver:
        """Make an observer from a config file with ``token``, ``chat_id`` and any other argument by name.

        Raises
        ------
        ConfigFileError
            If it cannot be read, lacks one of the two, or holds something else. No value is shown.
        """
        texts = ("started_text", "completed_text", "interrupted_text", "failed_text")
        others = ("silent_completion", "priority", "proxy_url", "username", "password", "base_url")
        entries = read_config(filename, ("token", "chat_id"), (*others, *texts))
        return cls(entries.pop("token"), **entries)

    def get_failed_text(self) -> str:
        trace = "".join((self.run or {}).get("fail_trace", ()))
        return self.filled(
            self.failed_text or "", _TEXTS["failed"], backtrace=end_of(trace.rstrip().splitlines(), 100, MAX_TRACE)
        )

    def channels(self) -> list[Channel]:
        options = {"started": True, "completed": self.silent_completion}
        if isinstance(self.bot, str):
            return [_Api(self.base_url, self.bot, self.chat_id, options, self.proxy_url)]
        return [_Bot(self.bot, self.chat_id, options, self._loop)]


def _with_credentials(proxy_url: str | None, username: str | None, password: str | None) -> str | None:
    """Return the URL of a proxy with user and password in it."""
    if proxy_url is None:
        return None
    if not isinstance(proxy_url, str) or not proxy_url.lower().startswith(_PROXIES):
        raise ObserverError(f"the proxy_url of a TelegramObserver begins with one of {', '.join(_PROXIES)}")
    if username is None and password is None:
        return proxy_url
    from urllib.parse import quote

    scheme, _, rest = proxy_url.partition("://")
    credentials = ":".join(quote(str(each), safe="") for each in (username or "", password) if each is not None)
    return f"{scheme}://{credentials}@{rest.rpartition('@')[2]}"


class _Chat(Channel):
    """A chat; `silent` says of which events its members are told without a sound."""

    def __init__(self, chat_id: int | str, silent: dict[str, bool], secrets: list[str]) -> None:
        super().__init__("Telegram", secrets)
        self._chat_id, self._silent = chat_id, silent

    def send(self, message: Message) -> None:
        text = message.body
        if len(text) > MAX_CHARACTERS:
            text = text[: MAX_CHARACTERS - 4] + "\n..."
        options = {
            "chat_id": self._chat_id,
            "text": text,
            "disable_notification": self._silent.get(message.event, False),
        }
        try:
            self._post({**options, "parse_mode": "Markdown"})
        except Exception as error:
            # a name with an underscore in it, say: Telegram takes it for Markdown that does not end
            if "parse" not in str(error).lower():
                raise
            self._post(options)

    def _post(self, options: dict[str, Any]) -> None:
        raise NotImplementedError


class _Api(_Chat):
    def __init__(
        self, base_url: str, token: str, chat_id: int | str, silent: dict[str, bool], proxy_url: str | None
    ) -> None:
        super().__init__(chat_id, silent, [token, *token.split(":"), *secret_parts(proxy_url or "")])
        self._url, self._proxy_url = f"{base_url}{token}/sendMessage", proxy_url

    def _post(self, options: dict[str, Any]) -> None:
        post_json(self._url, options, self._proxy_url)


class _Bot(_Chat):
    def __init__(self, bot: Any, chat_id: int | str, silent: dict[str, bool], loop: _Loop) -> None:
        token = getattr(bot, "token", None)
        super().__init__(chat_id, silent, [token, *token.split(":")] if isinstance(token, str) else [])
        self._bot, self._loop = bot, loop

    def _post(self, options: dict[str, Any]) -> None:
        from inspect import iscoroutine

        sent = self._bot.send_message(**options)
        if iscoroutine(sent):
            self._loop.run(sent)


class _Loop:
    """An event loop, made when it is needed, and kept: a bot's connections belong to that of its first message."""

    def __init__(self) -> None:
        self._loop: Any = None
        self._turn = threading.Lock()

    def run(self, coroutine: Any) -> None:
        with self._turn:
            if self._loop is None:
                import asyncio
                import weakref

                self._loop = asyncio.new_event_loop()
                weakref.finalize(self, self._loop.close)
            self._loop.run_until_complete(coroutine)
