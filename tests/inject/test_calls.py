"""What a captured function gets when it is called."""

from __future__ import annotations

import asyncio
import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Optional

import pytest

from capture import context
from capture.errors import (
    AmbiguousRunError,
    ConfigTypeError,
    InvalidConfigError,
    MissingConfigError,
    ReadOnlyConfigError,
    SignatureError,
)
from capture.inject import Frame, capture_class, capture_function, captured_in
from tests.inject.runs import FakeRun, captured, live

CONFIG = {"a": 1, "b": 2, "c": 3, "group": {"a": 10, "deep": {"a": 100}}, "layers": [64, 32]}


def positional(a, b, c=30):
    return a, b, c


def positional_only(a, b=20, /, c=30):
    return a, b, c


def keyword_only(a, *, b, c=30):
    return a, b, c


def gap(x, a, y, b):
    """`x` and `y` are in no configuration."""
    return x, a, y, b


def gap_positional_only(a, x, /, b):
    return a, x, b


def gap_keyword_only(a, *, x, b):
    return a, x, b


def rest(a, *args, b, **kwargs):
    return a, args, b, kwargs


@functools.wraps(positional)
def decorated(*args, **kwargs):
    return positional(*args, **kwargs)


class Callable:
    def __call__(self, a, b, c=30):
        return a, b, c

    def method(self, a, b, c=30):
        return a, b, c


@pytest.mark.parametrize(
    "function, args, kwargs, expected",
    [
        (positional, (), {}, (1, 2, 3)),
        (positional, (7,), {}, (7, 2, 3)),
        (positional, (7, 8, 9), {}, (7, 8, 9)),
        (positional, (), {"b": 8}, (1, 8, 3)),
        (positional, (None,), {"c": None}, (None, 2, None)),
        (positional_only, (), {}, (1, 2, 3)),
        (positional_only, (7, 8), {"c": 9}, (7, 8, 9)),
        (keyword_only, (), {}, (1, 2, 3)),
        (keyword_only, (7,), {"c": 9}, (7, 2, 9)),
        (gap, (5,), {"y": 6}, (5, 1, 6, 2)),
        (gap, (5, 7, 6), {}, (5, 7, 6, 2)),
        (gap, (), {"x": 5, "y": 6, "b": 7}, (5, 1, 6, 7)),
        (gap_positional_only, (7, 5), {}, (7, 5, 2)),
        (gap_keyword_only, (), {"x": 5}, (1, 5, 2)),
        (rest, (), {}, (1, (), 2, {})),
        (rest, (7, 8, 9), {"d": 4}, (7, (8, 9), 2, {"d": 4})),
        (rest, (), {"a": 7, "b": 8}, (7, (), 8, {})),
        (decorated, (), {}, (1, 2, 3)),
        (decorated, (7,), {"c": 9}, (7, 2, 9)),
        (lambda a, b, c=30: (a, b, c), (), {"a": 7}, (7, 2, 3)),
        (Callable(), (7,), {}, (7, 2, 3)),
        (Callable().method, (), {"b": 8}, (1, 8, 3)),
        (functools.partial(positional, 7), (), {}, (7, 2, 3)),
        (functools.partial(positional, c=9), (), {}, (1, 2, 9)),
        (functools.partial(functools.partial(positional, c=9), b=8), (), {"b": 0}, (1, 0, 9)),
        (functools.lru_cache(positional), (), {}, (1, 2, 3)),
    ],
)
def test_given_values_win_over_configured_ones_and_these_over_defaults(function, args, kwargs, expected):
    """The one rule that users have to know, for every kind of parameter and of callable.

    What a `functools.partial` binds has been given by the user, so it counts as given.
    """
    target = captured(function)
    with live(CONFIG):
        assert target(*args, **kwargs) == expected
        assert target(*args, **kwargs) == expected


