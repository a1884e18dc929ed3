"""What a config scope evaluates to: with its source, and without."""

from __future__ import annotations

import copy
import functools
import logging
import math
import sys
import threading
from types import FunctionType

import pytest

from capture.config.readonly import ReadOnlyDict
from capture.config.scope import ConfigScope
from capture.errors import (
    ConfigError,
    ConfigScopeError,
    ConfigScopeSyntaxError,
    ConfigTypeError,
    InvalidConfigKey,
    ScopeParameterError,
)

FACTOR = 10
state = "untouched"


def without_source(func: FunctionType) -> FunctionType:
    """Return `func` as if its file were gone."""
    bare = FunctionType(
        func.__code__.replace(co_filename="<gone>"),
        func.__globals__,
        func.__name__,
        func.__defaults__,
        func.__closure__,
    )
    bare.__kwdefaults__, bare.__qualname__ = func.__kwdefaults__, func.__qualname__
    bare.__annotations__, bare.__doc__ = func.__annotations__, func.__doc__
    return bare


@pytest.fixture(params=["source", "bytecode"])
def scope(request):
    """Makes scopes that run by one engine or the other, and checks that they do."""

    def make(func):
        made = ConfigScope(func if request.param == "source" else without_source(func))
        assert made.engine == request.param
        return made

    return make


@pytest.fixture
def typical(scope):
    """A scope with a bit of everything."""

    @scope
    def cfg():
        a = 1
        b, c = 2.0, True
        d = "string"
        e = [1, 2, 3]
        f = {"a": "b", "c": "d"}
        sum_ab = a + b
        joined = f["c"] + "ada"
        func1 = lambda: 23  # noqa: E731
        called = func1()

        def func2(x):
            return f"{x} {d}"

        some_type = int

    return cfg


# ---------------------------------------------------------------------------------------------- values


def test_locals_are_entries(typical):
    """The core promise of config scopes."""
    cfg = typical()
    assert {key: cfg[key] for key in "abcdef"} == {
        "a": 1,
        "b": 2.0,
        "c": True,
        "d": "string",
        "e": [1, 2, 3],
        "f": {"a": "b", "c": "d"},
    }
    assert (cfg["sum_ab"], cfg["joined"], cfg["called"], cfg["some_type"]) == (3.0, "dada", 23, int)
    assert cfg["func1"]() == 23
    assert cfg["func2"]("a") == "a string"
    assert len(cfg) == 12
    assert (cfg.added, cfg.modified, cfg.typechanged) == (set(), set(), {})


@pytest.mark.parametrize(
    ("fixed", "expected"),
    [
        ({"a": 100}, {"a": 100, "sum_ab": 102.0}),
        ({"b": 5}, {"b": 5, "sum_ab": 6, "c": True}),
        ({"f": {"c": "t"}}, {"f": {"a": "b", "c": "t"}, "joined": "tada"}),
        ({"f": {"x": {"y": 1}}}, {"f": {"a": "b", "c": "d", "x": {"y": 1}}, "joined": "dada"}),
        ({"e": [9]}, {"e": [9]}),
        ({"e": None}, {"e": None}),
        ({"d": {"was": "a string"}}, {"d": {"was": "a string"}}),
        ({"f": 3, "joined": 4}, None),
        ({"sum_ab": -1}, {"a": 1, "sum_ab": -1}),
        ({"new": 1, "group": {"i": 10}}, {"new": 1, "group": {"i": 10}, "a": 1}),
    ],
)
def test_updates_win_and_what_depends_on_them_follows(typical, fixed, expected):
    """An update of `lr` has to reach everything that is computed from `lr`."""
    if expected is None:
        with pytest.raises(TypeError, match="not subscriptable"):
            typical(fixed)
        return
    cfg = typical(fixed)
    assert {key: cfg[key] for key in expected} == expected


