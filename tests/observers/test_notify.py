"""Messages by way of Apprise, to a server that takes them, or does not."""

from __future__ import annotations

import copy
import logging
import os
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone

import pytest

from capture import SETTINGS, Experiment, start_run
from capture.errors import ObserverError
from capture.observers import NotifyObserver
from capture.registry import make_observer, open_reader
from capture.testing import Story, tell
from tests.observers.recipients import Recipient, free_port, slow


@pytest.fixture
def settings():
    """`SETTINGS`, as they were afterwards."""
    before = SETTINGS.NOTIFY.to_dict()
    yield SETTINGS
    SETTINGS.NOTIFY.update(before)


def experiment(observer, body=lambda: 7):
    ex = Experiment("digits", observers=[observer])

    @ex.main
    def main():
        return body()

    return ex


def url_of(recipient, path="hook"):
    return f"json://127.0.0.1:{recipient.port}/{path}"


def test_start_and_success_are_told():
    """The two messages that everybody sets this up for."""
    with Recipient() as chat:
        experiment(NotifyObserver(url_of(chat))).run()
        start, end = chat.bodies
    assert start["title"].startswith("digits started (run, ")
    assert "Command main, started at 20" in start["message"]
    assert end["title"].startswith("digits completed")
    assert "Result: 7" in end["message"] and "less than a second" in end["message"]
    assert (start["type"], end["type"]) == ("info", "success")


def test_the_label_that_a_store_gave_is_in_the_message(tmp_path):
    """Whoever reads the message wants to open that run."""
    with Recipient() as chat:
        ex = experiment(NotifyObserver(url_of(chat)))
        ex.observers.append(str(tmp_path / "runs"))
        ex.run()
        assert "(run 1, " in chat.bodies[1]["title"]


def test_a_failure_comes_with_the_end_of_its_traceback():
    """Whether to hurry back to the office is decided by the last lines."""

    def main():
        raise ValueError("the disk is full\n" + "x" * 5_000 + "\nthe very end")

    with Recipient() as chat:
        with pytest.raises(ValueError):
            experiment(NotifyObserver(url_of(chat), on="failed"), main).run()
        [failure] = chat.bodies
    assert failure["type"] == "failure"
    assert failure["message"].endswith("the very end")
    assert len(failure["message"]) < 5_000


def test_an_interruption_is_told_with_its_status():
    """A run that a scheduler ended looks like one that goes on, from afar."""

    def main():
        raise KeyboardInterrupt

    with Recipient() as chat:
        ex = experiment(NotifyObserver(url_of(chat), on=["interrupted"]), main)
        with pytest.raises(KeyboardInterrupt):
            ex.run()
        [end] = chat.bodies
    assert end["type"] == "warning" and "Status: INTERRUPTED" in end["message"]


def test_only_what_was_chosen_is_told():
    """In a sweep of a thousand runs only failures are news."""
    with Recipient() as chat:
        experiment(NotifyObserver(url_of(chat), on=["failed"])).run()
        assert chat.requests == []


def test_several_recipients_are_all_told():
    """One that is away must not cost the others their message."""
    with Recipient() as chat, Recipient() as mail:
        urls = [url_of(chat), f"json://127.0.0.1:{free_port()}/", url_of(mail)]
        experiment(NotifyObserver(urls, on="completed")).run()
        assert len(chat.bodies) == len(mail.bodies) == 1


def test_texts_are_templates():
    """A lab's channel has its own way to say things."""
    with Recipient() as chat:
        observer = NotifyObserver(
            url_of(chat), on="completed", title="{experiment[name]}: lr {config[lr]}", body={"completed": "{result:.2f}"}
        )
        ex = experiment(observer, lambda: 0.123)
        ex.add_config(lr=0.5)
        ex.run()
        [end] = chat.bodies
    assert (end["title"], end["message"]) == ("digits: lr 0.5", "0.12")


