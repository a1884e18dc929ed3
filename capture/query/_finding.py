"""One thing that `capture doctor` has looked at."""

from __future__ import annotations

LEVELS = ("ok", "note", "warning", "problem")  #: from well to bad


class Finding:
    """Something that was looked at.

    Attributes
    ----------
    level : str
        One of `LEVELS`: "note" is worth knowing, "warning" may cost something, "problem" has to be mended.
    text : str
    remedy : str
        What to do; "" if nothing is to be done.
    area : str
        "installation", "state" or "store"; "" until `capture.query.health` says it.
    """

    __slots__ = ("area", "level", "remedy", "text")

    def __init__(self, level: str, text: str, remedy: str = "", area: str = "") -> None:
        self.level, self.text, self.remedy, self.area = level, text, remedy, area

    def to_dict(self) -> dict[str, str]:
        """Return the attributes as plain data."""
        return {name: getattr(self, name) for name in ("level", "area", "text", "remedy")}

    def __repr__(self) -> str:
        return f"Finding({self.level!r}, {self.text!r}, {self.remedy!r}, {self.area!r})"