def test_updates_are_reported(typical):
    """print_config colours entries by these sets, and unknown keys are refused by `added`."""
    cfg = typical({"a": 2, "b": 2.0, "d": 5, "f": {"a": 10, "c": "t"}, "new": 1, "group": {"i": 10}})
    assert cfg.added == {"new", "group", "group.i"}
    assert cfg.modified == {"a", "f", "f.c"}
    assert cfg.typechanged == {"d": (str, int), "f.a": (str, int)}
    assert cfg.defaults == {"a": 1, "b": 2.0, "d": "string", "f.a": "b", "f.c": "d"}


def test_a_bool_that_becomes_an_int_has_changed_its_type(typical):
    """True equals 1, and yet `c=1` is not what the script meant."""
    assert typical({"a": "bar", "b": "foo", "c": 1}).typechanged == {
        "a": (int, str),
        "b": (float, str),
        "c": (bool, int),
    }


def test_lists_differ_by_any_element(scope):
    """Sacred called [1, 2] -> [1, 3] unmodified."""

    @scope
    def cfg():
        e = [1, 2]

    assert cfg({"e": [1, 3]}).modified == {"e"}
    assert cfg({"e": [1, 2]}).modified == set()


def test_what_is_assigned_last_counts(scope):
    """A first None is a placeholder, not a type to hold on to."""

    @scope
    def cfg():
        x = "auto"
        x = 3

    assert cfg({"x": 4}).typechanged == {}
    assert cfg({"x": 4}).modified == {"x"}
    assert cfg({"x": 3}).modified == set()


@pytest.mark.parametrize("value", [(1, 2), {1, 2}, b"x", 1j, math.pi, frozenset({1}), range(3), None])
def test_values_are_kept_as_they_are(scope, value):
    """Tuples in particular became lists in Sacred."""

    @scope
    def cfg():
        x = value

    assert cfg()["x"] == value
    assert type(cfg()["x"]) is type(value)


def test_objects_that_cannot_be_copied_or_stored_are_kept(scope):
    """Locks, generators and models are live values; storing them is the codec's business."""
    lock = threading.Lock()

    @scope
    def cfg():
        held = lock
        numbers = (n for n in range(3))

    first = cfg()
    assert first["held"] is lock
    assert list(first["numbers"]) == [0, 1, 2]
    assert ConfigScope(lambda held: {"again": held})(preset={"held": lock})["again"] is lock


def test_numpy_scalars_become_pythons_and_arrays_stay(scope):
    """A stored config is read where there is no numpy."""
    np = pytest.importorskip("numpy")

    @scope
    def cfg():
        x = np.float64(0.5)
        n = [np.int32(3)]
        when = np.datetime64("2020-01-01", "ns")
        a = np.array([1.0, np.nan])

    result = cfg()
    assert type(result["x"]) is float
    assert type(result["n"][0]) is int
    assert type(result["when"]) is np.datetime64
    assert isinstance(result["a"], np.ndarray)
    assert cfg({"a": np.array([1.0, np.nan])}).modified == set()
    assert cfg({"a": np.array([2.0, np.nan])}).modified == {"a"}
    assert cfg({"x": np.float64(0.5)}).typechanged == {}


def test_modules_and_underscore_names_are_no_entries(scope):
    """They are the scope's tools."""

    @scope
    def cfg():
        import os
        from math import pi  # noqa: F401

        _hidden = 3
        x = _hidden + 1
        here = os.sep

    assert set(cfg()) == {"x", "here", "pi"}
    assert cfg({"os": 4, "_hidden": 5})["x"] == 4
    assert cfg({"os": 4}).added == {"os"}
    assert cfg({"pi": 3})["pi"] == 3


def test_the_module_and_its_globals_are_left_alone(scope):
    """A scope reads them, and nothing of ours may stay in them."""
    before = dict(globals())

    @scope
    def cfg():
        x = FACTOR * 2
        everything = sorted(locals())

    assert cfg()["x"] == 20
    assert cfg()["everything"] == ["x"]
    assert globals() == before


