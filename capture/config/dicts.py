"""Config dicts: entries given as a plain dict, or read from a file."""

from __future__ import annotations

from capture.config.origin import Origin
from capture.config.overrides import Overrides, fill_in, settle
from capture.config.summary import ConfigSummary
from capture.config.values import DEFAULT_RULES, KeyRules, clone, normalize
from capture.errors import ConfigTypeError, InvalidConfigKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class ConfigDict:
    """A config source made of a dict.

    Parameters
    ----------
    entries : mapping
        Copied; what happens to it later changes nothing here.
    origin : Origin, optional
        The file it was read from, for example.
    rules : KeyRules
        What its keys may be, at any depth.

    Attributes
    ----------
    origin : Origin
    docs : dict of str to str
        Empty.

    Raises
    ------
    InvalidConfigKey
        If a key is against the rules.
    ConfigTypeError
        If `entries` is no mapping, or a value contains itself.

    Examples
    --------
    >>> source = ConfigDict({"model": {"width": 8, "depth": 2}})
    >>> source({"model": {"width": 16}})
    {'model': {'width': 16, 'depth': 2}}
    """

    def __init__(
        self, entries: Mapping[str, Any], origin: Origin | None = None, rules: KeyRules = DEFAULT_RULES
    ) -> None:
        self.origin = origin or Origin("config dict")
        if not hasattr(entries, "items"):
            raise ConfigTypeError("", f"the {self.origin} is a {type(entries).__name__}, not a dict")
        self.docs: dict[str, str] = {}
        try:
            self._entries: dict[str, Any] = normalize(dict(entries), "", rules)
        except (InvalidConfigKey, ConfigTypeError) as error:
            if self.origin.file is not None:  # the traceback does not show in which file it is
                error.args = (f"{self.origin}: {error}",)
            raise

    def __call__(
        self,
        fixed: Mapping[str, Any] | None = None,
        preset: Mapping[str, Any] | None = None,
        fallback: Mapping[str, Any] | None = None,
    ) -> ConfigSummary:
        """Return the entries under what is `fixed` and over what is `preset`; dicts are merged.

        Parameters
        ----------
        fixed, preset : mapping, optional
        fallback : mapping, optional
            Entries of others, which a dict cannot read: ignored.
        """
        fixed = fixed or {}
        overrides = Overrides(fixed)
        values: dict[Any, Any] = {}
        for name, value in self._entries.items():
            if name in fixed:
                overrides.impose(str(name), value, fixed[name])
                values[name] = settle(value, fixed[name])
            else:
                values[name] = value
        values.update((name, value) for name, value in fixed.items() if name not in values)
        fill_in(values, preset or {})
        return ConfigSummary(
            added=overrides.added(),
            modified=overrides.modified,
            typechanged=overrides.typechanged,
            defaults=overrides.defaults,
            values=clone(values),
        )

    def __repr__(self) -> str:
        return f"<{self.origin}>"
