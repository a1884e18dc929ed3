"""Where an export is written: a folder, or a zip file with the same in it. It is there whole, or not at all."""

from __future__ import annotations

import os

from capture.errors import CaptureError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from capture.records import StoredFile

_CHUNK = 1 << 20  #: bytes that are copied at once


class ExportError(CaptureError, OSError):
    """An export cannot be written.

    Attributes
    ----------
    target : str
    """

    def __init__(self, target: str, message: str) -> None:
        super().__init__(message)
        self.target, self.message = target, message

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> Any:
        return type(self), (self.target, self.message)


class Written:
    """A file of an export.

    Attributes
    ----------
    path : str
        Within the export, with "/".
    size : int
        Bytes.
    digest : str
        SHA-256, hexadecimal.
    """

    __slots__ = ("digest", "path", "size")

    def __init__(self, path: str, size: int, digest: str) -> None:
        self.path, self.size, self.digest = path, size, digest


class DamagedError(CaptureError):
    """The stored bytes of a file are not those that the run recorded."""


class Target:
    """A folder or, if its name ends in ``.zip``, a zip file; a context manager.

    It is written under another name beside the final one, which it gets when the context is left in peace.

    Parameters
    ----------
    path : str
        Nothing may be there, or an empty folder.

    Raises
    ------
    ExportError
        If something is there, or nothing can be written there.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self.is_zip = path.lower().endswith(".zip")
        self._check()
        above, name = os.path.split(self.path)
        self._draft = os.path.join(above, f".{name[:30]}-{os.urandom(6).hex()}")
        self._taken: dict[str, str] = {}
        self._zip: Any = None

    def _check(self) -> None:
        if os.path.lexists(self.path) and (self.is_zip or not os.path.isdir(self.path) or os.listdir(self.path)):
            raise ExportError(
                self.path,
                f"{self.path} exists already\n  what to do:  name another, or remove it before: nothing is overwritten",
            )

    def __enter__(self) -> Target:
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            if self.is_zip:
                import zipfile

                self._zip = zipfile.ZipFile(self._draft, "x", zipfile.ZIP_DEFLATED)
            else:
                os.mkdir(self._draft)
        except OSError as error:
            raise ExportError(self.path, f"{self.path} cannot be written: {error.strerror or error}") from error
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if self._zip is not None:
                self._zip.close()
            if kind is None:
                self._check()
                if not self.is_zip and os.path.isdir(self.path):
                    os.rmdir(self.path)
                os.rename(self._draft, self.path)
        finally:
            self._clear()

    def _clear(self) -> None:
        import shutil

        if os.path.isdir(self._draft):
            shutil.rmtree(self._draft, ignore_errors=True)
        elif os.path.exists(self._draft):
            os.unlink(self._draft)

    # ------------------------------------------------------------------------------------------------------- writing

    def place(self, folder: str, name: str, kind: str = "file") -> str:
        """Return a path for what is called so in a record: a harmless one, and one that nothing else has.

        Names that differ only in case count as one, as they do on Windows and macOS.

        Parameters
        ----------
        folder : str
            One that was placed, or "".
        name : str
        kind : {"file", "folder"}
        """
        from capture.query.files import safe_parts

        *above, last = [each for each in (*folder.split("/"), *safe_parts(name)) if each]
        above = self._passable(above)
        stem, ending = os.path.splitext(last)
        number = 1
        while "/".join((*above, last)).casefold() in self._taken:
            number += 1
            last = f"{stem}_{number}{ending}"
        self._taken["/".join((*above, last)).casefold()] = kind
        return "/".join((*above, last))

    def _passable(self, parts: list[str]) -> list[str]:
        """Return the folders above a path; one that is called as a file is gets another name."""
        passable: list[str] = []
        for part in parts:
            name, number = part, 1
            while self._taken.setdefault("/".join((*passable, name)).casefold(), "folder") == "file":
                number += 1
                name = f"{part}_{number}"
            passable.append(name)
        return passable

    def write(self, path: str, text: str) -> Written:
        """Write a text file in UTF-8."""
        return self.stream(path, iter([text.encode("utf-8", "backslashreplace")]))

    def copy(self, path: str, stored: StoredFile) -> Written:
        """Copy a stored file, piece by piece.

        Raises
        ------
        FileNotFoundError
            If the store has not the bytes.
        DamagedError
            If they are not those that were recorded. What was written of them is gone again.
        """
        with stored.open() as stream:
            return self.stream(path, iter(lambda: stream.read(_CHUNK), b""), stored.digest)

    def stream(self, path: str, pieces: Iterator[bytes], digest: str | None = None) -> Written:
        """Write bytes as they come; see `copy`."""
        import hashlib

        hashing, size = hashlib.sha256(), 0
        self._taken.setdefault(path.casefold(), "file")
        local = self._draft + ".part" if self.is_zip else os.path.join(self._draft, *path.split("/"))
        os.makedirs(os.path.dirname(local), exist_ok=True)
        try:
            with open(local, "xb") as file:
                for piece in pieces:
                    hashing.update(piece)
                    size += len(piece)
                    file.write(piece)
            written = Written(path, size, hashing.hexdigest())
            if digest is not None and written.digest != digest:
                raise DamagedError(
                    f"the stored bytes have the SHA-256 {written.digest[:12]}..., the record says {digest[:12]}...:"
                    " they were changed or damaged"
                )
            if self.is_zip:  # only what is right, since nothing can be taken out of a zip file again
                self._zip.write(local, path)
        except BaseException:
            if os.path.exists(local):
                os.unlink(local)
            raise
        if self.is_zip:
            os.unlink(local)
        return written