def test_two_evaluations_share_nothing(scope):
    """The second run of an experiment must not see what the first did to its config."""
    shared = {"list": [1]}

    @scope
    def cfg():
        x = shared
        y = [1]

    first = cfg()
    first["x"]["list"].append(2)
    first["y"].append(2)
    assert cfg() == {"x": {"list": [1]}, "y": [1]}
    assert cfg({"x": {"list": [5]}})["x"] == {"list": [5]}
    assert shared == {"list": [1]}


def test_updates_and_presets_of_the_caller_are_not_changed(scope):
    """A sweep passes the same dict again and again."""
    fixed = {"f": {"c": [1]}, "new": {"x": [1]}}
    preset = {"p": {"q": [1]}, "other": {"r": [1]}}
    before = copy.deepcopy((fixed, preset))

    @scope
    def cfg(p):
        f = {"c": 1, "d": 2}
        f["c"] = 3
        p["q"].append(2)
        p["new"] = 1

    result = cfg(fixed, preset)
    for group in ("f", "new", "p", "other"):
        result[group]["extra"] = 1
    result["new"]["x"].append(2)
    assert (fixed, preset) == before


# ---------------------------------------------------------------------------------------------- Python's ways to bind

WAYS_TO_BIND = {
    "assignment": "x = 1",
    "chain": "y = x = 1",
    "unpacking": "[y, *x] = 1, 2, 3",
    "nested unpacking": "(y, (x, z)) = 1, (2, 3)",
    "annotated": "x: int = 1",
    "augmented": "x = 'a'\nx += 'b'",
    "for": "for x in range(3):\n    seen_inside = x",
    "for else": "for y in []:\n    pass\nelse:\n    x = 1",
    "with": "with open(__file__) as x:\n    seen_inside = x",
    "walrus": "(x := 1)",
    "walrus in a test": "if (x := 0) or True:\n    seen_inside = x",
    "walrus in a comprehension": "y = [n for n in range(3) if (x := n) or True]",
    "walrus in a call": "print(x := 1)",
    "match": "match {'k': 1}:\n    case {'k': x}:\n        seen_inside = x",
    "match rest": "match {'k': 1}:\n    case {**x}:\n        seen_inside = x",
    "match star": "match [1, 2]:\n    case [1, *x]:\n        seen_inside = x",
    "match as": "match 1:\n    case int() as x:\n        seen_inside = x",
    "match with guard": "match 1:\n    case x if x == 'new':\n        seen_inside = x",
    "def": "def x():\n    pass",
    "class": "class x:\n    pass",
    "import from": "from math import pi as x",
    "try": "try:\n    x = 1\nfinally:\n    seen_inside = x",
    "except": "try:\n    1 / 0\nexcept ZeroDivisionError:\n    x = 1",
    "while": "while True:\n    x = 1\n    break",
    "tuple of walrus": "y = ((x := 1), 2)",
    "lambda": "x = lambda: 1",
    "nested function reads it": "x = 1\ndef y():\n    return x",
}


@pytest.mark.parametrize("engine", ["source", "bytecode"])
@pytest.mark.parametrize("way", WAYS_TO_BIND)
def test_every_way_to_bind_a_name_is_overridden(way, engine, tmp_path, capfd):
    """An update wins however the scope sets the entry, and whatever reads it then sees the update."""
    lines = [*WAYS_TO_BIND[way].splitlines(), "seen = x"]
    text = "def cfg():\n" + "".join(f"    {line}\n" for line in lines)
    path = tmp_path / "script.py"
    path.write_text(text)
    module = {"__name__": "script", "__file__": str(path)}
    exec(compile(text, str(path), "exec"), module)
    scope = ConfigScope(module["cfg"] if engine == "source" else without_source(module["cfg"]))
    assert scope.engine == engine
    assert scope()["x"] != "new"
    if engine == "bytecode" and way == "match with guard" and sys.version_info >= (3, 13):
        with pytest.raises(ConfigScopeError, match="both sets and reads it"):
            scope({"x": "new"})
        return
    result = scope({"x": "new"})
    assert (result["x"], result["seen"], result.get("seen_inside", "new")) == ("new", "new", "new")
    assert result.added == set()
    assert result.defaults.keys() == {"x"}


