"""What the folder of a run has lost, as far as what is left of it tells: files that are away, or were cut off.

``capture.json`` says how many bytes of measurements and of output had been written when it was. More may have come
since; fewer are there only where something was lost. Nothing is claimed that a run which goes on, a writer that was
killed, or a record of Sacred's could look like.
"""

from __future__ import annotations

import os

from capture.observers._pieces import PIECES
from capture.observers._run_folder import EXTENSION, FILES, METRICS, OUTPUT
from capture.records import Loss
from capture.wording import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_GOING_ON = ("QUEUED", "RUNNING")
_OURS, _SACREDS = "experiment-capture", "sacred"  #: packages that a record lists among its dependencies


def losses(folder: str, run: Any, capture: Any, is_noted: Callable[[], bool] = lambda: False) -> list[Loss]:
    """Return what a run's folder has lost.

    Parameters
    ----------
    folder : str
    run, capture : dict or None
        Its ``run.json`` and ``capture.json``, which were read before the other files are looked at: those only grow.
    is_noted : callable
        Says whether the store has noted that a run of this library lies in the folder.

    Returns
    -------
    list of Loss
    """
    run = run if isinstance(run, dict) else {}
    status = run.get("status")
    is_over = isinstance(status, str) and status not in _GOING_ON
    if lacks_extension(capture):
        # Where a run begins, the one is written before the other: between the two nothing is lost.
        if not is_over or not is_ours(folder, run, is_noted):
            return []
        text = f"{EXTENSION} is missing: with it tags, notes, facts and the digests of files are lost"
        if capture:
            text = f"{EXTENSION} was missing, and has been made anew: facts and the digests of files are lost"
        lost = [Loss("record", EXTENSION, text, remedy=_from_backup(EXTENSION))]
        return [*lost, *_stream(folder, "output", OUTPUT, 0, must_exist="start_time" in run)]
    if not isinstance(capture, dict) or capture.get("layout") == "sacred":
        return []
    found = []
    times = capture.get("times")
    if isinstance(times, dict) and times:
        if not os.path.exists(os.path.join(folder, FILES["config"])):
            config = FILES["config"]
            text = f"{config} is missing: the configuration is lost"
            found.append(Loss("record", config, text, remedy=_from_backup(config)))
        output, metrics = _written(capture, is_over)
        found += _stream(folder, "output", OUTPUT, output, "started" in times and "pieces" not in capture)
        found += _stream(folder, "metrics", METRICS, metrics, must_exist=False)
    return found


def _written(capture: dict[str, Any], is_over: bool) -> tuple[int, int]:
    """Return the bytes of output and of measurements that had surely been written when ``capture.json`` was."""
    pieces = capture.get("pieces")
    if isinstance(pieces, dict):  # a copy from a store that cannot append: they are files when the run is over
        sizes = pieces.get("bytes") if pieces.get("done") else None
        known = sizes if isinstance(sizes, dict) else {}
        return _number(known.get(OUTPUT)), _number(known.get(METRICS))
    by_writer = capture.get("metrics_bytes")
    metrics = max(map(_number, by_writer.values()), default=0) if isinstance(by_writer, dict) else 0
    return _number(capture.get("output_bytes")) if is_over else 0, metrics


def _number(value: Any) -> int:
    return value if type(value) is int else 0


def lacks_extension(capture: Any) -> bool:
    """Say whether there is no ``capture.json``, or one that was made for a record that had none."""
    return not isinstance(capture, dict) or (capture.get("layout") == "sacred" and not capture.get("uid"))


def is_ours(folder: str, run: dict[str, Any], is_noted: Callable[[], bool]) -> bool:
    """Say whether this library wrote a record, by what is left of it without ``capture.json``."""
    if any(os.path.exists(os.path.join(folder, name)) for name in (METRICS, PIECES)):
        return True  # which Sacred never writes
    experiment = run.get("experiment")
    listed = experiment.get("dependencies") if isinstance(experiment, dict) else None
    names = {str(each).partition("==")[0] for each in listed} if isinstance(listed, list) else set()
    if _SACREDS in names:  # it may have taken a number again whose run was deleted
        return False
    return _OURS in names or is_noted()


def _stream(folder: str, kind: str, name: str, expected: int, must_exist: bool) -> list[Loss]:
    """Return what is lost of a file that had so many bytes."""
    size: int | None = None
    try:
        found = os.stat(os.path.join(folder, name)).st_size
    except (FileNotFoundError, NotADirectoryError):
        if not must_exist and not expected:
            return []
        text = f"{name} is missing" + (f", of which {counted(expected, 'byte')} had been written" if expected else "")
    else:
        if found >= expected:
            return []
        size = found
        text = f"{name} was cut off: it has {size:,} of the {counted(expected, 'byte')} that had been written"
    points = _points_elsewhere(folder) if kind == "metrics" else 0
    if points:
        text += f"; metrics.json has the {counted(points, 'point')} that {'is' if points == 1 else 'are'} lost"
    remedy = "capture doctor --fix brings the points back from metrics.json" if points else _from_backup(name)
    return [Loss(kind, name, text, expected or None, size, remedy)]


def _points_elsewhere(folder: str) -> int:
    """Return how many of the points that are lost stand in Sacred's form of the measurements."""
    from capture.observers._lost_measurements import lost_points

    return lost_points(folder) or 0


def _from_backup(name: str) -> str:
    return f"bring {name} back from a backup"
