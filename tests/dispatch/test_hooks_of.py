"""Which hooks an observer has, and which arguments they get."""

from __future__ import annotations

import functools
import pickle
from unittest import mock

import pytest

from capture.calls import check_hooks, hooks_of
from capture.errors import HookError, ObserverError
from capture.hooks import HOOKS, RunObserver


def test_documentation_is_not_a_hook():
    """`RunObserver` describes every hook; an observer has those that it writes itself."""

    class Mine(RunObserver):
        def heartbeat_event(self, info):
            """Do something."""

    assert list(hooks_of(Mine())) == ["heartbeat_event"]
    assert hooks_of(RunObserver()) == {}


def test_anything_with_hooks_is_an_observer():
    """Sacred's users have observers that inherit from nothing of ours."""

    class Duck:
        completed_event = None  # not callable: not there

        def started_event(self, _id, **rest):
            """Begin."""

    assert list(hooks_of(Duck())) == ["started_event"]
    check_hooks(mock.Mock(priority=10))
    assert set(hooks_of(mock.Mock())) == set(HOOKS)


def wrapped(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class Shapes:
    """One way each of writing a hook."""

    def subset(self, info):
        """Take one argument."""

    def everything(self, **arguments):
        """Take all."""

    def place(self, info, uid, writer, seq):
        """Take the event's place, too."""

    def optional(self, info, mine=3, *, other=None):
        """Take arguments of its own, with defaults."""

    def keyword_only(self, *, captured_out):
        """Take it by keyword."""

    @staticmethod
    def static(info):
        """Need no self."""

    @classmethod
    def of_class(cls, info):
        """Belong to the class."""

    @wrapped
    def decorated(self, info):
        """Be decorated."""

    @wrapped
    def decorated_place(self, info, seq):
        """Be decorated and take a place."""


@pytest.mark.parametrize(
    "shape, wanted",
    [
        ("subset", {"info"}),
        ("everything", None),
        ("place", {"info", "uid", "writer", "seq"}),
        ("optional", {"info"}),
        ("keyword_only", {"captured_out"}),
        ("static", {"info"}),
        ("of_class", {"info"}),
        ("decorated", {"info"}),
        ("decorated_place", {"info", "seq"}),
    ],
)
def test_a_hook_gets_what_it_declares(shape, wanted):
    """A hook names what it needs, and goes on working when a later version passes more."""
    observer = mock.NonCallableMock(spec=["heartbeat_event"])
    observer.heartbeat_event = getattr(Shapes(), shape)
    found = hooks_of(observer)["heartbeat_event"].wanted
    assert found == wanted


def test_partial_functions_and_callable_objects_are_hooks():
    """They have no code of their own to look at."""

    class Callable:
        def __call__(self, result):
            """Be called."""

    for hook in (functools.partial(lambda mine, result: None, 1), Callable(), lambda result: None):
        observer = mock.NonCallableMock(spec=["heartbeat_event"])
        observer.heartbeat_event = hook
        assert hooks_of(observer)["heartbeat_event"].wanted == {"result"}


def test_what_cannot_be_looked_into_takes_anything():
    """Functions written in C may have no signature; refusing them would be guessing."""
    observer = mock.NonCallableMock(spec=["join"])
    observer.join = type("Odd", (), {"__call__": lambda self: None, "__signature__": "no signature"})()
    assert hooks_of(observer)["join"].wanted is None


class Wrong:
    """Hooks that no run can call."""

    def misspelt(self, inof):
        """Ask for what is not there."""

    def positional(self, info, /):
        """Take by position what is passed by name."""

    def keyword(self, *, nothing):
        """Need a keyword that is not there."""

    @wrapped
    def decorated(self, inof):
        """Be decorated and wrong."""


@pytest.mark.parametrize("shape", ["misspelt", "positional", "keyword", "decorated"])
def test_a_hook_that_no_run_can_call_is_refused_when_it_is_added(shape):
    """Not an hour into the training."""
    observer = mock.NonCallableMock(spec=["heartbeat_event"])
    observer.heartbeat_event = getattr(Wrong(), shape)
    with pytest.raises(HookError) as caught:
        check_hooks(observer)
    error = caught.value
    assert error.hook == "heartbeat_event"
    assert error.argument in str(error)
    assert "captured_out" in str(error), "it lists what there is"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_slip_gets_a_suggestion():
    """Most wrong names are slips."""
    observer = mock.NonCallableMock(spec=["heartbeat_event"])
    observer.heartbeat_event = Wrong().misspelt
    with pytest.raises(HookError, match="did you mean: info"):
        check_hooks(observer)


@pytest.mark.parametrize("hook", ["flush", "join"])
def test_calls_that_belong_to_no_event_have_no_place(hook):
    """`join` is not an event: it has no seq to pass."""
    observer = mock.NonCallableMock(spec=[hook])
    setattr(observer, hook, lambda seq: None)
    with pytest.raises(HookError):
        check_hooks(observer)


def test_a_class_is_not_an_observer():
    """Forgetting the brackets is common, and its usual error says nothing."""
    with pytest.raises(ObserverError, match=r"observers\.append\(RunObserver\(\.\.\.\)\)"):
        check_hooks(RunObserver)


def test_every_hook_of_the_interface_accepts_its_own_documentation():
    """The signatures on the page and the table of arguments must not drift apart."""
    for name, arguments in HOOKS.items():
        code = getattr(RunObserver, name).__code__
        declared = code.co_varnames[1 : code.co_argcount]
        assert set(declared) <= set(arguments), name