def test_one_instruction_that_sets_and_reads_is_refused_rather_than_wrong():
    """Without source there is nothing between the two (Python 3.13 and newer); a wrong number must not come out."""

    def cfg():
        a = 1; b = a  # fmt: skip  # noqa: E702

    scope = ConfigScope(without_source(cfg))
    assert scope() == {"a": 1, "b": 1}
    if sys.version_info < (3, 13):
        assert scope({"a": 2}) == {"a": 2, "b": 2}
    else:
        with pytest.raises(ConfigScopeError, match="(?s)both sets and reads it.*lines of their own"):
            scope({"a": 2})
    assert scope({"b": 2}) == {"a": 1, "b": 2}
    assert ConfigScope(cfg)({"a": 2}) == {"a": 2, "b": 2}


def test_comprehensions_have_variables_of_their_own(scope):
    """Since Python 3.12 they run within the function; an update of `x` is not meant for them."""

    @scope
    def cfg():
        x = 1
        xs = [x for x in range(3)]
        pairs = [(x, y) for x in range(2) for y in range(2)]
        kept = x

    assert cfg({"x": 7, "y": 8}) == {
        "x": 7,
        "xs": [0, 1, 2],
        "pairs": [(0, 0), (0, 1), (1, 0), (1, 1)],
        "kept": 7,
        "y": 8,
    }


def test_comprehensions_lambdas_and_functions_read_other_entries(scope):
    """In Sacred each of these was a NameError."""

    @scope
    def cfg():
        a = 2
        layers = [a * n for n in range(3)]
        total = sum(a for _ in range(3))
        table = {a + n: n for n in (1, 2)}
        double = (lambda: a * 2)()

        def helper(x):
            return a + x

        helped = helper(1)

    assert {k: v for k, v in cfg({"a": 10}).items() if k != "helper"} == {
        "a": 10,
        "layers": [0, 10, 20],
        "total": 30,
        "table": {11: 1, 12: 2},
        "double": 20,
        "helped": 11,
    }


def test_closures_are_kept_and_are_no_entries(scope):
    """Scopes are often made by a function that prepares something."""
    base = {"n": 3}

    @scope
    def cfg():
        x = base["n"]

    assert cfg() == {"x": 3}
    base["n"] = 4
    assert cfg() == {"x": 4}


def test_global_and_nonlocal_names_belong_elsewhere(scope):
    """Assigning them is the scope's side effect, and no config."""
    count = 0

    @scope
    def cfg():
        global state
        nonlocal count
        state = "set by the scope"
        count += 1
        x = count

    global state
    assert cfg({"count": 9, "state": 8}) == {"x": 1, "count": 9, "state": 8}
    assert (state, count) == ("set by the scope", 1)
    state = "untouched"


def test_nonlocal_assignment_by_a_nested_function_cannot_undo_an_update(scope):
    """Whatever happens inside, the update has the last word in the result."""

    @scope
    def cfg():
        x = 1

        def change():
            nonlocal x
            x = 2

        change()

    assert cfg()["x"] == 2
    assert cfg({"x": 5})["x"] == 5


def test_deleted_names_are_no_entries_unless_an_update_sets_them(scope):
    """Helpers are tidied away with `del`."""

    @scope
    def cfg():
        x = 1
        y = x + 1
        del x

    assert cfg() == {"y": 2}
    assert cfg({"x": 5}) == {"y": 6, "x": 5}
    assert cfg({"x": 5}).added == set()


def test_try_except_and_early_return_end_a_scope_normally(scope):
    """Control flow is Python's own."""

    @scope
    def cfg():
        try:
            x = 1 / 0
        except ZeroDivisionError as error:
            x = "inf"
        if x == "inf":
            return
        y = x

    assert cfg() == {"x": "inf"}
    assert cfg({"x": 2}) == {"x": 2, "y": 2}