def test_defaults_serve_what_the_configuration_does_not_name():
    """A captured function must go on working when an entry is dropped from the configuration."""
    with live({"a": 1}):
        assert captured(keyword_only)(b=5) == (1, 5, 30)
        assert captured(lambda x=1, a=2, /, y=3, *, z=4: (x, a, y, z))() == (1, 1, 3, 4)


def test_the_function_itself_is_not_changed():
    """Its defaults are those of the user, during the run and after it."""
    target = captured(positional)
    with live(CONFIG):
        target()
        assert positional.__defaults__ == (30,)
        assert positional(1, 2) == (1, 2, 30)


def test_closures_globals_and_nonlocal_variables_stay_those_of_the_function():
    """The run calls a twin of the function; state must be shared with the original."""
    count = 0

    @captured
    def counting(a):
        nonlocal count
        count += a
        counting.calls = getattr(counting, "calls", 0) + 1
        return count

    with live(CONFIG):
        counting()
        counting()
    assert (count, counting.calls, counting.__wrapped__.calls) == (2, 2, 2)


def test_a_prefix_restricts_the_function_to_a_group():
    """So that functions of one part of a program need no long parameter names."""
    with live(CONFIG):
        assert captured(positional, prefix="group")(b=5) == (10, 5, 30)
        assert captured(lambda a: a, prefix="group.deep")() == 100
        assert captured(lambda _config: _config, prefix="absent")() == {}


def test_a_prefix_that_names_a_value_is_refused_with_the_function():
    """The typo is in the decorator, so that is what has to be named."""
    with live(CONFIG), pytest.raises(ConfigTypeError, match=r"a\.b: must be a group of entries, got int.*test_calls"):
        captured(positional, prefix="a.b")()


def test_the_specials_come_from_the_run():
    """`_config`, `_run` and `_log` are how a function reaches the rest of its run."""

    @captured(prefix="group")
    def probe(_config, _run, _log, a):
        return _config, _run, _log, a

    with live({**CONFIG, "_run": "an entry of that name does not count"}) as run:
        config, its_run, log, a = probe()
        assert (config, its_run, log.name, a) == (CONFIG["group"], run, "probe", 10)
        assert probe(_run=5, _log=6)[1:3] == (5, 6)


def test_loggers_are_children_of_the_owners():
    """Levels are set per ingredient; so the function's logger has to hang below it."""
    import logging

    root = logging.getLogger("inject-test")
    with live(CONFIG, logger=root):
        assert captured(lambda _log: _log)().name == "inject-test.<lambda>"
    with live(CONFIG, logger=lambda owner: root.getChild(owner)):
        assert captured(lambda _log: _log)().name == "inject-test.experiment.<lambda>"


def test_calls_are_logged_only_when_someone_listens(caplog):
    """Two log records per call would cost more than the call; whoever sets DEBUG wants them."""
    target = captured(positional)

    @captured
    async def task(a):
        return a

    @captured
    def count(a):
        return (yield a)

    async def numbers(a):
        yield a

    with live(CONFIG):
        target()
    assert caplog.records == []
    caplog.set_level("DEBUG")
    with live(CONFIG):
        assert target() == (1, 2, 3)
        assert [(r.name, r.getMessage()) for r in caplog.records] == [
            ("positional", "Started"),
            ("positional", "Finished after 0:00:00."),
        ]
        caplog.clear()
        assert asyncio.run(task()) == 1
        assert list(count()) == [1]
        messages = [record.getMessage() for record in caplog.records if record.name != "asyncio"]
        assert messages == ["Started", "Finished after 0:00:00."] * 2
        caplog.clear()
        assert asyncio.run(collect(captured(numbers)())) == [1]
        assert [record.getMessage() for record in caplog.records if record.name != "asyncio"] == ["Started"]


async def collect(numbers):
    return [number async for number in numbers]


# --- values that can be changed -------------------------------------------------------------------------------------


