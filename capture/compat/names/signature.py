"""``sacred.config.signature``: what a function takes."""

from __future__ import annotations

from capture.signature import Signature as _Signature
from capture.signature import signature_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def get_argspec(f: Callable[..., Any]) -> tuple[list[str], str | None, str | None, list[str], dict[str, Any]]:
    """Return all parameters, the names of ``*args`` and ``**kwargs``, those without default by position, defaults."""
    import inspect

    names = {p.kind: p.name for p in inspect.signature(f).parameters.values()}
    signature = signature_of(f)
    return (
        list(signature.arguments),
        names.get(inspect.Parameter.VAR_POSITIONAL),
        names.get(inspect.Parameter.VAR_KEYWORD),
        [name for name in signature.positional if name not in signature.defaults],
        dict(signature.defaults),
    )


class Signature(_Signature):
    """The parameters of a function, read from it; see `capture.signature.Signature` for what captured functions have.

    Attributes
    ----------
    name : str
    vararg_name, kw_wildcard_name : str or None
        What ``*args`` and ``**kwargs`` are called.
    positional_args : list of str
    kwargs : dict
        Defaults by name.
    """

    def __init__(self, f: Callable[..., Any]) -> None:
        read = signature_of(f)
        super().__init__(**{name: getattr(read, name) for name in _Signature.__slots__})
        self.name = getattr(f, "__name__", type(f).__name__)
        _, self.vararg_name, self.kw_wildcard_name, self.positional_args, self.kwargs = get_argspec(f)

    def get_free_parameters(self, args: Any, kwargs: Any, bound: bool = False) -> list[str]:
        """Return the parameters that a call leaves open."""
        return [name for name in self.arguments[bool(bound) + len(args) :] if name not in kwargs]

    def __str__(self) -> str:
        defaults = [f"{name}={value!r}" for name, value in self.kwargs.items()]
        stars = [f"*{self.vararg_name}"] if self.vararg_name else []
        double = [f"**{self.kw_wildcard_name}"] if self.kw_wildcard_name else []
        return f"{self.name}({', '.join([*self.positional_args, *stars, *defaults, *double])})"
