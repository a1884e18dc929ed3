"""Runs that differ only in their seed, taken together: the mean of what came out, its spread, and of how many runs."""

from __future__ import annotations

from capture.filters import MISSING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any


class Spread:
    """The mean of numbers and how far they lie apart.

    Attributes
    ----------
    n : int
        How many numbers there were; what is no finite number is not counted.
    mean : float or None
        None if there were none.
    std : float or None
        Sample standard deviation, with n - 1 in the denominator; None for fewer than two numbers.
    """

    __slots__ = ("mean", "n", "std")

    def __init__(self, n: int, mean: float | None, std: float | None) -> None:
        self.n, self.mean, self.std = n, mean, std

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spread) and (self.n, self.mean, self.std) == (other.n, other.mean, other.std)

    def __hash__(self) -> int:
        return hash((self.n, self.mean, self.std))

    def __repr__(self) -> str:
        return f"Spread(n={self.n}, mean={self.mean!r}, std={self.std!r})"


def spread(values: Iterable[Any]) -> Spread:
    """Return mean and sample standard deviation of those values that are finite numbers.

    Examples
    --------
    >>> spread([1, 2, 3, None, float("nan")])
    Spread(n=3, mean=2.0, std=1.0)
    >>> spread([0.5]), spread([])
    (Spread(n=1, mean=0.5, std=None), Spread(n=0, mean=None, std=None))
    """
    numbers = [float(value) for value in values if is_number(value)]
    if not numbers:
        return Spread(0, None, None)
    from math import fsum, hypot, sqrt

    count = len(numbers)
    if count == 1:
        return Spread(1, numbers[0], None)
    if min(numbers) == max(numbers):  # their mean may be rounded, and would lie apart from all of them
        return Spread(count, numbers[0], 0.0)
    try:
        mean = fsum(numbers) / count
    except OverflowError:
        mean = fsum(number / count for number in numbers)
    # The root of a sum of squares: `hypot` computes it without squares that overflow.
    return Spread(count, mean, hypot(*(number - mean for number in numbers)) / sqrt(count - 1))


def no_numbers(values: Iterable[Any]) -> str:
    """Say what there is in place of finite numbers, and how often.

    Examples
    --------
    >>> no_numbers([float("nan"), MISSING, float("nan"), "text", float("-inf")])
    'NaN in 2 runs, infinite in 1 run, other than a number in 1 run, nothing in 1 run'
    """
    counts = dict.fromkeys(("NaN", "infinite", "other than a number", "nothing"), 0)
    for value in values:
        if value is None or value is MISSING:
            counts["nothing"] += 1
        elif not isinstance(value, float):
            counts["other than a number"] += not is_number(value)
        elif not is_number(value):
            counts["infinite" if value == value else "NaN"] += 1
    return ", ".join(f"{what} in {count} run{'s' * (count != 1)}" for what, count in counts.items() if count)


def is_number(value: Any) -> bool:
    """Say whether a value is a finite number; True and False are none."""
    if isinstance(value, bool) or value is None or value is MISSING:
        return False
    if not isinstance(value, (int, float)) and not hasattr(value, "__float__"):
        return False
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return number - number == 0


def is_seed(column: str) -> bool:
    """Say whether a column is a seed: it, or its last part, is ``seed`` or ends so.

    Examples
    --------
    >>> [is_seed(each) for each in ("config.seed", "config.data.random_seed", "config.seeds", "config.seeded.lr")]
    [True, True, False, False]
    """
    return column.rpartition(".")[2].lower().endswith("seed")


def group(rows: Sequence[Sequence[Any]], keys: Sequence[int]) -> list[tuple[list[Any], list[int]]]:
    """Sort rows into groups that are equal in some places.

    Parameters
    ----------
    rows : sequence of sequence, shape (m, n)
    keys : sequence of int
        The places to compare.

    Returns
    -------
    list of (values, members)
        The values in these places, and the numbers of the rows that have them; in the order of their first row.

    Examples
    --------
    >>> group([[0.1, 1], [0.2, 2], [0.1, 3]], keys=[0])
    [([0.1], [0, 2]), ([0.2], [1])]
    """
    groups: dict[Any, tuple[list[Any], list[int]]] = {}
    for number, row in enumerate(rows):
        values = [row[key] for key in keys]
        groups.setdefault(tuple(map(identity, values)), (values, []))[1].append(number)
    return list(groups.values())


def identity(value: Any) -> Any:
    """Return something hashable that is equal where values are: lists and dicts are taken apart, 1 is not True.

    Examples
    --------
    >>> identity([1, 2]) == identity((1, 2)), identity(1) == identity(True), identity(1) == identity(1.0)
    (True, False, True)
    """
    if isinstance(value, dict):
        return ("dict", frozenset((str(key), identity(each)) for key, each in value.items()))
    if isinstance(value, (list, tuple)):
        return ("list", tuple(map(identity, value)))
    if isinstance(value, bool) or value is MISSING:
        return (str(value),)
    if isinstance(value, float) and value != value:
        return ("nan",)
    if hasattr(value, "tolist"):  # of NumPy; its text would leave out the middle
        return identity(value.tolist())
    try:
        hash(value)
    except TypeError:
        return ("repr", repr(value))
    return value
