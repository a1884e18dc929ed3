"""Seeds and generators."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from capture.errors import ConfigTypeError, SignatureError
from capture.randomness import (
    SEEDRANGE,
    STOCK_COMMANDS,
    SeedTree,
    create_rnd,
    get_seed,
    seeding_parents,
    set_global_seed,
)
from tests.inject.runs import OWNER, captured, live

STOCK = ["print_config", "print_dependencies", "save_config", "print_named_configs"]


def plan(seed, beta=None):
    """An experiment of the ingredients alpha (which has the ingredient deep) and beta."""
    return {
        "ex": (seed, None, [*STOCK, "own", "main"]),
        "alpha": (None, "ex", ["a1", "a2"]),
        "beta": (beta, "ex", ["b"]),
        "deep": (None, "alpha", ["d"]),
    }


@pytest.mark.parametrize(
    "seed, beta, legacy, golden",
    [
        (
            42,
            None,
            False,
            {
                ("ex", "main"): [37422836],
                ("ex", "own"): [9330647, 967891411, 204628512],
                ("alpha", "a1"): [256440101, 227135627, 527102273],
                ("alpha", "a2"): [725169279, 47463443],
                ("beta", "b"): [116425396, 140711586],
                ("deep", "d"): [376917867, 165514611],
            },
        ),
        (
            0,
            7,
            False,
            {
                ("ex", "main"): [26981808],
                ("ex", "own"): [495200602, 454176154, 264524161],
                ("alpha", "a1"): [165799085, 560772602, 916935990],
                ("alpha", "a2"): [341487427, 826170796],
                ("beta", "b"): [821284816, 717005195],
                ("deep", "d"): [678518036, 542570614],
            },
        ),
        (
            123456789,
            None,
            True,
            {
                ("ex", "main"): [52390468],
                ("ex", "own"): [927712026, 999794968, 317825402],
                ("alpha", "a1"): [409882155, 14187174, 847779317],
                ("alpha", "a2"): [69196710, 756493223],
                ("beta", "b"): [92822062, 115610732],
                ("deep", "d"): [115686349, 283071274],
            },
        ),
    ],
)
def test_the_streams_are_those_of_sacred(seed, beta, legacy, golden):
    """Whoever moves over must get the numbers of the old runs; these were drawn with Sacred 0.8.7 and numpy 2.4."""
    for order in (list(golden), list(reversed(golden))):
        tree = SeedTree(plan(seed, beta), legacy)
        assert {key: [tree.draw(*key) for _ in golden[key]] for key in order} == golden


def test_streams_can_be_passed_over():
    """Sacred captures its stock commands first; an experiment that does not must still give the same numbers."""
    tree = SeedTree({"ex": (42, None, ["own", "main"])}, reserved={"ex": STOCK_COMMANDS})
    assert (tree.draw("ex", "main"), tree.draw("ex", "own")) == (37422836, 9330647)


def test_the_generators_are_those_of_sacred():
    """The seed decides `_rnd` as well; drawn with Sacred 0.8.7 from the seeds above."""
    assert create_rnd(725169279).random() == 0.5664704791371096
    assert create_rnd(37422836).integers(1000) == 712
    assert create_rnd(69196710, legacy=True).uniform() == 0.5439966984091951


def test_functions_registered_during_the_run_get_the_next_streams():
    """A late import must neither fail nor disturb what was there before."""
    functions = ["first"]
    tree = SeedTree({"ex": (1, None, functions)})
    assert tree.draw("ex", "first") == SeedTree({"ex": (1, None, ["first"])}).draw("ex", "first")
    functions += ["second", "third"]
    late = [tree.draw("ex", name) for name in ("unlisted", "third", "second")]
    early = SeedTree({"ex": (1, None, ["first", "second", "third", "unlisted"])})
    assert late == [early.draw("ex", name) for name in ("unlisted", "third", "second")]


def test_a_tree_without_a_seed_makes_one():
    """Each run is then another one, yet consistent in itself."""
    tree = SeedTree(plan(None))
    assert tree.seed_of("ex") == tree.seed_of("ex")
    assert SEEDRANGE[0] <= tree.seed_of("ex") <= SEEDRANGE[1]
    same = SeedTree(plan(tree.seed_of("ex")))
    assert same.draw("deep", "d") == tree.draw("deep", "d")
    assert len({get_seed() for _ in range(20)}) > 15


def test_made_seeds_do_not_depend_on_the_process_wide_generators():
    """Two scripts that call random.seed(0) first must not get the same root seed."""
    random.seed(0)
    np.random.seed(0)
    first = get_seed()
    random.seed(0)
    np.random.seed(0)
    assert get_seed() != first


def test_a_shared_ingredient_belongs_to_the_parent_that_reaches_it_first():
    """As in Sacred, which goes down from the experiment, through the last ingredient first."""
    parts = {"ex": ["alpha", "beta"], "alpha": ["shared"], "beta": ["shared", "other"], "shared": [], "other": []}
    parents = seeding_parents("ex", parts.__getitem__)
    assert parents == {"ex": None, "alpha": "ex", "beta": "ex", "shared": "beta", "other": "beta"}
    assert [owner for owner in parents if parents[owner] == "beta"] == ["shared", "other"]
    assert [owner for owner in parents if parents[owner] == "ex"] == ["alpha", "beta"]


def test_many_threads_draw_without_losing_a_seed():
    """Each number of a stream is handed out exactly once."""
    tree = SeedTree(plan(42))
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: tree.draw("alpha", "a1"), range(500)))
    alone = SeedTree(plan(42))
    assert sorted(found) == sorted(alone.draw("alpha", "a1") for _ in range(500))


# --- in captured functions ------------------------------------------------------------------------------------------


@captured
def both(_seed, _rnd):
    return _seed, _rnd


def test_each_call_gets_a_new_seed_and_a_generator_that_starts_from_it():
    """So that a function can store the seed it worked with."""
    for _ in range(2):
        with live(seeds=SeedTree({OWNER: (42, None, [*STOCK, both])})):
            (seed, rnd), (next_seed, _) = both(), both()
        assert (seed, next_seed) == (9330647, 967891411)
        assert rnd.random() == np.random.default_rng(seed).random()


def test_given_seeds_and_generators_win_and_do_not_shift_later_calls():
    """A caller that fixes one call must not change what the others get."""
    with live(seeds=SeedTree({OWNER: (42, None, [*STOCK, both])})):
        assert both(5, 6) == (5, 6)
        assert both(_rnd=6) == (967891411, 6)
        assert both(7)[0] == 7


def test_calls_of_one_function_do_not_disturb_another():
    """Otherwise an added log statement that draws a sample would change the training."""

    @captured
    def other(_rnd):
        return _rnd

    found = []
    for disturbances in (0, 3):
        with live(seeds=SeedTree({OWNER: (1, None, [other, both])})):
            for _ in range(disturbances):
                other()
            found.append(both()[0])
    assert found[0] == found[1]


def test_fresh_seeds_stand_anywhere_in_the_signature():
    """Between entries, before them, by keyword only, in methods."""

    class Sampler:
        @captured
        def draw(self, a, _seed, b):
            return a, _seed, b

    with live({"a": 1, "b": 2}, seeds=SeedTree({OWNER: (1, None, [])})):
        assert [type(v) for v in captured(lambda a, _seed, b: (a, _seed, b))()] == [int, int, int]
        assert captured(lambda x, _seed, b, *, _rnd: (x, b))(5) == (5, 2)
        assert Sampler().draw(b=5)[::2] == (1, 5)
        assert Sampler().draw(7, 8, 9) == (7, 8, 9)
        with pytest.raises(SignatureError, match="positional-only"):
            captured(lambda _rnd, /: 0)()


def test_outside_runs_seeds_are_random():
    """A unit test of a captured function needs a generator too, but nobody set a seed."""
    seed, rnd = both()
    assert SEEDRANGE[0] <= seed <= SEEDRANGE[1]
    assert rnd.random() == create_rnd(seed).random()
    assert both()[0] != both()[0]


# --- bad seeds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", ["42", 1.0, True, -1, [1], np.float64(3), np.bool_(True)])
def test_a_seed_that_is_no_seed_is_refused(seed):
    """The message names the entry and the type, instead of failing somewhere in numpy."""
    for use in (create_rnd, set_global_seed, lambda seed: SeedTree(plan(seed))):
        before = list(sys.meta_path)
        with pytest.raises(ConfigTypeError, match="seed: a seed is an integer of 0 or above, got"):
            use(seed)
        assert sys.meta_path == before


@pytest.mark.parametrize("seed", [0, 2**32 - 1, 2**32, 2**63, 2**64, 10**40, np.int64(5), np.uint8(5)])
def test_seeds_of_any_size_work(seed):
    """In Sacred one above 2**32 ends the run inside numpy."""
    for legacy in (False, True):
        create_rnd(seed, legacy).random(), SeedTree(plan(seed), legacy).draw("deep", "d")
    set_global_seed(seed).close()


# --- the generators of the process ----------------------------------------------------------------------------------


def test_the_generators_of_the_process_are_seeded():
    """Code that knows nothing of `_rnd` is reproducible too, with the numbers it had under Sacred."""
    set_global_seed(42).close()
    assert (random.random(), np.random.random()) == (0.6394267984578837, 0.3745401188473625)


def test_after_closing_imports_are_left_alone():
    """A guest leaves the house as it was."""
    before = list(sys.meta_path)
    outer = set_global_seed(1)
    inner = set_global_seed(2)
    outer.close()
    assert inner._imports.active and not outer._imports.active
    inner.close()
    inner.close()
    assert sys.meta_path == before


def run_alone(program, folder, *options):
    """Run a program in a new interpreter, with a folder of modules before all others; return its lines."""
    done = subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_libraries_imported_during_the_run_are_seeded_then(tmp_path):
    """Heavy libraries are imported inside main; importing them here for their seed would cost seconds."""
    (tmp_path / "torch.py").write_text(
        "seeds = []\nmanual_seed = seeds.append\n"
        "class cuda:\n    is_available = lambda: True\n"
        "    manual_seed_all = lambda seed: seeds.append(('cuda', seed))\n"
    )
    (tmp_path / "tensorflow.py").write_text("seeds = []\nclass random:\n    set_seed = seeds.append\n")
    lines = run_alone(
        """
        import sys
        from capture.randomness import set_global_seed
        outer, inner = set_global_seed(2**70 + 1), set_global_seed(2**70 + 5)
        print(*(name for name in ("random", "numpy", "torch", "tensorflow", "logging") if name in sys.modules))
        import random, numpy, torch, tensorflow
        print(torch.seeds[-2:], tensorflow.seeds[-1:], torch.__spec__.loader is torch.__loader__)
        expected = random.random(), numpy.random.random()
        random.seed(2**70 + 5); numpy.random.seed(5)
        print(expected == (random.random(), numpy.random.random()))
        print(vars(torch.__loader__).keys() - {"name", "path"}, torch.__file__.endswith("torch.py"))
        inner.close(); outer.close()
        """,
        tmp_path,
    )
    assert lines == ["", "[5, ('cuda', 5)] [5] True", "True", "set() True"]


def test_imports_after_the_run_are_not_seeded(tmp_path):
    """The seed belongs to the run."""
    (tmp_path / "torch.py").write_text("seeds = []\nmanual_seed = seeds.append\n")
    lines = run_alone(
        "from capture.randomness import set_global_seed\nset_global_seed(1).close()\nimport torch\nprint(torch.seeds)",
        tmp_path,
    )
    assert lines == ["[]"]


def test_somebody_elses_torch_does_not_fail_the_run(tmp_path):
    """A user's own module of that name has no generators; that is worth a line in the log, not an end."""
    (tmp_path / "torch.py").write_text("value = 1\n")
    lines = run_alone(
        """
        import logging, sys
        logging.basicConfig(stream=sys.stdout, format="%(name)s %(message)s")
        from capture.randomness import set_global_seed
        seeding = set_global_seed(1)
        import torch
        print(torch.value)
        """,
        tmp_path,
    )
    assert lines[0].startswith("capture.randomness could not seed the generator of torch: ")
    assert lines[1:] == ["1"]


