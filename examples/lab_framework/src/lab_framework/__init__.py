"""What a lab adds to `capture`: defaults for every experiment, a portal that shows all runs, and facts of its machines.

It is an example of a package that an organisation keeps to itself. Nothing here is registered in `capture`: observer
and probes are found through the entry points in ``pyproject.toml``.
"""

from lab_framework.experiment import LabExperiment
from lab_framework.ingredient import DatasetIngredient, LabIngredient
from lab_framework.portal import PortalObserver, PortalReader

__all__ = ["DatasetIngredient", "LabExperiment", "LabIngredient", "PortalObserver", "PortalReader"]
