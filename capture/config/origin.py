"""Where config values come from: what kind of source, its name, its place in a file."""

from __future__ import annotations

import os


class Origin:
    """Names one source of config values; immutable, compared by value, and printed as a person would say it.

    Parameters
    ----------
    kind : str
        "config scope", "config dict", "config file", "command line", ...
    name : str
        What tells it from others of its kind: a function's name, a path.
    file : str, optional
        The file that it stands in.
    line : int, optional
        The line there, counted from 1.

    Examples
    --------
    >>> str(Origin("config scope", "defaults", "/home/me/train.py", 12))
    'config scope defaults (train.py:12)'
    """

    __slots__ = ("file", "kind", "line", "name")

    kind: str
    name: str
    file: str | None
    line: int | None

    def __init__(self, kind: str, name: str = "", file: str | None = None, line: int | None = None) -> None:
        set_once = object.__setattr__
        set_once(self, "kind", kind)
        set_once(self, "name", name)
        set_once(self, "file", file)
        set_once(self, "line", line)

    def at(self, line: int | None) -> Origin:
        """Return the same origin at another line of its file; the same one if `line` is None."""
        return self if line is None else Origin(self.kind, self.name, self.file, line)

    def __setattr__(self, name: str, value: object = None) -> None:
        raise AttributeError(f"an Origin is immutable: {name!r} cannot change")

    __delattr__ = __setattr__

    def _facts(self) -> tuple[str, str, str | None, int | None]:
        return (self.kind, self.name, self.file, self.line)

    def __reduce__(self) -> tuple[type[Origin], tuple[str, str, str | None, int | None]]:
        return (Origin, self._facts())

    def __eq__(self, other: object) -> bool:
        return self._facts() == other._facts() if isinstance(other, Origin) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._facts())

    def __repr__(self) -> str:
        return f"Origin({', '.join(repr(fact) for fact in self._facts())})"

    def __str__(self) -> str:
        words = f"{self.kind} {self.name}" if self.name else self.kind
        if self.file is None or self.file == self.name:
            return words if self.line is None else f"{words}:{self.line}"
        place = os.path.basename(self.file)
        return f"{words} ({place})" if self.line is None else f"{words} ({place}:{self.line})"
