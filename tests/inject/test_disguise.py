"""A captured function passes for the function it wraps."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import os
import pickle
import pydoc
import subprocess
import sys

import pytest

from capture.inject import capture_function
from tests.inject import runs
from tests.inject.runs import Importable, captured, importable, live


@captured(prefix="model")
def train(lr: float, *, steps=1):
    """Train a model."""
    return lr, steps


def test_inspection_sees_the_users_function():
    """Documentation tools, editors, debuggers and test runners look at these."""
    assert (train.__name__, train.__doc__, train.__module__) == ("train", "Train a model.", __name__)
    assert str(inspect.signature(train)) == "(lr: 'float', *, steps=1)"
    assert inspect.getsource(train).startswith("@captured(prefix=")
    assert inspect.isfunction(train) and inspect.isroutine(train) and callable(train)
    assert inspect.unwrap(train) is train.__wrapped__
    assert "Train a model." in pydoc.render_doc(train)
    assert "train" in repr(train) and "model" in repr(train)


def test_inspection_sees_what_kind_of_function_it_is():
    """Event loops and frameworks decide by it how to call."""

    async def task():
        pass

    def numbers():
        yield 1

    async def later():
        yield 1

    assert inspect.iscoroutinefunction(captured(task))
    assert inspect.isgeneratorfunction(captured(numbers))
    assert inspect.isasyncgenfunction(captured(later))


def test_methods_are_inspected_without_their_first_parameter():
    """As those of any class."""

    class Model:
        @captured
        def fit(self, lr):
            """Fit."""

        @captured
        @classmethod
        def make(cls, lr):
            pass

    assert str(inspect.signature(Model().fit)) == str(inspect.signature(Model.make)) == "(lr)"
    assert str(inspect.signature(Model.fit)) == "(self, lr)"
    assert inspect.ismethod(Model().fit) and Model().fit.__doc__ == "Fit."
    assert Model().fit.prefix is None


def test_it_tells_what_it_was_captured_with():
    """Commands and checks of unused entries read these."""
    assert (train.prefix, train.owner) == ("model", "experiment")
    assert train.signature.arguments == ("lr", "steps")
    assert not train.uses_randomness
    assert captured(lambda _rnd: 0).uses_randomness


def test_attributes_are_shared_with_the_function_except_our_own():
    """Frameworks mark functions with attributes; ours must not be spread over what the user wrote."""

    @captured
    def function():
        pass

    function.mark = 1
    function.unobserved = True
    assert function.__wrapped__.mark == 1
    assert function.unobserved and not hasattr(function.__wrapped__, "unobserved")


def test_capturing_again_changes_nothing():
    """`@ex.main` on a function that is captured already must not wrap it twice."""
    assert capture_function(train, "other", "other") is train
    class_method = vars(Importable)["method"]
    assert capture_function(class_method) is class_method
    method = Importable().method
    assert capture_function(method) is method
    static = captured(staticmethod(lambda lr: lr))
    assert capture_function(static) is static


def test_two_captures_of_one_function_are_two():
    """They may differ in prefix; a proxy that compares what it wraps would make them one in sets and dicts."""
    one, other = captured(train.__wrapped__), captured(train.__wrapped__, prefix="b")
    assert one != other and len({one, other}) == 2


def test_copies_are_the_function_itself():
    """As for plain functions; experiments and configurations that hold one are copied as a whole."""
    assert copy.copy(train) is copy.deepcopy(train) is train


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_hold_the_name(protocol):
    """As for plain functions; joblib and multiprocessing send functions that way."""
    assert pickle.loads(pickle.dumps(importable, protocol)) is importable
    assert pickle.loads(pickle.dumps(Importable.method, protocol)) is Importable.method
    bound = pickle.loads(pickle.dumps(Importable().method, protocol))
    with live({"lr": 3}):
        assert bound() == 3


def test_a_local_function_is_refused_by_pickle_as_usual():
    """There is no name to import it by."""
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(captured(lambda: 0))


def test_another_process_can_call_it():
    """A spawned process has no run, so everything has to be given there."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(importable, (1,), {"steps": 2}) == (1, 2)


def in_new_interpreter(program, **environ):
    """Run a program and return its output."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, **environ}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


PROGRAM = """
import sys
from capture.inject import capture_function
function = capture_function(lambda a, b=2: (a, b))
assert function(1) == (1, 2)
print(*(name for name in ("inspect", "wrapt", "logging", "numpy", "random") if name in sys.modules))
import wrapt
print(isinstance(function, wrapt.FunctionWrapper), wrapt.ObjectProxy in type(function).__mro__)
"""


def test_capturing_loads_wrapts_wrapper_and_nothing_else():
    """The rest of wrapt takes longer to import than all of this library; and it must still find its own class."""
    assert in_new_interpreter(PROGRAM) == ["True", "True"]


def test_wrapt_without_its_extension_serves_as_well():
    """Not every platform has the compiled part."""
    program = PROGRAM + (
        "import pickle, copy\n"
        "class K:\n    m = capture_function(lambda self, a: a)\n"
        "print(K().m(5), function.prefix, copy.copy(function) is function, function.__name__)"
    )
    assert in_new_interpreter(program, WRAPT_DISABLE_EXTENSIONS="1")[-4:] == ["5", "None", "True", "<lambda>"]


def test_the_helpers_of_these_tests_are_what_is_pickled():
    """Guards the tests above: a module imported twice would make them pass or fail for another reason."""
    assert sys.modules["tests.inject.runs"] is runs
