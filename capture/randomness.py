"""Seeds, and the random generators that start from them.

One number, the root seed, decides every random number of a run::

    root seed ──► seed of each ingredient without a ``seed`` entry of its own
        └──► one generator per captured function ──► ``_seed`` on each call ──► ``_rnd``

So calls of one function never shift the numbers of another. The streams are those of Sacred, number for number.
numpy is used where it is installed, and imported only when a stream is first asked for.
"""

from __future__ import annotations

import os
import sys
import threading
from importlib import import_module

from capture.errors import ConfigTypeError
from capture.imported import ImportWatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

SEEDRANGE = (1, int(1e9))
"""Seeds that are made, rather than given, lie in here; the end is excluded when numpy makes them."""

STOCK_COMMANDS = 4
"""print_config, print_dependencies, save_config and print_named_configs; see `SeedTree`."""

_numpy_absent = False


def get_seed(rnd: Any = None) -> int:
    """Make a seed.

    Parameters
    ----------
    rnd : numpy.random.Generator, numpy.random.RandomState or random.Random, optional
        Where to draw it from; by default the operating system's randomness, which no seeding changes.

    Returns
    -------
    int
        Within `SEEDRANGE`.
    """
    if rnd is None:
        low, high = SEEDRANGE
        return low + int.from_bytes(os.urandom(16), "big") % (high - low + 1)
    if hasattr(rnd, "integers"):
        return int(rnd.integers(*SEEDRANGE))
    return int(rnd.randint(*SEEDRANGE))


def create_rnd(seed: int, legacy: bool | None = None) -> Any:
    """Make a random generator that starts from `seed`.

    Parameters
    ----------
    seed : int
        0 or above, of any size.
    legacy : bool, optional
        Whether to make numpy's older RandomState; by default what ``SETTINGS.CONFIG.NUMPY_RANDOM_LEGACY_API`` says.

    Returns
    -------
    numpy.random.Generator, numpy.random.RandomState or random.Random
        The last where numpy is not installed.

    Raises
    ------
    ConfigTypeError
        If `seed` is not an integer of 0 or above.
    """
    return generator_maker(legacy)(check_seed(seed))


def generator_maker(legacy: bool | None = None) -> Callable[[int], Any]:
    """Return what makes the generators of `create_rnd`, with the choice among their kinds made once."""
    numpy = _numpy()
    if numpy is None:
        import random

        return random.Random
    if legacy is None:
        from capture.settings import SETTINGS

        legacy = SETTINGS.CONFIG.NUMPY_RANDOM_LEGACY_API
    if legacy:
        return lambda seed: numpy.random.RandomState(seed % 2**32)
    make: Callable[[int], Any] = numpy.random.default_rng
    return make


def check_seed(seed: Any, path: str = "seed") -> int:
    """Return `seed` as an int.

    Raises
    ------
    ConfigTypeError
        Naming `path`, if it is not an integer (numpy's are), or below 0. True and False are not.
    """
    # numpy's bool is no subclass of Python's, and in older versions passes for an integer as well.
    if type(seed).__name__ in ("bool", "bool_") or not hasattr(seed, "__index__"):
        raise ConfigTypeError(path, f"a seed is an integer of 0 or above, got {seed!r} ({type(seed).__name__})")
    number: int = seed.__index__()
    if number < 0:
        raise ConfigTypeError(path, f"a seed is an integer of 0 or above, got {number}")
    return number


class SeedTree:
    """The seeds of one run, each worked out when it is first asked for.

    Parameters
    ----------
    plan : mapping of owner to (seed, parent, functions)
        For each ingredient and the experiment: the ``seed`` entry of its configuration or None; the owner that it
        gets a seed from otherwise, None for the experiment; its captured functions in order of registration. Owners
        with one parent stand in the order in which the parent lists them. A list of functions may grow during the
        run: what is registered late gets the next stream.
    legacy : bool, optional
        As in `create_rnd`.
    reserved : mapping of owner to int, optional
        How many streams to pass over before that of an owner's first function. Sacred's experiments begin with their
        `STOCK_COMMANDS` captured commands, so ours pass over as many to give a user's functions the same numbers.

    Notes
    -----
    An ingredient listed by several others belongs to the parent that `seeding_parents` names.
    """

    def __init__(
        self,
        plan: Mapping[Any, tuple[int | None, Any, Sequence[Any]]],
        legacy: bool | None = None,
        reserved: Mapping[Any, int] | None = None,
    ) -> None:
        self._plan = dict(plan)
        self._reserved = reserved or {}
        self.legacy = legacy
        self._lock = threading.RLock()
        self._seeds: dict[Any, int] = {}
        self._streams: dict[Any, _Streams] = {}
        for owner, (seed, _parent, _functions) in self._plan.items():
            if seed is not None:
                self._seeds[owner] = check_seed(seed)

    def seed_of(self, owner: Any) -> int:
        """Return the seed of an ingredient or experiment.

        Raises
        ------
        KeyError
            If the plan does not name it.
        """
        with self._lock:
            if owner not in self._seeds:
                parent = self._plan[owner][1]
                if parent is None:
                    self._seeds[owner] = get_seed()
                else:
                    self._seed_children(parent)
            return self._seeds[owner]

    def stream(self, owner: Any, function: Any) -> Any:
        """Return the generator that makes the ``_seed`` of one captured function, with `get_seed`."""
        with self._lock:
            streams = self._streams.get(owner)
            if streams is None:
                functions = self._plan[owner][2]
                streams = self._streams[owner] = _Streams(
                    self.seed_of(owner), functions, self.legacy, self._reserved.get(owner, 0)
                )
            return streams.of(function)

    def draw(self, owner: Any, function: Any) -> int:
        """Return the next ``_seed`` of one captured function."""
        return get_seed(self.stream(owner, function))

    def _seed_children(self, parent: Any) -> None:
        rnd = create_rnd(self.seed_of(parent), self.legacy)
        # From the last to the first, as Sacred does.
        for owner, (seed, its_parent, _functions) in reversed(self._plan.items()):
            if its_parent is parent and seed is None:
                self._seeds[owner] = get_seed(rnd)


