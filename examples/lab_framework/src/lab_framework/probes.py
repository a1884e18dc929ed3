"""Facts about the lab's machines. What a probe cannot see it says, with the reason."""

from __future__ import annotations

import os
import shutil
from typing import Any

from capture import Probe, Unavailable


class ScratchSpace(Probe):
    """How full the scratch disk is: runs that die on a full disk are understood later."""

    name = "lab_scratch"
    timeout_s = 5.0  #: a network disk may take its time; the run does not wait for it

    def gather(self) -> Any:
        """Return folder, total and free space."""
        folder = os.environ.get("LAB_SCRATCH")
        if not folder:
            return Unavailable("LAB_SCRATCH is not set")
        usage = shutil.disk_usage(folder)
        return {"folder": folder, "total_gib": round(usage.total / 2**30, 1), "free_gib": round(usage.free / 2**30, 1)}


def loaded_modules() -> Any:
    """Return what ``module load`` has put into the environment."""
    loaded = os.environ.get("LOADEDMODULES")
    if loaded is None:
        return Unavailable("there is no module system here")
    return [name for name in loaded.split(":") if name]
