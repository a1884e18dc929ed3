"""The values of a difference as texts that stand side by side: on a terminal, in a notebook, on a page."""

from __future__ import annotations

from capture.filters import MISSING
from capture.query._compared import same
from capture.wording import EXACT, format_duration, format_exact, format_size, format_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from capture.query._difference import Difference

_DIGITS = 12  #: of a digest or a commit


def shown_values(difference: Difference, longest: int | None = None) -> list[str]:
    """Return the values of a difference as short texts that differ where the values do.

    Parameters
    ----------
    difference : Difference
    longest : int, optional
        Characters of a text, without those that say that it is cut: it is cut around the place where the texts part.

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
    >>> shown_values(Difference("usage", "peak_memory_bytes", [207273984, 2048]))
    ['207.3 MB', '2.0 kB']
    """
    values, unit = difference.values, _unit(difference)
    if unit is not None and all(value is MISSING or isinstance(value, (int, float)) for value in values):
        return [unit(value) for value in values]
    texts: list[str] = []
    for precision in (None, 8, 12, EXACT):
        texts = [_text(value, precision) for value in values]
        if _tell_apart(values, texts):
            break
    else:  # "1" and 1
        texts = list(map(format_exact, values))
    return texts if longest is None else _cut(texts, longest)


def _unit(difference: Difference) -> Callable[[Any], str] | None:
    """Return how seconds or bytes of a machine or a process are written; None for anything else."""
    if difference.kind not in ("usage", "host"):
        return None
    if difference.name == "duration" or difference.name.endswith("_s"):
        return format_duration
    return format_size if difference.name.endswith("_bytes") else None


def _text(value: Any, precision: int | None) -> str:
    if isinstance(value, str) and len(value) in (32, 40, 64) and not value.strip("0123456789abcdef"):
        return value[:_DIGITS]
    return "None" if value is None else format_value(value, precision)


def _tell_apart(values: Sequence[Any], texts: Sequence[str]) -> bool:
    return all(
        text != texts[0] or same(value, values[0], typed=True) for value, text in zip(values[1:], texts[1:])
    )  # fmt: skip


def _cut(texts: Sequence[str], longest: int) -> list[str]:
    if max(map(len, texts), default=0) <= longest:
        return list(texts)
    shortest = min(map(len, texts))
    parting = next((i for i in range(shortest) if len({text[i] for text in texts}) > 1), shortest)
    start = max(0, parting - longest // 3) if parting > longest // 2 else 0
    end = start + longest
    return [f"{'…' if start else ''}{text[start:end]}{'…' if len(text) > end else ''}" for text in texts]
