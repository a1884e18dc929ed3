"""``sacred.__about__``: the version of Sacred whose names these are."""

from __future__ import annotations

__all__ = ["__author__", "__author_email__", "__url__", "__version__"]

__version__ = "0.8.7"
__author__ = "The capture developers"
__author_email__ = ""
__url__ = ""
