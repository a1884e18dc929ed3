"""Imported, used, and taken out of sys.modules again."""

TEXT = "shared"
