"""TensorFlow: the folders into which a run writes its summaries, under Sacred's name for it.

::

    from capture.stflow import LogFileWriter

    @ex.automain
    @LogFileWriter(ex)
    def main(_run):
        writer = tf.compat.v1.summary.FileWriter("/tmp/logs/1")

    # _run.info["tensorflow"]["logdirs"] == ["/tmp/logs/1"]

Importing this module does not import TensorFlow.
"""

from __future__ import annotations

import os
from contextlib import ContextDecorator
from functools import wraps
from threading import RLock

from capture.errors import CaptureError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from capture.experiment import Experiment

__all__ = ["LogFileWriter", "MissingTensorFlowError"]

_active: list[LogFileWriter] = []  # entered and not yet left, in order
_originals: dict[type, Any] = {}  # class: its own `__init__`, while it is wrapped
_lock = RLock()


class MissingTensorFlowError(CaptureError, ImportError):
    """TensorFlow, or the writer that is to be watched, is not there."""


class LogFileWriter(ContextDecorator):
    """Notes the folder of each `FileWriter` that is made within it: a context manager, and a decorator.

    The folders go to ``ex.info["tensorflow"]["logdirs"]``, in the order in which the writers are made. It sees
    ``tf.summary.FileWriter`` of TensorFlow 1, and ``tf.compat.v1.summary.FileWriter``.

    Parameters
    ----------
    experiment : Experiment
        Whose current run the folders belong to.

    Raises
    ------
    MissingTensorFlowError
        When it is entered and TensorFlow cannot be imported, or has no such writer.
    NoRunError
        When a writer is made and the experiment has no run.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment

    def __enter__(self) -> LogFileWriter:
        with _lock:
            if not _active:
                for writer_class in _writer_classes():
                    _originals[writer_class] = writer_class.__init__  # type: ignore[misc]
                    writer_class.__init__ = _noting(writer_class.__init__)  # type: ignore[misc]
            _active.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _lock:
            _active.remove(self)
            if not _active:
                for writer_class, original in _originals.items():
                    writer_class.__init__ = original  # type: ignore[misc]
                _originals.clear()


def _noting(make: Any) -> Any:
    @wraps(make)
    def make_and_note(self: Any, logdir: Any, *args: Any, **named: Any) -> None:
        make(self, logdir, *args, **named)
        folder = os.fspath(logdir)
        # Several may be entered for one experiment: by a decorated function that calls another, for instance.
        for experiment in {id(writer.experiment): writer.experiment for writer in list(_active)}.values():
            experiment.info.setdefault("tensorflow", {}).setdefault("logdirs", []).append(folder)

    return make_and_note


def _writer_classes() -> list[type]:
    """Return the classes that write event files, each once."""
    try:
        import tensorflow  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise MissingTensorFlowError(
            f"LogFileWriter notes the folders of TensorFlow's FileWriter, but tensorflow cannot be imported: {error}."
            " Install it (pip install tensorflow), or leave LogFileWriter out"
        ) from error
    modules = (tensorflow, getattr(getattr(tensorflow, "compat", None), "v1", None))
    writers = [getattr(getattr(module, "summary", None), "FileWriter", None) for module in modules]
    classes = list(dict.fromkeys(writer for writer in writers if isinstance(writer, type)))
    if not classes:
        raise MissingTensorFlowError(
            f"tensorflow {getattr(tensorflow, '__version__', '')} has neither tf.summary.FileWriter"
            " nor tf.compat.v1.summary.FileWriter, which LogFileWriter is for. Leave it out"
        )
    return classes
