"""A process that dies at one of its steps."""

from __future__ import annotations


class Death(BaseException):
    """The process ends here; nothing catches it."""


def die_at(step, patch, where, *names):
    """Let the call number `step` of those functions of `where` that are named, counted together, be the last."""
    calls = iter(range(1, step))

    def dying(original):
        def call(*args, **kwargs):
            if next(calls, None) is None:
                raise Death
            return original(*args, **kwargs)

        return call

    for name in names:
        patch.setattr(where, name, dying(getattr(where, name)))