def test_a_text_that_cannot_be_filled_in_does_not_swallow_the_news(caplog):
    """``{result:.2f}`` of a run that returned None must not be why nobody hears that it ended."""
    with Recipient() as chat:
        observer = NotifyObserver(url_of(chat), on="completed", body="{result:.2f}")
        experiment(observer, lambda: None).run()
        assert "Result: None" in chat.bodies[0]["message"]
    assert "cannot be filled in" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"urls": []}, "needs the URL"),
        ({"urls": "json://a geheim:"}, None),
        ({"urls": "TOPSECRET"}, "recipient 1 of 1"),
        ({"urls": "json://a", "on": ["fails"]}, "did you mean:  failed"),
        ({"urls": "json://a", "stalled_after_s": 0}, "stalled_after_s is a number of seconds above 0"),
        ({"urls": "json://a", "title": "{name}"}, "names the field 'name'"),
        ({"urls": "json://a", "body": {"ended": "x"}}, "has a text for 'ended'"),
        ({"urls": "json://a", "body": "{"}, "is no format string"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(arguments, words):
    """Not when the first message is due; and no URL is shown, whatever is wrong with it."""
    if words is None:
        NotifyObserver(**arguments)  # odd, but Apprise's business
        return
    with pytest.raises(ObserverError) as caught:
        NotifyObserver(**arguments)
    assert words in str(caught.value)
    assert "TOPSECRET" not in str(caught.value)


def test_without_apprise_one_is_told_what_to_install(monkeypatch):
    """The extra is named where it is needed."""
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ObserverError, match=r"pip install 'experiment-capture\[notify\]'"):
        NotifyObserver("json://a")


def test_apprise_is_not_imported_before_there_is_a_run():
    """It costs a quarter of a second, which only those pay who are told something."""
    code = "import sys; from capture.observers import NotifyObserver; NotifyObserver('json://a'); print('apprise' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


# ---------------------------------------------------------------------------------------------------- what goes wrong


def test_a_server_that_refuses_is_logged_once_with_the_reason(caplog):
    """And the run goes on."""
    with Recipient(lambda body, count: (500, "no", {})) as chat:
        assert experiment(NotifyObserver(url_of(chat))).run().result == 7
        chat.wait_for(2)
    said = [record.getMessage() for record in caplog.records if "no message to" in record.getMessage()]
    assert len(said) == 1 and "json://" in said[0] and "500" in said[0]


def test_a_url_that_apprise_does_not_know_is_logged_when_the_run_starts(caplog):
    """Not when it fails and nobody hears of it."""
    went_on = threading.Event()

    def main():
        for _ in range(1200):
            if "no message to nonsense://" in caplog.text:
                went_on.set()
                return
            time.sleep(0.05)

    experiment(NotifyObserver("nonsense://TOPSECRET", on="failed"), main).run()
    assert went_on.is_set()
    assert "TOPSECRET" not in caplog.text


def test_a_server_that_does_not_answer_does_not_hold_the_run_up(monkeypatch):
    """Main is called while the message of its start is still on its way."""
    monkeypatch.setitem(SETTINGS._values, "DELIVERY.START_WAIT_S", 60.0)  # nobody else cuts the waiting short
    in_main = threading.Event()
    seen = []

    def answer(body, count):
        seen.append(in_main.wait(60))
        return 200, "ok", {}

    with Recipient(answer) as chat:
        experiment(NotifyObserver(url_of(chat), on="started"), in_main.set).run()
    assert seen == [True]


def test_a_server_that_never_answers_is_given_up_at_the_end(caplog, monkeypatch):
    """The process ends, and says that somebody was not told."""
    monkeypatch.setattr("capture.observers._messages.END_WAIT_S", 0.5)
    with Recipient(slow(3)) as chat:
        experiment(NotifyObserver(url_of(chat), on="completed")).run()
    assert "not delivered within 0.5 s" in caplog.text


