"""Colours that everybody can tell apart and read, computed: an eye for colours is no test."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest

from capture.pages.looks import STYLE
from capture.pages.plots import COLOURS

#: what cones that are missing make of linear RGB; Machado, Oliveira, Fernandes (2009), severity 1
SIGHTS = {
    "all": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip


def scheme(place: int) -> dict[str, str]:
    """Return the colours of the light scheme, the dark one, and print."""
    block = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[place]
    return {name: value for name, value in re.findall(r"--(\w+):\s*(#\w+)", block)}


SCHEMES = {"light": scheme(0), "dark": scheme(1), "print": scheme(2)}


def linear(colour: str) -> np.ndarray:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    values = np.array([int(digits[place : place + 2], 16) for place in (0, 2, 4)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2 defines it."""
    low, high = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """Return a colour in CIELAB, where distances are those of perception, more or less."""
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = (np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in matrix @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("name", SCHEMES)
def test_text_can_be_read(name):
    """4.5 to 1 is what WCAG asks for, on the page and on the panes in it."""
    colours = SCHEMES[name]
    for ink in ("ink", "soft", "link", "good", "bad", "warn"):
        for ground in ("paper", "pane"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    for ground in ("added", "gone"):
        assert contrast(colours["ink"], colours[ground]) >= 4.5, ground


@pytest.mark.parametrize("name", SCHEMES)
def test_curves_can_be_seen(name):
    """3 to 1 for what is drawn."""
    for place in range(COLOURS):
        assert contrast(SCHEMES[name][f"c{place}"], SCHEMES[name]["paper"]) >= 3, place


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("name", SCHEMES)
def test_curves_are_told_apart_by_everybody(name, sight):
    """One man in twelve takes red for green; a distance of 2.3 can just be noticed, ten times that between thin lines."""
    colours = [lab(SIGHTS[sight] @ linear(SCHEMES[name][f"c{place}"])) for place in range(COLOURS)]
    assert min(np.linalg.norm(one - other) for one, other in combinations(colours, 2)) >= 23


def test_nothing_moves():
    """Some get sick of it: where there is no motion, nobody has to ask for less."""
    assert not re.search(r"transition|animation|@keyframes|scroll-behavior", STYLE)
