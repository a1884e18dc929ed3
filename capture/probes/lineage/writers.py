"""TensorBoard's writers: into which folders the `SummaryWriter` of torch and of tensorboardX write their logs."""

from __future__ import annotations

import os

from capture.probes.lineage.imported import after_import

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    OnLogdir = Callable[[str, str], None]

#: Module with a class `SummaryWriter`: its framework, and the attribute that holds the folder.
WRITERS = {
    "torch.utils.tensorboard.writer": ("torch", "log_dir"),
    "tensorboardX.writer": ("tensorboardX", "logdir"),
}

_on_logdir: OnLogdir | None = None


def attach(on_logdir: OnLogdir) -> None:
    """Have a function called with each writer that is made from now on; it takes the place of an earlier one.

    Parameters
    ----------
    on_logdir : callable
        Called with the framework, "torch" or "tensorboardX", and the absolute path of the folder, in the thread that
        made the writer. What it raises is logged.
    """
    global _on_logdir
    _on_logdir = on_logdir
    for name in WRITERS:
        after_import(name, _wrap)


def detach() -> None:
    """Call nobody from now on. The writers stay wrapped, and only do their work."""
    global _on_logdir
    _on_logdir = None


def _wrap(module: Any) -> None:
    from functools import wraps

    framework, attribute = WRITERS[module.__name__]
    writer_class = module.SummaryWriter
    make = writer_class.__init__
    if hasattr(make, "__capture_target__"):
        return

    @wraps(make)
    def make_and_tell(self: Any, *args: Any, **named: Any) -> None:
        make(self, *args, **named)
        if _on_logdir is not None and getattr(self, "_write_to_disk", True):
            _tell(_on_logdir, framework, getattr(self, attribute, None))

    make_and_tell.__capture_target__ = "SummaryWriter"  # type: ignore[attr-defined]
    writer_class.__init__ = make_and_tell


def _tell(on_logdir: OnLogdir, framework: str, folder: Any) -> None:
    try:
        on_logdir(framework, os.path.abspath(os.fsdecode(folder)))
    except Exception:  # a folder that is not noted must not cost the training
        import logging

        log = logging.getLogger("capture")
        log.warning("the log folder %r of %s was not recorded", folder, framework, exc_info=True)