class _Streams:
    """The generators of one owner's captured functions."""

    def __init__(self, seed: int, functions: Sequence[Any], legacy: bool | None, reserved: int) -> None:
        self._make = generator_maker(legacy)
        self._source = self._make(seed)
        for _ in range(reserved):
            get_seed(self._source)
        self._functions = functions
        self._listed = 0  # how many of `functions` have got their generator
        self._rnd: dict[Any, Any] = {}

    def of(self, function: Any) -> Any:
        function = _key(function)
        if function not in self._rnd:
            self._add_listed()
        if function not in self._rnd:
            self._add(function)
        return self._rnd[function]

    def _add_listed(self) -> None:
        while self._listed < len(self._functions):
            self._add(_key(self._functions[self._listed]))
            self._listed += 1

    def _add(self, function: Any) -> None:
        seed = get_seed(self._source)
        self._rnd.setdefault(function, self._make(seed))


def _key(function: Any) -> Any:
    # Captured functions are known here by what they captured, since that is what a binding holds.
    return getattr(function, "_self_target", function)


def seeding_parents(root: Any, parts: Callable[[Any], Sequence[Any]]) -> dict[Any, Any]:
    """Return from which other owner each owner gets its seed.

    Parameters
    ----------
    root : object
        The experiment.
    parts : callable
        Returns the ingredients that an ingredient lists, in order.

    Returns
    -------
    dict
        Owner to parent, None for the root. Owners with one parent stand in the order in which it lists them, so the
        result can be turned into the plan of a `SeedTree` entry by entry.
    """
    parents: dict[Any, Any] = {root: None}

    def visit(owner: Any) -> None:
        for part in reversed(parts(owner)):
            if part not in parents:
                parents[part] = owner
                visit(part)

    visit(root)
    return {root: None, **{owner: parents[owner] for owner in reversed(parents) if owner is not root}}


# --- the generators that belong to the process ----------------------------------------------------------------------


class GlobalSeeding:
    """Seeds the process-wide generators: at once where their library is imported, else right after its import.

    While it is open it watches imports through ``sys.meta_path``; `close` ends that. It imports nothing itself.
    """

    def __init__(self, seed: int) -> None:
        self.seed = check_seed(seed)
        self._imports = ImportWatch(SEEDERS, lambda name, module: self._apply(name))

    def open(self) -> None:
        """Seed what is imported, and watch for the rest."""
        for name in SEEDERS:
            if sys.modules.get(name) is not None:
                self._apply(name)
        self._imports.start()

    def close(self) -> None:
        """Stop watching. Doing it twice is harmless."""
        self._imports.stop()

    def _apply(self, name: str) -> None:
        try:
            SEEDERS[name](self.seed)
        except (AttributeError, ImportError, TypeError, ValueError, RuntimeError) as error:
            # Somebody's own torch.py, or a broken installation: no reason to fail an import or a run.
            _warn(name, error)


def set_global_seed(seed: int) -> GlobalSeeding:
    """Seed the generators of `random`, numpy, torch and tensorflow, also of those that are imported later.

    Parameters
    ----------
    seed : int
        0 or above; taken modulo what each library allows (2**32 for numpy).

    Returns
    -------
    GlobalSeeding
        To be closed when the run ends; from then on, imports are left alone.

    Raises
    ------
    ConfigTypeError
        If `seed` is not an integer of 0 or above.
    """
    seeding = GlobalSeeding(seed)
    seeding.open()
    return seeding


def _seed_random(seed: int) -> None:
    import random

    random.seed(seed)


def _seed_numpy(seed: int) -> None:
    import numpy.random

    numpy.random.seed(seed % 2**32)


def _seed_torch(seed: int) -> None:
    # `import_module` and not sys.modules: it waits for an import that another thread is in the middle of.
    torch = import_module("torch")
    torch.manual_seed(seed % 2**64)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed % 2**64)


def _seed_tensorflow(seed: int) -> None:
    tensorflow = import_module("tensorflow")
    if hasattr(tensorflow.random, "set_seed"):
        tensorflow.random.set_seed(seed % 2**63)
    else:
        tensorflow.compat.v1.set_random_seed(seed % 2**63)


SEEDERS: dict[str, Callable[[int], None]] = {
    "random": _seed_random,
    "numpy": _seed_numpy,
    "torch": _seed_torch,
    "tensorflow": _seed_tensorflow,
}


def _warn(name: str, error: Exception) -> None:
    import logging

    logging.getLogger(__name__).warning("could not seed the generator of %s: %s", name, error)


def _numpy() -> Any:
    """Return numpy, or None where it is not installed. A numpy that is there and broken raises."""
    global _numpy_absent
    if _numpy_absent:
        return None
    try:
        import numpy
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
        _numpy_absent = True
        return None
    import numpy.random

    return numpy
