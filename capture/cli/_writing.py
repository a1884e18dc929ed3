"""Files that a command writes where it is told to: whole or not at all, and over nothing that it is not told to."""

from __future__ import annotations

import os

from capture.errors import CommandLineError


def check_target(path: str, force: bool, otherwise: str) -> None:
    """Say what is in the way before the work is done.

    Parameters
    ----------
    path : str
    force : bool
        Whether a file that is there may be overwritten.
    otherwise : str
        The option that names another file.

    Raises
    ------
    CommandLineError
    """
    if os.path.isdir(path):
        raise CommandLineError(f"{path} is a folder: name a file in it")
    if os.path.lexists(path) and not force:
        raise CommandLineError(
            f"{path} is there already\n  what to do:  --force overwrites it, {otherwise} names another"
        )


def write_whole(path: str, data: bytes, force: bool, otherwise: str) -> None:
    """Write a file in one step: who opens it meanwhile sees the old one or the new one, never half of it.

    The parameters are those of `check_target`, which is asked again: somebody may have made the file meanwhile.
    """
    beside = f"{path}.{os.getpid()}.part"
    try:
        with open(beside, "xb") as stream:
            stream.write(data)
        check_target(path, force, otherwise)
        os.replace(beside, path)
    except OSError as error:
        raise CommandLineError(f"{path} cannot be written: {_reason(path, error)}") from error
    finally:
        if os.path.lexists(beside):
            os.remove(beside)


def _reason(path: str, error: OSError) -> str:
    """Say why a file cannot be written; not of which name that was tried, which nobody has asked for."""
    folder = os.path.dirname(path) or "."
    if isinstance(error, FileNotFoundError) and not os.path.isdir(folder):
        return f"there is no folder {folder}"
    return error.strerror or str(error)
