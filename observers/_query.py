"""Finding a run in a store that cannot search: by its uid, and what to say if there is none."""

from __future__ import annotations

from capture.errors import RunNotFoundError, suggest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def by_part_of_uid(wanted: str, uids: Sequence[str]) -> list[str]:
    """Return the uids that begin or end with `wanted`; dashes do not count.

    Four characters at least, and eight if they are all digits: what is shorter is meant as a label.

    Examples
    --------
    >>> by_part_of_uid("0f3a", ["01997a1c-0001-7000-8000-0000ab120f3a", "01997a1c-0002-7000-8000-0000ab12ffff"])
    ['01997a1c-0001-7000-8000-0000ab120f3a']
    """
    part = wanted.replace("-", "").lower()
    if len(part) < (8 if part.isdigit() else 4) or part.strip("0123456789abcdef"):
        return [uid for uid in uids if uid == wanted]
    plain = [(uid, uid.replace("-", "").lower()) for uid in uids]
    return [uid for uid, text in plain if text.startswith(part) or text.endswith(part)]


def not_found(store: str, run: Any, labels: Sequence[Any], because: str = "", binned: bool = False) -> RunNotFoundError:
    """Return the error for a run that is not there (with `binned`: not in the bin): it says which are."""
    known = [str(label) for label in labels]
    close = suggest(run, known)
    shown = known if len(known) <= 12 else [*known[:4], f"... ({len(known) - 8} more)", *known[-4:]]
    lines = [because or f"{'the bin of ' if binned else ''}{store} holds no run {str(run)!r}."]
    if close:
        lines.append(f"  did you mean:  {close}")
    none = "none: the bin is empty" if binned else "none: the store is empty"
    lines.append(f"  {'in the bin:  ' if binned else 'labels:      '}  {', '.join(shown) or none}")
    lines.append("  also possible: a beginning or end of a uid, latest, -1")
    error = RunNotFoundError("\n".join(lines), print_traceback=False)
    error.run, error.store, error.labels = run, store, known  # type: ignore[attr-defined]
    return error