def test_dicts_and_lists_are_handed_in_read_only_and_shared():
    """One function's change must not reach another; and a thousand functions need no thousand copies."""
    with live(CONFIG) as run:
        layers = captured(lambda layers: layers)()
        config = captured(lambda _config: _config)()
        assert layers == [64, 32] and isinstance(layers, list)
        assert layers is config["layers"] is captured(lambda layers: layers)()
        assert run.frame.options("experiment", "group") is config["group"]
        with pytest.raises(ReadOnlyConfigError):
            layers.append(16)
        with pytest.raises(ReadOnlyConfigError):
            config["a"] = 5


def test_the_setting_lifts_the_protection():
    """SETTINGS.CONFIG.READ_ONLY_CONFIG = False hands out the configuration itself."""
    config = {"layers": [1]}
    with live(config, read_only=False):
        captured(lambda layers: layers.append(2))()
        assert captured(lambda _config: _config)() is config
    assert config == {"layers": [1, 2]}


@dataclass
class Model:
    width: int


def test_an_object_of_a_typed_source_goes_to_parameters_annotated_with_its_class():
    """Whoever declares a dataclass wants it back; whoever does not write its name gets the plain dict."""

    def optional(model: Optional[Model]):  # noqa: UP045
        return model

    # The annotations of this module are postponed; those of the lambda are real classes.
    real = lambda model: model  # noqa: E731
    real.__annotations__["model"] = Model
    other = lambda model: model  # noqa: E731
    other.__annotations__["model"] = dict
    built = Model(3)
    frame = {"objects": {("experiment", "model"): built, ("experiment", "group.model"): built}}
    with live({"model": {"width": 3}, "group": {"model": {"width": 3}}}, **frame):
        assert captured(optional)() is built
        assert captured(optional, prefix="group")() is built
        assert captured(real)() is built
        assert captured(other)() == {"width": 3}
        assert captured(lambda model: model)() == {"width": 3}


# --- methods and classes --------------------------------------------------------------------------------------------


class Base:
    @captured
    def method(self, a, b=20):
        return type(self).__name__, a, b

    @captured
    @classmethod
    def inner_class_method(cls, a):
        return cls.__name__, a

    @classmethod
    @captured
    def outer_class_method(cls, a):
        return cls.__name__, a

    @captured
    @staticmethod
    def inner_static(a, b):
        return a, b

    @staticmethod
    @captured
    def outer_static(a, b):
        return a, b


class Derived(Base):
    @captured
    def method(self, a, b=20):
        return "derived", *super().method(b=a + 1)


def test_methods_of_every_kind_are_filled():
    """In whichever order the decorators stand, through the class and through an instance."""
    base = Base()
    with live(CONFIG):
        assert base.method() == ("Base", 1, 2)
        assert base.method(7) == ("Base", 7, 2)
        assert Base.method(base, b=8) == ("Base", 1, 8)
        assert base.method == base.method and hash(base.method) == hash(base.method)
        for name in ("inner_class_method", "outer_class_method"):
            assert getattr(Base, name)() == getattr(base, name)() == ("Base", 1)
            assert getattr(Derived, name)(7) == getattr(Derived(), name)(7) == ("Derived", 7)
        for name in ("inner_static", "outer_static"):
            assert getattr(Base, name)() == getattr(base, name)() == (1, 2)
            assert getattr(base, name)(7) == (7, 2)


def test_an_overriding_method_reaches_the_captured_one_of_its_parent():
    """`super()` relies on the closure of the function; the twin that is called must have it."""
    with live(CONFIG):
        assert Derived().method() == ("derived", "Derived", 1, 2)


def test_a_captured_class_stays_that_class():
    """Its constructor is filled; isinstance, subclassing and pickling work as before."""

    class Net:
        def __init__(self, a, b=20):
            self.values = a, b

    class Wide(Net):
        pass

    class Deep(Net):
        def __init__(self):
            super().__init__(b=9)

    assert captured(Net) is Net
    assert captured(Net) is Net  # once more changes nothing
    with live(CONFIG):
        assert Net().values == Wide().values == (1, 2)
        assert Net(7).values == (7, 2)
        assert Deep().values == (1, 9)
        assert isinstance(Deep(), Net)
        assert capture_function(Wide, "group", "experiment")().values == (10, 20)
        assert Net().values == (1, 2)
        with pytest.raises(SignatureError, match=r"Net\(\) got unexpected argument\(s\): 'd'"):
            Net(d=3)


