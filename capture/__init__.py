"""Turn a decorated script into a recorded run."""

from capture._version import __version__
