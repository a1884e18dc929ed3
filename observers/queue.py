# A hook may take a subset of its arguments: a rule that the type system does not know.
# mypy: disable-error-code="override"

"""Sacred's `QueueObserver`: a name that is kept, for work that is done elsewhere.

In Sacred it gathers events, hands them over in a thread of its own and tries again what fails. Here every observer has
such a thread, and its queue is the run's journal, which outlives the process (`capture.lane`). So it passes each event
on at once, as it is. `QueuedMongoObserver` is in `capture.observers.mongo`.
"""

from __future__ import annotations

import warnings

from capture.errors import ObserverError
from capture.hooks import HOOKS, RunObserver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_OWN = frozenset({"covered_observer", "_covered_observer", "interval", "retry_interval"})


class QueueObserver(RunObserver):
    """Passes all events on to another observer.

    It has exactly the hooks of that observer, and what it is asked besides is answered by that one.

    Parameters
    ----------
    covered_observer : object
        An observer of this library, or of Sacred's kind.
    interval, retry_interval : float
        Taken and not used: events go on at once, and how often one is tried again is the run's concern.

    Raises
    ------
    ObserverError
        If `covered_observer` is none.
    """

    def __init__(self, covered_observer: Any, interval: float = 20.0, retry_interval: float = 10.0) -> None:
        has_hooks = any(callable(getattr(covered_observer, hook, None)) for hook in HOOKS)
        if isinstance(covered_observer, type) or not has_hooks:
            raise ObserverError(
                f"QueueObserver passes events on to an observer, and {covered_observer!r} is none."
                "\n  to make one:  QueueObserver(MongoObserver(...))"
            )
        self._covered_observer = covered_observer
        self.interval, self.retry_interval = interval, retry_interval

    @classmethod
    def create(cls, *args: Any, **kwargs: Any) -> QueueObserver:
        """Make an observer (Sacred's old way)."""
        warnings.warn(
            f"{cls.__name__}.create(...) is deprecated: call {cls.__name__}(...)", DeprecationWarning, stacklevel=2
        )
        return cls(*args, **kwargs)

    def __getattribute__(self, name: str) -> Any:
        if name in HOOKS:  # those of the covered observer, and no others
            return getattr(object.__getattribute__(self, "_covered_observer"), name, None)
        if name in _ANSWERED:
            covered = object.__getattribute__(self, "_covered_observer")
            if hasattr(covered, name):
                return getattr(covered, name)
        return object.__getattribute__(self, name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in _OWN:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self._covered_observer, name)

    def __copy__(self) -> QueueObserver:
        """Copy the covered observer, too: runs that go on at once get an observer each."""
        from copy import copy

        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__)
        new._covered_observer = copy(self._covered_observer)
        return new

    def __eq__(self, other: object) -> bool:
        return bool(self._covered_observer == (other._covered_observer if isinstance(other, QueueObserver) else other))

    def __hash__(self) -> int:
        return hash(self._covered_observer)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._covered_observer!r})"


#: what the covered observer is asked though `RunObserver` has an answer, too
_ANSWERED = frozenset({"priority", "supports", "replay", "lane", "required", "identity", "transient"})
