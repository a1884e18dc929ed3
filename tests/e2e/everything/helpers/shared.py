"""Imports at the top what the experiment never names."""

from helpers import deeper


def write(path):
    """Write one of the outputs."""
    with open(path, "w") as file:
        file.write(deeper.text())