def test_a_class_that_takes_its_parameters_in_new_is_filled_there():
    """Named tuples and immutable types have no constructor of their own but `__new__`."""

    class Point(tuple):
        def __new__(cls, a, b=20):
            return tuple.__new__(cls, (a, b))

    with live(CONFIG):
        assert captured(Point)() == (1, 2)


def test_all_methods_of_a_class_can_be_captured_at_once():
    """For classes in which every method needs a few entries of the configuration."""

    class Net:
        def __init__(self, a):
            self.a = a

        def forward(self, b):
            return self.a, b

        @classmethod
        def make(cls, b):
            return cls(b)

        @staticmethod
        def scale(c):
            return c

        def size(self):
            return 0

        def __eq__(self, a):
            return self.a == a.a

        @property
        def double(self):
            return 2 * self.a

    capture_class(Net, owner="experiment")
    with live(CONFIG):
        assert (Net().forward(), Net.make().a, Net.scale(), Net().size(), Net().double) == ((1, 2), 2, 3, 0, 2)
        assert Net() == Net(1)
    names = [function.__name__ for function in captured_in(Net)]
    assert names == ["__init__", "forward", "make", "scale"]
    assert capture_class(Net, owner="experiment") is Net
    assert [function.__name__ for function in captured_in(Net)] == names


# --- coroutines and generators --------------------------------------------------------------------------------------


def test_coroutines_and_generators_are_filled_when_called():
    """Their bodies run later, perhaps after the run; the values are those of the call."""

    @captured
    async def task(a, b):
        await asyncio.sleep(0)
        return a, b

    @captured
    def count(a, b):
        yield a
        yield b

    @captured
    async def numbers(a, b):
        yield a
        yield b

    with live(CONFIG):
        assert asyncio.run(task(b=5)) == (1, 5)
        late = task(), count(), numbers()
    with live({"a": "other", "b": "other"}):
        assert (asyncio.run(late[0]), list(late[1]), asyncio.run(collect(late[2]))) == ((1, 2), [1, 2], [1, 2])


def test_tasks_of_two_runs_do_not_mix():
    """Two runs in one event loop take turns at every await."""

    @captured
    async def ask(a):
        await asyncio.sleep(0)
        return a

    async def job(value):
        with live({"a": value}):
            found = []
            for _ in range(5):
                found.append(await ask())
            return found

    async def main():
        return await asyncio.gather(*(job(value) for value in range(4)))

    assert asyncio.run(main()) == [[value] * 5 for value in range(4)]


# --- which run ------------------------------------------------------------------------------------------------------


def test_outside_runs_a_function_works_if_everything_is_given():
    """Captured functions can be unit-tested without a run."""
    assert captured(positional)(1, b=2) == (1, 2, 30)
    assert captured(lambda _config, _run, _log, a: (_config, _run, _log.name, a))(a=5) == ({}, None, "<lambda>", 5)


def test_outside_runs_missing_values_are_named_together_with_the_reason():
    """The likely cause is a call at module level, before the run."""
    with pytest.raises(
        MissingConfigError, match=r"missing value\(s\) for \['a', 'b'\][^\n]*\n  no run was live"
    ) as error:
        captured(positional)()
    assert error.value.missing_configs == ("a", "b")


def test_after_a_run_its_values_remain():
    """In a notebook one goes on with the trained model's configuration; Sacred allows it too."""
    target = captured(positional)
    with live(CONFIG):
        pass
    assert target() == (1, 2, 3)
    with live({"other": 1}, owner="another experiment"):
        pass
    assert target() == (1, 2, 3)
    with live({**CONFIG, "a": "new"}):
        pass
    assert target() == ("new", 2, 3)


