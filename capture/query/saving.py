"""Writing a stored file to disk: it is there whole, with the bytes that were recorded, or not at all."""

from __future__ import annotations

import os

from capture.errors import CaptureError, RecordError
from capture.query.verifying import Digests, chunks, is_lost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Any

    from capture.query.files import RunFile


class SavedAlreadyError(CaptureError, FileExistsError):
    """A file that is to be saved is there already."""

    def __init__(self, path: str) -> None:
        self.path = path
        todo = "choose another name, or replace it (overwrite=True, capture get --force)"
        super().__init__(f"{path} exists already\n  what to do:  {todo}", print_traceback=False)

    def __reduce__(self) -> Any:
        return type(self), (self.path,)


class FetchError(CaptureError, OSError):
    """A file that cannot be written where it should go.

    Attributes
    ----------
    path : str
    """

    def __init__(self, path: str, problem: str, remedy: str = "") -> None:
        self.path, self.problem, self.remedy = path, problem, remedy
        hint = f"\n  what to do:  {remedy}" if remedy else ""
        super().__init__(f"{path} {problem}{hint}", print_traceback=False)

    def __reduce__(self) -> Any:
        return type(self), (self.path, self.problem, self.remedy)


def describe(file: RunFile) -> str:
    """Return a file's kind, name and the beginning of its digest, for a message."""
    return f"{file.kind}: {file.name}" + (f" ({file.digest[:12]})" if file.digest else "")


def is_there(file: RunFile, path: str) -> bool:
    """Say whether a file on the disk, no symbolic link, has the very bytes that were recorded of a stored one."""
    digests = Digests(file)
    if digests.expected is None or os.path.islink(path) or not os.path.isfile(path):
        return False
    if file.size is not None and os.stat(path).st_size != file.size:
        return False
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            digests.update(chunk)
    return digests.problem(file.kind) is None


def fetch(file: RunFile, path: str, overwrite: bool = False) -> None:
    """Write a file to a path; it is there whole, with the bytes that were recorded, or not at all.

    Raises
    ------
    SavedAlreadyError
        If something is there, unless `overwrite`.
    FetchError
        If it cannot be written.
    RecordError
        If the stored bytes are missing, cannot be read, or are not those that were recorded.
    ConnectionError, TimeoutError
        If the store went away.
    """
    above = os.path.dirname(os.path.abspath(path))
    new = os.path.join(above, f".capture-{os.urandom(8).hex()}")
    try:
        os.makedirs(above, exist_ok=True)
        with open(new, "xb") as sink:
            copy_to(file, sink)
        if overwrite:
            os.replace(new, path)
        else:
            _give_new_name(new, path)
    except OSError as error:
        if isinstance(error, CaptureError) or is_lost(error):
            raise
        raise FetchError(path, f"cannot be written: {error.strerror or error}") from error
    finally:
        if os.path.lexists(new):
            os.unlink(new)


def copy_to(file: RunFile, sink: IO[bytes]) -> None:
    """Write the bytes of a stored file; in the end a RecordError if they are not those that were recorded."""
    digests = Digests(file)
    for chunk in _stored(file):
        digests.update(chunk)
        sink.write(chunk)
    problem = digests.problem(file.kind)
    if problem is not None:
        text = f"{describe(file)} is not what was recorded: {problem.text}"
        remedy = "capture verify says what else is damaged; in Python, read() gives the bytes as they are"
        raise RecordError(f"{text}\n  what to do:  {remedy}", print_traceback=False)


def _stored(file: RunFile) -> Iterator[bytes]:
    """Yield the bytes of a stored file; what is damaged in the store is not taken for trouble with what is written."""
    try:
        yield from chunks(file)
    except FileNotFoundError as error:
        raise RecordError(f"the store has no bytes of {describe(file)}: {error}", print_traceback=False) from error
    except Exception as error:  # whatever a driver raises over damaged data
        if isinstance(error, CaptureError) or is_lost(error):
            raise
        text = f"the bytes of {describe(file)} cannot be read: {type(error).__name__}: {error}"
        raise RecordError(text, print_traceback=False) from error


def _give_new_name(new: str, path: str) -> None:
    """Give a finished file its name, unless something has taken it meanwhile."""
    try:
        os.link(new, path)
    except FileExistsError:
        raise SavedAlreadyError(path) from None
    except OSError:  # no hard links there
        if os.path.lexists(path):
            raise SavedAlreadyError(path) from None
        os.rename(new, path)
