"""Versions of packages, compared as versions: 1.10 is newer than 1.9, and 2.0 is 2.0.0."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PATTERN = (
    r"v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)"
    r"(?:[-_.]?(?P<pre>a|b|c|rc|alpha|beta|pre|preview)[-_.]?(?P<pre_number>\d*))?"
    r"(?P<post>-(?P<post_short>\d+)|[-_.]?(?:post|rev|r)[-_.]?(?P<post_number>\d*))?"
    r"(?P<dev>[-_.]?dev[-_.]?(?P<dev_number>\d*))?"
    r"(?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?"
)
_STAGES = {"a": 0, "alpha": 0, "b": 1, "beta": 1, "c": 2, "rc": 2, "pre": 2, "preview": 2}
_LAST = 9  #: after all stages


class Version(str):
    """A version, as text that compares with other texts as versions do.

    As a value in a condition it is given to the same comparisons as any other: Python asks a subclass of `str` first,
    whichever side it stands on. A ``+local`` part counts only if both have one: 2.1.0+cu118 is a 2.1.0.

    Examples
    --------
    >>> Version("1.10") > "1.9", "2.0rc1" < Version("2.0"), Version("2.1.0") == "2.1.0+cu118", Version("2") == "2.0.0"
    (True, True, True, True)
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self._order(other) == 0

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: str) -> bool:
        return self._order(other) < 0

    def __le__(self, other: str) -> bool:
        return self._order(other) <= 0

    def __gt__(self, other: str) -> bool:
        return self._order(other) > 0

    def __ge__(self, other: str) -> bool:
        return self._order(other) >= 0

    def __hash__(self) -> int:
        return hash(key(self)[0])

    def _order(self, other: Any) -> int:
        if not isinstance(other, str):
            raise TypeError(f"a version cannot be compared with {other!r}")
        (mine, my_local), (theirs, their_local) = key(str(self)), key(str(other))
        if mine == theirs and my_local and their_local:
            mine, theirs = my_local, their_local
        return (mine > theirs) - (mine < theirs)


def key(text: str) -> tuple[Any, Any]:
    """Return what sorts versions as PEP 440 does, and what sorts those that differ in their ``+local`` part only.

    What is no version at all comes before all that are, sorted as text.
    """
    import re

    match = re.fullmatch(_PATTERN, text.strip().lower()) if len(text) <= 200 else None
    if match is None:
        return (0, text), ()
    release = [int(part) for part in match["release"].split(".")]
    while len(release) > 1 and release[-1] == 0:
        release.pop()
    is_dev_only = match["dev"] is not None and match["pre"] is None and match["post"] is None
    stage = -1 if is_dev_only else _LAST if match["pre"] is None else _STAGES[match["pre"]]
    post = -1 if match["post"] is None else int(match["post_short"] or match["post_number"] or 0)
    dev = int(match["dev_number"] or 0) if match["dev"] is not None else float("inf")
    local = [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split("[-_.]", match["local"] or "")]
    main = (1, int(match["epoch"] or 0), tuple(release), (stage, int(match["pre_number"] or 0)), post, dev)
    return main, tuple(local) if match["local"] else ()


def package_name(name: str) -> str:
    """Return the name of a package as indexes compare it: ``Scikit_Learn`` is ``scikit-learn``.

    Examples
    --------
    >>> package_name("Scikit_Learn"), package_name("ruamel.yaml")
    ('scikit-learn', 'ruamel-yaml')
    """
    parts = [part for part in name.lower().replace("_", "-").replace(".", "-").split("-") if part]
    return "-".join(parts)
