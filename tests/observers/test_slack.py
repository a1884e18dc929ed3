"""Sacred's `SlackObserver`: its names, its texts, and a webhook to try them on."""

from __future__ import annotations

import json

import pytest

from capture import Experiment
from capture.errors import ConfigFileError, ObserverError
from capture.observers import SlackObserver
from tests.observers.recipients import Recipient


def run_of(observer, body=lambda: 7):
    ex = Experiment("digits", observers=[observer])

    @ex.main
    def main():
        return body()

    ex.run()


def url_of(recipient):
    return f"http://127.0.0.1:{recipient.port}/services/T000/B000/TOPSECRET"


def fail():
    raise ValueError("no such file")


def interrupt():
    raise KeyboardInterrupt


def test_a_completed_run_is_posted_as_sacred_posts_it():
    """Channels have filters on these words."""
    with Recipient() as slack:
        run_of(SlackObserver(url_of(slack)))
        assert slack.requests == [
            (
                "/services/T000/B000/TOPSECRET",
                {
                    "username": "sacred-bot",
                    "icon_emoji": ":angel:",
                    "text": ":white_check_mark: *digits* completed after _less than a second_ with result=`7`",
                },
            )
        ]


@pytest.mark.parametrize(
    ("body", "error", "text"),
    [
        (fail, ValueError, ":x: *digits* failed after _less than a second_ with `ValueError: no such file`"),
        (interrupt, KeyboardInterrupt, ":warning: *digits* interrupted after _less than a second_"),
    ],
)
def test_the_other_ends_are_posted_too(body, error, text):
    """They are why one has such an observer."""
    with Recipient() as slack:
        with pytest.raises(error):
            run_of(SlackObserver(url_of(slack)), body)
        assert [post["text"] for post in slack.bodies] == [text]


def test_texts_name_what_sacreds_texts_could_name():
    """Those of old scripts go on working."""
    text = "{experiment[name]} {config[seed]} {command} {host_info[hostname]} {_id} {start_time} {elapsed_time} {result}"
    with Recipient() as slack:
        run_of(SlackObserver(url_of(slack), bot_name="bot", icon=":robot:", completed_text=text))
        [post] = slack.bodies
    assert post["text"].startswith("digits ") and post["text"].endswith(" 7")
    assert (post["username"], post["icon_emoji"]) == ("bot", ":robot:")


def test_the_trace_can_be_posted():
    """`fail_trace` is a list of lines; Sacred's users index it."""
    with Recipient() as slack:
        with pytest.raises(ValueError):
            run_of(SlackObserver(url_of(slack), failed_text="{fail_trace[0]}|{error}|{trace}"), fail)
        first, error, trace = slack.bodies[0]["text"].split("|")
    assert first.startswith("Traceback") and error == "ValueError: no such file" and trace.endswith(error)


def test_a_text_that_is_none_is_not_posted():
    """How one switches a message off, in Sacred by setting the attribute."""
    with Recipient() as slack:
        observer = SlackObserver(url_of(slack))
        observer.completed_text = None
        run_of(observer)
        assert slack.requests == []


def test_a_subclass_may_make_its_own_text():
    """`get_completed_text` is what people override, and `run` what they read."""

    class Mine(SlackObserver):
        def get_completed_text(self):
            return f"{self.run['experiment']['name']} is done"

    with Recipient() as slack:
        run_of(Mine(url_of(slack)))
        assert slack.bodies[0]["text"] == "digits is done"


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(status):
    """Slack takes one message a second from a webhook; ten runs that end together are more."""
    with Recipient(lambda body, count: (status, "", {"Retry-After": "0"}) if count == 1 else (200, "ok", {})) as slack:
        run_of(SlackObserver(url_of(slack)))
        assert len(slack.requests) == 2


def test_what_is_wrong_with_a_webhook_is_logged_once_without_its_address(caplog):
    """The address is a password; and a sweep must not fill the log."""
    caplog.set_level("DEBUG")
    with Recipient(lambda body, count: (403, "invalid_token TOPSECRET", {})) as slack:
        observer = SlackObserver(url_of(slack))
        observer.started_text = "started"
        run_of(observer)
        assert len(slack.requests) == 2
    said = [record.getMessage() for record in caplog.records if "no message to" in record.getMessage()]
    assert said == ["no message to Slack: HTTP 403: invalid_token ***"]
    assert "TOPSECRET" not in caplog.text + repr(observer)


def test_an_address_is_told_to_nobody_that_the_server_names(caplog):
    """A redirect would hand the message on, and count as delivered."""
    with Recipient() as other:
        elsewhere = {"Location": f"http://127.0.0.1:{other.port}/"}
        with Recipient(lambda body, count: (302, "", elsewhere)) as slack:
            run_of(SlackObserver(url_of(slack)))
        assert other.requests == []
    assert "HTTP 302" in caplog.text


def test_a_file_makes_one(tmp_path):
    """Where the webhook's address belongs: not in the script."""
    path = tmp_path / "slack.json"
    path.write_text(json.dumps({"webhook_url": "https://hooks.example.org/x", "icon": ":cat:", "failed_text": "oh"}))
    observer = SlackObserver.from_config(path)
    assert (observer.webhook_url, observer.icon, observer.failed_text) == ("https://hooks.example.org/x", ":cat:", "oh")
    assert (observer.bot_name, observer.priority, observer.replay) == ("sacred-bot", 10, False)


@pytest.mark.parametrize(
    ("entries", "words"),
    [({"icon": "TOPSECRET"}, "it lacks webhook_url"), ({"webhook_url": "https://x", "colour": "TOPSECRET"}, "nothing reads colour")],
)
def test_a_file_that_cannot_do_says_what_is_wrong_with_it(tmp_path, entries, words):
    """And shows nothing that it holds."""
    path = tmp_path / "slack.json"
    path.write_text(json.dumps(entries))
    with pytest.raises(ConfigFileError, match=words) as caught:
        SlackObserver.from_config(path)
    assert "TOPSECRET" not in str(caught.value)


@pytest.mark.parametrize("url", ["", None, "TOPSECRET", "file:///etc/TOPSECRET"])
def test_what_is_no_web_address_is_refused(url):
    """A file would be 'posted' to without an error."""
    with pytest.raises(ObserverError, match="begins with https://") as caught:
        SlackObserver(url)
    assert "TOPSECRET" not in str(caught.value)


def test_the_old_constructor_works():
    """Sacred's scripts from before 0.8."""
    with pytest.warns(DeprecationWarning, match=r"SlackObserver\(\.\.\.\)"):
        assert SlackObserver.create("https://x").webhook_url == "https://x"