def test_functions_captured_during_the_run_take_part():
    """Imports inside main are common where heavy libraries are loaded late."""
    with live(CONFIG):
        assert captured(positional)() == (1, 2, 3)


def test_nested_runs_of_one_experiment_do_not_mix():
    """The inner run must leave no trace in the outer one's functions."""
    target = captured(positional)
    with live(CONFIG) as outer:
        before = target()
        with live({**CONFIG, "a": "inner"}, parent=outer):
            assert target() == ("inner", 2, 3)
        assert target() == before == (1, 2, 3)


def test_an_inner_run_of_another_experiment_sees_the_outer_ones_functions():
    """A helper that belongs to the outer experiment may be called from the inner one."""
    target = captured(positional)
    with live(CONFIG) as outer, live({"a": 5}, owner="inner", parent=outer):
        assert target() == target() == (1, 2, 3)
        assert captured(lambda a: a, owner="inner")() == 5
    with live(CONFIG, label="unrelated"), live({"a": 5}, owner="inner"):
        assert target() == (1, 2, 3)


def test_two_threads_with_runs_of_their_own_do_not_mix():
    """Sacred keeps the configuration on the function, so there the last run to start wins."""
    target = captured(positional)
    barrier = threading.Barrier(4)

    def job(value):
        with live({**CONFIG, "a": value}):
            barrier.wait()
            found = {target() for _ in range(200)}
            barrier.wait()
        return found

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(job, range(4))) == [{(value, 2, 3)} for value in range(4)]


def test_a_thread_between_two_runs_of_one_experiment_has_to_be_bound():
    """Runs that do not know the function are no candidates; two that do cannot be told apart."""
    target = captured(positional)
    with ThreadPoolExecutor(1) as pool, live(CONFIG) as run:
        with live({}, owner="someone else"):
            assert pool.submit(target).result() == (1, 2, 3)
        with live({**CONFIG, "a": 5}):
            with pytest.raises(AmbiguousRunError, match=r"^positional\(\)"):
                pool.submit(target).result()
            assert pool.submit(context.bind(run, target)).result() == (1, 2, 3)


def test_a_thousand_threads_may_make_the_first_call():
    """The binding is compiled on first use; nobody may see it half made."""
    target = captured(gap)
    ready = threading.Event()
    found = []

    def work():
        ready.wait()
        found.append((target(5, y=6), captured(lambda layers: layers)()))

    with live(CONFIG):
        threads = [threading.Thread(target=work) for _ in range(1000)]
        for thread in threads:
            thread.start()
        ready.set()
        for thread in threads:
            thread.join()
    assert found == [((5, 1, 6, 2), [64, 32])] * 1000


def test_a_run_without_a_frame_is_passed_over():
    """A run that was started without decorators has no configuration to offer to captured functions."""
    target = captured(positional)
    with live(CONFIG) as outer:
        activation = context.activate(FakeRun(parent=outer))
        try:
            assert target() == (1, 2, 3)
        finally:
            context.deactivate(activation)
    activation = context.activate(FakeRun())
    try:
        assert target() == (1, 2, 3)
    finally:
        context.deactivate(activation)


def test_a_configuration_can_be_used_without_a_run():
    """For trying out captured functions with a configuration at hand, in tests and notebooks."""
    target = captured(positional)
    with context.Within(FakeRun({"experiment": CONFIG})) as stand_in:
        assert target() == (1, 2, 3)
        assert context.current() is stand_in and context.live_runs() == ()
    with pytest.raises(MissingConfigError):
        target()


def test_a_function_may_call_itself():
    """The inner calls go through the name, so they are filled like the outer one."""

    @captured
    def factorial(n, step):
        return 1 if n <= 1 else n * factorial(n - step)

    with live({"step": 1}):
        assert factorial(5) == 120


