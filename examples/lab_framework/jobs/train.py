"""Fit a line to a table of points by gradient descent."""

import os

from lab_framework import DatasetIngredient, LabExperiment

points = DatasetIngredient("points")
ex = LabExperiment(ingredients=[points], project="lines")


@points.config
def where():
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")


@ex.config
def defaults():
    lr = 0.1  # learning rate
    steps = 200


@ex.automain
def train(lr, steps, _run):
    """Return the mean squared error that is left."""
    rows = points.load()
    slope = intercept = 0.0
    for step in range(steps):
        errors = [slope * row["x"] + intercept - row["y"] for row in rows]
        slope -= lr * sum(error * row["x"] for error, row in zip(errors, rows)) / len(rows)
        intercept -= lr * sum(errors) / len(rows)
        loss = sum(error**2 for error in errors) / len(rows)
        _run.log_scalar("loss", loss, step)
    _run.info["line"] = {"slope": slope, "intercept": intercept}
    return loss