def test_a_script_ends_although_a_server_drips(tmp_path):
    """Threads of a library that are waited for at exit would keep the process for as long as the server likes."""
    script = tmp_path / "script.py"
    with Recipient(slow(600)) as chat:
        script.write_text(
            "import capture.observers._messages as messages\n"
            "messages.END_WAIT_S = 0.5\n"
            "from capture import start_run\n"
            "from capture.observers import NotifyObserver\n"
            f"with start_run('s', observers=[NotifyObserver({url_of(chat) + '?rto=500'!r})]): pass\n"
        )
        subprocess.run([sys.executable, str(script)], timeout=600, check=True, cwd=tmp_path)


def test_nothing_of_the_urls_is_logged_shown_or_recorded(tmp_path, caplog):
    """Whoever has such a URL can write to that channel in one's name."""
    caplog.set_level(logging.DEBUG)
    with Recipient(lambda body, count: (500 if count > 1 else 200, "TOPSECRET", {})) as chat:
        url = f"notify+json://bob:hunter2secret@127.0.0.1:{chat.port}/TOPSECRET?+X-Key=KEYSECRET"
        observer = make_observer(url)
        ex = experiment(str(tmp_path / "runs"))
        ex.run(options={"--observe": [url]})
        chat.wait_for(2)
    seen = repr(observer) + str(observer.identity) + caplog.text
    seen += "".join(path.read_text(errors="replace") for path in (tmp_path / "runs" / "1").rglob("*") if path.is_file())
    for secret in ("TOPSECRET", "KEYSECRET", "hunter2secret"):
        assert secret not in seen
    assert "'json://'" in seen or "json://" in seen


def test_other_threads_may_log_what_they_like(caplog):
    """What is kept quiet is what this library sends, not what the user's program does with the same packages."""
    caplog.set_level(logging.DEBUG)
    with Recipient() as chat:
        experiment(NotifyObserver(url_of(chat))).run()
    logging.getLogger("urllib3.connectionpool").warning("of the user")
    assert "of the user" in caplog.text


# ------------------------------------------------------------------------------------------------------------- stalls


def test_a_stall_and_its_end_are_told_once_each():
    """Heartbeats go on while a run waits for a lock for ever; they are no sign that it gets anywhere."""
    with Recipient() as chat:
        observer = NotifyObserver(url_of(chat), on="stalled", stalled_after_s=0.3)
        with start_run("train", observers=[observer]) as run:
            pass
        ex = Experiment("train", observers=[observer])

        @ex.main
        def main(_run):
            _run.log_scalar("loss", 1.0)
            [stalled] = chat.wait_for(1)
            assert stalled["title"].startswith("train stalled") and stalled["type"] == "warning"
            time.sleep(0.5)  # beats, at which nothing is said again
            _run.log_scalar("loss", 0.5)
            chat.wait_for(2)

        ex.run(options={"--beat-interval": 0.05})
        stalled, moving = chat.bodies[:2]  # a machine that halts here lets it stall again
    assert run.status == "COMPLETED"
    assert moving["title"].startswith("train moves again")


@pytest.mark.parametrize("what", ["output", "metric", "info", "artifact"])
def test_anything_new_is_progress(what):
    """A run that only prints, or only sets `info`, is none that hangs."""
    observer = NotifyObserver("json://localhost", on="stalled", stalled_after_s=1e-9)
    observer.run = {}
    told = []
    observer.tell = told.append
    observer.heartbeat_event({}, None)
    assert told == ["stalled"]
    if what == "output":
        observer.output_event("x")
    elif what == "metric":
        observer.metrics_event(None)
    elif what == "artifact":
        observer.artifact_event("model")
    else:
        observer.heartbeat_event({"epoch": 1}, None)
    assert told[:2] == ["stalled", "moving"]


def test_without_a_limit_nothing_is_watched():
    """Output, points and beats are not even handed over."""
    observer = NotifyObserver("json://localhost")
    assert observer.metrics_event is None and observer.heartbeat_event is None


