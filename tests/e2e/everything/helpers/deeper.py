"""Imported by a module that is imported by a module."""


def text():
    """Import what is needed at the last moment, and forget it."""
    import sys

    import forgotten

    del sys.modules["forgotten"]
    return forgotten.TEXT
