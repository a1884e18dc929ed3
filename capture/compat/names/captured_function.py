"""``sacred.config.captured_function``."""

from __future__ import annotations

from capture.inject import capture_function as _capture_function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def create_captured_function(function: Any, prefix: str | None = None) -> Any:
    """Return `function` with its parameters filled from the configuration of the run that is live."""
    return _capture_function(function, prefix=prefix)


def captured_function(function: Any) -> Any:
    """Return `function`, captured."""
    return create_captured_function(function)
