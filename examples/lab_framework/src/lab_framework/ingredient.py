"""The lab's ingredients: parts of an experiment that come with defaults, captured functions and commands."""

from __future__ import annotations

import csv
import os
from typing import Any, ClassVar

from capture import Ingredient


class LabIngredient(Ingredient):
    """An ingredient whose subclasses state their defaults as a class attribute."""

    defaults: ClassVar[dict[str, Any]] = {}

    def __init__(self, path: str, ingredients: Any = (), **options: Any) -> None:
        super().__init__(path, ingredients, **options)
        if self.defaults:
            self.add_config(dict(self.defaults))


class DatasetIngredient(LabIngredient):
    """A table of numbers from the lab's data folder; the file is recorded with each run that loads it.

    Attributes
    ----------
    load : captured function
        ``load() -> list of dict``: the rows.
    """

    defaults: ClassVar[dict[str, Any]] = {
        "folder": os.environ.get("LAB_DATA", "data"),
        "file": "line.csv",
    }

    def __init__(self, path: str = "dataset", **options: Any) -> None:
        super().__init__(path, **options)
        self.load = self.capture(load)
        self.command(head, unobserved=True)


def load(folder: str, file: str, _run: Any) -> list[dict[str, float]]:
    """Read the table, and record the file that it lies in."""
    with _run.open_resource(os.path.join(folder, file), newline="") as stream:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]


def head(folder: str, file: str) -> None:
    """Print the first lines of the table."""
    with open(os.path.join(folder, file), encoding="utf-8") as stream:
        for _ in range(5):
            print(next(stream, "").rstrip("\n"))
