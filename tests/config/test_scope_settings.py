"""The settings reach the sources of an experiment, whenever they are made."""

from __future__ import annotations

import pytest

from capture import SETTINGS, Experiment
from capture.errors import InvalidConfigKey


@pytest.fixture
def lax():
    SETTINGS.CONFIG.ENFORCE_KEYS_MONGO_COMPATIBLE = False
    SETTINGS.CONFIG.IGNORED_COMMENTS = ["^TODO"]
    yield
    SETTINGS.CONFIG.ENFORCE_KEYS_MONGO_COMPATIBLE = True
    SETTINGS.CONFIG.IGNORED_COMMENTS = ["^pylint:", "^noinspection"]


def make():
    ex = Experiment("settings", interactive=True)

    @ex.config
    def cfg():
        group = {"a.b": 1}  # TODO later
        other = 1  # pylint: this

    return ex


def test_key_rules_of_the_settings_hold_for_scopes():
    """The message names the setting, so the setting has to work."""
    with pytest.raises(InvalidConfigKey, match="ENFORCE_KEYS_MONGO_COMPATIBLE"):
        make().build_config()


def test_lifted_rules_and_ignored_comments_reach_scopes_and_dicts(lax):
    """Also those of scopes that were made before the setting was."""
    ex = make()
    ex.add_config({"table": {"$x": 1}})
    config = ex.build_config()
    assert (config["group"], config["table"]) == ({"a.b": 1}, {"$x": 1})
    assert ex.configurations[0].docs == {"other": "pylint: this"}
