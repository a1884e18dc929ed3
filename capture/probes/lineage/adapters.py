"""Libraries that open files past Python: functions of theirs are wrapped, so that they tell which files.

Only functions of a fixed table (`readers`), in versions that the tests have seen; of any other version nothing is
touched, and `coverage` says so. A library is wrapped when it has been imported, or at once if it was before. The
wrappers stay; while no run is watched they only pass on.
"""

from __future__ import annotations

import sys

from capture.probes.lineage.imported import after_import

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The modules whose functions are wrapped; `readers.TABLE` says which. Here, since this list is all that a run needs
#: that imports none of them.
MODULES = (
    "h5py",
    "netCDF4",
    *("pyarrow", "pyarrow.parquet", "pyarrow.csv", "pyarrow.json", "pyarrow.feather", "pyarrow.dataset"),
    *("pyarrow.ipc", "pyarrow.orc"),
    "polars",
    "duckdb",
    "cv2",
    *("safetensors", "safetensors.numpy", "safetensors.torch"),
    "lmdb",
    "soundfile",
    *("torch", "torch.jit"),
)


def attach() -> None:
    """Wrap what is imported, and the rest as it is imported. Doing it again is harmless."""
    for name in MODULES:
        after_import(name, _wrap)


def coverage() -> list[str]:
    """Say what the libraries that are imported did or do unseen, one sentence for each; empty if none is imported."""
    return _readers().coverage() if _any_imported() else []


def limits() -> list[str]:
    """Say what the libraries that are imported could do unseen, in a few words for each; empty if none is imported."""
    return _readers().limits() if _any_imported() else []


def _any_imported() -> bool:
    return any(name in sys.modules for name in MODULES)


def _readers() -> Any:
    from capture.probes.lineage import readers

    return readers


def _wrap(module: Any) -> None:
    from capture.probes.lineage import readers

    readers.wrap(module)