def test_a_binding_is_compiled_once_per_run():
    """Its cost is what makes the calls cheap."""
    target = captured(positional)
    frame = Frame(None, {"experiment": CONFIG})
    assert frame.binding(target) is frame.binding(target)
    assert frame.knows("experiment") and not frame.knows("other")


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args, kwargs, words",
    [
        (
            (),
            {"cc": 1},
            ["positional() got unexpected argument(s): 'cc' (", "test_calls.py:", "it takes:      a, b"],
        ),
        ((), {"batch_sise": 1}, ["'batch_sise'", "did you mean:  batch_size"]),
        ((1, 2, 3, 4), {}, ["got unexpected argument(s): 4 (", "it takes 3 by position, 4 were given"]),
        ((1,), {"a": 2}, ["got multiple values for argument(s): 'a'"]),
    ],
)
def test_wrong_arguments_are_explained(args, kwargs, words):
    """What, where, what was possible; Python's own message knows nothing of the configuration."""

    def positional(a, b, c=0):
        raise AssertionError("must not be called")

    def sized(batch_size):
        raise AssertionError("must not be called")

    target = captured(sized if "batch_sise" in kwargs else positional)
    for config in (CONFIG, {}):
        with live(config), pytest.raises(SignatureError) as error:
            target(*args, **kwargs)
        for word in words:
            assert word in str(error.value)
        assert isinstance(error.value, TypeError) and error.value.__suppress_context__


def test_missing_values_are_explained():
    """The message leads to the entry that was meant, under the prefix of the function."""

    @captured(prefix="model")
    def train(learning_rate, data):
        raise AssertionError("must not be called")

    with live({"model": {"learning_rat": 0.1}}), pytest.raises(MissingConfigError) as error:
        train(data=[])
    message = str(error.value)
    for words in (
        "train() is missing value(s) for ['learning_rate'] (",
        "test_calls.py:",
        "no config entry 'model.learning_rate'; did you mean: model.learning_rat",
        "known entries: model.learning_rat\n",
        "train(learning_rate=...)",
    ):
        assert words in message
    assert error.value.missing_configs == ("model.learning_rate",)
    assert isinstance(error.value, TypeError)


@pytest.mark.parametrize("function", [positional, gap, functools.partial(positional), Callable()])
def test_missing_values_are_noticed_for_every_kind_of_binding(function):
    """Plain functions, merged arguments and other callables reach the check on different ways."""
    with live({"a": 1}), pytest.raises(MissingConfigError):
        captured(function)()


def test_type_errors_of_the_users_own_code_pass_unchanged():
    """Taking them for a wrong call would hide the line at fault."""

    def helper():
        return 1 + "1"

    for body in (lambda a: helper(), lambda a: len(5), lambda a: helper(a)):
        with live(CONFIG), pytest.raises(TypeError) as error:
            captured(body)()
        assert type(error.value) is TypeError
    with live(CONFIG), pytest.raises(TypeError) as error:
        captured(len)(5)
    assert type(error.value) is TypeError


def test_a_decorator_that_supplies_arguments_itself_is_not_second_guessed():
    """Its signature claims `data` is needed; the call must succeed and errors inside stay the user's."""

    def supply(function):
        @functools.wraps(function)
        def supplied(**kwargs):
            return function("data", **kwargs)

        return supplied

    @captured
    @supply
    def train(data, a):
        return (data, a) if a == 1 else 1 + "1"

    with live(CONFIG):
        assert train() == ("data", 1)
        with pytest.raises(TypeError, match="unsupported operand"):
            train(a=2)


def test_errors_about_the_configuration_show_the_values_that_clash():
    """A user's check raises InvalidConfigError with names only; the values are known here."""

    @captured(prefix="group")
    def check(a):
        raise InvalidConfigError("these do not go together", ("a", "deep.a"))

    with live(CONFIG), pytest.raises(InvalidConfigError) as error:
        check()
    assert "  a=10\n  deep.a=100" in str(error.value)


def test_only_what_can_be_called_can_be_captured():
    """A decorator on the wrong line should say so where it stands."""
    with pytest.raises(TypeError, match="can be called"):
        captured(3)
    with pytest.raises(TypeError, match="can be called"):
        captured(property(positional))
