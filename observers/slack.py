"""Messages to a channel of Slack, under Sacred's names."""

from __future__ import annotations

import os

from capture.observers._messages import (
    Channel,
    Message,
    TextObserver,
    check_web_address,
    post_json,
    read_config,
    secret_parts,
)  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_SLACK_PRIORITY = 10

_TEXTS = {
    "completed": ":white_check_mark: *{experiment[name]}* completed after _{elapsed_time}_ with result=`{result}`",
    "interrupted": ":warning: *{experiment[name]}* interrupted after _{elapsed_time}_",
    "failed": ":x: *{experiment[name]}* failed after _{elapsed_time}_ with `{error}`",
}


class SlackObserver(TextObserver):
    """Posts to a webhook of Slack, or of Mattermost or Rocket.Chat, when a run has ended.

    Parameters
    ----------
    webhook_url : str
        The webhook's address, which is secret.
    bot_name : str
        Who the message comes from.
    icon : str
        Its emoji.
    priority : float
    completed_text, interrupted_text, failed_text : str, optional
        What is posted, with fields in braces: ``experiment``, ``config``, ``command``, ``host_info``, ``_id``,
        ``start_time``, ``elapsed_time``, ``result``, ``error``, ``fail_trace`` ... Set the attribute of that name to
        None for no message; `started_text`, which is None, to a text for one more.

    Raises
    ------
    ObserverError
        If the address is none, or a text names an unknown field.

    Notes
    -----
    Slack takes about one message a second from a webhook; one that it refuses for that reason is sent once more after
    the pause that it asks for, if that is short.
    """

    usual = _TEXTS

    def __init__(
        self,
        webhook_url: str,
        bot_name: str = "sacred-bot",
        icon: str = ":angel:",
        priority: float = DEFAULT_SLACK_PRIORITY,
        completed_text: str | None = None,
        interrupted_text: str | None = None,
        failed_text: str | None = None,
    ) -> None:
        super().__init__(priority)
        self.webhook_url = check_web_address(webhook_url, "the webhook_url of a SlackObserver")
        self.bot_name, self.icon = bot_name, icon
        self.set_texts(completed=completed_text, interrupted=interrupted_text, failed=failed_text)

    @classmethod
    def from_config(cls, filename: str | os.PathLike[str]) -> SlackObserver:
        """Make an observer from a config file: its arguments by name, of which ``webhook_url`` is needed.

        Raises
        ------
        ConfigFileError
            If it cannot be read, or lacks the address, or holds something else. No value is shown.
        """
        possible = ("bot_name", "icon", "priority", "completed_text", "interrupted_text", "failed_text")
        return cls(**read_config(filename, ("webhook_url",), possible))

    def channels(self) -> list[Channel]:
        return [_Webhook(self.webhook_url, {"username": self.bot_name, "icon_emoji": self.icon})]


class _Webhook(Channel):
    def __init__(self, url: str, sender: dict[str, Any]) -> None:
        super().__init__("Slack", secret_parts(url))
        self._url, self._sender = url, sender

    def send(self, message: Message) -> None:
        post_json(self._url, {**self._sender, "text": message.body})