def test_runs_at_the_same_time_keep_their_messages_apart():
    """They share the observer: each message names the run that it is of."""
    with Recipient() as chat:
        observer = NotifyObserver(url_of(chat), on="completed", title="{experiment[name]}", body="{result}")
        inner = Experiment("inner", observers=[observer])
        inner.main(lambda: "of the inner")
        outer = Experiment("outer", observers=[observer])

        @outer.main
        def main():
            inner.run()
            return "of the outer"

        outer.run()
        assert [(body["title"], body["message"]) for body in chat.bodies] == [
            ("inner", "of the inner"),
            ("outer", "of the outer"),
        ]


def test_a_copy_shares_nothing_that_changes():
    """That is how runs at the same time are kept apart."""
    observer = NotifyObserver("json://localhost")
    other = copy.copy(observer)
    other.started_event({"name": "x"}, "main", {}, datetime.now(timezone.utc), {}, {}, None)
    assert observer.run is None


def test_a_journal_that_was_left_behind_is_no_news():
    """Nobody wants to hear days later that a run started."""
    assert NotifyObserver("json://localhost").replay is False


def test_told_hook_by_hook(tmp_path):
    """As tests of other people's code call it, without threads of the library."""
    with Recipient() as chat:
        tell(NotifyObserver(url_of(chat)), Story(tmp_path, "0" * 32).start().beat(result=0.5).complete(result=0.25))
        assert [body["type"] for body in chat.wait_for(2)] == ["info", "success"]


# ----------------------------------------------------------------------------------------------------------- settings


def test_the_setting_tells_of_every_recorded_run(settings, tmp_path):
    """Set once in the environment, and every run of the day is told; those that nobody records are not."""
    with Recipient() as chat:
        settings.NOTIFY.URLS = [url_of(chat)]
        settings.NOTIFY.ON = ["completed"]
        ex = Experiment("digits", observers=[str(tmp_path / "runs")])
        ex.main(lambda: 7)
        ex.run()
        ex.run("print_config")
        with start_run("plain", observers=[str(tmp_path / "runs")]):
            pass
        with start_run("unrecorded", observers=[]):
            pass
        assert [body["title"].split()[0] for body in chat.bodies] == ["digits", "plain"]
    assert len(open_reader(str(tmp_path / "runs")).labels()) == 2


def test_a_setting_that_cannot_be_followed_stops_no_run(settings, tmp_path, monkeypatch, caplog):
    """It is set for a whole account; in one of its environments Apprise may be missing."""
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    settings.NOTIFY.URLS = ["json://localhost"]
    ex = Experiment("digits", observers=[str(tmp_path / "runs")])
    ex.main(lambda: 7)
    assert ex.run().result == 7
    assert "nobody is told how this run goes" in caplog.text


def test_a_setting_in_the_environment_may_hold_several_urls(tmp_path):
    """Recipients of one mail are separated by commas, too."""
    code = (
        "from capture.settings import SETTINGS; from capture.registry import make_observer\n"
        "print(repr(SETTINGS), make_observer('notify://'), make_observer('notify://').stalled_after_s)"
    )
    env = {
        **os.environ,
        "CAPTURE_NOTIFY__URLS": "mailto://u:TOPSECRET@x.org?to=a@x.org,b@x.org, json://TOPSECRET tgram://TOPSECRET/1",
        "CAPTURE_NOTIFY__STALLED_AFTER_S": "900",
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    assert done.stdout.rstrip().endswith("<NotifyObserver to mailto://, json://, tgram://> 900.0")
    doctor = subprocess.run([sys.executable, "-m", "capture", "doctor"], capture_output=True, text=True, env=env)
    assert "NOTIFY.URLS = '***'" in doctor.stdout
    assert "TOPSECRET" not in done.stdout + doctor.stdout


def test_notify_without_a_recipient_says_how_to_name_one(settings):
    """`-o notify://` stands for the setting, which is empty."""
    settings.NOTIFY.URLS = []
    with pytest.raises(ObserverError, match="CAPTURE_NOTIFY__URLS"):
        make_observer("notify://")
    with pytest.raises(ObserverError, match=r"notify\+SCHEME"):
        make_observer("notify://somebody")
