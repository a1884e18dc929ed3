"""Finding runs in a store that cannot search: by label, uid, age, or values at dotted paths."""

from __future__ import annotations

from capture.errors import RunNotFoundError, suggest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_MISSING = object()


def matches(record: Any, where: Mapping[str, Any]) -> bool:
    """Say whether a record has exactly these values, by dotted path; a path that leads nowhere matches nothing.

    Examples
    --------
    >>> from capture.records import RunRecord
    >>> record = RunRecord()
    >>> record.config = {"optimizer": {"lr": 0.1}}
    >>> matches(record, {"config.optimizer.lr": 0.1}), matches(record, {"config.epochs": 3})
    (True, False)
    """
    return all(_equal(lookup(record, path), wanted) for path, wanted in where.items())


def lookup(record: Any, path: str) -> Any:
    """Return the value at a dotted path of a record; keys may hold dots themselves."""
    name, _, rest = path.partition(".")
    value = getattr(record, name, _MISSING) if not name.startswith("_") else _MISSING
    return _descend(value, rest) if rest else value


def _descend(value: Any, path: str) -> Any:
    if isinstance(value, dict):
        if path in value:
            return value[path]
        end = path.find(".")
        while end >= 0:
            if path[:end] in value:
                found = _descend(value[path[:end]], path[end + 1 :])
                if found is not _MISSING:
                    return found
            end = path.find(".", end + 1)
    elif isinstance(value, (list, tuple)):
        index, _, rest = path.partition(".")
        if index.isdigit() and int(index) < len(value):
            return _descend(value[int(index)], rest) if rest else value[int(index)]
    return _MISSING


def _equal(value: Any, wanted: Any) -> bool:
    if value is _MISSING:
        return False
    same = value == wanted
    if type(same) is not bool:  # arrays compare element by element
        same = getattr(value, "shape", None) == getattr(wanted, "shape", None) and bool(same.all())
    return same


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


def not_found(store: str, run: Any, labels: Sequence[Any], because: str = "") -> RunNotFoundError:
    """Return the error for a run that is not there: it says which are."""
    known = [str(label) for label in labels]
    close = suggest(run, known)
    shown = known if len(known) <= 12 else [*known[:4], f"... ({len(known) - 8} more)", *known[-4:]]
    lines = [because or f"{store} holds no run {str(run)!r}."]
    if close:
        lines.append(f"  did you mean:  {close}")
    lines.append(f"  labels:        {', '.join(shown) or 'none: the store is empty'}")
    lines.append("  also possible: a beginning or end of a uid, latest, -1")
    error = RunNotFoundError("\n".join(lines), print_traceback=False)
    error.run, error.store, error.labels = run, store, known  # type: ignore[attr-defined]
    return error
