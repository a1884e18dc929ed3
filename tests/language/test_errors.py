"""Errors: builtins as well, picklable, with their facts."""

from __future__ import annotations

import pickle

import pytest

from capture import errors


def all_errors():
    todo = [errors.CaptureError, errors.SacredInterrupt]
    while todo:
        cls = todo.pop()
        todo += [below for below in cls.__subclasses__() if below.__module__ == errors.__name__]
        yield cls


ARGUMENTS = {
    "ConfigTypeError": ("a.b", "3 is not a string"),
    "ConfigAddedError": ("lrr", "command line", ["lr", "seed"]),
    "NamedConfigNotFoundError": ("wid", ["wide"]),
    "HookError": ("MyObserver", "started_event", "confg", ["config", "command"]),
    "CircularDependencyError": (["a", "b", "a"],),
    "ScopeParameterError": ("lrr", "defaults"),
}


@pytest.mark.parametrize("cls", list(all_errors()), ids=lambda cls: cls.__name__)
def test_an_error_survives_pickling_with_its_message_and_facts(cls):
    """Errors cross process boundaries: pools, executors, launchers."""
    error = cls(*ARGUMENTS.get(cls.__name__, ("a\nmessage",)))
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is cls
    assert str(back) == str(error)
    assert vars(back) == vars(error)


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (errors.ConfigAddedError, KeyError),
        (errors.NamedConfigNotFoundError, KeyError),
        (errors.MissingConfigError, TypeError),
        (errors.SignatureError, TypeError),
        (errors.ConfigTypeError, ValueError),
        (errors.SettingError, KeyError),
        (errors.HookError, TypeError),
        (errors.NoRunError, AttributeError),
        (errors.RunNotFoundError, KeyError),
        (errors.CommandLineError, ValueError),
    ],
)
def test_an_error_is_also_the_builtin_it_resembles(cls, builtin):
    """Code that never heard of this library can still catch it."""
    assert issubclass(cls, builtin)


def test_a_slip_in_a_key_is_answered_with_the_key_that_was_meant():
    """This is the error that people meet most."""
    text = str(errors.ConfigAddedError("learning_rat", "command line", ["learning_rate", "seed"]))
    assert text.splitlines() == [
        "config entry 'learning_rat', set by the command line, is read by nothing.",
        "  did you mean:   learning_rate",
        "  known entries:  learning_rate, seed",
        "  to add it:      declare it in a config scope, or pass --force",
    ]


def test_conflicting_values_are_listed_with_what_they_are():
    """`InvalidConfigError` is for users to raise; it saves them from formatting the values."""
    error = errors.InvalidConfigError("too big", conflicting_configs=("a", "b.c"), config={"a": 3, "b": {"c": "x"}})
    assert str(error).endswith("Conflicting configuration values:\n  a=3\n  b.c='x'")


def test_an_unknown_way_of_filtering_is_refused():
    """A slip here would silently show the wrong traceback."""
    with pytest.raises(ValueError, match="filter_traceback"):
        errors.CaptureError("x", filter_traceback="sometimes")
