"""The values of a difference as texts that stand side by side: on a terminal, in a notebook, on a page."""

from __future__ import annotations

from capture.filters import MISSING
from capture.query._compared import same
from capture.wording import EXACT, format_duration, format_exact, format_size, format_value, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from capture.query._difference import Difference

_DIGITS = 12  #: of a digest or a commit


def shown_values(difference: Difference, longest: int | None = None) -> list[str]:
    """Return the values of a difference as short texts that differ where the values do.

    What a run took differs always, and counts for nothing: there, two texts may be equal.

    Parameters
    ----------
    difference : Difference
    longest : int, optional
        Characters of a text, without those that say that it is cut: it is cut around the place where it parts from the
        others.

    Returns
    -------
    list of str, shape (runs,)

    Examples
    --------
    >>> from capture.query._difference import Difference
    >>> shown_values(Difference("config", "lr", [0.1, 0.30000000000000004]))
    ['0.1', '0.3']
    >>> shown_values(Difference("config", "lr", [0.3, 0.30000000000000004]))
    ['0.3', '0.30000000000000004']
    >>> shown_values(Difference("config", "n", [10, 10.0]))
    ['10', '10.0']
    >>> shown_values(Difference("config", "x", ["aaaaaaaa1", "aaaaaaaa2", "b"]), longest=4)
    ['…a1', '…a2', 'b']
    >>> shown_values(Difference("usage", "peak_memory_bytes", [207273984, 2048]))
    ['207.3 MB', '2.0 kB']
    """
    values, unit = difference.values, _unit(difference)
    if unit is not None and all(value is MISSING or isinstance(value, (int, float)) for value in values):
        told = [unit(value) for value in values]
        if difference.kind == "usage" or _tell_apart(values, told):
            return told
    texts: list[str] = []
    for precision in (None, 8, 12, EXACT):
        texts = [_text(value, precision) for value in values]
        if _tell_apart(values, texts):
            break
    else:  # "1" and 1
        texts = list(map(format_exact, values))
        if not _tell_apart(values, texts):  # members of one name that stand for different values
            texts = list(map(_stored, values))
    return texts if longest is None else _cut(texts, longest)


def _unit(difference: Difference) -> Callable[[Any], str] | None:
    """Return how seconds or bytes of a machine or a process are written; None for anything else."""
    if difference.kind not in ("usage", "host"):
        return None
    if difference.name == "duration" or difference.name.endswith("_s"):
        return format_duration
    return format_size if difference.name.endswith("_bytes") else None


def _stored(value: Any) -> str:
    from capture.codec import dumps

    return format_exact(value) if value is MISSING else visible(dumps(value))


def _text(value: Any, precision: int | None) -> str:
    if isinstance(value, str) and len(value) in (32, 40, 64) and not value.strip("0123456789abcdef"):
        return value[:_DIGITS]
    return "None" if value is None else format_value(value, precision)


def _tell_apart(values: Sequence[Any], texts: Sequence[str]) -> bool:
    """Say whether values that read the same are the same."""
    first: dict[str, Any] = {}
    return all(same(value, first.setdefault(text, value), typed=True) for value, text in zip(values, texts))


def _cut(texts: Sequence[str], longest: int) -> list[str]:
    if max(map(len, texts), default=0) <= longest:
        return list(texts)
    from itertools import pairwise

    ordered = sorted(set(texts))  # each parts last from one that stands beside it
    common = [_length_of_common_start(*pair) for pair in pairwise(ordered)]
    partings = {text: max(around) for text, *around in zip(ordered, [0, *common], [*common, 0])}
    return [_window(text, partings[text], longest) for text in texts]


def _length_of_common_start(one: str, other: str) -> int:
    shorter = min(len(one), len(other))
    return next((place for place in range(shorter) if one[place] != other[place]), shorter)


def _window(text: str, parting: int, longest: int) -> str:
    start = max(0, parting - longest // 3) if parting > longest // 2 and len(text) > longest else 0
    end = start + longest
    return f"{'…' if start else ''}{text[start:end]}{'…' if len(text) > end else ''}"
