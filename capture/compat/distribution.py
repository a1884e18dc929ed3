"""The distribution ``sacred``, as `importlib.metadata` shows it to packages that ask for its version."""

from __future__ import annotations

from importlib.metadata import Distribution

from capture._version import __version__
from capture.compat.names.about import __version__ as sacred_version

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import NoReturn


class SacredDistribution(Distribution):
    """Says which version of Sacred has these names, and who provides them. It has no files."""

    def read_text(self, filename: str | os.PathLike[str]) -> str | None:
        if filename not in ("METADATA", "PKG-INFO"):
            return None
        return (
            f"Metadata-Version: 2.1\nName: sacred\nVersion: {sacred_version}\n"
            f"Summary: The names of Sacred {sacred_version}, provided by experiment-capture {__version__}\n"
        )

    def locate_file(self, path: str | os.PathLike[str]) -> NoReturn:
        raise FileNotFoundError(f"the distribution sacred is made by capture.compat and has no file {path}")