def test_a_failing_import_stays_the_users_error(tmp_path):
    """A module that is absent, or breaks while it is imported, must look as it does without a run."""
    (tmp_path / "torch.py").write_text("1 / 0\n")
    lines = run_alone(
        """
        import sys
        from capture.randomness import set_global_seed
        seeding = set_global_seed(1)
        try:
            import torch
        except ZeroDivisionError:
            print("broken", "torch" in sys.modules)
        sys.path[:] = []
        try:
            import tensorflow
        except ModuleNotFoundError as error:
            print(error)
        """,
        tmp_path,
    )
    assert lines == ["broken False", "No module named 'tensorflow'"]


def test_without_numpy_everything_works(tmp_path):
    """numpy is an optional dependency; the streams are then those of `random`, reproducible in themselves."""
    program = """
        import sys
        sys.modules["numpy"] = None   # what an import statement takes for "not installed"
        from capture.randomness import SeedTree, create_rnd, set_global_seed
        seeding = set_global_seed(42)
        tree = SeedTree({"ex": (42, None, ["f"]), "ing": (None, "ex", ["g"])})
        print(tree.draw("ex", "f"), tree.draw("ing", "g"), type(create_rnd(1)).__module__)
        import random
        print(random.random())
        seeding.close()
        """
    first, second = run_alone(program, tmp_path), run_alone(program, tmp_path)
    assert first == second
    assert first[0].endswith(" random")
    assert first[1] == "0.6394267984578837"


def test_numpy_is_imported_no_sooner_than_it_is_needed(tmp_path):
    """Its import takes longer than a whole recorded run without it."""
    lines = run_alone(
        """
        import sys
        from capture import context
        from capture.inject import Frame, capture_function
        from capture.randomness import SeedTree, set_global_seed
        plain, seeded = (capture_function(f, None, "ex") for f in (lambda a: a, lambda _seed: _seed))
        class Run:
            parent = None
        run = Run()
        run.frame = Frame(run, {"ex": {"a": 1}}, seeds=SeedTree({"ex": (1, None, [plain, seeded])}))
        context.activate(run)
        seeding = set_global_seed(1)
        plain()
        print("numpy" in sys.modules)
        seeded()
        print("numpy" in sys.modules)
        """,
        tmp_path,
    )
    assert lines == ["False", "True"]
