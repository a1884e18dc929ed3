"""SETTINGS: Sacred's names, and where a value comes from."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import textwrap

import pytest

from capture.errors import SettingError
from capture.settings import DEFAULTS, Settings


@pytest.fixture
def settings():
    return Settings()


def test_a_setting_is_read_and_written_as_attribute_and_as_item(settings):
    """Both spellings are in Sacred's documentation."""
    settings.CONFIG.READ_ONLY_CONFIG = False
    assert settings["CONFIG"]["READ_ONLY_CONFIG"] is False
    settings["HOST_INFO"]["CAPTURED_ENV"] = ["PATH"]
    assert settings.HOST_INFO.CAPTURED_ENV == ["PATH"]


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda s: s.CONFIG.READONLY_CONFIG, "did you mean:    CONFIG.READ_ONLY_CONFIG"),
        (lambda s: setattr(s, "CAPTUREMODE", "fd"), "did you mean:    CAPTURE_MODE"),
        (lambda s: setattr(s, "CONFIG", 3), "is a group"),
        (lambda s: setattr(s, "CAPTURE_MODE", "tee"), "one of None, 'fd', 'sys', 'no'"),
        (lambda s: setattr(s, "DEFAULT_BEAT_INTERVAL", "soon"), "is a float, got 'soon'"),
        (lambda s: setattr(s.OUTPUT, "MAX_BYTES", True), "is a int, got True"),
    ],
)
def test_a_slip_in_a_setting_is_refused_with_what_was_possible(settings, act, message):
    """A setting that silently does nothing is worse than none."""
    with pytest.raises(SettingError) as caught:
        act(settings)
    assert message in str(caught.value)


def test_a_deep_copy_is_independent_and_still_frozen(settings):
    """Tests of users keep a copy and put it back."""
    other = copy.deepcopy(settings)
    other.CONFIG.READ_ONLY_CONFIG = False
    assert settings.CONFIG.READ_ONLY_CONFIG is True
    with pytest.raises(SettingError):
        other.NEW = 1


def test_every_setting_says_what_it_does():
    """The list of settings in the docs is made from these sentences."""
    assert all(len(doc) > 10 for _, doc in DEFAULTS.values())


def test_layers_win_in_their_order_and_can_be_asked(tmp_path):
    """library < user file < project < environment < code."""
    home, project = tmp_path / "home", tmp_path / "project"
    (home / "capture").mkdir(parents=True)
    project.mkdir()
    (home / "capture" / "config.toml").write_text('store = "user"\ndefault-beat-interval = 3\n[output]\nmax_bytes = 5\n')
    (project / "pyproject.toml").write_text('[tool.capture]\nSTORE = "project"\n[tool.capture.output]\nclean = false\n')
    script = project / "script.py"
    script.write_text(
        textwrap.dedent("""
        from capture import SETTINGS
        SETTINGS.METRICS.JSON_LIMIT = 7
        for name in ("STORE", "DEFAULT_BEAT_INTERVAL", "OUTPUT.MAX_BYTES", "OUTPUT.CLEAN", "SIGNALS", "METRICS.JSON_LIMIT"):
            print(name, repr(SETTINGS._get(name)), SETTINGS.origin(name).rpartition("/")[2])
        """)
    )
    environment = {**os.environ, "XDG_CONFIG_HOME": str(home), "CAPTURE_SIGNALS": "no", "CAPTURE_METRICS__JSON_LIMIT": "1"}
    environment.pop("CAPTURE_STORE", None)
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "STORE 'project' pyproject.toml",
        "DEFAULT_BEAT_INTERVAL 3.0 config.toml",
        "OUTPUT.MAX_BYTES 5 config.toml",
        "OUTPUT.CLEAN False pyproject.toml",
        "SIGNALS False environment variable CAPTURE_SIGNALS",
        "METRICS.JSON_LIMIT 7 code",
    ]


def test_a_slip_in_the_environment_names_the_variable(monkeypatch, settings):
    """The message has to lead to the place that is wrong."""
    monkeypatch.setenv("CAPTURE_SIGNALS", "perhaps")
    with pytest.raises(SettingError, match="CAPTURE_SIGNALS"):
        settings.SIGNALS


def test_a_variable_that_sets_nothing_is_named(monkeypatch, caplog):
    """Whoever misspelt it believes that recording is off."""
    monkeypatch.setenv("CAPTURE_LINAGE__ENABLED", "0")
    monkeypatch.setenv("CAPTURE_LINEAGE_JOURNAL", "/nowhere")
    assert Settings().LINEAGE.ENABLED is True
    assert "CAPTURE_LINAGE__ENABLED sets nothing" in caplog.text
    assert "did you mean CAPTURE_LINEAGE__ENABLED?" in caplog.text
    assert "JOURNAL" not in caplog.text


@pytest.mark.parametrize("interval", ["-1", "0", "nan", "inf", "0.001"])
def test_an_interval_that_cannot_be_kept_is_refused(monkeypatch, interval):
    """Thousands of points a second are nobody's wish."""
    monkeypatch.setenv("CAPTURE_SYSTEM_METRICS__INTERVAL_S", interval)
    with pytest.raises(SettingError, match=r"SYSTEM_METRICS\.INTERVAL_S is 0\.05 or more.*environment variable"):
        Settings().SYSTEM_METRICS.INTERVAL_S


def test_a_store_that_is_not_named_is_the_usual_one(settings, monkeypatch):
    """A variable that the shell does not know leaves an empty one, and the current folder is no store by accident."""
    monkeypatch.setenv("CAPTURE_STORE", "")
    assert (settings.STORE, settings.origin("STORE")) == ("./runs", "library")
    with pytest.raises(SettingError, match="STORE is not empty"):
        settings.STORE = ""


def test_a_password_in_a_setting_is_not_shown(settings):
    """What shows settings is pasted into reports."""
    settings.STORE = "postgresql://bob:hunter2@db/runs"
    assert "hunter2" not in settings.shown("STORE") + repr(settings)
    assert "bob" in settings.shown("STORE")