def test_returned_locals_and_dicts_are_the_config(scope):
    """`return locals()` silences linters; a returned dict leaves helpers out."""

    @scope
    def everything():
        _a = 1
        b = 2
        c = b + 1
        return locals()

    @scope
    def chosen():
        helper = 3
        lr = 0.1
        return {"lr": lr, "decay": lr / helper, "group": {"x": 1, "y": 2}}

    assert everything({"b": 5}) == {"b": 5, "c": 6}
    assert chosen() == {"lr": 0.1, "decay": 0.1 / 3, "group": {"x": 1, "y": 2}}
    assert chosen({"lr": 3, "group": {"x": 9}, "new": 1}) == {
        "lr": 3,
        "decay": 1,
        "group": {"x": 9, "y": 2},
        "new": 1,
    }


def test_lambdas_that_return_a_dict_are_scopes():
    """The shortest scope there is."""
    assert ConfigScope(lambda: {"a": 1, "b": 2})({"a": 5}) == {"a": 5, "b": 2}
    two = ConfigScope(lambda: {"x": 1}), ConfigScope(lambda: {"x": 2})
    assert [scope() for scope in two] == [{"x": 1}, {"x": 2}]


def test_functions_that_only_python_can_call_may_return_a_dict():
    """Compiled code and partial objects have no variables to look at."""

    def make(n, scale=2):
        return {"width": n * scale}

    assert ConfigScope(functools.partial(make, 3))({"width": 5}) == {"width": 5}
    assert ConfigScope(functools.partial(make, 3))() == {"width": 6}
    with pytest.raises(ConfigScopeError, match=r"cannot be a config scope"):
        ConfigScope(functools.partial(print, "x"))
    with pytest.raises(ConfigScopeError, match=r"return locals\(\)"):
        ConfigScope(functools.partial(lambda n: None, 3))()


def test_functions_of_a_class_body_are_scopes():
    """Some keep experiment and scopes together in a class."""

    class Lab:
        @ConfigScope
        def cfg():
            __private = 3
            x = __private

        @ConfigScope
        @staticmethod
        def static():
            y = 1

    assert Lab.cfg() == {"x": 3}
    assert Lab.cfg.engine == "source"
    assert Lab.static() == {"y": 1}


def test_decorators_with_wraps_are_looked_through():
    """In Sacred a decorator under `@ex.config` broke the scope."""

    def decorator(func):
        @functools.wraps(func)
        def wrapper(*args, **kwargs):
            return func(*args, **kwargs)

        return wrapper

    @ConfigScope
    @decorator
    def cfg():
        # how fast
        lr = 0.1

    assert cfg({"lr": 1}) == {"lr": 1}
    assert (cfg.docs, cfg.__name__) == ({"lr": "how fast"}, "cfg")


