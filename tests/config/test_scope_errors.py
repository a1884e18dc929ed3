"""Errors of config sources cross process boundaries whole."""

from __future__ import annotations

import pickle
import traceback

import pytest

from capture.errors import (
    CaptureError,
    ConfigFileError,
    ConfigScopeError,
    ConfigScopeSyntaxError,
    InvalidConfigKey,
    ReadOnlyConfigError,
    ScopeParameterError,
)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (ConfigScopeError("no scope"), TypeError),
        (ConfigScopeSyntaxError("yields"), SyntaxError),
        (ScopeParameterError("learning_rat", "the scope", ["learning_rate"]), KeyError),
        (InvalidConfigKey("bad", path="a.b", rule="no", setting="S"), KeyError),
        (ConfigFileError("bad", file="c.json", line=1, column=2), ValueError),
        (ReadOnlyConfigError("cannot", operation="append to"), TypeError),
    ],
)
def test_errors_keep_message_and_facts_when_pickled(error, builtin):
    """A sweep's worker sends them to its parent."""
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert isinstance(again, builtin)
    assert isinstance(again, CaptureError)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
    assert str(error).splitlines()[0] in "".join(traceback.format_exception_only(type(again), error))
