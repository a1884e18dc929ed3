"""Found in place of Sacred by a Python whose PYTHONPATH names this folder; `capture.compat` takes its place at once."""

from __future__ import annotations

if __name__ == "sacred":
    import sys
    from importlib import import_module

    from capture.compat import install_as_sacred

    del sys.modules["sacred"]
    install_as_sacred()
    import_module("sacred")