def test_scopes_can_be_evaluated_within_scopes_and_in_threads():
    """The updates of one must not reach the other."""

    @ConfigScope
    def inner():
        x = 1
        y = x

    @ConfigScope
    def outer():
        x = 10
        from_inner = inner({"y": 5})
        z = x

    assert outer({"x": 20}) == {"x": 20, "from_inner": {"x": 1, "y": 5}, "z": 20}
    results = {}
    threads = [
        threading.Thread(target=lambda n=n: results.update({n: [inner({"x": n})["y"] for _ in range(50)]}))
        for n in range(4)
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert results == {n: [n] * 50 for n in range(4)}


# ---------------------------------------------------------------------------------------------- overridden containers


def test_overridden_dicts_protect_what_is_overridden(scope):
    """`f["c"] = ...` is an assignment of `f.c`."""

    @scope
    def cfg():
        f = {}
        f["a"] = 1
        f["c"] = 2
        f.update(d=3, c=4)
        f |= {"c": 5}
        seen = f["c"]
        f.setdefault("c", 6)
        popped = f.pop("c", None)
        del f["c"]
        f.clear()
        still = f.get("c")
        f["e"] = {"deep": 1}
        f["e"]["deep"] = 2
        is_dict = isinstance(f, dict)

    result = cfg({"f": {"c": 9, "e": {"deep": 7}}})
    assert result["f"] == {"c": 9, "e": {"deep": 7}}
    assert (result["seen"], result["popped"], result["still"], result["is_dict"]) == (9, 9, 9, True)
    assert (result.added, result.modified) == (set(), {"f", "f.c", "f.e", "f.e.deep"})
    assert type(result["f"]) is dict


def test_overridden_dicts_can_be_emptied_of_the_rest(scope):
    """`while d: d.popitem()` has to end."""

    @scope
    def cfg():
        f = {"a": 1, "b": 2, "c": 3}
        try:
            while True:
                f.popitem()
        except KeyError:
            pass
        plain = f.copy()
        plain["b"] = "plain"

    assert cfg({"f": {"b": 9}}) == {"f": {"b": 9}, "plain": {"b": "plain"}}


def test_overridden_lists_ignore_changes_and_refuse_pop(scope):
    """The update is the whole list, so appending to it changes nothing."""

    @scope
    def cfg():
        e = [1, 2]
        e += [3]
        e.append(4)
        e.extend([5])
        e.insert(0, 6)
        e[0] = 7
        e *= 2
        e.sort()
        e.reverse()
        e.remove(7)
        del e[0]
        e.clear()
        last = e[-1]

    assert cfg({"e": [8, 9]}) == {"e": [8, 9], "last": 9}

    @scope
    def popping():
        e = [1, 2]
        e.pop()

    assert popping() == {"e": [1]}
    with pytest.raises(TypeError, match="cannot pop"):
        popping({"e": [8, 9]})


def test_changing_what_lies_in_an_overridden_list_cannot_change_the_result(scope):
    """The update is the whole list, dicts in it included."""

    @scope
    def cfg():
        layers = [{"width": 1}]
        layers[0]["width"] = 3

    assert cfg({"layers": [{"width": 5}]})["layers"] == [{"width": 5}]


def test_overridden_containers_copy_and_pickle_as_plain_ones(scope):
    """A scope may derive one group from another."""
    import json
    import pickle

    @scope
    def cfg():
        train = {"lr": 1, "opts": {"x": 1}}
        test = copy.deepcopy(train)
        test["lr"] = "test"
        shallow = copy.copy(train)
        shallow["lr"] = "shallow"
        pickled = pickle.loads(pickle.dumps(train))
        pickled["lr"] = "pickled"
        text = json.dumps(train)

    result = cfg({"train": {"lr": 5}})
    assert [result[name]["lr"] for name in ("train", "test", "shallow", "pickled")] == [5, "test", "shallow", "pickled"]
    assert json.loads(result["text"]) == {"lr": 5, "opts": {"x": 1}}


# ---------------------------------------------------------------------------------------------- parameters


def test_parameters_are_earlier_entries(scope):
    """A later scope builds on an earlier one by naming what it needs."""

    @scope
    def cfg(a, f):
        b = a + 1
        f["x"] = b

    assert cfg(preset={"a": 1, "f": {"y": 0}, "other": 3}) == {
        "a": 1,
        "f": {"y": 0, "x": 2},
        "b": 2,
        "other": 3,
    }
    assert cfg({"a": 10}, {"a": 1, "f": {}})["b"] == 11


def test_presets_fill_in_what_the_scope_leaves_out(scope):
    """A later scope adds to a group; it does not have to repeat it."""

    @scope
    def cfg():
        f = {"b": 2}

    assert cfg(preset={"f": {"a": 1, "b": 0}, "g": 3}) == {"f": {"b": 2, "a": 1}, "g": 3}
    assert cfg({"f": {"a": 5}}, {"f": {"a": 1}})["f"] == {"b": 2, "a": 5}


def test_a_parameter_changed_in_place_is_as_the_scope_left_it(scope):
    """Deleting a key of an earlier entry is a change like any other."""

    @scope
    def cfg(f):
        del f["a"]

    assert cfg(preset={"f": {"a": 1, "b": 2}}) == {"f": {"b": 2}}


def test_entries_that_are_not_declared_cannot_be_read(scope):
    """Otherwise a scope would depend on what happens to run before it."""

    @scope
    def cfg():
        b = hidden_entry + 1  # noqa: F821

    with pytest.raises(NameError, match="hidden_entry"):
        cfg(preset={"hidden_entry": 1})


def test_fallbacks_are_read_only_and_no_entries(scope):
    """An ingredient's config belongs to the ingredient."""
    logger = logging.getLogger("test")

    @scope
    def cfg(dataset, _log):
        path = dataset["path"] + "/x"
        kind = type(dataset).__name__
        same = _log is logger

    assert cfg(fallback={"dataset": {"path": "/data"}, "_log": logger}) == {
        "path": "/data/x",
        "kind": "ReadOnlyDict",
        "same": True,
    }

    @scope
    def changing(dataset):
        dataset["path"] = 1

    with pytest.raises(TypeError, match="read-only"):
        changing(fallback={"dataset": {"path": "/data"}})


def test_assigning_a_fallback_is_ignored_and_reported(scope):
    """Somebody else decides that value, and dependants are to be computed from it."""

    @scope
    def cfg(dataset):
        dataset = {"path": "mine"}
        seen = dataset["path"]

    result = cfg(fallback={"dataset": {"path": "theirs"}})
    assert result == {"seen": "theirs"}
    assert result.ignored_fallbacks == {"dataset"}


def test_an_update_of_a_fallback_is_what_the_scope_sees(scope):
    """A named config sees the ingredient as the command line will make it."""

    @scope
    def cfg(dataset):
        seen = (dataset["path"], dataset["n"])
        frozen = isinstance(dataset, ReadOnlyDict)

    result = cfg({"dataset": {"path": "updated"}}, fallback={"dataset": {"path": "theirs", "n": 1}})
    assert (result["seen"], result["frozen"]) == (("updated", 1), True)


def test_a_name_that_is_no_parameter_is_an_entry_even_if_there_is_a_fallback(scope):
    """A named config of an experiment sets entries of an ingredient this way."""

    @scope
    def cfg():
        dataset = {"n": 1}

    result = cfg(fallback={"dataset": {"n": 5}})
    assert result == {"dataset": {"n": 1}}
    assert result.ignored_fallbacks == set()


def test_parameters_with_defaults_declare_entries(scope):
    """`def cfg(lr=0.1)` is clean for every linter and type checker."""

    @scope
    def cfg(lr: float = 0.1, /, steps=10, *, layers=(3, [4])):
        total = lr * steps
        layers[1].append(5)

    assert cfg() == {"lr": 0.1, "steps": 10, "layers": (3, [4, 5]), "total": 1.0}
    assert cfg()["layers"] == (3, [4, 5])  # the default itself was not changed
    result = cfg({"lr": 2.0})
    assert result == {"lr": 2.0, "steps": 10, "layers": (3, [4, 5]), "total": 20.0}
    assert (result.added, result.modified) == (set(), {"lr"})
    assert cfg(preset={"steps": 1})["total"] == 0.1
    assert cfg(fallback={"steps": 2})["total"] == 0.2
    assert "steps" not in cfg(fallback={"steps": 2})


def test_typed_parameters_convert_updates(scope):
    """What the command line gives is text; the annotation says what it means."""

    @scope
    def cfg(lr: float = 0.1, name: str = "x"):
        half = lr / 2

    assert cfg({"lr": "0.5"})["half"] == 0.25
    with pytest.raises(ConfigTypeError, match="lr"):
        cfg({"lr": "fast"})


def test_a_parameter_without_default_may_come_from_an_update(scope):
    """An entry that has no sensible default, such as where the data lie."""

    @scope
    def cfg(data_dir):
        index = data_dir + "/index"

    result = cfg({"data_dir": "/data"})
    assert result == {"data_dir": "/data", "index": "/data/index"}
    assert result.added == set()


def test_an_unknown_parameter_says_what_there_is(scope):
    """A slip of the keyboard, most of the time."""

    @scope
    def cfg(learning_rat):
        pass

    with pytest.raises(KeyError) as caught:
        cfg(preset={"learning_rate": 1, "b": 2}, fallback={"dataset": {}})
    error = caught.value
    assert isinstance(error, ScopeParameterError)
    assert (error.parameter, error.suggestion) == ("learning_rat", "learning_rate")
    assert error.available == ("b", "dataset", "learning_rate")
    assert "did you mean:  learning_rate" in str(error)
    assert "config scope cfg" in str(error)
    assert "learning_rat=VALUE" in str(error)


# ---------------------------------------------------------------------------------------------- errors


def test_functions_that_cannot_be_scopes_are_refused_when_they_are_declared():
    """A mistake in the declaration is shown at its line, not an hour later."""

    def star(*args):
        pass

    def stars(**kwargs):
        pass

    def generator():
        yield 1

    async def coroutine():
        pass

    for func, also, words in [
        (star, TypeError, r"\*args"),
        (stars, TypeError, r"\*\*kwargs"),
        (generator, SyntaxError, "yields"),
        (coroutine, SyntaxError, "async def"),
        (3, TypeError, "is a function"),
        (int, TypeError, "is a function"),
    ]:
        with pytest.raises(ConfigScopeError, match=words) as caught:
            ConfigScope(func)
        assert isinstance(caught.value, also)
        assert isinstance(caught.value, TypeError)
    assert issubclass(ConfigScopeSyntaxError, SyntaxError)


def test_a_decorator_without_wraps_is_told_what_to_do():
    """Nothing can look through it."""

    def decorator(func):
        def wrapper(*args, **kwargs):
            return func(*args, **kwargs)

        return wrapper

    with pytest.raises(ConfigScopeError, match="use functools.wraps"):

        @ConfigScope
        @decorator
        def cfg():
            pass


def test_returning_anything_but_a_dict_is_an_error(scope):
    """`return lr` is a misunderstanding that had better be told."""

    @scope
    def cfg():
        return 3

    with pytest.raises(ConfigScopeError, match="returns a int, but"):
        cfg()


def test_errors_of_the_scope_pass_unchanged(scope):
    """The user's exception is the user's."""

    class Mine(Exception):
        pass

    error = Mine("x")

    @scope
    def cfg():
        a = 1
        raise error

    with pytest.raises(Mine) as caught:
        cfg()
    assert caught.value is error


def test_config_errors_show_the_values_that_clash(scope):
    """`raise InvalidConfigError("...", conflicting_configs="lr")` lists what lr is."""

    @scope
    def cfg(old):
        lr = 0.1
        raise ConfigError("too fast", conflicting_configs=["lr", "old", "other"])

    with pytest.raises(ConfigError) as caught:
        cfg({"lr": 5}, {"old": 1, "other": 2})
    assert caught.value.config == {"lr": 5, "old": 1, "other": 2}
    assert "lr=5" in str(caught.value)


def test_bad_keys_and_recursive_values_are_refused_with_their_path(scope):
    """They would fail much later, in a store."""

    @scope
    def dotted():
        group = {"inner": {"a.b": 1}}

    with pytest.raises(InvalidConfigKey) as caught:
        dotted()
    assert caught.value.path == "group.inner.a.b"

    @scope
    def several():
        group = {"$set": 1, "list": [{"py/tuple": 1}]}
        other = {"a=b": 1}

    with pytest.raises(InvalidConfigKey) as caught:
        several()
    for path in ("group.$set", "group.list[0].py/tuple", "other.a=b"):
        assert f"path:         {path}\n" in str(caught.value), "one attempt shows all that has to be mended"

    @scope
    def recursive():
        x = [1]
        group = {"x": x}
        x.append(group)

    with pytest.raises(ConfigTypeError, match=r"group\.x\[1\]: the value contains itself|x\[1\]\.x: the value"):
        recursive()
